"""
Holding, stopping and letting go: the brake's writes to Dag runs and task instances.

Every function works under row locks that :func:`lock_runs` took, in the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from airflow._shared.timezones.timezone import utcnow
from airflow.configuration import conf
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import DagRunState, State, TaskInstanceState
from airflow.utils.types import DagRunType
from sqlalchemy import delete, inspect, select, tuple_

from airflow_lean_provider.airflow_internals.statements import chunks
from airflow_lean_provider.rules.facts import Run, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

HELD_UNTIL = datetime(2037, 12, 31, tzinfo=timezone.utc)
"""
The ``run_after`` of a held run: both scheduler queries leave it alone until then
(``DagRun.get_queued_dag_runs_to_set_running``, ``get_running_dag_runs_to_examine``). Any moment in the future
would do, since a hold ends by an event; MariaDB's TIMESTAMP ends in January 2038.
"""


def lock_runs(runs: Collection[Run], *, session: Session) -> dict[Run, DagRun]:
    """
    Lock the runs, then their task instances, waiting for whoever has them, and read them anew.

    ``FOR NO KEY UPDATE``: the foreign-key share lock that a publication takes on a run that it is consumed by
    does not wait for us, so that no cycle of locks can form (``with_row_locks`` defaults to the same).
    """
    locked: dict[Run, DagRun] = {}
    for some in chunks(sorted(runs)):
        for dag_run in session.scalars(
            select(DagRun)
            .where(tuple_(DagRun.dag_id, DagRun.run_id).in_([tuple(r) for r in some]))
            .order_by(DagRun.id)
            .with_for_update(of=DagRun, key_share=True)
            .execution_options(populate_existing=True)
        ).unique():
            locked[Run(dag_run.dag_id, dag_run.run_id)] = dag_run
    return locked


def lock_tasks(tasks: Collection[Task], *, session: Session) -> dict[Task, TaskInstance]:
    """Lock the task instances, in one order, and read them anew."""
    locked: dict[Task, TaskInstance] = {}
    for some in chunks(sorted(tasks)):
        for ti in session.scalars(
            select(TaskInstance)
            .where(
                tuple_(
                    TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index
                ).in_([tuple(t) for t in some])
            )
            .order_by(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)
            .with_for_update(of=TaskInstance)
            .execution_options(populate_existing=True)
        ).unique():
            locked[Task(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)] = ti
    return locked


def lock_task(ti: TaskInstance, connection: Connection) -> None:
    """Lock a task instance of a locked run, which is about to be written to, without reading it anew."""
    connection.execute(select(TaskInstance.id).where(TaskInstance.id == ti.id).with_for_update())


def lock_start(dag_run: DagRun, *, session: Session) -> bool:
    """
    Lock a run that the scheduler is about to start, as it does itself but on MariaDB (``with_row_locks``).

    It does not wait: it may have what others wait for.

    :return: False if somebody else has it, or has held it since the scheduler read it; it is read anew then,
        and stays in the queue
    """
    connection = session.connection()
    if connection.dialect.name != "mysql" or getattr(connection.dialect, "supports_for_update_of", False):
        return True
    found = connection.execute(
        select(DagRun.run_after).where(DagRun.id == dag_run.id).with_for_update(skip_locked=True)
    ).first()
    as_read: datetime = inspect(dag_run).committed_state.get("run_after", dag_run.run_after)
    if found is not None and found.run_after == as_read:
        return True
    with session.no_autoflush:
        session.refresh(dag_run)
    if dag_run.state != DagRunState.QUEUED:
        dag_run.set_state(DagRunState.QUEUED)
    return False


def hold(dag_run: DagRun) -> datetime:
    """
    Hold the run as a whole: it costs no slot, no trigger and no query while it waits.

    :return: the run's own ``run_after``
    """
    own = dag_run.run_after
    if dag_run.state != DagRunState.QUEUED:
        dag_run.set_state(DagRunState.QUEUED)
    dag_run.run_after = HELD_UNTIL
    dag_run.last_scheduling_decision = None
    return own


def state_of(dag_run: DagRun) -> dict[str, str | None]:
    """Return what :func:`hold` changes besides ``run_after``, for :func:`restore`."""
    return {
        "state": str(dag_run.state),
        "start_date": dag_run.start_date.isoformat() if dag_run.start_date else None,
        "queued_at": dag_run.queued_at.isoformat() if dag_run.queued_at else None,
    }


def state_before_start(dag_run: DagRun) -> dict[str, str | None]:
    """Return :func:`state_of` as it was before the scheduler's transaction that starts the run."""
    return state_of(dag_run) | {"state": str(DagRunState.QUEUED), "start_date": None}


def restore(dag_run: DagRun, run_after: datetime, was: Mapping[str, str | None] | None) -> bool:
    """
    Undo :func:`hold` exactly: the run is in the state that it was in, with its times.

    :return: False if somebody else has changed the run meanwhile, which is left as they want it
    """
    if not let_go(dag_run, run_after):
        return False
    if was and dag_run.state == DagRunState.QUEUED:
        dag_run.set_state(DagRunState(was["state"]))
        for name in ("start_date", "queued_at"):
            moment = was[name]
            setattr(dag_run, name, datetime.fromisoformat(moment) if moment else None)
    return True


def let_go(dag_run: DagRun, run_after: datetime) -> bool:
    """
    Undo :func:`hold`.

    :return: False if somebody else has changed the run meanwhile, which is left as they want it
    """
    if dag_run.run_after != HELD_UNTIL:
        return False
    dag_run.run_after = run_after
    return True


def is_timed(dag_run: DagRun) -> bool:
    """Tell whether Airflow counts the time of the run towards its time-out."""
    return dag_run.state == DagRunState.RUNNING and dag_run.start_date is not None


def stop_clock(dag_run: DagRun) -> None:
    """Let no time count towards the time-out of a running run: one without a start has none."""
    dag_run.start_date = None


def start_clock(dag_run: DagRun, start: datetime) -> None:
    """Undo :func:`stop_clock`, unless somebody else has ended or started the run meanwhile."""
    if dag_run.state == DagRunState.RUNNING and dag_run.start_date is None:
        dag_run.start_date = start


def tears_down(dag_run: DagRun, teardowns: Collection[str], *, session: Session) -> bool:
    """Tell whether a teardown of the run is under way, which :func:`schedule` has begun."""
    if not teardowns:
        return False
    under_way = (TaskInstanceState.SCHEDULED, TaskInstanceState.QUEUED, TaskInstanceState.RUNNING)
    return (
        session.scalar(
            select(TaskInstance.task_id)
            .where(
                TaskInstance.dag_id == dag_run.dag_id,
                TaskInstance.run_id == dag_run.run_id,
                TaskInstance.task_id.in_(teardowns),
                TaskInstance.state.in_(under_way),
            )
            .limit(1)
        )
        is not None
    )


def will_start_others(dag_run: DagRun, than: Collection[str], *, session: Session) -> bool:
    """Tell whether anything else of the run is still to start: not if people have ended it, say."""
    left = session.execute(
        select(TaskInstance.task_id, TaskInstance.state).where(
            TaskInstance.dag_id == dag_run.dag_id, TaskInstance.run_id == dag_run.run_id
        )
    ).all()
    return not left or any(each.state not in State.finished and each.task_id not in than for each in left)


def put_back(dag_run: DagRun, for_: timedelta) -> None:
    """
    Let the scheduler ask again later: what to do when a start could not be judged.

    A run whose ``run_after`` Airflow computes others from is asked again in the next loop instead.
    """
    dag_run.set_state(DagRunState.QUEUED)
    if dag_run.partition_key is not None and dag_run.run_type in (
        DagRunType.ASSET_TRIGGERED,
        DagRunType.MANUAL,
        DagRunType.OPERATOR_TRIGGERED,
    ):
        dag_run.run_after = utcnow() + for_


def stop(ti: TaskInstance, *, session: Session) -> bool | None:
    """
    Take the task instance back to its beginning, wherever it is, without using up a retry.

    Its id is rotated, so that a start that is under way gets 404 from ``PATCH .../run``, and the heartbeat of
    a process that runs makes its supervisor kill it (``TaskInstance.prepare_db_for_next_try``).

    :return: whether a process of it may be alive; None if it has ended meanwhile, and was left alone
    """
    if ti.state in State.finished:
        return None
    alive = ti.state in (TaskInstanceState.RUNNING, TaskInstanceState.RESTARTING)
    if ti.state not in (None, TaskInstanceState.UP_FOR_RETRY):
        ti.prepare_db_for_next_try(session)
        ti.max_tries += 1
    ti.state = None
    ti.trigger_id = None
    ti.trigger_timeout = None
    ti.external_executor_id = None
    ti.clear_next_method_args()
    return alive


def park(ti: TaskInstance) -> bool:
    """
    Hold one task instance inside a run that goes on: DEFERRED, with no trigger that could wake it.

    No time-out applies (``trigger_timeout`` is NULL), and a run with a deferred task is never found
    deadlocked.

    :return: False if it has ended meanwhile, and was left alone
    """
    if ti.state in State.finished:
        return False
    ti.state = TaskInstanceState.DEFERRED
    ti.trigger_id = None
    ti.trigger_timeout = None
    ti.clear_next_method_args()
    return True


def withdraw_questions(tis: Iterable[TaskInstance], *, session: Session) -> None:
    """
    Ask people no longer what parked task instances have asked them; they ask again when they run again.

    An answer would make a task instance that is DEFERRED, with or without a trigger, SCHEDULED in the
    api-server, and the scheduler asks nobody about what is SCHEDULED (``core_api/routes/public/hitl.py``).
    """
    for some in chunks([ti.id for ti in tis]):
        session.execute(
            delete(HITLDetail).where(HITLDetail.ti_id.in_(some)),
            execution_options={"synchronize_session": False},
        )


def schedule(ti: TaskInstance) -> None:
    """
    Have the task instance run whatever it depends on, as ``DagRun.schedule_tis`` does with what is ready.

    The teardown of a killed task waits for that task, which waits for the release.
    """
    ti.state = TaskInstanceState.SCHEDULED
    ti.scheduled_dttm = utcnow()
    ti.try_number += 1


def unpark(ti: TaskInstance) -> bool:
    """
    Undo :func:`park`.

    :return: False if somebody else has changed the task instance meanwhile
    """
    if not is_parked(ti):
        return False
    ti.state = None
    return True


def is_parked(ti: TaskInstance) -> bool:
    """Tell whether the task instance stands as :func:`park` has put it."""
    return ti.state == TaskInstanceState.DEFERRED and ti.trigger_id is None


def waits(ti: TaskInstance) -> bool:
    """Tell whether the task instance stands as :func:`stop` or :func:`park` has put it."""
    return ti.state is None or is_parked(ti)


def leave_out(ti: TaskInstance) -> bool:
    """
    Skip one task instance that has not begun; what follows it is judged by its trigger rule.

    :return: False if it has begun or ended meanwhile, and was left alone
    """
    if ti.state not in (None, TaskInstanceState.UP_FOR_RETRY) and not is_parked(ti):
        return False
    ti.state = TaskInstanceState.SKIPPED
    ti.start_date = ti.start_date or utcnow()
    ti.end_date = utcnow()
    return True


def end_as_skipped(dag_run: DagRun, tis: Iterable[TaskInstance]) -> None:
    """End a run that need not run: what has not finished is skipped."""
    now = utcnow()
    for ti in tis:
        if ti.state not in State.finished:
            ti.state = TaskInstanceState.SKIPPED
            ti.start_date = ti.start_date or now
            ti.end_date = now
    dag_run.start_date = dag_run.start_date or now
    dag_run.set_state(DagRunState.SUCCESS)


def survival() -> timedelta:
    """
    Return the longest time for which the process of a stopped task can live on.

    A supervisor learns of the stop at its next heartbeat, or gives up after ``max_failed_heartbeats`` of
    them without the api-server; then it signals the process three times, 5 s apart (``sdk/execution_time/
    supervisor.py``). Each attempt to reach the api-server may itself take a heartbeat interval.
    """
    interval = conf.getfloat("workers", "min_heartbeat_interval")
    attempts = conf.getint("workers", "max_failed_heartbeats")
    return timedelta(seconds=interval * (attempts + 1) + 3 * 5.0)


def orphans(known: Collection[Run], *, session: Session) -> list[Run]:
    """Return the runs that are held in Airflow, and that we do not know of."""
    rows = session.execute(select(DagRun.dag_id, DagRun.run_id).where(DagRun.run_after == HELD_UNTIL))
    return [run for run in (Run(*row) for row in rows) if run not in known]


def task_instances_of(runs: Collection[Run], *, session: Session) -> Mapping[Run, list[Task]]:
    """Return the task instances of the runs."""
    found: dict[Run, list[Task]] = {run: [] for run in runs}
    for some in chunks(sorted(runs)):
        for row in session.execute(
            select(
                TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index
            ).where(tuple_(TaskInstance.dag_id, TaskInstance.run_id).in_([tuple(r) for r in some]))
        ):
            task = Task(*row)
            found[task.run].append(task)
    return found
