"""USD-M orders: how they look on the wire, and what an order that is placed must look like.

https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api
"""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from panicboard.simulator.api import Params
from panicboard.simulator.binance_common import boolean, need, refuse
from panicboard.simulator.book import Order
from panicboard.simulator.symbols import Symbol

ALGO_TYPES = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
TIMES_IN_FORCE = frozenset({"GTC", "IOC", "FOK", "GTX", "GTD", "GTE_GTC"})
MIN_NOTIONAL = Decimal(5)

_CLIENT_ID = re.compile(r"^[.A-Z:/a-z0-9_-]{1,36}$")


def ack_json(order: Order, status: str) -> dict[str, Any]:
    """The reply to placing, changing and cancelling: since 2026-06-30 without avgPrice and cumQuote."""
    extra = order.extra
    return {
        "orderId": int(order.order_id),
        "symbol": order.symbol,
        "status": status,
        "clientOrderId": order.client_order_id,
        "price": order.price,
        "origQty": order.quantity,
        "executedQty": order.executed,
        "cumQty": order.executed,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": extra.get("close_position", False),
        "side": order.side,
        "positionSide": extra.get("position_side", "BOTH"),
        "stopPrice": order.stop_price,
        "workingType": extra.get("working_type", "CONTRACT_PRICE"),
        "priceProtect": extra.get("price_protect", False),
        "origType": extra.get("orig_type", order.type),
        "priceMatch": extra.get("price_match", "NONE"),
        "selfTradePreventionMode": extra.get("stp", "EXPIRE_MAKER"),
        "goodTillDate": extra.get("good_till_ms", 0),
        "updateTime": order.updated_ms,
    }


def query_json(order: Order, status: str) -> dict[str, Any]:
    """The reply to queries and listings."""
    answer = ack_json(order, status)
    del answer["cumQty"]
    filled = Decimal(order.executed)
    average = str(order.extra.get("fill_price", order.price)) if filled else "0.00"
    answer["avgPrice"] = average
    answer["cumQuote"] = format(filled * Decimal(average), "f")
    answer["time"] = order.created_ms
    return answer


def algo_json(order: Order, status: str) -> dict[str, Any]:
    """A conditional order as the algo calls show it; it names the ordinary order it became."""
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
        "algoStatus": status,
        "actualOrderId": extra.get("actual_order_id", ""),
        "actualPrice": extra.get("actual_price", "0.00000"),
        "triggerPrice": order.stop_price,
        "price": order.price,
        "icebergQuantity": None,
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
        "selfTradePreventionMode": extra.get("stp", "EXPIRE_MAKER"),
        "workingType": extra.get("working_type", "CONTRACT_PRICE"),
        "priceMatch": extra.get("price_match", "NONE"),
        "closePosition": extra.get("close_position", False),
        "priceProtect": extra.get("price_protect", False),
        "reduceOnly": order.reduce_only,
        "activatePrice": extra.get("activate_price", ""),
        "callbackRate": extra.get("callback_rate", ""),
        "createTime": order.created_ms,
        "updateTime": order.updated_ms,
        "triggerTime": extra.get("trigger_ms", 0),
        "goodTillDate": extra.get("good_till_ms", 0),
    }


def check_client_id(client_order_id: str) -> None:
    """Raises -4015 for a client order id with odd letters or of odd length."""
    if not _CLIENT_ID.match(client_order_id):
        raise refuse(-4015, "Client order id is not valid.")


def side_of(params: Params) -> str:
    """The side. Raises -1102, -1117."""
    side = need(params, "side")
    if side not in ("BUY", "SELL"):
        raise refuse(-1117, "Invalid side.")
    return side


def amount(params: Params, name: str, digits: int) -> str:
    """A positive decimal with at most `digits` after the point. Raises -1102, -4003, -4014, -1111."""
    text = need(params, name)
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise refuse(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    if value <= 0:
        if name == "quantity":
            raise refuse(-4003, "Quantity less than or equal to zero.")
        raise refuse(-4001, "Price less than 0.")
    exponent = value.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > digits:
        raise refuse(-1111, "Precision is over the maximum defined for this asset.")
    return format(value, "f")


def check_order(params: Params, symbol: Symbol) -> dict[str, Any]:
    """Check the parameters of a new ordinary order in the venue's order. Returns the order's fields."""
    side = side_of(params)
    order_type = need(params, "type")
    if order_type in ALGO_TYPES:
        raise refuse(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
        )
    if order_type not in ("LIMIT", "MARKET"):
        raise refuse(-1116, "Invalid orderType.")
    fields: dict[str, Any] = {"symbol": symbol.name, "side": side, "type": order_type}
    fields.update(_shared(params))
    if order_type == "LIMIT":
        time_in_force = need(params, "timeInForce")
        if time_in_force not in TIMES_IN_FORCE:
            raise refuse(-1115, "Invalid timeInForce.")
        fields["time_in_force"] = time_in_force
    fields["quantity"] = amount(params, "quantity", symbol.quantity_digits)
    price = symbol.price
    if order_type == "LIMIT" and not params.get("priceMatch"):
        fields["price"] = price = amount(params, "price", symbol.price_digits)
    if Decimal(fields["quantity"]) * Decimal(price) < MIN_NOTIONAL and not fields["reduce_only"]:
        raise refuse(-4164, "Order's notional must be no smaller than 5 (unless you choose reduce only).")
    return fields


def check_algo_order(params: Params, symbol: Symbol) -> dict[str, Any]:
    """Check the parameters of a new conditional order. Returns the order's fields."""
    side = side_of(params)
    order_type = need(params, "type")
    if order_type not in ALGO_TYPES:
        raise refuse(-1116, "Invalid orderType.")
    fields: dict[str, Any] = {"symbol": symbol.name, "side": side, "type": order_type}
    fields.update(_shared(params))
    extra = fields["extra"]
    time_in_force = params.get("timeInForce") or "GTC"
    if time_in_force not in TIMES_IN_FORCE:
        raise refuse(-1115, "Invalid timeInForce.")
    fields["time_in_force"] = time_in_force
    if order_type == "TRAILING_STOP_MARKET":
        extra["callback_rate"] = amount(params, "callbackRate", 1)
        if params.get("activatePrice"):
            extra["activate_price"] = amount(params, "activatePrice", symbol.price_digits)
        fields["stop_price"] = extra.get("activate_price", "0")
    else:
        fields["stop_price"] = amount(params, "triggerPrice", symbol.price_digits)
    if extra["close_position"]:
        if params.get("quantity"):
            raise refuse(-4137, "Quantity must be zero with closePosition equals true")
        fields["quantity"] = "0"
    else:
        fields["quantity"] = amount(params, "quantity", symbol.quantity_digits)
    if order_type in ("STOP", "TAKE_PROFIT") and not params.get("priceMatch"):
        fields["price"] = amount(params, "price", symbol.price_digits)
    return fields


def _shared(params: Params) -> dict[str, Any]:
    """What both kinds of orders take."""
    position_side = params.get("positionSide", "BOTH")
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise refuse(-4060, "Invalid position side.")
    if position_side != "BOTH":  # every account here is in one-way mode
        raise refuse(-4061, "Order's position side does not match user's setting.")
    return {
        "reduce_only": boolean(params, "reduceOnly"),
        "extra": {
            "close_position": boolean(params, "closePosition"),
            "price_protect": boolean(params, "priceProtect"),
            **_sent(
                params,
                {
                    "working_type": "workingType",
                    "price_match": "priceMatch",
                    "stp": "selfTradePreventionMode",
                },
            ),
        },
    }


def _sent(params: Params, names: Mapping[str, str]) -> dict[str, str]:
    return {ours: params[theirs] for ours, theirs in names.items() if params.get(theirs)}
