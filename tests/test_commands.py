"""The button from a shell: what it does, what it says, and with which exit status it ends."""

import json
import subprocess
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from panicboard import panics, processes, readings
from panicboard.management.scopes import shell_user
from panicboard.models import Account, AuditEntry, Panic, Sweep
from panicboard.panics import Scope
from tests import database
from tests.broker_process import Breakable
from tests.factories import make_account, seed
from tests.simulator_process import SimulatorProcess

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.broker_process", "tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker", "direct")]
State = Sweep.State
NO_BROKER = {"REDIS_URL": "redis://127.0.0.1:9/0"}


def call(*words: str) -> str:
    """Run a command in this process. Returns what it wrote."""
    said = StringIO()
    call_command(*words, stdout=said, stderr=said)
    return said.getvalue()


def refused(*words: str) -> tuple[int, str]:
    """Run a command that must be refused. Returns its exit status and its words."""
    with pytest.raises(CommandError) as caught:
        call(*words)
    return caught.value.returncode, str(caught.value)


def shell(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as a person would, on this test's database."""
    env = {**processes.environment(DATABASE_URL=database.url(), LOG_LEVEL="ERROR"), **environment}
    return subprocess.run([*processes.MANAGE, *words], env=env, capture_output=True, text=True, timeout=60)


def report(ran: "subprocess.CompletedProcess[str]") -> Any:
    return json.loads(ran.stdout)


# ---- the press ----


def test_panic_presses_and_says_what_it_started(simulator: SimulatorProcess) -> None:
    make_account(simulator)
    make_account(simulator, name="beta", enabled=False)

    said = call("panic", "--all", "--reason", "bot went mad")

    panic = Panic.objects.get()
    assert said.splitlines() == [
        f"started panic {panic.pk}: everything",
        "  beta is disabled: not swept",
        f"  {'alpha':<24} {'QUEUED':<13} waits for a worker",
        "NOT CLEAR",
    ]
    entry = AuditEntry.objects.get()
    assert (panic.pressed_via, panic.reason) == (Panic.Via.SHELL, "bot went mad")
    assert (panic.pressed_by, panic.pressed_by_name, entry.actor_name) == (None, shell_user(), shell_user())
    assert shell_user().endswith("(shell)")


def test_second_panic_over_the_same_scope_joins(simulator: SimulatorProcess) -> None:
    make_account(simulator)
    call("panic", "--desk", "delta")

    said = call("panic", "--account", "alpha")

    panic = Panic.objects.get()
    assert said.splitlines()[0] == f"joined the running panic {panic.pk}: desk Delta"


def test_wait_ends_well_once_every_sweep_is_clear(simulator: SimulatorProcess, broken: Breakable) -> None:
    for name in ("alpha", "beta"):
        seed(simulator, make_account(simulator, name=name), 2)
    broken.kill()

    said = call("panic", "--all", "--wait").splitlines()

    assert simulator.book() == []
    assert said[-1] == "NO OPEN ORDERS"
    assert [line.split()[:2] for line in said[-3:-1]] == [["alpha", "CLEAR"], ["beta", "CLEAR"]]


def test_wait_ends_with_3_when_an_order_refuses_to_go(simulator: SimulatorProcess, broken: Breakable) -> None:
    for name in ("alpha", "beta"):
        seed(simulator, make_account(simulator, name=name))
    stays = simulator.book("beta")[0]["order_id"]
    simulator.fault("refuse_cancel", order_id=stays, account="beta")
    broken.kill()

    with pytest.raises(SystemExit) as caught:
        call("panic", "--all", "--wait", "--timeout", "2", "--json")

    assert caught.value.code == 3
    assert [order["order_id"] for order in simulator.book()] == [stays]
    assert dict(Sweep.objects.values_list("account__name", "state")) == {
        "alpha": State.CLEAR,
        "beta": State.NOT_CLEAR,
    }


def test_wait_with_json_says_what_the_database_holds(
    simulator: SimulatorProcess, bare_product: "Product"
) -> None:
    bare_product.start_worker(processes.worker("panic", 1, 8))
    for name in ("alpha", "beta"):
        account = make_account(simulator, name=name)
        seed(simulator, account, 2)
        readings.read(account)
    make_account(simulator, name="gamma", enabled=False)

    ran = shell("panic", "--all", "--wait", "--json")

    assert (ran.returncode, ran.stderr) == (0, "")
    panic = Panic.objects.get()
    assert panic.direct_path is False
    assert report(ran) == {
        "panic": panic.pk,
        "scope": "everything",
        "pressed_at": panic.pressed_at.isoformat(),
        "clear": True,
        "kept": 0,
        "skipped": ["gamma"],
        "sweeps": [
            {
                "account": sweep.account.name,
                "venue": sweep.account.venue.name,
                "state": "CLEAR",
                "kept": 0,
                "clear_ms": round((sweep.clear_at - panic.pressed_at).total_seconds() * 1000),
                "orders": {"CANCELLED": 2},
                "last_word": sweep.last_word,
            }
            for sweep in panic.sweeps.order_by("account__name")
        ],
    }
    assert simulator.book() == []


def test_process_ends_with_3_when_an_order_refuses_to_go(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    order = seed(simulator, account)[0]
    simulator.fault("refuse_cancel", order_id=order["order_id"])

    ran = shell("panic", "--account", "alpha", "--wait", "--timeout", "2", "--json", **NO_BROKER)

    assert ran.returncode == 3
    found = report(ran)
    assert (found["clear"], [(s["state"], s["clear_ms"]) for s in found["sweeps"]]) == (
        False,
        [("NOT CLEAR", None)],
    )
    assert [left["order_id"] for left in simulator.book()] == [order["order_id"]]


def test_without_a_broker_the_process_sweeps_by_itself_and_stays_until_it_is_over(
    simulator: SimulatorProcess,
) -> None:
    for name in ("alpha", "beta"):
        seed(simulator, make_account(simulator, name=name), 3)

    ran = shell("panic", "--all", **NO_BROKER)

    assert (ran.returncode, ran.stderr) == (
        0,
        "the queue does not answer: sweeping from here until it is over\n",
    )
    panic = Panic.objects.get()
    assert panic.direct_path is True
    assert [sweep.state for sweep in panic.sweeps.all()] == [State.CLEAR, State.CLEAR]
    assert simulator.book() == []


def test_symbol_of_an_account_leaves_its_other_orders(simulator: SimulatorProcess, broken: Breakable) -> None:
    account = make_account(simulator)
    seed(simulator, account, 2)
    kept = seed(simulator, account, symbol="ETHUSDT")[0]
    broken.kill()

    said = call("panic", "--account", "alpha", "--symbol", "BTCUSDT", "--wait").splitlines()

    panic = Panic.objects.get()
    assert said[0] == f"started panic {panic.pk}: BTCUSDT of account alpha"
    assert [order["order_id"] for order in simulator.book()] == [kept["order_id"]]


# ---- wrong arguments ----


def test_unknown_names_are_answered_with_those_there_are(simulator: SimulatorProcess) -> None:
    make_account(simulator, name="alpha")
    make_account(simulator, name="beta", desk="carry")

    assert refused("panic", "--desk", "dleta") == (2, "there is no desk 'dleta'; desks: carry, delta")
    assert refused("panic", "--account", "ahpla") == (
        2,
        "there is no account 'ahpla'; accounts: beta, alpha",
    )
    assert refused("release", "--desk", "dleta", "--reason", "checked at the venue") == (
        2,
        "there is no desk 'dleta'; desks: carry, delta",
    )
    assert not Panic.objects.exists()


def test_names_in_an_empty_database_are_answered_too() -> None:
    assert refused("panic", "--desk", "delta") == (2, "there is no desk 'delta'; desks: none yet")
    assert refused("panic", "--account", "alpha") == (2, "there is no account 'alpha'; accounts: none yet")
    assert refused("panic", "--all") == (
        2,
        "There are no accounts yet, so there is nothing to cancel. Add one in the admin.",
    )


def test_disabled_account_is_refused_with_what_to_do(simulator: SimulatorProcess) -> None:
    make_account(simulator, enabled=False)

    assert refused("panic", "--account", "alpha") == (
        2,
        "account alpha: disabled, so nothing was cancelled (alpha). Enable it in the admin.",
    )


def test_press_that_the_database_does_not_take_ends_with_3_and_says_so(
    simulator: SimulatorProcess, read_only: Callable[[], None]
) -> None:
    make_account(simulator)
    read_only()

    status, words = refused("panic", "--all")

    assert status == 3
    assert words == (
        f"the database does not answer ({database.refusal()}): NOTHING WAS SENT. "
        "Break the glass: manage.py panic --break-glass FILE --all"
    )
    assert not Panic.objects.exists()


def test_press_of_a_symbol_is_told_what_breaking_the_glass_would_take(
    simulator: SimulatorProcess, read_only: Callable[[], None]
) -> None:
    make_account(simulator)
    read_only()

    _, words = refused("panic", "--account", "alpha", "--symbol", "BTCUSDT")

    assert words.endswith(
        "--break-glass FILE --account alpha (which sweeps the whole account: it takes no --symbol)"
    )


@pytest.mark.parametrize("scope", [("--all",), ("--desk", "delta")])
def test_symbol_without_an_account_is_refused(simulator: SimulatorProcess, scope: tuple[str, ...]) -> None:
    make_account(simulator)

    assert refused("panic", *scope, "--symbol", "BTCUSDT") == (
        2,
        "--symbol needs --account: a symbol is cancelled in one account",
    )
    assert not Panic.objects.exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("panic",), "one of the arguments --all --desk --account is required"),
        (("panic", "--all", "--account", "alpha"), "argument --account: not allowed with argument --all"),
        (
            ("panic", "--all", "--wait", "--timeout", "inf"),
            "--timeout: 'inf' is no number of seconds to wait",
        ),
        (("panic", "--all", "--wait", "--timeout", "-1"), "--timeout: '-1' is no number of seconds to wait"),
        (("panic", "--account", "nobody"), "there is no account 'nobody'; accounts: none yet"),
        (("release", "--all"), "the following arguments are required: --reason"),
        (("release", "--all", "--reason", "ok"), "Give a reason of at least 10 characters."),
    ],
    ids=["no scope", "two scopes", "no end", "no time", "unknown account", "no reason", "short reason"],
)
def test_process_ends_with_2_for_wrong_arguments(words: tuple[str, ...], why: str) -> None:
    ran = shell(*words)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1].endswith(why)
    assert not Panic.objects.exists()


# ---- release ----


def press(account: Account) -> Panic:
    scope = Scope(Panic.Scope.ACCOUNT, account=account)
    return panics.start(scope, pressed_by=None, pressed_by_name="risk.desk1", via=Panic.Via.BOARD).panic


def test_release_lets_go_and_says_how_many(simulator: SimulatorProcess) -> None:
    one, two = make_account(simulator, name="one"), make_account(simulator, name="two")
    make_account(simulator, name="three")
    press(one)
    press(two)

    assert call("release", "--account", "one", "--reason", "checked at the venue") == "released 1 account\n"
    assert call("release", "--all", "--reason", "checked at the venue") == "released 1 account\n"
    assert call("release", "--all", "--reason", "checked at the venue") == "released 0 accounts\n"

    assert not Account.objects.filter(latched_at__isnull=False).exists()
    released = AuditEntry.objects.filter(action=AuditEntry.Action.RELEASED).order_by("pk")
    assert [(entry.account, entry.actor_name, entry.detail) for entry in released] == [
        (one, shell_user(), "checked at the venue"),
        (two, shell_user(), "checked at the venue"),
    ]


def test_release_with_a_short_reason_releases_nothing(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    press(account)

    assert refused("release", "--account", "alpha", "--reason", "  ok      ") == (
        2,
        "Give a reason of at least 10 characters.",
    )

    account.refresh_from_db()
    assert account.latched_at is not None


def test_release_that_the_database_does_not_take_says_so(
    simulator: SimulatorProcess, read_only: Callable[[], None]
) -> None:
    press(make_account(simulator))
    read_only()

    assert refused("release", "--all", "--reason", "checked at the venue") == (
        3,
        "the database does not take it (OperationalError): NOTHING WAS RELEASED",
    )


def test_release_as_a_process(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    press(account)

    ran = shell("release", "--desk", "delta", "--reason", "checked at the venue")

    assert (ran.returncode, ran.stdout) == (0, "released 1 account\n")
    account.refresh_from_db()
    assert account.latched_at is None
