"""A consumer is held wherever it stands at the pull, at no cost to it, to its retries or to anybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.sdk import DAG, PartitionedAssetTimetable

from tests.integration.dags import CLEAN, ORDERS, Step, consumer, producer, the_chain

if TYPE_CHECKING:
    from tests.integration.world import Work, World

STAGES = (
    "created",
    "started",
    "scheduled",
    "queued",
    "running",
    "deferred",
    "awaiting_input",
    "up_for_reschedule",
    "up_for_retry",
)
IN_A_WORKER = STAGES[STAGES.index("running") :]


def bring(world: World, stage: str) -> Work | None:
    """Bring the run of ``cleaning`` for p1 to a stage; return what its worker got."""
    world.create_runs()
    if stage == "created":
        return None
    world.start_runs()
    if stage == "started":
        return None
    world.schedule()
    if stage == "scheduled":
        return None
    world.queue()
    work = world.take("cleaning", "p1")
    if stage == "queued":
        return work
    assert world.run(work) == 200
    leave = {
        "deferred": world.defer,
        "awaiting_input": world.await_input,
        "up_for_reschedule": world.reschedule,
        "up_for_retry": world.retry,
    }
    if stage in leave:
        assert leave[stage](work) == 204
        assert world.states("cleaning", "p1") == {"work": stage}
    return work


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_held_in_every_state(world: World, stage: str, retries: int) -> None:
    if stage == "up_for_retry" and not retries:
        pytest.skip("there is no retry to wait for")
    world.add(*the_chain(retries=retries))
    world.publish("ingest", "p1")
    old = bring(world, stage)
    cord = world.pull("orders", "p1")
    assert world.is_held("cleaning", "p1")
    if old is not None:
        assert world.run(old) == 404
        assert world.heartbeat(old) in (404, 410)
        assert world.succeed(old) == 404
        assert world.fail(old) == 404
        assert world.events("clean") == 0
    world.hear()
    assert world.play() == {}
    world.timers()
    assert world.is_held("cleaning", "p1")
    assert world.waiting() == []

    world.release(cord, "false_alarm")
    world.tick()
    work = world.take("cleaning", "p1")
    used = 1 if stage == "up_for_retry" else 0
    ti = world.ti("cleaning", "p1")
    assert ti.max_tries - ti.try_number + 1 == retries - used, "retries that are left"
    for _ in range(retries - used):
        assert world.run(work) == 200
        assert world.retry(work) == 204
        world.tick()
        world.tick()
        work = world.take("cleaning", "p1")
    assert world.run(work) == 200
    assert world.succeed(work) == 204
    assert world.play() == {("reporting.work", "p1"): 1}
    assert world.dag_run("cleaning", "p1").state == "success"
    assert world.pending() == []


def test_a_failure_after_a_stop_is_a_failure(chain: World) -> None:
    """Retries are not multiplied either."""
    chain.publish("ingest", "p1")
    bring(chain, "running")
    chain.release(chain.pull("orders", "p1"), "false_alarm")
    chain.tick()
    work = chain.take("cleaning", "p1")
    assert chain.run(work) == 200
    assert chain.fail(work) == 204
    chain.play()
    assert chain.dag_run("cleaning", "p1").state == "failed"


@pytest.mark.parametrize("stage", STAGES[1:-1])
def test_waiting_costs_nothing(chain: World, stage: str) -> None:
    chain.publish("ingest", "p1")
    bring(chain, stage)
    chain.pull("orders", "p1")
    chain.play()
    before = chain.rows(DagRun, TaskInstance)
    for _ in range(3):
        chain.tick()
        chain.timers()
    assert chain.rows(DagRun, TaskInstance) == before


def mapping() -> DAG:
    """``enumerate`` returns a list, ``each`` runs once for every item, ``collect`` publishes."""
    with DAG("mapping", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
        items = Step(task_id="enumerate")
        each = Step.partial(task_id="each").expand(value=items.output)
        each >> Step(task_id="collect", outlets=[CLEAN])
    return dag


def test_held_before_it_was_mapped(world: World) -> None:
    world.add(producer("ingest", ORDERS), mapping())
    world.publish("ingest", "p1")
    world.tick()
    work = world.take("mapping", "p1", "enumerate")
    assert world.run(work) == 200
    assert world.succeed(work, returns=[1, 2, 3]) == 204
    cord = world.pull("orders", "p1")
    assert world.is_held("mapping", "p1")
    assert world.play() == {}
    world.release(cord, "false_alarm")
    assert world.play() == {
        ("mapping.each[0]", "p1"): 1,
        ("mapping.each[1]", "p1"): 1,
        ("mapping.each[2]", "p1"): 1,
        ("mapping.collect", "p1"): 1,
    }
    assert world.dag_run("mapping", "p1").state == "success"


@pytest.mark.parametrize("outcome", ["false_alarm", "fixed"])
def test_held_among_its_mapped_instances(world: World, outcome: str) -> None:
    world.add(producer("ingest", ORDERS), mapping())
    world.publish("ingest", "p1")
    world.tick()
    listed = world.take("mapping", "p1", "enumerate")
    world.run(listed)
    world.succeed(listed, returns=[1, 2, 3])
    world.tick()
    over, running, queued = (world.take("mapping", "p1", "each", n) for n in range(3))
    assert world.run(over) == world.run(running) == 200
    assert world.succeed(over) == 204
    cord = world.pull("orders", "p1")
    assert world.is_held("mapping", "p1")
    assert world.run(queued) == 404
    assert world.succeed(running) == 404
    assert world.play() == {}
    world.release(cord, outcome)
    again = {("mapping.each[1]", "p1"): 1, ("mapping.each[2]", "p1"): 1, ("mapping.collect", "p1"): 1}
    if outcome == "fixed":
        # Everything before saw the bad version, and owes.
        work = _play_mapped(world)
        assert work == again | {("mapping.each[0]", "p1"): 1, ("mapping.enumerate", "p1"): 1}
    else:
        assert world.play() == again
    assert world.dag_run("mapping", "p1").state == "success"


def _play_mapped(world: World) -> dict[tuple[str, str | None], int]:
    before = len(world.done)
    for _ in range(12):
        world.tick()
        for work in list(world.executor.waiting):
            world.executor.waiting.remove(work)
            assert world.run(work) == 200
            assert world.succeed(work, returns=[1, 2, 3] if work.task_id == "enumerate" else None) == 204
    names = world.done[before:]
    return {name: names.count(name) for name in names}


def test_other_partitions_go_on_with_max_active_runs_1(world: World) -> None:
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN, max_active_runs=1))
    world.publish("ingest", "p1", "p2", "p3")
    world.tick()
    assert world.dag_run("cleaning", "p1").state == "running"
    cord = world.pull("orders", "p1")
    assert world.play() == {("cleaning.work", "p2"): 1, ("cleaning.work", "p3"): 1}
    world.release(cord, "false_alarm")
    assert world.play() == {("cleaning.work", "p1"): 1}


def test_a_run_that_comes_into_being_after_the_pull_is_held(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    cord = chain.pull("orders", "p1")
    assert chain.play() == {("cleaning.work", "p2"): 1, ("reporting.work", "p2"): 1}
    assert chain.is_held("cleaning", "p1")
    chain.release(cord, "fixed")
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


@pytest.mark.parametrize("stage", ["queued", "running"])
def test_a_clear_of_a_held_run_does_not_escape(chain: World, stage: str) -> None:
    chain.publish("ingest", "p1")
    bring(chain, stage)
    cord = chain.pull("orders", "p1")
    for _ in range(2):
        chain.clear("cleaning", "p1")
        assert chain.play() == {}
        assert chain.is_held("cleaning", "p1")
    chain.release(cord, "false_alarm")
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


def test_a_clear_of_a_tainted_run_does_not_escape(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.clear("cleaning", "p1")
    chain.clear("reporting", "p1")
    assert chain.play() == {}
    assert chain.is_held("cleaning", "p1")
    assert chain.is_held("reporting", "p1")
    chain.release(cord, "fixed")
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


def test_a_person_cannot_start_a_held_run_by_another_key_or_none(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    chain.play()
    cord = chain.pull("orders", "p1")
    without_key = chain.trigger("cleaning")
    unaffected = chain.trigger("cleaning", "p2")
    assert chain.play() == {("cleaning.work", "p2"): 1, ("reporting.work", "p2"): 1}
    assert chain.dag_run("cleaning", unaffected).state == "success"
    assert chain.is_held("cleaning", without_key)
    chain.release(cord, "false_alarm")
    assert chain.play()[("cleaning.work", None)] == 1
