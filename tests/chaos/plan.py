"""From a seed to the schedule of a chaos run: fifty accounts, presses, and everything that goes wrong.

Pure: no clock, no process, no randomness but the seed's. What an event meets when its time has come (which
panic is clear, which order is open) is up to the run; when what is done to whom stands here, line by line,
and the same seed gives the same lines.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Generic, TypeVar

from panicboard.simulator.faults import CALL_KINDS
from tests.venue_calls import CALLS, COUNTDOWNS

T = TypeVar("T")
Json = dict[str, Any]

#: The last part of a run is quiet: a quarter, but no less than this, or half of a run that is very short.
QUIET_AT_LEAST_S = 20
DESKS = ("finch", "heron", "kestrel", "merlin", "osprey")
#: CoinSwitch counts 20 listings a minute and key, and one sweep takes seven or more: few of those, or a run
#: would be one long wait for the minute to pass.
MIXTURE = {"binance-usdm": 20, "binance-options": 12, "binance-portfolio": 12, "coinswitch": 6}

_COINS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")
_COIN_MARGINED = ("BTCUSD_PERP", "ETHUSD_PERP")
_OPTIONS = ("BTC-261225-100000-C", "BTC-261225-90000-P", "ETH-261225-4000-C", "SOL-261225-160-P")
#: What orders can be placed at a venue: the book (and type) as the simulator takes it, and the symbols.
ORDERS: dict[str, tuple[tuple[Json, Sequence[str]], ...]] = {
    "binance-usdm": (({"book": "ordinary"}, _COINS), ({"book": "algo"}, _COINS)),
    "binance-options": (({"book": "ordinary"}, _OPTIONS),),
    "binance-portfolio": (
        ({"book": "um"}, _COINS),
        ({"book": "um_conditional"}, _COINS),
        ({"book": "cm"}, _COIN_MARGINED),
        ({"book": "cm_conditional"}, _COIN_MARGINED),
        ({"book": "margin"}, _COINS),
        ({"book": "margin", "type": "OCO"}, _COINS),
    ),
    "coinswitch": (
        ({"book": "ordinary"}, _COINS),
        ({"book": "ordinary", "type": "STOP_MARKET"}, _COINS),
    ),
}
TRIGGERING = {"binance-usdm": ("algo",), "binance-portfolio": ("um_conditional", "cm_conditional")}

#: Answers after which nobody may call for longer than a press matters: 15 s for a plain 429 at Binance, a
#: minute for what is below. They are given now and then, each once, where the run is long enough.
SILENCES = (
    ("403_html", "binance-usdm"),
    ("429", "coinswitch"),
    ("403_html", "binance-options"),
    ("418", "coinswitch"),
    ("403_html", "binance-portfolio"),
    ("403_html", "coinswitch"),
)
SILENCES_FROM_S = 180
SHORT_SILENCES = tuple(("429", venue) for venue in MIXTURE if venue != "coinswitch")
SHORT_SILENCES_FROM_S = 60
#: What can happen to the product's own processes, and to what they stand on.
PROCESS_FAULTS = (
    "kill worker-panic-1",
    "kill worker-panic-2",
    "kill web",
    "kill keeper",
    "kill worker-background-1",
    "kill worker-heartbeat-1",
    "kill valkey",
    "freeze valkey",
    "lock database",
    "deliver twice",
)


@dataclass(frozen=True)
class Trader:
    """One account of the run."""

    name: str
    venue: str
    desk: str


def _traders() -> tuple[Trader, ...]:
    names = [(venue, number) for venue, count in MIXTURE.items() for number in range(1, count + 1)]
    return tuple(
        Trader(f"{venue}-{number:02d}", venue, DESKS[place % len(DESKS)])
        for place, (venue, number) in enumerate(names)
    )


TRADERS = _traders()


@dataclass(frozen=True)
class Event:
    """Something that happens `at_ms`, and, where `for_ms` says so, ends again. `act` says to what."""

    at_ms: int
    act: str
    what: Json = field(default_factory=dict)
    for_ms: int = 0

    @property
    def is_fault(self) -> bool:
        return self.act in ("call fault", "book fault", "bot", *PROCESS_FAULTS)

    def line(self) -> str:
        """The event as one line of JSON, always the same for the same event."""
        told = {"at_ms": self.at_ms, "act": self.act, **self.what}
        return json.dumps(told | ({"for_ms": self.for_ms} if self.for_ms else {}))


@dataclass(frozen=True)
class Plan:
    """Everything that a run does, in the order of its time."""

    seed: int
    seconds: int
    quiet_from_ms: int
    events: tuple[Event, ...]

    def text(self) -> str:
        """The whole schedule, one event a line."""
        head = {"seed": self.seed, "seconds": self.seconds, "quiet_from_ms": self.quiet_from_ms}
        return "".join(f"{line}\n" for line in (json.dumps(head), *(event.line() for event in self.events)))

    def digest(self) -> str:
        """What two runs of the same schedule have in common: the SHA-256 of its text."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def make(seed: int, seconds: int) -> Plan:
    """The schedule of a run of so many seconds."""
    return _Composer(seed, seconds).compose()


def _that_can_be(events: Sequence[Event]) -> Iterator[Event]:
    """These events without those that strike a process while it is still dead of an earlier one."""
    dead_until_ms: dict[str, int] = {}
    for event in events:
        what, _, process = event.act.partition(" ")
        if what in ("kill", "freeze"):
            if event.at_ms < dead_until_ms.get(process, 0):
                continue
            if what == "kill":
                dead_until_ms[process] = event.at_ms + event.for_ms
        yield event


class _Deck(Generic[T]):
    """Gives each card once before any comes again: no kind is left out of a long run."""

    def __init__(self, random: Random, cards: Sequence[T]) -> None:
        self._random = random
        self._cards = list(cards)
        self._left: list[T] = []

    def draw(self) -> T:
        if not self._left:
            self._left = list(self._cards)
            self._random.shuffle(self._left)
        return self._left.pop()


class _Composer:
    def __init__(self, seed: int, seconds: int) -> None:
        self.seed, self.seconds = seed, seconds
        quiet_s = max(seconds / 4, min(QUIET_AT_LEAST_S, seconds / 2))
        self.quiet_from_ms = round((seconds - quiet_s) * 1000)
        self.random = Random(seed)
        silent = {kind for kind, _ in (*SILENCES, *SHORT_SILENCES)} - {"418"}
        self.call_kinds = _Deck(self.random, sorted(CALL_KINDS - silent))
        self.book_kinds = _Deck(self.random, ("refuse_cancel", "fill_during", "unknown_status"))
        self.process_faults = _Deck(self.random, PROCESS_FAULTS)
        self.scopes = _Deck(self.random, ("all", "desk", "desk", "desk", "account", "account", "account"))
        self.ways = _Deck(self.random, ("page", "here"))
        self.events: list[Event] = []

    def compose(self) -> Plan:
        self._add(0, "orders", {"orders": [order for t in TRADERS for order in self._orders(t, 2)]})
        at_ms, presses = 700, 0
        while at_ms < self.quiet_from_ms - 500:
            self._press(at_ms)
            presses += 1
            if presses % 3 == 0:
                self._add(at_ms + self._between(1500, 4000), "release", {"by": self.ways.draw()})
            at_ms += self._between(2000, 6000)
        self._silences()
        ordered = sorted(enumerate(self.events), key=lambda pair: (pair[1].at_ms, pair[0]))
        events = tuple(_that_can_be([event for _, event in ordered]))
        return Plan(self.seed, self.seconds, self.quiet_from_ms, events)

    def _press(self, at_ms: int) -> None:
        """A press, what stands in its scope, and what goes wrong around it."""
        random = self.random
        scope = self.scopes.draw()
        chosen = {"all": "", "desk": random.choice(DESKS), "account": random.choice(TRADERS).name}[scope]
        inside = [t for t in TRADERS if chosen in ("", t.desk, t.name)]
        # What strikes CoinSwitch can cost the rest of its minute, which a very short run does not have.
        struck = [t for t in inside if t.venue != "coinswitch" or self.seconds >= SHORT_SILENCES_FROM_S]
        struck = struck or [TRADERS[0]]
        self._place(at_ms - self._between(200, 1200), inside, most=15)
        self._add(at_ms, "press", {"scope": scope, "of": chosen, "by": self.ways.draw()})
        for _ in range(self._between(1, 3)):
            self._call_fault(at_ms + self._between(-800, 600), random.choice(struck))
        for longest_ms in (400, 3000) if random.random() < 0.5 else (1500,):  # early, while cancels leave
            self._process_fault(at_ms + self._between(0, longest_ms))
        if random.random() < 0.5:
            self._book_fault(at_ms + self._between(-500, 800), random.choice(struck))
        if random.random() < 0.7:
            self._place(at_ms + self._between(20, 3000), struck, most=6)
        if random.random() < 0.6:
            self._market(at_ms + self._between(0, 1500), random.choice(struck))
        armed = [t for t in inside if t.venue in COUNTDOWNS]
        if armed and random.random() < 0.7:  # about when the press comes
            self._countdowns(at_ms + self._between(-1500, 1000), armed)
        if random.random() < 0.25:
            self._bot(at_ms + self._between(-1000, 2000), random.choice(struck))

    def _place(self, at_ms: int, traders: Sequence[Trader], most: int) -> None:
        chosen = self.random.sample(traders, min(len(traders), most))
        self._add(at_ms, "orders", {"orders": [order for t in chosen for order in self._orders(t, 2)]})

    def _orders(self, trader: Trader, most: int) -> list[Json]:
        return [self._order(trader) for _ in range(self._between(1, most))]

    def _order(self, trader: Trader) -> Json:
        book, symbols = self.random.choice(ORDERS[trader.venue])
        count = self._between(1, 2)
        return {"account": trader.name, **book, "symbol": self.random.choice(symbols), "count": count}

    def _market(self, at_ms: int, trader: Trader) -> None:
        """The market moves: orders trigger, fill or expire by themselves."""
        books = TRIGGERING.get(trader.venue, ())
        if books and self.random.random() < 0.6:
            what: Json = {"account": trader.name, "book": self.random.choice(books)}
            hold_ms = self.random.choice((0, 0, 300, 1500))
            self._add(at_ms, "trigger", what | ({"hold_ms": hold_ms} if hold_ms else {}))
        else:
            _, symbols = self.random.choice(ORDERS[trader.venue])
            act = self.random.choice(("fill", "fill", "expire"))
            self._add(at_ms, act, {"account": trader.name, "symbol": self.random.choice(symbols)})

    def _call_fault(self, at_ms: int, trader: Trader) -> None:
        random, kind = self.random, self.call_kinds.draw()
        if kind == "418" and trader.venue == "coinswitch":
            trader = TRADERS[0]  # there it is a silence
        calls = CALLS[trader.venue]
        about = [calls.every, calls.cancel[1], calls.listing[1], calls.query[1], "*"]
        path = random.choice(
            [*about, *([COUNTDOWNS[trader.venue]] * 2 if trader.venue in COUNTDOWNS else [])]
        )
        what: Json = {"kind": kind, "path": path}
        what |= random.choice(({"account": trader.name}, {"account": trader.name}, {"venue": trader.venue}))
        if random.random() < 0.6:
            what["count"] = self._between(1, 12)
        if kind == "hang":
            what |= {
                "seconds": random.choice((0.5, 2, 4, 7)),
                "done": random.choice(("late", "first", "never")),
            }
        elif kind == "408":
            what["done"] = random.choice((True, False))
        elif kind in ("429_retry_after", "418"):
            what["seconds"] = self._between(1, 4)
        elif kind == "clock_skew_ms":
            what["ms"] = -70_000 if trader.venue == "coinswitch" else -5000
        self._add(at_ms, "call fault", what, self._between(500, 6000))

    def _book_fault(self, at_ms: int, trader: Trader) -> None:
        what: Json = {"kind": self.book_kinds.draw(), "account": trader.name}
        if what["kind"] != "unknown_status" and self.random.random() < 0.5:
            what["count"] = self._between(1, 6)
        self._add(at_ms, "book fault", what, self._between(500, 5000))

    def _countdowns(self, at_ms: int, traders: Sequence[Trader]) -> None:
        """Somebody arms the countdowns of some accounts, or disarms them."""
        chosen = self.random.sample(traders, min(len(traders), self._between(1, 6)))
        accounts = sorted(trader.name for trader in chosen)
        what: Json = {"accounts": accounts, "by": self.ways.draw()}
        self._add(at_ms, self.random.choice(("arm", "arm", "disarm")), what)

    def _bot(self, at_ms: int, trader: Trader) -> None:
        """A bot that quotes on. Not at CoinSwitch: ten cancels a minute are no match for one."""
        if trader.venue == "coinswitch":
            trader = TRADERS[0]
        book, symbols = self.random.choice(ORDERS[trader.venue])
        what: Json = {"kind": "requote", "account": trader.name, "book": book["book"]}
        what |= {"symbol": self.random.choice(symbols), "ms": self._between(100, 800)}
        self._add(at_ms, "bot", what, self._between(1500, 6000))

    def _process_fault(self, at_ms: int) -> None:
        act = self.process_faults.draw()
        if act == "deliver twice":
            self._add(at_ms, act)
        elif act == "freeze valkey":
            self._add(at_ms, act, for_ms=self._between(150, 3000))
        elif act == "lock database":
            self._add(at_ms, act, for_ms=self._between(300, 5000))
        else:  # killed, and away for so long
            self._add(at_ms, act, for_ms=self._between(50, 3000))

    def _silences(self) -> None:
        """What the venues ask for with a refusal: to be left alone for long. One at a time."""
        if self.seconds >= SILENCES_FROM_S:
            deck, every_ms = _Deck(self.random, (*SILENCES, *SHORT_SILENCES)), 60_000
        elif self.seconds >= SHORT_SILENCES_FROM_S:
            deck, every_ms = _Deck(self.random, SHORT_SILENCES), 40_000
        else:
            return
        for begin_ms in range(0, self.quiet_from_ms - 15_000, every_ms):
            end_ms = min(begin_ms + every_ms, self.quiet_from_ms - 15_000)
            kind, venue = deck.draw()
            what = {"kind": kind, "venue": venue, "path": CALLS[venue].every, "count": 1}
            self._add(self._between(begin_ms, end_ms), "call fault", what, 5000)

    def _add(self, at_ms: int, act: str, what: Json | None = None, for_ms: int = 0) -> None:
        """Keep an event. None is before the start or in the quiet, and none lasts into it."""
        at_ms = max(0, at_ms)
        if at_ms < self.quiet_from_ms:
            self.events.append(Event(at_ms, act, what or {}, min(for_ms, self.quiet_from_ms - at_ms)))

    def _between(self, least: int, most: int) -> int:
        return self.random.randint(least, most)
