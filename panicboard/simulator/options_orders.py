"""Options orders: how they look on the wire, and what an order that is placed must look like.

https://developers.binance.com/docs/derivatives/options-trading/trade
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Any

from panicboard.simulator.api import Params
from panicboard.simulator.binance_common import boolean, missing, need, refuse
from panicboard.simulator.book import Order

TIMES_IN_FORCE = frozenset({"GTC", "IOC", "FOK", "GTX"})
PRICE_DIGITS = 3
QUANTITY_DIGITS = 2

#: The older generation's words, still printed on some of the venue's pages.
OLD_STATUSES = {"NEW": "ACCEPTED", "CANCELED": "CANCELLED"}

_CLIENT_ID = re.compile(r"^[.A-Z:/a-z0-9_-]{1,36}$")


def order_json(order: Order, status: str, *, created: str = "createTime") -> dict[str, Any]:
    """An order as every options call shows it; the single cancel says `createDate` for `createTime`."""
    return {
        "orderId": int(order.order_id),
        "symbol": order.symbol,
        "price": order.price,
        "quantity": order.quantity,
        "executedQty": order.executed,
        "side": order.side,
        "type": order.type,
        "timeInForce": order.time_in_force,
        "reduceOnly": order.reduce_only,
        "postOnly": order.extra.get("post_only", False),
        created: order.created_ms,
        "updateTime": order.updated_ms,
        "status": status,
        "avgPrice": order.price if order.executed != "0" else "0",
        "source": "API",
        "clientOrderId": order.client_order_id,
        "priceScale": PRICE_DIGITS,
        "quantityScale": QUANTITY_DIGITS,
        "optionSide": "CALL" if order.symbol.endswith("-C") else "PUT",
        "quoteAsset": "USDT",
        "mmp": order.extra.get("mmp", False),
        "selfTradePreventionMode": order.extra.get("stp", "NONE"),
    }


def check_order(params: Params) -> dict[str, Any]:
    """Check a new order's parameters beside its symbol. Returns the order's fields.

    Raises -1102, -1111, -1115, -1116, -1117, -1130, -2010 (Refusal).
    """
    side = need(params, "side")
    if side not in ("BUY", "SELL"):
        raise refuse(-1117, "Invalid side.")
    if need(params, "type") != "LIMIT":
        raise refuse(-1116, "Invalid orderType.")
    quantity = _amount(params, "quantity", QUANTITY_DIGITS)
    price = _amount(params, "price", PRICE_DIGITS)
    time_in_force = params.get("timeInForce") or "GTC"
    if time_in_force not in TIMES_IN_FORCE:
        raise refuse(-1115, "Invalid timeInForce.")
    client_id = params.get("clientOrderId") or ""
    if client_id and not _CLIENT_ID.match(client_id):
        raise refuse(-1130, "Data sent for parameter 'clientOrderId' is not valid.")
    return {
        "side": side,
        "type": "LIMIT",
        "quantity": quantity,
        "price": price,
        "time_in_force": time_in_force,
        "client_order_id": client_id,
        "reduce_only": boolean(params, "reduceOnly"),
        "extra": {
            "post_only": boolean(params, "postOnly"),
            "mmp": boolean(params, "isMmp"),
            "stp": params.get("selfTradePreventionMode") or "NONE",
        },
    }


def _amount(params: Params, name: str, digits: int) -> str:
    text = need(params, name)
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise missing(name) from None
    if not value.is_finite() or value <= 0:
        raise refuse(-1130, f"Data sent for parameter '{name}' is not valid.")
    exponent = value.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > digits:
        raise refuse(-1111, "Precision is over the maximum defined for this asset.")
    return format(value, "f")
