"""From a press to a worker: through the queue, or, when it does not answer in time, directly.

The queue has 300 ms. After that the same sweeps run on threads of the process that was pressed; leases
keep a sweep that was queued after all from running twice.
"""

import contextlib
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import Error, close_old_connections
from django.utils import timezone
from kombu.exceptions import OperationalError

from panicboard import tasks
from panicboard.celery import app
from panicboard.models import Panic, Sweep

logger = logging.getLogger(__name__)

QUEUE_TIMEOUT_S = 0.3
#: So many tasks of a panic are queued before its press is answered. The workers that take them take the
#: other accounts along, and a press of two hundred is answered as soon as one of twenty.
QUEUED_FIRST = 16
#: How long after that the others follow, as far as no worker has begun them.
OTHERS_AFTER_S = 0.1
#: A look at a latched account that no worker has begun by then is offered again by the keeper.
WATCH_EXPIRES_S = 10.0
_stopping = threading.Event()
#: Set when tasks need not wait for OTHERS_AFTER_S any more.
_others_may_follow = threading.Event()
_DIRECT = ThreadPoolExecutor(max_workers=64, thread_name_prefix="direct")
#: The sweeps that this process runs itself, waiting ones among them.
_here: set[int] = set()
_here_changed = threading.Condition()
#: How many panics have tasks that are still to be queued from here.
_to_follow = 0


def queue(task_name: str, ids: Sequence[object], *, expires_s: float | None = None) -> int:
    """Send one task an id (or list of ids), through one held producer. Returns how many the broker took."""
    task = getattr(tasks, task_name)
    sent = 0
    try:
        with app.producer_pool.acquire(block=True, timeout=QUEUE_TIMEOUT_S) as producer:
            for one in ids:
                task.apply_async((one,), producer=producer, retry=False, expires=expires_s)
                sent += 1
    except (OperationalError, OSError, TimeoutError) as exc:
        logger.warning("the queue does not take %s (%s)", task_name, type(exc).__name__)
    return sent


def panic(sweep_ids: Sequence[int]) -> bool:
    """Have the sweeps of a new panic run. Returns whether the queue took the first of them.

    The rest is queued a moment later from a thread of its own, and runs here where the queue does not
    take it by then; the panic says so.
    """
    global _to_follow
    first, others = sweep_ids[:QUEUED_FIRST], sweep_ids[QUEUED_FIRST:]
    taken = queue("run_sweep", first)
    if taken < len(first):
        sweeps_here(sweep_ids[taken:])
        return False
    if others:
        with _here_changed:
            _to_follow += 1
        threading.Thread(target=_queue_others, args=(others,), name="queue-others").start()
    return True


def _queue_others(sweep_ids: Sequence[int]) -> None:
    global _to_follow
    try:
        _others_may_follow.wait(OTHERS_AFTER_S)
        try:
            waiting = Sweep.objects.filter(pk__in=sweep_ids, state=Sweep.State.QUEUED, lease_owner="")
            sweep_ids = list(waiting.values_list("pk", flat=True))
        except Error as exc:  # then all of them: a task too many does no harm
            logger.warning("the database does not answer (%s): every task is queued", type(exc).__name__)
        if not sweeps(sweep_ids):
            Panic.objects.filter(sweeps__in=sweep_ids).update(direct_path=True)
    finally:
        close_old_connections()
        with _here_changed:
            _to_follow -= 1
            _here_changed.notify_all()


def sweeps(sweep_ids: Sequence[int]) -> bool:
    """Have these sweeps run. Returns whether the queue took them all; the rest run directly, here."""
    taken = queue("run_sweep", sweep_ids)
    sweeps_here(sweep_ids[taken:])
    return taken == len(sweep_ids)


def watches(sweep_ids: Sequence[int]) -> None:
    """Have these latched accounts looked at; here, where the queue does not take it."""
    taken = queue("watch_sweep", sweep_ids, expires_s=WATCH_EXPIRES_S)
    watches_here(sweep_ids[taken:])


def watches_here(sweep_ids: Sequence[int]) -> None:
    """Have this process look at these latched accounts."""
    for sweep_id in sweep_ids:
        _DIRECT.submit(_watch_directly, sweep_id)


def _watch_directly(sweep_id: int) -> None:
    try:
        tasks.watch_sweep(sweep_id)
    finally:
        close_old_connections()


def sweeps_here(sweep_ids: Sequence[int]) -> None:
    """Have this process run these sweeps; each once, however often it is offered."""
    for sweep_id in sweep_ids:
        with _here_changed:
            if sweep_id in _here:
                continue
            _here.add(sweep_id)
        _DIRECT.submit(_run_directly, sweep_id)


def stop_direct() -> None:
    """Let direct sweeps of this process end after their present round; a keeper takes them over."""
    _stopping.set()
    _others_may_follow.set()
    _DIRECT.shutdown(wait=True, cancel_futures=True)


def finish_direct() -> None:
    """Wait until every sweep that fell to this process is over: what waits here would end with it."""
    with _here_changed:
        _here_changed.wait_for(lambda: not _here and not _to_follow)


def finish_queueing() -> None:
    """Wait until every task of this process's presses is queued, or runs here."""
    with _here_changed:
        _here_changed.wait_for(lambda: not _to_follow)


def queue_answers() -> bool:
    """Whether the broker can be reached now."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=0, timeout=QUEUE_TIMEOUT_S)
    except (OperationalError, OSError):
        return False
    return True


def _run_directly(sweep_id: int) -> None:
    """Run a sweep in this process, and again when it is due, until it is over.

    While it waits it holds no thread: many accounts that cannot be swept must not hold up one that can.
    """
    wait_s: float | None = None
    try:
        tasks.run_sweep(sweep_id)
        sweep = Sweep.objects.filter(pk=sweep_id).exclude(state__in=Sweep.OVER).first()
        if sweep is not None and not _stopping.is_set():
            wait_s = (sweep.due_at - timezone.now()).total_seconds()
    finally:
        close_old_connections()
        if wait_s is None:
            with _here_changed:
                _here.discard(sweep_id)
                _here_changed.notify_all()
    if wait_s is not None:
        timer = threading.Timer(min(max(wait_s, 0.05), settings.SWEEP_LEASE_S), _go_on, (sweep_id,))
        timer.daemon = True
        timer.start()


def _go_on(sweep_id: int) -> None:
    with contextlib.suppress(RuntimeError):  # told to stop meanwhile: a keeper takes it over
        _DIRECT.submit(_run_directly, sweep_id)
