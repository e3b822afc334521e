"""Bad days to order: faults matched on account and call, for a number of times or until removed.

Two sorts. A call fault changes what happens to a request (it is answered 503, cut, held, ...). A book
fault changes what happens to orders (they refuse to go, they fill instead, their status is a new word).

`cached` answers a call that reads with what the venue last answered to the same call, made `seconds` ago
(30); a call that was never answered before gets through.
"""

import fnmatch
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from panicboard.simulator.book import Order

CALL_KINDS = frozenset(
    {
        "done_then_503a",
        "not_done_503b",
        "not_done_503c",
        "503_1008",
        "408",
        "cut_before",
        "cut_after",
        "hang",
        "429",
        "429_retry_after",
        "418",
        "refused",
        "403_html",
        "garbage",
        "truncated",
        "clock_skew_ms",
        "key_revoked",
        "cached",
    }
)
BOOK_KINDS = frozenset({"refuse_cancel", "fill_during", "unknown_status"})
#: `moved_book`: the venue has moved a family of orders to calls that nobody knows yet. The old ones list none
#: of them, tell of none that is open in the history, and cancel none at once; asked for by its id, an order
#: is told as ever.
KINDS = CALL_KINDS | BOOK_KINDS | {"requote", "moved_book"}

#: The options each kind takes beside account, venue, method, path, skip (call faults only) and count.
OPTIONS: dict[str, frozenset[str]] = {
    "hang": frozenset({"seconds", "done"}),
    "408": frozenset({"done"}),
    "garbage": frozenset({"done"}),
    "truncated": frozenset({"done"}),
    "429": frozenset(),
    "429_retry_after": frozenset({"seconds"}),
    "418": frozenset({"seconds"}),
    "refused": frozenset({"status", "code", "text"}),
    "clock_skew_ms": frozenset({"ms"}),
    "cached": frozenset({"tells", "seconds"}),
    "refuse_cancel": frozenset({"order_id", "symbol"}),
    "fill_during": frozenset({"order_id", "symbol"}),
    "unknown_status": frozenset({"order_id", "symbol", "status"}),
    "requote": frozenset({"ms", "symbol", "book"}),
    "moved_book": frozenset({"book"}),
}
#: By which header a cached copy can be told from a fresh answer: its `tells`, the first unless it says so.
COPY_TELLS = ("age", "date", "x_cache", "cf_cache_status")


@dataclass(slots=True, eq=False)
class Fault:
    """One rule. None matches everything; `path` may hold `*`; `left` None lasts until it is removed.

    The first `skip` calls that it matches go by untouched.
    """

    id: int
    kind: str
    account: str | None
    venue: str | None
    method: str | None
    path: str | None
    left: int | None
    options: dict[str, Any]
    skip: int = 0
    hits: int = 0
    _path_pattern: re.Pattern[str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.path is not None:
            self._path_pattern = re.compile(fnmatch.translate(self.path))

    def matches_call(self, account: str, venue: str, method: str, path: str) -> bool:
        return (
            (self.account is None or self.account == account)
            and (self.venue is None or self.venue == venue)
            and (self.method is None or self.method == method)
            and (self._path_pattern is None or self._path_pattern.match(path) is not None)
        )

    def matches_order(self, order: Order) -> bool:
        order_id, symbol = self.options.get("order_id"), self.options.get("symbol")
        return (
            (self.account is None or self.account == order.account)
            and (order_id is None or str(order_id) in (order.order_id, order.client_order_id))
            and (symbol is None or symbol == order.symbol)
        )

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "kind": self.kind,
            "account": self.account,
            "venue": self.venue,
            "method": self.method,
            "path": self.path,
            "skip": self.skip,
            "left": self.left,
            "hits": self.hits,
            **self.options,
        }


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self.on_calls: list[Fault] = []
        self.on_books: list[Fault] = []
        self.requotes: list[Fault] = []
        self.moved: list[Fault] = []

    def __iter__(self) -> Iterator[Fault]:
        return itertools.chain(self.on_calls, self.on_books, self.requotes, self.moved)

    def add(self, spec: dict[str, Any]) -> Fault:
        """Make a rule from its JSON form. Raises ValueError naming what is wrong with it."""
        given = dict(spec)
        kind = given.pop("kind", None)
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is not one of {', '.join(sorted(KINDS))}")
        who = {name: given.pop(name, None) for name in ("account", "venue", "method", "path")}
        count = given.pop("count", None)
        skip = given.pop("skip", 0) if kind in CALL_KINDS else 0
        unknown = given.keys() - OPTIONS.get(kind, frozenset())
        if unknown:
            raise ValueError(f"{kind} takes no {', '.join(sorted(unknown))}")
        tells = given.get("tells", COPY_TELLS[0])
        if tells not in COPY_TELLS:
            raise ValueError(f"tells {tells!r} is not one of {', '.join(COPY_TELLS)}")
        fault = Fault(next(self._ids), kind, **who, left=count, options=given, skip=skip)
        self._list_of(fault).append(fault)
        return fault

    def remove(self, fault_id: int) -> Fault:
        """Take one rule away. Raises ValueError when there is none with this id."""
        for fault in self:
            if fault.id == fault_id:
                self._list_of(fault).remove(fault)
                return fault
        raise ValueError(f"there is no fault {fault_id}")

    def clear(self) -> None:
        """Take all rules away."""
        self.on_calls.clear()
        self.on_books.clear()
        self.requotes.clear()
        self.moved.clear()

    def of_call(self, account: str, venue: str, method: str, path: str) -> list[Fault]:
        """The call faults that strike this request, each counted as used once.

        `cached` is counted when there is a copy to answer with.
        """
        hit = []
        for fault in [f for f in self.on_calls if f.matches_call(account, venue, method, path)]:
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.kind != "cached":
                self.use(fault)
            hit.append(fault)
        return hit

    def of_cancel(self, order: Order) -> Fault | None:
        """The fault that keeps this cancel from working as it should, counted as used once."""
        for fault in self.on_books:
            if fault.kind != "unknown_status" and fault.matches_order(order):
                self.use(fault)
                return fault
        return None

    def has_moved(self, account: str, book: str) -> bool:
        """Whether the orders of this book are out of reach of every call that is not about one of them."""
        return any(
            fault.account in (None, account) and fault.options.get("book") in (None, book)
            for fault in self.moved
        )

    def status(self, order: Order, status: str) -> str:
        """The status word to show for an order: the venue's own, or one that nobody knows."""
        for fault in self.on_books:
            if fault.kind == "unknown_status" and fault.matches_order(order):
                return str(fault.options.get("status", "PENDING_REVIEW"))
        return status

    def use(self, fault: Fault) -> None:
        """Count a rule as used once; after its last time it is gone."""
        fault.hits += 1
        if fault.left is not None:
            fault.left -= 1
            if fault.left <= 0:
                self._list_of(fault).remove(fault)

    def _list_of(self, fault: Fault) -> list[Fault]:
        if fault.kind == "requote":
            return self.requotes
        if fault.kind == "moved_book":
            return self.moved
        return self.on_calls if fault.kind in CALL_KINDS else self.on_books
