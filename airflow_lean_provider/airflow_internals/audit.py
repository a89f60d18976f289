"""Airflow's own audit log: what the brake does is written there, in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow._shared.timezones.timezone import utcnow
from airflow.models.log import Log
from sqlalchemy import insert

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

    from airflow_lean_provider.rules.facts import Run, Task

OWNER = "andon"


class Entry(NamedTuple):
    """
    One line of the audit log.

    :param event: what was done: ``andon hold``, ``andon stop``, ``andon repair``, ``andon release`` ...
    :param run: to what, None if to the brake itself
    """

    event: str
    run: Run | None = None
    extra: str = ""
    task: Task | None = None


def write_entries(entries: Iterable[Entry], on: Session | Connection) -> None:
    """Write the entries, in one statement."""
    moment = utcnow()
    rows = [
        {
            "dttm": moment,
            "event": entry.event,
            "owner": OWNER,
            "extra": entry.extra,
            "dag_id": entry.run.dag_id if entry.run else None,
            "run_id": entry.run.run_id if entry.run else None,
            "task_id": entry.task.task_id if entry.task else None,
            "map_index": entry.task.map_index if entry.task else None,
        }
        for entry in entries
    ]
    if rows:
        on.execute(insert(Log.__table__), rows)
