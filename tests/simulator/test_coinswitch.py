"""CoinSwitch futures as simulated, spoken to as its reference describes."""

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from panicboard.simulator.api import Call
from panicboard.simulator.coinswitch import signature_is_valid
from panicboard.simulator.coinswitch_orders import Moments
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]

API = "/trade/api/v2"
FUTURES = f"{API}/futures"
EXCHANGE = {"exchange": "EXCHANGE_2"}
DAY_MS = 86_400_000


@dataclass
class Trader:
    """One account at the simulated venue. `signed_path` is what is signed, when it is not what is sent."""

    simulator: SimulatorProcess
    name: str
    api_key: str
    secret: str

    def send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        epoch_ms: int | None = None,
        signed_path: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        """Send one signed request."""
        epoch = str(int(time.time() * 1000) if epoch_ms is None else epoch_ms)
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.secret))
        signature = key.sign((method + (signed_path or path) + epoch).encode())
        return self.simulator.session.request(
            method,
            self.simulator.url + path,
            json=body,
            headers={
                "X-AUTH-APIKEY": self.api_key,
                "X-AUTH-SIGNATURE": signature.hex(),
                "X-AUTH-EPOCH": epoch,
                **(headers or {}),
            },
            timeout=10,
        )

    def data(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The `data` of a successful answer."""
        reply = self.send(method, path, body)
        assert reply.status_code == 200, reply.text
        return reply.json()["data"]

    def open_orders(self, **body: Any) -> list[dict[str, Any]]:
        return self.data("POST", f"{FUTURES}/orders/open", EXCHANGE | body)["orders"]

    def status(self, order_id: str) -> str:
        return self.data("GET", f"{FUTURES}/order?order_id={order_id}")["order"]["status"]

    def wait_for_status(self, order_id: str, status: str) -> None:
        """Wait until the venue gives an order this status (with the limits off: it asks often)."""
        deadline = time.monotonic() + 10
        while self.status(order_id) != status:
            assert time.monotonic() < deadline, f"the order is not {status}"

    def wait_for_open(self, count: int) -> None:
        """Wait until the simulator's own book holds so many open orders of this account."""
        deadline = time.monotonic() + 10
        while len(self.simulator.book(self.name)) != count:
            assert time.monotonic() < deadline, f"there are not {count} open orders"


@pytest.fixture
def trader(simulator: SimulatorProcess) -> Trader:
    """An account whose cancels settle at once."""
    simulator.control("POST", "switches", {"coinswitch_cancel_delay_ms": 0})
    account = simulator.create_account("coinswitch", "cs")
    return Trader(simulator, "cs", account["api_key"], account["secret"])


def hold_cancels(trader: Trader) -> None:
    """Let cancels stay CANCELLATION_RAISED for longer than a test lasts."""
    trader.simulator.control("POST", "switches", {"coinswitch_cancel_delay_ms": 600_000})


# Market data.


def test_instruments_and_prices_are_told(trader: Trader) -> None:
    info = trader.data("GET", f"{FUTURES}/instrument_info?exchange=EXCHANGE_2")["XRPUSDT"]
    ticker = trader.data("GET", f"{FUTURES}/ticker?exchange=EXCHANGE_2&symbol=xrpusdt")

    assert (info["status"], info["min_base_quantity"], info["base_quantity_step_size"]) == (
        "TRADING",
        "0.1",
        "0.1",
    )
    assert (info["price_precision"], info["tick_size"]) == (4, 1)  # a tick of 0.0001
    assert list(ticker) == ["EXCHANGE_2"]
    assert (ticker["EXCHANGE_2"]["symbol"], ticker["EXCHANGE_2"]["mark_price"]) == ("XRPUSDT", "2.1140")
    assert trader.send("GET", f"{FUTURES}/ticker?exchange=EXCHANGE_2&symbol=NOSUCH").status_code == 422


# Access.


@pytest.mark.parametrize(
    ("method", "path", "query", "signature"),
    [
        (
            "POST",
            f"{FUTURES}/cancel_all",
            "",
            "39690b306f14daf1c0ab30caf78a57682f260a13501b03371fb743a5584b40eb"
            "a946974ac35211f2e91e5a441a369e8e80c068efa46df4e0572c36bdcae76506",
        ),
        (
            "GET",
            f"{FUTURES}/order",
            "order_id=698ed406-8ef5-4664-9779-f7978702a447",
            "56a16bf2d13630b771880a1f4d812e232a2f0f4a7511ea69fffc6f2994c148d4"
            "cc23dfe2ed4a6be286f415b330ddae2713607ff7f3b5dfa07712e98759cd7900",
        ),
    ],
)
def test_signature_of_the_reference_key_is_valid(method: str, path: str, query: str, signature: str) -> None:
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    headers = {"X-AUTH-EPOCH": "1700000000000", "X-AUTH-SIGNATURE": signature}
    call = Call(method, path, query, b"", headers, "", 0, 0, None)

    valid = signature_is_valid(call, Ed25519PublicKey.from_public_bytes(public))

    assert valid


def test_validate_keys_knows_a_good_key(trader: Trader) -> None:
    reply = trader.send("GET", f"{API}/validate/keys")

    assert (reply.status_code, reply.json()) == (200, {"message": "Valid Access"})


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"headers": {"X-AUTH-APIKEY": "00" * 32}}, id="key"),
        pytest.param({"headers": {"X-AUTH-SIGNATURE": "00" * 64}}, id="signature"),
        pytest.param({"headers": {"X-AUTH-SIGNATURE": "no hex"}}, id="signature form"),
        pytest.param({"headers": {"X-AUTH-EPOCH": ""}}, id="no epoch"),
        pytest.param({"headers": {"X-AUTH-EPOCH": "1"}}, id="epoch not the one signed"),
        pytest.param({"epoch_ms": 1_700_000_000_000}, id="epoch long ago"),
        pytest.param({"signed_path": f"{API}/other"}, id="other path"),
    ],
)
def test_access_is_refused_without_a_reason(trader: Trader, wrong: dict[str, Any]) -> None:
    reply = trader.send("GET", f"{API}/validate/keys", **wrong)

    assert (reply.status_code, reply.json()) == (401, {"message": "Invalid Access"})


@pytest.mark.parametrize(("off_ms", "status"), [(-50_000, 200), (50_000, 200), (-70_000, 401), (70_000, 401)])
def test_epoch_may_be_60_s_off(trader: Trader, off_ms: int, status: int) -> None:
    epoch_ms = int(time.time() * 1000) + off_ms

    reply = trader.send("GET", f"{API}/validate/keys", epoch_ms=epoch_ms)

    assert reply.status_code == status


def test_the_decoded_path_is_signed(trader: Trader) -> None:
    sent = f"{FUTURES}/order?client_order_id=a%20b%2Bc"

    decoded = trader.send("GET", sent, signed_path=f"{FUTURES}/order?client_order_id=a b+c")
    encoded = trader.send("GET", sent)

    assert (decoded.status_code, decoded.json()) == (400, {"message": "Order not found"})
    assert encoded.status_code == 401


def test_time_and_ping_need_no_key(simulator: SimulatorProcess) -> None:
    before_ms = int(time.time() * 1000)
    venue_ms = simulator.session.get(f"{simulator.url}{API}/time").json()["serverTime"]
    ping = simulator.session.get(f"{simulator.url}{API}/ping")

    assert before_ms <= venue_ms <= int(time.time() * 1000)
    assert (ping.status_code, ping.json()) == (200, {"message": "OK"})


# Cancels.


def test_cancel_all_names_what_it_asked_for(trader: Trader) -> None:
    hold_cancels(trader)
    seeded = trader.simulator.seed("cs", "BTCUSDT", count=2)
    seeded += trader.simulator.seed("cs", "ETHUSDT", type="STOP_MARKET")

    reply = trader.send("POST", f"{FUTURES}/cancel_all", EXCHANGE).json()

    assert set(reply["data"].pop("orders_ids")) == {order["order_id"] for order in seeded}
    assert reply == {"data": {}}
    assert {order["status"] for order in trader.open_orders()} == {"CANCELLATION_RAISED"}


def test_cancel_all_of_a_symbol_leaves_the_others(trader: Trader) -> None:
    [bitcoin] = trader.simulator.seed("cs", "BTCUSDT")
    [ether] = trader.simulator.seed("cs", "ETHUSDT")

    asked = trader.data("POST", f"{FUTURES}/cancel_all", EXCHANGE | {"symbol": "btcusdt"})

    assert asked == {"orders_ids": [bitcoin["order_id"]]}
    trader.wait_for_open(1)
    assert [order["order_id"] for order in trader.open_orders()] == [ether["order_id"]]


def test_cancel_all_of_nothing_is_an_empty_list(trader: Trader) -> None:
    assert trader.data("POST", f"{FUTURES}/cancel_all", EXCHANGE) == {"orders_ids": []}


def test_cancel_all_does_not_ask_twice(trader: Trader) -> None:
    hold_cancels(trader)
    trader.simulator.seed("cs", "BTCUSDT")
    trader.data("POST", f"{FUTURES}/cancel_all", EXCHANGE)

    assert trader.data("POST", f"{FUTURES}/cancel_all", EXCHANGE) == {"orders_ids": []}


def test_cancel_raises_and_settles(trader: Trader) -> None:
    [order] = trader.simulator.seed("cs", "BTCUSDT")
    body = EXCHANGE | {"order_id": order["order_id"]}

    told = trader.data("DELETE", f"{FUTURES}/order", body)

    trader.wait_for_open(0)
    assert (told["order_id"], told["status"]) == (order["order_id"], "CANCELLATION_RAISED")
    assert (told["avg_exec_price"], told["exec_fee"]) == ("0", "0")
    assert trader.status(order["order_id"]) == "CANCELLED"


def test_order_that_fills_while_its_cancel_is_raised_is_executed(trader: Trader) -> None:
    [order] = trader.simulator.seed("cs", "BTCUSDT")
    trader.simulator.fault("fill_during", account="cs")

    asked = trader.data("POST", f"{FUTURES}/cancel_all", EXCHANGE)

    trader.wait_for_open(0)
    assert asked == {"orders_ids": [order["order_id"]]}
    assert trader.status(order["order_id"]) == "EXECUTED"


def test_order_that_refuses_to_go_is_raised_again(trader: Trader) -> None:
    [order] = trader.simulator.seed("cs", "BTCUSDT")
    trader.simulator.fault("refuse_cancel", account="cs")
    trader.simulator.control("POST", "limits", {"on": False})

    asked = trader.data("POST", f"{FUTURES}/cancel_all", EXCHANGE)

    assert asked == {"orders_ids": [order["order_id"]]}
    trader.wait_for_status(order["order_id"], "RAISED")


def test_order_filled_in_part_ends_partially_executed(trader: Trader) -> None:
    [order] = trader.simulator.seed("cs", "BTCUSDT", quantity="2", price="100")
    trader.simulator.control("POST", "fill", {"account": "cs", "quantity": "0.5"})
    while_open = trader.status(order["order_id"])

    trader.data("POST", f"{FUTURES}/cancel_all", EXCHANGE)

    trader.wait_for_open(0)
    told = trader.data("GET", f"{FUTURES}/order?order_id={order['order_id']}")["order"]
    assert while_open == "RAISED"
    assert (told["status"], told["exec_quantity"]) == ("PARTIALLY_EXECUTED", "0.5")


def test_cancel_of_a_finished_order_is_refused(trader: Trader) -> None:
    [order] = trader.simulator.seed("cs", "BTCUSDT")
    trader.simulator.control("POST", "fill", {"account": "cs"})

    reply = trader.send("DELETE", f"{FUTURES}/order", EXCHANGE | {"order_id": order["order_id"]})

    assert (reply.status_code, reply.json()) == (400, {"message": "Order is already EXECUTED"})


# Orders.


def test_placed_order_is_raised_and_told_alike_everywhere(trader: Trader) -> None:
    body = EXCHANGE | {
        "symbol": "dogeusdt",
        "side": "buy",
        "order_type": "LIMIT",
        "price": 0.28,
        "quantity": 22,
        "client_order_id": "5b8e3d2a-6f5d-4f0b-9f4d-6f9f0c2b7a11",
    }

    placed = trader.data("POST", f"{FUTURES}/order", body)

    expected = {
        "order_id": placed["order_id"],
        "exchange": "EXCHANGE_2",
        "symbol": "DOGEUSDT",
        "side": "BUY",
        "status": "RAISED",
        "order_type": "LIMIT",
        "quantity": "22",
        "exec_quantity": "0",
        "price": "0.28",
        "trigger_price": "0",
        "avg_execution_price": "0",
        "execution_fee": "0",
        "realised_pnl": "0",
        "reduce_only": False,
        "created_at": placed["created_at"],
        "updated_at": placed["created_at"],
        "client_order_id": "5b8e3d2a-6f5d-4f0b-9f4d-6f9f0c2b7a11",
    }
    assert placed == expected
    assert trader.open_orders() == [expected]
    by_id = trader.data("GET", f"{FUTURES}/order?order_id={placed['order_id']}")
    by_client_id = trader.data("GET", f"{FUTURES}/order?client_order_id={body['client_order_id']}")
    assert by_id == by_client_id == {"order": expected}


def test_repeated_client_order_id_places_nothing_twice(trader: Trader) -> None:
    body = EXCHANGE | {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "order_type": "LIMIT",
        "price": 91000,
        "quantity": 1,
        "client_order_id": "once",
    }

    first = trader.data("POST", f"{FUTURES}/order", body)
    second = trader.data("POST", f"{FUTURES}/order", body)

    assert first == second
    assert len(trader.simulator.book("cs")) == 1


def test_market_order_executes_and_makes_a_position(trader: Trader) -> None:
    body = EXCHANGE | {"symbol": "ETHUSDT", "side": "SELL", "order_type": "MARKET", "quantity": 3}

    placed = trader.data("POST", f"{FUTURES}/order", body)

    assert placed["status"] == "RAISED"
    assert trader.status(placed["order_id"]) == "EXECUTED"
    [position] = trader.data("GET", f"{FUTURES}/positions?exchange=EXCHANGE_2")
    assert (position["symbol"], position["position_side"], position["position_size"]) == (
        "ETHUSDT",
        "SHORT",
        "3",
    )


def test_stop_is_cancelled_with_all_others(trader: Trader) -> None:
    body = EXCHANGE | {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "order_type": "STOP_MARKET",
        "quantity": 0,
        "trigger_price": 80000,
        "reduce_only": True,
    }

    placed = trader.data("POST", f"{FUTURES}/order", body)
    asked = trader.data("POST", f"{FUTURES}/cancel_all", EXCHANGE)

    assert (placed["quantity"], placed["trigger_price"], placed["reduce_only"]) == ("0", "80000", True)
    assert asked == {"orders_ids": [placed["order_id"]]}


LIMIT = EXCHANGE | {"symbol": "BTCUSDT", "side": "BUY", "order_type": "LIMIT", "price": 1, "quantity": 1}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "cancel_all", {}, 422, "Input exchange is missing"),
        ("POST", "cancel_all", {"exchange": "EXCHANGE_1"}, 422, "Input exchange is invalid"),
        ("POST", "cancel_all", EXCHANGE | {"symbol": "NOPE"}, 422, "Input symbol is invalid"),
        ("DELETE", "order", EXCHANGE, 422, "Input order_id is missing"),
        ("DELETE", "order", EXCHANGE | {"order_id": "nope"}, 400, "Order not found"),
        ("GET", "order", None, 422, "Input order_id is missing"),
        ("GET", "order?order_id=nope", None, 400, "Order not found"),
        ("GET", "positions", None, 422, "Input exchange is missing"),
        ("POST", "orders/open", EXCHANGE | {"limit": 51}, 422, "Input limit is invalid"),
        ("POST", "orders/open", EXCHANGE | {"limit": "ten"}, 422, "Input limit is invalid"),
        ("POST", "order", LIMIT | {"side": "HOLD"}, 422, "Input side is invalid"),
        ("POST", "order", LIMIT | {"order_type": "ICEBERG"}, 422, "Input order_type is invalid"),
        ("POST", "order", LIMIT | {"price": -1}, 422, "Input price is invalid"),
        ("POST", "order", LIMIT | {"quantity": "much"}, 422, "Input quantity is invalid"),
        ("POST", "order", LIMIT | {"time_in_force": "ASAP"}, 422, "Input time_in_force is invalid"),
        ("POST", "order", LIMIT | {"order_type": "STOP_MARKET"}, 422, "Input reduce_only is missing"),
    ],
)
def test_bad_input_is_named(
    trader: Trader, method: str, path: str, body: dict[str, Any] | None, status: int, message: str
) -> None:
    reply = trader.send(method, f"{FUTURES}/{path}", body)

    assert (reply.status_code, reply.json()) == (status, {"message": message})


# Pages.


def test_open_orders_come_in_pages_newest_first(trader: Trader) -> None:
    seeded = {order["order_id"] for order in trader.simulator.seed("cs", "BTCUSDT", count=120)}
    seen: dict[str, int] = {}
    body: dict[str, Any] = dict(EXCHANGE)

    while True:
        page = trader.data("POST", f"{FUTURES}/orders/open", body)
        new = {order["order_id"]: order["created_at"] for order in page["orders"]} | seen
        if new == seen:
            break
        assert len(page["orders"]) <= 50
        assert page["cursor"] == page["orders"][-1]["created_at"]
        seen = seen | new
        body["to_time"] = page["cursor"]

    assert set(seen) == seeded
    moments = [seen[order_id] for order_id in sorted(seen, key=seen.__getitem__)]
    assert len(set(moments)) == 120


def test_moment_taken_twice_becomes_the_latest_earlier_one_that_is_free() -> None:
    moments = Moments()

    taken = [moments.take("cs", now_ms) for now_ms in (100, 500, 500, 500, 499, 501, 502, 502)]

    assert taken == [100, 500, 499, 498, 497, 501, 502, 496]
    assert moments.take("other", 500) == 500


def test_next_page_begins_with_the_last_order_of_the_one_before(trader: Trader) -> None:
    trader.simulator.seed("cs", "BTCUSDT", count=3)
    first = trader.data("POST", f"{FUTURES}/orders/open", EXCHANGE | {"limit": 2})

    second = trader.data("POST", f"{FUTURES}/orders/open", EXCHANGE | {"to_time": first["cursor"]})

    assert second["orders"][0] == first["orders"][-1]
    assert len(second["orders"]) == 2


def test_empty_page_has_no_cursor(trader: Trader) -> None:
    assert trader.data("POST", f"{FUTURES}/orders/open", EXCHANGE) == {"orders": [], "cursor": 0}


def test_order_older_than_seven_days_is_seen_in_its_own_window_only(trader: Trader) -> None:
    now_ms = int(time.time() * 1000)
    [old] = trader.simulator.seed("cs", "BTCUSDT", created_ms=now_ms - 10 * DAY_MS)

    lately = trader.open_orders()
    before = trader.open_orders(from_time=now_ms - 14 * DAY_MS, to_time=now_ms - 7 * DAY_MS)

    assert lately == []
    assert [order["order_id"] for order in before] == [old["order_id"]]


def test_window_of_more_than_seven_days_is_refused(trader: Trader) -> None:
    now_ms = int(time.time() * 1000)
    body = EXCHANGE | {"from_time": now_ms - 8 * DAY_MS, "to_time": now_ms}

    reply = trader.send("POST", f"{FUTURES}/orders/open", body)

    message = "Input from_time is invalid: it must lie at most 7 days before to_time"
    assert (reply.status_code, reply.json()) == (422, {"message": message})


def test_closed_orders_are_chosen_by_status(trader: Trader) -> None:
    [gone] = trader.simulator.seed("cs", "BTCUSDT")
    trader.data("POST", f"{FUTURES}/cancel_all", EXCHANGE)
    trader.wait_for_open(0)
    [filled] = trader.simulator.seed("cs", "BTCUSDT")
    trader.simulator.control("POST", "fill", {"account": "cs"})
    trader.simulator.seed("cs", "BTCUSDT")

    closed = trader.data("POST", f"{FUTURES}/orders/closed", EXCHANGE)
    cancelled = trader.data("POST", f"{FUTURES}/orders/closed", EXCHANGE | {"status": "CANCELLED"})

    assert [order["order_id"] for order in closed["orders"]] == [filled["order_id"], gone["order_id"]]
    assert [order["order_id"] for order in cancelled["orders"]] == [gone["order_id"]]


# Limits and bad days.


def test_eleventh_cancel_in_a_minute_is_refused_to_this_key_alone(trader: Trader) -> None:
    other = trader.simulator.create_account("coinswitch", "cs-2")
    neighbour = Trader(trader.simulator, "cs-2", other["api_key"], other["secret"])
    for _ in range(10):
        assert trader.send("POST", f"{FUTURES}/cancel_all", EXCHANGE).status_code == 200

    refused = trader.send("POST", f"{FUTURES}/cancel_all", EXCHANGE)

    assert (refused.status_code, refused.json()) == (429, {"message": "Too many requests"})
    assert trader.send("POST", f"{FUTURES}/orders/open", EXCHANGE).status_code == 200
    assert neighbour.send("POST", f"{FUTURES}/cancel_all", EXCHANGE).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "allowed"),
    [
        ("DELETE", "order", EXCHANGE, 10),
        ("GET", "order", None, 20),
        ("POST", "order", EXCHANGE, 20),
        ("POST", "orders/open", EXCHANGE, 20),
        ("POST", "orders/closed", EXCHANGE, 20),
        ("GET", "positions", None, 20),
    ],
)
def test_each_call_has_its_own_limit(
    trader: Trader, method: str, path: str, body: dict[str, Any] | None, allowed: int
) -> None:
    statuses = [trader.send(method, f"{FUTURES}/{path}", body).status_code for _ in range(allowed + 1)]

    assert [status == 429 for status in statuses] == [False] * allowed + [True]


def test_limits_can_be_switched_off(trader: Trader) -> None:
    trader.simulator.control("POST", "limits", {"on": False})

    statuses = {trader.send("POST", f"{FUTURES}/cancel_all", EXCHANGE).status_code for _ in range(12)}

    assert statuses == {200}


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        (
            {"kind": "done_then_503a"},
            503,
            {"message": "Unknown error, please check your request or try again later."},
        ),
        ({"kind": "not_done_503b"}, 503, {"message": "Service Unavailable."}),
        ({"kind": "429"}, 429, {"message": "Too many requests"}),
        ({"kind": "key_revoked"}, 401, {"message": "Invalid Access"}),
        ({"kind": "clock_skew_ms", "ms": 70_000}, 401, {"message": "Invalid Access"}),
    ],
)
def test_fault_is_answered_in_the_venues_words(
    trader: Trader, fault: dict[str, Any], status: int, body: dict[str, str]
) -> None:
    trader.simulator.fault(**fault, account="cs", path=f"{FUTURES}/*")

    reply = trader.send("POST", f"{FUTURES}/cancel_all", EXCHANGE)

    assert (reply.status_code, reply.json()) == (status, body)


@pytest.mark.parametrize(("kind", "left"), [("cut_before", 1), ("cut_after", 0)])
def test_cut_line_leaves_the_outcome_open(trader: Trader, kind: str, left: int) -> None:
    trader.simulator.seed("cs", "BTCUSDT")
    trader.simulator.fault(kind, account="cs")

    with pytest.raises(requests.ConnectionError):
        trader.send("POST", f"{FUTURES}/cancel_all", EXCHANGE)

    if not left:
        trader.wait_for_open(0)
    assert len(trader.simulator.book("cs")) == left


def test_garbage_is_no_json_although_the_call_was_carried_out(trader: Trader) -> None:
    trader.simulator.seed("cs", "BTCUSDT")
    trader.simulator.fault("garbage", account="cs")

    reply = trader.send("POST", f"{FUTURES}/cancel_all", EXCHANGE)

    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.content.decode("latin-1"))
    trader.wait_for_open(0)


def test_listing_by_post_can_be_answered_with_an_older_copy(trader: Trader) -> None:
    empty = trader.send("POST", f"{FUTURES}/orders/open", EXCHANGE)
    trader.simulator.seed("cs", "BTCUSDT")
    trader.simulator.fault("cached", account="cs", count=1)

    copy, fresh = (trader.send("POST", f"{FUTURES}/orders/open", EXCHANGE) for _ in range(2))

    assert (copy.json(), copy.headers["Age"]) == (empty.json(), "30")
    assert len(fresh.json()["data"]["orders"]) == 1


def test_unknown_status_is_shown_as_it_is(trader: Trader) -> None:
    [order] = trader.simulator.seed("cs", "BTCUSDT")
    trader.simulator.fault("unknown_status", account="cs", status="UNDER_REVIEW")

    assert trader.status(order["order_id"]) == "UNDER_REVIEW"
