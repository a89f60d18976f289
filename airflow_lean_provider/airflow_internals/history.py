"""What task instances are doing and have done, in the words of the rules."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from airflow_lean_provider.airflow_internals.marks import asked_at, marks_of
from airflow_lean_provider.airflow_internals.statements import among_rows
from airflow_lean_provider.rules.facts import Ending, Execution, Run, Task, TaskState, Try

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from uuid import UUID

    from sqlalchemy.orm import Session

_STARTED = "running"
_ENDINGS = {
    "success": Ending.SUCCESS,
    "skipped": Ending.SKIPPED,
    "failed": Ending.FAILED,
    "up_for_retry": Ending.FAILED,
}
_ENDED = (TaskInstanceState.SUCCESS, TaskInstanceState.FAILED, TaskInstanceState.SKIPPED)
_STATES: dict[str | None, TaskState] = {
    None: TaskState.WAITING,
    TaskInstanceState.UP_FOR_RETRY: TaskState.WAITING,
    TaskInstanceState.SCHEDULED: TaskState.QUEUED,
    TaskInstanceState.QUEUED: TaskState.QUEUED,
    TaskInstanceState.RUNNING: TaskState.RUNNING,
    TaskInstanceState.RESTARTING: TaskState.RUNNING,
    TaskInstanceState.DEFERRED: TaskState.RUNNING,
    TaskInstanceState.AWAITING_INPUT: TaskState.RUNNING,
    TaskInstanceState.UP_FOR_RESCHEDULE: TaskState.RUNNING,
    TaskInstanceState.SUCCESS: TaskState.SUCCESS,
    TaskInstanceState.FAILED: TaskState.FAILED,
    TaskInstanceState.UPSTREAM_FAILED: TaskState.FAILED,
    TaskInstanceState.SKIPPED: TaskState.SKIPPED,
    TaskInstanceState.REMOVED: TaskState.REMOVED,
}


class History(NamedTuple):
    """
    What the task instances of some runs are doing and have done.

    :param asked: when each try was asked for; the id of a task instance is made anew for every try
    :param marks: when a person last set the state of a task instance, or of a run with all of its own
    :param dag_versions: those that the task instances of each run have run by
    """

    states: dict[Run, dict[Task, TaskState]]
    executions: list[Execution]
    asked: dict[Task, list[datetime]]
    marks: dict[Task | Run, datetime]
    dag_versions: dict[Run, set[UUID]]


def is_rescheduled(ti: Any) -> bool:
    """Tell whether the task instance waits between two pokes."""
    return bool(ti.state == TaskInstanceState.UP_FOR_RESCHEDULE)


def history_of(
    runs: Collection[Run],
    *,
    stopped: Collection[Try],
    parked: Collection[Task],
    skew: timedelta,
    session: Session,
) -> History:
    """
    Return what the task instances of the runs are doing and have done.

    The times of an execution are those that the api-server wrote into ``log`` (events ``running``,
    ``success``, ``failed``, ``up_for_retry``, ``skipped``: ``execution_api/routes/task_instances.py``);
    where there is no such row, the task instance's own times, which a worker's clock wrote, with ``skew``
    as doubt. A task that starts in the triggerer and ends there has no such row: it has a method to go on
    with (``TaskInstance.defer_task``), which nobody else has who has not started.
    """
    states: dict[Run, dict[Task, TaskState]] = defaultdict(dict)
    asked: dict[Task, list[datetime]] = defaultdict(list)
    dag_versions: dict[Run, set[UUID]] = defaultdict(set)
    tries: dict[Try, Any] = {}
    live: dict[Try, Any] = {}
    named = sorted(runs)
    past = (TaskInstanceHistory.dag_id, TaskInstanceHistory.run_id)
    for of_run in among_rows(past, named, session=session):
        for row in session.execute(
            _columns(TaskInstanceHistory, TaskInstanceHistory.task_instance_id).where(of_run)
        ):
            tries[Try(_task(row), row.try_number)] = row
            dag_versions[_task(row).run] |= {row.dag_version_id} - {None}
            _note_ask(asked, row)
    for of_run in among_rows((TaskInstance.dag_id, TaskInstance.run_id), named, session=session):
        for row in session.execute(_columns(TaskInstance, TaskInstance.id).where(of_run)):
            task = _task(row)
            dag_versions[task.run] |= {row.dag_version_id} - {None}
            _note_ask(asked, row)
            state = _STATES.get(row.state, TaskState.WAITING)
            is_parked = task in parked and row.state == TaskInstanceState.DEFERRED and row.trigger_id is None
            states[task.run][task] = TaskState.PARKED if is_parked else state
            if row.state not in (None, TaskInstanceState.UP_FOR_RETRY) and not is_parked:
                live[Try(task, row.try_number)] = row
    tries |= live
    starts, ends = _logged({t.task for t in tries}, session)
    executions = _executions(tries, live, starts, ends, stopped, skew)
    marked = marks_of(runs, session=session)
    marks: dict[Task | Run, datetime] = dict(marked.runs.items())
    for attempt, row in live.items():
        told = ends.get(attempt, (None, None))[1]
        moment = _marked_at(row, told, attempt in stopped, marked.tasks.get(attempt.task))
        if moment is not None:
            marks[attempt.task] = moment
    return History(dict(states), executions, asked, marks, dict(dag_versions))


def _executions(
    tries: Mapping[Try, Any],
    live: Collection[Try],
    starts: Mapping[Try, datetime],
    ends: Mapping[Try, tuple[datetime, str]],
    stopped: Collection[Try],
    skew: timedelta,
) -> list[Execution]:
    logged_runs = {t.task.run for t in starts}
    executions = []
    for attempt, row in tries.items():
        started, doubt = starts.get(attempt), timedelta(0)
        if started is None:
            if row.start_date is None or not _was_started(row, attempt.task.run in logged_runs):
                continue
            started, doubt = row.start_date, skew
        ended, event = ends.get(attempt, (None, None))
        ending = _ENDINGS[event] if event is not None else Ending.OPEN
        if attempt in stopped:
            ending, ended = Ending.STOPPED, ended or row.end_date
        elif ending is Ending.OPEN and not (
            attempt in live and _STATES.get(row.state) in (TaskState.RUNNING, TaskState.QUEUED)
        ):
            ending = _ENDINGS.get(row.state or "", Ending.FAILED)
            ended, doubt = row.end_date or started, skew
        executions.append(Execution(attempt, started, ended, ending, doubt))
    return executions


def _marked_at(
    row: Any, told: str | None, is_stopped: bool, marked: tuple[datetime, str] | None
) -> datetime | None:
    """
    Return when a person has set the state of the task instance, None if nobody has.

    The audit log says so, or the task instance itself: it ends otherwise than its worker has told of this.
    Airflow writes no audit row when several task instances are marked at once (``bulk_task_instances``), and
    one when it refuses to mark any.

    :param marked: when somebody called for it, and the state
    """
    if row.state not in _ENDED or row.state == told:
        return None
    if marked is not None and marked[1] == row.state:
        return marked[0]
    by_hand = row.state != TaskInstanceState.SKIPPED if is_stopped else told is not None
    return row.updated_at or row.end_date if by_hand else None


def _note_ask(asked: dict[Task, list[datetime]], row: Any) -> None:
    moment = asked_at(row.id)
    if moment is not None:
        asked[_task(row)].append(moment)


def _columns(model: Any, key: Any) -> Any:
    return select(
        key.label("id"),
        model.hostname,
        model.next_method,
        model.trigger_id,
        model.dag_id,
        model.run_id,
        model.task_id,
        model.map_index,
        model.try_number,
        model.state,
        model.start_date,
        model.end_date,
        model.updated_at,
        model.dag_version_id,
    )


def _task(row: Any) -> Task:
    return Task(row.dag_id, row.run_id, row.task_id, row.map_index)


def _was_started(row: Any, is_logged: bool) -> bool:
    """
    A worker has said where it runs, or the scheduler what comes after its trigger; who marks a state has not.

    :param is_logged: its run has rows in the log, which every worker's start would be among (``ti_run``)
    """
    if row.next_method is not None:
        return True
    return (
        not is_logged
        and bool(row.hostname)
        and row.try_number > 0
        and row.state
        not in (
            TaskInstanceState.SCHEDULED,
            TaskInstanceState.QUEUED,
            TaskInstanceState.UPSTREAM_FAILED,
            TaskInstanceState.REMOVED,
        )
    )


def _logged(
    tasks: Collection[Task], session: Session
) -> tuple[dict[Try, datetime], dict[Try, tuple[datetime, str]]]:
    starts: dict[Try, datetime] = {}
    ends: dict[Try, tuple[datetime, str]] = {}
    named = sorted({(t.dag_id, t.task_id, t.run_id) for t in tasks})
    for is_one in among_rows((Log.dag_id, Log.task_id, Log.run_id), named, session=session):
        for row in session.execute(
            select(
                Log.dag_id, Log.run_id, Log.task_id, Log.map_index, Log.try_number, Log.event, Log.dttm
            ).where(
                is_one,
                Log.event.in_([_STARTED, *_ENDINGS]),
                Log.try_number.is_not(None),
            )
        ):
            if row.dttm is None:
                continue
            attempt = Try(
                Task(row.dag_id, row.run_id, row.task_id, -1 if row.map_index is None else row.map_index),
                row.try_number,
            )
            if row.event == _STARTED:
                starts[attempt] = min(starts.get(attempt, row.dttm), row.dttm)
            elif attempt not in ends or ends[attempt][0] < row.dttm:
                ends[attempt] = (row.dttm, row.event)
    return starts, ends
