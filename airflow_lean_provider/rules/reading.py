"""Who reads what, as far as the partitions in question go."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_lean_provider.rules.facts import Facts, Partition, Run, RunFacts


class Reading:
    """
    The partitions that each task of each run reads.

    All tasks of a run that reads a partition do, and in the run that published it whatever follows the
    publishing task; never a task that writes it, for else nobody could repair it.
    """

    def __init__(self, facts: Facts) -> None:
        whole: dict[Run, set[Partition]] = defaultdict(set)
        for partition, runs in facts.readers.items():
            for run in runs:
                whole[run].add(partition)
        publishers: dict[Run, dict[Partition, set[str]]] = defaultdict(lambda: defaultdict(set))
        for publication in facts.publications:
            if publication.task is not None:
                publishers[publication.task.run][publication.partition].add(publication.task.task_id)
        for run, known in facts.runs.items():
            for task_id in known.shape.outlets:
                for partition in known.outlets(task_id):
                    publishers[run][partition].add(task_id)
        self._of: dict[Run, dict[str, frozenset[Partition]]] = {}
        for run, known in facts.runs.items():
            published = publishers.get(run, {})
            self._of[run] = {
                task_id: frozenset(
                    whole.get(run, set()) | {p for p, writers in published.items() if writers & before}
                )
                - frozenset(p for p, writers in published.items() if task_id in writers)
                for task_id, before in _tasks_of(known).items()
            }

    def of_run(self, run: Run) -> Mapping[str, frozenset[Partition]]:
        """Return what each task of the run reads, by task id."""
        return self._of.get(run, {})

    def of(self, run: Run, task_id: str) -> frozenset[Partition]:
        """Return what the task reads."""
        return self._of.get(run, {}).get(task_id, frozenset())


def _tasks_of(run: RunFacts) -> dict[str, frozenset[str]]:
    """Return the run's tasks with what they follow; one that the Dag no longer has reads as the run does."""
    gone = {t.task_id for t in run.tasks} - run.shape.upstream.keys()
    return {**run.shape.upstream, **dict.fromkeys(gone, frozenset())}
