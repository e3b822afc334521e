"""The parts of a page that change by themselves: read, rendered, and named.

A fragment is the same for every viewer; what a role may press is never inside one. It is rendered again
only when the value behind it has changed, which is why the values hold times and no ages.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Count, Sum
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

from panicboard import board_state, database, drill_state, order_table, panic_state, readiness, wall_state
from panicboard.board_state import AccountRow, Board, DeskRow
from panicboard.drill_state import DrillPage
from panicboard.models import AuditEntry, Countdown, Drill, Panic, Sweep
from panicboard.panic_state import PanicPage
from panicboard.readiness import SystemReadiness
from panicboard.wall_state import WallPage

#: Marks each fragment's elements for htmx: they replace those with the same id.
OUT_OF_BAND = mark_safe(' hx-swap-oob="true"')
#: So long after it was folded away an account's row is sent on: a page may still show it.
FOLDED_FOR = timedelta(seconds=60)
#: The queue is asked this often at most: it may take its time to answer.
SYSTEM_EVERY = timedelta(seconds=1)
#: These change with every reading, or are long; each is sent once in this time at most.
SLOW_EVERY = timedelta(seconds=1)
EVERY = dict.fromkeys(("summary", "scope", "status"), SLOW_EVERY) | {"orders": SLOW_EVERY / 2}
#: Pages with a notice line of their own; what all others show is "plain".
_NAMED = frozenset({"board", "drills"})
#: How many pages may share a stream, as the tabs of one browser do, and how many sweeps they may have open.
MOST_SHARING, MOST_OPEN = 50, 60

#: Fragments by name.
Fragments = dict[str, str]
#: Name, template, the value that decides whether it has changed, and the template's context.
Part = tuple[str, str, Any, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Topic:
    """What a page shows: the board, a panic, a sweep's orders, a drill, a wall; the masthead alone ("plain",
    and "drills" where the page is their list).

    The board leaves out the rows of accounts that are folded away; those of a "desk" that was opened it has.
    """

    kind: str
    pk: int = 0
    full: bool = False

    @property
    def key(self) -> str:
        """Its name on the stream, by which each tab tells its own: `static/stream.js` makes the same."""
        return "-".join([self.kind, *([str(self.pk)] if self.pk else []), *(["full"] if self.full else [])])


def topics_of(query: QueryDict) -> frozenset[Topic]:
    """The topics that pages ask for: `page=board`, `panic=<pk>` with `sweep=<pk>` or `all=<pk>`,
    `account=<pk>`, `drill=<pk>`, or `page=drills`.

    `desk=<pk>` goes with the first. One page asks for one of these kinds; tabs that share a stream ask for
    all of theirs at once.
    """
    pages = {Topic(page if page in _NAMED else "plain") for page in query.getlist("page")}
    pages |= {Topic("panic", pk) for pk in _numbers(query, "panic")}
    pages |= {Topic("account", pk) for pk in _numbers(query, "account")}
    pages |= {Topic("drill", pk) for pk in _numbers(query, "drill")}
    pages |= {Topic("desk", pk) for pk in _numbers(query, "desk")}
    opened = [Topic("orders", pk) for pk in sorted(_numbers(query, "sweep"))]
    opened += [Topic("orders", pk, full=True) for pk in sorted(_numbers(query, "all"))]
    shown = sorted(pages, key=lambda topic: (topic.kind, topic.pk))[:MOST_SHARING] or [Topic("plain")]
    return frozenset([*shown, *opened[:MOST_OPEN]])


def _numbers(query: QueryDict, name: str) -> set[int]:
    return {int(value) for value in query.getlist(name) if value.isdecimal()}


@dataclass(frozen=True, slots=True)
class _Rendered:
    value: Any
    at: datetime
    html: str


class Renderer:
    """Reads topics and renders their fragments, remembering the last of each. For one thread."""

    def __init__(self) -> None:
        self._last: dict[tuple[Topic, str], _Rendered] = {}
        self._board: Board | None = None
        self._beside: Future[tuple[Board, timedelta]] | None = None
        self._beside_took = timedelta(0)
        self._system: SystemReadiness | None = None
        self._system_at: datetime | None = None
        self._version: object = None
        self._signs: object = None
        #: When each account was last not folded away.
        self._shown_at: dict[int, datetime] = {}
        #: Whether anything ran when it was last read.
        self.running = False

    def read(self, topics: Iterable[Topic], now: datetime, trouble: str = "") -> dict[Topic, Fragments]:
        """Read these topics from the database and render what has changed. Raises DatabaseError."""
        topics = set(topics)
        # Before anything is read: what comes meanwhile is read again.
        self._version, self._signs = database.version(), None if self.running else _signs_of_change()
        board = self._read_board(topics, now)
        pages = {topic: _panic_page(topic, now) for topic in topics if topic.kind == "panic"}
        drills = {topic: _drill_page(topic) for topic in topics if topic.kind == "drill"}
        self.running = bool(board.running) or any(page and page.running for page in pages.values())
        before, self._last = self._last, {}
        lately = self._shown_lately(board, now)
        return {
            topic: {
                part[0]: self._rendered(topic, part, before, now)
                for part in _parts(topic, board, lately, pages.get(topic), drills.get(topic), trouble)
            }
            for topic in topics
        }

    def _shown_lately(self, board: Board, now: datetime) -> frozenset[int]:
        for desk in board.desks:
            self._shown_at |= {row.pk: now for row in desk.rows if row.pk not in desk.folded}
        return frozenset(pk for pk, at in self._shown_at.items() if now - at < FOLDED_FOR)

    def has_news(self) -> bool:
        """Whether something happened since the last reading that nobody shall wait for.

        While a panic runs, that is whatever was written down; else what people did, and what fails. Raises
        DatabaseError.
        """
        version = database.version()
        if version == self._version:
            return False
        if self.running:
            return True
        self._version = version
        return _signs_of_change() != self._signs

    def _read_board(self, topics: set[Topic], now: datetime) -> Board:
        """The board. Where no page shows more of it than the masthead, once a second is enough.

        That is then read beside, and takes a twentieth of the time at most: what a panic's page shows does
        not wait for a thousand accounts.
        """
        shown = any(topic.kind in ("board", "desk", "wall") for topic in topics)
        if shown or self._board is None:
            self._board = board_state.read(now, self._system_readiness(now))
        elif self._beside is None:
            if now - self._board.read_at >= max(SLOW_EVERY, 20 * self._beside_took):
                self._beside = _BESIDE.submit(_read_beside, now, self._system_readiness(now))
        elif self._beside.done():
            beside, self._beside = self._beside, None
            board, self._beside_took = beside.result()
            self._board = max(self._board, board, key=lambda board: board.read_at)
        return self._board

    def _system_readiness(self, now: datetime) -> SystemReadiness:
        if self._system is None or self._system_at is None or now - self._system_at >= SYSTEM_EVERY:
            self._system, self._system_at = readiness.of_system(), now
        return self._system

    def _rendered(
        self, topic: Topic, part: Part, before: dict[tuple[Topic, str], _Rendered], now: datetime
    ) -> str:
        name, template, value, context = part
        rendered = before.get((topic, name))
        resting = rendered and name in EVERY and now - rendered.at < EVERY[name]
        if rendered is None or (rendered.value != value and not resting):
            html = render_to_string(f"partials/{template}.html", {**context, "oob": OUT_OF_BAND, "now": None})
            rendered = _Rendered(value, now, f"<template>{html}</template>")
        self._last[topic, name] = rendered
        return rendered.html


#: One thread for all: there is one renderer at work in a process.
_BESIDE = ThreadPoolExecutor(1, thread_name_prefix="masthead")


def _read_beside(now: datetime, system: SystemReadiness) -> tuple[Board, timedelta]:
    """The board, and how much of the processor reading it took."""
    began_s = time.thread_time()
    try:
        return board_state.read(now, system), timedelta(seconds=time.thread_time() - began_s)
    finally:
        connections.close_all()


def _signs_of_change() -> object:
    """What is another value after an act of anybody, and after a heartbeat that failed or came again."""
    acts = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True)[:1]
    missed = Countdown.objects.filter(misses__gt=0).aggregate(Count("pk"), Sum("misses"))
    return list(acts), missed


def _panic_page(topic: Topic, now: datetime) -> PanicPage | None:
    try:
        return panic_state.read(topic.pk, now)
    except Panic.DoesNotExist:
        return None


def _drill_page(topic: Topic) -> DrillPage | None:
    try:
        return drill_state.read(topic.pk)
    except Drill.DoesNotExist:
        return None


def _parts(
    topic: Topic,
    board: Board,
    lately: frozenset[int],
    page: PanicPage | None,
    drill: DrillPage | None,
    trouble: str,
) -> Iterator[Part]:
    if topic.kind == "orders":
        yield from _order_parts(topic)
        return
    if topic.kind == "wall":
        yield from _wall_parts(wall_state.of(board, board.read_at))
        return
    if topic.kind == "desk":
        for row in [row for desk in board.desks if desk.pk == topic.pk for row in desk.rows]:
            yield _account_part(row)
        return
    if topic.kind == "account" and (account := board.row_of(topic.pk)):
        yield "now", "account_now", account, {"row": account}
    if topic.kind == "board":
        for desk in board.desks:
            yield from _desk_parts(desk, lately)
    elif page:
        yield from _panic_parts(page)
    elif drill:
        yield from _drill_parts(drill)
    yield from _masthead_parts(topic, board, trouble, page, drill)


def _masthead_parts(
    topic: Topic, board: Board, trouble: str, page: PanicPage | None, drill: DrillPage | None
) -> Iterator[Part]:
    yield "summary", "summary", board.summary, {"sum": board.summary}
    yield "scope", "scope", (board.summary, board.joinable), {"board": board}
    yield "status", "status", board.summary, {"sum": board.summary}
    system = (board.system.level, board.system.reason, board.system.queue_ok)
    runs = (board.shown_drill, board.running and board.running[0].pk)
    said = (
        *(trouble, system, board.presence, runs, drill and drill.head),
        page and (page.running, page.head.scope_label),
    )
    yield (
        "notice",
        "notice",
        said,
        {
            "board": board,
            "trouble": trouble,
            "page": topic.kind if topic.kind not in ("panic", "drill") or page or drill else "",
            "panic": page,
            "drill": drill,
        },
    )


def _desk_parts(desk: DeskRow, lately: frozenset[int]) -> Iterator[Part]:
    own = desk.without_rows
    for template in ("desk_cells", "desk_accounts", "desk_quiet"):
        yield f"desk-{desk.pk}-{template}", template, own, {"desk": desk}
    count = {"prefix": "desk", "pk": desk.pk, "count": desk.open, "unread": desk.unread}
    yield f"desk-{desk.pk}-n", "zone_count", own, count
    for row in desk.rows:
        if row.pk in lately:
            yield _account_part(row)
        else:
            yield f"quiet-{row.pk}", "quiet_count", (row.read, row.open), {"row": row}


def _account_part(row: AccountRow) -> Part:
    return f"account-{row.pk}", "account_cells", row, {"row": row}


def _panic_parts(page: PanicPage) -> Iterator[Part]:
    yield "head", "panic_head", (page.head, page.curve), {"head": page.head, "panic": page}
    tally = (page.open, page.gone, page.head.settled_unknown, page.head.is_known)
    yield "tally", "tally", tally, {"panic": page}
    for row in page.sweeps:
        yield f"sweep-{row.pk}", "sweep_row", row, {"row": row}
    yield "next", "panic_next", page.next, {"next": page.next}
    yield "facts", "panic_facts", page.facts, {"facts": page.facts}
    yield "seen", "release_seen", page.head.tally, {"head": page.head}
    yield "alert", "alert", page.alerts, {"alerts": page.alerts}


def _drill_parts(drill: DrillPage) -> Iterator[Part]:
    yield "head", "drill_head", drill.head, {"head": drill.head}
    for row in drill.rows:
        yield f"drilled-{row.pk}", "drill_row", row, {"row": row}
    yield "would", "drill_would", drill.would, {"would": drill.would}


def _wall_parts(wall: WallPage) -> Iterator[Part]:
    yield "wall-top", "wall_top", (wall.environment, wall.is_live, wall.drill), {"wall": wall}
    yield "wall-hero", "wall_hero", wall.hero, {"hero": wall.hero}
    yield "wall-tiles", "wall_tiles", wall.tiles, {"tiles": wall.tiles}


def _order_parts(topic: Topic) -> Iterator[Part]:
    try:
        table = order_table.read(topic.pk, full=topic.full)
    except Sweep.DoesNotExist:
        return
    yield "orders", "orders", table, {"table": table}
