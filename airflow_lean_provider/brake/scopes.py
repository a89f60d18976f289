"""
Open-ended scopes: what is published while one is open is under its cord, from its very first moment.

In the transaction of a publication the new partition is halted (:mod:`.publication`), so that no reader of it
can start; the next step of settling puts it under the cord. A partition that the cord was released on has
left the scope.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from airflow_lean_provider.airflow_internals.assets import first_published
from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.rules.facts import Partition, Severity
from airflow_lean_provider.rules.scope import Kind, OpenEnded
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import Cord, CordPartition, CordScope, HaltedPartition

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

A_MOMENT = timedelta(microseconds=1)
A_TRANSACTION = timedelta(hours=1)
"""How long before it is committed a publication may have been stamped."""


def meaning(scope: Any) -> OpenEnded:
    """Return what a row of :class:`CordScope` covers."""
    return OpenEnded(Kind(scope.kind), scope.value)


def cords_that_cover(connection: Connection, partition: Partition) -> list[int]:
    """Return the cords under whose open scopes a partition comes that is being published."""
    scopes = connection.execute(
        select(CordScope.cord_id, CordScope.kind, CordScope.value)
        .join(Cord, Cord.id == CordScope.cord_id)
        .where(
            CordScope.asset_id == partition.asset,
            CordScope.ended_at.is_(None),
            Cord.severity == Severity.STOP.value,
        )
    ).all()
    covering = {s.cord_id for s in scopes if meaning(s).covers(partition.key)}
    if not covering:
        return []
    known = {
        row.cord_id
        for row in connection.execute(
            select(CordPartition.cord_id, CordPartition.partition_key).where(
                CordPartition.asset_id == partition.asset,
                CordPartition.cord_id.in_(covering),
                CordPartition.partition_key.is_not_distinct_from(partition.key),
            )
        )
        if row.partition_key == partition.key
    }
    return sorted(covering - known)


def cover_what_was_published(session: Session) -> None:
    """Put under their cords the partitions that were published since, and that open scopes cover."""
    for scope in session.scalars(select(CordScope).where(CordScope.ended_at.is_(None))).all():
        covered = {
            key: at
            for key, at in first_published(scope.asset_id, scope.opened_at, session=session).items()
            if meaning(scope).covers(key)
        }
        if not covered:
            continue
        known = set(
            session.scalars(
                select(CordPartition.partition_key).where(
                    CordPartition.cord_id == scope.cord_id, CordPartition.asset_id == scope.asset_id
                )
            )
        )
        for key in sorted(covered.keys() - known, key=str):
            session.add(
                CordPartition(
                    cord_id=scope.cord_id,
                    asset_id=scope.asset_id,
                    asset_name=scope.asset_name,
                    partition_key=key,
                    opened_at=covered[key] - A_MOMENT,
                    named=[],
                )
            )
            said = (
                f"cord {scope.cord_id} covers {scope.asset_name} {key!r}, published since ({meaning(scope)})"
            )
            write_entries([Entry("andon pull", extra=said)], session)
    _merge_halts(session)
    session.flush()


def end(cord: int, by: str, session: Session) -> bool:
    """
    Cover nothing any more that is published from now on.

    :return: whether the cord covered it until now
    """
    still_open = session.scalars(
        select(CordScope).where(CordScope.cord_id == cord, CordScope.ended_at.is_(None))
    ).all()
    for scope in still_open:
        scope.ended_at = now()
        scope.ended_by = by
        said = f"cord {cord} covers {scope.asset_name} ({meaning(scope)}) no longer, by {by}"
        write_entries([Entry("andon release", extra=said, by=by)], session)
    return bool(still_open)


def _merge_halts(session: Session) -> None:
    """Several publications at a time may each have halted one partition: one row for it is enough."""
    twice = (
        select(HaltedPartition.asset_id)
        .group_by(HaltedPartition.asset_id, HaltedPartition.partition_key)
        .having(func.count() > 1)
    )
    rows: dict[Partition, list[HaltedPartition]] = defaultdict(list)
    for row in session.scalars(
        select(HaltedPartition)
        .where(HaltedPartition.asset_id.in_(twice))
        .order_by(HaltedPartition.id)
        .execution_options(populate_existing=True)
    ):
        rows[Partition(row.asset_id, row.partition_key)].append(row)
    for first, *others in rows.values():
        for other in others:
            first.root = first.root or other.root
            first.causes = [*first.causes, *(c for c in other.causes if c not in first.causes)]
            session.delete(other)
