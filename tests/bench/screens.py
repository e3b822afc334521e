"""The screens: from a commit to the page, five hundred viewers, a thousand accounts, and a press among them.

Everything is measured against one web process of the product. What is committed here is an order's state, as
a worker does; a page is Chromium's, a viewer is an open stream. Where no peer does the same, the wanted
figure is the peer. Smaller, for a quick look:

    BENCH_VIEWERS=50 BENCH_ACCOUNTS=100 make bench ONLY=screens
"""

import asyncio
import gzip
import os
import shutil
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp
from django.utils import timezone
from playwright.sync_api import Page, sync_playwright

from panicboard.models import Account, Reading, Sweep, SweptOrder
from tests import pages
from tests.bench.__main__ import Figure
from tests.bench.product import web_alone
from tests.browser.conftest import FLAGS
from tests.factories import make_desk, make_venue
from tests.signed_in import NAME, PASSWORD, Board

VIEWERS = int(os.environ.get("BENCH_VIEWERS", "500"))
ACCOUNTS = int(os.environ.get("BENCH_ACCOUNTS", "1000"))
DESKS = 10
COMMITS, PACE_S = 100, 0.25
PRESSES = 25
WANTED = {"dom": 120, "viewers": 150, "cpu": 25, "server": 150, "html": 400, "paint": 1000, "press": 100}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

#: Writes down when the page showed each mark, by this machine's clock.
_WATCH_MARKS = """
window.seen = {};
new MutationObserver(() => {
  for (const [mark] of document.body.textContent.matchAll(/mark-\\d+/g)) window.seen[mark] ??= Date.now();
}).observe(document, { subtree: true, childList: true, characterData: true });
"""
#: Writes down how long each touch of the stop waits for its word.
_WATCH_PRESS = """
window.waits = [];
addEventListener("pointerdown", e => {
  const begun = e.timeStamp, look = () => document.querySelector("#stop .say").textContent === "KEEP HOLDING"
    ? requestAnimationFrame(() => window.waits.push(performance.now() - begun)) : requestAnimationFrame(look);
  look();
}, true);
"""


def run() -> Iterator[Figure]:
    """A panic that runs on, its page and its viewers; then the board of a thousand accounts."""
    # Playwright keeps a loop running in this thread, beside which Django would refuse the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with web_alone() as (board, pid), sync_playwright() as playwright:
        _make_accounts()
        sweep = _panic_that_runs_on()
        browser = playwright.chromium.launch(executable_path=_chromium(), args=list(FLAGS))
        page = _sign_in(browser.new_page(), board)
        yield from _commit_to_page(page, board, sweep)
        yield from _with_viewers(page, board, pid, sweep)
        page.close()
        Sweep.objects.update(state=Sweep.State.RELEASED)
        yield from _board_of_many(browser.new_page(), board)
        browser.close()


def _figure(name: str, value: float, unit: str, wanted: float) -> Figure:
    return Figure(name, round(value, 1), unit, "wanted", wanted, round(wanted / value, 2) if value else 0)


def _at(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def _chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "the screens are measured in Chromium, which is not installed"
    return path


def _make_accounts() -> None:
    """A thousand accounts that were just read; nobody reads them again meanwhile."""
    now = timezone.now()
    venue = make_venue("http://127.0.0.1:9", "binance-usdm")
    desks = [make_desk(f"desk-{number}") for number in range(DESKS)]
    accounts = Account.objects.bulk_create(
        Account(
            name=f"account-{number:04}", desk=desks[number % DESKS], venue=venue, sealed_credentials="sealed"
        )
        for number in range(ACCOUNTS)
    )
    Reading.objects.bulk_create(
        Reading(account=one, open_count=number % 90, read_at=now, due_at=now, planned_interval_s=3600)
        for number, one in enumerate(accounts)
    )


def _panic_that_runs_on() -> Sweep:
    """A panic of one account with orders, which nobody sweeps."""
    account = Account.objects.get(name="account-0000")
    panic = pages.make_panic(account, state=Sweep.State.CANCELLING, pressed_at=timezone.now())
    sweep = panic.sweeps.get()
    pages.make_orders(sweep, SweptOrder.Outcome.ACKED, COMMITS)
    return sweep


def _sign_in(page: Page, board: Board) -> Page:
    page.add_init_script(_WATCH_MARKS)
    page.add_init_script(_WATCH_PRESS)
    page.goto(f"{board.url}/login/")
    page.locator("input[name=username]").fill(NAME)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("input[name=password]").press("Enter")
    page.wait_for_url(f"{board.url}/")
    return page


def _commit_marks(sweep: Sweep, prefix: int) -> dict[str, float]:
    """Let orders change, each with a mark that its sweep's row shows. Returns when each was, in ms."""
    committed = {}
    for number, order in enumerate(sweep.orders.all()[:COMMITS]):
        mark = f"mark-{prefix}{number:04}"
        SweptOrder.objects.filter(pk=order.pk).update(outcome=SweptOrder.Outcome.CANCELLED)
        Sweep.objects.filter(pk=sweep.pk).update(last_word=mark)
        committed[mark] = time.time() * 1000
        time.sleep(PACE_S)
    return committed


def _commit_to_page(page: Page, board: Board, sweep: Sweep) -> Iterator[Figure]:
    page.goto(f"{board.url}{sweep.panic.get_absolute_url()}")
    page.wait_for_timeout(1500)
    committed = _commit_marks(sweep, 1)
    seen = page.evaluate("window.seen")
    took = [seen[mark] - at for mark, at in committed.items() if mark in seen]
    assert len(took) >= 0.9 * COMMITS, f"only {len(took)} of {COMMITS} were shown one by one"
    yield _figure("commit_to_dom_p50", statistics.median(took), "ms", WANTED["dom"])
    yield _figure("commit_to_dom_p99", _at(took, 0.99), "ms", WANTED["dom"])


def _with_viewers(page: Page, board: Board, pid: int, sweep: Sweep) -> Iterator[Figure]:
    """Five hundred streams of the panic's page beside Chromium's; then presses while they are open."""
    with _Viewers(f"{board.url}/events/?panic={sweep.panic_id}", board) as viewers:
        used, began = _cpu_s(pid), time.monotonic()
        committed = _commit_marks(sweep, 2)
        cores = (_cpu_s(pid) - used) / (time.monotonic() - began)
        for _ in range(PRESSES):
            _touch(page)
    took = [at - committed[mark] for mark, at in viewers.arrived if mark in committed]
    assert len(took) >= 0.9 * VIEWERS * COMMITS, f"{len(took)} arrivals"
    waits = page.evaluate("window.waits")
    yield _figure(f"commit_to_{VIEWERS}_viewers_p50", statistics.median(took), "ms", WANTED["viewers"])
    yield _figure(f"commit_to_{VIEWERS}_viewers_p99", _at(took, 0.99), "ms", WANTED["viewers"])
    yield _figure(f"web_cpu_with_{VIEWERS}_viewers", 100 * cores, "%", WANTED["cpu"])
    yield _figure(f"press_to_feedback_with_{VIEWERS}_p95", _at(waits, 0.95), "ms", WANTED["press"])


def _touch(page: Page) -> None:
    """Hold the stop for a moment, and let go again."""
    page.locator("#stop button.press").hover()
    page.mouse.down()
    page.wait_for_timeout(200)
    page.mouse.up()
    page.wait_for_timeout(200)


class _Viewers:
    """Open streams, on a thread of their own: when each mark arrived at each."""

    def __init__(self, address: str, board: Board) -> None:
        self.arrived: list[tuple[str, float]] = []
        self._address, self._cookies = address, board.session.cookies.get_dict()
        self._open, self._stop = threading.Semaphore(0), False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._view_all()), daemon=True)

    def __enter__(self) -> "_Viewers":
        self._thread.start()
        for _ in range(VIEWERS):
            assert self._open.acquire(timeout=60)
        time.sleep(3)  # each has had the whole state
        return self

    def __exit__(self, *args: object) -> None:
        self._stop = True
        self._thread.join(30)

    async def _view_all(self) -> None:
        options = {"timeout": aiohttp.ClientTimeout(), "read_bufsize": 2**20}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, cookies=self._cookies, **options) as session:
            await asyncio.gather(*(self._view(session) for _ in range(VIEWERS)))

    async def _view(self, session: aiohttp.ClientSession) -> None:
        async with session.get(self._address) as reply:
            self._open.release()
            async for part in reply.content.iter_any():
                at = time.time() * 1000
                self.arrived += [(f"mark-{found[:5].decode()}", at) for found in part.split(b"mark-")[1:2]]
                if self._stop:  # there is a tick every second
                    return


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def _board_of_many(page: Page, board: Board) -> Iterator[Figure]:
    served = []
    for _ in range(9):
        began = time.perf_counter()
        html = board.page("/")
        served.append((time.perf_counter() - began) * 1000)
    yield _figure(f"board_of_{ACCOUNTS}_served", statistics.median(served), "ms", WANTED["server"])
    yield _figure(f"board_of_{ACCOUNTS}_html", len(html.encode()) / 1000, "kB", WANTED["html"])
    packed = len(gzip.compress(html.encode())) / 1000
    yield _figure(f"board_of_{ACCOUNTS}_html_gzip", packed, "kB", WANTED["html"])
    _sign_in(page, board)
    page.goto(board.url)
    page.wait_for_timeout(1000)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    yield _figure(f"board_of_{ACCOUNTS}_first_paint", paint, "ms", WANTED["paint"])
