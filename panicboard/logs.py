"""Log lines leave on a thread of their own.

Writing a line waits for whoever reads it. With a hundred threads that each have one to write, they would
wait for each other, in the first moments of a panic of all times.
"""

import atexit
import logging
import queue
import re
from logging.handlers import QueueHandler, QueueListener

#: Addresses in which a secret stands.
_SECRET_PATH = re.compile(r"(/(?:beat|wall)/)[\w-]+")


class Line(logging.Formatter):
    """A line without the secrets that stand in addresses: whatever fails there, Django logs its path."""

    def format(self, record: logging.LogRecord) -> str:
        return _SECRET_PATH.sub(r"\1***", super().format(record))


def to_stderr() -> QueueHandler:
    """A handler whose lines are made where they are logged, and written to stderr in their order."""
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = QueueListener(lines, logging.StreamHandler())
    listener.start()
    atexit.register(listener.stop)  # writes what is left
    return QueueHandler(lines)
