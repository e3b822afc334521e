"""The market listings that clients of portfolio margin read elsewhere: COIN-M and Spot `exchangeInfo`.

Portfolio margin publishes no listing of its own, so a client such as ccxt loads the symbols of its cm and
margin books from /dapi and /api. Nothing else of those two APIs is here.
https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/Exchange-Information
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints#exchange-information
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from panicboard.simulator.accounts import PORTFOLIO, Account
from panicboard.simulator.api import Call, Params, Route
from panicboard.simulator.binance_common import BinanceApi
from panicboard.simulator.book import Order
from panicboard.simulator.portfolio_state import COINM_SYMBOLS, MARGIN_SYMBOLS
from panicboard.simulator.symbols import Symbol, usdm_contract


class MarketsApi(BinanceApi):
    """An API of which only the public part is known."""

    venue = PORTFOLIO
    books = ()
    version: ClassVar[str]
    listing_weight: ClassVar[int]

    def make_routes(self) -> list[Route]:
        """Every call this API answers."""
        base = f"{self.prefix}{self.version}"
        return [
            Route("GET", f"{base}/ping", self.ping, security="none"),
            Route("GET", f"{base}/time", self.time, security="none"),
            Route("GET", f"{base}/exchangeInfo", self.exchange_info, self.listing_weight, security="none"),
        ]

    def ping(self, call: Call, params: Params) -> dict[str, str]:
        """GET ping."""
        return {}

    def time(self, call: Call, params: Params) -> dict[str, int]:
        """GET time."""
        return {"serverTime": call.now_ms}

    def exchange_info(self, call: Call, params: Params) -> dict[str, Any]:
        """GET exchangeInfo."""
        return {
            "timezone": "UTC",
            "serverTime": call.now_ms,
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": self.listing(),
        }

    def listing(self) -> list[dict[str, Any]]:
        """The entries of `symbols`."""
        raise NotImplementedError

    def seed(self, account: Account, book: str, fields: Mapping[str, Any]) -> Order:
        """There are no orders here."""
        raise ValueError(f"{self.prefix} holds no orders")


class CoinMarginedMarkets(MarketsApi):
    """COIN-M futures; since 2026-06-30 they share the weight pool of USD-M."""

    prefix = "/dapi/"
    pool = "fapi"
    version = "v1"
    listing_weight = 1

    def listing(self) -> list[dict[str, Any]]:
        """One perpetual contract for each symbol."""
        return [coinm_contract(symbol) for symbol in COINM_SYMBOLS]


class SpotMarkets(MarketsApi):
    """The Spot market, whose symbols margin trades."""

    prefix = "/api/"
    pool = "api"
    version = "v3"
    listing_weight = 20

    def listing(self) -> list[dict[str, Any]]:
        """One pair for each symbol."""
        return [spot_pair(symbol) for symbol in MARGIN_SYMBOLS]


def coinm_contract(symbol: Symbol) -> dict[str, Any]:
    """One entry of `symbols` in GET /dapi/v1/exchangeInfo."""
    contract = usdm_contract(symbol)
    contract["contractStatus"] = contract.pop("status")
    return contract | {
        "pair": symbol.name.partition("_")[0],
        "marginAsset": symbol.base,
        "contractSize": 100 if symbol.base == "BTC" else 10,
        "equalQtyPrecision": 4,
    }


def spot_pair(symbol: Symbol) -> dict[str, Any]:
    """One entry of `symbols` in GET /api/v3/exchangeInfo."""
    wanted = ("PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE")
    return {
        "symbol": symbol.name,
        "status": "TRADING",
        "baseAsset": symbol.base,
        "baseAssetPrecision": 8,
        "quoteAsset": symbol.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": [
            "LIMIT",
            "LIMIT_MAKER",
            "MARKET",
            "STOP_LOSS",
            "STOP_LOSS_LIMIT",
            "TAKE_PROFIT",
            "TAKE_PROFIT_LIMIT",
        ],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [rule for rule in usdm_contract(symbol)["filters"] if rule["filterType"] in wanted],
        "permissions": ["SPOT", "MARGIN"],
    }
