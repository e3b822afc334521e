"""Whatever is answered: an adapter reports no order gone that the answer does not show gone.

Real payloads are mangled and answered to the adapters over the real requests stack. What a body shows is
read here with nothing but JSON's own rules. Then

- a listing tells every item of the body as an order, or raises: none is left out, and none is closed whose
  status is no word for that;
- an order or a history tells no closed state of an order that the body does not show closed;
- nothing else than a VenueError is ever raised, so that a sweep always knows what to do with it.

An answer about another symbol than was asked for is refused as a whole. It might be called harmless, as
its orders would only be too many; but whoever asks for one symbol leaves out the others' orders, and the
answer would then prove that symbol empty without a word about it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicboard.venues.base import Listing, Order, OrderRef
from panicboard.venues.errors import VenueError
from tests.properties.mangling import bodies, shown
from tests.properties.wire import Answer, adapter_of, answering, payload

#: The words that say that an order is gone, at Binance and at CoinSwitch (there in either case).
BINANCE_GONE = {
    "TRIGGERED",
    "FINISHED",
    "FILLED",
    "CANCELED",
    "CANCELLED",
    "EXPIRED",
    "EXPIRED_IN_MATCH",
    "REJECTED",
}
COINSWITCH_GONE = {"EXECUTED", "PARTIALLY_EXECUTED", "CANCELLED", "CANCELED", "EXPIRED", "FAILED"}


@dataclass(frozen=True)
class Book:
    """One family's payloads, and the names under which they tell an order's id and status."""

    slug: str
    family: str
    listing: str
    order: str
    history: str | None
    id: str = "orderId"
    status: str = "status"
    gone: tuple[tuple[str, int, str], ...] = ()  # paths that answer so: path, status, body

    def __str__(self) -> str:
        return f"{self.slug} {self.family} {self.status}"

    def items(self, document: Any) -> list[Any] | None:
        """The orders of a listing; None where the document is no listing."""
        if self.slug == "coinswitch":
            document = document.get("data") if isinstance(document, dict) else None
            document = document.get("orders") if isinstance(document, dict) else None
        return document if isinstance(document, list) else None

    def item(self, document: Any) -> Any:
        """The order of a query."""
        if self.slug == "coinswitch":
            document = document.get("data") if isinstance(document, dict) else None
            document = document.get("order") if isinstance(document, dict) else None
        return document

    def is_gone(self, item: dict[str, Any]) -> bool:
        word = item.get(self.status)
        if self.slug == "coinswitch":
            return isinstance(word, str) and word.isascii() and word.upper() in COINSWITCH_GONE
        return isinstance(word, str) and word in BINANCE_GONE

    def symbol(self, item: dict[str, Any]) -> str:
        symbol = str(item["symbol"])
        return symbol.upper() if self.slug == "coinswitch" and symbol.isascii() else symbol

    def answer(self, body: str) -> Callable[[Any], Answer]:
        def tell(request: Any) -> Answer:
            for path, status, said in self.gone:
                if path in request.path_url:
                    return Answer(said, status)
            return Answer(body)

        return tell


_ALGO = {"id": "algoId", "status": "algoStatus"}
_STRATEGY = {"id": "strategyId", "status": "strategyStatus"}
_USDM, _OPTIONS, _PORTFOLIO = "binance_usdm/", "binance_options/", "binance_portfolio/"
BOOKS = [
    Book(
        "binance-usdm",
        "conditional",
        _USDM + "open_algo_orders",
        _USDM + "algo_order",
        _USDM + "all_algo_orders",
        **_ALGO,
    ),
    Book("binance-usdm", "ordinary", _USDM + "open_orders", _USDM + "order", _USDM + "all_orders"),
    Book(
        "binance-options",
        "ordinary",
        _OPTIONS + "open_orders",
        _OPTIONS + "order",
        _OPTIONS + "history_orders",
    ),
    Book(
        "binance-portfolio",
        "um_conditional",
        _PORTFOLIO + "algo_open_orders",
        _PORTFOLIO + "algo_order",
        _PORTFOLIO + "algo_all_orders",
        **_ALGO,
    ),
    Book(
        "binance-portfolio",
        "um_conditional",
        _PORTFOLIO + "um_conditional_open_orders",
        _PORTFOLIO + "cm_conditional_open_order",
        _PORTFOLIO + "um_conditional_open_orders",
        **_STRATEGY,
        gone=(("/um/algo/", 400, '{"code": -21015, "msg": "ENDPOINT_GONE"}'),),
    ),
    Book(
        "binance-portfolio",
        "cm_conditional",
        _PORTFOLIO + "cm_conditional_open_orders",
        _PORTFOLIO + "cm_conditional_order_history",
        _PORTFOLIO + "cm_conditional_open_orders",
        **_STRATEGY,
    ),
    Book(
        "binance-portfolio",
        "um",
        _PORTFOLIO + "um_open_orders",
        _PORTFOLIO + "um_order",
        _USDM + "all_orders",
    ),
    Book(
        "binance-portfolio",
        "cm",
        _PORTFOLIO + "cm_open_orders",
        _PORTFOLIO + "cm_order",
        _PORTFOLIO + "cm_open_orders",
    ),
    Book(
        "binance-portfolio",
        "margin",
        _PORTFOLIO + "margin_open_orders",
        _PORTFOLIO + "margin_order",
        None,
        gone=(("/openOrderList", 200, "[]"),),
    ),
    Book(
        "coinswitch",
        "ordinary",
        "coinswitch/open_orders",
        "coinswitch/order",
        "coinswitch/open_orders",
        id="order_id",
    ),
]
every_book = pytest.mark.parametrize("book", BOOKS, ids=str)
with_history = pytest.mark.parametrize("book", [book for book in BOOKS if book.history], ids=str)


def told(call: Callable[[], list[Order]]) -> list[Order] | None:
    """What a call tells, or None where it raises what it may. Any other exception fails the test."""
    try:
        return call()
    except VenueError:
        return None


def assert_shown(book: Book, orders: list[Order], items: list[Any]) -> None:
    """Every closed order is one that these items show closed, and no item of its id shows it open."""
    for order in orders:
        assert order.family == book.family
        if not order.state.is_open:
            meant = [item for item in items if str(item[book.id]) == order.venue_order_id]
            assert meant
            assert all(book.is_gone(item) for item in meant), "an order is called gone that is shown open"


def told_text(value: Any) -> str:
    """What is left of a value as text: a client's id that cannot be one is none."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return "".join(char for char in text if char.isprintable()).strip()


@every_book
@given(data=st.data())
def test_listing_tells_every_order_of_the_answer_or_raises(book: Book, data: st.DataObject) -> None:
    original = payload(book.listing)
    symbol = data.draw(st.sampled_from((None, book.symbol((book.items(original) or [])[0]))))
    body = data.draw(bodies(original))
    adapter = adapter_of(book.slug)

    with answering(book.answer(body)):
        orders = told(lambda: adapter.open_orders(Listing(book.family, symbol, 40, quick=True)))

    if orders is not None:
        items = book.items(shown(body))
        assert items is not None, "no list was shown"
        ids = [str(item[book.id]) for item in items]
        wanted = sorted(set(ids)) if book.slug == "coinswitch" else sorted(ids)
        assert sorted(order.venue_order_id for order in orders) == wanted
        assert {book.symbol(item) for item in items} == {order.symbol for order in orders}
        assert {order.symbol for order in orders} <= (
            {symbol} if symbol else {order.symbol for order in orders}
        )
        assert_shown(book, orders, items)


@every_book
@given(data=st.data())
def test_order_is_told_as_the_answer_shows_it_or_not_at_all(book: Book, data: st.DataObject) -> None:
    original = payload(book.order)
    item = book.item(original)
    by_client = data.draw(st.booleans())
    client_id = (
        "client_order_id"
        if book.slug == "coinswitch"
        else {
            "algoId": "clientAlgoId",
            "strategyId": "newClientStrategyId",
            "orderId": "clientOrderId",
        }[book.id]
    )
    if by_client:
        item[client_id] = "mine"
        ref = OrderRef(book.family, book.symbol(item), "", "mine")
    else:
        ref = OrderRef(book.family, book.symbol(item), str(item[book.id]))
    body = data.draw(bodies(original))
    adapter = adapter_of(book.slug)

    with answering(book.answer(body)):
        orders = told(lambda: [adapter.order(ref)])

    if orders is not None:
        seen = book.item(shown(body))
        assert isinstance(seen, dict)
        if by_client:
            assert told_text(seen.get(client_id)) in ("", "mine"), "told of another's order"
        else:
            assert str(seen[book.id]) == ref.venue_order_id
        assert book.symbol(seen) == ref.symbol == orders[0].symbol
        assert str(seen[book.id]) == orders[0].venue_order_id
        assert_shown(book, orders, [seen])


@with_history
@given(data=st.data())
def test_history_tells_no_order_gone_that_the_answer_does_not(book: Book, data: st.DataObject) -> None:
    original = payload(book.history or "")
    items = book.items(original) or []
    now_ms = time.time_ns() // 1_000_000
    for number, item in enumerate(items):
        item[book.status] = data.draw(st.sampled_from(("EXPIRED", item[book.status])))
        if "created_at" in item:
            item["created_at"] = now_ms - number
    if data.draw(st.booleans()):  # the same order again, in another state
        items.insert(data.draw(st.integers(0, 1)), items[0] | {book.status: "EXPIRED"})
    symbol = book.symbol(items[0])
    body = data.draw(bodies(original))
    adapter = adapter_of(book.slug)

    with answering(book.answer(body)):
        since = datetime.now(UTC) - timedelta(hours=1)
        orders = told(lambda: adapter.history(book.family, symbol, since))

    if orders is not None:
        told_items = book.items(shown(body))
        assert told_items is not None, "no list was shown"
        assert {order.symbol for order in orders} <= {symbol}
        assert_shown(book, orders, told_items)
