"""The orders of a sweep, and those of a whole panic that are looked for: loudest first."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Case, Count, IntegerField, Value, When

from panicboard.models import Panic, Sweep, SweptOrder

Outcome = SweptOrder.Outcome

#: Orders, loudest first: those that count as open, and those that are gone.
OPEN_OUTCOMES = (Outcome.UNKNOWN, Outcome.STILL_OPEN, Outcome.REJECTED, Outcome.ACKED, Outcome.SENT)
GONE_OUTCOMES = (Outcome.FILLED, Outcome.EXPIRED, Outcome.CANCELLED)
#: How many order rows a sweep's table shows, on a page that goes on changing and on paper. Every order is
#: found by outcome, symbol and account; the exported record has them all.
ON_PAGE, ON_PAPER = 100, 1000
#: How many a page of found orders shows.
PAGE = 100


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
class FoundOrder:
    account: str
    sweep_id: int
    line: OrderLine


@dataclass(frozen=True, slots=True)
class FoundOrders:
    """One page of a panic's orders that match."""

    panic_id: int
    pressed_at: datetime
    running: bool
    orders: tuple[FoundOrder, ...]
    total: int  # that match
    all: int
    page: int
    pages: int
    accounts: tuple[str, ...]
    symbols: tuple[str, ...]
    read_at: datetime


@dataclass(frozen=True, slots=True)
class OrderTable:
    sweep_id: int
    panic_id: int
    account: str
    pressed_at: datetime
    full: bool
    lines: tuple[OrderLine, ...]
    most: int
    total: int
    cancelled: int
    clear_at: datetime | None
    #: Why the account is not clear, in full; empty once it is.
    last_word: str

    @property
    def fits(self) -> bool:
        """Whether a table has a row for every order."""
        return self.total <= self.most

    @property
    def left_out(self) -> int:
        """How many orders have no row here, besides the cancelled ones that are folded."""
        return self.total - len(self.lines) - (0 if self.full else self.cancelled)


def read(sweep_id: int, *, full: bool, most: int = ON_PAGE) -> OrderTable:
    """Read the orders of one sweep, loudest first and at most so many; cancelled ones only in full.

    Raises Sweep.DoesNotExist.
    """
    sweep = Sweep.objects.select_related("panic", "account").get(pk=sweep_id)
    totals: dict[str, int] = dict(sweep.orders.values_list("outcome").annotate(Count("pk")).order_by())
    wanted = sweep.orders.order_by(_loudness(), "symbol", "pk")
    if not full:
        wanted = wanted.exclude(outcome=Outcome.CANCELLED)
    return OrderTable(
        sweep_id=sweep.pk,
        panic_id=sweep.panic_id,
        account=sweep.account.name,
        pressed_at=sweep.panic.pressed_at,
        full=full,
        lines=tuple(_order_line(row) for row in wanted[:most]),
        most=most,
        total=sum(totals.values()),
        cancelled=totals.get(Outcome.CANCELLED, 0),
        clear_at=sweep.clear_at,
        last_word="" if sweep.state == Sweep.State.CLEAR else sweep.last_word,
    )


def find(
    panic: Panic, now: datetime, *, outcome: str = "", symbol: str = "", account: str = "", page: int = 1
) -> FoundOrders:
    """The orders of a panic with this outcome, symbol and account (all where empty), a page of them."""
    orders = SweptOrder.objects.filter(sweep__panic=panic)
    wanted = {"outcome": outcome, "symbol": symbol, "sweep__account__name": account}
    matching = orders.filter(**{name: value for name, value in wanted.items() if value})
    total = matching.count()
    pages = max(1, -(-total // PAGE))
    page = min(max(1, page), pages)
    ranked = matching.order_by(_loudness(), "sweep__account__name", "symbol", "pk")
    rows = ranked.select_related("sweep__account")[(page - 1) * PAGE : page * PAGE]
    names = panic.sweeps.order_by("account__name").values_list("account__name", flat=True)
    return FoundOrders(
        panic_id=panic.pk,
        pressed_at=panic.pressed_at,
        running=panic.sweeps.exclude(state__in=Sweep.OVER).exists(),
        orders=tuple(FoundOrder(row.sweep.account.name, row.sweep_id, _order_line(row)) for row in rows),
        total=total,
        all=orders.count(),
        page=page,
        pages=pages,
        accounts=tuple(names),
        symbols=tuple(orders.order_by("symbol").values_list("symbol", flat=True).distinct()),
        read_at=now,
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
