import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from panicboard.simulator import copies
from panicboard.simulator.api import Call, Reply
from panicboard.simulator.book import Order
from panicboard.simulator.faults import KINDS, Faults
from panicboard.venues import open_adapter
from panicboard.venues.base import BookSymbol, Credentials, OrderRef, OrderState, Unlimited
from tests.simulator.plain_client import PlainClient, wait_for
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]

ALL_OPEN_ORDERS = "/fapi/v1/allOpenOrders"
DONE = {"code": 200, "msg": "The operation of cancel all open order is done."}
UNKNOWN_503 = {"code": 0, "msg": "Unknown error, please check your request or try again later."}


def cancel_all(usdm: PlainClient) -> requests.Response:
    return usdm.response("DELETE", ALL_OPEN_ORDERS, symbol="BTCUSDT")


def ids(orders: list[dict[str, Any]]) -> list[str]:
    return [order["order_id"] for order in orders]


# Accounts and orders.


def test_accounts_are_made_in_bulk_with_keys_of_their_own(simulator: SimulatorProcess) -> None:
    made = simulator.control("POST", "accounts", {"venue": "binance-usdm", "count": 3, "prefix": "bot"})

    accounts = made["accounts"]
    assert [account["name"] for account in accounts] == ["bot-0001", "bot-0002", "bot-0003"]
    assert len({account["api_key"] for account in accounts}) == 3
    assert simulator.control("GET", "accounts") == made


@pytest.mark.parametrize(
    ("path", "payload", "error"),
    [
        ("accounts", {"venue": "kraken"}, "venue 'kraken' is not one of "),
        ("accounts", {"venue": "binance-usdm", "key_type": "dsa"}, "key_type 'dsa' is not one of "),
        ("accounts", {}, "'venue' is missing"),
        ("accounts", {"venue": "binance-usdm", "name": "alpha"}, "there is an account named 'alpha' already"),
        ("orders", {"account": "nobody", "symbol": "BTCUSDT"}, "there is no account named 'nobody'"),
        ("orders", {"account": "alpha", "symbol": "BTCUSDT", "book": "spot"}, "binance-usdm has no book"),
        ("orders", {"account": "alpha", "symbol": "BTCUSDT", "colour": "red"}, "an order has no colour"),
        ("orders", {"account": "alpha", "symbol": "BTCUSDT", "type": "STOP"}, "STOP orders do not lie in"),
        (
            "orders",
            {"account": "alpha", "symbol": "BTCUSDT", "order_id": "x"},
            "order_id 'x' is not a number",
        ),
        (
            "orders",
            {"account": "alpha", "symbol": "BTCUSDT", "order_id": "7", "count": 2},
            "there is an order 7",
        ),
        ("trigger", {"account": "alpha"}, "no open order is meant by that"),
        ("faults", {"kind": "earthquake"}, "kind 'earthquake' is not one of "),
        ("faults", {"kind": "418", "colour": "red"}, "418 takes no colour"),
        ("faults", {"kind": "418", "account": "nobody"}, "there is no account named 'nobody'"),
        ("faults", {"kind": "requote", "account": "alpha", "symbol": "BTCUSDT"}, "'ms' is missing"),
        ("limits", {"dapi": 5}, "pool 'dapi' is not one of "),
        ("switches", {"colour": "red"}, "switch 'colour' is not one of "),
        ("switches", {"usdm_countdown_takes_algo": "yes"}, "switch 'usdm_countdown_takes_algo' takes a "),
        ("latency", {"venue": "kraken"}, "venue 'kraken' is not one of "),
    ],
)
@pytest.mark.usefixtures("usdm")
def test_wrong_control_call_is_told_what_is_wrong(
    simulator: SimulatorProcess, path: str, payload: dict[str, Any], error: str
) -> None:
    reply = simulator.session.post(f"{simulator.url}/simulator/{path}", json=payload)

    assert (reply.status_code, reply.json()["error"][: len(error)]) == (400, error)


def test_unknown_control_call_is_404(simulator: SimulatorProcess) -> None:
    reply = simulator.session.get(f"{simulator.url}/simulator/nothing")

    assert (reply.status_code, reply.json()) == (404, {"error": "there is no GET /simulator/nothing"})


def test_orders_are_seeded_in_bulk(simulator: SimulatorProcess) -> None:
    names = [f"bot-{n:04d}" for n in range(1, 101)]
    simulator.control("POST", "accounts", {"venue": "binance-usdm", "count": 100, "prefix": "bot"})
    specs = [{"account": name, "symbol": "BTCUSDT", "count": 50} for name in names]

    answer = simulator.control("POST", "orders", {"orders": specs, "quiet": True})

    counts = simulator.control("GET", "book", counts=1)
    assert answer == {"count": 5000}
    assert counts == {"open": 5000, "accounts": {name: {"ordinary": 50} for name in names}}


@pytest.mark.usefixtures("usdm")
def test_book_is_read_back_in_the_same_words_for_every_venue(simulator: SimulatorProcess) -> None:
    (seeded,) = simulator.seed(
        "alpha", "BTCUSDT", order_id="7", client_order_id="mine", price="50000", created_ms=1000
    )

    assert simulator.book("alpha") == [
        {
            "account": "alpha",
            "book": "ordinary",
            "symbol": "BTCUSDT",
            "order_id": "7",
            "client_order_id": "mine",
            "side": "BUY",
            "type": "LIMIT",
            "quantity": "1",
            "executed": "0",
            "price": "50000",
            "stop_price": "0",
            "reduce_only": False,
            "list_id": "",
            "status": "NEW",
            "open": True,
            "created_ms": 1000,
            "updated_ms": 1000,
            "opened_us": seeded["opened_us"],
            "ended_us": 0,
        }
    ]
    assert simulator.book("beta") == []


def test_book_tells_when_an_order_really_came_and_went(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    before_us = time.time_ns() // 1000
    simulator.seed("alpha", "BTCUSDT", created_ms=1000)
    cancel_all(usdm)

    (order,) = simulator.book(only_open=False)
    (call,) = simulator.log("alpha")
    assert before_us <= order["opened_us"] <= call["arrived_us"]
    assert call["arrived_us"] <= order["ended_us"] <= call["answered_us"]


@pytest.mark.usefixtures("usdm")
def test_chosen_orders_fill_and_expire(simulator: SimulatorProcess) -> None:
    first, second, third = ids(simulator.seed("alpha", "BTCUSDT", count=3))

    simulator.control("POST", "fill", {"account": "alpha", "order_id": first})
    simulator.control("POST", "fill", {"account": "alpha", "order_id": second, "quantity": "0.5"})
    simulator.control("POST", "expire", {"account": "alpha", "order_id": third})

    states = {order["order_id"]: order["status"] for order in simulator.book(only_open=False)}
    assert states == {first: "FILLED", second: "PARTIALLY_FILLED", third: "EXPIRED"}


# The log.


def test_log_keeps_what_was_asked_without_the_signature(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    before_us = time.time_ns() // 1000
    cancel_all(usdm)
    usdm.send("GET", "/fapi/v1/nothing")

    first, second = simulator.log()
    arrived_us, answered_us = first.pop("arrived_us"), first.pop("answered_us")
    timestamp = first["params"].pop("timestamp")
    assert before_us <= arrived_us <= answered_us <= second["arrived_us"] <= time.time_ns() // 1000
    assert timestamp.isdigit()
    assert first == {
        "seq": second["seq"] - 1,
        "account": "alpha",
        "address": "10.0.0.1",
        "method": "DELETE",
        "path": ALL_OPEN_ORDERS,
        "params": {"symbol": "BTCUSDT"},
        "status": 200,
        "weight": 1,
        "faults": [],
    }
    assert (second["path"], second["status"]) == ("/fapi/v1/nothing", 404)


def test_log_is_read_from_a_number_on_and_cleared(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    for _ in range(4):
        cancel_all(usdm)
    numbers = [entry["seq"] for entry in simulator.log()]

    later = [entry["seq"] for entry in simulator.log(since=numbers[1])]
    page = simulator.control("GET", "log", since=numbers[0], limit=2)
    elsewhere = simulator.log("beta")
    cleared = simulator.control("DELETE", "log")

    assert later == numbers[2:]
    assert [entry["seq"] for entry in page["requests"]] == numbers[1:3]
    assert elsewhere == []
    assert cleared == {"last_seq": numbers[-1]}
    assert simulator.log() == []


# Latency and state.


def test_latency_holds_each_reply_of_its_venue(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.control("POST", "latency", {"venue": "binance-usdm", "fixed_ms": 60, "jitter_ms": 1})

    started = time.monotonic()
    usdm.send("GET", "/fapi/v1/ping")
    took_ms = (time.monotonic() - started) * 1000

    (entry,) = simulator.log()
    assert took_ms >= 60
    assert simulator.control("GET", "state")["latency"] == {
        "binance-usdm": {"fixed_ms": 60.0, "jitter_ms": 1.0}
    }
    assert entry["status"] == 200


def test_state_tells_how_much_there_is_of_everything(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.create_account("coinswitch", "rupee")
    simulator.seed("alpha", "BTCUSDT", count=2)
    cancel_all(usdm)
    simulator.seed("alpha", "BTCUSDT")

    state = simulator.control("GET", "state")

    assert state["accounts"] == {"binance-usdm": 1, "coinswitch": 1}
    assert (state["open_orders"], state["orders"]) == (1, 3)
    assert [(row["pool"], row["address"], row["refused"]) for row in state["used"]] == [
        ("fapi", "10.0.0.1", 0)
    ]
    assert state["requests_per_s"] == 0.2


def test_reset_forgets_everything_but_the_limits_of_the_start(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    simulator.seed("alpha", "NEWUSDT")
    simulator.fault("429")
    simulator.control("POST", "limits", {"on": False})
    simulator.control("POST", "latency", {"fixed_ms": 1})
    simulator.control("POST", "switches", {"options_generation": "old"})
    cancel_all(usdm)

    simulator.reset()

    state = simulator.control("GET", "state")
    assert (state["accounts"], state["orders"], state["faults"], state["latency"]) == ({}, 0, [], {})
    assert state["limits"] == {"fapi": 2400, "eapi": 2400, "papi": 6000, "api": 6000}
    assert state["switches"]["options_generation"] == "new"
    assert simulator.log() == []
    assert usdm.refusal("GET", "/fapi/v1/openOrders")[1] == -2015


# Faults on calls.


@pytest.mark.parametrize(
    ("kind", "options", "status", "body", "left"),
    [
        ("done_then_503a", {}, 503, UNKNOWN_503, 0),
        ("not_done_503b", {}, 503, {"code": 0, "msg": "Service Unavailable."}, 1),
        (
            "not_done_503c",
            {},
            503,
            {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."},
            1,
        ),
        (
            "503_1008",
            {},
            503,
            {
                "code": -1008,
                "msg": "Request throttled by system-level protection. "
                "Reduce-only/close-position orders are exempt. Please try again.",
            },
            1,
        ),
        (
            "408",
            {},
            408,
            {
                "code": -1007,
                "msg": "Timeout waiting for response from backend server. "
                "Send status unknown; execution status unknown.",
            },
            0,
        ),
        (
            "408",
            {"done": False},
            408,
            {
                "code": -1007,
                "msg": "Timeout waiting for response from backend server. "
                "Send status unknown; execution status unknown.",
            },
            1,
        ),
        (
            "429",
            {},
            429,
            {"code": -1003, "msg": "Too many requests; current limit is 2400 requests per minute."},
            1,
        ),
        ("refused", {}, 400, {"code": -2019, "msg": "Margin is insufficient."}, 1),
        (
            "refused",
            {"status": 403, "code": -4109, "text": "This account is inactive."},
            403,
            {"code": -4109, "msg": "This account is inactive."},
            1,
        ),
    ],
)
def test_fault_answers_with_its_status_and_acts_or_does_not(
    simulator: SimulatorProcess,
    usdm: PlainClient,
    kind: str,
    options: dict[str, Any],
    status: int,
    body: dict[str, Any],
    left: int,
) -> None:
    simulator.seed("alpha", "BTCUSDT")
    simulator.fault(kind, account="alpha", method="DELETE", path="/fapi/v1/all*", count=1, **options)

    struck = cancel_all(usdm)

    assert (struck.status_code, struck.json(), len(simulator.book())) == (status, body, left)
    assert struck.headers["Content-Type"] == "application/json"
    assert "X-MBX-USED-WEIGHT-1M" in struck.headers
    assert cancel_all(usdm).json() == DONE


@pytest.mark.parametrize(("kind", "left"), [("cut_before", 1), ("cut_after", 0), ("truncated", 0)])
def test_fault_cuts_the_line_before_or_after_acting(
    simulator: SimulatorProcess, usdm: PlainClient, kind: str, left: int
) -> None:
    simulator.seed("alpha", "BTCUSDT")
    simulator.fault(kind, account="alpha", count=1)

    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        cancel_all(usdm)

    assert len(simulator.book()) == left
    assert cancel_all(usdm).json() == DONE


@pytest.mark.parametrize(("done", "left"), [("first", 0), ("late", 1), ("never", 1)])
def test_hanging_call_outlasts_its_client(
    simulator: SimulatorProcess, usdm: PlainClient, done: str, left: int
) -> None:
    simulator.seed("alpha", "BTCUSDT")
    simulator.fault("hang", account="alpha", count=1, seconds=0.8, done=done)
    usdm.session.request = with_timeout(usdm.session.request)  # type: ignore[method-assign]

    with pytest.raises(requests.ReadTimeout):
        cancel_all(usdm)

    assert len(simulator.book()) == left
    if done == "late":
        wait_for(lambda: simulator.book() == [])


def with_timeout(request: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    def impatient(*args: Any, **kwargs: Any) -> requests.Response:
        return request(*args, **{**kwargs, "timeout": 0.1})

    return impatient


def test_limit_fault_names_the_seconds_to_wait(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.fault("429_retry_after", account="alpha", seconds=7)

    assert (cancel_all(usdm).status_code, cancel_all(usdm).headers["Retry-After"]) == (429, "7")


def test_ban_fault_names_a_time_to_come(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.fault("418", account="alpha", seconds=60)

    status, code, text = usdm.refusal("DELETE", ALL_OPEN_ORDERS, symbol="BTCUSDT")

    until = int(text.removeprefix("Way too many requests; IP banned until ").rstrip("."))
    assert (status, code) == (418, -1003)
    assert 0 < until - time.time_ns() // 1_000_000 <= 60_000


def test_firewall_and_garbage_are_no_json(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.fault("403_html", account="alpha", count=1)
    firewall = cancel_all(usdm)
    simulator.fault("garbage", account="alpha", count=1)
    garbage = cancel_all(usdm)

    assert (firewall.status_code, firewall.headers["Content-Type"]) == (403, "text/html")
    with pytest.raises(requests.exceptions.JSONDecodeError):
        garbage.json()


def test_clock_of_a_venue_can_be_skewed(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.fault("clock_skew_ms", venue="binance-usdm", ms=-30_000)

    refusal = usdm.refusal("DELETE", ALL_OPEN_ORDERS, symbol="BTCUSDT")
    told = usdm.send("GET", "/fapi/v1/time").json()["serverTime"]
    resynced = usdm.call("DELETE", ALL_OPEN_ORDERS, symbol="BTCUSDT", timestamp=told)

    assert refusal == (400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    assert resynced == DONE


def test_answers_of_a_skewed_venue_bear_its_own_date(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.fault("clock_skew_ms", venue="binance-usdm", ms=-3_600_000)
    told_ms = usdm.send("GET", "/fapi/v1/time").json()["serverTime"]

    reply = usdm.response("GET", "/fapi/v1/openOrders", timestamp=told_ms)

    stamped_s = parsedate_to_datetime(reply.headers["Date"]).timestamp()
    assert reply.status_code == 200
    assert 0 <= stamped_s - told_ms // 1000 < 60


@pytest.mark.parametrize(
    ("tells", "header", "value"),
    [
        ({}, "Age", "30"),
        ({"tells": "age", "seconds": 7}, "Age", "7"),
        ({"tells": "x_cache"}, "X-Cache", "Hit from cloudfront"),
        ({"tells": "cf_cache_status"}, "CF-Cache-Status", "HIT"),
    ],
)
def test_listing_can_be_answered_with_an_older_copy(
    simulator: SimulatorProcess, usdm: PlainClient, tells: dict[str, Any], header: str, value: str
) -> None:
    fresh = usdm.response("GET", "/fapi/v1/openOrders")
    simulator.seed("alpha", "BTCUSDT")
    simulator.fault("cached", account="alpha", count=1, path="/fapi/v1/openOrders", **tells)

    copy = usdm.response("GET", "/fapi/v1/openOrders", timestamp=time.time_ns() // 1_000_000 - 1)

    assert (fresh.json(), copy.json(), copy.headers[header]) == ([], [], value)
    assert header not in fresh.headers
    assert len(usdm.call("GET", "/fapi/v1/openOrders")) == 1


def test_copy_can_be_told_by_its_date_alone(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    usdm.call("GET", "/fapi/v1/openOrders")
    simulator.fault("cached", account="alpha", tells="date", seconds=120)

    copy = usdm.response("GET", "/fapi/v1/openOrders")

    age_s = time.time() - parsedate_to_datetime(copy.headers["Date"]).timestamp()
    assert 120 <= age_s < 180
    assert {"Age", "X-Cache", "CF-Cache-Status"} & set(copy.headers) == set()


def test_call_without_an_older_answer_gets_through_and_is_not_counted(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    beta = PlainClient(simulator.url, simulator.create_account("binance-usdm", "beta"))
    beta.call("GET", "/fapi/v1/openOrders")
    usdm.call("GET", "/fapi/v1/openOrders", symbol="ETHUSDT")
    simulator.fault("cached", count=5)

    cancelled = [cancel_all(usdm), cancel_all(usdm)]
    listed = usdm.response("GET", "/fapi/v1/openOrders")

    assert [reply.json() for reply in cancelled] == [DONE, DONE]
    assert "Age" not in listed.headers
    assert [fault["hits"] for fault in simulator.control("GET", "faults")["faults"]] == [0]
    assert "Age" in usdm.response("GET", "/fapi/v1/openOrders").headers
    struck = [[fault["kind"] for fault in call["faults"]] for call in simulator.log("alpha")]
    assert struck == [[], [], [], [], ["cached"]]


def test_copies_are_forgotten_with_everything(simulator: SimulatorProcess) -> None:
    for _ in range(2):
        simulator.reset()
        usdm = PlainClient(simulator.url, simulator.create_account("binance-usdm", "alpha"))
        simulator.fault("cached")

        assert "Age" not in usdm.response("GET", "/fapi/v1/openOrders").headers


def test_copies_of_the_least_used_calls_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "KEPT_BYTES", 25)
    calls = [Call("GET", f"/{name}", "", b"", {}, "", 0, 0, None) for name in "abc"]
    kept = copies.Copies()
    for call in calls[:2]:
        kept.keep(call, Reply(200, b"0123456789"))
    assert kept.of(calls[0]) is not None

    kept.keep(calls[2], Reply(200, b"0123456789"))

    assert [kept.of(call) is not None for call in calls] == [True, False, True]


def test_revoked_key_is_unknown_until_the_fault_is_removed(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    fault = simulator.fault("key_revoked", account="alpha")

    refusal = usdm.refusal("GET", "/fapi/v1/openOrders")
    simulator.control("DELETE", "faults", id=fault)

    assert refusal[:2] == (401, -2015)
    assert usdm.call("GET", "/fapi/v1/openOrders") == []


def test_fault_strikes_only_what_it_matches(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    beta = PlainClient(simulator.url, simulator.create_account("binance-usdm", "beta"))
    simulator.fault("429", account="alpha", method="DELETE", path=ALL_OPEN_ORDERS)

    statuses = [cancel_all(usdm).status_code, cancel_all(beta).status_code]
    other_path = usdm.response("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT").status_code

    assert (statuses, other_path) == ([429, 200], 200)


def test_log_names_the_faults_that_struck_a_request(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    skew = simulator.fault("clock_skew_ms", account="alpha", count=1)
    garbage = simulator.fault("garbage", account="alpha", count=1)
    cancel_all(usdm)
    cut = simulator.fault("cut_before", account="alpha", skip=1, count=1)
    cancel_all(usdm)
    with pytest.raises(requests.ConnectionError):
        cancel_all(usdm)

    told = [[(fault["id"], fault["kind"]) for fault in entry["faults"]] for entry in simulator.log()]

    assert told == [[(skew, "clock_skew_ms"), (garbage, "garbage")], [], [(cut, "cut_before")]]


def test_fault_lets_the_first_calls_go_by(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.fault("429", account="alpha", method="DELETE", skip=2, count=1)

    statuses = [cancel_all(usdm).status_code for _ in range(4)]

    assert statuses == [200, 200, 429, 200]


def test_faults_are_listed_with_their_hits_and_removed_together(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    fault = simulator.fault("429", account="alpha", count=3)
    cancel_all(usdm)

    listed = simulator.control("GET", "faults")["faults"]
    simulator.clear_faults()

    assert listed == [
        {
            "id": fault,
            "kind": "429",
            "account": "alpha",
            "venue": None,
            "method": None,
            "path": None,
            "skip": 0,
            "left": 2,
            "hits": 1,
        }
    ]
    assert cancel_all(usdm).status_code == 200


def test_every_kind_of_fault_can_be_made() -> None:
    faults = Faults()

    made = {faults.add({"kind": kind}).kind for kind in KINDS}

    assert made == KINDS
    assert {fault.kind for fault in faults} == KINDS


def test_copy_is_told_by_a_header_that_is_known() -> None:
    with pytest.raises(ValueError, match="tells 'nothing' is not one of age, date, x_cache, cf_cache_status"):
        Faults().add({"kind": "cached", "tells": "nothing"})


def test_call_that_hangs_over_a_reset_never_acts(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.fault("hang", account="alpha", seconds=0.3)
    with ThreadPoolExecutor() as pool:
        hanging = pool.submit(cancel_all, usdm)
        wait_for(simulator.log)

        simulator.reset()
        simulator.create_account("binance-usdm", "alpha")
        simulator.seed("alpha", "BTCUSDT")

        with pytest.raises(requests.ConnectionError):
            hanging.result()
    assert len(simulator.book()) == 1


# Faults on books.


def test_order_that_refuses_to_go_is_said_to_be_cancelled_and_stays(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    stubborn, _ = ids(simulator.seed("alpha", "BTCUSDT", count=2))
    simulator.fault("refuse_cancel", account="alpha", order_id=stubborn)

    told_all = cancel_all(usdm).json()
    told_one = usdm.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=stubborn)

    assert (told_all, told_one["status"]) == (DONE, "CANCELED")
    assert ids(simulator.book()) == [stubborn]
    simulator.clear_faults()
    cancel_all(usdm)
    assert simulator.book() == []


def test_symbol_can_refuse_to_go_for_a_number_of_cancels(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    simulator.seed("alpha", "BTCUSDT", count=2)
    simulator.fault("refuse_cancel", account="alpha", symbol="BTCUSDT", count=2)

    left = []
    for _ in range(2):
        cancel_all(usdm)
        left.append(len(simulator.book()))

    assert left == [2, 0]


def test_orders_can_fill_instead_of_being_cancelled(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    first, second = ids(simulator.seed("alpha", "BTCUSDT", count=2))
    simulator.fault("fill_during", account="alpha")

    single = usdm.refusal("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=first)
    told = cancel_all(usdm).json()

    states = {order["order_id"]: order["status"] for order in simulator.book(only_open=False)}
    assert (single, told) == ((400, -2011, "Unknown order sent."), DONE)
    assert states == {first: "FILLED", second: "FILLED"}


def test_status_can_be_a_word_nobody_knows(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.seed("alpha", "BTCUSDT")
    simulator.fault("unknown_status", account="alpha", symbol="BTCUSDT")

    (order,) = usdm.call("GET", "/fapi/v1/openOrders")

    assert order["status"] == "PENDING_REVIEW"


def test_bot_keeps_placing_orders_until_it_is_removed(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.fault("requote", account="alpha", symbol="BTCUSDT", ms=10)
    wait_for(lambda: len(simulator.book()) >= 2)
    cancel_all(usdm)
    wait_for(simulator.book)

    simulator.clear_faults()
    cancel_all(usdm)

    state = simulator.control("GET", "state")
    assert (simulator.book(), state["faults"]) == ([], [])


def test_bot_stops_after_its_number_of_orders(simulator: SimulatorProcess) -> None:
    simulator.create_account("coinswitch", "rupee")

    simulator.fault("requote", account="rupee", symbol="BTCUSDT", ms=1, count=3)

    wait_for(lambda: simulator.control("GET", "faults")["faults"] == [])
    assert len(simulator.book("rupee")) == 3


def test_book_that_has_moved_is_out_of_reach_of_lists_and_mass_cancels(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    simulator.seed("alpha", "BTCUSDT")
    (stop,) = ids(simulator.seed("alpha", "BTCUSDT", book="algo"))
    simulator.fault("moved_book", account="alpha", book="algo")

    listed = usdm.call("GET", "/fapi/v1/openAlgoOrders")
    told = usdm.call("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT")
    cancel_all(usdm)

    assert (listed, told) == ([], DONE)
    assert ids(simulator.book()) == [stop]
    assert usdm.call("GET", "/fapi/v1/algoOrder", algoId=stop)["algoStatus"] == "NEW"
    simulator.clear_faults()
    assert [order["algoId"] for order in usdm.call("GET", "/fapi/v1/openAlgoOrders")] == [int(stop)]


@pytest.mark.parametrize(
    ("venue", "book", "symbol"),
    [
        ("binance-options", "ordinary", "BTC-261225-100000-C"),
        ("binance-portfolio", "um", "BTCUSDT"),
        ("binance-portfolio", "um_conditional", "BTCUSDT"),
        ("binance-portfolio", "margin", "BTCUSDT"),
        ("coinswitch", "ordinary", "BTCUSDT"),
    ],
)
def test_every_venue_can_move_a_book(simulator: SimulatorProcess, venue: str, book: str, symbol: str) -> None:
    keys = simulator.create_account(venue, "mover")
    held = Credentials(keys["api_key"], keys["secret"], keys["key_type"])
    adapter = open_adapter(venue, simulator.url, held, budget=Unlimited(), account="mover")
    (order,) = simulator.seed("mover", symbol, book=book)
    simulator.fault("moved_book", account="mover", book=book)

    listed = [one for listing in adapter.listings(None) for one in adapter.open_orders(listing)]
    for call in adapter.mass_cancels({BookSymbol(book, symbol)}, whole_account=True):
        adapter.mass_cancel(call)
    asked = adapter.order(OrderRef(book, symbol, order["order_id"]))

    assert (listed, asked.state) == ([], OrderState.OPEN)
    assert ids(simulator.book("mover")) == [order["order_id"]]


def test_book_fault_matches_by_venue_order_id_or_client_order_id() -> None:
    faults = Faults()
    fault = faults.add({"kind": "refuse_cancel", "order_id": "mine"})
    mine, other = (
        Order("alpha", "ordinary", "BTCUSDT", number, client_id, "BUY", "LIMIT", "1")
        for number, client_id in (("1", "mine"), ("2", "other"))
    )

    assert (faults.of_cancel(mine), faults.of_cancel(other)) == (fault, None)
