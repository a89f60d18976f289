"""The tables of the provider. None has a foreign key into Airflow's tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.utils.sqlalchemy import UtcDateTime
from sqlalchemy import JSON, Boolean, Index, Integer, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from airflow_lean_provider.store.types import EXACT, ID, Exact


class Base(DeclarativeBase):
    """Base of the provider's tables, with a metadata of its own."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Switch(Base):
    """
    One row: whether the brake works at all.

    Whoever changes what the brake holds locks this row first, so that one does it at a time.
    """

    __tablename__ = "lean_switch"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    enabled: Mapped[bool] = mapped_column(Boolean, nullable=False, default=True)
    reason: Mapped[str | None] = mapped_column(Text)
    changed_by: Mapped[str | None] = mapped_column(String(250))
    changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Cord(Base):
    """One incident. ``settled_at`` is None until all its readers were found and held."""

    __tablename__ = "lean_cord"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    reason: Mapped[str] = mapped_column(Text, nullable=False)
    severity: Mapped[str] = mapped_column(String(10), nullable=False)
    request_key: Mapped[str | None] = mapped_column(EXACT, unique=True)
    pulled_by: Mapped[str] = mapped_column(String(250), nullable=False)
    pulled_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    acknowledged_by: Mapped[str | None] = mapped_column(String(250))
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acknowledged_note: Mapped[str | None] = mapped_column(Text)
    release_on: Mapped[str] = mapped_column(String(20), nullable=False, default="manual")


class ReleaseRequest(Base):
    """A release that was asked for under a key: a repeated one with the same key changes nothing."""

    __tablename__ = "lean_release_request"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    request_key: Mapped[str] = mapped_column(EXACT, nullable=False, unique=True)
    cord_id: Mapped[int] = mapped_column(Integer, nullable=False, index=True)
    requested_by: Mapped[str] = mapped_column(String(250), nullable=False)
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)


class CordScope(Base):
    """
    What a cord covers of an asset besides single partitions: also what is published later.

    :param kind: ``pattern``, ``from`` or ``all``
    :param value: the pattern, or the key from which on
    :param ended_at: None while it covers what is published
    """

    __tablename__ = "lean_cord_scope"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    cord_id: Mapped[int] = mapped_column(Integer, nullable=False, index=True)
    asset_id: Mapped[int] = mapped_column(Integer, nullable=False, index=True)
    asset_name: Mapped[str] = mapped_column(String(1500), nullable=False)
    kind: Mapped[str] = mapped_column(String(10), nullable=False)
    value: Mapped[str | None] = mapped_column(EXACT)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_by: Mapped[str | None] = mapped_column(String(250))


class CordPartition(Base):
    """
    One partition under a cord, and how the cord ends on it.

    :param asked_outcome: the outcome that a person asked for; it takes effect at ``ended_at``
    :param after_publication: it takes effect only once the partition was published again
    :param forced: it takes effect without waiting for the tasks that publish the partition
    """

    __tablename__ = "lean_cord_partition"
    __table_args__ = (
        UniqueConstraint("cord_id", "asset_id", "partition_key"),
        Index("ix_lean_cord_partition_asset_id_partition_key", "asset_id", "partition_key"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    cord_id: Mapped[int] = mapped_column(Integer, nullable=False)
    asset_id: Mapped[int] = mapped_column(Integer, nullable=False)
    asset_name: Mapped[str] = mapped_column(String(1500), nullable=False)
    partition_key: Mapped[str | None] = mapped_column(EXACT)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
    named: Mapped[list[str]] = mapped_column(JSON, nullable=False, default=list)
    asked_outcome: Mapped[str | None] = mapped_column(String(20))
    asked_by: Mapped[str | None] = mapped_column(String(250))
    asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    note: Mapped[str | None] = mapped_column(Text)
    after_publication: Mapped[bool] = mapped_column(Boolean, nullable=False, default=False)
    forced: Mapped[bool] = mapped_column(Boolean, nullable=False, default=False)
    outcome: Mapped[str | None] = mapped_column(String(20))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class BadVersion(Base):
    """
    A bad version of a partition, kept because its event or its run may be taken away.

    :param began_at: when it began; with its run goes who wrote it, and since when
    :param causes: why it is bad, as ``[cord, asset, key]`` triples; what counts once its run is gone
    """

    __tablename__ = "lean_bad_version"
    __table_args__ = (Index("ix_lean_bad_version_asset_id_partition_key", "asset_id", "partition_key"),)

    version: Mapped[str] = mapped_column(
        Exact(400),
        primary_key=True,
    )
    asset_id: Mapped[int] = mapped_column(Integer, nullable=False)
    partition_key: Mapped[str | None] = mapped_column(EXACT)
    event_id: Mapped[int | None] = mapped_column(Integer)
    dag_id: Mapped[str | None] = mapped_column(ID)
    run_id: Mapped[str | None] = mapped_column(ID)
    task_id: Mapped[str | None] = mapped_column(ID)
    map_index: Mapped[int | None] = mapped_column(Integer)
    published_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
    began_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    causes: Mapped[list[Any]] = mapped_column(JSON, nullable=False, default=list)


class ClearedVersion(Base):
    """
    A bad version that a person declared good, since it has no natural end, or that went with its source.

    :param outcome: ``false_alarm``: it was good all along; ``fixed``: as it stood then, it is a new version;
        ``withdrawn``: what it was made from was, and it with it
    """

    __tablename__ = "lean_cleared_version"
    __table_args__ = (Index("ix_lean_cleared_version_asset_id_partition_key", "asset_id", "partition_key"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    version: Mapped[str] = mapped_column(
        Exact(1100),
        nullable=False,
    )
    asset_id: Mapped[int] = mapped_column(Integer, nullable=False)
    partition_key: Mapped[str | None] = mapped_column(EXACT)
    outcome: Mapped[str] = mapped_column(String(20), nullable=False)
    reason: Mapped[str] = mapped_column(Text, nullable=False)
    cleared_by: Mapped[str] = mapped_column(String(250), nullable=False)
    cleared_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)


class HaltedPartition(Base):
    """
    A partition that may not be read: the cache of D2 that every start asks.

    :param causes: the cords, as ``[cord, asset, key]`` triples; cord 0 is a half-written version; none at all
        while nobody has judged what was published
    """

    __tablename__ = "lean_halted_partition"
    __table_args__ = (Index("ix_lean_halted_partition_asset_id_partition_key", "asset_id", "partition_key"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    asset_id: Mapped[int] = mapped_column(Integer, nullable=False)
    partition_key: Mapped[str | None] = mapped_column(EXACT)
    root: Mapped[bool] = mapped_column(Boolean, nullable=False)
    causes: Mapped[list[Any]] = mapped_column(JSON, nullable=False, default=list)
    since: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)


class AffectedRun(Base):
    """
    A run that an open cord concerns: the cache of what the rules say of it, and what undoes our changes.

    :param labels: held, stopped, tainted, owes, ...
    :param saw: the partitions of which it saw a bad version, as ``[asset, key]`` pairs
    :param consumed: the partitions of the events that made it, as ``[asset, key]`` pairs
    :param run_after: the run's own ``run_after`` while the brake holds the run, else None
    :param was: its state and times while the brake holds the run or a task of it: what ``disable`` restores
    :param waits_since: events are absorbed into the run until one of its tasks starts after this
    :param paid: what other runs of its key have last run on good data, as ``[run, task, map index, start]``
    """

    __tablename__ = "lean_affected_run"
    __table_args__ = (Index("ix_lean_affected_run_dag_id_partition_key", "dag_id", "partition_key"),)

    dag_id: Mapped[str] = mapped_column(ID, primary_key=True)
    run_id: Mapped[str] = mapped_column(ID, primary_key=True)
    partition_key: Mapped[str | None] = mapped_column(EXACT)
    absorbs: Mapped[bool] = mapped_column(Boolean, nullable=False, default=False)
    labels: Mapped[list[str]] = mapped_column(JSON, nullable=False, default=list)
    causes: Mapped[list[Any]] = mapped_column(JSON, nullable=False, default=list)
    saw: Mapped[list[Any]] = mapped_column(JSON, nullable=False, default=list)
    consumed: Mapped[list[Any]] = mapped_column(JSON, nullable=False, default=list)
    held: Mapped[bool] = mapped_column(Boolean, nullable=False, default=False)
    run_after: Mapped[datetime | None] = mapped_column(UtcDateTime)
    was: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    since: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
    waits_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paid: Mapped[list[Any]] = mapped_column(JSON, nullable=False, default=list)


class ParkedTask(Base):
    """A task instance that the brake holds inside a run that goes on."""

    __tablename__ = "lean_parked_task"

    dag_id: Mapped[str] = mapped_column(ID, primary_key=True)
    run_id: Mapped[str] = mapped_column(ID, primary_key=True)
    task_id: Mapped[str] = mapped_column(ID, primary_key=True)
    map_index: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    parked_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)


class StoppedTry(Base):
    """
    An execution that the brake killed.

    :param outlets: what it may have been writing, as ``[asset, key]`` pairs
    :param cords: for which cords it was killed
    :param gone_by: when its process cannot be alive any more
    """

    __tablename__ = "lean_stopped_try"

    dag_id: Mapped[str] = mapped_column(ID, primary_key=True)
    run_id: Mapped[str] = mapped_column(ID, primary_key=True)
    task_id: Mapped[str] = mapped_column(ID, primary_key=True)
    map_index: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    try_number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
    stopped_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
    gone_by: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
    outlets: Mapped[list[Any]] = mapped_column(JSON, nullable=False, default=list)
    cords: Mapped[list[int]] = mapped_column(JSON, nullable=False, default=list)


class LetThrough(Base):
    """
    A person lets one run read bad data.

    :param causes: why what it reads was bad at that moment, as ``[cord, asset, key]`` triples
    """

    __tablename__ = "lean_let_through"
    __table_args__ = (Index("ix_lean_let_through_dag_id_run_id", "dag_id", "run_id"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    dag_id: Mapped[str] = mapped_column(ID, nullable=False)
    run_id: Mapped[str] = mapped_column(ID, nullable=False)
    causes: Mapped[list[Any]] = mapped_column(JSON, nullable=False, default=list)
    reason: Mapped[str] = mapped_column(Text, nullable=False)
    let_by: Mapped[str] = mapped_column(String(250), nullable=False)
    let_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)


class Approval(Base):
    """A person lets the brake run again what ``repair="ask"`` keeps back in a run."""

    __tablename__ = "lean_approval"
    __table_args__ = (Index("ix_lean_approval_dag_id_run_id", "dag_id", "run_id"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    dag_id: Mapped[str] = mapped_column(ID, nullable=False)
    run_id: Mapped[str] = mapped_column(ID, nullable=False)
    reason: Mapped[str | None] = mapped_column(Text)
    approved_by: Mapped[str] = mapped_column(String(250), nullable=False)
    approved_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)


class ChildRun(Base):
    """Which task instance triggered a run; Airflow itself does not keep it."""

    __tablename__ = "lean_child_run"
    __table_args__ = (
        Index("ix_lean_child_run_dag_id_run_id", "dag_id", "run_id"),
        Index("ix_lean_child_run_parent_dag_id_parent_run_id", "parent_dag_id", "parent_run_id"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    dag_id: Mapped[str] = mapped_column(ID, nullable=False)
    run_id: Mapped[str] = mapped_column(ID, nullable=False)
    parent_dag_id: Mapped[str] = mapped_column(ID, nullable=False)
    parent_run_id: Mapped[str] = mapped_column(ID, nullable=False)
    parent_task_id: Mapped[str] = mapped_column(ID, nullable=False)
    parent_map_index: Mapped[int] = mapped_column(Integer, nullable=False)


class InletReference(Base):
    """
    A task with an inlet that names an asset by its ``name``, ``uri`` or ``alias``: Airflow does not keep it.
    """

    __tablename__ = "lean_inlet_reference"
    __table_args__ = (Index("ix_lean_inlet_reference_dag_id", "dag_id"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    dag_id: Mapped[str] = mapped_column(ID, nullable=False)
    task_id: Mapped[str] = mapped_column(ID, nullable=False)
    kind: Mapped[str] = mapped_column(String(10), nullable=False)
    value: Mapped[str] = mapped_column(Exact(1500), nullable=False)


class DagDependency(Base):
    """
    A task that waits for another Dag or triggers it: Airflow keeps it inside the serialized Dag only.

    :param kind: ``waits for`` or ``triggers``
    """

    __tablename__ = "lean_dag_dependency"
    __table_args__ = (
        Index("ix_lean_dag_dependency_dag_id", "dag_id"),
        Index("ix_lean_dag_dependency_other_dag_id", "other_dag_id"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    dag_id: Mapped[str] = mapped_column(ID, nullable=False)
    task_id: Mapped[str] = mapped_column(ID, nullable=False)
    kind: Mapped[str] = mapped_column(String(10), nullable=False)
    other_dag_id: Mapped[str] = mapped_column(ID, nullable=False)


class AbsorbedEvent(Base):
    """
    An asset event that the brake gave to an existing run instead of letting Airflow create another one.

    :param pending_id: Airflow's pending row that now names the run; None for an event without a key
    :param shared_pending_id: the pending row that waits for others, out of which the event was moved
    """

    __tablename__ = "lean_absorbed_event"
    __table_args__ = (Index("ix_lean_absorbed_event_dag_id_run_id", "dag_id", "run_id"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    event_id: Mapped[int] = mapped_column(Integer, nullable=False)
    dag_id: Mapped[str] = mapped_column(ID, nullable=False)
    run_id: Mapped[str] = mapped_column(ID, nullable=False)
    pending_id: Mapped[int | None] = mapped_column(Integer)
    shared_pending_id: Mapped[int | None] = mapped_column(Integer)
    published_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
