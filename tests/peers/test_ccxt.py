"""ccxt, unmodified, against the simulator: USD-M, options, and portfolio margin."""

from typing import Any

import ccxt
import pytest

from tests.peers.ccxt_client import connect
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]

PERPETUAL = "BTC/USDT:USDT"
COIN_MARGINED = "BTC/USD:BTC"
PAIR = "BTC/USDT"
STOP = {"stopLossPrice": 80000}
TRIGGER = {"trigger": True}


def ids(orders: list[dict[str, Any]]) -> list[str]:
    return [order["id"] for order in orders]


# USD-M futures.


@pytest.fixture(scope="module")
def usdm_client(simulator_server: SimulatorProcess) -> ccxt.Exchange:
    """One client for all tests: making one takes a while, and an account's keys follow from its name."""
    account = simulator_server.create_account("binance-usdm", "ccxt-usdm")
    return connect(ccxt.binanceusdm, simulator_server, account)


@pytest.fixture
def account(simulator: SimulatorProcess) -> dict[str, str]:
    return simulator.create_account("binance-usdm", "ccxt-usdm")


@pytest.fixture
def usdm(usdm_client: ccxt.Exchange, account: dict[str, str]) -> ccxt.Exchange:
    return usdm_client


def test_usdm_markets_load_with_the_clock(simulator: SimulatorProcess, account: dict[str, str]) -> None:
    simulator.fault("clock_skew_ms", venue="binance-usdm", ms=3_600_000)
    usdm = connect(ccxt.binanceusdm, simulator, account, adjustForTimeDifference=True)

    markets = usdm.load_markets()

    assert (markets[PERPETUAL]["id"], markets[PERPETUAL]["linear"]) == ("BTCUSDT", True)
    assert -3_601_000 < usdm.options["timeDifference"] < -3_599_000
    assert usdm.fetch_open_orders(PERPETUAL) == []


@pytest.mark.parametrize("key_type", ["hmac", "ed25519", "rsa"])
def test_usdm_order_lives_and_dies_under_every_key_type(simulator: SimulatorProcess, key_type: str) -> None:
    account = simulator.create_account("binance-usdm", "keys", key_type=key_type)
    usdm = connect(ccxt.binanceusdm, simulator, account)

    placed = usdm.create_order(PERPETUAL, "limit", "buy", 0.01, 90000)
    listed = usdm.fetch_open_orders()
    cancelled = usdm.cancel_order(placed["id"], PERPETUAL)
    asked = usdm.fetch_order(placed["id"], PERPETUAL)

    assert (placed["status"], placed["symbol"], placed["amount"]) == ("open", PERPETUAL, 0.01)
    assert ids(listed) == [placed["id"]]
    assert (cancelled["status"], asked["status"]) == ("canceled", "canceled")
    assert usdm.fetch_open_orders(PERPETUAL) == []


def test_usdm_cancel_all_leaves_conditional_orders(usdm: ccxt.Exchange) -> None:
    usdm.create_order(PERPETUAL, "limit", "buy", 0.01, 90000)
    stop = usdm.create_order(PERPETUAL, "market", "sell", 0.01, None, STOP)

    usdm.cancel_all_orders(PERPETUAL)

    assert usdm.fetch_open_orders(PERPETUAL) == []
    assert ids(usdm.fetch_open_orders(PERPETUAL, params=TRIGGER)) == [stop["id"]]


def test_usdm_conditional_order_lives_and_dies(usdm: ccxt.Exchange) -> None:
    stop = usdm.create_order(PERPETUAL, "market", "sell", 0.01, None, STOP)
    asked = usdm.fetch_order(stop["id"], PERPETUAL, TRIGGER)

    usdm.cancel_order(stop["id"], PERPETUAL, TRIGGER)

    after = usdm.fetch_order(stop["id"], PERPETUAL, TRIGGER)
    assert (asked["status"], asked["triggerPrice"], asked["side"]) == ("open", 80000.0, "sell")
    assert after["status"] == "canceled"


def test_usdm_cancel_all_conditional_orders(usdm: ccxt.Exchange) -> None:
    usdm.create_order(PERPETUAL, "market", "sell", 0.01, None, STOP)
    usdm.create_order(PERPETUAL, "limit", "sell", 0.01, 79900, STOP)

    usdm.cancel_all_orders(PERPETUAL, TRIGGER)

    assert usdm.fetch_open_orders(PERPETUAL, params=TRIGGER) == []


def test_usdm_batch_cancel(usdm: ccxt.Exchange) -> None:
    placed = [usdm.create_order(PERPETUAL, "limit", "buy", 0.01, 90000) for _ in range(3)]

    usdm.cancel_orders(ids(placed[:2]), PERPETUAL)

    assert ids(usdm.fetch_open_orders(PERPETUAL)) == [placed[2]["id"]]


def test_usdm_countdown_is_armed_and_disarmed(simulator: SimulatorProcess, usdm: ccxt.Exchange) -> None:
    armed = usdm.fapiPrivatePostCountdownCancelAll({"symbol": "BTCUSDT", "countdownTime": 120000})
    while_armed = simulator.control("GET", "state")["countdowns"]
    usdm.fapiPrivatePostCountdownCancelAll({"symbol": "BTCUSDT", "countdownTime": 0})

    assert armed == {"symbol": "BTCUSDT", "countdownTime": "120000"}
    assert len(while_armed) == 1
    assert simulator.control("GET", "state")["countdowns"] == []


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"secret": "wrong"}, ccxt.AuthenticationError),
        ({"api_key": "short"}, ccxt.AuthenticationError),
        ({"api_key": "x" * 64}, ccxt.AuthenticationError),
    ],
)
def test_usdm_bad_credentials_raise(
    simulator: SimulatorProcess, account: dict[str, str], wrong: dict[str, str], error: type[Exception]
) -> None:
    usdm = connect(ccxt.binanceusdm, simulator, account | wrong)

    with pytest.raises(error):
        usdm.fetch_open_orders(PERPETUAL)


def test_usdm_clock_apart_raises(simulator: SimulatorProcess, usdm: ccxt.Exchange) -> None:
    simulator.fault("clock_skew_ms", account="ccxt-usdm", ms=60_000)

    with pytest.raises(ccxt.InvalidNonce):
        usdm.fetch_open_orders(PERPETUAL)


@pytest.mark.parametrize(
    ("call", "arguments", "error"),
    [
        ("cancel_order", ("1", PERPETUAL), ccxt.OrderNotFound),
        ("fetch_order", ("1", PERPETUAL), ccxt.OrderNotFound),
        ("cancel_order", ("1", PERPETUAL, TRIGGER), ccxt.OrderNotFound),
        ("fetch_order", ("1", PERPETUAL, TRIGGER), ccxt.OrderNotFound),
        ("fetch_order", ("one", PERPETUAL), ccxt.BadRequest),
        ("fapiPrivateGetOpenOrders", ({"symbol": "NOPE"},), ccxt.BadSymbol),
        ("fapiPrivateGetOrder", ({"symbol": "BTCUSDT"},), ccxt.BadRequest),
    ],
)
def test_usdm_bad_question_raises(
    usdm: ccxt.Exchange, call: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        getattr(usdm, call)(*arguments)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "429"}, ccxt.DDoSProtection),
        ({"kind": "418", "seconds": 60}, ccxt.DDoSProtection),
        ({"kind": "done_then_503a"}, ccxt.ExchangeNotAvailable),
        ({"kind": "cut_before"}, ccxt.NetworkError),
        ({"kind": "key_revoked"}, ccxt.AuthenticationError),
    ],
)
def test_usdm_bad_day_raises(
    simulator: SimulatorProcess, usdm: ccxt.Exchange, fault: dict[str, object], error: type[Exception]
) -> None:
    usdm.load_markets()
    simulator.fault(account="ccxt-usdm", **fault)

    with pytest.raises(error):
        usdm.cancel_all_orders(PERPETUAL)


# Options.


@pytest.fixture(scope="module")
def options_client(simulator_server: SimulatorProcess) -> ccxt.Exchange:
    account = simulator_server.create_account("binance-options", "ccxt-options")
    chosen = {"defaultType": "option", "fetchMarkets": {"types": ["option"]}}
    return connect(ccxt.binance, simulator_server, account, **chosen)


@pytest.fixture
def options(simulator: SimulatorProcess, options_client: ccxt.Exchange) -> ccxt.Exchange:
    simulator.create_account("binance-options", "ccxt-options")
    return options_client


def contract(options: ccxt.Exchange) -> str:
    """A call on bitcoin."""
    markets = options.load_markets().values()
    return next(market["symbol"] for market in markets if market["base"] == "BTC")


def test_options_order_lives_and_dies(options: ccxt.Exchange) -> None:
    symbol = contract(options)

    placed = options.create_order(symbol, "limit", "buy", 1, 100)
    listed = options.fetch_open_orders()
    told = options.cancel_order(placed["id"], symbol)
    asked = options.fetch_order(placed["id"], symbol)

    assert int(placed["id"]) > 2**53
    assert ids(listed) == [placed["id"]]
    assert told["status"] == "open"  # the state from before the cancel
    assert asked["status"] == "canceled"


def test_options_cancel_all(options: ccxt.Exchange) -> None:
    symbol = contract(options)
    options.create_order(symbol, "limit", "buy", 1, 100)

    options.cancel_all_orders(symbol)

    assert options.fetch_open_orders(symbol) == []
    assert [order["status"] for order in options.fetch_orders(symbol)] == ["canceled"]


def test_options_countdown_is_set_and_kept_alive(options: ccxt.Exchange) -> None:
    armed = options.eapiPrivatePostCountdownCancelAll({"underlying": "BTCUSDT", "countdownTime": 30000})
    beat = options.eapiPrivatePostCountdownCancelAllHeartBeat({"underlyings": "BTCUSDT,ETHUSDT"})

    assert armed == {"underlying": "BTCUSDT", "countdownTime": "30000"}  # ccxt reads numbers as text
    assert beat == {"underlyings": ["BTCUSDT"]}


def test_options_unknown_order_raises(options: ccxt.Exchange) -> None:
    with pytest.raises(ccxt.OrderNotFound):
        options.fetch_order("1", contract(options))


# Portfolio margin.


@pytest.fixture(scope="module")
def portfolio_client(simulator_server: SimulatorProcess) -> ccxt.Exchange:
    account = simulator_server.create_account("binance-portfolio", "ccxt-portfolio")
    return connect(ccxt.binance, simulator_server, account, portfolioMargin=True)


@pytest.fixture
def portfolio(simulator: SimulatorProcess, portfolio_client: ccxt.Exchange) -> ccxt.Exchange:
    simulator.create_account("binance-portfolio", "ccxt-portfolio")
    return portfolio_client


@pytest.mark.parametrize(
    ("symbol", "amount"), [(PERPETUAL, 0.01), (COIN_MARGINED, 2), (PAIR, 0.01)], ids=["um", "cm", "margin"]
)
def test_portfolio_order_lives_and_dies(portfolio: ccxt.Exchange, symbol: str, amount: float) -> None:
    placed = portfolio.create_order(symbol, "limit", "buy", amount, 90000)
    listed = portfolio.fetch_open_orders(symbol)
    cancelled = portfolio.cancel_order(placed["id"], symbol)
    asked = portfolio.fetch_order(placed["id"], symbol)

    assert int(placed["id"]) > 2**53
    assert (placed["status"], ids(listed)) == ("open", [placed["id"]])
    assert (cancelled["status"], asked["status"]) == ("canceled", "canceled")


@pytest.mark.parametrize(
    ("symbol", "amount"), [(PERPETUAL, 0.01), (COIN_MARGINED, 2), (PAIR, 0.01)], ids=["um", "cm", "margin"]
)
def test_portfolio_cancel_all(
    simulator: SimulatorProcess, portfolio: ccxt.Exchange, symbol: str, amount: float
) -> None:
    portfolio.create_order(symbol, "limit", "buy", amount, 90000)

    portfolio.cancel_all_orders(symbol)

    assert portfolio.fetch_open_orders(symbol) == []
    assert simulator.book("ccxt-portfolio") == []


@pytest.mark.parametrize(("symbol", "amount"), [(PERPETUAL, 0.01), (COIN_MARGINED, 2)], ids=["um", "cm"])
def test_portfolio_conditional_order_lives_and_dies(
    portfolio: ccxt.Exchange, symbol: str, amount: float
) -> None:
    stop = portfolio.create_order(symbol, "market", "sell", amount, None, STOP)

    listed = portfolio.fetch_open_orders(symbol, params=TRIGGER)
    alone = portfolio.fetch_open_order(stop["id"], symbol, TRIGGER)
    told = portfolio.cancel_order(stop["id"], symbol, TRIGGER)
    [past] = portfolio.fetch_orders(symbol, params=TRIGGER)

    assert ids(listed) == [stop["id"]]
    assert (alone["id"], alone["triggerPrice"]) == (stop["id"], 80000.0)
    assert (told["status"], past["status"]) == ("canceled", "canceled")


@pytest.mark.parametrize(("symbol", "amount"), [(PERPETUAL, 0.01), (COIN_MARGINED, 2)], ids=["um", "cm"])
def test_portfolio_cancel_all_conditional_orders(
    portfolio: ccxt.Exchange, symbol: str, amount: float
) -> None:
    portfolio.create_order(symbol, "market", "sell", amount, None, STOP)

    portfolio.cancel_all_orders(symbol, TRIGGER)

    assert portfolio.fetch_open_orders(symbol, params=TRIGGER) == []


def test_portfolio_open_orders_of_every_symbol(portfolio: ccxt.Exchange) -> None:
    placed = portfolio.create_order(PERPETUAL, "limit", "buy", 0.01, 90000)
    coin = portfolio.create_order(COIN_MARGINED, "limit", "buy", 2, 90000)

    um = portfolio.fetch_open_orders(params={"type": "swap", "subType": "linear"})
    cm = portfolio.fetch_open_orders(params={"type": "swap", "subType": "inverse"})

    assert (ids(um), ids(cm)) == ([placed["id"]], [coin["id"]])


@pytest.mark.parametrize(
    ("call", "arguments", "error"),
    [
        ("cancel_order", ("1", PERPETUAL), ccxt.OrderNotFound),
        ("fetch_order", ("1", PAIR), ccxt.OrderNotFound),
        ("cancel_order", ("1", COIN_MARGINED, TRIGGER), ccxt.OrderNotFound),
        ("cancel_all_orders", (PAIR,), ccxt.OrderNotFound),
        ("papiGetUmOpenOrders", ({"symbol": "NOPE"},), ccxt.BadSymbol),
        ("papiGetUmOrder", ({"symbol": "BTCUSDT"},), ccxt.BadRequest),
    ],
)
def test_portfolio_bad_question_raises(
    portfolio: ccxt.Exchange, call: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        getattr(portfolio, call)(*arguments)
