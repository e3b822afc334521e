"""The stream: one server-sent-events connection a page, one broadcaster a web process.

State, not an event log: the broadcaster reads what is running, renders each fragment once for all
viewers, and sends those that changed; whoever connects gets the whole state first, so nothing depends
on what was missed. A tick every second carries the server's time and the time of the last reading that
succeeded. The browser alone decides that a page is stale.
"""

import asyncio
import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import auth
from django.contrib.auth.decorators import login_not_required
from django.contrib.sessions.backends.base import SessionBase
from django.db import DatabaseError, close_old_connections, connections
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from panicboard.fragments import Fragments, Renderer, Topic, topics_of

logger = logging.getLogger(__name__)

#: Seconds between two readings: while anything runs, and otherwise.
BUSY_S, QUIET_S = 0.1, 1.0
TICK_S = 1.0
#: How often a stream makes sure that its viewer is still signed in.
CHECK_LOGIN_S = 15.0
CLOSE_CONNECTIONS_S = 30.0
#: For this long the notice line tells of trouble that is over.
TELL_OF_TROUBLE = timedelta(seconds=30)


class Viewer:
    """One open stream, and the latest of each fragment that it has not sent yet.

    However slowly it is read, it holds each fragment once, and nobody waits for it.
    """

    def __init__(self, topics: frozenset[Topic]) -> None:
        self.topics = topics
        self.ended = False
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._lock = threading.Lock()
        self._pending: Fragments = {}

    def put(self, fragments: Fragments) -> None:
        """Leave fragments to be sent; older ones of the same name are replaced. From any thread."""
        with self._lock:
            self._pending.update(fragments)
        self._call(self._wake.set)

    def end(self) -> None:
        """Have the stream end itself. From any thread."""
        self.ended = True
        self._call(self._wake.set)

    def take(self) -> Fragments:
        with self._lock:
            pending, self._pending = self._pending, {}
        return pending

    async def wait(self, seconds: float) -> None:
        """Wait until there is something to send, at most so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), max(0.0, seconds))
        self._wake.clear()

    def _call(self, act: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has ended, and the viewer with it
            self._loop.call_soon_threadsafe(act)


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
            viewer.end()

    def tick(self) -> dict[str, str | None]:
        """What each tick says: the server's time, when the state was last read, and what is wrong."""
        read_at = self._read_at
        return {
            "now": timezone.now().isoformat(),
            "read": read_at.isoformat() if read_at else None,
            "trouble": self._trouble,
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
            took_s = time.monotonic() - started
            # Never more than half of the time, however much there is to read.
            self._wake.wait(max(took_s, (BUSY_S if renderer.running else QUIET_S) - took_s))
        connections.close_all()

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
        for viewer in viewers:
            source = current if viewer in fresh else changed
            news = {name: html for topic in viewer.topics for name, html in source[topic].items()}
            if news:
                viewer.put(news)
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


@login_not_required  # an expired login is told on the stream itself
@require_GET
async def events(request: HttpRequest) -> StreamingHttpResponse:
    """The stream of one page: `fragment` events, a `tick` a second, `login` when the login has expired."""
    user = await request.auser()
    topics = topics_of(request.GET)
    signed_in = user.is_authenticated and request.session.session_key
    # The stream lives long; the connection by which the login was looked up must not.
    await sync_to_async(connections.close_all)()
    frames = _Frames(topics, request.session) if signed_in else _signed_out()
    return StreamingHttpResponse(
        frames,
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@login_not_required
@require_GET
def poll(request: HttpRequest) -> JsonResponse:
    """The same state in one reply, for browsers that get no stream: the tick and every fragment."""
    if not request.user.is_authenticated:
        return JsonResponse({}, status=401)
    now = timezone.now()
    topics = Renderer().read(topics_of(request.GET), now)
    fragments = [html for topic in topics.values() for html in topic.values()]
    tick = {"now": now.isoformat(), "read": now.isoformat(), "trouble": ""}
    return JsonResponse({"tick": tick, "fragments": fragments}, headers={"Cache-Control": "no-store"})


class _Frames:
    """What one page is sent, until it goes, its login expires, or the process ends.

    Closed by Django with its response, however that ended.
    """

    def __init__(self, topics: frozenset[Topic], session: SessionBase) -> None:
        self._topics = topics
        self._session = session
        self._viewer: Viewer | None = None

    def __aiter__(self) -> AsyncIterator[str]:
        return self._send()

    def close(self) -> None:
        if self._viewer:
            broadcaster.leave(self._viewer)

    async def _send(self) -> AsyncIterator[str]:
        _end_streams_on_signals(asyncio.get_running_loop())
        self._viewer = viewer = broadcaster.join(self._topics)
        clock = asyncio.get_running_loop().time
        tick_at, check_at = clock(), clock() + CHECK_LOGIN_S
        yield "retry: 1000\n\n"
        while not viewer.ended:
            await viewer.wait(tick_at - clock())
            frame = "".join(_event("fragment", html) for html in viewer.take().values())
            if clock() >= tick_at:
                frame += _event("tick", json.dumps(broadcaster.tick()))
                tick_at = max(tick_at + TICK_S, clock())
            if frame:
                yield frame
            if clock() >= check_at:
                check_at = clock() + CHECK_LOGIN_S
                if not await sync_to_async(_is_signed_in, thread_sensitive=False)(self._session):
                    yield _event("login", "expired")
                    return


async def _signed_out() -> AsyncIterator[str]:
    yield _event("login", "expired")


def _event(name: str, data: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.splitlines() if line.strip()) or "data:\n"
    return f"event: {name}\n{lines}\n"


def _is_signed_in(session: SessionBase) -> bool:
    """Whether the login of this session holds, looked up anew."""
    request = HttpRequest()
    request.session = type(session)(session.session_key)
    try:
        return bool(auth.get_user(request).is_authenticated)
    except DatabaseError:
        return True  # nobody knows; the ticks tell of the trouble
    finally:
        connections.close_all()


_signals_taken = False


def _end_streams_on_signals(loop: asyncio.AbstractEventLoop) -> None:
    """End the streams when the server is told to end: it waits for them, and they would never end."""
    global _signals_taken
    if _signals_taken or threading.current_thread() is not threading.main_thread():
        return
    _signals_taken = True
    for number in (signal.SIGINT, signal.SIGTERM):
        earlier = signal.getsignal(number)

        def handler(signum: int, frame: Any, earlier: Any = earlier) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone, and its streams with it
                loop.call_soon_threadsafe(broadcaster.end_all)
            if callable(earlier):
                earlier(signum, frame)

        if callable(earlier):  # a server is listening; without one the signal keeps its plain meaning
            signal.signal(number, handler)
