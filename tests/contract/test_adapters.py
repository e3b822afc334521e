"""The same tests for every adapter, over real HTTP against the simulator: what the acts rely on."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from panicboard.simulator.portfolio_state import COINM_SYMBOLS
from panicboard.simulator.symbols import USDM_SYMBOLS, option_mark, parse_option
from panicboard.venues import VENUES as ADAPTERS
from panicboard.venues import binance_portfolio_books, open_adapter
from panicboard.venues.base import (
    BookSymbol,
    CancelResult,
    Credentials,
    Limit,
    Listing,
    Order,
    OrderRef,
    OrderState,
    VenueAdapter,
)
from panicboard.venues.errors import (
    BudgetSpent,
    ClockRejected,
    CredentialsRejected,
    NotDone,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    VenueError,
    VenueRejected,
)
from panicboard.venues.http import clock_of
from tests.factories import BOOKS, VENUES
from tests.faults.bad_days import BAD_DAYS, HANGS
from tests.simulator_process import SimulatorProcess
from tests.venue_calls import CALLS, FAMILIES, PLACING, at, family_of

pytest_plugins = ["tests.simulator_process"]

every_venue = pytest.mark.parametrize("adapter", VENUES)
every_family = pytest.mark.parametrize(("adapter", "fields"), FAMILIES.values(), ids=FAMILIES)
every_canary = pytest.mark.parametrize(("adapter", "family"), PLACING)

OTHER_SYMBOLS = {
    "BTCUSDT": "ETHUSDT",
    "BTC-261225-100000-C": "ETH-261225-3000-C",
    "BTCUSD_PERP": "ETHUSD_PERP",
}
#: A key of the right form that no account has, and an order id of the right form that no order has.
NOBODYS_KEYS = {"coinswitch": "ab" * 32}
NOBODYS_IDS = {"coinswitch": "01936be4-2571-7a3f-97fa-a29a2b85d717"}


class Told:
    """A budget that keeps what it is told, and refuses only when `left` calls have been paid."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.spends = 0
        self.paid: list[tuple[str, int]] = []
        self.observed: list[tuple[str, int]] = []
        self.blocked: list[tuple[str, int]] = []

    def spend(self, limit: Limit, weight: int) -> None:
        self.spends += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise BudgetSpent(f"the {limit.pool} limit is used up", retry_after_ms=1000)
        self.paid.append((limit.pool, weight))

    def observe(self, limit: Limit, used: int) -> None:
        self.observed.append((limit.pool, used))

    def block(self, limit: Limit, retry_after_ms: int, why: str) -> None:
        self.blocked.append((limit.pool, retry_after_ms))


@dataclass(frozen=True)
class Desk:
    """One account at the simulator, and its adapter."""

    simulator: SimulatorProcess
    keys: dict[str, str]
    adapter: VenueAdapter
    budget: Told

    @property
    def venue(self) -> str:
        return self.keys["venue"]

    def seed(self, count: int = 1, **fields: Any) -> list[Order]:
        """Open orders on the usual book and symbol, as the adapter must tell them."""
        book, symbol = BOOKS[self.venue]
        self.simulator.seed(self.keys["name"], **({"book": book, "symbol": symbol} | fields), count=count)
        seeded = [expected(order) for order in self.simulator.book(self.keys["name"], only_open=False)]
        return seeded[-(2 * count if fields.get("type") == "OCO" else count) :]

    def control(self, act: str, order: Order, **options: object) -> None:
        chosen = {"account": self.keys["name"], "order_id": order.venue_order_id, **options}
        self.simulator.control("POST", act, chosen)

    def fault(self, kind: str, **options: object) -> None:
        self.simulator.fault(kind, account=self.keys["name"], **options)

    def listed(self, symbols: set[BookSymbol] | None) -> list[Order]:
        """All that these listings show, one after the other."""
        return [o for one in self.adapter.listings(symbols) for o in self.adapter.open_orders(one)]

    def mass_cancel(self, books: set[BookSymbol], *, whole_account: bool = True) -> None:
        for call in self.adapter.mass_cancels(books, whole_account=whole_account):
            self.adapter.mass_cancel(call)

    def with_credentials(self, **changes: str) -> VenueAdapter:
        """The same account through another key, or another secret."""
        held = {name: self.keys[name] for name in ("api_key", "secret", "key_type")} | changes
        return open_adapter(
            self.venue, self.simulator.url, Credentials(**held), budget=Told(), account=self.keys["name"]
        )


@pytest.fixture
def open_desk(simulator: SimulatorProcess) -> Iterator[Callable[..., Desk]]:
    """Make accounts. No limit is in force here, cancels work at once, and the clock is not known yet."""
    simulator.control("POST", "limits", {"on": False})
    simulator.control("POST", "switches", {"coinswitch_cancel_delay_ms": 0})

    def make(venue: str, name: str = "alpha") -> Desk:
        keys = simulator.create_account(venue, name)
        held = Credentials(keys["api_key"], keys["secret"], keys["key_type"])
        budget = Told()
        return Desk(
            simulator, keys, open_adapter(venue, simulator.url, held, budget=budget, account=name), budget
        )

    clock = clock_of(simulator.url)
    clock.offset_ms, clock.measured_at = 0, None
    yield make
    clock.offset_ms, clock.measured_at = 0, None
    binance_portfolio_books._algo_gone_at.pop(simulator.url, None)


def expected(order: dict[str, Any]) -> Order:
    """An open order of the simulator's book as an adapter must tell it, its venue's words left out."""
    family = family_of(order)
    return Order(
        family=family,
        symbol=order["symbol"],
        venue_order_id=order["order_id"],
        client_order_id=order["client_order_id"],
        state=OrderState.OPEN,
        venue_status="",
        side=order["side"],
        order_type=order["type"],
        quantity=Decimal(order["quantity"]),
        filled=Decimal(order["executed"]),
        price=Decimal(order["price"]) or None,
        trigger_price=Decimal(order["stop_price"]) or None,
        protective=order["reduce_only"],
        list_id=order["list_id"],
        placed_at=datetime.fromtimestamp(order["created_ms"] / 1000, UTC),
    )


def plain(orders: list[Order]) -> dict[str, tuple[object, ...]]:
    """Orders by id, without what only the venue's words and their times tell."""
    return {
        o.venue_order_id: (
            o.family,
            o.symbol,
            o.client_order_id,
            o.state,
            o.side,
            o.order_type,
            o.quantity,
            o.filled,
            o.price,
            o.trigger_price,
            o.protective,
            o.list_id,
            o.placed_at,
        )
        for o in orders
    }


def books_of(orders: list[Order]) -> set[BookSymbol]:
    return {BookSymbol(order.family, order.symbol) for order in orders}


def ref(order: Order) -> OrderRef:
    return OrderRef(order.family, order.symbol, order.venue_order_id, order.client_order_id)


def until(read: Callable[[], bool], attempts: int = 200) -> bool:
    """Ask until the answer is yes: cancels of CoinSwitch take a moment."""
    return any(read() for _ in range(attempts))


def calls_of(desk: Desk, order: Order) -> dict[str, Callable[[], object]]:
    """The three calls that a sweep is made of, on the usual book."""
    mass_cancel = desk.adapter.mass_cancels(books_of([order]), whole_account=True)
    return {
        "cancel": lambda: [
            desk.adapter.mass_cancel(one) for one in mass_cancel if one.family == order.family
        ],
        "listing": lambda: desk.adapter.open_orders(Listing(order.family, order.symbol, 1)),
        "query": lambda: desk.adapter.order(ref(order)),
    }


# Lists.


@every_family
def test_open_orders_are_listed_by_symbol_and_in_full(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    symbol = fields.get("symbol", BOOKS[adapter][1])
    wanted = desk.seed(3, **fields)
    others = desk.seed(2, **fields | {"symbol": OTHER_SYMBOLS[symbol]})

    by_symbol = [
        order
        for order in desk.adapter.open_orders(Listing(wanted[0].family, symbol, 1))
        if order.symbol == symbol
    ]
    in_full = desk.adapter.open_orders(Listing(wanted[0].family, None, 1))

    assert plain(by_symbol) == plain(wanted)
    assert plain(in_full) == plain(wanted + others)


@every_family
def test_planned_listings_show_every_order(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    symbol = fields.get("symbol", BOOKS[adapter][1])
    orders = desk.seed(2, **fields) + desk.seed(1, **fields | {"symbol": OTHER_SYMBOLS[symbol]})

    known = desk.listed(books_of(orders))
    everything = desk.listed(None)

    assert plain(known) == plain(everything) == plain(orders)


@every_venue
def test_account_with_nothing_open_lists_nothing(open_desk: Callable[..., Desk], adapter: str) -> None:
    desk = open_desk(adapter)
    other = open_desk(adapter, "beta")
    other.seed(2)

    assert desk.listed(None) == []


@every_family
def test_ids_stay_exact(open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]) -> None:
    desk = open_desk(adapter)
    given = {} if adapter == "coinswitch" or "type" in fields else {"order_id": "9007199254740993"}
    order = desk.seed(**fields, **given)[0]

    listed = desk.listed(books_of([order]))
    asked = desk.adapter.order(ref(order))
    cancelled = desk.adapter.cancel_orders(order.family, order.symbol, [ref(order)])

    assert order.venue_order_id in [one.venue_order_id for one in listed]
    assert (asked.venue_order_id, asked.symbol) == (order.venue_order_id, order.symbol)
    assert cancelled == [CancelResult(ref(order), accepted=True)]
    assert given.get("order_id", order.venue_order_id) == order.venue_order_id


# Cancels.


@every_family
def test_mass_cancel_leaves_the_lists_empty(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    orders = desk.seed(3, **fields)

    desk.mass_cancel(books_of(orders))

    assert until(lambda: desk.listed(books_of(orders)) == [])
    assert desk.listed(None) == []
    assert desk.simulator.book() == []


@every_family
def test_mass_cancel_of_a_symbol_leaves_the_others(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    symbol = fields.get("symbol", BOOKS[adapter][1])
    orders = desk.seed(2, **fields)
    others = desk.seed(2, **fields | {"symbol": OTHER_SYMBOLS[symbol]})

    desk.mass_cancel(books_of(orders), whole_account=False)

    assert until(lambda: plain(desk.listed(None)) == plain(others))


@every_family
def test_mass_cancel_where_nothing_is_open_is_no_failure(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    orders = desk.seed(**fields)
    desk.mass_cancel(books_of(orders))
    assert until(lambda: desk.simulator.book() == [])

    desk.mass_cancel(books_of(orders))

    assert desk.listed(None) == []


@every_family
def test_one_order_is_cancelled_alone(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    orders = desk.seed(3, **fields)
    order = orders[0]
    left = [one for one in orders if one != order and (not one.list_id or one.list_id != order.list_id)]

    results = desk.adapter.cancel_orders(order.family, order.symbol, [ref(order)])

    assert results == [CancelResult(ref(order), accepted=True)]
    assert until(lambda: plain(desk.listed(None)) == plain(left))


@every_family
def test_batch_is_as_long_as_the_family_says(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    family = desk.adapter.family(family_of({"book": fields.get("book", BOOKS[adapter][0])}))
    orders = desk.seed(family.cancel_batch + 1, **fields)
    batch, rest = orders[: family.cancel_batch], orders[family.cancel_batch :]
    if orders[0].list_id:
        rest = [order for order in orders if order.list_id != orders[0].list_id]

    results = desk.adapter.cancel_orders(family.slug, orders[0].symbol, [ref(order) for order in batch])

    assert results == [CancelResult(ref(order), accepted=True) for order in batch]
    assert until(lambda: plain(desk.listed(None)) == plain(rest))
    with pytest.raises(ValueError, match=r"too many|one order a call"):
        desk.adapter.cancel_orders(family.slug, orders[0].symbol, [ref(order) for order in orders])


@every_family
def test_cancel_of_an_order_that_is_gone_says_so(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    order = desk.seed(**fields)[0]
    gone = OrderRef(order.family, order.symbol, NOBODYS_IDS.get(adapter, "999"))

    result = desk.adapter.cancel_orders(order.family, order.symbol, [gone])[0]

    assert (result.ref, result.accepted, result.not_found) == (gone, False, True)
    assert result.text
    assert len(desk.listed(None)) == len(desk.simulator.book())


# Single orders.


@every_family
def test_open_order_is_told_as_it_is_listed(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    orders = desk.seed(**fields)

    asked = [desk.adapter.order(ref(order)) for order in orders]

    without_lists = [Order(**{**_fields(order), "list_id": ""}) for order in orders]
    assert plain([Order(**{**_fields(order), "list_id": ""}) for order in asked]) == plain(without_lists)


def _fields(order: Order) -> dict[str, Any]:
    return {name: getattr(order, name) for name in order.__slots__}


@every_family
def test_cancelled_order_is_told_as_cancelled(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    orders = desk.seed(**fields)

    desk.mass_cancel(books_of(orders))

    assert until(lambda: desk.simulator.book() == [])
    assert {desk.adapter.order(ref(order)).state for order in orders} == {OrderState.CANCELLED}


@every_family
def test_expired_order_is_told_as_expired(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    order = desk.seed(**fields)[0]

    desk.control("expire", order)

    assert desk.adapter.order(ref(order)).state is OrderState.EXPIRED


@every_venue
def test_filled_order_is_told_as_filled(open_desk: Callable[..., Desk], adapter: str) -> None:
    desk = open_desk(adapter)
    order = desk.seed(quantity="4")[0]

    desk.control("fill", order)

    told = desk.adapter.order(ref(order))
    assert (told.state, told.filled, told.quantity) == (OrderState.FILLED, 4, 4)


@every_venue
def test_order_filled_in_part_is_open_and_then_cancelled(
    open_desk: Callable[..., Desk], adapter: str
) -> None:
    desk = open_desk(adapter)
    order = desk.seed(quantity="4")[0]

    desk.control("fill", order, quantity="1")
    told = desk.adapter.order(ref(order))
    listed = desk.listed(books_of([order]))
    desk.mass_cancel(books_of([order]))
    assert until(lambda: desk.simulator.book() == [])
    ended = desk.adapter.order(ref(order))

    assert (told.state, told.filled, told.quantity) == (OrderState.OPEN, 1, 4)
    assert [(one.state, one.filled) for one in listed] == [(OrderState.OPEN, 1)]
    assert (ended.state, ended.filled, ended.quantity) == (OrderState.CANCELLED, 1, 4)


@pytest.mark.parametrize(
    ("adapter", "fields"), [FAMILIES[name] for name in FAMILIES if name.endswith("conditional")]
)
def test_triggered_order_names_the_order_it_became(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    order = desk.seed(**fields)[0]
    family = desk.adapter.family(order.family)
    desk.control("trigger", order)
    became = next(o for o in desk.simulator.book() if o["order_id"] != order.venue_order_id)

    told = desk.adapter.order(ref(order))
    followed = desk.adapter.order(OrderRef(family.triggers_into, told.symbol, told.successor_id))

    assert (told.state, told.successor_id) == (OrderState.TRIGGERED, became["order_id"])
    assert (followed.state, followed.venue_order_id) == (OrderState.OPEN, became["order_id"])


@every_family
def test_order_that_nobody_knows_is_not_found(
    open_desk: Callable[..., Desk], adapter: str, fields: dict[str, Any]
) -> None:
    desk = open_desk(adapter)
    order = desk.seed(**fields)[0]

    with pytest.raises(OrderNotFound):
        desk.adapter.order(OrderRef(order.family, order.symbol, NOBODYS_IDS.get(adapter, "999")))


@every_venue
def test_finished_orders_stand_in_the_history(open_desk: Callable[..., Desk], adapter: str) -> None:
    desk = open_desk(adapter)
    orders = desk.seed(3)
    desk.mass_cancel(books_of(orders))
    assert until(lambda: desk.simulator.book() == [])

    found = desk.adapter.history(
        orders[0].family, orders[0].symbol, min(o.placed_at for o in orders if o.placed_at)
    )

    assert {order.venue_order_id: order.state for order in found} == {
        order.venue_order_id: OrderState.CANCELLED for order in orders
    }


@every_venue
def test_status_that_nobody_knows_is_never_guessed(open_desk: Callable[..., Desk], adapter: str) -> None:
    desk = open_desk(adapter)
    order = desk.seed()[0]
    desk.fault("unknown_status", status="PENDING_REVIEW")

    for call in ("listing", "query"):
        with pytest.raises(OutcomeUnknown, match=r"^order status 'PENDING_REVIEW' is not known$"):
            calls_of(desk, order)[call]()


# Orders far away.


def market_price(symbol: str) -> Decimal:
    """A symbol's price at the simulator."""
    for known in (*USDM_SYMBOLS, *COINM_SYMBOLS):
        if known.name == symbol:
            return Decimal(known.price)
    return Decimal(option_mark(parse_option(symbol), datetime.now(UTC).date())["markPrice"])


def placed_requests(desk: Desk, family: str) -> list[dict[str, Any]]:
    method, path = PLACING[desk.venue, family]
    return [call for call in desk.simulator.log("alpha") if (call["method"], call["path"]) == (method, path)]


def test_canary_has_an_order_in_every_family_that_needs_no_position() -> None:
    declared = [(slug, family) for slug, adapter in ADAPTERS.items() for family in adapter.canary_families]

    assert declared == list(PLACING)
    assert all(
        set(adapter.canary_families) == {family.slug for family in adapter.families}
        for adapter in ADAPTERS.values()
    )


@every_canary
def test_far_order_stands_where_nothing_can_take_it(
    open_desk: Callable[..., Desk], adapter: str, family: str
) -> None:
    desk = open_desk(adapter)
    client_order_id = desk.adapter.canary_order_id()

    placed = desk.adapter.place_far_order(desk.adapter.plan_far_order(family), client_order_id)

    (order,) = desk.simulator.book("alpha")
    price = market_price(order["symbol"])
    assert (family_of(order), order["side"], order["reduce_only"]) == (family, "BUY", False)
    if desk.adapter.family(family).conditional:
        assert (order["type"], Decimal(order["stop_price"])) == ("STOP_MARKET", 2 * price)
    else:
        assert order["type"] == "LIMIT"
        assert price * Decimal("0.45") < Decimal(order["price"]) < price * Decimal("0.55")
    # In contracts of 10 USD on COIN-M, else in coins.
    worth = Decimal(order["quantity"]) * (10 if family.startswith("cm") else price)
    assert worth < 30
    assert (placed.family, placed.state, placed.venue_order_id) == (
        family,
        OrderState.OPEN,
        order["order_id"],
    )
    assert (placed.client_order_id, order["client_order_id"]) == (client_order_id, client_order_id)


@every_canary
def test_far_order_is_found_by_its_client_order_id_and_in_its_familys_list(
    open_desk: Callable[..., Desk], adapter: str, family: str
) -> None:
    desk = open_desk(adapter)
    client_order_id = desk.adapter.canary_order_id()
    placed = desk.adapter.place_far_order(desk.adapter.plan_far_order(family), client_order_id)

    asked = desk.adapter.order(OrderRef(family, placed.symbol, "", client_order_id))
    listed = desk.listed({BookSymbol(family, placed.symbol)})

    assert (asked.venue_order_id, asked.state) == (placed.venue_order_id, OrderState.OPEN)
    assert [(order.family, order.venue_order_id) for order in listed] == [(family, placed.venue_order_id)]


@every_canary
def test_far_order_is_paid_from_the_limit_of_orders(
    open_desk: Callable[..., Desk], adapter: str, family: str
) -> None:
    desk = open_desk(adapter)
    plan = desk.adapter.plan_far_order(family)
    desk.adapter.sync_clock()
    desk.budget.paid.clear()

    desk.adapter.place_far_order(plan, desk.adapter.canary_order_id())

    orders = {"coinswitch": "place"}.get(adapter, f"{desk.adapter.limits[0].pool}-orders")
    assert (orders, 1) in desk.budget.paid
    assert orders in {limit.pool for limit in desk.adapter.limits if limit.per == "key"}
    charged = placed_requests(desk, family)[0]["weight"]
    assert adapter == "coinswitch" or (desk.adapter.limits[0].pool, charged) in desk.budget.paid


@every_canary
@pytest.mark.parametrize(
    "name",
    [
        "503 unknown",
        "503 unavailable",
        "408 after acting",
        "connection cut before acting",
        "connection cut after acting",
        "garbage",
        "429",
    ],
)
def test_placing_that_fails_is_told_as_what_is_known_of_it_and_never_repeated(
    open_desk: Callable[..., Desk], adapter: str, family: str, name: str
) -> None:
    desk = open_desk(adapter)
    bad, plan, client_order_id = (
        BAD_DAYS[name],
        desk.adapter.plan_far_order(family),
        desk.adapter.canary_order_id(),
    )
    desk.fault(**bad.of(adapter), **at(PLACING[adapter, family]))

    with pytest.raises(VenueError) as caught:
        desk.adapter.place_far_order(plan, client_order_id)

    assert type(caught.value) is ELSEWHERE.get((adapter, name), MEANT[name])
    assert len(placed_requests(desk, family)) == 1
    wanted = OrderRef(family, plan.symbol, "", client_order_id)
    if bad.acts:
        assert desk.adapter.order(wanted).venue_order_id == desk.simulator.book("alpha")[0]["order_id"]
    else:
        with pytest.raises(OrderNotFound):
            desk.adapter.order(wanted)


@every_canary
def test_order_that_is_refused_is_told_in_the_venues_words(
    open_desk: Callable[..., Desk], adapter: str, family: str
) -> None:
    desk = open_desk(adapter)
    plan = desk.adapter.plan_far_order(family)
    desk.fault("refused", **at(PLACING[adapter, family]))

    with pytest.raises(VenueRejected, match=r"Margin is insufficient\.") as caught:
        desk.adapter.place_far_order(plan, desk.adapter.canary_order_id())

    assert caught.value.code == ("" if adapter == "coinswitch" else "-2019")
    assert desk.simulator.book("alpha") == []


def test_far_order_follows_the_older_conditional_calls_of_portfolio_margin(
    open_desk: Callable[..., Desk],
) -> None:
    desk = open_desk("binance-portfolio")
    desk.simulator.control("POST", "switches", {"um_algo_gone": "-21015"})

    placed = desk.adapter.place_far_order(
        desk.adapter.plan_far_order("um_conditional"), desk.adapter.canary_order_id()
    )

    assert (placed.family, placed.state) == ("um_conditional", OrderState.OPEN)
    assert [order["order_id"] for order in desk.simulator.book("alpha")] == [placed.venue_order_id]


# Keys and clocks.


@every_venue
def test_good_key_may_trade(open_desk: Callable[..., Desk], adapter: str) -> None:
    desk = open_desk(adapter)

    assert desk.adapter.check_access().can_trade is True


@every_venue
def test_wrong_secret_is_rejected_by_every_call(open_desk: Callable[..., Desk], adapter: str) -> None:
    desk = open_desk(adapter)
    order = desk.seed()[0]
    wrong = desk.with_credentials(secret=("00" if adapter == "coinswitch" else "x") * 32)
    stranger = Desk(desk.simulator, desk.keys, wrong, desk.budget)

    for call in calls_of(stranger, order).values():
        with pytest.raises(CredentialsRejected) as caught:
            call()
        assert (caught.value.status, caught.value.code) == (
            (401, "") if adapter == "coinswitch" else (400, "-1022")
        )
    assert len(desk.simulator.book()) == 1


@every_venue
def test_key_that_nobody_has_is_rejected(open_desk: Callable[..., Desk], adapter: str) -> None:
    desk = open_desk(adapter)
    stranger = desk.with_credentials(api_key=NOBODYS_KEYS.get(adapter, "k" * 64))

    with pytest.raises(CredentialsRejected) as caught:
        stranger.check_access()

    assert caught.value.status == 401
    assert "k" * 64 not in str(caught.value)


@every_venue
def test_revoked_key_is_rejected(open_desk: Callable[..., Desk], adapter: str) -> None:
    desk = open_desk(adapter)
    desk.fault("key_revoked")

    with pytest.raises(CredentialsRejected):
        desk.adapter.check_access()


@every_venue
@pytest.mark.parametrize("ahead", [True, False], ids=["ahead", "behind"])
def test_clock_that_is_off_is_read_again_and_the_call_made(
    open_desk: Callable[..., Desk], adapter: str, ahead: bool
) -> None:
    desk = open_desk(adapter)
    orders = desk.seed(2)
    desk.adapter.sync_clock()
    skew_ms = (70_000 if adapter == "coinswitch" else 5500) * (1 if ahead else -1)
    desk.simulator.fault("clock_skew_ms", venue=adapter, ms=skew_ms)

    desk.mass_cancel(books_of(orders))

    assert until(lambda: desk.simulator.book() == [])
    off_ms = clock_of(desk.simulator.url).offset_ms - skew_ms
    assert (
        abs(off_ms) < 1000
    )  # the Date header, which is all that portfolio margin tells, is cut to the second
    statuses = [call["status"] for call in desk.simulator.log("alpha")]
    assert statuses[0] == (401 if adapter == "coinswitch" else 400)
    assert set(statuses[1:]) == {200}


@every_venue
def test_clock_that_stays_wrong_is_told_after_one_more_try(
    open_desk: Callable[..., Desk], adapter: str
) -> None:
    desk = open_desk(adapter)
    order = desk.seed()[0]
    skew_ms = -70_000 if adapter == "coinswitch" else -5500
    desk.fault("clock_skew_ms", ms=skew_ms, path=CALLS[adapter].every)
    wanted = CredentialsRejected if adapter == "coinswitch" else ClockRejected

    with pytest.raises(wanted):
        calls_of(desk, order)["listing"]()

    assert len(desk.simulator.log("alpha")) == 2


# Bad days.

#: What each bad day is to the caller, and how long it is to keep silent: Binance, and where others differ.
MEANT: dict[str, type[VenueError]] = {
    "503 unknown": OutcomeUnknown,
    "503 unavailable": NotDone,
    "503 internal": NotDone,
    "503 throttled": NotDone,
    "408 after acting": OutcomeUnknown,
    "408 before acting": OutcomeUnknown,
    "connection cut before acting": OutcomeUnknown,
    "connection cut after acting": OutcomeUnknown,
    "429": RateLimited,
    "429 with Retry-After": RateLimited,
    "418": RateLimited,
    "403 without JSON": RateLimited,
    "garbage": OutcomeUnknown,
    "truncated JSON": OutcomeUnknown,
    "our clock 5 s fast": ClockRejected,
    "our clock 5 s slow": ClockRejected,
    "key revoked": CredentialsRejected,
}
ELSEWHERE: dict[tuple[str, str], type[VenueError]] = {
    ("binance-options", "503 throttled"): RateLimited,  # the number means the weight limit there
    (
        "coinswitch",
        "503 unavailable",
    ): OutcomeUnknown,  # a 5xx of CoinSwitch never tells that nothing was done
    ("coinswitch", "503 internal"): OutcomeUnknown,
    ("coinswitch", "503 throttled"): OutcomeUnknown,
    ("coinswitch", "our clock 5 s fast"): CredentialsRejected,
    ("coinswitch", "our clock 5 s slow"): CredentialsRejected,
}


@every_venue
@pytest.mark.parametrize("name", BAD_DAYS)
@pytest.mark.parametrize("call", ["cancel", "listing", "query"])
def test_failure_is_told_as_what_is_known_of_it(
    open_desk: Callable[..., Desk], adapter: str, name: str, call: str
) -> None:
    desk = open_desk(adapter)
    order = desk.seed()[0]
    bad = BAD_DAYS[name]
    desk.fault(**bad.of(adapter), **at(getattr(CALLS[adapter], call)))

    with pytest.raises(VenueError) as caught:
        calls_of(desk, order)[call]()

    assert type(caught.value) is ELSEWHERE.get((adapter, name), MEANT[name])
    assert bad.kind == "429_retry_after" or bad.words(adapter) in str(caught.value)
    if call == "cancel":
        done = until(lambda: desk.simulator.book() == [], attempts=50)
        assert done is bad.acts
        assert not (done and isinstance(caught.value, NotDone | VenueRejected))


@every_venue
@pytest.mark.parametrize(
    ("name", "banned", "binance_ms", "coinswitch_ms"),
    [
        ("429", False, 15_000, 60_000),
        ("429 with Retry-After", False, 30_000, 30_000),
        ("403 without JSON", True, 60_000, 60_000),
    ],
)
def test_refusal_of_everything_tells_how_long_and_is_passed_on(
    open_desk: Callable[..., Desk],
    adapter: str,
    name: str,
    banned: bool,
    binance_ms: int,
    coinswitch_ms: int,
) -> None:
    desk = open_desk(adapter)
    order = desk.seed()[0]
    desk.fault(**BAD_DAYS[name].of(adapter), **at(CALLS[adapter].listing))
    wanted_ms = coinswitch_ms if adapter == "coinswitch" else binance_ms

    with pytest.raises(RateLimited) as caught:
        calls_of(desk, order)["listing"]()

    assert (caught.value.retry_after_ms, caught.value.banned) == (wanted_ms, banned)
    limit = (banned and desk.adapter.bans) or desk.adapter.listing_limit()
    assert desk.budget.blocked == [(limit.pool, wanted_ms)]


@every_venue
def test_ban_is_told_with_its_end(open_desk: Callable[..., Desk], adapter: str) -> None:
    desk = open_desk(adapter)
    order = desk.seed()[0]
    desk.fault("418", seconds=600, **at(CALLS[adapter].listing))

    with pytest.raises(RateLimited) as caught:
        calls_of(desk, order)["listing"]()

    assert caught.value.banned
    if adapter == "coinswitch":  # its texts are for people; nothing in them is read
        assert caught.value.retry_after_ms == 60_000
    else:
        # By the venue's clock, which portfolio margin tells to half a second.
        assert 590_000 < caught.value.retry_after_ms <= 601_000


def test_call_that_hangs_ends_as_unknown(open_desk: Callable[..., Desk]) -> None:
    desks = [open_desk(venue, f"account-{venue}") for venue in VENUES]
    orders = [desk.seed()[0] for desk in desks]
    for desk in desks:
        desk.adapter.sync_clock()
        desk.fault(**HANGS["timeout before acting"].of(desk.venue), **at(CALLS[desk.venue].cancel))

    def fail(desk: Desk, order: Order) -> VenueError:
        with pytest.raises(VenueError) as caught:
            calls_of(desk, order)["cancel"]()
        return caught.value

    with ThreadPoolExecutor(len(desks)) as threads:
        errors = list(threads.map(fail, desks, orders))

    assert [type(error) for error in errors] == [OutcomeUnknown] * len(VENUES)
    assert all("no answer (ReadTimeout)" in str(error) for error in errors)


@every_venue
def test_listing_fails_as_a_whole_when_one_of_its_calls_does(
    open_desk: Callable[..., Desk], adapter: str
) -> None:
    desk = open_desk(adapter)
    desk.seed(3)

    for call in CALLS[adapter].full:
        desk.fault("cut_after", count=1, **at(call))
        with pytest.raises(OutcomeUnknown):
            desk.listed(None)

    assert len(desk.listed(None)) == 3


@every_venue
def test_listing_fails_as_a_whole_when_the_limit_ends_in_its_midst(
    open_desk: Callable[..., Desk], adapter: str
) -> None:
    desk = open_desk(adapter)
    desk.seed(120)
    desk.adapter.sync_clock()
    before = desk.budget.spends
    desk.listed(None)
    spends = desk.budget.spends - before

    for allowed in range(spends):
        desk.budget.left = allowed
        with pytest.raises(BudgetSpent):
            desk.listed(None)

    desk.budget.left = None
    assert len(desk.listed(None)) == 120


@every_venue
def test_used_weight_is_passed_on(open_desk: Callable[..., Desk], adapter: str) -> None:
    desk = open_desk(adapter)
    order = desk.seed()[0]

    calls_of(desk, order)["query"]()

    limit = desk.adapter.listing_limit()
    if limit.per == "key":  # CoinSwitch tells nothing of what is used
        assert desk.budget.observed == []
    else:
        assert {pool for pool, _ in desk.budget.observed} == {limit.pool}
        assert desk.budget.observed[-1][1] > 0


@every_venue
def test_errors_name_the_call_and_no_secret(
    open_desk: Callable[..., Desk], adapter: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = open_desk(adapter)
    order = desk.seed()[0]
    caplog.set_level("DEBUG")
    method, path = CALLS[adapter].query
    texts = []
    for bad in BAD_DAYS.values():
        desk.fault(**bad.of(adapter), **at(CALLS[adapter].query))
        with pytest.raises(VenueError) as caught:
            calls_of(desk, order)["query"]()
        assert str(caught.value).startswith(f"{method} {path}: ")
        texts += [str(caught.value), caught.value.text, repr(caught.value)]
        desk.simulator.clear_faults()

    everything = "\n".join([*texts, caplog.text])
    for secret in (desk.keys["secret"], desk.keys["api_key"], "signature="):
        assert secret not in everything


def test_words_of_a_venue_are_one_printable_line() -> None:
    error = VenueError("GET /order: HTTP 500\n<b>\0oops</b>", code="-1\0", text="  \0oops\r\n\ttwice ")

    assert (str(error), error.code, error.text) == ("GET /order: HTTP 500 <b> oops</b>", "-1", "oops twice")
