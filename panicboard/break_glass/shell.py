"""`manage.py panic --break-glass FILE`: what it asks, what it prints, and with which exit status it ends."""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.utils import timezone

from panicboard.break_glass import passphrase, sealed_file
from panicboard.break_glass.press import GlassScope, NotInFile, Press
from panicboard.break_glass.sealed_file import CannotOpen, Contents, SealedAccount, WrongPassphrase
from panicboard.management import scopes
from panicboard.models import Panic
from panicboard.models.panics import nothing_open

#: How often a passphrase is asked for.
TRIES = 3
INTERRUPTED = "interrupted"


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Open the file, press, follow it until every account is clear. Raises SystemExit(3) when not all are."""
    if options["symbol"]:
        raise CommandError("--break-glass sweeps whole accounts: it takes no --symbol", returncode=2)
    contents = opened(options["break_glass"], options["passphrase_file"])
    with contextlib.closing(_Lines(command, as_json=options["json"])) as lines, _stoppable():
        press = _begin(contents, options, lines)
        finished = _follow(press, lines, options["timeout"])
        report = press.report()
        lines.result(report)
    status = 0 if report["clear"] else 3
    if not finished:
        os._exit(status)  # calls are still under way, and nobody waits for them
    if status:
        raise SystemExit(status)


def _begin(contents: Contents, options: dict[str, Any], lines: "_Lines") -> Press:
    """Write the press down, and say what it is about. Nothing has been sent yet."""
    scope = _scope(options)
    try:
        press = Press(
            contents,
            scope,
            pressed_by=scopes.shell_user(),
            reason=options["reason"],
            journal_file=Path(options["journal"]) if options["journal"] else None,
            say=lines.progress,
            complain=lines.alarm,
        )
    except NotInFile as exc:
        raise CommandError(str(exc), returncode=2) from None
    lines.began_at = press.panic.pressed_at
    count = len(press.accounts)
    lines.say(f"BREAK-GLASS panic: {scope.label}, {count} account{'s' if count != 1 else ''}")
    lines.say(f"  journal {press.journal.path or 'NONE'}")
    lines.say(f"  the file was exported {age(contents)}: what was added or changed since is not in it")
    for name in press.skipped:
        lines.say(f"  {name} is disabled: not swept")
    return press


def opened(file: str, passphrase_file: str | None) -> Contents:
    """The contents of a break-glass file. Raises CommandError with exit status 2."""
    if not file:
        raise CommandError("no break-glass file is named", returncode=2)
    try:
        return _unsealed(sealed_file.read(Path(file)), passphrase_file)
    except CannotOpen as exc:
        text = str(exc) if file in str(exc) else f"{file}: {exc}"
        raise CommandError(text, returncode=2) from None
    except passphrase.NoPassphrase as exc:
        raise CommandError(str(exc), returncode=2) from None


def _unsealed(sealed: bytes, passphrase_file: str | None) -> Contents:
    """What is in the file; a mistyped passphrase is asked for again."""
    for _ in range(0 if passphrase_file else TRIES - 1):
        try:
            return sealed_file.unseal(sealed, passphrase.given(None))
        except WrongPassphrase as exc:
            print(f"{exc}; try again", file=sys.stderr)
    return sealed_file.unseal(sealed, passphrase.given(passphrase_file))


def age(contents: Contents) -> str:
    """How old a file is, and since when."""
    at, now = f"{contents.exported_at:%Y-%m-%d %H:%M} UTC", timezone.now()
    old = now - contents.exported_at
    if old < -timedelta(minutes=1):
        return f"{at}, which is to come: CHECK THE CLOCK of this machine ({now:%Y-%m-%d %H:%M} UTC)"
    hours = int(old / timedelta(hours=1))
    said = "less than an hour" if hours < 1 else f"{hours} hours" if hours < 48 else f"{old.days} days"
    return f"{said} ago ({at})"


def _scope(options: dict[str, Any]) -> GlassScope:
    keep = options["keep_protective"]
    if options["desk"]:
        return GlassScope(Panic.Scope.DESK, options["desk"], keep)
    if options["account"]:
        return GlassScope(Panic.Scope.ACCOUNT, options["account"], keep)
    return GlassScope(Panic.Scope.ALL, keep_protective=keep)


def _follow(press: Press, lines: "_Lines", timeout_s: float | None) -> bool:
    """Wait until the press is over, its time is, or a person ends it; then close it in good order.

    False when a person would not wait for that either: the journal holds what was written until then.
    """
    why = ""
    try:
        press.start()
        if not press.wait(timeout_s):
            why = f"timeout of {timeout_s:g} s"
    except KeyboardInterrupt:
        why = INTERRUPTED
        lines.alarm(
            f"INTERRUPTED - NOT CLEAR: {', '.join(press.not_clear) or 'none'}. Waiting for calls under way"
        )
    try:
        press.finish(why, trace=why != INTERRUPTED)
    except KeyboardInterrupt:
        return False
    return True


class _Lines:
    """What is printed, from any thread. A thread of its own prints: a terminal that is held, or a reader that
    does not read, holds up no call, and one that is gone ends nothing.
    """

    def __init__(self, command: BaseCommand, *, as_json: bool) -> None:
        self.began_at: datetime = timezone.now()
        self._as_json = as_json
        self._out, self._err = command.stdout, command.stderr
        self._lines: queue.SimpleQueue[tuple[OutputWrapper, str] | None] = queue.SimpleQueue()
        self._printer = threading.Thread(target=self._run, name="printer", daemon=True)
        self._printer.start()

    def say(self, line: str) -> None:
        self._lines.put((self._err if self._as_json else self._out, line))

    def alarm(self, line: str) -> None:
        self._lines.put((self._err, line))

    def progress(self, account: SealedAccount, state: str, word: str) -> None:
        seconds = (timezone.now() - self.began_at).total_seconds()
        self.say(f"  {seconds:6.1f} s  {account.name:<24} {state:<13} {word}")

    def result(self, report: dict[str, Any]) -> None:
        """What it came to, on stdout."""
        if self._as_json:
            self._lines.put((self._out, json.dumps(report)))
            return
        for sweep in report["sweeps"]:
            orders = ", ".join(f"{count} {outcome}" for outcome, count in sweep["orders"].items())
            found = f" ({orders})" if orders else ""
            self.say(f"  {sweep['account']:<24} {sweep['state']:<13} {sweep['last_word']}{found}")
        self.say(nothing_open(report["kept"]) if report["clear"] else "NOT CLEAR")

    def close(self) -> None:
        """Wait until everything is printed."""
        self._lines.put(None)
        self._printer.join()

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            stream, text = line
            with contextlib.suppress(OSError, ValueError):
                stream.write(text)
                stream.flush()


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end it in good order, and a lost connection not at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    wanted: dict[signal.Signals, Any] = {
        signal.SIGINT: interrupt,
        signal.SIGTERM: interrupt,
        signal.SIGHUP: signal.SIG_IGN,
    }
    earlier = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
