"""Presses of one account and of one desk, and what two people press at once."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import RISK_MANAGER, Firm
from tests.browser.holding import clock_stands, press, press_everything, stop_of_account

PANIC = re.compile(r"/panics/\d+/$")


@pytest.fixture
def firm_that_keeps_an_order(firm: Firm) -> Firm:
    """One account's venue refuses to cancel some orders: a panic over it runs on."""
    firm.control("POST", "faults", kind="refuse_cancel", account="kestrel-mm", symbol="BTCUSDT")
    return firm


def test_account_and_desk_stops_cancel_their_own_orders_alone(page: Page, firm: Firm) -> None:
    account, desk = (
        firm.open_orders("finch-grid"),
        firm.open_orders("mumbai-mm") + firm.open_orders("mumbai-momentum"),
    )

    press(page, stop_of_account(page, "finch-grid"))

    expect(page.locator("h1.big")).to_have_text(f"0 of {account} still open", timeout=60_000)
    expect(page.locator(".facts")).to_contain_text("held 0.6 s")
    assert (firm.open_orders("finch-grid"), firm.open_orders()) == (0, firm.orders - account)

    page.goto(firm.url)
    press(page, page.get_by_role("button", name="Cancel all open orders of desk Mumbai"))

    expect(page.locator("h1.big")).to_have_text(f"0 of {desk} still open", timeout=60_000)
    assert firm.open_orders() == firm.orders - account - desk


def test_account_stop_let_go_a_moment_early_sends_nothing(page: Page, firm: Firm) -> None:
    stop = stop_of_account(page, "finch-grid")
    stop.hover()
    with clock_stands(page):
        page.mouse.down()
        page.clock.run_for(599)
        expect(stop).to_have_text("Holding")
        page.mouse.up()

        expect(stop).to_have_text("Not sent")
    assert firm.one("SELECT COUNT(*) FROM panicboard_panic") == 0


def test_two_people_who_press_at_once_share_a_panic_and_the_second_is_told(
    signed_in: Callable[..., Page], firm_that_keeps_an_order: Firm
) -> None:
    firm, people = firm_that_keeps_an_order, {RISK_MANAGER: "admin", "admin": RISK_MANAGER}
    pages = {name: signed_in(user=name) for name in people}

    for page in pages.values():
        page.locator("#stop button.press").hover()
        page.mouse.down()
    for page in pages.values():
        page.wait_for_url(PANIC)
        page.mouse.up()

    told = {name: page.locator("#refusal").inner_text() for name, page in pages.items()}
    (second,) = [name for name, said in told.items() if said]
    assert re.fullmatch(rf"Joined panic 1, begun by {people[second]} at \d\d:\d\d:\d\d\.", told[second])
    assert {page.url for page in pages.values()} == {f"{firm.url}/panics/1/"}
    for page in pages.values():
        expect(page.locator("#panic-1-facts")).to_contain_text(re.compile(rf"joined\s*{re.escape(second)}"))
    # Whoever comes now is told before pressing.
    late = signed_in()
    expect(late.locator("#stop .say")).to_have_text("PANIC RUNNING")
    expect(late.locator("#stop-scope")).to_contain_text(f"panic 1 by {people[second]}")
    firm.control("DELETE", "faults")
    for page in pages.values():
        expect(page.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)


def test_wider_press_takes_over_and_both_pages_say_so(
    signed_in: Callable[..., Page], firm_that_keeps_an_order: Firm
) -> None:
    first, second = signed_in(), signed_in(user="admin")
    press(first, stop_of_account(first, "kestrel-mm"))
    expect(first.locator("tr.sweep .chip.crit")).to_have_text("NOT CLEAR", timeout=30_000)
    expect(second.locator("#stop .say")).to_have_text("CANCEL ALL")

    press_everything(second)

    assert second.url.endswith("/panics/2/")
    expect(first.locator("h1.big")).to_contain_text("left open")
    expect(first.locator(".sweeps tr.sweep")).to_contain_text("HANDED OVER")
    expect(first.locator(".sweeps tr.sweep a[href='/panics/2/']")).to_be_visible()
    row = second.locator(".sweeps tr.sweep", has_text="kestrel-mm")
    expect(row.locator(".chip.crit")).to_have_text("NOT CLEAR", timeout=30_000)
    firm_that_keeps_an_order.control("DELETE", "faults")
    firm_that_keeps_an_order.wait(lambda: firm_that_keeps_an_order.open_orders() == 0)
    expect(second.locator("h1.big")).to_contain_text(re.compile("^0 of"), timeout=60_000)
