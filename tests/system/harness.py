"""
A real Airflow on a database server for one test: ``demo.airflow_process`` on a database that ends with it.

Whoever needs only processes, or SQLite, takes :class:`demo.airflow_process.RunningAirflow` itself.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.airflow_process import RunningAirflow, free_port
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
    kind: str, home: Path, dags: Path, *, environment: Mapping[str, str] | None = None, **options: Any
) -> Iterator[RunningAirflow]:
    """
    Run Airflow with a fresh database until the block is left.

    :param kind: as in :data:`tests.databases.SERVED`; MariaDB takes one scheduler
    :param home: an existing folder of the test's own; logs are there
    :param dags: the Dags folder
    :param environment: further variables
    :param options: what else :class:`RunningAirflow` takes
    """
    needed = NO_ASSET_CLEANUP if kind == "mariadb" else {}
    variables = needed | dict(environment or {})
    with (
        fresh_database(kind) as database,
        RunningAirflow(home=home, dags=dags, database=database, environment=variables, **options) as airflow,
    ):
        yield airflow


@contextmanager
def celery_on_redis() -> Iterator[dict[str, str]]:
    """Start a Redis of the test's own; yield the variables that let Airflow's Celery use it."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("redis-server: Debian's package redis-server has it")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as server:
        try:
            yield {
                "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{port}/0",
                "AIRFLOW__CELERY__RESULT_BACKEND": f"redis://127.0.0.1:{port}/1",
            }
        finally:
            server.kill()
