"""
A small production line, every task of which writes down when it starts and waits while it is told to.

A task waits as long as the file ``wait/<name>`` exists in AIRFLOW_HOME.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, PartitionedAtRuntime, task

HOME = Path(os.environ["AIRFLOW_HOME"])

STURDY = {"retries": 3, "retry_delay": timedelta(0)}
"""A machine that is busy with other things must not fail a task."""
ONE_AT_A_TIME: dict[str, Any] = {"max_active_runs": 1, "default_args": STURDY}

orders, clean, report = Asset("orders"), Asset("clean"), Asset("report")


def work(name: str, dag_run: Any) -> None:
    """Write down the start, then wait as long as it is wanted."""
    with (HOME / "started").open("a") as file:
        file.write(f"{name} {dag_run.partition_key}\n")
    while (HOME / "wait" / name).exists():
        time.sleep(0.2)


with DAG("ingest", schedule=PartitionedAtRuntime(), default_args=STURDY):

    @task(outlets=[orders])
    def load(dag_run: Any = None) -> None:
        work("load", dag_run)

    @task
    def check(dag_run: Any = None) -> None:
        work("check", dag_run)

    @task
    def archive(dag_run: Any = None) -> None:
        work("archive", dag_run)

    [load(), archive()] >> check()


with DAG(
    "cleaning", schedule=PartitionedAssetTimetable(assets=orders), max_active_runs=1, default_args=STURDY
):

    @task(outlets=[clean])
    def cleanse(dag_run: Any = None) -> None:
        work("cleanse", dag_run)

    cleanse()


with DAG(
    "reporting", schedule=PartitionedAssetTimetable(assets=clean), max_active_runs=1, default_args=STURDY
):

    @task(outlets=[report])
    def publish(dag_run: Any = None) -> None:
        work("publish", dag_run)

    publish()
