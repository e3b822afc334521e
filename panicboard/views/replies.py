"""Replies that several views give."""

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from panicboard.forms import PressForm


class SeeOther(HttpResponseRedirect):
    """303: whatever was sent, the browser now gets that page."""

    status_code = 303


def go(request: HttpRequest, url: str) -> HttpResponse:
    """Send the browser to another page: 303, or HX-Redirect where htmx asked."""
    if request.headers.get("HX-Request"):
        return HttpResponseClientRedirect(url)
    return SeeOther(url)


def refused(request: HttpRequest, sentence: str, status: int = 422) -> HttpResponse:
    """Say in one sentence why a press was not taken: a page, or a fragment where htmx asked."""
    template = "partials/refused.html" if request.headers.get("HX-Request") else "refused.html"
    return render(request, template, {"sentence": sentence}, status=status)


def two_steps_url(form: PressForm, because: str) -> str:
    """The page on which a press that was not sent can be armed and confirmed."""
    return f"{reverse('two-steps')}?{urlencode([*form.pairs, ('because', because)])}"
