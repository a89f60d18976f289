"""
Hearing from executors which processes are gone.

A scheduler takes the ends of processes from ``BaseExecutor.get_event_buffer`` in every loop
(``SchedulerJobRunner.process_executor_events``); there is no listener for them.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection
from typing import Any

from airflow.executors.base_executor import BaseExecutor
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

from airflow_lean_provider.rules.facts import Task, Try

log = logging.getLogger(__name__)

_ENDED = (TaskInstanceState.SUCCESS, TaskInstanceState.FAILED)


def watch(gone: Callable[[Collection[Try]], None]) -> None:
    """
    Report every process that an executor of this scheduler says has ended; once per process.

    :param gone: told the tries; what it raises is logged, for the longest survival time still applies
    """
    original: Any = BaseExecutor.get_event_buffer
    if getattr(original, "tells_andon", False):
        return

    @functools.wraps(original)
    def get_event_buffer(self: BaseExecutor, *args: Any, **kwargs: Any) -> Any:
        events = original(self, *args, **kwargs)
        try:
            ended = [
                Try(Task(key.dag_id, key.run_id, key.task_id, key.map_index), key.try_number)
                for key, (state, _) in events.items()
                if isinstance(key, TaskInstanceKey) and state in _ENDED
            ]
            if ended:
                gone(ended)
        except Exception:  # the scheduler must go on; a stopped task starts again when its time has passed
            log.exception("The ends of processes could not be noted")
        return events

    get_event_buffer.tells_andon = True  # type: ignore[attr-defined]
    BaseExecutor.get_event_buffer = get_event_buffer  # type: ignore[method-assign]
