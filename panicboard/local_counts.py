"""Counting weight over a sliding window within one process, and telling when whose turn is.

All processes together count in Redis (`pools.py`). This is for when it does not answer, for whoever breaks
the glass, and for playing forward how a pool will be used.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

#: Replies can be this old when they arrive: a used-weight header read earlier in a minute than this may
#: still speak of the minute before.
HEADER_DOUBT_S = 6
#: What is paced is counted over so many seconds.
PACE_S = 5
#: Nobody is told to wait longer than this at a time.
LONGEST_WAIT_S = 3600


class Rule(NamedTuple):
    """How much of a pool one class of work may use in a window, the weight of every class counted.

    Beyond `burst` it is spread: as soon as `pace` was used in the last PACE_S, the rest waits. `alone`: one
    process at a time uses the pool, and needs no Redis to know how much.
    """

    cap: int
    window_s: int
    burst: int
    pace: int
    alone: bool = False


class Refusal(NamedTuple):
    """The venue refuses a pool for so long, for this reason."""

    ms: int
    why: str


class LocalCounts:
    """What this process used of every pool, by the second, and until when venues refuse them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[str, Counter[int]] = {}
        self._refusals: dict[str, tuple[float, str]] = {}

    def spend(self, pool: str, weight: int, rule: Rule) -> int:
        """Take weight. Returns 0 when it was taken, else the ms until it would fit, -1 for never."""
        with self._lock:
            now = time.time()
            blocked_s = self._refused_until(pool) - time.monotonic()
            if blocked_s > 0:
                return int(blocked_s * 1000) + 1
            if weight > rule.cap:
                return -1
            counts = self._pools.setdefault(pool, Counter())
            for second in [s for s in counts if not int(now) - rule.window_s < s <= int(now)]:
                used = counts.pop(second)
                if second > now:  # the clock was set back: it must not count until that second is over
                    counts[int(now)] += used
            wait_s = turn_in_s(counts, int(now), rule, weight)
            if wait_s == 0:
                counts[int(now)] += weight
                return 0
            return int((int(now) + wait_s - now) * 1000) + 1

    def history(self, pool: str) -> tuple[int, dict[int, int]]:
        """The present second, and what was used in which second."""
        with self._lock:
            return int(time.time()), dict(self._pools.get(pool, {}))

    def take_out(self, pool: str) -> dict[int, int]:
        """Forget what was counted here, and return it."""
        with self._lock:
            return dict(self._pools.pop(pool, {}))

    def put_back(self, pool: str, spent: Mapping[int, int]) -> None:
        with self._lock:
            self._pools.setdefault(pool, Counter()).update(spent)

    def observe(self, pool: str, used: int) -> None:
        """Raise the count of the present clock minute to the venue's: others may call from this address."""
        second = int(time.time())
        if second % 60 < HEADER_DOUBT_S:
            return
        with self._lock:
            counts = self._pools.setdefault(pool, Counter())
            ours = sum(weight for at, weight in counts.items() if at >= second - second % 60)
            counts[second] += max(0, used - ours)

    def block(self, pool: str, retry_after_ms: int, why: str) -> None:
        """Hear that the venue refuses a pool for so long; never shortens what it said before."""
        with self._lock:
            until = time.monotonic() + retry_after_ms / 1000
            if until > self._refused_until(pool):
                self._refusals[pool] = until, why

    def refusal(self, pool: str) -> Refusal | None:
        """How long the venue still refuses this pool, and why."""
        with self._lock:
            until, why = self._refusals.get(pool, (0.0, ""))
        left_ms = int((until - time.monotonic()) * 1000)
        return Refusal(left_ms, why) if left_ms > 0 else None

    def _refused_until(self, pool: str) -> float:
        return self._refusals.get(pool, (0.0, ""))[0]


def turn_in_s(
    spent: Mapping[int, int], now: int, rule: Rule, weight: int, *, ahead: int = 0, lighter: int = 0
) -> int:
    """Play forward how a pool is used, second by second, until this weight has its turn.

    `spent` is what was used in which second. Everybody in front takes what the rule allows as soon as it
    does.
    """
    counts = Counter({second: used for second, used in spent.items() if second > now - rule.window_s})
    used, lately = counts.total(), sum(n for second, n in counts.items() if second > now - PACE_S)
    for second in range(now, now + LONGEST_WAIT_S):
        light = min(lighter, max(0, rule.cap - used))
        lighter -= light
        counts[second] += light
        used, lately = used + light, lately + light
        while used + weight <= rule.cap and (used + weight <= rule.burst or lately < rule.pace):
            if not ahead:
                return second - now
            ahead -= 1
            counts[second] += weight
            used, lately = used + weight, lately + weight
        used -= counts.pop(second + 1 - rule.window_s, 0)
        lately -= counts[second + 1 - PACE_S]
    return LONGEST_WAIT_S
