"""Airflow's own limits while a run is held: none of them ends it, and none of them is used up (trap 15)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.types import DagRunType

from tests.integration.dags import CLEAN, ORDERS, RATES, consumer, producer
from tests.integration.test_inlets import reader

if TYPE_CHECKING:
    from tests.integration.world import World


def grow_older(world: World, dag_id: str, run_id: str, hours: int) -> None:
    """Let the run have begun earlier, as far as Airflow still knows when it began."""
    run = world.dag_run(dag_id, run_id)
    with world._session() as session:
        found = session.get_one(DagRun, run.id)
        if found.start_date is not None:
            found.start_date -= timedelta(hours=hours)


@pytest.mark.parametrize("parked_by", ["pull", "start"])
def test_a_run_part_of_which_is_parked_does_not_time_out(world: World, parked_by: str) -> None:
    """A held run never times out, fails or is skipped for waiting."""
    world.add(producer("ingest", ORDERS), reader("nightly", [ORDERS], dagrun_timeout=timedelta(hours=1)))
    world.publish("ingest", "p1")
    if parked_by == "start":
        cord = world.pull("orders", "p1")
    run_id = world.trigger("nightly", run_type=DagRunType.SCHEDULED)
    if parked_by == "pull":
        world.tick()
        cord = world.pull("orders", "p1")
    else:
        world.play()
    grow_older(world, "nightly", run_id, hours=2)
    world.play()
    assert world.dag_run("nightly", run_id).state == "running"
    world.release(cord, "false_alarm")
    assert world.dag_run("nightly", run_id).start_date is not None, "the clock goes on"
    world.play()
    assert world.dag_run("nightly", run_id).state == "success"


def test_the_clock_goes_on_after_the_release(world: World) -> None:
    world.add(producer("ingest", ORDERS), reader("nightly", [ORDERS], dagrun_timeout=timedelta(hours=1)))
    world.publish("ingest", "p1")
    run_id = world.trigger("nightly", run_type=DagRunType.SCHEDULED)
    world.tick()
    grow_older(world, "nightly", run_id, hours=2)
    cord = world.pull("orders", "p1")
    world.release(cord, "false_alarm")
    world.tick()
    assert world.dag_run("nightly", run_id).state == "failed", "it had timed out before it was held"


@pytest.mark.parametrize("options", [{"max_active_runs": 1}, {"max_active_tasks": 1}])
def test_another_key_does_not_wait_for_a_held_run(world: World, options: dict[str, Any]) -> None:
    """Unaffected work is never delayed: with ``max_active_runs=1``."""
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN, **options))
    world.publish("ingest", "p1")
    world.tick()
    world.pull("orders", "p1")
    world.publish("ingest", "p2", "p3")
    assert world.play() == {("cleaning.work", "p2"): 1, ("cleaning.work", "p3"): 1}


@pytest.mark.parametrize("option", ["depends_on_past", "wait_for_downstream"])
def test_another_key_does_not_wait_unless_the_dag_itself_says_so(world: World, option: str) -> None:
    dag = consumer("cleaning", ORDERS, CLEAN)
    setattr(dag.get_task("work"), option, True)
    world.add(producer("ingest", ORDERS), dag)
    world.publish("ingest", "p1")
    world.tick()
    cord = world.pull("orders", "p1")
    world.publish("ingest", "p2")
    world.play()
    world.release(cord, "false_alarm")
    world.play()
    assert {r.state for r in world.runs("cleaning")} == {"success"}


def test_held_and_repaired_runs_are_no_failures(world: World) -> None:
    """``max_consecutive_failed_dag_runs`` pauses a Dag: neither a hold nor a stop counts."""
    world.add(
        producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN, max_consecutive_failed_dag_runs=1)
    )
    world.publish("ingest", "p1", "p2")
    world.tick()
    work = world.take("cleaning", "p1")
    assert world.run(work) == 200
    cord = world.pull("orders", "p1", "p2")
    assert world.succeed(work) == 404
    world.play()
    world.release(cord, "false_alarm")
    assert world.play() == {("cleaning.work", "p1"): 1, ("cleaning.work", "p2"): 1}


def test_a_task_of_the_same_run_that_reads_something_else_is_not_delayed(world: World) -> None:
    """Unaffected work is never delayed: other tasks of the run."""
    dag = reader("nightly", [ORDERS])
    dag.get_task("beside").inlets = [RATES]
    world.add(producer("ingest", ORDERS), producer("bank", RATES), dag)
    world.publish("ingest", "p1")
    world.publish("bank", "p1")
    world.pull("orders", "p1")
    world.trigger("nightly")
    assert world.play() == {("nightly.before", None): 1, ("nightly.beside", None): 1}
