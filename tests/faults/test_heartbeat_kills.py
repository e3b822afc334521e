"""The heartbeat worker killed with `kill -9` while the venue holds its calls, before and after it acted.

What was asked for is done by the next worker, or by the keeper, and a press finds nothing that would follow.
"""

from collections.abc import Iterable

import pytest
from django.utils import timezone

from panicboard import countdowns
from panicboard.models import Account, Countdown
from tests.faults.floor import Floor, Verdicts
from tests.faults.matrix import cells
from tests.venue_calls import COUNTDOWNS
from tests.waiting import until

pytest_plugins = ["tests.broker_process", "tests.simulator_process", "tests.faults.floor"]
pytestmark = pytest.mark.django_db(transaction=True)
Phase = Countdown.Phase

DESK = "heartbeats"
#: What the venue does with a call that it holds: at once, or not at all.
ACTED = ("first", "never")
WHAT = ("arm", "keep alive", "disarm")


def phases(accounts: Iterable[Account]) -> set[str]:
    return set(Countdown.objects.filter(account__in=accounts).values_list("phase", flat=True))


def until_all(accounts: list[Account], phase: str) -> None:
    until(lambda: phases(accounts) == {phase}, f"all to be {phase}")


def disarm(accounts: list[Account]) -> None:
    countdowns.disarm(Countdown.objects.filter(account__in=accounts), by="risk.desk1")


def running(floor: Floor) -> set[str]:
    """The accounts of which a countdown runs at the venue."""
    return {one["account"] for one in floor.simulator.control("GET", "state")["countdowns"]}


@pytest.fixture(scope="module")
def killed(floor: Floor) -> Verdicts:
    every = floor.desk(DESK, each=len(WHAT) * len(ACTED))
    accounts = [one for one in every if one.venue.adapter in COUNTDOWNS]
    until_all(accounts, Phase.ARMED)
    of: dict[str, list[Account]] = {what: [] for what in WHAT}
    for adapter in COUNTDOWNS:
        mine = [one for one in accounts if one.venue.adapter == adapter]
        for number, account in enumerate(mine):
            of[WHAT[number % len(WHAT)]].append(account)
    disarm(of["arm"])
    until_all(of["arm"], Phase.DISARMED)

    for group in of.values():
        for number, account in enumerate(group):
            floor.simulator.fault(
                "hang",
                account=account.name,
                path=COUNTDOWNS[account.venue.adapter],
                count=1,
                seconds=30,
                done=ACTED[number % len(ACTED)],
            )
    disarm(of["disarm"])
    for account in of["arm"]:
        floor.arm(account)
    until(
        lambda: all(any(call["faults"] for call in floor.simulator.log(one.name)) for one in accounts),
        "every account held by its venue",
    )
    killed_at = timezone.now()
    floor.heartbeats.kill()
    floor.start_heartbeats()

    kept = of["arm"] + of["keep alive"]
    alive = Countdown.objects.filter(account__in=kept, phase=Phase.ARMED, acked_at__gt=killed_at)
    until(lambda: alive.count() == len(kept), "a heartbeat of all that is armed")
    until_all(of["disarm"], Phase.DISARMED)
    assert running(floor) & {one.name for one in accounts} == {one.name for one in kept}
    assert floor.simulator.control("GET", "state")["firings"] == []

    floor.until_over(panic := floor.press(DESK))
    return floor.verdicts(panic)


@pytest.mark.parametrize(("adapter", "fault"), cells("heartbeat worker killed"))
def test_killed_heartbeat_worker_only_delays(killed: Verdicts, adapter: str, fault: str) -> None:
    assert killed[adapter] == []
