"""Checking signatures exactly as the venues do: over the literal strings that travelled."""

import base64
import binascii
import hmac
from urllib.parse import unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from panicboard.simulator.accounts import Account

_SHA256 = hashes.SHA256()
_PKCS1 = PKCS1v15()


def strip_signature(text: str) -> tuple[str, str | None]:
    """Split the `signature` pair off a query or form body. Returns the rest, and the raw value or None."""
    start = text.rfind("signature=")
    while start > 0 and text[start - 1] != "&":  # the end of another name
        start = text.rfind("signature=", 0, start)
    if start < 0:
        return text, None
    end = text.find("&", start)
    if end < 0:
        return text[: max(0, start - 1)], text[start + 10 :]
    return text[:start] + text[end + 1 :], text[start + 10 : end]


def signature_is_valid(account: Account, payload: str, signature: str) -> bool:
    """Check a Binance signature: HMAC-SHA256 in hex of any case; RSA and Ed25519 in base64.

    https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info#endpoint-security-type
    """
    text = payload.encode("utf-8", "surrogateescape")
    if account.public_key is None:
        expected = hmac.digest(account.secret.encode(), text, "sha256").hex()
        return hmac.compare_digest(expected.encode(), signature.lower().encode("utf-8", "replace"))
    try:
        raw = base64.b64decode(unquote(signature), validate=True)
        if isinstance(account.public_key, Ed25519PublicKey):
            account.public_key.verify(raw, text)
        else:
            account.public_key.verify(raw, text, _PKCS1, _SHA256)
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True
