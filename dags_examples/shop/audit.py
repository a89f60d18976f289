"""Every task's own word on what it did: a row at its first statement, completed by its last one."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from typing import Any

from airflow.sdk import get_current_context

from shop.warehouse import Computed, Warehouse


def audited(function: Callable[[Warehouse, str | None], Computed]) -> Callable[[], None]:
    """
    Make a task of a function that computes a partition; a row without an end is an execution that was killed.

    :param function: takes the warehouse and the run's partition
    """

    @functools.wraps(function)
    def execute() -> None:
        warehouse = Warehouse()
        started_at = time.time()
        context = get_current_context()
        task_instance = context["ti"]
        key = context["partition_key"]
        identity = {
            "dag_id": task_instance.dag_id,
            "task_id": task_instance.task_id,
            "run_id": task_instance.run_id,
            "pid": os.getpid(),
            "started_at": started_at,
        }
        warehouse.tell(
            "INSERT INTO audit (dag_id, task_id, run_id, partition_key, try_number, pid, started_at) "
            "VALUES (:dag_id, :task_id, :run_id, :key, :try_number, :pid, :started_at)",
            key=key,
            try_number=task_instance.try_number,
            **identity,
        )
        take_your_time(warehouse, task_instance.dag_id, key)
        computed = function(warehouse, key)
        warehouse.tell(
            "UPDATE audit SET ended_at = :ended_at, inputs = :inputs, outputs = :outputs "
            "WHERE dag_id = :dag_id AND task_id = :task_id AND run_id = :run_id AND pid = :pid "
            "AND started_at = :started_at",
            ended_at=time.time(),
            inputs=json.dumps(computed.inputs),
            outputs=json.dumps(computed.outputs),
            **identity,
        )

    # Airflow would take the parameters of the wrapped function for those of the task.
    del execute.__wrapped__
    return execute


def take_your_time(warehouse: Warehouse, task: str, key: str | None) -> None:
    """
    Work for as long as the table ``pace`` says, which may change its mind meanwhile.

    :param warehouse: where the table is
    :param task: the task's Dag
    :param key: the partition; ``task/partition`` comes before ``task``
    """
    begin = time.monotonic()
    while True:
        pace: dict[str, float] = dict(
            warehouse.ask(
                "SELECT task, seconds FROM pace WHERE task IN (:task, :one)", task=task, one=f"{task}/{key}"
            )
        )
        seconds: Any = pace.get(f"{task}/{key}", pace.get(task, 0))
        if time.monotonic() - begin >= seconds:
            return
        time.sleep(0.5)
