"""Answers that a cache gives for the venue: whatever reads refuses them, and no other call minds.

https://www.rfc-editor.org/rfc/rfc9111#section-5.1 (Age)
https://www.rfc-editor.org/rfc/rfc9211 (Cache-Status)
"""

import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest

from panicboard.venues import open_adapter
from panicboard.venues.base import Credentials, Listing, MassCancel, OrderRef, VenueAdapter
from panicboard.venues.errors import OrderNotFound, OutcomeUnknown, RateLimited, VenueRejected
from panicboard.venues.http import Clock, clock_of

URL = "https://venue.example"
_SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"


@dataclass(frozen=True)
class Api:
    """The calls of one venue that this is about, and what those without orders say."""

    slug: str
    listing: tuple[str, str, Any]
    query: tuple[str, str]
    history: tuple[str, str, Any]
    cancel: tuple[str, str, Any]
    time: str

    @property
    def key(self) -> Credentials:
        if self.slug == "coinswitch":
            return Credentials("key", _SEED, "ed25519")
        return Credentials("key", "secret")


_NO_PAGE = {"data": {"orders": [], "cursor": 0}}
_DONE = {"code": 200, "msg": "done"}
_CS = "/trade/api/v2/futures"
APIS = [
    Api(
        "binance-usdm",
        ("GET", "/fapi/v1/openOrders", []),
        ("GET", "/fapi/v1/order"),
        ("GET", "/fapi/v1/allOrders", []),
        ("DELETE", "/fapi/v1/allOpenOrders", _DONE),
        "/fapi/v1/time",
    ),
    Api(
        "binance-options",
        ("GET", "/eapi/v1/openOrders", []),
        ("GET", "/eapi/v1/order"),
        ("GET", "/eapi/v1/historyOrders", []),
        ("DELETE", "/eapi/v1/allOpenOrders", _DONE),
        "/eapi/v1/time",
    ),
    Api(
        "binance-portfolio",
        ("GET", "/papi/v1/um/openOrders", []),
        ("GET", "/papi/v1/um/order"),
        ("GET", "/papi/v1/um/allOrders", []),
        ("DELETE", "/papi/v1/um/allOpenOrders", _DONE),
        "/papi/v1/ping",
    ),
    Api(
        "coinswitch",
        ("POST", f"{_CS}/orders/open", _NO_PAGE),
        ("GET", f"{_CS}/order"),
        ("POST", f"{_CS}/orders/closed", _NO_PAGE),
        ("POST", f"{_CS}/cancel_all", {"data": {"orders_ids": []}}),
        "/trade/api/v2/time",
    ),
]
every_api = pytest.mark.parametrize("api", APIS, ids=lambda api: api.slug)

#: Headers of a copy, and the words for it.
COPIES = {
    "Age": ({"Age": "30"}, "30 s old"),
    "X-Cache of CloudFront": (
        {"X-Cache": "Hit from cloudfront"},
        "by its X-Cache: Hit from cloudfront",
    ),
    "X-Cache of two caches": ({"X-Cache": "MISS, HIT"}, "by its X-Cache: MISS, HIT"),
    "CF-Cache-Status": ({"CF-Cache-Status": "STALE"}, "by its CF-Cache-Status: STALE"),
    "Cache-Status": ({"Cache-Status": "edge; hit; ttl=3"}, "by its Cache-Status: edge; hit; ttl=3"),
}
FRESH = [
    {},
    {"Age": "0"},
    {"Age": "-3"},
    {"Age": "old"},
    {"X-Cache": "Miss from cloudfront"},
    {"X-Cache": "Error from cloudfront"},
    {"CF-Cache-Status": "DYNAMIC"},
    {"Cache-Status": "edge; fwd=uri-miss"},
    {"Date": "yesterday"},
    {"Date": "Fri, 99 Nov 2026 12:00:00 GMT"},
]


@pytest.fixture(autouse=True)
def clock_agrees(clock_in_step) -> None:
    clock_in_step(URL)


def family_of(api: Api) -> str:
    return "um" if api.slug == "binance-portfolio" else "ordinary"


@pytest.fixture
def opened(budget):
    def make(api: Api) -> VenueAdapter:
        return open_adapter(api.slug, URL, api.key, budget=budget, account="alpha")

    return make


def date(ms_ago: int) -> str:
    return formatdate(time.time() - ms_ago / 1000, usegmt=True)


def tell_time(api: Api, venue_http) -> None:
    now = {"serverTime": time.time_ns() // 1_000_000}
    venue_http.get(URL + api.time, json=now, headers={"Date": date(0)})


@every_api
@pytest.mark.parametrize(("headers", "says"), COPIES.values(), ids=COPIES)
def test_listing_that_is_a_cached_copy_is_refused(api, headers, says, opened, venue_http):
    method, path, empty = api.listing
    venue_http.add(method, URL + path, json=empty, headers=headers)

    with pytest.raises(OutcomeUnknown) as caught:
        opened(api).open_orders(Listing(family_of(api), None, 40))

    assert str(caught.value) == f"{method} {path}: the answer is a cached copy, {says}"
    assert clock_of(URL).measured_at is not None


@every_api
def test_listing_is_told_to_be_a_copy_by_its_date_and_the_clock_read_anew(api, opened, venue_http):
    method, path, empty = api.listing
    venue_http.add(method, URL + path, json=empty, headers={"Date": date(30_000)})

    with pytest.raises(OutcomeUnknown) as caught:
        opened(api).open_orders(Listing(family_of(api), None, 40))

    said = re.fullmatch(r"(.*), (\d+) s old by its Date", str(caught.value))
    assert said is not None
    assert said[1] == f"{method} {path}: the answer is a cached copy"
    assert int(said[2]) >= 30
    assert clock_of(URL).measured_at is None


@every_api
@pytest.mark.parametrize("headers", FRESH, ids=str)
def test_listing_is_not_refused_for_what_tells_no_age(api, headers, opened, venue_http):
    method, path, empty = api.listing
    venue_http.add(method, URL + path, json=empty, headers=headers)

    assert opened(api).open_orders(Listing(family_of(api), None, 40)) == []


def stamp_answers(api: Api, venue_http, ms_ago: int) -> None:
    """Give each answer to a listing the Date of so long before it is made."""
    method, path, empty = api.listing

    def answer(request):
        return 200, {"Date": date(ms_ago)}, json.dumps(empty)

    venue_http.add_callback(method, URL + path, callback=answer)


@every_api
@pytest.mark.parametrize("ms_ago", [0, 2000, -60_000])
def test_date_of_a_fresh_answer_is_no_reason_to_doubt_it(api, ms_ago, opened, venue_http):
    """It is cut to the second, and our reading of the venue's clock may be a little ahead of it."""
    stamp_answers(api, venue_http, ms_ago)

    assert opened(api).open_orders(Listing(family_of(api), None, 40, quick=True)) == []


@every_api
@pytest.mark.parametrize("ahead_ms", [3_600_000, -3_600_000])
def test_date_is_compared_by_the_venues_clock(api, ahead_ms, opened, venue_http):
    clock = clock_of(URL)
    now_ns = time.time_ns()
    clock.set(now_ns // 1_000_000 + ahead_ms, now_ns, now_ns)
    stamp_answers(api, venue_http, -ahead_ms)

    assert opened(api).open_orders(Listing(family_of(api), None, 40, quick=True)) == []


@every_api
def test_clock_is_read_before_the_first_listing_so_that_its_date_can_tell(api, opened, venue_http):
    clock_of(URL).forget()
    method, path, empty = api.listing
    tell_time(api, venue_http)
    venue_http.add(method, URL + path, json=empty, headers={"Date": date(120_000)})

    with pytest.raises(OutcomeUnknown, match="cached copy"):
        opened(api).open_orders(Listing(family_of(api), None, 40, quick=True))

    assert [call.request.path_url.partition("?")[0] for call in venue_http.calls] == [api.time, path]


def test_listing_is_read_without_the_clock_where_the_venue_does_not_tell_it(opened, venue_http):
    """CoinSwitch takes calls whose clock is 60 s off: there the Date is compared only when that is known."""
    api = APIS[3]
    clock_of(URL).forget()
    venue_http.get(URL + api.time, status=500)
    method, path, empty = api.listing
    venue_http.add(method, URL + path, json=empty, headers={"Date": date(55_000)})

    assert opened(api).open_orders(Listing("ordinary", None, 5, quick=True)) == []


@every_api
def test_order_and_history_that_are_copies_are_refused(api, opened, venue_http):
    family = family_of(api)
    method, path = api.query
    venue_http.add(method, URL + path, json={}, headers={"Age": "1"})
    method, path, empty = api.history
    venue_http.add(method, URL + path, json=empty, headers={"Age": "1"})
    adapter = opened(api)

    with pytest.raises(OutcomeUnknown, match="cached copy, 1 s old"):
        adapter.order(OrderRef(family, "BTCUSDT", "1"))
    with pytest.raises(OutcomeUnknown, match="cached copy, 1 s old"):
        adapter.history(family, "BTCUSDT", datetime.now(UTC))


@every_api
def test_order_that_only_a_copy_does_not_know_is_not_said_to_be_gone(api, opened, venue_http):
    method, path = api.query
    told = {"code": -2013, "msg": "Order does not exist.", "message": "Order not found"}
    venue_http.add(method, URL + path, status=400, json=told, headers={"Age": "1"})
    venue_http.add(method, URL + path, status=400, json=told)
    adapter, ref = opened(api), OrderRef(family_of(api), "BTCUSDT", "1")

    with pytest.raises(OutcomeUnknown, match="cached copy, 1 s old"):
        adapter.order(ref)
    with pytest.raises(OrderNotFound):
        adapter.order(ref)


@every_api
def test_refusal_that_a_cache_repeats_still_keeps_us_silent(api, opened, venue_http):
    method, path, _ = api.listing
    venue_http.add(method, URL + path, status=429, json={"code": -1003}, headers={"Age": "4"})

    with pytest.raises(RateLimited):
        opened(api).open_orders(Listing(family_of(api), None, 40))


@every_api
def test_cancel_is_taken_for_sent_whatever_its_headers_say(api, opened, venue_http):
    method, path, done = api.cancel
    old = {"Age": "30", "Date": date(60_000), "X-Cache": "HIT"}
    venue_http.add(method, URL + path, json=done, headers=old)
    venue_http.add(method, URL + path, status=400, json={"code": -1102, "message": "no"}, headers=old)
    adapter, call = opened(api), MassCancel(family_of(api), "BTCUSDT", 1)

    assert adapter.mass_cancel(call).orders == ()
    with pytest.raises(VenueRejected):
        adapter.mass_cancel(call)


@every_api
def test_every_request_asks_caches_for_the_venues_own_answer(api, opened, venue_http):
    clock_of(URL).forget()
    tell_time(api, venue_http)
    for method, path, answer in (api.listing, api.cancel):
        venue_http.add(method, URL + path, json=answer)
    adapter = opened(api)

    adapter.open_orders(Listing(family_of(api), None, 40, quick=True))
    adapter.mass_cancel(MassCancel(family_of(api), "BTCUSDT", 1))

    assert {call.request.headers["Cache-Control"] for call in venue_http.calls} == {"no-cache"}
    assert len(venue_http.calls) == 3


def test_a_clock_that_is_forgotten_keeps_its_offset_until_it_is_read_anew():
    clock = Clock()
    clock.set(10_500, sent_ns=9_000_000_000, received_ns=11_000_000_000)

    clock.forget()

    assert (clock.offset_ms, clock.measured_at) == (500, None)
