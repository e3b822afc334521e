"""How states look, on pages and walls: a shape, and a kind that gives the colour. A word stands beside them.

Kinds are the stylesheets': "crit", "warn", "lock", "run", "idle", "proof", and "quiet" for what calls for
nothing.
"""

from typing import NamedTuple

from panicboard.board_state import State
from panicboard.models import Sweep


class Look(NamedTuple):
    shape: str  # of the sprite in `partials/icons.html`
    kind: str


ACCOUNTS = {
    State.PANIC: Look("crit", "crit"),
    State.FIRED: Look("crit", "crit"),
    State.NOT_READY: Look("crit", "crit"),
    State.LAPSING: Look("warn", "warn"),
    State.DEGRADED: Look("warn", "warn"),
    State.LATCHED: Look("lock", "lock"),
    State.NORMAL: Look("dot", "quiet"),
    State.DISABLED: Look("rej", "idle"),
}
SWEEPS = {
    Sweep.State.QUEUED: Look("queue", "idle"),
    Sweep.State.CANCELLING: Look("run", "run"),
    Sweep.State.READING_BACK: Look("run", "run"),
    Sweep.State.NOT_CLEAR: Look("crit", "crit"),
    Sweep.State.FAILED: Look("rej", "crit"),
    Sweep.State.CLEAR: Look("proof", "proof"),
    Sweep.State.HANDED_OVER: Look("sent", "idle"),
    Sweep.State.RELEASED: Look("lock", "idle"),
}
