"""What clients of portfolio margin read elsewhere: COIN-M and Spot `exchangeInfo`, and their prices.

Portfolio margin publishes no market data of its own, so a client loads the symbols of its cm and margin
books from /dapi and /api. Nothing else of those two APIs is here.
https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/Exchange-Information
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints#exchange-information
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from panicboard.simulator.accounts import PORTFOLIO, Account
from panicboard.simulator.api import Call, Params, Route
from panicboard.simulator.binance_common import BinanceApi, refuse
from panicboard.simulator.book import Order
from panicboard.simulator.portfolio_state import COINM_SYMBOLS, MARGIN_SYMBOLS
from panicboard.simulator.symbols import Symbol, mark_json, usdm_contract


class MarketsApi(BinanceApi):
    """An API of which only the public part is known."""

    venue = PORTFOLIO
    books = ()
    version: ClassVar[str]
    listing_weight: ClassVar[int]
    price_call: ClassVar[str]
    price_weight: ClassVar[int]
    listed: ClassVar[tuple[Symbol, ...]]

    def make_routes(self) -> list[Route]:
        """Every call this API answers."""
        base = f"{self.prefix}{self.version}"
        return [
            Route("GET", f"{base}/ping", self.ping, security="none"),
            Route("GET", f"{base}/time", self.time, security="none"),
            Route("GET", f"{base}/exchangeInfo", self.exchange_info, self.listing_weight, security="none"),
            Route("GET", f"{base}/{self.price_call}", self.price, self.price_weight, security="none"),
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
            "symbols": [self.entry(symbol) for symbol in self._asked(params)],
        }

    def price(self, call: Call, params: Params) -> object:
        """The present price of one symbol or of all, as the subclass's own call tells it."""
        raise NotImplementedError

    def entry(self, symbol: Symbol) -> dict[str, Any]:
        """One entry of `symbols`."""
        raise NotImplementedError

    def _asked(self, params: Params) -> list[Symbol]:
        wanted = params.get("symbol")
        found = [symbol for symbol in self.listed if wanted in (None, "", symbol.name)]
        if not found:
            raise refuse(-1121, "Invalid symbol.")
        return found

    def seed(self, account: Account, book: str, fields: Mapping[str, Any]) -> Order:
        """There are no orders here."""
        raise ValueError(f"{self.prefix} holds no orders")


class CoinMarginedMarkets(MarketsApi):
    """COIN-M futures; since 2026-06-30 they share the weight pool of USD-M."""

    prefix = "/dapi/"
    pool = "fapi"
    version = "v1"
    listing_weight = 1
    price_call = "premiumIndex"
    price_weight = 10
    listed = COINM_SYMBOLS

    def price(self, call: Call, params: Params) -> list[dict[str, Any]]:
        """GET premiumIndex, weight 10: a list, of one symbol or of all."""
        return [
            mark_json(symbol, call.now_ms) | {"pair": symbol.name.partition("_")[0]}
            for symbol in self._asked(params)
        ]

    def entry(self, symbol: Symbol) -> dict[str, Any]:
        """A perpetual contract."""
        return coinm_contract(symbol)


class SpotMarkets(MarketsApi):
    """The Spot market, whose symbols margin trades."""

    prefix = "/api/"
    pool = "api"
    version = "v3"
    listing_weight = 20
    price_call = "ticker/price"
    price_weight = 2
    listed = MARGIN_SYMBOLS

    def price(self, call: Call, params: Params) -> object:
        """GET ticker/price, weight 2 with a symbol: one object, or a list of all."""
        told = [{"symbol": symbol.name, "price": symbol.price} for symbol in self._asked(params)]
        return told[0] if params.get("symbol") else told

    def entry(self, symbol: Symbol) -> dict[str, Any]:
        """A pair."""
        return spot_pair(symbol)


def coinm_contract(symbol: Symbol) -> dict[str, Any]:
    """One entry of `symbols` in GET /dapi/v1/exchangeInfo."""
    contract = usdm_contract(symbol)
    contract["contractStatus"] = contract.pop("status")
    contract["filters"] = [rule for rule in contract["filters"] if rule["filterType"] != "MIN_NOTIONAL"]
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
        "filters": [
            *(rule for rule in usdm_contract(symbol)["filters"] if rule["filterType"] in wanted),
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": "5",
                "bidMultiplierDown": "0.2",
                "askMultiplierUp": "5",
                "askMultiplierDown": "0.2",
                "avgPriceMins": 5,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ],
        "permissions": ["SPOT", "MARGIN"],
    }
