"""The Celery app and its queues: panics never queue behind a heartbeat or a read."""

import os
import sys

from celery import Celery
from celery.signals import setup_logging, task_received, worker_init
from celery.worker import WorkController
from kombu.transport import redis as redis_transport

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panicboard.settings")


class _QoS(redis_transport.QoS):
    """Leaves alone what was received over a connection that is gone.

    To acknowledge it there, or to give it back, is an error that ends the worker and every sweep in it. What
    stays unacknowledged comes again after the visibility timeout, and finds its sweep over or held.
    """

    restore_at_shutdown = False

    def ack(self, delivery_tag: str) -> None:
        if not self.channel.closed:
            super().ack(delivery_tag)


redis_transport.Channel.QoS = _QoS

app = Celery("panicboard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["panicboard"])


@setup_logging.connect
def _keep_django_logging(**kwargs: object) -> None:
    """Being connected is enough: Celery then leaves logging as Django's settings made it."""


@worker_init.connect
def _settle_in(sender: WorkController, **kwargs: object) -> None:
    """Keep database connections between tasks (a panic must not wait for new ones), and show we live."""
    from django.db import connections

    from panicboard import call_log, leases, rush, sweeps  # need the app registry, ready by now

    for alias in connections:
        connections.settings[alias]["CONN_MAX_AGE"] = 600
        connections.settings[alias]["CONN_HEALTH_CHECKS"] = True
    sweeps.take_along(4 * sender.concurrency)
    rush.works_on(5 * sender.concurrency)
    task_received.connect(rush.leave_alone)
    # The thread that receives tasks waits for its turn at every read and write of its own. With a hundred
    # busy threads and the default of 5 ms a turn, a panic's tasks would trickle in over seconds.
    sys.setswitchinterval(0.002)
    # worker-panic-1@host is a worker of the kind worker-panic
    leases.start_beating(sender.hostname.partition("@")[0].rstrip("-0123456789"))
    call_log.keep()
