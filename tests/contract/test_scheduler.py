"""
What we rely on in ``airflow/jobs/scheduler_job_runner.py`` and ``airflow/models/dagrun.py``.

Each test states one fact and names where Airflow's source has it. A failure here means that Airflow has
changed: look at what the fact is used for before anything else.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.models.asset import AssetEvent
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.sdk import DAG, Asset, BaseOperator
from airflow.timetables.base import DagRunInfo, TimeRestriction
from airflow.timetables.trigger import CronPartitionTimetable
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import prohibit_commit
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunType
from sqlalchemy import inspect, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import object_session

from airflow_lean_provider.airflow_internals.holding import HELD_UNTIL, hold, let_go
from tests.contract.spies import Asked, asking, listening
from tests.integration.dags import Step, consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World

ORDERS = Asset("orders")

BEFORE_SCHEDULING = (True, True, False, True)
"""How ``_get_ready_tis`` asks: the flags of its ``DepContext`` that tell it from the other, and a session."""
ONLY_COUNTING = (True, False, True, True)
"""How ``_are_premature_tis`` asks."""


class OverList(BaseOperator):
    """A task to be mapped."""

    def __init__(self, *, number: Any, **options: Any) -> None:
        super().__init__(**options)
        self.number = number


@pytest.fixture
def one(world: World) -> World:
    """One Dag with two tasks in a row, and one partition that its run is about to read."""
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, tasks=("first", "second")))
    world.publish("ingest", "p1")
    return world


def change_run(run: DagRun, **values: Any) -> None:
    with create_session(scoped=False) as session:
        session.execute(update(DagRun).where(DagRun.id == run.id).values(**values))


def change_task(ti: TaskInstance, **values: Any) -> None:
    with create_session(scoped=False) as session:
        session.execute(update(TaskInstance).where(TaskInstance.id == ti.id).values(**values))


class TestRunAfter:
    """Holding a run: ``run_after`` in the far future."""

    @pytest.mark.parametrize("state", [DagRunState.QUEUED, DagRunState.RUNNING])
    def test_the_scheduler_leaves_a_run_alone_until_its_run_after(self, one, state):
        """``DagRun.get_queued_dag_runs_to_set_running``, ``get_running_dag_runs_to_examine``."""
        one.create_runs()
        run = one.dag_run("cleaning", "p1")

        def found(run_after: datetime) -> bool:
            change_run(run, state=state, run_after=run_after)
            with create_session(scoped=False) as session:
                query = {
                    DagRunState.QUEUED: DagRun.get_queued_dag_runs_to_set_running,
                    DagRunState.RUNNING: DagRun.get_running_dag_runs_to_examine,
                }[state]
                return run.id in {r.id for r in query(session=session)}

        now = datetime.now(timezone.utc)
        assert found(now - timedelta(seconds=5))
        assert not found(now + timedelta(hours=1))
        assert not found(HELD_UNTIL)

    def test_a_held_run_costs_no_write_and_starts_at_once_when_let_go(self, one):
        """A hold is one update, and another one undoes it; nothing else touches the run meanwhile."""
        one.create_runs()
        with create_session(scoped=False) as session:
            own = hold(session.get_one(DagRun, one.dag_run("cleaning", "p1").id))
        one.tick()
        before = one.rows(DagRun, TaskInstance)
        for _ in range(3):
            one.tick()
            one.timers()
        assert one.rows(DagRun, TaskInstance) == before
        with create_session(scoped=False) as session:
            assert let_go(session.get_one(DagRun, one.dag_run("cleaning", "p1").id), own)
        one.tick()
        assert one.dag_run("cleaning", "p1").state == "running"
        assert one.dag_run("cleaning", "p1").run_after == own

    def test_a_held_run_uses_none_of_max_active_runs(self, world):
        """``DagRun.get_queued_dag_runs_to_set_running`` counts RUNNING runs only."""
        world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, max_active_runs=1))
        world.publish("ingest", "p1", "p2")
        world.create_runs()
        change_run(world.dag_run("cleaning", "p1"), run_after=HELD_UNTIL)
        world.start_runs()
        assert world.dag_run("cleaning", "p1").state == "queued"
        assert world.dag_run("cleaning", "p2").state == "running"

    def test_the_far_future_can_be_stored(self, one):
        """``UtcDateTime`` gives back the same moment, with a time zone."""
        one.create_runs()
        change_run(one.dag_run("cleaning", "p1"), run_after=HELD_UNTIL)
        found = one.dag_run("cleaning", "p1").run_after
        assert found == HELD_UNTIL
        assert found.tzinfo is not None

    def test_queued_again_the_run_loses_its_start_so_that_no_timeout_counts_the_wait(self, one):
        """``DagRun.set_state``; ``_schedule_dag_run`` measures ``dagrun_timeout`` from ``start_date``."""
        one.tick()
        assert one.dag_run("cleaning", "p1").start_date is not None
        with create_session(scoped=False) as session:
            run = session.get_one(DagRun, one.dag_run("cleaning", "p1").id)
            run.set_state(DagRunState.QUEUED)
            assert run.start_date is None
            assert run.end_date is None
        one.start_runs()
        assert one.dag_run("cleaning", "p1").start_date is not None

    def test_the_next_scheduled_run_is_computed_from_the_run_after_of_the_last(self):
        """Why scheduled runs are parked task by task: ``CronPartitionTimetable.next_dagrun_info_v2``."""
        timetable = CronPartitionTimetable("0 * * * *", timezone="UTC")
        last = DagRunInfo(
            run_after=pendulum.instance(HELD_UNTIL),
            data_interval=None,
            partition_date=None,
            partition_key="2026-01-01T00",
        )
        following = timetable.next_dagrun_info_v2(
            last_dagrun_info=last, restriction=TimeRestriction(earliest=None, latest=None, catchup=True)
        )
        assert following.run_after > HELD_UNTIL

    def test_the_events_of_an_unpartitioned_run_begin_at_the_run_after_of_the_last(self, world):
        """Why those runs are parked, too: ``SchedulerJobRunner._create_dag_runs_asset_triggered``."""
        with DAG("plain_producer", schedule=None) as plain_producer:
            Step(task_id="load", outlets=[ORDERS])
        with DAG("plain_consumer", schedule=[ORDERS]) as plain_consumer:
            Step(task_id="work")
        world.add(plain_producer, plain_consumer)

        def publish_and_consume() -> int:
            world.trigger("plain_producer")
            world.play(but={"plain_consumer"})
            world.create_runs()
            run = world.runs("plain_consumer")[-1]
            with create_session(scoped=False) as session:
                return len(session.get_one(DagRun, run.id).consumed_asset_events)

        assert publish_and_consume() == 1
        assert publish_and_consume() == 1
        change_run(world.runs("plain_consumer")[-1], run_after=HELD_UNTIL)
        assert publish_and_consume() == 2, "the event of the held run is consumed once more"


class TestStartOfARun:
    """The listener ``on_dag_run_running``."""

    def test_it_is_called_in_the_transaction_that_starts_the_run_before_any_task_is_scheduled(
        self, one, other_session
    ):
        """``_start_queued_dagruns``: the state is set, then ``DagRun.notify_dagrun_state_changed``."""
        seen: dict[str, Any] = {}

        def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
            session = object_session(dag_run)
            assert session is not None
            seen["session"] = session
            seen["state"] = dag_run.state
            seen["tasks"] = set(
                session.scalars(select(TaskInstance.state).where(TaskInstance.run_id == dag_run.run_id))
            )
            with pytest.raises(RuntimeError, match="UNEXPECTED COMMIT"):
                session.commit()

        one.create_runs()
        with (
            listening(on_dag_run_running=on_dag_run_running),
            create_session(scoped=False) as session,
            prohibit_commit(session) as guard,
        ):
            one.scheduler._start_queued_dagruns(session)
            assert seen["session"] is session
            assert session.in_transaction()
            guard.commit()
        assert seen["state"] == DagRunState.RUNNING
        assert seen["tasks"] == {None}

    def test_what_it_does_to_the_run_is_committed_with_the_start(self, one):
        """``_start_queued_dagruns`` does not touch the run after the listeners were called."""

        def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
            dag_run.set_state(DagRunState.QUEUED)
            dag_run.run_after = HELD_UNTIL

        one.create_runs()
        with listening(on_dag_run_running=on_dag_run_running):
            one.start_runs()
        one.schedule()
        assert one.is_held("cleaning", "p1")
        assert set(one.states("cleaning", "p1").values()) == {None}

    def test_what_it_raises_is_swallowed_and_the_run_starts(self, one):
        """Why we never raise there: ``DagRun.notify_dagrun_state_changed`` logs every exception."""

        def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
            raise RuntimeError("a listener that fails")

        one.create_runs()
        with listening(on_dag_run_running=on_dag_run_running):
            one.start_runs()
        assert one.dag_run("cleaning", "p1").state == "running"

    def test_it_is_not_called_for_a_task_cleared_in_a_running_run(self, one):
        """Why the gate is needed: ``clear_task_instances`` leaves a RUNNING run running."""
        called = []
        one.tick()
        work = one.take("cleaning", "p1", "first")
        assert one.work(work)
        one.tick()
        with listening(on_dag_run_running=lambda dag_run, msg: called.append(dag_run)):
            one.clear("cleaning", "p1", "first")
            one.tick()
        assert one.dag_run("cleaning", "p1").state == "running"
        assert one.states("cleaning", "p1")["first"] == "queued"
        assert not called


class TestSavepoints:
    """Transactions within the scheduler's."""

    def test_an_orm_savepoint_is_taken_for_a_commit(self, session):
        """``CommitProhibitorGuard`` (``utils/sqlalchemy.py``) hears ``before_commit``, which both fire."""
        with (
            prohibit_commit(session),
            pytest.raises(RuntimeError, match="UNEXPECTED COMMIT"),
            session.begin_nested(),
        ):
            session.execute(text("SELECT 1"))

    def test_a_savepoint_of_the_connection_is_not(self, session):
        """What we use around our own statements instead."""
        with prohibit_commit(session) as guard:
            connection = session.connection()
            with pytest.raises(DBAPIError), connection.begin_nested():
                connection.execute(text("SELECT * FROM there_is_no_such_table"))
            assert session.scalar(text("SELECT 1")) == 1
            guard.commit()


class TestAskedBeforeScheduling:
    """``airflow_internals.gate``: ``TaskInstance.get_failed_dep_statuses``."""

    def test_it_is_asked_of_every_task_instance_that_would_be_scheduled(self, one, monkeypatch):
        """``DagRun._get_ready_tis`` -> ``TaskInstance.are_dependencies_met``."""
        one.create_runs()
        one.start_runs()
        with asking(monkeypatch, lambda ti: None) as asked:
            one.schedule()
        assert Asked("first", -1, None, *BEFORE_SCHEDULING) in asked
        assert {a.task_id for a in asked} == {"first"}, "the second task's own dependencies are not met"
        assert one.states("cleaning", "p1") == {"first": "scheduled", "second": None}

    def test_a_failed_dependency_keeps_it_from_being_scheduled(self, one, monkeypatch):
        """``TIDepStatus(dep_name, passed, reason)``; only ``passed`` counts."""
        one.create_runs()
        one.start_runs()
        with asking(monkeypatch, lambda ti: "held") as asked:
            one.schedule()
        assert asked
        assert one.states("cleaning", "p1") == {"first": None, "second": None}

    @pytest.mark.parametrize("again", ["retry", "reschedule", "clear"])
    def test_it_is_asked_of_later_tries(self, one, monkeypatch, again):
        """UP_FOR_RETRY, UP_FOR_RESCHEDULE and None are ``SCHEDULEABLE_STATES``."""
        one.tick()
        work = one.take("cleaning", "p1", "first")
        assert one.run(work) == 200
        if again == "retry":
            assert one.retry(work) == 204
        elif again == "reschedule":
            assert one.reschedule(work, timedelta(seconds=-1)) == 204
        else:
            assert one.succeed(work) == 204
            one.clear("cleaning", "p1", "first")
        one.hear()
        with asking(monkeypatch, lambda ti: "held" if ti.task_id == "first" else None) as asked:
            one.schedule()
        state = {"retry": "up_for_retry", "reschedule": "up_for_reschedule", "clear": None}[again]
        assert Asked("first", -1, state, *BEFORE_SCHEDULING) in asked
        assert one.states("cleaning", "p1")["first"] == state

    def test_it_is_asked_of_each_mapped_instance(self, world, monkeypatch):
        """``_get_ready_tis`` asks of the unexpanded one (map index -1), then of what it was expanded to."""
        with DAG("mapping", schedule=None) as dag:
            numbers = Step(task_id="numbers")
            OverList.partial(task_id="each").expand(number=numbers.output)
        world.add(dag)
        world.trigger("mapping", run_id="r1")
        world.tick()
        work = world.take("mapping", "r1", "numbers")
        assert world.run(work) == 200
        assert world.succeed(work, returns=[1, 2, 3]) == 204
        with asking(monkeypatch, lambda ti: None) as asked:
            world.schedule()
        assert next(a.map_index for a in asked if a.task_id == "each") == -1
        assert {a.map_index for a in asked if a.task_id == "each"} == {-1, 0, 1, 2}
        assert world.states("mapping", "r1")["each[2]"] == "scheduled"

    def test_what_holds_the_unexpanded_one_holds_the_expansion(self, world, monkeypatch):
        """``_get_ready_tis`` goes on to the next before it expands."""
        with DAG("mapping", schedule=None) as dag:
            numbers = Step(task_id="numbers")
            OverList.partial(task_id="each").expand(number=numbers.output)
        world.add(dag)
        world.trigger("mapping", run_id="r1")
        world.tick()
        work = world.take("mapping", "r1", "numbers")
        assert world.run(work) == 200
        assert world.succeed(work, returns=[1, 2, 3]) == 204
        change_task(world.ti("mapping", "r1", "each"), state=TaskInstanceState.DEFERRED)
        for _ in range(3):
            world.tick()
            world.timers()
        assert world.states("mapping", "r1")["each"] == "deferred"
        change_task(world.ti("mapping", "r1", "each"), state=None)
        world.tick()
        assert {f"each[{n}]" for n in range(3)} <= world.states("mapping", "r1").keys()

    def test_what_is_on_its_way_is_asked_about_as_well(self, one, monkeypatch):
        """
        Why the gate tells its askers apart: ``DagRun._are_premature_tis``.

        When nothing can be scheduled, it asks of every unfinished task instance, even a RUNNING one.
        """
        one.tick()
        assert one.run(one.take("cleaning", "p1", "first")) == 200
        with asking(monkeypatch, lambda ti: None) as asked:
            one.schedule()
        assert asked == [Asked("first", -1, "running", *ONLY_COUNTING)]

    def test_a_run_of_which_nothing_can_go_on_is_failed_as_deadlocked(self, one, monkeypatch):
        """Why a refusal alone is not enough, and a task is parked: ``DagRun.update_state``."""
        one.create_runs()
        one.start_runs()
        with asking(monkeypatch, lambda ti: "held"):
            one.schedule()
        assert one.dag_run("cleaning", "p1").state == "failed"

    def test_a_run_with_a_deferred_task_is_never_found_deadlocked(self, one, monkeypatch):
        """``DagRun.update_state``: ``should_schedule``; parked within the question itself."""

        def park(ti: TaskInstance) -> str:
            ti.state = TaskInstanceState.DEFERRED
            return "held"

        one.create_runs()
        one.start_runs()
        with asking(monkeypatch, park):
            one.schedule()
        assert one.dag_run("cleaning", "p1").state == "running"
        assert one.states("cleaning", "p1") == {"first": "deferred", "second": None}

    def test_every_caller_of_the_scheduler_hands_over_its_session_by_name(self, one, monkeypatch):
        """``airflow tasks failed-deps`` hands over none; ``provide_session`` then makes one."""
        one.create_runs()
        one.start_runs()
        with asking(monkeypatch, lambda ti: None) as asked:
            one.schedule()
        assert asked
        assert all(a.has_session for a in asked)


class TestErrorsWhileScheduling:
    """``SchedulerJobRunner._schedule_all_dag_runs``."""

    @pytest.fixture
    def two(self, world: World) -> World:
        world.add(producer("ingest", ORDERS), consumer("broken", ORDERS), consumer("healthy", ORDERS))
        world.publish("ingest", "p1")
        world.create_runs()
        world.start_runs()
        return world

    def test_what_one_run_raises_leaves_the_others_scheduled_and_the_run_is_asked_again(
        self, two, monkeypatch
    ):
        """The broad ``except`` in the loop over the runs, then ``guard.commit()``."""

        def refuse(ti: TaskInstance) -> None:
            if ti.dag_id == "broken":
                raise RuntimeError("cannot be judged")

        with asking(monkeypatch, refuse):
            two.schedule()
        assert two.states("healthy", "p1") == {"work": "scheduled"}
        assert two.states("broken", "p1") == {"work": None}
        assert two.dag_run("broken", "p1").state == "running"
        two.schedule()
        assert two.states("broken", "p1") == {"work": "scheduled"}

    def test_an_error_of_the_database_is_not_caught_there(self, two, monkeypatch):
        """Why ``StartNotJudged`` is no ``DBAPIError``: that is raised on, and the whole loop tried again."""

        def refuse(ti: TaskInstance) -> None:
            raise OperationalError("SELECT", {}, Exception("gone"))

        monkeypatch.setattr("airflow.utils.retries.MAX_DB_RETRIES", 1)
        with asking(monkeypatch, refuse), create_session(scoped=False) as session:
            runs = list(DagRun.get_running_dag_runs_to_examine(session=session))
            undecorated = type(two.scheduler)._schedule_all_dag_runs.__wrapped__
            with prohibit_commit(session) as guard, pytest.raises(OperationalError):
                undecorated(two.scheduler, guard, runs, session=session)


class TestParking:
    """DEFERRED, with ``trigger_id`` NULL."""

    def test_nobody_touches_it(self, one):
        """``check_trigger_timeouts``, ``adopt_or_reset_orphaned_tasks``, ``Trigger.clean_unused``."""
        one.tick()
        work = one.take("cleaning", "p1", "first")
        assert one.work(work)
        ti = one.ti("cleaning", "p1", "second")
        change_task(ti, state=TaskInstanceState.DEFERRED, trigger_id=None, trigger_timeout=None)
        one.tick()
        before = one.rows(TaskInstance)
        for _ in range(3):
            one.tick()
            one.timers()
            one.scheduler._find_and_purge_task_instances_without_heartbeats()
            with create_session(scoped=False) as session:
                Trigger.clean_unused(session=session)
        assert one.rows(TaskInstance) == before
        assert one.dag_run("cleaning", "p1").state == "running"

    def test_a_trigger_timeout_would_wake_it(self, one):
        """Why ``trigger_timeout`` is cleared: ``SchedulerJobRunner.check_trigger_timeouts``."""
        one.tick()
        ti = one.ti("cleaning", "p1", "second")
        long_ago = datetime.now(timezone.utc) - timedelta(days=1)
        change_task(ti, state=TaskInstanceState.DEFERRED, trigger_timeout=long_ago)
        one.timers()
        assert one.states("cleaning", "p1")["second"] == "scheduled"

    def test_without_a_state_it_is_scheduled_again(self, one):
        """None is one of ``SCHEDULEABLE_STATES``."""
        one.tick()
        assert one.work(one.take("cleaning", "p1", "first"))
        ti = one.ti("cleaning", "p1", "second")
        change_task(ti, state=TaskInstanceState.DEFERRED)
        one.tick()
        change_task(ti, state=None)
        one.tick()
        assert one.states("cleaning", "p1")["second"] == "queued"

    def test_it_uses_no_slot_of_its_pool(self, one):
        """``Pool.include_deferred`` is false unless somebody sets it."""
        from airflow.models.pool import Pool

        one.tick()
        change_task(one.ti("cleaning", "p1", "second"), state=TaskInstanceState.DEFERRED)
        with create_session(scoped=False) as session:
            pool = Pool.get_default_pool(session=session)
            assert not pool.include_deferred
            assert Pool.slots_stats(session=session)[pool.pool]["open"] == pool.slots - 1  # "first"


def test_a_dag_run_has_the_columns_that_we_read_and_write(session):
    """``airflow/models/dagrun.py``, ``airflow/models/dag.py``."""
    assert {
        *("id", "dag_id", "run_id", "partition_key", "run_type", "state", "run_after", "created_at", "conf"),
        *("last_scheduling_decision", "start_date", "end_date", "clear_number"),
    } <= set(inspect(DagRun).columns.keys()) | {"state"}
    assert {"dag_id", "owners", "timetable_partitioned", "is_paused", "max_active_runs"} <= set(
        inspect(DagModel).columns.keys()
    )


def test_every_type_of_run_is_known_to_us():
    """``airflow/utils/types.py``: a new type would count as scheduled."""
    from airflow_lean_provider.airflow_internals.runs import _ORIGINS

    assert set(DagRunType) == set(_ORIGINS)


def test_every_state_of_a_task_instance_is_known_to_us():
    """``airflow/utils/state.py``: a new state would count as waiting."""
    from airflow_lean_provider.airflow_internals.history import _STATES

    assert set(TaskInstanceState) == set(_STATES) - {None}


def test_the_key_of_a_partitioned_run_is_kept_in_the_run(one):
    """``DagRun.partition_key``, from ``AssetPartitionDagRun.partition_key``; events keep the producer's."""
    one.create_runs()
    with create_session(scoped=False) as session:
        run = session.scalars(select(DagRun).where(DagRun.dag_id == "cleaning")).one()
        assert run.partition_key == "p1"
        assert [e.partition_key for e in run.consumed_asset_events] == ["p1"]
        event = session.scalars(select(AssetEvent)).one()
        assert (event.source_dag_id, event.source_task_id, event.source_map_index) == ("ingest", "load", -1)
