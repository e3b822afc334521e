"""Presses as they are sent: what each scope means, every refusal's sentence, and arming."""

import pytest
from django.core import signing
from django.http import QueryDict

from panicboard.forms import PressForm, ReasonForm, ReleaseForm
from panicboard.models import Panic
from panicboard.panics import Scope
from tests.factories import make_desk
from tests.pages import make_account

pytestmark = pytest.mark.django_db


def press(query: str) -> PressForm:
    return PressForm(QueryDict(query))


def test_press_of_everything_and_of_a_desk() -> None:
    desk = make_desk("delta")
    everything, one_desk = press("scope=all"), press("scope=desk&desk=delta")

    assert (everything.is_valid(), one_desk.is_valid()) == (True, True)
    assert everything.panic_scope == Scope(Panic.Scope.ALL)
    assert one_desk.panic_scope == Scope(Panic.Scope.DESK, desk=desk)


def test_press_of_an_account_and_of_its_symbol() -> None:
    account = make_account()
    whole = press(f"scope=account&account={account.pk}")
    symbol = press(f"scope=symbol&account={account.pk}&symbol=BTCUSDT")

    assert (whole.is_valid(), symbol.is_valid()) == (True, True)
    assert whole.panic_scope == Scope(Panic.Scope.ACCOUNT, account=account)
    assert symbol.panic_scope == Scope(Panic.Scope.SYMBOL, account=account, symbol="BTCUSDT")


def test_press_of_chosen_orders_keeps_ids_as_text() -> None:
    account = make_account()

    form = press(
        f"scope=orders&account={account.pk}&order=ordinary|BTCUSDT|4611875134427365377"
        "&order=conditional|ETHUSDT|91883004127"
    )

    assert form.is_valid()
    assert form.panic_scope.order_refs == (
        {
            "family": "ordinary",
            "symbol": "BTCUSDT",
            "venue_order_id": "4611875134427365377",
            "client_order_id": "",
        },
        {
            "family": "conditional",
            "symbol": "ETHUSDT",
            "venue_order_id": "91883004127",
            "client_order_id": "",
        },
    )


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "The scope '' is not one of all, desk, account, symbol, orders. Nothing was cancelled."),
        (
            "scope=moon",
            "The scope 'moon' is not one of all, desk, account, symbol, orders. Nothing was cancelled.",
        ),
        ("scope=desk", "There is no desk ''. Nothing was cancelled."),
        ("scope=desk&desk=nope", "There is no desk 'nope'. Nothing was cancelled."),
        ("scope=account&account=x", "There is no account 'x'. Nothing was cancelled."),
        ("scope=account&account=99", "There is no account '99'. Nothing was cancelled."),
        ("scope=account&account=99999999999999999999999", None),
        ("scope=symbol&account={account}", "The press names no symbol. Nothing was cancelled."),
        ("scope=orders&account={account}", "No order was chosen. Nothing was cancelled."),
        (
            "scope=orders&account={account}&order=17",
            "The order '17' is not written as family|symbol|venue order id. Nothing was cancelled.",
        ),
        (
            "scope=orders&account={account}&order=um|BTCUSDT|17",
            "binance-usdm at http://127.0.0.1:9 has no order family 'um'. Nothing was cancelled.",
        ),
    ],
)
def test_press_refused_names_what_is_wrong(query: str, sentence: str | None) -> None:
    account = make_account()

    form = press(query.format(account=account.pk))

    assert not form.is_valid()
    assert form.sentence == (
        sentence or "There is no account '99999999999999999999999'. Nothing was cancelled."
    )


@pytest.mark.parametrize(
    ("sent", "held_ms"),
    [("1004", 1004), ("", None), ("0", None), ("-5", None), ("long", None), ("9" * 12, 600_000)],
)
def test_press_never_fails_over_how_long_it_was_held(sent: str, held_ms: int | None) -> None:
    form = press(f"scope=all&held_ms={sent}")

    assert form.is_valid()
    assert form.held_ms == held_ms


def test_press_armed_counts_for_ten_seconds_and_for_its_own_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    make_desk("delta")
    token = press("scope=desk&desk=delta").arm()

    same = press(f"scope=desk&desk=delta&armed={token}").was_armed
    other = press(f"scope=all&armed={token}").was_armed
    forged = press("scope=all&armed=scope=all:1:x").was_armed
    now = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + 11)
    late = press(f"scope=desk&desk=delta&armed={token}").was_armed

    assert (same, other, forged, late) == (True, False, False, False)


def test_press_carries_its_scope_from_page_to_page() -> None:
    form = press("scope=orders&account=3&order=a|B|1&order=a|B|2&held_ms=5&x=y&armed=z")

    assert form.query == "scope=orders&account=3&order=a%7CB%7C1&order=a%7CB%7C2"


@pytest.mark.parametrize(
    ("sent", "errors"),
    [
        ("reason=bots+stopped+now&seen=on", {}),
        ("reason=short&seen=on", {"reason": ["Give a reason of at least 10 characters."]}),
        ("reason=+++++++++++++&seen=on", {"reason": ["Give a reason of at least 10 characters."]}),
        (
            "reason=bots+stopped+now",
            {"seen": ["Tick that you have seen what is still open and what releasing does."]},
        ),
    ],
)
def test_release_needs_a_reason_and_a_tick(sent: str, errors: dict[str, list[str]]) -> None:
    assert dict(ReleaseForm(QueryDict(sent)).errors) == errors


def test_reason_may_not_be_empty() -> None:
    assert dict(ReasonForm(QueryDict("reason=+")).errors) == {"reason": ["Say why, in a few words."]}
