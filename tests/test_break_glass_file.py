"""The sealed file: what it holds, who can open it, and how it gets onto a disk."""

import resource
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from panicboard import credentials
from panicboard.break_glass import passphrase, sealed_file, shell
from panicboard.break_glass.sealed_file import Contents, Damaged, SealedAccount, WrongPassphrase
from panicboard.management.scopes import shell_user
from panicboard.models import Account, AuditEntry, Reading
from panicboard.venues.base import BookSymbol, Credentials
from tests.factories import make_desk, make_venue
from tests.glass import PASSPHRASE

NOWHERE = "http://127.0.0.1:9"
ALPHA = SealedAccount(
    pk=7,
    name="alpha",
    desk="delta",
    venue="Binance USD-M",
    adapter="binance-usdm",
    base_url="https://fapi.example",
    limit_override=6000,
    symbols=(BookSymbol("conditional", "BTCUSDT"), BookSymbol("ordinary", "BTCUSDT")),
    credentials=Credentials("made-up-key", "made-up-secret", "hmac"),
)
KEYLESS = replace(ALPHA, pk=8, name="keyless", symbols=(), credentials=None, unusable="it has no credentials")
CONTENTS = Contents(
    datetime(2026, 11, 20, 20, 54, tzinfo=UTC), "root (shell)", (ALPHA, KEYLESS), (("off", "carry"),)
)


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase is stretched a thousand times less here: what it costs is no test's subject."""
    monkeypatch.setattr(sealed_file, "SCRYPT_N", 2**7)


def test_file_opens_with_its_passphrase_and_holds_what_was_sealed() -> None:
    file = sealed_file.seal(CONTENTS, PASSPHRASE)

    assert sealed_file.unseal(file, PASSPHRASE) == CONTENTS
    assert b"made-up" not in file
    assert b"alpha" not in file
    assert sealed_file.seal(CONTENTS, PASSPHRASE) != file  # another salt each time


def test_wrong_passphrase_and_damage_are_told_apart() -> None:
    file = sealed_file.seal(CONTENTS, PASSPHRASE)
    flipped = file.replace(b'"sealed": "gAAAAA', b'"sealed": "gAAAAB')
    newer = file.replace(b'"format": 1', b'"format": 2')
    assert file not in (flipped, newer)

    for broken, kind, why in (
        (file, WrongPassphrase, "wrong passphrase"),
        (flipped, Damaged, "is not what was exported"),
        (file[:200], Damaged, "no break-glass file, or it is damaged"),
        (b"", Damaged, "no break-glass file, or it is damaged"),
        (b'{"what": "a shopping list"}', Damaged, "this is no break-glass file"),
        (b'{"what": "panicboard break-glass file"}', Damaged, "is not what was exported"),
        (b"[1, 2]", Damaged, "no break-glass file"),
        (newer, Damaged, "is not what was exported"),
    ):
        with pytest.raises(kind, match=why):
            sealed_file.unseal(broken, PASSPHRASE + "!")


def test_accent_composed_in_another_way_is_the_same_passphrase() -> None:
    file = sealed_file.seal(CONTENTS, "quatre caf\u00e9s serr\u00e9s")

    assert sealed_file.unseal(file, "quatre cafe\u0301s serre\u0301s") == CONTENTS


@pytest.mark.parametrize("weak", ["", "too short", "fifteen letters", "aaaaaaaaaaaaaaaaaaaaaaaa"])
def test_weak_passphrase_is_refused_with_the_reason(weak: str) -> None:
    with pytest.raises(ValueError, match=r"at least 16 characters.*Whoever gets a copy of the file"):
        sealed_file.seal(CONTENTS, weak)


def test_file_is_written_whole_for_its_owner_alone_and_replaces_none(tmp_path: Path) -> None:
    path = tmp_path / "glass"

    sealed_file.write(path, b"first")
    with pytest.raises(FileExistsError):
        sealed_file.write(path, b"second")
    kept = path.read_bytes()
    sealed_file.write(path, b"third", force=True)

    assert (kept, path.read_bytes()) == (b"first", b"third")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_file_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "glass"
    earlier = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, earlier[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            sealed_file.write(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, earlier)

    assert list(tmp_path.iterdir()) == []


# ---- the passphrase ----


def test_passphrase_is_the_first_line_of_its_file_and_asked_for_twice_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(b"  four words of it \r\nand a note\n")
    typed = iter(["one", "one", "one", "another"])
    monkeypatch.setattr(passphrase.getpass, "getpass", lambda prompt: next(typed))

    assert passphrase.chosen(str(file)) == passphrase.given(str(file)) == "  four words of it "
    assert passphrase.chosen(None) == "one"
    with pytest.raises(passphrase.NoPassphrase, match="two different passphrases; nothing was exported"):
        passphrase.chosen(None)


# ---- the commands ----


@pytest.fixture
def firm(db: None, tmp_path: Path) -> Path:
    """Two accounts with credentials, one without, one disabled; and a passphrase in a file."""
    usdm = make_venue(NOWHERE, limit_override=6000)
    coinswitch = make_venue(NOWHERE, "coinswitch")
    for name, venue, key_type, secret in (
        ("alpha", usdm, "hmac", "alpha-secret"),
        ("beta", coinswitch, "ed25519", "11" * 32),
        ("torn", coinswitch, "ed25519", "not a key"),
        ("keyless", usdm, "hmac", ""),
        ("off", usdm, "hmac", "off-secret"),
    ):
        account = Account(name=name, desk=make_desk(), venue=venue, key_type=key_type, enabled=name != "off")
        if secret:
            credentials.seal(account, api_key=f"{name}-key", secret=secret)
        account.save()
    symbols = {
        "ordinary BTCUSDT": "2026-11-20T20:54:00+00:00",
        "conditional ETHUSDT": "2026-11-20T20:54:00+00:00",
    }
    Reading.objects.create(account=Account.objects.get(name="alpha"), symbols=symbols, due_at=timezone.now())
    file = tmp_path / "passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    return file


def call(*words: str) -> tuple[str, str]:
    """Run a command. Returns what it wrote to each stream."""
    said, complained = StringIO(), StringIO()
    call_command("break_glass", *words, stdout=said, stderr=complained)
    return said.getvalue(), complained.getvalue()


def test_export_seals_every_enabled_account_and_names_those_without_credentials(
    firm: Path, tmp_path: Path
) -> None:
    path = tmp_path / "glass"

    said, complained = call("export", str(path), "--passphrase-file", str(firm))

    contents = sealed_file.unseal(sealed_file.read(path), PASSPHRASE)
    by_name = {account.name: account for account in contents.accounts}
    rows = {account.name: account for account in Account.objects.all()}
    why_torn = by_name["torn"].unusable
    assert by_name == {
        "alpha": SealedAccount(
            pk=rows["alpha"].pk,
            name="alpha",
            desk="delta",
            venue=rows["alpha"].venue.name,
            adapter="binance-usdm",
            base_url=NOWHERE,
            limit_override=6000,
            symbols=(BookSymbol("conditional", "ETHUSDT"), BookSymbol("ordinary", "BTCUSDT")),
            credentials=Credentials("alpha-key", "alpha-secret", "hmac"),
        ),
        "beta": SealedAccount(
            pk=rows["beta"].pk,
            name="beta",
            desk="delta",
            venue=rows["beta"].venue.name,
            adapter="coinswitch",
            base_url=NOWHERE,
            limit_override=None,
            symbols=(),
            credentials=Credentials("beta-key", "11" * 32, "ed25519"),
        ),
        "torn": replace(by_name["torn"], credentials=None, unusable=why_torn),
        "keyless": replace(
            by_name["keyless"],
            credentials=None,
            unusable="keyless has no credentials: enter its key and secret in the admin",
        ),
    }
    assert contents.disabled == (("off", "delta"),)
    assert "not a 32-byte Ed25519 seed" in why_torn
    assert said.splitlines() == [
        f"sealed 2 accounts into {path}",
        "  off is disabled: not in it",
        "Keep it away from its passphrase, and export anew when accounts or keys change.",
    ]
    assert sorted(complained.splitlines()) == [
        f"  keyless CANNOT BE SWEPT from it: {by_name['keyless'].unusable}",
        f"  torn CANNOT BE SWEPT from it: {why_torn}",
    ]
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_name, entry.at) == ("exported", shell_user(), contents.exported_at)
    assert entry.detail == f"{path}: 2 accounts; without usable credentials: keyless, torn"
    for secret in ("alpha-key", "alpha-secret", "11" * 32, PASSPHRASE):
        assert secret not in said + complained + entry.detail + path.read_text()


def test_export_over_a_file_needs_force_and_records_nothing_without(firm: Path, tmp_path: Path) -> None:
    path = tmp_path / "glass"
    path.write_text("something else")

    with pytest.raises(CommandError, match="is there already: give --force to replace it") as caught:
        call("export", str(path), "--passphrase-file", str(firm))
    recorded, kept = AuditEntry.objects.count(), path.read_text()
    call("export", str(path), "--passphrase-file", str(firm), "--force")

    assert (caught.value.returncode, recorded, kept) == (2, 0, "something else")
    assert sealed_file.unseal(path.read_bytes(), PASSPHRASE).exported_by == shell_user()
    assert AuditEntry.objects.count() == 1


def test_export_refuses_a_weak_passphrase_and_an_empty_firm(firm: Path, tmp_path: Path) -> None:
    path = tmp_path / "glass"
    weak = tmp_path / "weak"
    weak.write_text("short\n")

    with pytest.raises(CommandError, match="This passphrase is too short"):
        call("export", str(path), "--passphrase-file", str(weak))
    Account.objects.filter(name__in=["alpha", "beta"]).update(enabled=False)
    with pytest.raises(CommandError, match="no enabled account has usable credentials"):
        call("export", str(path), "--passphrase-file", str(firm))

    assert not path.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (0, "less than an hour ago (2026-11-20 20:54 UTC)"),
        (1, "24 hours ago (2026-11-20 20:54 UTC)"),
        (30, "30 days ago (2026-11-20 20:54 UTC)"),
        (
            -1,
            "2026-11-20 20:54 UTC, which is to come: CHECK THE CLOCK of this machine (2026-11-19 20:54 UTC)",
        ),
    ],
)
def test_age_of_a_file_is_told_and_a_clock_that_cannot_be_right(
    monkeypatch: pytest.MonkeyPatch, days: int, said: str
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: CONTENTS.exported_at + timedelta(days=days))

    assert shell.age(CONTENTS) == said


def test_check_says_what_is_in_a_file_and_no_secret(firm: Path, tmp_path: Path) -> None:
    path = tmp_path / "glass"
    sealed_file.write(path, sealed_file.seal(replace(CONTENTS, exported_at=timezone.now()), PASSPHRASE))

    said, _ = call("check", str(path), "--passphrase-file", str(firm))

    first, *accounts = said.splitlines()
    assert first.startswith("exported less than an hour ago (")
    assert [" ".join(line.split()) for line in accounts] == [
        "alpha delta Binance USD-M 2 known book symbols",
        "keyless delta Binance USD-M it has no credentials",
        "off is disabled: not in it",
    ]
    assert "made-up" not in said
