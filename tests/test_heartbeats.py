"""Countdowns at their venues: set, kept alive, taken away, withheld; by real workers and a real keeper."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from panicboard import countdowns, processes
from panicboard.models import Countdown
from tests.factories import make_account, seed
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
Phase = Countdown.Phase


@pytest.fixture
def keepers(bare_product: "Product") -> "Product":
    bare_product.start_worker(processes.worker("heartbeat", 1, 8))
    bare_product.start(processes.keeper())
    return bare_product


def phases() -> dict[str, str]:
    return dict(Countdown.objects.values_list("scope", "phase"))


def test_countdown_is_set_kept_alive_and_taken_away(
    simulator: SimulatorProcess, keepers: "Product"
) -> None:
    account = make_account(simulator)

    countdowns.arm(account, ["BTCUSDT", "ETHUSDT"], by="ann", countdown_ms=6_000, refresh_ms=2_000)

    until(lambda: phases() == {"BTCUSDT": Phase.ARMED, "ETHUSDT": Phase.ARMED}, "both to be armed")
    running = simulator.control("GET", "state")["countdowns"]
    assert {one["scope"] for one in running} == {"BTCUSDT", "ETHUSDT"}
    first = {one.scope: one.runs_from for one in Countdown.objects.all()}
    until(
        lambda: all(one.runs_from > first[one.scope] + timedelta(seconds=2) for one in Countdown.objects.all()),
        "heartbeats",
    )
    countdowns.disarm(Countdown.objects.all(), by="ann")
    until(lambda: set(phases().values()) == {Phase.DISARMED}, "both to be disarmed")
    assert simulator.control("GET", "state")["countdowns"] == []
