"""Section 2, "Who reads what"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulation.graph import Kind
from tests.simulation.oracle.mappings import NotMapped, map_key, maps_to
from tests.simulation.trace import PartitionId

if TYPE_CHECKING:
    from tests.simulation.graph import DagSpec, Inlet, Mapping
    from tests.simulation.oracle.facts import Facts
    from tests.simulation.oracle.records import Run
    from tests.simulation.trace import TaskId


@dataclass(frozen=True)
class Reading:
    """
    The partitions that a task reads, those included that are not there yet.

    :param whole: assets of which it reads every partition
    :param mapped: asset, mapper and the run's key: the keys that the mapper maps to it
    :param own: its own outlet partitions, never among what it reads
    :param inherited: what the task read that triggered its run
    """

    exact: frozenset[PartitionId] = frozenset()
    whole: frozenset[str] = frozenset()
    mapped: tuple[tuple[str, Mapping, str], ...] = ()
    own: frozenset[PartitionId] = frozenset()
    inherited: Reading | None = None

    def covers(self, partition: PartitionId) -> bool:
        if partition in self.own:
            return False
        return (
            partition in self.exact
            or partition.asset in self.whole
            or any(
                asset == partition.asset and maps_to(mapping, partition.key, key)
                for asset, mapping, key in self.mapped
            )
            or (self.inherited is not None and self.inherited.covers(partition))
        )


def reading_of(facts: Facts, task: TaskId) -> Reading:
    """What this task instance reads, as things stand now."""
    run, dag = facts.runs[task.run], facts.dags[task.run.dag]
    exact = {facts.events[event].partition for event in run.consumed if event in facts.events}
    whole: set[str] = set()
    mapped: list[tuple[str, Mapping, str]] = []
    _read_schedule(dag, run, whole, mapped)
    above = facts.above(dag.id, task.task)
    for spec in dag.tasks:
        if spec.id == task.task or spec.id in above:
            for inlet in spec.inlets:
                _read_inlet(facts, inlet, run, exact, whole)
        if spec.id in above:
            exact |= run.outputs[spec.id]
    return Reading(
        frozenset(exact), frozenset(whole), tuple(mapped), frozenset(facts.publishes(task)), run.inherited
    )


def _read_schedule(dag: DagSpec, run: Run, whole: set[str], mapped: list[tuple[str, Mapping, str]]) -> None:
    """For every run, with events or without; without partitions or without a key, every partition."""
    for source in dag.sources:
        if dag.kind is Kind.PARTITIONED and run.key is not None:
            mapped.append((source.asset, source.mapping, run.key))
        else:
            whole.add(source.asset)


def _read_inlet(facts: Facts, inlet: Inlet, run: Run, exact: set[PartitionId], whole: set[str]) -> None:
    """What is declared; else the run's own key if exactly that was ever published; else every partition."""
    key, from_which = run.key, run.key or run.interval
    if inlet.reads is not None and (from_which is not None or inlet.reads.kind == "fixed"):
        try:
            exact |= {PartitionId(inlet.asset, each) for each in map_key(inlet.reads, from_which or "")}
        except NotMapped:
            whole.add(inlet.asset)
    elif key is not None and PartitionId(inlet.asset, key) in facts.ever_published:
        exact.add(PartitionId(inlet.asset, key))
    else:
        whole.add(inlet.asset)
