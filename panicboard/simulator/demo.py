"""The demo: a dozen accounts of a trading firm, with believable books, and small bots if wanted."""

from panicboard.simulator.server import Simulator


class Demo:
    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    def begin(self, *, alive: bool) -> None: ...
