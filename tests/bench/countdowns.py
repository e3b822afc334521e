"""Ten thousand countdowns kept alive by one keeper and one heartbeat worker, as `manage.py up` starts them.

200 USD-M accounts of 50 symbols, 120 s long, a heartbeat each 30 s: 333 calls a second, at a simulator
without limits, and beside them an options account of 50 underlyings. They are armed as a person arms them.
Then none may lapse for three minutes. Each countdown has its own moment of the refresh, and a heartbeat is
late by its arrival at the simulator. The peer is a bare asyncio script that sends as many, and knows no
database, no queue and no latch. Smaller, for a quick look:

    BENCH_COUNTDOWNS=1000 BENCH_SECONDS=60 make bench ONLY=countdowns
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import socket
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import requests
from django.utils import timezone

from panicboard import countdowns, readings
from panicboard.heartbeat_results import GOLDEN
from panicboard.models import Account, Countdown, Reading, Venue
from tests.bench.__main__ import Figure
from tests.bench.product import running_with_heartbeats
from tests.factories import make_account
from tests.signed_in import Board
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

COUNTDOWNS = int(os.environ.get("BENCH_COUNTDOWNS", "10000"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "180"))
EACH = 50
COUNTDOWN_MS, REFRESH_MS = 120_000, 30_000
RATE = COUNTDOWNS * 1000 / REFRESH_MS
SCOPES = tuple(f"BENCH{number:02}USDT" for number in range(EACH))
USDM, OPTIONS = "binance-usdm", "binance-options"
SET, HEARTBEAT = "/fapi/v1/countdownCancelAll", "/eapi/v1/countdownCancelAllHeartBeat"
NO_LIMIT = 100_000_000
FAILURES = 10
BARE_S = 15
#: What is wanted, where no peer does the same.
WANTED_LATE_MS, WANTED_SHOWN_MS, WANTED_CORES = 250, 1000, 1.0
ARMED_WITHIN_S = 300
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
WORKING = ("keeper", "worker-heartbeat-1")


def run() -> Iterator[Figure]:
    """Arm everything, keep it alive, let heartbeats fail; then send as many from the bare script."""
    with running_with_heartbeats("--limits", "off") as (venue, board, pids):
        accounts = [_make_account(venue, USDM, f"usdm-{n:03}") for n in range(COUNTDOWNS // EACH)]
        options = _make_account(venue, OPTIONS, "options")
        Venue.objects.update(limit_override=NO_LIMIT)
        _list_symbols(venue, accounts[0], options)
        since, armed_s = _last_seq(venue), _arm([*accounts, options])
        _rest(REFRESH_MS / 1000)  # until each has had its first heartbeat
        before, began, began_ms = _cpu_s(pids), time.monotonic(), time.time() * 1000
        _rest(SECONDS)
        took_s = time.monotonic() - began
        cores = {name: (used - before[name]) / took_s for name, used in _cpu_s(pids).items()}
        log = venue.log(since=since)
        beats = _beats(log)
        firings = venue.control("GET", "state")["firings"]
        assert not firings, f"{len(firings)} countdowns fired, as {firings[:3]}"
        with _Watch(board) as watch:
            shown = [_shown_after_ms(venue, watch, account) for account in accounts[:FAILURES]]
        Account.objects.update(enabled=False)
        bare, bare_cores = _bare(venue)
    _tell(cores, log, began_ms)
    longest_s = _longest_s(beats)
    yield _figure("countdowns_armed", armed_s, "s", "as long as a refresh", REFRESH_MS / 1000)
    late = _late_ms(beats, began_ms)
    for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        yield _figure(f"heartbeat_late_{name}", _at(late, part), "ms", "bare asyncio script", _at(bare, part))
    yield _figure("heartbeat_late_p99", _at(late, 0.99), "ms", "wanted", WANTED_LATE_MS)
    yield _figure("longest_without_heartbeat", longest_s, "s", "a countdown's length", COUNTDOWN_MS / 1000)
    working = 100 * sum(cores[name] for name in WORKING)
    yield _figure("keeper_and_worker_cpu", working, "%", "bare asyncio script", 100 * bare_cores)
    yield _figure("keeper_and_worker_cpu", working, "%", "wanted", 100 * WANTED_CORES)
    for name in ("valkey", "simulator"):
        yield _figure(f"{name}_cpu", 100 * cores[name], "%", "keeper and worker", working)
    calls, refreshes = _options_calls(log)
    yield _figure(f"options_calls_in_{refreshes:g}_refreshes", calls, "", "one by one", EACH * refreshes)
    for where, took_ms in zip(("in_database", "on_board"), zip(*shown, strict=True), strict=True):
        yield _figure(f"failure_{where}", statistics.median(took_ms), "ms", "wanted", WANTED_SHOWN_MS)
        yield _figure(f"failure_{where}_max", max(took_ms), "ms", "wanted", WANTED_SHOWN_MS)


def _figure(name: str, value: float, unit: str, peer: str, peer_value: float) -> Figure:
    return Figure(name, round(value, 1), unit, peer, round(peer_value, 1), round(peer_value / value, 2))


def _make_account(venue: SimulatorProcess, adapter: str, name: str) -> Account:
    """An account that is not read in the background meanwhile."""
    account = make_account(venue, adapter, name)
    Reading.objects.filter(pk=readings.ensure(account).pk).update(due_at=timezone.now() + timedelta(hours=1))
    return account


def _list_symbols(venue: SimulatorProcess, usdm: Account, options: Account) -> None:
    """The simulator lists a symbol as soon as it holds an order."""
    for scope in SCOPES:
        venue.seed(usdm.name, scope)
        venue.seed(options.name, f"{scope.removesuffix('USDT')}-261225-100-C")


def _arm(accounts: Sequence[Account]) -> float:
    """Arm every countdown. Returns how long the keeper and its worker took from the last arming on, in s."""
    for account in Account.objects.filter(pk__in=[one.pk for one in accounts]):
        countdowns.arm(account, SCOPES, by="bench", countdown_ms=COUNTDOWN_MS, refresh_ms=REFRESH_MS)
    began = time.monotonic()
    arming = Countdown.objects.exclude(phase=Countdown.Phase.ARMED)
    until(lambda: not arming.exists(), "every countdown to be armed", ARMED_WITHIN_S)
    return time.monotonic() - began


def _rest(seconds: float) -> None:
    """Let everything run, and see that no countdown lapses."""
    lapsed = Countdown.objects.exclude(phase=Countdown.Phase.ARMED)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(1)
        over = Countdown.objects.filter(deadline_at__lte=timezone.now())
        assert not over.exists(), f"{over.count()} deadlines passed"
        assert not lapsed.exists(), f"{lapsed.count()} are not armed any more"


def _last_seq(venue: SimulatorProcess) -> int:
    return int(venue.control("GET", "log", limit=0)["last_seq"])


def _cpu_s(pids: Mapping[str, int]) -> dict[str, float]:
    """The processor time that each process has used."""
    used = {}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used[name] = (int(fields[11]) + int(fields[12])) * TICK_S
    return used


def _beats(log: Sequence[Mapping[str, Any]]) -> dict[int, list[float]]:
    """When heartbeats, and what set it at first, arrived for each countdown (its row's id), in ms."""
    rows = Countdown.objects.filter(account__venue__adapter=USDM)
    ids = {(name, scope): pk for pk, name, scope in rows.values_list("pk", "account__name", "scope")}
    arrived: dict[int, list[float]] = defaultdict(list)
    for call in log:
        if call["path"] == SET and call["status"] == 200:
            arrived[ids[call["account"], call["params"]["symbol"]]].append(call["arrived_us"] / 1000)
    assert len(arrived) == COUNTDOWNS, f"heartbeats of {len(arrived)} countdowns"
    return arrived


def _late_ms(beats: Mapping[int, Sequence[float]], since_ms: float) -> list[float]:
    """How late each heartbeat since then arrived, by its countdown's own moment of the refresh; sorted."""
    return sorted(
        (arrived_ms - pk * GOLDEN % 1 * REFRESH_MS) % REFRESH_MS
        for pk, mine in beats.items()
        for arrived_ms in mine
        if arrived_ms >= since_ms
    )


def _longest_s(beats: Mapping[int, Sequence[float]]) -> float:
    """The longest time that any countdown was without a heartbeat, since it was set."""
    return max(later - earlier for mine in beats.values() for earlier, later in pairwise(mine)) / 1000


def _at(values: Sequence[float], part: float) -> float:
    """The value that this part of all is not above."""
    return values[min(len(values) - 1, int(len(values) * part))]


def _options_calls(log: Sequence[Mapping[str, Any]]) -> tuple[int, float]:
    """How many calls kept all underlyings alive, and for how many refreshes of them."""
    beats = [call["params"]["underlyings"].split(",") for call in log if call["path"] == HEARTBEAT]
    return len(beats), round(sum(len(named) for named in beats) / EACH, 2)


class _Watch:
    """A viewer of the board: every event that its stream brought, and when that was."""

    def __init__(self, board: Board) -> None:
        self._reply = board.session.get(f"{board.url}/events/?page=board", stream=True, timeout=30)
        self._events: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        until(lambda: self._events, "the board's first state")
        return self

    def __exit__(self, *args: object) -> None:
        self._reply.raw._fp.fp.raw._sock.shutdown(socket.SHUT_RDWR)  # its thread waits for more
        self._thread.join()

    def told_at_ms(self, account: Account, words: str) -> float | None:
        """When an account's cells first said so."""
        cell = f'id="account-{account.pk}-countdown"'
        return next((at_ms for at_ms, told in self._events if words in told.partition(cell)[2]), None)

    def _listen(self) -> None:
        begun = b""
        with contextlib.suppress(requests.RequestException, OSError):
            for part in self._reply.iter_content(None):
                *events, begun = (begun + part).split(b"\n\n")
                self._events += [(time.time() * 1000, event.decode()) for event in events]


def _shown_after_ms(venue: SimulatorProcess, watch: _Watch, account: Account) -> tuple[float, float]:
    """From the answer to a heartbeat that fails until its row says so, and until a viewer is told."""
    since = _last_seq(venue)
    failing = Countdown.objects.filter(account=account, misses__gt=0, failure__contains="503")
    # Until it is told: one that succeeds when it is repeated, after a quarter of a second, is no matter.
    rule = venue.fault("not_done_503b", account=account.name, path=SET)
    until(failing.exists, "a heartbeat to fail", 2 * REFRESH_MS / 1000)
    written_ms = time.time() * 1000
    told_ms = until(lambda: watch.told_at_ms(account, "Service Unavailable"), "the board to tell of it")
    venue.control("DELETE", "faults", None, id=rule)
    failed, *_ = [call for call in venue.log(account.name, since) if call["status"] == 503]
    failed_ms = failed["answered_us"] / 1000
    return written_ms - failed_ms, told_ms - failed_ms


def _tell(cores: Mapping[str, float], log: Sequence[Mapping[str, Any]], since_ms: float) -> None:
    """What the figures do not show, beside them."""
    beats = [call for call in log if call["path"] == SET and call["arrived_us"] >= since_ms * 1000]
    sent = sorted(beat["arrived_us"] / 1000 - float(beat["params"]["timestamp"]) for beat in beats)
    told = {
        "from_decided_to_arrived_ms": {str(part): round(_at(sent, part), 1) for part in (0.5, 0.99, 1.0)},
        "cores": {name: round(used, 3) for name, used in cores.items()},
        "calls": Counter(f"{call['path']} {call['status']}" for call in log),
    }
    print(json.dumps(told), file=sys.stderr, flush=True)


def _bare(venue: SimulatorProcess) -> tuple[list[float], float]:
    """Send as many from a bare script. Returns how late they came, sorted, and the cores it took."""
    keys = [key for key in venue.control("GET", "accounts")["accounts"] if key["venue"] == USDM]
    since, used, began = _last_seq(venue), time.process_time(), time.monotonic()
    asyncio.run(_bare_script(venue, keys))
    cores = (time.process_time() - used) / (time.monotonic() - began)
    sent = [call for call in venue.log(since=since) if call["path"] == SET]
    assert {call["status"] for call in sent} == {200}
    return sorted(call["arrived_us"] / 1000 - float(call["params"]["timestamp"]) for call in sent), cores


async def _bare_script(venue: SimulatorProcess, keys: Sequence[Mapping[str, str]]) -> None:
    """Send each heartbeat at its time, over connections that are kept; its timestamp says when it was due."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send(number: int, due: float) -> None:
            key, scope = keys[number % len(keys)], SCOPES[number // len(keys) % EACH]
            query = f"symbol={scope}&countdownTime={COUNTDOWN_MS}&timestamp={round(due * 1000)}"
            signature = hmac.new(key["secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
            url = f"{venue.url}{SET}?{query}&signature={signature}"
            async with session.post(url, headers={"X-MBX-APIKEY": key["api_key"]}) as reply:
                await reply.read()

        began = time.time()
        async with asyncio.TaskGroup() as sending:
            for number in range(int(RATE * BARE_S)):
                due = began + number / RATE
                await asyncio.sleep(max(0.0, due - time.time()))
                sending.create_task(send(number, due))
