"""
The time for which a run waits for parked tasks does not count towards its time-out.

Airflow measures ``dagrun_timeout`` from the run's start (``SchedulerJobRunner._schedule_dag_run``); a run
without a start never times out. What is held as a whole is QUEUED, and has none; what has parked tasks loses
its start while they are parked, and gets it back, later by the time that it has waited.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_lean_provider.airflow_internals import holding
from airflow_lean_provider.airflow_internals.runs import timed_runs
from airflow_lean_provider.rules.facts import Run
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import ParkedTask

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_lean_provider.brake.scene import Scene


def stop_clocks(scene: Scene, session: Session) -> None:
    """Take the start from runs that have a time-out and have come to wait for parked tasks."""
    with_timeout = [r for r in _waiting(session) if r in scene.affected and scene.dags.has_timeout(r.dag_id)]
    timed = timed_runs(with_timeout, session=session)
    for run, dag_run in holding.lock_runs(timed, session=session).items():
        if holding.is_timed(dag_run):
            scene.affected[run].was = holding.state_of(dag_run) | {"waits_since": now().isoformat()}
            holding.stop_clock(dag_run)


def start_clocks(scene: Scene, session: Session) -> None:
    """Give runs that no longer wait for parked tasks their start back, and the time that they have waited."""
    waiting = _waiting(session)
    stopped = {r: row for r, row in scene.affected.items() if row.was and not row.held and r not in waiting}
    for run, dag_run in holding.lock_runs(stopped, session=session).items():
        was = stopped[run].was or {}
        if (since := was.get("waits_since")) and was["start_date"]:
            waited = now() - datetime.fromisoformat(since)
            holding.start_clock(dag_run, datetime.fromisoformat(was["start_date"]) + waited)
        stopped[run].was = None


def _waiting(session: Session) -> set[Run]:
    return {Run(*row) for row in session.execute(select(ParkedTask.dag_id, ParkedTask.run_id).distinct())}
