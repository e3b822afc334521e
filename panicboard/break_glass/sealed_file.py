"""The break-glass file: accounts with their credentials, sealed with a passphrase.

Not with CREDENTIALS_KEYS: the machine that holds those may be the one that is lost. The passphrase is
stretched with scrypt (128 MB, about half a second), so that a copied file cannot be guessed open quickly,
and what is sealed is sealed with Fernet. A checksum over the sealed text, which says nothing about what is
in it, tells a damaged file from a wrong passphrase.
"""

import base64
import contextlib
import hashlib
import json
import os
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from panicboard.venues.base import DIRECT, BookSymbol, Credentials, Route

WHAT = "panicboard break-glass file"
FORMAT = 1
#: What scrypt costs, for files of FORMAT 1.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**17, 8, 1
SHORTEST_PASSPHRASE, FEWEST_CHARACTERS = 16, 6


class CannotOpen(Exception):
    """The file cannot be opened. The text says why."""


class Damaged(CannotOpen):
    """What stands in the file is not what was written, or is no break-glass file at all."""


class WrongPassphrase(CannotOpen):
    """The file is whole, and this passphrase does not open it."""


@dataclass(frozen=True, slots=True)
class SealedAccount:
    """One account as it was exported. `unusable` says why it has no credentials, where it has none."""

    pk: int
    name: str
    desk: str  # its slug
    venue: str
    adapter: str
    base_url: str
    limit_override: int | None
    symbols: tuple[BookSymbol, ...]
    credentials: Credentials | None
    unusable: str = ""
    routes: tuple[Route, ...] = (DIRECT,)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a break-glass file holds. `disabled`: name and desk of the accounts that no panic sweeps."""

    exported_at: datetime
    exported_by: str
    accounts: tuple[SealedAccount, ...]
    disabled: tuple[tuple[str, str], ...] = ()


def refuse_weak(passphrase: str) -> None:
    """Raise ValueError for a passphrase that whoever copies the file could guess."""
    if len(passphrase) < SHORTEST_PASSPHRASE or len(set(passphrase)) < FEWEST_CHARACTERS:
        raise ValueError(
            f"This passphrase is too short: take at least {SHORTEST_PASSPHRASE} characters, for instance "
            "four words. Whoever gets a copy of the file can try passphrases for as long as they like, and "
            "it opens every account."
        )


def seal(contents: Contents, passphrase: str) -> bytes:
    """The file's content. Raises ValueError for a weak passphrase."""
    refuse_weak(passphrase)
    salt = os.urandom(16)
    sealed = Fernet(_key(passphrase, salt)).encrypt(json.dumps(_to_json(contents)).encode()).decode()
    outer = {"what": WHAT, "format": FORMAT, "salt": salt.hex(), "sealed": sealed}
    return (json.dumps({**outer, "sha256": _checksum(outer)}, indent=1) + "\n").encode()


def unseal(file: bytes, passphrase: str) -> Contents:
    """What was sealed. Raises WrongPassphrase or Damaged."""
    outer = _outer(file)
    try:
        return _from_json(
            json.loads(Fernet(_key(passphrase, bytes.fromhex(outer["salt"]))).decrypt(outer["sealed"]))
        )
    except InvalidToken:
        raise WrongPassphrase("wrong passphrase: the file is whole, and this does not open it") from None
    except (ValueError, KeyError, TypeError) as exc:
        raise Damaged(f"the file opens, but cannot be understood ({type(exc).__name__})") from None


def read(path: Path) -> bytes:
    """The file at `path`, checked for damage: ask for its passphrase after that. Raises CannotOpen."""
    try:
        file = path.read_bytes()
    except OSError as exc:
        raise CannotOpen(f"{path} cannot be read: {exc.strerror}") from None
    try:
        _outer(file)
    except Damaged as exc:
        raise Damaged(f"{path}: {exc}") from None
    return file


def write(path: Path, file: bytes, *, force: bool = False) -> None:
    """Put the file at `path`, whole or not at all, for its owner alone.

    Raises FileExistsError when something is there and `force` is not given, OSError when it cannot be.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    if not force:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # the name is ours from here on
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(file)
            out.flush()
            os.fsync(out.fileno())
        os.replace(fresh, path)
    except OSError:
        for left in (fresh,) if force else (fresh, path):
            left.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory reach the disk, where the file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _key(passphrase: str, salt: bytes) -> bytes:
    # Keyboards and systems differ in how they compose an accent; the passphrase is the same.
    text = unicodedata.normalize("NFC", passphrase).encode()
    stretched = Scrypt(salt=salt, length=32, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(text)
    return base64.urlsafe_b64encode(stretched)


def _checksum(outer: dict[str, Any]) -> str:
    return hashlib.sha256(f"{outer['format']} {outer['salt']} {outer['sealed']}".encode()).hexdigest()


def _outer(file: bytes) -> dict[str, Any]:
    try:
        outer = json.loads(file)
        known = outer["what"] == WHAT
    except (ValueError, KeyError, TypeError):
        raise Damaged("this is no break-glass file, or it is damaged from its first line on") from None
    if not known:
        raise Damaged("this is no break-glass file")
    try:
        whole = outer["sha256"] == _checksum(outer)
    except KeyError:
        whole = False
    if not whole:
        raise Damaged("the file is damaged: it is not what was exported. Take another copy of it")
    if outer["format"] != FORMAT:
        raise Damaged(f"the file is of format {outer['format']}; this panicboard reads format {FORMAT}")
    return dict(outer)


def _to_json(contents: Contents) -> dict[str, Any]:
    return {
        "exported_at": contents.exported_at.isoformat(),
        "exported_by": contents.exported_by,
        "accounts": [_account_to_json(account) for account in contents.accounts],
        "disabled": contents.disabled,
    }


def _account_to_json(account: SealedAccount) -> dict[str, Any]:
    names = ("pk", "name", "desk", "venue", "adapter", "base_url", "limit_override", "unusable")
    held = account.credentials
    return {
        **{name: getattr(account, name) for name in names},
        "symbols": [[known.family, known.symbol] for known in account.symbols],
        "credentials": held and [held.api_key, held.secret, held.key_type],
        "routes": [[way.name, way.source_address, way.proxy_url] for way in account.routes],
    }


def _from_json(held: dict[str, Any]) -> Contents:
    return Contents(
        exported_at=datetime.fromisoformat(held["exported_at"]),
        exported_by=held["exported_by"],
        accounts=tuple(_account_from_json(account) for account in held["accounts"]),
        disabled=tuple((name, desk) for name, desk in held["disabled"]),
    )


def _account_from_json(account: dict[str, Any]) -> SealedAccount:
    held = account["credentials"]
    return SealedAccount(
        **{
            **account,
            "symbols": tuple(BookSymbol(family, symbol) for family, symbol in account["symbols"]),
            "credentials": Credentials(*held) if held else None,
            "routes": tuple(Route(*way) for way in account["routes"]),
        }
    )
