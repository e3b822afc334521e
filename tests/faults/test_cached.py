"""Lists that a cache answers for the venue: however empty they are, no sweep is clear by them."""

from typing import Any

import pytest

from panicboard import readings
from panicboard.models import Account, Reading
from tests.factories import VENUES
from tests.faults.matrix import cells
from tests.sweep_stage import Outcome, Stage, State
from tests.venue_calls import CALLS, FAMILIES

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

TELLS = {
    "age": ({}, "30 s old"),
    "date": ({"tells": "date", "seconds": 60}, " s old by its Date"),
    "x-cache": ({"tells": "x_cache"}, "by its X-Cache: Hit from cloudfront"),
}


def serve_copies(stage: Stage, account: Account, **options: Any) -> None:
    stage.simulator.fault("cached", account=account.name, **options)


def work_without_the_limit(stage: Stage, sweep: Any) -> Any:
    """Two deliveries, neither of them held back by a limit."""
    for _ in range(2):
        stage.minute_passes()
        sweep = stage.work(sweep)
        assert (sweep.clear_at, sweep.full_empty_at) == (None, None)
    return sweep


@pytest.mark.parametrize(("options", "says"), TELLS.values(), ids=TELLS)
@pytest.mark.parametrize(("adapter", "fault"), cells("cached copy of a listing"))
def test_sweep_is_not_clear_by_copies_of_empty_lists(
    stage: Stage, adapter: str, fault: str, options: dict[str, Any], says: str
) -> None:
    account = stage.account(adapter)
    stage.read(account)  # the copies are of now, when nothing is open
    # An account-wide call would end it otherwise.
    stage.simulator.fault("refuse_cancel", account=account.name)
    order = stage.seed(account)[0]
    serve_copies(stage, account, **options)

    sweep = work_without_the_limit(stage, stage.press(account))

    assert sweep.state == State.FAILED
    assert "the answer is a cached copy, " in sweep.last_word
    assert says in sweep.last_word
    assert [left["order_id"] for left in stage.simulator.book(account.name)] == [order["order_id"]]
    stage.simulator.clear_faults()
    stage.assert_proven(stage.work_until_over(sweep))


@pytest.mark.parametrize(("adapter", "fields"), FAMILIES.values(), ids=FAMILIES)
def test_sweep_is_not_clear_by_copies_of_the_known_symbols_lists(
    stage: Stage, adapter: str, fields: dict[str, Any]
) -> None:
    account = stage.account(adapter)
    stage.seed(account, **fields)
    stage.read(account)
    first = stage.work_until_over(stage.press(account))  # its lists by symbol and in full are what is copied
    stage.assert_proven(first)
    stage.minute_passes()
    stage.seed(account, **fields)
    stage.simulator.fault("refuse_cancel", account=account.name)
    serve_copies(stage, account)

    sweep = work_without_the_limit(stage, stage.press(account))

    assert sweep.state == State.FAILED
    assert "the answer is a cached copy, 30 s old" in sweep.last_word
    assert stage.simulator.book(account.name) != []
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)
    assert (sweep.state, stage.simulator.book(account.name)) == (State.CLEAR, [])


@pytest.mark.parametrize("adapter", VENUES)
def test_cancels_leave_while_every_list_is_a_copy(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    order = stage.seed(account)[0]
    stage.read(account)
    for path in {path for _, path in CALLS[adapter].full}:
        serve_copies(stage, account, path=path)

    sweep = work_without_the_limit(stage, stage.press(account))

    assert stage.simulator.book(account.name) == []
    assert sweep.state == State.FAILED
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)
    stage.assert_proven(sweep)
    assert [row.outcome for row in sweep.orders.filter(venue_order_id=order["order_id"])] == [
        Outcome.CANCELLED
    ]


@pytest.mark.parametrize("adapter", VENUES)
def test_copy_never_counts_as_a_reading(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    stage.read(account)
    read_at = Reading.objects.get(account=account).read_at
    stage.seed(account)
    serve_copies(stage, account)

    readings.read(account)

    reading = Reading.objects.get(account=account)
    assert (reading.read_at, reading.open_count) == (read_at, 0)
    assert "the answer is a cached copy, 30 s old" in reading.failure
