"""Values as venues send them: strict where an order's fate depends on them, and never a surprise.

Whatever cannot be what it stands for raises OutcomeUnknown, or counts as not sent where nobody relies on
it. Nothing read here is longer or larger than what the database keeps.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from panicboard.venues.errors import OutcomeUnknown, one_line

LONGEST = 60  # of an id, a symbol or a word for a state
LONGEST_SIDE, LONGEST_TYPE = 10, 40
LONGEST_COUNTDOWN_MS = 2**31 - 1
#: Times outside of these are no times of an order or of a venue's clock: 2001-09-09 to 2100-01-01.
FIRST_MS, LAST_MS = 1_000_000_000_000, 4_102_444_800_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST, _SMALLEST = 20, -18  # powers of ten; kept are 20 digits before the point and 18 behind it


def identifier(value: object) -> str:
    """An id, a symbol or a status as text; a number is taken as it was written.

    Raises OutcomeUnknown for what is absent, empty, too long, not printable, or neither text nor a whole
    number: a decimal number may have lost digits of the id that it was.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**LONGEST:
        value = str(value)
    if not isinstance(value, str) or not value or len(value) > LONGEST or not value.isprintable():
        raise OutcomeUnknown(f"{quoted(value, LONGEST)} is no id, symbol or status")
    return value


def label(value: object, longest: int = LONGEST) -> str:
    """Text that is only shown or sent back, on one line, cut to `longest`; empty where there is none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return one_line(quoted(value, longest))


def amount(value: object) -> Decimal:
    """A number as Decimal; absent and empty count as 0.

    Raises OutcomeUnknown when it is none, or one that no order can have.
    """
    if value is None or value == "":
        return Decimal(0)
    text = quoted(value, LONGEST + 1)
    is_text = isinstance(value, str | int | float) and not isinstance(value, bool) and len(text) <= LONGEST
    try:
        number = Decimal(text if is_text else "")
    except InvalidOperation:
        raise OutcomeUnknown(f"{quoted(value, LONGEST)} is not a number") from None
    if not number.is_finite() or (number and not _SMALLEST <= number.adjusted() < _LARGEST):
        raise OutcomeUnknown(f"{quoted(value, LONGEST)} is no amount of an order")
    return number or Decimal(0)


def whole(value: object, most: int = 2**63 - 1) -> int | None:
    """A whole number from 0 to `most`, sent as a number or as its digits; None when it is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= LONGEST:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= most else None


def time_ms(value: object) -> int | None:
    """A time in Unix ms; None where the venue sent none, or one that cannot be."""
    ms = whole(value)
    return ms if ms is not None and FIRST_MS <= ms < LAST_MS else None


def moment(value: object) -> datetime | None:
    """A time in Unix ms as an aware datetime; None as with `time_ms`."""
    ms = time_ms(value)
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(at: datetime) -> int:
    """A time in Unix ms, cut to the ms."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def flag(value: object) -> bool:
    """A yes or no, sent as a boolean or as its name."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def upper(text: str) -> str:
    """A word in capitals, its ASCII letters only: some of the others have ASCII capitals."""
    return "".join(char.upper() if char.isascii() else char for char in text)


def quoted(value: object, length: int = 300) -> str:
    """What was sent, for the words of an error: no longer than this, however long or deep it is."""
    try:
        return str(value)[:length]
    except (RecursionError, ValueError):  # nested too deep, or a number of too many digits
        return f"a {type(value).__name__} that cannot be shown"
