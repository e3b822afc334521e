"""USD-M futures (`/fapi`): the ordinary book, the algo book, and one countdown for each symbol.

https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api
"""

from collections.abc import Mapping
from typing import Any

from panicboard.simulator.accounts import USDM, Account
from panicboard.simulator.api import Call, Params, Route
from panicboard.simulator.binance_common import BinanceApi
from panicboard.simulator.book import Order


class UsdmApi(BinanceApi):
    """The USD-M futures API."""

    venue = USDM
    prefix = "/fapi/"
    pool = "fapi"
    books = ("ordinary", "algo")

    def make_routes(self) -> list[Route]:
        """Every call this API answers."""
        return [
            Route("GET", "/fapi/v1/time", self.time, security="none"),
            Route(
                "GET", "/fapi/v1/openOrders", self.open_orders, weight=lambda p: 1 if p.get("symbol") else 40
            ),
        ]

    def time(self, call: Call, params: Params) -> dict[str, int]:
        """GET /fapi/v1/time, weight 1."""
        return {"serverTime": call.now_ms}

    def open_orders(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET /fapi/v1/openOrders, weight 1 with a symbol, 40 without."""
        assert call.account is not None  # noqa: S101
        orders = self.world.books.open(call.account.name, "ordinary", params.get("symbol"))
        return [order.as_json() for order in orders]

    def seed(self, account: Account, book: str, fields: Mapping[str, Any]) -> Order:
        """Put one open order on a book."""
        serial = next(self.world.serial)
        now = self.world.now_ms()
        order = Order(
            account.name,
            book,
            fields["symbol"],
            str(serial),
            f"seed-{serial}",
            "BUY",
            "LIMIT",
            "1",
            created_ms=now,
            updated_ms=now,
        )
        return self.world.books.add(order)
