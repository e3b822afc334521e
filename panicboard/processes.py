"""The product's processes: what each is called, and how it is started."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.conf import settings

from panicboard import embedded_redis

MANAGE: Final = [sys.executable, str(settings.BASE_DIR / "manage.py")]


@dataclass(frozen=True, slots=True)
class Process:
    """One process to run and keep running."""

    name: str
    argv: Sequence[str]
    #: Its first line of JSON is for the program that started it, and is not shown.
    announces: bool = False
    #: Others need it to end in good order: stopped after them.
    stops_last: bool = False
    pass_fds: tuple[int, ...] = ()


def environment(**extra: str) -> Mapping[str, str]:
    """Return the environment of every process: this one's, and where the project and its files are."""
    path = os.pathsep.join(filter(None, [str(settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]))
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "panicboard.settings",
        "PANICBOARD_VAR": str(settings.VAR_DIR),
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


def web(listener_fd: int) -> Process:
    """Pages, presses, the stream, on a socket that is already listening.

    The socket outlives the process: while the web process restarts, browsers wait instead of being refused.
    """
    argv = [sys.executable, "-m", "uvicorn", "panicboard.asgi:application", "--fd", str(listener_fd)]
    argv += ["--workers", "1", "--loop", "auto", "--http", "auto", "--ws", "none", "--no-access-log"]
    argv += ["--no-server-header", "--timeout-graceful-shutdown", "2"]  # open streams would hold it for ever
    return Process("web", argv, pass_fds=(listener_fd,))


def worker(queue: str, number: int, threads: int) -> Process:
    """Return the `number`-th Celery worker of one queue.

    It starts without Django's checks, as the keeper does: a mistake in a page must not stop the sweeps.
    """
    name = f"worker-{queue}-{number}"
    argv = [sys.executable, "-m", "celery", "-A", "panicboard.celery", "--skip-checks", "worker", "-Q", queue]
    argv += ["-P", "threads", "-c", str(threads), "-n", f"{name}@%h"]
    argv += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return Process(name, argv)


def keeper() -> Process:
    """Queue what is due."""
    return Process("keeper", [*MANAGE, "keeper", "--skip-checks"])


def simulator(port: int) -> Process:
    """Run the demo's venues; the first line of output is its address and its accounts, as JSON."""
    argv = [sys.executable, "-m", "panicboard.simulator", "--port", str(port), "--demo"]
    return Process("simulator", argv, announces=True, stops_last=True)


def valkey() -> Process:
    """Run the embedded Valkey, on the socket that the settings name."""
    directory = settings.VAR_DIR / "valkey"
    embedded_redis.make_directories(settings.EMBEDDED_SOCKET, directory)
    return Process("valkey", embedded_redis.command(settings.EMBEDDED_SOCKET, directory), stops_last=True)
