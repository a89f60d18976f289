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

from airflow_lean_provider.store.types import EXACT, ID, Exact

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "lean_switch",
    "lean_cord",
    "lean_release_request",
    "lean_cord_scope",
    "lean_cord_partition",
    "lean_bad_version",
    "lean_cleared_version",
    "lean_halted_partition",
    "lean_affected_run",
    "lean_parked_task",
    "lean_stopped_try",
    "lean_absorbed_event",
    "lean_let_through",
    "lean_approval",
    "lean_child_run",
    "lean_inlet_reference",
    "lean_dag_dependency",
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
        sa.Column("acknowledged_by", sa.String(250), nullable=True),
        sa.Column("acknowledged_at", UtcDateTime(), nullable=True),
        sa.Column("acknowledged_note", sa.Text(), nullable=True),
        sa.Column("release_on", sa.String(20), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lean_cord"),
        sa.UniqueConstraint("request_key", name="uq_lean_cord_request_key"),
    )
    op.create_index("ix_lean_cord_closed_at", "lean_cord", ["closed_at"])
    op.create_table(
        "lean_release_request",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("request_key", EXACT, nullable=False),
        sa.Column("cord_id", sa.Integer(), nullable=False),
        sa.Column("requested_by", sa.String(250), nullable=False),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lean_release_request"),
        sa.UniqueConstraint("request_key", name="uq_lean_release_request_request_key"),
    )
    op.create_index("ix_lean_release_request_cord_id", "lean_release_request", ["cord_id"])
    op.create_table(
        "lean_cord_scope",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("cord_id", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("asset_name", sa.String(1500), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("value", EXACT, nullable=True),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("ended_by", sa.String(250), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_lean_cord_scope"),
    )
    op.create_index("ix_lean_cord_scope_cord_id", "lean_cord_scope", ["cord_id"])
    op.create_index("ix_lean_cord_scope_asset_id", "lean_cord_scope", ["asset_id"])
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
            Exact(400),
            nullable=False,
        ),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("partition_key", EXACT, nullable=True),
        sa.Column("event_id", sa.Integer(), nullable=True),
        sa.Column("dag_id", ID, nullable=True),
        sa.Column("run_id", ID, nullable=True),
        sa.Column("task_id", ID, nullable=True),
        sa.Column("map_index", sa.Integer(), nullable=True),
        sa.Column("published_at", UtcDateTime(), nullable=False),
        sa.Column("began_at", UtcDateTime(), nullable=True),
        sa.Column("causes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_lean_bad_version"),
    )
    op.create_index(
        "ix_lean_bad_version_asset_id_partition_key", "lean_bad_version", ["asset_id", "partition_key"]
    )
    op.create_table(
        "lean_cleared_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column(
            "version",
            Exact(1100),
            nullable=False,
        ),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("partition_key", EXACT, nullable=True),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("cleared_by", sa.String(250), nullable=False),
        sa.Column("cleared_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lean_cleared_version"),
    )
    op.create_index(
        "ix_lean_cleared_version_asset_id_partition_key",
        "lean_cleared_version",
        ["asset_id", "partition_key"],
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
        sa.Column("dag_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
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
        sa.Column("paid", sa.JSON(), nullable=False),
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
        sa.Column("dag_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("pending_id", sa.Integer(), nullable=True),
        sa.Column("shared_pending_id", sa.Integer(), nullable=True),
        sa.Column("published_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lean_absorbed_event"),
    )
    op.create_index("ix_lean_absorbed_event_dag_id_run_id", "lean_absorbed_event", ["dag_id", "run_id"])
    op.create_table(
        "lean_let_through",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dag_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("causes", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("let_by", sa.String(250), nullable=False),
        sa.Column("let_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lean_let_through"),
    )
    op.create_index("ix_lean_let_through_dag_id_run_id", "lean_let_through", ["dag_id", "run_id"])
    op.create_table(
        "lean_approval",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dag_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("approved_by", sa.String(250), nullable=False),
        sa.Column("approved_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lean_approval"),
    )
    op.create_index("ix_lean_approval_dag_id_run_id", "lean_approval", ["dag_id", "run_id"])
    op.create_table(
        "lean_child_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dag_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("parent_dag_id", ID, nullable=False),
        sa.Column("parent_run_id", ID, nullable=False),
        sa.Column("parent_task_id", ID, nullable=False),
        sa.Column("parent_map_index", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lean_child_run"),
    )
    op.create_index("ix_lean_child_run_dag_id_run_id", "lean_child_run", ["dag_id", "run_id"])
    op.create_index(
        "ix_lean_child_run_parent_dag_id_parent_run_id",
        "lean_child_run",
        ["parent_dag_id", "parent_run_id"],
    )
    op.create_table(
        "lean_inlet_reference",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dag_id", ID, nullable=False),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("value", Exact(1500), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lean_inlet_reference"),
    )
    op.create_index("ix_lean_inlet_reference_dag_id", "lean_inlet_reference", ["dag_id"])
    op.create_table(
        "lean_dag_dependency",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dag_id", ID, nullable=False),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("other_dag_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lean_dag_dependency"),
    )
    op.create_index("ix_lean_dag_dependency_dag_id", "lean_dag_dependency", ["dag_id"])
    op.create_index("ix_lean_dag_dependency_other_dag_id", "lean_dag_dependency", ["other_dag_id"])


def downgrade() -> None:
    """Remove every table, and with them all that is known of open cords."""
    for table in reversed(TABLES):
        op.drop_table(table)


def _task_instance() -> tuple[sa.Column, ...]:
    return (
        sa.Column("dag_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("map_index", sa.Integer(), autoincrement=False, nullable=False),
    )
