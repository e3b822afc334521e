"""The due loop as a process."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from panicboard import call_log, database, dispatch, keeper


class Command(BaseCommand):
    help = "Queue what is due: unclaimed sweeps, waits that are over, readings. Several may run; one leads."

    def handle(self, **options: Any) -> None:
        stop = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
        database.share_connections()
        with call_log.kept():
            keeper.run(stop)
            dispatch.stop_direct()
