import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from panicboard.processes import Process, environment
from panicboard.supervisor import Ended, Guard, Locked, Output, Supervisor, take_lock

#: Takes its turn from a file: dies twice, then says how often it died, and stays.
DIES_TWICE = """
import pathlib, signal, sys
turns = pathlib.Path(sys.argv[1])
deaths = len(turns.read_text()) if turns.exists() else 0
if deaths < 2:
    turns.write_text("x" * (deaths + 1))
    sys.exit(7)
print(f"steady after {deaths}", flush=True)
signal.pause()
"""

IGNORES_TERM = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    signal.pause()
"""

#: Supervises two processes, one of which starts a third, all holding the pipe given as first argument.
SUPERVISES = """
import asyncio, os, signal, sys
from panicboard.processes import Process, environment
from panicboard.supervisor import Guard, Output, Supervisor

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have it ignored (nohup)
pipe = int(sys.argv[1])
guard = Guard()
supervisor = Supervisor(guard=guard, environment=environment(), output=Output(sys.stdout))

async def start():
    supervisor.keep(Process("sleeper", ["sleep", "600"], pass_fds=(pipe,)))
    family = ["sh", "-c", sys.argv[2]]
    supervisor.keep(Process("family", family, pass_fds=(pipe,)))

asyncio.run(supervisor.run(start))
"""


class Heard(Output):
    """Sets an event at each line asked for."""

    def __init__(self, log_directory: Path | None = None) -> None:
        self.stream = io.StringIO()
        super().__init__(self.stream, log_directory)
        self._awaited: dict[str, asyncio.Event] = {}

    async def line(self, line: str) -> None:
        await self._awaited.setdefault(line, asyncio.Event()).wait()

    def relay(self, name: str, line: str) -> None:
        super().relay(name, line)
        self._awaited.setdefault(line, asyncio.Event()).set()

    def shown(self) -> list[str]:
        self.close()
        return [line.partition(" | ")[2] for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = Guard()
    yield made
    made.kill()


def supervise(guard: Guard, output: Output, start: Callable[[Supervisor], Awaitable[None]]) -> None:
    supervisor = Supervisor(guard=guard, environment=environment(), output=output)
    asyncio.run(supervisor.run(lambda: start(supervisor)))


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_supervisor_starts_again_what_dies_at_once_and_then_more_slowly(guard: Guard, tmp_path: Path) -> None:
    output = Heard()
    process = Process("fickle", [sys.executable, "-c", DIES_TWICE, str(tmp_path / "turns")])

    async def start(supervisor: Supervisor) -> None:
        supervisor.keep(process)
        await output.line("steady after 2")
        interrupt()

    supervise(guard, output, start)

    assert output.shown() == [
        "fickle ended with exit status 7; starting it again at once",
        "fickle ended with exit status 7; starting it again in 0.5 s",
        "steady after 2",
        "stopping (once more to kill)",
    ]


def test_supervisor_says_which_program_cannot_be_started(guard: Guard) -> None:
    output = Heard()

    async def start(supervisor: Supervisor) -> None:
        supervisor.keep(Process("nothing", ["/does/not/exist"]))
        await supervisor.announcement("nothing")

    with pytest.raises(Ended) as raised:
        supervise(guard, output, start)

    missing = "[Errno 2] No such file or directory: '/does/not/exist'"
    assert str(raised.value) == f"nothing could not be started ({missing}) before it was ready"


def test_supervisor_stops_last_what_the_others_need(guard: Guard) -> None:
    output = Heard()
    says_its_end = "trap 'echo {0} ends; exit 0' TERM; echo {0}; while :; do sleep 0.01; done"

    async def start(supervisor: Supervisor) -> None:
        for name in ("needed", "worker"):
            script = says_its_end.format(name)
            supervisor.keep(Process(name, ["sh", "-c", script], stops_last=name == "needed"))
            await output.line(name)
        interrupt()

    supervise(guard, output, start)

    assert output.shown() == [
        "needed",
        "worker",
        "stopping (once more to kill)",
        "worker ends",
        "needed ends",
    ]


def test_supervisor_kills_what_does_not_stop_in_time(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panicboard.supervisor.STOP_WORKING_S", 0.1)
    output = Heard()

    async def start(supervisor: Supervisor) -> None:
        supervisor.keep(Process("deaf", [sys.executable, "-c", IGNORES_TERM]))
        await output.line("deaf")
        interrupt()

    supervise(guard, output, start)

    assert output.shown() == [
        "deaf",
        "stopping (once more to kill)",
        "deaf did not stop in 0.1 s and is killed",
    ]


def test_supervisor_hands_over_the_announcement_and_does_not_show_it(guard: Guard) -> None:
    output = Heard()
    announced = []

    async def start(supervisor: Supervisor) -> None:
        script = """echo 'a warning'; echo '{"secret": 1}'; echo after; exec sleep 600"""
        supervisor.keep(Process("simulator", ["sh", "-c", script], announces=True))
        announced.append(await supervisor.announcement("simulator"))
        await output.line("after")
        interrupt()

    supervise(guard, output, start)

    assert announced == ['{"secret": 1}']
    assert output.shown() == ["a warning", "after", "stopping (once more to kill)"]


def test_supervisor_gives_up_a_start_whose_process_ends_first(guard: Guard) -> None:
    async def start(supervisor: Supervisor) -> None:
        supervisor.keep(Process("simulator", ["sh", "-c", "exit 3"], announces=True))
        await supervisor.announcement("simulator")

    with pytest.raises(Ended) as raised:
        supervise(guard, Heard(), start)

    assert str(raised.value) == "simulator ended with exit status 3 before it was ready"


FAMILY = "sleep 600 >/dev/null 2>&1 & echo family; wait"


@pytest.mark.parametrize(
    ("number", "family"),
    [
        (signal.SIGTERM, FAMILY),
        (signal.SIGINT, FAMILY),
        (signal.SIGHUP, FAMILY),
        (signal.SIGKILL, FAMILY),
        (signal.SIGKILL, f"trap '' TERM; {FAMILY}"),
    ],
)
def test_supervisor_leaves_no_process_behind_however_it_ends(number: signal.Signals, family: str) -> None:
    reading, writing = os.pipe()
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISES, str(writing), family],
        stdout=subprocess.PIPE,
        env=environment(),
        pass_fds=(writing,),
        text=True,
        start_new_session=True,
    )
    os.close(writing)
    assert supervisor.stdout is not None
    supervisor.stdout.readline()

    supervisor.send_signal(number)

    # Every process holds the pipe's other end: its end of file is the end of the last of them.
    assert os.read(reading, 1) == b""
    supervisor.stdout.close()
    supervisor.wait()
    os.close(reading)


def test_guard_ends_its_group_when_killed_on_purpose() -> None:
    guard = Guard()
    sleeper = subprocess.Popen(["sleep", "600"], process_group=guard.group)

    guard.kill()

    assert sleeper.wait() == -signal.SIGKILL


def test_lock_names_the_process_that_holds_it(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "lock")

    with pytest.raises(Locked) as raised:
        take_lock(tmp_path / "lock")

    assert str(raised.value) == str(os.getpid())
    os.close(lock)


def test_lock_waits_for_what_a_killed_holder_left(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "lock").write_text(str(gone.pid))
    script = 'exec 9<>"$0"; flock 9; echo held; read -r _'
    left = subprocess.Popen(
        ["sh", "-c", script, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert left.stdout is not None
    assert left.stdout.readline() == "held\n"
    taken: list[int] = []
    taking = threading.Thread(target=lambda: taken.append(take_lock(tmp_path / "lock")))
    taking.start()
    assert taken == []

    left.communicate("")
    taking.join()

    assert (tmp_path / "lock").read_text() == str(os.getpid())
    os.close(taken[0])


def test_output_with_logs_shows_only_warnings_and_worse(tmp_path: Path) -> None:
    stream = io.StringIO()
    output = Output(stream, tmp_path / "log")
    lines = [
        "Booting",
        "2026-11-20 14:03:22,120 INFO panicboard.sweeps swept",
        "2026-11-20 14:03:22,125 ERROR panicboard.tasks failed",
        "Traceback (most recent call last):",
        "INFO:     Shutting down",
        "WARNING:  Slow",
    ]

    for line in lines:
        output.relay("worker-panic-1", line)
    output.close()

    assert stream.getvalue() == (
        "worker-panic-1      | 2026-11-20 14:03:22,125 ERROR panicboard.tasks failed\n"
        "worker-panic-1      | WARNING:  Slow\n"
    )
    assert (tmp_path / "log" / "worker-panic-1.log").read_text().splitlines() == lines


def test_output_drops_lines_rather_than_wait_for_a_held_terminal() -> None:
    holding, released = threading.Event(), threading.Event()

    class Held(io.StringIO):
        def write(self, text: str) -> int:
            holding.set()
            released.wait()
            return super().write(text)

    stream = Held()
    output = Output(stream)
    output.say("0")
    holding.wait(30)

    for number in range(1, 10_010):
        output.say(str(number))
    released.set()
    output.close()

    shown = stream.getvalue().splitlines()
    assert shown[0] == "up                  | 0"
    assert any(line.endswith("lines were dropped here)") for line in shown)


def test_output_caps_a_log_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panicboard.supervisor.LOG_BYTES", 20)
    output = Output(io.StringIO(), tmp_path)

    for number in range(9):
        output.relay("web", f"line {number}")
    output.close()

    kept = {path.name: path.read_text().split("\n") for path in tmp_path.iterdir()}
    assert kept == {"web.log": ["line 8", ""], "web.log.1": ["line 6", "line 7", ""]}
