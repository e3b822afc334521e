"""From a press to a sweep: by the queue while it answers, in the pressed process while it does not."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from panicboard import dispatch, panics, processes, readings
from panicboard.models import Account, Panic, Sweep, SweptOrder
from panicboard.panics import Scope
from tests.broker_process import Breakable
from tests.factories import make_account, seed
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.broker_process", "tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker", "direct")]
State = Sweep.State
#: What one sweep of one known symbol asks of both books: cancel once, read back the symbol, then all.
ONE_SWEEP = {
    "/fapi/v1/algoOpenOrders": 1,
    "/fapi/v1/allOpenOrders": 1,
    "/fapi/v1/openAlgoOrders": 2,
    "/fapi/v1/openOrders": 2,
}


def press(scope: Scope | None = None) -> Panic:
    everything = Scope(Panic.Scope.ALL)
    return panics.start(
        scope or everything, pressed_by=None, pressed_by_name="risk.desk1", via=Panic.Via.BOARD
    ).panic


def press_account(account: Account) -> Panic:
    return press(Scope(Panic.Scope.ACCOUNT, account=account))


def wait_until_clear(panic: Panic) -> None:
    until(lambda: not panics.is_running(panic), f"the end of {panic}")
    assert set(panic.sweeps.values_list("state", flat=True)) == {State.CLEAR}


def queued(broker: Path) -> list[str]:
    """What waits for the panic workers: their arguments."""
    with redis.Redis(unix_socket_path=str(broker)) as client:
        return [message.decode() for message in client.lrange("panic", 0, -1)]


def paths(simulator: SimulatorProcess, since: int) -> list[str]:
    """What the venues were asked since then, in the order of arrival."""
    return [entry["path"] for entry in simulator.log(since=since)]


def test_press_is_taken_by_the_queue(simulator: SimulatorProcess, broker: Path) -> None:
    make_account(simulator, name="alpha")
    make_account(simulator, name="beta")

    panic = press()

    assert panic.direct_path is False
    assert len(queued(broker)) == 2
    assert {sweep.state for sweep in panic.sweeps.all()} == {State.QUEUED}
    assert simulator.log() == []


@pytest.fixture
def others_wait(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let the tasks behind a panic's first wait for this test instead of a moment."""
    go_on = threading.Event()
    monkeypatch.setattr(dispatch, "OTHERS_AFTER_S", 60.0)
    monkeypatch.setattr(dispatch, "_others_may_follow", go_on)
    yield go_on
    go_on.set()
    dispatch.finish_queueing()


def many_accounts(simulator: SimulatorProcess, count: int) -> list[Account]:
    first = make_account(simulator, name="alpha")
    return [first, *(make_account(simulator, name=f"beta-{number:02}") for number in range(1, count))]


def test_press_of_many_accounts_is_answered_after_its_first_tasks(
    simulator: SimulatorProcess, broker: Path, others_wait: threading.Event
) -> None:
    many_accounts(simulator, dispatch.QUEUED_FIRST + 4)

    panic = press()

    assert panic.direct_path is False
    assert len(queued(broker)) == dispatch.QUEUED_FIRST
    others_wait.set()
    dispatch.finish_queueing()
    assert len(queued(broker)) == dispatch.QUEUED_FIRST + 4


def test_what_a_worker_took_along_meanwhile_is_not_queued(
    simulator: SimulatorProcess, broker: Path, others_wait: threading.Event
) -> None:
    many_accounts(simulator, dispatch.QUEUED_FIRST + 4)
    panic = press()
    last, before = panic.sweeps.order_by("-pk")[:2]
    Sweep.objects.filter(pk=last.pk).update(lease_owner="worker-panic@elsewhere:1:abc")
    Sweep.objects.filter(pk=before.pk).update(state=State.CANCELLING)

    others_wait.set()
    dispatch.finish_queueing()

    assert len(queued(broker)) == dispatch.QUEUED_FIRST + 2


def test_broker_lost_behind_the_first_tasks_leaves_the_rest_to_the_pressed_process(
    simulator: SimulatorProcess, broken: Breakable, others_wait: threading.Event
) -> None:
    accounts = many_accounts(simulator, dispatch.QUEUED_FIRST + 2)
    for account in accounts:
        seed(simulator, account)
    panic = press()
    assert panic.direct_path is False
    broken.kill()

    others_wait.set()
    dispatch.finish_direct()

    assert Panic.objects.get().direct_path is True
    rest = panic.sweeps.order_by("pk")[dispatch.QUEUED_FIRST :]
    assert [sweep.state for sweep in rest] == [State.CLEAR] * 2
    assert {order["account"] for order in simulator.book()}.isdisjoint(sweep.account.name for sweep in rest)
    assert len(simulator.book()) == dispatch.QUEUED_FIRST  # what the lost broker held is the keeper's


def test_press_runs_here_while_the_broker_refuses(simulator: SimulatorProcess, broken: Breakable) -> None:
    for name in ("alpha", "beta"):
        seed(simulator, make_account(simulator, name=name), 3)
    broken.kill()

    panic = press()

    assert panic.direct_path is True
    assert Panic.objects.get().direct_path is True
    wait_until_clear(panic)
    assert simulator.book() == []
    assert SweptOrder.objects.filter(outcome=SweptOrder.Outcome.CANCELLED).count() == 6


def test_queue_takes_again_what_is_pressed_after_the_brokers_return(
    simulator: SimulatorProcess, broken: Breakable
) -> None:
    one, two = make_account(simulator, name="alpha"), make_account(simulator, name="beta")
    broken.kill()
    assert dispatch.queue_answers() is False
    wait_until_clear(press_account(one))
    broken.revive()

    panic = press_account(two)

    assert dispatch.queue_answers() is True
    assert panic.direct_path is False
    assert len(queued(broken.socket)) == 1


def test_frozen_broker_loses_nothing_and_nobody_sweeps_twice_at_once(
    simulator: SimulatorProcess, broken: Breakable, bare_product: "Product"
) -> None:
    bare_product.start_worker(processes.worker("panic", 1, 8))
    account = make_account(simulator)
    orders = seed(simulator, account, 3)
    readings.read(account)
    before = simulator.control("GET", "state")["requests"]
    simulator.fault("hang", path="/fapi/v1/openOrders", seconds=2, count=1)
    broken.freeze()
    panic = press_account(account)
    assert panic.direct_path is True
    until(lambda: "/fapi/v1/openOrders" in paths(simulator, before), "the direct path's reading")

    broken.thaw()
    assert dispatch.queue("run_sweep", [panic.sweeps.get().pk]) == 1
    until(lambda: broken.all_done("panic"), "the worker's end of what the queue held")

    wait_until_clear(panic)
    assert simulator.book() == []
    assert Counter(path for path in paths(simulator, before) if path in ONE_SWEEP) == ONE_SWEEP
    assert sorted(panic.sweeps.get().orders.values_list("venue_order_id", "outcome")) == sorted(
        (order["order_id"], SweptOrder.Outcome.CANCELLED) for order in orders
    )


def test_sweep_offered_often_takes_one_thread_only(simulator: SimulatorProcess, broken: Breakable) -> None:
    stuck, other = make_account(simulator, name="alpha"), make_account(simulator, name="beta")
    order = seed(simulator, stuck)[0]
    seed(simulator, other)
    simulator.fault("refuse_cancel", order_id=order["order_id"])
    broken.kill()
    panic = press_account(stuck)
    sweep = panic.sweeps.get()
    until(lambda: panic.sweeps.filter(state=State.NOT_CLEAR).exists(), "a round of the stuck sweep")
    for _ in range(70):
        dispatch.sweeps([sweep.pk])

    wait_until_clear(press_account(other))

    assert panics.is_running(panic)
    simulator.clear_faults()
    wait_until_clear(panic)
    dispatch.finish_direct()


def test_many_failing_accounts_do_not_hold_up_the_one_that_can_be_swept(
    simulator: SimulatorProcess, broken: Breakable
) -> None:
    good = make_account(simulator, name="zulu", desk="zebra")
    seed(simulator, good)
    Account.objects.bulk_create(
        Account(desk=good.desk, venue=good.venue, name=f"keyless-{number:02}") for number in range(80)
    )
    broken.kill()

    panic = press()

    swept = panic.sweeps.get(account=good)
    until(lambda: Sweep.objects.get(pk=swept.pk).state == State.CLEAR, "the end of the good sweep")
    assert simulator.book() == []
    assert panic.sweeps.filter(state=State.FAILED).count() == 80
    panics.release(panic, released_by=None, released_by_name="risk.desk1", reason="nothing to sweep there")
    dispatch.finish_direct()
