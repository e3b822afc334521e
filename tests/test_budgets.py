"""The shared budget: what each class of work may spend, and what happens without Redis."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from panicboard import budgets, pools
from panicboard.budgets import AccountBudget, Cost, Work
from panicboard.models import Account, Venue
from panicboard.venues.base import Limit
from panicboard.venues.errors import BudgetSpent

WEIGHT = Limit("fapi", "address", 100)
CALLS = Limit("status", "key", 10)


@pytest.fixture
def account(request: pytest.FixtureRequest) -> Account:
    """An account whose venue address no other test shares."""
    return Account(pk=1, name="alpha", venue=Venue(base_url=f"http://{request.node.name[:60]}.test"))


def spend_all(budget: AccountBudget, limit: Limit, weight: int = 1) -> int:
    spent = 0
    try:
        while True:
            budget.spend(limit, weight)
            spent += weight
    except BudgetSpent:
        return spent


@pytest.mark.usefixtures("valkey")
def test_panics_may_spend_the_whole_limit(account: Account) -> None:
    assert spend_all(AccountBudget(account, Work.PANIC), WEIGHT, 10) == 100


@pytest.mark.usefixtures("valkey")
def test_reads_and_heartbeats_leave_the_reserve_whole(account: Account) -> None:
    assert spend_all(AccountBudget(account, Work.READ), WEIGHT) == 45
    assert spend_all(AccountBudget(account, Work.HEARTBEAT), WEIGHT) == 5  # room that reads do not take
    assert spend_all(AccountBudget(account, Work.PANIC), WEIGHT, 10) == 50


@pytest.mark.usefixtures("valkey")
def test_spent_budget_says_when_there_is_more(account: Account) -> None:
    budget = AccountBudget(account, Work.PANIC)
    budget.spend(WEIGHT, 100)

    with pytest.raises(BudgetSpent) as caught:
        budget.spend(WEIGHT, 1)

    assert 50_000 < caught.value.retry_after_ms <= 62_000


@pytest.mark.usefixtures("valkey")
def test_call_dearer_than_the_share_is_refused_with_the_reason(account: Account) -> None:
    with pytest.raises(BudgetSpent) as caught:
        AccountBudget(account, Work.READ).spend(WEIGHT, 46)

    assert str(caught.value) == "a call of weight 46 is more than reads may use of fapi (45)"


@pytest.mark.usefixtures("valkey")
def test_accounts_behind_one_address_share_its_limit(account: Account) -> None:
    other = Account(pk=2, name="beta", venue=account.venue)
    AccountBudget(account, Work.PANIC).spend(WEIGHT, 60)

    assert spend_all(AccountBudget(other, Work.PANIC), WEIGHT, 10) == 40


@pytest.mark.usefixtures("valkey")
def test_hundreds_of_threads_count_together_at_once(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    held = [pools.client().connection_pool.get_connection() for _ in range(300)]

    try:
        assert spend_all(AccountBudget(account, Work.PANIC), WEIGHT, 10) == 100
    finally:
        for one in held:
            pools.client().connection_pool.release(one)
    assert "Redis does not answer" not in caplog.text


@pytest.mark.usefixtures("valkey")
def test_keys_have_their_limits_to_themselves(account: Account) -> None:
    other = Account(pk=2, name="beta", venue=account.venue)
    AccountBudget(account, Work.PANIC).spend(CALLS, 10)

    assert spend_all(AccountBudget(other, Work.PANIC), CALLS) == 10


@pytest.mark.usefixtures("valkey")
def test_prepaid_weight_is_spent_first_and_only_once(account: Account) -> None:
    budget = AccountBudget(account, Work.PANIC)
    budget.prepay(WEIGHT, 100)

    assert spend_all(budget, WEIGHT, 10) == 100


@pytest.mark.usefixtures("valkey")
def test_prepay_takes_all_or_nothing(account: Account) -> None:
    budget = AccountBudget(account, Work.PANIC)
    budget.spend(WEIGHT, 50)

    with pytest.raises(BudgetSpent):
        budget.prepay(WEIGHT, 51)

    assert spend_all(budget, WEIGHT, 10) == 50


@pytest.mark.usefixtures("valkey")
def test_calls_of_many_accounts_are_paid_for_together(account: Account) -> None:
    other = Account(pk=2, name="beta", venue=account.venue)
    ours, theirs = AccountBudget(account, Work.PANIC), AccountBudget(other, Work.PANIC)

    budgets.prepay([Cost(ours, WEIGHT, 30), Cost(theirs, WEIGHT, 60), Cost(theirs, CALLS, 10)])

    assert ours.used(WEIGHT) == 90
    assert (ours.used(CALLS), theirs.used(CALLS)) == (0, 10)
    AccountBudget(account, Work.PANIC).spend(WEIGHT, 10)  # the rest of the limit
    assert spend_all(ours, WEIGHT) == 30
    assert spend_all(theirs, WEIGHT) == 60
    assert spend_all(theirs, CALLS) == 10


@pytest.mark.usefixtures("valkey")
def test_call_that_is_paid_for_in_part_pays_the_rest(account: Account) -> None:
    budget = AccountBudget(account, Work.PANIC)
    budget.prepay(WEIGHT, 30)

    budget.spend(WEIGHT, 1)
    budget.spend(WEIGHT, 30)

    assert budget.used(WEIGHT) == 31


@pytest.mark.usefixtures("valkey")
def test_call_that_cannot_pay_the_rest_keeps_what_was_paid(account: Account) -> None:
    budget = AccountBudget(account, Work.PANIC)
    AccountBudget(account, Work.PANIC).spend(WEIGHT, 80)
    budget.prepay(WEIGHT, 20)

    with pytest.raises(BudgetSpent):
        budget.spend(WEIGHT, 21)

    budget.spend(WEIGHT, 20)
    assert budget.used(WEIGHT) == 100


@pytest.mark.usefixtures("valkey")
def test_calls_that_do_not_fit_together_pay_for_themselves(account: Account) -> None:
    other = Account(pk=2, name="beta", venue=account.venue)
    ours, theirs = AccountBudget(account, Work.PANIC), AccountBudget(other, Work.PANIC)
    ours.spend(WEIGHT, 30)

    budgets.prepay([Cost(ours, WEIGHT, 60), Cost(theirs, WEIGHT, 11), Cost(theirs, CALLS, 1)])

    assert (ours.used(WEIGHT), theirs.used(CALLS)) == (30, 1)
    assert spend_all(ours, WEIGHT, 10) == 70


@pytest.mark.usefixtures("valkey")
def test_many_threads_together_never_overspend(account: Account) -> None:
    with ThreadPoolExecutor(16) as pool:
        spent = sum(pool.map(lambda _: spend_all(AccountBudget(account, Work.PANIC), WEIGHT), range(16)))

    assert spent == 100


@pytest.mark.usefixtures("valkey")
def test_venue_that_refuses_is_left_alone_by_everybody(account: Account) -> None:
    AccountBudget(account, Work.READ).block(WEIGHT, 30_000, "HTTP 429 -1003 Too many requests")

    with pytest.raises(BudgetSpent) as caught:
        AccountBudget(account, Work.PANIC).spend(WEIGHT, 1)

    assert 29_000 < caught.value.retry_after_ms <= 30_000
    said = r"until \d\d:\d\d:\d\d the venue refuses fapi calls: HTTP 429 -1003 Too many requests"
    assert re.fullmatch(said, str(caught.value))


@pytest.mark.usefixtures("valkey")
def test_call_that_was_paid_for_in_advance_is_not_sent_into_a_refusal(account: Account) -> None:
    budget = AccountBudget(account, Work.PANIC)
    budget.prepay(WEIGHT, 30)
    budget.block(WEIGHT, 30_000, "HTTP 418 -1003 Way too many requests")

    with pytest.raises(BudgetSpent) as caught:
        budget.spend(WEIGHT, 30)

    assert caught.value.refused
    assert 29_000 < caught.value.retry_after_ms <= 30_000
    said = r"until \d\d:\d\d:\d\d the venue refuses fapi calls: HTTP 418 -1003 Way too many requests"
    assert re.fullmatch(said, str(caught.value))
    pools.client().delete(f"{budget.pool(WEIGHT)}:blocked")
    pools._local._refusals.clear()
    budget.spend(WEIGHT, 30)  # still paid for
    assert budget.used(WEIGHT) == 30


@pytest.mark.usefixtures("valkey")
def test_shorter_refusal_never_ends_a_ban(account: Account) -> None:
    budget = AccountBudget(account, Work.PANIC)
    budget.block(WEIGHT, 120_000, "HTTP 418 banned")
    budget.block(WEIGHT, 1_000, "HTTP 429")

    with pytest.raises(BudgetSpent) as caught:
        budget.spend(WEIGHT, 1)

    assert 110_000 < caught.value.retry_after_ms <= 120_000


@pytest.mark.usefixtures("valkey")
def test_limit_granted_by_the_venue_replaces_the_published_one(account: Account) -> None:
    account.venue.limit_override = 200

    assert spend_all(AccountBudget(account, Work.PANIC), WEIGHT, 10) == 200
    assert spend_all(AccountBudget(account, Work.PANIC), CALLS) == 10


@pytest.fixture
def lose_redis(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let Redis not answer any more, until the test ends."""
    monkeypatch.setattr(pools, "_redis_lost_at", -pools.RETRY_REDIS_S)
    nobody = redis.Redis.from_url("redis://127.0.0.1:9")  # which, unlike others, tries once only
    return lambda: monkeypatch.setattr(pools, "client", lambda: nobody)


@pytest.fixture
def find_redis(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let Redis answer again, at once."""
    there = pools.client

    def found() -> None:
        monkeypatch.setattr(pools, "client", there)
        monkeypatch.setattr(pools, "_redis_lost_at", -pools.RETRY_REDIS_S)

    return found


def test_without_redis_each_process_keeps_to_its_share(
    account: Account, lose_redis: Callable[[], None]
) -> None:
    lose_redis()

    assert spend_all(AccountBudget(account, Work.PANIC), WEIGHT) == 25


def test_limit_of_a_key_needs_no_redis_to_be_used_as_a_whole(
    account: Account, lose_redis: Callable[[], None]
) -> None:
    lose_redis()

    assert spend_all(AccountBudget(account, Work.PANIC), CALLS) == 10


@pytest.mark.usefixtures("valkey")
def test_share_without_redis_is_one_of_what_was_left(
    account: Account, lose_redis: Callable[[], None]
) -> None:
    AccountBudget(account, Work.PANIC).spend(WEIGHT, 80)
    lose_redis()

    assert spend_all(AccountBudget(account, Work.PANIC), WEIGHT) == 5


@pytest.mark.usefixtures("valkey")
def test_call_too_dear_for_the_share_waits_for_redis(
    account: Account, lose_redis: Callable[[], None]
) -> None:
    AccountBudget(account, Work.PANIC).spend(WEIGHT, 1)
    lose_redis()

    with pytest.raises(BudgetSpent) as caught:
        AccountBudget(account, Work.PANIC).spend(WEIGHT, 50)

    assert caught.value.retry_after_ms == 1000


@pytest.mark.usefixtures("valkey")
def test_turn_is_asked_for_again_soon_while_redis_is_away(
    account: Account, lose_redis: Callable[[], None]
) -> None:
    budget = AccountBudget(account, Work.PROOF)
    lose_redis()

    with pytest.raises(BudgetSpent) as caught:
        budget.take_in_turn(WEIGHT, 20, ahead=100, lighter=0)

    assert caught.value.retry_after_ms == 5000


@pytest.mark.usefixtures("valkey")
def test_redis_is_told_what_was_used_without_it(
    account: Account, lose_redis: Callable[[], None], find_redis: Callable[[], None]
) -> None:
    budget = AccountBudget(account, Work.PANIC)
    lose_redis()
    budget.spend(WEIGHT, 20)
    find_redis()

    budget.spend(WEIGHT, 10)

    assert budget.used(WEIGHT) == 30


@pytest.mark.usefixtures("valkey")
def test_refusal_that_redis_told_of_is_obeyed_without_it(
    account: Account, lose_redis: Callable[[], None]
) -> None:
    budget = AccountBudget(account, Work.PANIC)
    budget.block(WEIGHT, 30_000, "HTTP 418")
    pools._local._refusals.clear()  # as in another process, which the venue did not tell
    with pytest.raises(BudgetSpent):
        budget.spend(WEIGHT, 1)
    lose_redis()

    with pytest.raises(BudgetSpent, match="the venue refuses fapi calls: HTTP 418") as caught:
        budget.spend(WEIGHT, 1)

    assert 29_000 < caught.value.retry_after_ms <= 30_000


@pytest.mark.usefixtures("valkey")
def test_others_are_told_of_a_refusal_when_its_pool_is_asked_for_and_redis_is_back(
    account: Account, lose_redis: Callable[[], None], find_redis: Callable[[], None]
) -> None:
    budget = AccountBudget(account, Work.PANIC)
    lose_redis()
    budget.block(WEIGHT, 30_000, "HTTP 418")
    find_redis()

    with pytest.raises(BudgetSpent):
        budget.spend(WEIGHT, 1)

    refused = pools.refusal(budget.pool(WEIGHT))
    assert refused is not None
    assert refused.why == "HTTP 418"
    assert 29_000 < refused.ms <= 30_000


@pytest.mark.usefixtures("valkey")
def test_others_are_told_of_a_refusal_when_anything_is_spent_and_redis_is_back(
    account: Account, lose_redis: Callable[[], None], find_redis: Callable[[], None]
) -> None:
    budget = AccountBudget(account, Work.PANIC)
    lose_redis()
    budget.block(WEIGHT, 30_000, "HTTP 418")
    find_redis()

    budget.spend(CALLS, 1)

    refused = pools.refusal(budget.pool(WEIGHT))
    assert refused is not None
    assert refused.why == "HTTP 418"


@pytest.mark.usefixtures("valkey")
def test_standings_tell_of_many_pools_what_is_used_and_what_the_venue_refuses(account: Account) -> None:
    budget = AccountBudget(account, Work.PANIC)
    budget.spend(WEIGHT, 30)
    budget.spend(WEIGHT, 12)
    budget.block(CALLS, 30_000, "HTTP 429 -1003 Too many requests")
    names = [budget.pool(WEIGHT), budget.pool(CALLS), "panicboard:budget:nobody"]

    standings = pools.standings(names)

    assert standings is not None
    assert list(standings) == names
    assert [standing.used(62) for standing in standings.values()] == [42, 0, 0]
    assert [standing.refusal and standing.refusal.why for standing in standings.values()] == [
        None,
        "HTTP 429 -1003 Too many requests",
        None,
    ]
    refused = standings[budget.pool(CALLS)].refusal
    assert refused is not None
    assert 20_000 < refused.ms <= 30_000


def test_standings_without_redis_are_not_known(lose_redis: Callable[[], None]) -> None:
    lose_redis()

    asked, again = pools.standings(["panicboard:budget:any"]), pools.standings(["panicboard:budget:any"])

    assert (asked, again, pools.standings([])) == (None, None, {})
