"""Orders, and where they lie: one shelf for each account and book, open orders indexed by symbol.

A book is an order family: orders of one book are invisible to the calls of another. Statuses are stored
in Binance's words (NEW, PARTIALLY_FILLED, FILLED, CANCELED, ...); a venue that says otherwise translates
when it answers.
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

FINISHED_KEPT = 200_000  # finished orders that can still be queried; the oldest are forgotten first


@dataclass(slots=True, eq=False)
class Order:
    """One order. Amounts are decimal strings, as they travel; `extra` holds what one venue alone knows.

    `created_ms` and `updated_ms` are what the venue says; `opened_us` and `ended_us` are when it really
    came onto the open book and left it (0: still there), whatever a scene or a skewed clock pretends.
    """

    account: str
    book: str
    symbol: str
    order_id: str
    client_order_id: str
    side: str
    type: str
    quantity: str
    price: str = "0"
    time_in_force: str = "GTC"
    reduce_only: bool = False
    stop_price: str = "0"
    list_id: str = ""
    executed: str = "0"
    status: str = "NEW"
    is_open: bool = True
    created_ms: int = 0
    updated_ms: int = 0
    opened_us: int = 0
    ended_us: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The order in the control plane's words, the same for every venue."""
        return {
            "account": self.account,
            "book": self.book,
            "symbol": self.symbol,
            "order_id": self.order_id,
            "client_order_id": self.client_order_id,
            "side": self.side,
            "type": self.type,
            "quantity": self.quantity,
            "executed": self.executed,
            "price": self.price,
            "stop_price": self.stop_price,
            "reduce_only": self.reduce_only,
            "list_id": self.list_id,
            "status": self.status,
            "open": self.is_open,
            "created_ms": self.created_ms,
            "updated_ms": self.updated_ms,
            "opened_us": self.opened_us,
            "ended_us": self.ended_us,
        }


class Shelf:
    """One account's orders of one book."""

    __slots__ = ("by_client_id", "by_id", "open_count", "open_orders")

    def __init__(self) -> None:
        self.open_orders: dict[str, dict[str, Order]] = {}  # symbol, order id; symbols stay once seen
        self.by_id: dict[tuple[str, str], Order] = {}  # symbol and id: Binance ids grow per symbol
        self.by_client_id: dict[tuple[str, str], Order] = {}
        self.open_count = 0


class Books:
    """Every order of every account."""

    def __init__(self) -> None:
        self.shelves: dict[tuple[str, str], Shelf] = {}
        self.finished: deque[Order] = deque()
        self.open_count = 0

    def shelf(self, account: str, book: str) -> Shelf:
        """The shelf of an account's book, made on first use."""
        try:
            return self.shelves[account, book]
        except KeyError:
            return self.shelves.setdefault((account, book), Shelf())

    def add(self, order: Order) -> Order:
        """Put a new open order on its shelf. Raises ValueError when its id is taken."""
        shelf = self.shelf(order.account, order.book)
        if (order.symbol, order.order_id) in shelf.by_id:
            raise ValueError(f"there is an order {order.order_id} on {order.symbol} already")
        order.opened_us = time.time_ns() // 1000
        shelf.open_orders.setdefault(order.symbol, {})[order.order_id] = order
        shelf.by_id[order.symbol, order.order_id] = order
        shelf.by_client_id[order.symbol, order.client_order_id] = order
        shelf.open_count += 1
        self.open_count += 1
        return order

    def open(self, account: str, book: str, symbol: str | None = None) -> list[Order]:
        """The open orders of an account's book, of one symbol or of all, oldest first within a symbol."""
        shelf = self.shelves.get((account, book))
        if shelf is None:
            return []
        if symbol is not None:
            return list(shelf.open_orders.get(symbol, {}).values())
        return [order for orders in shelf.open_orders.values() for order in orders.values()]

    def find(
        self,
        account: str,
        book: str,
        symbol: str | None = None,
        order_id: str | None = None,
        client_order_id: str | None = None,
    ) -> Order | None:
        """The order with this id (or else this client id), open or finished; `symbol` None looks in all."""
        shelf = self.shelves.get((account, book))
        if shelf is None:
            return None
        index, wanted = (shelf.by_id, order_id) if order_id else (shelf.by_client_id, client_order_id)
        if not wanted:
            return None
        if symbol is not None:
            return index.get((symbol, wanted))
        found = (index.get((known, wanted)) for known in shelf.open_orders)
        return next((order for order in found if order is not None), None)

    def history(self, account: str, book: str, symbol: str | None = None) -> list[Order]:
        """All orders of an account's book, finished ones included, in the order of their arrival."""
        shelf = self.shelves.get((account, book))
        if shelf is None:
            return []
        return [o for o in shelf.by_id.values() if symbol is None or o.symbol == symbol]

    def finish(self, order: Order, status: str, now_ms: int) -> None:
        """Take an order off the open book with its final status; nothing happens to a finished one."""
        if not order.is_open:
            return
        shelf = self.shelves[order.account, order.book]
        del shelf.open_orders[order.symbol][order.order_id]
        shelf.open_count -= 1
        self.open_count -= 1
        order.is_open = False
        order.status = status
        order.updated_ms = now_ms
        order.ended_us = time.time_ns() // 1000
        self.finished.append(order)
        if len(self.finished) > FINISHED_KEPT:
            self._forget(self.finished.popleft())

    def fill(self, order: Order, now_ms: int, quantity: str | None = None) -> None:
        """Execute an open order, wholly or by `quantity`; it finishes once nothing is left."""
        if not order.is_open:
            return
        total = Decimal(order.quantity)
        executed = total if quantity is None else min(total, Decimal(order.executed) + Decimal(quantity))
        order.executed = format(executed, "f")
        if executed == total:
            self.finish(order, "FILLED", now_ms)
        else:
            order.status = "PARTIALLY_FILLED"
            order.updated_ms = now_ms

    def all(self, account: str | None = None) -> Iterator[Order]:
        """Every order, finished ones included."""
        for (owner, _book), shelf in self.shelves.items():
            if account is None or owner == account:
                yield from shelf.by_id.values()

    def _forget(self, order: Order) -> None:
        shelf = self.shelves[order.account, order.book]
        shelf.by_id.pop((order.symbol, order.order_id), None)
        if shelf.by_client_id.get((order.symbol, order.client_order_id)) is order:
            del shelf.by_client_id[order.symbol, order.client_order_id]
