"""What Airflow says of itself: which components live, which hooks are in place, what holds use up."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.configuration import conf
from airflow.jobs.job import Job, JobState
from airflow.listeners.listener import get_listener_manager
from airflow.models.asset import AssetEvent, PartitionedAssetKeyLog
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.sqlalchemy import with_row_locks
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import event, select, text, tuple_
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import configure_mappers

from airflow_lean_provider.airflow_internals.holding import HELD_UNTIL
from airflow_lean_provider.airflow_internals.statements import chunks
from airflow_lean_provider.rules.facts import Run, Task

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.orm import Session

SCHEDULER, TRIGGERER, DAG_PROCESSOR = "SchedulerJob", "TriggererJob", "DagProcessorJob"

NEVER_COMES_ROUND = timedelta(days=365)
"""No scheduler runs that long without a restart."""

_ASKS_WHETHER_WITH_DELETE_IS_KNOWN = (
    "EXPLAIN WITH one AS (SELECT 1 AS id) DELETE FROM asset_active "
    "WHERE EXISTS (SELECT 1 FROM one WHERE one.id = 0)"
)


class Component(NamedTuple):
    """One process that writes heartbeats into the ``job`` table, ended ones left out."""

    kind: str
    hostname: str
    heartbeat: datetime | None
    alive: bool


class UsedLimit(NamedTuple):
    """
    How much holds use of one of Airflow's own limits.

    :param dag_id: None for a pool
    :param of: the Dag, task or pool
    :param unit: which limit of it
    """

    dag_id: str | None
    of: str
    used: int
    limit: int
    unit: str

    @property
    def is_full(self) -> bool:
        return self.used >= self.limit

    def __str__(self) -> str:
        return f"{self.of}: {self.used} of {self.limit} {self.unit}"


class ParkedState(NamedTuple):
    """What a task instance does that we have parked: None if it no longer exists."""

    state: str | None
    has_trigger: bool


def components(*, session: Session) -> list[Component]:
    """
    Return the schedulers, triggerers and dag-processors that have not ended.

    One that was killed leaves its row as running; its heartbeat tells (``airflow/jobs/job.py``). Api-servers
    have no such row.
    """
    jobs = session.scalars(
        select(Job)
        .where(Job.job_type.in_((SCHEDULER, TRIGGERER, DAG_PROCESSOR)), Job.state == JobState.RUNNING)
        .order_by(Job.latest_heartbeat.desc())
    )
    return [
        Component(str(job.job_type), job.hostname or "?", job.latest_heartbeat, bool(job.is_alive()))
        for job in jobs
    ]


def takes_row_locks(*, session: Session) -> bool:
    """
    Return whether Airflow locks the rows that its schedulers take up.

    Not on SQLite, not on MariaDB, and nowhere with ``[scheduler] use_row_level_locking`` off
    (``with_row_locks`` in ``airflow/utils/sqlalchemy.py``).
    """
    locking = with_row_locks(select(DagRun.id), session, skip_locked=True)
    return "FOR " in str(locking.compile(dialect=session.get_bind().dialect))


def dies_of_asset_cleanup(*, session: Session) -> bool:
    """
    Return whether the scheduler's clean-up of assets fails on this database, and the scheduler with it.

    MariaDB does not know ``WITH ... DELETE`` (``_orphan_unreferenced_assets`` in
    ``airflow/jobs/scheduler_job_runner.py``). An interval that never comes round avoids it.
    """
    if session.get_bind().dialect.name != "mysql":
        return False
    if conf.getfloat("scheduler", "parsing_cleanup_interval") >= NEVER_COMES_ROUND.total_seconds():
        return False
    try:
        with session.begin_nested():
            session.execute(text(_ASKS_WHETHER_WITH_DELETE_IS_KNOWN))
    except ProgrammingError:
        return True
    return False


def missing_hooks() -> list[str]:
    """Return what is not in place in this process, of that which every Airflow process should have."""
    from airflow_lean_provider.airflow_internals import gate
    from airflow_lean_provider.listeners import hooks, publications, runs

    configure_mappers()
    manager = get_listener_manager().pm
    found = {
        "the policy entry point": any(
            e.value == hooks.__name__ for e in entry_points(group="airflow.policy")
        ),
        "the plugin's listener of Dag runs": manager.is_registered(runs),
        "the plugin's listener of asset events": manager.is_registered(publications),
        "the hook on publications": event.contains(
            PartitionedAssetKeyLog, "after_insert", hooks._on_key_logged
        ),
        "the hook on asset events": event.contains(AssetEvent, "after_insert", hooks._on_published),
        "the hook on serialized Dags": hasattr(SerializedDagModel.write_dag, "tells_andon"),
        f"the gate before every start (dependency {gate.DEPENDENCY!r})": hasattr(
            TaskInstance.get_failed_dep_statuses, "asks_andon"
        ),
    }
    return [what for what, present in found.items() if not present]


def runs_held_in_airflow(*, session: Session) -> set[Run]:
    """Return the runs that wait for the date at which nothing but the brake lets runs wait."""
    return {
        Run(*row)
        for row in session.execute(
            select(DagRun.dag_id, DagRun.run_id).where(
                DagRun.state == DagRunState.QUEUED, DagRun.run_after == HELD_UNTIL
            )
        )
    }


def states_of_parked(tasks: Collection[Task], *, session: Session) -> dict[Task, ParkedState]:
    """Return what each of the task instances does; those that are gone are left out."""
    found: dict[Task, ParkedState] = {}
    for some in chunks(sorted(tasks)):
        for row in session.execute(
            select(
                TaskInstance.dag_id,
                TaskInstance.run_id,
                TaskInstance.task_id,
                TaskInstance.map_index,
                TaskInstance.state,
                TaskInstance.trigger_id,
            ).where(
                tuple_(
                    TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index
                ).in_([tuple(t) for t in some])
            )
        ):
            found[Task(*row[:4])] = ParkedState(row.state, row.trigger_id is not None)
    return found


def is_parked(found: ParkedState | None) -> bool:
    """Tell whether the task instance is as :func:`holding.park` has left it."""
    return found is not None and found.state == TaskInstanceState.DEFERRED and not found.has_trigger


def used_up(held: Collection[Run], parked: Collection[Task], *, session: Session) -> list[UsedLimit]:
    """
    Name what holds use up of Airflow's own limits, of each Dag, task and pool.

    A parked task leaves its run RUNNING, and a held run stays QUEUED: the former counts towards
    ``max_active_runs`` of every Dag, the latter only of one that makes runs by the clock
    (``SchedulerJobRunner._set_exceeds_max_active_runs``). A deferred task counts towards
    ``max_active_tis_per_dag(run)``, and towards a pool that includes deferred ones.
    """
    return [
        *_used_runs(held, {t.run for t in parked}, session),
        *_used_task_limits(parked, session),
        *_used_pools(parked, session),
    ]


def _used_runs(held: Collection[Run], parked: Collection[Run], session: Session) -> list[UsedLimit]:
    of_dag: dict[str, set[Run]] = defaultdict(set)
    for run in parked:
        of_dag[run.dag_id].add(run)
    queued: dict[str, set[Run]] = defaultdict(set)
    for run in held:
        queued[run.dag_id].add(run)
    said = []
    for some in chunks(sorted(of_dag.keys() | queued.keys())):
        for dag_id, limit, by_clock in session.execute(
            select(
                DagModel.dag_id,
                DagModel.max_active_runs,
                DagModel.next_dagrun_create_after.is_not(None) | DagModel.exceeds_max_non_backfill,
            )
            .where(DagModel.dag_id.in_(some))
            .order_by(DagModel.dag_id)
        ):
            used = len(of_dag[dag_id]) + (len(queued[dag_id]) if by_clock else 0)
            if limit and used:
                said.append(UsedLimit(dag_id, dag_id, used, limit, "max_active_runs"))
    return said


def _used_task_limits(parked: Collection[Task], session: Session) -> list[UsedLimit]:
    counts: dict[tuple[str, str], list[Task]] = defaultdict(list)
    for task in parked:
        counts[task.dag_id, task.task_id].append(task)
    limits = _task_limits({dag_id for dag_id, _ in counts}, session)
    said = []
    for (dag_id, task_id), tasks in sorted(counts.items()):
        of = f"{dag_id}.{task_id}"
        per_dag, per_run = limits.get((dag_id, task_id), (None, None))
        if per_dag:
            said.append(UsedLimit(dag_id, of, len(tasks), per_dag, "max_active_tis_per_dag"))
        if per_run:
            most = max(sum(1 for t in tasks if t.run == run) for run in {t.run for t in tasks})
            said.append(UsedLimit(dag_id, of, most, per_run, "max_active_tis_per_dagrun in one run"))
    return said


def _task_limits(
    dag_ids: Collection[str], session: Session
) -> dict[tuple[str, str], tuple[int | None, int | None]]:
    if not dag_ids:
        return {}
    found: dict[tuple[str, str], tuple[int | None, int | None]] = {}
    for row in SerializedDagModel.get_latest_serialized_dags(dag_ids=sorted(dag_ids), session=session):
        row.load_op_links = False
        for task in row.dag.tasks:
            operator: Any = task
            found[row.dag_id, operator.task_id] = (
                operator.max_active_tis_per_dag,
                operator.max_active_tis_per_dagrun,
            )
    return found


def _used_pools(parked: Collection[Task], session: Session) -> list[UsedLimit]:
    used: dict[tuple[str, int], int] = defaultdict(int)
    for some in chunks(sorted(parked)):
        for pool, slots, needed in session.execute(
            select(Pool.pool, Pool.slots, TaskInstance.pool_slots)
            .join(TaskInstance, TaskInstance.pool == Pool.pool)
            .where(
                Pool.include_deferred.is_(True),
                tuple_(
                    TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index
                ).in_([tuple(t) for t in some]),
            )
        ):
            used[str(pool), slots] += needed
    return [
        UsedLimit(None, f"pool {pool}", count, slots, "slots")
        for (pool, slots), count in sorted(used.items())
    ]
