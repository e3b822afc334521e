"""USD-M futures (`/fapi`): the ordinary book, the algo book, and one countdown for each symbol.

Conditional orders lie in a book of their own since 2025-12-09: ordinary calls do not see them, and the
countdown does not touch them (the venue does not say; `usdm_countdown_takes_algo` switches that).
https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from panicboard.simulator.accounts import USDM, Account
from panicboard.simulator.api import Call, Params, Refusal, Reply, Route, encode
from panicboard.simulator.binance_common import (
    BinanceApi,
    id_list,
    integer,
    json_list,
    missing,
    need,
    need_integer,
    need_one,
    refuse,
    within,
)
from panicboard.simulator.book import Order
from panicboard.simulator.seeding import Ids, seeded_order
from panicboard.simulator.symbols import USDM_SYMBOLS, Symbol, mark_json, unlisted, usdm_contract
from panicboard.simulator.usdm_account import ORDER_LIMITS, AccountCalls
from panicboard.simulator.usdm_orders import (
    ALGO_TYPES,
    ack_json,
    algo_json,
    amount,
    check_algo_order,
    check_client_id,
    check_order,
    query_json,
    side_of,
)

if TYPE_CHECKING:
    from panicboard.simulator.world import World

ORDINARY = "ordinary"
ALGO = "algo"
MAX_ALGO_ORDERS = 200
CANCEL_BATCH = 10
PLACE_BATCH = 5
WEEK_MS = 7 * 86_400_000
ALL_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}


def _listing_weight(params: Params) -> int:
    return 1 if params.get("symbol") else 40


def _mark_weight(params: Params) -> int:
    return 1 if params.get("symbol") else 10


class UsdmApi(BinanceApi):
    """The USD-M futures API."""

    venue = USDM
    prefix = "/fapi/"
    pool = "fapi"
    books = (ORDINARY, ALGO)

    def __init__(self, world: "World") -> None:
        self.symbols: dict[str, Symbol] = {}
        self._symbols_json = b""
        super().__init__(world)
        self._order_ids = Ids(8_389_765_000, spread=1_000_000_000)
        self._algo_ids = Ids(3_000_000_146_760)
        self._forget()
        world.on_reset.append(self._forget)

    def make_routes(self) -> list[Route]:
        """Every call this API answers."""
        account = AccountCalls(self.world, self.symbols)
        return [
            Route("GET", "/fapi/v1/ping", self.ping, security="none"),
            Route("GET", "/fapi/v1/time", self.time, security="none"),
            Route("GET", "/fapi/v1/exchangeInfo", self.exchange_info, security="none"),
            Route("GET", "/fapi/v1/premiumIndex", self.mark_price, _mark_weight, security="none"),
            Route("GET", "/fapi/v1/openOrders", self.open_orders, _listing_weight),
            Route("GET", "/fapi/v1/openOrder", self.open_order),
            Route("GET", "/fapi/v1/order", self.query_order),
            Route("GET", "/fapi/v1/allOrders", self.all_orders, 5),
            Route("POST", "/fapi/v1/order", self.place, 0),
            Route("POST", "/fapi/v1/batchOrders", self.place_batch, 5),
            Route("PUT", "/fapi/v1/order", self.modify, 0),
            Route("DELETE", "/fapi/v1/order", self.cancel),
            Route("DELETE", "/fapi/v1/batchOrders", self.cancel_batch),
            Route("DELETE", "/fapi/v1/allOpenOrders", self.cancel_all),
            Route("POST", "/fapi/v1/countdownCancelAll", self.countdown, 10),
            Route("POST", "/fapi/v1/algoOrder", self.place_algo, 0),
            Route("GET", "/fapi/v1/algoOrder", self.query_algo),
            Route("DELETE", "/fapi/v1/algoOrder", self.cancel_algo),
            Route("GET", "/fapi/v1/openAlgoOrders", self.open_algo_orders, _listing_weight),
            Route("GET", "/fapi/v1/allAlgoOrders", self.all_algo_orders, 5),
            Route("DELETE", "/fapi/v1/algoOpenOrders", self.cancel_all_algo),
            Route("GET", "/fapi/v1/accountConfig", account.account_config, 5),
            Route("GET", "/fapi/v2/account", account.account_v2, 5),
            Route("GET", "/fapi/v3/account", account.account_v3, 5),
            Route("GET", "/fapi/v2/balance", account.balance, 5),
            Route("GET", "/fapi/v3/balance", account.balance, 5),
            Route("GET", "/fapi/v2/positionRisk", account.positions, 5),
            Route("GET", "/fapi/v3/positionRisk", account.positions, 5),
            Route("GET", "/fapi/v1/leverageBracket", account.brackets),
            Route("GET", "/fapi/v1/positionSide/dual", account.position_mode, 30),
            Route("GET", "/fapi/v1/multiAssetsMargin", account.multi_assets, 30),
            Route("GET", "/fapi/v1/rateLimit/order", account.order_limits),
            Route("POST", "/fapi/v1/listenKey", account.listen_key, security="key"),
            Route("PUT", "/fapi/v1/listenKey", account.listen_key, security="key"),
            Route("DELETE", "/fapi/v1/listenKey", account.end_listen_key, security="key"),
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
            self._symbols_json = encode([usdm_contract(symbol) for symbol in self.symbols.values()])
        limit = self.world.limits.limits[self.pool] or 2400
        head = {
            "timezone": "UTC",
            "serverTime": call.now_ms,
            "futuresType": "U_MARGINED",
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit},
                *ORDER_LIMITS,
            ],
            "exchangeFilters": [],
            "assets": [
                {"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"}
                for asset in ("USDT", "USDC", "BTC", "ETH", "BNB")
            ],
        }
        return encode(head)[:-1] + b',"symbols":' + self._symbols_json + b"}"

    def mark_price(self, call: Call, params: Params) -> object:
        """GET premiumIndex, weight 1 with a symbol, 10 without: one object, or a list of all."""
        if params.get("symbol"):
            return mark_json(self.symbols[self._known_symbol(params)], call.now_ms)
        return [mark_json(symbol, call.now_ms) for symbol in self.symbols.values()]

    # The ordinary book.

    def open_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET openOrders, weight 1 with a symbol, 40 without."""
        symbol = self._known_symbol(params) if params.get("symbol") else None
        orders = self.world.reach(call.owner, ORDINARY, symbol)
        return [query_json(order, self.world.status(order)) for order in orders]

    def open_order(self, call: Call, params: Params) -> dict[str, Any]:
        """GET openOrder, weight 1; a finished order does not exist for it."""
        order = self._find(call, params, -2013)
        if not order.is_open:
            raise refuse(-2013, "Order does not exist.")
        return query_json(order, self.world.status(order))

    def query_order(self, call: Call, params: Params) -> dict[str, Any]:
        """GET order, weight 1."""
        order = self._find(call, params, -2013)
        return query_json(order, self.world.status(order))

    def all_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET allOrders, weight 5."""
        orders = self._history(call, params, ORDINARY, "orderId")
        return [query_json(order, self.world.status(order)) for order in orders]

    def place(self, call: Call, params: Params) -> Reply:
        """POST order, weight 0, one of the order counts."""
        headers = self.count_orders(call, 1)
        return Reply(200, encode(self._place(call, params)), headers)

    def place_batch(self, call: Call, params: Params) -> Reply:
        """POST batchOrders, weight 5: at most 5; an order that fails has its error in its place."""
        wanted = json_list(params, "batchOrders")
        if not 0 < len(wanted) <= PLACE_BATCH:
            raise refuse(-4082, "Invalid number of batch place orders.")
        headers = self.count_orders(call, 5)
        answers: list[object] = []
        for item in wanted:
            try:
                answers.append(self._place(call, item))
            except Refusal as refusal:
                answers.append(refusal.payload)
        return Reply(200, encode(answers), headers)

    def modify(self, call: Call, params: Params) -> Reply:
        """PUT order, weight 0: new price and quantity for an open LIMIT order."""
        order = self._find(call, params, -2013)
        symbol = self.symbols[order.symbol]
        side_of(params)
        quantity = amount(params, "quantity", symbol.quantity_digits)
        price = amount(params, "price", symbol.price_digits)
        headers = self.count_orders(call, 1)
        if not order.is_open:
            raise refuse(-2013, "Order does not exist.")
        if (quantity, price) == (order.quantity, order.price):
            raise refuse(-5027, "No need to modify the order.")
        order.quantity, order.price, order.updated_ms = quantity, price, call.now_ms
        return Reply(200, encode(ack_json(order, self.world.status(order))), headers)

    def cancel(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE order, weight 1."""
        return self._cancel(self._find(call, params, -2011))

    def cancel_batch(self, call: Call, params: Params) -> list[object]:
        """DELETE batchOrders, weight 1: at most 10; an order not on the book has -2011 in its place."""
        symbol = self._known_symbol(params)
        ids = id_list(params, "orderIdList", numeric=True)
        client_ids = id_list(params, "origClientOrderIdList", numeric=False)
        if not ids and not client_ids:
            raise refuse(
                -1102,
                "Param 'orderIdList' or 'origClientOrderIdList' must be sent, but both were empty/null!",
            )
        if len(ids) > CANCEL_BATCH or len(client_ids) > CANCEL_BATCH:
            raise refuse(-4032, "Exceed maximum cancel order size.")
        find = self.world.books.find
        found = [find(call.owner, ORDINARY, symbol, wanted) for wanted in ids] or [
            find(call.owner, ORDINARY, symbol, client_order_id=wanted) for wanted in client_ids
        ]
        answers: list[object] = []
        for order in found:
            try:
                answers.append(self._cancel(order))
            except Refusal as refusal:
                answers.append(refusal.payload)
        return answers

    def cancel_all(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE allOpenOrders, weight 1: one symbol's ordinary orders; done even when there are none."""
        for order in self.world.reach(call.owner, ORDINARY, self._known_symbol(params)):
            self.world.cancel(order)
        return ALL_CANCELLED

    def countdown(self, call: Call, params: Params) -> dict[str, str]:
        """POST countdownCancelAll, weight 10: one timer for each symbol; a repeat replaces it, 0 stops it."""
        symbol = self._known_symbol(params)
        countdown_ms = need_integer(params, "countdownTime")
        if countdown_ms < 0:
            raise refuse(-1130, "Data sent for parameter 'countdownTime' is not valid.")
        account, key = call.owner, ("countdown", call.owner, symbol)
        if countdown_ms:
            self.world.timers.set(key, countdown_ms, lambda: self._fire(account, symbol))
        else:
            self.world.timers.clear(key)
        return {"symbol": symbol, "countdownTime": str(countdown_ms)}

    # The algo book.

    def place_algo(self, call: Call, params: Params) -> Reply:
        """POST algoOrder, weight 0, one of the order counts."""
        if need(params, "algoType") != "CONDITIONAL":
            raise refuse(-1130, "Data sent for parameter 'algoType' is not valid.")
        symbol = self.symbols[self._known_symbol(params)]
        headers = self.count_orders(call, 1)
        fields = check_algo_order(params, symbol)
        client_id = self._new_client_id(call.owner, ALGO, params.get("clientAlgoId"), symbol.name)
        if self.world.books.shelf(call.owner, ALGO).open_count >= MAX_ALGO_ORDERS:
            raise refuse(-4045, "Reach max stop order limit.")
        order = self._add(call.owner, ALGO, fields, client_id, call.now_ms)
        self._expire_at(order, integer(params, "goodTillDate"), call.now_ms)
        return Reply(200, encode(algo_json(order, "NEW")), headers)

    def query_algo(self, call: Call, params: Params) -> dict[str, Any]:
        """GET algoOrder, weight 1, no symbol."""
        order = self._find_algo(call, params, -2013)
        return algo_json(order, self._algo_status(order))

    def cancel_algo(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE algoOrder, weight 1, no symbol; `code` is a string here."""
        order = self._find_algo(call, params, -2011)
        if order.status == "TRIGGERING":
            raise refuse(-4117, "Stop order is being triggered, please try again later.")
        if not order.is_open or not self.world.cancel(order):
            raise refuse(-2011, "Unknown order sent.")
        return {
            "algoId": int(order.order_id),
            "clientAlgoId": order.client_order_id,
            "code": "200",
            "msg": "success",
        }

    def open_algo_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET openAlgoOrders, weight 1 with a symbol, 40 without."""
        if params.get("algoType") not in (None, "", "CONDITIONAL"):
            raise refuse(-1130, "Data sent for parameter 'algoType' is not valid.")
        symbol = self._known_symbol(params) if params.get("symbol") else None
        wanted = integer(params, "algoId")
        return [
            algo_json(order, self._algo_status(order))
            for order in self.world.reach(call.owner, ALGO, symbol)
            if wanted is None or order.order_id == str(wanted)
        ]

    def all_algo_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET allAlgoOrders, weight 5."""
        orders = self._history(call, params, ALGO, "algoId")
        return [algo_json(order, self._algo_status(order)) for order in orders]

    def cancel_all_algo(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE algoOpenOrders, weight 1: one symbol's conditional orders; one being triggered stays."""
        for order in self.world.reach(call.owner, ALGO, self._known_symbol(params)):
            if order.status != "TRIGGERING":
                self.world.cancel(order)
        return ALL_CANCELLED

    # What the control plane asks.

    def seed(self, account: Account, book: str, fields: Mapping[str, Any]) -> Order:
        """Put one open order on a book; see `Api.seed`."""
        if book not in self.books:
            raise ValueError(f"{self.venue} has no book {book!r}")
        symbol = self._list(str(fields["symbol"]))
        ids = self._order_ids if book == ORDINARY else self._algo_ids
        conditional: dict[str, Any] = {}
        if book == ALGO:
            conditional = {"type": "STOP_MARKET", "stop_price": symbol.price, "price": "0"}
        order = seeded_order(
            account.name,
            book,
            fields,
            order_id=ids.next(symbol.name if book == ORDINARY else ""),
            client_order_id=f"sim-{next(self.world.serial)}",
            now_ms=self.world.now_ms(),
            **{"price": symbol.price, "quantity": "1", **conditional},
        )
        if (order.type in ALGO_TYPES) != (book == ALGO):
            raise ValueError(f"{order.type} orders do not lie in the {book} book")
        return self.world.books.add(order)

    def trigger(self, order: Order) -> Order:
        """Move a conditional order to the ordinary book, where it rests under the same client id."""
        if order.book != ALGO:
            raise ValueError(f"{order.book} orders do not trigger")
        now = self.world.now_ms()
        fields = {
            "symbol": order.symbol,
            "side": order.side,
            "type": "LIMIT" if order.type in ("STOP", "TAKE_PROFIT") else "MARKET",
            "quantity": order.quantity,
            "price": order.price,
            "stop_price": order.stop_price,
            "time_in_force": order.time_in_force,
            "reduce_only": order.reduce_only,
            "extra": {**order.extra, "orig_type": order.type},
        }
        ordinary = self._add(order.account, ORDINARY, fields, order.client_order_id, now)
        order.extra.update(actual_order_id=ordinary.order_id, actual_price=order.price, trigger_ms=now)
        self.world.books.finish(order, "TRIGGERED", now)
        return ordinary

    # Inner workings.

    def _forget(self) -> None:
        self.symbols.clear()
        self.symbols.update((symbol.name, symbol) for symbol in USDM_SYMBOLS)
        self._symbols_json = b""

    def _list(self, name: str) -> Symbol:
        symbol = self.symbols.get(name)
        if symbol is None:
            symbol = self.symbols[name] = unlisted(name)
            self._symbols_json = b""
        return symbol

    def _known_symbol(self, params: Params) -> str:
        name = need(params, "symbol")
        if name not in self.symbols:
            raise refuse(-1121, "Invalid symbol.")
        return name

    def _find(self, call: Call, params: Params, code: int) -> Order:
        symbol = self._known_symbol(params)
        _, client_id = need_one(params, "orderId", "origClientOrderId")
        wanted = integer(params, "orderId")
        order_id = None if wanted is None else str(wanted)
        order = self.world.books.find(call.owner, ORDINARY, symbol, order_id, client_id)
        if order is None:
            raise refuse(code, "Unknown order sent." if code == -2011 else "Order does not exist.")
        return order

    def _find_algo(self, call: Call, params: Params, code: int) -> Order:
        _, client_id = need_one(params, "algoId", "clientAlgoId")
        wanted = integer(params, "algoId")
        order_id = None if wanted is None else str(wanted)
        order = self.world.books.find(call.owner, ALGO, None, order_id, client_id)
        if order is None:
            raise refuse(code, "Unknown order sent." if code == -2011 else "Order does not exist.")
        return order

    def _history(self, call: Call, params: Params, book: str, id_name: str) -> list[Order]:
        symbol = self._known_symbol(params)
        first_id, start, end = (integer(params, name) for name in (id_name, "startTime", "endTime"))
        limit = integer(params, "limit") or 500
        if not 0 < limit <= 1000:
            raise refuse(-1130, "Data sent for parameter 'limit' is not valid.")
        if start is not None and end is not None and end - start > WEEK_MS:
            raise refuse(-4165, "Maximum time interval is 7 days.")
        orders = [
            order
            for order in self.world.history(call.owner, book, symbol)
            if within(order, start, end) and (first_id is None or int(order.order_id) >= first_id)
        ]
        return orders[:limit] if first_id is not None or start is not None else orders[-limit:]

    def _place(self, call: Call, params: Params) -> dict[str, Any]:
        symbol = self.symbols[self._known_symbol(params)]
        fields = check_order(params, symbol)
        client_id = self._new_client_id(call.owner, ORDINARY, params.get("newClientOrderId"), symbol.name)
        good_till_ms = integer(params, "goodTillDate")
        if fields.get("time_in_force") == "GTD" and good_till_ms is None:
            raise missing("goodTillDate")
        order = self._add(call.owner, ORDINARY, fields, client_id, call.now_ms)
        answer = ack_json(order, "NEW")
        if order.type == "MARKET":
            order.extra["fill_price"] = symbol.price
            self.world.books.fill(order, call.now_ms)
        elif order.time_in_force in ("IOC", "FOK"):  # nobody is there to trade with
            self.world.books.finish(order, "EXPIRED", call.now_ms)
        self._expire_at(order, good_till_ms, call.now_ms)
        return ack_json(order, order.status) if params.get("newOrderRespType") == "RESULT" else answer

    def _new_client_id(self, account: str, book: str, wanted: str | None, symbol: str) -> str:
        if not wanted:
            return f"web_{next(self.world.serial):018d}"
        check_client_id(wanted)
        known = self.world.books.find(account, book, symbol, client_order_id=wanted)
        if known is not None and known.is_open:
            raise refuse(-4116, "ClientOrderId is duplicated.")
        return wanted

    def _add(
        self, account: str, book: str, fields: Mapping[str, Any], client_order_id: str, now_ms: int
    ) -> Order:
        ids = self._order_ids if book == ORDINARY else self._algo_ids
        order = Order(
            account,
            book,
            order_id=ids.next(fields["symbol"] if book == ORDINARY else ""),
            client_order_id=client_order_id,
            created_ms=now_ms,
            updated_ms=now_ms,
            **fields,
        )
        return self.world.books.add(order)

    def _expire_at(self, order: Order, good_till_ms: int | None, now_ms: int) -> None:
        if good_till_ms is None or order.time_in_force != "GTD" or not order.is_open:
            return
        order.extra["good_till_ms"] = good_till_ms
        finish = self.world.books.finish
        self.world.timers.set(
            ("good till", order.account, order.book, order.symbol, order.order_id),
            max(0, good_till_ms - now_ms),
            lambda: finish(order, "EXPIRED", good_till_ms),
        )

    def _cancel(self, order: Order | None) -> dict[str, Any]:
        if order is None or not order.is_open or not self.world.cancel(order):
            raise refuse(-2011, "Unknown order sent.")
        return ack_json(order, "CANCELED")

    def _fire(self, account: str, symbol: str) -> None:
        orders = self.world.reach(account, ORDINARY, symbol)
        if self.world.switches.usdm_countdown_takes_algo:
            conditional = self.world.reach(account, ALGO, symbol)
            orders += [order for order in conditional if order.status != "TRIGGERING"]
        self.world.fire(account, symbol, orders)

    def _algo_status(self, order: Order) -> str:
        """TRIGGERED becomes FINISHED once the ordinary order it became is done."""
        if order.status == "TRIGGERED":
            became = self.world.books.find(
                order.account, ORDINARY, order.symbol, order.extra["actual_order_id"]
            )
            if became is None or not became.is_open:
                return "FINISHED"
        return self.world.status(order)
