"""Many countdowns at once: spread over their refresh, and at little cost."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from panicboard import heartbeats
from panicboard.models import Account, Countdown, Venue

REFRESH = timedelta(seconds=30)
AT = datetime(2026, 5, 4, 12, 0, 7, 250_000, tzinfo=UTC)


def beaten(number: int, at: datetime = AT, adapter: str = "binance-usdm") -> datetime:
    """When the heartbeat after one that was decided then is due."""
    account = Account(pk=1, venue=Venue(adapter=adapter))
    one = Countdown(
        pk=number, account=account, scope="BTCUSDT", countdown_ms=120_000, refresh_ms=30_000, to_set=False
    )
    return heartbeats._next_at(one, heartbeats.Job("heartbeat", account, (one,), at))


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
