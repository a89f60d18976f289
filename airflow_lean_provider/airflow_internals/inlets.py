"""
Inlets that name an asset by its name, its uri or an alias.

Airflow keeps which tasks have an asset itself as an inlet (``task_inlet_asset_reference``), and forgets the
references. They are noted whenever a Dag is serialized, so that a pull finds their readers without reading
every Dag of the installation.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.dag import DagModel
from airflow.models.serialized_dag import SerializedDagModel
from sqlalchemy import delete, insert, inspect, select

from airflow_lean_provider.airflow_internals.dependencies import note_dependencies
from airflow_lean_provider.airflow_internals.statements import chunks
from airflow_lean_provider.store.models import InletReference
from airflow_lean_provider.store.transactions import is_lost

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


class _Reference(NamedTuple):
    task_id: str
    kind: str
    value: str


def on_dag_serialized(dag_id: str, data: dict[str, Any], session: Session) -> None:
    """
    Note the references of a Dag that is written, and the Dags that it waits for or triggers.

    Never raises: an error here would keep the Dag out of Airflow.
    """
    try:
        found = list(_references(data))
        connection = session.connection()
        with connection.begin_nested():
            connection.execute(delete(InletReference).where(InletReference.dag_id == dag_id))
            if found:
                connection.execute(insert(InletReference), [{"dag_id": dag_id, **r._asdict()} for r in found])
            note_dependencies(dag_id, data, connection)
    except Exception as error:  # see above
        if is_lost(error):
            raise
        log.exception("The inlets and dependencies of Dag %s could not be noted", dag_id)


def note_all(session: Session) -> None:
    """Note the references of every Dag, and commit: what was serialized before this package was there."""
    connection = session.connection()
    tables = inspect(connection)
    if not (
        tables.has_table(SerializedDagModel.__tablename__) and tables.has_table(InletReference.__tablename__)
    ):
        return
    dag_ids = session.scalars(select(SerializedDagModel.dag_id).distinct()).all()
    for dag_id in dag_ids:
        for row in SerializedDagModel.get_latest_serialized_dags(dag_ids=[dag_id], session=session):
            on_dag_serialized(dag_id, row.data or {}, session)
    session.commit()


def dags_that_are_gone(dag_ids: Collection[str], *, session: Session) -> set[str]:
    """Return those that Airflow does not know any more."""
    found = set(dag_ids)
    for some in chunks(sorted(dag_ids)):
        found -= set(session.scalars(select(DagModel.dag_id).where(DagModel.dag_id.in_(some))))
    return found


def _references(data: dict[str, Any]) -> Iterator[_Reference]:
    """Read them from the serialized Dag (``encoders.encode_asset_like``), without making a Dag of it."""
    for task in data.get("dag", {}).get("tasks", ()):
        said = task["__var"]
        for port in (said.get("partial_kwargs") if said.get("_is_mapped") else said).get("inlets") or ():
            value = port.get("__var") if isinstance(port, dict) else None
            if not isinstance(value, dict):
                continue
            if port["__type"] == "asset_ref":
                for kind in ("name", "uri"):
                    if kind in value:
                        yield _Reference(said["task_id"], kind, value[kind])
            elif port["__type"] == "asset_alias":
                yield _Reference(said["task_id"], "alias", value["name"])
