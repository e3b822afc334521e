"""Connections to a database server: few, shared by a process's threads, not held while a venue is awaited.

A panic of two hundred accounts has more threads than a PostgreSQL grants connections (a hundred by default),
and one that has none left refuses the next press. SQLite's connections are files: as many as threads.
"""

import threading
from typing import Final, TypeVar

from django.db import InterfaceError, InternalError, OperationalError, connection
from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)

#: What is raised while the database is away, or is a stand-by that takes nothing.
AWAY: Final = (OperationalError, InterfaceError, InternalError)
#: Connections of one process at most: those of `manage.py up` together stay below a hundred.
MOST = 12
#: How long a thread waits for one: when all are so long in use, the database is as good as away.
WAIT_S = 5.0
#: So many sweeps of a process write at once; the others wait here. SQLite takes one writer at a time and is
#: unfair: of the hundreds of a large panic some, the renewal of leases among them, waited for seconds.
WRITERS: Final = threading.BoundedSemaphore(4)


def share_connections() -> None:
    """Have the threads of this process share a few connections to a server, and keep these between uses.

    For processes that stay; a command that ends soon connects when it needs to. Nothing for SQLite.
    """
    if connection.vendor != "sqlite":
        # The pool by itself would try a server that is away ever less often: who is refused asks again.
        pool = {"min_size": 1, "max_size": MOST, "timeout": WAIT_S, "reconnect_timeout": WAIT_S / 2}
        connection.settings_dict["OPTIONS"]["pool"] = pool
        connection.settings_dict["CONN_HEALTH_CHECKS"] = True


def keep_connections() -> None:
    """The same for a process whose threads stay, too: those of SQLite keep their own connections."""
    share_connections()
    if connection.vendor == "sqlite":
        connection.settings_dict["CONN_MAX_AGE"] = 600
        connection.settings_dict["CONN_HEALTH_CHECKS"] = True


def locked(rows: QuerySet[Row]) -> QuerySet[Row]:
    """These rows, locked one after the other by their keys until the transaction ends. Nothing for SQLite.

    Whoever changes several rows locks them so before: two that took them in different orders would wait for
    each other, and a server ends that by refusing one of them, which could be a press.
    """
    if not connection.features.has_select_for_update:
        return rows
    mine = rows.order_by("pk").select_for_update(of=("self",), no_key=True)
    return rows.model._default_manager.filter(pk__in=list(mine.values_list("pk", flat=True)))


def version() -> object:
    """What is another value whenever anything was committed since: asking costs next to nothing.

    By the connection of this thread alone. A server's is its list of transactions under way, which those of
    other databases change as well; SQLite's counts what others committed, and what this connection changed.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA data_version")
            return cursor.fetchone(), connection.connection.total_changes
        cursor.execute("SELECT pg_current_snapshot()::text")
        return cursor.fetchone()


def is_deadlock(exc: OperationalError) -> bool:
    """Whether a server refused a transaction because another one and it waited for each other."""
    return getattr(exc.__cause__, "sqlstate", "") == "40P01"


def let_go() -> None:
    """Give up this thread's connection to a server while it waits; its next query takes one again."""
    if connection.vendor != "sqlite" and not connection.in_atomic_block:
        connection.close()
