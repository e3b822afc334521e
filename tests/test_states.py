"""What pages say while there is nothing, nothing yet, nothing known, or no right to it."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from panicboard import board_state, readings, wall_state
from panicboard.account_state import ORDERS_A_PAGE
from panicboard.models import Account
from panicboard.venues.base import Order, OrderState
from tests.factories import make_desk, make_venue
from tests.pages import NOWHERE, PASSWORD, make_account, make_reading, make_user

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("broker", "plain_static_files"),
]
FAILING = {"failure": "HTTP 401 -2015 Invalid API-key", "failing_since": timezone.now()}


@pytest.fixture
def browser(client: Client) -> Client:
    """A risk manager's browser, signed in."""
    client.force_login(make_user())
    return client


@pytest.fixture
def administrator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("admin", password=PASSWORD))
    return client


def page(client: Client, path: str, **headers: Any) -> str:
    return client.get(path, **headers).content.decode()


def words(html: str) -> str:
    """What is to be read of it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def part(html: str, element_id: str) -> str:
    """The words of one element that holds none of its own kind, while nothing is to be kept."""
    found = re.search(rf'<(\w+)[^>]* id="{element_id}".*?</\1>', html, re.DOTALL)
    assert found, element_id
    return words(re.sub(r'<span class="rest">.*?</span>', "", found.group()))


def many(count: int, symbol: str = "BTCUSDT") -> list[dict[str, Any]]:
    orders = (
        Order("ordinary", symbol, f"{number}", "", OrderState.OPEN, "NEW", "BUY", "LIMIT", 1, 0)
        for number in range(count)
    )
    return [readings.to_record(order) for order in orders]


# ---- a fresh installation ----


def test_fresh_board_leads_an_administrator_from_step_to_step(administrator: Client) -> None:
    def leads() -> tuple[str, ...]:
        found = re.search(r'<a class="btn main-act" href="([^"]+)">([^<]+)</a>', page(administrator, "/"))
        assert found
        return found.groups()

    assert leads() == ("/admin/panicboard/desk/add/", "Add a desk")
    make_desk()
    assert leads() == ("/admin/panicboard/venue/add/", "Add a venue")
    make_venue(NOWHERE)
    assert leads() == ("/admin/panicboard/account/add/", "Add an account")
    assert administrator.get(leads()[0]).status_code == 200
    make_account()
    assert "No accounts yet" not in page(administrator, "/")


def test_fresh_board_tells_whoever_may_not_add_accounts_whom_to_ask(browser: Client) -> None:
    User.objects.create_superuser("ann", password=PASSWORD)

    html = page(browser, "/")

    assert "Ask an administrator: ann." in html
    assert "/admin/" not in html


def test_stop_of_a_fresh_installation_stands_in_its_place_and_says_that_there_is_nothing(
    administrator: Client,
) -> None:
    html = page(administrator, "/")

    assert part(html, "stop-scope") == "no accounts yet &middot; nothing to cancel"
    assert 'class="plate notready" id="stop"' in html
    assert words(html).count("CANCEL ALL") == 1
    assert "nothing to cancel now" in page(administrator, "/panics/two-steps/?scope=all")


@pytest.mark.parametrize(
    ("path", "title"), [("/", "No accounts yet"), ("/panics/", "No panic yet"), ("/limits/", "No limits yet")]
)
def test_page_without_anything_says_what_will_stand_there(browser: Client, path: str, title: str) -> None:
    assert re.findall(r'<div class="empty"><h1>(.*?)</h1><p>.{20,}</p>', page(browser, path)) == [title]


# ---- nothing known ----


def test_no_zero_stands_for_accounts_that_were_never_read(browser: Client) -> None:
    account = make_account("alpha")
    make_account("beta")
    desk = account.desk_id

    html = page(browser, "/")

    assert "&ndash; + 2 unread" in part(html, "summary")
    assert [part(html, f"desk-{desk}-{name}") for name in ("open", "ordinary", "conditional")] == [
        "&ndash;"
    ] * 3
    assert part(html, "stop-scope") == "order count unknown &middot; 2 accounts"
    assert part(html, f"account-{account.pk}-open") == "&ndash; not read yet"
    assert part(html, "status-line").startswith("Open orders not known, 2 unread")
    now = timezone.now()
    assert wall_state.of(board_state.read(now), now).hero.count is None


def test_account_that_cannot_be_read_shows_what_was_and_is_left_out_of_sums(browser: Client) -> None:
    lost, known = make_account("alpha"), make_account("beta")
    make_reading(lost, 36, **FAILING)
    make_reading(known, 5, read_at=timezone.now())

    html = page(browser, "/")

    assert re.fullmatch(r"&ndash; was 36 &middot; [\d:]{8}", part(html, f"account-{lost.pk}-open"))
    assert re.search(r"\b5 \+ 1 unread", part(html, "summary"))
    assert part(html, f"desk-{lost.desk_id}-open") == "5"
    assert part(html, "stop-scope").startswith("5 orders &middot; 2 accounts (1 unread)")


@pytest.mark.parametrize(
    ("fields", "known", "look", "words_of_stop", "scope"),
    [
        ({}, {}, "plate", "CANCEL ALL", "0 orders &middot; 1 account &middot; includes 0 protective"),
        (
            {},
            FAILING,
            "plate notready",
            "TRY CANCEL ALL",
            "no account is ready &middot; shell: manage.py panic --all",
        ),
        (
            {"enabled": False},
            {},
            "plate notready",
            "CANCEL ALL",
            "every account is disabled &middot; nothing to cancel",
        ),
    ],
    ids=["ready", "not ready", "disabled"],
)
def test_stop_loses_its_colours_where_it_would_not_work(
    browser: Client, fields: dict[str, Any], known: dict[str, Any], look: str, words_of_stop: str, scope: str
) -> None:
    account = make_account(**fields)
    make_reading(account, **{"read_at": timezone.now(), **known})

    html = page(browser, "/")

    assert f'class="{look}" id="stop" method="post"' in html
    assert re.findall(r'<span class="say">((?:TRY )?CANCEL ALL)</span>', html) == [words_of_stop]
    assert part(html, "stop-scope") == scope


def test_stop_keeps_its_colours_while_one_account_may_be_swept(browser: Client) -> None:
    make_reading(make_account("alpha"), **FAILING)
    make_account("beta")  # not read yet: nobody knows

    html = page(browser, "/")

    assert 'class="plate" id="stop"' in html


# ---- no right ----


def test_page_without_the_right_to_it_says_who_gives_it_and_leads_back(client: Client) -> None:
    User.objects.create_superuser("ann", password=PASSWORD)
    client.force_login(make_user("vera", "viewers"))

    response = client.get("/panics/two-steps/?scope=all")

    html = response.content.decode()
    assert response.status_code == 403
    assert "You have no right to do this" in html
    assert "Ask an administrator: ann." in html
    assert '<a class="btn" href="/">' in html


def test_act_without_the_right_to_it_is_refused_in_one_line_where_a_script_asked(client: Client) -> None:
    client.force_login(make_user("vera", "viewers"))
    account = make_account()

    response = client.post(f"/accounts/{account.pk}/countdowns/disarm/", headers={"HX-Request": "true"})

    refused = "NOT DONE - vera has no right to do this. Ask whoever installed panicboard."
    assert (response.status_code, words(response.content.decode())) == (403, refused)


def test_whoever_has_no_right_at_all_reads_every_page(client: Client) -> None:
    client.force_login(User.objects.create_user("new", password=PASSWORD))
    account = make_account()
    make_reading(account, 1, orders=many(1))

    for path in ("/", "/panics/", "/limits/", "/presence/", account.get_absolute_url()):
        html = page(client, path)
        assert "VIEW ONLY" in html, path
        assert "data-hold" not in html, path
        assert 'type="checkbox"' not in html, path


# ---- one account ----


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (None, r"Not read yet: nobody knows what is open here\."),
        ({}, r"No open orders: read [\d:]{8} ?\."),
        (
            FAILING,
            r"No open order was listed when it could be read, [\d:]{8} ?\. What is open now, nobody knows\.",
        ),
    ],
    ids=["never", "empty", "failing"],
)
def test_account_without_a_listed_order_says_what_that_means(
    browser: Client, known: dict[str, Any] | None, said: str
) -> None:
    account = make_account()
    if known is not None:
        make_reading(account, **known)

    html = page(browser, account.get_absolute_url())

    assert re.search(said, words(html))
    assert "No open orders" not in html or said.startswith("No open orders")


def test_account_page_tells_whether_a_panic_would_work_and_why_not(browser: Client) -> None:
    account = make_account()
    make_reading(account, 36, **FAILING)

    html = page(browser, account.get_absolute_url())

    now = words(html.partition('id="account-now"')[2].partition("</div> </div>")[0])
    assert "NOT READY" in now
    assert "not ready: HTTP 401 -2015 Invalid API-key" in now
    assert "was 36" in now


def listed(html: str) -> int:
    return len(re.findall(r'name="order" value=', html))


def test_account_with_many_orders_lists_a_page_of_them_and_counts_all(browser: Client) -> None:
    account = make_account()
    make_reading(account, 1010, orders=many(1000) + many(10, "ETHUSDT"))

    first, last = (page(browser, f"{account.get_absolute_url()}?orders={number}") for number in (1, 11))
    beyond = page(browser, f"{account.get_absolute_url()}?orders=99")

    assert [listed(html) for html in (first, last, beyond)] == [ORDERS_A_PAGE, 10, 10]
    assert "Choose all 100 of this page (1,010 in all)" in first
    assert "1,000 open orders, 100 on this page" in first
    assert "page 1 of 11" in first
    assert re.findall(r'id="symbol-1-n">(.*?)</span>', first) == ["1,000"]


def test_account_page_costs_no_query_more_with_many_orders(browser: Client) -> None:
    account = make_account()
    make_reading(account)

    def cost(count: int) -> int:
        account.reading.orders = many(count)
        account.reading.save()
        with CaptureQueriesContext(connection) as queries:
            browser.get(account.get_absolute_url())
        return len(queries)

    assert cost(1) == cost(300)


def now_of(client: Client, account: Account, listed_at: str) -> str:
    return words(page(client, f"/accounts/{account.pk}/now/?listed={listed_at}"))
