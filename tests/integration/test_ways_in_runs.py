"""Every way in which a run is made, or made to run again: none lets it read a partition that is halted."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from airflow import plugins_manager
from airflow._shared.module_loading import qualname
from airflow.models.asset import AssetAliasModel, AssetModel
from airflow.models.dag import DagModel
from airflow.partition_mappers.base import PartitionMapper
from airflow.sdk import (
    DAG,
    AssetAlias,
    AssetOrTimeSchedule,
    CronPartitionTimetable,
    CronTriggerTimetable,
    PartitionedAssetTimetable,
)
from airflow.utils.types import DagRunType
from sqlalchemy import select

from airflow_lean_provider.brake.report import of_cord
from airflow_lean_provider.store.models import AffectedRun, Cord, ParkedTask
from tests.integration import doors
from tests.integration.dags import CLEAN, ORDERS, Step, consumer, producer, the_chain
from tests.integration.world import execution_api

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.world import World

HOUR = (datetime.now(timezone.utc) - timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
KEY = HOUR.strftime("%Y-%m-%dT%H:%M:%S")
"""The partition of an hour that is over, in the format of ``CronPartitionTimetable``."""


def by_a_person(world: World) -> str:
    made = doors.rest("POST", "dags/cleaning/dagRuns", json={"logical_date": None, "partition_key": KEY})
    return str(made["dag_run_id"])


def by_an_operator(world: World) -> str:
    answer = execution_api().post("/dag-runs/cleaning/child", json={"partition_key": KEY})
    assert answer.status_code == 204, answer.text
    return "child"


def by_an_event(world: World) -> str:
    with world._session() as session:
        orders = session.scalar(select(AssetModel.id).where(AssetModel.name == "orders"))
    doors.rest("POST", "assets/events", json={"asset_id": orders, "partition_key": KEY})
    world.create_runs()
    return str(world.dag_run("cleaning", KEY).run_id)


def by_materializing(world: World) -> str:
    with world._session() as session:
        clean = session.scalar(select(AssetModel.id).where(AssetModel.name == "clean"))
    made = doors.rest("POST", f"assets/{clean}/materialize", json={"partition_key": KEY})
    return str(made["dag_run_id"])


def by_the_clock(world: World) -> str:
    world.create_runs()
    return str(world.dag_run("hourly", KEY).run_id)


def by_a_backfill(world: World) -> str:
    doors.rest(
        "POST",
        "backfills",
        json={"dag_id": "hourly", "from_date": HOUR.isoformat(), "to_date": HOUR.isoformat()},
    )
    return str(world.dag_run("hourly", KEY).run_id)


MAKERS: dict[DagRunType, Callable[[World], str]] = {
    DagRunType.MANUAL: by_a_person,
    DagRunType.OPERATOR_TRIGGERED: by_an_operator,
    DagRunType.ASSET_TRIGGERED: by_an_event,
    DagRunType.ASSET_MATERIALIZATION: by_materializing,
    DagRunType.SCHEDULED: by_the_clock,
    DagRunType.BACKFILL_JOB: by_a_backfill,
}


def hourly(**options: Any) -> DAG:
    """A Dag of the clock whose task names the asset as an inlet, of the same hour."""
    with DAG(
        "hourly",
        schedule=CronPartitionTimetable("0 * * * *", timezone="UTC"),
        **({"start_date": HOUR, "catchup": True} | options),
    ) as dag:
        Step(task_id="work", inlets=[ORDERS], outlets=[CLEAN])
    return dag


def test_every_type_of_run_has_a_story() -> None:
    assert MAKERS.keys() == set(DagRunType)


@pytest.mark.parametrize("run_type", DagRunType)
def test_a_run_of_every_type_is_kept_from_reading(world: World, run_type: DagRunType) -> None:
    of_the_clock = run_type in (DagRunType.SCHEDULED, DagRunType.BACKFILL_JOB)
    reader = hourly() if of_the_clock else consumer("cleaning", ORDERS, CLEAN)
    world.add(producer("ingest", ORDERS), reader)
    world.pause(reader.dag_id)
    world.publish("ingest", KEY)
    cord = world.pull("orders", KEY)
    world.pause(reader.dag_id, paused=False)
    run_id = MAKERS[run_type](world)
    assert world.dag_run(reader.dag_id, run_id).run_type == run_type
    assert world.play()[f"{reader.dag_id}.work", KEY] == 0
    if of_the_clock:
        assert world.states(reader.dag_id, run_id) == {"work": "deferred"}
    else:
        assert world.is_held(reader.dag_id, run_id)
    world.release(cord, "false_alarm")
    assert world.play()[f"{reader.dag_id}.work", KEY] >= 1
    assert world.dag_run(reader.dag_id, run_id).state == "success"


def test_a_run_without_a_key_from_the_command_line_is_held(chain: World) -> None:
    """``airflow dags trigger`` cannot name a partition."""
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    doors.cli("dags", "trigger", "cleaning", "--run-id", "by_hand")
    assert chain.play() == {}
    assert chain.is_held("cleaning", "by_hand")
    chain.release(cord, "false_alarm")
    assert chain.play() == {("cleaning.work", None): 1}


def test_a_run_without_a_key_materialized_from_the_command_line_is_held(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    chain.pull("orders", "p1")
    doors.cli("assets", "materialize", "--name", "clean")
    assert chain.play() == {}
    assert [r.run_type for r in chain.runs("cleaning")] == ["asset_triggered", "asset_materialization"]


def test_a_run_for_a_later_moment_is_asked_when_it_starts_and_keeps_its_moment(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    moment = datetime.now(timezone.utc) + timedelta(milliseconds=500)
    made = doors.rest(
        "POST",
        "dags/cleaning/dagRuns",
        json={"logical_date": None, "partition_key": "p1", "run_after": moment.isoformat()},
    )
    assert chain.play() == {}
    while datetime.now(timezone.utc) < moment:
        chain.tick()
    assert chain.play() == {}
    assert chain.is_held("cleaning", made["dag_run_id"])
    chain.release(cord, "false_alarm")
    assert chain.play()[("cleaning.work", "p1")] == 1
    assert chain.dag_run("cleaning", made["dag_run_id"]).run_after == moment


def test_a_dag_that_is_scheduled_on_an_alias_reads_what_the_alias_stands_for(world: World) -> None:
    """An alias stands for assets only at run time; Airflow keeps such a schedule in a table of its own."""
    with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=AssetAlias("incoming"))) as dag:
        Step(task_id="work", outlets=[CLEAN])
    world.add(producer("ingest", ORDERS), dag)
    with world._session() as session:
        alias = session.scalars(select(AssetAliasModel)).one()
        alias.assets.append(session.scalars(select(AssetModel).where(AssetModel.name == "orders")).one())
    world.publish("ingest", "p1")
    world.pull("orders", "p1")
    run_id = world.trigger("cleaning", "p1")
    assert world.play() == {}
    assert world.is_held("cleaning", run_id)


def test_a_dag_of_the_clock_that_assets_start_too(world: World) -> None:
    """``AssetOrTimeSchedule``: a run that the clock makes reads the asset as one that an event makes does."""
    schedule = AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 * * * *", timezone="UTC"), assets=[ORDERS]
    )
    with DAG("nightly", schedule=schedule, start_date=HOUR, catchup=False) as dag:
        Step(task_id="work", outlets=[CLEAN])
    world.add(producer("ingest", ORDERS), dag)
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    assert world.play() == {}
    (run,) = world.runs("nightly")
    assert run.run_type == "scheduled"
    assert world.states("nightly", run.run_id) == {"work": "deferred"}
    world.release(cord, "false_alarm")
    assert world.play() == {("nightly.work", None): 1}


class YearOfHour(PartitionMapper):
    """A mapper of somebody else's plugin."""

    def to_downstream(self, key: str) -> str:
        return key[:4]


def test_a_mapper_that_another_plugin_brings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        plugins_manager, "get_partition_mapper_plugins", lambda: {qualname(YearOfHour): YearOfHour}
    )
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN, mapper=YearOfHour()))
    world.publish("ingest", "2026-06")
    world.create_runs()
    cord = world.pull("orders", "2026-06")
    by_hand = world.trigger("cleaning", "2026")
    other = world.trigger("cleaning", "2025")
    assert world.play() == {("cleaning.work", "2025"): 1}
    assert world.dag_run("cleaning", other).state == "success"
    assert world.is_held("cleaning", by_hand)
    assert [world.is_held("cleaning", r.run_id) for r in world.runs("cleaning", "2026")] == [True, True]
    world.release(cord, "false_alarm")
    assert world.play()["cleaning.work", "2026"] >= 1


class TestAgain:
    """A run that has ended and is made to run again."""

    @pytest.fixture
    def tainted(self, chain: World) -> World:
        chain.publish("ingest", "p1")
        chain.play()
        chain.pull("orders", "p1")
        return chain

    def still_held(self, world: World) -> None:
        assert world.play() == {}
        assert world.is_held("cleaning", world.runs("cleaning")[0].run_id)

    def parked_without_its_key(self, world: World) -> None:
        """What asset events made and has no key is held task by task."""
        run = world.runs("cleaning")[0]
        assert run.partition_key is None
        assert world.play() == {}
        assert world.states("cleaning", run.run_id) == {"work": "deferred"}
        (cord,) = world.rows(Cord)["lean_cord"]
        world.release(cord["id"], "fixed")
        assert world.play()["cleaning.work", None] == 1

    def test_cleared(self, tainted: World) -> None:
        run_id = tainted.dag_run("cleaning", "p1").run_id
        doors.rest("POST", f"dags/cleaning/dagRuns/{run_id}/clear", json={"dry_run": False})
        self.still_held(tainted)

    def test_several_runs_cleared(self, tainted: World) -> None:
        run_id = tainted.dag_run("cleaning", "p1").run_id
        doors.rest(
            "POST",
            "dags/cleaning/clearDagRuns",
            json={"dry_run": False, "dag_runs": [{"dag_run_id": run_id}]},
        )
        self.still_held(tainted)

    def test_task_instances_cleared(self, tainted: World) -> None:
        run_id = tainted.dag_run("cleaning", "p1").run_id
        doors.rest(
            "POST",
            "dags/cleaning/clearTaskInstances",
            json={"dry_run": False, "dag_run_id": run_id, "only_failed": False},
        )
        self.still_held(tainted)

    def test_cleared_from_the_command_line(self, tainted: World) -> None:
        doors.cli("dags", "clear", "cleaning", "--partition-key", "p1", "--yes")
        self.still_held(tainted)

    def test_cleared_by_an_operator(self, tainted: World) -> None:
        """``TriggerDagRunOperator(reset_dag_run=True)``."""
        run_id = tainted.dag_run("cleaning", "p1").run_id
        assert execution_api().post(f"/dag-runs/cleaning/{run_id}/clear").status_code == 204
        self.still_held(tainted)

    def test_partition_cleared(self, tainted: World) -> None:
        """The run loses its key, and runs again."""
        doors.rest(
            "POST",
            "dags/cleaning/clearPartitions",
            json={"dry_run": False, "partition_key": "p1", "clear_task_instances": True},
        )
        self.parked_without_its_key(tainted)

    def test_partition_cleared_from_the_command_line(self, tainted: World) -> None:
        doors.cli("partitions", "clear", "-d", "cleaning", "--partition-key", "p1", "--clear-task-instances")
        self.parked_without_its_key(tainted)

    def test_queued_by_a_person(self, tainted: World) -> None:
        """A run that is set to queued starts again; nothing of it runs but what was cleared."""
        run_id = tainted.dag_run("cleaning", "p1").run_id
        doors.rest("PATCH", f"dags/cleaning/dagRuns/{run_id}", json={"state": "queued"})
        assert tainted.play() == {}
        tainted.release(1, "fixed")
        assert tainted.play()["cleaning.work", "p1"] == 1, "this is no mark"

    def test_a_held_run_queued_by_a_person_is_still_held(self, tainted: World) -> None:
        tainted.clear("cleaning", "p1")
        tainted.tick()
        run_id = tainted.dag_run("cleaning", "p1").run_id
        doors.rest("PATCH", f"dags/cleaning/dagRuns/{run_id}", json={"state": "queued"})
        self.still_held(tainted)

    def test_a_new_task_of_the_dag(self, tainted: World) -> None:
        """Cleared with ``only_new``: the run gets the tasks that its Dag has got since."""
        tainted.add(consumer("cleaning", ORDERS, CLEAN, tasks=("work", "more")))
        run_id = tainted.dag_run("cleaning", "p1").run_id
        doors.rest(
            "POST",
            f"dags/cleaning/dagRuns/{run_id}/clear",
            json={"dry_run": False, "only_new": True, "run_on_latest_version": True},
        )
        assert tainted.play() == {}

    @pytest.mark.parametrize("behavior", ["completed", "failed", "none"])
    def test_backfilled_again(self, world: World, behavior: str) -> None:
        world.add(producer("ingest", ORDERS), hourly())
        world.publish("ingest", KEY)
        world.play()
        world.pull("orders", KEY)
        world.done.clear()
        doors.rest(
            "POST",
            "backfills",
            json={
                "dag_id": "hourly",
                "from_date": HOUR.isoformat(),
                "to_date": HOUR.isoformat(),
                "reprocess_behavior": behavior,
            },
        )
        assert world.play()["hourly.work", KEY] == 0
        made = {"completed": 2, "failed": 1, "none": 1}
        assert len(world.runs("hourly", KEY)) == made[behavior]


def test_the_whole_chain_is_cleared_by_hand(world: World) -> None:
    """``airflow tasks clear`` knows no partitions: it takes every run."""
    world.add(*the_chain())
    world.publish("ingest", "p1", "p2")
    world.play()
    world.pull("orders", "p1")
    doors.cli("tasks", "clear", "cleaning", "--yes")
    done = world.play()
    assert done["cleaning.work", "p1"] == 0
    assert world.is_held("cleaning", world.runs("cleaning", "p1")[0].run_id)


class TestABackfill:
    """Of two hours, one run at a time: the first is parked, the second waits for its slot."""

    @pytest.fixture
    def backfill(self, world: World) -> str:
        """Return its path; the cord is the first one."""
        hours = [HOUR - timedelta(hours=1), HOUR]
        world.add(producer("ingest", ORDERS), hourly(start_date=hours[0], end_date=HOUR, catchup=False))
        keys = [hour.strftime("%Y-%m-%dT%H:%M:%S") for hour in hours]
        world.publish("ingest", *keys)
        world.pull("orders", *keys)
        made = doors.rest(
            "POST",
            "backfills",
            json={
                "dag_id": "hourly",
                "from_date": hours[0].isoformat(),
                "to_date": hours[1].isoformat(),
                "max_active_runs": 1,
            },
        )
        return f"backfills/{made['id']}"

    def test_cancelled(self, world: World, backfill: str) -> None:
        """Airflow fails the runs that are queued; one that has begun goes on, and the release lets it go."""
        world.tick()
        first, second = (world.dag_run("hourly", key) for key in self.keys(world))
        assert world.states("hourly", first.run_id) == {"work": "deferred"}
        assert second.state == "queued"
        doors.rest("PUT", f"{backfill}/cancel")
        assert world.play() == {}
        assert world.dag_run("hourly", second.run_id).state == "failed"
        world.release(1, "fixed")
        assert world.play() == {("hourly.work", first.partition_key): 1}
        assert world.dag_run("hourly", second.run_id).state == "failed", "no release undoes it"
        assert world.rows(ParkedTask, AffectedRun) == {"lean_parked_task": [], "lean_affected_run": []}
        assert of_cord(1)["state"] == "closed"

    def test_cancelled_before_any_of_it_was_asked(self, world: World, backfill: str) -> None:
        doors.rest("PUT", f"{backfill}/cancel")
        assert world.play() == {}
        assert {run.state for run in world.runs("hourly")} == {"failed"}
        world.release(1, "fixed")
        assert world.play() == {}
        assert world.rows(ParkedTask, AffectedRun) == {"lean_parked_task": [], "lean_affected_run": []}
        assert of_cord(1)["state"] == "closed"

    def test_paused_and_unpaused(self, world: World, backfill: str) -> None:
        doors.rest("PUT", f"{backfill}/pause")
        assert world.play() == {}
        assert {run.state for run in world.runs("hourly")} == {"queued"}
        doors.rest("PUT", f"{backfill}/unpause")
        assert world.play() == {}
        assert world.states("hourly", self.keys(world)[0]) == {"work": "deferred"}
        world.release(1, "fixed")
        assert world.play() == {("hourly.work", key): 1 for key in self.keys(world)}

    @staticmethod
    def keys(world: World) -> list[str]:
        return sorted(str(run.partition_key) for run in world.runs("hourly"))


def test_a_dag_that_is_parsed_again_is_judged_as_it_is_now(world: World) -> None:
    """What asks for the parsing changes nothing by itself; the Dag that comes of it reads what is halted."""
    with DAG("nightly", schedule=None) as dag:
        Step(task_id="work")
    world.add(producer("ingest", ORDERS), dag)
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    run_id = world.trigger("nightly")
    with world._session() as session:
        session.get_one(DagModel, "nightly").relative_fileloc = "nightly.py"
    token = doors.rest("GET", "dags/nightly/details")["file_token"]
    doors.rest("PUT", f"parseDagFile/{token}", expect=201)
    with DAG("nightly", schedule=None) as dag:
        Step(task_id="work", inlets=[ORDERS])
    world.add(dag)
    assert world.play() == {}
    assert world.is_held("nightly", run_id)
    world.release(cord, "false_alarm")
    assert world.play() == {("nightly.work", None): 1}
