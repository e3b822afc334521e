"""The pages and what is posted from them, without a browser."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.db import connection
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from panicboard import credentials, pools, readings
from panicboard.budgets import AccountBudget, Work
from panicboard.forms import PressForm
from panicboard.fragments import Renderer, Topic
from panicboard.middleware import POLICY
from panicboard.models import Account, AuditEntry, Egress, Panic, Sweep, SweptOrder, VenueCall
from panicboard.templatetags import show
from panicboard.venues import VENUES
from panicboard.venues.base import Order, OrderState
from panicboard.views import csrf_failure, server_error
from tests import database
from tests.pages import (
    PRESSED_AT,
    after,
    latch,
    make_account,
    make_canary_run,
    make_drill,
    make_orders,
    make_panic,
    make_reading,
    make_sweep,
    make_user,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("broker", "plain_static_files"),
]
State = Sweep.State
Outcome = SweptOrder.Outcome


@pytest.fixture
def user() -> User:
    return make_user()


@pytest.fixture
def browser(client: Client, user: User) -> Client:
    """A risk manager's browser, signed in."""
    client.force_login(user)
    return client


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(make_user("viewer", "viewers"))
    return client


class Markup(HTMLParser):
    """What a policy of our own files only would refuse, and every id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.refused: list[str] = []
        self.ids: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.ids += [str(names["id"])] if "id" in names else []
        inline = [name for name in names if name == "style" or name.startswith("on")]
        if inline or tag == "style" or (tag == "script" and "src" not in names):
            self.refused.append(self.get_starttag_text() or tag)


def text(response: object) -> str:
    return response.content.decode()  # type: ignore[attr-defined]


# ---- who may see what ----


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/accounts/1/",
        "/drills/",
        "/drills/1/",
        "/limits/",
        "/panics/",
        "/panics/1/",
        "/panics/1/record.json",
        "/panics/two-steps/?scope=all",
    ],
)
def test_every_page_asks_for_a_login(client: Client, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 302
    assert urlsplit(response["Location"]).path == "/login/"


def test_login_leads_back_and_logout_leads_out(client: Client, user: User) -> None:
    make_panic(make_account())

    entered = client.post(
        "/login/?next=/panics/", {"username": "risk.desk1", "password": "open sesame", "next": "/panics/"}
    )
    left = client.post("/logout/")

    assert (entered["Location"], left["Location"]) == ("/panics/", "/login/")
    assert client.get("/").status_code == 302


def test_login_refused_says_so_and_shows_no_number(client: Client) -> None:
    make_reading(make_account(), 1284)

    page = text(client.post("/login/", {"username": "x", "password": "y"}))

    assert "This user name and password do not match." in page
    assert "1,284" not in page


def test_a_page_that_is_not_there_tells_strangers_nothing(client: Client) -> None:
    make_reading(make_account(), 1284)

    page = client.get("/nope/")

    assert page.status_code == 404
    assert "1,284" not in text(page)


# ---- the board ----


def test_board_shows_every_account_and_its_stop(browser: Client) -> None:
    one, two = make_account("one"), make_account("two", desk="options")
    make_reading(one, 62)

    page = text(browser.get("/"))

    assert re.findall(r'<input type="hidden" name="account" value="(\d+)">', page) == [
        str(one.pk),
        str(two.pk),
    ]
    assert re.findall(r'<input type="hidden" name="desk" value="(\w+)">', page) == ["delta", "options"]
    assert (
        'id="stop-scope" data-accounts="2" data-orders="62"><span><span class="all">62 orders</span>'
        '<span class="rest">62 orders</span> &middot; 2 accounts (1 unread) &middot; ' in page
    )


def test_board_without_accounts_says_what_to_do(browser: Client) -> None:
    page = text(browser.get("/"))

    assert "No accounts yet" in page
    assert "no accounts yet &middot; nothing to cancel" in page


def test_board_shows_the_folded_accounts_of_a_desk_when_asked(browser: Client) -> None:
    for number in range(6):
        make_reading(make_account(f"quiet-{number}"), number, read_at=timezone.now())

    folded, unfolded = text(browser.get("/")), text(browser.get("/?desk=delta&all=1"))

    assert [account_rows(page) for page in (folded, unfolded)] == [
        ["quiet-5", "quiet-4", "quiet-3", "quiet-2"],
        ["quiet-5", "quiet-4", "quiet-3", "quiet-2", "quiet-1", "quiet-0"],
    ]
    named = re.findall(r'<li id="quiet-\d+">(quiet-\d) <b class="v" id="account-\d+-quiet">(\d)</b>', folded)
    assert named == [("quiet-1", "1"), ("quiet-0", "0")]


def account_rows(page: str) -> list[str]:
    """The accounts that have a row, by name."""
    rows = re.findall(r'<tr class="acc".*?</tr>', page, re.DOTALL)
    return [re.findall(r'data-name="([^"]+)"', row)[0] for row in rows]


def test_rows_that_were_left_out_come_when_they_are_asked_for(browser: Client) -> None:
    for number in range(6):
        make_reading(make_account(f"quiet-{number}"), number, read_at=timezone.now())
    other = make_account("other", desk="options")
    zero = Account.objects.get(name="quiet-0")

    one = text(browser.get(f"/board/rows/?account={zero.pk}&account=nonsense"))
    desk = text(browser.get(f"/board/rows/?desk={zero.desk_id}&account={other.pk}"))

    assert account_rows(one) == ["quiet-0"]
    assert re.findall(r'<input type="hidden" name="account" value="(\d+)">', one) == [str(zero.pk)]
    assert len(account_rows(desk)) == 7
    assert Client().get("/board/rows/").status_code == 401


def test_board_costs_no_query_more_with_thirty_accounts(browser: Client) -> None:
    def fill(count: int) -> int:
        for number in range(count):
            make_reading(make_account(f"{count}-{number}", desk=f"desk-{number % 3}"), 3)
        with CaptureQueriesContext(connection) as queries:
            browser.get("/")
        return len(queries)

    assert fill(1) == fill(29)


def test_a_viewer_sees_the_board_and_no_button_to_press(viewer: Client) -> None:
    make_reading(make_account(), 62)

    page = text(viewer.get("/"))

    assert "VIEW ONLY" in page
    assert "data-hold" not in page


# ---- pressing ----


def test_press_starts_a_panic_and_leads_to_it(browser: Client, user: User) -> None:
    account = make_account()

    response = browser.post("/panics/", {"scope": "account", "account": account.pk, "held_ms": "612"})

    panic = Panic.objects.get()
    assert (response.status_code, response["Location"]) == (303, f"/panics/{panic.pk}/")
    assert (panic.scope, panic.account, panic.pressed_by, panic.held_ms) == ("account", account, user, 612)
    assert panic.pressed_via == Panic.Via.BOARD


def test_press_by_htmx_is_told_where_to_go(browser: Client) -> None:
    make_account()

    response = browser.post("/panics/", {"scope": "all", "held_ms": "1004"}, headers={"HX-Request": "true"})

    assert (response.status_code, response["HX-Redirect"]) == (200, f"/panics/{Panic.objects.get().pk}/")


def test_press_of_what_runs_joins_it_and_says_who_began(browser: Client) -> None:
    make_account()
    browser.post("/panics/", {"scope": "all", "held_ms": "1004"})

    page = text(browser.post("/panics/", {"scope": "all", "held_ms": "1100"}, follow=True))

    panic = Panic.objects.get()
    assert f"Joined panic {panic.pk}, begun by risk.desk1 at {panic.pressed_at:%H:%M:%S}." in page


def test_press_that_was_not_held_waits_for_its_confirmation(browser: Client) -> None:
    make_account()

    response = browser.post("/panics/", {"scope": "all"})

    assert (response.status_code, response["Location"]) == (303, "/panics/two-steps/?scope=all&because=held")
    assert not Panic.objects.exists()


def test_press_in_two_steps(browser: Client) -> None:
    account = make_account()
    scope = {"scope": "account", "account": str(account.pk)}

    first = text(browser.get("/panics/two-steps/", scope))
    second = text(browser.post("/panics/two-steps/", scope))
    token = re.search(r'name="armed" value="([^"]+)"', second)
    assert token
    response = browser.post("/panics/", {**scope, "armed": token[1]})

    assert (
        ">Arm, to be confirmed within 10 s</button>" in first,
        "CONFIRM: cancel account alpha" in second,
    ) == (True, True)
    assert response["Location"] == f"/panics/{Panic.objects.get().pk}/"
    assert Panic.objects.get().held_ms is None


def test_press_armed_too_long_ago_is_armed_again(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_account()
    token = re.search(
        r'name="armed" value="([^"]+)"', text(browser.post("/panics/two-steps/", {"scope": "all"}))
    )
    assert token
    now = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + 11)

    page = text(browser.post("/panics/", {"scope": "all", "armed": token[1]}, follow=True))

    assert "NOT SENT - it was armed more than 10 s ago. Arm it again." in page
    assert not Panic.objects.exists()


@pytest.mark.parametrize("htmx", [False, True])
def test_press_with_an_expired_login_is_taken_up_after_signing_in(
    client: Client, user: User, htmx: bool
) -> None:
    account = make_account()
    headers = {"HX-Request": "true"} if htmx else {}

    sent = client.post(
        "/panics/", {"scope": "account", "account": account.pk, "held_ms": "612"}, headers=headers
    )
    url = sent["HX-Redirect" if htmx else "Location"]
    asked = text(client.get(url))
    to = parse_qs(urlsplit(url).query)["next"][0]
    page = text(
        client.post(
            "/login/", {"username": user.username, "password": "open sesame", "next": to}, follow=True
        )
    )

    assert "NOT SENT - your login had expired. Sign in" in asked
    assert "NOT SENT - your login had expired." in page
    assert f'name="account" value="{account.pk}"' in page
    assert not Panic.objects.exists()


def test_press_without_the_right_is_refused(viewer: Client) -> None:
    make_account()

    response = viewer.post("/panics/", {"scope": "all", "held_ms": "1004"}, headers={"HX-Request": "true"})

    assert (response.status_code, text(response).strip().splitlines()[-1]) == (
        403,
        '<p class="refused">NOT SENT - viewer has no right to press.</p>',
    )
    assert not Panic.objects.exists()


def test_press_of_a_wrong_scope_is_refused_with_a_sentence(browser: Client) -> None:
    page = browser.post("/panics/", {"scope": "desk", "desk": "nope", "held_ms": "612"})

    assert page.status_code == 422
    assert "There is no desk &#x27;nope&#x27;. Nothing was cancelled." in text(page)
    assert 'id="stop"' in text(page)


def test_press_of_nothing_but_disabled_accounts_says_so(browser: Client) -> None:
    make_account("old", enabled=False)

    page = browser.post("/panics/", {"scope": "all", "held_ms": "1004"})

    assert page.status_code == 422
    assert "disabled, so nothing was cancelled (old)" in text(page)


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}], ids=["page", "htmx"])
def test_press_that_the_database_does_not_take_is_refused_loudly(
    browser: Client, read_only: Callable[[], None], headers: dict[str, str]
) -> None:
    make_account()
    read_only()

    reply = browser.post("/panics/", {"scope": "all", "held_ms": "1004"}, headers=headers)

    assert reply.status_code == 422  # the status whose words a page shows
    assert f"NOT SENT - the database does not take this press ({database.refusal()})" in text(reply)
    assert "manage.py panic --break-glass FILE" in text(reply)
    assert not Panic.objects.exists()


def test_press_from_a_page_older_than_the_login_is_confirmed_not_lost(user: User) -> None:
    request = RequestFactory().post("/panics/", {"scope": "desk", "desk": "delta", "held_ms": "612"})

    response = csrf_failure(request)

    assert (response.status_code, response["Location"]) == (
        303,
        "/panics/two-steps/?scope=desk&desk=delta&because=page",
    )


# ---- the page of a panic ----


def test_panic_page_shows_the_headline_every_sweep_and_the_worst_orders(browser: Client) -> None:
    panic = make_panic()
    bad = make_sweep(panic, make_account("bad"), State.NOT_CLEAR)
    make_sweep(panic, make_account("good"), State.CLEAR)
    (order,) = make_orders(bad, Outcome.STILL_OPEN)
    make_orders(bad, Outcome.CANCELLED, 61)

    page = text(browser.get(f"/panics/{panic.pk}/"))

    assert '<b class="v">1</b> of 62 still open' in page
    assert re.findall(r'data-toggle="\d+" aria-controls="[^"]+">(\w+)</a>', page) == ["bad", "good"]
    assert f'<td class="id">{order.venue_order_id}</td>' in page
    assert 'href="?all=' in page
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page


def test_panic_page_says_no_open_orders_only_when_every_sweep_is_clear(browser: Client) -> None:
    panic = make_panic()
    make_sweep(panic, make_account("one"), State.CLEAR)
    other = make_sweep(panic, make_account("two"), State.READING_BACK)

    running = text(browser.get(f"/panics/{panic.pk}/"))
    Sweep.objects.filter(pk=other.pk).update(state=State.RELEASED)
    released = text(browser.get(f"/panics/{panic.pk}/"))
    times = {"known_empty_at": timezone.now(), "full_empty_at": timezone.now(), "clear_at": timezone.now()}
    Sweep.objects.filter(pk=other.pk).update(state=State.CLEAR, read_back_at=timezone.now(), **times)
    clear = text(browser.get(f"/panics/{panic.pk}/"))

    said = ["NO OPEN ORDERS - read back" in page for page in (running, released, clear)]
    assert said == [False, False, True]
    assert "http-equiv" not in clear


def test_no_page_shows_a_zero_for_an_account_that_was_never_listed(browser: Client) -> None:
    account = make_account()
    make_reading(account, 71)
    panic = make_panic(account, state=State.FAILED)

    panic_page, board = text(browser.get(f"/panics/{panic.pk}/")), text(browser.get("/"))

    assert '<b class="v">?</b> not listed yet' in panic_page
    assert '<b class="crit">1 not listed yet</b>' in panic_page
    assert "orders not listed yet</a>" in board
    assert "0 of 0" not in panic_page + board


def test_panic_page_opens_the_orders_that_are_asked_for(browser: Client) -> None:
    panic = make_panic()
    for name in ("one", "two"):
        make_orders(make_sweep(panic, make_account(name), State.CLEAR), Outcome.CANCELLED)
    two = Sweep.objects.get(account__name="two")

    short = text(browser.get(f"/panics/{panic.pk}/?sweep={two.pk}"))
    full = text(browser.get(f"/panics/{panic.pk}/?all={two.pk}"))

    order = two.orders.get().venue_order_id
    assert (order in short, order in full) == (False, True)
    assert "Orders of two" in short
    assert "Orders of one" not in short


def test_panic_page_to_be_printed_opens_everything(browser: Client) -> None:
    panic = make_panic()
    for name in ("one", "two"):
        make_orders(make_sweep(panic, make_account(name), State.CLEAR), Outcome.CANCELLED)

    page = text(browser.get(f"/panics/{panic.pk}/?record=1"))

    shown = re.findall(r'<td class="id">(\d+)</td>', page)
    assert shown == [order.venue_order_id for order in SweptOrder.objects.order_by("sweep__account__name")]


def test_panic_page_costs_no_query_more_with_thirty_accounts(browser: Client) -> None:
    def fill(count: int) -> int:
        panic = make_panic()
        for number in range(count):
            account = make_account(f"{count}-{number}")
            make_orders(make_sweep(panic, account, State.CLEAR), Outcome.CANCELLED)
        with CaptureQueriesContext(connection) as queries:
            browser.get(f"/panics/{panic.pk}/")
        return len(queries)

    assert fill(1) == fill(30)


def test_reason_is_kept_after_the_press(browser: Client, user: User) -> None:
    panic = make_panic(make_account())

    response = browser.post(f"/panics/{panic.pk}/reason/", {"reason": "bot went silent"})

    panic.refresh_from_db()
    entry = AuditEntry.objects.get()
    assert (response.status_code, panic.reason) == (303, "bot went silent")
    assert (entry.action, entry.actor, entry.detail) == ("reason", user, "bot went silent")


def test_reason_that_is_empty_is_refused_on_the_page(browser: Client) -> None:
    panic = make_panic(make_account(), reason="first")

    response = browser.post(f"/panics/{panic.pk}/reason/", {"reason": " "})

    assert response.status_code == 422
    assert "Say why, in a few words." in text(response)
    assert Panic.objects.get().reason == "first"


def test_release_needs_reason_and_tick_and_then_releases(browser: Client) -> None:
    account = make_account()
    panic = make_panic(account, state=State.CLEAR)
    latch(panic, account)
    url = f"/panics/{panic.pk}/release/"

    short = browser.post(url, {"reason": "ok", "seen": "on"})
    unseen = browser.post(url, {"reason": "bots are stopped"})
    latched = Account.objects.get().latched_by
    done = text(browser.post(url, {"reason": "bots are stopped", "seen": "on"}, follow=True))

    assert (short.status_code, unseen.status_code, latched) == (422, 422, panic)
    assert "Give a reason of at least 10 characters." in text(short)
    assert 'id="release" open>' in text(short)
    assert "bots are stopped</textarea>" in text(unseen)
    assert "1 account released." in done
    assert Account.objects.get().latched_by is None


@pytest.mark.parametrize("act", ["release", "reason", "sweep"])
def test_a_viewer_may_neither_release_nor_act(viewer: Client, act: str) -> None:
    account = make_account()
    panic = make_panic(account, state=State.CLEAR)
    latch(panic, account)

    response = viewer.post(f"/panics/{panic.pk}/{act}/", {"reason": "bots are stopped", "seen": "on"})

    assert response.status_code == 403
    assert Account.objects.get().latched_by == panic
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("path", ["release/", "reason/", "sweep/"])
def test_nothing_is_changed_by_looking(browser: Client, path: str) -> None:
    panic = make_panic(make_account())

    assert browser.get(f"/panics/{panic.pk}/{path}").status_code == 405


def test_keep_sweeping_makes_unfinished_sweeps_due(browser: Client) -> None:
    panic = make_panic()
    sweep = make_sweep(panic, make_account(), State.FAILED, due_at=timezone.now() + timedelta(hours=1))

    page = text(browser.post(f"/panics/{panic.pk}/sweep/", follow=True))

    sweep.refresh_from_db()
    assert sweep.due_at <= timezone.now()
    assert "Sweeping on at once: 1 account not clear." in page


def test_panic_page_tells_what_a_latched_account_placed_since(browser: Client) -> None:
    account = make_account()
    panic = make_panic(account, state=Sweep.State.CLEAR)
    latch(panic, account)
    sweep = panic.sweeps.get()
    Sweep.objects.update(watched_at=after(17_000))
    make_orders(sweep, Outcome.CANCELLED, 2)
    make_orders(sweep, Outcome.CANCELLED, 30, placed_after=True, placed_at=after(9_000))
    make_orders(sweep, Outcome.FILLED, 1, placed_after=True, placed_at=after(12_000))

    page = text(browser.get(panic.get_absolute_url()))

    last = f'last <time data-age datetime="{show.iso(after(12_000))}">{show.clock(after(12_000))}</time>'
    assert f"<b>31 new orders since the panic</b>, {last}" in page
    assert f"31 new since, {last}" in page
    assert "still empty <time data-age" in page
    assert "New orders are swept, not blocked. Stop the bots." in page


def test_panic_page_tells_that_a_latched_account_could_not_be_looked_at(browser: Client) -> None:
    panic = make_panic(make_account(), state=State.CLEAR)
    word = "latched, but could not be looked at (14:05:00): GET /fapi/v1/openOrders: no answer"
    Sweep.objects.update(watched_at=after(17_000), last_word=word)

    page = text(browser.get(panic.get_absolute_url()))

    assert f'</time><br><b class="warn">{word}</b></td>' in page


def test_panic_page_counts_down_to_the_full_listings(browser: Client) -> None:
    panic = make_panic()
    empty, coming = after(400), after(34_000)
    for name in ("one", "two"):
        fields = {"known_empty_at": empty, "full_listing_at": coming}
        make_sweep(panic, make_account(name), State.READING_BACK, **fields)
    fields = {"full_listing_at": after(70_000), "last_word": "the fapi limit is used up"}
    make_sweep(panic, make_account("waits"), State.CANCELLING, **fields)

    page = text(browser.get(panic.get_absolute_url()))

    def countdown(at: datetime) -> str:
        said = f"at about {show.clock(at)}"
        return f'full listing <b class="v" data-until="{show.iso(at)}" data-in>{said}</b></td>'

    assert page.count(f">known symbols empty {show.clock(empty)}</small><br>{countdown(coming)}") == 2
    assert page.count(f">the fapi limit is used up</small><br>{countdown(after(70_000))}") == 1
    assert "<strong>2 accounts read back: known symbols are empty</strong>" in page
    assert f"full listings, as the venue's limit allows, until about {show.clock(after(70_000))}." in page
    assert "<strong>1 account waits for the venue's limit</strong>" in page


def test_panic_page_says_that_full_listings_are_read_where_no_limit_holds_them_back(browser: Client) -> None:
    panic = make_panic()
    make_sweep(panic, make_account(), State.READING_BACK, known_empty_at=after(400))

    page = text(browser.get(panic.get_absolute_url()))

    assert (
        "<strong>1 account reads back: known symbols are empty</strong>full listings are being read." in page
    )


def test_only_options_are_said_to_block_by_themselves(browser: Client) -> None:
    account = make_account(adapter="binance-options")
    panic = make_panic(account, state=Sweep.State.CLEAR)
    latch(panic, account)

    page = text(browser.get(panic.get_absolute_url()))

    assert "New orders are swept, not blocked; Binance options blocks them itself only while its lock" in page


def test_record_holds_every_order_and_who_did_what_and_no_secret(browser: Client) -> None:
    account = make_account(sealed_credentials="gAAAA-sealed")
    panic = make_panic(reason="why")
    sweep = make_sweep(panic, account, State.CLEAR)
    make_orders(sweep, Outcome.CANCELLED, quantity="12.500", client_order_id="bot-1")
    AuditEntry.objects.create(at=panic.pressed_at, actor_name="risk.desk1", action="pressed", panic=panic)

    response = browser.get(f"/panics/{panic.pk}/record.json")

    record = response.json()
    assert response["Content-Disposition"] == f'attachment; filename="panic-{panic.pk}.json"'
    assert (record["reason"], record["pressed_at"]) == ("why", "2026-11-20T14:03:21.480000+00:00")
    (row,) = record["sweeps"]
    assert [(one["venue_order_id"], one["outcome"], one["quantity"]) for one in row["orders"]] == [
        ("4611875134427365378", "cancelled", "12.5")
    ]
    assert [(entry["who"], entry["action"]) for entry in record["audit"]] == [("risk.desk1", "pressed")]
    assert "sealed" not in text(response)


# ---- history, account ----


def test_history_lists_panics_newest_first_a_page_at_a_time(browser: Client) -> None:
    panics = [make_panic(pressed_at=timezone.now()) for _ in range(26)]

    first, second = text(browser.get("/panics/")), text(browser.get("/panics/?page=2"))

    listed = [int(pk) for pk in re.findall(r'<th scope="row"><a href="/panics/(\d+)/">', first)]
    assert listed == [panic.pk for panic in reversed(panics)][:25]
    assert re.findall(r'<th scope="row"><a href="/panics/(\d+)/">', second) == [str(panics[0].pk)]
    assert 'href="?page=1">Newer</a>' in second


@pytest.mark.parametrize(
    ("state", "word"), [(State.CLEAR, "CLEAR"), (State.FAILED, "RUNNING"), (State.RELEASED, "ENDED")]
)
def test_history_says_how_a_panic_stands(browser: Client, state: str, word: str) -> None:
    make_panic(make_account(), state=state)

    assert f"</svg>{word}</span>" in text(browser.get("/panics/"))


def test_history_costs_no_query_more_with_many_panics(browser: Client) -> None:
    def fill(count: int) -> int:
        for number in range(count):
            make_panic(make_account(f"{count}-{number}"), state=State.CLEAR)
        with CaptureQueriesContext(connection) as queries:
            browser.get("/panics/")
        return len(queries)

    assert fill(1) == fill(20)


def test_account_page_offers_each_open_order_and_symbol(browser: Client) -> None:
    account = make_account()
    orders = [
        Order("ordinary", symbol, venue_order_id, "bot-1", OrderState.OPEN, "NEW", "BUY", "LIMIT", 1, 0)
        for symbol, venue_order_id in (("ETHUSDT", "11"), ("BTCUSDT", "4611875134427365377"))
    ]
    make_reading(account, 2, orders=[readings.to_record(order) for order in orders])

    page = text(browser.get(f"/accounts/{account.pk}/"))

    assert re.findall(r'name="order" value="([^"]+)"', page) == [
        "ordinary|BTCUSDT|4611875134427365377",
        "ordinary|ETHUSDT|11",
    ]
    assert re.findall(r'name="symbol" value="(\w+)"', page) == ["BTCUSDT", "ETHUSDT"]


def test_account_page_shows_the_latest_venue_calls(browser: Client) -> None:
    account = make_account()
    at = datetime(2026, 11, 20, 14, 3, 22, 480_000, tzinfo=UTC)
    for name, weight, attempt, status, code, outcome in (
        (account.name, 40, 1, 200, "", "done"),
        (account.name, 1, 2, None, "ReadTimeout", "unknown"),
        ("of another account", 9, 1, 200, "", "done"),
    ):
        row = {"weight": weight, "attempt": attempt, "status": status, "code": code, "outcome": outcome}
        VenueCall.objects.create(account=name, at=at, method="GET", path="/fapi/v1/x", latency_ms=51.3, **row)

    page = text(browser.get(f"/accounts/{account.pk}/"))

    rows = re.findall(r"<tr>(.*?)</tr>", page.partition("Latest venue calls")[2].partition("<tbody>")[2])
    words = [re.sub(r"<[^>]+>", "|", row) for row in rows]
    assert len(words) == 2
    cells = [re.findall(r"[^|]+", row) for row in words]
    call = "GET /fapi/v1/x"
    assert cells[0][1:] == ["unknown", " ReadTimeout", "no answer", "51", "1", f"{call} &middot; attempt 2"]
    assert cells[1] == ["14:03:22.480", "done", "200", "51", "40", call]


def test_account_page_tells_why_it_cannot_be_read(browser: Client) -> None:
    account = make_account()
    make_reading(account, failure="-2015 key rejected", failing_since=timezone.now())

    assert "-2015 key rejected" in text(browser.get(f"/accounts/{account.pk}/"))


@pytest.mark.parametrize(
    ("known", "fields", "count"),
    [
        ({"open_count": 0}, {}, "0"),
        ({"open_count": 0, "read_at": None}, {}, "?"),
        ({"open_count": 0, "failure": "-2015 key rejected", "failing_since": PRESSED_AT}, {}, "?"),
        ({"open_count": 0}, {"enabled": False}, "?"),
    ],
    ids=["empty", "never read", "failing", "disabled"],
)
def test_stop_of_an_account_page_counts_only_what_is_known(
    browser: Client, known: dict[str, Any], fields: dict[str, Any], count: str
) -> None:
    account = make_account(**fields)
    make_reading(account, **known)

    page = text(browser.get(f"/accounts/{account.pk}/"))

    assert re.findall(rf'id="this-{account.pk}-n">(.*?)</span>', page) == [count]


def canary_line(browser: Client, account: Account) -> str:
    """What the account's page says of its canary, without the tags; empty where it says nothing."""
    page = text(browser.get(f"/accounts/{account.pk}/"))
    found = re.search(r"<p>(canary: .*?)</p>", page)
    return re.sub(r"<[^>]+>", "", found[1]) if found else ""


def test_account_page_tells_how_its_canary_went(browser: Client) -> None:
    account = make_account(canary=True)
    make_reading(account)
    assert canary_line(browser, account) == "canary: never run"

    panic = make_panic(account, state=State.CLEAR)
    run = make_canary_run(account, panic=panic)
    held = f"canary: held 20 Nov 2026 14:03:30, 2 families &middot; panic {panic.pk}"
    assert canary_line(browser, account) == held
    word = "waits for a worker"
    running = make_canary_run(account, "running", began_at=after(60_000), last_word=word)
    assert canary_line(browser, account) == f"{held} &middot; running since 14:04:21: {word}"

    running.delete()
    for state in ("escaped", "failed"):
        run.state, run.last_word = state, "conditional order <7> is open"
        run.save()
        assert canary_line(browser, account) == (
            f"canary: {state.upper()} 20 Nov 2026 14:03:30: conditional order &lt;7&gt; is open "
            f"&middot; panic {panic.pk}"
        )
    account.canary = False
    account.save()
    assert canary_line(browser, account) == ""


def test_account_page_tells_its_ways_out_and_what_is_used_there(browser: Client) -> None:
    egress = Egress(name="proxy A")
    credentials.seal_proxy(egress, "http://desk:hunter2@10.0.0.1:3128")
    egress.save()
    account = make_account(egress=egress, second_egress=Egress.objects.create(name="second line"))
    limit = VENUES["binance-usdm"].listing_limit()
    AccountBudget(account, Work.PANIC).take(limit, 340)

    page = text(browser.get(f"/accounts/{account.pk}/"))

    line = re.sub(r"<[^>]+>", "", re.findall(r'<p class="ways">.*?</p>', page)[0])
    assert re.sub(r"[\d:]{8}", "AGE", line) == (
        "Way out: proxy A, and second line where that does not get through &middot; limits a minute, AGE: "
        "fapi by proxy A 340 of 2,400 used &middot; fapi by second line 0 of 2,400 used"
    )
    assert "hunter2" not in page
    assert "10.0.0.1" not in page


def test_account_page_tells_that_the_venue_refuses_it(browser: Client) -> None:
    account = make_account(adapter="coinswitch")
    limit = VENUES["coinswitch"].listing_limit()
    AccountBudget(account, Work.PANIC).block(limit, 300_000, "HTTP 429 Too many requests")

    page = text(browser.get(f"/accounts/{account.pk}/"))

    said = r'<b class="crit">refused until [\d:]{8}: HTTP 429 Too many requests</b>'
    assert len(re.findall(said, page)) == 1


# ---- the limits ----


def cells(row: str) -> list[str]:
    """The words of each cell of a row, times of day as AGE."""
    inside = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
    words = [re.sub(r"<[^>]+>", " ", cell) for cell in inside]
    return [re.sub(r"\b[\d:]{8}\b", "AGE", re.sub(r"\s+", " ", cell)).strip() for cell in words]


def limit_rows(page: str) -> list[list[str]]:
    return [cells(row) for row in re.findall(r"<tr.*?</tr>", page.partition('id="limits"')[2], re.DOTALL)][1:]


def test_limits_page_shows_what_is_used_kept_and_needed(browser: Client) -> None:
    account = make_account()
    make_reading(account, cancel_weight=150)
    AccountBudget(account, Work.PANIC).take(VENUES["binance-usdm"].listing_limit(), 340)
    make_account("key", adapter="coinswitch")

    page = text(browser.get("/limits/"))

    nowhere = account.venue.name
    by_address, by_key = limit_rows(page)
    assert by_address == [
        "normal",
        f"{nowhere} Binance USD-M &middot; fapi",
        "direct 1 account",
        "2,400 published",
        "340 AGE",
        "",
        "1,200 1,200 kept for panics",
        "150 AGE",
        "0 &nbsp;",
        "no wait if pressed now",
    ]
    assert by_key[2:5] == ["each key by itself 1 account", "20 published", "0 by no account"]
    assert '<rect class="kept" x="50.0%" width="50.0%" height="100%"/>' in page
    assert '<rect class="used" width="14.2%" height="100%"/>' in page


def test_limits_page_says_what_is_wrong_under_the_row(browser: Client) -> None:
    line = Egress.objects.create(name="second line", source_address="127.0.0.2")
    make_reading(make_account("needs much"), cancel_weight=2600)
    refused = make_account("refused", egress=line, second_egress=None)
    AccountBudget(refused, Work.PANIC).block(
        VENUES["binance-usdm"].listing_limit(), 300_000, "HTTP 418 banned"
    )

    rows = limit_rows(text(browser.get("/limits/")))

    assert [row[0] for row in rows] == [
        "REFUSED",
        "until AGE the venue refuses calls: HTTP 418 banned",
        "TOO SMALL",
        "cancels need 2,600, more than the limit: some cancels would wait; spread the accounts over more "
        "egress addresses",
    ]


def test_limits_page_tells_what_waits_and_until_when(browser: Client) -> None:
    known = {"known_empty_at": after(400), "full_listing_at": after(34_000)}
    make_sweep(make_panic(), make_account(), State.READING_BACK, **known)

    page = text(browser.get("/limits/"))

    at = after(34_000)
    assert f'last <span data-until="{show.iso(at)}" data-in>at about {show.clock(at)}</span>' in page
    assert limit_rows(page)[0][8] == "1 last at about AGE"


def test_limits_page_without_redis_says_that_nothing_is_counted(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_account()
    monkeypatch.setattr(pools, "_redis_lost_at", time.monotonic() + 3600)

    page = text(browser.get("/limits/"))

    row, words = limit_rows(page)
    assert (row[0], row[4]) == ("NOT COUNTED", "? not counted")
    assert words == ["Redis does not answer: each process keeps to its share"]
    assert "Redis does not answer, each process keeps to its share" in page


def test_limits_page_without_accounts_says_so(browser: Client) -> None:
    assert "No limits yet" in text(browser.get("/limits/"))


def test_table_of_the_limits_asks_for_itself_and_is_the_pages(browser: Client) -> None:
    make_account()

    page, table = text(browser.get("/limits/")), text(browser.get("/limits/table/"))

    assert 'id="limits" hx-get="/limits/table/" hx-trigger="every 2s" hx-swap="outerHTML"' in table
    assert limit_rows(page) == limit_rows(table)
    assert "<html" not in table


def test_table_of_the_limits_leads_nobody_to_the_login(client: Client) -> None:
    make_account()

    refused = client.get("/limits/table/")

    assert (refused.status_code, text(refused)) == (401, "")


@pytest.mark.parametrize("path", ["/limits/", "/limits/table/"])
def test_limits_cost_no_query_more_with_thirty_accounts(browser: Client, path: str) -> None:
    def fill(count: int) -> int:
        for number in range(count):
            adapter = ("binance-usdm", "binance-options", "coinswitch")[number % 3]
            make_reading(make_account(f"{count}-{number}", adapter=adapter), 3)
        with CaptureQueriesContext(connection) as queries:
            browser.get(path)
        return len(queries)

    assert fill(1) == fill(2) == fill(27)


# ---- what holds for all pages ----


@pytest.fixture
def pages(browser: Client) -> list[str]:
    """Every page, with something on it."""
    account = make_account()
    make_reading(account, 2)
    panic = make_panic()
    make_orders(make_sweep(panic, account, State.NOT_CLEAR), Outcome.UNKNOWN)
    latch(panic, account)
    paths = [
        "/",
        f"/panics/{panic.pk}/",
        "/panics/",
        f"/accounts/{account.pk}/",
        "/limits/",
        "/drills/",
        make_drill(account).get_absolute_url(),
        "/panics/two-steps/?scope=all",
        "/nope/",
    ]
    return [text(browser.get(path)) for path in paths]


def test_the_stop_is_on_every_page_once_and_the_same(pages: list[str]) -> None:
    stops = [re.findall(r'<form class="plate" id="stop".*?</form>', page, re.DOTALL) for page in pages]

    tokenless = {re.sub(r'value="\w{64}"', "", stop) for found in stops for stop in found}
    assert [len(found) for found in stops] == [1] * len(pages)
    assert len(tokenless) == 1


def test_no_page_holds_an_inline_script_or_style_or_an_id_twice(pages: list[str]) -> None:
    for page in pages:
        markup = Markup(page)

        assert markup.refused == []
        assert sorted(set(markup.ids)) == sorted(markup.ids)


def test_no_cell_has_a_class_that_takes_it_out_of_its_table(browser: Client) -> None:
    account = make_account()
    panic = make_panic(account, state=State.NOT_CLEAR)
    latch(panic, account)
    make_orders(panic.sweeps.get(), Outcome.STILL_OPEN, placed_after=True, placed_at=after(9_000))
    css = (settings.BASE_DIR / "static/panicboard.css").read_text()

    page = text(browser.get(panic.get_absolute_url())) + text(browser.get("/"))

    cells = {name for found in re.findall(r'<t[dh] class="([^"]*)"', page) for name in found.split()}
    apart = re.findall(r"(?:^|\} )\.(\w+) \{[^}]*position: (?:absolute|fixed)", css, re.MULTILINE)
    assert {"why", "num", "stopcell"} <= cells
    assert "two" in apart
    assert cells & set(apart) == set()


def test_the_policy_is_on_every_reply(browser: Client) -> None:
    assert browser.get("/")["Content-Security-Policy"] == POLICY
    assert browser.get("/events/poll/")["Content-Security-Policy"] == POLICY
    assert browser.get("/admin/")["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize("group", ["risk managers", "viewers"])
@pytest.mark.parametrize("latched", [True, False])
def test_each_fragment_has_its_place_on_the_page_and_holds_no_stop(
    client: Client, group: str, latched: bool
) -> None:
    client.force_login(make_user(group=group))
    account = make_account()
    make_reading(account, 2)
    panic = make_panic()
    sweep = make_sweep(panic, account, State.NOT_CLEAR)
    make_orders(sweep, Outcome.UNKNOWN)
    if latched:
        latch(panic, account)
    drill = make_drill(account)
    places = {
        "/": [Topic("board")],
        f"/panics/{panic.pk}/": [Topic("panic", panic.pk), Topic("orders", sweep.pk)],
        "/panics/": [Topic("plain")],
        "/limits/": [Topic("plain")],
        "/drills/": [Topic("drills")],
        drill.get_absolute_url(): [Topic("drill", drill.pk)],
    }

    for path, topics in places.items():
        read = Renderer().read(topics, timezone.now())
        fragments = "".join(html for topic in read.values() for html in topic.values())
        swapped = re.findall(r'id="([^"]+)" hx-swap-oob="true"', fragments)
        assert set(swapped) <= set(Markup(text(client.get(path))).ids)
        assert re.search(r"<form|<button|data-hold|stopcell|csrf", fragments) is None


def test_fragments_are_the_same_for_a_viewer_and_a_risk_manager(browser: Client) -> None:
    make_reading(make_account(), 2, read_at=timezone.now())  # fresh: no page counts its seconds
    risk_manager = browser.get("/events/poll/?page=board").json()["fragments"]

    browser.force_login(make_user("viewer", "viewers"))

    assert browser.get("/events/poll/?page=board").json()["fragments"] == risk_manager


def test_the_page_of_a_failure_carries_the_stop_and_asks_the_database_nothing() -> None:
    request: HttpRequest = RequestFactory().get("/")
    get_token(request)

    with CaptureQueriesContext(connection) as queries:
        response = server_error(request)

    assert (response.status_code, len(queries)) == (500, 0)
    assert 'action="/panics/"' in text(response)


@pytest.fixture
def no_database() -> Iterator[None]:
    """A database that cannot be opened."""
    name = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = "/nowhere/panicboard.sqlite3"
    yield
    connection.close()
    connection.settings_dict["NAME"] = name


def test_page_of_a_lost_database_says_so_and_names_what_presses_without_it(
    browser: Client, no_database: None
) -> None:
    browser.raise_request_exception = False

    for response in (browser.get("/"), browser.post("/panics/", {"scope": "all", "held_ms": "1200"})):
        assert (response.status_code, response["Retry-After"]) == (503, "5")
        assert "<h1>The database does not answer</h1>" in text(response)
        assert "take it as NOT SENT" in text(response)
        assert "<code>manage.py panic --break-glass FILE --all</code>" in text(response)
        assert 'action="/panics/"' in text(response)


def test_the_page_of_a_failed_press_does_not_claim_that_it_was_sent() -> None:
    failed, looked = (
        text(server_error(request)) for request in (RequestFactory().post("/panics/"), HttpRequest())
    )

    words = "NO ANSWER - nobody knows whether this press was taken. Press again: a second press joins"
    assert (words in failed, words in looked) == (True, False)


def test_a_press_says_its_scope_in_the_words_of_the_panic(browser: Client) -> None:
    account = make_account("alpha")
    form = PressForm(RequestFactory().get("/", {"scope": "symbol", "account": account.pk, "symbol": "X"}).GET)
    assert form.is_valid()

    page = text(browser.get(f"/panics/two-steps/?{form.query}"))

    assert "Cancel the open orders of X of account alpha" in page


# ---- orders that are looked for ----


@pytest.fixture
def found() -> Panic:
    """A panic of two accounts: three orders of one, over two symbols, and 120 of the other."""
    alpha, beta = make_account("alpha"), make_account("beta")
    panic = make_panic()
    first = make_sweep(panic, alpha, Sweep.State.CLEAR)
    make_orders(first, "cancelled", 2)
    make_orders(first, "unknown", 1, symbol="ETHUSDT")
    make_orders(make_sweep(panic, beta, Sweep.State.CLEAR), "filled", 120)
    make_orders(make_sweep(make_panic(), alpha), "rejected", 1)
    return panic


@pytest.mark.parametrize(
    ("query", "told", "rows"),
    [
        ("", "123 of 123 orders", 100),
        ("page=2", "123 of 123 orders", 23),
        ("page=99", "123 of 123 orders", 23),
        ("page=x&outcome=", "123 of 123 orders", 100),
        ("outcome=cancelled", "2 of 123 orders", 2),
        ("symbol=ETHUSDT", "1 of 123 orders", 1),
        ("account=beta&outcome=filled&page=2", "120 of 123 orders", 20),
        ("account=beta&outcome=cancelled", "0 of 123 orders", 1),  # which says that none does
        ("outcome=nonsense", "0 of 123 orders", 1),
    ],
)
def test_orders_of_a_panic_are_found(browser: Client, found: Panic, query: str, told: str, rows: int) -> None:
    text = browser.get(f"/panics/{found.pk}/orders/?{query}").content.decode()

    assert told in text
    assert text.partition("<tbody")[2].count("<tr") == rows


def test_found_orders_are_loudest_first_and_say_whose_they_are(browser: Client, found: Panic) -> None:
    text = browser.get(f"/panics/{found.pk}/orders/").content.decode()

    first = text.partition("<tbody")[2].partition("</tr>")[0]
    assert ("UNKNOWN" in first, "<td>alpha</td>" in first, "ETHUSDT" in first) == (True, True, True)


def test_found_orders_come_alone_for_htmx_and_again_only_while_the_panic_runs(
    browser: Client, found: Panic
) -> None:
    address = f"/panics/{found.pk}/orders/?outcome=filled"
    over = browser.get(address, headers={"HX-Request": "true"}).content.decode()
    found.sweeps.filter(account__name="beta").update(state=Sweep.State.READING_BACK)

    running = browser.get(address, headers={"HX-Request": "true"}).content.decode()

    assert ("<html" in over, "every 2s" in over) == (False, False)
    assert f'hx-get="{address}&amp;page=1" hx-trigger="every 2s"' in running


def test_found_orders_bring_their_form_along_for_there_may_be_new_symbols(
    browser: Client, found: Panic
) -> None:
    address = f"/panics/{found.pk}/orders/?outcome=unknown"
    alone = browser.get(address, headers={"HX-Request": "true"}).content.decode()

    page = browser.get(address).content.decode()

    assert re.findall(r'id="find"( hx-swap-oob="true")?', alone) == [' hx-swap-oob="true"']
    assert re.findall(r'id="find"( hx-swap-oob="true")?', page) == [""]
    assert '<option value="unknown" selected>' in alone


def test_found_orders_lead_nobody_to_the_login_in_the_middle_of_a_page(client: Client, found: Panic) -> None:
    address = f"/panics/{found.pk}/orders/?outcome=unknown"

    alone, page = client.get(address, headers={"HX-Request": "true"}), client.get(address)

    assert (alone.status_code, alone.content) == (401, b"")
    assert page["Location"] == f"/login/?next={quote(address)}"


def test_tally_leads_to_the_orders_of_each_outcome(browser: Client, found: Panic) -> None:
    page = text(browser.get(f"/panics/{found.pk}/"))

    told = set(re.findall(rf'data-find href="/panics/{found.pk}/orders/\?outcome=(\w+)"', page))
    assert told == set(Outcome.values)


def test_sweep_with_more_orders_than_rows_leads_to_where_they_are_found(
    browser: Client, found: Panic
) -> None:
    beta = found.sweeps.get(account__name="beta")

    page = text(browser.get(f"/panics/{found.pk}/?all={beta.pk}"))

    table = page.partition("Orders of beta")[2].partition("</table>")[0]
    assert table.partition("<tbody")[2].count("<tr") == 100 + 1  # and the line below them
    assert f'href="/panics/{found.pk}/orders/?account=beta" data-find>find among all 120</a>' in table


def test_panic_page_folds_the_least_bad_of_many_sweeps(browser: Client) -> None:
    panic = make_panic()
    for number in range(35):
        make_sweep(panic, make_account(f"clear-{number:02}"), State.CLEAR)
    make_sweep(panic, make_account("bad"), State.NOT_CLEAR)
    last = panic.sweeps.get(account__name="clear-34")

    def folded(query: str) -> list[str]:
        page = text(browser.get(f"/panics/{panic.pk}/?{query}"))
        return re.findall(r'class="sweep" hidden[^>]*data-name="([^"]+)"', page)

    assert folded("") == [f"clear-{number:02}" for number in range(29, 35)]
    assert folded(f"sweep={last.pk}") == [f"clear-{number:02}" for number in range(29, 34)]
    assert (folded("rows=all"), folded("record=1")) == ([], [])


def test_orders_of_a_panic_that_is_not_there_are_not_found(browser: Client) -> None:
    assert browser.get("/panics/99/orders/").status_code == 404
