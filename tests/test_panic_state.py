"""One panic's values: the headline, the tally, the order of sweeps and orders, the curve."""

import shlex
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from panicboard import order_table, panic_state
from panicboard.models import AuditEntry, Panic, Sweep, SweptOrder
from panicboard.panic_curve import Change, draw
from panicboard.panic_state import Next, PanicPage
from panicboard.tallies import Tally
from tests.factories import make_desk
from tests.pages import after, latch, make_account, make_orders, make_panic, make_sweep

pytestmark = pytest.mark.django_db
State = Sweep.State
Outcome = SweptOrder.Outcome


def read(panic: Panic, at_ms: float = 2417) -> PanicPage:
    return panic_state.read(panic.pk, after(at_ms))


def test_head_counts_what_is_still_open_while_it_runs() -> None:
    panic = make_panic()
    make_orders(make_sweep(panic, make_account("one"), State.CLEAR), Outcome.CANCELLED, 71)
    bad = make_sweep(panic, make_account("two"), State.NOT_CLEAR)
    for outcome in (Outcome.UNKNOWN, Outcome.STILL_OPEN, Outcome.REJECTED, Outcome.SENT, Outcome.ACKED):
        make_orders(bad, outcome)
    for outcome in (Outcome.FILLED, Outcome.EXPIRED):
        make_orders(bad, outcome)

    head = read(panic).head

    assert (head.tally, head.ended_at, head.clear) == (Tally(78, 5), None, False)
    assert (head.clear_sweeps, head.sweeps) == (1, 2)


def test_head_is_clear_when_every_sweep_is_and_names_the_readings() -> None:
    panic = make_panic()
    make_sweep(panic, make_account("one"), State.CLEAR)
    make_sweep(panic, make_account("two"), State.CLEAR, read_back_at=after(4000), clear_at=after(4106))

    head = read(panic).head

    assert (head.clear, head.ended_at) == (True, after(4106))
    assert (head.first_read_back_at, head.last_read_back_at) == (after(1106), after(4000))


@pytest.mark.parametrize("state", [State.RELEASED, State.HANDED_OVER])
def test_head_of_a_panic_that_ended_unproven_is_never_clear(state: str) -> None:
    one, two = make_account("one"), make_account("two")
    panic = make_panic()
    make_sweep(panic, one, State.CLEAR)
    later = make_panic(pressed_at=after(9000))
    make_sweep(panic, two, state, handed_over_to=later if state == State.HANDED_OVER else None)
    AuditEntry.objects.create(at=after(9000), actor_name="x", action="released", panic=panic, account=two)

    head = read(panic).head

    assert (head.clear, head.ended_at, head.clear_sweeps) == (False, after(9000), 1)


def test_head_counts_the_accounts_of_which_nothing_was_seen_yet() -> None:
    panic = make_panic()
    make_sweep(panic, make_account("silent"), State.FAILED)
    make_sweep(panic, make_account("empty"), State.READING_BACK, read_back_at=after(600))
    make_orders(make_sweep(panic, make_account("seen")), Outcome.SENT)

    page = read(panic)

    assert page.head.unlisted == 1
    assert [row.account for row in page.sweeps if row.is_unlisted] == ["silent"]


def test_an_order_that_vanished_from_a_clear_account_is_shown_and_not_counted_open() -> None:
    panic = make_panic()
    make_orders(make_sweep(panic, make_account(), State.CLEAR), Outcome.UNKNOWN, 2, vanished=True)

    page = read(panic)

    assert (page.head.tally, page.head.settled_unknown, page.head.clear) == (Tally(2, 0), 2, True)
    assert {one.outcome: one.count for one in page.open}[Outcome.UNKNOWN] == 0
    assert page.alerts == ("2 unknown.",)


def test_sweeps_are_worst_first() -> None:
    panic = make_panic()
    states = [*State.values]
    for state in states:
        make_sweep(panic, make_account(state), state)

    page = read(panic)

    assert [row.label for row in page.sweeps] == [
        "NOT CLEAR",
        "FAILED",
        "QUEUED",
        "CANCELLING",
        "READING BACK",
        "RELEASED",
        "HANDED OVER",
        "CLEAR",
    ]
    assert page.alerts == ("failed failed.",)


def test_next_tells_when_what_is_tried_again() -> None:
    one, two, three, four = (make_account(name) for name in ("one", "two", "three", "four"))
    panic = make_panic()
    make_sweep(panic, one, State.NOT_CLEAR, due_at=after(3400))
    make_sweep(panic, two, State.FAILED, due_at=after(2900))
    make_sweep(panic, three, State.READING_BACK, known_empty_at=after(400), due_at=after(0))
    make_sweep(panic, four, State.QUEUED)
    latch(panic, one, two, three, four)

    assert read(panic).next == Next(
        pk=panic.pk,
        not_clear=2,
        next_try_at=after(2900),
        reading_back=1,
        to_be_read=0,
        next_reading_at=None,
        full_listing_at=None,
        at_work=1,
        latched=4,
        venue_locks=False,
    )


def held_back(panic: Panic, name: str, state: str, seconds: float, **fields: Any) -> Sweep:
    """A sweep whose full listing comes so many seconds after the press."""
    known = {"known_empty_at": after(400)} if state == State.READING_BACK else {}
    values = {**known, "full_listing_at": after(1000 * seconds), **fields}
    return make_sweep(panic, make_account(name), state, **values)


def test_next_tells_when_the_last_full_listing_comes() -> None:
    panic = make_panic()
    held_back(panic, "soon", State.READING_BACK, 30)
    held_back(panic, "later", State.READING_BACK, 34, due_at=after(99_000))
    being_listed = {"known_empty_at": after(400), "due_at": after(0)}
    make_sweep(panic, make_account("being listed"), State.READING_BACK, **being_listed)

    coming = read(panic).next

    assert (coming.reading_back, coming.to_be_read, coming.at_work) == (3, 0, 0)
    assert coming.full_listing_at == after(34_000)


def test_full_listing_that_a_limit_by_key_holds_back_comes_when_the_sweep_goes_on() -> None:
    panic = make_panic()
    account = make_account(adapter="coinswitch")
    fields = {"known_empty_at": after(400), "due_at": after(58_000)}
    make_sweep(panic, account, State.READING_BACK, **fields)

    page = read(panic)

    assert page.next.full_listing_at == after(58_000)
    assert [row.full_listing_at for row in page.sweeps] == [after(58_000)]


def test_next_tells_of_those_that_wait_for_their_first_reading() -> None:
    panic = make_panic()
    held_back(panic, "reads back", State.READING_BACK, 30)
    held_back(panic, "waits", State.CANCELLING, 62, due_at=after(5000))
    held_back(panic, "waits longer", State.CANCELLING, 70, due_at=after(8000))
    make_sweep(panic, make_account("cancels"), State.CANCELLING)

    coming = read(panic).next

    assert (coming.reading_back, coming.to_be_read, coming.at_work) == (1, 2, 1)
    assert (coming.next_reading_at, coming.full_listing_at) == (after(5000), after(70_000))


def test_full_listing_is_not_looked_forward_to_where_orders_are_left_or_all_is_over() -> None:
    panic = make_panic()
    for state in (State.NOT_CLEAR, State.FAILED, State.CLEAR):
        held_back(panic, state, state, 30)
    orders_came = held_back(panic, "orders came", State.READING_BACK, 30, known_empty_at=None)

    page = read(panic)

    assert page.next.full_listing_at is None
    assert [row.full_listing_at for row in page.sweeps] == [None] * 4
    assert orders_came.full_listing_at is not None


def test_row_tells_since_when_known_symbols_are_empty_and_when_the_full_listing_comes() -> None:
    panic = make_panic()
    held_back(panic, "a reads back", State.READING_BACK, 34)
    held_back(panic, "b waits", State.CANCELLING, 62)

    waits, reads_back = read(panic).sweeps

    assert (reads_back.known_empty_at, reads_back.full_listing_at) == (after(400), after(34_000))
    assert (waits.known_empty_at, waits.full_listing_at) == (None, after(62_000))


def test_facts_tell_who_joined_and_what_was_left_out() -> None:
    panic = make_panic(make_account(), skipped=["old"], reason="bot went silent", held_ms=1004)
    for ms, name, action in ((0, "risk.desk1", "pressed"), (1630, "risk.desk2", "joined")):
        AuditEntry.objects.create(at=after(ms), actor_name=name, action=action, panic=panic)

    facts = read(panic).facts

    assert (facts.skipped, facts.reason, facts.held_ms) == (("old",), "bot went silent", 1004)
    assert [(entry.who, entry.action) for entry in facts.entries] == [
        ("risk.desk1", "pressed"),
        ("risk.desk2", "joined"),
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize(
    "scope", [Panic.Scope.ALL, Panic.Scope.DESK, Panic.Scope.ACCOUNT, Panic.Scope.SYMBOL]
)
def test_the_shell_line_presses_the_same_scope(scope: str) -> None:
    account = make_account("basis one")
    named = {
        Panic.Scope.ALL: {},
        Panic.Scope.DESK: {"desk": make_desk("delta")},
        Panic.Scope.ACCOUNT: {"account": account},
        Panic.Scope.SYMBOL: {"account": account, "symbol": "BTCUSDT"},
    }[Panic.Scope(scope)]
    panic = make_panic(scope=scope, **named)
    program, *arguments = shlex.split(read(panic).facts.shell)

    call_command(*arguments)

    pressed = Panic.objects.exclude(pk=panic.pk).get()
    assert program == "manage.py"
    assert (pressed.scope, pressed.scope_label) == (panic.scope, panic.scope_label)


def test_orders_are_loudest_first_with_the_cancelled_folded() -> None:
    sweep = make_sweep(make_panic(), make_account(), State.NOT_CLEAR)
    for outcome in Outcome.values:
        make_orders(sweep, outcome)
    make_orders(sweep, Outcome.CANCELLED, 4)

    table = order_table.read(sweep.pk, full=False)

    assert [line.label for line in table.lines] == [
        "UNKNOWN",
        "STILL OPEN",
        "REJECTED",
        "ACKED",
        "SENT",
        "FILLED",
        "EXPIRED",
    ]
    assert (table.total, table.cancelled, table.left_out) == (12, 5, 0)


def test_orders_in_full_hold_the_cancelled_ones_too() -> None:
    sweep = make_sweep(make_panic(), make_account(), State.CLEAR)
    orders = make_orders(sweep, Outcome.CANCELLED, 3)

    table = order_table.read(sweep.pk, full=True)

    assert [line.venue_order_id for line in table.lines] == [order.venue_order_id for order in orders]
    assert table.left_out == 0


def test_orders_beyond_the_table_are_counted() -> None:
    sweep = make_sweep(make_panic(), make_account(), State.NOT_CLEAR)
    make_orders(sweep, Outcome.STILL_OPEN, 5)
    make_orders(sweep, Outcome.CANCELLED, 4)

    table = order_table.read(sweep.pk, full=False, most=2)

    assert (len(table.lines), table.left_out, table.fits) == (2, 3, False)


def test_equal_values_mean_that_nothing_changed_but_the_time() -> None:
    panic = make_panic()
    make_orders(make_sweep(panic, make_account(), State.NOT_CLEAR), Outcome.STILL_OPEN)
    held_back(panic, "waits", State.READING_BACK, 34)

    assert read(panic, 2300) == read(panic, 2400)


def test_the_curve_falls_with_every_order_that_goes() -> None:
    panic = make_panic()
    sweep = make_sweep(panic, make_account(), State.NOT_CLEAR)
    make_orders(sweep, Outcome.CANCELLED, 2, outcome_at=after(1000))
    make_orders(sweep, Outcome.STILL_OPEN, 1)
    make_orders(sweep, Outcome.SENT, 1, seen_at=after(1500), placed_at=after(1200))

    curve = read(panic, 2000).curve

    # 2 s fit on the axis from x 34 to 460; three orders are the full height, from y 108 to 8.
    assert curve.line == "M34.0 8.0H34.0V8.0H247.0V74.7H353.5V41.3H460.0"
    assert (curve.most, curve.now.label) == (3, "2 now")


def test_the_curve_marks_when_the_first_account_was_clear_as_long_as_that_is_known() -> None:
    panic = make_panic()
    make_sweep(panic, make_account("one"), State.CLEAR, clear_at=after(1106))
    assert read(panic).curve.first_clear is None  # the only one: its end is the headline
    two = make_sweep(panic, make_account("two"), State.CLEAR, clear_at=after(1900))

    mark = read(panic).curve.first_clear
    Sweep.objects.filter(pk=two.pk).update(reopened=1)  # it was clear before, and nobody knows when
    later = read(panic).curve.first_clear

    assert (mark and mark.label, later) == ("first account clear +1,106 ms", None)


@pytest.mark.parametrize(("at_ms", "anchor"), [(1000, "start"), (181_874, "end"), (290_000, "end")])
def test_label_of_a_mark_stays_inside_the_curve(at_ms: float, anchor: str) -> None:
    mark = draw([Change(0, 9)], until_ms=300_000, left="0", over=True, first_clear_ms=at_ms).first_clear

    assert mark is not None
    assert mark.anchor == anchor


def test_the_curve_never_has_more_steps_than_pixels() -> None:
    changes = [Change(number / 10, -1) for number in range(10_000)]

    curve = draw([Change(0, 10_000), *changes], until_ms=1000, left="0", over=True, first_clear_ms=None)

    assert curve.line.count("V") <= 427
    assert curve.now.label == "0 left"


def test_thirty_accounts_cost_no_query_more_than_one() -> None:
    def fill(count: int) -> int:
        panic = make_panic()
        for number in range(count):
            account = make_account(f"{count}-{number}")
            make_orders(make_sweep(panic, account, State.CLEAR), Outcome.CANCELLED, 2)
            AuditEntry.objects.create(
                at=after(1), actor_name="x", action="released", panic=panic, account=account
            )
        with CaptureQueriesContext(connection) as queries:
            read(panic)
        return len(queries)

    assert fill(1) == fill(30)
