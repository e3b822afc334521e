"""The fault matrix: what the tests of this folder let happen, at which venue, and the README's table of it.

`python -m tests.faults.matrix` runs them all and writes what became of them into the README. A cell is held
by the tests that name it in their id, as `[garbage at coinswitch]`: see `cells`. That every cell of the table
has such tests, that none of them is skipped, and that the README shows every cell held, is a test of its own
(`test_matrix.py`), which is red or green in the same run as they are.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.venue_calls import CALLS

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = (
    "<!-- the fault matrix, by `python -m tests.faults.matrix` -->",
    "<!-- end of the fault matrix -->",
)
VENUES = {
    "binance-usdm": "USD-M",
    "binance-options": "options",
    "binance-portfolio": "portfolio margin",
    "coinswitch": "CoinSwitch",
}
assert VENUES.keys() == CALLS.keys()

_ONE_PAGE = "Binance's listings of open orders come in one page."
_LOCAL = "The venue has no countdown: panicboard's own calls nobody, and ends in a panic."


@dataclass(frozen=True)
class Fault:
    """One row. `none_at`: the venues where there is no such fault, and why."""

    name: str
    none_at: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


_SILENT = (
    "At Binance this is about the address: its other accounts keep silent with the one that was struck, and "
    "accounts of other venues are not delayed. CoinSwitch counts by key, and bans an address. (On options, "
    "503 throttled too.)"
)
_CLOCK = (
    "As the venue's own time tells it, and as only its refusals do: the first is put right at once. "
    "CoinSwitch allows 60 s and is struck with 70 s as well."
)
FAULTS = (
    # The call: at each of a sweep's calls, once and lasting.
    Fault("timeout before acting"),
    Fault("timeout after acting"),
    Fault("connection cut before acting"),
    Fault("connection cut after acting"),
    Fault("503 unknown"),
    Fault("503 unavailable"),
    Fault("503 internal"),
    Fault("503 throttled"),
    Fault("408 before acting"),
    Fault("408 after acting"),
    Fault("429", note=_SILENT),
    Fault("429 with Retry-After", note=_SILENT),
    Fault("418", note=_SILENT),
    Fault("403 without JSON", note=_SILENT),
    Fault("garbage"),
    Fault("truncated JSON"),
    Fault("our clock 5 s fast", note=_CLOCK),
    Fault("our clock 5 s slow", note=_CLOCK),
    Fault("key revoked"),
    Fault(
        "second page of a listing fails",
        none_at=dict.fromkeys([venue for venue in VENUES if venue != "coinswitch"], _ONE_PAGE),
    ),
    Fault("cached copy of a listing"),
    # The book: what orders do while they are swept.
    Fault("unknown status"),
    Fault("unknown order"),
    Fault("order that refuses to go"),
    Fault("fill in mid-sweep"),
    Fault("new order in mid-sweep"),
    Fault(
        "conditional order triggers in mid-sweep",
        none_at={"binance-options": "There are no conditional orders on Binance options."},
    ),
    # The calls about countdowns: by each of the faults of a call above.
    *(
        Fault(
            f"{call} struck",
            none_at=dict.fromkeys(("binance-portfolio", "coinswitch"), _LOCAL),
            note="By each fault of a call above, once the countdown stands at this call, and with a press "
            "in its midst. What is said of it meanwhile is no more than the venue has.",
        )
        for call in ("arming", "heartbeat", "disarming")
    ),
    # The processes: accounts of all four venues in one panic.
    Fault("worker killed", note="`kill -9` at twenty random points of a sweep at each venue."),
    Fault(
        "heartbeat worker killed",
        none_at=dict.fromkeys(("binance-portfolio", "coinswitch"), _LOCAL),
        note="`kill -9` while the venue holds calls that arm, keep alive and disarm, before and after it "
        "acted.",
    ),
    Fault("task delivered twice"),
    Fault("task delivered ten times at once"),
    Fault("Redis killed"),
    Fault("Redis frozen"),
    Fault("database locked for 5 s"),
    Fault("web killed after the press"),
    Fault(
        "disk full",
        note="No process can write to any file. What was pressed goes on when there is room again; a press "
        "meanwhile is refused, and says so.",
    ),
)
BY_NAME = {fault.name: fault for fault in FAULTS}


def label(fault: str, venue: str) -> str:
    """What the id of a test must hold, between brackets or hyphens, to count for a cell."""
    return f"{fault} at {venue}"


def cells(*faults: str) -> list[Any]:
    """Parameters `(venue, fault)` for every venue at which there are such faults, named as their cells."""
    return [
        pytest.param(venue, fault, id=label(fault, venue))
        for fault in faults
        for venue in VENUES
        if venue not in BY_NAME[fault].none_at
    ]


def cells_of(test_id: str) -> set[str]:
    """The cells that an id names between its brackets, by itself or beside other parameters."""
    bracketed = re.search(r"\[(.*)\]$", test_id)
    parameters = f"-{bracketed[1]}-" if bracketed else ""
    known = {label(fault.name, venue) for fault in FAULTS for venue in VENUES}
    return {cell for cell in known if f"-{cell}-" in parameters}


class Results:
    """A plugin of pytest that takes down what became of the tests of each cell, set-up and end included."""

    def __init__(self) -> None:
        self._outcomes: dict[str, set[str]] = defaultdict(set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for cell in cells_of(report.nodeid):
            self._outcomes[cell].add(report.outcome)

    def held(self) -> set[str]:
        """The cells whose tests have all passed."""
        return {cell for cell, outcomes in self._outcomes.items() if outcomes == {"passed"}}


def every_cell() -> set[str]:
    """The cells of the table: a venue, and a fault that there is at it."""
    return {label(fault.name, venue) for fault in FAULTS for venue in VENUES if venue not in fault.none_at}


def table(held: set[str]) -> str:
    """The matrix as the README shows it, with its notes below."""
    notes: list[str] = []

    def mark(note: str) -> str:
        if not note:
            return ""
        if note not in notes:
            notes.append(note)
        return f" ({notes.index(note) + 1})"

    lines = [
        f"| fault | {' | '.join(VENUES.values())} |",
        f"|---|{'---|' * len(VENUES)}",
    ]
    for fault in FAULTS:
        row = [f"{fault.name}{mark(fault.note)}"]
        for venue in VENUES:
            why = fault.none_at.get(venue)
            if why is None:
                row.append("held" if label(fault.name, venue) in held else "NOT HELD")
            else:
                row.append(f"none there{mark(why)}")
        lines.append(f"| {' | '.join(row)} |")
    lines.append("")
    lines += [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    return "\n".join(lines)


def in_readme(text: str) -> tuple[str, str, str]:
    """The README before, between and behind the markers."""
    before, begin, rest = text.partition(BEGIN)
    inside, end, behind = rest.partition(END)
    assert begin, f"{README.name} has no line {BEGIN}"
    assert end, f"{README.name} has no line {END}"
    return before, inside.strip(), behind


def main() -> int:
    """Run every test of this folder and write the table. Returns pytest's exit status."""
    results = Results()
    # Whether the README shows the table is left out: it is about to.
    status = pytest.main(["-q", str(Path(__file__).parent), "-k", "not test_readme_shows"], plugins=[results])
    before, _, behind = in_readme(README.read_text())
    README.write_text(f"{before}{BEGIN}\n\n{table(results.held())}\n\n{END}{behind}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
