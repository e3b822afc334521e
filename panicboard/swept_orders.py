"""The orders of one sweep: each is one row, seen once and followed to its outcome."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from panicboard import database, leases
from panicboard.models import Sweep, SweptOrder
from panicboard.venues.base import Order, OrderRef, OrderState, VenueAdapter

Outcome = SweptOrder.Outcome

_OUTCOMES = {
    OrderState.CANCELLED: Outcome.CANCELLED,
    OrderState.FILLED: Outcome.FILLED,
    OrderState.EXPIRED: Outcome.EXPIRED,
    OrderState.REJECTED: Outcome.EXPIRED,  # refused by the venue when it was placed: gone, and not by us
    OrderState.TRIGGERED: Outcome.EXPIRED,  # gone from its book; its ordinary order has a row of its own
}
#: What a venue tells of an order besides its names and its state.
DETAILS = (
    "client_order_id",
    "list_id",
    "side",
    "order_type",
    "quantity",
    "filled",
    "price",
    "trigger_price",
    "protective",
    "placed_at",
)
#: An order as the venue described it.
DESCRIBED = ("family", "symbol", "venue_order_id", *DETAILS)
_CHANGING = ["outcome", "outcome_at", "vanished", "note"]


class SweptOrders:
    """The rows of one sweep in memory; `flush` writes what changed in few statements."""

    def __init__(self, sweep: Sweep, rows: Iterable[SweptOrder] = ()) -> None:
        self.sweep = sweep
        self._rows = {_key(row): row for row in rows}
        self._new: list[SweptOrder] = []
        self._changed: dict[int, SweptOrder] = {}
        self._described: dict[int, SweptOrder] = {}  # of these, details have changed as well
        #: How far the venue's clock is ahead of ours, for what it says of times.
        self.venue_ahead = timedelta(0)

    @classmethod
    def load(cls, sweep: Sweep) -> "SweptOrders":
        """The rows that the sweep has already."""
        return cls(sweep, sweep.orders.all())

    def __len__(self) -> int:
        return len(self._rows)

    def has(self, order: Order) -> bool:
        return self._find(order.family, order.symbol, order.venue_order_id) is not None

    def unresolved(self) -> list[SweptOrder]:
        """Rows whose outcome is still to be found: neither gone nor beyond asking."""
        return [row for row in self._rows.values() if row.outcome not in SweptOrder.GONE and not row.vanished]

    @property
    def latest_after(self) -> datetime | None:
        """When the latest order was seen that was placed after the press."""
        return max((row.seen_at for row in self._rows.values() if row.placed_after), default=None)

    def count(self, *outcomes: str) -> int:
        return sum(row.outcome in outcomes for row in self._rows.values())

    def by_outcome(self) -> dict[str, int]:
        """How many orders there are of each outcome."""
        counted = {outcome: self.count(outcome) for outcome in Outcome}
        return {str(outcome.label): count for outcome, count in counted.items() if count}

    def see(self, order: Order, outcome: str, note: str = "") -> SweptOrder:
        """Take note of an order the venue described; a row is made at the first sight of it.

        One that the venue did not know a moment ago has not vanished: it may still be on its way to a book.
        """
        row = self._find(order.family, order.symbol, order.venue_order_id)
        if row is None:
            row = self._add(order.family, order.symbol, order.venue_order_id)
        elif not row.symbol:  # known by its id alone until now
            del self._rows[_key(row)]
            row.symbol = order.symbol
            self._rows[_key(row)] = row
            self._describe(row)
        for name in DETAILS:
            told, known = getattr(order, name), getattr(row, name)
            if told != known and (told or not known):  # a reply that tells less leaves what was known
                setattr(row, name, told)
                self._describe(row)
        pressed_at = self.sweep.panic.pressed_at + self.venue_ahead
        if row.placed_at and row.placed_at > pressed_at and not row.placed_after:
            row.placed_after = True
            self._describe(row)
        row.vanished = False
        self.mark(row, outcome, note or ("placed after the press" if row.placed_after else ""))
        return row

    def see_id(self, family: str, venue_order_id: str, outcome: str, symbol: str = "") -> None:
        """Take note of an order of which the venue gave no more than the id, with or without its symbol."""
        row = self._find(family, symbol, venue_order_id)
        if row is None:
            row = self._add(family, symbol, venue_order_id)
        elif symbol:
            return  # followed already, from a better description
        row.vanished = False
        self.mark(row, outcome)

    def settle(self, order: Order, adapter: VenueAdapter) -> None:
        """Take an order's state from the venue's own answer about it as its outcome."""
        if order.state.is_open:
            self.see(order, Outcome.ACKED if order.cancel_pending else Outcome.STILL_OPEN)
            return
        note = ""
        if order.state is OrderState.FILLED:
            note = "filled before the cancel"
        elif order.state is OrderState.TRIGGERED:
            note = self._follow_successor(order, adapter)
        elif order.state is OrderState.REJECTED:
            note = "refused by the venue when it was placed"
        elif order.filled and order.state is OrderState.CANCELLED:
            note = "partly filled, the rest cancelled"
        elif order.state is OrderState.EXPIRED:
            note = "by the venue, not by us"
        self.see(order, _OUTCOMES[order.state], note)

    def _follow_successor(self, order: Order, adapter: VenueAdapter) -> str:
        """Give the ordinary order that a triggered one became a row of its own."""
        book = adapter.family(order.family).triggers_into
        if not (book and order.successor_id):
            return "triggered; the venue names no ordinary order"
        self.see_id(book, order.successor_id, Outcome.SENT, symbol=order.symbol)
        return f"triggered; followed as ordinary order {order.successor_id}"

    def vanish(self, row: SweptOrder) -> None:
        """The venue, asked for it, does not know this order: there is nothing left to ask."""
        self.mark(
            row, Outcome.UNKNOWN, "on no list of the venue, which does not know it any more", vanished=True
        )

    def mark(self, row: SweptOrder, outcome: str, note: str | None = None, *, vanished: bool = False) -> None:
        """Set an outcome; its time is when it became so, not when it was seen again.

        An order that had vanished and is told of again is followed again.
        """
        row.vanished = vanished
        if row.outcome != outcome:
            row.outcome, row.outcome_at = outcome, timezone.now()
        if note is not None and note != row.note:
            row.note = note[:300]
        if row.pk is not None:
            self._changed[row.pk] = row

    def mark_all(self, rows: Iterable[SweptOrder], outcome: str, note: str | None = None) -> None:
        for row in rows:
            self.mark(row, outcome, note)

    def flush(self) -> None:
        """Write new and changed rows; most changes touch an outcome only, and cost a third then.

        A worker that no longer holds the sweep writes nothing: another may know better by now. Raises
        LostLease.
        """
        outcomes = [row for pk, row in self._changed.items() if pk not in self._described]
        described = list(self._described.values())
        if not (self._new or outcomes or described):
            return
        with database.WRITERS, transaction.atomic():
            leases.confirm(self.sweep)
            SweptOrder.objects.bulk_create(
                self._new,
                # A journal that is being imported may have told of the same order a moment ago.
                update_conflicts=True,
                unique_fields=["sweep", "family", "symbol", "venue_order_id"],
                update_fields=_CHANGING,
            )
            SweptOrder.objects.bulk_update(outcomes, _CHANGING, batch_size=500)
            SweptOrder.objects.bulk_update(
                described, [*_CHANGING, *DETAILS, "symbol", "placed_after"], batch_size=200
            )
        self._new, self._changed, self._described = [], {}, {}

    def _describe(self, row: SweptOrder) -> None:
        if row.pk is not None:
            self._described[row.pk] = row

    def _find(self, family: str, symbol: str, venue_order_id: str) -> SweptOrder | None:
        """The row of an order. Ids may be the venue's per symbol, so the symbol is part of the name."""
        row = self._rows.get((family, symbol, venue_order_id))
        if row is None and symbol:
            return self._rows.get((family, "", venue_order_id))
        if row is None:
            return next(
                (r for r in self._rows.values() if (r.family, r.venue_order_id) == (family, venue_order_id)),
                None,
            )
        return row

    def _add(self, family: str, symbol: str, venue_order_id: str) -> SweptOrder:
        now = timezone.now()
        row = SweptOrder(
            sweep=self.sweep,
            family=family,
            symbol=symbol,
            venue_order_id=venue_order_id,
            seen_at=now,
            outcome="",
            outcome_at=now,
        )
        self._rows[_key(row)] = row
        self._new.append(row)
        return row


def _key(row: SweptOrder) -> tuple[str, str, str]:
    return row.family, row.symbol, row.venue_order_id


def as_order(row: SweptOrder) -> Order:
    """A row's order as the venue last described it, taken to be open still."""
    details = {name: getattr(row, name) for name in DETAILS}
    details["quantity"], details["filled"] = row.quantity or Decimal(0), row.filled or Decimal(0)
    return Order(
        family=row.family,
        symbol=row.symbol,
        venue_order_id=row.venue_order_id,
        state=OrderState.OPEN,
        venue_status="",
        **details,
    )


def ref(row: SweptOrder) -> OrderRef:
    """The ids by which the venue knows a row's order."""
    return OrderRef(row.family, row.symbol, row.venue_order_id, row.client_order_id)


def earliest(rows: Iterable[SweptOrder], default: datetime) -> datetime:
    """When the first of these orders was placed, as far as the venue said."""
    return min((row.placed_at for row in rows if row.placed_at), default=default)
