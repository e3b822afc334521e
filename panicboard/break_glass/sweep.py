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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.utils import timezone

from panicboard.break_glass.budget import GlassBudget, clock_in
from panicboard.break_glass.journal import ORDER_FIELDS, Journal
from panicboard.break_glass.sealed_file import SealedAccount
from panicboard.local_counts import LocalCounts
from panicboard.models import Panic, Sweep, SweptOrder
from panicboard.swept_orders import Outcome, SweptOrders
from panicboard.venue_work import STILL_COMING, VenueWork, raise_what_stops, seen_lately, without
from panicboard.venues import open_adapter
from panicboard.venues.base import (
    BookSymbol,
    Credentials,
    Listing,
    MassCancel,
    VenueAdapter,
)
from panicboard.venues.errors import BudgetSpent, CredentialsRejected, RateLimited, UnknownSymbol, VenueError

logger = logging.getLogger(__name__)

State = Sweep.State
#: Calls of one account that are under way at a time. Each account has threads of its own: a venue that
#: hangs keeps nobody else waiting.
CALLS_AT_ONCE = 32
#: While orders keep coming, a spent limit holds the next cancels back for no longer than this.
KEEP_COMING_S = 2.0
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


def _call_threads(account: SealedAccount) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix=f"venue-call-{account.pk}")


class GlassSweep(VenueWork):
    """The sweep of one account, run on a thread of its own."""

    def __init__(
        self,
        account: SealedAccount,
        panic: Panic,
        *,
        journal: Journal,
        counts: LocalCounts,
        say: Say,
        stop: threading.Event,
    ) -> None:
        sweep = Sweep(panic=panic, state=State.QUEUED, keep_protective=panic.keep_protective)
        super().__init__(sweep, JournaledOrders(sweep, account.name, journal), _call_threads(account))
        self.account = account
        self._journal = journal
        self._counts = counts
        self._budget = GlassBudget(account, counts)
        self._say = say
        self._stop = stop
        #: Whether every family was listed in full since the press.
        self._saw_all = False
        #: Rows whose outcome the limit did not let us ask for.
        self._unasked: list[SweptOrder] = []

    def __str__(self) -> str:
        return self.account.name

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
                wait_s, changes = self.left_over()
            except Stopped:
                return
            except BudgetSpent as exc:
                wait_s, changes = exc.retry_after_ms / 1000, {"last_word": f"{exc}; goes on then"}
                if wait_s > KEEP_COMING_S and self._orders_keep_coming():
                    wait_s = KEEP_COMING_S
                    changes = {"known_empty_at": None, "full_empty_at": None, "to_read": False}
                    changes["last_word"] = f"{exc}; orders keep coming"
            except RateLimited as exc:
                wait_s = exc.retry_after_ms / 1000
                changes = self.failed(f"the venue refuses every call until {clock_in(wait_s)}: {exc}")
            except VenueError as exc:
                changes = self.failed(str(exc))
                wait_s = self.backoff_s()
            except Exception as exc:  # the thread's edge: a bug must neither end the sweep nor stay silent
                logger.exception("%s: the sweep failed", self.account.name)
                changes = self.failed(f"panicboard failed ({type(exc).__name__}); trying again")
                wait_s = self.backoff_s()
            self._save(**changes)
            self._stop.wait(wait_s)

    def close(self) -> None:
        """Wait for the calls that are under way, a timeout of a few seconds at most, and need no thread."""
        self.calls.shutdown(wait=True, cancel_futures=True)

    def _round(self) -> bool:
        """Cancel where anything is known, read back, find the outcomes, read everything. True: clear."""
        self.heed_clock(self.account.base_url)
        if self.sweep.known_empty_at is None:
            if not self.sweep.to_read:
                first = self.sweep.round == 0
                self._save(round=self.sweep.round + 1, **({"state": State.CANCELLING} if first else {}))
                self._cancel()
            if not self._first_reading_is_empty():
                self.resolve_gone()
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
                self.resolve_gone()
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
            last_word=f"{self.sweep.nothing_open} - read back {self.sweep.read_back_at:%H:%M:%S}{unasked}",
        )
        self._journal.sync()
        return True

    def _first_reading_is_empty(self) -> bool:
        """Read back the known symbols, or everything where that is no dearer; once everything in any case."""
        targets = self.targets()
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
                self.refusals.append(exc)
        return False

    def _orders_keep_coming(self) -> bool:
        return seen_lately(self.orders.latest_after, STILL_COMING)

    def _open_adapter(self, budget: GlassBudget) -> VenueAdapter:
        return open_adapter(
            self.account.adapter,
            self.account.base_url,
            self.account.credentials or Credentials("", ""),
            budget=budget,
            account=self.account.name,
            routes=self.account.routes,
        )

    # ---- cancelling ----

    def _cancel(self) -> None:
        """Send every cancel of this round at once, and keep what the venue said to each.

        Whatever is still open after two mass cancels is also cancelled by itself. Raises what stops the
        whole account.
        """
        calls = self._mass_cancels(self.targets() if self.sweep.round == 1 else self.left_targets())
        with contextlib.suppress(BudgetSpent):  # then each call pays for itself, as far as the limit goes
            self._budget.prepay(self.adapter.cancel_limit(), sum(call.weight for call in calls))
        sent_at = timezone.now()
        flying = self.send(calls)
        said = f"{len(calls)} mass cancels sent" if calls else "listing everything first"
        if self.sweep.round == 1:
            self._save(first_request_at=self.sweep.first_request_at or sent_at, last_word=said)
        errors = self.take_answers(flying, chosen=self.sweep.keep_protective)
        if not errors:
            self._save(to_read=True, acked_at=self.sweep.acked_at or timezone.now())
        raise_what_stops(errors)
        self._stop.wait(self.adapter.cancel_settle_ms / 1000)

    def _mass_cancels(self, targets: set[BookSymbol]) -> list[MassCancel]:
        if self.sweep.keep_protective or not (targets or self.adapter.account_wide_cancel):
            return []  # it would take with it what is to stay, or there is nothing to name
        return self.adapter.mass_cancels(targets, whole_account=True)

    # ---- reading back ----

    def _still_open(self, symbols: set[BookSymbol] | None) -> bool:
        """List these symbols (None: everything), keep what is found, and say whether anything is open."""
        if self._stop.is_set():
            raise Stopped
        listings = self._listings(symbols)
        self._budget.prepay(self.adapter.listing_limit(), sum(listing.weight for listing in listings))
        try:
            found = self.list_orders(listings)
        except UnknownSymbol:
            if symbols is None:
                raise
            return self._still_open(None)  # every symbol of an old file is gone: that reading proves nothing
        self.sweep.to_read = False
        self._saw_all = self._saw_all or symbols is None
        open_orders = [order for order in found if self.concerns(order)]
        self.sweep.kept = len(found) - len(open_orders)
        self.see_open(open_orders)
        if open_orders:
            self._save(known_empty_at=None, full_empty_at=None)
        return bool(open_orders)

    def _listings(self, symbols: set[BookSymbol] | None) -> list[Listing]:
        return self.adapter.listings(symbols, quick=symbols is not None)

    def _weight(self, symbols: set[BookSymbol] | None) -> int:
        return sum(listing.weight for listing in self._listings(symbols))

    def _all_resolved(self) -> bool:
        """Find the outcome of every order that left the lists. False when one turns out to be open."""
        self._unasked = []
        self.resolve(self.orders.unresolved())
        left = without(self.orders.unresolved(), self._unasked)
        if left:
            self._save(known_empty_at=None, full_empty_at=None)
        return not left

    def not_asked(self, row: SweptOrder, exc: VenueError) -> list[VenueError]:
        """A spent limit withholds no proof: the order stays UNKNOWN."""
        if not isinstance(exc, BudgetSpent):
            return [exc]
        self._unasked.append(row)
        self.orders.mark(row, Outcome.UNKNOWN, NOT_ASKED)
        return []

    def pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped

    def complete_record(self) -> None:
        """After it was clear: find the orders that its first cancels took before any list showed them.

        Tried once, and its failure is told in the sweep's last word.
        """
        self.calls = _call_threads(self.account)
        adapter = self._open_adapter(GlassBudget(self.account, self._counts, share=TRACE_SHARE))
        missed = self.trace(self.histories(), self.panic.pressed_at - TRACE_BACK, adapter)
        with contextlib.suppress(VenueError, Stopped):
            self.resolve(self.orders.unresolved())
        # What it tells of as open, it may have taken a cancel for: that is open still.
        if self.orders.count(Outcome.STILL_OPEN, Outcome.ACKED):
            word = "an order is open again since it was clear"
            self._save(state=State.NOT_CLEAR, clear_at=None, last_word=word)
        elif missed:
            lacking = f"; orders of {', '.join(sorted(missed))} may lack from this record"
            self._save(last_word=self.sweep.last_word + lacking)

    # ---- what is known, and what is written down ----

    def targets(self) -> set[BookSymbol]:
        return {*self.account.symbols, *self.unresolved_books()}

    def _save(self, **changes: Any) -> None:
        """Keep what changed of the sweep, in the journal and for whoever looks on."""
        told = self.sweep.state, self.sweep.last_word
        for name, value in changes.items():
            setattr(self.sweep, name, value)
        self._journal.sweep(self.account.name, self.sweep)
        if (self.sweep.state, self.sweep.last_word) != told:
            self._say(self.account, self.sweep.label, self.sweep.last_word)
