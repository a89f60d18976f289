"""ingest -> orders -> cleaning -> clean -> reporting -> report; ``archive`` reads what comes from outside."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, PartitionedAtRuntime, task

orders, clean, report = Asset("orders"), Asset("clean"), Asset("report")
imported, archived = Asset("imported"), Asset("archived")


def line(name: str, reads: Asset | None, makes: Asset) -> None:
    schedule = PartitionedAtRuntime() if reads is None else PartitionedAssetTimetable(assets=reads)
    with DAG(name, schedule=schedule):

        @task(outlets=[makes])
        def work() -> None:
            """Write nothing: what counts is what Airflow writes."""

        work()


line("ingest", None, orders)
line("cleaning", orders, clean)
line("reporting", clean, report)

with DAG("archive", schedule=PartitionedAssetTimetable(assets=imported)):
    EmptyOperator(task_id="work", outlets=[archived])
