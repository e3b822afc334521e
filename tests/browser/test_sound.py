"""Tones: off until a person switches them on, and one for each thing that must be heard."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Firm
from tests.browser.holding import HOLD_MS, hold_stop
from tests.waiting import until

#: Takes down every tone that is played.
_TONES = "window.tones = []; document.addEventListener('panicboard:tone', e => window.tones.push(e.detail));"


def tones(page: Page) -> list[str]:
    return page.evaluate("window.tones")


def test_sound_is_off_until_somebody_switches_it_on(signed_in: Callable[..., Page]) -> None:
    page = signed_in([_TONES])
    button = page.locator("#sound")
    expect(button).to_have_text("Sound off")

    hold_stop(page, 300)
    before = tones(page)
    button.click()

    expect(button).to_have_text("Sound on")
    expect(button).to_have_attribute("aria-pressed", "true")
    assert (before, tones(page)) == ([], ["on"])
    button.click()
    expect(button).to_have_text("Sound off")


def test_panic_is_heard_from_its_begin_to_its_end(signed_in: Callable[..., Page], firm: Firm) -> None:
    listener = signed_in([_TONES])
    listener.locator("#sound").click()

    hold_stop(signed_in(), HOLD_MS)

    until(lambda: "clear" in tones(listener), "the tone of the end", 60)
    assert tones(listener) == ["on", "panic", "clear"]
    firm.wait_until_clear()


def test_lapse_and_silence_are_heard(signed_in: Callable[..., Page], firm: Firm) -> None:
    page = signed_in([_TONES])
    page.locator("#sound").click()

    firm.control("POST", "faults", kind="not_done_503b", path="/fapi/v1/countdownCancelAll")

    until(lambda: "lapsing" in tones(page), "the tone of a lapse", 60)
    firm.stop()
    until(lambda: "stale" in tones(page), "the tone of silence")


def test_page_that_was_loaded_again_says_that_its_sound_waits(signed_in: Callable[..., Page]) -> None:
    page = signed_in([_TONES])
    page.locator("#sound").click()

    page.reload()

    expect(page.locator("#sound")).to_have_text(re.compile("Sound (waits for a click|on)"))
    page.locator("h1, th, body").first.click()
    expect(page.locator("#sound")).to_have_text("Sound on")
