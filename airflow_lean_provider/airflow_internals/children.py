"""Keeping which task triggered a run: Airflow itself forgets it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.models.taskinstance import TaskInstance
from airflow.utils.types import DagRunType
from sqlalchemy import and_, case, insert, select
from sqlalchemy.orm import object_session

from airflow_lean_provider.rules.facts import Task
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import ChildRun, StoppedTry
from airflow_lean_provider.store.transactions import is_lost

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.engine import Connection

log = logging.getLogger(__name__)


def on_run_created(mapper: Any, connection: Connection, run: DagRun) -> None:
    """
    Keep the link from a run that a task triggers to that task, in the transaction that creates the run.

    SQLAlchemy's ``after_insert`` of ``DagRun``. The execution API loads the calling task instance into the
    same session and keeps it while it creates the run (``execution_api/routes/dag_runs.py``,
    ``trigger_dag_run``). Never raises: an error here would fail the task that triggers.
    """
    if run.run_type != DagRunType.OPERATOR_TRIGGERED:
        return
    try:
        with connection.begin_nested():
            caller = _caller(run, connection)
            if caller is not None:
                connection.execute(
                    insert(ChildRun).values(
                        dag_id=run.dag_id,
                        run_id=run.run_id,
                        parent_dag_id=caller.dag_id,
                        parent_run_id=caller.run_id,
                        parent_task_id=caller.task_id,
                        parent_map_index=caller.map_index,
                    )
                )
        if caller is None:
            log.warning("Which task has triggered %s of %s is not known", run.run_id, run.dag_id)
    except Exception as error:  # see above
        if is_lost(error):
            raise
        log.exception("The task that has triggered %s of %s could not be noted", run.run_id, run.dag_id)


def _caller(run: DagRun, connection: Connection) -> Task | None:
    """
    Find the task that triggers the run.

    A task that the brake has stopped is no longer found under the id of its token, and its process may still
    trigger: if there are several such, those of an operator that triggers come first, then the last stopped.
    """
    session = object_session(run)
    found = [
        Task(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        for ti in (session.identity_map.values() if session is not None else ())
        if isinstance(ti, TaskInstance) and (ti.dag_id, ti.run_id) != (run.dag_id, run.run_id)
    ]
    if found:
        return found[0] if len(found) == 1 else None
    dying = connection.execute(
        select(StoppedTry.dag_id, StoppedTry.run_id, StoppedTry.task_id, StoppedTry.map_index)
        .join(
            TaskInstance,
            and_(
                TaskInstance.dag_id == StoppedTry.dag_id,
                TaskInstance.run_id == StoppedTry.run_id,
                TaskInstance.task_id == StoppedTry.task_id,
                TaskInstance.map_index == StoppedTry.map_index,
            ),
        )
        .where(StoppedTry.gone_by > now())
        .order_by(case((TaskInstance.operator.contains("Trigger"), 0), else_=1), StoppedTry.stopped_at.desc())
        .limit(1)
    ).first()
    return Task(*dying) if dying is not None else None
