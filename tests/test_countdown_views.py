"""The page of an account's countdowns: what it says, and what people do there."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from panicboard import countdowns, life_signs, panics
from panicboard.fragments import Renderer, Topic
from panicboard.models import Account, AuditEntry, Beat, Countdown, LifeSign, Panic
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
        ({"follow": "on"}, "The whole account or these symbols: name none, or untick the whole account."),
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


def test_refusal_to_htmx_is_a_sentence_and_the_form_stays(client: Client, page: str) -> None:
    reply = client.post(f"{page}arm/", {**ARM, "refresh_s": "40"}, headers={"HX-Request": "true"})

    said = (
        '<p class="refused">a heartbeat every 40 s is too seldom for a countdown of 90 s: two lost ones '
        "would let it run out. 30 s is the longest.</p>"
    )
    assert (reply.status_code, reply.content.decode().splitlines()[-1]) == (422, said)


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_expired_login_leads_to_the_login_and_back_to_the_page(
    client: Client, page: str, headers: dict[str, str]
) -> None:
    client.logout()

    reply = client.post(f"{page}arm/", ARM, headers=headers)

    assert reply.headers.get("HX-Redirect", reply.headers.get("Location")) == f"/login/?next={page}"
    assert not Countdown.objects.exists()


def test_page_tells_the_last_calls_newest_first(client: Client, page: str, account: Account) -> None:
    countdowns.arm(account, ["BTCUSDT"], by="ann")
    times = {"set": "2026-11-20T14:03:21.480+00:00", "heartbeat": "2026-11-20T14:03:51.480+00:00"}
    outcomes = {"set": "done", "heartbeat": "unknown"}
    recent = [{"at": at, "what": what, "ms": 12, "outcome": outcomes[what]} for what, at in times.items()]
    Countdown.objects.update(recent=recent)

    calls = re.findall(r"<tr><td title.*?</tr>", shown(client, page))

    assert calls == [
        '<tr><td title="20 Nov 2026">14:03:51.480</td><td>heartbeat</td><td class="num">12</td>'
        '<td><b class="crit">unknown</b></td></tr>',
        '<tr><td title="20 Nov 2026">14:03:21.480</td><td>set</td><td class="num">12</td>'
        "<td>acknowledged</td></tr>",
    ]


def test_page_tells_what_was_found_and_unlocks_for_a_reason(
    client: Client, page: str, simulator: SimulatorProcess
) -> None:
    options = make_account(simulator, "binance-options", "beta")
    now = timezone.now()
    facts = {"countdown_ms": 120_000, "phase": Phase.FIRED, "locked": True, "armed_at": now}
    row = Countdown.objects.create(account=options, scope="BTCUSDT", found_open=0, found_at=now, **facts)
    page = f"/accounts/{options.pk}/countdowns/"
    text = shown(client, page)

    too_short = client.post(f"{page}unlock/", {"countdown": row.pk, "reason": "because"})
    client.post(f"{page}unlock/", {"countdown": row.pk, "reason": "the bot is mended"})

    assert "LOCKED</span>" in text
    assert "0 open when read" in text
    assert too_short.status_code == 422
    assert Countdown.objects.get().phase == Phase.DISARMING
    entry = AuditEntry.objects.get(action=AuditEntry.Action.UNLOCKED)
    assert (entry.actor_name, entry.detail) == ("risk.desk1", "BTCUSDT: the bot is mended")


def test_page_costs_no_query_more_with_many_countdowns(client: Client, page: str, account: Account) -> None:
    def cost(*scopes: str) -> int:
        countdowns.arm(account, scopes, by="ann")
        with CaptureQueriesContext(connection) as queries:
            client.get(page)
        return len(queries)

    assert cost("A") == cost("B", "C", "D")


def test_board_is_not_sent_again_for_time_alone(account: Account, page: str) -> None:
    now = timezone.now()
    facts = {"countdown_ms": 120_000, "refresh_ms": 30_000, "phase": Phase.ARMED, "to_set": False}
    times = {"armed_at": now, "acked_at": now, "deadline_at": now + timedelta(seconds=120)}
    Countdown.objects.create(account=account, scope="BTCUSDT", **facts, **times)
    renderer, topic = Renderer(), Topic("board")

    def cell(seconds: float) -> str:
        read = renderer.read([topic], now + timedelta(seconds=seconds))
        return read[topic][f"account-{account.pk}"]

    at_first, later, lapsing = cell(1), cell(60), cell(100)

    assert at_first == later != lapsing
    assert f'data-deadline="{times["deadline_at"]:%Y-%m-%dT%H:%M:%S}' in at_first
    assert 'data-total="120"' in at_first
    assert "less than 25% is left" in lapsing


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
    accounts_page = shown(client, f"/accounts/{account.pk}/")

    client.post(f"{page}rearm/")

    assert "Arm 1 again" not in latched
    assert "no heartbeat leaves" in latched
    assert "Arm 1 again" in released
    assert "1 withheld by a panic is not armed again" in accounts_page
    assert f'action="{page}rearm/"' in accounts_page
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


def test_presence_is_asked_for_before_a_local_countdown_runs_out(
    client: Client, page: str, simulator: SimulatorProcess
) -> None:
    other = make_account(simulator, "coinswitch", "beta")
    sign = life_signs.expect_operator(other, by="ann", silence_s=600)
    countdowns.arm(other, [""], by="ann", source="operator")
    assert sign.last_at is not None
    runs_out_at = sign.last_at + timedelta(seconds=120)
    Countdown.objects.update(deadline_at=runs_out_at)

    text = shown(client, "/presence/")

    assert re.findall(r'data-until="([^"]+)"', text.partition("<main")[2]) == [
        f"{runs_out_at:%Y-%m-%dT%H:%M:%S}.{runs_out_at.microsecond // 1000:03}Z"
    ]


def test_what_may_be_done_comes_with_the_table_when_it_has_changed(
    client: Client, page: str, account: Account
) -> None:
    countdowns.arm(account, ["BTCUSDT"], by="ann")
    polled = re.compile(r'hx-get="([^"]+)"[^>]*hx-trigger="every 1s"')
    (address,) = polled.findall(shown(client, page))
    same = shown(client, address)
    Countdown.objects.update(phase=Phase.FIRED, locked=True)

    changed = shown(client, address)

    (again,) = polled.findall(changed)
    told = [re.findall(r"<h2>(\w+)</h2>", text) for text in (same, changed, shown(client, again))]
    assert told == [[], ["Unlock", "Disarm"], []]
    assert 'id="countdown-acts" hx-swap-oob="true"' in changed


def test_viewer_is_told_who_confirms_presence(client: Client, account: Account) -> None:
    client.force_login(User.objects.create_user("viewer"))
    life_signs.expect_operator(account, by="ann", silence_s=600)

    text = shown(client, "/presence/")

    assert ("I am here" in text, "a risk manager has to" in text) == (False, True)
    assert client.post("/presence/").status_code == 403


def test_local_countdown_is_called_so(client: Client, page: str, simulator: SimulatorProcess) -> None:
    other = make_account(simulator, "coinswitch", "beta")
    life_signs.expect_operator(other, by="ann")
    countdowns.arm(other, [""], by="ann", source="operator")

    text = shown(client, f"/accounts/{other.pk}/countdowns/")

    assert "LOCAL:" in text
    assert "That does not protect from the end of panicboard itself" in text
    assert "the whole account" in text
