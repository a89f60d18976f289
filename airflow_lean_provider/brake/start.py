"""A start: asked by the scheduler in its own transaction, of every run and of every task instance."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import object_session

from airflow_lean_provider import settings
from airflow_lean_provider.airflow_internals import executors, holding, notes
from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.airflow_internals.history import is_rescheduled
from airflow_lean_provider.airflow_internals.runs import origin_of
from airflow_lean_provider.brake.verdict import StartNotJudged, Verdict, cords_among, judge_start
from airflow_lean_provider.rules.facts import Origin, Run, Task, Try
from airflow_lean_provider.rules.plan import Label
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import AffectedRun, Cord, ParkedTask, StoppedTry
from airflow_lean_provider.store.transactions import is_lost, transaction

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


def judge_run(dag_run: DagRun) -> None:
    """
    Hold the run if all that it would do reads a halted partition, unless people have ended all of that.

    A run only some of whose tasks do goes on, and those are parked one by one (:func:`judge_task`). On an
    error of ours the run is put back for ``[lean] put_back_time``, never let through; Airflow would swallow
    an exception and start it (``DagRun.notify_dagrun_state_changed``).
    """
    session = object_session(dag_run)
    if session is None:
        return
    executors.watch(processes_ended)
    try:
        if not holding.lock_start(dag_run, session=session):
            return
        verdict = judge_start(dag_run, session=session)
        if (
            verdict.whole
            and not holding.tears_down(dag_run, verdict.teardowns, session=session)
            and holding.will_start_others(dag_run, verdict.free, session=session)
        ):
            _hold(dag_run, verdict, session)
    except Exception:  # see above
        log.exception(
            "Run %s of %s is put back: its start could not be judged", dag_run.run_id, dag_run.dag_id
        )
        holding.put_back(dag_run, timedelta(seconds=settings.put_back_time()))


def judge_task(ti: TaskInstance, schedules: bool, *, session: Session) -> str | None:
    """
    Say why the task instance may not start, None if it may.

    :param schedules: the scheduler asks, and would schedule it now: then it is parked; a rescheduled one is
        only refused, since it has begun, and settling stops it
    :raises StartNotJudged: on an error of ours; the scheduler logs it, leaves the run and asks again in its
        next loop (``SchedulerJobRunner._schedule_all_dag_runs``)
    """
    verdict = judge_start(ti.get_dagrun(session=session), session=session)
    halted = verdict.halted_for(ti.task_id)
    alive_until = verdict.alive.get((ti.task_id, ti.map_index))
    if not halted and not (alive_until is not None and alive_until > now()):
        return None
    if schedules and not is_rescheduled(ti):
        try:
            _park(ti, verdict.cords_for(ti.task_id), session)
        except Exception as error:  # whatever it is, the task must not start
            if is_lost(error):
                raise
            raise StartNotJudged(f"{ti} could not be parked") from error
    if halted:
        return f"It reads {len(halted)} partition(s) halted by an andon cord; see 'airflow andon why'."
    return f"A process of it that an andon cord stopped may be alive until {alive_until}."


def processes_ended(tries: Collection[Try]) -> None:
    """Note that these processes are gone, if the brake had stopped them: their tasks may start again."""
    by_key = {(*t.task, t.number) for t in tries}
    with transaction() as session:
        for row in session.scalars(select(StoppedTry).where(StoppedTry.gone_by > now())):
            if (row.dag_id, row.run_id, row.task_id, row.map_index, row.try_number) in by_key:
                row.gone_by = now()


def _hold(dag_run: DagRun, verdict: Verdict, session: Session) -> None:
    """
    Hold the run, and note it.

    Our rows are written by plain statements inside a savepoint of the connection: the scheduler forbids
    savepoints of the session (``prohibit_commit``), and after an error nothing of ours must be left in it.
    """
    run = Run(dag_run.dag_id, dag_run.run_id)
    session.flush()
    connection = session.connection()
    this = (AffectedRun.dag_id == run.dag_id) & (AffectedRun.run_id == run.run_id)
    with connection.begin_nested():
        noted = connection.execute(
            select(AffectedRun.labels, AffectedRun.run_after, AffectedRun.was).where(this)
        ).first()
        own, was = dag_run.run_after, holding.state_before_start(dag_run)
        if noted is not None and own == holding.HELD_UNTIL:
            own, was = noted.run_after or now(), noted.was
        values: dict[str, Any] = {
            "run_after": own,
            "was": was,
            "held": True,
            "partition_key": dag_run.partition_key,
            "labels": sorted({*(noted.labels if noted else ()), Label.HELD.value}),
            "causes": list(verdict.causes),
            "absorbs": origin_of(dag_run) is Origin.ASSETS,
            "waits_since": now(),
            "saw": [list(p) for p in sorted(verdict.partitions, key=str)],
        }
        if noted is not None:
            connection.execute(update(AffectedRun).where(this).values(values))
        else:
            connection.execute(
                insert(AffectedRun).values(values | run._asdict() | {"since": now(), "consumed": []})
            )
        cords = cords_among(verdict.causes)
        notes.write_notes({dag_run.id: _note_of(run, cords, connection)}, connection)
        write_entries([Entry("andon hold", run, f"andon cord {', '.join(map(str, cords))}")], connection)
    holding.hold(dag_run)


def _note_of(run: Run, cords: Collection[int], connection: Connection) -> str:
    reasons = connection.execute(select(Cord.id, Cord.reason).where(Cord.id.in_(cords)).order_by(Cord.id))
    told = "; ".join(f"{c.id}: {c.reason}" for c in reasons) or "(half-written data)"
    return f"{told} - held; 'airflow andon why {run.dag_id} {run.run_id}'"


def _park(ti: TaskInstance, cords: Collection[int], session: Session) -> None:
    """Park the task instance, and note it; see :func:`_hold`."""
    task = Task(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    session.flush()
    connection = session.connection()
    with connection.begin_nested():
        known = connection.execute(select(ParkedTask.task_id).filter_by(**task._asdict())).first()
        if known is None:
            connection.execute(insert(ParkedTask).values(**task._asdict(), parked_at=now()))
        holding.lock_task(ti, connection)
        notes.write_task_notes({ti.id: _note_of(task.run, cords, connection)}, connection)
        write_entries([Entry("andon hold", task.run, "", task)], connection)
    holding.park(ti)
    holding.withdraw_questions([ti], session=session)
