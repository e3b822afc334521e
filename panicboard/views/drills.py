"""Drills: their list with the form that begins one, and the report of each."""

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.timezone import now as utc_now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from panicboard import drill_state, drills
from panicboard.forms import DrillForm
from panicboard.models import Drill
from panicboard.views.replies import go

DRILLS_A_PAGE = 25


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """POST: begin a drill. GET: the form for one, and every drill, newest first, a page at a time."""
    if request.method != "POST":
        return _list(request, DrillForm())
    if not request.user.has_perm("panicboard.press"):
        raise PermissionDenied(f"{request.user} has no right to begin a drill.")
    assert isinstance(request.user, User)  # noqa: S101 (whoever has a right is signed in)
    form = DrillForm(request.POST)
    if not form.is_valid():
        said = " ".join(str(error) for errors in form.errors.values() for error in errors)
        return _list(request, form, f"DRILL NOT BEGUN - {said}")
    try:
        begun = drills.start(
            form.drill_scope,
            begun_by=request.user,
            begun_by_name=request.user.get_username(),
            reason=form.cleaned_data["reason"],
        )
    except drills.NothingToRead as exc:
        return _list(request, form, f"DRILL NOT BEGUN - {exc}")
    return go(request, begun.drill.get_absolute_url())


@require_safe
def drill(request: HttpRequest, pk: int) -> HttpResponse:
    """The report of one drill, as it comes about."""
    try:
        found = drill_state.read(pk)
    except Drill.DoesNotExist:
        raise Http404(f"There is no drill {pk}.") from None
    return render(request, "drill.html", {"drill": found, "now": utc_now(), "page": "drill"})


def _list(request: HttpRequest, form: DrillForm, error: str = "") -> HttpResponse:
    pages = Paginator(Drill.objects.select_related("desk", "account"), DRILLS_A_PAGE)
    shown = pages.get_page(request.GET.get("page"))
    context = {
        "page": "drills",
        "shown": shown,
        "rows": drill_state.lines(shown.object_list),
        "form": form,
        "error": error,
    }
    return render(request, "drills.html", context, status=422 if error else 200)
