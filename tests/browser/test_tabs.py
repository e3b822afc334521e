"""Pages and their stream: many tabs, a proxy that refuses it, a server that comes again."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Firm
from tests.browser.holding import HOLD_MS, hold_stop
from tests.browser.reverse_proxy import STREAM, Proxy
from tests.waiting import until

pytest_plugins = ["tests.browser.reverse_proxy"]

TABS = 10
STALE, NOT_STALE = re.compile(r"\bstale\b"), re.compile(r"^(?!.*\bstale\b)")


def test_ten_tabs_share_a_stream_and_do_not_delay_a_press(
    signed_in: Callable[..., Page], firm: Firm, proxied: Proxy
) -> None:
    first = signed_in(url=proxied.url)
    tabs = [first, *(first.context.new_page() for _ in range(TABS - 1))]
    for number, tab in enumerate(tabs):
        tab.goto(proxied.url if number % 2 else f"{proxied.url}/panics/")
        expect(tab.locator("#summary dd").first).to_contain_text(str(firm.orders))
    until(lambda: proxied.streams, "a stream")

    last = tabs[-1]
    last.bring_to_front()
    hold_stop(last, HOLD_MS)

    last.wait_for_url(re.compile(r"/panics/\d+/$"))
    for tab in tabs:  # each follows it, and is told
        expect(tab.locator("#summary")).to_contain_text("latched")
        expect(tab.locator("#summary dd").first).to_have_text("0", timeout=60_000)
        expect(tab.locator("body")).to_have_class(NOT_STALE)
    expect(last.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)
    until(lambda: proxied.streams == 1, "one stream for all of them")


def test_each_tab_is_sent_its_own_topics(signed_in: Callable[..., Page], firm: Firm, proxied: Proxy) -> None:
    board = signed_in(url=proxied.url)
    hold_stop(board, HOLD_MS)
    board.wait_for_url(re.compile(r"/panics/\d+/$"))
    panic = board.context.new_page()
    panic.goto(board.url)
    board.goto(proxied.url)

    expect(panic.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)
    expect(panic.locator("#notice")).to_contain_text(
        "Orders only: positions are not touched.", timeout=30_000
    )
    expect(board.locator("#notice")).to_contain_text("Worst first inside each desk.")
    expect(board.locator("#board tr.acc", has_text="LATCHED")).to_have_count(firm.accounts, timeout=30_000)


def test_page_whose_browser_shares_no_worker_has_a_stream_of_its_own(
    signed_in: Callable[..., Page], firm: Firm, proxied: Proxy
) -> None:
    page = signed_in(["delete window.SharedWorker;"], url=proxied.url)

    hold_stop(page, HOLD_MS)

    page.wait_for_url(re.compile(r"/panics/\d+/$"))
    expect(page.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)
    assert (proxied.streams, any("/events/poll/" in path for path in proxied.paths)) == (1, False)


def test_page_polls_where_a_proxy_refuses_the_stream_and_comes_back_to_it(
    signed_in: Callable[..., Page], firm: Firm, proxied: Proxy
) -> None:
    proxied.refused = STREAM
    page = signed_in(url=proxied.url)
    hold_stop(page, HOLD_MS)

    page.wait_for_url(re.compile(r"/panics/\d+/$"))
    expect(page.locator("h1.big")).to_have_text(f"0 of {firm.orders} still open", timeout=60_000)
    expect(page.locator("body")).to_have_class(NOT_STALE)
    assert (proxied.streams, any("/events/poll/" in path for path in proxied.paths)) == (0, True)

    proxied.refused = None

    until(lambda: proxied.streams == 1, "the stream")


def test_page_goes_stale_when_the_server_is_gone_and_resumes_when_it_is_back(
    signed_in: Callable[..., Page], firm: Firm, proxied: Proxy
) -> None:
    page = signed_in(url=proxied.url)
    loads: list[str] = []
    page.on("load", lambda _: loads.append(page.url))
    expect(page.locator("body")).to_have_class(NOT_STALE)

    firm.stop()

    expect(page.locator("body")).to_have_class(STALE, timeout=15_000)
    expect(page.locator("#stale .say")).to_contain_text("STALE")
    expect(page.locator("#stop button.press")).to_be_enabled()
    expect(page.locator("body")).to_have_class(re.compile(r"\bdashes\b"), timeout=30_000)
    firm.start()
    proxied.to = firm.url
    expect(page.locator("body")).to_have_class(NOT_STALE, timeout=30_000)
    assert loads == []
