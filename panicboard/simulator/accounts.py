"""The simulated accounts and their keys.

Keys are derived from venue and name, so that a restarted simulator knows the same keys as before (RSA
keys excepted: they cannot be derived cheaply).
"""

import base64
import hashlib
import string
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key

USDM = "binance-usdm"
OPTIONS = "binance-options"
PORTFOLIO = "binance-portfolio"
COINSWITCH = "coinswitch"
VENUES = (USDM, OPTIONS, PORTFOLIO, COINSWITCH)
KEY_TYPES = ("hmac", "ed25519", "rsa")

_LETTERS = string.ascii_letters + string.digits

PublicKey = Ed25519PublicKey | RSAPublicKey


@dataclass(slots=True, eq=False)
class Account:
    """One account at one venue; `public_key` is what checks its signatures (None for HMAC)."""

    name: str
    venue: str
    api_key: str
    secret: str = field(repr=False)
    key_type: str
    public_key: PublicKey | None = field(default=None, repr=False)
    market_maker: bool = True
    can_trade: bool = True

    def as_json(self) -> dict[str, str]:
        """The account as control calls and the first line of output show it, secret included."""
        return {
            "name": self.name,
            "venue": self.venue,
            "api_key": self.api_key,
            "secret": self.secret,
            "key_type": self.key_type,
        }


class Accounts:
    """All accounts, found by name or by venue and API key."""

    def __init__(self) -> None:
        self.by_name: dict[str, Account] = {}
        self._by_key: dict[tuple[str, str], Account] = {}

    def __iter__(self) -> Iterator[Account]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def add(self, account: Account) -> None:
        """Register an account. Raises ValueError when its name is taken."""
        if account.name in self.by_name:
            raise ValueError(f"there is an account named {account.name!r} already")
        self.by_name[account.name] = account
        self._by_key[account.venue, account.api_key] = account

    def by_key(self, venue: str, api_key: str) -> Account | None:
        """The account of this venue with this API key, if there is one."""
        return self._by_key.get((venue, api_key))


def new_account(name: str, venue: str, key_type: str, *, market_maker: bool = True) -> Account:
    """Make an account with keys as its venue issues them (CoinSwitch: the hex of an Ed25519 pair)."""
    if venue == COINSWITCH:
        key = Ed25519PrivateKey.from_private_bytes(_seed(venue, name, "ed25519"))
        api_key = key.public_key().public_bytes_raw().hex()
        return Account(name, venue, api_key, key.private_bytes_raw().hex(), "ed25519", key.public_key())
    api_key = _token(venue, name, "key")
    if key_type == "hmac":
        secret = _token(venue, name, "secret")
        return Account(name, venue, api_key, secret, key_type, market_maker=market_maker)
    private = (
        Ed25519PrivateKey.from_private_bytes(_seed(venue, name, "ed25519"))
        if key_type == "ed25519"
        else generate_private_key(public_exponent=65537, key_size=2048)
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Account(
        name, venue, api_key, pem.decode(), key_type, private.public_key(), market_maker=market_maker
    )


def _seed(*words: str) -> bytes:
    return hashlib.sha256("\0".join(("panicboard simulator", *words)).encode()).digest()


def _token(*words: str) -> str:
    """64 letters and digits, the look of a Binance key."""
    wide = base64.b16encode(_seed(*words, "1") + _seed(*words, "2"))
    return "".join(_LETTERS[int(wide[i : i + 2], 16) % 62] for i in range(0, 128, 2))
