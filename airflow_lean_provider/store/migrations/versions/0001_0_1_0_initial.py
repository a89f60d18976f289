"""
The first tables.

Revision ID: 0001
Revises: (nothing)
Version: 0.1.0
"""

from __future__ import annotations

import sqlalchemy as sa
from airflow.utils.sqlalchemy import UtcDateTime
from alembic import op
from sqlalchemy.dialects import mysql

EXACT = sa.String(250).with_variant(mysql.VARCHAR(250, collation="utf8mb4_bin"), "mysql", "mariadb")

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "lean_switch",
    "lean_cord",
    "lean_cord_partition",
    "lean_bad_version",
    "lean_halted_partition",
    "lean_affected_run",
    "lean_parked_task",
    "lean_stopped_try",
    "lean_absorbed_event",
)


def upgrade() -> None:
    """Create every table of 0.1.0."""
    op.create_table(
        "lean_switch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("changed_by", sa.String(250), nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_lean_switch"),
    )
    op.create_table(
        "lean_cord",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(10), nullable=False),
        sa.Column("request_key", EXACT, nullable=True),
        sa.Column("pulled_by", sa.String(250), nullable=False),
        sa.Column("pulled_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_lean_cord"),
        sa.UniqueConstraint("request_key", name="uq_lean_cord_request_key"),
    )
    op.create_index("ix_lean_cord_closed_at", "lean_cord", ["closed_at"])
    op.create_table(
        "lean_cord_partition",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("cord_id", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("asset_name", sa.String(1500), nullable=False),
        sa.Column("partition_key", EXACT, nullable=True),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("named", sa.JSON(), nullable=False),
        sa.Column("asked_outcome", sa.String(20), nullable=True),
        sa.Column("asked_by", sa.String(250), nullable=True),
        sa.Column("asked_at", UtcDateTime(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("after_publication", sa.Boolean(), nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_lean_cord_partition"),
        sa.UniqueConstraint(
            "cord_id",
            "asset_id",
            "partition_key",
            name="uq_lean_cord_partition_cord_id_asset_id_partition_key",
        ),
    )
    op.create_index(
        "ix_lean_cord_partition_asset_id_partition_key", "lean_cord_partition", ["asset_id", "partition_key"]
    )
    op.create_table(
        "lean_bad_version",
        sa.Column(
            "version",
            sa.String(400).with_variant(mysql.VARCHAR(400, collation="utf8mb4_bin"), "mysql", "mariadb"),
            nullable=False,
        ),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("partition_key", EXACT, nullable=True),
        sa.Column("event_id", sa.Integer(), nullable=True),
        sa.Column("dag_id", EXACT, nullable=True),
        sa.Column("run_id", EXACT, nullable=True),
        sa.Column("task_id", EXACT, nullable=True),
        sa.Column("map_index", sa.Integer(), nullable=True),
        sa.Column("published_at", UtcDateTime(), nullable=False),
        sa.Column("causes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_lean_bad_version"),
    )
    op.create_index(
        "ix_lean_bad_version_asset_id_partition_key", "lean_bad_version", ["asset_id", "partition_key"]
    )
    op.create_table(
        "lean_halted_partition",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("partition_key", EXACT, nullable=True),
        sa.Column("root", sa.Boolean(), nullable=False),
        sa.Column("causes", sa.JSON(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lean_halted_partition"),
    )
    op.create_index(
        "ix_lean_halted_partition_asset_id_partition_key",
        "lean_halted_partition",
        ["asset_id", "partition_key"],
    )
    op.create_table(
        "lean_affected_run",
        sa.Column("dag_id", EXACT, nullable=False),
        sa.Column("run_id", EXACT, nullable=False),
        sa.Column("partition_key", EXACT, nullable=True),
        sa.Column("absorbs", sa.Boolean(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("causes", sa.JSON(), nullable=False),
        sa.Column("saw", sa.JSON(), nullable=False),
        sa.Column("consumed", sa.JSON(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("run_after", UtcDateTime(), nullable=True),
        sa.Column("was", sa.JSON(), nullable=True),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("waits_since", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("dag_id", "run_id", name="pk_lean_affected_run"),
    )
    op.create_index(
        "ix_lean_affected_run_dag_id_partition_key", "lean_affected_run", ["dag_id", "partition_key"]
    )
    op.create_table(
        "lean_parked_task",
        *_task_instance(),
        sa.Column("parked_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "run_id", "task_id", "map_index", name="pk_lean_parked_task"),
    )
    op.create_table(
        "lean_stopped_try",
        *_task_instance(),
        sa.Column("try_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("stopped_at", UtcDateTime(), nullable=False),
        sa.Column("gone_by", UtcDateTime(), nullable=False),
        sa.Column("outlets", sa.JSON(), nullable=False),
        sa.Column("cords", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint(
            "dag_id", "run_id", "task_id", "map_index", "try_number", name="pk_lean_stopped_try"
        ),
    )
    op.create_table(
        "lean_absorbed_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("dag_id", EXACT, nullable=False),
        sa.Column("run_id", EXACT, nullable=False),
        sa.Column("pending_id", sa.Integer(), nullable=False),
        sa.Column("shared_pending_id", sa.Integer(), nullable=True),
        sa.Column("absorbed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lean_absorbed_event"),
    )
    op.create_index("ix_lean_absorbed_event_dag_id_run_id", "lean_absorbed_event", ["dag_id", "run_id"])


def downgrade() -> None:
    """Remove every table, and with them all that is known of open cords."""
    for table in reversed(TABLES):
        op.drop_table(table)


def _task_instance() -> tuple[sa.Column, ...]:
    return (
        sa.Column("dag_id", EXACT, nullable=False),
        sa.Column("run_id", EXACT, nullable=False),
        sa.Column("task_id", EXACT, nullable=False),
        sa.Column("map_index", sa.Integer(), autoincrement=False, nullable=False),
    )
