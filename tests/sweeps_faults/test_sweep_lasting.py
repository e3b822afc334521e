"""A fault that stays: while it lasts no sweep is clear and each says why; once lifted, all end clear."""

import pytest
from django.utils import timezone

from panicboard.models import Account, Sweep
from tests.bad_days import BAD_DAYS, BadDay
from tests.factories import VENUES
from tests.sweep_stage import Outcome, Stage, State
from tests.venue_calls import CALLS, CONDITIONAL, at

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

#: The venue that stands beside each in these tests.
BESIDE = dict.fromkeys(VENUES, "binance-options") | {"binance-options": "coinswitch"}
#: The cancels of the usual symbol's orders: in mass, and one by one.
CANCELS: dict[str, list[dict[str, str]]] = {
    **{adapter: [{"method": "DELETE"}] for adapter in VENUES},
    "coinswitch": [at(CALLS["coinswitch"].cancel), at(CALLS["coinswitch"].cancel_one)],
}

#: What is told of orders that cannot be cancelled where their lists are not read either: the answer means
#: that a limit is reached, or that the key is refused.
_LEFT = {
    ("binance-options", "503 throttled"): Outcome.SENT,
    ("coinswitch", "clock"): Outcome.REJECTED,
}


def with_orders(stage: Stage, adapter: str, name: str) -> Account:
    account = stage.account(adapter, name)
    stage.seed(account, 2)
    if adapter in CONDITIONAL:
        stage.seed_conditional(account)
    stage.read(account)
    return account


def assert_never_clear(stage: Stage, sweep: Sweep, says: str, deliveries: int = 2) -> None:
    """However often it is tried, the sweep is not clear, says why, and when it goes on."""
    for _ in range(deliveries):
        began_at = timezone.now()
        sweep = stage.work(sweep)
        assert sweep.state in (State.FAILED, State.NOT_CLEAR)
        assert says in sweep.last_word
        assert sweep.due_at > began_at
        assert (sweep.clear_at, sweep.full_empty_at) == (None, None)
        stage.minute_passes()


@pytest.mark.parametrize("bad", BAD_DAYS.values(), ids=BAD_DAYS)
@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_is_never_clear_while_no_call_gets_through(stage: Stage, adapter: str, bad: BadDay) -> None:
    account = with_orders(stage, adapter, "alpha")
    with_orders(stage, BESIDE[adapter], "beta")
    stage.simulator.fault(**bad.of(adapter), account=account.name, path=CALLS[adapter].every)
    sweeps = stage.press_all()

    assert_never_clear(stage, sweeps["alpha"], bad.words(adapter))
    stage.assert_proven(stage.work_until_over(sweeps["beta"]))
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweeps["alpha"])

    stage.assert_proven(sweep)


@pytest.mark.parametrize("name", ["cut before", "clock"])
@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_of_another_account_at_the_same_venue_is_clear(stage: Stage, adapter: str, name: str) -> None:
    account = with_orders(stage, adapter, "alpha")
    with_orders(stage, adapter, "beta")
    stage.simulator.fault(**BAD_DAYS[name].of(adapter), account=account.name, path=CALLS[adapter].every)
    sweeps = stage.press_all()

    assert_never_clear(stage, sweeps["alpha"], BAD_DAYS[name].words(adapter), deliveries=1)
    stage.assert_proven(stage.work_until_over(sweeps["beta"]))


@pytest.mark.parametrize("name", ["503 unknown", "truncated"])
@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_is_never_clear_while_the_lists_cannot_be_read(stage: Stage, adapter: str, name: str) -> None:
    account = with_orders(stage, adapter, "alpha")
    bad = BAD_DAYS[name]
    stage.simulator.fault(**bad.of(adapter), account=account.name, **at(CALLS[adapter].listing))
    sweep = stage.press(account)

    assert_never_clear(stage, sweep, bad.words(adapter))
    gone = stage.simulator.book(account.name) == []
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)

    assert gone  # all is cancelled; only nobody could know
    stage.assert_proven(sweep)


@pytest.mark.parametrize("name", ["503 unknown", "key revoked"])
@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_is_never_clear_while_an_outcome_cannot_be_read(stage: Stage, adapter: str, name: str) -> None:
    account = stage.account(adapter)
    order = stage.seed(account)[0]
    stage.read(account)
    bad = BAD_DAYS[name]
    stage.simulator.fault(**bad.of(adapter), account=account.name, **at(CALLS[adapter].query))
    sweep = stage.press(account)

    assert_never_clear(stage, sweep, bad.words(adapter))
    row = sweep.orders.get()
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)

    assert (row.venue_order_id, row.outcome) == (order["order_id"], Outcome.UNKNOWN)
    stage.assert_proven(sweep)


@pytest.mark.parametrize("name", ["503 unavailable", "503 throttled", "408 not done", "clock"])
@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_is_never_clear_while_nothing_can_be_cancelled(stage: Stage, adapter: str, name: str) -> None:
    account = with_orders(stage, adapter, "alpha")
    bad = BAD_DAYS[name]
    for where in CANCELS[adapter]:
        stage.simulator.fault(**bad.of(adapter), account=account.name, **where)
    sweep = stage.press(account)

    assert_never_clear(stage, sweep, bad.words(adapter), deliveries=4)
    outcomes = set(stage.rows(sweep).values())
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)

    assert outcomes == {_LEFT.get((adapter, name), Outcome.STILL_OPEN)}
    stage.assert_proven(sweep)


@pytest.mark.parametrize("name", ["503 unavailable", "cut before"])
@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_cancels_one_by_one_where_the_mass_cancel_fails(stage: Stage, adapter: str, name: str) -> None:
    account = stage.account(adapter)
    stage.seed(account, 3)
    stage.read(account)
    bad = BAD_DAYS[name]
    stage.simulator.fault(**bad.of(adapter), account=account.name, **at(CALLS[adapter].cancel))

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)
