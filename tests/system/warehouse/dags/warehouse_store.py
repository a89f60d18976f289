"""
The warehouse's own database, as tasks and the judge use it, and how a source's key becomes a table's key.

Every statement commits by itself: what a killed task had written stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import psycopg2

HALF_WRITTEN = "HALF"

SCHEMA = """
CREATE TABLE event (
    id bigserial PRIMARY KEY, ti_id text NOT NULL, dag text NOT NULL, task text NOT NULL,
    map_index int NOT NULL, run_id text NOT NULL, key text, try_number int NOT NULL, pid int NOT NULL,
    kind text NOT NULL, wall double precision NOT NULL, monotonic double precision NOT NULL, detail text);
CREATE TABLE data (
    tbl text NOT NULL, key text NOT NULL, part int NOT NULL, token text NOT NULL,
    PRIMARY KEY (tbl, key, part));
CREATE TABLE version (tbl text NOT NULL, key text NOT NULL, version text NOT NULL, PRIMARY KEY (tbl, key));
CREATE TABLE setting (name text PRIMARY KEY, value double precision NOT NULL);
CREATE TABLE stumbled (tbl text NOT NULL, key text NOT NULL, PRIMARY KEY (tbl, key));
"""
FIRST_VERSION = "1"

Input = tuple[str, str, int, str]
"""Table, key, part and token of what a task has read."""


def key_below(rule: str, key: str) -> str | None:
    """
    Say which key of a table is made of this key of its source; None if none is.

    :param rule: ``same``, ``day``, ``month``, ``one of:<key>,...``, ``all:<key>``
    :param key: the source's key
    """
    kind, _, detail = rule.partition(":")
    if kind == "day":
        return key[:10]
    if kind == "month":
        return key[:7]
    if kind == "all":
        return detail
    if kind == "one of":
        return key if key in detail.split(",") else None
    return key


def token_of(table: str, key: str, part: int, version: str, inputs: Iterable[Input]) -> str:
    """
    Compute what stands for the data of a partition: nothing but a function of what it is made of.

    :param table: the table
    :param key: its key
    :param part: which of the instances that write the partition
    :param version: of the table's own program and source
    :param inputs: what was read
    """
    text = json.dumps([table, key, part, version, sorted(map(list, inputs))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Store:
    """
    One connection.

    :param url: as libpq takes it
    """

    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def tell(self, sql: str, *values: Any) -> None:
        """
        Execute one statement.

        :param sql: with ``%s`` for values
        """
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values or None)

    def ask(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """
        Return the rows of a SELECT.

        :param sql: with ``%s`` for values
        """
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall()

    def version(self, table: str, key: str) -> str:
        """Return the version of the table's own program and source for this key."""
        found = self.ask("SELECT version FROM version WHERE tbl = %s AND key = %s", table, key)
        return found[0][0] if found else FIRST_VERSION

    def set_version(self, table: str, key: str, version: str) -> None:
        """Change what the table's tasks compute for this key from now on."""
        self.tell(
            "INSERT INTO version VALUES (%s, %s, %s) "
            "ON CONFLICT (tbl, key) DO UPDATE SET version = excluded.version",
            *(table, key, version),
        )

    def write(self, table: str, key: str, part: int, token: str) -> None:
        """Write one part of a partition."""
        self.tell(
            "INSERT INTO data VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (tbl, key, part) DO UPDATE SET token = excluded.token",
            *(table, key, part, token),
        )

    def pace(self, table: str) -> float:
        """Return how many seconds a task of a table takes, about."""
        found = self.ask(
            "SELECT value FROM setting WHERE name IN (%s, 'pace') ORDER BY name = 'pace' LIMIT 1",
            f"of {table}",
        )
        return found[0][0] if found else 0.0

    def set_pace(self, seconds: float, table: str | None = None) -> None:
        """Say how long tasks take, about; those of all tables that nothing else was said of, or of one."""
        self.tell(
            "INSERT INTO setting VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            *(f"of {table}" if table else "pace", seconds),
        )


class Diary:
    """
    What one execution writes about itself, append-only.

    :param store: where
    :param context: Airflow's context of the task
    :param began: wall clock and monotonic time of the first statement
    """

    def __init__(self, store: Store, context: Any, began: tuple[float, float]) -> None:
        ti = context["ti"]
        self.store = store
        self.key: str = context["partition_key"] or ""
        self._who = (
            str(ti.id),
            ti.dag_id,
            ti.task_id,
            ti.map_index if ti.map_index is not None else -1,
            ti.run_id,
            self.key,
            ti.try_number,
            os.getpid(),
        )
        self._write("first", began, None)

    def note(self, kind: str, detail: Any = None) -> None:
        """
        Append one line.

        :param kind: ``read``, ``wrote``, ``last``, ...
        :param detail: anything that JSON knows
        """
        self._write(kind, (time.time(), time.monotonic()), detail)

    def _write(self, kind: str, when: tuple[float, float], detail: Any) -> None:
        self.store.tell(
            "INSERT INTO event (ti_id, dag, task, map_index, run_id, key, try_number, pid, kind, wall, "
            "monotonic, detail) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            *(*self._who, kind, *when, json.dumps(detail)),
        )

    def read(self, sources: Iterable[tuple[str, str]]) -> list[Input]:
        """
        Read what the run's partition is made of.

        :param sources: source tables, each with the rule that maps its keys
        """
        inputs: list[Input] = []
        for source, rule in sources:
            if rule == "same":
                rows = self.store.ask(
                    "SELECT tbl, key, part, token FROM data WHERE tbl = %s AND key = %s", source, self.key
                )
            else:
                rows = self.store.ask("SELECT tbl, key, part, token FROM data WHERE tbl = %s", source)
            inputs += [row for row in rows if key_below(rule, row[1]) == self.key]  # type: ignore[misc]
        inputs.sort()
        self.note("read", inputs)
        return inputs

    def write(self, table: str, part: int, inputs: Iterable[Input], wait: Callable[[], None]) -> None:
        """
        Overwrite one part of the run's partition; whoever is killed meanwhile leaves it half-written.

        :param table: the table
        :param part: which part
        :param inputs: what was read
        :param wait: the time that it takes
        """
        version = self.store.version(table, self.key)
        token = token_of(table, self.key, part, version, inputs)
        self.note("writes", [table, self.key, part, token, version])
        self.store.write(table, self.key, part, HALF_WRITTEN)
        wait()
        self.store.write(table, self.key, part, token)
        self.note("wrote", [table, self.key, part, token, version])
