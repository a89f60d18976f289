"""Edges: renamed tasks, several publishers, branches of a run, and rows that nobody would let go."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, PartitionedAssetTimetable, PartitionedAtRuntime
from sqlalchemy import delete, update

from airflow_lean_provider.airflow_internals.holding import HELD_UNTIL
from airflow_lean_provider.airflow_internals.notes import write_notes
from airflow_lean_provider.brake import release, sweep, switch
from airflow_lean_provider.store import clock
from airflow_lean_provider.store.models import AffectedRun, ParkedTask
from tests.integration.dags import CLEAN, ORDERS, Step, consumer, producer

if TYPE_CHECKING:
    import pytest

    from tests.integration.world import World


def with_task(task_id: str) -> DAG:
    with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
        Step(task_id=task_id, outlets=[CLEAN])
    return dag


def test_a_task_that_the_dag_no_longer_has_is_stopped_too(world: World) -> None:
    """All tasks of a run that consumed an event of the partition read it."""
    world.add(producer("ingest", ORDERS), with_task("work"))
    world.publish("ingest", "p1")
    world.tick()
    work = world.take("cleaning", "p1", "work")
    assert world.run(work) == 200
    world.add(with_task("renamed"))
    world.pull("orders", "p1")
    assert world.succeed(work) == 404
    assert world.events("clean") == 0


def test_repair_clears_each_publisher_that_is_not_at_work_already(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    chain.play()
    cord = chain.pull("orders", "p1", "p2")
    chain.clear("ingest", "p2")
    assert {t.run_id for t in chain.repair(cord).cleared} == {chain.dag_run("ingest", "p1").run_id}
    done = chain.play()
    assert all(done[task, key] == 1 for task in ("ingest.load", "cleaning.work") for key in ("p1", "p2"))


def test_repair_counts_the_publication_that_was_under_way(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its time before the repair's, and is committed after the repair has looked."""
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.clear("ingest", "p1")
    monkeypatch.setattr(release, "now", lambda: clock.now() + timedelta(minutes=1))
    assert not chain.repair(cord).cleared
    chain.play()
    assert chain.halted() == set()


def test_a_disabled_brake_repairs_nothing(chain: World) -> None:
    import pytest

    from airflow_lean_provider.brake.errors import BadRequest

    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    switch.disable(reason="test", by="tester")
    with pytest.raises(BadRequest):
        chain.repair(cord)
    assert chain.play() == {}


def test_the_old_process_of_one_task_does_not_keep_another_branch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D3: nor before the process of *its own* stopped execution is known to be gone."""
    world.configure(monkeypatch, survival_time=1000)
    with DAG("ingest", schedule=PartitionedAtRuntime()) as dag:
        Step(task_id="load", outlets=[ORDERS]) >> Step(task_id="report")
        Step(task_id="a") >> Step(task_id="b")
    world.add(dag)
    world.trigger("ingest", "p1")
    world.tick()
    assert world.work(world.take("ingest", "p1", "load"))
    world.tick()
    report = world.take("ingest", "p1", "report")
    assert world.run(report) == 200
    cord = world.pull("orders", "p1")
    assert world.play() == {("ingest.a", "p1"): 1, ("ingest.b", "p1"): 1}
    world.release(cord, "false_alarm")
    assert world.play() == {}, "its own process may still live"


def test_a_held_run_without_a_row_of_ours_is_let_go(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    chain.pull("orders", "p1")
    chain.publish("ingest", "p2")
    chain.create_runs()
    with chain._session() as session:
        run = chain.dag_run("cleaning", "p2").id
        session.execute(update(DagRun).where(DagRun.id == run).values(run_after=HELD_UNTIL))
        write_notes({run: "1: why"}, session)
    assert chain.play()["cleaning.work", "p2"] == 1
    assert chain.note("cleaning", "p2") is None


def test_a_parked_task_whose_run_is_gone_leaves_nothing(world: World) -> None:
    with DAG("ingest", schedule=PartitionedAtRuntime()) as dag:
        Step(task_id="load", outlets=[ORDERS]) >> Step(task_id="report")
        Step(task_id="other")
    world.add(dag)
    world.trigger("ingest", "p1")
    world.tick()
    assert world.work(world.take("ingest", "p1", "load"))
    cord = world.pull("orders", "p1")
    assert world.rows(ParkedTask)["lean_parked_task"]
    with world._session() as session:
        session.execute(delete(DagRun).where(DagRun.dag_id == "ingest"))
    world.release(cord, "false_alarm")
    sweep.sweep()
    assert world.rows(ParkedTask, AffectedRun) == {"lean_parked_task": [], "lean_affected_run": []}
    assert not sweep.sweep(), "nothing is open any more"


def test_a_half_written_partition_that_was_never_published_can_be_pulled(chain: World) -> None:
    """The way out when its only writer was killed and then deleted."""
    chain.publish("ingest", "p1")
    chain.tick()
    assert chain.run(chain.take("cleaning", "p1")) == 200
    cord = chain.pull("orders", "p1")
    with chain._session() as session:
        session.execute(delete(DagRun).where(DagRun.dag_id == "cleaning"))
    chain.release(cord, "false_alarm")
    assert chain.halted() == {("clean", "p1")}
    chain.release(chain.pull("clean", "p1"), "fixed")
    assert chain.halted() == set()


def test_many_runs_held_at_their_start_do_not_all_run_after_disable(world: World) -> None:
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN, max_active_runs=1))
    keys = ["p1", "p2", "p3"]
    world.publish("ingest", *keys)
    world.pull("orders", *keys)
    world.play()
    assert all(world.is_held("cleaning", key) for key in keys)
    switch.disable(reason="test", by="tester")
    world.start_runs()
    assert sorted(r.state for r in world.runs("cleaning")) == ["queued", "queued", "running"]
