"""CoinSwitch PRO futures: every call against the payloads of the venue's documentation.

https://api-trading.coinswitch.co/futures/reference/
"""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.client import RemoteDisconnected
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from urllib3.exceptions import ProtocolError

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
    Order,
    OrderRef,
    OrderState,
)
from panicboard.venues.coinswitch import HORIZON_DAYS, CoinSwitch
from panicboard.venues.coinswitch_http import private_key, signature
from panicboard.venues.errors import (
    BudgetSpent,
    CredentialsRejected,
    EndpointGone,
    NotDone,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    VenueError,
    VenueRejected,
)

URL = "https://coinswitch.co"
TRADE = f"{URL}/trade/api/v2"
CANCEL_ALL_URL = f"{TRADE}/futures/cancel_all"
ORDER_URL = f"{TRADE}/futures/order"
OPEN_URL = f"{TRADE}/futures/orders/open"
CLOSED_URL = f"{TRADE}/futures/orders/closed"

# The first key pair of RFC 8032, section 7.1.
SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

WEEK_MS = 7 * 24 * 3600 * 1000
ORDER_ID = "698ed406-8ef5-4664-9779-f7978702a447"
REF = OrderRef("ordinary", "BTCUSDT", ORDER_ID)
FULL_LISTING = Listing("ordinary", None, 5)

STOP = Order(
    family="ordinary",
    symbol="BTCUSDT",
    venue_order_id="01936be4-9e37-7487-8e31-20fede6ef271",
    client_order_id="",
    state=OrderState.OPEN,
    venue_status="RAISED",
    side="SELL",
    order_type="STOP_MARKET",
    quantity=Decimal(0),
    filled=Decimal(0),
    trigger_price=Decimal(50000),
    protective=True,
    placed_at=datetime(2024, 11, 27, 5, 13, 20, tzinfo=UTC),
    updated_at=datetime(2024, 11, 27, 5, 13, 20, tzinfo=UTC),
)
LIMIT = Order(
    family="ordinary",
    symbol="BTCUSDT",
    venue_order_id="01936be4-2571-7a3f-97fa-a29a2b85d717",
    client_order_id="f7a2ad9b-6b1d-4b8b-9d65-6c2d5f1f3c11",
    state=OrderState.OPEN,
    venue_status="CANCELLATION_RAISED",
    side="BUY",
    order_type="LIMIT",
    quantity=Decimal("0.010"),
    filled=Decimal(0),
    price=Decimal(60000),
    cancel_pending=True,
    placed_at=datetime(2024, 11, 27, 5, 13, 3, 674_000, tzinfo=UTC),
    updated_at=datetime(2024, 11, 27, 5, 13, 10, tzinfo=UTC),
)


@pytest.fixture
def coinswitch(budget) -> CoinSwitch:
    return CoinSwitch(URL, Credentials(PUBLIC, SEED, "ed25519"), budget=budget, account="alpha")


@pytest.fixture(autouse=True)
def clock_agrees(clock_in_step) -> None:
    clock_in_step(URL)


def bodies(venue_http) -> list[dict[str, Any]]:
    return [json.loads(call.request.body) for call in venue_http.calls]


def page(*orders: dict[str, Any], cursor: object = 0) -> dict[str, Any]:
    return {"data": {"orders": list(orders), "cursor": cursor}}


def order_at(placed_ms: int, order_id: str = "") -> dict[str, Any]:
    """An open order as a listing shows it, placed at a moment that also makes its id."""
    return {
        "order_id": order_id or f"id-{placed_ms}",
        "symbol": "BTCUSDT",
        "status": "RAISED",
        "side": "BUY",
        "order_type": "LIMIT",
        "quantity": "1",
        "exec_quantity": "0",
        "price": "60000",
        "created_at": placed_ms,
    }


# Signing


@pytest.mark.parametrize(
    ("method", "target", "signed"),
    [
        (
            "POST",
            "/trade/api/v2/futures/cancel_all",
            "39690b306f14daf1c0ab30caf78a57682f260a13501b03371fb743a5584b40eb"
            "a946974ac35211f2e91e5a441a369e8e80c068efa46df4e0572c36bdcae76506",
        ),
        (
            "GET",
            f"/trade/api/v2/futures/order?order_id={ORDER_ID}",
            "56a16bf2d13630b771880a1f4d812e232a2f0f4a7511ea69fffc6f2994c148d4"
            "cc23dfe2ed4a6be286f415b330ddae2713607ff7f3b5dfa07712e98759cd7900",
        ),
    ],
)
def test_signature_is_over_method_path_and_epoch(method, target, signed):
    key = private_key(Credentials(PUBLIC, SEED, "ed25519"))

    assert signature(key, method, target, 1700000000000) == signed


def test_signature_is_over_the_decoded_path():
    key = private_key(Credentials(PUBLIC, SEED, "ed25519"))

    encoded = signature(key, "GET", "/trade/api/v2/x?symbols=BTC%2FINR%2Ceth+a", 1)

    assert encoded == key.sign(b"GET/trade/api/v2/x?symbols=BTC/INR,eth a1").hex()


@pytest.mark.parametrize("secret", ["", "not hex at all", "9d61", SEED + "00"])
def test_a_secret_that_is_no_seed_is_refused_before_any_call(budget, secret):
    with pytest.raises(CredentialsRejected, match="32-byte Ed25519 seed") as caught:
        CoinSwitch(URL, Credentials(PUBLIC, secret, "ed25519"), budget=budget, account="alpha")

    assert not secret or secret not in str(caught.value)


def test_a_call_carries_key_epoch_and_the_signature_of_both(coinswitch, venue_http, payload):
    venue_http.post(CANCEL_ALL_URL, json=payload("coinswitch/cancel_all"))

    coinswitch.mass_cancel(MassCancel("ordinary", None, 1))

    headers = venue_http.calls[0].request.headers
    epoch = headers["X-AUTH-EPOCH"]
    message = f"POST/trade/api/v2/futures/cancel_all{epoch}".encode()
    public_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(PUBLIC))
    public_key.verify(bytes.fromhex(headers["X-AUTH-SIGNATURE"]), message)  # raises when it is another's
    assert (headers["X-AUTH-APIKEY"], headers["Content-Type"]) == (PUBLIC, "application/json")
    assert abs(int(epoch) - time.time() * 1000) < 10_000


# Planning


def test_mass_cancels_of_the_whole_account_are_one_call_that_names_no_symbol():
    whole = [MassCancel("ordinary", None, 1)]

    assert CoinSwitch.mass_cancels([BookSymbol("ordinary", "BTCUSDT")], whole_account=True) == whole
    assert CoinSwitch.mass_cancels([], whole_account=True) == whole


def test_mass_cancels_of_symbols_touch_no_other():
    symbols = [BookSymbol("ordinary", "ETHUSDT"), BookSymbol("ordinary", "BTCUSDT")]

    assert CoinSwitch.mass_cancels(symbols, whole_account=False) == [
        MassCancel("ordinary", "BTCUSDT", 1),
        MassCancel("ordinary", "ETHUSDT", 1),
    ]
    assert CoinSwitch.mass_cancels([], whole_account=False) == []


@pytest.mark.parametrize(
    ("names", "listings"),
    [
        (None, [FULL_LISTING]),
        ([], []),
        (["BTCUSDT"], [Listing("ordinary", "BTCUSDT", 5)]),
        (["BTCUSDT", "ETHUSDT"], [FULL_LISTING]),
    ],
)
def test_listings_are_one_at_most(names, listings):
    symbols = None if names is None else [BookSymbol("ordinary", name) for name in names]

    assert CoinSwitch.listings(symbols) == listings


def test_limits_count_each_kind_of_call_by_key():
    assert set(CoinSwitch.limits) == {
        Limit("open", "key", 20),
        Limit("closed", "key", 20),
        Limit("status", "key", 20),
        Limit("cancel", "key", 10),
        Limit("cancel_all", "key", 10),
        Limit("place", "key", 20),
        Limit("market", "key", 100),
    }
    assert (CoinSwitch.listing_limit().pool, CoinSwitch.cancel_limit().pool) == ("open", "cancel_all")


# The account


def test_sync_clock_reads_the_venues_time(coinswitch, venue_http, payload, budget):
    venue_http.get(f"{TRADE}/time", json=payload("coinswitch/time"))

    offset_ms = coinswitch.sync_clock()

    assert abs(time.time() * 1000 + offset_ms - 1700000000000) < 10_000
    assert "X-AUTH-APIKEY" not in venue_http.calls[0].request.headers
    assert budget.spent == []


@pytest.mark.parametrize("reply", [{}, {"serverTime": "soon"}, {"serverTime": None}, []])
def test_sync_clock_is_unknown_without_a_time(coinswitch, venue_http, reply):
    venue_http.get(f"{TRADE}/time", json=reply)

    with pytest.raises(OutcomeUnknown):
        coinswitch.sync_clock()


def test_check_access_of_a_valid_key(coinswitch, venue_http, payload, budget):
    venue_http.get(f"{TRADE}/validate/keys", json=payload("coinswitch/validate_keys"))

    assert coinswitch.check_access() == Access(True, "Valid Access")

    assert budget.spent == []


def test_a_refused_key_is_told_after_one_more_try_with_the_venues_clock(
    coinswitch, venue_http, payload, budget
):
    venue_http.post(CANCEL_ALL_URL, status=401, json={"message": "Invalid Access"})
    venue_http.get(f"{TRADE}/time", json=payload("coinswitch/time"))

    with pytest.raises(CredentialsRejected) as caught:
        coinswitch.mass_cancel(MassCancel("ordinary", None, 1))

    assert (caught.value.status, caught.value.text) == (401, "Invalid Access")
    assert [call.request.method for call in venue_http.calls] == ["POST", "GET", "POST"]
    assert budget.spent == [("cancel_all", 1), ("cancel_all", 1)]


def test_a_clock_that_was_off_is_put_right_and_the_call_signed_anew(coinswitch, venue_http, payload):
    venue_http.post(CANCEL_ALL_URL, status=401, json={"message": "Invalid Access"})
    venue_http.post(CANCEL_ALL_URL, json=payload("coinswitch/cancel_all"))
    venue_http.get(f"{TRADE}/time", json=payload("coinswitch/time"))

    coinswitch.mass_cancel(MassCancel("ordinary", None, 1))

    first, _, second = (call.request.headers for call in venue_http.calls)
    assert abs(int(second["X-AUTH-EPOCH"]) - 1700000000000) < 10_000
    assert first["X-AUTH-SIGNATURE"] != second["X-AUTH-SIGNATURE"]


# Mass cancels


@pytest.mark.parametrize(
    ("target", "body"),
    [(None, {"exchange": "EXCHANGE_2"}), ("BTCUSDT", {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT"})],
)
def test_mass_cancel_names_the_ids_that_were_sent_for_cancelling(
    coinswitch, venue_http, payload, budget, target, body
):
    venue_http.post(CANCEL_ALL_URL, json=payload("coinswitch/cancel_all"))

    reply = coinswitch.mass_cancel(MassCancel("ordinary", target, 1))

    assert reply == MassCancelReply(
        requested_ids=("01936be4-2571-7a3f-97fa-a29a2b85d717", "01936be4-9e37-7487-8e31-20fede6ef271")
    )
    assert bodies(venue_http) == [body]
    assert budget.spent == [("cancel_all", 1)]


@pytest.mark.parametrize("ids", [[], None])
def test_mass_cancel_of_an_empty_book_names_no_id(coinswitch, venue_http, ids):
    venue_http.post(CANCEL_ALL_URL, json={"data": {"orders_ids": ids}})

    assert coinswitch.mass_cancel(MassCancel("ordinary", None, 1)) == MassCancelReply()


@pytest.mark.parametrize(
    "reply", [{}, {"data": None}, {"data": []}, {"data": {}}, {"data": {"orders_ids": "x"}}]
)
def test_mass_cancel_is_unknown_for_an_odd_reply(coinswitch, venue_http, reply):
    venue_http.post(CANCEL_ALL_URL, json=reply)

    with pytest.raises(OutcomeUnknown):
        coinswitch.mass_cancel(MassCancel("ordinary", None, 1))


# Single cancels


def test_cancel_orders_sends_a_body_with_its_delete(coinswitch, venue_http, payload, budget):
    venue_http.delete(ORDER_URL, json=payload("coinswitch/cancel_order"))

    assert coinswitch.cancel_orders("ordinary", "BTCUSDT", [REF]) == [CancelResult(REF, accepted=True)]

    assert bodies(venue_http) == [{"exchange": "EXCHANGE_2", "order_id": ORDER_ID}]
    assert budget.spent == [("cancel", 1)]


def test_cancel_shows_the_order_as_open_until_it_is_carried_out(coinswitch, venue_http, payload):
    venue_http.delete(ORDER_URL, json=payload("coinswitch/cancel_order"))

    order = coinswitch.cancel(REF)

    assert (order.symbol, order.state, order.cancel_pending) == ("BTCUSDT", OrderState.OPEN, True)


@pytest.mark.parametrize(
    ("status", "text", "not_found"),
    [
        (400, "Order not found", True),
        (404, "order does not exist", True),
        (400, "Order is already CANCELLED", False),
        (422, "Input order_id is missing", False),
    ],
)
def test_cancel_orders_tells_a_refusal_with_the_venues_words(coinswitch, venue_http, status, text, not_found):
    venue_http.delete(ORDER_URL, status=status, json={"message": text})

    assert coinswitch.cancel_orders("ordinary", "BTCUSDT", [REF]) == [
        CancelResult(REF, accepted=False, not_found=not_found, code=str(status), text=text)
    ]


def test_cancel_orders_takes_one_order_and_its_venue_id(coinswitch):
    with pytest.raises(ValueError, match="one order a call"):
        coinswitch.cancel_orders("ordinary", "BTCUSDT", [REF, REF])
    with pytest.raises(ValueError, match="its own order id"):
        coinswitch.cancel_orders("ordinary", "BTCUSDT", [OrderRef("ordinary", "BTCUSDT", "", "mine")])


def test_cancel_is_unknown_when_the_reply_speaks_of_another_order(coinswitch, venue_http, payload):
    venue_http.delete(ORDER_URL, json=payload("coinswitch/cancel_order"))

    with pytest.raises(OutcomeUnknown):
        coinswitch.cancel(OrderRef("ordinary", "BTCUSDT", "another"))


# Single queries


PARTLY_FILLED = Order(
    family="ordinary",
    symbol="BTCUSDT",
    venue_order_id=ORDER_ID,
    client_order_id="",
    state=OrderState.CANCELLED,
    venue_status="PARTIALLY_EXECUTED",
    side="BUY",
    order_type="LIMIT",
    quantity=Decimal("0.010"),
    filled=Decimal("0.004"),
    price=Decimal(60000),
    placed_at=datetime(2024, 11, 27, 5, 13, 3, 674_000, tzinfo=UTC),
    updated_at=datetime(2024, 11, 27, 5, 13, 10, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("ref", "query"),
    [
        (REF, {"order_id": ORDER_ID}),
        (OrderRef("ordinary", "BTCUSDT", "", "mine"), {"client_order_id": "mine"}),
    ],
)
def test_order_is_read_one_level_deeper(coinswitch, venue_http, payload, budget, ref, query):
    venue_http.get(ORDER_URL, json=payload("coinswitch/order"))

    assert coinswitch.order(ref) == PARTLY_FILLED

    assert (venue_http.calls[0].request.params, budget.spent) == (query, [("status", 1)])


@pytest.mark.parametrize(
    ("status", "state", "pending"),
    [
        ("RAISED", OrderState.OPEN, False),
        ("CANCELLATION_RAISED", OrderState.OPEN, True),
        ("EXPIRATION_RAISED", OrderState.OPEN, True),
        ("EXECUTED", OrderState.FILLED, False),
        ("PARTIALLY_EXECUTED", OrderState.CANCELLED, False),
        ("CANCELLED", OrderState.CANCELLED, False),
        ("EXPIRED", OrderState.EXPIRED, False),
        ("FAILED", OrderState.REJECTED, False),
    ],
)
def test_order_states(coinswitch, venue_http, payload, status, state, pending):
    reply = payload("coinswitch/order")
    reply["data"]["order"]["status"] = status
    venue_http.get(ORDER_URL, json=reply)

    order = coinswitch.order(REF)

    assert (order.state, order.venue_status, order.cancel_pending) == (state, status, pending)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "PAUSED"},
        {"status": None},
        {"order_id": ""},
        {"order_id": "another"},
        {"symbol": None},
        {"quantity": "some"},
    ],
)
def test_an_order_that_cannot_be_read_is_unknown(coinswitch, venue_http, payload, change):
    reply = payload("coinswitch/order")
    reply["data"]["order"] |= change
    venue_http.get(ORDER_URL, json=reply)

    with pytest.raises(OutcomeUnknown):
        coinswitch.order(REF)


def test_an_order_that_is_not_there_is_unknown(coinswitch, venue_http, payload):
    flat = {"data": payload("coinswitch/order")["data"]["order"]}
    venue_http.get(ORDER_URL, json=flat)

    with pytest.raises(OutcomeUnknown):
        coinswitch.order(REF)


def test_order_that_the_venue_does_not_know_is_not_found(coinswitch, venue_http):
    venue_http.get(ORDER_URL, status=400, json={"message": "Order not found"})

    with pytest.raises(OrderNotFound):
        coinswitch.order(REF)


def test_order_is_named_by_some_id(coinswitch):
    with pytest.raises(ValueError, match="named by no id"):
        coinswitch.order(OrderRef("ordinary", "BTCUSDT", ""))


# Placing


@pytest.mark.parametrize("change", [{"client_order_id": "another"}, {"symbol": "ETHUSDT"}])
def test_order_of_another_is_not_taken_for_the_one_that_was_placed(coinswitch, venue_http, payload, change):
    placed = payload("coinswitch/order")["data"]["order"] | {"client_order_id": "mine", "status": "RAISED"}
    venue_http.post(ORDER_URL, json={"data": placed})
    venue_http.post(ORDER_URL, json={"data": placed | change})
    far = FarOrder("ordinary", "BTCUSDT", "LIMIT", Decimal("0.010"), price=Decimal(60000))

    assert coinswitch.place_far_order(far, "mine").venue_order_id == ORDER_ID
    with pytest.raises(OutcomeUnknown, match="was told of"):
        coinswitch.place_far_order(far, "mine")


# Open orders


def test_open_orders_of_an_empty_account_are_proven_back_to_the_horizon(coinswitch, venue_http, budget):
    venue_http.post(OPEN_URL, json=page())

    assert coinswitch.open_orders(FULL_LISTING) == []

    newest, *older = bodies(venue_http)
    start_ms = older[0]["to_time"] + WEEK_MS
    assert newest == {"exchange": "EXCHANGE_2", "limit": 50}
    assert [(body["from_time"], body["to_time"]) for body in older] == [
        (start_ms - (weeks + 1) * WEEK_MS, start_ms - weeks * WEEK_MS) for weeks in (1, 2, 3)
    ]
    assert 4 * 7 == HORIZON_DAYS == coinswitch.horizon_days
    # The windows overlap by as much as a clock may be off.
    assert abs(start_ms - 60_000 - time.time() * 1000) < 10_000
    assert budget.spent == [("open", 4)]


def test_a_quick_listing_looks_at_the_newest_seven_days_only(coinswitch, venue_http, budget):
    (quick,) = CoinSwitch.listings(
        [BookSymbol("ordinary", "BTCUSDT"), BookSymbol("ordinary", "X")], quick=True
    )
    venue_http.post(OPEN_URL, json=page())

    assert coinswitch.open_orders(quick) == []

    assert (quick.weight, budget.spent) == (2, [("open", 1)])
    assert [body.get("to_time") for body in bodies(venue_http)] == [None]


def test_open_orders_end_where_a_cursor_is_beyond_the_horizon(coinswitch, venue_http, payload, budget):
    venue_http.post(OPEN_URL, json=payload("coinswitch/open_orders"))  # its cursor is of 2024

    assert coinswitch.open_orders(FULL_LISTING) == [STOP, LIMIT]

    assert (len(venue_http.calls), budget.spent) == (1, [("open", 4)])


def test_open_orders_walk_pages_and_windows_and_never_double_an_order(coinswitch, venue_http, budget):
    now_ms = int(time.time() * 1000)
    day_ms = WEEK_MS // 7
    newest = [order_at(now_ms - n * 1000) for n in range(50)]
    rest = [order_at(now_ms - n * 1000) for n in range(49, 60)]
    old = order_at(now_ms - 20 * day_ms)
    venue_http.post(OPEN_URL, json=page(*newest, cursor=newest[-1]["created_at"]))
    venue_http.post(OPEN_URL, json=page(*rest, cursor=str(rest[-1]["created_at"])))
    venue_http.post(OPEN_URL, json=page(rest[-1], cursor=rest[-1]["created_at"]))
    venue_http.post(OPEN_URL, json=page())
    venue_http.post(OPEN_URL, json=page(old, cursor=old["created_at"]))
    venue_http.post(OPEN_URL, json=page(old, cursor=old["created_at"]))
    venue_http.post(OPEN_URL, json=page())

    orders = coinswitch.open_orders(FULL_LISTING)

    ids = [order.venue_order_id for order in orders]
    assert ids == [item["order_id"] for item in [*newest, *rest[1:], old]]
    ends = [body.get("to_time") for body in bodies(venue_http)]
    cursor, last = newest[-1]["created_at"], rest[-1]["created_at"]
    assert ends[:5] == [None, cursor, last, last - WEEK_MS, last - 2 * WEEK_MS]
    assert ends[5:] == [old["created_at"], old["created_at"] - WEEK_MS]
    assert budget.spent == [("open", 4), ("open", 1), ("open", 1), ("open", 1)]


def test_a_full_page_that_comes_again_is_a_part_and_so_unknown(coinswitch, venue_http):
    now_ms = int(time.time() * 1000)
    full = page(*(order_at(now_ms - n) for n in range(50)), cursor=now_ms - 49)
    venue_http.post(OPEN_URL, json=full)

    with pytest.raises(OutcomeUnknown, match="a full page brings nothing new"):
        coinswitch.open_orders(FULL_LISTING)

    assert len(venue_http.calls) == 2


def test_a_short_page_that_comes_again_leads_to_the_window_before(coinswitch, venue_http):
    now_ms = int(time.time() * 1000)
    venue_http.post(OPEN_URL, json=page(*(order_at(now_ms - n) for n in range(49)), cursor=now_ms - 48))

    orders = coinswitch.open_orders(FULL_LISTING)

    assert (len(orders), len(venue_http.calls)) == (49, 5)


@pytest.mark.parametrize("cursor", [1, 10**12])
def test_a_cursor_far_before_the_last_order_of_its_page_leaves_nothing_out(coinswitch, venue_http, cursor):
    now_ms = int(time.time() * 1000)
    last_ms = now_ms - 49
    venue_http.post(OPEN_URL, json=page(*(order_at(now_ms - n) for n in range(50)), cursor=cursor))
    venue_http.post(OPEN_URL, json=page(order_at(last_ms), order_at(last_ms - 1), cursor=last_ms - 1))
    venue_http.post(OPEN_URL, json=page())

    orders = coinswitch.open_orders(FULL_LISTING)

    assert [order.venue_order_id for order in orders] == [f"id-{now_ms - n}" for n in range(51)]
    assert [body.get("to_time") for body in bodies(venue_http)[:3]] == [None, last_ms, last_ms - 1]


def test_a_cursor_of_the_future_costs_no_calls(coinswitch, venue_http):
    now_ms = int(time.time() * 1000)
    venue_http.post(OPEN_URL, json=page(order_at(now_ms), cursor=now_ms + 520 * WEEK_MS))
    venue_http.post(OPEN_URL, json=page())

    assert len(coinswitch.open_orders(FULL_LISTING)) == 1

    assert len(venue_http.calls) == 4


def test_orders_of_another_symbol_are_no_answer(coinswitch, venue_http, payload):
    for url in (OPEN_URL, CLOSED_URL):
        venue_http.post(url, json=payload("coinswitch/open_orders"))

    with pytest.raises(OutcomeUnknown, match="asked for orders of ETHUSDT, was told of BTCUSDT"):
        coinswitch.open_orders(Listing("ordinary", "ETHUSDT", 5))
    with pytest.raises(OutcomeUnknown, match="asked for orders of ETHUSDT, was told of BTCUSDT"):
        coinswitch.history("ordinary", "ETHUSDT", datetime.now(UTC) - timedelta(hours=1))


def test_state_of_an_order_of_another_symbol_is_not_taken_for_the_one_asked_for(
    coinswitch, venue_http, payload
):
    venue_http.get(ORDER_URL, json=payload("coinswitch/order"))

    with pytest.raises(OutcomeUnknown, match=f"asked for order {ORDER_ID} of ETHUSDT, was told of one of"):
        coinswitch.order(replace(REF, symbol="ETHUSDT"))


def test_an_order_told_open_and_closed_in_one_history_stays_open(coinswitch, venue_http):
    now_ms = int(time.time() * 1000)
    told = [order_at(now_ms, "a") | {"status": status} for status in ("RAISED", "EXECUTED")]
    venue_http.post(CLOSED_URL, json=page(*told, *reversed(told)))

    orders = coinswitch.history("ordinary", "BTCUSDT", datetime.now(UTC) - timedelta(hours=1))

    assert [(order.venue_order_id, order.state) for order in orders] == [("a", OrderState.OPEN)]


@pytest.mark.parametrize("cursor", [0, None, "", "end", -1])
def test_a_full_page_without_a_cursor_is_a_part_and_so_unknown(coinswitch, venue_http, cursor):
    now_ms = int(time.time() * 1000)
    venue_http.post(OPEN_URL, json=page(*(order_at(now_ms - n) for n in range(50)), cursor=cursor))

    with pytest.raises(OutcomeUnknown, match="full page"):
        coinswitch.open_orders(FULL_LISTING)


def test_a_short_page_without_a_cursor_leads_to_the_window_before(coinswitch, venue_http):
    now_ms = int(time.time() * 1000)
    venue_http.post(OPEN_URL, json=page(order_at(now_ms)))
    venue_http.post(OPEN_URL, json=page())

    assert len(coinswitch.open_orders(FULL_LISTING)) == 1

    assert len(venue_http.calls) == 4


def test_open_orders_of_one_symbol_name_it_on_every_page(coinswitch, venue_http):
    venue_http.post(OPEN_URL, json=page())

    coinswitch.open_orders(Listing("ordinary", "ETHUSDT", 5))

    assert [body["symbol"] for body in bodies(venue_http)] == ["ETHUSDT"] * 4


@pytest.mark.parametrize(
    ("stub", "error"),
    [
        ({"status": 429, "json": {"message": "Too many requests"}}, RateLimited),
        ({"status": 500, "body": ""}, OutcomeUnknown),
        ({"body": requests.ReadTimeout()}, OutcomeUnknown),
        ({"body": requests.ConnectTimeout()}, NotDone),
        ({"json": {"data": {}}}, OutcomeUnknown),
        ({"json": {"data": {"orders": {}}}}, OutcomeUnknown),
        ({"json": {"data": {"orders": ["order"]}}}, OutcomeUnknown),
        ({"json": {"data": {"orders": [{"symbol": "BTCUSDT", "status": "RAISED"}]}}}, OutcomeUnknown),
        ({"json": {"data": {"orders": [{"order_id": "1", "symbol": "S"}]}}}, OutcomeUnknown),
        ({"json": {"message": "OK"}}, OutcomeUnknown),
    ],
)
def test_a_page_that_fails_fails_the_whole_listing(coinswitch, venue_http, stub, error):
    venue_http.post(OPEN_URL, json=page(order_at(int(time.time() * 1000))))
    venue_http.post(OPEN_URL, **stub)

    with pytest.raises(error):
        coinswitch.open_orders(FULL_LISTING)


def test_a_listing_that_cannot_be_afforded_makes_no_call(coinswitch, venue_http, budget, monkeypatch):
    def refuse(limit: Limit, weight: int) -> None:
        raise BudgetSpent("the open limit is used up", retry_after_ms=1000)

    monkeypatch.setattr(budget, "spend", refuse)

    with pytest.raises(BudgetSpent):
        coinswitch.open_orders(FULL_LISTING)

    assert len(venue_http.calls) == 0


# History


def test_history_reads_back_to_the_moment_and_no_further(coinswitch, venue_http, budget):
    now = datetime.now(UTC)
    recent = order_at(int(now.timestamp() * 1000) - 1000) | {"status": "CANCELLED"}
    older = order_at(int(now.timestamp() * 1000) - 3_600_000) | {"status": "EXECUTED"}
    venue_http.post(CLOSED_URL, json=page(recent, older, cursor=older["created_at"]))

    orders = coinswitch.history("ordinary", "BTCUSDT", now - timedelta(minutes=5))

    assert [(order.venue_order_id, order.state) for order in orders] == [
        (recent["order_id"], OrderState.CANCELLED)
    ]
    assert bodies(venue_http) == [{"exchange": "EXCHANGE_2", "limit": 50, "symbol": "BTCUSDT"}]
    assert budget.spent == [("closed", 1)]


def test_history_goes_on_until_a_page_brings_nothing_new(coinswitch, venue_http, budget):
    now_ms = int(time.time() * 1000)
    since = datetime.fromtimestamp((now_ms - 3_600_000) / 1000, UTC)
    recent = order_at(now_ms - 1000) | {"status": "EXPIRED"}
    venue_http.post(CLOSED_URL, json=page(recent, cursor=recent["created_at"]))

    orders = coinswitch.history("ordinary", "BTCUSDT", since)

    assert [order.venue_order_id for order in orders] == [recent["order_id"]]
    assert bodies(venue_http)[1]["to_time"] == recent["created_at"]
    assert bodies(venue_http)[1]["from_time"] == now_ms - 3_600_000
    assert budget.spent == [("closed", 1)] * coinswitch.history_weight("ordinary")


# Failures


_CUT = ProtocolError("Connection aborted.", RemoteDisconnected("Remote end closed connection"))
_LEAKY = f"{ORDER_URL}?order_id=1&x=5ecre7"


@pytest.mark.parametrize(
    ("stub", "error", "status", "text", "blocked_ms"),
    [
        (
            {"status": 400, "json": {"message": "Amount is more than available balance"}},
            VenueRejected,
            400,
            "Amount is more than available balance",
            None,
        ),
        (
            {"status": 422, "json": {"message": "Input exchange is missing"}},
            VenueRejected,
            422,
            "Input exchange is missing",
            None,
        ),
        ({"status": 405, "body": "<p>no</p>"}, VenueRejected, 405, "<p>no</p>", None),
        ({"status": 404, "body": "404 page not found"}, EndpointGone, 404, "404 page not found", None),
        ({"status": 403, "body": "<html>denied</html>"}, RateLimited, 403, "<html>denied</html>", 60_000),
        ({"status": 408, "body": ""}, OutcomeUnknown, 408, "", None),
        ({"status": 429, "json": {"message": "slow"}}, RateLimited, 429, "slow", 60_000),
        ({"status": 429, "body": ""}, RateLimited, 429, "", 60_000),
        (
            {"status": 429, "body": "", "headers": {"Retry-After": "7"}},
            RateLimited,
            429,
            "",
            7_000,
        ),
        ({"status": 302, "body": "", "headers": {"Location": "/x"}}, OutcomeUnknown, 302, "", None),
        ({"status": 500, "json": {"message": "oops"}}, OutcomeUnknown, 500, "oops", None),
        ({"status": 502, "body": "<html></html>"}, OutcomeUnknown, 502, "<html></html>", None),
        ({"status": 503, "body": "Service Unavailable."}, OutcomeUnknown, 503, "Service Unavailable.", None),
        ({"status": 504, "body": ""}, OutcomeUnknown, 504, "", None),
        ({"status": 200, "body": "<html>hello</html>"}, OutcomeUnknown, 200, "<html>hello</html>", None),
        ({"status": 200, "body": '{"data":{"ord'}, OutcomeUnknown, 200, '{"data":{"ord', None),
        ({"status": 200, "json": []}, OutcomeUnknown, 200, "[]", None),
        ({"body": requests.ReadTimeout(_LEAKY)}, OutcomeUnknown, None, "", None),
        ({"body": requests.ConnectionError(_CUT)}, OutcomeUnknown, None, "", None),
        ({"body": requests.ConnectTimeout(_LEAKY)}, NotDone, None, "", None),
    ],
)
def test_a_failure_is_told_for_what_it_is(
    coinswitch, venue_http, budget, stub, error, status, text, blocked_ms
):
    venue_http.post(CANCEL_ALL_URL, **stub)

    with pytest.raises(VenueError) as caught:
        coinswitch.mass_cancel(MassCancel("ordinary", None, 1))

    told = caught.value
    assert (type(told), told.status, told.text) == (error, status, text)
    assert budget.spent == [("cancel_all", 1)]
    pool = "api" if status == 403 else "cancel_all"  # who bans, bans the address
    assert budget.blocked == ([] if blocked_ms is None else [(pool, blocked_ms)])
    assert "5ecre7" not in str(told)


def test_credentials_do_not_show_in_an_error_or_a_repr(coinswitch, venue_http, payload):
    venue_http.get(f"{TRADE}/validate/keys", status=401, json={"message": "Invalid Access"})
    venue_http.get(f"{TRADE}/time", json=payload("coinswitch/time"))

    with pytest.raises(CredentialsRejected) as caught:
        coinswitch.check_access()

    assert str(caught.value) == "GET /trade/api/v2/validate/keys: HTTP 401 Invalid Access"


def test_types_that_drift_are_read_all_the_same(coinswitch, venue_http, payload):
    reply = payload("coinswitch/open_orders")
    drifted = {"quantity": 0.01, "price": 60000, "created_at": "1732684383674", "reduce_only": "true"}
    reply["data"]["orders"][1] |= drifted
    venue_http.post(OPEN_URL, json=reply)

    orders = coinswitch.open_orders(FULL_LISTING)

    assert orders == [STOP, replace(LIMIT, quantity=Decimal("0.01"), protective=True)]
