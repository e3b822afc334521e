"""Who may spend how much of a venue's limit, shared by all processes through Redis.

Venues count weight in clock minutes, per address or per key. Here the same weight is counted over a
window that slides and is a little longer than the venue's, so that no clock minute, seen from the
venue, can hold more than the limit, whatever the offset between the clocks. Panics may use all of it;
heartbeats and reads only what leaves the reserve whole, looks at latched accounts half of the reserve.
Used-weight headers correct the count upwards: somebody else may trade from the same address. Without
Redis each process keeps to a fixed share.
"""

import contextlib
import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import Enum
from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit

import redis
from django.conf import settings

from panicboard.models import Account
from panicboard.venues.base import Limit
from panicboard.venues.errors import BudgetSpent

logger = logging.getLogger(__name__)

#: The share of a limit that one process may use while it cannot ask Redis: web, two panic workers, one
#: for everything else.
LOCAL_SHARE = 0.25
#: How long a process stays with its share before it asks Redis again.
RETRY_REDIS_S = 1.0
#: Slack for a call that is booked now and counted by the venue a moment later.
SLACK_S = 2
#: How often a process tells Redis what a pool's header says: it moves slowly, and calls come by the hundred.
OBSERVE_EVERY_S = 0.1
#: Replies can be this old when they arrive: a used-weight header read earlier in a minute than this may
#: still speak of the minute before.
HEADER_DOUBT_S = 6


class Work(Enum):
    """Whose budget a call is paid from."""

    PANIC = "panic"
    #: What the latch does after a panic was clear: it must see what comes, and leave room for the next panic.
    LOOK = "look"
    HEARTBEAT = "heartbeat"
    READ = "read"


# One hash a pool: second -> weight. Returns 0 when taken, else the ms until it would fit (-1: never).
_SPEND = """
local now = redis.call('TIME')
local second, milli = tonumber(now[1]), math.floor(tonumber(now[2]) / 1000)
local blocked = redis.call('PTTL', KEYS[2])
if blocked > 0 then return blocked end
local weight, cap, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if weight > cap then return -1 end
local used, kept = 0, {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local at = tonumber(fields[i])
  if at <= second - window then
    redis.call('HDEL', KEYS[1], fields[i])
  else
    used = used + tonumber(fields[i + 1])
    kept[#kept + 1] = {at, tonumber(fields[i + 1])}
  end
end
if used + weight <= cap then
  redis.call('HINCRBY', KEYS[1], second, weight)
  redis.call('EXPIRE', KEYS[1], window + 5)
  return 0
end
table.sort(kept, function(a, b) return a[1] < b[1] end)
for _, entry in ipairs(kept) do
  used = used - entry[2]
  if used + weight <= cap then return (entry[1] + window - second) * 1000 - milli end
end
return -1
"""

# Raise our count of the present clock minute to what the venue says; never lower it.
_OBSERVE = """
local second = tonumber(redis.call('TIME')[1])
if second % 60 < tonumber(ARGV[2]) then return 0 end
local minute, ours = second - second % 60, 0
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if tonumber(fields[i]) >= minute then ours = ours + tonumber(fields[i + 1]) end
end
local more = tonumber(ARGV[1]) - ours
if more > 0 then
  redis.call('HINCRBY', KEYS[1], second, more)
  redis.call('EXPIRE', KEYS[1], tonumber(ARGV[3]) + 5)
end
return more
"""

_USED = """
local second, used = tonumber(redis.call('TIME')[1]), 0
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if tonumber(fields[i]) > second - tonumber(ARGV[1]) then used = used + tonumber(fields[i + 1]) end
end
return used
"""


@cache
def client() -> redis.Redis:
    """The process's Redis client; it gives up within 0.2 s."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.2, socket_connect_timeout=0.2)


class _LocalCounts:
    """The same sliding count, within this process, for as long as Redis cannot be asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[str, Counter[int]] = {}
        self._blocked_until: dict[str, float] = {}

    def spend(self, pool: str, weight: int, cap: int, window_s: int) -> int:
        now = time.time()
        with self._lock:
            blocked_s = self._blocked_until.get(pool, 0) - now
            if blocked_s > 0:
                return int(blocked_s * 1000) + 1
            if weight > cap:
                return -1
            counts = self._pools.setdefault(pool, Counter())
            for second in [s for s in counts if s <= int(now) - window_s]:
                del counts[second]
            used = counts.total()
            if used + weight <= cap:
                counts[int(now)] += weight
                return 0
            for second in sorted(counts):
                used -= counts[second]
                if used + weight <= cap:
                    return int((second + window_s - now) * 1000) + 1
            return -1

    def block(self, pool: str, retry_after_ms: int) -> None:
        with self._lock:
            until = time.time() + retry_after_ms / 1000
            self._blocked_until[pool] = max(until, self._blocked_until.get(pool, 0))


_local = _LocalCounts()
_observed_at: dict[str, float] = {}
_redis_lost_at = -RETRY_REDIS_S


def _without_redis() -> bool:
    return time.monotonic() - _redis_lost_at < RETRY_REDIS_S


def _lost_redis(exc: redis.RedisError) -> None:
    global _redis_lost_at
    _redis_lost_at = time.monotonic()
    logger.warning(
        "rate budget: Redis does not answer (%s); this process keeps to its share", type(exc).__name__
    )


class AccountBudget:
    """What one account may spend on one class of work. See `venues.base.Budget`."""

    def __init__(self, account: Account, work: Work) -> None:
        self.account = account
        self.work = work
        self._host = urlsplit(account.venue.base_url).netloc
        self._override = account.venue.limit_override
        self._prepaid: Counter[str] = Counter()
        self._prepaid_lock = threading.Lock()

    def spend(self, limit: Limit, weight: int) -> None:
        """Take `weight` now, prepaid weight first. Raises BudgetSpent with how long until it is there."""
        with self._prepaid_lock:
            if self._prepaid[limit.pool] >= weight:
                self._prepaid[limit.pool] -= weight
                return
        self.take(limit, weight)

    def take(self, limit: Limit, weight: int) -> None:
        """Take `weight` now. Raises BudgetSpent with how long until it is there."""
        pool, cap, window_s = self.pool(limit), self.cap(limit), limit.window_s + SLACK_S
        wait_ms = self._ask(pool, weight, cap, window_s)
        if wait_ms == 0:
            return
        if wait_ms < 0:
            raise BudgetSpent(
                f"a call of weight {weight} is more than {self.work.value}s may use of {limit.pool} ({cap})",
                retry_after_ms=limit.window_s * 1000,
            )
        until = f"{wait_ms / 1000:.0f} s"
        if refused := self._refused(pool):
            said = f"the venue refuses {limit.pool} calls for {until}: {refused}"
            raise BudgetSpent(said, retry_after_ms=wait_ms)
        raise BudgetSpent(
            f"the {limit.pool} limit ({cap} a {limit.window_s} s) is used up for {until}",
            retry_after_ms=wait_ms,
        )

    def prepay(self, limit: Limit, weight: int) -> None:
        """Take the weight of several calls at once, all of it or nothing. Raises BudgetSpent."""
        self.take(limit, weight)
        self.add_prepaid(limit, weight)

    def add_prepaid(self, limit: Limit, weight: int) -> None:
        """Let later calls use weight that was taken for them already."""
        with self._prepaid_lock:
            self._prepaid[limit.pool] += weight

    def observe(self, limit: Limit, used: int) -> None:
        """Hear the venue's count of its present clock minute; ours follows it upwards."""
        pool, now = self.pool(limit), time.monotonic()
        if _without_redis() or now - _observed_at.get(pool, 0.0) < OBSERVE_EVERY_S:
            return
        _observed_at[pool] = now
        try:
            client().eval(_OBSERVE, 1, pool, used, HEADER_DOUBT_S, limit.window_s + SLACK_S)
        except redis.RedisError as exc:
            _lost_redis(exc)

    def block(self, limit: Limit, retry_after_ms: int, why: str) -> None:
        """Hear that the venue refuses this pool for a while: nobody calls it until then."""
        pool = self.pool(limit)
        _local.block(pool, retry_after_ms)
        logger.warning("%s: venue refuses %s: %s", self.account.name, limit.pool, why)
        try:
            if client().pttl(f"{pool}:blocked") < retry_after_ms:  # never shorten a ban
                client().set(f"{pool}:blocked", why, px=retry_after_ms)
        except redis.RedisError as exc:
            _lost_redis(exc)

    def _refused(self, pool: str) -> str:
        """Why the venue refuses this pool now; empty while it does not, or nobody can tell."""
        if _without_redis():
            return ""
        try:
            why = client().get(f"{pool}:blocked")
        except redis.RedisError as exc:
            _lost_redis(exc)
            return ""
        return why.decode(errors="replace") if isinstance(why, bytes) else ""

    def used(self, limit: Limit) -> int | None:
        """How much of the pool all processes used in its window; None while Redis does not answer."""
        if _without_redis():
            return None
        try:
            return int(client().eval(_USED, 1, self.pool(limit), limit.window_s + SLACK_S))
        except redis.RedisError as exc:
            _lost_redis(exc)
            return None

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
        kept = {Work.PANIC: 0, Work.LOOK: reserve // 2}.get(self.work, reserve)
        return amount * (100 - kept) // 100

    def pool(self, limit: Limit) -> str:
        """The name under which Redis counts what this account's calls cost of a limit."""
        scope = f"key:{self.account.pk}" if limit.per == "key" else "address:direct"
        return f"panicboard:budget:{self._host}:{limit.pool}:{scope}"

    def _ask(self, pool: str, weight: int, cap: int, window_s: int) -> int:
        if not _without_redis():
            try:
                keys_and_args = (pool, f"{pool}:blocked", weight, cap, window_s)
                return int(client().eval(_SPEND, 2, *keys_and_args))
            except redis.RedisError as exc:
                _lost_redis(exc)
        return _local.spend(pool, weight, int(cap * LOCAL_SHARE), window_s)


class Cost(NamedTuple):
    """What calls of one account cost of one limit."""

    budget: AccountBudget
    limit: Limit
    weight: int


def prepay(costs: Iterable[Cost]) -> None:
    """Take the weight of many calls at once: of each pool all that these cost, or nothing.

    Where it does not fit, each call pays for itself when it is made, as far as the limit goes.
    """
    pools: dict[tuple[str, int], list[Cost]] = defaultdict(list)
    for cost in costs:
        if cost.weight:
            pools[cost.budget.pool(cost.limit), cost.budget.cap(cost.limit)].append(cost)
    for together in pools.values():
        with contextlib.suppress(BudgetSpent):
            together[0].budget.take(together[0].limit, sum(cost.weight for cost in together))
            for cost in together:
                cost.budget.add_prepaid(cost.limit, cost.weight)
