"""How long after the last fault that struck it a sweep was clear. Pure, as the judge is."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.judge import Clear

Json = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """A fault as it came about. Whom it struck is told by one of the last three; by none: all that ran."""

    act: str
    begun_us: int
    ended_us: int
    rule: int | None = None  # at the simulator: those whose requests it struck
    account: str = ""  # on a book
    pid: int | None = None  # a process that was killed: the sweeps it held


@dataclass(frozen=True)
class Hold:
    """A process held a sweep's lease from then on, until the next hold of this sweep (None: nobody)."""

    sweep: int
    at_us: int
    pid: int | None


def clear_after_fault_s(
    clears: Sequence[Clear], faults: Sequence[Fault], log: Sequence[Json], holds: Sequence[Hold]
) -> list[tuple[float, Clear]]:
    """For each CLEAR of a sweep that a fault struck: the time from the end of the last one to it, in s.

    A fault that was still in force at the CLEAR counts from its last strike.
    """
    strikes: dict[tuple[int, str], list[int]] = defaultdict(list)
    for call in log:
        for struck in call["faults"]:
            strikes[struck["id"], call["account"]].append(call["answered_us"] or call["arrived_us"])
    of_sweep: dict[int, list[Hold]] = defaultdict(list)
    for hold in holds:
        of_sweep[hold.sweep].append(hold)
    taken: list[tuple[float, Clear]] = []
    for clear in clears:
        ends = [end for fault in faults for end in _ends(clear, fault, strikes, of_sweep[clear.sweep])]
        if ends:
            taken.append(((clear.said_us - max(ends)) / 1e6, clear))
    return taken


def _ends(
    clear: Clear, fault: Fault, strikes: dict[tuple[int, str], list[int]], holds: Sequence[Hold]
) -> Iterator[int]:
    """When a fault was over for a sweep, if it struck it at all."""
    begun_us, said_us = clear.begun_us, clear.said_us
    if fault.begun_us > said_us or fault.ended_us < begun_us:
        return
    if fault.rule is not None and not fault.account:
        hits = [at for at in strikes.get((fault.rule, clear.account), ()) if begun_us <= at <= said_us]
        if hits:
            yield fault.ended_us if fault.ended_us <= said_us else max(hits)
        return
    if fault.account not in ("", clear.account):
        return
    if fault.pid is not None and _holder(holds, fault.begun_us) != fault.pid:
        return
    yield fault.ended_us if fault.ended_us <= said_us else max(fault.begun_us, begun_us)


def _holder(holds: Sequence[Hold], at_us: int) -> int | None:
    """The process that held the sweep at an instant."""
    return next((hold.pid for hold in reversed(holds) if hold.at_us <= at_us), None)
