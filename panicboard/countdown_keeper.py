"""The due loop of the countdowns: what is due is queued, and what has run out is seen.

Every 50 ms, on a thread of its own: a countdown must not lapse because a reading was looked for. When the
queue does not take it, or no worker takes what it holds, the keeper makes the calls itself. It knows nothing
that the database does not, so another one goes on where it ended.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import Error, close_old_connections, transaction
from django.db.models import Q
from django.utils import timezone

from panicboard import countdowns, database, dispatch, heartbeat_jobs, heartbeat_results, heartbeats, panics
from panicboard.models import Countdown, Follow, LifeSign, Maintenance, Panic
from panicboard.panics import Scope
from panicboard.venues import VENUES

logger = logging.getLogger(__name__)
Phase = Countdown.Phase

TICK_S = 0.05
#: So many countdowns a task: their calls leave side by side.
TOGETHER = 32
#: At most so many of one venue are offered at once; the others at the next tick. More than workers can do
#: would keep them from doing it.
AT_ONCE = 128
#: What a worker has not begun by then is offered again.
TASK_EXPIRES_S = 1.0
#: How often the rarer things are looked at: venues' own words, windows of maintenance, new symbols.
SELDOM_S = 1.0
READ_VENUE_EVERY = timedelta(seconds=10)
READING_EXPIRES_S = 10.0


class _Offer(NamedTuple):
    """When a countdown was offered, and when its last call had been sent by then."""

    sent_at: datetime | None
    at: datetime


#: What this keeper has offered of late: what nobody took since, it does itself.
_offered: dict[int, _Offer] = {}


def run(stop: threading.Event, leads: Callable[[], bool]) -> None:
    """Queue what is due while this process leads, until told to stop. `leads` keeps the lease it tells of."""
    writer = heartbeat_results.Writer()
    writer.start()
    seldom_at = timezone.now()
    while not stop.wait(TICK_S):
        try:
            if not leads():
                continue
            parts = [see_what_ran_out, offer, check_local]
            if timezone.now() >= seldom_at:
                seldom_at = timezone.now() + timedelta(seconds=SELDOM_S)
                parts += [read_venues, keep_maintenance, arm_what_appeared]
            for part in parts:
                _do(part)
        except Error as exc:
            logger.error("countdowns: the database does not answer (%s); trying again", type(exc).__name__)
            close_old_connections()
            stop.wait(0.5)
    writer.stop()
    close_old_connections()


def _do(part: Callable[[], object]) -> None:
    """Do one part of the work. Whatever is wrong with it, the others go on: heartbeats hang on them."""
    try:
        part()
    except Error:
        raise
    except Exception:
        logger.exception("countdowns: %s failed", part.__name__)


def offer() -> int:
    """Queue every call that is due. Returns of how many countdowns."""
    now = timezone.now()
    due = Countdown.objects.filter(Q(in_flight_until=None) | Q(in_flight_until__lte=now), due_at__lte=now)
    due = due.exclude(phase__in=[Phase.DISARMED, Phase.FIRED]).exclude(scope="")
    kept = Q(account__latched_by=None, account__enabled=True) | ~Q(phase__in=Countdown.KEPT)
    due = due.filter(kept).order_by("due_at", "account")
    rows = [
        row
        for venue in due.order_by().values_list("account__venue", flat=True).distinct()
        for row in due.filter(account__venue=venue).values_list("pk", "sent_at")[:AT_ONCE]
    ]
    if not rows:
        return 0
    # Whoever takes one puts it off in its own way; one that nobody takes is due again.
    with transaction.atomic():
        offered = database.locked(Countdown.objects.filter(pk__in=[pk for pk, _ in rows]))
        offered.update(due_at=now + heartbeat_jobs.OFFERED)
    untouched = {pk for pk, sent_at in rows if pk in _offered and _offered[pk].sent_at == sent_at}
    new = [pk for pk, _ in rows if pk not in untouched]
    for pk in [pk for pk, offer in _offered.items() if offer.at < now - 3 * heartbeat_jobs.OFFERED]:
        del _offered[pk]
    _offered.update({pk: _Offer(sent_at, now) for pk, sent_at in rows})
    tasks = [new[start : start + TOGETHER] for start in range(0, len(new), TOGETHER)]
    taken = dispatch.queue("send_heartbeats", tasks, expires_s=TASK_EXPIRES_S)
    for here in [*tasks[taken:], sorted(untouched)]:
        heartbeats.send(here)
    return len(rows)


def see_what_ran_out() -> None:
    """A deadline that passed is the loudest state there is, until it is known what happened."""
    now = timezone.now()
    free = Countdown.objects.filter(Q(in_flight_until=None) | Q(in_flight_until__lte=now)).exclude(scope="")
    kept = free.filter(phase__in=Countdown.KEPT, deadline_at__lte=now)
    if kept.exists():
        with transaction.atomic():
            database.locked(kept).update(
                phase=Phase.PASSED, due_at=now, in_flight_until=None, last_word="its deadline passed; reading"
            )
    withheld = free.filter(
        Q(deadline_at__lte=now) | Q(deadline_at=None, maybe_until__isnull=False),
        Q(maybe_until=None) | Q(maybe_until__lte=now),
        phase=Phase.WITHHELD,
    )
    for one in withheld.select_related("account__venue"):
        _ran_out_while_latched(one)


def _ran_out_while_latched(one: Countdown) -> None:
    ran_out_at = one.maybe_until or one.deadline_at
    assert ran_out_at is not None  # noqa: S101 (it has passed)
    # A call of unknown outcome may have set it, or started it anew: then it ran until then, at the latest.
    ran_out = "may have run out by" if one.maybe_until else "ran out at"
    word = f"{ran_out} {ran_out_at:%H:%M:%S}, while panic {one.withheld_by_id} held its account"
    locks = VENUES[one.account.venue.adapter].locks_after_firing
    if locks:
        word += "; its venue takes no new orders until it is unlocked"
    changed = Countdown.objects.filter(pk=one.pk, phase=Phase.WITHHELD).update(
        phase=Phase.FIRED, ended_at=ran_out_at, due_at=None, locked=locks, last_word=word
    )
    if changed:
        heartbeat_results.say_fired(one.account, one.scope, word)


def check_local() -> None:
    """Panic each account whose own countdown ran out: its source has been silent for so long."""
    now = timezone.now()
    local = Countdown.objects.filter(scope="", phase=Phase.ARMED, due_at__lte=now, account__enabled=True)
    for one in local.select_related("account"):
        sign = LifeSign.objects.filter(account=one.account, kind=one.source).first()
        last_at = sign.last_at if sign and sign.last_at else one.armed_at or now
        deadline = last_at + timedelta(milliseconds=one.countdown_ms)
        changes: dict[str, object] = {"runs_from": last_at, "deadline_at": deadline}
        if deadline > now:
            # Looked at often enough that what is shown is what is known.
            changes["due_at"] = min(deadline, now + timedelta(seconds=1))
            Countdown.objects.filter(pk=one.pk, phase=Phase.ARMED).update(**changes)
            continue
        _fire_local(one, last_at, changes)


def _fire_local(one: Countdown, last_at: datetime, changes: dict[str, object]) -> None:
    """Start the panic first: one press too many does no harm, one too few does."""
    why = f"nothing was heard of the {one.source} since {last_at:%H:%M:%S}"
    try:
        pressed = panics.start(
            Scope(Panic.Scope.ACCOUNT, account=one.account),
            pressed_by=None,
            pressed_by_name="countdown",
            via=Panic.Via.COUNTDOWN,
            reason=why,
        )
    except (panics.NothingToSweep, panics.NotWritten) as exc:
        logger.error("the countdown of %s ran out, and its panic did not start: %s", one.account, exc)
        return
    word = f"ran out: {why}; panic {pressed.panic.pk} sweeps the account"
    Countdown.objects.filter(pk=one.pk).update(
        **changes,
        phase=Phase.FIRED,
        due_at=None,
        ended_at=timezone.now(),
        withheld_by=pressed.panic,
        last_word=word,
    )
    heartbeat_results.say_fired(one.account, "the whole account", word)


def read_venues() -> None:
    """Have each venue that can be asked say what it has running."""
    adapters = [slug for slug, adapter in VENUES.items() if adapter.has_countdown_read]
    now = timezone.now()
    running = Countdown.objects.filter(
        Q(venue_asked_at=None) | Q(venue_asked_at__lte=now - READ_VENUE_EVERY),
        account__venue__adapter__in=adapters,
        account__enabled=True,
        phase__in=Countdown.RUNNING,
    )
    accounts = sorted(set(running.values_list("account_id", flat=True)))
    if accounts:
        with transaction.atomic():
            asked = database.locked(Countdown.objects.filter(account__in=accounts))
            asked.update(venue_asked_at=now)
        dispatch.queue("read_countdowns", accounts, expires_s=READING_EXPIRES_S)


def arm_what_appeared() -> None:
    """Arm the new symbols of accounts that are armed whole."""
    for following in Follow.objects.select_related("account__venue"):
        countdowns.arm_what_appeared(following)


def keep_maintenance() -> None:
    """Disarm what a window of maintenance begins for, and arm it again when it is over."""
    now = timezone.now()
    for window in Maintenance.objects.filter(begun=False, begins_at__lte=now, ends_at__gt=now):
        armed = Countdown.objects.filter(account__venue=window.venue_id, phase__in=Countdown.KEPT)
        rows = list(armed.exclude(scope="").select_related("account"))
        try:
            countdowns.disarm(rows, by=window.made_by, why=str(window))
        except countdowns.Refused as exc:  # latched a moment ago: it runs out by itself
            logger.warning("%s: %s", window, exc)
            continue
        with transaction.atomic():
            paused = database.locked(Countdown.objects.filter(pk__in=[row.pk for row in rows]))
            paused.update(paused_by=window)
        Maintenance.objects.filter(pk=window.pk).update(begun=True)
    for window in Maintenance.objects.filter(begun=True, ended=False, ends_at__lte=now):
        _end(window)


def _end(window: Maintenance) -> None:
    Maintenance.objects.filter(pk=window.pk).update(ended=True)
    paused = Countdown.objects.filter(paused_by=window).select_related("account__venue")
    if not window.rearm:
        paused.update(paused_by=None)
        return
    for one in paused:
        _arm_again(one, window)


def _arm_again(one: Countdown, window: Maintenance) -> None:
    try:
        countdowns.arm(one.account, [one.scope], by=window.made_by, **countdowns.terms_of(one))
    except countdowns.Refused as exc:
        Countdown.objects.filter(pk=one.pk).update(paused_by=None, failure=f"not armed again: {exc}")
