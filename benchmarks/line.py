"""
A real Airflow on PostgreSQL with a long history: one partition that was really played, and
copies of its rows.

The api-server alone is left running.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, text

from demo.airflow_process import RunningAirflow
from tests.databases import postgres, text_of

DAGS = Path(__file__).parent / "dags"
FIRST_KEY = "2025-01-01T00"
PLAYED = ("ingest", "cleaning", "reporting")

_KEY = "to_char(timestamp '2025-01-01' + n * interval '1 hour', 'YYYY-MM-DD\"T\"HH24')"
_RUN = "run_id || '_' || n"
_NEW_ID = "(substr(id::text, 1, 15) || substr(gen_random_uuid()::text, 16))::uuid"
"""A copy keeps the moment in its id, as UUID 7 has it."""

_COPIES: Mapping[str, Mapping[str, str]] = {
    "dag_run": {"run_id": _RUN, "partition_key": _KEY},
    "task_instance": {"id": _NEW_ID, "run_id": _RUN},
    "log": {"run_id": _RUN},
    "asset_event": {"source_run_id": "source_run_id || '_' || n", "partition_key": _KEY},
}
"""By table, what the copies have instead of what they are copied from."""


@contextmanager
def airflow_with(partitions: int) -> Iterator[RunningAirflow]:
    """
    Run an api-server on a database in which that many partitions were published and read.

    :param partitions: of ``orders``, by runs, with the runs that read them; and of ``imported``, by nobody
    """
    with (
        tempfile.TemporaryDirectory(prefix="andon-benchmark-") as home,
        postgres.server() as server,
        postgres.new_database(server) as database,
    ):
        airflow = RunningAirflow(home=Path(home), dags=DAGS, database=text_of(database))
        with airflow:
            airflow.wait_parsed({*PLAYED, "archive"}, timeout=180)
            airflow.rest.trigger("ingest", FIRST_KEY)
            airflow.wait_until(
                lambda: airflow.rows(
                    "SELECT 1 FROM dag_run WHERE dag_id = 'reporting' AND state = 'success'"
                ),
                "the first partition",
                timeout=120,
            )
            for component in ("scheduler-1", "dag-processor", "triggerer"):
                airflow.kill_component(component)
            with airflow.engine.begin() as connection:
                _copy(partitions - 1, connection)
                _import(partitions, airflow.rest.asset_id("imported"), connection)
            with airflow.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("ANALYZE"))
            yield airflow


def copy_rows(
    table: str, condition: str, parameters: Mapping[str, object], numbers: range, connection: Connection
) -> None:
    """Copy the rows of a table that fit, once for each number, which ends what must differ."""
    changed = _COPIES[table]
    columns = connection.scalars(
        text("SELECT column_name FROM information_schema.columns WHERE table_name = :table"), {"table": table}
    ).all()
    kept = [c for c in columns if c != "id" or "id" in changed]
    taken = ", ".join(changed.get(c, f'"{c}"') for c in kept)
    into = ", ".join(f'"{c}"' for c in kept)
    connection.execute(
        text(
            f"INSERT INTO {table} ({into}) SELECT {taken} FROM {table}, "
            f"generate_series(:first, :last) AS n WHERE {condition}"
        ),
        {**parameters, "first": numbers.start, "last": numbers.stop - 1},
    )


def _copy(times: int, connection: Connection) -> None:
    for table in _COPIES:
        named = "source_dag_id" if table == "asset_event" else "dag_id"
        copy_rows(table, f"{named} = ANY(:dags)", {"dags": list(PLAYED)}, range(1, times + 1), connection)
    connection.execute(
        text(
            "INSERT INTO dagrun_asset_event (dag_run_id, event_id) "
            "SELECT reader.id, event.id FROM dag_run reader "
            "JOIN asset_event event ON event.partition_key = reader.partition_key "
            "JOIN dag_schedule_asset_reference r ON r.asset_id = event.asset_id AND r.dag_id = reader.dag_id "
            "ON CONFLICT DO NOTHING"
        )
    )


def _import(partitions: int, asset: int, connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO asset_event (asset_id, extra, source_map_index, timestamp, partition_key) "
            f"SELECT :asset, '{{}}', -1, now(), {_KEY} FROM generate_series(0, :last) AS n"
        ),
        {"asset": asset, "last": partitions - 1},
    )
