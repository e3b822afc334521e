"""What the peer tests share: clients that others wrote, unmodified, pointed at the simulator."""

import logging
from collections.abc import Iterator

import pytest


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
