"""The product and the simulator as processes, and a risk manager who is signed in."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence

import requests
from django.core.management import call_command

from panicboard import embedded_redis, processes
from tests.product import Product
from tests.signed_in import Board
from tests.simulator_process import SimulatorProcess, start_simulator, stop_simulator
from tests.waiting import until


@contextlib.contextmanager
def running(*simulator_options: str) -> Iterator[tuple[SimulatorProcess, Board]]:
    """A simulator, and all processes of the product on a fresh database, until this ends."""
    with _running(simulator_options) as (venue, board, _):
        yield venue, board


@contextlib.contextmanager
def running_with_heartbeats(
    *simulator_options: str,
) -> Iterator[tuple[SimulatorProcess, Board, dict[str, int]]]:
    """The same with a heartbeat worker, and the id of each process by its name."""
    with _running(simulator_options, processes.worker("heartbeat", 1, 32)) as started:
        yield started


@contextlib.contextmanager
def web_alone() -> Iterator[tuple[Board, int]]:
    """A web process on a fresh database, and its id: nobody reads or sweeps."""
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    listener = socket.create_server(("127.0.0.1", 0))
    with Product({"LOG_LEVEL": "ERROR"}) as product:
        web = product.start(processes.web(listener.fileno()))
        until(lambda: _answers(listener), "the web process", 60)
        yield Board.sign_in(f"http://127.0.0.1:{listener.getsockname()[1]}"), web.pid


def _answers(listener: socket.socket) -> bool:
    with contextlib.suppress(requests.RequestException):
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/login/"
        return requests.get(address, timeout=2).status_code == 200
    return False


@contextlib.contextmanager
def _running(
    simulator_options: Sequence[str], *more: processes.Process
) -> Iterator[tuple[SimulatorProcess, Board, dict[str, int]]]:
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    valkey = subprocess.Popen(processes.valkey().argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    simulator, announced = start_simulator(*simulator_options)
    try:
        from django.conf import settings

        while not embedded_redis.answers(settings.EMBEDDED_SOCKET):
            time.sleep(0.01)
        with Product({"LOG_LEVEL": "INFO"}) as product:
            board = _start(product, *more)
            pids = {one.name: one.pid for one in product.running}
            pids |= {"valkey": valkey.pid, "simulator": simulator.pid}
            yield SimulatorProcess.at(announced["url"]), board, pids
    finally:
        stop_simulator(simulator)
        valkey.terminate()
        valkey.wait()


def _start(product: Product, *more: processes.Process) -> Board:
    """Start the product's processes, and sign in."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    web = product.start(processes.web(listener.fileno()))
    workers = [processes.worker("panic", number, 100) for number in (1, 2)]
    workers += [processes.worker("background", 1, 8), *more]
    for worker in [product.start(worker) for worker in workers]:
        worker.wait_for_line(" ready.")
    product.start(processes.keeper())
    web.wait_for_line("Application startup complete")
    return Board.sign_in(f"http://127.0.0.1:{port}")
