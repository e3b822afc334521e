"""Many countdowns at once: spread over their refresh, and no more begun than can be sent in time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from panicboard import countdowns, heartbeat_jobs, heartbeat_results, heartbeats
from panicboard.models import Account, Countdown, Venue
from panicboard.venues import calls
from tests.factories import make_account
from tests.simulator_process import SimulatorProcess

pytest_plugins = ["tests.simulator_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
USDM = "/fapi/v1/countdownCancelAll"

REFRESH = timedelta(seconds=30)
AT = datetime(2026, 5, 4, 12, 0, 7, 250_000, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_to_write() -> None:
    """Forget what calls of other tests came to in this process."""
    while not heartbeat_results._results.empty():
        heartbeat_results._results.get()


def beaten(number: int, at: datetime = AT, adapter: str = "binance-usdm") -> datetime:
    """When the heartbeat after one that was decided then is due."""
    account = Account(pk=1, venue=Venue(adapter=adapter))
    one = Countdown(
        pk=number, account=account, scope="BTCUSDT", countdown_ms=120_000, refresh_ms=30_000, to_set=False
    )
    return heartbeat_results._next_at(one, heartbeat_jobs.Job("heartbeat", account, (one,), at))


def test_heartbeats_that_were_sent_together_are_spread_again() -> None:
    waits = sorted((beaten(number) - AT).total_seconds() for number in range(300))

    assert 0 < waits[0] <= waits[-1] <= REFRESH.total_seconds()
    assert max(later - earlier for earlier, later in pairwise(waits)) < 0.3


@pytest.mark.parametrize("late_s", [0.0, 0.04, 5.0, 29.0])
def test_heartbeat_that_is_late_does_not_put_off_the_next_one(late_s: float) -> None:
    due_at = beaten(7)

    after = beaten(7, due_at + timedelta(seconds=late_s + 0.001))

    assert abs(after - due_at - REFRESH) < timedelta(milliseconds=1)


def test_countdowns_that_share_a_heartbeat_stay_together() -> None:
    assert {beaten(number, adapter="binance-options") for number in range(50)} == {AT + REFRESH}


def claimed(simulator: SimulatorProcess) -> heartbeat_jobs.Job:
    """One countdown that is to be set at its venue now."""
    countdowns.arm(make_account(simulator), ["BTCUSDT"], by="ann")
    (job,) = heartbeat_jobs.claim(Countdown.objects.values_list("pk", flat=True))
    return job


def test_countdown_stays_to_be_set_when_its_call_comes_too_late(simulator: SimulatorProcess) -> None:
    job = claimed(simulator)
    simulator.fault("clock_skew_ms", path=USDM, ms=2 * heartbeat_jobs.FOR_MS)

    heartbeats._run(job)
    heartbeat_results.write([heartbeat_results._results.get(timeout=5)])

    one = Countdown.objects.get()
    assert (one.phase, one.to_set, one.misses) == (Countdown.Phase.ARMING, True, 1)
    assert "-1021" in one.failure


def test_call_that_waited_too_long_here_is_not_sent(simulator: SimulatorProcess) -> None:
    job = claimed(simulator)
    before = simulator.log()

    heartbeats._waiting[heartbeats._api(job.account)] += 1
    heartbeats._begin(replace(job, at=job.at - heartbeat_jobs.FOR))

    result = heartbeat_results._results.get(timeout=5)
    assert result.changes["failure"] == "it waited too long in panicboard, and was not sent"
    assert simulator.log() == before


def test_no_more_is_taken_than_the_threads_of_a_venue_can_send(
    simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, calm = make_account(simulator), make_account(simulator, "binance-options", "calm")
    countdowns.arm(busy, ["BTCUSDT"], by="ann")
    countdowns.arm(calm, ["BTCUSDT"], by="ann")
    monkeypatch.setitem(heartbeats._waiting, heartbeats._api(busy), heartbeats.WAITING_AT_MOST)

    ids = list(Countdown.objects.values_list("pk", flat=True))
    jobs = heartbeat_jobs.claim(ids, may_send=heartbeats._has_room)

    assert [job.account for job in jobs] == [calm]
    assert Countdown.objects.get(account=busy).in_flight_until is None


@pytest.mark.parametrize("meanwhile", [{}, {"phase": Countdown.Phase.WITHHELD}, {"sent_at": AT}])
def test_acknowledged_heartbeats_are_written_at_once_where_nothing_came_between(
    simulator: SimulatorProcess, meanwhile: dict[str, object]
) -> None:
    countdowns.arm(make_account(simulator), ["BTCUSDT", "ETHUSDT"], by="ann")
    for job in heartbeat_jobs.claim(Countdown.objects.values_list("pk", flat=True)):
        heartbeats._run(job)
    results = [heartbeat_results._results.get(timeout=5) for _ in range(2)]
    Countdown.objects.filter(scope="ETHUSDT").update(**meanwhile)

    heartbeat_results.write(results)

    first, second = Countdown.objects.order_by("scope")
    assert (first.phase, first.runs_from, first.to_set) == (Countdown.Phase.ARMED, first.sent_at, False)
    assert first.deadline_at == first.runs_from + timedelta(milliseconds=first.countdown_ms)
    assert [call["outcome"] for call in first.recent] == ["done"]
    assert second.phase == meanwhile.get("phase", second.phase)
    assert (second.runs_from is None) == ("sent_at" in meanwhile)


def test_only_heartbeats_that_fail_are_told_to_the_log_of_calls(simulator: SimulatorProcess) -> None:
    heard: list[calls.VenueCall] = []
    job = replace(claimed(simulator), what="heartbeat")
    calls.tell(heard.append)
    try:
        heartbeats._run(job)
        simulator.fault("not_done_503b", path=USDM)
        heartbeats._run(job)
    finally:
        calls.tell(None)

    assert [(call.path, call.status, call.outcome) for call in heard] == [(USDM, 503, calls.NOT_DONE)]
    assert [heartbeat_results._results.get(timeout=5).outcome for _ in range(2)] == ["done", "failed"]
