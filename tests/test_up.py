"""`manage.py up` as a user runs it: real processes in a directory of their own."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from django.conf import settings

from panicboard.processes import Process, environment
from tests.product import Product, Running

Start = Callable[..., Running]


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[Start]:
    """Start `manage.py up` with these options; it ends with the test."""
    with Product({"PANICBOARD_VAR": str(tmp_path)}) as product:
        yield lambda *options: product.start(Process("up", [*up_argv(), *options]))


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def up_argv() -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), "up"]


def children_of(running: Running) -> dict[str, int]:
    """What runs in the process group of the guard, by program (Linux)."""
    listed = subprocess.run(
        ["ps", "-e", "-ww", "-o", "pid=,pgid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 3) for line in listed.splitlines()]
    return {row[3]: int(row[0]) for row in rows if int(row[2]) == running.pid}


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_up_names_the_taken_port_and_its_option(start_up: Start, taken_port: int) -> None:
    up = start_up("--port", str(taken_port))

    assert up.wait() == 2
    assert up.lines == [
        f"CommandError: cannot listen on port {taken_port} of 127.0.0.1 (Address already in use): "
        "choose another with --port (make run PORT=...)"
    ]


def test_up_names_the_taken_port_of_the_simulator_and_its_option(start_up: Start, taken_port: int) -> None:
    up = start_up("--port", "0", "--demo", "--simulator-port", str(taken_port))

    assert up.wait() == 2
    assert up.lines == [
        f"CommandError: cannot listen on port {taken_port} of 127.0.0.1 (Address already in use): "
        "choose another with --simulator-port (make run SIMULATOR_PORT=...)"
    ]


def test_up_runs_once_in_a_directory(start_up: Start, tmp_path: Path) -> None:
    first = start_up("--port", "0")
    first.wait_for_line("panicboard is up")

    second = start_up("--port", "0")

    assert second.wait() == 2
    assert second.lines == [
        f"CommandError: panicboard runs already on {tmp_path} (process {first.pid}): stop it first, or set "
        "PANICBOARD_VAR to another directory"
    ]


def test_up_serves_the_board_until_it_is_stopped(start_up: Start) -> None:
    up = start_up("--port", "0")
    url = up.wait_for_line("panicboard is up").rpartition(" ")[2]

    reply = requests.get(url, timeout=10)
    programs = children_of(up)
    up.signal(signal.SIGINT)

    assert (reply.status_code, reply.url) == (200, f"{url}/login/?next=/")
    assert up.wait() == 0
    assert up.lines[-1] == "up                  | stopped"
    assert len(programs) == 8  # the guard, valkey, web, keeper, four workers
    assert [pid for pid in programs.values() if is_there(pid)] == []


def test_up_killed_leaves_nothing_and_starts_again_at_once(start_up: Start) -> None:
    killed = start_up("--port", "0")
    killed.wait_for_line("panicboard is up")
    left = children_of(killed)

    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    again = start_up("--port", "0")
    again.wait_for_line("panicboard is up")

    assert len(left) == 8
    assert [pid for pid in left.values() if is_there(pid)] == []


def test_up_starts_a_killed_web_process_again_while_browsers_wait(start_up: Start) -> None:
    up = start_up("--port", "0")
    url = up.wait_for_line("panicboard is up").rpartition(" ")[2]
    web = next(pid for program, pid in children_of(up).items() if "uvicorn" in program)

    os.kill(web, signal.SIGKILL)
    reply = requests.get(f"{url}/login/", timeout=30)

    assert reply.status_code == 200
    up.wait_for_line("web was ended by signal 9; starting it again at once")


def test_up_demo_prints_where_and_how_to_log_in(start_up: Start, tmp_path: Path) -> None:
    up = start_up("--demo", "--port", "0", "--simulator-port", "0")
    up.wait_for_line("Stop:")
    shown = "\n".join(up.lines)
    url = re.findall(r"http://127\.0\.0\.1:\d+", shown)[0]

    session = requests.Session()
    session.get(f"{url}/login/", timeout=10)
    login = {"username": "risk.desk1", "password": "panic-demo"}
    reply = session.post(
        f"{url}/login/",
        {**login, "csrfmiddlewaretoken": session.cookies["csrftoken"]},
        headers={"Origin": url},
        timeout=10,
    )

    assert (reply.status_code, reply.url) == (200, f"{url}/")
    logs = {path.name for path in (tmp_path / "log").iterdir()}
    assert "secret" not in shown.lower()
    assert {"worker-panic-1.log", "worker-background-1.log"} <= logs


def test_demo_panic_from_another_shell_ends_clear(start_up: Start, tmp_path: Path) -> None:
    start_up("--demo", "--port", "0", "--simulator-port", "0").wait_for_line("Stop:")

    panic = subprocess.run(
        [sys.executable, str(settings.BASE_DIR / "manage.py"), "panic", "--all", "--wait", "--json"],
        env=environment(PANICBOARD_VAR=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )

    assert panic.returncode == 0, panic.stdout + panic.stderr
