"""The journal of a break-glass panic: what was pressed and what became of it, as lines of JSON.

Its first line is on disk before the first request leaves. Each line tells the whole state of what it is
about, so the last one of a sweep or an order stands, and a journal that ends anywhere can be imported up to
there. The file is locked while its writer lives. What cannot be written down is said loudly, once, and
holds nothing up: pressing is never refused. No secret is in it.
"""

import json
import queue
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from panicboard.break_glass.journal_file import SYNC, JournalFile
from panicboard.models import Sweep, SweptOrder
from panicboard.swept_orders import DESCRIBED
from panicboard.venues.calls import VenueCall

FORMAT = 1
SUFFIX = ".jsonl"
#: How long the first request may wait for a disk that does not answer, and the end of the process.
FIRST_LINE_S, LAST_LINES_S = 3.0, 3.0
KEEP_WHAT_IS_PRINTED = "keep what is printed here, for nothing else tells all of this panic"
#: What a line about a sweep tells, and what a line about an order does.
SWEEP_FIELDS = (
    "state",
    "round",
    "first_request_at",
    "acked_at",
    "known_empty_at",
    "full_empty_at",
    "read_back_at",
    "clear_at",
    "kept",
    "last_word",
)
ORDER_FIELDS = (*DESCRIBED, "placed_after", "seen_at", "outcome", "outcome_at", "vanished", "note")
CALL_FIELDS = (
    "at",
    "account",
    "method",
    "path",
    "weight",
    "attempt",
    "status",
    "code",
    "latency_ms",
    "outcome",
)


def directory() -> Path:
    """Where journals wait for the database: the keeper imports what it finds here."""
    return Path(settings.VAR_DIR) / "journal"


class Journal:
    """One journal being written, from any thread. `path` is None while there is none.

    A thread of its own writes, so that a disk that hangs (and it may be the database's) holds up no call.
    """

    def __init__(self, complain: Callable[[str], None]) -> None:
        self.path: Path | None = None
        self._complain = complain
        #: Lines to be written; SYNC, and None for the end.
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._begun = threading.Event()
        self._writer: threading.Thread | None = None

    def begin(self, name: str, wanted: Path | None, **facts: Any) -> None:
        """Put the first line on disk: at `wanted`, or under this name in the directory of journals.

        Comes back when it is there, or cannot be; or after FIRST_LINE_S, because nobody may wait longer.
        """
        paths = [path.absolute() for path in (wanted, directory() / f"{name}{SUFFIX}") if path]
        line = _line("pressed", {"format": FORMAT, **facts})
        self._writer = threading.Thread(target=self._run, args=(paths, line), name="journal", daemon=True)
        self._writer.start()
        if not self._begun.wait(FIRST_LINE_S):
            self._complain(
                f"THE JOURNAL'S DISK DOES NOT ANSWER ({paths[0]}): going on; {KEEP_WHAT_IS_PRINTED}"
            )

    def sweep(self, account: str, sweep: Sweep) -> None:
        self.write("sweep", account=account, **{name: getattr(sweep, name) for name in SWEEP_FIELDS})

    def order(self, account: str, number: int, order: SweptOrder) -> None:
        """An order of a sweep; `number` names it for as long as its symbol may still become known."""
        fields = {name: getattr(order, name) for name in ORDER_FIELDS}
        self.write("order", account=account, number=number, **fields)

    def call(self, call: VenueCall) -> None:
        self.write("call", **{name: getattr(call, name) for name in CALL_FIELDS})

    def write(self, event: str, **fields: Any) -> None:
        """Have one line written, at once as a rule."""
        self._lines.put(_line(event, fields))

    def sync(self) -> None:
        """Have everything until here reach the disk, so that a machine without power keeps it."""
        self._lines.put(SYNC)

    def close(self) -> None:
        """End it: from here on it may be imported. A disk that hangs is not waited for."""
        self._lines.put(None)
        if self._writer is None:
            return
        self._writer.join(LAST_LINES_S)
        if self._writer.is_alive() and self._begun.is_set():  # else it was said when it began
            self._complain(f"THE JOURNAL'S DISK DOES NOT ANSWER ({self.path}): {KEEP_WHAT_IS_PRINTED}")

    def _run(self, paths: Sequence[Path], first: bytes) -> None:
        file = self._open(paths, first)
        self._begun.set()
        complained = file is None
        while (line := self._lines.get()) is not None:
            try:
                if file is not None:
                    file.append(line)
            except OSError as exc:
                if not complained:
                    complained = True
                    why = exc.strerror or type(exc).__name__
                    self._complain(f"THE JOURNAL CANNOT BE WRITTEN ({why}): going on; {KEEP_WHAT_IS_PRINTED}")
        if file is not None:
            file.close()

    def _open(self, paths: Sequence[Path], first: bytes) -> JournalFile | None:
        for path in paths:
            try:
                file = JournalFile(path, first, for_keeper=path.parent == directory())
            except OSError as exc:
                self._complain(f"NO JOURNAL at {path}: {exc.strerror or type(exc).__name__}")
            else:
                self.path = path
                return file
        self._complain(f"GOING ON WITHOUT A JOURNAL; {KEEP_WHAT_IS_PRINTED}")
        return None


def _line(event: str, fields: dict[str, Any]) -> bytes:
    told = {"event": event, "at": timezone.now(), **fields}
    return (json.dumps(told, default=_plain) + "\n").encode()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} has no place in a journal")
