"""The admin: secrets go in and never come out, history is only read, buttons call the acts."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from panicboard import countdowns, credentials
from panicboard.models import (
    Account,
    AuditEntry,
    CanaryRun,
    Countdown,
    Drill,
    Egress,
    Follow,
    LifeSign,
    Maintenance,
    Panic,
    Reading,
    Sweep,
    SweptOrder,
    VenueCall,
)
from panicboard.venues.base import Credentials
from panicboard.venues.coinswitch import CoinSwitch
from tests import database
from tests.factories import make_desk, make_venue

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("broker", "plain_static_files"),
]
KEY, SECRET = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zv", "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP"
SECRET_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
HISTORY = (
    "panic",
    "sweep",
    "sweptorder",
    "auditentry",
    "reading",
    "countdown",
    "venuecall",
    "canaryrun",
    "drill",
    "lifesign",
    "follow",
)


@pytest.fixture
def client() -> Client:
    """An administrator's browser."""
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    return client


def staff(*codenames: str) -> Client:
    """The browser of someone who may see accounts, and what else these permissions allow."""
    user = User.objects.create_user("risk.desk1", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=("view_account", *codenames)))
    client = Client()
    client.force_login(user)
    return client


def address(model: str, page: str, *args: object) -> str:
    return reverse(f"admin:panicboard_{model}_{page}", args=args)


def make_account(name: str = "alpha", **fields: object) -> Account:
    account = Account(name=name, desk=make_desk(), venue=make_venue("http://127.0.0.1:9"), **fields)
    credentials.seal(account, api_key=KEY, secret=SECRET)
    account.save()
    return account


def form(account: Account, **fields: object) -> dict[str, Any]:
    """What the account's form sends, with some fields changed."""
    return {
        "desk": account.desk_id,
        "venue": account.venue_id,
        "name": account.name,
        "strategy": account.strategy,
        "enabled": "on",
        "key_type": account.key_type,
        "api_key": "",
        "secret": "",
        **fields,
    }


def errors(reply: Any) -> list[str]:
    """What the form said about itself as a whole."""
    return list(reply.context["adminform"].form.non_field_errors())


def assert_says_no_secret(reply: Any) -> None:
    html = reply.content.decode()
    sealed = Account.objects.values_list("sealed_credentials", flat=True)
    assert [secret for secret in (KEY, SECRET, *filter(None, sealed)) if secret in html] == []


# ---- credentials ----


def test_credentials_given_with_a_new_account_are_sealed(client: Client) -> None:
    template = Account(desk=make_desk(), venue=make_venue("http://127.0.0.1:9"), name="alpha")

    reply = client.post(address("account", "add"), form(template, api_key=KEY, secret=SECRET))

    assert reply.status_code == 302
    account = Account.objects.get()
    assert credentials.unseal(account) == Credentials(KEY, SECRET, "hmac")
    assert not {KEY, SECRET} & {str(value) for value in vars(account).values()}


def test_fields_left_empty_keep_what_is_stored(client: Client) -> None:
    account = make_account()

    reply = client.post(address("account", "change", account.pk), form(account, strategy="grid"))

    assert reply.status_code == 302
    account.refresh_from_db()
    assert (account.strategy, credentials.unseal(account)) == ("grid", Credentials(KEY, SECRET, "hmac"))


def test_new_credentials_replace_the_stored_ones(client: Client) -> None:
    account = make_account()

    client.post(address("account", "change", account.pk), form(account, api_key="new", secret="newer"))

    account.refresh_from_db()
    assert credentials.unseal(account) == Credentials("new", "newer", "hmac")


@pytest.mark.parametrize("given", [{"api_key": KEY}, {"secret": SECRET}], ids=["key only", "secret only"])
def test_half_given_credentials_are_refused_and_not_shown_again(
    client: Client, given: dict[str, str]
) -> None:
    account = make_account(strategy="grid")
    Account.objects.update(sealed_credentials="")

    reply = client.post(address("account", "change", account.pk), form(account, **given))

    assert errors(reply) == ["Give key and secret together, or neither to keep what is stored."]
    assert_says_no_secret(reply)
    account.refresh_from_db()
    assert account.sealed_credentials == ""


@pytest.mark.parametrize(
    ("adapter", "key_type", "why"),
    [
        ("coinswitch", "hmac", f"{CoinSwitch.label} takes no hmac keys"),
        ("coinswitch", "ed25519", "the secret is not a 32-byte Ed25519 seed in hex (64 digits)"),
        ("binance-usdm", "rsa", "the secret is not a PEM private key, but its type says rsa"),
        ("binance-usdm", "ed25519", "the secret is not a PEM private key, but its type says ed25519"),
    ],
)
def test_key_of_the_wrong_type_is_refused_and_not_shown_again(
    client: Client, adapter: str, key_type: str, why: str
) -> None:
    template = Account(desk=make_desk(), venue=make_venue("http://127.0.0.1:9", adapter), name="alpha")

    reply = client.post(
        address("account", "add"), form(template, key_type=key_type, api_key=KEY, secret=SECRET)
    )

    assert errors(reply) == [f"These credentials cannot be used: {why}."]
    assert_says_no_secret(reply)
    assert not Account.objects.exists()


def test_form_with_another_mistake_does_not_show_the_credentials_again(client: Client) -> None:
    account = make_account()

    reply = client.post(
        address("account", "change", account.pk), form(account, name="", api_key=KEY, secret=SECRET)
    )

    assert reply.context["adminform"].form.errors == {"name": ["This field is required."]}
    assert_says_no_secret(reply)


def test_proxy_is_sealed_and_never_shown(client: Client) -> None:
    url = "http://desk:hunter2@proxy.example:3128"

    client.post(address("egress", "add"), {"name": "second line", "source_address": "", "proxy_url": url})

    egress = Egress.objects.get()
    assert credentials.routes_of(Account(egress=egress))[0].proxy_url == url
    assert "hunter2" not in egress.sealed_proxy
    for page in (address("egress", "changelist"), address("egress", "change", egress.pk)):
        shown = client.get(page)
        assert (shown.status_code, "hunter2" in shown.content.decode()) == (200, False)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"source_address": "", "proxy_url": ""}, "Give an address of this machine, or a proxy."),
        (
            {"source_address": "10.0.0.2", "proxy_url": "http://proxy.example:3128"},
            "Give an address of this machine or a proxy, not both.",
        ),
        (
            {"source_address": "", "proxy_url": "socks5://desk:hunter2@proxy.example"},
            "Give the proxy as http://host:port or https://host:port.",
        ),
        (
            {"name": "Direct", "source_address": "10.0.0.2", "proxy_url": ""},
            "is the name of this machine&#x27;s usual way: choose another.",
        ),
    ],
)
def test_egress_without_a_clear_way_is_refused(client: Client, given: dict[str, str], says: str) -> None:
    shown = client.post(address("egress", "add"), {"name": "second line", **given})

    assert says in shown.content.decode()
    assert "hunter2" not in shown.content.decode()
    assert Egress.objects.count() == 0


def test_two_egresses_cannot_leave_from_one_address(client: Client) -> None:
    egress = Egress.objects.create(name="line", source_address="10.0.0.2")

    shown = client.post(address("egress", "add"), {"name": "again", "source_address": "10.0.0.2"})
    kept = client.post(
        address("egress", "change", egress.pk), {"name": "first line", "source_address": "10.0.0.2"}
    )

    assert "line leaves from this address already" in shown.content.decode()
    assert (kept.status_code, Egress.objects.get().name) == (302, "first line")


def test_second_egress_must_be_another_one(client: Client) -> None:
    account = make_account()
    egress = Egress.objects.create(name="line", source_address="127.0.0.2")
    given = form(account, egress=egress.pk, second_egress=egress.pk)

    shown = client.post(address("account", "change", account.pk), given)

    assert "The second egress is the first one: choose another, or none." in shown.content.decode()


def test_no_page_shows_credentials(client: Client) -> None:
    account = make_account()
    client.post(address("account", "change", account.pk), form(account, api_key=KEY, secret=SECRET))
    Reading.objects.create(account=account, due_at=timezone.now())
    press(client, account)
    panic = Panic.objects.get()

    pages = [
        address("account", "changelist"),
        address("account", "add"),
        address("account", "change", account.pk),
        address("account", "history", account.pk),
        address("account", "delete", account.pk),
        address("panic", "change", panic.pk),
        address("sweep", "change", panic.sweeps.get().pk),
        address("reading", "change", account.reading.pk),
        reverse("admin:index"),
    ]

    for page in pages:
        reply = client.get(page)
        assert (page, reply.status_code) == (page, 200)
        assert_says_no_secret(reply)
    assert not {KEY, SECRET} & set(LogEntry.objects.values_list("change_message", flat=True))


def test_account_that_was_only_read_can_be_deleted(client: Client) -> None:
    account = make_account()
    Reading.objects.create(account=account, due_at=timezone.now())
    Countdown.objects.create(account=account, scope="BTCUSDT", countdown_ms=1, venue_read_at=timezone.now())

    reply = client.post(address("account", "delete", account.pk), {"post": "yes"})

    assert reply.status_code == 302
    assert not Account.objects.exists()


def test_account_with_a_history_cannot_be_deleted(client: Client) -> None:
    account = make_account()
    press(client, account)

    client.post(address("account", "delete", account.pk), {"post": "yes"})

    assert Account.objects.get() == account


# ---- press and release ----


def act(client: Client, action: str, *accounts: Account, reason: str = "") -> Any:
    """Choose accounts in the list and do something with them. Returns the page that follows."""
    chosen = {"action": action, "_selected_action": [account.pk for account in accounts], "reason": reason}
    return client.post(address("account", "changelist"), chosen, follow=True)


def press(client: Client, *accounts: Account) -> Any:
    return act(client, "press", *accounts, reason="bot went mad")


def said(reply: Any) -> list[str]:
    return [str(message) for message in reply.context["messages"]]


def test_press_starts_a_panic_for_each_chosen_account(client: Client) -> None:
    one, two, _ = (make_account(name) for name in ("one", "two", "three"))

    reply = press(client, one, two)

    panics = list(Panic.objects.order_by("pk"))
    assert [(panic.account, panic.reason, panic.pressed_via) for panic in panics] == [
        (one, "bot went mad", Panic.Via.ADMIN),
        (two, "bot went mad", Panic.Via.ADMIN),
    ]
    assert {(panic.pressed_by.username, panic.pressed_by_name) for panic in panics} == {("admin", "admin")}
    assert list(Account.objects.filter(latched_at__isnull=False).order_by("pk")) == [one, two]
    assert said(reply) == [
        f'{panic.account}: started <a href="/panics/{panic.pk}/">panic {panic.pk}</a>' for panic in panics
    ]


def test_press_joins_what_runs_and_names_what_is_disabled(client: Client) -> None:
    one, two = make_account("one"), make_account("two", enabled=False)
    press(client, one)

    reply = press(client, one, two)

    panic = Panic.objects.get()
    assert said(reply) == [
        f'one: joined the running <a href="/panics/{panic.pk}/">panic {panic.pk}</a>',
        "account two: disabled, so nothing was cancelled (two). Enable it in the admin.",
    ]


def test_press_that_the_database_does_not_take_is_said(client: Client, read_only: Callable[[], None]) -> None:
    one = make_account("one")
    read_only()

    reply = press(client, one)

    (words,) = said(reply)
    assert words.startswith(f"NOT SENT - the database does not take this press ({database.refusal()})")
    assert not Panic.objects.exists()


def test_press_needs_its_permission() -> None:
    account = make_account()
    client = staff("change_account", "release")

    page = client.get(address("account", "changelist"))
    press(client, account)

    assert [value for value, _ in page.context["action_form"].fields["action"].choices if value] == [
        "release"
    ]
    assert not Panic.objects.exists()


def test_press_needs_no_more_than_its_permission() -> None:
    account = make_account()

    press(staff("press"), account)

    assert Panic.objects.get().account == account


def test_release_lets_the_chosen_accounts_go(client: Client) -> None:
    one, two = make_account("one"), make_account("two")
    press(client, one, two)

    reply = act(client, "release", one, reason="checked at the venue")

    assert said(reply) == ["Released 1 account."]
    assert [account.name for account in Account.objects.filter(latched_at__isnull=False)] == ["two"]
    entry = AuditEntry.objects.get(action=AuditEntry.Action.RELEASED)
    assert (entry.actor_name, entry.account, entry.detail) == ("admin", one, "checked at the venue")


def test_release_without_a_reason_releases_nothing(client: Client) -> None:
    account = make_account()
    press(client, account)

    reply = act(client, "release", account, reason="ok")

    assert said(reply) == ["Nothing was released. Give a reason of at least 10 characters."]
    account.refresh_from_db()
    assert account.latched_at is not None


def test_release_needs_its_permission(client: Client) -> None:
    account = make_account()
    press(client, account)

    act(staff("change_account", "press"), "release", account, reason="checked at the venue")

    account.refresh_from_db()
    assert account.latched_at is not None


# ---- the canary ----


def run_canary(client: Client, *accounts: Account) -> Any:
    return act(client, "run_canary", *accounts)


def test_canary_runs_on_the_chosen_accounts_and_is_refused_on_others(client: Client) -> None:
    one, two = make_account("one", canary=True), make_account("two")

    reply = run_canary(client, one, two)

    run = CanaryRun.objects.get()
    assert (run.account, run.begun_by) == (one, "admin")
    assert said(reply) == [
        f"one: canary run {run.pk} has begun",
        "No canary. two: not marked for the canary, which places orders and panics the account",
    ]


def test_canary_needs_the_permission_to_press() -> None:
    account = make_account(canary=True)

    run_canary(staff("change_account", "release"), account)

    assert not CanaryRun.objects.exists()


def test_canary_needs_no_more_than_the_permission_to_press() -> None:
    account = make_account(canary=True)

    run_canary(staff("press"), account)

    assert CanaryRun.objects.get().account == account


def test_account_is_marked_for_the_canary_in_its_form(client: Client) -> None:
    account = make_account()

    client.post(address("account", "change", account.pk), form(account, canary="on"))

    account.refresh_from_db()
    assert account.canary is True


# ---- history ----


def make_history(rows: int, first: int = 0) -> dict[str, Any]:
    """So many rows of everything there is to list, each about an account and a desk of its own."""
    now, found = timezone.now(), {}
    for number in range(first, first + rows):
        desk = make_desk(f"desk-{number}")
        venue = make_venue(f"http://127.0.0.{number + 1}:9")
        account = Account.objects.create(name=f"account-{number}", desk=desk, venue=venue)
        scope = (
            {"scope": Panic.Scope.DESK, "desk": desk}
            if number % 2
            else {"scope": "account", "account": account}
        )
        panic = Panic.objects.create(pressed_at=now, pressed_by_name="risk.desk1", **scope)
        Account.objects.filter(pk=account.pk).update(latched_at=now, latched_by=panic)
        sweep = Sweep.objects.create(panic=panic, account=account, due_at=now + timedelta(days=1))
        found = {
            "panic": panic,
            "sweep": sweep,
            "sweptorder": SweptOrder.objects.create(
                sweep=sweep,
                family="ordinary",
                symbol="BTCUSDT",
                venue_order_id="1",
                seen_at=now,
                outcome_at=now,
            ),
            "auditentry": AuditEntry.objects.create(
                at=now, actor_name="risk.desk1", action="pressed", panic=panic, account=account
            ),
            "reading": Reading.objects.create(account=account, due_at=now + timedelta(days=1)),
            "countdown": Countdown.objects.create(
                account=account, scope="BTCUSDT", countdown_ms=1000, venue_read_at=now
            ),
            "venuecall": VenueCall.objects.create(
                account=account.name,
                at=now,
                method="GET",
                path="/fapi/v1/openOrders",
                attempt=1,
                status=200,
                latency_ms=51.3,
                weight=40,
                outcome="done",
            ),
            "canaryrun": CanaryRun.objects.create(
                account=account, began_at=now, due_at=now, state="held", panic=panic, last_word="gone"
            ),
            "drill": Drill.objects.create(began_at=now, begun_by_name="risk.desk1", **scope),
            "lifesign": LifeSign.objects.create(
                account=account, kind="bot", silence_s=30, secret_hash=SECRET_HASH
            ),
            "follow": Follow.objects.create(
                account=account, countdown_ms=120_000, refresh_ms=30_000, source="board", since=now, by="ann"
            ),
            "account": account,
            "desk": desk,
            "venue": venue,
        }
    return found


@pytest.mark.parametrize("model", HISTORY)
def test_history_is_read_and_nothing_else(client: Client, model: str) -> None:
    row = make_history(1)[model]
    before = type(row).objects.values().get()

    assert client.get(address(model, "changelist")).status_code == 200
    assert client.get(address(model, "change", row.pk)).status_code == 200
    assert client.get(address(model, "add")).status_code == 403
    assert client.post(address(model, "add"), {}).status_code == 403
    assert client.post(address(model, "change", row.pk), {"reason": "another"}).status_code == 403
    assert client.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    client.post(address(model, "changelist"), chosen)
    assert type(row).objects.values().get() == before


def queries(client: Client, page: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(page).status_code == 200
    return len(captured)


@pytest.mark.parametrize("model", [*HISTORY, "account", "desk", "venue"])
def test_list_takes_as_many_queries_for_five_rows_as_for_one(client: Client, model: str) -> None:
    make_history(1)
    page = address(model, "changelist")
    client.get(page)
    for_one = queries(client, page)
    make_history(4, first=1)

    assert queries(client, page) == for_one


def test_panic_takes_as_many_queries_for_five_accounts_as_for_one(client: Client) -> None:
    panic = make_history(1)["panic"]
    page = address("panic", "change", panic.pk)
    client.get(page)
    for_one = queries(client, page)
    make_history(4, first=1)
    Sweep.objects.update(panic=panic)
    AuditEntry.objects.update(panic=panic)

    assert queries(client, page) == for_one


# ---- countdowns ----


def test_open_symbols_are_armed_and_what_cannot_be_is_said(client: Client) -> None:
    open_one, quiet = make_account(), make_account("beta")
    Reading.objects.create(account=open_one, due_at=timezone.now(), orders=[{"symbol": "BTCUSDT"}])

    page = act(client, "arm", open_one, quiet).content.decode()

    assert list(Countdown.objects.values_list("account__name", "scope", "armed_by")) == [
        ("alpha", "BTCUSDT", "admin")
    ]
    assert "Arming 1 of alpha" in page
    assert "Not armed. beta has no open orders: name at least one symbol to arm" in page


@pytest.mark.parametrize("model", ["account", "countdown"])
def test_countdowns_are_disarmed_by_account_or_one_by_one(client: Client, model: str) -> None:
    account = make_account()
    (row,) = countdowns.arm(account, ["BTCUSDT"], by="ann")
    chosen = {"action": "disarm", "_selected_action": [account.pk if model == "account" else row.pk]}

    page = client.post(address(model, "changelist"), chosen, follow=True).content.decode()

    assert Countdown.objects.get().phase == Countdown.Phase.DISARMING
    assert "Disarming 1: over when the venue confirms it" in page


def test_arming_needs_its_permission() -> None:
    account = make_account()

    act(staff("press"), "arm", account)

    assert not Countdown.objects.exists()


def test_no_page_shows_the_hash_of_a_secret(client: Client) -> None:
    row = make_history(1)["lifesign"]

    pages = [client.get(address("lifesign", "changelist")), client.get(address("lifesign", "change", row.pk))]

    assert [SECRET_HASH in page.content.decode() for page in pages] == [False, False]


def window(**changes: str) -> dict[str, str]:
    begins = {"begins_at_0": "2026-12-01", "begins_at_1": "10:00"}
    when = {**begins, "ends_at_0": "2026-12-01", "ends_at_1": "12:00"}
    return {**when, "rearm": "on", "reason": "the venue moves house", **changes}


def test_window_of_maintenance_is_entered_with_who_did(client: Client) -> None:
    venue = make_account().venue

    client.post(address("maintenance", "add"), window(venue=str(venue.pk)))

    made = Maintenance.objects.get()
    assert (made.venue, made.made_by, made.rearm, made.begun) == (venue, "admin", True, False)


def test_window_that_ends_before_it_begins_is_refused(client: Client) -> None:
    venue = make_account().venue

    page = client.post(address("maintenance", "add"), window(venue=str(venue.pk), ends_at_1="09:00"))

    assert page.status_code == 200
    assert "It must end after it begins." in page.content.decode()
    assert not Maintenance.objects.exists()
