import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured

from panicboard import embedded_redis


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Start a server in the test's own directory, and end all of them with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one() -> subprocess.Popen[bytes]:
        socket, directory = tmp_path / "valkey.sock", tmp_path / "data"
        embedded_redis.make_directories(socket, directory)
        server = subprocess.Popen(embedded_redis.command(socket, directory), stdout=subprocess.DEVNULL)
        started.append(server)
        while not embedded_redis.answers(socket):
            assert server.poll() is None
            time.sleep(0.01)
        return server

    yield start_one
    for server in started:
        server.kill()
        server.wait()


def test_server_answers_on_a_socket_that_only_its_owner_can_open(start, tmp_path: Path) -> None:
    start()

    socket = tmp_path / "valkey.sock"
    with redis.Redis(unix_socket_path=str(socket)) as client:
        assert client.config_get("port", "bind", "appendonly") == {
            "port": "0",
            "bind": "* -::*",
            "appendonly": "yes",
        }
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_server_keeps_what_was_queued_when_it_is_stopped(start, tmp_path: Path) -> None:
    server = start()
    with redis.Redis(unix_socket_path=str(tmp_path / "valkey.sock")) as client:
        client.rpush("panic", "sweep 1", "sweep 2")

    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    start()

    with redis.Redis(unix_socket_path=str(tmp_path / "valkey.sock")) as client:
        assert client.lrange("panic", 0, -1) == [b"sweep 1", b"sweep 2"]


def test_server_takes_over_the_socket_of_a_killed_one(start) -> None:
    start().kill()

    assert start().poll() is None


def test_answers_says_no_where_nothing_listens(tmp_path: Path) -> None:
    assert embedded_redis.answers(tmp_path / "valkey.sock") is False


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_make_directories_refuses_one_that_others_can_change(tmp_path: Path, mode: int) -> None:
    open_to_all = tmp_path / "shared"
    open_to_all.mkdir()
    open_to_all.chmod(mode)

    with pytest.raises(ImproperlyConfigured) as raised:
        embedded_redis.make_directories(open_to_all / "valkey.sock", tmp_path / "data")

    assert str(raised.value) == f"{open_to_all} must be a directory of this user that others cannot change"


def test_make_directories_refuses_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "link")

    with pytest.raises(ImproperlyConfigured):
        embedded_redis.make_directories(tmp_path / "link" / "valkey.sock", tmp_path / "data")
