"""Reading a journal: what was pressed, and the last that it tells of every sweep and order.

A line that was cut short, as a killed process leaves one, ends it there. A line that cannot be read ends it
too, and is named: what follows might rest on it.
"""

import fcntl
import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from panicboard.break_glass.journal import CALL_FIELDS, FORMAT, ORDER_FIELDS, SWEEP_FIELDS
from panicboard.models import Panic, SweptOrder
from panicboard.venues.calls import VenueCall

_AMOUNTS = ("quantity", "filled", "price", "trigger_price")


class DamagedJournal(Exception):
    """Not even what was pressed can be read. The text says why."""


@dataclass(frozen=True, slots=True)
class Pressed:
    """The first line. `accounts`: each as the file named it, with pk, name, desk, adapter and base_url."""

    id: uuid.UUID
    at: datetime
    by: str
    host: str
    scope: Panic.Scope
    scope_name: str
    keep_protective: bool
    reason: str
    accounts: tuple[dict[str, Any], ...]
    skipped: tuple[str, ...]


@dataclass(slots=True)
class Story:
    """What a journal tells. Sweeps by account name; orders by account name and number."""

    pressed: Pressed
    sweeps: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    calls: list[VenueCall] = field(default_factory=list)
    #: Why the rest of it is missing, where it is.
    cut: str = ""
    #: Whether the process that wrote it is over: else more is to come.
    ended: bool = True


def read(path: Path) -> Story:
    """Read the journal at `path`, as far as it is written. Raises DamagedJournal or OSError."""
    with path.open("rb") as file:
        ended = _has_ended(file)
        # What follows the last line's end is being written, or was when its writer was killed.
        lines = file.read().split(b"\n")[:-1]
    if not lines:
        raise DamagedJournal("it holds no whole line")
    try:
        story = Story(_pressed(json.loads(lines[0])), ended=ended)
    except (ValueError, KeyError, TypeError) as exc:
        raise DamagedJournal(f"its first line cannot be read ({type(exc).__name__})") from None
    for number, line in enumerate(lines[1:], start=2):
        try:
            _hear(story, json.loads(line))
        except (ValueError, KeyError, TypeError, ArithmeticError) as exc:
            story.cut = (
                f"line {number} cannot be read ({type(exc).__name__}), so nothing from there on is imported"
            )
            break
    return story


def is_being_written(path: Path) -> bool:
    """Whether the process that writes this journal lives. Raises OSError."""
    with path.open("rb") as file:
        return not _has_ended(file)


def _has_ended(file: BinaryIO) -> bool:
    """Its writer holds a lock on it for as long as it lives."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pressed(line: dict[str, Any]) -> Pressed:
    if line["event"] != "pressed" or line["format"] != FORMAT:
        raise ValueError
    accounts = tuple(dict(account) for account in line["accounts"])
    if not all(isinstance(account["name"], str) for account in accounts):
        raise ValueError
    return Pressed(
        id=uuid.UUID(line["id"]),
        at=_moment(line["pressed_at"]),
        by=str(line["pressed_by"]),
        host=str(line["host"]),
        scope=Panic.Scope(line["scope"]),
        scope_name=str(line["scope_name"]),
        keep_protective=bool(line.get("keep_protective", False)),  # older journals kept nothing
        reason=str(line["reason"]),
        accounts=accounts,
        skipped=tuple(line["skipped"]),
    )


def _hear(story: Story, line: dict[str, Any]) -> None:
    match line["event"]:
        case "sweep":
            line = {"kept": 0, **line}  # older journals kept nothing
            told = {name: line[name] for name in SWEEP_FIELDS}
            story.sweeps[line["account"]] = _with_times(told)
        case "order":
            order = _with_times({name: line[name] for name in ORDER_FIELDS})
            order |= {name: _amount(order[name]) for name in _AMOUNTS}
            order["outcome"] = SweptOrder.Outcome(order["outcome"])
            story.orders.setdefault(line["account"], {})[int(line["number"])] = order
        case "call":
            story.calls.append(VenueCall(**{name: line[name] for name in CALL_FIELDS}))
        case "end":
            pass


def _with_times(told: dict[str, Any]) -> dict[str, Any]:
    return {name: _moment(value) if name.endswith("_at") and value else value for name, value in told.items()}


def _moment(value: Any) -> datetime:
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError
    return at


def _amount(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)
