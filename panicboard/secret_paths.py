"""Addresses that are all somebody has: a bot's, a wall's. They are shown once; only their hash is kept."""

import hashlib
import secrets

from django.http import HttpResponse


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    # A random secret of 256 bits: nothing is to be gained by a slow hash.
    return hashlib.sha256(secret.encode()).hexdigest()


def unlogged(response: HttpResponse) -> HttpResponse:
    """A reply whose path is not logged: Django logs that of every refusal, and the secret is in it."""
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
