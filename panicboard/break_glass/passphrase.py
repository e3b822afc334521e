"""The passphrase of a break-glass file: from a prompt or a file, never from an argument."""

import getpass
from pathlib import Path


class NoPassphrase(Exception):
    """None was given. The text says what to do."""


def given(file: str | None) -> str:
    """The passphrase to open a file with. Raises NoPassphrase."""
    return from_file(Path(file)) if file else _ask("Passphrase of the break-glass file: ")


def chosen(file: str | None) -> str:
    """The passphrase to seal a file with, asked for twice. Raises NoPassphrase."""
    if file:
        return from_file(Path(file))
    first = _ask("New passphrase for the break-glass file: ")
    if _ask("The same again: ") != first:
        raise NoPassphrase("These were two different passphrases; nothing was exported.")
    return first


def from_file(path: Path) -> str:
    """The first line of a file."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise NoPassphrase(f"--passphrase-file {path} cannot be read ({type(exc).__name__})") from None
    return text.partition("\n")[0].removesuffix("\r")


def _ask(prompt: str) -> str:
    try:
        return getpass.getpass(prompt)
    except (EOFError, OSError):
        raise NoPassphrase(
            "There is no terminal to ask for the passphrase: give --passphrase-file."
        ) from None
