"""The conditional futures books of portfolio margin, and the two generations of calls that reach them.

um/algo is the present generation, um/conditional the one it replaced on 2026-04-28: both show the same
orders here, and the switch `um_algo_gone` makes the present one answer -21015 or 404. cm knows only the
older generation, in which a conditional order is called a strategy.
https://developers.binance.com/docs/derivatives/portfolio-margin/trade
"""

from collections.abc import Callable, Mapping
from typing import Any

from panicboard.simulator.api import Call, Params, Reply, Route
from panicboard.simulator.binance_common import need, refuse
from panicboard.simulator.book import Order
from panicboard.simulator.portfolio_futures import ALL_DONE, list_weight
from panicboard.simulator.portfolio_state import PortfolioState, history
from panicboard.simulator.usdm_orders import ALGO_TYPES, check_algo_order

NOT_FOUND = b"<html><head><title>404 Not Found</title></head><body></body></html>"
Handler = Callable[[Call, Params], Any]
ALL_STRATEGIES_DONE = {"code": "200", "msg": "The operation of cancel all conditional open order is done."}

#: What um/conditional and cm/conditional call the parameters of a new order, and what um/algo calls them.
_RENAMED = {"strategyType": "type", "stopPrice": "triggerPrice", "activationPrice": "activatePrice"}


class ConditionalBook:
    """The conditional orders of um or cm, whatever calls reach them."""

    def __init__(self, state: PortfolioState, product: str) -> None:
        self.state = state
        self.world = state.world
        self.product = product
        self.book = f"{product}_conditional"

    def place(self, call: Call, params: Params, client_id_name: str) -> Order:
        """Check and add a new order, its parameters named as um/algo does."""
        symbol = self.state.symbol(self.product, params)
        fields = check_algo_order(params, symbol)
        fields["extra"]["working_type"] = params.get("workingType") or "CONTRACT_PRICE"
        client_id = self.state.new_client_id(params, client_id_name, call.owner, self.book, symbol.name)
        return self.state.add(call.owner, self.book, fields, client_id)

    def cancel(self, order: Order | None) -> Order:
        """Cancel an order. Raises -2011 when it is not open here or fills, -4117 while it triggers."""
        if order is not None and order.status == "TRIGGERING":
            raise refuse(-4117, "Stop order is being triggered, please try again later.")
        if order is None or not order.is_open or not self.world.cancel(order):
            raise refuse(-2011, "Unknown order sent.")
        return order

    def cancel_all(self, call: Call, params: Params) -> None:
        """Cancel every conditional order of a symbol; one being triggered stays."""
        for order in self.open(call, self.state.symbol(self.product, params).name):
            if order.status != "TRIGGERING":
                self.world.cancel(order)

    def open(self, call: Call, symbol: str | None) -> list[Order]:
        """The account's open conditional orders."""
        return self.world.reach(call.owner, self.book, symbol)

    def history(self, call: Call, symbol: str | None) -> list[Order]:
        """All the account's conditional orders."""
        return self.world.history(call.owner, self.book, symbol)

    def status(self, order: Order) -> str:
        """An order's status; TRIGGERED becomes FINISHED once the ordinary order it became is done."""
        if order.status == "TRIGGERED":
            became = self.ordinary(order)
            if became is None or not became.is_open:
                return "FINISHED"
        return self.world.status(order)

    def ordinary(self, order: Order) -> Order | None:
        """The ordinary order that a triggered one became."""
        order_id = order.extra.get("actual_order_id")
        return self.world.books.find(order.account, self.product, order.symbol, order_id)

    def seed(self, account: str, fields: Mapping[str, Any]) -> Order:
        """Put one open conditional order on the book."""
        symbol = self.state.seed_symbol(self.product, str(fields["symbol"]))
        limited = fields.get("type") in ("STOP", "TAKE_PROFIT")
        defaults = {
            "type": "STOP_MARKET",
            "quantity": "0.010" if self.product == "um" else "1",
            "price": symbol.price if limited else "0",
            "stop_price": symbol.price,
        }
        order = self.state.seed(account, self.book, self.product, fields, defaults)
        if order.type not in ALGO_TYPES:
            raise ValueError(f"{order.type} orders do not lie in the {self.book} book")
        return self.world.books.add(order)

    def trigger(self, order: Order) -> Order:
        """Move an order to the ordinary book, where it rests under the same client id."""
        now_ms = self.world.now_ms()
        fields = {
            "symbol": order.symbol,
            "side": order.side,
            "type": "LIMIT" if order.type in ("STOP", "TAKE_PROFIT") else "MARKET",
            "quantity": order.quantity,
            "price": order.price,
            "time_in_force": order.time_in_force,
            "reduce_only": order.reduce_only,
            "extra": {"orig_type": order.type},
        }
        ordinary = self.state.add(order.account, self.product, fields, order.client_order_id)
        order.extra.update(actual_order_id=ordinary.order_id, trigger_ms=now_ms)
        self.world.books.finish(order, "TRIGGERED", now_ms)
        return ordinary


class AlgoCalls:
    """The um/algo calls."""

    def __init__(self, book: ConditionalBook) -> None:
        self.book = book
        self.state = book.state

    def routes(self) -> list[Route]:
        """The calls of this generation."""
        base = "/papi/v1/um/algo"
        return [
            Route("POST", f"{base}/order", self._unless_gone(self.place)),
            Route("DELETE", f"{base}/order", self._unless_gone(self.cancel)),
            Route("DELETE", f"{base}/allOpenOrders", self._unless_gone(self.cancel_all)),
            Route("GET", f"{base}/openAlgoOrders", self._unless_gone(self.open_orders), weight=list_weight),
            Route("GET", f"{base}/algoOrder", self._unless_gone(self.order)),
            Route("GET", f"{base}/allAlgoOrders", self._unless_gone(self.all_orders), weight=5),
        ]

    def place(self, call: Call, params: Params) -> Reply:
        """POST um/algo/order, weight 1."""
        headers = self.state.count_orders(call, 1)
        if need(params, "algoType") != "CONDITIONAL":
            raise refuse(-1130, "Data sent for parameter 'algoType' is not valid.")
        order = self.book.place(call, params, "clientAlgoId")
        return self.state.placed(self.form(order), headers)

    def cancel(self, call: Call, params: Params) -> dict[str, bool]:
        """DELETE um/algo/order, weight 1, without a symbol. Raises -2011."""
        self.book.cancel(self._find(call, params))
        return {"complete": True}

    def cancel_all(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE um/algo/allOpenOrders, weight 1: of one symbol."""
        self.book.cancel_all(call, params)
        return ALL_DONE

    def open_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET um/algo/openAlgoOrders, weight 1 with a symbol, 40 without."""
        wanted = params.get("algoId")
        orders = self.book.open(call, self.state.symbol_or_all("um", params))
        return [self.form(order) for order in orders if wanted in (None, "", order.order_id)]

    def order(self, call: Call, params: Params) -> dict[str, Any]:
        """GET um/algo/algoOrder, weight 1, open or finished. Raises -2013."""
        order = self._find(call, params)
        if order is None:
            raise refuse(-2013, "Order does not exist.")
        return self.form(order) | _actual(order)

    def all_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET um/algo/allAlgoOrders, weight 5: of one symbol, at most 7 days."""
        orders = self.book.history(call, self.state.symbol("um", params).name)
        page = history(orders, params, call.now_ms, "algoId")
        return [self.form(order) | _actual(order) for order in page]

    def form(self, order: Order) -> dict[str, Any]:
        """A conditional order in this generation's words."""
        extra = order.extra
        return {
            "algoId": int(order.order_id),
            "clientAlgoId": order.client_order_id,
            "algoType": "CONDITIONAL",
            "orderType": order.type,
            "symbol": order.symbol,
            "side": order.side,
            "positionSide": extra.get("position_side", "BOTH"),
            "timeInForce": order.time_in_force,
            "quantity": order.quantity,
            "algoStatus": self.book.status(order),
            "triggerPrice": order.stop_price,
            "price": order.price,
            "icebergQuantity": None,
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "workingType": extra.get("working_type", "CONTRACT_PRICE"),
            "priceMatch": "NONE",
            "closePosition": extra.get("close_position", False),
            "priceProtect": extra.get("price_protect", False),
            "reduceOnly": order.reduce_only,
            "activatePrice": extra.get("activate_price"),
            "callbackRate": extra.get("callback_rate"),
            "createTime": order.created_ms,
            "updateTime": order.updated_ms,
            "triggerTime": extra.get("trigger_ms", 0),
            "goodTillDate": 0,
        }

    def _find(self, call: Call, params: Params) -> Order | None:
        return self.state.find(call, params, self.book.book, None, "algoId", "clientAlgoId")

    def _unless_gone(self, handler: Handler) -> Handler:
        def answer(call: Call, params: Params) -> Any:
            gone = self.state.world.switches.um_algo_gone
            if gone == "404":
                return Reply(404, NOT_FOUND, content_type="text/html")
            if gone:
                raise refuse(-21015, "This endpoint has been removed.")
            return handler(call, params)

        return answer


class StrategyCalls:
    """The um/conditional and cm/conditional calls."""

    def __init__(self, book: ConditionalBook) -> None:
        self.book = book
        self.state = book.state

    def routes(self) -> list[Route]:
        """The calls of this generation."""
        base = f"/papi/v1/{self.book.product}/conditional"
        return [
            Route("POST", f"{base}/order", self.place),
            Route("DELETE", f"{base}/order", self.cancel),
            Route("DELETE", f"{base}/allOpenOrders", self.cancel_all),
            Route("GET", f"{base}/openOrders", self.open_orders, weight=list_weight),
            Route("GET", f"{base}/openOrder", self.open_order),
            Route("GET", f"{base}/orderHistory", self.order_history),
            Route("GET", f"{base}/allOrders", self.all_orders, weight=list_weight),
        ]

    def place(self, call: Call, params: Params) -> Reply:
        """POST conditional/order, weight 1."""
        headers = self.state.count_orders(call, 1)
        if need(params, "strategyType") != "TRAILING_STOP_MARKET":
            need(params, "stopPrice")
        renamed = params | {ours: params[theirs] for theirs, ours in _RENAMED.items() if theirs in params}
        order = self.book.place(call, renamed, "newClientStrategyId")
        return self.state.placed(self.form(order), headers)

    def cancel(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE conditional/order, weight 1. Raises -2011."""
        order = self.book.cancel(self._find(call, params))
        return self.form(order) | {"strategyStatus": "CANCELED"}

    def cancel_all(self, call: Call, params: Params) -> dict[str, Any]:
        """DELETE conditional/allOpenOrders, weight 1: of one symbol; replies a code that is a string."""
        self.book.cancel_all(call, params)
        return ALL_STRATEGIES_DONE

    def open_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET conditional/openOrders, weight 1 with a symbol, 40 without."""
        symbol = self.state.symbol_or_all(self.book.product, params)
        return [self.form(order) for order in self.book.open(call, symbol)]

    def open_order(self, call: Call, params: Params) -> dict[str, Any]:
        """GET conditional/openOrder, weight 1. Raises -2013 once the order is finished."""
        order = self._find(call, params)
        if order is None or not order.is_open:
            raise refuse(-2013, "Order does not exist.")
        return self.form(order)

    def order_history(self, call: Call, params: Params) -> dict[str, Any]:
        """GET conditional/orderHistory, weight 1. Raises -2013 while the order is open."""
        order = self._find(call, params)
        if order is None or order.is_open:
            raise refuse(-2013, "Order does not exist.")
        return self.form(order) | self._became(order)

    def all_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET conditional/allOrders, weight 1 with a symbol, 40 without; at most 7 days."""
        orders = self.book.history(call, self.state.symbol_or_all(self.book.product, params))
        page = history(orders, params, call.now_ms, "strategyId")
        return [self.form(order) | self._became(order) for order in page]

    def form(self, order: Order) -> dict[str, Any]:
        """A conditional order in this generation's words."""
        extra = order.extra
        return {
            "newClientStrategyId": order.client_order_id,
            "strategyId": int(order.order_id),
            "strategyStatus": self.book.status(order),
            "strategyType": order.type,
            "origQty": order.quantity,
            "price": order.price,
            "reduceOnly": order.reduce_only,
            "side": order.side,
            "positionSide": extra.get("position_side", "BOTH"),
            "stopPrice": order.stop_price,
            "symbol": order.symbol,
            "timeInForce": order.time_in_force,
            "activatePrice": extra.get("activate_price"),
            "priceRate": extra.get("callback_rate"),
            "bookTime": order.created_ms,
            "updateTime": order.updated_ms,
            "workingType": extra.get("working_type", "CONTRACT_PRICE"),
            "priceProtect": extra.get("price_protect", False),
        }

    def _became(self, order: Order) -> dict[str, Any]:
        ordinary = self.book.ordinary(order)
        if ordinary is None:
            return {"orderId": 0, "type": "LIMIT", "triggerTime": 0}
        return {
            "orderId": int(ordinary.order_id),
            "status": self.state.world.status(ordinary),
            "type": ordinary.type,
            "triggerTime": order.extra["trigger_ms"],
        }

    def _find(self, call: Call, params: Params) -> Order | None:
        symbol = self.state.symbol(self.book.product, params).name
        names = ("strategyId", "newClientStrategyId")
        return self.state.find(call, params, self.book.book, symbol, *names)


def _actual(order: Order) -> dict[str, str]:
    return {"actualOrderId": order.extra.get("actual_order_id", ""), "actualPrice": order.price}
