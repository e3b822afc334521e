"""The latch: after a panic its accounts are looked at, and swept again, until a person releases them.

Sweeping, not blocking: a venue may still take new orders. What a look finds is swept like the panic's first
orders, until it is clear again. Looks, and the full listings of these sweeps, may use half of the panics'
reserve: right after a panic the reads' share is used up, and the next panic needs the other half.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError
from django.db.models import Max
from django.utils import timezone

from panicboard import readings, turns
from panicboard.budgets import AccountBudget, Work
from panicboard.credentials import CredentialsUnusable
from panicboard.leases import LostLease
from panicboard.models import Sweep, SweptOrder
from panicboard.sweeper import ASK_AGAIN_S, WATCH_QUIET_S, WATCH_S, Sweeper
from panicboard.swept_orders import SweptOrders
from panicboard.venue_work import STILL_COMING, seen_lately
from panicboard.venues.base import BookSymbol, Order
from panicboard.venues.errors import BudgetSpent, RateLimited, UnknownSymbol, VenueError

logger = logging.getLogger(__name__)

#: How the last word of a clear sweep begins whose account could not be looked at.
NOT_LOOKED_AT = "latched, but could not be looked at"


def look(sweeper: Sweeper) -> None:
    """List what is known of the clear, latched account; when anything is open, sweep it to a new clear.

    Raises LostLease when it was released, or a later panic sweeps the account.
    """
    sweep, began_at = sweeper.sweep, timezone.now()
    wait_s, changes = 0.0, dict[str, Any]()
    try:
        found = _open_orders(sweeper)
    except (BudgetSpent, RateLimited) as exc:
        if isinstance(exc, BudgetSpent) and _orders_keep_coming(sweep):
            # A cancel costs next to nothing: rather one for nothing than orders that stand until we may look.
            _sweep_again(sweeper, [], "orders keep coming, and the limit holds looks back; cancelling")
            return
        wait_s = min(exc.retry_after_ms / 1000, ASK_AGAIN_S)
        if isinstance(exc, RateLimited):
            until = timezone.now() + timedelta(milliseconds=exc.retry_after_ms)
            changes = _not_looked_at(began_at, f"until {until:%H:%M:%S} the venue refuses calls: {exc}")
        elif exc.refused:
            changes = _not_looked_at(began_at, str(exc))
    except (CredentialsUnusable, VenueError) as exc:
        logger.warning("%s: latched, and could not be looked at: %s", sweep, exc)
        changes = _not_looked_at(began_at, str(exc))
    else:
        if found:
            _sweep_again(sweeper, found, f"{len(found)} open again since it was clear; cancelling")
            return
        changes = {"watched_at": began_at}
        if not sweep.last_word.startswith("NO OPEN ORDERS"):
            changes["last_word"] = f"{sweep.nothing_open} - read back {sweep.read_back_at:%H:%M:%S}"
    wait_s = max(wait_s, _interval_s(sweeper))
    _save(sweep, due_at=timezone.now() + timedelta(seconds=wait_s), **changes)


def _not_looked_at(at: datetime, why: str) -> dict[str, Any]:
    return {"last_word": f"{NOT_LOOKED_AT} ({at:%H:%M:%S}): {why}"}


def _open_orders(sweeper: Sweeper) -> list[Order]:
    if turns.somebody_waits(sweeper.account):
        said = "full listings of a panic come first"
        raise BudgetSpent(said, retry_after_ms=round(WATCH_S * 1000))
    budget = AccountBudget(sweeper.account, Work.LOOK)
    sweeper.adapter = adapter = budget.open_adapter()

    def read(symbols: set[BookSymbol] | None) -> list[Order]:
        listings = adapter.listings(symbols, quick=symbols is not None)
        budget.prepay(adapter.listing_limit(), sum(listing.weight for listing in listings))
        return [order for order in sweeper.list_orders(listings) if sweeper.concerns(order)]

    try:
        return read(sweeper.known or None)
    except UnknownSymbol:
        return read(None)  # every known symbol is gone from the venue


def _orders_keep_coming(sweep: Sweep) -> bool:
    latest = sweep.orders.filter(placed_after=True).aggregate(at=Max("seen_at"))["at"]
    return seen_lately(latest, STILL_COMING)


def _interval_s(sweeper: Sweeper) -> float:
    """How soon to look again: soon while orders keep coming, but as the limit allows."""
    shortest_s = WATCH_S if _orders_keep_coming(sweeper.sweep) else WATCH_QUIET_S
    return max(shortest_s, readings.watch_interval_s(sweeper.account, len(sweeper.known)))


def _sweep_again(sweeper: Sweeper, found: list[Order], why: str) -> None:
    """The sweep is not clear any more; what was placed since is cancelled like the panic's first orders."""
    sweep = sweeper.sweep
    try:
        _save(
            sweep,
            state=Sweep.State.CANCELLING,
            known_empty_at=None,
            full_empty_at=None,
            clear_at=None,
            watched_at=None,
            to_read=False,
            failures=0,
            reopened=sweep.reopened + 1,
            last_word=why,
        )
    except IntegrityError:
        raise LostLease from None  # a later panic sweeps the account by now
    orders = SweptOrders.load(sweep)
    for order in found:
        orders.see(order, SweptOrder.Outcome.SENT)
    orders.flush()
    sweeper.go()


def _save(sweep: Sweep, **changes: Any) -> None:
    """Write on the watched sweep, if it is ours and its account latched. Raises LostLease if not."""
    ours = Sweep.objects.filter(Sweep.WATCHED, pk=sweep.pk, lease_owner=sweep.lease_owner)
    if not ours.update(**changes):
        raise LostLease
    for name, value in changes.items():
        setattr(sweep, name, value)
