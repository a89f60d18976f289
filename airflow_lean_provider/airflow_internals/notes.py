"""
The notes of Dag runs and task instances, where Airflow's own pages say why these are held.

A person's note is never touched. Who writes a note has locked what it belongs to: a new note takes a share
lock on that. The note of a task instance follows it to another id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.models.dagrun import DagRunNote
from airflow.models.taskinstance import TaskInstance, TaskInstanceNote
from sqlalchemy import and_, bindparam, delete, insert, select, tuple_, update

from airflow_lean_provider.airflow_internals.statements import chunks
from airflow_lean_provider.rules.facts import Task

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any
    from uuid import UUID

    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import InstrumentedAttribute, Session

    from airflow_lean_provider.rules.facts import Run

SIGNATURE = "Andon cord"
AT_MOST = 1000
"""Characters that a note can have (``dag_run_note.content``, ``task_instance_note.content``)."""


def write_notes(notes: Mapping[int, str], on: Session | Connection) -> None:
    """
    Give the runs a note, unless a person has given them one.

    :param notes: by the primary key of the run, what to say after the signature
    """
    _write(DagRunNote, DagRunNote.dag_run_id, notes, on)


def remove_notes(runs: Collection[int], on: Session | Connection) -> None:
    """Take our notes away from the runs; a person's stay, and so does ours once a person has edited it."""
    _remove(DagRunNote, DagRunNote.dag_run_id, runs, on)


def reword_notes(notes: Mapping[int, str], on: Session | Connection) -> None:
    """Say something else in our notes of runs, where they are still ours; no run is locked by that."""
    _reword(DagRunNote, DagRunNote.dag_run_id, notes, on)


def write_task_notes(notes: Mapping[UUID, str], on: Session | Connection) -> None:
    """
    Give the task instances a note: see :func:`write_notes`.

    :param notes: by the id that the task instance has now
    """
    _write(TaskInstanceNote, TaskInstanceNote.ti_id, notes, on)


def remove_task_notes(tis: Collection[UUID], on: Session | Connection) -> None:
    """Take our notes away from the task instances: see :func:`remove_notes`."""
    _remove(TaskInstanceNote, TaskInstanceNote.ti_id, tis, on)


def task_notes_of(runs: Collection[Run], on: Session | Connection) -> dict[Task, UUID]:
    """Return the task instances of the runs that have a note of ours, with their ids."""
    found: dict[Task, UUID] = {}
    for some in chunks(sorted(runs)):
        for row in on.execute(
            select(
                TaskInstance.id,
                TaskInstance.dag_id,
                TaskInstance.run_id,
                TaskInstance.task_id,
                TaskInstance.map_index,
            )
            .join(TaskInstanceNote, TaskInstanceNote.ti_id == TaskInstance.id)
            .where(
                tuple_(TaskInstance.dag_id, TaskInstance.run_id).in_([tuple(r) for r in some]),
                _is_ours(TaskInstanceNote),
            )
        ):
            found[Task(*row[1:])] = row[0]
    return found


def reword_task_notes(notes: Mapping[UUID, str], on: Session | Connection) -> None:
    """Say something else in our notes of task instances: see :func:`reword_notes`."""
    _reword(TaskInstanceNote, TaskInstanceNote.ti_id, notes, on)


def _write(
    kind: type[DagRunNote | TaskInstanceNote],
    key: InstrumentedAttribute[Any],
    notes: Mapping[Any, str],
    on: Session | Connection,
) -> None:
    if not notes:
        return
    _remove(kind, key, notes.keys(), on)
    taken = {row[0] for some in chunks(notes) for row in on.execute(select(key).where(key.in_(some)))}
    new: list[dict[str, Any]] = [
        {key.key: of, "content": _signed(text), "user_id": None}
        for of, text in sorted(notes.items())
        if of not in taken
    ]
    if new:
        on.execute(insert(kind.__table__), new)


def _remove(
    kind: type[DagRunNote | TaskInstanceNote],
    key: InstrumentedAttribute[Any],
    of: Collection[Any],
    on: Session | Connection,
) -> None:
    for some in chunks(of):
        on.execute(delete(kind.__table__).where(key.in_(some), _is_ours(kind)))


def _reword(
    kind: type[DagRunNote | TaskInstanceNote],
    key: InstrumentedAttribute[Any],
    notes: Mapping[Any, str],
    on: Session | Connection,
) -> None:
    if notes:
        table: Any = kind.__table__
        on.execute(
            update(table)
            .where((table.c[key.key] == bindparam("of")) & _is_ours(table.c))
            .values(content=bindparam("text")),
            [{"of": of, "text": _signed(text)} for of, text in sorted(notes.items())],
        )


def _signed(text: str) -> str:
    return f"{SIGNATURE} {text}"[:AT_MOST]


def _is_ours(note: Any) -> ColumnElement[bool]:
    return and_(note.user_id.is_(None), note.content.startswith(SIGNATURE))
