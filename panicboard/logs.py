"""Log lines leave on a thread of their own.

Writing a line waits for whoever reads it. With a hundred threads that each have one to write, they would
wait for each other, in the first moments of a panic of all times.
"""

import atexit
import logging
import queue
from logging.handlers import QueueHandler, QueueListener


def to_stderr() -> QueueHandler:
    """A handler whose lines are made where they are logged, and written to stderr in their order."""
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = QueueListener(lines, logging.StreamHandler())
    listener.start()
    atexit.register(listener.stop)  # writes what is left
    return QueueHandler(lines)
