"""The board's cell of an account's countdowns, and who has to be there for them."""

import random
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from panicboard import countdown_cells, countdown_state
from panicboard.countdown_cells import Cell, Presence
from panicboard.models import Account, Countdown
from tests.countdown_rows import NOW, ago, expect_operator, make, make_local
from tests.pages import make_account, make_panic

pytestmark = pytest.mark.django_db


def cells() -> dict[int, Cell]:
    return countdown_cells.read(Account.objects.select_related("venue"), NOW)[0]


def presence() -> Presence | None:
    return countdown_cells.read(Account.objects.select_related("venue"), NOW)[1]


def test_cell_shows_the_worst_and_counts_only_what_runs_as_armed() -> None:
    account = make_account()
    make(account, "A", left_s=80)
    make(account, "B", left_s=20)
    make(account, "C", phase="withheld")
    make(account, "D", left_s=None, phase="arming")
    make(account, "E", left_s=None, phase="disarmed")

    (lapsing,) = [line for line in countdown_state.of_account(account, NOW) if line.scope == "B"]
    assert cells() == {account.pk: Cell(line=lapsing, armed=2, local=0, all=4, lapsing=1, over=0)}


def test_cell_of_what_is_disarmed_is_empty() -> None:
    account = make_account()
    make(account, left_s=None, phase="disarmed")

    assert cells() == {}


def test_what_a_panic_meant_to_run_out_hides_nothing_that_lapses() -> None:
    account = make_account()
    make(account, "A", phase="fired", withheld_by=make_panic())
    make(account, "B", left_s=20)

    lines = countdown_state.of_account(account, NOW)

    assert [line.scope for line in lines] == ["B", "A"]
    assert cells() == {account.pk: Cell(line=lines[0], armed=1, local=0, all=2, lapsing=1, over=0)}


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


def any_countdown(chance: random.Random, account: Account, scope: str) -> Countdown:
    """A countdown in any state, most of them as they should be."""
    fields: dict[str, Any] = {"left_s": chance.choice([None, -5, 10, 29, 30, 31, 60, 90, 100, 119])}
    for name, values in {
        "phase": ["armed"] * 12 + list(Countdown.Phase.values),
        "countdown_ms": [120_000, 120_000, 400_000],
        "misses": [0, 0, 0, 0, 1],
        "failure": ["", "HTTP 503"],
        "source": ["board"] * 5 + ["operator", "bot"],
        "venue_ms": [None, None, 120_000, 0],
        "venue_read_at": [None, ago(1)],
        "maybe_until": [None, NOW + timedelta(seconds=50)],
        "locked": [False, False, True],
        "found_open": [None, 0, 3],
    }.items():
        fields[name] = chance.choice(values)
    return make(account, scope, **fields)


@pytest.mark.parametrize("seed", range(12))
def test_cell_is_the_same_as_from_every_countdown_read_whole(seed: int) -> None:
    chance = random.Random(seed)
    for number in range(12):
        adapter = chance.choice(["binance-usdm", "binance-options"])
        account = make_account(f"a{number}", adapter=adapter)
        if chance.random() < 0.5:
            expect_operator(account, last_s=chance.choice([10, 1000]))
        for scope in "ABCDEFGH"[: chance.randrange(9)]:
            any_countdown(chance, account, scope)

    whole = countdown_state.by_account(Account.objects.select_related("venue"), NOW)

    expected = {pk: told for pk, lines in whole.items() if (told := countdown_cells.cell(lines))}
    assert cells() == expected
    assert presence() == countdown_cells.presence(whole, NOW)


def test_of_countdowns_that_run_as_they_should_one_an_account_is_read() -> None:
    for number in range(30):
        account = make_account(f"a{number}")
        expect_operator(account, last_s=1)
        for scope in "ABCDE":
            make(account, scope, left_s=60 + number)
    accounts = list(Account.objects.select_related("venue"))

    with CaptureQueriesContext(connection) as queries:
        told, _ = countdown_cells.read(accounts, NOW)

    assert [(cell.armed, cell.all, cell.line.scope) for cell in told.values()] == [(5, 5, "A")] * 30
    assert len(queries) == 3
    with connection.cursor() as cursor:
        cursor.execute(*_last_of(queries, "panicboard_countdown"))
        assert len(cursor.fetchall()) == 30


def _last_of(queries: CaptureQueriesContext, table: str) -> tuple[str]:
    return ([query["sql"] for query in queries if f'FROM "{table}"' in query["sql"]][-1],)
