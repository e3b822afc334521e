"""Countdowns and delays: one heap and one timer of the event loop, however many are set.

What is due is looked for about every 10 ms, the resolution Binance states for its countdowns.
https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Auto-Cancel-All-Open-Orders
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Hashable, Iterator

RESOLUTION_S = 0.010


class Timers:
    """Actions to run later, each under a key; setting a key again replaces what it held."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable]] = []
        self._set: dict[Hashable, tuple[int, float, Callable[[], None]]] = {}
        self._serial = 0
        self._handle: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0

    def set(self, key: Hashable, delay_ms: float, action: Callable[[], None]) -> None:
        """Run `action` after `delay_ms`, unless the key is set again or cleared before."""
        due = time.monotonic() + delay_ms / 1000
        self._serial += 1
        self._set[key] = (self._serial, due, action)
        heapq.heappush(self._heap, (due, self._serial, key))
        self._wake(due)

    def clear(self, key: Hashable) -> bool:
        """Forget what is set under `key`; says whether anything was."""
        return self._set.pop(key, None) is not None

    def left_ms(self, key: Hashable) -> int | None:
        """How long until `key` is due, in ms; None when it is not set."""
        held = self._set.get(key)
        return None if held is None else max(0, round((held[1] - time.monotonic()) * 1000))

    def __iter__(self) -> Iterator[Hashable]:
        return iter(list(self._set))

    def clear_all(self) -> None:
        """Forget everything."""
        self._heap.clear()
        self._set.clear()

    def _wake(self, due: float) -> None:
        if self._handle is not None:
            if self._wakes_at <= due:
                return
            self._handle.cancel()
        self._wakes_at = due
        delay = max(RESOLUTION_S, due - time.monotonic())
        self._handle = asyncio.get_running_loop().call_later(delay, self._run)

    def _run(self) -> None:
        self._handle = None
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            _due, serial, key = heapq.heappop(self._heap)
            held = self._set.get(key)
            if held is not None and held[0] == serial:  # else it was cleared or set anew
                del self._set[key]
                held[2]()
        if self._heap:
            self._wake(self._heap[0][0])
