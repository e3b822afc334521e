"""The product's processes, started once for all tests of a module: two panic workers and the keeper.

`pytest_plugins = ["tests.broker_process", "tests.simulator_process", "tests.faults.floor"]`, then `floor`.
What befalls a process befalls accounts of every venue at once, so one panic over accounts of all four serves
four cells: a fixture of the module lets the fault happen and keeps the verdict on each account (`Verdicts`),
and each cell's test reads its own.

Test modules import names from here before pytest could rewrite its asserts: PYTEST_DONT_REWRITE.
"""

import socket
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from pytest_django.plugin import DjangoDbBlocker

from panicboard import countdowns, panics, processes
from panicboard.models import Account, Panic, Sweep
from panicboard.panics import Scope
from panicboard.venues import VENUES
from tests import database
from tests.broker_process import Breakable
from tests.factories import make_account, make_desk, seed
from tests.faults.judge import Journal, objections, record
from tests.product import Product, Running
from tests.signed_in import Board
from tests.simulator_process import SimulatorProcess
from tests.sweep_stage import Stage, forget_venue, leaks
from tests.venue_calls import CALLS, CONDITIONAL
from tests.waiting import until

THREADS = 8
#: A sweep that was stopped goes on when its lease has lapsed and somebody takes it; on a busy machine later.
END_TIMEOUT_S = 90.0
#: By venue: what there is to object.
Verdicts = dict[str, list[str]]


def _port_of(web: Running) -> str:
    return web.wait_for_line("Uvicorn running on socket").split(", ")[1].split(")")[0]


class Floor:
    """The processes, the simulator, and accounts of all venues."""

    def __init__(
        self, simulator: SimulatorProcess, product: Product, journal: Journal, broker: Breakable
    ) -> None:
        self.simulator = simulator
        self.product = product
        self.journal = journal
        self.broker = broker
        self.stage = Stage(simulator)
        self.workers: dict[int, Running] = {}
        self.web: Running | None = None
        #: Pages that were looked at.
        self.shown: list[str] = []
        for number in (1, 2):
            self.start_worker(number)
        self.start_heartbeats()
        self.keeper = product.start(processes.keeper())
        self.until_ready()

    def start_worker(self, number: int) -> None:
        self.workers[number] = self.product.start(processes.worker("panic", number, THREADS))

    def start_heartbeats(self) -> None:
        self.heartbeats = self.product.start(processes.worker("heartbeat", 1, THREADS))

    def until_ready(self) -> None:
        """Wait until every worker takes tasks."""
        for worker in (*self.workers.values(), self.heartbeats):
            worker.wait_for_line(" ready.")

    def kill_worker(self, number: int) -> None:
        """`kill -9`, and another in its place."""
        self.workers[number].kill()
        self.start_worker(number)

    def start_dead_workers(self) -> None:
        """Do what `up` does about workers that ended."""
        for number, worker in self.workers.items():
            if not worker.is_running:
                self.start_worker(number)

    def board(self) -> Board:
        """A board that runs, with a risk manager signed in."""
        if self.web is None or not self.web.is_running:
            call_command("collectstatic", interactive=False, verbosity=0)
            listener = socket.create_server(("127.0.0.1", 0))
            self.web = self.product.start(processes.web(listener.fileno()))
            listener.close()  # the process has it now, and none shall wait for another
        return Board.sign_in(f"http://127.0.0.1:{_port_of(self.web)}")

    def worker_of(self, sweep: Sweep) -> int | None:
        """Which worker holds this sweep now."""
        owner = Sweep.objects.get(pk=sweep.pk).lease_owner
        return next((n for n, worker in self.workers.items() if f":{worker.pid}:" in owner), None)

    def desk(self, slug: str, each: int = 1) -> list[Account]:
        """A desk with so many accounts at each venue: all hold orders, were read, and have what is armed."""
        accounts = []
        for number in range(each):
            for adapter in CALLS:
                account = make_account(self.simulator, adapter, f"{slug}-{number}-{adapter}", desk=slug)
                seed(self.simulator, account, 2)
                if adapter in CONDITIONAL:
                    seed(self.simulator, account, book=CONDITIONAL[adapter][0])
                self.stage.minute_passes()
                self.stage.read(account)
                self.arm(account)
                accounts.append(account)
        self.stage.minute_passes()
        return accounts

    def arm(self, account: Account) -> None:
        """Arm a countdown where the venue has one: whatever happens, no heartbeat may follow the latch."""
        if VENUES[account.venue.adapter].has_countdown:
            countdowns.arm(account, ["BTCUSDT"], by="risk.desk1", countdown_ms=60_000, refresh_ms=5_000)

    def press(self, slug: str) -> Panic:
        """Press for a desk, as the web process does."""
        scope = Scope(Panic.Scope.DESK, desk=make_desk(slug))
        return panics.start(scope, pressed_by=None, pressed_by_name="risk.desk1", via=Panic.Via.BOARD).panic

    def press_from_a_shell(self, slug: str) -> Running:
        """Press for a desk from a process of its own, which stays if it has to sweep by itself."""
        return self.product.start(processes.Process("panic", [*processes.MANAGE, "panic", "--desk", slug]))

    def panic_of(self, slug: str) -> Panic:
        """The panic over this desk, whoever pressed."""
        return Panic.objects.get(desk__slug=slug)

    def until_over(self, panic: Panic) -> None:
        until(lambda: not panics.is_running(panic), f"the end of {panic}", END_TIMEOUT_S)

    def verdicts(self, *ended: Panic) -> Verdicts:
        """What is to object to the sweeps of these panics, by venue; then their accounts are let go."""
        found: Verdicts = {adapter: [] for adapter in CALLS}
        for panic in ended:
            for sweep in panic.sweeps.select_related("account__venue", "panic"):
                said = objections(record(self.simulator, sweep, self.journal))
                found[sweep.account.venue.adapter] += [f"{sweep}: {one}" for one in said]
            panics.release(panic, released_by=None, released_by_name="risk.desk1", reason="it is judged")
            Account.objects.filter(sweeps__panic=panic).update(enabled=False)
        lines = [line for running in self.product.running for line in running.lines]
        told = leaks(lines + self.shown)
        return {adapter: said + told for adapter, said in found.items()}


@pytest.fixture(scope="module")
def floor(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    simulator_server: SimulatorProcess,
    breakable: Breakable,
) -> Iterator[Floor]:
    simulator_server.reset()
    simulator_server.control("POST", "switches", {"coinswitch_cancel_delay_ms": 0})
    forget_venue(simulator_server.url)
    with django_db_blocker.unblock():
        with Product({"DATABASE_URL": database.url()}) as product, Journal().kept() as journal:
            yield Floor(simulator_server, product, journal, breakable)
        call_command("flush", interactive=False, verbosity=0)
