"""Exporting the break-glass file: every enabled account, as the database has it now."""

import os
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from panicboard import audit, credentials, readings
from panicboard.break_glass import sealed_file
from panicboard.break_glass.sealed_file import Contents, SealedAccount
from panicboard.models import Account, AuditEntry
from panicboard.venues import open_adapter
from panicboard.venues.base import DIRECT, Credentials, Route, Unlimited
from panicboard.venues.errors import CredentialsRejected


class NothingToExport(ValueError):
    """No account has usable credentials. The text says what to do."""


def write(path: Path, passphrase: str, *, exported_by: str, force: bool = False) -> Contents:
    """Seal every enabled account into the file at `path`, and record who did so. Returns what is in it.

    Raises NothingToExport, ValueError for a weak passphrase, FileExistsError without `force`, OSError.
    """
    contents = gather(exported_by)
    sealed = sealed_file.seal(contents, passphrase)
    unusable = [account.name for account in contents.accounts if account.unusable]
    detail = f"{os.path.abspath(path)}: {len(contents.accounts) - len(unusable)} accounts"
    if unusable:
        detail += f"; without usable credentials: {', '.join(unusable)}"
    with transaction.atomic():  # no file without its entry, no entry without its file
        audit.record(AuditEntry.Action.EXPORTED, by_name=exported_by, detail=detail, at=contents.exported_at)
        sealed_file.write(path, sealed, force=force)
    return contents


def gather(exported_by: str) -> Contents:
    """What a file exported now holds. Raises NothingToExport when that would help nobody."""
    accounts = Account.objects.select_related("desk", "venue", "reading", "egress", "second_egress")
    contents = Contents(
        exported_at=timezone.now(),
        exported_by=exported_by,
        accounts=tuple(_sealed(account) for account in accounts.filter(enabled=True)),
        disabled=tuple(accounts.filter(enabled=False).values_list("name", "desk__slug")),
    )
    if all(account.unusable for account in contents.accounts):
        raise NothingToExport("no enabled account has usable credentials, so there is nothing to export")
    return contents


def _sealed(account: Account) -> SealedAccount:
    held: Credentials | None = None
    unusable = ""
    ways: tuple[Route, ...] = (DIRECT,)
    try:
        held = credentials.unseal(account)
        ways = credentials.routes_of(account)
        open_adapter(
            account.venue.adapter, account.venue.base_url, held, budget=Unlimited(), account=account.name
        )
    except (credentials.CredentialsUnusable, CredentialsRejected) as exc:
        held, unusable = None, str(exc)
    known = readings.known_symbols(getattr(account, "reading", None))
    return SealedAccount(
        pk=account.pk,
        name=account.name,
        desk=account.desk.slug,
        venue=account.venue.name,
        adapter=account.venue.adapter,
        base_url=account.venue.base_url,
        limit_override=account.venue.limit_override,
        symbols=tuple(sorted(known, key=lambda one: (one.family, one.symbol))),
        credentials=held,
        unusable=unusable,
        routes=ways,
    )
