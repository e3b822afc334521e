"""`make chaos [SECONDS=60] [SEED=1]`: random faults over fifty accounts, and what they came to.

The seed makes the schedule: `--plan` prints it, and its SHA-256 stands at the beginning of every run. What is
said on the way goes to stderr; the last line of stdout is the verdict, as one JSON object. The exit status is
0 only when there was no false clear, no lost press, no order left and no heartbeat after a latch.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos import plan as plans
from tests.chaos.plan import Plan

NOT_OURS = ("REDIS_URL", "BROKER_URL", "DATABASE_URL", "PANICBOARD_URL", "SECRET_KEY", "CREDENTIALS_KEYS")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=_seconds, default=60, help="how long (default 60, at least 10)")
    parser.add_argument("--seed", type=int, default=1, help="what the schedule is made from (default 1)")
    parser.add_argument("--plan", action="store_true", help="print the schedule and do nothing")
    parser.add_argument("--keep", action="store_true", help="keep logs and database after a good run, too")
    options = parser.parse_args()
    plan = plans.make(options.seed, options.seconds)
    if options.plan:
        print(plan.text(), end="")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    var = Path(tempfile.mkdtemp(prefix="panicboard-chaos-"))
    kept = True
    try:
        passed = _run(plan, var)
        kept = options.keep or not passed
        return 0 if passed else 1
    except KeyboardInterrupt:
        kept = False
        return 128 + signal.SIGINT
    except SystemExit:
        kept = False
        raise
    finally:
        if kept:
            print(f"what was said and seen is kept in {var}", file=sys.stderr)
        else:
            shutil.rmtree(var, ignore_errors=True)


def _run(plan: Plan, var: Path) -> bool:
    for name in NOT_OURS:
        os.environ.pop(name, None)
    os.environ |= {"PANICBOARD_VAR": str(var), "DJANGO_SETTINGS_MODULE": "panicboard.settings"}
    import django

    django.setup()
    from tests.chaos.report import run  # needs the app registry

    return run(plan, var)


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) < 10:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds from 10 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
