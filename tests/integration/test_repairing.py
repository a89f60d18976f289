"""What runs again after a release, beyond the plain stories of ``test_outcomes.py``."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from airflow.sdk import (
    DAG,
    Asset,
    MinimumCount,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    RollupMapper,
    StartOfWeekMapper,
    WeekWindow,
)
from sqlalchemy import update

from airflow_lean_provider.brake.pull import Scope
from airflow_lean_provider.brake.pull import pull as pull_act
from airflow_lean_provider.brake.report import of_cords
from airflow_lean_provider.brake.settle import settle
from airflow_lean_provider.rules.facts import Run
from airflow_lean_provider.store.models import Base
from tests.integration.dags import CLEAN, DAILY, ORDERS, Step, consumer, producer, the_chain

if TYPE_CHECKING:
    from tests.integration.world import World

ONCE = {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


@pytest.mark.parametrize("ending", ["fail", "skip"])
def test_what_failed_or_skipped_on_bad_data_runs_again(chain: World, ending: str) -> None:
    """T10: a consumer that ended without a result has read the bad version all the same."""
    chain.publish("ingest", "p1")
    chain.tick()
    work = chain.take("cleaning", "p1")
    assert chain.run(work) == 200
    assert getattr(chain, ending)(work) == 204
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.release(cord, "fixed")
    assert chain.play() == ONCE
    assert chain.dag_run("cleaning", "p1").state == "success"
    assert of_cords() == []


def test_a_rerun_may_use_its_retries(world: World) -> None:
    world.add(*the_chain(retries=1))
    world.publish("ingest", "p1")
    world.play()
    world.release(world.pull("orders", "p1"), "fixed")
    world.tick()
    work = world.take("cleaning", "p1")
    assert world.run(work) == 200
    assert world.retry(work) == 204
    assert world.play() == ONCE
    assert world.halted() == set()


def test_a_paused_consumer_repairs_itself_when_it_is_unpaused(chain: World) -> None:
    """Airflow notes no event for a paused Dag: repair follows the halts that clear."""
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.pause("cleaning")
    chain.publish("ingest", "p1")
    chain.release(cord, "fixed")
    assert chain.play() == {}
    chain.pause("cleaning", paused=False)
    assert chain.play() == ONCE
    assert len(chain.runs("cleaning", "p1")) == 1


def test_a_minimum_count_does_not_fire_on_partial_data(world: World) -> None:
    """T4: the day that is published again neither waits in a row of its own nor makes a run with others."""
    world.add(
        producer("ingest", DAILY),
        consumer(
            "forecast",
            DAILY,
            mapper=RollupMapper(
                upstream_mapper=StartOfWeekMapper(input_format="%Y-%m-%d"),
                window=WeekWindow(),
                wait_policy=MinimumCount(2),
            ),
        ),
    )
    days = ["2026-06-15", "2026-06-16"]
    world.publish("ingest", *days)
    world.play()
    assert len(world.runs("forecast")) == 1
    cord = world.pull("daily", *days)
    world.publish("ingest", *days)
    assert world.play() == {}
    world.release(cord, "fixed")
    assert sum(world.play().values()) == 1
    assert len(world.runs("forecast")) == 1
    assert world.pending() == []


def test_settling_again_changes_nothing(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    chain.play(but=["reporting"])
    chain.pull("orders", "p1")
    chain.play(but=["reporting"])
    ours = [
        type("Ours", (), {"__table__": table, "__tablename__": name})
        for name, table in Base.metadata.tables.items()
    ]
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

    before = chain.rows(DagRun, TaskInstance, *ours)
    assert settle()
    assert chain.rows(DagRun, TaskInstance, *ours) == before


def test_a_cycle_is_named_and_a_person_ends_it(world: World) -> None:
    """T12: two Dags that read each other; the release would wait for itself."""
    a, b = Asset("a"), Asset("b")
    world.add(producer("seed", a), consumer("to_b", a, b), consumer("to_a", b, a), consumer("to_c", b, CLEAN))
    world.publish("seed", "p1")
    world.play(but=["to_a"])
    assert world.work(world.take("to_a", "p1"))
    world.play(but=["to_a"])
    cord = world.pull("a", "p1")
    assert world.play() == {}
    world.publish("seed", "p1")
    released = world.release(cord, "fixed")
    assert not released.ended
    assert "to_a.work" in released.waiting[0][1]
    assert world.play() == {}
    world.release(cord, "fixed", forced=True)
    assert world.play(but=["to_a"]) == {("to_b.work", "p1"): 1, ("to_c.work", "p1"): 1}
    assert world.halted() == set()


def test_one_run_that_published_many_partitions(world: World) -> None:
    """A run without a key chooses its partitions at run time; a pull of the run names all of them."""
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN))
    run_id = world.trigger("ingest")
    world.tick()
    work = world.take("ingest", run_id)
    assert world.run(work) == 200
    assert world.succeed(work, keys=["p1", "p2", "p3"]) == 204
    world.play()
    assert len(world.runs("cleaning")) == 3
    pulled = pull_act(Scope(run=Run("ingest", run_id)), reason="wrong", by="tester")
    keys = {"p1", "p2", "p3"}
    assert {key for name, key in world.halted() if name == "orders"} == keys
    assert {key for name, key in world.halted() if name == "clean"} == keys
    released = world.repair(pulled.cord)
    assert [t.task_id for t in released.cleared] == ["load"]
    world.tick()
    again = world.take("ingest", run_id)
    assert world.run(again) == 200
    assert world.succeed(again, keys=["p1", "p2", "p3"]) == 204
    assert world.play() == {("cleaning.work", key): 1 for key in keys}
    assert len(world.runs("cleaning")) == 3
    assert world.halted() == set()


def test_one_bad_partition_of_a_run_that_published_many(world: World) -> None:
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN))
    run_id = world.trigger("ingest")
    world.tick()
    work = world.take("ingest", run_id)
    world.run(work)
    world.succeed(work, keys=["p1", "p2"])
    world.play()
    cord = world.pull("orders", "p2")
    assert world.halted() == {("orders", "p2"), ("clean", "p2")}
    world.repair(cord)
    world.tick()
    again = world.take("ingest", run_id)
    assert world.run(again) == 200
    assert world.succeed(again, keys=["p1", "p2"]) == 204
    played = world.play()
    assert played[("cleaning.work", "p2")] == 1
    assert len(world.runs("cleaning", "p2")) == 1
    assert world.halted() == set()


def test_one_of_three_instances_fails_in_the_repair(world: World) -> None:
    with DAG("ingest", schedule=PartitionedAtRuntime()) as ingest:
        Step.partial(task_id="load", outlets=[ORDERS]).expand(value=[1, 2, 3])
    world.add(ingest, consumer("cleaning", ORDERS, CLEAN))
    run_id = world.trigger("ingest", "p1")
    world.play()
    cord = world.pull("orders", "p1")
    world.repair(cord)
    world.tick()
    assert world.work(world.take("ingest", run_id, "load", 0))
    failing = world.take("ingest", run_id, "load", 1)
    assert world.run(failing) == 200
    assert world.fail(failing) == 204
    assert world.work(world.take("ingest", run_id, "load", 2))
    assert world.play() == {}
    assert ("orders", "p1") in world.halted()
    world.clear("ingest", run_id, "load")
    played = world.play()
    assert played[("cleaning.work", "p1")] == 1
    assert world.halted() == set()


def test_the_dag_loses_a_task_while_the_cord_is_open(world: World) -> None:
    """T16: Airflow runs what a bundle without versions has now; a task that is gone owes nothing."""
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN, tasks=["extra", "work"]))
    world.publish("ingest", "p1")
    world.play()
    cord = world.pull("orders", "p1")
    world.add(consumer("cleaning", ORDERS, CLEAN))
    world.release(cord, "fixed")
    assert world.play() == {("cleaning.work", "p1"): 1}
    assert world.states("cleaning", "p1") == {"extra": "removed", "work": "success"}
    assert world.halted() == set()
    assert of_cords() == []


def test_a_run_that_is_gone_is_replaced_by_the_next(chain: World) -> None:
    """Its version stays bad, since nobody is left to repair it; another run of the Dag makes a new one."""
    from airflow.models.dagrun import DagRun

    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    with chain._session() as session:
        session.delete(session.get_one(DagRun, chain.dag_run("cleaning", "p1").id))
    chain.release(cord, "fixed")
    assert chain.play() == {}
    assert ("clean", "p1") in chain.halted()
    chain.trigger("cleaning", "p1")
    assert chain.play() == ONCE
    assert chain.halted() == set()


def test_an_advisory_dag_gets_its_second_run_and_pays_with_it(world: World) -> None:
    """It absorbs nothing, and what it read last is what was released as fixed."""
    world.add(producer("ingest", ORDERS), consumer("board", ORDERS, tags=["andon:advisory"]))
    world.publish("ingest", "p1")
    world.play()
    cord = world.pull("orders", "p1")
    world.publish("ingest", "p1")
    assert world.play() == {("board.work", "p1"): 1}
    assert len(world.runs("board", "p1")) == 2
    world.release(cord, "fixed")
    assert world.play() == {}
    assert of_cords() == []


def test_a_held_run_does_not_time_out(world: World) -> None:
    """T15: the time that it waits does not count."""
    from airflow.models.dagrun import DagRun

    world.add(*the_chain(dagrun_timeout=timedelta(hours=1)))
    world.publish("ingest", "p1")
    world.tick()
    with world._session() as session:
        run = session.get_one(DagRun, world.dag_run("cleaning", "p1").id)
        run.start_date = run.start_date - timedelta(minutes=59, seconds=59)
    cord = world.pull("orders", "p1")
    with world._session() as session:
        run = session.get_one(DagRun, world.dag_run("cleaning", "p1").id)
        run.queued_at = run.queued_at - timedelta(days=3)
        if run.start_date:
            run.start_date -= timedelta(days=3)
    assert world.play() == {}
    world.timers()
    world.release(cord, "false_alarm")
    assert world.play() == ONCE


def test_a_task_that_is_new_runs_with_the_repair_or_not_at_all(world: World) -> None:
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN))
    world.publish("ingest", "p1")
    world.tick()
    cord = world.pull("orders", "p1")
    world.add(consumer("cleaning", ORDERS, CLEAN, tasks=["before", "work"]))
    world.release(cord, "fixed")
    assert world.play()[("cleaning.work", "p1")] == 1
    assert world.dag_run("cleaning", "p1").state == "success"


def test_a_held_run_that_loses_its_key_is_still_held(chain: World) -> None:
    """T9: ``airflow partitions clear`` sets the key to NULL: the run then reads every partition."""
    from airflow.models.dagrun import DagRun

    chain.publish("ingest", "p1")
    chain.tick()
    run_id = chain.dag_run("cleaning", "p1").run_id
    cord = chain.pull("orders", "p1")
    with chain._session() as session:
        session.execute(update(DagRun).where(DagRun.run_id == run_id).values(partition_key=None))
    assert chain.play() == {}
    chain.release(cord, "false_alarm")
    assert chain.play()[("cleaning.work", None)] == 1


def test_thousands_of_ticks_are_not_needed(world: World) -> None:
    """T2: many held runs do not stand in the way of one that is not."""
    keys = [f"p{n:03}" for n in range(60)]
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN, max_active_runs=1000))
    for key in keys:
        world.publish_from_outside("orders", key)
    cord = world.pull("orders", *keys)
    world.play()
    assert all(run.state == "queued" for run in world.runs("cleaning"))
    world.publish_from_outside("orders", "good")
    world.tick()
    assert world.work(world.take("cleaning", "good"))
    world.release(cord, "false_alarm")
    assert world.play() == {("cleaning.work", key): 1 for key in keys}


def test_a_killed_task_is_torn_down(world: World) -> None:
    """D3: the teardown of a task that was killed may start; the run is held once that has ended."""
    with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
        setup = Step(task_id="setup").as_setup()
        setup >> Step(task_id="work", outlets=[CLEAN]) >> Step(task_id="teardown").as_teardown(setups=setup)
    world.add(producer("ingest", ORDERS), dag)
    world.publish("ingest", "p1")
    world.tick()
    assert world.work(world.take("cleaning", "p1", "setup"))
    world.tick()
    work = world.take("cleaning", "p1", "work")
    assert world.run(work) == 200
    cord = world.pull("orders", "p1")
    assert world.succeed(work) == 404
    assert world.play() == {("cleaning.teardown", "p1"): 1}
    assert world.is_held("cleaning", "p1")
    world.release(cord, "false_alarm")
    assert world.play() == {
        ("cleaning.setup", "p1"): 1,
        ("cleaning.work", "p1"): 1,
        ("cleaning.teardown", "p1"): 1,
    }
