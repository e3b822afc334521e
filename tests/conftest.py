"""What every test starts from: files, keys, database and broker of its own, and no real network.

The settings are read when this file has been: pyproject.toml names no settings module, so that they
find the directory below and never the developer's `var/`.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.product import Product

VAR = Path(tempfile.mkdtemp(prefix="panicboard-test-"))
for name in ("REDIS_URL", "BROKER_URL", "DATABASE_URL", "PANICBOARD_URL", "SECRET_KEY", "CREDENTIALS_KEYS"):
    os.environ.pop(name, None)
if "TEST_DATABASE_URL" in os.environ:  # see tests/database.py
    os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]
(VAR / "static").mkdir()
os.environ["PANICBOARD_VAR"] = str(VAR)
os.environ["DJANGO_SETTINGS_MODULE"] = "panicboard.settings"


def pytest_configure(config: pytest.Config) -> None:
    from django.conf import settings
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    # Real hashes, which a web process can check, but quick ones.
    PBKDF2PasswordHasher.iterations = 1
    if VAR.resolve() != settings.VAR_DIR:
        pytest.exit(f"the settings were read too early: tests would use {settings.VAR_DIR}", returncode=4)
    os.environ.pop("DATABASE_URL", None)  # processes are told by whoever starts them


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Where other processes run the tests they come here themselves, and make files of their own."""
    if getattr(session.config.option, "numprocesses", None):
        for name in ("PANICBOARD_VAR", "DJANGO_SETTINGS_MODULE"):
            os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run browser tests last: Playwright keeps an event loop running, beside which no other can run."""
    items.sort(key=lambda item: "browser" in item.path.parts)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(VAR, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _flushed_in_spite_of_readers() -> "Iterator[None]":
    from tests import database

    with database.flushed_in_spite_of_readers():
        yield


@pytest.fixture(autouse=True)
def no_real_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that would leave this machine."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address[0]}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Path]:
    """The embedded Valkey on the settings' socket, for the whole session. Gives its socket."""
    from django.conf import settings

    from panicboard import embedded_redis, processes
    from panicboard.supervisor import Guard

    guard = Guard()
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(
        processes.valkey().argv,
        stdout=quiet,
        stderr=quiet,
        process_group=guard.group,
        restore_signals=False,  # a test may forbid it to write: that must fail, and not end it by SIGXFSZ
    )
    while not embedded_redis.answers(settings.EMBEDDED_SOCKET):
        assert server.poll() is None, "the embedded Valkey ended at its start"
        time.sleep(0.01)
    yield settings.EMBEDDED_SOCKET
    guard.kill()
    server.wait()


@pytest.fixture
def broker(valkey: Path) -> Path:
    """The broker, empty; and this process was told of no refusal."""
    import redis

    from panicboard import pools

    pools._local._refusals.clear()
    with redis.Redis(unix_socket_path=str(valkey)) as client:
        client.flushall()
    return valkey


@pytest.fixture
def read_only(transactional_db: None) -> Iterator[Callable[[], None]]:
    """Call it, and the database of this thread takes nothing any more, until the test ends."""
    from tests import database

    with ExitStack() as until_the_end:
        yield lambda: until_the_end.enter_context(database.read_only())


@pytest.fixture
def bare_product(transactional_db: None, broker: Path) -> "Iterator[Product]":
    """Start real processes of the product on this test's database and broker; all end with the test.

    Nothing runs at first: `bare_product.start(processes.keeper())`, and see `tests/product.py`.
    """
    from tests import database
    from tests.product import Product

    with Product({"DATABASE_URL": database.url()}) as product:
        yield product


@pytest.fixture
def product(bare_product: "Product") -> "Product":
    """Two panic workers, a background worker and the keeper, ready."""
    from panicboard import processes

    workers = [processes.worker("panic", number, 100) for number in (1, 2)]
    started = [bare_product.start(worker) for worker in [*workers, processes.worker("background", 1, 32)]]
    bare_product.start(processes.keeper())
    for worker in started:
        worker.wait_for_line(" ready.")
    return bare_product


@pytest.fixture
def plain_static_files(settings: "Settings") -> None:
    """Pages name static files as they are: nothing was collected for a test."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
