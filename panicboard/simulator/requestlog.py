"""The log of requests received: who asked what, when (in µs), and what was answered."""

from collections import deque
from dataclasses import dataclass
from itertools import islice, takewhile
from urllib.parse import parse_qsl

KEPT = 500_000


@dataclass(slots=True)
class Entry:
    """One request. `status` and `answered_us` are 0 while it is unanswered; a cut line has no status.

    `faults` names the kinds of fault that struck it, in the order in which they were made.
    """

    seq: int
    arrived_us: int
    account: str
    address: str
    method: str
    path: str
    query: str
    body: bytes
    status: int = 0
    weight: int = 0
    answered_us: int = 0
    faults: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The entry with its parameters parsed, without the signature."""
        return {
            "seq": self.seq,
            "arrived_us": self.arrived_us,
            "answered_us": self.answered_us,
            "account": self.account,
            "address": self.address,
            "method": self.method,
            "path": self.path,
            "params": self._params(),
            "status": self.status,
            "weight": self.weight,
            "faults": list(self.faults),
        }

    def _params(self) -> dict[str, object]:
        body = self.body.decode("utf-8", "replace")
        params: dict[str, object] = {}
        if body.startswith("{"):
            params["body"] = body
        else:
            params.update(parse_qsl(body, keep_blank_values=True))
        params.update(parse_qsl(self.query, keep_blank_values=True))
        params.pop("signature", None)
        return params


class RequestLog:
    """The last requests, numbered from 1 without gaps."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self.last_seq = 0

    def add(
        self, arrived_us: int, account: str, address: str, method: str, path: str, query: str, body: bytes
    ) -> Entry:
        """Note a request at its arrival; the answer fills in its status, its weight and its own time."""
        self.last_seq += 1
        entry = Entry(self.last_seq, arrived_us, account, address, method, path, query, body)
        self._entries.append(entry)
        return entry

    def clear(self) -> None:
        """Forget the entries; numbering goes on."""
        self._entries.clear()

    def count_since(self, moment_us: int) -> int:
        """How many requests arrived after this moment (Unix µs)."""
        late = takewhile(lambda entry: entry.arrived_us > moment_us, reversed(self._entries))
        return sum(1 for _ in late)

    def since(
        self, seq: int, limit: int | None = None, account: str | None = None, path: str | None = None
    ) -> list[Entry]:
        """Entries with a number above `seq`, oldest first, of one account or path if given."""
        if not self._entries:
            return []
        skip = max(0, seq - self._entries[0].seq + 1)
        wanted = (
            entry
            for entry in islice(self._entries, skip, None)
            if (account is None or entry.account == account) and (path is None or entry.path == path)
        )
        return list(islice(wanted, limit))
