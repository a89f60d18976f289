"""The shop's database as the story's narrator sees it: breaks and heals the till, reads tables and audit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shop import tables
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Execution:
    """What one try of one task wrote about itself; without an end it was killed."""

    dag_id: str
    run_id: str
    partition_key: str | None
    try_number: int
    pid: int
    started_at: float
    ended_at: float | None
    inputs: dict[str, str]
    outputs: dict[str, str]


class ShopDatabase:
    """
    The shop's database.

    :param url: SQLAlchemy URL of a SQLite file or a PostgreSQL database
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._engine = create_engine(self._url, poolclass=NullPool)
        with self._engine.begin() as connection:
            if self._url.get_backend_name() == "sqlite":
                connection.execute(text("PRAGMA journal_mode=WAL"))
            for statement in tables.create_statements():
                connection.execute(text(statement))

    @property
    def airflow_connection(self) -> dict[str, str]:
        """The variable that tells Airflow where the shop's database is."""
        if self._url.get_backend_name() == "sqlite":
            where: dict[str, Any] = {"conn_type": "sqlite", "host": self._url.database}
        else:
            where = {
                "conn_type": "postgres",
                "host": self._url.host,
                "port": self._url.port,
                "login": self._url.username,
                "password": self._url.password,
                "schema": self._url.database,
            }
        return {"AIRFLOW_CONN_SHOP": json.dumps(where)}

    def ask(self, sql: str, **parameters: Any) -> Rows:
        """
        Return the rows of a SELECT.

        :param sql: with ``:name`` parameters
        """
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), parameters)]

    def _tell(self, *statements: str, **parameters: Any) -> None:
        with self._engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement), parameters)

    def break_hour(self, hour: str, factor: int) -> None:
        """
        Make the till deliver an hour wrongly from now on.

        :param hour: the partition
        :param factor: what it multiplies amounts by
        """
        self._tell("INSERT INTO till_faults VALUES (:hour, :factor)", hour=hour, factor=factor)

    def heal_hour(self, hour: str) -> None:
        """
        Make the till deliver an hour rightly again.

        :param hour: the partition
        """
        self._tell("DELETE FROM till_faults WHERE partition_key = :hour", hour=hour)

    def set_pace(self, seconds: Mapping[str, float]) -> None:
        """
        Say how long tasks take, also those that are running already.

        :param seconds: by Dag, or by ``Dag/partition``; every other task takes as long as it needs
        """
        self._tell("DELETE FROM pace")
        for task, duration in seconds.items():
            self._tell("INSERT INTO pace VALUES (:task, :seconds)", task=task, seconds=duration)

    def insert(self, table: str, row: tuple[Any, ...]) -> None:
        """
        Write a row as another system would.

        :param table: the table
        :param row: the row, its partition first
        """
        names = ", ".join(f":v{number}" for number in range(len(row)))
        self._tell(
            f"INSERT INTO {table} VALUES ({names})",
            **{f"v{number}": value for number, value in enumerate(row)},
        )

    def content(self, table: str) -> Rows:
        """
        Return all rows of a table, sorted.

        :param table: the table
        """
        return sorted(self.ask(f"SELECT * FROM {table}"))

    def executions(self) -> list[Execution]:
        """Return what the tasks wrote about themselves, in the order in which they began."""
        found = self.ask(
            "SELECT dag_id, run_id, partition_key, try_number, pid, started_at, ended_at, inputs, outputs "
            "FROM audit ORDER BY started_at"
        )
        return [
            Execution(*facts, inputs=json.loads(inputs or "{}"), outputs=json.loads(outputs or "{}"))  # type: ignore[misc]
            for *facts, inputs, outputs in found
        ]
