"""What the portfolio margin API says about orders: strategies, and order lists.

Conditional orders come as algo orders (um, present generation, shared with USD-M futures) or as
strategies (cm, and um before 2026-04-28). Whatever lacks an id, a symbol or a status that is known raises
OutcomeUnknown.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from panicboard.venues.asked import of_symbol
from panicboard.venues.base import Order, OrderState
from panicboard.venues.binance import order_state
from panicboard.venues.binance_orders import can_only_reduce, ordinary_order, successor
from panicboard.venues.binance_replies import fields, required, required_id, rows
from panicboard.venues.errors import OutcomeUnknown
from panicboard.venues.values import LONGEST_SIDE, LONGEST_TYPE, amount, label, moment, quoted


def strategy_order(family: str, reply: Any) -> Order:
    """A conditional order of cm, or of um in the older generation.

    Its `orderId`, `status` and `type` are those of the ordinary order it became, once it has triggered.
    """
    item = fields(reply, f"{family} order")
    status = required(item, "strategyStatus")
    return Order(
        family=family,
        symbol=required(item, "symbol"),
        venue_order_id=required_id(item, "strategyId"),
        client_order_id=label(item.get("newClientStrategyId")),
        state=order_state(status),
        venue_status=status,
        side=label(item.get("side"), LONGEST_SIDE),
        order_type=label(item.get("strategyType"), LONGEST_TYPE),
        quantity=amount(item.get("origQty")),
        filled=Decimal(0),  # fills happen to the ordinary order it becomes
        price=amount(item.get("price")) or None,
        trigger_price=amount(item.get("stopPrice")) or None,
        protective=can_only_reduce(item),
        successor_id=successor(item.get("orderId")),
        placed_at=moment(item.get("bookTime")),
        updated_at=moment(item.get("updateTime")),
    )


def cancelled_margin_orders(reply: Any) -> list[Order]:
    """The orders that a margin mass cancel names; of an order list, one order for each leg.

    Legs stand in the list's `orderReports` only, never at top level.
    """
    orders = []
    for item in rows(reply, "margin/allOpenOrders"):
        if "contingencyType" in item:
            reports = rows(item.get("orderReports"), "margin/allOpenOrders orderReports")
            list_id = required(item, "orderListId")
            orders += [replace(ordinary_order("margin", leg), list_id=list_id) for leg in reports]
        else:
            orders.append(ordinary_order("margin", item))
    return orders


def open_legs(reply: Any) -> list[Order]:
    """The legs of every order list that is still executing: their ids; the listing tells no more."""
    legs = []
    for item in rows(reply, "margin/openOrderList"):
        status = required(item, "listOrderStatus")
        if status in ("ALL_DONE", "REJECT"):
            continue
        if status != "EXECUTING":
            raise OutcomeUnknown(f"order list status {status!r} is not known", text=status)
        named = rows(item.get("orders"), "margin/openOrderList orders")
        if not named:
            raise OutcomeUnknown("an order list is executing without orders", text=quoted(item))
        legs += of_symbol([_leg(item, leg) for leg in named], required(item, "symbol"))
    return legs


def _leg(order_list: dict[str, Any], leg: dict[str, Any]) -> Order:
    return Order(
        family="margin",
        symbol=required(leg, "symbol"),
        venue_order_id=required_id(leg, "orderId"),
        client_order_id=label(leg.get("clientOrderId")),
        state=OrderState.OPEN,
        venue_status=required(order_list, "listOrderStatus"),
        side="",
        order_type=label(order_list.get("contingencyType"), LONGEST_TYPE),
        quantity=Decimal(0),
        filled=Decimal(0),
        list_id=required(order_list, "orderListId"),
        placed_at=moment(order_list.get("transactionTime")),
    )


def with_legs(orders: list[Order], legs: list[Order], symbol: str | None) -> list[Order]:
    """Open orders, told which list they are legs of, and then the legs that only the lists named.

    `symbol` is the one that `orders` was listed for (None: every symbol); `legs` are of all symbols.
    """
    list_ids = {(leg.symbol, leg.venue_order_id): leg.list_id for leg in legs}
    listed = [
        replace(order, list_id=list_ids.get((order.symbol, order.venue_order_id), order.list_id))
        for order in orders
    ]
    seen = {(order.symbol, order.venue_order_id) for order in orders}
    missed = [leg for leg in legs if (leg.symbol, leg.venue_order_id) not in seen]
    return listed + [leg for leg in missed if symbol in (None, leg.symbol)]
