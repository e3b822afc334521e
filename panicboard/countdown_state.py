"""What is true of a countdown now: its state, its deadline, who keeps it alive, and how old all that is.

Three things are kept apart: what we believe (the last acknowledged heartbeat and the length), what the
venue says (where it can be asked), and what follows from both. Where they disagree the worse one is shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from panicboard.models import Account, Countdown, LifeSign
from panicboard.venues import VENUES

Phase = Countdown.Phase

#: Below this part of its length a countdown is lapsing.
LAPSING_BELOW = 0.25
#: What a venue says of its countdowns is worth nothing any more after this.
VENUE_WORD_FOR = timedelta(seconds=30)


class State(StrEnum):
    """Worst first."""

    PASSED = "passed"  # its deadline passed, and nobody knows yet what happened
    NOT_FIRED = "not_fired"  # it should have run out, and orders are open all the same
    FIRED = "fired"
    LOCKED = "locked"  # it fired, and the venue takes no new orders
    LAPSING = "lapsing"
    UNKNOWN = "unknown"  # the outcome of a heartbeat is open: it runs, and until when is doubtful
    ARMING = "arming"
    DISARMING = "disarming"
    WITHHELD = "withheld"
    ARMED = "armed"
    FOREIGN = "foreign"  # set at the venue by somebody else
    DISARMED = "disarmed"

    @property
    def label(self) -> str:
        return _LABELS[self]

    @property
    def is_loud(self) -> bool:
        """Whether somebody has to look at it at once."""
        return self in (State.PASSED, State.NOT_FIRED)

    @property
    def is_over(self) -> bool:
        """Whether it ran out, or should have, and nobody has seen to it yet."""
        return self in (State.PASSED, State.NOT_FIRED, State.FIRED, State.LOCKED)

    @property
    def is_armed(self) -> bool:
        """Whether it runs and is to be kept alive. What is withheld or not set yet protects from nothing."""
        return self in _ARMED

    @property
    def may_run(self) -> bool:
        """Whether something may be running at the venue, or here."""
        return self in _MAY_RUN


_LABELS = {
    State.PASSED: "DEADLINE PASSED",
    State.NOT_FIRED: "ORDERS OPEN",
    State.FIRED: "FIRED",
    State.LOCKED: "LOCKED",
    State.LAPSING: "LAPSING",
    State.UNKNOWN: "UNKNOWN",
    State.ARMING: "ARMING",
    State.DISARMING: "DISARMING",
    State.WITHHELD: "WITHHELD",
    State.ARMED: "ARMED",
    State.FOREIGN: "SET ELSEWHERE",
    State.DISARMED: "DISARMED",
}
_ARMED = (State.LAPSING, State.UNKNOWN, State.ARMED)
_MAY_RUN = (*_ARMED, State.ARMING, State.DISARMING, State.WITHHELD)


class Proof(StrEnum):
    """On what a deadline rests."""

    BELIEVED = "believed"  # our last acknowledged heartbeat and the length; the venue cannot be asked
    VENUE_READ = "venue-read"  # the same, and the venue says that it has it set
    LOCAL = "local"  # panicboard's own: the venue has none


@dataclass(frozen=True, slots=True)
class SourceLine:
    """Who keeps a countdown alive, and when that was last heard."""

    kind: str
    last_at: datetime | None
    silent_at: datetime | None

    def is_silent(self, now: datetime) -> bool:
        return self.silent_at is not None and self.silent_at <= now


@dataclass(frozen=True, slots=True)
class Line:
    """One countdown as it is shown."""

    pk: int
    account_id: int
    scope: str
    state: State
    proof: Proof
    why: str
    countdown_ms: int
    refresh_ms: int
    #: When it runs out at the earliest; None while nothing runs.
    deadline_at: datetime | None
    source: SourceLine
    acked_at: datetime | None
    venue_ms: int | None
    venue_read_at: datetime | None
    found_open: int | None
    found_at: datetime | None
    armed_by: str
    armed_at: datetime | None
    #: A panic latched its account: that it ran out since was meant.
    in_panic: bool

    @property
    def needs_someone(self) -> bool:
        """Whether it ran out, or should have, and somebody has to see to it."""
        return self.state.is_over and not (self.in_panic and self.state is State.FIRED)

    @property
    def presence_until(self) -> datetime | None:
        """Until when an operator has to be heard for it; None: it does not hang on one."""
        if self.source.kind != Countdown.Source.OPERATOR or not self.state.may_run:
            return None
        # panicboard's own does not wait until the operator counts as silent: it runs out by its own length.
        own = self.deadline_at if self.proof is Proof.LOCAL else None
        return min((at for at in (own, self.source.silent_at) if at), default=None)

    @property
    def scope_label(self) -> str:
        return self.scope or "the whole account"

    @property
    def countdown_s(self) -> float:
        return self.countdown_ms / 1000

    @property
    def refreshes_to_spare(self) -> int | None:
        """How many heartbeats may be lost, at the present pace, before it runs out."""
        return self.countdown_ms // self.refresh_ms - 1 if self.refresh_ms else None

    @property
    def look(self) -> str:
        """The bar's classes."""
        if self.state.is_over:
            return "fired" if self.needs_someone else "off"
        if self.deadline_at is None or self.state in (State.WITHHELD, State.DISARMED, State.FOREIGN):
            return "off"
        proof = {Proof.BELIEVED: "believed", Proof.LOCAL: "local"}.get(self.proof, "")
        return f"{proof} lapsing".strip() if self.state in (State.LAPSING, State.UNKNOWN) else proof

    @property
    def rank(self) -> tuple[int, str]:
        meant = self.state is State.FIRED and not self.needs_someone
        return list(State).index(State.WITHHELD if meant else self.state), self.scope


def of(one: Countdown, account: Account, signs: Sequence[LifeSign], now: datetime) -> Line:
    """One countdown as it is to be shown now; `signs` are the life signs of its account."""
    adapter = VENUES[account.venue.adapter]
    source = _source(one, signs)
    state, why = _state(one, source, adapter.has_countdown_read, now)
    proof = Proof.LOCAL if one.is_local else Proof.BELIEVED
    if adapter.has_countdown_read and one.venue_ms and _is_fresh(one.venue_read_at, now):
        proof = Proof.VENUE_READ
    return Line(
        pk=one.pk,
        account_id=account.pk,
        scope=one.scope,
        state=state,
        proof=proof,
        why=why,
        countdown_ms=one.countdown_ms,
        refresh_ms=one.refresh_ms,
        deadline_at=one.deadline_at if state.may_run or state is State.PASSED else None,
        source=source,
        acked_at=one.acked_at,
        venue_ms=one.venue_ms,
        venue_read_at=one.venue_read_at,
        found_open=one.found_open,
        found_at=one.found_at,
        armed_by=one.armed_by,
        armed_at=one.armed_at,
        in_panic=one.withheld_by_id is not None,
    )


def of_account(account: Account, now: datetime) -> list[Line]:
    """Every countdown of one account, worst first."""
    signs = list(LifeSign.objects.filter(account=account))
    rows = Countdown.objects.filter(account=account).defer("recent")
    return sorted((of(one, account, signs, now) for one in rows), key=lambda line: line.rank)


def by_account(
    accounts: Iterable[Account], now: datetime, rows: Iterable[Countdown] | None = None
) -> dict[int, list[Line]]:
    """Every countdown of these accounts (with their venues), or these `rows` of theirs, worst first."""
    known = {account.pk: account for account in accounts if account.venue.adapter in VENUES}
    signs: dict[int, list[LifeSign]] = {}
    for sign in LifeSign.objects.all():
        signs.setdefault(sign.account_id, []).append(sign)
    lines: dict[int, list[Line]] = {}
    for one in Countdown.objects.defer("recent") if rows is None else rows:
        if (account := known.get(one.account_id)) is not None:
            line = of(one, account, signs.get(account.pk, ()), now)
            lines.setdefault(account.pk, []).append(line)
    for mine in lines.values():
        mine.sort(key=lambda line: line.rank)
    return lines


def _source(one: Countdown, signs: Sequence[LifeSign]) -> SourceLine:
    sign = next((sign for sign in signs if sign.kind == one.source), None)
    if one.source == Countdown.Source.BOARD:
        return SourceLine(one.source, one.acked_at, None)
    if sign is None:
        return SourceLine(one.source, None, one.armed_at)
    return SourceLine(one.source, sign.last_at, sign.silent_at or one.armed_at)


def _state(one: Countdown, source: SourceLine, can_be_asked: bool, now: datetime) -> tuple[State, str]:
    match one.phase:
        case Phase.DISARMED:
            if one.venue_ms and _is_fresh(one.venue_read_at, now):
                return State.FOREIGN, one.last_word
            return State.DISARMED, one.failure or one.last_word
        case Phase.FIRED:
            if one.found_open:
                return State.NOT_FIRED, one.last_word
            return (State.LOCKED if one.locked else State.FIRED), one.last_word
        case Phase.PASSED:
            return State.PASSED, one.failure or one.last_word
        case Phase.WITHHELD:
            return State.WITHHELD, one.failure or one.last_word or "its account is latched"
        case Phase.DISARMING:
            return State.DISARMING, one.failure or "the venue has not confirmed it yet"
    if one.deadline_at is not None and one.deadline_at <= now:
        return State.PASSED, "its deadline passed"
    if one.phase == Phase.ARMING and one.deadline_at is None:
        return State.ARMING, one.failure
    state, why = _state_of_armed(one, source, can_be_asked, now)
    if one.phase == Phase.ARMING and state is State.ARMED:
        return State.ARMING, one.failure or "what it was before runs on until the venue takes the change"
    return state, why


def _state_of_armed(
    one: Countdown, source: SourceLine, can_be_asked: bool, now: datetime
) -> tuple[State, str]:
    if source.is_silent(now):
        heard = f"silent since {source.last_at:%H:%M:%S}" if source.last_at else "was never heard"
        return State.LAPSING, f"{source.kind} {heard}"
    if one.misses:
        if one.maybe_until is not None:
            return State.UNKNOWN, one.failure
        return State.LAPSING, one.failure
    if can_be_asked and _is_about(one) and one.venue_ms != one.countdown_ms:
        set_to = f"is set to {one.venue_ms / 1000:g} s" if one.venue_ms else "is not set"
        return State.LAPSING, f"the venue says that it {set_to}"
    left = (one.deadline_at - now) / timedelta(milliseconds=one.countdown_ms) if one.deadline_at else 1.0
    if left < LAPSING_BELOW:
        return State.LAPSING, f"less than {LAPSING_BELOW:.0%} is left"
    return State.ARMED, ""


def _is_about(one: Countdown) -> bool:
    """Whether the venue said something since this countdown was armed as it is now."""
    if one.venue_ms is None or one.venue_read_at is None or one.armed_at is None:
        return False
    return one.phase == Phase.ARMED and one.venue_read_at > one.armed_at


def _is_fresh(at: datetime | None, now: datetime) -> bool:
    return at is not None and now - at < VENUE_WORD_FOR
