"""A keeper killed every five seconds for a minute, over 500 countdowns of ten seconds: none fires."""

import threading
import time

import pytest
import requests

from panicboard import countdowns, processes
from panicboard.models import Account, Countdown, Venue
from tests.factories import make_account
from tests.product import Product
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

pytest_plugins = ["tests.broker_process", "tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

FOR_S, EVERY_S = 60, 5
ACCOUNTS, SYMBOLS = 25, 20
LENGTH_MS, REFRESH_MS = 10_000, 3_300


def test_no_countdown_fires_however_often_the_keeper_is_killed(
    simulator: SimulatorProcess, bare_product: Product
) -> None:
    simulator.control("POST", "limits", {"on": False})
    bare_product.start_worker(processes.worker("heartbeat", 1, 32))
    keepers = [bare_product.start(processes.keeper()) for _ in range(2)]
    arm_all(simulator)
    until(lambda: not Countdown.objects.exclude(phase=Countdown.Phase.ARMED).exists(), "all to be armed", 60)
    began_at = time.monotonic()

    killed = 0
    while time.monotonic() - began_at < FOR_S:
        keepers.pop(0).kill()
        killed += 1
        keepers.append(bare_product.start(processes.keeper()))
        threading.Event().wait(EVERY_S)  # the pace is the fault's own

    state = simulator.control("GET", "state")
    assert (killed, state["firings"], len(state["countdowns"])) == (FOR_S // EVERY_S, [], ACCOUNTS * SYMBOLS)
    assert not Countdown.objects.exclude(phase=Countdown.Phase.ARMED).exists()


def arm_all(simulator: SimulatorProcess) -> None:
    told = requests.get(f"{simulator.url}/fapi/v1/exchangeInfo", timeout=10).json()
    symbols = sorted(one["symbol"] for one in told["symbols"] if one["status"] == "TRADING")[:SYMBOLS]
    assert len(symbols) == SYMBOLS
    for number in range(ACCOUNTS):
        make_account(simulator, name=f"alpha-{number}")
    Venue.objects.update(limit_override=10_000_000)
    for account in Account.objects.select_related("venue"):
        countdowns.arm(account, symbols, by="ann", countdown_ms=LENGTH_MS, refresh_ms=REFRESH_MS)
