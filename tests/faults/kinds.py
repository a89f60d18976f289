"""
What goes wrong at a statement or a commit.

On PostgreSQL and MariaDB the server itself raises each error, so that its code, the state of the transaction
and that of the connection are the real ones; SQLite knows few, and those are raised in its name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulation.stage import Died

Break = Callable[[Any], None]
"""Does to the cursor what ends in the error."""


@dataclass(frozen=True)
class Fault:
    """
    One way in which a step goes wrong.

    :param does: raises
    :param after: at a commit, whether the database carries it out first, and only its answer is lost
    :param ends_transaction: whether the transaction is gone with the step, or the connection, or the process
    """

    name: str
    does: Break
    after: bool = False
    ends_transaction: bool = False

    @property
    def kills(self) -> bool:
        return self.does is _dies


def _dies(cursor: Any) -> None:
    raise Died


def _raises(code: str) -> Break:
    """:param code: the SQLSTATE"""
    return lambda cursor: cursor.execute(
        f"DO $$ BEGIN RAISE EXCEPTION 'broken by the test' USING ERRCODE = '{code}'; END $$"
    )


def _signals(state: str, number: int, text: str, *, rolls_back: bool = False) -> Break:
    """
    Let MariaDB raise an error.

    :param rolls_back: whether the whole transaction is gone with it, as after a deadlock
    """

    def signal(cursor: Any) -> None:
        if rolls_back:
            cursor.execute("ROLLBACK")
        cursor.execute(f"SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = '{text}'")

    return signal


def _asks_for_a_missing_table(cursor: Any) -> None:
    cursor.execute("SELECT 1 FROM lean_table_of_a_later_version")


def _loses_the_connection(cursor: Any) -> None:
    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def _is_killed_by_the_server(cursor: Any) -> None:
    cursor.execute("KILL CONNECTION_ID()")


def _finds_the_file_locked(cursor: Any) -> None:
    raise sqlite3.OperationalError("database is locked")


KILLED = Fault("killed", _dies, ends_transaction=True)
KILLED_AFTER = Fault("killed after it", _dies, after=True, ends_transaction=True)
NO_TABLE = Fault("table missing", _asks_for_a_missing_table)
LOST = Fault("connection lost", _loses_the_connection, ends_transaction=True)
DISCONNECTED = Fault("connection lost", _is_killed_by_the_server, ends_transaction=True)
LOCKED = Fault("database is locked", _finds_the_file_locked)

AT_STATEMENTS = {
    "postgresql": (
        KILLED,
        Fault("deadlock", _raises("40P01")),
        Fault("serialization failure", _raises("40001")),
        Fault("time-out", _raises("57014")),
        NO_TABLE,
        LOST,
    ),
    "mysql": (
        KILLED,
        Fault("deadlock", _signals("40001", 1213, "Deadlock found", rolls_back=True), ends_transaction=True),
        Fault("time-out", _signals("HY000", 1205, "Lock wait timeout exceeded")),
        NO_TABLE,
        DISCONNECTED,
    ),
    "sqlite": (KILLED, LOCKED, NO_TABLE),
}
"""By dialect."""

AT_COMMITS = {
    "postgresql": (
        KILLED,
        KILLED_AFTER,
        LOST,
        Fault("answer lost", _loses_the_connection, after=True, ends_transaction=True),
    ),
    "mysql": (
        KILLED,
        KILLED_AFTER,
        DISCONNECTED,
        Fault("answer lost", _is_killed_by_the_server, after=True, ends_transaction=True),
    ),
    "sqlite": (KILLED, KILLED_AFTER, LOCKED),
}


def kinds(dialect: str, *, at_commit: bool) -> tuple[Fault, ...]:
    """Return what can go wrong there."""
    return (AT_COMMITS if at_commit else AT_STATEMENTS)[dialect]
