"""Dags without partitions, and runs without a key: they read every partition (trap 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset, AssetAlias

from tests.integration.dags import CLEAN, ORDERS, RATES, REPORT, Step, consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World


def as_a_whole(dag_id: str, schedule: Any, *outlets: Asset, **options: Any) -> DAG:
    """A Dag scheduled on assets without partitions: ``first`` and then ``work``, which publishes."""
    with DAG(dag_id, schedule=schedule, **options) as dag:
        Step(task_id="first") >> Step(task_id="work", outlets=list(outlets))
    return dag


def without_key(dag_id: str, *outlets: Asset) -> DAG:
    """A Dag whose runs have no key: what it publishes has none either."""
    with DAG(dag_id, schedule=None) as dag:
        Step(task_id="load", outlets=list(outlets))
    return dag


@pytest.fixture
def world_of_both(world: World) -> World:
    world.add(
        producer("ingest", ORDERS),
        without_key("dump", ORDERS),
        as_a_whole("exporting", [ORDERS], REPORT),
        consumer("cleaning", ORDERS, CLEAN),
    )
    return world


def test_a_run_of_a_dag_without_partitions_reads_every_partition(world_of_both: World) -> None:
    """A Dag scheduled on the asset without partitions ... read every partition."""
    world = world_of_both
    world.publish("ingest", "p1")
    world.publish_from_outside("orders", None)
    world.tick()
    cord = world.pull("orders", "p1")
    run = world.runs("exporting")[-1]
    assert world.play(but=["cleaning"]) == {}
    assert world.labels("exporting", run.run_id) == {"held"}
    assert run.state == "running", "parked inside a running run: the next window begins at its run_after"
    world.release(cord, "false_alarm")
    assert world.play(but=["cleaning"]) == {("exporting.first", None): 1, ("exporting.work", None): 1}


def test_a_release_waits_for_a_run_without_key_that_is_to_publish(world_of_both: World) -> None:
    world = world_of_both
    world.publish_from_outside("orders", None)
    cord = world.pull("orders")
    run = world.trigger("dump")
    world.start_runs()
    world.schedule()
    world.queue()
    work = world.take("dump", run)
    assert world.run(work) == 200
    released = world.release(cord)
    assert "dump.load" in released.waiting[0][1]
    assert world.succeed(work) == 204
    assert world.halted() == set()


def test_a_run_that_an_event_makes_after_the_pull_is_parked_at_its_start(world_of_both: World) -> None:
    world = world_of_both
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    world.publish_from_outside("orders", None)
    assert world.play() == {}
    assert len(world.runs("exporting")) == 1
    world.release(cord, "false_alarm")
    assert world.play(but=["cleaning"])["exporting.work", None] == 1


def test_runs_that_events_of_unpartitioned_assets_made_share_one_key(world_of_both: World) -> None:
    """Runs that events of unpartitioned assets made share one key: the latest pays."""
    world = world_of_both
    world.publish("ingest", "p1")
    for _ in range(3):
        world.publish_from_outside("orders", None)
        world.play()
    assert len(world.runs("exporting")) == 3
    cord = world.pull("orders", "p1")
    world.release(cord, "fixed")
    assert world.play(but=["cleaning"]) == {("exporting.first", None): 1, ("exporting.work", None): 1}


def test_the_next_window_of_events_is_not_read_twice(world_of_both: World) -> None:
    """Airflow begins it at the run_after of the run before, which a hold must leave alone."""
    world = world_of_both
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    world.publish_from_outside("orders", None)
    world.tick()
    world.publish_from_outside("orders", None)
    world.tick()
    first, second = world.runs("exporting")
    assert world.consumed("exporting", first.run_id) == [("orders", "p1"), ("orders", None)]
    assert world.consumed("exporting", second.run_id) == [("orders", None)]

    world.release(cord, "false_alarm")
    world.play()


def test_a_run_of_a_partitioned_dag_without_a_key_reads_every_partition(world: World) -> None:
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN))
    world.publish("ingest", "p1")
    world.play()
    cord = world.pull("orders", "p1")
    run_id = world.trigger("cleaning")
    assert world.play() == {}
    assert world.is_held("cleaning", run_id)
    world.release(cord, "false_alarm")
    assert world.play() == {("cleaning.work", None): 1}


def test_what_a_whole_reader_published_is_bad_as_a_whole(world_of_both: World) -> None:
    world = world_of_both
    world.add(as_a_whole("mailing", [REPORT]))
    world.publish("ingest", "p1")
    world.publish_from_outside("orders", None)
    world.play()
    cord = world.pull("orders", "p1")
    assert ("report", None) in world.halted()
    world.repair(cord)
    done = world.play()
    assert done["exporting.work", None] == 1
    assert done["mailing.work", None] == 1
    assert world.halted() == set()


@pytest.mark.parametrize(
    "schedule", [[AssetAlias("sales")], [Asset.ref(name="orders")], [Asset.ref(uri="orders")]]
)
def test_a_schedule_by_reference_counts(world: World, schedule: Any) -> None:
    world.add(producer("ingest", ORDERS), as_a_whole("exporting", schedule))
    world.publish("ingest", "p1")
    world.associate("sales", "orders")
    world.pull("orders", "p1")
    run_id = world.trigger("exporting")
    assert world.play() == {}
    assert world.labels("exporting", run_id) == {"held"}


def test_another_asset_does_not_concern_it(world: World) -> None:
    world.add(producer("ingest", ORDERS), without_key("dump", RATES), as_a_whole("exporting", [RATES]))
    world.publish("ingest", "p1")
    world.pull("orders", "p1")
    world.trigger("dump")
    assert world.play()["exporting.work", None] == 1
