"""CoinSwitch PRO calls: Ed25519 signing, the clock, and the meaning of their errors.

The string to sign is METHOD + path and query + epoch, where path and query are URL-decoded (the reverse
of Binance, which signs what travels). The body is not covered. There are no error codes: only the HTTP
status tells kinds apart, and a message for people.

https://api-trading.coinswitch.co/get-started/authentication
https://api-trading.coinswitch.co/resources/errors-and-rate-limits
"""

import contextlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote_plus, urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from panicboard.venues import calls, http
from panicboard.venues.base import DIRECT, Budget, Credentials, Limit, Route
from panicboard.venues.errors import (
    CredentialsRejected,
    EndpointGone,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    UnknownSymbol,
    VenueError,
    VenueRejected,
)
from panicboard.venues.routes import through
from panicboard.venues.values import quoted, time_ms

TIME_PATH = "/trade/api/v2/time"
#: The lists of orders are asked for by POST, and change nothing.
OPEN_ORDERS = "/trade/api/v2/futures/orders/open"
CLOSED_ORDERS = "/trade/api/v2/futures/orders/closed"
LISTS = (OPEN_ORDERS, CLOSED_ORDERS)
#: Every limit counts calls in 60 s; the venue sends no hint of when it will listen again.
RETRY_AFTER_MS = 60_000
#: The venue publishes no limit by address. But who bans, bans an address, and then none of its keys may call.
BANS = Limit("api", "address", 1_000_000)

# Not published: how the venue words an order it does not know. Any other wording is a plain refusal.
_NOT_FOUND = re.compile(r"order.*\b(not found|does not exist|not exist)", re.IGNORECASE)


def private_key(credentials: Credentials) -> Ed25519PrivateKey:
    """The key of an account: its secret is a 32-byte Ed25519 seed in hex.

    Raises CredentialsRejected when it is not.
    """
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(credentials.secret))
    except ValueError:
        raise CredentialsRejected("the secret is not a 32-byte Ed25519 seed in hex (64 digits)") from None


def signature(key: Ed25519PrivateKey, method: str, path_and_query: str, epoch_ms: int) -> str:
    """Sign one request; `path_and_query` is what travels, and is decoded before it is signed."""
    return key.sign(f"{method}{unquote_plus(path_and_query)}{epoch_ms}".encode()).hex()


class CoinSwitchHttp:
    """Signed and unsigned calls of one account, each paid for from the limit it is given."""

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        *,
        budget: Budget,
        account: str,
        routes: Sequence[Route] = (DIRECT,),
        reads_only: bool = False,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.budget = budget
        self.account = account
        self.routes = routes
        self.reads_only = reads_only
        self.clock = http.clock_of(self.base_url)
        self._api_key = credentials.api_key
        self._key = private_key(credentials)

    def sync_clock(self) -> int:
        """Read the venue's time and keep the offset, in ms."""
        sent_ns = time.time_ns()
        reply = self._answer("GET", TIME_PATH, None, None, signed=False)
        received_ns = time.time_ns()
        venue_ms = time_ms(reply.get("serverTime"))
        if venue_ms is None:
            raise OutcomeUnknown(f"{TIME_PATH} replied without serverTime")
        return self.clock.set(venue_ms, sent_ns, received_ns)

    def signed(
        self,
        method: str,
        path: str,
        limit: Limit | None,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        prepaid: bool = False,
        reads: bool = False,
    ) -> dict[str, Any]:
        """Make one signed call and return its JSON body. `prepaid`: its weight has been taken already.

        `reads` says that the answer tells of orders: a cached copy raises OutcomeUnknown. How old an answer
        is can be told by its Date where the venue's clock is known, so the first such call reads the clock.

        A 401 can mean a clock more than 60 s off as well as a bad key: the clock is re-read and the call
        signed anew, once.
        """
        target = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
        payload = None if body is None else json.dumps(body).encode()
        if limit is not None and not prepaid:
            self.budget.spend(limit, 1)
        if reads and self.clock.measured_at is None:
            with contextlib.suppress(VenueError):  # then an answer's age is judged by other headers only
                self.sync_clock()
        try:
            return self._answer(method, target, limit, payload, reads=reads)
        except CredentialsRejected:
            self.sync_clock()
            if limit is not None:
                self.budget.spend(limit, 1)
            with calls.once_more():
                return self._answer(method, target, limit, payload, reads=reads)

    def _headers(self, method: str, target: str, epoch_ms: int) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "X-AUTH-APIKEY": self._api_key,
            "X-AUTH-SIGNATURE": signature(self._key, method, target, epoch_ms),
            "X-AUTH-EPOCH": str(epoch_ms),
        }

    def _answer(
        self,
        method: str,
        target: str,
        limit: Limit | None,
        body: bytes | None,
        *,
        signed: bool = True,
        reads: bool = False,
    ) -> dict[str, Any]:
        def send(route: Route) -> dict[str, Any]:
            self.budget.spend(BANS, 1)
            epoch_ms = self.clock.now_ms()
            headers = self._headers(method, target, epoch_ms) if signed else {}
            read_ms = epoch_ms if reads else None
            return self._send(route, method, target, limit, headers, body, read_ms=read_ms)

        return through(self.base_url, self.routes, limit, send)

    def _send(
        self,
        route: Route,
        method: str,
        target: str,
        limit: Limit | None,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        read_ms: int | None = None,
    ) -> dict[str, Any]:
        """Send and understand. `read_ms`: the venue's time from which on a fresh answer must be."""
        if self.reads_only:
            calls.refuse_all_but_readings(method, target.partition("?")[0], LISTS)
        with calls.told(self.account, method, target, 1) as told:
            reply = http.call(
                self.account, method, self.base_url, target, headers=headers, body=body, route=route
            )
            told.status = reply.status
            what = f"{method} {target.partition('?')[0]}"
            succeeded = 200 <= reply.status < 300
            error = None if succeeded else _error(reply, what)
            if read_ms is not None and (error is None or isinstance(error, http.TELL_OF_ORDERS)):
                known_ms = read_ms if self.clock.measured_at is not None else None
                http.refuse_copy(reply, what, known_ms, self.clock)
            if error is None:
                if not isinstance(reply.json, dict):
                    raise OutcomeUnknown(
                        f"{what}: the answer is not a JSON object", status=reply.status, text=_said(reply)
                    )
                return reply.json
            if isinstance(error, RateLimited):
                refused = BANS if error.banned else limit
                if refused is not None:
                    self.budget.block(refused, error.retry_after_ms, str(error))
            raise error


def _error(reply: http.Reply, what: str) -> VenueError:
    """What an answer that is no success means."""
    text = _said(reply)
    said = f"{what}: HTTP {reply.status} {text}".rstrip()
    status = reply.status
    if status in (418, 429):  # 418, a ban, is not in the venue's table; insisting on it is never right
        wait_ms = http.retry_after_ms(reply) or RETRY_AFTER_MS
        return RateLimited(said, retry_after_ms=wait_ms, banned=status == 418, status=status, text=text)
    if status == 403 and reply.json is None:
        # A firewall in front of the venue answers; insisting makes it worse.
        return RateLimited(said, retry_after_ms=RETRY_AFTER_MS, banned=True, status=status, text=text)
    if status in (401, 403):
        return CredentialsRejected(said, status=status, text=text)
    if status in (400, 404, 422) and _NOT_FOUND.search(text):
        return OrderNotFound(said, status=status, text=text)
    if status == 422 and "symbol" in text.lower():  # its text names the field that is wrong
        return UnknownSymbol(said, status=status, text=text)
    if status == 404:
        return EndpointGone(said, status=status, text=text)
    if 400 <= status < 500 and status != 408:
        return VenueRejected(said, status=status, text=text)
    return OutcomeUnknown(said, status=status, text=text)


def _said(reply: http.Reply) -> str:
    if isinstance(reply.json, dict) and "message" in reply.json:
        return quoted(reply.json["message"])
    return " ".join(reply.text.split())[:300]
