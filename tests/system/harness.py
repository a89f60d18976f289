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
def airflow_on(
    kind: str,
    home: Path,
    dags: Path,
    *,
    schedulers: int = 1,
    api_workers: int = 1,
    celery_workers: int = 0,
    parallelism: int = 4,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningAirflow]:
    """
    Run Airflow with a fresh database until the block is left.

    :param kind: as in :data:`tests.databases.SERVED`; MariaDB takes one scheduler
    :param home: an existing folder of the test's own; logs are there
    :param dags: the Dags folder
    :param schedulers: how many
    :param api_workers: processes of the api-server
    :param celery_workers: how many; none with the LocalExecutor
    :param parallelism: tasks that each scheduler, or each Celery worker, runs at once
    :param environment: further variables
    """
    needed = NO_ASSET_CLEANUP if kind == "mariadb" else {}
    with (
        fresh_database(kind) as database,
        RunningAirflow(
            home=home,
            dags=dags,
            database=database,
            schedulers=schedulers,
            api_workers=api_workers,
            celery_workers=celery_workers,
            parallelism=parallelism,
            environment=needed | dict(environment or {}),
        ) as airflow,
    ):
        yield airflow
