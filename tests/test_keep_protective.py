"""A press that keeps protective orders: what stays, what goes, and that nothing is called clear too soon."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from panicboard import (
    board_state,
    countdowns,
    heartbeat_jobs,
    heartbeat_results,
    heartbeats,
    panic_state,
    panics,
    record,
    tasks,
)
from panicboard.break_glass import journal_import
from panicboard.break_glass.press import GlassScope
from panicboard.models import Account, Countdown, Panic, Sweep
from panicboard.panics import Scope
from panicboard.venues import VENUES
from panicboard.venues.binance_orders import can_only_reduce
from tests.glass import as_exported, exported, pressed
from tests.pages import make_user
from tests.sweep_stage import Outcome, Stage, State
from tests.venue_calls import CALLS, CONDITIONAL, COUNTDOWNS

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("broker", "plain_static_files"),
]

#: Who can tell conditional orders apart, and how such an order says that it can only reduce a position.
STOP = {"type": "STOP_MARKET", "side": "SELL", "reduce_only": True}


def ids(orders: list[dict[str, Any]]) -> set[str]:
    return {order["order_id"] for order in orders}


def left(stage: Stage, account: Account) -> set[str]:
    """What is open at the venue, by its own book."""
    return ids(stage.simulator.book(account.name))


def press(stage: Stage, account: Account, **scope: Any) -> Sweep:
    return stage.press(account, keep_protective=True, **scope)


@pytest.mark.parametrize("known", [True, False], ids=["known", "not read yet"])
@pytest.mark.parametrize("adapter", VENUES)
def test_protective_orders_stay_and_all_others_are_cancelled(stage: Stage, adapter: str, known: bool) -> None:
    account = stage.account(adapter)
    protective = stage.seed(account, 2, reduce_only=True)
    others = stage.seed(account, 3)
    if adapter in CONDITIONAL:
        protective += stage.seed_conditional(account, **STOP)
        others += stage.seed_conditional(account, side="BUY", type="STOP_MARKET", reduce_only=False)
    if known:
        stage.read(account)

    sweep = stage.work_until_over(press(stage, account))

    assert sweep.state == State.CLEAR, sweep.last_word
    assert left(stage, account) == ids(protective)
    assert {row.venue_order_id: row.outcome for row in sweep.orders.all()} == dict.fromkeys(
        ids(others), Outcome.CANCELLED
    )
    assert (sweep.kept, sweep.label) == (len(protective), "CLEAR BUT KEPT")
    assert sweep.last_word.startswith(f"NO OPEN ORDERS BUT {len(protective)} PROTECTIVE, KEPT - read back ")
    asked = {(call["method"], call["path"]) for call in stage.simulator.log(account.name)}
    assert CALLS[adapter].cancel not in asked


def test_nothing_but_protective_orders_is_left_where_there_are_none(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)
    stage.read(account)

    sweep = stage.work_until_over(press(stage, account))

    stage.assert_proven(sweep)
    assert (sweep.label, sweep.kept) == ("CLEAR", 0)
    assert sweep.last_word.startswith("NO OPEN ORDERS - read back ")


def test_orders_that_the_venue_does_not_tell_apart_are_cancelled_and_the_page_says_so(stage: Stage) -> None:
    account = stage.account("binance-portfolio")
    kept = stage.seed(account, reduce_only=True)
    stage.seed(account, book="margin")
    stage.read(account)

    sweep = stage.work_until_over(press(stage, account))
    facts = panic_state.read(sweep.panic_id, sweep.panic.pressed_at).facts

    assert sweep.state == State.CLEAR, sweep.last_word
    assert left(stage, account) == ids(kept)
    assert (facts.kept, facts.untold) == (1, (f"{account.venue.name} margin",))


@pytest.mark.parametrize(
    "kind", ["cut_before", "cut_after", "done_then_503a", "not_done_503b", "garbage", "truncated"]
)
@pytest.mark.parametrize("adapter", VENUES)
def test_whatever_becomes_of_a_cancel_all_others_go_and_what_is_kept_stays(
    stage: Stage, adapter: str, kind: str
) -> None:
    account = stage.account(adapter)
    kept, others = stage.seed(account, reduce_only=True), stage.seed(account, 2)
    stage.read(account)
    stage.simulator.fault(kind, method="DELETE", path="*rder*", count=2)

    sweep = stage.work_until_over(press(stage, account), deliveries=12)

    assert sweep.state == State.CLEAR, sweep.last_word
    assert left(stage, account) == ids(kept)
    assert set(sweep.orders.values_list("venue_order_id", "outcome")) == {
        (one, Outcome.CANCELLED) for one in ids(others)
    }


def test_order_that_does_not_go_keeps_it_from_being_clear(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account, reduce_only=True)
    (stubborn,) = stage.seed(account)
    stage.read(account)
    stage.simulator.fault("refuse_cancel", order_id=stubborn["order_id"])

    sweep = stage.work(press(stage, account))

    assert sweep.state == State.NOT_CLEAR
    assert len(left(stage, account)) == 2


@pytest.mark.parametrize("adapter", VENUES)
def test_the_latch_spares_them_and_sweeps_what_else_appears(stage: Stage, adapter: str) -> None:
    account = stage.account(adapter)
    kept = stage.seed(account, reduce_only=True)
    stage.read(account)
    sweep = stage.work_until_over(press(stage, account))
    kept += stage.seed(account, reduce_only=True)
    stage.minute_passes()
    tasks.watch_sweep(sweep.pk)
    quiet = Sweep.objects.get(pk=sweep.pk)
    stage.seed(account)
    stage.minute_passes()

    tasks.watch_sweep(sweep.pk)
    stage.minute_passes()
    again = stage.work_until_over(Sweep.objects.get(pk=sweep.pk))

    assert (quiet.state, quiet.reopened) == (State.CLEAR, 0)
    assert (again.state, again.reopened, again.kept) == (State.CLEAR, 1, 2), again.last_word
    assert left(stage, account) == ids(kept)


def test_the_board_does_not_call_kept_orders_placed_since(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account, 2, reduce_only=True)
    stage.work_until_over(press(stage, account))
    stage.read(account)

    (row,) = board_state.read(account.reading.read_at or account.latched_at).desks[0].rows

    assert row.latch is not None
    assert (row.latch.placed_since, row.latch.nothing_open) == (False, "NONE OPEN BUT 2 KEPT")


# ---- two presses ----


def test_press_that_keeps_some_joins_one_that_keeps_none(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    running = stage.press(account)

    joined = panics.start(
        Scope(Panic.Scope.ACCOUNT, account=account, keep_protective=True),
        pressed_by=None,
        pressed_by_name="ann",
        via=Panic.Via.SHELL,
    )

    assert (joined.joined, joined.panic) == (True, running.panic)


def test_press_that_keeps_none_takes_over_one_that_keeps_some(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account, reduce_only=True)
    stage.seed(account)
    first = stage.work_until_over(press(stage, account))

    sweep = stage.work_until_over(stage.press(account))

    assert (first.label, sweep.panic_id == first.panic_id) == ("CLEAR BUT KEPT", False)
    assert (sweep.label, sweep.orders.get().protective, left(stage, account)) == ("CLEAR", True, set())


def test_press_that_keeps_some_loosens_no_latch(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    stage.work_until_over(stage.press(account))
    stage.seed(account, reduce_only=True)

    sweep = stage.work_until_over(press(stage, account))
    facts = panic_state.read(sweep.panic_id, sweep.panic.pressed_at).facts

    stage.assert_proven(sweep)
    assert (sweep.panic.keep_protective, sweep.keep_protective) == (True, False)
    assert (facts.kept, facts.strict) == (0, ("alpha",))


def test_chosen_orders_are_cancelled_whatever_they_are(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    (order,) = stage.seed(account, reduce_only=True)
    ref = {
        "family": "ordinary",
        "symbol": order["symbol"],
        "venue_order_id": order["order_id"],
        "client_order_id": "",
    }

    sweep = stage.work_until_over(press(stage, account, kind=Panic.Scope.ORDERS, order_refs=(ref,)))

    assert (sweep.state, sweep.kept, left(stage, account)) == (State.CLEAR, 0, set())


# ---- countdowns ----


def armed(account: Account, scope: str) -> Countdown:
    (one,) = countdowns.arm(account, [scope], by="ann")
    return one


def send(one: Countdown) -> None:
    """Make the calls that are due of a countdown, and write down what came of them."""
    for job in heartbeat_jobs.claim([one.pk]):
        heartbeats._run(job)
        heartbeat_results.write([heartbeat_results._results.get(timeout=5)])


@pytest.mark.parametrize(("adapter", "scope"), [("binance-usdm", "BTCUSDT"), ("binance-options", "BTCUSDT")])
def test_countdown_that_would_take_them_is_taken_away(stage: Stage, adapter: str, scope: str) -> None:
    account = stage.account(adapter)
    kept = stage.seed(account, reduce_only=True)
    one = armed(account, scope)
    send(one)
    assert Countdown.objects.get().phase == Countdown.Phase.ARMED

    sweep = press(stage, account)
    send(one)
    one.refresh_from_db()

    assert (one.phase, one.withheld_by) == (Countdown.Phase.DISARMED, sweep.panic)
    assert f"panic {sweep.panic_id} keeps protective orders" in one.last_word
    log = [call for call in stage.simulator.log(account.name) if call["path"] in COUNTDOWNS[adapter]]
    assert log[-1]["params"]["countdownTime"] == "0"
    assert left(stage, account) == ids(kept)
    assert list(countdowns.to_rearm(account)) == [one]


def test_countdown_is_a_second_net_again_once_nothing_is_kept(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    one = armed(account, "BTCUSDT")
    send(one)
    press(stage, account)

    stage.press(account)
    one.refresh_from_db()

    assert one.phase == Countdown.Phase.WITHHELD


# ---- what says that an order can only reduce ----


@pytest.mark.parametrize(
    ("item", "reduces"),
    [
        ({"reduceOnly": True}, True),
        ({"closePosition": True}, True),
        ({"positionSide": "LONG", "side": "SELL"}, True),
        ({"positionSide": "SHORT", "side": "BUY"}, True),
        ({"positionSide": "LONG", "side": "BUY"}, False),
        ({"positionSide": "SHORT", "side": "SELL"}, False),
        ({"positionSide": "BOTH", "side": "SELL", "reduceOnly": False, "closePosition": False}, False),
        ({"type": "STOP_MARKET", "side": "SELL", "positionSide": "BOTH"}, False),
        ({}, False),
    ],
)
def test_what_says_that_an_order_can_only_reduce(item: dict[str, Any], reduces: bool) -> None:
    assert can_only_reduce(item) is reduces


# ---- the doors ----


def test_it_is_pressed_from_a_page(stage: Stage, client: Client) -> None:
    account = stage.account("binance-usdm")
    client.force_login(make_user())

    sent = client.post(
        "/panics/", {"scope": "account", "account": account.pk, "keep": "protective", "held_ms": "650"}
    )

    panic = Panic.objects.get()
    assert sent.headers["Location"] == panic.get_absolute_url()
    assert (panic.keep_protective, panic.scope_label) == (True, "account alpha but protective orders")
    assert panic.sweeps.get().keep_protective


def test_two_steps_carry_it(stage: Stage, client: Client) -> None:
    stage.account("binance-usdm")
    client.force_login(make_user())

    asked = client.get("/panics/two-steps/?scope=all&keep=protective").content.decode()
    armed_page = client.post("/panics/two-steps/", {"scope": "all", "keep": "protective"}).content.decode()

    assert "everything but protective orders" in asked
    assert '<input type="hidden" name="keep" value="protective">' in armed_page


def test_a_choice_that_does_not_exist_is_refused_in_words(stage: Stage, client: Client) -> None:
    stage.account("binance-usdm")
    client.force_login(make_user())

    sent = client.post("/panics/", {"scope": "all", "keep": "some", "held_ms": "1100"})

    assert sent.status_code == 422
    assert "keep" in sent.content.decode()
    assert not Panic.objects.exists()


def test_joining_one_that_keeps_none_says_so(stage: Stage, client: Client) -> None:
    account = stage.account("binance-usdm")
    running = stage.press(account)
    client.force_login(make_user())

    page = client.post(
        "/panics/",
        {"scope": "account", "account": account.pk, "keep": "protective", "held_ms": "650"},
        follow=True,
    ).content.decode()

    assert f"Joined panic {running.panic_id}" in page
    assert "It keeps no protective orders" in page


def test_it_is_pressed_from_a_shell_and_the_result_says_what_is_kept(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account, 2, reduce_only=True)

    with pytest.raises(SystemExit):  # nobody works on it within no time
        call_command("panic", all=True, keep_protective=True, wait=True, timeout=0, json=True)
    stage.work_until_over(Sweep.objects.get())
    capsys.readouterr()
    call_command("panic", account="alpha", keep_protective=True)
    second = Panic.objects.latest("pk")
    stage.work_until_over(second.sweeps.get())
    kept = record.of(second)

    assert "account alpha but protective orders" in capsys.readouterr().out
    assert (kept["keep_protective"], kept["sweeps"][0]["protective_orders_kept"]) == (True, 2)
    assert panic_state.read(second.pk, second.pressed_at).facts.shell.endswith(
        "--account alpha --keep-protective"
    )


@pytest.mark.parametrize("adapter", VENUES)
def test_it_is_pressed_with_broken_glass_and_imported(
    stage: Stage, adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panicboard.break_glass.journal.directory", lambda: tmp_path)
    stage.simulator.control("POST", "switches", {"coinswitch_cancel_delay_ms": 0})
    account = stage.account(adapter)
    kept = stage.seed(account, reduce_only=True)
    stage.seed(account, 2)

    glass = pressed(exported(as_exported(account)), scope=GlassScope(Panic.Scope.ALL, keep_protective=True))
    report = glass.report()
    journal_import.import_waiting()
    panic = Panic.objects.get()
    sweep = panic.sweeps.get()

    assert (report["clear"], report["kept"], report["scope"]) == (
        True,
        1,
        "everything but protective orders",
    )
    assert left(stage, account) == ids(kept)
    assert (panic.keep_protective, sweep.label, sweep.kept) == (True, "CLEAR BUT KEPT", 1)
    assert json.dumps(report)


def test_older_latch_that_keeps_none_is_not_loosened_by_an_import(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panicboard.break_glass.journal.directory", lambda: tmp_path)
    account = stage.account("binance-usdm")
    stage.work_until_over(stage.press(account))
    stage.seed(account, reduce_only=True)
    pressed(exported(as_exported(account)), scope=GlassScope(Panic.Scope.ALL, keep_protective=True))

    journal_import.import_waiting()
    sweep = Panic.objects.latest("pk").sweeps.get()

    assert sweep.state not in Sweep.OVER
    assert not sweep.keep_protective
    stage.assert_proven(stage.work_until_over(sweep))
