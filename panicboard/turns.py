"""Whose turn it is where a venue's limit spreads a panic's full listings: the most doubtful account first.

A full listing costs as much as dozens of cancels, and every account behind one address needs one. A sweep
that has to wait writes down when its turn comes; all that wait behind the same limit are one queue, told
from the database, so that every process sees the same order, and a dead one cannot hold it up. Readings
in the background, and looks at latched accounts, come after it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, Max, Q, QuerySet

from panicboard.models import Account, Sweep


class SharedLimit(NamedTuple):
    """What a limit by address is counted for: one venue API, and one way out (None: the usual one)."""

    base_url: str
    adapter: str
    egress_id: int | None


@dataclass(frozen=True, slots=True)
class ToCome:
    """How many full listings wait behind one limit, and when the last of them comes."""

    count: int
    last_at: datetime


def shared_limit(account: Account) -> SharedLimit:
    """The limit by address that an account shares with all that have the same."""
    return SharedLimit(account.venue.base_url, account.venue.adapter, account.egress_id)


def behind_the_same_limit(account: Account) -> Q:
    """Which accounts share this one's limit by address, as a condition on accounts."""
    base_url, adapter, egress_id = shared_limit(account)
    return Q(venue__base_url=base_url, venue__adapter=adapter, egress=egress_id)


def ahead_of(sweep: Sweep) -> int:
    """How many full listings come before this sweep's: of those that wait, the most doubtful first."""
    before = Q(doubt__gt=sweep.doubt)
    if sweep.known_empty_at is not None:
        earlier = Q(known_empty_at=sweep.known_empty_at, pk__lt=sweep.pk)
        before |= Q(doubt=sweep.doubt) & (Q(known_empty_at__lt=sweep.known_empty_at) | earlier)
    if sweep.reopened:
        before |= Q(reopened=0)  # first what no reading has proven clear yet
    else:
        before &= Q(reopened=0)
    return _waiting(sweep.account).filter(before).exclude(pk=sweep.pk).count()


def to_come_before(sweep: Sweep) -> int:
    """How many full listings will come before this sweep's, whose known symbols still have to be read."""
    unfinished = _sweeps_behind(sweep.account).exclude(state__in=Sweep.OVER).filter(full_empty_at=None)
    waiting = Q(known_empty_at__isnull=False)
    return unfinished.filter(waiting | Q(pk__lt=sweep.pk)).exclude(pk=sweep.pk).count()


def still_cancelling(sweep: Sweep) -> int:
    """How many other sweeps behind the same limit have their first reading of known symbols to come."""
    beginning = Q(state__in=(Sweep.State.QUEUED, Sweep.State.CANCELLING), round__lte=1, known_empty_at=None)
    return _sweeps_behind(sweep.account).filter(beginning).exclude(pk=sweep.pk).count()


def somebody_waits(account: Account) -> bool:
    """Whether a panic's full listing waits for the limit that this account shares."""
    return _waiting(account).filter(reopened=0).exists()


def listings_to_come() -> dict[SharedLimit, ToCome]:
    """The full listings that wait, by limit; also those to which a sweep that still cancels looks forward."""
    counted = (
        Sweep.objects.filter(
            Q(state=Sweep.State.READING_BACK, known_empty_at__isnull=False)
            | Q(state__in=(Sweep.State.QUEUED, Sweep.State.CANCELLING)),
            whole_account=True,
            full_listing_at__isnull=False,
            full_empty_at=None,
        )
        .values_list("account__venue__base_url", "account__venue__adapter", "account__egress")
        .annotate(Count("pk"), Max("full_listing_at"))
        .order_by()
    )
    return {SharedLimit(*key): ToCome(count, last_at) for *key, count, last_at in counted}


def _sweeps_behind(account: Account) -> QuerySet[Sweep]:
    accounts = Account.objects.filter(behind_the_same_limit(account))
    return Sweep.objects.filter(account__in=accounts, whole_account=True)


def _waiting(account: Account) -> QuerySet[Sweep]:
    waits = Q(state=Sweep.State.READING_BACK, full_listing_at__isnull=False, full_empty_at=None)
    return _sweeps_behind(account).filter(waits)
