"""Real processes of the product, for tests and benchmarks: started, listened to, killed, stopped."""

import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from types import TracebackType

from panicboard.processes import Process, environment
from panicboard.supervisor import Guard

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


class Running:
    """One process and what it has written so far (both streams, line by line)."""

    def __init__(self, process: Process, popen: subprocess.Popen[str]) -> None:
        self.name = process.name
        self.pid = popen.pid
        self.lines: list[str] = []
        self._popen = popen
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for_line(self, text: str, timeout_s: float = START_TIMEOUT_S) -> str:
        """Return the first line that contains `text`; raise AssertionError when none comes."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for line in self.lines:
                    if text in line:
                        return line
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not self._reader.is_alive():
                    raise AssertionError(f"{self.name} did not say {text!r}:\n" + "\n".join(self.lines))
                self._changed.wait(min(left_s, 0.5))

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        self._popen.kill()
        self.wait()

    def stop(self) -> None:
        """End it in good order, or at once when that takes too long."""
        if not self.is_running:
            return
        self._popen.terminate()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill()

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for its end and return its exit status."""
        status = self._popen.wait(timeout_s)
        self._reader.join(timeout_s)
        return status

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


class Product:
    """The processes of one test. They end with it, and with this process however it goes."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.environment = environment(**env)
        self._guard = Guard()
        self.running: list[Running] = []

    def start(self, process: Process) -> Running:
        """Start one process; see `panicboard.processes` for what there is."""
        popen = subprocess.Popen(
            process.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            pass_fds=process.pass_fds,
            process_group=self._guard.group,
            text=True,
            errors="replace",
        )
        running = Running(process, popen)
        self.running.append(running)
        return running

    def start_worker(self, process: Process) -> Running:
        """Start a Celery worker and wait until it takes tasks."""
        running = self.start(process)
        running.wait_for_line(" ready.")
        return running

    def close(self) -> None:
        """End everything at once: what a test's processes know is of no use to the next test."""
        self._guard.kill()
        for running in self.running:
            running.wait()

    def __enter__(self) -> "Product":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
