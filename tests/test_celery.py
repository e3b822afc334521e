"""The workers and their broker: what they do when it is gone for a moment."""

from typing import TYPE_CHECKING

import pytest

from panicboard import panics, processes
from panicboard.models import Panic, Sweep
from panicboard.panics import Scope
from tests.broker_process import Breakable
from tests.factories import make_account, seed
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.broker_process", "tests.simulator_process"]
pytestmark = pytest.mark.django_db(transaction=True)


def press() -> Panic:
    everything = Scope(Panic.Scope.ALL)
    return panics.start(everything, pressed_by=None, pressed_by_name="risk.desk1", via=Panic.Via.SHELL).panic


def test_worker_with_a_task_under_way_outlives_its_broker(
    simulator: SimulatorProcess, bare_product: "Product", broken: Breakable
) -> None:
    worker = bare_product.start_worker(processes.worker("panic", 1, 8))
    account = make_account(simulator)
    seed(simulator, account)
    simulator.fault("hang", method="GET", path="/fapi/v1/openOrders", seconds=4, count=1)
    first = press()
    until(
        lambda: any(call["path"] == "/fapi/v1/openOrders" for call in simulator.log()),
        "a sweep in the middle of its reading",
    )

    broken.kill()
    worker.wait_for_line("Connection to broker lost")
    broken.revive()
    until(lambda: sum("Connected to" in line for line in worker.lines) == 2, "the worker's return")
    until(lambda: not panics.is_running(first), "the end of the sweep that was under way")
    # Nobody else is here to work on the next one.
    second = press()
    assert second.direct_path is False
    until(lambda: not panics.is_running(second), "the end of the next sweep")

    sweeps = Sweep.objects.values_list("panic", "state", "failures")
    assert set(sweeps) == {(one.pk, Sweep.State.CLEAR, 0) for one in (first, second)}
    assert worker.is_running
