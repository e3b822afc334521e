"""Accounts' credentials and proxies' URLs, sealed at rest. Nothing here is ever shown, logged or exported."""

import json
from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from panicboard.models import Account, Egress
from panicboard.venues.base import DIRECT, Credentials, Route


class CredentialsUnusable(Exception):
    """An account's credentials are missing or cannot be unsealed. The text says which and what to do."""


@cache
def _sealer() -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in settings.CREDENTIALS_KEYS])
    except ValueError as exc:
        raise ImproperlyConfigured(
            "CREDENTIALS_KEYS does not hold Fernet keys (32 bytes, URL-safe base64, comma between keys)"
        ) from exc


def seal(account: Account, *, api_key: str, secret: str) -> None:
    """Put a key and its secret on the account, sealed. Does not save."""
    content = json.dumps({"api_key": api_key, "secret": secret}).encode()
    account.sealed_credentials = _sealer().encrypt(content).decode()


def unseal(account: Account) -> Credentials:
    """The account's credentials, for a venue adapter. Raises CredentialsUnusable with what to do."""
    if not account.sealed_credentials:
        raise CredentialsUnusable(f"{account.name} has no credentials: enter its key and secret in the admin")
    try:
        content = json.loads(_sealer().decrypt(account.sealed_credentials.encode()))
    except InvalidToken:
        raise CredentialsUnusable(
            f"{account.name}'s credentials cannot be unsealed: CREDENTIALS_KEYS has changed; "
            "add the former key to it, or enter the credentials again"
        ) from None
    return Credentials(content["api_key"], content["secret"], account.key_type)


def seal_proxy(egress: Egress, url: str) -> None:
    """Put a proxy's URL on the egress, sealed: it may hold a password. Does not save."""
    egress.sealed_proxy = _sealer().encrypt(url.encode()).decode()


def routes_of(account: Account) -> tuple[Route, ...]:
    """The account's ways out, the first one first. Raises CredentialsUnusable with what to do."""
    first = _route(account.egress) if account.egress else DIRECT
    return (first, _route(account.second_egress)) if account.second_egress else (first,)


def _route(egress: Egress) -> Route:
    if not egress.sealed_proxy:
        return Route(egress.name, source_address=egress.source_address or "")
    try:
        url = _sealer().decrypt(egress.sealed_proxy.encode()).decode()
    except InvalidToken:
        raise CredentialsUnusable(
            f"the proxy of {egress.name} cannot be unsealed: CREDENTIALS_KEYS has changed; "
            "add the former key to it, or enter the proxy again"
        ) from None
    return Route(egress.name, proxy_url=url)
