"""Hour by hour: orders are cleaned, then joined with the hour's exchange rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import DAG, PartitionedAssetTimetable, task
from shop.assets import clean_orders, enriched_orders, exchange_rates, orders
from shop.audit import audited

if TYPE_CHECKING:
    from shop.warehouse import Computed, Warehouse

with DAG(
    "clean_orders",
    schedule=PartitionedAssetTimetable(assets=orders),
    max_active_runs=32,
    default_args={"owner": "data-platform"},
    tags=["shop"],
):

    @task(outlets=[clean_orders])
    @audited
    def clean(warehouse: Warehouse, hour: str | None) -> Computed:
        """Drop the cashiers' tests and what the till sent twice."""
        assert hour is not None
        return warehouse.compute(
            "clean_orders",
            hour,
            "SELECT DISTINCT partition_key, order_no, customer, currency, cents FROM orders "
            "WHERE partition_key = :key AND is_test = 0",
            reads={"orders": [hour]},
        )

    clean()


with DAG(
    "enriched_orders",
    schedule=PartitionedAssetTimetable(assets=clean_orders & exchange_rates),
    max_active_runs=32,
    default_args={"owner": "data-platform"},
    tags=["shop"],
):

    @task(outlets=[enriched_orders])
    @audited
    def enrich(warehouse: Warehouse, hour: str | None) -> Computed:
        """Convert every order into euros, at the rate of its hour."""
        assert hour is not None
        return warehouse.compute(
            "enriched_orders",
            hour,
            "SELECT o.partition_key, o.order_no, o.customer, o.currency, o.cents, "
            "o.cents * r.micro_eur / 1000000 "
            "FROM clean_orders o JOIN exchange_rates r "
            "ON r.partition_key = o.partition_key AND r.currency = o.currency WHERE o.partition_key = :key",
            reads={"clean_orders": [hour], "exchange_rates": [hour]},
        )

    enrich()
