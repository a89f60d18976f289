"""Which bad partitions nobody is going to make good: where a person has to find the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_lean_provider.rules.facts import TaskState
from airflow_lean_provider.rules.starts import bad_reads

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from airflow_lean_provider.rules.facts import Facts, Partition, Run, Task
    from airflow_lean_provider.rules.plan import Plan


def hopeless(facts: Facts, plan: Plan) -> frozenset[Partition]:
    """
    Return the bad partitions that nothing will make good by itself, so that a person has to.

    The others wait for the release of a cord, or for a task that is going to publish them. What only waits
    for one that is named here is not named itself; what waits for itself, in a cycle of partitions, is.
    """
    judgement = plan.judgement
    publishers: dict[Partition, set[Task]] = {
        partition: {t for t in tasks if _is_going_to_run(facts, plan, t)}
        for partition, tasks in _publishers(facts, judgement.bad_partitions).items()
    }
    awaits_release = {
        partition
        for partition, causes in judgement.bad_partitions.items()
        if any(cause in judgement.endings and judgement.endings[cause] is None for cause in causes)
    }
    bad = judgement.bad_partitions.keys()
    abandoned = {p for p in bad if not publishers[p]} - awaits_release
    hopeful = awaits_release | abandoned
    while True:
        more = {
            partition
            for partition in bad - hopeful
            if any(bad_reads(judgement, t.run, t.task_id) <= hopeful for t in publishers[partition])
        }
        if not more:
            return frozenset(abandoned | (bad - hopeful))
        hopeful |= more


def _publishers(facts: Facts, partitions: Collection[Partition]) -> dict[Partition, set[Task]]:
    """Return what has published each of the partitions, or has it as an outlet."""
    found: dict[Partition, set[Task]] = {partition: set() for partition in partitions}
    for publication in facts.publications:
        if publication.task is not None and publication.partition in found:
            found[publication.partition].add(publication.task)
    for run in facts.runs:
        for task, partition in _outlets(facts, run):
            if partition in found:
                found[partition].add(task)
    return found


def _outlets(facts: Facts, run: Run) -> Iterator[tuple[Task, Partition]]:
    known = facts.runs[run]
    for task in known.tasks:
        for partition in known.outlets(task.task_id):
            yield task, partition


def _is_going_to_run(facts: Facts, plan: Plan, task: Task) -> bool:
    """It has not ended, or the brake will run it again."""
    known = facts.runs.get(task.run)
    state = known.tasks.get(task) if known is not None else None
    if known is None or state is None or state is TaskState.REMOVED:
        return False
    account = plan.accounts[known.group]
    if task.run in account.superseded:
        return False
    if not known.over and not state.finished:
        return True
    return account.payer == task.run and (task.task_id, task.map_index) in account.owed
