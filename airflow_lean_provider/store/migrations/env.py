from __future__ import annotations

from typing import Any

from airflow import settings
from alembic import context

from airflow_lean_provider.store.db_manager import LeanDBManager
from airflow_lean_provider.store.transactions import engine

OPTIONS: dict[str, Any] = {
    "target_metadata": LeanDBManager.metadata,
    "version_table": LeanDBManager.version_table_name,
    "compare_type": True,
    "render_as_batch": True,
}


def run_offline() -> None:
    """Print the SQL."""
    context.configure(
        url=settings.SQL_ALCHEMY_CONN, literal_binds=True, dialect_opts={"paramstyle": "named"}, **OPTIONS
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Execute the migrations."""
    with engine().connect() as connection:
        context.configure(connection=connection, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
