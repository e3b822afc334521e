"""The judge of a chaos run, on made-up logs: every kind of failure is found, and nothing else."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.judge import (
    READ_TIMEOUT_US,
    Clear,
    Evidence,
    PanicRow,
    Press,
    Verdict,
    judge,
    untrue_countdowns,
)
from tests.factories import VENUES
from tests.venue_calls import CALLS

Json = dict[str, Any]
NONE = Verdict([], [], [], [])
DAY_MS = 24 * 3_600_000
#: Everything here happens in the 10 s after this, in µs.
T = 1_795_000_000_000_000


def ms(value: float) -> int:
    """So many ms after the beginning."""
    return T + round(value * 1000)


def call(method: str, path: str, at_ms: float, until_ms: float | None = None, **fields: Any) -> Json:
    """A request that arrived and was answered then, in a ms unless said otherwise."""
    return {
        "account": "alpha",
        "method": method,
        "path": path,
        "params": {},
        "status": 200,
        "arrived_us": ms(at_ms),
        "answered_us": ms(at_ms + 1 if until_ms is None else until_ms),
        "faults": [],
        **fields,
    }


def reading(venue: str, at_ms: float) -> list[Json]:
    """A full reading of the account, each listing 10 ms after the one before it."""
    if venue == "coinswitch":
        return walk(at_ms)
    return [call(*wanted, at_ms + 10 * place) for place, wanted in enumerate(CALLS[venue].full)]


def walk(at_ms: float, windows: int = 4, **asked: Any) -> list[Json]:
    """A CoinSwitch listing back through so many windows of 7 days."""
    now_ms = ms(at_ms) // 1000 + 60_000
    bodies: list[Json] = [{}] + [
        {"to_time": now_ms - 7 * DAY_MS * n, "from_time": now_ms - 7 * DAY_MS * (n + 1)}
        for n in range(1, windows)
    ]
    listing = CALLS["coinswitch"].listing
    return [
        call(*listing, at_ms + 10 * place, params={"body": json.dumps(body | asked)})
        for place, body in enumerate(bodies)
    ]


def order(book: str, opened_ms: float, ended_ms: float | None = None, **fields: Any) -> Json:
    return {
        "account": "alpha",
        "book": book,
        "symbol": "BTCUSDT",
        "order_id": "7",
        "open": ended_ms is None,
        "opened_us": ms(opened_ms),
        "ended_us": 0 if ended_ms is None else ms(ended_ms),
        **fields,
    }


def clear(venue: str = "binance-usdm") -> Clear:
    """Pressed at 0, cancelled until 100 ms, read from 200 ms on, read empty at 1 s."""
    return Clear(1, "alpha", venue, begun_us=ms(0), read_us=ms(1000), said_us=ms(1010))


def cancel(venue: str = "binance-usdm", at_ms: float = 90, **fields: Any) -> Json:
    return call(*CALLS[venue].cancel, at_ms, at_ms + 10, **fields)


def false_clears(log: list[Json], orders: list[Json], one: Clear | None = None, **more: Any) -> list[str]:
    evidence = Evidence(orders=orders, log=log, clears=[one or clear()], **more)
    verdict = judge(evidence)
    assert replace(verdict, false_clears=[]) == NONE
    return verdict.false_clears


BOOKS = [
    ("binance-usdm", "algo"),
    ("binance-usdm", "ordinary"),
    ("binance-options", "ordinary"),
    ("binance-portfolio", "um_conditional"),
    ("binance-portfolio", "cm_conditional"),
    ("binance-portfolio", "um"),
    ("binance-portfolio", "cm"),
    ("binance-portfolio", "margin"),
    ("coinswitch", "ordinary"),
]

# ---- false clears ----


@pytest.mark.parametrize("venue", VENUES)
def test_clear_that_was_read_after_its_cancels_is_none_false(venue: str) -> None:
    book = BOOKS[[name for name, _ in BOOKS].index(venue)][1]
    orders = [order(book, -500, 95), order(book, 1005, None)]  # cancelled in time; placed after the reading

    found = false_clears([cancel(venue), *reading(venue, 200)], orders, clear(venue))

    assert found == []


@pytest.mark.parametrize(("venue", "book"), BOOKS)
def test_order_that_stood_open_all_through_the_reading_makes_a_clear_false(venue: str, book: str) -> None:
    stood = order(book, -500, None)
    went_later = order(book, -500, 1100)

    log = [cancel(venue), *reading(venue, 200)]

    for one in (stood, went_later):
        (why,) = false_clears(log, [one], clear(venue))
        assert why.endswith("1 orders stood open all through its reading (BTCUSDT 7)")


def test_order_of_another_account_makes_no_clear_false() -> None:
    log = [cancel(), *reading("binance-usdm", 200)]

    assert false_clears(log, [order("ordinary", -500, account="beta")]) == []


def test_order_that_went_while_it_was_listed_makes_no_clear_false() -> None:
    conditional, ordinary = CALLS["binance-usdm"].full
    log = [cancel(), call(*conditional, 200), call(*ordinary, 210, 400)]

    assert false_clears(log, [order("ordinary", -500, 300)]) == []
    assert len(false_clears(log, [order("ordinary", -500, 401)])) == 1


@pytest.mark.parametrize("venue", VENUES)
def test_clear_without_a_reading_of_every_family_is_false(venue: str) -> None:
    whole = [cancel(venue), *reading(venue, 200)]

    for left_out in range(1, len(whole)):
        log = whole[:left_out] + whole[left_out + 1 :]
        (why,) = false_clears(log, [], clear(venue))
        assert why.endswith("no full reading of every family began after the last cancel was over")


@pytest.mark.parametrize(
    "spoiled",
    [
        {"status": 503},
        {"status": 0},
        {"faults": [{"id": 1, "kind": "garbage"}]},
        {"faults": [{"id": 1, "kind": "truncated"}]},
        {"faults": [{"id": 1, "kind": "cached"}]},
        {"params": {"symbol": "BTCUSDT"}},
        {"answered_us": ms(210) + READ_TIMEOUT_US},
        {"answered_us": ms(1001)},
    ],
    ids=[
        "refused",
        "cut",
        "garbage",
        "truncated",
        "cached",
        "one symbol only",
        "too slow to be heard",
        "too late",
    ],
)
def test_listing_that_tells_nothing_proves_no_clear(spoiled: Json) -> None:
    conditional, ordinary = reading("binance-usdm", 200)

    assert len(false_clears([cancel(), conditional, ordinary | spoiled], [])) == 1


def test_listing_that_only_suffered_proves_a_clear() -> None:
    conditional, ordinary = reading("binance-usdm", 200)
    late = ordinary | {"answered_us": ms(900), "faults": [{"id": 1, "kind": "hang"}]}

    assert false_clears([cancel(), conditional, late], []) == []


def test_families_read_in_the_wrong_order_prove_no_clear() -> None:
    """What triggers in between moves from the book that is read later to the one that was read before."""
    conditional, ordinary = CALLS["binance-usdm"].full

    assert len(false_clears([cancel(), call(*ordinary, 200), call(*conditional, 210)], [])) == 1


@pytest.mark.parametrize("at_ms", [205, 300], ids=["during the reading", "after the reading"])
def test_clear_that_was_read_before_its_last_cancel_is_false(at_ms: float) -> None:
    log = [*reading("binance-usdm", 200), cancel(at_ms=at_ms)]

    assert len(false_clears(sorted(log, key=lambda one: one["arrived_us"]), [])) == 1


def test_clear_that_was_read_while_its_cancel_was_under_way_is_false() -> None:
    slow = cancel(answered_us=ms(500))

    assert len(false_clears([slow, *reading("binance-usdm", 200)], [])) == 1
    assert false_clears([slow, *reading("binance-usdm", 600)], []) == []


def test_cancel_of_a_worker_that_lost_the_sweep_holds_nobody_up() -> None:
    slow = cancel(answered_us=ms(500))
    log = [slow, *reading("binance-usdm", 200)]

    assert false_clears(log, [], given_up_us={"alpha": [ms(150)]}) == []
    assert len(false_clears(log, [], given_up_us={"alpha": [ms(50), ms(300)]})) == 1


def test_cancel_that_is_never_answered_is_waited_for_as_long_as_the_product_does() -> None:
    hanging = cancel(answered_us=0, status=0)
    late = Clear(1, "alpha", "binance-usdm", begun_us=ms(0), read_us=ms(9000), said_us=ms(9010))

    assert len(false_clears([hanging, *reading("binance-usdm", 3000)], [], late)) == 1
    assert false_clears([hanging, *reading("binance-usdm", 6000)], [], late) == []


def test_clear_after_a_clear_needs_a_reading_of_its_own() -> None:
    again = replace(clear(), begun_us=ms(500))

    assert len(false_clears([cancel(), *reading("binance-usdm", 200)], [], again)) == 1


def test_coinswitch_reading_that_does_not_reach_back_proves_no_clear() -> None:
    one = clear("coinswitch")

    assert len(false_clears([cancel("coinswitch"), *walk(200, windows=3)], [], one)) == 1
    assert len(false_clears([cancel("coinswitch"), *walk(200, symbol="BTCUSDT")], [], one)) == 1


# ---- lost presses ----

OVER = PanicRow(presses=1, states={"alpha": "clear", "beta": "released"})
PRESSED = Press(1, ("alpha", "beta"), panic=5)


def lost(presses: list[Press], panics: dict[int, PanicRow]) -> list[str]:
    verdict = judge(Evidence(orders=[], log=[], presses=presses, panics=panics))
    assert replace(verdict, lost_presses=[]) == NONE
    return verdict.lost_presses


def test_press_whose_sweeps_are_over_is_not_lost() -> None:
    assert lost([PRESSED], {5: OVER}) == []


def test_press_that_was_answered_and_is_not_in_the_database_is_lost() -> None:
    assert lost([PRESSED], {}) == ["press 1 was answered, and panic 5 does not hold it"]


def test_press_that_joined_a_panic_which_knows_nothing_of_it_is_lost() -> None:
    joined = replace(PRESSED, number=2)

    assert lost([PRESSED, joined], {5: OVER}) == ["press 2 was answered, and panic 5 does not hold it"]
    assert lost([PRESSED, joined], {5: replace(OVER, presses=2)}) == []


def test_press_with_a_sweep_that_is_not_over_is_lost() -> None:
    running = replace(OVER, states={"alpha": "not_clear", "beta": "clear"})

    assert lost([PRESSED], {5: running}) == ["press 1, panic 5: alpha not over"]


def test_press_with_an_account_that_was_never_swept_is_lost() -> None:
    narrow = replace(OVER, states={"alpha": "clear"})

    assert lost([PRESSED], {5: narrow}) == ["press 1, panic 5: beta not over"]


def test_press_that_was_taken_over_is_lost_where_the_other_is_not_over() -> None:
    taken = replace(OVER, states={"alpha": "handed_over", "beta": "clear"}, handed_over_to={"alpha": 6})

    assert lost([PRESSED], {5: taken, 6: OVER}) == []
    assert lost([PRESSED], {5: taken, 6: replace(OVER, states={"alpha": "failed"})}) == [
        "press 1, panic 5: alpha not over"
    ]


def test_press_that_was_refused_is_not_lost() -> None:
    assert lost([Press(1, ("alpha",), refused="OperationalError: database is locked")], {}) == []


def test_press_that_had_no_answer_is_lost() -> None:
    assert lost([Press(1, ("alpha",))], {5: OVER}) == ["press 1 had no answer"]


# ---- what a latched account must not have ----


def test_open_order_of_a_latched_account_is_left() -> None:
    orders = [order("ordinary", 100), order("ordinary", 100, 200), order("ordinary", 100, account="beta")]
    latched = {"alpha": [(ms(0), None)], "beta": [(ms(0), ms(50))]}

    verdict = judge(Evidence(orders=orders, log=[], latched=latched))

    assert verdict == replace(NONE, orders_left=["alpha: ordinary BTCUSDT 7"])


@pytest.mark.parametrize(
    "path",
    ["/fapi/v1/countdownCancelAll", "/eapi/v1/countdownCancelAll", "/eapi/v1/countdownCancelAllHeartBeat"],
)
def test_heartbeat_of_a_latched_account_is_found(path: str) -> None:
    log = [call("POST", path, at_ms) for at_ms in (90, 150, 350)] + [call("GET", path, 150)]
    latched = {"alpha": [(ms(100), ms(200)), (ms(300), None)], "beta": [(ms(0), None)]}

    verdict = judge(Evidence(orders=[], log=log, latched=latched))

    expected = [f"alpha: {path} at {at}" for at in ("11:06:40.150000", "11:06:40.350000")]
    assert verdict == replace(NONE, heartbeats_after_latch=expected)


@pytest.mark.parametrize(
    ("harmless", "params"),
    [
        ("refused", {"status": 400}),
        ("the second net", {"params": {"countdownTime": "5000", "timestamp": ms(150) // 1000}}),
        ("under way", {"params": {"countdownTime": "20000", "timestamp": ms(99) // 1000}}),
    ],
)
def test_what_keeps_nothing_alive_after_the_latch_is_none(harmless: str, params: Json) -> None:
    log = [call("POST", "/fapi/v1/countdownCancelAll", 150, **params)]

    verdict = judge(Evidence(orders=[], log=log, latched={"alpha": [(ms(100), None)]}))

    assert verdict == NONE, harmless


@pytest.mark.parametrize(
    ("said", "runs", "untrue"),
    [
        ("armed", True, False),
        ("armed", False, True),
        ("disarmed", True, True),
        ("disarmed", False, False),
        ("fired", True, True),
        ("withheld", True, False),  # nothing is claimed of it: it runs out, or has
        ("withheld", False, False),
    ],
)
def test_countdown_must_be_at_its_venue_what_it_is_called(said: str, runs: bool, untrue: bool) -> None:
    here = ("alpha", "BTCUSDT")
    beside = ("alpha", "ETHUSDT")

    evidence = Evidence([], [], countdowns={here: said}, running={here, beside} if runs else {beside})

    does = "runs" if runs else "does not run"
    expected = [f"alpha BTCUSDT is {said}, and {does} at its venue"] if untrue else []
    assert list(untrue_countdowns(evidence)) == expected


def test_heartbeat_that_arrives_long_after_the_latch_is_found_whenever_it_was_decided() -> None:
    params = {"countdownTime": "20000", "timestamp": ms(99) // 1000}
    log = [call("POST", "/fapi/v1/countdownCancelAll", 1200, params=params)]

    verdict = judge(Evidence(orders=[], log=log, latched={"alpha": [(ms(100), None)]}))

    assert len(verdict.heartbeats_after_latch) == 1
