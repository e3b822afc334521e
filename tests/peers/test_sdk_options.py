"""Binance's official options SDK, unmodified, against the simulator."""

import pytest
from binance_common.errors import (
    BadRequestError,
    ClientError,
    NetworkError,
    RateLimitBanError,
    ServerError,
    TooManyRequestsError,
    UnauthorizedError,
)
from binance_sdk_derivatives_trading_options import DerivativesTradingOptions
from binance_sdk_derivatives_trading_options.rest_api import DerivativesTradingOptionsRestAPI
from binance_sdk_derivatives_trading_options.rest_api.models import (
    NewOrderSideEnum,
    NewOrderTimeInForceEnum,
    NewOrderTypeEnum,
)

from tests.peers.sdk import sdk_config
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]

Sdk = DerivativesTradingOptionsRestAPI
CALL = "BTC-200730-9000-C"
PUT = "BTC-200730-9000-P"


def connect(simulator: SimulatorProcess, account: dict[str, str], **options: str) -> Sdk:
    """The SDK's REST client of an account."""
    return DerivativesTradingOptions(config_rest_api=sdk_config(simulator, account, **options)).rest_api


@pytest.fixture
def account(simulator: SimulatorProcess) -> dict[str, str]:
    return simulator.create_account("binance-options", "sdk")


@pytest.fixture
def sdk(simulator: SimulatorProcess, account: dict[str, str]) -> Sdk:
    """A client for whom two contracts are listed that carry no orders."""
    for symbol in (CALL, PUT):
        simulator.seed("sdk", symbol)
    sdk = connect(simulator, account)
    sdk.cancel_all_option_orders_by_underlying("BTCUSDT")
    return sdk


def place(sdk: Sdk, symbol: str = CALL, client_order_id: str | None = None) -> int:
    """Place a resting order. Returns its id."""
    placed = sdk.new_order(
        symbol=symbol,
        side=NewOrderSideEnum.BUY,
        type=NewOrderTypeEnum.LIMIT,
        quantity=1.0,
        price=100.0,
        time_in_force=NewOrderTimeInForceEnum.GTC,
        client_order_id=client_order_id,
    ).data()
    assert placed.order_id is not None
    return placed.order_id


def open_ids(sdk: Sdk) -> list[int]:
    return [order.order_id for order in sdk.query_current_open_option_orders().data()]


@pytest.mark.parametrize("key_type", ["hmac", "ed25519", "rsa"])
def test_order_lives_and_dies_under_every_key_type(simulator: SimulatorProcess, key_type: str) -> None:
    account = simulator.create_account("binance-options", "keys", key_type=key_type)
    sdk = connect(simulator, account)
    symbol = sdk.exchange_information().data().option_symbols[0].symbol
    order_id = place(sdk, symbol, "mine")

    [listed] = sdk.query_current_open_option_orders().data()
    told = sdk.cancel_option_order(symbol, order_id=order_id).data()
    asked = sdk.query_single_order(symbol, client_order_id="mine").data()

    assert order_id > 2**53
    assert (listed.order_id, listed.status) == (order_id, "NEW")
    assert (told.order_id, told.status) == (order_id, "NEW")  # the state from before the cancel
    assert (asked.order_id, asked.status) == (order_id, "CANCELED")


def test_batch_cancel_by_ids(sdk: Sdk) -> None:
    first, second, third = place(sdk), place(sdk), place(sdk)

    told = sdk.cancel_multiple_option_orders(CALL, order_ids=[first, third]).data()

    assert [item.order_id for item in told] == [first, third]
    assert open_ids(sdk) == [second]


def test_batch_cancel_by_client_ids(sdk: Sdk) -> None:
    place(sdk, client_order_id="one")
    second = place(sdk, client_order_id="two")

    sdk.cancel_multiple_option_orders(CALL, client_order_ids=["one"])

    assert open_ids(sdk) == [second]


def test_cancel_all_of_a_symbol_and_of_an_underlying(sdk: Sdk) -> None:
    place(sdk, CALL)
    put = place(sdk, PUT)

    by_symbol = sdk.cancel_all_option_orders_on_specific_symbol(CALL).data()
    after_symbol = open_ids(sdk)
    by_underlying = sdk.cancel_all_option_orders_by_underlying("BTCUSDT").data()

    assert (by_symbol.code, by_symbol.msg) == ("0", "success")
    assert after_symbol == [put]
    assert (by_underlying.code, by_underlying.msg) == (0, "success")
    assert open_ids(sdk) == []


def test_countdown_is_set_read_kept_alive_and_turned_off(sdk: Sdk) -> None:
    armed = sdk.set_auto_cancel_all_open_orders("BTCUSDT", 30_000).data()
    read = sdk.get_auto_cancel_all_open_orders("BTCUSDT").data()
    beat = sdk.auto_cancel_all_open_orders("BTCUSDT,ETHUSDT").data()
    off = sdk.set_auto_cancel_all_open_orders("BTCUSDT", 0).data()

    assert (armed.underlying, armed.countdown_time) == ("BTCUSDT", 30_000)
    assert (read.underlying, read.countdown_time) == ("BTCUSDT", 30_000)
    assert beat.underlyings == ["BTCUSDT"]  # ETHUSDT has no countdown to restart
    assert off.countdown_time == 0


def test_history_and_account_are_read(sdk: Sdk) -> None:
    order_id = place(sdk)
    sdk.cancel_all_option_orders_on_specific_symbol(CALL)

    finished = sdk.query_option_order_history(CALL).data()

    assert (finished[-1].order_id, finished[-1].status) == (order_id, "CANCELED")
    assert sdk.option_margin_account_information().data().can_trade is True
    assert sdk.check_server_time().data().server_time > 1_700_000_000_000


@pytest.mark.parametrize(
    ("options", "error", "code"),
    [
        ({"api_secret": "wrong"}, BadRequestError, -1022),
        ({"api_key": "short"}, UnauthorizedError, -2014),
        ({"api_key": "x" * 64}, UnauthorizedError, -2015),
    ],
)
def test_bad_credentials_raise(
    simulator: SimulatorProcess,
    account: dict[str, str],
    options: dict[str, str],
    error: type[ClientError],
    code: int,
) -> None:
    sdk = connect(simulator, account, **options)

    with pytest.raises(error) as raised:
        sdk.query_current_open_option_orders()

    assert raised.value.status_code == code


def test_clock_apart_raises(simulator: SimulatorProcess, sdk: Sdk) -> None:
    simulator.fault("clock_skew_ms", account="sdk", ms=60_000)

    with pytest.raises(BadRequestError) as raised:
        sdk.query_current_open_option_orders()

    assert raised.value.status_code == -1021


def test_countdown_is_for_market_makers_only(simulator: SimulatorProcess) -> None:
    sdk = connect(simulator, simulator.create_account("binance-options", "taker", market_maker=False))

    with pytest.raises(BadRequestError) as raised:
        sdk.set_auto_cancel_all_open_orders("BTCUSDT", 30_000)

    assert raised.value.status_code == -6005


@pytest.mark.parametrize(
    ("call", "params", "code"),
    [
        ("query_current_open_option_orders", {"symbol": "BTC-200730-1-C"}, -1121),
        ("query_current_open_option_orders", {"recv_window": 70_000}, -1131),
        ("query_single_order", {"symbol": CALL, "order_id": 1}, -2013),
        ("cancel_option_order", {"symbol": CALL, "order_id": 1}, -2013),
        ("query_single_order", {"symbol": CALL}, -1102),
        ("cancel_all_option_orders_by_underlying", {"underlying": "NOPE"}, -1128),
        ("cancel_multiple_option_orders", {"symbol": CALL, "order_ids": list(range(11))}, -6011),
        ("cancel_multiple_option_orders", {"symbol": CALL}, -1102),
        ("set_auto_cancel_all_open_orders", {"underlying": "BTCUSDT", "countdown_time": 4999}, -6009),
    ],
)
def test_bad_question_raises(sdk: Sdk, call: str, params: dict[str, object], code: int) -> None:
    with pytest.raises(BadRequestError) as raised:
        getattr(sdk, call)(**params)

    assert raised.value.status_code == code


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "429"}, TooManyRequestsError),
        ({"kind": "418", "seconds": 60}, RateLimitBanError),
        ({"kind": "not_done_503c"}, ServerError),
        ({"kind": "cut_before"}, NetworkError),
        ({"kind": "key_revoked"}, UnauthorizedError),
    ],
)
def test_bad_day_raises(
    simulator: SimulatorProcess, sdk: Sdk, fault: dict[str, object], error: type[Exception]
) -> None:
    simulator.fault(account="sdk", **fault)

    with pytest.raises(error):
        sdk.cancel_all_option_orders_by_underlying("BTCUSDT")
