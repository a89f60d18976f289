"""
The shop's tables, in SQL that SQLite and PostgreSQL understand.

Every table has its partition in the column ``partition_key``. Needs nothing of Airflow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

TABLES: dict[str, str] = {
    "orders": "order_no TEXT, customer TEXT, currency TEXT, cents BIGINT, is_test INTEGER",
    "exchange_rates": "currency TEXT, micro_eur BIGINT",
    "clean_orders": "order_no TEXT, customer TEXT, currency TEXT, cents BIGINT",
    "enriched_orders": "order_no TEXT, customer TEXT, currency TEXT, cents BIGINT, eur_cents BIGINT",
    "daily_revenue": "orders BIGINT, customers BIGINT, eur_cents BIGINT",
    "revenue_mail": "recipient TEXT, body TEXT",
    "marketing_budget": "eur_cents BIGINT",
    "weekly_forecast": "days BIGINT, next_week_eur_cents BIGINT",
}
SERVICE_TABLES: dict[str, str] = {
    "till_faults": "partition_key TEXT PRIMARY KEY, factor INTEGER NOT NULL",
    "pace": "task TEXT PRIMARY KEY, seconds REAL NOT NULL",
    "audit": (
        "dag_id TEXT, task_id TEXT, run_id TEXT, partition_key TEXT, try_number INTEGER, pid INTEGER, "
        "started_at DOUBLE PRECISION, ended_at DOUBLE PRECISION, inputs TEXT, outputs TEXT"
    ),
}


def create_statements() -> Iterator[str]:
    """Yield the statements that create what is missing."""
    for name, columns in TABLES.items():
        yield f"CREATE TABLE IF NOT EXISTS {name} (partition_key TEXT NOT NULL, {columns})"
    for name, columns in SERVICE_TABLES.items():
        yield f"CREATE TABLE IF NOT EXISTS {name} ({columns})"


def checksum(rows: Sequence[tuple[Any, ...]]) -> str:
    """
    Return a short checksum of a partition's rows, whatever their order.

    :param rows: with the partition as first column
    """
    return hashlib.sha256(json.dumps(sorted(rows), default=str).encode()).hexdigest()[:12]
