"""What was published, and by whom."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.asset import AssetEvent
from sqlalchemy import and_, func, select

from airflow_lean_provider.airflow_internals.dags import producers_of
from airflow_lean_provider.airflow_internals.runs import runs_with_keys, unfinished_without_key
from airflow_lean_provider.airflow_internals.statements import LENGTH_OF_KEY, among, that_fit
from airflow_lean_provider.rules.facts import Partition, Publication, Run, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.orm import Session


def publications_of(partitions: Collection[Partition], *, session: Session) -> list[Publication]:
    """Return every asset event of the partitions."""
    known = {p: p for p in partitions}
    by_asset = {p.asset for p in partitions}
    found: list[Publication] = []
    keys = {p.key for p in partitions}
    named = {k for k in keys if k is not None}
    fitting = that_fit(named, AssetEvent.partition_key, session=session)
    for has_key in among(AssetEvent.partition_key, fitting, session=session):
        found += _publications(and_(AssetEvent.asset_id.in_(by_asset), has_key), session, known)
    if None in keys:
        found += _publications(
            and_(AssetEvent.asset_id.in_(by_asset), AssetEvent.partition_key.is_(None)), session, known
        )
    return [p for p in found if p.partition in known]


def publications_by(
    runs: Collection[Run], assets: Collection[int], since: datetime | None, *, session: Session
) -> list[Publication]:
    """Return the asset events that tasks of the runs emitted for these assets, from ``since`` on."""
    if not runs or not assets:
        return []
    wanted = set(runs)
    found: list[Publication] = []
    for is_theirs in among(AssetEvent.source_run_id, sorted({r.run_id for r in wanted}), session=session):
        condition = and_(AssetEvent.asset_id.in_(assets), is_theirs)
        if since is not None:
            condition = and_(condition, AssetEvent.timestamp >= since)
        found += _publications(condition, session)
    return [p for p in found if p.task is not None and p.task.run in wanted]


def _publications(
    condition: Any, session: Session, known: Mapping[Partition, Partition] | None = None
) -> list[Publication]:
    """
    Return what the condition is true of.

    :param known: partitions that are named by the objects that there are of them: there can be thousands
    """
    known = known or {}
    return [
        Publication(
            row.id,
            known.get(partition := Partition(row.asset_id, row.partition_key), partition),
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


def producing_runs(partitions: Collection[Partition], *, session: Session) -> set[Run]:
    """
    Return the runs, with the key of a partition, of the Dags that have its asset as an outlet.

    Of those without a key only what may still publish: there can be any number of them.
    """
    producers = producers_of({p.asset for p in partitions}, session=session)
    dag_ids = {d for found in producers.values() for d in found}
    keys = sorted({p.key for p in partitions if p.key is not None})
    wanted = {(d, p.key) for p in partitions for d in producers.get(p.asset, ())}
    keyless = {d for p in partitions if p.key is None for d in producers.get(p.asset, ())}
    runs = unfinished_without_key(keyless, session=session)
    for run, key in runs_with_keys(dag_ids, keys, session=session) if dag_ids else ():
        if (run.dag_id, key) in wanted:
            runs.add(run)
    return runs


def published_keys(asset: int, *, session: Session) -> set[str | None]:
    """Return the partition keys that were ever published for the asset."""
    key = AssetEvent.partition_key
    found = select(key, LENGTH_OF_KEY).where(AssetEvent.asset_id == asset).distinct()
    return set(session.scalars(found))


def publications_of_run(run: Run, *, session: Session) -> list[Publication]:
    """Return every asset event that tasks of the run emitted."""
    return _publications(
        and_(AssetEvent.source_dag_id == run.dag_id, AssetEvent.source_run_id == run.run_id), session
    )


class Published(NamedTuple):
    """The publications of one partition: how many, and the last of them."""

    event: int
    at: datetime
    times: int
    run: Run | None = None


def last_published(asset: int, *, session: Session) -> dict[str | None, Published]:
    """Return the publications of each partition of the asset, by key, their runs left out."""
    key = AssetEvent.partition_key
    return {
        row.partition_key: Published(row.event, row.at, row.times)
        for row in session.execute(
            select(
                key,
                LENGTH_OF_KEY,
                func.max(AssetEvent.id).label("event"),
                func.max(AssetEvent.timestamp).label("at"),
                func.count().label("times"),
            )
            .where(AssetEvent.asset_id == asset)
            .group_by(key, LENGTH_OF_KEY)
        )
    }


def sources_of(events: Collection[int], *, session: Session) -> dict[int, Run]:
    """Return which run emitted each event, where one did."""
    found: dict[int, Run] = {}
    for is_one in among(AssetEvent.id, sorted(events), session=session):
        for event, dag_id, run_id in session.execute(
            select(AssetEvent.id, AssetEvent.source_dag_id, AssetEvent.source_run_id).where(
                is_one, AssetEvent.source_run_id.is_not(None)
            )
        ):
            if dag_id is not None and run_id is not None:
                found[event] = Run(dag_id, run_id)
    return found
