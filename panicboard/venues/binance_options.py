"""Binance options: one book, cancels by symbol or by underlying, countdowns by underlying.

A countdown is set once and then kept alive by heartbeats. Once it has fired, the venue refuses new orders
on that underlying until the next heartbeat, or until the countdown is set to 0: a heartbeat unlocks
trading. Countdowns are for market makers; other accounts get VenueRejected (-6005).

https://developers.binance.com/docs/derivatives/options-trading/general-info
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Unpack

from panicboard.venues.asked import of_symbol, same_order
from panicboard.venues.base import (
    Access,
    BookSymbol,
    CancelResult,
    Credentials,
    Decided,
    Family,
    FarOrder,
    HeartbeatReply,
    Limit,
    Listing,
    MassCancel,
    MassCancelReply,
    Opened,
    Order,
    OrderRef,
    VenueAdapter,
    VenueCountdown,
)
from panicboard.venues.binance import BinanceHttp, order_state
from panicboard.venues.binance_markets import as_placed, rules_of
from panicboard.venues.binance_replies import (
    CLOCK_ERROR_MS,
    HISTORY_PAGE,
    access,
    acknowledge,
    batch_cancel,
    fields,
    history_in_windows,
    one_id,
    required,
    required_id,
    rows,
    single_cancel,
)
from panicboard.venues.errors import NotDone, OutcomeUnknown
from panicboard.venues.far_orders import FAR_BELOW, far_bid, plain
from panicboard.venues.values import (
    LONGEST_COUNTDOWN_MS,
    LONGEST_SIDE,
    LONGEST_TYPE,
    amount,
    flag,
    label,
    moment,
    quoted,
    whole,
)

ORDINARY = Family(
    slug="ordinary",
    label="Ordinary",
    conditional=False,
    cancel_weight=5,
    list_symbol_weight=1,
    list_all_weight=40,
    query_weight=1,
    cancel_batch=10,
)

#: New orders, of all symbols together.
ORDERS = Limit("eapi-orders", "key", 1200)
#: An option fit for a canary lives so long yet, moves so much with its underlying, and has half of its price
#: so many ticks above zero: then nobody sells it at that half.
CANARY_LIFE_MS = 7 * 24 * 3600 * 1000
CANARY_DELTAS = (Decimal("0.3"), Decimal("0.7"))
CANARY_TICKS = 10
HISTORY_DEPTH_MS = 5 * 24 * 3600 * 1000  # the venue keeps finished orders this long


class BinanceOptions(VenueAdapter):
    """One account at Binance options.

    Every call may raise CredentialsRejected, ClockRejected, RateLimited, BudgetSpent, NotDone or
    OutcomeUnknown; a method names only what it adds. Weights count per address, 2400 a minute.
    """

    slug = "binance-options"
    label = "Binance Options"
    families = (ORDINARY,)
    limits: ClassVar[tuple[Limit, ...]] = (Limit("eapi", "address", 2400), ORDERS)
    key_types = ("hmac", "rsa", "ed25519")
    has_countdown = True
    countdown_scope = "underlying"
    countdown_weight = 1
    heartbeat_weight = 10
    one_heartbeat_for_many = True
    shortest_countdown_ms = 5000
    countdown_check_ms = 1000  # 100 ms by the newer pages, 1 s by the older
    has_countdown_read = True
    locks_after_firing = True
    access_weight = 3
    canary_families = (ORDINARY.slug,)

    #: What `underlyings` has learnt of symbols whose name does not tell; the same for every account.
    _underlyings: ClassVar[dict[str, str]] = {}

    def __init__(self, base_url: str, credentials: Credentials, **opened: Unpack[Opened]) -> None:
        self.http = BinanceHttp(
            base_url,
            credentials,
            limit=self.limits[0],
            **opened,
            time_path="/eapi/v1/time",
            # Here -1008 carries the texts of the weight limit; on futures it is overload protection.
            rate_limit_codes=frozenset({"-1003", "-1008"}),
        )

    @classmethod
    def underlying_of(cls, symbol: str) -> str | None:
        """The underlying that a symbol's calls by underlying name: BTCUSDT for BTC-200730-9000-C."""
        asset, dash, _ = symbol.partition("-")
        return cls._underlyings.get(symbol) or (f"{asset}USDT" if asset and dash else None)

    @classmethod
    def countdown_of(cls, symbol: str) -> str:
        """The underlying whose countdown is over the orders of this symbol."""
        return cls.underlying_of(symbol) or symbol

    @classmethod
    def mass_cancels(cls, symbols: Collection[BookSymbol], *, whole_account: bool) -> list[MassCancel]:
        """One call an underlying where several symbols share it, else one call a symbol.

        The call by underlying reaches symbols that were not asked for, so only a sweep of the whole
        account uses it.
        """
        groups: dict[str, list[str]] = {}
        for name in sorted({known.symbol for known in symbols}):
            shared = cls.underlying_of(name) if whole_account else None
            groups.setdefault(shared or name, []).append(name)
        return [
            MassCancel(ORDINARY.slug, shared, 5, by_underlying=True)
            if len(names) > 1
            else MassCancel(ORDINARY.slug, names[0], 1)
            for shared, names in groups.items()
        ]

    @classmethod
    def covers(cls, call: MassCancel, book: BookSymbol) -> bool:
        """Whether a mass cancel reaches the orders of this symbol; one by underlying reaches all of its."""
        if call.by_underlying:
            return cls.underlying_of(book.symbol) == call.target
        return super().covers(call, book)

    @classmethod
    def listings(cls, symbols: Collection[BookSymbol] | None, *, quick: bool = False) -> list[Listing]:
        """Each symbol by itself, or all in one where that is no dearer."""
        names = sorted({known.symbol for known in symbols or ()})
        if symbols is None or len(names) * ORDINARY.list_symbol_weight >= ORDINARY.list_all_weight:
            return [Listing(ORDINARY.slug, None, ORDINARY.list_all_weight)]
        return [Listing(ORDINARY.slug, name, ORDINARY.list_symbol_weight) for name in names]

    def sync_clock(self) -> int:
        """Read the venue's clock and keep the offset, in ms.

        GET /eapi/v1/time, weight 1, no key.
        https://developers.binance.com/docs/derivatives/options-trading/market-data/Check-Server-Time
        """
        return self.http.sync_clock()

    def check_access(self) -> Access:
        """Ask whether this key is valid and its account may trade.

        GET /eapi/v1/marginAccount, weight 3.
        https://developers.binance.com/docs/derivatives/options-trading/account/Option-Margin-Account-Information
        """
        return access(
            self.http.signed("GET", "/eapi/v1/marginAccount", self.access_weight, {}), "marginAccount"
        )

    def underlyings(self) -> dict[str, str]:
        """Each symbol's underlying as the venue tells it, kept for `underlying_of`.

        GET /eapi/v1/exchangeInfo, weight 1, no key.
        https://developers.binance.com/docs/derivatives/options-trading/market-data/Exchange-Information
        """
        reply = fields(self.http.public("GET", "/eapi/v1/exchangeInfo", 1), "exchangeInfo")
        symbols = rows(reply.get("optionSymbols"), "exchangeInfo optionSymbols")
        told = {required(item, "symbol"): required(item, "underlying") for item in symbols}
        self._underlyings.update(told)
        return told

    def set_countdown(self, scope: str, countdown_ms: int, decided: Decided | None = None) -> int:
        """Set the countdown of one underlying, 5000 ms or more; 0 takes it away and unlocks trading.

        POST /eapi/v1/countdownCancelAll, weight 1. It runs from here on, and from each heartbeat anew;
        when it runs out the venue cancels every order of the underlying and refuses new ones.

        Returns the countdown the venue confirmed, in ms. Raises VenueRejected for a length it does not
        take (-6009), a wrong underlying (-1128), or an account that is no market maker's (-6005).
        https://developers.binance.com/docs/derivatives/options-trading/market-maker-endpoints/Set-Auto-Cancel-All-Open-Orders-Config
        """
        params = {"underlying": scope, "countdownTime": countdown_ms}
        reply = self.http.signed("POST", "/eapi/v1/countdownCancelAll", 1, params, decided)
        return _countdown(fields(reply, "countdownCancelAll")).countdown_ms

    def countdowns(self, underlying: str | None = None) -> list[VenueCountdown]:
        """The countdowns that are set, of one underlying or of all; the venue leaves out those taken away.

        GET /eapi/v1/countdownCancelAll, weight 1. One object or a list of them: the venue shows one.
        Raises VenueRejected (-6005) for an account that is no market maker's.
        https://developers.binance.com/docs/derivatives/options-trading/market-maker-endpoints/Get-Auto-Cancel-All-Open-Orders-Config
        """
        reply = self.http.signed("GET", "/eapi/v1/countdownCancelAll", 1, {"underlying": underlying})
        if isinstance(reply, dict):
            reply = [reply] if reply else []
        return [_countdown(item) for item in rows(reply, "countdownCancelAll")]

    def heartbeat(self, scopes: Sequence[str], decided: Decided | None = None) -> HeartbeatReply:
        """Restart the countdowns of these underlyings, and unlock trading on those that had fired.

        POST /eapi/v1/countdownCancelAllHeartBeat, weight 10 however many there are. The venue names only
        those it restarted: whatever is `missing` has no countdown running for it.
        https://developers.binance.com/docs/derivatives/options-trading/market-maker-endpoints/Auto-Cancel-All-Open-Orders-Heartbeat
        """
        params = {"underlyings": ",".join(scopes)}
        reply = self.http.signed("POST", "/eapi/v1/countdownCancelAllHeartBeat", 10, params, decided)
        named = fields(reply, "countdownCancelAllHeartBeat").get("underlyings")
        if not isinstance(named, list):
            raise OutcomeUnknown(f"countdownCancelAllHeartBeat replied {quoted(reply)}")
        return HeartbeatReply(
            refreshed=tuple(name for name in scopes if name in named),
            missing=tuple(name for name in scopes if name not in named),
        )

    def mass_cancel(self, call: MassCancel) -> MassCancelReply:
        """Cancel every order of one symbol or underlying; the venue names none of them."""
        if call.target is None:
            raise ValueError("a mass cancel names a symbol or an underlying here")
        if call.by_underlying:
            self.cancel_all_of_underlying(call.target)
        else:
            self.cancel_all(call.target)
        return MassCancelReply()

    def cancel_all(self, symbol: str) -> None:
        """Ask the venue to cancel every order of one symbol.

        DELETE /eapi/v1/allOpenOrders, weight 1. Raises UnknownSymbol (-1121) for a wrong symbol.
        https://developers.binance.com/docs/derivatives/options-trading/trade/Cancel-all-Option-orders-on-specific-symbol
        """
        reply = self.http.signed("DELETE", "/eapi/v1/allOpenOrders", 1, {"symbol": symbol})
        acknowledge(reply, "allOpenOrders")

    def cancel_all_of_underlying(self, underlying: str) -> None:
        """Ask the venue to cancel every order of one underlying, on all its symbols.

        DELETE /eapi/v1/allOpenOrdersByUnderlying, weight 5. Raises VenueRejected (-1128) for a wrong one.
        https://developers.binance.com/docs/derivatives/options-trading/trade/Cancel-All-Option-Orders-By-Underlying
        """
        params = {"underlying": underlying}
        reply = self.http.signed("DELETE", "/eapi/v1/allOpenOrdersByUnderlying", 5, params)
        acknowledge(reply, "allOpenOrdersByUnderlying")

    def cancel_orders(self, family: str, symbol: str, refs: Sequence[OrderRef]) -> list[CancelResult]:
        """Cancel up to ten orders of one symbol in one call: weight 1 for one order, 5 for more."""
        if len(refs) > self.family(family).cancel_batch:
            raise ValueError(f"{len(refs)} orders are too many for one call")
        if len(refs) > 1:
            return self.cancel_batch(symbol, refs)
        return [single_cancel(ref, self.cancel_order) for ref in refs]

    def cancel_batch(self, symbol: str, refs: Sequence[OrderRef]) -> list[CancelResult]:
        """Cancel up to ten orders of one symbol; one result each, in order.

        DELETE /eapi/v1/batchOrders, weight 5. The venue documents no form for an order it does not find,
        so refused items, absent items and a refused request are all understood.
        https://developers.binance.com/docs/derivatives/options-trading/trade/Cancel-Multiple-Option-Orders
        """
        return batch_cancel(
            refs,
            ("orderIds", "clientOrderIds"),
            lambda ids: self.http.signed("DELETE", "/eapi/v1/batchOrders", 5, {"symbol": symbol, **ids}),
            "batchOrders",
        )

    def cancel_order(self, ref: OrderRef) -> None:
        """Cancel one order.

        DELETE /eapi/v1/order, weight 1. The state in the reply may be the one from before the cancel.
        Raises OrderNotFound (-2011, -2013, -6028) when it is not open.
        https://developers.binance.com/docs/derivatives/options-trading/trade/Cancel-Option-Order
        """
        params = {"symbol": ref.symbol, **one_id(ref, "orderId", "clientOrderId")}
        same_order(_order(self.http.signed("DELETE", "/eapi/v1/order", 1, params)), ref)

    def open_orders(self, listing: Listing) -> list[Order]:
        """The open orders of one symbol, or of all.

        GET /eapi/v1/openOrders, weight 1 with a symbol, 40 without.
        https://developers.binance.com/docs/derivatives/options-trading/trade/Query-Current-Open-Option-Orders
        """
        weight = ORDINARY.list_symbol_weight if listing.symbol else ORDINARY.list_all_weight
        reply = self.http.signed("GET", "/eapi/v1/openOrders", weight, {"symbol": listing.symbol})
        return of_symbol([_order(item) for item in rows(reply, "openOrders")], listing.symbol)

    def order(self, ref: OrderRef) -> Order:
        """One order's present state.

        GET /eapi/v1/order, weight 1. Raises OrderNotFound (-2013), also for an order cancelled or rejected
        without any fill and older than 3 days.
        https://developers.binance.com/docs/derivatives/options-trading/trade/Query-Single-Order
        """
        params = {"symbol": ref.symbol, **one_id(ref, "orderId", "clientOrderId")}
        return same_order(_order(self.http.signed("GET", "/eapi/v1/order", 1, params)), ref)

    def plan_far_order(self, family: str) -> FarOrder:
        """The smallest bid that cannot fill, on the option of which the least costs the least.

        GET /eapi/v1/exchangeInfo, weight 1, and GET /eapi/v1/mark, weight 5; no key.
        https://developers.binance.com/docs/derivatives/options-trading/market-data/Exchange-Information
        https://developers.binance.com/docs/derivatives/options-trading/market-data/Option-Mark-Price
        """
        reply = fields(self.http.public("GET", "/eapi/v1/exchangeInfo", 1), "exchangeInfo")
        options = rows(reply.get("optionSymbols"), "exchangeInfo optionSymbols")
        told = rows(self.http.public("GET", "/eapi/v1/mark", 5), "mark")
        marks = {required(mark, "symbol"): mark for mark in told}
        alive_ms = self.http.clock.now_ms() + CANARY_LIFE_MS
        fit = []
        for option in options:
            name = required(option, "symbol")
            mark = marks.get(name, {})
            if (
                option.get("status", "TRADING") == "TRADING"
                and amount(option.get("expiryDate")) >= alive_ms
                and CANARY_DELTAS[0] <= abs(amount(mark.get("delta"))) <= CANARY_DELTAS[1]
            ):
                rules, price = rules_of(option), amount(mark.get("markPrice"))
                if price * FAR_BELOW >= CANARY_TICKS * rules.tick:
                    fit.append(far_bid(family, name, price, rules))
        if not fit:
            raise NotDone("no option that lives a week yet is fit for an order far from the market")
        return min(fit, key=lambda order: ((order.price or 0) * order.quantity, order.symbol))

    def place_far_order(self, order: FarOrder, client_order_id: str) -> Order:
        """Place a bid that is refused rather than taken at once, once.

        POST /eapi/v1/order, no weight, one of the order count. Raises VenueRejected, as after a countdown has
        fired (-2010), and OutcomeUnknown when it may stand: never to be repeated then.
        https://developers.binance.com/docs/derivatives/options-trading/trade/New-Order
        """
        params = {
            "symbol": order.symbol,
            "side": "BUY",
            "type": order.order_type,
            "quantity": plain(order.quantity),
            "price": plain(order.price),
            "timeInForce": "GTC",
            "postOnly": True,
            "newOrderRespType": "RESULT",  # the shorter one tells no status
            "clientOrderId": client_order_id,
        }
        self.http.budget.spend(ORDERS, 1)
        return as_placed(_order(self.http.signed("POST", "/eapi/v1/order", 0, params)), client_order_id)

    def history_weight(self, family: str) -> int | None:
        """Weight 3 for every thousand orders begun."""
        return 3

    def history(self, family: str, symbol: str, since: datetime) -> list[Order]:
        """The finished orders of one symbol placed since then, no further back than the venue keeps them.

        GET /eapi/v1/historyOrders, weight 3 a page of at most 1000. Finished orders of the last 5 days.
        https://developers.binance.com/docs/derivatives/options-trading/trade/Query-Option-Order-History
        """

        def page(start_ms: int, end_ms: int) -> list[Order]:
            params = {"symbol": symbol, "startTime": start_ms, "endTime": end_ms, "limit": HISTORY_PAGE}
            reply = self.http.signed("GET", "/eapi/v1/historyOrders", 3, params)
            return of_symbol([_order(item) for item in rows(reply, "historyOrders")], symbol)

        now_ms = self.http.clock.now_ms()
        oldest = datetime.fromtimestamp((now_ms - HISTORY_DEPTH_MS) / 1000, UTC)
        one_window_ms = HISTORY_DEPTH_MS + CLOCK_ERROR_MS + 1
        return history_in_windows(page, max(since, oldest), now_ms, one_window_ms)


def _order(reply: Any) -> Order:
    item = fields(reply, "order")
    status = required(item, "status")
    return Order(
        family=ORDINARY.slug,
        symbol=required(item, "symbol"),
        venue_order_id=required_id(item, "orderId"),
        client_order_id=label(item.get("clientOrderId")),
        state=order_state(status),
        venue_status=status,
        side=label(item.get("side"), LONGEST_SIDE),
        order_type=label(item.get("type"), LONGEST_TYPE),
        quantity=amount(item.get("quantity")).copy_abs(),  # the history counts what is sold as negative
        filled=amount(item.get("executedQty")).copy_abs(),
        price=amount(item.get("price")) or None,
        protective=flag(item.get("reduceOnly")),
        placed_at=moment(item.get("createTime") or item.get("createDate")),
        updated_at=moment(item.get("updateTime")),
    )


def _countdown(item: dict[str, Any]) -> VenueCountdown:
    countdown_ms = whole(item.get("countdownTime"), most=LONGEST_COUNTDOWN_MS)
    if countdown_ms is None:
        raise OutcomeUnknown(f"a countdown of {quoted(item.get('countdownTime'))} ms cannot be read")
    return VenueCountdown(required(item, "underlying"), countdown_ms)
