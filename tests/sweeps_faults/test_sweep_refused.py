"""One order that refuses to go, or that nobody can read: no sweep ever says clear, whatever the venue says.

The venue acknowledges each cancel of such an order as if it were done. Only its lists tell.
"""

from typing import Any

import pytest

from panicboard.models import Account, Panic
from tests.factories import VENUES
from tests.sweep_stage import Outcome, Stage, State
from tests.venue_calls import FAMILIES, family_of

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]


def account_with_one_that_stays(
    stage: Stage, adapter: str, fields: dict[str, Any]
) -> tuple[Account, dict[str, Any]]:
    account = stage.account(adapter)
    stays, _ = stage.seed(account, **fields)[0], stage.seed(account, **fields)
    stage.read(account)
    stage.simulator.fault("refuse_cancel", account=account.name, order_id=stays["order_id"])
    return account, stays


@pytest.mark.parametrize(("adapter", "fields"), FAMILIES.values(), ids=FAMILIES)
def test_sweep_is_never_clear_while_one_order_stays(
    stage: Stage, adapter: str, fields: dict[str, Any]
) -> None:
    account, stays = account_with_one_that_stays(stage, adapter, fields)
    key = (family_of(stays), stays["symbol"], stays["order_id"])
    sweep = stage.press(account)

    for _ in range(6):
        sweep = stage.work(sweep)
        assert (sweep.state, sweep.clear_at, sweep.full_empty_at) == (State.NOT_CLEAR, None, None)
        assert " still listed" in sweep.last_word
        assert stage.rows(sweep)[key] == Outcome.STILL_OPEN
        stage.minute_passes()
    left = stage.simulator.book(account.name)
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)

    assert [order["order_id"] for order in left] == [stays["order_id"]]
    stage.assert_proven(sweep)


@pytest.mark.parametrize("scope", [Panic.Scope.SYMBOL, Panic.Scope.ORDERS])
@pytest.mark.parametrize(("adapter", "fields"), FAMILIES.values(), ids=FAMILIES)
def test_sweep_of_a_part_is_never_clear_while_one_order_stays(
    stage: Stage, adapter: str, fields: dict[str, Any], scope: Panic.Scope
) -> None:
    account, stays = account_with_one_that_stays(stage, adapter, fields)
    named = {
        "family": family_of(stays),
        "symbol": stays["symbol"],
        "venue_order_id": stays["order_id"],
        "client_order_id": stays["client_order_id"],
    }
    part = {"symbol": stays["symbol"]} if scope == Panic.Scope.SYMBOL else {"order_refs": (named,)}
    sweep = stage.press(account, kind=scope, **part)

    for _ in range(4):
        sweep = stage.work(sweep)
        assert (sweep.state, sweep.clear_at) == (State.NOT_CLEAR, None)
        stage.minute_passes()
    row = sweep.orders.get(venue_order_id=stays["order_id"])
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)

    assert row.outcome == Outcome.STILL_OPEN
    assert sweep.state == State.CLEAR, sweep.last_word
    assert stays["order_id"] not in [order["order_id"] for order in stage.simulator.book(account.name)]
    row.refresh_from_db()
    assert row.outcome == Outcome.CANCELLED


@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_is_never_clear_while_a_status_is_not_known(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    order = stage.seed(account)[0]
    stage.read(account)
    fault = {"account": account.name, "order_id": order["order_id"]}
    stage.simulator.fault("refuse_cancel", **fault)
    stage.simulator.fault("unknown_status", status="PENDING_REVIEW", **fault)
    sweep = stage.press(account)

    for _ in range(3):
        sweep = stage.work(sweep)
        assert (sweep.state, sweep.clear_at) == (State.FAILED, None)
        assert sweep.last_word == "order status 'PENDING_REVIEW' is not known"
        stage.minute_passes()
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)

    stage.assert_proven(sweep)


@pytest.mark.parametrize("adapter", VENUES)
def test_outcome_is_not_guessed_from_a_status_that_is_not_known(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    order = stage.seed(account)[0]
    stage.read(account)
    sweep = stage.press(account)
    stage.simulator.fault("unknown_status", account=account.name, status="PENDING_REVIEW")

    states = []
    for _ in range(3):
        states.append(stage.work(sweep).state)
        stage.minute_passes()
    outcomes = dict(sweep.orders.values_list("venue_order_id", "outcome"))
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)

    assert states == [State.FAILED] * 3
    assert outcomes == {order["order_id"]: Outcome.UNKNOWN}
    stage.assert_proven(sweep)
