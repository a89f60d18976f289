"""D3: which task instances may start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_lean_provider.rules.facts import Ending

if TYPE_CHECKING:
    from airflow_lean_provider.rules.badness import Judgement
    from airflow_lean_provider.rules.facts import Execution, Facts, Partition, Run, Task


def bad_reads(judgement: Judgement, run: Run, task_id: str) -> frozenset[Partition]:
    """Return the bad partitions that the task reads."""
    return judgement.reading.of(run, task_id) & judgement.bad_partitions.keys()


def may_start(facts: Facts, judgement: Judgement, task: Task) -> bool:
    """
    D3: no partition that the task reads is bad, or its Dag is advisory, or its run is let through.

    Or it is the teardown of a task that was killed: it ends what that one had set up.
    """
    if facts.runs[task.run].shape.advisory:
        return True
    if not forbidden_reads(facts, judgement, task.run, task.task_id):
        return True
    return _serves_a_killed_task(facts, task)


def _serves_a_killed_task(facts: Facts, teardown: Task) -> bool:
    """Tell whether a task that it tears down for was killed, or never ran."""
    known = facts.runs[teardown.run]
    if teardown.task_id not in known.shape.teardowns:
        return False
    served = known.shape.served_by(teardown.task_id)
    latest: dict[Task, Execution] = {}
    for execution in sorted(facts.executions, key=lambda e: (e.started, e.attempt)):
        latest[execution.task] = execution
    return any(
        t not in latest or latest[t].ending is Ending.STOPPED for t in known.tasks if t.task_id in served
    )


def forbidden_reads(facts: Facts, judgement: Judgement, run: Run, task_id: str) -> frozenset[Partition]:
    """Return the bad partitions that the task reads and that nobody lets its run read."""
    let_through = facts.let_through.get(run, frozenset())
    return frozenset(
        p for p in bad_reads(judgement, run, task_id) if not judgement.bad_partitions[p] <= let_through
    )


def alive(facts: Facts, task: Task) -> bool:
    """Tell whether the process of a try of it that the brake stopped may still live."""
    return any(attempt.task == task and facts.now < gone for attempt, gone in facts.survivors.items())
