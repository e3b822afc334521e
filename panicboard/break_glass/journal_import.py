"""Importing a journal once the database is back: a panic like any other, pressed when it was pressed.

What the journal proves clear is imported clear, with its times; anything else goes on where workers find it.
Its accounts are latched, unless a person released them or a later panic took them since. A journal becomes a
panic once, however often it is imported. One whose process still runs is imported as far as it goes, and what
that process did from there on comes in when it is over: workers sweep at its side until then.
"""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from panicboard import audit, call_log, panics
from panicboard.break_glass import journal, journal_reader
from panicboard.break_glass.journal_reader import DamagedJournal, Story
from panicboard.database import AWAY
from panicboard.models import Account, AuditEntry, Desk, Panic, Sweep, SweptOrder
from panicboard.swept_orders import DESCRIBED, as_order

logger = logging.getLogger(__name__)
State = Sweep.State

IMPORTED, UNREADABLE = ".imported", ".unreadable"
#: An import can lose against a press at the same instant, and is then made anew.
TRIES = 5

#: Journals that this process has named in its log and could not move away.
_named: set[Path] = set()
#: Journals that this process has imported while they were being written.
_going_on: set[Path] = set()


class BeingWritten(Exception):
    """The process that writes this journal lives, and a record is wanted of a panic that is over."""


@dataclass(frozen=True)
class Imported:
    """What became of a journal. `new`: this import made the panic."""

    panic: Panic
    new: bool
    summary: str


def import_waiting() -> int:
    """Import what waits in the directory of journals, for the keeper. Returns how many panics that made.

    Raises what `database.AWAY` names when the database goes away again, and nothing else: a journal that
    cannot be read is named, once, and tried again; one that is damaged is moved aside.
    """
    made = 0
    for path in sorted(journal.directory().glob(f"*{journal.SUFFIX}")):
        try:
            if path in _going_on and journal_reader.is_being_written(path):
                continue
            made += import_file(path, by="keeper").new
        except FileNotFoundError:  # imported by a person a moment ago
            continue
        except AWAY:
            raise
        except Exception as exc:  # whatever it is: the keeper has other work to do
            if not isinstance(exc, DamagedJournal | OSError):
                logger.exception("the journal %s could not be imported", path.name)
            _name_unreadable(path, exc)
    return made


def import_file(path: Path, *, by: str, record_only: bool = False) -> Imported:
    """Make a panic of the journal at `path`, or find the one that was made of it before.

    What of it the database does not take is left out: the press itself must not be lost for it.
    `record_only`: nothing is latched, and nothing is swept on. Raises BeingWritten, DamagedJournal, OSError.
    """
    story = journal_reader.read(path)
    if record_only and not story.ended:
        raise BeingWritten("its process still runs: no record of it is whole yet")
    try:
        imported = _imported(story, by=by, record_only=record_only)
    except AWAY:
        raise
    except Exception as exc:  # whatever it is: what was pressed stands on the first line
        logger.exception("what %s tells could not be imported", path.name)
        cut = f"what it tells cannot be kept ({type(exc).__name__}), so only the press is imported"
        pressed = Story(story.pressed, cut=cut, ended=story.ended)
        imported = _imported(pressed, by=by, record_only=record_only)
    if imported.new:
        logger.warning("panic %s imported from %s: %s", imported.panic.pk, path.name, imported.summary)
    if not story.ended:
        _going_on.add(path)
    elif path.parent == journal.directory():
        _going_on.discard(path)
        _move(path, IMPORTED)
    return imported


def _imported(story: Story, *, by: str, record_only: bool) -> Imported:
    for _ in range(TRIES - 1):
        with contextlib.suppress(IntegrityError), transaction.atomic():
            return _Import(story, by=by, record_only=record_only).run()
    with transaction.atomic():
        return _Import(story, by=by, record_only=record_only).run()


class _Import:
    """One journal on its way into the database."""

    def __init__(self, story: Story, *, by: str, record_only: bool) -> None:
        self.story = story
        self.pressed = story.pressed
        self.by = by
        self.record_only = record_only
        self.panic: Panic

    def run(self) -> Imported:
        made_before = Panic.objects.filter(journal_id=self.pressed.id).first()
        if made_before is not None:
            self.panic = made_before
            return Imported(made_before, False, self._complete())
        told = {account["name"]: account for account in self.pressed.accounts}
        accounts = _accounts(told)
        self.panic = self._make_panic(accounts)
        gone = sorted(told.keys() - accounts.keys())
        renamed = [f"{name} ({account.name})" for name, account in accounts.items() if account.name != name]
        missing = [] if self.record_only else [one for one in self._scope() if one not in accounts.values()]
        sweeps = [self._sweep(account, told[name]) for name, account in accounts.items()]
        for account in missing:
            self._sweep(account, None)
        if self.story.ended:
            call_log.write(self.story.calls)
        clear = sum(sweep.state == State.CLEAR for sweep in sweeps)
        words = [f"{len(sweeps)} account{'s' if len(sweeps) != 1 else ''}, {clear} clear"]
        if renamed:
            words.append(f"renamed since: {', '.join(renamed)}")
        if gone:
            words.append(f"not here any more, so left out: {', '.join(gone)}")
        if missing:
            words.append(f"not in the file, so swept now: {', '.join(account.name for account in missing)}")
        if self.record_only:
            words.append("for the record only: nothing latched, nothing swept on")
        if self.story.cut:
            words.append(self.story.cut)
        if not self.story.ended:
            words.append("its process still runs, and workers sweep at its side")
        summary = "; ".join(words)
        self._record(
            AuditEntry.Action.PRESSED, self.pressed.at, self.panic.pressed_by_name, self.pressed.reason
        )
        self._record_import(summary)
        return Imported(self.panic, True, summary)

    def _complete(self) -> str:
        """Add what the process did after the import that made the panic of it. Returns what that was."""
        if not self.story.ended:
            return f"panic {self.panic.pk} was made of it before; its process still runs"
        if not Panic.objects.filter(pk=self.panic.pk, journal_open=True).update(journal_open=False):
            return f"panic {self.panic.pk} was made of it before"
        call_log.write(self.story.calls)
        swept = {sweep.account_id: sweep for sweep in self.panic.sweeps.all()}
        accounts = _accounts({account["name"]: account for account in self.pressed.accounts})
        added = left_out = 0
        for name, account in accounts.items():
            if (sweep := swept.get(account.pk)) is None:
                continue
            known = set(sweep.orders.values_list("family", "venue_order_id", "symbol"))
            missing = [
                one
                for one in self.story.orders.get(name, {}).values()
                if known.isdisjoint((one["family"], one["venue_order_id"], it) for it in (one["symbol"], ""))
            ]
            gone = [one for one in missing if one["outcome"] in SweptOrder.GONE]
            # The workers may come upon the same order in this moment.
            SweptOrder.objects.bulk_create(
                [SweptOrder(sweep=sweep, **one) for one in gone], batch_size=500, ignore_conflicts=True
            )
            added, left_out = added + len(gone), left_out + len(missing) - len(gone)
        words = [f"its process is over: {len(self.story.calls)} calls, {added} orders that only it had seen"]
        if left_out:
            words.append(f"{left_out} more of which it did not know what became")
        if self.story.cut:
            words.append(self.story.cut)
        self._record_import("; ".join(words))
        return "; ".join(words)

    def _make_panic(self, accounts: dict[str, Account]) -> Panic:
        pressed = self.pressed
        desk = account = None
        if pressed.scope == Panic.Scope.DESK:
            desk = Desk.objects.filter(slug=pressed.scope_name).first()
        elif pressed.scope == Panic.Scope.ACCOUNT:
            account = accounts.get(pressed.scope_name)
        return Panic.objects.create(
            scope=pressed.scope,
            desk=desk,
            account=account,
            keep_protective=pressed.keep_protective,
            pressed_at=pressed.at,
            pressed_by_name=pressed.by[:150],
            pressed_via=Panic.Via.BREAK_GLASS,
            reason=pressed.reason,
            skipped=list(pressed.skipped),
            journal_id=pressed.id,
            journal_open=not self.story.ended,
        )

    def _scope(self) -> QuerySet[Account]:
        """The enabled accounts that the press is about, as the database has them."""
        enabled = Account.objects.select_related("venue").filter(enabled=True)
        if self.panic.scope == Panic.Scope.ALL:
            return enabled
        if self.panic.scope == Panic.Scope.DESK:
            return enabled.filter(desk=self.panic.desk) if self.panic.desk else enabled.none()
        return enabled.none()  # an account is told of, or is gone

    def _sweep(self, account: Account, told: dict[str, Any] | None) -> Sweep:
        """One account's sweep. `told`: what the file said of the account; None when it was not in it."""
        held = self.story.sweeps.get(told["name"], {}) if told else {}
        orders = list(self.story.orders.get(told["name"], {}).values()) if told else []
        later = self._taken_by(account)
        governs = not (self.record_only or later or self._was_released(account))
        left = self._take_over(account, orders) if governs else []
        resolved = all(one["vanished"] or one["outcome"] in SweptOrder.GONE for one in orders)
        sweep = Sweep(
            panic=self.panic,
            account=account,
            keep_protective=self.panic.keep_protective and account.pk in panics.may_keep([account]),
            due_at=timezone.now(),
            last_word="was not in the break-glass file"
            if told is None
            else "the journal tells nothing of it",
        )
        for name, value in held.items():
            setattr(sweep, name, value)
        kept_too_many = sweep.kept and not sweep.keep_protective  # the latch of an earlier panic keeps none
        if kept_too_many or not (
            _is_same(account, told) and self._proves_clear(held) and resolved and not left
        ):
            self._leave_unfinished(sweep, later, governs=governs)
        sweep.save(force_insert=True)
        SweptOrder.objects.bulk_create(
            [SweptOrder(sweep=sweep, **one) for one in [*orders, *left]], batch_size=500
        )
        if governs:
            # Guarded: a press of this instant must not lose its latch to an older panic.
            free = Q(latched_at=None) | Q(latched_at__lt=self.pressed.at)
            Account.objects.filter(free, pk=account.pk).update(
                latched_at=self.pressed.at, latched_by=self.panic
            )
        return sweep

    def _leave_unfinished(self, sweep: Sweep, later: Panic | None, *, governs: bool) -> None:
        """What is not proven goes on, from a first round; or it ended with what has happened since."""
        sweep.known_empty_at = sweep.full_empty_at = sweep.clear_at = None
        if governs:
            sweep.state = State.NOT_CLEAR if sweep.first_request_at else State.QUEUED
            sweep.round = 0
            sweep.last_word = (
                f"imported from a journal, not proven clear; sweeping on. It said: {sweep.last_word}"
            )
        elif later is not None:
            sweep.state, sweep.handed_over_to = State.HANDED_OVER, later
            sweep.last_word = (
                f"panic {later.pk} swept this account since. The journal said: {sweep.last_word}"
            )
        else:
            sweep.state = State.RELEASED
            why = "imported for the record" if self.record_only else "released since"
            sweep.last_word = f"{why}. The journal said: {sweep.last_word}"

    def _proves_clear(self, held: dict[str, Any]) -> bool:
        """Whether the journal shows two readings in a row, after the press, and that they were empty.

        Not while its process runs: what it finds out next may take the clear away.
        """
        if held.get("state") != State.CLEAR or not self.story.ended:
            return False
        times = [held["first_request_at"], held["known_empty_at"], held["full_empty_at"], held["clear_at"]]
        return None not in times and [self.pressed.at, *times] == sorted([self.pressed.at, *times])

    def _taken_by(self, account: Account) -> Panic | None:
        """The latest panic that was pressed over this whole account since."""
        sweeps = Sweep.objects.filter(
            account=account, whole_account=True, panic__pressed_at__gt=self.pressed.at
        )
        latest = sweeps.select_related("panic").order_by("-panic__pressed_at").first()
        return latest.panic if latest else None

    def _was_released(self, account: Account) -> bool:
        released = AuditEntry.objects.filter(action=AuditEntry.Action.RELEASED, account=account)
        return released.filter(at__gt=self.pressed.at).exists()

    def _take_over(self, account: Account, orders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """End older sweeps of the account, as a press does. Returns the orders they leave unresolved."""
        older = Sweep.objects.filter(account=account, panic__pressed_at__lte=self.pressed.at).exclude(
            state__in=Sweep.OVER
        )
        seen = {(one["family"], one["symbol"], one["venue_order_id"]) for one in orders}
        left: dict[tuple[str, str, str], dict[str, Any]] = {}
        for row in SweptOrder.objects.filter(sweep__in=older, vanished=False).exclude(
            outcome__in=SweptOrder.GONE
        ):
            key = (row.family, row.symbol, row.venue_order_id)
            if key not in seen:
                order = as_order(row)
                fields = {name: getattr(order, name) for name in DESCRIBED}
                left[key] = {
                    **fields,
                    "seen_at": timezone.now(),
                    "outcome": SweptOrder.Outcome.SENT,
                    "outcome_at": timezone.now(),
                }
        older.update(
            state=State.HANDED_OVER,
            handed_over_to=self.panic,
            last_word=f"panic {self.panic.pk} sweeps this account now",
        )
        return list(left.values())

    def _record_import(self, summary: str) -> None:
        said = f"journal {self.pressed.id}, written on {self.pressed.host}: {summary}"
        self._record(AuditEntry.Action.IMPORTED, timezone.now(), self.by, said)

    def _record(self, action: str, at: Any, actor_name: str, detail: str) -> None:
        audit.record(action, by_name=actor_name, panic=self.panic, detail=detail, at=at)


def _accounts(told: dict[str, dict[str, Any]]) -> dict[str, Account]:
    """The accounts that a journal tells of, by its names for them: they may have others by now."""
    every = Account.objects.select_related("venue")
    found = {account.name: account for account in every.filter(name__in=told)}
    lost = {
        one["pk"]: one for name, one in told.items() if name not in found and isinstance(one.get("pk"), int)
    }
    for account in every.filter(pk__in=lost).exclude(name__in=told):
        if _is_same(account, lost[account.pk]):
            found[lost[account.pk]["name"]] = account
    return found


def _is_same(account: Account, told: dict[str, Any] | None) -> bool:
    """Whether the account stands where the file knew it: a name alone could mean another one by now."""
    here = {"pk": account.pk, "adapter": account.venue.adapter, "base_url": account.venue.base_url}
    return told is not None and {name: told.get(name) for name in here} == here


def _name_unreadable(path: Path, exc: Exception) -> None:
    """Say once that a journal cannot be imported: in the log, and where an administrator looks.

    One that the disk did not give is left where it is: it may do so yet.
    """
    if path in _named:
        return
    why = str(exc) if isinstance(exc, DamagedJournal) else type(exc).__name__
    detail = f"journal {path.name}: {why}. A panic was pressed there, and its accounts are not latched"
    logger.error("%s", detail)
    if not AuditEntry.objects.filter(action=AuditEntry.Action.UNREADABLE, detail=detail).exists():
        audit.record(AuditEntry.Action.UNREADABLE, by_name="keeper", detail=detail)
    _named.add(path)
    if not isinstance(exc, OSError):
        _move(path, UNREADABLE)


def _move(path: Path, suffix: str) -> None:
    """Take a journal out of the way. Where that cannot be, importing it again does no harm."""
    try:
        path.rename(path.with_name(path.name + suffix))
    except OSError as exc:
        if path not in _named:
            logger.warning("%s cannot be renamed (%s)", path, type(exc).__name__)
            _named.add(path)
