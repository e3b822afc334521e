"""Signing, the clock and the meaning of errors, shared by the three Binance APIs.

V1 to V7 are published by Binance; where a printed string and its signature disagree, the string here is
the one that was really signed. D1 to D3 follow from the stated rule: encode first, sign what travels.
https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
https://developers.binance.com/docs/derivatives/options-trading/general-info
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/request-security
"""

import base64
import contextlib
import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from panicboard.venues.base import Budget, Credentials, Limit, OrderState, Route
from panicboard.venues.binance import BinanceHttp, encode, id_list, order_state, signer
from panicboard.venues.binance_replies import acknowledge, rows
from panicboard.venues.errors import (
    ClockRejected,
    CredentialsRejected,
    EndpointGone,
    NotDone,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    UnknownSymbol,
    VenueError,
    VenueRejected,
)
from panicboard.venues.http import Clock, clock_of

URL = "https://fapi.binance.com"
LIMIT = Limit("fapi", "address", 2400)

FUTURES_SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
SPOT_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
OPTIONS_SECRET = "YtP1BudNOWZE1ag5uzCkh4hIC7qSmQOu797r5EJBFGhxBYivjj8HIX0iiiPof5yG"

VECTORS = {
    "V1": (
        FUTURES_SECRET,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
        "&recvWindow=5000&timestamp=1591702613943",
        "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
    ),
    "V2": (
        SPOT_SECRET,
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1"
        "&recvWindow=5000&timestamp=1499827319559",
        "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
    ),
    "V3 as published, with its stray blank": (
        FUTURES_SECRET,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=9000"
        "&recvWindow=5000&timestamp= 1591702613943",
        "f9d0ae5e813ef6ccf15c2b5a434047a0181cb5a342b903b367ca6d27a66e36f2",
    ),
    "V3 without the blank": (
        FUTURES_SECRET,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=9000"
        "&recvWindow=5000&timestamp=1591702613943",
        "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4",
    ),
    "V4 as published, for 0.01": (
        OPTIONS_SECRET,
        "symbol=BTC-210129-40000-C&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=2000"
        "&recvWindow=5000&timestamp=1611825601400",
        "7c12045972f6140e765e0f2b67d28099718df805732676494238f50be830a7d7",
    ),
    "V4 for the printed 1": (
        OPTIONS_SECRET,
        "symbol=BTC-210129-40000-C&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=2000"
        "&recvWindow=5000&timestamp=1611825601400",
        "7b98bedaee09e23358f57d098876f29ede7df74202f7fccf164666bd3f3f84cb",
    ),
    "V5 query and body": (
        OPTIONS_SECRET,
        "symbol=BTC-210129-40000-C&side=BUY&type=LIMIT&timeInForce=GTCquantity=0.01&price=2000"
        "&recvWindow=5000&timestamp=1611825601400",
        "fa6045c54fb02912b766442be1f66fab619217e551a4fb4f8a1ee000df914d8e",
    ),
    "V6 not ASCII": (
        SPOT_SECRET,
        "symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY&type=LIMIT&timeInForce=GTC"
        "&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
        "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
    ),
    "V7 query and body": (
        SPOT_SECRET,
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=0.1"
        "&recvWindow=5000&timestamp=1499827319559",
        "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77",
    ),
}

WINDOW = {"recvWindow": 5000, "timestamp": 1591702613943}

ENCODED = {
    "V6": (
        SPOT_SECRET,
        {
            "symbol": "\uff11\uff12\uff13\uff14\uff15\uff16",
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": 1,
            "price": Decimal("0.1"),
            "recvWindow": 5000,
            "timestamp": 1499827319559,
        },
        VECTORS["V6 not ASCII"][1],
        VECTORS["V6 not ASCII"][2],
    ),
    "D1": (
        FUTURES_SECRET,
        {
            "symbol": "BTC-200730-9000-C",
            "orderIds": id_list(["4611875134427365377", "4611875134427365378"], numeric=True),
            **WINDOW,
        },
        "symbol=BTC-200730-9000-C&orderIds=%5B4611875134427365377%2C4611875134427365378%5D"
        "&recvWindow=5000&timestamp=1591702613943",
        "d9eab1e52916f55fe0987c3fef2ee24f239f0d3b9a0438da9c98797b05fd5a4d",
    ),
    "D2": (
        FUTURES_SECRET,
        {
            "symbol": "BTC-200730-9000-C",
            "clientOrderIds": id_list(["my_id_1", "my_id_2"], numeric=False),
            **WINDOW,
        },
        "symbol=BTC-200730-9000-C&clientOrderIds=%5B%22my_id_1%22%2C%22my_id_2%22%5D"
        "&recvWindow=5000&timestamp=1591702613943",
        "da8981301a1eff4325f0723a83317361649ce816292d7fc7ace888d07bd6ab48",
    ),
    "D3": (
        FUTURES_SECRET,
        {"symbol": "测试USDT", **WINDOW},
        "symbol=%E6%B5%8B%E8%AF%95USDT&recvWindow=5000&timestamp=1591702613943",
        "f01d79a6d62f2d9b5b4782abd10c81a150acbe4f161ad3eeb3b9550a7ea3f823",
    ),
}


@pytest.fixture
def venue(binance_key, budget, clock_in_step) -> BinanceHttp:
    clock_in_step(URL)
    return BinanceHttp(
        URL, binance_key, limit=LIMIT, budget=budget, account="alpha", time_path="/fapi/v1/time"
    )


@pytest.mark.parametrize(("secret", "signed", "signature"), VECTORS.values(), ids=VECTORS)
def test_hmac_signature_matches_the_published_vector(secret, signed, signature):
    assert signer(Credentials("key", secret))(signed) == signature


@pytest.mark.parametrize(("secret", "params", "query", "signature"), ENCODED.values(), ids=ENCODED)
def test_parameters_are_encoded_once_and_signed_so(secret, params, query, signature):
    encoded = encode(params)

    assert (encoded, signer(Credentials("key", secret))(encoded)) == (query, signature)


def test_encode_leaves_out_what_is_none_and_writes_booleans_small():
    assert encode({"symbol": None, "reduceOnly": True, "mmp": False}) == "reduceOnly=true&mmp=false"


def pem(key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_ed25519_signature_is_verified_by_the_public_key():
    key = Ed25519PrivateKey.generate()

    signature = signer(Credentials("key", pem(key), "ed25519"))("symbol=BTCUSDT&timestamp=1")

    key.public_key().verify(base64.b64decode(unquote(signature)), b"symbol=BTCUSDT&timestamp=1")
    assert set(signature) & set("+/=") == set()


def test_rsa_signature_is_verified_by_the_public_key():
    key = generate_private_key(65537, 2048)

    signature = signer(Credentials("key", pem(key), "rsa"))("symbol=BTCUSDT&timestamp=1")

    given = base64.b64decode(unquote(signature))
    key.public_key().verify(given, b"symbol=BTCUSDT&timestamp=1", PKCS1v15(), hashes.SHA256())
    assert set(signature) & set("+/=") == set()


@pytest.mark.parametrize("key_type", ["ed25519", "rsa"])
def test_a_secret_that_is_no_key_is_refused_without_showing_it(key_type):
    with pytest.raises(CredentialsRejected) as caught:
        signer(Credentials("key", "hunter2", key_type))

    assert str(caught.value) == f"the secret is not a PEM private key, but its type says {key_type}"


def test_a_key_of_another_type_is_refused():
    with pytest.raises(CredentialsRejected) as caught:
        signer(Credentials("key", pem(Ed25519PrivateKey.generate()), "rsa"))

    assert str(caught.value) == "the secret is not a key of type rsa"


def test_what_travels_is_exactly_what_was_signed(venue, venue_http, binance_key):
    venue_http.delete(f"{URL}/fapi/v1/batchOrders", json=[])

    ids = id_list(["a b", "c/d", "é+"], numeric=False)
    venue.signed("DELETE", "/fapi/v1/batchOrders", 1, {"symbol": "测试USDT", "ids": ids})

    sent = venue_http.calls[0].request
    query, _, signature = sent.path_url.partition("?")[2].partition("&signature=")
    assert query.startswith("symbol=%E6%B5%8B%E8%AF%95USDT&ids=%5B%22a%20b%22%2C%22c%2Fd%22%2C")
    assert signature == hmac.new(binance_key.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    assert (sent.body, sent.headers["X-MBX-APIKEY"]) == (None, binance_key.api_key)


def test_a_signed_call_reads_the_clock_first_when_nobody_has(binance_key, budget, venue_http):
    base_url = "https://first-use.example"
    venue = BinanceHttp(
        base_url, binance_key, limit=LIMIT, budget=budget, account="alpha", time_path="/fapi/v1/time"
    )
    venue_ms = time.time_ns() // 1_000_000 + 90_000
    venue_http.get(f"{base_url}/fapi/v1/time", json={"serverTime": venue_ms})
    venue_http.get(f"{base_url}/fapi/v1/openOrders", json=[])

    venue.signed("GET", "/fapi/v1/openOrders", 40, {})

    stamp = int(venue_http.calls[1].request.params["timestamp"])
    assert venue_ms - 1000 < stamp < venue_ms + 10_000
    assert budget.spent == [("fapi", 1), ("fapi", 40)]


def test_the_offset_is_the_venues_time_against_the_middle_of_the_round_trip():
    clock = Clock()

    assert clock.set(10_500, sent_ns=9_000_000_000, received_ns=11_000_000_000) == 500
    assert clock.offset_ms == 500


def test_without_a_time_call_the_clock_comes_from_the_date_header(binance_key, budget, venue_http):
    base_url = "https://date-header.example"
    venue = BinanceHttp(
        base_url,
        binance_key,
        limit=LIMIT,
        budget=budget,
        account="alpha",
        time_path=None,
        ping_path="/papi/v1/ping",
    )
    venue_http.get(f"{base_url}/papi/v1/ping", json={}, headers={"Date": "Fri, 20 Nov 2026 12:00:00 GMT"})

    offset_ms = venue.sync_clock()

    noon_ms = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp() * 1000) + 500
    assert abs(time.time_ns() // 1_000_000 + offset_ms - noon_ms) < 10_000
    assert clock_of(base_url).offset_ms == offset_ms


def test_a_time_reply_without_the_time_is_unknown(venue, venue_http):
    venue_http.get(f"{URL}/fapi/v1/time", json={"time": 1})

    with pytest.raises(OutcomeUnknown, match="replied without serverTime"):
        venue.sync_clock()


def test_a_rejected_timestamp_is_signed_anew_after_reading_the_clock(venue, venue_http, budget):
    too_old = {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}
    venue_http.get(f"{URL}/fapi/v1/openOrders", status=400, json=too_old)
    venue_http.get(f"{URL}/fapi/v1/openOrders", json=[])
    venue_ms = time.time_ns() // 1_000_000 - 60_000
    venue_http.get(f"{URL}/fapi/v1/time", json={"serverTime": venue_ms})

    assert venue.signed("GET", "/fapi/v1/openOrders", 1, {"symbol": "BTCUSDT"}) == []

    first, _, second = (call.request.params for call in venue_http.calls)
    assert int(first["timestamp"]) - int(second["timestamp"]) > 50_000
    assert first["signature"] != second["signature"]
    assert budget.spent == [("fapi", 1)] * 3


def test_a_timestamp_rejected_twice_is_not_tried_again(venue, venue_http):
    too_old = {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}
    venue_http.get(f"{URL}/fapi/v1/openOrders", status=400, json=too_old)
    venue_http.get(f"{URL}/fapi/v1/time", json={"serverTime": time.time_ns() // 1_000_000})

    with pytest.raises(ClockRejected) as caught:
        venue.signed("GET", "/fapi/v1/openOrders", 1, {})

    assert (caught.value.status, caught.value.code) == (400, "-1021")
    assert len(venue_http.calls) == 3


def test_the_used_weight_header_reaches_the_budget_also_on_errors(venue, venue_http, budget):
    used = {"X-MBX-USED-WEIGHT-1M": "57"}
    venue_http.get(f"{URL}/fapi/v1/openOrders", status=400, json={"code": -1121}, headers=used)

    with pytest.raises(VenueRejected):
        venue.signed("GET", "/fapi/v1/openOrders", 1, {})

    assert (budget.spent, budget.observed, budget.blocked) == ([("fapi", 1)], [("fapi", 57)], [])


def test_a_ban_lasts_until_the_time_in_the_venues_text(venue, venue_http, budget):
    until_ms = time.time_ns() // 1_000_000 + 300_000
    text = f"Way too many requests; IP banned until {until_ms}. Please use the websocket."
    venue_http.get(f"{URL}/fapi/v1/openOrders", status=418, json={"code": -1003, "msg": text})

    with pytest.raises(RateLimited) as caught:
        venue.signed("GET", "/fapi/v1/openOrders", 1, {})

    assert caught.value.banned
    assert 290_000 < caught.value.retry_after_ms <= 300_000
    assert budget.blocked == [("fapi", caught.value.retry_after_ms)]


def test_a_bans_end_is_told_by_the_venues_clock(venue, venue_http):
    clock = clock_of(URL)
    venue_ms = time.time_ns() // 1_000_000 - 5000  # ours is 5 s fast
    clock.set(venue_ms, time.time_ns(), time.time_ns())
    text = f"Way too many requests; IP banned until {venue_ms + 300_000}."
    venue_http.get(f"{URL}/fapi/v1/openOrders", status=418, json={"code": -1003, "msg": text})

    with pytest.raises(RateLimited) as caught:
        venue.signed("GET", "/fapi/v1/openOrders", 1, {})

    assert 299_000 < caught.value.retry_after_ms <= 300_000


CODES: dict[int, type[VenueError]] = {
    -1000: OutcomeUnknown,
    -1001: NotDone,
    -1002: CredentialsRejected,
    -1003: RateLimited,
    -1006: OutcomeUnknown,
    -1007: OutcomeUnknown,
    -1008: NotDone,
    -1015: VenueRejected,
    -1022: CredentialsRejected,
    -1102: VenueRejected,
    -1121: UnknownSymbol,
    -1128: VenueRejected,
    -1130: VenueRejected,
    -1131: VenueRejected,
    -2010: VenueRejected,
    -2011: OrderNotFound,
    -2012: OutcomeUnknown,
    -2013: OrderNotFound,
    -2014: CredentialsRejected,
    -2015: CredentialsRejected,
    -2017: CredentialsRejected,
    -4032: VenueRejected,
    -4109: VenueRejected,
    -4117: NotDone,
    -4120: VenueRejected,
    -4141: VenueRejected,
    -4192: VenueRejected,
    -6005: VenueRejected,
    -6009: VenueRejected,
    -6011: VenueRejected,
    -6028: OrderNotFound,
    -6063: NotDone,
    -21015: EndpointGone,
}


@pytest.mark.parametrize(("code", "error"), CODES.items())
def test_a_code_means_one_kind_of_error(venue, venue_http, code, error):
    venue_http.delete(f"{URL}/fapi/v1/order", status=400, json={"code": code, "msg": "said so"})

    with pytest.raises(VenueError) as caught:
        venue.signed("DELETE", "/fapi/v1/order", 1, {})

    told = caught.value
    assert (type(told), told.status, told.code, told.text) == (error, 400, str(code), "said so")
    assert str(told) == f"DELETE /fapi/v1/order: HTTP 400 {code} said so"


@pytest.mark.parametrize("status", [404, 401, 408, 500])
def test_a_known_code_outranks_the_status(venue, venue_http, status):
    venue_http.delete(f"{URL}/fapi/v1/order", status=status, json={"code": "-2011", "msg": "Unknown"})

    with pytest.raises(OrderNotFound):
        venue.signed("DELETE", "/fapi/v1/order", 1, {})


def test_a_missing_path_is_gone(venue, venue_http):
    venue_http.delete(f"{URL}/fapi/v1/order", status=404, body="<html>not found</html>")

    with pytest.raises(EndpointGone):
        venue.signed("DELETE", "/fapi/v1/order", 1, {})


STATES = {
    "NEW": OrderState.OPEN,
    "ACCEPTED": OrderState.OPEN,
    "PARTIALLY_FILLED": OrderState.OPEN,
    "PENDING_CANCEL": OrderState.OPEN,
    "TRIGGERING": OrderState.OPEN,
    "TRIGGERED": OrderState.TRIGGERED,
    "FINISHED": OrderState.TRIGGERED,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELLED,
    "CANCELLED": OrderState.CANCELLED,
    "REJECTED": OrderState.REJECTED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
}


@pytest.mark.parametrize(("venue_status", "state"), STATES.items())
def test_a_status_of_either_generation_means_one_state(venue_status, state):
    assert order_state(venue_status) is state


@pytest.mark.parametrize("venue_status", ["HALTED", "", None, "new", ["NEW"], 5])
def test_a_status_nobody_knows_is_an_error(venue_status):
    with pytest.raises(OutcomeUnknown):
        order_state(venue_status)


@contextlib.contextmanager
def server(answer: bytes) -> Iterator[str]:
    """A server that reads one request, answers with these bytes and hangs up; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.fixture
def cutting_server() -> Iterator[str]:
    """A server that reads a request and hangs up; its address."""
    with server(b"") as url:
        yield url


def through(proxy_url: str, base_url: str, credentials: Credentials, budget: Budget) -> BinanceHttp:
    """An account whose calls go through this proxy."""
    routes = (Route("proxy", proxy_url=proxy_url),)
    clock = "/fapi/v1/time"
    return BinanceHttp(
        base_url, credentials, limit=LIMIT, budget=budget, account="alpha", time_path=clock, routes=routes
    )


def test_a_line_cut_after_the_request_is_unknown_and_shows_no_signature(
    cutting_server, binance_key, budget, clock_in_step
):
    clock_in_step(cutting_server)
    venue = BinanceHttp(
        cutting_server, binance_key, limit=LIMIT, budget=budget, account="alpha", time_path="/fapi/v1/time"
    )

    with pytest.raises(OutcomeUnknown) as caught:
        venue.signed("DELETE", "/fapi/v1/allOpenOrders", 1, {"symbol": "BTCUSDT"})

    assert str(caught.value) == "DELETE /fapi/v1/allOpenOrders: no answer (ConnectionError)"
    assert caught.value.__suppress_context__


def test_a_line_through_a_proxy_that_is_cut_after_the_request_is_unknown(
    cutting_server, binance_key, budget, clock_in_step
):
    base_url = "http://127.0.0.1:9"
    clock_in_step(base_url)
    proxy_url = cutting_server.replace("://", "://desk:hunter2@")

    with pytest.raises(OutcomeUnknown) as caught:
        through(proxy_url, base_url, binance_key, budget).signed("DELETE", "/fapi/v1/order", 1, {})

    assert str(caught.value) == "DELETE /fapi/v1/order: no answer (ProxyError)"


def test_a_proxy_that_makes_no_tunnel_has_sent_nothing(
    binance_key, budget, clock_in_step, venue_http, caplog
):
    base_url = "https://127.0.0.1:9"
    clock_in_step(base_url)
    venue_http.add_passthru(base_url)

    with server(b"HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n") as url:
        venue = through(url.replace("://", "://desk:hunter2@"), base_url, binance_key, budget)
        with pytest.raises(NotDone) as caught:
            venue.signed("DELETE", "/fapi/v1/order", 1, {})

    assert str(caught.value) == "DELETE /fapi/v1/order: no connection to the venue (ProxyError)"
    assert "hunter2" not in caplog.text


def test_an_odd_header_is_not_worth_a_log_line_with_the_signature(binance_key, budget, clock_in_step, caplog):
    caplog.set_level("DEBUG")

    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno header\r\n\r\n[]") as url:
        clock_in_step(url)
        venue = BinanceHttp(
            url, binance_key, limit=LIMIT, budget=budget, account="alpha", time_path="/fapi/v1/time"
        )
        assert venue.signed("GET", "/fapi/v1/openOrders", 1, {}) == []

    assert "GET /fapi/v1/openOrders 200" in caplog.text
    assert "signature" not in caplog.text


def test_a_refused_connection_was_surely_not_executed(binance_key, budget, clock_in_step):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    clock_in_step(base_url)
    venue = BinanceHttp(
        base_url, binance_key, limit=LIMIT, budget=budget, account="alpha", time_path="/fapi/v1/time"
    )

    with pytest.raises(NotDone) as caught:
        venue.signed("DELETE", "/fapi/v1/allOpenOrders", 1, {"symbol": "BTCUSDT"})

    assert str(caught.value) == (
        "DELETE /fapi/v1/allOpenOrders: no connection to the venue (ConnectionError)"
    )


@pytest.mark.parametrize(
    "body",
    ["[" * 100_000, "[" * 990 + "]" * 990, f'[{{"orderId": {"9" * 5000}}}]', '[{"orderId": 1}'],
    ids=["deep and open", "deep", "digits", "cut"],
)
def test_a_body_that_cannot_be_read_is_unknown(venue, venue_http, body):
    venue_http.get(f"{URL}/fapi/v1/openOrders", body=body)

    with pytest.raises(OutcomeUnknown):
        rows(venue.signed("GET", "/fapi/v1/openOrders", 1, {}), "openOrders")


@pytest.mark.parametrize("said", ["5 s", "\u00b2", "-1", "9" * 5000, "1000001"])
def test_a_used_weight_that_cannot_be_is_not_told_to_the_budget(venue, venue_http, budget, said):
    venue_http.get(f"{URL}/fapi/v1/openOrders", json=[], headers={"X-MBX-USED-WEIGHT-1M": said})

    venue.signed("GET", "/fapi/v1/openOrders", 1, {})

    assert budget.observed == []


@pytest.mark.parametrize(
    ("header", "wait_ms"),
    [("0", 1000), ("\u00b2", 15_000), ("-5", 15_000), ("9" * 40, 15_000), ("99999999", 3 * 24 * 3600 * 1000)],
)
def test_no_header_can_keep_us_silent_for_longer_than_the_longest_ban(venue, venue_http, header, wait_ms):
    venue_http.get(f"{URL}/fapi/v1/openOrders", status=429, json={}, headers={"Retry-After": header})

    with pytest.raises(RateLimited) as caught:
        venue.signed("GET", "/fapi/v1/openOrders", 1, {})

    assert caught.value.retry_after_ms == wait_ms


@pytest.mark.parametrize(
    ("until", "wait_ms"),
    [("Fri, 20 Nov 2026 12:05:00 GMT", 300_000), ("Fri, 20 Nov 2026 11:00:00 GMT", 1000), ("soon", 15_000)],
)
def test_a_header_may_name_the_moment_when_silence_ends(venue, venue_http, until, wait_ms):
    headers = {"Date": "Fri, 20 Nov 2026 12:00:00 GMT", "Retry-After": until}
    venue_http.get(f"{URL}/fapi/v1/openOrders", status=429, json={}, headers=headers)

    with pytest.raises(RateLimited) as caught:
        venue.signed("GET", "/fapi/v1/openOrders", 1, {})

    assert caught.value.retry_after_ms == wait_ms


def test_no_text_can_keep_us_silent_for_longer_than_the_longest_ban(venue, venue_http):
    text = f"IP banned until {'9' * 40}."
    venue_http.get(f"{URL}/fapi/v1/openOrders", status=418, json={"code": -1003, "msg": text})

    with pytest.raises(RateLimited) as caught:
        venue.signed("GET", "/fapi/v1/openOrders", 1, {})

    assert caught.value.retry_after_ms == 3 * 24 * 3600 * 1000


@pytest.mark.parametrize("told", [None, True, "soon", 1e400, 5, 10**30, [], {"serverTime": 1}])
def test_a_time_that_cannot_be_the_venues_is_unknown(venue, venue_http, told):
    before = clock_of(URL).offset_ms
    venue_http.get(f"{URL}/fapi/v1/time", json={"serverTime": told})

    with pytest.raises(OutcomeUnknown, match="replied without serverTime"):
        venue.sync_clock()

    assert clock_of(URL).offset_ms == before


@pytest.mark.parametrize("key_type", ["hmac", "ed25519"])
@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_reply_that_quotes_the_request_shows_neither_key_nor_signature(
    venue_http, budget, clock_in_step, caplog, key_type, status
):
    clock_in_step(URL)
    secret = FUTURES_SECRET if key_type == "hmac" else pem(Ed25519PrivateKey.generate())
    held = Credentials("k" * 64, secret, key_type)
    venue = BinanceHttp(URL, held, limit=LIMIT, budget=budget, account="alpha", time_path="/fapi/v1/time")

    def quote_it(request):
        plain = unquote(request.url).replace("/", "\\/")
        return status, {}, f'{{"url": "{request.url}", "plain": "{plain}", "key": "{"k" * 64}"}}'

    venue_http.add_callback("DELETE", f"{URL}/fapi/v1/order", callback=quote_it)

    with pytest.raises(VenueError) as caught:
        acknowledge(venue.signed("DELETE", "/fapi/v1/order", 1, {"symbol": "BTCUSDT"}), "order")

    signature = venue_http.calls[0].request.url.rpartition("=")[2]
    said = " ".join((str(caught.value), caught.value.text, caplog.text))
    assert said.count("[hidden]") >= 3
    assert not [s for s in (signature, unquote(signature), "k" * 64) if s in said]
