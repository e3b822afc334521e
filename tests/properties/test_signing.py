"""What is signed is what travels, it is signed anew for every attempt, and nobody reads it afterwards.

Signatures are verified here over the very bytes that reached the wire, by hmac and by public keys, as a
venue does it; none of the adapters' own functions has a part in that.
"""

import base64
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus

import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from panicboard.venues import open_adapter
from panicboard.venues.base import BookSymbol, Credentials, Limit, Listing, MassCancel, OrderRef, VenueAdapter
from panicboard.venues.binance import BinanceHttp, id_list
from panicboard.venues.coinswitch import CoinSwitch
from panicboard.venues.coinswitch_http import CoinSwitchHttp
from panicboard.venues.errors import VenueError
from panicboard.venues.http import clock_of
from tests.factories import VENUES
from tests.properties.wire import URL, Answer, Bounded, answering

API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
HMAC_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
_ED25519 = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEED))
_RSA = generate_private_key(65537, 2048)


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def verify_hmac(query: bytes, signature: str) -> None:
    assert signature == hmac.new(HMAC_SECRET.encode(), query, hashlib.sha256).hexdigest()


def verify_ed25519(query: bytes, signature: str) -> None:
    _ED25519.public_key().verify(base64.b64decode(unquote(signature), validate=True), query)


def verify_rsa(query: bytes, signature: str) -> None:
    given = base64.b64decode(unquote(signature), validate=True)
    _RSA.public_key().verify(given, query, PKCS1v15(), hashes.SHA256())


KINDS: dict[str, tuple[Credentials, Callable[[bytes, str], None]]] = {
    "hmac": (Credentials(API_KEY, HMAC_SECRET), verify_hmac),
    "ed25519": (Credentials(API_KEY, pem(_ED25519), "ed25519"), verify_ed25519),
    "rsa": (Credentials(API_KEY, pem(_RSA), "rsa"), verify_rsa),
}
every_kind = pytest.mark.parametrize("kind", KINDS)

#: Whole characters of any script; half of one (a surrogate) has no bytes that could travel.
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
names = st.from_regex(r"[a-zA-Z]{1,12}", fullmatch=True).filter(
    lambda name: name not in ("signature", "timestamp", "recvWindow")
)
values = st.one_of(
    texts,
    st.integers(),
    st.booleans(),
    st.none(),
    st.lists(texts, max_size=3).map(lambda ids: id_list(ids, numeric=False)),
    st.lists(st.integers(0, 2**64), max_size=3).map(lambda ids: id_list([str(n) for n in ids], numeric=True)),
)


def as_text(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def in_step(offset_ms: int = 0) -> None:
    now_ns = time.time_ns()
    clock_of(URL).set(now_ns // 1_000_000 + offset_ms, now_ns, now_ns)


def binance(kind: str) -> BinanceHttp:
    return BinanceHttp(
        URL,
        KINDS[kind][0],
        limit=Limit("fapi", "address", 2400),
        budget=Bounded(),
        account="alpha",
        time_path="/fapi/v1/time",
    )


def coinswitch() -> CoinSwitchHttp:
    return CoinSwitchHttp(URL, Credentials(API_KEY, SEED, "ed25519"), budget=Bounded(), account="alpha")


@contextmanager
def recorded(
    answer: Callable[[requests.PreparedRequest], Answer],
) -> Iterator[list[requests.PreparedRequest]]:
    seen: list[requests.PreparedRequest] = []

    def tell(request: requests.PreparedRequest) -> Answer:
        seen.append(request)
        return answer(request)

    with answering(tell):
        yield seen


def parts(request: requests.PreparedRequest) -> tuple[str, str]:
    """The query that was signed, as it travelled, and its signature, which must be the last parameter."""
    query = str(request.path_url).partition("?")[2]
    signed, found, signature = query.rpartition("&signature=")
    assert found
    return signed, signature


def verify_coinswitch(request: requests.PreparedRequest) -> int:
    """Check a CoinSwitch request's signature, over the decoded path and query. Returns its epoch."""
    epoch = request.headers["X-AUTH-EPOCH"]
    signed = f"{request.method}{unquote_plus(str(request.path_url))}{epoch}"
    _ED25519.public_key().verify(bytes.fromhex(request.headers["X-AUTH-SIGNATURE"]), signed.encode())
    return int(epoch)


@every_kind
@settings(max_examples=25)  # an RSA key is slow to load
@given(params=st.dictionaries(names, values, max_size=5), method=st.sampled_from(("GET", "POST", "DELETE")))
def test_what_is_signed_is_what_travels(kind: str, params: dict[str, Any], method: str) -> None:
    in_step()

    with recorded(lambda request: Answer("[]")) as sent:
        binance(kind).signed(method, "/fapi/v1/order", 1, params)

    signed, signature = parts(sent[0])
    KINDS[kind][1](signed.encode("ascii"), signature)
    assert re.fullmatch(r"[A-Za-z0-9._~%&=-]*", signed), "not all of it is percent-encoded"
    wanted = [(name, as_text(value)) for name, value in params.items() if value is not None]
    read = parse_qsl(signed, keep_blank_values=True, strict_parsing=True)
    assert read[: len(wanted)] == wanted
    assert [name for name, _ in read[len(wanted) :]] == ["recvWindow", "timestamp"]
    assert sent[0].body is None
    assert sent[0].headers["X-MBX-APIKEY"] == API_KEY


@given(order_id=texts.filter(bool), symbol=texts, method=st.sampled_from(("GET", "DELETE", "POST")))
def test_coinswitch_is_signed_as_it_is_decoded(order_id: str, symbol: str, method: str) -> None:
    in_step()
    query = {"order_id": order_id, "symbol": symbol} if method == "GET" else None
    body = None if method == "GET" else {"exchange": "EXCHANGE_2", "order_id": order_id, "symbol": symbol}

    with recorded(lambda request: Answer("{}")) as sent:
        coinswitch().signed(method, "/trade/api/v2/futures/order", None, query=query, body=body)

    verify_coinswitch(sent[0])
    travelled = parse_qsl(str(sent[0].path_url).partition("?")[2], keep_blank_values=True)
    assert dict(travelled) == (query or {})
    assert (json.loads(sent[0].body) if sent[0].body else None) == body
    assert sent[0].headers["X-AUTH-APIKEY"] == API_KEY


@every_kind
@settings(max_examples=25)
@given(offset_ms=st.integers(-100_000, 100_000), before_ms=st.integers(-100_000, 100_000))
def test_every_attempt_is_signed_anew_by_the_clock_of_then(kind: str, offset_ms: int, before_ms: int) -> None:
    in_step(before_ms)
    started_ms = time.time_ns() // 1_000_000

    def answer(request: requests.PreparedRequest) -> Answer:
        if "/time" in str(request.path_url):
            return Answer(json.dumps({"serverTime": time.time_ns() // 1_000_000 + offset_ms}))
        return Answer(
            '{"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}', 400
        )

    with recorded(answer) as sent, pytest.raises(VenueError):
        binance(kind).signed("DELETE", "/fapi/v1/order", 1, {"symbol": "测试USDT"})

    ended_ms = time.time_ns() // 1_000_000
    first, clock, second = sent
    assert "/time" in str(clock.path_url)
    for request, clock_ms in ((first, before_ms), (second, offset_ms)):
        signed, signature = parts(request)
        KINDS[kind][1](signed.encode(), signature)
        stamp_ms = int(dict(parse_qsl(signed))["timestamp"])
        # Half of the clock reading's round trip is what it may be wrong by.
        assert (
            started_ms - (ended_ms - started_ms) - 1 <= stamp_ms - clock_ms <= 2 * ended_ms - started_ms + 1
        )


@given(offset_ms=st.integers(-100_000, 100_000))
def test_coinswitch_is_signed_anew_after_a_refused_clock(offset_ms: int) -> None:
    in_step()

    def answer(request: requests.PreparedRequest) -> Answer:
        if str(request.path_url).endswith("/time"):
            return Answer(json.dumps({"serverTime": time.time_ns() // 1_000_000 + offset_ms}))
        return Answer('{"message": "Invalid Access"}', 401)

    with recorded(answer) as sent, pytest.raises(VenueError):
        coinswitch().signed("POST", "/trade/api/v2/futures/cancel_all", None, body={"exchange": "EXCHANGE_2"})

    first_ms, second_ms = verify_coinswitch(sent[0]), verify_coinswitch(sent[2])
    assert abs(second_ms - first_ms - offset_ms) < 10_000


# What must not be read afterwards.


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter().format(record))


@contextmanager
def everything_logged() -> Iterator[list[str]]:
    """Every line that any logger writes meanwhile, whatever its level."""
    kept, loggers = _Kept(), [logging.getLogger(), logging.getLogger("panicboard")]
    before = [(logger, logger.level, logger.handlers) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.handlers = []
    loggers[0].handlers = [kept]
    try:
        yield kept.lines
    finally:
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers = handlers


def secrets_of(request: requests.PreparedRequest, held: Credentials) -> set[str]:
    """What of a request nobody may read: key, secret, signature in either form."""
    url = str(request.url)
    signature = url.rpartition("&signature=")[2] if "&signature=" in url else ""
    found = {
        held.api_key,
        held.secret,
        signature,
        unquote(signature),
        request.headers.get("X-AUTH-SIGNATURE", ""),
    }
    return {secret for secret in found if secret}


def calls_of(adapter: VenueAdapter) -> list[Callable[[], object]]:
    family, symbol = adapter.families[-1].slug, "BTCUSDT"
    cancels = adapter.mass_cancels([BookSymbol(family, symbol)], whole_account=False)
    return [
        lambda: adapter.mass_cancel(MassCancel(family, symbol, 1)),
        *[lambda call=call: adapter.mass_cancel(call) for call in cancels],
        lambda: adapter.cancel_orders(family, symbol, [OrderRef(family, symbol, "1")]),
        lambda: adapter.open_orders(Listing(family, None, 505)),
        lambda: adapter.order(OrderRef(family, symbol, "1")),
        adapter.check_access,
    ]


#: What a venue, or a proxy before it, may say; some of them quote the request.
_REPLIES: list[Callable[[requests.PreparedRequest], Answer]] = [
    lambda request: Answer("[]"),
    lambda request: Answer('{"code": -1022, "msg": "Signature for this request is not valid."}', 400),
    lambda request: Answer("<html>The requested URL " + str(request.path_url) + " was not found</html>", 404),
    lambda request: Answer("Request-URI too long: " + str(request.url), 414),
    lambda request: Answer(unquote(str(request.url)), 502),
    lambda request: Answer(
        json.dumps({"code": -1, "msg": str(request.url), "message": str(request.url)}), 400
    ),
    lambda request: Answer(json.dumps({"code": -2015, "msg": str(dict(request.headers))}), 401),
    lambda request: Answer(json.dumps({"message": str(dict(request.headers))}), 422),
    lambda request: Answer(json.dumps({"orders": str(dict(request.headers)), "data": str(request.url)})),
]


@pytest.mark.parametrize("slug", VENUES)
@pytest.mark.parametrize("kind", ["hmac", "ed25519"])
@given(reply=st.sampled_from(_REPLIES), number=st.integers(0, 5))
def test_no_secret_is_in_any_word_we_keep(
    slug: str, kind: str, reply: Callable[[requests.PreparedRequest], Answer], number: int
) -> None:
    held = Credentials(API_KEY, SEED, "ed25519") if slug == CoinSwitch.slug else KINDS[kind][0]
    in_step()
    adapter = open_adapter(slug, URL, held, budget=Bounded(), account="alpha")
    calls = calls_of(adapter)
    words: list[str] = [repr(adapter), repr(held)]

    with everything_logged() as lines, recorded(reply) as sent:
        try:
            words.append(repr(calls[number % len(calls)]()))
        except VenueError as exc:
            words += [str(exc), repr(exc), exc.text, exc.code, exc.broke]

    assert sent
    for request in sent:
        for secret in secrets_of(request, held):
            assert not [text for text in words + lines if secret in text]
    assert lines
