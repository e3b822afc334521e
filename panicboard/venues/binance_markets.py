"""Placing at Binance: what its public market calls say of a symbol, and how an order is told and taken.

https://developers.binance.com/docs/derivatives/usds-margined-futures/common-definition#filters
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from panicboard.venues.base import FarOrder, Order
from panicboard.venues.binance_replies import fields, required, rows
from panicboard.venues.errors import NotDone, OutcomeUnknown
from panicboard.venues.far_orders import Rules, plain
from panicboard.venues.values import amount


def symbol_rules(reply: Any, symbol: str) -> Rules:
    """The rules of one symbol, from exchangeInfo. Raises NotDone when it is not traded."""
    symbols = rows(fields(reply, "exchangeInfo").get("symbols"), "exchangeInfo symbols")
    found = next((item for item in symbols if item.get("symbol") == symbol), None)
    # COIN-M says contractStatus where the others say status.
    if found is None or (found.get("status") or found.get("contractStatus")) != "TRADING":
        raise NotDone(f"{symbol} is not traded now")
    return rules_of(found)


def rules_of(item: Mapping[str, Any]) -> Rules:
    """The rules of one entry of exchangeInfo.

    On futures a bid has no lower bound: PERCENT_PRICE bounds bids from above and offers from below there.
    Only Spot, which names its filters otherwise, bounds bids from below as well.
    """
    filters = {str(one.get("filterType")): one for one in rows(item.get("filters"), "filters")}
    price, lot = filters.get("PRICE_FILTER", {}), filters.get("LOT_SIZE", {})
    # COIN-M has neither of these: its quantities are contracts, each of a fixed worth.
    worth = filters.get("MIN_NOTIONAL") or filters.get("NOTIONAL") or {}
    return Rules(
        tick=amount(required(dict(price), "tickSize")),
        step=amount(required(dict(lot), "stepSize")),
        least_quantity=amount(required(dict(lot), "minQty")),
        least_worth=amount(worth.get("notional") or worth.get("minNotional")),
        lowest_bid=amount(filters.get("PERCENT_PRICE_BY_SIDE", {}).get("bidMultiplierDown")),
    )


def price_of(reply: Any, symbol: str, key: str) -> Decimal:
    """A symbol's present price, from a reply that is one object or a list of them."""
    items = rows(reply if isinstance(reply, list) else [reply], "price")
    found = next((amount(item.get(key)) for item in items if item.get("symbol") == symbol), Decimal(0))
    if found <= 0:
        raise OutcomeUnknown(f"the venue tells no price of {symbol}")
    return found


def algo_params(order: FarOrder, client_order_id: str) -> dict[str, object]:
    """The parameters of a call that places a conditional order, where there is an algo book."""
    return {
        "algoType": "CONDITIONAL",
        "symbol": order.symbol,
        "side": "BUY",
        "type": order.order_type,
        "quantity": plain(order.quantity),
        "triggerPrice": plain(order.trigger_price),
        "clientAlgoId": client_order_id,
    }


def as_placed(order: Order, client_order_id: str) -> Order:
    """The order, if it is the one that was placed. Raises OutcomeUnknown for another."""
    if order.client_order_id != client_order_id:
        raise OutcomeUnknown(f"placed {client_order_id}, was told of {order.client_order_id or 'no id'}")
    return order
