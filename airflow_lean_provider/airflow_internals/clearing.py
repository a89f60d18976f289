"""Running again: as Airflow's own clear would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.api_fastapi.common.dagbag import resolve_run_on_latest_version
from airflow.models.dagbag import DBDagBag
from airflow.models.taskinstance import clear_task_instances
from airflow.utils.state import State

from airflow_lean_provider.airflow_internals.holding import lock_tasks
from airflow_lean_provider.rules.facts import Run, Task

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session


def clear(dag_run: DagRun, tasks: Collection[Task], *, session: Session) -> list[Task]:
    """
    Clear the finished task instances of one run, and the setups and teardowns that they need.

    The run is started again on the Dag version that Airflow's ``rerun_with_latest_version`` chooses.

    :return: the task instances that were cleared
    """
    run = Run(dag_run.dag_id, dag_run.run_id)
    names = {t.task_id for t in tasks} | _setups_and_teardowns(dag_run, {t.task_id for t in tasks}, session)
    wanted = set(tasks) | {
        Task(*run, ti.task_id, ti.map_index)
        for ti in dag_run.get_task_instances(session=session)
        if ti.task_id in names
    }
    locked = lock_tasks(wanted, session=session)
    finished = {task: ti for task, ti in locked.items() if ti.state in State.finished}
    if finished:
        clear_task_instances(
            list(finished.values()),
            session,
            run_on_latest_version=resolve_run_on_latest_version(None, run.dag_id, session),
        )
    return sorted(finished)


def _setups_and_teardowns(dag_run: DagRun, task_ids: Collection[str], session: Session) -> set[str]:
    dag = DBDagBag(load_op_links=False).get_dag_for_run(dag_run=dag_run, session=session)
    if dag is None:
        return set()
    return {
        other.task_id
        for task_id in task_ids
        if dag.has_task(task_id)
        for other in dag.get_task(task_id).get_upstreams_only_setups_and_teardowns()
    }
