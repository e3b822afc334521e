"""Pages for what went wrong. The stop is on them too, and a press that came here is not lost silently."""

import sys

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.urls import reverse

from panicboard.database import AWAY
from panicboard.forms import PressForm
from panicboard.views.replies import go, refused, two_steps_url


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form older than the login: a press is taken up again in two steps, anything else is refused."""
    if request.path == reverse("panics"):
        return go(request, two_steps_url(PressForm(request.POST), "page"))
    sentence = "This page was older than your login, so nothing was done. Go back, reload it, and try again."
    return refused(request, sentence, status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """Something broke. This page reads nothing from the database, and still carries the stop.

    When it was the database that did not answer, it says so, and what presses without one.
    """
    pressed = request.method == "POST" and request.path == reverse("panics")
    context = {"csrf_token": get_token(request), "pressed": pressed}
    if isinstance(sys.exception(), AWAY):
        return HttpResponse(render_to_string("503.html", context), status=503, headers={"Retry-After": "5"})
    return HttpResponse(render_to_string("500.html", context), status=500)
