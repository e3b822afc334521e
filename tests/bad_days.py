"""Every call fault the simulator has, and the words by which a person must learn of it."""

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

    def of(self, adapter: str) -> dict[str, Any]:
        """The fault as the simulator takes it."""
        if self.kind == "clock_skew_ms":  # the venue's clock is behind: Binance allows 1 s, CoinSwitch 60
            return {"kind": self.kind, "ms": -70_000 if adapter == "coinswitch" else -5000}
        return {"kind": self.kind, **self.options}

    def words(self, adapter: str) -> str:
        """What the sweep's last word must hold at this venue."""
        return (adapter == "coinswitch" and self.says_coinswitch) or self.says


UNKNOWN = "Unknown error, please check your request or try again later."
INTERNAL = "Internal error; unable to process your request. Please try again."
BAD_DAYS = {
    "503 unknown": BadDay("done_then_503a", True, f"HTTP 503 0 {UNKNOWN}", f"HTTP 503 {UNKNOWN}"),
    "503 unavailable": BadDay(
        "not_done_503b", False, "HTTP 503 0 Service Unavailable.", "HTTP 503 Service Unavailable."
    ),
    "503 internal": BadDay("not_done_503c", False, f"HTTP 503 -1001 {INTERNAL}", f"HTTP 503 {INTERNAL}"),
    "503 throttled": BadDay("503_1008", False, "HTTP 503 -1008 Request", "HTTP 503 Request throttled"),
    "408 done": BadDay("408", True, "HTTP 408 -1007 Timeout", "HTTP 408 Timeout"),
    "408 not done": BadDay("408", False, "HTTP 408 -1007 Timeout", "HTTP 408 Timeout", {"done": False}),
    "cut before": BadDay("cut_before", False, "no answer (ConnectionError)"),
    "cut after": BadDay("cut_after", True, "no answer (ConnectionError)"),
    "429": BadDay("429", False, "HTTP 429 -1003 Too many requests", "HTTP 429 Too many requests"),
    "429 retry after": BadDay(
        "429_retry_after",
        False,
        "refuses every call for 30 s",
        "refuses every call for 30 s",
        {"seconds": 30},
    ),
    "418": BadDay("418", False, "HTTP 418 -1003 Way too many requests", "HTTP 418"),
    "403 html": BadDay("403_html", False, "HTTP 403"),
    "garbage": BadDay("garbage", True, "the answer is not JSON", "the answer is not a JSON object"),
    "truncated": BadDay("truncated", True, "no answer ("),
    "clock": BadDay("clock_skew_ms", False, "HTTP 400 -1021 Timestamp", "HTTP 401 Invalid Access"),
    "key revoked": BadDay("key_revoked", False, "HTTP 401 -2015 Invalid API-key", "HTTP 401 Invalid Access"),
}
#: Slow: our calls wait 5 s for an answer. Once a venue is enough.
HANG = BadDay("hang", False, "no answer (ReadTimeout)", options={"seconds": 60, "done": "never"})
