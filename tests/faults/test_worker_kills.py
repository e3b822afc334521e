"""Workers killed with `kill -9` at twenty random points of their sweeps at each venue.

A point is a request of the sweep, held by the venue before or after it acted, or a moment at which some
number of requests had been sent: no sweep gets beyond its last request by then, which is held as well. One
panic over two accounts of each venue has eight points; whichever worker or keeper comes next goes on from
what is written down.
"""

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from django.db.models import QuerySet

from panicboard.models import Account, Panic, Sweep
from tests.faults.floor import Floor, Verdicts
from tests.faults.judge import us
from tests.faults.matrix import cells
from tests.venue_calls import CALLS, is_about_orders
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


def sweeps_of(panic: Panic) -> QuerySet[Sweep]:
    return panic.sweeps.select_related("account__venue", "panic")


def length(floor: Floor, sweep: Sweep) -> int:
    """How many requests about orders a sweep made until its end: the latch looks on after it."""
    during, adapter = (us(sweep.panic.pressed_at), us(sweep.clear_at)), sweep.account.venue.adapter
    return sum(
        during[0] <= call["arrived_us"] <= during[1] and is_about_orders(call, adapter)
        for call in floor.simulator.log(sweep.account.name)
    )


def hold(floor: Floor, account: Account, point: int, acted: str) -> None:
    """Let the venue hold the account's request about orders that comes after so many."""
    path = CALLS[account.venue.adapter].every
    floor.simulator.fault(
        "hang", account=account.name, path=path, skip=point, count=1, seconds=30, done=acted
    )


def hold_each(floor: Floor, accounts: list[Account], lengths: dict[str, int]) -> Panic:
    """Press, and wait until the venue holds each account at a request of its own."""
    for account in accounts:
        point = CHANCE.randrange(lengths[account.venue.adapter])
        hold(floor, account, point, CHANCE.choice(["first", "never"]))
    panic = floor.press(accounts[0].desk.slug)
    until(
        lambda: all(any(call["faults"] for call in floor.simulator.log(one.name)) for one in accounts),
        "every account at its point",
    )
    return panic


def let_run(floor: Floor, accounts: list[Account], lengths: dict[str, int]) -> Panic:
    """Press, and wait for some number of requests, of whichever accounts."""
    for account in accounts:
        hold(floor, account, lengths[account.venue.adapter] - 1, "never")
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
    floor.desk("undisturbed")
    floor.until_over(panic := floor.press("undisturbed"))
    lengths = {sweep.account.venue.adapter: length(floor, sweep) for sweep in sweeps_of(panic)}
    panics, points = [panic], Counter[str]()

    for turn in range(ROUNDS):
        accounts = floor.desk(f"turn-{turn}", each=2)
        floor.until_ready()
        panic = (hold_each if turn < HELD_ROUNDS else let_run)(floor, accounts, lengths)
        points.update(sweep.account.venue.adapter for sweep in sweeps_of(panic).exclude(state__in=Sweep.OVER))
        if turn % 2:
            kill_one_after_the_other(floor, panic)
        kill_all(floor)
        floor.simulator.clear_faults()
        floor.simulator.control("POST", "latency", {"fixed_ms": 0})
        floor.until_over(panic)
        panics.append(panic)
    return Kills(floor.verdicts(*panics), points)


@pytest.mark.parametrize(("adapter", "fault"), cells("worker killed"))
def test_worker_killed_at_random_points_only_delays(kills: Kills, adapter: str, fault: str) -> None:
    assert kills.points[adapter] == 2 * ROUNDS
    assert kills.verdicts[adapter] == []
