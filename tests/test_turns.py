"""Whose full listing comes first where a limit holds several back."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from panicboard import latch, readings, turns
from panicboard.budgets import AccountBudget, Work
from panicboard.models import Account, Egress, Panic, Reading, Sweep, Venue
from panicboard.sweeper import Sweeper
from panicboard.venues.errors import BudgetSpent
from tests.factories import make_desk, make_venue
from tests.sweep_stage import Stage, State

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

NOW = timezone.now()


@pytest.fixture
def panic(db: None) -> Panic:
    return Panic.objects.create(scope=Panic.Scope.ALL, pressed_at=NOW, pressed_via=Panic.Via.SHELL)


def account(name: str, venue: Venue | None = None, egress: Egress | None = None) -> Account:
    venue = venue or make_venue("http://venue.test")
    return Account.objects.create(desk=make_desk(), venue=venue, name=name, egress=egress)


def waiting(panic: Panic, of: Account, **fields: Any) -> Sweep:
    """A sweep that waits for its full listing; `after_s` is when its known symbols read back empty."""
    known_empty_at = NOW + timedelta(seconds=fields.pop("after_s", 0))
    values = {"state": State.READING_BACK, "due_at": NOW, "full_listing_at": NOW, **fields}
    return Sweep.objects.create(panic=panic, account=of, known_empty_at=known_empty_at, **values)


def test_most_doubtful_account_is_listed_first(panic: Panic) -> None:
    early = waiting(panic, account("early"), after_s=1)
    late = waiting(panic, account("late"), after_s=2)
    doubtful = waiting(panic, account("doubtful"), after_s=3, doubt=4)

    assert [turns.ahead_of(sweep) for sweep in (doubtful, early, late)] == [0, 1, 2]


def test_account_that_was_clear_once_comes_after_all_that_were_not(panic: Panic) -> None:
    again = waiting(panic, account("again"), doubt=9, reopened=1)
    first = waiting(panic, account("first"), after_s=5)

    assert [turns.ahead_of(sweep) for sweep in (first, again)] == [0, 1]


def test_only_accounts_behind_the_same_limit_are_ahead(panic: Panic) -> None:
    other_way = Egress.objects.create(name="second line", source_address="127.0.0.2")
    waiting(panic, account("other venue", make_venue("http://other.test")))
    waiting(panic, account("other API", make_venue("http://venue.test", "binance-options")))
    waiting(panic, account("other address", egress=other_way))

    assert turns.ahead_of(waiting(panic, account("last"), after_s=9)) == 0


def test_sweep_that_failed_or_was_listed_is_not_waited_for(panic: Panic) -> None:
    waiting(panic, account("failed"), state=State.FAILED)
    waiting(panic, account("being listed"), full_listing_at=None)

    assert turns.ahead_of(waiting(panic, account("last"), after_s=9)) == 0


def test_sweep_that_still_cancels_is_told_who_will_come_before_it(panic: Panic) -> None:
    waiting(panic, account("listed soon"))
    beginning = {"state": State.CANCELLING, "round": 1, "known_empty_at": None, "due_at": NOW}
    first, second = (
        Sweep.objects.create(panic=panic, account=account(name), **beginning) for name in ("first", "second")
    )

    assert [turns.to_come_before(sweep) for sweep in (first, second)] == [1, 2]
    assert turns.still_cancelling(first) == 1


def test_background_reading_comes_after_a_panics_full_listings(stage: Stage, panic: Panic) -> None:
    reader = stage.account("binance-usdm", "reader")
    waiting(panic, account("waits", reader.venue))
    before = timezone.now()

    readings.read(reader)

    reading = Reading.objects.get(account=reader)
    assert (reading.read_at, reading.failure) == (None, "")
    assert reading.due_at > before
    assert stage.simulator.log() == []


def test_look_at_a_latched_account_comes_after_a_panics_full_listings(stage: Stage, panic: Panic) -> None:
    latched = stage.account("binance-usdm", "latched")
    stage.read(latched)
    sweep = stage.work_until_over(stage.press(latched))
    asked = len(stage.simulator.log())
    waiting(panic, account("waits", latched.venue))

    with pytest.raises(BudgetSpent) as caught:
        latch._open_orders(Sweeper(sweep))

    assert str(caught.value) == "full listings of a panic come first"
    assert len(stage.simulator.log()) == asked


def test_reads_leave_room_for_the_cancels_of_every_account(stage: Stage) -> None:
    ours, theirs = stage.account("binance-usdm", "ours"), stage.account("binance-usdm", "theirs")
    for one, weight in ((ours, 700), (theirs, 800)):
        readings.ensure(one)
        Reading.objects.filter(account=one).update(cancel_weight=weight)
    limit = readings.VENUES["binance-usdm"].listing_limit()

    needed = readings.weight_of_all_cancels(ours)

    assert needed == 1650
    assert AccountBudget(ours, Work.READ, keep_free=needed).cap(limit) == 726
    assert AccountBudget(ours, Work.READ, keep_free=5000).cap(limit) == 288  # never nothing at all


def test_reading_keeps_what_the_cancels_of_its_symbols_cost(stage: Stage) -> None:
    reader = stage.account("binance-usdm")
    stage.seed(reader, 2)
    stage.seed(reader, symbol="ETHUSDT")
    stage.seed_conditional(reader)

    stage.read(reader)

    # BTCUSDT and ETHUSDT, in both books each: a stop may stand wherever an order does.
    assert Reading.objects.get(account=reader).cancel_weight == 4
