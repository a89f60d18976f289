"""
Installs the hooks that Airflow has no listener for.

Named in the ``airflow.policy`` entry point, so that every Airflow process imports it when it loads its
settings, before the first asset event and the first start: the plugin is loaded too late for the execution
API.
The models cannot be imported that early, so the hooks wait until SQLAlchemy has configured them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.orm import Mapper

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance


def _install() -> None:
    from airflow_lean_provider.airflow_internals import gate

    gate.install(_judge)
    gate.tell_of_pending_rows(_on_key_logged)
    gate.tell_of_publications(_on_published)
    gate.tell_of_child_runs(_on_run_created)
    gate.tell_of_serialized_dags(_on_dag_serialized)


def _on_key_logged(mapper: Any, connection: Any, row: Any) -> None:
    from airflow_lean_provider.airflow_internals.absorbing import on_key_logged

    on_key_logged(mapper, connection, row)


def _on_published(mapper: Any, connection: Any, asset_event: Any) -> None:
    from airflow_lean_provider.brake.publication import halt_until_judged

    halt_until_judged(connection, asset_event)


def _on_run_created(mapper: Any, connection: Any, run: Any) -> None:
    from airflow_lean_provider.airflow_internals.children import on_run_created

    on_run_created(mapper, connection, run)


def _on_dag_serialized(dag_id: str, data: dict[str, Any], session: Any) -> None:
    from airflow_lean_provider.airflow_internals.inlets import on_dag_serialized

    on_dag_serialized(dag_id, data, session)


def _judge(ti: TaskInstance, schedules: bool, session: Any) -> str | None:
    from airflow_lean_provider.brake.start import judge_task

    return judge_task(ti, schedules, session=session)


event.listen(Mapper, "after_configured", _install)
