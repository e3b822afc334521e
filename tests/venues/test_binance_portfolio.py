"""Binance portfolio margin: every call against the payloads of the venue's documentation.

https://developers.binance.com/docs/derivatives/portfolio-margin/trade
"""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from panicboard.venues import binance_portfolio_books
from panicboard.venues.base import (
    Access,
    BookSymbol,
    CancelResult,
    Listing,
    MassCancel,
    MassCancelReply,
    Order,
    OrderRef,
    OrderState,
)
from panicboard.venues.binance_portfolio import BinancePortfolio
from panicboard.venues.binance_portfolio_books import ALGO_RETRY_S, MARGIN_ALL_ORDERS_WEIGHT
from panicboard.venues.errors import (
    CredentialsRejected,
    EndpointGone,
    OrderNotFound,
    OutcomeUnknown,
    VenueError,
    VenueRejected,
)

URL = "https://papi.binance.com"
PAPI = f"{URL}/papi/v1"

GONE = {"status": 400, "json": {"code": -21015, "msg": "This endpoint is gone."}}
NOT_FOUND = {"status": 400, "json": {"code": -2013, "msg": "Order does not exist."}}
UNKNOWN_ORDER = {"status": 400, "json": {"code": -2011, "msg": "Unknown order sent."}}

UM_ORDER = Order(
    family="um",
    symbol="BTCUSDT",
    venue_order_id="1917641",
    client_order_id="abc",
    state=OrderState.OPEN,
    venue_status="NEW",
    side="BUY",
    order_type="LIMIT",
    quantity=Decimal("0.40"),
    filled=Decimal(0),
    placed_at=datetime(2020, 1, 17, 15, 59, 16, 75_000, tzinfo=UTC),
    updated_at=datetime(2020, 1, 17, 15, 59, 16, 75_000, tzinfo=UTC),
    protective=True,  # it can only close the short side of a hedge
)
CM_ORDER = replace(UM_ORDER, family="cm", symbol="BTCUSD_200925")
ALGO_ORDER = Order(
    family="um_conditional",
    symbol="BNBUSDT",
    venue_order_id="2148627",
    client_order_id="MRumok0dkhrP4kCm12AHaB",
    state=OrderState.OPEN,
    venue_status="NEW",
    side="SELL",
    order_type="TAKE_PROFIT",
    quantity=Decimal("0.01"),
    filled=Decimal(0),
    price=Decimal(750),
    trigger_price=Decimal(750),
    placed_at=datetime(2025, 6, 21, 14, 9, 1, 540_000, tzinfo=UTC),
    updated_at=datetime(2025, 6, 21, 14, 9, 1, 540_000, tzinfo=UTC),
)
CANCELLED_ALGO_ORDER = replace(
    ALGO_ORDER,
    venue_order_id="2146760",
    client_order_id="6B2I9XVcJpCjqPAJ4YoFX7",
    state=OrderState.CANCELLED,
    venue_status="CANCELED",
    placed_at=datetime(2025, 6, 21, 5, 58, 12, 76_000, tzinfo=UTC),
    updated_at=datetime(2025, 6, 21, 14, 2, 25, 91_000, tzinfo=UTC),
)
STRATEGY = Order(
    family="cm_conditional",
    symbol="BTCUSD",
    venue_order_id="123445",
    client_order_id="abc",
    state=OrderState.OPEN,
    venue_status="NEW",
    side="BUY",
    order_type="TRAILING_STOP_MARKET",
    quantity=Decimal("0.40"),
    filled=Decimal(0),
    trigger_price=Decimal(9300),
    placed_at=datetime(2019, 8, 26, 11, 25, 24, 710_000, tzinfo=UTC),
    updated_at=datetime(2019, 8, 26, 11, 25, 24, 722_000, tzinfo=UTC),
    protective=True,  # it can only close the short side of a hedge
)
MARGIN_ORDER = Order(
    family="margin",
    symbol="BNBBTC",
    venue_order_id="211842552",
    client_order_id="qhcZw71gAkCCTv0t0k8LUK",
    state=OrderState.OPEN,
    venue_status="NEW",
    side="SELL",
    order_type="LIMIT",
    quantity=Decimal("0.3"),
    filled=Decimal(0),
    price=Decimal("0.00475010"),
    placed_at=datetime(2019, 7, 2, 4, 2, 50, 89_000, tzinfo=UTC),
    updated_at=datetime(2019, 7, 2, 4, 2, 50, 89_000, tzinfo=UTC),
)
LEG = Order(
    family="margin",
    symbol="LTCBTC",
    venue_order_id="4",
    client_order_id="r3EH2N76dHfLoSZWIUw1bT",
    state=OrderState.OPEN,
    venue_status="EXECUTING",
    side="",
    order_type="OCO",
    quantity=Decimal(0),
    filled=Decimal(0),
    list_id="31",
    placed_at=datetime(2019, 8, 8, 6, 34, 40, 644_000, tzinfo=UTC),
)
OTHER_LEG = replace(LEG, venue_order_id="5", client_order_id="Cv1SnyPD3qhqpbjpYEHbd2")
CANCELLED_ON_MARGIN = Order(
    family="margin",
    symbol="BTCUSDT",
    venue_order_id="11",
    client_order_id="E6APeyTJvkMvLMYMqu1KQ4",
    state=OrderState.CANCELLED,
    venue_status="CANCELED",
    side="BUY",
    order_type="LIMIT",
    quantity=Decimal("0.178622"),
    filled=Decimal(0),
    price=Decimal("0.089853"),
)
CANCELLED_LEGS = (
    replace(
        CANCELLED_ON_MARGIN,
        venue_order_id="20",
        client_order_id="CwOOIPHSmYywx6jZX77TdL",
        order_type="STOP_LOSS_LIMIT",
        quantity=Decimal("0.690354"),
        price=Decimal("0.668611"),
        trigger_price=Decimal("0.378131"),
        list_id="1929",
    ),
    replace(
        CANCELLED_ON_MARGIN,
        venue_order_id="21",
        client_order_id="461cPg51vQjV3zIMOXNz39",
        order_type="LIMIT_MAKER",
        quantity=Decimal("0.690354"),
        price=Decimal("0.008791"),
        list_id="1929",
    ),
)


@pytest.fixture(autouse=True)
def um_algo_not_known_to_be_gone(monkeypatch) -> None:
    monkeypatch.setattr(binance_portfolio_books, "_algo_gone_at", {})


@pytest.fixture
def portfolio(binance_key, budget, clock_in_step) -> BinancePortfolio:
    clock_in_step(URL)
    return BinancePortfolio(URL, binance_key, budget=budget, account="alpha")


def sent(venue_http, place: int = 0) -> dict[str, str]:
    """The parameters of one request, without those every signed call has; it must have been signed."""
    params = dict(venue_http.calls[place].request.params)
    assert params.pop("recvWindow") == "5000"
    assert params.pop("timestamp").isdigit()
    assert len(params.pop("signature")) == 64
    return params


def paths(venue_http) -> list[str]:
    return [call.request.url.partition("?")[0].removeprefix(PAPI) for call in venue_http.calls]


# Orders far away


def test_prices_and_filters_come_from_each_products_own_api(portfolio, venue_http):
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "1", "stepSize": "1"},
    ]
    for base, symbol, call, price in (
        ("https://fapi.binance.com/fapi/v1", "XRPUSDT", "premiumIndex", "markPrice"),
        ("https://dapi.binance.com/dapi/v1", "ETHUSD_PERP", "premiumIndex", "markPrice"),
        ("https://api.binance.com/api/v3", "XRPUSDT", "ticker/price", "price"),
    ):
        listed = {"symbol": symbol, "status": "TRADING", "filters": filters}
        venue_http.get(f"{base}/exchangeInfo", json={"symbols": [listed]})
        venue_http.get(f"{base}/{call}", json={"symbol": symbol, price: "30.00"})

    planned = [portfolio.plan_far_order(family) for family in ("um", "cm", "margin")]

    assert [(order.symbol, order.price) for order in planned] == [
        ("XRPUSDT", Decimal("15.00")),
        ("ETHUSD_PERP", Decimal("15.00")),
        ("XRPUSDT", Decimal("15.00")),
    ]
    assert not any("X-MBX-APIKEY" in call.request.headers for call in venue_http.calls)


# Planning


def test_mass_cancels_take_both_futures_books_and_leave_margin_apart():
    symbols = [
        BookSymbol("um", "BTCUSDT"),
        BookSymbol("margin", "LTCBTC"),
        BookSymbol("cm_conditional", "BTCUSD_PERP"),
        BookSymbol("um_conditional", "BTCUSDT"),
    ]

    assert BinancePortfolio.mass_cancels(symbols, whole_account=True) == [
        MassCancel("um_conditional", "BTCUSDT", 1),
        MassCancel("um", "BTCUSDT", 1),
        MassCancel("cm_conditional", "BTCUSD_PERP", 1),
        MassCancel("cm", "BTCUSD_PERP", 1),
        MassCancel("margin", "LTCBTC", 5),
    ]


def test_mass_cancels_of_one_name_in_um_and_margin_take_all_three_books():
    symbols = [BookSymbol("um", "BTCUSDT"), BookSymbol("margin", "BTCUSDT")]

    assert BinancePortfolio.mass_cancels(symbols, whole_account=False) == [
        MassCancel("um_conditional", "BTCUSDT", 1),
        MassCancel("um", "BTCUSDT", 1),
        MassCancel("margin", "BTCUSDT", 5),
    ]


def test_listings_of_everything_are_one_full_listing_a_book_conditional_first():
    assert BinancePortfolio.listings(None) == [
        Listing("um_conditional", None, 40),
        Listing("cm_conditional", None, 40),
        Listing("um", None, 40),
        Listing("cm", None, 40),
        Listing("margin", None, MARGIN_ALL_ORDERS_WEIGHT + 5),
    ]


def test_listings_of_symbols_read_both_books_that_trade_them():
    symbols = [BookSymbol("um", "BTCUSDT"), BookSymbol("cm", "BTCUSD_PERP"), BookSymbol("margin", "LTCBTC")]

    assert BinancePortfolio.listings(symbols) == [
        Listing("um_conditional", "BTCUSDT", 1),
        Listing("cm_conditional", "BTCUSD_PERP", 1),
        Listing("um", "BTCUSDT", 1),
        Listing("cm", "BTCUSD_PERP", 1),
        Listing("margin", "LTCBTC", 10),
    ]


@pytest.mark.parametrize(("count", "listings", "weight"), [(0, 0, 0), (39, 78, 78), (40, 2, 80), (99, 2, 80)])
def test_listings_by_symbol_give_way_to_full_ones_where_those_are_no_dearer(count, listings, weight):
    planned = BinancePortfolio.listings([BookSymbol("um", f"S{n}USDT") for n in range(count)])

    assert (len(planned), sum(listing.weight for listing in planned)) == (listings, weight)


@pytest.mark.parametrize(
    ("symbol", "books"),
    [
        ("BTCUSDT", ["um_conditional", "um", "margin"]),
        ("BTCUSDT_260327", ["um_conditional", "um"]),
        ("BTCUSD_PERP", ["cm_conditional", "cm"]),
        ("BTCUSD_260327", ["cm_conditional", "cm"]),
    ],
)
def test_book_symbols_are_told_by_the_form_of_the_symbol(symbol, books):
    assert BinancePortfolio.book_symbols(symbol) == [BookSymbol(book, symbol) for book in books]


def test_there_is_no_countdown():
    assert not BinancePortfolio.has_countdown


# The account


def test_sync_clock_reads_the_date_of_the_ping(portfolio, venue_http, budget):
    venue_http.get(f"{PAPI}/ping", json={}, headers={"Date": "Fri, 20 Nov 2026 14:03:22 GMT"})

    offset_ms = portfolio.sync_clock()

    venue_ms = datetime(2026, 11, 20, 14, 3, 22, 500_000, tzinfo=UTC).timestamp() * 1000
    assert abs(time.time() * 1000 + offset_ms - venue_ms) < 10_000
    assert budget.spent == [("papi", 1)]


def test_sync_clock_is_unknown_without_a_date(portfolio, venue_http):
    venue_http.get(f"{PAPI}/ping", json={}, headers={"Date": "soon"})

    with pytest.raises(OutcomeUnknown):
        portfolio.sync_clock()


def test_an_expired_timestamp_is_sent_again_with_the_clock_of_the_ping(
    portfolio, venue_http, payload, budget
):
    url = f"{PAPI}/um/allOpenOrders"
    venue_http.delete(url, status=400, json={"code": -1021, "msg": "Timestamp for this request is late."})
    venue_http.get(f"{PAPI}/ping", json={}, headers={"Date": "Fri, 20 Nov 2026 14:03:22 GMT"})
    venue_http.delete(url, json=payload("binance_portfolio/cancel_all"))

    portfolio.mass_cancel(MassCancel("um", "BTCUSDT", 1))

    assert paths(venue_http) == ["/um/allOpenOrders", "/ping", "/um/allOpenOrders"]
    assert budget.spent == [("papi", 1), ("papi", 1), ("papi", 1)]


@pytest.mark.parametrize(
    ("can_trade", "access"),
    [(True, Access(True)), (False, Access(False, "the venue does not let this account trade"))],
)
def test_check_access_says_whether_the_account_may_trade(
    portfolio, venue_http, payload, budget, can_trade, access
):
    config = payload("binance_portfolio/um_account_config") | {"canTrade": can_trade}
    venue_http.get(f"{PAPI}/um/accountConfig", json=config)

    assert portfolio.check_access() == access

    assert (sent(venue_http), budget.spent) == ({}, [("papi", 5)])


def test_check_access_is_unknown_when_the_venue_does_not_tell(portfolio, venue_http):
    venue_http.get(f"{PAPI}/um/accountConfig", json={"feeTier": 0})

    with pytest.raises(OutcomeUnknown):
        portfolio.check_access()


# Mass cancels


@pytest.mark.parametrize(
    ("family", "symbol", "path", "reply"),
    [
        ("um", "BTCUSDT", "um/allOpenOrders", "cancel_all"),
        ("cm", "BTCUSD_PERP", "cm/allOpenOrders", "cancel_all"),
        ("um_conditional", "BTCUSDT", "um/algo/allOpenOrders", "cancel_all"),
        ("cm_conditional", "BTCUSD_PERP", "cm/conditional/allOpenOrders", "conditional_cancel_all"),
    ],
)
def test_mass_cancel_of_a_futures_book_names_no_order(
    portfolio, venue_http, payload, budget, family, symbol, path, reply
):
    venue_http.delete(f"{PAPI}/{path}", json=payload(f"binance_portfolio/{reply}"))

    assert portfolio.mass_cancel(MassCancel(family, symbol, 1)) == MassCancelReply()

    assert (sent(venue_http), budget.spent) == ({"symbol": symbol}, [("papi", 1)])


def test_mass_cancel_on_margin_names_plain_orders_and_every_leg(portfolio, venue_http, payload, budget):
    venue_http.delete(f"{PAPI}/margin/allOpenOrders", json=payload("binance_portfolio/margin_cancel_all"))

    reply = portfolio.mass_cancel(MassCancel("margin", "BTCUSDT", 5))

    assert reply == MassCancelReply(orders=(CANCELLED_ON_MARGIN, *CANCELLED_LEGS))
    assert (sent(venue_http), budget.spent) == ({"symbol": "BTCUSDT"}, [("papi", 5)])


def test_mass_cancel_of_a_margin_book_that_seems_empty_names_no_order(portfolio, venue_http):
    venue_http.delete(f"{PAPI}/margin/allOpenOrders", **UNKNOWN_ORDER)

    assert portfolio.mass_cancel(MassCancel("margin", "BTCUSDT", 5)) == MassCancelReply()


@pytest.mark.parametrize(
    "reply",
    [
        {"code": 200, "msg": "success"},
        [{"orderListId": 1929, "contingencyType": "OCO", "symbol": "BTCUSDT"}],
        [{"symbol": "BTCUSDT", "orderId": 11}],
        [{"symbol": "BTCUSDT", "status": "CANCELED"}],
        [{"symbol": "BTCUSDT", "orderId": 11, "status": "PAUSED"}],
    ],
)
def test_mass_cancel_on_margin_is_unknown_for_an_odd_reply(portfolio, venue_http, reply):
    venue_http.delete(f"{PAPI}/margin/allOpenOrders", json=reply)

    with pytest.raises(OutcomeUnknown):
        portfolio.mass_cancel(MassCancel("margin", "BTCUSDT", 5))


def test_mass_cancel_names_a_symbol(portfolio):
    with pytest.raises(ValueError, match="names a symbol"):
        portfolio.mass_cancel(MassCancel("um", None, 1))


# Where um/algo is gone


def test_um_conditional_falls_back_and_remembers_it_for_every_account(
    portfolio, binance_key, venue_http, payload, budget
):
    another = BinancePortfolio(URL, binance_key, budget=budget, account="beta")
    venue_http.get(f"{PAPI}/um/algo/openAlgoOrders", **GONE)
    found = payload("binance_portfolio/um_conditional_open_orders")
    venue_http.get(f"{PAPI}/um/conditional/openOrders", json=found)

    first = portfolio.open_orders(Listing("um_conditional", None, 40))
    second = another.open_orders(Listing("um_conditional", "BTCUSDT", 1))

    assert first == second == [replace(STRATEGY, family="um_conditional", symbol="BTCUSDT")]
    assert paths(venue_http) == ["/um/algo/openAlgoOrders"] + ["/um/conditional/openOrders"] * 2
    assert budget.spent == [("papi", 40), ("papi", 40), ("papi", 1)]


def test_a_bare_404_for_um_algo_is_no_reading_of_the_older_book(portfolio, venue_http):
    venue_http.get(f"{PAPI}/um/algo/openAlgoOrders", status=404, body="<html>not here</html>")

    with pytest.raises(EndpointGone):
        portfolio.open_orders(Listing("um_conditional", None, 40))

    assert paths(venue_http) == ["/um/algo/openAlgoOrders"]
    assert binance_portfolio_books._algo_gone_at == {}


def test_cancels_go_to_the_older_book_as_well_after_a_bare_404(portfolio, venue_http, payload):
    venue_http.delete(f"{PAPI}/um/algo/allOpenOrders", status=404, body="<html>not here</html>")
    venue_http.delete(
        f"{PAPI}/um/conditional/allOpenOrders", json=payload("binance_portfolio/conditional_cancel_all")
    )

    portfolio.mass_cancel(MassCancel("um_conditional", "BTCUSDT", 1))

    assert paths(venue_http) == ["/um/algo/allOpenOrders", "/um/conditional/allOpenOrders"]
    assert binance_portfolio_books._algo_gone_at == {}


def test_um_algo_is_tried_again_after_a_while(portfolio, venue_http, payload, monkeypatch):
    gone_at = time.monotonic() - ALGO_RETRY_S
    monkeypatch.setattr(binance_portfolio_books, "_algo_gone_at", {URL: gone_at})
    venue_http.get(f"{PAPI}/um/algo/openAlgoOrders", json=payload("binance_portfolio/algo_open_orders"))

    assert portfolio.open_orders(Listing("um_conditional", None, 40)) == [ALGO_ORDER]

    assert binance_portfolio_books._algo_gone_at == {}


def test_a_um_conditional_book_that_neither_path_serves_is_an_error(portfolio, venue_http):
    venue_http.get(f"{PAPI}/um/algo/openAlgoOrders", **GONE)
    venue_http.get(f"{PAPI}/um/conditional/openOrders", **GONE)

    with pytest.raises(EndpointGone):
        portfolio.open_orders(Listing("um_conditional", None, 40))

    assert binance_portfolio_books._algo_gone_at == {}


@pytest.mark.parametrize(
    ("method", "algo_path", "path", "reply"),
    [
        ("DELETE", "um/algo/allOpenOrders", "um/conditional/allOpenOrders", "conditional_cancel_all"),
        ("DELETE", "um/algo/order", "um/conditional/order", "um_conditional_cancel"),
    ],
)
def test_cancels_fall_back_with_the_older_names(
    portfolio, venue_http, payload, method, algo_path, path, reply
):
    venue_http.add(method, f"{PAPI}/{algo_path}", **GONE)
    venue_http.add(method, f"{PAPI}/{path}", json=payload(f"binance_portfolio/{reply}"))
    ref = OrderRef("um_conditional", "BTCUSDT", "123445")

    if path.endswith("allOpenOrders"):
        assert portfolio.mass_cancel(MassCancel("um_conditional", "BTCUSDT", 1)) == MassCancelReply()
        assert sent(venue_http, 1) == {"symbol": "BTCUSDT"}
    else:
        assert portfolio.cancel_orders("um_conditional", "BTCUSDT", [ref]) == [CancelResult(ref, True)]
        assert sent(venue_http, 1) == {"symbol": "BTCUSDT", "strategyId": "123445"}


def test_other_refusals_do_not_fall_back(portfolio, venue_http):
    venue_http.delete(
        f"{PAPI}/um/algo/allOpenOrders", status=400, json={"code": -1121, "msg": "Invalid symbol."}
    )

    with pytest.raises(VenueRejected) as caught:
        portfolio.mass_cancel(MassCancel("um_conditional", "NOPE", 1))

    assert (caught.value.code, len(venue_http.calls)) == ("-1121", 1)


# Single cancels


@pytest.mark.parametrize(
    ("ref", "path", "reply", "params", "weight"),
    [
        (
            OrderRef("um", "BTCUSDT", "4611875134427365377", "testOrder"),
            "um/order",
            "um_cancel",
            {"symbol": "BTCUSDT", "orderId": "4611875134427365377"},
            1,
        ),
        (
            OrderRef("um", "BTCUSDT", "", "testOrder"),
            "um/order",
            "um_cancel",
            {"symbol": "BTCUSDT", "origClientOrderId": "testOrder"},
            1,
        ),
        (
            OrderRef("um_conditional", "BNBUSDT", "2148627"),
            "um/algo/order",
            "algo_cancel",
            {"algoId": "2148627"},
            1,
        ),
        (
            OrderRef("um_conditional", "BNBUSDT", "", "mine"),
            "um/algo/order",
            "algo_cancel",
            {"clientAlgoId": "mine"},
            1,
        ),
        (
            OrderRef("cm_conditional", "BTCUSDT", "", "myOrder1"),
            "cm/conditional/order",
            "um_conditional_cancel",
            {"symbol": "BTCUSDT", "newClientStrategyId": "myOrder1"},
            1,
        ),
        (
            OrderRef("margin", "LTCBTC", "28"),
            "margin/order",
            "margin_cancel",
            {"symbol": "LTCBTC", "orderId": "28"},
            2,
        ),
    ],
)
def test_cancel_orders_names_the_order_as_its_book_wants_it(
    portfolio, venue_http, payload, budget, ref, path, reply, params, weight
):
    venue_http.delete(f"{PAPI}/{path}", json=payload(f"binance_portfolio/{reply}"))

    assert portfolio.cancel_orders(ref.family, ref.symbol, [ref]) == [CancelResult(ref, accepted=True)]

    assert (sent(venue_http), budget.spent) == (params, [("papi", weight)])


def test_cancel_orders_of_the_second_leg_is_not_found(portfolio, venue_http):
    ref = OrderRef("margin", "LTCBTC", "5")
    venue_http.delete(f"{PAPI}/margin/order", **UNKNOWN_ORDER)

    assert portfolio.cancel_orders("margin", "LTCBTC", [ref]) == [
        CancelResult(ref, accepted=False, not_found=True, code="-2011", text="Unknown order sent.")
    ]


def test_cancel_orders_raises_what_is_about_the_account(portfolio, venue_http):
    refused = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
    venue_http.delete(f"{PAPI}/um/order", status=401, json=refused)

    with pytest.raises(CredentialsRejected):
        portfolio.cancel_orders("um", "BTCUSDT", [OrderRef("um", "BTCUSDT", "1")])


@pytest.mark.parametrize("reply", [{"complete": False}, {}, []])
def test_cancel_of_an_algo_order_is_unknown_when_the_venue_does_not_say_complete(
    portfolio, venue_http, reply
):
    venue_http.delete(f"{PAPI}/um/algo/order", json=reply)

    with pytest.raises(OutcomeUnknown):
        portfolio.cancel_orders("um_conditional", "BNBUSDT", [OrderRef("um_conditional", "BNBUSDT", "1")])


def test_cancel_orders_takes_one_order(portfolio):
    refs = [OrderRef("um", "BTCUSDT", "1"), OrderRef("um", "BTCUSDT", "2")]

    with pytest.raises(ValueError, match="one order a call"):
        portfolio.cancel_orders("um", "BTCUSDT", refs)


# Listings


@pytest.mark.parametrize(("by_symbol", "weight"), [(True, 1), (False, 40)])
@pytest.mark.parametrize(
    ("family", "path", "reply", "order"),
    [
        ("um", "um/openOrders", "um_open_orders", UM_ORDER),
        ("cm", "cm/openOrders", "cm_open_orders", CM_ORDER),
        ("um_conditional", "um/algo/openAlgoOrders", "algo_open_orders", ALGO_ORDER),
        ("cm_conditional", "cm/conditional/openOrders", "cm_conditional_open_orders", STRATEGY),
    ],
)
def test_open_orders_of_a_futures_book(
    portfolio, venue_http, payload, budget, family, path, reply, order, by_symbol, weight
):
    venue_http.get(f"{PAPI}/{path}", json=payload(f"binance_portfolio/{reply}"))
    symbol = order.symbol if by_symbol else None

    assert portfolio.open_orders(Listing(family, symbol, weight)) == [order]

    assert sent(venue_http) == ({"symbol": symbol} if by_symbol else {})
    assert budget.spent == [("papi", weight)]


@pytest.mark.parametrize(
    ("family", "path", "reply"),
    [
        ("um", "um/openOrders", "um_open_orders"),
        ("cm", "cm/openOrders", "cm_open_orders"),
        ("um_conditional", "um/algo/openAlgoOrders", "algo_open_orders"),
        ("cm_conditional", "cm/conditional/openOrders", "cm_conditional_open_orders"),
        ("margin", "margin/openOrders", "margin_open_orders"),
    ],
)
def test_orders_of_another_symbol_are_no_answer_to_a_listing(
    portfolio, venue_http, payload, family, path, reply
):
    venue_http.get(f"{PAPI}/{path}", json=payload(f"binance_portfolio/{reply}"))

    with pytest.raises(OutcomeUnknown, match="asked for orders of S, was told of "):
        portfolio.open_orders(Listing(family, "S", 1))


def stub_margin(venue_http, payload, *more_orders: dict[str, object]) -> None:
    orders = payload("binance_portfolio/margin_open_orders") + list(more_orders)
    venue_http.get(f"{PAPI}/margin/openOrders", json=orders)
    venue_http.get(f"{PAPI}/margin/openOrderList", json=payload("binance_portfolio/margin_open_order_list"))


def test_open_orders_of_margin_add_the_legs_that_only_the_lists_name(portfolio, venue_http, payload, budget):
    stub_margin(venue_http, payload)

    orders = portfolio.open_orders(Listing("margin", None, MARGIN_ALL_ORDERS_WEIGHT + 5))

    assert orders == [MARGIN_ORDER, LEG, OTHER_LEG]
    assert (sent(venue_http, 0), sent(venue_http, 1)) == ({}, {})
    assert budget.spent == [("papi", MARGIN_ALL_ORDERS_WEIGHT), ("papi", 5)]


def test_open_orders_of_margin_do_not_double_a_leg_and_tell_its_list(portfolio, venue_http, payload):
    listed_leg = payload("binance_portfolio/margin_open_orders")[0] | {"symbol": "LTCBTC", "orderId": 4}
    stub_margin(venue_http, payload, listed_leg)

    orders = portfolio.open_orders(Listing("margin", None, MARGIN_ALL_ORDERS_WEIGHT + 5))

    told_leg = replace(MARGIN_ORDER, symbol="LTCBTC", venue_order_id="4", list_id="31")
    assert orders == [MARGIN_ORDER, told_leg, OTHER_LEG]


def test_open_orders_of_one_margin_symbol_leave_the_legs_of_others_out(
    portfolio, venue_http, payload, budget
):
    stub_margin(venue_http, payload)

    assert portfolio.open_orders(Listing("margin", "BNBBTC", 10)) == [MARGIN_ORDER]

    assert sent(venue_http) == {"symbol": "BNBBTC"}
    assert budget.spent == [("papi", 5), ("papi", 5)]


@pytest.mark.parametrize(("status", "legs"), [("EXECUTING", 2), ("ALL_DONE", 0), ("REJECT", 0)])
def test_legs_of_lists_that_are_done_are_not_open(portfolio, venue_http, payload, status, legs):
    lists = payload("binance_portfolio/margin_open_order_list")
    lists[0]["listOrderStatus"] = status
    venue_http.get(f"{PAPI}/margin/openOrderList", json=lists)

    assert len(portfolio.open_margin_lists()) == legs


@pytest.mark.parametrize(
    "change",
    [
        {"listOrderStatus": "RESTING"},
        {"listOrderStatus": None},
        {"orders": None},
        {"orders": [{"symbol": "LTCBTC"}]},
        {"orderListId": None},
    ],
)
def test_an_order_list_that_cannot_be_read_fails_the_listing(portfolio, venue_http, payload, change):
    lists = payload("binance_portfolio/margin_open_order_list")
    venue_http.get(f"{PAPI}/margin/openOrders", json=[])
    venue_http.get(f"{PAPI}/margin/openOrderList", json=[lists[0] | change])

    with pytest.raises(OutcomeUnknown):
        portfolio.open_orders(Listing("margin", None, MARGIN_ALL_ORDERS_WEIGHT + 5))


def test_a_margin_listing_fails_when_its_second_call_does(portfolio, venue_http):
    venue_http.get(f"{PAPI}/margin/openOrders", json=[])
    venue_http.get(f"{PAPI}/margin/openOrderList", status=500, body="")

    with pytest.raises(OutcomeUnknown):
        portfolio.open_orders(Listing("margin", None, MARGIN_ALL_ORDERS_WEIGHT + 5))


@pytest.mark.parametrize(
    ("family", "path", "reply", "status_key", "id_key"),
    [
        ("um", "um/openOrders", "um_open_orders", "status", "orderId"),
        ("um_conditional", "um/algo/openAlgoOrders", "algo_open_orders", "algoStatus", "algoId"),
        (
            "cm_conditional",
            "cm/conditional/openOrders",
            "cm_conditional_open_orders",
            "strategyStatus",
            "strategyId",
        ),
        ("margin", "margin/openOrders", "margin_open_orders", "status", "orderId"),
    ],
)
def test_a_listing_with_an_order_that_cannot_be_read_is_unknown(
    portfolio, venue_http, payload, family, path, reply, status_key, id_key
):
    order = payload(f"binance_portfolio/{reply}")[0]
    spoiled = [
        order | {status_key: "HALTED"},
        order | {status_key: None},
        order | {id_key: None},
        order | {"symbol": ""},
        order | {"price": "a lot"},
        "order",
    ]
    for item in spoiled:
        venue_http.get(f"{PAPI}/{path}", json=[item])

    for _ in spoiled:
        with pytest.raises(OutcomeUnknown):
            portfolio.open_orders(Listing(family, "S", 1))


@pytest.mark.parametrize("reply", [{}, {"orders": []}, None, "[]", 0])
@pytest.mark.parametrize("path", ["um/openOrders", "cm/openOrders"])
def test_a_listing_that_is_no_list_is_unknown(portfolio, venue_http, path, reply):
    venue_http.get(f"{PAPI}/{path}", json=reply)

    with pytest.raises(OutcomeUnknown):
        portfolio.open_orders(Listing(path[:2], None, 40))


def test_types_that_drift_are_read_all_the_same(portfolio, venue_http, payload):
    order = payload("binance_portfolio/um_open_orders")[0]
    drifted = {
        "orderId": "1917641",
        "origQty": 0.4,
        "price": None,
        "reduceOnly": "true",
        "time": "1579276756075",
    }
    venue_http.get(f"{PAPI}/um/openOrders", json=[order | drifted])

    assert portfolio.open_orders(Listing("um", None, 40)) == [
        replace(UM_ORDER, quantity=Decimal("0.4"), protective=True)
    ]


def test_a_margin_order_whose_cancel_is_pending_is_open(portfolio, venue_http, payload):
    order = payload("binance_portfolio/margin_open_orders")[0] | {"status": "PENDING_CANCEL"}
    venue_http.get(f"{PAPI}/margin/openOrders", json=[order])

    assert portfolio.open_margin("BNBBTC") == [
        replace(MARGIN_ORDER, venue_status="PENDING_CANCEL", cancel_pending=True)
    ]


# Single queries


@pytest.mark.parametrize(
    ("ref", "path", "reply", "params", "weight", "order"),
    [
        (
            OrderRef("um", "BTCUSDT", "1917641"),
            "um/order",
            "um_order",
            {"symbol": "BTCUSDT", "orderId": "1917641"},
            1,
            UM_ORDER,
        ),
        (
            OrderRef("cm", "BTCUSD_200925", "", "abc"),
            "cm/order",
            "cm_order",
            {"symbol": "BTCUSD_200925", "origClientOrderId": "abc"},
            1,
            CM_ORDER,
        ),
        (
            OrderRef("um_conditional", "BNBUSDT", "2146760"),
            "um/algo/algoOrder",
            "algo_order",
            {"algoId": "2146760"},
            1,
            CANCELLED_ALGO_ORDER,
        ),
        (
            OrderRef("cm_conditional", "BTCUSD", "123445"),
            "cm/conditional/openOrder",
            "cm_conditional_open_order",
            {"symbol": "BTCUSD", "strategyId": "123445"},
            1,
            STRATEGY,
        ),
        (
            OrderRef("margin", "BNBBTC", "213205622"),
            "margin/order",
            "margin_order",
            {"symbol": "BNBBTC", "orderId": "213205622"},
            10,
            replace(
                MARGIN_ORDER,
                venue_order_id="213205622",
                client_order_id="ZwfQzuDIGpceVhKW5DvCmO",
                price=Decimal("0.00493630"),
                placed_at=datetime(2019, 7, 3, 5, 50, 8, 725_000, tzinfo=UTC),
                updated_at=datetime(2019, 7, 3, 5, 50, 8, 725_000, tzinfo=UTC),
            ),
        ),
    ],
)
def test_order_reads_one_order_from_its_book(
    portfolio, venue_http, payload, budget, ref, path, reply, params, weight, order
):
    venue_http.get(f"{PAPI}/{path}", json=payload(f"binance_portfolio/{reply}"))

    assert portfolio.order(ref) == order

    assert (sent(venue_http), budget.spent) == (params, [("papi", weight)])


TRIGGERED = replace(
    STRATEGY, state=OrderState.TRIGGERED, venue_status="TRIGGERED", successor_id="12123343534"
)


def test_order_finds_a_triggered_strategy_in_its_history_and_names_the_successor(
    portfolio, venue_http, payload, budget
):
    venue_http.get(f"{PAPI}/cm/conditional/openOrder", **NOT_FOUND)
    history = payload("binance_portfolio/cm_conditional_order_history")
    venue_http.get(f"{PAPI}/cm/conditional/orderHistory", json=history)

    assert portfolio.order(OrderRef("cm_conditional", "BTCUSD", "123445")) == TRIGGERED

    assert sent(venue_http, 0) == sent(venue_http, 1) == {"symbol": "BTCUSD", "strategyId": "123445"}
    assert budget.spent == [("papi", 1), ("papi", 1)]


def test_order_of_um_conditional_falls_back_to_both_older_queries(portfolio, venue_http, payload):
    venue_http.get(f"{PAPI}/um/algo/algoOrder", **GONE)
    venue_http.get(f"{PAPI}/um/conditional/openOrder", **NOT_FOUND)
    history = payload("binance_portfolio/cm_conditional_order_history")
    venue_http.get(f"{PAPI}/um/conditional/orderHistory", json=history)

    order = portfolio.order(OrderRef("um_conditional", "BTCUSD", "123445"))

    assert order == replace(TRIGGERED, family="um_conditional")


@pytest.mark.parametrize(("actual", "successor"), [("", ""), (None, ""), (0, ""), ("0", ""), (77, "77")])
def test_a_triggered_algo_order_names_its_successor(portfolio, venue_http, payload, actual, successor):
    triggered = {"algoStatus": "TRIGGERED", "actualOrderId": actual}
    venue_http.get(f"{PAPI}/um/algo/algoOrder", json=payload("binance_portfolio/algo_order") | triggered)

    order = portfolio.order(OrderRef("um_conditional", "BNBUSDT", "2146760"))

    assert (order.state, order.successor_id) == (OrderState.TRIGGERED, successor)


@pytest.mark.parametrize(
    ("family", "gone_paths"),
    [
        ("um", ["um/order"]),
        ("um_conditional", ["um/algo/algoOrder"]),
        ("cm_conditional", ["cm/conditional/openOrder", "cm/conditional/orderHistory"]),
        ("margin", ["margin/order"]),
    ],
)
def test_order_that_no_call_knows_is_not_found(portfolio, venue_http, family, gone_paths):
    for path in gone_paths:
        venue_http.get(f"{PAPI}/{path}", **NOT_FOUND)

    with pytest.raises(OrderNotFound):
        portfolio.order(OrderRef(family, "S", "1"))


@pytest.mark.parametrize(
    "asked",
    [
        OrderRef("um", "BTCUSDT", "1917642"),
        OrderRef("um", "ETHUSDT", "1917641"),
        OrderRef("um", "BTCUSDT", "", "theirs"),
        OrderRef("um", "ETHUSDT", "", "abc"),
    ],
    ids=["id", "symbol", "client id", "symbol of client id"],
)
def test_another_orders_state_is_not_taken_for_the_one_asked_for(portfolio, venue_http, payload, asked):
    venue_http.get(f"{PAPI}/um/order", json=payload("binance_portfolio/um_order"))

    with pytest.raises(OutcomeUnknown, match=r"^asked for order .* was told of "):
        portfolio.order(asked)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"orders": []}, "an order list is executing without orders"),
        ({"symbol": "BNBBTC"}, "asked for orders of BNBBTC, was told of LTCBTC"),
    ],
)
def test_an_order_list_whose_legs_are_not_told_is_unknown(portfolio, venue_http, payload, change, said):
    venue_http.get(f"{PAPI}/margin/openOrders", json=[])
    lists = payload("binance_portfolio/margin_open_order_list")
    venue_http.get(f"{PAPI}/margin/openOrderList", json=[lists[0] | change])

    with pytest.raises(OutcomeUnknown, match=said):
        portfolio.open_orders(Listing("margin", None, 505))


# History


@pytest.mark.parametrize(
    ("family", "path", "reply", "weight", "order"),
    [
        ("um", "um/allOrders", "um_open_orders", 5, UM_ORDER),
        ("cm", "cm/allOrders", "cm_open_orders", 20, CM_ORDER),
        ("um_conditional", "um/algo/allAlgoOrders", "algo_all_orders", 5, CANCELLED_ALGO_ORDER),
        ("cm_conditional", "cm/conditional/allOrders", "cm_conditional_open_orders", 1, STRATEGY),
    ],
)
def test_history_lists_a_symbol_since_a_moment(
    portfolio, venue_http, payload, budget, family, path, reply, weight, order
):
    since = datetime.now(UTC) - timedelta(days=1)
    venue_http.get(f"{PAPI}/{path}", json=payload(f"binance_portfolio/{reply}"))

    assert portfolio.history(family, order.symbol, since) == [order]

    params = sent(venue_http)
    # Ahead of a clock that may be late.
    assert 4000 < int(params.pop("endTime")) - time.time() * 1000 < 5100
    since_ms = str(int(since.timestamp() * 1000))
    assert params == {"symbol": order.symbol, "startTime": since_ms, "limit": "1000"}
    assert budget.spent == [("papi", weight)]
    assert portfolio.history_weight(family) == weight


def test_history_takes_one_call_for_every_seven_days(portfolio, venue_http, payload, budget):
    venue_http.get(f"{PAPI}/um/allOrders", json=payload("binance_portfolio/um_open_orders"))

    assert portfolio.history("um", "BTCUSDT", datetime.now(UTC) - timedelta(days=15)) == [UM_ORDER]

    assert budget.spent == [("papi", 5)] * 3


def test_there_is_no_margin_history(portfolio):
    assert portfolio.history_weight("margin") is None
    with pytest.raises(NotImplementedError):
        portfolio.history("margin", "LTCBTC", datetime.now(UTC))


# Failures


def test_a_failure_is_told_for_what_it_is(portfolio, venue_http, budget, binance_failure):
    venue_http.delete(f"{PAPI}/um/allOpenOrders", headers=binance_failure.headers, **binance_failure.stub)

    with pytest.raises(VenueError) as caught:
        portfolio.mass_cancel(MassCancel("um", "BTCUSDT", 1))

    told = caught.value
    blocked = [] if binance_failure.blocked_ms is None else [("papi", binance_failure.blocked_ms)]
    assert (type(told), told.status, told.code) == (
        binance_failure.error,
        binance_failure.status,
        binance_failure.code,
    )
    assert (budget.spent, budget.blocked) == ([("papi", 1)], blocked)
    assert "signature" not in f"{told} {told.text}"


def test_used_weight_is_told_to_the_budget(portfolio, venue_http, budget):
    venue_http.get(f"{PAPI}/um/openOrders", json=[], headers={"X-MBX-USED-WEIGHT-1M": "1234"})

    assert portfolio.open_orders(Listing("um", None, 40)) == []

    assert budget.observed == [("papi", 1234)]
