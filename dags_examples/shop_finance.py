"""Day by day: revenue once all 24 hours are there, and the mail that tells the management."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import (
    DAG,
    DayWindow,
    PartitionedAssetTimetable,
    RollupMapper,
    StartOfDayMapper,
    task,
)
from shop.assets import daily_revenue, enriched_orders
from shop.audit import audited

if TYPE_CHECKING:
    from shop.warehouse import Computed, Warehouse

with DAG(
    "daily_revenue",
    schedule=PartitionedAssetTimetable(
        assets=enriched_orders,
        default_partition_mapper=RollupMapper(
            upstream_mapper=StartOfDayMapper(input_format="%Y-%m-%dT%H"), window=DayWindow()
        ),
    ),
    default_args={"owner": "finance"},
    tags=["shop"],
):

    @task(outlets=[daily_revenue])
    @audited
    def add_up(warehouse: Warehouse, day: str | None) -> Computed:
        """Add up the day's 24 hours."""
        assert day is not None
        return warehouse.compute(
            "daily_revenue",
            day,
            "SELECT :key, count(*), count(DISTINCT customer), CAST(coalesce(sum(eur_cents), 0) AS BIGINT) "
            "FROM enriched_orders WHERE substr(partition_key, 1, 10) = :key",
            reads={"enriched_orders": [f"{day}T{hour:02}" for hour in range(24)]},
        )

    add_up()


with DAG(
    "revenue_mail",
    schedule=PartitionedAssetTimetable(assets=daily_revenue),
    default_args={"owner": "finance"},
    tags=["shop"],
):

    @task
    @audited
    def write_mail(warehouse: Warehouse, day: str | None) -> Computed:
        """Write the day's mail to the management; nobody is bothered with a real one."""
        assert day is not None
        return warehouse.compute(
            "revenue_mail",
            day,
            "SELECT partition_key, 'management', 'Revenue of ' || partition_key || ': ' "
            "|| CAST(eur_cents / 100 AS TEXT) || ' EUR, ' || CAST(orders AS TEXT) || ' orders' "
            "FROM daily_revenue WHERE partition_key = :key",
            reads={"daily_revenue": [day]},
        )

    write_mail()
