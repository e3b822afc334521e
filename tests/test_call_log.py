"""The log of venue calls: every request that left, as it came out, and nothing secret."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.utils import timezone

from panicboard import call_log, panics, record
from panicboard.models import AuditEntry, Panic, VenueCall
from panicboard.panics import Scope
from panicboard.venues import VENUES, calls
from tests.simulator_process import SimulatorProcess
from tests.sweep_stage import Stage
from tests.venue_calls import CALLS
from tests.waiting import until

pytest_plugins = ["tests.simulator_process", "tests.sweep_stage"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]


@pytest.fixture
def told() -> Iterator[list[calls.VenueCall]]:
    """Every venue call of this process, in the order in which they ended."""
    heard: list[calls.VenueCall] = []
    calls.tell(heard.append)
    yield heard
    calls.tell(None)


def a_call(account: str = "alpha", **fields: object) -> calls.VenueCall:
    told: dict[str, object] = {
        "at": timezone.now().timestamp(),
        "account": account,
        "method": "GET",
        "path": "/fapi/v1/openOrders",
        "weight": 40,
        "attempt": 1,
        "status": 200,
        "latency_ms": 51.26,
        "outcome": calls.DONE,
    }
    return calls.VenueCall(**told | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("adapter", VENUES)
def test_every_request_of_a_panic_is_in_its_record(
    stage: Stage, told: list[calls.VenueCall], adapter: str
) -> None:
    account = stage.account(adapter)
    stage.seed(account, 2)
    stage.read(account)
    before = stage.simulator.log(account.name)
    told.clear()
    sweep = stage.work_until_over(stage.press(account))
    stage.assert_proven(sweep)
    sent = stage.simulator.log(account.name)[len(before) :]

    call_log.write(told)

    (row,) = record.of(sweep.panic)["sweeps"]
    logged = row["venue_calls"]
    assert sorted((call["method"], call["path"]) for call in logged) == sorted(
        (request["method"], request["path"]) for request in sent
    )
    assert {(call["status"], call["outcome"], call["attempt"], call["code"]) for call in logged} == {
        (200, "done", 1, "")
    }
    assert all(call["latency_ms"] > 0 for call in logged)


@pytest.mark.parametrize("adapter", VENUES)
@pytest.mark.parametrize(
    ("fault", "status", "outcome"),
    [
        ("cut_before", None, calls.UNKNOWN),
        ("429", 429, calls.NOT_DONE),
        ("garbage", 200, calls.UNKNOWN),
    ],
)
def test_call_that_fails_is_logged_with_what_is_known_of_it(
    stage: Stage, told: list[calls.VenueCall], adapter: str, fault: str, status: int | None, outcome: str
) -> None:
    account = stage.account(adapter)
    stage.seed(account)
    stage.read(account)
    method, path = CALLS[adapter].cancel[:2]
    stage.simulator.fault(fault, account=account.name, path=path, method=method, count=1)
    told.clear()

    stage.work(stage.press(account))

    failed = next(call for call in told if call.path == path and call.method == method)
    assert (failed.status, failed.outcome, failed.attempt) == (status, outcome, 1)
    assert failed.code == {"cut_before": "ConnectionError"}.get(fault, failed.code)


def test_repeated_call_says_which_attempt_it_is(stage: Stage, told: list[calls.VenueCall]) -> None:
    account = stage.account("binance-usdm")
    stage.seed(account)
    stage.read(account)
    method, path = CALLS["binance-usdm"].cancel[:2]
    stage.simulator.fault("not_done_503b", account=account.name, path=path, method=method, count=2)
    told.clear()

    stage.work(stage.press(account))

    tries = [call for call in told if call.path == path and call.method == method]
    assert [(call.attempt, call.status, call.outcome) for call in tries] == [
        (1, 503, calls.NOT_DONE),
        (2, 503, calls.NOT_DONE),
        (3, 200, calls.DONE),
    ]


def test_call_signed_anew_after_a_refused_clock_is_a_second_attempt(
    stage: Stage, told: list[calls.VenueCall]
) -> None:
    account = stage.account("binance-usdm")
    stage.read(account)
    stage.simulator.fault("clock_skew_ms", venue="binance-usdm", ms=-10_000)
    told.clear()

    stage.read(account)

    assert [(call.attempt, call.code) for call in told if call.outcome == calls.REJECTED] == [(1, "-1021")]
    assert [call.attempt for call in told if call.attempt > 1] == [2]


def test_calls_before_the_press_and_after_clear_are_not_in_the_record(stage: Stage) -> None:
    account = stage.account("binance-usdm")
    sweep = stage.work_until_over(stage.press(account))
    pressed_at, clear_at = sweep.panic.pressed_at, sweep.clear_at
    assert clear_at is not None
    moments = [pressed_at - timedelta(seconds=1), pressed_at, clear_at, clear_at + timedelta(seconds=1)]
    call_log.write([a_call(at=at.timestamp(), weight=n) for n, at in enumerate(moments)])
    call_log.write([a_call("beta", at=pressed_at.timestamp())])

    (row,) = record.of(Panic.objects.get())["sweeps"]

    assert [call["weight"] for call in row["venue_calls"]] == [1, 2]


def test_record_of_a_sweep_that_never_was_clear_ends_with_the_sweep(stage: Stage) -> None:
    released = stage.press(stage.account("binance-usdm", "beta"))
    panics.release(released.panic, released_by=None, released_by_name="risk.desk1", reason="by mistake")
    released_at = AuditEntry.objects.get(action=AuditEntry.Action.RELEASED).at
    handed_over = stage.press(stage.account("binance-usdm", "alpha"))
    taken_at = stage.start(Scope(Panic.Scope.ALL)).pressed_at

    for sweep, ended_at in ((handed_over, taken_at), (released, released_at)):
        moments = [sweep.panic.pressed_at, ended_at, ended_at + timedelta(seconds=1)]
        name = sweep.account.name
        call_log.write([a_call(name, at=at.timestamp(), weight=n) for n, at in enumerate(moments)])
        (row,) = record.of(sweep.panic)["sweeps"]
        assert [call["weight"] for call in row["venue_calls"]] == [0, 1]


def test_writer_writes_what_it_hears_and_the_rest_when_it_ends() -> None:
    writer = call_log._Writer()
    writer.start()
    writer.hear(a_call(path="/first"))
    until(lambda: VenueCall.objects.count() == 1, "the first call on disk")

    writer.hear(a_call(path="/last", status=None, code="ReadTimeout", outcome=calls.UNKNOWN))
    writer.stop()

    first, last = VenueCall.objects.order_by("pk")
    assert (first.account, first.path, first.status, first.latency_ms) == ("alpha", "/first", 200, 51.3)
    assert (last.path, last.status, last.code, last.outcome) == ("/last", None, "ReadTimeout", "unknown")


def test_calls_wait_for_a_database_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    writer = call_log._Writer()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE panicboard_venuecall RENAME TO away")
    try:
        writer.hear(a_call())
        writer._write()
        with pytest.raises(DatabaseError):
            VenueCall.objects.count()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE away RENAME TO panicboard_venuecall")
    assert "1 calls wait, 0 were dropped" in caplog.text

    writer._write()

    assert VenueCall.objects.count() == 1


def test_what_cannot_wait_any_longer_is_dropped_and_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_log, "WAITING_AT_MOST", 2)
    writer = call_log._Writer()
    for number in range(5):
        writer.hear(a_call(weight=number))

    def fail(told: object) -> None:
        raise OperationalError("disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(call_log, "write", fail)
        writer._write()
    writer._write()

    assert "2 calls wait, 3 were dropped" in caplog.text
    assert list(VenueCall.objects.values_list("weight", flat=True)) == [3, 4]


def test_calls_are_kept_for_their_days_and_deleted_a_few_at_a_time(
    settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CALL_LOG_DAYS = 30  # type: ignore[attr-defined]
    monkeypatch.setattr(call_log, "PRUNE_AT_ONCE", 2)
    now = timezone.now()
    for days in (29, 31, 32, 33):
        call_log.write([a_call(at=(now - timedelta(days=days)).timestamp(), weight=days)])

    assert [call_log.prune(), call_log.prune(), call_log.prune()] == [2, 1, 0]

    assert [call.weight for call in VenueCall.objects.all()] == [29]


def test_latest_calls_of_an_account_come_first(simulator: SimulatorProcess) -> None:
    now = timezone.now().timestamp()
    call_log.write([a_call(at=now - age, weight=age) for age in (3, 1, 2)] + [a_call("beta")])

    assert [call.weight for call in call_log.of_account("alpha", 2)] == [1, 2]
