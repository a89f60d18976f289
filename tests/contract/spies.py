"""What contract tests watch Airflow with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

from airflow.listeners import hookimpl
from airflow.listeners.listener import get_listener_manager
from airflow.models.taskinstance import TaskInstance
from airflow.ti_deps.deps.base_ti_dep import TIDepStatus


class Asked(NamedTuple):
    """One call of ``TaskInstance.get_failed_dep_statuses`` that a scheduler made."""

    task_id: str
    map_index: int
    state: str | None
    flags_upstream_failed: bool
    ignores_unmapped: bool
    ignores_retry_period: bool
    has_session: bool


@contextmanager
def asking(monkeypatch: Any, answer: Callable[[TaskInstance], str | None]) -> Iterator[list[Asked]]:
    """
    Stand where ``airflow_internals.gate`` stands, and note who is asked about.

    :param answer: why the task instance may not start, None if it may; may raise, may change the instance
    """
    asked: list[Asked] = []
    original: Any = TaskInstance.get_failed_dep_statuses

    def get_failed_dep_statuses(self: TaskInstance, dep_context: Any = None, *, session: Any = None) -> Any:
        failed = list(original(self, dep_context=dep_context, session=session))
        yield from failed
        if failed:
            return
        asked.append(
            Asked(
                self.task_id,
                self.map_index,
                self.state and str(self.state),
                dep_context.flag_upstream_failed,
                dep_context.ignore_unmapped_tasks,
                dep_context.ignore_in_retry_period,
                session is not None,
            )
        )
        reason = answer(self)
        if reason is not None:
            yield TIDepStatus("contract", False, reason)

    with monkeypatch.context() as patched:
        patched.setattr(TaskInstance, "get_failed_dep_statuses", get_failed_dep_statuses)
        yield asked


@contextmanager
def listening(**functions: Callable[..., Any]) -> Iterator[None]:
    """
    Register a listener.

    :param functions: by the name of the hook
    """
    listener = SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})
    manager = get_listener_manager()
    manager.pm.register(listener)
    try:
        yield
    finally:
        manager.pm.unregister(listener)
