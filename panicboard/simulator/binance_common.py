"""What the three Binance APIs share: the order of checks, parameters, errors, weight headers.

Checks come in this order: address limit and ban, key format, key, timestamp, signature, parameters.
https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code
"""

import json
from abc import abstractmethod
from typing import ClassVar
from urllib.parse import parse_qsl

from panicboard.simulator.accounts import Account
from panicboard.simulator.api import Api, Call, Params, Refusal, Reply, Route, encode
from panicboard.simulator.book import Order
from panicboard.simulator.signing import signature_is_valid, strip_signature

RECV_WINDOW_MS = 5000
AHEAD_MS = 1000
LONGEST_RECV_WINDOW_MS = 60_000


def refuse(code: int, text: str, status: int = 400) -> Refusal:
    """A Binance error body, to be raised."""
    return Refusal(status, {"code": code, "msg": text})


def missing(name: str) -> Refusal:
    return refuse(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def need(params: Params, name: str) -> str:
    """A parameter that must be there. Raises -1102."""
    value = params.get(name)
    if not value:
        raise missing(name)
    return value


def need_one(params: Params, first: str, second: str) -> tuple[str, str]:
    """Two parameters of which one must be there, as (first, second). Raises -1102."""
    one, other = params.get(first, ""), params.get(second, "")
    if not one and not other:
        raise refuse(-1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!")
    return one, other


def integer(params: Params, name: str) -> int | None:
    """A whole-number parameter, or None when it was not sent. Raises -1102 when it is no number."""
    value = params.get(name)
    if value is None or value == "":
        return None
    digits = value[1:] if value[0] == "-" else value
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise missing(name)
    return int(value)


def need_integer(params: Params, name: str) -> int:
    """A whole-number parameter that must be there. Raises -1102."""
    value = integer(params, name)
    if value is None:
        raise missing(name)
    return value


def boolean(params: Params, name: str) -> bool:
    """A true/false parameter, false when it was not sent. Raises -1130."""
    value = params.get(name, "false").lower()
    if value not in ("true", "false"):
        raise refuse(-1130, f"Data sent for parameter '{name}' is not valid.")
    return value == "true"


def id_list(params: Params, name: str, *, numeric: bool) -> list[str]:
    """A list parameter, JSON text, as strings; empty when it was not sent. Raises -1130.

    Its name is also taken in lower case, as ccxt sends it.
    """
    text = params.get(name) or params.get(name.lower())
    if not text:
        return []
    kind = int if numeric else str
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise refuse(-1130, f"Data sent for parameter '{name}' is not valid.")
    return [str(value) for value in values]


def json_list(params: Params, name: str) -> list[Params]:
    """A list of orders, JSON text, each order's values as strings. Raises -1102, -1130."""
    try:
        values = json.loads(need(params, name))
        return [
            {
                key: str(value).lower() if isinstance(value, bool) else str(value)
                for key, value in item.items()
            }
            for item in values
        ]
    except (ValueError, AttributeError, TypeError):
        raise refuse(-1130, f"Data sent for parameter '{name}' is not valid.") from None


def within(order: Order, start: int | None, end: int | None) -> bool:
    """Was the order placed in this span of time (Unix ms, None: no bound)?"""
    return (start is None or order.created_ms >= start) and (end is None or order.created_ms <= end)


class BinanceApi(Api):
    """A Binance API: `pool` is the weight pool its calls are charged to."""

    key_header = "X-MBX-APIKEY"
    pool: ClassVar[str]
    recv_window_error: ClassVar[tuple[int, str]] = (
        -1130,
        "Data sent for parameter 'recvWindow' is not valid.",
    )

    too_many_requests: ClassVar[tuple[int, str]] = (
        -1003,
        "Too many requests; current limit is {limit} requests per minute. "
        "Please use the websocket for live updates to avoid polling the API.",
    )
    banned: ClassVar[tuple[int, str]] = (-1003, "Way too many requests; IP banned until {until}.")

    @abstractmethod
    def make_routes(self) -> list[Route]: ...

    def perform(self, call: Call) -> Reply:
        """Check the call as Binance does, act, and answer with the used weight in the headers."""
        query, query_signature = strip_signature(call.query)
        body, body_signature = strip_signature(call.body.decode("utf-8", "surrogateescape"))
        params = dict(parse_qsl(body, keep_blank_values=True)) if body else {}
        params.update(parse_qsl(query, keep_blank_values=True))  # sent in both: the query wins
        route = self.routes[call.method, call.path]
        call.weight = route.weight if isinstance(route.weight, int) else route.weight(params)
        used, refused = self.world.limits.charge(self.pool, call.address, call.weight, call.now_ms)
        headers = {"X-MBX-USED-WEIGHT-1M": str(used)}
        try:
            if refused:
                raise self._over_limit(call, refused)
            if route.security != "none":
                account = self._check_key(call)
                if route.security == "signed":
                    self._check_time(call, params)
                    signature = query_signature if query_signature is not None else body_signature
                    if not signature:
                        raise missing("signature")
                    if not signature_is_valid(account, query + body, signature):
                        raise refuse(-1022, "Signature for this request is not valid.")
            result = route.handler(call, params)
        except Refusal as refusal:
            headers.update(refusal.headers)
            return Reply(refusal.status, encode(refusal.payload), headers)
        if isinstance(result, Reply):
            result.headers.update(headers)
            return result
        return Reply(200, result if isinstance(result, bytes) else encode(result), headers)

    def error(self, call: Call, status: int, code: int, text: str) -> Reply:
        """An error body with the weight header."""
        used = self.world.limits.used(self.pool, call.address, call.now_ms)
        headers = {"X-MBX-USED-WEIGHT-1M": str(used)}
        return Reply(status, encode({"code": code, "msg": text}), headers)

    def count_orders(self, call: Call, number: int) -> dict[str, str]:
        """Count new orders of the calling account. Returns the headers that tell. Raises -1015 (429)."""
        counts, broken = self.world.limits.count_orders(self.pool, call.owner, number, call.now_ms)
        headers = {"X-MBX-ORDER-COUNT-1M": str(counts.in_minute)}
        if self.pool == "fapi":
            headers["X-MBX-ORDER-COUNT-10S"] = str(counts.in_ten_s)
        if broken:
            raise refuse(-1015, f"Too many new orders; current limit is {broken}.", 429)
        return headers

    def _over_limit(self, call: Call, status: int) -> Refusal:
        if status == 418:
            until = self.world.limits.usages[self.pool, call.address].banned_until_ms
            code, text = self.banned
            return refuse(code, text.format(until=until), 418)
        code, text = self.too_many_requests
        return refuse(code, text.format(limit=self.world.limits.limits[self.pool]), 429)

    def _check_key(self, call: Call) -> Account:
        api_key = call.headers.get(self.key_header, "")
        if len(api_key) != 64 or not (api_key.isascii() and api_key.isalnum()):
            raise refuse(-2014, "API-key format invalid.", 401)
        if call.account is None or call.revoked:
            raise refuse(
                -2015, f"Invalid API-key, IP, or permissions for action, request ip: {call.address}", 401
            )
        if not call.account.can_trade and call.method != "GET":
            raise refuse(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return call.account

    def _check_time(self, call: Call, params: Params) -> None:
        timestamp = need_integer(params, "timestamp")
        window = integer(params, "recvWindow")
        if window is None:
            window = RECV_WINDOW_MS
        elif not 0 < window <= LONGEST_RECV_WINDOW_MS:
            raise refuse(*self.recv_window_error)
        if timestamp >= call.now_ms + AHEAD_MS:
            raise refuse(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if call.now_ms - timestamp > window:
            raise refuse(-1021, "Timestamp for this request is outside of the recvWindow.")
