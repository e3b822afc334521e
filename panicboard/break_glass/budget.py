"""What the venues' limits allow to one process that is alone: the whole of each, counted here.

The same sliding window, a little longer than the venue's, as `panicboard.pools` counts in Redis. Whoever
breaks the glass has no Redis to ask, and no other work to leave room for.
"""

import threading
import time
from collections import Counter
from datetime import UTC, datetime
from urllib.parse import urlsplit

from panicboard.break_glass.sealed_file import SealedAccount
from panicboard.budgets import SLACK_S
from panicboard.local_counts import LocalCounts, Refusal, Rule
from panicboard.venues import routes
from panicboard.venues.base import Limit
from panicboard.venues.errors import BudgetSpent


class GlassBudget:
    """What one account may spend. See `venues.base.Budget`. `share`: of each limit, in percent."""

    def __init__(self, account: SealedAccount, counts: LocalCounts, *, share: int = 100) -> None:
        self._account = account
        self._counts = counts
        self._share = share
        self._prepaid: Counter[str] = Counter()
        self._lock = threading.Lock()

    def spend(self, limit: Limit, weight: int) -> None:
        """Take `weight` now, prepaid weight first. Raises BudgetSpent with how long until it is there.

        What was paid in advance is kept, too, while the venue refuses the pool: a call would prolong a ban.
        """
        pool = self._pool(limit)
        if refused := self._counts.refusal(pool):
            raise _refused(limit, refused)
        with self._lock:
            if self._prepaid[pool] >= weight:
                self._prepaid[pool] -= weight
                return
        self._take(limit, weight)

    def prepay(self, limit: Limit, weight: int) -> None:
        """Take the weight of several calls at once, all of it or nothing. Raises BudgetSpent."""
        self._take(limit, weight)
        with self._lock:
            self._prepaid[self._pool(limit)] += weight

    def observe(self, limit: Limit, used: int) -> None:
        self._counts.observe(self._pool(limit), used)

    def block(self, limit: Limit, retry_after_ms: int, why: str) -> None:
        self._counts.block(self._pool(limit), retry_after_ms, why)

    def _take(self, limit: Limit, weight: int) -> None:
        pool, cap = self._pool(limit), self._cap(limit)
        wait_ms = self._counts.spend(pool, weight, Rule(cap, limit.window_s + SLACK_S, cap, cap))
        if wait_ms == 0:
            return
        if wait_ms < 0:
            raise BudgetSpent(
                f"a call of weight {weight} is more than the {limit.pool} limit ({cap})",
                retry_after_ms=limit.window_s * 1000,
            )
        if refused := self._counts.refusal(pool):
            raise _refused(limit, refused)
        until = clock_in(wait_ms / 1000)
        said = f"the {limit.pool} limit ({cap} a {limit.window_s} s) is used up until {until}"
        raise BudgetSpent(said, retry_after_ms=wait_ms)

    def _cap(self, limit: Limit) -> int:
        override = self._account.limit_override if limit.per == "address" else None
        return (override or limit.amount) * self._share // 100

    def _pool(self, limit: Limit) -> str:
        scope = f"key {self._account.name}"
        if limit.per == "address":
            scope = routes.choose(self._account.base_url, self._account.routes).name
        return f"{urlsplit(self._account.base_url).netloc} {limit.pool} {scope}"


def _refused(limit: Limit, refused: Refusal) -> BudgetSpent:
    until = clock_in(refused.ms / 1000)
    return BudgetSpent(
        f"until {until} the venue refuses {limit.pool} calls: {refused.why}",
        retry_after_ms=refused.ms,
        refused=True,
        by_address=limit.per == "address",
    )


def clock_in(seconds: float) -> str:
    """The time in so many seconds, for people."""
    return f"{datetime.fromtimestamp(time.time() + seconds, UTC):%H:%M:%S} UTC"
