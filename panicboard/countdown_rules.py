"""What a countdown may be: how long, how often, over what, kept alive by whom, and how many fit.

Each check raises Refused with a sentence that says what is wrong and what to do.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from django.db.models import Min

from panicboard import turns
from panicboard.budgets import AccountBudget, Work
from panicboard.models import Account, Countdown, LifeSign, Maintenance
from panicboard.venues import VENUES
from panicboard.venues.values import LONGEST_COUNTDOWN_MS

Source = Countdown.Source

SHORTEST_MS, SHORTEST_REFRESH_MS = 5_000, 1_000
#: A countdown survives two heartbeats that are lost.
REFRESHES = 3
#: How much of what heartbeats and reads may use together countdowns may need, in percent: the rest is left
#: for heartbeats that are repeated, and for reads.
FILLED_PERCENT = 80


class Refused(ValueError):
    """The countdown cannot be armed, disarmed or unlocked. The text says why, and what to do."""


def weight_a_minute(account: Account, adding: Collection[str] = (), refresh_ms: int = 0) -> float:
    """What keeping countdowns alive costs of the limit this account shares, `adding` to what is armed."""
    adapter = VENUES[account.venue.adapter]
    sharing = Account.objects.filter(turns.behind_the_same_limit(account))
    kept = Countdown.objects.filter(account__in=sharing, phase__in=Countdown.KEPT).exclude(scope="")
    if adapter.one_heartbeat_for_many:
        shortest = dict(kept.values_list("account").annotate(shortest=Min("refresh_ms")).order_by())
        if adding:
            shortest[account.pk] = min(refresh_ms, shortest.get(account.pk, refresh_ms))
        every = list(shortest.values())
    else:
        others = kept.exclude(account=account, scope__in=adding)
        every = [*others.values_list("refresh_ms", flat=True), *[refresh_ms] * len(adding)]
    return sum(adapter.heartbeat_weight * 60_000 / ms for ms in every if ms)


def check_length(account: Account, countdown_ms: int, refresh_ms: int) -> None:
    adapter = VENUES[account.venue.adapter]
    shortest_ms = max(SHORTEST_MS, adapter.shortest_countdown_ms)
    if not shortest_ms <= countdown_ms <= LONGEST_COUNTDOWN_MS:
        raise Refused(
            f"a countdown of {countdown_ms} ms: {account.venue.name} takes {shortest_ms} to "
            f"{LONGEST_COUNTDOWN_MS} ms"
        )
    if not refresh_ms:
        return
    if refresh_ms < SHORTEST_REFRESH_MS:
        raise Refused(f"a heartbeat every {refresh_ms} ms: {SHORTEST_REFRESH_MS} ms is the shortest")
    if refresh_ms * REFRESHES > countdown_ms:
        raise Refused(
            f"a heartbeat every {refresh_ms / 1000:g} s is too seldom for a countdown of "
            f"{countdown_ms / 1000:g} s: two lost ones would let it run out. "
            f"{countdown_ms / REFRESHES / 1000:g} s is the longest."
        )


def check_scopes(account: Account, scopes: Sequence[str], source: str) -> None:
    adapter = VENUES[account.venue.adapter]
    if adapter.has_countdown:
        if not scopes or "" in scopes:
            raise Refused(
                f"{account.name} has no open orders: name at least one {adapter.countdown_scope} to arm"
            )
        return
    if any(scopes):
        raise Refused(
            f"{account.venue.name} has no countdown: panicboard's own is over the whole account, not over "
            f"{named(scopes)}"
        )
    if source == Source.BOARD:
        raise Refused(
            f"{account.venue.name} has no countdown, and panicboard cannot guard against its own end: choose "
            "the bot or the operator as source"
        )


def check_open(account: Account, countdowns: Iterable[Countdown]) -> None:
    """Whether none of these has locked its venue, nor may have: a call about it could unlock trading."""
    countdowns = list(countdowns)
    if locked := [one.scope for one in countdowns if one.locked]:
        raise Refused(f"{account.name}: {', '.join(locked)} fired, and its venue is locked; unlock it first")
    if passed := [one.scope for one in countdowns if may_be_locked(account, one)]:
        raise Refused(
            f"{account.name} {', '.join(passed)}: its deadline passed, and what happened is being read; wait"
        )


def may_be_locked(account: Account, countdown: Countdown) -> bool:
    """Whether its venue refuses new orders since it ran out, as far as is known."""
    passed = countdown.phase == Countdown.Phase.PASSED
    return countdown.locked or (passed and VENUES[account.venue.adapter].locks_after_firing)


def check_account(account: Account, now: datetime) -> None:
    if not account.enabled:
        raise Refused(f"{account.name} is disabled; enable it in the admin first")
    if account.latched_by_id is not None:
        raise Refused(f"{account.name} is latched by panic {account.latched_by_id}; release it first")
    running = Maintenance.objects.filter(venue=account.venue_id, begins_at__lte=now, ends_at__gt=now)
    if (maintenance := running.first()) is not None:
        raise Refused(f"{account.name}: {maintenance}: {maintenance.reason}")


def check_source(account: Account, source: str, now: datetime) -> None:
    if source == Source.BOARD:
        return
    sign = LifeSign.objects.filter(account=account, kind=source).first()
    if sign is None:
        raise Refused(f"{account.name} has no life sign of the {source}; make one first")
    if sign.silent_at is None or sign.silent_at <= now:
        heard = f"since {sign.last_at:%H:%M:%S}" if sign.last_at else "yet"
        raise Refused(
            f"nothing was heard of the {source} of {account.name} {heard}: it would run out at once"
        )


def check_weight(account: Account, scopes: Sequence[str], refresh_ms: int) -> None:
    budget = AccountBudget(account, Work.HEARTBEAT)
    limit = VENUES[account.venue.adapter].limits[0]
    room = budget.cap(limit) * 60 / limit.window_s * FILLED_PERCENT / 100
    needed = weight_a_minute(account, scopes, refresh_ms)
    if needed <= room:
        return
    others = weight_a_minute(account)
    cost = VENUES[account.venue.adapter].heartbeat_weight * 60_000 / refresh_ms
    fit = max(0, math.floor((room - others) / cost))
    said = (
        f"with {len(scopes)} more and a heartbeat every {refresh_ms / 1000:g} s, countdowns take "
        f"{needed:.0f} of the {room:.0f} a minute there is for them: {fit} fit"
    )
    if others < room:
        seconds = math.ceil(refresh_ms / 1000 * (needed - others) / (room - others))
        said += f", or all of them with a heartbeat every {seconds} s"
    raise Refused(said)


def named(scopes: Sequence[str]) -> str:
    return ", ".join(scopes) if any(scopes) else "the whole account"
