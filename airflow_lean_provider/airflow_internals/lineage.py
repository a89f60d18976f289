"""What happened, as Airflow keeps it, in the words of the rules."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from airflow.models.asset import AssetEvent, association_table
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunType
from sqlalchemy import and_, false, func, or_, select, tuple_

from airflow_lean_provider.airflow_internals.dags import Dags, producers_of, schedules_on
from airflow_lean_provider.rules.facts import (
    Ending,
    Execution,
    Origin,
    Partition,
    Publication,
    Run,
    Task,
    TaskState,
    Try,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from sqlalchemy.orm import Session

T = TypeVar("T")

AT_ONCE = 400
"""How many runs, keys or ids one statement names: SQLite takes 32,766 parameters, three for each."""

_STARTED = "running"
_ENDINGS = {
    "success": Ending.SUCCESS,
    "skipped": Ending.SUCCESS,
    "failed": Ending.FAILED,
    "up_for_retry": Ending.FAILED,
}
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
_ORIGINS: dict[str, Origin] = {
    DagRunType.ASSET_TRIGGERED: Origin.ASSETS,
    DagRunType.MANUAL: Origin.PERSON,
    DagRunType.ASSET_MATERIALIZATION: Origin.PERSON,
    DagRunType.OPERATOR_TRIGGERED: Origin.OPERATOR,
    DagRunType.SCHEDULED: Origin.SCHEDULE,
    DagRunType.BACKFILL_JOB: Origin.SCHEDULE,
}


class KnownRun(NamedTuple):
    """A Dag run as it is now."""

    id: int
    run: Run
    key: str | None
    origin: Origin
    over: bool
    queued: bool
    run_after: datetime
    created_at: datetime
    has_conf: bool


class History(NamedTuple):
    """
    What the task instances of some runs are doing and have done.

    :param asked: when each try was asked for; the id of a task instance is made anew for every try
    """

    states: dict[Run, dict[Task, TaskState]]
    executions: list[Execution]
    asked: dict[Task, list[datetime]]


def origin_of(run: Any) -> Origin:
    """Tell who made the run; a run type that we do not know counts as scheduled, the most careful guess."""
    return _ORIGINS.get(run.run_type, Origin.SCHEDULE)


def is_rescheduled(ti: Any) -> bool:
    """Tell whether the task instance waits between two pokes."""
    return bool(ti.state == TaskInstanceState.UP_FOR_RESCHEDULE)


def chunks(items: Iterable[T], size: int = AT_ONCE) -> Iterator[list[T]]:
    """Split the items into lists of at most ``size``."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def publications_of(partitions: Collection[Partition], *, session: Session) -> list[Publication]:
    """Return every asset event of the partitions."""
    by_asset: dict[int, set[str | None]] = defaultdict(set)
    for partition in partitions:
        by_asset[partition.asset].add(partition.key)
    found: list[Publication] = []
    keys = {p.key for p in partitions}
    named = sorted(k for k in keys if k is not None)
    for some in chunks(named):
        found += _publications(
            and_(AssetEvent.asset_id.in_(by_asset), AssetEvent.partition_key.in_(some)), session
        )
    if None in keys:
        found += _publications(
            and_(AssetEvent.asset_id.in_(by_asset), AssetEvent.partition_key.is_(None)), session
        )
    return [p for p in found if p.partition.key in by_asset[p.partition.asset]]


def publications_by(
    runs: Collection[Run], assets: Collection[int], since: datetime | None, *, session: Session
) -> list[Publication]:
    """Return the asset events that tasks of the runs emitted for these assets, from ``since`` on."""
    if not runs or not assets:
        return []
    wanted = set(runs)
    found: list[Publication] = []
    for some in chunks(sorted({r.run_id for r in wanted})):
        condition = and_(AssetEvent.asset_id.in_(assets), AssetEvent.source_run_id.in_(some))
        if since is not None:
            condition = and_(condition, AssetEvent.timestamp >= since)
        found += _publications(condition, session)
    return [p for p in found if p.task is not None and p.task.run in wanted]


def _publications(condition: Any, session: Session) -> list[Publication]:
    return [
        Publication(
            row.id,
            Partition(row.asset_id, row.partition_key),
            row.timestamp,
            Task(row.source_dag_id, row.source_run_id, row.source_task_id, row.source_map_index)
            if row.source_run_id is not None
            else None,
        )
        for row in session.execute(
            select(
                AssetEvent.id,
                AssetEvent.asset_id,
                AssetEvent.partition_key,
                AssetEvent.timestamp,
                AssetEvent.source_dag_id,
                AssetEvent.source_run_id,
                AssetEvent.source_task_id,
                AssetEvent.source_map_index,
            ).where(condition)
        )
    ]


def readers_of(
    partitions: Collection[Partition], publications: Sequence[Publication], dags: Dags, *, session: Session
) -> dict[Partition, set[Run]]:
    """
    Return the runs all of whose tasks read the partitions.

    Those that consumed an event of it, and those of Dags scheduled on the asset whose key its mapper maps it
    to, whoever made them; a run of a partitioned Dag without a key reads every partition.
    """
    found = _consumers(publications, session)
    schedules = [s for s in schedules_on({p.asset for p in partitions}, session=session) if s.partitioned]
    dags.load({s.dag_id for s in schedules})
    readers: dict[str, dict[str, set[Partition]]] = defaultdict(lambda: defaultdict(set))
    of_asset: dict[str, set[Partition]] = defaultdict(set)
    for schedule in schedules:
        for partition in partitions:
            if partition.asset == schedule.asset:
                of_asset[schedule.dag_id].add(partition)
                for key in dags.target_keys(schedule, partition.key):
                    readers[schedule.dag_id][key].add(partition)
    keys = {key for by_key in readers.values() for key in by_key}
    for run, key in _runs_with_keys(readers, keys, session):
        for partition in readers[run.dag_id].get(key, ()):
            found[partition].add(run)
    since = min((p.at for p in publications), default=None)
    for run in _runs_without_key(of_asset, since, session):
        for partition in of_asset[run.dag_id]:
            found[partition].add(run)
    return found


def _consumers(publications: Sequence[Publication], session: Session) -> dict[Partition, set[Run]]:
    found: dict[Partition, set[Run]] = defaultdict(set)
    of_event = {p.id: p.partition for p in publications}
    for some in chunks(sorted(of_event)):
        for event_id, dag_id, run_id in session.execute(
            select(association_table.c.event_id, DagRun.dag_id, DagRun.run_id)
            .join(DagRun, DagRun.id == association_table.c.dag_run_id)
            .where(association_table.c.event_id.in_(some))
        ):
            found[of_event[event_id]].add(Run(dag_id, run_id))
    return found


def _runs_with_keys(
    dag_ids: Collection[str], keys: Collection[str], session: Session
) -> Iterator[tuple[Run, str]]:
    for some in chunks(sorted(keys)):
        for dag_id, run_id, key in session.execute(
            select(DagRun.dag_id, DagRun.run_id, DagRun.partition_key).where(
                DagRun.dag_id.in_(dag_ids), DagRun.partition_key.in_(some)
            )
        ):
            if key is not None:
                yield Run(dag_id, run_id), key


def _runs_without_key(dag_ids: Collection[str], since: datetime | None, session: Session) -> Iterator[Run]:
    """Return the runs that go on, or ended a day before the first publication at the earliest."""
    if dag_ids:
        day_before = DagRun.end_date >= since - timedelta(days=1) if since is not None else false()
        recent = or_(DagRun.end_date.is_(None), day_before)
        for row in session.execute(
            select(DagRun.dag_id, DagRun.run_id).where(
                DagRun.dag_id.in_(dag_ids), DagRun.partition_key.is_(None), recent
            )
        ):
            yield Run(*row)


def producing_runs(partitions: Collection[Partition], *, session: Session) -> set[Run]:
    """Return the runs, with the key of a partition, of the Dags that have its asset as an outlet."""
    producers = producers_of({p.asset for p in partitions}, session=session)
    dag_ids = {d for found in producers.values() for d in found}
    keys = sorted({p.key for p in partitions if p.key is not None})
    wanted = {(d, p.key) for p in partitions for d in producers.get(p.asset, ())}
    runs: set[Run] = set()
    for run, key in _runs_with_keys(dag_ids, keys, session) if dag_ids else ():
        if (run.dag_id, key) in wanted:
            runs.add(run)
    return runs


def known_runs(runs: Collection[Run], *, session: Session) -> dict[Run, KnownRun]:
    """Return the runs that still exist."""
    found: dict[Run, KnownRun] = {}
    for some in chunks(sorted(runs)):
        for row in session.execute(
            select(
                DagRun.id,
                DagRun.dag_id,
                DagRun.run_id,
                DagRun.partition_key,
                DagRun.run_type,
                DagRun.state,
                DagRun.run_after,
                DagRun.created_at,
                DagRun.conf,
            ).where(tuple_(DagRun.dag_id, DagRun.run_id).in_([tuple(r) for r in some]))
        ):
            run = Run(row.dag_id, row.run_id)
            found[run] = KnownRun(
                row.id,
                run,
                row.partition_key,
                origin_of(row),
                over=row.state in (DagRunState.SUCCESS, DagRunState.FAILED),
                queued=row.state == DagRunState.QUEUED,
                run_after=row.run_after,
                created_at=row.created_at or row.run_after,
                has_conf=bool(row.conf),
            )
    return found


def consumed_by(runs: Collection[KnownRun], *, session: Session) -> dict[Run, set[Partition]]:
    """Return the partitions of the events that each run consumed."""
    by_id = {r.id: r.run for r in runs}
    found: dict[Run, set[Partition]] = defaultdict(set)
    for some in chunks(sorted(by_id)):
        for run_id, asset, key in session.execute(
            select(association_table.c.dag_run_id, AssetEvent.asset_id, AssetEvent.partition_key)
            .join(AssetEvent, AssetEvent.id == association_table.c.event_id)
            .where(association_table.c.dag_run_id.in_(some))
        ):
            found[by_id[run_id]].add(Partition(asset, key))
    return found


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
    as doubt.
    """
    states: dict[Run, dict[Task, TaskState]] = defaultdict(dict)
    asked: dict[Task, list[datetime]] = defaultdict(list)
    tries: dict[Try, Any] = {}
    live: dict[Try, Any] = {}
    for some in chunks(sorted(runs)):
        named = [tuple(r) for r in some]
        for row in session.execute(
            _columns(TaskInstanceHistory, TaskInstanceHistory.task_instance_id).where(
                tuple_(TaskInstanceHistory.dag_id, TaskInstanceHistory.run_id).in_(named)
            )
        ):
            tries[Try(_task(row), row.try_number)] = row
            _note_ask(asked, row)
        for row in session.execute(
            _columns(TaskInstance, TaskInstance.id).where(
                tuple_(TaskInstance.dag_id, TaskInstance.run_id).in_(named)
            )
        ):
            task = _task(row)
            _note_ask(asked, row)
            state = _STATES.get(row.state, TaskState.WAITING)
            is_parked = task in parked and row.state == TaskInstanceState.DEFERRED and row.trigger_id is None
            states[task.run][task] = TaskState.PARKED if is_parked else state
            if row.state not in (None, TaskInstanceState.UP_FOR_RETRY) and not is_parked:
                live[Try(task, row.try_number)] = row
    tries |= live
    starts, ends = _logged({t.task for t in tries}, session)
    logged_runs = {t.task.run for t in starts}
    executions = []
    for attempt, row in tries.items():
        started, doubt = starts.get(attempt), timedelta(0)
        if started is None:
            if attempt.task.run in logged_runs or row.start_date is None or not _was_started(row):
                continue
            started, doubt = row.start_date, skew
        ended, ending = ends.get(attempt, (None, Ending.OPEN))
        if attempt in stopped:
            ending, ended = Ending.STOPPED, ended or row.end_date
        elif ending is Ending.OPEN and not (
            attempt in live and _STATES.get(row.state) in (TaskState.RUNNING, TaskState.QUEUED)
        ):
            ending = _ENDINGS.get(row.state or "", Ending.FAILED)
            ended, doubt = row.end_date or started, skew
        executions.append(Execution(attempt, started, ended, ending, doubt))
    return History(dict(states), executions, asked)


def _note_ask(asked: dict[Task, list[datetime]], row: Any) -> None:
    """Read the moment from the id: ``taskinstance.uuid7``, milliseconds since 1970 in the first 48 bits."""
    if row.id.version == 7:
        asked[_task(row)].append(datetime.fromtimestamp((row.id.int >> 80) / 1000, timezone.utc))


def _columns(model: Any, key: Any) -> Any:
    return select(
        key.label("id"),
        model.hostname,
        model.trigger_id,
        model.dag_id,
        model.run_id,
        model.task_id,
        model.map_index,
        model.try_number,
        model.state,
        model.start_date,
        model.end_date,
    )


def _task(row: Any) -> Task:
    return Task(row.dag_id, row.run_id, row.task_id, row.map_index)


def _was_started(row: Any) -> bool:
    """A worker has said where it runs; a person who marks a state has not (``ti_run``)."""
    return (
        bool(row.hostname)
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
) -> tuple[dict[Try, datetime], dict[Try, tuple[datetime, Ending]]]:
    starts: dict[Try, datetime] = {}
    ends: dict[Try, tuple[datetime, Ending]] = {}
    for some in chunks(sorted({(t.dag_id, t.task_id, t.run_id) for t in tasks})):
        for row in session.execute(
            select(
                Log.dag_id, Log.run_id, Log.task_id, Log.map_index, Log.try_number, Log.event, Log.dttm
            ).where(
                tuple_(Log.dag_id, Log.task_id, Log.run_id).in_(some),
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
                ends[attempt] = (row.dttm, _ENDINGS[row.event])
    return starts, ends


def published_keys(asset: int, *, session: Session) -> set[str | None]:
    """Return the partition keys that were ever published for the asset."""
    return set(
        session.scalars(select(AssetEvent.partition_key).where(AssetEvent.asset_id == asset).distinct())
    )


def usual_seconds(dag_ids: Collection[str], *, session: Session) -> dict[str, float]:
    """Return, by Dag, the mean time of a successful run in task seconds, from the task instances' history."""
    if not dag_ids:
        return {}
    sums = (
        select(
            TaskInstance.dag_id,
            TaskInstance.run_id,
            func.sum(TaskInstance.duration).label("seconds"),
        )
        .where(TaskInstance.dag_id.in_(dag_ids), TaskInstance.state == TaskInstanceState.SUCCESS)
        .group_by(TaskInstance.dag_id, TaskInstance.run_id)
        .subquery()
    )
    return {
        dag_id: float(seconds or 0.0)
        for dag_id, seconds in session.execute(
            select(sums.c.dag_id, func.avg(sums.c.seconds)).group_by(sums.c.dag_id)
        )
    }


def publications_of_run(run: Run, *, session: Session) -> list[Publication]:
    """Return every asset event that tasks of the run emitted."""
    return _publications(
        and_(AssetEvent.source_dag_id == run.dag_id, AssetEvent.source_run_id == run.run_id), session
    )
