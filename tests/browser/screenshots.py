"""`make screenshots`: the pictures of the README, taken from the running product."""

import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import FLAGS, PASSWORD, Firm

SHOTS = Path(__file__).parent / "shots"
DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
WALL = {"width": 1920, "height": 1080}


def main() -> int:
    SHOTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(FLAGS))
        firm = Firm(Path(folder) / "var")
        try:
            take(browser, firm)
        finally:
            firm.stop()
            browser.close()
    return 0


def take(browser: Browser, firm: Firm) -> None:
    page = sign_in(browser, firm)
    expect(page.locator("#stop-scope")).to_contain_text(f"{firm.orders} orders")
    page.screenshot(path=SHOTS / "board.png")
    phone = sign_in(browser, firm, viewport=PHONE)
    phone.screenshot(path=SHOTS / "board-phone.png")
    page.goto(f"{firm.url}/accounts/1/countdowns/")
    expect(page.locator("#countdowns [data-secs]").first).to_contain_text(" s")
    page.screenshot(path=SHOTS / "countdowns.png")
    page.goto(firm.url)
    wall = browser.new_page(viewport=WALL)  # type: ignore[arg-type]
    wall.goto(firm.url + firm.make_wall("floor 2"))
    expect(wall.locator(".hero .word")).to_contain_text("READY", timeout=20_000)
    wall.wait_for_timeout(1500)
    wall.screenshot(path=SHOTS / "wall.png")
    page.locator("#stop button.press").hover()
    page.mouse.down()
    page.wait_for_timeout(1300)
    page.mouse.up()
    page.wait_for_url(re.compile(r"/panics/\d+/$"))
    expect(page.locator("h1.big")).to_contain_text(f"of {firm.orders}")
    page.screenshot(path=SHOTS / "panic-running.png")
    wall.screenshot(path=SHOTS / "wall-panic.png")
    expect(page.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)
    page.wait_for_timeout(1000)
    page.screenshot(path=SHOTS / "panic.png")
    phone.goto(page.url)
    phone.screenshot(path=SHOTS / "panic-phone.png")
    expect(wall.locator(".hero .word")).to_contain_text("LATCHED")
    wall.screenshot(path=SHOTS / "wall-latched.png")
    for name, path in (
        ("history", "/panics/"),
        ("orders", "/panics/1/orders/"),
        ("limits", "/limits/"),
        ("presence", "/presence/"),
        ("account", "/accounts/1/"),
        ("two-steps", "/panics/two-steps/?scope=all"),
    ):
        page.goto(firm.url + path)
        page.screenshot(path=SHOTS / f"{name}.png")


def sign_in(browser: Browser, firm: Firm, viewport: dict[str, int] = DESK) -> Page:
    page = browser.new_context(viewport=viewport).new_page()  # type: ignore[arg-type]
    page.goto(f"{firm.url}/login/")
    page.locator("input[name=username]").fill("risk.desk1")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("input[name=password]").press("Enter")
    page.wait_for_url(f"{firm.url}/")
    page.wait_for_timeout(1500)
    return page


if __name__ == "__main__":
    sys.exit(main())
