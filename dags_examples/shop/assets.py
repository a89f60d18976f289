"""The shop's assets; their keys look like ``2026-06-14T05``, ``2026-06-14`` and ``2026-06-08 (W24)``."""

from __future__ import annotations

from airflow.sdk import Asset

orders = Asset(name="orders", uri="shop://warehouse/orders")
exchange_rates = Asset(name="exchange_rates", uri="shop://warehouse/exchange_rates")
clean_orders = Asset(name="clean_orders", uri="shop://warehouse/clean_orders")
enriched_orders = Asset(name="enriched_orders", uri="shop://warehouse/enriched_orders")
daily_revenue = Asset(name="daily_revenue", uri="shop://warehouse/daily_revenue")
weekly_forecast = Asset(name="weekly_forecast", uri="shop://warehouse/weekly_forecast")
