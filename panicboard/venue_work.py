"""What a sweep does at its venue, whoever keeps its record: cancel, list, and ask what became of orders.

`sweeper.Sweeper` keeps the record in the database and shares the limits with everybody,
`break_glass.sweep.GlassSweep` has neither. What proves an account clear is theirs to decide; how cancels
are answered, lists are read and outcomes are found is the same, and stands here.
"""

import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.utils import timezone

from panicboard import swept_orders
from panicboard.models import Panic, Sweep, SweptOrder
from panicboard.swept_orders import Outcome, SweptOrders
from panicboard.venues.base import (
    BookSymbol,
    CancelResult,
    Listing,
    MassCancel,
    MassCancelReply,
    Order,
    VenueAdapter,
)
from panicboard.venues.calls import attempt, leaving
from panicboard.venues.errors import (
    BudgetSpent,
    CredentialsRejected,
    NotDone,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    UnknownSymbol,
    VenueError,
    VenueRejected,
)
from panicboard.venues.http import clock_of

logger = logging.getLogger(__name__)

T = TypeVar("T")
A = TypeVar("A")
#: A mass cancel on its way, and the answer to come.
Sent = tuple[MassCancel, Future[MassCancelReply]]

#: Pauses after a call that surely was not executed.
REPEAT_AFTER_S = (0.2, 0.4, 0.8)
#: The pace of rounds while orders are left: at once, then slower.
ROUND_PACE_S = (0.1, 0.5, 1.0, 2.0)
#: The slowest pace of tries after failures.
SLOWEST_TRY_S = 15.0
#: Orders keep coming while the latest one was seen no longer ago than this.
STILL_COMING = timedelta(seconds=30)
#: How far the venue's clock and ours may be apart when orders are looked up by time.
CLOCK_SLACK = timedelta(seconds=2)


def seen_lately(latest: datetime | None, within: timedelta) -> bool:
    """Whether the latest order placed after the press (None: there is none) was seen this lately."""
    return latest is not None and timezone.now() - latest < within


class VenueWork:
    """The calls of one sweep, and what they make of its orders. `calls`: the threads that they leave on."""

    def __init__(self, sweep: Sweep, orders: SweptOrders, calls: ThreadPoolExecutor) -> None:
        self.sweep = sweep
        self.panic: Panic = sweep.panic
        self.orders = orders
        self.adapter: VenueAdapter
        self.calls = calls
        #: The rows that the last reading found open.
        self.listed: list[SweptOrder] = []
        #: Why cancels of the present round failed.
        self.refusals: list[VenueError] = []

    def pause(self, seconds: float) -> None:
        """Wait before a call is repeated, or a round."""
        time.sleep(seconds)

    def heed_clock(self, base_url: str) -> None:
        """Have what the venue says of times compared with its own clock, where that is not ours."""
        offset = timedelta(milliseconds=clock_of(base_url).offset_ms)
        if abs(offset) >= CLOCK_SLACK / 2:  # less is within what some venues' clocks can tell
            self.orders.venue_ahead = offset

    # ---- what is known ----

    def targets(self) -> set[BookSymbol]:
        """Every book symbol to cancel on and read back by name."""
        raise NotImplementedError

    def left_targets(self) -> set[BookSymbol]:
        """Those where something is left; every one while nothing is known to be."""
        return self.unresolved_books() or self.targets()

    def unresolved_books(self) -> set[BookSymbol]:
        return {BookSymbol(row.family, row.symbol) for row in self.orders.unresolved() if row.symbol}

    def concerns(self, order: Order) -> bool:
        """Whether an order of this account is to be cancelled by this sweep."""
        return not self.keeps(order)

    def keeps(self, order: Order) -> bool:
        """Whether an order stays open: one that can only reduce a position, where the panic keeps these."""
        family = self.adapter.family(order.family)
        return self.sweep.keep_protective and order.protective and family.tells_protective

    # ---- cancelling ----

    def send(self, calls: Sequence[MassCancel], leaves: Callable[[], object] | None = None) -> list[Sent]:
        """Send these mass cancels side by side; `leaves` is told of each that is about to."""

        def mass_cancel(call: MassCancel) -> MassCancelReply:
            if leaves is None:
                return self.adapter.mass_cancel(call)
            with leaving(leaves):
                return self.adapter.mass_cancel(call)

        return list(zip(calls, self.side_by_side(mass_cancel, calls), strict=True))

    def take_answers(self, flying: Sequence[Sent], *, chosen: bool = False) -> list[VenueError]:
        """Keep what the venue said to each mass cancel, and cancel by itself what these did not take.

        That is what is still open after two rounds of them; `chosen`: from the first round on, where a mass
        cancel would take orders along that are to stay. Returns why some were not taken.
        """
        # What was acknowledged and not seen since will be gone: asking for it again would only cost weight.
        stubborn = [row for row in self.orders.unresolved() if row.outcome != Outcome.ACKED]
        errors = [error for call, future in flying if (error := self._acknowledge(call, future))]
        if chosen or self.sweep.round > 2:
            # Single cancels can have a limit of their own: what it holds back must not keep us from reading.
            errors += [e for e in self._cancel_one_by_one(stubborn) if not isinstance(e, BudgetSpent)]
        self.orders.flush()
        self.refusals = errors
        return errors

    def _acknowledge(self, call: MassCancel, future: Future[MassCancelReply]) -> VenueError | None:
        """Keep what the venue said to a mass cancel. Returns why it failed, None when it was taken."""
        covered = [
            row
            for row in self.orders.unresolved()
            if self.adapter.covers(call, BookSymbol(row.family, row.symbol))
        ]
        if error := self._failure(covered, future):
            # The symbol itself can be gone: the full listing will tell.
            return None if isinstance(error, UnknownSymbol) else error
        reply = future.result()
        self.orders.mark_all(covered, Outcome.ACKED, "")
        for order in reply.orders:
            self.orders.see(order, Outcome.ACKED)
        for venue_order_id in reply.requested_ids:
            self.orders.see_id(call.family, venue_order_id, Outcome.ACKED)
        return None

    def _cancel_one_by_one(self, rows: Iterable[SweptOrder]) -> list[VenueError]:
        """Cancel these by their ids, as many a call as the venue takes. Returns why some were not."""
        groups: dict[tuple[str, str], list[SweptOrder]] = defaultdict(list)
        for row in rows:
            if row.symbol:
                groups[row.family, row.symbol].append(row)
        batches = [
            group[start : start + size]
            for (family, _), group in groups.items()
            for size in (self.adapter.family(family).cancel_batch,)
            for start in range(0, len(group), size)
        ]
        futures = self.side_by_side(self._cancel_batch, batches)
        answers = [self._acknowledge_each(*each) for each in zip(batches, futures, strict=True)]
        return [error for error in answers if error]

    def _cancel_batch(self, rows: Sequence[SweptOrder]) -> list[CancelResult]:
        family, symbol = rows[0].family, rows[0].symbol
        return self.adapter.cancel_orders(family, symbol, [swept_orders.ref(row) for row in rows])

    def _acknowledge_each(
        self, rows: Sequence[SweptOrder], future: Future[list[CancelResult]]
    ) -> VenueError | None:
        if error := self._failure(rows, future):
            return error
        for row, result in zip(rows, future.result(), strict=True):
            if result.accepted or result.not_found:  # not on this book: reading tells where it went
                self.orders.mark(row, Outcome.ACKED, "")
            else:
                self.orders.mark(row, Outcome.REJECTED, f"{result.code} {result.text}".strip())
        return None

    def _failure(self, rows: Iterable[SweptOrder], future: Future[Any]) -> VenueError | None:
        """Why a cancel of these orders failed, put on their rows; None when the venue took it."""
        try:
            future.result()
        except OutcomeUnknown as exc:
            self.orders.mark_all(rows, Outcome.UNKNOWN, f"{_said(exc)}; reading again")
            return exc
        except UnknownSymbol as exc:
            return exc
        except VenueRejected as exc:
            self.orders.mark_all(rows, Outcome.REJECTED, _said(exc))
            return exc
        except VenueError as exc:
            self.orders.mark_all(rows, Outcome.SENT, f"{_said(exc)}; not executed, again soon")
            return exc
        return None

    # ---- reading back ----

    def list_orders(self, listings: Iterable[Listing]) -> list[Order]:
        """Read all listings, family after family in the venue's reading order, symbols side by side.

        A symbol that the venue does not know holds no orders, as far as the full listing agrees. Where it
        knows none of them, or refuses a listing for a symbol that this did not name, nothing was read that
        could prove anything: raises UnknownSymbol.
        """
        by_family: dict[str, list[Listing]] = defaultdict(list)
        for listing in listings:
            by_family[listing.family].append(listing)
        found: list[Order] = []
        strange: list[UnknownSymbol] = []
        for batch in by_family.values():
            futures = self.side_by_side(self.adapter.open_orders, batch)
            for listing, future in zip(batch, futures, strict=True):
                try:
                    found += future.result()
                except UnknownSymbol as exc:
                    if listing.symbol is None:
                        raise
                    strange.append(exc)
        if strange and len(strange) == sum(map(len, by_family.values())):
            raise strange[0]
        return found

    def see_open(self, orders: Iterable[Order]) -> None:
        """Take note of what a reading found open."""
        self.listed = []
        for order in orders:
            if order.cancel_pending:
                outcome, note = Outcome.ACKED, "cancel taken by the venue, not carried out yet"
            else:
                outcome, note = (Outcome.STILL_OPEN if self.orders.has(order) else Outcome.SENT), ""
            self.listed.append(self.orders.see(order, outcome, note))
        self.orders.flush()

    # ---- what became of orders ----

    def resolve_gone(self) -> None:
        """While some orders stay, find the outcome of those that the last reading no longer listed.

        What goes wrong with that is found again, and said, when the lists are empty.
        """
        with contextlib.suppress(VenueError):
            self.resolve(without(self.orders.unresolved(), self.listed))

    def resolve(self, rows: Sequence[SweptOrder]) -> None:
        """Ask the venue what became of these orders.

        Prefers a symbol's history where that costs less than asking for its orders one by one.
        """
        groups: dict[tuple[str, str], list[SweptOrder]] = defaultdict(list)
        for row in rows:
            groups[self.history_of(row.family, row.symbol)].append(row)
        for (family, symbol), group in groups.items():
            weight = self.adapter.history_weight(family)
            if weight is None or weight > len(group) * self.adapter.family(family).query_weight:
                continue
            since = swept_orders.earliest(group, self.panic.pressed_at - timedelta(days=1))
            wanted = {row.venue_order_id for row in group}
            try:
                history = self.patiently(self.adapter.history, family, symbol, since)
            except (BudgetSpent, UnknownSymbol):
                continue  # then one by one: a busy account's history can be more than a limit ever allows
            for order in history:
                if order.venue_order_id in wanted and not order.state.is_open:
                    self.orders.settle(order, self.adapter)
            self.orders.flush()
        resolved = without(rows, self.orders.unresolved())
        self._ask_one_by_one(without(rows, resolved))

    def history_of(self, family: str, symbol: str) -> tuple[str, str]:
        """The family and symbol to ask for a history that holds this book symbol."""
        return family, "" if self.adapter.account_wide_history else symbol

    def _ask_one_by_one(self, rows: Sequence[SweptOrder]) -> None:
        asked = self.side_by_side(self.adapter.order, [swept_orders.ref(row) for row in rows])
        errors: list[VenueError] = []
        for row, future in zip(rows, asked, strict=True):
            try:
                self.orders.settle(future.result(), self.adapter)
            except (OrderNotFound, UnknownSymbol):
                self.orders.vanish(row)
            except (BudgetSpent, RateLimited) as exc:
                errors += self.not_asked(row, exc)
            except VenueError as exc:
                self.orders.mark(row, Outcome.UNKNOWN, f"{_said(exc)}; reading again")
                errors.append(exc)
        self.orders.flush()
        raise_what_stops(errors)
        if errors:
            raise errors[0]

    def not_asked(self, row: SweptOrder, exc: VenueError) -> list[VenueError]:
        """What to make of an order that a limit did not let us ask for: what the round then ends with."""
        return [exc]

    # ---- orders that nobody saw ----

    def histories(self) -> set[tuple[str, str]]:
        """The families and symbols whose history can tell of orders that no list showed."""
        return {
            self.history_of(book.family, book.symbol)
            for target in self.targets()
            for book in {target, *self.adapter.book_symbols(target.symbol)}
            if self.adapter.history_weight(book.family) is not None
        }

    def trace(
        self, histories: Collection[tuple[str, str]], since: datetime, adapter: VenueAdapter
    ) -> set[str]:
        """Look for orders that were placed since then, and had ended before any list showed them.

        One that stands open there is still to be resolved: it came after the lists were read. Asked once, by
        this adapter, and for the record only: returns the symbols whose history could not be read.
        """
        ahead = self.orders.venue_ahead
        asked = [
            (symbol, self._submit(adapter.history, family, symbol, since + ahead))
            for family, symbol in histories
        ]
        missed: set[str] = set()
        for symbol, future in asked:
            try:
                for order in future.result():
                    if self.orders.has(order) or not self.concerns(order):
                        continue
                    ended_at = order.updated_at or timezone.now() + ahead
                    if order.state.is_open:
                        self.orders.see(order, Outcome.SENT)
                    elif ended_at >= self.panic.pressed_at + ahead:
                        self.orders.settle(order, self.adapter)
            except VenueError as exc:
                logger.info("%s: %s not traced: %s", self, symbol, exc)
                missed.add(symbol or "any symbol")
        self.orders.flush()
        return missed

    # ---- what is said ----

    def left_over(self) -> tuple[float, dict[str, Any]]:
        """The wait before the next round, and the words for what is still open."""
        words = [
            f"{count} {word}"
            for count, word in (
                (self.orders.count(Outcome.STILL_OPEN), "still listed"),
                (self.orders.count(Outcome.SENT), "newly listed"),
                (self.orders.count(Outcome.ACKED), "acked, not gone yet"),
                (self.orders.count(Outcome.REJECTED), "cancel refused"),
                (sum(row.outcome == Outcome.UNKNOWN for row in self.orders.unresolved()), "unread"),
            )
            if count
        ]
        words = words or ["known symbols are empty, but orders keep coming"]
        words += [str(error) for error in self.refusals[:1]]
        pace_s = ROUND_PACE_S[min(self.sweep.round, len(ROUND_PACE_S)) - 1]
        last_word = f"{', '.join(words)}; again in {pace_s:g} s"
        return pace_s, {"state": Sweep.State.NOT_CLEAR, "failures": 0, "last_word": last_word}

    def failed(self, why: str) -> dict[str, Any]:
        """The words for a round that did not come about."""
        return {"state": Sweep.State.FAILED, "failures": self.sweep.failures + 1, "last_word": why}

    def backoff_s(self) -> float:
        """The wait before the next try after a failure."""
        return float(min(SLOWEST_TRY_S, 0.25 * 2 ** min(10, self.sweep.failures + 1)))

    # ---- calls ----

    def side_by_side(self, call: Callable[[A], T], each: Sequence[A]) -> list[Future[T]]:
        """Make the same call for each of these, all at once; the last one on this thread, which has to wait
        anyway. A panic of many accounts with one call each then needs no second thread for any of them.
        """
        futures = [self._submit(self.patiently, call, one) for one in each[:-1]]
        return futures + [_made(self.patiently, call, one) for one in each[-1:]]

    def _submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Make a call on another thread; on this one where the machine gives no more of them."""
        try:
            return self.calls.submit(call, *args)
        except RuntimeError:
            return _made(call, *args)

    def patiently(self, call: Callable[..., T], *args: Any) -> T:
        """Make a call, and repeat it while it surely was not executed for a passing reason."""
        for number, pause_s in enumerate(REPEAT_AFTER_S, start=1):
            try:
                with attempt(number):
                    return call(*args)
            except (BudgetSpent, RateLimited):
                raise
            except NotDone:
                self.pause(pause_s)
        with attempt(len(REPEAT_AFTER_S) + 1):
            return call(*args)


def _made(call: Callable[..., T], *args: Any) -> Future[T]:
    """What came of a call on the present thread, as if another had made it."""
    made: Future[T] = Future()
    try:
        made.set_result(call(*args))
    except Exception as exc:
        made.set_exception(exc)
    return made


def without(rows: Iterable[SweptOrder], left_out: Iterable[SweptOrder]) -> list[SweptOrder]:
    """These rows but for some of them: the same objects, since comparing thousands by key takes seconds."""
    others = {id(row) for row in left_out}
    return [row for row in rows if id(row) not in others]


def raise_what_stops(errors: Sequence[VenueError]) -> None:
    """Raise the error that reading back cannot get past: a refused key, or a limit."""
    for kind in (CredentialsRejected, RateLimited, BudgetSpent):
        for error in errors:
            if isinstance(error, kind):
                raise error


def _said(exc: VenueError) -> str:
    return f"{exc.code} {exc.text}".strip() or str(exc)
