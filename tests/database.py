"""The database that the tests run on: SQLite, or the PostgreSQL that TEST_DATABASE_URL names.

    TEST_DATABASE_URL=postgres://user:password@host/name make test

There the tests make themselves a database of that name with `test_` before it, and drop it at the end.
Those of `manage.py up` and of the board in a browser stay on SQLite, as a fresh installation does.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.apps import apps
from django.db import OperationalError, connection
from psycopg.errors import DeadlockDetected

#: How often emptying the tables is tried anew.
FLUSHES = 5


def is_sqlite() -> bool:
    return connection.vendor == "sqlite"


def url() -> str:
    """The address of the tests' own database, for processes of the product."""
    name = connection.settings_dict["NAME"]
    if is_sqlite():
        return f"sqlite:///{name}"
    return urlsplit(os.environ["TEST_DATABASE_URL"])._replace(path=f"/{name}").geturl()


@contextmanager
def held() -> Iterator[None]:
    """Keep everybody else from writing, as another program's transaction would; all can still read."""
    if is_sqlite():
        name = connection.settings_dict["NAME"]
        with closing(sqlite3.connect(name, timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
    else:
        tables = ", ".join(model._meta.db_table for model in apps.get_app_config("panicboard").get_models())
        with psycopg.connect(url()) as other:
            other.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")
            yield
            other.rollback()


@contextmanager
def after_update(table: str, *, when: str, do: str) -> Iterator[None]:
    """Have the database execute `do` after each update of a row where `when` holds of OLD and NEW."""
    name = f"test_after_update_of_{table}"
    create = [f"CREATE TRIGGER {name} AFTER UPDATE ON {table} WHEN {when} BEGIN {do}; END"]
    drop = [f"DROP TRIGGER {name}"]
    if not is_sqlite():
        body = f"BEGIN {do}; RETURN NULL; END"
        how = f"FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION {name}()"
        create = [
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
            f"CREATE TRIGGER {name} AFTER UPDATE ON {table} {how}",
        ]
        drop = [f"DROP FUNCTION {name}() CASCADE"]
    _execute(*create)
    try:
        yield
    finally:
        _execute(*drop)


def refusal() -> str:
    """The kind of error with which a database that is `read_only` answers."""
    return "OperationalError" if is_sqlite() else "InternalError"


@contextmanager
def read_only() -> Iterator[None]:
    """Let the database take nothing more over this thread's connection."""
    switch = "PRAGMA query_only =" if is_sqlite() else "SET default_transaction_read_only ="
    _execute(f"{switch} on")
    yield
    _execute(f"{switch} off")


def _execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def flushed_in_spite_of_readers() -> Iterator[None]:
    """Have the tables emptied between tests although processes that stay read them all the time.

    A server empties them one after another, and ends it when it and a reader wait for each other.
    """
    operations = type(connection.ops)
    once = operations.execute_sql_flush

    def execute_sql_flush(self: Any, statements: Any) -> None:
        for _ in range(FLUSHES - 1):
            try:
                return once(self, statements)
            except OperationalError as exc:
                if not isinstance(exc.__cause__, DeadlockDetected):
                    raise
        return once(self, statements)

    operations.execute_sql_flush = execute_sql_flush  # type: ignore[method-assign]
    try:
        yield
    finally:
        operations.execute_sql_flush = once  # type: ignore[method-assign]
