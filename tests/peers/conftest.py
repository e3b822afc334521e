"""What the peer tests share: clients that others wrote, unmodified, pointed at the simulator."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from binance_common.configuration import ConfigurationRestAPI

if TYPE_CHECKING:
    from tests.simulator_process import SimulatorProcess


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the peers from asking a proxy for the simulator."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(autouse=True)
def sdk_takes_every_reply(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail where the official SDK's strict models do not fit a reply: it only warns, and goes on."""
    yield
    complaints = [
        record.getMessage()
        for when in ("setup", "call")
        for record in caplog.get_records(when)
        if record.levelno >= logging.WARNING and " response " in record.getMessage()
    ]
    assert complaints == []


def sdk_config(
    simulator: "SimulatorProcess", account: dict[str, str], **options: str
) -> ConfigurationRestAPI:
    """The SDK's own configuration for an account: HMAC by its secret, other keys by their PEM text."""
    key = "api_secret" if account["key_type"] == "hmac" else "private_key"
    credentials = {"api_key": account["api_key"], key: account["secret"], **options}
    return ConfigurationRestAPI(**credentials, base_path=simulator.url, retries=0, timeout=5000)
