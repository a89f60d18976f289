"""The stage: an Airflow with the Dags of a graph, and a database, always PostgreSQL, for what they write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import make_url

from tests.system.harness import airflow_on, fresh_database
from tests.system.warehouse.dags.warehouse_store import SCHEMA, Store
from tests.system.warehouse.play import Play

if TYPE_CHECKING:
    from tests.system.warehouse.graph import Graph

DAGS = Path(__file__).parent / "dags"


@contextmanager
def staged(
    graph: Graph,
    home: Path,
    *,
    database: str = "postgres",
    environment: Mapping[str, str] | None = None,
    seed: int = 0,
    pace: float = 0.5,
    say: Callable[[str], None] = print,
    **options: Any,
) -> Iterator[Play]:
    """
    Set the stage; everything is gone when the block is left, but the logs.

    :param graph: the warehouse
    :param home: an existing folder
    :param database: Airflow's own, as in :data:`tests.databases.SERVED`
    :param environment: further variables for every process of Airflow
    :param pace: how long tasks take, about
    :param options: what else :class:`~demo.airflow_process.RunningAirflow` takes
    """
    with fresh_database() as warehouse:
        url = make_url(warehouse).set(drivername="postgresql").render_as_string(hide_password=False)
        store = Store(url)
        store.tell(SCHEMA)
        store.set_pace(pace)
        plan = home / "warehouse.json"
        plan.write_text(json.dumps(graph.as_json()))
        variables = {
            "WAREHOUSE_PLAN": str(plan),
            "WAREHOUSE_STORE": url,
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",  # else a supervisor may sit on its slot for 5 s
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",  # its first call builds it, in each process
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            **(environment or {}),
        }
        try:
            with airflow_on(database, home, DAGS, environment=variables, **options) as airflow:
                play = Play(airflow, graph, store, seed, say)
                play.tell(f"Airflow is up with {airflow.schedulers} scheduler(s)")
                dags = {t.name for t in graph.tables.values() if not t.outside}
                airflow.wait_parsed(dags, timeout=180)
                play.tell(f"{len(dags)} Dags are parsed")
                yield play
        finally:
            store.close()
