"""The Celery app and its queues: panics never queue behind a heartbeat or a read."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from celery import Celery
from celery.signals import setup_logging, task_received, worker_init
from celery.worker import WorkController
from kombu.transport import redis as redis_transport

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panicboard.settings")

app = Celery("panicboard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["panicboard"])

logger = logging.getLogger(__name__)


class _QoS(redis_transport.QoS):
    """What a worker has received and not acknowledged, over a connection whose broker may have died.

    Giving these tasks back when the connection closes, and acknowledging one over a channel that is closed
    by then, ended in errors that Celery does not expect: the worker ended, and with it every sweep it was
    working on. What is neither given back nor acknowledged comes once more, which does no harm.
    """

    def restore_unacked_once(self, *args: Any, **kwargs: Any) -> None:
        with _no_matter("unacknowledged tasks could not be given back"):
            super().restore_unacked_once(*args, **kwargs)

    def ack(self, delivery_tag: str) -> None:
        with _no_matter("a task could not be acknowledged"):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        with _no_matter("a task could not be rejected"):
            super().reject(delivery_tag, requeue=requeue)


@contextlib.contextmanager
def _no_matter(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        logger.warning("broker: %s (%s)", what, type(exc).__name__)


redis_transport.Channel.QoS = _QoS


@setup_logging.connect
def _keep_django_logging(**kwargs: object) -> None:
    """Being connected is enough: Celery then leaves logging as Django's settings made it."""


@worker_init.connect
def _settle_in(sender: WorkController, **kwargs: object) -> None:
    """Keep database connections between tasks (a panic must not wait for new ones), and show we live."""
    # These need the app registry, ready by now.
    from panicboard import call_log, database, heartbeat_results, leases, rush, sweeps

    database.keep_connections()
    sweeps.take_along(4 * sender.concurrency)
    rush.works_on(5 * sender.concurrency)
    task_received.connect(rush.leave_alone)
    # The thread that receives tasks waits for its turn at every read and write of its own. With a hundred
    # busy threads and the default of 5 ms a turn, a panic's tasks would trickle in over seconds.
    sys.setswitchinterval(0.002)
    # worker-panic-1@host is a worker of the kind worker-panic
    kind = sender.hostname.partition("@")[0].rstrip("-0123456789")
    leases.start_beating(kind)
    call_log.keep()
    if kind == "worker-heartbeat":
        heartbeat_results.keep()
