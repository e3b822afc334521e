"""Countdowns: armed, disarmed, unlocked by people; kept alive by bots and by people who are there."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from panicboard import life_signs


@csrf_exempt  # a bot has no session: the secret in the address is all it has
@login_not_required
@never_cache
@require_POST
def beat(request: HttpRequest, secret: str) -> HttpResponse:
    """Hear a bot that is alive. 404 for a secret that nobody has (any more)."""
    if not life_signs.beat(secret):
        return HttpResponse("unknown\n", status=404, content_type="text/plain")
    return HttpResponse("ok\n", content_type="text/plain")
