"""Stopping what runs: its process, its half-written outlets, and the other tasks of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.sdk import DAG, PartitionedAtRuntime
from airflow.utils.state import TaskInstanceState

from airflow_lean_provider.brake import sweep
from tests.integration.dags import CLEAN, ORDERS, RATES, REPORT, Step, consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World

ONCE = {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


def start_again(world: World) -> None:
    """``cleaning`` has published p1, reporting was queued for it, and cleaning runs again."""
    world.publish("ingest", "p1")
    world.play(but=["reporting"])
    world.clear("cleaning", "p1")


def test_a_half_written_outlet_holds_its_readers(chain: World) -> None:
    start_again(chain)
    reader = chain.take("reporting", "p1")
    chain.tick()
    writer = chain.take("cleaning", "p1")
    assert chain.run(writer) == 200
    cord = chain.pull("orders", "p1")
    assert chain.halted() == {("orders", "p1"), ("clean", "p1")}
    assert chain.run(reader) == 404
    assert chain.is_held("reporting", "p1")
    chain.release(cord, "false_alarm")
    chain.tick()
    # The writer goes on at once, its reader only when the outlet is whole again.
    assert not chain.is_held("cleaning", "p1")
    assert chain.is_held("reporting", "p1")
    assert chain.halted() == {("clean", "p1")}
    assert chain.play() == ONCE
    assert chain.halted() == set()


def test_who_read_while_it_was_half_written_reads_again(chain: World) -> None:
    """No cord names its version, and yet what it read was half old and half new."""
    start_again(chain)
    chain.tick()
    reader, writer = chain.take("reporting", "p1"), chain.take("cleaning", "p1")
    assert chain.run(writer) == chain.run(reader) == 200
    assert chain.succeed(reader) == 204
    cord = chain.pull("orders", "p1")
    chain.release(cord, "false_alarm")
    assert chain.play() == ONCE


def test_the_end_of_the_process_is_awaited(chain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.configure(monkeypatch, survival_time=3600)
    chain.publish("ingest", "p1")
    chain.tick()
    old = chain.take("cleaning", "p1")
    assert chain.run(old) == 200
    cord = chain.pull("orders", "p1")
    chain.release(cord, "false_alarm")
    assert chain.play() == {}
    chain.clear("cleaning", "p1")
    assert chain.play() == {}
    other = chain.trigger("cleaning", "p1")
    chain.hour_passes()
    assert chain.play()[("cleaning.work", "p1")] >= 1
    assert "success" in chain.states("cleaning", other).values() or chain.note("cleaning", other) is not None


def test_what_was_not_running_need_not_be_awaited(chain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.configure(monkeypatch, survival_time=3600)
    chain.publish("ingest", "p1", "p2")
    chain.tick()
    queued, deferred = chain.take("cleaning", "p1"), chain.take("cleaning", "p2")
    assert chain.run(deferred) == 200
    assert chain.defer(deferred) == 204
    cord = chain.pull("orders", "p1", "p2")
    assert chain.run(queued) == 404
    chain.release(cord, "false_alarm")
    assert chain.play() == ONCE | {(name, "p2"): 1 for name, _ in ONCE}


def publisher_with_more() -> DAG:
    """``load`` publishes orders, ``check`` follows it, ``archive`` has nothing to do with it."""
    with DAG("ingest", schedule=PartitionedAtRuntime()) as dag:
        Step(task_id="load", outlets=[ORDERS]) >> Step(task_id="check")
        Step(task_id="archive")
    return dag


def test_a_later_task_of_the_publishing_run_is_parked_and_let_go(world: World) -> None:
    world.add(publisher_with_more(), consumer("cleaning", ORDERS, CLEAN))
    run_id = world.trigger("ingest", "p1")
    world.tick()
    assert world.run(world_archive := world.take("ingest", run_id, "archive")) == 200
    assert world.work(world.take("ingest", run_id, "load"))
    cord = world.pull("orders", "p1")
    world.tick()
    assert world.states("ingest", run_id) == {"load": "success", "check": "deferred", "archive": "running"}
    assert world.heartbeat(world_archive) == 204, "what does not read goes on"
    world.timers()
    assert world.play(but=["cleaning"]) == {}
    world.clear("ingest", run_id, "check")
    world.tick()
    assert world.states("ingest", run_id)["check"] == "deferred", "a clear does not escape"
    assert world.succeed(world_archive) == 204
    world.play()
    world.release(cord, "false_alarm")
    assert world.play() == {("ingest.check", "p1"): 1, ("cleaning.work", "p1"): 1}
    assert world.dag_run("ingest", run_id).state == "success"


@pytest.mark.parametrize("outcome", ["false_alarm", "fixed"])
def test_a_later_task_that_runs_is_stopped_and_nothing_else(world: World, outcome: str) -> None:
    world.add(publisher_with_more(), consumer("cleaning", ORDERS, CLEAN))
    run_id = world.trigger("ingest", "p1")
    world.tick()
    assert world.work(world.take("ingest", run_id, "load"))
    archive = world.take("ingest", run_id, "archive")
    assert world.run(archive) == 200
    world.tick()
    check = world.take("ingest", run_id, "check")
    assert world.run(check) == 200
    cord = world.pull("orders", "p1")
    assert world.succeed(check) == 404
    assert world.heartbeat(archive) == 204
    assert world.succeed(archive) == 204
    assert world.play() == {}
    world.release(cord, outcome)
    assert world.play() == {("ingest.check", "p1"): 1, ("cleaning.work", "p1"): 1}
    assert world.dag_run("ingest", run_id).state == "success"


def test_the_publishing_run_repairs_itself_with_what_follows(world: World) -> None:
    world.add(publisher_with_more(), consumer("cleaning", ORDERS, CLEAN))
    world.trigger("ingest", "p1")
    world.play()
    cord = world.pull("orders", "p1")
    world.repair(cord)
    assert world.play() == {
        ("ingest.load", "p1"): 1,
        ("ingest.check", "p1"): 1,
        ("cleaning.work", "p1"): 1,
    }
    assert world.halted() == set()


def test_a_reader_with_two_tasks_runs_again_from_what_read(world: World) -> None:
    """A task that finished before the pull saw the bad version; what had not started saw nothing."""
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN, tasks=["read", "write"]))
    world.publish("ingest", "p1")
    world.tick()
    assert world.work(world.take("cleaning", "p1", "read"))
    world.tick()
    cord = world.pull("orders", "p1")
    assert world.play() == {}
    assert {"held", "tainted"} <= world.labels("cleaning", "p1")
    world.release(cord, "fixed")
    assert world.play() == {("cleaning.read", "p1"): 1, ("cleaning.write", "p1"): 1}
    assert world.dag_run("cleaning", "p1").state == "success"


def test_teardowns_of_killed_tasks_finish(world: World) -> None:
    from airflow.sdk import PartitionedAssetTimetable

    with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
        setup = Step(task_id="setup").as_setup()
        teardown = Step(task_id="teardown").as_teardown(setups=setup)
        setup >> Step(task_id="work", outlets=[CLEAN]) >> teardown
    world.add(producer("ingest", ORDERS), dag)
    world.publish("ingest", "p1")
    world.tick()
    assert world.work(world.take("cleaning", "p1", "setup"))
    world.tick()
    work = world.take("cleaning", "p1", "work")
    assert world.run(work) == 200
    assert world.succeed(work) == 204
    world.tick()
    teardown_work = world.take("cleaning", "p1", "teardown")
    assert world.run(teardown_work) == 200
    cord = world.pull("orders", "p1")
    assert world.succeed(teardown_work) == 204, "a teardown is not killed"
    assert world.play() == {}
    world.release(cord, "fixed")
    assert world.play() == {
        ("cleaning.setup", "p1"): 1,
        ("cleaning.work", "p1"): 1,
        ("cleaning.teardown", "p1"): 1,
    }


def test_a_task_that_reads_two_bad_partitions_waits_for_both(world: World) -> None:
    world.add(
        producer("ingest", ORDERS),
        producer("bank", RATES),
        consumer("joining", ORDERS & RATES, CLEAN),
        consumer("reporting", CLEAN, REPORT),
    )
    world.publish("ingest", "p1")
    world.publish("bank", "p1")
    world.tick()
    work = world.take("joining", "p1")
    assert world.run(work) == 200
    orders, rates = world.pull("orders", "p1"), world.pull("rates", "p1")
    assert world.succeed(work) == 404
    world.release(orders, "false_alarm")
    assert world.play() == {}
    world.release(rates, "false_alarm")
    assert world.play() == {("joining.work", "p1"): 1, ("reporting.work", "p1"): 1}


def test_what_a_task_was_writing_under_keys_of_its_own_choice_is_whole_once_it_has_published(
    world: World,
) -> None:
    """Which partitions it had begun is not known: the asset as a whole is half written until then."""
    with DAG("splitting", schedule=PartitionedAtRuntime()) as splitting:
        Step(task_id="split", inlets=[ORDERS], outlets=[CLEAN])
    world.add(producer("ingest", ORDERS), splitting)
    world.publish("ingest", "p1")
    run_id = world.trigger("splitting")
    world.tick()
    work = world.take("splitting", run_id)
    assert world.run(work) == 200
    cord = world.pull("orders", "p1")
    assert world.succeed(work, keys=["a", "b"]) == 404
    world.executor.ended(work, TaskInstanceState.FAILED)
    assert ("clean", None) in world.halted()
    world.release(cord, "false_alarm")
    world.tick()
    again = world.take("splitting", run_id)
    assert world.run(again) == 200
    assert world.succeed(again, keys=["a", "b"]) == 204
    sweep.sweep()
    assert world.halted() == set()
