import json
import time
from typing import Any

import pytest

from tests.simulator.plain_client import PlainClient, wait_for
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]

SYMBOL = "BTC-200730-9000-C"
PUT = "BTC-200730-9000-P"
ETHER = "ETH-200730-300-C"


@pytest.fixture
def symbols(simulator: SimulatorProcess, options: PlainClient) -> None:
    """Make the symbols of this file known, without orders."""
    for symbol in (SYMBOL, PUT, ETHER):
        simulator.seed("alpha", symbol)
        options.call("DELETE", "/eapi/v1/allOpenOrders", symbol=symbol)


def limit_order(**changed: object) -> dict[str, object]:
    return {
        "symbol": SYMBOL,
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "0.10",
        "price": "100",
        "timeInForce": "GTC",
        **changed,
    }


def ids(orders: list[dict[str, Any]]) -> list[int]:
    return [int(order.get("orderId") or order["order_id"]) for order in orders]


def test_mark_price_and_delta_are_told_by_symbol_and_of_all(options: PlainClient) -> None:
    everything = options.send("GET", "/eapi/v1/mark").json()
    call, put = (next(row for row in everything if row["symbol"].endswith(f"-90000-{side}")) for side in "CP")

    one = options.send("GET", "/eapi/v1/mark", f"symbol={call['symbol']}").json()

    assert one == [call]
    assert float(call["markPrice"]) > 91350 - 90000
    assert 0 < float(call["delta"]) < 1
    assert -1 < float(put["delta"]) < 0
    assert options.send("GET", "/eapi/v1/mark", "symbol=BTC-200101-1-C").json()["code"] == -1121


# Orders.


def test_order_has_every_documented_field_and_an_id_above_2_to_the_53(
    simulator: SimulatorProcess, options: PlainClient
) -> None:
    (seeded,) = simulator.seed("alpha", SYMBOL, price="100", quantity="1", created_ms=1000)

    listed = options.call("GET", "/eapi/v1/openOrders")

    assert int(seeded["order_id"]) > 2**53
    assert listed == [
        {
            "orderId": int(seeded["order_id"]),
            "symbol": SYMBOL,
            "price": "100",
            "quantity": "1",
            "executedQty": "0",
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "reduceOnly": False,
            "postOnly": False,
            "createTime": 1000,
            "updateTime": 1000,
            "status": "NEW",
            "avgPrice": "0",
            "source": "API",
            "clientOrderId": seeded["client_order_id"],
            "priceScale": 3,
            "quantityScale": 2,
            "optionSide": "CALL",
            "quoteAsset": "USDT",
            "mmp": False,
            "selfTradePreventionMode": "NONE",
        }
    ]


def test_exchange_info_lists_options_that_expire_later(options: PlainClient) -> None:
    info = options.send("GET", "/eapi/v1/exchangeInfo").json()

    now = time.time_ns() // 1_000_000
    assert {row["underlying"] for row in info["optionContracts"]} == {
        "BTCUSDT",
        "ETHUSDT",
        "SOLUSDT",
        "BNBUSDT",
        "XRPUSDT",
        "DOGEUSDT",
    }
    assert {row["status"] for row in info["optionSymbols"]} == {"TRADING"}
    assert all(row["expiryDate"] > now for row in info["optionSymbols"])


@pytest.mark.usefixtures("symbols")
def test_placed_order_rests_until_it_is_cancelled(options: PlainClient) -> None:
    placed = options.call("POST", "/eapi/v1/order", **limit_order(clientOrderId="mine", isMmp="true"))
    cancelled = options.call("DELETE", "/eapi/v1/order", symbol=SYMBOL, clientOrderId="mine")
    queried = options.call("GET", "/eapi/v1/order", symbol=SYMBOL, orderId=placed["orderId"])

    assert (placed["status"], placed["mmp"]) == ("NEW", True)
    assert (cancelled["status"], "createDate" in cancelled) == ("NEW", True)
    assert queried["status"] == "CANCELED"
    assert options.call("GET", "/eapi/v1/openOrders") == []


@pytest.mark.usefixtures("symbols")
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"symbol": "BTC-1"}, -1121),
        ({"side": "UP"}, -1117),
        ({"type": "MARKET"}, -1116),
        ({"timeInForce": "GTD"}, -1115),
        ({"quantity": "0"}, -1130),
        ({"quantity": "0.123"}, -1111),
        ({"price": ""}, -1102),
        ({"reduceOnly": "perhaps"}, -1130),
    ],
)
def test_wrong_parameter_of_a_new_order_is_refused(
    options: PlainClient, changed: dict[str, str], code: int
) -> None:
    assert options.refusal("POST", "/eapi/v1/order", **limit_order(**changed))[:2] == (400, code)


def test_too_long_window_has_a_code_of_its_own(options: PlainClient) -> None:
    refusal = options.refusal("GET", "/eapi/v1/openOrders", recvWindow=60_001)

    assert refusal == (400, -1131, "recvWindow must be less than 60000")


def test_too_many_requests_has_another_code_than_on_futures(
    simulator: SimulatorProcess, options: PlainClient
) -> None:
    simulator.control("POST", "limits", {"eapi": 0})

    status, code, text = options.refusal("GET", "/eapi/v1/openOrders")

    assert (status, code) == (429, -1008)
    assert text.startswith("Too much request weight used; current limit is 0 request weight per 1 MINUTE.")


@pytest.mark.usefixtures("symbols")
def test_batch_of_new_orders_answers_one_by_one(options: PlainClient) -> None:
    orders = json.dumps([limit_order(), limit_order(side="UP")])

    answers = options.call("POST", "/eapi/v1/batchOrders", orders=orders)

    assert [answer.get("status", answer.get("code")) for answer in answers] == ["NEW", -1117]


@pytest.mark.usefixtures("symbols")
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_unknown_order_is_refused(options: PlainClient, method: str) -> None:
    refusal = options.refusal(method, "/eapi/v1/order", symbol=SYMBOL, orderId=1)

    assert refusal == (400, -2013, "Order does not exist.")


def test_finished_order_cannot_be_cancelled(simulator: SimulatorProcess, options: PlainClient) -> None:
    (order,) = simulator.seed("alpha", SYMBOL)
    simulator.control("POST", "fill", {"account": "alpha"})

    refusal = options.refusal("DELETE", "/eapi/v1/order", symbol=SYMBOL, orderId=order["order_id"])

    assert refusal == (400, -6028, "Order is already in a final state.")


def test_cancel_all_takes_one_symbol(simulator: SimulatorProcess, options: PlainClient) -> None:
    simulator.seed("alpha", SYMBOL, count=2)
    kept = simulator.seed("alpha", PUT)

    answer = options.call("DELETE", "/eapi/v1/allOpenOrders", symbol=SYMBOL)

    assert answer == {"code": "0", "msg": "success"}
    assert ids(simulator.book()) == ids(kept)


def test_cancel_all_by_underlying_takes_every_symbol_of_it(
    simulator: SimulatorProcess, options: PlainClient
) -> None:
    simulator.seed("alpha", SYMBOL)
    simulator.seed("alpha", PUT)
    kept = simulator.seed("alpha", ETHER)

    answer = options.call("DELETE", "/eapi/v1/allOpenOrdersByUnderlying", underlying="BTCUSDT")

    assert answer == {"code": 0, "msg": "success"}
    assert ids(simulator.book()) == ids(kept)
    assert options.refusal("DELETE", "/eapi/v1/allOpenOrdersByUnderlying", underlying="XUSDT")[1] == -1128


def test_history_holds_finished_orders_only(simulator: SimulatorProcess, options: PlainClient) -> None:
    (finished,) = ids(simulator.seed("alpha", SYMBOL))
    options.call("DELETE", "/eapi/v1/allOpenOrders", symbol=SYMBOL)
    simulator.seed("alpha", SYMBOL)

    history = options.call("GET", "/eapi/v1/historyOrders", symbol=SYMBOL)

    assert [(order["orderId"], order["status"]) for order in history] == [(finished, "CANCELED")]


# The batch cancel.


def test_batch_cancel_replies_with_the_state_from_before(
    simulator: SimulatorProcess, options: PlainClient
) -> None:
    orders = ids(simulator.seed("alpha", SYMBOL, count=2))
    wanted = json.dumps(orders, separators=(",", ":"))

    answers = options.call("DELETE", "/eapi/v1/batchOrders", symbol=SYMBOL, orderIds=wanted)

    assert [(order["orderId"], order["status"]) for order in answers] == [(i, "NEW") for i in orders]
    assert {order["status"] for order in simulator.book(only_open=False)} == {"CANCELED"}


@pytest.mark.parametrize(
    ("how", "answer"),
    [
        ("item", [{"code": -2013, "msg": "Order does not exist."}]),
        ("omitted", []),
        ("error", {"code": -2013, "msg": "Order does not exist."}),
    ],
)
@pytest.mark.usefixtures("symbols")
def test_batch_cancel_of_an_unknown_id_answers_as_switched(
    simulator: SimulatorProcess, options: PlainClient, how: str, answer: object
) -> None:
    simulator.control("POST", "switches", {"options_missing": how})

    reply = options.response("DELETE", "/eapi/v1/batchOrders", symbol=SYMBOL, clientOrderIds='["nobody"]')

    assert reply.json() == answer


@pytest.mark.parametrize(("how", "left"), [("strict", 2), ("lenient", 0)])
def test_batch_cancel_takes_both_lists_only_when_lenient(
    simulator: SimulatorProcess, options: PlainClient, how: str, left: int
) -> None:
    simulator.control("POST", "switches", {"options_both_lists": how})
    (first,) = ids(simulator.seed("alpha", SYMBOL))
    simulator.seed("alpha", SYMBOL, client_order_id="second")

    options.response(
        "DELETE", "/eapi/v1/batchOrders", symbol=SYMBOL, orderIds=f"[{first}]", clientOrderIds='["second"]'
    )

    assert len(simulator.book()) == left


@pytest.mark.usefixtures("symbols")
@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, -1102),
        ({"orderIds": json.dumps(list(range(11)))}, -6011),
        ({"orderIds": "[1.5]"}, -1130),
        ({"orderIds": "[1]", "clientOrderIds": '["a"]'}, -1128),
    ],
)
def test_batch_cancel_refuses_lists_it_cannot_take(
    options: PlainClient, given: dict[str, str], code: int
) -> None:
    assert options.refusal("DELETE", "/eapi/v1/batchOrders", symbol=SYMBOL, **given)[:2] == (400, code)


def test_old_generation_spells_statuses_otherwise(simulator: SimulatorProcess, options: PlainClient) -> None:
    simulator.control("POST", "switches", {"options_generation": "old"})
    (order,) = ids(simulator.seed("alpha", SYMBOL))

    (before,) = options.call("GET", "/eapi/v1/openOrders", symbol=SYMBOL)
    options.call("DELETE", "/eapi/v1/allOpenOrders", symbol=SYMBOL)
    after = options.call("GET", "/eapi/v1/order", symbol=SYMBOL, orderId=order)

    assert (before["status"], after["status"]) == ("ACCEPTED", "CANCELLED")


# The countdown.


def arm(options: PlainClient, underlying: str, countdown_ms: int) -> dict[str, Any]:
    answer: dict[str, Any] = options.call(
        "POST", "/eapi/v1/countdownCancelAll", underlying=underlying, countdownTime=countdown_ms
    )
    return answer


def fired(simulator: SimulatorProcess) -> list[str]:
    return [firing["scope"] for firing in simulator.control("GET", "state")["firings"]]


def test_countdown_is_set_and_read_back(options: PlainClient) -> None:
    none = options.call("GET", "/eapi/v1/countdownCancelAll")
    answer = arm(options, "BTCUSDT", 100_000)
    one = options.call("GET", "/eapi/v1/countdownCancelAll")
    arm(options, "ETHUSDT", 5000)
    both = options.call("GET", "/eapi/v1/countdownCancelAll")
    arm(options, "BTCUSDT", 0)
    left = options.call("GET", "/eapi/v1/countdownCancelAll", underlying="BTCUSDT")

    assert answer == one == {"underlying": "BTCUSDT", "countdownTime": 100_000}
    assert both == [one, {"underlying": "ETHUSDT", "countdownTime": 5000}]
    assert none == left == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"underlying": "BTCUSDT", "countdownTime": 4999}, -6009),
        ({"underlying": "BTCUSDT", "countdownTime": -10_000}, -6009),
        ({"underlying": "NOPE", "countdownTime": 5000}, -1128),
        ({"underlying": "BTCUSDT"}, -1102),
        ({"countdownTime": 5000}, -1102),
    ],
)
def test_wrong_countdown_is_refused(options: PlainClient, params: dict[str, Any], code: int) -> None:
    assert options.refusal("POST", "/eapi/v1/countdownCancelAll", **params)[:2] == (400, code)


def test_only_a_market_maker_has_a_countdown(simulator: SimulatorProcess) -> None:
    client = PlainClient(simulator.url, simulator.create_account("binance-options", market_maker=False))

    refusals = [
        client.refusal("POST", "/eapi/v1/countdownCancelAll", underlying="BTCUSDT", countdownTime=5000),
        client.refusal("GET", "/eapi/v1/countdownCancelAll"),
        client.refusal("POST", "/eapi/v1/countdownCancelAllHeartBeat", underlyings="BTCUSDT"),
    ]

    assert refusals == [(400, -6005, "This account is not a market maker.")] * 3


def test_heartbeat_names_only_what_it_restarted(simulator: SimulatorProcess, options: PlainClient) -> None:
    arm(options, "BTCUSDT", 5000)

    answer = options.call("POST", "/eapi/v1/countdownCancelAllHeartBeat", underlyings="BTCUSDT,ETHUSDT")

    assert answer == {"underlyings": ["BTCUSDT"]}
    assert [entry["weight"] for entry in simulator.log()] == [1, 10]


def test_fired_countdown_locks_its_underlying_until_a_heartbeat(
    simulator: SimulatorProcess, options: PlainClient
) -> None:
    simulator.seed("alpha", SYMBOL)
    simulator.seed("alpha", PUT)
    kept = simulator.seed("alpha", ETHER)
    simulator.control("POST", "switches", {"options_shortest_countdown_ms": 20})
    arm(options, "BTCUSDT", 20)

    wait_for(lambda: fired(simulator))
    left = ids(simulator.book())
    locked = options.refusal("POST", "/eapi/v1/order", **limit_order())
    elsewhere = options.call("POST", "/eapi/v1/order", **limit_order(symbol=ETHER))
    arm(options, "BTCUSDT", 5000)
    still = options.refusal("POST", "/eapi/v1/order", **limit_order())
    options.call("POST", "/eapi/v1/countdownCancelAllHeartBeat", underlyings="BTCUSDT")
    unlocked = options.call("POST", "/eapi/v1/order", **limit_order())

    assert left == ids(kept)
    assert (locked[:2], still[:2]) == ((400, -2010), (400, -2010))
    assert (elsewhere["status"], unlocked["status"]) == ("NEW", "NEW")


def test_countdown_of_zero_unlocks(simulator: SimulatorProcess, options: PlainClient) -> None:
    simulator.seed("alpha", SYMBOL)
    simulator.control("POST", "switches", {"options_shortest_countdown_ms": 20})
    arm(options, "BTCUSDT", 20)
    wait_for(lambda: fired(simulator))

    arm(options, "BTCUSDT", 0)

    assert options.call("POST", "/eapi/v1/order", **limit_order())["status"] == "NEW"


def test_market_maker_protection_is_kept_apart(options: PlainClient) -> None:
    wanted = {
        "underlying": "BTCUSDT",
        "windowTimeInMilliseconds": 3000,
        "frozenTimeInMilliseconds": 300_000,
        "qtyLimit": "2",
        "deltaLimit": "2.3",
    }

    made = options.call("POST", "/eapi/v1/mmpSet", **wanted)

    assert made == {"underlyingId": 2, "lastTriggerTime": 0, **wanted}
    assert options.call("GET", "/eapi/v1/mmp", underlying="BTCUSDT") == made
    assert options.call("GET", "/eapi/v1/countdownCancelAll") == []


@pytest.mark.parametrize(
    ("method", "path", "params", "weight"),
    [
        ("GET", "/eapi/v1/openOrders", {}, 40),
        ("GET", "/eapi/v1/marginAccount", {}, 3),
        ("GET", "/eapi/v1/countdownCancelAll", {}, 1),
        ("POST", "/eapi/v1/countdownCancelAll", {"underlying": "BTCUSDT", "countdownTime": 0}, 1),
        ("POST", "/eapi/v1/countdownCancelAllHeartBeat", {"underlyings": "A,B,C"}, 10),
        ("DELETE", "/eapi/v1/allOpenOrdersByUnderlying", {"underlying": "BTCUSDT"}, 5),
    ],
)
def test_call_costs_its_weight(
    simulator: SimulatorProcess,
    options: PlainClient,
    method: str,
    path: str,
    params: dict[str, Any],
    weight: int,
) -> None:
    options.call(method, path, **params)

    assert [entry["weight"] for entry in simulator.log()] == [weight]


def test_margin_account_says_that_the_key_may_trade(options: PlainClient) -> None:
    account = options.call("GET", "/eapi/v1/marginAccount")

    assert (account["canTrade"], account["reduceOnly"], account["asset"][0]["asset"]) == (True, False, "USDT")
