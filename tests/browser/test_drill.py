"""A drill in a real browser, against the running product: begun by its form, blue wherever it shows."""

import re
from collections.abc import Callable

import requests
from playwright.sync_api import Page, expect

from tests.browser.conftest import Firm

#: What a drill must never be painted in: the colours of the stops and of what is critical.
_REDS_AND_YELLOWS = """
() => {
  const hues = new Set(), parts = [...document.querySelectorAll("#main, #main *, #notice, .env")];
  for (const one of parts) {
    const style = getComputedStyle(one);
    for (const name of ["backgroundColor", "borderTopColor", "color"]) {
      const [red, green, blue, alpha] = style[name].match(/[\\d.]+/g).map(Number);
      if (alpha !== 0 && red > 150 && blue < 80) hues.add(`${one.className}: ${name} ${style[name]}`);
    }
  }
  return [...hues];
}
"""


def begin_drill(page: Page, firm: Firm) -> str:
    """Begin a drill of everything by its form. Returns the path of its page."""
    page.goto(f"{firm.url}/drills/")
    page.locator("input[name=reason]").fill("before the weekend")
    page.locator(".drillbtn").click()
    page.wait_for_url(re.compile(r"/drills/\d+/$"))
    return page.url.removeprefix(firm.url)


def cancels(firm: Firm) -> list[str]:
    """The requests that no reading makes, by the venues' own log, countdowns left out."""
    log = requests.get(f"{firm.venue}/simulator/log", params={"since": "0"}, timeout=30).json()["requests"]
    return [
        f"{call['method']} {call['path']}"
        for call in log
        if call["method"] != "GET" and not re.search(r"/countdownCancelAll|/orders/open$", call["path"])
    ]


def test_drill_reads_everything_and_says_drill_wherever_it_shows(
    signed_in: Callable[..., Page], page: Page, firm: Firm
) -> None:
    board = signed_in()
    wall = signed_in(viewport={"width": 1920, "height": 1080})
    wall.goto(firm.url + firm.make_wall("floor 3"))
    firm.control(
        "POST", "faults", kind="hang", path="/papi/v1/um/openOrders", seconds=3
    )  # so that it can be seen

    path = begin_drill(page, firm)
    number = path.split("/")[2]

    expect(board.locator("#notice.drill")).to_contain_text(f"DRILL {number}")
    expect(board.locator(".env")).to_have_text("SIMULATED VENUES")
    expect(wall.locator("#wall-env.drill")).to_have_text(f"DRILL {number}, SIMULATED")
    expect(page).to_have_title(re.compile(rf"^DRILL {number}: \d+ of {firm.accounts} read"))
    expect(page.locator(".env")).to_have_text(f"DRILL {number}, SIMULATED VENUES")
    expect(page.locator("#notice.drill .say")).to_have_text(f"DRILL {number}")
    firm.control("DELETE", "faults")
    clear = page.locator(".drillhead .chip", has_text="DRILL CLEAR")
    expect(clear).to_be_visible(timeout=120_000)
    expect(page.locator(".drilled .drillchip", has_text="DRILL CLEAR")).to_have_count(firm.accounts)
    expect(page.locator("#main")).to_contain_text(f"{firm.orders} orders")
    expect(board.locator("#notice.drill")).to_have_count(0)
    expect(wall.locator("#wall-env")).to_have_text("SIMULATED VENUES")
    assert page.evaluate(_REDS_AND_YELLOWS) == []
    assert (page.locator("[data-hold]").count(), page.locator(".zone, .stopcell").count()) == (1, 0)
    expect(page.locator("#stop button.press")).to_be_visible()
    assert (cancels(firm), firm.open_orders()) == ([], firm.orders)


def test_stop_stays_real_on_the_page_of_a_drill(page: Page, firm: Firm) -> None:
    begin_drill(page, firm)
    page.locator("#stop button.press").hover()
    page.mouse.down()
    page.wait_for_timeout(1300)
    page.mouse.up()

    page.wait_for_url(re.compile(r"/panics/\d+/$"))
    firm.wait_until_clear()
    assert firm.open_orders() == 0
