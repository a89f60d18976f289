"""What we rely on in ``airflow/assets/manager.py``, ``airflow/models/asset.py`` and partition mappers."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.models.asset import (
    AssetActive,
    AssetEvent,
    AssetModel,
    AssetPartitionDagRun,
    DagScheduleAssetReference,
    PartitionedAssetKeyLog,
    TaskOutletAssetReference,
    association_table,
)
from airflow.models.dagrun import DagRun
from airflow.sdk import (
    DAG,
    Asset,
    DayWindow,
    MinimumCount,
    PartitionedAssetTimetable,
    RollupMapper,
    StartOfDayMapper,
    StartOfHourMapper,
)
from airflow.utils.session import create_session
from sqlalchemy import event, inspect, select, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import object_session

from airflow_lean_provider.airflow_internals.absorbing import Pending, _is_complete
from tests.integration.dags import Step, consumer, producer

ORDERS, VISITS, CLEAN = Asset("orders"), Asset("visits"), Asset("clean")
HOURLY, DAILY = "%Y-%m-%dT%H", "%Y-%m-%d"


def day(wait: Any = None) -> RollupMapper:
    """Hours into a day."""
    options = {"wait_policy": wait} if wait else {}
    return RollupMapper(
        upstream_mapper=StartOfDayMapper(input_format=HOURLY, output_format=DAILY),
        window=DayWindow(),
        **options,
    )


HOURS = [f"2026-06-14T{hour:02}" for hour in range(24)]


class TestPendingRuns:
    """``AssetPartitionDagRun``: what Airflow keeps until it can create a run."""

    def test_one_that_has_a_run_is_never_looked_at_again(self, world):
        """How an event is absorbed: ``_create_dagruns_for_partitioned_asset_dags`` skips it."""
        world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS))
        world.publish("ingest", "p1")
        world.play()
        run = world.dag_run("cleaning", "p1")
        world.publish("ingest", "p1")
        with create_session(scoped=False) as session:
            pending = AssetPartitionDagRun.created_dag_run_id.is_(None)
            session.execute(update(AssetPartitionDagRun).where(pending).values(created_dag_run_id=run.id))
        for _ in range(3):
            world.tick()
        assert [r.id for r in world.runs("cleaning")] == [run.id]
        with create_session(scoped=False) as session:
            session.execute(update(AssetPartitionDagRun).values(created_dag_run_id=None))
        world.tick()
        assert len(world.runs("cleaning")) == 3, "set back to NULL, Airflow goes on with both rows"

    def test_a_partition_published_again_makes_a_second_run(self, world):
        """Airflow's own duplicate, which absorbing prevents."""
        world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS))
        for _ in range(2):
            world.publish("ingest", "p1")
            world.play()
        assert [r.partition_key for r in world.runs("cleaning")] == ["p1", "p1"]

    def test_the_run_consumes_every_event_of_the_row(self, world):
        """``DagRun.consumed_asset_events`` is ``dagrun_asset_event``."""
        world.add(producer("ingest", ORDERS), producer("count", VISITS), consumer("both", ORDERS & VISITS))
        world.publish("ingest", "p1")
        world.publish("count", "p1")
        world.create_runs()
        run = world.dag_run("both", "p1")
        with create_session(scoped=False) as session:
            events = set(
                session.scalars(
                    select(association_table.c.event_id).where(association_table.c.dag_run_id == run.id)
                )
            )
            logged = set(
                session.scalars(
                    select(PartitionedAssetKeyLog.asset_event_id).where(
                        PartitionedAssetKeyLog.target_dag_id == "both"
                    )
                )
            )
        assert events == logged
        assert len(events) == 2

    def test_a_paused_dag_gets_none(self, world):
        """Why repair is driven by halts that clear: ``AssetManager.register_asset_change``."""
        world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS))
        world.pause("cleaning")
        world.publish("ingest", "p1")
        world.pause("cleaning", paused=False)
        assert world.pending() == []
        assert world.events("orders", "p1") == 1

    def test_a_key_that_the_mapper_does_not_map_is_not_delivered(self, world):
        """``AssetManager._queue_partitioned_dags`` logs what ``to_downstream`` raises, and goes on."""
        world.add(producer("ingest", ORDERS), consumer("daily", ORDERS, mapper=StartOfHourMapper()))
        world.publish("ingest", "no such hour")
        assert world.pending() == []

    def test_an_event_without_a_key_is_not_delivered_to_partitioned_dags(self, world):
        """``AssetManager._queue_partitioned_dags``."""
        world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS))
        world.publish_from_outside("orders", None)
        assert world.pending() == []

    def test_an_external_event_has_no_source(self, world):
        """``POST /assets/events``: ``source_run_id`` and the others are NULL."""
        world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS))
        world.publish_from_outside("orders", "p1")
        with create_session(scoped=False) as session:
            row = session.scalars(select(AssetEvent)).one()
            assert (row.source_dag_id, row.source_run_id, row.source_task_id) == (None, None, None)
        assert world.pending() == [("cleaning", "p1")]

    def test_each_event_is_logged_before_the_next_is_looked_at(self, world):
        """A second event of a transaction finds the row of the first: ``_get_or_create_apdr`` flushes."""
        with DAG("two", schedule=None) as two:
            Step(task_id="load", outlets=[ORDERS, VISITS])
        world.add(two, consumer("both", ORDERS & VISITS))
        world.trigger("two", run_id="r1")
        world.tick()
        work = world.take("two", "r1")
        assert world.run(work) == 200
        assert world.succeed(work, keys=["p1"]) == 204
        assert world.pending() == [("both", "p1")]
        world.create_runs()
        assert world.dag_run("both", "p1").state == "queued"


class TestCompleteness:
    """``absorbing._is_complete`` answers as ``_create_dagruns_for_partitioned_asset_dags`` decides."""

    STORIES: tuple[tuple[str, Any, Any, list[tuple[str, str]]], ...] = (
        ("identity", ORDERS, None, [("ingest", "p1")]),
        ("both", ORDERS & VISITS, None, [("ingest", "p1"), ("ingest", "p1"), ("count", "p1")]),
        ("either", ORDERS | VISITS, None, [("count", "p1")]),
        ("nested", (ORDERS | VISITS) & CLEAN, None, [("count", "p1"), ("clean", "p1")]),
        ("day", ORDERS, day(), [("ingest", hour) for hour in HOURS]),
        ("some", ORDERS, day(MinimumCount(3)), [("ingest", hour) for hour in HOURS[:3]]),
    )

    @pytest.mark.parametrize(("name", "reads", "mapper", "events"), STORIES, ids=[s[0] for s in STORIES])
    def test_it_is_true_for_the_event_that_makes_the_run_and_for_none_before(
        self, world, name, reads, mapper, events
    ):
        """``AssetEvaluator``, ``is_rollup``, ``to_upstream``, ``wait_policy.is_satisfied_by_keys``."""
        world.add(
            producer("ingest", ORDERS),
            producer("count", VISITS),
            producer("clean", CLEAN),
            consumer("reader", reads, mapper=mapper),
        )
        judged: list[bool] = []

        def judge(_: Any, connection: Any, row: PartitionedAssetKeyLog) -> None:
            pending = Pending(row.asset_partition_dag_run_id, row.target_dag_id, row.target_partition_key)
            judged.append(_is_complete(pending, object_session(row)))

        names = {"ingest": "orders", "count": "visits", "clean": "clean"}
        event.listen(PartitionedAssetKeyLog, "after_insert", judge)
        try:
            created = []
            for dag_id, key in events:
                world.publish_from_outside(names[dag_id], key)
                world.create_runs()
                created.append(bool(world.runs("reader")))
        finally:
            event.remove(PartitionedAssetKeyLog, "after_insert", judge)
        assert judged == created == [False] * (len(events) - 1) + [True]


class TestReferences:
    """What the dag-processor writes down of a Dag's assets: ``airflow/dag_processing/collection.py``."""

    def test_schedule_and_outlets(self, world):
        """``dag_schedule_asset_reference``, ``task_outlet_asset_reference``."""
        world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN))
        with create_session(scoped=False) as session:
            schedules = session.execute(
                select(DagScheduleAssetReference.dag_id, AssetModel.name).join(
                    AssetModel, AssetModel.id == DagScheduleAssetReference.asset_id
                )
            ).all()
            outlets = session.execute(
                select(
                    TaskOutletAssetReference.dag_id, TaskOutletAssetReference.task_id, AssetModel.name
                ).join(AssetModel, AssetModel.id == TaskOutletAssetReference.asset_id)
            ).all()
        assert schedules == [("cleaning", "orders")]
        assert set(outlets) == {("ingest", "load", "orders"), ("cleaning", "work", "clean")}

    def test_a_schedule_on_a_reference_is_kept_elsewhere(self, world):
        """``Asset.ref`` is in ``dag_schedule_asset_name_reference`` or ``..._uri_reference`` alone."""
        with DAG("by_name", schedule=PartitionedAssetTimetable(assets=Asset.ref(name="orders"))) as by_name:
            Step(task_id="work")
        world.add(producer("ingest", ORDERS), by_name)
        with create_session(scoped=False) as session:
            assert not session.scalars(select(DagScheduleAssetReference)).all()
        world.publish("ingest", "p1")
        assert world.pending() == [("by_name", "p1")], "and yet it reads"

    def test_an_asset_that_a_dag_declares_is_active(self, world):
        """``AssetActive`` by name and uri; ``AssetModel.active``."""
        world.add(producer("ingest", ORDERS))
        with create_session(scoped=False) as session:
            assert session.execute(select(AssetActive.name, AssetActive.uri)).all() == [("orders", "orders")]
            assert session.scalars(select(AssetModel.name).where(AssetModel.active.has())).all() == ["orders"]

    @pytest.mark.sqlite
    @pytest.mark.postgres
    def test_an_asset_that_no_dag_declares_any_more_keeps_its_row(self, world):
        """``SchedulerJobRunner._update_asset_orphanage`` takes the ``AssetActive`` away, not the asset."""
        world.add(producer("ingest", ORDERS))
        world.add(producer("ingest", CLEAN))
        world.timers()
        with create_session(scoped=False) as session:
            assert set(session.scalars(select(AssetModel.name))) == {"orders", "clean"}
            assert session.scalars(select(AssetModel.name).where(AssetModel.active.has())).all() == ["clean"]

    @pytest.mark.mariadb
    def test_the_scheduler_cannot_look_for_such_assets_on_mariadb(self, world):
        """``WITH ... DELETE`` is no SQL of MariaDB; unless its interval is long, the scheduler dies of it."""
        with create_session(scoped=False) as session, pytest.raises(ProgrammingError, match="syntax"):
            world.scheduler._update_asset_orphanage(session=session)


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        (AssetModel, {"id", "name", "uri"}),
        (AssetActive, {"name", "uri"}),
        (
            AssetEvent,
            {
                *("id", "asset_id", "partition_key", "timestamp"),
                *("source_dag_id", "source_run_id", "source_task_id", "source_map_index"),
            },
        ),
        (AssetPartitionDagRun, {"id", "target_dag_id", "partition_key", "created_dag_run_id"}),
        (
            PartitionedAssetKeyLog,
            {
                *("id", "asset_id", "asset_event_id", "asset_partition_dag_run_id"),
                *("source_partition_key", "target_dag_id", "target_partition_key"),
            },
        ),
        (DagScheduleAssetReference, {"dag_id", "asset_id"}),
        (TaskOutletAssetReference, {"dag_id", "task_id", "asset_id"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_the_columns_that_we_read_and_write_exist(model, columns):
    """``airflow/models/asset.py``."""
    assert columns <= set(inspect(model).columns.keys())


def test_the_link_between_runs_and_events_has_two_columns():
    """``dagrun_asset_event``: whatever else it had, our inserts would have to fill."""
    assert set(association_table.c.keys()) == {"dag_run_id", "event_id"}
    assert inspect(DagRun).relationships["consumed_asset_events"].secondary is association_table


def test_a_pending_row_has_no_column_that_copying_it_would_break(world):
    """``absorbing`` copies a shared row, all columns but ``id``: nothing else may be unique."""
    table = inspect(AssetPartitionDagRun).local_table
    assert [c.name for c in table.primary_key] == ["id"]
    unique = [i for i in table.indexes if i.unique] + [
        c for c in table.constraints if c.__class__.__name__ == "UniqueConstraint"
    ]
    assert not unique
