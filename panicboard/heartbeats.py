"""The calls that countdowns need at their venues: set, kept alive, made shorter, taken away, read when over.

What is to be done is decided in `heartbeat_jobs.py`; what it came to is told to `heartbeat_results.py`.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.db import close_old_connections
from django.utils import timezone

from panicboard.budgets import AccountBudget, Work
from panicboard.credentials import CredentialsUnusable
from panicboard.heartbeat_jobs import FOR, SECOND_NET_MS, Job, claim
from panicboard.heartbeat_results import alive, done, missed, refused
from panicboard.models import Account, Countdown
from panicboard.venues import VENUES, calls
from panicboard.venues.base import BookSymbol, Listing, Order, VenueAdapter
from panicboard.venues.errors import (
    BudgetSpent,
    ClockRejected,
    CredentialsRejected,
    NotDone,
    OutcomeUnknown,
    RateLimited,
    VenueError,
    VenueRejected,
)

logger = logging.getLogger(__name__)
Phase = Countdown.Phase

#: After its deadline an account is read until its orders are gone, for so long.
GONE_WITHIN = timedelta(seconds=6)
READ_AGAIN_S = 1.0
#: Calls of one venue that a process makes at the same time: a venue that hangs holds up no other.
CALLS_AT_ONCE = 64
#: When so many calls of a venue wait for a thread, no further ones are taken.
WAITING_AT_MOST = 64


def send(countdown_ids: Sequence[int]) -> int:
    """Do what is due of these countdowns, each call on a thread of its own. Returns how many calls.

    Comes back when they are on their way; what they come to is written down as it comes.
    """
    jobs = claim(countdown_ids, may_send=_has_room)
    for job in jobs:
        with _waiting_lock:
            _waiting[_api(job.account)] += 1
        _calls_to(*_api(job.account)).submit(_begin, job)
    return len(jobs)


#: How many calls wait for a thread, by the venue's API.
_waiting: Counter[tuple[str, str]] = Counter()
_waiting_lock = threading.Lock()


def _api(account: Account) -> tuple[str, str]:
    return account.venue.adapter, account.venue.base_url


@cache
def _calls_to(adapter: str, base_url: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix=f"heartbeat-{adapter}")


def _begin(job: Job) -> None:
    with _waiting_lock:
        _waiting[_api(job.account)] -= 1
    if job.what != "read" and timezone.now() >= job.at + FOR:
        missed(job, job.countdowns, "it waited too long in panicboard, and was not sent")
    else:
        _run(job)


def _has_room(account: Account) -> bool:
    """Whether a call to its venue would not only wait here until it is too late."""
    return _waiting[_api(account)] < WAITING_AT_MOST


def _run(job: Job) -> None:
    try:
        _CALLS[job.what](job)
    except Exception as exc:  # whatever it is, it shows on the board
        logger.exception("%s of %s failed", job.what, job.account)
        missed(job, job.countdowns, f"panicboard failed ({type(exc).__name__}); see the log")
    finally:
        close_old_connections()


def _call_venue(job: Job, work: Work, call: Callable[[VenueAdapter], None]) -> None:
    """Make the job's call, and write down what stood in its way."""
    try:
        call(AccountBudget(job.account, work).open_adapter())
    except (BudgetSpent, RateLimited) as exc:
        missed(job, job.countdowns, str(exc), wait_s=exc.retry_after_ms / 1000)
    except OutcomeUnknown as exc:
        missed(job, job.countdowns, str(exc), unknown=True)
    except NotDone as exc:
        missed(job, job.countdowns, str(exc))
    except VenueRejected as exc:
        # What is wrong with our key, or came too late, says nothing of the countdown.
        if job.what == "set" and not isinstance(exc, CredentialsRejected | ClockRejected):
            refused(job, str(exc))
        else:
            missed(job, job.countdowns, str(exc))
    except (CredentialsUnusable, VenueError) as exc:
        missed(job, job.countdowns, str(exc))


def _set(job: Job) -> None:
    (one,) = job.countdowns

    def call(adapter: VenueAdapter) -> None:
        told_ms = adapter.set_countdown(one.scope, one.countdown_ms, job.decided)
        if told_ms != one.countdown_ms:
            missed(
                job, [one], f"the venue set it to {told_ms} ms, not to {one.countdown_ms} ms", unknown=True
            )
        else:
            alive(job, [one])

    _call_venue(job, Work.HEARTBEAT, call)


def _heartbeat(job: Job) -> None:
    with calls.routine():
        _beat(job)


def _beat(job: Job) -> None:
    if not VENUES[job.account.venue.adapter].one_heartbeat_for_many:
        _set(job)
        return

    def call(adapter: VenueAdapter) -> None:
        reply = adapter.heartbeat([one.scope for one in job.countdowns], job.decided)
        alive(job, [one for one in job.countdowns if one.scope in reply.refreshed])
        left_out = [one for one in job.countdowns if one.scope not in reply.refreshed]
        if left_out:
            missed(job, left_out, "the venue left it out of its answer: it does not run there")

    _call_venue(job, Work.HEARTBEAT, call)


def _shorten(job: Job) -> None:
    (one,) = job.countdowns

    def call(adapter: VenueAdapter) -> None:
        adapter.set_countdown(one.scope, SECOND_NET_MS, job.decided)
        done(
            job,
            {
                "runs_from": job.at,
                "acked_at": timezone.now(),
                "deadline_at": job.at + timedelta(milliseconds=SECOND_NET_MS),
                "maybe_until": None,
                "due_at": None,
                "failure": "",
                "last_word": f"shortened to {SECOND_NET_MS / 1000:g} s, as a second net of the panic",
            },
            only_in=[Phase.WITHHELD],
        )

    _call_venue(job, Work.PANIC, call)


def _stop(job: Job) -> None:
    (one,) = job.countdowns

    def call(adapter: VenueAdapter) -> None:
        told_ms = adapter.set_countdown(one.scope, 0, job.decided)
        if told_ms != 0:
            missed(job, [one], f"the venue still has it at {told_ms} ms", unknown=True)
            return
        now = timezone.now()
        why = f"; panic {one.withheld_by_id} keeps protective orders" if one.withheld_by_id else ""
        done(
            job,
            {
                "phase": Phase.DISARMED,
                "acked_at": now,
                "ended_at": now,
                "deadline_at": None,
                "runs_from": None,
                "maybe_until": None,
                "due_at": None,
                "locked": False,
                "misses": 0,
                "failure": "",
                "venue_ms": None,
                "last_word": f"disarmed: the venue confirmed it{why}",
            },
            only_in=[Phase.DISARMING],
        )

    _call_venue(job, Work.PANIC if one.withheld_by_id else Work.HEARTBEAT, call)


def _read(job: Job) -> None:
    """The deadline passed: see at once what of its orders is left."""
    (one,) = job.countdowns

    def call(adapter: VenueAdapter) -> None:
        began_at = timezone.now()
        orders = [order for listing in _listings(one, adapter) for order in adapter.open_orders(listing)]
        orders = [order for order in orders if adapter.countdown_of(order.symbol) == one.scope]
        done(job, _found(one, adapter, orders, began_at), only_in=[Phase.PASSED])

    _call_venue(job, Work.LOOK, call)


def _listings(one: Countdown, adapter: VenueAdapter) -> list[Listing]:
    if adapter.countdown_scope == "symbol":
        return adapter.listings({BookSymbol(family.slug, one.scope) for family in adapter.families})
    return adapter.listings(None)


def _found(
    one: Countdown, adapter: VenueAdapter, orders: Sequence[Order], began_at: datetime
) -> dict[str, Any]:
    conditional = sum(adapter.family(order.family).conditional for order in orders)
    left = len(orders) - conditional
    said = "no open orders were left" if not left else f"{left} STILL OPEN"
    if conditional:
        said += f"; {conditional} conditional, which the venue's countdown may not reach"
    found: dict[str, Any] = {"found_open": left, "found_at": began_at, "failure": "", "misses": 0}
    again_at = began_at + timedelta(seconds=READ_AGAIN_S)
    if one.maybe_until is not None and one.maybe_until > began_at:
        doubt = "a later heartbeat has no known outcome, so it may run on until"
        return {**found, "due_at": again_at, "last_word": f"{said}; {doubt} {one.maybe_until:%H:%M:%S}"}
    assert one.deadline_at is not None  # noqa: S101 (it passed)
    if left and began_at - one.deadline_at < GONE_WITHIN:
        return {**found, "due_at": again_at, "last_word": f"{said} so far"}
    return {
        **found,
        "phase": Phase.FIRED,
        "ended_at": one.deadline_at,
        "due_at": None,
        "locked": adapter.locks_after_firing,
        "last_word": f"ran out at {one.deadline_at:%H:%M:%S}: {said} when read {began_at:%H:%M:%S}",
    }


_CALLS: dict[str, Callable[[Job], None]] = {
    "set": _set,
    "heartbeat": _heartbeat,
    "shorten": _shorten,
    "stop": _stop,
    "read": _read,
}
