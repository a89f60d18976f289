"""
The database's server dies under a running Airflow, while a cord is open and again while its repair runs.

Of Airflow's own processes some end when their database is gone, the scheduler once its running tasks have
ended; they are started again, as whatever supervises them does.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.airflow_process import AirflowFailed, RunningAirflow
from demo.andon import find, first_json
from tests.databases import postgres, text_of

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.postgres]

DAGS = Path(__file__).parent / "disable_dags"
SECONDS_WITHOUT = 8.0
AT_MOST_SECONDS = 240.0
SECONDS_TO_START_IN = 6.0
"""Some loops of the scheduler: whatever may start would have started."""
SOON_MISSED = {
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
}
"""A task that died with its scheduler is soon given to the next one."""


def test_an_outage_lets_nothing_start_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "wait").mkdir()
    with (
        postgres.own_server() as server,
        postgres.new_database(server.url) as database,
        RunningAirflow(
            home=tmp_path,
            dags=DAGS,
            database=text_of(database),
            environment=SOON_MISSED,
        ) as airflow,
    ):
        airflow.wait_parsed({"ingest", "cleaning", "reporting"})
        airflow.rest.trigger("ingest", partition_key="p1")
        until_published(airflow, "report", 1)

        pulled = airflow.cli("andon", "pull", "orders", "-p", "p1", "-r", "looks wrong", "-o", "json")
        cord = str(find(first_json(pulled.stdout), "cord_id", "cord", "id"))
        airflow.rest.trigger("cleaning", partition_key="p1")
        airflow.wait_until(lambda: held(airflow), "the new reader to be held")
        before = starts(airflow)
        without_a_database(server)
        until(airflow, lambda: loops(airflow), "the scheduler to be back")
        time.sleep(SECONDS_TO_START_IN)
        assert held(airflow)
        assert starts(airflow) == before, "nothing that reads p1 was started"

        waits = tmp_path / "wait" / "load"
        waits.touch()
        airflow.cli("andon", "repair", cord)
        airflow.wait_until(lambda: starts(airflow)["load"] > before["load"], "the repair to begin")
        without_a_database(server)
        waits.unlink()
        until(
            airflow,
            lambda: not airflow.rows("SELECT 1 FROM lean_cord WHERE closed_at IS NULL"),
            "the cord to close",
        )
        until(airflow, airflow.is_quiet, "everything to end")
        assert airflow.rows("SELECT 1 FROM lean_halted_partition") == []
        assert airflow.rows("SELECT 1 FROM dag_run WHERE state <> 'success'") == []
        assert in_order_of_their_last_success(airflow) == ["load", "cleanse", "publish"]


def without_a_database(server: postgres.OwnServer) -> None:
    """Let the server be gone for a while."""
    server.stop()
    time.sleep(SECONDS_WITHOUT)
    server.start()


def until(airflow: RunningAirflow, condition: Callable[[], bool], what: str) -> None:
    """Wait, and start again what ends meanwhile; none of it may end because of an error of ours."""
    give_up = time.monotonic() + AT_MOST_SECONDS
    while not condition():
        for name in airflow.revive():
            last = airflow.log_file(name).read_text(errors="replace").rpartition("Traceback")[2]
            assert "airflow_lean_provider" not in last, f"{name} ended in our code: {last}"
        if time.monotonic() > give_up:
            raise AirflowFailed(f"waited for {what}\n{airflow.report()}")
        time.sleep(0.5)


def until_published(airflow: RunningAirflow, asset: str, times: int) -> None:
    def published() -> bool:
        events = airflow.rows(
            "SELECT 1 FROM asset_event e JOIN asset a ON a.id = e.asset_id WHERE a.name = :name", name=asset
        )
        return len(events) >= times

    airflow.wait_until(published, f"{asset} to be published", timeout=120)


def loops(airflow: RunningAirflow) -> bool:
    """Whether a scheduler has begun since the last one ended."""
    jobs = airflow.rows(
        "SELECT 1 FROM job WHERE job_type = 'SchedulerJob' AND state = 'running' "
        "AND latest_heartbeat > now() - interval '5 seconds'"
    )
    return len(jobs) == 1


def held(airflow: RunningAirflow) -> bool:
    return bool(airflow.rows("SELECT 1 FROM lean_affected_run WHERE dag_id = 'cleaning' AND held"))


def starts(airflow: RunningAirflow) -> Counter[str]:
    """By task, how often one has begun."""
    lines = (airflow.home / "started").read_text().splitlines()
    return Counter(line.split()[0] for line in lines)


def in_order_of_their_last_success(airflow: RunningAirflow) -> list[str]:
    rows = airflow.rows(
        "SELECT task_id FROM log WHERE event = 'success' AND task_id IN ('load', 'cleanse', 'publish') "
        "GROUP BY task_id ORDER BY max(dttm)"
    )
    return [task for (task,) in rows]
