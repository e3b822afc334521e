"""Who works on a sweep, and who stops: wider presses, releases, lapsed leases, tasks delivered ten times."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.utils import timezone

from panicboard import panics, rush
from panicboard.models import Account, Panic, Sweep
from tests.factories import BOOKS, VENUES
from tests.faults.matrix import cells
from tests.faults.scene import Scene
from tests.sweep_stage import Events, Outcome, Stage, State, in_thread, is_cancel
from tests.venue_calls import CALLS, at

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage", "tests.faults.scene"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

DELIVERIES = {"task delivered twice": 2, "task delivered ten times at once": 10}


def release(panic: Panic) -> int:
    return panics.release(
        panic, released_by=None, released_by_name="risk.desk2", reason="orders checked at the venue"
    )


def requests(stage: Stage, account: Account) -> int:
    return len(stage.simulator.log(account.name))


@pytest.mark.parametrize("adapter", VENUES)
def test_wider_press_takes_over_what_is_unresolved(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    stays = stage.seed(account, 2)[0]
    stage.account("binance-options", "beta")
    refusal = stage.simulator.fault("refuse_cancel", account=account.name, order_id=stays["order_id"])
    old = stage.press(account)
    for _ in range(2):
        stage.work(old)

    wide = stage.press_all()["alpha"]
    asked = requests(stage, account)
    old = stage.work(old)
    asked_by_old = requests(stage, account) - asked
    stage.minute_passes()
    wide = stage.work(wide)
    rows = stage.rows(wide)
    stage.simulator.control("DELETE", "faults", None, id=refusal)
    stage.minute_passes()
    wide = stage.work_until_over(wide)

    assert (old.state, old.handed_over_to, asked_by_old) == (State.HANDED_OVER, wide.panic, 0)
    assert rows[
        ("um" if adapter == "binance-portfolio" else "ordinary", BOOKS[adapter][1], stays["order_id"])
    ] == (Outcome.STILL_OPEN)
    assert (wide.state, stage.simulator.book(account.name)) == (State.CLEAR, [])
    # What was gone before the wider press belongs to the older panic, whatever else is seen again.
    assert {**stage.rows(old), **stage.rows(wide)} == stage.truth(account)


def test_wider_press_takes_a_symbols_sweep_over_too(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)
    stays = stage.seed(account, symbol="ETHUSDT")[0]
    refusal = stage.simulator.fault("refuse_cancel", account=account.name, order_id=stays["order_id"])
    narrow = stage.work(stage.press(account, kind=Panic.Scope.SYMBOL, symbol="ETHUSDT"))

    wide = stage.press(account)
    narrow = stage.work(narrow)
    stage.simulator.control("DELETE", "faults", None, id=refusal)
    wide = stage.work_until_over(wide)

    assert (narrow.state, narrow.handed_over_to) == (State.HANDED_OVER, wide.panic)
    stage.assert_proven(wide)


@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_that_is_handed_over_in_its_midst_stops(stage: Stage, events: Events, adapter: str) -> None:
    account = stage.account(adapter)
    stage.account("binance-options", "beta")
    stage.seed(account, 2)
    stage.read(account)
    old = stage.press(account)
    events.after(CALLS[adapter].listing, stage.press_all)

    old = stage.work(old)
    wide = Sweep.objects.get(account=account, state=State.QUEUED)
    stage.minute_passes()
    wide = stage.work_until_over(wide)

    assert (old.state, old.handed_over_to, old.clear_at) == (State.HANDED_OVER, wide.panic, None)
    stage.assert_proven(wide)


def test_narrower_sweep_beside_a_wider_one_stays_with_its_own_orders(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account, 2)
    stage.seed(account, 2, symbol="ETHUSDT")
    stage.read(account)
    narrow = stage.press(account, kind=Panic.Scope.SYMBOL, symbol="ETHUSDT")
    refusal = stage.simulator.fault("refuse_cancel", account=account.name, symbol="BTCUSDT")

    narrow = stage.work_until_over(narrow)
    left = {order["symbol"] for order in stage.simulator.book(account.name)}
    wide = stage.press(account)
    stage.simulator.control("DELETE", "faults", None, id=refusal)
    wide = stage.work_until_over(wide)

    assert (narrow.state, left) == (State.CLEAR, {"BTCUSDT"})
    assert {key[1] for key in stage.rows(narrow)} == {"ETHUSDT"}
    assert (wide.state, stage.simulator.book(account.name)) == (State.CLEAR, [])


@pytest.mark.parametrize("adapter", VENUES)
def test_release_in_mid_sweep_stops_it(stage: Stage, events: Events, adapter: str) -> None:
    account = stage.account(adapter)
    stage.seed(account, 2)
    stage.read(account)
    stage.simulator.fault("refuse_cancel", account=account.name)
    sweep = stage.press(account)
    events.after(CALLS[adapter].listing, lambda: release(sweep.panic))

    released = stage.work(sweep)
    asked = requests(stage, account)
    again = stage.work(sweep)

    account.refresh_from_db()
    assert (released.state, released.clear_at) == (State.RELEASED, None)
    assert released.last_word == "released by risk.desk2 before it was clear"
    assert account.latched_by is None
    assert (again.state, requests(stage, account)) == (State.RELEASED, asked)
    assert len(stage.simulator.book(account.name)) == 2


def test_sweep_that_was_taken_from_a_stalled_worker_is_left_to_the_other(
    stage: Stage, events: Events
) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account, 3)
    stage.read(account)
    sweep = stage.press(account)
    ended: list[Sweep] = []

    def another_worker_comes() -> None:
        lapsed = timezone.now() - timedelta(seconds=1)
        Sweep.objects.filter(pk=sweep.pk).update(lease_owner="a stalled worker", lease_until=lapsed)
        ended.append(stage.work_until_over(sweep))

    events.after(CALLS["binance-usdm"].listing, another_worker_comes)

    after = stage.work(sweep)

    assert (after.state, after.clear_at, after.lease_owner) == (State.CLEAR, ended[0].clear_at, "")
    stage.assert_proven(after)


def test_worker_that_lost_its_sweep_writes_nothing_on_its_orders(stage: Stage, events: Events) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account, 3)  # nobody has read the account: both workers see these orders for the first time
    sweep = stage.press(account)
    ended: list[Sweep] = []

    def another_worker_comes() -> None:
        # Without its owner: who renews this process's leases would bring it back.
        Sweep.objects.filter(pk=sweep.pk).update(lease_owner="", lease_until=None)
        ended.append(stage.work_until_over(sweep))

    events.after(CALLS["binance-usdm"].listing, another_worker_comes)

    after = stage.work(sweep)

    assert (after.state, after.last_word) == (State.CLEAR, ended[0].last_word)
    stage.assert_proven(after)


def test_error_of_a_worker_that_lost_its_sweep_is_not_put_on_the_board(stage: Stage, events: Events) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)
    sweep = stage.press(account)

    def taken_over_and_stumbling() -> None:
        Sweep.objects.filter(pk=sweep.pk).update(lease_owner="another worker")
        raise ZeroDivisionError("a bug")

    events.before(CALLS["binance-usdm"].listing, taken_over_and_stumbling)

    with pytest.raises(ZeroDivisionError):
        stage.work(sweep)

    sweep.refresh_from_db()
    assert (sweep.state, sweep.lease_owner) == (State.CANCELLING, "another worker")


@pytest.mark.parametrize(("adapter", "fault"), cells(*DELIVERIES))
def test_deliveries_of_one_task_at_once_are_one_run(
    scene: Scene, events: Events, adapter: str, fault: str
) -> None:
    count = DELIVERIES[fault]
    scene.healthy(adapter)
    account = scene.account(adapter, count=3)
    sweep = scene.press()["alpha"]
    all_at_once = threading.Barrier(count)
    others_returned = threading.Semaphore(0)
    # The one that runs goes on only when the others have returned: they did not wait for it.
    waited = [threading.Event() for _ in range(count - 1)]
    events.before(
        CALLS[adapter].listing,
        lambda: [others_returned.acquire(timeout=20) and event.set() for event in waited],
    )

    def deliver(one: Sweep) -> Sweep:
        all_at_once.wait()
        try:
            return scene.stage.work(one)
        finally:
            others_returned.release()

    with ThreadPoolExecutor(count) as workers:
        list(workers.map(in_thread(deliver), [sweep] * count))
    scene.assert_healthy_undisturbed()
    sweep = scene.assert_held(Sweep.objects.get(pk=sweep.pk))
    asked = requests(scene.stage, account)
    scene.deliver(sweep)

    assert all(event.is_set() for event in waited)
    assert sweep.round == 1
    cancels = [call["path"] for call in scene.simulator.log(account.name) if is_cancel(call)]
    assert sorted(cancels) == sorted(set(cancels))
    assert requests(scene.stage, account) == asked  # a delivery too late asks nothing


def test_lease_is_given_back_when_the_database_fails_right_after_the_cancels(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)
    stage.read(account)
    sweep = stage.press(account)

    def fail(panic_id: int) -> None:
        raise DatabaseError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr(rush, "stand_aside", fail)
        with pytest.raises(DatabaseError):
            stage.work(sweep)
    failed = Sweep.objects.get(pk=sweep.pk)
    sweep = stage.work_until_over(sweep)

    assert (failed.state, failed.lease_owner, failed.lease_until) == (State.FAILED, "", None)
    assert failed.last_word == "panicboard failed (DatabaseError); see the log; trying again"
    stage.assert_proven(sweep)


def test_fault_of_ours_is_put_on_the_board_and_tried_again(
    stage: Stage, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)
    stage.read(account)
    sweep = stage.press(account)

    def stumble() -> None:
        raise ZeroDivisionError("a bug")

    events.before(CALLS["binance-usdm"].listing, stumble)

    with pytest.raises(ZeroDivisionError):
        stage.work(sweep)
    failed = Sweep.objects.get(pk=sweep.pk)
    sweep = stage.work_until_over(sweep)

    assert (failed.state, failed.last_word) == (
        State.FAILED,
        "panicboard failed (ZeroDivisionError); see the log; trying again",
    )
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [f"{failed} failed"]
    stage.assert_proven(sweep)


def test_press_during_a_sweep_of_the_same_scope_joins_it(stage: Stage, events: Events) -> None:
    account = stage.account("coinswitch")
    stage.seed(account)
    stage.read(account)
    sweep = stage.press(account)
    joined: list[Sweep] = []
    events.after(CALLS["coinswitch"].cancel, lambda: joined.append(stage.press(account)))

    sweep = stage.work_until_over(sweep)

    assert joined == [sweep]
    stage.assert_proven(sweep)


def test_sweep_goes_on_where_a_killed_worker_left_it(stage: Stage) -> None:
    """Whatever a worker wrote down last, another one finishes from there."""
    account = stage.account("binance-usdm")
    stage.seed(account, 2)
    stage.read(account)
    sweep = stage.press(account)
    stage.simulator.fault("cut_before", account=account.name, **at(CALLS["binance-usdm"].listing))
    stage.work(sweep)
    stage.simulator.clear_faults()
    Sweep.objects.filter(pk=sweep.pk).update(
        state=State.CANCELLING,
        lease_owner="a killed worker",
        lease_until=timezone.now() - timedelta(milliseconds=1),
    )

    sweep = stage.work_until_over(sweep)

    stage.assert_proven(sweep)
