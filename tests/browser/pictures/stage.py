"""How states are brought about: by what a person does, by the venues' faults, by processes that stand still.

Whatever has to be undone is, when its play is over.
"""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing

from playwright.sync_api import Page, expect

from tests.browser.conftest import Firm
from tests.browser.pictures.camera import PATIENCE_MS, PEOPLE, Studio

Act = Callable[[Studio], None]
#: A global stop wants 1,000 ms.
HOLD_MS = 1300


def firm_of(studio: Studio) -> Firm:
    assert isinstance(studio.firm, Firm)
    return studio.firm


def every(*acts: Act) -> Act:
    """One after the other."""

    def bring(studio: Studio) -> None:
        for act in acts:
            act(studio)

    return bring


# What people do.


def press(studio: Studio) -> None:
    """A risk manager holds the global stop; the panic's page is then before every width's reader."""
    page = studio.page("risk.desk1", PEOPLE[0])
    page.goto(studio.firm.url)
    expect(page.locator("#stop-scope")).to_contain_text("order")
    hold(page, "#stop button.press")
    page.wait_for_url(re.compile(r"/panics/\d+/$"))
    studio.known["panic"] = page.url.rstrip("/").rpartition("/")[2]


def hold(page: Page, selector: str) -> None:
    page.locator(selector).first.hover()
    page.mouse.down()
    page.wait_for_timeout(HOLD_MS)
    page.mouse.up()


def hold_until_joined(page: Page) -> None:
    hold(page, "#stop button.press")
    expect(page.locator("#refusal")).to_contain_text("Joined panic", timeout=PATIENCE_MS)


def let_go_early(page: Page) -> None:
    page.locator("#stop button.press").hover()
    page.mouse.down()
    page.wait_for_timeout(400)
    page.mouse.up()
    expect(page.locator("#stop .say")).to_have_text("NOT SENT")


def open_quiet(page: Page) -> None:
    desk = page.locator("tbody", has=page.locator("tr.deskrow", has_text="Kestrel"))
    desk.locator("tr.quiet .more").click()
    expect(desk.locator("tr.acc:visible")).to_have_count(11, timeout=PATIENCE_MS)


def to_the_foot(page: Page) -> None:
    page.evaluate("scrollTo(0, document.body.scrollHeight)")


def wrong_password(page: Page) -> None:
    page.locator("input[name=username]").fill("risk.desk1")
    page.locator("input[name=password]").fill("a wrong one")
    page.locator("input[name=password]").press("Enter")
    expect(page.locator(".err")).to_be_visible()


def arm_two_steps(page: Page) -> None:
    page.locator("main button", has_text="Arm").click()
    expect(page.locator("main button")).to_contain_text("CONFIRM")


def open_release(page: Page) -> None:
    page.locator("#release summary").click()
    page.locator("#release").scroll_into_view_if_needed()


def choose_orders(page: Page) -> None:
    for number in (0, 2):
        page.locator("input[name=order]").nth(number).check()


def cancel_nothing_chosen(page: Page) -> None:
    hold(page, "#chosen button")
    expect(page.locator("#refusal")).to_contain_text("No order was chosen")


def cut_off(page: Page) -> None:
    """The network is gone; what the page asks for fails from now on."""
    page.context.set_offline(True)


def cut_off_and_find(page: Page) -> None:
    cut_off(page)
    page.locator("select[name=outcome]").select_option(index=1)
    expect(page.locator("#refusal")).to_contain_text("NO ANSWER", timeout=PATIENCE_MS)
    page.context.set_offline(False)


# Walls and accounts, in the admin.


def make_wall(studio: Studio) -> None:
    studio.known["wall"] = firm_of(studio).make_wall("floor 2")


def revoke_wall(studio: Studio) -> None:
    firm_of(studio).revoke_wall("floor 2")


def add_accounts(count: int) -> Act:
    """So many more accounts of the first desk, read as the others are."""

    def bring(studio: Studio) -> None:
        firm = firm_of(studio)
        for number in range(count):
            firm.add_account(f"kestrel-{number:02}")
        firm.wait(lambda: firm.one("SELECT COUNT(*) FROM panicboard_reading WHERE read_at IS NULL") == 0)

    return bring


def add_unread_account(studio: Studio) -> None:
    """An account that is new while nobody reads."""
    freeze("-Q background")(studio)
    firm_of(studio).add_account("kestrel-new")


def seed_orders(account: str, symbol: str, count: int) -> Act:
    def bring(studio: Studio) -> None:
        firm = firm_of(studio)
        seeded = {"account": account, "symbol": symbol, "count": count, "book": "ordinary"}
        firm.control("POST", "orders", orders=[seeded], quiet=True)
        known = f"SELECT open_count FROM panicboard_reading WHERE account_id = ({_pk(account)})"
        firm.wait(lambda: firm.one(known) >= count)
        studio.known["many"] = str(firm.one(_pk(account)))

    return bring


def _pk(account: str) -> str:
    return f"SELECT id FROM panicboard_account WHERE name = '{account}'"


# What venues and machines do.


def slow_venues(ms: int) -> Act:
    return lambda studio: firm_of(studio).control("POST", "latency", fixed_ms=ms)


def fault(kind: str, **where: object) -> Act:
    return lambda studio: firm_of(studio).control("POST", "faults", kind=kind, **where)


def no_faults(studio: Studio) -> None:
    firm_of(studio).control("DELETE", "faults")


def unreadable(*accounts: str) -> Act:
    """Wait until these accounts are known not to be readable."""

    def bring(studio: Studio) -> None:
        names = ", ".join(f"'{name}'" for name in accounts)
        failing = (
            "SELECT COUNT(*) FROM panicboard_reading JOIN panicboard_account ON account_id = "
            f"panicboard_account.id WHERE failure != '' AND name IN ({names})"
        )
        studio.firm.wait(lambda: studio.firm.one(failing) == len(accounts))

    return bring


def all_unreadable(studio: Studio) -> None:
    studio.firm.wait(
        lambda: studio.firm.one("SELECT COUNT(*) FROM panicboard_reading WHERE failure = ''") == 0
    )


def freeze(what: str) -> Act:
    """Its processes stand still until the play is over or `thaw`."""

    def bring(studio: Studio) -> None:
        held = studio.firm.frozen(what)
        held.__enter__()
        studio.undo.append(lambda: held.__exit__(None, None, None))

    return bring


def thaw(studio: Studio) -> None:
    while studio.undo:
        studio.undo.pop()()


def behind(path: str, *, s: int) -> Act:
    """Every reader has this page open while the server says nothing for so long."""

    def bring(studio: Studio) -> None:
        for width in PEOPLE:
            page = studio.page("risk.desk1", width)
            page.goto(studio.firm.url + path)
            expect(page.locator("body")).not_to_have_class(re.compile("stale"))
        freeze("uvicorn")(studio)
        for width in PEOPLE:
            expect(studio.page("risk.desk1", width).locator("#stale .say")).to_contain_text(
                re.compile(rf"STALE ([{s}-9]|\d\d)"), timeout=PATIENCE_MS
            )

    return bring


def wall_is_up(studio: Studio) -> None:
    page = studio.page("", 1920)
    page.goto(studio.firm.url + studio.known["wall"])
    expect(page.locator("body")).not_to_have_class(re.compile("stale"))


def spoil_reading(studio: Studio) -> None:
    """What one account's reading holds is no list of orders any more: its page fails."""
    with closing(sqlite3.connect(studio.firm.database, timeout=20)) as database:
        database.execute(
            "UPDATE panicboard_reading SET orders = '[7]', due_at = '2999-01-01' WHERE account_id = 2"
        )
        database.commit()


def lose_database(studio: Studio) -> None:
    studio.firm.lose_database()


def sign_everybody_in(studio: Studio) -> None:
    """While one still can."""
    for width in PEOPLE:
        studio.page("risk.desk1", width)


def countdown(*arguments: str) -> Act:
    """`manage.py countdown ...`."""
    return lambda studio: print(studio.firm.manage("countdown", *arguments))


def administrator(studio: Studio) -> None:
    studio.firm.make_administrator()


def until_clear(studio: Studio) -> None:
    firm_of(studio).wait_until_clear()


def until_over(studio: Studio) -> None:
    """Whatever runs ends, and is released."""
    firm_of(studio).wait_until_clear()
    studio.firm.manage("release", "--all", "--reason", "the pictures go on")


def expect_operator(studio: Studio) -> None:
    """Somebody's presence is asked for, on one account's page of countdowns."""
    page = studio.page("risk.desk1", PEOPLE[0])
    page.goto(f"{studio.firm.url}/accounts/2/countdowns/")
    page.locator("button", has_text="Expect an operator").click()
    expect(page.locator("#refusal")).to_contain_text("Presence is to be confirmed")
