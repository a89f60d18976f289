"""What a person permits although the rules keep it back: a run to read bad data, a repair to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.airflow_internals.runs import known_runs
from airflow_lean_provider.brake.errors import BadRequest, Conflict, NotFound
from airflow_lean_provider.brake.ledger import causes_to_json
from airflow_lean_provider.brake.scene import Scene, look
from airflow_lean_provider.brake.settle import settle_what_was_asked
from airflow_lean_provider.rules.plan import Label, Plan, decide
from airflow_lean_provider.rules.starts import bad_reads
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import Approval, LetThrough
from airflow_lean_provider.store.transactions import in_transaction, lock_switch

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from airflow_lean_provider.rules.facts import Cause, Run


@dataclass(frozen=True, slots=True)
class Permitted:
    """
    What a person has permitted.

    :param new: nobody had permitted it before
    """

    run: Run
    by: str
    at: datetime
    new: bool


def let_through(run: Run, *, reason: str, by: str, timeout: float | None = None) -> Permitted:
    """
    Let one run read what is halted at this moment. What it makes of it is tainted, and owes later.

    A halt that comes later holds it again. Asked again, this says who let it through and changes nothing.

    :raises BadRequest: if there is no such run, no reason is given, or the run reads nothing that is bad
    """
    if not reason.strip():
        raise BadRequest("reason", "must not be empty")

    def permit(session: Session) -> Permitted:
        scene, plan = _look_at(run, session)
        causes = _causes_of_bad_reads(run, scene, plan)
        if not causes:
            raise BadRequest("run", f"{run.run_id!r} of {run.dag_id!r} reads nothing that is halted")
        latest = session.scalars(
            select(LetThrough).filter_by(**run._asdict()).order_by(LetThrough.id.desc())
        ).first()
        if latest is not None and causes <= scene.facts.let_through.get(run, frozenset()):
            return Permitted(run, latest.let_by, latest.let_at, new=False)
        moment = now()
        session.add(
            LetThrough(
                **run._asdict(),
                causes=causes_to_json(causes),
                reason=reason.strip(),
                let_by=by,
                let_at=moment,
            )
        )
        write_entries([Entry("andon let-through", run, f"{by}: {reason.strip()}", by=by)], session)
        return Permitted(run, by, moment, new=True)

    permitted = in_transaction(permit)
    settle_what_was_asked(timeout)
    return permitted


def approve(run: Run, *, by: str, reason: str | None = None, timeout: float | None = None) -> Permitted:
    """
    Let the brake run again what asks for a person first (``repair="ask"``). Asked again, this says who did.

    :raises BadRequest: if there is no such run, or nothing of it waits for that
    """

    def permit(session: Session) -> Permitted:
        _, plan = _look_at(run, session)
        asks = run in plan.runs and Label.ASKS in plan.runs[run].labels
        latest = session.scalars(
            select(Approval).filter_by(**run._asdict()).order_by(Approval.id.desc())
        ).first()
        if not asks and latest is not None:
            return Permitted(run, latest.approved_by, latest.approved_at, new=False)
        if not asks:
            raise BadRequest("run", f"no repair of {run.run_id!r} of {run.dag_id!r} waits for a person")
        moment = now()
        session.add(Approval(**run._asdict(), reason=reason, approved_by=by, approved_at=moment))
        write_entries([Entry("andon approve", run, f"{by}: {reason or ''}", by=by)], session)
        return Permitted(run, by, moment, new=True)

    permitted = in_transaction(permit)
    settle_what_was_asked(timeout)
    return permitted


def _look_at(run: Run, session: Session) -> tuple[Scene, Plan]:
    if not lock_switch(session).enabled:
        raise Conflict("andon", "the brake is disabled; 'airflow andon enable' takes it up again")
    if not known_runs([run], session=session):
        raise NotFound("run", f"Dag {run.dag_id!r} has no run {run.run_id!r}")
    scene = look(session)
    return scene, decide(scene.facts, scene.judgement)


def _causes_of_bad_reads(run: Run, scene: Scene, plan: Plan) -> frozenset[Cause]:
    """Return why everything is bad that a task of the run reads."""
    known = scene.facts.runs.get(run)
    if known is None:
        return frozenset()
    judgement = plan.judgement
    bad = {p for task in known.tasks for p in bad_reads(judgement, run, task.task_id)}
    bad |= {p for task_id in known.shape.upstream for p in bad_reads(judgement, run, task_id)}
    return frozenset().union(*(judgement.bad_partitions[p] for p in bad))
