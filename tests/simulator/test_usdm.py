import json
import time
from typing import Any

import pytest

from tests.simulator.plain_client import PlainClient, wait_for
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]

DONE = {"code": 200, "msg": "The operation of cancel all open order is done."}
UNKNOWN_ORDER = {"code": -2011, "msg": "Unknown order sent."}
LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.010",
    "price": "50000",
}
STOP = {
    "algoType": "CONDITIONAL",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "type": "STOP_MARKET",
    "quantity": "0.010",
    "triggerPrice": "40000",
}


def ids(orders: list[dict[str, Any]]) -> list[str]:
    return [str(order.get("orderId") or order.get("order_id")) for order in orders]


def algo_ids(orders: list[dict[str, Any]]) -> list[str]:
    return [str(order["algoId"]) for order in orders]


# Calls without a key.


def test_server_time_is_the_time(usdm: PlainClient) -> None:
    before = time.time_ns() // 1_000_000

    answer = usdm.send("GET", "/fapi/v1/time").json()

    assert list(answer) == ["serverTime"]
    assert before <= answer["serverTime"] <= time.time_ns() // 1_000_000


def test_exchange_info_lists_seeded_symbols_too(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.seed("alpha", "NEWUSDT")

    info = usdm.send("GET", "/fapi/v1/exchangeInfo").json()

    symbols = {row["symbol"]: (row["baseAsset"], row["quoteAsset"], row["status"]) for row in info["symbols"]}
    assert symbols["NEWUSDT"] == ("NEW", "USDT", "TRADING")
    assert symbols["币安人生USDT"] == ("币安人生", "USDT", "TRADING")
    assert info["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 2400,
    }


def test_mark_price_is_told_by_symbol_and_of_all(usdm: PlainClient) -> None:
    one = usdm.send("GET", "/fapi/v1/premiumIndex", "symbol=XRPUSDT").json()
    everything = usdm.send("GET", "/fapi/v1/premiumIndex").json()

    assert (one["symbol"], one["markPrice"]) == ("XRPUSDT", "2.1140")
    assert 0 < one["nextFundingTime"] - one["time"] <= 8 * 3600 * 1000
    assert {row["symbol"]: row["markPrice"] for row in everything}["BTCUSDT"] == "91350.0"
    assert usdm.send("GET", "/fapi/v1/premiumIndex", "symbol=NOSUCH").json()["code"] == -1121


# The ordinary book.


def test_order_has_every_documented_field_with_its_type(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    (seeded,) = simulator.seed(
        "alpha", "BTCUSDT", order_id="9007199254740993", price="50000.0", quantity="0.020", created_ms=1000
    )

    assert usdm.call("GET", "/fapi/v1/openOrders", symbol="BTCUSDT") == [
        {
            "orderId": 9007199254740993,
            "symbol": "BTCUSDT",
            "status": "NEW",
            "clientOrderId": seeded["client_order_id"],
            "price": "50000.0",
            "avgPrice": "0.00",
            "origQty": "0.020",
            "executedQty": "0",
            "cumQuote": "0.00",
            "timeInForce": "GTC",
            "type": "LIMIT",
            "reduceOnly": False,
            "closePosition": False,
            "side": "BUY",
            "positionSide": "BOTH",
            "stopPrice": "0",
            "workingType": "CONTRACT_PRICE",
            "priceProtect": False,
            "origType": "LIMIT",
            "priceMatch": "NONE",
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "goodTillDate": 0,
            "time": 1000,
            "updateTime": 1000,
        }
    ]


def test_placed_order_rests_until_it_is_cancelled(usdm: PlainClient) -> None:
    placed = usdm.call("POST", "/fapi/v1/order", **LIMIT, newClientOrderId="mine")
    listed = usdm.call("GET", "/fapi/v1/openOrders")
    queried = usdm.call("GET", "/fapi/v1/openOrder", symbol="BTCUSDT", origClientOrderId="mine")
    cancelled = usdm.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=placed["orderId"])
    after = usdm.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=placed["orderId"])

    assert (placed["status"], placed["clientOrderId"], placed["cumQty"]) == ("NEW", "mine", "0")
    assert "avgPrice" not in placed
    assert listed == [queried]
    assert (cancelled["status"], after["status"]) == ("CANCELED", "CANCELED")
    assert usdm.call("GET", "/fapi/v1/openOrders") == []


def test_order_counts_are_told_when_placing(usdm: PlainClient) -> None:
    reply = usdm.response("POST", "/fapi/v1/order", **LIMIT)

    assert reply.headers["X-MBX-ORDER-COUNT-10S"] == "1"
    assert reply.headers["X-MBX-ORDER-COUNT-1M"] == "1"


@pytest.mark.parametrize(
    ("changed", "code", "text"),
    [
        ({"symbol": "NOPE"}, -1121, "Invalid symbol."),
        ({"side": "UP"}, -1117, "Invalid side."),
        ({"type": "ICEBERG"}, -1116, "Invalid orderType."),
        ({"timeInForce": "NOW"}, -1115, "Invalid timeInForce."),
        ({"quantity": "0"}, -4003, "Quantity less than or equal to zero."),
        ({"price": "-1"}, -4001, "Price less than 0."),
        ({"price": "50000.123"}, -1111, "Precision is over the maximum defined for this asset."),
        ({"newClientOrderId": "with blank"}, -4015, "Client order id is not valid."),
        ({"positionSide": "LONG"}, -4061, "Order's position side does not match user's setting."),
        ({"reduceOnly": "perhaps"}, -1130, "Data sent for parameter 'reduceOnly' is not valid."),
        (
            {"price": ""},
            -1102,
            "Mandatory parameter 'price' was not sent, was empty/null, or malformed.",
        ),
        (
            {"quantity": "much"},
            -1102,
            "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed.",
        ),
        (
            {"quantity": "0.001", "price": "1000"},
            -4164,
            "Order's notional must be no smaller than 5 (unless you choose reduce only).",
        ),
        (
            {"type": "STOP_MARKET"},
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
        ),
    ],
)
def test_wrong_parameter_of_a_new_order_is_refused(
    usdm: PlainClient, changed: dict[str, str], code: int, text: str
) -> None:
    assert usdm.refusal("POST", "/fapi/v1/order", **{**LIMIT, **changed}) == (400, code, text)


def test_client_order_id_is_unique_among_open_orders(usdm: PlainClient) -> None:
    usdm.call("POST", "/fapi/v1/order", **LIMIT, newClientOrderId="mine")

    again = usdm.refusal("POST", "/fapi/v1/order", **LIMIT, newClientOrderId="mine")
    usdm.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    later = usdm.call("POST", "/fapi/v1/order", **LIMIT, newClientOrderId="mine")

    assert again == (400, -4116, "ClientOrderId is duplicated.")
    assert later["status"] == "NEW"


def test_market_order_fills_and_leaves_a_position(usdm: PlainClient) -> None:
    market = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.010"}

    placed = usdm.call("POST", "/fapi/v1/order", **market, newOrderRespType="RESULT")

    positions = usdm.call("GET", "/fapi/v3/positionRisk")
    assert (placed["status"], placed["executedQty"]) == ("FILLED", "0.010")
    assert [(row["symbol"], row["positionAmt"]) for row in positions] == [("BTCUSDT", "-0.010")]


def test_order_good_till_a_date_expires_then(usdm: PlainClient) -> None:
    till = time.time_ns() // 1_000_000 + 50
    order = {**LIMIT, "timeInForce": "GTD", "goodTillDate": till}

    placed = usdm.call("POST", "/fapi/v1/order", **order)

    wait_for(lambda: usdm.call("GET", "/fapi/v1/openOrders", symbol="BTCUSDT") == [])
    queried = usdm.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=placed["orderId"])
    assert (queried["status"], queried["goodTillDate"]) == ("EXPIRED", till)


def test_modified_order_has_a_new_price(usdm: PlainClient) -> None:
    placed = usdm.call("POST", "/fapi/v1/order", **LIMIT)
    wanted = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.020", "price": "51000"}

    changed = usdm.call("PUT", "/fapi/v1/order", orderId=placed["orderId"], **wanted)

    assert (changed["orderId"], changed["price"], changed["origQty"]) == (placed["orderId"], "51000", "0.020")


def test_batch_of_new_orders_answers_one_by_one(usdm: PlainClient) -> None:
    orders = json.dumps([LIMIT, {**LIMIT, "side": "UP"}])

    answers = usdm.call("POST", "/fapi/v1/batchOrders", batchOrders=orders)

    assert [answer.get("status", answer.get("code")) for answer in answers] == ["NEW", -1117]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/fapi/v1/order", -2013),
        ("GET", "/fapi/v1/openOrder", -2013),
        ("DELETE", "/fapi/v1/order", -2011),
    ],
)
def test_unknown_order_is_refused(usdm: PlainClient, method: str, path: str, code: int) -> None:
    text = "Unknown order sent." if code == -2011 else "Order does not exist."

    assert usdm.refusal(method, path, symbol="BTCUSDT", orderId=1) == (400, code, text)
    assert usdm.refusal(method, path, symbol="NOPE", orderId=1) == (400, -1121, "Invalid symbol.")
    assert usdm.refusal(method, path, symbol="BTCUSDT") == (
        400,
        -1102,
        "Param 'orderId' or 'origClientOrderId' must be sent, but both were empty/null!",
    )


def test_finished_order_is_not_an_open_order(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    (order,) = simulator.seed("alpha", "BTCUSDT", quantity="2")
    simulator.control("POST", "fill", {"account": "alpha"})
    which = {"symbol": "BTCUSDT", "orderId": order["order_id"]}

    assert usdm.call("GET", "/fapi/v1/order", **which)["executedQty"] == "2"
    assert usdm.refusal("GET", "/fapi/v1/openOrder", **which) == (400, -2013, "Order does not exist.")
    assert usdm.refusal("DELETE", "/fapi/v1/order", **which) == (400, -2011, "Unknown order sent.")


def test_cancel_all_takes_the_ordinary_orders_of_one_symbol(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    simulator.create_account("binance-usdm", "beta")
    simulator.seed("alpha", "BTCUSDT", count=3)
    kept = simulator.seed("alpha", "ETHUSDT") + simulator.seed("alpha", "BTCUSDT", book="algo")
    kept += simulator.seed("beta", "BTCUSDT")

    answer = usdm.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")

    assert answer == DONE
    assert sorted(ids(simulator.book())) == sorted(ids(kept))


def test_cancel_all_of_nothing_is_done(usdm: PlainClient) -> None:
    assert usdm.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT") == DONE
    assert usdm.call("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT") == DONE


@pytest.mark.parametrize("name", ["orderIdList", "orderidlist"])
def test_batch_cancel_answers_in_the_order_asked(
    simulator: SimulatorProcess, usdm: PlainClient, name: str
) -> None:
    first, second = ids(simulator.seed("alpha", "BTCUSDT", count=2))
    wanted = {"symbol": "BTCUSDT", name: f"[{second},5,{first}]"}

    answers = usdm.call("DELETE", "/fapi/v1/batchOrders", **wanted)

    assert [answer.get("orderId", answer) for answer in answers] == [int(second), UNKNOWN_ORDER, int(first)]
    assert simulator.book() == []


def test_batch_cancel_by_client_ids(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.seed("alpha", "BTCUSDT", client_order_id="one")

    answers = usdm.call(
        "DELETE", "/fapi/v1/batchOrders", symbol="BTCUSDT", origClientOrderIdList='["one","two"]'
    )

    assert [answer.get("clientOrderId", answer) for answer in answers] == ["one", UNKNOWN_ORDER]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"orderIdList": str(list(range(1, 12))).replace(" ", "")}, -4032),
        ({"orderIdList": '["1"]'}, -1130),
        ({"orderIdList": "1,2"}, -1130),
        ({}, -1102),
    ],
)
def test_batch_cancel_refuses_a_list_it_cannot_take(
    usdm: PlainClient, given: dict[str, str], code: int
) -> None:
    assert usdm.refusal("DELETE", "/fapi/v1/batchOrders", symbol="BTCUSDT", **given)[:2] == (400, code)


def test_history_holds_finished_orders_from_an_id_on(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    orders = ids(simulator.seed("alpha", "BTCUSDT", count=3))
    usdm.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")

    history = usdm.call("GET", "/fapi/v1/allOrders", symbol="BTCUSDT", orderId=orders[1])

    assert [(str(order["orderId"]), order["status"]) for order in history] == [
        (orders[1], "CANCELED"),
        (orders[2], "CANCELED"),
    ]


# Weights.


@pytest.mark.parametrize(
    ("method", "path", "params", "weight"),
    [
        ("GET", "/fapi/v1/openOrders", {}, 40),
        ("GET", "/fapi/v1/openOrders", {"symbol": "BTCUSDT"}, 1),
        ("GET", "/fapi/v1/openAlgoOrders", {}, 40),
        ("GET", "/fapi/v1/openAlgoOrders", {"symbol": "BTCUSDT"}, 1),
        ("GET", "/fapi/v1/allOrders", {"symbol": "BTCUSDT"}, 5),
        ("GET", "/fapi/v1/allAlgoOrders", {"symbol": "BTCUSDT"}, 5),
        ("GET", "/fapi/v1/accountConfig", {}, 5),
        ("GET", "/fapi/v1/exchangeInfo", {}, 1),
        ("GET", "/fapi/v1/rateLimit/order", {}, 1),
        ("DELETE", "/fapi/v1/allOpenOrders", {"symbol": "BTCUSDT"}, 1),
        ("DELETE", "/fapi/v1/algoOpenOrders", {"symbol": "BTCUSDT"}, 1),
        ("POST", "/fapi/v1/countdownCancelAll", {"symbol": "BTCUSDT", "countdownTime": 0}, 10),
        ("POST", "/fapi/v1/order", LIMIT, 0),
        ("POST", "/fapi/v1/algoOrder", STOP, 0),
    ],
)
def test_call_costs_its_weight(
    simulator: SimulatorProcess,
    usdm: PlainClient,
    method: str,
    path: str,
    params: dict[str, Any],
    weight: int,
) -> None:
    usdm.call(method, path, **params)

    assert [entry["weight"] for entry in simulator.log()] == [weight]


# The algo book.


def test_conditional_order_lies_in_a_book_of_its_own(usdm: PlainClient) -> None:
    placed = usdm.call("POST", "/fapi/v1/algoOrder", **STOP, clientAlgoId="stop")
    listed = usdm.call("GET", "/fapi/v1/openAlgoOrders")
    queried = usdm.call("GET", "/fapi/v1/algoOrder", clientAlgoId="stop")
    which = {"symbol": "BTCUSDT", "orderId": placed["algoId"]}

    assert (placed["algoStatus"], placed["triggerPrice"], placed["actualOrderId"]) == ("NEW", "40000", "")
    assert listed == [queried]
    assert usdm.call("GET", "/fapi/v1/openOrders") == []
    assert usdm.refusal("GET", "/fapi/v1/order", **which)[1] == -2013
    assert usdm.refusal("DELETE", "/fapi/v1/order", **which)[1] == -2011


def test_conditional_order_is_cancelled_by_its_own_call(usdm: PlainClient) -> None:
    placed = usdm.call("POST", "/fapi/v1/algoOrder", **STOP, clientAlgoId="stop")

    cancelled = usdm.call("DELETE", "/fapi/v1/algoOrder", algoId=placed["algoId"])
    again = usdm.refusal("DELETE", "/fapi/v1/algoOrder", algoId=placed["algoId"])

    told = {"algoId": placed["algoId"], "clientAlgoId": "stop", "code": "200", "msg": "success"}
    assert cancelled == told
    assert again == (400, -2011, "Unknown order sent.")
    assert usdm.call("GET", "/fapi/v1/algoOrder", algoId=placed["algoId"])["algoStatus"] == "CANCELED"
    assert usdm.refusal("GET", "/fapi/v1/algoOrder", algoId=1) == (400, -2013, "Order does not exist.")


def test_cancel_all_of_the_algo_book_leaves_ordinary_orders(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    kept = simulator.seed("alpha", "BTCUSDT")
    simulator.seed("alpha", "BTCUSDT", book="algo", count=2)

    assert usdm.call("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT") == DONE
    assert ids(simulator.book()) == ids(kept)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"algoType": "VP"}, -1130),
        ({"type": "LIMIT"}, -1116),
        ({"triggerPrice": ""}, -1102),
        ({"type": "STOP"}, -1102),  # it needs a price
        ({"type": "TRAILING_STOP_MARKET"}, -1102),  # it needs a callbackRate
        ({"closePosition": "true"}, -4137),
        ({"clientAlgoId": "with blank"}, -4015),
    ],
)
def test_wrong_parameter_of_a_conditional_order_is_refused(
    usdm: PlainClient, changed: dict[str, str], code: int
) -> None:
    assert usdm.refusal("POST", "/fapi/v1/algoOrder", **{**STOP, **changed})[:2] == (400, code)


def test_account_holds_at_most_200_conditional_orders(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.seed("alpha", "ETHUSDT", book="algo", count=200)

    refusal = usdm.refusal("POST", "/fapi/v1/algoOrder", **STOP)

    assert refusal == (400, -4045, "Reach max stop order limit.")


def test_triggered_order_moves_to_the_ordinary_book(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    (seeded,) = simulator.seed("alpha", "BTCUSDT", book="algo", type="STOP", price="39000")

    (became,) = simulator.control("POST", "trigger", {"account": "alpha"})["orders"]

    conditional = usdm.call("GET", "/fapi/v1/algoOrder", algoId=seeded["order_id"])
    (ordinary,) = usdm.call("GET", "/fapi/v1/openOrders", symbol="BTCUSDT")
    assert usdm.call("GET", "/fapi/v1/openAlgoOrders") == []
    assert (conditional["algoStatus"], conditional["actualOrderId"]) == ("TRIGGERED", became["order_id"])
    assert (str(ordinary["orderId"]), ordinary["type"], ordinary["origType"], ordinary["clientOrderId"]) == (
        became["order_id"],
        "LIMIT",
        "STOP",
        seeded["client_order_id"],
    )


def test_conditional_order_is_finished_when_the_order_it_became_is(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    (seeded,) = simulator.seed("alpha", "BTCUSDT", book="algo")
    simulator.control("POST", "trigger", {"account": "alpha"})

    usdm.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")

    history = usdm.call("GET", "/fapi/v1/allAlgoOrders", symbol="BTCUSDT")
    assert [(str(order["algoId"]), order["algoStatus"]) for order in history] == [
        (seeded["order_id"], "FINISHED")
    ]


def test_order_that_is_being_triggered_escapes_both_books_cancels(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    (seeded,) = simulator.seed("alpha", "BTCUSDT", book="algo")
    simulator.control("POST", "trigger", {"account": "alpha", "hold_ms": 700})

    usdm.call("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT")
    usdm.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    single = usdm.refusal("DELETE", "/fapi/v1/algoOrder", algoId=seeded["order_id"])
    listed = usdm.call("GET", "/fapi/v1/openAlgoOrders", symbol="BTCUSDT")

    (left,) = wait_for(lambda: usdm.call("GET", "/fapi/v1/openOrders", symbol="BTCUSDT"))
    assert single == (400, -4117, "Stop order is being triggered, please try again later.")
    assert [order["algoStatus"] for order in listed] == ["TRIGGERING"]
    assert left["clientOrderId"] == seeded["client_order_id"]


# The countdown.


def firings(simulator: SimulatorProcess) -> list[tuple[str, str, int]]:
    state = simulator.control("GET", "state")
    return [(firing["account"], firing["scope"], firing["orders"]) for firing in state["firings"]]


def test_countdown_fires_over_the_ordinary_orders_of_its_symbol(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    simulator.seed("alpha", "BTCUSDT", count=2)
    kept = simulator.seed("alpha", "ETHUSDT") + simulator.seed("alpha", "BTCUSDT", book="algo")

    answer = usdm.call("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=30)

    fired = wait_for(lambda: firings(simulator))
    assert answer == {"symbol": "BTCUSDT", "countdownTime": "30"}
    assert fired == [("alpha", "BTCUSDT", 2)]
    assert sorted(ids(simulator.book())) == sorted(ids(kept))
    assert usdm.call("POST", "/fapi/v1/order", **LIMIT)["status"] == "NEW"


def test_countdown_takes_conditional_orders_when_switched_so(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    simulator.control("POST", "switches", {"usdm_countdown_takes_algo": True})
    simulator.seed("alpha", "BTCUSDT", book="algo")

    usdm.call("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=30)

    wait_for(lambda: firings(simulator))
    assert simulator.book() == []


def test_repeated_countdown_replaces_the_running_one(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    usdm.call("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=100_000)
    usdm.call("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=200_000)
    usdm.call("POST", "/fapi/v1/countdownCancelAll", symbol="ETHUSDT", countdownTime=50_000)

    running = simulator.control("GET", "state")["countdowns"]

    left = {countdown["scope"]: countdown["left_ms"] for countdown in running}
    assert sorted(left) == ["BTCUSDT", "ETHUSDT"]
    assert 100_000 < left["BTCUSDT"] <= 200_000


def test_countdown_of_zero_stops_it(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.seed("alpha", "BTCUSDT")
    usdm.call("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=100_000)

    answer = usdm.call("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=0)

    assert answer == {"symbol": "BTCUSDT", "countdownTime": "0"}
    assert simulator.control("GET", "state")["countdowns"] == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"countdownTime": 1000}, -1102),
        ({"symbol": "BTCUSDT"}, -1102),
        ({"symbol": "BTCUSDT", "countdownTime": "soon"}, -1102),
        ({"symbol": "BTCUSDT", "countdownTime": -1}, -1130),
        ({"symbol": "NOPE", "countdownTime": 1000}, -1121),
    ],
)
def test_wrong_countdown_is_refused(usdm: PlainClient, params: dict[str, Any], code: int) -> None:
    assert usdm.refusal("POST", "/fapi/v1/countdownCancelAll", **params)[:2] == (400, code)


# The account.


def test_account_config_says_that_the_key_may_trade(usdm: PlainClient) -> None:
    assert usdm.call("GET", "/fapi/v1/accountConfig") == {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": False,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def test_only_the_second_version_of_the_account_says_can_trade(usdm: PlainClient) -> None:
    second, third = usdm.call("GET", "/fapi/v2/account"), usdm.call("GET", "/fapi/v3/account")

    assert (second["canTrade"], "canTrade" in third) == (True, False)
    assert second["assets"] == third["assets"]


def test_order_limits_are_read_back(usdm: PlainClient) -> None:
    assert usdm.call("GET", "/fapi/v1/rateLimit/order") == [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
    ]


def test_listen_key_needs_the_key_and_no_signature(usdm: PlainClient) -> None:
    made, kept = (usdm.send(method, "/fapi/v1/listenKey").json() for method in ("POST", "PUT"))

    assert (made == kept, len(made["listenKey"])) == (True, 64)
