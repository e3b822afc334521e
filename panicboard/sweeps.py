"""Sweeps: one account within one panic, worked on by whoever holds its lease.

How one is worked on is in `sweeper.py`, what follows when it is clear in `latch.py`.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.db import close_old_connections
from django.utils import timezone

from panicboard import budgets, latch, leases, rush
from panicboard.models import Sweep
from panicboard.sweeper import Sweeper

logger = logging.getLogger(__name__)

#: How many waiting sweeps of a panic one claim takes along at most, and how many of these are prepared
#: and paid for together.
TAKE_ALONG, TOGETHER = 100, 10


def run(sweep_id: int) -> None:
    """Work on a sweep until it is clear, or has to wait; nothing while another worker holds it.

    A failure is written on the sweep, with the time of the next try. Raises nothing but what is a bug,
    and puts that on the board first.
    """
    rush.coming()
    try:
        sweep = leases.take(sweep_id)
    except Exception:
        rush.gone()
        raise
    if sweep is None:
        rush.gone()
    else:
        _work_on(sweep)


def watch(sweep_id: int) -> None:
    """Look whether an account that is clear and latched has orders again; if so, sweep it until it is clear.

    Raises nothing but what is a bug, and puts that on the board first.
    """
    sweep = leases.take_watched(sweep_id)
    if sweep is not None:
        with _held(sweep):
            latch.look(Sweeper(sweep))


def take_along(threads: int) -> None:
    """Let this process begin sweeps of a panic before their tasks have reached it.

    Receiving a task costs more than sending a cancel. The sweeps taken along run on threads of their
    own; their tasks, when they come, find them taken.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="along")

    def begin(taken: Sequence[Sweep]) -> None:
        for _ in taken:
            rush.coming()
        pool.submit(_begin_together, pool, taken)

    leases.take_along(begin, TAKE_ALONG)


def _begin_together(pool: ThreadPoolExecutor, taken: Sequence[Sweep]) -> None:
    """Prepare these sweeps a few at a time, and give each to a thread of its own."""
    try:
        for begin in range(0, len(taken), TOGETHER):
            few = taken[begin : begin + TOGETHER]
            sweepers = [_prepared(sweep) for sweep in few]
            try:
                budgets.prepay([one.cost_of(one.ready) for one in sweepers if one is not None and one.ready])
            except Exception:  # whatever it is: the sweeps must begin, and each call pays for itself then
                logger.exception("weight could not be paid together")
            for sweep, sweeper in zip(few, sweepers, strict=True):
                pool.submit(_work_along, sweep, sweeper)
    finally:
        close_old_connections()


def _prepared(sweep: Sweep) -> Sweeper | None:
    """A sweeper whose first cancels are ready; None when there is none, which `_work_on` then finds too."""
    try:
        sweeper = Sweeper(sweep)
        if sweep.first_request_at is None:
            sweeper.prepare_first_cancels()
    except Exception:
        logger.info("%s: could not be prepared", sweep, exc_info=True)
        return None
    return sweeper


def _work_along(sweep: Sweep, sweeper: Sweeper | None) -> None:
    try:
        _work_on(sweep, sweeper)
    finally:
        close_old_connections()


def _work_on(sweep: Sweep, sweeper: Sweeper | None = None) -> None:
    with _held(sweep):
        first = sweep.first_request_at is None
        try:
            sweeper = sweeper or Sweeper(sweep)
            if first:
                with rush.leaving(sweep.panic_id, sweep.pk) as leaving:
                    sweeper.send_first_cancels(leaving)
        finally:
            rush.gone()
        if first:
            rush.stand_aside(sweep.panic_id)
        sweeper.go()


@contextlib.contextmanager
def _held(sweep: Sweep) -> Iterator[None]:
    """Work on a sweep whose lease is ours: give it back, and put on the board what nobody expected."""
    try:
        yield
    except leases.LostLease:
        logger.info("%s: taken over or released", sweep)
    except Exception as exc:
        logger.exception("%s failed", sweep)
        _put_on_the_board(sweep, exc)
        raise
    finally:
        leases.give_back(sweep)


def _put_on_the_board(sweep: Sweep, exc: Exception) -> None:
    """Show an error that nobody expected, and have the sweep tried again; nothing where another took it."""
    ours = Sweep.objects.filter(pk=sweep.pk, lease_owner=sweep.lease_owner)
    ours.filter(Sweep.WATCHED).update(
        last_word=f"latched, but panicboard failed to look at it ({type(exc).__name__}); see the log",
        due_at=timezone.now() + timedelta(seconds=2),
    )
    ours.exclude(state__in=Sweep.OVER).update(
        state=Sweep.State.FAILED,
        last_word=f"panicboard failed ({type(exc).__name__}); see the log; trying again",
        due_at=timezone.now() + timedelta(seconds=2),
    )
