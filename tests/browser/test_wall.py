"""A wall screen in a real browser: read from afar, old when it is old, back by itself, gone when revoked."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Firm
from tests.browser.holding import HOLD_MS, hold_stop
from tests.browser.reverse_proxy import Proxy

pytest_plugins = ["tests.browser.reverse_proxy"]

SCREEN = {"width": 1920, "height": 1080}
#: The height of the least type on such a screen, in pixels: see `static/wall.css`.
LEAST_PX = 64
STALE, NOT_STALE = re.compile(r"\bstale\b"), re.compile(r"^(?!.*\bstale\b)")


@pytest.fixture
def wall(chromium: Browser, firm: Firm, proxied: Proxy) -> Iterator[Page]:
    """A screen that shows a new wall, through the proxy. Its browser has no login."""
    context = chromium.new_context(viewport=SCREEN)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(proxied.url + firm.make_wall("floor 3"))
    yield page
    context.close()
    assert errors == []


def test_wall_follows_a_panic_and_fits_its_screen(
    wall: Page, signed_in: Callable[..., Page], firm: Firm
) -> None:
    expect(wall.locator(".hero .word")).to_contain_text("READY")
    expect(wall.locator(".hero .count b")).to_have_text(str(firm.orders))
    expect(wall.locator(".tile")).to_have_count(12)
    seen = set()
    for _ in range(8):
        seen.add(wall.locator(".tick").screenshot())
        wall.wait_for_timeout(600)
    assert len(seen) >= 3, "the mark of life does not move"

    hold_stop(signed_in(), HOLD_MS)

    expect(wall.locator(".hero .word")).to_contain_text("PANIC")
    expect(wall.locator(".hero .word")).to_contain_text("LATCHED", timeout=60_000)
    expect(wall.locator(".hero .count b")).to_have_text("0")
    fits = "e => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight"
    assert [wall.locator(name).evaluate(fits) for name in ("html", "body", ".wtop", ".tiles")] == [True] * 4
    ends = "e => e.getBoundingClientRect().right"
    cut = f"es => es.filter(e => ({ends})(e) > ({ends})(e.closest('li'))).length"
    assert wall.locator(".tile .r").evaluate_all(cut) == 0, "a number is cut"


def test_nothing_on_a_wall_is_too_small_or_to_be_pressed(wall: Page) -> None:
    sizes = wall.evaluate(
        "[...document.querySelectorAll('body *')]"
        ".filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))"
        ".map(e => parseFloat(getComputedStyle(e).fontSize))"
    )

    assert min(sizes) >= LEAST_PX
    assert wall.locator("a, button, input, form, [tabindex]").count() == 0


def test_wall_says_stale_withholds_numbers_and_comes_back_by_itself(
    wall: Page, firm: Firm, proxied: Proxy
) -> None:
    loads: list[str] = []
    wall.on("load", lambda _: loads.append(wall.url))
    expect(wall.locator("body")).to_have_class(NOT_STALE)

    firm.stop()

    expect(wall.locator(".hero .word")).to_contain_text("STALE", timeout=15_000)
    expect(wall.locator("body")).to_have_class(re.compile(r"\bdashes\b"), timeout=30_000)
    firm.start()
    proxied.to = firm.url
    expect(wall.locator("body")).to_have_class(NOT_STALE, timeout=30_000)
    expect(wall.locator(".hero .word")).not_to_contain_text("STALE")
    assert loads == []


def test_wall_of_an_older_version_loads_the_new_one(wall: Page, proxied: Proxy) -> None:
    expect(wall.locator("body")).to_have_class(NOT_STALE)

    with wall.expect_event("load"):
        wall.evaluate("document.body.dataset.version = 'of yesterday'")

    expect(wall.locator("body")).to_have_class(NOT_STALE)


def test_revoked_wall_says_so_and_shows_nothing_more(wall: Page, firm: Firm) -> None:
    expect(wall.locator("body")).to_have_class(NOT_STALE)

    firm.revoke_wall("floor 3")

    expect(wall.locator(".hero .word")).to_contain_text("REVOKED", timeout=15_000)
    expect(wall.locator("body")).to_have_class(re.compile(r"\bdashes\b"))
    wall.reload()
    expect(wall.locator("h1")).to_have_text("This screen shows nothing")
