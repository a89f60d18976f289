"""
Seeing every start, and every pending row, where Airflow has no listener for them.

Starts: one hook into the scheduler's own decision, before a task instance is scheduled.

``DagRun._get_ready_tis`` asks ``TaskInstance.get_failed_dep_statuses`` of every task instance that it is
about to schedule: first tries, retries, reschedules, what a person cleared inside a running run, mapped
expansions, tasks that start in the triggerer, and ``airflow dags test``. Airflow's page of a task
instance's unmet dependencies asks it, too, and so says why a task is held.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from airflow.models.asset import AssetEvent, PartitionedAssetKeyLog
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.ti_deps.dependencies_states import SCHEDULEABLE_STATES
from airflow.ti_deps.deps.base_ti_dep import TIDepStatus
from airflow.utils.session import NEW_SESSION, provide_session
from sqlalchemy import event

if TYPE_CHECKING:
    from airflow.ti_deps.dep_context import DepContext
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

DEPENDENCY = "Andon cord"

Judge = Callable[[TaskInstance, bool, "Session"], str | None]
"""Returns why the task instance may not start; the second argument asks it to be parked as well."""


def install(judge: Judge) -> None:
    """Ask ``judge`` of every task instance that Airflow would start otherwise; once per process."""
    original: Any = TaskInstance.get_failed_dep_statuses
    if getattr(original, "asks_andon", False):
        return

    @functools.wraps(original)
    def get_failed_dep_statuses(
        self: TaskInstance, dep_context: DepContext | None = None, *, session: Any = None
    ) -> Iterator[TIDepStatus]:
        if session is None:
            yield from original(self, dep_context=dep_context)
            return
        failed = list(original(self, dep_context=dep_context, session=session))
        yield from failed
        if failed or _only_counts(dep_context):
            return
        reason = judge(self, _would_schedule(self, dep_context), session)
        if reason is not None:
            yield TIDepStatus(DEPENDENCY, False, reason)

    get_failed_dep_statuses.asks_andon = True  # type: ignore[attr-defined]
    TaskInstance.get_failed_dep_statuses = get_failed_dep_statuses  # type: ignore[method-assign]


def tell_of_pending_rows(listener: Callable[[Any, Any, Any], None]) -> None:
    """Call ``listener`` whenever Airflow notes an event for a partitioned consumer; once per process."""
    if not event.contains(PartitionedAssetKeyLog, "after_insert", listener):
        event.listen(PartitionedAssetKeyLog, "after_insert", listener)


def tell_of_publications(listener: Callable[[Any, Any, Any], None]) -> None:
    """Call ``listener`` whenever an asset event is written, in its transaction; once per process."""
    if not event.contains(AssetEvent, "after_insert", listener):
        event.listen(AssetEvent, "after_insert", listener)


def tell_of_serialized_dags(listener: Callable[[str, dict[str, Any], Session], None]) -> None:
    """
    Call ``listener`` whenever a Dag is serialized into the database anew; once per process.

    SQLAlchemy has no event for it: a Dag without task instances is rewritten by a plain UPDATE
    (``SerializedDagModel.write_dag``).
    """
    original: Any = SerializedDagModel.write_dag
    if getattr(original, "tells_andon", False):
        return

    @provide_session
    def write_dag(cls: Any, dag: Any, *args: Any, session: Session = NEW_SESSION, **options: Any) -> bool:
        written: bool = original(dag, *args, session=session, **options)
        if written:
            listener(dag.dag_id, dag.data, session)
        return written

    write_dag.tells_andon = True  # type: ignore[attr-defined]
    SerializedDagModel.write_dag = classmethod(functools.wraps(original)(write_dag))  # type: ignore[assignment,method-assign]


def tell_of_child_runs(listener: Callable[[Any, Any, Any], None]) -> None:
    """Call ``listener`` whenever a Dag run is written for the first time; once per process."""
    if not event.contains(DagRun, "after_insert", listener):
        event.listen(DagRun, "after_insert", listener)


def _would_schedule(ti: TaskInstance, dep_context: DepContext | None) -> bool:
    """``DagRun._get_ready_tis`` asks, and schedules the task instance unless something is yielded."""
    return (
        dep_context is not None
        and dep_context.flag_upstream_failed
        and dep_context.ignore_unmapped_tasks
        and ti.state in SCHEDULEABLE_STATES
    )


def _only_counts(dep_context: DepContext | None) -> bool:
    """
    ``DagRun._are_premature_tis`` asks, of every unfinished task instance, running ones included.

    It starts nothing; "not met" for all of them would make it fail the run as deadlocked.
    """
    return dep_context is not None and dep_context.flag_upstream_failed and dep_context.ignore_in_retry_period
