"""The press behind broken glass: every account of the scope side by side, until all are clear.

Who, when, why and over what is in the journal, on disk, before the first request leaves. Accounts wait for
each other in nothing but the limits they share; the failure of one stops no other.
"""

import contextlib
import math
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils import timezone

from panicboard.break_glass.journal import Journal
from panicboard.break_glass.sealed_file import Contents, SealedAccount
from panicboard.break_glass.sweep import GlassSweep, Say
from panicboard.local_counts import LocalCounts
from panicboard.models import Panic
from panicboard.venues import calls

#: How soon a sweep that found no thread tries to begin again.
START_AGAIN_S = 0.2


class NotInFile(ValueError):
    """The scope names nothing that the file holds. The text says what there is instead."""


@dataclass(frozen=True)
class GlassScope:
    """What of a break-glass file a press is about: a desk by its slug, or an account by its name, or all."""

    kind: Panic.Scope
    name: str = ""
    keep_protective: bool = False

    @property
    def label(self) -> str:
        named = "everything" if self.kind == Panic.Scope.ALL else f"{self.kind.label} {self.name}"
        return f"{named} but protective orders" if self.keep_protective else named

    def accounts(self, contents: Contents) -> list[SealedAccount]:
        """The accounts to sweep. Raises NotInFile when there are none."""
        found = [one for one in contents.accounts if self._holds(one.name, one.desk)]
        if not found:
            raise NotInFile(self._why_nothing(contents))
        return found

    def disabled(self, contents: Contents) -> list[str]:
        return [name for name, desk in contents.disabled if self._holds(name, desk)]

    def _holds(self, account: str, desk: str) -> bool:
        if self.kind == Panic.Scope.ALL:
            return True
        return self.name == (desk if self.kind == Panic.Scope.DESK else account)

    def _why_nothing(self, contents: Contents) -> str:
        if names := ", ".join(self.disabled(contents)):
            return (
                f"{self.label}: disabled when the file was exported, so it cannot be swept from it ({names})"
            )
        if self.kind == Panic.Scope.DESK:
            there = ", ".join(sorted({one.desk for one in contents.accounts}))
            return f"there is no desk {self.name!r} in the file; desks: {there or 'none'}"
        there = ", ".join(one.name for one in contents.accounts) or "none"
        return f"there is no account {self.name!r} in the file; accounts: {there}"


class Press:
    """One break-glass panic, from its first line on disk to its end."""

    def __init__(
        self,
        contents: Contents,
        scope: GlassScope,
        *,
        pressed_by: str,
        reason: str,
        journal_file: Path | None,
        say: Say,
        complain: Callable[[str], None],
    ) -> None:
        self.id = uuid.uuid4()
        self.contents = contents
        self.scope = scope
        self.panic = Panic(
            scope=scope.kind,
            keep_protective=scope.keep_protective,
            pressed_at=timezone.now(),
            pressed_by_name=pressed_by,
            reason=reason,
        )
        self.accounts = scope.accounts(contents)
        self.skipped = scope.disabled(contents)
        self.journal = Journal(complain)
        self.journal.begin(
            f"panic-{self.panic.pressed_at:%Y%m%d-%H%M%S}-{self.id.hex[:8]}",
            journal_file,
            id=str(self.id),
            pressed_at=self.panic.pressed_at,
            pressed_by=pressed_by,
            host=socket.gethostname(),
            scope=scope.kind.value,
            scope_name=scope.name,
            keep_protective=scope.keep_protective,
            reason=reason,
            exported_at=contents.exported_at,
            accounts=[_named(account) for account in self.accounts],
            skipped=self.skipped,
        )
        self._stop = threading.Event()
        self._over = threading.Event()
        self._running = len(self.accounts)
        self._lock = threading.Lock()
        counts = LocalCounts()
        self.sweeps = [
            GlassSweep(account, self.panic, journal=self.journal, counts=counts, say=say, stop=self._stop)
            for account in self.accounts
        ]
        self._threads = [
            threading.Thread(target=self._sweep, args=(sweep,), name=f"sweep-{sweep.account.name}")
            for sweep in self.sweeps
        ]
        self._unstarted = list(self._threads)
        self._complain = complain
        self._said_waiting = False

    @property
    def is_clear(self) -> bool:
        return all(sweep.is_clear for sweep in self.sweeps)

    @property
    def not_clear(self) -> list[str]:
        return [sweep.account.name for sweep in self.sweeps if not sweep.is_clear]

    def start(self) -> None:
        """Let every account's sweep begin."""
        calls.tell(self.journal.call)
        self._start_more()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until no sweep has anything left to do. False when the time is over first."""
        until = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while self._unstarted and time.monotonic() < until:
            time.sleep(START_AGAIN_S)
            self._start_more()
        return self._over.wait(None if timeout_s is None else max(0.0, until - time.monotonic()))

    def finish(self, why: str = "", *, trace: bool = True) -> None:
        """Stop what still runs, complete the record of what is clear (`trace`), and end the journal.

        `why` says what ended it before every sweep was over. Takes as long as the calls that are under way.
        """
        self._stop.set()
        _join(self._threads)
        if trace:
            clear = [sweep for sweep in self.sweeps if sweep.is_clear]
            _join(
                _started(threading.Thread(target=one.complete_record, name=f"record-{one}") for one in clear)
            )
        for sweep in self.sweeps:
            sweep.close()
        calls.tell(None)
        self.journal.write("end", clear=self.is_clear, why=why)
        self.journal.close()

    def report(self) -> dict[str, Any]:
        """The press as one JSON-able object, as `panic --json` prints it; times are ms after the press."""
        return {
            "panic": None,
            "journal": str(self.journal.path) if self.journal.path else None,
            "id": str(self.id),
            "scope": self.scope.label,
            "pressed_at": self.panic.pressed_at.isoformat(),
            "exported_at": self.contents.exported_at.isoformat(),
            "clear": self.is_clear,
            "kept": sum(sweep.sweep.kept for sweep in self.sweeps),
            "skipped": self.skipped,
            "sweeps": [self._report(sweep) for sweep in self.sweeps],
        }

    def _report(self, sweep: GlassSweep) -> dict[str, Any]:
        clear_at = sweep.sweep.clear_at
        clear_ms = (clear_at - self.panic.pressed_at).total_seconds() * 1000 if clear_at else None
        return {
            "account": sweep.account.name,
            "venue": sweep.account.venue,
            "state": sweep.sweep.label,
            "kept": sweep.sweep.kept,
            "clear_ms": None if clear_ms is None else round(clear_ms),
            "orders": sweep.orders.by_outcome(),
            "last_word": sweep.sweep.last_word,
        }

    def _start_more(self) -> None:
        """Let as many sweeps begin as the machine has threads for; the rest begin as others are over."""
        try:
            while self._unstarted:
                self._unstarted[0].start()
                self._unstarted.pop(0)
        except RuntimeError:
            if not self._said_waiting:
                self._said_waiting = True
                waiting = ", ".join(sweep.account.name for sweep in self.sweeps[-len(self._unstarted) :])
                self._complain(f"NO THREADS YET for {waiting}: begun as soon as others are over")

    def _sweep(self, sweep: GlassSweep) -> None:
        try:
            sweep.run()
        finally:
            sweep.close()
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._over.set()


def _named(account: SealedAccount) -> dict[str, Any]:
    """An account as the journal names it, so that its import knows whether it is still the same."""
    return {name: getattr(account, name) for name in ("pk", "name", "desk", "adapter", "base_url")}


def _started(threads: Iterable[threading.Thread]) -> list[threading.Thread]:
    started = list(threads)
    for thread in started:
        try:
            thread.start()
        except RuntimeError:  # the machine gives no more of them: then one after another
            thread.run()
    return started


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        with contextlib.suppress(RuntimeError):  # it was never started
            thread.join()
