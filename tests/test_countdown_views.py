"""The page of an account's countdowns: what it says, and what people do there."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from panicboard import countdowns, life_signs, panics
from panicboard.models import Account, Beat, Countdown, LifeSign, Panic
from panicboard.panics import Scope
from tests.factories import make_account
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("broker", "plain_static_files"),
]
Phase = Countdown.Phase


@pytest.fixture
def account(simulator: SimulatorProcess) -> Account:
    return make_account(simulator)


@pytest.fixture
def page(client: Client, account: Account) -> str:
    """Its address; a risk manager is signed in."""
    user = User.objects.create_user("risk.desk1")
    user.user_permissions.add(Permission.objects.get(codename="arm"))
    client.force_login(user)
    return f"/accounts/{account.pk}/countdowns/"


ARM = {"scopes": "btcusdt, ETHUSDT", "length_s": "90", "refresh_s": "20", "source": "board"}


def shown(client: Client, page: str) -> str:
    return " ".join(client.get(page).content.decode().split())


def test_countdowns_are_armed_on_the_page(client: Client, page: str) -> None:
    reply = client.post(f"{page}arm/", ARM)

    rows = Countdown.objects.values_list("scope", "phase", "countdown_ms", "refresh_ms", "armed_by")
    assert (reply.status_code, reply["Location"]) == (303, page)
    assert list(rows) == [(s, Phase.ARMING, 90_000, 20_000, "risk.desk1") for s in ("BTCUSDT", "ETHUSDT")]
    assert "Arming 2 countdowns." in shown(client, page)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"refresh_s": "40"}, "30 s is the longest."),
        ({"length_s": "soon"}, "length_s: Enter a number."),
        ({"scopes": ""}, "alpha has no open orders: name at least one symbol to arm"),
        ({"source": "bot"}, "alpha has no life sign of the bot; make one first"),
        ({"source": "nobody"}, "source: Select a valid choice."),
    ],
)
def test_what_is_refused_is_said_and_what_was_typed_is_kept(
    client: Client, page: str, changes: dict[str, Any], said: str
) -> None:
    reply = client.post(f"{page}arm/", {**ARM, "length_s": "90", **changes})

    text = reply.content.decode()
    assert reply.status_code == 422
    assert said in text
    assert not Countdown.objects.exists()
    if "length_s" not in changes:
        assert 'value="90"' in text


def test_one_countdown_or_all_are_disarmed(client: Client, page: str, account: Account) -> None:
    first, _ = countdowns.arm(account, ["BTCUSDT", "ETHUSDT"], by="ann")

    client.post(f"{page}disarm/", {"countdown": first.pk})
    one = dict(Countdown.objects.values_list("scope", "phase"))
    client.post(f"{page}disarm/")

    assert one == {"BTCUSDT": Phase.DISARMING, "ETHUSDT": Phase.ARMING}
    assert set(Countdown.objects.values_list("phase", flat=True)) == {Phase.DISARMING}


def test_countdown_of_another_account_is_not_disarmed_from_here(
    client: Client, page: str, simulator: SimulatorProcess
) -> None:
    (other,) = countdowns.arm(make_account(simulator, name="beta"), ["BTCUSDT"], by="ann")

    client.post(f"{page}disarm/", {"countdown": other.pk})

    assert Countdown.objects.get().phase == Phase.ARMING


def test_release_offers_to_arm_again(client: Client, page: str, account: Account) -> None:
    countdowns.arm(account, ["BTCUSDT"], by="ann")
    scope = Scope(Panic.Scope.ACCOUNT, account=account)
    panic = panics.start(scope, pressed_by=None, pressed_by_name="ann", via=Panic.Via.SHELL).panic
    latched = shown(client, page)
    panics.release(panic, released_by=None, released_by_name="ann", reason="all is well again")
    released = shown(client, page)

    client.post(f"{page}rearm/")

    assert "Arm 1 again" not in latched
    assert "no heartbeat leaves" in latched
    assert "Arm 1 again" in released
    assert Countdown.objects.get().phase == Phase.ARMING


def test_releasing_says_what_is_not_armed_again(client: Client, page: str, account: Account) -> None:
    User.objects.get(username="risk.desk1").user_permissions.add(Permission.objects.get(codename="release"))
    countdowns.arm(account, ["BTCUSDT"], by="ann")
    scope = Scope(Panic.Scope.ACCOUNT, account=account)
    panic = panics.start(scope, pressed_by=None, pressed_by_name="ann", via=Panic.Via.SHELL).panic

    client.post(f"{panic.get_absolute_url()}release/", {"reason": "all is well again", "seen": "on"})

    said = "1 account released. Their countdowns are not armed again: see to it on their pages: alpha."
    assert said in shown(client, "/")


def test_bots_address_is_shown_once(client: Client, page: str) -> None:
    reply = client.post(f"{page}bot/", {"silence_s": "30"})

    path = reply.content.decode().partition("curl -X POST http://testserver")[2].partition("<")[0]
    assert Client().post(path).status_code == 200
    assert "no-store" in reply["Cache-Control"]
    assert path not in shown(client, page)


def test_presence_is_confirmed_for_every_account_that_expects_it(
    client: Client, page: str, account: Account
) -> None:
    client.post(f"{page}operator/", {"silence_s": "600"})
    LifeSign.objects.update(last_at=None, last_by="")
    began_at = timezone.now()

    asked = shown(client, "/presence/")
    client.post("/presence/")

    sign = LifeSign.objects.get()
    assert sign.last_at is not None
    assert (sign.last_at >= began_at, sign.last_by, sign.silence_s) == (True, "risk.desk1", 600)
    assert "alpha</a>: never confirmed" in asked


@pytest.mark.parametrize(
    ("ago_s", "said"), [(10, "hang on somebody's presence"), (500, "ARE YOU THERE?"), (700, "ARE YOU THERE?")]
)
def test_board_asks_for_presence_and_warns_ahead(
    client: Client, page: str, account: Account, ago_s: int, said: str
) -> None:
    life_signs.expect_operator(account, by="ann", silence_s=600)
    countdowns.arm(account, ["BTCUSDT"], by="ann", source="operator")
    LifeSign.objects.update(last_at=timezone.now() - timedelta(seconds=ago_s))
    Beat.objects.create(process="w", kind="worker-panic", at=timezone.now())

    assert said in shown(client, "/").replace("&#x27;", "'")


@pytest.mark.parametrize("act", ["arm", "disarm", "unlock", "rearm", "bot", "operator"])
def test_viewer_may_look_and_do_nothing(client: Client, account: Account, act: str) -> None:
    client.force_login(User.objects.create_user("viewer"))
    countdowns.arm(account, ["BTCUSDT"], by="ann")
    page = f"/accounts/{account.pk}/countdowns/"

    looked, acted = client.get(page), client.post(f"{page}{act}/", ARM)

    assert (looked.status_code, acted.status_code) == (200, 403)
    assert "<form" not in looked.content.decode().partition("<main")[2]
    assert Countdown.objects.get().phase == Phase.ARMING


@pytest.mark.parametrize("act", ["arm", "disarm", "unlock", "rearm", "bot", "operator"])
def test_nothing_is_done_by_looking(client: Client, page: str, act: str) -> None:
    assert client.get(f"{page}{act}/").status_code == 405


def test_local_countdown_is_called_so(client: Client, page: str, simulator: SimulatorProcess) -> None:
    other = make_account(simulator, "coinswitch", "beta")
    life_signs.expect_operator(other, by="ann")
    countdowns.arm(other, [""], by="ann", source="operator")

    text = shown(client, f"/accounts/{other.pk}/countdowns/")

    assert "LOCAL:" in text
    assert "That does not protect from the end of panicboard itself" in text
    assert "the whole account" in text
