"""
Absorbing: giving an event to the run that the brake holds or repairs, instead of a second run.

Airflow answers every publication of a partition with a pending row for each partitioned consumer, and
creates a run from it when the row is complete (``AssetManager._queue_partitioned_dags``,
``SchedulerJobRunner._create_dagruns_for_partitioned_asset_dags``). A row whose ``created_dag_run_id`` is
set is never looked at again: pointing it at the existing run absorbs the event. This happens in the
publication's own transaction, before a scheduler can see the row.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from airflow._shared.timezones.timezone import utcnow
from airflow.assets.evaluation import AssetEvaluator
from airflow.models.asset import (
    AssetModel,
    AssetPartitionDagRun,
    PartitionedAssetKeyLog,
    association_table,
)
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.partition_mappers.base import is_rollup
from airflow.serialization.definitions.assets import SerializedAssetUniqueKey
from sqlalchemy import delete, func, insert, select, true, update
from sqlalchemy.orm import object_session

from airflow_lean_provider.airflow_internals.dags import latest_dag
from airflow_lean_provider.store.models import AbsorbedEvent, AffectedRun, HaltedPartition, Switch

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


def on_key_logged(mapper: Any, connection: Connection, row: PartitionedAssetKeyLog) -> None:
    """
    Absorb the event that Airflow has just noted for a partitioned consumer, if a run of it is affected.

    SQLAlchemy's ``after_insert`` of ``PartitionedAssetKeyLog``. Never raises: an error here would make
    Airflow mark the healthy producer as failed (``execution_api/routes/task_instances.py``, the broad
    except). What is not absorbed because of an error costs a second run of the consumer, which D3 judges
    like any other.
    """
    try:
        with connection.begin_nested():
            _absorb(connection, row)
    except Exception:  # see above
        log.exception(
            "The event %s for %s %s could not be judged",
            row.asset_event_id,
            row.target_dag_id,
            row.target_partition_key,
        )


def _absorb(connection: Connection, row: PartitionedAssetKeyLog) -> None:
    run = _absorbing_run(connection, row)
    if run is None:
        return
    run_pk, run_id, saw = run
    others = connection.scalar(
        select(func.count())
        .select_from(PartitionedAssetKeyLog)
        .where(
            PartitionedAssetKeyLog.asset_partition_dag_run_id == row.asset_partition_dag_run_id,
            PartitionedAssetKeyLog.id != row.id,
        )
    )
    pending_id = row.asset_partition_dag_run_id
    shared_pending_id = None
    whole = _is_complete(connection, row)
    if not whole and not _concerns(connection, row, saw):
        return
    if others and not whole:
        shared_pending_id = pending_id
        pending_id = _own_pending_row(connection, row, run_pk)
        events = [row.asset_event_id]
    else:
        taken = connection.execute(
            update(AssetPartitionDagRun)
            .where(AssetPartitionDagRun.id == pending_id, AssetPartitionDagRun.created_dag_run_id.is_(None))
            .values(created_dag_run_id=run_pk)
        )
        if not taken.rowcount:
            return
        events = list(
            connection.scalars(
                select(PartitionedAssetKeyLog.asset_event_id).where(
                    PartitionedAssetKeyLog.asset_partition_dag_run_id == pending_id
                )
            )
        )
    known = set(
        connection.scalars(
            select(association_table.c.event_id).where(
                association_table.c.dag_run_id == run_pk, association_table.c.event_id.in_(events)
            )
        )
    )
    for event_id in sorted(set(events) - known):
        connection.execute(insert(association_table).values(dag_run_id=run_pk, event_id=event_id))
        connection.execute(
            insert(AbsorbedEvent).values(
                event_id=event_id,
                dag_id=row.target_dag_id,
                run_id=run_id,
                pending_id=pending_id,
                shared_pending_id=shared_pending_id,
                absorbed_at=utcnow(),
            )
        )


def _absorbing_run(connection: Connection, row: PartitionedAssetKeyLog) -> tuple[int, str, list] | None:
    """Return the latest affected run of that Dag and key that has not started to read again."""
    candidates = [
        c
        for c in connection.execute(
            select(
                DagRun.id, DagRun.run_id, AffectedRun.saw, AffectedRun.waits_since, AffectedRun.partition_key
            )
            .join(DagRun, (DagRun.dag_id == AffectedRun.dag_id) & (DagRun.run_id == AffectedRun.run_id))
            .where(
                AffectedRun.dag_id == row.target_dag_id,
                AffectedRun.partition_key == row.target_partition_key,
                AffectedRun.absorbs.is_(True),
                select(Switch.id).where(Switch.enabled.is_(False)).exists().is_(False),
            )
            .order_by(DagRun.id.desc())
        )
        if c.partition_key == row.target_partition_key
    ]
    for candidate in candidates:
        started = connection.scalar(
            select(TaskInstance.task_id)
            .where(
                TaskInstance.dag_id == row.target_dag_id,
                TaskInstance.run_id == candidate.run_id,
                TaskInstance.last_heartbeat_at > candidate.waits_since,
            )
            .limit(1)
        )
        if started is None:
            return candidate.id, candidate.run_id, candidate.saw
    return None


def _concerns(connection: Connection, row: PartitionedAssetKeyLog, saw: list) -> bool:
    """Tell whether the partition was halted just before, or the run saw a bad version of it."""
    if [row.asset_id, row.source_partition_key] in saw:
        return True
    return row.source_partition_key in set(
        connection.scalars(
            select(HaltedPartition.partition_key).where(
                HaltedPartition.asset_id == row.asset_id,
                HaltedPartition.partition_key == row.source_partition_key,
            )
        )
    )


def _own_pending_row(connection: Connection, row: PartitionedAssetKeyLog, run_pk: int) -> int:
    """Move the event out of a pending row that waits for others, which are left alone."""
    shared = connection.execute(
        select(AssetPartitionDagRun.__table__).where(
            AssetPartitionDagRun.id == row.asset_partition_dag_run_id
        )
    ).one()
    copied = {c: v for c, v in shared._mapping.items() if c != "id"} | {"created_dag_run_id": run_pk}
    result: Any = connection.execute(insert(AssetPartitionDagRun.__table__).values(**copied))
    pending_id = int(result.inserted_primary_key[0])
    connection.execute(
        update(PartitionedAssetKeyLog)
        .where(PartitionedAssetKeyLog.id == row.id)
        .values(asset_partition_dag_run_id=pending_id)
    )
    return pending_id


def _is_complete(connection: Connection, row: PartitionedAssetKeyLog) -> bool:
    """
    Tell whether Airflow would create a run from the pending row.

    The same evaluation as ``SchedulerJobRunner._create_dagruns_for_partitioned_asset_dags``.
    """
    session: Session | None = object_session(row)
    if session is None:
        return False
    with session.no_autoflush:
        dag = latest_dag(row.target_dag_id, session=session)
        if dag is None:
            return False
        timetable: Any = dag.timetable
        keys: dict[tuple[str, str], set[str]] = defaultdict(set)
        for name, uri, key in connection.execute(
            select(AssetModel.name, AssetModel.uri, PartitionedAssetKeyLog.source_partition_key)
            .join(AssetModel, AssetModel.id == PartitionedAssetKeyLog.asset_id)
            .where(
                PartitionedAssetKeyLog.asset_partition_dag_run_id == row.asset_partition_dag_run_id,
                AssetModel.active.has(),
            )
        ):
            keys[name, uri].add(key)
        statuses = {}
        for (name, uri), received in keys.items():
            asset_mapper = timetable.get_partition_mapper(name=name, uri=uri)
            satisfied = True
            if is_rollup(asset_mapper):
                expected = asset_mapper.to_upstream(row.target_partition_key)
                satisfied = asset_mapper.wait_policy.is_satisfied_by_keys(
                    matched=received, expected=expected
                ).satisfied
            statuses[SerializedAssetUniqueKey(name=name, uri=uri)] = satisfied
        return bool(AssetEvaluator(session).run(timetable.asset_condition, statuses=statuses))


def give_back(run: DagRun, *, session: Session) -> int:
    """
    Undo what was absorbed into the run, unless it has read it since.

    Airflow goes on with the pending rows as if we had not been there.

    :return: how many events were given back
    """
    started = session.scalar(
        select(func.max(TaskInstance.start_date)).where(
            TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id
        )
    )
    unread = AbsorbedEvent.absorbed_at > started if started is not None else true()
    absorbed = session.scalars(
        select(AbsorbedEvent).where(
            AbsorbedEvent.dag_id == run.dag_id, AbsorbedEvent.run_id == run.run_id, unread
        )
    ).all()
    for event in absorbed:
        if not _put_together_again(event, session):
            session.execute(
                update(AssetPartitionDagRun)
                .where(
                    AssetPartitionDagRun.id == event.pending_id,
                    AssetPartitionDagRun.created_dag_run_id == run.id,
                )
                .values(created_dag_run_id=None)
            )
        session.execute(
            association_table.delete().where(
                association_table.c.dag_run_id == run.id, association_table.c.event_id == event.event_id
            )
        )
        session.delete(event)
    return len(absorbed)


def _put_together_again(event: AbsorbedEvent, session: Session) -> bool:
    """Move the event back into the pending row that it came from, if that still waits."""
    if event.shared_pending_id is None:
        return False
    waits = session.scalar(
        select(AssetPartitionDagRun.id)
        .where(
            AssetPartitionDagRun.id == event.shared_pending_id,
            AssetPartitionDagRun.created_dag_run_id.is_(None),
        )
        .with_for_update()
    )
    if waits is None:
        return False
    session.execute(
        update(PartitionedAssetKeyLog)
        .where(PartitionedAssetKeyLog.asset_partition_dag_run_id == event.pending_id)
        .values(asset_partition_dag_run_id=event.shared_pending_id)
    )
    session.execute(delete(AssetPartitionDagRun).where(AssetPartitionDagRun.id == event.pending_id))
    return True
