"""`manage.py countdown`: what it prints, and with which exit status it ends."""

import json
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from panicboard import countdowns, life_signs, panics
from panicboard.management.scopes import shell_user
from panicboard.models import Account, AuditEntry, Countdown, Panic, Reading
from panicboard.panics import Scope
from tests.factories import make_account
from tests.simulator_process import SimulatorProcess
from tests.test_heartbeats import start_keepers

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
Phase = Countdown.Phase


@pytest.fixture
def account(simulator: SimulatorProcess) -> Account:
    return make_account(simulator)


def call(*words: str) -> str:
    said = StringIO()
    call_command("countdown", *words, stdout=said)
    return said.getvalue()


def test_arm_and_list(account: Account) -> None:
    call("arm", "--account", "alpha", "--scope", "BTCUSDT", "--length-s", "60", "--refresh-s", "15")

    row = Countdown.objects.get()
    assert (row.scope, row.countdown_ms, row.refresh_ms, row.armed_by) == (
        "BTCUSDT",
        60_000,
        15_000,
        shell_user(),
    )
    assert call("list").split() == ["alpha", "BTCUSDT", "ARMING", "believed", "board"]


def test_list_as_json(account: Account) -> None:
    call("arm", "--account", "alpha", "--scope", "BTCUSDT")

    (told,) = json.loads(call("list", "--json"))["countdowns"]

    assert told == {
        "account": "alpha",
        "scope": "BTCUSDT",
        "state": "arming",
        "why": "",
        "deadline_at": None,
        "countdown_ms": 120_000,
        "refresh_ms": 30_000,
        "source": "board",
        "proof": "believed",
        "found_open": None,
    }


def test_disarm(account: Account) -> None:
    call("arm", "--account", "alpha", "--scope", "BTCUSDT", "--scope", "ETHUSDT")

    call("disarm", "--account", "alpha", "--scope", "ETHUSDT")

    assert dict(Countdown.objects.values_list("scope", "phase")) == {
        "BTCUSDT": Phase.ARMING,
        "ETHUSDT": Phase.DISARMING,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("arm", "--account", "beta"), "there is no account 'beta'; accounts: alpha"),
        (("arm", "--account", "alpha"), "alpha has no open orders: name at least one symbol to arm"),
        (("disarm", "--account", "alpha", "--scope", "X"), "alpha has no countdown over X"),
    ],
)
def test_what_is_refused_ends_with_2(account: Account, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError) as refused:
        call(*words)

    assert (str(refused.value), refused.value.returncode) == (said, 2)


def test_every_open_symbol_is_armed_when_asked(account: Account) -> None:
    orders = [{"symbol": "ETHUSDT"}, {"symbol": "BTCUSDT"}, {"symbol": "ETHUSDT"}]
    Reading.objects.create(account=account, due_at=timezone.now(), orders=orders)

    call("arm", "--account", "alpha", "--all-open")

    assert list(Countdown.objects.values_list("scope", flat=True)) == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize("beside", [["--all-open"], ["--follow"]])
def test_all_and_some_of_them_do_not_go_together(account: Account, beside: list[str]) -> None:
    with pytest.raises(CommandError):
        call("arm", "--account", "alpha", "--scope", "BTCUSDT", *beside)

    assert not Countdown.objects.exists()


def test_unlock_takes_its_reason_into_the_record(account: Account) -> None:
    facts = {"countdown_ms": 120_000, "phase": Phase.FIRED, "locked": True}
    Countdown.objects.create(account=account, scope="BTCUSDT", **facts)

    call("unlock", "--account", "alpha", "--reason", "the bot is mended")

    assert Countdown.objects.get().phase == Phase.DISARMING
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.detail) == (AuditEntry.Action.UNLOCKED, "BTCUSDT: the bot is mended")


def test_rearm_after_a_panic(account: Account) -> None:
    countdowns.arm(account, ["BTCUSDT"], by="ann", countdown_ms=90_000)
    scope = Scope(Panic.Scope.ACCOUNT, account=account)
    panic = panics.start(scope, pressed_by=None, pressed_by_name="ann", via=Panic.Via.SHELL).panic

    with pytest.raises(CommandError) as refused:
        call("rearm", "--account", "alpha")
    panics.release(panic, released_by=None, released_by_name="ann", reason="all is well again")
    call("rearm", "--account", "alpha")

    assert refused.value.returncode == 2
    assert Countdown.objects.values_list("phase", "countdown_ms").get() == (Phase.ARMING, 90_000)


def test_wait_ends_with_0_when_it_is_armed(simulator: SimulatorProcess) -> None:
    local = make_account(simulator, "coinswitch")
    life_signs.expect_operator(local, by="ann")

    call("arm", "--account", "alpha", "--source", "operator", "--wait")

    assert Countdown.objects.get().phase == Phase.ARMED


def test_wait_does_not_mind_what_becomes_of_others(simulator: SimulatorProcess) -> None:
    local = make_account(simulator, "coinswitch")
    life_signs.expect_operator(local, by="ann")
    on_its_way = {"countdown_ms": 120_000, "phase": Phase.DISARMING}
    Countdown.objects.create(account=local, scope="X", **on_its_way)

    call("arm", "--account", "alpha", "--source", "operator", "--wait", "--timeout", "0.2")


def test_wait_follows_what_the_venue_says(account: Account, bare_product: "Product") -> None:
    start_keepers(bare_product)

    call("arm", "--account", "alpha", "--scope", "BTCUSDT", "--wait")
    with pytest.raises(SystemExit) as refused:
        call("arm", "--account", "alpha", "--scope", "NOSUCHUSDT", "--wait", "--timeout", "30")

    assert refused.value.code == 3
    assert dict(Countdown.objects.values_list("scope", "phase")) == {
        "BTCUSDT": Phase.ARMED,
        "NOSUCHUSDT": Phase.DISARMED,
    }


def test_wait_ends_with_3_when_the_venue_has_not_confirmed_it(account: Account) -> None:
    with pytest.raises(SystemExit) as ended:  # no worker runs
        call("arm", "--account", "alpha", "--scope", "BTCUSDT", "--wait", "--timeout", "0.2")

    assert ended.value.code == 3
