"""The log of venue calls: when, which account and call, what came back, how long it took. Kept 90 days.

Calls are written down in batches by a thread of their own, which lets a panic's first cancels leave
before it: the log never delays a call. A call of a process that is killed may be missing from it.

Heartbeats that a venue acknowledged are not in it: ten thousand countdowns would add 29 million rows a day,
more than all else together. Each countdown keeps its own last calls; the heartbeats that failed are here.
"""

import atexit
import contextlib
import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import Error, close_old_connections, connection
from django.utils import timezone

from panicboard import rush
from panicboard.models import VenueCall
from panicboard.venues import calls

logger = logging.getLogger(__name__)

WRITE_EVERY_S = 0.5
#: While the database does not answer, so many calls wait; older ones are dropped, and the log says so.
WAITING_AT_MOST = 20_000
#: Rows deleted in one statement: a few, so that nobody waits long for the database's one writer.
PRUNE_AT_ONCE = 2_000


class _Writer:
    def __init__(self) -> None:
        self._told: queue.SimpleQueue[calls.VenueCall] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="call-log", daemon=True)
        self._waiting: list[calls.VenueCall] = []
        self.hear = self._told.put

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write down what was told until now, and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(WRITE_EVERY_S):
            rush.leave_alone()
            self._write()
        self._write()
        connection.close()

    def _write(self) -> None:
        while not self._told.empty():
            self._waiting.append(self._told.get())
        if not self._waiting:
            return
        try:
            write(self._waiting)
        except Error as exc:
            lost = max(0, len(self._waiting) - WAITING_AT_MOST)
            logger.warning(
                "call log: the database does not answer (%s); %s calls wait, %s were dropped",
                type(exc).__name__,
                len(self._waiting) - lost,
                lost,
            )
            self._waiting = self._waiting[lost:]
            close_old_connections()
        else:
            self._waiting = []


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Write every venue call of this process down while this lasts."""
    writer = _Writer()
    writer.start()
    calls.tell(writer.hear)
    try:
        yield
    finally:
        calls.tell(None)
        writer.stop()


def keep() -> None:
    """Write every venue call of this process down until it ends."""
    lasting = contextlib.ExitStack()
    lasting.enter_context(kept())
    atexit.register(lasting.close)


def write(told: Sequence[calls.VenueCall]) -> None:
    """Write these calls down."""
    VenueCall.objects.bulk_create(
        [
            VenueCall(
                account=call.account,
                at=datetime.fromtimestamp(call.at, UTC),
                method=call.method,
                path=call.path[:200],
                attempt=call.attempt,
                status=call.status,
                code=call.code[:60],
                latency_ms=round(call.latency_ms, 1),
                weight=call.weight,
                outcome=call.outcome,
            )
            for call in told
        ],
        batch_size=500,
    )


def of_account(name: str, most: int) -> list[VenueCall]:
    """The latest calls of one account, newest first."""
    return list(VenueCall.objects.filter(account=name).order_by("-at", "-pk")[:most])


def between(name: str, since: datetime, until: datetime | None) -> list[VenueCall]:
    """The calls of one account from one time to another (None: to now), oldest first."""
    found = VenueCall.objects.filter(account=name, at__gte=since).order_by("at", "pk")
    return list(found.filter(at__lte=until) if until else found)


def prune() -> int:
    """Delete some of the calls that are older than CALL_LOG_DAYS. Returns how many; 0 when none is left."""
    too_old = VenueCall.objects.filter(at__lt=timezone.now() - timedelta(days=settings.CALL_LOG_DAYS))
    ids = list(too_old.order_by("at").values_list("pk", flat=True)[:PRUNE_AT_ONCE])
    return VenueCall.objects.filter(pk__in=ids).delete()[0]
