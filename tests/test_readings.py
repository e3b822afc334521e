"""Readings: what is open at each venue, how old that is, and within which share of the limits."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from panicboard import credentials, readings, tasks
from panicboard.budgets import AccountBudget, Work
from panicboard.models import Account, Countdown, Reading, Venue
from panicboard.venues import VENUES
from panicboard.venues.base import BookSymbol, Order, OrderState, Unlimited
from panicboard.venues.binance_options import BinanceOptions
from tests.factories import make_account, make_desk, make_venue, seed
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

#: For each venue: what to put on its books, and the counts that a reading must come to (open, conditional,
#: protective), and where it found orders.
BOOKS: dict[str, tuple[list[dict[str, Any]], tuple[int, int, int], set[BookSymbol]]] = {
    "binance-usdm": (
        [
            {"count": 2},
            {"symbol": "测试USDT", "reduce_only": True},
            {"book": "algo", "symbol": "ETHUSDT", "reduce_only": True},
            {"book": "algo", "symbol": "ETHUSDT"},
        ],
        (5, 2, 2),
        {
            BookSymbol("ordinary", "BTCUSDT"),
            BookSymbol("ordinary", "测试USDT"),
            BookSymbol("conditional", "ETHUSDT"),
        },
    ),
    "binance-options": (
        [{"count": 2}, {"symbol": "ETH-261225-4000-P", "reduce_only": True}],
        (3, 0, 1),
        {BookSymbol("ordinary", "BTC-261225-100000-C"), BookSymbol("ordinary", "ETH-261225-4000-P")},
    ),
    "binance-portfolio": (
        [
            {"book": "um"},
            {"book": "um_conditional", "symbol": "ETHUSDT", "reduce_only": True},
            {"book": "cm", "symbol": "BTCUSD_PERP"},
            {"book": "cm_conditional", "symbol": "BTCUSD_PERP", "reduce_only": True},
            {"book": "margin", "symbol": "BTCUSDT"},
            {"book": "margin", "symbol": "ETHUSDT", "type": "OCO", "price": "4000", "stop_price": "3000"},
        ],
        (7, 2, 2),
        {
            BookSymbol("um", "BTCUSDT"),
            BookSymbol("um_conditional", "ETHUSDT"),
            BookSymbol("cm", "BTCUSD_PERP"),
            BookSymbol("cm_conditional", "BTCUSD_PERP"),
            BookSymbol("margin", "BTCUSDT"),
            BookSymbol("margin", "ETHUSDT"),
        },
    ),
    "coinswitch": (
        [{"count": 2}, {"symbol": "ETHUSDT", "type": "STOP_MARKET"}],
        (3, 0, 1),
        {BookSymbol("ordinary", "BTCUSDT"), BookSymbol("ordinary", "ETHUSDT")},
    ),
}


def read(account: Account) -> Reading:
    readings.read(account)
    return Reading.objects.get(account=account)


def counts(reading: Reading) -> tuple[int, int, int]:
    return reading.open_count, reading.conditional_count, reading.protective_count


def share(account: Account) -> AccountBudget:
    return AccountBudget(account, Work.READ)


ORDER = Order(
    family="ordinary",
    symbol="BTCUSDT",
    venue_order_id="1",
    client_order_id="",
    state=OrderState.OPEN,
    venue_status="NEW",
    side="BUY",
    order_type="LIMIT",
    quantity=Decimal(1),
    filled=Decimal(0),
)


@pytest.mark.parametrize("adapter", BOOKS)
def test_reading_finds_every_open_order(simulator: SimulatorProcess, adapter: str) -> None:
    specs, expected, books = BOOKS[adapter]
    account = make_account(simulator, adapter)
    for spec in specs:
        seed(simulator, account, **spec)
    before = timezone.now()

    reading = read(account)

    assert (reading.failure, counts(reading)) == ("", expected)
    assert readings.known_symbols(reading) == books
    assert {record["venue_order_id"] for record in reading.orders} == {
        order["order_id"] for order in simulator.book("alpha")
    }
    assert reading.read_at is not None
    assert before <= reading.read_at <= timezone.now()
    assert abs(reading.clock_offset_ms or 0) < 1000


@pytest.mark.parametrize("adapter", BOOKS)
def test_reading_of_an_empty_account_is_a_reading_too(simulator: SimulatorProcess, adapter: str) -> None:
    reading = read(make_account(simulator, adapter))

    assert (reading.failure, counts(reading), reading.orders) == ("", (0, 0, 0), [])
    assert reading.read_at is not None


def test_orders_come_back_from_their_records_as_they_were() -> None:
    order = Order(
        family="conditional",
        symbol="测试USDT",
        venue_order_id="4611875134427365377",
        client_order_id="bot-1",
        state=OrderState.OPEN,
        venue_status="",
        side="SELL",
        order_type="STOP_MARKET",
        quantity=Decimal("0.010"),
        filled=Decimal("1E-8"),
        price=None,
        trigger_price=Decimal("91350"),
        protective=True,
        list_id="1929",
        placed_at=datetime.fromisoformat("2026-11-20T12:00:00.123+00:00"),
    )

    assert readings.from_record(readings.to_record(order)) == order


def test_symbols_are_remembered_for_a_day_after_their_last_order(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    seed(simulator, account)
    ago = {
        "ETHUSDT": timedelta(hours=23),
        "XRPUSDT": timedelta(hours=24, seconds=1),
        "BTCUSDT": timedelta(days=9),
    }
    Reading.objects.create(
        account=account,
        due_at=timezone.now(),
        symbols={f"ordinary {symbol}": (timezone.now() - age).isoformat() for symbol, age in ago.items()},
    )

    reading = read(account)

    assert readings.known_symbols(reading) == {
        BookSymbol("ordinary", "ETHUSDT"),
        BookSymbol("ordinary", "BTCUSDT"),
    }
    assert reading.read_at is not None
    assert datetime.fromisoformat(reading.symbols["ordinary BTCUSDT"]) == reading.read_at


def test_failing_venue_leaves_what_was_read_and_says_why_since_when(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    seed(simulator, account, 2)
    good = read(account)
    simulator.fault("key_revoked")

    first = read(account)
    again = read(account)

    assert first.failure == (
        "GET /fapi/v1/openAlgoOrders: HTTP 401 -2015 Invalid API-key, IP, or permissions for action, "
        "request ip: 127.0.0.1"
    )
    assert first.failing_since is not None
    assert first.failing_since >= good.read_at
    assert (again.failure, again.failing_since) == (first.failure, first.failing_since)
    assert (again.orders, again.read_at, counts(again)) == (good.orders, good.read_at, counts(good))
    assert again.due_at >= first.failing_since + timedelta(seconds=readings.RETRY_S)


def test_recovered_account_fails_no_more(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    simulator.fault("key_revoked")
    assert read(account).failure != ""
    simulator.clear_faults()

    reading = read(account)

    assert (reading.failure, reading.failing_since) == ("", None)


def test_half_a_reading_is_none(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    seed(simulator, account, 2)
    good = read(account)
    seed(simulator, account, 1, book="algo")
    simulator.fault("garbage", path="/fapi/v1/openOrders")

    reading = read(account)

    assert reading.failure == "GET /fapi/v1/openOrders: the answer is not JSON"
    assert (reading.orders, reading.read_at, counts(reading)) == (good.orders, good.read_at, (2, 0, 0))


def test_reading_that_began_before_a_newer_one_comes_too_late() -> None:
    account = Account.objects.create(name="alpha", desk=make_desk(), venue=make_venue("http://127.0.0.1:9"))
    began_at = timezone.now()
    readings.keep(account, [], began_at + timedelta(seconds=1))  # a sweep read it empty meanwhile
    due_at = began_at + timedelta(seconds=20)

    readings.keep(account, [ORDER], began_at, due_at=due_at)

    reading = account.reading
    reading.refresh_from_db()
    assert (reading.open_count, reading.read_at, reading.due_at) == (
        0,
        began_at + timedelta(seconds=1),
        due_at,
    )


def test_unreachable_venue_says_so() -> None:
    # At an address whose clock no other test has read.
    account = Account(desk=make_desk(), venue=make_venue("http://127.0.0.1:1"), name="alpha")
    credentials.seal(account, api_key="key", secret="secret")
    account.save()

    reading = read(account)

    assert reading.failure.startswith("GET /fapi/v1/time: no connection to the venue (")


def test_account_without_credentials_says_what_to_do() -> None:
    account = Account.objects.create(desk=make_desk(), venue=make_venue("http://127.0.0.1:9"), name="alpha")

    reading = read(account)

    assert reading.failure == "alpha has no credentials: enter its key and secret in the admin"


def told_time(said: str, words: str) -> str:
    found = re.fullmatch(said, words)
    assert found, words
    return found[1]


def seconds_before(at: datetime) -> list[str]:
    """The time of day right then, and two seconds before: what is told is worked out a moment earlier."""
    return [f"{at - timedelta(seconds=number):%H:%M:%S}" for number in range(3)]


def test_refusing_venue_is_left_alone_for_as_long_as_it_wants(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    simulator.fault("429_retry_after", seconds=40)
    before = timezone.now()

    reading = read(account)

    said = r"until ([\d:]{8}) the venue refuses calls: GET /fapi/v1/\w+: HTTP 429 -1003 .*"
    assert told_time(said, reading.failure) in seconds_before(reading.due_at)
    assert reading.due_at >= before + timedelta(seconds=40)
    requests = len(simulator.log())
    assert read(account).due_at >= reading.due_at - timedelta(seconds=1)
    assert len(simulator.log()) == requests


def test_account_behind_a_limit_that_the_venue_refuses_says_until_when(simulator: SimulatorProcess) -> None:
    refused, other = make_account(simulator), make_account(simulator, name="beta")
    good = read(other)
    simulator.fault("418", account=refused.name, seconds=300)
    read(refused)
    requests = len(simulator.log())

    reading = read(other)

    said = r"until ([\d:]{8}) the venue refuses fapi calls: GET /fapi/v1/\w+: HTTP 418 -1003 .*"
    assert told_time(said, reading.failure) in seconds_before(reading.due_at)
    assert reading.due_at > timezone.now() + timedelta(seconds=280)
    assert (reading.orders, reading.read_at) == (good.orders, good.read_at)
    assert len(simulator.log()) == requests


@pytest.mark.parametrize("adapter", VENUES)
def test_spent_budget_is_no_failure_but_a_later_reading(simulator: SimulatorProcess, adapter: str) -> None:
    account = make_account(simulator, adapter)
    seed(simulator, account)
    good = read(account)
    limit = VENUES[adapter].listing_limit()
    budget = share(account)
    budget.spend(limit, budget.cap(limit) - (budget.used(limit) or 0))
    requests = len(simulator.log())

    reading = read(account)

    assert (reading.failure, reading.failing_since) == ("", None)
    assert (reading.orders, reading.read_at) == (good.orders, good.read_at)
    assert reading.due_at > good.due_at
    assert len(simulator.log()) == requests


def test_account_of_more_pages_than_reads_may_take_says_so(simulator: SimulatorProcess) -> None:
    account = make_account(simulator, "coinswitch")
    seed(simulator, account, 400)

    reading = read(account)

    said = r"its pages are more than could be read: the open limit \(20 a 60 s\) is used up until [\d:]{8}"
    assert re.fullmatch(said, reading.failure), reading.failure
    assert reading.due_at > timezone.now() + timedelta(seconds=50)
    assert len(simulator.log()) <= 10 + 1  # the share of reads, and the clock


@pytest.mark.parametrize("adapter", [slug for slug in VENUES if slug != "coinswitch"])
def test_one_reading_fits_even_where_the_cancels_need_the_whole_limit(adapter: str) -> None:
    account = Account(name="alpha", venue=Venue(base_url="http://127.0.0.1:9"))
    limit = VENUES[adapter].listing_limit()

    budget = AccountBudget(account, Work.READ, keep_free=limit.amount)

    clock = 1
    assert budget.cap(limit) >= readings.reading_weight(VENUES[adapter]) + clock


@pytest.mark.parametrize(
    ("adapter", "accounts", "interval_s"),
    [
        ("binance-usdm", 1, 5.0),
        ("binance-usdm", 30, 1.1 * 80 * 30 / 18),
        ("binance-options", 30, 1.1 * 40 * 30 / 18),
        ("binance-portfolio", 2, 1.1 * 665 * 2 / 45),
        ("coinswitch", 1, 1.1 * 5 / (10 / 60)),
        ("coinswitch", 30, 1.1 * 5 / (10 / 60)),  # its limits count by key
    ],
)
def test_interval_stretches_with_the_accounts_behind_one_limit(
    adapter: str, accounts: int, interval_s: float
) -> None:
    venue, desk = make_venue("http://127.0.0.1:9", adapter), make_desk()
    Account.objects.bulk_create(Account(desk=desk, venue=venue, name=f"{n}") for n in range(accounts))
    Account.objects.create(desk=desk, venue=venue, name="disabled", enabled=False)
    Account.objects.create(desk=desk, venue=make_venue("http://127.0.0.2:9", adapter), name="elsewhere")
    account = Account.objects.get(name="0")

    planned_s = readings.planned_interval_s(account, share(account))

    assert planned_s == pytest.approx(interval_s)


def test_interval_follows_a_limit_that_the_venue_granted() -> None:
    venue = make_venue("http://127.0.0.1:9", limit_override=240)
    account = Account.objects.create(desk=make_desk(), venue=venue, name="alpha")

    assert readings.planned_interval_s(account, share(account)) == pytest.approx(1.1 * 80 / 1.8)


@pytest.mark.parametrize("adapter", VENUES)
def test_however_often_accounts_are_read_the_reserve_stays_whole(
    simulator: SimulatorProcess, adapter: str
) -> None:
    accounts = [make_account(simulator, adapter, name) for name in ("alpha", "beta", "gamma")]
    for account in accounts:
        seed(simulator, account)
    limit = VENUES[adapter].listing_limit()
    sharers = 1 if limit.per == "address" else len(accounts)

    for _ in range(12):
        for account in accounts:
            assert read(account).failure == ""

    log = simulator.log()
    listings = [entry for entry in log if "time" not in entry["path"] and "ping" not in entry["path"]]
    used = len(listings) if limit.per == "key" else sum(entry["weight"] for entry in log)
    assert {entry["status"] for entry in log} == {200}
    assert 0 < used <= sharers * limit.amount // 2
    for account in accounts[:sharers]:
        AccountBudget(account, Work.PANIC).spend(limit, limit.amount // 2)


def test_countdowns_that_the_venue_reports_are_kept(simulator: SimulatorProcess) -> None:
    account = make_account(simulator, "binance-options")
    adapter = BinanceOptions(
        simulator.url, credentials.unseal(account), budget=Unlimited(), account=account.name
    )
    adapter.set_countdown("BTCUSDT", 60_000)
    adapter.set_countdown("ETHUSDT", 120_000)
    read(account)
    assert list(account.countdowns.values_list("scope", "countdown_ms")) == [
        ("BTCUSDT", 60_000),
        ("ETHUSDT", 120_000),
    ]

    adapter.set_countdown("BTCUSDT", 0)
    adapter.set_countdown("ETHUSDT", 90_000)
    before = timezone.now()
    read(account)

    left = Countdown.objects.get()
    assert (left.scope, left.countdown_ms) == ("ETHUSDT", 90_000)
    assert left.venue_read_at >= before


def test_options_account_of_no_market_maker_is_read_without_countdowns(simulator: SimulatorProcess) -> None:
    account = make_account(simulator, "binance-options", market_maker=False)
    seed(simulator, account, 2)

    reading = read(account)

    assert (reading.failure, counts(reading)) == ("", (2, 0, 0))
    assert not account.countdowns.exists()


def test_task_reads_an_enabled_account_only(simulator: SimulatorProcess) -> None:
    account, disabled = make_account(simulator), make_account(simulator, name="beta", enabled=False)

    tasks.read_account(account.pk)
    tasks.read_account(disabled.pk)

    assert [reading.account for reading in Reading.objects.exclude(read_at=None)] == [account]


def test_error_that_nobody_expected_is_put_on_the_board() -> None:
    venue = make_venue("http://127.0.0.1:9", "no such venue")
    account = Account.objects.create(desk=make_desk(), venue=venue, name="alpha")

    with pytest.raises(KeyError):
        tasks.read_account(account.pk)

    reading = Reading.objects.get()
    assert reading.failure == "panicboard failed to read it (KeyError); see the log"
    assert reading.failing_since is not None
