"""What the board and every page's masthead show: read in a fixed number of queries, as frozen values.

Nothing in these values says "now": ages are times, so that equal values mean that nothing has changed.
Sweeps are read before their orders: a sweep is written clear after its last order, so a tally read
later can never be older than the state beside it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum

from django.db.models import Count, F, OuterRef, Q, Subquery
from django.urls import reverse

from panicboard import countdown_cells, drill_state, limits_state, readiness, turns
from panicboard.countdown_cells import Cell, Presence
from panicboard.drill_state import RunningDrill
from panicboard.models import Account, CanaryRun, Desk, Panic, Reading, Sweep, SweptOrder, Venue
from panicboard.models.panics import nothing_open
from panicboard.readiness import Readiness, SystemReadiness
from panicboard.tallies import Tally, open_condition
from panicboard.venues import VENUES

#: How many rows a desk shows at least; its other quiet accounts fold into one line.
ROWS_A_DESK = 4
ENVIRONMENTS = {
    Venue.Environment.LIVE: "LIVE",
    Venue.Environment.TEST: "TEST",
    Venue.Environment.SIMULATED: "SIMULATED",
}
#: A reading that is this much older than planned is coloured.
LATE = timedelta(seconds=5)


class State(IntEnum):
    """An account's state on the board, worst first."""

    PANIC = 0
    FIRED = 1  # a countdown ran out, and nobody has seen to it
    NOT_READY = 2
    LAPSING = 3
    DEGRADED = 4
    LATCHED = 5
    NORMAL = 6
    DISABLED = 7

    @property
    def word(self) -> str:
        return "normal" if self is State.NORMAL else self.name.replace("_", " ")


@dataclass(frozen=True, slots=True)
class SweepLine:
    """The sweep that an account's row speaks of."""

    panic_id: int
    state: str
    state_label: str
    tally: Tally
    last_word: str


@dataclass(frozen=True, slots=True)
class Latch:
    panic_id: int
    since: datetime
    by: str
    #: When a sweep of the whole account found its venue's lists empty, unless later orders were read.
    read_back_at: datetime | None
    placed_since: bool
    #: Protective orders that it leaves open.
    kept: int

    @property
    def nothing_open(self) -> str:
        """What the venue's lists showed, in few words."""
        return f"NONE OPEN BUT {self.kept} KEPT" if self.kept else nothing_open(0)


@dataclass(frozen=True, slots=True)
class AccountRow:
    pk: int
    name: str
    strategy: str
    venue: str
    books: str
    enabled: bool
    state: State
    #: Known now: read without failure since. Otherwise the counts are what was last read.
    read: bool
    read_at: datetime | None
    late: bool
    open: int
    conditional: int
    protective: int
    has_conditional: bool
    has_countdown: bool
    has_countdown_read: bool
    countdown: Cell | None
    readiness: Readiness
    latch: Latch | None
    sweep: SweepLine | None

    @property
    def ordinary(self) -> int:
        return self.open - self.conditional

    @property
    def url(self) -> str:
        return reverse("account", args=[self.pk])

    @property
    def word(self) -> str:
        """Its state. FIRED is said only where the orders were found gone; until then the deadline PASSED."""
        passed = self.state is State.FIRED and self.countdown and self.countdown.line.state.is_loud
        return "PASSED" if passed else self.state.word

    @property
    def is_unread(self) -> bool:
        return self.enabled and not self.read

    @property
    def rank(self) -> tuple[int, int, str]:
        return self.state, -self.open, self.name


@dataclass(frozen=True, slots=True)
class DeskRow:
    pk: int
    name: str
    slug: str
    accounts: int
    unread: int
    open: int
    conditional: int
    protective: int
    armed: int
    ready: tuple[tuple[str, int], ...]  # ("ready", 6), ("degraded", 2), ...
    all_ready: bool
    oldest_read_at: datetime | None
    rows: tuple[AccountRow, ...]
    folded: frozenset[int]

    @property
    def ordinary(self) -> int:
        return self.open - self.conditional

    @property
    def is_known(self) -> bool:
        """Whether any account was read: without one, its sums are no zeros."""
        return self.oldest_read_at is not None

    @property
    def without_rows(self) -> "DeskRow":
        """The desk's own cells: equal while no number of theirs changes."""
        return replace(self, rows=(), folded=frozenset())


@dataclass(frozen=True, slots=True)
class RunningPanic:
    pk: int
    scope: str
    scope_label: str
    pressed_at: datetime
    pressed_by: str
    direct_path: bool
    tally: Tally
    accounts: int
    clear: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The masthead's numbers. `layout` changes when a page's rows no longer fit its accounts."""

    accounts: int
    enabled: int
    unread: int
    open: int
    protective: int
    oldest_read_at: datetime | None
    armed: int
    local: int
    countdowns: int  # armed or not: withheld, over, on their way
    lapsing: int
    fired: int  # accounts
    running: int
    not_clear: int  # sweeps that run on, and were not clear, or failed, when they last looked
    unproven: int  # latched accounts whose venue was not read back empty since
    not_ready: int
    degraded: int
    oldest_check_at: datetime | None
    latched: int
    blocked: bool  # no enabled account would be swept now, as far as its last reading tells
    layout: str

    @property
    def others(self) -> int:
        """Open orders but for the protective ones."""
        return self.open - self.protective

    @property
    def is_known(self) -> bool:
        """Whether any account was read: without one, the sums are no zeros."""
        return self.oldest_read_at is not None


@dataclass(frozen=True, slots=True)
class Board:
    read_at: datetime
    desks: tuple[DeskRow, ...]
    summary: Summary
    running: tuple[RunningPanic, ...]
    system: SystemReadiness
    environments: frozenset[str]
    presence: Presence | None = None
    drill: RunningDrill | None = None

    @property
    def is_live(self) -> bool:
        return Venue.Environment.LIVE in self.environments

    @property
    def environment(self) -> str:
        """What kind of venues these are, in the words of the masthead."""
        words = [ENVIRONMENTS[one] for one in Venue.Environment if one in self.environments]
        return f"{' + '.join(words)} VENUES" if words else "NO VENUES YET"

    def row_of(self, account_id: int) -> AccountRow | None:
        """The row of one account."""
        rows = (row for desk in self.desks for row in desk.rows)
        return next((row for row in rows if row.pk == account_id), None)

    @property
    def shown_drill(self) -> RunningDrill | None:
        """The drill that runs, while nothing real does: a panic takes precedence wherever one is named."""
        return None if self.running else self.drill

    @property
    def joinable(self) -> RunningPanic | None:
        """The running panic that a press of the global stop would join."""
        return next((panic for panic in self.running if panic.scope == Panic.Scope.ALL), None)


def read(now: datetime, system: SystemReadiness | None = None) -> Board:
    """Read the whole board: every account in its desk, worst first, and the masthead's numbers.

    Whoever reads often passes the `system` readiness it already knows: finding it out asks the queue.
    """
    accounts = list(
        # Desks and venues are few, and shared: a thousand copies of them would take as long as all the rest.
        Account.objects.select_related("reading", "latched_by")
        .prefetch_related("desk", "venue")
        .defer("reading__orders", "reading__symbols", "latched_by__order_refs")
    )
    sweeps = _sweeps()
    tallies = _tallies(sweeps)
    cells, presence = countdown_cells.read(accounts, now)
    by_account: dict[int, list[Sweep]] = {}
    for sweep in sweeps:
        by_account.setdefault(sweep.account_id, []).append(sweep)
    ready = readiness_of(accounts, now)
    rows = {
        account.pk: _account_row(
            account,
            by_account.get(account.pk, []),
            tallies,
            cells.get(account.pk),
            ready[account.pk],
            now,
        )
        for account in accounts
    }
    desks = tuple(_desk_row(desk, members, rows) for desk, members in _by_desk(accounts))
    return Board(
        read_at=now,
        desks=desks,
        summary=_summary(desks, sweeps),
        running=_running(sweeps, tallies),
        system=system or readiness.of_system(),
        environments=frozenset(account.venue.environment for account in accounts),
        presence=presence,
        drill=drill_state.running(),
    )


def fold(rows: Sequence[AccountRow]) -> frozenset[int]:
    """Which of a desk's rows (worst first) fold away: quiet ones beyond the first few."""
    abnormal = sum(row.state < State.NORMAL for row in rows)
    return frozenset(row.pk for row in rows[max(ROWS_A_DESK, abnormal) :])


def _sweeps() -> list[Sweep]:
    """Sweeps that run, and those of the panic that latched their account."""
    return list(
        Sweep.objects.filter(~Q(state__in=Sweep.OVER) | Q(account__latched_by=F("panic")))
        .select_related("panic__desk", "panic__account")
        .order_by("-pk")
    )


def _tallies(sweeps: Iterable[Sweep]) -> dict[int, Tally]:
    """Tally of each running panic's sweep, by sweep."""
    running = {sweep.panic_id for sweep in sweeps if sweep.state not in Sweep.OVER}
    counted = (
        SweptOrder.objects.filter(sweep__panic__in=running)
        .values("sweep")
        .annotate(total=Count("pk"), still_open=Count("pk", filter=open_condition()))
        .order_by()
    )
    return {row["sweep"]: Tally(row["total"], row["still_open"]) for row in counted}


def _canaries() -> dict[int, CanaryRun]:
    """The last run that is over of each account marked for the canary."""
    over = CanaryRun.objects.filter(account=OuterRef("pk")).exclude(state=CanaryRun.State.RUNNING)
    last = Account.objects.filter(canary=True).values(last=Subquery(over.values("pk")[:1]))
    return {run.account_id: run for run in CanaryRun.objects.filter(pk__in=last).defer("placed")}


def readiness_of(accounts: Sequence[Account], now: datetime) -> dict[int, Readiness]:
    """Would a panic work now? By account, told beside all that share its venue."""
    canaries, overloaded = _canaries(), limits_state.overloaded(accounts)
    escaped = {
        _api(account): account.name
        for account in accounts
        if account.pk in canaries and canaries[account.pk].state == CanaryRun.State.ESCAPED
    }
    return {
        account.pk: readiness.of_account(
            account,
            getattr(account, "reading", None),
            now,
            canaries.get(account.pk),
            escaped_beside=escaped.get(_api(account), ""),
            overloaded=turns.shared_limit(account) in overloaded,
        )
        for account in accounts
    }


def _api(account: Account) -> tuple[str, str]:
    return account.venue.adapter, account.venue.base_url


def _by_desk(accounts: Iterable[Account]) -> list[tuple[Desk, list[Account]]]:
    desks: dict[int, tuple[Desk, list[Account]]] = {}
    for account in accounts:  # already in the desks' order
        desks.setdefault(account.desk_id, (account.desk, []))[1].append(account)
    return list(desks.values())


def _account_row(
    account: Account,
    sweeps: Sequence[Sweep],
    tallies: Mapping[int, Tally],
    countdown: Cell | None,
    ready: Readiness,
    now: datetime,
) -> AccountRow:
    reading: Reading | None = getattr(account, "reading", None)
    adapter = VENUES.get(account.venue.adapter)
    families = adapter.families if adapter else ()
    running = next((sweep for sweep in sweeps if sweep.state not in Sweep.OVER), None)
    read_at = reading.read_at if reading else None
    return AccountRow(
        pk=account.pk,
        name=account.name,
        strategy=account.strategy,
        venue=account.venue.name,
        books=", ".join(family.label.lower() for family in families),
        enabled=account.enabled,
        state=_state(account, running, ready, countdown),
        read=account.enabled and reading is not None and read_at is not None and not reading.failure,
        read_at=read_at,
        late=_late(reading, now),
        open=reading.open_count if reading else 0,
        conditional=reading.conditional_count if reading else 0,
        protective=reading.protective_count if reading else 0,
        has_conditional=any(family.conditional for family in families),
        has_countdown=adapter is not None and adapter.has_countdown,
        has_countdown_read=adapter is not None and adapter.has_countdown_read,
        countdown=countdown,
        readiness=ready,
        latch=_latch(account, sweeps, reading),
        sweep=_sweep_line(running, tallies) if running else None,
    )


def _state(account: Account, running: Sweep | None, ready: Readiness, countdown: Cell | None) -> State:
    if running:
        return State.PANIC
    # While a panic holds the account, its countdowns are meant to run out.
    held = account.latched_by_id is not None
    if countdown and countdown.over and not held:
        return State.FIRED
    if not account.enabled:
        return State.LAPSING if countdown and countdown.armed else State.DISABLED
    if ready.level in ("not_ready", "unknown"):
        return State.NOT_READY
    if countdown and countdown.lapsing and not held:
        return State.LAPSING
    if ready.level == "degraded":
        return State.DEGRADED
    return State.LATCHED if account.latched_at else State.NORMAL


def _late(reading: Reading | None, now: datetime) -> bool:
    if reading is None or reading.read_at is None:
        return False
    planned = timedelta(seconds=reading.planned_interval_s)
    return now - reading.read_at > 2 * planned + LATE


def _sweep_line(sweep: Sweep, tallies: Mapping[int, Tally]) -> SweepLine:
    return SweepLine(
        panic_id=sweep.panic_id,
        state=sweep.state,
        state_label=sweep.label,
        tally=tallies.get(sweep.pk, Tally()),
        last_word=sweep.last_word,
    )


def _latch(account: Account, sweeps: Sequence[Sweep], reading: Reading | None) -> Latch | None:
    if account.latched_at is None or account.latched_by is None:
        return None
    clear = next(
        (
            sweep
            for sweep in sweeps
            if sweep.panic_id == account.latched_by_id
            and sweep.whole_account
            and sweep.state == Sweep.State.CLEAR
        ),
        None,
    )
    proof = clear.full_empty_at if clear else None
    later = False
    if clear and proof and reading and reading.read_at and reading.read_at > proof:
        later = reading.open_count > (reading.protective_count if clear.keep_protective else 0)
    return Latch(
        panic_id=account.latched_by.pk,
        since=account.latched_at,
        by=account.latched_by.pressed_by_name,
        read_back_at=None if later else proof,
        placed_since=later,
        kept=clear.kept if clear else 0,
    )


def _desk_row(desk: Desk, members: Sequence[Account], rows: Mapping[int, AccountRow]) -> DeskRow:
    mine = tuple(sorted((rows[account.pk] for account in members), key=lambda row: row.rank))
    known = [row for row in mine if row.read]
    levels = Counter(row.readiness.level.replace("_", " ") for row in mine if row.enabled)
    return DeskRow(
        pk=desk.pk,
        name=desk.name,
        slug=desk.slug,
        accounts=len(mine),
        unread=len([row for row in mine if row.enabled]) - len(known),
        open=sum(row.open for row in known),
        conditional=sum(row.conditional for row in known),
        protective=sum(row.protective for row in known),
        armed=sum(row.countdown.armed + row.countdown.local for row in mine if row.countdown),
        ready=tuple(
            (word, levels[word]) for word in ("ready", "degraded", "not ready", "unknown") if levels[word]
        ),
        all_ready=set(levels) <= {"ready"},
        oldest_read_at=min((row.read_at for row in known if row.read_at), default=None),
        rows=mine,
        folded=fold(mine),
    )


def _summary(desks: Sequence[DeskRow], sweeps: Sequence[Sweep]) -> Summary:
    rows = [row for desk in desks for row in desk.rows]
    enabled = [row for row in rows if row.enabled]
    cells = [row.countdown for row in rows if row.countdown]
    checked = [row.readiness.checked_at for row in enabled if row.readiness.checked_at]
    return Summary(
        accounts=len(rows),
        enabled=len(enabled),
        unread=sum(desk.unread for desk in desks),
        open=sum(desk.open for desk in desks),
        protective=sum(desk.protective for desk in desks),
        oldest_read_at=min((desk.oldest_read_at for desk in desks if desk.oldest_read_at), default=None),
        armed=sum(cell.armed for cell in cells),
        local=sum(cell.local for cell in cells),
        countdowns=sum(cell.all for cell in cells),
        lapsing=sum(cell.lapsing for cell in cells),
        fired=sum(row.state is State.FIRED for row in rows),
        running=len({sweep.panic_id for sweep in sweeps if sweep.state not in Sweep.OVER}),
        not_clear=sum(sweep.state in (Sweep.State.NOT_CLEAR, Sweep.State.FAILED) for sweep in sweeps),
        unproven=sum(row.latch is not None and row.latch.read_back_at is None for row in rows),
        not_ready=sum(row.readiness.level in ("not_ready", "unknown") for row in enabled),
        degraded=sum(row.readiness.level == "degraded" for row in enabled),
        oldest_check_at=min(checked, default=None),
        latched=sum(row.latch is not None for row in rows),
        blocked=all(row.readiness.level == readiness.NOT_READY for row in enabled),
        layout=_layout(desks),
    )


def _layout(desks: Sequence[DeskRow]) -> str:
    named = " ".join(f"{desk.pk}:{','.join(sorted(row.name for row in desk.rows))}" for desk in desks)
    return hashlib.sha256(named.encode()).hexdigest()[:12]


def _running(sweeps: Sequence[Sweep], tallies: Mapping[int, Tally]) -> tuple[RunningPanic, ...]:
    running: dict[int, Panic] = {}
    for sweep in sweeps:
        if sweep.state not in Sweep.OVER:
            running[sweep.panic_id] = sweep.panic
    mine = _sweeps_by_panic(running)
    return tuple(
        RunningPanic(
            pk=panic.pk,
            scope=panic.scope,
            scope_label=panic.scope_label,
            pressed_at=panic.pressed_at,
            pressed_by=panic.pressed_by_name,
            direct_path=panic.direct_path,
            tally=sum((tallies.get(pk, Tally()) for pk, _ in mine[panic.pk]), Tally()),
            accounts=len(mine[panic.pk]),
            clear=sum(state == Sweep.State.CLEAR for _, state in mine[panic.pk]),
        )
        for panic in sorted(running.values(), key=lambda panic: panic.pressed_at, reverse=True)
    )


def _sweeps_by_panic(panics: Iterable[int]) -> dict[int, list[tuple[int, str]]]:
    """Every sweep of these panics, also those that are over: (sweep, state) by panic."""
    found: dict[int, list[tuple[int, str]]] = {pk: [] for pk in panics}
    for panic_id, pk, state in Sweep.objects.filter(panic__in=found).values_list("panic", "pk", "state"):
        found[panic_id].append((pk, state))
    return found
