"""What the events of a plan do, and when it is over again."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from panicboard import dispatch
from panicboard.models import Countdown, Sweep
from tests.chaos.people import People
from tests.chaos.plan import Event
from tests.chaos.recovery import Fault
from tests.chaos.stage import Stage, hold_database
from tests.simulator_process import SimulatorProcess

Json = dict[str, Any]

#: When what cannot begin yet is tried again.
AGAIN_MS = 200


class Acts:
    """Does what events say. `later` is called with a time (ms) and what to do then.

    A process that is down cannot be killed or frozen: that fault begins when it is up again, so that the same
    plan gives the same faults on a slow machine. From `quiet_from_ms` on none begins.
    """

    def __init__(
        self,
        stage: Stage,
        simulator: SimulatorProcess,
        people: People,
        *,
        quiet_from_ms: int,
        later: Callable[[float, Callable[[], None]], None],
        tell: Callable[[str], None],
    ) -> None:
        self.stage, self.simulator, self.people = stage, simulator, people
        self._quiet_from_ms, self._later, self._tell = quiet_from_ms, later, tell
        self._faults: list[Fault] = []
        self._used_up: set[int] = set()
        self._threads: list[threading.Thread] = []

    def begin(self, event: Event) -> None:
        """Do what an event says, and see to its end."""
        match event.act:
            case "orders":
                told = self.simulator.control("POST", "orders", event.what | {"quiet": True})
                self._tell(f"{told['count']} orders placed")
            case "fill" | "expire" | "trigger":
                self._market(event)
            case "press":
                number = self.people.press(**event.what)
                self._tell(f"press {number}: {event.what['scope']} {event.what['of']}, {event.what['by']}")
            case "release":
                self._tell(f"release of what is clear, {event.what['by']}")
                self.people.release(**event.what)
            case "arm" | "disarm":
                self._tell(event.line())
                self.people.see_to_countdowns(event.act, **event.what)
            case "call fault" | "book fault" | "bot":
                self._rule(event)
            case "deliver twice":
                self._deliver_twice()
            case "lock database":
                self._on_a_thread(partial(self._lock_database, event))
            case "freeze valkey":
                self._freeze(event)
            case _:
                self._kill(event)

    def end_all(self) -> None:
        """Take away what is still there of faults."""
        self.simulator.clear_faults()

    def look_after_processes(self) -> None:
        """Start again what ended although nobody killed it, and say so: that is none of the plan's faults."""
        for name in self.stage.ended_by_themselves():
            self._tell(f"{name} ENDED BY ITSELF, and is started again")
            self._on_a_thread(partial(self.stage.revive, name))

    def wait(self, timeout_s: float) -> None:
        """Wait until everything that was begun is over, and every process up again."""
        for thread in self._threads:
            thread.join(timeout_s)
        self.stage.wait_until_all_up(timeout_s)

    def faults(self, log: list[Json]) -> list[Fault]:
        """The faults that came about. A rule that was used up was over with its last strike."""
        last_us = {
            struck["id"]: call["answered_us"] or call["arrived_us"]
            for call in log
            for struck in call["faults"]
            if struck["id"] in self._used_up
        }
        return [replace(fault, ended_us=last_us.get(fault.rule, fault.ended_us)) for fault in self._faults]

    def _market(self, event: Event) -> None:
        url = f"{self.simulator.url}/simulator/{event.act}"
        reply = self.simulator.session.post(url, json=event.what, timeout=60)
        came = f"{reply.json()['count']} orders" if reply.ok else "no order there"
        self._tell(f"{event.line()}: {came}")

    def _rule(self, event: Event) -> None:
        """A rule at the simulator, until its time is over or it was used up."""
        rule, begun_us = self.simulator.fault(**event.what), _now_us()
        self._tell(f"rule {rule}: {event.line()}")
        account = event.what["account"] if event.act != "call fault" else ""

        def end() -> None:
            url = f"{self.simulator.url}/simulator/faults"
            reply = self.simulator.session.delete(url, params={"id": rule}, timeout=60)
            if not reply.ok:  # it is not there any more
                self._used_up.add(rule)
            self._faults.append(Fault(event.act, begun_us, _now_us(), rule=rule, account=account))

        self._later(event.at_ms + event.for_ms, end)

    def _kill(self, event: Event) -> None:
        name = event.act.removeprefix("kill ")
        if not self.stage.is_up(name):
            self._put_off(event)
            return
        begun_us, pid = _now_us(), self.stage.kill(name)
        self._tell(f"{event.act} (pid {pid}), back in {event.for_ms} ms")
        held = pid if name.startswith(("worker", "web")) else None  # the others held up everybody

        def revive() -> None:
            self.stage.revive(name)
            self._faults.append(Fault(event.act, begun_us, _now_us(), pid=held))
            self._tell(f"{name} is up again")

        self._later(event.at_ms + event.for_ms, partial(self._on_a_thread, revive))

    def _freeze(self, event: Event) -> None:
        if not self.stage.is_up("valkey"):
            self._put_off(event)
            return
        self._tell(f"{event.act} for {event.for_ms} ms")
        begun_us = _now_us()
        self.stage.freeze("valkey")

        def thaw() -> None:
            self.stage.thaw("valkey")
            self._faults.append(Fault(event.act, begun_us, _now_us()))

        self._later(event.at_ms + event.for_ms, thaw)

    def _put_off(self, event: Event) -> None:
        """Try again in a moment; as in the plan, nothing begins in the quiet or lasts into it."""
        at_ms = event.at_ms + AGAIN_MS
        left_ms = self._quiet_from_ms - at_ms
        if left_ms > 0:
            again = replace(event, at_ms=at_ms, for_ms=min(event.for_ms, left_ms))
            self._later(at_ms, partial(self.begin, again))
        else:
            self._tell(f"{event.act} DID NOT COME ABOUT: it was down until the quiet")

    def _lock_database(self, event: Event) -> None:
        self._tell(f"{event.act} for {event.for_ms} ms")
        begun_us = _now_us()
        hold_database(event.for_ms / 1000)
        self._faults.append(Fault(event.act, begun_us, _now_us()))

    def _deliver_twice(self) -> None:
        """Every task that sweeps now, looks at a latched account or keeps a countdown comes twice more."""
        sweeps = list(Sweep.objects.exclude(state__in=Sweep.OVER).values_list("pk", flat=True))
        watched = list(Sweep.objects.filter(Sweep.WATCHED).values_list("pk", flat=True))
        begun_us = _now_us()
        sent = [dispatch.queue("run_sweep", sweeps + watched) for _ in range(2)]
        sent += [dispatch.queue("watch_sweep", watched) for _ in range(2)]
        kept = list(Countdown.objects.filter(due_at__isnull=False).values_list("pk", flat=True))
        sent += [dispatch.queue("send_heartbeats", [kept]) for _ in range(2)]
        self._tell(f"deliver twice: {sum(sent)} tasks, of {len(sweeps)} sweeps and {len(watched)} watched")
        self._faults.append(Fault("deliver twice", begun_us, _now_us()))

    def _on_a_thread(self, action: Callable[[], None]) -> None:
        thread = threading.Thread(target=action, daemon=True)
        self._threads.append(thread)
        thread.start()


def _now_us() -> int:
    return time.time_ns() // 1000
