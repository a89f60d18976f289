"""Every way in which a partition is published: what a tainted run published is halted, whichever it was."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest
from airflow.models.asset import AssetModel
from airflow.models.trigger import Trigger
from airflow.providers.standard.triggers.file import FileDeleteTrigger
from airflow.sdk import DAG, Asset, AssetAlias, AssetWatcher, PartitionedAssetTimetable, PartitionedAtRuntime
from airflow.triggers.base import TriggerEvent
from sqlalchemy import select

from tests.integration import doors
from tests.integration.dags import CLEAN, ORDERS, Step, consumer, producer

if TYPE_CHECKING:
    from typing import Any

    from tests.integration.world import Work, World


def succeed(world: World, work: Work, outlets: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    """Report success with what the worker says of its outlets, as the Task SDK does."""
    assert world._state(work, "success", end_date=_now(), task_outlets=outlets, outlet_events=events) == 204
    world.done.append((work.name, world.key_of(work)))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


def cleaning(*outlets: Any) -> DAG:
    with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
        Step(task_id="work", outlets=list(outlets))
    return dag


def through_an_alias(world: World, work: Work) -> None:
    succeed(
        world,
        work,
        [{"name": "outgoing", "uri": None, "type": "AssetAlias"}],
        [
            {
                "source_alias_name": "outgoing",
                "dest_asset_key": {"name": "clean", "uri": "clean"},
                "dest_asset_extra": {},
                "extra": {},
            }
        ],
    )


def by_name(world: World, work: Work) -> None:
    succeed(world, work, [{"name": "clean", "uri": None, "type": "AssetNameRef"}], [])


def by_uri(world: World, work: Work) -> None:
    succeed(world, work, [{"name": None, "uri": "clean", "type": "AssetUriRef"}], [])


WAYS = {
    "alias": (AssetAlias("outgoing"), through_an_alias),
    "name": (Asset.ref(name="clean"), by_name),
    "uri": (Asset.ref(uri="clean"), by_uri),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_task_that_names_its_outlet_otherwise(world: World, way: str) -> None:
    """The outlet is known as such only from the event."""
    outlet, publish = WAYS[way]
    world.add(
        producer("ingest", ORDERS), cleaning(outlet), consumer("reporting", CLEAN), producer("by_hand", CLEAN)
    )
    world.publish("ingest", "p1")
    world.tick()
    work = world.take("cleaning", "p1")
    assert world.run(work) == 200
    publish(world, work)
    world.create_runs()
    cord = world.pull("orders", "p1")
    assert world.halted() == {("orders", "p1"), ("clean", "p1")}
    assert world.play() == {}
    assert world.is_held("reporting", "p1")
    world.release(cord, "fixed")
    world.tick()
    work = world.take("cleaning", "p1")
    assert world.run(work) == 200
    publish(world, work)
    assert world.play() == {("reporting.work", "p1"): 1}
    assert world.halted() == set()


@pytest.mark.parametrize("way", WAYS)
def test_a_manual_run_reads_what_was_published_so(world: World, way: str) -> None:
    outlet, publish = WAYS[way]
    world.add(
        producer("ingest", ORDERS), cleaning(outlet), consumer("reporting", CLEAN), producer("by_hand", CLEAN)
    )
    world.publish("ingest", "p1")
    world.tick()
    work = world.take("cleaning", "p1")
    assert world.run(work) == 200
    publish(world, work)
    world.play()
    world.pull("orders", "p1")
    run_id = world.trigger("reporting", "p1")
    assert world.play() == {}
    assert world.is_held("reporting", run_id)


def test_what_follows_a_task_that_published_through_an_alias_reads_it(world: World) -> None:
    with DAG("ingest", schedule=PartitionedAtRuntime()) as dag:
        Step(task_id="load", outlets=[AssetAlias("outgoing")]) >> Step(task_id="after")
        Step(task_id="other")
    world.add(dag, producer("by_hand", CLEAN))
    world.trigger("ingest", "p1")
    world.tick()
    work = world.take("ingest", "p1", "load")
    assert world.run(work) == 200
    through_an_alias(world, work)
    world.pull("clean", "p1")
    assert world.play() == {("ingest.other", "p1"): 1}
    world.clear("ingest", "p1", "after")
    assert world.play(sweeping=False) == {}


def test_a_key_that_a_task_chose_at_run_time(chain: World) -> None:
    """``outlet_events[...]`` with a partition key other than the run's."""
    chain.publish("ingest", "p1")
    chain.tick()
    work = chain.take("cleaning", "p1")
    assert chain.run(work) == 200
    assert chain.succeed(work, keys=["q1", "q2"]) == 204
    chain.create_runs()
    chain.pull("orders", "p1")
    assert chain.halted() == {("orders", "p1"), ("clean", "q1"), ("clean", "q2")}
    assert chain.play() == {}
    assert chain.is_held("reporting", "q1")
    assert chain.is_held("reporting", "q2")


class TestWithoutATask:
    @pytest.mark.parametrize("halted", [True, False], ids=["halted", "free"])
    def test_an_event_from_the_rest_api(self, chain: World, halted: bool) -> None:
        if halted:
            chain.publish_from_outside("orders", "p1")
            chain.create_runs()
            cord = chain.pull("orders", "p1")
        with chain._session() as session:
            orders = session.scalar(select(AssetModel.id).where(AssetModel.name == "orders"))
        doors.rest("POST", "assets/events", json={"asset_id": orders, "partition_key": "p1"})
        done = {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}
        if halted:
            assert chain.play() == {}, "what is published under an open cord is presumed bad"
            chain.release(cord, "fixed")
        assert chain.play() == done

    def test_an_event_of_a_watcher(self, world: World) -> None:
        """A trigger that watches an asset publishes in the triggerer; it cannot name a partition."""
        watched = Asset("orders", watchers=[AssetWatcher(name="w", trigger=FileDeleteTrigger("/nowhere"))])
        with DAG("cleaning", schedule=[watched]) as dag:
            Step(task_id="work")
        world.add(dag)
        world.add(dag)  # only a Dag that is not paused has its assets watched
        watch(world)
        world.create_runs()
        cord = world.pull("orders")
        assert world.play() == {}
        watch(world)
        assert world.events("orders") == 2
        assert world.play() == {}, "what is published under an open cord is presumed bad"
        world.release(cord, "fixed")
        assert world.play() == {("cleaning.work", None): 1}


def watch(world: World) -> None:
    """Let the trigger that watches the asset see something."""
    with world._session() as session:
        trigger_id = session.scalars(select(Trigger.id)).one()
        Trigger.submit_event(trigger_id, TriggerEvent({}), session=session)
