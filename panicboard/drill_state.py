"""What is shown of drills: their list, one of them, the one that runs now. Frozen values, without ages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Sum

from panicboard.models import Drill, DrilledAccount

State = DrilledAccount.State

#: Worst first: the order of a page's rows when it is loaded.
_RANKS = (State.FAILED, State.WAITING, State.READING, State.QUEUED, State.CLEAR)


@dataclass(frozen=True, slots=True)
class RunningDrill:
    """The latest drill that still runs, in short."""

    pk: int
    scope_label: str
    began_at: datetime
    begun_by: str
    accounts: int
    over: int


@dataclass(frozen=True, slots=True)
class DrillLine:
    """A drill in the list."""

    pk: int
    url: str
    began_at: datetime
    begun_by: str
    scope_label: str
    reason: str
    accounts: int
    clear: int
    running: int
    orders: int
    skipped: int

    @property
    def state(self) -> tuple[str, str]:
        """A state's code for its shape, and the words."""
        if self.running:
            return State.READING, "DRILL RUNNING"
        if self.clear == self.accounts:
            return State.CLEAR, "DRILL CLEAR"
        return State.FAILED, "DRILL NOT CLEAR"


@dataclass(frozen=True, slots=True)
class DrillRow:
    """One account, and what its reading took. Times of calls are told after the drill began."""

    pk: int
    account: str
    account_url: str
    venue: str
    state: str
    label: str
    began_at: datetime  # of the drill
    first_request_at: datetime | None
    read_at: datetime | None
    read_ms: int | None
    calls: int
    weight: int
    orders: int
    families: tuple[tuple[str, int, int], ...]  # label, orders, ms
    cancels: int
    doubt: str
    last_word: str
    #: When what waits is tried again.
    due_at: datetime | None

    @property
    def is_read(self) -> bool:
        return self.read_at is not None


@dataclass(frozen=True, slots=True)
class Head:
    pk: int
    scope_label: str
    began_at: datetime
    ended_at: datetime | None
    accounts: int
    clear: int
    failed: int
    waiting: int
    next_try_at: datetime | None
    first_read_at: datetime | None
    last_read_at: datetime | None

    @property
    def is_clear(self) -> bool:
        return self.ended_at is not None and self.clear == self.accounts


@dataclass(frozen=True, slots=True)
class Would:
    """What a panic of the same scope would have done, as far as the accounts were read."""

    pk: int
    is_over: bool
    read: int
    cancels: int
    cancel_weight: int
    orders: int
    protective: int
    #: Accounts that a panic would not have reached, and why; those it may not have swept whole, and why.
    missed: tuple[tuple[str, str], ...]
    doubted: tuple[tuple[str, str], ...]
    #: What the slowest reading took, and whose it was.
    slowest_ms: int | None
    slowest: str


@dataclass(frozen=True, slots=True)
class DrillPage:
    pk: int
    head: Head
    rows: tuple[DrillRow, ...]
    would: Would
    begun_by: str
    reason: str
    calls: int
    weight: int

    @property
    def running(self) -> bool:
        return self.head.ended_at is None


def running() -> RunningDrill | None:
    """The latest drill of which an account still has to be read."""
    unfinished = DrilledAccount.objects.exclude(state__in=DrilledAccount.OVER)
    drills = Drill.objects.filter(pk__in=unfinished.values("drill"))
    drill = drills.select_related("desk", "account").first()
    if drill is None:
        return None
    line = lines([drill])[0]
    return RunningDrill(
        pk=drill.pk,
        scope_label=drill.scope_label,
        began_at=drill.began_at,
        begun_by=drill.begun_by_name,
        accounts=line.accounts,
        over=line.accounts - line.running,
    )


def lines(drills: Iterable[Drill]) -> list[DrillLine]:
    """These drills as the list shows them, in one query for any number of them."""
    drills = list(drills)
    states: dict[int, dict[str, tuple[int, int]]] = {drill.pk: {} for drill in drills}
    counted = (
        DrilledAccount.objects.filter(drill__in=states)
        .values_list("drill", "state")
        .annotate(Count("pk"), Sum("orders"))
        .order_by()
    )
    for drill_id, state, accounts, orders in counted:
        states[drill_id][state] = accounts, orders
    return [_line(drill, states[drill.pk]) for drill in drills]


def _line(drill: Drill, states: Mapping[str, tuple[int, int]]) -> DrillLine:
    return DrillLine(
        pk=drill.pk,
        url=drill.get_absolute_url(),
        began_at=drill.began_at,
        begun_by=drill.begun_by_name,
        scope_label=drill.scope_label,
        reason=drill.reason,
        accounts=sum(accounts for accounts, _ in states.values()),
        clear=states.get(State.CLEAR, (0, 0))[0],
        running=sum(accounts for state, (accounts, _) in states.items() if state not in DrilledAccount.OVER),
        orders=sum(orders for _, orders in states.values()),
        skipped=len(drill.skipped),
    )


def read(pk: int) -> DrillPage:
    """Read one drill. Raises Drill.DoesNotExist."""
    drill = Drill.objects.select_related("desk", "account").get(pk=pk)
    found = list(drill.accounts.select_related("account__venue").order_by("account__name"))
    rows = sorted(found, key=lambda one: _RANKS.index(State(one.state)))
    return DrillPage(
        pk=drill.pk,
        head=_head(drill, rows),
        rows=tuple(_row(drill, one) for one in rows),
        would=_would(drill, rows),
        begun_by=drill.begun_by_name,
        reason=drill.reason,
        calls=sum(one.calls for one in rows),
        weight=sum(one.weight for one in rows),
    )


def _head(drill: Drill, rows: Sequence[DrilledAccount]) -> Head:
    ended = [one.ended_at for one in rows if one.ended_at]
    read = [one.read_at for one in rows if one.read_at]
    waiting = [one.due_at for one in rows if one.state == State.WAITING]
    return Head(
        pk=drill.pk,
        scope_label=drill.scope_label,
        began_at=drill.began_at,
        ended_at=max(ended) if len(ended) == len(rows) else None,
        accounts=len(rows),
        clear=sum(one.state == State.CLEAR for one in rows),
        failed=sum(one.state == State.FAILED for one in rows),
        waiting=len(waiting),
        next_try_at=min(waiting, default=None),
        first_read_at=min(read, default=None),
        last_read_at=max(read, default=None),
    )


def _row(drill: Drill, one: DrilledAccount) -> DrillRow:
    return DrillRow(
        pk=one.pk,
        account=one.account.name,
        account_url=one.account.get_absolute_url(),
        venue=one.account.venue.name,
        state=one.state,
        label=one.get_state_display(),
        began_at=drill.began_at,
        first_request_at=one.first_request_at,
        read_at=one.read_at,
        read_ms=one.read_ms,
        calls=one.calls,
        weight=one.weight,
        orders=one.orders,
        families=tuple((family["label"], family["orders"], family["ms"]) for family in one.families),
        cancels=one.cancels,
        doubt=one.doubt,
        last_word=one.last_word,
        due_at=one.due_at if one.state == State.WAITING else None,
    )


def _would(drill: Drill, rows: Sequence[DrilledAccount]) -> Would:
    read = [one for one in rows if one.read_at]
    slowest = max(read, key=lambda one: one.read_ms or 0, default=None)
    missed = [(one.account.name, one.last_word) for one in rows if one.state == State.FAILED]
    missed += [(name, "disabled: neither read nor swept") for name in drill.skipped]
    return Would(
        pk=drill.pk,
        is_over=all(one.state in DrilledAccount.OVER for one in rows),
        read=len(read),
        cancels=sum(one.cancels for one in read),
        cancel_weight=sum(one.cancel_weight for one in read),
        orders=sum(one.orders for one in read),
        protective=sum(one.protective for one in read),
        missed=tuple(missed),
        doubted=tuple((one.account.name, one.doubt) for one in rows if one.doubt),
        slowest_ms=slowest.read_ms if slowest else None,
        slowest=slowest.account.name if slowest else "",
    )
