"""What a run that starts has consumed and publishes of the partitions that are halted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.models.asset import AssetEvent, association_table
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import and_, or_, select

from airflow_lean_provider.rules.facts import Partition
from airflow_lean_provider.store.models import HaltedPartition, StoppedTry

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.engine import Connection

    from airflow_lean_provider.airflow_internals.runs import KnownRun
    from airflow_lean_provider.rules.facts import Run


def halted_and_consumed(connection: Connection, dag_run_id: int) -> set[Partition]:
    """Return the halted partitions of the events that the run consumed."""
    return {
        Partition(row.asset_id, row.partition_key)
        for row in connection.execute(
            select(
                HaltedPartition.asset_id,
                HaltedPartition.partition_key,
                AssetEvent.partition_key.label("event_key"),
            )
            .join(
                AssetEvent,
                and_(
                    AssetEvent.asset_id == HaltedPartition.asset_id,
                    AssetEvent.partition_key.is_not_distinct_from(HaltedPartition.partition_key),
                ),
            )
            .join(association_table, association_table.c.event_id == AssetEvent.id)
            .where(association_table.c.dag_run_id == dag_run_id)
        )
        if row.event_key == row.partition_key
    }


def halted_and_emitted(
    connection: Connection, run: KnownRun, assets: Collection[int]
) -> dict[Partition, set[str]]:
    """Return the halted partitions of these assets that tasks of the run have published."""
    found: dict[Partition, set[str]] = {}
    for asset, key, event_task_id, event_key in connection.execute(
        select(
            HaltedPartition.asset_id,
            HaltedPartition.partition_key,
            AssetEvent.source_task_id,
            AssetEvent.partition_key,
        )
        .join(
            AssetEvent,
            and_(
                AssetEvent.asset_id == HaltedPartition.asset_id,
                AssetEvent.partition_key.is_not_distinct_from(HaltedPartition.partition_key),
            ),
        )
        .where(
            HaltedPartition.asset_id.in_(assets),
            AssetEvent.source_dag_id == run.run.dag_id,
            AssetEvent.source_run_id == run.run.run_id,
            AssetEvent.timestamp >= run.created_at,
        )
        .distinct()
    ):
        if key == event_key and event_task_id is not None:
            found.setdefault(Partition(asset, key), set()).add(event_task_id)
    return found


def serves_a_killed_task(connection: Connection, run: Run, served: Collection[str]) -> bool:
    """Tell whether the brake has killed the last try of one of these tasks, or one has never run."""
    killed = (
        select(StoppedTry.task_id)
        .where(
            StoppedTry.dag_id == TaskInstance.dag_id,
            StoppedTry.run_id == TaskInstance.run_id,
            StoppedTry.task_id == TaskInstance.task_id,
            StoppedTry.map_index == TaskInstance.map_index,
            StoppedTry.try_number == TaskInstance.try_number,
        )
        .exists()
    )
    never_ran = or_(TaskInstance.hostname.is_(None), TaskInstance.hostname == "")
    return bool(
        connection.scalar(
            select(TaskInstance.task_id)
            .where(
                TaskInstance.dag_id == run.dag_id,
                TaskInstance.run_id == run.run_id,
                TaskInstance.task_id.in_(served),
                or_(killed, never_ran),
            )
            .limit(1)
        )
    )
