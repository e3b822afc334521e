"""What venues send becomes what we keep: words, numbers, times and texts, whatever they are.

Known words for an order's state mean what the venues' documentation says, in both generations of each API;
any other word is OutcomeUnknown, for it may well be that of an open order. Everything else becomes a value
that the database keeps, or a VenueError, and nothing else is ever raised.
"""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import pytest
from django.db.models import DecimalField
from hypothesis import given
from hypothesis import strategies as st

from panicboard import readings
from panicboard.models import Reading, SweptOrder
from panicboard.venues.base import BookSymbol, Listing, Order, OrderState
from panicboard.venues.binance import order_state
from panicboard.venues.binance_orders import ordinary_order, successor
from panicboard.venues.errors import OutcomeUnknown, RateLimited, VenueError, one_line
from panicboard.venues.values import amount, flag, identifier, label, moment, quoted, time_ms, whole
from tests.properties.mangling import WORDS, junk, written
from tests.properties.wire import Answer, adapter_of, answering

OPEN, CANCELLED, FILLED = OrderState.OPEN, OrderState.CANCELLED, OrderState.FILLED
EXPIRED, REJECTED, TRIGGERED = OrderState.EXPIRED, OrderState.REJECTED, OrderState.TRIGGERED
#: The words of all Binance books, of the present and the older generation.
BINANCE = {
    "NEW": OPEN,
    "ACCEPTED": OPEN,
    "PARTIALLY_FILLED": OPEN,
    "PENDING_NEW": OPEN,
    "PENDING_CANCEL": OPEN,
    "TRIGGERING": OPEN,
    "TRIGGERED": TRIGGERED,
    "FINISHED": TRIGGERED,
    "FILLED": FILLED,
    "CANCELED": CANCELLED,
    "CANCELLED": CANCELLED,
    "REJECTED": REJECTED,
    "EXPIRED": EXPIRED,
    "EXPIRED_IN_MATCH": EXPIRED,
}
COINSWITCH = {
    "RAISED": OPEN,
    "CANCELLATION_RAISED": OPEN,
    "EXPIRATION_RAISED": OPEN,
    "EXECUTED": FILLED,
    "PARTIALLY_EXECUTED": CANCELLED,
    "CANCELLED": CANCELLED,
    "CANCELED": CANCELLED,
    "EXPIRED": EXPIRED,
    "FAILED": REJECTED,
}
words = st.one_of(
    st.sampled_from(WORDS),
    st.text(max_size=12),
    st.sampled_from(sorted(BINANCE.keys() | COINSWITCH.keys())).flatmap(
        lambda word: st.sampled_from(
            (
                word,
                word.lower(),
                word.title(),
                word[:-1],
                word.replace("I", "\u0131"),
                f"{word} ",
                f"{word}\0",
            )
        )
    ),
)
anything = st.recursive(
    junk(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


#: Where a word for a state can stand: venue, family, and the names of id and status there.
PLACES = (
    ("binance-usdm", "ordinary", "orderId", "status"),
    ("binance-usdm", "conditional", "algoId", "algoStatus"),
    ("binance-options", "ordinary", "orderId", "status"),
    ("binance-portfolio", "cm_conditional", "strategyId", "strategyStatus"),
    ("coinswitch", "ordinary", "order_id", "status"),
)


def states_of(word: Any) -> list[OrderState | None]:
    """What each adapter makes of a word for a state; None where it says that nobody knows."""
    states: list[OrderState | None] = []
    for slug, family, id_name, status_name in PLACES:
        items = [{id_name: 1, "symbol": "BTCUSDT", status_name: word}]
        answer = Answer(written({"data": {"orders": items}} if slug == "coinswitch" else items))
        adapter = adapter_of(slug)
        with answering(lambda request, answer=answer: answer):
            try:
                states.append(adapter.open_orders(Listing(family, None, 40, quick=True))[0].state)
            except OutcomeUnknown:
                states.append(None)
    return states


@pytest.mark.parametrize("word", sorted(BINANCE.keys() | COINSWITCH.keys()))
def test_known_words_mean_what_the_venues_say(word: str) -> None:
    assert states_of(word) == [BINANCE.get(word)] * 4 + [COINSWITCH.get(word)]


@given(word=words | anything)
def test_any_other_word_is_unknown_and_never_a_closed_state(word: Any) -> None:
    binance = BINANCE.get(word) if isinstance(word, str) else None
    coinswitch = COINSWITCH.get(word.upper()) if isinstance(word, str) and word.isascii() else None

    assert states_of(word) == [binance] * 4 + [coinswitch]
    if binance is None:
        with pytest.raises(OutcomeUnknown):
            order_state(word)


@given(value=anything)
def test_identifier_is_what_was_written_or_unknown(value: Any) -> None:
    try:
        text = identifier(value)
    except OutcomeUnknown:
        return

    assert isinstance(value, str | int)
    assert not isinstance(value, bool)
    assert text == str(value)
    assert 0 < len(text) <= 60
    assert text.isprintable()
    text.encode()


@given(number=st.integers(0, 10**40))
def test_id_above_2_to_the_53_stays_exact(number: int) -> None:
    assert identifier(number) == identifier(str(number)) == str(number)
    item = json.loads(json.dumps({"orderId": number % 2**63, "symbol": "BTCUSDT", "status": "NEW"}))
    assert ordinary_order("um", item).venue_order_id == str(number % 2**63)
    assert successor(number % 2**63) == ("" if number % 2**63 == 0 else str(number % 2**63))


powers = st.builds("{}e{}".format, st.integers(-999, 999), st.integers(-40, 40))


@given(value=anything | powers | st.decimals(allow_nan=True, allow_infinity=True).map(str))
def test_amount_is_one_that_the_database_keeps_or_unknown(value: Any) -> None:
    try:
        number = amount(value)
    except OutcomeUnknown:
        return

    field = SweptOrder._meta.get_field("quantity")
    assert isinstance(field, DecimalField)
    last_place = Decimal(1).scaleb(-field.decimal_places)
    kept = number.quantize(last_place, context=Context(prec=field.max_digits, traps=[InvalidOperation]))
    assert abs(kept - number) < last_place
    assert bool(kept) == bool(number)
    if value not in (None, ""):
        assert number == Decimal(str(value))


@given(value=anything | st.integers(0, 10**14))
def test_moment_is_a_time_or_none(value: Any) -> None:
    at, ms = moment(value), time_ms(value)

    assert (at is None) == (ms is None)
    if at is not None and ms is not None:
        assert at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
        assert ms == int(value)


@given(value=anything)
def test_small_readers_never_raise(value: Any) -> None:
    number = whole(value)

    assert number is None or (0 <= number < 2**63 and number == int(value))
    assert flag(value) in (True, False)
    assert len(quoted(value)) <= 300
    assert len(label(value)) <= 60
    assert label(value).isprintable()


@given(text=st.text(st.characters()))
def test_one_line_is_one_printable_line_with_every_printable_word(text: str) -> None:
    line = one_line(text)

    assert line.isprintable()
    assert line == line.strip()
    assert "  " not in line
    assert one_line(line) == line
    kept = [char for char in text if char.isprintable() and char != " "]
    assert [char for char in line if char != " "] == kept


@given(text=st.text(st.characters()), kind=st.sampled_from(sorted(VenueError.__subclasses__(), key=str)))
def test_error_carries_words_that_any_database_takes(text: str, kind: type[VenueError]) -> None:
    error = kind(text, text=text, code=text)
    limited = RateLimited(text, retry_after_ms=1, text=text, code=text)

    for one in (error, limited):
        for said in (str(one), one.text, one.code):
            assert "\0" not in said
            said.encode()


# What is kept of an order between a reading and a press.

symbols = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=60)
ids = st.integers(0, 2**63).map(str) | st.uuids().map(str)
amounts = st.decimals(-(10**20) + 1, 10**20 - 1, places=18).map(lambda number: number or Decimal(0))
zones = st.integers(-12, 12).map(lambda hours: timezone(timedelta(hours=hours)))
times = st.datetimes(datetime(2001, 9, 10), datetime(2099, 12, 30), timezones=zones)
orders = st.builds(
    Order,
    family=st.sampled_from(("ordinary", "conditional", "um", "cm_conditional", "margin")),
    symbol=symbols,
    venue_order_id=ids,
    client_order_id=symbols | st.just(""),
    state=st.sampled_from(OrderState),
    venue_status=st.sampled_from(sorted(BINANCE)),
    side=st.sampled_from(("BUY", "SELL", "")),
    order_type=st.sampled_from(("LIMIT", "STOP_MARKET", "")),
    quantity=amounts,
    filled=amounts,
    price=st.none() | amounts,
    trigger_price=st.none() | amounts,
    protective=st.booleans(),
    cancel_pending=st.booleans(),
    list_id=ids | st.just(""),
    successor_id=ids | st.just(""),
    placed_at=st.none() | times,
    updated_at=st.none() | times,
)


@given(order=orders)
def test_order_comes_back_from_its_record_as_an_open_one(order: Order) -> None:
    record = json.loads(json.dumps(readings.to_record(order)))

    assert readings.from_record(record) == Order(
        family=order.family,
        symbol=order.symbol,
        venue_order_id=order.venue_order_id,
        client_order_id=order.client_order_id,
        state=OrderState.OPEN,
        venue_status="",
        side=order.side,
        order_type=order.order_type,
        quantity=order.quantity,
        filled=order.filled,
        price=order.price,
        trigger_price=order.trigger_price,
        protective=order.protective,
        list_id=order.list_id,
        placed_at=order.placed_at,
    )
    assert readings.to_record(readings.from_record(record)) == record


@given(
    books=st.sets(st.builds(BookSymbol, st.sampled_from(("ordinary", "um_conditional")), symbols), max_size=5)
)
def test_known_symbols_come_back_from_a_reading(books: set[BookSymbol]) -> None:
    reading = Reading(symbols={f"{book.family} {book.symbol}": "2026-11-20T12:00:00+00:00" for book in books})

    assert readings.known_symbols(reading) == books
