"""What the venues' limits allow to one process that is alone: the whole of each, counted here.

The same sliding window, a little longer than the venue's, as `panicboard.budgets` counts in Redis. Whoever
breaks the glass has no Redis to ask, and no other work to leave room for.
"""

import threading
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from urllib.parse import urlsplit

from panicboard.break_glass.sealed_file import SealedAccount
from panicboard.budgets import SLACK_S
from panicboard.pools import HEADER_DOUBT_S
from panicboard.venues import routes
from panicboard.venues.base import Limit
from panicboard.venues.errors import BudgetSpent


class Pools:
    """What this process used of every pool, by the second, and until when venues refuse them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._refused: dict[str, tuple[float, str]] = {}

    def take(self, pool: str, weight: int, cap: int, window_s: int) -> float:
        """Take `weight`. Returns 0 when it was there, else in how many seconds it will be (-1: never)."""
        now = time.time()
        with self._lock:
            refused_s = self._refused.get(pool, (0.0, ""))[0] - now
            if refused_s > 0:
                return refused_s
            if weight > cap:
                return -1
            counts = self._used[pool]
            for second in [second for second in counts if second <= int(now) - window_s]:
                del counts[second]
            used = counts.total()
            if used + weight <= cap:
                counts[int(now)] += weight
                return 0
            for second in sorted(counts):
                used -= counts[second]
                if used + weight <= cap:
                    return second + window_s - now
            return window_s

    def observe(self, pool: str, used: int) -> None:
        """Raise the count of the present clock minute to the venue's: others may call from this address."""
        second = int(time.time())
        if second % 60 < HEADER_DOUBT_S:
            return
        with self._lock:
            counts = self._used[pool]
            ours = sum(weight for at, weight in counts.items() if at >= second - second % 60)
            counts[second] += max(0, used - ours)

    def refuse(self, pool: str, seconds: float, why: str) -> None:
        """Hear that the venue refuses a pool for so long; never shortens what it said before."""
        until = time.time() + seconds
        with self._lock:
            if until > self._refused.get(pool, (0.0, ""))[0]:
                self._refused[pool] = (until, why)

    def why_refused(self, pool: str) -> str:
        """Why the venue refuses this pool now; empty while it does not."""
        with self._lock:
            until, why = self._refused.get(pool, (0.0, ""))
        return why if until > time.time() else ""


class GlassBudget:
    """What one account may spend. See `venues.base.Budget`. `share`: of each limit, in percent."""

    def __init__(self, account: SealedAccount, pools: Pools, *, share: int = 100) -> None:
        self._account = account
        self._pools = pools
        self._share = share
        self._prepaid: Counter[str] = Counter()
        self._lock = threading.Lock()

    def spend(self, limit: Limit, weight: int) -> None:
        """Take `weight` now, prepaid weight first. Raises BudgetSpent with how long until it is there."""
        with self._lock:
            if self._prepaid[self._pool(limit)] >= weight:
                self._prepaid[self._pool(limit)] -= weight
                return
        self._take(limit, weight)

    def prepay(self, limit: Limit, weight: int) -> None:
        """Take the weight of several calls at once, all of it or nothing. Raises BudgetSpent."""
        self._take(limit, weight)
        with self._lock:
            self._prepaid[self._pool(limit)] += weight

    def observe(self, limit: Limit, used: int) -> None:
        self._pools.observe(self._pool(limit), used)

    def block(self, limit: Limit, retry_after_ms: int, why: str) -> None:
        self._pools.refuse(self._pool(limit), retry_after_ms / 1000, why)

    def _take(self, limit: Limit, weight: int) -> None:
        pool, cap = self._pool(limit), self._cap(limit)
        wait_s = self._pools.take(pool, weight, cap, limit.window_s + SLACK_S)
        if wait_s == 0:
            return
        if wait_s < 0:
            raise BudgetSpent(
                f"a call of weight {weight} is more than the {limit.pool} limit ({cap})",
                retry_after_ms=limit.window_s * 1000,
            )
        said = f"the {limit.pool} limit ({cap} a {limit.window_s} s) is used up until {clock_in(wait_s)}"
        if refused := self._pools.why_refused(pool):
            said = f"the venue refuses {limit.pool} calls until {clock_in(wait_s)}: {refused}"
        raise BudgetSpent(said, retry_after_ms=int(wait_s * 1000) + 1)

    def _cap(self, limit: Limit) -> int:
        override = self._account.limit_override if limit.per == "address" else None
        return (override or limit.amount) * self._share // 100

    def _pool(self, limit: Limit) -> str:
        scope = f"key {self._account.name}"
        if limit.per == "address":
            scope = routes.choose(self._account.base_url, self._account.routes).name
        return f"{urlsplit(self._account.base_url).netloc} {limit.pool} {scope}"


def clock_in(seconds: float) -> str:
    """The time in so many seconds, for people."""
    return f"{datetime.fromtimestamp(time.time() + seconds, UTC):%H:%M:%S} UTC"
