"""What can befall the orders themselves while they are swept: no sweep says clear before they are gone.

The venue acknowledges each cancel of an order that refuses to go as if it were done. Only its lists tell.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from panicboard import readings
from panicboard.models import Account, Panic, Reading, Sweep
from tests.factories import BOOKS
from tests.faults.bad_days import CALL_FAULTS
from tests.faults.judge import Row, struck_by
from tests.faults.matrix import cells, label
from tests.faults.scene import HEALTHY, Scene
from tests.sweep_stage import Events, Outcome, Stage, State
from tests.venue_calls import CALLS, CONDITIONAL, FAMILIES, at, family_of
from tests.waiting import until

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage", "tests.faults.scene"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

DAY_MS = 24 * 3600 * 1000
#: An order id of the right form that no order has.
NOBODYS_ID = dict.fromkeys(CALLS, "999") | {"coinswitch": "01936be4-2571-7a3f-97fa-a29a2b85d717"}
#: Another symbol than the usual one.
ELSEWHERE = dict.fromkeys(CALLS, "ETHUSDT") | {"binance-options": "ETH-261225-3000-C"}
REFUSES, UNKNOWN_STATUS, UNKNOWN_ORDER = "order that refuses to go", "unknown status", "unknown order"
FILL, NEW_ORDER = "fill in mid-sweep", "new order in mid-sweep"
TRIGGERS, SECOND_PAGE = "conditional order triggers in mid-sweep", "second page of a listing fails"


def key_of(order: dict[str, Any]) -> Row:
    return family_of(order), order["symbol"], order["order_id"]


def ids(orders: list[dict[str, Any]]) -> list[str]:
    return [order["order_id"] for order in orders]


def empty_account(scene: Scene, adapter: str) -> Account:
    """An account without orders, and a healthy one beside it."""
    scene.healthy(adapter)
    return scene.stage.account(adapter)


def account_with(
    scene: Scene, adapter: str, count: int = 1, **fields: Any
) -> tuple[Account, list[dict[str, Any]]]:
    """An account that holds just these orders and was read, and a healthy one beside it."""
    account = empty_account(scene, adapter)
    orders = [order for _ in range(count) for order in scene.stage.seed(account, **fields)]
    scene.stage.read(account)
    return account, orders


def press(scene: Scene) -> Sweep:
    return scene.press()["alpha"]


def try_in_vain(scene: Scene, sweep: Sweep, state: State, deliveries: int) -> Sweep:
    """However often it is tried, it stays in this state and is not clear."""
    for _ in range(deliveries):
        sweep = scene.deliver(sweep)
        assert (sweep.state, sweep.clear_at, sweep.full_empty_at) == (state, None, None)
        scene.stage.minute_passes()
    return sweep


def end(scene: Scene, sweep: Sweep, besides: dict[Row, str] | None = None) -> Sweep:
    """The fault is over: the sweep ends clear. The healthy account does as if there had been none."""
    scene.stage.minute_passes()
    scene.assert_healthy_undisturbed()
    scene.simulator.clear_faults()
    scene.stage.minute_passes()
    return scene.assert_held(sweep, besides)


def of_families(fault: str) -> list[Any]:
    """`cells`, once for every family in which orders stand at the venue: adapter, and how to seed them."""
    return [
        pytest.param(adapter, fields, id=f"{label(fault, adapter)}-{name}")
        for name, (adapter, fields) in FAMILIES.items()
    ]


# Orders that refuse to go.


@pytest.mark.parametrize(("adapter", "fields"), of_families(REFUSES))
def test_sweep_is_never_clear_while_one_order_stays(
    scene: Scene, adapter: str, fields: dict[str, Any]
) -> None:
    account, (stays, *_) = account_with(scene, adapter, 2, **fields)
    scene.simulator.fault("refuse_cancel", account=account.name, order_id=stays["order_id"])
    sweep = press(scene)

    for _ in range(6):
        sweep = try_in_vain(scene, sweep, State.NOT_CLEAR, 1)
        assert " still listed" in sweep.last_word
        assert scene.stage.rows(sweep)[key_of(stays)] == Outcome.STILL_OPEN
    left = ids(scene.simulator.book(account.name))
    end(scene, sweep)

    assert left == [stays["order_id"]]


@pytest.mark.parametrize("scope", [Panic.Scope.SYMBOL, Panic.Scope.ORDERS])
@pytest.mark.parametrize(("adapter", "fields"), of_families(REFUSES))
def test_sweep_of_a_part_is_never_clear_while_one_order_stays(
    stage: Stage, adapter: str, fields: dict[str, Any], scope: Panic.Scope
) -> None:
    account = stage.account(adapter)
    stays, _ = stage.seed(account, **fields)[0], stage.seed(account, **fields)
    stage.read(account)
    stage.simulator.fault("refuse_cancel", account=account.name, order_id=stays["order_id"])
    named = {
        "family": family_of(stays),
        "symbol": stays["symbol"],
        "venue_order_id": stays["order_id"],
        "client_order_id": stays["client_order_id"],
    }
    part = {"symbol": stays["symbol"]} if scope == Panic.Scope.SYMBOL else {"order_refs": (named,)}
    sweep = stage.press(account, kind=scope, **part)

    for _ in range(4):
        sweep = stage.work(sweep)
        assert (sweep.state, sweep.clear_at) == (State.NOT_CLEAR, None)
        stage.minute_passes()
    row = sweep.orders.get(venue_order_id=stays["order_id"])
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)

    assert row.outcome == Outcome.STILL_OPEN
    assert sweep.state == State.CLEAR, sweep.last_word
    assert stays["order_id"] not in ids(stage.simulator.book(account.name))
    row.refresh_from_db()
    assert row.outcome == Outcome.CANCELLED


# A status that nobody knows.


@pytest.mark.parametrize(("adapter", "fault"), cells(UNKNOWN_STATUS))
def test_sweep_is_never_clear_while_a_status_is_not_known(scene: Scene, adapter: str, fault: str) -> None:
    account, (order,) = account_with(scene, adapter)
    struck = {"account": account.name, "order_id": order["order_id"]}
    scene.simulator.fault("refuse_cancel", **struck)
    scene.simulator.fault("unknown_status", status="PENDING_REVIEW", **struck)
    sweep = press(scene)

    sweep = try_in_vain(scene, sweep, State.FAILED, 3)
    end(scene, sweep)

    assert sweep.last_word == "order status 'PENDING_REVIEW' is not known"


@pytest.mark.parametrize(("adapter", "fault"), cells(UNKNOWN_STATUS))
def test_outcome_is_not_guessed_from_a_status_that_is_not_known(
    scene: Scene, adapter: str, fault: str
) -> None:
    account, (order,) = account_with(scene, adapter)
    scene.simulator.fault("unknown_status", account=account.name, status="PENDING_REVIEW")
    sweep = press(scene)

    states = []
    for _ in range(3):
        sweep = scene.deliver(sweep)
        states.append(sweep.state)
        scene.stage.minute_passes()
    rows = scene.stage.rows(sweep)
    end(scene, sweep)

    assert states == [State.FAILED] * 3
    assert rows == {key_of(order): Outcome.UNKNOWN}


# An order that the venue does not know.


def know_of_nobodys(account: Account) -> Row:
    """Let the last reading of this account tell of an order that no order of the venue is."""
    other = Reading.objects.get(account__name=HEALTHY)
    told = next(one for one in other.orders if one["family"] not in dict(CONDITIONAL.values()).values())
    nobodys = {**told, "venue_order_id": NOBODYS_ID[account.venue.adapter], "client_order_id": ""}
    now = timezone.now()
    readings.keep(account, [readings.from_record(nobodys)], now)
    return nobodys["family"], nobodys["symbol"], nobodys["venue_order_id"]


@pytest.mark.parametrize(("adapter", "fault"), cells(UNKNOWN_ORDER))
def test_order_that_the_venue_does_not_know_stays_unknown_and_holds_nothing_up(
    scene: Scene, adapter: str, fault: str
) -> None:
    account = empty_account(scene, adapter)
    order = scene.stage.seed(account)[0]
    nobodys = know_of_nobodys(account)

    sweep = end(scene, press(scene), {nobodys: Outcome.UNKNOWN})

    rows = {row.venue_order_id: (row.outcome, row.vanished, row.note) for row in sweep.orders.all()}
    assert rows == {
        order["order_id"]: (Outcome.CANCELLED, False, ""),
        nobodys[2]: (Outcome.UNKNOWN, True, "on no list of the venue, which does not know it any more"),
    }


@pytest.mark.parametrize(("adapter", "fault"), cells(UNKNOWN_ORDER))
def test_chosen_order_that_the_venue_does_not_know_leaves_the_others_alone(
    stage: Stage, adapter: str, fault: str
) -> None:
    account = stage.account(adapter)
    left = stage.seed(account)
    chosen = {
        "family": family_of(left[0]),
        "symbol": BOOKS[adapter][1],
        "venue_order_id": NOBODYS_ID[adapter],
        "client_order_id": "",
    }

    sweep = stage.work_until_over(stage.press(account, kind=Panic.Scope.ORDERS, order_refs=(chosen,)))

    assert sweep.state == State.CLEAR, sweep.last_word
    assert list(sweep.orders.values_list("venue_order_id", "outcome", "vanished")) == []
    assert ids(stage.simulator.book(account.name)) == ids(left)


@pytest.mark.parametrize(("adapter", "fault"), cells(UNKNOWN_ORDER))
def test_order_that_the_venue_learns_of_later_is_swept_like_any_other(
    scene: Scene, events: Events, adapter: str, fault: str
) -> None:
    account = empty_account(scene, adapter)
    nobodys = know_of_nobodys(account)
    # The venue was asked for it, knew nothing, and takes it the moment after.
    events.after(CALLS[adapter].query, lambda: scene.stage.seed(account, order_id=nobodys[2]))
    sweep = press(scene)

    found = scene.deliver(sweep)
    sweep = end(scene, found)

    assert events.left == 0
    assert (found.state, found.clear_at) == (State.NOT_CLEAR, None)
    assert [(row.outcome, row.vanished) for row in sweep.orders.all()] == [(Outcome.CANCELLED, False)]


# Fills.


@pytest.mark.parametrize(("adapter", "fault"), cells(FILL))
def test_order_that_fills_at_its_cancel_is_told_as_filled(scene: Scene, adapter: str, fault: str) -> None:
    account, (filled, _) = account_with(scene, adapter, 2)
    scene.simulator.fault("fill_during", account=account.name, order_id=filled["order_id"])

    sweep = end(scene, scene.deliver(press(scene)))

    row = sweep.orders.get(venue_order_id=filled["order_id"])
    assert (row.outcome, row.filled, row.note) == (Outcome.FILLED, row.quantity, "filled before the cancel")


@pytest.mark.parametrize("call", ["listing", "query"])
@pytest.mark.parametrize(("adapter", "fault"), cells(FILL))
def test_order_that_fills_after_its_cancel_is_told_as_filled(
    scene: Scene, events: Events, adapter: str, fault: str, call: str
) -> None:
    account, (filled, _) = account_with(scene, adapter, 2)
    chosen = {"account": account.name, "order_id": filled["order_id"]}
    refusal = scene.simulator.fault("refuse_cancel", **chosen)

    def fill() -> None:
        scene.simulator.control("POST", "fill", chosen)
        scene.simulator.control("DELETE", "faults", None, id=refusal)

    events.before(getattr(CALLS[adapter], call), fill)
    sweep = press(scene)

    sweep = end(scene, scene.deliver(sweep))

    assert events.left == 0
    assert sweep.orders.get(venue_order_id=filled["order_id"]).outcome == Outcome.FILLED


@pytest.mark.parametrize(("adapter", "fault"), cells(FILL))
def test_order_filled_in_part_and_then_cancelled_says_so(scene: Scene, adapter: str, fault: str) -> None:
    account, (order,) = account_with(scene, adapter, quantity="4")
    sweep = press(scene)
    part = {"account": account.name, "order_id": order["order_id"], "quantity": "1"}
    scene.simulator.control("POST", "fill", part)

    sweep = end(scene, scene.deliver(sweep))

    row = sweep.orders.get()
    assert (row.outcome, row.filled, row.note) == (Outcome.CANCELLED, 1, "partly filled, the rest cancelled")


@pytest.mark.parametrize("adapter", ["binance-portfolio"])
def test_leg_that_fills_during_the_sweep_ends_its_list(scene: Scene, adapter: str) -> None:
    account, (leg,) = account_with(scene, adapter, book="margin", type="OCO")
    scene.simulator.fault("fill_during", account=account.name, order_id=leg["order_id"])

    sweep = end(scene, scene.deliver(press(scene)))

    assert sorted(scene.stage.rows(sweep).values()) == [Outcome.EXPIRED, Outcome.FILLED]


# New orders.


@pytest.mark.parametrize(("adapter", "fault"), cells(NEW_ORDER))
def test_order_placed_after_the_press_is_swept_and_noted(scene: Scene, adapter: str, fault: str) -> None:
    account, (before,) = account_with(scene, adapter)
    sweep = press(scene)
    after = scene.stage.seed(account)[0]

    sweep = end(scene, scene.deliver(sweep))

    notes = dict(sweep.orders.values_list("venue_order_id", "note"))
    assert notes == {before["order_id"]: "", after["order_id"]: "placed after the press"}


@pytest.mark.parametrize(("adapter", "fault"), cells(NEW_ORDER))
def test_order_placed_between_the_two_readings_is_cancelled_too(
    scene: Scene, events: Events, adapter: str, fault: str
) -> None:
    account, _ = account_with(scene, adapter)
    late: list[dict[str, Any]] = []
    events.after(
        CALLS[adapter].listing, lambda: late.extend(scene.stage.seed(account, symbol=ELSEWHERE[adapter]))
    )
    sweep = press(scene)

    found = scene.deliver(sweep)
    sweep = end(scene, found)

    assert (found.state, found.known_empty_at, found.clear_at) == (State.NOT_CLEAR, None, None)
    assert sweep.orders.get(venue_order_id=late[0]["order_id"]).note == "placed after the press"


@pytest.mark.parametrize(("adapter", "fault"), cells(NEW_ORDER))
def test_sweep_is_not_clear_while_a_bot_goes_on_quoting(scene: Scene, adapter: str, fault: str) -> None:
    account, _ = account_with(scene, adapter)
    # A quote every 10 ms, and a line that takes 40 ms: there is one between any cancel and any reading.
    scene.simulator.control("POST", "latency", {"fixed_ms": 40})
    bot = scene.simulator.fault("requote", account=account.name, symbol=BOOKS[adapter][1], ms=10)
    sweep = press(scene)

    states = set()
    for _ in range(3):
        sweep = scene.deliver(sweep)
        states.add(sweep.state)
        scene.stage.minute_passes()
    scene.simulator.control("DELETE", "faults", None, id=bot)
    scene.simulator.control("POST", "latency", {"fixed_ms": 0})
    sweep = end(scene, sweep)

    assert states == {State.NOT_CLEAR}
    after = sweep.orders.filter(placed_at__gt=sweep.panic.pressed_at)  # the bot's first quote may be earlier
    assert after.count() > 3
    assert set(after.values_list("note", flat=True)) == {"placed after the press"}


# Conditional orders that trigger.


@pytest.mark.parametrize("adapter", CONDITIONAL)
def test_conditional_order_that_is_triggering_is_followed_to_its_end(scene: Scene, adapter: str) -> None:
    account, (order,) = account_with(scene, adapter, book=CONDITIONAL[adapter][0])
    held = {"account": account.name, "order_id": order["order_id"], "hold_ms": 60_000}
    scene.simulator.control("POST", "trigger", held)
    sweep = press(scene)

    sweep = try_in_vain(scene, sweep, State.NOT_CLEAR, 3)
    scene.simulator.control("POST", "trigger", held | {"hold_ms": 0})
    sweep = end(scene, sweep)

    assert sorted(scene.stage.rows(sweep).values()) == [Outcome.CANCELLED, Outcome.EXPIRED]


#: Between which of its requests the order moves from the conditional book to the ordinary one.
MOMENTS = {
    "before its cancel": ("before", "conditional cancel"),
    "after the ordinary cancel": ("after", "ordinary cancel"),
    "before the conditional reading": ("before", "conditional listing"),
    "between the readings": ("after", "conditional listing"),
    "after the known readings": ("after", "ordinary listing"),
}
_TRIGGER_CALLS = {
    adapter: {
        "conditional cancel": cancel,
        "ordinary cancel": CALLS[adapter].cancel,
        "conditional listing": listing,
        "ordinary listing": CALLS[adapter].listing,
    }
    for adapter, cancel, listing in (
        ("binance-usdm", ("DELETE", "/fapi/v1/algoOpenOrders"), ("GET", "/fapi/v1/openAlgoOrders")),
        (
            "binance-portfolio",
            ("DELETE", "/papi/v1/um/algo/allOpenOrders"),
            ("GET", "/papi/v1/um/algo/openAlgoOrders"),
        ),
        ("coinswitch", CALLS["coinswitch"].cancel, CALLS["coinswitch"].listing),  # one book for all
    )
}


def triggers_at_last(scene: Scene, account: Account, order: dict[str, Any]) -> Callable[[], None]:
    """Let an order refuse to go; else no moment after its cancel would find it. Gives what triggers it."""
    chosen = {"account": account.name, "order_id": order["order_id"]}
    refusal = scene.simulator.fault("refuse_cancel", **chosen)

    def trigger() -> None:
        scene.simulator.control("POST", "trigger", chosen)
        scene.simulator.control("DELETE", "faults", None, id=refusal)

    return trigger


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("adapter", "fault"), cells(TRIGGERS))
def test_conditional_order_that_triggers_is_followed_to_its_end(
    scene: Scene, events: Events, adapter: str, fault: str, moment: str
) -> None:
    # CoinSwitch has one book: an order that triggers there is executed.
    fields = {"book": CONDITIONAL[adapter][0]} if adapter in CONDITIONAL else {"type": "STOP_MARKET"}
    account, (order,) = account_with(scene, adapter, **fields)
    when, call = MOMENTS[moment]
    getattr(events, when)(_TRIGGER_CALLS[adapter][call], triggers_at_last(scene, account, order))
    sweep = press(scene)

    sweep = scene.deliver(sweep)
    sweep = end(scene, sweep)

    assert events.left == 0
    became = [o for o in scene.simulator.book(account.name, only_open=False) if o["book"] != order["book"]]
    of_the_order = Outcome.EXPIRED if became else Outcome.FILLED
    assert {key[2]: outcome for key, outcome in scene.stage.rows(sweep).items()} == {
        order["order_id"]: of_the_order,
        **dict.fromkeys(ids(became), Outcome.CANCELLED),
    }
    assert len(became) == (adapter in CONDITIONAL)


@pytest.mark.parametrize("adapter", CONDITIONAL)
def test_nothing_is_read_before_the_slowest_cancel_was_answered(scene: Scene, adapter: str) -> None:
    account = scene.account(adapter)
    slow = at(_TRIGGER_CALLS[adapter]["conditional cancel"])
    scene.simulator.fault("hang", account=account.name, **slow, count=1, seconds=0.5, done="first")

    sweep = scene.deliver(press(scene))

    # The judge is not to be asked before the answer is on the log.
    until(lambda: all(call["answered_us"] for call in scene.simulator.log(account.name)), "every answer")
    assert sweep.round == 1
    scene.assert_held(sweep)


@pytest.mark.parametrize("adapter", CONDITIONAL)
def test_conditional_order_that_comes_and_triggers_during_the_last_reading_is_swept(
    scene: Scene, events: Events, adapter: str
) -> None:
    """It stands in the conditional book when the reading begins, and in the ordinary one when it ends."""
    account, _ = account_with(scene, adapter)
    came: list[dict[str, Any]] = []

    def come() -> None:
        came.extend(scene.stage.seed_conditional(account))

    def trigger() -> None:
        chosen = {"account": account.name, "order_id": came[0]["order_id"]}
        scene.simulator.control("POST", "trigger", chosen)

    steps = iter((come, trigger))
    for call in ("conditional listing", "ordinary listing"):  # whichever is read first
        events.before(_TRIGGER_CALLS[adapter][call], lambda: next(steps)(), nth=2)
    sweep = press(scene)

    found = scene.deliver(sweep)
    end(scene, found)

    assert events.left == 0
    assert (found.state, found.clear_at) == (State.NOT_CLEAR, None)


# Pages.


@pytest.mark.parametrize("how", ["503 unknown", "garbage", "truncated JSON", "429", "408 after acting"])
@pytest.mark.parametrize(("adapter", "fault"), cells(SECOND_PAGE))
def test_listing_of_which_a_later_page_fails_proves_nothing(
    scene: Scene, events: Events, adapter: str, fault: str, how: str
) -> None:
    """The first page is empty, and the order stands on the second: a CLEAR by the first would be false."""
    account = empty_account(scene, adapter)
    old_ms = round(timezone.now().timestamp() * 1000) - 8 * DAY_MS
    events.after(CALLS[adapter].cancel, lambda: scene.stage.seed(account, created_ms=old_ms))
    sweep, bad = press(scene), CALL_FAULTS[how]

    with scene.struck(account, bad, {**at(CALLS[adapter].listing), "skip": 1}):
        sweep = scene.deliver(sweep)
        pages = [struck_by(call) for call in scene.simulator.log(account.name)][-2:]
    stood = ids(scene.simulator.book(account.name))
    sweep = end(scene, sweep)

    assert pages == [set(), {bad.kind}]
    assert (events.left, len(stood)) == (0, 1)
    assert sweep.orders.get().outcome == Outcome.CANCELLED


@pytest.mark.parametrize("how", ["503 unknown", "truncated JSON"])
@pytest.mark.parametrize(("adapter", "fault"), cells(SECOND_PAGE))
def test_full_first_page_whose_second_fails_is_no_listing(
    scene: Scene, adapter: str, fault: str, how: str
) -> None:
    account, _ = account_with(scene, adapter, count=55)
    scene.simulator.fault("refuse_cancel", account=account.name)
    sweep, bad = press(scene), CALL_FAULTS[how]

    with scene.struck(account, bad, {**at(CALLS[adapter].listing), "skip": 1}):
        sweep = try_in_vain(scene, sweep, State.FAILED, 1)
        assert bad.words(adapter) in sweep.last_word
    end(scene, sweep)
