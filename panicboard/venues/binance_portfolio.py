"""Binance portfolio margin: five books, each with its own listing and its own cancels.

USD-M (um) and COIN-M (cm) futures each have an ordinary and a conditional book; margin is one book of
plain orders and order lists (OCO). Nothing spans two books, and every mass cancel names one symbol.
There is no countdown and no server time here: the clock comes from the Date header.

The conditional um book is called um/algo since 2026-04-28. Where that is gone (-21015), the
older um/conditional serves the same orders; which of the two answers is remembered by base URL.

https://developers.binance.com/docs/derivatives/portfolio-margin/general-info
"""

import re
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, TypeVar, Unpack

from panicboard.venues.asked import of_symbol, same_order
from panicboard.venues.base import (
    Access,
    BookSymbol,
    CancelResult,
    Credentials,
    Family,
    FarOrder,
    Limit,
    Listing,
    MassCancel,
    MassCancelReply,
    Opened,
    Order,
    OrderRef,
    VenueAdapter,
)
from panicboard.venues.binance import BinanceHttp
from panicboard.venues.binance_markets import algo_params, as_placed, price_of, symbol_rules
from panicboard.venues.binance_orders import algo_order, ordinary_order
from panicboard.venues.binance_portfolio_orders import (
    cancelled_margin_orders,
    open_legs,
    strategy_order,
    with_legs,
)
from panicboard.venues.binance_replies import (
    HISTORY_PAGE,
    access,
    acknowledge,
    fields,
    history_in_windows,
    one_id,
    rows,
    single_cancel,
)
from panicboard.venues.errors import EndpointGone, OrderNotFound
from panicboard.venues.far_orders import Rules, far_bid, far_stop, plain
from panicboard.venues.values import flag

T = TypeVar("T")

#: Charged for margin openOrders without a symbol. The venue charges one unit for each symbol it trades,
#: a number it does not tell; its used-weight header puts right what this guesses wrong (unverified).
MARGIN_ALL_ORDERS_WEIGHT = 500
#: How long um/conditional is used before um/algo is tried again.
ALGO_RETRY_S = 900.0
HISTORY_WINDOW_MS = 7 * 24 * 3600 * 1000  # the venue wants the two times less than seven days apart
#: The clock comes from a header that is cut to the second: the venue's may be this far ahead of it.
CLOCK_ERROR_MS = 1000

UM_CONDITIONAL = Family(
    slug="um_conditional",
    label="um/algo",
    conditional=True,
    cancel_weight=1,
    list_symbol_weight=1,
    list_all_weight=40,
    query_weight=1,
    triggers_into="um",
)
CM_CONDITIONAL = Family(
    slug="cm_conditional",
    label="cm/conditional",
    conditional=True,
    cancel_weight=1,
    list_symbol_weight=1,
    list_all_weight=40,
    query_weight=2,  # open and finished orders are two calls
    triggers_into="cm",
)
UM = Family(
    slug="um",
    label="um",
    conditional=False,
    cancel_weight=1,
    list_symbol_weight=1,
    list_all_weight=40,
    query_weight=1,
)
CM = Family(
    slug="cm",
    label="cm",
    conditional=False,
    cancel_weight=1,
    list_symbol_weight=1,
    list_all_weight=40,
    query_weight=1,
)
MARGIN = Family(
    slug="margin",
    label="margin",
    conditional=False,
    cancel_weight=2,
    list_symbol_weight=5 + 5,  # orders, and order lists
    list_all_weight=MARGIN_ALL_ORDERS_WEIGHT + 5,
    query_weight=10,
)

#: New orders, of all books together.
ORDERS = Limit("papi-orders", "key", 1200)
#: Where a canary's orders stand: symbols whose smallest order is worth 10 USD at most.
CANARY_SYMBOLS = {"um": "XRPUSDT", "cm": "ETHUSD_PERP", "margin": "XRPUSDT"}
#: Portfolio margin has no market data: each product's API tells, at its own address, for its own limit.
_MARKET_LIMITS = {
    "fapi": Limit("fapi", "address", 2400),
    "dapi": Limit("fapi", "address", 2400),  # one limit with USD-M since 2026-06-30
    "api": Limit("api", "address", 6000),
}
#: Books that trade the same symbols: what is known in one is cancelled and read in both.
_GROUPS = ((UM_CONDITIONAL, UM), (CM_CONDITIONAL, CM), (MARGIN,))
_MASS_CANCEL_WEIGHTS = {UM_CONDITIONAL: 1, CM_CONDITIONAL: 1, UM: 1, CM: 1, MARGIN: 5}

# time.monotonic() of when um/algo last answered that it is gone, by base URL.
_algo_gone_at: dict[str, float] = {}
#: The venue's code for a call that it has removed.
GONE_CODE = "-21015"


class BinancePortfolio(VenueAdapter):
    """One portfolio margin account.

    Every call may raise CredentialsRejected, ClockRejected, RateLimited, BudgetSpent, NotDone or
    OutcomeUnknown; a method names only what it adds. Weights count per address, 6000 a minute. Calls that
    um and cm have alike take the `book`, "um" or "cm".
    """

    slug = "binance-portfolio"
    label = "Binance Portfolio Margin"
    families = (UM_CONDITIONAL, CM_CONDITIONAL, UM, CM, MARGIN)
    limits: ClassVar[tuple[Limit, ...]] = (Limit("papi", "address", 6000), ORDERS)
    key_types = ("hmac", "rsa", "ed25519")
    canary_families = tuple(family.slug for family in families)

    def __init__(self, base_url: str, credentials: Credentials, **opened: Unpack[Opened]) -> None:
        self.http = BinanceHttp(
            base_url,
            credentials,
            limit=self.limits[0],
            **opened,
            time_path=None,
            ping_path="/papi/v1/ping",
        )

    @classmethod
    def book_symbols(cls, symbol: str) -> list[BookSymbol]:
        """The books that can trade a symbol, told by its form: BTCUSD_PERP is cm, BTCUSDT um or margin."""
        if re.search(r"USD_(PERP|\d{6})$", symbol):
            families: tuple[Family, ...] = (CM_CONDITIONAL, CM)
        elif "_" in symbol:
            families = (UM_CONDITIONAL, UM)  # BTCUSDT_260327, a delivery contract
        else:
            families = (UM_CONDITIONAL, UM, MARGIN)
        return [BookSymbol(family.slug, symbol) for family in families]

    @classmethod
    def mass_cancels(cls, symbols: Collection[BookSymbol], *, whole_account: bool) -> list[MassCancel]:
        """Each book that trades a symbol, conditional first; the venue has no account-wide call."""
        return [
            MassCancel(family.slug, name, _MASS_CANCEL_WEIGHTS[family])
            for name in sorted({known.symbol for known in symbols})
            for family in cls.families
            if name in _symbols_of(family, symbols)
        ]

    @classmethod
    def listings(cls, symbols: Collection[BookSymbol] | None, *, quick: bool = False) -> list[Listing]:
        """One listing for each book that trades a symbol; all of a book where that costs no more."""
        listings: list[Listing] = []
        for family in cls.families:
            names = _symbols_of(family, symbols or ())
            if symbols is None or len(names) * family.list_symbol_weight >= family.list_all_weight:
                listings.append(Listing(family.slug, None, family.list_all_weight))
            else:
                listings += [Listing(family.slug, name, family.list_symbol_weight) for name in names]
        return listings

    def sync_clock(self) -> int:
        """Read the venue's clock and keep the offset, in ms; it is exact to half a second.

        GET /papi/v1/ping, weight 1, no key: its Date header, for there is no call for the time.
        https://developers.binance.com/docs/derivatives/portfolio-margin/market-data
        """
        return self.http.sync_clock()

    def check_access(self) -> Access:
        """Ask whether this key is valid and its account may trade.

        GET /papi/v1/um/accountConfig, weight 5.
        https://developers.binance.com/docs/derivatives/portfolio-margin/account/Get-UM-Futures-Account-Config
        """
        return access(self.http.signed("GET", "/papi/v1/um/accountConfig", 5, {}), "um/accountConfig")

    def mass_cancel(self, call: MassCancel) -> MassCancelReply:
        """Cancel one book's orders on one symbol. Only margin names the orders.

        A margin book that seems to hold nothing on the symbol answers -2011. That is no failure, and no
        proof either: the reply then names no order, and what counts is the listing that follows.
        """
        if call.target is None:
            raise ValueError("a mass cancel names a symbol here")
        symbol = call.target
        if call.family == MARGIN.slug:
            try:
                return MassCancelReply(orders=tuple(self.cancel_all_margin(symbol)))
            except OrderNotFound:
                return MassCancelReply()
        if call.family == UM_CONDITIONAL.slug:
            self._algo_or_strategy(
                lambda: self.cancel_all_algo(symbol),
                lambda: self.cancel_all_strategies("um", symbol),
                cancels=True,
            )
        elif call.family == CM_CONDITIONAL.slug:
            self.cancel_all_strategies("cm", symbol)
        else:
            self.cancel_all_ordinary(call.family, symbol)
        return MassCancelReply()

    def cancel_all_ordinary(self, book: str, symbol: str) -> None:
        """Ask the venue to cancel every ordinary order of one symbol.

        DELETE /papi/v1/um/allOpenOrders or /papi/v1/cm/allOpenOrders, weight 1. Raises UnknownSymbol
        (-1121) for a wrong symbol.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Cancel-All-UM-Open-Orders
        """
        path = f"/papi/v1/{book}/allOpenOrders"
        acknowledge(self.http.signed("DELETE", path, 1, {"symbol": symbol}), path)

    def cancel_all_algo(self, symbol: str) -> None:
        """Ask the venue to cancel every conditional um order of one symbol.

        DELETE /papi/v1/um/algo/allOpenOrders, weight 1. Raises EndpointGone where um/conditional serves.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade
        """
        path = "/papi/v1/um/algo/allOpenOrders"
        acknowledge(self.http.signed("DELETE", path, 1, {"symbol": symbol}), path)

    def cancel_all_strategies(self, book: str, symbol: str) -> None:
        """Ask the venue to cancel every conditional order of one symbol.

        DELETE /papi/v1/um/conditional/allOpenOrders or /papi/v1/cm/conditional/allOpenOrders, weight 1.
        The code in its reply is text, "200". Raises EndpointGone for um where um/algo serves.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Cancel-All-CM-Open-Conditional-Orders
        """
        path = f"/papi/v1/{book}/conditional/allOpenOrders"
        acknowledge(self.http.signed("DELETE", path, 1, {"symbol": symbol}), path)

    def cancel_all_margin(self, symbol: str) -> list[Order]:
        """Cancel every margin order and order list of one symbol; one order for each leg of a list.

        DELETE /papi/v1/margin/allOpenOrders, weight 5. Raises OrderNotFound (-2011) when the book seems
        to hold nothing on the symbol.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Cancel-Margin-Account-All-Open-Orders-on-a-Symbol
        """
        reply = self.http.signed("DELETE", "/papi/v1/margin/allOpenOrders", 5, {"symbol": symbol})
        return of_symbol(cancelled_margin_orders(reply), symbol)

    def cancel_orders(self, family: str, symbol: str, refs: Sequence[OrderRef]) -> list[CancelResult]:
        """Cancel one order. A margin leg takes its whole list with it, whose other leg is then not found."""
        if len(refs) > 1:
            raise ValueError("portfolio margin cancels one order a call")
        return [single_cancel(ref, lambda ref: self._cancel(family, ref)) for ref in refs]

    def cancel_ordinary(self, book: str, ref: OrderRef) -> None:
        """Cancel one ordinary order.

        DELETE /papi/v1/um/order or /papi/v1/cm/order, weight 1. Raises OrderNotFound (-2011) when it is
        not in this book.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Cancel-UM-Order
        """
        params = {"symbol": ref.symbol, **one_id(ref, "orderId", "origClientOrderId")}
        reply = self.http.signed("DELETE", f"/papi/v1/{book}/order", 1, params)
        same_order(ordinary_order(book, reply), ref)

    def cancel_algo(self, ref: OrderRef) -> None:
        """Cancel one conditional um order.

        DELETE /papi/v1/um/algo/order, weight 1; takes no symbol, answers `{"complete": true}`. Raises
        OrderNotFound (-2011), and EndpointGone where um/conditional serves.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Cancel-UM-Algo-Order
        """
        path = "/papi/v1/um/algo/order"
        reply = fields(self.http.signed("DELETE", path, 1, one_id(ref, "algoId", "clientAlgoId")), path)
        if not flag(reply.get("complete")):
            acknowledge(reply, path)  # the form of the same call at USD-M futures

    def cancel_strategy(self, book: str, ref: OrderRef) -> None:
        """Cancel one conditional order.

        DELETE /papi/v1/um/conditional/order or /papi/v1/cm/conditional/order, weight 1. Raises
        OrderNotFound (-2011), and EndpointGone for um where um/algo serves.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Cancel-CM-Conditional-Order
        """
        params = {"symbol": ref.symbol, **one_id(ref, "strategyId", "newClientStrategyId")}
        reply = self.http.signed("DELETE", f"/papi/v1/{book}/conditional/order", 1, params)
        same_order(strategy_order(f"{book}_conditional", reply), ref)

    def cancel_margin(self, ref: OrderRef) -> None:
        """Cancel one margin order, or the whole order list that it is a leg of.

        DELETE /papi/v1/margin/order, weight 2. Raises OrderNotFound (-2011). The reply is not read: for a
        leg its form is not published.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Cancel-Margin-Account-Order
        """
        params = {"symbol": ref.symbol, **one_id(ref, "orderId", "origClientOrderId")}
        self.http.signed("DELETE", "/papi/v1/margin/order", 2, params)

    def open_orders(self, listing: Listing) -> list[Order]:
        """The open orders of one book, of one symbol or of all. For margin this is two calls.

        Margin reads its order lists besides its orders, so that no leg of a list is missed. The orders
        come first: theirs is the call that a budget may refuse.
        """
        symbol = listing.symbol
        if listing.family == UM_CONDITIONAL.slug:
            return self._algo_or_strategy(
                lambda: self.open_algo(symbol), lambda: self.open_strategies("um", symbol)
            )
        if listing.family == CM_CONDITIONAL.slug:
            return self.open_strategies("cm", symbol)
        if listing.family == MARGIN.slug:
            orders = self.open_margin(symbol)
            return with_legs(orders, self.open_margin_lists(), symbol)
        return self.open_ordinary(listing.family, symbol)

    def open_ordinary(self, book: str, symbol: str | None) -> list[Order]:
        """The open ordinary orders of one symbol, or of all.

        GET /papi/v1/um/openOrders or /papi/v1/cm/openOrders, weight 1 with a symbol, 40 without.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-All-Current-UM-Open-Orders
        """
        path = f"/papi/v1/{book}/openOrders"
        reply = self.http.signed("GET", path, 1 if symbol else 40, {"symbol": symbol})
        return of_symbol([ordinary_order(book, item) for item in rows(reply, path)], symbol)

    def open_algo(self, symbol: str | None) -> list[Order]:
        """The open conditional um orders of one symbol, or of all.

        GET /papi/v1/um/algo/openAlgoOrders, weight 1 with a symbol, 40 without. Raises EndpointGone where
        um/conditional serves.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-All-Current-UM-Open-Algo-Orders
        """
        path = "/papi/v1/um/algo/openAlgoOrders"
        reply = self.http.signed("GET", path, 1 if symbol else 40, {"symbol": symbol})
        return of_symbol([algo_order(UM_CONDITIONAL.slug, item) for item in rows(reply, path)], symbol)

    def open_strategies(self, book: str, symbol: str | None) -> list[Order]:
        """The open conditional orders of one symbol, or of all.

        GET /papi/v1/um/conditional/openOrders or /papi/v1/cm/conditional/openOrders, weight 1 with a
        symbol, 40 without. Raises EndpointGone for um where um/algo serves.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-All-Current-CM-Open-Conditional-Orders
        """
        path = f"/papi/v1/{book}/conditional/openOrders"
        reply = self.http.signed("GET", path, 1 if symbol else 40, {"symbol": symbol})
        return of_symbol([strategy_order(f"{book}_conditional", item) for item in rows(reply, path)], symbol)

    def open_margin(self, symbol: str | None) -> list[Order]:
        """The open margin orders of one symbol, or of all; legs do not name their order list.

        GET /papi/v1/margin/openOrders, weight 5 with a symbol; without, one unit for each symbol of the
        venue (see `MARGIN_ALL_ORDERS_WEIGHT`).
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-Current-Margin-Open-Order
        """
        weight = 5 if symbol else MARGIN_ALL_ORDERS_WEIGHT
        reply = self.http.signed("GET", "/papi/v1/margin/openOrders", weight, {"symbol": symbol})
        return of_symbol(
            [ordinary_order("margin", item) for item in rows(reply, "margin/openOrders")], symbol
        )

    def open_margin_lists(self) -> list[Order]:
        """The legs of every open order list of the account: ids only, no side, price or quantity.

        GET /papi/v1/margin/openOrderList, weight 5; takes no symbol.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-Margin-Account-Open-OCO
        """
        return open_legs(self.http.signed("GET", "/papi/v1/margin/openOrderList", 5, {}))

    def order(self, ref: OrderRef) -> Order:
        """One order's present state, from the book it belongs to.

        For strategies this is up to two calls, the open one first: an order that ends in between is then
        still found.
        """
        if ref.family == UM_CONDITIONAL.slug:
            return self._algo_or_strategy(lambda: self.algo(ref), lambda: self._strategy("um", ref))
        if ref.family == CM_CONDITIONAL.slug:
            return self._strategy("cm", ref)
        if ref.family == MARGIN.slug:
            return self.margin(ref)
        return self.ordinary(ref.family, ref)

    def ordinary(self, book: str, ref: OrderRef) -> Order:
        """One ordinary order's present state.

        GET /papi/v1/um/order or /papi/v1/cm/order, weight 1. Raises OrderNotFound (-2013), also for an
        order cancelled without any fill and older than 3 days.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-UM-Order
        """
        params = {"symbol": ref.symbol, **one_id(ref, "orderId", "origClientOrderId")}
        reply = self.http.signed("GET", f"/papi/v1/{book}/order", 1, params)
        return same_order(ordinary_order(book, reply), ref)

    def algo(self, ref: OrderRef) -> Order:
        """One conditional um order's present state; `successor_id` names the ordinary order it became.

        GET /papi/v1/um/algo/algoOrder, weight 1; takes no symbol. Raises OrderNotFound (-2013), and
        EndpointGone where um/conditional serves.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-UM-Algo-Order
        """
        params = one_id(ref, "algoId", "clientAlgoId")
        return same_order(
            algo_order(UM_CONDITIONAL.slug, self.http.signed("GET", "/papi/v1/um/algo/algoOrder", 1, params)),
            ref,
        )

    def open_strategy(self, book: str, ref: OrderRef) -> Order:
        """One conditional order, as long as it is open.

        GET /papi/v1/um/conditional/openOrder or /papi/v1/cm/conditional/openOrder, weight 1. Raises
        OrderNotFound (-2013) when it is not open any more.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-Current-CM-Open-Conditional-Order
        """
        return self._strategy_at(f"/papi/v1/{book}/conditional/openOrder", book, ref)

    def finished_strategy(self, book: str, ref: OrderRef) -> Order:
        """One conditional order that is not open any more; `successor_id` names what it became.

        GET /papi/v1/um/conditional/orderHistory or /papi/v1/cm/conditional/orderHistory, weight 1. Raises
        OrderNotFound (-2013), also for an order cancelled without any fill and older than 7 days.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-CM-Conditional-Order-History
        """
        return self._strategy_at(f"/papi/v1/{book}/conditional/orderHistory", book, ref)

    def margin(self, ref: OrderRef) -> Order:
        """One margin order's present state.

        GET /papi/v1/margin/order, weight 10. Raises OrderNotFound (-2013).
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-Margin-Account-Order
        """
        params = {"symbol": ref.symbol, **one_id(ref, "orderId", "origClientOrderId")}
        reply = self.http.signed("GET", "/papi/v1/margin/order", 10, params)
        return same_order(ordinary_order("margin", reply), ref)

    def plan_far_order(self, family: str) -> FarOrder:
        """The smallest order of one book that cannot fill, by what that product's own API tells."""
        product = family.removesuffix("_conditional")
        symbol = CANARY_SYMBOLS[product]
        rules, price = {"um": self.um_market, "cm": self.cm_market, "margin": self.margin_market}[product](
            symbol
        )
        plan = far_stop if self.family(family).conditional else far_bid
        return plan(family, symbol, price, rules)

    def um_market(self, symbol: str) -> tuple[Rules, Decimal]:
        """The rules and the present price of a um symbol.

        GET /fapi/v1/exchangeInfo, weight 1, and GET /fapi/v1/premiumIndex, weight 1 with a symbol; no key.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Mark-Price
        """
        http = self._market("fapi")
        rules = symbol_rules(http.public("GET", "/fapi/v1/exchangeInfo", 1), symbol)
        reply = http.public("GET", "/fapi/v1/premiumIndex", 1, {"symbol": symbol})
        return rules, price_of(reply, symbol, "markPrice")

    def cm_market(self, symbol: str) -> tuple[Rules, Decimal]:
        """The rules and the present price of a cm symbol.

        GET /dapi/v1/exchangeInfo, weight 1, and GET /dapi/v1/premiumIndex, weight 10; no key.
        https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/Index-Price-and-Mark-Price
        """
        http = self._market("dapi")
        rules = symbol_rules(http.public("GET", "/dapi/v1/exchangeInfo", 1), symbol)
        reply = http.public("GET", "/dapi/v1/premiumIndex", 10, {"symbol": symbol})
        return rules, price_of(reply, symbol, "markPrice")

    def margin_market(self, symbol: str) -> tuple[Rules, Decimal]:
        """The rules and the present price of a margin symbol, which is one of the Spot market.

        GET /api/v3/exchangeInfo, weight 20, and GET /api/v3/ticker/price, weight 2 with a symbol; no key.
        https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#symbol-price-ticker
        """
        http = self._market("api")
        rules = symbol_rules(http.public("GET", "/api/v3/exchangeInfo", 20, {"symbol": symbol}), symbol)
        reply = http.public("GET", "/api/v3/ticker/price", 2, {"symbol": symbol})
        return rules, price_of(reply, symbol, "price")

    def place_far_order(self, order: FarOrder, client_order_id: str) -> Order:
        """Place an order in the book of its family, once."""
        if order.family == UM_CONDITIONAL.slug:
            # A call that is gone has placed nothing: the older one may follow.
            placed = self._algo_or_strategy(
                lambda: self.place_algo(order, client_order_id),
                lambda: self.place_strategy("um", order, client_order_id),
            )
        elif order.family == CM_CONDITIONAL.slug:
            placed = self.place_strategy("cm", order, client_order_id)
        else:
            placed = self.place_ordinary(order, client_order_id)
        return as_placed(placed, client_order_id)

    def place_ordinary(self, order: FarOrder, client_order_id: str) -> Order:
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
        self.http.budget.spend(ORDERS, 1)
        reply = self.http.signed("POST", f"/papi/v1/{order.family}/order", 1, params)
        return ordinary_order(order.family, reply)

    def place_algo(self, order: FarOrder, client_order_id: str) -> Order:
        """Place a conditional um order.

        POST /papi/v1/um/algo/order, weight 1, one of the order count. Raises EndpointGone where
        um/conditional serves.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/New-UM-Algo-Order
        """
        self.http.budget.spend(ORDERS, 1)
        reply = self.http.signed("POST", "/papi/v1/um/algo/order", 1, algo_params(order, client_order_id))
        return algo_order(UM_CONDITIONAL.slug, reply)

    def place_strategy(self, book: str, order: FarOrder, client_order_id: str) -> Order:
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
        self.http.budget.spend(ORDERS, 1)
        reply = self.http.signed("POST", f"/papi/v1/{book}/conditional/order", 1, params)
        return strategy_order(f"{book}_conditional", reply)

    def history_weight(self, family: str) -> int | None:
        """For every seven days begun and every thousand orders in them. None for margin.

        Margin would cost 100, ten single queries; its mass cancel names the orders it ended anyway.
        """
        return {UM_CONDITIONAL.slug: 5, CM_CONDITIONAL.slug: 1, UM.slug: 5, CM.slug: 20}.get(family)

    def history(self, family: str, symbol: str, since: datetime) -> list[Order]:
        """Every order of one book and symbol placed since then, in as many calls as that takes."""
        if family == MARGIN.slug:
            raise NotImplementedError("margin order history costs more than it tells")

        def window(start_ms: int, end_ms: int) -> list[Order]:
            if family == UM_CONDITIONAL.slug:
                return self._algo_or_strategy(
                    lambda: self.algo_history(symbol, start_ms, end_ms),
                    lambda: self.strategy_history("um", symbol, start_ms, end_ms),
                )
            if family == CM_CONDITIONAL.slug:
                return self.strategy_history("cm", symbol, start_ms, end_ms)
            return self.ordinary_history(family, symbol, start_ms, end_ms)

        # With the clock as it is, the orders of the last second would be left out.
        until_ms = self.http.clock.now_ms() + CLOCK_ERROR_MS
        return history_in_windows(window, since, until_ms, HISTORY_WINDOW_MS)

    def ordinary_history(self, book: str, symbol: str, start_ms: int, end_ms: int) -> list[Order]:
        """Ordinary orders of one symbol placed between two times, less than seven days apart; one page.

        GET /papi/v1/um/allOrders, weight 5, or /papi/v1/cm/allOrders, weight 20. At most 1000 orders.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-All-UM-Orders
        """
        path = f"/papi/v1/{book}/allOrders"
        params = {"symbol": symbol, "startTime": start_ms, "endTime": end_ms, "limit": HISTORY_PAGE}
        reply = self.http.signed("GET", path, 20 if book == CM.slug else 5, params)
        return of_symbol([ordinary_order(book, item) for item in rows(reply, path)], symbol)

    def algo_history(self, symbol: str, start_ms: int, end_ms: int) -> list[Order]:
        """Conditional um orders of one symbol placed between two times; one page.

        GET /papi/v1/um/algo/allAlgoOrders, weight 5. Less than seven days, at most 1000 orders. Raises
        EndpointGone where um/conditional serves.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-UM-Algo-Order-History
        """
        params = {"symbol": symbol, "startTime": start_ms, "endTime": end_ms, "limit": HISTORY_PAGE}
        reply = self.http.signed("GET", "/papi/v1/um/algo/allAlgoOrders", 5, params)
        items = rows(reply, "um/algo/allAlgoOrders")
        return of_symbol([algo_order(UM_CONDITIONAL.slug, item) for item in items], symbol)

    def strategy_history(self, book: str, symbol: str, start_ms: int, end_ms: int) -> list[Order]:
        """Conditional orders of one symbol placed between two times; one page.

        GET /papi/v1/um/conditional/allOrders or /papi/v1/cm/conditional/allOrders, weight 1 with a
        symbol. Less than seven days, at most 1000 orders. Raises EndpointGone for um where um/algo serves.
        https://developers.binance.com/docs/derivatives/portfolio-margin/trade/Query-All-CM-Conditional-Orders
        """
        path = f"/papi/v1/{book}/conditional/allOrders"
        params = {"symbol": symbol, "startTime": start_ms, "endTime": end_ms, "limit": HISTORY_PAGE}
        reply = self.http.signed("GET", path, 1, params)
        return of_symbol([strategy_order(f"{book}_conditional", item) for item in rows(reply, path)], symbol)

    def _market(self, api: str) -> BinanceHttp:
        """Another Binance API: its host's name begins with its own, where this one's begins with papi."""
        base_url = self.http.base_url.replace("://papi.", f"://{api}.", 1)
        return self.http.at(base_url, _MARKET_LIMITS[api])

    def _cancel(self, family: str, ref: OrderRef) -> None:
        if family == UM_CONDITIONAL.slug:
            self._algo_or_strategy(
                lambda: self.cancel_algo(ref), lambda: self.cancel_strategy("um", ref), cancels=True
            )
        elif family == CM_CONDITIONAL.slug:
            self.cancel_strategy("cm", ref)
        elif family == MARGIN.slug:
            self.cancel_margin(ref)
        else:
            self.cancel_ordinary(family, ref)

    def _strategy(self, book: str, ref: OrderRef) -> Order:
        try:
            return self.open_strategy(book, ref)
        except OrderNotFound:
            return self.finished_strategy(book, ref)

    def _strategy_at(self, path: str, book: str, ref: OrderRef) -> Order:
        params = {"symbol": ref.symbol, **one_id(ref, "strategyId", "newClientStrategyId")}
        reply = self.http.signed("GET", path, 1, params)
        return same_order(strategy_order(f"{book}_conditional", reply), ref)

    def _algo_or_strategy(
        self, algo: Callable[[], T], strategy: Callable[[], T], *, cancels: bool = False
    ) -> T:
        """Make the um/algo call, or the um/conditional one where um/algo is known to be gone.

        Only the venue's own code says that it is gone: a bare 404 may be a gateway's, and what um/conditional
        then tells, if it told of no order, would prove nothing. Cancels are sent there all the same. Raises
        EndpointGone when neither is there; um/algo is then asked again the next time.
        """
        base_url = self.http.base_url
        gone_at = _algo_gone_at.get(base_url)
        if gone_at is None or time.monotonic() - gone_at >= ALGO_RETRY_S:
            try:
                answer = algo()
            except EndpointGone as exc:
                if exc.code == GONE_CODE:
                    _algo_gone_at[base_url] = time.monotonic()
                elif not cancels:
                    raise
            else:
                _algo_gone_at.pop(base_url, None)
                return answer
        try:
            return strategy()
        except EndpointGone:
            _algo_gone_at.pop(base_url, None)
            raise


def _symbols_of(family: Family, symbols: Collection[BookSymbol]) -> list[str]:
    """The symbols to cancel or list in one book: its own, and those of the book it shares symbols with."""
    group = next(group for group in _GROUPS if family in group)
    slugs = {twin.slug for twin in group}
    return sorted({known.symbol for known in symbols if known.family in slugs})
