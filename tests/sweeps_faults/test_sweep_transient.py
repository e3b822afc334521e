"""One bad moment, on each call of a sweep, at each venue: the sweep gets over it and proves its end."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from panicboard.models import Account
from tests.bad_days import BAD_DAYS, HANG, BadDay
from tests.factories import VENUES
from tests.sweep_stage import Stage, in_thread
from tests.venue_calls import CALLS, CONDITIONAL, at

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

#: How many orders there must be for the sweep to make the call: few are asked for one by one.
ORDERS = {"cancel": 2, "listing": 2, "query": 1, "history": 6}


def account_that_meets(stage: Stage, adapter: str, call: str, bad: BadDay) -> Account:
    """An account whose sweep meets a bad moment at the named call, and that is named by it."""
    account = stage.account(adapter, call)
    stage.seed(account, ORDERS[call])
    if adapter in CONDITIONAL:
        stage.seed_conditional(account)
    stage.read(account)
    where = at(getattr(CALLS[adapter], call))
    stage.simulator.fault(**bad.of(adapter), account=account.name, count=1, **where)
    return account


def assert_all_get_over_it(stage: Stage) -> None:
    for sweep in stage.press_all().values():
        stage.assert_proven(stage.work_until_over(sweep))
    assert stage.simulator.control("GET", "faults")["faults"] == [], "a bad moment never came"


@pytest.mark.parametrize("bad", BAD_DAYS.values(), ids=BAD_DAYS)
@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_gets_over_one_bad_moment(stage: Stage, adapter: str, bad: BadDay) -> None:
    for call in ("cancel", "listing", "query"):
        account_that_meets(stage, adapter, call, bad)

    assert_all_get_over_it(stage)


@pytest.mark.parametrize("name", ["503 unknown", "429", "truncated"])
@pytest.mark.parametrize("adapter", VENUES)
def test_sweep_gets_over_one_bad_moment_of_the_history(stage: Stage, adapter: str, name: str) -> None:
    account_that_meets(stage, adapter, "history", BAD_DAYS[name])

    assert_all_get_over_it(stage)


def test_sweeps_get_over_calls_that_hang_side_by_side(stage: Stage) -> None:
    for adapter, call in zip(VENUES, ("cancel", "listing", "query", "history"), strict=True):
        account_that_meets(stage, adapter, call, HANG)
    sweeps = stage.press_all().values()

    with ThreadPoolExecutor(len(sweeps)) as workers:
        ended = list(workers.map(in_thread(stage.work_until_over), sweeps))

    for sweep in ended:
        stage.assert_proven(sweep)
