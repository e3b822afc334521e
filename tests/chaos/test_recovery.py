"""How long sweeps took after the last fault that struck them, on made-up faults."""

from typing import Any

from tests.chaos.judge import Clear
from tests.chaos.recovery import Fault, Hold, clear_after_fault_s

Json = dict[str, Any]
#: A sweep that ran from 10 s to 20 s.
SWEEP = Clear(1, "alpha", "binance-usdm", begun_us=10_000_000, read_us=19_000_000, said_us=20_000_000)


def fault(begun_s: float, ended_s: float, **whom: Any) -> Fault:
    return Fault("some fault", round(begun_s * 1e6), round(ended_s * 1e6), **whom)


def struck(rule: int, at_s: float, account: str = "alpha") -> Json:
    at_us = round(at_s * 1e6)
    return {
        "account": account,
        "arrived_us": at_us,
        "answered_us": at_us,
        "faults": [{"id": rule, "kind": "garbage"}],
    }


def taken(*faults: Fault, log: list[Json] | None = None, holds: list[Hold] | None = None) -> list[float]:
    return [seconds for seconds, _ in clear_after_fault_s([SWEEP], faults, log or [], holds or [])]


def test_sweep_that_no_fault_struck_is_not_counted() -> None:
    assert taken() == []
    assert taken(fault(1, 9), fault(21, 22)) == []
    assert taken(fault(11, 12, rule=1), log=[struck(1, 11, "beta"), struck(2, 11)]) == []
    assert taken(fault(11, 12, rule=1), log=[struck(1, 9)]) == []


def test_time_runs_from_the_end_of_the_last_fault() -> None:
    assert taken(fault(11, 12), fault(13, 17)) == [3.0]
    assert taken(fault(11, 15, rule=1), log=[struck(1, 11), struck(1, 13)]) == [5.0]


def test_fault_that_outlasts_the_sweep_counts_from_its_last_strike() -> None:
    assert taken(fault(11, 30, rule=1), log=[struck(1, 11), struck(1, 14), struck(1, 25)]) == [6.0]
    assert taken(fault(12, 30)) == [8.0]
    assert taken(fault(5, 30)) == [10.0]


def test_fault_of_a_book_strikes_its_account_alone() -> None:
    assert taken(fault(11, 12, rule=1, account="alpha")) == [8.0]
    assert taken(fault(11, 12, rule=1, account="beta")) == []


def test_killed_process_strikes_what_it_held() -> None:
    holds = [Hold(1, 10_000_000, 70), Hold(1, 12_000_000, None), Hold(2, 10_000_000, 71)]

    assert taken(fault(11, 15, pid=70), holds=holds) == [5.0]
    assert taken(fault(13, 15, pid=70), holds=holds) == []
    assert taken(fault(11, 15, pid=71), holds=holds) == []
