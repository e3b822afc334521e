"""Keeping protective orders, as a risk manager chooses it: said before the press, and left open by it."""

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Firm

HELD_MS = 900  # an account's stop wants 600
ACCOUNT = "kestrel-arb"


def protective(firm: Firm, account: str = "") -> int:
    accounts = f"SELECT id FROM panicboard_account WHERE name LIKE '{account}%'"
    query = f"SELECT SUM(protective_count) FROM panicboard_reading WHERE account_id IN ({accounts})"
    return int(firm.one(query))


def test_what_is_kept_is_said_on_the_stops_and_stays_open(page: Page, firm: Firm) -> None:
    kept, others = protective(firm, ACCOUNT), firm.open_orders()
    scope, row = page.locator("#stop-scope"), page.locator("tr.acc", has_text=ACCOUNT)
    stop = row.locator(".zone button")
    expect(scope).to_contain_text(f"includes {protective(firm)} protective", use_inner_text=True)

    page.get_by_label("keep protective orders").check()

    expect(page.locator("#stop button.press")).to_contain_text("CANCEL THE REST")
    expect(scope).to_contain_text(f"keeps {protective(firm)} protective", use_inner_text=True)
    expect(stop).to_contain_text("Cancel rest")
    expect(page.locator("#keeping")).to_contain_text("margin orders of Binance Portfolio Margin")
    stop.hover()
    page.mouse.down()
    page.wait_for_timeout(HELD_MS)
    page.mouse.up()
    page.wait_for_url(re.compile(r"/panics/\d+/$"))
    expect(page.locator("#notice")).to_contain_text(f"account {ACCOUNT} but protective orders")
    said = f"NO OPEN ORDERS BUT {kept} PROTECTIVE, KEPT - read back"
    expect(page.locator(".head")).to_contain_text(said, timeout=60_000)
    swept = firm.one("SELECT COUNT(*) FROM panicboard_sweptorder")
    assert kept > 0
    assert firm.open_orders() == others - swept


def test_the_choice_is_forgotten_by_the_next_page(page: Page) -> None:
    page.get_by_label("keep protective orders").check()

    page.reload()

    expect(page.get_by_label("keep protective orders")).not_to_be_checked()
    expect(page.locator("#stop button.press")).to_contain_text("CANCEL ALL")
