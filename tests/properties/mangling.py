"""Real payloads, mangled: what a venue, a proxy or a bug may send in place of what is documented."""

import json
from collections.abc import Collection, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

#: Written into a body as they stand: a number too long to be one, and lists within lists.
_RAW = {
    '"@digits@"': "9" * 5000,
    '"@long@"': "9" * 400,
    '"@deep@"': "[" * 100_000 + "]" * 100_000,
    **{f'"@nested {depth}@"': "[" * depth + "]" * depth for depth in (100, 400, 800, 900, 950, 990)},
}
#: Words for the state of an order, known and unknown ones.
WORDS = (
    "NEW",
    "ACCEPTED",
    "PARTIALLY_FILLED",
    "PENDING_CANCEL",
    "TRIGGERING",
    "TRIGGERED",
    "FINISHED",
    "FILLED",
    "CANCELED",
    "CANCELLED",
    "EXPIRED",
    "EXPIRED_IN_MATCH",
    "REJECTED",
    "RAISED",
    "EXECUTED",
    "PARTIALLY_EXECUTED",
    "FAILED",
    "ALL_DONE",
    "EXECUTING",
    "REJECT",
    "PENDING_REVIEW",
    "canceled",
    "Filled",
    "FILLED ",
    "CANCELED\0",
    "fa\u0131led",  # a dotless i, which becomes a plain I in capitals
)
_STRANGE = (
    None,
    True,
    False,
    0,
    -1,
    5,
    2**53 + 1,
    10**30,
    1.5,
    1e308,
    float("inf"),
    float("nan"),
    "",
    " ",
    "0",
    "-1",
    "1_0",
    "NaN",
    "sNaN",
    "-Infinity",
    "1e999999",
    "1e-999999",
    "0e-99999",
    "9" * 5000,
    "\0",
    "BTC\0USDT",
    "\ud800",
    "\u00b2",  # a digit to str.isdigit(), and none to int()
    "\u0663",  # a decimal digit to both
    "x" * 5000,
    [],
    [[]],
    [None],
    ["a", 1],
    {},
    {"a": 1},
    {"code": -1121, "msg": "Invalid symbol."},
    *(text.strip('"') for text in _RAW),
)


def junk() -> st.SearchStrategy[Any]:
    """A value that has no business where it stands."""
    return st.one_of(
        st.sampled_from(_STRANGE),
        st.sampled_from(WORDS),
        st.integers(),
        st.floats(),
        st.text(max_size=10),
        st.decimals(allow_nan=True).map(str),
    )


def _places(node: Any, holder: Any = None, key: Any = None) -> list[tuple[Any, Any]]:
    """Every place of a document: what holds it, and under which key."""
    found = [] if holder is None else [(holder, key)]
    if isinstance(node, dict):
        for name in list(node):
            found += _places(node[name], node, name)
    elif isinstance(node, list):
        for index in range(len(node)):
            found += _places(node[index], node, index)
    return found


@dataclass(frozen=True)
class Wrong:
    """One thing to be done to a document: `place` and `other` choose among its places, whatever it holds."""

    act: str
    place: int
    other: int
    value: Any


_ACTS = ("change", "change", "change", "drop", "repeat", "wrap", "swap", "empty")


def wrongs(most: int = 3) -> st.SearchStrategy[list[Wrong]]:
    """One to three things that are wrong with a document."""
    number = st.integers(0, 1000)
    one = st.builds(Wrong, st.sampled_from(_ACTS), number, number, junk())
    return st.lists(one, min_size=1, max_size=most)


def mangle(document: Any, wrong: Iterable[Wrong], keep: Collection[str] = ()) -> Any:
    """A copy of a document with these things done to it; fields named in `keep` stay as they are."""
    root = [deepcopy(document)]
    for one in wrong:
        places = [(holder, key) for holder, key in _places(root[0], root, 0) if key not in keep]
        holder, key = places[one.place % len(places)]
        other, name = places[one.other % len(places)]
        if one.act == "drop" and holder is not root:
            del holder[key]
        elif one.act == "repeat" and isinstance(holder, list) and holder is not root:
            holder.insert(key, deepcopy(holder[key]))
        elif one.act == "wrap":
            holder[key] = [holder[key]] if one.other % 2 else {"data": holder[key]}
        elif one.act == "swap":
            holder[key] = deepcopy(other[name])
        elif one.act == "empty" and isinstance(holder[key], list | dict):
            holder[key] = type(holder[key])()
        else:
            holder[key] = deepcopy(one.value)  # it may be changed in its turn
    return root[0]


def written(document: Any) -> str:
    """The document as it travels."""
    text = json.dumps(document)
    for token, raw in _RAW.items():
        text = text.replace(token, raw)
    return text


@st.composite
def bodies(draw: st.DrawFn, document: Any) -> str:
    """A mangled document as it travels; sometimes not to its end, or with something in it or around it."""
    text = written(mangle(document, draw(wrongs())))
    match draw(st.sampled_from(("whole",) * 12 + ("cut", "stabbed", "framed", "nothing"))):
        case "cut":
            return text[: draw(st.integers(0, max(0, min(len(text), 2000) - 1)))]
        case "stabbed":
            place = draw(st.integers(0, min(len(text), 2000)))
            return text[:place] + draw(st.sampled_from(("\0", "\n", "\ud800", "}", "]", ","))) + text[place:]
        case "framed":
            return draw(st.sampled_from(("<html>{}</html>", "{},", "[{}]", '{{"data": {}}}'))).format(text)
        case "nothing":
            return draw(st.sampled_from(("", "null", "{}", "[]", "0", '"ok"', "[[]]", "[null]", "\0")))
    return text


def shown(body: str) -> Any:
    """What a body says when it is read by nobody's rules but JSON's; a text nobody can read says None."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
