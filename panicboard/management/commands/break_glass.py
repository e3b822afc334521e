"""The break-glass file and its journals: make the one before the bad day, bring in the others after it."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from panicboard.break_glass import export, journal_import, passphrase, shell
from panicboard.break_glass.journal_import import BeingWritten
from panicboard.break_glass.journal_reader import DamagedJournal
from panicboard.break_glass.sealed_file import Contents
from panicboard.management import scopes


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # a broken page must not stand in the way
    help = (
        "export FILE: seal every enabled account's credentials with a passphrase, for `panic --break-glass`. "
        "check FILE: open it and say what is in it. import FILE...: make panics of journals from elsewhere."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        exporting = acts.add_parser("export", help="seal every enabled account's credentials into a file")
        exporting.add_argument("file", metavar="FILE")
        exporting.add_argument("--force", action="store_true", help="replace a file that is there")
        checking = acts.add_parser("check", help="open a file with its passphrase, and say what is in it")
        checking.add_argument("file", metavar="FILE")
        for one in (exporting, checking):
            one.add_argument(
                "--passphrase-file", metavar="P", help="its first line is the passphrase (a prompt)"
            )
        importing = acts.add_parser(
            "import", help="make panics of journals; those in var/ the keeper imports"
        )
        importing.add_argument("files", metavar="FILE", nargs="+")
        importing.add_argument(
            "--record-only", action="store_true", help="keep the record; latch nothing and sweep nothing on"
        )

    def handle(self, **options: Any) -> None:
        try:
            match options["act"]:
                case "export":
                    self._export(Path(options["file"]), options)
                case "check":
                    self._check(options)
                case "import":
                    self._import([Path(file) for file in options["files"]], options["record_only"])
        except Error as exc:
            said = f"the database does not take it ({type(exc).__name__}): try again when it is back"
            raise CommandError(said, returncode=3) from exc

    def _export(self, path: Path, options: dict[str, Any]) -> None:
        try:
            contents = export.write(
                path,
                passphrase.chosen(options["passphrase_file"]),
                exported_by=scopes.shell_user(),
                force=options["force"],
            )
        except FileExistsError:
            raise CommandError(f"{path} is there already: give --force to replace it", returncode=2) from None
        except (passphrase.NoPassphrase, ValueError) as exc:
            raise CommandError(str(exc), returncode=2) from None
        except OSError as exc:
            raise CommandError(f"{path} cannot be written: {exc.strerror}", returncode=2) from None
        usable = [account for account in contents.accounts if not account.unusable]
        self.stdout.write(f"sealed {len(usable)} accounts into {path}")
        for account in contents.accounts:
            if account.unusable:
                self.stderr.write(f"  {account.name} CANNOT BE SWEPT from it: {account.unusable}")
        self._name_disabled(contents)
        self.stdout.write("Keep it away from its passphrase, and export anew when accounts or keys change.")

    def _name_disabled(self, contents: Contents) -> None:
        for name, _ in contents.disabled:
            self.stdout.write(f"  {name} is disabled: not in it")

    def _check(self, options: dict[str, Any]) -> None:
        contents = shell.opened(options["file"], options["passphrase_file"])
        self.stdout.write(f"exported {shell.age(contents)} by {contents.exported_by}")
        for account in contents.accounts:
            said = account.unusable or f"{len(account.symbols)} known book symbols"
            self.stdout.write(f"  {account.name:<24} {account.desk:<16} {account.venue:<24} {said}")
        self._name_disabled(contents)

    def _import(self, paths: list[Path], record_only: bool) -> None:
        failed = False
        for path in paths:
            try:
                imported = journal_import.import_file(
                    path.resolve(), by=scopes.shell_user(), record_only=record_only
                )
            except (BeingWritten, DamagedJournal, OSError) as exc:
                failed = True
                self.stderr.write(f"{path}: {exc.strerror if isinstance(exc, OSError) else exc}")
            else:
                self.stdout.write(f"{path}: panic {imported.panic.pk}: {imported.summary}")
        if failed:
            raise SystemExit(2)
