"""What the payload tests share: stubbed HTTP, a budget that writes down, and the failures Binance has."""

import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError, ProxyError, SSLError

from panicboard.venues.base import Credentials, Limit
from panicboard.venues.coinswitch_http import BANS
from panicboard.venues.errors import (
    CredentialsRejected,
    NotDone,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    UnknownSymbol,
    VenueError,
)
from panicboard.venues.http import clock_of

PAYLOADS = Path(__file__).parent / "payloads"


@pytest.fixture(autouse=True)
def venue_http() -> Iterator[responses.RequestsMock]:
    """Stubs for the venues' replies: any other request fails, except to this machine (the simulator)."""
    with responses.RequestsMock() as stubs:
        stubs.add_passthru(re.compile(r"http://(127\.0\.0\.1|localhost):"))
        yield stubs


@pytest.fixture
def payload() -> Callable[[str], Any]:
    """Load a recorded payload by name, such as "binance_usdm/open_orders"."""
    return lambda name: json.loads((PAYLOADS / f"{name}.json").read_text())


class RecordingBudget:
    """A budget that never refuses and writes down what it is told, by pool.

    A venue's ban has a pool of its own where limits are by key: it costs nothing to ask it.
    """

    def __init__(self) -> None:
        self.spent: list[tuple[str, int]] = []
        self.observed: list[tuple[str, int]] = []
        self.blocked: list[tuple[str, int]] = []

    def spend(self, limit: Limit, weight: int) -> None:
        if limit is not BANS:
            self.spent.append((limit.pool, weight))

    def observe(self, limit: Limit, used: int) -> None:
        self.observed.append((limit.pool, used))

    def block(self, limit: Limit, retry_after_ms: int, why: str) -> None:
        self.blocked.append((limit.pool, retry_after_ms))


@pytest.fixture
def budget() -> RecordingBudget:
    return RecordingBudget()


@pytest.fixture
def binance_key() -> Credentials:
    """The key and secret that Binance prints in its futures documentation."""
    return Credentials(
        "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83",
        "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9",
    )


@pytest.fixture
def clock_in_step() -> Callable[[str], None]:
    """Make a venue's clock one that was read just now and agrees with ours, so that no call reads it."""

    def set_clock(base_url: str) -> None:
        now_ns = time.time_ns()
        clock_of(base_url).set(now_ns // 1_000_000, now_ns, now_ns)

    return set_clock


@dataclass(frozen=True)
class Failure:
    """One way a Binance call fails: the stub, and the whole of what must come of it."""

    name: str
    stub: dict[str, Any]
    error: type[VenueError]
    status: int | None = None
    code: str = ""
    blocked_ms: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


def _json(status: int, code: int, msg: str) -> dict[str, Any]:
    return {"status": status, "json": {"code": code, "msg": msg}}


_LEAKY = "https://fapi.binance.com/fapi/v1/order?symbol=BTCUSDT&signature=5ecre7"
_NOBODY = NewConnectionError(None, "Connection refused")  # type: ignore[arg-type]
_CLOSED = RemoteDisconnected("Remote end closed connection")
_CUT = ProtocolError("Connection aborted.", _CLOSED)


def _in_pool(reason: Exception) -> MaxRetryError:
    return MaxRetryError(None, _LEAKY, reason)  # type: ignore[arg-type]


def _by_proxy(broke: Exception) -> dict[str, Any]:
    """What requests raises when a call through a proxy breaks like this."""
    return {"body": requests.exceptions.ProxyError(_in_pool(ProxyError("Unable to connect to proxy", broke)))}


def _in_tls(broke: ssl.SSLError) -> dict[str, Any]:
    """What requests raises when TLS breaks like this."""
    return {"body": requests.exceptions.SSLError(_in_pool(SSLError(broke)))}


BINANCE_FAILURES = [
    Failure("403 firewall", {"status": 403, "body": "<html>denied</html>"}, RateLimited, 403, "", 60_000),
    Failure("408 back end late", {"status": 408, "body": ""}, OutcomeUnknown, 408),
    Failure(
        "418 banned",
        _json(418, -1003, "Way too many requests; IP banned."),
        RateLimited,
        418,
        "-1003",
        120_000,
    ),
    Failure(
        "418 with header",
        _json(418, -1003, "Way too many requests; IP banned."),
        RateLimited,
        418,
        "-1003",
        7_000,
        {"Retry-After": "7"},
    ),
    Failure(
        "429 without header",
        _json(429, -1003, "Too many requests; current limit is 2400 requests per minute."),
        RateLimited,
        429,
        "-1003",
        15_000,
    ),
    Failure(
        "429 with header",
        _json(429, -1003, "Too many requests; current limit is 2400 requests per minute."),
        RateLimited,
        429,
        "-1003",
        3_000,
        {"Retry-After": "3"},
    ),
    Failure("429 no JSON", {"status": 429, "body": "slow down"}, RateLimited, 429, "", 15_000),
    Failure(
        "503 A",
        {"status": 503, "body": "Unknown error, please check your request or try again later."},
        OutcomeUnknown,
        503,
    ),
    Failure("503 B", {"status": 503, "body": "Service Unavailable."}, NotDone, 503),
    Failure("503 page", {"status": 503, "body": "<p>Service Unavailable</p>"}, OutcomeUnknown, 503),
    Failure(
        "503 C",
        {"status": 503, "body": "Internal error; unable to process your request. Please try again."},
        NotDone,
        503,
    ),
    Failure("500 no JSON", {"status": 500, "body": "<html>oops</html>"}, OutcomeUnknown, 500),
    Failure("502 gateway", {"status": 502, "body": ""}, OutcomeUnknown, 502),
    Failure("-1000", _json(400, -1000, "An unknown error occurred."), OutcomeUnknown, 400, "-1000"),
    Failure(
        "-1001",
        _json(400, -1001, "Internal error; unable to process your request. Please try again."),
        NotDone,
        400,
        "-1001",
    ),
    Failure("-1006", _json(400, -1006, "Execution status unknown."), OutcomeUnknown, 400, "-1006"),
    Failure("-1007", _json(400, -1007, "Execution status unknown."), OutcomeUnknown, 400, "-1007"),
    Failure(
        "-1022",
        _json(400, -1022, "Signature for this request is not valid."),
        CredentialsRejected,
        400,
        "-1022",
    ),
    Failure(
        "-2015",
        _json(401, -2015, "Invalid API-key, IP, or permissions for action, request ip: 1.2.3.4"),
        CredentialsRejected,
        401,
        "-2015",
    ),
    Failure("401 no JSON", {"status": 401, "body": ""}, CredentialsRejected, 401),
    Failure("-2011", _json(400, -2011, "Unknown order sent."), OrderNotFound, 400, "-2011"),
    Failure("-2013", _json(400, -2013, "Order does not exist."), OrderNotFound, 400, "-2013"),
    Failure("-1121", _json(400, -1121, "Invalid symbol."), UnknownSymbol, 400, "-1121"),
    Failure("error code on 200", _json(200, -2011, "Unknown order sent."), OrderNotFound, 200, "-2011"),
    Failure("garbage on 200", {"status": 200, "body": "<html>hello</html>"}, OutcomeUnknown, 200),
    Failure("half a body on 200", {"status": 200, "body": '{"code":200,"ms'}, OutcomeUnknown, 200),
    Failure("empty object on 200", {"status": 200, "json": {}}, OutcomeUnknown),
    Failure("a bare string on 200", {"status": 200, "json": "done"}, OutcomeUnknown),
    Failure("read timeout", {"body": requests.ReadTimeout(_LEAKY)}, OutcomeUnknown),
    Failure("connection cut", {"body": requests.ConnectionError(_CUT)}, OutcomeUnknown),
    Failure("connect timeout", {"body": requests.ConnectTimeout(_LEAKY)}, NotDone),
    Failure("connection refused", {"body": requests.ConnectionError(_in_pool(_NOBODY))}, NotDone),
    Failure("proxy refused", _by_proxy(_NOBODY), NotDone),
    Failure("no tunnel", _by_proxy(OSError("Tunnel connection failed: 407 Who are you?")), NotDone),
    Failure("cut behind a proxy", _by_proxy(_CLOSED), OutcomeUnknown),
    Failure("certificate refused", _in_tls(ssl.SSLCertVerificationError(1, "self-signed")), NotDone),
    Failure("TLS broken", _in_tls(ssl.SSLError(1, "[SSL] bad record mac")), OutcomeUnknown),
    Failure("no proxy's URL", {"body": requests.exceptions.InvalidProxyURL(_LEAKY)}, NotDone),
]


@pytest.fixture(params=BINANCE_FAILURES, ids=lambda failure: failure.name)
def binance_failure(request: pytest.FixtureRequest) -> Failure:
    """Each way a Binance call fails, where the three APIs agree."""
    failure: Failure = request.param
    return failure
