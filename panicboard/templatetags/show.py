"""How templates show times, numbers and states: one way for each, on every page."""

import re
from datetime import datetime
from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from panicboard import countdown_state, looks
from panicboard.board_state import AccountRow
from panicboard.looks import Look
from panicboard.models import DrilledAccount, Sweep, SweptOrder
from panicboard.record import plain
from panicboard.venues import VENUES

register = template.Library()

#: As in `panicboard.looks`, what is shown on these pages alone.
COUNTDOWN_STATES = {
    countdown_state.State.PASSED: Look("crit", "crit"),
    countdown_state.State.NOT_FIRED: Look("crit", "crit"),
    countdown_state.State.FIRED: Look("crit", "crit"),
    countdown_state.State.LOCKED: Look("lock", "crit"),
    countdown_state.State.LAPSING: Look("warn", "warn"),
    countdown_state.State.UNKNOWN: Look("unk", "unk"),
    countdown_state.State.ARMING: Look("run", "run"),
    countdown_state.State.DISARMING: Look("run", "run"),
    countdown_state.State.WITHHELD: Look("lock", "lock"),
    countdown_state.State.ARMED: Look("dot", "quiet"),
    countdown_state.State.FOREIGN: Look("dot", "quiet"),
    countdown_state.State.DISARMED: Look("rej", "quiet"),
}
LIMIT_STATES = {
    "refused": Look("rej", "crit"),
    "too small": Look("crit", "crit"),
    "short now": Look("warn", "warn"),
    "not counted": Look("warn", "warn"),
    "normal": Look("dot", "quiet"),
}
#: A drill borrows no other state's colour.
DRILL_STATES = {
    DrilledAccount.State.QUEUED: Look("queue", "idle"),
    DrilledAccount.State.WAITING: Look("queue", "idle"),
    DrilledAccount.State.READING: Look("run", "drillline"),
    DrilledAccount.State.CLEAR: Look("proof", "drillchip"),
    DrilledAccount.State.FAILED: Look("rej", "drillline"),
}
OUTCOMES = {
    SweptOrder.Outcome.UNKNOWN: Look("unk", "unk"),
    SweptOrder.Outcome.STILL_OPEN: Look("crit", "crit"),
    SweptOrder.Outcome.REJECTED: Look("rej", "warn"),
    SweptOrder.Outcome.ACKED: Look("ack", "idle"),
    SweptOrder.Outcome.SENT: Look("sent", "idle"),
    SweptOrder.Outcome.FILLED: Look("fill", "idle"),
    SweptOrder.Outcome.EXPIRED: Look("exp", "idle"),
    SweptOrder.Outcome.CANCELLED: Look("proof", "proof"),
}


#: As errors name a call, perhaps after its symbol.
_CALL = re.compile(r"\b(GET|POST|PUT|DELETE) /\S*: ")


@register.simple_tag
def icon(name: str) -> SafeString:
    """One shape of the sprite in `partials/icons.html`."""
    return format_html('<svg class="i" aria-hidden="true"><use href="#i-{}"/></svg>', name)


@register.simple_tag
def untold_books() -> str:
    """The books in which protective orders cannot be told apart, so that none is kept there."""
    return ", ".join(
        f"{label} orders of {adapter.label}"
        for adapter in VENUES.values()
        for label in adapter.untold_books()
    )


@register.simple_tag
def account_state(row: AccountRow) -> SafeString:
    return _tag(looks.ACCOUNTS[row.state], row.word)


@register.simple_tag
def countdown_label(state: countdown_state.State) -> SafeString:
    return _tag(COUNTDOWN_STATES[state], state.label)


@register.simple_tag
def limit_state(state: str) -> SafeString:
    return _tag(LIMIT_STATES[state], state if state == "normal" else state.upper())


@register.simple_tag
def sweep_state(state: str, label: str) -> SafeString:
    return _tag(looks.SWEEPS[Sweep.State(state)], label)


@register.simple_tag
def drill_state(state: str, label: str) -> SafeString:
    return _tag(DRILL_STATES[DrilledAccount.State(state)], label)


@register.simple_tag
def outcome(code: str, label: str, count: int | None = None) -> SafeString:
    """An order's outcome; with a count, for a tally, where nothing counted is shown quietly."""
    look = OUTCOMES[SweptOrder.Outcome(code)]
    if count == 0:
        look = look._replace(kind="idle")
    number = "" if count is None else format_html(" <b>{}</b>", grouped(count))
    return _tag(look, label, number)


@register.simple_tag
def quiet_outcome(code: str, label: str) -> SafeString:
    """An outcome that calls for nothing: shape and word, without a chip."""
    return _tag(OUTCOMES[SweptOrder.Outcome(code)]._replace(kind=""), label)


@register.filter
def grouped(number: int) -> str:
    """1284 as 1,284."""
    return f"{number:,}"


@register.filter
def without_call(reason: str) -> str:
    """What a venue said, without the call it said it to: in a narrow cell the beginning is all there is."""
    return _CALL.sub("", reason)


@register.filter
def amount(value: Decimal | None) -> str:
    """A quantity, where it is known."""
    return "?" if value is None else plain(value)


@register.filter
def clock(at: datetime) -> str:
    """Time of day in UTC."""
    return f"{at:%H:%M:%S}"


@register.filter
def clock_ms(at: datetime) -> str:
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"


@register.filter
def day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"


@register.filter
def iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


@register.filter
def ago(at: datetime) -> SafeString:
    """A time that the browser turns into its age; without JavaScript it stays the time."""
    return format_html('<time data-age datetime="{}">{}</time>', iso(at), clock(at))


@register.filter
def long_ago(at: datetime) -> SafeString:
    """As `ago`, for what is looked at for days; without JavaScript it stays the day and the time."""
    return format_html('<time data-age="long" datetime="{}">{} {}</time>', iso(at), day(at), clock(at))


@register.filter
def after(at: datetime | None, pressed_at: datetime) -> str:
    """Milliseconds after the press; beyond a hundred seconds, seconds."""
    if at is None:
        return ""
    ms = round((at - pressed_at).total_seconds() * 1000)
    return f"{ms:+,} ms" if abs(ms) < 100_000 else f"{ms / 1000:+,.0f} s"


@register.filter
def elapsed(at: datetime, pressed_at: datetime) -> str:
    """How long something took, as the panic's clock shows it."""
    return f"{(at - pressed_at).total_seconds():,.3f} s"


@register.filter
def seconds(ms: int) -> str:
    return f"{ms / 1000:.1f} s"


@register.filter
def fresh_class(at: datetime, now: datetime | None) -> str:
    """How green a proof still is: solid for 10 s, outlined for a minute, then grey.

    In the stream there is no `now`: the browser decides, as it does for every age.
    """
    if not isinstance(now, datetime):
        return ""
    age_s = (now - at).total_seconds()
    return "done" if age_s < 10 else "" if age_s < 60 else "aged"


def _tag(look: Look, word: str, more: str | SafeString = "") -> SafeString:
    classes = {"quiet": "quietly", "": ""}.get(look.kind, f"chip {look.kind}")
    return format_html('<span class="tag {}">{}{}{}</span>', classes, icon(look.shape), word, more)
