"""From a press to a worker: through the queue, or, when it does not answer in time, directly.

The queue has 300 ms. After that the same sweeps run on threads of the process that was pressed; leases
keep a sweep that was queued after all from running twice.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone
from kombu.exceptions import OperationalError

from panicboard import tasks
from panicboard.celery import app
from panicboard.models import Sweep

logger = logging.getLogger(__name__)

QUEUE_TIMEOUT_S = 0.3
_stopping = threading.Event()
_DIRECT = ThreadPoolExecutor(max_workers=64, thread_name_prefix="direct")


def queue(task_name: str, ids: Sequence[int], *, expires_s: float | None = None) -> int:
    """Send one task an id, through one held producer. Returns how many the broker took."""
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


def sweeps(sweep_ids: Sequence[int]) -> bool:
    """Have these sweeps run. Returns whether the queue took them all; the rest run directly, here."""
    taken = queue("run_sweep", sweep_ids)
    for sweep_id in sweep_ids[taken:]:
        _DIRECT.submit(_run_directly, sweep_id)
    return taken == len(sweep_ids)


def stop_direct() -> None:
    """Let direct sweeps of this process end after their present round; a keeper takes them over."""
    _stopping.set()
    _DIRECT.shutdown(wait=True, cancel_futures=True)


def queue_answers() -> bool:
    """Whether the broker can be reached now."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=0, timeout=QUEUE_TIMEOUT_S)
    except (OperationalError, OSError):
        return False
    return True


def _run_directly(sweep_id: int) -> None:
    """Run a sweep in this process, and again when it is due, until it is over or someone else has it."""
    try:
        while not _stopping.is_set():
            tasks.run_sweep(sweep_id)
            sweep = Sweep.objects.filter(pk=sweep_id).exclude(state__in=Sweep.OVER).first()
            if sweep is None:
                return
            wait_s = (sweep.due_at - timezone.now()).total_seconds()
            _stopping.wait(min(max(wait_s, 0.05), settings.SWEEP_LEASE_S))
    finally:
        close_old_connections()
