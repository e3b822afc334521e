"""The press, by hold or in two steps."""

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required, permission_required
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.timezone import now as utc_now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from panicboard import panics
from panicboard.forms import ARMED_S, PressForm
from panicboard.models import Panic
from panicboard.views.replies import go, refused, two_steps_url

#: Why a press waits for its confirmation, in the words of the page that asks for it.
BECAUSE = {
    "login": "NOT SENT - your login had expired.",
    "page": "NOT SENT - the page was older than your login.",
    "armed": f"NOT SENT - it was armed more than {ARMED_S} s ago. Arm it again.",
    "held": "Not sent yet: this press was not held.",
}


@login_not_required  # an expired login must not lose a press: it is taken up again after signing in
@require_POST
def press(request: HttpRequest) -> HttpResponse:
    """Start a panic over the posted scope, or join the one that runs there already."""
    form = PressForm(request.POST)
    if not isinstance(request.user, User):
        return go(request, redirect_to_login(two_steps_url(form, "login")).url)
    if not request.user.has_perm("panicboard.press"):
        return refused(request, f"NOT SENT - {request.user} has no right to press.", status=403)
    if not form.is_valid():
        return refused(request, form.sentence)
    if form.held_ms is None and not form.was_armed:
        return go(request, two_steps_url(form, "armed" if request.POST.get("armed") else "held"))
    try:
        pressed = panics.start(
            form.panic_scope,
            pressed_by=request.user,
            pressed_by_name=request.user.get_username(),
            via=Panic.Via.BOARD,
            held_ms=form.held_ms,
        )
    except (panics.NothingToSweep, panics.NotWritten) as exc:
        return refused(request, str(exc))
    if pressed.joined:
        panic = pressed.panic
        said = f"Joined panic {panic.pk}, begun by {panic.pressed_by_name} at {panic.pressed_at:%H:%M:%S}."
        if form.panic_scope.keep_protective and not panic.keep_protective:
            said += " It keeps no protective orders."
        messages.info(request, said)
    return go(request, pressed.panic.get_absolute_url())


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("panicboard.press", raise_exception=True)
def two_steps(request: HttpRequest) -> HttpResponse:
    """Arm a press (POST), then confirm it within ten seconds: for whoever cannot hold a button."""
    arming = request.method == "POST"
    form = PressForm(request.POST if arming else request.GET)
    if not form.is_valid():
        return refused(request, form.sentence)
    context = {
        "form": form,
        "scope": form.panic_scope,
        "armed": form.arm() if arming else "",
        "armed_s": ARMED_S,
        "because": BECAUSE.get(request.GET.get("because", ""), ""),
        "now": utc_now(),
    }
    return render(request, "two_steps.html", context)
