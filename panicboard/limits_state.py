"""How the venues' limits stand: one row for each limit that accounts share, as frozen values.

Read in two queries and one pipeline to Redis, however many accounts there are. A limit by address is shared
by every account that goes the same way to the same API. Limits by key are each account's own, and nothing
adds up in them: a venue that has them takes one row, which names the account that is nearest to one; all
limits of an account are on its page.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from panicboard import budgets, pools, readings, turns
from panicboard.budgets import SLACK_S, AccountBudget, Work
from panicboard.local_counts import LONGEST_WAIT_S, turn_in_s
from panicboard.models import Account, Reading
from panicboard.pools import Standing
from panicboard.readiness import MORE_THAN_THE_LIMIT
from panicboard.turns import SharedLimit, ToCome
from panicboard.venues import VENUES
from panicboard.venues.base import DIRECT, Limit, VenueAdapter

#: A limit's state, worst first.
STATES = ("refused", "too small", "short now", "not counted", "normal")
NOT_COUNTED = "Redis does not answer: each process keeps to its share"


@dataclass(frozen=True, slots=True)
class Use:
    """How one limit stands now. `used` is None while Redis does not answer."""

    name: str
    #: The way out by whose address it is counted; empty where it is counted by key.
    way: str
    amount: int
    published: int
    window_s: int
    used: int | None
    refused_until: datetime | None = None
    refused_why: str = ""

    @property
    def share(self) -> float:
        return (self.used or 0) / max(1, self.amount)

    @property
    def used_percent(self) -> float:
        return min(100.0, round(100 * self.share, 1))


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One limit, and what the accounts behind it need of it. Where limits are counted by key, `use` is that
    of the account which is `nearest` to one of its own.
    """

    venue: str
    adapter: str
    by_key: bool
    use: Use
    nearest: str
    nearest_url: str
    accounts: int
    #: How many of these have another way, and how many others come this way when theirs is blocked.
    have_second: int
    second_for: int
    reads_may: int  # heartbeats and reads together
    #: What the first cancels of a panic of all accounts cost (by key: those of the dearest one), as far as
    #: the accounts were read: how many never were, and when the oldest of these readings was made.
    cancels: int
    unread: int
    oldest_read_at: datetime | None
    #: What one full listing costs; when the last one has its turn if all are pressed now (None: never, the
    #: limit is too small for one).
    listing: int
    proven_in_s: int | None
    to_come: ToCome | None

    @property
    def kept(self) -> int:
        """What only panics may use."""
        return self.use.amount - self.reads_may

    @property
    def reads_percent(self) -> float:
        return round(100 * self.reads_may / max(1, self.use.amount), 1)

    @property
    def kept_percent(self) -> float:
        return round(100 - self.reads_percent, 1)

    @property
    def is_overloaded(self) -> bool:
        """Whether the cancels need more than the whole limit."""
        return not self.by_key and self.cancels > self.use.amount

    @property
    def is_bad(self) -> bool:
        return self.state in ("refused", "too small")

    @property
    def takes_long(self) -> bool:
        """Whether the proof takes longer than anybody plays forward."""
        return self.proven_in_s is not None and self.proven_in_s >= LONGEST_WAIT_S

    @property
    def left(self) -> int:
        """How much of it nobody has used."""
        return max(0, self.use.amount - (self.use.used or 0))

    @property
    def state(self) -> str:
        """One of STATES."""
        if self.use.refused_until is not None:
            return "refused"
        if self.is_overloaded or self.proven_in_s is None:
            return "too small"
        if not self.by_key and self.cancels > self.left:
            return "short now"
        return "not counted" if self.use.used is None else "normal"

    @property
    def words(self) -> str:
        """What is wrong with it; empty when nothing is."""
        match self.state:
            case "refused":
                until = f"{self.use.refused_until:%H:%M:%S}"
                return f"until {until} the venue refuses calls: {self.use.refused_why}"
            case "too small" if self.is_overloaded:
                return f"cancels need {self.cancels:,}, {MORE_THAN_THE_LIMIT}"
            case "too small":
                return f"less than a full listing needs ({self.listing:,}): nothing behind it is proven clear"
            case "short now":
                left = f"{self.left:,} left now"
                return f"{left}, and the cancels need {self.cancels:,}: pressed now, some would wait"
            case "not counted":
                return NOT_COUNTED
        return ""

    @property
    def rank(self) -> tuple[int, str, str]:
        return STATES.index(self.state), self.venue, self.use.way


@dataclass(frozen=True, slots=True)
class LimitsPage:
    """Every limit, worst first. `is_counted` says whether Redis told what is used."""

    read_at: datetime
    is_counted: bool
    rows: tuple[LimitRow, ...]


@dataclass(frozen=True, slots=True)
class _Counted:
    """One limit of an account as Redis counts it."""

    account: Account
    limit: Limit
    way: str
    pool: str
    #: Where a ban of its address is told, if not there.
    bans: str = ""

    @property
    def pools(self) -> list[str]:
        return [self.pool, self.bans] if self.bans else [self.pool]


@dataclass(slots=True)
class _Group:
    """The accounts whose calls count for the same limit, by their first way and by their second one."""

    adapter: type[VenueAdapter]
    way: str
    first: list[Account] = field(default_factory=list)
    second: list[Account] = field(default_factory=list)


def read(now: datetime) -> LimitsPage:
    """Read how every limit stands behind which there is an enabled account."""
    groups = _groups()
    to_come = turns.listings_to_come()
    standings = pools.standings(_pools(one for group in groups.values() for one in _limits_of_group(group)))
    rows = [_row(group, standings or {}, to_come.get(key), now) for key, group in groups.items()]
    return LimitsPage(now, standings is not None, tuple(sorted(rows, key=lambda row: row.rank)))


def of_account(account: Account, now: datetime) -> tuple[Use, ...]:
    """How the limits of one account stand: by each of its ways out, or all those of its key."""
    adapter = VENUES.get(account.venue.adapter)
    if adapter is None:
        return ()
    # Those by key are the same on every way.
    limits = list(dict.fromkeys(one for way in ways_of(account) for one in _limits_of(account, adapter, way)))
    standings = pools.standings(_pools(limits)) or {}
    return tuple(_use(one, standings, now) for one in limits)


def ways_of(account: Account) -> tuple[str, ...]:
    """The names of an account's ways out, the first one first."""
    first = account.egress.name if account.egress else DIRECT.name
    return (first, account.second_egress.name) if account.second_egress else (first,)


def overloaded(accounts: Iterable[Account]) -> frozenset[SharedLimit]:
    """The limits that are smaller than what the cancels of all these accounts cost."""
    members: dict[SharedLimit, list[Account]] = {}
    for account in accounts:
        adapter = VENUES.get(account.venue.adapter)
        if account.enabled and adapter and adapter.cancel_limit().per == "address":
            members.setdefault(turns.shared_limit(account), []).append(account)
    return frozenset(
        key
        for key, behind in members.items()
        if sum(map(_cancels, behind)) > _amount(behind, VENUES[key.adapter].cancel_limit())
    )


def _groups() -> dict[SharedLimit, _Group]:
    unread = ("reading__orders", "reading__symbols", "egress__sealed_proxy", "second_egress__sealed_proxy")
    accounts = Account.objects.filter(enabled=True).order_by("name")
    accounts = accounts.select_related("venue", "reading", "egress", "second_egress")
    groups: dict[SharedLimit, _Group] = {}
    for account in accounts.defer("sealed_credentials", *unread):
        adapter = VENUES.get(account.venue.adapter)
        if adapter is None:
            continue
        key = turns.shared_limit(account)
        if adapter.listing_limit().per == "key":
            groups.setdefault(key._replace(egress_id=None), _Group(adapter, "")).first.append(account)
            continue
        first, *second = ways_of(account)
        groups.setdefault(key, _Group(adapter, first)).first.append(account)
        for way in second:
            key = key._replace(egress_id=account.second_egress_id)
            groups.setdefault(key, _Group(adapter, way)).second.append(account)
    return groups


def _limits_of_group(group: _Group) -> list[_Counted]:
    """What its row may speak of: the limit of its way, or those by key of each account."""
    if group.way:
        limit = group.adapter.listing_limit()
        return [_counted(_tightest(group.first + group.second, limit), limit, group.way)]
    return [one for account in group.first for one in _limits_of(account, group.adapter, "")]


def _limits_of(account: Account, adapter: type[VenueAdapter], way: str) -> list[_Counted]:
    # Without the order limits that Binance counts by key: only the canary uses them.
    per = adapter.listing_limit().per
    limits = [limit for limit in adapter.limits if limit.per == per]
    return [_counted(account, limit, way if per == "address" else "") for limit in limits]


def _counted(account: Account, limit: Limit, way: str) -> _Counted:
    def pool_of(limit: Limit, way: str) -> str:
        return budgets.pool_name(account.venue.base_url, limit, way=way, account_id=account.pk)

    bans = VENUES[account.venue.adapter].bans
    return _Counted(
        account, limit, way, pool_of(limit, way), pool_of(bans, ways_of(account)[0]) if bans else ""
    )


def _pools(limits: Iterable[_Counted]) -> list[str]:
    return list(dict.fromkeys(pool for one in limits for pool in one.pools))


def _row(group: _Group, standings: Mapping[str, Standing], to_come: ToCome | None, now: datetime) -> LimitRow:
    limits, by_key = _limits_of_group(group), not group.way
    use, shown = max(
        ((_use(one, standings, now), one) for one in limits),
        key=lambda pair: (pair[0].refused_until is not None, pair[0].share),
    )
    weights = [_cancels(account) for account in group.first]
    cancels = max(weights, default=0) if by_key else sum(weights)
    read_at = [reading.read_at for account in group.first if (reading := _reading(account))]
    return LimitRow(
        venue=", ".join(sorted({account.venue.name for account in group.first + group.second})),
        adapter=group.adapter.label,
        by_key=by_key,
        use=use,
        nearest=shown.account.name if by_key and (use.share or use.refused_until) else "",
        nearest_url=shown.account.get_absolute_url() if by_key else "",
        accounts=len(group.first),
        have_second=sum(account.second_egress_id is not None for account in group.first),
        second_for=len(group.second),
        reads_may=AccountBudget(shown.account, Work.HEARTBEAT, keep_free=cancels).cap(shown.limit),
        cancels=cancels,
        unread=len(group.first) - len(read_at),
        oldest_read_at=min((at for at in read_at if at), default=None),
        listing=readings.reading_weight(group.adapter),
        proven_in_s=_proven_in_s(group, limits, standings, cancels),
        to_come=to_come,
    )


def _use(counted: _Counted, standings: Mapping[str, Standing], now: datetime) -> Use:
    limit, standing = counted.limit, standings.get(counted.pool)
    said = [standings[pool].refusal for pool in counted.pools if pool in standings]
    refusal = max((one for one in said if one), key=lambda one: one.ms, default=None)
    return Use(
        name=limit.pool,
        way=counted.way,
        amount=_amount([counted.account], limit),
        published=limit.amount,
        window_s=limit.window_s,
        used=standing.used(limit.window_s + SLACK_S) if standing else None,
        refused_until=now + timedelta(milliseconds=refusal.ms) if refusal else None,
        refused_why=refusal.why if refusal else "",
    )


def _proven_in_s(
    group: _Group, limits: Sequence[_Counted], standings: Mapping[str, Standing], cancels: int
) -> int | None:
    """When the last full listing would have its turn, if every account were pressed now: the soonest.

    By key each account has its turns to itself, and the slowest one counts.
    """
    listing, turns_s = readings.reading_weight(group.adapter), []
    for one in limits:
        if one.limit != group.adapter.listing_limit():
            continue
        rule = AccountBudget(one.account, Work.PROOF).rule(one.limit, spread=True)
        if listing > rule.cap:
            return None
        ahead, lighter = (len(group.first) - 1, cancels) if group.way else (0, 0)
        standing = standings.get(one.pool) or Standing({}, 0, None)
        turn_s = turn_in_s(standing.spent, standing.now, rule, listing, ahead=max(0, ahead), lighter=lighter)
        turns_s.append(max(turn_s, standing.refusal.ms // 1000 if standing.refusal else 0))
    return max(turns_s)


def _tightest(accounts: Sequence[Account], limit: Limit) -> Account:
    """The account to which its venue row grants least: they share the limit, whatever the rows say."""
    return min(accounts, key=lambda account: AccountBudget(account, Work.PANIC).amount(limit))


def _amount(accounts: Sequence[Account], limit: Limit) -> int:
    return AccountBudget(_tightest(accounts, limit), Work.PANIC).amount(limit)


def _cancels(account: Account) -> int:
    reading = _reading(account)
    return reading.cancel_weight if reading else 0


def _reading(account: Account) -> Reading | None:
    """The account's reading, if it was ever read."""
    reading: Reading | None = getattr(account, "reading", None)
    return reading if reading and reading.read_at else None
