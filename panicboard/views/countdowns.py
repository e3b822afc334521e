"""Countdowns: armed, disarmed, unlocked by people; kept alive by bots and by people who are there."""

import logging

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from panicboard import life_signs
from panicboard.database import AWAY

logger = logging.getLogger(__name__)


@csrf_exempt  # a bot has no session: the secret in the address is all it has
@login_not_required
@never_cache
def beat(request: HttpRequest, secret: str) -> HttpResponse:
    """Hear a bot that is alive. 404: nobody has this secret (any more); 503: nothing can be kept now."""
    if request.method != "POST":
        return _answer("a bot is heard by POST", 405)
    try:
        heard = life_signs.beat(secret)
    except AWAY as exc:
        logger.error("a bot was not heard: the database does not answer (%s)", type(exc).__name__)
        return _answer("not heard: the database does not answer", 503)
    return _answer("ok", 200) if heard else _answer("nobody has this address", 404)


def _answer(text: str, status: int) -> HttpResponse:
    response = HttpResponse(f"{text}\n", status=status, content_type="text/plain")
    # Django logs the path of every refusal, and the secret is in it.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
