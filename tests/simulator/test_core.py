import signal
import socket
import subprocess
import sys
import time
from urllib.parse import quote, urlencode

import pytest

from panicboard.simulator.accounts import Account, new_account
from panicboard.simulator.book import Books, Order
from panicboard.simulator.limits import Limits
from panicboard.simulator.signing import signature_is_valid, strip_signature
from tests.simulator.plain_client import PlainClient
from tests.simulator_process import SimulatorProcess, start_simulator, stop_simulator

pytest_plugins = ["tests.simulator_process"]

OPEN_ORDERS = "/fapi/v1/openOrders"
FUTURES_SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
SPOT_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
OPTIONS_SECRET = "YtP1BudNOWZE1ag5uzCkh4hIC7qSmQOu797r5EJBFGhxBYivjj8HIX0iiiPof5yG"

#: Published by the venue: secret, the string signed, its signature.
# https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
# https://developers.binance.com/docs/binance-spot-api-docs/rest-api/endpoint-security-type
# https://developers.binance.com/docs/derivatives/options-trading/general-info
PUBLISHED = {
    "futures": (
        FUTURES_SECRET,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000"
        "&timestamp=1591702613943",
        "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
    ),
    "spot": (
        SPOT_SECRET,
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
        "&timestamp=1499827319559",
        "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
    ),
    "spot, query and body": (
        SPOT_SECRET,
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC"
        "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
        "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77",
    ),
    "spot, percent-encoded": (
        SPOT_SECRET,
        "symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY&type=LIMIT&timeInForce=GTC"
        "&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
        "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
    ),
    "options, query and body": (
        OPTIONS_SECRET,
        "symbol=BTC-210129-40000-C&side=BUY&type=LIMIT&timeInForce=GTC"
        "quantity=0.01&price=2000&recvWindow=5000&timestamp=1611825601400",
        "fa6045c54fb02912b766442be1f66fab619217e551a4fb4f8a1ee000df914d8e",
    ),
}


def an_order(order_id: str = "1", symbol: str = "BTCUSDT", client_order_id: str = "mine") -> Order:
    return Order("alpha", "ordinary", symbol, order_id, client_order_id, "BUY", "LIMIT", "2")


# Signing.


@pytest.mark.parametrize(("secret", "text", "signature"), PUBLISHED.values(), ids=PUBLISHED)
def test_signature_published_by_the_venue_is_valid(secret: str, text: str, signature: str) -> None:
    account = Account("alpha", "binance-usdm", "key", secret, "hmac")

    assert signature_is_valid(account, text, signature)
    assert signature_is_valid(account, text, signature.upper())
    assert not signature_is_valid(account, text + "0", signature)


@pytest.mark.parametrize(
    ("text", "rest", "signature"),
    [
        ("a=1&signature=ab", "a=1", "ab"),
        ("signature=ab&a=1", "a=1", "ab"),
        ("a=1&signature=ab&b=2", "a=1&b=2", "ab"),
        ("signature=ab", "", "ab"),
        ("a=1", "a=1", None),
        ("mysignature=ab", "mysignature=ab", None),
        ("", "", None),
    ],
)
def test_strip_signature_leaves_the_string_that_was_signed(
    text: str, rest: str, signature: str | None
) -> None:
    assert strip_signature(text) == (rest, signature)


@pytest.mark.parametrize("key_type", ["hmac", "ed25519", "rsa"])
@pytest.mark.parametrize("where", ["query", "body", "split"])
def test_signed_order_is_taken_from_query_body_or_both(
    simulator: SimulatorProcess, key_type: str, where: str
) -> None:
    account = simulator.create_account("binance-usdm", "alpha", key_type=key_type)
    client = PlainClient(simulator.url, account)
    first = urlencode({"symbol": "测试USDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"})
    second = urlencode({"quantity": "100", "price": "1", "timestamp": time.time_ns() // 1_000_000})
    query, body = {"query": (f"{first}&{second}", ""), "body": ("", f"{first}&{second}")}.get(
        where, (first, second)
    )
    signature = f"&signature={client.sign(query + body)}"

    if body:
        reply = client.send("POST", "/fapi/v1/order", query, body + signature)
    else:
        reply = client.send("POST", "/fapi/v1/order", query + signature)

    assert (reply.status_code, reply.json()["symbol"]) == (200, "测试USDT")


def test_parameter_in_query_and_body_counts_as_in_the_query(usdm: PlainClient) -> None:
    query = f"symbol=BTCUSDT&timestamp={time.time_ns() // 1_000_000}"
    body = "symbol=ETHUSDT&countdownTime=0"

    reply = usdm.send(
        "POST", "/fapi/v1/countdownCancelAll", query, f"{body}&signature={usdm.sign(query + body)}"
    )

    assert reply.json() == {"symbol": "BTCUSDT", "countdownTime": "0"}


def test_signature_covers_the_literal_string_and_not_its_meaning(usdm: PlainClient) -> None:
    now = time.time_ns() // 1_000_000
    encoded = f"symbol={quote('测试USDT')}&timestamp={now}"
    raw = f"symbol=测试USDT&timestamp={now}"

    reply = usdm.send("GET", OPEN_ORDERS, f"{encoded}&signature={usdm.sign(raw)}")

    assert reply.status_code == 400
    assert reply.json() == {"code": -1022, "msg": "Signature for this request is not valid."}


# The order of checks.


def test_call_without_a_key_is_refused_for_its_form(usdm: PlainClient) -> None:
    del usdm.session.headers["X-MBX-APIKEY"]

    assert usdm.refusal("GET", OPEN_ORDERS) == (401, -2014, "API-key format invalid.")


def test_call_with_an_unknown_key_is_refused_naming_the_address(usdm: PlainClient) -> None:
    usdm.session.headers["X-MBX-APIKEY"] = "x" * 64

    refusal = usdm.refusal("GET", OPEN_ORDERS, timestamp=1)

    text = "Invalid API-key, IP, or permissions for action, request ip: 10.0.0.1"
    assert refusal == (401, -2015, text)


def test_key_of_another_venue_is_unknown(simulator: SimulatorProcess) -> None:
    account = simulator.create_account("binance-options")

    status, code, _ = PlainClient(simulator.url, account).refusal("GET", OPEN_ORDERS)

    assert (status, code) == (401, -2015)


@pytest.mark.parametrize(
    ("offset_ms", "window", "refusal"),
    [
        (0, {}, None),
        (-4000, {}, None),
        (-6000, {}, (400, -1021, "Timestamp for this request is outside of the recvWindow.")),
        (-6000, {"recvWindow": 60000}, None),
        (1500, {}, (400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")),
        (0, {"recvWindow": 60001}, (400, -1130, "Data sent for parameter 'recvWindow' is not valid.")),
    ],
)
def test_timestamp_must_lie_within_the_window(
    usdm: PlainClient, offset_ms: int, window: dict[str, int], refusal: tuple[int, int, str] | None
) -> None:
    timestamp = time.time_ns() // 1_000_000 + offset_ms

    if refusal is None:
        assert usdm.call("GET", OPEN_ORDERS, timestamp=timestamp, **window) == []
    else:
        assert usdm.refusal("GET", OPEN_ORDERS, timestamp=timestamp, **window) == refusal


@pytest.mark.parametrize("timestamp", ["", "soon"])
def test_timestamp_that_is_missing_or_malformed_is_refused(usdm: PlainClient, timestamp: str) -> None:
    text = "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed."

    assert usdm.refusal("GET", OPEN_ORDERS, timestamp=timestamp) == (400, -1102, text)


def test_time_is_checked_before_the_signature_and_that_before_the_parameters(usdm: PlainClient) -> None:
    now = time.time_ns() // 1_000_000

    old = usdm.send("DELETE", "/fapi/v1/allOpenOrders", "timestamp=1&signature=00").json()["code"]
    wrong = usdm.send("DELETE", "/fapi/v1/allOpenOrders", f"timestamp={now}&signature=00").json()["code"]
    lacking = usdm.refusal("DELETE", "/fapi/v1/allOpenOrders")[1]

    assert [old, wrong, lacking] == [-1021, -1022, -1102]


def test_missing_signature_is_named(usdm: PlainClient) -> None:
    reply = usdm.send("GET", OPEN_ORDERS, f"timestamp={time.time_ns() // 1_000_000}")

    text = "Mandatory parameter 'signature' was not sent, was empty/null, or malformed."
    assert (reply.status_code, reply.json()) == (400, {"code": -1102, "msg": text})


def test_account_that_may_not_trade_reads_but_does_not_cancel(simulator: SimulatorProcess) -> None:
    account = simulator.create_account("binance-usdm", "alpha", can_trade=False)
    client = PlainClient(simulator.url, account)

    assert client.call("GET", OPEN_ORDERS) == []
    assert client.call("GET", "/fapi/v1/accountConfig")["canTrade"] is False
    assert client.refusal("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")[:2] == (401, -2015)


@pytest.mark.parametrize("path", ["/", "/fapi/v1/nothing", "/sapi/v1/account"])
def test_unknown_path_is_404_and_not_json(usdm: PlainClient, path: str) -> None:
    reply = usdm.send("GET", path)

    assert (reply.status_code, reply.headers["Content-Type"]) == (404, "text/html")


# Limits.


def test_weight_is_on_every_reply_errors_included(usdm: PlainClient) -> None:
    before = int(usdm.response("GET", OPEN_ORDERS).headers["X-MBX-USED-WEIGHT-1M"])

    refused = usdm.response("GET", OPEN_ORDERS, timestamp=1)

    after = int(refused.headers["X-MBX-USED-WEIGHT-1M"])
    assert (refused.status_code, before % 40, after in (before + 40, 40)) == (400, 0, True)


def test_address_over_its_limit_is_refused_then_banned_and_others_are_not(
    simulator: SimulatorProcess, usdm: PlainClient
) -> None:
    simulator.control("POST", "limits", {"fapi": 0})
    refused = usdm.refusal("GET", OPEN_ORDERS)
    statuses = [usdm.response("GET", OPEN_ORDERS).status_code for _ in range(50)]

    simulator.control("POST", "limits", {"fapi": 2400})
    banned = usdm.refusal("GET", OPEN_ORDERS)
    other = PlainClient(simulator.url, usdm.account, address="10.0.0.2").call("GET", OPEN_ORDERS)

    until = simulator.control("GET", "state")["used"][0]["banned_until_ms"]
    text = (
        "Too many requests; current limit is 0 requests per minute. "
        "Please use the websocket for live updates to avoid polling the API."
    )
    assert refused == (429, -1003, text)
    assert sorted(set(statuses)) == [418, 429]
    assert banned == (418, -1003, f"Way too many requests; IP banned until {until}.")
    assert other == []


def test_limits_switched_off_still_count(simulator: SimulatorProcess, usdm: PlainClient) -> None:
    simulator.control("POST", "limits", {"on": False})

    for _ in range(100):
        last = usdm.response("GET", OPEN_ORDERS)

    assert (last.status_code, int(last.headers["X-MBX-USED-WEIGHT-1M"]) % 40) == (200, 0)


def test_limit_window_is_the_clock_minute() -> None:
    limits = Limits()

    first = limits.charge("fapi", "a", 2400, 59_999)
    over = limits.charge("fapi", "a", 1, 59_999)
    next_minute = limits.charge("fapi", "a", 1, 60_000)

    assert [first, over, next_minute] == [(2400, 0), (2401, 429), (1, 0)]


def test_ban_grows_with_repetition() -> None:
    limits = Limits()

    def insist(now_ms: int) -> int:
        while limits.charge("fapi", "a", 2401, now_ms)[1] != 418:
            pass
        return limits.usages["fapi", "a"].banned_until_ms

    assert [insist(0), insist(600_000)] == [120_000, 840_000]


def test_order_counts_are_kept_by_account() -> None:
    limits = Limits()

    broken = [limits.count_orders("fapi", "alpha", 1, 1000)[1] for _ in range(301)]

    assert (broken[299], broken[300]) == ("", "300 orders per 10 SECOND")
    assert limits.count_orders("fapi", "beta", 1, 1000)[1] == ""


# The book.


def test_order_ids_are_looked_up_by_symbol() -> None:
    books = Books()
    bitcoin, ether = books.add(an_order("1", "BTCUSDT")), books.add(an_order("1", "ETHUSDT"))

    assert books.find("alpha", "ordinary", "BTCUSDT", "1") is bitcoin
    assert books.find("alpha", "ordinary", "ETHUSDT", "1") is ether
    assert books.find("alpha", "ordinary", "SOLUSDT", "1") is None
    assert books.find("beta", "ordinary", "BTCUSDT", "1") is None


def test_finished_order_leaves_the_open_book_and_stays_known() -> None:
    books = Books()
    order = books.add(an_order())

    books.finish(order, "CANCELED", now_ms=5)
    books.finish(order, "EXPIRED", now_ms=6)

    assert books.open("alpha", "ordinary") == []
    assert books.find("alpha", "ordinary", client_order_id="mine") is order
    assert (order.status, order.updated_ms, books.open_count) == ("CANCELED", 5, 0)


def test_fill_is_partial_until_nothing_is_left() -> None:
    books = Books()
    order = books.add(an_order())

    books.fill(order, 5, "0.5")
    partial = (order.status, order.executed, order.is_open)
    books.fill(order, 6)

    assert partial == ("PARTIALLY_FILLED", "0.5", True)
    assert (order.status, order.executed, order.is_open) == ("FILLED", "2", False)


# The process.


def test_keys_are_the_same_after_a_restart_and_differ_between_accounts() -> None:
    keys = [new_account("alpha", "binance-usdm", "ed25519").as_json() for _ in range(2)]
    other = new_account("beta", "binance-usdm", "ed25519")

    assert keys[0] == keys[1]
    assert (other.api_key == keys[0]["api_key"], other.secret == keys[0]["secret"]) == (False, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_simulator_names_its_address_first_and_ends_cleanly(number: signal.Signals) -> None:
    process, first_line = start_simulator()
    with socket.create_connection(("127.0.0.1", int(first_line["url"].rpartition(":")[2]))):
        process.send_signal(number)

    assert first_line["accounts"] == []
    assert stop_simulator(process) == 0


def test_taken_port_is_said_in_one_line(simulator: SimulatorProcess) -> None:
    port = simulator.url.rpartition(":")[2]

    command = [sys.executable, "-m", "panicboard.simulator", "--port", port]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    text = f"simulator: port {port} on 127.0.0.1 is taken; choose another with --port\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", text)


def test_management_command_is_the_same_simulator(simulator: SimulatorProcess) -> None:
    port = simulator.url.rpartition(":")[2]

    command = [sys.executable, "manage.py", "simulator", "--port", port, "--limits", "off"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    text = f"simulator: port {port} on 127.0.0.1 is taken; choose another with --port\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", text)


def test_limit_of_one_pool_can_be_given_on_the_command_line() -> None:
    process, first_line = start_simulator("--limit", "fapi=5", "--latency-ms", "1")
    try:
        client = SimulatorProcess.at(first_line["url"])
        state = client.control("GET", "state")
    finally:
        stop_simulator(process)

    assert state["limits"] == {"fapi": 5, "eapi": 2400, "papi": 6000, "api": 6000}
    assert state["latency"]["coinswitch"] == {"fixed_ms": 1.0, "jitter_ms": 0}


def test_demo_announces_a_dozen_accounts_at_four_venues_with_open_orders() -> None:
    process, first_line = start_simulator("--demo")
    try:
        counts = SimulatorProcess.at(first_line["url"]).control("GET", "book", counts=1)
    finally:
        stop_simulator(process)

    venues = [account["venue"] for account in first_line["accounts"]]
    assert {venue: venues.count(venue) for venue in venues} == {
        "binance-usdm": 5,
        "binance-options": 3,
        "binance-portfolio": 2,
        "coinswitch": 2,
    }
    assert {account["key_type"] for account in first_line["accounts"]} == {"hmac", "ed25519"}
    assert set(counts["accounts"]) == {account["name"] for account in first_line["accounts"]}
    assert counts["open"] == 305
