"""The venues' calls by what they are for, and the families in which orders stand: for tests of all venues."""

import json
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

Call = tuple[str, str]  # method and path


@dataclass(frozen=True)
class Calls:
    """The calls of one venue by which its ordinary book is swept, and all that together list an account."""

    cancel: Call
    cancel_one: Call
    listing: Call
    query: Call
    history: Call
    full: tuple[Call, ...]
    every: str  # a path pattern of the calls about orders, and so of everything but the clock


_CS = "/trade/api/v2/futures"
CALLS = {
    "binance-usdm": Calls(
        cancel=("DELETE", "/fapi/v1/allOpenOrders"),
        cancel_one=("DELETE", "/fapi/v1/order"),
        listing=("GET", "/fapi/v1/openOrders"),
        query=("GET", "/fapi/v1/order"),
        history=("GET", "/fapi/v1/allOrders"),
        full=(("GET", "/fapi/v1/openAlgoOrders"), ("GET", "/fapi/v1/openOrders")),
        every="*rder*",
    ),
    "binance-options": Calls(
        cancel=("DELETE", "/eapi/v1/allOpenOrders"),
        cancel_one=("DELETE", "/eapi/v1/order"),
        listing=("GET", "/eapi/v1/openOrders"),
        query=("GET", "/eapi/v1/order"),
        history=("GET", "/eapi/v1/historyOrders"),
        full=(("GET", "/eapi/v1/openOrders"),),
        every="*rder*",
    ),
    "binance-portfolio": Calls(
        cancel=("DELETE", "/papi/v1/um/allOpenOrders"),
        cancel_one=("DELETE", "/papi/v1/um/order"),
        listing=("GET", "/papi/v1/um/openOrders"),
        query=("GET", "/papi/v1/um/order"),
        history=("GET", "/papi/v1/um/allOrders"),
        full=(
            ("GET", "/papi/v1/um/algo/openAlgoOrders"),
            ("GET", "/papi/v1/cm/conditional/openOrders"),
            ("GET", "/papi/v1/um/openOrders"),
            ("GET", "/papi/v1/cm/openOrders"),
            ("GET", "/papi/v1/margin/openOrders"),
            ("GET", "/papi/v1/margin/openOrderList"),
        ),
        every="*rder*",
    ),
    "coinswitch": Calls(
        cancel=("POST", f"{_CS}/cancel_all"),
        cancel_one=("DELETE", f"{_CS}/order"),
        listing=("POST", f"{_CS}/orders/open"),
        query=("GET", f"{_CS}/order"),
        history=("POST", f"{_CS}/orders/closed"),
        full=(("POST", f"{_CS}/orders/open"),),
        every=f"{_CS}/*",
    ),
}
#: A path pattern of the calls about countdowns, where a venue has them.
COUNTDOWNS = {
    "binance-usdm": "/fapi/v1/countdownCancelAll",
    "binance-options": "/eapi/v1/countdownCancelAll*",
}
#: The call that places an order of a family.
PLACING: dict[tuple[str, str], Call] = {
    ("binance-usdm", "conditional"): ("POST", "/fapi/v1/algoOrder"),
    ("binance-usdm", "ordinary"): ("POST", "/fapi/v1/order"),
    ("binance-options", "ordinary"): ("POST", "/eapi/v1/order"),
    ("binance-portfolio", "um_conditional"): ("POST", "/papi/v1/um/algo/order"),
    ("binance-portfolio", "cm_conditional"): ("POST", "/papi/v1/cm/conditional/order"),
    ("binance-portfolio", "um"): ("POST", "/papi/v1/um/order"),
    ("binance-portfolio", "cm"): ("POST", "/papi/v1/cm/order"),
    ("binance-portfolio", "margin"): ("POST", "/papi/v1/margin/order"),
    ("coinswitch", "ordinary"): ("POST", f"{_CS}/order"),
}
#: The book of conditional orders that the usual symbol has, and what the adapter calls that family.
CONDITIONAL = {
    "binance-usdm": ("algo", "conditional"),
    "binance-portfolio": ("um_conditional", "um_conditional"),
}
#: Every family of every venue: where an order stands, as the simulator is told to seed it.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "usdm ordinary": ("binance-usdm", {}),
    "usdm conditional": ("binance-usdm", {"book": "algo"}),
    "options": ("binance-options", {}),
    "portfolio um": ("binance-portfolio", {"book": "um"}),
    "portfolio um conditional": ("binance-portfolio", {"book": "um_conditional"}),
    "portfolio cm": ("binance-portfolio", {"book": "cm", "symbol": "BTCUSD_PERP"}),
    "portfolio cm conditional": ("binance-portfolio", {"book": "cm_conditional", "symbol": "BTCUSD_PERP"}),
    "portfolio margin": ("binance-portfolio", {"book": "margin"}),
    "portfolio order list leg": ("binance-portfolio", {"book": "margin", "type": "OCO"}),
    "coinswitch limit": ("coinswitch", {}),
    "coinswitch stop": ("coinswitch", {"type": "STOP_MARKET"}),
}


def family_of(order: dict[str, Any]) -> str:
    """What the adapter calls the family of an order on the simulator's book."""
    return "conditional" if order["book"] == "algo" else str(order["book"])


def at(call: Call) -> dict[str, str]:
    """Where a fault strikes, as the simulator wants it."""
    return {"method": call[0], "path": call[1]}


def is_cancel(call: dict[str, Any]) -> bool:
    """Whether a request of the simulator's log asks for a cancel, of whatever kind."""
    return call["method"] == "DELETE" or call["path"] == CALLS["coinswitch"].cancel[1]


def is_about_orders(call: dict[str, Any], adapter: str) -> bool:
    """Whether a request of the log is about orders: a heartbeat or the venue's clock is not."""
    return fnmatch(call["path"], CALLS[adapter].every)


def is_full_listing(call: dict[str, Any], wanted: Call) -> bool:
    """Whether a request of the log begins a listing of every symbol."""
    if (call["method"], call["path"]) != wanted:
        return False
    asked = asked_of(call)
    return "symbol" not in asked and "to_time" not in asked


def asked_of(call: dict[str, Any]) -> dict[str, Any]:
    """What a request of the log asked for, whichever way its parameters travelled."""
    params: dict[str, Any] = call["params"]
    return json.loads(params["body"]) if "body" in params else params


#: A heartbeat may be under way when its account is latched; so long after it was decided no venue takes it.
UNDER_WAY_US = 1_000_000
#: What the venue's clock, by which its timestamp is, may be off by.
CLOCK_US = 100_000
#: To this a panic shortens what runs at a venue: a second net, and no heartbeat.
SECOND_NET_MS = "5000"
HEARTBEATS = frozenset(
    {
        ("POST", "/fapi/v1/countdownCancelAll"),
        ("POST", "/eapi/v1/countdownCancelAll"),
        ("POST", "/eapi/v1/countdownCancelAllHeartBeat"),
    }
)


def is_heartbeat(call: dict[str, Any]) -> bool:
    """Whether a call starts a countdown, starts it again, or takes it away; one that is refused does not."""
    if (call["method"], call["path"]) not in HEARTBEATS or 400 <= call["status"] < 500:
        return False
    return bool(call["params"].get("countdownTime") != SECOND_NET_MS)


def is_after_latch(call: dict[str, Any], latched_us: int) -> bool:
    """Whether a call came after a latch, and was not under way when it fell."""
    arrived_us = int(call["arrived_us"])
    if arrived_us < latched_us:
        return False
    if "timestamp" not in call["params"]:
        return True
    decided_us = int(call["params"]["timestamp"]) * 1000
    if decided_us > arrived_us + CLOCK_US:  # the venue's clock is far off: it tells nothing
        decided_us = latched_us
    return arrived_us >= latched_us + UNDER_WAY_US or decided_us > latched_us + CLOCK_US
