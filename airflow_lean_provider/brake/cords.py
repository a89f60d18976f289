"""What people do to a cord between its pull and its release: say that they are on it, make it stop more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.brake.acting import renew_notes
from airflow_lean_provider.brake.errors import BadRequest, Conflict, NotFound
from airflow_lean_provider.brake.pull import halt
from airflow_lean_provider.brake.scene import look
from airflow_lean_provider.brake.settle import settle_what_was_asked
from airflow_lean_provider.rules.facts import Partition, Severity
from airflow_lean_provider.rules.plan import decide
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import Cord, CordPartition
from airflow_lean_provider.store.transactions import in_transaction, lock_switch

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """
    Who is on a cord.

    :param new: nobody was before
    """

    cord: int
    by: str
    at: datetime
    new: bool


def acknowledge(cord: int, *, by: str, note: str | None = None) -> Acknowledged:
    """
    Say that somebody is on it. The first one counts; asked again, this says who it was and changes nothing.

    :raises BadRequest: if there is no such cord, or it is closed
    """

    def mark(session: Session) -> Acknowledged:
        lock_switch(session)
        row = _open_cord(cord, session)
        if row.acknowledged_by is not None and row.acknowledged_at is not None:
            return Acknowledged(cord, row.acknowledged_by, row.acknowledged_at, new=False)
        row.acknowledged_by = by
        row.acknowledged_at = moment = now()
        row.acknowledged_note = note
        write_entries([Entry("andon ack", extra=f"cord {cord} by {by}: {note or ''}", by=by)], session)
        return Acknowledged(cord, by, moment, new=True)

    return in_transaction(mark)


def edit_reason(cord: int, reason: str, *, by: str) -> bool:
    """
    Give a cord another reason, also in the notes of the runs and task instances that it holds.

    :return: whether it is another one
    :raises BadRequest: if there is no such cord, it is closed, or the reason is empty
    """
    if not reason.strip():
        raise BadRequest("reason", "must not be empty")

    def edit(session: Session) -> bool:
        lock_switch(session)
        row = _open_cord(cord, session)
        if row.reason == reason.strip():
            return False
        before, row.reason = row.reason, reason.strip()
        session.flush()
        scene = look(session)
        plan = decide(scene.facts, scene.judgement)
        renew_notes(
            [r for r, p in plan.runs.items() if any(c.cord == cord for c in p.causes)], plan, scene, session
        )
        said = f"cord {cord} by {by}: {row.reason} (before: {before})"
        write_entries([Entry("andon edit", extra=said, by=by)], session)
        return True

    return in_transaction(edit)


def raise_to_stop(cord: int, *, by: str, timeout: float | None = None) -> bool:
    """
    Let a cord that only warns hold everything, as if it had been pulled so.

    One that does already stays as it is.

    :return: whether every reader is held or stopped; if not, that goes on
    :raises BadRequest: if there is no such cord, it is closed, or the brake is disabled
    """

    def set_severity(session: Session) -> None:
        if not lock_switch(session).enabled:
            raise Conflict("andon", "the brake is disabled; 'airflow andon enable' takes it up again")
        row = _open_cord(cord, session)
        if row.severity == Severity.STOP.value:
            return
        row.severity = Severity.STOP.value
        row.settled_at = None
        covered = session.scalars(
            select(CordPartition).where(CordPartition.cord_id == cord, CordPartition.outcome.is_(None))
        )
        halt({Partition(p.asset_id, p.partition_key) for p in covered}, cord, now(), session)
        write_entries([Entry("andon raise", extra=f"cord {cord} by {by}", by=by)], session)

    in_transaction(set_severity)
    return settle_what_was_asked(timeout, cord=cord)


def _open_cord(cord: int, session: Session) -> Cord:
    row = session.get(Cord, cord, populate_existing=True)
    if row is None:
        raise NotFound("cord", f"there is no cord {cord}")
    if row.closed_at is not None:
        raise Conflict("cord", f"cord {cord} is closed")
    return row
