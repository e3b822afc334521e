"""What one simulated venue API is: routes, a check of each call in the venue's own order, and the action.

The server makes a `Call` of each request, applies latency and faults, and hands it to the `Api` its path
belongs to. `perform` is synchronous, so that each call acts at one instant.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from panicboard.simulator.accounts import Account
from panicboard.simulator.book import Order

if TYPE_CHECKING:
    from panicboard.simulator.world import World

Params = dict[str, str]


@dataclass(slots=True)
class Call:
    """One request as it arrived: `query` and `body` literal, `now_ms` by the venue's clock."""

    method: str
    path: str
    query: str
    body: bytes
    headers: Mapping[str, str]
    address: str  # whom limits by address are counted for
    arrived_us: int
    now_ms: int
    account: Account | None
    revoked: bool = False  # a fault says that this key no longer exists
    weight: int = 0  # what the call cost, once it is known

    @property
    def owner(self) -> str:
        """The name of the account that called; only a route that asks for a key has one."""
        if self.account is None:
            raise LookupError(f"{self.method} {self.path} was answered without a key")
        return self.account.name


@dataclass(slots=True)
class Reply:
    """An answer, ready to be sent."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut: bool = False  # send half of it, then hang up


class Refusal(Exception):
    """The venue's answer to a call is no: HTTP status and body."""

    def __init__(self, status: int, payload: object, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, payload)
        self.status = status
        self.payload = payload
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Route:
    """One call of an API. `weight` may depend on the parameters; `security`: none, key, signed."""

    method: str
    path: str
    handler: Callable[[Call, Params], Any]
    weight: int | Callable[[Params], int] = 1
    security: str = "signed"


def encode(payload: object) -> bytes:
    """JSON as the venues send it: no blanks, text in UTF-8."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


class Api(ABC):
    """One venue's API: every path under `prefix` is its own."""

    venue: ClassVar[str]
    prefix: ClassVar[str]
    key_header: ClassVar[str]
    books: ClassVar[tuple[str, ...]]

    def __init__(self, world: "World") -> None:
        self.world = world
        self.routes = {(route.method, route.path): route for route in self.make_routes()}

    @abstractmethod
    def make_routes(self) -> list[Route]:
        """Every call this API answers."""

    @abstractmethod
    def perform(self, call: Call) -> Reply:
        """Check a call in the venue's own order, act, and answer; never raises for a bad request."""

    @abstractmethod
    def error(self, call: Call, status: int, code: int, text: str) -> Reply:
        """An error in this venue's form; faults are answered through it."""

    @abstractmethod
    def seed(self, account: Account, book: str, fields: Mapping[str, Any]) -> Order:
        """Put one open order on a book, from `symbol` and whatever else is given; the rest is made up.

        Raises ValueError when a field makes no sense. A symbol the venue does not know yet becomes known.
        """

    def fill(self, order: Order, quantity: str | None = None) -> None:
        """Let the market execute an open order, wholly or by `quantity`."""
        self.world.books.fill(order, self.world.now_ms(), quantity)

    def trigger(self, order: Order) -> Order:
        """Let the market touch a conditional order. Returns the ordinary order it became."""
        raise ValueError(f"{order.book} orders of {self.venue} do not trigger")
