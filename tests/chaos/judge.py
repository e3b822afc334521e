"""What a run is judged by: the venue's own book and log against what the product said. Pure.

Nothing here asks the product whether it was right. When each order came and went, and which request was
answered with what, is the simulator's word; the product's is only what it claimed: the instants at which
a sweep said CLEAR, the rows of a press, the latches.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.faults.bad_days import SPOILS
from tests.venue_calls import CALLS, asked_of, is_after_latch, is_cancel, is_full_listing, is_heartbeat

Json = dict[str, Any]

#: So long does the product wait for an answer; a later one reaches nobody.
READ_TIMEOUT_US = 5_000_000
#: A cancel that the product waited for in vain. A little less: its wait began before the request arrived.
GIVEN_UP_US = 4_500_000
#: How far back one page of a CoinSwitch listing goes, and a whole reading; and what clocks may differ by.
COINSWITCH_PAGE_MS, COINSWITCH_REACH_MS = 7 * 24 * 3_600_000, 28 * 24 * 3_600_000
CLOCKS_DIFFER_MS = 200_000
#: Which of its venue's full listings (`CALLS[...].full`, in reading order) shows the orders of a book.
SHOWN_IN = {
    "binance-usdm": {"algo": 0, "ordinary": 1},
    "binance-options": {"ordinary": 0},
    "binance-portfolio": {"um_conditional": 0, "cm_conditional": 1, "um": 2, "cm": 3, "margin": 4},
    "coinswitch": {"ordinary": 0},
}
OVER = frozenset({"clear", "handed_over", "released"})


@dataclass(frozen=True)
class Clear:
    """One time that a sweep said CLEAR, and the instant by which it had read everything empty."""

    sweep: int
    account: str
    venue: str
    begun_us: int  # the press, or when new orders had taken the clear before this one away
    read_us: int
    said_us: int


@dataclass(frozen=True)
class Press:
    """One press of the run: over which accounts, and the panic that its answer named.

    `refused` is what the person was told where it failed; with neither, no answer had come by the end.
    """

    number: int
    accounts: tuple[str, ...]
    panic: int | None = None
    refused: str = ""


@dataclass(frozen=True)
class PanicRow:
    """A panic as the database has it in the end."""

    presses: int  # entries of its audit that say "pressed" or "joined"
    states: Mapping[str, str]  # by account
    handed_over_to: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """Everything that is known of a run when it is over."""

    orders: Sequence[Json]
    log: Sequence[Json]
    clears: Sequence[Clear] = ()
    #: By account: when its sweep went to another worker or panic, or was released.
    given_up_us: Mapping[str, Sequence[int]] = field(default_factory=dict)
    #: By account: from when until when it was latched (None: still).
    latched: Mapping[str, Sequence[tuple[int, int | None]]] = field(default_factory=dict)
    presses: Sequence[Press] = ()
    panics: Mapping[int, PanicRow] = field(default_factory=dict)
    #: By account and scope: what is said of each countdown in the end, and what runs at the venues then.
    countdowns: Mapping[tuple[str, str], str] = field(default_factory=dict)
    running: Collection[tuple[str, str]] = ()


@dataclass(frozen=True)
class Verdict:
    """What was found of each kind, a sentence for each; nothing of any kind is as it must be."""

    false_clears: list[str]
    lost_presses: list[str]
    orders_left: list[str]
    heartbeats_after_latch: list[str]

    def counted(self) -> list[tuple[str, list[str]]]:
        """Each kind by its name, and what was found of it."""
        return list(vars(self).items())


def judge(evidence: Evidence) -> Verdict:
    """Judge a run."""
    return Verdict(
        false_clears=list(false_clears(evidence)),
        lost_presses=list(lost_presses(evidence)),
        orders_left=list(orders_left(evidence)),
        heartbeats_after_latch=list(heartbeats_after_latch(evidence)),
    )


# ---- false clears ----


def false_clears(evidence: Evidence) -> Iterator[str]:
    """Each CLEAR that no reading of the venue proves."""
    calls, orders = _by_account(evidence.log), _by_account(evidence.orders)
    for clear in evidence.clears:
        given_up_us = sorted(evidence.given_up_us.get(clear.account, ()))
        why = _doubt(clear, calls[clear.account], orders[clear.account], given_up_us)
        if why:
            yield f"sweep {clear.sweep} of {clear.account}, CLEAR at {_clock(clear.said_us)}: {why}"


def _doubt(clear: Clear, calls: Sequence[Json], orders: Sequence[Json], given_up_us: Sequence[int]) -> str:
    """Why a CLEAR is false; empty where a reading proves it.

    It takes one reading of every family, in reading order, begun after the last cancel was over and
    answered before the sweep said it had read, during no part of which an order stood open throughout.
    """
    of_interest_us = clear.begun_us - GIVEN_UP_US
    calls = [call for call in calls if of_interest_us <= call["arrived_us"] <= clear.read_us]
    cancels = [_over_us(call, given_up_us) for call in calls if is_cancel(call)]
    since_us = max([clear.begun_us, *cancels])
    answered = [call for call in calls if _is_answer(call, clear.read_us)]
    why = "no full reading of every family began after the last cancel was over"
    for reading in _readings(clear.venue, [call for call in answered if call["arrived_us"] >= since_us]):
        standing = [order for order in orders if _stood_open(order, reading[_shown_in(clear, order)])]
        if not standing:
            return ""
        named = ", ".join(f"{order['symbol']} {order['order_id']}" for order in standing[:3])
        why = f"{len(standing)} orders stood open all through its reading ({named})"
    return why


def _over_us(cancel: Json, given_up_us: Sequence[int]) -> int:
    """When whoever sent this cancel had its answer, or was no longer waiting for one."""
    arrived_us: int = cancel["arrived_us"]
    ends = [arrived_us + GIVEN_UP_US]
    if cancel["answered_us"]:
        ends.append(cancel["answered_us"])
    ends += given_up_us[bisect_left(given_up_us, arrived_us) :][:1]
    return min(ends)


def _is_answer(call: Json, by_us: int) -> bool:
    """Whether a request brought an answer that could be read, by this instant."""
    return (
        call["status"] == 200
        and call["answered_us"] <= by_us
        and call["answered_us"] - call["arrived_us"] < READ_TIMEOUT_US
        and not any(fault["kind"] in SPOILS for fault in call["faults"])
    )


#: When each of a venue's full listings was asked and answered, in reading order.
_Reading = list[tuple[int, int]]


def _readings(venue: str, answered: Sequence[Json]) -> Iterator[_Reading]:
    """Every full reading of an account that these requests make up, begun at each first listing."""
    first, *others = CALLS[venue].full
    for number, call in enumerate(answered):
        if not is_full_listing(call, first):
            continue
        if venue == "coinswitch":
            reading = _walk(call, answered[number + 1 :])
        else:
            reading = [(call["arrived_us"], call["answered_us"])]
            for wanted in others:
                later = (
                    (one["arrived_us"], one["answered_us"])
                    for one in answered[number + 1 :]
                    if one["arrived_us"] >= reading[-1][1] and is_full_listing(one, wanted)
                )
                reading += [one for one in [next(later, None)] if one]
        if len(reading) == 1 + len(others):
            yield reading


def _walk(begin: Json, others: Sequence[Json]) -> _Reading:
    """A CoinSwitch listing, page after page back in time; empty when one is lacking or the end.

    A page begins where the one before it ended: at its floor, or above it where that one was full.
    """
    begun_ms = begin["arrived_us"] // 1000
    at_us, to_ms = begin["answered_us"], begun_ms + CLOCKS_DIFFER_MS
    floor_ms = begun_ms - COINSWITCH_PAGE_MS - CLOCKS_DIFFER_MS
    for call in others:
        asked = asked_of(call)
        if call["path"] != begin["path"] or "symbol" in asked or "to_time" not in asked:
            continue
        if call["arrived_us"] < at_us or not floor_ms <= asked["to_time"] < to_ms:
            continue  # of another walk
        at_us, to_ms, floor_ms = call["answered_us"], asked["to_time"], asked["from_time"]
        if floor_ms <= begun_ms - COINSWITCH_REACH_MS + CLOCKS_DIFFER_MS:
            return [(begin["arrived_us"], at_us)]
    return []


def _shown_in(clear: Clear, order: Json) -> int:
    return SHOWN_IN[clear.venue][order["book"]]


def _stood_open(order: Json, listing: tuple[int, int]) -> bool:
    asked_us, answered_us = listing
    return order["opened_us"] < asked_us and (order["open"] or order["ended_us"] > answered_us)


# ---- lost presses ----


def lost_presses(evidence: Evidence) -> Iterator[str]:
    """Each press that had no answer, is not in the database, or whose sweeps are not over.

    One that was refused is not lost: a person saw it, and presses again.
    """
    answered: dict[int, int] = defaultdict(int)
    for press in evidence.presses:
        if press.panic is None:
            if not press.refused:
                yield f"press {press.number} had no answer"
            continue
        answered[press.panic] += 1
        row = evidence.panics.get(press.panic)
        if row is None or row.presses < answered[press.panic]:
            yield f"press {press.number} was answered, and panic {press.panic} does not hold it"
            continue
        left = [name for name in press.accounts if not _is_over(evidence.panics, press.panic, name)]
        if left:
            yield f"press {press.number}, panic {press.panic}: {', '.join(left)} not over"


def _is_over(panics: Mapping[int, PanicRow], number: int, account: str) -> bool:
    """Whether the sweep of an account is over, and that of the panic which took it over, if one did."""
    row = panics.get(number)
    state = row.states.get(account) if row else None
    if row is None or state not in OVER:
        return False
    return state != "handed_over" or _is_over(panics, row.handed_over_to[account], account)


# ---- what a latched account must not have ----


def orders_left(evidence: Evidence) -> Iterator[str]:
    """Each order that stands open in the end at an account which is still latched."""
    still = {name for name, spans in evidence.latched.items() if spans and spans[-1][1] is None}
    for order in evidence.orders:
        if order["open"] and order["account"] in still:
            yield f"{order['account']}: {order['book']} {order['symbol']} {order['order_id']}"


def heartbeats_after_latch(evidence: Evidence) -> Iterator[str]:
    """Each heartbeat, or countdown that was set, of an account while it was latched."""
    for call in filter(is_heartbeat, evidence.log):
        at_us = call["arrived_us"]
        for begin_us, end_us in evidence.latched.get(call["account"], ()):
            if is_after_latch(call, begin_us) and (end_us is None or at_us < end_us):
                yield f"{call['account']}: {call['path']} at {_clock(at_us)}"


def untrue_countdowns(evidence: Evidence) -> Iterator[str]:
    """Each countdown that is called armed in the end and does not run, or is called over and runs."""
    for (account, scope), said in sorted(evidence.countdowns.items()):
        runs = (account, scope) in evidence.running
        if runs is not (said == "armed") and said in ("armed", "disarmed", "fired"):
            yield f"{account} {scope} is {said}, and {'runs' if runs else 'does not run'} at its venue"


def _clock(at_us: int) -> str:
    """A moment as the log lines of the product tell it."""
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%H:%M:%S.%f}"


def _by_account(rows: Sequence[Json]) -> dict[str, list[Json]]:
    of: dict[str, list[Json]] = defaultdict(list)
    for row in rows:
        of[row["account"]].append(row)
    return of
