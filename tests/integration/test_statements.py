"""What a pull costs: statements, against the size of what is and of what is not affected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import DAG, Asset, PartitionedAtRuntime

from tests.integration.counting import counted
from tests.integration.dags import ORDERS, Step, consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World

OF_AIRFLOW_PER_STOPPED_TASK = 3
"""``TaskInstance.prepare_db_for_next_try``: is the try archived, its HITL detail, its reschedules."""


def statements_of_a_pull(world: World, key: str) -> int:
    with counted() as found:
        world.pull("orders", key)
    return found.total()


def test_unaffected_dags_runs_and_assets_cost_nothing(world: World) -> None:
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS))
    world.publish("ingest", "p1", "p2")
    world.tick()
    alone = statements_of_a_pull(world, "p1")
    others = [Asset(f"other{n}") for n in range(15)]
    world.add(
        *(producer(f"makes_{a.name}", a) for a in others), *(consumer(f"reads_{a.name}", a) for a in others)
    )
    for asset in others:
        world.publish(f"makes_{asset.name}", "p2")
    world.publish("ingest", *(f"q{n}" for n in range(15)))
    world.play(but=["cleaning"])
    world.release(1, "false_alarm")
    assert statements_of_a_pull(world, "p2") <= alone


def test_held_runs_are_held_in_the_same_number_of_statements(world: World) -> None:
    readers = [consumer(f"reader{n}", ORDERS) for n in range(12)]
    world.add(producer("ingest", ORDERS), readers[0])
    world.publish("ingest", "p1")
    world.create_runs()
    one = statements_of_a_pull(world, "p1")
    world.release(1, "false_alarm")
    world.play()
    world.add(*readers[1:])
    world.publish("ingest", "p2")
    world.create_runs()
    assert statements_of_a_pull(world, "p2") <= one


def test_parked_tasks_are_parked_and_let_go_in_the_same_number_of_statements(world: World) -> None:
    """What follows the publishing task, in runs that go on."""

    def publisher(dag_id: str, asset: Asset, followers: int) -> DAG:
        with DAG(dag_id, schedule=PartitionedAtRuntime()) as dag:
            load = Step(task_id="load", outlets=[asset])
            for n in range(followers):
                load >> Step(task_id=f"check{n}")
            Step(task_id="archive")
        return dag

    costs = []
    for number, asset in ((1, Asset("few")), (12, Asset("many"))):
        world.add(publisher(asset.name, asset, number))
        run_id = world.trigger(asset.name, "p1")
        world.tick()
        assert world.work(world.take(asset.name, run_id, "load"))
        with counted() as pulling:
            cord = world.pull(asset.name, "p1")
        assert list(world.states(asset.name, run_id).values()).count("deferred") == number
        with counted() as letting_go:
            world.release(cord, "false_alarm")
        costs.append((pulling.total(), letting_go.total()))
        world.play()
    few, many = costs
    assert many[0] <= few[0]
    assert many[1] <= few[1]


def test_a_stopped_task_costs_what_airflow_needs_for_it(world: World) -> None:
    readers = [consumer(f"reader{n}", ORDERS) for n in range(9)]
    world.add(producer("ingest", ORDERS), *readers[:1])
    costs = {}
    for key, dags in (("p1", readers[:1]), ("p2", readers)):
        world.add(*dags)
        world.publish("ingest", key)
        world.create_runs()
        world.tick()
        for dag in dags:
            assert world.run(world.take(dag.dag_id, key)) == 200
        costs[key] = statements_of_a_pull(world, key)
        world.release(len(costs), "false_alarm")
        world.play()
    assert costs["p2"] - costs["p1"] <= OF_AIRFLOW_PER_STOPPED_TASK * 8
