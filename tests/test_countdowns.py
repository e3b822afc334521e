"""What may be armed, disarmed and unlocked, and what a refusal says."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from panicboard import countdown_rules, countdowns, life_signs, panics
from panicboard.models import Account, AuditEntry, Countdown, Egress, Maintenance, Panic
from panicboard.panics import Scope
from tests.factories import make_account
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
Phase = Countdown.Phase


def refusal(account: Account, *scopes: str, **options: Any) -> str:
    with pytest.raises(countdowns.Refused) as refused:
        countdowns.arm(account, scopes or ["BTCUSDT"], by="ann", **options)
    assert not Countdown.objects.exclude(phase=Phase.DISARMED).filter(account=account).exists()
    return str(refused.value)


def test_armed_countdown_is_due_at_once_and_recorded(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)

    (row,) = countdowns.arm(account, ["BTCUSDT"], by="ann")

    assert (row.phase, row.countdown_ms, row.refresh_ms, row.source) == (
        Phase.ARMING,
        120_000,
        30_000,
        "board",
    )
    assert row.due_at is not None
    assert row.due_at <= timezone.now()
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_name, entry.account) == (AuditEntry.Action.ARMED, "ann", account)
    assert entry.detail == "BTCUSDT: 120 s, a heartbeat every 30 s, kept alive by the board"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"countdown_ms": 4_999, "refresh_ms": 1_000},
            "a countdown of 4999 ms: {venue} takes 5000 to 2147483647 ms",
        ),
        ({"refresh_ms": 999}, "a heartbeat every 999 ms: 1000 ms is the shortest"),
        (
            {"countdown_ms": 60_000, "refresh_ms": 20_001},
            "a heartbeat every 20.001 s is too seldom for a countdown of 60 s: two lost ones would let it "
            "run out. 20 s is the longest.",
        ),
        ({"source": "bot"}, "alpha has no life sign of the bot; make one first"),
    ],
)
def test_what_makes_no_sense_is_refused(
    simulator: SimulatorProcess, options: dict[str, Any], said: str
) -> None:
    account = make_account(simulator, "binance-options")

    assert refusal(account, **options) == said.format(venue=account.venue.name)


def test_source_that_was_never_heard_is_refused(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    life_signs.make_bot_address(account, by="ann")

    said = refusal(account, source="bot")

    assert said == "nothing was heard of the bot of alpha yet: it would run out at once"


def test_account_without_open_orders_has_nothing_to_arm(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)

    assert countdowns.open_scopes(account) == []
    with pytest.raises(countdowns.Refused, match="alpha has no open orders: name at least one symbol to arm"):
        countdowns.arm(account, [], by="ann")


def test_disabled_account_is_refused(simulator: SimulatorProcess) -> None:
    account = make_account(simulator, enabled=False)

    assert refusal(account) == "alpha is disabled; enable it in the admin first"


def test_more_than_the_venue_can_keep_alive_is_refused_with_what_fits(simulator: SimulatorProcess) -> None:
    first, second = make_account(simulator), make_account(simulator, name="beta")
    countdowns.arm(first, [f"S{number}USDT" for number in range(40)], by="ann")

    said = refusal(second, *[f"S{number}USDT" for number in range(20)])

    assert said == (
        "with 20 more and a heartbeat every 30 s, countdowns take 1200 of the 960 a minute there is for "
        "them: 8 fit, or all of them with a heartbeat every 75 s"
    )


def test_accounts_behind_another_address_have_a_limit_of_their_own(simulator: SimulatorProcess) -> None:
    first, second = make_account(simulator), make_account(simulator, name="beta")
    countdowns.arm(first, [f"S{number}USDT" for number in range(48)], by="ann")
    second.egress = Egress.objects.create(name="second", source_address="127.0.0.2")
    second.save()

    armed = countdowns.arm(second, ["BTCUSDT"], by="ann")

    assert len(armed) == 1


def test_underlyings_of_an_options_account_share_what_one_costs(simulator: SimulatorProcess) -> None:
    account = make_account(simulator, "binance-options")

    countdowns.arm(account, [f"S{number}USDT" for number in range(50)], by="ann")

    assert countdown_rules.weight_a_minute(account) == 20


@pytest.mark.parametrize("adapter", ["coinswitch", "binance-portfolio"])
def test_venue_without_countdown_takes_a_local_one_only(simulator: SimulatorProcess, adapter: str) -> None:
    account = make_account(simulator, adapter)
    life_signs.expect_operator(account, by="ann")
    venue = account.venue.name

    assert refusal(account, "BTCUSDT", source="operator") == (
        f"{venue} has no countdown: panicboard's own is over the whole account, not over BTCUSDT"
    )
    assert refusal(account, "") == (
        f"{venue} has no countdown, and panicboard cannot guard against its own end: choose the bot or the "
        "operator as source"
    )
    (row,) = countdowns.arm(account, [""], by="ann", source="operator")
    assert (row.phase, row.is_local) == (Phase.ARMED, True)


def test_nothing_is_armed_during_maintenance(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    now = timezone.now()
    Maintenance.objects.create(
        venue=account.venue,
        begins_at=now - timedelta(minutes=1),
        ends_at=now + timedelta(minutes=1),
        reason="the venue moves house",
        made_by="ann",
    )

    assert refusal(account).endswith(" UTC: the venue moves house")


def test_press_withholds_what_is_armed_in_its_own_transaction(simulator: SimulatorProcess) -> None:
    account, other = make_account(simulator), make_account(simulator, name="beta")
    countdowns.arm(account, ["BTCUSDT"], by="ann")
    countdowns.arm(other, ["BTCUSDT"], by="ann")

    scope = Scope(Panic.Scope.ACCOUNT, account=account)
    panic = panics.start(scope, pressed_by=None, pressed_by_name="ann", via=Panic.Via.SHELL).panic

    phases = dict(Countdown.objects.values_list("account__name", "phase"))
    assert phases == {"alpha": Phase.WITHHELD, "beta": Phase.ARMING}
    assert [row.withheld_by for row in countdowns.to_rearm(account)] == [panic]


def test_press_of_one_symbol_withholds_nothing(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    countdowns.arm(account, ["BTCUSDT"], by="ann")

    scope = Scope(Panic.Scope.SYMBOL, account=account, symbol="BTCUSDT")
    panics.start(scope, pressed_by=None, pressed_by_name="ann", via=Panic.Via.SHELL)

    assert Countdown.objects.get().phase == Phase.ARMING


def test_release_arms_nothing_and_offers_what_was_armed(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    countdowns.arm(account, ["BTCUSDT"], by="ann", countdown_ms=90_000, refresh_ms=20_000)
    scope = Scope(Panic.Scope.ACCOUNT, account=account)
    panic = panics.start(scope, pressed_by=None, pressed_by_name="ann", via=Panic.Via.SHELL).panic

    panics.release(panic, released_by=None, released_by_name="ann", reason="all is well again")

    assert Countdown.objects.get().phase == Phase.WITHHELD
    assert countdowns.rearm(account, by="bob") == 1
    row = Countdown.objects.get()
    assert (row.phase, row.countdown_ms, row.refresh_ms, row.armed_by) == (
        Phase.ARMING,
        90_000,
        20_000,
        "bob",
    )
    assert not countdowns.to_rearm(account)


def test_unlocking_needs_a_reason_and_a_lock(simulator: SimulatorProcess) -> None:
    account = make_account(simulator, "binance-options")
    (row,) = countdowns.arm(account, ["BTCUSDT"], by="ann")

    with pytest.raises(countdowns.Refused, match="Give a reason of at least 10 characters"):
        countdowns.unlock(row, "because", by="ann")
    with pytest.raises(countdowns.Refused, match="alpha BTCUSDT is not locked"):
        countdowns.unlock(row, "the bot is mended", by="ann")
