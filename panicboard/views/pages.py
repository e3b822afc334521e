"""The board, the history of panics, one account, the limits; and the masthead of them all."""

from typing import Any

from django.contrib.auth.decorators import login_not_required, login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.functional import SimpleLazyObject
from django.utils.timezone import now as utc_now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from panicboard import account_state, board_state, first_steps, history_state, limits_state, people
from panicboard.models import Account, Panic
from panicboard.views.presses import press

PANICS_A_PAGE = 25


def masthead(request: HttpRequest) -> dict[str, Any]:
    """The masthead's numbers for every page of someone signed in, read only where a page shows them."""
    if not request.user.is_authenticated:
        return {}
    return {"masthead": SimpleLazyObject(lambda: board_state.read(utc_now()))}


@require_safe
def board(request: HttpRequest) -> HttpResponse:
    """The board. `?desk=<slug>&all=1` shows every account of a desk, for browsers without a script."""
    now = utc_now()
    state = board_state.read(now)
    in_full = request.GET.get("desk", "") if request.GET.get("all") else ""
    context: dict[str, Any] = {"board": state, "masthead": state, "now": now, "all": in_full, "page": "board"}
    if not state.desks:
        steps = first_steps.read(request.user)
        context |= {"steps": steps, "who_to_ask": people.who_to_ask()}
        context["next"] = next((step for step in steps if step.url and not step.done), None)
    return render(request, "board.html", context)


@login_not_required  # a script asks: the way to the login is of no use to it
@never_cache
@require_safe
def board_rows(request: HttpRequest) -> HttpResponse:
    """Rows that the board left out: of each `account` named, and all of each `desk`; 401 without a login."""
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    accounts, desks = set(request.GET.getlist("account")), set(request.GET.getlist("desk"))
    rows = [
        (desk, row)
        for desk in board_state.read(utc_now()).desks
        for row in desk.rows
        if str(row.pk) in accounts or str(desk.pk) in desks
    ]
    return render(request, "partials/account_rows.html", {"rows": rows})


@login_not_required  # the press looks after an expired login itself, the history requires one
def panics(request: HttpRequest) -> HttpResponse:
    """POST: press. GET: every panic, newest first, a page at a time."""
    return press(request) if request.method == "POST" else history(request)


@require_safe
@login_required
def history(request: HttpRequest) -> HttpResponse:
    pages = Paginator(Panic.objects.select_related("desk", "account"), PANICS_A_PAGE)
    page = pages.get_page(request.GET.get("page"))
    context = {"page": "history", "shown": page, "rows": history_state.read(page.object_list)}
    return render(request, "history.html", context)


@require_safe
def account(request: HttpRequest, pk: int) -> HttpResponse:
    """One account: its open orders as last read, to be cancelled one by one or by symbol; its sweeps.

    `?orders=2` shows the second page of them.
    """
    joined = Account.objects.select_related("desk", "venue", "reading", "egress", "second_egress")
    found, now = get_object_or_404(joined, pk=pk), utc_now()
    number = request.GET.get("orders", "")
    shown = account_state.read(found, now, int(number) if number.isdecimal() else 1)
    state = board_state.read(now)
    context = {"account": shown, "row": state.row_of(pk), "listed": shown.read_at, "now": now}
    return render(request, "account.html", {**context, "masthead": state, "page": "account"})


@require_safe
def limits(request: HttpRequest) -> HttpResponse:
    """How every venue limit stands, and what the accounts behind it need of it."""
    return render(request, "limits.html", {"limits": limits_state.read(utc_now()), "page": "limits"})


@login_not_required  # htmx would follow the way to the login, and put that page where the table was
@never_cache
@require_safe
def limits_table(request: HttpRequest) -> HttpResponse:
    """The table of the limits alone, which the page asks for again and again; 401 without a login."""
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    return render(request, "partials/limits.html", {"limits": limits_state.read(utc_now())})
