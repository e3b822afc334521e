"""Deciding what is to be done about countdowns, and taking it, so that nobody else does.

**No stray heartbeat.** A heartbeat is decided in a transaction that sees its account unlatched, which no
press can overlap; it carries the time of that decision as its timestamp, and the venue refuses it later
than `FOR_MS` after. So whatever hangs, none takes effect at the venue later than that after a press.

A countdown whose deadline is so near that a heartbeat could come after it gets none: it would start the
countdown anew, or unlock trading, behind everyone's back. What became of it is read instead.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from panicboard import database
from panicboard.countdown_rules import SHORTEST_MS
from panicboard.models import Account, Countdown, LifeSign
from panicboard.venues import VENUES
from panicboard.venues.base import Decided

Phase = Countdown.Phase

#: How long after it was decided a venue may carry out a heartbeat.
FOR_MS = 1000
FOR = timedelta(milliseconds=FOR_MS)
#: When an answer is not awaited any more. Longer than the call's own limits: nobody else takes it before.
IN_FLIGHT = timedelta(seconds=5)
#: How soon a countdown is looked at again for which nothing may be done now: its source is silent, or its
#: deadline too near.
LOOK_AGAIN_S = 0.5
#: What is offered has been put off by so long, until somebody takes it.
OFFERED = timedelta(seconds=1)
#: The second net of a panic.
SECOND_NET_MS = SHORTEST_MS


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


def claim(
    countdown_ids: Sequence[int], *, may_send: Callable[[Account], bool] = lambda account: True
) -> list[Job]:
    """Take what is due of these countdowns: nobody else does, until it is answered or its time is over.

    What `may_send` says could not be sent in time is left to whoever can send it, and offered again.
    """
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
        accounts = [one for one in accounts if may_send(one)]
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
        database.locked(Countdown.objects.filter(pk__in={one.pk for one in due}))
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
        # In a latched account only for the panic that latched it, which keeps what this would cancel.
        return "stop" if account.latched_by_id in (None, one.withheld_by_id) else ""
    if one.phase == Phase.WITHHELD:
        net = now + timedelta(milliseconds=SECOND_NET_MS) + FOR
        return "shorten" if any(at and at > net for at in (one.deadline_at, one.maybe_until)) else ""
    return "read" if one.phase == Phase.PASSED else ""
