"""The stream: one server-sent-events connection a page, and the poll that stands in for it.

A `fragment` event carries what htmx swaps; a `tick` every second carries the server's time and the time
of the last reading that succeeded; `login` says that the login has expired. The browser alone decides
that a page is stale.
"""

import asyncio
import contextlib
import json
import signal
import threading
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import auth
from django.contrib.auth.decorators import login_not_required
from django.contrib.sessions.backends.base import SessionBase
from django.db import DatabaseError, connections
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from panicboard.broadcaster import Viewer, broadcaster
from panicboard.fragments import Renderer, Topic, topics_of

TICK_S = 1.0
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
