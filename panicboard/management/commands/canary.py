"""The coverage canary from a shell."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from panicboard import call_log, canary, dispatch
from panicboard.management import scopes
from panicboard.models import Account, CanaryRun

LOOK_EVERY_S = 0.2


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # a broken page must not stand in the way
    help = (
        "Run the canary now on a marked account: place an order of each family far from the market, panic "
        "the account, see them gone. Exit status with --wait: 0 only when it held, 3 when not; 2 for wrong "
        "arguments and where no canary can run now. Without --wait: 0 when the run has begun."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", required=True, metavar="A", help="one account, by its name")
        parser.add_argument("--wait", action="store_true", help="follow it until it is over or --timeout")
        parser.add_argument(
            "--timeout", type=float, default=900, metavar="S", help="with --wait: at most so many seconds"
        )

    def handle(self, **options: Any) -> None:
        account = scopes.scope_from({"desk": None, **options}).account
        assert isinstance(account, Account)  # noqa: S101 (a name is required, and an unknown one refused)
        with call_log.kept():
            self._run(account, options)

    def _run(self, account: Account, options: dict[str, Any]) -> None:
        try:
            run = canary.begin(account, by=scopes.shell_user())
        except canary.Refused as exc:
            raise CommandError(str(exc), returncode=2) from None
        self.stdout.write(f"begun canary run {run.pk}: account {account.name}")
        if not options["wait"]:
            return
        run = self._follow(run, options["timeout"])
        self.stdout.write(f"{run.get_state_display()}: {run.last_word}")
        if run.state != CanaryRun.State.HELD:
            raise SystemExit(3)

    def _follow(self, run: CanaryRun, timeout_s: float) -> CanaryRun:
        """Go on with the run until it is over; its steps are taken here too, so that no worker is needed."""
        deadline = time.monotonic() + timeout_s
        said = run.last_word
        canary.go_on(run.pk)
        while time.monotonic() < deadline:
            run.refresh_from_db()
            if run.state != CanaryRun.State.RUNNING:
                break
            if run.last_word != said:
                after_s = (timezone.now() - run.began_at).total_seconds()
                self.stdout.write(f"  {after_s:6.1f} s  {run.last_word}")
                said = run.last_word
            if run.due_at <= timezone.now():
                canary.go_on(run.pk)
            time.sleep(LOOK_EVERY_S)
        dispatch.stop_direct()
        return run
