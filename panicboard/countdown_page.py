"""What the page of an account's countdowns shows."""

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from panicboard import countdown_state, countdowns
from panicboard.countdown_state import Line, State
from panicboard.models import Account, Countdown, Follow, LifeSign
from panicboard.venues import VENUES


@dataclass(frozen=True, slots=True)
class Call:
    """One call about a countdown, and what it came to."""

    at: datetime
    what: str
    ms: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Row:
    line: Line
    calls: tuple[Call, ...]  # newest first


@dataclass(frozen=True, slots=True)
class CountdownPage:
    """One account's countdowns, worst first, and what their venue can and cannot do."""

    account: Account
    rows: tuple[Row, ...]
    signs: tuple[LifeSign, ...]
    follow: Follow | None
    to_rearm: int
    open_scopes: tuple[str, ...]
    has_countdown: bool
    can_be_asked: bool
    scope_word: str
    read_at: datetime

    @property
    def armed(self) -> int:
        return sum(row.line.state.is_armed for row in self.rows)

    @property
    def to_disarm(self) -> list[Line]:
        return [row.line for row in self.rows if row.line.state is not State.DISARMED]

    @property
    def acts(self) -> str:
        """Another word when something else may be done than before."""
        mine = (sorted(line.pk for line in lines) for lines in (self.locked, self.to_disarm))
        return "-".join([str(self.to_rearm), *(".".join(map(str, pks)) for pks in mine)])

    @property
    def locked(self) -> list[Line]:
        return [row.line for row in self.rows if row.line.state is State.LOCKED]


def read(account: Account) -> CountdownPage:
    """Read everything about one account's countdowns."""
    now = timezone.now()
    adapter = VENUES[account.venue.adapter]
    signs = tuple(LifeSign.objects.filter(account=account).order_by("kind"))
    rows = [
        Row(countdown_state.of(one, account, signs, now), _calls(one))
        for one in Countdown.objects.filter(account=account)
    ]
    return CountdownPage(
        account=account,
        rows=tuple(sorted(rows, key=lambda row: row.line.rank)),
        signs=signs,
        follow=Follow.objects.filter(account=account).first(),
        to_rearm=countdowns.to_rearm(account).count() if account.latched_by_id is None else 0,
        open_scopes=tuple(scope for scope in countdowns.open_scopes(account) if scope),
        has_countdown=adapter.has_countdown,
        can_be_asked=adapter.has_countdown_read,
        scope_word=adapter.countdown_scope,
        read_at=now,
    )


def _calls(one: Countdown) -> tuple[Call, ...]:
    calls = [
        Call(datetime.fromisoformat(told["at"]), told["what"], told["ms"], told["outcome"])
        for told in one.recent
    ]
    return tuple(reversed(calls))
