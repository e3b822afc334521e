"""Credentials at rest: sealed, unsealed with any of the keys, and never told to anybody."""

import logging
from collections.abc import Callable, Iterator

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from panicboard import credentials
from panicboard.credentials import CredentialsUnusable
from panicboard.models import Account
from panicboard.venues.base import Credentials

API_KEY, SECRET = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zv", "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP"
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def use_keys(settings: Settings) -> Iterator[Callable[..., None]]:
    """Go on with other CREDENTIALS_KEYS, as after a restart."""

    def use(*keys: str) -> None:
        settings.CREDENTIALS_KEYS = list(keys)
        credentials._sealer.cache_clear()

    yield use
    credentials._sealer.cache_clear()


def sealed_account() -> Account:
    account = Account(name="alpha", key_type="ed25519")
    credentials.seal(account, api_key=API_KEY, secret=SECRET)
    return account


def test_sealed_credentials_come_back_whole() -> None:
    assert credentials.unseal(sealed_account()) == Credentials(API_KEY, SECRET, "ed25519")


def test_sealing_hides_key_and_secret() -> None:
    one, two = sealed_account(), sealed_account()

    assert one.sealed_credentials != two.sealed_credentials
    assert not {API_KEY, SECRET} & {one.sealed_credentials[n:][:32] for n in range(400)}


def test_text_of_a_secret_may_hold_anything() -> None:
    account = Account(name="alpha")
    pem = "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"

    credentials.seal(account, api_key="测试\"key'", secret=pem)

    assert credentials.unseal(account) == Credentials("测试\"key'", pem, "hmac")


def test_rotated_key_still_opens_what_the_former_sealed(use_keys: Callable[..., None]) -> None:
    use_keys(OLD)
    account = sealed_account()

    use_keys(NEW, OLD)

    assert credentials.unseal(account) == Credentials(API_KEY, SECRET, "ed25519")


def test_newest_key_seals(use_keys: Callable[..., None]) -> None:
    use_keys(NEW, OLD)
    account = sealed_account()

    use_keys(NEW)

    assert credentials.unseal(account) == Credentials(API_KEY, SECRET, "ed25519")


def test_missing_credentials_say_what_to_do() -> None:
    with pytest.raises(CredentialsUnusable) as caught:
        credentials.unseal(Account(name="alpha"))

    assert str(caught.value) == "alpha has no credentials: enter its key and secret in the admin"


@pytest.mark.parametrize("damage", ["other key", "cut off", "no token"])
def test_credentials_that_cannot_be_unsealed_say_what_to_do(
    use_keys: Callable[..., None], damage: str
) -> None:
    use_keys(OLD)
    account = sealed_account()
    if damage == "other key":
        use_keys(NEW)
    else:
        sealed = account.sealed_credentials
        account.sealed_credentials = sealed[:-8] if damage == "cut off" else "plain text"

    with pytest.raises(CredentialsUnusable) as caught:
        credentials.unseal(account)

    assert str(caught.value) == (
        "alpha's credentials cannot be unsealed: CREDENTIALS_KEYS has changed; "
        "add the former key to it, or enter the credentials again"
    )
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("keys", [["not a key"], []], ids=["no Fernet key", "none at all"])
def test_settings_without_usable_keys_name_the_variable(
    use_keys: Callable[..., None], keys: list[str]
) -> None:
    use_keys(*keys)

    with pytest.raises(ImproperlyConfigured) as caught:
        sealed_account()

    assert str(caught.value) == (
        "CREDENTIALS_KEYS does not hold Fernet keys (32 bytes, URL-safe base64, comma between keys)"
    )


def test_nothing_secret_is_said_of_an_account_or_its_credentials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    account = sealed_account()
    unsealed = credentials.unseal(account)

    said = f"{account} {account!r} {unsealed} {unsealed!r} {caplog.text}"

    assert said == "alpha <Account: alpha> Credentials(key_type='ed25519') Credentials(key_type='ed25519') "
