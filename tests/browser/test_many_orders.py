"""A panic of a thousand orders, and one of two hundred accounts: all of it, a little at a time."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Firm
from tests.browser.holding import HOLD_MS, hold_stop, press_everything
from tests.browser.test_board import fill_kestrel

ORDERS = 1000
#: So many rows a table of orders has at most, and so many sweeps of many have a row that is not folded away.
A_TABLE, SWEEPS = 100, 30
#: A server that sweeps thousands of orders on two cores takes its time to find some.
SLOW_MS = 20_000
#: Takes down, whenever the page has changed, the most rows that it ever had in its tables of orders.
_MOST_ROWS = """
window.most = 0;
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  const rows = [...document.querySelectorAll(".orders")].map(table => table.tBodies[0].rows.length);
  window.most = Math.max(window.most, ...rows);
}).observe(document.body, { subtree: true, childList: true }));
"""
#: What lies on the books besides the demo's own orders, and on which book no cancel is taken.
SEEDED = {
    "kestrel-mm": ("BTCUSDT", "ETHUSDT"),
    "osprey-trend": ("XRPUSDT", "DOGEUSDT"),
    "finch-grid": ("SUIUSDT", "ARBUSDT"),
}
REFUSED = ("kestrel-mm", "BTCUSDT")


@pytest.fixture
def busy(firm: Firm) -> Firm:
    """A thousand orders more, on six books; those of one book cannot be cancelled."""
    each = ORDERS // sum(map(len, SEEDED.values())) + 1
    for name, symbols in SEEDED.items():
        for symbol in symbols:
            firm.control("POST", "orders", account=name, symbol=symbol, count=each, quiet=True)
    account, symbol = REFUSED
    firm.control("POST", "faults", kind="refuse_cancel", account=account, symbol=symbol)
    firm.orders = firm.open_orders()
    return firm


@pytest.fixture
def in_panic(signed_in: Callable[..., Page], busy: Firm) -> Page:
    """The page of a panic over all of them, when all but the refused ones are gone."""
    page = signed_in([_MOST_ROWS])
    press_everything(page)
    refused = busy.open_orders(*REFUSED)
    assert refused > A_TABLE
    # What went with the first cancels of that account is learnt of when all of it is gone.
    expect(page.locator("h1.big .v")).to_have_text(str(refused), timeout=90_000)
    expect(page.locator("tr.sweep .chip.proof")).to_have_count(busy.accounts - 1, timeout=90_000)
    return page


def rows(page: Page):  # type: ignore[no-untyped-def]
    return page.locator("#found tbody tr")


def field(page: Page, name: str):  # type: ignore[no-untyped-def]
    """What orders are looked for by."""
    return page.locator(f"#find select[name={name}]")


def test_thousand_orders_are_followed_to_the_venues_own_end(in_panic: Page, busy: Firm) -> None:
    refused = in_panic.locator("tr.sweep", has_text=REFUSED[0])
    orders = in_panic.locator(".detail:visible .orders tbody tr")
    expect(refused.locator(".chip.crit")).to_have_text("NOT CLEAR", timeout=60_000)
    expect(orders).to_have_count(A_TABLE)  # the loudest of them
    assert orders.evaluate_all("es => new Set(es.map(e => e.className)).size") == 1
    expect(orders.first).to_have_class("loud o")

    busy.control("DELETE", "faults")

    expect(in_panic.locator("h1.big")).to_have_text(f"0 of {busy.orders:,} still open", timeout=90_000)
    busy.wait_until_clear()
    assert busy.open_orders() == 0
    assert busy.one("SELECT COUNT(*) FROM panicboard_sweptorder") == busy.orders
    assert 0 < in_panic.evaluate("window.most") <= A_TABLE


def test_orders_are_found_on_the_panics_own_page_by_outcome_symbol_and_account(
    in_panic: Page, busy: Firm
) -> None:
    account, refused = REFUSED[0], busy.open_orders(*REFUSED)

    in_panic.locator("#tally a", has_text="STILL OPEN").click()

    caption = in_panic.locator("#found caption")
    expect(caption).to_contain_text(re.compile(rf"^{refused} of"), timeout=SLOW_MS)
    expect(rows(in_panic)).to_have_count(A_TABLE, timeout=SLOW_MS)
    in_panic.locator("#found a", has_text="Further").click()
    expect(rows(in_panic)).to_have_count(refused - A_TABLE, timeout=SLOW_MS)
    field(in_panic, "outcome").select_option("CANCELLED")
    field(in_panic, "account").select_option("osprey-trend")
    field(in_panic, "symbol").select_option("XRPUSDT")
    expect(rows(in_panic).filter(has_text="CANCELLEDosprey-trend")).to_have_count(A_TABLE, timeout=SLOW_MS)
    expect(rows(in_panic).filter(has_text="XRPUSDT")).to_have_count(A_TABLE, timeout=SLOW_MS)
    # What was asked for goes on being asked for.
    field(in_panic, "symbol").select_option("every symbol")
    field(in_panic, "account").select_option(account)
    field(in_panic, "outcome").select_option("STILL OPEN")
    expect(caption).to_contain_text(re.compile(rf"^{refused} of"), timeout=SLOW_MS)
    busy.control("DELETE", "faults")
    expect(caption).to_contain_text(re.compile("^0 of"), timeout=60_000)
    expect(field(in_panic, "account")).to_have_value(account)
    assert in_panic.url.endswith("/panics/1/")
    assert in_panic.evaluate("window.most") <= A_TABLE


def test_sweep_with_more_orders_than_rows_leads_to_them_all(in_panic: Page, busy: Firm) -> None:
    detail = in_panic.locator(".detail:visible")
    total = busy.one(
        "SELECT COUNT(*) FROM panicboard_sweptorder JOIN panicboard_sweep AS sweep ON sweep.id = sweep_id "
        f"JOIN panicboard_account AS account ON account.id = account_id WHERE name = '{REFUSED[0]}'"
    )

    detail.get_by_text(f"find among all {total}").click()

    expect(in_panic.locator("#found caption")).to_contain_text(re.compile(rf"^{total} of"), timeout=SLOW_MS)
    # The loudest first: between a cancel that is refused and the next list they are REJECTED.
    expect(rows(in_panic).first).to_contain_text(re.compile("STILL OPEN|REJECTED"))
    expect(field(in_panic, "account")).to_have_value(REFUSED[0])
    in_panic.locator("#finder summary").click()
    expect(rows(in_panic)).to_have_count(0)


def test_two_hundred_accounts_show_thirty_and_fold_the_others(page: Page, firm: Firm) -> None:
    fill_kestrel(firm, 200)
    hold_stop(page, HOLD_MS)
    firm.wait(lambda: firm.one("SELECT COUNT(*) FROM panicboard_panic"))
    page = page.context.new_page()
    page.goto(f"{firm.url}/panics/1/")
    shown = page.locator("#sweeps tr.sweep:visible")
    everything = firm.accounts + 200

    expect(page.locator("#sweeps tr.sweep")).to_have_count(everything)
    expect(shown).to_have_count(SWEEPS)
    expect(page.locator("#sweeps-rest .rest")).to_contain_text(re.compile(r"\d+ [A-Z]"))

    page.locator("#sweeps-rest .more").click()

    expect(shown).to_have_count(everything)
    page.locator("#sweeps-rest .more").click()
    expect(shown).to_have_count(SWEEPS)
