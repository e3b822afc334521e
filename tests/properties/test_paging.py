"""Listings and histories that come in parts: all of it, or an error, never a part.

CoinSwitch gives open orders by pages of 50, newest first, and by windows of at most seven days; how it marks
the last page is not published, so the venue of these tests marks it in every way that was thought of.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from panicboard.venues import binance_replies
from panicboard.venues.base import Listing, Order, OrderState
from panicboard.venues.binance_replies import history_in_windows
from panicboard.venues.coinswitch import HORIZON_DAYS, PAGE
from panicboard.venues.errors import BudgetSpent, OutcomeUnknown
from tests.properties.mangling import junk, written
from tests.properties.wire import Answer, Bounded, adapter_of, answering

DAY_MS = 24 * 3600 * 1000
SEVEN_DAYS_MS = 7 * DAY_MS
#: Orders are this far from the edge of what is listed, or further: both clocks go on during a test.
EDGE_MS = 120_000


class PagedVenue:
    """CoinSwitch's listing of open orders over a book: `size` a page, and `last` is an empty page's cursor.

    `cursors` replace those of the first pages.
    """

    def __init__(
        self, placed_ms: list[int], *, last: Any = 0, cursors: Sequence[Any] = (), size: int = PAGE
    ) -> None:
        self.placed_ms = sorted(placed_ms, reverse=True)
        self.last = last
        self.cursors = list(cursors)
        self.size = size

    def answer(self, request: Any) -> Answer:
        asked = json.loads(request.body)
        end_ms = asked.get("to_time", time.time_ns() // 1_000_000)
        start_ms = max(asked.get("from_time", 0), end_ms - SEVEN_DAYS_MS)
        inside = [(n, at) for n, at in enumerate(self.placed_ms) if start_ms <= at <= end_ms]
        page = [
            {"order_id": f"id-{n}", "symbol": "BTCUSDT", "status": "RAISED", "created_at": at}
            for n, at in inside[: self.size]
        ]
        cursor = page[-1]["created_at"] if page else self.last
        if self.cursors:
            cursor = self.cursors.pop(0)
        return Answer(written({"data": {"orders": page, "cursor": cursor}}))


def ages() -> st.SearchStrategy[list[int]]:
    """How long ago orders were placed, in ms: spread over weeks, and some of them close together."""
    horizon_ms = HORIZON_DAYS * DAY_MS
    age = st.integers(0, horizon_ms - EDGE_MS) | st.integers(horizon_ms + EDGE_MS, horizon_ms + 9 * DAY_MS)
    cluster = st.tuples(st.integers(0, 20 * DAY_MS), st.integers(1, 160), st.integers(0, 3)).map(
        lambda one: [one[0] + n * one[2] for n in range(one[1])]
    )
    return st.builds(
        lambda single, clusters: single + [age for one in clusters for age in one],
        st.lists(age, max_size=20),
        st.lists(cluster, max_size=2),
    )


def expected(venue: PagedVenue, now_ms: int) -> set[str]:
    return {f"id-{n}" for n, at in enumerate(venue.placed_ms) if at > now_ms - HORIZON_DAYS * DAY_MS}


@given(ages=ages(), last=st.sampled_from((0, None, "", "0", "end", -1)))
def test_every_open_order_of_the_horizon_is_listed_or_the_listing_raises(ages: list[int], last: Any) -> None:
    now_ms = time.time_ns() // 1_000_000
    venue = PagedVenue([now_ms - age for age in ages], last=last)
    adapter = adapter_of("coinswitch")
    crowded = max(Counter(venue.placed_ms).values(), default=0) >= PAGE

    with answering(venue.answer):
        try:
            orders = adapter.open_orders(Listing("ordinary", None, 5))
        except OutcomeUnknown:
            assert crowded, "orders that can be told page by page"
            return

    assert {order.venue_order_id for order in orders} == expected(venue, now_ms)
    assert len(orders) == len({order.venue_order_id for order in orders})


@given(ages=ages(), cursors=st.lists(junk() | st.integers(0, 2 * 10**12), min_size=1, max_size=6))
def test_no_cursor_makes_the_walk_leave_an_order_out(ages: list[int], cursors: list[Any]) -> None:
    now_ms = time.time_ns() // 1_000_000
    venue = PagedVenue([now_ms - age for age in ages], cursors=cursors)
    adapter = adapter_of("coinswitch", Bounded(300))

    with answering(venue.answer):
        try:
            orders = adapter.open_orders(Listing("ordinary", None, 5))
        except OutcomeUnknown:
            return

    assert {order.venue_order_id for order in orders} == expected(venue, now_ms)


@given(ages=ages(), size=st.integers(1, PAGE - 1))
def test_pages_may_be_shorter_than_was_asked_for(ages: list[int], size: int) -> None:
    now_ms = time.time_ns() // 1_000_000
    venue = PagedVenue([now_ms - age for age in ages], size=size)
    assume(max(Counter(venue.placed_ms).values(), default=0) < size)
    adapter = adapter_of("coinswitch", Bounded(2000))

    with answering(venue.answer):
        orders = adapter.open_orders(Listing("ordinary", None, 5))

    assert {order.venue_order_id for order in orders} == expected(venue, now_ms)


@given(ages=st.lists(st.integers(0, 6 * DAY_MS), min_size=1, max_size=120))
def test_venue_that_ignores_the_times_is_not_believed_beyond_a_page(ages: list[int]) -> None:
    """It answers every call with its newest page: what comes after the first 50 orders nobody can tell."""
    now_ms = time.time_ns() // 1_000_000
    items = [
        {"order_id": f"id-{n}", "symbol": "BTCUSDT", "status": "RAISED", "created_at": now_ms - age}
        for n, age in enumerate(sorted(ages))
    ]
    page = items[:PAGE]
    body = written({"data": {"orders": page, "cursor": page[-1]["created_at"]}})
    adapter = adapter_of("coinswitch")

    with answering(lambda request: Answer(body)):
        try:
            orders = adapter.open_orders(Listing("ordinary", None, 5))
        except OutcomeUnknown:
            assert len(items) >= PAGE
            return

    assert len(items) < PAGE
    assert {order.venue_order_id for order in orders} == {item["order_id"] for item in items}


@given(data=st.data())
def test_walk_ends_where_pages_never_do(data: st.DataObject) -> None:
    """Each page brings new orders and a cursor: the budget is what ends it, with an error and no list."""
    now_ms = time.time_ns() // 1_000_000
    step_ms = data.draw(st.integers(1, 1000))
    numbers = iter(range(10**6))

    def answer(request: Any) -> Answer:
        end_ms = json.loads(request.body).get("to_time", now_ms)
        item = {
            "order_id": f"id-{next(numbers)}",
            "symbol": "BTCUSDT",
            "status": "RAISED",
            "created_at": end_ms,
        }
        return Answer(written({"data": {"orders": [item], "cursor": end_ms - step_ms}}))

    budget = Bounded(40)
    with answering(answer):
        try:
            orders = adapter_of("coinswitch", budget).open_orders(Listing("ordinary", None, 5))
        except (BudgetSpent, OutcomeUnknown):
            return

    assert {order.venue_order_id for order in orders} == {f"id-{n}" for n in range(next(numbers))}


# Histories of Binance.


def an_order(number: int, at_ms: int) -> Order:
    return Order(
        family="um",
        symbol="BTCUSDT",
        venue_order_id=str(number),
        client_order_id="",
        state=OrderState.CANCELLED,
        venue_status="CANCELED",
        side="",
        order_type="",
        quantity=Decimal(0),
        filled=Decimal(0),
        placed_at=datetime.fromtimestamp(at_ms / 1000, UTC),
    )


@given(
    ats=st.lists(st.integers(0, 5000) | st.integers(0, 20), max_size=60),
    window_ms=st.integers(1, 3000),
    newest_first=st.booleans(),
)
def test_history_is_whole_however_its_pages_are_cut(
    ats: list[int], window_ms: int, newest_first: bool
) -> None:
    page, began_ms = 7, 1_700_000_000_000
    placed = [an_order(n, began_ms + at) for n, at in enumerate(ats)]

    def fetch(start_ms: int, end_ms: int) -> list[Order]:
        assert 0 <= end_ms - start_ms < window_ms
        start, end = (datetime.fromtimestamp(at / 1000, UTC) for at in (start_ms, end_ms))
        inside = [order for order in placed if order.placed_at and start <= order.placed_at <= end]
        return inside[-page:] if newest_first else inside[:page]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binance_replies, "HISTORY_PAGE", page)
        try:
            since = datetime.fromtimestamp(began_ms / 1000, UTC)
            orders = history_in_windows(fetch, since, began_ms + 5000, window_ms)
        except OutcomeUnknown:
            assert max(Counter(ats).values()) >= page
            return

    assert {order.venue_order_id for order in orders} == {str(n) for n in range(len(ats))}
