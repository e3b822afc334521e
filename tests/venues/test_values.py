"""Values as venues may send them, and what no venue should send but one may."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from panicboard.venues.errors import OutcomeUnknown
from panicboard.venues.values import amount, flag, identifier, label, moment, quoted, time_ms, upper, whole


def nested(depth: int) -> list:
    node: list = []
    for _ in range(depth):
        node = [node]
    return node


def shortly(value: object) -> str:
    return f"{type(value).__name__} {quoted(value, 20)}"


DEEP = nested(100_000)


@pytest.mark.parametrize(
    ("value", "text"), [(4611875134427365377, "4611875134427365377"), ("测试USDT", "测试USDT"), (0, "0")]
)
def test_an_identifier_is_text_as_it_was_written(value, text):
    assert identifier(value) == text


NO_IDENTIFIERS = {
    "none": None,
    "empty": "",
    "boolean": True,
    "decimal number": 1.5,
    "number that lost its digits": 4.611875134427365e18,
    "list": [],
    "object": {},
    "NUL": "BTC\0USDT",
    "half a character": "\ud800",
    "two lines": "line\nbreak",
    "long text": "x" * 61,
    "long number": 10**60,
    "longer number": 10**5000,
    "deep": DEEP,
}


@pytest.mark.parametrize("value", NO_IDENTIFIERS.values(), ids=NO_IDENTIFIERS)
def test_what_cannot_be_an_identifier_is_unknown(value):
    with pytest.raises(OutcomeUnknown):
        identifier(value)


def test_a_label_is_one_short_line_or_nothing():
    read = [label(v) for v in ("abc", 7, "a\0b\nc", "x" * 100, None, True, 1.5, [], DEEP)]

    assert read == ["abc", "7", "a b c", "x" * 60, "", "", "", "", ""]
    assert label("LIMIT_MAKER", 5) == "LIMIT"


def test_amounts_are_read_from_text_and_numbers():
    read = [amount(value) for value in ("0.40", 3, "-0.5", "", None, 0.25, "0e-99999")]

    assert read == [Decimal(n) for n in ("0.40", "3", "-0.5", "0", "0", "0.25", "0")]
    assert str(read[-1]) == "0"


@pytest.mark.parametrize(
    "value",
    ["1,5", True, [], {}, "x", "1" * 61, 10**5000, DEEP, "\ud800"],
    ids=lambda value: type(value).__name__,
)
def test_an_amount_that_is_no_number_is_unknown(value):
    with pytest.raises(OutcomeUnknown, match="is not a number"):
        amount(value)


@pytest.mark.parametrize("value", ["NaN", "sNaN", "-Infinity", float("inf"), "1e20", "1e-19", "-1e999999"])
def test_an_amount_that_no_order_can_have_is_unknown(value):
    with pytest.raises(OutcomeUnknown, match="is no amount of an order"):
        amount(value)


def test_times_are_aware_and_absent_where_the_venue_sends_none():
    when = datetime(2020, 1, 17, 15, 59, 16, 75_000, tzinfo=UTC)

    assert [moment(v) for v in (1579276756075, "1579276756075", 0, None, "")] == [when, when] + [None] * 3


@pytest.mark.parametrize(
    "value", [5, "5", 10**12 - 1, 4_102_444_800_000, 10**30, "9" * 5000, -1, True, 1.6e12, []], ids=shortly
)
def test_a_time_that_cannot_be_one_counts_as_not_sent(value):
    assert (time_ms(value), moment(value)) == (None, None)


def test_whole_numbers_are_read_from_numbers_and_ascii_digits():
    assert [whole(v) for v in (0, 7, "7", "007", 2**63 - 1)] == [0, 7, 7, 7, 2**63 - 1]
    assert whole("8", most=7) is None


@pytest.mark.parametrize(
    "value", [-1, "-1", "", "1.0", 1.0, True, None, "\u00b2", "\u0663", "9" * 5000, 2**63, []], ids=shortly
)
def test_what_is_no_whole_number_is_told_apart(value):
    assert whole(value) is None


def test_a_yes_is_a_boolean_or_its_name():
    assert [flag(v) for v in (True, "true", "TRUE", False, "false", None, 1, "yes", [True], DEEP)] == (
        [True] * 3 + [False] * 7
    )


def test_capitals_are_made_of_ascii_only():
    """A dotless i and a long s have plain capitals: another word must not become one that is known."""
    capitals = {
        "failed": "FAILED",
        "fa\u0131led": "FA\u0131LED",
        "\u017fol": "\u017fOL",
        "测试usdt": "测试USDT",
    }

    assert {text: upper(text) for text in capitals} == capitals


@pytest.mark.parametrize("value", [DEEP, 10**5000, "x" * 10**6], ids=["deep", "long number", "long text"])
def test_whatever_was_sent_can_be_quoted_in_short(value):
    assert 0 < len(quoted(value)) <= 300
