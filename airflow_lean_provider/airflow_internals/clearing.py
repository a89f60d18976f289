"""Running again: as Airflow's own clear would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.api_fastapi.common.dagbag import resolve_run_on_latest_version
from airflow.models.dagbag import DBDagBag
from airflow.models.taskinstance import clear_task_instances
from airflow.utils.state import State

from airflow_lean_provider.airflow_internals.holding import lock_tasks, task_instances_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

    from airflow_lean_provider.rules.facts import Run, Task


def clear(
    dag_runs: Mapping[Run, DagRun], tasks: Mapping[Run, Collection[Task]], *, session: Session
) -> list[Task]:
    """
    Clear finished task instances of locked runs, and the setups and teardowns that they need.

    The runs are started again on the Dag version that Airflow's ``rerun_with_latest_version`` chooses.

    :return: the task instances that were cleared
    """
    if not tasks:
        return []
    bag = DBDagBag(load_op_links=False)
    present = task_instances_of(tasks.keys(), session=session)
    wanted = {t for some in tasks.values() for t in some}
    for run, some in tasks.items():
        served = _setups_and_teardowns(bag, dag_runs[run], {t.task_id for t in some}, session)
        wanted |= {t for t in present[run] if t.task_id in served}
    locked = lock_tasks(wanted, session=session)
    finished = {task: ti for task, ti in locked.items() if ti.state in State.finished}
    newest = {d: resolve_run_on_latest_version(None, d, session) for d in {t.dag_id for t in finished}}
    for on_latest in (False, True):
        chosen = [ti for task, ti in finished.items() if newest[task.dag_id] is on_latest]
        if chosen:
            clear_task_instances(chosen, session, run_on_latest_version=on_latest)
    return sorted(finished)


def _setups_and_teardowns(
    bag: DBDagBag, dag_run: DagRun, task_ids: Collection[str], session: Session
) -> set[str]:
    dag = bag.get_dag_for_run(dag_run=dag_run, session=session)
    if dag is None:
        return set()
    return {
        other.task_id
        for task_id in task_ids
        if dag.has_task(task_id)
        for other in dag.get_task(task_id).get_upstreams_only_setups_and_teardowns()
    }
