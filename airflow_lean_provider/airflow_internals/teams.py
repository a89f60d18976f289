"""Which Dags have to do with an asset, and to which teams Dags belong: what access is decided by."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from airflow.models.dag import DagModel
from sqlalchemy import select

from airflow_lean_provider.airflow_internals.dags import inlets_on, producers_of, schedules_on

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session


def teams_of(dag_ids: Collection[str], *, session: Session) -> dict[str, str | None]:
    """Return the team of each Dag, None where it has none (``DagModel``'s own mapping)."""
    return DagModel.get_dag_id_to_team_name_mapping(sorted(dag_ids), session=session) if dag_ids else {}


def all_dags(*, session: Session) -> set[str]:
    """Return every Dag."""
    return set(session.scalars(select(DagModel.dag_id)))


def dags_around(assets: Collection[int], *, session: Session) -> dict[int, set[str]]:
    """Return, by asset, the Dags that publish it or read it."""
    found: dict[int, set[str]] = defaultdict(set)
    for asset, producers in producers_of(assets, session=session).items():
        found[asset] |= producers
    for schedule in schedules_on(assets, session=session):
        found[schedule.asset].add(schedule.dag_id)
    for inlet in inlets_on(assets, session=session):
        found[inlet.asset].add(inlet.dag_id)
    return found
