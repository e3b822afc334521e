"""The due loop: every 50 ms it queues what is due, and nothing else.

Sweeps that nobody took or whose worker died, sweeps whose wait is over, readings. Keepers hold a lease;
one leads, another takes over within two seconds. When the queue does not answer, or no worker takes what
it holds (dead, or still on their way back to a broker that was away), the keeper runs due sweeps itself.
"""

import logging
import threading
from datetime import datetime, timedelta

from django.conf import settings
from django.db import Error, close_old_connections
from django.db.models import Q
from django.utils import timezone

from panicboard import call_log, dispatch, leases, readings
from panicboard.models import Account, Beat, Reading, Sweep

logger = logging.getLogger(__name__)

TICK_S = 0.05
LEAD_S = 2.0
#: How long a queued reading may wait for a worker before it is offered again.
OFFER_READING_AGAIN_S = 30
KEEP_BEATS = timedelta(days=1)

#: The sweeps queued by this keeper of late: when each is offered again, unless somebody takes it.
_offered: dict[int, datetime] = {}


def run(stop: threading.Event) -> None:
    """Lead when no other keeper does, and queue what is due, until told to stop."""
    owner = leases.process_name("keeper")
    leases.start_beating("keeper")
    renewed_at = checked_at = 0.0
    leading = False
    while not stop.wait(TICK_S):
        try:
            now = timezone.now().timestamp()
            if now - renewed_at >= LEAD_S / 4:
                leading = leases.lead("keeper", owner, LEAD_S)
                renewed_at = now
            if not leading:
                continue
            offer_sweeps()
            offer_readings()
            if now - checked_at >= 5:
                give_every_account_a_reading()
                forget_old_beats()
                call_log.prune()
                checked_at = now
        except Error as exc:
            logger.error("keeper: the database does not answer (%s); trying again", type(exc).__name__)
            close_old_connections()
            stop.wait(0.5)


def offer_sweeps() -> int:
    """Queue every sweep that is due and that nobody holds. Returns how many there were.

    What was offered before, by its press or from here, and has not been touched since, is run here.
    """
    now = timezone.now()
    due = list(
        Sweep.objects.filter(Q(lease_until=None) | Q(lease_until__lt=now), due_at__lte=now)
        .exclude(state__in=Sweep.OVER)
        .values_list("pk", "due_at", "state")
    )
    not_taken = [pk for pk, at, state in due if state == Sweep.State.QUEUED or _offered.get(pk) == at]
    for pk in [pk for pk, at in _offered.items() if at <= now]:
        del _offered[pk]
    if due:
        again_at = now + timedelta(seconds=settings.SWEEP_LEASE_S)
        ids = [pk for pk, _, _ in due if pk not in not_taken]
        Sweep.objects.filter(pk__in=[pk for pk, _, _ in due]).update(due_at=again_at)
        _offered.update(dict.fromkeys(ids, again_at))
        dispatch.sweeps(ids)
        dispatch.sweeps_here(not_taken)
    return len(due)


def offer_readings() -> int:
    """Queue every due reading of an enabled account that is not being swept. Returns how many."""
    now = timezone.now()
    due = list(
        Reading.objects.filter(due_at__lte=now, account__enabled=True)
        .exclude(
            account__in=Sweep.objects.filter(whole_account=True)
            .exclude(state__in=Sweep.OVER)
            .values("account")
        )
        .order_by("due_at")
        .values_list("pk", "account_id")
    )
    if due:
        Reading.objects.filter(pk__in=[pk for pk, _ in due]).update(
            due_at=now + timedelta(seconds=OFFER_READING_AGAIN_S)
        )
        dispatch.queue("read_account", [account_id for _, account_id in due], expires_s=OFFER_READING_AGAIN_S)
    return len(due)


def give_every_account_a_reading() -> None:
    for account in Account.objects.filter(reading=None):
        readings.ensure(account)


def forget_old_beats() -> None:
    Beat.objects.filter(at__lt=timezone.now() - KEEP_BEATS).delete()
