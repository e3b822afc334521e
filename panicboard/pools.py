"""Counting what all processes together use of a venue's limits, in Redis.

Venues count weight in clock minutes, per address or per key. Here the same weight is counted over a
window that slides and is a little longer than the venue's, so that no clock minute, seen from the
venue, can hold more than the limit, whatever the offset between the clocks. Used-weight headers correct
the count upwards: somebody else may trade from the same address. Without Redis each process counts by
itself, and keeps to a fixed share.

Public limiters count one rule a key; here several classes of work share a pool, each up to another height
of it, the venue's own count is taken over, and whoever has to wait is told when its turn comes.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import redis
from django.conf import settings

from panicboard.local_counts import HEADER_DOUBT_S, PACE_S, LocalCounts, Refusal, Rule, turn_in_s

logger = logging.getLogger(__name__)

#: The share of a limit that one process may use while it cannot ask Redis: web, two panic workers, one
#: for everything else.
LOCAL_SHARE = 0.25
#: How long a process stays with its share before it asks Redis again.
RETRY_REDIS_S = 1.0
#: Whoever waits for a turn while Redis is away asks again this soon.
ASK_AGAIN_S = 5.0
#: How often a process tells Redis what a pool's header says: it moves slowly, and calls come by the hundred.
OBSERVE_EVERY_S = 0.1
#: More than a process has threads. By default redis-py refuses the hundred and first that asks at once: Redis
#: then counted as lost, and in a large panic the process went on with a share of its own, over the limit.
MOST_CONNECTIONS = 1024


# One hash a pool: second -> weight. Returns 0 when taken, else the ms until it would fit (-1: never), and
# how much of the pool is used.
_SPEND = """
local now = redis.call('TIME')
local second, milli = tonumber(now[1]), math.floor(tonumber(now[2]) / 1000)
local weight, cap, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local burst, pace, pace_s = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local used, lately, kept = 0, 0, {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local at, spent = tonumber(fields[i]), tonumber(fields[i + 1])
  if at <= second - window then
    redis.call('HDEL', KEYS[1], fields[i])
  else
    used = used + spent
    if at > second - pace_s then lately = lately + spent end
    kept[#kept + 1] = {at, spent}
  end
end
local blocked = redis.call('PTTL', KEYS[2])
if blocked > 0 then return {blocked, used} end
if weight > cap then return {-1, used} end
if used + weight <= cap then
  if used + weight > burst and lately >= pace then return {1000 - milli, used} end
  redis.call('HINCRBY', KEYS[1], second, weight)
  redis.call('EXPIRE', KEYS[1], window + 5)
  return {0, used + weight}
end
local left = used
table.sort(kept, function(a, b) return a[1] < b[1] end)
for _, entry in ipairs(kept) do
  left = left - entry[2]
  if left + weight <= cap then return {(entry[1] + window - second) * 1000 - milli, used} end
end
return {-1, used}
"""

# Tell what was used while Redis could not be asked.
_ADD = """
for i = 1, #ARGV - 1, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[#ARGV])
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


class Standing(NamedTuple):
    """How a pool stands: what was used in which second, which second it is, and whether the venue refuses."""

    spent: Mapping[int, int]
    now: int
    refusal: Refusal | None

    def used(self, window_s: int) -> int:
        """How much of it all processes used in its window."""
        return sum(weight for second, weight in self.spent.items() if second > self.now - window_s)


@cache
def client() -> redis.Redis:
    """The process's Redis client; it gives up within 0.2 s. Every thread of a process can ask at once."""
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=0.2, socket_connect_timeout=0.2, max_connections=MOST_CONNECTIONS
    )


_local = LocalCounts()
#: When Redis last told how much of a pool is used, and how much it was.
_told: dict[str, tuple[float, int]] = {}
_observed_at: dict[str, float] = {}
#: The pools that venues refuse and Redis does not know of yet.
_untold: set[str] = set()
_redis_lost_at = -RETRY_REDIS_S


def _without_redis() -> bool:
    return time.monotonic() - _redis_lost_at < RETRY_REDIS_S


def _lost_redis(exc: redis.RedisError) -> None:
    global _redis_lost_at
    _redis_lost_at = time.monotonic()
    logger.warning(
        "rate budget: Redis does not answer (%s); this process keeps to its share", type(exc).__name__
    )


def spend(pool: str, weight: int, rule: Rule) -> int:
    """Take weight from a pool. Returns 0 when it was taken, else the ms until it would fit, -1 for never."""
    if not _without_redis():
        try:
            _tell_what_was_refused_here()
            _tell_what_was_counted_here(pool, rule.window_s)
            wait_ms, now_used = client().eval(_SPEND, 2, pool, f"{pool}:blocked", weight, *rule[:4], PACE_S)
        except redis.RedisError as exc:
            _lost_redis(exc)
        else:
            _told[pool] = time.monotonic(), now_used
            return int(wait_ms)
    wait_ms = _local.spend(pool, weight, _our_share(pool, rule))
    # What is too much for our share may fit as soon as Redis answers.
    return round(RETRY_REDIS_S * 1000) if wait_ms < 0 and weight <= rule.cap else wait_ms


def turn_in_ms(pool: str, weight: int, rule: Rule, *, ahead: int, lighter: int = 0) -> int:
    """When this weight could be taken, after `ahead` works of the same weight, in ms from now.

    `lighter` is weight of other work that will come first; -1: never.
    """
    if weight > rule.cap:
        return -1
    standing = _standing(pool)
    if standing is None:
        return _turn_alone_ms(pool, weight, _our_share(pool, rule), ahead, lighter)
    wait_s = turn_in_s(standing.spent, standing.now, rule, weight, ahead=ahead, lighter=lighter)
    return max(wait_s * 1000, standing.refusal.ms if standing.refusal else 0)


def _turn_alone_ms(pool: str, weight: int, share: Rule, ahead: int, lighter: int) -> int:
    """The same without Redis: our share tells little of a queue that all processes work off."""
    if weight > share.cap:
        return round(RETRY_REDIS_S * 1000)
    now, spent = _local.history(pool)
    wait_s = turn_in_s(spent, now, share, weight, ahead=ahead, lighter=lighter)
    return round(min(wait_s, ASK_AGAIN_S) * 1000)


def observe(pool: str, used: int, window_s: int) -> None:
    """Hear the venue's count of its present clock minute; ours follows it upwards."""
    now = time.monotonic()
    if _without_redis() or now - _observed_at.get(pool, 0.0) < OBSERVE_EVERY_S:
        return
    _observed_at[pool] = now
    try:
        client().eval(_OBSERVE, 1, pool, used, HEADER_DOUBT_S, window_s)
    except redis.RedisError as exc:
        _lost_redis(exc)


def block(pool: str, retry_after_ms: int, why: str) -> None:
    """Hear that the venue refuses this pool for a while: nobody calls it until then."""
    _local.block(pool, retry_after_ms, why)
    _untold.add(pool)
    try:
        _tell_what_was_refused_here()
    except redis.RedisError as exc:
        _lost_redis(exc)


def refusal(pool: str) -> Refusal | None:
    """How long the venue still refuses this pool, and why; None while it does not, or nobody can tell."""
    standing = _standing(pool)
    return standing.refusal if standing else None


def told_refusal(pool: str) -> Refusal | None:
    """The refusal of this pool that this process was told of, by the venue or by Redis: no need to ask."""
    refused = _local.refusal(pool)
    if refused and _untold and not _without_redis():
        try:
            _tell_what_was_refused_here()
        except redis.RedisError as exc:
            _lost_redis(exc)
    return refused


def standings(pools: Sequence[str]) -> dict[str, Standing] | None:
    """How these pools stand, all asked for at once; None while Redis does not answer."""
    if not pools:
        return {}
    if _without_redis():
        return None
    blocked = [f"{pool}:blocked" for pool in pools]
    try:
        with client().pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.mget(blocked)
            for pool, key in zip(pools, blocked, strict=True):
                pipe.hgetall(pool)
                pipe.pttl(key)
            (now, _), words, *found = pipe.execute()
    except redis.RedisError as exc:
        _lost_redis(exc)
        return None
    told = {
        pool: Standing(_by_second(fields), int(now), _refusal(left_ms, why))
        for pool, why, fields, left_ms in zip(pools, words, found[::2], found[1::2], strict=True)
    }
    for pool, standing in told.items():
        if standing.refusal:  # to be obeyed without Redis, too
            _local.block(pool, *standing.refusal)
    return told


def used(pool: str, window_s: int) -> int | None:
    """How much of a pool all processes used in its window; None while Redis does not answer."""
    standing = _standing(pool)
    return standing.used(window_s) if standing else None


def _standing(pool: str) -> Standing | None:
    found = standings([pool])
    return found[pool] if found else None


def _our_share(pool: str, rule: Rule) -> Rule:
    """What this process may use by itself of what was left when Redis last answered."""
    told_at, used_then = _told.get(pool, (0.0, 0))
    if time.monotonic() - told_at > rule.window_s:
        used_then = 0
    share = 1 if rule.alone else LOCAL_SHARE
    cap, burst = (max(0, int((most - used_then) * share)) for most in (rule.cap, rule.burst))
    return Rule(cap, rule.window_s, burst, max(1, int(rule.pace * share)), rule.alone)


def _tell_what_was_refused_here() -> None:
    for pool in list(_untold):
        if refused := _local.refusal(pool):
            blocked = f"{pool}:blocked"
            if client().pttl(blocked) < refused.ms:  # never shorten a ban
                client().set(blocked, refused.why, px=refused.ms)
        _untold.discard(pool)


def _tell_what_was_counted_here(pool: str, window_s: int) -> None:
    spent = _local.take_out(pool)
    if not spent:
        return
    try:
        client().eval(_ADD, 1, pool, *(number for entry in spent.items() for number in entry), window_s + 5)
    except redis.RedisError:
        _local.put_back(pool, spent)
        raise


def _by_second(fields: Mapping[bytes, bytes]) -> dict[int, int]:
    return {int(second): int(weight) for second, weight in fields.items()}


def _refusal(left_ms: int, why: object) -> Refusal | None:
    return Refusal(left_ms, why.decode(errors="replace")) if left_ms > 0 and isinstance(why, bytes) else None
