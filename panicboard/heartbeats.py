"""What countdowns need at their venues: set, kept alive, made shorter, taken away, read when over.

**No stray heartbeat.** A heartbeat is decided in a transaction that sees its account unlatched, which no
press can overlap; it carries the time of that decision as its timestamp, and the venue refuses it later
than `FOR_MS` after. So whatever hangs, none takes effect at the venue later than that after a press.

A countdown whose deadline is so near that a heartbeat could come after it gets none: it would start the
countdown anew, or unlock trading, behind everyone's back. What became of it is read instead.
"""

import atexit
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.db import Error, close_old_connections, connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from panicboard import audit, database
from panicboard.budgets import AccountBudget, Work
from panicboard.countdown_rules import SHORTEST_MS
from panicboard.credentials import CredentialsUnusable
from panicboard.models import Account, AuditEntry, Countdown, LifeSign
from panicboard.venues import VENUES, calls
from panicboard.venues.base import BookSymbol, Decided, Listing, Order, VenueAdapter
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

#: How long after it was decided a venue may carry out a heartbeat.
FOR_MS = 1000
FOR = timedelta(milliseconds=FOR_MS)
#: When an answer is not awaited any more. Longer than the call's own limits: nobody else takes it before.
IN_FLIGHT = timedelta(seconds=5)
#: Between two tries after a failure, from the first to the longest.
AGAIN_S = (0.25, 0.5, 1.0, 2.0, 4.0)
#: How soon a countdown is looked at again for which nothing may be done now: its source is silent, or its
#: deadline too near.
LOOK_AGAIN_S = 0.5
#: What is offered has been put off by so long, until somebody takes it.
OFFERED = timedelta(seconds=1)
#: After its deadline an account is read until its orders are gone, for so long.
GONE_WITHIN = timedelta(seconds=6)
READ_AGAIN_S = 1.0
#: The second net of a panic.
SECOND_NET_MS = SHORTEST_MS
#: How many calls of a countdown are kept with it.
KEPT_CALLS = 20
#: Calls of one venue that a process makes at the same time: a venue that hangs holds up no other.
CALLS_AT_ONCE = 64
#: When so many calls of a venue wait for a thread, no further ones are taken.
WAITING_AT_MOST = 64
WRITE_EVERY_S = 0.02
#: Each countdown gets another moment of its refresh: by this fraction any number of them spread evenly.
GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Job:
    """One call to be made about countdowns of one account."""

    what: str  # "set", "heartbeat", "shorten", "stop" or "read"
    account: Account
    countdowns: tuple[Countdown, ...]
    at: datetime

    @property
    def decided(self) -> Decided:
        return Decided(self.at, FOR_MS)


def send(countdown_ids: Sequence[int]) -> int:
    """Do what is due of these countdowns, each call on a thread of its own. Returns how many calls.

    Comes back when they are on their way; what they come to is written down as it comes.
    """
    jobs = claim(countdown_ids)
    for job in jobs:
        with _waiting_lock:
            _waiting[_api(job.account)] += 1
        _calls_to(*_api(job.account)).submit(_begin, job)
    return len(jobs)


def claim(countdown_ids: Sequence[int]) -> list[Job]:
    """Take what is due of these countdowns: nobody else does, until it is answered or its time is over."""
    with database.WRITERS, transaction.atomic():
        mine = Countdown.objects.filter(pk__in=countdown_ids).exclude(scope="")
        # An account that a press is about to latch is locked by it, and left alone: it is offered again.
        # SQLite has one writer at a time, which is us from here on.
        accounts = list(
            Account.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
            .filter(pk__in=mine.values("account"), venue__adapter__in=VENUES)
            .select_related("venue", "egress", "second_egress")
            .order_by("pk")
        )
        # What would only wait here until it is too late is left to whoever can send it, and offered again.
        accounts = [one for one in accounts if _waiting[_api(one)] < WAITING_AT_MOST]
        now = timezone.now()
        free = Countdown.objects.filter(Q(in_flight_until=None) | Q(in_flight_until__lte=now))
        due = list(free.filter(pk__in=countdown_ids, account__in=accounts, due_at__lte=now + OFFERED))
        due += _beside(free, due, accounts, now)
        silent = _silent(accounts, now)
        jobs = [
            job
            for account in accounts
            for job in _jobs(account, [one for one in due if one.account_id == account.pk], silent, now)
        ]
        taken = {one.pk for job in jobs for one in job.countdowns}
        Countdown.objects.filter(pk__in=taken).update(
            sent_at=now, in_flight_until=now + IN_FLIGHT, due_at=now + IN_FLIGHT
        )
        left = Countdown.objects.filter(pk__in={one.pk for one in due} - taken)
        left.filter(phase=Phase.WITHHELD).update(due_at=None)  # it runs out soon enough by itself
        left.exclude(phase=Phase.WITHHELD).update(due_at=now + timedelta(seconds=LOOK_AGAIN_S))
    return jobs


def _beside(
    free: QuerySet[Countdown], due: Sequence[Countdown], accounts: Sequence[Account], now: datetime
) -> list[Countdown]:
    """What is not due yet, but costs nothing to take along: one heartbeat is for many countdowns there."""
    beating = {one.account_id for one in due if one.phase == Phase.ARMED and not one.to_set}
    beating &= {one.pk for one in accounts if VENUES[one.venue.adapter].one_heartbeat_for_many}
    if not beating:
        return []
    others = free.filter(account__in=beating, phase=Phase.ARMED, to_set=False)
    soon = [one for one in others if one.due_at and one.due_at <= now + one.refresh / 2]
    known = {one.pk for one in due}
    return [one for one in soon if one.pk not in known]


def _silent(accounts: Sequence[Account], now: datetime) -> set[tuple[int, str]]:
    """The sources by which nothing is kept alive at present, as (account, source)."""
    heard = {
        (sign.account_id, sign.kind)
        for sign in LifeSign.objects.filter(account__in=accounts)
        if sign.silent_at is not None and sign.silent_at > now
    }
    every = {(account.pk, str(kind)) for account in accounts for kind in LifeSign.Kind}
    return every - heard


def _jobs(
    account: Account, due: Sequence[Countdown], silent: set[tuple[int, str]], now: datetime
) -> Iterator[Job]:
    together: list[Countdown] = []
    for one in due:
        what = _what(one, account, now)
        if what in ("set", "heartbeat") and (account.pk, one.source) in silent:
            continue
        if what == "heartbeat" and VENUES[account.venue.adapter].one_heartbeat_for_many:
            together.append(one)
        elif what:
            yield Job(what, account, (one,), now)
    if together:
        yield Job("heartbeat", account, tuple(together), now)


def _what(one: Countdown, account: Account, now: datetime) -> str:
    """What is to be done about a countdown now; empty: nothing."""
    if one.phase in Countdown.KEPT:
        if account.latched_by_id is not None or not account.enabled:
            return ""
        if one.deadline_at is not None and one.deadline_at <= now + FOR:
            return ""  # too near: it may have run out before a heartbeat comes
        return "set" if one.to_set else "heartbeat"
    if one.phase == Phase.DISARMING:
        return "stop" if account.latched_by_id is None else ""
    if one.phase == Phase.WITHHELD:
        net = now + timedelta(milliseconds=SECOND_NET_MS) + FOR
        return "shorten" if one.deadline_at is not None and one.deadline_at > net else ""
    return "read" if one.phase == Phase.PASSED else ""


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


def _run(job: Job) -> None:
    try:
        _CALLS[job.what](job)
    except Exception as exc:  # whatever it is, it shows on the board
        logger.exception("%s of %s failed", job.what, job.account)
        missed(job, job.countdowns, f"panicboard failed ({type(exc).__name__}); see the log")
    finally:
        close_old_connections()


def _opened(job: Job, work: Work) -> VenueAdapter:
    return AccountBudget(job.account, work).open_adapter()


def _call_venue(job: Job, work: Work, call: Callable[[VenueAdapter], None]) -> None:
    """Make the job's call, and write down what stood in its way."""
    try:
        call(_opened(job, work))
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
        _results.put(
            Result(
                one,
                job,
                "done",
                {
                    "runs_from": job.at,
                    "acked_at": timezone.now(),
                    "deadline_at": job.at + timedelta(milliseconds=SECOND_NET_MS),
                    "due_at": None,
                    "failure": "",
                    "last_word": f"shortened to {SECOND_NET_MS / 1000:g} s, as a second net of the panic",
                },
                only_in=(Phase.WITHHELD,),
            )
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
        _results.put(
            Result(
                one,
                job,
                "done",
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
                    "last_word": "disarmed: the venue confirmed it",
                },
                only_in=(Phase.DISARMING,),
            )
        )

    _call_venue(job, Work.HEARTBEAT, call)


def _read(job: Job) -> None:
    """The deadline passed: see at once what of its orders is left."""
    (one,) = job.countdowns

    def call(adapter: VenueAdapter) -> None:
        began_at = timezone.now()
        orders = [order for listing in _listings(one, adapter) for order in adapter.open_orders(listing)]
        orders = [order for order in orders if adapter.countdown_of(order.symbol) == one.scope]
        _results.put(
            Result(one, job, "done", _found(one, adapter, orders, began_at), only_in=(Phase.PASSED,))
        )

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


# ---- what calls came to, written down in batches ----


@dataclass(frozen=True)
class Result:
    """What one call came to for one countdown: fields to be written, if it is still the last that was sent.

    It speaks of the countdown as it was armed then: of one that was armed anew it says nothing. `kept` are
    written only where heartbeats still keep it alive; with `only_in`, all of it only in these phases.
    """

    countdown: Countdown
    job: Job
    outcome: str
    changes: dict[str, Any]
    kept: dict[str, Any] | None = None
    only_in: tuple[str, ...] = ()

    def changes_at(self, now: datetime) -> dict[str, Any]:
        """What is written in every case: the changes, and that the call is answered."""
        call = {
            "at": self.job.at.isoformat(),
            "what": self.job.what,
            "ms": round((now - self.job.at).total_seconds() * 1000),
            "outcome": self.outcome,
        }
        recent = [*self.countdown.recent, call][-KEPT_CALLS:]
        return {**self.changes, "in_flight_until": None, "recent": recent}


_results: "queue.SimpleQueue[Result]" = queue.SimpleQueue()


def alive(job: Job, countdowns: Sequence[Countdown]) -> None:
    """The venue acknowledged: these run from the moment at which the call was decided, at the earliest."""
    now = timezone.now()
    for one in countdowns:
        next_at = _next_at(one, job)
        _results.put(
            Result(
                one,
                job,
                "done",
                {
                    "runs_from": job.at,
                    "acked_at": now,
                    "deadline_at": job.at + timedelta(milliseconds=one.countdown_ms),
                    "maybe_until": None,
                    "misses": 0,
                    "failure": "",
                    "to_set": False,
                },
                kept={"phase": Phase.ARMED, "due_at": max(next_at, now)},
            )
        )


def _next_at(one: Countdown, job: Job) -> datetime:
    """When the heartbeat after this one is due: at its own moment of the refresh, one refresh later at most.

    What was held up together, or sent late, is thereby spread again, and never comes in one burst for good.
    What shares one heartbeat stays together, and moves with it.
    """
    part = one.pk * GOLDEN % 1
    if VENUES[job.account.venue.adapter].one_heartbeat_for_many:
        part = one.account_id * GOLDEN % 1
        return job.at + one.refresh * (part if one.to_set else 1)
    refresh_s = one.refresh_ms / 1000
    since_its_moment_s = (job.at.timestamp() - part * refresh_s) % refresh_s
    return job.at + timedelta(seconds=refresh_s - since_its_moment_s)


def missed(
    job: Job, countdowns: Sequence[Countdown], why: str, *, unknown: bool = False, wait_s: float = 0.0
) -> None:
    """A call did not come about, or nobody knows whether it did: it is repeated soon."""
    now = timezone.now()
    for one in countdowns:
        again_s = max(AGAIN_S[min(one.misses, len(AGAIN_S) - 1)], min(wait_s, AGAIN_S[-1]))
        changes: dict[str, Any] = {
            "misses": one.misses + 1,
            "failure": why,
            "due_at": now + timedelta(seconds=again_s),
        }
        if unknown and job.what in ("set", "heartbeat"):
            until = now + timedelta(milliseconds=one.countdown_ms)
            changes["maybe_until"] = max(until, one.maybe_until or until)
        _results.put(Result(one, job, "unknown" if unknown else "failed", changes))


def refused(job: Job, why: str) -> None:
    """The venue does not take this countdown at all: it is not armed, and says why."""
    for one in job.countdowns:
        changes: dict[str, Any] = {"misses": 0, "failure": why}
        ended = {"phase": Phase.DISARMED, "due_at": None, "ended_at": timezone.now()}
        if one.deadline_at is not None:  # an earlier one runs on, with its earlier length
            changes["due_at"] = timezone.now() + timedelta(seconds=AGAIN_S[-1])
            ended = {}
        _results.put(Result(one, job, "refused", changes, kept=ended))


def write(results: Sequence[Result]) -> None:
    """Write down what these calls came to, each unless a later call was sent since."""
    now = timezone.now()
    with database.WRITERS, transaction.atomic():
        acknowledged = [result for result in results if result.outcome == "done" and result.kept is not None]
        one_by_one = [result for result in results if result.outcome != "done" or result.kept is None]
        if not _write_alike(acknowledged, now):
            one_by_one = list(results)
        for result in one_by_one:
            one, job, changes = result.countdown, result.job, result.changes_at(now)
            mine = Countdown.objects.filter(pk=one.pk, sent_at=job.at, armed_at=one.armed_at)
            if result.only_in:
                mine = mine.filter(phase__in=result.only_in)
            if result.kept is not None and mine.filter(phase__in=Countdown.KEPT).update(
                **changes, **result.kept
            ):
                continue
            if not mine.update(**changes):
                # Something else is to be done about it by now: only that nothing is in flight any more.
                Countdown.objects.filter(pk=one.pk, sent_at=job.at).update(in_flight_until=None)
            elif result.changes.get("phase") == Phase.FIRED:
                say_fired(job.account, one.scope, result.changes["last_word"])


def _write_alike(results: Sequence[Result], now: datetime) -> bool:
    """Write down heartbeats that were acknowledged, by one statement that is prepared once.

    Returns whether each countdown was still kept alive, and its call the last one; else some are not written.
    An update by the ORM costs as much as the heartbeat itself.
    """
    if not results:
        return True
    changes = [{**result.changes_at(now), **(result.kept or {})} for result in results]
    columns = {field.name: field for field in Countdown._meta.concrete_fields}
    fields = [columns[name] for name in changes[0]]
    written = ", ".join(f"{field.column} = %s" for field in fields)
    phases = ", ".join("%s" for _ in Countdown.KEPT)
    table = Countdown._meta.db_table
    # Names of the model's own, no values.
    sql = (
        f"UPDATE {table} SET {written} "  # noqa: S608
        f"WHERE id = %s AND sent_at = %s AND armed_at = %s AND phase IN ({phases})"
    )
    rows = [
        [
            *(field.get_db_prep_save(mine[field.name], connection) for field in fields),
            result.countdown.pk,
            columns["sent_at"].get_db_prep_save(result.job.at, connection),
            columns["armed_at"].get_db_prep_save(result.countdown.armed_at, connection),
            *Countdown.KEPT,
        ]
        for result, mine in zip(results, changes, strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)
        return bool(cursor.rowcount == len(rows))


def say_fired(account: Account, scope: str, word: str) -> None:
    """Record that a countdown ran out, and what was found."""
    logger.error("countdown of %s %s %s", account.name, scope, word)
    detail = f"{scope}: {word}"
    audit.record(AuditEntry.Action.FIRED, by_name="countdown", account=account, detail=detail)


class Writer:
    """A thread that writes results down, a few at a time, for as long as its process lives."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat-results", daemon=True)
        self._waiting: list[Result] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write down what there is, and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._waiting.append(_results.get(timeout=0.1))
            except queue.Empty:
                continue
            self._stop.wait(WRITE_EVERY_S)
            self._write()
        self._write()
        close_old_connections()

    def _write(self) -> None:
        while not _results.empty():
            self._waiting.append(_results.get())
        if not self._waiting:
            return
        try:
            write(self._waiting)
        except Error as exc:
            logger.error("heartbeats: the database does not answer (%s); trying again", type(exc).__name__)
            close_old_connections()
            self._stop.wait(0.2)
        else:
            self._waiting = []


def keep() -> None:
    """Write down what this process's calls come to, until it ends."""
    writer = Writer()
    writer.start()
    atexit.register(writer.stop)
