"""Binance USDⓈ-M: every call against the payloads of the venue's documentation.

https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from panicboard.venues.base import (
    Access,
    BookSymbol,
    CancelResult,
    Family,
    Limit,
    Listing,
    MassCancel,
    MassCancelReply,
    Order,
    OrderRef,
    OrderState,
)
from panicboard.venues.binance_usdm import BinanceUsdm
from panicboard.venues.errors import (
    CredentialsRejected,
    NotDone,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    VenueError,
    VenueRejected,
)

URL = "https://fapi.binance.com"

ORDINARY = Order(
    family="ordinary",
    symbol="BTCUSDT",
    venue_order_id="1917641",
    client_order_id="abc",
    state=OrderState.OPEN,
    venue_status="NEW",
    side="BUY",
    order_type="TRAILING_STOP_MARKET",
    quantity=Decimal("0.40"),
    filled=Decimal(0),
    trigger_price=Decimal(9300),
    placed_at=datetime(2020, 1, 17, 15, 59, 16, 75_000, tzinfo=UTC),
    updated_at=datetime(2020, 1, 17, 15, 59, 16, 75_000, tzinfo=UTC),
    protective=True,  # it can only close the short side of a hedge
)
CONDITIONAL = Order(
    family="conditional",
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


def ordinary_ref(venue_order_id: str = "", client_order_id: str = "") -> OrderRef:
    return OrderRef("ordinary", "BTCUSDT", venue_order_id, client_order_id)


def conditional_ref(venue_order_id: str = "", client_order_id: str = "") -> OrderRef:
    return OrderRef("conditional", "BNBUSDT", venue_order_id, client_order_id)


@pytest.fixture
def binance_usdm(binance_key, budget, clock_in_step) -> BinanceUsdm:
    clock_in_step(URL)
    return BinanceUsdm(URL, binance_key, budget=budget, account="alpha")


def sent(venue_http, place: int = 0) -> dict[str, str]:
    """The parameters of one request, without those every signed call has; it must have been signed."""
    params = dict(venue_http.calls[place].request.params)
    assert params.pop("recvWindow") == "5000"
    assert params.pop("timestamp").isdigit()
    assert len(params.pop("signature")) == 64
    return params


# Planning


def test_what_the_venue_offers_is_declared():
    assert BinanceUsdm.limits == (Limit("fapi", "address", 2400, 60), Limit("fapi-orders", "key", 1200, 60))
    assert (BinanceUsdm.has_countdown, BinanceUsdm.has_countdown_read) == (True, False)
    assert BinanceUsdm.families == (
        Family("conditional", "Conditional", True, 1, 1, 40, 1, 1, triggers_into="ordinary"),
        Family("ordinary", "Ordinary", False, 1, 1, 40, 1, 10),
    )


def test_mass_cancels_take_both_books_of_every_symbol_conditional_first():
    symbols = {BookSymbol("ordinary", "ETHUSDT"), BookSymbol("conditional", "BTCUSDT")}

    assert BinanceUsdm.mass_cancels(symbols, whole_account=True) == [
        MassCancel("conditional", "BTCUSDT", 1),
        MassCancel("ordinary", "BTCUSDT", 1),
        MassCancel("conditional", "ETHUSDT", 1),
        MassCancel("ordinary", "ETHUSDT", 1),
    ]


def test_mass_cancels_of_nothing_are_none():
    assert BinanceUsdm.mass_cancels([], whole_account=False) == []


def test_listings_read_both_books_of_every_symbol_conditional_first():
    symbols = [BookSymbol("ordinary", "ETHUSDT"), BookSymbol("conditional", "BTCUSDT")]

    assert BinanceUsdm.listings(symbols) == [
        Listing("conditional", "BTCUSDT", 1),
        Listing("conditional", "ETHUSDT", 1),
        Listing("ordinary", "BTCUSDT", 1),
        Listing("ordinary", "ETHUSDT", 1),
    ]


FULL = [Listing("conditional", None, 40), Listing("ordinary", None, 40)]


def test_listings_of_everything_are_one_full_listing_a_book():
    assert BinanceUsdm.listings(None) == FULL


@pytest.mark.parametrize(("count", "listings", "weight"), [(0, 0, 0), (39, 78, 78), (40, 2, 80), (41, 2, 80)])
def test_listings_by_symbol_give_way_to_full_ones_where_those_are_no_dearer(count, listings, weight):
    planned = BinanceUsdm.listings([BookSymbol("ordinary", f"S{n}USDT") for n in range(count)])

    assert (len(planned), sum(listing.weight for listing in planned)) == (listings, weight)


# The account and the venue


def test_sync_clock_reads_the_venues_time(binance_usdm, venue_http, payload, budget):
    venue_http.get(f"{URL}/fapi/v1/time", json=payload("binance_usdm/time"))

    offset_ms = binance_usdm.sync_clock()

    assert abs(datetime.now(UTC).timestamp() * 1000 + offset_ms - 1499827319559) < 10_000
    assert budget.spent == [("fapi", 1)]
    assert "X-MBX-APIKEY" not in venue_http.calls[0].request.headers


@pytest.mark.parametrize(
    ("can_trade", "access"),
    [(True, Access(True)), (False, Access(False, "the venue does not let this account trade"))],
)
def test_check_access_says_whether_the_account_may_trade(
    binance_usdm, venue_http, payload, budget, can_trade, access
):
    config = payload("binance_usdm/account_config") | {"canTrade": can_trade}
    venue_http.get(f"{URL}/fapi/v1/accountConfig", json=config)

    assert binance_usdm.check_access() == access

    assert (sent(venue_http), budget.spent) == ({}, [("fapi", 5)])


def test_check_access_is_unknown_when_the_venue_does_not_tell(binance_usdm, venue_http, payload):
    config = payload("binance_usdm/account_config")
    del config["canTrade"]
    venue_http.get(f"{URL}/fapi/v1/accountConfig", json=config)

    with pytest.raises(OutcomeUnknown):
        binance_usdm.check_access()


def test_check_access_raises_for_a_refused_key(binance_usdm, venue_http):
    refusal = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
    venue_http.get(f"{URL}/fapi/v1/accountConfig", status=401, json=refusal)

    with pytest.raises(CredentialsRejected):
        binance_usdm.check_access()


def test_symbol_statuses_are_read_without_a_key(binance_usdm, venue_http, payload, budget):
    venue_http.get(f"{URL}/fapi/v1/exchangeInfo", json=payload("binance_usdm/exchange_info"))

    assert binance_usdm.symbol_statuses() == {"BLZUSDT": "TRADING"}

    assert (venue_http.calls[0].request.params, budget.spent) == ({}, [("fapi", 1)])


def test_set_countdown_returns_the_ms_the_venue_confirmed(binance_usdm, venue_http, payload, budget):
    venue_http.post(f"{URL}/fapi/v1/countdownCancelAll", json=payload("binance_usdm/countdown"))

    assert binance_usdm.set_countdown("BTCUSDT", countdown_ms=100_000) == 100_000

    assert sent(venue_http) == {"symbol": "BTCUSDT", "countdownTime": "100000"}
    assert budget.spent == [("fapi", 10)]


@pytest.mark.parametrize("reply", [{"symbol": "BTCUSDT"}, [], {"countdownTime": "soon"}])
def test_set_countdown_is_unknown_when_the_venue_confirms_none(binance_usdm, venue_http, reply):
    venue_http.post(f"{URL}/fapi/v1/countdownCancelAll", json=reply)

    with pytest.raises(OutcomeUnknown):
        binance_usdm.set_countdown("BTCUSDT", countdown_ms=100_000)


# Cancelling


@pytest.mark.parametrize(
    ("family", "path"), [("ordinary", "allOpenOrders"), ("conditional", "algoOpenOrders")]
)
def test_mass_cancel_names_one_symbol_of_one_book(binance_usdm, venue_http, payload, budget, family, path):
    venue_http.delete(f"{URL}/fapi/v1/{path}", json=payload("binance_usdm/cancel_all"))

    assert binance_usdm.mass_cancel(MassCancel(family, "BTCUSDT", 1)) == MassCancelReply()

    assert (sent(venue_http), budget.spent) == ({"symbol": "BTCUSDT"}, [("fapi", 1)])


def test_mass_cancel_without_a_symbol_is_refused_before_it_is_sent(binance_usdm, venue_http):
    with pytest.raises(ValueError, match="names a symbol"):
        binance_usdm.mass_cancel(MassCancel("ordinary", None, 1))

    assert len(venue_http.calls) == 0


@pytest.mark.parametrize("code", [200, "200", 0, "0"])
def test_an_acknowledgement_is_one_in_every_type_of_code(binance_usdm, venue_http, code):
    venue_http.delete(f"{URL}/fapi/v1/allOpenOrders", json={"code": code, "msg": "done"})

    assert binance_usdm.cancel_all_ordinary("BTCUSDT") is None


@pytest.mark.parametrize("code", [1, None, "0 ", "200.0", 0.0, 200.0, False, [200], {"code": 200}])
def test_any_other_code_acknowledges_nothing(binance_usdm, venue_http, code):
    venue_http.delete(f"{URL}/fapi/v1/allOpenOrders", json={"code": code, "msg": "done"})

    with pytest.raises(OutcomeUnknown):
        binance_usdm.cancel_all_ordinary("BTCUSDT")


@pytest.mark.parametrize("reply", [{"msg": "done"}, [], [{"code": 200}], True])
def test_a_reply_that_acknowledges_nothing_is_unknown(binance_usdm, venue_http, reply):
    venue_http.delete(f"{URL}/fapi/v1/allOpenOrders", json=reply)

    with pytest.raises(OutcomeUnknown):
        binance_usdm.cancel_all_ordinary("BTCUSDT")


def test_several_ordinary_orders_are_cancelled_in_one_call(binance_usdm, venue_http, payload, budget):
    venue_http.delete(f"{URL}/fapi/v1/batchOrders", json=payload("binance_usdm/batch_orders"))
    refs = [ordinary_ref("283194212"), ordinary_ref("283194213")]

    results = binance_usdm.cancel_orders("ordinary", "BTCUSDT", refs)

    assert results == [
        CancelResult(refs[0], accepted=True),
        CancelResult(refs[1], accepted=False, not_found=True, code="-2011", text="Unknown order sent."),
    ]
    assert sent(venue_http) == {"symbol": "BTCUSDT", "orderIdList": "[283194212,283194213]"}
    assert budget.spent == [("fapi", 1)]


def test_a_batch_known_by_client_ids_sends_only_those(binance_usdm, venue_http, payload):
    venue_http.delete(f"{URL}/fapi/v1/batchOrders", json=payload("binance_usdm/batch_orders"))
    refs = [ordinary_ref("", "myOrder1"), ordinary_ref("", "myOrder2")]

    results = binance_usdm.cancel_orders("ordinary", "BTCUSDT", refs)

    assert [result.accepted for result in results] == [True, False]
    assert sent(venue_http) == {"symbol": "BTCUSDT", "origClientOrderIdList": '["myOrder1","myOrder2"]'}


def test_a_batch_of_orders_known_in_different_ways_is_refused_before_it_is_sent(binance_usdm, venue_http):
    with pytest.raises(ValueError, match="different kinds of ids"):
        binance_usdm.cancel_orders("ordinary", "BTCUSDT", [ordinary_ref("1"), ordinary_ref("", "two")])

    assert len(venue_http.calls) == 0


def test_a_batch_is_told_apart_by_ids_and_not_by_places(binance_usdm, venue_http, payload):
    done, _ = payload("binance_usdm/batch_orders")
    venue_http.delete(f"{URL}/fapi/v1/batchOrders", json=[done | {"orderId": 2}, done | {"orderId": 1}])
    refs = [ordinary_ref("1"), ordinary_ref("3")]

    results = binance_usdm.cancel_orders("ordinary", "BTCUSDT", refs)

    assert results == [
        CancelResult(refs[0], accepted=True),
        CancelResult(refs[1], accepted=False, text="the reply does not name this order"),
    ]


def test_words_of_a_refusal_in_a_batch_are_one_printable_line(binance_usdm, venue_http, payload):
    done, _ = payload("binance_usdm/batch_orders")
    refusal = {"code": -2011, "msg": "Unknown\0order\nsent." + " x" * 400}
    venue_http.delete(f"{URL}/fapi/v1/batchOrders", json=[done | {"orderId": 1}, refusal])
    refs = [ordinary_ref("1"), ordinary_ref("2")]

    results = binance_usdm.cancel_orders("ordinary", "BTCUSDT", refs)

    assert results[1].text.startswith("Unknown order sent. x x")
    assert (len(results[1].text) <= 300, results[1].text.isprintable()) == (True, True)


def test_a_batch_refused_as_a_whole_is_told_of_every_order(binance_usdm, venue_http):
    refusal = {"code": -2011, "msg": "Unknown order sent."}
    venue_http.delete(f"{URL}/fapi/v1/batchOrders", status=400, json=refusal)
    refs = [ordinary_ref("1"), ordinary_ref("2")]

    results = binance_usdm.cancel_orders("ordinary", "BTCUSDT", refs)

    assert results == [
        CancelResult(ref, accepted=False, code="-2011", text="Unknown order sent.") for ref in refs
    ]


@pytest.mark.parametrize(("family", "most"), [("ordinary", 10), ("conditional", 1)])
def test_more_orders_than_one_call_takes_are_refused_before_it_is_sent(
    binance_usdm, venue_http, family, most
):
    refs = [OrderRef(family, "BTCUSDT", str(n)) for n in range(1, most + 2)]

    with pytest.raises(ValueError, match="too many for one call"):
        binance_usdm.cancel_orders(family, "BTCUSDT", refs)

    assert (BinanceUsdm.family(family).cancel_batch, len(venue_http.calls)) == (most, 0)


@pytest.mark.parametrize(
    ("ref", "params"),
    [
        (ordinary_ref("283194212", "myOrder1"), {"symbol": "BTCUSDT", "orderId": "283194212"}),
        (ordinary_ref("", "myOrder1"), {"symbol": "BTCUSDT", "origClientOrderId": "myOrder1"}),
    ],
)
def test_one_ordinary_order_is_cancelled_by_one_id(binance_usdm, venue_http, payload, budget, ref, params):
    venue_http.delete(f"{URL}/fapi/v1/order", json=payload("binance_usdm/cancel_order"))

    assert binance_usdm.cancel_orders("ordinary", "BTCUSDT", [ref]) == [CancelResult(ref, accepted=True)]

    assert (sent(venue_http), budget.spent) == (params, [("fapi", 1)])


@pytest.mark.parametrize(
    ("ref", "params"),
    [
        (conditional_ref("2146760", "6B2I9XVcJpCjqPAJ4YoFX7"), {"algoId": "2146760"}),
        (conditional_ref("", "6B2I9XVcJpCjqPAJ4YoFX7"), {"clientAlgoId": "6B2I9XVcJpCjqPAJ4YoFX7"}),
    ],
)
def test_one_conditional_order_is_cancelled_without_its_symbol(
    binance_usdm, venue_http, payload, budget, ref, params
):
    venue_http.delete(f"{URL}/fapi/v1/algoOrder", json=payload("binance_usdm/cancel_algo_order"))

    assert binance_usdm.cancel_orders("conditional", "BNBUSDT", [ref]) == [CancelResult(ref, accepted=True)]

    assert (sent(venue_http), budget.spent) == (params, [("fapi", 1)])


@pytest.mark.parametrize(("family", "path"), [("ordinary", "order"), ("conditional", "algoOrder")])
def test_a_single_cancel_that_finds_no_order_says_so(binance_usdm, venue_http, family, path):
    refusal = {"code": -2011, "msg": "Unknown order sent."}
    venue_http.delete(f"{URL}/fapi/v1/{path}", status=400, json=refusal)
    ref = OrderRef(family, "BTCUSDT", "7")

    results = binance_usdm.cancel_orders(family, "BTCUSDT", [ref])

    assert results == [
        CancelResult(ref, accepted=False, not_found=True, code="-2011", text="Unknown order sent.")
    ]


def test_a_single_cancel_with_a_refused_key_raises(binance_usdm, venue_http):
    venue_http.delete(f"{URL}/fapi/v1/order", status=401, json={"code": -2015, "msg": "Invalid API-key"})

    with pytest.raises(CredentialsRejected):
        binance_usdm.cancel_orders("ordinary", "BTCUSDT", [ordinary_ref("7")])


def test_a_cancel_confirmed_for_another_order_is_unknown(binance_usdm, venue_http, payload):
    venue_http.delete(f"{URL}/fapi/v1/order", json=payload("binance_usdm/cancel_order"))

    with pytest.raises(OutcomeUnknown):
        binance_usdm.cancel_orders("ordinary", "BTCUSDT", [ordinary_ref("7")])


# Reading


@pytest.mark.parametrize(
    ("symbol", "params", "weight"), [("BTCUSDT", {"symbol": "BTCUSDT"}, 1), (None, {}, 40)]
)
def test_ordinary_orders_are_listed(binance_usdm, venue_http, payload, budget, symbol, params, weight):
    venue_http.get(f"{URL}/fapi/v1/openOrders", json=payload("binance_usdm/open_orders"))

    assert binance_usdm.open_orders(Listing("ordinary", symbol, weight)) == [ORDINARY]

    assert (sent(venue_http), budget.spent) == (params, [("fapi", weight)])


@pytest.mark.parametrize(
    ("symbol", "params", "weight"), [("BNBUSDT", {"symbol": "BNBUSDT"}, 1), (None, {}, 40)]
)
def test_conditional_orders_are_listed(binance_usdm, venue_http, payload, budget, symbol, params, weight):
    venue_http.get(f"{URL}/fapi/v1/openAlgoOrders", json=payload("binance_usdm/open_algo_orders"))

    assert binance_usdm.open_orders(Listing("conditional", symbol, weight)) == [CONDITIONAL]

    assert (sent(venue_http), budget.spent) == (params, [("fapi", weight)])


def ask_for_open(adapter, family, since):
    return adapter.open_orders(Listing(family, "ETHUSDT", 1))


def ask_for_history(adapter, family, since):
    return adapter.history(family, "ETHUSDT", since)


@pytest.mark.parametrize(
    ("family", "path", "name", "ask"),
    [
        ("ordinary", "openOrders", "open_orders", ask_for_open),
        ("conditional", "openAlgoOrders", "open_algo_orders", ask_for_open),
        ("ordinary", "allOrders", "all_orders", ask_for_history),
        ("conditional", "allAlgoOrders", "all_algo_orders", ask_for_history),
    ],
)
def test_orders_of_another_symbol_are_no_answer(binance_usdm, venue_http, payload, family, path, name, ask):
    venue_http.get(f"{URL}/fapi/v1/{path}", json=payload(f"binance_usdm/{name}"))

    since = datetime.now(UTC) - timedelta(hours=1)

    with pytest.raises(OutcomeUnknown, match="asked for orders of ETHUSDT, was told of "):
        ask(binance_usdm, family, since)


@pytest.mark.parametrize("listing", FULL)
def test_an_empty_listing_is_empty(binance_usdm, venue_http, listing):
    path = "openAlgoOrders" if listing.family == "conditional" else "openOrders"
    venue_http.get(f"{URL}/fapi/v1/{path}", json=[])

    assert binance_usdm.open_orders(listing) == []


@pytest.mark.parametrize("key", ["orderId", "symbol", "status"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_listing_with_an_order_nobody_can_name_is_unknown(binance_usdm, venue_http, payload, key, value):
    whole = payload("binance_usdm/order")
    venue_http.get(f"{URL}/fapi/v1/openOrders", json=[whole, whole | {key: value}])

    with pytest.raises(OutcomeUnknown):
        binance_usdm.open_orders(Listing("ordinary", None, 40))


@pytest.mark.parametrize("key", ["algoId", "symbol", "algoStatus"])
def test_a_conditional_listing_with_an_order_nobody_can_name_is_unknown(
    binance_usdm, venue_http, payload, key
):
    whole = payload("binance_usdm/algo_order")
    part = {name: value for name, value in whole.items() if name != key}
    venue_http.get(f"{URL}/fapi/v1/openAlgoOrders", json=[whole, part])

    with pytest.raises(OutcomeUnknown):
        binance_usdm.open_orders(Listing("conditional", None, 40))


@pytest.mark.parametrize("reply", [{}, {"code": 200}, {"orders": []}, "", 0, [None], [[]]])
@pytest.mark.parametrize("listing", FULL)
def test_a_listing_that_is_no_list_of_orders_is_unknown(binance_usdm, venue_http, listing, reply):
    path = "openAlgoOrders" if listing.family == "conditional" else "openOrders"
    venue_http.get(f"{URL}/fapi/v1/{path}", json=reply)

    with pytest.raises(OutcomeUnknown):
        binance_usdm.open_orders(listing)


@pytest.mark.parametrize("listing", FULL)
def test_a_status_nobody_knows_spoils_the_listing(binance_usdm, venue_http, payload, listing):
    if listing.family == "conditional":
        path, order = "openAlgoOrders", payload("binance_usdm/algo_order") | {"algoStatus": "PAUSED"}
    else:
        path, order = "openOrders", payload("binance_usdm/order") | {"status": "PAUSED"}
    venue_http.get(f"{URL}/fapi/v1/{path}", json=[order])

    with pytest.raises(OutcomeUnknown, match="'PAUSED' is not known"):
        binance_usdm.open_orders(listing)


def test_numbers_may_come_as_text_or_as_numbers(binance_usdm, venue_http, payload):
    drifted = payload("binance_usdm/order") | {
        "orderId": "1917641",
        "origQty": 0.4,
        "executedQty": 0,
        "price": 0,
        "stopPrice": 9300,
        "time": "1579276756075",
        "clientOrderId": "abc",
        "somethingNew": {"nobody": "reads"},
    }
    venue_http.get(f"{URL}/fapi/v1/openOrders", json=[drifted])

    assert binance_usdm.open_orders(Listing("ordinary", None, 40)) == [ORDINARY]


def test_ids_beyond_what_a_double_holds_are_kept(binance_usdm, venue_http, payload):
    big = payload("binance_usdm/order") | {"orderId": 4611875134427365377}
    venue_http.get(f"{URL}/fapi/v1/openOrders", json=[big])

    assert binance_usdm.open_orders(Listing("ordinary", None, 40)) == [
        replace(ORDINARY, venue_order_id="4611875134427365377")
    ]


@pytest.mark.parametrize("mark", ["reduceOnly", "closePosition"])
@pytest.mark.parametrize(
    ("value", "protective"), [(True, True), ("true", True), (False, False), (None, False)]
)
def test_orders_that_guard_a_position_are_marked(binance_usdm, venue_http, payload, mark, value, protective):
    order = payload("binance_usdm/order") | {"positionSide": "BOTH", mark: value}
    venue_http.get(f"{URL}/fapi/v1/openOrders", json=[order])
    algo = payload("binance_usdm/open_algo_orders")[0] | {mark: value}
    venue_http.get(f"{URL}/fapi/v1/openAlgoOrders", json=[algo])

    read = [order for listing in FULL for order in binance_usdm.open_orders(listing)]

    assert read == [replace(CONDITIONAL, protective=protective), replace(ORDINARY, protective=protective)]


@pytest.mark.parametrize(
    ("ref", "params"),
    [
        (ordinary_ref("1917641", "abc"), {"symbol": "BTCUSDT", "orderId": "1917641"}),
        (ordinary_ref("", "abc"), {"symbol": "BTCUSDT", "origClientOrderId": "abc"}),
    ],
)
def test_one_ordinary_order_is_queried(binance_usdm, venue_http, payload, budget, ref, params):
    venue_http.get(f"{URL}/fapi/v1/order", json=payload("binance_usdm/order"))

    assert binance_usdm.order(ref) == ORDINARY

    assert (sent(venue_http), budget.spent) == (params, [("fapi", 1)])


@pytest.mark.parametrize(
    ("ref", "params"),
    [
        (conditional_ref("2146760"), {"algoId": "2146760"}),
        (conditional_ref("", "6B2I9XVcJpCjqPAJ4YoFX7"), {"clientAlgoId": "6B2I9XVcJpCjqPAJ4YoFX7"}),
    ],
)
def test_one_conditional_order_is_queried(binance_usdm, venue_http, payload, budget, ref, params):
    venue_http.get(f"{URL}/fapi/v1/algoOrder", json=payload("binance_usdm/algo_order"))

    assert binance_usdm.order(ref) == replace(
        CONDITIONAL,
        venue_order_id="2146760",
        client_order_id="6B2I9XVcJpCjqPAJ4YoFX7",
        state=OrderState.CANCELLED,
        venue_status="CANCELED",
        placed_at=datetime(2025, 6, 21, 5, 58, 12, 76_000, tzinfo=UTC),
        updated_at=datetime(2025, 6, 21, 14, 2, 25, 91_000, tzinfo=UTC),
    )
    assert (sent(venue_http), budget.spent) == (params, [("fapi", 1)])


@pytest.mark.parametrize("status", ["TRIGGERED", "FINISHED"])
def test_a_triggered_order_is_no_fill_and_names_its_successor(binance_usdm, venue_http, payload, status):
    triggered = payload("binance_usdm/algo_order") | {"algoStatus": status, "actualOrderId": "8886774"}
    venue_http.get(f"{URL}/fapi/v1/algoOrder", json=triggered)

    order = binance_usdm.order(conditional_ref("2146760"))

    assert (order.state, order.filled, order.successor_id) == (OrderState.TRIGGERED, 0, "8886774")
    assert not order.state.is_open


def test_an_order_being_triggered_is_still_open(binance_usdm, venue_http, payload):
    triggering = payload("binance_usdm/algo_order") | {"algoStatus": "TRIGGERING", "actualOrderId": "0"}
    venue_http.get(f"{URL}/fapi/v1/algoOrder", json=triggering)

    order = binance_usdm.order(conditional_ref("2146760"))

    assert (order.state, order.successor_id) == (OrderState.OPEN, "")


@pytest.mark.parametrize(("family", "path"), [("ordinary", "order"), ("conditional", "algoOrder")])
def test_an_order_the_venue_does_not_know_is_not_found(binance_usdm, venue_http, family, path):
    refusal = {"code": -2013, "msg": "Order does not exist."}
    venue_http.get(f"{URL}/fapi/v1/{path}", status=400, json=refusal)

    with pytest.raises(OrderNotFound):
        binance_usdm.order(OrderRef(family, "BTCUSDT", "7"))


@pytest.mark.parametrize(
    ("family", "path", "name"),
    [("ordinary", "order", "order"), ("conditional", "algoOrder", "algo_order")],
)
def test_another_orders_state_is_not_taken_for_the_one_asked(
    binance_usdm, venue_http, payload, family, path, name
):
    venue_http.get(f"{URL}/fapi/v1/{path}", json=payload(f"binance_usdm/{name}"))

    with pytest.raises(OutcomeUnknown, match="asked for order 7"):
        binance_usdm.order(OrderRef(family, "BTCUSDT", "7"))


def test_an_order_without_any_id_cannot_be_asked_for(binance_usdm, venue_http):
    with pytest.raises(ValueError, match="named by no id"):
        binance_usdm.order(ordinary_ref())

    assert len(venue_http.calls) == 0


@pytest.mark.parametrize(
    ("family", "path", "name", "symbol"),
    [
        ("ordinary", "allOrders", "all_orders", "BTCUSDT"),
        ("conditional", "allAlgoOrders", "all_algo_orders", "BNBUSDT"),
    ],
)
def test_history_reads_since_then_in_one_window(
    binance_usdm, venue_http, payload, budget, family, path, name, symbol
):
    venue_http.get(f"{URL}/fapi/v1/{path}", json=payload(f"binance_usdm/{name}"))
    since = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)

    orders = binance_usdm.history(family, symbol, since)

    params = sent(venue_http)
    assert [order.venue_order_id for order in orders] == ["1917641" if family == "ordinary" else "2146760"]
    assert (params["symbol"], params["limit"]) == (symbol, "1000")
    assert int(params["startTime"]) == int(since.timestamp() * 1000)
    assert int(params["endTime"]) - int(params["startTime"]) < 7_300_000
    assert budget.spent == [("fapi", binance_usdm.history_weight(family))]


def test_history_walks_windows_of_less_than_seven_days_without_a_gap(binance_usdm, venue_http, payload):
    venue_http.get(f"{URL}/fapi/v1/allOrders", json=payload("binance_usdm/all_orders"))
    since = datetime.now(UTC) - timedelta(days=15)

    orders = binance_usdm.history("ordinary", "BTCUSDT", since)

    windows = [sent(venue_http, place) for place in range(len(venue_http.calls))]
    spans = [(int(window["startTime"]), int(window["endTime"])) for window in windows]
    assert orders == [ORDINARY]
    assert len(spans) == 3
    assert all(end - start < 7 * 86_400_000 for start, end in spans)
    assert [start for start, _ in spans[1:]] == [end + 1 for _, end in spans[:-1]]


def test_history_reads_a_full_page_again_in_halves(binance_usdm, venue_http, payload, budget):
    template = payload("binance_usdm/order")
    full = [template | {"orderId": n} for n in range(1, 1001)]
    venue_http.get(f"{URL}/fapi/v1/allOrders", json=full)
    venue_http.get(f"{URL}/fapi/v1/allOrders", json=full[:600])
    venue_http.get(f"{URL}/fapi/v1/allOrders", json=[template | {"orderId": n} for n in range(600, 1101)])

    orders = binance_usdm.history("ordinary", "BTCUSDT", datetime.now(UTC) - timedelta(hours=1))

    (start, end), first, second = (
        (int(window["startTime"]), int(window["endTime"]))
        for window in (sent(venue_http, place) for place in range(3))
    )
    middle = (start + end) // 2
    assert (first, second) == ((start, middle), (middle + 1, end))
    assert [order.venue_order_id for order in orders] == [str(n) for n in range(1, 1101)]
    assert budget.spent == [("fapi", 5)] * 3


def test_history_that_does_not_fit_a_page_however_short_the_window_is_unknown(
    binance_usdm, venue_http, payload
):
    full = [payload("binance_usdm/order") | {"orderId": n} for n in range(1, 1001)]
    venue_http.get(f"{URL}/fapi/v1/allOrders", json=full)

    with pytest.raises(OutcomeUnknown, match="more than 999 orders in one ms"):
        binance_usdm.history("ordinary", "BTCUSDT", datetime.now(UTC) - timedelta(milliseconds=50))

    last = sent(venue_http, len(venue_http.calls) - 1)
    assert last["startTime"] == last["endTime"]


# Failures


def test_every_failure_is_typed_and_keeps_what_the_venue_said(
    binance_usdm, venue_http, budget, binance_failure
):
    venue_http.delete(
        f"{URL}/fapi/v1/algoOpenOrders", headers=binance_failure.headers, **binance_failure.stub
    )

    with pytest.raises(VenueError) as caught:
        binance_usdm.cancel_all_conditional("BTCUSDT")

    told = caught.value
    blocked = [] if binance_failure.blocked_ms is None else [("fapi", binance_failure.blocked_ms)]
    assert (type(told), told.status, told.code) == (
        binance_failure.error,
        binance_failure.status,
        binance_failure.code,
    )
    assert (budget.spent, budget.blocked) == ([("fapi", 1)], blocked)
    assert "signature" not in f"{told} {told.text}"


def test_a_rejected_timestamp_is_resynced_and_signed_anew_once(binance_usdm, venue_http, payload, budget):
    too_old = {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}
    venue_http.delete(f"{URL}/fapi/v1/allOpenOrders", status=400, json=too_old)
    venue_http.delete(f"{URL}/fapi/v1/allOpenOrders", json=payload("binance_usdm/cancel_all"))
    venue_http.get(f"{URL}/fapi/v1/time", json=payload("binance_usdm/time"))

    binance_usdm.cancel_all_ordinary("BTCUSDT")

    first, _, second = (call.request.params for call in venue_http.calls)
    assert int(second["timestamp"]) - 1499827319559 < 10_000
    assert first["signature"] != second["signature"]
    assert budget.spent == [("fapi", 1)] * 3


def test_overload_protection_is_no_limit_here(binance_usdm, venue_http, budget):
    text = (
        "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. "
        "Please try again."
    )
    venue_http.delete(f"{URL}/fapi/v1/allOpenOrders", status=503, json={"code": -1008, "msg": text})

    with pytest.raises(NotDone) as caught:
        binance_usdm.cancel_all_ordinary("BTCUSDT")

    assert not isinstance(caught.value, RateLimited)
    assert (caught.value.status, caught.value.code, caught.value.text) == (503, "-1008", text)
    assert budget.blocked == []


def test_a_stop_that_is_just_triggering_may_be_tried_again(binance_usdm, venue_http):
    refusal = {"code": -4117, "msg": "Stop order is triggering."}
    venue_http.delete(f"{URL}/fapi/v1/algoOrder", status=400, json=refusal)

    with pytest.raises(NotDone):
        binance_usdm.cancel_orders("conditional", "BNBUSDT", [conditional_ref("2146760")])


def test_a_wrong_symbol_concerns_this_symbol_only(binance_usdm, venue_http):
    venue_http.delete(
        f"{URL}/fapi/v1/allOpenOrders", status=400, json={"code": -1121, "msg": "Invalid symbol."}
    )

    with pytest.raises(VenueRejected) as caught:
        binance_usdm.mass_cancel(MassCancel("ordinary", "NOPEUSDT", 1))

    assert str(caught.value) == "DELETE /fapi/v1/allOpenOrders: HTTP 400 -1121 Invalid symbol."
