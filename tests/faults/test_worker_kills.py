"""Workers killed with `kill -9` at twenty random points of their sweeps at each venue.

A point is a request of the sweep, held by the venue before or after it acted, or a moment at which some
number of requests had been sent. One panic over two accounts of each venue has eight points; whichever
worker or keeper comes next goes on from what is written down.
"""

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from panicboard.models import Account, Panic, Sweep
from tests.faults.floor import Floor, Verdicts
from tests.faults.matrix import cells
from tests.sweep_stage import is_full_listing
from tests.venue_calls import CALLS
from tests.waiting import until

pytest_plugins = ["tests.broker_process", "tests.simulator_process", "tests.faults.floor"]
pytestmark = pytest.mark.django_db(transaction=True)

#: Another seed, other points.
CHANCE = random.Random(20_261_120)
#: In these rounds each account is held at a request of its own; in the last ones the moment alone is random.
HELD_ROUNDS, ROUNDS = 7, 10


@dataclass(frozen=True)
class Kills:
    """The verdicts on all rounds, and how many points there were at each venue."""

    verdicts: Verdicts
    points: Counter[str]


def length(log: list[dict[str, Any]], adapter: str) -> int:
    """How many requests there are until the last full listing."""
    full = CALLS[adapter].full
    return max(n for n, call in enumerate(log, 1) if any(is_full_listing(call, one) for one in full))


def hold_each(floor: Floor, accounts: list[Account], lengths: dict[str, int]) -> Panic:
    """Press, and wait until the venue holds each account at a request of its own."""
    for account in accounts:
        point, acted = CHANCE.randrange(lengths[account.venue.adapter]), CHANCE.choice(["first", "never"])
        floor.simulator.fault("hang", account=account.name, skip=point, count=1, seconds=30, done=acted)
    panic = floor.press(accounts[0].desk.slug)
    until(
        lambda: all(any(call["faults"] for call in floor.simulator.log(one.name)) for one in accounts),
        "every account at its point",
    )
    return panic


def let_run(floor: Floor, accounts: list[Account]) -> Panic:
    """Press, and wait for some number of requests, of whichever accounts."""
    so_many = CHANCE.randrange(1, 9)
    since = floor.simulator.log()[-1]["seq"]
    floor.simulator.control("POST", "latency", {"fixed_ms": 30})
    panic = floor.press(accounts[0].desk.slug)
    until(lambda: len(floor.simulator.log(since=since)) >= so_many, f"{so_many} requests")
    return panic


def kill_all(floor: Floor) -> None:
    for number in floor.workers:
        floor.kill_worker(number)


def kill_one_after_the_other(floor: Floor, panic: Panic) -> None:
    """Kill a worker, and another one when it has taken over what the first one held."""
    sweep = panic.sweeps.order_by("pk")[0]
    first = until(lambda: floor.worker_of(sweep), "the worker that sweeps")
    floor.kill_worker(first)
    heir = until(lambda: floor.worker_of(sweep) or _is_over(sweep), "another worker, or the end")
    if heir is not True:
        floor.kill_worker(heir)


def _is_over(sweep: Sweep) -> bool:
    return Sweep.objects.filter(pk=sweep.pk, state__in=Sweep.OVER).exists()


@pytest.fixture(scope="module")
def kills(floor: Floor) -> Kills:
    accounts = floor.desk("undisturbed")
    before = {one: len(floor.simulator.log(one.name)) for one in accounts}
    floor.until_over(panic := floor.press("undisturbed"))
    lengths = {
        one.venue.adapter: length(floor.simulator.log(one.name)[before[one] :], one.venue.adapter)
        for one in accounts
    }
    panics, points = [panic], Counter[str]()

    for turn in range(ROUNDS):
        accounts = floor.desk(f"turn-{turn}", each=2)
        floor.until_ready()
        panic = hold_each(floor, accounts, lengths) if turn < HELD_ROUNDS else let_run(floor, accounts)
        points.update(sweep.account.venue.adapter for sweep in panic.sweeps.exclude(state__in=Sweep.OVER))
        if turn % 2:
            kill_one_after_the_other(floor, panic)
        kill_all(floor)
        floor.simulator.control("POST", "latency", {"fixed_ms": 0})
        floor.until_over(panic)
        panics.append(panic)
    return Kills(floor.verdicts(*panics), points)


@pytest.mark.parametrize(("adapter", "fault"), cells("worker killed"))
def test_worker_killed_at_random_points_only_delays(kills: Kills, adapter: str, fault: str) -> None:
    assert kills.points[adapter] == 2 * ROUNDS
    assert kills.verdicts[adapter] == []
