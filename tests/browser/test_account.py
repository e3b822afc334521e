"""The page of one account: orders are chosen and cancelled, by pointer, by keyboard and without a script."""

import re
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Firm

pytest_plugins = ["tests.browser.reverse_proxy"]

HOLD_MS = 900  # a zone's stop wants 600
PANIC = re.compile(r"/panics/\d+/$")
NAME = "kestrel-mm"


def open_account(page: Page, firm: Firm) -> Locator:
    """Open the account's page. Returns the boxes of its orders."""
    page.goto(f"{firm.url}/accounts/1/")
    return page.locator("input[name=order]")


def choose(boxes: Locator, *numbers: int) -> set[str]:
    """Tick these. Returns the orders' ids at the venue."""
    for number in numbers:
        boxes.nth(number).check()
    return {(boxes.nth(number).get_attribute("value") or "").rpartition("|")[2] for number in numbers}


def hold(page: Page) -> None:
    page.locator("#chosen button").hover()
    page.mouse.down()
    page.wait_for_timeout(HOLD_MS)
    page.mouse.up()


def left(firm: Firm) -> set[str]:
    """The account's open orders, by the venue's own book."""
    return {order["order_id"] for order in firm.book(account=NAME)}


def test_chosen_orders_alone_are_cancelled(page: Page, firm: Firm) -> None:
    boxes, before = open_account(page, firm), left(firm)
    chosen = choose(boxes, 0, 2)
    expect(page.locator("#chosen-n")).to_have_text("2")

    hold(page)

    page.wait_for_url(PANIC)
    expect(page.locator("h1.big")).to_have_text("0 of 2 still open", timeout=60_000)
    expect(page.locator("main")).to_contain_text(f"2 chosen orders of account {NAME}")
    assert left(firm) == before - chosen
    assert firm.one("SELECT COUNT(*) FROM panicboard_account WHERE latched_at IS NOT NULL") == 0


def test_orders_are_chosen_and_cancelled_by_keyboard(page: Page, firm: Firm) -> None:
    boxes, before = open_account(page, firm), left(firm)
    boxes.nth(1).focus()
    page.keyboard.press("Space")
    chosen = choose(boxes, 1)

    page.locator("#chosen button").focus()
    page.keyboard.down("Enter")
    page.wait_for_timeout(HOLD_MS)
    page.keyboard.up("Enter")

    page.wait_for_url(PANIC)
    expect(page.locator("h1.big")).to_have_text("0 of 1 still open", timeout=60_000)
    assert left(firm) == before - chosen


def test_orders_are_chosen_and_cancelled_without_a_script(signed_in: Callable[..., Page], firm: Firm) -> None:
    page = signed_in(java_script_enabled=False)
    boxes, before = open_account(page, firm), left(firm)
    expect(page.locator("label.all").first).to_be_hidden()
    chosen = choose(boxes, 0, 3)

    page.locator("#chosen button").click()
    expect(page.locator("h1")).to_contain_text(f"2 chosen orders of account {NAME}")
    page.locator("main button", has_text="Arm").click()
    page.locator("main button", has_text="CONFIRM").click()

    page.wait_for_url(PANIC)
    expect(page.locator("h1.big")).to_have_text("0 of 2 still open", timeout=60_000)
    assert left(firm) == before - chosen


def test_press_with_none_chosen_is_refused_and_says_so(page: Page, firm: Firm) -> None:
    open_account(page, firm)

    hold(page)

    expect(page.locator("#refusal")).to_have_text("No order was chosen. Nothing was cancelled.")
    expect(page.locator("#chosen .say")).to_have_text("Not sent")
    assert firm.one("SELECT COUNT(*) FROM panicboard_panic") == 0
    assert firm.open_orders() == firm.orders


def test_chosen_order_that_is_gone_by_then_is_told_with_what_became_of_it(page: Page, firm: Firm) -> None:
    boxes = open_account(page, firm)
    (order_id,) = choose(boxes, 2)
    firm.control("POST", "fill", account=NAME, order_id=order_id)

    hold(page)

    page.wait_for_url(PANIC)
    expect(page.locator("h1.big")).to_have_text("0 of 1 still open", timeout=60_000)
    expect(page.locator("#tally")).to_contain_text(re.compile(r"FILLED\s*1"))
    assert len(left(firm)) == 31


def test_all_that_is_shown_is_chosen_at_once_and_says_how_many(page: Page, firm: Firm) -> None:
    spec = {"account": NAME, "book": "ordinary", "symbol": "BTCUSDT", "count": 120}
    firm.control("POST", "orders", orders=[spec], quiet=True)
    firm.wait(lambda: firm.one("SELECT open_count FROM panicboard_reading WHERE account_id = 1") == 152)
    open_account(page, firm)
    whole = page.locator("#chosen label.all")
    expect(whole).to_have_text("Choose all 100 of this page (152 in all)")

    page.locator("[data-all-of=BNBUSDT]").check()
    expect(page.locator("#chosen-n")).to_have_text("8")
    whole.locator("input").check()
    expect(page.locator("#chosen-n")).to_have_text("100")
    hold(page)

    page.wait_for_url(PANIC)
    expect(page.locator("h1.big")).to_have_text("0 of 100 still open", timeout=60_000)
    assert len(left(firm)) == 52


def test_page_follows_its_account_and_tells_of_newer_orders(page: Page, firm: Firm) -> None:
    open_account(page, firm)
    expect(page.locator("#account-now")).to_contain_text("ready")

    firm.control("POST", "faults", kind="key_revoked", account=NAME)
    expect(page.locator("#account-now")).to_contain_text("NOT READY", timeout=60_000)
    expect(page.locator("#account-now")).to_contain_text("was 32")
    firm.control("DELETE", "faults")

    expect(page.locator("#account-now")).not_to_contain_text("NOT READY", timeout=60_000)
    page.locator("#account-now .newer a").click()
    expect(page.locator("input[name=order]")).to_have_count(32)
    expect(page.locator("#account-now .newer")).to_be_hidden()
