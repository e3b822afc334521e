"""The whole product as processes: presses end clear, also without a keeper, a broker or a worker.

What befalls processes in the middle of a panic at every venue is in `tests/faults`.
"""

from typing import TYPE_CHECKING, Any

import pytest
import redis
from django.utils import timezone

from panicboard import panics, processes
from panicboard.celery import app
from panicboard.models import Account, Lease, Panic, Reading, Sweep, SweptOrder
from panicboard.panics import Scope
from tests.broker_process import Breakable
from tests.factories import VENUES, make_account, seed
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

if TYPE_CHECKING:
    from tests.product import Product, Running

pytest_plugins = ["tests.broker_process", "tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
State = Sweep.State
Outcome = SweptOrder.Outcome


def press(scope: Scope | None = None) -> Panic:
    everything = Scope(Panic.Scope.ALL)
    return panics.start(
        scope or everything, pressed_by=None, pressed_by_name="risk.desk1", via=Panic.Via.BOARD
    ).panic


def wait_until_clear(panic: Panic) -> None:
    until(lambda: not panics.is_running(panic), f"the end of {panic}", timeout_s=60)
    assert set(panic.sweeps.values_list("state", flat=True)) == {State.CLEAR}


def assert_each_order_cancelled_once(panic: Panic, orders: list[dict[str, Any]]) -> None:
    """Check that the panic's record holds each order once, as cancelled, and nothing else."""
    recorded = SweptOrder.objects.filter(sweep__panic=panic).values_list(
        "sweep__account__name", "symbol", "venue_order_id", "outcome"
    )
    assert sorted(recorded) == sorted(
        (order["account"], order["symbol"], order["order_id"], Outcome.CANCELLED) for order in orders
    )


def until_asked(simulator: SimulatorProcess, account: Account, path: str, method: str) -> None:
    """Wait until the venue has received such a call of the account."""

    def asked() -> bool:
        calls = {(entry["method"], entry["path"]) for entry in simulator.log(account.name)}
        return (method, path) in calls

    until(asked, f"{method} {path} of {account}")


def holder(sweep: Sweep, workers: "list[Running]") -> "Running | None":
    """Which of these processes works on the sweep now."""
    owner = Sweep.objects.get(pk=sweep.pk).lease_owner
    return next((worker for worker in workers if f":{worker.pid}:" in owner), None)


def start_workers(product: "Product", count: int) -> "list[Running]":
    started = [product.start(processes.worker("panic", number + 1, 8)) for number in range(count)]
    for worker in started:
        worker.wait_for_line(" ready.")
    return started


def until_read(*accounts: Account) -> None:
    """Wait until the background has read each of these accounts."""
    until(
        lambda: Reading.objects.filter(account__in=accounts, read_at__isnull=False).count() == len(accounts),
        "a reading of every account",
    )


@pytest.mark.usefixtures("product")
def test_press_for_all_venues_ends_clear_within_their_limits(simulator: SimulatorProcess) -> None:
    accounts = [make_account(simulator, adapter, adapter) for adapter in VENUES]
    orders = [order for account in accounts for order in seed(simulator, account, 3)]
    usdm, options, portfolio, coinswitch = accounts
    orders += seed(simulator, usdm, 2, book="algo", symbol="ETHUSDT", reduce_only=True)
    orders += seed(simulator, options, symbol="ETH-261225-4000-P")
    orders += seed(simulator, portfolio, book="cm_conditional", symbol="BTCUSD_PERP")
    orders += seed(simulator, coinswitch, symbol="ETHUSDT", type="STOP_MARKET")
    until_read(*accounts)

    panic = press()

    assert panic.direct_path is False
    wait_until_clear(panic)
    assert simulator.book() == []
    assert_each_order_cancelled_once(panic, orders)
    assert {entry["status"] for entry in simulator.log()} == {200}


def leader_among(keepers: "list[Running]") -> "Running | None":
    """The one of these keepers that leads now."""
    lease = Lease.objects.filter(name="keeper", until__gt=timezone.now()).first()
    return next((one for one in keepers if lease and lease.owner.endswith(f":{one.pid}")), None)


def test_keeper_killed_while_a_sweep_waits_is_replaced_by_another(
    simulator: SimulatorProcess, bare_product: "Product"
) -> None:
    start_workers(bare_product, 1)
    keepers = [bare_product.start(processes.keeper()) for _ in range(2)]
    account = make_account(simulator)
    orders = seed(simulator, account, 3)
    simulator.fault("key_revoked")
    panic = press()
    until(
        lambda: panic.sweeps.filter(state=State.FAILED, lease_owner="").exists(),
        "a sweep that waits for the keeper",
    )
    leader = until(lambda: leader_among(keepers), "a leader")
    assert leader is not None

    leader.kill()
    simulator.clear_faults()

    wait_until_clear(panic)
    assert_each_order_cancelled_once(panic, orders)
    assert leader_among([one for one in keepers if one is not leader]) is not None


def test_broker_killed_in_the_middle_of_a_panic_costs_nothing(
    simulator: SimulatorProcess, bare_product: "Product", broken: Breakable
) -> None:
    start_workers(bare_product, 1)
    bare_product.start(processes.keeper())
    alpha, beta = (make_account(simulator, name=name) for name in ("alpha", "beta"))
    orders = [order for account in (alpha, beta) for order in seed(simulator, account, 3)]
    simulator.fault("hang", account="alpha", method="GET", path="/fapi/v1/openOrders", seconds=1, count=1)
    refused = simulator.fault("key_revoked", account="beta")
    panic = press()
    until_asked(simulator, alpha, "/fapi/v1/openOrders", "GET")

    broken.kill()
    until(
        lambda: panic.sweeps.filter(account=beta, state=State.FAILED, failures__gte=4).exists(),
        "tries without a broker",
    )
    broken.revive()
    simulator.control("DELETE", "faults", id=refused)

    wait_until_clear(panic)
    assert simulator.book() == []
    assert_each_order_cancelled_once(panic, orders)


def test_worker_comes_back_to_a_broker_that_was_away(
    simulator: SimulatorProcess, bare_product: "Product", broken: Breakable
) -> None:
    (worker,) = start_workers(bare_product, 1)
    account = make_account(simulator)
    seed(simulator, account)
    simulator.fault("hang", method="GET", path="/fapi/v1/openOrders", seconds=1, count=1)
    broken.kill()
    worker.wait_for_line("Connection to broker lost")
    broken.revive()
    until(lambda: sum("Connected to" in line for line in worker.lines) == 2, "the worker's return")

    panic = press()

    assert panic.direct_path is False
    until(lambda: holder(panic.sweeps.get(), [worker]), "a sweep in the worker")
    wait_until_clear(panic)


def test_worker_that_loses_its_broker_in_mid_sweep_ends_the_sweep_and_takes_the_next(
    simulator: SimulatorProcess, bare_product: "Product", broken: Breakable
) -> None:
    (worker,) = start_workers(bare_product, 1)
    alpha, beta = (make_account(simulator, name=name) for name in ("alpha", "beta"))
    for account in (alpha, beta):
        seed(simulator, account)
    simulator.fault("hang", account="alpha", method="GET", path="/fapi/v1/openOrders", seconds=2, count=1)
    first = press(Scope(Panic.Scope.ACCOUNT, account=alpha))
    until_asked(simulator, alpha, "/fapi/v1/openOrders", "GET")
    assert holder(first.sweeps.get(), [worker]) is worker

    broken.kill()
    worker.wait_for_line("Connection to broker lost")
    broken.revive()
    wait_until_clear(first)
    until(lambda: sum("Connected to" in line for line in worker.lines) == 2, "the worker's return")
    second = press(Scope(Panic.Scope.ACCOUNT, account=beta))

    until(lambda: holder(second.sweeps.get(), [worker]) or not panics.is_running(second), "the worker again")
    wait_until_clear(second)
    assert (worker.is_running, first.direct_path, second.direct_path) == (True, False, False)
    assert simulator.book() == []


def test_task_of_a_dead_worker_comes_back_although_another_died_looking_for_such(
    simulator: SimulatorProcess, bare_product: "Product", broken: Breakable
) -> None:
    account = make_account(simulator)
    seed(simulator, account)
    panic = press()  # without a keeper: the task alone gets it swept
    with redis.Redis(unix_socket_path=str(broken.socket)) as client, app.connection_for_read() as connection:
        channel = connection.default_channel
        message = channel.basic_get("panic")  # as a worker does that dies of it
        client.zadd("unacked_index", {message.delivery_tag: 1})
        client.lock(channel.unacked_mutex_key, timeout=channel.unacked_mutex_expire).acquire()
    start_workers(bare_product, 1)

    wait_until_clear(panic)

    assert simulator.book() == []


def test_keeper_sweeps_while_no_worker_lives(simulator: SimulatorProcess, bare_product: "Product") -> None:
    bare_product.start(processes.keeper())
    accounts = [make_account(simulator, name=name) for name in ("alpha", "beta")]
    orders = [order for account in accounts for order in seed(simulator, account, 3)]

    panic = press()

    assert panic.direct_path is False
    wait_until_clear(panic)
    assert simulator.book() == []
    assert_each_order_cancelled_once(panic, orders)
