"""How templates show times, numbers and states: one way for each, on every page."""

from datetime import datetime
from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from panicboard import countdown_state
from panicboard.board_state import AccountRow, State
from panicboard.models import Sweep, SweptOrder
from panicboard.record import plain
from panicboard.venues import VENUES

register = template.Library()

#: An icon and the classes of a state: shape and word always stand beside the colour.
ACCOUNT_STATES = {
    State.PANIC: ("crit", "chip crit"),
    State.FIRED: ("crit", "chip crit"),
    State.NOT_READY: ("crit", "chip crit"),
    State.LAPSING: ("warn", "chip warn"),
    State.DEGRADED: ("warn", "chip warn"),
    State.LATCHED: ("lock", "chip lock"),
    State.NORMAL: ("dot", "quietly"),
    State.DISABLED: ("rej", "chip idle"),
}
SWEEP_STATES = {
    Sweep.State.QUEUED: ("queue", "chip idle"),
    Sweep.State.CANCELLING: ("run", "chip run"),
    Sweep.State.READING_BACK: ("run", "chip run"),
    Sweep.State.NOT_CLEAR: ("crit", "chip crit"),
    Sweep.State.FAILED: ("rej", "chip crit"),
    Sweep.State.CLEAR: ("proof", "chip proof"),
    Sweep.State.HANDED_OVER: ("sent", "chip idle"),
    Sweep.State.RELEASED: ("lock", "chip idle"),
}
COUNTDOWN_STATES = {
    countdown_state.State.PASSED: ("crit", "chip crit"),
    countdown_state.State.NOT_FIRED: ("crit", "chip crit"),
    countdown_state.State.FIRED: ("crit", "chip crit"),
    countdown_state.State.LOCKED: ("lock", "chip crit"),
    countdown_state.State.LAPSING: ("warn", "chip warn"),
    countdown_state.State.UNKNOWN: ("unk", "chip unk"),
    countdown_state.State.ARMING: ("run", "chip run"),
    countdown_state.State.DISARMING: ("run", "chip run"),
    countdown_state.State.WITHHELD: ("lock", "chip lock"),
    countdown_state.State.ARMED: ("dot", "quietly"),
    countdown_state.State.FOREIGN: ("dot", "quietly"),
    countdown_state.State.DISARMED: ("rej", "quietly"),
}
LIMIT_STATES = {
    "refused": ("rej", "chip crit"),
    "too small": ("crit", "chip crit"),
    "short now": ("warn", "chip warn"),
    "not counted": ("warn", "chip warn"),
    "normal": ("dot", "quietly"),
}
OUTCOMES = {
    SweptOrder.Outcome.UNKNOWN: ("unk", "chip unk"),
    SweptOrder.Outcome.STILL_OPEN: ("crit", "chip crit"),
    SweptOrder.Outcome.REJECTED: ("rej", "chip warn"),
    SweptOrder.Outcome.ACKED: ("ack", "chip idle"),
    SweptOrder.Outcome.SENT: ("sent", "chip idle"),
    SweptOrder.Outcome.FILLED: ("fill", "chip idle"),
    SweptOrder.Outcome.EXPIRED: ("exp", "chip idle"),
    SweptOrder.Outcome.CANCELLED: ("proof", "chip proof"),
}


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
    shape, classes = ACCOUNT_STATES[row.state]
    return _tag(shape, classes, row.word)


@register.simple_tag
def countdown_label(state: countdown_state.State) -> SafeString:
    shape, classes = COUNTDOWN_STATES[state]
    return _tag(shape, classes, state.label)


@register.simple_tag
def limit_state(state: str) -> SafeString:
    shape, classes = LIMIT_STATES[state]
    return _tag(shape, classes, state if state == "normal" else state.upper())


@register.simple_tag
def sweep_state(state: str, label: str) -> SafeString:
    shape, classes = SWEEP_STATES[Sweep.State(state)]
    return _tag(shape, classes, label)


@register.simple_tag
def outcome(code: str, label: str, count: int | None = None) -> SafeString:
    """An order's outcome; with a count, for a tally, where nothing counted is shown quietly."""
    shape, classes = OUTCOMES[SweptOrder.Outcome(code)]
    if count == 0:
        classes = "chip idle"
    number = "" if count is None else format_html(" <b>{}</b>", grouped(count))
    return _tag(shape, classes, label, number)


@register.simple_tag
def quiet_outcome(code: str, label: str) -> SafeString:
    """An outcome that calls for nothing: shape and word, without a chip."""
    return _tag(OUTCOMES[SweptOrder.Outcome(code)][0], "", label)


@register.filter
def grouped(number: int) -> str:
    """1284 as 1,284."""
    return f"{number:,}"


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


def _tag(shape: str, classes: str, word: str, more: str | SafeString = "") -> SafeString:
    return format_html('<span class="tag {}">{}{}{}</span>', classes, icon(shape), word, more)
