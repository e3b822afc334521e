"""What a wall screen shows of the board: one state word, one number, and at most twelve tiles. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from panicboard import looks
from panicboard.board_state import AccountRow, Board, RunningPanic, State
from panicboard.models import Sweep
from panicboard.models.panics import CLEAR_BUT_KEPT

TILES = 12
#: How long one page of the quiet accounts stands.
PAGE_S = 10


@dataclass(frozen=True, slots=True)
class Tile:
    name: str
    word: str
    icon: str
    look: str
    #: Open orders; None where nobody knows.
    count: int | None


@dataclass(frozen=True, slots=True)
class Hero:
    """The worst there is, in one word and one number."""

    word: str
    detail: str
    look: str
    #: None: no account could be read.
    count: int | None
    said: str
    more: str
    since: datetime | None = None  # of the panic that runs


@dataclass(frozen=True, slots=True)
class WallPage:
    environment: str
    is_live: bool
    #: The drill that runs, in two words; empty while none does, or a panic does.
    drill: str
    hero: Hero
    tiles: tuple[Tile, ...]


def of(board: Board, now: datetime) -> WallPage:
    """What a wall shows at this moment; the quiet accounts take turns."""
    drill = board.shown_drill
    every = (row for desk in board.desks for row in desk.rows if row.state is not State.DISABLED)
    rows = sorted(every, key=lambda row: row.rank)
    running = {panic.pk for panic in board.running}
    return WallPage(
        # There is room for so much: what kind of venues these are is told all the same.
        environment=board.environment.removesuffix(" VENUES") if drill else board.environment,
        drill=f"DRILL {drill.pk}" if drill else "",
        is_live=board.is_live,
        hero=_hero(board, rows),
        tiles=tuple(_tiles(rows, running, int(now.timestamp()) // PAGE_S)),
    )


def _hero(board: Board, rows: Sequence[AccountRow]) -> Hero:
    if board.running:
        return _panic_hero(board.running, [row for row in rows if _is_unlisted(row)])
    summary = board.summary
    worst = rows[0] if rows else None
    state = worst.state if worst else State.NORMAL
    word = worst.word if worst and state < State.NORMAL else "READY"
    affected = [row for row in rows if row.state is state]
    one = affected[0].name if len(affected) == 1 else f"{len(affected)} accounts"
    armed = f"{summary.armed + summary.local} of {summary.countdowns} armed" if summary.countdowns else ""
    unread = f"{summary.unread} unread" if summary.unread else ""
    return Hero(
        word=word if rows else "NO ACCOUNTS",
        detail=one if rows else "",
        look=looks.ACCOUNTS[state].kind if state < State.NORMAL else "calm",
        count=summary.open if summary.is_known else None,
        said="open order" if summary.open == 1 else "open orders",
        more=" \N{MIDDLE DOT} ".join(said for said in (unread, armed) if said),
    )


def _is_unlisted(row: AccountRow) -> bool:
    """Whether its sweep knows none of its orders yet: what was last read of it is the best there is."""
    return row.sweep is not None and not row.sweep.tally.total


def _panic_hero(running: Sequence[RunningPanic], unlisted: Sequence[AccountRow]) -> Hero:
    accounts, clear = sum(one.accounts for one in running), sum(one.clear for one in running)
    waiting = sum(row.open for row in unlisted if row.read)
    more = [f"{len(unlisted)} not listed"] if unlisted else []
    return Hero(
        word="PANIC",
        detail=running[0].scope_label if len(running) == 1 else f"{len(running)} panics",
        look="crit",
        count=sum(one.tally.still_open for one in running) + waiting,
        said=f"of {sum(one.tally.total for one in running) + waiting:,} still open",
        more=" \N{MIDDLE DOT} ".join([*more, f"{clear} of {accounts} clear"]),
        since=min(one.pressed_at for one in running),
    )


def _tiles(rows: Sequence[AccountRow], running: set[int], turn: int) -> list[Tile]:
    """The abnormal ones first, always; of the others as many as fit, page after page."""
    if len(rows) <= TILES:
        return [_tile(row, running) for row in rows]
    abnormal = [row for row in rows if row.state < State.NORMAL]
    quiet = list(rows[len(abnormal) :])
    # More abnormal ones than there is room for take turns themselves.
    pinned, turning, others = (abnormal, quiet, []) if len(abnormal) < TILES else ([], abnormal, quiet)
    room = TILES - len(pinned) - 1
    pages = -(-len(turning) // room) if room else 1
    begin = turn % pages * room
    shown = [*pinned, *turning[begin : begin + room]]
    hidden = [row for row in [*turning, *others] if row not in shown]
    return [*(_tile(row, running) for row in shown), _more(hidden)]


def _tile(row: AccountRow, running: set[int]) -> Tile:
    count = row.open if row.read else None
    if row.sweep:
        still_open = count if _is_unlisted(row) else row.sweep.tally.still_open
        look = looks.SWEEPS[Sweep.State(row.sweep.state)]
        return Tile(row.name, row.sweep.state_label, *look, still_open)
    if row.latch and row.latch.panic_id in running and row.latch.read_back_at:
        return Tile(row.name, CLEAR_BUT_KEPT if row.latch.kept else "CLEAR", "proof", "proof", count)
    return Tile(row.name, row.word, *looks.ACCOUNTS[row.state], count)


def _more(hidden: Sequence[AccountRow]) -> Tile:
    """One tile for those that are not shown now, in the look of the worst of them."""
    worst = min(hidden, key=lambda row: row.rank)
    known = [row.open for row in hidden if row.read]
    count = sum(known) if known else None
    return Tile(f"{len(hidden)} more", worst.word, *looks.ACCOUNTS[worst.state], count)
