"""`make bench [ONLY=name]`: every figure as one JSON object a line, then a table.

Each figure stands beside a peer measured in the same run; the ratio is what travels between machines.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

VAR = tempfile.mkdtemp(prefix="panicboard-bench-")
for name in ("REDIS_URL", "BROKER_URL", "DATABASE_URL", "PANICBOARD_URL"):
    os.environ.pop(name, None)
os.environ |= {"PANICBOARD_VAR": VAR, "DJANGO_SETTINGS_MODULE": "panicboard.settings", "LOG_LEVEL": "ERROR"}


class Figure(NamedTuple):
    """One measured value beside a peer's; `ratio` is the peer's by ours."""

    name: str
    value: float
    unit: str
    peer: str
    peer_value: float
    ratio: float


def main() -> int:
    import django

    django.setup()

    from tests.bench import countdowns, faults, limits, press, screens

    benches: dict[str, Callable[[], Iterator[Figure]]] = {
        "press": press.run,
        "faults": faults.run,
        "limits": limits.run,
        "countdowns": countdowns.run,
        "screens": screens.run,
    }
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(benches), metavar="NAME", help=", ".join(sorted(benches)))
    only = parser.parse_args().only
    figures: list[Figure] = []
    try:
        for name, bench in benches.items():
            if only in (None, name):
                for figure in bench():
                    print(json.dumps(figure._asdict()), flush=True)
                    figures.append(figure)
    finally:
        shutil.rmtree(VAR, ignore_errors=True)
    print(f"\n{'figure':<34}{'ours':>12}  {'peer':<28}{'peer':>12}{'ratio':>9}")
    for figure in figures:
        ours, theirs = (f"{value:.0f} {figure.unit}" for value in (figure.value, figure.peer_value))
        print(f"{figure.name:<34}{ours:>12}  {figure.peer:<28}{theirs:>12}{figure.ratio:>8.2f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
