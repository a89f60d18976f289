"""D3: which task instances may start."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_lean_provider.rules.badness import Judgement
    from airflow_lean_provider.rules.facts import Facts, Partition, Run, Task


def bad_reads(judgement: Judgement, run: Run, task_id: str) -> frozenset[Partition]:
    """Return the bad partitions that the task reads."""
    return judgement.reading.of(run, task_id) & judgement.bad_partitions.keys()


def may_start(facts: Facts, judgement: Judgement, task: Task) -> bool:
    """
    D3: no partition that the task reads is bad, or its Dag is advisory.

    A teardown is never kept back: it ends what a killed task had set up.
    """
    shape = facts.runs[task.run].shape
    if shape.advisory or task.task_id in shape.teardowns:
        return True
    return not bad_reads(judgement, task.run, task.task_id)


def alive(facts: Facts, task: Task) -> bool:
    """Tell whether the process of a try of it that the brake stopped may still live."""
    return any(attempt.task == task and facts.now < gone for attempt, gone in facts.survivors.items())
