"""One account swept from the break-glass file alone: cancel, read back, repeat until clear.

The rule is that of `panicboard.sweeper`: two readings in a row without an open order, by calls begun after
the last cancel was answered, the second over every family in full. Two things differ. What is known comes
from the file and may be old, so the first round looks at every symbol whatever it found on those. And an
order that left the lists, but whose outcome the limit does not let us ask for, is UNKNOWN and withholds
nothing: with no worker to go on, a proof now is worth more than a record later.

Rows live in memory and go to the journal. Nothing here touches the database.
"""

import contextlib
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

from django.utils import timezone

from panicboard import swept_orders
from panicboard.break_glass.budget import GlassBudget, Pools, clock_in
from panicboard.break_glass.journal import ORDER_FIELDS, Journal
from panicboard.break_glass.sealed_file import SealedAccount
from panicboard.models import Panic, Sweep, SweptOrder
from panicboard.swept_orders import Outcome, SweptOrders
from panicboard.venues import open_adapter
from panicboard.venues.base import (
    BookSymbol,
    CancelResult,
    Credentials,
    Listing,
    MassCancel,
    MassCancelReply,
    Order,
    VenueAdapter,
)
from panicboard.venues.calls import attempt
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

State = Sweep.State
#: Calls of one account that are under way at a time. Each account has threads of its own: a venue that
#: hangs keeps nobody else waiting.
CALLS_AT_ONCE = 32
#: Pauses after a call that surely was not executed.
REPEAT_AFTER_S = (0.2, 0.4, 0.8)
#: The pace of rounds while orders are left: at once, then slower.
ROUND_PACE_S = (0.1, 0.5, 1.0, 2.0)
SLOWEST_TRY_S = 15.0
#: While orders keep coming, a spent limit holds the next cancels back for no longer than this.
KEEP_COMING_S, STILL_COMING = 2.0, timedelta(seconds=30)
CLOCK_SLACK = timedelta(seconds=2)
#: How far back the venue's history is searched for orders that no list showed any more, and the share of a
#: limit (in percent) that this may use: the next panic needs the rest.
TRACE_BACK, TRACE_SHARE = timedelta(days=6), 50

#: The note of an order that left every list, and whose outcome nobody asked for.
NOT_ASKED = "on no list of the venue; not asked for: the limit is used up"

Say = Callable[[SealedAccount, str, str], None]


class Stopped(Exception):
    """Told to stop: by a person, or because the time is over."""


class JournaledOrders(SweptOrders):
    """The rows of one sweep; `flush` writes what changed into the journal instead of the database."""

    def __init__(self, sweep: Sweep, account: str, journal: Journal) -> None:
        super().__init__(sweep)
        self._account = account
        self._journal = journal
        self._written: dict[
            int, tuple[int, tuple[object, ...]]
        ] = {}  # a row's number, and what was told of it

    def flush(self) -> None:
        for row in self._rows.values():
            fields = tuple(getattr(row, name) for name in ORDER_FIELDS)
            number, told = self._written.get(id(row), (len(self._written) + 1, ()))
            if fields != told:
                self._written[id(row)] = number, fields
                self._journal.order(self._account, number, row)
        self._new = []

    def by_outcome(self) -> dict[str, int]:
        """How many orders there are of each outcome."""
        counted = {outcome: self.count(outcome) for outcome in Outcome}
        return {str(outcome.label): count for outcome, count in counted.items() if count}


class GlassSweep:
    """The sweep of one account, run on a thread of its own."""

    def __init__(
        self,
        account: SealedAccount,
        panic: Panic,
        *,
        journal: Journal,
        pools: Pools,
        say: Say,
        stop: threading.Event,
    ) -> None:
        self.account = account
        self.panic = panic
        self.sweep = Sweep(panic=panic, state=State.QUEUED)
        self.orders = JournaledOrders(self.sweep, account.name, journal)
        self.adapter: VenueAdapter
        self._journal = journal
        self._pools = pools
        self._budget = GlassBudget(account, pools)
        self._say = say
        self._stop = stop
        self._calls = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix=f"venue-call-{account.pk}")
        #: Whether every family was listed in full since the press.
        self._saw_all = False
        #: The rows that the last reading found open.
        self._listed: list[SweptOrder] = []
        #: Rows whose outcome the limit did not let us ask for.
        self._unasked: list[SweptOrder] = []
        #: Why cancels of the present round failed.
        self._refusals: list[VenueError] = []

    @property
    def is_clear(self) -> bool:
        return self.sweep.state == State.CLEAR

    def run(self) -> None:
        """Sweep until clear, or told to stop. What goes wrong is said, journaled and tried again."""
        try:
            self.adapter = self._open_adapter(self._budget)
        except (ValueError, CredentialsRejected) as exc:
            why = self.account.unusable or str(exc)
            self._save(state=State.FAILED, last_word=f"CANNOT BE SWEPT from this file: {why}")
            return
        while not self._stop.is_set():
            try:
                if self._round():
                    return
                wait_s, changes = self._left_over()
            except Stopped:
                return
            except BudgetSpent as exc:
                wait_s, changes = exc.retry_after_ms / 1000, {"last_word": f"{exc}; goes on then"}
                if wait_s > KEEP_COMING_S and self._orders_keep_coming():
                    wait_s = KEEP_COMING_S
                    changes = {"known_empty_at": None, "last_word": f"{exc}; orders keep coming"}
            except RateLimited as exc:
                wait_s = exc.retry_after_ms / 1000
                changes = self._failed(f"the venue refuses every call until {clock_in(wait_s)}: {exc}")
            except VenueError as exc:
                changes = self._failed(str(exc))
                wait_s = self._backoff_s()
            except Exception as exc:  # the thread's edge: a bug must neither end the sweep nor stay silent
                logger.exception("%s: the sweep failed", self.account.name)
                changes = self._failed(f"panicboard failed ({type(exc).__name__}); trying again")
                wait_s = self._backoff_s()
            self._save(**changes)
            self._stop.wait(wait_s)

    def close(self) -> None:
        """Wait for the calls that are under way: a timeout of a few seconds at most."""
        self._calls.shutdown(wait=True, cancel_futures=True)

    def _round(self) -> bool:
        """Cancel where anything is known, read back, find the outcomes, read everything. True: clear."""
        offset = timedelta(milliseconds=clock_of(self.account.base_url).offset_ms)
        if abs(offset) >= CLOCK_SLACK / 2:
            self.orders.venue_ahead = offset
        if self.sweep.known_empty_at is None:
            first = self.sweep.round == 0
            self._save(round=self.sweep.round + 1, **({"state": State.CANCELLING} if first else {}))
            self._cancel()
            if not self._first_reading_is_empty():
                self._resolve_gone()
                return False
            self._save(
                known_empty_at=timezone.now(),
                read_back_at=timezone.now(),
                state=State.READING_BACK,
                failures=0,
                last_word="read back empty once; every family once more, in full",
            )
        if not self._all_resolved():
            return False
        if self.sweep.full_empty_at is None:
            if self._still_open(None):
                self._resolve_gone()
                return False
            self._save(full_empty_at=timezone.now(), read_back_at=timezone.now(), failures=0)
        if not self._all_resolved():
            return False
        unasked = (
            f"; {len(self._unasked)} outcomes not asked for: the limit is used up" if self._unasked else ""
        )
        self._save(
            state=State.CLEAR,
            clear_at=timezone.now(),
            last_word=f"NO OPEN ORDERS - read back {self.sweep.read_back_at:%H:%M:%S}{unasked}",
        )
        self._journal.sync()
        return True

    def _first_reading_is_empty(self) -> bool:
        """Read back the known symbols, or everything where that is no dearer; once everything in any case."""
        targets = self._targets()
        cheaper = targets and self._weight(targets) < self._weight(None)
        if not cheaper:
            return not self._still_open(None)
        if not self._still_open(targets):
            return True
        if not self._saw_all:
            # The file may be old: what stands on other symbols must not wait until the known ones are empty.
            # Nor must those wait for this listing.
            try:
                return not self._still_open(None)
            except (CredentialsRejected, RateLimited):
                raise
            except VenueError as exc:
                self._refusals.append(exc)
        return False

    def _orders_keep_coming(self) -> bool:
        latest = self.orders.latest_after
        return latest is not None and timezone.now() - latest < STILL_COMING

    def _open_adapter(self, budget: GlassBudget) -> VenueAdapter:
        return open_adapter(
            self.account.adapter,
            self.account.base_url,
            self.account.credentials or Credentials("", ""),
            budget=budget,
            account=self.account.name,
        )

    # ---- cancelling ----

    def _cancel(self) -> None:
        """Send every cancel of this round at once, and keep what the venue said to each.

        Whatever is still open after two mass cancels is also cancelled by itself. Raises what stops the
        whole account.
        """
        calls = self._mass_cancels(self._targets() if self.sweep.round == 1 else self._left_targets())
        with contextlib.suppress(BudgetSpent):  # then each call pays for itself, as far as the limit goes
            self._budget.prepay(self.adapter.cancel_limit(), sum(call.weight for call in calls))
        sent_at = timezone.now()
        flying = list(zip(calls, self._side_by_side(self.adapter.mass_cancel, calls), strict=True))
        said = f"{len(calls)} mass cancels sent" if calls else "no symbol known; listing everything"
        if self.sweep.round == 1:
            self._save(first_request_at=self.sweep.first_request_at or sent_at, last_word=said)
        errors = [error for call, future in flying if (error := self._acknowledge(call, future))]
        if self.sweep.round > 2:
            # Single cancels can have a limit of their own: what it holds back must not keep us from reading.
            errors += [error for error in self._cancel_one_by_one() if not isinstance(error, BudgetSpent)]
        self.orders.flush()
        if self.sweep.acked_at is None and not errors:
            self._save(acked_at=timezone.now())
        self._refusals = errors
        for kind in (CredentialsRejected, RateLimited, BudgetSpent):
            for error in errors:
                if isinstance(error, kind):
                    raise error
        self._stop.wait(self.adapter.cancel_settle_ms / 1000)

    def _mass_cancels(self, targets: set[BookSymbol]) -> list[MassCancel]:
        if not targets and not self.adapter.account_wide_cancel:
            return []
        return self.adapter.mass_cancels(targets, whole_account=True)

    def _acknowledge(self, call: MassCancel, future: Future[MassCancelReply]) -> VenueError | None:
        covered = [
            row
            for row in self.orders.unresolved()
            if self.adapter.covers(call, BookSymbol(row.family, row.symbol))
        ]
        if error := self._failure(covered, future):
            # A symbol that the venue does not know any more is none: the full listing tells.
            return None if isinstance(error, UnknownSymbol) else error
        reply = future.result()
        self.orders.mark_all(covered, Outcome.ACKED, "")
        for order in reply.orders:
            self.orders.see(order, Outcome.ACKED)
        for venue_order_id in reply.requested_ids:
            self.orders.see_id(call.family, venue_order_id, Outcome.ACKED)
        return None

    def _cancel_one_by_one(self) -> list[VenueError]:
        """Cancel by id what is still to be cancelled, as many a call as the venue takes."""
        groups: dict[tuple[str, str], list[SweptOrder]] = defaultdict(list)
        for row in self.orders.unresolved():
            if row.symbol:
                groups[row.family, row.symbol].append(row)
        batches = [
            rows[start : start + size]
            for (family, _), rows in groups.items()
            for size in (self.adapter.family(family).cancel_batch,)
            for start in range(0, len(rows), size)
        ]
        futures = self._side_by_side(self._cancel_batch, batches)
        answers = [
            self._acknowledge_each(rows, future) for rows, future in zip(batches, futures, strict=True)
        ]
        return [error for error in answers if error]

    def _cancel_batch(self, rows: Sequence[SweptOrder]) -> list[CancelResult]:
        return self.adapter.cancel_orders(
            rows[0].family, rows[0].symbol, [swept_orders.ref(row) for row in rows]
        )

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

    def _still_open(self, symbols: set[BookSymbol] | None) -> bool:
        """List these symbols (None: everything), keep what is found, and say whether anything is open."""
        if self._stop.is_set():
            raise Stopped
        listings = self._listings(symbols)
        self._budget.prepay(self.adapter.listing_limit(), sum(listing.weight for listing in listings))
        found = self._list(listings)
        self._saw_all = self._saw_all or symbols is None
        self._listed = []
        for order in found:
            if order.cancel_pending:
                outcome, note = Outcome.ACKED, "cancel taken by the venue, not carried out yet"
            else:
                outcome, note = (Outcome.STILL_OPEN if self.orders.has(order) else Outcome.SENT), ""
            self._listed.append(self.orders.see(order, outcome, note))
        self.orders.flush()
        if found:
            self._save(known_empty_at=None, full_empty_at=None)
        return bool(found)

    def _listings(self, symbols: set[BookSymbol] | None) -> list[Listing]:
        return self.adapter.listings(symbols, quick=symbols is not None)

    def _weight(self, symbols: set[BookSymbol] | None) -> int:
        return sum(listing.weight for listing in self._listings(symbols))

    def _list(self, listings: Iterable[Listing]) -> list[Order]:
        """Read all listings, family after family in the venue's reading order, symbols side by side."""
        by_family: dict[str, list[Listing]] = defaultdict(list)
        for listing in listings:
            by_family[listing.family].append(listing)
        found: list[Order] = []
        for batch in by_family.values():
            for future in self._side_by_side(self.adapter.open_orders, batch):
                with contextlib.suppress(UnknownSymbol):  # gone from the venue; the full listing tells
                    found += future.result()
        return found

    def _all_resolved(self) -> bool:
        """Find the outcome of every order that left the lists. False when one turns out to be open."""
        self._resolve(self.orders.unresolved())
        left = [row for row in self.orders.unresolved() if row not in self._unasked]
        if left:
            self._save(known_empty_at=None, full_empty_at=None)
        return not left

    def _resolve_gone(self) -> None:
        """While some orders stay, find the outcome of those that the last reading no longer listed.

        What goes wrong with that is found again, and said, when the lists are empty.
        """
        with contextlib.suppress(VenueError):
            self._resolve([row for row in self.orders.unresolved() if row not in self._listed])

    def _resolve(self, rows: Sequence[SweptOrder]) -> None:
        """Ask the venue what became of these orders.

        Prefers a symbol's history where that costs less than asking for its orders one by one.
        """
        groups: dict[tuple[str, str], list[SweptOrder]] = defaultdict(list)
        for row in rows:
            groups[self._history_of(row.family, row.symbol)].append(row)
        for (family, symbol), group in groups.items():
            weight = self.adapter.history_weight(family)
            if weight is None or weight > len(group) * self.adapter.family(family).query_weight:
                continue
            since = swept_orders.earliest(group, self.panic.pressed_at - timedelta(days=1))
            wanted = {row.venue_order_id for row in group}
            try:
                history = self._patiently(self.adapter.history, family, symbol, since)
            except (BudgetSpent, UnknownSymbol):
                continue  # then one by one: a busy account's history can be more than a limit ever allows
            for order in history:
                if order.venue_order_id in wanted and not order.state.is_open:
                    self.orders.settle(order, self.adapter)
            self.orders.flush()
        unresolved = self.orders.unresolved()
        self._ask_one_by_one([row for row in rows if row in unresolved])

    def _history_of(self, family: str, symbol: str) -> tuple[str, str]:
        """The family and symbol to ask for a history that holds this book symbol."""
        return family, "" if self.adapter.account_wide_history else symbol

    def _ask_one_by_one(self, rows: Sequence[SweptOrder]) -> None:
        """Ask for each order; the limit may hold some back, which then stay UNKNOWN."""
        asked = self._side_by_side(self.adapter.order, [swept_orders.ref(row) for row in rows])
        errors: list[VenueError] = []
        self._unasked = []
        for row, future in zip(rows, asked, strict=True):
            try:
                self.orders.settle(future.result(), self.adapter)
            except (OrderNotFound, UnknownSymbol):
                self.orders.vanish(row)
            except BudgetSpent:
                self._unasked.append(row)
                self.orders.mark(row, Outcome.UNKNOWN, NOT_ASKED)
            except RateLimited as exc:
                errors.append(exc)
            except VenueError as exc:
                self.orders.mark(row, Outcome.UNKNOWN, f"{_said(exc)}; reading again")
                errors.append(exc)
        self.orders.flush()
        if errors:
            raise errors[0]

    def trace(self) -> None:
        """After it was clear: find the orders that its first cancels took before any list showed them.

        For the record only: tried once, and its failure is told in the sweep's last word.
        """
        adapter = self._open_adapter(GlassBudget(self.account, self._pools, share=TRACE_SHARE))
        since = self.panic.pressed_at - TRACE_BACK
        books = {
            self._history_of(book.family, book.symbol)
            for target in self._targets()
            for book in {target, *adapter.book_symbols(target.symbol)}
            if adapter.history_weight(book.family) is not None
        }
        asked = [
            (symbol, self._calls.submit(adapter.history, family, symbol, since)) for family, symbol in books
        ]
        missed: set[str] = set()
        for symbol, future in asked:
            try:
                self._keep_traced(future.result())
            except VenueError as exc:
                logger.info("%s: %s not traced: %s", self.account.name, symbol, exc)
                missed.add(symbol or "any symbol")
        self.orders.flush()
        with contextlib.suppress(VenueError):
            self._resolve(self.orders.unresolved())
        if self.orders.count(Outcome.STILL_OPEN):
            word = "an order is open again since it was clear"
            self._save(state=State.NOT_CLEAR, clear_at=None, last_word=word)
        elif missed:
            lacking = f"; orders of {', '.join(sorted(missed))} may lack from this record"
            self._save(last_word=self.sweep.last_word + lacking)

    def _keep_traced(self, history: Iterable[Order]) -> None:
        pressed_at = self.panic.pressed_at + self.orders.venue_ahead
        for order in history:
            ended_at = order.updated_at or timezone.now()
            if ended_at >= pressed_at and not (order.state.is_open or self.orders.has(order)):
                self.orders.settle(order, self.adapter)

    # ---- what is known, and what is written down ----

    def _targets(self) -> set[BookSymbol]:
        """Every book symbol to cancel on and read back by name."""
        found = {BookSymbol(row.family, row.symbol) for row in self.orders.unresolved() if row.symbol}
        return {*self.account.symbols, *found}

    def _left_targets(self) -> set[BookSymbol]:
        left = {BookSymbol(row.family, row.symbol) for row in self.orders.unresolved() if row.symbol}
        return left or self._targets()

    def _left_over(self) -> tuple[float, dict[str, Any]]:
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
        words += [str(error) for error in self._refusals[:1]]
        pace_s = ROUND_PACE_S[min(self.sweep.round, len(ROUND_PACE_S)) - 1]
        last_word = f"{', '.join(words)}; again in {pace_s:g} s"
        return pace_s, {"state": State.NOT_CLEAR, "failures": 0, "last_word": last_word}

    def _failed(self, why: str) -> dict[str, Any]:
        return {"state": State.FAILED, "failures": self.sweep.failures + 1, "last_word": why}

    def _backoff_s(self) -> float:
        return float(min(SLOWEST_TRY_S, 0.25 * 2 ** min(10, self.sweep.failures + 1)))

    def _save(self, **changes: Any) -> None:
        """Keep what changed of the sweep, in the journal and for whoever looks on."""
        told = self.sweep.state, self.sweep.last_word
        for name, value in changes.items():
            setattr(self.sweep, name, value)
        self._journal.sweep(self.account.name, self.sweep)
        if (self.sweep.state, self.sweep.last_word) != told:
            self._say(self.account, str(State(self.sweep.state).label), self.sweep.last_word)

    # ---- calls ----

    def _side_by_side(self, call: Callable[[A], T], each: Sequence[A]) -> list[Future[T]]:
        """Make the same call for each of these, all at once."""
        return [self._calls.submit(self._patiently, call, one) for one in each]

    def _patiently(self, call: Callable[..., T], *args: Any) -> T:
        """Make a call, and repeat it while it surely was not executed for a passing reason."""
        for number, pause_s in enumerate(REPEAT_AFTER_S, start=1):
            try:
                with attempt(number):
                    return call(*args)
            except (BudgetSpent, RateLimited):
                raise
            except NotDone:
                if self._stop.wait(pause_s):
                    raise
        with attempt(len(REPEAT_AFTER_S) + 1):
            return call(*args)


def _said(exc: VenueError) -> str:
    return f"{exc.code} {exc.text}".strip() or str(exc)
