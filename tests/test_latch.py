"""The latch: after a panic its accounts are looked at, and swept again, until a person releases them."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from panicboard import dispatch, keeper, panics, readings, sweeper, tasks, venue_work
from panicboard.budgets import AccountBudget, Work
from panicboard.models import Account, Panic, Sweep
from panicboard.panics import Scope
from panicboard.venues import VENUES
from tests.factories import make_account, seed
from tests.simulator_process import SimulatorProcess
from tests.sweep_stage import Events, Stage, is_full_listing
from tests.venue_calls import CALLS
from tests.waiting import until

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
State = Sweep.State


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the keeper would queue for latched accounts, instead of queueing it."""
    ids: list[int] = []
    monkeypatch.setattr(dispatch, "watches", ids.extend)
    monkeypatch.setattr(dispatch, "watches_here", ids.extend)
    return ids


def clear(stage: Stage, account: Account) -> Sweep:
    """Press for the account, and sweep it until it is clear."""
    sweep = stage.work_until_over(stage.press(account))
    assert sweep.state == State.CLEAR, sweep.last_word
    return sweep


def clear_with_orders(stage: Stage, adapter: str = "binance-usdm") -> tuple[Account, Sweep]:
    """An account that held an order, and its sweep, which is clear."""
    account = stage.account(adapter)
    stage.seed(account)
    stage.read(account)
    return account, clear(stage, account)


def look(sweep: Sweep) -> Sweep:
    tasks.watch_sweep(sweep.pk)
    return Sweep.objects.get(pk=sweep.pk)


def release(panic: Panic) -> None:
    panics.release(panic, released_by=None, released_by_name="risk.desk1", reason="the bot was stopped")


@pytest.mark.parametrize("adapter", VENUES)
def test_orders_of_a_latched_account_are_swept_again(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    first = stage.seed(account)
    stage.read(account)
    sweep = clear(stage, account)
    later = stage.seed(account) + stage.seed(account)
    stage.minute_passes()

    sweep = look(sweep)
    if sweep.state != State.CLEAR:  # a limit stood in the way
        stage.minute_passes()
        sweep = stage.work_until_over(sweep)

    stage.assert_proven(sweep)
    assert sweep.reopened == 1
    assert sweep.orders.count() == len(first) + len(later)
    assert set(sweep.orders.filter(placed_after=True).values_list("venue_order_id", flat=True)) == {
        order["order_id"] for order in later
    }


@pytest.mark.parametrize("adapter", VENUES)
def test_quiet_account_is_looked_at_again_and_stays_clear(stage: Stage, adapter: str) -> None:
    _, sweep = clear_with_orders(stage, adapter)
    stage.minute_passes()
    since = timezone.now()

    looked = look(sweep)

    assert (looked.state, looked.clear_at, looked.last_word) == (State.CLEAR, sweep.clear_at, sweep.last_word)
    assert looked.watched_at is not None
    assert looked.watched_at >= since
    assert looked.due_at - since >= timedelta(seconds=sweeper.WATCH_QUIET_S)
    assert (looked.lease_owner, looked.lease_until) == ("", None)


def test_account_that_was_swept_again_is_not_said_to_be_still_empty(stage: Stage) -> None:
    account, sweep = clear_with_orders(stage)
    looked = look(sweep)
    assert looked.watched_at is not None
    stage.seed(account)
    stage.minute_passes()

    again = look(looked)

    assert (again.state, again.reopened, again.watched_at) == (State.CLEAR, 1, None)


def test_account_is_looked_at_soon_again_while_orders_keep_coming(stage: Stage) -> None:
    account, sweep = clear_with_orders(stage)
    stage.seed(account)
    sweep = look(sweep)
    assert sweep.state == State.CLEAR
    since = timezone.now()

    looked = look(sweep)

    assert looked.due_at < since + timedelta(seconds=sweeper.WATCH_QUIET_S)
    sweep.orders.filter(placed_after=True).update(seen_at=since - venue_work.STILL_COMING)
    assert look(sweep).due_at >= since + timedelta(seconds=sweeper.WATCH_QUIET_S)


def test_order_that_refuses_to_go_takes_the_clear_away(stage: Stage) -> None:
    account, sweep = clear_with_orders(stage)
    order = stage.seed(account)[0]
    fault = stage.simulator.fault("refuse_cancel", order_id=order["order_id"])

    stuck = look(sweep)

    assert stuck.state == State.NOT_CLEAR
    assert (stuck.clear_at, stuck.known_empty_at, stuck.full_empty_at) == (None, None, None)
    assert panics.is_running(stuck.panic)
    stage.simulator.control("DELETE", "faults", None, id=fault)
    stage.assert_proven(stage.work_until_over(stuck))


def test_failing_look_is_said_and_ends_with_the_next_that_succeeds(stage: Stage) -> None:
    account, sweep = clear_with_orders(stage)
    stage.simulator.fault("key_revoked", account=account.name)

    failed = look(sweep)

    assert failed.state == State.CLEAR
    assert failed.last_word.startswith("latched, but could not be looked at")
    assert "-2015" in failed.last_word
    assert failed.watched_at is None
    stage.simulator.clear_faults()
    healed = look(sweep)
    assert healed.last_word == sweep.last_word
    assert healed.watched_at is not None


def test_look_that_the_venue_refuses_says_until_when_to_whoever_was_told_and_to_all_others(
    stage: Stage,
) -> None:
    account, sweep = clear_with_orders(stage)
    stage.simulator.fault("418", account=account.name, seconds=300)
    said = (
        r"latched, but could not be looked at \(.{8}\): until .{8} the venue refuses (fapi )?calls: .*418.*"
    )

    refused = look(sweep)
    sent = len(stage.simulator.log(account.name))
    again = look(sweep)

    for one in (refused, again):
        assert re.fullmatch(said, one.last_word), one.last_word
        assert (one.state, one.watched_at) == (State.CLEAR, None)
        assert one.due_at > timezone.now() + timedelta(seconds=sweeper.WATCH_QUIET_S)
    assert len(stage.simulator.log(account.name)) == sent
    stage.simulator.clear_faults()
    stage.minute_passes()
    assert look(sweep).last_word == sweep.last_word


def test_looks_go_on_when_reads_have_used_up_their_share_and_stop_at_half_of_the_reserve(
    stage: Stage,
) -> None:
    account, sweep = clear_with_orders(stage)
    limit = VENUES["binance-usdm"].listing_limit()
    panic, look_budget = AccountBudget(account, Work.PANIC), AccountBudget(account, Work.LOOK)
    assert AccountBudget(account, Work.READ).cap(limit) < look_budget.cap(limit) < panic.cap(limit)
    panic.spend(limit, look_budget.cap(limit) - 2 - (panic.used(limit) or 0))
    first = look(sweep)
    assert first.watched_at is not None
    sent = len(stage.simulator.log(account.name))

    second = look(sweep)

    assert len(stage.simulator.log(account.name)) == sent
    assert (second.state, second.watched_at) == (State.CLEAR, first.watched_at)
    assert second.due_at > timezone.now() + timedelta(seconds=sweeper.WATCH_QUIET_S)


def test_what_the_latch_sweeps_leaves_a_quarter_of_the_limit_to_the_next_panic(stage: Stage) -> None:
    account, sweep = clear_with_orders(stage)
    limit = VENUES["binance-usdm"].listing_limit()
    panic, looks = AccountBudget(account, Work.PANIC), AccountBudget(account, Work.LOOK)
    panic.spend(limit, looks.cap(limit) - 50 - (panic.used(limit) or 0))  # no full listing fits
    stage.seed(account)

    waiting = look(sweep)

    assert stage.simulator.book(account.name) == []
    assert (waiting.state, waiting.clear_at) == (State.READING_BACK, None)
    assert waiting.last_word.endswith("orders keep coming")
    # It does not wait for the full listing with its hands in its lap.
    assert waiting.due_at < timezone.now() + timedelta(seconds=sweeper.WATCH_S)
    stage.seed(account)
    panic.spend(limit, looks.cap(limit) - (panic.used(limit) or 0))  # now nothing of that half is left
    stage.work(waiting)
    assert stage.simulator.book(account.name) == []
    weight = VENUES["binance-usdm"].listing_limit().amount / 100
    assert (panic.used(limit) or 0) - looks.cap(limit) < weight  # cancels and readings by symbol: light ones
    stage.minute_passes()
    stage.assert_proven(stage.work_until_over(waiting))


def test_account_is_proven_clear_again_when_no_order_has_come_for_a_while(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "QUIET_BEFORE_PROOF", timedelta(seconds=10))
    account, sweep = clear_with_orders(stage)
    stage.seed(account)
    listed = len(stage.simulator.log(account.name))

    waiting = look(sweep)

    assert stage.simulator.book(account.name) == []
    assert (waiting.state, waiting.known_empty_at) == (State.NOT_CLEAR, None)
    assert waiting.last_word.startswith("known symbols are empty, but orders keep coming")
    calls = stage.simulator.log(account.name)[listed:]
    assert not any(is_full_listing(call, full) for call in calls for full in CALLS["binance-usdm"].full)
    waiting.orders.update(seen_at=timezone.now() - timedelta(seconds=10))
    stage.assert_proven(stage.work_until_over(waiting))


def test_where_orders_keep_coming_they_are_cancelled_although_no_look_can_be_paid(stage: Stage) -> None:
    account, sweep = clear_with_orders(stage)
    stage.seed(account)
    sweep = look(sweep)
    assert sweep.state == State.CLEAR
    limit = VENUES["binance-usdm"].listing_limit()
    panic, looks = AccountBudget(account, Work.PANIC), AccountBudget(account, Work.LOOK)
    panic.spend(limit, looks.cap(limit) - (panic.used(limit) or 0))
    stage.seed(account)

    waiting = look(sweep)

    assert stage.simulator.book(account.name) == []
    assert (waiting.clear_at, waiting.reopened) == (None, 2)
    stage.minute_passes()
    stage.assert_proven(stage.work_until_over(waiting))


def test_orders_that_only_the_history_tells_of_keep_it_from_being_clear(
    stage: Stage, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "QUIET_BEFORE_PROOF", timedelta(seconds=10))
    account, sweep = clear_with_orders(stage)
    stage.seed(account)
    waiting = look(sweep)
    waiting.orders.update(seen_at=timezone.now() - timedelta(seconds=10))
    events.before(CALLS["binance-usdm"].cancel, lambda: stage.seed(account))  # gone before any listing

    waiting = stage.work(waiting)

    assert stage.simulator.book(account.name) == []
    assert (waiting.state, waiting.full_empty_at) == (State.NOT_CLEAR, None)
    assert waiting.orders.count() == 3
    waiting.orders.update(seen_at=timezone.now() - timedelta(seconds=10))
    stage.minute_passes()
    stage.assert_proven(stage.work_until_over(waiting))


def test_released_account_is_not_looked_at(stage: Stage, offered: list[int]) -> None:
    account, sweep = clear_with_orders(stage)
    release(sweep.panic)
    Sweep.objects.update(due_at=timezone.now())
    stage.seed(account)
    sent = len(stage.simulator.log(account.name))

    assert keeper.offer_watches() == 0
    assert look(sweep).state == State.CLEAR

    assert offered == []
    assert len(stage.simulator.log(account.name)) == sent


def test_release_stops_what_the_latch_began(stage: Stage) -> None:
    account, sweep = clear_with_orders(stage)
    order = stage.seed(account)[0]
    stage.simulator.fault("refuse_cancel", order_id=order["order_id"])
    assert look(sweep).state == State.NOT_CLEAR

    release(sweep.panic)

    assert Sweep.objects.get(pk=sweep.pk).state == State.RELEASED


def test_later_panic_takes_the_latch_over(stage: Stage, offered: list[int]) -> None:
    account, before = clear_with_orders(stage)
    later = stage.press(account)
    Sweep.objects.update(due_at=timezone.now())

    assert keeper.offer_watches() == 0
    assert look(before).watched_at is None
    later = stage.work_until_over(later)

    assert later.state == State.CLEAR
    Sweep.objects.update(due_at=timezone.now())
    keeper.offer_watches()
    assert offered == [later.pk]


def test_keeper_offers_a_look_once_and_runs_it_itself_when_nobody_took_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued: list[int] = []
    here: list[int] = []
    monkeypatch.setattr(dispatch, "watches", queued.extend)
    monkeypatch.setattr(dispatch, "watches_here", here.extend)
    account = stage.account("binance-usdm")
    sweep = clear(stage, account)
    assert keeper.offer_watches() == 0  # not due yet
    Sweep.objects.update(due_at=timezone.now())

    assert [keeper.offer_watches(), keeper.offer_watches()] == [1, 0]
    assert (queued, here) == ([sweep.pk], [])
    # As when the time has come and no worker has touched it.
    again_at = timezone.now() - timedelta(milliseconds=1)
    Sweep.objects.update(due_at=again_at)
    keeper._offered[sweep.pk] = again_at

    keeper.offer_sweeps()
    keeper.offer_watches()

    assert (queued, here) == ([sweep.pk], [sweep.pk])


def test_reading_that_finds_orders_makes_the_look_due(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    sweep = clear(stage, account)  # no symbol of it is known
    assert sweep.due_at > timezone.now()
    stage.seed(account)
    stage.minute_passes()

    readings.read(account)

    sweep.refresh_from_db()
    assert sweep.due_at <= timezone.now()
    stage.assert_proven(look(sweep))


def test_press_of_a_symbol_latches_nothing_and_is_not_looked_at(stage: Stage, offered: list[int]) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)
    stage.read(account)
    sweep = stage.work_until_over(stage.press(account, kind=Panic.Scope.SYMBOL, symbol="BTCUSDT"))
    assert sweep.state == State.CLEAR
    Sweep.objects.update(due_at=timezone.now())

    keeper.offer_watches()

    assert offered == []


def test_many_latched_accounts_share_a_quarter_of_the_limit(stage: Stage) -> None:
    accounts = [stage.account("binance-usdm", f"alpha-{number}") for number in range(10)]
    panic = stage.start(Scope(Panic.Scope.ALL))
    assert Account.objects.filter(latched_by=panic).count() == 10
    limit = VENUES["binance-usdm"].listing_limit()

    interval_s = readings.watch_interval_s(accounts[0], symbols=20)

    assert 10 * 20 * limit.window_s / interval_s == limit.amount / 4


def test_bot_that_quotes_on_is_swept_until_it_is_stopped(
    simulator: SimulatorProcess, product: "Product"
) -> None:
    account = make_account(simulator, "binance-usdm", "alpha")
    seed(simulator, account)
    readings.read(account)
    panic = panics.start(
        Scope(Panic.Scope.ACCOUNT, account=account),
        pressed_by=None,
        pressed_by_name="risk.desk1",
        via=Panic.Via.BOARD,
    ).panic
    sweep = panic.sweeps.get()
    until(lambda: Sweep.objects.get(pk=sweep.pk).state == State.CLEAR, "the first clear")

    bot = simulator.fault("requote", account=account.name, symbol="BTCUSDT", ms=200)
    until(lambda: sweep.orders.filter(placed_after=True).count() >= 3, "the bot's orders in the sweep", 60)
    simulator.control("DELETE", "faults", None, id=bot)

    until(
        lambda: Sweep.objects.get(pk=sweep.pk).state == State.CLEAR and simulator.book() == [],
        "the last clear",
        120,
    )
