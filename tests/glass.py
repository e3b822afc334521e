"""Break-glass files and presses for tests: accounts at the simulator, in no database.

Test modules import names from here before pytest could rewrite its asserts: PYTEST_DONT_REWRITE.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from panicboard import processes
from panicboard.break_glass import sealed_file
from panicboard.break_glass.press import GlassScope, Press
from panicboard.break_glass.sealed_file import Contents, SealedAccount
from panicboard.models import Account, Panic
from panicboard.processes import Process
from panicboard.venues.base import BookSymbol, Credentials
from tests.factories import BOOKS
from tests.simulator_process import SimulatorProcess
from tests.waiting import until

PASSPHRASE = "four words of a passphrase"
#: Where no database and no Redis answers.
NOTHING_ELSE = {"DATABASE_URL": "postgres://x:y@127.0.0.1:9/none", "REDIS_URL": "redis://127.0.0.1:9/0"}
EVERYTHING = GlassScope(Panic.Scope.ALL)


def glass_account(
    simulator: SimulatorProcess,
    adapter: str = "binance-usdm",
    name: str = "alpha",
    *,
    known: Sequence[BookSymbol] | None = None,
    **fields: Any,
) -> SealedAccount:
    """An account at the simulator as a file holds it; it knows its usual symbol, unless told otherwise."""
    made = simulator.create_account(adapter, name)
    book, symbol = BOOKS[adapter]
    usual = {"pk": len(name), "desk": "delta", "venue": f"{adapter} at home", "limit_override": None}
    return SealedAccount(
        name=name,
        adapter=adapter,
        base_url=simulator.url,
        symbols=tuple([BookSymbol(book, symbol)] if known is None else known),
        credentials=Credentials(made["api_key"], made["secret"], made["key_type"]),
        **{**usual, **fields},
    )


def exported(*accounts: SealedAccount, disabled: Sequence[tuple[str, str]] = ()) -> Contents:
    return Contents(datetime.now(UTC), "root (shell)", accounts, tuple(disabled))


def as_exported(account: Account, *known: BookSymbol) -> SealedAccount:
    """A row's account as `break_glass export` would put it into a file."""
    from panicboard.break_glass import export

    return replace(export._sealed(account), symbols=known or (BookSymbol("ordinary", "BTCUSDT"),))


def write_file(directory: Path, contents: Contents) -> tuple[str, ...]:
    """A sealed file and its passphrase in a file, as the arguments that name them."""
    file, passphrase = directory / "glass", directory / "passphrase"
    sealed_file.write(file, sealed_file.seal(contents, PASSPHRASE))
    passphrase.write_text(f"{PASSPHRASE}\n")
    return "--break-glass", str(file), "--passphrase-file", str(passphrase)


def command(var: Path, *words: str, **environment: str) -> tuple[list[str], dict[str, str]]:
    """The command line and environment of a command that finds neither database nor Redis."""
    env = {**processes.environment(PANICBOARD_VAR=str(var)), **NOTHING_ELSE, **environment}
    return [*processes.MANAGE, *words], env


def shell(var: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    argv, env = command(var, *words, **environment)
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def process(*words: str) -> Process:
    """A command as one of the product's processes, for a test that kills it."""
    return Process("panic", [*processes.MANAGE, *words])


def pressed(contents: Contents, journal: Path | None = None, *, scope: GlassScope = EVERYTHING) -> Press:
    """A press in this process, from its first line until every account is clear. It touches no database."""
    press = begun(contents, journal, scope=scope)
    press.start()
    over = press.wait(30)
    press.finish("" if over else "timeout")
    return press


def pressed_until(
    condition: Callable[[Press], object], contents: Contents, journal: Path | None = None
) -> Press:
    """A press in this process that is ended as soon as the condition holds: it would never be over."""
    press = begun(contents, journal)
    press.start()
    try:
        until(lambda: condition(press), "what the press was to come to")
    finally:
        press.finish("tested")
    return press


def begun(
    contents: Contents,
    journal: Path | None = None,
    *,
    scope: GlassScope = EVERYTHING,
    complain: Callable[[str], None] = lambda line: None,
) -> Press:
    """A press whose journal is begun, and that has sent nothing yet."""
    return Press(
        contents,
        scope,
        pressed_by="root (shell)",
        reason="the database is gone",
        journal_file=journal,
        say=lambda account, state, word: None,
        complain=complain,
    )


def lines(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


def told(journal: Path, event: str) -> list[dict[str, Any]]:
    return [line for line in lines(journal) if line["event"] == event]


def last_of_sweep(journal: Path, account: str) -> dict[str, Any]:
    return [line for line in told(journal, "sweep") if line["account"] == account][-1]


def outcomes(journal: Path, account: str) -> dict[tuple[str, str, str], str]:
    """What the journal tells of an account's orders in the end: family, symbol and id, and the outcome."""
    last = {line["number"]: line for line in told(journal, "order") if line["account"] == account}
    return {
        (line["family"], line["symbol"], line["venue_order_id"]): line["outcome"] for line in last.values()
    }
