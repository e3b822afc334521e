"""The work on one sweep: cancel, read back, repeat until the venue's lists are empty.

Only reading back ends a sweep. After the last cancel was answered, the known symbols are listed one by
one, and then every family in full: two readings in a row, both empty, conditional books always before
ordinary ones, because an order that triggers moves from the first to the second. Whatever fails in
between leaves the sweep unfinished with its reason and the time of the next try, on its row, where the
next worker finds it.
"""

import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.utils import timezone

from panicboard import budgets, credentials, readings, swept_orders
from panicboard.budgets import AccountBudget, Cost, Work
from panicboard.models import Panic, Reading, Sweep, SweptOrder
from panicboard.swept_orders import Outcome, SweptOrders
from panicboard.venues import open_adapter
from panicboard.venues.base import (
    BookSymbol,
    CancelResult,
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

#: Venue calls of all sweeps of this process: those of one account leave side by side. These threads
#: touch no database.
CALLS = ThreadPoolExecutor(max_workers=256, thread_name_prefix="venue-call")
#: Waits shorter than this are slept through with the lease held; longer ones go back to the keeper.
SHORT_WAIT_S = 1.0
#: Pauses after a call that surely was not executed.
REPEAT_AFTER_S = (0.2, 0.4, 0.8)
#: The pace of rounds while orders are left: at once, then slower.
ROUND_PACE_S = (0.1, 0.5, 1.0, 2.0)
#: How soon a latched account is looked at again: while orders keep coming, and when it is quiet.
WATCH_S, WATCH_QUIET_S = 2.0, 15.0
#: Orders keep coming while the latest one was seen no longer ago than this.
STILL_COMING = timedelta(seconds=30)
#: What the latch sweeps is proven clear again when none has come for so long: a proof takes a full listing,
#: and a bot that quotes on would use up the limit with proofs that are worth nothing a moment later.
QUIET_BEFORE_PROOF = timedelta(seconds=10)
#: The slowest pace of tries after failures.
SLOWEST_TRY_S = 15.0
#: How far the venue's clock and ours may be apart when orders are looked up by time.
CLOCK_SLACK = timedelta(seconds=2)


class LostSweep(Exception):
    """Another panic, another worker or a release took this sweep: stop without a word."""


def seen_lately(latest: datetime | None, within: timedelta) -> bool:
    """Whether the latest order placed after the press (None: there is none) was seen this lately."""
    return latest is not None and timezone.now() - latest < within


class Sweeper:
    """One worker's hold on one sweep."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.account = sweep.account
        self.panic = sweep.panic
        self.budget = AccountBudget(self.account, Work.PANIC)
        self.adapter: VenueAdapter
        self.orders = SweptOrders(sweep)
        self.sent_at: datetime | None = None
        self.answered_at: datetime | None = None
        #: The first cancels, made ready and paid for; None while they are not.
        self.ready: list[MassCancel] | None = None
        self.flying: list[tuple[MassCancel, Future[MassCancelReply]]] = []
        #: The rows that the last reading found open.
        self.listed: list[SweptOrder] = []
        #: Why cancels of the present round failed.
        self.refusals: list[VenueError] = []
        self.reading: Reading = getattr(self.account, "reading", None) or readings.ensure(self.account)
        self.known = self._scope_of(readings.known_symbols(self.reading))

    def prepare_first_cancels(self) -> None:
        """Make a cancel ready for everything known; `cost_of` tells what is to be paid before it is sent."""
        self.adapter = self.open_adapter(self.budget)
        self.ready = self._mass_cancels(self._targets())

    def send_first_cancels(self) -> None:
        """Send a cancel for everything known, before anything is written down, and wait for the answers.

        What stands in the way of that is found again, and put on the board, by the first round.
        """
        try:
            if self.ready is None:
                self.prepare_first_cancels()
                budgets.prepay([self.cost_of(self.ready or [])])
            self.sent_at = timezone.now()
            self.flying = self._send(self.ready or [])
            wait([future for _, future in self.flying])
            self.answered_at = timezone.now()
        except Exception:
            logger.info("%s: no cancel could leave at once", self.sweep, exc_info=True)

    def go(self) -> None:
        """Rounds, with a pause after each that did not get through, until clear or a longer wait."""
        self.orders = SweptOrders.load(self.sweep)
        while True:
            try:
                if self._round():
                    return
                wait_s, changes = self._left_over()
            except BudgetSpent as exc:
                wait_s = exc.retry_after_ms / 1000
                changes = {"last_word": f"{exc}; goes on then"}
                if wait_s > WATCH_S and self._keep_coming(STILL_COMING):
                    # What comes while the limit holds a full listing back is cancelled all the same.
                    wait_s = WATCH_S
                    changes |= {"known_empty_at": None, "last_word": f"{exc}; orders keep coming"}
            except RateLimited as exc:
                wait_s = exc.retry_after_ms / 1000
                changes = self._failed(f"the venue refuses every call for {wait_s:.0f} s: {exc}")
            except (credentials.CredentialsUnusable, VenueError) as exc:
                changes = self._failed(str(exc))
                wait_s = min(SLOWEST_TRY_S, 0.25 * 2 ** min(10, self.sweep.failures + 1))
            self._save(due_at=timezone.now() + timedelta(seconds=wait_s), **changes)
            if wait_s > SHORT_WAIT_S:
                return
            time.sleep(wait_s)

    def _round(self) -> bool:
        """Cancel where anything is known, read back, find the outcomes, read everything. True: clear."""
        self.adapter = self.open_adapter(self.budget)
        offset = timedelta(milliseconds=clock_of(self.account.venue.base_url).offset_ms)
        if abs(offset) >= CLOCK_SLACK / 2:  # less is within what some venues' clocks can tell
            self.orders.venue_ahead = offset
        if self.sweep.known_empty_at is None:
            self._save(
                round=self.sweep.round + 1,
                **({"state": Sweep.State.CANCELLING} if self.sweep.round == 0 else {}),
            )
            self._cancel()
            targets = self._targets()
            if self._still_open(targets or None, quick=bool(targets)):
                self._resolve_gone()
                return False
            self._save(
                known_empty_at=timezone.now(),
                read_back_at=timezone.now(),
                state=Sweep.State.READING_BACK,
                failures=0,
                last_word=f"known symbols read back empty at {timezone.now():%H:%M:%S}; full listing to come",
            )
        if not self._all_resolved():
            return False
        if self.sweep.full_empty_at is None:
            if self.sweep.reopened and self._keep_coming(QUIET_BEFORE_PROOF):
                self._save(known_empty_at=None)
                return False
            if self._still_open(None if self.sweep.whole_account else self._targets()):
                self._resolve_gone()
                return False
            self._save(full_empty_at=timezone.now(), read_back_at=timezone.now(), failures=0)
        lacking = self._trace()
        if self.sweep.reopened and self._keep_coming(QUIET_BEFORE_PROOF):
            # The venue's history tells of orders that were cancelled between two listings.
            self._save(known_empty_at=None, full_empty_at=None)
            return False
        if not self._all_resolved():
            return False
        watch_s = WATCH_S if self._keep_coming(STILL_COMING) else WATCH_QUIET_S
        self._save(
            state=Sweep.State.CLEAR,
            clear_at=timezone.now(),
            due_at=timezone.now() + timedelta(seconds=watch_s),
            last_word=f"NO OPEN ORDERS - read back {self.sweep.read_back_at:%H:%M:%S}{lacking}",
        )
        return True

    def _keep_coming(self, within: timedelta) -> bool:
        return seen_lately(self.orders.latest_after, within)

    def open_adapter(self, budget: AccountBudget) -> VenueAdapter:
        return open_adapter(
            self.account.venue.adapter,
            self.account.venue.base_url,
            credentials.unseal(self.account),
            budget=budget,
            account=self.account.name,
        )

    # ---- cancelling ----

    def _cancel(self) -> None:
        """Send every cancel of this round at once, and keep what the venue said to each.

        The first round names every known symbol; later ones those where something is left. Whatever is
        still open after a mass cancel is also cancelled by itself. Raises what stops the whole account.
        """
        sent_at, self.sent_at = self.sent_at or timezone.now(), None
        answered_at, self.answered_at = self.answered_at, None
        flying, self.flying = self.flying, []
        chosen = self.panic.scope == Panic.Scope.ORDERS
        if not flying and not chosen:
            flying = self._send_mass_cancels(
                self._targets() if self.sweep.round <= 1 else self._left_targets()
            )
        if self.sweep.first_request_at is None:
            self._first_sight()
            self._save(first_request_at=sent_at, last_word=f"{len(flying)} mass cancels sent")
        errors = [error for call, future in flying if (error := self._acknowledge(call, future))]
        if chosen or self.sweep.round > 2:
            # Single cancels can have a limit of their own: what it holds back must not keep us from reading.
            errors += [e for e in self._cancel_one_by_one() if not isinstance(e, BudgetSpent)]
        self.orders.flush()
        if self.sweep.acked_at is None and not errors:
            self._save(acked_at=answered_at or timezone.now())
        self.refusals = errors
        _raise_what_stops(errors)
        time.sleep(self.adapter.cancel_settle_ms / 1000)

    def _send_mass_cancels(
        self, targets: set[BookSymbol]
    ) -> list[tuple[MassCancel, Future[MassCancelReply]]]:
        calls = self._mass_cancels(targets)
        budgets.prepay([self.cost_of(calls)])
        return self._send(calls)

    def cost_of(self, calls: Sequence[MassCancel]) -> Cost:
        return Cost(self.budget, self.adapter.cancel_limit(), sum(call.weight for call in calls))

    def _send(self, calls: Sequence[MassCancel]) -> list[tuple[MassCancel, Future[MassCancelReply]]]:
        return list(zip(calls, _side_by_side(self.adapter.mass_cancel, calls), strict=True))

    def _mass_cancels(self, targets: set[BookSymbol]) -> list[MassCancel]:
        if self.panic.scope == Panic.Scope.ORDERS:
            return []  # it would take the orders that nobody chose with it
        whole = self.sweep.whole_account
        if not targets and not (whole and self.adapter.account_wide_cancel):
            return []
        return self.adapter.mass_cancels(targets, whole_account=whole)

    def _first_sight(self) -> None:
        """Make a row of every order known before the press, and of what an older panic left unresolved."""
        known = [readings.from_record(record) for record in self.reading.orders]
        left = SweptOrder.objects.filter(
            sweep__account=self.account, sweep__handed_over_to=self.panic, vanished=False
        ).exclude(outcome__in=SweptOrder.GONE)
        for order in known + [swept_orders.as_order(row) for row in left]:
            if self._in_scope(order.family, order.symbol, order.venue_order_id):
                self.orders.see(order, Outcome.SENT)
        self.orders.flush()

    def _acknowledge(self, call: MassCancel, future: Future[MassCancelReply]) -> VenueError | None:
        covered = [
            row
            for row in self.orders.unresolved()
            if self.adapter.covers(call, BookSymbol(row.family, row.symbol))
        ]
        try:
            reply = future.result()
        except OutcomeUnknown as exc:
            self.orders.mark_all(covered, Outcome.UNKNOWN, f"{_said(exc)}; reading again")
            return exc
        except UnknownSymbol:
            return None  # the full listing will tell; the symbol itself is gone
        except VenueRejected as exc:
            self.orders.mark_all(covered, Outcome.REJECTED, _said(exc))
            return exc
        except VenueError as exc:
            self.orders.mark_all(covered, Outcome.SENT, f"{_said(exc)}; not executed, again soon")
            return exc
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
            (family, symbol, rows[start : start + size])
            for (family, symbol), rows in groups.items()
            for size in (self.adapter.family(family).cancel_batch,)
            for start in range(0, len(rows), size)
        ]
        futures = [
            (
                rows,
                CALLS.submit(
                    _patiently,
                    self.adapter.cancel_orders,
                    family,
                    symbol,
                    [swept_orders.ref(r) for r in rows],
                ),
            )
            for family, symbol, rows in batches
        ]
        return [error for rows, future in futures if (error := self._acknowledge_each(rows, future))]

    def _acknowledge_each(
        self, rows: list[SweptOrder], future: Future[list[CancelResult]]
    ) -> VenueError | None:
        try:
            results = future.result()
        except OutcomeUnknown as exc:
            self.orders.mark_all(rows, Outcome.UNKNOWN, f"{_said(exc)}; reading again")
            return exc
        except VenueRejected as exc:
            self.orders.mark_all(rows, Outcome.REJECTED, _said(exc))
            return exc
        except VenueError as exc:
            self.orders.mark_all(rows, Outcome.SENT, f"{_said(exc)}; not executed, again soon")
            return exc
        for row, result in zip(rows, results, strict=True):
            if result.accepted or result.not_found:  # not on this book: reading tells where it went
                self.orders.mark(row, Outcome.ACKED, "")
            else:
                self.orders.mark(row, Outcome.REJECTED, f"{result.code} {result.text}".strip())
        return None

    # ---- reading back ----

    def _still_open(self, symbols: set[BookSymbol] | None, *, quick: bool = False) -> bool:
        """List these symbols (None: everything), keep what is found, and say whether anything is open."""
        listings = self.adapter.listings(symbols, quick=quick)
        limit, weight = self.adapter.listing_limit(), sum(listing.weight for listing in listings)
        # A bot that goes on quoting must not use up, with full listings, what the next panic needs.
        proof = self.sweep.reopened and symbols is None
        payer = AccountBudget(self.account, Work.LOOK) if proof else self.budget
        payer.take(limit, weight)
        self.budget.add_prepaid(limit, weight)
        began_at = timezone.now()
        found = self.list_orders(listings)
        if symbols is None and self.sweep.whole_account:
            readings.keep(self.account, found, began_at)
        open_orders = [o for o in found if self._in_scope(o.family, o.symbol, o.venue_order_id)]
        self.listed = []
        for order in open_orders:
            seen = self.orders.has(order)
            if order.cancel_pending:
                outcome, note = Outcome.ACKED, "cancel taken by the venue, not carried out yet"
            else:
                outcome, note = (Outcome.STILL_OPEN if seen else Outcome.SENT), ""
            self.listed.append(self.orders.see(order, outcome, note))
        self.orders.flush()
        if open_orders and (self.sweep.known_empty_at or self.sweep.full_empty_at):
            self._save(known_empty_at=None, full_empty_at=None)
        return bool(open_orders)

    def list_orders(self, listings: Iterable[Listing]) -> list[Order]:
        """Read all listings, family after family in the venue's reading order, symbols side by side.

        A symbol that the venue does not know has no orders, as far as the full listing agrees. A listing
        that named no symbol and is refused for a wrong one says nothing of orders, and raises.
        """
        by_family: dict[str, list[Listing]] = defaultdict(list)
        for listing in listings:
            by_family[listing.family].append(listing)
        found: list[Order] = []
        strange: list[UnknownSymbol] = []
        for batch in by_family.values():
            futures = _side_by_side(self.adapter.open_orders, batch)
            for listing, future in zip(batch, futures, strict=True):
                try:
                    found += future.result()
                except UnknownSymbol as exc:
                    if listing.symbol is None:
                        raise
                    strange.append(exc)
        nothing_read = len(strange) == sum(map(len, by_family.values()))
        if strange and nothing_read and not self.sweep.whole_account:
            raise strange[0]  # no book knows the symbol of this sweep: an empty answer would prove nothing
        return found

    def _all_resolved(self) -> bool:
        """Find the outcome of every order that left the lists. False when one turns out to be open."""
        self._resolve(self.orders.unresolved())
        left = self.orders.unresolved()
        if left:
            self._save(known_empty_at=None, full_empty_at=None)
        return not left

    def _resolve_gone(self) -> None:
        """While some orders stay, find the outcome of those that the last reading no longer listed.

        What goes wrong with that is found again, and said, when the lists are empty.
        """
        gone = [row for row in self.orders.unresolved() if row not in self.listed]
        with contextlib.suppress(VenueError):
            self._resolve(gone)

    def _resolve(self, rows: list[SweptOrder]) -> None:
        """Ask the venue what became of these orders.

        Prefers a symbol's history where that costs less than asking for its orders one by one.
        """
        groups: dict[tuple[str, str], list[SweptOrder]] = defaultdict(list)
        for row in rows:
            groups[self._history_of(row.family, row.symbol)].append(row)
        for (family, symbol), group in groups.items():
            history_weight = self.adapter.history_weight(family)
            if (
                history_weight is None
                or history_weight > len(group) * self.adapter.family(family).query_weight
            ):
                continue
            since = swept_orders.earliest(group, self.panic.pressed_at - timedelta(days=1))
            wanted = {row.venue_order_id for row in group}
            try:
                history = _patiently(self.adapter.history, family, symbol, since)
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

    def _ask_one_by_one(self, rows: list[SweptOrder]) -> None:
        asked = _side_by_side(self.adapter.order, [swept_orders.ref(row) for row in rows])
        futures = list(zip(rows, asked, strict=True))
        errors: list[VenueError] = []
        for row, future in futures:
            try:
                self.orders.settle(future.result(), self.adapter)
            except (OrderNotFound, UnknownSymbol):
                self.orders.vanish(row)
            except (BudgetSpent, RateLimited) as exc:
                errors.append(exc)
            except VenueError as exc:
                self.orders.mark(row, Outcome.UNKNOWN, f"{_said(exc)}; reading again")
                errors.append(exc)
        self.orders.flush()
        if errors:
            raise errors[0]

    def _trace(self) -> str:
        """Look for orders that came and were cancelled since the account was last read: nobody saw them.

        For the record only: tried once, and only where it leaves enough of the limit for every sweep of
        this panic that is not clear yet. Returns what the record may lack where it does not come about,
        to be said behind the sweep's last word.
        """
        if self.panic.scope == Panic.Scope.ORDERS or self.reading.read_at is None:
            return ""
        since = self.reading.read_at - CLOCK_SLACK
        books = {
            self._history_of(book.family, book.symbol)
            for target in self._targets()
            for book in {target, *self.adapter.book_symbols(target.symbol)}
            if self.adapter.history_weight(book.family) is not None
        }
        missed: list[str] = []
        if not self._may_trace(books):
            missed, books = [symbol or "any symbol" for _, symbol in books], set()
        futures = [
            (symbol, CALLS.submit(self.adapter.history, family, symbol, since)) for family, symbol in books
        ]
        for symbol, future in futures:
            try:
                for order in future.result():
                    ended_at = order.updated_at or timezone.now()
                    if (
                        self._in_scope(order.family, order.symbol, order.venue_order_id)
                        and not (self.orders.has(order) or order.state.is_open)
                        and ended_at >= self.panic.pressed_at
                    ):
                        self.orders.settle(order, self.adapter)
            except VenueError as exc:
                logger.info("%s: %s not traced: %s", self.sweep, symbol, exc)
                missed.append(symbol or "any symbol")
        self.orders.flush()
        if not missed:
            return ""
        symbols = ", ".join(sorted(set(missed)))
        return f"; orders placed since {since:%H:%M:%S} on {symbols} may lack from this record"

    def _may_trace(self, books: set[tuple[str, str]]) -> bool:
        limit = self.adapter.listing_limit()
        left = self.budget.left(limit)
        if left is None or limit.per == "key":
            return True  # histories have a limit of their own there, or every call asks for itself
        unfinished = Sweep.objects.exclude(state__in=Sweep.OVER).filter(
            panic=self.panic, account__venue=self.account.venue
        )
        needed = unfinished.count() * readings.reading_weight(type(self.adapter))
        return left >= needed + sum(self.adapter.history_weight(family) or 0 for family, _ in books)

    # ---- scope ----

    def _scope_of(self, known: set[BookSymbol]) -> set[BookSymbol]:
        if self.sweep.whole_account:
            return known
        return {one for one in known if self._in_scope(one.family, one.symbol, None)}

    def _in_scope(self, family: str, symbol: str, venue_order_id: str | None) -> bool:
        """Whether an order (None: any order) of this book symbol belongs to this sweep."""
        if self.sweep.whole_account:
            return True
        if self.panic.scope == Panic.Scope.SYMBOL:
            return symbol == self.panic.symbol
        return any(
            (ref["family"], ref["symbol"]) == (family, symbol)
            and venue_order_id in (None, ref["venue_order_id"])
            for ref in self.panic.order_refs
        )

    def _targets(self) -> set[BookSymbol]:
        """Every book symbol to cancel on and read back by name."""
        if self.panic.scope == Panic.Scope.ORDERS:
            return {BookSymbol(ref["family"], ref["symbol"]) for ref in self.panic.order_refs}
        if self.panic.scope == Panic.Scope.SYMBOL:
            return self.known | set(self.adapter.book_symbols(self.panic.symbol))
        return self.known | {BookSymbol(r.family, r.symbol) for r in self.orders.unresolved() if r.symbol}

    def _left_targets(self) -> set[BookSymbol]:
        left = {BookSymbol(row.family, row.symbol) for row in self.orders.unresolved() if row.symbol}
        return left or self._targets()

    # ---- what is written down ----

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
        words += [str(error) for error in self.refusals[:1]]
        pace = ROUND_PACE_S[min(self.sweep.round, len(ROUND_PACE_S)) - 1]
        return pace, {
            "state": Sweep.State.NOT_CLEAR,
            "failures": 0,
            "last_word": f"{', '.join(words)}; again in {pace:g} s",
        }

    def _failed(self, why: str) -> dict[str, Any]:
        logger.warning("%s: %s", self.sweep, why)
        return {"state": Sweep.State.FAILED, "failures": self.sweep.failures + 1, "last_word": why}

    def _save(self, **changes: Any) -> None:
        """Write on the sweep, if it is still ours. Raises LostSweep if not."""
        ours = Sweep.objects.filter(pk=self.sweep.pk, lease_owner=self.sweep.lease_owner)
        if not ours.exclude(state__in=Sweep.OVER).update(**changes):
            raise LostSweep
        for name, value in changes.items():
            setattr(self.sweep, name, value)


def _side_by_side(call: Callable[[A], T], each: Sequence[A]) -> list[Future[T]]:
    """Make the same call for each of these, all at once; the last one on this thread, which has to wait
    anyway. A panic of many accounts with one call each then needs no second thread for any of them.
    """
    futures = [CALLS.submit(_patiently, call, one) for one in each[:-1]]
    for one in each[-1:]:
        last: Future[T] = Future()
        try:
            last.set_result(_patiently(call, one))
        except Exception as exc:
            last.set_exception(exc)
        futures.append(last)
    return futures


def _patiently(call: Callable[..., T], *args: Any) -> T:
    """Make a call, and repeat it while it surely was not executed for a passing reason."""
    for number, pause_s in enumerate(REPEAT_AFTER_S, start=1):
        try:
            with attempt(number):
                return call(*args)
        except (BudgetSpent, RateLimited):
            raise
        except NotDone:
            time.sleep(pause_s)
    with attempt(len(REPEAT_AFTER_S) + 1):
        return call(*args)


def _raise_what_stops(errors: list[VenueError]) -> None:
    """Raise the error that reading back cannot get past: a refused key, or a limit."""
    for kind in (CredentialsRejected, RateLimited, BudgetSpent):
        for error in errors:
            if isinstance(error, kind):
                raise error


def _said(exc: VenueError) -> str:
    return f"{exc.code} {exc.text}".strip() or str(exc)
