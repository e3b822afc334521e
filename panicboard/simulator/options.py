"""Options (`/eapi`): one book of LIMIT orders, and a countdown for each underlying that locks when it fires.

A countdown is set once and kept alive by heartbeats; only market makers have it. After it fired, orders
are gone and new ones are refused (-2010) until a heartbeat or countdownTime 0.
https://developers.binance.com/docs/derivatives/options-trading/trade
https://developers.binance.com/docs/derivatives/options-trading/market-maker-endpoints
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from panicboard.simulator.accounts import OPTIONS, Account
from panicboard.simulator.api import Call, Params, Refusal, Reply, Route, encode
from panicboard.simulator.binance_common import (
    BinanceApi,
    id_list,
    integer,
    json_list,
    need,
    need_integer,
    need_one,
    refuse,
    within,
)
from panicboard.simulator.book import Order
from panicboard.simulator.limits import ORDERS_PER_MINUTE
from panicboard.simulator.options_orders import OLD_STATUSES, check_order, order_json
from panicboard.simulator.seeding import Ids, seeded_order
from panicboard.simulator.symbols import (
    OptionSymbol,
    listed_options,
    option_contract,
    option_mark,
    parse_option,
)

if TYPE_CHECKING:
    from panicboard.simulator.world import World

BOOK = "ordinary"
BATCH = 10
HISTORY_MS = 5 * 86_400_000
FIRST_ORDER_ID = 4_611_875_134_427_365_377  # above 2**53, as the venue's own

Scope = tuple[str, str]  # account, underlying


def _listing_weight(params: Params) -> int:
    return 1 if params.get("symbol") else 40


class OptionsApi(BinanceApi):
    """The options API."""

    venue = OPTIONS
    prefix = "/eapi/"
    pool = "eapi"
    books = (BOOK,)
    recv_window_error = (-1131, "recvWindow must be less than 60000")
    # This number means too many requests here, and something else on the other Binance APIs.
    too_many_requests = (
        -1008,
        "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use the websocket for live updates to avoid polling the API.",
    )
    banned = (
        -1008,
        "Way too much request weight used; IP banned until {until}. "
        "Please use the websocket for live updates to avoid bans.",
    )

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self.symbols: dict[str, OptionSymbol] = {}
        self.underlyings: set[str] = set()
        self.countdowns: dict[Scope, int] = {}
        self.locked: set[Scope] = set()
        self._mmp: dict[Scope, dict[str, Any]] = {}
        self._ids = Ids(FIRST_ORDER_ID)
        self._symbols_json = b""
        self._forget()
        world.on_reset.append(self._forget)

    def make_routes(self) -> list[Route]:
        """Every call this API answers."""
        return [
            Route("GET", "/eapi/v1/ping", self.ping, security="none"),
            Route("GET", "/eapi/v1/time", self.time, security="none"),
            Route("GET", "/eapi/v1/exchangeInfo", self.exchange_info, security="none"),
            Route("GET", "/eapi/v1/mark", self.mark_prices, 5, security="none"),
            Route("GET", "/eapi/v1/openOrders", self.open_orders, _listing_weight),
            Route("GET", "/eapi/v1/order", self.query_order),
            Route("GET", "/eapi/v1/historyOrders", self.history, 3),
            Route("POST", "/eapi/v1/order", self.place, 0),
            Route("POST", "/eapi/v1/batchOrders", self.place_batch, 5),
            Route("DELETE", "/eapi/v1/order", self.cancel),
            Route("DELETE", "/eapi/v1/batchOrders", self.cancel_batch, 5),
            Route("DELETE", "/eapi/v1/allOpenOrders", self.cancel_all),
            Route("DELETE", "/eapi/v1/allOpenOrdersByUnderlying", self.cancel_underlying, 5),
            Route("POST", "/eapi/v1/countdownCancelAll", self.set_countdown),
            Route("GET", "/eapi/v1/countdownCancelAll", self.read_countdown),
            Route("POST", "/eapi/v1/countdownCancelAllHeartBeat", self.heartbeat, 10),
            Route("POST", "/eapi/v1/mmpSet", self.set_protection),
            Route("GET", "/eapi/v1/mmp", self.read_protection),
            Route("POST", "/eapi/v1/mmpReset", self.reset_protection),
            Route("GET", "/eapi/v1/marginAccount", self.margin_account, 3),
            Route("GET", "/eapi/v1/position", self.positions, 5),
            Route("POST", "/eapi/v1/listenKey", self.listen_key, security="key"),
            Route("PUT", "/eapi/v1/listenKey", self.listen_key, security="key"),
            Route("DELETE", "/eapi/v1/listenKey", self.end_listen_key, security="key"),
        ]

    # Calls without a key.

    def ping(self, call: Call, params: Params) -> dict[str, int]:
        """GET ping, weight 1."""
        return {}

    def time(self, call: Call, params: Params) -> dict[str, int]:
        """GET time, weight 1."""
        return {"serverTime": call.now_ms}

    def exchange_info(self, call: Call, params: Params) -> bytes:
        """GET exchangeInfo, weight 1."""
        if not self._symbols_json:
            self._symbols_json = encode([option_contract(symbol) for symbol in self.symbols.values()])
        limit = self.world.limits.limits[self.pool] or 2400
        head = {
            "timezone": "UTC",
            "serverTime": call.now_ms,
            "optionContracts": [
                {
                    "baseAsset": underlying.removesuffix("USDT"),
                    "quoteAsset": "USDT",
                    "underlying": underlying,
                    "settleAsset": "USDT",
                }
                for underlying in sorted(self.underlyings)
            ],
            "optionAssets": [{"name": "USDT"}],
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit},
                {
                    "rateLimitType": "ORDERS",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": ORDERS_PER_MINUTE,
                },
            ],
        }
        return encode(head)[:-1] + b',"optionSymbols":' + self._symbols_json + b"}"

    def mark_prices(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET mark, weight 5: a list, of one symbol or of all."""
        today = datetime.fromtimestamp(call.now_ms / 1000, UTC).date()
        names = [self._known_symbol(params)] if params.get("symbol") else list(self.symbols)
        return [option_mark(self.symbols[name], today) for name in names]

    # Orders.

    def open_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET openOrders, weight 1 with a symbol, 40 without."""
        symbol = self._known_symbol(params) if params.get("symbol") else None
        first_id, start, end = (integer(params, name) for name in ("orderId", "startTime", "endTime"))
        return [
            order_json(order, self._status(order))
            for order in self.world.reach(call.owner, BOOK, symbol)
            if within(order, start, end) and (first_id is None or int(order.order_id) >= first_id)
        ]

    def query_order(self, call: Call, params: Params) -> dict[str, Any]:
        """GET order, weight 1."""
        order = self._find(call, params)
        return order_json(order, self._status(order))

    def history(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET historyOrders, weight 3: finished orders of the last 5 days."""
        symbol = self._known_symbol(params)
        first_id, start, end = (integer(params, name) for name in ("orderId", "startTime", "endTime"))
        limit = integer(params, "limit") or 100
        orders = [
            order_json(order, self._status(order))
            for order in self.world.history(call.owner, BOOK, symbol)
            if not order.is_open
            and order.updated_ms >= call.now_ms - HISTORY_MS
            and within(order, start, end)
            and (first_id is None or int(order.order_id) >= first_id)
        ]
        return orders[-limit:]

    def place(self, call: Call, params: Params) -> Reply:
        """POST order, weight 0, one of the order count."""
        headers = self.count_orders(call, 1)
        return Reply(200, encode(self._place(call, params)), headers)

    def place_batch(self, call: Call, params: Params) -> Reply:
        """POST batchOrders, weight 5: at most 10; an order that fails has its error in its place."""
        wanted = json_list(params, "orders")
        if len(wanted) > BATCH:
            raise refuse(-6011, "Exceed the maximum number of orders of a batch: 10.")
        headers = self.count_orders(call, len(wanted))
        answers: list[object] = []
        for item in wanted:
            try:
                answers.append(self._place(call, item))
            except Refusal as refusal:
                answers.append(refusal.payload)
        return Reply(200, encode(answers), headers)

    def cancel(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE order, weight 1; the reply still shows the status from before the cancel."""
        return self._cancel(self._find(call, params), created="createDate")

    def cancel_batch(self, call: Call, params: Params) -> list[object]:
        """DELETE batchOrders, weight 5: at most 10 by one of the two id lists, statuses from before.

        The venue's pages disagree on sending both lists, and do not say what an unknown id gets: the
        switches `options_both_lists` and `options_missing` choose.
        """
        symbol = self._known_symbol(params)
        ids = id_list(params, "orderIds", numeric=True)
        client_ids = id_list(params, "clientOrderIds", numeric=False)
        if not ids and not client_ids:
            need_one({}, "orderIds", "clientOrderIds")
        if ids and client_ids and self.world.switches.options_both_lists == "strict":
            raise refuse(-1128, "Combination of optional parameters invalid.")
        if len(ids) > BATCH or len(client_ids) > BATCH:
            raise refuse(-6011, "Exceed the maximum number of orders of a batch: 10.")
        find = self.world.books.find
        found = [find(call.owner, BOOK, symbol, wanted) for wanted in ids]
        found += [find(call.owner, BOOK, symbol, client_order_id=wanted) for wanted in client_ids]
        how = self.world.switches.options_missing
        answers: list[object] = []
        for order in dict.fromkeys(found) if ids and client_ids else found:
            try:
                if order is None:
                    raise refuse(-2013, "Order does not exist.")
                answers.append(self._cancel(order))
            except Refusal as refusal:
                if how == "error":
                    raise
                if how == "item":
                    answers.append(refusal.payload)
        return answers

    def cancel_all(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE allOpenOrders, weight 1: one symbol; `code` is a string here."""
        for order in self.world.reach(call.owner, BOOK, self._known_symbol(params)):
            self.world.cancel(order)
        return {"code": "0", "msg": "success"}

    def cancel_underlying(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE allOpenOrdersByUnderlying, weight 5."""
        for order in self._open_on(call.owner, self._known_underlying(params)):
            self.world.cancel(order)
        return {"code": 0, "msg": "success"}

    # The countdown.

    def set_countdown(self, call: Call, params: Params) -> dict[str, Any]:
        """POST countdownCancelAll, weight 1: 0 turns it off (and unlocks), else at least 5000 ms."""
        self._need_market_maker(call)
        underlying = self._known_underlying(params)
        countdown_ms = need_integer(params, "countdownTime")
        if countdown_ms != 0 and countdown_ms < self.world.switches.options_shortest_countdown_ms:
            raise refuse(-6009, "Countdown time must be no less than 5000 or equal to 0.")
        scope = (call.owner, underlying)
        if countdown_ms:
            self.countdowns[scope] = countdown_ms
            self._start(scope)
        else:
            self.countdowns.pop(scope, None)
            self.locked.discard(scope)
            self.world.timers.clear(("countdown", *scope))
        return {"underlying": underlying, "countdownTime": countdown_ms}

    def read_countdown(self, call: Call, params: Params) -> object:
        """GET countdownCancelAll, weight 1: one object for one countdown, a list for none or several.

        The venue documents the one object only; what it sends for several is not published.
        """
        self._need_market_maker(call)
        wanted = self._known_underlying(params) if params.get("underlying") else None
        found = [
            {"underlying": underlying, "countdownTime": countdown_ms}
            for (account, underlying), countdown_ms in self.countdowns.items()
            if account == call.owner and wanted in (None, underlying)
        ]
        return found[0] if len(found) == 1 else found

    def heartbeat(self, call: Call, params: Params) -> dict[str, list[str]]:
        """POST countdownCancelAllHeartBeat, weight 10: names only the underlyings it really restarted."""
        self._need_market_maker(call)
        restarted = []
        for underlying in need(params, "underlyings").split(","):
            scope = (call.owner, underlying.strip())
            if scope in self.countdowns:
                self.locked.discard(scope)
                self._start(scope)
                restarted.append(scope[1])
        return {"underlyings": restarted}

    # Market maker protection: a thing apart from the countdown.

    def set_protection(self, call: Call, params: Params) -> dict[str, Any]:
        """POST mmpSet, weight 1."""
        self._need_market_maker(call)
        underlying = self._known_underlying(params)
        config = {
            "underlyingId": 2,
            "underlying": underlying,
            "windowTimeInMilliseconds": need_integer(params, "windowTimeInMilliseconds"),
            "frozenTimeInMilliseconds": need_integer(params, "frozenTimeInMilliseconds"),
            "qtyLimit": need(params, "qtyLimit"),
            "deltaLimit": need(params, "deltaLimit"),
            "lastTriggerTime": 0,
        }
        self._mmp[call.owner, underlying] = config
        return config

    def read_protection(self, call: Call, params: Params) -> dict[str, Any]:
        """GET mmp, weight 1."""
        self._need_market_maker(call)
        return self._mmp.get((call.owner, self._known_underlying(params)), {})

    def reset_protection(self, call: Call, params: Params) -> dict[str, Any]:
        """POST mmpReset, weight 1."""
        return self.read_protection(call, params)

    # The account.

    def margin_account(self, call: Call, params: Params) -> dict[str, Any]:
        """GET marginAccount, weight 3."""
        funds = "1000000.00000000"
        return {
            "asset": [
                {
                    "asset": "USDT",
                    "marginBalance": funds,
                    "equity": funds,
                    "available": funds,
                    "initialMargin": "0",
                    "maintMargin": "0",
                    "unrealizedPNL": "0",
                    "adjustedEquity": funds,
                }
            ],
            "greek": [
                {"underlying": "BTCUSDT", "delta": "0", "gamma": "0", "theta": "0", "vega": "0"},
            ],
            "time": call.now_ms,
            "canTrade": call.account is not None and call.account.can_trade,
            "canDeposit": True,
            "canWithdraw": True,
            "reduceOnly": False,
            "tradeGroupId": -1,
        }

    def positions(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET position, weight 5: positions are not simulated here."""
        return []

    def listen_key(self, call: Call, params: Params) -> dict[str, str]:
        """POST and PUT listenKey, weight 1: a key, though no stream answers to it."""
        return {"listenKey": hashlib.sha256(f"listen {call.owner}".encode()).hexdigest()}

    def end_listen_key(self, call: Call, params: Params) -> dict[str, str]:
        """DELETE listenKey, weight 1."""
        return {}

    # What the control plane asks.

    def seed(self, account: Account, book: str, fields: Mapping[str, Any]) -> Order:
        """Put one open order on the book; see `Api.seed`."""
        if book != BOOK:
            raise ValueError(f"{self.venue} has no book {book!r}")
        symbol = self._list(str(fields["symbol"]))
        order = seeded_order(
            account.name,
            BOOK,
            fields,
            order_id=self._ids.next(""),
            client_order_id=f"sim-{next(self.world.serial)}",
            now_ms=self.world.now_ms(),
            price="100",
            quantity="0.10",
        )
        order.extra["underlying"] = symbol.underlying
        return self.world.books.add(order)

    # Inner workings.

    def _forget(self) -> None:
        self.symbols.clear()
        self.underlyings.clear()
        self.countdowns.clear()
        self.locked.clear()
        self._mmp.clear()
        for symbol in listed_options(datetime.now(UTC).date()):
            self.symbols[symbol.name] = symbol
            self.underlyings.add(symbol.underlying)
        self._symbols_json = b""

    def _list(self, name: str) -> OptionSymbol:
        symbol = self.symbols.get(name)
        if symbol is None:
            symbol = self.symbols[name] = parse_option(name)
            self.underlyings.add(symbol.underlying)
            self._symbols_json = b""
        return symbol

    def _known_symbol(self, params: Params) -> str:
        name = need(params, "symbol")
        if name not in self.symbols:
            raise refuse(-1121, "Invalid symbol.")
        return name

    def _known_underlying(self, params: Params) -> str:
        name = need(params, "underlying")
        if name not in self.underlyings:
            raise refuse(-1128, "Invalid underlying.")
        return name

    def _need_market_maker(self, call: Call) -> None:
        if call.account is None or not call.account.market_maker:
            raise refuse(-6005, "This account is not a market maker.")

    def _find(self, call: Call, params: Params) -> Order:
        symbol = self._known_symbol(params)
        _, client_id = need_one(params, "orderId", "clientOrderId")
        wanted = integer(params, "orderId")
        order_id = None if wanted is None else str(wanted)
        order = self.world.books.find(call.owner, BOOK, symbol, order_id, client_id)
        if order is None:
            raise refuse(-2013, "Order does not exist.")
        return order

    def _open_on(self, account: str, underlying: str) -> list[Order]:
        return [order for order in self.world.reach(account, BOOK) if order.extra["underlying"] == underlying]

    def _status(self, order: Order) -> str:
        status = self.world.status(order)
        return OLD_STATUSES.get(status, status) if self.world.switches.options_generation == "old" else status

    def _place(self, call: Call, params: Params) -> dict[str, Any]:
        symbol = self.symbols[self._known_symbol(params)]
        fields = check_order(params)
        if (call.owner, symbol.underlying) in self.locked:
            raise refuse(-2010, "New order rejected: the countdown of this underlying has fired.")
        client_id = fields["client_order_id"]
        if client_id:
            known = self.world.books.find(call.owner, BOOK, symbol.name, client_order_id=client_id)
            if known is not None and known.is_open:
                raise refuse(-1130, "Data sent for parameter 'clientOrderId' is not valid.")
        fields["extra"]["underlying"] = symbol.underlying
        order = self.world.books.add(
            Order(
                call.owner,
                BOOK,
                symbol.name,
                self._ids.next(""),
                created_ms=call.now_ms,
                updated_ms=call.now_ms,
                **fields,
            )
        )
        answer = order_json(order, self._status(order))
        if order.time_in_force in ("IOC", "FOK"):  # nobody is there to trade with
            self.world.books.finish(order, "CANCELED", call.now_ms)
        return answer

    def _cancel(self, order: Order, *, created: str = "createTime") -> dict[str, Any]:
        if not order.is_open:
            raise refuse(-6028, "Order is already in a final state.")
        before = order_json(order, self._status(order), created=created)
        if not self.world.cancel(order):
            raise refuse(-6028, "Order is already in a final state.")
        return before

    def _start(self, scope: Scope) -> None:
        self.world.timers.set(("countdown", *scope), self.countdowns[scope], lambda: self._fire(scope))

    def _fire(self, scope: Scope) -> None:
        self.locked.add(scope)
        self.world.fire(*scope, self._open_on(*scope))
