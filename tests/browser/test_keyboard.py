"""Presses by keyboard: held with Enter or Space; and in two steps, for whoever cannot hold."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Firm
from tests.browser.holding import clock_stands

KEYS = ["Enter", "Space"]


@pytest.mark.parametrize("key", KEYS)
def test_key_held_on_the_stop_presses(page: Page, firm: Firm, key: str) -> None:
    page.keyboard.press("Tab")  # the way past everything to the content
    page.keyboard.press("Tab")
    expect(page.locator("#stop button.press")).to_be_focused()

    page.keyboard.down(key)
    page.wait_for_url(re.compile(r"/panics/\d+/$"))
    page.keyboard.up(key)

    expect(page.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)
    assert firm.one("SELECT COUNT(*) FROM panicboard_panic") == 1


def test_key_let_go_early_sends_nothing_however_often_it_repeats(page: Page, firm: Firm) -> None:
    button = page.locator("#stop button.press")
    button.focus()
    with clock_stands(page):
        for key in (*KEYS, *KEYS):  # held anew, it is counted anew
            page.keyboard.down(key)
            for _ in range(9):
                page.clock.run_for(100)
                page.keyboard.down(key)  # as a keyboard repeats a key that is held down
            page.keyboard.up(key)

            expect(page.locator("#stop .say")).to_have_text("NOT SENT")
            expect(page.locator("#stop .how")).to_have_text("let goat 0.9 s")
            expect(button).to_be_focused()
    assert firm.one("SELECT COUNT(*) FROM panicboard_panic") == 0


def test_whoever_cannot_hold_arms_and_confirms(page: Page, firm: Firm) -> None:
    page.locator("#stop button.press").focus()

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Cannot hold?")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/panics/two-steps/\?scope=all$"))
    expect(page.get_by_role("button", name="Arm")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="CONFIRM")).to_be_focused()
    page.keyboard.press("Enter")

    page.wait_for_url(re.compile(r"/panics/\d+/$"))
    expect(page.locator(".facts")).to_contain_text("in two steps")
    expect(page.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)


def test_confirmation_expires_says_so_and_sends_nothing(page: Page, firm: Firm) -> None:
    page.goto(f"{firm.url}/panics/two-steps/?scope=all")
    page.get_by_role("button", name="Arm").click()
    expect(page.get_by_role("button", name="CONFIRM")).to_be_visible()
    armed = page.locator("input[name=armed]").input_value()

    # The page itself gives up when its ten seconds are over.
    page.wait_for_url(re.compile(r"because=armed$"), timeout=30_000)
    said = "NOT SENT - it was armed more than 10 s ago. Arm it again."
    expect(page.locator("main [role=alert]")).to_have_text(said)
    # And a confirmation that was on its way for longer than that counts as none.
    page.get_by_role("button", name="Arm").click()
    page.locator("input[name=armed]").evaluate("(field, old) => { field.value = old; }", armed)
    page.get_by_role("button", name="CONFIRM").click()

    page.wait_for_url(re.compile(r"because=armed$"))
    expect(page.get_by_role("button", name="Arm")).to_be_visible()
    assert firm.one("SELECT COUNT(*) FROM panicboard_panic") == 0
    assert firm.open_orders() == firm.orders
