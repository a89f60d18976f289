"""Whose state people have set, as Airflow's audit log tells."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import false, or_, select

from airflow_lean_provider.airflow_internals.statements import among, among_rows
from airflow_lean_provider.rules.facts import Run, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from uuid import UUID

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

_RUN, _RUNS, _TASK = "patch_dag_run", "bulk_dag_runs", "patch_task_instance"
_ANY_DAG = "~"
_ENDED = ("success", "failed")


class Marks(NamedTuple):
    """
    When a person last set the state of each run, with all of its task instances, or of a task instance.

    :param tasks: with the state; Airflow writes down, too, what it then refuses
    """

    runs: dict[Run, datetime]
    tasks: dict[Task, tuple[datetime, str]]


def is_marked(on: Session | Connection, run: Run) -> bool:
    """Tell whether a person has marked the run, and nobody has asked for another try since."""
    moment = marks_of([run], session=on).runs.get(run)
    ids = select(TaskInstance.id).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
    return moment is not None and all(
        (asked := asked_at(row.id)) is None or asked < moment for row in on.execute(ids)
    )


def asked_at(id_: UUID) -> datetime | None:
    """Read from the id when the try was asked for: ``taskinstance.uuid7``, whose first 48 bits tell it."""
    return datetime.fromtimestamp((id_.int >> 80) / 1000, timezone.utc) if id_.version == 7 else None


def marks_of(runs: Collection[Run], *, session: Session | Connection) -> Marks:
    """
    Return what people have marked of these runs.

    The api-server writes one row for each such call, named after the route
    (``api_fastapi/logging/decorators.py``), with the request's body and path in ``extra``.
    """
    found = Marks({}, {})
    dag_ids = {_ANY_DAG, *(run.dag_id for run in runs)} if runs else ()
    of_one = (
        is_one & Log.event.in_((_RUN, _TASK))
        for is_one in among_rows((Log.dag_id, Log.run_id), sorted(runs), session=session)
    )
    of_many = (
        is_one & (Log.event == _RUNS) for is_one in among(Log.dag_id, sorted(dag_ids), session=session)
    )
    rows: list[Any] = []
    for conditions in zip_longest(of_one, of_many, fillvalue=false()):
        rows += session.execute(
            select(Log.id, Log.event, Log.dag_id, Log.run_id, Log.task_id, Log.dttm, Log.extra).where(
                or_(*conditions), Log.dttm.is_not(None)
            )
        )
    for row in sorted(rows, key=lambda row: row.id):
        said = _parsed(row.extra)
        if row.event == _TASK:
            task = Task(row.dag_id, row.run_id, row.task_id, int(said.get("map_index", -1)))
            found.tasks[task] = row.dttm, str(said.get("new_state"))
        else:
            found.runs.update(dict.fromkeys(_marked_runs(row, said), row.dttm))
    return found


def _marked_runs(row: Any, said: dict[str, Any]) -> Iterator[Run]:
    """Return the runs that the call has ended; "queued" starts one again."""
    if row.event == _RUN:
        if said.get("state") in _ENDED:
            yield Run(row.dag_id, row.run_id)
        return
    for action in said.get("actions", ()):
        for entity in action.get("entities", ()) if action.get("action") == "update" else ():
            if entity.get("state") in _ENDED:
                yield Run(entity.get("dag_id") or row.dag_id, entity["dag_run_id"])


def _parsed(extra: str | None) -> dict[str, Any]:
    try:
        said = json.loads(extra or "{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
