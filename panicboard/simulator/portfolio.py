"""Portfolio margin (`/papi`): five books and the account, without a countdown and without server time.

https://developers.binance.com/docs/derivatives/portfolio-margin/general-info
"""

from collections.abc import Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from panicboard.simulator.accounts import PORTFOLIO, Account
from panicboard.simulator.api import Call, Params, Reply, Route, encode
from panicboard.simulator.binance_common import BinanceApi
from panicboard.simulator.book import Order
from panicboard.simulator.limits import ORDERS_PER_MINUTE
from panicboard.simulator.portfolio_conditional import AlgoCalls, ConditionalBook, StrategyCalls
from panicboard.simulator.portfolio_futures import FuturesBook
from panicboard.simulator.portfolio_margin import MarginBook
from panicboard.simulator.portfolio_state import PortfolioState

if TYPE_CHECKING:
    from panicboard.simulator.world import World


class PortfolioApi(BinanceApi):
    """The portfolio margin API."""

    venue = PORTFOLIO
    prefix = "/papi/"
    pool = "papi"
    books = ("um", "um_conditional", "cm", "cm_conditional", "margin")

    def __init__(self, world: "World") -> None:
        self.state = PortfolioState(world, self.count_orders)
        self.futures = {book: FuturesBook(self.state, book) for book in ("um", "cm")}
        self.conditional = {
            f"{product}_conditional": ConditionalBook(self.state, product) for product in ("um", "cm")
        }
        self.margin = MarginBook(self.state)
        super().__init__(world)

    def make_routes(self) -> list[Route]:
        """Every call this API answers."""
        return [
            Route("GET", "/papi/v1/ping", self.ping, security="none"),
            Route("GET", "/papi/v1/account", self.account, weight=20),
            Route("GET", "/papi/v1/um/accountConfig", self.account_config, weight=5),
            Route("GET", "/papi/v1/rateLimit/order", self.order_limits),
            *self.futures["um"].routes(),
            *AlgoCalls(self.conditional["um_conditional"]).routes(),
            *StrategyCalls(self.conditional["um_conditional"]).routes(),
            *self.futures["cm"].routes(),
            *StrategyCalls(self.conditional["cm_conditional"]).routes(),
            *self.margin.routes(),
        ]

    def ping(self, call: Call, params: Params) -> Reply:
        """GET ping, weight 1: its Date header is the only clock of this API."""
        return Reply(200, encode({}), {"Date": formatdate(call.now_ms / 1000, usegmt=True)})

    def account(self, call: Call, params: Params) -> dict[str, Any]:
        """GET account, weight 20."""
        return {
            "uniMMR": "5167.92171923",
            "accountEquity": "122607.35137903",
            "actualEquity": "73.47428058",
            "accountInitialMargin": "23.72469206",
            "accountMaintMargin": "23.72469206",
            "accountStatus": "NORMAL",
            "virtualMaxWithdrawAmount": "1627523.32459208",
            "totalAvailableBalance": "122583.62668697",
            "totalMarginOpenLoss": "0",
            "updateTime": call.now_ms,
        }

    def account_config(self, call: Call, params: Params) -> dict[str, Any]:
        """GET um/accountConfig, weight 5."""
        can_trade = call.account is not None and call.account.can_trade
        return {
            "feeTier": 0,
            "canTrade": can_trade,
            "canDeposit": True,
            "canWithdraw": False,
            "dualSidePosition": False,
            "updateTime": 1724416653850,
            "multiAssetsMargin": False,
            "tradeGroupId": -1,
        }

    def order_limits(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET rateLimit/order, weight 1."""
        return [
            {
                "rateLimitType": "ORDERS",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": ORDERS_PER_MINUTE,
            }
        ]

    def seed(self, account: Account, book: str, fields: Mapping[str, Any]) -> Order:
        """Put one open order on a book; on margin, type OCO makes a list of two."""
        if book in self.futures:
            return self.futures[book].seed(account.name, fields)
        if book in self.conditional:
            return self.conditional[book].seed(account.name, fields)
        if book == "margin":
            return self.margin.seed(account.name, fields)
        raise ValueError(f"{self.venue} has no book {book!r}; there are {', '.join(self.books)}")

    def fill(self, order: Order, quantity: str | None = None) -> None:
        """Let the market execute an open order; on margin that ends the other leg of its list."""
        super().fill(order, quantity)
        if order.book == "margin":
            self.margin.end_other_leg(order)

    def trigger(self, order: Order) -> Order:
        """Let the market touch a conditional order: it moves to the ordinary book, on margin it stays."""
        if order.book in self.conditional:
            return self.conditional[order.book].trigger(order)
        if order.book == "margin":
            return self.margin.trigger(order)
        return super().trigger(order)
