"""`manage.py countdown`: what it prints, and with which exit status it ends."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from panicboard.management.scopes import shell_user
from panicboard.models import Account, Countdown
from tests.factories import make_account
from tests.simulator_process import SimulatorProcess

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


def test_wait_ends_with_3_when_the_venue_has_not_confirmed_it(account: Account) -> None:
    with pytest.raises(SystemExit) as ended:  # no worker runs
        call("arm", "--account", "alpha", "--scope", "BTCUSDT", "--wait", "--timeout", "0.2")

    assert ended.value.code == 3
