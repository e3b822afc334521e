"""What can befall a venue's call: at each call of a sweep, once or for as long as the fault lasts.

While a fault lasts no sweep is clear that it keeps from knowing, and each says why; once it has ended, all
end clear and proven. A healthy account in the same panic notices nothing.
"""

from dataclasses import dataclass
from typing import Any

import pytest
from django.utils import timezone

from panicboard.models import Sweep
from tests.faults.bad_days import CALL_FAULTS
from tests.faults.matrix import cells
from tests.faults.scene import BESIDE, Scene
from tests.sweep_stage import Events, Outcome, State
from tests.venue_calls import CALLS, at

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage", "tests.faults.scene"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]


@dataclass(frozen=True)
class Moment:
    """A call of a sweep to strike: how many orders it takes for the sweep to make it, how often to try."""

    orders: int = 2
    deliveries: int = 2


MOMENTS = {
    "every call": Moment(),
    "cancel": Moment(deliveries=4),  # from the third round on also one by one
    "known listing": Moment(),
    "full listing": Moment(),
    "query": Moment(orders=1),
}
#: Struck once, each call by itself.
ONCE = {name: MOMENTS[name] for name in list(MOMENTS)[1:]} | {
    "history": Moment(orders=6)
}  # few are asked for


def places(adapter: str, moment: str) -> list[dict[str, Any]]:
    """Where that is at a venue, as the simulator wants it."""
    calls = CALLS[adapter]
    match moment:
        case "every call":
            return [{"path": calls.every}]
        case "cancel" if adapter == "coinswitch":
            return [at(calls.cancel), at(calls.cancel_one)]
        case "cancel":
            return [{"method": "DELETE"}]
        case "known listing":
            return [at(calls.listing)]
        case "full listing":
            known_first = {"skip": 1} if calls.full[-1] == calls.listing else {}
            return [{**at(calls.full[-1]), **known_first}]
        case "query":
            return [at(calls.query)]
    return [at(calls.history)]


def left(adapter: str, fault: str) -> Outcome:
    """What is told of orders that cannot be cancelled."""
    if adapter in CALL_FAULTS[fault].limits:
        return Outcome.SENT  # nothing is read then
    if fault == "key revoked" or (adapter == "coinswitch" and "clock" in fault):
        return Outcome.REJECTED  # nor when the key is refused
    return Outcome.STILL_OPEN


def try_in_vain(scene: Scene, sweep: Sweep, says: str, deliveries: int) -> Sweep:
    """However often it is tried, the sweep is not clear, says why, and when it goes on."""
    for _ in range(deliveries):
        began_at = timezone.now()
        sweep = scene.deliver(sweep)
        assert sweep.state in (State.FAILED, State.NOT_CLEAR)
        assert says in sweep.last_word
        assert sweep.due_at > began_at
        assert (sweep.clear_at, sweep.full_empty_at) == (None, None)
        scene.stage.minute_passes()
    return sweep


def assert_silent(scene: Scene, sweep: Sweep) -> None:
    """While the venue refuses every call of its address, no other account of it sends one."""
    before = scene.simulator.log(sweep.account.name)
    sweep = scene.deliver(sweep)
    assert scene.simulator.log(sweep.account.name) == before
    assert "the venue refuses" in sweep.last_word


@pytest.mark.parametrize(("adapter", "fault"), cells(*CALL_FAULTS))
def test_sweep_is_never_clear_while_it_lasts(scene: Scene, adapter: str, fault: str) -> None:
    bad = CALL_FAULTS[fault]
    silences = bad.silences(adapter)
    scene.healthy(BESIDE[adapter] if silences else adapter)
    for name, moment in MOMENTS.items():
        scene.account(adapter, name, moment.orders)
    sweeps = scene.press()
    says = bad.words(adapter)

    with scene.struck(sweeps["every call"].account, bad, *places(adapter, "every call")):
        scene.deliver(sweeps["every call"])
        if silences:
            assert_silent(scene, sweeps["cancel"])
        scene.assert_healthy_undisturbed()
        scene.stage.minute_passes()
        try_in_vain(scene, sweeps["every call"], says, 1)
    for name, moment in list(MOMENTS.items())[1:]:
        sweep, where = sweeps[name], places(adapter, name)
        if silences:
            where = where[:1]  # after its first refusal no other call is made
        if name == "cancel" and bad.acts:
            with scene.struck(sweep.account, bad, where[0]):
                scene.assert_held(sweep)  # only the answer is lost: the lists tell that they are gone
            continue
        with scene.struck(sweep.account, bad, *where):
            sweep = try_in_vain(scene, sweep, says, moment.deliveries)
            open_now = scene.simulator.book(sweep.account.name)
            outcomes = set(scene.stage.rows(sweep).values())
        if name == "cancel":
            assert len(open_now) == sweep.orders.count()
            assert outcomes == {left(adapter, fault)}
            continue
        assert open_now == []  # all is cancelled; only nobody can know
        if name == "query":
            assert (Outcome.ACKED if adapter in bad.limits else Outcome.UNKNOWN) in outcomes

    for name in MOMENTS:
        scene.assert_held(Sweep.objects.get(pk=sweeps[name].pk))


@pytest.mark.parametrize(("adapter", "fault"), cells(*CALL_FAULTS))
def test_sweep_gets_over_one_bad_moment(scene: Scene, adapter: str, fault: str) -> None:
    bad = CALL_FAULTS[fault]
    for name, moment in ONCE.items():
        scene.account(adapter, name, moment.orders)
    sweeps = scene.press()

    for name in ONCE:
        with scene.struck(sweeps[name].account, bad, places(adapter, name)[0], count=1):
            sweep = scene.deliver(sweeps[name])
            scene.stage.minute_passes()
            scene.assert_held(sweep)


@pytest.mark.parametrize("name", ["503 unavailable", "connection cut before acting"])
@pytest.mark.parametrize("adapter", CALLS)
def test_sweep_cancels_one_by_one_where_the_mass_cancel_fails(scene: Scene, adapter: str, name: str) -> None:
    account = scene.account(adapter, count=3)
    sweep = scene.press()["alpha"]

    with scene.struck(account, CALL_FAULTS[name], at(CALLS[adapter].cancel)):
        scene.assert_held(sweep)


#: What a venue's clock says while ours is so much off, in ms.
OFF = {"our clock 5 s fast": -5000, "our clock 5 s slow": 5600}


@pytest.mark.parametrize(("adapter", "fault"), cells(*OFF))
def test_clock_that_the_venue_tells_of_holds_nobody_up(scene: Scene, adapter: str, fault: str) -> None:
    for name in ("alpha", "beta"):
        scene.account(adapter, name)
    sweeps = scene.press()

    scene.simulator.fault("clock_skew_ms", venue=adapter, ms=OFF[fault])

    for sweep in sweeps.values():
        scene.assert_held(sweep)
        assert sweep.orders.filter(outcome=Outcome.CANCELLED).exists()


@pytest.mark.parametrize(("adapter", "fault"), cells("key revoked"))
def test_key_revoked_in_mid_sweep_leaves_it_unfinished(
    scene: Scene, events: Events, adapter: str, fault: str
) -> None:
    scene.healthy(adapter)
    account = scene.account(adapter)
    events.before(CALLS[adapter].listing, lambda: scene.simulator.fault("key_revoked", account=account.name))
    sweep = scene.press()["alpha"]

    stopped = scene.deliver(sweep)
    again = scene.deliver(stopped)
    scene.assert_healthy_undisturbed()
    scene.simulator.clear_faults()
    scene.stage.minute_passes()
    scene.assert_held(again)

    for one in (stopped, again):
        assert (one.state, one.known_empty_at) == (State.FAILED, None)
        assert "HTTP 401" in one.last_word
