"""Runs that a task triggers: they read what that task read (trap 28)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from tests.integration.dags import CLEAN, ORDERS, REPORT, Step, consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World


@pytest.fixture
def family(world: World) -> World:
    """orders -> calling (a task of which triggers) -> child -> clean -> reporting."""
    with DAG("child", schedule=None) as child:
        Step(task_id="work", outlets=[CLEAN])
    with DAG("grandchild", schedule=None) as grandchild:
        Step(task_id="work")
    world.add(
        producer("ingest", ORDERS),
        consumer("calling", ORDERS, tasks=("call", "after")),
        child,
        grandchild,
        consumer("reporting", CLEAN, REPORT),
    )
    return world


def begun(world: World) -> tuple[str, str]:
    """Publish, let ``call`` trigger the child and end; return the ids of both runs."""
    world.publish("ingest", "p1")
    world.tick()
    call = world.take("calling", "p1", "call")
    assert world.run(call) == 200
    child = world.trigger_from(call, "child")
    assert world.succeed(call) == 204
    return world.dag_run("calling", "p1").run_id, child


def test_the_child_of_a_task_that_read_the_partition_is_held(family: World) -> None:
    """A run that a task triggered (TriggerDagRunOperator) reads what that task read."""
    _, child = begun(family)
    cord = family.pull("orders", "p1")
    assert family.is_held("child", child)
    family.release(cord, "false_alarm")
    assert family.play() == {("calling.after", "p1"): 1, ("child.work", None): 1}


def test_the_child_that_has_run_is_tainted_and_so_is_what_it_published(family: World) -> None:
    _, child = begun(family)
    family.play()
    family.pull("orders", "p1")
    assert family.labels("child", child) == {"tainted"}
    assert ("clean", None) in family.halted()


def test_a_child_that_begins_after_the_pull_is_held_at_its_start(family: World) -> None:
    family.publish("ingest", "p1")
    family.tick()
    call = family.take("calling", "p1", "call")
    assert family.run(call) == 200
    child = family.trigger_from(call, "child")
    family.pull("orders", "p1")
    assert family.play() == {}
    assert family.is_held("child", child)


def test_a_held_child_stays_held_when_the_run_that_triggered_it_is_deleted(family: World) -> None:
    """What it reads is known, though the task that it inherits from is gone."""
    parent, child = begun(family)
    cord = family.pull("orders", "p1")
    with create_session() as session:
        session.delete(session.scalars(select(DagRun).filter_by(dag_id="calling", run_id=parent)).one())
    assert family.play() == {}
    assert family.is_held("child", child)
    family.release(cord, "false_alarm")
    assert family.play() == {("child.work", None): 1}


def test_a_grandchild_is_held_too(family: World) -> None:
    _, child = begun(family)
    family.tick()
    work = family.take("child", child)
    assert family.run(work) == 200
    grandchild = family.trigger_from(work, "grandchild")
    assert family.succeed(work) == 204
    family.pull("orders", "p1")
    assert family.is_held("grandchild", grandchild)


def test_the_child_is_superseded_when_its_triggering_task_runs_again(family: World) -> None:
    """A child run whose triggering task owes, or has run again since, is superseded."""
    _, first = begun(family)
    cord = family.pull("orders", "p1")
    assert family.is_held("child", first)
    family.repair(cord)
    family.play(but=["calling"])
    assert family.dag_run("child", first).state == "success"
    assert family.states("child", first) == {"work": "skipped"}
    call = family.take("calling", "p1", "call")
    assert family.run(call) == 200
    second = family.trigger_from(call, "child")
    assert family.succeed(call) == 204
    assert family.play() == {("calling.after", "p1"): 1, ("child.work", None): 1}
    assert family.dag_run("child", second).state == "success"
    assert family.halted() == set()


def test_the_tainted_child_of_a_task_that_runs_again_is_not_repaired_beside_its_successor(
    family: World,
) -> None:
    _, first = begun(family)
    family.play()
    cord = family.pull("orders", "p1")
    family.repair(cord)
    family.play(but=["calling"])
    call = family.take("calling", "p1", "call")
    assert family.run(call) == 200
    second = family.trigger_from(call, "child")
    assert family.succeed(call) == 204
    done = family.play()
    assert done["child.work", None] == 1
    assert family.ti("child", first).try_number == 1
    assert family.dag_run("child", second).state == "success"
    assert family.halted() == set()
    assert family.labels("child", first) == set()


def test_the_child_of_a_killed_task_does_not_run_beside_its_successor(family: World) -> None:
    family.publish("ingest", "p1")
    family.tick()
    call = family.take("calling", "p1", "call")
    assert family.run(call) == 200
    first = family.trigger_from(call, "child")
    cord = family.pull("orders", "p1")
    assert family.succeed(call) == 404
    family.executor.ended(call, TaskInstanceState.FAILED)
    family.release(cord, "false_alarm")
    family.play(but=["calling"])
    assert family.states("child", first) == {"work": "skipped"}
    call = family.take("calling", "p1", "call")
    assert family.run(call) == 200
    family.trigger_from(call, "child")
    assert family.succeed(call) == 204
    assert family.play() == {("calling.after", "p1"): 1, ("child.work", None): 1}


def test_a_child_with_a_key_of_its_own_reads_by_its_parent_all_the_same(family: World) -> None:
    family.add(consumer("keyed", CLEAN))
    family.publish("ingest", "p1")
    family.tick()
    call = family.take("calling", "p1", "call")
    assert family.run(call) == 200
    child = family.trigger_from(call, "keyed", "other")
    assert family.succeed(call) == 204
    family.pull("orders", "p1")
    assert family.is_held("keyed", child)


def test_a_child_of_a_task_that_read_something_else_is_left_alone(family: World) -> None:
    _, child = begun(family)
    family.publish("ingest", "p2")
    family.pull("orders", "p2")
    assert not family.is_held("child", child)


def test_a_killed_task_that_triggers_while_it_dies_lets_nothing_read(
    family: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T22: its process lives on for seconds, under an id that Airflow no longer has."""
    family.configure(monkeypatch, survival_time=1000)
    family.publish("ingest", "p1")
    family.tick()
    call = family.take("calling", "p1", "call")
    assert family.run(call) == 200
    cord = family.pull("orders", "p1")
    child = family.trigger_from(call, "child")
    assert family.play(but=["calling"]) == {}
    assert family.dag_run("child", child).state == "queued"
    family.hour_passes()
    family.release(cord, "false_alarm")
    family.play(but=["calling"])
    assert family.states("child", child) == {"work": "skipped"}
