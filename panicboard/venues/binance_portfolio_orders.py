"""What the portfolio margin API says about orders: three shapes of order, and order lists.

Ordinary and margin orders share one shape; conditional ones come as algo orders (um, present
generation) or as strategies (cm, and um before 2026-04-28). Whatever lacks an id, a symbol or a status
that is known raises OutcomeUnknown.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from panicboard.venues.base import Order, OrderState
from panicboard.venues.binance import amount, moment, order_state
from panicboard.venues.binance_replies import fields, flag, required, rows
from panicboard.venues.errors import OutcomeUnknown


def ordinary_order(family: str, reply: Any) -> Order:
    """An order of the um, cm or margin book, from a listing, a query or a cancel."""
    item = fields(reply, f"{family} order")
    status = required(item, "status")
    list_id = str(item.get("orderListId") or "")
    return Order(
        family=family,
        symbol=required(item, "symbol"),
        venue_order_id=required(item, "orderId"),
        # In a cancel's reply `clientOrderId` is the id of the cancel; the order's own is the original one.
        client_order_id=str(item.get("origClientOrderId") or item.get("clientOrderId") or ""),
        state=order_state(status),
        venue_status=status,
        side=str(item.get("side", "")),
        order_type=str(item.get("type", "")),
        quantity=amount(item.get("origQty")),
        filled=amount(item.get("executedQty")),
        price=amount(item.get("price")) or None,
        trigger_price=amount(item.get("stopPrice")) or None,
        protective=flag(item.get("reduceOnly")) or flag(item.get("closePosition")),
        cancel_pending=status == "PENDING_CANCEL",
        list_id="" if list_id == "-1" else list_id,
        placed_at=moment(item.get("time")),
        updated_at=moment(item.get("updateTime")),
    )


def algo_order(reply: Any) -> Order:
    """A conditional um order, present generation."""
    item = fields(reply, "algo order")
    status = required(item, "algoStatus")
    return Order(
        family="um_conditional",
        symbol=required(item, "symbol"),
        venue_order_id=required(item, "algoId"),
        client_order_id=str(item.get("clientAlgoId") or ""),
        state=order_state(status),
        venue_status=status,
        side=str(item.get("side", "")),
        order_type=str(item.get("orderType", "")),
        quantity=amount(item.get("quantity")),
        filled=Decimal(0),  # fills happen to the ordinary order it becomes
        price=amount(item.get("price")) or None,
        trigger_price=amount(item.get("triggerPrice")) or None,
        protective=flag(item.get("reduceOnly")) or flag(item.get("closePosition")),
        successor_id=_successor(item.get("actualOrderId")),
        placed_at=moment(item.get("createTime")),
        updated_at=moment(item.get("updateTime")),
    )


def strategy_order(family: str, reply: Any) -> Order:
    """A conditional order of cm, or of um in the older generation.

    Its `orderId`, `status` and `type` are those of the ordinary order it became, once it has triggered.
    """
    item = fields(reply, f"{family} order")
    status = required(item, "strategyStatus")
    return Order(
        family=family,
        symbol=required(item, "symbol"),
        venue_order_id=required(item, "strategyId"),
        client_order_id=str(item.get("newClientStrategyId") or ""),
        state=order_state(status),
        venue_status=status,
        side=str(item.get("side", "")),
        order_type=str(item.get("strategyType", "")),
        quantity=amount(item.get("origQty")),
        filled=Decimal(0),  # fills happen to the ordinary order it becomes
        price=amount(item.get("price")) or None,
        trigger_price=amount(item.get("stopPrice")) or None,
        protective=flag(item.get("reduceOnly")) or flag(item.get("closePosition")),
        successor_id=_successor(item.get("orderId")),
        placed_at=moment(item.get("bookTime")),
        updated_at=moment(item.get("updateTime")),
    )


def _successor(value: object) -> str:
    return "" if value in (None, "", 0, "0") else str(value)


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
        legs += [_leg(item, leg) for leg in rows(item.get("orders"), "margin/openOrderList orders")]
    return legs


def _leg(order_list: dict[str, Any], leg: dict[str, Any]) -> Order:
    return Order(
        family="margin",
        symbol=required(leg, "symbol"),
        venue_order_id=required(leg, "orderId"),
        client_order_id=str(leg.get("clientOrderId") or ""),
        state=OrderState.OPEN,
        venue_status=required(order_list, "listOrderStatus"),
        side="",
        order_type=str(order_list.get("contingencyType", "")),
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
