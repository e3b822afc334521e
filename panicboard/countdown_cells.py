"""What the board tells of countdowns: a cell for each account, and whether somebody has to be there.

There may be ten thousand, and nearly all run as they should. Of those each account's nearest is read, and how
many there are; everything about which there is something to say is read whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, Count, F, Q, Value, When, Window
from django.db.models.functions import RowNumber

from panicboard import countdown_state
from panicboard.countdown_state import LAPSING_BELOW, Line, Proof, State
from panicboard.models import Account, Countdown


@dataclass(frozen=True, slots=True)
class Cell:
    """An account's countdowns in one cell: the one to look at, and how many there are of each kind."""

    #: The worst; of those that run, the one with the nearest deadline.
    line: Line
    armed: int
    local: int
    all: int  # with those that are withheld, over, or on their way
    lapsing: int
    over: int  # passed, fired, locked: somebody has to see to these


def cell(lines: Sequence[Line], beside: int = 0) -> Cell | None:
    """What the board tells of these countdowns of one account (worst first); None where there is nothing.

    `beside`: how many more there are that are armed at the venue, and have more left than one of these.
    """
    shown = [line for line in lines if line.state is not State.DISARMED]
    if not shown:
        return None
    worst = [line for line in shown if line.rank[0] == shown[0].rank[0]]
    nearest = min(worst, key=lambda line: (line.deadline_at is None, line.deadline_at, line.scope))
    armed = [line for line in shown if line.state.is_armed]
    return Cell(
        line=nearest,
        armed=sum(line.proof is not Proof.LOCAL for line in armed) + beside,
        local=sum(line.proof is Proof.LOCAL for line in armed),
        all=sum(line.state is not State.FOREIGN for line in shown) + beside,
        lapsing=sum(line.state in (State.LAPSING, State.UNKNOWN) for line in armed),
        over=sum(line.needs_someone for line in shown),
    )


@dataclass(frozen=True, slots=True)
class Presence:
    """Whose presence countdowns hang on: of how many accounts, and when the first falls silent."""

    accounts: int
    silent_at: datetime
    is_near: bool  # less than a quarter of the time is left, or none


def presence(lines: Mapping[int, Sequence[Line]], now: datetime) -> Presence | None:
    """Whether somebody has to confirm that they are there, for countdowns that run."""
    expected = [
        (line.presence_until, line) for mine in lines.values() for line in mine if line.presence_until
    ]
    if not expected:
        return None
    until, first = min(expected, key=lambda one: one[0])
    length = until - first.source.last_at if first.source.last_at else timedelta(0)
    accounts = {line.account_id for _, line in expected}
    return Presence(len(accounts), until, until - now < length * LAPSING_BELOW)


def read(accounts: Sequence[Account], now: datetime) -> tuple[dict[int, Cell], Presence | None]:
    """The cells of these accounts (with their venues) that have something to tell, and whose presence counts.

    In one statement: a countdown about which there is suddenly something to say must not be missed by two.
    """
    alike = ["account", "quiet"]
    rows = Countdown.objects.order_by().annotate(
        quiet=Case(When(_is_quiet(now), then=Value(True)), default=Value(False)),
        nearest=Window(RowNumber(), partition_by=alike, order_by=["deadline_at", "scope"]),
        alike=Window(Count("pk"), partition_by=alike),
    )
    told = list(rows.filter(Q(quiet=False) | Q(nearest=1)).defer("recent"))
    lines = countdown_state.by_account(accounts, now, told)
    beside = {one.account_id: one.alike - 1 for one in told if one.quiet}
    cells = {pk: cell(mine, beside.get(pk, 0)) for pk, mine in lines.items()}
    # What is quiet hangs on nobody.
    return {pk: mine for pk, mine in cells.items() if mine}, presence(lines, now)


def _is_quiet(now: datetime) -> Q:
    """Whether a countdown is ARMED, as `countdown_state` has it, and there is nothing more to say of it."""
    lengths = Countdown.objects.order_by().values_list("countdown_ms", flat=True).distinct()
    far = Q(pk=None)
    for length_ms in lengths:
        lapsing_at = now + timedelta(milliseconds=length_ms * LAPSING_BELOW)
        far |= Q(countdown_ms=length_ms, deadline_at__gt=lapsing_at)
    agreed = Q(venue_ms=None) | Q(venue_ms=F("countdown_ms"))
    kept = Q(phase=Countdown.Phase.ARMED, source=Countdown.Source.BOARD, misses=0)
    return far & agreed & kept & ~Q(scope="")
