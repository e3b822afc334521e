"""What the events of a plan do where a process is down already."""

from collections.abc import Callable
from typing import Any

from tests.chaos.acts import Acts
from tests.chaos.plan import Event


class Processes:
    """Stands for the processes of a run: which are down, and what was done to them."""

    def __init__(self, *down: str) -> None:
        self.down = set(down)
        self.done: list[str] = []

    def is_up(self, name: str) -> bool:
        return name not in self.down

    def kill(self, name: str) -> int:
        self.done.append(f"kill {name}")
        return 7

    def freeze(self, name: str) -> None:
        self.done.append(f"freeze {name}")


class Begun:
    """An event that was begun beside these processes, and what is to be done later."""

    def __init__(self, stage: Any, event: Event, quiet_from_ms: int = 10_000) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.told: list[str] = []
        nobody: Any = None
        acts = Acts(
            stage,
            nobody,
            nobody,
            quiet_from_ms=quiet_from_ms,
            later=lambda at_ms, action: self.due.append((at_ms, action)),
            tell=self.told.append,
        )
        acts.begin(event)


def test_process_that_is_down_is_killed_when_it_is_up_again() -> None:
    for act in ("kill web", "freeze valkey"):
        stage = Processes("web", "valkey")
        begun = Begun(stage, Event(1000, act, for_ms=500))
        [(again_ms, again)] = begun.due
        before = list(stage.done)
        begun.due.clear()
        stage.down.clear()

        again()

        assert (again_ms, before, stage.done) == (1200, [], [act])
        assert [at_ms for at_ms, _ in begun.due] == [1700]


def test_fault_that_has_to_wait_does_not_last_into_the_quiet() -> None:
    stage = Processes("web")
    begun = Begun(stage, Event(1000, "kill web", for_ms=500), quiet_from_ms=1300)
    [(_, again)] = begun.due
    begun.due.clear()
    stage.down.clear()

    again()

    assert [at_ms for at_ms, _ in begun.due] == [1300]


def test_fault_that_would_begin_in_the_quiet_does_not_come_about_and_says_so() -> None:
    begun = Begun(Processes("web"), Event(1000, "kill web", for_ms=500), quiet_from_ms=1200)

    assert begun.due == []
    assert begun.told == ["kill web DID NOT COME ABOUT: it was down until the quiet"]
