"""What each venue call came to, told to whoever keeps the log of calls.

Never the query, the headers or the body: they hold the key and the signature.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from panicboard.venues.errors import NotDone, OutcomeUnknown, VenueError, VenueRejected

DONE, REJECTED, NOT_DONE, UNKNOWN = "done", "rejected", "not done", "unknown"

_attempt: ContextVar[int] = ContextVar("attempt", default=1)
_routine: ContextVar[bool] = ContextVar("routine", default=False)
_leaves: ContextVar[Callable[[], object] | None] = ContextVar("leaves", default=None)
_counts: ContextVar["list[VenueCall] | None"] = ContextVar("counts", default=None)


class NotAReading(RuntimeError):
    """What was opened for reading was about to send something else: a mistake here, and no venue's answer."""


def refuse_all_but_readings(method: str, path: str, reads_by_post: Collection[str] = ()) -> None:
    """Let only a call through that changes nothing at its venue. Raises NotAReading."""
    if method != "GET" and (method, path) not in {("POST", one) for one in reads_by_post}:
        raise NotAReading(f"{method} {path}: opened for reading alone, so this is not sent")


@dataclass(slots=True)
class VenueCall:
    """One HTTP request to a venue: `at` is the time it left (s since the epoch), `status` the HTTP status
    (None: no answer), `code` the venue's own code, or the name of what broke; `outcome` is one of the above.
    """

    at: float
    account: str
    method: str
    path: str
    weight: int
    attempt: int
    status: int | None = None
    code: str = ""
    latency_ms: float = 0.0
    outcome: str = UNKNOWN


_listener: Callable[[VenueCall], object] | None = None


def tell(listener: Callable[[VenueCall], object] | None) -> None:
    """Have every venue call of this process told to this listener, on the thread that made the call."""
    global _listener
    _listener = listener


@contextlib.contextmanager
def attempt(number: int) -> Iterator[None]:
    """Say which attempt the calls inside are."""
    token = _attempt.set(number)
    try:
        yield
    finally:
        _attempt.reset(token)


@contextlib.contextmanager
def routine() -> Iterator[None]:
    """Have only those of the calls inside told that do not come out well."""
    token = _routine.set(True)
    try:
        yield
    finally:
        _routine.reset(token)


@contextlib.contextmanager
def leaving(leaves: Callable[[], object]) -> Iterator[None]:
    """Have each request that is made inside told right before it is sent, when it is paid for and signed."""
    token = _leaves.set(leaves)
    try:
        yield
    finally:
        _leaves.reset(token)


@contextlib.contextmanager
def counted() -> Iterator[list[VenueCall]]:
    """Have the calls that are made inside, on this thread, put on the yielded list as they leave."""
    made: list[VenueCall] = []
    token = _counts.set(made)
    try:
        yield made
    finally:
        _counts.reset(token)


@contextlib.contextmanager
def once_more() -> Iterator[None]:
    """Say that the calls inside repeat what was just tried."""
    with attempt(_attempt.get() + 1):
        yield


@contextlib.contextmanager
def told(account: str, method: str, target: str, weight: int) -> Iterator[VenueCall]:
    """Tell the listener of the one request made inside; its maker puts the status on the yielded call."""
    call = VenueCall(time.time(), account, method, target.partition("?")[0], weight, _attempt.get())
    if leaves := _leaves.get():
        leaves()
    if (made := _counts.get()) is not None:
        made.append(call)
    started = time.monotonic()
    try:
        yield call
        call.outcome = DONE
    except VenueError as exc:
        call.code = exc.code or exc.broke
        call.outcome = _outcome(exc)
        raise
    finally:
        call.latency_ms = (time.monotonic() - started) * 1000
        if _listener is not None and not (_routine.get() and call.outcome == DONE):
            _listener(call)


def _outcome(exc: VenueError) -> str:
    for kind, outcome in ((VenueRejected, REJECTED), (NotDone, NOT_DONE), (OutcomeUnknown, UNKNOWN)):
        if isinstance(exc, kind):
            return outcome
    return UNKNOWN
