"""The symbols the simulated venues list, and what their `exchangeInfo` calls say of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

ONBOARD_MS = 1_569_398_400_000
FUNDING_MS = 8 * 3600 * 1000
PERPETUAL_END_MS = 4_133_404_800_000  # the venue's "never", 2100-12-25


@dataclass(frozen=True, slots=True)
class Symbol:
    """A contract: its digits after the point, and a price for made-up orders."""

    name: str
    base: str
    quote: str
    price: str
    price_digits: int = 2
    quantity_digits: int = 3


USDM_SYMBOLS = (
    Symbol("BTCUSDT", "BTC", "USDT", "91350.0", 1),
    Symbol("ETHUSDT", "ETH", "USDT", "3012.40"),
    Symbol("SOLUSDT", "SOL", "USDT", "141.20"),
    Symbol("BNBUSDT", "BNB", "USDT", "902.10"),
    Symbol("XRPUSDT", "XRP", "USDT", "2.1140", 4, 1),
    Symbol("DOGEUSDT", "DOGE", "USDT", "0.15820", 5, 0),
    Symbol("ADAUSDT", "ADA", "USDT", "0.46150", 5, 0),
    Symbol("AVAXUSDT", "AVAX", "USDT", "14.120", 3, 0),
    Symbol("LINKUSDT", "LINK", "USDT", "13.410", 3, 2),
    Symbol("DOTUSDT", "DOT", "USDT", "2.511", 3, 1),
    Symbol("LTCUSDT", "LTC", "USDT", "91.80", 2),
    Symbol("BCHUSDT", "BCH", "USDT", "512.40", 2),
    Symbol("TRXUSDT", "TRX", "USDT", "0.28110", 5, 0),
    Symbol("NEARUSDT", "NEAR", "USDT", "2.214", 3, 0),
    Symbol("ARBUSDT", "ARB", "USDT", "0.22140", 5, 1),
    Symbol("SUIUSDT", "SUI", "USDT", "1.5200", 4, 1),
    Symbol("BTCUSDC", "BTC", "USDC", "91352.0", 1),
    Symbol("ETHUSDC", "ETH", "USDC", "3012.60"),
    Symbol("币安人生USDT", "币安人生", "USDT", "0.15240", 5, 0),
    Symbol("测试USDT", "测试", "USDT", "1.0240", 4, 0),
)


def unlisted(name: str) -> Symbol:
    """A symbol that orders were seeded on although the venue does not list it by default."""
    quote = next((q for q in ("USDT", "USDC", "BUSD") if name.endswith(q) and name != q), "USDT")
    return Symbol(name, name.removesuffix(quote) or name, quote, "10.00")


def usdm_contract(symbol: Symbol) -> dict[str, Any]:
    """One entry of `symbols` in GET /fapi/v1/exchangeInfo."""
    tick = _step(symbol.price_digits)
    step = _step(symbol.quantity_digits)
    return {
        "symbol": symbol.name,
        "pair": symbol.name,
        "contractType": "PERPETUAL",
        "deliveryDate": PERPETUAL_END_MS,
        "onboardDate": ONBOARD_MS,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": symbol.base,
        "quoteAsset": symbol.quote,
        "marginAsset": symbol.quote,
        "pricePrecision": symbol.price_digits,
        "quantityPrecision": symbol.quantity_digits,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "4529764", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "10000000", "stepSize": step},
            {"filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": "10000000", "stepSize": step},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def mark_json(symbol: Symbol, now_ms: int) -> dict[str, Any]:
    """One entry of GET premiumIndex, on USD-M and on COIN-M: the price never moves here."""
    return {
        "symbol": symbol.name,
        "markPrice": symbol.price,
        "indexPrice": symbol.price,
        "estimatedSettlePrice": symbol.price,
        "lastFundingRate": "0.00010000",
        "interestRate": "0.00010000",
        "nextFundingTime": now_ms - now_ms % FUNDING_MS + FUNDING_MS,
        "time": now_ms,
    }


@dataclass(frozen=True, slots=True)
class OptionSymbol:
    """An option contract, as its name spells it: `BTC-200730-9000-C`."""

    name: str
    base: str
    expiry: date
    strike: str
    call: bool

    @property
    def underlying(self) -> str:
        return f"{self.base}USDT"


OPTION_STRIKES = {
    "BTC": ("80000", "85000", "90000", "95000", "100000"),
    "ETH": ("2600", "2800", "3000", "3200", "3400"),
    "SOL": ("120", "140", "160"),
    "BNB": ("850", "900", "950"),
    "XRP": ("2", "2.2", "2.4"),
    "DOGE": ("0.14", "0.16", "0.18"),
}


def parse_option(name: str) -> OptionSymbol:
    """Read an option symbol's parts from its name. Raises ValueError when it is not one."""
    base, expiry, strike, side = name.split("-")
    if not base or side not in ("C", "P"):
        raise ValueError(f"{name!r} is not an option symbol")
    return OptionSymbol(name, base, datetime.strptime(expiry, "%y%m%d").date(), strike, side == "C")


def listed_options(today: date) -> Iterator[OptionSymbol]:
    """The options listed on a day: for the next three monthly expiries, every strike, call and put."""
    for expiry in _last_fridays(today, 3):
        for base, strikes in OPTION_STRIKES.items():
            for strike in strikes:
                for side in "CP":
                    yield parse_option(f"{base}-{expiry:%y%m%d}-{strike}-{side}")


def option_contract(symbol: OptionSymbol) -> dict[str, Any]:
    """One entry of `optionSymbols` in GET /eapi/v1/exchangeInfo."""
    expiry = datetime(symbol.expiry.year, symbol.expiry.month, symbol.expiry.day, 8, tzinfo=UTC)
    return {
        "symbol": symbol.name,
        "underlying": symbol.underlying,
        "side": "CALL" if symbol.call else "PUT",
        "strikePrice": symbol.strike,
        "expiryDate": int(expiry.timestamp() * 1000),
        "quoteAsset": "USDT",
        "unit": 1,
        "status": "TRADING",
        "contractType": "PERIODIC",
        "underlyingType": "COIN",
        "nakedSell": False,
        "priceScale": 3,
        "quantityScale": 2,
        "minQty": "0.01",
        "maxQty": "10000",
        "initialMargin": "0.15000000",
        "maintenanceMargin": "0.07500000",
        "minInitialMargin": "0.10000000",
        "minMaintenanceMargin": "0.05000000",
        "liquidationFeeRate": "0.0019000",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.001", "maxPrice": "100000", "tickSize": "0.001"},
            {"filterType": "LOT_SIZE", "minQty": "0.01", "maxQty": "10000", "stepSize": "0.01"},
        ],
    }


def option_mark(symbol: OptionSymbol, today: date) -> dict[str, Any]:
    """One entry of GET /eapi/v1/mark: a price that is about right, and whatever else it comes with."""
    spot = next((Decimal(s.price) for s in USDM_SYMBOLS if s.name == symbol.underlying), Decimal(1000))
    strike, days = Decimal(symbol.strike), max(0, (symbol.expiry - today).days)
    intrinsic = max(Decimal(0), (spot - strike) * (1 if symbol.call else -1))
    time_value = spot * Decimal(days) / 2000 * max(Decimal(0), 1 - 2 * abs(spot - strike) / spot)
    price = max(Decimal("0.001"), intrinsic + time_value).quantize(Decimal("0.001"))
    moneyness = (spot - strike) / spot * (1 if symbol.call else -1)
    delta = min(Decimal("0.99"), max(Decimal("0.01"), Decimal("0.5") + 3 * moneyness))
    return {
        "symbol": symbol.name,
        "markPrice": str(price),
        "bidIV": "0.50000000",
        "askIV": "0.60000000",
        "markIV": "0.55000000",
        "delta": f"{delta if symbol.call else -delta:.8f}",
        "theta": "-1.00000000",
        "gamma": "0.00010000",
        "vega": "10.00000000",
        "highPriceLimit": str(price * 3),
        "lowPriceLimit": "0.001",
        "riskFreeInterest": "0.1",
    }


def _step(digits: int) -> str:
    return "1" if digits == 0 else f"0.{'0' * (digits - 1)}1"


def _last_fridays(today: date, count: int) -> list[date]:
    """The next `count` last Fridays of a month after today."""
    found: list[date] = []
    year, month = today.year, today.month
    while len(found) < count:
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        last_day = date(year, month, 1) - timedelta(days=1)  # of the month before
        friday = last_day - timedelta(days=(last_day.weekday() - 4) % 7)
        if friday > today:
            found.append(friday)
    return found
