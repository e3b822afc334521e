"""The button from a shell."""

import json
import shlex
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.utils import timezone

from panicboard import call_log, dispatch, panics
from panicboard.break_glass import shell
from panicboard.database import AWAY
from panicboard.management import scopes
from panicboard.models import Panic, Sweep, SweptOrder
from panicboard.models.panics import nothing_open

LOOK_EVERY_S = 0.1
WAIT_S = 300.0


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # a broken page must not stand in the way
    help = (
        "Cancel every open order of a scope. Exit status: 0 when every sweep is clear (with --wait or "
        "--break-glass), 3 when not, 2 for wrong arguments. Without --wait: 0 when the panic is on its way. "
        "With --break-glass neither the database nor Redis is needed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        scopes.add_arguments(parser)
        parser.add_argument("--symbol", metavar="S", help="with --account: only orders of this symbol")
        parser.add_argument(
            "--keep-protective",
            action="store_true",
            help="leave reduce-only and close-position orders open, where the venue tells them apart",
        )
        parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the record")
        parser.add_argument("--wait", action="store_true", help="follow it until it is clear or --timeout")
        parser.add_argument(
            "--timeout",
            type=scopes.seconds,
            metavar="S",
            help=f"at most so many seconds (with --wait: {WAIT_S:g}; with --break-glass: until clear)",
        )
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        glass = parser.add_argument_group("while the database is away")
        glass.add_argument(
            "--break-glass", metavar="FILE", help="sweep from here, by a file that `break_glass export` made"
        )
        glass.add_argument(
            "--passphrase-file", metavar="P", help="its first line is the passphrase (a prompt)"
        )
        glass.add_argument("--journal", metavar="J", help="where to keep the journal (var/journal/)")

    def handle(self, **options: Any) -> None:
        if options["symbol"] and not options["account"]:
            raise CommandError("--symbol needs --account: a symbol is cancelled in one account", returncode=2)
        if options["break_glass"] is not None:
            shell.run(self, options)
            return
        self._panic: Panic | None = None
        try:
            with call_log.kept():
                self._press(options)
        except panics.NotWritten as exc:
            raise CommandError(_database_is_gone(exc.why, None, options), returncode=3) from exc
        except Error as exc:
            raise CommandError(_database_is_gone(exc, self._panic, options), returncode=3) from exc

    def _press(self, options: dict[str, Any]) -> None:
        try:
            pressed = panics.start(
                scopes.scope_from(options),
                pressed_by=None,
                pressed_by_name=scopes.shell_user(),
                via=Panic.Via.SHELL,
                reason=options["reason"],
            )
        except panics.NothingToSweep as exc:
            raise CommandError(str(exc), returncode=2) from None
        panic = self._panic = pressed.panic
        if not options["json"]:
            joined = "joined the running" if pressed.joined else "started"
            self.stdout.write(f"{joined} panic {panic.pk}: {panic.scope_label}")
            for name in panic.skipped:
                self.stdout.write(f"  {name} is disabled: not swept")
        if options["wait"]:
            timeout_s = WAIT_S if options["timeout"] is None else options["timeout"]
            self._follow(panic, timeout_s, quiet=options["json"])
        report = _report(panic)
        if options["json"]:
            self.stdout.write(json.dumps(report))
        else:
            self._print(report)
        if options["wait"]:
            if not report["clear"]:
                raise SystemExit(3)
            return
        dispatch.finish_queueing()
        panic.refresh_from_db(fields=["direct_path"])
        if panic.direct_path:
            self.stderr.write("the queue does not answer: sweeping from here until it is over")
            dispatch.finish_direct()

    def _follow(self, panic: Panic, timeout_s: float, *, quiet: bool) -> None:
        """Wait until the panic is over; sweeps that fell to this process go on in its threads."""
        deadline = time.monotonic() + timeout_s
        said = ""
        while panics.is_running(panic) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
            line = ", ".join(f"{count} {state}" for state, count in _states(panic).items())
            if line != said and not quiet:
                self.stdout.write(f"  {(timezone.now() - panic.pressed_at).total_seconds():6.1f} s  {line}")
                said = line
        dispatch.stop_direct()

    def _print(self, report: dict[str, Any]) -> None:
        for sweep in report["sweeps"]:
            self.stdout.write(f"  {sweep['account']:<24} {sweep['state']:<13} {sweep['last_word']}")
        self.stdout.write(nothing_open(report["kept"]) if report["clear"] else "NOT CLEAR")


def _database_is_gone(exc: Exception, panic: Panic | None, options: dict[str, Any]) -> str:
    """What to do now, in one line."""
    words = ["manage.py panic --break-glass FILE"]
    for name in ("desk", "account"):
        words += [f"--{name} {shlex.quote(options[name])}"] if options[name] else []
    words += ["--all"] if options["all"] else []
    words += ["--keep-protective"] if options["keep_protective"] else []
    whole = " (which sweeps the whole account: it takes no --symbol)" if options["symbol"] else ""
    gone = isinstance(exc, AWAY)  # or something answers that is no use
    trouble = f"the database {'does not answer' if gone else 'is unusable'} ({type(exc).__name__})"
    pressed = f"panic {panic.pk} was pressed, and waits for it" if panic else "NOTHING WAS SENT"
    return f"{trouble}: {pressed}. Break the glass: {' '.join(words)}{whole}"


def _states(panic: Panic) -> dict[str, int]:
    counts: dict[str, int] = {}
    for state in panic.sweeps.values_list("state", flat=True):
        label = str(Sweep.State(state).label)
        counts[label] = counts.get(label, 0) + 1
    return counts


def _report(panic: Panic) -> dict[str, Any]:
    """The panic as one JSON-able object; times are ms after the press."""
    sweeps = []
    rows = panic.sweeps.select_related("account__venue").order_by("account__name")
    for sweep in rows:
        outcomes: dict[str, int] = {}
        for outcome in sweep.orders.values_list("outcome", flat=True):
            outcomes[SweptOrder.Outcome(outcome).label] = (
                outcomes.get(SweptOrder.Outcome(outcome).label, 0) + 1
            )
        clear_ms = (sweep.clear_at - panic.pressed_at).total_seconds() * 1000 if sweep.clear_at else None
        sweeps.append(
            {
                "account": sweep.account.name,
                "venue": sweep.account.venue.name,
                "state": sweep.label,
                "kept": sweep.kept,
                "clear_ms": None if clear_ms is None else round(clear_ms),
                "orders": outcomes,
                "last_word": sweep.last_word,
            }
        )
    return {
        "panic": panic.pk,
        "scope": panic.scope_label,
        "pressed_at": panic.pressed_at.isoformat(),
        "clear": all(sweep.state == Sweep.State.CLEAR for sweep in rows),
        "kept": sum(sweep.kept for sweep in rows),
        "skipped": panic.skipped,
        "sweeps": sweeps,
    }
