"""Sweeps over lists that are mangled on their way here: none is clear while the venue's book holds orders.

What is mangled are the simulator's own answers, between its process and the adapters. No mangled list is
one that plainly says "nothing is open": who believes such a list twice in a row can only be right or
deceived. That one such list is not enough is a test of its own.
"""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panicboard.models import Account, Sweep
from panicboard.venues import http
from tests.factories import VENUES
from tests.properties.mangling import Wrong, mangle, written, wrongs
from tests.sweep_stage import Outcome, Stage, State
from tests.venue_calls import CALLS, CONDITIONAL

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
every_venue = pytest.mark.parametrize("adapter", VENUES)

#: Fields that name an order: what is changed here makes orders that never were, and none can be looked up.
NAMES = ("orderId", "algoId", "strategyId", "order_id", "orderListId", "symbol")
LISTINGS = {path for calls in CALLS.values() for _, path in calls.full}
Change = Callable[[requests.Response], None]
_numbers = itertools.count(1)


class Line:
    """The line between the venues and us: changes successful answers, each by the next change planned."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._listings: Iterator[Change] = iter(())
        self._at: dict[str, Iterator[Change]] = {}
        self._lock = threading.Lock()
        direct = http._adapter_of("")
        send = direct.send

        def sending(request: requests.PreparedRequest, **options: Any) -> requests.Response:
            response = send(request, **options)
            path = (request.path_url or "").partition("?")[0]
            planned = self._listings if path in LISTINGS else self._at.get(path, iter(()))
            with self._lock:
                change = next(planned, None) if response.status_code == 200 else None
            if change is not None:
                change(response)
            return response

        monkeypatch.setattr(direct, "send", sending)

    def change(self, *changes: Change, path: str | None = None) -> None:
        """Change the next answers to listings, or at this path, by these, one each; with none, no more."""
        if path is None:
            self._listings = iter(changes)
        else:
            self._at[path] = iter(changes)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(monkeypatch)


def say(response: requests.Response, body: str, status: int = 200) -> None:
    response._content, response.status_code = body.encode("utf-8", "surrogatepass"), status


def says_nothing_is_open(document: Any) -> bool:
    if isinstance(document, dict) and isinstance(document.get("data"), dict):
        document = document["data"].get("orders")
    return document == []


def spoil(wrong: list[Wrong]) -> Change:
    """Mangle the answer; where that would make it an empty list, make it no list."""

    def change(response: requests.Response) -> None:
        document = json.loads(response.content)
        spoilt = mangle(document, wrong, keep=NAMES)
        hides = says_nothing_is_open(spoilt) and not says_nothing_is_open(document)
        say(response, written({} if hides else spoilt))

    return change


def refuse(status: int, code: object, text: str) -> Change:
    """Answer with a refusal instead."""
    body = json.dumps({"code": code, "msg": text, "message": text})
    return lambda response: say(response, body, status)


def hide(response: requests.Response) -> None:
    """Answer with an empty list: a plain lie."""
    coinswitch = "/trade/" in str(response.request.path_url)
    say(response, json.dumps({"data": {"orders": [], "cursor": 0}} if coinswitch else []))


REFUSALS = [
    refuse(400, -1121, "Invalid symbol."),
    refuse(200, -2013, "Order does not exist."),
    refuse(422, -1102, "Input symbol is missing"),
    refuse(400, "", "Order not found"),
    refuse(200, 200, "done"),
]
changes = st.lists(st.one_of(st.builds(spoil, wrongs()), st.sampled_from(REFUSALS)), min_size=1, max_size=8)


def seed(stage: Stage, account: Account) -> None:
    stage.seed(account)
    if account.venue.adapter in CONDITIONAL:
        stage.seed_conditional(account)


def account_that_keeps_its_orders(stage: Stage, adapter: str, *, known: bool = True) -> Account:
    """An account whose orders stay, whatever is said to their cancels; half of them, or none, are known."""
    stage.simulator.clear_faults()
    stage.minute_passes()
    account = stage.account(adapter, f"alpha-{next(_numbers)}")
    if known:
        seed(stage, account)
    stage.read(account)
    seed(stage, account)
    stage.simulator.fault("refuse_cancel", account=account.name)
    return account


def work(stage: Stage, sweep: Sweep, times: int = 1) -> Sweep:
    """Deliver the sweep's task, without any limit in the way. It must not be clear: orders are open."""
    for _ in range(times):
        stage.minute_passes()
        sweep = stage.work(sweep)
        assert stage.simulator.book(sweep.account.name) != []
        assert sweep.state != State.CLEAR, sweep.last_word
        assert (sweep.full_empty_at, sweep.clear_at) == (None, None)
    return sweep


@every_venue
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planned=changes, known=st.booleans())
def test_sweep_is_not_clear_by_mangled_lists(
    stage: Stage, line: Line, adapter: str, planned: list[Change], known: bool
) -> None:
    account = account_that_keeps_its_orders(stage, adapter, known=known)
    sweep = stage.press(account)
    line.change(*planned)

    sweep = work(stage, sweep, times=2)

    line.change()
    stage.simulator.clear_faults()
    sweep = stage.work_until_over(sweep)
    assert (sweep.state, stage.simulator.book(account.name)) == (State.CLEAR, []), sweep.last_word
    rows, truth = stage.rows(sweep), stage.truth(account)
    assert {key: rows.get(key) for key in truth} == truth


@every_venue
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_sweep_is_not_clear_while_every_list_is_refused(
    stage: Stage, line: Line, adapter: str, number: int, known: bool
) -> None:
    """Whatever the refusal says: that a symbol is wrong, too, where the list was one of every symbol."""
    account = account_that_keeps_its_orders(stage, adapter, known=known)
    sweep = stage.press(account)
    line.change(*[REFUSALS[number]] * 100)

    work(stage, sweep, times=2)


@every_venue
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("at", range(2))
def test_sweep_is_not_clear_by_one_list_that_hides_all(
    stage: Stage, line: Line, adapter: str, at: int, known: bool
) -> None:
    account = account_that_keeps_its_orders(stage, adapter, known=known)
    sweep = stage.press(account)
    line.change(*[lambda response: None] * at, hide)

    work(stage, sweep, times=2)


def test_order_that_was_not_to_be_found_is_followed_again_when_it_is_listed(stage: Stage, line: Line) -> None:
    """A list that hides it and an answer that does not know it agree, and are both wrong."""
    account = stage.account("binance-options")
    stage.seed(account)
    stage.read(account)
    stage.simulator.fault("refuse_cancel", account=account.name)
    sweep = stage.press(account)
    line.change(hide)
    line.change(refuse(400, -2013, "Order does not exist."), path=CALLS["binance-options"].query[1])

    sweep = work(stage, sweep)

    assert list(sweep.orders.values_list("outcome", "vanished")) == [(Outcome.STILL_OPEN, False)]
    stage.simulator.clear_faults()
    stage.assert_proven(stage.work_until_over(sweep))
