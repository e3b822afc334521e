"""The options by which commands name a scope, and who is at the shell."""

import contextlib
import getpass
import threading
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import replace

from django.core.management.base import CommandError

from panicboard.models import Account, Desk, Panic
from panicboard.panics import Scope


def add_arguments(parser: ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every account of every desk")
    which.add_argument("--desk", metavar="D", help="the accounts of one desk, by its slug")
    which.add_argument("--account", metavar="A", help="one account, by its name")


def scope_from(options: dict[str, object]) -> Scope:
    """The scope these options name. Raises CommandError naming what there is instead."""
    return replace(_named(options), keep_protective=bool(options.get("keep_protective")))


def _named(options: dict[str, object]) -> Scope:
    if desk_slug := options["desk"]:
        desk = Desk.objects.filter(slug=desk_slug).first()
        if desk is None:
            known = ", ".join(Desk.objects.values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"there is no desk {desk_slug!r}; desks: {known}", returncode=2)
        return Scope(Panic.Scope.DESK, desk=desk)
    if name := options["account"]:
        account = Account.objects.select_related("venue", "desk").filter(name=name).first()
        if account is None:
            known = ", ".join(Account.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"there is no account {name!r}; accounts: {known}", returncode=2)
        if symbol := options.get("symbol"):
            return Scope(Panic.Scope.SYMBOL, account=account, symbol=str(symbol))
        return Scope(Panic.Scope.ACCOUNT, account=account)
    return Scope(Panic.Scope.ALL)


def seconds(text: str) -> float:
    """A number of seconds to wait, as an option gives it."""
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) <= threading.TIMEOUT_MAX:
            return number
    raise ArgumentTypeError(f"{text!r} is no number of seconds to wait")


def shell_user() -> str:
    """Who is at the shell, for the record."""
    try:
        return f"{getpass.getuser()} (shell)"
    except (KeyError, OSError):
        return "shell"
