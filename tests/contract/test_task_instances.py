"""What we rely on in ``airflow/models/taskinstance.py``: stopping, re-running, counting tries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.api_fastapi.common.dagbag import resolve_run_on_latest_version
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.models.taskreschedule import TaskReschedule
from airflow.sdk import DAG, Asset
from airflow.ti_deps.dependencies_states import SCHEDULEABLE_STATES
from airflow.utils.session import create_session
from airflow.utils.state import State, TaskInstanceState
from sqlalchemy import inspect, select

from tests.integration.dags import Step, consumer, producer
from tests.integration.world import World, execution_api

ORDERS = Asset("orders")


@pytest.fixture
def one(world: World) -> World:
    """A run of two tasks in a row, the first of which waits in the executor."""
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, tasks=("first", "second"), retries=2))
    world.publish("ingest", "p1")
    world.tick()
    return world


def history(world: World, task_id: str) -> list[Any]:
    with create_session(scoped=False) as session:
        return list(
            session.execute(
                select(
                    TaskInstanceHistory.task_instance_id,
                    TaskInstanceHistory.try_number,
                    TaskInstanceHistory.state,
                    TaskInstanceHistory.start_date,
                )
                .where(TaskInstanceHistory.task_id == task_id)
                .order_by(TaskInstanceHistory.try_number)
            )
        )


def prepare_for_next_try(world: World, task_id: str) -> None:
    with create_session(scoped=False) as session:
        ti = session.get_one(TaskInstance, world.ti("cleaning", "p1", task_id).id)
        ti.prepare_db_for_next_try(session)
        ti.state = None


class TestNextTry:
    """``TaskInstance.prepare_db_for_next_try``."""

    def test_it_rotates_the_id_and_archives_the_try_under_the_old_one(self, one):
        """``TaskInstanceHistory.record_ti``, then ``self.id = uuid7()``; try number and map index stay."""
        work = one.take("cleaning", "p1", "first")
        assert one.run(work) == 200
        prepare_for_next_try(one, "first")
        ti = one.ti("cleaning", "p1", "first")
        assert ti.id != work.id
        assert (ti.try_number, ti.map_index) == (1, -1)
        ((archived, try_number, state, started),) = history(one, "first")
        assert archived == work.id
        assert try_number == 1
        assert started is not None
        assert state == TaskInstanceState.FAILED, "a try that was running is archived as failed"

    @pytest.mark.parametrize("rotated_in", ["scheduled", "queued", "deferred", "up_for_reschedule"])
    def test_it_works_in_every_open_state(self, one, rotated_in):
        """What waits is archived in its own state."""
        work = one.take("cleaning", "p1", "first")
        if rotated_in in ("deferred", "up_for_reschedule"):
            assert one.run(work) == 200
            assert one.defer(work) == 204 if rotated_in == "deferred" else one.reschedule(work) == 204
        elif rotated_in == "scheduled":
            with create_session(scoped=False) as session:
                session.get_one(TaskInstance, work.id).state = TaskInstanceState.SCHEDULED
        assert one.states("cleaning", "p1")["first"] == rotated_in
        prepare_for_next_try(one, "first")
        assert one.ti("cleaning", "p1", "first").id != work.id
        assert [(h.task_instance_id, h.try_number) for h in history(one, "first")] == [(work.id, 1)]

    def test_it_forgets_reschedules(self, one):
        """``TaskReschedule`` rows of the old id are deleted, for else the foreign key would break."""
        work = one.take("cleaning", "p1", "first")
        assert one.run(work) == 200
        assert one.reschedule(work) == 204
        prepare_for_next_try(one, "first")
        with create_session(scoped=False) as session:
            assert not session.scalars(select(TaskReschedule)).all()

    def test_it_can_be_repeated_within_a_try_number(self, one):
        """Two archived tries with one number must not break the unique key of the history."""
        prepare_for_next_try(one, "first")
        prepare_for_next_try(one, "first")
        assert [h.try_number for h in history(one, "first")] in ([1], [1, 1])

    def test_the_next_method_is_forgotten(self, one):
        """``TaskInstance.clear_next_method_args``: the next try begins from the start."""
        work = one.take("cleaning", "p1", "first")
        assert one.run(work) == 200
        assert one.defer(work) == 204
        with create_session(scoped=False) as session:
            ti = session.get_one(TaskInstance, work.id)
            assert ti.next_method == "execute_complete"
            ti.clear_next_method_args()
            assert ti.next_method is None
            assert ti.next_kwargs is None


class TestTries:
    """Try numbers and the retries that are left."""

    def test_the_try_number_grows_when_the_task_is_scheduled(self, one):
        """``DagRun.schedule_tis``."""
        assert one.ti("cleaning", "p1", "second").try_number == 0
        assert one.ti("cleaning", "p1", "first").try_number == 1

    def test_a_stopped_task_without_a_state_gets_the_next_number(self, one):
        """... also one that was rescheduled, whose state we have cleared."""
        work = one.take("cleaning", "p1", "first")
        assert one.run(work) == 200
        assert one.reschedule(work, timedelta(0)) == 204
        one.hear()
        prepare_for_next_try(one, "first")
        one.tick()
        assert one.ti("cleaning", "p1", "first").try_number == 2

    def test_a_rescheduled_task_keeps_its_number(self, one):
        """``DagRun.schedule_tis``: UP_FOR_RESCHEDULE is the same try."""
        work = one.take("cleaning", "p1", "first")
        assert one.run(work) == 200
        assert one.reschedule(work, timedelta(seconds=-1)) == 204
        one.hear()
        one.tick()
        assert one.ti("cleaning", "p1", "first").try_number == 1

    def test_one_more_of_max_tries_gives_a_stopped_try_back(self, one):
        """``_is_eligible_to_retry`` (``execution_api/routes/task_instances.py``): try_number <= max_tries."""

        def retries_offered() -> bool:
            work = one.take("cleaning", "p1", "first")
            answer = execution_api().patch(
                f"/task-instances/{work.id}/run",
                json={
                    "state": "running",
                    "hostname": "w",
                    "unixname": "a",
                    "pid": 1,
                    "start_date": "2026-01-01T00:00:00Z",
                },
            )
            assert answer.status_code == 200
            return bool(answer.json()["should_retry"])

        offered = []
        for _ in range(5):
            offered.append(retries_offered())
            with create_session(scoped=False) as session:
                ti = session.get_one(TaskInstance, one.ti("cleaning", "p1", "first").id)
                ti.prepare_db_for_next_try(session)
                ti.max_tries += 1
                ti.state = None
            one.tick()
        assert offered == [True] * 5
        assert one.ti("cleaning", "p1", "first").max_tries == 2 + 5

    def test_a_retry_that_failed_is_archived_under_its_number(self, one):
        """``TIRetryStatePayload``: the live row keeps the number until it is scheduled again."""
        work = one.take("cleaning", "p1", "first")
        assert one.run(work) == 200
        assert one.retry(work) == 204
        ti = one.ti("cleaning", "p1", "first")
        assert (ti.state, ti.try_number) == ("up_for_retry", 1)
        assert ti.id != work.id
        assert [(h.task_instance_id, h.try_number) for h in history(one, "first")] == [(work.id, 1)]


class TestClear:
    """``clear_task_instances``, which repairs."""

    def clear(self, world: World, *task_ids: str, latest: bool = False) -> None:
        with create_session(scoped=False) as session:
            tis = [session.get_one(TaskInstance, world.ti("cleaning", "p1", t).id) for t in task_ids]
            clear_task_instances(tis, session, run_on_latest_version=latest)

    def test_a_finished_run_is_queued_again_without_a_start(self, one):
        """State None, id rotated, the run QUEUED, ``clear_number`` counted, retries granted anew."""
        one.play()
        before = one.ti("cleaning", "p1", "first")
        run_after = one.dag_run("cleaning", "p1").run_after
        self.clear(one, "first")
        ti, run = one.ti("cleaning", "p1", "first"), one.dag_run("cleaning", "p1")
        assert ti.state is None
        assert ti.id != before.id
        assert ti.max_tries == ti.try_number + 2
        assert (run.state, run.start_date, run.clear_number) == ("queued", None, 1)
        assert run.run_after == run_after, "a hold that was there stays"
        assert run.last_scheduling_decision is None
        assert one.states("cleaning", "p1")["second"] == "success", "nothing but what was named"

    def test_a_running_run_goes_on_running(self, one):
        """Only ``State.finished_dr_states`` are queued again."""
        assert one.work(one.take("cleaning", "p1", "first"))
        self.clear(one, "first")
        assert one.dag_run("cleaning", "p1").state == "running"

    def test_a_running_task_is_restarted_not_stopped(self, one):
        """Why we don't stop with it: RESTARTING may start again under the new id."""
        assert one.run(one.take("cleaning", "p1", "first")) == 200
        self.clear(one, "first")
        assert one.states("cleaning", "p1")["first"] == "restarting"

    @pytest.mark.parametrize("latest", [False, True])
    def test_the_dag_version_is_the_one_asked_for(self, one, latest, monkeypatch):
        """``run_on_latest_version`` moves the cleared task instances and the run, if it had ended."""
        one.play()
        monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
        before = one.ti("cleaning", "p1", "first").dag_version_id
        one.add(consumer("cleaning", ORDERS, tasks=("first", "second", "third"), retries=2))
        self.clear(one, "first", latest=latest)
        run = one.dag_run("cleaning", "p1")
        assert (one.ti("cleaning", "p1", "first").dag_version_id == before) is not latest
        assert (run.created_dag_version_id == before) is not latest

    def test_which_version_is_chosen_by_dag_then_by_configuration(self, world, monkeypatch):
        """``resolve_run_on_latest_version(None, dag_id, session)``."""
        with DAG("says_so", schedule=None, rerun_with_latest_version=True) as says_so:
            Step(task_id="work")
        with DAG("says_nothing", schedule=None) as says_nothing:
            Step(task_id="work")
        world.add(says_so, says_nothing)
        with create_session(scoped=False) as session:
            assert resolve_run_on_latest_version(None, "says_so", session) is True
            assert resolve_run_on_latest_version(None, "says_nothing", session) is False
            monkeypatch.setenv("AIRFLOW__CORE__RERUN_WITH_LATEST_VERSION", "True")
            assert resolve_run_on_latest_version(None, "says_nothing", session) is True


def test_the_states_that_count_as_finished():
    """``airflow/utils/state.py``: ``State.finished``; everything else may still run."""
    assert State.finished == {"success", "failed", "skipped", "upstream_failed", "removed"}
    assert set(SCHEDULEABLE_STATES) == {None, "up_for_retry", "up_for_reschedule"}


@pytest.mark.parametrize("model", [TaskInstance, TaskInstanceHistory])
def test_a_task_instance_and_its_history_have_the_columns_that_we_read(model):
    """``airflow/models/taskinstance.py``, ``airflow/models/taskinstancehistory.py``."""
    assert {
        *("dag_id", "run_id", "task_id", "map_index", "try_number"),
        *("state", "start_date", "end_date", "duration"),
    } <= set(inspect(model).columns.keys())


def test_a_task_instance_has_the_columns_that_we_write():
    """``airflow/models/taskinstance.py``."""
    assert {
        *("id", "state", "max_tries", "trigger_id", "trigger_timeout", "external_executor_id"),
        *("next_method", "next_kwargs", "last_heartbeat_at"),
    } <= set(inspect(TaskInstance).columns.keys())


def test_a_run_returns_its_task_instances_mapped_ones_included(one):
    """``DagRun.get_task_instances``, ``TaskInstance.get_dagrun``."""
    with create_session(scoped=False) as session:
        run = session.get_one(DagRun, one.dag_run("cleaning", "p1").id)
        tis = run.get_task_instances(session=session)
        assert {ti.task_id for ti in tis} == {"first", "second"}
        assert tis[0].get_dagrun(session=session) is run
