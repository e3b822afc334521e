"""The broadcaster: one thread a web process reads state, renders it once, and hands it to every viewer.

State, not an event log: each viewer gets the whole state first and then what changed, so nothing depends
on what was missed. No viewer waits for another, and trouble with the database ends no stream.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.db import DatabaseError, close_old_connections, connections
from django.utils import timezone

from panicboard import version
from panicboard.fragments import Fragments, Renderer, Topic

logger = logging.getLogger(__name__)

#: Fragments by topic and name: pages of different topics may share a viewer.
News = dict[tuple[Topic, str], str]

#: Seconds between two readings, while anything runs: at the least, however much happens, and at the most,
#: for what changes with time alone. Otherwise at the most so long.
BUSY_S, BUSY_AT_MOST_S, QUIET_S = 0.05, 0.25, 1.0
#: Sending to one viewer takes so long of the one thread that sends; between two readings it gets twice that.
SEND_S = 0.0001
#: How often it is asked between two readings whether anything happened.
LOOK_EVERY_S = 0.01
#: What is written down together comes in several commits, one right after the other: all are awaited.
SETTLE_S = 0.005
CLOSE_CONNECTIONS_S = 30.0
#: For this long the notice line tells of trouble that is over.
TELL_OF_TROUBLE = timedelta(seconds=30)


class Batch:
    """Fragments that go out together, to any number of viewers."""

    def __init__(self, news: News) -> None:
        self.news = news
        self._frame: str | None = None

    def frame(self, written: Callable[[News], str]) -> str:
        """These fragments as they are `written` for the stream: once for all viewers."""
        if self._frame is None:
            self._frame = written(self.news)
        return self._frame


class Viewer:
    """One open stream, and the latest of each fragment that it has not sent yet.

    However slowly it is read, it holds each fragment once, and nobody waits for it.
    """

    def __init__(self, topics: frozenset[Topic]) -> None:
        self.topics = topics
        self.ended = False
        self.loop = asyncio.get_running_loop()
        self._woken = False
        self._waiter: asyncio.Future[None] | None = None
        self._lock = threading.Lock()
        self._pending: Batch | None = None

    def put(self, batch: Batch) -> None:
        """Leave fragments to be sent, instead of older ones of their names. From any thread; then `wake`."""
        with self._lock:
            self._pending = Batch({**self._pending.news, **batch.news}) if self._pending else batch

    def take(self) -> Batch | None:
        with self._lock:
            pending, self._pending = self._pending, None
        return pending

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken, at most so long."""
        if not self._woken and seconds > 0:
            self._waiter = self.loop.create_future()
            timer = self.loop.call_later(seconds, self.wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        self._woken = False

    def wake(self) -> None:
        """Have it look for what is to be sent. In the thread of its loop."""
        self._woken = True
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


def wake(viewers: Iterable[Viewer]) -> None:
    """Wake these, from any thread: one call for each loop, however many there are."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Viewer]] = {}
    for viewer in viewers:
        by_loop.setdefault(viewer.loop, []).append(viewer)

    def wake_each(few: list[Viewer]) -> None:
        for viewer in few:
            viewer.wake()

    for loop, few in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has ended, and its viewers with it
            loop.call_soon_threadsafe(wake_each, few)


class Broadcaster:
    """Reads, renders and hands out, in a thread that lives while there is a viewer."""

    def __init__(self, renderer: Callable[[], Renderer] = Renderer) -> None:
        self._renderer = renderer
        self._lock = threading.Lock()
        self._viewers: set[Viewer] = set()
        self._fresh: set[Viewer] = set()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._read_at: datetime | None = None
        self._trouble = ""
        self._trouble_from: datetime | None = None
        self._trouble_until: datetime | None = None

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def join(self, topics: frozenset[Topic]) -> Viewer:
        """Open a viewer: it gets the whole state first, at once."""
        viewer = Viewer(topics)
        with self._lock:
            self._viewers.add(viewer)
            self._fresh.add(viewer)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="broadcaster", daemon=True)
                self._thread.start()
        self._wake.set()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        with self._lock:
            self._viewers.discard(viewer)
            self._fresh.discard(viewer)
        self._wake.set()

    def end_all(self) -> None:
        """Have every stream end: the process is about to."""
        with self._lock:
            viewers = list(self._viewers)
        for viewer in viewers:
            viewer.ended = True
        wake(viewers)

    def tick(self) -> dict[str, str | None]:
        """What each tick says: the server's time, when the state was last read, and what is wrong."""
        read_at = self._read_at
        return {
            "now": timezone.now().isoformat(),
            "read": read_at.isoformat() if read_at else None,
            "trouble": self._trouble,
            "version": version.of_pages(),
        }

    def _run(self) -> None:
        renderer, shown = self._renderer(), dict[Topic, Fragments]()
        connections_closed_at = time.monotonic()
        while True:
            with self._lock:
                if not self._viewers:
                    self._thread = None
                    break
                viewers, fresh = list(self._viewers), set(self._fresh)
                self._fresh.clear()
            self._wake.clear()
            started = time.monotonic()
            try:
                shown = self._show(renderer, viewers, fresh, shown)
            except Exception as exc:  # the thread's edge: whatever it was, the streams go on and say so
                self._fail(exc, fresh)
            if time.monotonic() - connections_closed_at > CLOSE_CONNECTIONS_S or self._trouble:
                close_old_connections()
                connections_closed_at = time.monotonic()
            self._rest(renderer, started, len(viewers))
        connections.close_all()

    def _rest(self, renderer: Renderer, started: float, viewers: int) -> None:
        """Wait until there is something to read, or it is time to. Whoever joins is not kept waiting.

        Never more than half of the time is spent reading, and sending, however much there is.
        """
        took_s = time.monotonic() - started
        at_least_s = max(BUSY_S, 2 * took_s, 2 * SEND_S * viewers)
        if self._wake.wait(max(0.0, started + at_least_s - time.monotonic())):
            return
        until = started + (BUSY_AT_MOST_S if renderer.running else QUIET_S)
        while (left_s := until - time.monotonic()) > 0 and not self._wake.wait(min(LOOK_EVERY_S, left_s)):
            try:
                if renderer.has_news():
                    self._wake.wait(SETTLE_S)
                    return
            except Exception:  # whatever it is, the reading that comes now tells of it
                return

    def _show(
        self, renderer: Renderer, viewers: Iterable[Viewer], fresh: set[Viewer], shown: dict[Topic, Fragments]
    ) -> dict[Topic, Fragments]:
        """Read once, and give every viewer what it has not seen of its topics."""
        now = timezone.now()
        topics = {topic for viewer in viewers for topic in viewer.topics}
        current = renderer.read(topics, now, self._past_trouble(now))
        changed = {
            topic: {name: html for name, html in fragments.items() if shown.get(topic, {}).get(name) != html}
            for topic, fragments in current.items()
        }
        batches: dict[tuple[frozenset[Topic], bool], Batch] = {}
        told = []
        for viewer in viewers:
            key = viewer.topics, viewer in fresh
            if key not in batches:
                source = current if viewer in fresh else changed
                batches[key] = Batch(
                    {(topic, name): html for topic in viewer.topics for name, html in source[topic].items()}
                )
            if batches[key].news:
                viewer.put(batches[key])
                told.append(viewer)
        wake(told)
        self._read_at = now
        if self._trouble:
            self._trouble, self._trouble_until = "", now
        return current

    def _fail(self, exc: Exception, fresh: set[Viewer]) -> None:
        if not self._trouble:
            logger.exception("the board could not be read")
            self._trouble_from = timezone.now()
        what = (
            "the database does not answer" if isinstance(exc, DatabaseError) else "the board cannot be drawn"
        )
        self._trouble = f"{what} ({type(exc).__name__})"
        with self._lock:
            self._fresh |= fresh & self._viewers

    def _past_trouble(self, now: datetime) -> str:
        if not self._trouble_from:
            return ""
        until = now if self._trouble else self._trouble_until
        if until is None or now - until > TELL_OF_TROUBLE:
            return ""
        return (
            f"nothing could be read from {self._trouble_from:%H:%M:%S} to {until:%H:%M:%S}; "
            "what is shown now was read after that"
        )


broadcaster = Broadcaster()
