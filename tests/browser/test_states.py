"""What a person sees while there is nothing yet, while something loads, and when it does not come."""

import re
from collections.abc import Callable

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Bare, Firm, sign_in
from tests.browser.reverse_proxy import Proxy
from tests.browser.test_board import SHOWN, desk, fill_kestrel
from tests.browser.test_press import HOLD_MS, hold_stop

pytest_plugins = ["tests.browser.reverse_proxy"]

GREY = re.compile(r"\bnotready\b")


def test_fresh_installation_leads_to_the_first_step_and_its_stop_says_that_there_is_nothing(
    chromium: Browser, bare: Bare
) -> None:
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    sign_in(page, bare.url, "admin")
    expect(page.locator("#stop-scope")).to_have_text("no accounts yet · nothing to cancel")
    expect(page.locator("#stop")).to_have_class(GREY)

    hold_stop(page, HOLD_MS)

    expect(page.locator("#refusal")).to_contain_text(
        "There are no accounts yet, so there is nothing to cancel."
    )
    page.locator(".empty .main-act").click()
    page.wait_for_url("**/admin/panicboard/desk/add/")
    page.context.close()


def test_stop_loses_its_colours_while_no_account_is_ready_and_gets_them_back(page: Page, firm: Firm) -> None:
    page.goto(firm.url)
    expect(page.locator("#stop .say")).to_have_text("CANCEL ALL")

    firm.control("POST", "faults", kind="not_done_503b")

    expect(page.locator("#stop .say")).to_have_text("TRY CANCEL ALL", timeout=90_000)
    expect(page.locator("#stop")).to_have_class(GREY)
    expect(page.locator("#stop-scope")).to_contain_text("manage.py panic --all")
    expect(page.locator("#summary dd").first).to_contain_text("\N{EN DASH}")
    firm.control("DELETE", "faults")
    expect(page.locator("#stop .say")).to_have_text("CANCEL ALL", timeout=90_000)
    expect(page.locator("#stop")).not_to_have_class(GREY)


def test_desk_whose_rows_do_not_come_says_so_and_can_be_opened_again(
    signed_in: Callable[..., Page], firm: Firm, proxied: Proxy
) -> None:
    fill_kestrel(firm, 8)
    page = signed_in(url=proxied.url)
    proxied.refused = re.compile(r"/board/rows/")

    desk(page).locator("tr.quiet .more").click()

    expect(desk(page).locator(".said")).to_have_text("NOT LOADED: no answer. Open it again.")
    expect(desk(page).locator("tr.acc")).to_have_count(SHOWN)
    proxied.refused = None
    desk(page).locator("tr.quiet .more").click()
    expect(desk(page).locator("tr.acc")).to_have_count(11)
    expect(desk(page).locator("tr.acc:visible")).to_have_count(11)
    expect(desk(page).locator(".said")).to_have_text("")
    desk(page).locator("tr.quiet .more").click()
    expect(desk(page).locator("tr.acc:visible")).to_have_count(SHOWN)


def test_folded_account_that_has_changed_is_asked_for_until_it_comes(
    signed_in: Callable[..., Page], firm: Firm, proxied: Proxy
) -> None:
    for number in range(3):
        firm.add_account(f"kestrel-{number}")
    firm.wait(lambda: firm.one("SELECT COUNT(*) FROM panicboard_reading WHERE read_at IS NULL") == 0)
    page = signed_in(url=proxied.url)
    folded = desk(page).locator("tr.quiet li:not([hidden])").first.inner_text().split()[0]
    proxied.refused = re.compile(r"/board/rows/")

    firm.control("POST", "faults", kind="key_revoked", account=folded)

    expect(desk(page).locator(".said")).to_contain_text("NOT LOADED", timeout=60_000)
    proxied.refused = None
    expect(desk(page).locator("tr.acc", has_text=folded)).to_be_visible(timeout=20_000)
    expect(desk(page).locator(".said")).to_have_text("")


def test_part_that_asks_for_itself_says_that_it_is_old_until_it_is_not(
    signed_in: Callable[..., Page], firm: Firm, proxied: Proxy
) -> None:
    page = signed_in(url=proxied.url)
    for path, table, part in (
        ("/limits/", "/limits/table/", "#limits"),
        ("/accounts/1/countdowns/", "/countdowns/table/", "#countdowns"),
    ):
        page.goto(proxied.url + path)
        proxied.refused = re.compile(table)
        expect(page.locator(f"{part} .not-read")).to_contain_text("NOT READ since", timeout=20_000)
        proxied.refused = None
        expect(page.locator(f"{part} .not-read")).to_have_count(0, timeout=20_000)


def test_network_that_is_gone_is_said_to_be(page: Page, firm: Firm) -> None:
    page.goto(f"{firm.url}/limits/")

    page.context.set_offline(True)

    expect(page.locator("#limits .not-read")).to_contain_text("the server does not answer", timeout=20_000)
    page.context.set_offline(False)
    expect(page.locator("#limits .not-read")).to_have_count(0, timeout=20_000)


def test_act_that_gets_no_answer_does_not_end_in_silence(page: Page, firm: Firm) -> None:
    page.goto(f"{firm.url}/accounts/1/countdowns/")
    page.context.set_offline(True)

    page.locator("button", has_text="Expect an operator").click()

    expect(page.locator("#refusal")).to_contain_text("NO ANSWER", timeout=20_000)
    page.context.set_offline(False)


def test_viewer_reads_the_board_and_is_told_whom_to_ask(signed_in: Callable[..., Page], firm: Firm) -> None:
    page = signed_in(user="viewer")
    expect(page.locator("#stop")).to_contain_text("VIEW ONLY")
    expect(page.locator("#board tr.acc")).to_have_count(firm.accounts)

    page.goto(f"{firm.url}/panics/two-steps/?scope=all")

    expect(page.locator("main")).to_contain_text("Ask an administrator: admin.")
    page.locator("main a.btn").click()
    page.wait_for_url(f"{firm.url}/")
