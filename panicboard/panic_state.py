"""What the page of one panic shows: read in a fixed number of queries, as frozen values.

As on the board, times stand for ages, and sweeps are read before their orders. An order counts as open
until the venue says what became of it (`board_state.open_condition`).
"""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, Count, DateTimeField, F, Max, Q, Value, When

from panicboard.latch import NOT_LOOKED_AT
from panicboard.models import Account, AuditEntry, Panic, Sweep, SweptOrder
from panicboard.models.panics import nothing_open
from panicboard.order_table import GONE_OUTCOMES, OPEN_OUTCOMES
from panicboard.panic_curve import Change, Curve, draw
from panicboard.tallies import Tally, open_condition
from panicboard.venues import VENUES

Outcome = SweptOrder.Outcome

#: Sweeps, worst first.
SWEEP_ORDER = (
    Sweep.State.NOT_CLEAR,
    Sweep.State.FAILED,
    Sweep.State.QUEUED,
    Sweep.State.CANCELLING,
    Sweep.State.READING_BACK,
    Sweep.State.RELEASED,
    Sweep.State.HANDED_OVER,
    Sweep.State.CLEAR,
)


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    outcome: str
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class SweepRow:
    pk: int
    panic_id: int
    pressed_at: datetime
    account: str
    account_url: str
    venue: str
    state: str
    label: str
    round: int
    tally: Tally
    unknown: int
    first_request_at: datetime | None
    acked_at: datetime | None
    read_back_at: datetime | None
    #: After it was clear, while the account is latched: when the known symbols were last seen empty.
    watched_at: datetime | None
    #: What kept the latest look from seeing that.
    not_watched: str
    #: Protective orders that were found and left.
    kept: int
    placed_after: int
    last_placed_at: datetime | None
    ended_at: datetime | None
    due_at: datetime
    known_empty_at: datetime | None
    #: When the full listing comes that the limit holds back.
    full_listing_at: datetime | None
    handed_over_to: int | None
    last_word: str

    @property
    def rank(self) -> int:
        return SWEEP_ORDER.index(Sweep.State(self.state))

    @property
    def is_clear(self) -> bool:
        return self.state == Sweep.State.CLEAR

    @property
    def is_bad(self) -> bool:
        return self.state in (Sweep.State.NOT_CLEAR, Sweep.State.FAILED)

    @property
    def is_unlisted(self) -> bool:
        """Neither an order nor an empty list of this account has been seen yet."""
        return not self.tally.total and self.read_back_at is None

    @property
    def gone_percent(self) -> float:
        return round(100 * self.tally.gone / self.tally.total, 1) if self.tally.total else 0.0

    @property
    def open_percent(self) -> float:
        return round(100 - self.gone_percent, 1) if self.tally.total else 0.0


@dataclass(frozen=True, slots=True)
class Head:
    """The headline. `ended_at` is None while any sweep runs; `clear` says that every sweep is clear."""

    pk: int
    scope_label: str
    whole_accounts: bool
    pressed_at: datetime
    ended_at: datetime | None
    clear: bool
    tally: Tally
    #: Protective orders that were found and left.
    kept: int
    #: Accounts of which no list was ever read and no order seen: their zero would be a false one.
    unlisted: int
    sweeps: int
    clear_sweeps: int
    settled_unknown: int
    #: Orders placed after the press, and when the latest was.
    placed_after: int
    last_placed_at: datetime | None
    first_read_back_at: datetime | None
    last_read_back_at: datetime | None
    latched: int

    @property
    def nothing_open(self) -> str:
        """The good end, in words."""
        return nothing_open(self.kept)

    @property
    def held(self) -> bool:
        """Whether there is anything to release: a latch, or a sweep that goes on."""
        return self.latched > 0 or self.ended_at is None

    @property
    def is_known(self) -> bool:
        """Whether its zero, if it is one, means anything."""
        return self.tally.total > 0 or not self.unlisted


@dataclass(frozen=True, slots=True)
class Next:
    """What happens next: to the sweeps that are not over, and to the latched accounts."""

    pk: int
    not_clear: int
    next_try_at: datetime | None
    reading_back: int
    #: How many wait for the limit before their first reading, and when the next of them goes on.
    to_be_read: int
    next_reading_at: datetime | None
    #: When the last full listing comes that the limit holds back.
    full_listing_at: datetime | None
    at_work: int
    latched: int
    #: Whether a venue of a latched account blocks new orders by itself while its own lock is on.
    venue_locks: bool


@dataclass(frozen=True, slots=True)
class AuditLine:
    at: datetime
    who: str
    action: str
    account: str
    detail: str


@dataclass(frozen=True, slots=True)
class Facts:
    pk: int
    scope: str
    scope_label: str
    pressed_by: str
    via: str
    held_ms: int | None
    pressed_at: datetime
    reason: str
    sweeps: int
    orders: int
    protective: int
    #: Protective orders that it found and left; None where it leaves none.
    kept: int | None
    #: Where none are left all the same: books whose venue does not tell them apart, and accounts whose latch
    #: is from an earlier panic.
    untold: tuple[str, ...]
    strict: tuple[str, ...]
    skipped: tuple[str, ...]
    direct_path: bool
    journal_open: bool
    entries: tuple[AuditLine, ...]
    shell: str


@dataclass(frozen=True, slots=True)
class PanicPage:
    pk: int
    head: Head
    open: tuple[OutcomeCount, ...]
    gone: tuple[OutcomeCount, ...]
    curve: Curve
    sweeps: tuple[SweepRow, ...]
    next: Next
    facts: Facts
    alerts: tuple[str, ...]

    @property
    def running(self) -> bool:
        return self.head.ended_at is None


@dataclass(frozen=True, slots=True)
class _Counted:
    """How many orders of one sweep have one outcome."""

    outcome: str
    total: int
    still_open: int
    protective: int
    placed_after: int
    last_placed_at: datetime | None


def read(panic_id: int, now: datetime) -> PanicPage:
    """Read one panic. Raises Panic.DoesNotExist."""
    panic = Panic.objects.select_related("desk", "account").get(pk=panic_id)
    sweeps = list(panic.sweeps.select_related("account__venue", "handed_over_to"))
    counted = _counted(panic)
    entries = list(panic.audit_entries.select_related("account").reverse())
    latched = Account.objects.filter(latched_by=panic).count()
    rows = tuple(
        sorted(
            (_sweep_row(panic, sweep, counted.get(sweep.pk, []), entries) for sweep in sweeps),
            key=lambda row: (row.rank, -row.tally.still_open, row.account),
        )
    )
    counts = [one for of_sweep in counted.values() for one in of_sweep]
    head = _head(panic, rows, counts, latched)
    return PanicPage(
        pk=panic.pk,
        head=head,
        open=_by_outcome(OPEN_OUTCOMES, counts, lambda one: one.still_open),
        gone=_by_outcome(GONE_OUTCOMES, counts, lambda one: one.total),
        curve=_curve(panic, rows, head, _first_clear_at(sweeps), now),
        sweeps=rows,
        next=_next(panic, sweeps, latched),
        facts=_facts(
            panic, sweeps, head, sum(one.protective for one in counts), tuple(map(_audit_line, entries))
        ),
        alerts=_alerts(rows, counts),
    )


def _counted(panic: Panic) -> dict[int, list[_Counted]]:
    rows = (
        SweptOrder.objects.filter(sweep__panic=panic)
        .values("sweep", "outcome")
        .annotate(
            total=Count("pk"),
            still_open=Count("pk", filter=open_condition()),
            protected=Count("pk", filter=Q(protective=True)),
            placed_since=Count("pk", filter=Q(placed_after=True)),
            last_placed_at=Max("placed_at", filter=Q(placed_after=True)),
        )
        .order_by()
    )
    found: dict[int, list[_Counted]] = {}
    for row in rows:
        one = _Counted(
            row["outcome"],
            row["total"],
            row["still_open"],
            row["protected"],
            row["placed_since"],
            row["last_placed_at"],
        )
        found.setdefault(row["sweep"], []).append(one)
    return found


def _sweep_row(
    panic: Panic, sweep: Sweep, counts: Sequence[_Counted], entries: Iterable[AuditEntry]
) -> SweepRow:
    return SweepRow(
        pk=sweep.pk,
        panic_id=panic.pk,
        pressed_at=panic.pressed_at,
        account=sweep.account.name,
        account_url=sweep.account.get_absolute_url(),
        venue=sweep.account.venue.name,
        state=sweep.state,
        label=sweep.label,
        round=sweep.round,
        tally=Tally(sum(one.total for one in counts), sum(one.still_open for one in counts)),
        unknown=sum(one.total for one in counts if one.outcome == Outcome.UNKNOWN),
        first_request_at=sweep.first_request_at,
        acked_at=sweep.acked_at,
        read_back_at=sweep.read_back_at or sweep.full_empty_at,
        watched_at=sweep.watched_at,
        not_watched=sweep.last_word if sweep.last_word.startswith(NOT_LOOKED_AT) else "",
        kept=sweep.kept,
        placed_after=sum(one.placed_after for one in counts),
        last_placed_at=max((one.last_placed_at for one in counts if one.last_placed_at), default=None),
        ended_at=ended_at(sweep, entries),
        due_at=sweep.due_at,
        known_empty_at=sweep.known_empty_at,
        full_listing_at=_held_back_until(sweep),
        handed_over_to=sweep.handed_over_to_id,
        last_word=sweep.last_word,
    )


def _held_back_until(sweep: Sweep) -> datetime | None:
    """When the full listing comes that the limit holds back; before the first reading, an estimate."""
    if sweep.state == Sweep.State.CANCELLING:
        return sweep.full_listing_at
    if sweep.state != Sweep.State.READING_BACK or sweep.known_empty_at is None:
        return None
    adapter = VENUES.get(sweep.account.venue.adapter)
    if adapter and adapter.listing_limit().per == "key" and sweep.due_at > sweep.known_empty_at:
        return sweep.due_at  # nobody else has a turn there: it comes when the sweep goes on
    return sweep.full_listing_at


def ended_at(sweep: Sweep, entries: Iterable[AuditEntry]) -> datetime | None:
    """When a sweep was over: clear, taken over by a later press, or released, as its panic's entries say."""
    if sweep.state not in Sweep.OVER:
        return None
    if sweep.clear_at:
        return sweep.clear_at
    if sweep.handed_over_to:
        return sweep.handed_over_to.pressed_at
    releases = (one for one in entries if one.action == AuditEntry.Action.RELEASED)
    released = [one.at for one in releases if one.account_id == sweep.account_id]
    return max(released, default=sweep.read_back_at or sweep.due_at)


def _head(panic: Panic, rows: Sequence[SweepRow], counts: Sequence[_Counted], latched: int) -> Head:
    ended = [row.ended_at for row in rows if row.ended_at]
    over = len(ended) == len(rows)
    total = sum(one.total for one in counts)
    read_back = [row.read_back_at for row in rows if row.is_clear and row.read_back_at]
    return Head(
        pk=panic.pk,
        scope_label=panic.scope_label,
        whole_accounts=panic.scope in (Panic.Scope.ALL, Panic.Scope.DESK, Panic.Scope.ACCOUNT),
        pressed_at=panic.pressed_at,
        ended_at=max(ended, default=panic.pressed_at) if over else None,
        clear=bool(rows) and all(row.is_clear for row in rows),
        tally=Tally(total, sum(one.still_open for one in counts)),
        kept=sum(row.kept for row in rows),
        unlisted=sum(row.is_unlisted for row in rows),
        sweeps=len(rows),
        clear_sweeps=sum(row.is_clear for row in rows),
        settled_unknown=sum(one.total - one.still_open for one in counts if one.outcome == Outcome.UNKNOWN),
        placed_after=sum(row.placed_after for row in rows),
        last_placed_at=max((row.last_placed_at for row in rows if row.last_placed_at), default=None),
        first_read_back_at=min(read_back, default=None),
        last_read_back_at=max(read_back, default=None),
        latched=latched,
    )


def _by_outcome(
    outcomes: Iterable[Outcome], counts: Iterable[_Counted], number: Callable[[_Counted], int]
) -> tuple[OutcomeCount, ...]:
    sums: Counter[str] = Counter()
    for one in counts:
        sums[one.outcome] += number(one)
    return tuple(OutcomeCount(one.value, str(one.label), sums[one]) for one in outcomes)


def _first_clear_at(sweeps: Sequence[Sweep]) -> datetime | None:
    """When the first account was clear. Nobody knows, once an account was swept again and is clear anew."""
    cleared = [sweep.clear_at for sweep in sweeps if sweep.state == Sweep.State.CLEAR and sweep.clear_at]
    if len(sweeps) < 2 or any(sweep.reopened for sweep in sweeps):
        return None
    return min(cleared, default=None)


def _curve(
    panic: Panic, rows: Sequence[SweepRow], head: Head, first_clear_at: datetime | None, now: datetime
) -> Curve:
    orders = SweptOrder.objects.filter(sweep__panic=panic)
    # An order placed before the press was open at the press, whenever we first saw it.
    came = Case(
        When(placed_at__gt=panic.pressed_at, then=F("seen_at")),
        default=Value(panic.pressed_at),
        output_field=DateTimeField(),
    )
    seen = orders.annotate(came=came).values_list("came").annotate(Count("pk")).order_by()
    gone = (
        orders.filter(outcome__in=SweptOrder.GONE).values_list("outcome_at").annotate(Count("pk")).order_by()
    )
    changes = [Change(_ms(panic, at), count) for at, count in seen]
    changes += [Change(_ms(panic, at), -count) for at, count in gone]
    changes += [
        Change(_ms(panic, row.ended_at), -row.unknown)
        for row in rows
        if row.is_clear and row.ended_at and row.unknown
    ]
    until = head.ended_at or panic.pressed_at + _next_step(now - panic.pressed_at)
    return draw(
        changes,
        until_ms=max(1.0, _ms(panic, until)),
        left=str(head.tally.still_open) if head.is_known else "?",
        over=head.ended_at is not None,
        first_clear_ms=_ms(panic, first_clear_at) if first_clear_at else None,
    )


def _next_step(elapsed: timedelta) -> timedelta:
    """Where a running curve ends: drawn for every instant, it would be sent for every instant."""
    step = timedelta(milliseconds=250) if elapsed < timedelta(seconds=5) else timedelta(seconds=1)
    return max(step, -(-elapsed // step) * step)


def _ms(panic: Panic, at: datetime) -> float:
    return (at - panic.pressed_at).total_seconds() * 1000


def _next(panic: Panic, sweeps: Sequence[Sweep], latched: int) -> Next:
    running = [sweep for sweep in sweeps if sweep.state not in Sweep.OVER]
    again = [sweep for sweep in running if sweep.state in (Sweep.State.NOT_CLEAR, Sweep.State.FAILED)]
    reading = [sweep for sweep in running if sweep.state == Sweep.State.READING_BACK]
    to_be_read = [s for s in running if s.state == Sweep.State.CANCELLING and _held_back_until(s)]
    return Next(
        pk=panic.pk,
        not_clear=len(again),
        next_try_at=min((sweep.due_at for sweep in again), default=None),
        reading_back=len(reading),
        to_be_read=len(to_be_read),
        next_reading_at=min((sweep.due_at for sweep in to_be_read), default=None),
        full_listing_at=max((at for sweep in running if (at := _held_back_until(sweep))), default=None),
        at_work=len(running) - len(again) - len(reading) - len(to_be_read),
        latched=latched,
        venue_locks=any(
            sweep.account.latched_by_id == panic.pk
            and (adapter := VENUES.get(sweep.account.venue.adapter)) is not None
            and adapter.locks_after_firing
            for sweep in sweeps
        ),
    )


def _untold(sweep: Sweep) -> list[str]:
    """The books of an account whose venue does not tell protective orders apart."""
    adapter = VENUES.get(sweep.account.venue.adapter)
    return [f"{sweep.account.venue.name} {label}" for label in (adapter.untold_books() if adapter else [])]


def _facts(
    panic: Panic, sweeps: Sequence[Sweep], head: Head, protective: int, entries: tuple[AuditLine, ...]
) -> Facts:
    return Facts(
        pk=panic.pk,
        scope=panic.scope,
        scope_label=panic.scope_label,
        pressed_by=panic.pressed_by_name,
        via=panic.pressed_via,
        held_ms=panic.held_ms,
        pressed_at=panic.pressed_at,
        reason=panic.reason,
        sweeps=head.sweeps,
        orders=head.tally.total,
        protective=protective,
        kept=head.kept if panic.keep_protective else None,
        untold=tuple(sorted({book for sweep in sweeps for book in _untold(sweep)})),
        strict=tuple(sorted(one.account.name for one in sweeps if not one.keep_protective)),
        skipped=tuple(panic.skipped),
        direct_path=panic.direct_path,
        journal_open=panic.journal_open,
        entries=entries,
        shell=_shell(panic),
    )


def _shell(panic: Panic) -> str:
    """The same scope from a shell."""
    words = "manage.py panic --all"
    if panic.desk:
        words = f"manage.py panic --desk {panic.desk.slug}"
    elif panic.account:
        symbol = f" --symbol {shlex.quote(panic.symbol)}" if panic.symbol else ""
        words = f"manage.py panic --account {shlex.quote(panic.account.name)}{symbol}"
    elif panic.scope != Panic.Scope.ALL:
        words = "manage.py panic --account NAME"  # imported from a journal, and its desk or account is gone
    return f"{words} --keep-protective" if panic.keep_protective else words


def _alerts(rows: Iterable[SweepRow], counts: Iterable[_Counted]) -> tuple[str, ...]:
    """What is said aloud: what failed and what is unknown."""
    failed = tuple(f"{row.account} failed." for row in rows if row.state == Sweep.State.FAILED)
    unknown = sum(one.total for one in counts if one.outcome == Outcome.UNKNOWN)
    return (*failed, f"{unknown} unknown.") if unknown else failed


def _audit_line(entry: AuditEntry) -> AuditLine:
    return AuditLine(
        at=entry.at,
        who=entry.actor_name,
        action=entry.action,
        account=entry.account.name if entry.account else "",
        detail=entry.detail,
    )
