"""The runs that open cords concern, page by page, from what settling has noted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from airflow_lean_provider.airflow_internals.assets import names_of
from airflow_lean_provider.brake.paging import order_of
from airflow_lean_provider.rules.facts import Cause, Partition
from airflow_lean_provider.store.models import AffectedRun, Cord, ParkedTask, StoppedTry
from airflow_lean_provider.store.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

    from airflow_lean_provider.brake.paging import Page

CAUSES_AT_MOST = 10
"""How many causes are told with a run that is held."""


@dataclass(frozen=True, slots=True)
class Hold:
    """
    A run that an open cord concerns.

    :param parked: the tasks of it that wait inside the run
    :param stopped: the tasks of it that were killed
    """

    row: AffectedRun
    parked: tuple[str, ...]
    stopped: tuple[str, ...]
    causes: tuple[Cause, ...]
    cords: tuple[Cord, ...]
    names: dict[int, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class HoldFilter:
    """Which of them are asked for."""

    cord: int | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    label: str | None = None
    waiting: bool | None = None


_HOLD_ORDERS: dict[str, Any] = {
    "dag_id": AffectedRun.dag_id,
    "run_id": AffectedRun.run_id,
    "partition_key": AffectedRun.partition_key,
    "since": AffectedRun.since,
}


def holds(wanted: HoldFilter, page: Page, readable: Collection[str]) -> tuple[list[Hold], int, int]:
    """
    Return a page of the runs that open cords concern, how many there are, and how many more hidden ones.

    :param readable: the Dags that may be named
    :raises BadRequest: if they cannot be ordered like that
    """
    order = [
        *order_of(page.order_by, _HOLD_ORDERS),
        AffectedRun.since,
        AffectedRun.dag_id,
        AffectedRun.run_id,
    ]

    def read(session: Session) -> tuple[list[Hold], int, int]:
        parked, stopped = _tasks(ParkedTask, session), _tasks(StoppedTry, session)
        query = select(AffectedRun).order_by(*order)
        if wanted.dag_id is not None:
            query = query.where(AffectedRun.dag_id == wanted.dag_id)
        if wanted.run_id is not None:
            query = query.where(AffectedRun.run_id == wanted.run_id)
        fitting = [
            row
            for row in session.scalars(query)
            if _fits(row, wanted, parked[row.dag_id, row.run_id], stopped[row.dag_id, row.run_id])
        ]
        named = [row for row in fitting if row.dag_id in readable]
        rows = named[page.offset : page.offset + page.limit]
        causes = {
            (row.dag_id, row.run_id): tuple(
                Cause(cord, Partition(asset, key)) for cord, asset, key in row.causes
            )
            for row in rows
        }
        names = names_of({c.partition.asset for found in causes.values() for c in found}, session=session)
        known = {
            c.id: c
            for c in session.scalars(
                select(Cord).where(Cord.id.in_({c.cord for found in causes.values() for c in found}))
            )
        }
        return (
            [
                Hold(
                    row,
                    tuple(sorted(parked[row.dag_id, row.run_id])),
                    tuple(sorted(stopped[row.dag_id, row.run_id])) if "stopped" in row.labels else (),
                    causes[row.dag_id, row.run_id],
                    tuple(
                        known[n]
                        for n in sorted({c.cord for c in causes[row.dag_id, row.run_id]} & known.keys())
                    ),
                    names,
                )
                for row in rows
            ],
            len(named),
            len(fitting) - len(named),
        )

    return in_transaction(read)


def _tasks(model: Any, session: Session) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for dag_id, run_id, task_id in session.execute(select(model.dag_id, model.run_id, model.task_id)):
        found[dag_id, run_id].add(task_id)
    return found


def _fits(row: AffectedRun, wanted: HoldFilter, parked: set[str], stopped: set[str]) -> bool:
    if wanted.dag_id not in (None, row.dag_id) or wanted.run_id not in (None, row.run_id):
        return False
    if wanted.cord is not None and wanted.cord not in {c[0] for c in row.causes}:
        return False
    if wanted.label is not None and wanted.label not in row.labels:
        return False
    if wanted.task_id is not None and not (row.held or wanted.task_id in parked | stopped):
        return False
    return wanted.waiting is None or wanted.waiting == (row.held or bool(parked))
