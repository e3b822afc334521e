"""Countdowns in a real browser, against the running product: armed, watched, run out, whatever clocks say."""

import re
import time
from collections.abc import Callable
from typing import Any

import requests
from playwright.sync_api import Page, expect

from tests.browser.conftest import Firm

#: What the clock of the computer that shows the page is off by, before any of the page's own script runs.
_OFF = """
const off = %d, Real = Date;
Date = class extends Real {
  constructor(...given) { super(...(given.length ? given : [Real.now() + off])); }
  static now() { return Real.now() + off; }
};
"""
OFF_MS = 3000
WITHIN_MS = 100
#: What is left by the bar, in ms and to a thousandth of its length, as soon as that has changed.
_NEXT_PAINTED = """
() => new Promise(done => {
  const shown = () => document.querySelector("#countdowns .timer .left").getAttribute("x2"), was = shown();
  const look = () => {
    const part = shown(), painted = part.includes(".");  // as the server sends it, it is 100%
    if (!painted || part === was) { setTimeout(look, 2); return; }
    done(parseFloat(part) * 10 * document.querySelector("#countdowns .timer").dataset.total);
  };
  look();
})
"""


def countdowns_page(page: Page, firm: Firm) -> int:
    """Go to the countdowns of a USD-M account of which the demo has armed none. Returns the account."""
    account = firm.one(
        "SELECT MIN(a.id) FROM panicboard_account a JOIN panicboard_venue v ON v.id = a.venue_id "
        "WHERE v.adapter = 'binance-usdm' AND a.enabled "
        "AND a.id NOT IN (SELECT account_id FROM panicboard_countdown)"
    )
    page.goto(f"{firm.url}/accounts/{account}/countdowns/")
    return account


def at_venue(firm: Firm, account: int) -> list[dict[str, Any]]:
    """The countdowns of this account that run, by the venue's own word."""
    name = firm.one(f"SELECT name FROM panicboard_account WHERE id = {account}")
    running = requests.get(f"{firm.venue}/simulator/state", timeout=10).json()["countdowns"]
    return [one for one in running if one["account"] == name]


def arm(page: Page, symbols: str, length_s: int, refresh_s: int) -> None:
    page.locator("input[name=scopes]").fill(symbols)
    page.locator("input[name=length_s]").fill(str(length_s))
    page.locator("input[name=refresh_s]").fill(str(refresh_s))
    page.locator("form[action$='/arm/'] button").click()


def shown_late_ms(page: Page, firm: Firm, account: int) -> float:
    """By how much what the page shows is later than the venue's, at moments at which it is painted.

    Where a heartbeat was not told yet it is a refresh earlier for a moment, and where the machine was busy it
    was painted a moment late: of twenty looks, neither the earlier ones nor the two latest.
    """
    looks = []
    for _ in range(20):
        shown_ms = page.evaluate(_NEXT_PAINTED)
        asked = time.monotonic()
        (running,) = at_venue(firm, account)
        # What had passed until the venue looked, half-way between question and answer.
        looks.append(shown_ms - (time.monotonic() - asked) / 2 * 1000 - running["left_ms"])
    return sorted(looks)[-3]


def test_countdown_is_armed_shown_and_disarmed(page: Page, firm: Firm) -> None:
    account = countdowns_page(page, firm)

    arm(page, "BTCUSDT ETHUSDT", length_s=30, refresh_s=5)

    expect(page.locator("#countdowns .tag", has_text="ARMED")).to_have_count(2, timeout=15_000)
    left = page.locator("#countdowns [data-secs]").first
    expect(left).to_have_text(re.compile(r"^(2\d|30)\.\d s$"))
    address = page.url
    page.goto(firm.url)
    cell = page.locator(f"#board a.bearer[href='/accounts/{account}/countdowns/']")
    expect(cell.locator("[data-secs]")).to_have_text(re.compile(r"^(2\d|30)\.\d s$"))
    page.goto(address)
    page.locator("form[action$='/disarm/'] button").click()
    expect(page.locator("#countdowns .tag", has_text="DISARMED")).to_have_count(2, timeout=15_000)
    assert at_venue(firm, account) == []


def test_refusal_is_said_on_the_page_and_nothing_typed_is_lost(page: Page, firm: Firm) -> None:
    countdowns_page(page, firm)

    arm(page, "BTCUSDT", length_s=30, refresh_s=20)

    expect(page.locator("#refusal")).to_contain_text("too seldom for a countdown of 30 s")
    expect(page.locator("input[name=scopes]")).to_have_value("BTCUSDT")
    expect(page.locator("#countdowns")).to_contain_text("none was ever armed")


def test_bar_stops_at_the_last_acknowledged_deadline_when_panicboard_is_gone(page: Page, firm: Firm) -> None:
    countdowns_page(page, firm)
    arm(page, "BTCUSDT", length_s=8, refresh_s=2)
    expect(page.locator("#countdowns .tag", has_text="ARMED")).to_have_count(1, timeout=15_000)

    firm.stop()

    expect(page.locator("#countdowns .timer.passed [data-secs]")).to_have_text(
        "DEADLINE PASSED", timeout=15_000
    )
    expect(page.locator("#countdowns .bar .left")).to_have_attribute("x2", "0.0%")
    expect(page.locator("body")).to_have_class(re.compile("stale"))


def test_no_clock_that_is_off_moves_a_deadline_on_the_screen(
    signed_in: Callable[..., Page], firm: Firm
) -> None:
    page = signed_in()
    account = countdowns_page(page, firm)
    arm(page, "BTCUSDT", length_s=12, refresh_s=2)
    expect(page.locator("#countdowns .tag", has_text="ARMED")).to_have_count(1, timeout=15_000)

    def late_ms(browser_ms: int) -> float:
        """What a browser shows whose clock is so much off."""
        other = signed_in(scripts=[_OFF % browser_ms])
        assert abs(other.evaluate("Date.now()") - time.time() * 1000 - browser_ms) < 1000
        other.goto(page.url)
        expect(other.locator("#countdowns [data-secs]")).to_have_text(re.compile(r"^\d+\.\d s$"))
        return shown_late_ms(other, firm, account)

    true_ms = late_ms(0)
    by_browser = [late_ms(off_ms) for off_ms in (OFF_MS, -OFF_MS)]
    by_server = []
    for off_ms in (OFF_MS, -OFF_MS):
        # The machine's clock against the venue's: it is the same whose of the two is off.
        firm.control("DELETE", "faults")
        firm.control("POST", "faults", kind="clock_skew_ms", venue="binance-usdm", ms=-off_ms)
        armed = f"SELECT runs_from FROM panicboard_countdown WHERE account_id = {account}"
        before = firm.one(armed)
        firm.wait(lambda: firm.one(armed) > before)  # noqa: B023 (it is over when the next one begins)
        by_server.append(late_ms(0))

    assert -WITHIN_MS <= true_ms <= WITHIN_MS
    moved_ms = [one - true_ms for one in by_browser + by_server]
    assert max(map(abs, moved_ms)) <= WITHIN_MS, moved_ms


def test_presence_is_confirmed_on_its_page(page: Page, firm: Firm) -> None:
    account = countdowns_page(page, firm)
    page.locator("form[action$='/operator/'] input[name=silence_s]").fill("60")
    page.locator("form[action$='/operator/'] button").click()
    expect(page.locator("main")).to_contain_text("silent after 60 s")
    page.locator("form[action$='/arm/'] select[name=source]").select_option("operator")
    arm(page, "BTCUSDT", length_s=30, refresh_s=5)
    expect(page.locator("#countdowns .tag", has_text="ARMED")).to_have_count(1, timeout=15_000)
    last_at = f"SELECT last_at FROM panicboard_lifesign WHERE account_id = {account}"
    before = firm.one(last_at)

    page.goto(f"{firm.url}/presence/")
    expect(page.locator("main li")).to_contain_text("too late in")
    page.locator("main form button").click()

    page.wait_for_load_state()
    firm.wait(lambda: firm.one(last_at) > before)
