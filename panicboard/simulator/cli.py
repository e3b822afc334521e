"""The command line of the simulator, shared by `manage.py simulator` and `python -m panicboard.simulator`."""

import argparse
import asyncio
import errno
import json
import signal
import sys
from collections.abc import Mapping
from typing import Any

from panicboard.simulator.accounts import VENUES
from panicboard.simulator.demo import Demo
from panicboard.simulator.limits import REAL_LIMITS
from panicboard.simulator.server import Simulator
from panicboard.simulator.world import Latency

DEFAULT_PORT = 8900


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help=f"port to listen on (default {DEFAULT_PORT}); 0: a free one",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--demo", action="store_true", help="begin with a dozen accounts and their orders")
    parser.add_argument("--alive", action="store_true", help="with --demo: small bots trade now and then")
    parser.add_argument(
        "--limits", choices=("real", "off"), default="real", help="the venues' request limits"
    )
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        type=pool_limit,
        metavar="POOL=WEIGHT",
        help=f"another limit a minute for one pool ({', '.join(REAL_LIMITS)}); may be repeated",
    )
    parser.add_argument("--latency-ms", type=float, default=0, help="how long every venue takes to answer")


def pool_limit(text: str) -> tuple[str, int]:
    """Read `POOL=WEIGHT`. Raises ArgumentTypeError saying what is wrong."""
    pool, _, weight = text.partition("=")
    if pool not in REAL_LIMITS or not weight.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not POOL=WEIGHT, POOL one of {', '.join(REAL_LIMITS)}")
    return pool, int(weight)


def run(options: Mapping[str, Any]) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status: 2 when the port cannot be had."""
    return asyncio.run(_serve(options))


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="panicboard.simulator", description=__doc__)
    add_arguments(parser)
    return run(vars(parser.parse_args(argv)))


async def _serve(options: Mapping[str, Any]) -> int:
    simulator = Simulator()
    world = simulator.world
    world.limits.switch(on=options["limits"] == "real")
    for pool, weight in options["limit"]:
        world.limits.override(pool, weight)
    world.limits.keep_as_default()
    if options["latency_ms"]:
        world.latency.update({venue: Latency(options["latency_ms"]) for venue in VENUES})
    host, port = options["host"], options["port"]
    try:
        port = await simulator.start(host, port)
    except OSError as exc:
        if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "is taken" if exc.errno == errno.EADDRINUSE else "may not be used"
        print(f"simulator: port {port} on {host} {why}; choose another with --port", file=sys.stderr)
        return 2
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options["demo"]:
        Demo(world, simulator.control.apis).begin(alive=options["alive"])
    first_line = {
        "url": f"http://{host}:{port}",
        "accounts": [account.as_json() for account in world.accounts],
    }
    print(json.dumps(first_line, ensure_ascii=False), flush=True)
    await stop.wait()
    await simulator.stop()
    return 0
