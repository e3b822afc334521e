"""Would a panic work now? Told from facts: the last reading of the account, the queue, the workers."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from panicboard import dispatch
from panicboard.models import Account, Beat, CanaryRun, Reading

READY, DEGRADED, NOT_READY, UNKNOWN = "ready", "degraded", "not_ready", "unknown"

#: Beyond this the venue refuses our timestamps: lead at once, lag within its window.
CLOCK_LIMIT_MS = 1000
#: A process that has not given a sign of life for this long counts as gone.
ALIVE = timedelta(seconds=5)
#: A reading older than this many planned intervals (and a minute at least) says nothing any more.
OVERDUE_INTERVALS = 3
#: A canary that held so many times its interval ago has been forgotten, unless its account is latched.
OVERDUE_CANARIES = 2
MORE_THAN_THE_LIMIT = (
    "more than the limit: some cancels would wait; spread the accounts over more egress addresses"
)


@dataclass(frozen=True)
class Readiness:
    """`level` is ready, degraded, not_ready or unknown; `reason` says why in a few words."""

    level: str
    reason: str
    checked_at: datetime | None


@dataclass(frozen=True)
class SystemReadiness:
    """Whether presses can be queued and worked on."""

    level: str
    reason: str
    queue_ok: bool
    workers_seen_at: datetime | None


def of_account(
    account: Account,
    reading: Reading | None,
    now: datetime,
    canary: CanaryRun | None = None,
    *,
    escaped_beside: str = "",
    overloaded: bool = False,
) -> Readiness:
    """Would a panic of this account work now, as far as its last authenticated reading tells?

    `canary` is its last canary run that is over: one that did not hold says that a panic may not reach all.
    `escaped_beside` names an account at the same venue whose canary escaped: what the venue has moved away,
    it has moved for all. `overloaded`: the cancels of all accounts behind its limit need more than that.
    """
    if not account.enabled:
        return Readiness(NOT_READY, "disabled: neither read nor swept", None)
    if not account.sealed_credentials:
        return Readiness(NOT_READY, "no credentials: enter key and secret in the admin", None)
    if reading is None or (reading.read_at is None and not reading.failure):
        return Readiness(UNKNOWN, "not read yet", None)
    if reading.failure:
        return Readiness(NOT_READY, reading.failure, reading.failing_since)
    assert reading.read_at is not None  # noqa: S101 (no failure and read: see above)
    if is_overdue(reading, now):
        return Readiness(
            UNKNOWN, f"last check {int((now - reading.read_at).total_seconds())} s ago", reading.read_at
        )
    alarm = _canary_alarm(canary, account, now) if canary else ""
    if canary is not None and canary.state == CanaryRun.State.ESCAPED:
        return Readiness(NOT_READY, alarm, None)
    doubts = [alarm] if alarm else []
    if escaped_beside:
        doubts.append(f"canary escaped on {escaped_beside}: at this venue a panic may not reach all")
    if overloaded:
        doubts.append(f"cancels need {MORE_THAN_THE_LIMIT}")
    offset_ms = reading.clock_offset_ms or 0
    if abs(offset_ms) > CLOCK_LIMIT_MS // 2:
        doubts.append(f"clock skew {abs(offset_ms)} ms, corrected")
    if doubts:
        return Readiness(DEGRADED, "; ".join(doubts), reading.read_at)
    return Readiness(READY, "ready", reading.read_at)


def is_overdue(reading: Reading, now: datetime) -> bool:
    """Whether a reading is so old that it says nothing any more."""
    assert reading.read_at is not None  # noqa: S101 (it was read)
    overdue_after = timedelta(seconds=max(60.0, OVERDUE_INTERVALS * reading.planned_interval_s))
    return now - reading.read_at > overdue_after


def _canary_alarm(canary: CanaryRun, account: Account, now: datetime) -> str:
    """What the last canary run says against this account; empty when it held, and lately."""
    assert canary.ended_at is not None  # noqa: S101 (it is over)
    if canary.state != CanaryRun.State.HELD:
        return f"canary {canary.state} {canary.ended_at:%d %b %H:%M}: {canary.last_word}"
    overdue_after = timedelta(hours=OVERDUE_CANARIES * settings.CANARY_EVERY_H)
    if now - canary.ended_at > overdue_after and account.latched_at is None:
        return f"no canary run since {canary.ended_at:%d %b %H:%M}"
    return ""


def of_system() -> SystemReadiness:
    """Are there workers for panics, and does the queue answer?"""
    seen_at = Beat.objects.filter(kind="worker-panic").order_by("-at").values_list("at", flat=True).first()
    queue_ok = dispatch.queue_answers()
    if seen_at is not None and timezone.now() - seen_at < ALIVE and queue_ok:
        return SystemReadiness(READY, "", queue_ok, seen_at)
    if queue_ok:
        why = "no panic worker is alive: the keeper sweeps, two seconds after a press"
    else:
        why = "the queue does not answer: a press runs in the process that takes it"
    return SystemReadiness(DEGRADED, why, queue_ok, seen_at)
