"""
The shop's tables, through the common-sql provider's hook: a SQLite file or PostgreSQL (connection ``shop``).

Every table has its partition in the column ``partition_key`` and is written a partition at a time, in one
transaction that also takes the checksums of what it read and wrote.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow.providers.common.sql.hooks.sql import DbApiHook

from shop.tables import checksum


@dataclass(frozen=True)
class Computed:
    """Checksums of the partitions that a computation read and wrote, by ``table/partition``."""

    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


class Warehouse(DbApiHook):
    """The shop's database."""

    conn_name_attr = "shop_conn_id"
    default_conn_name = "shop"
    conn_type = "shop"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, log_sql=False, **kwargs)

    @property
    def is_sqlite(self) -> bool:
        """Whether the tables are in a file."""
        return self.connection.conn_type == "sqlite"

    def get_conn(self) -> Any:
        """Open a connection; on SQLite the caller says when a transaction begins."""
        where = self.connection
        if self.is_sqlite:
            return sqlite3.connect(where.host or "", timeout=60, isolation_level=None)
        import psycopg2

        return psycopg2.connect(
            host=where.host,
            port=where.port,
            user=where.login,
            password=where.password,
            dbname=where.schema,
        )

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Give a cursor that sees one state of the tables, and commit at the end."""
        with closing(self.get_conn()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(
                "BEGIN IMMEDIATE" if self.is_sqlite else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
            )
            yield cursor
            connection.commit()

    def execute(self, cursor: Any, sql: str, **parameters: Any) -> Any:
        """
        Run one statement.

        :param cursor: of :meth:`transaction`
        :param sql: with ``:name`` parameters
        """
        cursor.execute(self._dialect(sql), parameters)
        return cursor

    def _dialect(self, sql: str) -> str:
        return sql if self.is_sqlite else re.sub(r":(\w+)", r"%(\1)s", sql)

    def ask(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """
        Return the rows of a SELECT.

        :param sql: with ``:name`` parameters
        """
        return [tuple(row) for row in self.get_records(self._dialect(sql), parameters)]

    def tell(self, sql: str, **parameters: Any) -> None:
        """
        Run one statement that changes something.

        :param sql: with ``:name`` parameters
        """
        self.run(self._dialect(sql), parameters=parameters)

    def load(self, table: str, key: str, rows: Sequence[tuple[Any, ...]]) -> Computed:
        """
        Replace a partition by rows that come from outside.

        :param table: the table
        :param key: the partition
        :param rows: what it shall contain
        """
        with self.transaction() as cursor:
            self.execute(cursor, f"DELETE FROM {table} WHERE partition_key = :key", key=key)
            for row in rows:
                values = {f"v{number}": value for number, value in enumerate(row)}
                names = "".join(f", :{name}" for name in values)
                self.execute(cursor, f"INSERT INTO {table} VALUES (:key{names})", key=key, **values)
            return Computed(outputs=self._checksums(cursor, {table: [key]}))

    def compute(
        self, table: str, key: str, select: str, reads: Mapping[str, Sequence[str]], **parameters: Any
    ) -> Computed:
        """
        Replace a partition by what a SELECT yields.

        :param table: the table
        :param key: the partition, ``:key`` in the statement
        :param select: the statement; its first column is the partition
        :param reads: the partitions it reads, by table
        """
        with self.transaction() as cursor:
            inputs = self._checksums(cursor, reads)
            self.execute(cursor, f"DELETE FROM {table} WHERE partition_key = :key", key=key)
            self.execute(cursor, f"INSERT INTO {table} {select}", key=key, **parameters)
            return Computed(inputs=inputs, outputs=self._checksums(cursor, {table: [key]}))

    def _checksums(self, cursor: Any, partitions: Mapping[str, Sequence[str]]) -> dict[str, str]:
        found = {}
        for table, keys in partitions.items():
            for key in keys:
                rows = self.execute(cursor, f"SELECT * FROM {table} WHERE partition_key = :key", key=key)
                found[f"{table}/{key}"] = checksum([tuple(row) for row in rows.fetchall()])
        return found

    def fault_of(self, hour: str) -> int:
        """
        Return what the till multiplies an hour's amounts by.

        :param hour: the partition
        """
        found = self.ask("SELECT factor FROM till_faults WHERE partition_key = :hour", hour=hour)
        return found[0][0] if found else 1
