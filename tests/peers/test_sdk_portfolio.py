"""Binance's official portfolio margin SDK, unmodified, against the simulator."""

import pytest
from binance_common.errors import (
    BadRequestError,
    ClientError,
    ForbiddenError,
    NetworkError,
    NotFoundError,
    ServerError,
    TooManyRequestsError,
    UnauthorizedError,
)
from binance_sdk_derivatives_trading_portfolio_margin import DerivativesTradingPortfolioMargin
from binance_sdk_derivatives_trading_portfolio_margin.rest_api import DerivativesTradingPortfolioMarginRestAPI
from binance_sdk_derivatives_trading_portfolio_margin.rest_api.models import (
    MarginAccountNewOcoSideEnum,
    MarginAccountNewOcoStopLimitTimeInForceEnum,
    NewCmConditionalOrderSideEnum,
    NewCmConditionalOrderStrategyTypeEnum,
    NewCmOrderSideEnum,
    NewCmOrderTimeInForceEnum,
    NewCmOrderTypeEnum,
    NewMarginOrderSideEnum,
    NewMarginOrderTimeInForceEnum,
    NewMarginOrderTypeEnum,
    NewUmAlgoOrderAlgoTypeEnum,
    NewUmAlgoOrderSideEnum,
    NewUmAlgoOrderTypeEnum,
    NewUmOrderSideEnum,
    NewUmOrderTimeInForceEnum,
    NewUmOrderTypeEnum,
)

from tests.peers.sdk import sdk_config
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]

Sdk = DerivativesTradingPortfolioMarginRestAPI


def connect(simulator: SimulatorProcess, account: dict[str, str], **options: str) -> Sdk:
    """The SDK's REST client of an account."""
    config = sdk_config(simulator, account, **options)
    return DerivativesTradingPortfolioMargin(config_rest_api=config).rest_api


@pytest.fixture
def account(simulator: SimulatorProcess) -> dict[str, str]:
    return simulator.create_account("binance-portfolio", "sdk")


@pytest.fixture
def sdk(simulator: SimulatorProcess, account: dict[str, str]) -> Sdk:
    return connect(simulator, account)


def place_um(sdk: Sdk) -> int:
    placed = sdk.new_um_order(
        symbol="BTCUSDT",
        side=NewUmOrderSideEnum.BUY,
        type=NewUmOrderTypeEnum.LIMIT,
        time_in_force=NewUmOrderTimeInForceEnum.GTC,
        quantity=0.01,
        price=90000.0,
    ).data()
    assert placed.order_id is not None
    return placed.order_id


def place_um_algo(sdk: Sdk) -> int:
    placed = sdk.new_um_algo_order(
        algo_type=NewUmAlgoOrderAlgoTypeEnum.CONDITIONAL,
        symbol="BTCUSDT",
        side=NewUmAlgoOrderSideEnum.SELL,
        type=NewUmAlgoOrderTypeEnum.STOP_MARKET,
        quantity=0.01,
        trigger_price=80000.0,
    ).data()
    assert placed.algo_id is not None
    return placed.algo_id


def place_cm(sdk: Sdk) -> int:
    placed = sdk.new_cm_order(
        symbol="BTCUSD_PERP",
        side=NewCmOrderSideEnum.SELL,
        type=NewCmOrderTypeEnum.LIMIT,
        time_in_force=NewCmOrderTimeInForceEnum.GTC,
        quantity=2.0,
        price=95000.0,
    ).data()
    assert placed.order_id is not None
    return placed.order_id


def place_cm_conditional(sdk: Sdk) -> int:
    placed = sdk.new_cm_conditional_order(
        symbol="BTCUSD_PERP",
        side=NewCmConditionalOrderSideEnum.SELL,
        strategy_type=NewCmConditionalOrderStrategyTypeEnum.STOP_MARKET,
        quantity=2.0,
        stop_price=80000.0,
    ).data()
    assert placed.strategy_id is not None
    return placed.strategy_id


def place_margin(sdk: Sdk) -> int:
    placed = sdk.new_margin_order(
        symbol="BTCUSDT",
        side=NewMarginOrderSideEnum.BUY,
        type=NewMarginOrderTypeEnum.LIMIT,
        time_in_force=NewMarginOrderTimeInForceEnum.GTC,
        quantity=0.01,
        price=90000.0,
    ).data()
    assert placed.order_id is not None
    return placed.order_id


def place_list(sdk: Sdk) -> int:
    placed = sdk.margin_account_new_oco(
        symbol="BTCUSDT",
        side=MarginAccountNewOcoSideEnum.SELL,
        quantity=0.01,
        price=99000.0,
        stop_price=80000.0,
        stop_limit_price=79900.0,
        stop_limit_time_in_force=MarginAccountNewOcoStopLimitTimeInForceEnum.GTC,
    ).data()
    assert placed.order_list_id is not None
    return placed.order_list_id


@pytest.mark.parametrize("key_type", ["hmac", "ed25519", "rsa"])
def test_um_order_lives_and_dies_under_every_key_type(simulator: SimulatorProcess, key_type: str) -> None:
    sdk = connect(simulator, simulator.create_account("binance-portfolio", "keys", key_type=key_type))
    order_id = place_um(sdk)

    [listed] = sdk.query_all_current_um_open_orders().data()
    alone = sdk.query_current_um_open_order("BTCUSDT", order_id=order_id).data()
    cancelled = sdk.cancel_um_order("BTCUSDT", order_id=order_id).data()
    asked = sdk.query_um_order("BTCUSDT", order_id=order_id).data()
    [past] = sdk.query_all_um_orders("BTCUSDT").data()

    assert order_id > 2**53
    assert (listed.order_id, listed.status, alone.order_id) == (order_id, "NEW", order_id)
    assert (cancelled.order_id, cancelled.status) == (order_id, "CANCELED")
    assert (asked.status, past.status) == ("CANCELED", "CANCELED")


def test_um_algo_order_lives_and_dies(sdk: Sdk) -> None:
    algo_id = place_um_algo(sdk)

    [listed] = sdk.query_all_current_um_open_algo_orders().data()
    cancelled = sdk.cancel_um_algo_order(algo_id=algo_id).data()
    asked = sdk.query_current_um_open_algo_order(algo_id=algo_id).data()
    [past] = sdk.query_um_algo_order_history("BTCUSDT").data()

    assert (listed.algo_id, listed.algo_status) == (algo_id, "NEW")
    assert cancelled.complete is True
    assert (asked.algo_status, past.algo_status) == ("CANCELED", "CANCELED")


def test_cm_order_lives_and_dies(sdk: Sdk) -> None:
    # Not asked here: cm/openOrder. Its page and the SDK have a list, what ccxt recorded is one object.
    order_id = place_cm(sdk)

    [listed] = sdk.query_all_current_cm_open_orders().data()
    cancelled = sdk.cancel_cm_order("BTCUSD_PERP", order_id=order_id).data()
    asked = sdk.query_cm_order("BTCUSD_PERP", order_id=order_id).data()
    [past] = sdk.query_all_cm_orders(symbol="BTCUSD_PERP").data()

    assert (listed.order_id, listed.pair) == (order_id, "BTCUSD")
    assert (cancelled.status, asked.status, past.status) == ("CANCELED", "CANCELED", "CANCELED")


def test_cm_conditional_order_lives_and_dies(sdk: Sdk) -> None:
    strategy_id = place_cm_conditional(sdk)

    [listed] = sdk.query_all_current_cm_open_conditional_orders().data()
    alone = sdk.query_current_cm_open_conditional_order("BTCUSD_PERP", strategy_id=strategy_id).data()
    cancelled = sdk.cancel_cm_conditional_order("BTCUSD_PERP", strategy_id=strategy_id).data()
    asked = sdk.query_cm_conditional_order_history("BTCUSD_PERP", strategy_id=strategy_id).data()
    [past] = sdk.query_all_cm_conditional_orders(symbol="BTCUSD_PERP").data()

    assert (listed.strategy_id, listed.strategy_status) == (strategy_id, "NEW")
    assert (alone.strategy_id, alone.stop_price) == (strategy_id, "80000.0")
    assert (cancelled.strategy_status, asked.strategy_status) == ("CANCELED", "CANCELED")
    assert past.strategy_status == "CANCELED"


def test_margin_order_lives_and_dies(sdk: Sdk) -> None:
    order_id = place_margin(sdk)

    [listed] = sdk.query_current_margin_open_order("BTCUSDT").data()
    cancelled = sdk.cancel_margin_account_order("BTCUSDT", order_id=order_id).data()
    asked = sdk.query_margin_account_order("BTCUSDT", order_id=order_id).data()
    [past] = sdk.query_all_margin_account_orders("BTCUSDT").data()

    assert (listed.order_id, listed.status, listed.is_working) == (order_id, "NEW", True)
    assert (cancelled.order_id, cancelled.status) == (order_id, "CANCELED")
    assert (asked.status, past.status) == ("CANCELED", "CANCELED")


def test_order_list_lives_and_dies(sdk: Sdk) -> None:
    list_id = place_list(sdk)

    [listed] = sdk.query_margin_accounts_open_oco().data()
    told = sdk.cancel_margin_account_oco_orders("BTCUSDT", order_list_id=list_id).data()
    asked = sdk.query_margin_accounts_oco(order_list_id=list_id).data()
    [past] = sdk.query_margin_accounts_all_oco().data()

    assert (listed.order_list_id, listed.list_order_status) == (list_id, "EXECUTING")
    assert [(leg.type, leg.status) for leg in told.order_reports] == [
        ("STOP_LOSS_LIMIT", "CANCELED"),
        ("LIMIT_MAKER", "CANCELED"),
    ]
    assert (asked.list_order_status, past.list_order_status) == ("ALL_DONE", "ALL_DONE")


def test_margin_cancel_all_names_plain_orders_and_legs(sdk: Sdk) -> None:
    order_id, list_id = place_margin(sdk), place_list(sdk)

    plain, order_list = sdk.cancel_margin_account_all_open_orders_on_a_symbol("BTCUSDT").data()

    assert (plain.order_id, plain.order_list_id, plain.status) == (order_id, -1, "CANCELED")
    assert (order_list.order_id, order_list.order_list_id) == (None, list_id)
    assert [leg.status for leg in order_list.order_reports] == ["CANCELED", "CANCELED"]
    assert sdk.query_current_margin_open_order("BTCUSDT").data() == []


def test_futures_cancel_all_is_acknowledged_book_by_book(simulator: SimulatorProcess, sdk: Sdk) -> None:
    for place in (place_um, place_um_algo, place_cm, place_cm_conditional):
        place(sdk)

    codes = [
        sdk.cancel_all_um_open_orders("BTCUSDT").data().code,
        sdk.cancel_all_um_algo_open_orders("BTCUSDT").data().code,
        sdk.cancel_all_cm_open_orders("BTCUSD_PERP").data().code,
        sdk.cancel_all_cm_open_conditional_orders("BTCUSD_PERP").data().code,
    ]

    assert codes == [200, 200, 200, "200"]
    assert simulator.book("sdk") == []


def test_account_is_read(sdk: Sdk) -> None:
    [limit] = sdk.query_user_rate_limit().data()

    assert sdk.um_futures_account_configuration().data().can_trade is True
    assert sdk.account_information().data().account_status == "NORMAL"
    assert (limit.interval, limit.limit) == ("MINUTE", 1200)
    assert "Date" in sdk.test_connectivity().headers


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
        sdk.query_all_current_um_open_orders()

    assert raised.value.status_code == code


def test_clock_apart_raises(simulator: SimulatorProcess, sdk: Sdk) -> None:
    simulator.fault("clock_skew_ms", account="sdk", ms=60_000)

    with pytest.raises(BadRequestError) as raised:
        sdk.query_all_current_um_open_orders()

    assert raised.value.status_code == -1021


@pytest.mark.parametrize(
    ("call", "params", "code"),
    [
        ("query_all_current_um_open_orders", {"symbol": "NOPE"}, -1121),
        ("query_all_current_cm_open_orders", {"symbol": "BTCUSDT"}, -1121),
        ("query_all_current_um_open_orders", {"recv_window": 70_000}, -1130),
        ("cancel_um_order", {"symbol": "BTCUSDT", "order_id": 1}, -2011),
        ("cancel_um_algo_order", {"algo_id": 1}, -2011),
        ("cancel_um_algo_order", {}, -1102),
        ("cancel_cm_order", {"symbol": "BTCUSD_PERP", "order_id": 1}, -2011),
        ("cancel_cm_conditional_order", {"symbol": "BTCUSD_PERP", "strategy_id": 1}, -2011),
        ("cancel_margin_account_order", {"symbol": "BTCUSDT", "order_id": 1}, -2011),
        ("cancel_margin_account_oco_orders", {"symbol": "BTCUSDT", "order_list_id": 1}, -2011),
        ("cancel_margin_account_all_open_orders_on_a_symbol", {"symbol": "BTCUSDT"}, -2011),
        ("query_um_order", {"symbol": "BTCUSDT", "order_id": 1}, -2013),
        ("query_margin_account_order", {"symbol": "BTCUSDT", "order_id": 1}, -2013),
    ],
)
def test_bad_question_raises(sdk: Sdk, call: str, params: dict[str, object], code: int) -> None:
    with pytest.raises(BadRequestError) as raised:
        getattr(sdk, call)(**params)

    assert raised.value.status_code == code


@pytest.mark.parametrize(("gone", "error"), [("-21015", BadRequestError), ("404", NotFoundError)])
def test_gone_endpoint_raises(
    simulator: SimulatorProcess, sdk: Sdk, gone: str, error: type[ClientError]
) -> None:
    simulator.control("POST", "switches", {"um_algo_gone": gone})

    with pytest.raises(error):
        sdk.query_all_current_um_open_algo_orders()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "429"}, TooManyRequestsError),
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

    with pytest.raises(error):
        sdk.cancel_all_um_open_orders("BTCUSDT")
