"""What the sweeps' tests share: `pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]`.

`stage` holds accounts at the simulator, presses, and works on sweeps in this process, round by round; what
then counts is what the simulator's own book and its log of requests say. The pauses of the product are
taken away: a sweep that would wait gives itself back, and the test goes on without waiting for the time.

Test modules import names from here too, before pytest could rewrite its asserts: PYTEST_DONT_REWRITE.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connections
from django.utils import timezone

from panicboard import credentials, dispatch, panics, pools, readings, rush, sweeper, tasks, venue_work
from panicboard.models import (
    Account,
    AuditEntry,
    CanaryRun,
    Panic,
    Reading,
    Sweep,
    SweptOrder,
    VenueCall,
)
from panicboard.panics import Scope
from panicboard.venues import binance_portfolio_books, http
from panicboard.venues.coinswitch import CoinSwitch
from tests.factories import make_account, seed
from tests.simulator_process import SimulatorProcess
from tests.venue_calls import CALLS, CONDITIONAL, Call, family_of, is_cancel, is_full_listing

State = Sweep.State
Outcome = SweptOrder.Outcome
#: What an order's last status at the simulator must have become here.
_OUTCOMES = {
    "CANCELED": Outcome.CANCELLED,
    "FILLED": Outcome.FILLED,
    "EXPIRED": Outcome.EXPIRED,
    "TRIGGERED": Outcome.EXPIRED,  # gone from its book; the order it became has a row of its own
}


class Stage:
    """The simulator, and the accounts that stand there."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        self.simulator = simulator

    def account(self, adapter: str, name: str = "alpha", **fields: Any) -> Account:
        return make_account(self.simulator, adapter, name, **fields)

    def seed(self, account: Account, count: int = 1, **fields: object) -> list[dict[str, Any]]:
        return seed(self.simulator, account, count, **fields)

    def seed_conditional(self, account: Account, count: int = 1, **fields: object) -> list[dict[str, Any]]:
        return self.seed(account, count, book=CONDITIONAL[account.venue.adapter][0], **fields)

    def read(self, account: Account) -> None:
        """Read the account as the background does; the reading must come about."""
        readings.read(account)
        reading = Reading.objects.get(account=account)
        assert (reading.failure, reading.read_at is None) == ("", False)

    def press(self, account: Account, **scope: Any) -> Sweep:
        """Press for one account, or for what of it the scope names. Returns its sweep."""
        kind = scope.pop("kind", Panic.Scope.ACCOUNT)
        return self.start(Scope(kind, account=account, **scope)).sweeps.get()

    def press_all(self) -> dict[str, Sweep]:
        """Press for everything. Returns the sweeps by account name."""
        return {sweep.account.name: sweep for sweep in self.start(Scope(Panic.Scope.ALL)).sweeps.all()}

    def start(self, scope: Scope) -> Panic:
        pressed = panics.start(scope, pressed_by=None, pressed_by_name="risk.desk1", via=Panic.Via.SHELL)
        return pressed.panic

    def work(self, sweep: Sweep) -> Sweep:
        """One delivery of the sweep's task, and what the sweep says afterwards."""
        tasks.run_sweep(sweep.pk)
        return Sweep.objects.get(pk=sweep.pk)

    def work_until_over(self, sweep: Sweep, deliveries: int = 6) -> Sweep:
        """Deliver the task until the sweep is over, at most so often. A wait for a limit is over at once."""
        for _ in range(deliveries):
            sweep = self.work(sweep)
            if sweep.state in Sweep.OVER:
                break
            if (sweep.due_at - timezone.now()).total_seconds() > 5:
                self.minute_passes()
        return sweep

    def minute_passes(self) -> None:
        """Let every limit be as it is after a quiet minute, on both sides."""
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            for key in client.scan_iter("panicboard:budget:*"):
                client.delete(key)
        pools._local._refusals.clear()
        self.simulator.control("POST", "limits", {"forget": True})

    def rows(self, sweep: Sweep) -> dict[tuple[str, str, str], str]:
        """The sweep's orders: family, symbol and id, and the outcome of each."""
        return {(row.family, row.symbol, row.venue_order_id): row.outcome for row in sweep.orders.all()}

    def truth(self, account: Account) -> dict[tuple[str, str, str], str]:
        """What the rows must be by the simulator's own book of the account."""
        return {
            (family_of(order), order["symbol"], order["order_id"]): _OUTCOMES.get(
                order["status"], Outcome.STILL_OPEN
            )
            for order in self.simulator.book(account.name, only_open=False)
        }

    def assert_proven(self, sweep: Sweep) -> None:
        """The sweep is clear, and the venue agrees: book, outcomes, and the order of the requests."""
        account = sweep.account
        assert sweep.state == State.CLEAR, sweep.last_word
        left, rows, truth = self.simulator.book(account.name), self.rows(sweep), self.truth(account)
        assert left == [], f"still open at the venue: {left}"
        assert rows == truth, f"the sweep tells {rows}, the venue {truth}"
        log = self.simulator.log(account.name)
        cancelled_us = max((call["answered_us"] for call in log if is_cancel(call)), default=0)
        for wanted in CALLS[account.venue.adapter].full:
            begun = [call["arrived_us"] for call in log if is_full_listing(call, wanted)]
            assert begun, f"{wanted} was not listed in full"
            assert begun[-1] > cancelled_us, f"{wanted} was listed before the last cancel was answered"
        assert sweep.first_request_at is not None
        assert sweep.first_request_at <= sweep.known_empty_at <= sweep.full_empty_at <= sweep.clear_at


def in_thread(act: Callable[[Sweep], Sweep]) -> Callable[[Sweep], Sweep]:
    """The same act for a thread of its own, which leaves no database connection behind."""

    def run(sweep: Sweep) -> Sweep:
        try:
            return act(sweep)
        finally:
            connections.close_all()

    return run


@pytest.fixture
def stage(simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """An empty simulator and no pauses; afterwards, no secret may have got into a log record or a row."""
    monkeypatch.setattr(sweeper, "SHORT_WAIT_S", 0)
    monkeypatch.setattr(sweeper, "QUIET_BEFORE_PROOF", timedelta(0))
    monkeypatch.setattr(venue_work, "REPEAT_AFTER_S", (0, 0, 0))
    monkeypatch.setattr(rush, "NO_PROGRESS_S", 0)
    monkeypatch.setattr(rush, "LOOK_EVERY_S", 0)
    # The test alone delivers tasks: on a busy machine the queue's 300 ms can pass, and a press run by itself.
    for queueing in ("panic", "sweeps"):
        monkeypatch.setattr(dispatch, queueing, lambda sweep_ids: True)
    # Nor must a busy machine make the budgets do without Redis, as they do after 0.2 s.
    patient = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=30)
    monkeypatch.setattr(pools, "client", lambda: patient)
    monkeypatch.setattr(CoinSwitch, "cancel_settle_ms", 30)
    simulator.control("POST", "switches", {"coinswitch_cancel_delay_ms": 0})
    forget_venue(simulator.url)
    with nothing_may_leak():
        yield Stage(simulator)
    patient.close()


def forget_venue(url: str) -> None:
    """Forget what this process learnt of the venue in another test: its clock, and calls that were gone."""
    clock = http.clock_of(url)
    clock.offset_ms, clock.measured_at = 0, None
    binance_portfolio_books._algo_gone_at.pop(url, None)


class _Heard(logging.Handler):
    """Keeps every record as a log shows it, its traceback included."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def nothing_may_leak() -> Iterator[None]:
    """No key, secret or signature may get into a log record meanwhile, or stand in what was written down.

    With a handler of its own: pytest's `caplog` is emptied before a fixture could look at it in the end.
    """
    root, heard = logging.getLogger(), _Heard()
    level = root.level
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(heard)
    found = leaks(heard.lines)
    assert not found, f"it got out: {', '.join(found)}"


def leaks(told: Iterable[str]) -> list[str]:
    """What stands in these texts, or in any that was written down, and must not. Names it only."""
    texts = list(told)
    texts += Sweep.objects.values_list("last_word", flat=True)
    texts += SweptOrder.objects.values_list("note", flat=True)
    texts += Reading.objects.values_list("failure", flat=True)
    texts += AuditEntry.objects.values_list("detail", flat=True)
    texts += [str(row) for row in (*VenueCall.objects.values_list(), *CanaryRun.objects.values_list())]
    everything = "\n".join(texts)
    secrets = {
        "a signature": "signature=",
        "a signature's header": "X-AUTH-SIGNATURE",
        "a NUL, which PostgreSQL takes in no text": "\0",
    }
    for account in Account.objects.exclude(sealed_credentials=""):
        held = credentials.unseal(account)
        secrets |= {f"the key of {account}": held.api_key, f"the secret of {account}": held.secret}
    return [name for name, secret in secrets.items() if secret in everything]


@dataclass
class _Event:
    call: Call
    when: str
    action: Callable[[], object]
    nth: int


class Events:
    """Lets something happen at the venue, or here, right before or after a certain request of ours.

    The request itself goes its way untouched. An event happens once.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._events: list[_Event] = []
        self._lock = threading.Lock()
        send = http.call

        def call(account: str, method: str, base_url: str, path_and_query: str, **options: Any) -> http.Reply:
            asked = (method, path_and_query.partition("?")[0])
            due = self._due(asked)
            self._let_happen(due, "before")
            try:
                return send(account, method, base_url, path_and_query, **options)
            finally:
                self._let_happen(due, "after")

        monkeypatch.setattr(http, "call", call)

    def before(self, call: Call, action: Callable[[], object], nth: int = 1) -> None:
        self._events.append(_Event(call, "before", action, nth))

    def after(self, call: Call, action: Callable[[], object], nth: int = 1) -> None:
        self._events.append(_Event(call, "after", action, nth))

    @property
    def left(self) -> int:
        """How many events have not happened."""
        return len(self._events)

    def _due(self, call: Call) -> list[_Event]:
        with self._lock:
            for event in self._events:
                event.nth -= event.call == call
            due = [event for event in self._events if event.nth == 0]
            self._events = [event for event in self._events if event.nth > 0]
            return due

    def _let_happen(self, due: list[_Event], when: str) -> None:
        for event in due:
            if event.when == when:
                event.action()
                connections.close_all()  # the thread that made the call has no use for one


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    return Events(monkeypatch)
