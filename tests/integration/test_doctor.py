"""``airflow andon doctor`` finds what is wrong, says where, and finds nothing where nothing is."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from airflow.jobs.job import Job, JobState
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.sdk import DAG, Asset, PartitionedAtRuntime
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy import delete, event, select, text, update

from airflow_lean_provider.airflow_internals import health
from airflow_lean_provider.airflow_internals.holding import HELD_UNTIL
from airflow_lean_provider.brake import doctor, switch
from airflow_lean_provider.rules.facts import Run, Task
from airflow_lean_provider.store.models import AffectedRun, Cord, HaltedPartition, ParkedTask
from tests.integration.dags import Step, consumer, producer
from tests.integration.world import execution_api

if TYPE_CHECKING:
    from tests.integration.world import World

ORDERS, CLEAN = Asset("orders"), Asset("clean")


@pytest.fixture
def airflow(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """An Airflow all of whose components live."""
    monkeypatch.setattr(doctor, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setenv("AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL", "1000000000")
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN), consumer("report", CLEAN))
    with create_session(scoped=False) as session:
        session.execute(delete(Job))
    for kind in (health.SCHEDULER, health.DAG_PROCESSOR, health.TRIGGERER):
        heartbeat(kind)
    return world


@pytest.fixture
def held(airflow: World) -> World:
    """... with an open cord, a held run and a finished one that has seen it."""
    airflow.publish("ingest", "p1")
    airflow.pull("orders", "p1")
    airflow.tick()
    assert airflow.is_held("cleaning", "p1")
    return airflow


def heartbeat(kind: str, *, ago: float = 0, state: str = JobState.RUNNING) -> None:
    with create_session(scoped=False) as session:
        job = Job(job_type=kind, state=state)
        job.latest_heartbeat = datetime.now(timezone.utc) - timedelta(seconds=ago)
        session.add(job)


def write(statement: Any) -> None:
    with create_session(scoped=False) as session:
        session.execute(statement)


def wrong() -> dict[str, str]:
    """The checks that are not fine, with what they say."""
    return {f.check: f.detail for f in doctor.examine() if not f.fine}


class TestNothingIsWrong:
    def test_in_a_new_airflow(self, airflow):
        findings = doctor.examine()
        assert [f for f in findings if not f.fine] == []
        assert len({f.check for f in findings}) == len(findings)

    def test_while_runs_are_held(self, held):
        assert wrong() == {}

    def test_while_tasks_are_parked(self, airflow):
        """What follows the publishing task is parked; another branch of the run goes on."""
        with DAG("branching", schedule=PartitionedAtRuntime()) as branching:
            Step(task_id="load", outlets=[ORDERS]) >> Step(task_id="after")
            Step(task_id="aside")
        airflow.add(branching)
        run_id = airflow.trigger("branching", "p1")
        airflow.tick()
        assert airflow.run(airflow.take("branching", run_id, "aside")) == 200
        assert airflow.work(airflow.take("branching", run_id, "load"))
        airflow.pull("orders", "p1")
        assert airflow.states("branching", run_id)["after"] == "deferred"
        assert wrong() == {}
        assert {f.check: f.detail for f in doctor.examine()}[
            "parked tasks are parked in Airflow"
        ] == "1 parked"

    def test_after_a_release(self, held):
        (cord,) = held.rows(Cord)["lean_cord"]
        held.release(cord["id"], "false_alarm")
        held.play()
        assert wrong() == {}

    def test_it_changes_nothing(self, held):
        before = held.rows(DagRun, TaskInstance, AffectedRun, HaltedPartition, ParkedTask, Cord)
        doctor.examine()
        assert held.rows(DagRun, TaskInstance, AffectedRun, HaltedPartition, ParkedTask, Cord) == before

    def test_what_cannot_be_held_is_said(self, airflow):
        (said,) = [f for f in doctor.examine() if f.check == "what cannot be held"]
        assert said.fine
        assert "airflow tasks test" in said.detail

    def test_what_cannot_be_seen_is_said(self, airflow):
        unseen = {f.check for f in doctor.examine() if "cannot be seen from here" in f.detail}
        assert unseen == {"api-servers", "every scheduler has the plugin"}


def park(dag_id: str, run_id: str, task_id: str) -> None:
    """Write down a parked task, and park it as Airflow would see it."""
    with create_session(scoped=False) as session:
        session.add(
            ParkedTask(
                dag_id=dag_id,
                run_id=run_id,
                task_id=task_id,
                map_index=-1,
                parked_at=datetime.now(timezone.utc),
            )
        )
        session.execute(
            update(TaskInstance)
            .where(TaskInstance.run_id == run_id, TaskInstance.task_id == task_id)
            .values(state="deferred", trigger_id=None)
        )


class TestEnvironment:
    def test_an_untested_airflow(self, airflow, monkeypatch):
        monkeypatch.setattr(doctor, "untested_minor", lambda: "3.9")
        assert wrong() == {"Airflow version": "never tested with Airflow 3.9, only 3.3"}

    def test_a_gate_that_is_gone(self, airflow, monkeypatch):
        original = TaskInstance.get_failed_dep_statuses.__wrapped__
        monkeypatch.setattr(TaskInstance, "get_failed_dep_statuses", original)
        assert "the gate before every start" in wrong()["plugin in this environment"]

    def test_a_hook_that_is_gone(self, airflow):
        from airflow.models.asset import PartitionedAssetKeyLog

        from airflow_lean_provider.listeners import hooks

        assert wrong() == {}, "a mapper that the doctor imports first would put the hook back"
        event.remove(PartitionedAssetKeyLog, "after_insert", hooks._on_key_logged)
        try:
            assert wrong() == {"plugin in this environment": "missing: the hook on publications"}
        finally:
            hooks._install()

    def test_no_scheduler(self, airflow):
        write(delete(Job).where(Job.job_type == health.SCHEDULER))
        assert wrong() == {"schedulers": "0 alive"}

    def test_a_scheduler_that_died(self, airflow):
        heartbeat(health.SCHEDULER, ago=3600)
        said = {f.check: f for f in doctor.examine()}["schedulers"]
        assert said.fine, "another one lives"
        assert said.detail.startswith("1 alive; 1 silent: ")
        write(delete(Job).where(Job.latest_heartbeat > datetime.now(timezone.utc) - timedelta(minutes=5)))
        assert wrong()["schedulers"].startswith("0 alive; 1 silent: ")

    @pytest.mark.postgres
    def test_two_schedulers(self, airflow):
        heartbeat(health.SCHEDULER)
        assert wrong() == {}

    @pytest.mark.sqlite
    @pytest.mark.mariadb
    def test_two_schedulers_where_airflow_takes_no_row_locks(self, airflow):
        heartbeat(health.SCHEDULER, ago=3600)
        assert wrong() == {}, "one of them is dead"
        heartbeat(health.SCHEDULER)
        assert wrong()["schedulers suit the database"].startswith(
            "2 schedulers, but Airflow takes no row locks"
        )

    @pytest.mark.mariadb
    def test_a_clean_up_that_the_scheduler_does_not_survive(self, airflow, monkeypatch):
        """See ``test_the_scheduler_cannot_look_for_such_assets_on_mariadb``, a contract test."""
        monkeypatch.delenv("AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL")
        assert "parsing_cleanup_interval" in wrong()["schedulers suit the database"]

    def test_a_component_that_has_ended_is_not_missed(self, airflow):
        heartbeat(health.SCHEDULER, ago=3600, state=JobState.SUCCESS)
        assert {f.check: f.detail for f in doctor.examine()}["schedulers"] == "1 alive"

    def test_an_airflow_without_a_triggerer_is_fine_unless_it_died(self, airflow):
        write(delete(Job).where(Job.job_type == health.TRIGGERER))
        assert wrong() == {}
        heartbeat(health.TRIGGERER, ago=3600)
        assert list(wrong()) == ["triggerers"]

    def test_a_switch_that_is_off(self, held):
        switch.disable(reason="upgrade", by="ann")
        (said,) = wrong().items()
        assert said[0] == "switch"
        assert "by ann: upgrade" in said[1]


class TestTables:
    def test_one_that_is_missing(self, airflow, monkeypatch):
        with create_session(scoped=False) as session:
            session.execute(text("ALTER TABLE lean_parked_task RENAME TO hidden"))
        try:
            assert wrong() == {"tables": "missing: lean_parked_task; run 'airflow db migrate'"}
        finally:
            with create_session(scoped=False) as session:
                session.execute(text("ALTER TABLE hidden RENAME TO lean_parked_task"))

    def test_an_older_revision(self, airflow):
        with create_session(scoped=False) as session:
            head = session.scalar(text("SELECT version_num FROM alembic_version_lean"))
            session.execute(text("UPDATE alembic_version_lean SET version_num = '0000'"))
        try:
            assert wrong() == {"tables": f"at revision 0000, expected {head}"}
        finally:
            with create_session(scoped=False) as session:
                session.execute(text(f"UPDATE alembic_version_lean SET version_num = '{head}'"))

    def test_a_check_that_fails_does_not_hide_the_others(self, airflow, monkeypatch):
        def fail(**_: Any) -> None:
            raise RuntimeError("no answer")

        monkeypatch.setattr(health, "components", fail)
        assert wrong() == {"components": "cannot be checked: RuntimeError: no answer"}


class TestHolds:
    def test_a_run_held_by_nobody(self, airflow):
        run_id = airflow.trigger("ingest", "p9")
        write(update(DagRun).where(DagRun.run_id == run_id).values(run_after=HELD_UNTIL))
        (said,) = wrong().items()
        assert said[0] == "held runs are known to us"
        assert f"ingest {run_id}" in said[1]

    def test_a_held_run_that_somebody_changed(self, held):
        run = held.dag_run("cleaning", "p1")
        write(update(DagRun).where(DagRun.id == run.id).values(state=DagRunState.SUCCESS))
        assert f"cleaning {run.run_id}" in wrong()["held runs are held in Airflow"]

    def test_a_parked_task_that_somebody_changed(self, airflow):
        (run_id,) = airflow.publish("ingest", "p1")
        with create_session(scoped=False) as session:
            session.add(
                ParkedTask(
                    dag_id="ingest",
                    run_id=run_id,
                    task_id="load",
                    map_index=-1,
                    parked_at=datetime.now(timezone.utc),
                )
            )
        assert f"ingest.load of {run_id}" in wrong()["parked tasks are parked in Airflow"]


class TestCache:
    def test_a_halt_that_is_missing(self, held):
        write(delete(HaltedPartition))
        assert wrong()["halted partitions equal the definitions"].startswith("missing: asset ")

    def test_a_halt_that_nobody_pulled(self, airflow):
        with create_session(scoped=False) as session:
            session.add(
                HaltedPartition(
                    asset_id=1, partition_key="p7", root=True, causes=[], since=datetime.now(timezone.utc)
                )
            )
        assert wrong() == {"halted partitions equal the definitions": "should not be there: asset 1 'p7'"}

    def test_a_halt_with_another_cause(self, held):
        write(update(HaltedPartition).values(causes=[]))
        assert wrong()["halted partitions equal the definitions"].startswith("say something else: asset ")

    def test_a_run_that_is_called_something_else(self, held):
        write(update(AffectedRun).values(labels=["tainted"]))
        run_id = held.dag_run("cleaning", "p1").run_id
        assert wrong()["affected runs equal the definitions"] == f"say something else: cleaning {run_id}"

    def test_a_run_that_nobody_held(self, held):
        run = held.dag_run("cleaning", "p1")
        now = datetime.now(timezone.utc)
        write(update(DagRun).where(DagRun.id == run.id).values(run_after=now, state=DagRunState.QUEUED))
        write(update(AffectedRun).values(held=False, run_after=None))
        assert f"cleaning {run.run_id}" in wrong()["nothing is left to do"]

    def test_a_cord_that_nobody_settles(self, held):
        long_ago = datetime.now(timezone.utc) - timedelta(hours=1)
        write(update(Cord).values(settled_at=None, pulled_at=long_ago))
        assert "does the sweeper run" in wrong()["cords are settled"]

    def test_what_is_being_settled_at_this_moment_is_fine(self, held, monkeypatch):
        """A difference that is gone at the next look was a pull at work."""
        write(update(AffectedRun).values(labels=["tainted"]))
        monkeypatch.setattr(
            doctor.time, "sleep", lambda seconds: write(update(AffectedRun).values(labels=["held"]))
        )
        assert wrong() == {}

    def test_a_task_that_a_scheduler_without_the_plugin_started(self, held):
        """Long after the halt: until then a start that was granted before is stopped, or its run tainted."""
        run = held.dag_run("cleaning", "p1")
        long_ago = datetime.now(timezone.utc) - timedelta(hours=1)
        write(update(HaltedPartition).values(since=long_ago))
        with create_session(scoped=False) as session:
            ti = session.scalars(select(TaskInstance).where(TaskInstance.run_id == run.run_id)).one()
            ti.state, ti.try_number = "queued", 1
            ti_id = ti.id
        assert start(ti_id) == 200
        assert f"cleaning.work of {run.run_id}" in wrong()["every scheduler has the plugin"]


def start(ti_id: Any) -> int:
    """As a worker does to whom such a scheduler has given the task."""
    body = {"state": "running", "hostname": "worker", "unixname": "airflow", "pid": 1}
    moment = datetime.now(timezone.utc).isoformat()
    return (
        execution_api().patch(f"/task-instances/{ti_id}/run", json=body | {"start_date": moment}).status_code
    )


class TestLimits:
    @pytest.fixture
    def parked(self, airflow: World) -> Task:
        airflow.add(consumer("limited", ORDERS, tasks=("a", "b"), max_active_runs=1))
        airflow.publish("ingest", "p1")
        airflow.tick()
        run = airflow.dag_run("limited", "p1")
        park("limited", run.run_id, "a")
        return Task("limited", run.run_id, "a")

    def used(self, held: list[Run], parked: list[Task]) -> list[str]:
        with create_session(scoped=False) as session:
            return [str(limit) for limit in health.used_up(held, parked, session=session)]

    def test_a_parked_task_keeps_a_run_running(self, parked):
        assert self.used([], [parked]) == ["limited: 1 of 1 max_active_runs"]
        assert wrong()["Airflow's limits leave room"] == (
            "used up by what is held: limited: 1 of 1 max_active_runs"
        )

    def test_a_held_run_counts_only_where_the_clock_makes_runs(self, parked):
        run = Run("limited", "another")
        assert self.used([run], []) == []
        write(
            update(DagModel)
            .where(DagModel.dag_id == "limited")
            .values(next_dagrun_create_after=datetime.now(timezone.utc))
        )
        assert self.used([run], []) == ["limited: 1 of 1 max_active_runs"]

    def test_a_pool_that_counts_deferred_tasks(self, parked):
        write(update(Pool).values(include_deferred=True))
        assert "pool default_pool: 1 of 128 slots" in self.used([], [parked])

    def test_limits_of_a_task(self, airflow):
        with DAG("narrow", schedule=None) as narrow:
            Step(task_id="one", max_active_tis_per_dag=2, max_active_tis_per_dagrun=1)
        airflow.add(narrow)
        tasks = [Task("narrow", run_id, "one") for run_id in ("r1", "r2")]
        assert self.used([], tasks)[-2:] == [
            "narrow.one: 2 of 2 max_active_tis_per_dag",
            "narrow.one: 1 of 1 max_active_tis_per_dagrun in one run",
        ]


def test_the_number_of_statements_does_not_depend_on_what_is_not_concerned(held):
    """Dags, runs and publications that no cord concerns cost nothing."""
    from airflow import settings

    def statements() -> int:
        counted = []

        def count(*_: Any) -> None:
            counted.append(1)

        event.listen(settings.engine, "before_cursor_execute", count)
        try:
            doctor.examine()
        finally:
            event.remove(settings.engine, "before_cursor_execute", count)
        return len(counted)

    before = statements()
    other = Asset("other")
    held.add(producer("elsewhere", other), *(consumer(f"reader{n}", other) for n in range(5)))
    held.publish("elsewhere", "q1", "q2", "q3")
    held.play()
    assert statements() == before
