"""The keeper: what it offers to the queue and what it leaves alone, and what it survives."""

import json
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from django.conf import settings as project
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from panicboard import keeper, processes
from panicboard.models import Account, Beat, Lease, Panic, Reading, Sweep
from tests.broker_process import Breakable
from tests.factories import make_account as make_account_at
from tests.factories import make_desk, make_venue, seed
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.broker_process", "tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
State = Sweep.State
PAST, FUTURE = timedelta(seconds=-1), timedelta(minutes=1)


def make_account(name: str, **fields: object) -> Account:
    venue = make_venue("http://127.0.0.1:9")
    return Account.objects.create(name=name, desk=make_desk(), venue=venue, **fields)


def make_sweep(
    account: Account, due: timedelta, *, lease: timedelta | None = None, **fields: object
) -> Sweep:
    """A sweep that is due so far from now, and whose lease another process holds so far from now."""
    now = timezone.now()
    fields = {"state": State.FAILED, **fields}
    return Sweep.objects.create(
        panic=Panic.objects.create(scope=Panic.Scope.ALL, pressed_at=now),
        account=account,
        due_at=now + due,
        lease_owner="" if lease is None else "worker-panic@elsewhere:1:abc",
        lease_until=None if lease is None else now + lease,
        **fields,
    )


def make_reading(account: Account, due: timedelta) -> Reading:
    return Reading.objects.create(account=account, due_at=timezone.now() + due)


def queued(broker: Path, queue: str) -> list[tuple[str, int]]:
    """The tasks in a queue, first sent first: name and the one argument."""
    with redis.Redis(unix_socket_path=str(broker)) as client:
        messages = [json.loads(message)["headers"] for message in reversed(client.lrange(queue, 0, -1))]
    return [(m["task"].removeprefix("panicboard.tasks."), int(m["argsrepr"][1:-2])) for m in messages]


def assert_about(moment: datetime, delay_s: float, before: datetime) -> None:
    """Check that a moment was set to so long after now, `before` being read just before."""
    assert before <= moment - timedelta(seconds=delay_s) <= timezone.now()


def test_sweeps_whose_wait_is_over_are_offered(broker: Path) -> None:
    one, two = (make_sweep(make_account(name), PAST) for name in ("one", "two"))
    before = timezone.now()

    assert keeper.offer_sweeps() == 2

    assert queued(broker, "panic") == [("run_sweep", one.pk), ("run_sweep", two.pk)]
    for sweep in (one, two):
        sweep.refresh_from_db()
        assert_about(sweep.due_at, project.SWEEP_LEASE_S, before)


def test_sweep_is_not_offered_twice_before_a_worker_could_take_it(broker: Path) -> None:
    sweep = make_sweep(make_account("one"), PAST)
    keeper.offer_sweeps()

    assert keeper.offer_sweeps() == 0

    assert queued(broker, "panic") == [("run_sweep", sweep.pk)]


@pytest.mark.usefixtures("direct")
def test_press_that_nobody_took_is_swept_here(broker: Path) -> None:
    sweep = make_sweep(make_account("one"), PAST, state=State.QUEUED)

    assert keeper.offer_sweeps() == 1

    assert queued(broker, "panic") == []
    swept = until(lambda: Sweep.objects.filter(pk=sweep.pk, state=State.FAILED).first(), "a try")
    assert swept is not None
    assert swept.last_word == "one has no credentials: enter its key and secret in the admin"


@pytest.mark.usefixtures("direct")
def test_sweep_that_was_offered_and_not_taken_is_swept_here(broker: Path, settings: Settings) -> None:
    settings.SWEEP_LEASE_S = 0.2
    sweep = make_sweep(make_account("one"), PAST, state=State.NOT_CLEAR)
    keeper.offer_sweeps()

    until(lambda: keeper.offer_sweeps() == 1, "the end of the offer")

    assert queued(broker, "panic") == [("run_sweep", sweep.pk)]
    until(lambda: Sweep.objects.filter(pk=sweep.pk, state=State.FAILED).exists(), "a try")


def test_sweep_of_a_dead_worker_is_offered(broker: Path) -> None:
    sweep = make_sweep(make_account("one"), PAST, lease=PAST, state=State.READING_BACK)

    keeper.offer_sweeps()

    assert queued(broker, "panic") == [("run_sweep", sweep.pk)]


@pytest.mark.parametrize(
    ("due", "lease"),
    [(PAST, FUTURE), (FUTURE, None), (FUTURE, PAST)],
    ids=["held", "not due", "lapsed, not due"],
)
def test_sweep_that_is_held_or_waits_is_left_alone(
    broker: Path, due: timedelta, lease: timedelta | None
) -> None:
    make_sweep(make_account("one"), due, lease=lease)

    assert keeper.offer_sweeps() == 0

    assert queued(broker, "panic") == []


@pytest.mark.parametrize("state", Sweep.OVER)
def test_sweep_that_is_over_is_left_alone(broker: Path, state: str) -> None:
    now = timezone.now()
    times = {"clear_at": now, "known_empty_at": now, "full_empty_at": now}
    make_sweep(make_account("one"), PAST, state=state, **times)

    assert keeper.offer_sweeps() == 0

    assert queued(broker, "panic") == []


def test_due_readings_are_offered_the_longest_due_first(broker: Path) -> None:
    one = make_reading(make_account("one"), PAST)
    two = make_reading(make_account("two"), 2 * PAST)
    make_reading(make_account("three"), FUTURE)
    before = timezone.now()

    assert keeper.offer_readings() == 2

    assert queued(broker, "background") == [
        ("read_account", two.account_id),
        ("read_account", one.account_id),
    ]
    one.refresh_from_db()
    assert_about(one.due_at, keeper.OFFER_READING_AGAIN_S, before)


def test_readings_of_disabled_accounts_are_left_alone(broker: Path) -> None:
    make_reading(make_account("one", enabled=False), PAST)

    assert keeper.offer_readings() == 0

    assert queued(broker, "background") == []


def test_readings_of_accounts_being_swept_are_left_alone(broker: Path) -> None:
    one = make_account("one")
    make_reading(one, PAST)
    sweep = make_sweep(one, FUTURE)
    assert keeper.offer_readings() == 0

    Sweep.objects.filter(pk=sweep.pk).update(state=State.RELEASED)

    assert keeper.offer_readings() == 1
    assert queued(broker, "background") == [("read_account", one.pk)]


def test_sweep_of_a_symbol_does_not_hold_up_its_accounts_readings(broker: Path) -> None:
    one = make_account("one")
    make_reading(one, PAST)
    make_sweep(one, FUTURE, whole_account=False)

    keeper.offer_readings()

    assert queued(broker, "background") == [("read_account", one.pk)]


def test_every_account_is_given_a_reading_that_is_due() -> None:
    one, two = make_account("one"), make_account("two")
    kept = make_reading(one, FUTURE)

    keeper.give_every_account_a_reading()

    assert Reading.objects.get(account=one).due_at == kept.due_at
    assert Reading.objects.get(account=two).due_at <= timezone.now()


def test_beats_of_a_day_ago_are_forgotten() -> None:
    now = timezone.now()
    Beat.objects.create(process="gone", kind="keeper", at=now - keeper.KEEP_BEATS - timedelta(seconds=1))
    Beat.objects.create(process="here", kind="keeper", at=now - keeper.KEEP_BEATS + timedelta(minutes=1))

    keeper.forget_old_beats()

    assert [beat.process for beat in Beat.objects.all()] == ["here"]


def leader_among(pids: set[int]) -> int | None:
    """The process among these that leads the keepers now."""
    lease = Lease.objects.filter(name="keeper", until__gt=timezone.now()).first()
    pid = int(lease.owner.rpartition(":")[2]) if lease else 0
    return pid if pid in pids else None


def test_one_keeper_leads_and_after_its_death_another_does(bare_product: "Product", broker: Path) -> None:
    keepers = {running.pid: running for running in [bare_product.start(processes.keeper()) for _ in range(2)]}
    until(lambda: Beat.objects.filter(kind="keeper").count() == 2, "the life signs of both keepers")
    leader = until(lambda: leader_among(set(keepers)), "a leader")
    assert leader is not None

    keepers[leader].kill()

    assert until(lambda: leader_among(set(keepers) - {leader}), "another leader")
    sweep = make_sweep(make_account("one"), PAST)
    assert until(lambda: queued(broker, "panic"), "an offer")[0] == ("run_sweep", sweep.pk)


def test_keeper_goes_on_after_the_database_failed_it(bare_product: "Product", broker: Path) -> None:
    running = bare_product.start(processes.keeper())
    until(lambda: leader_among({running.pid}), "a leader")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE panicboard_sweep RENAME TO away")
    try:
        running.wait_for_line("keeper: the database does not answer (")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE away RENAME TO panicboard_sweep")

    sweep = make_sweep(make_account("one"), PAST)

    assert until(lambda: queued(broker, "panic"), "an offer")[0] == ("run_sweep", sweep.pk)
    assert running.is_running


def test_keeper_ends_when_it_is_told_to(bare_product: "Product") -> None:
    running = bare_product.start(processes.keeper())
    until(lambda: leader_among({running.pid}), "a leader")

    running.signal(signal.SIGTERM)

    assert running.wait() == 0


def test_keeper_that_sweeps_by_itself_ends_when_it_is_told_to(
    bare_product: "Product", broken: Breakable, simulator: SimulatorProcess
) -> None:
    account = make_account_at(simulator)
    simulator.fault("refuse_cancel", order_id=seed(simulator, account)[0]["order_id"])
    broken.kill()
    running = bare_product.start(processes.keeper())
    sweep = make_sweep(account, PAST)
    owned = Sweep.objects.filter(pk=sweep.pk, state=State.NOT_CLEAR, lease_owner__contains=f":{running.pid}:")
    until(owned.exists, "a sweep in the keeper")

    running.signal(signal.SIGTERM)

    assert running.wait() == 0
    sweep.refresh_from_db()
    assert (sweep.state, sweep.lease_owner, sweep.lease_until) == (State.NOT_CLEAR, "", None)
