"""The scene of a fault: accounts that meet it, and a healthy one beside them, in one panic.

`pytest_plugins = ["tests.simulator_process", "tests.sweep_stage", "tests.faults.scene"]`, then `scene`.

**Other accounts not delayed by more than 20 %** is asserted here without a clock: the healthy account sends
exactly the requests, in as many rounds and deliveries, that it sends when it is swept alone; and in the
tests with real processes it is clear while the others are still held by their fault. That is the stronger
form: not one request, round or delivery more is allowed, nor any wait for the end of another's fault, on
any machine, while a measured 20 % would hide a wait that is short beside a slow sweep, and would fail on a
busy machine for no reason. What a clock alone can tell is a figure of `make bench ONLY=faults`: the product's
own pauses, which these tests take away, are in it.

Test modules import names from here before pytest could rewrite its asserts: PYTEST_DONT_REWRITE.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import pytest
from django.core.management import call_command

from panicboard.models import Account, Sweep
from panicboard.venues import http
from tests.faults.bad_days import BadDay
from tests.faults.judge import Journal, Row, objections, record
from tests.sweep_stage import Stage, State, forget_venue, is_cancel
from tests.venue_calls import CALLS, CONDITIONAL, asked_of

Send = Callable[..., http.Reply]

HEALTHY = "healthy"
#: An account of another venue, for faults that silence a whole venue.
BESIDE = dict.fromkeys(CALLS, "binance-options") | {"binance-options": "coinswitch"}


@dataclass(frozen=True)
class Course:
    """What one sweep took until it was clear."""

    asked: list[tuple[str, ...]]
    rounds: int
    deliveries: int


#: The course of a healthy account that is swept alone, by adapter.
_alone: dict[str, Course] = {}


class Scene:
    """Accounts at the simulator, one panic over them all, and the judgement."""

    def __init__(self, stage: Stage, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = stage
        self.monkeypatch = monkeypatch
        self.simulator = stage.simulator
        self.journal = journal
        self.sweeps: dict[str, Sweep] = {}

    def account(self, adapter: str, name: str = "alpha", count: int = 2) -> Account:
        """An account that holds orders, a conditional one among them where there are such, and was read."""
        account = self.stage.account(adapter, name)
        self.stage.seed(account, count)
        if adapter in CONDITIONAL:
            self.stage.seed_conditional(account)
        self.stage.minute_passes()  # readings of many accounts do not fit into one
        self.stage.read(account)
        return account

    def healthy(self, adapter: str) -> Account:
        """The account that no fault strikes. What its sweep takes alone is found out before."""
        if adapter not in _alone:
            # Whatever a test has set up by now would be lost.
            assert not Account.objects.exists(), "make the healthy account first"
            self._press_alone(adapter)
        return self.account(adapter, HEALTHY)

    def press(self) -> dict[str, Sweep]:
        """One press over every account; every limit is as after a quiet minute. Returns sweeps by name."""
        self.stage.minute_passes()
        self.sweeps = self.stage.press_all()
        return self.sweeps

    @contextmanager
    def struck(
        self, account: Account, bad: BadDay, *places: dict[str, Any], **options: Any
    ) -> Iterator[None]:
        """Let a fault strike these calls of an account while this lasts; with `count` it must have by then.

        Where it keeps an answer back, ours wait a moment for it instead of five seconds.
        """
        adapter = account.venue.adapter
        ids = [
            self.simulator.fault(**bad.of(adapter), account=account.name, **place, **options)
            for place in places
        ]
        with self.monkeypatch.context() as patched:
            if bad.kind == "hang":
                patched.setattr(http, "call", _without_patience(http.call, account.name, places))
            yield
        in_force = {fault["id"]: fault for fault in self.simulator.control("GET", "faults")["faults"]}
        for one in in_force.keys() & ids:
            assert in_force[one]["hits"], f"{in_force[one]} never struck"
            assert "count" not in options, f"{in_force[one]} has not struck so often"
            self.simulator.control("DELETE", "faults", None, id=one)

    def deliver(self, sweep: Sweep) -> Sweep:
        """Deliver the sweep's task once. It may not say CLEAR while an order is open."""
        sweep = self.stage.work(sweep)
        left = self.simulator.book(sweep.account.name)
        assert not (left and sweep.state == State.CLEAR), f"clear, and open at the venue: {left}"
        return sweep

    def assert_held(self, sweep: Sweep, besides: dict[Row, str] | None = None) -> Sweep:
        """Once the fault has ended: the sweep becomes clear, and nobody has anything to object."""
        for _ in range(8):
            if sweep.state in Sweep.OVER:
                break
            sweep = self.stage.work_until_over(self.deliver(sweep), 1)
            self.stage.minute_passes()
        if not besides:
            self.stage.assert_proven(sweep)
        found = objections(record(self.simulator, sweep, self.journal, besides))
        assert found == [], "\n".join(found)
        return sweep

    def assert_healthy_undisturbed(self) -> None:
        """Sweep the healthy account: it takes what it takes alone, not one call or round more."""
        sweep = self.sweeps[HEALTHY]
        course = self._course_of(sweep)
        alone = _alone[sweep.account.venue.adapter]
        assert course == alone, f"it took {course}, and alone {alone}"
        self.assert_held(Sweep.objects.get(pk=sweep.pk))

    def _course_of(self, sweep: Sweep) -> Course:
        before = len(self.simulator.log(sweep.account.name))
        deliveries = 0
        while sweep.state not in Sweep.OVER and deliveries < 6:
            sweep = self.deliver(sweep)
            deliveries += 1
        log = self.simulator.log(sweep.account.name)[before:]
        return Course(_in_order(log), sweep.round, deliveries)

    def _press_alone(self, adapter: str) -> None:
        self.account(adapter, HEALTHY)
        _alone[adapter] = self._course_of(self.press()[HEALTHY])
        call_command("flush", interactive=False, verbosity=0)
        self.journal.forget()
        self.stage.minute_passes()
        self.simulator.reset()
        self.simulator.control("POST", "switches", {"coinswitch_cancel_delay_ms": 0})
        forget_venue(self.simulator.url)


def _without_patience(send: Send, account: str, places: Sequence[dict[str, Any]]) -> Send:
    def call(name: str, method: str, base_url: str, target: str, **options: Any) -> http.Reply:
        path = target.partition("?")[0]
        meant = any(
            place.get("method", method) == method and fnmatch(path, place.get("path", "*"))
            for place in places
        )
        if name == account and meant:
            options["timeout"] = (http.CONNECT_TIMEOUT_S, 0.05)
        return send(name, method, base_url, target, **options)

    return call


def _in_order(log: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The calls of a log by what they ask; those that leave side by side in an order of their own."""
    asked: list[tuple[str, ...]] = []
    for call in log:
        kind = "cancel" if is_cancel(call) else "listing" if _is_listing(call) else "question"
        asked.append((kind, call["method"], call["path"], *sorted(asked_of(call).keys() & {"symbol"})))
    for begin in range(len(asked)):
        end = begin
        while end < len(asked) and asked[end][0] == asked[begin][0] != "listing":
            end += 1
        asked[begin:end] = sorted(asked[begin:end])
    return asked


def _is_listing(call: dict[str, Any]) -> bool:
    return any((call["method"], call["path"]) in calls.full for calls in CALLS.values())


@pytest.fixture
def journal(transactional_db: None) -> Iterator[Journal]:
    with Journal().kept() as kept:
        yield kept


@pytest.fixture
def scene(stage: Stage, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(stage, journal, monkeypatch)
