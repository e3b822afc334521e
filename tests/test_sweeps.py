"""What a sweep does with an account as it finds it: every family, every scope."""

import threading
import time
from typing import Any

import pytest
from django.utils import timezone

from panicboard import sweeper
from panicboard.budgets import AccountBudget, Work
from panicboard.models import Account, Panic, Reading, Sweep, SweptOrder
from panicboard.venues.binance_usdm import BinanceUsdm
from panicboard.venues.http import clock_of
from tests.factories import BOOKS, VENUES
from tests.sweep_stage import Events, Outcome, Stage, State, forget_venue, is_cancel
from tests.venue_calls import CALLS, CONDITIONAL, family_of, is_full_listing

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

CHINESE = "币安人生USDT"
DAY_MS = 24 * 3600 * 1000


def ref(order: dict[str, Any]) -> dict[str, str]:
    """An order as a press of chosen orders names it."""
    return {
        "family": family_of(order),
        "symbol": order["symbol"],
        "venue_order_id": order["order_id"],
        "client_order_id": order["client_order_id"],
    }


def ids(orders: list[dict[str, Any]]) -> set[str]:
    return {order["order_id"] for order in orders}


def paths(stage: Stage, account: Account) -> list[tuple[str, str]]:
    return [(call["method"], call["path"]) for call in stage.simulator.log(account.name)]


# What an account may hold.


@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_of_an_account_with_nothing_open_is_clear_after_two_readings(
    stage: Stage, adapter: str
) -> None:
    account = stage.account(adapter)
    stage.read(account)

    sweep = stage.work(stage.press(account))

    stage.assert_proven(sweep)
    assert sweep.last_word == f"NO OPEN ORDERS - read back {sweep.read_back_at:%H:%M:%S}"


@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_finds_the_orders_of_an_account_that_was_never_read(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    stage.seed(account, 2)
    if adapter in CONDITIONAL:
        stage.seed_conditional(account)

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)


@pytest.mark.parametrize("read", [True, False], ids=["read", "never read"])
@pytest.mark.parametrize("adapter", CONDITIONAL)
def test_sweep_cancels_conditional_orders_where_there_are_no_others(
    stage: Stage, adapter: str, read: bool
) -> None:
    account = stage.account(adapter)
    stage.seed_conditional(account, 3)
    if read:
        stage.read(account)

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)


def test_sweep_reaches_every_book_of_portfolio_margin(stage: Stage) -> None:
    account = stage.account("binance-portfolio")
    for book, symbol in (
        ("um", "BTCUSDT"),
        ("um_conditional", "ETHUSDT"),
        ("cm", "BTCUSD_PERP"),
        ("cm_conditional", "ETHUSD_PERP"),
        ("margin", "SOLUSDT"),
    ):
        stage.seed(account, 2, book=book, symbol=symbol)
    stage.read(account)

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)


def test_sweep_follows_the_older_conditional_calls_of_portfolio_margin(stage: Stage) -> None:
    stage.simulator.control("POST", "switches", {"um_algo_gone": "-21015"})
    account = stage.account("binance-portfolio")
    stage.seed_conditional(account, 2)
    stage.read(account)

    sweep = stage.work_until_over(stage.press(account))

    assert sweep.state == State.CLEAR
    assert stage.rows(sweep) == stage.truth(account)
    assert stage.simulator.book(account.name) == []


@pytest.mark.parametrize(
    ("adapter", "gone"), [("binance-usdm", "LUNAUSDT"), ("binance-options", "BTC-200730-9000-C")]
)
def test_symbols_that_are_gone_from_the_venue_count_for_no_reading(
    stage: Stage, adapter: str, gone: str
) -> None:
    account = stage.account(adapter)
    stage.read(account)
    Reading.objects.update(symbols={f"ordinary {gone}": timezone.now().isoformat()})

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)
    for wanted in CALLS[adapter].full:
        listed = [call for call in stage.simulator.log(account.name) if is_full_listing(call, wanted)]
        assert len(listed) == 3  # the background's, and two in a row of the sweep


def test_bare_404_for_conditional_orders_is_never_taken_for_an_empty_book(stage: Stage) -> None:
    account = stage.account("binance-portfolio")
    stage.seed_conditional(account, 2)
    stage.read(account)
    stage.simulator.control("POST", "switches", {"um_algo_gone": "404"})

    sweep = stage.work(stage.press(account))
    state, word = sweep.state, sweep.last_word
    stage.simulator.control("POST", "switches", {"um_algo_gone": ""})
    sweep = stage.work_until_over(sweep)

    assert state == State.FAILED
    assert "/papi/v1/um/algo/openAlgoOrders: HTTP 404" in word
    stage.assert_proven(sweep)


def test_order_list_is_one_row_a_leg(stage: Stage) -> None:
    account = stage.account("binance-portfolio")
    stage.seed(account, book="margin", type="OCO")
    stage.seed(account, book="margin")
    stage.read(account)
    legs = {order["order_id"]: order["list_id"] for order in stage.simulator.book(account.name)}

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)
    assert {row.venue_order_id: row.list_id for row in sweep.orders.all()} == legs
    assert len(set(legs.values()) - {""}) == 1


def test_sweep_of_coinswitch_reads_every_page_and_beyond_seven_days(stage: Stage) -> None:
    account = stage.account("coinswitch")
    orders = stage.seed(account, 55)
    now_ms = orders[0]["created_ms"]
    for days in (8, 20, 27):
        stage.seed(account, created_ms=now_ms - days * DAY_MS)
    stage.read(account)

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)
    assert sweep.orders.count() == 58


def test_sweep_of_coinswitch_follows_an_order_that_no_list_shows(stage: Stage) -> None:
    account = stage.account("coinswitch")
    now_ms = stage.seed(account)[0]["created_ms"]
    stage.seed(account, created_ms=now_ms - 60 * DAY_MS)

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)


def test_sweep_of_coinswitch_is_not_clear_while_an_order_that_no_list_shows_stays(stage: Stage) -> None:
    account = stage.account("coinswitch")
    now_ms = stage.seed(account)[0]["created_ms"]
    old = stage.seed(account, created_ms=now_ms - 60 * DAY_MS)[0]
    stage.simulator.fault("refuse_cancel", account=account.name, order_id=old["order_id"])
    sweep = stage.press(account)

    states = set()
    for _ in range(4):
        states.add(stage.work(sweep).state)
        stage.minute_passes()
    row = sweep.orders.get(venue_order_id=old["order_id"])
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)

    assert states == {State.NOT_CLEAR}
    assert row.outcome == Outcome.STILL_OPEN
    stage.assert_proven(sweep)


def test_sweep_of_coinswitch_ends_where_the_history_is_too_long_to_read(stage: Stage) -> None:
    account = stage.account("coinswitch")
    now_ms = stage.seed(account)[0]["created_ms"]
    stage.seed(account, created_ms=now_ms - 3 * DAY_MS)
    stage.seed(account, 1100, symbol="ETHUSDT")
    closed = {"account": account.name, "symbol": "ETHUSDT"}
    stage.simulator.control("POST", "expire", closed)
    stage.read(account)

    sweep = stage.work_until_over(stage.press(account))

    assert sweep.state == State.CLEAR, sweep.last_word
    assert list(sweep.orders.values_list("outcome", flat=True)) == [Outcome.CANCELLED] * 2


def test_cancel_that_the_venue_has_not_carried_out_is_not_the_end(stage: Stage) -> None:
    stage.simulator.control("POST", "switches", {"coinswitch_cancel_delay_ms": 3_600_000})
    account = stage.account("coinswitch")
    order = stage.seed(account)[0]
    stage.read(account)
    sweep = stage.press(account)

    states = set()
    for _ in range(3):
        states.add(stage.work(sweep).state)
        stage.minute_passes()
    row = sweep.orders.get()
    stage.simulator.control("POST", "fill", {"account": account.name, "order_id": order["order_id"]})
    sweep = stage.work_until_over(sweep)

    assert states == {State.NOT_CLEAR}
    assert (row.outcome, row.note) == (Outcome.ACKED, "cancel taken by the venue, not carried out yet")
    assert stage.rows(sweep) == {("ordinary", "BTCUSDT", order["order_id"]): Outcome.FILLED}
    stage.assert_proven(sweep)


@pytest.mark.parametrize("others", [True, False], ids=["with others", "alone"])
@pytest.mark.parametrize(
    ("adapter", "key"),
    [
        ("binance-usdm", "ordinary GONEUSDT"),
        ("binance-options", "ordinary BTC-200101-9000-C"),
        ("binance-portfolio", "um GONEUSDT"),
        ("binance-portfolio", "margin GONEUSDT"),
        ("coinswitch", "ordinary GONEUSDT"),
    ],
)
def test_known_symbol_that_the_venue_has_delisted_does_not_stop_a_sweep(
    stage: Stage, adapter: str, key: str, others: bool
) -> None:
    account = stage.account(adapter)
    if others:
        stage.seed(account, 2)
    stage.read(account)
    reading = Reading.objects.get(account=account)
    reading.symbols[key] = timezone.now().isoformat()
    reading.save(update_fields=["symbols"])

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)


@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_of_a_symbol_that_the_venue_does_not_know_is_never_clear(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    stage.seed(account)
    sweep = stage.press(account, kind=Panic.Scope.SYMBOL, symbol="GONEUSDT")

    sweep = stage.work(sweep)

    assert (sweep.state, sweep.clear_at) == (State.FAILED, None)
    words = (
        "HTTP 422 Input symbol is invalid" if adapter == "coinswitch" else "HTTP 400 -1121 Invalid symbol."
    )
    assert words in sweep.last_word


def test_order_of_a_symbol_that_the_venue_does_not_know_any_more_stays_unknown(stage: Stage) -> None:
    account = stage.account("binance-options")
    stage.seed(account)
    stage.read(account)
    reading = Reading.objects.get(account=account)
    reading.orders.append({**reading.orders[0], "venue_order_id": "999", "symbol": "BTC-200101-9000-C"})
    reading.save(update_fields=["orders"])

    sweep = stage.work_until_over(stage.press(account))

    row = sweep.orders.get(venue_order_id="999")
    assert sweep.state == State.CLEAR
    assert (row.outcome, row.vanished, row.note) == (
        Outcome.UNKNOWN,
        True,
        "on no list of the venue, which does not know it any more",
    )


@pytest.mark.parametrize("adapter", ["binance-options", "binance-portfolio"])
def test_ids_above_2_to_the_53_stay_exact(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    wanted = {"4611875134427365377", "9007199254740993"}
    for order_id in wanted:
        stage.seed(account, order_id=order_id)
    stage.read(account)

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)
    assert set(sweep.orders.values_list("venue_order_id", flat=True)) == wanted


@pytest.mark.parametrize("adapter", ["binance-usdm", "binance-portfolio"])
def test_chinese_symbol_is_swept_like_any_other(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    stage.seed(account, 2, symbol=CHINESE)
    stage.seed_conditional(account, symbol=CHINESE)
    stage.read(account)

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)
    assert set(sweep.orders.values_list("symbol", flat=True)) == {CHINESE}


def test_orders_of_two_symbols_with_one_id_are_two_rows(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        stage.seed(account, symbol=symbol, order_id="8000000001")
    stage.read(account)
    stage.simulator.fault("fill_during", account=account.name, symbol="ETHUSDT")

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)
    assert stage.rows(sweep) == {
        ("ordinary", "BTCUSDT", "8000000001"): Outcome.CANCELLED,
        ("ordinary", "ETHUSDT", "8000000001"): Outcome.FILLED,
    }


def test_options_of_one_underlying_share_a_cancel(stage: Stage) -> None:
    account = stage.account("binance-options")
    symbols = ("BTC-261225-100000-C", "BTC-261225-90000-P", "ETH-261225-3000-C")
    for symbol in symbols:
        stage.seed(account, 2, symbol=symbol)
    stage.read(account)

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)
    cancels = [call for call in stage.simulator.log(account.name) if is_cancel(call)]
    assert sorted((call["path"], *_named(call)) for call in cancels) == [
        ("/eapi/v1/allOpenOrders", "ETH-261225-3000-C"),
        ("/eapi/v1/allOpenOrdersByUnderlying", "BTCUSDT"),
    ]


def _named(call: dict[str, Any]) -> list[str]:
    return [value for name, value in call["params"].items() if name in ("symbol", "underlying")]


# Scopes.


@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_of_a_symbol_leaves_other_symbols_alone(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    symbol = BOOKS[adapter][1]
    other = "BTC-261225-90000-C" if adapter == "binance-options" else "ETHUSDT"
    stage.seed(account, 2)
    left = stage.seed(account, 2, symbol=other)
    if adapter in CONDITIONAL:
        stage.seed_conditional(account)
        left += stage.seed_conditional(account, symbol=other)
    stage.read(account)

    sweep = stage.work_until_over(stage.press(account, kind=Panic.Scope.SYMBOL, symbol=symbol))

    assert sweep.state == State.CLEAR, sweep.last_word
    assert ids(stage.simulator.book(account.name)) == ids(left)
    truth = stage.truth(account)
    assert stage.rows(sweep) == {key: truth[key] for key in truth if key[1] == symbol}
    assert set(stage.rows(sweep).values()) == {Outcome.CANCELLED}


@pytest.mark.parametrize("book", ["um", "um_conditional", "margin"])
def test_sweep_of_a_symbol_reaches_the_books_it_was_not_known_in(stage: Stage, book: str) -> None:
    account = stage.account("binance-portfolio")
    stage.seed(account, book="margin" if book == "um" else "um")
    stage.read(account)
    stage.seed(account, book=book)

    sweep = stage.work_until_over(stage.press(account, kind=Panic.Scope.SYMBOL, symbol="BTCUSDT"))

    stage_left = stage.simulator.book(account.name)
    assert (sweep.state, stage_left) == (State.CLEAR, [])
    assert stage.rows(sweep) == stage.truth(account)


@pytest.mark.parametrize(
    ("adapter", "count", "call", "calls"),
    [
        ("binance-usdm", 12, ("DELETE", "/fapi/v1/batchOrders"), 2),
        ("binance-options", 12, ("DELETE", "/eapi/v1/batchOrders"), 2),
        ("binance-portfolio", 3, ("DELETE", "/papi/v1/um/order"), 3),
        ("coinswitch", 3, ("DELETE", "/trade/api/v2/futures/order"), 3),
    ],
)
def test_sweep_of_chosen_orders_cancels_just_those(
    stage: Stage, adapter: str, count: int, call: tuple[str, str], calls: int
) -> None:
    account = stage.account(adapter)
    orders = stage.seed(account, count + 2)
    stage.read(account)
    chosen, left = orders[:count], orders[count:]
    refs = tuple(ref(order) for order in chosen)

    sweep = stage.work_until_over(stage.press(account, kind=Panic.Scope.ORDERS, order_refs=refs))

    assert sweep.state == State.CLEAR, sweep.last_word
    assert ids(stage.simulator.book(account.name)) == ids(left)
    assert {key[2]: outcome for key, outcome in stage.rows(sweep).items()} == dict.fromkeys(
        ids(chosen), Outcome.CANCELLED
    )
    cancels = [(c["method"], c["path"]) for c in stage.simulator.log(account.name) if is_cancel(c)]
    assert cancels == [call] * calls


@pytest.mark.parametrize("adapter", CONDITIONAL)
def test_sweep_of_a_chosen_conditional_order_cancels_just_that(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    chosen, left = stage.seed_conditional(account, 2)
    stage.seed(account)
    stage.read(account)

    sweep = stage.work_until_over(stage.press(account, kind=Panic.Scope.ORDERS, order_refs=(ref(chosen),)))

    assert sweep.state == State.CLEAR, sweep.last_word
    assert chosen["order_id"] not in ids(stage.simulator.book(account.name))
    assert left["order_id"] in ids(stage.simulator.book(account.name))
    assert stage.rows(sweep) == {
        (CONDITIONAL[adapter][1], chosen["symbol"], chosen["order_id"]): Outcome.CANCELLED
    }


def test_sweep_of_chosen_orders_follows_those_that_nobody_had_read(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    chosen, _ = stage.seed(account, 2)

    sweep = stage.work_until_over(stage.press(account, kind=Panic.Scope.ORDERS, order_refs=(ref(chosen),)))

    assert sweep.state == State.CLEAR, sweep.last_word
    assert stage.rows(sweep) == {("ordinary", "BTCUSDT", chosen["order_id"]): Outcome.CANCELLED}
    assert len(stage.simulator.book(account.name)) == 1


# What stands in the way before any call.


def test_sweep_of_an_account_without_credentials_says_what_to_do(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    Account.objects.filter(pk=account.pk).update(sealed_credentials="")
    with_orders = stage.account("binance-options", "beta")
    stage.seed(with_orders)
    sweeps = stage.press_all()

    sweep = stage.work(sweeps["alpha"])
    other = stage.work_until_over(sweeps["beta"])

    assert (sweep.state, sweep.last_word) == (
        State.FAILED,
        "alpha has no credentials: enter its key and secret in the admin",
    )
    stage.assert_proven(other)


def test_sweep_goes_on_with_the_credentials_that_were_entered_meanwhile(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)
    sealed = account.sealed_credentials
    Account.objects.filter(pk=account.pk).update(sealed_credentials="not sealed by this key")
    sweep = stage.press(account)

    failed = stage.work(sweep)
    Account.objects.filter(pk=account.pk).update(sealed_credentials=sealed)
    sweep = stage.work_until_over(sweep)

    assert failed.state == State.FAILED
    assert failed.last_word.startswith("alpha's credentials cannot be unsealed: CREDENTIALS_KEYS has changed")
    stage.assert_proven(sweep)


def test_sweep_of_a_venue_that_cannot_be_reached_says_so(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    account.venue.base_url = "http://127.0.0.1:1"  # whose clock nobody has ever read
    account.venue.save(update_fields=["base_url"])

    sweep = stage.work(stage.press(account))

    assert (sweep.state, sweep.last_word) == (
        State.FAILED,
        "GET /fapi/v1/time: no connection to the venue (ConnectionError)",
    )


def test_listing_of_before_the_last_cancel_proves_nothing_after_it(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    order = stage.seed(account)[0]
    stage.read(account)
    sweep, now = stage.press(account), timezone.now()
    stamps = ("first_request_at", "known_empty_at", "full_empty_at", "read_back_at")
    Sweep.objects.filter(pk=sweep.pk).update(round=1, **dict.fromkeys(stamps, now))
    SweptOrder.objects.create(
        sweep=sweep,
        family="ordinary",
        symbol=order["symbol"],
        venue_order_id=order["order_id"],
        outcome=Outcome.ACKED,
        placed_after=True,
        seen_at=now,
        outcome_at=now,
    )
    limit, budget = BinanceUsdm.listing_limit(), AccountBudget(account, Work.PANIC)
    budget.spend(limit, budget.cap(limit) - (budget.used(limit) or 0))

    held_back = stage.work(sweep)
    stage.minute_passes()
    stage.seed(account, symbol="SOLUSDT")

    assert held_back.last_word.endswith("; orders keep coming")
    assert (held_back.known_empty_at, held_back.full_empty_at) == (None, None)
    stage.assert_proven(stage.work_until_over(sweep))


def test_order_that_no_list_showed_is_traced_by_the_venues_clock(stage: Stage, events: Events) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)
    stage.read(account)
    stage.simulator.fault("clock_skew_ms", venue="binance-usdm", ms=-5000)
    forget_venue(stage.simulator.url)  # whose clock is read anew, before the first cancel

    def place() -> None:  # gone before any listing
        stage.seed(account, created_ms=time.time_ns() // 1_000_000 - 5000)

    events.before(CALLS["binance-usdm"].cancel, place)

    sweep = stage.work_until_over(stage.press(account))

    assert sweep.orders.count() == 2
    stage.assert_proven(sweep)


@pytest.mark.parametrize("adapter", ["binance-usdm", "binance-options", "binance-portfolio"])
def test_order_of_a_moment_ago_gets_its_outcome_where_our_reading_of_the_venues_clock_is_late(
    stage: Stage, events: Events, adapter: str
) -> None:
    account = stage.account(adapter)
    stage.seed(account)
    stage.read(account)
    clock = clock_of(stage.simulator.url)
    clock.set(time.time_ns() // 1_000_000 - 3000, time.time_ns(), time.time_ns())
    events.before(CALLS[adapter].cancel, lambda: stage.seed(account))  # gone before any list

    sweep = stage.work_until_over(stage.press(account))

    assert sweep.orders.count() == 2
    stage.assert_proven(sweep)


def test_order_that_the_history_shows_open_is_no_clear(stage: Stage, events: Events) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)
    stage.read(account)
    events.after(CALLS["binance-usdm"].listing, lambda: stage.seed(account), nth=2)  # after both readings

    sweep = stage.work_until_over(stage.press(account))

    assert sweep.orders.count() == 2
    stage.assert_proven(sweep)


def test_sweep_that_is_clear_stays_as_it_is(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    sweep = stage.work_until_over(stage.press(account))
    stage.seed(account)
    asked = len(paths(stage, account))

    again = stage.work(sweep)

    assert (again.state, again.clear_at) == (State.CLEAR, sweep.clear_at)
    assert len(paths(stage, account)) == asked


def test_sweep_numbers_its_rounds_and_stamps_its_steps(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)
    stage.read(account)

    sweep: Sweep = stage.work_until_over(stage.press(account))

    assert (sweep.round, sweep.failures) == (1, 0)
    assert sweep.panic.pressed_at < sweep.first_request_at <= sweep.acked_at <= sweep.known_empty_at
    assert (sweep.lease_owner, sweep.lease_until) == ("", None)


def test_venue_that_takes_every_thread_for_its_calls_holds_no_other_up(stage: Stage) -> None:
    account = stage.account("binance-portfolio")
    stage.seed(account, 2)
    stage.seed_conditional(account)
    stage.read(account)
    hung, over = sweeper.calls_to("binance-usdm", stage.simulator.url), threading.Event()
    waiting = [hung.submit(over.wait) for _ in range(sweeper.CALLS_AT_ONCE)]

    sweep = stage.work_until_over(stage.press(account))

    assert not any(one.done() for one in waiting)
    over.set()
    stage.assert_proven(sweep)
