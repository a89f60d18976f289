"""What a person marks or deletes is held no longer, is on the record, and no release undoes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.asset import AssetModel
from airflow.models.log import Log
from airflow.sdk import DAG, PartitionedAtRuntime
from sqlalchemy import select

from airflow_lean_provider.brake import sweep
from airflow_lean_provider.brake.report import of_cord
from airflow_lean_provider.store.models import AffectedRun, ParkedTask
from tests.integration import doors
from tests.integration.dags import ORDERS, RATES, REPORT, Step, the_chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.world import World

SITUATIONS = ("held", "held at its start", "stopped", "tainted")


def bring(world: World, situation: str) -> int:
    """Bring the run of ``cleaning`` for p1 into the situation; return the cord."""
    world.publish("ingest", "p1")
    if situation == "tainted":
        world.play(but=["reporting"])
        return world.pull("orders", "p1")
    if situation == "held at its start":
        world.create_runs()
        cord = world.pull("orders", "p1")
        assert world.play() == {}
        return cord
    world.tick()
    if situation == "stopped":
        assert world.run(world.take("cleaning", "p1")) == 200
    return world.pull("orders", "p1")


def path(world: World, dag_id: str, what: str = "") -> str:
    return f"dags/{dag_id}/dagRuns/{world.dag_run(dag_id, 'p1').run_id}{what}"


def on_the_record(world: World, event: str) -> int:
    with world._session() as session:
        return len(session.scalars(select(Log.id).where(Log.event == event, Log.owner.is_not(None))).all())


def by_run(world: World, state: str) -> None:
    doors.rest("PATCH", path(world, "cleaning"), json={"state": state})
    assert on_the_record(world, "patch_dag_run") == 1


def in_bulk(world: World, state: str) -> None:
    body = {"dag_run_id": world.dag_run("cleaning", "p1").run_id, "state": state}
    answer = doors.rest(
        "PATCH",
        "dags/cleaning/dagRuns",
        json={"actions": [{"action": "update", "entities": [body]}]},
    )
    assert answer["update"]["errors"] == []
    assert on_the_record(world, "bulk_dag_runs") == 1


@pytest.mark.parametrize("mark", [by_run, in_bulk])
@pytest.mark.parametrize("state", ["success", "failed"])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_marked_run(chain: World, situation: str, state: str, mark: Any) -> None:
    cord = bring(chain, situation)
    mark(chain, state)
    assert chain.play() == {}
    assert chain.dag_run("cleaning", "p1").state == state
    assert "held" not in chain.labels("cleaning", "p1")
    chain.release(cord, "fixed")
    assert chain.play()["cleaning.work", "p1"] == 0
    assert chain.dag_run("cleaning", "p1").state == state
    assert chain.dag_run("cleaning", "p1").run_after.year < 2037
    if situation in ("stopped", "tainted"):
        assert chain.halted() >= {("clean", "p1")}, "what it wrote is bad until somebody says otherwise"
    else:
        assert chain.halted() == set()


@pytest.mark.parametrize("mark", [by_run, in_bulk])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_marked_run_absorbs_nothing(chain: World, situation: str, mark: Any) -> None:
    """Not even what is published before anybody else has looked: nobody would ever read that."""
    cord = bring(chain, situation)
    mark(chain, "success")
    chain.publish_from_outside("orders", "p1")
    assert ("cleaning", "p1") in chain.pending()
    chain.play()
    chain.release(cord, "fixed")
    assert chain.play()["cleaning.work", "p1"] == 1
    assert len(chain.runs("cleaning", "p1")) == 2


def test_what_read_while_a_run_wrote_owes_though_that_run_is_deleted(chain: World) -> None:
    """With the run goes when its version began: the brake has kept that."""
    with DAG("nightly", schedule=None) as nightly:
        Step(task_id="read", inlets=[ORDERS])
    chain.add(*the_chain(), nightly)
    chain.trigger("ingest", "p1")
    chain.tick()
    writes = chain.take("ingest", "p1")
    assert chain.run(writes) == 200
    run_id = chain.trigger("nightly")
    chain.tick()
    reads = chain.take("nightly", run_id)
    assert chain.run(reads) == 200
    assert chain.succeed(reads) == 204
    assert chain.succeed(writes) == 204
    chain.tick()
    cord = chain.pull("orders", "p1")
    assert "tainted" in chain.labels("nightly", run_id)
    doors.rest("DELETE", path(chain, "ingest"), expect=204)
    chain.release(cord, "fixed")
    assert chain.play()["nightly.read", None] == 1


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_deleted_run(chain: World, situation: str, bulk: bool) -> None:
    cord = bring(chain, situation)
    if bulk:
        run_id = chain.dag_run("cleaning", "p1").run_id
        answer = doors.rest(
            "PATCH",
            "dags/cleaning/dagRuns",
            json={"actions": [{"action": "delete", "entities": [{"dag_run_id": run_id}]}]},
        )
        assert answer["delete"]["errors"] == []
    else:
        doors.rest("DELETE", path(chain, "cleaning"), expect=204)
    assert on_the_record(chain, "bulk_dag_runs" if bulk else "delete_dag_run") == 1
    assert chain.play() == {}
    chain.release(cord, "fixed")
    chain.play()
    assert chain.runs("cleaning") == []
    assert [
        r["run_id"] for r in chain.rows(AffectedRun)["lean_affected_run"] if r["dag_id"] == "cleaning"
    ] == []
    if situation in ("stopped", "tainted"):
        assert chain.halted() >= {("clean", "p1")}
    else:
        assert chain.halted() == set()


class TestAParkedTask:
    """``after`` reads what ``load`` of the same run published; ``last`` follows it; ``other`` goes on."""

    @pytest.fixture
    def parking(self, world: World) -> World:
        with DAG("ingest", schedule=PartitionedAtRuntime()) as dag:
            Step(task_id="load", outlets=[ORDERS]) >> Step(task_id="after") >> Step(task_id="last")
            Step(task_id="other")
        world.add(dag)
        world.trigger("ingest", "p1")
        world.tick()
        assert world.work(world.take("ingest", "p1", "load"))
        world.tick()
        return world

    @pytest.mark.parametrize("bulk", [False, True])
    @pytest.mark.parametrize("state", ["success", "failed", "skipped"])
    def test_marked(self, parking: World, state: str, bulk: bool) -> None:
        cord = parking.pull("orders", "p1")
        assert parking.states("ingest", "p1")["after"] == "deferred"
        if bulk:
            answer = doors.rest(
                "PATCH",
                path(parking, "ingest", "/taskInstances"),
                json={
                    "actions": [{"action": "update", "entities": [{"task_id": "after", "new_state": state}]}]
                },
            )
            assert answer["update"]["errors"] == []
        else:
            doors.rest("PATCH", path(parking, "ingest", "/taskInstances/after"), json={"new_state": state})
        assert on_the_record(parking, "patch_task_instance") == (0 if bulk else 1)
        assert parking.play() == {("ingest.other", "p1"): 1}, "what follows it reads the partition, too"
        assert parking.states("ingest", "p1")["after"] == state
        assert on_the_record(parking, "andon release") == 1, "Airflow writes nothing down of several at once"
        assert [r["task_id"] for r in parking.rows(ParkedTask)["lean_parked_task"]] == ["last"]
        parking.release(cord, "fixed")
        done = parking.play()
        assert done["ingest.after", "p1"] == 0
        assert parking.states("ingest", "p1")["after"] == state
        assert done["ingest.last", "p1"] == (1 if state == "success" else 0)

    def test_deleted(self, parking: World) -> None:
        cord = parking.pull("orders", "p1")
        doors.rest("DELETE", path(parking, "ingest", "/taskInstances/after"))
        parking.play()
        assert on_the_record(parking, "andon release") == 1, "Airflow itself does not write this down"
        parking.release(cord, "fixed")
        parking.play()
        assert "after" not in parking.states("ingest", "p1")
        assert parking.rows(ParkedTask)["lean_parked_task"] == []

    @pytest.mark.parametrize("state", ["success", "failed"])
    def test_its_run_is_marked(self, parking: World, state: str) -> None:
        cord = parking.pull("orders", "p1")
        doors.rest("PATCH", path(parking, "ingest"), json={"state": state})
        assert parking.play() == {}
        assert parking.dag_run("ingest", "p1").state == state
        parking.release(cord, "fixed")
        assert parking.play() == {}
        assert parking.dag_run("ingest", "p1").state == state
        assert parking.rows(ParkedTask, AffectedRun) == {"lean_parked_task": [], "lean_affected_run": []}

    def test_its_run_is_queued_again(self, parking: World) -> None:
        """It starts again, and is asked again; nothing is lost by it."""
        cord = parking.pull("orders", "p1")
        doors.rest("PATCH", path(parking, "ingest"), json={"state": "queued"})
        assert parking.play() == {("ingest.other", "p1"): 1}
        parking.release(cord, "false_alarm")
        assert parking.play() == {("ingest.after", "p1"): 1, ("ingest.last", "p1"): 1}
        assert parking.dag_run("ingest", "p1").state == "success"

    def test_its_run_is_deleted(self, parking: World) -> None:
        cord = parking.pull("orders", "p1")
        doors.rest("PATCH", path(parking, "ingest"), json={"state": "failed"})
        doors.rest("DELETE", path(parking, "ingest"), expect=204)
        parking.play()
        parking.release(cord, "fixed")
        parking.play()
        assert parking.rows(ParkedTask, AffectedRun) == {"lean_parked_task": [], "lean_affected_run": []}


@pytest.mark.parametrize(
    ("situation", "state"),
    [
        (situation, state)
        for situation in SITUATIONS
        for state in ("success", "failed", "skipped")
        if (situation, state) != ("tainted", "success")  # it is one, and Airflow refuses to mark it
    ],
)
@pytest.mark.parametrize("bulk", [False, True])
def test_a_marked_task(chain: World, situation: str, state: str, bulk: bool) -> None:
    cord = bring(chain, situation)
    if bulk:
        marked = {"task_id": "work", "new_state": state}
        doors.rest(
            "PATCH",
            path(chain, "cleaning", "/taskInstances"),
            json={"actions": [{"action": "update", "entities": [marked]}]},
        )
    else:
        doors.rest("PATCH", path(chain, "cleaning", "/taskInstances/work"), json={"new_state": state})
        assert on_the_record(chain, "patch_task_instance") == 1
    assert chain.play() == {}
    chain.release(cord, "fixed")
    assert chain.play()["cleaning.work", "p1"] == 0
    assert chain.states("cleaning", "p1") == {"work": state}
    assert chain.dag_run("cleaning", "p1").run_after.year < 2037


@pytest.mark.parametrize("situation", ["held", "held at its start", "stopped"])
@pytest.mark.parametrize("state", ["success", "failed"])
def test_a_held_run_all_of_whose_tasks_are_marked_ends(chain: World, situation: str, state: str) -> None:
    """While the cord is open: nothing is left that could read. What is published then makes a run."""
    cord = bring(chain, situation)
    doors.rest("PATCH", path(chain, "cleaning", "/taskInstances/work"), json={"new_state": state})
    assert chain.play() == {}
    assert chain.dag_run("cleaning", "p1").state == state
    chain.publish("ingest", "p1")
    chain.release(cord, "fixed")
    assert chain.play()["cleaning.work", "p1"] == 1
    assert len(chain.runs("cleaning", "p1")) == 2


@pytest.mark.parametrize("situation", ["held", "held at its start", "stopped"])
def test_what_is_published_just_after_a_mark_is_not_lost(chain: World, situation: str) -> None:
    """Nobody has looked since: it is absorbed into the run that a person has ended, and given back."""
    cord = bring(chain, situation)
    doors.rest("PATCH", path(chain, "cleaning", "/taskInstances/work"), json={"new_state": "success"})
    chain.publish("ingest", "p1")
    chain.release(cord, "fixed")
    assert chain.play()["cleaning.work", "p1"] == 1


@pytest.fixture
def two_steps(world: World) -> World:
    """Both have read what is bad."""
    from airflow.sdk import PartitionedAssetTimetable

    from tests.integration.dags import producer

    with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
        Step(task_id="first") >> Step(task_id="second")
    world.add(producer("ingest", ORDERS), dag)
    world.publish("ingest", "p1")
    world.play()
    return world


@pytest.mark.parametrize("state", ["failed", "skipped"])
def test_what_follows_a_marked_task_does_not_run_again(two_steps: World, state: str) -> None:
    """Cleared, it would fail or be skipped for the marked one."""
    cord = two_steps.pull("orders", "p1")
    doors.rest("PATCH", path(two_steps, "cleaning", "/taskInstances/first"), json={"new_state": state})
    two_steps.release(cord, "fixed")
    assert two_steps.play() == {}
    assert two_steps.states("cleaning", "p1") == {"first": state, "second": "success"}


def test_a_mark_that_is_taken_back(two_steps: World) -> None:
    """The state is again what the worker had told."""
    cord = two_steps.pull("orders", "p1")
    for state in ("failed", "success"):
        doors.rest("PATCH", path(two_steps, "cleaning", "/taskInstances/first"), json={"new_state": state})
    two_steps.release(cord, "fixed")
    assert two_steps.play() == {("cleaning.first", "p1"): 1, ("cleaning.second", "p1"): 1}


@pytest.mark.parametrize("state", ["success", "running"])
def test_a_mark_that_airflow_refuses_is_none(chain: World, state: str) -> None:
    """Airflow writes it into its audit log all the same."""
    cord = bring(chain, "tainted")
    doors.rest(
        "PATCH",
        path(chain, "cleaning", "/taskInstances/work"),
        json={"new_state": state},
        expect=409 if state == "success" else 422,
    )
    assert on_the_record(chain, "patch_task_instance") == 1
    chain.release(cord, "fixed")
    assert chain.play()["cleaning.work", "p1"] == 1


def test_a_marked_task_group(world: World) -> None:
    from airflow.sdk import TaskGroup

    with DAG("ingest", schedule=PartitionedAtRuntime()) as dag:
        load = Step(task_id="load", outlets=[ORDERS])
        with TaskGroup("checks") as checks:
            Step(task_id="one")
            Step(task_id="two")
        load >> checks
        Step(task_id="other")
    world.add(dag)
    world.trigger("ingest", "p1")
    world.tick()
    assert world.work(world.take("ingest", "p1", "load"))
    cord = world.pull("orders", "p1")
    doors.rest("PATCH", path(world, "ingest", "/taskGroupInstances/checks"), json={"new_state": "skipped"})
    assert world.play() == {("ingest.other", "p1"): 1}
    world.release(cord, "fixed")
    assert world.play() == {}
    assert world.states("ingest", "p1")["checks.one"] == "skipped"


def test_a_person_who_clears_a_marked_run_takes_it_back(chain: World) -> None:
    cord = bring(chain, "tainted")
    by_run(chain, "failed")
    chain.clear("cleaning", "p1")
    assert chain.play() == {}
    assert chain.is_held("cleaning", "p1")
    chain.release(cord, "fixed")
    assert chain.play()["cleaning.work", "p1"] == 1


def add_a_consumer_with_a_teardown(world: World) -> None:
    from airflow.sdk import PartitionedAssetTimetable

    from tests.integration.dags import producer

    with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
        setup, work, teardown = Step(task_id="setup"), Step(task_id="work"), Step(task_id="teardown")
        setup >> work >> teardown.as_teardown(setups=setup)
    world.add(producer("ingest", ORDERS), dag)
    world.publish("ingest", "p1")
    world.tick()


def test_a_run_with_a_teardown_that_a_person_marks_before_it_has_begun(world: World) -> None:
    """
    Nothing is set up, and nothing is left but the teardown, which Airflow skips.

    The sweeper let the run go, and the scheduler held it again, in turns; meanwhile it absorbed every event.
    """
    add_a_consumer_with_a_teardown(world)
    cord = world.pull("orders", "p1")
    doors.rest("PATCH", path(world, "cleaning"), json={"state": "failed"})
    assert world.play() == {}
    assert world.dag_run("cleaning", "p1").state in ("failed", "success")
    world.publish("ingest", "p1")
    world.release(cord, "fixed")
    assert world.play()["cleaning.work", "p1"] == 1


def test_a_held_run_with_a_teardown_that_a_person_marks_ends(world: World) -> None:
    """Airflow leaves the run to its teardown, which must come."""
    add_a_consumer_with_a_teardown(world)
    assert world.work(world.take("cleaning", "p1", "setup"))
    world.tick()
    assert world.run(world.take("cleaning", "p1", "work")) == 200
    cord = world.pull("orders", "p1")
    doors.rest("PATCH", path(world, "cleaning"), json={"state": "failed"})
    world.play()
    assert world.dag_run("cleaning", "p1").state in ("failed", "success")
    world.release(cord, "fixed")
    assert world.play() == {}


def nothing_is_left_of(world: World, dag_id: str) -> bool:
    rows = world.rows(AffectedRun, ParkedTask)
    return dag_id not in {row["dag_id"] for some in rows.values() for row in some}


def by_rest(dag_id: str) -> None:
    doors.rest("DELETE", f"dags/{dag_id}", expect=204)


def by_command(dag_id: str) -> None:
    doors.cli("dags", "delete", dag_id, "--yes")


@pytest.mark.parametrize("delete", [by_rest, by_command])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_deleted_dag(chain: World, situation: str, delete: Any) -> None:
    """With all of its runs; what one of them wrote stays bad until somebody says otherwise."""
    cord = bring(chain, situation)
    delete("cleaning")
    assert chain.play() == {}
    assert chain.runs("cleaning") == []
    assert nothing_is_left_of(chain, "cleaning")
    chain.release(cord, "fixed")
    chain.play()
    assert nothing_is_left_of(chain, "cleaning")
    if situation in ("stopped", "tainted"):
        assert chain.halted() >= {("clean", "p1")}
    else:
        assert chain.halted() == set()
        assert of_cord(cord)["state"] == "closed"


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_deleted_dag_of_what_was_pulled(chain: World, situation: str) -> None:
    """Nobody is left who could publish it again; a release lets go what is held all the same."""
    cord = bring(chain, situation)
    doors.rest("DELETE", "dags/ingest", expect=204)
    assert chain.play() == {}
    chain.release(cord, "false_alarm")
    assert chain.play()["cleaning.work", "p1"] == (0 if situation == "tainted" else 1)
    assert chain.halted() == set()
    assert chain.rows(AffectedRun, ParkedTask) == {"lean_affected_run": [], "lean_parked_task": []}
    assert of_cord(cord)["state"] == "closed"


def test_a_deleted_dag_whose_task_is_parked(world: World) -> None:
    with DAG("nightly", schedule=None) as nightly:
        Step(task_id="read", inlets=[ORDERS])
        Step(task_id="other")
    world.add(*the_chain(), nightly)
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    run_id = world.trigger("nightly")
    world.play()
    assert world.states("nightly", run_id)["read"] == "deferred"
    doors.rest("DELETE", "dags/nightly", expect=204)
    world.play()
    assert nothing_is_left_of(world, "nightly")
    world.release(cord, "false_alarm")
    world.play()
    assert of_cord(cord)["state"] == "closed"


class TestTheQueueOfEvents:
    """``exporting`` runs once orders and rates have been published; no partitions."""

    @pytest.fixture(params=["of an asset", "of a Dag", "of an asset for a Dag"])
    def delete(self, world: World, request: pytest.FixtureRequest) -> Callable[..., None]:
        with DAG("exporting", schedule=[ORDERS, RATES]) as dag:
            Step(task_id="work", outlets=[REPORT])
        world.add(dag)

        def ask(*, expect: int) -> None:
            with world._session() as session:
                orders = session.scalar(select(AssetModel.id).where(AssetModel.name == "orders"))
            paths = {
                "of an asset": f"assets/{orders}/queuedEvents",
                "of a Dag": "dags/exporting/assets/queuedEvents",
                "of an asset for a Dag": f"dags/exporting/assets/{orders}/queuedEvents",
            }
            doors.rest("DELETE", paths[request.param], expect=expect)

        return ask

    def test_what_is_queued_makes_no_run(self, world: World, delete: Callable[..., None]) -> None:
        world.publish_from_outside("orders", None)
        cord = world.pull("orders")
        delete(expect=204)
        world.publish_from_outside("rates", None)
        assert world.play() == {}
        assert world.runs("exporting") == []
        world.release(cord, "fixed")
        assert world.play() == {}
        assert world.rows(AffectedRun)["lean_affected_run"] == []
        assert of_cord(cord)["state"] == "closed"

    def test_what_was_absorbed_is_in_no_queue(self, world: World, delete: Callable[..., None]) -> None:
        """What owes reads it, whether or not a person empties the queue."""
        world.publish_from_outside("orders", None)
        world.publish_from_outside("rates", None)
        world.play()
        cord = world.pull("orders")
        run = world.runs("exporting")[0]
        world.publish_from_outside("orders", None)
        sweep.sweep()
        before = world.consumed("exporting", run.run_id)
        assert len(before) == 3
        delete(expect=404)
        assert world.play() == {}
        world.release(cord, "fixed")
        assert world.play() == {("exporting.work", None): 1}
        assert world.consumed("exporting", run.run_id) == before
