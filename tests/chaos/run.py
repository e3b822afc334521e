"""Plays a plan against real processes, waits for its end, and brings home what is to be judged."""

import heapq
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from panicboard.models import Account, Countdown, Reading, Sweep, Venue
from tests.chaos import witness
from tests.chaos.acts import Acts
from tests.chaos.judge import Evidence, PanicRow
from tests.chaos.people import People, arm_everywhere
from tests.chaos.plan import TRADERS, Plan
from tests.chaos.recovery import Fault, Hold
from tests.chaos.stage import Stage
from tests.factories import make_account
from tests.signed_in import Board
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

Json = dict[str, Any]

#: Above what a run can use: the limits by address are not what it is about. CoinSwitch's, by key, stay.
NO_LIMIT = 100_000_000
#: How long the end may wait, beyond the run's own seconds, for everything to be clear: three times the
#: minute in which CoinSwitch counts its calls.
BEYOND_S = 180
#: How long what was begun may take to its end: a press to its answer, a process until it is up.
OVER_IN_S = 60
LOG_PAGE = 10_000


def say(text: str) -> None:
    """Tell what goes on to whoever watches."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Played:
    """What came of a plan."""

    evidence: Evidence
    faults: list[Fault]
    holds: list[Hold]
    not_clear: list[str]


def play(plan: Plan, stage: Stage) -> Played:
    """Play the whole plan, wait (not for ever) until everything is clear again, and bring the evidence."""
    simulator = stage.start()
    for trader in TRADERS:
        make_account(simulator, trader.venue, trader.name, desk=trader.desk)
    Venue.objects.exclude(adapter="coinswitch").update(limit_override=NO_LIMIT)
    arm_everywhere()
    witness.call_in()
    run = _Run(plan, stage, simulator)
    run.play()
    return run.bring_evidence()


class _Run:
    """One run under way: what is due when, and what is not clear yet."""

    def __init__(self, plan: Plan, stage: Stage, simulator: SimulatorProcess) -> None:
        self.plan, self.simulator = plan, simulator
        self.people = People(Board.sign_in(stage.url))
        self.acts = Acts(
            stage,
            simulator,
            self.people,
            quiet_from_ms=plan.quiet_from_ms,
            later=self._at,
            tell=self._tell,
        )
        self._panics: dict[int, PanicRow] = {}
        self._not_clear: list[str] = []
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._started = time.monotonic()

    def play(self) -> None:
        opening, *events = self.plan.events
        self.acts.begin(opening)
        until(lambda: not Reading.objects.filter(read_at=None).exists(), "a reading of every account", 120)
        self._started = time.monotonic()
        for event in events:
            self._at(event.at_ms, partial(self.acts.begin, event))
        self._at(self.plan.quiet_from_ms + 1, self._be_quiet)
        self._at(self.plan.seconds * 1000, lambda: None)
        while self._due:
            self.acts.look_after_processes()
            wait_s = self._due[0][0] / 1000 - self._elapsed_s()
            if wait_s > 0:
                time.sleep(min(wait_s, 0.2))
            else:
                heapq.heappop(self._due)[2]()
        self.people.wait(OVER_IN_S)
        self.acts.wait(OVER_IN_S)
        self._wait_until_clear()

    def bring_evidence(self) -> Played:
        """Everything that is known of the run now."""
        log, said = self._log(), witness.countdowns()
        running = self._running()
        # What changed meanwhile proves nothing.
        said = {one: phase for one, phase in witness.countdowns().items() if said.get(one) == phase}
        evidence = Evidence(
            orders=self.simulator.book(only_open=False),
            log=log,
            clears=witness.clears(),
            given_up_us=witness.given_up_us(),
            latched=witness.latched(),
            presses=self.people.presses,
            panics=self._panics,
            countdowns=said,
            running=running,
        )
        return Played(evidence, self.acts.faults(log), witness.holds(), self._not_clear)

    def _at(self, at_ms: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at_ms, next(self._order), action))

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def _tell(self, text: str) -> None:
        say(f"{self._elapsed_s():8.2f}  {text}")

    def _be_quiet(self) -> None:
        self.acts.end_all()
        self._tell("quiet from here on: everything has to become clear")

    def _wait_until_clear(self) -> None:
        deadline = time.monotonic() + BEYOND_S
        told_at = 0.0
        while self._look() and time.monotonic() < deadline:
            if time.monotonic() - told_at > 10:
                told_at = time.monotonic()
                self._tell(f"waits for {len(self._not_clear)}: {'; '.join(self._not_clear[:3])}")
            self.acts.look_after_processes()
            time.sleep(0.2)

    def _look(self) -> list[str]:
        """What is not clear now: sweeps that are not over, orders of latched accounts, countdowns at work.

        The panics as they were at the last look are what is judged: a latched account that is swept once
        more, a moment later, is not clear for that moment.
        """
        self._panics = witness.panics()
        running = [
            f"{account} {state} in panic {number}"
            for number, row in self._panics.items()
            for account, state in row.states.items()
            if state not in Sweep.OVER
        ]
        latched = set(Account.objects.exclude(latched_at=None).values_list("name", flat=True))
        standing = [
            f"{order['account']} has {order['symbol']} {order['order_id']}"
            for order in self.simulator.book()
            if order["account"] in latched
        ]
        at_work = [
            f"countdown of {account} {scope} {phase}"
            for (account, scope), phase in witness.countdowns().items()
            if phase in (Countdown.Phase.ARMING, Countdown.Phase.DISARMING, Countdown.Phase.PASSED)
        ]
        self._not_clear = running + standing + at_work
        return self._not_clear

    def _running(self) -> set[tuple[str, str]]:
        """The countdowns that run at the venues, by account and scope."""
        running = self.simulator.control("GET", "state")["countdowns"]
        return {(one["account"], one["scope"]) for one in running}

    def _log(self) -> list[Json]:
        """The simulator's whole log, in pages: nobody is kept waiting for long by one."""
        found: list[Json] = []
        while True:
            since = found[-1]["seq"] if found else 0
            page = self.simulator.control("GET", "log", since=since, limit=LOG_PAGE)["requests"]
            if not page:
                return found
            found += page
