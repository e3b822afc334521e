"""Ways out to a venue: an address of this machine, a proxy, and the second one when the first fails."""

import socket
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from panicboard import budgets, credentials, pools, sweeper
from panicboard.budgets import AccountBudget, Work
from panicboard.models import Account, Egress
from panicboard.venues import VENUES as VENUE_ADAPTERS
from panicboard.venues import routes
from panicboard.venues.base import Limit, Route
from panicboard.venues.errors import BudgetSpent, RateLimited
from tests.factories import VENUES
from tests.forward_proxy import ForwardProxy
from tests.sweep_stage import Stage, State
from tests.venue_calls import CALLS, at

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage", "tests.forward_proxy"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

USUAL, SECOND, BY_PROXY = "127.0.0.1", "127.0.0.2", "127.0.0.9"
LIMITED_BY_ADDRESS = [venue for venue in VENUES if venue != "coinswitch"]


@pytest.fixture(autouse=True)
def _every_way_open() -> Iterator[None]:
    routes._blocked_until.clear()
    yield
    routes._blocked_until.clear()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def from_address(address: str) -> Egress:
    return Egress.objects.create(name=f"from {address}", source_address=address)


def by_proxy(url: str, name: str = "proxy") -> Egress:
    egress = Egress(name=name)
    credentials.seal_proxy(egress, url)
    egress.save()
    return egress


def go(account: Account, egress: Egress | None = None, second: Egress | None = None) -> Account:
    account.egress, account.second_egress = egress, second
    account.save(update_fields=["egress", "second_egress"])
    return account


def addresses(stage: Stage) -> list[str]:
    """Where the venue saw the calls come from, each change of it once."""
    seen = [call["address"] for call in stage.simulator.log()]
    return [one for one, before in zip(seen, [None, *seen], strict=False) if one != before]


def account_budget(account: Account) -> AccountBudget:
    return AccountBudget(account, Work.PANIC)


def limit_of(account: Account) -> Limit:
    """The limit under which a ban of an address is kept."""
    adapter = VENUE_ADAPTERS[account.venue.adapter]
    return adapter.bans or adapter.listing_limit()


@pytest.mark.parametrize("adapter", VENUES)
def test_calls_leave_from_the_accounts_own_address(stage: Stage, adapter: str) -> None:
    account = go(stage.account(adapter), from_address(SECOND))
    stage.seed(account)
    stage.read(account)

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)
    assert addresses(stage) == [SECOND]


@pytest.mark.parametrize("adapter", VENUES)
def test_calls_go_through_the_accounts_proxy(stage: Stage, forward_proxy: ForwardProxy, adapter: str) -> None:
    account = go(stage.account(adapter), by_proxy(forward_proxy.url))
    stage.seed(account)
    stage.read(account)

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)
    assert addresses(stage) == [BY_PROXY]
    assert Counter(forward_proxy.paths) == Counter(call["path"] for call in stage.simulator.log())


@pytest.mark.parametrize("adapter", VENUES)
def test_second_way_is_taken_at_once_when_the_first_is_not_there(
    stage: Stage, closed_port: int, adapter: str
) -> None:
    gone = by_proxy(f"http://desk:hunter2@127.0.0.1:{closed_port}")
    account = go(stage.account(adapter), gone, from_address(SECOND))
    stage.seed(account, 2)

    sweep = stage.work_until_over(stage.press(account), deliveries=2)

    stage.assert_proven(sweep)
    assert sweep.failures == 0
    assert addresses(stage) == [SECOND]


@pytest.mark.parametrize("adapter", VENUES)
def test_second_way_is_taken_while_the_venue_bans_the_first(stage: Stage, adapter: str) -> None:
    account = go(stage.account(adapter), None, from_address(SECOND))
    stage.seed(account, 2)
    stage.read(account)
    stage.simulator.fault("418", account=account.name, count=1, seconds=300, **at(CALLS[adapter].listing))

    sweep = stage.work(stage.press(account))

    stage.assert_proven(sweep)
    assert addresses(stage) == [USUAL, SECOND]  # not one more call to where it was banned
    assert [call["status"] for call in stage.simulator.log()].count(418) == 1


@pytest.mark.parametrize("adapter", VENUES)
def test_second_way_is_taken_while_the_first_is_banned_and_another_process_was_told(
    stage: Stage, adapter: str
) -> None:
    account = go(stage.account(adapter), None, from_address(SECOND))
    stage.seed(account, 2)
    account_budget(account).block(limit_of(account), 300_000, "HTTP 418 -1003 Way too many requests")

    stage.read(account)
    sweep = stage.work_until_over(stage.press(account), deliveries=2)

    stage.assert_proven(sweep)
    assert sweep.failures == 0
    assert addresses(stage) == [SECOND]


@pytest.mark.parametrize("adapter", VENUES)
def test_way_that_an_account_gets_during_a_ban_is_taken_soon(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    stage.seed(account, 2)
    three_days = {"seconds": 259_200} if adapter != "coinswitch" else {}
    stage.simulator.fault("418", account=account.name, count=1, **three_days)
    banned = stage.work(stage.press(account))
    go(account, None, from_address(SECOND))

    sweep = stage.work_until_over(banned)

    assert banned.state == State.FAILED
    assert banned.due_at <= timezone.now() + timedelta(seconds=sweeper.ASK_AGAIN_S)
    stage.assert_proven(sweep)
    assert addresses(stage) == [USUAL, SECOND]


def test_account_waits_when_both_its_ways_are_banned(stage: Stage) -> None:
    account = go(stage.account("binance-usdm"), None, from_address(SECOND))
    limit, budget = limit_of(account), account_budget(account)
    budget.block(limit, 300_000, "banned here")
    routes.go_around(account.venue.base_url, budget.routes[0])
    budget.block(limit, 200_000, "banned there")
    routes._blocked_until.clear()

    with pytest.raises(BudgetSpent) as caught:
        account_budget(account).prepay(limit, 10)

    assert str(caught.value).endswith(": banned there")
    assert 100_000 < caught.value.retry_after_ms <= 200_000
    assert stage.simulator.log() == []


def test_way_without_an_answer_is_tried_again_before_one_that_is_banned(stage: Stage) -> None:
    account = go(stage.account("binance-usdm"), None, from_address(SECOND))
    stage.seed(account, 2)
    account_budget(account).block(limit_of(account), 300_000, "HTTP 418 -1003 Way too many requests")
    stage.simulator.fault("cut_before", account=account.name, count=1, **at(CALLS["binance-usdm"].listing))

    sweep = stage.work_until_over(stage.press(account), deliveries=4)

    stage.assert_proven(sweep)
    assert addresses(stage) == [SECOND]


def test_refusal_is_booked_to_the_way_that_the_refused_call_took(stage: Stage) -> None:
    account = go(stage.account("binance-usdm"), None, from_address(SECOND))
    limit, budget = limit_of(account), account_budget(account)
    first, second = budget.routes

    def refused_by_the_first(route: Route) -> Route:
        if route is first:
            budget.spend(limit, 7)
            # Meanwhile another call of the account has been refused, too, and the others go around.
            routes.go_around(account.venue.base_url, first)
            budget.observe(limit, 2400)
            budget.block(limit, 300_000, "HTTP 418")
            raise RateLimited("HTTP 418", retry_after_ms=300_000, banned=True)
        budget.spend(limit, 10)
        return route

    answered = routes.through(account.venue.base_url, budget.routes, limit, refused_by_the_first)

    pools_by_way = [
        budgets.pool_name(account.venue.base_url, limit, way=way.name, account_id=account.pk)
        for way in (first, second)
    ]
    standings = pools.standings(pools_by_way)
    assert answered is second
    assert standings is not None
    assert [standings[pool].refusal is None for pool in pools_by_way] == [False, True]
    assert standings[pools_by_way[1]].used(62) == 10


def test_limit_of_a_key_is_the_same_on_every_way(stage: Stage) -> None:
    account = go(stage.account("coinswitch"), None, from_address(SECOND))
    stage.seed(account)
    stage.read(account)
    stage.simulator.fault("429", account=account.name, count=1, **at(CALLS["coinswitch"].listing))

    sweep = stage.work(stage.press(account))

    assert sweep.state == State.FAILED
    assert addresses(stage) == [USUAL]


@pytest.mark.parametrize("adapter", VENUES)
def test_call_without_an_answer_sends_the_next_one_the_other_way(stage: Stage, adapter: str) -> None:
    account = go(stage.account(adapter), None, from_address(SECOND))
    stage.seed(account, 2)
    stage.read(account)
    stage.simulator.fault("cut_before", account=account.name, count=1, **at(CALLS[adapter].listing))

    sweep = stage.work_until_over(stage.press(account))

    stage.assert_proven(sweep)
    assert addresses(stage) == [USUAL, SECOND]


@pytest.mark.parametrize("adapter", LIMITED_BY_ADDRESS)
def test_each_address_has_a_limit_of_its_own(stage: Stage, adapter: str) -> None:
    for name, address in (("alpha", SECOND), ("beta", "127.0.0.3")):
        go(stage.account(adapter, name), from_address(address))
    stage.minute_passes()

    for account in Account.objects.all():
        stage.read(account)

    for account in Account.objects.all():
        address = account.egress.source_address
        calls = [call for call in stage.simulator.log() if call["address"] == address]
        assert {call["account"] for call in calls} <= {account.name, ""}  # none: the clock, for both
        spent = sum(call["weight"] for call in calls)
        # A listing can be counted for a little more than it costs; what both used would be twice as much.
        assert 0 < spent <= account_budget(account).used(limit_of(account)) < 2 * spent


def test_second_way_pays_from_its_own_limit(stage: Stage) -> None:
    account = go(stage.account("binance-usdm"), None, from_address(SECOND))
    limit, budget = limit_of(account), account_budget(account)
    budget.prepay(limit, 10)
    routes.go_around(account.venue.base_url, budget.routes[0])

    budget.spend(limit, 10)

    assert budget.used(limit) == 10  # what was paid in advance was paid for the other address
