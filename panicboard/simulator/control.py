"""The control plane under `/simulator/`: set the scene, order bad days, read back what really happened.

JSON in and out, no authentication: it listens on the loopback interface. A wrong request is answered 400
with `{"error": ...}` saying what is wrong.
"""

import json
from collections.abc import Callable
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from panicboard.simulator.accounts import Account, new_account
from panicboard.simulator.api import Api
from panicboard.simulator.book import Order
from panicboard.simulator.world import World

Json = dict[str, Any]


class Control:
    """The control calls over one world."""

    def __init__(self, world: World, apis: dict[str, Api]) -> None:
        self.world = world
        self.apis = apis
        self.routes: dict[tuple[str, str], Callable[[Json], object]] = {
            ("POST", "accounts"): self.add_accounts,
            ("POST", "orders"): self.add_orders,
            ("GET", "book"): self.book,
            ("GET", "log"): self.read_log,
            ("POST", "reset"): self.reset,
        }

    def handle(self, method: str, path: str, query: str, body: bytes) -> web.Response:
        """Answer one control call."""
        action = self.routes.get((method, path.removeprefix("/simulator/")))
        if action is None:
            return web.json_response({"error": f"there is no {method} {path}"}, status=404)
        try:
            given = {**dict(parse_qsl(query)), **(json.loads(body) if body else {})}
            return web.json_response(action(given))
        except (ValueError, KeyError, TypeError) as exc:
            return web.json_response({"error": f"{type(exc).__name__}: {exc}"}, status=400)

    def add_accounts(self, given: Json) -> object:
        """POST accounts: `venue`, and `name`, or `count` and `prefix`; `key_type`, `market_maker`."""
        venue = given["venue"]
        count = int(given.get("count", 1))
        prefix = given.get("prefix", venue)
        names = [given["name"]] if "name" in given else [f"{prefix}-{n:04d}" for n in range(count)]
        made = []
        for name in names:
            account = new_account(
                name, venue, given.get("key_type", "hmac"), market_maker=given.get("market_maker", True)
            )
            self.world.accounts.add(account)
            made.append(account.as_json())
        return {"accounts": made}

    def add_orders(self, given: Json) -> object:
        """POST orders: one spec, or `orders` with many; each an account, a book, and a count or fields."""
        specs = given["orders"] if "orders" in given else [given]
        seeded: list[Order] = []
        for spec in specs:
            fields = dict(spec)
            account = self._account(fields.pop("account"))
            api = self.apis[account.venue]
            book = fields.pop("book", api.books[0])
            count = int(fields.pop("count", 1))
            seeded.extend(api.seed(account, book, fields) for _ in range(count))
        if given.get("quiet"):
            return {"count": len(seeded)}
        return {"count": len(seeded), "orders": [order.as_json() for order in seeded]}

    def book(self, given: Json) -> object:
        """GET book: every order (`account`, `open=1` narrow it down; `counts=1`: only numbers)."""
        orders = self.world.books.all(given.get("account"))
        if given.get("open") == "1":
            orders = (order for order in orders if order.is_open)
        return {"orders": [order.as_json() for order in orders]}

    def read_log(self, given: Json) -> object:
        """GET log: requests received after number `since`."""
        entries = self.world.log.since(int(given.get("since", 0)))
        limit = int(given["limit"]) if "limit" in given else None
        return {
            "last_seq": self.world.log.last_seq,
            "requests": [entry.as_json() for entry in islice(entries, limit)],
        }

    def reset(self, given: Json) -> object:
        """POST reset: forget everything."""
        self.world.reset()
        return {}

    def _account(self, name: str) -> Account:
        try:
            return self.world.accounts.by_name[name]
        except KeyError:
            raise ValueError(f"there is no account named {name!r}") from None
