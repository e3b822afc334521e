"""What venues answered to calls that only read, kept as a cache before a venue would keep it.

The fault `cached` answers from here. The time and the signature of a call are no part of its name, so that
the next call for the same thing finds the copy, however old it is by then.
"""

import re
from collections import OrderedDict
from dataclasses import replace

from panicboard.simulator.api import Call, Reply

KEPT_BYTES = 32_000_000
_PASSING = re.compile(r"(^|&)(timestamp|signature|recvWindow)=[^&]*")

Name = tuple[str, str, str, str, bytes]


def name_of(call: Call) -> Name | None:
    """What a copy of this call's answer is kept under: caller, call and parameters; None if it acts."""
    if call.method != "GET" and "/orders/" not in call.path:
        return None
    caller = call.account.name if call.account else ""
    return caller, call.method, call.path, _PASSING.sub("", call.query), call.body


class Copies:
    """The latest answer to each call that reads, the least used forgotten first."""

    def __init__(self) -> None:
        self._replies: OrderedDict[Name, Reply] = OrderedDict()
        self._bytes = 0

    def keep(self, call: Call, reply: Reply) -> None:
        """Keep a successful answer to a call that reads, in place of an older one."""
        name = name_of(call)
        if name is None or reply.status != 200:
            return
        self._drop(name)
        self._replies[name] = replace(reply, headers=dict(reply.headers))
        self._bytes += len(reply.body)
        while self._bytes > KEPT_BYTES:
            self._drop(next(iter(self._replies)))

    def of(self, call: Call) -> Reply | None:
        """The last answer to the same call, if there is one."""
        name = name_of(call)
        if name is None or name not in self._replies:
            return None
        self._replies.move_to_end(name)
        kept = self._replies[name]
        return replace(kept, headers=dict(kept.headers))

    def clear(self) -> None:
        """Forget every answer."""
        self._replies.clear()
        self._bytes = 0

    def _drop(self, name: Name) -> None:
        reply = self._replies.pop(name, None)
        if reply is not None:
            self._bytes -= len(reply.body)
