"""
For each number in HELD_RUNS, two Dags that read as many partitions: one is held, and of the other one run is
active, which never comes to its end, while all others queue behind it.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, PartitionedAtRuntime, chain, task

FIRST = datetime(2026, 5, 1)


def keys(number: int) -> list[str]:
    return [f"{FIRST + timedelta(hours=n):%Y-%m-%dT%H}" for n in range(number)]


def publish(asset: Asset, number: int) -> None:
    @task(task_id=asset.name, outlets=[asset])
    def work(*, outlet_events=None, dag_run=None) -> None:
        key = dag_run.partition_key
        outlet_events[asset].add_partitions([key] if key else keys(number))

    work()


@task(pool="there_is_none")
def never() -> None:
    """Wait for a slot."""


def pair(number: int) -> None:
    """Each asset is published by one task: all partitions, or in a run of one partition that one."""
    assets = [Asset(f"{kind}_{number}") for kind in ("held", "queued")]
    with DAG(f"publish_{number}", schedule=PartitionedAtRuntime()):
        for asset in assets:
            publish(asset, number)
    for asset in assets:
        queue = asset.name.startswith("queued")
        with DAG(
            f"{asset.name}_runs",
            schedule=PartitionedAssetTimetable(assets=asset),
            max_active_runs=1 if queue else 16,
        ):
            steps = [EmptyOperator(task_id=step) for step in ("read", "compute", "write")]
            chain(*([never()] if queue else []), *steps)


for number in os.environ["HELD_RUNS"].split(","):
    pair(int(number))
