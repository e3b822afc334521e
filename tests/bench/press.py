"""From the press to the last cancel at the venue, for many accounts with 50 ms to the venue.

The press is a POST to the web process, as a browser sends it; the time is taken by the simulator, at the
arrival of the last cancel. The peers send the same cancels: ccxt in a loop, and a bare asyncio script with
warm connections, which knows no queue, no database and no read-back. An options account with one symbol
takes one mass cancel; a USD-M account takes two, for its conditional and its ordinary orders.
"""

import asyncio
import hashlib
import hmac
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import ccxt
from django.utils import timezone

from panicboard import panics as acts
from panicboard import readings
from panicboard.models import Account, Panic, Reading, Sweep, Venue
from tests.bench.__main__ import Figure
from tests.bench.product import running
from tests.factories import make_account
from tests.peers.ccxt_client import connect
from tests.signed_in import Board
from tests.simulator_process import SimulatorProcess

LATENCY_MS = 50
SIZES = (20, 200)
ROUNDS = 5
NO_LIMIT = 100_000_000


@dataclass(frozen=True)
class Case:
    """One kind of account: where it trades, and how many mass cancels it takes."""

    name: str
    adapter: str
    symbol: str
    books: dict[str, int]  # the simulator's book: how many orders it holds
    families: tuple[str, ...]
    cancels: tuple[str, ...]
    ccxt_class: type[ccxt.Exchange]
    ccxt_options: dict[str, object]
    ccxt_symbol: str
    ccxt_params: tuple[dict[str, object], ...]


CASES = (
    Case(
        name="press_to_last_cancel",
        adapter="binance-options",
        symbol="BTC-261225-100000-C",
        books={"ordinary": 3},
        families=("ordinary",),
        cancels=("/eapi/v1/allOpenOrders",),
        ccxt_class=ccxt.binance,
        ccxt_options={"defaultType": "option", "fetchMarkets": {"types": ["option"]}},
        ccxt_symbol="BTC/USDT:USDT-261225-100000-C",
        ccxt_params=({},),
    ),
    Case(
        name="press_to_last_cancel_usdm",
        adapter="binance-usdm",
        symbol="BTCUSDT",
        books={"ordinary": 2, "algo": 1},
        families=("conditional", "ordinary"),
        cancels=("/fapi/v1/algoOpenOrders", "/fapi/v1/allOpenOrders"),
        ccxt_class=ccxt.binanceusdm,
        ccxt_options={},
        ccxt_symbol="BTC/USDT:USDT",
        ccxt_params=({"trigger": True}, {}),
    ),
)


def run() -> Iterator[Figure]:
    """Measure 20 and 200 accounts, ours and both peers. The first press of each size only warms."""
    with running("--limits", "off") as (venue, board):
        for case in CASES:
            for size in SIZES:
                yield from _figures(venue, board, case, size)


def _figures(venue: SimulatorProcess, board: Board, case: Case, size: int) -> Iterator[Figure]:
    accounts = _make_accounts(venue, case, size)
    venue.control("POST", "latency", {"fixed_ms": LATENCY_MS})
    keys = venue.control("GET", "accounts")["accounts"]
    ours = statistics.median([_press(venue, board, case, accounts) for _ in range(ROUNDS + 1)][1:])
    loop = _ccxt_loop(venue, case, keys)
    bare = statistics.median([asyncio.run(_bare_script(venue, case, keys)) for _ in range(ROUNDS)])
    name = f"{case.name}_{size}"
    yield Figure(name, round(ours, 1), "ms", "ccxt, one after another", round(loop, 1), round(loop / ours, 2))
    yield Figure(
        name, round(ours, 1), "ms", "bare asyncio script, warm", round(bare, 1), round(bare / ours, 2)
    )


def _make_accounts(venue: SimulatorProcess, case: Case, size: int) -> list[Account]:
    """Accounts with three orders each, all known from a reading."""
    Account.objects.update(enabled=False)
    venue.reset()
    venue.control("POST", "limits", {"on": False})
    names = [f"{case.adapter}-{size}-{number:04d}" for number in range(size)]
    accounts = [make_account(venue, case.adapter, name) for name in names]
    Venue.objects.update(limit_override=NO_LIMIT)
    _seed(venue, case, accounts)
    now = timezone.now()
    symbols = {f"{family} {case.symbol}": now.isoformat() for family in case.families}
    for account in accounts:
        reading = readings.ensure(account)
        Reading.objects.filter(pk=reading.pk).update(
            symbols=symbols, read_at=now, due_at=now + timedelta(hours=1)
        )
    return accounts


def _seed(venue: SimulatorProcess, case: Case, accounts: list[Account]) -> None:
    orders = [
        {"account": account.name, "book": book, "symbol": case.symbol, "count": count}
        for account in accounts
        for book, count in case.books.items()
    ]
    venue.control("POST", "orders", {"orders": orders})


def _press(venue: SimulatorProcess, board: Board, case: Case, accounts: list[Account]) -> float:
    """One press until everything is clear. Returns the ms from the press to the last account's cancel."""
    since = _last_seq(venue)
    pressed_at = time.time()
    board.press(scope="all")
    panic = Panic.objects.latest("pk")
    while acts.is_running(panic):
        time.sleep(0.1)
    assert set(panic.sweeps.values_list("state", flat=True)) == {Sweep.State.CLEAR}
    taken_ms = _last_cancel_ms(venue, case, since, pressed_at, len(accounts))
    acts.release(panic, released_by=None, released_by_name="bench", reason="the next round of the bench")
    _seed(venue, case, accounts)
    return taken_ms


def _last_seq(venue: SimulatorProcess) -> int:
    return int(venue.control("GET", "log", limit=0)["last_seq"])


def _last_cancel_ms(
    venue: SimulatorProcess, case: Case, since: int, started_at: float, accounts: int
) -> float:
    first: dict[tuple[str, str], int] = {}
    for request in venue.log(since=since):
        if request["method"] == "DELETE" and request["path"] in case.cancels:
            first.setdefault((request["account"], request["path"]), request["arrived_us"])
    assert len(first) == accounts * len(case.cancels), f"{len(first)} cancels for {accounts} accounts"
    return float(max(first.values()) / 1000 - started_at * 1000)


def _ccxt_loop(venue: SimulatorProcess, case: Case, keys: list[dict[str, Any]]) -> float:
    """Cancel everything account after account, with one warm ccxt client each."""
    clients = [connect(case.ccxt_class, venue, key, **case.ccxt_options) for key in keys]
    clients[0].load_markets()
    for client in clients[1:]:
        client.session = clients[0].session  # one pool of connections, as in ours
        client.set_markets(clients[0].markets)
    since, started_at = _last_seq(venue), time.time()
    for client in clients:
        for params in case.ccxt_params:
            client.cancel_all_orders(case.ccxt_symbol, params)
    return _last_cancel_ms(venue, case, since, started_at, len(keys))


async def _bare_script(venue: SimulatorProcess, case: Case, keys: list[dict[str, Any]]) -> float:
    """Send every cancel at once over connections that are open already."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def cancel(key: dict[str, Any], path: str) -> None:
            query = f"symbol={case.symbol}&recvWindow=5000&timestamp={time.time_ns() // 1_000_000}"
            signature = hmac.new(key["secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
            url = f"{venue.url}{path}?{query}&signature={signature}"
            async with session.delete(url, headers={"X-MBX-APIKEY": key["api_key"]}) as reply:
                await reply.read()

        async def ping() -> None:
            async with session.get(f"{venue.url}/fapi/v1/ping") as reply:
                await reply.read()

        await asyncio.gather(*(ping() for _ in range(len(keys) * len(case.cancels))))
        since, started_at = _last_seq(venue), time.time()
        await asyncio.gather(*(cancel(key, path) for key in keys for path in case.cancels))
    return _last_cancel_ms(venue, case, since, started_at, len(keys))
