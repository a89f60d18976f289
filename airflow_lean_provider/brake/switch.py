"""Disable and enable: the way out that needs nothing but the database."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from airflow_lean_provider.airflow_internals import holding, notes
from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.airflow_internals.giving_back import give_back
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.settle import settle_what_was_asked
from airflow_lean_provider.rules.facts import Run, Task
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import AbsorbedEvent, AffectedRun, ParkedTask
from airflow_lean_provider.store.transactions import in_transaction, lock_switch

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def disable(*, reason: str, by: str) -> int:
    """
    Undo all that the brake has changed in Airflow, exactly, and do nothing any more until :func:`enable`.

    :return: how many runs were let go
    :raises BadRequest: if no reason is given
    """
    if not reason.strip():
        raise BadRequest("reason", "must not be empty")

    def undo(session: Session) -> int:
        switch = lock_switch(session)
        affected = {Run(a.dag_id, a.run_id): a for a in session.scalars(select(AffectedRun))}
        parked = [
            Task(p.dag_id, p.run_id, p.task_id, p.map_index) for p in session.scalars(select(ParkedTask))
        ]
        absorbed = {
            Run(*row)
            for row in session.execute(select(AbsorbedEvent.dag_id, AbsorbedEvent.run_id).distinct())
        }
        locked = holding.lock_runs(affected.keys() | {t.run for t in parked} | absorbed, session=session)
        let_go = 0
        for run, dag_run in locked.items():
            row = affected.get(run)
            if row is not None and row.held and row.run_after is not None:
                let_go += holding.restore(dag_run, row.run_after, row.was)
                row.held = False
                notes.remove_notes([dag_run.id], session)
                row.run_after = None
                row.was = None
                write_entries([Entry("andon disable", run, reason, by=by)], session)
            elif row is not None and row.was is not None and row.was["start_date"]:
                holding.start_clock(dag_run, datetime.fromisoformat(row.was["start_date"]))
                row.was = None
            if run in absorbed:
                give_back(dag_run, session=session)
        for task, ti in holding.lock_tasks(parked, session=session).items():
            holding.unpark(ti)
            write_entries([Entry("andon disable", task.run, reason, task, by)], session)
        notes.remove_task_notes(notes.task_notes_of(locked, session).values(), session)
        session.execute(delete(ParkedTask))
        switch.enabled = False
        switch.reason = reason.strip()
        switch.changed_by = by
        switch.changed_at = now()
        write_entries([Entry("andon disable", None, f"{by}: {reason.strip()}", by=by)], session)
        return let_go

    return in_transaction(undo)


def enable(*, by: str, timeout: float | None = None) -> bool:
    """
    Take up again: everything that an open cord concerns is held once more.

    :return: whether all of it is held already
    """

    def turn_on(session: Session) -> None:
        switch = lock_switch(session)
        switch.enabled = True
        switch.reason = None
        switch.changed_by = by
        switch.changed_at = now()
        write_entries([Entry("andon enable", None, by, by=by)], session)

    in_transaction(turn_on)
    return settle_what_was_asked(timeout)
