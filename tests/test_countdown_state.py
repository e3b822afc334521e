"""What is true of a countdown: its state and why, on what that rests, and who has to be there for it."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from panicboard import countdown_state
from panicboard.countdown_state import Line, Proof, SourceLine, State
from panicboard.models import Account
from tests.countdown_rows import NOW, ago, expect_operator, make
from tests.pages import make_account, make_panic

pytestmark = pytest.mark.django_db


def line(account: Account) -> Line:
    (only,) = countdown_state.of_account(account, NOW)
    return only


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


def test_thirty_accounts_cost_two_queries() -> None:
    for number in range(30):
        account = make_account(f"a{number}")
        expect_operator(account, last_s=1)
        make(account)
    accounts = list(Account.objects.select_related("venue"))

    with CaptureQueriesContext(connection) as queries:
        lines = countdown_state.by_account(accounts, NOW)

    assert (len(lines), len(queries)) == (30, 2)
