"""
Absorbing without partitions: giving an unpartitioned event to the run that the brake holds or repairs.

Airflow answers an event without a key with a row of ``asset_dag_run_queue`` for each Dag that is scheduled on
the asset as a whole (``AssetManager._queue_dagruns``), and creates a run from these rows
(``SchedulerJobRunner._create_dag_runs_asset_triggered``, which locks them and goes on without those that are
gone). A row that is taken away before makes no run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.models.asset import AssetDagRunQueue, AssetEvent, association_table
from airflow.models.dagrun import DagRun
from sqlalchemy import delete, insert, select

from airflow_lean_provider.airflow_internals.absorbing import is_to_read_again
from airflow_lean_provider.rules.facts import Run
from airflow_lean_provider.store.models import AbsorbedEvent, AffectedRun, HaltedPartition

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def absorb_queued(session: Session) -> bool:
    """
    Take from Airflow's queue what concerns a run that is to read again, and give it to that run.

    An event concerns it if the asset as a whole was halted just before, or the run saw a bad version of it.

    :return: whether there was any
    """
    rows = session.execute(
        select(AffectedRun.dag_id, AffectedRun.run_id, AffectedRun.saw, AffectedRun.waits_since, DagRun.id)
        .join(DagRun, (DagRun.dag_id == AffectedRun.dag_id) & (DagRun.run_id == AffectedRun.run_id))
        .where(
            AffectedRun.absorbs.is_(True),
            AffectedRun.partition_key.is_(None),
            AffectedRun.dag_id.in_(select(AssetDagRunQueue.target_dag_id)),
        )
        .order_by(DagRun.id.desc())
    ).all()
    halted = set(
        session.scalars(select(HaltedPartition.asset_id).where(HaltedPartition.partition_key.is_(None)))
    )
    looked_at: set[str] = set()
    taken = False
    for row in rows:
        if row.dag_id in looked_at:
            continue
        if not is_to_read_again(session, Run(row.dag_id, row.run_id), row.waits_since):
            continue
        looked_at.add(row.dag_id)
        taken |= _give(row, halted | {asset for asset, key in row.saw if key is None}, session)
    return taken


def _give(row: Any, concerned: set[int], session: Session) -> bool:
    queued = set(
        session.scalars(
            select(AssetDagRunQueue.asset_id)
            .where(AssetDagRunQueue.target_dag_id == row.dag_id, AssetDagRunQueue.asset_id.in_(concerned))
            .with_for_update()
        )
    )
    if not queued:
        return False
    session.execute(
        delete(AssetDagRunQueue).where(
            AssetDagRunQueue.target_dag_id == row.dag_id, AssetDagRunQueue.asset_id.in_(queued)
        )
    )
    consumed = (
        select(association_table.c.event_id)
        .join(DagRun, DagRun.id == association_table.c.dag_run_id)
        .where(DagRun.dag_id == row.dag_id)
    )
    for event_id, published_at in session.execute(
        select(AssetEvent.id, AssetEvent.timestamp).where(
            AssetEvent.asset_id.in_(queued),
            AssetEvent.partition_key.is_(None),
            AssetEvent.timestamp >= row.waits_since,
            AssetEvent.id.not_in(consumed),
        )
    ).all():
        session.execute(insert(association_table).values(dag_run_id=row.id, event_id=event_id))
        session.add(
            AbsorbedEvent(event_id=event_id, dag_id=row.dag_id, run_id=row.run_id, published_at=published_at)
        )
    return True


def queue_again(event: AbsorbedEvent, session: Session) -> None:
    """Undo the absorbing of an event without a key: Airflow makes a run from it after all."""
    asset = session.scalar(select(AssetEvent.asset_id).where(AssetEvent.id == event.event_id))
    if asset is not None and session.get(AssetDagRunQueue, (asset, event.dag_id)) is None:
        session.add(AssetDagRunQueue(asset_id=asset, target_dag_id=event.dag_id))
        session.flush()
