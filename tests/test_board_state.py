"""The board's values: totals, states, their order, and that thirty accounts cost no query more than one."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from panicboard import board_state
from panicboard.board_state import Board, State
from panicboard.models import Account, Countdown, Egress, Panic, Sweep, SweptOrder
from panicboard.readiness import SystemReadiness
from panicboard.tallies import Tally
from tests.pages import (
    PRESSED_AT,
    after,
    latch,
    make_account,
    make_canary_run,
    make_orders,
    make_panic,
    make_reading,
    make_sweep,
)

pytestmark = pytest.mark.django_db
READY = SystemReadiness("ready", "", queue_ok=True, workers_seen_at=PRESSED_AT)
Outcome = SweptOrder.Outcome


def read(at_ms: float = 0) -> Board:
    return board_state.read(after(at_ms), READY)


def test_read_sums_what_is_open_by_desk() -> None:
    make_reading(make_account("one"), 62, conditional_count=11, protective_count=7)
    make_reading(make_account("two"), 38)
    make_reading(make_account("three", desk="options"), 196)

    board = read()

    desks = [(desk.slug, desk.open, desk.ordinary, desk.conditional, desk.protective) for desk in board.desks]
    assert desks == [("delta", 100, 89, 11, 7), ("options", 196, 196, 0, 0)]
    assert (board.summary.open, board.summary.protective, board.summary.unread) == (296, 7, 0)


def test_read_leaves_unread_accounts_out_of_every_sum() -> None:
    make_reading(make_account("read"), 38)
    make_reading(make_account("failing"), 36, failure="-2015 key rejected", failing_since=after(-41_000))
    make_account("never read")

    board = read()

    assert (board.summary.open, board.summary.unread, board.summary.not_ready) == (38, 2, 2)
    assert [(row.name, row.read, row.open) for row in board.desks[0].rows] == [
        ("failing", False, 36),
        ("never read", False, 0),
        ("read", True, 38),
    ]


def test_read_tells_the_age_of_the_oldest_number() -> None:
    make_reading(make_account("one"), 1, read_at=after(-2100))
    make_reading(make_account("two"), 1, read_at=after(-600))

    assert read().summary.oldest_read_at == after(-2100)


def test_a_disabled_account_is_neither_unread_nor_not_ready() -> None:
    make_account("old", enabled=False)

    board = read()

    assert board.desks[0].rows[0].state is State.DISABLED
    summary = board.summary
    assert (summary.accounts, summary.enabled, summary.unread, summary.not_ready) == (1, 0, 0, 0)


def test_rows_are_worst_first_and_then_by_open_orders() -> None:
    for name, count in (("small", 3), ("large", 71)):
        make_reading(make_account(name), count)
    skewed, latched, swept = make_account("skewed"), make_account("latched"), make_account("swept")
    make_reading(skewed, 1, clock_offset_ms=820)
    for account in (latched, swept):
        make_reading(account)
    make_account("unknown")
    latch(make_panic(latched, state=Sweep.State.CLEAR), latched)
    make_panic(swept, state=Sweep.State.CANCELLING)

    rows = read().desks[0].rows

    assert [(row.name, row.state) for row in rows] == [
        ("swept", State.PANIC),
        ("unknown", State.NOT_READY),
        ("skewed", State.DEGRADED),
        ("latched", State.LATCHED),
        ("large", State.NORMAL),
        ("small", State.NORMAL),
    ]


def test_fold_keeps_the_largest_of_the_quiet_and_every_abnormal_one() -> None:
    for number in range(6):
        make_reading(make_account(f"quiet-{number}"), 10 + number)
    for number in range(5):
        make_account(f"unread-{number}", desk="carry")
    make_reading(make_account("quiet", desk="carry"), 9)

    carry, delta = read().desks

    assert {row.name for row in delta.rows if row.pk in delta.folded} == {"quiet-0", "quiet-1"}
    assert {row.name for row in carry.rows if row.pk in carry.folded} == {"quiet"}


def test_accounts_behind_a_limit_too_small_for_their_cancels_are_degraded() -> None:
    for name, weight in (("one", 1300), ("two", 1200)):
        make_reading(make_account(name), cancel_weight=weight)
    elsewhere = Egress.objects.create(name="second line", source_address="127.0.0.2")
    make_reading(make_account("three", egress=elsewhere), cancel_weight=1300)

    board = read()

    degraded, normal = State.DEGRADED, State.NORMAL
    found = [(row.name, row.state) for row in board.desks[0].rows]
    assert found == [("one", degraded), ("two", degraded), ("three", normal)]
    assert (board.summary.degraded, board.summary.not_ready) == (2, 0)


def test_a_running_sweep_shows_what_is_still_open() -> None:
    account = make_account()
    panic = make_panic()
    sweep = make_sweep(panic, account, Sweep.State.NOT_CLEAR, last_word="3 still listed")
    make_orders(sweep, Outcome.STILL_OPEN, 3)
    make_orders(sweep, Outcome.CANCELLED, 5)

    line = read().desks[0].rows[0].sweep

    assert line is not None
    assert (line.panic_id, line.state_label, line.tally, line.last_word) == (
        panic.pk,
        "NOT CLEAR",
        Tally(8, 3),
        "3 still listed",
    )


def test_a_latched_account_shows_its_read_back_until_orders_are_read_again() -> None:
    account = make_account()
    latch(make_panic(account, state=Sweep.State.CLEAR), account)
    reading = make_reading(account, read_at=after(900))

    proven = read(2000).desks[0].rows[0].latch
    reading.open_count, reading.read_at = 2, after(1500)
    reading.save()
    disproven = read(2000).desks[0].rows[0].latch

    assert proven is not None
    assert disproven is not None
    assert (proven.read_back_at, proven.placed_since) == (after(1106), False)
    assert (disproven.read_back_at, disproven.placed_since) == (None, True)


def test_a_sweep_of_one_symbol_proves_nothing_about_its_account() -> None:
    account = make_account()
    panic = make_panic()
    make_sweep(panic, account, Sweep.State.CLEAR, whole_account=False)
    latch(panic, account)

    found = read().desks[0].rows[0].latch

    assert found is not None
    assert found.read_back_at is None


@pytest.mark.parametrize(("scope", "joins"), [(Panic.Scope.ALL, True), (Panic.Scope.DESK, False)])
def test_the_global_stop_joins_only_a_panic_of_everything(scope: str, joins: bool) -> None:
    make_panic(make_account(), scope=scope)

    board = read()

    assert board.summary.running == 1
    assert (board.joinable is not None) is joins


def test_a_running_panic_counts_the_orders_of_all_its_sweeps() -> None:
    panic = make_panic()
    make_orders(make_sweep(panic, make_account("one"), Sweep.State.CLEAR), Outcome.CANCELLED, 4)
    make_orders(make_sweep(panic, make_account("two"), Sweep.State.CANCELLING), Outcome.ACKED, 3)

    (running,) = read().running

    assert (running.tally, running.accounts, running.clear) == (Tally(7, 3), 2, 1)


def test_an_order_the_venue_no_longer_knows_is_not_open_once_its_sweep_is_clear() -> None:
    panic = make_panic()
    for name, state in (("clear", Sweep.State.CLEAR), ("running", Sweep.State.NOT_CLEAR)):
        make_orders(make_sweep(panic, make_account(name), state), Outcome.UNKNOWN, vanished=True)

    (running,) = read().running

    assert running.tally == Tally(2, 1)


def armed(account: Account, scope: str, *, left_s: float = 90, **fields: Any) -> Countdown:
    """A countdown of 120 s of which so much is left."""
    facts: dict[str, Any] = {"countdown_ms": 120_000, "refresh_ms": 30_000, "phase": "armed", "to_set": False}
    facts |= {"armed_at": after(0), "runs_from": after(0), "acked_at": after(0)} | fields
    deadline_at = PRESSED_AT + timedelta(seconds=left_s)
    return Countdown.objects.create(account=account, scope=scope, deadline_at=deadline_at, **facts)


def test_countdowns_show_the_nearest_deadline_and_how_many_run() -> None:
    account = make_account()
    make_reading(account)
    armed(account, "BTCUSDT")
    armed(account, "ETHUSDT", left_s=60)
    armed(account, "SOLUSDT", phase="disarmed")

    board = read()

    row = board.desks[0].rows[0]
    assert row.countdown is not None
    assert (row.countdown.line.scope, row.countdown.armed, row.countdown.lapsing) == ("ETHUSDT", 2, 0)
    assert (row.state, board.summary.armed, board.summary.lapsing) == (State.NORMAL, 2, 0)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"left_s": 20}, State.LAPSING),
        ({"left_s": -1}, State.FIRED),
        ({"misses": 1, "failure": "HTTP 503"}, State.LAPSING),
        ({"phase": "fired", "found_open": 0}, State.FIRED),
        ({"phase": "passed"}, State.FIRED),
        ({"phase": "fired", "locked": True}, State.FIRED),
        ({"phase": "disarmed"}, State.NORMAL),
    ],
)
def test_account_is_as_bad_as_its_worst_countdown(fields: dict[str, Any], state: State) -> None:
    account = make_account()
    make_reading(account)
    armed(account, "BTCUSDT")
    armed(account, "ETHUSDT", **fields)

    assert read().desks[0].rows[0].state is state


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"phase": "passed"}, "PASSED"),
        ({"phase": "fired", "found_open": 2}, "PASSED"),
        ({"phase": "fired", "found_open": 0}, "FIRED"),
        ({"phase": "fired", "locked": True}, "FIRED"),
    ],
)
def test_fired_is_said_only_of_what_was_found_gone(fields: dict[str, Any], word: str) -> None:
    account = make_account()
    make_reading(account)
    armed(account, "BTCUSDT", **fields)

    assert read().desks[0].rows[0].word == word


@pytest.mark.parametrize(("fields", "state"), [({}, State.NORMAL), ({"locked": True}, State.FIRED)])
def test_what_ran_out_in_a_panic_was_meant_unless_it_locks(fields: dict[str, Any], state: State) -> None:
    account = make_account()
    make_reading(account)
    armed(account, "BTCUSDT", phase="fired", withheld_by=make_panic(), **fields)

    assert read().desks[0].rows[0].state is state


@pytest.mark.parametrize(("seconds", "late"), [(14, False), (16, True)])
def test_a_reading_is_late_when_it_is_much_older_than_planned(seconds: int, late: bool) -> None:
    make_reading(make_account(), read_at=PRESSED_AT - timedelta(seconds=seconds), planned_interval_s=5)

    assert read().desks[0].rows[0].late is late


def test_the_environment_names_every_kind_of_venue() -> None:
    make_account("one")
    assert (read().environment, read().is_live) == ("SIMULATED VENUES", False)

    live = make_account("two", adapter="binance-options").venue
    live.environment = "live"
    live.save()

    assert (read().environment, read().is_live) == ("LIVE + SIMULATED VENUES", True)


def test_an_account_of_a_venue_nobody_knows_any_more_still_shows() -> None:
    make_reading(make_account(adapter="gone"), 4)

    row = read().desks[0].rows[0]

    assert (row.open, row.books, row.has_countdown) == (4, "", False)


def readiness_by_name() -> dict[str, tuple[str, str, State]]:
    rows = [row for desk in read(1000).desks for row in desk.rows]
    return {row.name: (row.readiness.level, row.readiness.reason, row.state) for row in rows}


def test_last_canary_run_that_is_over_speaks_for_a_marked_account() -> None:
    failed, held, running, unmarked = (
        make_account(name, canary=name != "unmarked") for name in ("failed", "held", "running", "unmarked")
    )
    for account in (failed, held, running, unmarked):
        make_reading(account)
        make_canary_run(account, "failed", last_word="no margin", began_at=after(-2000))
    make_canary_run(held)
    make_canary_run(running, "running")

    alarm = ("degraded", "canary failed 20 Nov 14:03: no margin", State.DEGRADED)
    assert readiness_by_name() == {
        "failed": alarm,
        "running": alarm,
        "held": ("ready", "ready", State.NORMAL),
        "unmarked": ("ready", "ready", State.NORMAL),
    }


def test_escaped_canary_puts_every_account_of_its_venue_in_doubt() -> None:
    canary = make_account("canary", canary=True)
    for account in (canary, make_account("beside"), make_account("elsewhere", adapter="binance-options")):
        make_reading(account)
    make_canary_run(canary, "escaped", last_word="order 7 is open")

    doubt = "canary escaped on canary: at this venue a panic may not reach all"
    assert readiness_by_name() == {
        "canary": ("not_ready", "canary escaped 20 Nov 14:03: order 7 is open", State.NOT_READY),
        "beside": ("degraded", doubt, State.DEGRADED),
        "elsewhere": ("ready", "ready", State.NORMAL),
    }


def test_equal_rows_mean_that_nothing_changed_but_the_time() -> None:
    make_reading(make_account(), 4)

    assert read(0).desks == read(4000).desks


def test_thirty_accounts_cost_no_query_more_than_one() -> None:
    def fill(count: int) -> int:
        for number in range(count):
            account = make_account(f"{count}-{number}", desk=f"desk-{number % 4}", canary=True)
            make_reading(account, 2)
            make_canary_run(account)
            panic = make_panic()
            make_orders(make_sweep(panic, account), Outcome.SENT)
            latch(panic, account)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            read()
        return len(queries)

    assert fill(1) == fill(29)
