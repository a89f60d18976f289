"""Undoing what was absorbed: Airflow goes on with the events as if we had not been there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.models.asset import AssetPartitionDagRun, PartitionedAssetKeyLog, association_table
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import func, select, true, update

from airflow_lean_provider.airflow_internals.queueing import queue_again
from airflow_lean_provider.store.models import AbsorbedEvent

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session


def give_back(run: DagRun, since: datetime | None = None, *, session: Session) -> int:
    """
    Undo what was absorbed into the run, unless it has read it since.

    :param since: only what was published after this moment
    :return: how many events were given back
    """
    started = session.scalar(
        select(func.max(TaskInstance.start_date)).where(
            TaskInstance.dag_id == run.dag_id,
            TaskInstance.run_id == run.run_id,
            TaskInstance.hostname != "",  # what is skipped has a start, too
        )
    )
    after = [moment for moment in (started, since) if moment is not None]
    unread = AbsorbedEvent.published_at > max(after) if after else true()
    absorbed = session.scalars(
        select(AbsorbedEvent).where(
            AbsorbedEvent.dag_id == run.dag_id, AbsorbedEvent.run_id == run.run_id, unread
        )
    ).all()
    for event in absorbed:
        if event.pending_id is None:
            queue_again(event, session)
        elif event.shared_pending_id is not None:
            _let_wait_again(event, run, session)
        else:
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


def _let_wait_again(event: AbsorbedEvent, run: DagRun, session: Session) -> None:
    """Move the event from the row that has made the run to the one that waits, a new one if none does."""
    rows = select(AssetPartitionDagRun).where(
        AssetPartitionDagRun.target_dag_id == run.dag_id,
        AssetPartitionDagRun.partition_key == run.partition_key,
    )
    pending = session.scalar(
        rows.where(AssetPartitionDagRun.created_dag_run_id.is_(None))
        .order_by(AssetPartitionDagRun.id.desc())
        .limit(1)
        .with_for_update()
    )
    if pending is None:
        made = session.scalars(rows.where(AssetPartitionDagRun.id == event.pending_id)).one_or_none()
        pending = AssetPartitionDagRun(
            target_dag_id=run.dag_id,
            partition_key=run.partition_key,
            partition_date=made and made.partition_date,
            rollup_fingerprint=made and made.rollup_fingerprint,
        )
        session.add(pending)
        session.flush()
    session.execute(
        update(PartitionedAssetKeyLog)
        .where(
            PartitionedAssetKeyLog.asset_partition_dag_run_id == event.pending_id,
            PartitionedAssetKeyLog.target_dag_id == run.dag_id,
            PartitionedAssetKeyLog.asset_event_id == event.event_id,
        )
        .values(asset_partition_dag_run_id=pending.id)
    )
