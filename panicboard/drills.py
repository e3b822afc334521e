"""Drills: a rehearsal of a panic on the live path, which reads everything and cancels nothing.

Each account is reached and read as its sweep would: with the same credentials, by the same ways out, under
the same limits, family after family in full. The adapter that does it is opened for reading alone: a call of
any other kind raises before it is sent. Nothing here knows of panics, latches or countdowns but to let a
panic go first. What is read is paid from the share of background readings, never from the panics' reserve,
so a large firm takes minutes: an account that has to wait says so, and holds no worker.
"""

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from panicboard import audit, board_state, credentials, dispatch, leases, readings, turns
from panicboard.budgets import AccountBudget, Work
from panicboard.models import Account, AuditEntry, Drill, DrilledAccount, Reading, Sweep
from panicboard.panics import Scope
from panicboard.readiness import READY
from panicboard.venues import VENUES, calls
from panicboard.venues.base import Access, Order, VenueAdapter
from panicboard.venues.errors import BudgetSpent, RateLimited, VenueError, VenueRejected
from panicboard.venues.http import clock_of

logger = logging.getLogger(__name__)

State = DrilledAccount.State

#: A worker holds an account for so long; that of a killed one is offered again then.
LEASE_S = 120.0
#: A queued account that no worker has begun by then is offered again by the keeper; so many at once.
OFFER_AGAIN_S = 15.0
OFFER_AT_ONCE = 200
#: The pause before another try after a reading that broke, and how many tries there are.
AGAIN_S, TRIES = 2.0, 3
#: How soon it is asked again whether a panic still comes first.
PANIC_FIRST_S = 5.0
#: So long at most does an account wait for its limit before it asks again: a window, and a little more.
ASK_AGAIN_S = 75.0
#: What was not read by then is not read in this drill any more.
GIVE_UP_AFTER = timedelta(hours=2)


class NothingToRead(ValueError):
    """The scope holds no account that can be read. The text names what is wrong and what to do."""


@dataclass(frozen=True)
class Begun:
    """The drill that was begun, or the one over the same scope that runs already."""

    drill: Drill
    joined: bool


def start(scope: Scope, *, begun_by: User | None, begun_by_name: str, reason: str = "") -> Begun:
    """Begin a drill over whole accounts; they are queued after the commit.

    Raises NothingToRead when the scope holds no enabled account.
    """
    accounts = list(scope.accounts())
    enabled = [account for account in accounts if account.enabled]
    if not enabled or scope.kind not in Drill.SCOPES:
        disabled = ", ".join(account.name for account in accounts)
        why = f"disabled ({disabled})" if accounts else "there is no account"
        raise NothingToRead(f"{scope.label}: {why}, so there is nothing to rehearse. See to it in the admin.")
    same = Drill.objects.filter(scope=scope.kind, desk=scope.desk, account=scope.account)
    if running := same.filter(_unfinished()).first():
        return Begun(running, joined=True)
    now = timezone.now()
    with transaction.atomic():
        drill = Drill.objects.create(
            scope=scope.kind,
            desk=scope.desk,
            account=scope.account,
            began_at=now,
            begun_by=begun_by,
            begun_by_name=begun_by_name[:150],
            reason=reason,
            skipped=[account.name for account in accounts if not account.enabled],
        )
        rows = DrilledAccount.objects.bulk_create(
            DrilledAccount(drill=drill, account=account, due_at=now, last_word="waits for a worker")
            for account in enabled
        )
        said = f"drill {drill.pk}, {drill.scope_label}: {reason}".removesuffix(": ")
        audit.record(AuditEntry.Action.DRILLED, by_name=begun_by_name, by=begun_by, detail=said)
    logger.info("%s begun by %s", drill, begun_by_name)
    # The keeper queues the others: nobody waits while a thousand tasks are sent.
    _offer([row.pk for row in rows[: dispatch.QUEUED_FIRST]])
    return Begun(drill, joined=False)


def is_running(drill: Drill) -> bool:
    """Whether any account of this drill still has to be read."""
    return drill.accounts.exclude(state__in=DrilledAccount.OVER).exists()


def offer_due() -> int:
    """Queue every account whose wait is over and that nobody holds. Returns how many there were."""
    due = _free().filter(due_at__lte=timezone.now()).order_by("due_at", "pk")
    return _offer(list(due.values_list("pk", flat=True)[:OFFER_AT_ONCE]))


def read(row_id: int) -> None:
    """Read one account of a drill in full and measure it, or say what it waits for.

    Nothing while another worker does, or once it is over.
    Raises nothing but what is a bug, and puts that on the drill's page first.
    """
    owner = f"{leases.process_name()}:{uuid.uuid4().hex[:8]}"
    until = timezone.now() + timedelta(seconds=LEASE_S)
    if not _free().filter(pk=row_id).update(lease_owner=owner, lease_until=until):
        return
    ways = ("account__venue", "account__desk", "account__egress", "account__second_egress")
    row = DrilledAccount.objects.select_related("drill", *ways).get(pk=row_id)
    try:
        _work_on(row)
    except Exception as exc:
        logger.exception("%s failed", row)
        _save(row, **_failed(f"panicboard failed ({type(exc).__name__}); see the log"))
        raise
    finally:
        mine = DrilledAccount.objects.filter(pk=row_id, lease_owner=owner)
        mine.update(lease_owner="", lease_until=None)


def _unfinished() -> Q:
    unfinished = DrilledAccount.objects.exclude(state__in=DrilledAccount.OVER)
    return Q(pk__in=unfinished.values("drill"))


def _free() -> QuerySet[DrilledAccount]:
    lapsed = Q(lease_until=None) | Q(lease_until__lt=timezone.now())
    return DrilledAccount.objects.filter(lapsed).exclude(state__in=DrilledAccount.OVER)


def _offer(row_ids: Sequence[int]) -> int:
    if row_ids:
        again_at = timezone.now() + timedelta(seconds=OFFER_AGAIN_S)
        DrilledAccount.objects.filter(pk__in=row_ids).update(due_at=again_at)
        dispatch.queue("read_for_drill", row_ids, expires_s=OFFER_AGAIN_S)
    return len(row_ids)


def _work_on(row: DrilledAccount) -> None:
    now, drill = timezone.now(), row.drill
    if not row.account.enabled:
        _save(row, **_failed("disabled since the drill began: neither read nor swept"))
    elif now - drill.began_at > GIVE_UP_AFTER:
        hours = GIVE_UP_AFTER.total_seconds() / 3600
        _save(row, **_failed(f"not read within {hours:g} hours: {row.last_word}"))
    elif _panic_comes_first(row.account):
        _save(row, **_waits(PANIC_FIRST_S, "a panic comes first"))
    elif _save(row, state=State.READING, began_at=row.began_at or now, last_word="reads every family"):
        with calls.counted() as made:
            changes = _try(row)
        _save(row, **changes, **_measured(row, made))


def _panic_comes_first(account: Account) -> bool:
    swept = Sweep.objects.filter(account=account).exclude(state__in=Sweep.OVER)
    return swept.exists() or turns.somebody_waits(account)


def _try(row: DrilledAccount) -> dict[str, Any]:
    """Reach the account and read it whole. Returns what to write down of it."""
    account = row.account
    limit = VENUES[account.venue.adapter].listing_limit()
    paid = False
    try:
        budget = AccountBudget(account, Work.READ, keep_free=readings.weight_of_all_cancels(account))
        adapter = budget.open_adapter(reads_only=True)
        # All of it or nothing: half a reading would only cost weight.
        budget.prepay(limit, _weight(adapter, account))
        paid = True
        access = adapter.check_access()
        began_at, began_s = timezone.now(), time.monotonic()
        families, orders = _list(adapter)
        read_ms = _ms_since(began_s)
    except BudgetSpent as exc:
        if paid and limit.per == "key" and not exc.refused:
            return _failed(f"its pages are more than a drill may read: {exc}")
        return _waits(exc.retry_after_ms / 1000, f"waits for the limit: {exc}")
    except RateLimited as exc:
        until = timezone.now() + timedelta(milliseconds=exc.retry_after_ms)
        return _waits(exc.retry_after_ms / 1000, f"until {until:%H:%M:%S} the venue refuses calls: {exc}")
    except (credentials.CredentialsUnusable, VenueRejected) as exc:
        return _failed(str(exc))
    except VenueError as exc:
        tries = row.tries + 1
        if tries == TRIES:
            return {"tries": tries, **_failed(f"{exc}; tried {TRIES} times")}
        return {"tries": tries, **_waits(AGAIN_S, f"{exc}; try {tries + 1} of {TRIES} comes")}
    # A background reading of it would tell nothing new.
    interval_s = readings.planned_interval_s(account, budget)
    due_at = timezone.now() + timedelta(seconds=interval_s)
    readings.keep(account, orders, began_at, due_at=due_at, interval_s=interval_s)
    cancels = readings.first_cancels(account, Reading.objects.get(account=account).symbols)
    return {
        "read_at": began_at,
        "read_ms": read_ms,
        "families": families,
        "orders": len(orders),
        "protective": sum(order.protective for order in orders),
        "cancels": len(cancels),
        "cancel_weight": sum(call.weight for call in cancels),
        **_ending(account, access),
    }


def _weight(adapter: VenueAdapter, account: Account) -> int:
    """What all calls of one account cost of the limit that its listings are paid from."""
    to_set_the_clock = clock_of(account.venue.base_url).measured_at is None
    listings = sum(listing.weight for listing in adapter.listings(None))
    return listings + adapter.access_weight + to_set_the_clock


def _list(adapter: VenueAdapter) -> tuple[list[dict[str, Any]], list[Order]]:
    """List every family in full, one after the other. Returns what each took and held, and all orders."""
    families: list[dict[str, Any]] = []
    found: list[Order] = []
    for listing in adapter.listings(None):
        began_s = time.monotonic()
        orders = adapter.open_orders(listing)
        family = adapter.family(listing.family)
        families.append(
            {
                "family": family.slug,
                "label": family.label,
                "orders": len(orders),
                "ms": _ms_since(began_s),
            }
        )
        found += orders
    return families, found


def _ending(account: Account, access: Access) -> dict[str, Any]:
    """What an account that was read whole has come to: could a panic have cancelled there?"""
    if not access.can_trade:
        why = access.detail or "the key may not trade"
        return _failed(f"every family was read, but a panic's cancels would be refused: {why}")
    ready = board_state.readiness_of(_beside(account), timezone.now())[account.pk]
    doubt = "" if ready.level == READY else ready.reason
    return {
        "state": State.CLEAR,
        "ended_at": timezone.now(),
        "doubt": doubt,
        "last_word": "every family was read",
    }


def _beside(account: Account) -> list[Account]:
    """The accounts at the same API, by which its readiness is told, too."""
    venue = account.venue
    every = Account.objects.select_related("venue", "reading").defer("reading__orders")
    return list(every.filter(venue__adapter=venue.adapter, venue__base_url=venue.base_url))


def _measured(row: DrilledAccount, made: Sequence[calls.VenueCall]) -> dict[str, Any]:
    """What these calls add to what the account took until now."""
    if not made:
        return {}
    return {
        "first_request_at": row.first_request_at or datetime.fromtimestamp(made[0].at, UTC),
        "calls": row.calls + len(made),
        "weight": row.weight + sum(call.weight for call in made),
    }


def _failed(why: str) -> dict[str, Any]:
    return {"state": State.FAILED, "ended_at": timezone.now(), "last_word": why}


def _waits(seconds: float, why: str) -> dict[str, Any]:
    due_at = timezone.now() + timedelta(seconds=min(seconds, ASK_AGAIN_S))
    return {"state": State.WAITING, "due_at": due_at, "last_word": why}


def _save(row: DrilledAccount, **changes: Any) -> bool:
    """Write on the account, if it is still ours. Returns whether it is."""
    mine = DrilledAccount.objects.filter(pk=row.pk, lease_owner=row.lease_owner)
    if not mine.exclude(state__in=DrilledAccount.OVER).update(**changes):
        return False
    for name, value in changes.items():
        setattr(row, name, value)
    return True


def _ms_since(began_s: float) -> int:
    return round((time.monotonic() - began_s) * 1000)
