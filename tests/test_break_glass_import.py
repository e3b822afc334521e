"""The database is back: what a journal becomes, once, and what it must not undo."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from panicboard import leases, panics, processes, record
from panicboard.break_glass import journal, journal_import
from panicboard.break_glass.press import GlassScope
from panicboard.management.scopes import shell_user
from panicboard.models import Account, AuditEntry, Panic, Sweep, SweptOrder, VenueCall
from panicboard.panics import Scope
from panicboard.swept_orders import SweptOrders, as_order
from panicboard.venues.base import OrderState
from panicboard.venues.coinswitch import CoinSwitch
from tests.factories import make_account, seed
from tests.glass import as_exported, exported, last_of_sweep, lines, pressed, process, told, write_file
from tests.pages import make_user
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
State = Sweep.State
Outcome = SweptOrder.Outcome


@pytest.fixture(autouse=True)
def waiting(simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of journals, empty; CoinSwitch carries cancels out at once."""
    simulator.control("POST", "switches", {"coinswitch_cancel_delay_ms": 0})
    monkeypatch.setattr(CoinSwitch, "cancel_settle_ms", 30)
    monkeypatch.setattr(journal_import, "_named", set())
    monkeypatch.setattr(journal_import, "_going_on", set())
    directory = journal.directory()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


def swept(*accounts: Account, scope: GlassScope | None = None) -> Path:
    """A journal in the directory of journals: these accounts, swept until clear."""
    contents = exported(*(as_exported(account) for account in accounts))
    press = pressed(contents, **({"scope": scope} if scope else {}))
    assert press.is_clear, press.report()
    assert press.journal.path is not None
    return press.journal.path


def without_end(path: Path, account: str) -> None:
    """Take the proof of one account out of a journal, and end it as a killed process does."""
    kept = [
        json.dumps(line)
        for line in lines(path)
        if not (line["event"] == "sweep" and line["account"] == account and line["full_empty_at"])
        and line["event"] != "end"
    ]
    path.write_text("\n".join([*kept, '{"event": "sweep", "acc']))


def states(panic: Panic) -> dict[str, str]:
    return dict(panic.sweeps.values_list("account__name", "state"))


def audit(panic: Panic) -> list[tuple[str, str, str]]:
    entries = panic.audit_entries.order_by("pk")
    return [(entry.action, entry.actor_name, entry.detail) for entry in entries]


# ---- a journal that ends clear ----


def test_clear_journal_becomes_a_clear_panic_with_its_times_and_orders(
    simulator: SimulatorProcess, waiting: Path
) -> None:
    alpha, beta = make_account(simulator), make_account(simulator, "coinswitch", "beta")
    seed(simulator, alpha, 2)
    seed(simulator, beta)
    path = swept(alpha, beta)
    first = lines(path)[0]

    assert journal_import.import_waiting() == 1

    panic = Panic.objects.get()
    assert (panic.scope, panic.pressed_via, panic.pressed_by_name, panic.reason) == (
        Panic.Scope.ALL,
        Panic.Via.BREAK_GLASS,
        "root (shell)",
        "the database is gone",
    )
    assert (str(panic.journal_id), panic.pressed_at.isoformat()) == (first["id"], first["pressed_at"])
    assert states(panic) == {"alpha": State.CLEAR, "beta": State.CLEAR}
    for sweep in panic.sweeps.all():
        shown = last_of_sweep(waiting / f"{path.name}.imported", sweep.account.name)
        for name in journal.SWEEP_FIELDS:
            value = getattr(sweep, name)
            assert (value.isoformat() if isinstance(value, datetime) else value) == shown[name]
        sweep.account.refresh_from_db()
        assert (sweep.account.latched_by, sweep.account.latched_at) == (panic, panic.pressed_at)
    rows = SweptOrder.objects.values_list("sweep__account__name", "venue_order_id", "outcome")
    assert sorted(rows) == sorted(
        (order["account"], order["order_id"], Outcome.CANCELLED) for order in simulator.book(only_open=False)
    )
    calls = told(waiting / f"{path.name}.imported", "call")
    assert VenueCall.objects.count() == len(calls) > 0
    assert audit(panic) == [
        ("pressed", "root (shell)", "the database is gone"),
        (
            "imported",
            "keeper",
            f"journal {panic.journal_id}, written on {first['host']}: 2 accounts, 2 clear",
        ),
    ]
    assert list(waiting.iterdir()) == [waiting / f"{path.name}.imported"]


def test_journal_imported_twice_makes_nothing_new(simulator: SimulatorProcess, tmp_path: Path) -> None:
    account = make_account(simulator)
    seed(simulator, account)
    path = swept(account)
    again = shutil.copy(path, tmp_path / "copy.jsonl")
    journal_import.import_waiting()
    before = [model.objects.count() for model in (Panic, Sweep, SweptOrder, AuditEntry, VenueCall)]

    imported = journal_import.import_file(Path(again), by="root (shell)")

    assert (imported.new, imported.panic) == (False, Panic.objects.get())
    assert [model.objects.count() for model in (Panic, Sweep, SweptOrder, AuditEntry, VenueCall)] == before
    assert Path(again).exists()


@pytest.mark.usefixtures("plain_static_files")
def test_imported_panic_shows_how_it_was_pressed(simulator: SimulatorProcess, client: Client) -> None:
    account = make_account(simulator)
    seed(simulator, account)
    swept(account, scope=GlassScope(Panic.Scope.ACCOUNT, "alpha"))
    journal_import.import_waiting()
    panic = Panic.objects.get()
    client.force_login(make_user())
    page = client.get(panic.get_absolute_url()).content.decode()
    User.objects.create_superuser("admin", password="open sesame")
    client.force_login(User.objects.get(username="admin"))
    listed = client.get("/admin/panicboard/panic/?pressed_via__exact=break-glass").content.decode()

    assert "root (shell), by break-glass" in page
    assert "from a sealed file, while the database was away" in page
    assert panic.scope_label == "account alpha"
    assert "1 panic" in listed
    kept = record.of(panic)
    assert (kept["pressed_via"], kept["sweeps"][0]["state"]) == ("break-glass", "clear")
    assert [order["outcome"] for order in kept["sweeps"][0]["orders"]] == ["cancelled"]


# ---- one that does not ----


def test_panic_of_a_killed_process_is_finished_by_the_workers(
    simulator: SimulatorProcess, bare_product: "Product", tmp_path: Path, waiting: Path
) -> None:
    account = make_account(simulator)
    seed(simulator, account, 2)
    simulator.fault("hang", method="DELETE", seconds=60)
    file = write_file(tmp_path, exported(as_exported(account)))
    glass = bare_product.start(process("panic", "--all", *file, "--reason", "bot went mad"))
    until(
        lambda: [call for call in simulator.log("alpha") if call["method"] == "DELETE"], "a cancel that hangs"
    )
    (path,) = waiting.glob("*.jsonl")
    glass.kill()
    simulator.clear_faults()
    assert len(simulator.book()) == 2

    bare_product.start_worker(processes.worker("panic", 1, 8))
    bare_product.start(processes.keeper())

    until(lambda: Sweep.objects.filter(state=State.CLEAR).exists(), "the end of the sweep")
    panic = Panic.objects.get()
    assert (panic.reason, panic.pressed_via) == ("bot went mad", Panic.Via.BREAK_GLASS)
    assert simulator.book() == []
    account.refresh_from_db()
    assert account.latched_by == panic
    assert not path.exists()


def test_journal_without_its_end_goes_on_unproven(simulator: SimulatorProcess) -> None:
    alpha, beta = make_account(simulator), make_account(simulator, name="beta")
    for account in (alpha, beta):
        seed(simulator, account)
    path = swept(alpha, beta)
    without_end(path, "alpha")

    journal_import.import_waiting()

    sweep = Sweep.objects.get(account=alpha)
    assert (sweep.state, sweep.known_empty_at, sweep.full_empty_at, sweep.clear_at) == (
        State.NOT_CLEAR,
        None,
        None,
        None,
    )
    assert sweep.first_request_at is not None
    assert sweep.due_at <= timezone.now()
    assert sweep.last_word.startswith("imported from a journal, not proven clear; sweeping on. It said: ")
    assert set(Account.objects.values_list("latched_by", flat=True)) == {sweep.panic_id}


def test_outcomes_still_to_be_found_keep_a_sweep_from_being_imported_clear(
    simulator: SimulatorProcess,
) -> None:
    account = make_account(simulator)
    seed(simulator, account)
    path = swept(account)
    text = path.read_text()
    path.write_text(text.replace('"outcome": "cancelled"', '"outcome": "unknown"'))
    assert path.read_text() != text

    journal_import.import_waiting()

    assert Sweep.objects.get().state == State.NOT_CLEAR


@pytest.mark.parametrize(
    "change",
    [
        {"full_empty_at": None},
        {"known_empty_at": "2020-01-01T00:00:00+00:00"},
        {"state": "reading_back"},
    ],
    ids=["one reading", "a reading before the press", "not clear"],
)
def test_sweep_without_its_proof_is_not_imported_clear(
    simulator: SimulatorProcess, change: dict[str, Any]
) -> None:
    account = make_account(simulator)
    path = swept(account)
    last = last_of_sweep(path, "alpha")
    with path.open("a") as file:
        file.write(json.dumps(last | change) + "\n")

    journal_import.import_waiting()

    assert Sweep.objects.get().state == State.NOT_CLEAR


def test_other_account_of_the_same_name_is_swept_again(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    path = swept(account)
    path.write_text(path.read_text().replace(f'"pk": {account.pk}', f'"pk": {account.pk + 1000}'))

    journal_import.import_waiting()

    assert Sweep.objects.get().state == State.NOT_CLEAR


# ---- what the firm looks like by now ----


def test_accounts_that_are_gone_are_named_and_those_that_were_not_in_the_file_are_swept(
    simulator: SimulatorProcess,
) -> None:
    gone, stays = make_account(simulator, name="gone"), make_account(simulator, name="stays")
    swept(gone, stays)
    gone.delete()
    make_account(simulator, name="newer")
    make_account(simulator, name="idle", enabled=False)

    journal_import.import_waiting()

    panic = Panic.objects.get()
    assert states(panic) == {"stays": State.CLEAR, "newer": State.QUEUED}
    assert audit(panic)[1][2].endswith(
        ": 1 account, 1 clear; not here any more, so left out: gone; not in the file, so swept now: newer"
    )
    assert Account.objects.get(name="newer").latched_by == panic


def test_account_that_was_renamed_since_is_latched_and_swept_on(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    path = swept(account, scope=GlassScope(Panic.Scope.ACCOUNT, "alpha"))
    without_end(path, "alpha")
    Account.objects.update(name="alpha one")

    journal_import.import_waiting()

    panic = Panic.objects.get()
    assert (panic.account, states(panic)) == (account, {"alpha one": State.NOT_CLEAR})
    assert Account.objects.get().latched_by == panic
    assert audit(panic)[1][2].partition("; renamed since: ")[2].startswith("alpha (alpha one)")


def test_press_over_an_account_that_is_gone_is_kept_all_the_same(simulator: SimulatorProcess) -> None:
    gone = make_account(simulator, name="gone")
    make_account(simulator, name="other")
    swept(gone, scope=GlassScope(Panic.Scope.ACCOUNT, "gone"))
    gone.delete()

    journal_import.import_waiting()

    panic = Panic.objects.get()
    assert (panic.scope_label, panic.sweeps.count()) == ("account that is gone", 0)


def test_desk_takes_its_scope_and_its_disabled_accounts_along(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    make_account(simulator, name="elsewhere", desk="carry")
    contents = exported(as_exported(account), disabled=[("off", "delta"), ("rest", "carry")])
    pressed(contents, scope=GlassScope(Panic.Scope.DESK, "delta"))

    journal_import.import_waiting()

    panic = Panic.objects.get()
    assert (panic.scope_label, panic.skipped) == ("desk Delta", ["off"])
    assert states(panic) == {"alpha": State.CLEAR}


def press(account: Account) -> Panic:
    scope = Scope(Panic.Scope.ACCOUNT, account=account)
    return panics.start(scope, pressed_by=None, pressed_by_name="risk.desk1", via=Panic.Via.BOARD).panic


def test_release_since_the_press_stands(simulator: SimulatorProcess) -> None:
    clear, cut = make_account(simulator, name="clear"), make_account(simulator, name="cut")
    without_end(swept(clear, cut), "cut")
    press(clear)
    press(cut)
    call_command("release", "--all", "--reason", "checked at the venue", stdout=StringIO())
    Panic.objects.filter(pressed_via=Panic.Via.BOARD).update(
        pressed_at=timezone.now() - timedelta(hours=1)  # so that only the release came since
    )

    journal_import.import_waiting()

    panic = Panic.objects.get(pressed_via=Panic.Via.BREAK_GLASS)
    assert states(panic) == {"clear": State.CLEAR, "cut": State.RELEASED}
    assert Sweep.objects.get(panic=panic, account=cut).last_word.startswith(
        "released since. The journal said: "
    )
    assert not Account.objects.filter(latched_at__isnull=False).exists()


def test_later_panic_keeps_its_accounts(simulator: SimulatorProcess) -> None:
    clear, cut = make_account(simulator, name="clear"), make_account(simulator, name="cut")
    without_end(swept(clear, cut), "cut")
    later = press(cut)
    latest = press(clear)

    journal_import.import_waiting()

    panic = Panic.objects.get(pressed_via=Panic.Via.BREAK_GLASS)
    assert states(panic) == {"clear": State.CLEAR, "cut": State.HANDED_OVER}
    assert Sweep.objects.get(panic=panic, account=cut).handed_over_to == later
    assert dict(Account.objects.values_list("name", "latched_by")) == {"clear": latest.pk, "cut": later.pk}
    assert set(Sweep.objects.filter(panic__in=[later, latest]).values_list("state", flat=True)) == {
        State.QUEUED
    }


def test_panic_that_ran_when_the_database_went_is_taken_over_with_its_open_questions(
    simulator: SimulatorProcess,
) -> None:
    account = make_account(simulator)
    before = press(account)
    sweep = before.sweeps.get()
    now = timezone.now()
    for number, outcome in (("1", Outcome.CANCELLED), ("2", Outcome.ACKED)):
        SweptOrder.objects.create(
            sweep=sweep,
            family="ordinary",
            symbol="BTCUSDT",
            venue_order_id=number,
            outcome=outcome,
            seen_at=now,
            outcome_at=now,
        )
    swept(account)

    journal_import.import_waiting()

    panic = Panic.objects.get(pressed_via=Panic.Via.BREAK_GLASS)
    sweep.refresh_from_db()
    assert (sweep.state, sweep.handed_over_to) == (State.HANDED_OVER, panic)
    taken = panic.sweeps.get()
    assert taken.state == State.NOT_CLEAR
    assert list(taken.orders.values_list("venue_order_id", "outcome")) == [("2", Outcome.SENT)]
    account.refresh_from_db()
    assert account.latched_by == panic


# ---- journals that cannot be read ----


def test_journal_that_is_being_written_comes_in_at_once_and_its_rest_when_it_is_over(
    simulator: SimulatorProcess,
) -> None:
    account = make_account(simulator)
    seed(simulator, account, 2)
    whole = swept(account)
    text = whole.read_text()
    one_order_is_told = text.index("\n", text.index('"event": "order"')) + 1
    whole.write_text(text[:one_order_is_told])
    with whole.open("a") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)

        during = [journal_import.import_waiting(), journal_import.import_waiting()]
        panic = Panic.objects.get()
        then = (states(panic), panic.journal_open, panic.sweeps.get().orders.count(), whole.exists())
        writer.write(text[one_order_is_told:])
    after = journal_import.import_waiting()

    calls = len(told(whole.with_name(f"{whole.name}{journal_import.IMPORTED}"), "call"))
    account.refresh_from_db()
    assert account.latched_by == panic
    assert (during, then) == ([1, 0], ({"alpha": State.NOT_CLEAR}, True, 1, True))
    assert (after, whole.exists()) == (0, False)
    panic.refresh_from_db()
    assert (panic.journal_open, VenueCall.objects.count()) == (False, calls)
    assert list(panic.sweeps.get().orders.values_list("outcome", flat=True)) == [Outcome.CANCELLED] * 2
    assert [entry[2].partition(": ")[2] for entry in audit(panic)[1:]] == [
        "1 account, 0 clear; its process still runs, and workers sweep at its side",
        f"its process is over: {calls} calls, 1 orders that only it had seen",
    ]


def test_order_that_the_journal_told_of_a_moment_ago_is_followed_by_the_workers(
    simulator: SimulatorProcess,
) -> None:
    account = make_account(simulator)
    seed(simulator, account)
    swept(account)
    journal_import.import_waiting()
    sweep = Sweep.objects.select_related("panic").get()
    Sweep.objects.update(state=State.NOT_CLEAR, due_at=timezone.now())
    taken = leases.take(sweep.pk)
    assert taken is not None
    of_worker = SweptOrders(taken)  # it has not seen what the import wrote
    told_of = SweptOrder.objects.get()
    order = replace(as_order(told_of), state=OrderState.FILLED)

    of_worker.see(order, Outcome.FILLED)
    of_worker.flush()
    of_worker.see(order, Outcome.CANCELLED)
    of_worker.flush()
    leases.give_back(taken)

    assert list(sweep.orders.values_list("pk", "outcome")) == [(told_of.pk, Outcome.CANCELLED)]


def test_unreadable_journals_are_named_once_and_keep_nobody_else_waiting(
    simulator: SimulatorProcess, waiting: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = swept(make_account(simulator))
    torn = waiting / "panic-0-torn.jsonl"
    torn.write_text('{"event": "pressed", "form')
    strange = waiting / "panic-1-strange.jsonl"
    strange.write_text('{"event": "pressed", "format": 99}\n')
    for _ in range(2):
        journal_import.import_waiting()

    assert sorted(path.name for path in waiting.iterdir()) == [
        "panic-0-torn.jsonl.unreadable",
        "panic-1-strange.jsonl.unreadable",
        f"{good.name}.imported",
    ]
    entries = AuditEntry.objects.filter(action=AuditEntry.Action.UNREADABLE).order_by("pk")
    rest = ". A panic was pressed there, and its accounts are not latched"
    assert [(entry.actor_name, entry.detail) for entry in entries] == [
        ("keeper", f"journal panic-0-torn.jsonl: it holds no whole line{rest}"),
        ("keeper", f"journal panic-1-strange.jsonl: its first line cannot be read (ValueError){rest}"),
    ]
    assert Panic.objects.count() == 1
    assert [entry.detail in caplog.text for entry in entries] == [True] * 2


def test_journal_that_the_database_does_not_take_is_imported_as_a_press(simulator: SimulatorProcess) -> None:
    path = swept(make_account(simulator))
    path.write_text(path.read_text().replace('"round": 1', '"round": "one"'))

    assert journal_import.import_waiting() == 1

    panic = Panic.objects.get()
    assert states(panic) == {"alpha": State.QUEUED}
    assert Account.objects.get().latched_by == panic
    assert audit(panic)[1][2].endswith(
        "; what it tells cannot be kept (ValueError), so only the press is imported"
    )
    assert not path.exists()


def test_journal_that_the_disk_does_not_give_is_named_once_and_tried_again(
    simulator: SimulatorProcess, waiting: Path
) -> None:
    path = swept(make_account(simulator))
    kept = path.rename(waiting / "kept")
    path.mkdir()  # what reading it gives is an error of the disk

    for _ in range(2):
        assert journal_import.import_waiting() == 0
    path.rmdir()
    kept.rename(path)
    imported = journal_import.import_waiting()

    (entry,) = AuditEntry.objects.filter(action=AuditEntry.Action.UNREADABLE)
    assert entry.detail.startswith(f"journal {path.name}: IsADirectoryError. A panic was pressed there")
    assert (imported, states(Panic.objects.get())) == (1, {"alpha": State.CLEAR})


def test_journal_that_somebody_else_has_just_imported_alarms_nobody(
    simulator: SimulatorProcess, waiting: Path
) -> None:
    (waiting / "panic-0-moved.jsonl").symlink_to(waiting / "gone")  # listed, and not there when it is opened

    assert journal_import.import_waiting() == 0

    assert not AuditEntry.objects.exists()


def test_journal_with_a_torn_line_is_imported_up_to_it(simulator: SimulatorProcess) -> None:
    account = make_account(simulator)
    seed(simulator, account)
    path = swept(account)
    whole = path.read_text().splitlines()
    answered = next(n for n, line in enumerate(lines(path), start=1) if line.get("acked_at"))
    path.write_text("\n".join([*whole[:answered], "{torn", *whole[answered:], ""]))

    journal_import.import_waiting()

    panic = Panic.objects.get()
    assert states(panic) == {"alpha": State.NOT_CLEAR}
    assert audit(panic)[1][2].endswith(
        f"; line {answered + 1} cannot be read (JSONDecodeError), so nothing from there on is imported"
    )


def test_workers_sweep_at_the_side_of_a_process_that_hangs(
    simulator: SimulatorProcess, bare_product: "Product", tmp_path: Path, waiting: Path
) -> None:
    account = make_account(simulator)
    seed(simulator, account, 2)
    simulator.fault("hang", method="DELETE", seconds=60)
    file = write_file(tmp_path, exported(as_exported(account)))
    bare_product.start(process("panic", "--all", *file))
    until(
        lambda: [call for call in simulator.log("alpha") if call["method"] == "DELETE"], "a cancel that hangs"
    )
    simulator.clear_faults()  # what hangs hangs on; what follows is answered
    bare_product.start_worker(processes.worker("panic", 1, 8))
    bare_product.start(processes.keeper())

    until(lambda: Sweep.objects.filter(state=State.CLEAR).exists(), "the workers' clear")

    assert simulator.book() == []
    assert Panic.objects.get().journal_open
    assert [path.suffix for path in waiting.iterdir()] == [".jsonl"]


def test_keeper_imports_what_waits(simulator: SimulatorProcess, bare_product: "Product") -> None:
    swept(make_account(simulator))

    bare_product.start(processes.keeper())

    until(lambda: Panic.objects.filter(pressed_via=Panic.Via.BREAK_GLASS).exists(), "the import")


# ---- the command ----


def call(*words: str) -> tuple[int, str, str]:
    """Run the command. Returns its exit status and what it wrote to each stream."""
    said, complained = StringIO(), StringIO()
    status = 0
    try:
        call_command("break_glass", "import", *words, stdout=said, stderr=complained)
    except SystemExit as exc:
        status = int(str(exc.code))
    return status, said.getvalue(), complained.getvalue()


def test_command_imports_journals_from_elsewhere_and_leaves_them(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    account = make_account(simulator)
    good = tmp_path / "from elsewhere.jsonl"
    pressed(exported(as_exported(account)), good)
    bad = tmp_path / "bad.jsonl"
    bad.write_text("\n")

    status, said, complained = call(str(bad), str(good))
    again = call(str(good))

    panic = Panic.objects.get()
    assert (status, said) == (2, f"{good}: panic {panic.pk}: 1 account, 1 clear\n")
    assert complained == f"{bad}: its first line cannot be read (JSONDecodeError)\n"
    assert again == (0, f"{good}: panic {panic.pk}: panic {panic.pk} was made of it before\n", "")
    assert (good.exists(), bad.exists()) == (True, True)
    assert audit(panic)[1][1] == shell_user()


def test_no_record_is_made_of_a_panic_that_goes_on(simulator: SimulatorProcess, tmp_path: Path) -> None:
    path = tmp_path / "here.jsonl"
    pressed(exported(as_exported(make_account(simulator))), path)
    with path.open() as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)

        status, _, complained = call(str(path), "--record-only")

    assert (status, Panic.objects.count()) == (2, 0)
    assert complained == f"{path}: its process still runs: no record of it is whole yet\n"


def test_import_for_the_record_latches_nothing_and_sweeps_nothing_on(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    clear, cut = make_account(simulator, name="clear"), make_account(simulator, name="cut")
    make_account(simulator, name="newer")
    path = tmp_path / "old.jsonl"
    pressed(exported(as_exported(clear), as_exported(cut)), path)
    without_end(path, "cut")

    status, said, _ = call(str(path), "--record-only")

    panic = Panic.objects.get()
    assert (status, states(panic)) == (0, {"clear": State.CLEAR, "cut": State.RELEASED})
    assert said.endswith("for the record only: nothing latched, nothing swept on\n")
    assert not Account.objects.filter(latched_at__isnull=False).exists()
