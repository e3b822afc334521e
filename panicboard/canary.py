"""The coverage canary: proof, once a day, that a panic still reaches every order family of a venue.

On an account marked for it an order far from the market is placed in each family; the account is panicked
like any other; and once its sweep says clear, the venue is asked for each order by its id. One that is
still open then has escaped: the venue has changed its families, and a clear there may be a false one.

How a run goes is in `canary_steps.py`; a run that waits holds no worker.
"""

import logging
import uuid
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from panicboard import dispatch, leases
from panicboard.canary_steps import GIVE_UP_AFTER, LEASE_S, CanarySteps, LostRun
from panicboard.models import Account, CanaryRun, Sweep

logger = logging.getLogger(__name__)

State = CanaryRun.State

#: A queued step that no worker has begun by then is offered again by the keeper.
STEP_EXPIRES_S = 15.0


class Refused(ValueError):
    """No canary can run on this account now. The text says why."""


def begin(account: Account, *, by: str) -> CanaryRun:
    """Begin a run on a marked account; its steps are queued after the commit. Raises Refused."""
    if why := _why_not(account):
        raise Refused(f"{account.name}: {why}")
    now = timezone.now()
    try:
        with transaction.atomic():
            run = CanaryRun.objects.create(
                account=account,
                began_at=now,
                begun_by=by,
                due_at=now + timedelta(seconds=STEP_EXPIRES_S),
                last_word="waits for a worker",
            )
    except IntegrityError:
        raise Refused(f"{account.name}: a canary run is under way") from None
    logger.info("%s begun by %s", run, by)
    dispatch.queue("run_canary", [run.pk], expires_s=STEP_EXPIRES_S)
    return run


def _why_not(account: Account) -> str:
    if not account.canary:
        return "not marked for the canary, which places orders and panics the account"
    if not account.enabled:
        return "disabled"
    if not account.sealed_credentials:
        return "no credentials"
    if account.latched_by_id is not None:
        return f"latched by panic {account.latched_by_id}"
    if _unfinished_sweeps().filter(account=account).exists():
        return "being swept"
    return ""


def begin_due() -> int:
    """Begin a run on every marked account whose last one is a day old. Returns how many began."""
    lately = timezone.now() - timedelta(hours=settings.CANARY_EVERY_H)
    known = CanaryRun.objects.filter(account=OuterRef("pk")).filter(
        Q(state=State.RUNNING) | Q(began_at__gt=lately)
    )
    # A latched or swept account is not refused aloud here: it has its turn when it is released.
    due = (
        Account.objects.filter(canary=True, enabled=True, latched_by=None, reading__read_at__isnull=False)
        .exclude(sealed_credentials="")
        .exclude(pk__in=_unfinished_sweeps().values("account"))
        .filter(~Exists(known))
    )
    begun = 0
    for account in due:
        try:
            begin(account, by="keeper")
        except Refused as exc:
            logger.info("no canary: %s", exc)
        else:
            begun += 1
    return begun


def offer_due() -> int:
    """Queue every run whose wait is over and that nobody holds. Returns how many there were."""
    now = timezone.now()
    due = list(_free().filter(due_at__lte=now).values_list("pk", flat=True))
    if due:
        again_at = now + timedelta(seconds=STEP_EXPIRES_S)
        CanaryRun.objects.filter(pk__in=due).update(due_at=again_at)
        dispatch.queue("run_canary", due, expires_s=STEP_EXPIRES_S)
    return len(due)


def _free() -> QuerySet[CanaryRun]:
    lapsed = Q(lease_until=None) | Q(lease_until__lt=timezone.now())
    return CanaryRun.objects.filter(lapsed, state=State.RUNNING)


def _unfinished_sweeps() -> QuerySet[Sweep]:
    return Sweep.objects.exclude(state__in=Sweep.OVER)


def go_on(run_id: int) -> None:
    """Do what comes next of a run, up to its next wait; nothing while another worker does.

    Raises nothing but what is a bug, and puts that on the board first.
    """
    owner = f"{leases.process_name()}:{uuid.uuid4().hex[:8]}"
    until = timezone.now() + timedelta(seconds=LEASE_S)
    if not _free().filter(pk=run_id).update(lease_owner=owner, lease_until=until):
        return
    run = CanaryRun.objects.select_related("account__venue", "account__reading", "panic").get(pk=run_id)
    try:
        CanarySteps(run).go()
    except LostRun:
        logger.info("%s: taken over", run)
    except Exception as exc:
        logger.exception("%s failed", run)
        _put_on_the_board(run, exc)
        raise
    finally:
        CanaryRun.objects.filter(pk=run_id, lease_owner=owner).update(lease_owner="", lease_until=None)


def _put_on_the_board(run: CanaryRun, exc: Exception) -> None:
    """Show an error that nobody expected; the run is tried again, but not for ever."""
    now, failed = timezone.now(), f"panicboard failed ({type(exc).__name__}); see the log"
    running = CanaryRun.objects.filter(pk=run.pk, state=State.RUNNING)
    if now - run.began_at > GIVE_UP_AFTER:
        running.update(state=State.FAILED, ended_at=now, last_word=failed)
    else:
        running.update(last_word=f"{failed}; trying again")
