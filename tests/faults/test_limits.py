"""Small limits: a sweep says when it goes on, keeps quiet until then, and never causes a refusal."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from panicboard import readings
from panicboard.models import Account, Reading, Sweep
from tests.factories import VENUES
from tests.faults.bad_days import BAD_DAYS
from tests.sweep_stage import Stage, State, is_cancel
from tests.venue_calls import CALLS, CONDITIONAL, at

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

POOLS = {"binance-usdm": "fapi", "binance-options": "eapi", "binance-portfolio": "papi"}
#: A limit in which one sweep of a venue has room, and a second one has not.
LIMITS = {"binance-usdm": 150, "binance-options": 70, "binance-portfolio": 1000}
GOES_ON = (
    r"^known symbols read back empty at (?:[\d:]{8}); full listing at about ([\d:]{8}): "
    r"the (\w+) limit \((\d+) a 60 s\) is used up until ([\d:]{8})$"
)


def refusals(stage: Stage) -> list[dict[str, Any]]:
    return [call for call in stage.simulator.log() if call["status"] in (418, 429)]


def asked(stage: Stage) -> list[tuple[str, str]]:
    return [(call["method"], call["path"]) for call in stage.simulator.log()]


def account_with_orders(stage: Stage, adapter: str, name: str) -> Account:
    account = stage.account(adapter, name)
    stage.seed(account, 2)
    if adapter in CONDITIONAL:
        stage.seed_conditional(account)
    stage.read(account)
    return account


def limit(stage: Stage, account: Account, weight: int) -> None:
    """Let the venue grant so much a minute, and let both sides know."""
    account.venue.limit_override = weight
    account.venue.save(update_fields=["limit_override"])
    stage.simulator.control("POST", "limits", {POOLS[account.venue.adapter]: weight})
    stage.minute_passes()


@pytest.mark.parametrize("adapter", POOLS)
def test_sweep_that_the_limit_holds_back_says_when_it_goes_on(stage: Stage, adapter: str) -> None:
    for name in ("alpha", "beta"):
        account = account_with_orders(stage, adapter, name)
    limit(stage, account, LIMITS[adapter])
    first, second = stage.press_all().values()

    first = stage.work_until_over(first)
    began_at = timezone.now()
    second = stage.work(second)
    before = asked(stage)
    again = stage.work(second)
    silent = asked(stage) == before
    stage.minute_passes()
    ended = stage.work_until_over(second)

    stage.assert_proven(first)
    for held in (second, again):
        assert held.state == State.READING_BACK
        found = re.match(GOES_ON, held.last_word)
        assert found, held.last_word
        assert found.groups()[1:3] == (POOLS[adapter], str(LIMITS[adapter]))
        assert found[1] == f"{held.full_listing_at:%H:%M:%S}"
        assert (
            began_at + timedelta(seconds=30) < held.full_listing_at < timezone.now() + timedelta(seconds=63)
        )
        assert abs(held.due_at - held.full_listing_at) < timedelta(seconds=1)
    assert silent
    stage.assert_proven(ended)
    assert refusals(stage) == []


@pytest.mark.parametrize("adapter", POOLS)
def test_cancels_leave_although_the_full_listing_has_to_wait(stage: Stage, adapter: str) -> None:
    for name in ("alpha", "beta"):
        account = account_with_orders(stage, adapter, name)
    limit(stage, account, LIMITS[adapter])
    first, second = stage.press_all().values()

    stage.work_until_over(first)
    second = stage.work(second)

    assert stage.simulator.book(second.account.name) == []
    assert second.known_empty_at is not None
    assert (second.full_empty_at, second.clear_at) == (None, None)


def test_many_deliveries_stay_inside_the_small_limits_of_coinswitch(stage: Stage) -> None:
    account = stage.account("coinswitch")
    stays = stage.seed(account, 3)[0]
    stage.read(account)
    refusal = stage.simulator.fault("refuse_cancel", account=account.name, order_id=stays["order_id"])
    sweep = stage.press(account)

    sweeps: list[Sweep] = []
    for _ in range(30):
        sweep = stage.work(sweep)
        sweeps.append(sweep)
    before = len(asked(stage))
    stage.simulator.control("DELETE", "faults", None, id=refusal)
    stage.minute_passes()
    sweep = stage.work_until_over(sweep)

    assert {one.clear_at for one in sweeps} == {None}
    said = r"^the \w+ limit \(\d+ a 60 s\) is used up until [\d:]{8}; goes on then$"
    assert re.match(said, sweeps[-1].last_word), sweeps[-1].last_word
    assert before < 80
    stage.assert_proven(sweep)
    assert refusals(stage) == []


def test_sweep_of_coinswitch_with_many_stubborn_orders_still_reads_back(stage: Stage) -> None:
    account = stage.account("coinswitch")
    stage.seed(account, 25)
    stage.read(account)
    refusal = stage.simulator.fault("refuse_cancel", account=account.name)
    sweep = stage.press(account)
    for _ in range(4):
        stage.work(sweep)
        stage.minute_passes()
    stage.simulator.control("DELETE", "faults", None, id=refusal)

    sweep = stage.work_until_over(sweep)

    stage.assert_proven(sweep)
    assert refusals(stage) == []


@pytest.mark.parametrize("fault", ["429", "429 with Retry-After", "418", "403 without JSON"])
@pytest.mark.parametrize("adapter", VENUES)
def test_nothing_is_sent_while_the_venue_wants_silence(stage: Stage, adapter: str, fault: str) -> None:
    account = stage.account(adapter)
    stage.seed(account, 2)
    stage.read(account)
    bad, where = BAD_DAYS[fault], at(CALLS[adapter].listing)
    stage.simulator.fault(**bad.of(adapter), account=account.name, count=1, **where)
    sweep = stage.press(account)

    refused = stage.work(sweep)
    before = [one for one in asked(stage) if one == CALLS[adapter].listing]
    silent = [stage.work(sweep) for _ in range(3)]
    after = [one for one in asked(stage) if one == CALLS[adapter].listing]
    stage.minute_passes()
    sweep = stage.work_until_over(sweep)

    assert refused.state == State.FAILED
    assert "the venue refuses every call until" in refused.last_word
    assert {one.state for one in silent} == {State.FAILED}
    assert after == before
    stage.assert_proven(sweep)


@pytest.mark.parametrize("adapter", VENUES)
def test_background_readings_leave_the_panics_share_alone(stage: Stage, adapter: str) -> None:
    accounts = [account_with_orders(stage, adapter, f"account-{n}") for n in range(2)]
    for _ in range(25):
        for account in accounts:
            readings.read(account)
    put_off = Reading.objects.filter(failure="").count()

    sweeps = [stage.work_until_over(sweep, 2) for sweep in stage.press_all().values()]

    assert put_off == len(accounts)  # a reading that the share has no room for is late, not failed
    for sweep in sweeps:
        stage.assert_proven(sweep)
    assert refusals(stage) == []


def test_cancels_of_a_panic_are_paid_first(stage: Stage) -> None:
    accounts = [account_with_orders(stage, "binance-usdm", f"account-{n}") for n in range(5)]
    limit(stage, accounts[0], 150)
    sweeps = stage.press_all().values()

    for sweep in sweeps:
        stage.work(sweep)

    assert stage.simulator.book() == []
    cancelled = {call["account"] for call in stage.simulator.log() if is_cancel(call)}
    assert cancelled == {account.name for account in accounts}
    assert refusals(stage) == []
