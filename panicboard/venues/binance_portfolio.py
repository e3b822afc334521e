"""Binance portfolio margin: five books, each with its own listing and its own cancels.

USD-M (um) and COIN-M (cm) futures each have an ordinary and a conditional book; margin is one book of
plain orders and order lists (OCO). Nothing spans two books, and every mass cancel names one symbol.
There is no countdown and no server time here: the clock comes from the Date header. What the books are
stands in `binance_portfolio_books`, and how a canary's orders are placed in `binance_portfolio_placing`.

https://developers.binance.com/docs/derivatives/portfolio-margin/general-info
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import ClassVar, Unpack

from panicboard.venues.asked import of_symbol, same_order
from panicboard.venues.base import (
    Access,
    BookSymbol,
    CancelResult,
    Credentials,
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
from panicboard.venues.binance_orders import algo_order, ordinary_order
from panicboard.venues.binance_portfolio_books import (
    CM,
    CM_CONDITIONAL,
    MARGIN,
    MARGIN_ALL_ORDERS_WEIGHT,
    MASS_CANCEL_WEIGHTS,
    UM,
    UM_CONDITIONAL,
    algo_or_strategy,
    books_of,
    symbols_of,
)
from panicboard.venues.binance_portfolio_orders import (
    cancelled_margin_orders,
    open_legs,
    strategy_order,
    with_legs,
)
from panicboard.venues.binance_portfolio_placing import ORDERS, place, plan
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
from panicboard.venues.errors import OrderNotFound
from panicboard.venues.values import flag

HISTORY_WINDOW_MS = 7 * 24 * 3600 * 1000  # the venue wants the two times less than seven days apart


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
    access_weight = 5
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
        """The books that can trade a symbol, told by its form."""
        return [BookSymbol(family.slug, symbol) for family in books_of(symbol)]

    @classmethod
    def mass_cancels(cls, symbols: Collection[BookSymbol], *, whole_account: bool) -> list[MassCancel]:
        """Each book that trades a symbol, conditional first; the venue has no account-wide call."""
        return [
            MassCancel(family.slug, name, MASS_CANCEL_WEIGHTS[family])
            for name in sorted({known.symbol for known in symbols})
            for family in cls.families
            if name in symbols_of(family, symbols)
        ]

    @classmethod
    def listings(cls, symbols: Collection[BookSymbol] | None, *, quick: bool = False) -> list[Listing]:
        """One listing for each book that trades a symbol; all of a book where that costs no more."""
        listings: list[Listing] = []
        for family in cls.families:
            names = symbols_of(family, symbols or ())
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
        return access(
            self.http.signed("GET", "/papi/v1/um/accountConfig", self.access_weight, {}), "um/accountConfig"
        )

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
            algo_or_strategy(
                self.http.base_url,
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
            return algo_or_strategy(
                self.http.base_url, lambda: self.open_algo(symbol), lambda: self.open_strategies("um", symbol)
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
            return algo_or_strategy(
                self.http.base_url, lambda: self.algo(ref), lambda: self._strategy("um", ref)
            )
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
        """The smallest order of one book that cannot fill."""
        return plan(self.http, self.family(family))

    def place_far_order(self, order: FarOrder, client_order_id: str) -> Order:
        """Place an order in the book of its family, once."""
        return place(self.http, order, client_order_id)

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
                return algo_or_strategy(
                    self.http.base_url,
                    lambda: self.algo_history(symbol, start_ms, end_ms),
                    lambda: self.strategy_history("um", symbol, start_ms, end_ms),
                )
            if family == CM_CONDITIONAL.slug:
                return self.strategy_history("cm", symbol, start_ms, end_ms)
            return self.ordinary_history(family, symbol, start_ms, end_ms)

        return history_in_windows(window, since, self.http.clock.now_ms(), HISTORY_WINDOW_MS)

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

    def _cancel(self, family: str, ref: OrderRef) -> None:
        if family == UM_CONDITIONAL.slug:
            algo_or_strategy(
                self.http.base_url,
                lambda: self.cancel_algo(ref),
                lambda: self.cancel_strategy("um", ref),
                cancels=True,
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
