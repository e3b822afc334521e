"""The board in a real browser: accounts that are folded away, and come when there is something to see."""

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Firm

#: A desk shows so many rows while nothing is the matter; the demo's Kestrel gets more.
SHOWN = 4


def fill_kestrel(firm: Firm, count: int) -> None:
    """So many more accounts of one desk, as its market maker is and as that was last read."""
    with firm.writing() as database:

        def copied(table: str, *but: str) -> str:
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            return ", ".join(name for name in columns if name not in ("id", *but))

        like = "(SELECT id FROM panicboard_account WHERE name = 'kestrel-mm')"
        fields, read = (
            copied("panicboard_account", "name"),
            copied("panicboard_reading", "account_id", "due_at"),
        )
        for number in range(count):
            database.execute(
                f"INSERT INTO panicboard_account (name, {fields}) "
                f"SELECT 'kestrel-{number:03}', {fields} FROM panicboard_account WHERE id = {like}"
            )
            database.execute(
                f"INSERT INTO panicboard_reading (account_id, due_at, {read}) "
                f"SELECT last_insert_rowid(), '2999-01-01', {read} FROM panicboard_reading "
                f"WHERE account_id = {like}"
            )


def desk(page: Page):  # type: ignore[no-untyped-def]
    return page.locator("tbody", has=page.locator("tr.deskrow", has_text="Kestrel"))


def test_folded_accounts_come_when_their_desk_is_opened_and_can_be_pressed(page: Page, firm: Firm) -> None:
    fill_kestrel(firm, 8)
    page.goto(firm.url)
    rows = desk(page).locator("tr.acc")
    expect(rows).to_have_count(SHOWN)
    expect(desk(page).locator(".quiet-n")).to_have_text("7")

    desk(page).locator("tr.quiet .more").click()

    expect(rows).to_have_count(11)
    expect(rows.last).to_be_visible()
    stop = rows.last.locator("form.zone button")
    stop.hover()
    page.mouse.down()
    page.wait_for_timeout(900)
    page.mouse.up()
    page.wait_for_url(re.compile(r"/panics/\d+/$"))


def test_folded_account_that_needs_somebody_comes_by_itself(page: Page, firm: Firm) -> None:
    fill_kestrel(firm, 8)
    page.goto(firm.url)
    expect(desk(page).locator("tr.acc")).to_have_count(SHOWN)
    folded = desk(page).locator("tr.quiet li:not([hidden])").first.inner_text().split()[0]

    with firm.writing() as database:
        database.execute(
            "UPDATE panicboard_reading SET failure = 'HTTP 401', failing_since = read_at, "
            "due_at = '2999-01-01' WHERE account_id = (SELECT id FROM panicboard_account WHERE name = ?)",
            [folded],
        )

    row = desk(page).locator("tr.acc", has_text=folded)
    expect(row).to_be_visible(timeout=15_000)
    expect(row).to_contain_text("NOT READY")
