"""The curve of open orders after a press, laid out for the page's inline SVG."""

from collections.abc import Iterable
from dataclasses import dataclass

LEFT, RIGHT, TOP, BOTTOM = 34.0, 460.0, 8.0, 108.0
#: Lengths of the time axis, in seconds; beyond the last one it is the elapsed time itself.
AXES_S = (1, 2, 4, 10, 20, 40, 60, 120, 300, 600, 1200, 3600)
TICKS = 4
#: About as wide as a letter of a mark's label.
LETTER = 6.5


@dataclass(frozen=True, slots=True)
class Change:
    """So many orders more (or fewer) are open from this many ms after the press."""

    at_ms: float
    by: int


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    x: float
    label: str
    anchor: str
    label_x: float


@dataclass(frozen=True, slots=True)
class Curve:
    line: str
    area: str
    most: int
    ticks: tuple[Tick, ...]
    now: Mark
    first_clear: Mark | None
    label: str


def draw(
    changes: Iterable[Change], *, until_ms: float, left: str, over: bool, first_clear_ms: float | None
) -> Curve:
    """Lay out the curve from the press to `until_ms`; at most one step a pixel."""
    steps = _steps(changes, until_ms)
    most = max((height for _, height in steps), default=0)
    axis_ms = next((1000.0 * axis for axis in AXES_S if 1000 * axis >= until_ms), until_ms)

    def x(at_ms: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * min(at_ms, axis_ms) / axis_ms, 1)

    def y(height: int) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * height / most, 1) if most else BOTTOM

    by_pixel: dict[int, tuple[float, int]] = {}
    for at_ms, height in steps:
        by_pixel[round(x(at_ms))] = (x(at_ms), height)
    path = [f"M{LEFT} {y(steps[0][1]) if steps else BOTTOM}"]
    path += [f"H{at_x}V{y(height)}" for at_x, height in by_pixel.values()]
    path.append(f"H{x(until_ms)}")
    line = "".join(path)
    return Curve(
        line=line,
        area=f"{line}V{BOTTOM}H{LEFT}z",
        most=most,
        ticks=tuple(
            Tick(x(axis_ms * part / TICKS), _seconds(axis_ms * part / TICKS)) for part in range(TICKS + 1)
        ),
        now=_mark(x(until_ms), f"{left} left" if over else f"{left} now"),
        first_clear=None
        if first_clear_ms is None
        else _mark(x(first_clear_ms), f"first account clear +{first_clear_ms:,.0f} ms"),
        label=f"Open orders over time: {most} at most, {left} open after {until_ms / 1000:.1f} s",
    )


def _steps(changes: Iterable[Change], until_ms: float) -> list[tuple[float, int]]:
    """How many orders are open from which time on; what the press found is there from its start."""
    steps: list[tuple[float, int]] = []
    height = 0
    for change in sorted(changes, key=lambda change: (change.at_ms, -change.by)):
        height += change.by
        at_ms = min(max(0.0, change.at_ms), until_ms)
        if steps and steps[-1][0] == at_ms:
            steps.pop()
        steps.append((at_ms, height))
    return steps


def _mark(x: float, label: str) -> Mark:
    if x + LETTER * len(label) > RIGHT:
        return Mark(x, label, "end", x - 5)
    return Mark(x, label, "start", x + 5)


def _seconds(ms: float) -> str:
    return f"{ms / 1000:g} s" if ms < 120_000 else f"{ms / 60_000:g} min"
