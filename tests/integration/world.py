"""
A real Airflow without processes: every component's own code, called step by step from one test.

Dags are written to the metadata database as the dag-processor does; the scheduler's own loop is taken apart
into its steps; workers are played through the real execution API, application and routes included; so our
listeners, hooks and policy entry points are called by whoever calls them in production. What does not happen
by itself here: time does not pass, and nothing runs unless the test says so.

    world.add(*dags)
    world.publish("orders", "p1")                 # a run of the producing Dag, up to its asset event
    world.tick()                                  # one loop of the scheduler
    work = world.take("clean", "p1")              # what the executor was handed
    assert world.run(work) == 200                 # PATCH /execution/task-instances/{id}/run
    assert world.succeed(work) == 204             # PATCH .../state: registers the asset events
    world.play()                                  # everybody works until nothing is left to do
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from airflow.api.common.mark_tasks import set_dag_run_state_to_failed, set_dag_run_state_to_success
from airflow.api.common.trigger_dag import trigger_dag
from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI
from airflow.api_fastapi.execution_api.datamodels.token import TIClaims, TIToken
from airflow.api_fastapi.execution_api.security import _jwt_bearer
from airflow.assets.manager import asset_manager
from airflow.configuration import conf
from airflow.dag_processing.collection import update_dag_parsing_results_in_db
from airflow.executors.base_executor import BaseExecutor
from airflow.jobs.job import Job, JobState
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.asset import AssetAliasModel, AssetEvent, AssetModel, AssetPartitionDagRun
from airflow.models.dag import DagModel
from airflow.models.dagbag import DBDagBag
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import is_lock_not_available_error, prohibit_commit
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from fastapi import Request  # noqa: TC002 (read when the dependency is called)
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import now as sql_now

from airflow_lean_provider import settings
from airflow_lean_provider.airflow_internals.holding import HELD_UNTIL
from airflow_lean_provider.brake import release as release_act
from airflow_lean_provider.brake import sweep
from airflow_lean_provider.brake.pull import Pulled, Scope
from airflow_lean_provider.brake.pull import pull as pull_act
from airflow_lean_provider.brake.scene import look
from airflow_lean_provider.rules.facts import Outcome, Run
from airflow_lean_provider.rules.plan import decide
from airflow_lean_provider.store.models import HaltedPartition, StoppedTry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow.executors.workloads import ExecuteTask
    from airflow.sdk import DAG
    from sqlalchemy.orm import Session

BUNDLE = "tests"
AT_MOST = 60
"""Rounds after which :meth:`World.play` takes a story for one that never ends."""


@compiles(sql_now, "sqlite")
def _now_with_fractions(element: Any, compiler: Any, **options: Any) -> str:
    """SQLite's own clock knows whole seconds: the scheduler would leave a new run for the next one."""
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now'))"


@compiles(sql_now, "mysql")
def _now_with_microseconds(element: Any, compiler: Any, **options: Any) -> str:
    """So does MariaDB's, unless it is asked for more."""
    return "NOW(6)"


@dataclass(frozen=True)
class Work:
    """What the executor was handed: one try of one task instance, under the id that it had then."""

    id: UUID
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    workload: ExecuteTask = field(repr=False, compare=False)
    executor: RecordingExecutor = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return f"{self.dag_id}.{self.task_id}" + (f"[{self.map_index}]" if self.map_index >= 0 else "")


class RecordingExecutor(BaseExecutor):
    """Keeps what the scheduler hands it; nothing starts until the test takes it out."""

    def __init__(self) -> None:
        super().__init__(parallelism=1000)
        self.waiting: list[Work] = []

    def queue_workload(self, workload: Any, session: Session) -> None:
        ti = workload.ti
        self.waiting.append(
            Work(ti.id, ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number, workload, self)
        )

    def ended(self, work: Work, state: TaskInstanceState) -> None:
        """Report the end of the worker's process, as LocalExecutor does."""
        self.event_buffer[work.workload.ti.key] = (state, None)


class Scheduler:
    """One scheduler with an executor of its own, its loop taken apart into steps."""

    def __init__(self) -> None:
        self.executor = RecordingExecutor()
        with create_session(scoped=False) as session:
            job = Job(state=JobState.RUNNING, latest_heartbeat=_moment())
            session.add(job)
            session.flush()
            self.runner = SchedulerJobRunner(job=job, executors=[self.executor])
            session.flush()
            session.expunge(job)
        self.executor.job_id = job.id

    def create_runs(self) -> None:
        with create_session(scoped=False) as session, prohibit_commit(session) as guard:
            self.runner._create_dagruns_for_dags(guard, session)

    def start_runs(self) -> None:
        with create_session(scoped=False) as session, prohibit_commit(session) as guard:
            self.runner._start_queued_dagruns(session)
            guard.commit()

    def schedule(self) -> None:
        with create_session(scoped=False) as session, prohibit_commit(session) as guard:
            runs = list(DagRun.get_running_dag_runs_to_examine(session=session))
            self.runner._schedule_all_dag_runs(guard, runs, session)

    def queue(self) -> list[Work]:
        """Hand to the executor what may go there; return what is new."""
        before = len(self.executor.waiting)
        with create_session(scoped=False) as session, prohibit_commit(session) as guard:
            try:
                self.runner._critical_section_enqueue_task_instances(session=session)
            except OperationalError as error:
                if not is_lock_not_available_error(error):
                    raise
                session.rollback()  # another scheduler is at it (``_do_scheduling``)
                return []
            guard.commit()
        return self.executor.waiting[before:]

    def hear(self) -> None:
        """Hear from the executor what has ended; Airflow opens the scoped session a second time in it."""
        with create_session() as session:
            self.runner._process_executor_events(executor=self.executor, session=session)

    def tick(self) -> list[Work]:
        """One loop; return what is new in the executor."""
        self.create_runs()
        self.start_runs()
        self.schedule()
        found = self.queue()
        self.hear()
        return found


@cache
def execution_app() -> InProcessExecutionAPI:
    """The execution API in this process: the real application, with tokens that are always valid."""
    api = InProcessExecutionAPI()
    api.app.dependency_overrides[_jwt_bearer] = _caller
    return api


@cache
def execution_api() -> httpx.Client:
    """A client of it."""
    return httpx.Client(transport=execution_app().transport, base_url="http://in-process.invalid")


async def _caller(request: Request) -> TIToken:
    """Who calls: the task instance that the path or, where it names none, a header names."""
    named = request.path_params.get("task_instance_id") or request.headers.get("task-instance-id")
    return TIToken(
        id=UUID(named or "00000000-0000-0000-0000-000000000000"), claims=TIClaims(scope="execution")
    )


class World:
    """See the module. A partition key, where a method takes one, names the latest run that has it."""

    def __init__(self) -> None:
        self.dags: dict[str, DAG] = {}
        self.versions: dict[str, list[DAG]] = defaultdict(list)
        self.done: list[tuple[str, str | None]] = []
        """Every success that the api-server accepted: task name and partition key, in order."""
        self.refused: list[Work] = []
        """Every start that the api-server refused."""
        self.may_retry: dict[UUID, bool] = {}
        """What the api-server said of each start: whether a failure leaves a retry."""
        with self._session() as session:
            session.add(DagBundleModel(name=BUNDLE))
        self._one = Scheduler()
        self.scheduler = self._one.runner
        self.executor = self._one.executor

    # The dag-processor

    def add(self, *dags: DAG) -> None:
        """Write the Dags to the metadata database, or new versions of them, and unpause them."""
        for dag in dags:
            self.dags[dag.dag_id] = dag
            self.versions[dag.dag_id].append(dag)
        errors: dict[tuple[str, str], str] = {}
        with self._session() as session:
            update_dag_parsing_results_in_db(
                BUNDLE, None, [LazyDeserializedDAG.from_dag(d) for d in dags], errors, 0.1, set(), session
            )
            for model in session.scalars(
                select(DagModel).where(DagModel.dag_id.in_([d.dag_id for d in dags]))
            ):
                model.is_paused = False
        assert not errors, errors

    def pause(self, dag_id: str, *, paused: bool = True) -> None:
        with self._session() as session:
            session.get_one(DagModel, dag_id).is_paused = paused

    # The scheduler

    def create_runs(self) -> None:
        self._one.create_runs()

    def start_runs(self) -> None:
        self._one.start_runs()

    def schedule(self) -> None:
        self._one.schedule()

    def queue(self) -> list[Work]:
        """Hand to the executor what may go there; return what is new."""
        return self._one.queue()

    def hear(self) -> None:
        """Let the scheduler hear from the executor what has ended."""
        self._one.hear()

    def tick(self) -> list[Work]:
        """One loop of the scheduler; return what is new in the executor."""
        return self._one.tick()

    def timers(self) -> None:
        """What the scheduler does from time to time; on MariaDB but for what fails there."""
        with self._session() as session:
            self.scheduler.adopt_or_reset_orphaned_tasks(session=session)
            self.scheduler.check_trigger_timeouts(session=session)
            self.scheduler.check_awaiting_input_timeouts(session=session)
            self.scheduler._handle_tasks_stuck_in_queued(session=session)
            if session.get_bind().dialect.name != "mysql":
                self.scheduler._update_asset_orphanage(session=session)
            self.scheduler._remove_unreferenced_triggers(session=session)
            self.scheduler._update_dag_run_state_for_paused_dags(session=session)

    # The workers

    def waiting(self) -> list[str]:
        """The names of what the executor was handed and has not started."""
        return sorted(work.name for work in self.executor.waiting)

    def take(
        self, dag_id: str, key: str | None = None, task_id: str | None = None, map_index: int | None = None
    ) -> Work:
        """
        Take from the executor the one task instance that fits, at its newest try.

        :param key: a partition key or a run id
        """
        fitting = [
            work
            for work in self.executor.waiting
            if work.dag_id == dag_id
            and (key is None or key in (work.run_id, self.key_of(work)))
            and task_id in (None, work.task_id)
            and map_index in (None, work.map_index)
        ]
        assert len({(w.run_id, w.name) for w in fitting}) == 1, f"{fitting} of {self.waiting()}"
        self.executor.waiting.remove(fitting[-1])
        return fitting[-1]

    def run(self, work: Work) -> int:
        """Start it: ``PATCH .../run``, with what the api-server answers."""
        answer = self._ask(
            "PATCH",
            work,
            "run",
            state="running",
            hostname="worker",
            unixname="airflow",
            pid=_pid(work),
            start_date=_now(),
        )
        if answer.status_code == 200:
            self.may_retry[work.id] = answer.json()["should_retry"]
        return answer.status_code

    def succeed(self, work: Work, *, keys: Iterable[str] = (), returns: Any = None) -> int:
        """
        Report success, with the asset events of its outlets.

        :param keys: partition keys that the task chose at run time; none for the run's own
        :param returns: the XCom that it returns, a list to be mapped over
        """
        if returns is not None:
            self._push(work, returns)
        outlets = self._outlets(work)
        answer = self._state(
            work,
            "success",
            end_date=_now(),
            task_outlets=[{"name": a.name, "uri": a.uri, "type": "Asset"} for a in outlets],
            outlet_events=[
                {"dest_asset_key": {"name": a.name, "uri": a.uri}, "extra": {}, "partition_key": key}
                for a in outlets
                for key in keys
            ],
        )
        if answer == 204:
            self.done.append((work.name, self.key_of(work)))
        return answer

    def fail(self, work: Work) -> int:
        return self._state(work, "failed", end_date=_now())

    def skip(self, work: Work) -> int:
        return self._state(work, "skipped", end_date=_now())

    def retry(self, work: Work) -> int:
        """Report a failure that leaves a retry."""
        return self._state(work, "up_for_retry", end_date=_now())

    def defer(self, work: Work) -> int:
        return self._state(
            work, "deferred", classpath="tests.Trigger", trigger_kwargs={}, next_method="execute_complete"
        )

    def await_input(self, work: Work) -> int:
        return self._state(work, "awaiting_input", next_method="execute_complete")

    def reschedule(self, work: Work, after: timedelta = timedelta(0)) -> int:
        return self._state(
            work, "up_for_reschedule", reschedule_date=_text(_moment() + after), end_date=_now()
        )

    def heartbeat(self, work: Work) -> int:
        return self._call("PUT", work, "heartbeat", hostname="worker", pid=_pid(work))

    def wake(self, dag_id: str, key: str, task_id: str | None = None) -> None:
        """Fire the trigger that the deferred task instance waits for."""
        with self._session() as session:
            ti = session.get_one(TaskInstance, self.ti(dag_id, key, task_id).id)
            assert ti.trigger_id is not None
            Trigger.submit_event(ti.trigger_id, TriggerEvent({}), session=session)

    def play(self, *, but: Iterable[str] = (), sweeping: bool = True) -> Counter[tuple[str, str | None]]:
        """
        Let everybody work until nothing is left to do.

        :param but: names of Dags that the executor leaves alone
        :param sweeping: whether the sweeper is alive
        :return: how often each task of each partition has succeeded
        """
        before, quiet = len(self.done), 0
        left = set(but)
        for _ in range(AT_MOST):
            if sweeping:
                sweep.sweep()
            self.tick()
            chosen = [work for work in self.executor.waiting if work.dag_id not in left]
            for work in chosen:
                self.executor.waiting.remove(work)
                self.work(work)
            quiet = 0 if chosen else quiet + 1
            if quiet == 3:
                return Counter(self.done[before:])
        raise AssertionError(f"still busy after {AT_MOST} rounds: {self.done[before:]}")

    def work(self, work: Work) -> bool:
        """Start it and report success; False if the start was refused."""
        if self.run(work) != 200:
            self.refused.append(work)
            self.executor.ended(work, TaskInstanceState.FAILED)
            return False
        assert self.succeed(work) == 204
        return True

    # What people and other systems do

    def trigger(
        self,
        dag_id: str,
        key: str | None = None,
        *,
        conf: dict[str, Any] | None = None,
        run_type: DagRunType = DagRunType.MANUAL,
        run_id: str | None = None,
        logical_date: str | None = None,
    ) -> str:
        """Trigger the Dag as a person does; return the run's id."""
        with self._session() as session:
            run = trigger_dag(
                dag_id,
                triggered_by=DagRunTriggeredByType.REST_API,
                run_type=run_type,
                run_id=run_id,
                conf=conf or {},
                partition_key=key,
                logical_date=datetime.fromisoformat(logical_date) if logical_date else None,
                session=session,
            )
            assert run is not None
            return str(run.run_id)

    def trigger_from(self, work: Work, dag_id: str, key: str | None = None, **body: Any) -> str:
        """Trigger the Dag from a task that runs, as ``TriggerDagRunOperator`` does; return the run's id."""
        run_id = f"{work.dag_id}.{work.task_id}~{work.run_id}~{work.try_number}"
        answer = execution_api().post(
            f"/dag-runs/{dag_id}/{run_id}",
            json={"partition_key": key, **body},
            headers={"task-instance-id": str(work.id)},
        )
        assert answer.status_code == 204, answer.text
        return run_id

    def publish(self, dag_id: str, *keys: str) -> list[str]:
        """Trigger a producing Dag for each key and play its tasks, nobody else's; return the run ids."""
        runs = [self.trigger(dag_id, key) for key in keys]
        for _ in self.dags[dag_id].tasks:
            self.start_runs()
            self.schedule()
            self.queue()
            for work in [w for w in self.executor.waiting if w.run_id in runs]:
                self.executor.waiting.remove(work)
                assert self.work(work), f"{work} was refused"
        return runs

    def publish_from_outside(self, asset: str, key: str | None) -> None:
        """Register an asset event with no producing task, as ``POST /assets/events`` does."""
        with self._session() as session:
            model = session.scalars(select(AssetModel).where(AssetModel.name == asset)).one()
            asset_manager.register_asset_change(
                asset=model, partition_key=key, source_is_api=True, session=session
            )

    def associate(self, alias: str, asset: str) -> None:
        """Let the alias mean the asset from now on, as a publication through it does."""
        with self._session() as session:
            model = session.scalars(
                select(AssetAliasModel).where(AssetAliasModel.name == alias)
            ).one_or_none()
            if model is None:
                session.add(model := AssetAliasModel(name=alias, group=""))
            model.assets.append(session.scalars(select(AssetModel).where(AssetModel.name == asset)).one())

    def clear(self, dag_id: str, key: str, *task_ids: str) -> None:
        """Clear a run, or these tasks of it, as the clear button does."""
        run = self.dag_run(dag_id, key)
        with self._session() as session:
            dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
            assert dag is not None
            dag.clear(run_id=run.run_id, task_ids=list(task_ids) or None, session=session)

    def mark(self, dag_id: str, key: str, state: str) -> None:
        """Mark a run as success or failed, as the button on its page does."""
        run = self.dag_run(dag_id, key)
        setter = {
            DagRunState.SUCCESS: set_dag_run_state_to_success,
            DagRunState.FAILED: set_dag_run_state_to_failed,
        }[DagRunState(state)]
        with self._session() as session:
            dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
            assert dag is not None
            setter(dag=dag, run_id=run.run_id, commit=True, session=session)

    # The cord

    def pull(self, asset: str, *keys: str, **options: Any) -> int:
        """Pull the cord and insist that all was settled; return its number."""
        options = {"reason": "looks wrong", "by": "tester"} | options
        pulled: Pulled = pull_act(Scope(asset=asset, keys=keys), **options)
        assert pulled.settled
        return pulled.cord

    def release(self, cord: int, outcome: str = "fixed", **options: Any) -> release_act.Released:
        return release_act.release(cord, Outcome(outcome), **({"by": "tester"} | options))

    def repair(self, cord: int) -> release_act.Released:
        return release_act.repair(cord, by="tester")

    def labels(self, dag_id: str, key: str) -> set[str]:
        """What the rules call the run at this moment."""
        run = self.dag_run(dag_id, key)
        with self._session() as session:
            plan = decide(look(session).facts).runs.get(Run(run.dag_id, run.run_id))
        return {label.value for label in plan.labels} if plan else set()

    def halted(self) -> set[tuple[str, str | None]]:
        """The partitions that the cache of halts names, by asset name."""
        with self._session() as session:
            return {
                (name, key)
                for name, key in session.execute(
                    select(AssetModel.name, HaltedPartition.partition_key).join(
                        HaltedPartition, HaltedPartition.asset_id == AssetModel.id
                    )
                )
            }

    def hour_passes(self) -> None:
        """Make the stops an hour older, so that no stopped process can be alive."""
        with self._session() as session:
            for row in session.scalars(select(StoppedTry)):
                row.gone_by -= timedelta(hours=1)

    # Looking

    def runs(self, dag_id: str, key: str | None = None) -> list[DagRun]:
        """The runs of the Dag, oldest first; with ``key``, those with this key or this run id."""
        with self._session() as session:
            found = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id)).all()
            session.expunge_all()
        return [r for r in found if key is None or key in (r.partition_key, r.run_id)]

    def dag_run(self, dag_id: str, key: str) -> DagRun:
        found = self.runs(dag_id, key)
        assert found, f"{dag_id} has no run {key}"
        return found[-1]

    def states(self, dag_id: str, key: str) -> dict[str, str | None]:
        """The state of each task of the run, by task id (and map index)."""
        run = self.dag_run(dag_id, key)
        with self._session() as session:
            return {
                task_id if map_index < 0 else f"{task_id}[{map_index}]": state and str(state)
                for task_id, map_index, state in session.execute(
                    select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state).where(
                        TaskInstance.dag_id == dag_id, TaskInstance.run_id == run.run_id
                    )
                )
            }

    def ti(
        self, dag_id: str, key: str, task_id: str | None = None, map_index: int | None = None
    ) -> TaskInstance:
        run = self.dag_run(dag_id, key)
        with self._session() as session:
            found = [
                ti
                for ti in session.scalars(
                    select(TaskInstance).where(
                        TaskInstance.dag_id == dag_id, TaskInstance.run_id == run.run_id
                    )
                ).unique()
                if task_id in (None, ti.task_id) and map_index in (None, ti.map_index)
            ]
            session.expunge_all()
        assert len(found) == 1, found
        return found[0]

    def is_held(self, dag_id: str, key: str) -> bool:
        """Whether the run as a whole is held."""
        run = self.dag_run(dag_id, key)
        return run.state == "queued" and run.run_after == HELD_UNTIL

    def pending(self) -> list[tuple[str, str]]:
        """Airflow's pending partition runs, which wait for more events or for the scheduler."""
        with self._session() as session:
            return [
                (row.target_dag_id, row.partition_key)
                for row in session.execute(
                    select(AssetPartitionDagRun.target_dag_id, AssetPartitionDagRun.partition_key)
                    .where(AssetPartitionDagRun.created_dag_run_id.is_(None))
                    .order_by(AssetPartitionDagRun.id)
                )
            ]

    def events(self, asset: str, key: str | None = None) -> int:
        """How many events of the asset (and key) are registered."""
        with self._session() as session:
            return len(
                session.scalars(
                    select(AssetEvent.id)
                    .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
                    .where(AssetModel.name == asset, *([AssetEvent.partition_key == key] if key else []))
                ).all()
            )

    def consumed(self, dag_id: str, key: str) -> list[tuple[str, str | None]]:
        """Asset name and partition key of every event that the run is told it consumed."""
        run = self.dag_run(dag_id, key)
        with self._session() as session:
            events = session.get_one(DagRun, run.id).consumed_asset_events
            return [(e.asset.name, e.partition_key) for e in sorted(events, key=lambda event: event.id)]

    def note(self, dag_id: str, key: str) -> str | None:
        """The note that people see on the run's page."""
        run = self.dag_run(dag_id, key)
        with self._session() as session:
            return session.get_one(DagRun, run.id).note

    def task_note(self, dag_id: str, key: str, task_id: str) -> str | None:
        """The note that people see on the page of the task instance."""
        ti = self.ti(dag_id, key, task_id)
        with self._session() as session:
            return session.get_one(TaskInstance, ti.id).note

    def key_of(self, work: Work) -> str | None:
        with self._session() as session:
            return session.scalar(
                select(DagRun.partition_key).where(DagRun.dag_id == work.dag_id, DagRun.run_id == work.run_id)
            )

    def rows(self, *models: Any) -> dict[str, list[dict[str, Any]]]:
        """Every row of these tables, to be compared with themselves later."""
        with self._session() as session:
            return {
                model.__tablename__: sorted(
                    (dict(row._mapping) for row in session.execute(select(model.__table__))), key=str
                )
                for model in models
            }

    @staticmethod
    def configure(monkeypatch: Any, **options: float) -> None:
        """Set options of section ``[lean]`` for this test."""
        for option, value in options.items():
            monkeypatch.setenv(f"AIRFLOW__LEAN__{option.upper()}", str(value))
        assert conf.get("lean", next(iter(options))) == str(options[next(iter(options))])
        settings.forget()

    # Inside

    @staticmethod
    @contextmanager
    def _session() -> Iterator[Session]:
        with create_session(scoped=False) as session:
            yield session

    def _outlets(self, work: Work) -> list[Any]:
        """Return what the task has in the newest version of its Dag that has it."""
        for dag in reversed(self.versions[work.dag_id]):
            if dag.has_task(work.task_id):
                return list(dag.get_task(work.task_id).outlets)
        raise AssertionError(f"no version of {work.dag_id} has {work.task_id}")

    def _state(self, work: Work, state: str, **body: Any) -> int:
        answer = self._call("PATCH", work, "state", state=state, **body)
        work.executor.ended(work, TaskInstanceState.SUCCESS)
        return answer

    def _call(self, method: str, work: Work, what: str, **body: Any) -> int:
        return self._ask(method, work, what, **body).status_code

    @staticmethod
    def _ask(method: str, work: Work, what: str, **body: Any) -> httpx.Response:
        answer = execution_api().request(method, f"/task-instances/{work.id}/{what}", json=body)
        if answer.status_code in (422, 500):
            raise AssertionError(f"{method} {what} of {work}: {answer.status_code} {answer.text}")
        return answer

    def _push(self, work: Work, value: Any) -> None:
        params: dict[str, Any] = {"map_index": work.map_index}
        if isinstance(value, list):
            params["mapped_length"] = len(value)
        answer = execution_api().post(
            f"/xcoms/{work.dag_id}/{work.run_id}/{work.task_id}/return_value",
            params=params,
            content=json.dumps(json.dumps(value)),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 201, answer.text


def _pid(work: Work) -> int:
    """Every try is a process of its own."""
    return 1000 + work.id.int % 30000


def _moment() -> datetime:
    return datetime.now(timezone.utc)


def _text(moment: datetime) -> str:
    return moment.isoformat()


def _now() -> str:
    return _text(_moment())
