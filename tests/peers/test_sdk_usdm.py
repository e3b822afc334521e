"""Binance's official USD-M SDK, unmodified, against the simulator."""

import pytest
from binance_common.errors import (
    BadRequestError,
    ClientError,
    ForbiddenError,
    NetworkError,
    RateLimitBanError,
    ServerError,
    TooManyRequestsError,
    UnauthorizedError,
)
from binance_sdk_derivatives_trading_usds_futures import DerivativesTradingUsdsFutures
from binance_sdk_derivatives_trading_usds_futures.rest_api import DerivativesTradingUsdsFuturesRestAPI
from binance_sdk_derivatives_trading_usds_futures.rest_api.models import (
    NewAlgoOrderAlgoTypeEnum,
    NewAlgoOrderSideEnum,
    NewAlgoOrderTypeEnum,
    NewOrderSideEnum,
    NewOrderTimeInForceEnum,
    NewOrderTypeEnum,
)

from tests.peers.sdk import sdk_config
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]

Sdk = DerivativesTradingUsdsFuturesRestAPI


def connect(simulator: SimulatorProcess, account: dict[str, str], **options: str) -> Sdk:
    """The SDK's REST client of an account."""
    return DerivativesTradingUsdsFutures(config_rest_api=sdk_config(simulator, account, **options)).rest_api


@pytest.fixture
def account(simulator: SimulatorProcess) -> dict[str, str]:
    return simulator.create_account("binance-usdm", "sdk")


@pytest.fixture
def sdk(simulator: SimulatorProcess, account: dict[str, str]) -> Sdk:
    return connect(simulator, account)


def place(sdk: Sdk, client_order_id: str | None = None) -> int:
    """Place a resting order. Returns its id."""
    placed = sdk.new_order(
        symbol="BTCUSDT",
        side=NewOrderSideEnum.BUY,
        type=NewOrderTypeEnum.LIMIT,
        time_in_force=NewOrderTimeInForceEnum.GTC,
        quantity=0.01,
        price=90000.0,
        new_client_order_id=client_order_id,
    ).data()
    assert placed.order_id is not None
    return placed.order_id


def place_algo(sdk: Sdk) -> int:
    """Place a stop. Returns its id."""
    placed = sdk.new_algo_order(
        algo_type=NewAlgoOrderAlgoTypeEnum.CONDITIONAL,
        symbol="BTCUSDT",
        side=NewAlgoOrderSideEnum.SELL,
        type=NewAlgoOrderTypeEnum.STOP_MARKET,
        quantity=0.01,
        trigger_price=80000.0,
    ).data()
    assert placed.algo_id is not None
    return placed.algo_id


@pytest.mark.parametrize("key_type", ["hmac", "ed25519", "rsa"])
def test_order_lives_and_dies_under_every_key_type(simulator: SimulatorProcess, key_type: str) -> None:
    sdk = connect(simulator, simulator.create_account("binance-usdm", "keys", key_type=key_type))
    order_id = place(sdk, "mine")

    listed = sdk.current_all_open_orders().data()
    cancelled = sdk.cancel_order("BTCUSDT", orig_client_order_id="mine").data()
    asked = sdk.query_order("BTCUSDT", order_id=order_id).data()

    assert [(order.order_id, order.status) for order in listed] == [(order_id, "NEW")]
    assert (cancelled.order_id, cancelled.status) == (order_id, "CANCELED")
    assert (asked.client_order_id, asked.status, asked.orig_qty) == ("mine", "CANCELED", "0.01")


def test_cancel_all_is_acknowledged(sdk: Sdk) -> None:
    place(sdk)
    place(sdk)

    told = sdk.cancel_all_open_orders("BTCUSDT").data()

    assert (told.code, told.msg) == (200, "The operation of cancel all open order is done.")
    assert sdk.current_all_open_orders("BTCUSDT").data() == []


def test_batch_cancel_answers_in_the_order_asked(sdk: Sdk) -> None:
    first, second = place(sdk), place(sdk)

    told = sdk.cancel_multiple_orders("BTCUSDT", order_id_list=[second, 1, first]).data()

    assert [(item.order_id, item.status, item.code) for item in told] == [
        (second, "CANCELED", None),
        (None, None, -2011),
        (first, "CANCELED", None),
    ]


def test_batch_cancel_by_client_ids(sdk: Sdk) -> None:
    order_id = place(sdk, "mine")

    told = sdk.cancel_multiple_orders("BTCUSDT", orig_client_order_id_list=["mine"]).data()

    assert [(item.order_id, item.status) for item in told] == [(order_id, "CANCELED")]


def test_algo_orders_are_a_book_of_their_own(sdk: Sdk) -> None:
    algo_id = place_algo(sdk)

    listed = sdk.current_all_algo_open_orders().data()
    ordinary = sdk.current_all_open_orders().data()
    cancelled = sdk.cancel_algo_order(algo_id=algo_id).data()
    asked = sdk.query_algo_order(algo_id=algo_id).data()

    assert [(order.algo_id, order.algo_status) for order in listed] == [(algo_id, "NEW")]
    assert ordinary == []
    assert (cancelled.algo_id, cancelled.code, cancelled.msg) == (algo_id, "200", "success")
    assert asked.algo_status == "CANCELED"


def test_cancel_all_algo_orders_of_a_symbol(sdk: Sdk) -> None:
    place_algo(sdk)

    told = sdk.cancel_all_algo_open_orders("BTCUSDT").data()

    assert told.code == 200
    assert sdk.current_all_algo_open_orders(symbol="BTCUSDT").data() == []


def test_countdown_is_armed_and_disarmed(simulator: SimulatorProcess, sdk: Sdk) -> None:
    armed = sdk.auto_cancel_all_open_orders("BTCUSDT", 120_000).data()
    while_armed = simulator.control("GET", "state")["countdowns"]
    disarmed = sdk.auto_cancel_all_open_orders("BTCUSDT", 0).data()

    assert (armed.symbol, armed.countdown_time) == ("BTCUSDT", "120000")
    assert len(while_armed) == 1
    assert disarmed.countdown_time == "0"
    assert simulator.control("GET", "state")["countdowns"] == []


def test_clock_rules_and_account_are_read(sdk: Sdk) -> None:
    assert sdk.check_server_time().data().server_time > 1_700_000_000_000
    assert sdk.futures_account_configuration().data().can_trade is True
    symbols = [symbol.symbol for symbol in sdk.exchange_information().data().symbols]
    assert {"BTCUSDT", "测试USDT"} <= set(symbols)


def test_history_tells_finished_orders(sdk: Sdk) -> None:
    order_id, algo_id = place(sdk), place_algo(sdk)
    sdk.cancel_all_open_orders("BTCUSDT")
    sdk.cancel_all_algo_open_orders("BTCUSDT")

    ordinary = sdk.all_orders("BTCUSDT").data()
    algo = sdk.query_all_algo_orders("BTCUSDT").data()

    assert [(order.order_id, order.status) for order in ordinary] == [(order_id, "CANCELED")]
    assert [(order.algo_id, order.algo_status) for order in algo] == [(algo_id, "CANCELED")]


def test_used_weight_is_read_from_the_headers(sdk: Sdk) -> None:
    [used] = sdk.current_all_open_orders().rate_limits

    assert (used.rateLimitType, used.interval, used.intervalNum, used.count) == (
        "REQUEST_WEIGHT",
        "MINUTE",
        1,
        40,
    )


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
        sdk.current_all_open_orders()

    assert raised.value.status_code == code


def test_clock_apart_raises(simulator: SimulatorProcess, sdk: Sdk) -> None:
    simulator.fault("clock_skew_ms", account="sdk", ms=60_000)

    with pytest.raises(BadRequestError) as raised:
        sdk.current_all_open_orders()

    assert raised.value.status_code == -1021


@pytest.mark.parametrize(
    ("call", "params", "code"),
    [
        ("current_all_open_orders", {"symbol": "NOPE"}, -1121),
        ("current_all_open_orders", {"recv_window": 70_000}, -1130),
        ("cancel_order", {"symbol": "BTCUSDT", "order_id": 1}, -2011),
        ("cancel_order", {"symbol": "BTCUSDT"}, -1102),
        ("query_order", {"symbol": "BTCUSDT", "order_id": 1}, -2013),
        ("query_algo_order", {"algo_id": 1}, -2013),
        ("cancel_algo_order", {"algo_id": 1}, -2011),
        ("cancel_multiple_orders", {"symbol": "BTCUSDT", "order_id_list": list(range(11))}, -4032),
        ("auto_cancel_all_open_orders", {"symbol": "NOPE", "countdown_time": 1000}, -1121),
    ],
)
def test_bad_question_raises(sdk: Sdk, call: str, params: dict[str, object], code: int) -> None:
    with pytest.raises(BadRequestError) as raised:
        getattr(sdk, call)(**params)

    assert raised.value.status_code == code


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "429_retry_after", "seconds": 7}, TooManyRequestsError),
        ({"kind": "418", "seconds": 60}, RateLimitBanError),
        ({"kind": "403_html"}, ForbiddenError),
        ({"kind": "done_then_503a"}, ServerError),
        ({"kind": "cut_after"}, NetworkError),
        ({"kind": "key_revoked"}, UnauthorizedError),
    ],
)
def test_bad_day_raises(
    simulator: SimulatorProcess, sdk: Sdk, fault: dict[str, object], error: type[Exception]
) -> None:
    simulator.fault(account="sdk", **fault)

    with pytest.raises(error) as raised:
        sdk.cancel_all_open_orders("BTCUSDT")

    assert getattr(raised.value, "retry_after", None) == (7 if error is TooManyRequestsError else None)
