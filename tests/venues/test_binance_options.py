"""Binance options: every call against the payloads of the venue's documentation.

https://developers.binance.com/docs/derivatives/options-trading/trade/
https://developers.binance.com/docs/derivatives/options-trading/market-maker-endpoints/
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
    HeartbeatReply,
    Limit,
    Listing,
    MassCancel,
    MassCancelReply,
    Order,
    OrderRef,
    OrderState,
    VenueCountdown,
)
from panicboard.venues.binance_options import BinanceOptions
from panicboard.venues.errors import (
    CredentialsRejected,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    VenueError,
    VenueRejected,
)

URL = "https://eapi.binance.com"
SYMBOL = "BTC-200730-9000-C"
BIG_ID = "4611875134427365377"

OPEN = Order(
    family="ordinary",
    symbol=SYMBOL,
    venue_order_id=BIG_ID,
    client_order_id="",
    state=OrderState.OPEN,
    venue_status="ACCEPTED",
    side="BUY",
    order_type="LIMIT",
    quantity=Decimal(1),
    filled=Decimal(0),
    price=Decimal(100),
    placed_at=datetime(2020, 6, 18, 7, 38, 0, 683_000, tzinfo=UTC),
    updated_at=datetime(2020, 6, 18, 7, 38, 0, 683_000, tzinfo=UTC),
)


def ref(venue_order_id: str = "", client_order_id: str = "") -> OrderRef:
    return OrderRef("ordinary", SYMBOL, venue_order_id, client_order_id)


@pytest.fixture
def binance_options(binance_key, budget, clock_in_step) -> BinanceOptions:
    clock_in_step(URL)
    return BinanceOptions(URL, binance_key, budget=budget, account="alpha")


def sent(venue_http, place: int = 0) -> dict[str, str]:
    """The parameters of one request, without those every signed call has; it must have been signed."""
    params = dict(venue_http.calls[place].request.params)
    assert params.pop("recvWindow") == "5000"
    assert params.pop("timestamp").isdigit()
    assert len(params.pop("signature")) == 64
    return params


def book(*symbols: str) -> list[BookSymbol]:
    return [BookSymbol("ordinary", symbol) for symbol in symbols]


# Planning


def test_what_the_venue_offers_is_declared():
    assert BinanceOptions.limits == (
        Limit("eapi", "address", 2400, 60),
        Limit("eapi-orders", "key", 1200, 60),
    )
    assert (BinanceOptions.has_countdown, BinanceOptions.has_countdown_read) == (True, True)
    assert BinanceOptions.families == (Family("ordinary", "Ordinary", False, 5, 1, 40, 1, 10),)


def test_symbols_that_share_an_underlying_are_cancelled_in_one_call():
    symbols = book("ETH-200730-300-P", "BTC-200730-9000-C", "BTC-200730-9000-P", "BTC-210129-40000-C")

    assert BinanceOptions.mass_cancels(symbols, whole_account=True) == [
        MassCancel("ordinary", "BTCUSDT", 5, by_underlying=True),
        MassCancel("ordinary", "ETH-200730-300-P", 1),
    ]


def test_symbols_of_no_whole_account_are_cancelled_without_touching_others():
    symbols = book("BTC-200730-9000-P", "BTC-200730-9000-C")

    assert BinanceOptions.mass_cancels(symbols, whole_account=False) == [
        MassCancel("ordinary", "BTC-200730-9000-C", 1),
        MassCancel("ordinary", "BTC-200730-9000-P", 1),
    ]


def test_symbols_whose_name_tells_no_underlying_are_cancelled_one_by_one():
    assert BinanceOptions.mass_cancels(book("ODD", "STRANGE"), whole_account=True) == [
        MassCancel("ordinary", "ODD", 1),
        MassCancel("ordinary", "STRANGE", 1),
    ]


@pytest.mark.parametrize(
    ("symbol", "underlying"), [(SYMBOL, "BTCUSDT"), ("DOGE-251226-0.2-P", "DOGEUSDT"), ("ODD", None)]
)
def test_underlying_of_is_read_from_the_symbols_name(symbol, underlying):
    assert BinanceOptions.underlying_of(symbol) == underlying


def test_underlyings_are_learnt_from_the_venue(binance_options, venue_http, payload, budget, monkeypatch):
    monkeypatch.setattr(BinanceOptions, "_underlyings", {})
    info = payload("binance_options/exchange_info")
    odd = info["optionSymbols"][0] | {"symbol": "BTC-251226-90000-C", "underlying": "BTCUSDC"}
    info["optionSymbols"].append(odd)
    venue_http.get(f"{URL}/eapi/v1/exchangeInfo", json=info)

    told = binance_options.underlyings()

    assert told == {"BTC-220815-50000-C": "BTCUSDT", "BTC-251226-90000-C": "BTCUSDC"}
    assert BinanceOptions.underlying_of("BTC-251226-90000-C") == "BTCUSDC"
    assert (venue_http.calls[0].request.params, budget.spent) == ({}, [("eapi", 1)])


FULL = Listing("ordinary", None, 40)


def test_listings_by_symbol_give_way_to_the_full_one_where_it_is_no_dearer():
    names = [f"BTC-200730-{strike}-C" for strike in range(1000, 1041)]

    assert BinanceOptions.listings(None) == [FULL]
    assert BinanceOptions.listings(book(*names[:40])) == [FULL]
    assert BinanceOptions.listings(book(*names[:39])) == [Listing("ordinary", name, 1) for name in names[:39]]
    assert BinanceOptions.listings([]) == []


# The account and its countdowns


def test_sync_clock_reads_the_venues_time(binance_options, venue_http, payload, budget):
    venue_http.get(f"{URL}/eapi/v1/time", json=payload("binance_options/time"))

    offset_ms = binance_options.sync_clock()

    assert abs(datetime.now(UTC).timestamp() * 1000 + offset_ms - 1499827319559) < 10_000
    assert budget.spent == [("eapi", 1)]


@pytest.mark.parametrize(
    ("can_trade", "access"),
    [(True, Access(True)), (False, Access(False, "the venue does not let this account trade"))],
)
def test_check_access_says_whether_the_account_may_trade(
    binance_options, venue_http, payload, budget, can_trade, access
):
    account = payload("binance_options/margin_account") | {"canTrade": can_trade}
    venue_http.get(f"{URL}/eapi/v1/marginAccount", json=account)

    assert binance_options.check_access() == access

    assert (sent(venue_http), budget.spent) == ({}, [("eapi", 3)])


@pytest.mark.parametrize("confirmed", [100_000, "100000"])
def test_set_countdown_returns_the_ms_the_venue_confirmed(
    binance_options, venue_http, payload, budget, confirmed
):
    reply = payload("binance_options/countdown") | {"countdownTime": confirmed}
    venue_http.post(f"{URL}/eapi/v1/countdownCancelAll", json=reply)

    assert binance_options.set_countdown("ETHUSDT", countdown_ms=100_000) == 100_000

    assert sent(venue_http) == {"underlying": "ETHUSDT", "countdownTime": "100000"}
    assert budget.spent == [("eapi", 1)]


@pytest.mark.parametrize(
    "reply", [{"underlying": "ETHUSDT"}, [], {"underlying": "E", "countdownTime": "soon"}]
)
def test_set_countdown_is_unknown_when_the_venue_confirms_none(binance_options, venue_http, reply):
    venue_http.post(f"{URL}/eapi/v1/countdownCancelAll", json=reply)

    with pytest.raises(OutcomeUnknown):
        binance_options.set_countdown("ETHUSDT", countdown_ms=100_000)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (-6005, "Not market maker."),
        (-6009, "Invalid countdown time, must be no less than 5000 or equal to 0"),
        (-1128, "Invalid underlying."),
    ],
)
def test_set_countdown_is_refused_in_the_venues_words(binance_options, venue_http, code, text):
    venue_http.post(f"{URL}/eapi/v1/countdownCancelAll", status=400, json={"code": code, "msg": text})

    with pytest.raises(VenueRejected) as caught:
        binance_options.set_countdown("ETHUSDT", countdown_ms=100)

    assert (type(caught.value), caught.value.code, caught.value.text) == (VenueRejected, str(code), text)


ETH = {"underlying": "ETHUSDT", "countdownTime": 100000}
BTC = {"underlying": "BTCUSDT", "countdownTime": "30000"}


@pytest.mark.parametrize(
    ("reply", "countdowns"),
    [
        (ETH, [VenueCountdown("ETHUSDT", 100_000)]),
        ([ETH, BTC], [VenueCountdown("ETHUSDT", 100_000), VenueCountdown("BTCUSDT", 30_000)]),
        ([], []),
        ({}, []),
    ],
)
def test_countdowns_are_read_as_one_object_or_a_list(binance_options, venue_http, budget, reply, countdowns):
    venue_http.get(f"{URL}/eapi/v1/countdownCancelAll", json=reply)

    assert binance_options.countdowns() == countdowns

    assert (sent(venue_http), budget.spent) == ({}, [("eapi", 1)])


def test_countdowns_of_one_underlying_name_it(binance_options, venue_http, payload):
    venue_http.get(f"{URL}/eapi/v1/countdownCancelAll", json=payload("binance_options/countdown"))

    assert binance_options.countdowns("ETHUSDT") == [VenueCountdown("ETHUSDT", 100_000)]

    assert sent(venue_http) == {"underlying": "ETHUSDT"}


@pytest.mark.parametrize("reply", [[ETH, {"underlying": "BTCUSDT"}], {"code": 0}, "none", [None]])
def test_countdowns_that_cannot_be_read_are_unknown(binance_options, venue_http, reply):
    venue_http.get(f"{URL}/eapi/v1/countdownCancelAll", json=reply)

    with pytest.raises(OutcomeUnknown):
        binance_options.countdowns()


def test_one_heartbeat_refreshes_many_underlyings(binance_options, venue_http, payload, budget):
    url = f"{URL}/eapi/v1/countdownCancelAllHeartBeat"
    venue_http.post(url, json=payload("binance_options/heartbeat"))

    reply = binance_options.heartbeat(["ETHUSDT", "BTCUSDT"])

    assert reply == HeartbeatReply(refreshed=("ETHUSDT", "BTCUSDT"), missing=())
    assert sent(venue_http) == {"underlyings": "ETHUSDT,BTCUSDT"}
    assert "underlyings=ETHUSDT%2CBTCUSDT&" in venue_http.calls[0].request.path_url
    assert budget.spent == [("eapi", 10)]


@pytest.mark.parametrize(
    ("named", "reply"),
    [
        (["BTCUSDT", "ETHUSDT"], HeartbeatReply(("BTCUSDT",), ("DOGEUSDT",))),
        ([], HeartbeatReply((), ("BTCUSDT", "DOGEUSDT"))),
    ],
)
def test_a_heartbeat_names_what_the_venue_left_out(binance_options, venue_http, named, reply):
    venue_http.post(f"{URL}/eapi/v1/countdownCancelAllHeartBeat", json={"underlyings": named})

    assert binance_options.heartbeat(["BTCUSDT", "DOGEUSDT"]) == reply


@pytest.mark.parametrize("reply", [{}, {"underlyings": None}, {"underlyings": "BTCUSDT"}, ["BTCUSDT"]])
def test_a_heartbeat_reply_that_names_nothing_is_unknown(binance_options, venue_http, reply):
    venue_http.post(f"{URL}/eapi/v1/countdownCancelAllHeartBeat", json=reply)

    with pytest.raises(OutcomeUnknown):
        binance_options.heartbeat(["BTCUSDT"])


# Cancelling


@pytest.mark.parametrize("code", [0, "0", 200])
def test_mass_cancel_of_a_symbol(binance_options, venue_http, payload, budget, code):
    reply = payload("binance_options/cancel_all") | {"code": code}
    venue_http.delete(f"{URL}/eapi/v1/allOpenOrders", json=reply)

    assert binance_options.mass_cancel(MassCancel("ordinary", SYMBOL, 1)) == MassCancelReply()

    assert (sent(venue_http), budget.spent) == ({"symbol": SYMBOL}, [("eapi", 1)])


def test_mass_cancel_of_an_underlying(binance_options, venue_http, payload, budget):
    url = f"{URL}/eapi/v1/allOpenOrdersByUnderlying"
    venue_http.delete(url, json=payload("binance_options/cancel_all_by_underlying"))

    call = MassCancel("ordinary", "BTCUSDT", 5, by_underlying=True)
    assert binance_options.mass_cancel(call) == MassCancelReply()

    assert (sent(venue_http), budget.spent) == ({"underlying": "BTCUSDT"}, [("eapi", 5)])


def test_mass_cancel_without_a_target_is_refused_before_it_is_sent(binance_options, venue_http):
    with pytest.raises(ValueError, match="names a symbol or an underlying"):
        binance_options.mass_cancel(MassCancel("ordinary", None, 1))

    assert len(venue_http.calls) == 0


def test_several_orders_are_cancelled_in_one_call_and_their_state_is_not_read(
    binance_options, venue_http, payload, budget
):
    (item,) = payload("binance_options/batch_orders")
    second = item | {"orderId": 4611875134427365378, "status": "NOBODY KNOWS"}
    venue_http.delete(f"{URL}/eapi/v1/batchOrders", json=[item, second])
    refs = [ref(BIG_ID), ref("4611875134427365378")]

    results = binance_options.cancel_orders("ordinary", SYMBOL, refs)

    assert results == [CancelResult(refs[0], accepted=True), CancelResult(refs[1], accepted=True)]
    assert sent(venue_http) == {"symbol": SYMBOL, "orderIds": f"[{BIG_ID},4611875134427365378]"}
    assert f"orderIds=%5B{BIG_ID}%2C4611875134427365378%5D&" in venue_http.calls[0].request.path_url
    assert budget.spent == [("eapi", 5)]


def test_a_batch_known_by_client_ids_sends_only_those(binance_options, venue_http, payload):
    (item,) = payload("binance_options/batch_orders")
    replies = [item | {"clientOrderId": "my_id_2"}, item | {"clientOrderId": "my_id_1"}]
    venue_http.delete(f"{URL}/eapi/v1/batchOrders", json=replies)
    refs = [ref("", "my_id_1"), ref("", "my_id_2")]

    results = binance_options.cancel_orders("ordinary", SYMBOL, refs)

    assert [result.accepted for result in results] == [True, True]
    assert sent(venue_http) == {"symbol": SYMBOL, "clientOrderIds": '["my_id_1","my_id_2"]'}
    assert "=%5B%22my_id_1%22%2C%22my_id_2%22%5D&" in venue_http.calls[0].request.path_url


def test_a_batch_tells_refused_orders_by_their_place(binance_options, venue_http, payload):
    (item,) = payload("binance_options/batch_orders")
    final = {"code": -6028, "msg": "Order is already in a final state."}
    other = {"code": "-6063", "msg": "Cancel rejected by system."}
    venue_http.delete(f"{URL}/eapi/v1/batchOrders", json=[final, item, other])
    refs = [ref("1"), ref(BIG_ID), ref("2")]

    results = binance_options.cancel_orders("ordinary", SYMBOL, refs)

    assert results == [
        CancelResult(refs[0], accepted=False, not_found=True, code="-6028", text=final["msg"]),
        CancelResult(refs[1], accepted=True),
        CancelResult(refs[2], accepted=False, code="-6063", text=other["msg"]),
    ]


def test_a_batch_that_leaves_orders_out_accepts_only_what_it_names(binance_options, venue_http, payload):
    venue_http.delete(f"{URL}/eapi/v1/batchOrders", json=payload("binance_options/batch_orders"))
    refs = [ref("1"), ref(BIG_ID)]

    results = binance_options.cancel_orders("ordinary", SYMBOL, refs)

    assert results == [
        CancelResult(refs[0], accepted=False, text="the reply does not name this order"),
        CancelResult(refs[1], accepted=True),
    ]


def test_a_batch_refused_as_a_whole_is_told_of_every_order(binance_options, venue_http):
    refusal = {"code": -6028, "msg": "Order is already in a final state."}
    venue_http.delete(f"{URL}/eapi/v1/batchOrders", status=400, json=refusal)
    refs = [ref("1"), ref("2")]

    results = binance_options.cancel_orders("ordinary", SYMBOL, refs)

    assert results == [CancelResult(one, accepted=False, code="-6028", text=refusal["msg"]) for one in refs]


def test_a_batch_with_a_refused_key_raises(binance_options, venue_http):
    venue_http.delete(f"{URL}/eapi/v1/batchOrders", status=401, json={"code": -2015, "msg": "Invalid"})

    with pytest.raises(CredentialsRejected):
        binance_options.cancel_orders("ordinary", SYMBOL, [ref("1"), ref("2")])


@pytest.mark.parametrize("reply", [{"code": 0, "msg": "success"}, "done", [None], [[]]])
def test_a_batch_reply_that_is_no_list_of_orders_is_unknown(binance_options, venue_http, reply):
    venue_http.delete(f"{URL}/eapi/v1/batchOrders", json=reply)

    with pytest.raises(OutcomeUnknown):
        binance_options.cancel_orders("ordinary", SYMBOL, [ref("1"), ref("2")])


def test_more_than_ten_orders_are_refused_before_they_are_sent(binance_options, venue_http):
    with pytest.raises(ValueError, match="11 orders are too many for one call"):
        binance_options.cancel_orders("ordinary", SYMBOL, [ref(str(n)) for n in range(1, 12)])

    assert len(venue_http.calls) == 0


@pytest.mark.parametrize(
    ("one", "params"),
    [
        (ref(BIG_ID, "mine"), {"symbol": SYMBOL, "orderId": BIG_ID}),
        (ref("", "mine"), {"symbol": SYMBOL, "clientOrderId": "mine"}),
    ],
)
def test_one_order_is_cancelled_by_the_cheaper_call(
    binance_options, venue_http, payload, budget, one, params
):
    venue_http.delete(f"{URL}/eapi/v1/order", json=payload("binance_options/cancel_order"))

    assert binance_options.cancel_orders("ordinary", SYMBOL, [one]) == [CancelResult(one, accepted=True)]

    assert (sent(venue_http), budget.spent) == (params, [("eapi", 1)])


@pytest.mark.parametrize("code", [-2011, -2013, -6028])
def test_a_single_cancel_that_finds_no_order_says_so(binance_options, venue_http, code):
    venue_http.delete(f"{URL}/eapi/v1/order", status=400, json={"code": code, "msg": "gone"})

    assert binance_options.cancel_orders("ordinary", SYMBOL, [ref("7")]) == [
        CancelResult(ref("7"), accepted=False, not_found=True, code=str(code), text="gone")
    ]


# Reading


@pytest.mark.parametrize(("symbol", "params", "weight"), [(SYMBOL, {"symbol": SYMBOL}, 1), (None, {}, 40)])
def test_open_orders_are_listed(binance_options, venue_http, payload, budget, symbol, params, weight):
    venue_http.get(f"{URL}/eapi/v1/openOrders", json=payload("binance_options/open_orders"))

    assert binance_options.open_orders(Listing("ordinary", symbol, weight)) == [OPEN]

    assert (sent(venue_http), budget.spent) == (params, [("eapi", weight)])


def test_orders_of_another_symbol_are_no_answer(binance_options, venue_http, payload):
    for path in ("openOrders", "historyOrders"):
        venue_http.get(f"{URL}/eapi/v1/{path}", json=payload("binance_options/open_orders"))

    with pytest.raises(OutcomeUnknown, match=f"asked for orders of ETH-1-C, was told of {SYMBOL}"):
        binance_options.open_orders(Listing("ordinary", "ETH-1-C", 1))
    with pytest.raises(OutcomeUnknown, match=f"asked for orders of ETH-1-C, was told of {SYMBOL}"):
        binance_options.history("ordinary", "ETH-1-C", datetime.now(UTC) - timedelta(hours=1))


@pytest.mark.parametrize(
    ("venue_status", "state"),
    [
        ("NEW", OrderState.OPEN),
        ("ACCEPTED", OrderState.OPEN),
        ("PARTIALLY_FILLED", OrderState.OPEN),
        ("CANCELED", OrderState.CANCELLED),
        ("CANCELLED", OrderState.CANCELLED),
        ("FILLED", OrderState.FILLED),
        ("REJECTED", OrderState.REJECTED),
        ("EXPIRED", OrderState.EXPIRED),
        ("EXPIRED_IN_MATCH", OrderState.EXPIRED),
    ],
)
def test_states_of_both_generations_are_understood(binance_options, venue_http, payload, venue_status, state):
    told = payload("binance_options/order") | {"status": venue_status}
    venue_http.get(f"{URL}/eapi/v1/order", json=told)

    order = binance_options.order(ref(BIG_ID))

    assert (order.state, order.venue_status) == (state, venue_status)


@pytest.mark.parametrize("key", ["orderId", "symbol", "status"])
def test_a_listing_with_an_order_nobody_can_name_is_unknown(binance_options, venue_http, payload, key):
    whole = payload("binance_options/order")
    part = {name: value for name, value in whole.items() if name != key}
    venue_http.get(f"{URL}/eapi/v1/openOrders", json=[whole, part])

    with pytest.raises(OutcomeUnknown):
        binance_options.open_orders(FULL)


@pytest.mark.parametrize("reply", [{}, {"code": 0}, "", 0, [None], [[]]])
def test_a_listing_that_is_no_list_of_orders_is_unknown(binance_options, venue_http, reply):
    venue_http.get(f"{URL}/eapi/v1/openOrders", json=reply)

    with pytest.raises(OutcomeUnknown):
        binance_options.open_orders(FULL)


def test_a_status_nobody_knows_spoils_the_listing(binance_options, venue_http, payload):
    odd = payload("binance_options/order") | {"status": "PAUSED"}
    venue_http.get(f"{URL}/eapi/v1/openOrders", json=[odd])

    with pytest.raises(OutcomeUnknown, match="'PAUSED' is not known"):
        binance_options.open_orders(FULL)


def test_an_order_that_only_reduces_is_marked(binance_options, venue_http, payload):
    reducing = payload("binance_options/open_orders")[0] | {"reduceOnly": True, "clientOrderId": "mine"}
    venue_http.get(f"{URL}/eapi/v1/openOrders", json=[reducing])

    assert binance_options.open_orders(FULL) == [replace(OPEN, client_order_id="mine", protective=True)]


@pytest.mark.parametrize(
    ("one", "params"),
    [
        (ref(BIG_ID, "mine"), {"symbol": SYMBOL, "orderId": BIG_ID}),
        (ref("", "mine"), {"symbol": SYMBOL, "clientOrderId": "mine"}),
    ],
)
def test_one_order_is_queried(binance_options, venue_http, payload, budget, one, params):
    venue_http.get(f"{URL}/eapi/v1/order", json=payload("binance_options/order"))

    updated_at = datetime(2019, 8, 26, 11, 25, 24, 722_000, tzinfo=UTC)
    assert binance_options.order(one) == replace(OPEN, updated_at=updated_at)

    assert (sent(venue_http), budget.spent) == (params, [("eapi", 1)])


def test_an_order_the_venue_does_not_know_is_not_found(binance_options, venue_http):
    refusal = {"code": -2013, "msg": "Order does not exist"}
    venue_http.get(f"{URL}/eapi/v1/order", status=400, json=refusal)

    with pytest.raises(OrderNotFound):
        binance_options.order(ref("7"))


def test_another_orders_state_is_not_taken_for_the_one_asked(binance_options, venue_http, payload):
    venue_http.get(f"{URL}/eapi/v1/order", json=payload("binance_options/order"))

    with pytest.raises(OutcomeUnknown, match="asked for order 4611875134427365378"):
        binance_options.order(ref("4611875134427365378"))


def test_history_counts_what_was_sold_as_positive(binance_options, venue_http, payload, budget):
    venue_http.get(f"{URL}/eapi/v1/historyOrders", json=payload("binance_options/history_orders"))
    since = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)

    orders = binance_options.history("ordinary", "BTC-220715-2000-C", since)

    params = sent(venue_http)
    assert orders == [
        Order(
            family="ordinary",
            symbol="BTC-220715-2000-C",
            venue_order_id="4611922413427359795",
            client_order_id="",
            state=OrderState.FILLED,
            venue_status="FILLED",
            side="SELL",
            order_type="LIMIT",
            quantity=Decimal("0.5"),
            filled=Decimal("0.5"),
            price=Decimal(18000),
            placed_at=datetime(2022, 7, 15, 6, 48, 14, 244_000, tzinfo=UTC),
            updated_at=datetime(2022, 7, 15, 6, 51, 28, 216_000, tzinfo=UTC),
        )
    ]
    assert int(params["startTime"]) == int(since.timestamp() * 1000)
    assert (params["symbol"], params["limit"]) == ("BTC-220715-2000-C", "1000")
    assert budget.spent == [("eapi", binance_options.history_weight("ordinary"))]


def test_history_goes_no_further_back_than_the_venue_keeps_orders(binance_options, venue_http, budget):
    venue_http.get(f"{URL}/eapi/v1/historyOrders", json=[])

    assert binance_options.history("ordinary", SYMBOL, datetime(2020, 1, 1, tzinfo=UTC)) == []

    params = sent(venue_http)
    assert int(params["endTime"]) - int(params["startTime"]) == 5 * 86_400_000 + 5000
    assert budget.spent == [("eapi", 3)]


# Failures


def test_every_failure_is_typed_and_keeps_what_the_venue_said(
    binance_options, venue_http, budget, binance_failure
):
    venue_http.delete(f"{URL}/eapi/v1/allOpenOrders", headers=binance_failure.headers, **binance_failure.stub)

    with pytest.raises(VenueError) as caught:
        binance_options.cancel_all(SYMBOL)

    told = caught.value
    blocked = [] if binance_failure.blocked_ms is None else [("eapi", binance_failure.blocked_ms)]
    assert (type(told), told.status, told.code) == (
        binance_failure.error,
        binance_failure.status,
        binance_failure.code,
    )
    assert (budget.spent, budget.blocked) == ([("eapi", 1)], blocked)
    assert "signature" not in f"{told} {told.text}"


def test_a_rejected_timestamp_is_resynced_and_signed_anew_once(binance_options, venue_http, payload, budget):
    too_old = {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}
    venue_http.delete(f"{URL}/eapi/v1/allOpenOrders", status=400, json=too_old)
    venue_http.delete(f"{URL}/eapi/v1/allOpenOrders", json=payload("binance_options/cancel_all"))
    venue_http.get(f"{URL}/eapi/v1/time", json=payload("binance_options/time"))

    binance_options.cancel_all(SYMBOL)

    first, _, second = (call.request.params for call in venue_http.calls)
    assert int(second["timestamp"]) - 1499827319559 < 10_000
    assert first["signature"] != second["signature"]
    assert budget.spent == [("eapi", 1)] * 3


@pytest.mark.parametrize("code", [-1003, -1008])
def test_the_weight_limit_has_a_code_of_its_own_here(binance_options, venue_http, budget, code):
    text = "Too many requests; current limit is 2400 request weight per 1 MINUTE."
    venue_http.get(f"{URL}/eapi/v1/openOrders", status=400, json={"code": code, "msg": text})

    with pytest.raises(RateLimited) as caught:
        binance_options.open_orders(FULL)

    told = caught.value
    assert (told.status, told.code, told.text, told.banned) == (400, str(code), text, False)
    assert budget.blocked == [("eapi", 15_000)]
