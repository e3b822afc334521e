"""The ordinary futures books of portfolio margin: um (USD-M) and cm (COIN-M).

https://developers.binance.com/docs/derivatives/portfolio-margin/trade
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from panicboard.simulator.api import Call, Params, Reply, Route
from panicboard.simulator.binance_common import refuse
from panicboard.simulator.book import Order
from panicboard.simulator.portfolio_state import PortfolioState, history
from panicboard.simulator.usdm_orders import check_order

ALL_DONE = {"code": 200, "msg": "The operation of cancel all open order is done."}


def list_weight(params: Params) -> int:
    """1 for one symbol, 40 for all."""
    return 1 if params.get("symbol") else 40


class FuturesBook:
    """One of the two books; `book` is "um" or "cm"."""

    def __init__(self, state: PortfolioState, book: str) -> None:
        self.state = state
        self.world = state.world
        self.book = book

    def routes(self) -> list[Route]:
        """The calls of this book."""
        base = f"/papi/v1/{self.book}"
        all_weight = 5 if self.book == "um" else lambda params: 20 if params.get("symbol") else 40
        return [
            Route("POST", f"{base}/order", self.place),
            Route("DELETE", f"{base}/order", self.cancel),
            Route("DELETE", f"{base}/allOpenOrders", self.cancel_all),
            Route("GET", f"{base}/openOrders", self.open_orders, weight=list_weight),
            Route("GET", f"{base}/openOrder", self.open_order),
            Route("GET", f"{base}/order", self.order),
            Route("GET", f"{base}/allOrders", self.all_orders, weight=all_weight),
        ]

    def place(self, call: Call, params: Params) -> Reply:
        """POST order, weight 1. A LIMIT order rests; a MARKET order fills at once."""
        headers = self.state.count_orders(call, 1)
        symbol = self.state.symbol(self.book, params)
        fields = check_order(params, symbol)
        client_id = self.state.new_client_id(params, "newClientOrderId", call.owner, self.book, symbol.name)
        order = self.state.add(call.owner, self.book, fields, client_id)
        answer = self.changed_form(order, "NEW")
        if order.type == "MARKET":
            order.extra["fill_price"] = symbol.price
            self.world.books.fill(order, call.now_ms)
        elif order.time_in_force in ("IOC", "FOK"):  # nobody is there to trade with
            self.world.books.finish(order, "EXPIRED", call.now_ms)
        if params.get("newOrderRespType") == "RESULT":
            answer = self.changed_form(order, order.status)
        return self.state.placed(answer, headers)

    def cancel(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE order, weight 1. Raises -2011 for an order that is not open here."""
        order = self._find(call, params)
        if order is None or not order.is_open or not self.world.cancel(order):
            raise refuse(-2011, "Unknown order sent.")
        return self.changed_form(order, "CANCELED")

    def cancel_all(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE allOpenOrders, weight 1: of one symbol; conditional orders stay."""
        for order in self._open(call, self.state.symbol(self.book, params).name):
            self.world.cancel(order)
        return ALL_DONE

    def open_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET openOrders, weight 1 with a symbol, 40 without; cm takes a `pair` too."""
        orders = self._open(call, self.state.symbol_or_all(self.book, params))
        pair = params.get("pair") if self.book == "cm" else None
        return [self.form(order) for order in orders if pair in (None, "", _pair(order))]

    def open_order(self, call: Call, params: Params) -> dict[str, Any]:
        """GET openOrder, weight 1. Raises -2013 once the order is finished."""
        order = self._find(call, params)
        if order is None or not order.is_open:
            raise refuse(-2013, "Order does not exist.")
        return self.form(order)

    def order(self, call: Call, params: Params) -> dict[str, Any]:
        """GET order, weight 1, open or finished. Raises -2013."""
        order = self._find(call, params)
        if order is None:
            raise refuse(-2013, "Order does not exist.")
        return self.form(order)

    def all_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET allOrders: um weight 5, by symbol; cm weight 20 by symbol or 40 by pair."""
        pair = params.get("pair") if self.book == "cm" and not params.get("symbol") else None
        symbol = None if pair else self.state.symbol(self.book, params).name
        orders = self.world.history(call.owner, self.book, symbol)
        wanted = [order for order in orders if pair in (None, _pair(order))]
        return [self.form(order) for order in history(wanted, params, call.now_ms, "orderId")]

    def seed(self, account: str, fields: Mapping[str, Any]) -> Order:
        """Put one open order on the book."""
        defaults = {"quantity": "0.010" if self.book == "um" else "1"}
        order = self.state.seed(account, self.book, self.book, fields, defaults)
        if order.type not in ("LIMIT", "MARKET"):
            raise ValueError(f"{order.type} orders do not lie in the {self.book} book")
        return self.world.books.add(order)

    def form(self, order: Order) -> dict[str, Any]:
        """An order as the queries and listings show it."""
        filled = Decimal(order.executed)
        average = str(order.extra.get("fill_price", order.price)) if filled else "0.00000"
        told: dict[str, Any] = {
            "avgPrice": average,
            "clientOrderId": order.client_order_id,
            "executedQty": order.executed,
            "orderId": int(order.order_id),
            "origQty": order.quantity,
            "origType": order.type,
            "price": order.price,
            "reduceOnly": order.reduce_only,
            "side": order.side,
            "positionSide": order.extra.get("position_side", "BOTH"),
            "status": self.world.status(order),
            "symbol": order.symbol,
            "time": order.created_ms,
            "timeInForce": order.time_in_force,
            "type": order.type,
            "updateTime": order.updated_ms,
        }
        if self.book == "um":
            return told | {"cumQuote": format(filled * Decimal(average), "f"), **_UM_ONLY}
        return told | {"cumBase": "0", "pair": _pair(order)}

    def changed_form(self, order: Order, status: str) -> dict[str, Any]:
        """An order as the replies to placing and cancelling show it: without average and quote."""
        told: dict[str, Any] = {
            "clientOrderId": order.client_order_id,
            "cumQty": order.executed,
            "executedQty": order.executed,
            "orderId": int(order.order_id),
            "origQty": order.quantity,
            "price": order.price,
            "reduceOnly": order.reduce_only,
            "side": order.side,
            "positionSide": order.extra.get("position_side", "BOTH"),
            "status": status,
            "symbol": order.symbol,
            "timeInForce": order.time_in_force,
            "type": order.type,
            "updateTime": order.updated_ms,
        }
        return told | (_UM_ONLY if self.book == "um" else {"pair": _pair(order)})

    def _open(self, call: Call, symbol: str | None) -> list[Order]:
        return self.world.reach(call.owner, self.book, symbol)

    def _find(self, call: Call, params: Params) -> Order | None:
        symbol = self.state.symbol(self.book, params).name
        return self.state.find(call, params, self.book, symbol, "orderId", "origClientOrderId")


_UM_ONLY = {"selfTradePreventionMode": "NONE", "goodTillDate": 0, "priceMatch": "NONE"}


def _pair(order: Order) -> str:
    return order.symbol.partition("_")[0]
