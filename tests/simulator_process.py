"""The simulator as a process, for tests: `pytest_plugins = ["tests.simulator_process"]`, then the fixtures.

`simulator_server` is one process for the whole session; `simulator` is the same, emptied before each test.
Test modules import names from here too, before pytest could rewrite its asserts: PYTEST_DONT_REWRITE.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests


@dataclass(frozen=True)
class SimulatorProcess:
    """A running simulator and its control plane."""

    url: str
    session: requests.Session

    @classmethod
    def at(cls, url: str) -> "SimulatorProcess":
        """The simulator at an address."""
        session = requests.Session()
        session.trust_env = False
        return cls(url, session)

    def control(
        self, method: str, path: str, payload: dict[str, Any] | None = None, **query: str | int
    ) -> Any:
        """Make a control call. Raises AssertionError with the simulator's own words when it is refused."""
        reply = self.session.request(
            method, f"{self.url}/simulator/{path}", json=payload, params=query, timeout=60
        )
        assert reply.status_code == 200, reply.text
        return reply.json()

    def create_account(self, venue: str, name: str = "alpha", **options: object) -> dict[str, str]:
        """Make an account: name, venue, api_key, secret, key_type."""
        made = self.control("POST", "accounts", {"venue": venue, "name": name, **options})
        account: dict[str, str] = made["accounts"][0]
        return account

    def seed(self, account: str, symbol: str, **fields: object) -> list[dict[str, Any]]:
        """Put open orders on a book (`book`, `count`, and any field of the order)."""
        spec = {"account": account, "symbol": symbol, **fields}
        orders: list[dict[str, Any]] = self.control("POST", "orders", spec)["orders"]
        return orders

    def fault(self, kind: str, **options: object) -> int:
        """Order a bad day; returns the rule's id."""
        return int(self.control("POST", "faults", {"kind": kind, **options})["id"])

    def clear_faults(self) -> None:
        """End every bad day."""
        self.control("DELETE", "faults")

    def book(self, account: str | None = None, *, only_open: bool = True) -> list[dict[str, Any]]:
        """The orders on the books, from the simulator's own memory."""
        query = ({"account": account} if account else {}) | ({"open": "1"} if only_open else {})
        orders: list[dict[str, Any]] = self.control("GET", "book", None, **query)["orders"]
        return orders

    def log(self, account: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        """The requests received, oldest first."""
        query = {"since": str(since)} | ({"account": account} if account else {})
        entries: list[dict[str, Any]] = self.control("GET", "log", None, **query)["requests"]
        return entries

    def reset(self) -> None:
        """Forget accounts, orders, faults, limits and the log."""
        self.control("POST", "reset")


def start_simulator(*arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Start a simulator on a free port. Returns the process and its first line, parsed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "panicboard.simulator", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def stop_simulator(process: subprocess.Popen[str]) -> int:
    """Ask it to end, and wait. Returns its exit status."""
    process.terminate()
    try:
        return process.wait(10)
    finally:
        process.kill()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="session")
def simulator_server() -> Iterator[SimulatorProcess]:
    """One simulator process for the whole test session."""
    process, first_line = start_simulator()
    yield SimulatorProcess.at(first_line["url"])
    stop_simulator(process)


@pytest.fixture
def simulator(simulator_server: SimulatorProcess) -> SimulatorProcess:
    """The session's simulator with nothing in it: real limits, no latency, no faults."""
    simulator_server.reset()
    return simulator_server
