"""Who reads what, as far as the partitions in question go."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_lean_provider.rules.facts import Facts, Partition, Run, RunFacts
    from airflow_lean_provider.rules.versions import Version


class Reading:
    """
    The partitions that each task of each run reads.

    All tasks of a run that reads a partition do; a task that has it as an inlet does, with what follows it;
    so does, in the run that published it, whatever follows the publishing task; and a run that a task
    triggered reads what that task reads. Never a task that writes it, for else nobody could repair it.
    """

    def __init__(self, facts: Facts) -> None:
        self._whole: dict[Run, set[Partition]] = defaultdict(set)
        for partition, runs in facts.readers.items():
            for run in runs:
                self._whole[run].add(partition)
        for run, known in facts.runs.items():
            self._whole[run] |= known.consumed
        self._inlets: dict[Run, dict[str, set[Partition]]] = defaultdict(lambda: defaultdict(set))
        for partition, by_run in facts.inlets.items():
            for run, tasks in by_run.items():
                for task_id in tasks:
                    self._inlets[run][task_id].add(partition)
        self._publishers: dict[Run, dict[Partition, set[str]]] = defaultdict(lambda: defaultdict(set))
        for publication in facts.publications:
            if publication.task is not None:
                self._publishers[publication.task.run][publication.partition].add(publication.task.task_id)
        for run, known in facts.runs.items():
            for task_id in known.shape.outlets:
                for partition in known.outlets(task_id):
                    self._publishers[run][partition].add(task_id)
        self._of = {run: self._read_by(known) for run, known in facts.runs.items()}
        self._inherit([known for known in facts.runs.values() if known.parent is not None])

    def of_run(self, run: Run) -> Mapping[str, frozenset[Partition]]:
        """Return what each task of the run reads, by task id."""
        return self._of.get(run, {})

    def of(self, run: Run, task_id: str) -> frozenset[Partition]:
        """Return what the task reads; one that its run does not know reads as the run does."""
        return self.of_run(run).get(task_id, frozenset(self._whole.get(run, ())))

    def reads_only(
        self,
        partitions: Collection[Partition],
        versions: Mapping[Partition, Collection[Version]],
        run: RunFacts,
        task_id: str,
    ) -> bool:
        """
        Tell whether the task reads something, and nothing but these partitions.

        What an earlier task has as an outlet and has never published is nothing.

        :param versions: what was published of each partition
        """
        read = self.of_what_there_is(versions, run, task_id)
        return bool(read) and read <= set(partitions)

    def of_what_there_is(
        self, versions: Mapping[Partition, Collection[Version]], run: RunFacts, task_id: str
    ) -> frozenset[Partition]:
        """Return what the task reads, without what an earlier task is to publish and never has."""
        before = run.shape.upstream.get(task_id, frozenset())
        outlets = frozenset().union(*(run.outlets(t) for t in before))
        return self.of(run.run, task_id) - {p for p in outlets if not versions.get(p)}

    def _inherit(self, children: list[RunFacts]) -> None:
        """Hand down what triggering tasks read, until nobody reads more: runs may trigger each other anew."""
        grown = True
        while grown:
            grown = False
            for child in children:
                parent = child.parent
                inherited = self.of(parent.run, parent.task_id) if parent is not None else frozenset()
                if inherited - self._whole[child.run]:
                    self._whole[child.run] |= inherited
                    self._of[child.run] = self._read_by(child)
                    grown = True

    def _read_by(self, known: RunFacts) -> dict[str, frozenset[Partition]]:
        whole = set(self._whole.get(known.run, ()))
        inlets = self._inlets.get(known.run, {})
        publishers = self._publishers.get(known.run, {})
        found: dict[str, frozenset[Partition]] = {}
        for task_id, before in _tasks_of(known).items():
            read = set(whole)
            for earlier in (task_id, *before):
                read |= inlets.get(earlier, set())
            read |= {p for p, writers in publishers.items() if writers & before}
            found[task_id] = frozenset(p for p in read if task_id not in publishers.get(p, ()))
        return found


def _tasks_of(run: RunFacts) -> dict[str, frozenset[str]]:
    """Return the run's tasks with what they follow; one that the Dag no longer has reads as the run does."""
    gone = {t.task_id for t in run.tasks} - run.shape.upstream.keys()
    return {**run.shape.upstream, **dict.fromkeys(gone, frozenset())}
