"""Panics: press, join, release. The act behind every button, command and admin action.

A panic is on disk, with a sweep for every account, their latches and the audit entry, in one
transaction, before anything is queued. Pressing is never refused for a doubt about state.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import Error, IntegrityError, OperationalError, models, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from panicboard import audit, countdowns, database, dispatch
from panicboard.models import Account, AuditEntry, Desk, Panic, Sweep

logger = logging.getLogger(__name__)

#: A press can lose against another press at the same instant; it then joins, or takes over.
TRIES = 5


class NothingToSweep(ValueError):
    """The scope holds no account that can be swept. The text names what is wrong and what to do."""


class Latched(ValueError):
    """An account of the scope is latched already. The text names it and the panic that latched it."""


class NotWritten(RuntimeError):
    """The database does not take the press (`why`), so nothing was sent. The text says what to do."""

    def __init__(self, exc: Error) -> None:
        super().__init__(
            f"NOT SENT - the database does not take this press ({type(exc).__name__}), and what is not "
            "written down is not sent: nothing was cancelled by it. Press again; a second press joins the "
            "first. While that does not help, from a shell: manage.py panic --break-glass FILE. Then see the "
            "log: is the disk full, is the database away?"
        )
        self.why = exc


@dataclass(frozen=True)
class Scope:
    """What one press is about."""

    kind: Panic.Scope
    desk: Desk | None = None
    account: Account | None = None
    symbol: str = ""
    order_refs: tuple[dict[str, str], ...] = ()
    #: Leave the orders open that can only reduce a position. Chosen orders are cancelled whatever they are.
    keep_protective: bool = False

    @property
    def whole_accounts(self) -> bool:
        return self.kind in (Panic.Scope.ALL, Panic.Scope.DESK, Panic.Scope.ACCOUNT)

    @property
    def label(self) -> str:
        return self._panic().scope_label

    def accounts(self) -> QuerySet[Account]:
        """Every account in the scope, disabled ones included."""
        every = Account.objects.select_related("venue", "desk")
        if self.kind == Panic.Scope.ALL:
            return every
        if self.kind == Panic.Scope.DESK:
            return every.filter(desk=self.desk)
        return every.filter(pk=self.account.pk) if self.account else every.none()

    def _panic(self) -> Panic:
        return Panic(
            scope=self.kind,
            desk=self.desk,
            account=self.account,
            symbol=self.symbol,
            order_refs=list(self.order_refs),
            keep_protective=self.keep_protective and self.kind != Panic.Scope.ORDERS,
        )


@dataclass(frozen=True)
class Pressed:
    """The panic that a press started, or joined."""

    panic: Panic
    joined: bool


def start(
    scope: Scope,
    *,
    pressed_by: User | None,
    pressed_by_name: str,
    via: Panic.Via,
    reason: str = "",
    held_ms: int | None = None,
    unless_latched: bool = False,
) -> Pressed:
    """Start a panic over the scope, or join the one that is sweeping all of it already.

    The sweeps are queued after the commit. Raises NothingToSweep when the scope holds no enabled account,
    NotWritten when the database does not take the press. `unless_latched` is for what must take no latch
    over, which no person's press minds: it raises Latched.
    """
    try:
        panic, sweeps = _write_down(scope, pressed_by, pressed_by_name, via, reason, held_ms, unless_latched)
    except Error as exc:
        logger.exception("a press by %s is not written down, so it is not sent", pressed_by_name)
        raise NotWritten(exc) from exc
    if not sweeps:
        return Pressed(panic, joined=True)
    if not dispatch.panic([sweep.pk for sweep in sweeps]):
        panic.direct_path = True
        try:
            panic.save(update_fields=["direct_path"])
        except Error as exc:  # it is on its way: only this remark is lost
            logger.warning("%s: the direct path is not written down (%s)", panic, type(exc).__name__)
    logger.warning("panic %s: %s, pressed by %s", panic.pk, panic.scope_label, pressed_by_name)
    return Pressed(panic, joined=False)


def _write_down(
    scope: Scope,
    pressed_by: User | None,
    pressed_by_name: str,
    via: Panic.Via,
    reason: str,
    held_ms: int | None,
    unless_latched: bool,
) -> tuple[Panic, list[Sweep]]:
    """Write a press down. Returns its panic and the sweeps to be queued: none for a panic that it joined."""
    accounts = list(scope.accounts())
    enabled = [account for account in accounts if account.enabled]
    if not enabled:
        raise NothingToSweep(_why_nothing(scope, accounts))
    for attempt in range(TRIES):
        try:
            with transaction.atomic():
                if unless_latched:
                    _refuse_latched(enabled)
                running = _running_over(scope, enabled)
                if running is not None:
                    audit.record(
                        AuditEntry.Action.JOINED,
                        by_name=pressed_by_name,
                        by=pressed_by,
                        panic=running,
                        detail=reason,
                    )
                    return running, []
                if scope.whole_accounts:
                    _lock(enabled)
                panic = scope._panic()
                panic.pressed_at = timezone.now()
                panic.pressed_by, panic.pressed_by_name = pressed_by, pressed_by_name
                panic.pressed_via, panic.reason, panic.held_ms = via, reason, held_ms
                panic.skipped = [account.name for account in accounts if not account.enabled]
                panic.save(force_insert=True)
                sweeps = _make_sweeps(panic, scope, enabled)
                audit.record(
                    AuditEntry.Action.PRESSED,
                    by_name=pressed_by_name,
                    by=pressed_by,
                    panic=panic,
                    detail=reason,
                )
        except IntegrityError:
            if attempt == TRIES - 1:
                raise
            continue
        except OperationalError as exc:
            # A press is not refused because somebody else wrote at the same time.
            if attempt == TRIES - 1 or not database.is_deadlock(exc):
                raise
            continue
        break
    return panic, sweeps


def sweep_now(panic: Panic) -> int:
    """Have every unfinished sweep of a panic go on at once. Returns how many there are."""
    unfinished = panic.sweeps.exclude(state__in=Sweep.OVER)
    unfinished.update(due_at=timezone.now())
    ids = list(unfinished.values_list("pk", flat=True))
    dispatch.sweeps(ids)
    return len(ids)


def give_reason(panic: Panic, reason: str, *, by: User | None, by_name: str) -> None:
    """Write down why; it may come after the press, never before it."""
    with transaction.atomic():
        Panic.objects.filter(pk=panic.pk).update(reason=reason)
        audit.record(AuditEntry.Action.REASON, by_name=by_name, by=by, panic=panic, detail=reason)
    panic.reason = reason


def release(panic: Panic, *, released_by: User | None, released_by_name: str, reason: str) -> int:
    """Release what this panic holds: its latches, and its sweeps that are not clear.

    Starts nothing. Returns how many accounts that were. Raises ValueError for a reason too short.
    """
    latched = Account.objects.filter(latched_by=panic)
    return _release(latched, Q(panic=panic) | Q(account__in=latched), released_by, released_by_name, reason)


def release_accounts(
    accounts: QuerySet[Account], *, released_by: User | None, released_by_name: str, reason: str
) -> int:
    """Release these accounts: their latches, and every sweep of theirs that is not clear.

    Starts nothing. Returns how many accounts that were. Raises ValueError for a reason too short.
    """
    latched = accounts.filter(latched_at__isnull=False)
    return _release(latched, Q(account__in=accounts), released_by, released_by_name, reason)


def _release(
    latched: QuerySet[Account], sweeps: Q, released_by: User | None, released_by_name: str, reason: str
) -> int:
    if not audit.is_reason(reason):
        raise ValueError(audit.GIVE_A_REASON)
    with transaction.atomic():
        unfinished = Sweep.objects.filter(sweeps).exclude(state__in=Sweep.OVER)
        # As a press does, accounts first.
        touched = Q(pk__in=unfinished.values("account")) | Q(pk__in=latched.values("pk"))
        database.locked(Account.objects.filter(touched))
        database.locked(unfinished)
        held: dict[Account, Panic | None] = {}
        held |= {sweep.account: sweep.panic for sweep in unfinished.select_related("account", "panic")}
        held |= {account: account.latched_by for account in latched.select_related("latched_by")}
        unfinished.update(
            state=Sweep.State.RELEASED, last_word=f"released by {released_by_name} before it was clear"
        )
        for account, panic in held.items():
            audit.record(
                AuditEntry.Action.RELEASED,
                by_name=released_by_name,
                by=released_by,
                panic=panic,
                account=account,
                detail=reason,
            )
        latched.update(latched_at=None, latched_by=None)
    for account in held:
        logger.warning("%s released by %s: %s", account.name, released_by_name, reason)
    return len(held)


def is_running(panic: Panic) -> bool:
    """Whether any sweep of this panic still has to become clear."""
    return panic.sweeps.exclude(state__in=Sweep.OVER).exists()


def may_keep(accounts: Sequence[Account]) -> set[int]:
    """The accounts in which a press may leave protective orders open.

    Not where a panic holds the latch that leaves none: what that sweeps, only a release lets stand again.
    """
    pks = {account.pk for account in accounts}
    latching = Sweep.objects.filter(panic=models.F("account__latched_by"), whole_account=True)
    strict = latching.filter(account__in=pks, keep_protective=False)
    return pks - set(strict.values_list("account", flat=True))


def _lock(accounts: Sequence[Account]) -> None:
    """Wait for whoever decides on a heartbeat of these accounts right now: it is decided before this press.

    SQLite has one writer at a time, and this press is it.
    """
    database.locked(Account.objects.filter(pk__in=[account.pk for account in accounts]))


def _refuse_latched(accounts: Sequence[Account]) -> None:
    latched = Account.objects.filter(pk__in=[account.pk for account in accounts], latched_by__isnull=False)
    for account in latched:
        raise Latched(f"{account.name} is latched by panic {account.latched_by_id}")


def _running_over(scope: Scope, accounts: Sequence[Account]) -> Panic | None:
    """The one running panic whose sweeps cover all of this scope, if there is one."""
    running = Sweep.objects.exclude(state__in=Sweep.OVER).filter(account__in=accounts).select_related("panic")
    covering: dict[int, Panic] = {}
    for sweep in running:
        same = (sweep.panic.scope, sweep.panic.symbol, sweep.panic.order_refs) == (
            scope.kind,
            scope.symbol,
            list(scope.order_refs),
        )
        if (sweep.whole_account or same) and (scope.keep_protective or not sweep.keep_protective):
            covering[sweep.account_id] = sweep.panic
    panics = {panic.pk: panic for panic in covering.values()}
    if len(covering) == len(accounts) and len(panics) == 1:
        return next(iter(panics.values()))
    return None


def _make_sweeps(panic: Panic, scope: Scope, accounts: Sequence[Account]) -> list[Sweep]:
    now = panic.pressed_at
    keeping = may_keep(accounts) if panic.keep_protective else set()
    if scope.whole_accounts:
        unfinished = Sweep.objects.filter(account__in=accounts).exclude(state__in=Sweep.OVER)
        database.locked(unfinished).update(
            state=Sweep.State.HANDED_OVER,
            handed_over_to=panic,
            last_word=f"panic {panic.pk} sweeps this account now",
        )
        Account.objects.filter(pk__in=[account.pk for account in accounts]).update(
            latched_at=now, latched_by=panic
        )
        countdowns.withhold(accounts, panic, stop_at=[one for one in accounts if one.pk in keeping])
    # The keeper offers a sweep again when nobody took it in time.
    offer_again_at = now + timedelta(seconds=settings.SWEEP_LEASE_S)
    return Sweep.objects.bulk_create(
        Sweep(
            panic=panic,
            account=account,
            whole_account=scope.whole_accounts,
            keep_protective=account.pk in keeping,
            due_at=offer_again_at,
            last_word="waits for a worker",
        )
        for account in accounts
    )


def _why_nothing(scope: Scope, accounts: Sequence[Account]) -> str:
    if accounts:
        names = ", ".join(account.name for account in accounts)
        return f"{scope.label}: disabled, so nothing was cancelled ({names}). Enable it in the admin."
    if scope.kind == Panic.Scope.ALL:
        return "There are no accounts yet, so there is nothing to cancel. Add one in the admin."
    return f"{scope.label} has no accounts, so there is nothing to cancel."
