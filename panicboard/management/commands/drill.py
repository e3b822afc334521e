"""A drill from a shell: the same scopes as a panic; reads everything, cancels nothing."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from panicboard import drill_state, drills
from panicboard.drill_state import DrillPage
from panicboard.management import scopes
from panicboard.models import Drill
from panicboard.templatetags.show import after

LOOK_EVERY_S = 0.2
WAIT_S = 1800.0


class Command(BaseCommand):
    help = (
        "Rehearse a panic over a scope: read every order family of every account as a sweep would, cancel "
        "nothing, and tell what it took. Exit status with --wait: 0 when every account was read whole, 3 "
        "when not; 2 for wrong arguments. Without --wait: 0 when the drill is on its way."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        scopes.add_arguments(parser)
        parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the record")
        parser.add_argument("--wait", action="store_true", help="follow it until it is over or --timeout")
        parser.add_argument(
            "--timeout",
            type=scopes.seconds,
            default=WAIT_S,
            metavar="S",
            help=f"with --wait: at most so many seconds ({WAIT_S:g}); a large firm takes minutes",
        )
        parser.add_argument("--json", action="store_true", help="print the report as one JSON object")

    def handle(self, **options: Any) -> None:
        try:
            begun = drills.start(
                scopes.scope_from(options),
                begun_by=None,
                begun_by_name=scopes.shell_user(),
                reason=options["reason"],
            )
        except drills.NothingToRead as exc:
            raise CommandError(str(exc), returncode=2) from None
        drill = begun.drill
        if not options["json"]:
            joined = "joined the running" if begun.joined else "began"
            self.stdout.write(f"{joined} DRILL {drill.pk}: {drill.scope_label}; nothing is cancelled")
        if options["wait"]:
            self._follow(drill, options["timeout"], quiet=options["json"])
        page = drill_state.read(drill.pk)
        if options["json"]:
            self.stdout.write(json.dumps(_report(page)))
        else:
            self._print(page)
        if options["wait"] and not page.head.is_clear:
            raise SystemExit(3)

    def _follow(self, drill: Drill, timeout_s: float, *, quiet: bool) -> None:
        """Wait until the drill is over, and say how far it is whenever that changes."""
        deadline = time.monotonic() + timeout_s
        said = ""
        while drills.is_running(drill) and time.monotonic() < deadline:
            head = drill_state.read(drill.pk).head
            line = f"{head.clear} of {head.accounts} read, {head.waiting} wait, {head.failed} failed"
            if line != said and not quiet:
                self.stdout.write(f"  {line}")
                said = line
            time.sleep(LOOK_EVERY_S)

    def _print(self, page: DrillPage) -> None:
        for row in page.rows:
            took = "" if row.read_ms is None else f"read in {row.read_ms:,} ms"
            self.stdout.write(
                f"  {row.account:<24} {row.label:<13} {after(row.first_request_at, row.began_at):>11}  "
                f"{took:<19} {row.calls:>3} calls {row.weight:>5} weight {row.orders:>6,} orders  "
                f"{row.doubt or row.last_word}"
            )
        would = page.would
        self.stdout.write(
            f"a panic would have sent {would.cancels:,} cancels (weight {would.cancel_weight:,}) "
            f"for {would.orders:,} orders, {would.protective:,} of them protective"
        )
        for name, why in would.missed:
            self.stdout.write(f"  would miss {name}: {why}")
        self.stdout.write("DRILL CLEAR" if page.head.is_clear else "DRILL NOT CLEAR")


def _report(page: DrillPage) -> dict[str, Any]:
    """The drill as one JSON-able object; times are ms after it began."""

    def ms(at: Any) -> int | None:
        return None if at is None else round((at - page.head.began_at).total_seconds() * 1000)

    return {
        "drill": page.pk,
        "scope": page.head.scope_label,
        "began_at": page.head.began_at.isoformat(),
        "clear": page.head.is_clear,
        "ended_ms": ms(page.head.ended_at),
        "would": {
            "cancels": page.would.cancels,
            "cancel_weight": page.would.cancel_weight,
            "orders": page.would.orders,
            "protective": page.would.protective,
            "missed": dict(page.would.missed),
            "doubted": dict(page.would.doubted),
        },
        "accounts": [
            {
                "account": row.account,
                "venue": row.venue,
                "state": row.label,
                "first_request_ms": ms(row.first_request_at),
                "read_ms": row.read_ms,
                "calls": row.calls,
                "weight": row.weight,
                "orders": row.orders,
                "families": {label: orders for label, orders, _ in row.families},
                "cancels": row.cancels,
                "doubt": row.doubt,
                "last_word": row.last_word,
            }
            for row in page.rows
        ],
    }
