"""Small Dags for stories: each task is one step that nothing executes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import (
    DAG,
    Asset,
    BaseOperator,
    DayWindow,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    RollupMapper,
    StartOfDayMapper,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class Step(BaseOperator):
    """A task; what it would do is said by the test that plays the worker."""

    def __init__(self, *, value: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.value = value


ORDERS, RATES, CLEAN, REPORT, DAILY = (
    Asset("orders"),
    Asset("rates"),
    Asset("clean"),
    Asset("report"),
    Asset("daily"),
)


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


def the_chain(**options: Any) -> list[DAG]:
    """orders -> cleaning -> clean -> reporting -> report."""
    return [
        producer("ingest", ORDERS),
        consumer("cleaning", ORDERS, CLEAN, **options),
        consumer("reporting", CLEAN, REPORT),
    ]


def days_of_hours(dag_id: str, reads: Any, *outlets: Asset, **options: Any) -> DAG:
    """A Dag that runs for a day once all of its 24 hours are there."""
    return consumer(
        dag_id,
        reads,
        *outlets,
        mapper=RollupMapper(
            upstream_mapper=StartOfDayMapper(input_format="%Y-%m-%dT%H"), window=DayWindow(), **options
        ),
    )


def hours_of(day: str) -> list[str]:
    return [f"{day}T{hour:02}" for hour in range(24)]
