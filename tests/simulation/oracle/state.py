"""The definitions D1 to D3 at one moment, worked out from the facts and from nothing else."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.oracle.reading import reading_of

if TYPE_CHECKING:
    from tests.simulation.oracle.facts import Facts
    from tests.simulation.oracle.reading import Reading
    from tests.simulation.oracle.records import Cord, Execution, Version
    from tests.simulation.trace import PartitionId, RunId, TaskId


class Cause(NamedTuple):
    """Why a version is bad in the first place: a cord names it, or (``cord`` is None) it is half written."""

    cord: int | None
    partition: PartitionId


class Halt(NamedTuple):
    """A root halt of a cord, or (``cord`` is None) a derived one."""

    partition: PartitionId
    cord: int | None


class State:
    """
    What is bad at this moment.

    There are two readings of a moment. The strict one counts only what the brake has promised by now: pulls
    that have returned, publications that have been answered, overlaps that the moments show. Who is not held
    by it is to go on, and what it forbids must not happen. The mild one also counts what the brake may know
    or suspect already. What is done to somebody must have a reason in it.
    """

    def __init__(self, facts: Facts, let_through: dict[RunId, frozenset[Halt]], *, doubt: int | None = None):
        """:param doubt: None for the strict reading, else for the mild one"""
        self.facts = facts
        self.let_through = let_through
        self.mild = doubt is not None
        self.cords = [cord for cord in facts.cords.values() if cord.stops and (self.mild or cord.returned)]
        self._until = {
            version: facts.visible_until(version)
            for versions in facts.versions.values()
            for version in versions
        }
        self._seen = {each: facts.seen_by(each, self._until, doubt or 0) for each in facts.executions}
        if self.mild:
            for each in facts.executions:
                self._seen[each] += self._inherited(each)
        self.causes = self._find_causes()
        self._readings: dict[TaskId, Reading] = {}

    @property
    def is_off(self) -> bool:
        """The brake is disabled."""
        return not (self.facts.acts if self.mild else self.facts.promises)

    # D1

    def seen_bad(self, execution: Execution) -> dict[Version, frozenset[Cause]]:
        return {each: self.causes[each] for each in self._seen[execution] if each in self.causes}

    def _find_causes(self) -> dict[Version, frozenset[Cause]]:
        """The bad versions with their causes: the least fix-point of D1."""
        versions = [each for versions in self.facts.versions.values() for each in versions]
        causes: dict[Version, frozenset[Cause]] = {}
        changed = True
        while changed:
            changed = False
            for version in versions:
                found = self._causes_of(version, causes)
                if found != causes.get(version, frozenset()):
                    causes[version] = found
                    changed = True
        return causes

    def _inherited(self, execution: Execution) -> list[Version]:
        """What the execution saw that triggered its run: it may count as seen."""
        run = self.facts.runs[execution.task.run]
        return [
            version
            for other in self.facts.executions
            if other.task == run.parent and other.granted < run.created
            for version in self._seen[other]
        ]

    def _causes_of(self, version: Version, causes: dict[Version, frozenset[Cause]]) -> frozenset[Cause]:
        if version.cleared:
            return frozenset()
        found = {Cause(cord.id, version.partition) for cord in self.cords if version in cord.named}
        if version.is_half_written or (self.mild and self._may_be_half_written(version, causes)):
            found.add(Cause(None, version.partition))
        if version.kept is not None:
            return frozenset(found | {each for each in version.kept[self.mild] if self._stands(each)})
        contributed = version.contributors or [each for each in version.tries if each.how == "success"]
        for execution in contributed:
            for seen in self._seen[execution]:
                if seen not in version.forgiven:
                    found |= causes.get(seen, frozenset())
        return frozenset(found)

    def _stands(self, cause: Cause) -> bool:
        return (
            cause.cord is None or self.facts.cords[cause.cord].outcomes.get(cause.partition) != "false_alarm"
        )

    def _may_be_half_written(self, version: Version, causes: dict[Version, frozenset[Cause]]) -> bool:
        """A person's act hides who killed its writer, or the brake may be about to."""
        return version.complete is None and any(
            each.how == "killed" or (each.ended is None and any(seen in causes for seen in self._seen[each]))
            for each in version.tries
        )

    # D2

    def halts(self, partition: PartitionId) -> set[Halt]:
        """
        The halts on a partition: it is bad if there is any.

        The current version counts and, beyond D2's letter, one that is not complete but to which somebody
        contributed who saw bad data: it can be seen, so who started would have to be stopped for it at once.
        """
        roots = [cord for cord in self.cords if cord.is_open_on(partition)]
        found = {Halt(partition, cord.id) for cord in roots}
        own = {Cause(cord.id, partition) for cord in roots}
        if partition not in self.facts.absent and any(
            self.causes.get(version, frozenset()) - own
            for version in self.facts.versions.get(partition, ())
            if self._until[version] is None and (self.mild or self._is_judged(version))
        ):
            found.add(Halt(partition, None))
        return found

    def _is_judged(self, version: Version) -> bool:
        return all(each.answered for each in version.tries)

    @cached_property
    def halted(self) -> dict[PartitionId, set[Halt]]:
        known = {*self.facts.versions, *(each for cord in self.cords for each in cord.partitions)}
        return {partition: halts for partition in known if (halts := self.halts(partition))}

    # D3

    def reading(self, task: TaskId) -> Reading:
        if task not in self._readings:
            self._readings[task] = reading_of(self.facts, task)
        return self._readings[task]

    def bad_for(self, task: TaskId) -> dict[PartitionId, set[Halt]]:
        """The bad partitions that the task reads."""
        reading = self.reading(task)
        return {partition: halts for partition, halts in self.halted.items() if reading.covers(partition)}

    def forbids(self, task: TaskId) -> dict[PartitionId, set[Halt]]:
        """The bad partitions for which the task may not start; none if it may."""
        dag = self.facts.dags[task.run.dag]
        if self.is_off or dag.advisory or self.tears_down_what_was_killed(task):
            return {}
        return {
            each: left
            for each, halts in self.bad_for(task).items()
            if (left := {halt for halt in halts if not self._is_let_through(task.run, halt)})
        }

    def halts_to_let_through(self) -> frozenset[Halt]:
        """Those that are open, and those from which the derived ones among them follow."""
        derived = {halt.partition for halts in self.halted.values() for halt in halts if halt.cord is None}
        return frozenset().union(*self.halted.values(), *map(self._roots_of, derived))

    def _is_let_through(self, run: RunId, halt: Halt) -> bool:
        """The halt was open at that moment, or it is a derived one and all that it follows from was."""
        allowed = self.let_through.get(run, frozenset())
        return halt in allowed if halt.cord is not None else self._roots_of(halt.partition) <= allowed

    def _roots_of(self, partition: PartitionId) -> set[Halt]:
        """From which halts the one on the partition is derived."""
        return {
            Halt(cause.partition, cause.cord)
            for version in self.facts.versions.get(partition, ())
            if version in self._until and self._until[version] is None
            for cause in self.causes.get(version, frozenset())
        }

    def is_to_be_stopped(self, execution: Execution) -> bool:
        """An open execution that saw a bad version, unless its Dag or its run is excused."""
        bad = self.seen_bad(execution)
        task = execution.task
        if (
            self.is_off
            or not bad
            or self.facts.dags[task.run.dag].advisory
            or self.tears_down_what_was_killed(task)
        ):
            return False
        if task.run not in self.let_through:
            return True
        return any(
            not self._is_let_through(task.run, halt)
            for version in bad
            for halt in self.halts(version.partition)
        )

    def tears_down_what_was_killed(self, task: TaskId) -> bool:
        """Or what had been set up and was never run (docs/decisions/0003, 26)."""
        spec = self.facts.spec(task)
        if spec is None or spec.teardown_of is None:
            return False
        setup = self.facts.last.get(task._replace(task=spec.teardown_of))
        if setup is None or setup.how != "success":
            return False
        served = self.facts.above(task.run.dag, task.task) - {spec.teardown_of}
        tries = [self.facts.last.get(each) for each in self.facts.instances(task.run) if each.task in served]
        return any(last is None or last.stopped is not None for last in tries)


def words(causes: dict[PartitionId, set[Halt]]) -> str:
    """The halted partitions, for a complaint."""
    parts = defaultdict(set)
    for partition, halts in causes.items():
        for halt in halts:
            parts[partition].add("derived" if halt.cord is None else f"cord {halt.cord}")
    return ", ".join(f"{name(each)} ({', '.join(sorted(parts[each]))})" for each in sorted(parts, key=str))


def name(partition: PartitionId) -> str:
    return f"{partition.asset}[{partition.key}]" if partition.key is not None else partition.asset


def label(task: TaskId) -> str:
    index = f"[{task.map_index}]" if task.map_index >= 0 else ""
    return f"{task.run.dag}.{task.task}{index} of run {task.run.run}"


def cord_words(cord: Cord) -> str:
    return f"cord {cord.id} on {', '.join(sorted(name(each) for each in cord.partitions))}"
