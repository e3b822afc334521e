"""What the three Binance APIs share: signing, the clock, and the meaning of their errors.

https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code
"""

import base64
import copy
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from panicboard.venues import calls, http
from panicboard.venues.base import DIRECT, Budget, Credentials, Decided, Limit, OrderState, Route
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
from panicboard.venues.routes import through
from panicboard.venues.values import LONGEST, quoted, time_ms, whole

#: How long a call may wait whose answer decides whether it must be repeated soon: to connect, and to answer.
DECIDED_TIMEOUT_S = (1.0, 2.0)
RECV_WINDOW_MS = 5000  # a cancel that waited longer than this somewhere must not run long after it was meant

MOST_USED_WEIGHT = 1_000_000  # no venue's limit comes near it: a header that says more is not believed

Params = Mapping[str, object]

_KINDS: dict[str, type[VenueError]] = {
    "-1002": CredentialsRejected,
    "-1022": CredentialsRejected,
    "-2014": CredentialsRejected,
    "-2015": CredentialsRejected,
    "-2017": CredentialsRejected,
    "-1021": ClockRejected,
    "-5028": ClockRejected,
    "-2011": OrderNotFound,
    "-2013": OrderNotFound,
    "-6028": OrderNotFound,
    "-1121": UnknownSymbol,
    "-21015": EndpointGone,
    "-1001": NotDone,
    "-1008": NotDone,
    "-4117": NotDone,  # the stop is being triggered: it moves to the ordinary book, read both again
    "-6063": NotDone,
    "-1000": OutcomeUnknown,
    "-1006": OutcomeUnknown,
    "-1007": OutcomeUnknown,
    "-2012": OutcomeUnknown,
}

_STATES = {
    "NEW": OrderState.OPEN,
    "ACCEPTED": OrderState.OPEN,  # options, older generation
    "PARTIALLY_FILLED": OrderState.OPEN,
    "PENDING_CANCEL": OrderState.OPEN,
    "PENDING_NEW": OrderState.OPEN,
    "TRIGGERING": OrderState.OPEN,  # conditional, being handed to the ordinary book
    "FILLED": OrderState.FILLED,
    "TRIGGERED": OrderState.TRIGGERED,  # conditional: gone from its book; an ordinary order lives now
    "FINISHED": OrderState.TRIGGERED,  # conditional: its ordinary order ended, filled or cancelled
    "CANCELED": OrderState.CANCELLED,
    "CANCELLED": OrderState.CANCELLED,
    "REJECTED": OrderState.REJECTED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
}


def kind_of(code: str) -> type[VenueError]:
    """What a venue code means wherever it stands alone, such as in one item of a batch reply."""
    return _KINDS.get(code, VenueRejected)


def order_state(venue_status: object) -> OrderState:
    """The state a Binance status means, in either generation's spelling.

    Raises OutcomeUnknown for a status nobody knows: it may well be an open order.
    """
    state = _STATES.get(venue_status) if isinstance(venue_status, str) else None
    if state is None:
        said = quoted(venue_status)
        raise OutcomeUnknown(f"order status {said!r} is not known", text=said)
    return state


def id_list(values: list[str], *, numeric: bool) -> str:
    """A list parameter as the venue wants it: JSON without blanks, ids as numbers or as strings."""
    return json.dumps([int(v) for v in values] if numeric else values, separators=(",", ":"))


def encode(params: Params) -> str:
    """Percent-encode once; what is signed is then exactly what travels (else -1022)."""
    return urlencode([(k, _text(v)) for k, v in params.items() if v is not None], quote_via=quote, safe="")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def signer(credentials: Credentials) -> Callable[[str], str]:
    """A function that signs an encoded query with this key; its result is ready for the query.

    HMAC-SHA256 in hex; RSA (PKCS#1 v1.5, SHA-256) and Ed25519 in percent-encoded base64, from a PEM key.
    Raises CredentialsRejected when the secret is not a key of the stated type.
    """
    if credentials.key_type == "hmac":
        secret = credentials.secret.encode()
        return lambda text: hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    try:
        key = serialization.load_pem_private_key(credentials.secret.encode(), password=None)
    except (ValueError, TypeError):
        raise CredentialsRejected(
            f"the secret is not a PEM private key, but its type says {credentials.key_type}"
        ) from None
    if credentials.key_type == "ed25519" and isinstance(key, Ed25519PrivateKey):
        return lambda text: quote(base64.b64encode(key.sign(text.encode())).decode(), safe="")
    if credentials.key_type == "rsa" and isinstance(key, RSAPrivateKey):
        return lambda text: quote(
            base64.b64encode(key.sign(text.encode(), PKCS1v15(), hashes.SHA256())).decode(), safe=""
        )
    raise CredentialsRejected(f"the secret is not a key of type {credentials.key_type}")


class BinanceHttp:
    """Signed and unsigned calls of one account to one Binance API, paid for from its budget.

    `time_path` is the API's server-time call; portfolio margin has none, so its clock comes from the
    HTTP Date header of `ping_path` (to the second).
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        *,
        limit: Limit,
        budget: Budget,
        account: str,
        time_path: str | None,
        ping_path: str = "",
        rate_limit_codes: frozenset[str] = frozenset({"-1003"}),
        routes: Sequence[Route] = (DIRECT,),
        reads_only: bool = False,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.api_key = credentials.api_key
        self.limit = limit
        self.budget = budget
        self.account = account
        self.routes = routes
        self.reads_only = reads_only
        self.clock = http.clock_of(self.base_url)
        self._sign = signer(credentials)
        self._time_path = time_path
        self._ping_path = ping_path
        self._rate_limit_codes = rate_limit_codes

    def at(self, base_url: str, limit: Limit) -> "BinanceHttp":
        """The same account's calls to another Binance API, paid from a limit of that one."""
        other = copy.copy(self)
        other.base_url, other.limit, other.clock = base_url, limit, http.clock_of(base_url)
        return other

    def sync_clock(self) -> int:
        """Read the venue's time and keep the offset. Weight 1. Returns the offset in ms."""
        sent_ns = time.time_ns()
        if self._time_path:
            body = self.public("GET", self._time_path, 1)
            received_ns = time.time_ns()
            venue_ms = time_ms(body.get("serverTime") if isinstance(body, dict) else None)
            if venue_ms is None:
                raise OutcomeUnknown(f"{self._time_path} replied without serverTime")
        else:
            reply = through(self.base_url, self.routes, self.limit, self._ping)
            received_ns = time.time_ns()
            made_ms = http.date_ms(reply)
            if made_ms is None:
                raise OutcomeUnknown(f"{self._ping_path} replied without a readable Date")
            venue_ms = made_ms + 500  # the header is cut to the second: half a second on is right on average
        return self.clock.set(venue_ms, sent_ns, received_ns)

    def _ping(self, route: Route) -> http.Reply:
        self.budget.spend(self.limit, 1)
        with calls.told(self.account, "GET", self._ping_path, 1) as told:
            reply = http.call(self.account, "GET", self.base_url, self._ping_path, headers={}, route=route)
            told.status = reply.status
        return reply

    def public(self, method: str, path: str, weight: int, params: Params | None = None) -> Any:
        """An unsigned call. Returns the parsed JSON body."""
        target = f"{path}?{encode(params)}" if params else path

        def send(route: Route) -> Any:
            self.budget.spend(self.limit, weight)
            return self._send(route, method, target, weight, headers={})

        return through(self.base_url, self.routes, self.limit, send)

    def signed(
        self, method: str, path: str, weight: int, params: Params, decided: Decided | None = None
    ) -> Any:
        """A signed call, parameters in the query. Returns the parsed JSON body.

        Signed anew for every attempt; after -1021 the clock is re-read and the call made once more. A GET
        that is answered with a cached copy raises OutcomeUnknown. What was `decided` at a moment carries
        that moment as its timestamp: the venue refuses it when it comes too long after.
        """
        if self.clock.measured_at is None:
            self.sync_clock()
        try:
            return self._signed_once(method, path, weight, params, decided)
        except ClockRejected:
            self.sync_clock()
            with calls.once_more():
                return self._signed_once(method, path, weight, params, decided)

    def _signed_once(
        self, method: str, path: str, weight: int, params: Params, decided: Decided | None
    ) -> Any:
        def send(route: Route) -> Any:
            self.budget.spend(self.limit, weight)  # before it is signed: a signature is good for 5 s only
            if decided is None:
                at_ms, window_ms, timeout = self.clock.now_ms(), RECV_WINDOW_MS, http.TIMEOUT_S
            else:
                at_ms = int(decided.at.timestamp() * 1000) + self.clock.offset_ms
                window_ms, timeout = decided.for_ms, DECIDED_TIMEOUT_S
            query = encode({**params, "recvWindow": window_ms, "timestamp": at_ms})
            target = f"{path}?{query}&signature={self._sign(query)}"
            headers = {"X-MBX-APIKEY": self.api_key}
            read_ms = at_ms if method == "GET" else None
            return self._send(
                route, method, target, weight, headers=headers, read_ms=read_ms, timeout=timeout
            )

        return through(self.base_url, self.routes, self.limit, send)

    def _send(
        self,
        route: Route,
        method: str,
        target: str,
        weight: int,
        headers: Mapping[str, str],
        read_ms: int | None = None,
        timeout: tuple[float, float] = http.TIMEOUT_S,
    ) -> Any:
        """Send what is paid for, and understand. `read_ms`: the venue's time from which a fresh answer is."""
        if self.reads_only:
            calls.refuse_all_but_readings(method, target.partition("?")[0])
        with calls.told(self.account, method, target, weight) as told:
            reply = http.call(
                self.account, method, self.base_url, target, headers=headers, route=route, timeout=timeout
            )
            told.status = reply.status
            used = whole(reply.headers.get("X-MBX-USED-WEIGHT-1M"), most=MOST_USED_WEIGHT)
            if used is not None:
                self.budget.observe(self.limit, used)
            what = f"{method} {target.partition('?')[0]}"
            error = self._error(reply, what)
            if read_ms is not None and (error is None or isinstance(error, http.TELL_OF_ORDERS)):
                http.refuse_copy(reply, what, read_ms, self.clock)
            if error is None:
                return reply.json
            if isinstance(error, RateLimited):
                self.budget.block(self.limit, error.retry_after_ms, str(error))
            raise error

    def _error(self, reply: http.Reply, what: str) -> VenueError | None:
        """What an answer that is not a success means; None for a success."""
        code, text = _code_and_text(reply)
        if 200 <= reply.status < 300 and not code.startswith("-"):
            if reply.json is None:
                return OutcomeUnknown(f"{what}: the answer is not JSON", status=reply.status, text=text)
            return None
        said = f"{what}: HTTP {reply.status} {code} {text}".rstrip()
        known: dict[str, Any] = {"status": reply.status, "code": code, "text": text}
        if reply.status in (418, 429) or code in self._rate_limit_codes:
            banned = reply.status == 418 or "banned" in text
            wait_ms = _retry_after_ms(reply, text, banned, self.clock.now_ms())
            return RateLimited(said, retry_after_ms=wait_ms, banned=banned, **known)
        if code in _KINDS:
            return _KINDS[code](said, **known)
        if reply.status == 403:
            # The firewall answers for the venue; insisting makes it worse.
            return RateLimited(said, retry_after_ms=60_000, banned=True, **known)
        if reply.status == 401:
            return CredentialsRejected(said, **known)
        if reply.status == 404:
            return EndpointGone(said, **known)
        # To the letter: a gateway whose request to the venue was cut uses the same words on a page.
        if reply.status == 503 and (
            text in ("Service Unavailable.", "Service Unavailable")
            or text.startswith("Internal error; unable")
        ):
            return NotDone(said, **known)
        if reply.status == 408 or reply.status >= 500 or not code:
            return OutcomeUnknown(said, **known)
        return VenueRejected(said, **known)


def _code_and_text(reply: http.Reply) -> tuple[str, str]:
    body = reply.json
    if isinstance(body, dict) and "code" in body:
        return quoted(body["code"], LONGEST), quoted(body.get("msg", ""))
    if isinstance(body, list | dict) and reply.status < 300:
        return "", ""
    return "", " ".join(reply.text.split())[:300]


def _retry_after_ms(reply: http.Reply, text: str, banned: bool, now_ms: int) -> int:
    """How long the venue wants silence: its header, else the time in its text, else a careful default.

    `now_ms` is the venue's time: ours may be ahead of it, and a call too early makes a ban longer.
    """
    header_ms = http.retry_after_ms(reply)
    if header_ms is not None:
        return header_ms
    until = re.search(r"until (\d{12,})", text)
    if until:
        wait_ms = int(until.group(1)) - now_ms
        return min(max(1000, wait_ms), http.LONGEST_BAN_MS)
    return 120_000 if banned else 15_000
