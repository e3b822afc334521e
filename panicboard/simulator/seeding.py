"""Orders made from a control call: whatever is given is taken, the rest is made up."""

import itertools
import zlib
from collections.abc import Mapping
from typing import Any

from panicboard.simulator.book import Order

_TEXTS = ("side", "type", "quantity", "price", "time_in_force", "stop_price", "executed", "status", "list_id")


def seeded_order(
    account: str,
    book: str,
    fields: Mapping[str, Any],
    *,
    order_id: str,
    client_order_id: str,
    now_ms: int,
    **defaults: Any,
) -> Order:
    """Make an open order from `fields`, `defaults` filling the gaps. Raises ValueError for odd fields."""
    given = {**defaults, **fields}
    symbol = str(given.pop("symbol"))
    order = Order(
        account,
        book,
        symbol,
        str(given.pop("order_id", order_id)),
        str(given.pop("client_order_id", client_order_id)),
        side=str(given.pop("side", "BUY")),
        type=str(given.pop("type", "LIMIT")),
        quantity=str(given.pop("quantity", "1")),
        created_ms=int(given.pop("created_ms", now_ms)),
    )
    order.updated_ms = int(given.pop("updated_ms", order.created_ms))
    order.reduce_only = bool(given.pop("reduce_only", False))
    order.extra = dict(given.pop("extra", {}))
    for name in _TEXTS:
        if name in given:
            setattr(order, name, str(given.pop(name)))
    if order_id.isdigit() and not (order.order_id.isascii() and order.order_id.isdigit()):
        raise ValueError(f"order_id {order.order_id!r} is not a number")
    if given:
        raise ValueError(f"an order has no {', '.join(sorted(given))}")
    return order


class Ids:
    """Order ids that grow by symbol, as on Binance futures: two symbols may well share a number."""

    def __init__(self, first: int, spread: int = 0) -> None:
        self._first = first
        self._spread = spread
        self._counters: dict[str, itertools.count[int]] = {}

    def next(self, symbol: str) -> str:
        """The next id of a symbol."""
        counter = self._counters.get(symbol)
        if counter is None:
            start = self._first + (zlib.crc32(symbol.encode()) % self._spread if self._spread else 0)
            counter = self._counters[symbol] = itertools.count(start)
        return str(next(counter))
