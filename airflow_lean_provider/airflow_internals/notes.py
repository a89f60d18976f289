"""The note of a Dag run, where Airflow's own pages say why it is held; a person's note is never touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.models.dagrun import DagRunNote
from sqlalchemy import and_, delete, insert, select

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

SIGNATURE = "Andon cord"
AT_MOST = 1000
"""Characters that a note can have (``dag_run_note.content``)."""


def write_notes(notes: Mapping[int, str], on: Session | Connection) -> None:
    """
    Give the runs a note, unless a person has given them one.

    :param notes: by the primary key of the run, what to say after the signature
    """
    if not notes:
        return
    remove_notes(notes, on)
    taken = {
        row.dag_run_id
        for row in on.execute(select(DagRunNote.dag_run_id).where(DagRunNote.dag_run_id.in_(notes)))
    }
    new: list[dict[str, Any]] = [
        {"dag_run_id": run, "content": f"{SIGNATURE} {text}"[:AT_MOST], "user_id": None}
        for run, text in sorted(notes.items())
        if run not in taken
    ]
    if new:
        on.execute(insert(DagRunNote.__table__), new)


def remove_notes(runs: Collection[int], on: Session | Connection) -> None:
    """Take our notes away from the runs; a person's stay, and so does ours once a person has edited it."""
    if runs:
        on.execute(
            delete(DagRunNote.__table__).where(
                and_(
                    DagRunNote.dag_run_id.in_(runs),
                    DagRunNote.user_id.is_(None),
                    DagRunNote.content.startswith(SIGNATURE),
                )
            )
        )
