"""
Absorbing: giving an event to the run that the brake holds or repairs, instead of a second run.

Airflow answers every publication of a partition with a pending row for each partitioned consumer, and
creates a run from it when the row is complete (``AssetManager._queue_partitioned_dags``,
``SchedulerJobRunner._create_dagruns_for_partitioned_asset_dags``). A row whose ``created_dag_run_id`` is
set is never looked at again: pointing it at the existing run absorbs the event. This happens in the
publication's own transaction, before a scheduler can see the row; what was complete before the run became
affected is looked for when that is noted.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.assets.evaluation import AssetEvaluator
from airflow.models.asset import (
    AssetEvent,
    AssetModel,
    AssetPartitionDagRun,
    PartitionedAssetKeyLog,
    association_table,
)
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.partition_mappers.base import is_rollup
from airflow.serialization.definitions.assets import SerializedAssetUniqueKey
from sqlalchemy import and_, func, insert, select, update
from sqlalchemy.orm import object_session

from airflow_lean_provider.airflow_internals.dags import latest_dag
from airflow_lean_provider.airflow_internals.marks import is_marked
from airflow_lean_provider.rules.facts import Run
from airflow_lean_provider.store.models import AbsorbedEvent, AffectedRun, HaltedPartition, Switch
from airflow_lean_provider.store.transactions import is_lost

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

AT_MOST_SECONDS = 1.0
"""For how long a publication waits for a run that somebody changes."""


class Pending(NamedTuple):
    """Airflow's row that waits for events, or has them all: a run of the Dag for the key is to be made."""

    id: int
    dag_id: str
    key: str


def on_key_logged(mapper: Any, connection: Connection, row: PartitionedAssetKeyLog) -> None:
    """
    Absorb the event that Airflow has just noted for a partitioned consumer, if a run of it is affected.

    SQLAlchemy's ``after_insert`` of ``PartitionedAssetKeyLog``. Never raises: an error here would make
    Airflow mark the healthy producer as failed (``execution_api/routes/task_instances.py``, the broad
    except). What is not absorbed because of an error costs a second run of the consumer, which D3 judges
    like any other. Only where the publication's own transaction is gone does it say so.
    """
    try:
        with connection.begin_nested():
            _absorb(connection, row)
    except Exception as error:  # see above
        if is_lost(error):
            raise
        log.exception(
            "The event %s for %s %s could not be judged",
            row.asset_event_id,
            row.target_dag_id,
            row.target_partition_key,
        )


def absorb_pending(session: Session) -> bool:
    """
    Absorb the pending rows that were complete before their run was affected, and that no run was made from.

    :return: whether there were any
    """
    taken = False
    affected = (
        select(AffectedRun.run_id)
        .where(
            AffectedRun.dag_id == AssetPartitionDagRun.target_dag_id,
            AffectedRun.partition_key == AssetPartitionDagRun.partition_key,
            AffectedRun.absorbs.is_(True),
        )
        .exists()
    )
    for row in session.execute(
        select(
            AssetPartitionDagRun.id, AssetPartitionDagRun.target_dag_id, AssetPartitionDagRun.partition_key
        )
        .where(AssetPartitionDagRun.created_dag_run_id.is_(None), affected)
        .order_by(AssetPartitionDagRun.id)
        .with_for_update()
    ).all():
        pending = Pending(*row)
        connection = session.connection()
        run = _absorbing_run(connection, pending)
        if run is not None and _is_complete(pending, session):
            taken |= _take(connection, pending, run)
    return taken


def _absorb(connection: Connection, row: PartitionedAssetKeyLog) -> None:
    pending = Pending(row.asset_partition_dag_run_id, row.target_dag_id, row.target_partition_key)
    run = _absorbing_run(connection, pending)
    session: Session | None = object_session(row)
    if run is None or session is None:
        return
    whole = _is_complete(pending, session)
    if not whole and not _concerns(connection, row, run.saw):
        return
    _share(connection, run.id)
    others = connection.scalar(
        select(func.count())
        .select_from(PartitionedAssetKeyLog)
        .where(_beside(pending), PartitionedAssetKeyLog.id != row.id)
    )
    if others and not whole:
        own = _row_of_the_run(connection, row, run.id)
        if own is not None:
            _give(
                connection,
                [row.asset_event_id],
                pending._replace(id=own),
                run,
                shared_pending_id=pending.id,
            )
    else:
        _take(connection, pending, run)


def _take(connection: Connection, pending: Pending, run: Any) -> bool:
    """Point the pending row at the run, with all its events; tell whether nobody had made a run from it."""
    taken = connection.execute(
        update(AssetPartitionDagRun)
        .where(AssetPartitionDagRun.id == pending.id, AssetPartitionDagRun.created_dag_run_id.is_(None))
        .values(created_dag_run_id=run.id)
    )
    if not taken.rowcount:
        return False
    events = connection.scalars(select(PartitionedAssetKeyLog.asset_event_id).where(_beside(pending)))
    _give(connection, list(events), pending, run)
    return True


def _give(
    connection: Connection,
    events: list[int],
    pending: Pending,
    run: Any,
    *,
    shared_pending_id: int | None = None,
) -> None:
    """Let the run have consumed the events."""
    known = select(association_table.c.event_id).where(association_table.c.dag_run_id == run.id)
    for event in connection.execute(
        select(AssetEvent.id, AssetEvent.timestamp)
        .where(AssetEvent.id.in_(events), AssetEvent.id.not_in(known))
        .order_by(AssetEvent.id)
    ).all():
        connection.execute(insert(association_table).values(dag_run_id=run.id, event_id=event.id))
        connection.execute(
            insert(AbsorbedEvent).values(
                event_id=event.id,
                dag_id=pending.dag_id,
                run_id=run.run_id,
                pending_id=pending.id,
                shared_pending_id=shared_pending_id,
                published_at=event.timestamp,
            )
        )


def _beside(pending: Pending) -> ColumnElement[bool]:
    """
    Return the condition that an event is noted for the same pending row.

    Airflow leaves what was noted for a pending row behind when its run is deleted, and SQLite gives the id of
    the pending row to another Dag's.
    """
    return and_(
        PartitionedAssetKeyLog.asset_partition_dag_run_id == pending.id,
        PartitionedAssetKeyLog.target_dag_id == pending.dag_id,
        PartitionedAssetKeyLog.target_partition_key == pending.key,
    )


def _share(connection: Connection, run_pk: int) -> None:
    """
    Lock the run as what refers to it does, without waiting in the database.

    On MariaDB a step that has locked the run to change it stands against that, and may itself wait for the
    task that publishes. Elsewhere it does not (:func:`holding.lock_runs`).

    :raises RuntimeError: if somebody keeps the run
    """
    if not getattr(connection.dialect, "is_mariadb", False):
        return
    lock = select(DagRun.id).where(DagRun.id == run_pk).with_for_update(read=True, skip_locked=True)
    give_up = time.monotonic() + AT_MOST_SECONDS
    while connection.scalar(lock) is None:
        if time.monotonic() > give_up:
            raise RuntimeError(f"somebody keeps the run {run_pk}")
        time.sleep(0.02)


def _absorbing_run(connection: Connection, pending: Pending) -> Any | None:
    """Return the latest affected run of that Dag and key that is to read again, and has not started to."""
    candidates = [
        c
        for c in connection.execute(
            select(
                DagRun.id, DagRun.run_id, AffectedRun.saw, AffectedRun.waits_since, AffectedRun.partition_key
            )
            .join(DagRun, (DagRun.dag_id == AffectedRun.dag_id) & (DagRun.run_id == AffectedRun.run_id))
            .where(
                AffectedRun.dag_id == pending.dag_id,
                AffectedRun.partition_key == pending.key,
                AffectedRun.absorbs.is_(True),
                select(Switch.id).where(Switch.enabled.is_(False)).exists().is_(False),
            )
            .order_by(DagRun.id.desc())
        )
        if c.partition_key == pending.key
    ]
    for candidate in candidates:
        if is_to_read_again(connection, Run(pending.dag_id, candidate.run_id), candidate.waits_since):
            return candidate
    return None


def is_to_read_again(on: Session | Connection, run: Run, since: datetime) -> bool:
    """Tell whether no task of the run has started since, and no person has ended the run by a mark."""
    started = on.scalar(
        select(TaskInstance.task_id)
        .where(
            TaskInstance.dag_id == run.dag_id,
            TaskInstance.run_id == run.run_id,
            TaskInstance.last_heartbeat_at > since,
        )
        .limit(1)
    )
    return started is None and not is_marked(on, run)


def _concerns(connection: Connection, row: PartitionedAssetKeyLog, saw: list) -> bool:
    """
    Tell whether the partition was halted just before, or the run saw a bad version of it.

    The publication itself halts without causes what may be born bad.
    """
    if [row.asset_id, row.source_partition_key] in saw:
        return True
    return any(
        halted.partition_key == row.source_partition_key and halted.causes
        for halted in connection.execute(
            select(HaltedPartition.partition_key, HaltedPartition.causes).where(
                HaltedPartition.asset_id == row.asset_id,
                HaltedPartition.partition_key == row.source_partition_key,
            )
        )
    )


def _row_of_the_run(connection: Connection, row: PartitionedAssetKeyLog, run_pk: int) -> int | None:
    """
    Move the event out of a pending row that waits for others, into the one that has made the run.

    A new row would not do: Airflow adds the next event to the latest row of the Dag and key if that is still
    pending (``AssetManager._get_or_create_apdr``), and would leave the one that waits alone for ever.
    """
    own = connection.scalar(
        select(func.max(AssetPartitionDagRun.id)).where(
            AssetPartitionDagRun.created_dag_run_id == run_pk,
            AssetPartitionDagRun.target_dag_id == row.target_dag_id,
            AssetPartitionDagRun.id < row.asset_partition_dag_run_id,
        )
    )
    if own is not None:
        connection.execute(
            update(PartitionedAssetKeyLog)
            .where(PartitionedAssetKeyLog.id == row.id)
            .values(asset_partition_dag_run_id=own)
        )
    return own


def _is_complete(pending: Pending, session: Session) -> bool:
    """
    Tell whether Airflow would create a run from the pending row.

    The same evaluation as ``SchedulerJobRunner._create_dagruns_for_partitioned_asset_dags``.
    """
    with session.no_autoflush:
        dag = latest_dag(pending.dag_id, session=session)
        if dag is None:
            return False
        timetable: Any = dag.timetable
        keys: dict[tuple[str, str], set[str]] = defaultdict(set)
        for name, uri, key in session.connection().execute(
            select(AssetModel.name, AssetModel.uri, PartitionedAssetKeyLog.source_partition_key)
            .join(AssetModel, AssetModel.id == PartitionedAssetKeyLog.asset_id)
            .where(
                _beside(pending),
                AssetModel.active.has(),
            )
        ):
            keys[name, uri].add(key)
        statuses = {}
        for (name, uri), received in keys.items():
            asset_mapper = timetable.get_partition_mapper(name=name, uri=uri)
            satisfied = True
            if is_rollup(asset_mapper):
                expected = asset_mapper.to_upstream(pending.key)
                satisfied = asset_mapper.wait_policy.is_satisfied_by_keys(
                    matched=received, expected=expected
                ).satisfied
            statuses[SerializedAssetUniqueKey(name=name, uri=uri)] = satisfied
        return bool(AssetEvaluator(session).run(timetable.asset_condition, statuses=statuses))
