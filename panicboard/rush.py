"""The first moments of a panic: its cancels leave before anything else is done for it.

A panic of many accounts is as fast as its last cancel, and everything after the cancels (rows, readings,
outcomes) costs many times their processor time, and of the venues' limits. So a sweep whose cancels were
answered stands aside until those of every other sweep of its panic have left, in every process; but never
where it would hold the very thread that they wait for. Each process marks what has left in the database.
"""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

from panicboard import database
from panicboard.models import Sweep

LOOK_EVERY_S = 0.02
#: When for so long no sweep of the panic was taken and no cancel answered, nobody is about to.
NO_PROGRESS_S = 0.3
#: Cancels that were signed and ready so long ago have left: what is still to come is the venue's answer, and
#: whose venue hangs must not hold others up.
SENT_S = 0.1
#: So long at most do cancels leave alone, from the first on: a venue that hangs must not hold others up.
ALONE_S = 0.3

_lock = threading.Lock()
_all_gone = threading.Condition(_lock)
_alone_until = 0.0
_calm: dict[int, threading.Event] = {}
_aside = 0
_sending = 0
#: The sweeps whose first cancels are leaving and not answered.
_leaving: dict[int, "Leaving"] = {}
#: Of each panic, the sweeps whose first cancels have left, and which the database does not show yet.
_left: defaultdict[int, set[int]] = defaultdict(set)
_capacity = 100


def works_on(sweeps: int) -> None:
    """Say how many sweeps this process works on at a time."""
    global _capacity
    _capacity = sweeps


def coming() -> None:
    """Say that this process is about to take a sweep and send its first cancels: see `gone`."""
    global _sending, _alone_until
    with _lock:
        if not _sending:
            _alone_until = time.monotonic() + ALONE_S
        _sending += 1


def gone() -> None:
    """Say that the first cancels of a sweep were sent and answered, or will not be."""
    global _sending
    with _lock:
        _sending -= 1
        if not _sending:
            _all_gone.notify_all()


class Leaving:
    """The first cancels of one sweep on their way: call it for each that is about to be sent."""

    def __init__(self, panic_id: int) -> None:
        self.panic_id = panic_id
        self._to_send = 0
        self._sent_at = time.monotonic()

    def expect(self, calls: int) -> None:
        """Say how many there are."""
        self._to_send = calls

    def __call__(self) -> None:
        with _lock:
            self._to_send -= 1
            self._sent_at = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether all of them have left, as far as that can be told before they are answered."""
        return self._to_send <= 0 and self._sent_at < time.monotonic() - SENT_S


@contextlib.contextmanager
def leaving(panic_id: int, sweep_id: int) -> Iterator[Leaving]:
    """Say that the first cancels of a sweep leave now, until they are answered."""
    one = Leaving(panic_id)
    with _lock:
        _leaving[sweep_id] = one
    try:
        yield one
    finally:
        with _lock:
            del _leaving[sweep_id]
            _left[panic_id].add(sweep_id)


def leave_alone(**kwargs: object) -> None:
    """Wait until no cancels of this process are about to leave: for whoever receives its tasks.

    Receiving a task costs as much of the processor as sending a cancel, and the sweeps of the tasks
    that follow have been taken along already.
    """
    with _lock:
        _all_gone.wait_for(lambda: not _sending, max(0.0, _alone_until - time.monotonic()))


def stand_aside(panic_id: int) -> None:
    """Wait until the first cancels of every sweep of this panic have left.

    One thread looks for all that wait here.
    """
    global _aside
    with _lock:
        _aside += 1
        calm = _calm.get(panic_id)
        looks = calm is None
        if calm is None:
            calm = _calm[panic_id] = threading.Event()
    try:
        if looks:
            _look(panic_id)
        else:
            database.let_go()
            calm.wait()
    finally:
        with _lock:
            _aside -= 1
            if looks:
                del _calm[panic_id]
                calm.set()


def _look(panic_id: int) -> None:
    queued = Sweep.objects.filter(panic=panic_id, state=Sweep.State.QUEUED)
    before, progress_at = None, time.monotonic()
    while True:
        if ids := _take_left(panic_id):
            queued.filter(pk__in=ids).update(state=Sweep.State.CANCELLING)
        left = queued.count(), _to_leave()
        if left == (0, 0) or _aside >= _capacity:
            return
        if left != before:
            before, progress_at = left, time.monotonic()
        elif time.monotonic() - progress_at > NO_PROGRESS_S:
            return
        time.sleep(LOOK_EVERY_S)


def _take_left(panic_id: int) -> set[int]:
    """The sweeps of this panic whose cancels have left: answered, or on their way for long enough."""
    with _lock:
        sent = {pk for pk, one in _leaving.items() if one.panic_id == panic_id and one.is_over}
        return _left.pop(panic_id, set()) | sent


def _to_leave() -> int:
    """How many sweeps of this process have cancels that have not left yet."""
    with _lock:
        return _sending - sum(one.is_over for one in _leaving.values())
