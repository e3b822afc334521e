"""The ways out to a venue, and which of an account's two is used now.

Venues count limits by address and ban addresses; lines fail. An account can have a second way: a call that
surely did not get through the first, or that the venue refuses to this address, is made through the second
at once. For a while the others then begin with the second, and after that try the first again.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TypeVar

from panicboard.venues import calls
from panicboard.venues.base import Limit, Route
from panicboard.venues.errors import BudgetSpent, NotDone, OutcomeUnknown, RateLimited

T = TypeVar("T")

#: How long the other way is used first after one did not get through.
AROUND_S = 30.0


_blocked_until: dict[tuple[str, str], float] = {}
_lock = threading.Lock()
_taken: ContextVar[Route | None] = ContextVar("taken", default=None)


def choose(base_url: str, routes: Sequence[Route]) -> Route:
    """The first of these ways that is not known to be blocked; when all are, the one that is soonest free.

    A ban can take days: beside it, a way that once gave no answer is still the one to try. Within a call
    it is the way which the call takes, whatever others have learnt meanwhile.
    """
    if len(routes) == 1:
        return routes[0]
    taken = _taken.get()
    if taken is not None and taken in routes:
        return taken
    now = time.monotonic()
    return min(routes, key=lambda route: max(now, _blocked_until.get((base_url, route.name), 0.0)))


def go_around(base_url: str, route: Route, for_s: float = AROUND_S) -> None:
    """Let calls to this venue take another way first, for so long."""
    with _lock:
        until = time.monotonic() + for_s
        _blocked_until[base_url, route.name] = max(until, _blocked_until.get((base_url, route.name), 0.0))


def through(base_url: str, routes: Sequence[Route], limit: Limit | None, send: Callable[[Route], T]) -> T:
    """Make a call by the way to be used now, and once more by the other where it surely was not executed.

    `limit` is what pays for it: a venue that refuses a key refuses it on every way.
    """
    route = choose(base_url, routes)
    try:
        with _by(route):
            return send(route)
    except OutcomeUnknown as exc:
        if exc.broke:  # nothing came back: it may be the way, so the next call takes the other
            go_around(base_url, route)
        raise
    except NotDone as exc:
        around_s = _around_s(exc, limit)
        if around_s is None:
            raise
        go_around(base_url, route, around_s)
        other = choose(base_url, routes)
        if other is route:
            raise
        was_made = not isinstance(exc, BudgetSpent)
    with calls.once_more() if was_made else contextlib.nullcontext(), _by(other):
        return send(other)


@contextlib.contextmanager
def _by(route: Route) -> Iterator[None]:
    """Say which way the call inside takes: what it costs, and a refusal of it, are booked there."""
    token = _taken.set(route)
    try:
        yield
    finally:
        _taken.reset(token)


def _around_s(exc: NotDone, limit: Limit | None) -> float | None:
    """How long to go another way after this; None where another way would not help."""
    if isinstance(exc, RateLimited):
        by_address = limit is not None and limit.per == "address"
        return exc.retry_after_ms / 1000 if exc.banned or by_address else None
    if isinstance(exc, BudgetSpent):
        return exc.retry_after_ms / 1000 if exc.refused and exc.by_address else None
    return AROUND_S if exc.broke else None
