"""CoinSwitch PRO futures (`/trade`): one book, an account-wide cancel, and cancels that take their time.

A cancel only asks: the order is CANCELLATION_RAISED at once and CANCELLED (or EXECUTED, when it filled in
between) after `coinswitch_cancel_delay_ms`. Limits count calls by key, 10 or 20 in 60 s.
https://api-trading.coinswitch.co/futures/reference/
"""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from panicboard.simulator.accounts import COINSWITCH, Account
from panicboard.simulator.api import Api, Call, Refusal, Reply, Route, encode
from panicboard.simulator.book import Order
from panicboard.simulator.coinswitch_orders import (
    EXCHANGE,
    ORDER_TYPES,
    POSITION_TYPES,
    Moments,
    as_wire,
    instrument,
    is_raised,
    new_order_id,
    set_raised,
    state,
)
from panicboard.simulator.seeding import seeded_order
from panicboard.simulator.symbols import USDM_SYMBOLS, Symbol, unlisted

if TYPE_CHECKING:
    from panicboard.simulator.world import World

BOOK = "ordinary"
PAGE = 50
WINDOW_MS = 7 * 86_400_000
EPOCH_TOLERANCE_MS = 60_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT", "XRPUSDT", "BNBUSDT")

#: What was asked: the query's texts, or the JSON body with its numbers as text.
Fields = Mapping[str, Any]

_FUTURES = "/trade/api/v2/futures"

#: Calls in 60 s for each key. https://api-trading.coinswitch.co/resources/errors-and-rate-limits
ALLOWED_CALLS = {
    ("POST", f"{_FUTURES}/cancel_all"): 10,
    ("DELETE", f"{_FUTURES}/order"): 10,
    ("GET", f"{_FUTURES}/order"): 20,
    ("POST", f"{_FUTURES}/order"): 20,
    ("POST", f"{_FUTURES}/orders/open"): 20,
    ("POST", f"{_FUTURES}/orders/closed"): 20,
    ("GET", f"{_FUTURES}/positions"): 20,
    ("GET", f"{_FUTURES}/instrument_info"): 100,
    ("GET", f"{_FUTURES}/ticker"): 100,
}


def refuse(status: int, text: str) -> Refusal:
    """A CoinSwitch error body, to be raised."""
    return Refusal(status, {"message": text})


def signature_is_valid(call: Call, key: Ed25519PublicKey) -> bool:
    """Check the headers' signature over METHOD + decoded path and query + epoch; the body is not covered.

    https://api-trading.coinswitch.co/get-started/authentication
    """
    target = unquote_plus(f"{call.path}?{call.query}" if call.query else call.path)
    message = call.method + target + call.headers.get("X-AUTH-EPOCH", "")
    try:
        key.verify(bytes.fromhex(call.headers.get("X-AUTH-SIGNATURE", "")), message.encode())
    except (ValueError, InvalidSignature):
        return False
    return True


class CoinSwitchApi(Api):
    """The CoinSwitch PRO futures API."""

    venue = COINSWITCH
    prefix = "/trade/"
    key_header = "X-AUTH-APIKEY"
    books = (BOOK,)

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self.symbols = set(SYMBOLS)
        self.moments = Moments()
        world.on_reset.append(self._forget)

    def make_routes(self) -> list[Route]:
        """Every call this API answers."""
        return [
            Route("GET", "/trade/api/v2/time", self.time, security="none"),
            Route("GET", "/trade/api/v2/ping", self.ping, security="none"),
            Route("GET", "/trade/api/v2/validate/keys", self.validate_keys),
            Route("POST", f"{_FUTURES}/cancel_all", self.cancel_all),
            Route("GET", f"{_FUTURES}/order", self.query),
            Route("POST", f"{_FUTURES}/order", self.place),
            Route("DELETE", f"{_FUTURES}/order", self.cancel),
            Route("POST", f"{_FUTURES}/orders/open", self.open_orders),
            Route("POST", f"{_FUTURES}/orders/closed", self.closed_orders),
            Route("GET", f"{_FUTURES}/positions", self.positions),
            Route("GET", f"{_FUTURES}/instrument_info", self.instruments),
            Route("GET", f"{_FUTURES}/ticker", self.ticker),
        ]

    def perform(self, call: Call) -> Reply:
        """Check key, epoch, signature, the call's limit and the parameters, in this order; then act."""
        route = self.routes[call.method, call.path]
        call.weight = 1
        try:
            if route.security == "signed":
                self._check_access(call)
                self._check_limit(call)
            params: Fields = dict(parse_qsl(call.query)) if call.method == "GET" else _json_body(call)
            return Reply(200, encode(route.handler(call, dict(params))))
        except Refusal as refusal:
            return Reply(refusal.status, encode(refusal.payload), dict(refusal.headers))

    def error(self, call: Call, status: int, code: int, text: str) -> Reply:
        """An error body; it has a message and no code."""
        return Reply(status, encode({"message": "Too many requests" if status == 429 else text}))

    # Calls without a key.

    def time(self, call: Call, params: Fields) -> dict[str, int]:
        """GET /trade/api/v2/time."""
        return {"serverTime": call.now_ms}

    def ping(self, call: Call, params: Fields) -> dict[str, str]:
        """GET /trade/api/v2/ping."""
        return {"message": "OK"}

    # Orders.

    def validate_keys(self, call: Call, params: Fields) -> dict[str, str]:
        """GET /trade/api/v2/validate/keys."""
        return {"message": "Valid Access"}

    def cancel_all(self, call: Call, params: Fields) -> dict[str, Any]:
        """POST cancel_all, of one symbol or of the whole account, TP/SL included: names what it asked for."""
        _need_exchange(params)
        symbol = self._symbol(params) if params.get("symbol") else None
        orders = [o for o in self.world.reach(call.owner, BOOK, symbol) if not is_raised(o)]
        self._raise_cancellation(orders)
        return {"data": {"orders_ids": [order.order_id for order in orders]}}

    def cancel(self, call: Call, params: Fields) -> dict[str, Any]:
        """DELETE order, with a JSON body."""
        _need_exchange(params)
        order = self._find(call, order_id=_need(params, "order_id"))
        if not order.is_open:
            raise refuse(400, f"Order is already {state(order)}")
        if not is_raised(order):
            self._raise_cancellation([order])
        return {"data": as_wire(order, self._status(order), cancel_names=True)}

    def query(self, call: Call, params: Fields) -> dict[str, Any]:
        """GET order, by `order_id` or `client_order_id`; the order lies one level deeper than elsewhere."""
        order_id, client_order_id = params.get("order_id", ""), params.get("client_order_id", "")
        if not order_id and not client_order_id:
            raise refuse(422, "Input order_id is missing")
        order = self._find(call, order_id, client_order_id)
        return {"data": {"order": as_wire(order, self._status(order))}}

    def open_orders(self, call: Call, params: Fields) -> dict[str, Any]:
        """POST orders/open: the newest 50 of at most 7 days, and where the next page begins."""
        symbol, start, end, limit = self._page_of(call, params)
        orders = self.world.reach(call.owner, BOOK, symbol)
        return self._page(orders, start, end, limit)

    def closed_orders(self, call: Call, params: Fields) -> dict[str, Any]:
        """POST orders/closed: as orders/open; `status` narrows it down."""
        symbol, start, end, limit = self._page_of(call, params)
        wanted = params.get("status")
        orders = [
            order
            for order in self.world.history(call.owner, BOOK, symbol)
            if not order.is_open and wanted in (None, "", self._status(order))
        ]
        return self._page(orders, start, end, limit)

    def place(self, call: Call, params: Fields) -> dict[str, Any]:
        """POST order. A client order id that was used before names that order: nothing is placed twice."""
        _need_exchange(params)
        client_order_id = str(params.get("client_order_id") or "")
        known = self.world.books.find(call.owner, BOOK, client_order_id=client_order_id)
        if known is not None:
            return {"data": as_wire(known, self._status(known))}
        order_type = _need(params, "order_type").upper()
        if order_type not in ORDER_TYPES:
            raise refuse(422, "Input order_type is invalid")
        side = _need(params, "side").upper()
        if side not in ("BUY", "SELL"):
            raise refuse(422, "Input side is invalid")
        time_in_force = str(params.get("time_in_force") or "GTC").upper()
        if time_in_force not in ("GTC", "IOC", "FOK"):
            raise refuse(422, "Input time_in_force is invalid")
        positional = order_type in POSITION_TYPES
        if positional and params.get("reduce_only") is not True:
            raise refuse(422, "Input reduce_only is missing")
        quantity = "0" if positional else _need_amount(params, "quantity")
        order = self._add(
            call.owner,
            symbol=self._symbol(params),
            client_order_id=client_order_id,
            side=side,
            type=order_type,
            quantity=quantity,
            price=_need_amount(params, "price") if order_type == "LIMIT" else "0",
            stop_price=_need_amount(params, "trigger_price") if positional else "0",
            reduce_only=params.get("reduce_only") is True,
            time_in_force=time_in_force,
        )
        told = as_wire(order, self._status(order))
        if order_type == "MARKET":  # told as RAISED, executed right after
            self.world.books.fill(order, self.world.now_ms())
        elif order_type == "LIMIT" and time_in_force != "GTC":  # there is nobody to trade with
            self.world.books.finish(order, "CANCELED", self.world.now_ms())
        return {"data": told}

    def positions(self, call: Call, params: Fields) -> dict[str, Any]:
        """GET positions: what the executed orders add up to."""
        _need_exchange(params)
        symbol = self._symbol(params) if params.get("symbol") else None
        held: dict[str, Decimal] = {}
        for order in self.world.history(call.owner, BOOK, symbol):
            signed = Decimal(order.executed) * (1 if order.side == "BUY" else -1)
            held[order.symbol] = held.get(order.symbol, Decimal(0)) + signed
        return {
            "data": [
                {
                    "exchange": EXCHANGE,
                    "symbol": name,
                    "position_side": "LONG" if size > 0 else "SHORT",
                    "position_size": format(abs(size), "f"),
                    "status": "OPEN",
                }
                for name, size in sorted(held.items())
                if size
            ]
        }

    # Market data.

    def instruments(self, call: Call, params: Fields) -> dict[str, Any]:
        """GET instrument_info: what the venue wants of an order, by symbol."""
        return {"data": {name: instrument(_listed(name)) for name in sorted(self.symbols)}}

    def ticker(self, call: Call, params: Fields) -> dict[str, Any]:
        """GET ticker: the present price of one symbol, under the name of the exchange."""
        _need_exchange(params)
        symbol = _listed(self._symbol(params))
        price = {"symbol": symbol.name, "last_price": symbol.price, "mark_price": symbol.price}
        return {"data": {EXCHANGE: price | {"index_price": symbol.price, "timestamp": call.now_ms}}}

    # What the control plane asks.

    def seed(self, account: Account, book: str, fields: Mapping[str, Any]) -> Order:
        """Put one open order on the book; see `Api.seed`."""
        if book != BOOK:
            raise ValueError(f"{self.venue} has no book {book!r}")
        symbol = str(fields["symbol"]).upper()
        created_ms = int(fields.get("created_ms") or self.moments.take(account.name, self.world.now_ms()))
        defaults: dict[str, Any] = {"quantity": "0.010", "price": "91350"}
        if fields.get("type") in POSITION_TYPES:
            defaults = {"quantity": "0", "price": "0", "stop_price": "90000", "reduce_only": True}
        order = seeded_order(
            account.name,
            BOOK,
            {**fields, "symbol": symbol},
            order_id=new_order_id(created_ms),
            client_order_id="",
            now_ms=created_ms,
            **defaults,
        )
        if order.type not in ORDER_TYPES:
            raise ValueError(f"type {order.type!r} is not one of {', '.join(ORDER_TYPES)}")
        self.symbols.add(symbol)
        return self.world.books.add(order)

    def trigger(self, order: Order) -> Order:
        """Let the market touch a TP/SL order: it executes as the order it is."""
        if order.type not in POSITION_TYPES:
            raise ValueError(f"{order.type} orders do not trigger")
        self.world.books.fill(order, self.world.now_ms())
        return order

    # Inner workings.

    def _check_access(self, call: Call) -> None:
        key = call.account.public_key if call.account is not None and not call.revoked else None
        epoch = call.headers.get("X-AUTH-EPOCH", "")
        if (
            not isinstance(key, Ed25519PublicKey)
            or not (epoch.isascii() and epoch.isdigit())
            or abs(call.now_ms - int(epoch)) > EPOCH_TOLERANCE_MS
            or not signature_is_valid(call, key)
        ):
            raise refuse(401, "Invalid Access")

    def _check_limit(self, call: Call) -> None:
        amount = ALLOWED_CALLS.get((call.method, call.path))
        if amount is None:
            return
        name = f"{call.method} {call.path}"
        if not self.world.limits.take_call(call.owner, name, amount, call.arrived_us // 1000):
            raise refuse(429, "Too many requests")

    def _raise_cancellation(self, orders: list[Order]) -> None:
        if not orders:
            return
        now_ms = self.world.now_ms()
        for order in orders:
            set_raised(order, True)
            order.updated_ms = now_ms
        key = ("coinswitch cancel", next(self.world.serial))
        self.world.timers.set(
            key, self.world.switches.coinswitch_cancel_delay_ms, lambda: self._settle(orders)
        )

    def _settle(self, orders: list[Order]) -> None:
        for order in orders:
            if order.is_open:
                self.world.cancel(order)
                set_raised(order, False)  # still open: the cancel came to nothing

    def _status(self, order: Order) -> str:
        shown = self.world.status(order)
        return state(order) if shown == order.status else shown

    def _find(self, call: Call, order_id: str = "", client_order_id: str = "") -> Order:
        order = self.world.books.find(call.owner, BOOK, order_id=order_id, client_order_id=client_order_id)
        if order is None:
            raise refuse(400, "Order not found")
        return order

    def _symbol(self, params: Fields) -> str:
        symbol = _need(params, "symbol").upper()
        if symbol not in self.symbols:
            raise refuse(422, "Input symbol is invalid")
        return symbol

    def _add(self, account: str, **fields: Any) -> Order:
        created = self.moments.take(account, self.world.now_ms())
        order = Order(
            account=account,
            book=BOOK,
            order_id=new_order_id(created),
            created_ms=created,
            updated_ms=created,
            **fields,
        )
        return self.world.books.add(order)

    def _page_of(self, call: Call, params: Fields) -> tuple[str | None, int, int, int]:
        """Symbol, first and last moment, and size of the page that was asked for."""
        _need_exchange(params)
        symbol = self._symbol(params) if params.get("symbol") else None
        limit = _whole(params, "limit") or PAGE
        if not 0 < limit <= PAGE:
            raise refuse(422, "Input limit is invalid")
        start, end = _whole(params, "from_time"), _whole(params, "to_time")
        if start is None:
            end = call.now_ms if end is None else end
            start = end - WINDOW_MS
        elif end is None:
            end = min(call.now_ms, start + WINDOW_MS)
        if not 0 <= end - start <= WINDOW_MS:
            raise refuse(422, "Input from_time is invalid: it must lie at most 7 days before to_time")
        return symbol, start, end, limit

    def _page(self, orders: list[Order], start: int, end: int, limit: int) -> dict[str, Any]:
        inside = [order for order in orders if start <= order.created_ms <= end]
        inside.sort(key=attrgetter("created_ms"), reverse=True)
        page = inside[:limit]
        return {
            "data": {
                "orders": [as_wire(order, self._status(order)) for order in page],
                "cursor": page[-1].created_ms if page else 0,
            }
        }

    def _forget(self) -> None:
        self.symbols = set(SYMBOLS)
        self.moments.clear()


def _listed(name: str) -> Symbol:
    """A symbol with its digits and its price, which are those of the same one at Binance."""
    return next((symbol for symbol in USDM_SYMBOLS if symbol.name == name), unlisted(name))


def _json_body(call: Call) -> dict[str, Any]:
    """The body, numbers as the text they were sent as."""
    if not call.body:
        return {}
    try:
        body = json.loads(call.body, parse_float=str, parse_int=str)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise refuse(400, "Request body is not a JSON object")
    return body


def _need(params: Fields, name: str) -> str:
    value = params.get(name)
    if value is None or value == "":
        raise refuse(422, f"Input {name} is missing")
    return str(value)


def _need_exchange(params: Fields) -> None:
    if _need(params, "exchange") != EXCHANGE:
        raise refuse(422, "Input exchange is invalid")


def _need_amount(params: Fields, name: str) -> str:
    text = _need(params, name)
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or number <= 0:
        raise refuse(422, f"Input {name} is invalid")
    return format(number, "f")


def _whole(params: Fields, name: str) -> int | None:
    value = params.get(name)
    if value is None or value == "":
        return None
    text = str(value)
    if not (text.isascii() and text.isdigit()):
        raise refuse(422, f"Input {name} is invalid")
    return int(text)
