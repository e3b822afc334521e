"""The whole product on one machine."""

import asyncio
import hashlib
import ipaddress
import json
import os
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from panicboard import demo, embedded_redis, processes
from panicboard.supervisor import Ended, Guard, Locked, Output, Supervisor, take_lock

VALKEY_START_S = 20.0
WEB_START_S = 30.0

T = TypeVar("T")


class Command(BaseCommand):
    help = (
        "Run panicboard: the board, its workers and its keeper, with an embedded Valkey unless REDIS_URL is "
        "set. What dies is started again; Ctrl-C stops everything."
    )
    requires_system_checks: list[str] = []  # the web process runs them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port of the board (8000; 0: a free one)")
        parser.add_argument("--demo", action="store_true", help="with simulated venues, accounts and logins")
        parser.add_argument(
            "--simulator-port", type=int, default=8900, help="with --demo: its port (8900; 0: a free one)"
        )
        parser.add_argument("--workers-panic", type=int, default=2, metavar="N", help="panic workers (2)")
        parser.add_argument("--workers-heartbeat", type=int, default=1, metavar="N", help="(1)")
        parser.add_argument("--workers-background", type=int, default=1, metavar="N", help="(1)")

    def handle(self, **options: Any) -> None:
        try:
            lock = take_lock(settings.VAR_DIR / "up.lock")
        except Locked as exc:
            raise CommandError(
                f"panicboard runs already on {settings.VAR_DIR} (process {exc}): stop it first, or set "
                "PANICBOARD_VAR to another directory",
                returncode=2,
            ) from None
        listener = _listen(options["host"], options["port"], "--port (make run PORT=...)")
        simulator_port = _free_port(options["simulator_port"]) if options["demo"] else 0
        call_command("migrate", verbosity=0, interactive=False)
        try:
            if options["demo"]:
                demo.refuse_real_accounts()
            guard = Guard(lock)
            try:
                asyncio.run(Up(options, listener, simulator_port, guard).run())
            finally:
                guard.kill()
        except (demo.NotADemo, Ended) as exc:
            raise CommandError(str(exc)) from None


class Up:
    """One run of the product, from start to stop."""

    def __init__(
        self, options: dict[str, Any], listener: socket.socket, simulator_port: int, guard: Guard
    ) -> None:
        self.options = options
        self.listener = listener
        self.simulator_port = simulator_port
        self.url = os.environ.get("PANICBOARD_URL", "").rstrip("/") or _url(options["host"], listener)
        logs = settings.VAR_DIR / "log" if options["demo"] else None
        self.output = Output(sys.stdout, logs)
        environment = processes.environment(PANICBOARD_URL=self.url)
        self.supervisor = Supervisor(guard=guard, environment=environment, output=self.output)

    async def run(self) -> None:
        try:
            await self.supervisor.run(self._start)
            self.output.say("stopped")
        finally:
            self.listener.close()
            self.output.close()

    async def _start(self) -> None:
        keep = self.supervisor.keep
        if self.options["demo"]:
            keep(processes.simulator(self.simulator_port))
        if settings.EMBEDDED_REDIS:
            keep(processes.valkey())
        await asyncio.to_thread(collect_static)
        if self.options["demo"]:
            announced = json.loads(await self.supervisor.announcement("simulator"))
            await asyncio.to_thread(demo.make, announced)
        if settings.EMBEDDED_REDIS:
            await self._ready("valkey", _valkey_answers(), VALKEY_START_S)
        keep(processes.web(self.listener.fileno()))
        keep(processes.keeper())
        for queue, threads in (("panic", 100), ("heartbeat", 32), ("background", 32)):
            for number in range(1, self.options[f"workers_{queue}"] + 1):
                keep(processes.worker(queue, number, threads))
        status = await self._ready("web", _web_answers(self.listener, self.url), WEB_START_S)
        if not 200 <= status < 400:
            self.output.say(
                f"WARNING: {self.url} answers {status or 'nothing'}; the workers run all the same"
            )
        await self._greet()

    async def _ready(self, name: str, answers: Coroutine[Any, Any, T], timeout_s: float) -> T:
        try:
            return await asyncio.wait_for(self.supervisor.until(name, answers), timeout_s)
        except TimeoutError:
            raise Ended(f"{name} did not answer within {timeout_s:g} s") from None

    async def _greet(self) -> None:
        host = self.options["host"]
        if "PANICBOARD_URL" not in os.environ and not _is_loopback(host):
            self.output.say(
                f"listening on {host}: set PANICBOARD_URL to the address people open, or they are refused"
            )
        if not self.options["demo"]:
            self.output.say(f"panicboard is up: {self.url}")
            known = await asyncio.to_thread(demo.known_logins)
            if known:
                self.output.say(
                    f"WARNING: anybody knows the passwords of the demo's logins: {', '.join(known)}"
                )
            return
        logins = "\n".join(
            f"    {name:<12} {demo.PASSWORD:<12} {group or 'administrator'}"
            for name, group in demo.LOGINS.items()
        )
        self.output.say(
            f"\npanicboard is up, with simulated venues: {self.url}\n\n"
            f"{logins}\n\n"
            f"  The button from a shell:  .venv/bin/python manage.py panic --all --wait\n"
            f"  Logs:                     {settings.VAR_DIR / 'log'}\n"
            f"  Stop:                     Ctrl-C\n",
            name="",
        )


def collect_static() -> None:
    """Put the static files where the web process serves them from, unless they are there already."""
    files = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            found = os.stat(storage.path(path))
            files.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    stamp = settings.STATIC_ROOT / ".collected"
    if stamp.exists() and stamp.read_text() == files.hexdigest():
        return
    call_command("collectstatic", verbosity=0, interactive=False, clear=True)
    stamp.write_text(files.hexdigest())


def _listen(host: str, port: int, option: str) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as exc:
        why = str(exc.strerror).partition(" (")[0]  # what follows names the address again
        raise CommandError(
            f"cannot listen on port {port} of {host} ({why}): choose another with {option}",
            returncode=2,
        ) from None
    # Its connections inherit this; uvicorn sets it only on sockets that it opened itself.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _free_port(port: int) -> int:
    """Return `port`, or a free one for 0. Raises CommandError when it is taken."""
    with _listen("127.0.0.1", port, "--simulator-port (make run SIMULATOR_PORT=...)") as listener:
        return int(listener.getsockname()[1])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url(host: str, listener: socket.socket) -> str:
    """Return where a browser on this machine finds the board."""
    name = host if _is_loopback(host) else "127.0.0.1"
    return f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}"


async def _valkey_answers() -> None:
    while not embedded_redis.answers(settings.EMBEDDED_SOCKET):  # nothing tells when it does
        await asyncio.sleep(0.02)


async def _web_answers(listener: socket.socket, url: str) -> int:
    """Return the status of the first answer: the socket is open, so a request waits for the process."""
    host, port = listener.getsockname()[:2]
    loopback = "::1" if listener.family == socket.AF_INET6 else "127.0.0.1"
    reader, writer = await asyncio.open_connection(loopback if host in ("0.0.0.0", "::") else host, port)  # noqa: S104
    writer.write(f"GET / HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nConnection: close\r\n\r\n".encode())
    status_line = await reader.readline()
    writer.close()
    return int((status_line.split() or [b"", b"0"])[1])
