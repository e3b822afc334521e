"""One HTTP call to a venue: timeouts, connection reuse, and the part of "what happened?" that HTTP can tell.

Whatever was certainly never sent is `NotDone`; whatever may have reached the venue is `OutcomeUnknown`.
A requests exception carries the full URL, signature included, so only its type is ever named.
"""

import json
import logging
import re
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import unquote

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidSchema, InvalidURL
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProxyError, SSLError

from panicboard.venues.base import DIRECT, Route
from panicboard.venues.errors import (
    EndpointGone,
    NotDone,
    OrderNotFound,
    OutcomeUnknown,
    UnknownSymbol,
    VenueError,
)
from panicboard.venues.values import whole

logger = logging.getLogger(__name__)
# Its DEBUG lines, and its warnings of odd headers, carry whole URLs, signature included.
logging.getLogger("urllib3").setLevel(logging.ERROR)

CONNECT_TIMEOUT_S = 3.05
READ_TIMEOUT_S = 5.0
TIMEOUT_S = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
#: An answer whose Date is older than its request by more than this was not made for it. A fresh one can seem
#: older than it is: the header is cut to the second, a venue takes requests that are up to 1 s ahead of its
#: clock, our reading of that clock is off by half of its round trip, and not every machine behind an address
#: is in step with the others.
COPY_SLACK_MS = 5000
#: What of a request nobody may read afterwards, besides the signature in its query.
SECRET_HEADERS = ("X-MBX-APIKEY", "X-AUTH-APIKEY", "X-AUTH-SIGNATURE")
SHORTEST_SECRET = 16  # real ones have 64; anything shorter could be a word of its own
#: Venues ban an address for three days at most; longer silence on the word of one header could never end.
LONGEST_BAN_MS = 3 * 24 * 3600 * 1000
#: Refusals that say of something that it is not there: as answers of today only, like a listing.
TELL_OF_ORDERS = (OrderNotFound, UnknownSymbol, EndpointGone)
#: Headers in which caches say that they answered for the venue, and how.
_CACHE_MARKS = {
    "X-Cache": re.compile("hit", re.IGNORECASE),
    "CF-Cache-Status": re.compile("hit|stale|updating|revalidated", re.IGNORECASE),
    "Cache-Status": re.compile(r"\bhit\b", re.IGNORECASE),
}


# One pool of connections for all accounts and threads that go the same way: measured, with TLS, 223 ms warm
# against 471 ms without reuse. Requests go straight to it, without a Session: a call has no cookies, no
# redirects and nothing from the environment (which could override the CA or the route), and costs a third
# less of the processor. Retries are the sweep's business, each signed anew.
class _Adapter(HTTPAdapter):
    """Connections that leave from one of this machine's addresses; empty: from the usual one."""

    def __init__(self, source_address: str) -> None:
        self._source = (source_address, 0) if source_address else None
        super().__init__(pool_connections=64, pool_maxsize=256, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=self._source, **kwargs)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, source_address=self._source, **kwargs)


@cache
def _adapter_of(source_address: str) -> _Adapter:
    return _Adapter(source_address)


@dataclass(frozen=True, slots=True)
class Reply:
    """A venue's answer: HTTP status, headers, the text, and the parsed JSON (None when it was not JSON)."""

    status: int
    headers: Mapping[str, str]
    text: str
    json: Any


class Clock:
    """The offset between a venue's clock and ours, in ms (venue minus here), shared by all its accounts."""

    def __init__(self) -> None:
        self.offset_ms = 0
        self.measured_at: float | None = None  # time.time() of the last reading

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.offset_ms

    def set(self, venue_ms: int, sent_ns: int, received_ns: int) -> int:
        """Keep the offset of one reading: the venue's time against the middle of the round trip."""
        self.offset_ms = venue_ms - (sent_ns + received_ns) // 2_000_000
        self.measured_at = time.time()
        return self.offset_ms

    def forget(self) -> None:
        """Have the venue's clock read anew before the next call that needs it."""
        self.measured_at = None


_clocks: dict[str, Clock] = {}
_clocks_lock = threading.Lock()


def clock_of(base_url: str) -> Clock:
    """The process-wide clock of one venue address."""
    with _clocks_lock:
        return _clocks.setdefault(base_url, Clock())


def call(
    account: str,
    method: str,
    base_url: str,
    path_and_query: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    route: Route = DIRECT,
    timeout: tuple[float, float] = TIMEOUT_S,
) -> Reply:
    """Send one request and return the venue's answer, whatever its status.

    `path_and_query` travels exactly as given. Raises NotDone when no connection came about (nothing
    was sent), OutcomeUnknown when the line broke or the answer did not come in time.
    """
    path = path_and_query.partition("?")[0]
    started = time.monotonic()
    status: int | str = "?"
    try:
        response = _adapter_of(route.source_address).send(
            _prepared(method, base_url + path_and_query, headers, body),
            timeout=timeout,
            proxies=dict.fromkeys(("http", "https"), route.proxy_url) if route.proxy_url else None,
        )
        status = response.status_code
        response.encoding = "utf-8"  # as JSON is; a header could name an encoding that fails
        text = _without_secrets(response.text, path_and_query, headers)
        return Reply(status, response.headers, text, _parsed(text))
    except requests.RequestException as exc:
        status = type(exc).__name__
        error: VenueError = OutcomeUnknown(f"{method} {path}: no answer ({status})")
        if _never_sent(exc):
            error = NotDone(f"{method} {path}: no connection to the venue ({status})")
        error.broke = str(status)
        raise error from None
    finally:
        took_ms = (time.monotonic() - started) * 1000
        logger.info("%s %s %s %s %s %.0f ms", account, base_url, method, path, status, took_ms)


def _without_secrets(text: str, path_and_query: str, headers: Mapping[str, str]) -> str:
    """A body without the key and the signature that asked for it: a venue, or a proxy, may quote both."""
    _, found, signature = path_and_query.rpartition("&signature=")
    plain = unquote(signature) if found else ""
    secrets = [headers.get(name, "") for name in SECRET_HEADERS]
    for secret in (*secrets, signature if found else "", plain, plain.replace("/", "\\/")):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "[hidden]")
    return text


def _parsed(text: str) -> Any:
    """A body's JSON; None when it is none, or cannot be read: too deep, or a number of too many digits."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def retry_after_ms(reply: Reply) -> int | None:
    """How long the venue's header asks for silence: from 1 s to the longest ban; None if it does not.

    The header names seconds or, as gateways like to, a moment, which is by the clock that wrote its Date.
    """
    seconds = whole(reply.headers.get("Retry-After"))
    if seconds is not None:
        return min(max(1, seconds) * 1000, LONGEST_BAN_MS)
    until_ms, made_ms = date_ms(reply, "Retry-After"), date_ms(reply)
    if until_ms is None or made_ms is None:
        return None
    return min(max(1000, until_ms - made_ms), LONGEST_BAN_MS)


def refuse_copy(reply: Reply, what: str, asked_ms: int | None, clock: Clock) -> None:
    """Make sure that an answer was made for this request: a cached one proves nothing of the present.

    `asked_ms` is when it was asked by the venue's clock, or None where that clock is not known. Raises
    OutcomeUnknown. Where only the Date is too old, the clock itself is in doubt, and is read anew.
    """
    age_s = whole(reply.headers.get("Age"))
    if age_s:
        raise _copy(reply, what, f"{age_s} s old")
    for name, says_so in _CACHE_MARKS.items():
        said = reply.headers.get(name, "")
        if says_so.search(said):
            raise _copy(reply, what, f"by its {name}: {said[:60]}")
    made_ms = date_ms(reply)
    if made_ms is not None and asked_ms is not None and asked_ms - made_ms > COPY_SLACK_MS:
        clock.forget()
        raise _copy(reply, what, f"{(asked_ms - made_ms) // 1000} s old by its Date")


def _copy(reply: Reply, what: str, how: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"{what}: the answer is a cached copy, {how}", status=reply.status)


def date_ms(reply: Reply, header: str = "Date") -> int | None:
    """The moment that a header names, cut to the second; by default that when the answer was made."""
    try:
        made = parsedate_to_datetime(reply.headers[header])
        return int((made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp() * 1000)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError):
        return None


def _prepared(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> requests.PreparedRequest:
    """A request that travels as it is: what was signed must not be encoded a second time."""
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.body = method, url, body
    prepared.headers = requests.structures.CaseInsensitiveDict(headers)
    prepared.headers["Cache-Control"] = "no-cache"  # a copy would tell of another moment
    if body is not None:
        prepared.headers["Content-Length"] = str(len(body))
    prepared.hooks = requests.hooks.default_hooks()
    return prepared


def _never_sent(exc: requests.RequestException) -> bool:
    """Whether it broke before the request could leave: no connection, no tunnel, a certificate refused.

    The kind alone does not tell: it is a ProxyError, too, when a line through a proxy is cut after the
    request, and an SSLError when TLS breaks in the midst of the answer.
    """
    if isinstance(exc, requests.ConnectTimeout | InvalidURL | InvalidSchema):
        return True
    reason = exc.args[0] if exc.args else None
    if isinstance(reason, MaxRetryError):
        reason = reason.reason
    if isinstance(reason, ProxyError):
        reason = reason.original_error
        if type(reason) is OSError and str(reason).startswith("Tunnel connection failed"):
            return True
    if isinstance(reason, SSLError):
        reason = reason.args[0]
    return isinstance(reason, NewConnectionError | ConnectTimeoutError | ssl.SSLCertVerificationError)
