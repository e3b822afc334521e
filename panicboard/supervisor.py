"""Run processes together: start again what dies, stop all in good order, leave none behind.

All of them share one process group, led by a guard that waits for the end of a pipe which only this
process holds. However this process goes, `kill -9` included, the pipe ends and the guard ends the group.
(Linux alone has a signal for a parent's death; the pipe does the same on macOS.)
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import queue
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO, TypeVar

from panicboard.processes import Process

#: Seconds before each new start of a process that keeps dying; the last one repeats.
RESTART_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 5.0)
#: A process that lived this long has not "kept dying".
STEADY_S = 10.0
#: What a stop may take: first for those that do the work, then for what they need to finish it.
STOP_WORKING_S = 4.0
STOP_LAST_S = 0.8
#: Two signals closer than this are one: a group's Ctrl-C, and the same passed on by `make`.
SAME_SIGNAL_S = 0.5
#: How long the last lines of processes that were killed are waited for.
LAST_LINES_S = 1.0
LOG_BYTES = 5_000_000

GUARD = """
trap "" HUP INT TERM
read -r _
kill -TERM 0
sleep 3
kill -KILL 0
"""

T = TypeVar("T")


class Ended(Exception):
    """A process ended before it was ready. The text says how."""


class Locked(Exception):
    """Another supervisor runs on the same directory."""


def take_lock(path: Path) -> int:
    """Take the lock at `path` until this process and its guard are gone; return its descriptor.

    Raises Locked with the holder's process id. When the holder was killed, waits for its guard to
    end what it left.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode().strip()
        if not holder or _is_running(int(holder)):
            os.close(lock)
            raise Locked(holder) from None
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Guard:
    """The leader of a process group, who ends the group when the process that made it is gone.

    `held_open` are descriptors that the guard keeps until then, such as a lock.
    """

    def __init__(self, *held_open: int) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", GUARD],
            stdin=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin"},
            process_group=0,
            pass_fds=held_open,
        )
        self.group = self._shell.pid

    def kill(self) -> None:
        """End the whole group at once, the guard with it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        assert self._shell.stdin is not None  # noqa: S101  # it was started with a pipe
        self._shell.stdin.close()
        self._shell.wait()


class Output:
    """The processes' lines and the supervisor's own, on one stream.

    It is written by a thread of its own, and a line is dropped rather than waited for: a terminal held
    with Ctrl-S must not hold up a worker that wants to log. With `log_directory` each process has a log
    file there, and the stream shows warnings and worse only, without their tracebacks.
    """

    SEVERE = re.compile(r"^(?:[\d-]{10} [\d:,]{8,12} )?(WARNING|ERROR|CRITICAL)\b")

    def __init__(self, stream: TextIO, log_directory: Path | None = None) -> None:
        self._stream = stream
        self._log_directory = log_directory
        self._files: dict[str, RotatingFileHandler] = {}
        self._lines: queue.Queue[str | None] = queue.Queue(maxsize=10_000)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()
        if log_directory is not None:
            log_directory.mkdir(mode=0o700, exist_ok=True)

    @property
    def hides_lines(self) -> bool:
        return self._log_directory is not None

    def say(self, text: str, name: str = "up") -> None:
        """Show a line, after the name of who says it."""
        try:
            self._lines.put_nowait(f"{name:<19} | {text}" if name else text)
        except queue.Full:
            self._dropped += 1

    def relay(self, name: str, line: str) -> None:
        """Take a line that a process wrote."""
        if self._log_directory is None:
            self.say(line, name)
            return
        if self.SEVERE.match(line):
            self.say(line, name)
        if name not in self._files:
            path = self._log_directory / f"{name}.log"
            self._files[name] = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, delay=True)
        self._files[name].emit(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        """Write out what is waiting, as far as the stream takes it within a second."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=1)
        self._writer.join(timeout=1)
        for file in self._files.values():
            file.close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._dropped:
                line = f"({self._dropped} lines were dropped here)\n{line}"
                self._dropped = 0
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                return  # the terminal is gone, or the file closed; the processes are not


class _Kept:
    """A process that is being kept, as the supervisor knows it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.running: asyncio.subprocess.Process | None = None
        self.announced: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.first_end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.last_lines: deque[str] = deque(maxlen=12)
        self.must_get_ready = False
        self.task: asyncio.Task[None] | None = None


class Supervisor:
    """Keeps processes running, in the group of `guard`, until told to stop."""

    def __init__(self, *, guard: Guard, environment: Mapping[str, str], output: Output) -> None:
        self._guard = guard
        self._environment = environment
        self._output = output
        self._kept: dict[str, _Kept] = {}
        self._stopping = False
        self._interrupted = asyncio.Event()
        self._interrupted_at = 0.0
        self._failure: BaseException | None = None

    async def run(self, start: Callable[[], Awaitable[None]]) -> None:
        """Call `start`, which keeps processes; go on until a signal asks to stop; stop them all.

        SIGINT, SIGTERM and SIGHUP stop in good order, a second one kills. Raises what `start` raises.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                loop.add_signal_handler(number, self._interrupt)
        # Stopped by Ctrl-Z, it would read no output any more, and every worker would wait to log.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        starting: asyncio.Future[Any] = asyncio.ensure_future(start())
        interrupted: asyncio.Future[Any] = asyncio.create_task(self._interrupted.wait())
        try:
            await asyncio.wait({starting, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            await interrupted
            if self._failure is not None:
                raise self._failure
            self._output.say("stopping (once more to kill)")
        finally:
            starting.cancel()
            interrupted.cancel()
            await self._stop()

    def keep(self, process: Process) -> None:
        """Start a process, and start it again whenever it ends."""
        kept = self._kept[process.name] = _Kept(process)
        kept.task = asyncio.create_task(self._keep(kept))
        kept.task.add_done_callback(self._no_longer_kept)

    async def announcement(self, name: str) -> str:
        """Wait for the line that a process announces itself with. Raises Ended when it ends first."""
        return await self.until(name, self._kept[name].announced)

    async def until(self, name: str, ready: Awaitable[T]) -> T:
        """Wait for `ready`, or raise Ended as soon as the process `name` has ended."""
        kept = self._kept[name]
        kept.must_get_ready = True
        awaited = asyncio.ensure_future(ready)
        either: set[asyncio.Future[Any]] = {awaited, kept.first_end}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        kept.must_get_ready = False
        if awaited.done():
            return awaited.result()
        awaited.cancel()
        raise Ended(f"{name} {kept.first_end.result()} before it was ready")

    def _no_longer_kept(self, task: asyncio.Task[None]) -> None:
        """Stop everything when keeping a process has itself failed: nothing may run unkept."""
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
            self._interrupted.set()

    def _interrupt(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._interrupted.is_set():
            self._interrupted_at = now
            self._interrupted.set()
        elif now - self._interrupted_at > SAME_SIGNAL_S:
            self._guard.kill()

    async def _keep(self, kept: _Kept) -> None:
        clock = asyncio.get_running_loop().time
        deaths = 0
        while True:
            started_at = clock()
            how = await self._run_once(kept)
            if self._stopping:
                return
            if not kept.first_end.done():
                kept.first_end.set_result(how)
            deaths = 1 if clock() - started_at >= STEADY_S else deaths + 1
            if self._output.hides_lines and deaths == 1:
                for line in kept.last_lines:
                    self._output.say(line, kept.process.name)
            if kept.must_get_ready:
                return
            delay_s = RESTART_DELAYS_S[min(deaths, len(RESTART_DELAYS_S)) - 1]
            when = f"in {delay_s:g} s" if delay_s else "at once"
            self._output.say(f"{kept.process.name} {how}; starting it again {when}")
            await asyncio.sleep(delay_s)

    async def _run_once(self, kept: _Kept) -> str:
        """Run a process to its end, and tell how it ended."""
        process = kept.process
        kept.last_lines.clear()
        try:
            kept.running = await asyncio.create_subprocess_exec(
                *process.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment,
                pass_fds=process.pass_fds,
                process_group=self._guard.group,
                limit=2**20,
            )
        except OSError as exc:
            return f"could not be started ({exc})"
        try:
            await self._read(kept, kept.running)
            status = await kept.running.wait()
        finally:
            kept.running = None
        return f"ended with exit status {status}" if status >= 0 else f"was ended by signal {-status}"

    async def _read(self, kept: _Kept, running: asyncio.subprocess.Process) -> None:
        assert running.stdout is not None  # noqa: S101  # it was started with a pipe
        announcing = kept.process.announces
        while True:
            try:
                raw = await running.stdout.readline()
            except ValueError:
                raw = b"(a line of over 1 MiB was dropped)\n"
            if not raw:
                return
            line = raw.decode(errors="replace").rstrip()
            if announcing and line.startswith("{"):
                announcing = False
                if not kept.announced.done():
                    kept.announced.set_result(line)
                continue
            kept.last_lines.append(line)
            self._output.relay(kept.process.name, line)

    async def _stop(self) -> None:
        self._stopping = True
        everything = self._kept.values()
        await self._end([kept for kept in everything if not kept.process.stops_last], STOP_WORKING_S)
        await self._end([kept for kept in everything if kept.process.stops_last], STOP_LAST_S)
        self._guard.kill()
        if tasks := {kept.task for kept in everything if kept.task is not None}:
            await asyncio.wait(tasks, timeout=LAST_LINES_S)

    async def _end(self, several: list[_Kept], grace_s: float) -> None:
        for kept in several:
            if kept.running is not None:
                with contextlib.suppress(ProcessLookupError):
                    kept.running.terminate()
            elif kept.task is not None:
                kept.task.cancel()  # between two starts
        if tasks := {kept.task for kept in several if kept.task is not None}:
            await asyncio.wait(tasks, timeout=grace_s)
        for kept in several:
            if kept.running is not None:
                self._output.say(f"{kept.process.name} did not stop in {grace_s:g} s and is killed")
                with contextlib.suppress(ProcessLookupError):
                    kept.running.kill()
