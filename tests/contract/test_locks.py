"""What we rely on in locks: PostgreSQL's rows, and the queries that Airflow locks with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.models.asset import AssetEvent, AssetModel, association_table
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.sdk import Asset
from airflow.utils.session import create_session
from sqlalchemy import insert, select, text

from airflow_lean_provider.airflow_internals.holding import lock_runs, lock_tasks
from airflow_lean_provider.rules.facts import Run, Task
from tests.integration.dags import consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World

ORDERS = Asset("orders")

pytestmark = pytest.mark.postgres


@pytest.fixture
def one(world: World) -> World:
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS))
    world.publish("ingest", "p1")
    world.create_runs()
    return world


def run_of(world: World) -> Run:
    return Run("cleaning", world.dag_run("cleaning", "p1").run_id)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_scheduler_skips_a_run_that_we_have_locked(one, session, state):
    """``with_row_locks(skip_locked=True)`` in both queries of ``airflow/models/dagrun.py``."""
    if state == "running":
        one.start_runs()
    lock_runs([run_of(one)], session=session)
    with create_session(scoped=False) as scheduler:
        query = {
            "queued": DagRun.get_queued_dag_runs_to_set_running,
            "running": DagRun.get_running_dag_runs_to_examine,
        }[state]
        assert not [r for r in query(session=scheduler) if r.dag_id == "cleaning"]


def test_a_scheduler_keeps_the_run_locked_while_it_asks_us(one, session, other_session):
    """``_start_queued_dagruns``: whoever locks the run waits until the start is committed or held."""
    assert [r for r in DagRun.get_queued_dag_runs_to_set_running(session=session) if r.dag_id == "cleaning"]
    other_session.execute(text("SET LOCAL lock_timeout = '300ms'"))
    with pytest.raises(Exception, match="lock timeout"):
        lock_runs([run_of(one)], session=other_session)


def test_a_publication_does_not_wait_for_a_run_that_we_have_locked(one, session, other_session):
    """Its foreign key takes ``FOR KEY SHARE``, which ``FOR NO KEY UPDATE`` lets through."""
    lock_runs([run_of(one)], session=session)
    asset = other_session.scalar(select(AssetModel.id))
    other_session.execute(text("SET LOCAL lock_timeout = '300ms'"))
    event = AssetEvent(asset_id=asset, extra={}, partition_key="p1")
    other_session.add(event)
    other_session.flush()
    other_session.execute(
        insert(association_table).values(dag_run_id=one.dag_run("cleaning", "p1").id, event_id=event.id)
    )
    other_session.rollback()


def test_locked_task_instances_are_read_anew(one, session, other_session):
    """``populate_existing``: what the session had loaded before does not count."""
    run = run_of(one)
    task = Task(*run, "work")
    before = session.scalars(select(TaskInstance).where(TaskInstance.run_id == run.run_id)).one()
    assert before.state is None
    session.commit()
    with create_session(scoped=False) as somebody:
        somebody.get_one(TaskInstance, before.id).state = "scheduled"
    assert lock_tasks([task], session=session)[task].state == "scheduled"
