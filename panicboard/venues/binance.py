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
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from panicboard.venues import calls, http
from panicboard.venues.base import Budget, Credentials, Limit, OrderState
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

RECV_WINDOW_MS = 5000  # a cancel that waited longer than this somewhere must not run long after it was meant

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
    try:
        return _STATES[str(venue_status)]
    except KeyError:
        raise OutcomeUnknown(f"order status {venue_status!r} is not known", text=str(venue_status)) from None


def amount(value: object) -> Decimal:
    """A wire number as Decimal; absent and empty count as 0. Raises OutcomeUnknown when it is no number."""
    if value is None or value == "":
        return Decimal(0)
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise OutcomeUnknown(f"{value!r} is not a number") from None


def moment(value: object) -> datetime | None:
    """A wire time (Unix ms) as an aware datetime; None where the venue sent none."""
    if not isinstance(value, int | str) or not str(value).isdigit() or int(value) == 0:
        return None
    return datetime.fromtimestamp(int(value) / 1000, UTC)


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
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.api_key = credentials.api_key
        self.limit = limit
        self.budget = budget
        self.account = account
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
            body = self._send("GET", self._time_path, 1, headers={})
            received_ns = time.time_ns()
            try:
                venue_ms = int(body["serverTime"])
            except (KeyError, TypeError, ValueError):
                raise OutcomeUnknown(f"{self._time_path} replied without serverTime") from None
        else:
            self.budget.spend(self.limit, 1)
            with calls.told(self.account, "GET", self._ping_path, 1) as told:
                reply = http.call(self.account, "GET", self.base_url, self._ping_path, headers={})
                told.status = reply.status
            received_ns = time.time_ns()
            try:
                # The header is cut to the second: half a second on is right on average.
                venue_ms = int(parsedate_to_datetime(reply.headers["Date"]).timestamp() * 1000) + 500
            except (KeyError, TypeError, ValueError):
                raise OutcomeUnknown(f"{self._ping_path} replied without a readable Date") from None
        return self.clock.set(venue_ms, sent_ns, received_ns)

    def public(self, method: str, path: str, weight: int, params: Params | None = None) -> Any:
        """An unsigned call. Returns the parsed JSON body."""
        query = f"?{encode(params)}" if params else ""
        return self._send(method, path + query, weight, headers={})

    def signed(self, method: str, path: str, weight: int, params: Params) -> Any:
        """A signed call, parameters in the query. Returns the parsed JSON body.

        Signed anew for every attempt; after -1021 the clock is re-read and the call made once more.
        """
        if self.clock.measured_at is None:
            self.sync_clock()
        try:
            return self._signed_once(method, path, weight, params)
        except ClockRejected:
            self.sync_clock()
            with calls.once_more():
                return self._signed_once(method, path, weight, params)

    def _signed_once(self, method: str, path: str, weight: int, params: Params) -> Any:
        query = encode({**params, "recvWindow": RECV_WINDOW_MS, "timestamp": self.clock.now_ms()})
        target = f"{path}?{query}&signature={self._sign(query)}"
        return self._send(method, target, weight, headers={"X-MBX-APIKEY": self.api_key})

    def _send(self, method: str, target: str, weight: int, headers: Mapping[str, str]) -> Any:
        self.budget.spend(self.limit, weight)
        with calls.told(self.account, method, target, weight) as told:
            reply = http.call(self.account, method, self.base_url, target, headers=headers)
            told.status = reply.status
            used = reply.headers.get("X-MBX-USED-WEIGHT-1M", "")
            if used.isdigit():
                self.budget.observe(self.limit, int(used))
            error = self._error(reply, f"{method} {target.partition('?')[0]}")
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
            return RateLimited(
                said, retry_after_ms=_retry_after_ms(reply, text, banned), banned=banned, **known
            )
        if code in _KINDS:
            return _KINDS[code](said, **known)
        if reply.status == 403:
            # The firewall answers for the venue; insisting makes it worse.
            return RateLimited(said, retry_after_ms=60_000, banned=True, **known)
        if reply.status == 401:
            return CredentialsRejected(said, **known)
        if reply.status == 404:
            return EndpointGone(said, **known)
        if reply.status == 503 and (
            "Service Unavailable" in text or text.startswith("Internal error; unable")
        ):
            return NotDone(said, **known)
        if reply.status == 408 or reply.status >= 500 or not code:
            return OutcomeUnknown(said, **known)
        return VenueRejected(said, **known)


def _code_and_text(reply: http.Reply) -> tuple[str, str]:
    body = reply.json
    if isinstance(body, dict) and "code" in body:
        return str(body["code"]), str(body.get("msg", ""))[:300]
    if isinstance(body, list | dict) and reply.status < 300:
        return "", ""
    return "", " ".join(reply.text.split())[:300]


def _retry_after_ms(reply: http.Reply, text: str, banned: bool) -> int:
    """How long the venue wants silence: its header, else the time in its text, else a careful default."""
    header = reply.headers.get("Retry-After", "")
    if header.isdigit():
        return max(1000, int(header) * 1000)
    until = re.search(r"until (\d{12,})", text)
    if until:
        return max(1000, int(until.group(1)) - time.time_ns() // 1_000_000)
    return 120_000 if banned else 15_000
