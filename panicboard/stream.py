"""The stream: one server-sent-events connection a page, and the poll that stands in for it.

A `fragment` event carries what htmx swaps, and as its id the topic it belongs to, for the tabs of a browser
share one stream; a `tick` every second carries the server's time and the time of the last reading that
succeeded; `login` says that the login has expired. The browser alone decides that a page is stale.
"""

import asyncio
import contextlib
import json
import signal
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import auth
from django.contrib.auth.decorators import login_not_required
from django.contrib.sessions.backends.base import SessionBase
from django.db import DatabaseError, connections
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from panicboard import version
from panicboard.broadcaster import News, Viewer, broadcaster
from panicboard.fragments import Renderer, Topic, topics_of

TICK_S = 1.0
#: A tick goes along with what is sent so shortly before its time.
TICK_WITH_S = 0.25
#: How often a stream makes sure that its viewer is still signed in.
CHECK_LOGIN_S = 15.0


@login_not_required  # an expired login is told on the stream itself
@require_GET
async def events(request: HttpRequest) -> StreamingHttpResponse:
    """The stream of one page: `fragment` events, a `tick` a second, `login` when the login has expired."""
    user = await request.auser()
    topics = topics_of(request.GET)
    signed_in = user.is_authenticated and request.session.session_key
    # The stream lives long; the connection by which the login was looked up must not.
    await sync_to_async(connections.close_all)()
    if not signed_in:
        return reply(ended("login"))
    return reply(Frames(topics, partial(_is_signed_in, request.session), CHECK_LOGIN_S, "login"))


def reply(frames: AsyncIterable[str]) -> StreamingHttpResponse:
    """A stream that no proxy keeps or holds back."""
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
    return poll_reply(topics_of(request.GET))


def poll_reply(topics: frozenset[Topic]) -> JsonResponse:
    """The tick and every fragment of these topics, read now."""
    now = timezone.now()
    read = Renderer().read(topics, now)
    fragments = [html for topic in read.values() for html in topic.values()]
    tick = {"now": now.isoformat(), "read": now.isoformat(), "trouble": "", "version": version.of_pages()}
    return JsonResponse({"tick": tick, "fragments": fragments}, headers={"Cache-Control": "no-store"})


class Frames:
    """What one page is sent, until it goes, it `may_look` no longer, or the process ends.

    That is asked every `check_s`, and its end said as the event `farewell`. Closed by Django with its
    response, however that ended.
    """

    def __init__(
        self, topics: frozenset[Topic], may_look: Callable[[], bool], check_s: float, farewell: str
    ) -> None:
        self._topics = topics
        self._may_look, self._check_s, self._farewell = may_look, check_s, farewell
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
        tick_at, check_at = clock(), clock() + self._check_s
        yield "retry: 1000\n\n"
        while not viewer.ended:
            await viewer.wait(tick_at - clock())
            batch = viewer.take()
            frame = batch.frame(_written) if batch else ""
            if clock() >= tick_at - (TICK_WITH_S if frame else 0):
                # Before the others: what it says of the time is as old as it is late.
                frame = _event("tick", json.dumps(broadcaster.tick())) + frame
                tick_at = clock() + TICK_S
            if frame:
                yield frame
            if clock() >= check_at:
                check_at = clock() + self._check_s
                if not await sync_to_async(self._ask, thread_sensitive=False)():
                    yield _event(self._farewell, "expired")
                    return

    def _ask(self) -> bool:
        try:
            return self._may_look()
        except DatabaseError:
            return True  # nobody knows; the ticks tell of the trouble
        finally:
            connections.close_all()


async def ended(farewell: str) -> AsyncIterator[str]:
    """A stream that has nothing to say but this."""
    yield _event(farewell, "expired")


def _written(news: News) -> str:
    return "".join(_event("fragment", html, topic.key) for (topic, _), html in news.items())


def _event(name: str, data: str, id_: str = "") -> str:
    named = f"id: {id_}\nevent: {name}\n" if id_ else f"event: {name}\n"
    lines = "".join(f"data: {line}\n" for line in data.splitlines() if line.strip()) or "data:\n"
    return f"{named}{lines}\n"


def _is_signed_in(session: SessionBase) -> bool:
    """Whether the login of this session holds, looked up anew."""
    request = HttpRequest()
    request.session = type(session)(session.session_key)
    return bool(auth.get_user(request).is_authenticated)


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
