"""Whether an answer is about what was asked: what is told of another order or symbol proves nothing."""

from collections.abc import Iterable

from panicboard.venues.base import Order, OrderRef
from panicboard.venues.errors import OutcomeUnknown


def same_order(order: Order, ref: OrderRef) -> Order:
    """The order, if it is the one asked for; another's state must never be taken for it.

    The venue's id is compared where it is known, else the client's, which not every answer tells. A venue
    may count its ids by symbol, so that is compared as well. Raises OutcomeUnknown.
    """
    asked, told = ref.venue_order_id, order.venue_order_id
    if not asked and order.client_order_id:
        asked, told = ref.client_order_id, order.client_order_id
    if asked and asked != told:
        raise OutcomeUnknown(f"asked for order {asked}, was told of {told}")
    if ref.symbol and ref.symbol != order.symbol:
        raise OutcomeUnknown(f"asked for order {asked} of {ref.symbol}, was told of one of {order.symbol}")
    return order


def of_symbol(orders: list[Order], symbol: str | None) -> list[Order]:
    """The orders, if all are of the symbol asked for (None: of any).

    Raises OutcomeUnknown when one is not: an answer to another question does not show that this symbol
    has no other orders.
    """
    for order in orders:
        if symbol is not None and order.symbol != symbol:
            raise OutcomeUnknown(f"asked for orders of {symbol}, was told of {order.symbol}")
    return orders


def collect(found: dict[str, Order], orders: Iterable[Order]) -> None:
    """Add orders of one symbol, or of a venue whose ids are its own, by id.

    What was told to be open stays open, whatever else is told of it: the two cannot both be of now.
    """
    for order in orders:
        known = found.get(order.venue_order_id)
        if known is None or not known.state.is_open:
            found[order.venue_order_id] = order
