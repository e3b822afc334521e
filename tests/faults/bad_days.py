"""Every fault that can strike a call, as the simulator makes it, and the words that tell a person of it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BadDay:
    """One kind of fault. `acts`: the call is carried out all the same. `says`: what the sweep must name."""

    kind: str
    acts: bool
    says: str
    says_coinswitch: str = ""  # where its words differ: it has no codes
    options: dict[str, Any] = field(default_factory=dict)
    options_coinswitch: dict[str, Any] = field(default_factory=dict)
    #: The venues where it means that a limit is reached, and that silence is wanted.
    limits: frozenset[str] = frozenset()
    #: It concerns an address, also where limits are counted by key.
    bans: bool = False

    def of(self, adapter: str) -> dict[str, Any]:
        """The fault as the simulator takes it."""
        options = self.options_coinswitch if adapter == "coinswitch" else {}
        return {"kind": self.kind, **(options or self.options)}

    def words(self, adapter: str) -> str:
        """What the sweep's last word must hold at this venue."""
        return (adapter == "coinswitch" and self.says_coinswitch) or self.says

    def silences(self, adapter: str) -> bool:
        """Whether no account of this venue may call meanwhile: limits by address are everybody's."""
        return adapter in self.limits and (self.bans or adapter != "coinswitch")  # which counts by key


def _clock(ms: int, ms_coinswitch: int) -> BadDay:
    """Our clock is off by so much, and the venue's own time call tells nothing of it."""
    return BadDay(
        "clock_skew_ms",
        False,
        "HTTP 400 -1021 Timestamp",
        "HTTP 401 Invalid Access",
        options={"ms": ms},
        options_coinswitch={"ms": ms_coinswitch},  # it allows 60 s
    )


EVERYWHERE = frozenset({"binance-usdm", "binance-options", "binance-portfolio", "coinswitch"})
UNKNOWN = "Unknown error, please check your request or try again later."
INTERNAL = "Internal error; unable to process your request. Please try again."
TIMEOUT_408 = ("HTTP 408 -1007 Timeout", "HTTP 408 Timeout")
REFUSES = "refuses every call until "
NO_ANSWER = "no answer (ConnectionError)"
BAD_DAYS = {
    "connection cut before acting": BadDay("cut_before", False, NO_ANSWER),
    "connection cut after acting": BadDay("cut_after", True, NO_ANSWER),
    "503 unknown": BadDay("done_then_503a", True, f"HTTP 503 0 {UNKNOWN}", f"HTTP 503 {UNKNOWN}"),
    "503 unavailable": BadDay(
        "not_done_503b", False, "HTTP 503 0 Service Unavailable.", "HTTP 503 Service Unavailable."
    ),
    "503 internal": BadDay("not_done_503c", False, f"HTTP 503 -1001 {INTERNAL}", f"HTTP 503 {INTERNAL}"),
    "503 throttled": BadDay(
        "503_1008",
        False,
        "HTTP 503 -1008 Request",
        "HTTP 503 Request throttled",
        limits=frozenset({"binance-options"}),  # its number for a limit that is reached
    ),
    "408 before acting": BadDay("408", False, *TIMEOUT_408, {"done": False}),
    "408 after acting": BadDay("408", True, *TIMEOUT_408),
    "429": BadDay(
        "429", False, "HTTP 429 -1003 Too many requests", "HTTP 429 Too many requests", limits=EVERYWHERE
    ),
    "429 with Retry-After": BadDay(
        "429_retry_after", False, REFUSES, options={"seconds": 30}, limits=EVERYWHERE
    ),
    "418": BadDay(
        "418", False, "HTTP 418 -1003 Way too many requests", "HTTP 418", limits=EVERYWHERE, bans=True
    ),
    "403 without JSON": BadDay("403_html", False, "HTTP 403", limits=EVERYWHERE, bans=True),
    "garbage": BadDay("garbage", True, "the answer is not JSON", "the answer is not a JSON object"),
    "truncated JSON": BadDay("truncated", True, "no answer ("),
    "our clock 5 s fast": _clock(-5000, -70_000),
    # Binance takes calls that are up to 5 s old, and its portfolio margin tells its time to half a second.
    "our clock 5 s slow": _clock(5600, 70_000),
    "key revoked": BadDay("key_revoked", False, "HTTP 401 -2015 Invalid API-key", "HTTP 401 Invalid Access"),
}
#: Calls that get no answer: ours wait 5 s for one.
HANGS = {
    "timeout before acting": BadDay(
        "hang", False, "no answer (ReadTimeout)", options={"seconds": 60, "done": "never"}
    ),
    "timeout after acting": BadDay(
        "hang", True, "no answer (ReadTimeout)", options={"seconds": 60, "done": "first"}
    ),
}
CALL_FAULTS = {**HANGS, **BAD_DAYS}
#: Answers by which a log of status 200 is no answer at all.
SPOILS = frozenset({"garbage", "truncated", "cached"})
