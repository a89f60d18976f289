"""Small Dags for stories: each task is one step that nothing executes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Asset, BaseOperator, PartitionedAssetTimetable, PartitionedAtRuntime

if TYPE_CHECKING:
    from collections.abc import Sequence


class Step(BaseOperator):
    """A task; what it would do is said by the test that plays the worker."""


def producer(dag_id: str, *outlets: Asset, **options: Any) -> DAG:
    """A Dag that people trigger for a partition: one task, ``load``, which publishes it."""
    with DAG(dag_id, schedule=PartitionedAtRuntime(), **options) as dag:
        Step(task_id="load", outlets=list(outlets))
    return dag


def consumer(
    dag_id: str,
    reads: Any,
    *outlets: Asset,
    tasks: Sequence[str] = ("work",),
    retries: int = 0,
    mapper: Any = None,
    **options: Any,
) -> DAG:
    """A Dag scheduled on partitions of ``reads``: tasks in a row, the last of which publishes ``outlets``."""
    timetable = PartitionedAssetTimetable(
        assets=reads, **({"default_partition_mapper": mapper} if mapper else {})
    )
    with DAG(dag_id, schedule=timetable, **options) as dag:
        before: Any = None
        for task_id in tasks:
            step = Step(
                task_id=task_id,
                outlets=list(outlets) if task_id == tasks[-1] else [],
                retries=retries,
                retry_delay=timedelta(0),
            )
            if before is not None:
                before >> step
            before = step
    return dag
