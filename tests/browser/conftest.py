"""The running product with its demo, and a real browser in front of it.

Without Chromium these tests are skipped, and say so; where PANICBOARD_BROWSER_TESTS=required they fail.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, sync_playwright

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PASSWORD = "panic-demo"
WAIT_S = 90


RISK_MANAGER = "risk.desk1"


class Bare:
    """One `manage.py up` with its own files, as it is right after the installation: nobody's accounts."""

    options: Sequence[str] = ()
    #: Whether a test did more with it than any person who looks at it does.
    _touched = False

    def __init__(self, var: Path) -> None:
        self._var = var
        self.database = var / "panicboard.sqlite3"
        self.start()

    def start(self) -> None:
        """Start it, anew after it was stopped: at another address.

        It gives up by itself after 30 s without an answer: a machine that is busy may want more.
        """
        if not (self._came_up() or self._came_up()):
            raise AssertionError("it did not come up")
        # What nobody reads holds its writer up when the pipe is full.
        threading.Thread(target=deque, args=(self._process.stdout, 0), daemon=True).start()

    def _came_up(self) -> bool:
        argv = [sys.executable, str(ROOT / "manage.py"), "up", "--port", "0", *self.options]
        self._process = subprocess.Popen(
            argv, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.url = ""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "panicboard is up" in line and (found := re.search(r"http://127\.0\.0\.1:\d+", line)):
                self.url = found.group()
                return True
        self._process.wait(timeout=WAIT_S)
        return False

    def manage(self, *arguments: str, **environment: str) -> str:
        """Run one of its commands. Returns what it says."""
        self._touched = True
        argv = [sys.executable, str(ROOT / "manage.py"), *arguments]
        ran = subprocess.run(
            argv, env={**self._environment, **environment}, capture_output=True, text=True, timeout=WAIT_S
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def make_administrator(self) -> None:
        """As the README says it: `manage.py createsuperuser`."""
        chosen = ("--noinput", "--username", "admin", "--email", "admin@example.com")
        self.manage("createsuperuser", *chosen, DJANGO_SUPERUSER_PASSWORD=PASSWORD)

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PANICBOARD_VAR": str(self._var)}

    @contextmanager
    def frozen(self, what: str) -> Iterator[None]:
        """Stand its processes whose command line has `what` still, as `kill -STOP` does."""
        self._touched = True
        mine = [pid for pid, line in self._children() if what in line]
        assert mine, f"nothing of it runs {what}"
        try:
            for pid in mine:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in mine:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _children(self) -> Iterator[tuple[int, str]]:
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == self._process.pid:
                    yield int(folder.name), (folder / "cmdline").read_text().replace("\0", " ")

    def lose_database(self) -> None:
        """Put something that is no database where the database was."""
        self._touched = True
        self.database.rename(self._var / "lost.sqlite3")
        self.database.mkdir()

    def stop(self) -> None:
        self._touched = True
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=30)

    def one(self, query: str):  # type: ignore[no-untyped-def]
        """The one value that the product's database has for this query."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchone()[0]

    def wait(self, happened: Callable[[], bool]) -> None:
        """Wait for what the product does."""
        deadline = time.monotonic() + WAIT_S
        while not happened():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.05)


class Firm(Bare):
    """One `manage.py up --demo` with its own files, and what its simulated venues hold."""

    options = ("--demo", "--simulator-port", "0")

    def __init__(self, var: Path) -> None:
        super().__init__(var)
        self.venue = self.one("SELECT base_url FROM panicboard_venue")
        self.wait(lambda: self.one("SELECT COUNT(*) FROM panicboard_reading WHERE read_at IS NULL") == 0)
        self.orders = self.open_orders()
        self.accounts = self.one("SELECT COUNT(*) FROM panicboard_account")
        self._was = self._now()

    @property
    def is_as_at_first(self) -> bool:
        """Whether all that was done with it was looking, so that another test may have it."""
        return not self._touched and self._process.poll() is None and self._now() == self._was

    def _now(self) -> tuple[object, ...]:
        rows = [self.one(f"SELECT COUNT(*) FROM panicboard_{table}") for table in ("auditentry", "account")]
        return *rows, self.open_orders(), sorted(pid for pid, _ in self._children())

    def book(self, **of: str) -> list[dict[str, Any]]:
        """The open orders that the venues hold, by their own books."""
        reply = requests.get(f"{self.venue}/simulator/book", params={"open": "1", **of}, timeout=30)
        return reply.json()["orders"]

    def open_orders(self, account: str = "", symbol: str = "") -> int:
        """How many these are: all, or those of an account and a symbol."""
        mine = self.book(account=account) if account else self.book()
        return sum(symbol in ("", order["symbol"]) for order in mine)

    def make_wall(self, name: str) -> str:
        """Make a wall in the admin. Returns its path, as the administrator is shown it."""
        made = self._admin("wall/add/", name=name)
        path = re.search(r"/wall/[\w-]{40,}/", made)
        assert path, made
        return path.group()

    def revoke_wall(self, name: str) -> None:
        chosen = self.one(f"SELECT id FROM panicboard_wall WHERE name = '{name}'")
        self._admin("wall/", action="revoke", _selected_action=chosen)

    def add_account(self, name: str) -> None:
        """Add an account in the admin: of the first one's desk, at its venue, with a key of its own."""
        desk, venue, adapter = (
            self.one(
                f"SELECT {column} FROM panicboard_account JOIN panicboard_venue ON venue_id = "
                "panicboard_venue.id ORDER BY panicboard_account.id"
            )
            for column in ("desk_id", "venue_id", "adapter")
        )
        made = self.control("POST", "accounts", venue=adapter, name=name)["accounts"][0]
        key = {field: made[field] for field in ("api_key", "secret", "key_type")}
        self._admin("account/add/", name=name, desk=desk, venue=venue, enabled="on", **key)
        assert self.one(f"SELECT COUNT(*) FROM panicboard_account WHERE name = '{name}'") == 1

    def _admin(self, path: str, **fields: object) -> str:
        """Post a form of the admin. Returns the page that came of it."""
        self._touched = True
        with requests.Session() as session:
            session.trust_env = False
            session.get(f"{self.url}/login/", timeout=30)
            for address, form in (
                (f"{self.url}/login/", {"username": "admin", "password": PASSWORD}),
                (f"{self.url}/admin/panicboard/{path}", fields),
            ):
                token = session.cookies["csrftoken"]
                reply = session.post(address, {**form, "csrfmiddlewaretoken": token}, timeout=30)
                assert reply.ok, reply.text
            return reply.text

    def control(self, method: str, what: str, **given: object) -> dict[str, Any]:
        """Have the simulated venues do something. Returns what they answer."""
        self._touched = True
        reply = requests.request(method, f"{self.venue}/simulator/{what}", json=given, timeout=30)
        assert reply.ok, reply.text
        return reply.json()

    def web(self) -> int:
        """The web process, as it is now: for whoever has something in mind with it."""
        self._touched = True

        def find() -> int:
            return next((pid for pid, line in self._children() if "uvicorn" in line), 0)

        return until(find, "the web process")

    def end_every_login(self) -> None:
        """What an administrator does who wants everybody to sign in again."""
        with self.writing() as database:
            database.execute("DELETE FROM django_session")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Its database, to write what no page would."""
        self._touched = True
        with closing(sqlite3.connect(self.database, timeout=20)) as database:
            yield database
            database.commit()

    def wait_until_clear(self) -> None:
        self.wait(lambda: self.one("SELECT COUNT(*) FROM panicboard_sweep WHERE state != 'clear'") == 0)

    def wait_until_drilled(self) -> None:
        unfinished = "SELECT COUNT(*) FROM panicboard_drilledaccount WHERE state NOT IN ('clear', 'failed')"
        self.wait(lambda: self.one(unfinished) == 0)

    def wait_until_released(self) -> None:
        self.wait(
            lambda: self.one("SELECT COUNT(*) FROM panicboard_account WHERE latched_at IS NOT NULL") == 0
        )


def sign_in(page: Page, url: str, user: str = RISK_MANAGER) -> None:
    """Sign one of the demo's people in, and stay on the board."""
    page.goto(f"{url}/login/")
    fill_in_login(page, user)
    page.wait_for_url(f"{url}/")


def fill_in_login(page: Page, user: str = RISK_MANAGER) -> None:
    """Fill in the login that the page shows."""
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("input[name=password]").press("Enter")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("PANICBOARD_BROWSER_TESTS") == "required":
            pytest.fail("Chromium is not installed, and PANICBOARD_BROWSER_TESTS says that it must be")
        pytest.skip("no Chromium on this machine: the browser tests are left out")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a fresh installation that ran once: each test's product begins with a copy of them."""
    var = tmp_path_factory.mktemp("installed") / "var"
    Bare(var).stop()
    return var


@pytest.fixture(scope="session")
def looked_at() -> Iterator[list[Firm]]:
    """The product that was only looked at, for the next test: nothing takes as long as starting it."""
    waiting: list[Firm] = []
    yield waiting
    for firm in waiting:
        firm.stop()


@pytest.fixture
def firm(installed: Path, looked_at: list[Firm], tmp_path: Path) -> Iterator[Firm]:
    """The product with its demo: every account read, nothing pressed."""
    firm = looked_at.pop() if looked_at else Firm(shutil.copytree(installed, tmp_path / "var"))
    yield firm
    if firm.is_as_at_first:
        looked_at.append(firm)
    else:
        firm.stop()


@pytest.fixture
def bare(installed: Path, tmp_path: Path) -> Iterator[Bare]:
    """The product right after its installation: an administrator, and nothing else."""
    bare = Bare(shutil.copytree(installed, tmp_path / "bare"))
    bare.make_administrator()
    yield bare
    bare.stop()


@pytest.fixture
def signed_in(chromium: Browser, firm: Firm) -> Iterator[Callable[..., Page]]:
    """Open a page on which a risk manager (or `user`) is signed in; options are those of a browser context.

    `scripts` run in every page before any of its own; `url` is where the product is seen from, if not itself.
    """
    contexts = []

    def open_page(
        scripts: Sequence[str] = (), url: str = "", user: str = RISK_MANAGER, **options: object
    ) -> Page:
        url = url or firm.url
        context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        for script in scripts:
            context.add_init_script(script)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        sign_in(page, url, user)
        return page

    errors: list[str] = []
    yield open_page
    for context in contexts:
        context.close()
    assert errors == [], json.dumps(errors)


@pytest.fixture
def page(signed_in: Callable[..., Page]) -> Page:
    return signed_in()
