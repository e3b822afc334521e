"""Drills: everything is read on the live path, nothing is cancelled, and what a panic would miss is said."""

import inspect
import json
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from panicboard import (
    board_state,
    drill_state,
    drills,
    keeper,
    processes,
    readiness,
    readings,
    tasks,
    wall_state,
)
from panicboard.budgets import AccountBudget, Work
from panicboard.fragments import Renderer, Topic
from panicboard.management.scopes import shell_user
from panicboard.models import (
    Account,
    AuditEntry,
    Countdown,
    Drill,
    DrilledAccount,
    Panic,
    Reading,
    Sweep,
    VenueCall,
)
from panicboard.panics import Scope
from panicboard.readiness import SystemReadiness
from panicboard.venues import VENUES, calls
from panicboard.venues.base import BookSymbol, FarOrder, OrderRef, VenueAdapter
from panicboard.venues.calls import NotAReading
from tests import pages
from tests.factories import BOOKS, make_account, make_desk, make_venue
from tests.pages import make_canary_run, make_drill, make_drilled, make_panic, make_user
from tests.simulator_process import SimulatorProcess
from tests.sweep_stage import Stage, leaks
from tests.venue_calls import CALLS, FAMILIES, is_cancel, is_full_listing

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("broker", "plain_static_files"),
]
State = DrilledAccount.State
every_venue = pytest.mark.parametrize("adapter", BOOKS)
#: The calls that read. CoinSwitch's lists are asked for by POST.
LISTS = {CALLS["coinswitch"].listing, CALLS["coinswitch"].history}


def start(scope: Scope | None = None, **fields: str) -> Drill:
    scope = scope or Scope(Panic.Scope.ALL)
    return drills.start(scope, begun_by=None, begun_by_name="risk.desk1", **fields).drill


def work(drill: Drill) -> dict[str, DrilledAccount]:
    """Deliver each account's task once. Returns what the accounts then say, by name."""
    for pk in drill.accounts.values_list("pk", flat=True):
        tasks.read_for_drill(pk)
    return {row.account.name: row for row in drill.accounts.select_related("account")}


def drill_of(account: Account) -> DrilledAccount:
    """A drill of one account, worked on once."""
    return work(start(Scope(Panic.Scope.ACCOUNT, account=account)))[account.name]


def changing(log: list[dict[str, Any]]) -> list[str]:
    """The requests of a log that are no readings."""
    return [
        f"{call['method']} {call['path']}"
        for call in log
        if call["method"] != "GET" and (call["method"], call["path"]) not in LISTS
    ]


def everything_of(*models: type[Model]) -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in models]


# ---- nothing is cancelled ----


@pytest.mark.parametrize(("adapter", "fields"), FAMILIES.values(), ids=FAMILIES)
def test_every_family_is_read_and_nothing_else_is_sent(
    stage: Stage, adapter: str, fields: dict[str, Any]
) -> None:
    account = stage.account(adapter)
    stage.seed(account, 2, **fields)
    books = stage.simulator.book()

    row = drill_of(account)

    log = stage.simulator.log(account.name)
    assert (row.state, row.last_word, row.doubt) == (State.CLEAR, "every family was read", "")
    assert [call for call in CALLS[adapter].full if not any(is_full_listing(one, call) for one in log)] == []
    assert changing(stage.simulator.log()) == []
    assert stage.simulator.book() == books
    assert row.orders == len(books) == sum(family["orders"] for family in row.families)
    assert [family["family"] for family in row.families] == [one.slug for one in VENUES[adapter].families]


def test_drill_leaves_panics_latches_and_countdowns_as_they_are(stage: Stage) -> None:
    account, other = stage.account("binance-usdm"), stage.account("binance-options", "beta")
    stage.seed(account, 2)
    stage.read(account)
    sweep = stage.work_until_over(stage.press(account))
    Countdown.objects.create(account=other, scope="BTC", countdown_ms=30_000)
    stage.seed(account, 1)  # a bot goes on
    stage.minute_passes()
    before = everything_of(Panic, Sweep, Countdown, Account)
    began = len(stage.simulator.log())

    rows = work(start())

    assert sweep.state == Sweep.State.CLEAR
    assert {name: row.state for name, row in rows.items()} == {"alpha": State.CLEAR, "beta": State.CLEAR}
    assert everything_of(Panic, Sweep, Countdown, Account) == before
    assert changing(stage.simulator.log()[began:]) == []
    assert len(stage.simulator.book(account.name)) == 1


#: Every method by which an adapter calls its venue: what a drill may use, and how the others are called.
READS = {"sync_clock", "check_access", "open_orders", "order", "history", "countdowns", "plan_far_order"}
CHANGES: dict[str, Callable[[VenueAdapter, str], object]] = {
    "mass_cancel": lambda venue, symbol: [
        venue.mass_cancel(call)
        for call in venue.mass_cancels({BookSymbol(venue.families[-1].slug, symbol)}, whole_account=True)
    ],
    "cancel_orders": lambda venue, symbol: venue.cancel_orders(
        venue.families[0].slug, symbol, [OrderRef(venue.families[0].slug, symbol, "12345")]
    ),
    "place_far_order": lambda venue, symbol: venue.place_far_order(
        FarOrder(venue.canary_families[-1], symbol, "LIMIT", Decimal(1), Decimal(1)), venue.canary_order_id()
    ),
    "set_countdown": lambda venue, symbol: venue.set_countdown(venue.countdown_of(symbol), 30_000),
    "heartbeat": lambda venue, symbol: venue.heartbeat([venue.countdown_of(symbol)]),
}


def can(adapter: str, name: str) -> bool:
    """Whether a venue has such a call."""
    has = {
        "set_countdown": VENUES[adapter].has_countdown,
        "heartbeat": VENUES[adapter].one_heartbeat_for_many,
    }
    return has.get(name, True)


@pytest.mark.parametrize(
    ("adapter", "name"), [(adapter, name) for adapter in BOOKS for name in CHANGES if can(adapter, name)]
)
def test_adapter_that_is_opened_for_reading_sends_nothing_else(stage: Stage, adapter: str, name: str) -> None:
    account = stage.account(adapter)
    stage.seed(account)
    opened = AccountBudget(account, Work.PANIC).open_adapter(reads_only=True)

    with pytest.raises(NotAReading):
        CHANGES[name](opened, BOOKS[adapter][1])

    assert changing(stage.simulator.log()) == []
    assert len(stage.simulator.book(account.name)) == 1


def test_whether_a_call_reads_is_known_of_every_one_that_adapters_have() -> None:
    local = {"history_weight"}
    methods = {
        name
        for name, member in inspect.getmembers(VenueAdapter, inspect.isfunction)
        if not name.startswith("_") and name not in local
    }

    assert methods == READS | set(CHANGES)


def test_drill_opens_its_accounts_for_reading_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)

    def cancels(venue: VenueAdapter) -> object:
        return CHANGES["mass_cancel"](venue, "BTCUSDT")

    monkeypatch.setattr(drills, "_list", cancels)
    drill = start()

    with pytest.raises(NotAReading):
        work(drill)

    row = drill.accounts.get()
    assert (row.state, row.last_word) == (State.FAILED, "panicboard failed (NotAReading); see the log")
    assert changing(stage.simulator.log()) == []
    assert len(stage.simulator.book(account.name)) == 1


# ---- what it measures ----


@every_venue
def test_what_a_panic_would_send_is_what_it_then_sends(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    stage.seed(account, 3)

    row = drill_of(account)
    stage.minute_passes()
    sweep = stage.work_until_over(stage.press(account))

    sent = [call for call in stage.simulator.log(account.name) if is_cancel(call)]
    stage.assert_proven(sweep)
    assert (row.cancels, row.orders) == (len(sent), sweep.orders.count())
    assert row.cancel_weight > 0


def test_report_counts_calls_and_weight_as_the_venue_does(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account, 2)
    stage.seed_conditional(account, 1, reduce_only=True)
    before = timezone.now()

    row = drill_of(account)

    paths = [call["path"] for call in stage.simulator.log()]
    weights = {"openAlgoOrders": 40, "openOrders": 40, "accountConfig": 5, "time": 1}
    assert row.calls == len(paths)
    assert row.weight == sum(weights[path.rpartition("/")[2]] for path in paths) >= 85
    assert (row.orders, row.protective) == (3, 1)
    assert row.began_at is not None
    assert row.first_request_at is not None
    assert row.read_at is not None
    assert row.ended_at is not None
    assert before <= row.began_at <= row.first_request_at <= row.read_at <= row.ended_at
    assert 0 <= (row.read_ms or 0) <= (row.ended_at - row.read_at).total_seconds() * 1000 + 1


def test_calls_are_counted_of_this_thread_and_no_longer_than_wanted() -> None:
    with calls.counted() as made, calls.told("alpha", "GET", "/fapi/v1/time?x=1", 1):
        pass
    with calls.told("alpha", "GET", "/fapi/v1/ping", 1):
        pass

    assert [(call.path, call.weight) for call in made] == [("/fapi/v1/time", 1)]


def test_drill_is_a_reading_of_the_board_too(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account, 2)

    row = drill_of(account)

    reading = Reading.objects.get(account=account)
    assert (reading.open_count, reading.read_at, reading.failure) == (2, row.read_at, "")
    assert reading.due_at > timezone.now()  # it need not be read again at once


def test_account_that_a_drill_has_still_to_read_is_left_to_it(stage: Stage) -> None:
    for name in ("alpha", "beta"):
        readings.ensure(stage.account("binance-usdm", name))
    drill = start(Scope(Panic.Scope.ACCOUNT, account=Account.objects.get(name="alpha")))

    offered = keeper.offer_readings()
    work(drill)
    Reading.objects.update(due_at=timezone.now())

    assert (offered, keeper.offer_readings()) == (1, 2)


# ---- what a panic would miss ----


def test_account_that_cannot_be_read_is_told_and_the_others_are_read(stage: Stage) -> None:
    stage.account("binance-usdm", "alpha")
    stage.account("coinswitch", "beta")
    stage.simulator.fault("key_revoked", account="alpha")

    drill = start()
    rows = work(drill)

    page = drill_state.read(drill.pk)
    assert {name: row.state for name, row in rows.items()} == {"alpha": State.FAILED, "beta": State.CLEAR}
    assert "-2015" in rows["alpha"].last_word
    assert page.would.missed == (("alpha", rows["alpha"].last_word),)
    assert (page.head.is_clear, page.running, page.rows[0].account) == (False, False, "alpha")
    assert drills.is_running(drill) is False


def test_key_that_may_not_trade_fails_although_everything_was_read(stage: Stage) -> None:
    account = stage.account("binance-usdm", can_trade=False)
    stage.seed(account, 2)

    row = drill_of(account)

    assert (row.state, row.orders) == (State.FAILED, 2)
    assert row.last_word == (
        "every family was read, but a panic's cancels would be refused: "
        "the venue does not let this account trade"
    )


def test_account_without_credentials_says_what_to_do(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    Account.objects.update(sealed_credentials="")

    row = drill_of(account)

    assert (row.state, row.calls) == (State.FAILED, 0)
    assert "has no credentials: enter its key and secret in the admin" in row.last_word


def test_venue_that_cannot_be_reached_is_tried_again_and_then_told(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    Account.objects.update(venue=make_venue("http://127.0.0.1:1"))
    drill = start(Scope(Panic.Scope.ACCOUNT, account=account))

    told = [work(drill)["alpha"] for _ in range(drills.TRIES)]

    assert [row.state for row in told] == [*[State.WAITING] * (drills.TRIES - 1), State.FAILED]
    assert "no connection to the venue" in told[0].last_word
    assert told[0].last_word.endswith("try 2 of 3 comes")
    assert told[-1].last_word.endswith("tried 3 times")


def test_passing_trouble_is_no_failure(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.simulator.fault("garbage", path="/fapi/v1/openOrders", count=1)
    drill = start(Scope(Panic.Scope.ACCOUNT, account=account))

    first, second = work(drill)["alpha"], work(drill)["alpha"]

    assert (first.state, first.read_at, first.tries) == (State.WAITING, None, 1)
    assert (second.state, second.tries) == (State.CLEAR, 1)
    assert second.calls > first.calls > 0


def test_doubt_that_readiness_has_is_kept(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    Account.objects.update(canary=True)
    make_canary_run(account, "failed", last_word="no margin")

    row = drill_of(account)

    assert (row.state, row.doubt) == (State.CLEAR, "canary failed 20 Nov 14:03: no margin")


def test_disabled_accounts_are_named_as_missed(stage: Stage) -> None:
    stage.account("binance-usdm")
    stage.account("binance-usdm", "beta", enabled=False)

    drill = start()
    work(drill)

    page = drill_state.read(drill.pk)
    assert [row.account for row in page.rows] == ["alpha"]
    assert page.would.missed == (("beta", "disabled: neither read nor swept"),)


# ---- within the limits ----


def test_drill_waits_for_the_share_of_readings_and_says_so(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    share = AccountBudget(account, Work.READ)
    limit = VENUES["binance-usdm"].listing_limit()
    share.take(limit, share.cap(limit) - 50)
    drill = start(Scope(Panic.Scope.ACCOUNT, account=account))

    waits = work(drill)["alpha"]
    stage.minute_passes()
    read = work(drill)["alpha"]

    assert (waits.state, waits.ended_at) == (State.WAITING, None)
    assert waits.last_word.startswith("waits for the limit: the fapi limit (2400 a 60 s) is used up until ")
    assert waits.due_at > timezone.now() + timedelta(seconds=30)
    assert read.state == State.CLEAR


def test_drill_of_many_accounts_leaves_the_reserve_whole(stage: Stage) -> None:
    accounts = [stage.account("binance-usdm", f"account-{number}") for number in range(14)]

    rows = work(start())

    limit = VENUES["binance-usdm"].listing_limit()
    states = [row.state for row in rows.values()]
    assert set(states) == {State.CLEAR, State.WAITING}
    used = AccountBudget(accounts[0], Work.READ).used(limit)
    assert used is not None
    assert used <= AccountBudget(accounts[0], Work.READ).cap(limit) < 1200


def test_ban_is_waited_for(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.simulator.fault("429_retry_after", seconds=20, count=1)

    row = drill_of(account)

    assert row.state == State.WAITING
    assert "the venue refuses calls" in row.last_word


def test_panic_comes_first(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.press(account)

    row = drill_of(account)

    assert (row.state, row.last_word, row.calls) == (State.WAITING, "a panic comes first", 0)
    assert stage.simulator.log(account.name) == []


def test_what_was_never_read_ends_and_says_what_it_waited_for(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.press(account)
    drill = start(Scope(Panic.Scope.ACCOUNT, account=account))
    work(drill)
    Drill.objects.update(began_at=timezone.now() - drills.GIVE_UP_AFTER - timedelta(seconds=1))

    row = work(drill)["alpha"]

    assert (row.state, row.last_word) == (State.FAILED, "not read within 2 hours: a panic comes first")


# ---- workers ----


def test_account_of_a_killed_worker_is_offered_again(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    drill = start(Scope(Panic.Scope.ACCOUNT, account=account))
    now = timezone.now()
    drill.accounts.update(
        state=State.READING, lease_owner="gone", lease_until=now + timedelta(seconds=60), due_at=now
    )

    held = drills.offer_due(), work(drill)["alpha"].state
    drill.accounts.update(lease_until=now - timedelta(seconds=1))
    offered = drills.offer_due(), drills.offer_due()

    assert held == (0, State.READING)
    assert offered == (1, 0)
    assert work(drill)["alpha"].state == State.CLEAR


def test_worker_that_lost_its_account_writes_nothing_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = stage.account("binance-usdm")
    drill = start(Scope(Panic.Scope.ACCOUNT, account=account))
    listed = drills._list

    def taken_over(venue: VenueAdapter) -> Any:
        found = listed(venue)
        drill.accounts.update(lease_owner="another")
        return found

    monkeypatch.setattr(drills, "_list", taken_over)

    row = work(drill)["alpha"]

    assert (row.state, row.lease_owner, row.read_at) == (State.READING, "another", None)


def test_task_that_comes_twice_reads_once(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    row = drill_of(account)
    calls_made = len(stage.simulator.log(account.name))

    tasks.read_for_drill(row.pk)

    assert len(stage.simulator.log(account.name)) == calls_made


# ---- beginning ----


def test_beginning_is_on_disk_with_who_and_why(stage: Stage) -> None:
    stage.account("binance-usdm")
    user = make_user()

    begun = drills.start(
        Scope(Panic.Scope.DESK, desk=make_desk()), begun_by=user, begun_by_name="risk.desk1", reason="weekly"
    )

    entry = AuditEntry.objects.get()
    drill = begun.drill
    assert (drill.scope, drill.desk, drill.begun_by, drill.reason) == ("desk", make_desk(), user, "weekly")
    assert (entry.action, entry.actor, entry.panic) == (AuditEntry.Action.DRILLED, user, None)
    assert entry.detail == f"drill {drill.pk}, desk Delta: weekly"
    assert drill.accounts.get().state == State.QUEUED


def test_second_drill_over_the_same_scope_joins(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    first = start()

    again = drills.start(Scope(Panic.Scope.ALL), begun_by=None, begun_by_name="ann")
    narrower = start(Scope(Panic.Scope.ACCOUNT, account=account))
    work(first)
    later = start()

    assert (again.drill, again.joined) == (first, True)
    assert len({first.pk, narrower.pk, later.pk}) == 3


@pytest.mark.parametrize("enabled", [None, False])
def test_nothing_to_read_is_refused_with_the_reason(stage: Stage, enabled: bool | None) -> None:
    if enabled is not None:
        stage.account("binance-usdm", enabled=enabled)

    with pytest.raises(drills.NothingToRead) as caught:
        start()

    why = "there is no account" if enabled is None else "disabled (alpha)"
    assert str(caught.value).startswith(f"everything: {why}, so there is nothing to rehearse.")
    assert Drill.objects.count() == 0


def test_scope_of_a_symbol_is_no_drill(stage: Stage) -> None:
    account = stage.account("binance-usdm")

    with pytest.raises(drills.NothingToRead):
        start(Scope(Panic.Scope.SYMBOL, account=account, symbol="BTCUSDT"))


# ---- pages ----


def row_of(drill: Drill, name: str = "alpha", state: str = State.CLEAR, **fields: Any) -> DrilledAccount:
    """An account of a drill that nobody works on."""
    account = Account.objects.filter(name=name).first() or pages.make_account(name)
    return make_drilled(drill, account, state, **fields)


@pytest.fixture
def browser(client: Client) -> Client:
    """A risk manager's browser, signed in."""
    client.force_login(make_user())
    return client


@pytest.fixture
def system_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were workers: the notice line tells of nothing else where there are none."""
    ready = SystemReadiness(readiness.READY, "", True, None)
    monkeypatch.setattr(readiness, "of_system", lambda: ready)


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(make_user("viewer", "viewers"))
    return client


def text(response: Any) -> str:
    return response.content.decode()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("chosen", "label"),
    [("all", "everything"), ("desk:delta", "desk Delta"), ("account:{pk}", "account alpha")],
)
def test_form_begins_a_drill_over_what_was_chosen(browser: Client, chosen: str, label: str) -> None:
    account = pages.make_account()
    pages.make_account("beta", desk="options")

    reply = browser.post("/drills/", {"scope": chosen.format(pk=account.pk), "reason": "weekly"})

    drill = Drill.objects.get()
    assert (reply.status_code, reply["Location"]) == (303, f"/drills/{drill.pk}/")
    assert (drill.scope_label, drill.reason, drill.begun_by) == (label, "weekly", User.objects.get())


@pytest.mark.parametrize("scope", ["", "moon", "desk:gone", "account:999", "symbol"])
def test_form_says_what_is_wrong_with_it(browser: Client, scope: str) -> None:
    pages.make_account()

    reply = browser.post("/drills/", {"scope": scope})

    assert (reply.status_code, Drill.objects.count()) == (422, 0)
    assert "DRILL NOT BEGUN - " in text(reply)


def test_form_without_an_account_says_so(browser: Client) -> None:
    reply = browser.post("/drills/", {"scope": "all"})

    assert reply.status_code == 422
    assert "there is no account, so there is nothing to rehearse" in text(reply)


def test_viewer_may_look_and_not_begin(viewer: Client) -> None:
    drill = make_drill()
    row_of(drill)

    listed, shown = viewer.get("/drills/"), viewer.get(f"/drills/{drill.pk}/")
    begun = viewer.post("/drills/", {"scope": "all"})

    assert (listed.status_code, shown.status_code, begun.status_code) == (200, 200, 403)
    assert "drillbtn" not in text(listed)
    assert "You may look at drills, and not begin one" in text(listed)
    assert Drill.objects.count() == 1


def test_drill_that_is_not_there_is_not_found(browser: Client) -> None:
    assert browser.get("/drills/99/").status_code == 404


@pytest.mark.usefixtures("system_ready")
def test_report_says_drill_everywhere_and_holds_no_stop_but_the_global_one(browser: Client) -> None:
    drill = make_drill(skipped=["gamma"])
    families = [{"family": "ordinary", "label": "Ordinary", "orders": 3, "ms": 52}]
    row_of(drill, families=families, orders=3, protective=1, cancels=2, cancel_weight=2, doubt="clock skew")
    row_of(drill, "beta", State.FAILED, ended_at=drill.began_at, last_word="HTTP 401 -2015")

    page = text(browser.get(f"/drills/{drill.pk}/"))

    assert f"<title>DRILL {drill.pk}: 1 of 2 read | panicboard</title>" in page
    assert f"DRILL {drill.pk}, SIMULATED VENUES</span>" in page
    assert re.search(rf'<div class="notice drill" id="notice"><p class="say">DRILL {drill.pk}</p>', page)
    for said in ("DRILL NOT CLEAR", "DRILL CLEAR", "DRILL FAILED", "HTTP 401 -2015", "in doubt: clock skew"):
        assert said in page
    assert "<b>2 mass cancels</b> at first, weight 2" in page
    assert "<b>gamma</b>: disabled: neither read nor swept" in page
    assert page.count("data-hold") == 1
    assert 'class="zone' not in page


def test_drill_of_read_accounts_is_clear(browser: Client) -> None:
    drill = make_drill()
    row_of(drill)
    row_of(drill, "beta")

    page = text(browser.get(f"/drills/{drill.pk}/"))
    line = drill_state.lines([drill])[0]

    assert "DRILL NOT CLEAR" not in page
    assert (line.state, line.clear, line.accounts) == ((State.CLEAR, "DRILL CLEAR"), 2, 2)


def test_account_that_waits_says_for_what_and_until_when(browser: Client) -> None:
    drill = make_drill()
    row = row_of(drill, state=State.WAITING, last_word="waits for the limit: the fapi limit is used up")

    page = text(browser.get(f"/drills/{drill.pk}/"))

    assert "WAITS" in page
    assert "waits for the limit: the fapi limit is used up<br>next try <b" in page
    assert f'data-until="{row.due_at:%Y-%m-%dT%H:%M:%S}' in page
    assert "DRILL RUNNING" in page


def test_list_takes_as_many_queries_for_five_drills_as_for_one(browser: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get("/drills/").status_code == 200
        return len(captured)

    row_of(make_drill(scope="desk", desk=make_desk()))
    queries()
    for_one = queries()
    for number in range(4):
        row_of(make_drill(scope="desk", desk=make_desk(f"desk-{number}")))

    assert queries() == for_one


# ---- the stream, the board and the wall ----


@pytest.mark.usefixtures("system_ready")
def test_stream_swaps_what_the_report_shows(browser: Client) -> None:
    drill = make_drill()
    rows = row_of(drill), row_of(drill, "beta", State.READING)

    read = Renderer().read([Topic("drill", drill.pk)], timezone.now())[Topic("drill", drill.pk)]

    page = text(browser.get(f"/drills/{drill.pk}/"))
    swapped = re.findall(r'id="([^"]+)" hx-swap-oob="true"', "".join(read.values()))
    own = {f"drill-{drill.pk}-head", f"drill-{drill.pk}-would", *(f"drilled-{row.pk}" for row in rows)}
    assert own < set(swapped)
    assert [one for one in swapped if f'id="{one}"' not in page] == []
    assert 'class="notice drill"' in read["notice"]
    assert re.search(r"<form|<button|data-hold|stopcell|csrf", "".join(read.values())) is None


def test_stream_of_a_drill_that_is_gone_is_that_of_a_plain_page() -> None:
    read = Renderer().read([Topic("drill", 99)], timezone.now())[Topic("drill", 99)]

    assert set(read) == {"summary", "scope", "status", "notice"}


def notice(kind: str) -> str:
    return Renderer().read([Topic(kind)], timezone.now())[Topic(kind)]["notice"]


@pytest.mark.usefixtures("system_ready")
@pytest.mark.parametrize("kind", ["board", "plain"])
def test_notice_line_names_the_drill_while_it_runs(kind: str) -> None:
    drill = make_drill()
    row_of(drill)
    last = row_of(drill, "beta", State.READING)

    during = notice(kind)
    DrilledAccount.objects.filter(pk=last.pk).update(state=State.FAILED)
    afterwards = notice(kind)

    assert f"DRILL {drill.pk}" in during
    assert "by risk.desk1: 1 of 2 read, nothing is cancelled" in during
    assert "DRILL" not in afterwards


@pytest.mark.usefixtures("system_ready")
def test_real_panic_takes_precedence_over_a_drill() -> None:
    drill = make_drill()
    row = row_of(drill, state=State.READING)

    during = wall()
    panic = make_panic(row.account)

    assert (during.drill, during.environment) == (f"DRILL {drill.pk}", "SIMULATED")
    assert "DRILL" not in notice("board")
    assert (wall().drill, wall().environment, wall().hero.word) == ("", "SIMULATED VENUES", "PANIC")
    topic = Topic("drill", drill.pk)
    said = Renderer().read([topic], timezone.now())[topic]["notice"]
    assert "A REAL PANIC RUNS:" in said
    assert f"/panics/{panic.pk}/" in said


def test_trouble_takes_precedence_over_a_drill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "of_system", lambda: SystemReadiness(readiness.DEGRADED, "x", True, None))
    drill = make_drill()
    row_of(drill, state=State.READING)

    assert "NO WORKER" in notice("board")


def wall() -> wall_state.WallPage:
    return wall_state.of(board_state.read(timezone.now()), timezone.now())


# ---- the command ----


def call(*words: str) -> str:
    said = StringIO()
    call_command("drill", *words, stdout=said, stderr=said)
    return said.getvalue()


def test_command_begins_a_drill_and_says_so(stage: Stage) -> None:
    stage.account("binance-usdm")

    said = call("--desk", "delta", "--reason", "weekly")

    drill = Drill.objects.get()
    assert said.splitlines()[0] == f"began DRILL {drill.pk}: desk Delta; nothing is cancelled"
    assert said.splitlines()[-1] == "DRILL NOT CLEAR"
    assert (drill.begun_by_name, drill.reason) == (shell_user(), "weekly")


@pytest.mark.parametrize("words", [("--all",), ("--desk", "moon"), ("--account", "moon")])
def test_command_refuses_what_is_not_there(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as caught:
        call(*words)

    assert caught.value.returncode == 2


def test_command_that_waits_in_vain_fails(stage: Stage) -> None:
    stage.account("binance-usdm")

    with pytest.raises(SystemExit) as ended:
        call("--all", "--wait", "--timeout", "0.1")

    assert ended.value.code == 3


@pytest.fixture
def readers(bare_product: "Product", simulator: SimulatorProcess) -> None:
    """A worker for the background and the keeper, as processes."""
    worker = bare_product.start(processes.worker("background", 1, 8))
    bare_product.start(processes.keeper())
    worker.wait_for_line(" ready.")


def test_running_product_reads_every_account_and_the_command_tells(
    simulator: SimulatorProcess, readers: None
) -> None:
    names = [f"account-{number:02}" for number in range(20)]  # more than are queued at once
    for name in names:
        make_account(simulator, "coinswitch", name)
    simulator.seed(names[0], "BTCUSDT", book="ordinary", count=3)

    said = call("--all", "--wait", "--json", "--timeout", "120")

    report = json.loads(said)
    drill = Drill.objects.get()
    assert (report["clear"], report["drill"], report["scope"]) == (True, drill.pk, "everything")
    assert report["would"] == {
        "cancels": 20,
        "cancel_weight": 20,
        "orders": 3,
        "protective": 0,
        "missed": {},
        "doubted": {},
    }
    assert [(one["account"], one["state"]) for one in report["accounts"]] == [
        (name, "DRILL CLEAR") for name in names
    ]
    first = report["accounts"][0]
    assert (first["orders"], first["families"], first["cancels"]) == (3, {"Futures": 3}, 1)
    assert report["ended_ms"] >= first["first_request_ms"] >= 0
    assert changing(simulator.log()) == []


def test_nothing_secret_is_in_a_report(stage: Stage) -> None:
    stage.account("binance-usdm")
    stage.account("binance-usdm", "beta")
    stage.simulator.fault("key_revoked", account="beta")

    drill = start()
    work(drill)

    told = [json.dumps(list(drill.accounts.values()), default=str), call("--all", "--json")]
    assert leaks(told) == []
    assert VenueCall.objects.count() == 0
