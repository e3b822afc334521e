"""Release latched accounts from a shell."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from panicboard import panics
from panicboard.management import scopes


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # a broken page must not stand in the way
    help = (
        "Release latched accounts: their sweeps stop, heartbeats and new orders pass again. Starts nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        scopes.add_arguments(parser)
        parser.add_argument("--reason", required=True, metavar="TEXT", help="at least 10 characters")

    def handle(self, **options: Any) -> None:
        try:
            count = panics.release_accounts(
                scopes.scope_from(options).accounts(),
                released_by=None,
                released_by_name=scopes.shell_user(),
                reason=options["reason"],
            )
        except ValueError as exc:
            raise CommandError(str(exc), returncode=2) from None
        except Error as exc:
            said = f"the database does not take it ({type(exc).__name__}): NOTHING WAS RELEASED"
            raise CommandError(said, returncode=3) from exc
        self.stdout.write(f"released {count} account{'s' if count != 1 else ''}")
