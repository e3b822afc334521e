"""Portfolio margin as simulated: five books that do not see each other, order lists, two generations."""

import hashlib
import hmac
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]

DAY_MS = 86_400_000
BOOKS = {
    "um": ("BTCUSDT", "um/openOrders", "um/allOpenOrders", "orderId"),
    "um_conditional": ("BTCUSDT", "um/algo/openAlgoOrders", "um/algo/allOpenOrders", "algoId"),
    "cm": ("BTCUSD_PERP", "cm/openOrders", "cm/allOpenOrders", "orderId"),
    "cm_conditional": (
        "BTCUSD_PERP",
        "cm/conditional/openOrders",
        "cm/conditional/allOpenOrders",
        "strategyId",
    ),
    "margin": ("BTCUSDT", "margin/openOrders", "margin/allOpenOrders", "orderId"),
}
DONE = {"code": 200, "msg": "The operation of cancel all open order is done."}
STRATEGIES_DONE = {"code": "200", "msg": "The operation of cancel all conditional open order is done."}


@dataclass
class Trader:
    """One portfolio margin account."""

    simulator: SimulatorProcess
    name: str
    api_key: str
    secret: str

    def send(self, method: str, path: str, **params: object) -> requests.Response:
        """Send one signed request."""
        query = urlencode({"timestamp": int(time.time() * 1000)} | params)
        signature = hmac.new(self.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        return self.simulator.session.request(
            method,
            f"{self.simulator.url}/papi/v1/{path}?{query}&signature={signature}",
            headers={"X-MBX-APIKEY": self.api_key},
            timeout=10,
        )

    def call(self, method: str, path: str, **params: object) -> Any:
        """The body of a successful answer."""
        reply = self.send(method, path, **params)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def refusal(self, method: str, path: str, **params: object) -> tuple[int, int]:
        """HTTP status and code of an answer that is no."""
        reply = self.send(method, path, **params)
        return reply.status_code, reply.json().get("code")

    def seed(self, book: str, **fields: object) -> dict[str, Any]:
        """Put one order on a book, on that book's usual symbol."""
        return self.simulator.seed(self.name, BOOKS[book][0], book=book, **fields)[0]

    def open_ids(self, book: str) -> list[str]:
        """The ids that a book's own listing shows."""
        symbol, listing, _, id_name = BOOKS[book]
        return [str(order[id_name]) for order in self.call("GET", listing, symbol=symbol)]


@pytest.fixture
def trader(simulator: SimulatorProcess) -> Trader:
    account = simulator.create_account("binance-portfolio", "pm")
    return Trader(simulator, "pm", account["api_key"], account["secret"])


# The books.


@pytest.mark.parametrize("book", BOOKS)
def test_book_lists_its_own_orders_only(trader: Trader, book: str) -> None:
    seeded = {name: trader.seed(name)["order_id"] for name in BOOKS}

    assert trader.open_ids(book) == [seeded[book]]


@pytest.mark.parametrize("book", BOOKS)
def test_cancel_all_leaves_the_other_books_alone(trader: Trader, book: str) -> None:
    for name in BOOKS:
        trader.seed(name)
    symbol, _, cancel_all, _ = BOOKS[book]

    trader.call("DELETE", cancel_all, symbol=symbol)

    assert {order["book"] for order in trader.simulator.book("pm")} == BOOKS.keys() - {book}


@pytest.mark.parametrize(
    ("path", "symbol", "body"),
    [
        ("um/allOpenOrders", "BTCUSDT", DONE),
        ("um/algo/allOpenOrders", "BTCUSDT", DONE),
        ("um/conditional/allOpenOrders", "BTCUSDT", STRATEGIES_DONE),
        ("cm/allOpenOrders", "BTCUSD_PERP", DONE),
        ("cm/conditional/allOpenOrders", "BTCUSD_PERP", STRATEGIES_DONE),
    ],
)
def test_cancel_all_is_acknowledged_on_an_empty_futures_book(
    trader: Trader, path: str, symbol: str, body: dict[str, Any]
) -> None:
    assert trader.call("DELETE", path, symbol=symbol) == body


@pytest.mark.parametrize("book", BOOKS)
def test_ids_are_above_what_a_double_holds(trader: Trader, book: str) -> None:
    assert int(trader.seed(book)["order_id"]) > 2**53


def test_cm_lists_by_pair(trader: Trader) -> None:
    trader.seed("cm")
    [ether] = trader.simulator.seed("pm", "ETHUSD_PERP", book="cm")

    listed = trader.call("GET", "cm/openOrders", pair="ETHUSD")

    assert [(str(order["orderId"]), order["pair"]) for order in listed] == [(ether["order_id"], "ETHUSD")]


@pytest.mark.parametrize("book", ["um", "cm"])
def test_order_is_found_open_and_finished(trader: Trader, book: str) -> None:
    symbol = BOOKS[book][0]
    order_id = trader.seed(book)["order_id"]
    while_open = trader.call("GET", f"{book}/openOrder", symbol=symbol, orderId=order_id)

    cancelled = trader.call("DELETE", f"{book}/order", symbol=symbol, orderId=order_id)

    asked = trader.call("GET", f"{book}/order", symbol=symbol, orderId=order_id)
    [past] = trader.call("GET", f"{book}/allOrders", symbol=symbol)
    assert (while_open["status"], cancelled["status"]) == ("NEW", "CANCELED")
    assert asked == past == while_open | {"status": "CANCELED", "updateTime": asked["updateTime"]}
    gone = trader.refusal("GET", f"{book}/openOrder", symbol=symbol, orderId=order_id)
    assert gone == (400, -2013)


def test_history_spans_at_most_seven_days(trader: Trader) -> None:
    now_ms = int(time.time() * 1000)
    old = trader.seed("um", created_ms=now_ms - 10 * DAY_MS)
    trader.seed("um")

    found = trader.call("GET", "um/allOrders", symbol="BTCUSDT", startTime=now_ms - 12 * DAY_MS)
    refused = trader.refusal(
        "GET", "um/allOrders", symbol="BTCUSDT", startTime=now_ms - 12 * DAY_MS, endTime=now_ms
    )

    assert [str(order["orderId"]) for order in found] == [old["order_id"]]
    assert refused == (400, -4165)


# Placing.

UM_LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.010",
    "price": "90000",
}
CM_LIMIT = UM_LIMIT | {"symbol": "BTCUSD_PERP", "quantity": "3"}
UM_STOP = {
    "algoType": "CONDITIONAL",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "type": "STOP_MARKET",
    "quantity": "0.010",
    "triggerPrice": "80000",
}
STRATEGY = {"side": "SELL", "strategyType": "STOP_MARKET", "quantity": "1", "stopPrice": "80000"}
OCO = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.5", "price": "99000", "stopPrice": "80000"}


@pytest.mark.parametrize(
    ("book", "path", "params"),
    [
        ("um", "um/order", UM_LIMIT),
        ("cm", "cm/order", CM_LIMIT),
        ("um_conditional", "um/algo/order", UM_STOP),
        ("um_conditional", "um/conditional/order", STRATEGY | {"symbol": "BTCUSDT"}),
        ("cm_conditional", "cm/conditional/order", STRATEGY | {"symbol": "BTCUSD_PERP"}),
        ("margin", "margin/order", UM_LIMIT),
    ],
)
def test_placed_order_rests_in_its_book(trader: Trader, book: str, path: str, params: dict[str, str]) -> None:
    reply = trader.send("POST", path, **params)

    placed = reply.json()
    order_id = next(str(placed[name]) for name in ("orderId", "algoId", "strategyId") if name in placed)
    assert trader.open_ids(book) == [order_id]
    assert reply.headers["X-MBX-ORDER-COUNT-1M"] == "1"


@pytest.mark.parametrize("path", ["um/order", "cm/order", "margin/order"])
def test_market_order_fills_at_once(trader: Trader, path: str) -> None:
    symbol = "BTCUSD_PERP" if path == "cm/order" else "BTCUSDT"
    placed = trader.call("POST", path, symbol=symbol, side="SELL", type="MARKET", quantity="1")

    asked = trader.call("GET", path, symbol=symbol, orderId=placed["orderId"])

    assert (asked["status"], asked["executedQty"]) == ("FILLED", "1")


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("um/order", UM_LIMIT | {"symbol": ""}, -1102),
        ("um/order", UM_LIMIT | {"symbol": "NOPE"}, -1121),
        ("um/order", UM_LIMIT | {"side": "HOLD"}, -1117),
        ("um/order", UM_LIMIT | {"type": "ICEBERG"}, -1116),
        ("um/order", UM_LIMIT | {"type": "STOP_MARKET"}, -4120),
        ("um/order", UM_LIMIT | {"timeInForce": "ASAP"}, -1115),
        ("um/order", UM_LIMIT | {"quantity": "0"}, -4003),
        ("um/order", UM_LIMIT | {"price": "-1"}, -4001),
        ("um/order", UM_LIMIT | {"quantity": "0.0000001"}, -1111),
        ("um/order", UM_LIMIT | {"newClientOrderId": "no blanks"}, -4015),
        ("um/algo/order", UM_STOP | {"algoType": ""}, -1102),
        ("um/algo/order", UM_STOP | {"triggerPrice": ""}, -1102),
        ("um/algo/order", UM_STOP | {"type": "LIMIT"}, -1116),
        ("cm/conditional/order", STRATEGY | {"symbol": "BTCUSD_PERP", "strategyType": ""}, -1102),
        ("cm/conditional/order", STRATEGY | {"symbol": "BTCUSDT"}, -1121),
        ("margin/order", UM_LIMIT | {"type": "STOP_LOSS_LIMIT"}, -1102),
        ("margin/order", UM_LIMIT | {"type": "STOP"}, -1116),
        ("margin/order/oco", OCO | {"price": "70000"}, -2010),
        ("margin/order/oco", OCO | {"stopLimitPrice": "79000"}, -1102),
    ],
)
def test_bad_order_is_refused(trader: Trader, path: str, params: dict[str, str], code: int) -> None:
    assert trader.refusal("POST", path, **params) == (400, code)
    assert trader.simulator.book("pm") == []


def test_client_order_id_names_one_open_order(trader: Trader) -> None:
    trader.call("POST", "um/order", **UM_LIMIT, newClientOrderId="mine")

    again = trader.refusal("POST", "um/order", **UM_LIMIT, newClientOrderId="mine")

    assert again == (400, -4116)
    asked = trader.call("GET", "um/order", symbol="BTCUSDT", origClientOrderId="mine")
    assert asked["clientOrderId"] == "mine"


# Conditional orders.


def test_both_generations_show_the_same_order(trader: Trader) -> None:
    order = trader.seed("um_conditional", type="STOP", price="79000", stop_price="80000")

    [algo] = trader.call("GET", "um/algo/openAlgoOrders")
    [strategy] = trader.call("GET", "um/conditional/openOrders")

    assert (str(algo["algoId"]), algo["orderType"], algo["triggerPrice"], algo["algoStatus"]) == (
        order["order_id"],
        "STOP",
        "80000",
        "NEW",
    )
    assert (strategy["strategyId"], strategy["strategyType"], strategy["stopPrice"]) == (
        algo["algoId"],
        "STOP",
        "80000",
    )


def test_algo_order_is_cancelled_without_a_symbol(trader: Trader) -> None:
    order_id = trader.seed("um_conditional")["order_id"]

    told = trader.call("DELETE", "um/algo/order", algoId=order_id)

    assert told == {"complete": True}
    assert trader.call("GET", "um/algo/algoOrder", algoId=order_id)["algoStatus"] == "CANCELED"
    assert trader.refusal("DELETE", "um/algo/order", algoId=order_id) == (400, -2011)


def test_strategy_is_found_among_the_open_or_in_the_history(trader: Trader) -> None:
    order_id = trader.seed("cm_conditional")["order_id"]
    ids = {"symbol": "BTCUSD_PERP", "strategyId": order_id}
    while_open = [
        trader.send("GET", f"cm/conditional/{name}", **ids) for name in ("openOrder", "orderHistory")
    ]

    told = trader.call("DELETE", "cm/conditional/order", **ids)

    after = [trader.send("GET", f"cm/conditional/{name}", **ids) for name in ("openOrder", "orderHistory")]
    assert told["strategyStatus"] == "CANCELED"
    assert [reply.status_code for reply in while_open] == [200, 400]
    assert [reply.status_code for reply in after] == [400, 200]
    assert after[1].json()["strategyStatus"] == "CANCELED"


@pytest.mark.parametrize(
    ("gone", "status", "body"),
    [
        ("-21015", 400, '{"code":-21015,"msg":"This endpoint has been removed."}'),
        ("404", 404, "<html><head><title>404 Not Found</title></head><body></body></html>"),
    ],
)
def test_older_calls_serve_where_um_algo_is_gone(trader: Trader, gone: str, status: int, body: str) -> None:
    trader.seed("um_conditional")
    trader.simulator.control("POST", "switches", {"um_algo_gone": gone})

    refused = trader.send("DELETE", "um/algo/allOpenOrders", symbol="BTCUSDT")
    done = trader.call("DELETE", "um/conditional/allOpenOrders", symbol="BTCUSDT")

    assert (refused.status_code, refused.text) == (status, body)
    assert done == STRATEGIES_DONE
    assert trader.simulator.book("pm") == []


def test_triggered_order_moves_to_the_ordinary_book(trader: Trader) -> None:
    order = trader.seed("um_conditional", type="STOP", price="79000", client_order_id="guard")
    [became] = trader.simulator.control("POST", "trigger", {"account": "pm"})["orders"]

    told = trader.call("GET", "um/algo/algoOrder", algoId=order["order_id"])
    history = trader.call(
        "GET", "um/conditional/orderHistory", symbol="BTCUSDT", strategyId=order["order_id"]
    )

    assert trader.open_ids("um_conditional") == []
    assert trader.open_ids("um") == [became["order_id"]]
    assert (told["algoStatus"], told["actualOrderId"]) == ("TRIGGERED", became["order_id"])
    assert (history["strategyStatus"], str(history["orderId"])) == ("TRIGGERED", became["order_id"])
    assert trader.refusal("DELETE", "um/algo/order", algoId=order["order_id"]) == (400, -2011)


def test_triggered_order_is_finished_with_the_order_it_became(trader: Trader) -> None:
    order = trader.seed("cm_conditional", type="STOP", price="79000")
    trader.simulator.control("POST", "trigger", {"account": "pm"})

    trader.call("DELETE", "cm/allOpenOrders", symbol="BTCUSD_PERP")

    told = trader.call(
        "GET", "cm/conditional/orderHistory", symbol="BTCUSD_PERP", strategyId=order["order_id"]
    )
    assert (told["strategyStatus"], told["status"]) == ("FINISHED", "CANCELED")


def test_order_being_triggered_cannot_be_cancelled(trader: Trader) -> None:
    order = trader.seed("um_conditional")
    trader.simulator.control("POST", "trigger", {"account": "pm", "hold_ms": 600_000})

    refused = trader.refusal("DELETE", "um/algo/order", algoId=order["order_id"])
    trader.call("DELETE", "um/algo/allOpenOrders", symbol="BTCUSDT")

    assert refused == (400, -4117)
    assert trader.open_ids("um_conditional") == [order["order_id"]]


# Margin and its order lists.


def test_margin_cancel_all_tells_plain_orders_and_lists(trader: Trader) -> None:
    plain = trader.call("POST", "margin/order", **UM_LIMIT, newClientOrderId="plain")
    listed = trader.call("POST", "margin/order/oco", **OCO, listClientOrderId="list")
    stop, limit = listed["orders"]

    told = trader.call("DELETE", "margin/allOpenOrders", symbol="BTCUSDT")

    cancel_id = told[0]["clientOrderId"]
    shared = {
        "symbol": "BTCUSDT",
        "clientOrderId": cancel_id,
        "executedQty": "0",
        "status": "CANCELED",
        "timeInForce": "GTC",
    }
    assert told == [
        shared
        | {
            "origClientOrderId": "plain",
            "orderId": plain["orderId"],
            "orderListId": -1,
            "price": "90000",
            "origQty": "0.010",
            "cummulativeQuoteQty": "0",
            "type": "LIMIT",
            "side": "BUY",
        },
        {
            "orderListId": listed["orderListId"],
            "contingencyType": "OCO",
            "listStatusType": "ALL_DONE",
            "listOrderStatus": "ALL_DONE",
            "listClientOrderId": "list",
            "transactionTime": told[1]["transactionTime"],
            "symbol": "BTCUSDT",
            "orders": [stop, limit],
            "orderReports": [
                shared
                | {
                    "origClientOrderId": stop["clientOrderId"],
                    "orderId": stop["orderId"],
                    "orderListId": listed["orderListId"],
                    "price": "0",
                    "origQty": "0.5",
                    "cummulativeQuoteQty": "0",
                    "type": "STOP_LOSS",
                    "side": "SELL",
                    "stopPrice": "80000",
                },
                shared
                | {
                    "origClientOrderId": limit["clientOrderId"],
                    "orderId": limit["orderId"],
                    "orderListId": listed["orderListId"],
                    "price": "99000",
                    "origQty": "0.5",
                    "cummulativeQuoteQty": "0",
                    "type": "LIMIT_MAKER",
                    "side": "SELL",
                },
            ],
        },
    ]


def test_margin_cancel_all_of_nothing_is_refused(trader: Trader) -> None:
    assert trader.refusal("DELETE", "margin/allOpenOrders", symbol="BTCUSDT") == (400, -2011)


def test_open_list_is_executing_until_it_is_done(trader: Trader) -> None:
    placed = trader.call("POST", "margin/order/oco", **OCO)
    [listed] = trader.call("GET", "margin/openOrderList")

    trader.call("DELETE", "margin/orderList", symbol="BTCUSDT", orderListId=placed["orderListId"])

    asked = trader.call("GET", "margin/orderList", orderListId=placed["orderListId"])
    assert (listed["listStatusType"], listed["listOrderStatus"]) == ("EXEC_STARTED", "EXECUTING")
    assert (asked["listStatusType"], asked["listOrderStatus"]) == ("ALL_DONE", "ALL_DONE")
    assert trader.call("GET", "margin/openOrderList") == []
    assert trader.call("GET", "margin/allOrderList") == [asked]


def test_cancel_of_one_leg_removes_the_list(trader: Trader) -> None:
    stop, limit = trader.call("POST", "margin/order/oco", **OCO)["orders"]

    told = trader.call("DELETE", "margin/order", symbol="BTCUSDT", orderId=limit["orderId"])

    assert (told["orderId"], told["status"]) == (limit["orderId"], "CANCELED")
    assert trader.simulator.book("pm") == []
    second = trader.refusal("DELETE", "margin/order", symbol="BTCUSDT", orderId=stop["orderId"])
    assert second == (400, -2011)


def test_leg_that_fills_expires_the_other(trader: Trader) -> None:
    stop, limit = trader.call("POST", "margin/order/oco", **OCO)["orders"]

    trader.simulator.control("POST", "fill", {"account": "pm", "order_id": limit["orderId"]})

    statuses = [
        trader.call("GET", "margin/order", symbol="BTCUSDT", orderId=leg["orderId"])["status"]
        for leg in (stop, limit)
    ]
    assert statuses == ["EXPIRED", "FILLED"]


def test_stop_leg_that_triggers_goes_to_work_alone(trader: Trader) -> None:
    stop = trader.seed("margin", type="OCO")

    trader.simulator.control("POST", "trigger", {"account": "pm", "order_id": stop["order_id"]})

    [listed] = trader.call("GET", "margin/openOrders", symbol="BTCUSDT")
    assert (str(listed["orderId"]), listed["type"], listed["isWorking"]) == (
        stop["order_id"],
        "STOP_LOSS_LIMIT",
        True,
    )
    assert [order["status"] for order in trader.simulator.book("pm", only_open=False)] == ["NEW", "EXPIRED"]


def test_legs_are_listed_without_their_list(trader: Trader) -> None:
    legs = trader.call("POST", "margin/order/oco", **OCO)["orders"]

    listed = trader.call("GET", "margin/openOrders", symbol="BTCUSDT")

    assert [order["orderId"] for order in listed] == [leg["orderId"] for leg in legs]
    assert all("orderListId" not in order for order in listed)


def test_list_leg_that_fills_during_its_cancel_is_told_as_filled(trader: Trader) -> None:
    stop, limit = trader.call("POST", "margin/order/oco", **OCO)["orders"]
    trader.simulator.fault("fill_during", account="pm", order_id=str(stop["orderId"]))

    [told] = trader.call("DELETE", "margin/allOpenOrders", symbol="BTCUSDT")

    statuses = {report["orderId"]: report["status"] for report in told["orderReports"]}
    assert statuses == {stop["orderId"]: "FILLED", limit["orderId"]: "EXPIRED"}


def test_unknown_list_does_not_exist(trader: Trader) -> None:
    assert trader.refusal("GET", "margin/orderList", orderListId=1) == (400, -2018)
    assert trader.refusal("DELETE", "margin/orderList", symbol="BTCUSDT", orderListId=1) == (400, -2011)


# The account, access, limits.


def test_account_says_whether_it_may_trade(trader: Trader) -> None:
    config = trader.call("GET", "um/accountConfig")

    assert config["canTrade"] is True
    assert trader.call("GET", "account")["accountStatus"] == "NORMAL"
    assert trader.call("GET", "rateLimit/order") == [
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200}
    ]


def test_ping_tells_the_venues_time_in_its_date(trader: Trader) -> None:
    trader.simulator.fault("clock_skew_ms", venue="binance-portfolio", ms=3_600_000)

    reply = trader.simulator.session.get(f"{trader.simulator.url}/papi/v1/ping")

    ahead_s = parsedate_to_datetime(reply.headers["Date"]).timestamp() - time.time()
    assert reply.json() == {}
    assert 3590 < ahead_s <= 3600


@pytest.mark.parametrize(
    ("method", "path", "params", "weight"),
    [
        ("DELETE", "um/allOpenOrders", {"symbol": "BTCUSDT"}, 1),
        ("GET", "um/openOrders", {"symbol": "BTCUSDT"}, 1),
        ("GET", "um/openOrders", {}, 40),
        ("GET", "um/allOrders", {"symbol": "BTCUSDT"}, 5),
        ("DELETE", "um/algo/allOpenOrders", {"symbol": "BTCUSDT"}, 1),
        ("GET", "um/algo/openAlgoOrders", {}, 40),
        ("GET", "um/algo/allAlgoOrders", {"symbol": "BTCUSDT"}, 5),
        ("GET", "um/conditional/openOrders", {}, 40),
        ("GET", "um/conditional/allOrders", {}, 40),
        ("GET", "cm/openOrders", {}, 40),
        ("GET", "cm/allOrders", {"symbol": "BTCUSD_PERP"}, 20),
        ("GET", "cm/allOrders", {"pair": "BTCUSD"}, 40),
        ("GET", "cm/conditional/openOrders", {"symbol": "BTCUSD_PERP"}, 1),
        ("DELETE", "margin/allOpenOrders", {"symbol": "BTCUSDT"}, 5),
        ("GET", "margin/openOrders", {"symbol": "BTCUSDT"}, 5),
        ("GET", "margin/openOrders", {}, 480),
        ("GET", "margin/openOrderList", {}, 5),
        ("GET", "margin/order", {"symbol": "BTCUSDT", "orderId": 1}, 10),
        ("GET", "margin/orderList", {"orderListId": 1}, 5),
        ("GET", "margin/allOrders", {"symbol": "BTCUSDT"}, 100),
        ("GET", "margin/allOrderList", {}, 100),
        ("DELETE", "margin/order", {"symbol": "BTCUSDT", "orderId": 1}, 2),
        ("DELETE", "margin/orderList", {"symbol": "BTCUSDT", "orderListId": 1}, 2),
        ("GET", "um/accountConfig", {}, 5),
        ("GET", "account", {}, 20),
        ("GET", "rateLimit/order", {}, 1),
        ("GET", "ping", {}, 1),
    ],
)
def test_call_costs_what_the_venue_says(
    trader: Trader, method: str, path: str, params: dict[str, str], weight: int
) -> None:
    trader.simulator.control("POST", "limits", {"forget": True})

    reply = trader.send(method, path, **params)

    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


def test_weight_above_the_limit_is_refused(trader: Trader) -> None:
    trader.simulator.control("POST", "limits", {"papi": 39})

    assert trader.refusal("GET", "um/openOrders") == (429, -1003)


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"timestamp": ""}, 400, -1102),
        ({"timestamp": 1_700_000_000_000}, 400, -1021),
        ({"timestamp": 4_000_000_000_000}, 400, -1021),
        ({"recvWindow": 60_001}, 400, -1130),
    ],
)
def test_bad_time_is_refused(trader: Trader, params: dict[str, object], status: int, code: int) -> None:
    assert trader.refusal("GET", "um/openOrders", **params) == (status, code)


@pytest.mark.parametrize(
    ("api_key", "secret", "status", "code"),
    [("short", None, 401, -2014), ("x" * 64, None, 401, -2015), (None, "wrong", 400, -1022)],
)
def test_bad_key_is_refused(
    trader: Trader, api_key: str | None, secret: str | None, status: int, code: int
) -> None:
    stranger = Trader(trader.simulator, "pm", api_key or trader.api_key, secret or trader.secret)

    assert stranger.refusal("GET", "um/openOrders") == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "params", "code"),
    [
        ("DELETE", "um/order", {"symbol": "BTCUSDT", "orderId": 1}, -2011),
        ("GET", "um/order", {"symbol": "BTCUSDT", "orderId": 1}, -2013),
        ("GET", "um/order", {"symbol": "BTCUSDT"}, -1102),
        ("GET", "um/order", {"symbol": "BTCUSDT", "orderId": "one"}, -1102),
        ("DELETE", "um/allOpenOrders", {}, -1102),
        ("DELETE", "um/allOpenOrders", {"symbol": "BTCUSD_PERP"}, -1121),
        ("GET", "um/algo/algoOrder", {"algoId": 1}, -2013),
        ("GET", "um/algo/algoOrder", {}, -1102),
        ("DELETE", "um/conditional/order", {"symbol": "BTCUSDT", "strategyId": 1}, -2011),
        ("GET", "cm/conditional/openOrder", {"symbol": "BTCUSD_PERP", "strategyId": 1}, -2013),
        ("GET", "cm/conditional/orderHistory", {"symbol": "BTCUSD_PERP", "strategyId": 1}, -2013),
        ("DELETE", "cm/order", {"symbol": "BTCUSD_PERP", "orderId": 1}, -2011),
        ("GET", "cm/allOrders", {}, -1102),
        ("DELETE", "margin/order", {"symbol": "BTCUSDT", "orderId": 1}, -2011),
        ("GET", "margin/order", {"symbol": "BTCUSDT", "orderId": 1}, -2013),
        ("GET", "margin/openOrders", {"symbol": "NOPE"}, -1121),
    ],
)
def test_bad_question_is_refused(
    trader: Trader, method: str, path: str, params: dict[str, object], code: int
) -> None:
    assert trader.refusal(method, path, **params) == (400, code)


# Bad days.


@pytest.mark.parametrize("book", BOOKS)
def test_order_that_refuses_to_go_stays_in_its_book(trader: Trader, book: str) -> None:
    order = trader.seed(book)
    trader.simulator.fault("refuse_cancel", account="pm")
    symbol, _, cancel_all, _ = BOOKS[book]

    trader.call("DELETE", cancel_all, symbol=symbol)

    assert trader.open_ids(book) == [order["order_id"]]


@pytest.mark.parametrize("book", ["um", "um_conditional", "cm", "cm_conditional"])
def test_order_that_fills_during_the_sweep_is_no_longer_listed(trader: Trader, book: str) -> None:
    trader.seed(book)
    trader.simulator.fault("fill_during", account="pm")
    symbol, _, cancel_all, _ = BOOKS[book]

    trader.call("DELETE", cancel_all, symbol=symbol)

    [order] = trader.simulator.book("pm", only_open=False)
    assert (trader.open_ids(book), order["status"]) == ([], "FILLED")


def test_margin_order_that_fills_during_the_sweep_is_not_told_as_cancelled(trader: Trader) -> None:
    trader.seed("margin")
    trader.simulator.fault("fill_during", account="pm")

    assert trader.refusal("DELETE", "margin/allOpenOrders", symbol="BTCUSDT") == (400, -2011)


@pytest.mark.parametrize("book", BOOKS)
def test_bot_that_keeps_placing_fills_any_book(trader: Trader, book: str) -> None:
    trader.simulator.fault("requote", account="pm", symbol=BOOKS[book][0], book=book, ms=10, count=2)

    deadline = time.monotonic() + 10
    while len(trader.open_ids(book)) < 2:
        assert time.monotonic() < deadline, "the bot does not place"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"kind": "done_then_503a"}, 503, 0),
        ({"kind": "not_done_503b"}, 503, 0),
        ({"kind": "not_done_503c"}, 503, -1001),
        ({"kind": "408"}, 408, -1007),
        ({"kind": "429"}, 429, -1003),
        ({"kind": "418"}, 418, -1003),
        ({"kind": "key_revoked"}, 401, -2015),
        ({"kind": "clock_skew_ms", "ms": 60_000}, 400, -1021),
    ],
)
def test_fault_is_answered_in_the_venues_words(
    trader: Trader, fault: dict[str, Any], status: int, code: int
) -> None:
    trader.simulator.fault(**fault, account="pm", path="/papi/v1/margin/*")

    assert trader.refusal("DELETE", "margin/allOpenOrders", symbol="BTCUSDT") == (status, code)


# Market data of its products.


def get(simulator: SimulatorProcess, path: str, **query: str) -> Any:
    return simulator.session.get(simulator.url + path, params=query, timeout=10).json()


def test_prices_and_filters_of_its_products_are_told_by_their_own_apis(simulator: SimulatorProcess) -> None:
    coin = get(simulator, "/dapi/v1/premiumIndex", symbol="ETHUSD_PERP")
    spot = get(simulator, "/api/v3/ticker/price", symbol="XRPUSDT")
    (pair,) = get(simulator, "/api/v3/exchangeInfo", symbol="XRPUSDT")["symbols"]
    contracts = get(simulator, "/dapi/v1/exchangeInfo")["symbols"]

    assert [(row["symbol"], row["pair"], row["markPrice"]) for row in coin] == [
        ("ETHUSD_PERP", "ETHUSD", "3012.40")
    ]
    assert spot == {"symbol": "XRPUSDT", "price": "2.1140"}
    filters = {rule["filterType"]: rule for rule in pair["filters"]}
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    assert filters["PERCENT_PRICE_BY_SIDE"]["bidMultiplierDown"] == "0.2"
    assert {rule["filterType"] for row in contracts for rule in row["filters"]}.isdisjoint({"MIN_NOTIONAL"})
    assert len(get(simulator, "/api/v3/ticker/price")) == 18
    assert get(simulator, "/dapi/v1/premiumIndex", symbol="NOSUCH")["code"] == -1121
