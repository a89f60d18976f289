"""Dags that merely wait for others, or trigger them: told to people, not followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel
from sqlalchemy import delete, insert, select

from airflow_lean_provider.airflow_internals.statements import chunks
from airflow_lean_provider.store.models import DagDependency

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session


def note_dependencies(dag_id: str, data: dict[str, Any], connection: Connection) -> None:
    """Keep what a serialized Dag waits for and triggers, to be found from the other end."""
    connection.execute(delete(DagDependency).where(DagDependency.dag_id == dag_id))
    found = list(_dependencies(dag_id, data))
    if found:
        connection.execute(insert(DagDependency), found)


def dependents_of(dag_ids: Collection[str], *, session: Session) -> list[DagDependency]:
    """Return the tasks of other Dags that wait for one of these, or trigger it."""
    found: list[DagDependency] = []
    for some in chunks(sorted(dag_ids)):
        found += session.scalars(
            select(DagDependency)
            .join(DagModel, DagModel.dag_id == DagDependency.dag_id)
            .where(DagDependency.other_dag_id.in_(some), DagModel.is_stale.is_(False))
        )
    return sorted(
        (d for d in found if d.dag_id not in dag_ids and d.other_dag_id in dag_ids),
        key=lambda d: (d.dag_id, d.task_id, d.other_dag_id),
    )


def _dependencies(dag_id: str, data: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Read them from ``dag_dependencies`` (``serialized_objects._DependencyDetector``)."""
    for dependency in data.get("dag", {}).get("dag_dependencies") or ():
        if dependency["dependency_type"] == "sensor" and dependency["target"] == dag_id:
            kind, other = "waits for", dependency["source"]
        elif dependency["dependency_type"] == "trigger" and dependency["source"] == dag_id:
            kind, other = "triggers", dependency["target"]
        else:
            continue
        if isinstance(other, str) and len(other) <= 250:  # a template of any length may stand for it
            task_id = dependency["dependency_id"]
            yield {"dag_id": dag_id, "task_id": task_id, "kind": kind, "other_dag_id": other}
