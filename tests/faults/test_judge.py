"""The judge itself: a sweep that held is let off, and each kind of wrong is called by its name."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from panicboard import credentials
from panicboard.models import Account, Reading
from tests.factories import make_desk, make_venue
from tests.faults.judge import Record, objections
from tests.sweep_stage import leaks, nothing_may_leak

SECOND_US = 1_000_000
PRESSED_US = 1_800_000_000 * SECOND_US
KEY = ("ordinary", "BTCUSDT", "7")


def call(at_s: float, method: str, path: str, **fields: Any) -> dict[str, Any]:
    """A request of the simulator's log, so long after the press; answered a tenth of a second later."""
    arrived_us = PRESSED_US + round(at_s * SECOND_US)
    answered_us = arrived_us + SECOND_US // 10
    told = {"method": method, "path": path, "params": {}, "status": 200, "faults": []}
    return {**told, "arrived_us": arrived_us, "answered_us": answered_us, **fields}


def order(closed_s: float | None, **fields: Any) -> dict[str, Any]:
    """An order of the simulator's book, placed a minute before the press."""
    updated_ms = PRESSED_US // 1000 + round((closed_s or 0) * 1000)
    told = {"order_id": "7", "open": closed_s is None, "created_ms": PRESSED_US // 1000 - 60_000}
    return {**told, "updated_ms": updated_ms, **fields}


CANCEL_CALL = ("DELETE", "/fapi/v1/allOpenOrders")
CANCEL = call(1, *CANCEL_CALL)
LISTING = ("GET", "/fapi/v1/openOrders")
KNOWN = call(1.5, *LISTING, params={"symbol": "BTCUSDT"})
ALGO, ORDINARY = call(2, "GET", "/fapi/v1/openAlgoOrders"), call(3, *LISTING)
HELD = Record(
    adapter="binance-usdm",
    state="clear",
    last_word="NO OPEN ORDERS",
    latched_us=PRESSED_US,
    cleared_us=(PRESSED_US + 4 * SECOND_US,),
    rows={KEY: "cancelled"},
    truth={KEY: "cancelled"},
    book=[order(closed_s=1)],
    log=[CANCEL, KNOWN, ALGO, ORDINARY],
)


def test_sweep_that_held_is_let_off() -> None:
    assert objections(HELD) == []


def of_symbol(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "params": {"symbol": "BTCUSDT"}}


def struck(one: dict[str, Any], kind: str) -> dict[str, Any]:
    return {**one, "faults": [{"id": 1, "kind": kind}]}


def answered(at_s: float) -> dict[str, Any]:
    return {"answered_us": PRESSED_US + round(at_s * SECOND_US)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": "failed", "last_word": "no answer"}, "it is failed, not clear: no answer"),
        ({"cleared_us": ()}, "it is clear, not clear: NO OPEN ORDERS"),
        ({"book": [order(closed_s=None)]}, "still open at the venue: 7"),
        ({"rows": {KEY: "unknown"}}, "its rows are {"),
        ({"rows": {}}, "its rows are {}"),
        ({"besides": {("ordinary", "BTCUSDT", "8"): "unknown"}}, "its rows are {"),
        ({"book": [order(closed_s=4.5)]}, "while order 7 was open"),
        ({"log": [CANCEL, KNOWN, ORDINARY, call(3.5, "GET", ALGO["path"])]}, "listed after ordinary ones"),
        (
            {"log": [struck({**CANCEL, **answered(2.5)}, "hang"), *HELD.log[1:]]},
            "openAlgoOrders') not listed",
        ),
        ({"log": [CANCEL, ALGO, ORDINARY]}, "by one reading, begun at"),
        ({"log": [of_symbol(call(0.5, *LISTING)), CANCEL, ALGO, ORDINARY]}, "by one reading, begun at"),
        ({"log": [CANCEL, {**KNOWN, "status": 503}, ALGO, ORDINARY]}, "by one reading, begun at"),
        ({"log": [CANCEL, struck(KNOWN, "cached"), ALGO, ORDINARY]}, "by one reading, begun at"),
        ({"log": [CANCEL, ORDINARY]}, "'/fapi/v1/openAlgoOrders') not listed after the cancel"),
        ({"log": [CANCEL, ALGO, of_symbol(ORDINARY)]}, "'/fapi/v1/openOrders') not listed after"),
        ({"log": [CANCEL, ALGO, {**ORDINARY, "status": 503}]}, "'/fapi/v1/openOrders') not listed after"),
        ({"log": [CANCEL, ALGO, {**ORDINARY, "answered_us": 0}]}, "'/fapi/v1/openOrders') not listed after"),
        ({"log": [CANCEL, ALGO, struck(ORDINARY, "garbage")]}, "'/fapi/v1/openOrders') not listed after"),
        ({"log": [CANCEL, ALGO, struck(ORDINARY, "cached")]}, "'/fapi/v1/openOrders') not listed after"),
        ({"log": [ALGO, CANCEL, ORDINARY, call(2.05, *CANCEL_CALL)]}, "openAlgoOrders') not listed after"),
        ({"log": [CANCEL, ALGO, call(5, *LISTING)]}, "openOrders') not listed after"),
        ({"log": [*HELD.log, call(9, "POST", "/fapi/v1/countdownCancelAll")]}, "POST /fapi/v1/countdownC"),
        ({"log": [*HELD.log, call(9, "POST", "/eapi/v1/countdownCancelAllHeartBeat")]}, "HeartBeat at"),
    ],
)
def test_wrong_is_called_by_its_name(changes: dict[str, Any], said: str) -> None:
    found = objections(replace(HELD, **changes))

    assert any(said in one for one in found), found


@pytest.mark.parametrize(
    "harmless",
    [
        {"log": [call(-1, "POST", "/fapi/v1/countdownCancelAll"), *HELD.log]},  # before the press
        {"log": [*HELD.log, call(9, "GET", "/eapi/v1/countdownCancelAll")]},  # a reading
        {
            "log": [
                struck(call(0.5, *CANCEL_CALL, status=0, answered_us=PRESSED_US * 2), "hang"),
                *HELD.log,
            ]
        },
        {"log": [CANCEL, KNOWN, struck(ALGO, "cut_after"), call(2.5, "GET", ALGO["path"]), ORDINARY]},
        {"log": [CANCEL, *(call(at_s, "GET", one["path"]) for at_s in (2, 3) for one in (ALGO, ORDINARY))]},
        {"book": [order(closed_s=1), order(closed_s=9, created_ms=PRESSED_US // 1000 + 3500)]},  # came later
    ],
)
def test_harmless_is_let_off(harmless: dict[str, Any]) -> None:
    assert objections(replace(HELD, **harmless)) == []


PATH = "/trade/api/v2/futures/orders/open"


def page(at_s: float, days_back: int | None, **fields: Any) -> dict[str, Any]:
    """One page of CoinSwitch's listing: the newest, or one that begins so many days back."""
    from_ms = PRESSED_US // 1000 - (days_back or 0) * 86_400_000
    body = "{}" if days_back is None else f'{{"from_time": {from_ms}, "to_time": {from_ms + 1}}}'
    return call(at_s, "POST", PATH, params={"body": body}, **fields)


def coinswitch(*pages: dict[str, Any]) -> Record:
    known = call(1.5, "POST", PATH, params={"body": '{"symbol": "BTCUSDT"}'})
    log = [call(1, "POST", "/trade/api/v2/futures/cancel_all"), known, *pages]
    return replace(HELD, adapter="coinswitch", log=log)


PAGES = [page(2, None), page(2.2, 14), page(2.4, 21), page(2.6, 28)]


def test_coinswitch_is_listed_when_every_page_is() -> None:
    assert objections(coinswitch(*PAGES)) == []


@pytest.mark.parametrize(
    "pages",
    [PAGES[:3], [*PAGES[:2], {**PAGES[2], "status": 503}, PAGES[3]], PAGES[1:], []],
    ids=["the last is missing", "one failed", "the first is missing", "none"],
)
def test_coinswitch_is_not_listed_by_a_part_of_its_pages(pages: list[dict[str, Any]]) -> None:
    (found,) = objections(coinswitch(*pages))

    assert f"{PATH!r}) not listed after the cancel" in found


def make_alpha() -> Account:
    account = Account(desk=make_desk(), venue=make_venue("http://127.0.0.1:9"), name="alpha")
    credentials.seal(account, api_key="k" * 64, secret="s" * 64)
    account.save()
    return account


@pytest.mark.django_db
def test_secret_in_any_output_is_found_and_not_repeated() -> None:
    account = make_alpha()
    signed = f"GET /order?symbol=BTCUSDT&signature={'ab' * 32}"

    assert leaks(["nothing to see", "ksksks"]) == []
    assert leaks(["as is: " + "s" * 64, "key=" + "k" * 64]) == ["the key of alpha", "the secret of alpha"]
    assert leaks([signed]) == ["a signature"]
    Reading.objects.create(account=account, due_at=timezone.now(), failure="bad key " + "k" * 64)
    assert leaks([]) == ["the key of alpha"]


def log_it() -> None:
    logging.getLogger("panicboard.venues").debug("signed with %s", "s" * 64)


def log_its_traceback() -> None:
    try:
        raise ValueError("s" * 64)
    except ValueError:
        logging.getLogger("panicboard").exception("it failed")


@pytest.mark.parametrize("tell", [log_it, log_its_traceback])
@pytest.mark.django_db
def test_secret_in_a_log_record_is_found_when_the_test_ends(tell: Callable[[], None]) -> None:
    make_alpha()

    with pytest.raises(AssertionError, match="it got out: the secret of alpha"), nothing_may_leak():
        tell()
