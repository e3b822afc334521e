"""Request limits: weight per address and clock minute, orders per account; insisting leads to a ban.

https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info#limits
"""

from collections import deque
from dataclasses import dataclass

REAL_LIMITS = {"fapi": 2400, "eapi": 2400, "papi": 6000, "api": 6000}
ORDERS_PER_MINUTE = 1200
ORDERS_PER_10_S = 300
INSISTED_CALLS = (
    20  # refused calls in one minute after which the address is banned; the venue names no number
)
FIRST_BAN_MS = 120_000
LONGEST_BAN_MS = 3 * 86_400_000
CALL_WINDOW_MS = 60_000


@dataclass(slots=True)
class Usage:
    """What one address has used of one pool in the current clock minute, and its ban."""

    minute: int = 0
    used: int = 0
    refused: int = 0
    banned_until_ms: int = 0
    bans: int = 0


@dataclass(slots=True)
class OrderCount:
    """How many orders one account placed in the current minute and 10 s."""

    minute: int = 0
    in_minute: int = 0
    ten_s: int = 0
    in_ten_s: int = 0


class Limits:
    """The pools, and who used how much of them. A limit of None counts but never refuses."""

    def __init__(self, *, on: bool = True) -> None:
        self.limits: dict[str, int | None] = {}
        self.usages: dict[tuple[str, str], Usage] = {}
        self.orders: dict[tuple[str, str], OrderCount] = {}
        self.calls: dict[tuple[str, str], deque[int]] = {}
        self.on = on
        self.switch(on=on)
        self._start = (on, dict(self.limits))

    def switch(self, *, on: bool) -> None:
        """Set every pool to the venue's real limit, or to none."""
        self.on = on
        self.limits = {pool: amount if on else None for pool, amount in REAL_LIMITS.items()}

    def override(self, pool: str, amount: int | None) -> None:
        """Give one pool another limit, or none. Raises ValueError for a pool there is not."""
        if pool not in REAL_LIMITS:
            raise ValueError(f"pool {pool!r} is not one of {', '.join(REAL_LIMITS)}")
        self.limits[pool] = amount

    def keep_as_default(self) -> None:
        """Let `reset` come back to the limits as they are now (the command line's)."""
        self._start = (self.on, dict(self.limits))

    def reset(self) -> None:
        """Forget everything that was used, and come back to the limits of the start."""
        self.clear()
        self.on, self.limits = self._start[0], dict(self._start[1])

    def clear(self) -> None:
        """Forget everything that was used, and every ban."""
        self.usages.clear()
        self.orders.clear()
        self.calls.clear()

    def charge(self, pool: str, address: str, weight: int, now_ms: int) -> tuple[int, int]:
        """Take `weight` for one call. Returns what is used now, and 0, 429 or 418 (then see `ban`)."""
        usage = self.usages.get((pool, address))
        if usage is None:
            usage = self.usages[pool, address] = Usage()
        if usage.minute != now_ms // 60_000:
            usage.minute = now_ms // 60_000
            usage.used = usage.refused = 0
        limit = self.limits[pool]
        usage.used += weight
        if usage.banned_until_ms > now_ms:
            return usage.used, 418
        if limit is None or usage.used <= limit:
            return usage.used, 0
        usage.refused += 1
        if usage.refused <= INSISTED_CALLS:
            return usage.used, 429
        usage.banned_until_ms = now_ms + min(FIRST_BAN_MS << usage.bans, LONGEST_BAN_MS)
        usage.bans = min(usage.bans + 1, 16)
        return usage.used, 418

    def used(self, pool: str, address: str, now_ms: int) -> int:
        """What an address has used of a pool in this minute."""
        usage = self.usages.get((pool, address))
        return usage.used if usage is not None and usage.minute == now_ms // 60_000 else 0

    def count_orders(self, pool: str, account: str, number: int, now_ms: int) -> tuple[OrderCount, str]:
        """Count new orders. Returns the counts, and which limit was broken ("" for none)."""
        count = self.orders.setdefault((pool, account), OrderCount())
        if count.minute != now_ms // 60_000:
            count.minute, count.in_minute = now_ms // 60_000, 0
        if count.ten_s != now_ms // 10_000:
            count.ten_s, count.in_ten_s = now_ms // 10_000, 0
        count.in_minute += number
        count.in_ten_s += number
        if not self.on:
            return count, ""
        if pool == "fapi" and count.in_ten_s > ORDERS_PER_10_S:
            return count, f"{ORDERS_PER_10_S} orders per 10 SECOND"
        if count.in_minute > ORDERS_PER_MINUTE:
            return count, f"{ORDERS_PER_MINUTE} orders per MINUTE"
        return count, ""

    def take_call(self, account: str, call: str, amount: int, now_ms: int) -> bool:
        """Count one call of a limit by key and call. Says whether it is within `amount` in 60 s."""
        calls = self.calls.setdefault((account, call), deque())
        while calls and calls[0] <= now_ms - CALL_WINDOW_MS:
            calls.popleft()
        if self.on and len(calls) >= amount:
            return False
        calls.append(now_ms)
        return True
