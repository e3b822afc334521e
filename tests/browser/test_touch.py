"""Presses by finger on a phone: held, lifted early, and the scroll that begins on a stop."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import CDPSession, Locator, Page, expect

from tests.browser.conftest import Firm
from tests.browser.holding import clock_stands, stop_of_account
from tests.waiting import until

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
#: Takes down, beyond the page that it happened on, what a long touch opened and what it selected.
_LONG_TOUCH = """
addEventListener("contextmenu", e => sessionStorage.menu = e.defaultPrevented ? "prevented" : "open");
document.addEventListener("selectionchange", () => sessionStorage.selected = getSelection().toString());
"""


class Finger:
    """One finger on a page's screen."""

    def __init__(self, page: Page) -> None:
        self._cdp: CDPSession = page.context.new_cdp_session(page)
        self._at = (0.0, 0.0)

    def down(self, on: Locator) -> None:
        on.evaluate("e => e.scrollIntoView({ block: 'center' })")  # at the foot the global stop lies over it
        box = on.bounding_box()
        assert box
        self._at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self._send("touchStart", self._at)

    def drag(self, by: float) -> None:
        """Move up so far, or down where it is negative, in steps as a finger does."""
        for _ in range(10):
            self._at = (self._at[0], self._at[1] - by / 10)
            self._send("touchMove", self._at)

    def up(self) -> None:
        self._send("touchEnd")

    def _send(self, kind: str, *points: tuple[float, float]) -> None:
        touching = [{"x": x, "y": y} for x, y in points]
        self._cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touching})


@pytest.fixture
def phone(signed_in: Callable[..., Page]) -> Page:
    return signed_in([_LONG_TOUCH], **PHONE)


def test_finger_held_on_the_stop_presses_and_opens_no_menu(phone: Page, firm: Firm) -> None:
    finger = Finger(phone)

    finger.down(phone.locator("#stop button.press"))
    phone.wait_for_url(re.compile(r"/panics/\d+/$"))
    finger.up()

    expect(phone.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)
    menu, selected = phone.evaluate("[sessionStorage.menu, sessionStorage.selected]")
    assert menu in (None, "prevented")
    assert selected in (None, "")
    assert firm.one("SELECT COUNT(*) FROM panicboard_panic") == 1


def test_finger_lifted_early_sends_nothing_and_says_when(phone: Page, firm: Firm) -> None:
    said = {phone.locator("#stop button.press"): "NOT SENTlet goat 0.6 s"}
    said[stop_of_account(phone, "finch-grid")] = "Not sent"
    finger = Finger(phone)
    for button, words in said.items():
        with clock_stands(phone):
            finger.down(button)
            phone.clock.run_for(599)

            finger.up()

            expect(button).to_have_text(words)
            phone.clock.run_for(1000)  # nothing comes later, either
    assert firm.one("SELECT COUNT(*) FROM panicboard_panic") == 0


def test_scroll_that_begins_on_a_stop_does_not_press(phone: Page, firm: Firm) -> None:
    every, one = (
        phone.locator("#stop button.press"),
        stop_of_account(phone, "kestrel-mm"),
    )  # with a long page below it
    finger = Finger(phone)
    for button in (every, one):
        with clock_stands(phone):
            finger.down(button)
            before = phone.evaluate("scrollY")
            phone.clock.run_for(100)
            finger.drag(150)

            phone.clock.run_for(10_000)  # the finger stays on the screen

            expect(button).to_have_text(re.compile("^(CANCEL ALLhold1 s|Cancel)$"))
            finger.up()
    # An account's stop is in the way of every thumb: the page goes on scrolling there.
    until(lambda: phone.evaluate("scrollY") > before, "the page to scroll", 5)
    assert firm.one("SELECT COUNT(*) FROM panicboard_panic") == 0
