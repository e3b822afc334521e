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
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, sync_playwright

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


class Firm:
    """One `manage.py up --demo` with its own files, and what its simulated venues hold."""

    def __init__(self, var: Path) -> None:
        self._var = var
        self.database = var / "panicboard.sqlite3"
        self.start()
        self.venue = self.one("SELECT base_url FROM panicboard_venue")
        self.wait(lambda: self.one("SELECT COUNT(*) FROM panicboard_reading WHERE read_at IS NULL") == 0)
        self.orders = self.open_orders()
        self.accounts = self.one("SELECT COUNT(*) FROM panicboard_account")

    def start(self) -> None:
        """Start it, anew after it was stopped: at another address, with other venues."""
        environment = {**os.environ, "PANICBOARD_VAR": str(self._var)}
        argv = [
            sys.executable,
            str(ROOT / "manage.py"),
            "up",
            "--demo",
            "--port",
            "0",
            "--simulator-port",
            "0",
        ]
        self._process = subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.url = ""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self.url = found.group()
            if "Stop:" in line:
                break
        assert self.url, "the demo did not come up"

    def open_orders(self) -> int:
        """How many orders the venues hold, by their own books."""
        reply = requests.get(f"{self.venue}/simulator/book", params={"open": "1"}, timeout=30)
        return len(reply.json()["orders"])

    def make_wall(self, name: str) -> str:
        """Make a wall in the admin. Returns its path, as the administrator is shown it."""
        made = self._admin("wall/add/", name=name)
        path = re.search(r"/wall/[\w-]{40,}/", made)
        assert path, made
        return path.group()

    def revoke_wall(self, name: str) -> None:
        chosen = self.one(f"SELECT id FROM panicboard_wall WHERE name = '{name}'")
        self._admin("wall/", action="revoke", _selected_action=chosen)

    def _admin(self, path: str, **fields: object) -> str:
        """Post a form of the admin. Returns the page that came of it."""
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

    def control(self, method: str, what: str, **given: object) -> None:
        """Have the simulated venues do something."""
        reply = requests.request(method, f"{self.venue}/simulator/{what}", json=given, timeout=30)
        assert reply.ok, reply.text

    def wait_until_clear(self) -> None:
        self.wait(lambda: self.one("SELECT COUNT(*) FROM panicboard_sweep WHERE state != 'clear'") == 0)

    def wait_until_drilled(self) -> None:
        unfinished = "SELECT COUNT(*) FROM panicboard_drilledaccount WHERE state NOT IN ('clear', 'failed')"
        self.wait(lambda: self.one(unfinished) == 0)

    def wait_until_released(self) -> None:
        self.wait(
            lambda: self.one("SELECT COUNT(*) FROM panicboard_account WHERE latched_at IS NOT NULL") == 0
        )

    def lose_database(self) -> None:
        """Put something that is no database where the database was."""
        self.database.rename(self._var / "lost.sqlite3")
        self.database.mkdir()

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=30)

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


@pytest.fixture
def firm(tmp_path: Path) -> Iterator[Firm]:
    """The product with its demo: every account read, nothing pressed."""
    firm = Firm(tmp_path / "var")
    yield firm
    firm.stop()


@pytest.fixture
def signed_in(chromium: Browser, firm: Firm) -> Iterator[Callable[..., Page]]:
    """Open a page on which a risk manager is signed in; options are those of a browser context.

    `scripts` run in every page before any of its own; `url` is where the product is seen from, if not itself.
    """
    contexts = []

    def open_page(scripts: Sequence[str] = (), url: str = "", **options: object) -> Page:
        url = url or firm.url
        context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        for script in scripts:
            context.add_init_script(script)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}/login/")
        page.locator("input[name=username]").fill("risk.desk1")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("input[name=password]").press("Enter")
        page.wait_for_url(f"{url}/")
        return page

    errors: list[str] = []
    yield open_page
    for context in contexts:
        context.close()
    assert errors == [], json.dumps(errors)


@pytest.fixture
def page(signed_in: Callable[..., Page]) -> Page:
    return signed_in()
