"""Countdowns from a shell: arm, disarm, unlock, arm again, list."""

import json
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.utils import timezone

from panicboard import countdown_state, countdowns
from panicboard.countdown_state import Line
from panicboard.management import scopes
from panicboard.models import Account, Countdown

Phase = Countdown.Phase

LOOK_EVERY_S = 0.1
#: What --wait waits for. Phases, not what is shown: one that lapses because its bot is late is armed.
_WANTED = {
    "arm": Phase.ARMED,
    "rearm": Phase.ARMED,
    "disarm": Phase.DISARMED,
    "unlock": Phase.DISARMED,
}
_ON_ITS_WAY = (Phase.ARMING, Phase.DISARMING)
_ACTS = {
    "arm": "arm countdowns, or change those that are armed",
    "disarm": "have countdowns taken away at the venue",
    "unlock": "let a venue take new orders again after a countdown fired",
    "rearm": "arm again what a panic withheld",
    "list": "say what is true of each",
}


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # a broken page must not stand in the way
    help = (
        "Arm, disarm, unlock or list an account's countdowns (dead man's switches). Exit status 0; 2 for "
        "wrong arguments and where it is refused; 3 when the database does not take it, and with --wait when "
        "the venue refused it or has not confirmed it in time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_subparsers(dest="what", required=True, metavar="|".join(_ACTS))
        for name, text in _ACTS.items():
            one = what.add_parser(name, help=text)
            one.add_argument("--account", metavar="A", required=name != "list", help="by its name")
            one.add_argument("--json", action="store_true", help="print one JSON object")
            if name in ("arm", "disarm", "unlock"):
                words = "symbol or underlying; repeatable"
                # Only arming names what is open: the other two are over what was armed.
                which = one.add_mutually_exclusive_group() if name == "arm" else one
                which.add_argument("--scope", metavar="S", action="append", default=[], help=words)
            if name == "arm":
                words = "every symbol with open orders, which is also what is armed when nothing is named"
                which.add_argument("--all-open", action="store_true", help=words)
                one.add_argument("--follow", action="store_true", help="new symbols, too, as they appear")
                lengths = {"--length-s": countdowns.COUNTDOWN_MS, "--refresh-s": countdowns.REFRESH_MS}
                for option, ms in lengths.items():
                    one.add_argument(option, type=float, default=ms / 1000, metavar="S")
                one.add_argument("--source", choices=Countdown.Source.values, default=Countdown.Source.BOARD)
            if name == "unlock":
                one.add_argument("--reason", required=True, help="at least 10 characters")
            if name != "list":
                one.add_argument("--wait", action="store_true", help="until the venue has confirmed it")
                one.add_argument("--timeout", type=float, default=10.0, metavar="S", help="for --wait (10)")

    def handle(self, **options: Any) -> None:
        accounts = self._accounts(options["account"])
        if options["what"] == "list":
            self._print(accounts, options)
            return
        (account,) = accounts
        try:
            rows = getattr(self, f"_{options['what']}")(account, options)
        except ValueError as exc:
            raise CommandError(str(exc), returncode=2) from None
        except Error as exc:
            said = f"the database does not take it ({type(exc).__name__}): NOTHING WAS DONE"
            raise CommandError(said, returncode=3) from exc
        wanted = _WANTED[options["what"]]
        came = not options["wait"] or self._wait(rows, wanted, options["timeout"])
        self._print(accounts, options)
        if not came:
            self.stderr.write(f"not every one of them is {wanted.label}")
            raise SystemExit(3)

    def _accounts(self, name: str | None) -> list[Account]:
        every = Account.objects.select_related("venue", "desk")
        if name is None:
            return list(every)
        found = list(every.filter(name=name))
        if not found:
            known = ", ".join(Account.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"there is no account {name!r}; accounts: {known}", returncode=2)
        return found

    def _arm(self, account: Account, options: dict[str, Any]) -> Sequence[Countdown]:
        terms = countdowns.Terms(
            countdown_ms=round(options["length_s"] * 1000),
            refresh_ms=round(options["refresh_s"] * 1000),
            source=options["source"],
        )
        by = scopes.shell_user()
        if options["follow"]:
            if options["scope"]:
                raise ValueError("--follow is over the whole account: name no --scope beside it")
            return countdowns.follow(account, by=by, **terms)
        return countdowns.arm(account, options["scope"] or countdowns.open_scopes(account), by=by, **terms)

    def _disarm(self, account: Account, options: dict[str, Any]) -> Sequence[Countdown]:
        chosen = self._chosen(account, options)
        countdowns.disarm(chosen, by=scopes.shell_user())
        return chosen

    def _unlock(self, account: Account, options: dict[str, Any]) -> Sequence[Countdown]:
        chosen = self._chosen(account, options)
        if not options["scope"]:
            chosen = [one for one in chosen if one.locked]
        for one in chosen:
            countdowns.unlock(one, options["reason"], by=scopes.shell_user())
        return chosen

    def _rearm(self, account: Account, options: dict[str, Any]) -> Sequence[Countdown]:
        withheld = list(countdowns.to_rearm(account))
        countdowns.rearm(account, by=scopes.shell_user())
        return withheld

    def _chosen(self, account: Account, options: dict[str, Any]) -> list[Countdown]:
        mine = Countdown.objects.select_related("account").filter(account=account)
        if wanted := set(options["scope"]):
            mine = mine.filter(scope__in=wanted)
            if missing := sorted(wanted - {one.scope for one in mine}):
                raise ValueError(f"{account.name} has no countdown over {', '.join(missing)}")
        return list(mine)

    def _wait(self, rows: Sequence[Countdown], wanted: str, timeout_s: float) -> bool:
        """Whether all of these come to what is wanted. Comes back early when they come to something else."""
        deadline = time.monotonic() + timeout_s
        mine = Countdown.objects.filter(pk__in=[one.pk for one in rows])
        while True:
            phases = set(mine.values_list("phase", flat=True))
            if phases <= {wanted}:
                return True
            if not phases & set(_ON_ITS_WAY) or time.monotonic() > deadline:
                return False
            time.sleep(LOOK_EVERY_S)

    def _print(self, accounts: list[Account], options: dict[str, Any]) -> None:
        now = timezone.now()
        lines = [(one, line) for one in accounts for line in countdown_state.of_account(one, now)]
        if options["json"]:
            told = [_as_json(account, line) for account, line in lines]
            self.stdout.write(json.dumps({"at": now.isoformat(), "countdowns": told}))
            return
        for account, line in lines:
            until = f"until {line.deadline_at:%H:%M:%S}" if line.deadline_at else ""
            said = f"{account.name:<24} {line.scope_label:<18} {line.state.label:<16} {until:<15}"
            self.stdout.write(f"{said} {line.proof:<10} {line.source.kind:<9} {line.why}".rstrip())
        if not lines:
            self.stdout.write("no countdown was ever armed")


def _as_json(account: Account, line: Line) -> dict[str, Any]:
    return {
        "account": account.name,
        "scope": line.scope,
        "state": line.state.value,
        "why": line.why,
        "deadline_at": line.deadline_at.isoformat() if line.deadline_at else None,
        "countdown_ms": line.countdown_ms,
        "refresh_ms": line.refresh_ms,
        "source": line.source.kind,
        "proof": line.proof.value,
        "found_open": line.found_open,
    }
