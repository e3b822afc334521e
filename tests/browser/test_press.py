"""A person at the board, in a real browser against the running product: press, watch, release."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Firm
from tests.browser.holding import HOLD_MS, hold_stop


def test_held_press_takes_every_order_to_its_outcome_without_a_reload(page: Page, firm: Firm) -> None:
    page.goto(firm.url)
    expect(page.locator("#stop-scope")).to_contain_text(f"{firm.orders} orders")
    loads: list[str] = []

    hold_stop(page, HOLD_MS)

    page.wait_for_url(re.compile(r"/panics/\d+/$"))
    page.on("load", lambda _: loads.append(page.url))
    expect(page.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)
    expect(page.locator(".sweeps .chip.proof", has_text="CLEAR")).to_have_count(firm.accounts, timeout=60_000)
    assert loads == []
    assert firm.open_orders() == 0


def test_stop_let_go_early_sends_nothing(page: Page, firm: Firm) -> None:
    page.goto(firm.url)

    hold_stop(page, 300)

    expect(page.locator("#stop .say")).to_have_text("NOT SENT")
    assert page.url.rstrip("/") == firm.url
    assert firm.open_orders() == firm.orders


def test_press_works_without_javascript_in_two_steps(signed_in: Callable[..., Page], firm: Firm) -> None:
    page = signed_in(java_script_enabled=False)
    page.locator("#stop button.press").click()

    page.locator("main button", has_text="Arm").click()
    page.locator("main button", has_text="CONFIRM").click()

    page.wait_for_url(re.compile(r"/panics/\d+/$"))
    # The page reloads itself while the panic runs; a reload from here could run into that one.
    expect(page.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)
    firm.wait_until_clear()


def test_release_needs_a_reason_and_then_lets_go(page: Page, firm: Firm) -> None:
    page.goto(firm.url)
    hold_stop(page, HOLD_MS)
    page.wait_for_url(re.compile(r"/panics/\d+/$"))
    firm.wait_until_clear()
    page.locator("details.guard summary").click()

    page.locator("textarea[name=reason]").last.fill("checked with the desk and the venue")
    page.locator("input[name=seen]").check()
    page.locator("details.guard button[type=submit], details.guard button").last.click()

    expect(page.locator("#summary")).to_contain_text("latched")
    firm.wait_until_released()


def test_limits_page_reads_itself_anew(page: Page, firm: Firm) -> None:
    table = re.compile(r"/limits/table/$")
    page.goto(f"{firm.url}/limits/")

    with page.expect_response(table) as first:
        pass
    with page.expect_response(table) as second:  # what was put in asks again
        pass

    assert [one.value.status for one in (first, second)] == [200, 200]
    expect(page.locator("#limits tbody tr")).to_have_count(4)
    assert page.locator("#limits").count() == 1


def test_press_without_a_database_says_that_it_was_not_sent_and_what_sends(page: Page, firm: Firm) -> None:
    page.goto(firm.url)
    expect(page.locator("#stop-scope")).to_contain_text(f"{firm.orders} orders")
    firm.lose_database()

    hold_stop(page, HOLD_MS)

    expect(page.locator("#stop .say")).to_have_text("NOT SENT")
    expect(page.locator("#refusal")).to_have_text(
        "NOT SENT - the database does not answer. From a shell, with the sealed file: "
        "manage.py panic --break-glass FILE --all"
    )
    page.goto(firm.url)
    expect(page.locator("h1")).to_have_text("The database does not answer")
    assert firm.open_orders() == firm.orders


def test_phone_shows_long_counts_and_ids_within_its_width(signed_in: Callable[..., Page], firm: Firm) -> None:
    page = signed_in(viewport={"width": 390, "height": 844})
    line = "1,284 orders · 124 accounts (13 unread) · includes 1,212 protective"
    # Set and measured in one go: the stream writes here, too.
    fits = page.locator("#stop-scope").evaluate(
        "(e, line) => { e.textContent = line; "
        "return e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight; }",
        line,
    )
    assert fits
    hold_stop(page, HOLD_MS)
    expect(page.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)
    page.goto(f"{page.url}?all={page.locator('[data-toggle]').first.get_attribute('data-toggle')}")
    page.wait_for_timeout(1500)  # the stream has had its say, and the orders are still shown in full
    assert page.locator(".orders tbody tr").count() >= 10

    width = page.evaluate(
        "cells => { for (const [column, text] of cells) for (const cell of "
        "document.querySelectorAll(`.orders tbody td:nth-child(${column})`)) cell.textContent = text; "
        "return document.documentElement.scrollWidth; }",
        [[2, "4611875134427365377"], [4, "BTC-261225-120000-C"]],
    )

    assert width == 390
