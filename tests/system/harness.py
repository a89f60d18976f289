"""
A real Airflow on a database server for one test: ``demo.airflow_process`` on a database that ends with it.

Whoever needs only processes, or SQLite, takes :class:`demo.airflow_process.RunningAirflow` itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from demo.airflow_process import RunningAirflow
from tests.databases import SERVED, text_of

NO_ASSET_CLEANUP = {"AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": str(10**9)}
"""On MariaDB the scheduler dies of its clean-up of assets; see ``docs/mariadb.md``."""


@contextmanager
def fresh_database(kind: str = "postgres") -> Iterator[str]:
    """
    Yield the URL of an empty database; it is dropped whoever is still connected.

    :param kind: as in :data:`tests.databases.SERVED`
    """
    with SERVED[kind].server() as server, SERVED[kind].new_database(server) as url:
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


@contextmanager
def airflow_on_mariadb(
    home: Path, dags: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[RunningAirflow]:
    """
    Run Airflow with a fresh MariaDB database until the block is left.

    One scheduler, since Airflow takes no row locks there; two processes of the api-server.

    :param home: an existing folder of the test's own; logs are there
    :param dags: the Dags folder
    :param environment: further variables
    """
    with fresh_database("mariadb") as database:
        airflow = RunningAirflow(
            home=home,
            dags=dags,
            database=database,
            api_workers=2,
            environment=NO_ASSET_CLEANUP | dict(environment or {}),
        )
        with airflow:
            yield airflow
