"""The press behind broken glass: it needs a file and the venues, and nothing else.

No test here has a database, and pytest-django refuses the use of one; processes find neither database nor
Redis where they are told to look.
"""

import getpass
import json
import os
import re
import resource
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from panicboard.break_glass import journal as journal_module
from panicboard.break_glass import sealed_file, sweep
from panicboard.break_glass.budget import GlassBudget
from panicboard.break_glass.journal import KEEP_WHAT_IS_PRINTED
from panicboard.break_glass.press import GlassScope, NotInFile, Press
from panicboard.break_glass.sealed_file import SealedAccount
from panicboard.break_glass.shell import opened
from panicboard.local_counts import LocalCounts
from panicboard.models import Panic
from panicboard.venues import http, routes
from panicboard.venues.base import BookSymbol, Limit, Route
from panicboard.venues.coinswitch import CLOSED, STATUS, CoinSwitch
from panicboard.venues.errors import BudgetSpent, NotDone
from tests.factories import BOOKS, VENUES
from tests.glass import (
    NOTHING_ELSE,
    PASSPHRASE,
    begun,
    command,
    exported,
    glass_account,
    last_of_sweep,
    lines,
    outcomes,
    pressed,
    pressed_until,
    shell,
    told,
    write_file,
)
from tests.simulator_process import SimulatorProcess
from tests.sweep_stage import _OUTCOMES, is_cancel, is_full_listing
from tests.venue_calls import CALLS, family_of
from tests.waiting import until

pytest_plugins = ["tests.simulator_process"]


@pytest.fixture(autouse=True)
def _quick(simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """CoinSwitch carries cancels out at once, and nobody waits for it longer."""
    simulator.control("POST", "switches", {"coinswitch_cancel_delay_ms": 0})
    monkeypatch.setattr(CoinSwitch, "cancel_settle_ms", 30)


def seed(simulator: SimulatorProcess, account: SealedAccount, count: int = 1, **fields: object) -> list[str]:
    """Open orders on the account's usual symbol, unless told otherwise. Returns their ids."""
    book, symbol = BOOKS[account.adapter]
    spec = {"book": book, "symbol": symbol, "count": count, **fields}
    return [order["order_id"] for order in simulator.seed(account.name, **spec)]


def truth(simulator: SimulatorProcess, account: SealedAccount) -> dict[tuple[str, str, str], str]:
    """What the journal must tell of the account's orders, by the simulator's own book."""
    return {
        (family_of(order), order["symbol"], order["order_id"]): str(_OUTCOMES[order["status"]])
        for order in simulator.book(account.name, only_open=False)
        if order["status"] in _OUTCOMES
    }


def assert_read_back_twice(simulator: SimulatorProcess, account: SealedAccount) -> None:
    """After the last cancel was answered every family was listed in full, and something before that."""
    log = simulator.log(account.name)
    cancelled_us = max(call["answered_us"] for call in log if is_cancel(call))
    calls = CALLS[account.adapter]
    listed = [call for call in log if call["arrived_us"] > cancelled_us and "pen" in call["path"]]
    for wanted in calls.full:
        assert [call for call in listed if is_full_listing(call, wanted)], f"{wanted} was not listed in full"
    ordinary = [call for call in listed if (call["method"], call["path"]) == calls.listing]
    assert len(ordinary) >= 2


# ---- the whole of it, as a person would run it ----


def test_process_without_database_and_redis_clears_all_four_venues(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    accounts = [glass_account(simulator, adapter, f"acc-{adapter}") for adapter in VENUES]
    for account in accounts:
        seed(simulator, account, 2)
    seed(simulator, accounts[0], book="algo", symbol="ETHUSDT")  # on a symbol the file knows nothing of
    file = write_file(tmp_path, exported(*accounts, disabled=[("omega", "delta")]))

    ran = shell(tmp_path, "panic", "--all", *file, "--reason", "bot went mad", "--timeout", "30", "--json")

    report = json.loads(ran.stdout)
    assert (ran.returncode, report["clear"], report["skipped"]) == (0, True, ["omega"])
    assert [(one["account"], one["state"]) for one in report["sweeps"]] == [
        (account.name, "CLEAR") for account in accounts
    ]
    assert simulator.book() == []
    journal = Path(report["journal"])
    assert journal.parent == tmp_path / "journal"
    for account in accounts:
        assert_read_back_twice(simulator, account)
        assert outcomes(journal, account.name) == truth(simulator, account)
    first, last = lines(journal)[0], lines(journal)[-1]
    assert (first["event"], first["scope"], first["reason"]) == ("pressed", "all", "bot went mad")
    assert (last["event"], last["clear"], last["why"]) == ("end", True, "")
    assert journal.stat().st_mode & 0o777 == 0o600
    everything = ran.stdout + ran.stderr + journal.read_text()
    for account in accounts:
        assert account.credentials is not None
        assert account.credentials.secret not in everything
        assert account.credentials.api_key not in everything
    assert "signature" not in everything.lower()


@pytest.mark.parametrize("option", ["--break-glass {}", "--break-glass={}", "--break {}"])
def test_no_broken_environment_and_no_journal_refuse_a_press(
    simulator: SimulatorProcess, tmp_path: Path, option: str
) -> None:
    account = glass_account(simulator)
    seed(simulator, account, 2)
    _, path, *passphrase = write_file(tmp_path, exported(account))
    file = [*option.format(path).split(), *passphrase]
    (tmp_path / "taken").write_text("no directory")

    ran = shell(
        tmp_path / "taken" / "var",
        *("panic", "--account", "alpha", *file, "--timeout", "30"),
        DATABASE_URL="no-such-thing://",
        PANICBOARD_URL="https://board.example",  # which asks for a SECRET_KEY that is not there
        BUDGET_RESERVE_PERCENT="many",
    )

    said = ran.stdout.splitlines()
    assert (ran.returncode, said[0]) == (0, "BREAK-GLASS panic: account alpha, 1 account")
    assert (said[1], said[-1]) == ("  journal NONE", "NO OPEN ORDERS")
    alarms = [line.partition(":")[0] for line in ran.stderr.splitlines()]
    assert alarms[0].startswith(f"NO JOURNAL at {tmp_path}/taken/var/journal/panic-")
    assert alarms[1:] == [f"GOING ON WITHOUT A JOURNAL; {KEEP_WHAT_IS_PRINTED}"]
    assert simulator.book() == []


def test_disk_that_fills_up_leaves_whole_lines_and_stops_no_press(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    account = glass_account(simulator)
    seed(simulator, account, 2)
    file = write_file(tmp_path, exported(account))
    argv, env = command(tmp_path, "panic", "--all", *file, "--timeout", "30")

    def fill_up() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    ran = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, preexec_fn=fill_up)

    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "NO OPEN ORDERS")
    assert ran.stderr == (
        f"THE JOURNAL CANNOT BE WRITTEN (no space left): going on; {KEEP_WHAT_IS_PRINTED}\n"
    )
    (journal,) = (tmp_path / "journal").iterdir()
    assert lines(journal)[0]["event"] == "pressed"
    assert journal.read_bytes().endswith(b"}\n")
    assert simulator.book() == []


def test_interrupted_process_says_what_is_not_clear_and_ends_its_journal(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    clear, stuck = glass_account(simulator, name="alpha"), glass_account(simulator, name="stuck")
    seed(simulator, clear)
    simulator.fault("refuse_cancel", order_id=seed(simulator, stuck)[0])
    journal = tmp_path / "kept.jsonl"
    file = write_file(tmp_path, exported(clear, stuck))
    argv, env = command(tmp_path, "panic", "--all", *file, "--journal", str(journal))

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, env=env, text=True, **pipes) as running:
        assert running.stdout is not None
        said = ""
        while not all(word in said for word in ("NO OPEN ORDERS", "still listed")):
            line = running.stdout.readline()
            assert line, "it ended by itself"
            said += line
        running.send_signal(signal.SIGINT)
        rest, alarm = running.communicate(timeout=30)

    assert running.returncode == 3
    assert alarm == "INTERRUPTED - NOT CLEAR: stuck. Waiting for calls under way\n"
    assert rest.splitlines()[-1] == "NOT CLEAR"
    end = lines(journal)[-1]
    assert (end["event"], end["clear"], end["why"]) == ("end", False, "interrupted")
    assert last_of_sweep(journal, "alpha")["state"] == "clear"


@pytest.mark.parametrize(
    ("database", "trouble"),
    [
        (NOTHING_ELSE["DATABASE_URL"], "does not answer (OperationalError)"),
        ("sqlite:///{path}", "is unusable (DatabaseError)"),
    ],
    ids=["away", "no database"],
)
def test_panic_without_a_database_names_the_break_glass_command(
    tmp_path: Path, database: str, trouble: str
) -> None:
    (tmp_path / "shopping list").write_text("milk, eggs, " * 1000)
    url = database.format(path=tmp_path / "shopping list")

    ran = shell(tmp_path, "panic", "--desk", "delta one", "--wait", LOG_LEVEL="ERROR", DATABASE_URL=url)

    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == (
        f"CommandError: the database {trouble}: NOTHING WAS SENT. "
        "Break the glass: manage.py panic --break-glass FILE --desk 'delta one'\n"
    )


@pytest.mark.parametrize("act", ["export", "import"])
def test_file_and_journal_wait_for_the_database_with_plain_words(tmp_path: Path, act: str) -> None:
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    pressed_at = "2026-11-20T20:54:00+00:00"
    first = {"event": "pressed", "format": 1, "id": "6f9619ff-8b86-d011-b42d-00cf4fc964ff"}
    first |= {
        "pressed_at": pressed_at,
        "pressed_by": "root",
        "host": "here",
        "scope": "all",
        "scope_name": "",
    }
    first |= {"reason": "", "exported_at": pressed_at, "accounts": [], "skipped": []}
    (tmp_path / "journal.jsonl").write_text(json.dumps(first) + "\n")
    words = {
        "export": ("export", str(tmp_path / "glass"), "--passphrase-file", str(tmp_path / "passphrase")),
        "import": ("import", str(tmp_path / "journal.jsonl")),
    }

    ran = shell(tmp_path / "var", "break_glass", *words[act], LOG_LEVEL="ERROR")

    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == (
        "CommandError: the database does not take it (OperationalError): try again when it is back\n"
    )
    assert not (tmp_path / "glass").exists()


# ---- the order of things ----


def test_journal_is_on_disk_before_the_first_request_leaves(
    simulator: SimulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = glass_account(simulator)
    seed(simulator, account)
    journal = tmp_path / "journal.jsonl"
    found: list[dict[str, Any]] = []
    send = http.call

    def call(*args: Any, **options: Any) -> http.Reply:
        found.append(lines(journal)[0])
        return send(*args, **options)

    monkeypatch.setattr(http, "call", call)

    press = pressed(exported(account), journal)

    assert press.is_clear
    assert {(line["event"], line["id"], line["pressed_by"]) for line in found} == {
        ("pressed", str(press.id), "root (shell)")
    }
    assert [(one["name"], one["adapter"]) for one in found[0]["accounts"]] == [("alpha", "binance-usdm")]


def test_journal_is_named_by_where_it_is(
    simulator: SimulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    press = pressed(exported(glass_account(simulator)), Path("kept.jsonl"))

    assert press.report()["journal"] == str(tmp_path / "kept.jsonl")


def test_disk_that_hangs_holds_up_no_press(
    simulator: SimulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = glass_account(simulator)
    seed(simulator, account)
    answers = threading.Event()
    monkeypatch.setattr(journal_module, "FIRST_LINE_S", 0.05)
    monkeypatch.setattr(journal_module, "LAST_LINES_S", 0.05)
    monkeypatch.setattr(os, "fsync", lambda descriptor: answers.wait(30))
    alarms: list[str] = []

    press = begun(exported(account), tmp_path / "journal.jsonl", complain=alarms.append)
    press.start()
    over = press.wait(20)
    press.finish()
    written_by_then = press.journal.path
    answers.set()

    assert (over, press.is_clear, written_by_then) == (True, True, None)
    assert alarms == [
        f"THE JOURNAL'S DISK DOES NOT ANSWER ({tmp_path}/journal.jsonl): going on; {KEEP_WHAT_IS_PRINTED}"
    ]
    until(lambda: press.journal.path, "the disk to answer")
    until(lambda: told(tmp_path / "journal.jsonl", "end"), "the last line")
    assert last_of_sweep(tmp_path / "journal.jsonl", "alpha")["state"] == "clear"


def test_disk_that_hangs_after_the_first_line_is_said_in_the_end(
    simulator: SimulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = glass_account(simulator)
    answers = threading.Event()
    monkeypatch.setattr(journal_module, "LAST_LINES_S", 0.05)
    alarms: list[str] = []
    press = begun(exported(account), tmp_path / "journal.jsonl", complain=alarms.append)
    monkeypatch.setattr(os, "fsync", lambda descriptor: answers.wait(30))

    press.start()
    over = press.wait(20)
    press.finish()
    answers.set()

    assert (over, press.is_clear) == (True, True)
    assert alarms == [f"THE JOURNAL'S DISK DOES NOT ANSWER ({press.journal.path}): {KEEP_WHAT_IS_PRINTED}"]


def test_order_on_a_symbol_the_file_does_not_know_goes_although_a_known_one_stays(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    account = glass_account(simulator)
    stays = seed(simulator, account)[0]
    simulator.fault("refuse_cancel", order_id=stays)
    seed(simulator, account, symbol="SOLUSDT")
    journal = tmp_path / "journal.jsonl"

    def tried_often(press: Press) -> bool:
        return press.sweeps[0].sweep.round > 3

    press = pressed_until(tried_often, exported(account), journal)

    assert [order["order_id"] for order in simulator.book()] == [stays]
    assert not press.is_clear
    assert last_of_sweep(journal, "alpha")["clear_at"] is None
    told_in_the_end = outcomes(journal, "alpha")
    assert told_in_the_end.pop(("ordinary", "BTCUSDT", stays)) in ("acked", "rejected", "still_open")
    assert told_in_the_end == truth(simulator, account)


def test_file_that_knows_no_symbol_is_enough(simulator: SimulatorProcess, tmp_path: Path) -> None:
    accounts = [glass_account(simulator, adapter, f"acc-{adapter}", known=[]) for adapter in VENUES]
    for account in accounts:
        seed(simulator, account, 2)

    press = pressed(exported(*accounts))

    assert press.is_clear, press.report()
    assert simulator.book() == []
    for account in accounts:
        assert_read_back_twice(simulator, account)


@pytest.mark.parametrize("adapter", ["binance-usdm", "binance-options"])
def test_symbols_that_are_gone_from_the_venue_count_for_no_reading(
    simulator: SimulatorProcess, adapter: str
) -> None:
    gone = {"binance-usdm": "LUNAUSDT", "binance-options": "BTC-200730-9000-C"}[adapter]
    account = glass_account(simulator, adapter, known=[BookSymbol("ordinary", gone)])

    press = pressed(exported(account))

    assert press.is_clear, press.report()
    log = simulator.log(account.name)
    assert 400 in {call["status"] for call in log}
    for wanted in CALLS[adapter].full:
        assert len([call for call in log if is_full_listing(call, wanted)]) == 2


def test_accounts_go_out_by_their_own_ways(simulator: SimulatorProcess) -> None:
    routes._blocked_until.clear()
    gone = Route("proxy", proxy_url="http://desk:hunter2@127.0.0.1:9")
    account = glass_account(simulator, routes=(gone, Route("second line", source_address="127.0.0.2")))
    seed(simulator, account, 2)

    press = pressed(exported(account))

    assert press.is_clear, press.report()
    assert simulator.book() == []
    assert {call["address"] for call in simulator.log(account.name)} == {"127.0.0.2"}
    assert "hunter2" not in repr(account)


def test_cancel_whose_answer_is_lost_is_resolved_by_reading(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    account = glass_account(simulator)
    seed(simulator, account, 2)
    simulator.fault("cut_after", method="DELETE", count=2)
    simulator.fault("not_done_503c", method="GET", path="*penOrders", count=1)
    journal = tmp_path / "journal.jsonl"

    press = pressed(exported(account), journal)

    assert press.is_clear, press.report()
    assert simulator.book() == []
    assert {call["outcome"] for call in told(journal, "call")} >= {"unknown", "not done", "done"}


def test_refusal_for_a_while_is_obeyed_and_said_with_its_end(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    account = glass_account(simulator, "coinswitch")
    seed(simulator, account)
    simulator.fault("429_retry_after", path="*cancel_all", seconds=2, count=1)
    journal = tmp_path / "journal.jsonl"

    press = pressed(exported(account), journal)

    assert press.is_clear, press.report()
    log = simulator.log("alpha")
    refused = next(call for call in log if call["status"] == 429)
    after = next(call for call in log if call["arrived_us"] > refused["arrived_us"])
    assert after["arrived_us"] - refused["answered_us"] >= 1_900_000
    words = [line["last_word"] for line in told(journal, "sweep") if line["state"] == "failed"]
    assert re.match(
        r"the venue refuses every call until \d\d:\d\d:\d\d UTC: POST .*cancel_all: HTTP 429", words[0]
    )


def test_failure_of_one_account_stops_no_other(simulator: SimulatorProcess, tmp_path: Path) -> None:
    good, revoked = glass_account(simulator, name="alpha"), glass_account(simulator, name="revoked")
    empty = glass_account(simulator, "coinswitch", "empty")
    for account in (good, revoked, empty):
        seed(simulator, account)
    simulator.fault("key_revoked", account="revoked")
    journal = tmp_path / "journal.jsonl"
    unusable = SealedAccount(
        pk=9,
        name="keyless",
        desk="delta",
        venue="Binance",
        adapter="binance-usdm",
        base_url=simulator.url,
        limit_override=None,
        symbols=(),
        credentials=None,
        unusable="keyless has no credentials",
    )

    def others_are_clear(press: Press) -> bool:
        return press.not_clear == ["revoked", "keyless"] and press.sweeps[1].sweep.failures > 1

    press = pressed_until(others_are_clear, exported(good, revoked, empty, unusable), journal)

    states = {one["account"]: one["state"] for one in press.report()["sweeps"]}
    assert states == {"alpha": "CLEAR", "revoked": "FAILED", "empty": "CLEAR", "keyless": "FAILED"}
    assert [order["account"] for order in simulator.book()] == ["revoked"]
    assert "-2015" in last_of_sweep(journal, "revoked")["last_word"]
    assert last_of_sweep(journal, "keyless")["last_word"] == (
        "CANNOT BE SWEPT from this file: keyless has no credentials"
    )


def test_machine_that_gives_no_more_threads_delays_accounts_and_forgets_none(
    simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = glass_account(simulator, name="first"), glass_account(simulator, name="second")
    for account in (first, second):
        seed(simulator, account, 2)
        seed(simulator, account, book="algo")
    start = threading.Thread.start

    def start_few(thread: threading.Thread) -> None:
        taken = {other.name.partition("_")[0] for other in threading.enumerate()}
        if thread.name.startswith(("venue-call", "record")) or (
            thread.name == "sweep-second" and "sweep-first" in taken
        ):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    alarms: list[str] = []
    press = begun(exported(first, second), complain=alarms.append)
    press.start()
    over = press.wait(20)
    press.finish()

    assert (over, press.is_clear) == (True, True), press.report()
    assert simulator.book() == []
    assert {call["path"] for call in simulator.log("second")} >= {"/fapi/v1/allOrders"}
    assert alarms == ["NO THREADS YET for second: begun as soon as others are over"]


def test_press_ends_by_itself_when_only_unusable_accounts_are_left(simulator: SimulatorProcess) -> None:
    broken = glass_account(simulator, "coinswitch", "broken")
    assert broken.credentials is not None
    object.__setattr__(broken.credentials, "secret", "not a key")
    good = glass_account(simulator)
    press = begun(exported(good, broken))
    press.start()

    over = press.wait(20)
    press.finish()

    assert (over, press.not_clear) == (True, ["broken"])


def clear_but_unasked(account: SealedAccount, journal: Path) -> Press:
    """A press that is clear, and knows of two orders no more than that no list shows them."""
    press = begun(exported(account), journal)
    counts = press.sweeps[0]._counts
    for limit in (CLOSED, STATUS):
        GlassBudget(account, counts).prepay(limit, limit.amount)
    press.start()
    assert press.wait(20)
    assert press.is_clear
    counts._pools.clear()
    return press


def test_outcome_that_the_limit_withholds_is_unknown_and_keeps_no_account_from_clear(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    account = glass_account(simulator, "coinswitch")
    seed(simulator, account, 2)
    journal = tmp_path / "journal.jsonl"

    press = clear_but_unasked(account, journal)
    press.finish(trace=False)

    sweep_line = last_of_sweep(journal, "alpha")
    assert sweep_line["last_word"].endswith("; 2 outcomes not asked for: the limit is used up")
    rows = {line["number"]: line for line in told(journal, "order")}.values()
    assert {(row["outcome"], row["vanished"], row["note"]) for row in rows} == {
        ("unknown", False, sweep.NOT_ASKED)
    }


@pytest.mark.parametrize("status", ["RAISED", "CANCELLATION_RAISED"])
def test_order_that_the_venue_calls_open_afterwards_takes_the_clear_away(
    simulator: SimulatorProcess, tmp_path: Path, status: str
) -> None:
    account = glass_account(simulator, "coinswitch")
    order_id = seed(simulator, account, 2)[0]
    press = clear_but_unasked(account, tmp_path / "journal.jsonl")

    simulator.fault("unknown_status", order_id=order_id, status=status)
    press.finish()

    assert not press.is_clear
    told_last = last_of_sweep(tmp_path / "journal.jsonl", "alpha")
    assert (told_last["state"], told_last["clear_at"]) == ("not_clear", None)
    assert told_last["last_word"] == "an order is open again since it was clear"


def test_order_that_the_history_shows_open_takes_the_clear_away(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    account = glass_account(simulator)
    press = begun(exported(account), tmp_path / "journal.jsonl")
    press.start()
    assert press.wait(20)
    assert press.is_clear
    order_id = seed(simulator, account)[0]

    press.finish()

    assert last_of_sweep(tmp_path / "journal.jsonl", "alpha")["state"] == "not_clear"
    assert outcomes(tmp_path / "journal.jsonl", "alpha") == {("ordinary", "BTCUSDT", order_id): "still_open"}


def test_line_that_breaks_after_the_clear_is_told_in_the_last_word(
    simulator: SimulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = glass_account(simulator, "coinswitch")
    seed(simulator, account, 2)
    press = clear_but_unasked(account, tmp_path / "journal.jsonl")
    broken: list[object] = []
    monkeypatch.setattr(threading, "excepthook", broken.append)

    def no_line(*args: object, **options: object) -> http.Reply:
        raise NotDone("no connection to the venue")

    monkeypatch.setattr(http, "call", no_line)
    press.finish()

    assert (press.is_clear, broken) == (True, [])
    assert last_of_sweep(tmp_path / "journal.jsonl", "alpha")["last_word"].endswith(
        "; orders of any symbol may lack from this record"
    )


# ---- scopes and arguments ----


def test_scope_takes_what_the_file_holds_of_it(simulator: SimulatorProcess) -> None:
    one, two = glass_account(simulator, name="one"), glass_account(simulator, name="two", desk="carry")
    contents = exported(one, two, disabled=[("off", "carry"), ("idle", "rest")])
    carry, alone = GlassScope(Panic.Scope.DESK, "carry"), GlassScope(Panic.Scope.ACCOUNT, "one")

    assert (carry.accounts(contents), carry.disabled(contents)) == ([two], ["off"])
    assert (alone.accounts(contents), alone.disabled(contents)) == ([one], [])
    for kind, name, why in (
        (Panic.Scope.DESK, "crary", "there is no desk 'crary' in the file; desks: carry, delta"),
        (Panic.Scope.ACCOUNT, "tow", "there is no account 'tow' in the file; accounts: one, two"),
        (
            Panic.Scope.ACCOUNT,
            "off",
            "account off: disabled when the file was exported, so it cannot be swept from it (off)",
        ),
    ):
        with pytest.raises(NotInFile, match=f"^{re.escape(why)}$"):
            GlassScope(kind, name).accounts(contents)


def test_mistyped_passphrase_is_asked_for_again_twice(
    simulator: SimulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    account = glass_account(simulator)
    monkeypatch.setattr(sealed_file, "SCRYPT_N", 2**7)
    _, file, *_ = write_file(tmp_path, exported(account))
    typed = iter(["typo", "another", PASSPHRASE, "typo", "another", "third"])
    monkeypatch.setattr(getpass, "getpass", lambda prompt: next(typed))

    assert opened(file, None).accounts == (account,)
    with pytest.raises(CommandError, match=f"^{file}: wrong passphrase"):
        opened(file, None)

    assert capsys.readouterr().err.count("wrong passphrase: the file is whole") == 4


def test_wrong_arguments_end_with_2_and_send_nothing(simulator: SimulatorProcess, tmp_path: Path) -> None:
    account = glass_account(simulator)
    seed(simulator, account)
    _, file, option, passphrase = write_file(tmp_path, exported(account))
    wrong = tmp_path / "wrong"
    wrong.write_text("some other passphrase\n")
    damaged = tmp_path / "damaged"
    damaged.write_bytes(sealed_file.read(Path(file)).replace(b'"sealed": "gAAAAA', b'"sealed": "gAAAAB'))

    def refused(*words: str) -> tuple[int, str]:
        with pytest.raises(CommandError) as caught:
            call_command("panic", *words)
        return caught.value.returncode, str(caught.value)

    assert refused("--break-glass", file, option, str(wrong), "--all") == (
        2,
        f"{file}: wrong passphrase: the file is whole, and this does not open it",
    )
    assert refused("--break-glass", str(damaged), option, passphrase, "--all") == (
        2,
        f"{damaged}: the file is damaged: it is not what was exported. Take another copy of it",
    )
    assert refused("--break-glass", str(wrong), option, passphrase, "--all") == (
        2,
        f"{wrong}: this is no break-glass file, or it is damaged from its first line on",
    )
    assert refused("--break-glass", f"{file}.gone", option, passphrase, "--all") == (
        2,
        f"{file}.gone cannot be read: No such file or directory",
    )
    assert refused("--break-glass", file, option, f"{file}.gone", "--all") == (
        2,
        f"--passphrase-file {file}.gone cannot be read (FileNotFoundError)",
    )
    assert refused("--break-glass", "", "--all") == (2, "no break-glass file is named")
    assert refused("--break-glass", file, "--account", "alpha", "--symbol", "BTCUSDT") == (
        2,
        "--break-glass sweeps whole accounts: it takes no --symbol",
    )
    assert refused("--break-glass", file, option, passphrase, "--account", "ahpla") == (
        2,
        "there is no account 'ahpla' in the file; accounts: alpha",
    )
    assert simulator.log() == []


# ---- the limits ----

ADDRESS, KEY = Limit("fapi", "address", 100), Limit("closed", "key", 10)


def test_budget_gives_the_whole_limit_and_then_says_until_when() -> None:
    account = SealedAccount(1, "alpha", "delta", "v", "binance-usdm", "https://fapi.example", None, (), None)
    other = SealedAccount(2, "beta", "delta", "v", "binance-usdm", "https://fapi.example", None, (), None)
    counts = LocalCounts()
    budget, beside = GlassBudget(account, counts), GlassBudget(other, counts)

    budget.prepay(ADDRESS, 60)
    budget.spend(ADDRESS, 60)  # paid for already
    beside.spend(ADDRESS, 40)
    budget.spend(KEY, 10)
    beside.spend(KEY, 10)  # a limit of each key

    with pytest.raises(
        BudgetSpent, match=r"the fapi limit \(100 a 60 s\) is used up until ..:..:.. UTC"
    ) as caught:
        beside.spend(ADDRESS, 1)
    assert 0 < caught.value.retry_after_ms <= 62_001


def test_budget_keeps_to_what_the_venue_granted_and_to_a_share_of_it() -> None:
    account = SealedAccount(1, "alpha", "delta", "v", "binance-usdm", "https://fapi.example", 300, (), None)
    counts = LocalCounts()

    GlassBudget(account, counts, share=50).spend(ADDRESS, 150)

    with pytest.raises(BudgetSpent, match="is used up"):
        GlassBudget(account, counts, share=50).spend(ADDRESS, 1)
    GlassBudget(account, counts).spend(ADDRESS, 150)
    with pytest.raises(BudgetSpent, match="is more than the fapi limit"):
        GlassBudget(account, counts).spend(ADDRESS, 301)


def test_budget_hears_the_venues_own_count_and_its_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    account = SealedAccount(1, "alpha", "delta", "v", "binance-usdm", "https://fapi.example", None, (), None)
    budget = GlassBudget(account, LocalCounts())
    monkeypatch.setattr("panicboard.local_counts.HEADER_DOUBT_S", 0)

    budget.observe(ADDRESS, 95)

    with pytest.raises(BudgetSpent, match="is used up"):
        budget.spend(ADDRESS, 6)
    budget.block(ADDRESS, 30_000, "HTTP 418 banned")
    budget.block(ADDRESS, 1_000, "HTTP 429")  # never shortens a ban
    with pytest.raises(
        BudgetSpent, match=r"until ..:..:.. UTC the venue refuses fapi calls: HTTP 418"
    ) as caught:
        budget.spend(ADDRESS, 1)
    assert caught.value.retry_after_ms > 25_000


def test_budget_keeps_what_was_paid_in_advance_while_the_venue_refuses() -> None:
    account = SealedAccount(1, "alpha", "delta", "v", "binance-usdm", "https://fapi.example", None, (), None)
    counts = LocalCounts()
    budget = GlassBudget(account, counts)
    budget.prepay(ADDRESS, 60)

    GlassBudget(account, counts).block(ADDRESS, 30_000, "HTTP 418 banned")
    with pytest.raises(BudgetSpent, match="the venue refuses fapi calls: HTTP 418") as caught:
        budget.spend(ADDRESS, 60)
    counts._refusals.clear()
    budget.spend(ADDRESS, 60)

    assert caught.value.refused
    with pytest.raises(BudgetSpent, match="is used up"):
        budget.spend(ADDRESS, 41)
