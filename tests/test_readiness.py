"""Would a panic work now? Each level with its reason."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from panicboard import readiness
from panicboard.models import Account, Beat, CanaryRun, Reading
from panicboard.readiness import DEGRADED, NOT_READY, READY, UNKNOWN, Readiness, SystemReadiness
from tests.broker_process import Breakable

pytest_plugins = ["tests.broker_process"]

NOW = datetime.fromisoformat("2026-11-20T12:00:00+00:00")


def account(**fields: object) -> Account:
    return Account(name="alpha", **{"sealed_credentials": "sealed", **fields})


def reading(age_s: float | None = 3, **fields: object) -> Reading:
    read_at = None if age_s is None else NOW - timedelta(seconds=age_s)
    return Reading(read_at=read_at, **{"planned_interval_s": 5.0, **fields})


def test_account_read_lately_is_ready() -> None:
    found = readiness.of_account(account(), reading(), NOW)

    assert found == Readiness(READY, "ready", NOW - timedelta(seconds=3))


def test_disabled_account_is_not_ready_however_it_reads() -> None:
    found = readiness.of_account(account(enabled=False), reading(), NOW)

    assert found == Readiness(NOT_READY, "disabled: neither read nor swept", None)


def test_account_without_credentials_is_not_ready() -> None:
    found = readiness.of_account(account(sealed_credentials=""), reading(), NOW)

    assert found == Readiness(NOT_READY, "no credentials: enter key and secret in the admin", None)


@pytest.mark.parametrize("row", [None, reading(None)], ids=["no row", "row without a reading"])
def test_account_never_read_is_unknown(row: Reading | None) -> None:
    assert readiness.of_account(account(), row, NOW) == Readiness(UNKNOWN, "not read yet", None)


@pytest.mark.parametrize("age_s", [3, None], ids=["read before", "never read"])
def test_failing_account_is_not_ready_and_says_why_since_when(age_s: float | None) -> None:
    since = NOW - timedelta(minutes=2)
    failing = reading(age_s, failure="GET /fapi/v1/openOrders: HTTP 401 -2015", failing_since=since)

    found = readiness.of_account(account(), failing, NOW)

    assert found == Readiness(NOT_READY, "GET /fapi/v1/openOrders: HTTP 401 -2015", since)


@pytest.mark.parametrize(
    ("age_s", "planned_s", "level"),
    [
        (60, 5, READY),
        (61, 5, UNKNOWN),
        (90, 30, READY),
        (91, 30, UNKNOWN),
    ],
)
def test_old_reading_says_nothing_any_more(age_s: float, planned_s: float, level: str) -> None:
    found = readiness.of_account(account(), reading(age_s, planned_interval_s=planned_s), NOW)

    reason = "ready" if level == READY else f"last check {age_s} s ago"
    assert found == Readiness(level, reason, NOW - timedelta(seconds=age_s))


@pytest.mark.parametrize("offset_ms", [501, -501])
def test_clock_far_off_is_degraded(offset_ms: int) -> None:
    found = readiness.of_account(account(), reading(clock_offset_ms=offset_ms), NOW)

    assert found == Readiness(DEGRADED, "clock skew 501 ms, corrected", NOW - timedelta(seconds=3))


def test_account_behind_a_limit_too_small_for_all_cancels_is_degraded() -> None:
    overloaded = readiness.of_account(account(), reading(), NOW, overloaded=True)
    skewed_too = readiness.of_account(account(), reading(clock_offset_ms=501), NOW, overloaded=True)
    failing = readiness.of_account(account(), reading(failure="HTTP 401 -2015"), NOW, overloaded=True)

    said = (
        "cancels need more than the limit: some cancels would wait; "
        "spread the accounts over more egress addresses"
    )
    read_at = NOW - timedelta(seconds=3)
    assert overloaded == Readiness(DEGRADED, said, read_at)
    assert skewed_too == Readiness(DEGRADED, f"{said}; clock skew 501 ms, corrected", read_at)
    assert failing == Readiness(NOT_READY, "HTTP 401 -2015", None)


@pytest.mark.parametrize("offset_ms", [None, 0, 500, -500])
def test_clock_a_little_off_is_ready(offset_ms: int | None) -> None:
    found = readiness.of_account(account(), reading(clock_offset_ms=offset_ms), NOW)

    assert found.level == READY


def canary(state: str, hours_ago: float = 3) -> CanaryRun:
    ended_at = NOW - timedelta(hours=hours_ago)
    return CanaryRun(state=state, ended_at=ended_at, last_word="conditional order 7 escaped")


def test_account_whose_canary_proved_nothing_is_degraded() -> None:
    found = readiness.of_account(account(), reading(clock_offset_ms=501), NOW, canary("failed"))

    reason = "canary failed 20 Nov 09:00: conditional order 7 escaped; clock skew 501 ms, corrected"
    assert found == Readiness(DEGRADED, reason, NOW - timedelta(seconds=3))


def test_account_whose_canary_escaped_is_not_ready() -> None:
    found = readiness.of_account(account(), reading(), NOW, canary("escaped"))

    assert found == Readiness(NOT_READY, "canary escaped 20 Nov 09:00: conditional order 7 escaped", None)


@pytest.mark.parametrize("own", [None, "held"])
def test_account_beside_one_whose_canary_escaped_is_degraded(own: str | None) -> None:
    found = readiness.of_account(
        account(), reading(), NOW, canary(own) if own else None, escaped_beside="test account"
    )

    reason = "canary escaped on test account: at this venue a panic may not reach all"
    assert found == Readiness(DEGRADED, reason, NOW - timedelta(seconds=3))


def test_account_that_cannot_be_read_is_not_ready_whatever_its_canary_says() -> None:
    found = readiness.of_account(account(), reading(failure="-2015"), NOW, canary("escaped"))

    assert found.level == NOT_READY


@pytest.mark.parametrize(("hours_ago", "level"), [(48, READY), (48.1, DEGRADED)])
def test_canary_that_has_not_run_for_two_days_is_missed(hours_ago: float, level: str) -> None:
    found = readiness.of_account(account(), reading(), NOW, canary("held", hours_ago))
    latched = readiness.of_account(account(latched_at=NOW), reading(), NOW, canary("held", hours_ago))

    reason = "ready" if level == READY else "no canary run since 18 Nov 11:54"
    assert found == Readiness(level, reason, NOW - timedelta(seconds=3))
    assert latched.level == READY


@pytest.mark.usefixtures("broker")
@pytest.mark.django_db
def test_system_with_a_living_worker_and_a_queue_is_ready() -> None:
    seen_at = timezone.now()
    Beat.objects.create(process="worker-panic@here:1", kind="worker-panic", at=seen_at - timedelta(hours=1))
    Beat.objects.create(process="worker-panic@here:2", kind="worker-panic", at=seen_at)

    assert readiness.of_system() == SystemReadiness(READY, "", True, seen_at)


@pytest.mark.usefixtures("broker")
@pytest.mark.django_db
@pytest.mark.parametrize("last_sign", [None, timedelta(seconds=6)], ids=["never seen", "gone"])
def test_system_without_a_living_panic_worker_is_degraded(last_sign: timedelta | None) -> None:
    now = timezone.now()
    Beat.objects.create(process="worker-background@here:1", kind="worker-background", at=now)
    seen_at = now - last_sign if last_sign else None
    if seen_at:
        Beat.objects.create(process="worker-panic@here:1", kind="worker-panic", at=seen_at)

    assert readiness.of_system() == SystemReadiness(
        DEGRADED, "no panic worker is alive: the keeper sweeps, two seconds after a press", True, seen_at
    )


@pytest.mark.django_db
def test_system_without_its_queue_is_degraded(broken: Breakable) -> None:
    seen_at = timezone.now()
    Beat.objects.create(process="worker-panic@here:1", kind="worker-panic", at=seen_at)
    broken.kill()

    assert readiness.of_system() == SystemReadiness(
        DEGRADED, "the queue does not answer: a press runs in the process that takes it", False, seen_at
    )


@pytest.mark.django_db
def test_system_with_a_frozen_queue_is_degraded(broken: Breakable) -> None:
    seen_at = timezone.now()
    Beat.objects.create(process="worker-panic@here:1", kind="worker-panic", at=seen_at)
    assert readiness.of_system().level == READY
    broken.freeze()

    assert readiness.of_system() == SystemReadiness(
        DEGRADED, "the queue does not answer: a press runs in the process that takes it", False, seen_at
    )
