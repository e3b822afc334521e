"""Answers that are no listing: refusals, acknowledgements, clocks, countdowns; all of them mangled.

None raises anything but a VenueError, none asks for silence longer than a venue's longest ban, and a cancel
is called accepted only where the answer can be read as that. What a cancel's answer says of orders is no
proof, and is held to the same rule all the same: no order is called gone that it does not show gone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicboard.venues.base import CancelResult, Listing, MassCancel, OrderRef, VenueAdapter
from panicboard.venues.binance_options import BinanceOptions
from panicboard.venues.binance_usdm import BinanceUsdm
from panicboard.venues.errors import RateLimited, VenueError
from panicboard.venues.http import clock_of
from tests.factories import VENUES
from tests.properties.mangling import bodies, shown
from tests.properties.test_mangled_payloads import BINANCE_GONE
from tests.properties.wire import URL, Answer, Bounded, adapter_of, answering, payload

LONGEST_BAN_MS = 3 * 24 * 3600 * 1000
Act = Callable[[Any], object]

_BTC, _OPTION = "BTCUSDT", "BTC-200730-9000-C"
_IDS = ("283194212", "4611875134427365377")


def _refs(family: str, symbol: str, *ids: str) -> list[OrderRef]:
    return [OrderRef(family, symbol, order_id) for order_id in ids]


@dataclass(frozen=True)
class Asked:
    """One call that changes or tells something, and the payload that answers it."""

    slug: str
    payload: str
    act: Act

    def __str__(self) -> str:
        return f"{self.slug} {self.payload.partition('/')[2]}"


def _mass(family: str, target: str | None, **options: Any) -> Act:
    return lambda adapter: adapter.mass_cancel(MassCancel(family, target, 1, **options))


def _cancel(family: str, symbol: str, *ids: str) -> Act:
    return lambda adapter: adapter.cancel_orders(family, symbol, _refs(family, symbol, *ids))


_PM = "binance-portfolio", "binance_portfolio/"
CANCELS = [
    Asked("binance-usdm", "binance_usdm/cancel_order", _cancel("ordinary", _BTC, _IDS[0])),
    Asked("binance-usdm", "binance_usdm/batch_orders", _cancel("ordinary", _BTC, _IDS[0], "7")),
    Asked("binance-usdm", "binance_usdm/cancel_algo_order", _cancel("conditional", _BTC, "2146760")),
    Asked("binance-options", "binance_options/cancel_order", _cancel("ordinary", _OPTION, _IDS[1])),
    Asked("binance-options", "binance_options/batch_orders", _cancel("ordinary", _OPTION, _IDS[1], "7")),
    Asked(_PM[0], _PM[1] + "um_cancel", _cancel("um", _BTC, _IDS[1])),
    Asked(_PM[0], _PM[1] + "algo_cancel", _cancel("um_conditional", _BTC, "123445")),
    Asked(_PM[0], _PM[1] + "um_conditional_cancel", _cancel("cm_conditional", _BTC, "123445")),
    Asked(_PM[0], _PM[1] + "margin_cancel", _cancel("margin", "LTCBTC", "28")),
    Asked(
        "coinswitch",
        "coinswitch/cancel_order",
        _cancel("ordinary", _BTC, "698ed406-8ef5-4664-9779-f7978702a447"),
    ),
]
MASS_CANCELS = [
    Asked("binance-usdm", "binance_usdm/cancel_all", _mass("ordinary", _BTC)),
    Asked("binance-usdm", "binance_usdm/cancel_all", _mass("conditional", _BTC)),
    Asked("binance-options", "binance_options/cancel_all", _mass("ordinary", _OPTION)),
    Asked(
        "binance-options",
        "binance_options/cancel_all_by_underlying",
        _mass("ordinary", _BTC, by_underlying=True),
    ),
    Asked(_PM[0], _PM[1] + "cancel_all", _mass("um", _BTC)),
    Asked(_PM[0], _PM[1] + "cancel_all", _mass("um_conditional", _BTC)),
    Asked(_PM[0], _PM[1] + "conditional_cancel_all", _mass("cm_conditional", _BTC)),
    Asked("coinswitch", "coinswitch/cancel_all", _mass("ordinary", None)),
]
OTHERS = [
    Asked("binance-usdm", "binance_usdm/account_config", lambda adapter: adapter.check_access()),
    Asked("binance-usdm", "binance_usdm/countdown", lambda adapter: adapter.set_countdown(_BTC, 100_000)),
    Asked("binance-usdm", "binance_usdm/exchange_info", lambda adapter: adapter.symbol_statuses()),
    Asked("binance-options", "binance_options/margin_account", lambda adapter: adapter.check_access()),
    Asked(
        "binance-options",
        "binance_options/countdown",
        lambda adapter: adapter.set_countdown("ETHUSDT", 100_000),
    ),
    Asked("binance-options", "binance_options/countdown", lambda adapter: adapter.countdowns()),
    Asked(
        "binance-options", "binance_options/heartbeat", lambda adapter: adapter.heartbeat([_BTC, "ETHUSDT"])
    ),
    Asked(_PM[0], _PM[1] + "um_account_config", lambda adapter: adapter.check_access()),
    Asked("coinswitch", "coinswitch/validate_keys", lambda adapter: adapter.check_access()),
]
every = {
    "cancel": pytest.mark.parametrize("asked", CANCELS, ids=str),
    "mass cancel": pytest.mark.parametrize("asked", MASS_CANCELS, ids=str),
    "other": pytest.mark.parametrize("asked", OTHERS, ids=str),
    "venue": pytest.mark.parametrize("slug", VENUES),
}


def answer_to(call: Callable[[], Any], *answers: Answer) -> Any:
    """What a call returns, None where it raises what it may; the last answer is given to all that follows."""
    left = list(answers)
    with answering(lambda request: left.pop(0) if len(left) > 1 else left[0]):
        try:
            return call()
        except VenueError as exc:
            said = [str(exc), exc.code, exc.text]
    assert all(text.isprintable() for text in said), "words that PostgreSQL may not take"
    assert max(map(len, said)) < 1000, "words without end"
    return None


@every["cancel"]
@given(data=st.data())
def test_cancel_of_orders_is_accepted_only_where_the_answer_says_so(
    asked: Asked, data: st.DataObject
) -> None:
    body = data.draw(bodies(payload(asked.payload)))

    results: list[CancelResult] | None = answer_to(lambda: asked.act(adapter_of(asked.slug)), Answer(body))

    for result in results or ():
        if result.accepted:
            document = shown(body)
            assert document is not None
            if asked.payload.endswith("batch_orders"):  # an item without an id is told by its place
                assert len(document) == 2 or result.ref.venue_order_id in body
            elif not asked.payload.endswith(("algo_order", "algo_cancel", "margin_cancel")):
                assert result.ref.venue_order_id in body  # those name no order, or are not read
        assert result.text.isprintable()
        assert len(result.code) <= 60


@every["mass cancel"]
@given(data=st.data())
def test_mass_cancel_is_acknowledged_only_by_what_can_be_read(asked: Asked, data: st.DataObject) -> None:
    body = data.draw(bodies(payload(asked.payload)))

    reply = answer_to(lambda: asked.act(adapter_of(asked.slug)), Answer(body))

    if reply is not None:
        document = shown(body)
        assert isinstance(document, dict)
        if asked.slug == "coinswitch":
            assert list(reply.requested_ids) == [str(one) for one in document["data"].get("orders_ids") or ()]
        else:
            assert str(document["code"]) in ("200", "0")
        assert reply.orders == ()


@given(data=st.data())
def test_mass_cancel_of_margin_calls_no_order_gone_that_it_does_not_show_gone(data: st.DataObject) -> None:
    body = data.draw(bodies(payload("binance_portfolio/margin_cancel_all")))

    act = _mass("margin", _BTC)
    reply = answer_to(lambda: act(adapter_of("binance-portfolio")), Answer(body))

    if reply is not None and reply.orders:
        flat = []
        for item in shown(body):
            flat += item["orderReports"] if "contingencyType" in item else [item]
        assert [order.venue_order_id for order in reply.orders] == [str(item["orderId"]) for item in flat]
        for order, item in zip(reply.orders, flat, strict=True):
            assert order.symbol == item["symbol"] == _BTC
            assert order.state.is_open or item["status"] in BINANCE_GONE


@given(data=st.data(), symbol=st.sampled_from(("LTCBTC", None)))
def test_no_leg_of_a_margin_order_list_is_left_out(data: st.DataObject, symbol: str | None) -> None:
    lists = payload("binance_portfolio/margin_open_order_list")
    if data.draw(st.integers(0, 4)) == 0:
        lists[0]["orders"] = []
    body = data.draw(bodies(lists))
    adapter = adapter_of("binance-portfolio")

    orders = answer_to(
        lambda: adapter.open_orders(Listing("margin", symbol, 505)), Answer("[]"), Answer(body)
    )

    if orders is not None:
        lists = shown(body)
        assert isinstance(lists, list)
        executing = [one for one in lists if one["listOrderStatus"] == "EXECUTING"]
        assert {one["listOrderStatus"] for one in lists} <= {"EXECUTING", "ALL_DONE", "REJECT"}
        legs = [leg for one in executing for leg in one["orders"] if symbol in (None, leg["symbol"])]
        assert [order.venue_order_id for order in orders] == [str(leg["orderId"]) for leg in legs]
        assert all(one["orders"] for one in executing)
        assert all(order.state.is_open for order in orders)


@every["other"]
@given(data=st.data())
def test_nothing_else_is_raised_whatever_is_answered(asked: Asked, data: st.DataObject) -> None:
    body = data.draw(bodies(payload(asked.payload)))

    answer_to(lambda: asked.act(adapter_of(asked.slug)), Answer(body))


@given(data=st.data())
def test_only_underlyings_that_the_answer_names_count_as_refreshed(data: st.DataObject) -> None:
    body = data.draw(bodies(payload("binance_options/heartbeat")))
    adapter = adapter_of("binance-options")
    assert isinstance(adapter, BinanceOptions)

    reply = answer_to(lambda: adapter.heartbeat([_BTC, "ETHUSDT"]), Answer(body))

    if reply is not None:
        named = shown(body)["underlyings"]
        assert reply.refreshed == tuple(name for name in (_BTC, "ETHUSDT") if name in named)
        assert sorted(reply.refreshed + reply.missing) == [_BTC, "ETHUSDT"]


@given(data=st.data())
def test_countdown_is_the_one_the_answer_confirms(data: st.DataObject) -> None:
    body = data.draw(bodies(payload("binance_usdm/countdown")))
    adapter = adapter_of("binance-usdm")
    assert isinstance(adapter, BinanceUsdm)

    countdown_ms = answer_to(lambda: adapter.set_countdown(_BTC, 100_000), Answer(body))

    if countdown_ms is not None:
        assert countdown_ms == int(shown(body)["countdownTime"])


_NUMBERS = st.one_of(
    st.integers(-5, 10**6).map(str),
    st.sampled_from(("", "\u00b2", "9" * 30, "9" * 5000, "soon", "1.5", " 3 ")),
)
_DATES = st.sampled_from(
    (
        "yesterday",
        "Fri, 99 Nov 2026 12:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "1 Jan 99999 00:00",
        "\u00e9",
        "",
    )
)


@st.composite
def refusals(draw: st.DrawFn) -> Answer:
    """Any status with an error body that may be mangled, and headers nobody can rely on."""
    error = {
        "code": draw(
            st.sampled_from((-1003, -1121, -1021, -2011, -2013, -2015, -21015, "-1121", 0, 200, 1e300))
        ),
        "msg": draw(st.sampled_from(("", "banned until 9999999999999999", "Service Unavailable.", "a\0b"))),
        "message": draw(st.sampled_from(("Order not found", "Input symbol is invalid", "\ud800"))),
    }
    body = draw(bodies(error))
    status = draw(st.sampled_from((200, 204, 302, 400, 401, 403, 404, 408, 418, 422, 429, 500, 503, 599)))
    headers = {
        "Retry-After": draw(_NUMBERS),
        "X-MBX-USED-WEIGHT-1M": draw(_NUMBERS),
        "Age": draw(_NUMBERS),
        "Date": draw(_DATES),
        "Content-Type": draw(st.sampled_from(("text/html; charset=idna", "application/json", "x", ""))),
    }
    return Answer(body, status, headers)


def _listing(adapter: VenueAdapter) -> object:
    family = adapter.families[-1].slug
    return adapter.open_orders(Listing(family, None, 505, quick=True))


def _history(adapter: VenueAdapter) -> object:
    return adapter.history(adapter.families[0].slug, _BTC, datetime.now(UTC) - timedelta(hours=1))


def _order(adapter: VenueAdapter) -> object:
    return adapter.order(OrderRef(adapter.families[-1].slug, _BTC, "1"))


@every["venue"]
@given(
    refusal=refusals(),
    act=st.sampled_from((_listing, _history, _order, lambda adapter: adapter.sync_clock())),
)
def test_refusal_says_nothing_of_orders_and_asks_for_no_endless_silence(
    slug: str, refusal: Answer, act: Act
) -> None:
    budget = Bounded()
    adapter = adapter_of(slug, budget)
    caught: VenueError | None = None

    with answering(lambda request: refusal):
        try:
            told = act(adapter)
        except VenueError as exc:
            caught = exc

    if caught is None:
        document = shown(refusal.body)
        empty = document == [] if slug != "coinswitch" else document["data"]["orders"] == []
        assert (act is not _listing and act is not _history) or (told == [] and empty)
        assert act is not _order
    elif isinstance(caught, RateLimited):
        assert 1000 <= caught.retry_after_ms <= LONGEST_BAN_MS
    assert all(1000 <= wait_ms <= LONGEST_BAN_MS for wait_ms in budget.blocked)
    assert all(0 <= used <= 1_000_000 for used in budget.observed)


@every["venue"]
@given(data=st.data())
def test_clock_is_set_to_a_time_that_can_be_or_not_at_all(slug: str, data: st.DataObject) -> None:
    now_ms = time.time_ns() // 1_000_000
    body = data.draw(bodies({"serverTime": now_ms + data.draw(st.integers(-(10**7), 10**7))}))
    dates = _DATES | st.just("Fri, 20 Nov 2026 12:00:00 GMT")
    answer = Answer(body, data.draw(st.sampled_from((200, 500))), {"Date": data.draw(dates)})
    adapter = adapter_of(slug)
    before_ms = clock_of(URL).offset_ms

    offset_ms = answer_to(adapter.sync_clock, answer)

    if offset_ms is None:
        assert clock_of(URL).offset_ms == before_ms
    else:
        assert clock_of(URL).offset_ms == offset_ms
        datetime.fromtimestamp(clock_of(URL).now_ms() / 1000, UTC)
