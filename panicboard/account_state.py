"""What the page of one account shows: its ways out and their limits, its open orders as last read, by
symbol, its latest sweeps and its latest venue calls."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from panicboard import call_log, countdowns, limits_state, readings
from panicboard.limits_state import Use
from panicboard.models import Account, CanaryRun, Reading, Sweep, VenueCall
from panicboard.venues import VENUES
from panicboard.venues.base import Order

SWEEPS_SHOWN = 10
CALLS_SHOWN = 25
ORDERS_A_PAGE = 100


@dataclass(frozen=True, slots=True)
class SymbolOrders:
    """One symbol's open orders on this page, and how many it has in all."""

    symbol: str
    orders: tuple[Order, ...]
    count: int


@dataclass(frozen=True, slots=True)
class SweepLine:
    panic_id: int
    panic_url: str
    scope_label: str
    pressed_at: datetime
    pressed_by: str
    state: str
    label: str
    last_word: str


@dataclass(frozen=True, slots=True)
class CanaryLine:
    """The last canary run of a marked account that is over (none: `state` is empty), and one under way."""

    state: str
    ended_at: datetime | None
    families: int
    panic_id: int | None
    last_word: str
    running_since: datetime | None
    running_word: str


@dataclass(frozen=True, slots=True)
class AccountPage:
    pk: int
    name: str
    desk: str
    venue: str
    adapter: str
    strategy: str
    enabled: bool
    read_at: datetime | None
    #: Whether nobody knows what is open now: the number beside its stop is then a question mark.
    is_unread: bool
    failure: str
    failing_since: datetime | None
    latched_at: datetime | None
    latched_by: int | None
    #: Countdowns that a panic withheld, and that nobody armed again since the release.
    to_rearm: int
    canary: CanaryLine | None
    ways: tuple[str, ...]
    limits: tuple[Use, ...]
    limits_read_at: datetime
    open: int
    #: The orders of this page, by symbol, and how many that are.
    symbols: tuple[SymbolOrders, ...]
    shown: int
    page: int
    pages: int
    sweeps: tuple[SweepLine, ...]
    calls: tuple[VenueCall, ...]


def read(account: Account, now: datetime, page: int = 1) -> AccountPage:
    """Read one account (with its desk, venue, ways out and reading already joined).

    Of its open orders those of this page, or of the last one where there are fewer.
    """
    reading: Reading | None = getattr(account, "reading", None)
    orders = [readings.from_record(one) for one in reading.orders] if reading else []
    orders.sort(key=lambda order: order.symbol)
    pages = max(1, -(-len(orders) // ORDERS_A_PAGE))
    page = min(max(1, page), pages)
    shown = orders[(page - 1) * ORDERS_A_PAGE : page * ORDERS_A_PAGE]
    sweeps = account.sweeps.select_related("panic__desk", "panic__account").order_by("-pk")[:SWEEPS_SHOWN]
    adapter = VENUES.get(account.venue.adapter)
    return AccountPage(
        pk=account.pk,
        name=account.name,
        desk=account.desk.name,
        venue=account.venue.name,
        adapter=adapter.label if adapter else account.venue.adapter,
        strategy=account.strategy,
        enabled=account.enabled,
        read_at=reading.read_at if reading else None,
        is_unread=not account.enabled or reading is None or reading.read_at is None or reading.failure != "",
        failure=reading.failure if reading else "",
        failing_since=reading.failing_since if reading else None,
        latched_at=account.latched_at,
        latched_by=account.latched_by_id,
        to_rearm=countdowns.to_rearm(account).count() if account.latched_by_id is None else 0,
        canary=_canary(account) if account.canary else None,
        ways=limits_state.ways_of(account),
        limits=limits_state.of_account(account, now),
        limits_read_at=now,
        open=len(orders),
        symbols=_by_symbol(shown, Counter(order.symbol for order in orders)),
        shown=len(shown),
        page=page,
        pages=pages,
        sweeps=tuple(_line(sweep) for sweep in sweeps),
        calls=tuple(call_log.of_account(account.name, CALLS_SHOWN)),
    )


def _by_symbol(shown: Sequence[Order], counts: Mapping[str, int]) -> tuple[SymbolOrders, ...]:
    by_symbol: dict[str, list[Order]] = {}
    for order in shown:
        by_symbol.setdefault(order.symbol, []).append(order)
    return tuple(SymbolOrders(symbol, tuple(mine), counts[symbol]) for symbol, mine in by_symbol.items())


def _canary(account: Account) -> CanaryLine:
    # Of two that are newest, one may be under way.
    newest = list(account.canary_runs.order_by("-began_at", "-pk")[:2])
    running = next((run for run in newest if run.state == CanaryRun.State.RUNNING), None)
    over = next((run for run in newest if run.state != CanaryRun.State.RUNNING), None)
    return CanaryLine(
        state=over.state if over else "",
        ended_at=over.ended_at if over else None,
        families=len(over.placed) if over else 0,
        panic_id=over.panic_id if over else None,
        last_word=over.last_word if over else "",
        running_since=running.began_at if running else None,
        running_word=running.last_word if running else "",
    )


def _line(sweep: Sweep) -> SweepLine:
    return SweepLine(
        panic_id=sweep.panic_id,
        panic_url=sweep.panic.get_absolute_url(),
        scope_label=sweep.panic.scope_label,
        pressed_at=sweep.panic.pressed_at,
        pressed_by=sweep.panic.pressed_by_name,
        state=sweep.state,
        label=sweep.label,
        last_word=sweep.last_word,
    )
