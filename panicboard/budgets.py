"""Who may spend how much of a venue's limit. How it is counted is in `pools.py`.

Panics may use all of it: their cancels everything, their readings a little less, so that a cancel always
finds room. Heartbeats and reads use only what leaves the reserve whole, and never what the cancels of
every account behind the same limit would need; looks at latched accounts leave half of the reserve.
"""

import contextlib
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from enum import Enum
from functools import cached_property
from typing import NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone

from panicboard import credentials, database, pools
from panicboard.local_counts import PACE_S, Refusal, Rule
from panicboard.models import Account
from panicboard.venues import open_adapter, routes
from panicboard.venues.base import DIRECT, Limit, Route, VenueAdapter
from panicboard.venues.errors import BudgetSpent

logger = logging.getLogger(__name__)

#: Slack for a call that is booked now and counted by the venue a moment later.
SLACK_S = 2
#: How much faster than the limit's own pace full listings may come. The window's cap makes up for it; exactly
#: at its pace, whatever is lost once would never be caught up with.
HASTE = 1.25
#: How much of what leaves the reserve whole only heartbeats may use, in percent of it.
HEARTBEATS_ALONE_PERCENT = 10
#: What reads keep of a limit by address even where the cancels of every account need all of it: an account
#: that is never read has orders nobody knows of. The dearest full reading, portfolio margin's, takes 11.
LEAST_PERCENT = 12
#: What reads leave besides: each process reads the venue's clock before its first cancel.
SPARE_PERCENT = 1


class Work(Enum):
    """Whose budget a call is paid from."""

    #: A panic's cancels.
    PANIC = "panic"
    #: A panic's readings of known symbols, and of what became of its orders.
    READ_BACK = "read-back"
    #: The full listing that proves an account clear. It costs the most, and waits for its turn.
    PROOF = "proof"
    #: What the latch does after a panic was clear: it must see what comes, and leave room for the next panic.
    LOOK = "look"
    HEARTBEAT = "heartbeat"
    READ = "read"


#: How many percent of a limit counted by address a panic's readings leave to its cancels.
_LEFT_FOR_CANCELS = {Work.PANIC: 0, Work.READ_BACK: 2, Work.PROOF: 5}


class AccountBudget:
    """What one account may spend on one class of work. See `venues.base.Budget`.

    `keep_free` is weight that is left to others whatever the class of work may use.
    """

    def __init__(self, account: Account, work: Work, *, keep_free: int = 0) -> None:
        self.account = account
        self.work = work
        self.keep_free = keep_free
        self._base_url = account.venue.base_url
        self._override = account.venue.limit_override
        self._prepaid: Counter[str] = Counter()
        self._prepaid_lock = threading.Lock()

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """The account's ways out. Raises CredentialsUnusable."""
        return credentials.routes_of(self.account)

    def open_adapter(self, *, reads_only: bool = False) -> VenueAdapter:
        """Open the account at its venue, paid from here; no call is made yet.

        `reads_only`: whatever could change anything there then raises `calls.NotAReading`, and is not sent.

        Raises CredentialsUnusable or CredentialsRejected, with what to do.
        """
        venue = self.account.venue
        return open_adapter(
            venue.adapter,
            venue.base_url,
            credentials.unseal(self.account),
            budget=self,
            account=self.account.name,
            routes=self.routes,
            reads_only=reads_only,
        )

    def spend(self, limit: Limit, weight: int) -> None:
        """Take `weight` now, prepaid weight first. Raises BudgetSpent with how long until it is there.

        What was paid in advance is kept, too, while the venue refuses the pool: a call would prolong a ban.
        """
        database.let_go()  # the call that follows may have to wait for its venue
        pool = self.pool(limit)
        if refused := pools.told_refusal(pool):
            raise _refused(limit, refused)
        with self._prepaid_lock:
            paid = min(weight, self._prepaid[pool])
            self._prepaid[pool] -= paid
        if paid == weight:
            return
        try:
            self.take_from(pool, limit, weight - paid)
        except BudgetSpent:
            with self._prepaid_lock:
                self._prepaid[pool] += paid
            raise

    def take(self, limit: Limit, weight: int) -> None:
        """Take `weight` now. Raises BudgetSpent with how long until it is there.

        Where the venue refuses the way to be used now, the other one pays, and is used from then on: the
        refusal may have been told to another process.
        """
        self._by_either_way(limit, lambda pool: self.take_from(pool, limit, weight))

    def take_from(self, pool: str, limit: Limit, weight: int) -> None:
        """Take `weight` from this pool now. Raises BudgetSpent with how long until it is there."""
        self._raise_unless_taken(pool, limit, weight, pools.spend(pool, weight, self.rule(limit)))

    def take_in_turn(self, limit: Limit, weight: int, *, ahead: int, lighter: int) -> None:
        """Take `weight` when so many works of the same weight, and this lighter weight, had their turn.

        Raises BudgetSpent with how long that will be. It comes spread over the window, so that a limit is
        never used up at once for the rest of a minute.
        """
        rule = self.rule(limit, spread=True)

        def take(pool: str) -> None:
            if not ahead or pools.turn_in_ms(pool, weight, rule, ahead=ahead) == 0:
                wait_ms = pools.spend(pool, weight, rule)
                if wait_ms <= 0:
                    self._raise_unless_taken(pool, limit, weight, wait_ms)
                    return
            wait_ms = pools.turn_in_ms(pool, weight, rule, ahead=ahead, lighter=lighter)
            self._raise_unless_taken(pool, limit, weight, max(100, wait_ms))

        self._by_either_way(limit, take)

    def turn_in_ms(self, limit: Limit, weight: int, *, ahead: int, lighter: int) -> int:
        """When `take_in_turn` would have its turn, in ms from now."""
        rule = self.rule(limit, spread=True)
        return pools.turn_in_ms(self.pool(limit), weight, rule, ahead=ahead, lighter=lighter)

    def prepay(self, limit: Limit, weight: int) -> None:
        """Take the weight of several calls at once, all of it or nothing. Raises BudgetSpent."""
        self.take(limit, weight)
        self.add_prepaid(limit, weight)

    def add_prepaid(self, limit: Limit, weight: int) -> None:
        """Let later calls use weight that was taken for them already."""
        with self._prepaid_lock:
            self._prepaid[self.pool(limit)] += weight

    def observe(self, limit: Limit, used: int) -> None:
        """Hear the venue's count of its present clock minute; ours follows it upwards."""
        pools.observe(self.pool(limit), used, limit.window_s + SLACK_S)

    def block(self, limit: Limit, retry_after_ms: int, why: str) -> None:
        """Hear that the venue refuses this pool for a while: nobody calls it until then."""
        logger.warning("%s: venue refuses %s: %s", self.account.name, limit.pool, why)
        pools.block(self.pool(limit), retry_after_ms, why)

    def used(self, limit: Limit) -> int | None:
        """How much of the pool all processes used in its window; None while Redis does not answer."""
        return pools.used(self.pool(limit), limit.window_s + SLACK_S)

    def left(self, limit: Limit) -> int | None:
        """How much of the pool is left for everybody now; None while Redis does not answer."""
        used = self.used(limit)
        return None if used is None else max(0, self.amount(limit) - used)

    def amount(self, limit: Limit) -> int:
        """The limit as it is for this account: the venue's published one, or what the venue row says."""
        return self._override if self._override and limit.per == "address" else limit.amount

    def cap(self, limit: Limit) -> int:
        """How much of the limit this class of work may use."""
        amount, reserve = self.amount(limit), settings.BUDGET_RESERVE_PERCENT
        if self.work in _LEFT_FOR_CANCELS:
            # A key's own limits are small, and most count one call only: there is nothing to share.
            kept = _LEFT_FOR_CANCELS[self.work] if limit.per == "address" else 0
        else:
            kept = reserve // 2 if self.work == Work.LOOK else reserve
            # A heartbeat that is held back lets a countdown fire: it finds room where reads do not any more.
            if self.work == Work.READ and limit.per == "address":
                kept += (100 - reserve) * HEARTBEATS_ALONE_PERCENT // 100
        share = amount * (100 - kept) // 100
        if limit.per == "address" and self.keep_free:
            spare = amount * SPARE_PERCENT // 100
            share = min(share, max(amount - spare - self.keep_free, amount * LEAST_PERCENT // 100))
        return share

    def pool(self, limit: Limit) -> str:
        """The name under which Redis counts what this account's calls cost of a limit."""
        way = routes.choose(self._base_url, self.routes) if limit.per == "address" else DIRECT
        return self._pool_by(way, limit)

    def rule(self, limit: Limit, *, spread: bool = False) -> Rule:
        """How this class of work is counted; `spread` over the window, as what comes in turn is."""
        cap, window_s = self.cap(limit), limit.window_s + SLACK_S
        if not spread:
            # What counts by key is used by whoever holds the account's sweep, or reads it else.
            return Rule(cap, window_s, cap, cap, alone=limit.per == "key")
        burst = self.amount(limit) * (100 - settings.BUDGET_RESERVE_PERCENT // 2) // 100
        return Rule(cap, window_s, min(burst, cap), max(1, int(HASTE * PACE_S * cap / window_s)))

    def _pool_by(self, way: Route, limit: Limit) -> str:
        return pool_name(self._base_url, limit, way=way.name, account_id=self.account.pk)

    def _by_either_way(self, limit: Limit, take: Callable[[str], None]) -> None:
        """Take from the pool of the way to be used now; from the other's while the venue refuses that one."""
        if limit.per != "address":
            take(self.pool(limit))
            return
        way = routes.choose(self._base_url, self.routes)
        try:
            take(self._pool_by(way, limit))
        except BudgetSpent as exc:
            if not exc.refused:
                raise
            routes.go_around(self._base_url, way, exc.retry_after_ms / 1000)
            other = routes.choose(self._base_url, self.routes)
            if other is way:
                raise
            take(self._pool_by(other, limit))

    def _raise_unless_taken(self, pool: str, limit: Limit, weight: int, wait_ms: int) -> None:
        """Put a refusal into words; `wait_ms` is 0 when the weight was taken, and -1 when it never fits."""
        if wait_ms == 0:
            return
        if wait_ms < 0:
            raise BudgetSpent(
                f"a call of weight {weight} is more than {self.work.value}s may use of {limit.pool} "
                f"({self.cap(limit)})",
                retry_after_ms=limit.window_s * 1000,
            )
        if refused := pools.refusal(pool):
            raise _refused(limit, refused._replace(ms=wait_ms))
        until = timezone.now() + timedelta(milliseconds=wait_ms)
        limit_is = f"the {limit.pool} limit ({self.amount(limit)} a {limit.window_s} s)"
        raise BudgetSpent(f"{limit_is} is used up until {until:%H:%M:%S}", retry_after_ms=wait_ms)


def _refused(limit: Limit, refusal: Refusal) -> BudgetSpent:
    until = timezone.now() + timedelta(milliseconds=refusal.ms)
    said = f"until {until:%H:%M:%S} the venue refuses {limit.pool} calls: {refusal.why}"
    return BudgetSpent(said, retry_after_ms=refusal.ms, refused=True, by_address=limit.per == "address")


def pool_name(base_url: str, limit: Limit, *, way: str, account_id: int) -> str:
    """The name under which Redis counts a limit: by the way out, or by the account whose key it is."""
    scope = f"address:{way}" if limit.per == "address" else f"key:{account_id}"
    return f"panicboard:budget:{urlsplit(base_url).netloc}:{limit.pool}:{scope}"


class Cost(NamedTuple):
    """What calls of one account cost of one limit."""

    budget: AccountBudget
    limit: Limit
    weight: int


def prepay(costs: Iterable[Cost]) -> None:
    """Take the weight of many calls at once: of each pool all that these cost, or nothing.

    Where it does not fit, each call pays for itself when it is made, as far as the limit goes.
    """
    by_pool: dict[tuple[str, int], list[Cost]] = defaultdict(list)
    for cost in costs:
        if cost.weight:
            by_pool[cost.budget.pool(cost.limit), cost.budget.cap(cost.limit)].append(cost)
    for (pool, _), together in by_pool.items():
        with contextlib.suppress(BudgetSpent):
            # From this pool only: not every account of it may have the first one's other way.
            together[0].budget.take_from(pool, together[0].limit, sum(cost.weight for cost in together))
            for cost in together:
                cost.budget.add_prepaid(cost.limit, cost.weight)
