"""A witness inside the run's database: triggers that write down every change of a sweep's state or lease,
and of an account's latch, in the very transaction that makes it. However short a CLEAR lasts, none is missed.

SQLite alone, which is what a chaos run stands on. The tables are the run's own, in its own directory.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection

from panicboard.models import Account, AuditEntry, Countdown, Sweep
from tests.chaos.judge import Clear, PanicRow
from tests.chaos.recovery import Hold

_NOW_US = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) * 1000"
_NOTED = ("sweep", "at_us", "state", "lease_owner", "full_empty_at", "clear_at")
_TAKE_NOTE = f"""
    INSERT INTO chaos_sweep ({", ".join(_NOTED)})
    VALUES (NEW.id, {_NOW_US}, NEW.state, NEW.lease_owner, NEW.full_empty_at, NEW.clear_at);
"""
_WITNESS = f"""
CREATE TABLE chaos_sweep (
    number INTEGER PRIMARY KEY, sweep INTEGER, at_us INTEGER, state TEXT, lease_owner TEXT,
    full_empty_at TEXT, clear_at TEXT
);
CREATE TABLE chaos_latch (number INTEGER PRIMARY KEY, account TEXT, at_us INTEGER, latched INTEGER);
CREATE TRIGGER chaos_sweep_made AFTER INSERT ON panicboard_sweep BEGIN {_TAKE_NOTE} END;
CREATE TRIGGER chaos_sweep_changed AFTER UPDATE ON panicboard_sweep
WHEN OLD.state IS NOT NEW.state OR OLD.lease_owner IS NOT NEW.lease_owner OR OLD.clear_at IS NOT NEW.clear_at
BEGIN {_TAKE_NOTE} END;
CREATE TRIGGER chaos_latch_changed AFTER UPDATE ON panicboard_account
WHEN OLD.latched_at IS NOT NEW.latched_at
BEGIN
    INSERT INTO chaos_latch (account, at_us, latched)
    VALUES (NEW.name, {_NOW_US}, NEW.latched_at IS NOT NULL);
END;
"""


@dataclass(frozen=True)
class _Note:
    """A sweep as it was from `at_us` on."""

    sweep: int
    at_us: int
    state: str
    lease_owner: str
    full_empty_at: str | None
    clear_at: str | None


def call_in() -> None:
    """Have every change noted from now on."""
    connection.ensure_connection()
    connection.connection.executescript(_WITNESS)


def clears() -> list[Clear]:
    """Every time that a sweep said CLEAR, in the order of the sweeps."""
    accounts = _accounts()
    found: list[Clear] = []
    for sweep, notes in _notes().items():
        begun_us, was_clear = notes[0].at_us, False
        for note in notes:
            is_clear = note.state == Sweep.State.CLEAR
            if is_clear and not was_clear:
                name, venue = accounts[sweep]
                read_us, said_us = _us(note.full_empty_at), _us(note.clear_at)
                found.append(Clear(sweep, name, venue, begun_us, read_us, said_us))
            elif was_clear and not is_clear:
                begun_us = note.at_us
            was_clear = is_clear
    return found


def given_up_us() -> dict[str, list[int]]:
    """By account, the instants at which a sweep of it went to another worker or panic, or was released."""
    accounts = _accounts()
    found: dict[str, list[int]] = defaultdict(list)
    for sweep, notes in _notes().items():
        for before, after in itertools.pairwise(notes):
            taken_over = before.lease_owner and after.lease_owner not in ("", before.lease_owner)
            ended = before.state != after.state and after.state in ("handed_over", "released")
            if taken_over or ended:
                found[accounts[sweep][0]].append(after.at_us)
    return found


def holds() -> list[Hold]:
    """Which process held which sweep, and from when on."""
    return [
        Hold(note.sweep, note.at_us, _pid(note.lease_owner)) for notes in _notes().values() for note in notes
    ]


def latched() -> dict[str, list[tuple[int, int | None]]]:
    """By account, from when until when it was latched; None: it still is."""
    spans: dict[str, list[tuple[int, int | None]]] = defaultdict(list)
    since: dict[str, int] = {}
    changes = _rows("SELECT account, at_us, latched FROM chaos_latch ORDER BY number")
    for account, at_us, is_latched in changes:
        if is_latched:
            since.setdefault(account, at_us)  # latched anew by another panic: it went on
        elif account in since:
            spans[account].append((since.pop(account), at_us))
    for account, at_us in since.items():
        spans[account].append((at_us, None))
    assert since.keys() == set(Account.objects.exclude(latched_at=None).values_list("name", flat=True))
    return spans


def panics() -> dict[int, PanicRow]:
    """Every panic as the database has it now, by number."""
    presses: dict[int, int] = defaultdict(int)
    pressed = (AuditEntry.Action.PRESSED, AuditEntry.Action.JOINED)
    for number in AuditEntry.objects.filter(action__in=pressed).values_list("panic", flat=True):
        presses[number] += 1
    states: dict[int, dict[str, str]] = defaultdict(dict)
    handed_over: dict[int, dict[str, int]] = defaultdict(dict)
    rows = Sweep.objects.values_list("panic", "account__name", "state", "handed_over_to")
    for number, account, state, later in rows:
        states[number][account] = state
        if later is not None:
            handed_over[number][account] = later
    return {number: PanicRow(presses[number], states[number], handed_over[number]) for number in states}


def countdowns() -> dict[tuple[str, str], str]:
    """What is said of every countdown now, by account and scope."""
    rows = Countdown.objects.values_list("account__name", "scope", "phase")
    return {(account, scope): phase for account, scope, phase in rows}


def _notes() -> dict[int, list[_Note]]:
    found: dict[int, list[_Note]] = defaultdict(list)
    for row in _rows(f"SELECT {', '.join(_NOTED)} FROM chaos_sweep ORDER BY number"):
        found[row[0]].append(_Note(*row))
    return found


def _accounts() -> dict[int, tuple[str, str]]:
    """Each sweep's account: its name, and the adapter of its venue."""
    rows = Sweep.objects.values_list("pk", "account__name", "account__venue__adapter")
    return {sweep: (name, venue) for sweep, name, venue in rows}


def _rows(query: str) -> Iterator[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        yield from cursor.fetchall()


def _us(text: str | None) -> int:
    assert text is not None
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime.fromtimestamp(0, UTC)) // timedelta(
        microseconds=1
    )


def _pid(lease_owner: str) -> int | None:
    """`process@host:pid:random`, or nobody."""
    return int(lease_owner.split(":")[1]) if lease_owner else None
