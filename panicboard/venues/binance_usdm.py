"""Binance USDⓈ-M futures: two books, one symbol a cancel, one countdown a symbol.

Conditional orders (stops, take-profits, trailing stops) live in a service of their own: the ordinary
calls neither list nor cancel them. One that triggers leaves that book and appears in the ordinary one
under a new id, so a reading takes the conditional book first.

https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
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
    Decided,
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
from panicboard.venues.binance_replies import (
    HISTORY_PAGE,
    access,
    acknowledge,
    batch_cancel,
    fields,
    history_in_windows,
    one_id,
    required,
    rows,
    single_cancel,
)
from panicboard.venues.errors import OutcomeUnknown
from panicboard.venues.far_orders import far_bid, far_stop, plain
from panicboard.venues.values import LONGEST_COUNTDOWN_MS, quoted, whole

CONDITIONAL = Family(
    slug="conditional",
    label="Conditional",
    conditional=True,
    cancel_weight=1,
    list_symbol_weight=1,
    list_all_weight=40,
    query_weight=1,
    triggers_into="ordinary",
)
ORDINARY = Family(
    slug="ordinary",
    label="Ordinary",
    conditional=False,
    cancel_weight=1,
    list_symbol_weight=1,
    list_all_weight=40,
    query_weight=1,
    cancel_batch=10,
)

#: New orders of both books together; the venue also allows no more than 300 in 10 s.
ORDERS = Limit("fapi-orders", "key", 1200)
#: Where a canary's orders stand: a symbol whose smallest order is worth 5 USDT only.
CANARY_SYMBOL = "XRPUSDT"
HISTORY_WINDOW_MS = 7 * 24 * 3600 * 1000  # the venue wants the two times less than seven days apart


class BinanceUsdm(VenueAdapter):
    """One account at Binance USDⓈ-M futures.

    Every call may raise CredentialsRejected, ClockRejected, RateLimited, BudgetSpent, NotDone or
    OutcomeUnknown; a method names only what it adds. Weights count per address, 2400 a minute.
    """

    slug = "binance-usdm"
    label = "Binance USD-M"
    families = (CONDITIONAL, ORDINARY)
    limits: ClassVar[tuple[Limit, ...]] = (Limit("fapi", "address", 2400), ORDERS)
    key_types = ("hmac", "rsa", "ed25519")
    has_countdown = True
    countdown_scope = "symbol"
    countdown_weight = 10
    heartbeat_weight = 10
    shortest_countdown_ms = 5000  # the venue publishes none; it advises against very short ones
    countdown_check_ms = 10
    access_weight = 5
    canary_families = (CONDITIONAL.slug, ORDINARY.slug)

    def __init__(self, base_url: str, credentials: Credentials, **opened: Unpack[Opened]) -> None:
        self.http = BinanceHttp(
            base_url,
            credentials,
            limit=self.limits[0],
            **opened,
            time_path="/fapi/v1/time",
        )

    @classmethod
    def mass_cancels(cls, symbols: Collection[BookSymbol], *, whole_account: bool) -> list[MassCancel]:
        """Both books of every symbol, conditional first; the venue has no account-wide call."""
        names = sorted({known.symbol for known in symbols})
        return [MassCancel(family.slug, name, 1) for name in names for family in cls.families]

    @classmethod
    def listings(cls, symbols: Collection[BookSymbol] | None, *, quick: bool = False) -> list[Listing]:
        """Both books of every symbol, since triggering moves an order from one to the other."""
        names = sorted({known.symbol for known in symbols or ()})
        listings: list[Listing] = []
        for family in cls.families:
            if symbols is None or len(names) * family.list_symbol_weight >= family.list_all_weight:
                listings.append(Listing(family.slug, None, family.list_all_weight))
            else:
                listings += [Listing(family.slug, name, family.list_symbol_weight) for name in names]
        return listings

    def sync_clock(self) -> int:
        """Read the venue's clock and keep the offset, in ms.

        GET /fapi/v1/time, weight 1, no key.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Check-Server-Time
        """
        return self.http.sync_clock()

    def check_access(self) -> Access:
        """Ask whether this key is valid and its account may trade.

        GET /fapi/v1/accountConfig, weight 5. (`/fapi/v3/account` does not tell.)
        https://developers.binance.com/docs/derivatives/usds-margined-futures/account/rest-api/Account-Config
        """
        return access(
            self.http.signed("GET", "/fapi/v1/accountConfig", self.access_weight, {}), "accountConfig"
        )

    def symbol_statuses(self) -> dict[str, str]:
        """The venue's symbols, each with its status such as TRADING or SETTLING.

        GET /fapi/v1/exchangeInfo, weight 1, no key.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Exchange-Information
        """
        reply = fields(self.http.public("GET", "/fapi/v1/exchangeInfo", 1), "exchangeInfo")
        symbols = rows(reply.get("symbols"), "exchangeInfo symbols")
        return {required(item, "symbol"): required(item, "status") for item in symbols}

    def set_countdown(self, scope: str, countdown_ms: int, decided: Decided | None = None) -> int:
        """(Re)start the venue's dead man's switch for one symbol; 0 stops it. This is its heartbeat, too.

        POST /fapi/v1/countdownCancelAll, weight 10. If no further call comes within ``countdown_ms``, the
        venue cancels the symbol's open orders by itself; whether conditional ones too, it does not say.

        Returns the countdown the venue confirmed, in ms. Raises VenueRejected for a wrong symbol.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Auto-Cancel-All-Open-Orders
        """
        params = {"symbol": scope, "countdownTime": countdown_ms}
        reply = self.http.signed("POST", "/fapi/v1/countdownCancelAll", 10, params, decided)
        told = fields(reply, "countdownCancelAll").get("countdownTime")  # sent as text, e.g. "30000"
        told_ms = whole(told, most=LONGEST_COUNTDOWN_MS)
        if told_ms is None:
            raise OutcomeUnknown(f"countdownCancelAll replied {quoted(reply)}")
        return told_ms

    def mass_cancel(self, call: MassCancel) -> MassCancelReply:
        """Cancel one book's orders on one symbol; the venue names none of them."""
        if call.target is None:
            raise ValueError("a mass cancel names a symbol here")
        if call.family == CONDITIONAL.slug:
            self.cancel_all_conditional(call.target)
        else:
            self.cancel_all_ordinary(call.target)
        return MassCancelReply()

    def cancel_all_ordinary(self, symbol: str) -> None:
        """Ask the venue to cancel every ordinary order of one symbol.

        DELETE /fapi/v1/allOpenOrders, weight 1. Raises UnknownSymbol (-1121) for a wrong symbol.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Cancel-All-Open-Orders
        """
        reply = self.http.signed("DELETE", "/fapi/v1/allOpenOrders", 1, {"symbol": symbol})
        acknowledge(reply, "allOpenOrders")

    def cancel_all_conditional(self, symbol: str) -> None:
        """Ask the venue to cancel every conditional order of one symbol.

        DELETE /fapi/v1/algoOpenOrders, weight 1. Raises UnknownSymbol (-1121) for a wrong symbol.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Cancel-All-Algo-Open-Orders
        """
        reply = self.http.signed("DELETE", "/fapi/v1/algoOpenOrders", 1, {"symbol": symbol})
        acknowledge(reply, "algoOpenOrders")

    def cancel_orders(self, family: str, symbol: str, refs: Sequence[OrderRef]) -> list[CancelResult]:
        """Cancel one conditional order, or up to ten ordinary ones, in one call."""
        if len(refs) > self.family(family).cancel_batch:
            raise ValueError(f"{len(refs)} {family} orders are too many for one call")
        if len(refs) > 1:
            return self.cancel_batch(symbol, refs)
        cancel = self.cancel_conditional if family == CONDITIONAL.slug else self.cancel_ordinary
        return [single_cancel(ref, cancel) for ref in refs]

    def cancel_batch(self, symbol: str, refs: Sequence[OrderRef]) -> list[CancelResult]:
        """Cancel up to ten ordinary orders of one symbol; one result each, in order.

        DELETE /fapi/v1/batchOrders, weight 1. The reply is 200 even where single orders are refused.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Cancel-Multiple-Orders
        """
        return batch_cancel(
            refs,
            ("orderIdList", "origClientOrderIdList"),
            lambda ids: self.http.signed("DELETE", "/fapi/v1/batchOrders", 1, {"symbol": symbol, **ids}),
            "batchOrders",
        )

    def cancel_ordinary(self, ref: OrderRef) -> None:
        """Cancel one ordinary order.

        DELETE /fapi/v1/order, weight 1. Raises OrderNotFound (-2011) when it is not in this book.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Cancel-Order
        """
        params = {"symbol": ref.symbol, **one_id(ref, "orderId", "origClientOrderId")}
        same_order(
            ordinary_order(ORDINARY.slug, self.http.signed("DELETE", "/fapi/v1/order", 1, params)), ref
        )

    def cancel_conditional(self, ref: OrderRef) -> None:
        """Cancel one conditional order.

        DELETE /fapi/v1/algoOrder, weight 1; takes no symbol. Raises OrderNotFound (-2011) when it is not
        in this book: gone, or triggered and now in the ordinary one.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Cancel-Algo-Order
        """
        reply = self.http.signed("DELETE", "/fapi/v1/algoOrder", 1, one_id(ref, "algoId", "clientAlgoId"))
        acknowledge(reply, "algoOrder")

    def open_orders(self, listing: Listing) -> list[Order]:
        """The open orders of one book, of one symbol or of all."""
        if listing.family == CONDITIONAL.slug:
            return self.open_conditional(listing.symbol)
        return self.open_ordinary(listing.symbol)

    def open_ordinary(self, symbol: str | None) -> list[Order]:
        """The open ordinary orders of one symbol, or of all.

        GET /fapi/v1/openOrders, weight 1 with a symbol, 40 without.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Current-All-Open-Orders
        """
        weight = ORDINARY.list_symbol_weight if symbol else ORDINARY.list_all_weight
        reply = self.http.signed("GET", "/fapi/v1/openOrders", weight, {"symbol": symbol})
        return of_symbol([ordinary_order(ORDINARY.slug, item) for item in rows(reply, "openOrders")], symbol)

    def open_conditional(self, symbol: str | None) -> list[Order]:
        """The open conditional orders of one symbol, or of all.

        GET /fapi/v1/openAlgoOrders, weight 1 with a symbol, 40 without.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Current-All-Algo-Open-Orders
        """
        weight = CONDITIONAL.list_symbol_weight if symbol else CONDITIONAL.list_all_weight
        reply = self.http.signed("GET", "/fapi/v1/openAlgoOrders", weight, {"symbol": symbol})
        orders = [algo_order(CONDITIONAL.slug, item) for item in rows(reply, "openAlgoOrders")]
        return of_symbol(orders, symbol)

    def order(self, ref: OrderRef) -> Order:
        """One order's present state, from the book it belongs to."""
        if ref.family == CONDITIONAL.slug:
            return self.conditional_order(ref)
        return self.ordinary_order(ref)

    def ordinary_order(self, ref: OrderRef) -> Order:
        """One ordinary order's present state.

        GET /fapi/v1/order, weight 1. Raises OrderNotFound (-2013), also for an order cancelled without any
        fill and older than 3 days, and for any after 90 days.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Query-Order
        """
        params = {"symbol": ref.symbol, **one_id(ref, "orderId", "origClientOrderId")}
        return same_order(
            ordinary_order(ORDINARY.slug, self.http.signed("GET", "/fapi/v1/order", 1, params)), ref
        )

    def conditional_order(self, ref: OrderRef) -> Order:
        """One conditional order's present state; `successor_id` names the ordinary order it became.

        GET /fapi/v1/algoOrder, weight 1; takes no symbol. Raises OrderNotFound (-2013).
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Query-Algo-Order
        """
        reply = self.http.signed("GET", "/fapi/v1/algoOrder", 1, one_id(ref, "algoId", "clientAlgoId"))
        return same_order(algo_order(CONDITIONAL.slug, reply), ref)

    def plan_far_order(self, family: str) -> FarOrder:
        """The smallest order of one book that cannot fill.

        GET /fapi/v1/exchangeInfo, weight 1, and GET /fapi/v1/premiumIndex, weight 1 with a symbol; no key.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Exchange-Information
        https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Mark-Price
        """
        rules = symbol_rules(self.http.public("GET", "/fapi/v1/exchangeInfo", 1), CANARY_SYMBOL)
        reply = self.http.public("GET", "/fapi/v1/premiumIndex", 1, {"symbol": CANARY_SYMBOL})
        plan = far_stop if family == CONDITIONAL.slug else far_bid
        return plan(family, CANARY_SYMBOL, price_of(reply, CANARY_SYMBOL, "markPrice"), rules)

    def place_far_order(self, order: FarOrder, client_order_id: str) -> Order:
        """Place an order in the book of its family, once."""
        place = self.place_conditional if order.family == CONDITIONAL.slug else self.place_ordinary
        return as_placed(place(order, client_order_id), client_order_id)

    def place_ordinary(self, order: FarOrder, client_order_id: str) -> Order:
        """Place a bid that is refused rather than taken at once (GTX).

        POST /fapi/v1/order, weight 0, one of the order count. Raises VenueRejected, as for want of margin
        (-2019), and OutcomeUnknown when it may stand: never to be repeated then.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/New-Order
        """
        params = {
            "symbol": order.symbol,
            "side": "BUY",
            "type": order.order_type,
            "timeInForce": "GTX",
            "quantity": plain(order.quantity),
            "price": plain(order.price),
            "newClientOrderId": client_order_id,
            "newOrderRespType": "RESULT",
        }
        self.http.budget.spend(ORDERS, 1)
        return ordinary_order(ORDINARY.slug, self.http.signed("POST", "/fapi/v1/order", 0, params))

    def place_conditional(self, order: FarOrder, client_order_id: str) -> Order:
        """Place a buy that triggers above the market.

        POST /fapi/v1/algoOrder, weight 0, one of the order count; at most 200 stand at a time (-4045). The
        ordinary call refuses such orders since 2025-12-09 (-4120).
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/New-Algo-Order
        """
        self.http.budget.spend(ORDERS, 1)
        reply = self.http.signed("POST", "/fapi/v1/algoOrder", 0, algo_params(order, client_order_id))
        return algo_order(CONDITIONAL.slug, reply)

    def history_weight(self, family: str) -> int | None:
        """Weight 5 for every seven days begun and every thousand orders in them."""
        return 5

    def history(self, family: str, symbol: str, since: datetime) -> list[Order]:
        """Every order of one book and symbol placed since then, in as many calls as that takes."""
        fetch = self.conditional_history if family == CONDITIONAL.slug else self.ordinary_history
        return history_in_windows(
            lambda start_ms, end_ms: fetch(symbol, start_ms, end_ms),
            since,
            self.http.clock.now_ms(),
            HISTORY_WINDOW_MS,
        )

    def ordinary_history(self, symbol: str, start_ms: int, end_ms: int) -> list[Order]:
        """Ordinary orders of one symbol placed between two times, less than seven days apart; one page.

        GET /fapi/v1/allOrders, weight 5. At most 1000 orders.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/All-Orders
        """
        params = {"symbol": symbol, "startTime": start_ms, "endTime": end_ms, "limit": HISTORY_PAGE}
        reply = self.http.signed("GET", "/fapi/v1/allOrders", 5, params)
        return of_symbol([ordinary_order(ORDINARY.slug, item) for item in rows(reply, "allOrders")], symbol)

    def conditional_history(self, symbol: str, start_ms: int, end_ms: int) -> list[Order]:
        """Conditional orders of one symbol placed between two times, less than seven days apart; one page.

        GET /fapi/v1/allAlgoOrders, weight 5. At most 1000 orders.
        https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Query-All-Algo-Orders
        """
        params = {"symbol": symbol, "startTime": start_ms, "endTime": end_ms, "limit": HISTORY_PAGE}
        reply = self.http.signed("GET", "/fapi/v1/allAlgoOrders", 5, params)
        orders = [algo_order(CONDITIONAL.slug, item) for item in rows(reply, "allAlgoOrders")]
        return of_symbol(orders, symbol)
