"""The schedule of a chaos run: the same for the same seed, whole, and quiet in the end."""

import subprocess
import sys

import pytest

from panicboard.simulator.faults import CALL_KINDS
from tests.chaos import plan as plans
from tests.chaos.plan import PROCESS_FAULTS, TRADERS
from tests.venue_calls import COUNTDOWNS


def printed(*arguments: str) -> str:
    """What the command prints, in a process of its own."""
    argv = [sys.executable, "-m", "tests.chaos", "--plan", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


def test_same_seed_gives_the_same_schedule_in_every_process() -> None:
    plan = plans.make(7, 120)

    assert printed("--seed", "7", "--seconds", "120") == plan.text()
    assert plans.make(7, 120).digest() == plan.digest()


def test_other_seed_and_other_length_give_another_schedule() -> None:
    assert len({plans.make(seed, seconds).digest() for seed in (1, 2, 3) for seconds in (60, 61)}) == 6


def test_schedule_has_fifty_accounts_on_every_venue_and_desk() -> None:
    assert len({trader.name for trader in TRADERS}) == len(TRADERS) == 50
    assert {trader.venue for trader in TRADERS} == set(plans.MIXTURE)
    assert {(trader.venue, trader.desk) for trader in TRADERS if trader.venue != "coinswitch"} == {
        (venue, desk) for venue in plans.MIXTURE if venue != "coinswitch" for desk in plans.DESKS
    }


def test_long_schedule_leaves_out_no_kind_of_fault() -> None:
    events = plans.make(1, 600).events

    kinds = {event.what["kind"] for event in events if event.act == "call fault"}
    assert kinds == CALL_KINDS
    assert {event.act for event in events} >= {
        *PROCESS_FAULTS,
        "book fault",
        "bot",
        "press",
        "release",
        "arm",
        "disarm",
    }
    assert {event.what["scope"] for event in events if event.act == "press"} == {"all", "desk", "account"}
    for act in ("press", "arm", "disarm"):
        assert {event.what["by"] for event in events if event.act == act} == {"page", "here"}
    struck = {event.what["path"] for event in events if event.act == "call fault"}
    assert struck >= set(COUNTDOWNS.values())


@pytest.mark.parametrize("seed", [1, 36, 138])
def test_no_process_is_killed_while_it_is_dead(seed: int) -> None:
    dead_until_ms: dict[str, int] = {}
    for event in plans.make(seed, 600).events:
        if event.act.startswith("kill "):
            assert event.at_ms >= dead_until_ms.get(event.act, 0), event.line()
            dead_until_ms[event.act] = event.at_ms + event.for_ms


@pytest.mark.parametrize(("seconds", "quiet_s"), [(600, 150), (60, 20), (15, 7.5)])
def test_last_part_of_a_schedule_is_quiet(seconds: int, quiet_s: float) -> None:
    plan = plans.make(3, seconds)

    assert plan.quiet_from_ms == (seconds - quiet_s) * 1000
    assert max(event.at_ms + event.for_ms for event in plan.events) <= plan.quiet_from_ms
    assert plan.events[0].act == "orders"
    assert [event.at_ms for event in plan.events] == sorted(event.at_ms for event in plan.events)
