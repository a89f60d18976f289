"""
A real Airflow on PostgreSQL for one test: ``demo.airflow_process`` on a database that ends with the test.

Whoever needs only processes, or SQLite, takes :class:`demo.airflow_process.RunningAirflow` itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from demo.airflow_process import RunningAirflow
from tests.databases import new_postgres_database, postgres_server, text_of


@contextmanager
def fresh_database() -> Iterator[str]:
    """Yield the URL of an empty PostgreSQL database; it is dropped whoever is still connected."""
    with postgres_server() as server, new_postgres_database(server) as url:
        yield text_of(url)


@contextmanager
def airflow_on_postgres(
    home: Path,
    dags: Path,
    *,
    schedulers: int = 2,
    parallelism: int = 4,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningAirflow]:
    """
    Run Airflow with a fresh PostgreSQL database until the block is left.

    :param home: an existing folder of the test's own; logs are there
    :param dags: the Dags folder
    :param schedulers: how many
    :param parallelism: tasks that each scheduler runs at once
    :param environment: further variables
    """
    with fresh_database() as database:
        airflow = RunningAirflow(
            home=home,
            dags=dags,
            database=database,
            schedulers=schedulers,
            parallelism=parallelism,
            environment=environment or {},
        )
        with airflow:
            yield airflow
