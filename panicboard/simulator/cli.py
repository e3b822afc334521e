"""The command line of the simulator, shared by `manage.py simulator` and `python -m panicboard.simulator`."""

import argparse
import asyncio
import errno
import json
import signal
import sys
from collections.abc import Mapping
from typing import Any

from panicboard.simulator.server import Simulator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--port", type=int, default=8900, help="port to listen on; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1")


def run(options: Mapping[str, Any]) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status: 2 when the port is taken."""
    return asyncio.run(_serve(options))


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="panicboard.simulator", description=__doc__)
    add_arguments(parser)
    return run(vars(parser.parse_args(argv)))


async def _serve(options: Mapping[str, Any]) -> int:
    simulator = Simulator()
    host, port = options["host"], options["port"]
    try:
        port = await simulator.start(host, port)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise
        print(f"simulator: port {port} of {host} is taken; choose another with --port", file=sys.stderr)
        return 2
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    first_line = {
        "url": f"http://{host}:{port}",
        "accounts": [account.as_json() for account in simulator.world.accounts],
    }
    print(json.dumps(first_line, ensure_ascii=False), flush=True)
    await stop.wait()
    await simulator.stop()
    return 0
