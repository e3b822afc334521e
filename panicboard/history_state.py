"""What the history of panics shows of each: two queries for any number of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Sum

from panicboard.models import Panic, Sweep, SweptOrder
from panicboard.models.panics import CLEAR_BUT_KEPT
from panicboard.tallies import Tally, open_condition


@dataclass(frozen=True, slots=True)
class PanicLine:
    pk: int
    url: str
    pressed_at: datetime
    pressed_by: str
    scope_label: str
    reason: str
    sweeps: int
    clear: int
    running: int
    kept: int
    tally: Tally
    skipped: int

    @property
    def state(self) -> tuple[str, str]:
        """The worst word that is true of it, with its state's code."""
        if self.running:
            return Sweep.State.NOT_CLEAR, "RUNNING"
        if self.clear == self.sweeps:
            return Sweep.State.CLEAR, CLEAR_BUT_KEPT if self.kept else "CLEAR"
        return Sweep.State.RELEASED, "ENDED"


def read(panics: Iterable[Panic]) -> list[PanicLine]:
    panics = list(panics)
    states: dict[int, dict[str, int]] = {panic.pk: {} for panic in panics}
    kept = dict.fromkeys(states, 0)
    sweeps = Sweep.objects.filter(panic__in=states).values_list("panic", "state").order_by()
    for panic_id, state, count, left in sweeps.annotate(Count("pk"), Sum("kept")):
        states[panic_id][state] = count
        kept[panic_id] += left
    orders = (
        SweptOrder.objects.filter(sweep__panic__in=states)
        .values_list("sweep__panic")
        .annotate(Count("pk"), still=Count("pk", filter=open_condition()))
        .order_by()
    )
    tallies = {panic_id: Tally(total, still) for panic_id, total, still in orders}
    return [
        _line(panic, states[panic.pk], tallies.get(panic.pk, Tally()), kept[panic.pk]) for panic in panics
    ]


def _line(panic: Panic, states: dict[str, int], tally: Tally, kept: int) -> PanicLine:
    return PanicLine(
        pk=panic.pk,
        url=panic.get_absolute_url(),
        pressed_at=panic.pressed_at,
        pressed_by=panic.pressed_by_name,
        scope_label=panic.scope_label,
        reason=panic.reason,
        sweeps=sum(states.values()),
        clear=states.get(Sweep.State.CLEAR, 0),
        running=sum(count for state, count in states.items() if state not in Sweep.OVER),
        kept=kept,
        tally=tally,
        skipped=len(panic.skipped),
    )
