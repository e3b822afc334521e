"""The address that a bot calls to say that it lives: its secret opens it, and is nowhere else."""

import logging

import pytest
from django.test import Client
from django.utils import timezone

from panicboard import life_signs
from panicboard.models import Account, LifeSign
from tests.factories import make_account
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def account(simulator: SimulatorProcess) -> Account:
    return make_account(simulator)


def test_bot_is_heard_at_its_address(client: Client, account: Account) -> None:
    path = life_signs.make_bot_address(account, by="ann")
    began_at = timezone.now()

    reply = client.post(path)

    sign = LifeSign.objects.get()
    assert (reply.status_code, reply.content) == (200, b"ok\n")
    assert sign.last_at is not None
    assert sign.last_at >= began_at


def test_only_the_hash_of_the_secret_is_kept(account: Account) -> None:
    path = life_signs.make_bot_address(account, by="ann")

    secret = path.rstrip("/").rpartition("/")[2]
    kept = [str(value) for sign in LifeSign.objects.values() for value in sign.values()]
    assert len(secret) >= 40
    assert not any(secret in value for value in kept)


def test_new_address_ends_the_former_one(client: Client, account: Account) -> None:
    former = life_signs.make_bot_address(account, by="ann")
    life_signs.make_bot_address(account, by="ann")

    reply = client.post(former)

    assert (reply.status_code, LifeSign.objects.get().last_at) == (404, None)


@pytest.mark.parametrize(("method", "status"), [("get", 405), ("head", 405), ("put", 405)])
def test_looking_at_the_address_says_nothing(
    client: Client, account: Account, method: str, status: int
) -> None:
    path = life_signs.make_bot_address(account, by="ann")

    reply = getattr(client, method)(path)

    assert (reply.status_code, LifeSign.objects.get().last_at) == (status, None)


def test_no_refusal_logs_the_secret(
    client: Client, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    path = life_signs.make_bot_address(account, by="ann")
    caplog.set_level(logging.DEBUG)

    client.get(path)
    client.post("/beat/a-secret-of-yesterday/")

    said = [record.getMessage() for record in caplog.records]
    assert not any("/beat/" in text for text in said), said


def test_silence_that_makes_no_sense_is_refused(account: Account) -> None:
    with pytest.raises(ValueError, match="2 to 86400 s make sense"):
        life_signs.make_bot_address(account, by="ann", silence_s=1)
