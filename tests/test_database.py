"""Connections to a database server are few: whoever waits for a venue holds none.

The first test holds for SQLite as well; the others tell something where TEST_DATABASE_URL names a PostgreSQL.
"""

import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from panicboard import database, panics, processes, readings
from panicboard.models import Account, Panic, Reading, Sweep
from panicboard.panics import Scope
from tests import database as tested
from tests import pages
from tests.factories import make_account, seed
from tests.simulator_process import SimulatorProcess
from tests.sweep_stage import Events, Stage
from tests.venue_calls import CALLS
from tests.waiting import until

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = pytest.mark.django_db(transaction=True)
HUNG = 4 * database.MOST


def read_account(simulator: SimulatorProcess, name: str) -> Account:
    """An account with an order on a symbol that is known, and that no background reading asks for."""
    account = make_account(simulator, name=name)
    seed(simulator, account)
    now = timezone.now()
    readings.ensure(account)
    Reading.objects.filter(account=account).update(
        symbols={"ordinary BTCUSDT": now.isoformat()}, read_at=now, due_at=now + timedelta(hours=1)
    )
    return account


def connections_to_it() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def test_venue_that_hangs_for_many_accounts_keeps_no_other_from_its_sweep(
    simulator: SimulatorProcess, bare_product: "Product", broker: object
) -> None:
    hung = [read_account(simulator, f"hung-{number}") for number in range(HUNG)]
    read_account(simulator, "healthy")
    simulator.control("POST", "limits", {"on": False})
    for account in hung:
        path = CALLS["binance-usdm"].every
        simulator.fault("hang", account=account.name, path=path, seconds=60, done="never")
    bare_product.start_worker(processes.worker("panic", 1, 100))
    bare_product.start(processes.keeper())

    scope = Scope(Panic.Scope.ALL)
    panic = panics.start(scope, pressed_by=None, pressed_by_name="x", via=Panic.Via.SHELL).panic
    healthy = panic.sweeps.get(account__name="healthy")
    until(lambda: Sweep.objects.get(pk=healthy.pk).state == Sweep.State.CLEAR, "the clear of the healthy one")

    assert not panic.sweeps.filter(account__in=hung, state=Sweep.State.CLEAR).exists()
    if not tested.is_sqlite():
        assert connections_to_it() <= 2 * database.MOST + 2  # a worker, the keeper, and this process
    simulator.clear_faults()


@pytest.mark.parametrize("adapter", CALLS)
def test_no_connection_is_held_while_a_venue_is_awaited(
    stage: Stage, events: Events, broker: object, adapter: str
) -> None:
    account = stage.account(adapter)
    stage.seed(account, 2)
    held: list[bool] = []
    for call in (CALLS[adapter].cancel, CALLS[adapter].listing):
        events.before(call, lambda: held.append(connection.connection is not None))

    stage.read(account)
    stage.assert_proven(stage.work_until_over(stage.press(account)))

    assert len(held) == 2
    assert tested.is_sqlite() or not any(held)


def test_connection_is_let_go_of_only_where_there_are_few_and_outside_a_transaction() -> None:
    def is_open_after(act: Callable[[], None]) -> bool:
        Panic.objects.exists()
        act()
        return connection.connection is not None

    assert is_open_after(database.let_go) is tested.is_sqlite()
    with transaction.atomic():
        assert is_open_after(database.let_go)


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_press_is_not_refused_because_another_transaction_and_it_wait_for_each_other(broker: object) -> None:
    first, second = pages.make_account("alpha"), pages.make_account("beta")
    holds, refused = threading.Event(), list[OperationalError]()

    def write_in_the_other_order() -> None:
        try:
            with transaction.atomic():
                Account.objects.filter(pk=second.pk).update(strategy="x")
                holds.set()
                if not tested.is_sqlite():  # which has one writer at a time anyway
                    until(somebody_waits_for_a_lock, "the press to wait")
                Account.objects.filter(pk=first.pk).update(strategy="x")
        except OperationalError as exc:
            refused.append(exc)  # it is this one that the server chose
        finally:
            connections.close_all()

    other = threading.Thread(target=write_in_the_other_order)
    other.start()
    assert holds.wait(10)

    pressed = panics.start(Scope(Panic.Scope.ALL), pressed_by=None, pressed_by_name="x", via=Panic.Via.SHELL)

    other.join(10)
    assert not other.is_alive()
    assert all(map(database.is_deadlock, refused))
    assert pressed.panic.sweeps.count() == 2
    assert not Account.objects.filter(latched_by=None).exists()


def test_version_is_another_after_a_commit_of_anybody_and_the_same_after_none() -> None:
    account = pages.make_account("alpha")

    def commit() -> None:
        Account.objects.filter(pk=account.pk).update(strategy="x")
        connections.close_all()

    def version() -> object:
        Panic.objects.exists()  # reading is no commit
        return database.version()

    seen = [version(), version()]
    other = threading.Thread(target=commit)
    other.start()
    other.join(10)
    seen += [version(), version()]
    Account.objects.filter(pk=account.pk).update(strategy="y")
    seen += [version(), version()]

    assert [one == before for before, one in pairwise(seen)] == [
        True,
        False,
        True,
        False,
        True,
    ]
