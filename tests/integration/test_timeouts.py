"""T15: the time for which the brake keeps a run waiting does not count towards its time-out."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, PartitionedAtRuntime
from sqlalchemy import update

from airflow_lean_provider.brake import switch
from airflow_lean_provider.store.models import AffectedRun
from tests.integration import doors
from tests.integration.dags import ORDERS, Step

if TYPE_CHECKING:
    from tests.integration.world import World


@pytest.fixture
def parking(world: World) -> World:
    """``after`` is parked in a run that goes on with ``other``, and may take an hour."""
    with DAG("ingest", schedule=PartitionedAtRuntime(), dagrun_timeout=timedelta(hours=1)) as dag:
        Step(task_id="load", outlets=[ORDERS]) >> Step(task_id="after")
        Step(task_id="other")
    world.add(dag)
    world.trigger("ingest", "p1")
    world.tick()
    assert world.work(world.take("ingest", "p1", "load"))
    return world


def minutes_pass(world: World, minutes: int) -> None:
    """Let the run, and what the brake knows of it, be that much older."""
    past = timedelta(minutes=minutes)
    with world._session() as session:
        for run in session.query(DagRun):
            run.start_date = run.start_date and run.start_date - past
        for row in session.query(AffectedRun):
            if row.was and row.was.get("waits_since"):
                older = {k: _earlier(row.was[k], past) for k in ("start_date", "waits_since")}
                session.execute(
                    update(AffectedRun).where(AffectedRun.run_id == row.run_id).values(was=row.was | older)
                )


def _earlier(text: str, past: timedelta) -> str:
    return (datetime.fromisoformat(text) - past).isoformat()


def runs_for(world: World) -> timedelta:
    start = world.dag_run("ingest", "p1").start_date
    assert start is not None
    return datetime.now(timezone.utc) - start


def test_a_run_that_waits_for_a_parked_task_does_not_time_out(parking: World) -> None:
    minutes_pass(parking, 40)
    cord = parking.pull("orders", "p1")
    minutes_pass(parking, 600)
    parking.play(but=["ingest"])
    assert parking.dag_run("ingest", "p1").state == "running"
    parking.release(cord, "false_alarm")
    assert timedelta(minutes=39) < runs_for(parking) < timedelta(minutes=41)
    assert parking.play() == {("ingest.after", "p1"): 1, ("ingest.other", "p1"): 1}
    assert parking.dag_run("ingest", "p1").state == "success"


def test_once_released_it_has_the_rest_of_its_time(parking: World) -> None:
    minutes_pass(parking, 40)
    cord = parking.pull("orders", "p1")
    minutes_pass(parking, 600)
    parking.release(cord, "false_alarm")
    minutes_pass(parking, 30)
    parking.play()
    assert parking.dag_run("ingest", "p1").state == "failed"


def test_what_the_scheduler_parked_does_not_time_out_either(parking: World) -> None:
    parking.tick()
    work = parking.take("ingest", "p1", "after")
    assert parking.run(work) == 200
    assert parking.succeed(work) == 204
    parking.pull("orders", "p1")
    parking.clear("ingest", "p1", "after")
    parking.tick()
    parking.play(but=["ingest"])
    minutes_pass(parking, 600)
    parking.play(but=["ingest"])
    assert parking.dag_run("ingest", "p1").state == "running"
    assert parking.states("ingest", "p1")["after"] == "deferred"


def test_disable_gives_back_the_start(parking: World) -> None:
    before = parking.dag_run("ingest", "p1").start_date
    parking.pull("orders", "p1")
    assert parking.dag_run("ingest", "p1").start_date is None
    switch.disable(reason="test", by="tester")
    assert parking.dag_run("ingest", "p1").start_date == before


def test_a_person_who_marks_the_parked_task_lets_the_time_go_on(parking: World) -> None:
    parking.pull("orders", "p1")
    run_id = parking.dag_run("ingest", "p1").run_id
    doors.rest("PATCH", f"dags/ingest/dagRuns/{run_id}/taskInstances/after", json={"new_state": "success"})
    parking.play(but=["ingest"])
    assert parking.dag_run("ingest", "p1").start_date is not None


def test_without_a_timeout_the_run_keeps_its_start(world: World) -> None:
    with DAG("ingest", schedule=PartitionedAtRuntime()) as dag:
        Step(task_id="load", outlets=[ORDERS]) >> Step(task_id="after")
        Step(task_id="other")
    world.add(dag)
    world.trigger("ingest", "p1")
    world.tick()
    assert world.work(world.take("ingest", "p1", "load"))
    before = world.dag_run("ingest", "p1").start_date
    world.pull("orders", "p1")
    assert world.states("ingest", "p1")["after"] == "deferred"
    assert world.dag_run("ingest", "p1").start_date == before
