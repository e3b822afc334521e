"""What is true of a countdown: its state and why, on what that rests, and who has to be there for it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from panicboard import countdown_state
from panicboard.countdown_state import Cell, Line, Presence, Proof, SourceLine, State
from panicboard.models import Account, Countdown, LifeSign
from tests.pages import PRESSED_AT, make_account, make_panic

pytestmark = pytest.mark.django_db
NOW = PRESSED_AT


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def make(account: Account, scope: str = "BTCUSDT", *, left_s: float | None = 90, **fields: Any) -> Countdown:
    """A countdown of 120 s that was armed ten minutes ago; of it so much is left."""
    facts: dict[str, Any] = {"countdown_ms": 120_000, "refresh_ms": 30_000, "phase": "armed", "to_set": False}
    if left_s is not None:
        began_at = ago(120 - left_s)
        facts |= {"runs_from": began_at, "acked_at": began_at, "deadline_at": NOW + timedelta(seconds=left_s)}
    facts |= {"armed_at": ago(600), "armed_by": "ann"}
    return Countdown.objects.create(account=account, scope=scope, **{**facts, **fields})


def make_local(account: Account, *, last_s: float, countdown_ms: int = 120_000) -> Countdown:
    """panicboard's own, whose operator was heard so long ago."""
    left_s = countdown_ms / 1000 - last_s
    return make(account, "", left_s=left_s, countdown_ms=countdown_ms, refresh_ms=0, source="operator")


def expect_operator(account: Account, *, last_s: float, silence_s: int = 900) -> LifeSign:
    kind = LifeSign.Kind.OPERATOR
    return LifeSign.objects.create(account=account, kind=kind, silence_s=silence_s, last_at=ago(last_s))


def line(account: Account) -> Line:
    (only,) = countdown_state.of_account(account, NOW)
    return only


def presence() -> Presence | None:
    accounts = Account.objects.select_related("venue")
    return countdown_state.presence(countdown_state.by_account(accounts, NOW), NOW)


def test_line_tells_everything_that_is_known() -> None:
    account = make_account()
    row = make(account)

    assert line(account) == Line(
        pk=row.pk,
        account_id=account.pk,
        scope="BTCUSDT",
        state=State.ARMED,
        proof=Proof.BELIEVED,
        why="",
        countdown_ms=120_000,
        refresh_ms=30_000,
        deadline_at=NOW + timedelta(seconds=90),
        source=SourceLine("board", ago(30), None),
        acked_at=ago(30),
        venue_ms=None,
        venue_read_at=None,
        found_open=None,
        found_at=None,
        armed_by="ann",
        armed_at=ago(600),
        in_panic=False,
    )


@pytest.mark.parametrize(
    ("fields", "state", "why"),
    [
        ({"left_s": 31}, State.ARMED, ""),
        ({"left_s": 29}, State.LAPSING, "less than 25% is left"),
        ({"left_s": 0}, State.PASSED, "its deadline passed"),
        ({"misses": 1, "failure": "HTTP 503"}, State.LAPSING, "HTTP 503"),
        ({"misses": 1, "failure": "timed out", "maybe_until": NOW}, State.UNKNOWN, "timed out"),
        ({"left_s": None, "phase": "arming"}, State.ARMING, ""),
        ({"phase": "disarming"}, State.DISARMING, "the venue has not confirmed it yet"),
        ({"phase": "withheld"}, State.WITHHELD, "its account is latched"),
        ({"phase": "passed", "last_word": "reading"}, State.PASSED, "reading"),
        ({"phase": "fired", "last_word": "ran out"}, State.FIRED, "ran out"),
        ({"phase": "fired", "found_open": 2, "last_word": "2 STILL OPEN"}, State.NOT_FIRED, "2 STILL OPEN"),
        ({"phase": "fired", "locked": True, "last_word": "ran out"}, State.LOCKED, "ran out"),
        ({"phase": "disarmed", "failure": "no such symbol"}, State.DISARMED, "no such symbol"),
    ],
)
def test_state_and_why(fields: dict[str, Any], state: State, why: str) -> None:
    account = make_account()
    make(account, **fields)

    told = line(account)

    assert (told.state, told.why) == (state, why)


@pytest.mark.parametrize(
    ("fields", "state", "why"),
    [
        ({}, State.ARMING, "what it was before runs on until the venue takes the change"),
        ({"failure": "-4084: not for this symbol"}, State.ARMING, "-4084: not for this symbol"),
        ({"left_s": 10}, State.LAPSING, "less than 25% is left"),
    ],
)
def test_change_counts_only_when_the_venue_has_taken_it(
    fields: dict[str, Any], state: State, why: str
) -> None:
    account = make_account()
    make(account, phase="arming", to_set=True, **fields)

    told = line(account)

    assert (told.state, told.why) == (state, why)


@pytest.mark.parametrize(
    ("venue_ms", "read_s", "state", "proof", "why"),
    [
        (120_000, 5, State.ARMED, Proof.VENUE_READ, ""),
        (120_000, 31, State.ARMED, Proof.BELIEVED, ""),
        (60_000, 5, State.LAPSING, Proof.VENUE_READ, "the venue says that it is set to 60 s"),
        (0, 5, State.LAPSING, Proof.BELIEVED, "the venue says that it is not set"),
        (60_000, 601, State.ARMED, Proof.BELIEVED, ""),  # that was said of what was armed before
    ],
)
def test_what_the_venue_says_is_held_against_what_is_believed(
    venue_ms: int, read_s: float, state: State, proof: Proof, why: str
) -> None:
    account = make_account(adapter="binance-options")
    make(account, venue_ms=venue_ms, venue_read_at=ago(read_s))

    told = line(account)

    assert (told.state, told.proof, told.why) == (state, proof, why)


def test_countdown_that_somebody_else_set_is_called_so() -> None:
    account = make_account(adapter="binance-options")
    make(account, left_s=None, phase="disarmed", armed_at=None, venue_ms=60_000, venue_read_at=ago(5))

    assert line(account).state is State.FOREIGN


@pytest.mark.parametrize(
    ("fields", "look"),
    [
        ({}, "believed"),
        ({"left_s": 20}, "believed lapsing"),
        ({"left_s": -1}, "fired"),
        ({"phase": "fired"}, "fired"),
        ({"phase": "withheld"}, "off"),
        ({"left_s": None, "phase": "disarmed"}, "off"),
    ],
)
def test_bar_looks_like_its_state(fields: dict[str, Any], look: str) -> None:
    account = make_account()
    make(account, **fields)

    assert line(account).look == look


def test_silent_source_makes_it_lapse() -> None:
    account = make_account()
    make(account, source="operator")
    expect_operator(account, last_s=901)

    told = line(account)

    assert (told.state, told.why) == (State.LAPSING, f"operator silent since {ago(901):%H:%M:%S}")


def test_cell_shows_the_worst_and_counts_only_what_runs_as_armed() -> None:
    account = make_account()
    make(account, "A", left_s=80)
    make(account, "B", left_s=20)
    make(account, "C", phase="withheld")
    make(account, "D", left_s=None, phase="arming")
    make(account, "E", left_s=None, phase="disarmed")

    lines = countdown_state.of_account(account, NOW)

    (lapsing,) = [line for line in lines if line.scope == "B"]
    assert countdown_state.cell(lines) == Cell(line=lapsing, armed=2, local=0, all=4, lapsing=1, over=0)


def test_cell_of_what_is_disarmed_is_empty() -> None:
    account = make_account()
    make(account, left_s=None, phase="disarmed")

    assert countdown_state.cell(countdown_state.of_account(account, NOW)) is None


@pytest.mark.parametrize(
    ("in_panic", "fields", "needs", "look"),
    [
        (False, {}, True, "fired"),
        (True, {}, False, "off"),
        (True, {"locked": True}, True, "fired"),
        (True, {"found_open": 1}, True, "fired"),
    ],
)
def test_what_ran_out_needs_somebody_unless_a_panic_meant_it(
    in_panic: bool, fields: dict[str, Any], needs: bool, look: str
) -> None:
    account = make_account()
    make(account, phase="fired", withheld_by=make_panic() if in_panic else None, **fields)

    told = line(account)

    assert (told.needs_someone, told.look) == (needs, look)


def test_what_a_panic_meant_to_run_out_hides_nothing_that_lapses() -> None:
    account = make_account()
    make(account, "A", phase="fired", withheld_by=make_panic())
    make(account, "B", left_s=20)

    lines = countdown_state.of_account(account, NOW)
    cell = countdown_state.cell(lines)

    assert [line.scope for line in lines] == ["B", "A"]
    assert cell == Cell(line=lines[0], armed=1, local=0, all=2, lapsing=1, over=0)


def test_nobody_has_to_be_there_for_what_does_not_hang_on_an_operator() -> None:
    account = make_account()
    expect_operator(account, last_s=10)
    make(account)

    assert presence() is None


@pytest.mark.parametrize(("last_s", "is_near"), [(600, False), (700, True), (901, True)])
def test_presence_is_asked_for_ahead(last_s: float, is_near: bool) -> None:
    account = make_account()
    expect_operator(account, last_s=last_s)
    make(account, source="operator")

    assert presence() == Presence(1, ago(last_s) + timedelta(seconds=900), is_near)


@pytest.mark.parametrize(("last_s", "is_near"), [(80, False), (100, True)])
def test_presence_for_a_local_countdown_is_asked_for_before_that_runs_out(
    last_s: float, is_near: bool
) -> None:
    account = make_account(adapter="coinswitch")
    expect_operator(account, last_s=last_s)
    make_local(account, last_s=last_s)

    assert presence() == Presence(1, ago(last_s) + timedelta(seconds=120), is_near)


def test_presence_speaks_of_the_account_that_needs_it_first() -> None:
    first, second = make_account(), make_account("beta")
    for account, last_s in ((first, 100), (second, 300)):
        expect_operator(account, last_s=last_s)
        make(account, source="operator")
        make(account, "ETHUSDT", source="operator")

    assert presence() == Presence(2, ago(300) + timedelta(seconds=900), is_near=False)


def test_thirty_accounts_cost_two_queries() -> None:
    for number in range(30):
        account = make_account(f"a{number}")
        expect_operator(account, last_s=1)
        make(account)
    accounts = list(Account.objects.select_related("venue"))

    with CaptureQueriesContext(connection) as queries:
        lines = countdown_state.by_account(accounts, NOW)

    assert (len(lines), len(queries)) == (30, 2)
