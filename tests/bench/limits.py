"""A press under the venue's real limits: many USD-M accounts of five symbols, behind one address and more.

A full listing of an account costs 80 of 2,400 a minute, so the limit decides how long a panic takes. The
peer is the least that it allows: the weight that the plan needs, by the weight a minute of all addresses
together. What else must hold is asserted: every cancel leaves before any listing, and the venue never
has to refuse anything.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import redis
from django.conf import settings
from django.utils import timezone

from panicboard import panics as acts
from panicboard import readings
from panicboard.models import Account, Egress, Panic, Reading, Sweep
from panicboard.venues.base import Order, OrderState
from tests.bench.__main__ import Figure
from tests.bench.product import running
from tests.factories import make_account
from tests.signed_in import Board
from tests.simulator_process import SimulatorProcess
from tests.venue_calls import family_of

#: How many accounts, behind how many addresses.
CASES = ((12, 1), (50, 1), (200, 1), (200, 2), (200, 4))
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT")
BOOKS = ("ordinary", "algo")
WEIGHT_A_MINUTE = 2400
#: Of each account, for each symbol and book: a cancel, a listing, and the query of its one order; then both
#: books in full.
NEEDED = 3 * len(SYMBOLS) * len(BOOKS) + 2 * 40
LISTINGS = ("/fapi/v1/openOrders", "/fapi/v1/openAlgoOrders")


def run() -> Iterator[Figure]:
    """Press once for each case, and wait until everything is clear."""
    with running() as (venue, board):
        for accounts, addresses in CASES:
            yield _figure(venue, board, accounts, addresses)


def _figure(venue: SimulatorProcess, board: Board, size: int, addresses: int) -> Figure:
    _make_accounts(venue, size, addresses)
    since = int(venue.control("GET", "log", limit=0)["last_seq"])
    least_s = size * NEEDED * 60 / WEIGHT_A_MINUTE / addresses
    pressed_at = timezone.now()
    board.press(scope="all")
    panic = Panic.objects.latest("pk")
    _wait_until_clear(panic, 120 + 3 * least_s)
    ended_at = max(panic.sweeps.values_list("clear_at", flat=True))
    log = venue.log(since=since)
    # Without an account: readings of the case before, whose accounts are gone.
    refused = [
        (call["account"], call["path"], call["status"])
        for call in log
        if call["status"] in (418, 429) or (call["account"] and call["status"] != 200)
    ]
    assert not refused, f"the venue refused {len(refused)} calls, as {refused[:3]}"
    cancels: dict[tuple[str, str, str], int] = {}
    for call in log:
        if call["method"] == "DELETE":
            cancels.setdefault((call["account"], call["path"], call["params"]["symbol"]), call["arrived_us"])
    # By symbol: in full, accounts are listed in the background as well.
    listings = [call["arrived_us"] for call in log if call["path"] in LISTINGS and "symbol" in call["params"]]
    assert len(cancels) == size * len(SYMBOLS) * len(BOOKS), f"{len(cancels)} cancels"
    assert max(cancels.values()) < min(listings), "a listing left before the last cancel"
    acts.release(panic, released_by=None, released_by_name="bench", reason="the next case of the bench")
    took_s = (ended_at - pressed_at).total_seconds()
    return Figure(
        f"all_clear_{size}_accounts_{addresses}_address{'es' if addresses > 1 else ''}",
        round(took_s, 1),
        "s",
        "least that the limit allows",
        round(least_s, 1),
        round(least_s / took_s, 2),
    )


def _make_accounts(venue: SimulatorProcess, size: int, addresses: int) -> None:
    """Accounts whose orders are all known from a reading, and that go on being read in the background."""
    Account.objects.update(enabled=False)
    venue.reset()
    with redis.Redis.from_url(settings.REDIS_URL) as client:  # as if a quiet minute had passed
        for key in client.scan_iter("panicboard:budget:*"):
            client.delete(key)
    egresses = [
        Egress.objects.get_or_create(name=f"address {n}", source_address=f"127.0.0.{n}")[0]
        for n in range(2, 2 + addresses)
    ]
    now = timezone.now()
    for number in range(size):
        account = make_account(venue, "binance-usdm", f"usdm-{size}-{addresses}-{number:04d}")
        Account.objects.filter(pk=account.pk).update(egress=egresses[number % addresses])
        specs = [
            {"account": account.name, "book": book, "symbol": symbol} for book in BOOKS for symbol in SYMBOLS
        ]
        seeded = venue.control("POST", "orders", {"orders": specs})["orders"]
        orders = [_order(one) for one in seeded]
        symbols = {f"{order.family} {order.symbol}": now.isoformat() for order in orders}
        Reading.objects.filter(pk=readings.ensure(account).pk).update(
            read_at=now,
            due_at=now + timedelta(seconds=number % 60),
            orders=[readings.to_record(order) for order in orders],
            symbols=symbols,
            cancel_weight=readings.cancel_weight(account, symbols),
        )


def _order(seeded: dict[str, Any]) -> Order:
    """An order of the simulator's book as a reading would have found it."""
    return Order(
        family=family_of(seeded),
        symbol=seeded["symbol"],
        venue_order_id=seeded["order_id"],
        client_order_id=seeded["client_order_id"],
        state=OrderState.OPEN,
        venue_status=seeded["status"],
        side=seeded["side"],
        order_type=seeded["type"],
        quantity=Decimal(seeded["quantity"]),
        filled=Decimal(seeded["executed"]),
        placed_at=datetime.fromtimestamp(seeded["created_ms"] / 1000, UTC),
    )


def _wait_until_clear(panic: Panic, at_most_s: float) -> None:
    deadline = time.monotonic() + at_most_s
    while acts.is_running(panic):
        left = list(panic.sweeps.exclude(state=Sweep.State.CLEAR).values_list("last_word", flat=True))
        assert time.monotonic() < deadline, f"{len(left)} accounts are not clear, as {left[:3]}"
        time.sleep(0.5)
