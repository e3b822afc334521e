"""The margin book of portfolio margin: plain orders and order lists (OCO), in the words of the Spot family.

The cancel of one leg removes the whole list; when one leg fills, the other expires.
https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Cancel-Margin-Account-All-Open-Orders-on-a-Symbol
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from panicboard.simulator.api import Call, Params, Reply, Route
from panicboard.simulator.binance_common import integer, need, refuse
from panicboard.simulator.book import Order
from panicboard.simulator.portfolio_state import PortfolioState, history, id_or_client_id
from panicboard.simulator.symbols import Symbol
from panicboard.simulator.usdm_orders import TIMES_IN_FORCE, amount, side_of

BOOK = "margin"
TYPES = (
    "LIMIT",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
    "LIMIT_MAKER",
)
PRICED = ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT", "LIMIT_MAKER")
TIMED = ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
TRIGGERED = ("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")

#: Without a symbol, openOrders costs as many units as the venue trades margin symbols: some hundreds.
SYMBOLS_TRADING = 480


@dataclass(slots=True, eq=False)
class OrderList:
    """An OCO list and its legs, the stop leg first."""

    list_id: str
    client_id: str
    account: str
    symbol: str
    legs: tuple[Order, ...]

    @property
    def is_open(self) -> bool:
        return any(leg.is_open for leg in self.legs)

    @property
    def changed_ms(self) -> int:
        return max(leg.updated_ms for leg in self.legs)


class MarginBook:
    """The margin book and its order lists."""

    def __init__(self, state: PortfolioState) -> None:
        self.state = state
        self.world = state.world
        self.lists: dict[str, dict[str, OrderList]] = {}  # by account and list id
        self.world.on_reset.append(self.lists.clear)

    def routes(self) -> list[Route]:
        """The calls of this book."""
        base = "/papi/v1/margin"
        return [
            Route("POST", f"{base}/order", self.place),
            Route("POST", f"{base}/order/oco", self.place_list),
            Route("DELETE", f"{base}/order", self.cancel, weight=2),
            Route("DELETE", f"{base}/orderList", self.cancel_list, weight=2),
            Route("DELETE", f"{base}/allOpenOrders", self.cancel_all, weight=5),
            Route(
                "GET",
                f"{base}/openOrders",
                self.open_orders,
                weight=lambda params: 5 if params.get("symbol") else SYMBOLS_TRADING,
            ),
            Route("GET", f"{base}/openOrderList", self.open_lists, weight=5),
            Route("GET", f"{base}/order", self.order, weight=10),
            Route("GET", f"{base}/orderList", self.order_list, weight=5),
            Route("GET", f"{base}/allOrders", self.all_orders, weight=100),
            Route("GET", f"{base}/allOrderList", self.all_lists, weight=100),
        ]

    # Plain orders.

    def place(self, call: Call, params: Params) -> Reply:
        """POST margin/order, weight 1. A MARKET order fills at once, a stop waits in the same book."""
        headers = self.state.count_orders(call, 1)
        symbol = self.state.symbol(BOOK, params)
        fields = _check_order(params, symbol)
        client_id = self.state.new_client_id(params, "newClientOrderId", call.owner, BOOK, symbol.name)
        order = self.state.add(call.owner, BOOK, fields, client_id)
        if order.type == "MARKET":
            order.extra["fill_price"] = symbol.price
            self.world.books.fill(order, call.now_ms)
        elif order.time_in_force in ("IOC", "FOK"):  # nobody is there to trade with
            self.world.books.finish(order, "EXPIRED", call.now_ms)
        borrowed = {"marginBuyBorrowAmount": "0", "marginBuyBorrowAsset": symbol.quote, "fills": []}
        told = _short(order, order.status) | {"transactTime": order.updated_ms, **borrowed}
        return self.state.placed(told, headers)

    def cancel(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE margin/order, weight 2: the cancel of a leg removes its list. Raises -2011."""
        order = self._find(call, params)
        if order is None or not order.is_open:
            raise refuse(-2011, "Unknown order sent.")
        order_list = self._list_of(order)
        if order_list is not None:
            self._cancel_legs(order_list)
            done = order.status != "FILLED"
        else:
            done = self.world.cancel(order)
        if not done:
            raise refuse(-2011, "Unknown order sent.")
        return _report(order, "CANCELED", params.get("newClientOrderId") or self._cancel_id(), listed=False)

    def cancel_all(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """DELETE margin/allOpenOrders, weight 5: plain orders, then lists. Raises -2011 on an empty book."""
        orders = self._open(call, self.state.symbol(BOOK, params).name)
        cancel_id = self._cancel_id()
        lists = {order.list_id: order_list for order in orders if (order_list := self._list_of(order))}
        plain = [order for order in orders if order.list_id not in lists]
        told = [_report(order, "CANCELED", cancel_id) for order in plain if self.world.cancel(order)]
        for order_list in lists.values():
            self._cancel_legs(order_list)
            told.append(self._list_report(order_list, cancel_id))
        if not told:
            raise refuse(-2011, "Unknown order sent.")
        return told

    def open_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET margin/openOrders: legs of lists are among them, but are not told as such."""
        orders = self._open(call, self.state.symbol_or_all(BOOK, params))
        return [self.form(order) for order in orders]

    def order(self, call: Call, params: Params) -> dict[str, Any]:
        """GET margin/order, weight 10, open or finished. Raises -2013."""
        order = self._find(call, params)
        if order is None:
            raise refuse(-2013, "Order does not exist.")
        return self.form(order)

    def all_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET margin/allOrders, weight 100: of one symbol."""
        orders = self.world.history(call.owner, BOOK, self.state.symbol(BOOK, params).name)
        return [self.form(order) for order in history(orders, params, call.now_ms, "orderId", 500)]

    # Order lists.

    def place_list(self, call: Call, params: Params) -> Reply:
        """POST margin/order/oco, weight 1, two orders. Raises -2010 for prices on the wrong side."""
        headers = self.state.count_orders(call, 2)
        symbol = self.state.symbol(BOOK, params)
        fields = _check_list(params, symbol)
        client_ids = [
            self.state.new_client_id(params, name, call.owner, BOOK, symbol.name)
            for name in ("listClientOrderId", "stopClientOrderId", "limitClientOrderId")
        ]
        order_list = self._add_list(call.owner, fields, *client_ids)
        told = self._list_form(order_list) | {
            "marginBuyBorrowAmount": "0",
            "marginBuyBorrowAsset": symbol.quote,
            "orderReports": [
                _short(leg, leg.status)
                | {"orderListId": int(order_list.list_id), "transactTime": leg.created_ms}
                | _stop_price(leg)
                for leg in order_list.legs
            ],
        }
        return self.state.placed(told, headers)

    def cancel_list(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE margin/orderList, weight 2. Raises -2011."""
        symbol = self.state.symbol(BOOK, params).name
        order_list = self._find_list(call, params, "listClientOrderId")
        if order_list is None or order_list.symbol != symbol or not order_list.is_open:
            raise refuse(-2011, "Unknown order list sent.")
        self._cancel_legs(order_list)
        return self._list_report(order_list, params.get("newClientOrderId") or self._cancel_id())

    def open_lists(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET margin/openOrderList, weight 5: of every symbol."""
        return [self._list_form(order_list) for order_list in self._lists(call) if order_list.is_open]

    def order_list(self, call: Call, params: Params) -> dict[str, Any]:
        """GET margin/orderList, weight 5. Raises -2018, as the Spot family does."""
        order_list = self._find_list(call, params, "origClientOrderId")
        if order_list is None:
            raise refuse(-2018, "Order list does not exist.")
        return self._list_form(order_list)

    def all_lists(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET margin/allOrderList, weight 100: by `fromId`, or by time."""
        lists = sorted(self._lists(call), key=lambda order_list: int(order_list.list_id))
        limit = integer(params, "limit") or 500
        if not 0 < limit <= 500:
            raise refuse(-1130, "Data sent for parameter 'limit' is not valid.")
        first_id = integer(params, "fromId") or 0
        start, end = integer(params, "startTime") or 0, integer(params, "endTime") or call.now_ms
        wanted = [
            order_list
            for order_list in lists
            if int(order_list.list_id) >= first_id and start <= order_list.legs[0].created_ms <= end
        ]
        return [self._list_form(order_list) for order_list in wanted[:limit]]

    # What the control plane asks.

    def seed(self, account: str, fields: Mapping[str, Any]) -> Order:
        """Put one open order on the book, or with type OCO a list of two: its stop leg is returned."""
        symbol = self.state.seed_symbol(BOOK, str(fields["symbol"]))
        defaults = {"quantity": "0.010"}
        if fields.get("type") in (*TRIGGERED, "OCO"):
            below = Decimal(symbol.price) * Decimal("0.95")
            defaults |= {"side": "SELL", "stop_price": format(below, f".{symbol.price_digits}f")}
        order = self.state.seed(account, BOOK, BOOK, fields, defaults)
        if order.type == "OCO":
            shared = {"symbol": symbol.name, "side": order.side, "quantity": order.quantity}
            stop = {"type": "STOP_LOSS_LIMIT", "price": order.stop_price, "stop_price": order.stop_price}
            limit = {"type": "LIMIT_MAKER", "price": order.price}
            return self._add_list(account, (shared | stop, shared | limit), "", "", "").legs[0]
        if order.type not in TYPES:
            raise ValueError(f"{order.type} orders do not lie in the {BOOK} book")
        return self.world.books.add(order)

    def trigger(self, order: Order) -> Order:
        """Let the market touch a stop: it goes to work as the order it is, or fills when it has no limit."""
        if order.type not in TRIGGERED:
            raise ValueError(f"{order.type} orders do not trigger")
        order.extra["working"] = True
        if order.type not in PRICED:
            self.world.books.fill(order, self.world.now_ms())
        self.end_other_leg(order)
        return order

    def end_other_leg(self, order: Order) -> None:
        """Expire the other leg of a list of which one has gone to work or executed, wholly or in part."""
        order_list = self._list_of(order)
        for leg in order_list.legs if order_list is not None else ():
            if leg is not order:
                self.world.books.finish(leg, "EXPIRED", self.world.now_ms())

    # Wire forms and inner workings.

    def form(self, order: Order) -> dict[str, Any]:
        """An order as the queries and listings show it."""
        return _short(order, self.world.status(order)) | {
            "icebergQty": order.extra.get("iceberg", "0"),
            "isWorking": order.type not in TRIGGERED or bool(order.extra.get("working")),
            "stopPrice": order.stop_price,
            "time": order.created_ms,
            "updateTime": order.updated_ms,
            "accountId": 200180970,
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "preventedMatchId": None,
            "preventedQuantity": None,
        }

    def _list_form(self, order_list: OrderList) -> dict[str, Any]:
        done = not order_list.is_open
        return {
            "orderListId": int(order_list.list_id),
            "contingencyType": "OCO",
            "listStatusType": "ALL_DONE" if done else "EXEC_STARTED",
            "listOrderStatus": "ALL_DONE" if done else "EXECUTING",
            "listClientOrderId": order_list.client_id,
            "transactionTime": order_list.changed_ms,
            "symbol": order_list.symbol,
            "orders": [
                {
                    "symbol": leg.symbol,
                    "orderId": int(leg.order_id),
                    "clientOrderId": leg.client_order_id,
                }
                for leg in order_list.legs
            ],
        }

    def _list_report(self, order_list: OrderList, cancel_id: str) -> dict[str, Any]:
        """A list as the replies to its cancel tell it: all done, even of a leg that refuses to go."""
        return self._list_form(order_list) | {
            "listStatusType": "ALL_DONE",
            "listOrderStatus": "ALL_DONE",
            "orderReports": [
                _report(leg, "CANCELED" if leg.is_open else leg.status, cancel_id) | _stop_price(leg)
                for leg in order_list.legs
            ],
        }

    def _add_list(
        self, account: str, legs: tuple[dict[str, Any], dict[str, Any]], *client_ids: str
    ) -> OrderList:
        """Add a list and its two legs; `client_ids` are the list's and the legs', "" to make one up."""
        list_client_id, *leg_client_ids = client_ids
        list_id = self.state.next_id()
        orders = tuple(
            self.state.add(account, BOOK, {**leg, "list_id": list_id}, client_id)
            for leg, client_id in zip(legs, leg_client_ids, strict=True)
        )
        order_list = OrderList(
            list_id, list_client_id or f"list_{list_id}", account, orders[0].symbol, orders
        )
        self.lists.setdefault(account, {})[list_id] = order_list
        return order_list

    def _cancel_legs(self, order_list: OrderList) -> None:
        for leg in order_list.legs:
            if leg.is_open and not self.world.cancel(leg):
                self.end_other_leg(leg)

    def _cancel_id(self) -> str:
        return f"cancel_{next(self.world.serial)}"

    def _open(self, call: Call, symbol: str | None) -> list[Order]:
        return self.world.reach(call.owner, BOOK, symbol)

    def _find(self, call: Call, params: Params) -> Order | None:
        symbol = self.state.symbol(BOOK, params).name
        return self.state.find(call, params, BOOK, symbol, "orderId", "origClientOrderId")

    def _lists(self, call: Call) -> list[OrderList]:
        return list(self.lists.get(call.owner, {}).values())

    def _list_of(self, order: Order) -> OrderList | None:
        return self.lists.get(order.account, {}).get(order.list_id)

    def _find_list(self, call: Call, params: Params, client_id_name: str) -> OrderList | None:
        list_id, client_id = id_or_client_id(params, "orderListId", client_id_name)
        lists = self.lists.get(call.owner, {})
        if list_id:
            return lists.get(list_id)
        return next((found for found in lists.values() if found.client_id == client_id), None)


def _check_order(params: Params, symbol: Symbol) -> dict[str, Any]:
    """Check the parameters of a new order. Returns its fields."""
    side = side_of(params)
    order_type = need(params, "type")
    if order_type not in TYPES:
        raise refuse(-1116, "Invalid orderType.")
    fields: dict[str, Any] = {"symbol": symbol.name, "side": side, "type": order_type}
    if order_type in TIMED:
        fields["time_in_force"] = _time_in_force(params, "timeInForce")
    if order_type == "MARKET" and not params.get("quantity"):
        cost = Decimal(amount(params, "quoteOrderQty", 8))
        fields["quantity"] = str(round(cost / Decimal(symbol.price), symbol.quantity_digits))
    else:
        fields["quantity"] = amount(params, "quantity", symbol.quantity_digits)
    if order_type in PRICED:
        fields["price"] = amount(params, "price", symbol.price_digits)
    if order_type in TRIGGERED:
        fields["stop_price"] = amount(params, "stopPrice", symbol.price_digits)
    if params.get("icebergQty"):
        fields["extra"] = {"iceberg": amount(params, "icebergQty", symbol.quantity_digits)}
    return fields


def _check_list(params: Params, symbol: Symbol) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check the parameters of a new order list. Returns the fields of its stop leg and its limit leg."""
    side = side_of(params)
    shared = {
        "symbol": symbol.name,
        "side": side,
        "quantity": amount(params, "quantity", symbol.quantity_digits),
    }
    limit_price = amount(params, "price", symbol.price_digits)
    stop_price = amount(params, "stopPrice", symbol.price_digits)
    if (Decimal(limit_price) < Decimal(stop_price)) != (side == "BUY"):
        raise refuse(-2010, "The relationship of the prices for the orders is not correct.")
    stop_leg = {**shared, "type": "STOP_LOSS", "stop_price": stop_price}
    if params.get("stopLimitPrice"):
        stop_leg["type"] = "STOP_LOSS_LIMIT"
        stop_leg["price"] = amount(params, "stopLimitPrice", symbol.price_digits)
        stop_leg["time_in_force"] = _time_in_force(params, "stopLimitTimeInForce")
    return stop_leg, {**shared, "type": "LIMIT_MAKER", "price": limit_price}


def _time_in_force(params: Params, name: str) -> str:
    value = need(params, name)
    if value not in TIMES_IN_FORCE:
        raise refuse(-1115, "Invalid timeInForce.")
    return value


def _short(order: Order, status: str) -> dict[str, Any]:
    """The fields that every form of a margin order has."""
    price = str(order.extra.get("fill_price", order.price))
    return {
        "symbol": order.symbol,
        "orderId": int(order.order_id),
        "clientOrderId": order.client_order_id,
        "price": order.price,
        "origQty": order.quantity,
        "executedQty": order.executed,
        "cummulativeQuoteQty": format(Decimal(order.executed) * Decimal(price), "f"),
        "status": status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
    }


def _report(order: Order, status: str, cancel_id: str, *, listed: bool = True) -> dict[str, Any]:
    """An order in the reply to its cancel: `clientOrderId` is the id of the cancel."""
    report = _short(order, status)
    report |= {"origClientOrderId": order.client_order_id, "clientOrderId": cancel_id}
    if listed:
        report["orderListId"] = int(order.list_id or -1)
    return report


def _stop_price(leg: Order) -> dict[str, str]:
    return {} if leg.stop_price == "0" else {"stopPrice": leg.stop_price}
