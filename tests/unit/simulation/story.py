"""Traces written by hand: every sentence takes one moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulation import trace as seen
from tests.simulation.graph import DagSpec, Kind, Mapping, Source, TaskSpec
from tests.simulation.oracle import judge
from tests.simulation.oracle.judge import Judge
from tests.simulation.trace import FinalRun, PartitionId, RunId, TaskId, Trace

if TYPE_CHECKING:
    from tests.simulation.trace import Event

IDENTITY = Mapping()
KEY = "2026-06-14T05:00:00"
DAY = "2026-06-14"


def part(name: str, key: str | None = KEY) -> PartitionId:
    return PartitionId(name, key)


def producer(asset: str, dag: str | None = None, **more: object) -> DagSpec:
    """A Dag that people trigger and that publishes the asset."""
    return DagSpec(dag or f"make_{asset}", Kind.MANUAL, (TaskSpec("write", outlets=(asset,), **more),))


def consumer(
    dag: str, *reads: str, outlets: tuple[str, ...] = (), mapping: Mapping = IDENTITY, **more: object
) -> DagSpec:
    """A partitioned Dag of one task."""
    tasks = (TaskSpec("work", outlets=outlets),)
    sources = tuple(Source(asset, mapping) for asset in reads)
    return DagSpec(dag, Kind.PARTITIONED, tasks, sources=sources, **more)


class Story:
    """A history in short sentences; ``complaints`` asks the oracle."""

    def __init__(self, *dags: DagSpec) -> None:
        self.events: list[Event] = []
        self.now = 0
        self.dags = {dag.id: dag for dag in dags}
        self.attempts: Counter[TaskId] = Counter()
        self.made: Counter[str] = Counter()
        self.cords: dict[int, tuple[PartitionId, ...]] = {}
        self.runs: dict[RunId, FinalRun] = {}
        self.pending: list[tuple[str, str]] = []
        for dag in dags:
            self.tell(seen.DagWritten, dag)

    def tell(self, kind: type, *args: object, **more: object) -> int:
        self.now += 1
        self.events.append(kind(self.now, *args, **more))
        return self.now

    # Runs

    def run(
        self,
        dag: str,
        key: str | None = KEY,
        *consumed: int,
        name: str | None = None,
        type: str | None = None,
        **more: object,
    ) -> RunId:
        self.made[dag] += 1
        run = RunId(dag, name or f"r{self.made[dag]}")
        self.tell(
            seen.RunCreated, run, type or ("asset_triggered" if consumed else "manual"), key, consumed, **more
        )
        self.runs[run] = FinalRun("queued", dict.fromkeys(self.instances(run)))
        return run

    def instances(self, run: RunId) -> list[TaskId]:
        return [
            TaskId(run, task.id, index)
            for task in self.dags[run.dag].tasks
            for index in (range(task.mapped) if task.mapped is not None else (-1,))
        ]

    def task(self, run: RunId, task: str | None = None, index: int = -1) -> TaskId:
        return TaskId(run, task or self.dags[run.dag].tasks[0].id, index)

    def starts(self, run: RunId, task: str | None = None, index: int = -1) -> TaskId:
        instance = self.task(run, task, index)
        self.attempts[instance] += 1
        self.tell(seen.Granted, instance, self.attempts[instance])
        self._is(instance, "running")
        return instance

    def ends(self, task: TaskId, how: str = "success", attempt: int | None = None) -> None:
        self.tell(seen.Ended, task, attempt or self.attempts[task], how)
        self._is(task, None if how == "killed" else how)

    def skips(self, run: RunId, task: str | None = None) -> None:
        self.tell(seen.Skipped, self.task(run, task))
        self._is(self.task(run, task), "skipped")

    def clears(self, *tasks: TaskId, by_person: bool = True) -> None:
        self.tell(seen.TaskCleared, tasks, by_person)
        for task in tasks:
            self._is(task, None)

    def publishes(self, task: TaskId, *partitions: PartitionId, how: str = "success") -> int:
        """The task ends and what it publishes is recorded; the number of the (last) event."""
        event = 0
        for partition in partitions:
            event = self.now + 1
            self.tell(seen.Published, event, partition, task, self.attempts[task])
        self.ends(task, how)
        return event

    def works(self, run: RunId, *partitions: PartitionId, task: str | None = None, index: int = -1) -> int:
        """One task starts, publishes and ends."""
        return self.publishes(self.starts(run, task, index), *partitions)

    def arrives(self, asset: str, key: str | None = KEY) -> int:
        """An external event."""
        event = self.now + 1
        self.tell(seen.Published, event, part(asset, key))
        return event

    def _is(self, task: TaskId, state: str | None) -> None:
        tasks = self.runs[task.run].tasks
        tasks[task] = state
        states = set(tasks.values())
        if states <= {"success", "skipped"}:
            now = "success"
        elif "failed" in states and not states & {None, "running", "up_for_retry"}:
            now = "failed"
        else:
            now = "running"
        self.runs[task.run] = FinalRun(now, tasks)

    # Cords

    def records(self, *partitions: PartitionId, severity: str = "stop") -> int:
        """A pull is recorded and has not returned yet; ``returns`` ends it."""
        cord = len(self.cords) + 1
        self.cords[cord] = partitions
        self.now += 1
        self._recorded = {**getattr(self, "_recorded", {}), cord: (self.now, severity)}
        return cord

    def returns(self, cord: int, *, looked: int | None = None) -> None:
        recorded, severity = self._recorded[cord]
        self.tell(seen.Pulled, cord, cord, self.cords[cord], severity, recorded, looked=looked)

    def pulls(self, *partitions: PartitionId, severity: str = "stop", looked: int | None = None) -> int:
        """:param looked: when it asked what was published, if not just before it was recorded"""
        cord = self.records(*partitions, severity=severity)
        self.returns(cord, looked=looked)
        return cord

    def releases(
        self, cord: int, outcome: str = "fixed", *partitions: PartitionId, forced: bool = False
    ) -> None:
        self.asks(cord, outcome, *partitions, forced=forced)
        for partition in partitions or self.cords[cord]:
            self.tell(seen.Released, cord, partition, outcome)

    def asks(self, cord: int, outcome: str = "fixed", *partitions: PartitionId, forced: bool = False) -> None:
        self.tell(seen.ReleaseAsked, cord, partitions or self.cords[cord], outcome, forced)

    # The oracle

    def rests(self) -> None:
        self.tell(seen.Rest, self._snapshot(), tuple(self.pending))

    def _snapshot(self) -> dict[RunId, FinalRun]:
        return {run: replace(final, tasks=dict(final.tasks)) for run, final in self.runs.items()}

    def trace(self, **more: int) -> Trace:
        return Trace(tuple(self.events), self.now + 1, self._snapshot(), tuple(self.pending), **more)

    def complaints(self) -> list[str]:
        """About what has happened so far; the story may go on."""
        return Judge(self.trace()).walk()

    def complaints_at_rest(self) -> list[str]:
        """About all of it: this is how it ended."""
        return judge(self.trace())
