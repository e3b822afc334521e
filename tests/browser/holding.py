"""Holding a stop: for real, or by a clock that stands still until it is moved."""

import contextlib
import re
import time
from collections.abc import Iterator

from playwright.sync_api import Locator, Page, expect

#: Longer than the global stop wants (1,000 ms), and longer than the others do (600 ms).
HOLD_MS, SHORT_HOLD_MS = 1300, 900


def hold(page: Page, button: Locator, ms: int) -> None:
    button.hover()
    page.mouse.down()
    page.wait_for_timeout(ms)
    page.mouse.up()


def hold_stop(page: Page, ms: int) -> None:
    hold(page, page.locator("#stop button.press"), ms)


def press_everything(page: Page) -> None:
    """Hold the global stop until the page is the panic's."""
    hold_stop(page, HOLD_MS)
    page.wait_for_url(re.compile(r"/panics/\d+/$"))


def press(page: Page, button: Locator) -> None:
    """Hold a desk's or an account's stop until the page is the panic's."""
    hold(page, button, SHORT_HOLD_MS)
    page.wait_for_url(re.compile(r"/panics/\d+/$"))


def stop_of_account(page: Page, name: str) -> Locator:
    """The stop in an account's row of the board."""
    row = page.locator("tr.acc", has=page.get_by_role("link", name=name, exact=True))
    expect(row).to_be_visible()
    return row.locator("form.zone button")


@contextlib.contextmanager
def clock_stands(page: Page) -> Iterator[None]:
    """The page's clock moves by `page.clock.run_for` alone: nothing is held longer than was meant."""
    page.clock.install()
    page.clock.pause_at(time.time() + 1)
    yield
    page.clock.resume()
