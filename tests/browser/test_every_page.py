"""What holds on every page: the stop is where it always is, nobody is shut out, motion can be had less of."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Firm, sign_in
from tests.browser.holding import HOLD_MS, hold_stop
from tests.browser.test_drill import begin_drill

PAGES = (
    "/",
    "/panics/",
    "/panics/1/",
    "/panics/1/?record=1",
    "/panics/1/orders/",
    "/panics/two-steps/?scope=all",
    "/accounts/1/",
    "/accounts/1/countdowns/",
    "/limits/",
    "/drills/",
    "/drills/1/",
    "/presence/",
    "/no-such-page/",
)
WITHOUT_LOGIN = ("/login/",)
WIDTHS = {1440: 900, 1024: 768, 390: 844}
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def firm(chromium: Browser, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firm]:
    """A drill and a panic are over, so that every page has something to show; its accounts are latched.

    One for all tests here, which look at it.
    """
    firm = Firm(shutil.copytree(installed, tmp_path_factory.mktemp("firm") / "var"))
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    sign_in(page, firm.url)
    begin_drill(page, firm)
    firm.wait_until_drilled()
    page.goto(firm.url)
    hold_stop(page, HOLD_MS)
    page.wait_for_url("**/panics/1/")
    firm.wait_until_clear()
    page.close()
    yield firm
    firm.stop()


@pytest.fixture(scope="module")
def wall(firm: Firm) -> str:
    """The path of a wall."""
    return firm.make_wall("floor 3")


def test_stop_is_at_the_same_place_on_every_page(signed_in: Callable[..., Page], firm: Firm) -> None:
    for width, height in WIDTHS.items():
        page = signed_in(viewport={"width": width, "height": height})
        places = {}
        for path in PAGES:
            page.goto(firm.url + path)
            button = page.locator("#stop button.press")
            expect(button).to_be_visible()
            places[path] = button.bounding_box()
        first = places[PAGES[0]]
        for path, place in places.items():
            assert all(abs(place[side] - first[side]) <= 1 for side in place), (width, path, place, first)


def test_no_page_is_wider_than_its_screen(signed_in: Callable[..., Page], firm: Firm) -> None:
    for width, height in WIDTHS.items():
        page = signed_in(viewport={"width": width, "height": height})
        wider = {}
        for path in PAGES:
            page.goto(firm.url + path)
            found = page.evaluate("document.documentElement.scrollWidth")
            hidden = page.evaluate(
                "[...document.querySelectorAll('.top > *, .sum dd')]"
                ".filter(e => e.getBoundingClientRect().width > 1)"
                ".filter(e => { const r = e.getBoundingClientRect();"
                " return document.elementFromPoint(r.right - 2, r.top + r.height / 2)?.closest('#stop'); })"
                ".map(e => e.textContent.trim())"
            )
            if found > width or hidden:
                wider[path] = (found, hidden)
        assert wider == {}, (width, wider)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_no_page_shuts_anybody_out(
    signed_in: Callable[..., Page], firm: Firm, wall: str, scheme: str, width: int
) -> None:
    page = signed_in(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)
    found = []
    for path in (*PAGES, wall):
        page.goto(firm.url + path)
        found += violations(page, path)
    page.context.clear_cookies()
    for path in WITHOUT_LOGIN:
        page.goto(firm.url + path)
        found += violations(page, path)

    assert found == [], "\n".join(found)
    # And what does shut somebody out is found.
    page.evaluate("document.documentElement.removeAttribute('lang')")
    assert [one for one in violations(page, "spoilt") if "html-has-lang" in one]


def violations(page: Page, path: str) -> list[str]:
    """What axe finds that is serious: the rule, where, and what is wrong there."""
    page.wait_for_timeout(300)  # the page's script has painted
    results = Axe().run(page).response
    return [
        f"{path}: {one['id']} ({one['help']}) at {node['target']}: {node['failureSummary']}"
        for one in results["violations"]
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def test_whoever_wants_less_motion_gets_none_that_runs_by_itself(
    signed_in: Callable[..., Page], firm: Firm, wall: str
) -> None:
    page = signed_in(reduced_motion="reduce")
    for path in (*PAGES, wall):
        page.goto(firm.url + path)
        running = page.evaluate(
            "document.getAnimations().filter(a => a.playState === 'running').map(a => a.animationName)"
        )
        assert running == [], path
