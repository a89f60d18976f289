"""A line with a slow end, an asset with thousands of partitions, and a tree of 250 Dags."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, PartitionedAtRuntime, task

HOME = Path(os.environ["AIRFLOW_HOME"])
STURDY = {"retries": 3, "retry_delay": timedelta(0)}
HUBS, PER_HUB = 10, 24

orders, clean, report, forecast = Asset("orders"), Asset("clean"), Asset("report"), Asset("forecast")
many, root = Asset("many"), Asset("root")


def line(name: str, reads: Asset | None, *makes: Asset) -> None:
    """A Dag of one task, which goes on for as long as the file ``wait/<name>`` exists."""
    schedule = PartitionedAtRuntime() if reads is None else PartitionedAssetTimetable(assets=reads)
    with DAG(name, schedule=schedule, default_args=STURDY):

        @task(outlets=list(makes))
        def work() -> None:
            while (HOME / "wait" / name).exists():
                time.sleep(0.2)

        work()


line("ingest", None, orders)
line("cleaning", orders, clean)
line("reporting", clean, report)
line("forecasting", clean, forecast)
line("archive", None, many)
line("daily_archive", None, Asset("archive_of_days"))
line("hourly_archive", None, Asset("archive_of_hours"))
line("twins", None, Asset("left"), Asset("right"))


def branch(name: str, reads: Asset) -> Asset:
    made = Asset(name)
    with DAG(name, schedule=PartitionedAssetTimetable(assets=reads), is_paused_upon_creation=True) as dag:
        EmptyOperator(task_id="make", outlets=[made])
    globals()[name] = dag
    return made


for hub in range(HUBS):
    of_hub = branch(f"region_{hub}", root)
    for leaf in range(PER_HUB):
        branch(f"region_{hub}_shop_{leaf:02}", of_hub)
