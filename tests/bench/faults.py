"""From the press to the clear of healthy accounts, while another account of their venue gets no answer.

The peer is the same panic without that account: what is left of 1 is the delay it causes. It stays stuck
until the healthy accounts are clear, and its panic is over before the next one begins.
"""

import statistics
import time
from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from panicboard import panics as acts
from panicboard import readings
from panicboard.models import Account, Panic, Reading, Sweep, Venue
from panicboard.panics import Scope
from tests.bench.__main__ import Figure
from tests.bench.product import running
from tests.factories import make_account
from tests.simulator_process import SimulatorProcess

ADAPTER, SYMBOL = "binance-usdm", "BTCUSDT"
HEALTHY = 20
LATENCY_MS = 50
ROUNDS = 4
NO_LIMIT = 100_000_000
LONGER_THAN_A_ROUND_S = 600


def run() -> Iterator[Figure]:
    """Measure rounds with and without the hung account by turns. The first of each only warms."""
    with running("--limits", "off") as (venue, _):
        venue.control("POST", "latency", {"fixed_ms": LATENCY_MS})
        Account.objects.update(enabled=False)
        accounts = [_make_account(venue, f"healthy-{number:02}") for number in range(HEALTHY)]
        hung = _make_account(venue, "hung")
        Venue.objects.update(limit_override=NO_LIMIT)
        taken = [(_press(venue, accounts, None), _press(venue, accounts, hung)) for _ in range(ROUNDS + 1)]
    alone, beside = (statistics.median(times) for times in zip(*taken[1:], strict=True))
    yield Figure(
        f"clear_beside_a_hung_account_{HEALTHY}",
        round(beside, 1),
        "ms",
        "the same, nobody hung",
        round(alone, 1),
        round(alone / beside, 2),
    )


def _make_account(venue: SimulatorProcess, name: str) -> Account:
    """An account with a known symbol in both books."""
    account = make_account(venue, ADAPTER, name)
    now = timezone.now()
    reading = readings.ensure(account)
    symbols = {f"{family} {SYMBOL}": now.isoformat() for family in ("conditional", "ordinary")}
    Reading.objects.filter(pk=reading.pk).update(
        symbols=symbols, read_at=now, due_at=now + timedelta(hours=1)
    )
    return account


def _press(venue: SimulatorProcess, healthy: list[Account], hung: Account | None) -> float:
    """One panic. Returns the ms from its press until the last healthy account was clear."""
    for account in [*healthy, hung] if hung else healthy:
        venue.seed(account.name, SYMBOL, count=3)
    Account.objects.filter(name="hung").update(enabled=hung is not None)
    if hung is not None:
        venue.fault("hang", account=hung.name, path="*rder*", seconds=LONGER_THAN_A_ROUND_S, done="never")
    panic = acts.start(
        Scope(Panic.Scope.ALL), pressed_by=None, pressed_by_name="bench", via=Panic.Via.BOARD
    ).panic
    swept = panic.sweeps.filter(account__in=healthy)
    while swept.exclude(state=Sweep.State.CLEAR).exists():
        time.sleep(0.05)
    assert hung is None or acts.is_running(panic), "the hung account was no obstacle"
    venue.clear_faults()
    while acts.is_running(panic):
        time.sleep(0.05)
    acts.release(panic, released_by=None, released_by_name="bench", reason="the next round of the bench")
    latest = max(sweep.clear_at for sweep in swept if sweep.clear_at)
    return (latest - panic.pressed_at).total_seconds() * 1000
