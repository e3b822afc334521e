"""Log lines: whole, in their order, and written out before the process ends."""

import subprocess
import sys

PROGRAM = """
import logging
from panicboard import logs

handler = logs.to_stderr()
handler.setFormatter(logs.Line("%(levelname)s %(message)s"))
logging.getLogger().addHandler(handler)
for number in range(1000):
    logging.warning("line %s", number)
logging.error("Internal Server Error: %s", "/wall/a-secret_of-ours/events/")
try:
    1 / 0  # /beat/a-secret_of-ours/
except ZeroDivisionError:
    logging.exception("failed")
"""


def test_every_line_is_written_in_order_before_the_process_ends() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )

    lines = ended.stderr.splitlines()
    assert lines[:1000] == [f"WARNING line {number}" for number in range(1000)]
    assert lines[1000:1003] == [
        "ERROR Internal Server Error: /wall/***/events/",
        "ERROR failed",
        "Traceback (most recent call last):",
    ]
    assert "a-secret_of-ours" not in ended.stderr
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert ended.stderr.count("Traceback") == 1
