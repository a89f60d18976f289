"""What others make of the daily revenue: data scientists a forecast per week, marketing a budget per day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from airflow.sdk import (
    DAG,
    MinimumCount,
    PartitionedAssetTimetable,
    RollupMapper,
    StartOfWeekMapper,
    WeekWindow,
    task,
)
from shop.assets import daily_revenue, weekly_forecast
from shop.audit import audited

if TYPE_CHECKING:
    from shop.warehouse import Computed, Warehouse

with DAG(
    "weekly_forecast",
    schedule=PartitionedAssetTimetable(
        assets=daily_revenue,
        default_partition_mapper=RollupMapper(
            upstream_mapper=StartOfWeekMapper(input_format="%Y-%m-%d"),
            window=WeekWindow(),
            wait_policy=MinimumCount(2),
        ),
    ),
    default_args={"owner": "data-science"},
    tags=["shop"],
):

    @task(outlets=[weekly_forecast])
    @audited
    def train(warehouse: Warehouse, week: str | None) -> Computed:
        """Forecast the next week from the days of this one that are known: two are enough."""
        assert week is not None
        monday = date.fromisoformat(week[:10])
        days = [(monday + timedelta(days=number)).isoformat() for number in range(7)]
        return warehouse.compute(
            "weekly_forecast",
            week,
            "SELECT CAST(:key AS TEXT), count(*), 7 * CAST(sum(eur_cents) AS BIGINT) / count(*) "
            "FROM daily_revenue WHERE partition_key BETWEEN :first AND :last",
            reads={"daily_revenue": days},
            first=days[0],
            last=days[-1],
        )

    train()


with DAG(
    "marketing_budget",
    schedule=PartitionedAssetTimetable(assets=daily_revenue),
    max_active_runs=1,
    default_args={"owner": "marketing"},
    tags=["shop"],
):

    @task
    @audited
    def plan(warehouse: Warehouse, day: str | None) -> Computed:
        """Set aside a tenth of the day's revenue."""
        assert day is not None
        return warehouse.compute(
            "marketing_budget",
            day,
            "SELECT partition_key, eur_cents / 10 FROM daily_revenue WHERE partition_key = :key",
            reads={"daily_revenue": [day]},
        )

    plan()
