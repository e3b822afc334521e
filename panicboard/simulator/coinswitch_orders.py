"""CoinSwitch futures orders as they travel: states, field names, ids, and the moments of their making.

https://api-trading.coinswitch.co/futures/concepts/order-lifecycle
"""

import secrets
from decimal import Decimal
from typing import Any

from panicboard.simulator.book import Order
from panicboard.simulator.symbols import Symbol

EXCHANGE = "EXCHANGE_2"
ORDER_TYPES = ("MARKET", "LIMIT", "TAKE_PROFIT_MARKET", "STOP_MARKET")
POSITION_TYPES = ("TAKE_PROFIT_MARKET", "STOP_MARKET")  # they close a whole position and have no quantity

_RAISED = "cancellation_raised"
_FEE_RATE = Decimal("0.0005")
_STATES = {
    "NEW": "RAISED",
    "FILLED": "EXECUTED",
    "CANCELED": "CANCELLED",
    "EXPIRED": "EXPIRED",
    "REJECTED": "FAILED",
}


def is_raised(order: Order) -> bool:
    """Whether the order's cancellation was asked for and has not come about yet."""
    return order.is_open and bool(order.extra.get(_RAISED))


def set_raised(order: Order, raised: bool) -> None:
    """Note that the cancellation of an order is under way, or that it came to nothing."""
    order.extra[_RAISED] = raised


def state(order: Order) -> str:
    """The venue's word for an order's state.

    An order that fills in parts stays RAISED; PARTIALLY_EXECUTED is final here and says that the rest of
    it is gone.
    """
    if is_raised(order):
        return "CANCELLATION_RAISED"
    if order.is_open:
        return "RAISED"
    if order.status == "CANCELED" and Decimal(order.executed) > 0:
        return "PARTIALLY_EXECUTED"
    return _STATES.get(order.status, order.status)


def as_wire(order: Order, status: str, *, cancel_names: bool = False) -> dict[str, Any]:
    """An order under the venue's field names; the reply to a cancel names fee and price differently."""
    executed = Decimal(order.executed)
    average = order.price if executed else "0"
    fee = format(executed * Decimal(average) * _FEE_RATE, "f") if executed else "0"
    fees = (
        {"avg_exec_price": average, "exec_fee": fee}
        if cancel_names
        else {"avg_execution_price": average, "execution_fee": fee}
    )
    told: dict[str, Any] = {
        "order_id": order.order_id,
        "exchange": EXCHANGE,
        "symbol": order.symbol,
        "side": order.side,
        "status": status,
        "order_type": order.type,
        "quantity": order.quantity,
        "exec_quantity": order.executed,
        "price": order.price,
        "trigger_price": order.stop_price,
        **fees,
        "realised_pnl": "0",
        "reduce_only": order.reduce_only,
        "created_at": order.created_ms,
        "updated_at": order.updated_ms,
    }
    if order.client_order_id:
        told["client_order_id"] = order.client_order_id
    return told


def instrument(symbol: Symbol) -> dict[str, Any]:
    """A symbol as GET instrument_info shows it; `tick_size` counts in units of the last digit."""
    step = format(Decimal(1).scaleb(-symbol.quantity_digits), "f")
    return {
        "symbol": symbol.base.lower(),
        "base_asset": symbol.base.lower(),
        "quote_asset": symbol.quote.lower(),
        "status": "TRADING",
        "type": "PERPETUAL_FUTURES",
        "min_leverage": "1",
        "max_leverage": "25",
        "leverage_step": 1,
        "min_base_quantity": step,
        "base_quantity_step_size": step,
        "quantity_precision": symbol.quantity_digits,
        "price_precision": symbol.price_digits,
        "tick_size": 1,
        "max_market_base_quantity": "119",
        "max_base_quantity": "952",
        "taker_fee_rate": "0.00065",
        "maker_fee_rate": "0.00024",
    }


def new_order_id(now_ms: int) -> str:
    """A UUID of version 7, the look of this venue's order ids."""
    noise = secrets.token_bytes(10)
    high = f"{now_ms:012x}7{noise[:2].hex()[1:]}"
    low = f"{noise[2] & 0x3F | 0x80:02x}{noise[3:].hex()}"
    return f"{high[:8]}-{high[8:12]}-{high[12:]}-{low[:4]}-{low[4:]}"


class Moments:
    """Makes the creation times of one account's orders distinct.

    A page ends at a time and the next one begins at it, so orders made in the same ms could not be paged.
    Real accounts, held to 20 orders a minute, have none; thousands seeded at once would.
    """

    def __init__(self) -> None:
        #: Of each account: a moment that is taken -> an earlier one to look at next.
        self._taken: dict[str, dict[int, int]] = {}

    def take(self, account: str, now_ms: int) -> int:
        """`now_ms`, or else the latest earlier moment this account has not taken yet."""
        taken = self._taken.setdefault(account, {})
        moment, passed = now_ms, []
        while moment in taken:
            passed.append(moment)
            moment = taken[moment]
        taken |= dict.fromkeys([*passed, moment], moment - 1)
        return moment

    def clear(self) -> None:
        """Forget every moment taken."""
        self._taken.clear()
