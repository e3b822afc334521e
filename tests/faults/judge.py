"""What must hold of every sweep, whatever befell it; judged by the simulator's own book and log of requests.

`objections` takes a `Record` of one account's sweep and says in words what is wrong with it: an open order
behind a CLEAR, a CLEAR without the two readings that prove it, rows that are not the truth, a heartbeat after
the latch. Every CLEAR counts, also one that was taken away a moment later: a trigger in the database keeps
them all (`Journal`), whichever process wrote them.

Test modules import names from here before pytest could rewrite its asserts: PYTEST_DONT_REWRITE.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from panicboard.models import Sweep
from tests import database
from tests.faults.bad_days import SPOILS
from tests.simulator_process import SimulatorProcess
from tests.sweep_stage import Stage, is_cancel, is_full_listing
from tests.venue_calls import CALLS, Call, asked_of, is_after_latch, is_heartbeat

#: So long does panicboard wait for an answer. Those that are kept back for less are waited for.
READ_TIMEOUT_US = 5_000_000
Row = tuple[str, str, str]  # family, symbol, venue order id


def us(moment: datetime) -> int:
    """A moment as the simulator's log writes it."""
    return round(moment.timestamp() * 1_000_000)


class Journal:
    """Every CLEAR that is written down while this is kept, by any process."""

    @contextmanager
    def kept(self) -> Iterator["Journal"]:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE every_clear (sweep_id INTEGER NOT NULL, clear_at TEXT NOT NULL)")
        try:
            with database.after_update(
                "panicboard_sweep",
                when="NEW.state = 'clear' AND OLD.state <> 'clear'",
                do="INSERT INTO every_clear VALUES (NEW.id, NEW.clear_at)",
            ):
                yield self
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DROP TABLE every_clear")

    def clears(self, sweep: Sweep) -> list[datetime]:
        """When this sweep was said to be clear."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT clear_at FROM every_clear WHERE sweep_id = %s ORDER BY 1", [sweep.pk])
            return [datetime.fromisoformat(at).replace(tzinfo=UTC) for (at,) in cursor.fetchall()]

    def forget(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM every_clear")


@dataclass(frozen=True)
class Record:
    """One account's sweep: what panicboard says of it, and what the simulator knows."""

    adapter: str
    state: str
    last_word: str
    latched_us: int
    cleared_us: tuple[int, ...]
    rows: dict[Row, str]
    truth: dict[Row, str]
    book: list[dict[str, Any]]
    log: list[dict[str, Any]]
    #: Rows of orders that the venue never knew.
    besides: dict[Row, str] = field(default_factory=dict)


def record(
    simulator: SimulatorProcess, sweep: Sweep, journal: Journal, besides: dict[Row, str] | None = None
) -> Record:
    """The record of a sweep as it stands."""
    stage = Stage(simulator)
    account = sweep.account
    return Record(
        adapter=account.venue.adapter,
        state=sweep.state,
        last_word=sweep.last_word,
        latched_us=us(sweep.panic.pressed_at),
        cleared_us=tuple(us(at) for at in journal.clears(sweep)),
        rows=stage.rows(sweep),
        truth=stage.truth(account),
        book=simulator.book(account.name, only_open=False),
        log=simulator.log(account.name),
        besides=besides or {},
    )


def objections(one: Record) -> list[str]:
    """What is wrong with a sweep that should be over and clear by now; empty when nothing is."""
    return [*_at_the_end(one), *false_clears(one), *heartbeats(one)]


def _at_the_end(one: Record) -> Iterator[str]:
    if one.state != Sweep.State.CLEAR or not one.cleared_us:
        yield f"it is {one.state}, not clear: {one.last_word}"
    if still := [order["order_id"] for order in one.book if order["open"]]:
        yield f"still open at the venue: {', '.join(still)}"
    if one.rows != one.truth | one.besides:
        yield f"its rows are {one.rows}, the truth is {one.truth | one.besides}"


def false_clears(one: Record) -> Iterator[str]:
    """Each CLEAR needs two readings in a row begun after the last cancel, and no open order.

    The second one is a full listing of every family, conditional ones first: what triggers in between moves
    to a book that is read later. The first may be of the known symbols alone.
    """
    for cleared_us in one.cleared_us:
        before = [call for call in one.log if call["arrived_us"] <= cleared_us]
        cancelled_us = max((_over_us(call) for call in before if is_cancel(call)), default=0)
        began_us = []
        for wanted in CALLS[one.adapter].full:
            begun = [at for at in _proofs(one.adapter, before, wanted, cleared_us) if at > cancelled_us]
            if not begun:
                yield f"clear at {cleared_us}, {wanted} not listed after the cancel at {cancelled_us}"
            began_us += begun[-1:]
        listed_us = min(began_us, default=cleared_us)
        if began_us != sorted(began_us):
            yield f"clear at {cleared_us}, conditional orders listed after ordinary ones"
        if not any(_is_of_first_reading(one.adapter, call, cancelled_us, listed_us) for call in before):
            yield f"clear at {cleared_us} by one reading, begun at {listed_us}, and not by two"
        for order in one.book:
            was_open = order["open"] or order["updated_ms"] > cleared_us // 1000
            if order["created_ms"] * 1000 < listed_us and was_open:
                yield f"clear at {cleared_us} while order {order['order_id']} was open"


def heartbeats(one: Record) -> Iterator[str]:
    """After the latch no call may start a countdown, or start it again."""
    for call in one.log:
        if is_heartbeat(call) and is_after_latch(call, one.latched_us):
            yield f"{call['method']} {call['path']} at {call['arrived_us']}, latched at {one.latched_us}"


def _over_us(call: dict[str, Any]) -> int:
    """When a cancel was answered; one whose answer nobody waited for was over when it had arrived."""
    arrived_us, answered_us = int(call["arrived_us"]), int(call["answered_us"])
    return answered_us if 0 < answered_us - arrived_us < READ_TIMEOUT_US else arrived_us


def _proofs(adapter: str, log: list[dict[str, Any]], wanted: Call, cleared_us: int) -> list[int]:
    """When each listing of every symbol began that was answered in full, to its last page."""
    begun: list[int] = []
    pages: list[dict[str, Any]] = []
    for call in log:
        if is_full_listing(call, wanted):
            pages = [call]
        elif pages and _is_further_page(call, wanted):
            pages.append(call)
        else:
            continue
        if _is_whole(adapter, pages) and all(_succeeded(page, cleared_us) for page in pages):
            begun.append(pages[0]["arrived_us"])
    return begun


def _is_of_first_reading(adapter: str, call: dict[str, Any], cancelled_us: int, listed_us: int) -> bool:
    """Whether this is a listing, of one symbol or of all, between the last cancel and the last reading."""
    is_listing = (call["method"], call["path"]) in CALLS[adapter].full
    return is_listing and call["arrived_us"] > cancelled_us and _succeeded(call, listed_us)


def _is_further_page(call: dict[str, Any], wanted: Call) -> bool:
    asked = asked_of(call)
    return (call["method"], call["path"]) == wanted and "symbol" not in asked and "to_time" in asked


def _is_whole(adapter: str, pages: list[dict[str, Any]]) -> bool:
    """Whether these pages go back as far as a listing of this venue must: everywhere but here one is all."""
    if adapter != "coinswitch":
        return len(pages) == 1
    oldest_ms = min((int(asked_of(page)["from_time"]) for page in pages[1:]), default=None)
    days = 28  # what the README promises
    return oldest_ms is not None and oldest_ms <= pages[0]["arrived_us"] // 1000 - (days * 24 - 1) * 3_600_000


def _succeeded(call: dict[str, Any], cleared_us: int) -> bool:
    answered = 0 < call["answered_us"] <= cleared_us
    return answered and call["status"] == 200 and SPOILS.isdisjoint(struck_by(call))


def struck_by(call: dict[str, Any]) -> set[str]:
    """The kinds of fault that struck a request of the log."""
    return {fault["kind"] for fault in call["faults"]}
