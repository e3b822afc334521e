"""What a chaos run stands on: the simulator, the embedded Valkey and the product, each as real processes.

Every one is in the product's guarded group: none outlives this process, however it ends.
"""

import json
import signal
import socket
import sys
import time
from pathlib import Path
from types import TracebackType

from django.conf import settings

from panicboard import embedded_redis, processes
from panicboard.processes import Process
from tests import database
from tests.product import Product, Running
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

#: What a process says when it is up; the others are as soon as they run.
_UP = {"web": "Application startup complete", "worker": " ready."}


class Stage:
    """The processes of a run, by name."""

    def __init__(self) -> None:
        self._product = Product({"LOG_LEVEL": "INFO"})
        listener = socket.create_server(("127.0.0.1", 0))
        self._listener = listener  # outlives the web process: while that is away, presses wait
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        workers = [("panic", 1, 100), ("panic", 2, 100), ("heartbeat", 1, 32), ("background", 1, 32)]
        self._how = {
            process.name: process
            for process in (
                processes.valkey(),
                processes.web(listener.fileno()),
                *(processes.worker(queue, number, threads) for queue, number, threads in workers),
                processes.keeper(),
            )
        }
        self._running: dict[str, Running] = {}
        self._down: set[str] = set()

    def __enter__(self) -> "Stage":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._product.close()
        self._listener.close()

    def start(self) -> SimulatorProcess:
        """Start everything. Returns the simulator, whose limits are off."""
        argv = [sys.executable, "-m", "panicboard.simulator", "--port", "0", "--limits", "off"]
        simulator = self._product.start(Process("simulator", argv))
        announced = json.loads(simulator.wait_for_line('"url"'))
        for name, process in self._how.items():
            self._running[name] = self._product.start(process)
            if name == "valkey":
                self._wait_until_up(name)
        for name in self._how:
            self._wait_until_up(name)
        return SimulatorProcess.at(announced["url"])

    def is_up(self, name: str) -> bool:
        return name not in self._down

    def kill(self, name: str) -> int:
        """End a process at once. Returns the id it had."""
        self._down.add(name)
        running = self._running[name]
        running.kill()
        return running.pid

    def revive(self, name: str) -> None:
        """Start a process that was killed, and wait until it is up."""
        self._running[name] = self._product.start(self._how[name])
        self._wait_until_up(name)
        self._down.discard(name)

    def freeze(self, name: str) -> None:
        """Stop a process as it stands: its connections stay open, and nothing is answered."""
        self._running[name].signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._running[name].signal(signal.SIGCONT)

    def ended_by_themselves(self) -> list[str]:
        """The processes that ended although nobody killed them; they count as down from now on."""
        ended = [name for name, one in self._running.items() if self.is_up(name) and not one.is_running]
        self._down.update(ended)
        return ended

    def wait_until_all_up(self, timeout_s: float) -> None:
        until(lambda: not self._down, "the return of every process", timeout_s)

    def write_logs(self, directory: Path) -> None:
        """Write down what every process has said."""
        directory.mkdir(exist_ok=True)
        for number, running in enumerate(self._product.running):
            (directory / f"{number:03d}-{running.name}.log").write_text("\n".join(running.lines) + "\n")

    def _wait_until_up(self, name: str) -> None:
        if name == "valkey":
            until(lambda: embedded_redis.answers(settings.EMBEDDED_SOCKET), "an answer of valkey")
        elif line := _UP.get(name.partition("-")[0]):
            self._running[name].wait_for_line(line)


def hold_database(for_s: float) -> None:
    """Keep everybody else from writing for so long, as another program's transaction would."""
    with database.held():
        time.sleep(for_s)
