"""Pages for what went wrong. The stop is on them too, and a press that came here is not lost silently."""

import sys

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse

from panicboard import people
from panicboard.database import AWAY
from panicboard.forms import PressForm
from panicboard.views.replies import go, refused, two_steps_url


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form older than the login: a press is taken up again in two steps, anything else is refused."""
    if request.path == reverse("panics"):
        return go(request, two_steps_url(PressForm(request.POST), "page"))
    sentence = "This page was older than your login, so nothing was done. Go back, reload it, and try again."
    return refused(request, sentence, status=403)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say who may not, and who can change that: a page, or a fragment where htmx asked."""
    name = request.user.get_username()
    if request.headers.get("HX-Request"):
        return refused(
            request, f"NOT DONE - {name} has no right to do this. {people.who_to_ask()}", status=403
        )
    return render(request, "403.html", {"who_to_ask": people.who_to_ask()}, status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """Something broke. This page reads nothing from the database, and still carries the stop.

    When it was the database that did not answer, it says so, and what presses without one.
    """
    pressed = request.method == "POST" and request.path == reverse("panics")
    context = {"csrf_token": get_token(request), "pressed": pressed}
    if isinstance(sys.exception(), AWAY):
        return HttpResponse(render_to_string("503.html", context), status=503, headers={"Retry-After": "5"})
    return HttpResponse(render_to_string("500.html", context), status=500)
