"""The work on one sweep: cancel, read back, repeat until the venue's lists are empty.

Only reading back ends a sweep. After the last cancel was answered, the known symbols are listed one by
one, and then every family in full: two readings in a row, both empty, conditional books always before
ordinary ones, because an order that triggers moves from the first to the second. Whatever fails in
between leaves the sweep unfinished with its reason and the time of the next try, on its row, where the
next worker finds it.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.utils import timezone

from panicboard import budgets, credentials, database, readings, swept_orders, turns
from panicboard.budgets import AccountBudget, Cost, Work
from panicboard.leases import LostLease
from panicboard.models import Panic, Reading, Sweep, SweptOrder
from panicboard.rush import Leaving
from panicboard.swept_orders import Outcome, SweptOrders
from panicboard.venue_work import CLOCK_SLACK, STILL_COMING, Sent, VenueWork, raise_what_stops, seen_lately
from panicboard.venues.base import (
    BookSymbol,
    Limit,
    Listing,
    MassCancel,
    Order,
)
from panicboard.venues.errors import BudgetSpent, RateLimited, UnknownSymbol, VenueError

logger = logging.getLogger(__name__)

#: How many calls to one venue leave side by side from this process, those of all its sweeps together; and of
#: how many sweeps they are when they read back.
CALLS_AT_ONCE = 256
SWEEPS_AT_ONCE = 24
#: Waits shorter than this are slept through with the lease held; longer ones go back to the keeper.
SHORT_WAIT_S = 1.0
#: How soon a latched account is looked at again: while orders keep coming, and when it is quiet.
WATCH_S, WATCH_QUIET_S = 2.0, 15.0
#: What the latch sweeps is proven clear again when none has come for so long: a proof takes a full listing,
#: and a bot that quotes on would use up the limit with proofs that are worth nothing a moment later.
QUIET_BEFORE_PROOF = timedelta(seconds=10)
#: So long at most does a sweep wait for its turn, or for the end of a ban, before it asks again: a little
#: more than a window. Others may have failed, or needed less than was thought; a ban can take days, and the
#: account have got another way out meanwhile. Asking costs no call: the budget refuses by itself.
ASK_AGAIN_S = 75.0
#: An account that was last read longer ago than this may well have orders on symbols that nobody knows of.
STALE = timedelta(minutes=1)


@cache
def calls_to(adapter: str, base_url: str) -> ThreadPoolExecutor:
    """The threads for calls to one venue: one that hangs must not take those of another. No database here."""
    return ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix=f"calls-{adapter}")


@cache
def read_at_once(adapter: str, base_url: str) -> threading.BoundedSemaphore:
    """So many sweeps of this process read back from one venue at once; the others have not paid for it yet.

    What is paid for must arrive soon: two thousand listings that were granted in one second came over three,
    and some after the minute in which they were counted here.
    """
    return threading.BoundedSemaphore(SWEEPS_AT_ONCE)


class Sweeper(VenueWork):
    """One worker's hold on one sweep."""

    def __init__(self, sweep: Sweep) -> None:
        venue = sweep.account.venue
        super().__init__(sweep, SweptOrders(sweep), calls_to(venue.adapter, venue.base_url))
        self.account = sweep.account
        self.budget = AccountBudget(self.account, Work.PANIC)
        self.sent_at: datetime | None = None
        self.answered_at: datetime | None = None
        #: The first cancels, made ready and paid for; None while they are not.
        self.ready: list[MassCancel] | None = None
        self.flying: list[Sent] = []
        self.reading: Reading = getattr(self.account, "reading", None) or readings.ensure(self.account)
        self.known = self._scope_of(readings.known_symbols(self.reading))

    def __str__(self) -> str:
        return str(self.sweep)

    def prepare_first_cancels(self) -> None:
        """Make a cancel ready for everything known; `cost_of` tells what is to be paid before it is sent."""
        self.adapter = self.budget.open_adapter()
        self.ready = self._mass_cancels(self.targets())

    def send_first_cancels(self, leaving: Leaving) -> None:
        """Send a cancel for everything known, before anything is written down, and wait for the answers.

        What stands in the way of that is found again, and put on the board, by the first round.
        """
        try:
            if self.ready is None:
                self.prepare_first_cancels()
                budgets.prepay([self.cost_of(self.ready or [])])
            leaving.expect(len(self.ready or []))
            self.sent_at = timezone.now()
            self.flying = self.send(self.ready or [], leaving)
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
                wait_s, changes = self.left_over()
            except BudgetSpent as exc:
                wait_s = min(exc.retry_after_ms / 1000, ASK_AGAIN_S)
                if wait_s <= SHORT_WAIT_S:  # two hundred sweeps that write this down would hold each other up
                    self.pause(wait_s)
                    continue
                changes = self._held_back(exc)
                cancel_s = self._cancel_again_s()
                if wait_s > cancel_s and self._keep_coming(STILL_COMING):
                    # What comes while the limit holds a full listing back is cancelled all the same.
                    wait_s = cancel_s
                    # No reading of before then proves anything any more.
                    changes |= {
                        "known_empty_at": None,
                        "full_empty_at": None,
                        "to_read": False,
                        "last_word": f"{exc}; orders keep coming",
                    }
            except RateLimited as exc:
                wait_s = min(exc.retry_after_ms / 1000, ASK_AGAIN_S)
                until = timezone.now() + timedelta(milliseconds=exc.retry_after_ms)
                changes = self.failed(f"the venue refuses every call until {until:%H:%M:%S}: {exc}")
            except (credentials.CredentialsUnusable, VenueError) as exc:
                changes = self.failed(str(exc))
                wait_s = self.backoff_s()
            self._save(due_at=timezone.now() + timedelta(seconds=wait_s), **changes)
            if wait_s > SHORT_WAIT_S:
                return
            self.pause(wait_s)

    def pause(self, seconds: float) -> None:
        database.let_go()
        super().pause(seconds)

    def _cancel_again_s(self) -> float:
        """How soon to cancel what comes meanwhile: not so often that the next cancels find no room."""
        limit = self.adapter.cancel_limit()
        return max(WATCH_S, 1.25 * limit.window_s / limit.amount) if limit.per == "key" else WATCH_S

    def _held_back(self, exc: BudgetSpent) -> dict[str, Any]:
        """What is known while the limit holds this sweep back, and when its full listing comes."""
        if self.sweep.full_listing_at is not None and self.sweep.known_empty_at is not None:
            return {
                "last_word": f"known symbols read back empty at {self.sweep.known_empty_at:%H:%M:%S}; "
                f"full listing at about {self.sweep.full_listing_at:%H:%M:%S}: {exc}"
            }
        return {"last_word": f"{exc}; goes on then", "full_listing_at": self._full_listing_to_come()}

    def _full_listing_to_come(self) -> datetime | None:
        """When the full listing of an account will come whose known symbols still have to be read."""
        limit = self.adapter.listing_limit()
        if limit.per == "key" or not self.sweep.whole_account:
            return None
        wait_ms = self._proof_budget().turn_in_ms(
            limit,
            readings.reading_weight(type(self.adapter)),
            ahead=turns.to_come_before(self.sweep),
            lighter=self._lighter_weight(),
        )
        return timezone.now() + timedelta(milliseconds=wait_ms) if wait_ms > 0 else None

    def _lighter_weight(self) -> int:
        """What the others behind the same limit will still need before their full listings, in about."""
        of_one = sum(listing.weight for listing in self.adapter.listings(self.targets(), quick=True))
        return 2 * of_one * turns.still_cancelling(self.sweep)

    def _proof_budget(self) -> AccountBudget:
        # A bot that goes on quoting must not use up, with full listings, what the next panic needs.
        return AccountBudget(self.account, Work.LOOK if self.sweep.reopened else Work.PROOF)

    def _round(self) -> bool:
        """Cancel where anything is known, read back, find the outcomes, read everything. True: clear."""
        self.budget.work = Work.READ_BACK
        self.adapter = self.budget.open_adapter()
        self.heed_clock(self.account.venue.base_url)
        if self.sweep.known_empty_at is None:
            if not self.sweep.to_read:
                self._save(
                    round=self.sweep.round + 1,
                    **({"state": Sweep.State.CANCELLING} if self.sweep.round == 0 else {}),
                )
                self._cancel()
            targets = self.targets()
            if self._still_open(targets or None, quick=bool(targets)):
                self.resolve_gone()
                return False
            self._save(
                known_empty_at=timezone.now(),
                read_back_at=timezone.now(),
                state=Sweep.State.READING_BACK,
                failures=0,
                doubt=self._doubt(),
                last_word=f"known symbols read back empty at {timezone.now():%H:%M:%S}; full listing to come",
            )
        if not self._all_resolved():
            return False
        if self.sweep.full_empty_at is None:
            if self.sweep.reopened and self._keep_coming(QUIET_BEFORE_PROOF):
                self._save(known_empty_at=None)
                return False
            if self._still_open(None if self.sweep.whole_account else self.targets()):
                self.resolve_gone()
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
            last_word=f"{self.sweep.nothing_open} - read back {self.sweep.read_back_at:%H:%M:%S}{lacking}",
        )
        return True

    def _doubt(self) -> int:
        """How much may be open that nobody knows of: the more went wrong, and the older what was known."""
        read_at = self.reading.read_at
        stale = read_at is None or bool(self.reading.failure) or self.panic.pressed_at - read_at > STALE
        unsure = self.orders.count(Outcome.UNKNOWN, Outcome.REJECTED)
        return min(1000, 10 * stale + self.sweep.round - 1 + unsure)

    def _keep_coming(self, within: timedelta) -> bool:
        return seen_lately(self.orders.latest_after, within)

    # ---- cancelling ----

    def _cancel(self) -> None:
        """Send every cancel of this round at once, and keep what the venue said to each.

        The first round names every known symbol; later ones those where something is left. Whatever is
        still open after a mass cancel is also cancelled by itself. Raises what stops the whole account.
        """
        self.budget.work = Work.PANIC
        sent_at, self.sent_at = self.sent_at or timezone.now(), None
        answered_at, self.answered_at = self.answered_at, None
        flying, self.flying = self.flying, []
        chosen = self.is_choosy
        if not flying and not chosen:
            flying = self._send_mass_cancels(self.targets() if self.sweep.round <= 1 else self.left_targets())
        if self.sweep.first_request_at is None:
            self._first_sight()
            if not (flying and all(isinstance(future.exception(), BudgetSpent) for _, future in flying)):
                sent = "one by one, so that others stay" if chosen else f"{len(flying)} mass cancels sent"
                self._save(first_request_at=sent_at, last_word=sent)
        errors = self.take_answers(flying, chosen=chosen)
        if not errors:
            # Whatever holds the reading back now: there is no need to cancel once more before it.
            self._save(to_read=True, acked_at=self.sweep.acked_at or answered_at or timezone.now())
        self.budget.work = Work.READ_BACK
        raise_what_stops(errors)
        self.pause(self.adapter.cancel_settle_ms / 1000)

    def _send_mass_cancels(self, targets: set[BookSymbol]) -> list[Sent]:
        calls = self._mass_cancels(targets)
        budgets.prepay([self.cost_of(calls)])
        return self.send(calls)

    def cost_of(self, calls: Sequence[MassCancel]) -> Cost:
        return Cost(self.budget, self.adapter.cancel_limit(), sum(call.weight for call in calls))

    def _mass_cancels(self, targets: set[BookSymbol]) -> list[MassCancel]:
        if self.is_choosy:
            return []  # it would take with it what is to stay
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
            if self.concerns(order):
                self.orders.see(order, Outcome.SENT)
        self.orders.flush()

    # ---- reading back ----

    def _still_open(self, symbols: set[BookSymbol] | None, *, quick: bool = False) -> bool:
        """List these symbols (None: everything), keep what is found, and say whether anything is open."""
        listings = self.adapter.listings(symbols, quick=quick)
        try:
            with read_at_once(self.account.venue.adapter, self.account.venue.base_url):
                self._pay_for(listings, in_turn=symbols is None)
                began_at = timezone.now()
                found = self.list_orders(listings)
        except UnknownSymbol:
            if symbols is None or not self.sweep.whole_account:
                raise
            return self._still_open(None)  # every known symbol is gone from the venue: look at everything
        if symbols is None and self.sweep.whole_account:
            readings.keep(self.account, found, began_at)
        open_orders = [order for order in found if self.concerns(order)]
        kept = sum(self._is_in_scope(order) and self.keeps(order) for order in found)
        if self.sweep.to_read or kept != self.sweep.kept:
            self._save(to_read=False, kept=kept)
        self.see_open(open_orders)
        if open_orders and (self.sweep.known_empty_at or self.sweep.full_empty_at):
            self._save(known_empty_at=None, full_empty_at=None)
        return bool(open_orders)

    def _pay_for(self, listings: Sequence[Listing], *, in_turn: bool) -> None:
        limit, weight = self.adapter.listing_limit(), sum(listing.weight for listing in listings)
        if not in_turn:
            self.budget.take(limit, weight)
        elif limit.per == "key":
            self._proof_budget().take(limit, weight)
        else:
            self._take_in_turn(limit, weight)
        self.budget.add_prepaid(limit, weight)

    def _take_in_turn(self, limit: Limit, weight: int) -> None:
        """Take what a full listing costs when this account has its turn.

        Raises BudgetSpent until then, with the time written down.
        """
        try:
            self._proof_budget().take_in_turn(
                limit, weight, ahead=turns.ahead_of(self.sweep), lighter=self._lighter_weight()
            )
        except BudgetSpent as exc:
            self._save(full_listing_at=timezone.now() + timedelta(milliseconds=exc.retry_after_ms))
            raise
        if self.sweep.full_listing_at is not None:
            self._save(full_listing_at=None)

    def _all_resolved(self) -> bool:
        """Find the outcome of every order that left the lists. False when one turns out to be open."""
        self.resolve(self.orders.unresolved())
        left = self.orders.unresolved()
        if left:
            self._save(known_empty_at=None, full_empty_at=None)
        return not left

    def _trace(self) -> str:
        """Look for orders that came and were cancelled since the account was last read: nobody saw them.

        For the record only: tried once, and only where it leaves enough of the limit for every sweep of
        this panic that is not clear yet. Returns what the record may lack where it does not come about,
        to be said behind the sweep's last word.
        """
        if self.panic.scope == Panic.Scope.ORDERS or self.reading.read_at is None:
            return ""
        since = self.reading.read_at - CLOCK_SLACK
        histories = self.histories()
        if self._may_trace(histories):
            missed = self.trace(histories, since, self.adapter)
        else:
            missed = {symbol or "any symbol" for _, symbol in histories}
        if not missed:
            return ""
        symbols = ", ".join(sorted(missed))
        return f"; orders placed since {since:%H:%M:%S} on {symbols} may lack from this record"

    def _may_trace(self, histories: set[tuple[str, str]]) -> bool:
        limit = self.adapter.listing_limit()
        left = self.budget.left(limit)
        if left is None or limit.per == "key":
            return True  # histories have a limit of their own there, or every call asks for itself
        unfinished = Sweep.objects.exclude(state__in=Sweep.OVER).filter(
            panic=self.panic, account__venue=self.account.venue
        )
        needed = unfinished.count() * readings.reading_weight(type(self.adapter))
        return left >= needed + sum(self.adapter.history_weight(family) or 0 for family, _ in histories)

    # ---- scope ----

    @property
    def is_choosy(self) -> bool:
        """Whether orders are to stay that a mass cancel would take: then each is cancelled by its id."""
        return self.panic.scope == Panic.Scope.ORDERS or self.sweep.keep_protective

    def concerns(self, order: Order) -> bool:
        return self._is_in_scope(order) and super().concerns(order)

    def _is_in_scope(self, order: Order) -> bool:
        return self._in_scope(order.family, order.symbol, order.venue_order_id)

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

    def targets(self) -> set[BookSymbol]:
        if self.panic.scope == Panic.Scope.ORDERS:
            return {BookSymbol(ref["family"], ref["symbol"]) for ref in self.panic.order_refs}
        if self.panic.scope == Panic.Scope.SYMBOL:
            return self.known | set(self.adapter.book_symbols(self.panic.symbol))
        return self.known | self.unresolved_books()

    # ---- what is written down ----

    def failed(self, why: str) -> dict[str, Any]:
        logger.warning("%s: %s", self.sweep, why)
        return super().failed(why)

    def _save(self, **changes: Any) -> None:
        """Write on the sweep, if it is still ours. Raises LostLease if not."""
        ours = Sweep.objects.filter(pk=self.sweep.pk, lease_owner=self.sweep.lease_owner)
        with database.WRITERS:
            if not ours.exclude(state__in=Sweep.OVER).update(**changes):
                raise LostLease
        for name, value in changes.items():
            setattr(self.sweep, name, value)
