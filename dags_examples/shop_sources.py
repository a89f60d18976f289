"""What enters the warehouse: the till's orders hour by hour, or many hours in one go; the bank's rates."""

from __future__ import annotations

from airflow.sdk import DAG, PartitionedAtRuntime, get_current_context, task
from shop.assets import exchange_rates, orders
from shop.audit import audited
from shop.source import orders_of, rates_of
from shop.warehouse import Computed, Warehouse

with DAG("ingest_orders", schedule=PartitionedAtRuntime(), default_args={"owner": "shop-it"}, tags=["shop"]):

    @task(outlets=[orders])
    @audited
    def load_hour(warehouse: Warehouse, hour: str | None) -> Computed:
        """Load the hour that the run was triggered for."""
        if hour is None:
            raise ValueError("Trigger this Dag with an hour, such as 2026-06-14T05, as partition key.")
        return warehouse.load("orders", hour, orders_of(hour, warehouse.fault_of(hour)))

    load_hour()


with DAG("import_orders", schedule=PartitionedAtRuntime(), default_args={"owner": "shop-it"}, tags=["shop"]):

    @task(outlets=[orders])
    @audited
    def load_hours(warehouse: Warehouse, _: str | None) -> Computed:
        """Load all hours of ``{"hours": [...]}`` in the run's configuration."""
        context = get_current_context()
        outputs: dict[str, str] = {}
        for hour in context["dag_run"].conf["hours"]:
            outputs |= warehouse.load("orders", hour, orders_of(hour, warehouse.fault_of(hour))).outputs
            context["outlet_events"][orders].add_partitions(hour)
        return Computed(outputs=outputs)

    load_hours()


with DAG("import_rates", schedule=PartitionedAtRuntime(), default_args={"owner": "treasury"}, tags=["shop"]):

    @task(outlets=[exchange_rates])
    @audited
    def load_rates(warehouse: Warehouse, _: str | None) -> Computed:
        """Load the rates of all hours of ``{"hours": [...]}`` in the run's configuration."""
        context = get_current_context()
        outputs: dict[str, str] = {}
        for hour in context["dag_run"].conf["hours"]:
            outputs |= warehouse.load("exchange_rates", hour, rates_of(hour)).outputs
            context["outlet_events"][exchange_rates].add_partitions(hour)
        return Computed(outputs=outputs)

    load_rates()
