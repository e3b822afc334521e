"""Countdowns and signs of life as rows, for tests of what is told of them at one moment."""

from datetime import datetime, timedelta
from typing import Any

from panicboard.models import Account, Countdown, LifeSign
from tests.pages import PRESSED_AT

NOW = PRESSED_AT


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def make(account: Account, scope: str = "BTCUSDT", *, left_s: float | None = 90, **fields: Any) -> Countdown:
    """A countdown of 120 s that was armed ten minutes ago; of it so much is left."""
    facts: dict[str, Any] = {"countdown_ms": 120_000, "refresh_ms": 30_000, "phase": "armed", "to_set": False}
    if left_s is not None:
        began_at = ago(120 - left_s)
        facts |= {"runs_from": began_at, "acked_at": began_at, "deadline_at": NOW + timedelta(seconds=left_s)}
    facts |= {"armed_at": ago(600), "armed_by": "ann"}
    return Countdown.objects.create(account=account, scope=scope, **{**facts, **fields})


def make_local(account: Account, *, last_s: float, countdown_ms: int = 120_000) -> Countdown:
    """panicboard's own, whose operator was heard so long ago."""
    left_s = countdown_ms / 1000 - last_s
    return make(account, "", left_s=left_s, countdown_ms=countdown_ms, refresh_ms=0, source="operator")


def expect_operator(account: Account, *, last_s: float, silence_s: int = 900) -> LifeSign:
    kind = LifeSign.Kind.OPERATOR
    return LifeSign.objects.create(account=account, kind=kind, silence_s=silence_s, last_at=ago(last_s))
