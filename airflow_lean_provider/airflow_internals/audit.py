"""Airflow's own audit log: what the brake does is written there, in the same transaction."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from airflow._shared.timezones.timezone import utcnow
from airflow.models.log import Log
from sqlalchemy import insert, select

from airflow_lean_provider.rules.facts import Run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

    from airflow_lean_provider.rules.facts import Task

THE_BRAKE = "andon"
"""Who has done what no person did."""


class Entry(NamedTuple):
    """
    One line of the audit log.

    :param event: what was done: ``andon hold``, ``andon stop``, ``andon repair``, ``andon release`` ...
    :param run: to what, None if to the brake itself
    :param by: whose line it is, as Airflow itself names who calls its API
    """

    event: str
    run: Run | None = None
    extra: str = ""
    task: Task | None = None
    by: str = THE_BRAKE


def write_entries(entries: Iterable[Entry], on: Session | Connection) -> None:
    """Write the entries, in one statement."""
    moment = utcnow()
    rows = [
        {
            "dttm": moment,
            "event": entry.event,
            "owner": entry.by,
            "owner_display_name": entry.by,
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


_CORDS = re.compile(r"andon cord (\d+(?:, \d+)*)")


def runs_of_cords(since: datetime | None, until: datetime | None, *, session: Session) -> dict[int, set[Run]]:
    """
    Return, by cord, the runs that were held, stopped or run again for it; ``airflow db clean`` forgets some.

    :param since: when the first of the cords was pulled, None for no cord at all
    :param until: when the last of them was closed, None if one is open
    """
    found: dict[int, set[Run]] = defaultdict(set)
    if since is None:
        return found
    query = select(Log.dag_id, Log.run_id, Log.extra).where(
        Log.event.in_(("andon hold", "andon stop", "andon repair")), Log.dttm >= since
    )
    if until is not None:
        query = query.where(Log.dttm <= until)
    for dag_id, run_id, extra in session.execute(query.distinct()):
        named = _CORDS.fullmatch(extra or "")
        if named and dag_id and run_id:
            for cord in named[1].split(", "):
                found[int(cord)].add(Run(dag_id, run_id))
    return found
