"""Walls: read-only screens that nobody signs in to. Nothing here takes a POST, or a session."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from panicboard import board_state, secret_paths, stream, version, wall_state, walls
from panicboard.fragments import Topic

TOPICS = frozenset([Topic("wall")])
#: How often the stream makes sure that its wall is not revoked.
CHECK_S = 2.0
View = Callable[[HttpRequest, str], Any]


def _only_looks(view: View) -> View:
    """Refuse everything but a look, without a word of the address in the log."""

    def refuse() -> HttpResponse:
        return secret_paths.unlogged(HttpResponseNotAllowed(["GET", "HEAD"]))

    if iscoroutinefunction(view):

        @wraps(view)
        async def looking(request: HttpRequest, secret: str) -> HttpResponseBase:
            return await view(request, secret) if request.method in ("GET", "HEAD") else refuse()

    else:

        @wraps(view)
        def looking(request: HttpRequest, secret: str) -> HttpResponseBase:
            return view(request, secret) if request.method in ("GET", "HEAD") else refuse()

    return looking


@login_not_required
@never_cache
@_only_looks
def wall(request: HttpRequest, secret: str) -> HttpResponse:
    """The screen itself; 404 where nobody has this address, or nobody has it any more."""
    if walls.find(secret) is None:
        return secret_paths.unlogged(render(request, "wall_gone.html", status=404))
    now = timezone.now()
    context = {
        "wall": wall_state.of(board_state.read(now), now),
        "now": now,
        "version": version.of_pages(),
        "events": reverse("wall-events", args=[secret]),
        "poll": reverse("wall-poll", args=[secret]),
    }
    return render(request, "wall.html", context)


@login_not_required
@_only_looks
async def events(request: HttpRequest, secret: str) -> HttpResponseBase:
    """The screen's stream: `fragment`, `tick`, and `revoked` when its address leads nowhere any more."""
    found = await sync_to_async(walls.find)(secret)
    await sync_to_async(connections.close_all)()
    if found is None:
        return stream.reply(stream.ended("revoked"))
    return stream.reply(stream.Frames(TOPICS, partial(_may_look, found.pk), CHECK_S, "revoked"))


@login_not_required
@never_cache
@_only_looks
def poll(request: HttpRequest, secret: str) -> HttpResponse:
    """The same in one reply, for screens that get no stream; 404 when revoked."""
    found = walls.find(secret)
    if found is None or not walls.is_valid(found.pk, timezone.now()):
        return secret_paths.unlogged(HttpResponse(status=404))
    return stream.poll_reply(TOPICS)


def _may_look(wall_id: int) -> bool:
    return walls.is_valid(wall_id, timezone.now())
