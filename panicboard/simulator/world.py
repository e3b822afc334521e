"""Everything the simulator holds, in memory, and the acts every venue shares: cancel, fill, expire."""

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from panicboard.simulator.accounts import Accounts
from panicboard.simulator.book import Books, Order
from panicboard.simulator.copies import Copies
from panicboard.simulator.faults import Faults
from panicboard.simulator.limits import Limits
from panicboard.simulator.requestlog import RequestLog
from panicboard.simulator.timers import Timers


@dataclass(slots=True)
class Switches:
    """Behaviour about which the venues' own pages disagree or are silent."""

    usdm_countdown_takes_algo: bool = False
    options_both_lists: str = "strict"  # or "lenient": both id lists in one options batch cancel
    options_shortest_countdown_ms: int = 5000  # the venue's; tests cannot wait that long
    options_missing: str = "item"  # or "omitted", "error": an id nobody knows in an options batch cancel
    options_generation: str = "new"  # or "old": ACCEPTED and CANCELLED instead of NEW and CANCELED
    um_algo_gone: str = ""  # "-21015" or "404": what portfolio margin answers to um/algo calls
    coinswitch_cancel_delay_ms: int = 300  # from CANCELLATION_RAISED to CANCELLED


@dataclass(slots=True)
class Latency:
    """How long a venue takes to answer: a fixed part, and up to `jitter_ms` more."""

    fixed_ms: float = 0
    jitter_ms: float = 0

    def draw_s(self) -> float:
        return (self.fixed_ms + random.random() * self.jitter_ms) / 1000  # noqa: S311 (not a secret)


@dataclass(frozen=True, slots=True)
class Firing:
    """A countdown that ran out: when, over what, and how many orders it found."""

    account: str
    scope: str
    fired_us: int
    orders: int


@dataclass(slots=True)
class World:
    """The state of the simulator. Venue APIs and the control plane work on one and the same object."""

    accounts: Accounts = field(default_factory=Accounts)
    books: Books = field(default_factory=Books)
    limits: Limits = field(default_factory=Limits)
    faults: Faults = field(default_factory=Faults)
    timers: Timers = field(default_factory=Timers)
    log: RequestLog = field(default_factory=RequestLog)
    copies: Copies = field(default_factory=Copies)
    switches: Switches = field(default_factory=Switches)
    latency: dict[str, Latency] = field(default_factory=dict)  # by venue
    firings: list[Firing] = field(default_factory=list)
    on_reset: list[Callable[[], None]] = field(default_factory=list)
    era: int = 0  # how often everything was forgotten
    serial: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @staticmethod
    def now_ms() -> int:
        """The clock every venue here lives by, Unix ms."""
        return time.time_ns() // 1_000_000

    def reach(self, account: str, book: str, symbol: str | None = None) -> list[Order]:
        """The open orders that lists and mass cancels of a book reach: all of them, unless it has moved."""
        if self.faults.moved and self.faults.has_moved(account, book):
            return []
        return self.books.open(account, book, symbol)

    def history(self, account: str, book: str, symbol: str | None = None) -> list[Order]:
        """All orders of a book, finished ones included; where it has moved, open ones are told elsewhere."""
        told = self.books.history(account, book, symbol)
        if self.faults.moved and self.faults.has_moved(account, book):
            return [order for order in told if not order.is_open]
        return told

    def cancel(self, order: Order) -> bool:
        """Cancel an open order, as far as the faults in force let it go.

        Returns False when it filled instead. With `refuse_cancel` it says True and the order stays: that
        is the lie a sweep must not believe.
        """
        if self.faults.on_books:
            fault = self.faults.of_cancel(order)
            if fault is not None and fault.kind == "refuse_cancel":
                return True
            if fault is not None:
                self.books.fill(order, self.now_ms())
                return False
        self.books.finish(order, "CANCELED", self.now_ms())
        return True

    def fire(self, account: str, scope: str, orders: list[Order]) -> None:
        """Let a countdown run out over these orders."""
        fired_us = time.time_ns() // 1000
        for order in orders:
            self.cancel(order)
        self.firings.append(Firing(account, scope, fired_us, len(orders)))

    def status(self, order: Order) -> str:
        """The status word of an order, in Binance's words unless a fault says otherwise."""
        if self.faults.on_books:
            return self.faults.status(order, order.status)
        return order.status

    def reset(self) -> None:
        """Forget accounts, orders, usage, faults, countdowns, latency, switches and the log."""
        self.era += 1
        self.accounts = Accounts()
        self.books = Books()
        self.limits.reset()
        self.faults.clear()
        self.timers.clear_all()
        self.log.clear()
        self.copies.clear()
        self.switches = Switches()
        self.latency.clear()
        self.firings.clear()
        for action in self.on_reset:
            action()
