"""Countdowns: armed, disarmed, unlocked by people; kept alive by bots and by people who are there."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import wraps

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required, permission_required
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from panicboard import countdown_page, countdown_state, countdowns, life_signs, secret_paths
from panicboard.database import AWAY
from panicboard.forms import ArmForm, SilenceForm
from panicboard.models import Account, Countdown, LifeSign
from panicboard.views.replies import go, refused

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
    return secret_paths.unlogged(HttpResponse(f"{text}\n", status=status, content_type="text/plain"))


@never_cache
@require_safe
def page(request: HttpRequest, pk: int) -> HttpResponse:
    """Every countdown of one account, with its last calls, and what may be done about them."""
    return _page(request, _account(pk))


@login_not_required  # htmx would follow the way to the login, and put that page where the table was
@never_cache
@require_safe
def table(request: HttpRequest, pk: int) -> HttpResponse:
    """The table of an account's countdowns, which their page asks for every second; 401 without a login.

    With what may be done about them, where that has changed since (`acts`).
    """
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    page = countdown_page.read(_account(pk))
    changed = request.GET.get("acts") not in (None, page.acts) and request.user.has_perm("panicboard.arm")
    return render(request, "partials/countdowns.html", {"page": page, "with_acts": changed})


def _page(
    request: HttpRequest, account: Account, *, error: str = "", bot_url: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "page": countdown_page.read(account),
        "error": error,
        "bot_url": bot_url,
        "sent": request.POST if error else {},
    }
    return render(request, "countdowns.html", context, status=status)


def _account(pk: int) -> Account:
    return get_object_or_404(Account.objects.select_related("venue", "desk"), pk=pk)


#: Does what was asked for one account by a user. Returns what to say of it.
Act = Callable[[HttpRequest, Account, User], str]


def _acts(act: Act) -> Callable[[HttpRequest, int], HttpResponse]:
    """A view that has an act done, says what came of it, and leads back to the account's countdowns."""

    @login_not_required  # htmx would follow the way to the login, and put that page into this one
    @require_POST
    @wraps(act)
    def view(request: HttpRequest, pk: int) -> HttpResponse:
        if not isinstance(request.user, User):
            return go(request, redirect_to_login(reverse("countdowns", args=[pk])).url)
        if not request.user.has_perm("panicboard.arm"):
            raise PermissionDenied
        account = _account(pk)
        try:
            said = act(request, account, request.user)
        except ValueError as exc:
            if request.headers.get("HX-Request"):
                return refused(request, str(exc))
            return _page(request, account, error=str(exc), status=422)
        messages.info(request, said)
        return go(request, reverse("countdowns", args=[pk]))

    return view


def _checked(form: Form) -> Form:
    """A form that is valid. Raises ValueError with one sentence."""
    if not form.is_valid():
        said = [f"{name}: {errors[0]}" for name, errors in form.errors.items()]
        raise ValueError(" ".join(said))
    return form


@_acts
def arm(request: HttpRequest, account: Account, user: User) -> str:
    """Arm countdowns over the named symbols, or over every one with open orders."""
    form = ArmForm(request.POST)
    _checked(form)
    by = user.get_username()
    if form.cleaned_data["follow"]:
        if form.wanted:
            raise ValueError("The whole account or these symbols: name none, or untick the whole account.")
        rows = countdowns.follow(account, by=by, actor=user, **form.terms)
        return f"Arming {len(rows)}, and new symbols as they appear."
    scopes = form.wanted or countdowns.open_scopes(account)
    rows = countdowns.arm(account, scopes, by=by, actor=user, **form.terms)
    return f"Arming {len(rows)} countdown{'' if len(rows) == 1 else 's'}."


@_acts
def disarm(request: HttpRequest, account: Account, user: User) -> str:
    """Disarm one countdown, or all of the account."""
    mine = Countdown.objects.filter(account=account)
    if chosen := request.POST.get("countdown", ""):
        mine = mine.filter(pk=int(chosen) if chosen.isdecimal() else 0)
    count = countdowns.disarm(mine, by=user.get_username(), actor=user)
    return f"Disarming {count}: over when the venue confirms it." if count else "Nothing was armed."


@_acts
def unlock(request: HttpRequest, account: Account, user: User) -> str:
    """Let the venue take new orders again, for a reason."""
    chosen = request.POST.get("countdown", "")
    mine = Countdown.objects.select_related("account").filter(account=account)
    one = mine.filter(pk=int(chosen) if chosen.isdecimal() else 0).first()
    if one is None:
        raise ValueError("This countdown is gone.")
    countdowns.unlock(one, request.POST.get("reason", ""), by=user.get_username(), actor=user)
    return f"Unlocking {one.scope}: over when the venue confirms it."


@_acts
def rearm(request: HttpRequest, account: Account, user: User) -> str:
    """Arm again what a panic withheld."""
    return f"Arming {countdowns.rearm(account, by=user.get_username(), actor=user)} again."


@_acts
def operator(request: HttpRequest, account: Account, user: User) -> str:
    """Have countdowns hang on somebody's presence."""
    form = SilenceForm(request.POST)
    silence_s = _checked(form).cleaned_data["silence_s"]
    life_signs.expect_operator(account, by=user.get_username(), actor=user, silence_s=silence_s)
    return f"Presence is to be confirmed every {silence_s} s from now on."


@never_cache
@require_POST
@permission_required("panicboard.arm", raise_exception=True)
def bot(request: HttpRequest, pk: int) -> HttpResponse:
    """Make the address that the account's bot calls. It is in this one answer, and nowhere else."""
    account, form = _account(pk), SilenceForm(request.POST)
    assert isinstance(request.user, User)  # noqa: S101 (nobody else has permissions)
    if not form.is_valid():
        return _page(request, account, error=str(form.errors["silence_s"][0]), status=422)
    path = life_signs.make_bot_address(
        account,
        by=request.user.get_username(),
        actor=request.user,
        silence_s=form.cleaned_data["silence_s"],
    )
    return _page(request, account, bot_url=request.build_absolute_uri(path))


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def presence(request: HttpRequest) -> HttpResponse:
    """Ask whether somebody is there, for every account that hangs on it; POST says yes.

    Every page leads here, whoever looks at it: who may not confirm is told who may.
    """
    signs = list(LifeSign.objects.filter(kind=LifeSign.Kind.OPERATOR).select_related("account__venue"))
    if request.method != "POST":
        return render(request, "presence.html", {"signs": _hanging_on(signs), "now": timezone.now()})
    if not isinstance(request.user, User) or not request.user.has_perm("panicboard.arm"):
        raise PermissionDenied
    count = life_signs.confirm_presence([sign.account for sign in signs], by=request.user.get_username())
    messages.info(request, f"Presence confirmed for {count} account{'' if count == 1 else 's'}.")
    return go(request, reverse("board"))


def _hanging_on(signs: Sequence[LifeSign]) -> list[tuple[LifeSign, datetime | None]]:
    """Each sign, and until when it has to be given: a local countdown may run out before it is due itself."""
    lines = countdown_state.by_account([sign.account for sign in signs], timezone.now())

    def until(sign: LifeSign) -> datetime | None:
        needed = (line.presence_until for line in lines.get(sign.account_id, ()))
        return min((at for at in needed if at), default=sign.silent_at)

    return [(sign, until(sign)) for sign in signs]
