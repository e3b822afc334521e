"""The due loop: every 50 ms it queues what is due, and nothing else.

Sweeps that nobody took or whose worker died, sweeps whose wait is over, looks at latched accounts,
readings, canary runs, accounts of drills. Keepers hold a lease; one leads, another takes over within two
seconds. When the queue does not answer, or no worker takes what it holds (dead, or still on their way back
to a broker that was away), the keeper runs due sweeps itself. Journals of panics that were pressed while
the database was away are imported here, because whoever leads when it is back is the first to see them.
"""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import Error, close_old_connections
from django.db.models import Q, QuerySet
from django.utils import timezone

from panicboard import call_log, canary, countdown_keeper, dispatch, drills, leases, readings
from panicboard.break_glass import journal_import
from panicboard.models import Account, Beat, DrilledAccount, Reading, Sweep

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
    leases.start_beating("keeper")
    leadership = Leadership()
    countdowns = threading.Thread(
        target=countdown_keeper.run, args=(stop, leadership.taken), name="countdowns"
    )
    countdowns.start()
    checked_at = 0.0
    while not stop.wait(TICK_S):
        try:
            now = timezone.now().timestamp()
            if not leadership.taken():
                continue
            offer_sweeps()
            offer_watches()
            offer_readings()
            canary.offer_due()
            drills.offer_due()
            if now - checked_at >= 5:
                give_every_account_a_reading()
                canary.begin_due()
                forget_old_beats()
                journal_import.import_waiting()
                call_log.prune()
                checked_at = now
        except Error as exc:
            logger.error("keeper: the database does not answer (%s); trying again", type(exc).__name__)
            close_old_connections()
            stop.wait(0.5)
    countdowns.join()


class Leadership:
    """Whether this keeper leads: for as long as the lease that it last took holds, and no longer.

    Its threads keep it together: what holds up one of them must not stop the others.
    """

    def __init__(self) -> None:
        self._owner = leases.process_name("keeper")
        self._lock = threading.Lock()
        self._asked_at = 0.0
        self._until = 0.0

    def taken(self) -> bool:
        """Take or renew the lease, where it is time to. Returns whether it is ours."""
        with self._lock:
            now = time.time()
            if now - self._asked_at >= LEAD_S / 4:
                self._asked_at = now
                self._until = now + LEAD_S if leases.lead("keeper", self._owner, LEAD_S) else 0.0
            return time.time() < self._until


def offer_sweeps() -> int:
    """Queue every sweep that is due and that nobody holds. Returns how many there were.

    What was offered before, by its press or from here, and has not been touched since, is run here.
    """
    due = list(_free().exclude(state__in=Sweep.OVER).values_list("pk", "due_at", "state"))
    new, old = _offer([(pk, at) for pk, at, state in due if state != Sweep.State.QUEUED])
    queued = [pk for pk, _, state in due if state == Sweep.State.QUEUED]
    _not_before(queued)
    dispatch.sweeps(new)
    dispatch.sweeps_here(queued + old)
    return len(due)


def offer_watches() -> int:
    """Queue every look at a latched account that is due. Returns how many there were."""
    latching = Account.objects.filter(latched_by__isnull=False).values_list("latched_by", flat=True)
    # By these panics: looking among all sweeps that ever were clear would take too long.
    watched = _free().filter(Sweep.WATCHED, panic__in=set(latching))
    due = list(watched.values_list("pk", "due_at"))
    new, old = _offer(due)
    dispatch.watches(new)
    dispatch.watches_here(old)
    return len(due)


def _free() -> QuerySet[Sweep]:
    now = timezone.now()
    return Sweep.objects.filter(Q(lease_until=None) | Q(lease_until__lt=now), due_at__lte=now)


def _offer(due: Sequence[tuple[int, datetime]]) -> tuple[list[int], list[int]]:
    """Part what is due into what is offered for the first time, and what nobody took since it was."""
    old = [pk for pk, at in due if _offered.get(pk) == at]
    new = [pk for pk, _ in due if pk not in old]
    # What was taken is forgotten a while after it could have been due: sweeps and looks are offered in turn.
    long_ago = timezone.now() - timedelta(seconds=settings.SWEEP_LEASE_S)
    for pk in [pk for pk, at in _offered.items() if at <= long_ago]:
        del _offered[pk]
    again_at = _not_before([pk for pk, _ in due])
    _offered.update(dict.fromkeys(new, again_at))
    return new, old


def _not_before(sweep_ids: Sequence[int]) -> datetime:
    """Offer these no sooner than a lease can lapse. Returns when that is."""
    again_at = timezone.now() + timedelta(seconds=settings.SWEEP_LEASE_S)
    if sweep_ids:
        Sweep.objects.filter(pk__in=sweep_ids).update(due_at=again_at)
    return again_at


def offer_readings() -> int:
    """Queue every due reading of an enabled account that is not being swept. Returns how many.

    An account that a drill has still to read is left to it: both are paid from one share, which readings in
    the background would fill alone, and what the drill reads counts as one of them.
    """
    now = timezone.now()
    due = list(
        Reading.objects.filter(due_at__lte=now, account__enabled=True)
        .exclude(
            account__in=Sweep.objects.filter(whole_account=True)
            .exclude(state__in=Sweep.OVER)
            .values("account")
        )
        .exclude(account__in=DrilledAccount.objects.exclude(state__in=DrilledAccount.OVER).values("account"))
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
