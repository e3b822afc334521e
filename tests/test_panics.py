"""Presses, joins, take-overs, releases: what is on disk after each, before any worker moved."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import redis
from django.contrib.auth.models import User

from panicboard import dispatch, panics
from panicboard.models import Account, AuditEntry, Panic, Sweep
from panicboard.panics import NothingToSweep, NotWritten, Scope
from tests import database
from tests.factories import make_desk, make_venue

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]
State = Sweep.State
NOWHERE = "http://127.0.0.1:9"


def account(name: str, desk: str = "delta", **fields: object) -> Account:
    return Account.objects.create(name=name, desk=make_desk(desk), venue=make_venue(NOWHERE), **fields)


def press(scope: Scope, by: str = "risk.desk1", **context: object) -> panics.Pressed:
    return panics.start(scope, pressed_by=None, pressed_by_name=by, via=Panic.Via.BOARD, **context)


def everything() -> Scope:
    return Scope(Panic.Scope.ALL)


def test_start_puts_panic_sweeps_latches_and_audit_on_disk() -> None:
    user = User.objects.create_user("risk.desk1")
    one, two = account("one"), account("two", "carry")

    panic = panics.start(
        everything(), pressed_by=user, pressed_by_name="risk.desk1", via=Panic.Via.BOARD, held_ms=1004
    ).panic

    assert [(s.account, s.state) for s in panic.sweeps.order_by("pk")] == [
        (two, State.QUEUED),
        (one, State.QUEUED),
    ]
    assert set(Account.objects.values_list("latched_by", flat=True)) == {panic.pk}
    assert (panic.pressed_by, panic.held_ms, panic.scope_label) == (user, 1004, "everything")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.panic) == (AuditEntry.Action.PRESSED, user, panic)


def test_start_sweeps_only_the_accounts_of_its_scope() -> None:
    account("one")
    other = account("two", "carry")

    panic = press(Scope(Panic.Scope.DESK, desk=other.desk)).panic

    assert [sweep.account for sweep in panic.sweeps.all()] == [other]
    assert Account.objects.get(name="one").latched_by is None


def test_same_press_joins_the_running_panic() -> None:
    account("one")
    first = press(everything())

    second = press(everything(), by="risk.desk2")

    assert (second.joined, second.panic) == (True, first.panic)
    assert Panic.objects.count() == 1
    joined = AuditEntry.objects.get(action=AuditEntry.Action.JOINED)
    assert (joined.actor_name, joined.panic) == ("risk.desk2", first.panic)


def test_narrower_press_joins_the_running_panic() -> None:
    one = account("one")
    account("two")
    first = press(everything())

    second = press(Scope(Panic.Scope.SYMBOL, account=one, symbol="BTCUSDT"))

    assert (second.joined, second.panic) == (True, first.panic)


def test_wider_press_takes_the_accounts_over() -> None:
    one = account("one")
    account("two")
    narrow = press(Scope(Panic.Scope.ACCOUNT, account=one)).panic

    wide = press(everything())

    assert wide.joined is False
    old = narrow.sweeps.get()
    assert (old.state, old.handed_over_to) == (State.HANDED_OVER, wide.panic)
    assert wide.panic.sweeps.filter(state=State.QUEUED).count() == 2
    assert set(Account.objects.values_list("latched_by", flat=True)) == {wide.panic.pk}


def test_press_on_a_clear_scope_starts_a_new_panic() -> None:
    account("one")
    first = press(everything()).panic
    first.sweeps.update(state=State.RELEASED)

    second = press(everything())

    assert (second.joined, second.panic == first) == (False, False)


def test_press_of_a_symbol_does_not_latch_the_account() -> None:
    one = account("one")

    panic = press(Scope(Panic.Scope.SYMBOL, account=one, symbol="BTCUSDT")).panic

    one.refresh_from_db()
    assert one.latched_at is None
    assert panic.sweeps.get().whole_account is False


def test_disabled_accounts_are_left_out_and_named() -> None:
    account("one")
    account("two", enabled=False)

    panic = press(everything()).panic

    assert panic.skipped == ["two"]
    assert [sweep.account.name for sweep in panic.sweeps.all()] == ["one"]


def test_press_of_a_disabled_account_says_what_to_do() -> None:
    one = account("one", enabled=False)

    with pytest.raises(NothingToSweep) as caught:
        press(Scope(Panic.Scope.ACCOUNT, account=one))

    assert str(caught.value) == (
        "account one: disabled, so nothing was cancelled (one). Enable it in the admin."
    )


def test_press_that_cannot_be_written_down_is_not_sent_and_says_so(
    read_only: Callable[[], None], broker: Path
) -> None:
    account("one")
    read_only()

    with pytest.raises(NotWritten) as caught:
        press(everything())

    assert str(caught.value).startswith(
        f"NOT SENT - the database does not take this press ({database.refusal()}), and what is not written "
        "down is not sent: nothing was cancelled by it. Press again; a second press joins the first."
    )
    assert not Panic.objects.exists()
    with redis.Redis(unix_socket_path=str(broker)) as client:
        assert client.llen("panic") == 0


def test_press_on_its_way_is_no_failure_when_its_direct_path_cannot_be_noted(
    read_only: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    account("one")
    sent: list[int] = []

    def the_queue_is_away_and_then_the_database(sweep_ids: Sequence[int]) -> bool:
        sent.extend(sweep_ids)
        read_only()
        return False

    monkeypatch.setattr(dispatch, "panic", the_queue_is_away_and_then_the_database)

    pressed = press(everything())

    assert (pressed.joined, pressed.panic.direct_path) == (False, True)
    assert sent == list(pressed.panic.sweeps.values_list("pk", flat=True))


def test_press_without_accounts_says_what_to_do() -> None:
    with pytest.raises(NothingToSweep) as caught:
        press(everything())

    assert str(caught.value) == (
        "There are no accounts yet, so there is nothing to cancel. Add one in the admin."
    )


def test_release_lets_go_of_the_accounts_and_stops_their_sweeps() -> None:
    one = account("one")
    panic = press(everything()).panic

    count = panics.release(
        panic, released_by=None, released_by_name="risk.desk2", reason="orders checked at the venue"
    )

    one.refresh_from_db()
    assert (count, one.latched_at, one.latched_by) == (1, None, None)
    assert panic.sweeps.get().state == State.RELEASED
    entry = AuditEntry.objects.get(action=AuditEntry.Action.RELEASED)
    assert (entry.actor_name, entry.account, entry.detail) == (
        "risk.desk2",
        one,
        "orders checked at the venue",
    )


def test_release_without_a_reason_releases_nothing() -> None:
    one = account("one")
    panic = press(everything()).panic

    with pytest.raises(ValueError, match=r"^Give a reason of at least 10 characters\.$"):
        panics.release(panic, released_by=None, released_by_name="risk.desk2", reason="  ok      ")

    one.refresh_from_db()
    assert one.latched_by == panic


def test_release_of_an_older_panic_leaves_a_newer_latch() -> None:
    one = account("one")
    old = press(everything()).panic
    old.sweeps.update(state=State.RELEASED)
    new = press(everything()).panic

    count = panics.release(old, released_by=None, released_by_name="risk.desk2", reason="a long reason")

    one.refresh_from_db()
    assert (count, one.latched_by) == (0, new)


def test_release_stops_the_sweep_of_a_symbol_that_latched_nothing() -> None:
    one = account("one")
    panic = press(Scope(Panic.Scope.SYMBOL, account=one, symbol="BTCUSTD")).panic

    count = panics.release(panic, released_by=None, released_by_name="risk.desk2", reason="a mistyped symbol")

    assert (count, panic.sweeps.get().state) == (1, State.RELEASED)
    assert AuditEntry.objects.get(action=AuditEntry.Action.RELEASED).account == one


def test_release_of_a_symbol_leaves_another_panics_latch() -> None:
    one = account("one")
    narrow = press(Scope(Panic.Scope.SYMBOL, account=one, symbol="BTCUSDT")).panic
    wide = press(everything()).panic

    count = panics.release(narrow, released_by=None, released_by_name="risk.desk2", reason="a long reason")

    one.refresh_from_db()
    assert (count, one.latched_by, wide.sweeps.get().state) == (0, wide, State.QUEUED)


def test_give_reason_keeps_it_with_its_author() -> None:
    account("one")
    panic = press(everything()).panic

    panics.give_reason(panic, "bot went mad", by=None, by_name="risk.desk2")

    panic.refresh_from_db()
    entry = AuditEntry.objects.get(action=AuditEntry.Action.REASON)
    assert (panic.reason, entry.actor_name, entry.detail) == ("bot went mad", "risk.desk2", "bot went mad")
