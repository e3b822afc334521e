"""The session's broker, broken on purpose: `pytest_plugins = ["tests.broker_process"]`, then `broken`.

`broken` is a `Breakable`; whatever a test did to the broker, it answers again when the test ends. `breakable`
is the same for a whole session, to be mended by whoever breaks it. `direct` is for tests in which sweeps
then run in this process.
Test modules import names from here before pytest could rewrite its asserts: PYTEST_DONT_REWRITE.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from panicboard import embedded_redis
from tests.waiting import until


class Breakable:
    """The Valkey on the session's socket: freeze it, kill it, bring it back."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.revived: list[subprocess.Popen[bytes]] = []
        self._frozen = 0

    def freeze(self) -> None:
        """Stop it as it stands: connections stay open, and nothing is answered."""
        self._frozen = self.pid()
        os.kill(self._frozen, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on with whatever arrived meanwhile."""
        if self._frozen:
            os.kill(self._frozen, signal.SIGCONT)
            self._frozen = 0

    def kill(self) -> None:
        """End it at once: every connection breaks, and new ones are refused."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        for process in self.revived:
            if process.pid == pid:
                process.wait()
        until(lambda: not embedded_redis.answers(self.socket), "the end of the broker")

    def revive(self) -> None:
        """Start it again on its socket and its data, unless it answers."""
        from panicboard import processes

        if embedded_redis.answers(self.socket):
            return
        argv = processes.valkey().argv
        quiet = subprocess.DEVNULL
        self.revived.append(subprocess.Popen(argv, stdout=quiet, stderr=quiet, restore_signals=False))
        until(lambda: embedded_redis.answers(self.socket), "the broker's return")

    def mend(self) -> None:
        """Make it whole, whatever was done to it, and have this process ask it again at once."""
        from panicboard import pools

        self.thaw()
        self.revive()
        pools._redis_lost_at = -pools.RETRY_REDIS_S

    def all_done(self, queue: str) -> bool:
        """Whether the workers took and finished everything that was queued for them."""
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            return client.llen(queue) == 0 and client.hlen("unacked") == 0

    def pid(self) -> int:
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            return int(client.info("server")["process_id"])


@pytest.fixture(scope="session")
def breakable(valkey: Path) -> Iterator[Breakable]:
    breakable = Breakable(valkey)
    yield breakable
    for process in breakable.revived:
        process.terminate()
        process.wait()


@pytest.fixture
def broken(broker: Path, breakable: Breakable) -> Iterator[Breakable]:
    """The empty broker, whole at first, to be broken by the test; whole again afterwards."""
    yield breakable
    breakable.mend()


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A direct path for this test alone: `stop_direct` is for a process that ends."""
    from panicboard import dispatch, pools
    from panicboard.local_counts import LocalCounts

    monkeypatch.setattr(dispatch, "_DIRECT", ThreadPoolExecutor(64))
    monkeypatch.setattr(dispatch, "_stopping", threading.Event())
    monkeypatch.setattr(dispatch, "_here", set())
    monkeypatch.setattr(pools, "_local", LocalCounts())
    yield
    dispatch.stop_direct()
