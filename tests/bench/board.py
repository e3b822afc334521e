"""The product and the simulator as processes, and a risk manager who is signed in."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator

import requests
from django.contrib.auth.models import Group, User
from django.core.management import call_command

from panicboard import embedded_redis, people, processes
from tests.product import Product
from tests.simulator_process import SimulatorProcess, start_simulator, stop_simulator

PASSWORD = "bench-bench-bench"


class Board:
    """The web process, and a risk manager who is signed in to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.get(f"{url}/login/", timeout=30)
        self._post("/login/", username="risk.desk1", password=PASSWORD)

    def press(self) -> float:
        """Press for everything. Returns the time of the press, as this process's clock has it."""
        pressed_at = time.time()
        self._post("/panics/", scope="all", held_ms="1000")
        return pressed_at

    def _post(self, path: str, **fields: str) -> None:
        fields["csrfmiddlewaretoken"] = self.session.cookies["csrftoken"]
        reply = self.session.post(f"{self.url}{path}", data=fields, timeout=30, allow_redirects=False)
        assert reply.status_code in (302, 303), f"{path}: {reply.status_code} {reply.text[:300]}"


@contextlib.contextmanager
def running(*simulator_options: str) -> Iterator[tuple[SimulatorProcess, Board]]:
    """A simulator, and all processes of the product on a fresh database, until this ends."""
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    valkey = subprocess.Popen(processes.valkey().argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    simulator, announced = start_simulator(*simulator_options)
    try:
        from django.conf import settings

        while not embedded_redis.answers(settings.EMBEDDED_SOCKET):
            time.sleep(0.01)
        with Product({"LOG_LEVEL": "INFO"}) as product:
            yield SimulatorProcess.at(announced["url"]), _start(product)
    finally:
        stop_simulator(simulator)
        valkey.terminate()
        valkey.wait()


def _start(product: Product) -> Board:
    """Start the product's processes, and sign in."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    web = product.start(processes.web(listener.fileno()))
    workers = [processes.worker("panic", number, 100) for number in (1, 2)]
    for worker in [product.start(worker) for worker in [*workers, processes.worker("background", 1, 8)]]:
        worker.wait_for_line(" ready.")
    product.start(processes.keeper())
    web.wait_for_line("Application startup complete")
    user, _ = User.objects.get_or_create(username="risk.desk1")
    user.set_password(PASSWORD)
    user.save()
    user.groups.add(Group.objects.get(name=people.RISK_MANAGERS))
    return Board(f"http://127.0.0.1:{port}")
