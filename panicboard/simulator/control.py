"""The control plane under `/simulator/`: set the scene, order bad days, read back what really happened.

JSON in and out, no authentication: it listens on the loopback interface. A wrong request is answered 400
with `{"error": ...}` saying what is wrong.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from panicboard.simulator.accounts import KEY_TYPES, Account, new_account
from panicboard.simulator.api import Api
from panicboard.simulator.book import Order
from panicboard.simulator.faults import Fault
from panicboard.simulator.world import Latency, Switches, World

Json = dict[str, Any]


class Control:
    """The control calls over one world."""

    def __init__(self, world: World, apis: dict[str, Api]) -> None:
        self.world = world
        self.apis = apis
        self.routes: dict[tuple[str, str], Callable[[Json], object]] = {
            ("POST", "accounts"): self.add_accounts,
            ("GET", "accounts"): self.list_accounts,
            ("POST", "orders"): self.add_orders,
            ("POST", "fill"): self.fill,
            ("POST", "expire"): self.expire,
            ("POST", "trigger"): self.trigger,
            ("POST", "latency"): self.set_latency,
            ("POST", "limits"): self.set_limits,
            ("POST", "switches"): self.set_switches,
            ("POST", "faults"): self.add_fault,
            ("GET", "faults"): self.list_faults,
            ("DELETE", "faults"): self.remove_faults,
            ("GET", "book"): self.book,
            ("GET", "log"): self.read_log,
            ("DELETE", "log"): self.clear_log,
            ("GET", "state"): self.state,
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
        except KeyError as exc:
            return web.json_response({"error": f"{exc} is missing"}, status=400)
        except (ValueError, TypeError, AttributeError) as exc:
            return web.json_response({"error": str(exc)}, status=400)

    # Accounts and orders.

    def add_accounts(self, given: Json) -> Json:
        """POST accounts: make some at a venue. Returns their names and keys.

        `venue`; `name`, or `count` and `prefix`; `key_type` (hmac), `market_maker` (true), `can_trade`
        (true).
        """
        venue, key_type = given["venue"], given.get("key_type", "hmac")
        if venue not in self.apis:
            raise ValueError(f"venue {venue!r} is not one of {', '.join(self.apis)}")
        if key_type not in KEY_TYPES:
            raise ValueError(f"key_type {key_type!r} is not one of {', '.join(KEY_TYPES)}")
        prefix = given.get("prefix", venue)
        count = int(given.get("count", 1))
        names = [given["name"]] if "name" in given else [f"{prefix}-{n:04d}" for n in range(1, count + 1)]
        made = []
        for name in names:
            account = new_account(name, venue, key_type, market_maker=given.get("market_maker", True))
            account.can_trade = given.get("can_trade", True)
            self.world.accounts.add(account)
            made.append(account.as_json())
        return {"accounts": made}

    def list_accounts(self, given: Json) -> Json:
        """GET accounts: all, with their keys."""
        return {"accounts": [account.as_json() for account in self.world.accounts]}

    def add_orders(self, given: Json) -> Json:
        """POST orders: put open orders on books. Returns them, or with `quiet` only their number.

        One spec, or `orders` with many. A spec is `account`, `symbol`, and optionally `book`, `count`, and
        any field of an order.
        """
        specs = given.get("orders", [given])
        seeded: list[Order] = []
        for spec in specs:
            fields_given = {key: value for key, value in spec.items() if key != "quiet"}
            account = self._account(fields_given.pop("account"))
            api = self.apis[account.venue]
            book = fields_given.pop("book", api.books[0])
            count = int(fields_given.pop("count", 1))
            seeded.extend(api.seed(account, book, fields_given) for _ in range(count))
        if given.get("quiet"):
            return {"count": len(seeded)}
        return _orders(seeded)

    def fill(self, given: Json) -> Json:
        """POST fill: execute the chosen open orders, wholly or by `quantity`."""
        chosen = self._chosen(given)
        for order in chosen:
            self._api_of(order).fill(order, given.get("quantity"))
        return _orders(chosen)

    def expire(self, given: Json) -> Json:
        """POST expire: end the chosen open orders as EXPIRED."""
        chosen = self._chosen(given)
        for order in chosen:
            self.world.books.finish(order, "EXPIRED", self.world.now_ms())
        return _orders(chosen)

    def trigger(self, given: Json) -> Json:
        """POST trigger: let the market touch the chosen conditional orders. Returns what they became.

        With `hold_ms` each is TRIGGERING for so long before it moves to the ordinary book.
        """
        chosen = self._chosen(given)
        hold_ms = int(given.get("hold_ms", 0))
        if not hold_ms:
            return _orders([self._api_of(order).trigger(order) for order in chosen])
        for order in chosen:
            order.status = "TRIGGERING"
            key = ("trigger", order.account, order.book, order.symbol, order.order_id)
            self.world.timers.set(key, hold_ms, partial(self._end_triggering, order))
        return _orders(chosen)

    # The venues' behaviour.

    def set_latency(self, given: Json) -> Json:
        """POST latency: `fixed_ms` and `jitter_ms` for a `venue`, or for all of them."""
        venues = [given["venue"]] if given.get("venue") else list(self.apis)
        latency = Latency(float(given.get("fixed_ms", 0)), float(given.get("jitter_ms", 0)))
        for venue in venues:
            if venue not in self.apis:
                raise ValueError(f"venue {venue!r} is not one of {', '.join(self.apis)}")
            self.world.latency[venue] = latency
        return {"latency": {venue: asdict(held) for venue, held in self.world.latency.items()}}

    def set_limits(self, given: Json) -> Json:
        """POST limits: `on` true or false for all, or a limit (null: none) by pool; `forget`."""
        for name, value in given.items():
            if name == "on":
                self.world.limits.switch(on=bool(value))
            elif name != "forget":
                self.world.limits.override(name, None if value is None else int(value))
        if given.get("forget"):
            self.world.limits.clear()
        return {"limits": self.world.limits.limits}

    def set_switches(self, given: Json) -> Json:
        """POST switches: behaviour about which the venues' own pages are silent or disagree."""
        known = {field.name: type(getattr(Switches(), field.name)) for field in fields(Switches)}
        for name, value in given.items():
            if name not in known:
                raise ValueError(f"switch {name!r} is not one of {', '.join(known)}")
            if not isinstance(value, known[name]):
                raise ValueError(f"switch {name!r} takes a value of type {known[name].__name__}")
            setattr(self.world.switches, name, value)
        return asdict(self.world.switches)

    def add_fault(self, given: Json) -> Json:
        """POST faults: one rule (see `faults`). Returns it with its id."""
        if given.get("account") is not None:
            self._account(given["account"])
        if given.get("kind") == "requote":
            self._need_requote(given)
        fault = self.world.faults.add(given)
        if fault.kind == "requote":
            self._requote(fault)
        return fault.as_json()

    def list_faults(self, given: Json) -> Json:
        """GET faults: the rules in force."""
        return {"faults": [fault.as_json() for fault in self.world.faults]}

    def remove_faults(self, given: Json) -> Json:
        """DELETE faults: one by `id`, or all."""
        if "id" in given:
            return {"faults": [self.world.faults.remove(int(given["id"])).as_json()]}
        removed = self.list_faults(given)
        self.world.faults.clear()
        return removed

    # Reading back.

    def book(self, given: Json) -> Json:
        """GET book: every order (`account`, `open=1` narrow it down); with `counts=1` only open counts."""
        account = given.get("account")
        if given.get("counts"):
            counts: dict[str, Json] = {}
            for (owner, book), shelf in self.world.books.shelves.items():
                if account in (None, owner) and shelf.open_count:
                    counts.setdefault(owner, {})[book] = shelf.open_count
            return {"open": sum(sum(books.values()) for books in counts.values()), "accounts": counts}
        orders = self.world.books.all(account)
        return _orders([order for order in orders if order.is_open or not given.get("open")])

    def read_log(self, given: Json) -> Json:
        """GET log: requests numbered above `since`, at most `limit`, of an `account` or `path` if given."""
        limit = int(given["limit"]) if "limit" in given else None
        entries = self.world.log.since(
            int(given.get("since", 0)), limit, given.get("account"), given.get("path")
        )
        return {"last_seq": self.world.log.last_seq, "requests": [entry.as_json() for entry in entries]}

    def clear_log(self, given: Json) -> Json:
        """DELETE log: forget the requests; numbering goes on."""
        self.world.log.clear()
        return {"last_seq": self.world.log.last_seq}

    def state(self, given: Json) -> Json:
        """GET state: how much there is of everything, what of the limits is used, what is set."""
        world = self.world
        now_ms = world.now_ms()
        return {
            "accounts": dict(Counter(account.venue for account in world.accounts)),
            "open_orders": world.books.open_count,
            "orders": sum(len(shelf.by_id) for shelf in world.books.shelves.values()),
            "requests": world.log.last_seq,
            "requests_per_s": world.log.count_since(time.time_ns() // 1000 - 5_000_000) / 5,
            "limits": world.limits.limits,
            "used": [
                {
                    "pool": pool,
                    "address": address,
                    "used": usage.used if usage.minute == now_ms // 60_000 else 0,
                    "refused": usage.refused,
                    "banned_until_ms": usage.banned_until_ms if usage.banned_until_ms > now_ms else 0,
                }
                for (pool, address), usage in world.limits.usages.items()
            ],
            "latency": {venue: asdict(latency) for venue, latency in world.latency.items()},
            "switches": asdict(world.switches),
            "faults": self.list_faults(given)["faults"],
            "countdowns": [
                {"account": key[1], "scope": key[2], "left_ms": world.timers.left_ms(key)}
                for key in world.timers
                if isinstance(key, tuple) and key[0] == "countdown"
            ],
            "firings": [asdict(firing) for firing in world.firings],
        }

    def reset(self, given: Json) -> Json:
        """POST reset: forget accounts, orders, usage, faults, countdowns, latency, switches and the log."""
        self.world.reset()
        return {}

    # Inner workings.

    def _account(self, name: str) -> Account:
        try:
            return self.world.accounts.by_name[name]
        except KeyError:
            raise ValueError(f"there is no account named {name!r}") from None

    def _api_of(self, order: Order) -> Api:
        return self.apis[self._account(order.account).venue]

    def _chosen(self, given: Json) -> list[Order]:
        """The open orders of an `account`, by `book`, `symbol` and `order_id` as far as given."""
        account = self._account(given["account"])
        wanted_id = str(given["order_id"]) if "order_id" in given else None
        books: Iterable[str] = [given["book"]] if "book" in given else self.apis[account.venue].books
        chosen = [
            order
            for book in books
            for order in self.world.books.open(account.name, book, given.get("symbol"))
            if wanted_id in (None, order.order_id)
        ]
        if not chosen:
            raise ValueError("no open order is meant by that")
        return chosen

    def _end_triggering(self, order: Order) -> None:
        if order.is_open:
            self._api_of(order).trigger(order)

    def _need_requote(self, given: Json) -> None:
        for name in ("account", "symbol", "ms"):
            if name not in given:
                raise KeyError(name)
        if float(given["ms"]) <= 0:
            raise ValueError("ms must be above 0")

    def _requote(self, fault: Fault) -> None:
        """Place the bot's next order in `ms`, until the rule is gone."""
        self.world.timers.set(("requote", fault.id), float(fault.options["ms"]), lambda: self._quote(fault))

    def _quote(self, fault: Fault) -> None:
        if fault not in self.world.faults.requotes or fault.account is None:
            return
        account = self._account(fault.account)
        api = self.apis[account.venue]
        api.seed(account, fault.options.get("book", api.books[0]), {"symbol": fault.options["symbol"]})
        self.world.faults.use(fault)
        self._requote(fault)


def _orders(orders: list[Order]) -> Json:
    return {"count": len(orders), "orders": [order.as_json() for order in orders]}
