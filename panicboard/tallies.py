"""Counting swept orders: how many there are, and how many of them count as open."""

from dataclasses import dataclass

from django.db.models import Q

from panicboard.models import Sweep, SweptOrder


@dataclass(frozen=True, slots=True)
class Tally:
    """How many orders a panic or sweep follows, and how many of them count as open."""

    total: int = 0
    still_open: int = 0

    @property
    def gone(self) -> int:
        return self.total - self.still_open

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.total + other.total, self.still_open + other.still_open)


def open_condition(prefix: str = "") -> Q:
    """Which swept orders count as open.

    An order that the venue no longer knows is not counted once its sweep is clear: the venue's own
    lists were read back without it. It stays UNKNOWN, and is shown as such.
    """
    gone = Q(**{f"{prefix}outcome__in": SweptOrder.GONE})
    settled = Q(
        **{
            f"{prefix}outcome": SweptOrder.Outcome.UNKNOWN,
            f"{prefix}vanished": True,
            f"{prefix}sweep__state": Sweep.State.CLEAR,
        }
    )
    return ~gone & ~settled
