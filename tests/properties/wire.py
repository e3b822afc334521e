"""A venue for property tests: adapters on the real requests stack, and a wire that answers anything."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import responses

from panicboard.venues import binance_portfolio_books, open_adapter
from panicboard.venues.base import Credentials, Limit, VenueAdapter
from panicboard.venues.errors import BudgetSpent
from panicboard.venues.http import clock_of

URL = "https://venue.example"
PAYLOADS = Path(__file__).parents[1] / "venues" / "payloads"
SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
KEYS = {
    "hmac": Credentials("my-api-key", "my-hmac-secret"),
    "ed25519": Credentials("my-api-key", SEED, "ed25519"),
}
_METHODS = ("GET", "POST", "DELETE")


class Bounded:
    """A budget for `calls` calls, so that no walk from page to page goes on forever."""

    def __init__(self, calls: int = 60) -> None:
        self.left = calls
        self.observed: list[int] = []
        self.blocked: list[int] = []

    def spend(self, limit: Limit, weight: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise BudgetSpent("the test's limit is used up", retry_after_ms=1000)

    def observe(self, limit: Limit, used: int) -> None:
        self.observed.append(used)

    def block(self, limit: Limit, retry_after_ms: int, why: str) -> None:
        self.blocked.append(retry_after_ms)


@dataclass(frozen=True)
class Answer:
    """What the wire answers to one request."""

    body: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def payload(name: str) -> Any:
    """A recorded payload by name, such as "binance_usdm/open_orders"."""
    return json.loads((PAYLOADS / f"{name}.json").read_text())


def adapter_of(slug: str, budget: Bounded | None = None) -> VenueAdapter:
    """An account at a venue whose clock was read just now, and that is known for nothing else."""
    now_ns = time.time_ns()
    clock_of(URL).set(now_ns // 1_000_000, now_ns, now_ns)
    binance_portfolio_books._algo_gone_at.clear()
    key = KEYS["ed25519" if slug == "coinswitch" else "hmac"]
    return open_adapter(slug, URL, key, budget=budget or Bounded(), account="alpha")


@contextlib.contextmanager
def answering(answer: Callable[[requests.PreparedRequest], Answer]) -> Iterator[responses.RequestsMock]:
    """Answer every request of the product's with this."""

    def reply(request: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        told = answer(request)
        headers = {"Content-Type": "application/json", **told.headers}
        return told.status, headers, told.body.encode("utf-8", "surrogatepass")

    with responses.RequestsMock(assert_all_requests_are_fired=False) as stubs:
        for method in _METHODS:
            stubs.add(_Callback(method, reply))
        yield stubs


class _Callback(responses.CallbackResponse):
    """Matches every request of its method, whatever its address."""

    def __init__(self, method: str, reply: Callable[[requests.PreparedRequest], Any]) -> None:
        super().__init__(method, URL, callback=reply, content_type=None)

    def matches(self, request: requests.PreparedRequest) -> tuple[bool, str]:
        return request.method == self.method, ""
