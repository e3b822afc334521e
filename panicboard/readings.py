"""Reading accounts at their venues: what is open now, how old that is, and when to look again.

Background readings are paid from the share that leaves the panics' reserve whole. Their interval
stretches until all accounts behind one limit fit into that share; every number they give carries its
age. A reading counts only when every family was listed to its end: never a part of one.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from panicboard import credentials, database, turns
from panicboard.budgets import AccountBudget, Work
from panicboard.models import Account, Countdown, Reading, Sweep
from panicboard.venues import VENUES
from panicboard.venues.base import BookSymbol, MassCancel, Order, OrderState, VenueAdapter, VenueCountdown
from panicboard.venues.errors import BudgetSpent, RateLimited, VenueError, VenueRejected
from panicboard.venues.http import clock_of

logger = logging.getLogger(__name__)

#: A symbol that held an order within this time is cancelled first in a panic.
REMEMBER_SYMBOLS = timedelta(hours=24)
#: A failing account is read again after this.
RETRY_S = 5
#: What an account without countdowns of its own is told when it asks for them, on Binance options.
NO_MARKET_MAKER = "-6005"


def to_record(order: Order) -> dict[str, Any]:
    """An order as it is kept in `Reading.orders`; ids stay strings, amounts become text."""

    def text(value: Decimal | None) -> str | None:
        return None if value is None else format(value, "f")

    return {
        "family": order.family,
        "symbol": order.symbol,
        "venue_order_id": order.venue_order_id,
        "client_order_id": order.client_order_id,
        "list_id": order.list_id,
        "side": order.side,
        "order_type": order.order_type,
        "quantity": text(order.quantity),
        "filled": text(order.filled),
        "price": text(order.price),
        "trigger_price": text(order.trigger_price),
        "protective": order.protective,
        "placed_at": order.placed_at.isoformat() if order.placed_at else None,
    }


def from_record(record: dict[str, Any]) -> Order:
    """The open order that `to_record` kept."""

    def number(value: str | None) -> Decimal | None:
        return None if value is None else Decimal(value)

    placed_at = record["placed_at"]
    return Order(
        family=record["family"],
        symbol=record["symbol"],
        venue_order_id=record["venue_order_id"],
        client_order_id=record["client_order_id"],
        state=OrderState.OPEN,
        venue_status="",
        side=record["side"],
        order_type=record["order_type"],
        quantity=number(record["quantity"]) or Decimal(0),
        filled=number(record["filled"]) or Decimal(0),
        price=number(record["price"]),
        trigger_price=number(record["trigger_price"]),
        protective=record["protective"],
        list_id=record["list_id"],
        placed_at=datetime.fromisoformat(placed_at) if placed_at else None,
    )


def known_symbols(reading: Reading | None) -> set[BookSymbol]:
    """Every book symbol that held an order of this account lately."""
    if reading is None:
        return set()
    return {BookSymbol(*key.split(" ", 1)) for key in reading.symbols}


def read(account: Account) -> None:
    """Read every family of one account and keep the result, or the reason why there is none."""
    reading = ensure(account)
    if turns.somebody_waits(account):
        _later(reading, timedelta(seconds=RETRY_S))
        return
    budget = AccountBudget(account, Work.READ, keep_free=weight_of_all_cancels(account))
    interval_s = planned_interval_s(account, budget)
    due_at = timezone.now() + timedelta(seconds=interval_s)
    limit = VENUES[account.venue.adapter].listing_limit()
    paid = False
    try:
        adapter = budget.open_adapter()
        began_at = timezone.now()
        listings = adapter.listings(None)
        # All of it or nothing: half a reading would only cost weight.
        budget.prepay(limit, sum(listing.weight for listing in listings))
        paid = True
        orders = [order for listing in listings for order in adapter.open_orders(listing)]
        countdowns = _countdowns(adapter)
    except BudgetSpent as exc:
        wait = timedelta(milliseconds=exc.retry_after_ms)
        if exc.refused:  # the venue told another account: a panic of this one would get nowhere either
            fail(reading, str(exc), wait)
        elif paid and limit.per == "key":
            # Of many pages, more than a reading can be planned for: it may never come to its end.
            fail(reading, f"its pages are more than could be read: {exc}", wait)
        else:
            # Not a failure: the limit's share is used up. The age on the board tells.
            _later(reading, wait)
    except RateLimited as exc:
        wait = timedelta(milliseconds=exc.retry_after_ms)
        said = f"until {timezone.now() + wait:%H:%M:%S} the venue refuses calls: {exc}"
        fail(reading, said, max(wait, timedelta(seconds=max(RETRY_S, interval_s))))
    except (credentials.CredentialsUnusable, VenueError) as exc:
        fail(reading, str(exc), timedelta(seconds=max(RETRY_S, interval_s)))
    else:
        keep(account, orders, began_at, due_at=due_at, interval_s=interval_s)
        if orders:
            # A latched account has orders again: its sweep goes on at once.
            Sweep.objects.filter(Sweep.WATCHED, account=account).update(due_at=timezone.now())
        if countdowns is not None:
            _keep_countdowns(account, countdowns, began_at)


def first_cancels(account: Account, symbols: Iterable[str]) -> list[MassCancel]:
    """The mass cancels that a panic would begin with, by the symbols known of (as in `Reading.symbols`)."""
    books = {BookSymbol(*key.split(" ", 1)) for key in symbols}
    return VENUES[account.venue.adapter].mass_cancels(books, whole_account=True)


def cancel_weight(account: Account, symbols: Iterable[str]) -> int:
    """What these mass cancels cost of the venue's limit."""
    return sum(call.weight for call in first_cancels(account, symbols))


def weight_of_all_cancels(account: Account) -> int:
    """What the cancels of every account behind this one's limit cost, in about: a panic needs it all at once.

    A tenth is added, for clocks that have to be read, and for symbols that came since.
    """
    enabled = Account.objects.filter(turns.behind_the_same_limit(account), enabled=True)
    weight: int = enabled.aggregate(weight=Sum("reading__cancel_weight"))["weight"] or 0
    return weight + weight // 10


def ensure(account: Account) -> Reading:
    """The account's reading row, made due at once where there is none yet."""
    reading, _ = Reading.objects.get_or_create(account=account, defaults={"due_at": timezone.now()})
    return reading


def keep(
    account: Account,
    orders: list[Order],
    began_at: datetime,
    *,
    due_at: datetime | None = None,
    interval_s: float | None = None,
) -> None:
    """Keep a complete reading of every family, as old as its first call.

    One that began before what is kept already comes too late, and is dropped: a sweep may have read the
    account meanwhile.
    """
    reading = ensure(account)
    seen = {f"{order.family} {order.symbol}": began_at.isoformat() for order in orders}
    forgotten = (began_at - REMEMBER_SYMBOLS).isoformat()
    symbols = {key: at for key, at in {**reading.symbols, **seen}.items() if at > forgotten}
    conditional = {family.slug for family in VENUES[account.venue.adapter].families if family.conditional}
    changes: dict[str, Any] = {
        "read_at": began_at,
        "orders": [to_record(order) for order in orders],
        "symbols": symbols,
        "open_count": len(orders),
        "conditional_count": sum(order.family in conditional for order in orders),
        "protective_count": sum(order.protective for order in orders),
        "failure": "",
        "failing_since": None,
        "clock_offset_ms": clock_of(account.venue.base_url).offset_ms,
        "cancel_weight": cancel_weight(account, symbols),
    }
    if due_at is not None:
        changes["due_at"] = due_at
    if interval_s is not None:
        changes["planned_interval_s"] = interval_s
    newer = Q(read_at=None) | Q(read_at__lt=began_at)
    if not Reading.objects.filter(newer, pk=reading.pk).update(**changes) and due_at is not None:
        Reading.objects.filter(pk=reading.pk).update(due_at=due_at)


def fail(reading: Reading, why: str, wait: timedelta) -> None:
    """Keep why an account could not be read, and since when; what was last read stays, with its age."""
    now = timezone.now()
    logger.warning("%s could not be read: %s", reading.account.name, why)
    Reading.objects.filter(pk=reading.pk).update(
        failure=why, failing_since=reading.failing_since or now, due_at=now + wait
    )


def fail_unexpectedly(account: Account, exc: Exception) -> None:
    """Put an error that nobody expected on the board."""
    why = f"panicboard failed to read it ({type(exc).__name__}); see the log"
    fail(ensure(account), why, timedelta(seconds=RETRY_S))


def _later(reading: Reading, wait: timedelta) -> None:
    Reading.objects.filter(pk=reading.pk).update(due_at=timezone.now() + wait)


def _countdowns(adapter: VenueAdapter) -> list[VenueCountdown] | None:
    """The countdowns that the venue says are set; None where it cannot tell."""
    if not adapter.has_countdown_read:
        return None
    try:
        return adapter.countdowns()
    except VenueRejected as exc:
        if exc.code == NO_MARKET_MAKER:
            return []
        raise


def read_countdowns(account: Account) -> None:
    """Ask an account's venue which countdowns it has running, and keep what it says.

    What stands in the way shows in the age of what it last said.
    """
    try:
        adapter = AccountBudget(account, Work.HEARTBEAT).open_adapter()
        began_at = timezone.now()
        told = _countdowns(adapter)
    except (credentials.CredentialsUnusable, VenueError) as exc:
        logger.warning("%s: its countdowns could not be read: %s", account.name, exc)
        return
    if told is not None:
        _keep_countdowns(account, told, began_at)


def _keep_countdowns(account: Account, countdowns: list[VenueCountdown], began_at: datetime) -> None:
    """Keep what the venue says of every countdown, those among them that somebody else has set there.

    One about which a call was under way, or has been made since, may be told of as it was before: it is left.
    """
    with transaction.atomic():
        every = database.locked(Countdown.objects.filter(account=account).exclude(scope=""))
        # What is still to be set was not there yet: that it is not says nothing.
        told = every.exclude(phase=Countdown.Phase.ARMING, to_set=True)
        told = told.filter(Q(in_flight_until=None) | Q(in_flight_until__lt=began_at))
        told = told.filter(Q(sent_at=None) | Q(acked_at=None) | Q(acked_at__lt=began_at))
        told.exclude(scope__in=[c.scope for c in countdowns]).update(venue_ms=0, venue_read_at=began_at)
        told.filter(armed_at=None, venue_ms=0).delete()  # it was somebody else's, and is gone
        for countdown in countdowns:
            mine = told.filter(scope=countdown.scope)
            mine.update(venue_ms=countdown.countdown_ms, venue_read_at=began_at)
            mine.filter(armed_at=None).update(countdown_ms=countdown.countdown_ms)
        known = set(every.values_list("scope", flat=True))
        Countdown.objects.bulk_create(
            [
                Countdown(
                    account=account,
                    scope=countdown.scope,
                    countdown_ms=countdown.countdown_ms,
                    phase=Countdown.Phase.DISARMED,
                    venue_ms=countdown.countdown_ms,
                    venue_read_at=began_at,
                    last_word="set at the venue, and not by panicboard",
                )
                for countdown in countdowns
                if countdown.scope not in known
            ],
            ignore_conflicts=True,
        )


def planned_interval_s(account: Account, budget: AccountBudget) -> float:
    """How often this account may be read so that all accounts behind the same limit fit into its share."""
    enabled = Account.objects.filter(enabled=True)
    # A tenth is left for what a reading costs besides its listings.
    weight = 1.1 * reading_weight(VENUES[account.venue.adapter])
    return max(settings.READ_INTERVAL_S, _interval_s(account, budget, weight, enabled))


def watch_interval_s(account: Account, symbols: int) -> float:
    """How often a latched account may be looked at: all that are latched, within a quarter of the limit."""
    latched = Account.objects.filter(enabled=True, latched_by__isnull=False)
    return _interval_s(account, AccountBudget(account, Work.PANIC), 4 * max(1, symbols), latched)


def _interval_s(account: Account, budget: AccountBudget, weight: float, sharing: QuerySet[Account]) -> float:
    """The time between two works of this weight, when each of these accounts has one in turn."""
    limit = VENUES[account.venue.adapter].listing_limit()
    sharers = 1
    if limit.per == "address":
        sharers = max(1, sharing.filter(turns.behind_the_same_limit(account)).count())
    return weight * sharers * limit.window_s / max(1, budget.cap(limit))


def reading_weight(adapter: type[VenueAdapter]) -> int:
    """What one full reading of an account costs of the adapter's listing limit."""
    return sum(listing.weight for listing in adapter.listings(None))
