"""The orders of one sweep, as the page of its panic shows them: loudest first."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Case, Count, IntegerField, Value, When

from panicboard.models import Sweep, SweptOrder

Outcome = SweptOrder.Outcome

#: Orders, loudest first: those that count as open, and those that are gone.
OPEN_OUTCOMES = (Outcome.UNKNOWN, Outcome.STILL_OPEN, Outcome.REJECTED, Outcome.ACKED, Outcome.SENT)
GONE_OUTCOMES = (Outcome.FILLED, Outcome.EXPIRED, Outcome.CANCELLED)
#: How many order rows a table shows, folded and in full. The exported record has them all.
SHORT_TABLE, FULL_TABLE = 100, 1000


@dataclass(frozen=True, slots=True)
class OrderLine:
    outcome: str
    label: str
    venue_order_id: str
    client_order_id: str
    list_id: str
    family: str
    symbol: str
    side: str
    order_type: str
    quantity: Decimal | None
    filled: Decimal | None
    protective: bool
    outcome_at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class OrderTable:
    sweep_id: int
    account: str
    pressed_at: datetime
    full: bool
    lines: tuple[OrderLine, ...]
    total: int
    cancelled: int
    clear_at: datetime | None
    #: Why the account is not clear, in full; empty once it is.
    last_word: str

    @property
    def left_out(self) -> int:
        """How many orders have no row here, besides the cancelled ones that are folded."""
        return self.total - len(self.lines) - (0 if self.full else self.cancelled)


def read(sweep_id: int, *, full: bool) -> OrderTable:
    """Read the orders of one sweep, loudest first; cancelled ones only in full. Raises Sweep.DoesNotExist."""
    sweep = Sweep.objects.select_related("panic", "account").get(pk=sweep_id)
    totals: dict[str, int] = dict(sweep.orders.values_list("outcome").annotate(Count("pk")).order_by())
    wanted = sweep.orders.order_by(_loudness(), "symbol", "pk")
    if not full:
        wanted = wanted.exclude(outcome=Outcome.CANCELLED)
    return OrderTable(
        sweep_id=sweep.pk,
        account=sweep.account.name,
        pressed_at=sweep.panic.pressed_at,
        full=full,
        lines=tuple(_order_line(row) for row in wanted[: FULL_TABLE if full else SHORT_TABLE]),
        total=sum(totals.values()),
        cancelled=totals.get(Outcome.CANCELLED, 0),
        clear_at=sweep.clear_at,
        last_word="" if sweep.state == Sweep.State.CLEAR else sweep.last_word,
    )


def _loudness() -> Case:
    ranked = enumerate(OPEN_OUTCOMES + GONE_OUTCOMES)
    return Case(*(When(outcome=one, then=Value(rank)) for rank, one in ranked), output_field=IntegerField())


def _order_line(row: SweptOrder) -> OrderLine:
    return OrderLine(
        outcome=row.outcome,
        label=row.get_outcome_display(),
        venue_order_id=row.venue_order_id,
        client_order_id=row.client_order_id,
        list_id=row.list_id,
        family=row.family,
        symbol=row.symbol,
        side=row.side,
        order_type=row.order_type,
        quantity=row.quantity,
        filled=row.filled,
        protective=row.protective,
        outcome_at=row.outcome_at,
        note=row.note,
    )
