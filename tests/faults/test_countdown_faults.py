"""What can befall the calls about countdowns: when one is armed, kept alive and disarmed.

While a fault lasts a countdown is never said to be more than it is at the venue; once it has ended, all is as
it was asked for; and a press in its midst is followed by no heartbeat.
"""

import queue
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from panicboard import countdown_state, countdowns, heartbeat_jobs, heartbeat_results, heartbeats
from panicboard.countdown_state import State
from panicboard.models import Account, Countdown
from tests.faults.bad_days import CALL_FAULTS, BadDay
from tests.faults.matrix import cells
from tests.faults.scene import Scene
from tests.venue_calls import COUNTDOWNS, is_heartbeat

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage", "tests.faults.scene"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
Phase = Countdown.Phase

SCOPE = "BTCUSDT"
LENGTH_MS, REFRESH_MS = 60_000, 5_000
#: What may be said of a countdown while the call in question does not come through.
SAID = {
    "arming struck": {State.ARMING},
    "heartbeat struck": {State.LAPSING, State.UNKNOWN},
    "disarming struck": {State.DISARMING},
}
ENDS = {"arming struck": Phase.ARMED, "heartbeat struck": Phase.ARMED, "disarming struck": Phase.DISARMED}


@pytest.fixture(autouse=True)
def _results(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call came to is written down by this test, and none is left of another."""
    monkeypatch.setattr(heartbeat_results, "_results", queue.SimpleQueue())


def words(bad: BadDay, adapter: str) -> str:
    """What the board must name: the refusal itself, of which a sweep tells how long it lasts."""
    return "HTTP 429 -1003" if bad.kind == "429_retry_after" else bad.words(adapter)


def work() -> list[str]:
    """Do what is due of every countdown, whenever it is due, as a worker does. Returns what was called."""
    later = timezone.now() + timedelta(hours=1)
    Countdown.objects.filter(due_at__lte=later).update(due_at=timezone.now())
    jobs = heartbeat_jobs.claim(list(Countdown.objects.values_list("pk", flat=True)))
    for job in jobs:
        heartbeats._run(job)
    results = heartbeat_results._results
    heartbeat_results.write([results.get() for _ in range(results.qsize())])
    return [job.what for job in jobs]


def arm(account: Account) -> None:
    countdowns.arm(account, [SCOPE], by="ann", countdown_ms=LENGTH_MS, refresh_ms=REFRESH_MS)


def stand_before(call: str, account: Account) -> None:
    """Bring the account's countdown to where this call is the next."""
    arm(account)
    if call == "arming struck":
        return
    assert work() == ["set"]
    if call == "disarming struck":
        countdowns.disarm(Countdown.objects.all(), by="ann")


def at_venue(scene: Scene) -> dict[str, int]:
    """What runs there, and how many milliseconds are left."""
    running = scene.simulator.control("GET", "state")["countdowns"]
    return {one["scope"]: one["left_ms"] for one in running}


def assert_no_more_is_said_than_is(scene: Scene, account: Account) -> State:
    """A deadline that is shown is not later than the venue's; what is disarmed does not run."""
    (line,) = countdown_state.of_account(account, timezone.now())
    running = at_venue(scene)
    if line.state is State.DISARMED:
        assert running == {}
    if line.state.is_armed:
        assert line.deadline_at is not None
        said_ms = (line.deadline_at - timezone.now()).total_seconds() * 1000
        assert SCOPE in running
        assert said_ms <= running[SCOPE]
    return line.state


def heartbeats_of(scene: Scene, account: Account) -> list[dict[str, Any]]:
    return [call for call in scene.simulator.log(account.name) if is_heartbeat(call)]


each_call = pytest.mark.parametrize(("adapter", "call"), cells(*SAID))
each_fault = pytest.mark.parametrize("bad", CALL_FAULTS.values(), ids=CALL_FAULTS)


@each_call
@each_fault
def test_countdown_is_what_it_is_said_to_be(scene: Scene, adapter: str, call: str, bad: BadDay) -> None:
    account = scene.account(adapter)
    stand_before(call, account)

    with scene.struck(account, bad, {"path": COUNTDOWNS[adapter]}):
        for _ in range(2):
            assert work()
            scene.stage.minute_passes()
            said = assert_no_more_is_said_than_is(scene, account)
            assert said in SAID[call]
            assert words(bad, adapter) in Countdown.objects.get().failure

    work()
    one = Countdown.objects.get()
    assert (one.phase, one.failure, one.misses) == (ENDS[call], "", 0)
    assert_no_more_is_said_than_is(scene, account)
    assert bool(at_venue(scene)) is (one.phase == Phase.ARMED)


@each_call
@each_fault
def test_press_in_its_midst_is_followed_by_no_heartbeat(
    scene: Scene, adapter: str, call: str, bad: BadDay
) -> None:
    account = scene.account(adapter)
    stand_before(call, account)

    with scene.struck(account, bad, {"path": COUNTDOWNS[adapter]}):
        assert work()
        before = heartbeats_of(scene, account)
        sweep = scene.press()[account.name]
        work()
    work()
    scene.assert_held(sweep)
    work()

    assert heartbeats_of(scene, account) == before
    assert Countdown.objects.get().phase == Phase.WITHHELD
    with pytest.raises(countdowns.Refused, match="latched"):
        countdowns.disarm(Countdown.objects.all(), by="ann")
    with pytest.raises(countdowns.Refused, match="latched"):
        arm(account)
