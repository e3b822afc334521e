"""Celery tasks: ids in, nothing out; each fetches, calls one act, and puts what fails on the board."""

import logging

from celery import shared_task

from panicboard.models import Account

logger = logging.getLogger(__name__)


@shared_task
def run_sweep(sweep_id: int) -> None:
    """Sweep one account until it is clear or has to wait; nothing while another worker holds it."""
    from panicboard import sweeps  # here: the web process imports this module only to send the task

    sweeps.run(sweep_id)


@shared_task
def watch_sweep(sweep_id: int) -> None:
    """Look at a latched account again; nothing while another worker does, or once it is released."""
    from panicboard import sweeps  # here, as above

    sweeps.watch(sweep_id)


@shared_task
def run_canary(run_id: int) -> None:
    """Go on with a canary run until its next wait; nothing while another worker does."""
    from panicboard import canary  # here, as above

    canary.go_on(run_id)


@shared_task
def read_for_drill(row_id: int) -> None:
    """Read one account of a drill; nothing while another worker does, or once it is over."""
    from panicboard import drills  # here, as above

    drills.read(row_id)


@shared_task
def send_heartbeats(countdown_ids: list[int]) -> None:
    """Do what is due of these countdowns at their venues; what it came to is written down as it comes."""
    from panicboard import heartbeats  # here, as above

    heartbeats.send(countdown_ids)


@shared_task
def read_countdowns(account_id: int) -> None:
    """Ask the venue of one account which countdowns it has running."""
    from panicboard import readings  # here, as above

    accounts = Account.objects.select_related("venue", "egress", "second_egress")
    account = accounts.filter(pk=account_id, enabled=True).first()
    if account is not None:
        readings.read_countdowns(account)


@shared_task
def read_account(account_id: int) -> None:
    """Read one account's open orders in the background."""
    from panicboard import readings  # here, as above

    accounts = Account.objects.select_related("venue", "desk", "egress", "second_egress")
    account = accounts.filter(pk=account_id, enabled=True).first()
    if account is None:
        return
    try:
        readings.read(account)
    except Exception as exc:
        logger.exception("reading %s failed", account)
        readings.fail_unexpectedly(account, exc)
        raise
