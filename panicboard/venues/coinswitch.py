"""CoinSwitch PRO futures: one book, one call that cancels the whole account, and small limits by call.

A cancel only asks. The order is CANCELLATION_RAISED until the venue has carried it out, and may still
fill meanwhile; it counts as open until then. TP/SL orders are in the same book as all others.

https://api-trading.coinswitch.co/futures/concepts/order-lifecycle
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Unpack

from panicboard.venues.asked import collect, of_symbol, same_order
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
    OrderState,
    VenueAdapter,
)
from panicboard.venues.coinswitch_http import BANS, CLOSED_ORDERS, OPEN_ORDERS, CoinSwitchHttp
from panicboard.venues.errors import (
    CredentialsRejected,
    EndpointGone,
    NotDone,
    OrderNotFound,
    OutcomeUnknown,
    VenueRejected,
)
from panicboard.venues.far_orders import Rules, far_bid
from panicboard.venues.values import (
    LONGEST_SIDE,
    LONGEST_TYPE,
    amount,
    flag,
    identifier,
    label,
    moment,
    quoted,
    to_ms,
    upper,
    whole,
)

EXCHANGE = "EXCHANGE_2"  # the venue's name for its futures market, in every call
PAGE = 50
WINDOW_DAYS = 7  # the longest time that one page may span
#: How far back `open_orders` looks. The venue lists open orders by windows of at most 7 days, at 20 calls
#: a minute, so a reading cannot go back forever: an order older than this is not seen, and an empty
#: reading proves nothing about it. The account-wide cancel reaches it all the same.
HORIZON_DAYS = 28

_DAY_MS = 24 * 3600 * 1000
#: The venue refuses a call whose clock is further off than this, so no clock here is.
_CLOCK_SLACK_MS = 60_000
_WINDOWS = -(-HORIZON_DAYS // WINDOW_DAYS)

ORDINARY = Family(
    slug="ordinary",
    label="Futures",
    conditional=False,
    cancel_weight=1,
    # With one page of orders, one call more than with none; each further page costs another.
    list_symbol_weight=_WINDOWS + 1,
    list_all_weight=_WINDOWS + 1,
    query_weight=1,
)

CANCEL_ALL = Limit("cancel_all", "key", 10)
CANCEL = Limit("cancel", "key", 10)
STATUS = Limit("status", "key", 20)
OPEN = Limit("open", "key", 20)
CLOSED = Limit("closed", "key", 20)
PLACE = Limit("place", "key", 20)
MARKET = Limit("market", "key", 100)

#: Where a canary's order stands, and what it is worth at least: the venue does not publish its least worth.
CANARY_SYMBOL = "XRPUSDT"
CANARY_WORTH = Decimal(10)

_STATES = {
    "RAISED": OrderState.OPEN,
    "CANCELLATION_RAISED": OrderState.OPEN,
    "EXPIRATION_RAISED": OrderState.OPEN,
    "EXECUTED": OrderState.FILLED,
    # Final on futures: a part was filled and the rest is gone. FILLED would claim the whole quantity;
    # `Order.filled` tells the part.
    "PARTIALLY_EXECUTED": OrderState.CANCELLED,
    "CANCELLED": OrderState.CANCELLED,
    "CANCELED": OrderState.CANCELLED,
    "EXPIRED": OrderState.EXPIRED,  # in the venue's prose, not in its table
    "FAILED": OrderState.REJECTED,  # in use by others, not in the venue's table
}


class CoinSwitch(VenueAdapter):
    """One account at CoinSwitch PRO futures.

    Every signed call may raise CredentialsRejected, RateLimited, BudgetSpent, NotDone or OutcomeUnknown; a
    method names only what it adds. Limits count calls of one kind by key, in 60 s: the weight of each is 1.
    """

    slug = "coinswitch"
    label = "CoinSwitch PRO"
    families = (ORDINARY,)
    limits: ClassVar[tuple[Limit, ...]] = (OPEN, CANCEL_ALL, CANCEL, STATUS, CLOSED, PLACE, MARKET)
    bans: ClassVar[Limit | None] = BANS
    key_types = ("ed25519",)
    account_wide_cancel = True
    account_wide_history = True
    #: TP/SL orders, which are in the same book, close a position that stands: a canary has none.
    canary_families = (ORDINARY.slug,)
    cancel_settle_ms = 1000  # not published; a listing is dear here, and before that it is mostly in vain
    horizon_days: ClassVar[int] = HORIZON_DAYS  #: what an empty listing proves something about

    def __init__(self, base_url: str, credentials: Credentials, **opened: Unpack[Opened]) -> None:
        self.http = CoinSwitchHttp(base_url, credentials, **opened)

    @classmethod
    def listing_limit(cls) -> Limit:
        return OPEN

    @classmethod
    def cancel_limit(cls) -> Limit:
        return CANCEL_ALL

    @classmethod
    def mass_cancels(cls, symbols: Collection[BookSymbol], *, whole_account: bool) -> list[MassCancel]:
        """One call for the whole account, or one for each symbol."""
        if whole_account:
            return [MassCancel(ORDINARY.slug, None, 1)]
        return [MassCancel(ORDINARY.slug, name, 1) for name in sorted({known.symbol for known in symbols})]

    @classmethod
    def listings(cls, symbols: Collection[BookSymbol] | None, *, quick: bool = False) -> list[Listing]:
        """One listing: of the symbol if there is one, else of all, which costs no more than two symbols.

        A quick one is the newest 7 days: two calls with a page of orders, instead of one for each 7 days.
        """
        names = {known.symbol for known in symbols or ()}
        if symbols is not None and not names:
            return []
        symbol = names.pop() if len(names) == 1 else None
        return [Listing(ORDINARY.slug, symbol, 2 if quick else ORDINARY.list_all_weight, quick)]

    def sync_clock(self) -> int:
        """Read the venue's clock and keep the offset, in ms.

        GET /trade/api/v2/time, no key, no published limit.
        https://api-trading.coinswitch.co/resources/changelog
        """
        return self.http.sync_clock()

    def check_access(self) -> Access:
        """Ask whether this key is valid; every valid key may trade.

        GET /trade/api/v2/validate/keys, no published limit. Raises CredentialsRejected for "Invalid Access".
        https://api-trading.coinswitch.co/get-started/authentication
        """
        reply = self.http.signed("GET", "/trade/api/v2/validate/keys", None)
        return Access(can_trade=True, detail=label(reply.get("message")))

    def mass_cancel(self, call: MassCancel) -> MassCancelReply:
        """Cancel every open order, TP/SL included, of one symbol or of the whole account.

        POST /trade/api/v2/futures/cancel_all, 10 calls in 60 s. The ids in the reply are those *sent* for
        cancelling: each may still fill.
        https://api-trading.coinswitch.co/futures/reference/cancel-all-open-orders
        """
        body = {"exchange": EXCHANGE}
        if call.target is not None:
            body["symbol"] = call.target
        data = _data(self.http.signed("POST", "/trade/api/v2/futures/cancel_all", CANCEL_ALL, body=body))
        ids = data.get("orders_ids", "absent")
        if ids is not None and not isinstance(ids, list):
            raise OutcomeUnknown("cancel_all replied without orders_ids", text=quoted(data))
        return MassCancelReply(requested_ids=tuple(identifier(order_id) for order_id in ids or ()))

    def cancel_orders(self, family: str, symbol: str, refs: Sequence[OrderRef]) -> list[CancelResult]:
        """Cancel one order; where several are meant, `mass_cancel` is the better call (10 in 60 s each)."""
        if len(refs) > 1:
            raise ValueError("CoinSwitch cancels one order a call")
        return [self._cancel_result(ref) for ref in refs]

    def cancel(self, ref: OrderRef) -> Order:
        """Cancel one order. Returns it as the reply shows it, usually CANCELLATION_RAISED.

        DELETE /trade/api/v2/futures/order with a JSON body, 10 calls in 60 s; takes the venue's id only.
        Raises OrderNotFound, or VenueRejected when it is final.
        https://api-trading.coinswitch.co/futures/reference/cancel-order
        """
        if not ref.venue_order_id:
            raise ValueError("CoinSwitch cancels by its own order id only")
        body = {"exchange": EXCHANGE, "order_id": ref.venue_order_id}
        reply = self.http.signed("DELETE", "/trade/api/v2/futures/order", CANCEL, body=body)
        return same_order(_order(_data(reply)), ref)

    def open_orders(self, listing: Listing) -> list[Order]:
        """The open orders of one symbol, or of all, of the last `horizon_days` (quick: 7); newest first.

        POST /trade/api/v2/futures/orders/open, 20 calls in 60 s. Takes one call for every 7 days back to
        the horizon, and one for every page of 50 that is not empty. All windows are paid before the first
        call, so that a listing which cannot be afforded costs nothing.

        Raises OutcomeUnknown when any page cannot be read to its end.
        https://api-trading.coinswitch.co/futures/reference/open-orders
        """
        start_ms = self._now_at_most_ms()
        days = WINDOW_DAYS if listing.quick else self.horizon_days
        calls = -(-days // WINDOW_DAYS)
        self.http.budget.spend(OPEN, calls)
        path = OPEN_ORDERS
        return self._walk(path, OPEN, listing.symbol, start_ms, start_ms - days * _DAY_MS, prepaid=calls)

    def order(self, ref: OrderRef) -> Order:
        """One order's present state.

        GET /trade/api/v2/futures/order, 20 calls in 60 s: for many orders, read listings instead. By the
        client's id only where the venue's is not known. Raises OrderNotFound.
        https://api-trading.coinswitch.co/futures/reference/get-order-status
        """
        if ref.venue_order_id:
            query = {"order_id": ref.venue_order_id}
        elif ref.client_order_id:
            query = {"client_order_id": ref.client_order_id}
        else:
            raise ValueError(f"an order of {ref.symbol} is named by no id")
        data = _data(self.http.signed("GET", "/trade/api/v2/futures/order", STATUS, query=query, reads=True))
        return same_order(_order(data.get("order")), ref)  # one level deeper than in every other reply

    @classmethod
    def canary_order_id(cls) -> str:
        """A new client order id; the venue takes a UUID only."""
        return str(uuid.uuid4())

    def plan_far_order(self, family: str) -> FarOrder:
        """The smallest bid that cannot fill.

        GET /trade/api/v2/futures/instrument_info and GET /trade/api/v2/futures/ticker, 100 calls in 60 s.
        https://api-trading.coinswitch.co/futures/reference/get-instrument-info
        https://api-trading.coinswitch.co/futures/reference/get-ticker
        """
        query = {"exchange": EXCHANGE}
        data = _data(self.http.signed("GET", "/trade/api/v2/futures/instrument_info", MARKET, query=query))
        rules = _rules(data.get(CANARY_SYMBOL))
        query["symbol"] = CANARY_SYMBOL
        ticker = _data(self.http.signed("GET", "/trade/api/v2/futures/ticker", MARKET, query=query))
        price = amount((ticker.get(EXCHANGE) or {}).get("mark_price"))
        if price <= 0:
            raise OutcomeUnknown(f"the venue tells no price of {CANARY_SYMBOL}", text=str(ticker)[:300])
        return far_bid(family, CANARY_SYMBOL, price, rules)

    def place_far_order(self, order: FarOrder, client_order_id: str) -> Order:
        """Place a bid, once. The venue has none that is refused rather than taken at once.

        POST /trade/api/v2/futures/order, 20 calls in 60 s. Raises VenueRejected, as for want of margin, and
        OutcomeUnknown when it may stand: never to be repeated then.
        https://api-trading.coinswitch.co/futures/reference/place-order
        """
        body = {
            "exchange": EXCHANGE,
            "symbol": order.symbol,
            "side": "BUY",
            "order_type": order.order_type,
            "price": float(order.price or 0),  # numbers in JSON: a float's shortest form is the same number
            "quantity": float(order.quantity),
            "time_in_force": "GTC",
            "client_order_id": client_order_id,
        }
        placed = _order(_data(self.http.signed("POST", "/trade/api/v2/futures/order", PLACE, body=body)))
        return same_order(placed, OrderRef(ORDINARY.slug, order.symbol, "", client_order_id))

    def history_weight(self, family: str) -> int | None:
        """Two calls of the "closed" limit as a rule; one more for every 50 orders and every 7 days."""
        return 2

    def history(self, family: str, symbol: str, since: datetime) -> list[Order]:
        """Every finished order of one symbol (empty: of all) placed since then; newest first.

        POST /trade/api/v2/futures/orders/closed, 20 calls in 60 s, 50 orders a page. Open ones are not in it.
        https://api-trading.coinswitch.co/futures/reference/closed-orders
        """
        since_ms = to_ms(since)
        path = CLOSED_ORDERS
        orders = self._walk(path, CLOSED, symbol or None, self._now_at_most_ms(), since_ms, prepaid=0)
        return [order for order in orders if order.placed_at is None or order.placed_at >= since]

    def _now_at_most_ms(self) -> int:
        return self.http.clock.now_ms() + _CLOCK_SLACK_MS

    def _cancel_result(self, ref: OrderRef) -> CancelResult:
        try:
            self.cancel(ref)
        except (CredentialsRejected, EndpointGone):
            raise  # about the account or the venue, not about this order
        except VenueRejected as exc:
            not_found = isinstance(exc, OrderNotFound)
            return CancelResult(ref, accepted=False, not_found=not_found, code=str(exc.status), text=exc.text)
        return CancelResult(ref, accepted=True)

    def _walk(
        self, path: str, limit: Limit, symbol: str | None, start_ms: int, horizon_ms: int, prepaid: int
    ) -> list[Order]:
        """Page back from now to the horizon; the first `prepaid` calls are paid for already.

        The first page names no time, so that it begins at the venue's own now. From each page that brings
        orders the walk goes on at its cursor, but never before its oldest order; where a page that is not
        full brings none that is new, the 7 days before it are next. How the venue marks its last page is
        not published, so nothing less ends the walk.
        """
        found: dict[str, Order] = {}
        end_ms: int | None = None  # None: the venue's now, which is at most start_ms
        calls = 0
        while end_ms is None or end_ms > horizon_ms:
            before_ms = start_ms if end_ms is None else end_ms
            floor_ms = max(horizon_ms, before_ms - WINDOW_DAYS * _DAY_MS)
            body: dict[str, object] = {"exchange": EXCHANGE, "limit": PAGE}
            if symbol is not None:
                body["symbol"] = symbol
            if end_ms is not None:
                body |= {"from_time": floor_ms, "to_time": end_ms}
            data = _data(
                self.http.signed("POST", path, limit, body=body, prepaid=calls < prepaid, reads=True)
            )
            calls += 1
            page, cursor_ms = _page(data)
            of_symbol(page, symbol)
            is_new = any(order.venue_order_id not in found for order in page)
            collect(found, page)
            if is_new and 0 < cursor_ms < before_ms:
                end_ms = cursor_ms
            elif len(page) < PAGE:
                end_ms = floor_ms
            elif is_new:
                raise OutcomeUnknown(f"{path}: a full page does not tell where the next one begins")
            else:
                raise OutcomeUnknown(f"{path}: a full page brings nothing new: the next cannot be read")
        return list(found.values())


def _data(reply: Mapping[str, Any]) -> dict[str, Any]:
    data = reply.get("data")
    if not isinstance(data, dict):
        raise OutcomeUnknown("the reply has no data", text=quoted(reply))
    return data


def _rules(info: Any) -> Rules:
    """What the venue wants of an order on a symbol. Raises NotDone when it is not traded."""
    if not isinstance(info, dict) or str(info.get("status")).upper() != "TRADING":
        raise NotDone(f"{CANARY_SYMBOL} is not traded now")
    # The tick counts in units of the last digit: 1 with two digits is 0.01.
    digits = int(amount(_required(info, "price_precision")))
    return Rules(
        tick=max(amount(info.get("tick_size")), Decimal(1)).scaleb(-digits),
        step=amount(_required(info, "base_quantity_step_size")),
        least_quantity=amount(_required(info, "min_base_quantity")),
        least_worth=CANARY_WORTH,
    )


def _page(data: dict[str, Any]) -> tuple[list[Order], int]:
    """The orders of one page, and where the next one begins (0: the page does not tell).

    That is its cursor, or its oldest order where the cursor would leave out what lies between.
    """
    orders = data.get("orders")
    if not isinstance(orders, list):
        raise OutcomeUnknown("the listing is not a list", text=quoted(data))
    page = [_order(item) for item in orders]
    placed_at = [order.placed_at for order in page if order.placed_at]
    cursor_ms = whole(data.get("cursor")) or 0
    if cursor_ms and placed_at:
        cursor_ms = max(cursor_ms, to_ms(min(placed_at)))
    return page, cursor_ms


def _order(item: Any) -> Order:
    status = upper(_required(item, "status"))
    if status not in _STATES:
        raise OutcomeUnknown(f"order status {status!r} is not known", text=status)
    order_type = upper(label(item.get("order_type"), LONGEST_TYPE))
    is_position_order = order_type in ("TAKE_PROFIT_MARKET", "STOP_MARKET")
    return Order(
        family=ORDINARY.slug,
        symbol=upper(_required(item, "symbol")),  # sent in either case
        venue_order_id=_required(item, "order_id"),
        client_order_id=label(item.get("client_order_id")),
        state=_STATES[status],
        venue_status=status,
        side=upper(label(item.get("side"), LONGEST_SIDE)),
        order_type=order_type,
        quantity=amount(item.get("quantity")),
        filled=amount(item.get("exec_quantity")),
        price=amount(item.get("price")) or None,
        trigger_price=amount(item.get("trigger_price")) or None,
        protective=is_position_order or flag(item.get("reduce_only")),
        cancel_pending=status in ("CANCELLATION_RAISED", "EXPIRATION_RAISED"),
        placed_at=moment(item.get("created_at")),
        updated_at=moment(item.get("updated_at")),
    )


def _required(item: Any, key: str) -> str:
    value = item.get(key) if isinstance(item, dict) else None
    if value is None or value == "":
        raise OutcomeUnknown(f"the reply has an order without {key}", text=quoted(item))
    return identifier(value)
