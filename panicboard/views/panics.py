"""The page of one panic, and what can be done there."""

from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required, permission_required
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils.timezone import now as utc_now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from panicboard import countdowns, order_table, panic_state, panics, record
from panicboard.forms import ReasonForm, ReleaseForm
from panicboard.fragments import MOST_OPEN
from panicboard.models import Panic, SweptOrder
from panicboard.order_table import ON_PAGE, ON_PAPER, OrderTable
from panicboard.panic_state import PanicPage, SweepRow
from panicboard.views.replies import go

#: So many sweeps have a row that is not folded away, besides those that are bad.
MOST_ROWS = 30


@require_safe
def panic(request: HttpRequest, pk: int) -> HttpResponse:
    """One panic. `?sweep=` and `?all=` open the orders of sweeps, `?rows=all` shows every sweep.

    `?record=1` does all of that, to be printed.
    """
    return _page(request, pk)


@require_POST
@permission_required("panicboard.press", raise_exception=True)
def sweep_now(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the unfinished sweeps go on at once."""
    found = get_object_or_404(Panic, pk=pk)
    count = panics.sweep_now(found)
    messages.info(request, f"Sweeping on at once: {count} account{'' if count == 1 else 's'} not clear.")
    return go(request, found.get_absolute_url())


@require_POST
@permission_required("panicboard.press", raise_exception=True)
def reason(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep why a panic was pressed."""
    found = get_object_or_404(Panic, pk=pk)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, pk, status=422, reason_error=_sentence(form))
    by = _user(request)
    panics.give_reason(found, form.cleaned_data["reason"], by=by, by_name=by.get_username())
    return go(request, found.get_absolute_url())


@require_POST
@permission_required("panicboard.release", raise_exception=True)
def release(request: HttpRequest, pk: int) -> HttpResponse:
    """Release the accounts that a panic holds latched."""
    found = get_object_or_404(Panic, pk=pk)
    form = ReleaseForm(request.POST)
    if not form.is_valid():
        said = request.POST.get("reason", "")
        return _page(request, pk, status=422, release_error=_sentence(form), release_reason=said)
    by = _user(request)
    count = panics.release(
        found, released_by=by, released_by_name=by.get_username(), reason=form.cleaned_data["reason"]
    )
    said = f"{count} account{'' if count == 1 else 's'} released."
    if names := countdowns.released_unarmed(found):
        said += f" Their countdowns are not armed again: see to it on their pages: {', '.join(names)}."
    messages.info(request, said)
    return go(request, found.get_absolute_url())


@login_not_required  # htmx would follow the way to the login, and put that page where the orders were
@never_cache
@require_safe
def orders(request: HttpRequest, pk: int) -> HttpResponse:
    """The orders of one panic that match `outcome`, `symbol` and `account`, a `page` at a time.

    A page; or its table alone, for htmx, which gets 401 without a login.
    """
    alone = bool(request.headers.get("HX-Request"))
    if not request.user.is_authenticated:
        return HttpResponse(status=401) if alone else redirect_to_login(request.get_full_path())
    found = get_object_or_404(Panic, pk=pk)
    chosen = {name: request.GET.get(name, "") for name in ("outcome", "symbol", "account")}
    number = request.GET.get("page", "")
    page = int(number) if number.isdecimal() else 1
    context = {
        "found": order_table.find(found, utc_now(), page=page, **chosen),
        "chosen": chosen,
        "outcomes": SweptOrder.Outcome.choices,
        "alone": alone,
        "page": "panic",
        "query": urlencode({name: value for name, value in chosen.items() if value}),
    }
    return render(request, "partials/found_orders.html" if alone else "panic_orders.html", context)


@never_cache
@require_safe
def record_file(request: HttpRequest, pk: int) -> HttpResponse:
    """The whole record of a panic as a JSON file."""
    found = get_object_or_404(Panic.objects.select_related("desk", "account"), pk=pk)
    name = f'attachment; filename="panic-{pk}.json"'
    return JsonResponse(
        record.of(found), headers={"Content-Disposition": name}, json_dumps_params={"indent": 1}
    )


def _page(request: HttpRequest, pk: int, status: int = 200, **more: str) -> HttpResponse:
    now = utc_now()
    try:
        page = panic_state.read(pk, now)
    except Panic.DoesNotExist:
        raise Http404(f"There is no panic {pk}.") from None
    printing = bool(request.GET.get("record"))
    all_rows = printing or request.GET.get("rows") == "all"
    sweeps = _sweeps(request, page, everything=printing, all_rows=all_rows)
    context = {
        "panic": page,
        "sweeps": sweeps,
        "folded": sum(folded for _, _, folded in sweeps),
        "most_rows": MOST_ROWS,
        "all_rows": all_rows,
        "record": printing,
        "now": now,
        "page": "panic",
        **more,
    }
    return render(request, "panic.html", context, status=status)


def _sweeps(
    request: HttpRequest, page: PanicPage, *, everything: bool, all_rows: bool
) -> list[tuple[SweepRow, OrderTable | None, bool]]:
    """Each sweep with the table of its orders, where that is open: the worst one's, if none is named.

    And whether its row is folded away: those of the least bad ones, where there are many.
    """
    short, full = set(request.GET.getlist("sweep")), set(request.GET.getlist("all"))
    opened = {row.pk for row in page.sweeps if str(row.pk) in short | full} or {
        row.pk for row in page.sweeps[:1]
    }
    shown = set(sorted(opened)[:MOST_OPEN])
    most = ON_PAPER if everything else ON_PAGE

    def table(row: SweepRow) -> OrderTable | None:
        if not everything and row.pk not in shown:
            return None
        return order_table.read(row.pk, full=everything or str(row.pk) in full, most=most)

    def is_folded(place: int, row: SweepRow) -> bool:
        return place >= MOST_ROWS and not (all_rows or row.is_bad or row.pk in shown)

    return [(row, table(row), is_folded(place, row)) for place, row in enumerate(page.sweeps)]


def _sentence(form: ReasonForm | ReleaseForm) -> str:
    return " ".join(str(error) for errors in form.errors.values() for error in errors)


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101 (permission_required)
    return request.user
