"""The shapes of order that several Binance APIs share: ordinary orders, and algo (conditional) orders.

Whatever lacks an id, a symbol or a status that is known raises OutcomeUnknown.
"""

from decimal import Decimal
from typing import Any

from panicboard.venues.base import Order
from panicboard.venues.binance import order_state
from panicboard.venues.binance_replies import fields, required, required_id
from panicboard.venues.values import LONGEST_SIDE, LONGEST_TYPE, amount, flag, identifier, label, moment


def ordinary_order(family: str, reply: Any) -> Order:
    """An ordinary futures or margin order, from a listing, a query or a cancel."""
    item = fields(reply, f"{family} order")
    status = required(item, "status")
    list_id = label(item.get("orderListId") or "")
    return Order(
        family=family,
        symbol=required(item, "symbol"),
        venue_order_id=required_id(item, "orderId"),
        # In a cancel's reply `clientOrderId` is the id of the cancel; the order's own is the original one.
        client_order_id=label(item.get("origClientOrderId") or item.get("clientOrderId")),
        state=order_state(status),
        venue_status=status,
        side=label(item.get("side"), LONGEST_SIDE),
        order_type=label(item.get("type"), LONGEST_TYPE),
        quantity=amount(item.get("origQty")),
        filled=amount(item.get("executedQty")),
        price=amount(item.get("price")) or None,
        trigger_price=amount(item.get("stopPrice")) or None,
        protective=can_only_reduce(item),
        cancel_pending=status == "PENDING_CANCEL",
        list_id="" if list_id == "-1" else list_id,
        placed_at=moment(item.get("time")),
        updated_at=moment(item.get("updateTime")),
    )


def algo_order(family: str, reply: Any) -> Order:
    """A conditional USD-M order, which lives in a book of its own until it triggers."""
    item = fields(reply, "algo order")
    status = required(item, "algoStatus")
    return Order(
        family=family,
        symbol=required(item, "symbol"),
        venue_order_id=required_id(item, "algoId"),
        client_order_id=label(item.get("clientAlgoId")),
        state=order_state(status),
        venue_status=status,
        side=label(item.get("side"), LONGEST_SIDE),
        order_type=label(item.get("orderType"), LONGEST_TYPE),
        quantity=amount(item.get("quantity")),
        filled=Decimal(0),  # fills happen to the ordinary order it becomes
        price=amount(item.get("price")) or None,
        trigger_price=amount(item.get("triggerPrice")) or None,
        protective=can_only_reduce(item),
        successor_id=successor(item.get("actualOrderId")),
        placed_at=moment(item.get("createTime")),
        updated_at=moment(item.get("updateTime")),
    )


def can_only_reduce(item: dict[str, Any]) -> bool:
    """Whether an order says that it can only reduce a position: reduce-only, close-position, or, in hedge
    mode, where the venue takes neither mark, on the closing side of a long or short position.

    https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/New-Order
    """
    closing = (item.get("positionSide"), item.get("side")) in (("LONG", "SELL"), ("SHORT", "BUY"))
    return closing or flag(item.get("reduceOnly")) or flag(item.get("closePosition"))


def successor(value: object) -> str:
    """The id of the ordinary order that a triggered one became; empty while there is none."""
    return "" if value in (None, "", 0, "0") else identifier(value)
