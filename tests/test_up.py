"""`manage.py up` as a user runs it: real processes in a directory of their own."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests
from django.conf import settings

from panicboard.processes import Process, environment
from panicboard.simulator.accounts import new_account
from tests.product import Product, Running
from tests.waiting import until

Start = Callable[..., Running]


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[Start]:
    """Start `manage.py up` with these options; it ends with the test."""
    with Product({"PANICBOARD_VAR": str(tmp_path)}) as product:
        yield lambda *options: product.start(Process("up", [*up_argv(), *options]))
        for up in product.running:
            up.stop()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def up_argv() -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), "up"]


def children_of(running: Running) -> dict[str, int]:
    """What runs in the process group of the guard, by program."""
    listed = subprocess.run(
        ["ps", "-e", "-ww", "-o", "pid=,pgid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 3) for line in listed.splitlines()]
    return {row[3]: int(row[0]) for row in rows if int(row[2]) == running.pid}


def is_there(pid: int) -> bool:
    """Whether a process still runs; one that is over may have to wait until its new parent has seen it."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()[:1] not in ("", "Z")


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
    until(lambda: not any(map(is_there, left.values())), "the end of every process that was left")


def test_up_starts_a_killed_web_process_again_while_browsers_wait(start_up: Start) -> None:
    up = start_up("--port", "0")
    url = up.wait_for_line("panicboard is up").rpartition(" ")[2]
    web = next(pid for program, pid in children_of(up).items() if "uvicorn" in program)

    os.kill(web, signal.SIGKILL)
    reply = requests.get(f"{url}/login/", timeout=30)

    assert reply.status_code == 200
    up.wait_for_line("web was ended by signal 9; starting it again at once")


@pytest.fixture(scope="module")
def demo_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    """The demo, greeted, and its directory."""
    var = tmp_path_factory.mktemp("demo")
    with Product({"PANICBOARD_VAR": str(var)}) as product:
        up = product.start(Process("up", [*up_argv(), "--demo", "--port", "0", "--simulator-port", "0"]))
        up.wait_for_line("Stop:")
        yield up, var
        up.stop()


def test_demo_prints_where_and_how_to_log_in(demo_up: tuple[Running, Path]) -> None:
    shown = "\n".join(demo_up[0].lines)
    url = re.findall(r"http://127\.0\.0\.1:\d+", shown)[0]
    username, password = re.findall(r"^ +(risk\.desk1) +(\S+) +risk managers$", shown, re.MULTILINE)[0]

    session = requests.Session()
    session.get(f"{url}/login/", timeout=10)
    form = {"username": username, "password": password, "csrfmiddlewaretoken": session.cookies["csrftoken"]}
    reply = session.post(f"{url}/login/", form, headers={"Origin": url}, timeout=10)

    assert (reply.status_code, reply.url) == (200, f"{url}/")


def test_demo_panic_from_another_shell_ends_clear_and_leaves_no_order(demo_up: tuple[Running, Path]) -> None:
    panic = subprocess.run(
        [sys.executable, str(settings.BASE_DIR / "manage.py"), "panic", "--all", "--wait", "--json"],
        env=environment(PANICBOARD_VAR=str(demo_up[1])),
        capture_output=True,
        text=True,
        check=False,
    )

    assert panic.returncode == 0, panic.stdout + panic.stderr
    report = json.loads(panic.stdout)
    assert {sweep["state"] for sweep in report["sweeps"]} == {"CLEAR"}
    with closing(sqlite3.connect(demo_up[1] / "panicboard.sqlite3")) as database:
        [simulator] = database.execute("SELECT DISTINCT base_url FROM panicboard_venue").fetchone()
    book = requests.get(f"{simulator}/simulator/book", params={"open": "1"}, timeout=10).json()
    assert book == {"count": 0, "orders": []}


def test_demo_keeps_simulated_keys_out_of_terminal_and_logs(demo_up: tuple[Running, Path]) -> None:
    up, var = demo_up
    logs = {path.name: path.read_text() for path in (var / "log").iterdir()}
    announced = new_account("kestrel-mm", "binance-usdm", "hmac")

    assert "worker-panic-1.log" in logs
    everything = "\n".join([*up.lines, *logs.values()])
    assert announced.secret not in everything
    assert announced.api_key not in everything
