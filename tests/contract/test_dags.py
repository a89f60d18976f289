"""What we rely on in serialized Dags: ``airflow/models/serialized_dag.py``, ``airflow/serialization``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.models.dag import DagModel, DagTag
from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, TaskGroup
from airflow.utils.session import create_session
from sqlalchemy import inspect, select

from tests.integration.dags import Step, consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World

ORDERS = Asset("orders")


@pytest.fixture
def shaped(world: World) -> World:
    """A Dag with a group, a setup, a teardown, a tag and an owner."""
    timetable = PartitionedAssetTimetable(assets=ORDERS)
    with DAG("shaped", schedule=timetable, tags=["andon:advisory"], default_args={"owner": "ann"}) as dag:
        begin = Step(task_id="begin").as_setup()
        with TaskGroup("group"):
            inner = Step(task_id="inner")
            after = Step(task_id="after")
            inner >> after
        end = Step(task_id="end").as_teardown(setups=begin)
        begin >> inner
        after >> end
    world.add(producer("ingest", ORDERS), dag)
    return world


def test_the_latest_of_several_dags_come_with_one_call(shaped):
    """``SerializedDagModel.get_latest_serialized_dags``; ``row.dag`` deserializes."""
    with create_session(scoped=False) as session:
        rows = SerializedDagModel.get_latest_serialized_dags(dag_ids=["shaped", "ingest"], session=session)
        assert {row.dag_id for row in rows} == {"shaped", "ingest"}
        row = next(row for row in rows if row.dag_id == "shaped")
        row.load_op_links = False
        assert row.dag.dag_id == "shaped"
        assert row.dag_hash


def test_the_newest_row_is_the_latest_version(world, monkeypatch):
    """``created_at`` orders as the version numbers do that ``get_latest_serialized_dags`` goes by."""
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
    for number in range(3):
        world.add(consumer("cleaning", ORDERS, tasks=[f"t{n}" for n in range(number + 1)]))
        world.trigger("cleaning", "p1", run_id=f"r{number}")  # a version that a run uses is kept
    with create_session(scoped=False) as session:
        newest_last = session.scalars(
            select(SerializedDagModel.dag_hash)
            .where(SerializedDagModel.dag_id == "cleaning")
            .order_by(SerializedDagModel.created_at)
        ).all()
        (latest,) = SerializedDagModel.get_latest_serialized_dags(dag_ids=["cleaning"], session=session)
        assert len(newest_last) == 3
        assert newest_last[-1] == latest.dag_hash
        assert len(latest.dag.tasks) == 3


def test_the_hash_changes_with_what_we_keep_by_it(world, monkeypatch):
    """``SerializedDagModel.hash``: a deserialized Dag is kept by it, so tasks and mappers must be in it."""
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")

    def hash_now() -> str:
        with create_session(scoped=False) as session:
            (row,) = SerializedDagModel.get_latest_serialized_dags(dag_ids=["cleaning"], session=session)
            return row.dag_hash

    world.add(consumer("cleaning", ORDERS))
    first = hash_now()
    world.add(consumer("cleaning", ORDERS, tasks=("a", "b")))
    second = hash_now()
    world.add(consumer("cleaning", ORDERS))
    assert first != second
    assert hash_now() == first


def test_a_serialized_dag_is_hashed_by_identity(shaped):
    """Why it may be the key of a cache, and why a new version is another key."""
    with create_session(scoped=False) as session:
        first, second = (SerializedDagModel.get_dag("shaped", session=session) for _ in range(2))
    assert hash(first) == hash(first)
    assert first is not second
    assert len({first, second}) == 2


def test_tasks_know_what_they_follow_at_any_distance(shaped):
    """``get_flat_relative_ids(upstream=True)``, ``is_teardown``."""
    with create_session(scoped=False) as session:
        dag = SerializedDagModel.get_dag("shaped", session=session)
    assert {t.task_id: set(t.get_flat_relative_ids(upstream=True)) for t in dag.tasks} == {
        "begin": set(),
        "group.inner": {"begin"},
        "group.after": {"begin", "group.inner"},
        "end": {"begin", "group.inner", "group.after"},
    }
    assert [t.task_id for t in dag.tasks if t.is_teardown] == ["end"]


def test_tasks_know_their_setups_and_teardowns(shaped):
    """``get_upstreams_only_setups_and_teardowns``, as ``dag.clear`` uses it."""
    with create_session(scoped=False) as session:
        dag = SerializedDagModel.get_dag("shaped", session=session)
    found = dag.get_task("group.after").get_upstreams_only_setups_and_teardowns()
    assert {t.task_id for t in found} == {"begin", "end"}
    assert dag.has_task("group.after")
    assert not dag.has_task("gone")


def test_the_timetable_maps_keys(shaped):
    """``timetable.get_partition_mapper(name=, uri=).to_downstream(key)``: one key or several."""
    with create_session(scoped=False) as session:
        dag = SerializedDagModel.get_dag("shaped", session=session)
    assert dag.timetable.get_partition_mapper(name="orders", uri="orders").to_downstream("p1") == "p1"
    assert dag.timetable.partitioned


def test_the_dag_of_a_run_is_found_in_the_database(shaped):
    """``DBDagBag(load_op_links=False).get_dag_for_run``."""
    shaped.trigger("shaped", "p1")
    with create_session(scoped=False) as session:
        run = session.scalars(select(DagRun)).one()
        assert DBDagBag(load_op_links=False).get_dag_for_run(dag_run=run, session=session).dag_id == "shaped"


def test_what_a_dag_says_of_itself_is_in_its_own_tables(shaped):
    """``DagModel.timetable_partitioned``, ``DagModel.owners``, ``DagTag``."""
    with create_session(scoped=False) as session:
        model = session.get_one(DagModel, "shaped")
        assert model.timetable_partitioned is True
        assert model.owners == "ann"
        assert session.scalars(select(DagTag.dag_id).where(DagTag.name == "andon:advisory")).all() == [
            "shaped"
        ]
        assert session.get_one(DagModel, "ingest").timetable_partitioned in (True, False)


def test_the_columns_that_we_read_exist():
    """``airflow/models/serialized_dag.py``, ``airflow/models/dag.py``."""
    assert {"dag_id", "dag_hash", "created_at"} <= set(inspect(SerializedDagModel).columns.keys())
    assert {"dag_id", "name"} <= set(inspect(DagTag).columns.keys())
