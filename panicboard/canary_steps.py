"""One canary run, step after step: place, see it listed, panic, await the clear, ask for each by its id.

Each step finds on the run's row what is done already, so that any worker goes on where another stopped. An
order's client order id is on disk before its call leaves, and placing is never repeated: what became of a
call that was not answered is asked for by that id.
"""

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from panicboard import credentials, panics, readiness
from panicboard.budgets import AccountBudget, Work
from panicboard.models import Account, AuditEntry, CanaryRun, Panic, Reading, Sweep
from panicboard.venues import VENUES
from panicboard.venues.base import BookSymbol, Order, OrderRef, OrderState, VenueAdapter
from panicboard.venues.errors import (
    BudgetSpent,
    EndpointGone,
    NotDone,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    VenueError,
    VenueRejected,
)

logger = logging.getLogger(__name__)

State, Fate = CanaryRun.State, CanaryRun.Fate

#: Who presses and releases, in the record.
NAME = "canary"
#: A worker holds a run for so long at a time; it holds it anew whenever it writes on it.
LEASE_S = 60.0
#: The pause between two looks at anything.
PAUSE_S = 2.0
#: How long a run tries to place what the venue, or a limit, holds back.
PLACE_WITHIN = timedelta(minutes=10)
#: A run that cannot even speak to its venue ends after this.
GIVE_UP_AFTER = timedelta(hours=1)
#: The pause before what was held back is tried again.
PLACE_AGAIN_S = 10.0
#: How long an order is looked for whose placing was not answered. No venue executes a call that is older:
#: Binance takes 5 s, CoinSwitch 60.
FIND_WITHIN = timedelta(seconds=75)
#: How often the lists are read before an order counts as not listed, and how often an order that is still
#: open is asked for before it counts as escaped: what a venue tells can lag.
LOOKS, CHECKS = 5, 3

#: Orders that may stand at the venue.
_STANDING = (Fate.SENT, Fate.OPEN, Fate.NOT_FOUND)
#: Orders that surely do not stand there any more, or never did.
_SETTLED = (Fate.REFUSED, Fate.GONE, Fate.FILLED, Fate.NOT_FOUND)


class LostRun(Exception):
    """Another worker goes on with this run: stop without a word."""


class CanarySteps:
    """One worker's hold on one run."""

    def __init__(self, run: CanaryRun) -> None:
        self.run = run
        self.account = run.account
        self.venue = VENUES[self.account.venue.adapter]
        self.budget = AccountBudget(self.account, Work.READ)
        self.adapter: VenueAdapter
        #: What was placed, by family: the dicts of the run's row, in the order of their placing.
        self.placed: dict[str, dict[str, Any]] = {one["family"]: one for one in run.placed}

    def go(self) -> None:
        """Take step after step, until one has to wait or the run is over."""
        steps: tuple[Callable[[], float | None], ...] = (
            self._see_that_it_is_empty,
            self._place,
            self._see_them_listed,
            self._press,
            self._await_clear,
            self._ask_for_each,
        )
        try:
            self.adapter = self.budget.open_adapter()
            for step in steps:
                wait_s = step()
                if self.run.state != State.RUNNING:
                    return
                if wait_s is not None:
                    self._wait(wait_s)
                    return
        except (BudgetSpent, RateLimited) as exc:
            self._wait(exc.retry_after_ms / 1000, str(exc))
        except (credentials.CredentialsUnusable, VenueError) as exc:
            if self._age() <= GIVE_UP_AFTER:
                self._wait(PAUSE_S, str(exc))
            else:
                self._end(State.FAILED, "; ".join([f"given up: {exc}", *self._failures()]))

    # ---- placing ----

    def _see_that_it_is_empty(self) -> float | None:
        """The panic will cancel whatever stands on the account: a bot's orders must not be there."""
        if self.placed:
            return None
        reading: Reading | None = getattr(self.account, "reading", None)
        if why := _why_unread(reading):
            if self._age() <= PLACE_WITHIN:
                self._save(last_word=f"waits for a reading that shows the account empty: {why}")
                return PAUSE_S
            self._end(State.FAILED, f"nothing was placed on an account that cannot be read: {why}")
        elif reading and reading.open_count:
            count = f"{reading.open_count} open order{'s' if reading.open_count > 1 else ''}"
            self._end(
                State.FAILED,
                f"nothing was placed: {count} on the account, which the canary's panic would cancel; "
                "it needs an account of its own",
            )
        return None

    def _place(self) -> float | None:
        """Place one order of each family, each once, and find those whose placing was not answered."""
        if self.run.panic_id:
            return None
        waits = [
            wait_s
            for family in self.adapter.canary_families
            if (wait_s := self._place_in(family)) is not None
        ]
        return max(waits, default=None)

    def _place_in(self, family: str) -> float | None:
        one = self.placed.get(family)
        if one is not None:
            return self._find(one) if one["fate"] == Fate.SENT else None
        try:
            planned = self.adapter.plan_far_order(family)
            one = {
                "family": family,
                "symbol": planned.symbol,
                "client_order_id": self.adapter.canary_order_id(),
                "venue_order_id": "",
                "sent_at": timezone.now().isoformat(),
                "listed": False,
                "fate": Fate.SENT,
                "note": "",
            }
            self._keep(one)  # before the call leaves: a crash from here on leaves no orphan
            try:
                order = self.adapter.place_far_order(planned, one["client_order_id"])
            except NotDone:
                del self.placed[family]
                self._keep()
                raise
        except (NotDone, OutcomeUnknown, VenueRejected) as exc:
            return self._not_placed(family, exc)
        self._keep(one | _as_told(order))
        return None

    def _not_placed(self, family: str, exc: VenueError) -> float | None:
        one = self.placed.get(family)
        if one is not None and not isinstance(exc, VenueRejected):  # it left, and nobody knows
            logger.warning("%s: placing was not answered, to be looked up: %s", self.run, exc)
            self._keep(one | {"note": str(exc)})
            return PAUSE_S
        if not isinstance(exc, VenueRejected) and self._age() <= PLACE_WITHIN:
            self._save(last_word=f"the {self._family(family)} order is not placed yet: {exc}")
            if isinstance(exc, BudgetSpent | RateLimited):
                return exc.retry_after_ms / 1000
            return PLACE_AGAIN_S
        gone = "the venue has removed the call for it: " if isinstance(exc, EndpointGone) else ""
        blank = {"family": family, "symbol": "", "client_order_id": "", "venue_order_id": "", "listed": False}
        self._keep(blank | (one or {}) | {"fate": Fate.REFUSED, "note": f"{gone}{exc}"})
        return None

    def _find(self, one: dict[str, Any]) -> float | None:
        """Look by its client order id for an order whose placing was not answered."""
        try:
            order = self.adapter.order(_ref(one))
        except (BudgetSpent, RateLimited):
            raise
        except VenueError as exc:
            if timezone.now() - datetime.fromisoformat(one["sent_at"]) <= FIND_WITHIN:
                return PAUSE_S
            self._keep(one | {"fate": Fate.NOT_FOUND, "note": f"{one['note']}; {exc}".lstrip("; ")})
        else:
            self._keep(one | _as_told(order))
        return None

    def _see_them_listed(self) -> float | None:
        """Find each order in its family's list, as a sweep would."""
        unseen = [one for one in self.placed.values() if one["fate"] == Fate.OPEN and not one["listed"]]
        if self.run.panic_id or not unseen or self.run.looks >= LOOKS:
            return None
        listings = self.adapter.listings(
            {BookSymbol(one["family"], one["symbol"]) for one in unseen}, quick=True
        )
        self.budget.prepay(self.adapter.listing_limit(), sum(listing.weight for listing in listings))
        self._save(looks=self.run.looks + 1)
        try:
            listed = [order for listing in listings for order in self.adapter.open_orders(listing)]
        except (BudgetSpent, RateLimited):
            raise
        except VenueError as exc:
            self._keep(*(one | {"note": f"they could not be read: {exc}"} for one in unseen))
            return PAUSE_S
        found = {(order.family, order.venue_order_id) for order in listed}
        for one in unseen:
            one["listed"] = (one["family"], one["venue_order_id"]) in found
            one["note"] = "" if one["listed"] else "an empty list proves nothing of its family"
        self._keep()
        return None if all(one["listed"] for one in unseen) else PAUSE_S

    # ---- the panic ----

    def _press(self) -> float | None:
        """Panic the account. Where another panic holds it already, that one's sweep is waited for."""
        if self.run.panic_id:
            return None
        if not any(one["fate"] in _STANDING for one in self.placed.values()):
            self._end(State.FAILED, "; ".join(self._failures()))
            return None
        try:
            panic: Panic | None = (
                self._own_panic()
                or panics.start(
                    panics.Scope(Panic.Scope.ACCOUNT, account=self.account),
                    pressed_by=None,
                    pressed_by_name=NAME,
                    via=Panic.Via.CANARY,
                    reason=f"canary run {self.run.pk}: is every order family still reached?",
                    unless_latched=True,
                ).panic
            )
        except panics.Latched:
            panic = Account.objects.select_related("latched_by").get(pk=self.account.pk).latched_by
            # It holds the account already: have it look for what stands there now.
            Sweep.objects.filter(Sweep.WATCHED, account=self.account).update(due_at=timezone.now())
        except panics.NothingToSweep as exc:
            self._end(State.FAILED, f"{exc} These may still stand there: {self._names(_STANDING)}")
            return None
        if panic is not None:
            self._save(
                panic=panic, panicked_at=timezone.now(), last_word=f"panic {panic.pk} sweeps the account"
            )
        return PAUSE_S

    def _own_panic(self) -> Panic | None:
        """The panic that this run pressed before its worker died."""
        pressed = Panic.objects.filter(
            pressed_via=Panic.Via.CANARY, account=self.account, pressed_at__gte=self.run.began_at
        )
        return pressed.first()

    @property
    def _is_own(self) -> bool:
        return self.run.panic is not None and self.run.panic.pressed_via == Panic.Via.CANARY

    def _sweep(self) -> Sweep:
        return Sweep.objects.get(panic=self.run.panic_id, account=self.account)

    def _await_clear(self) -> float | None:
        sweep = self._sweep()
        if sweep.state in Sweep.OVER:
            return None
        if not self._is_late():
            return PAUSE_S
        within = f"{settings.CANARY_CLEAR_WITHIN_S} s"
        self._end(State.FAILED, f"panic {sweep.panic_id} is not clear after {within}: {sweep.last_word}")
        return None

    # ---- the proof ----

    def _ask_for_each(self) -> float | None:
        """Ask the venue for each order by its id, and end the run by what it says."""
        proven = self._is_own and self._sweep().state == Sweep.State.CLEAR
        asked = {family: self._ask(one) for family, one in self.placed.items() if one["fate"] in _STANDING}
        self._save(checks=self.run.checks + 1)
        fates = [told.get("fate") for told in asked.values()]
        # An order that cannot be asked for may be asked for later. Where another panic sweeps, or a person
        # took the sweep away, no clear is contradicted yet by an order that is open.
        patient = None in fates or (Fate.OPEN in fates and not proven)
        doubtful = patient or Fate.OPEN in fates or Fate.LOST in fates
        if doubtful and (self.run.checks < CHECKS or (patient and not self._is_late())):
            return PAUSE_S
        for family, told in asked.items():
            escaped = proven and told.get("fate") == Fate.OPEN
            self.placed[family] |= told | ({"fate": Fate.ESCAPED} if escaped else {})
        self._keep()
        self._conclude(proven)
        return None

    def _ask(self, one: dict[str, Any]) -> dict[str, Any]:
        """What the venue says of an order, by its id: its fate, or why there is none to be had."""
        try:
            order = self.adapter.order(_ref(one))
            if order.state is OrderState.TRIGGERED and order.successor_id:
                book = self.venue.family(one["family"]).triggers_into
                order = self.adapter.order(OrderRef(book, order.symbol, order.successor_id))
        except (BudgetSpent, RateLimited):
            raise
        except OrderNotFound as exc:
            return {"fate": Fate.LOST if one["venue_order_id"] else Fate.NOT_FOUND, "note": str(exc)}
        except VenueError as exc:
            return {"note": str(exc)}
        if order.state.is_open:
            note = f"at the venue it is {order.venue_status}"
            return {"fate": Fate.OPEN, "venue_order_id": order.venue_order_id, "note": note}
        executed = order.filled or order.state in (OrderState.FILLED, OrderState.TRIGGERED)
        return {"fate": Fate.FILLED if executed else Fate.GONE, "venue_order_id": order.venue_order_id}

    def _conclude(self, proven: bool) -> None:
        label = self.venue.label
        if escaped := self._names([Fate.ESCAPED]):
            word = f"{escaped} still open at {label} although panic {self.run.panic_id} says clear"
            self._end(State.ESCAPED, word)
            return
        failures = self._failures()
        if not proven:
            sweep = self._sweep()
            failures.insert(0, f"panic {sweep.panic_id} was not the canary's alone: {sweep.last_word}")
        if failures:
            self._end(State.FAILED, "; ".join(failures))
        else:
            families = ", ".join(map(self._family, self.placed))
            word = f"{families}: swept by panic {self.run.panic_id}, and each order gone by its id"
            self._end(State.HELD, word)

    def _failures(self) -> list[str]:
        """What keeps this run from proving anything, an order at a time."""
        words = {
            Fate.SENT: "sent, and its placing was not answered: {note}",
            Fate.REFUSED: "not placed: {note}",
            Fate.NOT_FOUND: "sent, and nobody knows whether it was placed: {note}",
            Fate.FILLED: "was executed: a position may stand",
            Fate.LOST: "is not known to the venue any more: {note}",
            Fate.OPEN: "may still be open: {note}",
            Fate.GONE: "stood, but was seen in no list of open orders: {note}",
        }
        return [
            f"{self._name(one)} {words[Fate(one['fate'])].format(note=one['note'] or 'no answer')}"
            for one in self.placed.values()
            if one["fate"] != Fate.GONE or not one["listed"]
        ]

    def _names(self, fates: Collection[str]) -> str:
        return ", ".join(self._name(one) for one in self.placed.values() if one["fate"] in fates)

    def _name(self, one: dict[str, Any]) -> str:
        if one["fate"] == Fate.REFUSED:
            return f"{self._family(one['family'])} order"
        order_id = one["venue_order_id"] or one["client_order_id"]
        return f"{self._family(one['family'])} order {order_id} ({one['symbol']})"

    def _family(self, family: str) -> str:
        return self.venue.family(family).label.lower()

    # ---- what is written down ----

    def _end(self, state: str, word: str) -> None:
        """End the run; release what it latched, where that is its own and nothing of it can still stand."""
        panic = self.run.panic
        with transaction.atomic():
            if panic is not None and self._may_release(state):
                if AuditEntry.objects.filter(panic=panic, action=AuditEntry.Action.JOINED).exists():
                    word += f"; somebody joined panic {panic.pk}, so the account stays latched"
                else:
                    reason = f"canary run {self.run.pk} {state}: {word}"
                    panics.release(panic, released_by=None, released_by_name=NAME, reason=reason)
            self._save(state=state, ended_at=timezone.now(), last_word=word)
        level = {State.HELD: logging.INFO, State.FAILED: logging.WARNING}.get(State(state), logging.ERROR)
        logger.log(level, "%s %s: %s", self.run, state, word)

    def _may_release(self, state: str) -> bool:
        settled = all(one["fate"] in _SETTLED for one in self.placed.values())
        return (
            state != State.ESCAPED and settled and self._is_own and self._sweep().state == Sweep.State.CLEAR
        )

    def _keep(self, *changed: dict[str, Any]) -> None:
        self.placed |= {one["family"]: one for one in changed}
        self._save(placed=list(self.placed.values()))

    def _wait(self, wait_s: float, word: str = "") -> None:
        changes = {"last_word": word} if word else {}
        self._save(due_at=timezone.now() + timedelta(seconds=wait_s), **changes)

    def _save(self, **changes: Any) -> None:
        """Write on the run, if it is still ours, and hold it longer. Raises LostRun if not."""
        ours = CanaryRun.objects.filter(pk=self.run.pk, lease_owner=self.run.lease_owner, state=State.RUNNING)
        lease_until = timezone.now() + timedelta(seconds=LEASE_S)
        if not ours.update(lease_until=lease_until, **changes):
            raise LostRun
        for name, value in changes.items():
            setattr(self.run, name, value)

    def _age(self) -> timedelta:
        return timezone.now() - self.run.began_at

    def _is_late(self) -> bool:
        within = timedelta(seconds=settings.CANARY_CLEAR_WITHIN_S)
        return self.run.panicked_at is not None and timezone.now() - self.run.panicked_at > within


def _why_unread(reading: Reading | None) -> str:
    """Why nobody knows what is open on an account now; empty where it is known."""
    if reading is None or (reading.read_at is None and not reading.failure):
        return "it was not read"
    if reading.failure or reading.read_at is None:
        return reading.failure
    if readiness.is_overdue(reading, timezone.now()):
        return f"it was last read on {reading.read_at:%d %b at %H:%M:%S}"
    return ""


def _ref(one: dict[str, Any]) -> OrderRef:
    return OrderRef(one["family"], one["symbol"], one["venue_order_id"], one["client_order_id"])


def _as_told(order: Order) -> dict[str, Any]:
    """What the venue's description of an order changes of it. One that ended at once was not placed."""
    told = {"venue_order_id": order.venue_order_id}
    if order.state.is_open:
        return told | {"fate": Fate.OPEN, "note": ""}
    if order.filled:
        return told | {"fate": Fate.FILLED}
    return told | {"fate": Fate.REFUSED, "note": f"it ended at once: {order.venue_status}"}
