"""Rows for the tests of pages: accounts that nobody reads, panics that nobody works on."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group, User

from panicboard.models import (
    Account,
    CanaryRun,
    Drill,
    DrilledAccount,
    Panic,
    Reading,
    Sweep,
    SweptOrder,
)
from tests.factories import make_desk, make_venue

NOWHERE = "http://127.0.0.1:9"
PASSWORD = "open sesame"
PRESSED_AT = datetime(2026, 11, 20, 14, 3, 21, 480_000, tzinfo=UTC)


def after(ms: float) -> datetime:
    """So many milliseconds after the press."""
    return PRESSED_AT + timedelta(milliseconds=ms)


def make_user(name: str = "risk.desk1", group: str = "risk managers") -> User:
    user = User.objects.create_user(name, password=PASSWORD)
    user.groups.add(Group.objects.get(name=group))
    return user


def make_account(
    name: str = "alpha", *, desk: str = "delta", adapter: str = "binance-usdm", **fields: Any
) -> Account:
    fields = {"sealed_credentials": "sealed", **fields}
    return Account.objects.create(
        name=name, desk=make_desk(desk), venue=make_venue(NOWHERE, adapter), **fields
    )


def make_reading(account: Account, open_count: int = 0, **fields: Any) -> Reading:
    fields = {"read_at": PRESSED_AT, "due_at": PRESSED_AT, "planned_interval_s": 5, **fields}
    return Reading.objects.create(account=account, open_count=open_count, **fields)


def make_panic(*accounts: Account, state: str = Sweep.State.QUEUED, **fields: Any) -> Panic:
    """A panic with a sweep for each account, each in this state."""
    fields = {"scope": Panic.Scope.ALL, "pressed_by_name": "risk.desk1", "pressed_via": "board", **fields}
    panic = Panic.objects.create(**{"pressed_at": PRESSED_AT, **fields})
    for account in accounts:
        make_sweep(panic, account, state)
    return panic


def make_sweep(panic: Panic, account: Account, state: str = Sweep.State.QUEUED, **fields: Any) -> Sweep:
    if state == Sweep.State.CLEAR:
        times = ("known_empty_at", "full_empty_at", "read_back_at", "clear_at")
        fields = {**dict.fromkeys(times, after(1106)), **fields}
    return Sweep.objects.create(
        panic=panic, account=account, state=state, **{"due_at": after(2000), **fields}
    )


def make_orders(sweep: Sweep, outcome: str, count: int = 1, **fields: Any) -> list[SweptOrder]:
    first = sweep.orders.count() + 1
    fields = {"family": "ordinary", "symbol": "BTCUSDT", "seen_at": after(60), **fields}
    return [
        SweptOrder.objects.create(
            sweep=sweep,
            venue_order_id=f"{4611875134427365377 + first + number}",
            outcome=outcome,
            **{"outcome_at": after(200), **fields},
        )
        for number in range(count)
    ]


def make_canary_run(account: Account, state: str = "held", **fields: Any) -> CanaryRun:
    """A canary run that began at the press and, unless it is running, ended 9 s after it."""
    ended_at = None if state == CanaryRun.State.RUNNING else after(9000)
    placed = [{"family": family, "fate": "gone"} for family in ("conditional", "ordinary")]
    fields = {"began_at": PRESSED_AT, "ended_at": ended_at, "placed": placed, "due_at": after(2000), **fields}
    return CanaryRun.objects.create(account=account, state=state, **fields)


def make_drill(*accounts: Account, state: str = DrilledAccount.State.CLEAR, **fields: Any) -> Drill:
    """A drill with these accounts, each in this state."""
    fields = {"scope": "all", "began_at": PRESSED_AT, "begun_by_name": "risk.desk1", **fields}
    drill = Drill.objects.create(**fields)
    for account in accounts:
        make_drilled(drill, account, state)
    return drill


def make_drilled(
    drill: Drill, account: Account, state: str = DrilledAccount.State.CLEAR, **fields: Any
) -> DrilledAccount:
    at = drill.began_at
    if state == DrilledAccount.State.CLEAR:
        read = {"read_at": at, "ended_at": at, "read_ms": 71, "last_word": "every family was read"}
        fields = {**read, **fields}
    return DrilledAccount.objects.create(drill=drill, account=account, state=state, due_at=at, **fields)


def latch(panic: Panic, *accounts: Account) -> None:
    for account in accounts:
        account.latched_at, account.latched_by = panic.pressed_at, panic
        account.save(update_fields=["latched_at", "latched_by"])
