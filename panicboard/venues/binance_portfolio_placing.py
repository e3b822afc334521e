"""Placing orders far from the market at portfolio margin: what its canary is made of.

Portfolio margin has no market data: each product's own API tells the price and the rules, at its own
address and for its own limit.

https://developers.binance.com/docs/derivatives/portfolio-margin/trade
"""

from decimal import Decimal

from panicboard.venues.base import Family, FarOrder, Limit, Order
from panicboard.venues.binance import BinanceHttp
from panicboard.venues.binance_markets import algo_params, as_placed, price_of, symbol_rules
from panicboard.venues.binance_orders import algo_order, ordinary_order
from panicboard.venues.binance_portfolio_books import CM_CONDITIONAL, MARGIN, UM_CONDITIONAL, algo_or_strategy
from panicboard.venues.binance_portfolio_orders import strategy_order
from panicboard.venues.far_orders import Rules, far_bid, far_stop, plain

#: New orders, of all books together.
ORDERS = Limit("papi-orders", "key", 1200)
#: Where a canary's orders stand: symbols whose smallest order is worth 10 USD at most.
CANARY_SYMBOLS = {"um": "XRPUSDT", "cm": "ETHUSD_PERP", "margin": "XRPUSDT"}
_MARKET_LIMITS = {
    "fapi": Limit("fapi", "address", 2400),
    "dapi": Limit("fapi", "address", 2400),  # one limit with USD-M since 2026-06-30
    "api": Limit("api", "address", 6000),
}


def plan(http: BinanceHttp, family: Family) -> FarOrder:
    """The smallest order of one book that cannot fill, by what that product's own API tells."""
    product = family.slug.removesuffix("_conditional")
    symbol = CANARY_SYMBOLS[product]
    rules, price = {"um": um_market, "cm": cm_market, "margin": margin_market}[product](http, symbol)
    far_order = far_stop if family.conditional else far_bid
    return far_order(family.slug, symbol, price, rules)


def um_market(http: BinanceHttp, symbol: str) -> tuple[Rules, Decimal]:
    """The rules and the present price of a um symbol.

    GET /fapi/v1/exchangeInfo, weight 1, and GET /fapi/v1/premiumIndex, weight 1 with a symbol; no key.
    https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Mark-Price
    """
    market = _market(http, "fapi")
    rules = symbol_rules(market.public("GET", "/fapi/v1/exchangeInfo", 1), symbol)
    reply = market.public("GET", "/fapi/v1/premiumIndex", 1, {"symbol": symbol})
    return rules, price_of(reply, symbol, "markPrice")


def cm_market(http: BinanceHttp, symbol: str) -> tuple[Rules, Decimal]:
    """The rules and the present price of a cm symbol.

    GET /dapi/v1/exchangeInfo, weight 1, and GET /dapi/v1/premiumIndex, weight 10; no key.
    https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/Index-Price-and-Mark-Price
    """
    market = _market(http, "dapi")
    rules = symbol_rules(market.public("GET", "/dapi/v1/exchangeInfo", 1), symbol)
    reply = market.public("GET", "/dapi/v1/premiumIndex", 10, {"symbol": symbol})
    return rules, price_of(reply, symbol, "markPrice")


def margin_market(http: BinanceHttp, symbol: str) -> tuple[Rules, Decimal]:
    """The rules and the present price of a margin symbol, which is one of the Spot market.

    GET /api/v3/exchangeInfo, weight 20, and GET /api/v3/ticker/price, weight 2 with a symbol; no key.
    https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#symbol-price-ticker
    """
    market = _market(http, "api")
    rules = symbol_rules(market.public("GET", "/api/v3/exchangeInfo", 20, {"symbol": symbol}), symbol)
    reply = market.public("GET", "/api/v3/ticker/price", 2, {"symbol": symbol})
    return rules, price_of(reply, symbol, "price")


def place(http: BinanceHttp, order: FarOrder, client_order_id: str) -> Order:
    """Place an order in the book of its family, once."""
    if order.family == UM_CONDITIONAL.slug:
        # A call that is gone has placed nothing: the older one may follow.
        placed = algo_or_strategy(
            http.base_url,
            lambda: place_algo(http, order, client_order_id),
            lambda: place_strategy(http, "um", order, client_order_id),
        )
    elif order.family == CM_CONDITIONAL.slug:
        placed = place_strategy(http, "cm", order, client_order_id)
    else:
        placed = place_ordinary(http, order, client_order_id)
    return as_placed(placed, client_order_id)


def place_ordinary(http: BinanceHttp, order: FarOrder, client_order_id: str) -> Order:
    """Place a bid: on um and cm one that is refused rather than taken at once (GTX).

    POST /papi/v1/um/order, /papi/v1/cm/order or /papi/v1/margin/order, weight 1, one of the order count.
    Raises VenueRejected, as for want of margin, and OutcomeUnknown when it may stand: never to be
    repeated then.
    https://developers.binance.com/docs/derivatives/portfolio-margin/trade/New-UM-Order
    https://developers.binance.com/docs/derivatives/portfolio-margin/trade/New-CM-Order
    https://developers.binance.com/docs/derivatives/portfolio-margin/trade/New-Margin-Order
    """
    params = {
        "symbol": order.symbol,
        "side": "BUY",
        "type": order.order_type,
        "timeInForce": "GTC" if order.family == MARGIN.slug else "GTX",
        "quantity": plain(order.quantity),
        "price": plain(order.price),
        "newClientOrderId": client_order_id,
        "newOrderRespType": "RESULT",
    }
    http.budget.spend(ORDERS, 1)
    reply = http.signed("POST", f"/papi/v1/{order.family}/order", 1, params)
    return ordinary_order(order.family, reply)


def place_algo(http: BinanceHttp, order: FarOrder, client_order_id: str) -> Order:
    """Place a conditional um order.

    POST /papi/v1/um/algo/order, weight 1, one of the order count. Raises EndpointGone where
    um/conditional serves.
    https://developers.binance.com/docs/derivatives/portfolio-margin/trade/New-UM-Algo-Order
    """
    http.budget.spend(ORDERS, 1)
    reply = http.signed("POST", "/papi/v1/um/algo/order", 1, algo_params(order, client_order_id))
    return algo_order(UM_CONDITIONAL.slug, reply)


def place_strategy(http: BinanceHttp, book: str, order: FarOrder, client_order_id: str) -> Order:
    """Place a conditional order of cm, or of um in the older generation.

    POST /papi/v1/cm/conditional/order or /papi/v1/um/conditional/order, weight 1, one of the order count.
    Raises EndpointGone for um where um/algo serves.
    https://developers.binance.com/docs/derivatives/portfolio-margin/trade/New-CM-Conditional-Order
    """
    params = {
        "symbol": order.symbol,
        "side": "BUY",
        "strategyType": order.order_type,
        "quantity": plain(order.quantity),
        "stopPrice": plain(order.trigger_price),
        "newClientStrategyId": client_order_id,
    }
    http.budget.spend(ORDERS, 1)
    reply = http.signed("POST", f"/papi/v1/{book}/conditional/order", 1, params)
    return strategy_order(f"{book}_conditional", reply)


def _market(http: BinanceHttp, api: str) -> BinanceHttp:
    """Another Binance API: its host's name begins with its own, where this one's begins with papi."""
    base_url = http.base_url.replace("://papi.", f"://{api}.", 1)
    return http.at(base_url, _MARKET_LIMITS[api])
