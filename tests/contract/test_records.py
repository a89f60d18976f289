"""What we rely on in what Airflow shows people: notes, the audit log, the jobs of its components."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from airflow.jobs.dag_processor_job_runner import DagProcessorJobRunner
from airflow.jobs.job import Job, JobState
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.jobs.triggerer_job_runner import TriggererJobRunner
from airflow.models.dagrun import DagRun, DagRunNote
from airflow.models.log import Log
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance, TaskInstanceNote
from airflow.sdk import Asset
from airflow.utils.session import create_session
from sqlalchemy import delete, inspect, select

from airflow_lean_provider.airflow_internals import health, notes
from tests.integration.dags import producer

if TYPE_CHECKING:
    from tests.integration.world import World


@pytest.fixture
def run(world: World) -> DagRun:
    world.add(producer("ingest", Asset("orders")))
    world.trigger("ingest", "p1", run_id="r1")
    return world.dag_run("ingest", "r1")


class TestNotes:
    """``dag_run_note``: ``airflow/models/dagrun.py``."""

    def test_a_note_is_a_row_of_its_own_with_the_run_as_key(self, run):
        """Our inserts fill what must be filled; the times have defaults."""
        with create_session(scoped=False) as session:
            notes.write_notes({run.id: "holds it"}, session)
        with create_session(scoped=False) as session:
            assert session.get_one(DagRun, run.id).note == "Andon cord holds it"
            row = session.scalars(select(DagRunNote)).one()
            assert row.created_at is not None
        assert [c.name for c in inspect(DagRunNote).primary_key] == ["dag_run_id"]

    def test_what_a_person_writes_has_a_user_or_replaces_ours(self, run):
        """``DagRun.note``: the same row, so that ours and theirs cannot both be there."""
        with create_session(scoped=False) as session:
            session.get_one(DagRun, run.id).note = ("mine", "ann")
        with create_session(scoped=False) as session:
            notes.write_notes({run.id: "holds it"}, session)
            notes.remove_notes([run.id], session)
        with create_session(scoped=False) as session:
            assert session.get_one(DagRun, run.id).note == "mine"

    def test_it_can_be_as_long_as_we_make_it(self):
        """``dag_run_note.content``, ``task_instance_note.content``."""
        assert inspect(DagRunNote).columns["content"].type.length >= notes.AT_MOST
        assert inspect(TaskInstanceNote).columns["content"].type.length >= notes.AT_MOST


class TestTaskNotes:
    """``task_instance_note``: ``airflow/models/taskinstance.py``."""

    @pytest.fixture
    def ti(self, world: World, run: DagRun) -> TaskInstance:
        return world.ti("ingest", run.run_id)

    def test_a_note_is_a_row_of_its_own_with_the_task_instance_as_key(self, ti):
        """Our inserts fill what must be filled; the times have defaults."""
        with create_session(scoped=False) as session:
            notes.write_task_notes({ti.id: "holds it"}, session)
        with create_session(scoped=False) as session:
            assert session.get_one(TaskInstance, ti.id).note == "Andon cord holds it"
            row = session.scalars(select(TaskInstanceNote)).one()
            assert row.created_at is not None
        assert [c.name for c in inspect(TaskInstanceNote).primary_key] == ["ti_id"]

    def test_what_a_person_writes_has_a_user_or_replaces_ours(self, ti):
        """``_patch_task_instance_note`` in ``core_api/services/public/task_instances.py``."""
        with create_session(scoped=False) as session:
            session.get_one(TaskInstance, ti.id).note = ("mine", "ann")
        with create_session(scoped=False) as session:
            notes.write_task_notes({ti.id: "holds it"}, session)
            notes.reword_task_notes({ti.id: "holds it"}, session)
            notes.remove_task_notes([ti.id], session)
        with create_session(scoped=False) as session:
            assert session.get_one(TaskInstance, ti.id).note == "mine"

    def test_a_note_follows_the_task_instance_to_its_next_id(self, ti):
        """``TaskInstance.prepare_db_for_next_try``; the foreign key cascades on update."""
        with create_session(scoped=False) as session:
            notes.write_task_notes({ti.id: "holds it"}, session)
        with create_session(scoped=False) as session:
            again = session.get_one(TaskInstance, ti.id)
            again.prepare_db_for_next_try(session)
            session.flush()
            following = again.id
        assert following != ti.id
        with create_session(scoped=False) as session:
            assert session.get_one(TaskInstance, following).note == "Andon cord holds it"

    def test_a_note_goes_with_the_task_instance(self, ti):
        """The foreign key cascades on delete."""
        with create_session(scoped=False) as session:
            notes.write_task_notes({ti.id: "holds it"}, session)
        with create_session(scoped=False) as session:
            session.execute(delete(TaskInstance).where(TaskInstance.id == ti.id))
            assert session.scalars(select(TaskInstanceNote)).all() == []


class TestJobs:
    """``job``: ``airflow/jobs/job.py``; what ``airflow andon doctor`` goes by."""

    def test_the_names_of_the_components(self):
        """``BaseJobRunner.job_type``."""
        assert SchedulerJobRunner.job_type == health.SCHEDULER
        assert TriggererJobRunner.job_type == health.TRIGGERER
        assert DagProcessorJobRunner.job_type == health.DAG_PROCESSOR

    @pytest.mark.parametrize("kind", [health.SCHEDULER, health.TRIGGERER, health.DAG_PROCESSOR])
    @pytest.mark.parametrize(("ago", "alive"), [(0, True), (3600, False)])
    def test_one_that_is_silent_is_not_alive(self, kind, ago, alive):
        """``Job.is_alive``: RUNNING, and a heartbeat within the threshold of its kind."""
        job = Job(job_type=kind, state=JobState.RUNNING)
        job.latest_heartbeat = datetime.now(timezone.utc) - timedelta(seconds=ago)
        assert job.is_alive() is alive

    def test_one_that_has_ended_is_not_alive(self):
        """A component that stops in order leaves SUCCESS."""
        job = Job(job_type=health.SCHEDULER, state=JobState.SUCCESS)
        job.latest_heartbeat = datetime.now(timezone.utc)
        assert not job.is_alive()

    def test_the_columns_that_we_read_exist(self):
        """``airflow/jobs/job.py``, ``airflow/models/pool.py``."""
        assert {"job_type", "state", "latest_heartbeat", "hostname"} <= set(inspect(Job).columns.keys())
        assert {"pool", "slots", "include_deferred"} <= set(inspect(Pool).columns.keys())
        assert {"pool", "pool_slots"} <= set(inspect(TaskInstance).columns.keys())


def test_an_audit_row_needs_no_more_than_we_write(session):
    """``log``: every other column may be empty or has a default of the database's own."""
    from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
    from airflow_lean_provider.rules.facts import Run, Task

    task = Task("d", "r", "t")
    write_entries([Entry("andon hold", Run("d", "r"), "x", task), Entry("andon disable")], session)
    session.flush()
    found = session.execute(select(Log.event, Log.dag_id, Log.task_id, Log.map_index).order_by(Log.id)).all()
    assert found == [("andon hold", "d", "t", -1), ("andon disable", None, None, None)]
