"""The accounts that the simulator's tests speak as."""

from typing import TYPE_CHECKING

import pytest

from tests.simulator.plain_client import PlainClient

if TYPE_CHECKING:
    from tests.simulator_process import SimulatorProcess


@pytest.fixture
def usdm(simulator: "SimulatorProcess") -> PlainClient:
    """A USD-M account named alpha."""
    return PlainClient(simulator.url, simulator.create_account("binance-usdm", "alpha"))


@pytest.fixture
def options(simulator: "SimulatorProcess") -> PlainClient:
    """An options account of a market maker named alpha."""
    return PlainClient(simulator.url, simulator.create_account("binance-options", "alpha"))
