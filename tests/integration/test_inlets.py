"""Tasks that have an asset as an inlet: no event says that they read it, and yet they do (trap 20)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset, AssetAlias, DayWindow, FanOutMapper, StartOfDayMapper
from airflow.utils.types import DagRunType

from airflow_lean_provider.assets import inlet
from tests.integration.dags import CLEAN, ORDERS, RATES, REPORT, Step, consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World

DAY = "2026-06-14"


def reader(dag_id: str, inlets: Any, *outlets: Asset, schedule: Any = None, **options: Any) -> DAG:
    """A Dag with a task before, the reading task, one that follows it, and one beside them."""
    with DAG(dag_id, schedule=schedule, **options) as dag:
        before, read, after = (
            Step(task_id="before"),
            Step(task_id="read", inlets=inlets),
            Step(task_id="after"),
        )
        before >> read >> after
        Step(task_id="beside")
        if outlets:
            after.outlets = list(outlets)
    return dag


def test_what_reads_and_what_follows_it_is_parked_and_the_rest_goes_on(world: World) -> None:
    """A task with the asset as an inlet, and what follows it."""
    world.add(producer("ingest", ORDERS), reader("nightly", [ORDERS]))
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    run_id = world.trigger("nightly")
    assert world.play() == {("nightly.before", None): 1, ("nightly.beside", None): 1}
    assert world.labels("nightly", run_id) == {"held"}
    world.release(cord, "false_alarm")
    assert world.play() == {("nightly.read", None): 1, ("nightly.after", None): 1}


def test_a_reading_task_that_runs_is_stopped_and_runs_again_after_the_fix(world: World) -> None:
    world.add(producer("ingest", ORDERS), reader("nightly", [ORDERS]))
    world.publish("ingest", "p1")
    run_id = world.trigger("nightly")
    world.play(but=["nightly"])
    for task_id in ("before", "beside"):
        assert world.work(world.take("nightly", run_id, task_id))
    world.tick()
    read = world.take("nightly", run_id, "read")
    assert world.run(read) == 200
    cord = world.pull("orders", "p1")
    assert world.heartbeat(read) == 410
    assert world.succeed(read) == 404
    world.executor.ended(read, "failed")
    assert world.play() == {}
    world.release(cord, "fixed", forced=True)
    assert world.play() == {("nightly.read", None): 1, ("nightly.after", None): 1}


@pytest.mark.parametrize("named", [ORDERS, Asset.ref(name="orders"), Asset.ref(uri="orders")])
def test_mapped_instances_read_their_inlets_too(world: World, named: Any) -> None:
    """Airflow leaves the inlets of a mapped task as they were serialized; the start check must know them."""
    with DAG("nightly", schedule=None) as nightly:
        Step.partial(task_id="read", inlets=[named]).expand(value=[1, 2])
    world.add(producer("ingest", ORDERS), nightly)
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    world.trigger("nightly")
    assert world.play() == {}
    world.release(cord, "false_alarm")
    assert world.play() == {("nightly.read[0]", None): 1, ("nightly.read[1]", None): 1}


def test_mapped_instances_read_what_is_declared(world: World) -> None:
    with DAG("nightly", schedule=None) as nightly:
        inlets = inlet(ORDERS, reads=StartOfDayMapper())
        Step.partial(task_id="read", inlets=inlets).expand(value=[1, 2])
    world.add(producer("ingest", ORDERS), nightly)
    world.publish("ingest", DAY, "p1")
    world.pull("orders", "p1")
    world.trigger("nightly", logical_date=f"{DAY}T00:00:00+00:00")
    assert world.play() == {("nightly.read[0]", None): 1, ("nightly.read[1]", None): 1}


def test_a_run_that_has_read_is_repaired_from_the_reading_task_on(world: World) -> None:
    world.add(producer("ingest", ORDERS), reader("nightly", [ORDERS], REPORT), consumer("mailing", REPORT))
    world.publish("ingest", "p1")
    run_id = world.trigger("nightly")
    world.play()
    cord = world.pull("orders", "p1")
    assert world.labels("nightly", run_id) == {"tainted"}
    assert ("report", None) in world.halted()
    world.repair(cord)
    assert world.play() == {
        ("ingest.load", "p1"): 1,
        ("nightly.read", None): 1,
        ("nightly.after", None): 1,
    }
    assert world.halted() == set()


def test_without_a_declaration_the_runs_own_key_counts_if_it_was_ever_published(world: World) -> None:
    """Without a declaration the run's own key if exactly that key was ever published for the asset."""
    dag = consumer("joining", RATES, CLEAN)
    dag.get_task("work").inlets = [ORDERS]
    world.add(producer("ingest", ORDERS), producer("bank", RATES), dag)
    world.publish("ingest", "p1", "p2")
    world.pull("orders", "p1")
    world.publish("bank", "p1", "p2")
    assert world.play() == {("joining.work", "p2"): 1}
    assert world.is_held("joining", "p1")


def test_else_every_partition_counts_and_the_preview_says_that_this_is_in_doubt(world: World) -> None:
    """Else every partition of it (held in doubt)."""
    dag = consumer("joining", RATES, CLEAN)
    dag.get_task("work").inlets = [ORDERS]
    world.add(producer("ingest", ORDERS), producer("bank", RATES), dag)
    world.publish("ingest", "p1")
    world.publish("bank", "other")
    world.tick()
    world.pull("orders", "p1")
    assert world.play() == {}
    assert world.is_held("joining", "other")


@pytest.mark.parametrize(
    ("reads", "held"),
    [
        (StartOfDayMapper(input_format="%Y-%m-%dT%H", output_format="%Y-%m-%d"), True),
        (StartOfDayMapper(input_format="%Y-%m-%dT%H", output_format="%Y/%m/%d"), False),
    ],
)
def test_the_declared_keys_are_what_is_read(world: World, reads: Any, held: bool) -> None:
    """The keys that the author declares for the inlet (``reads=``: a mapper from the run's key)."""
    dag = consumer("hourly", RATES, CLEAN)
    dag.get_task("work").inlets = inlet(ORDERS, reads=reads)
    world.add(producer("ingest", ORDERS), producer("bank", RATES), dag)
    world.publish("ingest", DAY)
    world.publish("bank", f"{DAY}T05")
    world.tick()
    world.pull("orders", DAY)
    assert world.is_held("hourly", f"{DAY}T05") is held


def test_a_declaration_can_name_many_keys(world: World) -> None:
    dag = consumer("daily_job", RATES, CLEAN)
    dag.get_task("work").inlets = inlet(
        ORDERS,
        reads=FanOutMapper(
            upstream_mapper=StartOfDayMapper(input_format="%Y-%m-%d", output_format="%Y-%m-%dT%H"),
            window=DayWindow(),
        ),
    )
    world.add(producer("ingest", ORDERS), producer("bank", RATES), dag)
    world.publish("ingest", f"{DAY}T05", "2026-06-15T05")
    world.publish("bank", DAY, "2026-06-15")
    world.tick()
    world.pull("orders", f"{DAY}T05")
    assert world.is_held("daily_job", DAY)
    assert not world.is_held("daily_job", "2026-06-15")


def test_the_interval_of_a_cron_run_stands_for_its_key(world: World) -> None:
    """``reads=``: a mapper from the run's interval."""
    reads = StartOfDayMapper(output_format="%Y-%m-%d")
    world.add(producer("ingest", ORDERS), reader("nightly", inlet(ORDERS, reads=reads)))
    world.publish("ingest", DAY)
    world.pull("orders", DAY)
    ids = {
        day: world.trigger("nightly", logical_date=day, run_type=DagRunType.SCHEDULED)
        for day in ("2026-06-14T00:00:00+00:00", "2026-06-15T00:00:00+00:00")
    }
    world.play()
    states = {day: world.states("nightly", run_id)["read"] for day, run_id in ids.items()}
    assert states == {"2026-06-14T00:00:00+00:00": "deferred", "2026-06-15T00:00:00+00:00": "success"}


@pytest.mark.parametrize("port", [Asset.ref(name="orders"), Asset.ref(uri="orders")])
def test_an_inlet_by_reference_is_held_at_its_start(world: World, port: Any) -> None:
    world.add(producer("ingest", ORDERS), reader("nightly", [port]))
    world.publish("ingest", "p1")
    world.pull("orders", "p1")
    run_id = world.trigger("nightly")
    world.play()
    assert world.states("nightly", run_id)["read"] == "deferred"


@pytest.mark.parametrize("port", [Asset.ref(name="orders"), Asset.ref(uri="orders"), AssetAlias("sales")])
def test_an_inlet_by_reference_is_found_by_the_pull(world: World, port: Any) -> None:
    world.add(producer("ingest", ORDERS), reader("nightly", [port]))
    world.publish("ingest", "p1")
    world.associate("sales", "orders")
    run_id = world.trigger("nightly")
    world.tick()
    for task_id in ("before", "beside"):
        world.work(world.take("nightly", run_id, task_id))
    world.tick()
    read = world.take("nightly", run_id, "read")
    world.pull("orders", "p1")
    assert world.run(read) == 404


def test_a_mapper_that_cannot_say_what_is_read_counts_as_all(world: World) -> None:
    dag = consumer("hourly", RATES, CLEAN)
    dag.get_task("work").inlets = inlet(ORDERS, reads=StartOfDayMapper(input_format="%Y-%m-%dT%H"))
    world.add(producer("ingest", ORDERS), producer("bank", RATES), dag)
    world.publish("ingest", "p1")
    world.publish("bank", "no date")
    world.tick()
    world.pull("orders", "p1")
    assert world.is_held("hourly", "no date")
