"""Clean: forget old history; ``airflow db clean`` knows nothing of our tables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.airflow_internals.inlets import dags_that_are_gone
from airflow_lean_provider.airflow_internals.runs import known_runs
from airflow_lean_provider.airflow_internals.statements import chunks
from airflow_lean_provider.rules.facts import Partition, Run
from airflow_lean_provider.store.models import (
    AffectedRun,
    Approval,
    BadVersion,
    ChildRun,
    ClearedVersion,
    Cord,
    CordPartition,
    CordScope,
    DagDependency,
    HaltedPartition,
    InletReference,
    LetThrough,
    ReleaseRequest,
    StoppedTry,
)
from airflow_lean_provider.store.transactions import in_transaction, lock_switch

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.orm import Session


def clean(*, before: datetime, by: str, dry_run: bool = False) -> Counter[str]:
    """
    Delete the cords that were closed before this moment, and what no open cord needs of what belongs to them.

    What was noted of runs and Dags that Airflow does not know any more goes, too, however old.

    :param dry_run: only say what would be deleted
    :return: how many rows of each table
    """

    def delete_old(session: Session) -> Counter[str]:
        lock_switch(session)
        closed = session.scalars(select(Cord.id).where(Cord.closed_at < before)).all()
        doomed: dict[Any, Collection[int]] = {
            CordPartition: _of_cords(CordPartition, closed, session),
            CordScope: _of_cords(CordScope, closed, session),
            ReleaseRequest: _of_cords(ReleaseRequest, closed, session),
            Cord: closed,
            LetThrough: _let_throughs(before, session),
            Approval: _approvals(before, session),
            ClearedVersion: _cleared_versions(before, session),
            ChildRun: _orphaned_children(session),
            InletReference: _of_gone_dags(InletReference, session),
            DagDependency: _of_gone_dags(DagDependency, session),
        }
        counts = Counter({model.__tablename__: len(ids) for model, ids in doomed.items()})
        if not dry_run:
            for model, ids in doomed.items():
                for some in chunks(sorted(ids)):
                    session.execute(delete(model).where(model.id.in_(some)))
            if counts.total():
                said = f"before {before.isoformat()} by {by}: {counts.total()} rows"
                write_entries([Entry("andon clean", extra=said, by=by)], session)
        return counts

    return in_transaction(delete_old)


def _of_cords(model: Any, cords: Collection[int], session: Session) -> list[int]:
    found: list[int] = []
    for some in chunks(sorted(cords)):
        found += session.scalars(select(model.id).where(model.cord_id.in_(some)))
    return found


def _let_throughs(before: datetime, session: Session) -> list[int]:
    """Return those whose cords are all closed; half-written data, with cord 0, counts while it is known."""
    still_open: set[int] = set(session.scalars(select(Cord.id).where(Cord.closed_at.is_(None))))
    if session.scalars(select(StoppedTry.run_id).limit(1)).first() is not None:
        still_open.add(0)
    return [
        row.id
        for row in session.scalars(select(LetThrough).where(LetThrough.let_at < before))
        if not {cord for cord, _, _ in row.causes} & still_open
    ]


def _approvals(before: datetime, session: Session) -> list[int]:
    affected = {Run(*row) for row in session.execute(select(AffectedRun.dag_id, AffectedRun.run_id))}
    return [
        row.id
        for row in session.scalars(select(Approval).where(Approval.approved_at < before))
        if Run(row.dag_id, row.run_id) not in affected
    ]


def _cleared_versions(before: datetime, session: Session) -> list[int]:
    """Return those of partitions of which nothing is left that could count as bad again."""
    needed = {
        Partition(*row)
        for query in (
            select(BadVersion.asset_id, BadVersion.partition_key),
            select(HaltedPartition.asset_id, HaltedPartition.partition_key),
            select(CordPartition.asset_id, CordPartition.partition_key)
            .join(Cord, Cord.id == CordPartition.cord_id)
            .where(Cord.closed_at.is_(None)),
        )
        for row in session.execute(query)
    }
    needed |= {Partition(*p) for outlets in session.scalars(select(StoppedTry.outlets)) for p in outlets}
    return [
        row.id
        for row in session.scalars(select(ClearedVersion).where(ClearedVersion.cleared_at < before))
        if Partition(row.asset_id, row.partition_key) not in needed
    ]


def _of_gone_dags(model: Any, session: Session) -> list[int]:
    gone = dags_that_are_gone(set(session.scalars(select(model.dag_id).distinct())), session=session)
    return list(session.scalars(select(model.id).where(model.dag_id.in_(gone)))) if gone else []


def _orphaned_children(session: Session) -> list[int]:
    """Return those whose run no longer exists."""
    rows = session.execute(select(ChildRun.id, ChildRun.dag_id, ChildRun.run_id)).all()
    existing = known_runs({Run(r.dag_id, r.run_id) for r in rows}, session=session)
    return [r.id for r in rows if Run(r.dag_id, r.run_id) not in existing]
