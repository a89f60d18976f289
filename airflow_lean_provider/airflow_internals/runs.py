"""Dag runs as they are now, in the words of the rules."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.asset import AssetEvent, association_table
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import DagRunState, State, TaskInstanceState
from airflow.utils.types import DagRunType
from sqlalchemy import func, select

from airflow_lean_provider.airflow_internals.statements import among, among_rows, chunks, that_fit
from airflow_lean_provider.rules.facts import Origin, Partition, Run, Task
from airflow_lean_provider.store.models import ChildRun

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy.orm import Session

_ORIGINS: dict[str, Origin] = {
    DagRunType.ASSET_TRIGGERED: Origin.ASSETS,
    DagRunType.MANUAL: Origin.PERSON,
    DagRunType.ASSET_MATERIALIZATION: Origin.PERSON,
    DagRunType.OPERATOR_TRIGGERED: Origin.OPERATOR,
    DagRunType.SCHEDULED: Origin.SCHEDULE,
    DagRunType.BACKFILL_JOB: Origin.SCHEDULE,
}


class KnownRun(NamedTuple):
    """
    A Dag run as it is now.

    :param period: what it is about in time, if anything: :func:`period_of`
    :param is_child: a task has triggered it
    :param dag_is_gone: so is what its Dag is scheduled on (``remove_references_to_deleted_dags``)
    """

    id: int
    run: Run
    key: str | None
    origin: Origin
    over: bool
    queued: bool
    run_after: datetime
    created_at: datetime
    has_conf: bool
    period: datetime | None
    is_child: bool
    dag_is_gone: bool


def origin_of(run: Any) -> Origin:
    """Tell who made the run; a run type that we do not know counts as scheduled, the most careful guess."""
    return _ORIGINS.get(run.run_type, Origin.SCHEDULE)


def known_runs(runs: Collection[Run], *, session: Session) -> dict[Run, KnownRun]:
    """Return the runs that still exist."""
    found: dict[Run, KnownRun] = {}
    possible = set(that_fit({part for run in runs for part in run}, DagRun.run_id, session=session))
    asked = sorted(run for run in runs if possible.issuperset(run))
    for is_one in among_rows((DagRun.dag_id, DagRun.run_id), asked, session=session):
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
                DagRun.queued_at,
                DagRun.conf,
                DagRun.data_interval_start,
                DagRun.data_interval_end,
                DagRun.logical_date,
                DagModel.is_stale,
            )
            .outerjoin(DagModel, DagModel.dag_id == DagRun.dag_id)
            .where(is_one)
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
                created_at=row.created_at or row.queued_at or row.run_after,
                has_conf=bool(row.conf),
                period=period_of(row),
                is_child=row.run_type == DagRunType.OPERATOR_TRIGGERED,
                dag_is_gone=row.is_stale is not False,
            )
    return found


def consumed_by(runs: Collection[KnownRun], *, session: Session) -> dict[Run, set[Partition]]:
    """Return the partitions of the events that each run consumed."""
    by_id = {r.id: r.run for r in runs}
    found: dict[Run, set[Partition]] = defaultdict(set)
    for is_one in among(association_table.c.dag_run_id, sorted(by_id), session=session):
        for run_id, asset, key in session.execute(
            select(association_table.c.dag_run_id, AssetEvent.asset_id, AssetEvent.partition_key)
            .join(AssetEvent, AssetEvent.id == association_table.c.event_id)
            .where(is_one)
        ):
            found[by_id[run_id]].add(Partition(asset, key))
    return found


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


def runs_with_keys(
    dag_ids: Collection[str], keys: Collection[str], *, session: Session
) -> Iterator[tuple[Run, str]]:
    """Return the runs of these Dags that have one of these keys."""
    fitting = that_fit(keys, DagRun.partition_key, session=session)
    for has_key in among(DagRun.partition_key, fitting, session=session):
        for dag_id, run_id, key in session.execute(
            select(DagRun.dag_id, DagRun.run_id, DagRun.partition_key).where(
                DagRun.dag_id.in_(dag_ids), has_key
            )
        ):
            if key is not None:
                yield Run(dag_id, run_id), key


def unfinished_without_key(dag_ids: Collection[str], *, session: Session) -> set[Run]:
    """Return the runs of these Dags that have no key and have not ended."""
    found: set[Run] = set()
    for some in chunks(sorted(dag_ids)):
        found |= {
            Run(*row)
            for row in session.execute(
                select(DagRun.dag_id, DagRun.run_id).where(
                    DagRun.dag_id.in_(some),
                    DagRun.partition_key.is_(None),
                    DagRun.state.in_(State.unfinished_dr_states),
                )
            )
        }
    return found


def period_of(run: Any) -> datetime | None:
    """Return what the run is about in time: the start of its data interval, or its logical date."""
    empty = run.data_interval_start == run.data_interval_end
    moment: datetime | None = run.logical_date if empty else run.data_interval_start
    return moment


def children_of(runs: Collection[Run], *, session: Session) -> set[Run]:
    """Return the runs that tasks of these runs triggered."""
    found: set[Run] = set()
    parent = (ChildRun.parent_dag_id, ChildRun.parent_run_id)
    for is_one in among_rows(parent, sorted(runs), session=session):
        found |= {
            Run(*row) for row in session.execute(select(ChildRun.dag_id, ChildRun.run_id).where(is_one))
        }
    return found


def parents_of(runs: Collection[Run], *, session: Session) -> dict[Run, Task]:
    """Return which task triggered each of these runs, where one did."""
    found: dict[Run, Task] = {}
    for is_one in among_rows((ChildRun.dag_id, ChildRun.run_id), sorted(runs), session=session):
        for row in session.scalars(select(ChildRun).where(is_one).order_by(ChildRun.id)):
            found[Run(row.dag_id, row.run_id)] = Task(
                row.parent_dag_id, row.parent_run_id, row.parent_task_id, row.parent_map_index
            )
    return found


def timed_runs(runs: Collection[Run], *, session: Session) -> set[Run]:
    """Return those of the runs that are running and have a start."""
    found: set[Run] = set()
    for is_one in among_rows((DagRun.dag_id, DagRun.run_id), sorted(runs), session=session):
        found |= {
            Run(*row)
            for row in session.execute(
                select(DagRun.dag_id, DagRun.run_id).where(
                    is_one,
                    DagRun.state == DagRunState.RUNNING,
                    DagRun.start_date.is_not(None),
                )
            )
        }
    return found
