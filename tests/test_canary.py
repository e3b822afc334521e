"""The coverage canary: what it places, how it ends, and that it leaves nothing behind however it goes."""

import contextlib
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from panicboard import board_state, canary, canary_steps, dispatch, panics, tasks
from panicboard.models import Account, AuditEntry, CanaryRun, Panic, Reading, Sweep
from panicboard.panics import Scope
from panicboard.readiness import SystemReadiness
from panicboard.venues import VENUES as ADAPTERS
from tests.factories import VENUES, make_account, make_desk, make_venue
from tests.faults.bad_days import BAD_DAYS
from tests.simulator_process import SimulatorProcess
from tests.sweep_stage import Events, Stage
from tests.venue_calls import CALLS, PLACING, at, family_of
from tests.waiting import until

if TYPE_CHECKING:
    from tests.product import Product

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
State = CanaryRun.State

#: A book that the venue moves away, as the simulator calls it, and the family that then escapes.
MOVES = [
    ("binance-usdm", "algo", "conditional"),
    ("binance-usdm", "ordinary", "ordinary"),
    ("binance-options", "ordinary", "ordinary"),
    ("binance-portfolio", "um_conditional", "um_conditional"),
    ("binance-portfolio", "margin", "margin"),
    ("coinswitch", "ordinary", "ordinary"),
]


class Killed(BaseException):
    """Ends a worker at this very line."""


def kill() -> None:
    raise Killed


def marked(stage: Stage, adapter: str = "binance-usdm", name: str = "alpha") -> Account:
    """An account that is marked for the canary, and read."""
    account = stage.account(adapter, name)
    Account.objects.filter(pk=account.pk).update(canary=True)
    account.canary = True
    stage.read(account)
    stage.minute_passes()
    return account


def begin(account: Account) -> CanaryRun:
    account.refresh_from_db()
    return canary.begin(account, by="keeper")


def step(run: CanaryRun) -> CanaryRun:
    """One delivery of the run's task, and what the run says afterwards."""
    tasks.run_canary(run.pk)
    return CanaryRun.objects.select_related("account", "panic").get(pk=run.pk)


def until_over(stage: Stage, run: CanaryRun, steps: int = 20) -> CanaryRun:
    """Deliver the run's task, and that of its panic's sweep, until the run is over. No wait takes time."""
    for _ in range(steps):
        run = step(run)
        if run.state != State.RUNNING:
            return run
        for sweep in Sweep.objects.filter(panic=run.panic_id).exclude(state__in=Sweep.OVER):
            stage.work_until_over(sweep)
        stage.minute_passes()
    raise AssertionError(f"the canary goes on and on: {run.last_word}")


def fates(run: CanaryRun) -> dict[str, tuple[str, bool]]:
    return {one["family"]: (one["fate"], one["listed"]) for one in run.placed}


def order_of(stage: Stage, run: CanaryRun, family: str) -> dict[str, Any]:
    """The order of a family on the simulator's own book."""
    orders = stage.simulator.book(run.account.name, only_open=False)
    (order,) = (order for order in orders if family_of(order) == family)
    return order


def placings(stage: Stage, account: Account, family: str) -> int:
    """How many requests to place an order of this family the venue has received."""
    asked = [(call["method"], call["path"]) for call in stage.simulator.log(account.name)]
    return asked.count(PLACING[account.venue.adapter, family])


def is_latched(account: Account) -> bool:
    return Account.objects.get(pk=account.pk).latched_at is not None


def board_says(account: Account) -> tuple[str, str]:
    """The level and the reason that the board gives for this account."""
    system = SystemReadiness("ready", "", queue_ok=True, workers_seen_at=timezone.now())
    rows = [row for desk in board_state.read(timezone.now(), system).desks for row in desk.rows]
    ready = next(row.readiness for row in rows if row.pk == account.pk)
    return ready.level, ready.reason


# ---- a run that holds ----


@pytest.mark.parametrize("adapter", VENUES)
def test_canary_holds_where_every_family_is_reached(stage: Stage, adapter: str) -> None:
    account = marked(stage, adapter)

    run = until_over(stage, begin(account))

    families = ADAPTERS[adapter].canary_families
    assert (run.state, fates(run)) == (State.HELD, dict.fromkeys(families, ("gone", True))), run.last_word
    book = stage.simulator.book("alpha", only_open=False)
    assert {family_of(order): order["status"] for order in book} == dict.fromkeys(families, "CANCELED")
    assert [placings(stage, account, family) for family in families] == [1] * len(families)
    assert not is_latched(account)
    assert board_says(account) == ("ready", "ready")


def test_canarys_panic_and_release_are_on_record(stage: Stage) -> None:
    account = marked(stage)

    run = until_over(stage, begin(account))

    panic = Panic.objects.get()
    assert run.panic == panic
    assert (panic.pressed_by, panic.pressed_by_name, panic.pressed_via, panic.account) == (
        None,
        "canary",
        Panic.Via.CANARY,
        account,
    )
    assert panic.reason == f"canary run {run.pk}: is every order family still reached?"
    entries = AuditEntry.objects.order_by("pk").values_list("action", "actor_name", "account")
    assert list(entries) == [("pressed", "canary", None), ("released", "canary", account.pk)]
    assert (run.begun_by, run.began_at < run.panicked_at < run.ended_at) == ("keeper", True)
    assert run.last_word == (
        f"conditional, ordinary: swept by panic {panic.pk}, and each order gone by its id"
    )


def test_run_waits_for_its_sweep_without_holding_a_worker(stage: Stage) -> None:
    account = marked(stage)

    waiting = step(begin(account))
    later = step(waiting)

    assert (waiting.state, waiting.panic.pressed_via) == (State.RUNNING, Panic.Via.CANARY)
    assert (waiting.lease_owner, waiting.lease_until) == ("", None)
    assert later.due_at > timezone.now()
    assert (later.state, Panic.objects.count(), later.checks) == (State.RUNNING, 1, 0)


# ---- escapes ----


@pytest.mark.parametrize(("adapter", "book", "family"), MOVES)
def test_family_that_the_venue_has_moved_escapes_and_raises_the_alarm(
    stage: Stage, adapter: str, book: str, family: str
) -> None:
    account = marked(stage, adapter)
    stage.simulator.fault("moved_book", account="alpha", book=book)

    run = until_over(stage, begin(account))

    order = order_of(stage, run, family)
    others = [other for other in ADAPTERS[adapter].canary_families if other != family]
    assert (run.state, order["open"]) == (State.ESCAPED, True)
    assert fates(run) == dict.fromkeys(others, ("gone", True)) | {family: ("escaped", False)}
    assert run.panic.sweeps.get().state == Sweep.State.CLEAR
    label = ADAPTERS[adapter].family(family).label.lower()
    assert run.last_word == (
        f"{label} order {order['order_id']} ({order['symbol']}) still open at "
        f"{ADAPTERS[adapter].label} although panic {run.panic_id} says clear"
    )
    assert is_latched(account)
    assert not AuditEntry.objects.filter(action=AuditEntry.Action.RELEASED).exists()
    assert board_says(account) == ("not_ready", f"canary escaped {run.ended_at:%d %b %H:%M}: {run.last_word}")


def test_alarm_lasts_until_a_later_run_holds(stage: Stage) -> None:
    account = marked(stage)
    stage.simulator.fault("moved_book", account="alpha", book="algo")
    escaped = until_over(stage, begin(account))
    stage.simulator.clear_faults()
    stage.work_until_over(stage.press(account))
    panics.release_accounts(
        Account.objects.all(),
        released_by=None,
        released_by_name="risk.desk1",
        reason="the adapter is mended",
    )
    stage.read(account)
    stage.minute_passes()
    later = begin(account)
    assert board_says(account)[0] == "not_ready"

    held = until_over(stage, later)

    assert (escaped.state, held.state) == (State.ESCAPED, State.HELD)
    assert board_says(account) == ("ready", "ready")


def test_order_that_no_list_shows_proves_nothing_although_the_sweep_reached_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = marked(stage)
    stage.simulator.fault("moved_book", account="alpha", book="algo")
    monkeypatch.setattr(dispatch, "panic", lambda sweep_ids: stage.simulator.clear_faults() or True)

    run = until_over(stage, begin(account))

    assert (run.state, fates(run)["conditional"]) == (State.FAILED, ("gone", False))
    assert run.last_word.endswith(
        "(XRPUSDT) stood, but was seen in no list of open orders: an empty list proves nothing of its family"
    )
    assert not is_latched(account)
    assert board_says(account)[0] == "degraded"


def test_order_whose_lists_could_not_be_read_is_not_said_to_be_in_none(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = marked(stage)
    method, path = CALLS["binance-usdm"].listing
    stage.simulator.fault("garbage", account="alpha", method=method, path=path)
    monkeypatch.setattr(dispatch, "panic", lambda sweep_ids: stage.simulator.clear_faults() or True)

    run = until_over(stage, begin(account))

    assert (run.state, fates(run)["ordinary"]) == (State.FAILED, ("gone", False))
    assert run.last_word.count("stood, but was seen in no list of open orders: they could not be read: ") == 2
    assert not is_latched(account)


# ---- placing ----


@pytest.mark.parametrize(
    "name", ["503 unknown", "408 after acting", "connection cut after acting", "garbage", "truncated JSON"]
)
@pytest.mark.parametrize("adapter", ["binance-usdm", "coinswitch"])
def test_order_whose_placing_was_not_answered_is_looked_up_and_not_placed_again(
    stage: Stage, adapter: str, name: str
) -> None:
    account = marked(stage, adapter)
    family = ADAPTERS[adapter].canary_families[0]
    stage.simulator.fault(
        **BAD_DAYS[name].of(adapter), account="alpha", count=1, **at(PLACING[adapter, family])
    )

    run = until_over(stage, begin(account))

    assert run.state == State.HELD, run.last_word
    assert placings(stage, account, family) == 1
    assert stage.simulator.book("alpha") == []


@pytest.mark.parametrize("name", ["connection cut before acting", "408 before acting"])
def test_order_that_is_not_found_was_perhaps_placed_and_the_panic_comes_all_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(canary_steps, "FIND_WITHIN", timedelta(0))
    account = marked(stage)
    stage.simulator.fault(
        **BAD_DAYS[name].of("binance-usdm"), account="alpha", **at(PLACING["binance-usdm", "conditional"])
    )

    run = until_over(stage, begin(account))

    assert fates(run) == {"conditional": ("not_found", False), "ordinary": ("gone", True)}
    assert (run.state, placings(stage, account, "conditional")) == (State.FAILED, 1)
    assert "sent, and nobody knows whether it was placed" in run.last_word
    assert stage.simulator.book("alpha") == []
    assert not is_latched(account)


def test_order_that_turns_up_after_it_was_looked_for_in_vain_is_asked_for_in_the_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary_steps, "FIND_WITHIN", timedelta(0))
    account = marked(stage)
    method, path = PLACING["binance-usdm", "conditional"]
    stage.simulator.fault("cut_after", account="alpha", method=method, path=path)
    stage.simulator.fault("not_done_503b", account="alpha", method="GET", path=path, count=1)

    run = until_over(stage, begin(account))

    assert (run.state, fates(run)["conditional"]) == (State.FAILED, ("gone", False))
    assert order_of(stage, run, "conditional")["status"] == "CANCELED"


@pytest.mark.parametrize("name", ["503 unavailable", "503 internal", "503 throttled"])
def test_placing_that_surely_was_not_executed_is_tried_again(stage: Stage, name: str) -> None:
    account = marked(stage)
    stage.simulator.fault(
        **BAD_DAYS[name].of("binance-usdm"),
        account="alpha",
        count=1,
        **at(PLACING["binance-usdm", "conditional"]),
    )

    run = until_over(stage, begin(account))

    assert (run.state, placings(stage, account, "conditional")) == (State.HELD, 2)


def test_order_that_the_venue_refuses_is_no_escape_and_the_others_are_swept(stage: Stage) -> None:
    account = marked(stage)
    stage.simulator.fault("refused", account="alpha", **at(PLACING["binance-usdm", "conditional"]))

    run = until_over(stage, begin(account))

    assert (run.state, fates(run)) == (
        State.FAILED,
        {"conditional": ("refused", False), "ordinary": ("gone", True)},
    )
    assert run.last_word == (
        "conditional order not placed: POST /fapi/v1/algoOrder: HTTP 400 -2019 Margin is insufficient."
    )
    assert not is_latched(account)
    assert board_says(account) == ("degraded", f"canary failed {run.ended_at:%d %b %H:%M}: {run.last_word}")


def test_family_whose_placing_call_is_gone_is_said_to_be(stage: Stage) -> None:
    account = marked(stage)
    stage.simulator.fault(
        "refused",
        account="alpha",
        status=400,
        code=-21015,
        text="This endpoint has been removed.",
        **at(PLACING["binance-usdm", "ordinary"]),
    )

    run = until_over(stage, begin(account))

    assert run.state == State.FAILED
    assert "not placed: the venue has removed the call for it: POST /fapi/v1/order: " in run.last_word


def test_where_nothing_was_placed_nothing_is_panicked(stage: Stage) -> None:
    account = marked(stage, "binance-options")
    stage.simulator.fault("refused", account="alpha", **at(PLACING["binance-options", "ordinary"]))

    run = until_over(stage, begin(account))

    assert (run.state, run.panic, Panic.objects.count()) == (State.FAILED, None, 0)
    assert not is_latched(account)


def test_venue_that_does_not_answer_is_tried_until_it_is_too_late(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = marked(stage, "coinswitch")
    stage.simulator.fault("cut_before", account="alpha", path="*/ticker")
    run = step(begin(account))
    why = "GET /trade/api/v2/futures/ticker: no answer (ConnectionError)"
    assert (run.state, run.placed) == (State.RUNNING, [])
    assert run.last_word == f"the futures order is not placed yet: {why}"

    monkeypatch.setattr(canary_steps, "PLACE_WITHIN", timedelta(0))
    run = until_over(stage, run)

    assert (run.state, Panic.objects.count()) == (State.FAILED, 0)
    assert run.last_word == f"futures order not placed: {why}"


def test_account_that_holds_other_orders_is_left_alone(stage: Stage) -> None:
    account = marked(stage)
    stage.seed(account, 2)
    stage.read(account)

    run = until_over(stage, begin(account))

    assert (run.state, run.placed, Panic.objects.count()) == (State.FAILED, [], 0)
    assert run.last_word.startswith("nothing was placed: 2 open orders on the account")
    assert len(stage.simulator.book("alpha")) == 2


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ({"failure": "-2015 key rejected"}, "-2015 key rejected"),
        ({"read_at": None}, "it was not read"),
        (
            {"read_at": datetime(2026, 11, 20, 14, 3, 21, tzinfo=UTC)},
            "it was last read on 20 Nov at 14:03:21",
        ),
    ],
    ids=["failing", "never read", "read long ago"],
)
def test_account_of_which_nobody_knows_what_is_open_is_left_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, known: dict[str, Any], why: str
) -> None:
    account = marked(stage)
    Reading.objects.filter(account=account).update(**known)
    run = step(begin(account))
    assert run.state == State.RUNNING
    assert run.last_word == f"waits for a reading that shows the account empty: {why}"

    monkeypatch.setattr(canary_steps, "PLACE_WITHIN", timedelta(0))
    run = until_over(stage, run)

    assert (run.state, run.placed) == (State.FAILED, [])
    assert run.last_word == f"nothing was placed on an account that cannot be read: {why}"


# ---- a worker that dies ----


def test_run_goes_on_where_a_killed_worker_left_it(stage: Stage, events: Events) -> None:
    account = marked(stage)
    run = begin(account)
    events.after(PLACING["binance-usdm", "conditional"], kill)
    with pytest.raises(Killed):
        step(run)
    (standing,) = stage.simulator.book("alpha")
    (known,) = CanaryRun.objects.get().placed
    assert (known["fate"], known["client_order_id"]) == ("sent", standing["client_order_id"])

    run = until_over(stage, run)

    assert run.state == State.HELD, run.last_word
    assert [placings(stage, account, family) for family in ("conditional", "ordinary")] == [1, 1]
    assert stage.simulator.book("alpha") == []


def test_run_killed_before_its_order_left_places_no_second_one(
    stage: Stage, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = marked(stage)
    run = begin(account)
    events.before(PLACING["binance-usdm", "conditional"], kill)
    with pytest.raises(Killed):
        step(run)
    monkeypatch.setattr(canary_steps, "FIND_WITHIN", timedelta(0))

    run = until_over(stage, run)

    assert (run.state, fates(run)["conditional"]) == (State.FAILED, ("not_found", False))
    assert placings(stage, account, "conditional") == 0


def test_run_killed_while_it_pressed_presses_no_second_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = marked(stage)
    run = begin(account)
    monkeypatch.setattr(dispatch, "panic", lambda sweep_ids: kill())
    with pytest.raises(Killed):
        step(run)
    assert CanaryRun.objects.get().panic is None

    run = until_over(stage, run)

    assert (run.state, run.panic) == (State.HELD, Panic.objects.get())
    assert not is_latched(account)


def test_run_that_a_worker_holds_is_left_to_it_until_its_lease_lapses(stage: Stage) -> None:
    account = marked(stage)
    run = begin(account)
    held_until = timezone.now() + timedelta(minutes=1)
    CanaryRun.objects.update(lease_owner="elsewhere", lease_until=held_until, due_at=timezone.now())

    assert canary.offer_due() == 0
    assert step(run).placed == []

    CanaryRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert canary.offer_due() == 1
    assert len(step(run).placed) == 2


def test_worker_that_lost_its_run_writes_nothing_more(stage: Stage, events: Events) -> None:
    account = marked(stage)
    run = begin(account)
    taken = {"lease_owner": "elsewhere", "lease_until": timezone.now() + timedelta(minutes=1)}
    events.after(
        PLACING["binance-usdm", "conditional"], lambda: CanaryRun.objects.filter(pk=run.pk).update(**taken)
    )

    run = step(run)

    assert (run.lease_owner, fates(run)) == ("elsewhere", {"conditional": ("sent", False)})
    assert placings(stage, account, "ordinary") == 0


def test_bug_in_a_step_is_said_and_the_run_goes_on(stage: Stage, events: Events) -> None:
    account = marked(stage)
    run = begin(account)

    def fail() -> None:
        raise RuntimeError("a bug")

    events.before(("GET", "/fapi/v1/exchangeInfo"), fail)
    with pytest.raises(RuntimeError, match="a bug"):
        step(run)

    assert CanaryRun.objects.get().last_word == "panicboard failed (RuntimeError); see the log; trying again"
    assert until_over(stage, run).state == State.HELD


@pytest.mark.parametrize("unusable", [True, False], ids=["credentials", "a bug"])
def test_run_that_gets_nowhere_is_given_up(stage: Stage, events: Events, unusable: bool) -> None:
    account = marked(stage)
    run = begin(account)

    def fail() -> None:
        raise RuntimeError("a bug")

    if unusable:
        Account.objects.update(sealed_credentials="")
    else:
        events.before(("GET", "/fapi/v1/exchangeInfo"), fail, nth=1)
        events.before(("GET", "/fapi/v1/exchangeInfo"), fail, nth=2)
    for began_at, state in (
        (timezone.now(), State.RUNNING),
        (timezone.now() - timedelta(minutes=61), State.FAILED),
    ):
        CanaryRun.objects.update(began_at=began_at)
        with contextlib.suppress(RuntimeError):
            step(run)
        assert CanaryRun.objects.get().state == state
    word = CanaryRun.objects.get().last_word
    assert word == (
        "given up: alpha has no credentials: enter its key and secret in the admin"
        if unusable
        else "panicboard failed (RuntimeError); see the log"
    )


# ---- the panic ----


def test_panic_that_does_not_become_clear_raises_the_alarm(stage: Stage, settings: Settings) -> None:
    account = marked(stage)
    run = step(begin(account))
    order = order_of(stage, run, "conditional")
    stage.simulator.fault("refuse_cancel", account="alpha", order_id=order["order_id"])
    sweep = stage.work(run.panic.sweeps.get())
    settings.CANARY_CLEAR_WITHIN_S = 0

    run = step(run)

    assert run.state == State.FAILED
    assert run.last_word == f"panic {run.panic_id} is not clear after 0 s: {sweep.last_word}"
    assert is_latched(account)
    assert board_says(account)[0] == "degraded"


def test_order_that_was_executed_is_no_success(stage: Stage, events: Events) -> None:
    account = marked(stage)
    events.after(
        CALLS["binance-usdm"].listing,
        lambda: stage.simulator.control("POST", "fill", {"account": "alpha", "book": "ordinary"}),
    )

    run = until_over(stage, begin(account))

    assert (run.state, fates(run)["ordinary"]) == (State.FAILED, ("filled", True))
    assert run.last_word.endswith("(XRPUSDT) was executed: a position may stand")
    assert not is_latched(account)


def test_order_that_triggered_is_followed_to_what_it_became(stage: Stage, events: Events) -> None:
    account = marked(stage)
    events.after(
        CALLS["binance-usdm"].listing,
        lambda: stage.simulator.control("POST", "trigger", {"account": "alpha", "book": "algo"}),
    )

    run = until_over(stage, begin(account))

    # What it became was cancelled by the sweep as well.
    assert (run.state, fates(run)["conditional"]) == (State.HELD, ("gone", True))
    assert stage.simulator.book("alpha") == []


def test_latch_of_a_persons_panic_is_never_released(stage: Stage) -> None:
    account = marked(stage)
    run = begin(account)
    sweep = stage.press(account)

    run = step(run)
    assert run.panic == sweep.panic
    run = until_over(stage, run)

    assert run.state == State.FAILED
    assert run.last_word.startswith(f"panic {sweep.panic_id} was not the canary's alone: NO OPEN ORDERS")
    assert {fate for fate, _ in fates(run).values()} == {"gone"}
    assert (Panic.objects.count(), stage.simulator.book("alpha")) == (1, [])
    assert is_latched(account)


def test_orders_are_left_to_the_latch_of_a_panic_that_was_clear_already(stage: Stage) -> None:
    account = marked(stage)
    run = begin(account)
    sweep = stage.work_until_over(stage.press(account))
    assert sweep.state == Sweep.State.CLEAR

    run = step(step(run))
    assert (run.state, len(stage.simulator.book("alpha"))) == (State.RUNNING, 2)
    assert Sweep.objects.get().due_at <= timezone.now()
    stage.minute_passes()
    tasks.watch_sweep(sweep.pk)
    run = until_over(stage, run)

    assert (run.state, stage.simulator.book("alpha")) == (State.FAILED, [])
    assert is_latched(account)


def test_press_that_joins_the_canarys_panic_keeps_the_latch(stage: Stage) -> None:
    account = marked(stage)
    run = step(begin(account))
    joined = panics.start(
        Scope(Panic.Scope.ACCOUNT, account=account),
        pressed_by=None,
        pressed_by_name="risk.desk1",
        via=Panic.Via.BOARD,
    )
    assert joined.joined

    run = until_over(stage, run)

    assert run.state == State.HELD
    assert run.last_word.endswith(f"somebody joined panic {run.panic_id}, so the account stays latched")
    assert is_latched(account)


def test_wider_panic_takes_the_canarys_sweep_over_and_its_latch(stage: Stage) -> None:
    account = marked(stage)
    stage.account("binance-options", "beta")
    run = step(begin(account))
    wider = stage.start(Scope(Panic.Scope.ALL))

    stage.work_until_over(wider.sweeps.get(account=account))
    run = until_over(stage, run)

    assert run.state == State.FAILED
    assert f"panic {wider.pk} sweeps this account now" in run.last_word
    assert Account.objects.get(pk=account.pk).latched_by == wider


def test_orders_left_after_a_person_released_the_account_are_named(stage: Stage, settings: Settings) -> None:
    account = marked(stage)
    run = step(begin(account))
    panics.release(run.panic, released_by=None, released_by_name="risk.desk1", reason="that was no panic")
    settings.CANARY_CLEAR_WITHIN_S = 0

    run = until_over(stage, run)

    assert run.state == State.FAILED
    assert run.last_word.startswith(
        f"panic {run.panic_id} was not the canary's alone: released by risk.desk1 before it was clear; "
    )
    for order in stage.simulator.book("alpha"):
        left = f"order {order['order_id']} (XRPUSDT) may still be open: at the venue it is NEW"
        assert left in run.last_word


# ---- beginning ----


def test_canary_is_refused_where_it_must_not_run(stage: Stage) -> None:
    account = marked(stage)

    def refusal() -> str:
        account.refresh_from_db()
        with pytest.raises(canary.Refused) as caught:
            canary.begin(account, by="admin")
        return str(caught.value)

    Account.objects.update(canary=False)
    assert refusal() == "alpha: not marked for the canary, which places orders and panics the account"
    Account.objects.update(canary=True, enabled=False)
    assert refusal() == "alpha: disabled"
    sealed = account.sealed_credentials
    Account.objects.update(enabled=True, sealed_credentials="")
    assert refusal() == "alpha: no credentials"
    Account.objects.update(sealed_credentials=sealed)
    symbol = stage.press(account, kind=Panic.Scope.SYMBOL, symbol="BTCUSDT")
    assert refusal() == "alpha: being swept"
    Sweep.objects.filter(pk=symbol.pk).update(state=Sweep.State.RELEASED)
    sweep = stage.press(account)
    assert refusal() == f"alpha: latched by panic {sweep.panic_id}"
    assert not CanaryRun.objects.exists()


def test_canary_never_runs_twice_at_once_on_an_account(stage: Stage) -> None:
    account = marked(stage)
    run = begin(account)

    with pytest.raises(canary.Refused, match=r"^alpha: a canary run is under way$"):
        begin(account)

    assert CanaryRun.objects.get() == run


def test_press_that_may_take_no_latch_over_is_refused(stage: Stage) -> None:
    account = marked(stage)
    sweep = stage.press(account)

    with pytest.raises(panics.Latched, match=rf"^alpha is latched by panic {sweep.panic_id}$"):
        panics.start(
            Scope(Panic.Scope.ACCOUNT, account=account),
            pressed_by=None,
            pressed_by_name="canary",
            via=Panic.Via.CANARY,
            unless_latched=True,
        )

    assert Panic.objects.count() == 1


# ---- the keeper ----


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The runs that would be queued."""
    ids: list[int] = []
    monkeypatch.setattr(dispatch, "queue", lambda name, runs, *, expires_s=None: ids.extend(runs))
    return ids


def row(name: str, *, read: bool = True, **fields: Any) -> Account:
    """An account that stands nowhere, marked for the canary."""
    account = Account.objects.create(
        name=name,
        desk=make_desk(),
        venue=make_venue("http://127.0.0.1:9"),
        **{"canary": True, "sealed_credentials": "sealed", **fields},
    )
    now = timezone.now()
    Reading.objects.create(account=account, due_at=now, read_at=now if read else None)
    return account


def test_canary_begins_soon_after_an_account_is_marked_and_then_once_a_day(queued: list[int]) -> None:
    account = row("one")

    assert [canary.begin_due(), canary.begin_due()] == [1, 0]

    run = CanaryRun.objects.get()
    assert (run.account, run.begun_by, queued) == (account, "keeper", [run.pk])
    now = timezone.now()
    CanaryRun.objects.update(state=State.HELD, ended_at=now, began_at=now - timedelta(hours=23, minutes=59))
    assert canary.begin_due() == 0
    CanaryRun.objects.update(began_at=now - timedelta(hours=24))
    assert [canary.begin_due(), canary.begin_due()] == [1, 0]


def test_canary_does_not_begin_by_itself_where_it_would_be_refused(queued: list[int]) -> None:
    row("unmarked", canary=False)
    row("disabled", enabled=False)
    row("without credentials", sealed_credentials="")
    row("never read", read=False)
    latched, swept = row("latched"), row("swept")
    now = timezone.now()
    panic = Panic.objects.create(scope=Panic.Scope.ALL, pressed_at=now)
    Account.objects.filter(pk=latched.pk).update(latched_at=now, latched_by=panic)
    Sweep.objects.create(panic=panic, account=swept, due_at=now)

    assert canary.begin_due() == 0

    assert (CanaryRun.objects.count(), queued) == (0, [])


def test_step_that_is_due_is_offered_once_until_a_worker_could_take_it(queued: list[int]) -> None:
    run = begin(row("one"))
    assert (canary.offer_due(), queued) == (0, [run.pk])
    CanaryRun.objects.update(due_at=timezone.now())

    assert [canary.offer_due(), canary.offer_due()] == [1, 0]

    assert queued == [run.pk, run.pk]
    CanaryRun.objects.update(due_at=timezone.now(), state=State.HELD)
    assert canary.offer_due() == 0


def test_keeper_and_workers_run_the_canary_by_themselves(
    simulator: SimulatorProcess, product: "Product"
) -> None:
    account = make_account(simulator, "binance-usdm", "alpha")
    Account.objects.update(canary=True)

    until(lambda: CanaryRun.objects.exclude(state=State.RUNNING).exists(), "the end of the run", 60)

    run = CanaryRun.objects.get()
    assert (run.state, run.account, run.begun_by) == (State.HELD, account, "keeper"), run.last_word
    assert (simulator.book("alpha"), len(simulator.book("alpha", only_open=False))) == ([], 2)
    assert not is_latched(account)


# ---- the command ----


def call(*words: str) -> str:
    said = StringIO()
    call_command("canary", *words, stdout=said)
    return said.getvalue()


@pytest.fixture
def swept_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps run where they are pressed, and no wait takes time."""
    monkeypatch.setattr(canary_steps, "PAUSE_S", 0)

    def sweep(sweep_ids: list[int]) -> bool:
        return all(stage.work_until_over(one) for one in Sweep.objects.filter(pk__in=sweep_ids))

    monkeypatch.setattr(dispatch, "panic", sweep)
    monkeypatch.setattr(dispatch, "stop_direct", lambda: None)


@pytest.mark.usefixtures("swept_at_once")
def test_command_waits_and_ends_well_when_the_canary_held(stage: Stage) -> None:
    marked(stage)

    said = call("--account", "alpha", "--wait", "--timeout", "30").splitlines()

    run = CanaryRun.objects.get()
    assert said[0] == f"begun canary run {run.pk}: account alpha"
    assert said[-1] == f"HELD: {run.last_word}"
    assert run.begun_by.endswith("(shell)")


@pytest.mark.usefixtures("swept_at_once")
def test_command_ends_with_3_when_a_family_escapes(stage: Stage) -> None:
    marked(stage)
    stage.simulator.fault("moved_book", account="alpha", book="algo")

    with pytest.raises(SystemExit) as caught:
        call("--account", "alpha", "--wait", "--timeout", "30")

    assert (caught.value.code, CanaryRun.objects.get().state) == (3, State.ESCAPED)


@pytest.mark.usefixtures("swept_at_once")
def test_command_ends_with_3_when_it_is_not_over_in_time(stage: Stage) -> None:
    marked(stage)
    stage.simulator.fault("cut_before", account="alpha", method="POST", path="*/algoOrder")

    with pytest.raises(SystemExit) as caught:
        call("--account", "alpha", "--wait", "--timeout", "0")

    assert (caught.value.code, CanaryRun.objects.get().state) == (3, State.RUNNING)


def test_command_without_wait_only_begins(stage: Stage) -> None:
    marked(stage)

    said = call("--account", "alpha")

    run = CanaryRun.objects.get()
    assert said == f"begun canary run {run.pk}: account alpha\n"
    assert (run.state, run.placed) == (State.RUNNING, [])


def test_command_is_refused_with_2(stage: Stage) -> None:
    stage.account("binance-usdm")

    refusals = []
    for name in ("alpha", "ahpla"):
        with pytest.raises(CommandError) as caught:
            call("--account", name)
        refusals.append((caught.value.returncode, str(caught.value)))

    assert refusals == [
        (2, "alpha: not marked for the canary, which places orders and panics the account"),
        (2, "there is no account 'ahpla'; accounts: alpha"),
    ]
