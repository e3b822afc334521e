"""How the limits stand: what is used, what is kept, what the cancels need, and when a proof would come."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from panicboard import budgets, credentials, limits_state, pools, turns
from panicboard.budgets import AccountBudget, Work
from panicboard.limits_state import LimitRow, LimitsPage, Use
from panicboard.models import Account, Egress, Sweep, Venue
from panicboard.turns import ToCome
from panicboard.venues import VENUES
from panicboard.venues.base import Limit
from tests.pages import NOWHERE, PRESSED_AT, after, make_account, make_panic, make_reading, make_sweep

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker")]
State = Sweep.State
FAPI = VENUES["binance-usdm"].listing_limit()
COINSWITCH = {limit.pool: limit for limit in VENUES["coinswitch"].limits}


def rows() -> tuple[LimitRow, ...]:
    return limits_state.read(PRESSED_AT).rows


def only_row() -> LimitRow:
    (row,) = rows()
    return row


def panics_of(account: Account) -> AccountBudget:
    return AccountBudget(account, Work.PANIC)


def second_line(name: str = "second line") -> Egress:
    return Egress.objects.create(name=name, source_address="127.0.0.2")


def pool_by(way: str, limit: Limit = FAPI) -> str:
    return budgets.pool_name(NOWHERE, limit, way=way, account_id=0)


@pytest.fixture
def without_redis(monkeypatch: pytest.MonkeyPatch, settings: pytest.FixtureRequest) -> Iterator[None]:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    pools.client.cache_clear()
    monkeypatch.setattr(pools, "_redis_lost_at", -pools.RETRY_REDIS_S)
    yield
    pools.client.cache_clear()


def test_row_tells_what_is_used_kept_and_needed() -> None:
    one, two = make_account("one"), make_account("two")
    make_account("never read")
    make_reading(one, cancel_weight=120)
    make_reading(two, cancel_weight=30, read_at=after(-9000))
    panics_of(one).take(FAPI, 340)

    page = limits_state.read(PRESSED_AT)

    row = LimitRow(
        venue=f"binance-usdm at {NOWHERE}",
        adapter=VENUES["binance-usdm"].label,
        by_key=False,
        use=Use("fapi", "direct", 2400, 2400, 60, 340),
        nearest="",
        nearest_url="",
        accounts=3,
        have_second=0,
        second_for=0,
        reads_may=1200,
        cancels=150,
        unread=1,
        oldest_read_at=after(-9000),
        listing=80,
        proven_in_s=0,
        to_come=None,
    )
    assert page == LimitsPage(PRESSED_AT, True, (row,))
    assert (row.kept, row.is_bad, row.words) == (1200, False, "")
    assert (row.use.used_percent, row.reads_percent, row.kept_percent) == (14.2, 50.0, 50.0)


def test_disabled_accounts_and_those_of_a_venue_nobody_knows_have_no_row() -> None:
    make_account("disabled", enabled=False)
    make_account("gone", adapter="gone")

    assert rows() == ()


def test_each_way_out_has_a_limit_of_its_own() -> None:
    line = second_line()
    make_account("one", second_egress=line)
    make_account("two")
    three = make_account("three", egress=line)
    panics_of(three).take(FAPI, 200)

    found = [(row.use.way, row.accounts, row.have_second, row.second_for, row.use.used) for row in rows()]

    assert found == [("direct", 2, 1, 0, 0), ("second line", 1, 0, 1, 200)]


def test_second_way_has_its_row_before_anybody_went_it() -> None:
    make_reading(make_account("one", second_egress=second_line()), cancel_weight=7)

    found = [(row.use.way, row.accounts, row.second_for, row.cancels) for row in rows()]

    assert found == [("direct", 1, 0, 7), ("second line", 0, 1, 0)]


def test_limit_that_the_venue_granted_stands_beside_the_published_one() -> None:
    make_account()
    Venue.objects.update(limit_override=6000)

    row = only_row()

    assert (row.use.amount, row.use.published, row.reads_may, row.kept) == (6000, 2400, 3000, 3000)


def test_venues_of_one_address_share_its_limit_whatever_their_rows_grant() -> None:
    make_account("one")
    two = make_account("two")
    two.venue = Venue.objects.create(
        name="again", adapter="binance-usdm", base_url=NOWHERE, limit_override=1000
    )
    two.save()

    row = only_row()

    assert (row.venue, row.accounts, row.use.amount) == (f"again, binance-usdm at {NOWHERE}", 2, 1000)


def test_reads_may_use_what_the_cancels_leave() -> None:
    make_reading(make_account("one"), cancel_weight=700)
    make_reading(make_account("two"), cancel_weight=800)

    row = only_row()

    assert (row.reads_may, row.kept, row.cancels, row.is_bad) == (876, 1524, 1500, False)


def test_cancels_that_need_more_than_the_limit_are_bad_and_first() -> None:
    make_account("fine", adapter="binance-options")
    for name in ("one", "two"):
        make_reading(make_account(name), cancel_weight=1300)

    found = [(row.use.name, row.is_overloaded, row.is_bad, row.words) for row in rows()]

    said = (
        "cancels need 2,600, more than the limit: some cancels would wait; spread the accounts over more "
        "egress addresses"
    )
    assert found == [("fapi", True, True, said), ("eapi", False, False, "")]


def test_cancels_that_need_the_whole_limit_fit() -> None:
    make_reading(make_account(), cancel_weight=2400)

    assert (only_row().state, only_row().words) == ("normal", "")


@pytest.mark.parametrize(
    ("used", "state", "words"),
    [
        (1000, "normal", ""),
        (1001, "short now", "1,399 left now, and the cancels need 1,400: pressed now, some would wait"),
        (2400, "short now", "0 left now, and the cancels need 1,400: pressed now, some would wait"),
    ],
)
def test_what_is_used_now_can_leave_too_little_for_the_cancels(used: int, state: str, words: str) -> None:
    account = make_account()
    make_reading(account, cancel_weight=1400)
    panics_of(account).take(FAPI, used)

    row = only_row()

    assert (row.state, row.words, row.is_bad) == (state, words, False)


def test_overloaded_are_the_limits_that_all_accounts_together_are_too_much_for() -> None:
    line = second_line()
    accounts = [make_account("one"), make_account("two"), make_account("elsewhere", egress=line)]
    accounts += [make_account("disabled", enabled=False, egress=line), make_account("gone", adapter="gone")]
    for account in accounts:
        make_reading(account, cancel_weight=1300)
    make_account("by key", adapter="coinswitch")

    found = limits_state.overloaded(Account.objects.select_related("venue", "reading"))

    assert found == {turns.SharedLimit(NOWHERE, "binance-usdm", None)}


def test_refusal_is_bad_and_tells_the_venues_words_and_when_it_ends() -> None:
    account = make_account()
    panics_of(account).block(FAPI, 300_000, "HTTP 418 -1003 Way too many requests")

    row = only_row()

    until, why = row.use.refused_until, row.use.refused_why
    assert until is not None
    assert timedelta(seconds=290) < until - PRESSED_AT <= timedelta(seconds=300)
    assert why == "HTTP 418 -1003 Way too many requests"
    assert (row.is_bad, row.words) == (True, f"until {until:%H:%M:%S} the venue refuses calls: {why}")
    assert row.proven_in_s is not None
    assert 290 <= row.proven_in_s <= 300


@pytest.mark.parametrize(
    ("accounts", "used", "at_least_s", "at_most_s"),
    [
        (22, 0, 0, 0),  # three quarters of the limit come at once
        (28, 0, 8, 14),
        (28, 2300, 60, 75),  # what is used now has to leave the window first
        (200, 0, 400, 480),
    ],
)
def test_proof_of_many_accounts_takes_as_long_as_the_limit_asks(
    accounts: int, used: int, at_least_s: int, at_most_s: int
) -> None:
    for number in range(accounts):
        account = make_account(f"account-{number}")
    if used:
        panics_of(account).take(FAPI, used)

    proven_in_s = only_row().proven_in_s

    assert proven_in_s is not None
    assert at_least_s <= proven_in_s <= at_most_s


def test_proof_waits_for_the_cancels_of_all() -> None:
    for number in range(10):
        make_reading(make_account(f"account-{number}"), cancel_weight=230)

    # 2,300 for the cancels leave nothing of the window: the listings come after it.
    assert only_row().proven_in_s == 62


def test_limit_too_small_for_a_full_listing_is_bad() -> None:
    make_account()
    Venue.objects.update(limit_override=80)

    row = only_row()

    assert (row.proven_in_s, row.is_bad) == (None, True)
    assert row.words == "less than a full listing needs (80): nothing behind it is proven clear"


def test_proof_that_takes_an_hour_is_not_played_to_its_end() -> None:
    for number in range(70):
        account = make_account(f"account-{number}")
    Venue.objects.filter(pk=account.venue_id).update(limit_override=85)

    row = only_row()

    assert (row.takes_long, row.is_bad) == (True, False)


def test_full_listings_that_wait_are_counted_by_way_with_the_last_of_them() -> None:
    accounts = [make_account(name) for name in ("one", "two", "three", "four", "five")]
    accounts.append(make_account("elsewhere", egress=second_line()))
    panic = make_panic()
    one, two, three, four, five, elsewhere = accounts
    for account, seconds in ((one, 30), (two, 35), (elsewhere, 90)):
        known = {"known_empty_at": after(400), "full_listing_at": after(seconds * 1000)}
        make_sweep(panic, account, State.READING_BACK, **known)
    make_sweep(panic, three, State.CANCELLING, full_listing_at=after(62_000))  # foretold
    make_sweep(panic, four, State.NOT_CLEAR, full_listing_at=after(99_000))  # what was foretold is past
    make_sweep(panic, five, State.CLEAR, full_listing_at=after(99_000))

    found = [(row.use.way, row.to_come) for row in rows()]

    assert found == [("direct", ToCome(3, after(62_000))), ("second line", ToCome(1, after(90_000)))]


def test_venue_with_limits_by_key_takes_one_row_and_names_the_account_nearest_to_one() -> None:
    make_account("far", adapter="coinswitch", egress=second_line())
    near = make_account("near", adapter="coinswitch")
    make_reading(near, cancel_weight=1)
    panics_of(near).take(COINSWITCH["open"], 9)
    panics_of(near).take(COINSWITCH["cancel_all"], 7)

    row = only_row()

    assert row == LimitRow(
        venue=f"coinswitch at {NOWHERE}",
        adapter=VENUES["coinswitch"].label,
        by_key=True,
        use=Use("cancel_all", "", 10, 10, 60, 7),
        nearest="near",
        nearest_url=near.get_absolute_url(),
        accounts=2,
        have_second=0,
        second_for=0,
        reads_may=5,
        cancels=1,
        unread=1,
        oldest_read_at=PRESSED_AT,
        listing=5,
        proven_in_s=0,
        to_come=None,
    )


def test_key_that_the_venue_refuses_is_the_nearest() -> None:
    busy, refused = (make_account(name, adapter="coinswitch") for name in ("busy", "refused"))
    panics_of(busy).take(COINSWITCH["open"], 20)
    panics_of(refused).block(COINSWITCH["closed"], 60_000, "HTTP 429 Too many requests")

    row = only_row()

    assert (row.nearest, row.use.name, row.use.used, row.is_bad) == ("refused", "closed", 0, True)


def test_limits_by_key_of_which_nothing_is_used_name_nobody() -> None:
    make_account("one", adapter="coinswitch")

    row = only_row()

    assert (row.nearest, row.use.name, row.use.used) == ("", "open", 0)


@pytest.mark.usefixtures("without_redis")
def test_without_redis_nothing_is_counted_and_the_rest_is_told() -> None:
    for name in ("one", "two"):
        make_reading(make_account(name), cancel_weight=1300)
    make_account("key", adapter="coinswitch")

    page = limits_state.read(PRESSED_AT)

    found = [(row.use.name, row.use.used, row.is_overloaded, row.words) for row in page.rows]
    assert not page.is_counted
    assert found[0][:3] == ("fapi", None, True)
    assert found[1] == ("open", None, False, "Redis does not answer: each process keeps to its share")


def test_account_has_the_limit_of_each_way_or_those_of_its_key() -> None:
    line = second_line()
    by_address = make_account("one", second_egress=line)
    by_key = make_account("two", adapter="coinswitch", egress=line)
    panics_of(by_address).take(FAPI, 40)
    panics_of(by_key).take(COINSWITCH["open"], 3)

    found = [limits_state.of_account(account, PRESSED_AT) for account in (by_address, by_key)]

    assert found[0] == (
        Use("fapi", "direct", 2400, 2400, 60, 40),
        Use("fapi", "second line", 2400, 2400, 60, 0),
    )
    assert [(use.name, use.way, use.used, use.amount) for use in found[1]] == [
        ("open", "", 3, 20),
        ("cancel_all", "", 0, 10),
        ("cancel", "", 0, 10),
        ("status", "", 0, 20),
        ("closed", "", 0, 20),
        ("place", "", 0, 20),
        ("market", "", 0, 100),
    ]
    assert [limits_state.ways_of(account) for account in (by_address, by_key)] == [
        ("direct", "second line"),
        ("second line",),
    ]


def test_what_is_read_holds_no_proxy_and_no_credentials() -> None:
    egress = Egress(name="by proxy")
    credentials.seal_proxy(egress, "http://desk:hunter2@10.0.0.1:3128")
    egress.save()
    make_account(egress=egress)

    with CaptureQueriesContext(connection) as queries:
        page = limits_state.read(PRESSED_AT)

    asked = " ".join(query["sql"] for query in queries)
    assert [row.use.way for row in page.rows] == ["by proxy"]
    assert "sealed" not in asked
    assert "hunter2" not in repr(page)


def test_thirty_accounts_cost_no_query_more_than_one() -> None:
    line = second_line()

    def fill(count: int) -> int:
        panic = make_panic()
        for number in range(count):
            adapter = ("binance-usdm", "binance-options", "coinswitch")[number % 3]
            account = make_account(f"{count}-{number}", adapter=adapter, second_egress=line)
            make_reading(account, 2)
            make_sweep(panic, account, State.READING_BACK, full_listing_at=after(1000))
        with CaptureQueriesContext(connection) as queries:
            limits_state.read(PRESSED_AT)
        return len(queries)

    assert fill(1) == fill(29) == 2
