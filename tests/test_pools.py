"""When whose turn is: how a venue's limit is spread over the full listings that wait for it."""

import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicboard.local_counts import PACE_S, LocalCounts, Rule, turn_in_s
from panicboard.pools import Standing

#: A minute of Binance USD-M as full listings may use it: see `budgets`.
WINDOW_S = 62
RULE = Rule(cap=2280, window_s=WINDOW_S, burst=1800, pace=229)
LISTING = 80
NOW = 1_000_000

histories = st.dictionaries(st.integers(NOW - 70, NOW), st.integers(0, 600), max_size=12)


def grant_all(spent: dict[int, int], listings: int) -> list[int]:
    """Give each of these its turn as if all came at once. Returns the seconds, from now on."""
    counts, now, turns = dict(spent), NOW, []
    for _ in range(listings):
        now += turn_in_s(counts, now, RULE, LISTING)
        counts[now] = counts.get(now, 0) + LISTING
        turns.append(now - NOW)
    return turns


def test_listings_of_few_accounts_have_their_turn_at_once() -> None:
    assert grant_all({}, 12) == [0] * 12


def test_burst_leaves_a_quarter_of_the_limit_and_the_rest_is_spread() -> None:
    turns = grant_all({}, 28)

    assert turns.count(0) == 22
    assert turns[22:] == [5, 5, 5, 10, 10, 10]


def test_listings_after_many_cancels_wait_for_the_window() -> None:
    assert turn_in_s({NOW: 2280}, NOW, RULE, LISTING) == WINDOW_S


def test_lighter_work_comes_first() -> None:
    assert turn_in_s({NOW: 2280}, NOW, RULE, LISTING, lighter=2280) == 2 * WINDOW_S


def test_all_turns_of_two_hundred_accounts_take_little_more_than_the_limit_asks() -> None:
    turns = grant_all({NOW: 2000}, 200)

    least_s = (2000 + 200 * LISTING) / 2400 * 60
    assert turns[-1] <= 1.15 * least_s


def test_clock_that_is_set_neither_holds_anybody_up_nor_ends_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(time=lambda: NOW + 3600.0, monotonic=time.monotonic)
    monkeypatch.setattr("panicboard.local_counts.time", clock)
    counts = LocalCounts()
    counts.spend("fapi", RULE.cap, RULE)
    counts.block("eapi", 30_000, "HTTP 418")

    clock.time = lambda: float(NOW)  # set back by an hour
    wait_ms = counts.spend("fapi", LISTING, RULE)
    clock.time = lambda: NOW + 7200.0  # and forward by two

    assert 0 < wait_ms <= WINDOW_S * 1000 + 1
    assert counts.spend("fapi", LISTING, RULE) == 0
    assert counts.spend("eapi", LISTING, RULE) > 25_000
    assert counts.refusal("eapi") is not None


def test_standing_counts_what_is_still_in_the_window() -> None:
    standing = Standing({NOW - WINDOW_S: 7, NOW - WINDOW_S + 1: 5, NOW: 3}, NOW, None)

    assert standing.used(WINDOW_S) == 8


@given(histories, st.integers(0, 60))
def test_turn_that_is_told_is_the_turn_that_comes(spent: dict[int, int], ahead: int) -> None:
    assert turn_in_s(spent, NOW, RULE, LISTING, ahead=ahead) == grant_all(spent, ahead + 1)[-1]


@given(histories, st.integers(1, 80))
def test_no_window_ever_holds_more_than_the_cap(spent: dict[int, int], listings: int) -> None:
    turns = grant_all(spent, listings)

    granted = {NOW + at: LISTING * turns.count(at) for at in turns}
    for end in granted:
        before = sum(n for second, n in spent.items() if end - WINDOW_S < second <= end)
        ours = sum(n for second, n in granted.items() if end - WINDOW_S < second <= end)
        assert before + ours <= max(RULE.cap, before)


@given(histories, st.integers(1, 80))
def test_beyond_the_burst_nothing_comes_faster_than_the_pace(spent: dict[int, int], listings: int) -> None:
    turns = grant_all(spent, listings)

    used = dict(spent)
    for at in turns:
        now = NOW + at
        window = sum(n for second, n in used.items() if now - WINDOW_S < second <= now)
        lately = sum(n for second, n in used.items() if now - PACE_S < second <= now)
        assert window + LISTING <= RULE.burst or lately < RULE.pace
        used[now] = used.get(now, 0) + LISTING
