"""Pages whose server stands still, is killed, or knows their login no more."""

import os
import re
import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Firm, fill_in_login
from tests.browser.holding import HOLD_MS, SHORT_HOLD_MS, hold, hold_stop, press, stop_of_account

STALE, NOT_STALE = re.compile(r"\bstale\b"), re.compile(r"^(?!.*\bstale\b)")
DASHES, NO_DASHES = re.compile(r"\bdashes\b"), re.compile(r"^(?!.*\bdashes\b)")
PANIC = re.compile(r"/panics/\d+/$")
DASH = '"\u2013"'
#: What stands over each value, and over the count of each stop, where the page withholds them.
_SHOWN = "es => [...new Set(es.map(e => getComputedStyle(e, '::after').content))]"


@pytest.fixture
def pages(signed_in: Callable[..., Page], firm: Firm) -> tuple[Page, Page]:
    """The board, and the page of a panic that runs on: one account's venue refuses to cancel some orders."""
    firm.control("POST", "faults", kind="refuse_cancel", account="kestrel-mm", symbol="BTCUSDT")
    board, panic = signed_in(), signed_in()
    press(panic, stop_of_account(panic, "kestrel-mm"))
    expect(panic.locator("tr.sweep .chip.crit")).to_have_text("NOT CLEAR", timeout=30_000)
    for page in (board, panic):
        page.evaluate("window.same = true")  # gone with the page, should it be loaded again
    return board, panic


@pytest.fixture
def frozen(firm: Firm, pages: tuple[Page, Page]) -> Iterator[int]:
    """The web process, which stands still: nothing is refused, and nothing comes."""
    web = firm.web()
    os.kill(web, signal.SIGSTOP)
    yield web
    os.kill(web, signal.SIGCONT)


def test_silent_server_makes_pages_stale_then_withholds_values_and_they_resume(
    firm: Firm, pages: tuple[Page, Page], frozen: int
) -> None:
    board, panic = pages
    for page in pages:
        expect(page.locator("body")).to_have_class(STALE, timeout=15_000)
        expect(page.locator("body")).to_have_class(NO_DASHES)
        expect(page.locator("#stale .say")).to_have_text(re.compile(r"^STALE \d+ s$"))
        expect(page.locator("#stop-stale")).to_contain_text("order count unknown")
    for page in pages:
        expect(page.locator("body")).to_have_class(DASHES, timeout=30_000)
        expect(page.locator("#stop button.press")).to_be_enabled()
        assert page.locator("#summary .v").evaluate_all(_SHOWN) == [DASH]
    assert board.locator("form.zone .n").evaluate_all(_SHOWN) == ['"?"']
    assert panic.locator("h1.big .v, .sweeps .v").evaluate_all(_SHOWN) == [DASH]

    os.kill(frozen, signal.SIGCONT)

    for page in pages:
        expect(page.locator("body")).to_have_class(NOT_STALE, timeout=30_000)
        assert page.locator("#summary .v").evaluate_all(_SHOWN) == ["none"]
        assert page.evaluate("window.same")
    firm.control("DELETE", "faults")
    expect(panic.locator("h1.big .v")).to_have_text("0", timeout=60_000)


def test_press_of_a_stale_page_arrives_when_the_server_moves_again(
    firm: Firm, pages: tuple[Page, Page], frozen: int
) -> None:
    board, _ = pages
    expect(board.locator("body")).to_have_class(STALE, timeout=15_000)

    hold_stop(board, HOLD_MS)

    expect(board.locator("#stop .say")).to_have_text("SENT")
    os.kill(frozen, signal.SIGCONT)
    board.wait_for_url(f"{firm.url}/panics/2/")
    firm.control("DELETE", "faults")
    expect(board.locator("h1.big")).to_contain_text(re.compile("^0 of"), timeout=60_000)


def test_killed_server_comes_again_and_its_pages_resume_by_themselves(
    firm: Firm, pages: tuple[Page, Page]
) -> None:
    board, panic = pages
    killed = firm.web()

    os.kill(killed, signal.SIGKILL)

    firm.wait(lambda: firm.web() != killed)
    firm.control("DELETE", "faults")  # what happens from now on is known to the new one alone
    expect(panic.locator("h1.big .v")).to_have_text("0", timeout=60_000)
    expect(board.locator("tr.acc", has_text="kestrel-mm")).to_contain_text("LATCHED", timeout=60_000)
    for page in pages:
        expect(page.locator("body")).to_have_class(NOT_STALE, timeout=30_000)
        assert page.evaluate("window.same")


def test_ended_login_is_said_and_a_press_is_taken_up_again_after_signing_in(
    pages: tuple[Page, Page], firm: Firm
) -> None:
    board, panic = pages
    mine, before = firm.open_orders("finch-grid"), firm.open_orders()
    firm.end_every_login()
    for page in pages:
        expect(page.locator("#stale .say")).to_have_text("SIGNED OUT", timeout=30_000)
        expect(page.locator("#stale p").last).to_contain_text("it asks you to sign in, then to confirm")

    hold(board, stop_of_account(board, "finch-grid"), SHORT_HOLD_MS)
    board.wait_for_url(re.compile("/login/"))
    expect(board.get_by_role("alert")).to_contain_text("NOT SENT - your login had expired.")
    fill_in_login(board)
    board.wait_for_url(re.compile("/panics/two-steps/"))
    expect(board.locator("h1")).to_have_text("Cancel the open orders of account finch-grid")
    expect(board.locator("main [role=alert]")).to_have_text("NOT SENT - your login had expired.")
    assert (firm.open_orders(), firm.one("SELECT COUNT(*) FROM panicboard_panic")) == (before, 1)
    press(board, board.locator("main form.zone button"))
    expect(board.locator("h1.big")).to_have_text(f"0 of {mine} still open", timeout=60_000)

    hold_stop(panic, HOLD_MS)
    panic.wait_for_url(re.compile("/login/"))
    fill_in_login(panic)
    panic.wait_for_url(re.compile("/panics/two-steps/"))
    expect(panic.locator("h1")).to_have_text("Cancel the open orders of everything")
    panic.get_by_role("button", name="Arm").click()
    panic.get_by_role("button", name="CONFIRM").click()
    panic.wait_for_url(f"{firm.url}/panics/3/")
