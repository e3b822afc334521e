"""Orders as the venues write them come back from a listing and a query as they are, field by field.

What is written here follows the recorded payloads; what is read back is compared as a whole.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicboard.venues.base import Listing, Order, OrderRef, OrderState
from tests.properties.wire import Answer, adapter_of, answering

#: Open states by the words of each generation, and whether a cancel is on its way.
_OPEN = {"NEW": False, "PARTIALLY_FILLED": False}
_WORDS = {
    "ordinary": _OPEN | {"PENDING_CANCEL": True},
    "algo": {"NEW": False, "TRIGGERING": False},
    "option": _OPEN | {"ACCEPTED": False},
    "coinswitch": {"RAISED": False, "CANCELLATION_RAISED": True, "EXPIRATION_RAISED": True},
}


@dataclass(frozen=True)
class Form:
    """How one family's orders are written."""

    slug: str
    family: str
    words: dict[str, bool]
    write: Callable[[Order], dict[str, Any]]
    listing: Callable[[list[Any]], Any] = list
    query: Callable[[Any], Any] = lambda item: item
    fills: bool = True
    #: A path that answers with an empty list, or is gone.
    aside: tuple[str, int, str] | None = None

    def __str__(self) -> str:
        return f"{self.slug} {self.family}"

    def answer(self, document: Any) -> Callable[[Any], Answer]:
        def tell(request: Any) -> Answer:
            if self.aside and self.aside[0] in request.path_url:
                return Answer(self.aside[2], self.aside[1])
            return Answer(json.dumps(document))

        return tell


def ms(at: datetime | None) -> int:
    return 0 if at is None else round(at.timestamp() * 1000)


def text(number: Decimal | None) -> str:
    return format(number or Decimal(0), "f")


def ordinary(order: Order) -> dict[str, Any]:
    return {
        "orderId": int(order.venue_order_id),
        "clientOrderId": order.client_order_id,
        "symbol": order.symbol,
        "status": order.venue_status,
        "side": order.side,
        "type": order.order_type,
        "origQty": text(order.quantity),
        "executedQty": text(order.filled),
        "price": text(order.price),
        "stopPrice": text(order.trigger_price),
        "reduceOnly": order.protective,
        "time": ms(order.placed_at),
        "updateTime": ms(order.updated_at),
    }


def algo(order: Order) -> dict[str, Any]:
    return {
        "algoId": int(order.venue_order_id),
        "clientAlgoId": order.client_order_id,
        "symbol": order.symbol,
        "algoStatus": order.venue_status,
        "side": order.side,
        "orderType": order.order_type,
        "quantity": text(order.quantity),
        "price": text(order.price),
        "triggerPrice": text(order.trigger_price),
        "closePosition": order.protective,
        "actualOrderId": order.successor_id,
        "createTime": ms(order.placed_at),
        "updateTime": ms(order.updated_at),
    }


def strategy(order: Order) -> dict[str, Any]:
    return {
        "strategyId": int(order.venue_order_id),
        "newClientStrategyId": order.client_order_id,
        "symbol": order.symbol,
        "strategyStatus": order.venue_status,
        "side": order.side,
        "strategyType": order.order_type,
        "origQty": text(order.quantity),
        "price": text(order.price),
        "stopPrice": text(order.trigger_price),
        "reduceOnly": order.protective,
        "orderId": int(order.successor_id or 0),
        "bookTime": ms(order.placed_at),
        "updateTime": ms(order.updated_at),
    }


def option(order: Order) -> dict[str, Any]:
    return {
        "orderId": int(order.venue_order_id),
        "clientOrderId": order.client_order_id,
        "symbol": order.symbol,
        "status": order.venue_status,
        "side": order.side,
        "type": order.order_type,
        "quantity": text(order.quantity if order.side == "BUY" else -order.quantity),
        "executedQty": text(order.filled if order.side == "BUY" else -order.filled),
        "price": text(order.price),
        "reduceOnly": order.protective,
        "createTime": ms(order.placed_at),
        "updateTime": ms(order.updated_at),
    }


def coinswitch(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.venue_order_id,
        "client_order_id": order.client_order_id or None,
        "symbol": order.symbol.lower() if order.protective else order.symbol,
        "status": order.venue_status,
        "side": order.side,
        "order_type": order.order_type,
        "quantity": text(order.quantity),
        "exec_quantity": text(order.filled),
        "price": text(order.price),
        "trigger_price": text(order.trigger_price),
        "reduce_only": order.protective,
        "created_at": str(ms(order.placed_at)),
        "updated_at": ms(order.updated_at),
    }


_GONE = ("/um/algo/", 400, '{"code": -21015, "msg": "gone"}')
FORMS = [
    Form("binance-usdm", "ordinary", _WORDS["ordinary"], ordinary),
    Form("binance-usdm", "conditional", _WORDS["algo"], algo, fills=False),
    Form("binance-options", "ordinary", _WORDS["option"], option),
    Form("binance-portfolio", "um", _WORDS["ordinary"], ordinary),
    Form("binance-portfolio", "cm", _WORDS["ordinary"], ordinary),
    Form("binance-portfolio", "um_conditional", _WORDS["algo"], algo, fills=False),
    Form("binance-portfolio", "um_conditional", {"NEW": False}, strategy, fills=False, aside=_GONE),
    Form("binance-portfolio", "cm_conditional", {"NEW": False}, strategy, fills=False),
    Form("binance-portfolio", "margin", _WORDS["ordinary"], ordinary, aside=("/openOrderList", 200, "[]")),
    Form(
        "coinswitch",
        "ordinary",
        _WORDS["coinswitch"],
        coinswitch,
        lambda items: {"data": {"orders": items, "cursor": 0}},
        lambda item: {"data": {"order": item}},
    ),
]
every_form = pytest.mark.parametrize("form", FORMS, ids=[f"{n} {form}" for n, form in enumerate(FORMS)])

amounts = st.decimals(0, Decimal("1e15"), places=8)
symbols = st.from_regex(r"[A-Z0-9\u4e00-\u9fff_-]{1,20}", fullmatch=True)
moments = st.integers(1_500_000_000_000, 1_900_000_000_000).map(
    lambda at: datetime.fromtimestamp(at / 1000, UTC)
)
numbers = st.integers(1, 2**63 - 1).map(str)


@st.composite
def orders(draw: st.DrawFn, form: Form) -> Order:
    status = draw(st.sampled_from(sorted(form.words)))
    conditional = not form.fills
    return Order(
        family=form.family,
        symbol=draw(symbols),
        venue_order_id=draw(numbers),
        client_order_id=draw(st.from_regex(r"[\.A-Z\:/a-z0-9_-]{0,36}", fullmatch=True)),
        state=OrderState.OPEN,
        venue_status=status,
        side=draw(st.sampled_from(("BUY", "SELL"))),
        order_type=draw(st.sampled_from(("LIMIT", "STOP", "TRAILING"))),
        quantity=draw(amounts),
        filled=draw(amounts) if form.fills else Decimal(0),
        price=draw(amounts) or None,
        trigger_price=None if form.slug == "binance-options" else draw(amounts) or None,
        protective=draw(st.booleans()),
        cancel_pending=form.words[status],
        successor_id=draw(numbers) if conditional and draw(st.booleans()) else "",
        placed_at=draw(moments),
        updated_at=draw(moments),
    )


@every_form
@given(data=st.data())
def test_listing_tells_each_order_as_it_was_written(form: Form, data: st.DataObject) -> None:
    written = data.draw(st.lists(orders(form), max_size=5, unique_by=lambda order: order.venue_order_id))
    adapter = adapter_of(form.slug)

    with answering(form.answer(form.listing([form.write(order) for order in written]))):
        told = adapter.open_orders(Listing(form.family, None, 40, quick=True))

    assert told == written


@every_form
@given(data=st.data())
def test_query_tells_the_order_as_it_was_written(form: Form, data: st.DataObject) -> None:
    order = data.draw(orders(form))
    adapter = adapter_of(form.slug)
    ref = OrderRef(form.family, order.symbol, order.venue_order_id, order.client_order_id)
    by_client = bool(order.client_order_id) and data.draw(st.booleans())

    with answering(form.answer(form.query(form.write(order)))):
        told = adapter.order(replace(ref, venue_order_id="") if by_client else ref)

    assert told == order
