"""What is known after each event: runs, executions, versions, cords. Nothing here is good or bad yet."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tests.simulation.graph import Kind, asks
from tests.simulation.oracle.records import Cord, Execution, Run, Version
from tests.simulation.trace import PartitionId, TaskId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulation.graph import DagSpec, TaskSpec
    from tests.simulation.oracle.reading import Reading
    from tests.simulation.trace import Ended, Granted, Published, Pulled, RunCreated, RunId, RunMarked

DONE = ("success", "skipped")


class Facts:
    """All that has been seen so far; ``now`` is the moment of the last event."""

    def __init__(self) -> None:
        self.now = 0
        self.dags: dict[str, DagSpec] = {}
        self._above: dict[tuple[str, str], set[str]] = {}
        self.removed: set[str] = set()
        self.gone_since: dict[str, int] = {}
        """When the file of a Dag was gone for the last time."""
        self.paused: set[str] = set()
        self.runs: dict[RunId, Run] = {}
        self.executions: list[Execution] = []
        self._read_by: dict[Execution, tuple[int, list[PartitionId]]] = {}
        self.last: dict[TaskId, Execution] = {}
        self.states: dict[TaskId, str | None] = {}
        self.acted_on: dict[TaskId, int] = {}
        """When a person last cleared, marked or deleted the task instance."""
        self.cleared: dict[TaskId, int] = {}
        """When a person last cleared it."""
        self.marked: dict[TaskId, int] = {}
        """When a person set its state, and nobody has cleared it since."""
        self.versions: dict[PartitionId, list[Version]] = defaultdict(list)
        self.writing: dict[tuple[RunId, PartitionId], Version] = {}
        self.events: dict[int, Published] = {}
        self.ever_published: set[PartitionId] = set()
        self.cords: dict[int, Cord] = {}
        self._looked: dict[int, Cord] = {}
        """What pulls name that are under way."""
        self.absent: set[PartitionId] = set()
        self.promises = True
        """The brake is enabled, and has returned from that."""
        self.acts = True
        """It is enabled."""
        self.approved: dict[RunId, int] = {}

    # Dags

    def asks(self, task: TaskId) -> bool:
        """Its repair waits for a person, who has not said yes since it has run."""
        spec, last = self.spec(task), self.last.get(task)
        is_asking = spec is not None and any(asks(asset) for asset in spec.outlets)
        return is_asking and last is not None and self.approved.get(task.run, -1) < last.granted

    def spec(self, task: TaskId) -> TaskSpec | None:
        """The task as its Dag has it now, None if it has it no more."""
        dag = self.dags.get(task.run.dag)
        return next((each for each in dag.tasks if each.id == task.task), None) if dag else None

    def instances(self, run: RunId) -> list[TaskId]:
        return [
            TaskId(run, spec.id, index)
            for spec in self.dags[run.dag].tasks
            for index in (range(spec.mapped) if spec.mapped is not None else (-1,))
        ]

    def above(self, dag: str, task: str) -> set[str]:
        """The tasks that this one follows, over any number of steps."""
        if (dag, task) not in self._above:
            after = {spec.id: spec.after for spec in self.dags[dag].tasks}
            found: set[str] = set()
            waiting = list(after.get(task, ()))
            while waiting:
                each = waiting.pop()
                if each not in found:
                    found.add(each)
                    waiting.extend(after.get(each, ()))
            self._above[dag, task] = found
        return self._above[dag, task]

    def write(self, dag: DagSpec) -> None:
        self.dags[dag.id] = dag
        self.removed.discard(dag.id)
        self._above.clear()

    def was_told_by_a_task_that_is_gone(self, run: RunId) -> bool:
        """Its Dag has that task no more: what it had read besides what its run reads is not known."""
        parent = self.runs[run].parent
        return parent is not None and self.spec(parent) is None

    # Runs and executions

    def create(self, event: RunCreated, inherited: Reading | None) -> None:
        self.runs[event.run] = Run(
            event.run,
            event.at,
            event.type,
            event.key,
            event.interval,
            event.consumed,
            event.has_conf,
            event.parent,
            inherited,
        )

    def grant(self, event: Granted, reading: Reading) -> Execution:
        execution = Execution(event.task, event.attempt, event.at, reading)
        self.executions.append(execution)
        self.last[event.task] = execution
        self.states[event.task] = "running"
        self.marked.pop(event.task, None)
        for partition in self.publishes(event.task):
            self._begin(partition, execution)
        return execution

    def end(self, event: Ended) -> Execution | None:
        execution = self.try_of(event.task, event.attempt)
        if execution is None:
            return None
        execution.ended, execution.how = event.at, event.how
        by_person = self.acted_on.get(event.task, -1) > execution.granted
        by_airflow = self.spec(event.task) is None  # its Dag has it no more
        if event.how == "killed" and not (by_person or by_airflow) and execution.stopped is None:
            execution.stopped = event.at
        is_skipped = event.how == "killed" and self.states.get(event.task) == "skipped"
        if self.last[event.task] is execution and not by_person and not is_skipped:
            self.states[event.task] = None if event.how == "killed" else event.how
        self.note_half_written(execution)
        self._complete_what_is(event.task.run)
        return execution

    def try_of(self, task: TaskId, attempt: int | None) -> Execution | None:
        return next((e for e in self.executions if e.task == task and e.attempt == attempt), None)

    def open_executions(self) -> list[Execution]:
        return [each for each in self.executions if each.ended is None]

    def waiting(self) -> list[TaskId]:
        """The task instances that are to start one day; not those that follow what failed or was skipped."""
        return [task for task in self.not_begun() if not self.is_cut_off(task)]

    def not_begun(self) -> list[TaskId]:
        """Those, and what follows what failed or was skipped until a scheduler has found that out."""
        return [
            task
            for run in self.runs.values()
            if run.exists
            for task in self.instances(run.id)
            if self.states.get(task) in (None, "up_for_retry")
        ]

    def is_cut_off(self, task: TaskId) -> bool:
        """Something that it follows failed or was skipped; for a teardown only its setup counts."""
        spec = self.spec(task)
        if spec is None:
            return False
        needs = self.above(task.run.dag, task.task) if spec.teardown_of is None else {spec.teardown_of}
        return any(
            self.states.get(other) in ("failed", "skipped")
            for other in self.instances(task.run)
            if other.task in needs
        )

    def tears_down_what_ran(self, task: TaskId) -> bool:
        """What was set up is torn down, whoever else does the work (docs/decisions/0003, 32)."""
        spec = self.spec(task)
        setup = spec and spec.teardown_of
        return setup is not None and self.states.get(task._replace(task=setup)) == "success"

    def is_torn_down(self, task: TaskId) -> bool:
        """A setup that serves it was torn down, and has not run again since."""
        run, above = task.run, self.above(task.run.dag, task.task)
        for spec in self.dags[run.dag].tasks:
            if spec.teardown_of not in above or task.task not in self.above(run.dag, spec.id):
                continue
            setup = self.last.get(TaskId(run, spec.teardown_of, -1))
            teardown = self.last.get(TaskId(run, spec.id, -1))
            if setup is not None and teardown is not None and setup.granted < teardown.granted:
                return True
        return False

    def clear(self, tasks: tuple[TaskId, ...], *, by_person: bool) -> None:
        for task in tasks:
            self.states[task] = None
            if by_person:
                self.acted_on[task] = self.cleared[task] = self.now
                self.runs[task.run].by_hand = None
                self.marked.pop(task, None)

    def skip(self, task: TaskId) -> None:
        self.states[task] = "skipped"
        self._complete_what_is(task.run)

    def cut_off(self, task: TaskId) -> None:
        self.states[task] = "upstream_failed"

    def mark(self, event: RunMarked) -> None:
        run = self.runs[event.run]
        marked = event.tasks if event.tasks is not None else self._as_marked(event)
        left = {task for task in self.instances(event.run) if task not in marked}
        run.by_hand = self.now
        run.missed_by_hand = frozenset(
            task for task in left if self.states.get(task) in (None, "up_for_retry")
        )
        for task, state in marked.items():
            self.states[task] = state
            self.acted_on[task] = self.now
        for task in set(self.instances(event.run)) - run.missed_by_hand:
            self.marked[task] = self.now
        self._complete_what_is(event.run)

    def _as_marked(self, event: RunMarked) -> dict[TaskId, str | None]:
        """As Airflow does: what runs becomes that, what has not begun ``skipped``; teardowns go on."""
        found: dict[TaskId, str | None] = {}
        for task in self.instances(event.run):
            before, spec = self.states.get(task), self.spec(task)
            if before not in (*DONE, "failed") and (spec is None or spec.teardown_of is None):
                found[task] = event.state if before == "running" else "skipped"
        return found

    def mark_tasks(self, tasks: dict[TaskId, str | None]) -> None:
        for task, state in tasks.items():
            self.states[task] = state
            self.acted_on[task] = self.marked[task] = self.now
            last = self.last.get(task)
            if last is not None and last.how == state and self.cleared.get(task, -1) < last.granted:
                del self.marked[task]  # a mark that was taken back
        for run in {task.run for task in tasks}:
            self._complete_what_is(run)

    def is_marked_since(self, task: TaskId, moment: int) -> bool:
        """A person has ended it, or what it follows, which can run no more (docs/decisions/0003, 43)."""
        above = self.above(task.run.dag, task.task)
        return any(
            marked > moment
            and (other == task or (other.task in above and self.states.get(other) in ("failed", "skipped")))
            for other, marked in self.marked.items()
            if other.run == task.run
        )

    def delete(self, run: RunId) -> None:
        self.runs[run].exists = False
        for task in [task for task in self.states if task.run == run]:
            self.acted_on[task] = self.now

    # Versions

    def publishes(self, task: TaskId) -> set[PartitionId]:
        """What a task instance publishes; at runtime only what it has published before is known."""
        known = set(self.runs[task.run].outputs[task.task])
        spec = self.spec(task)
        if spec is not None and self.dags[task.run.dag].kind is not Kind.RUNTIME:
            known |= {PartitionId(asset, self.runs[task.run].key) for asset in spec.outlets}
        return known

    def may_publish(self, task: TaskId) -> set[PartitionId]:
        """At runtime also under the key of its run, as far as anybody can tell before it has published."""
        spec, key = self.spec(task), self.runs[task.run].key
        return self.publishes(task) | {PartitionId(asset, key) for asset in (spec.outlets if spec else ())}

    def publish(self, event: Published) -> Version:
        self.events[event.event] = event
        self.ever_published.add(event.partition)
        for cord in self.cords.values():
            cord.cover(event.partition)
        self.absent.discard(event.partition)
        written = event.at if event.written is None else event.written
        execution = self.try_of(event.task, event.attempt) if event.task else None
        if execution is None:
            version = self.add_version(event.partition)
            version.written = written
            return version
        run = execution.task.run
        self.runs[run].outputs[execution.task.task].add(event.partition)
        version = self.writing.get((run, event.partition))
        if version is None or execution not in version.tries:
            version = self._begin(event.partition, execution)
        version.published, version.written = True, written
        self._complete_what_is(run)
        return version

    def add_version(self, partition: PartitionId) -> Version:
        """One that is complete at once, an external event."""
        version = Version(partition, None, self.now, published=True)
        self.versions[partition].append(version)
        self._complete(version)
        return version

    def vouch_for(self, partition: PartitionId, known_bad: Iterable[Version]) -> None:
        """The data as it stands is a new version; what is found out later of who made it still counts."""
        current = self.current(partition)
        self.absent.discard(partition)
        version = self.add_version(partition)
        if current is not None:
            version.contributors = current.contributors or tuple(current.tries)
            version.forgiven = current.forgiven | frozenset(known_bad)

    def last_complete(self, partition: PartitionId) -> Version | None:
        complete = [each for each in self.versions.get(partition, ()) if each.complete is not None]
        return max(complete, key=lambda each: each.complete or 0, default=None)

    def is_newer(self, partition: PartitionId, moment: int) -> bool:
        """Whether the partition was published since that moment."""
        last = self.last_complete(partition)
        return last is not None and (last.complete or 0) > moment

    def is_written_since(self, partition: PartitionId, moment: int) -> bool:
        """Whether it was published since that moment, and not by what was under way then."""
        return any(
            each.complete is not None and each.complete > moment and (each.written or each.complete) >= moment
            for each in self.versions.get(partition, ())
        )

    def current(self, partition: PartitionId) -> Version | None:
        """The last complete one or, if it is newer, a half-written one."""
        there = [
            each
            for each in self.versions.get(partition, ())
            if (each.complete is not None or each.is_half_written) and each.withdrawn is None
        ]
        return max(there, key=lambda each: each.last_write or self.now, default=None)

    def partial(self, partition: PartitionId) -> list[Version]:
        """What some of a version's writers have published and can be read (docs/decisions/0003, 16)."""
        return [
            each
            for each in self.versions.get(partition, ())
            if each.published
            and each.complete is None
            and not each.is_half_written
            and self.visible_until(each) is None
        ]

    def visible_until(self, version: Version) -> int | None:
        """When a later one was complete, or it was withdrawn; None as long as it can be seen."""
        written = version.last_write
        if written is None:
            return None
        ends = [
            other.complete
            for other in self.versions[version.partition]
            if other is not version and other.complete is not None and other.complete > written
        ]
        if version.withdrawn is not None:
            ends.append(version.withdrawn)
        return min(ends, default=None)

    def seen_by(
        self, execution: Execution, until: dict[Version, int | None], doubt: int = 0
    ) -> list[Version]:
        """The versions that could be seen, ``until`` when, at any moment while the execution ran."""
        known, read = self._read_by.get(execution, (0, []))
        if known != len(self.versions):
            read = [partition for partition in self.versions if execution.covers(partition)]
            self._read_by[execution] = len(self.versions), read
        return [
            version
            for partition in read
            for version in self.versions[partition]
            if (execution.ended is None or version.begins - doubt <= execution.ended)
            and (until[version] is None or execution.granted <= until[version] + doubt)
        ]

    def is_absent_for(self, reader: Reading | Execution) -> bool:
        """It reads something, and all of that is withdrawn; what was never published is nothing."""
        read = [each for each in self.versions if reader.covers(each)]
        return bool(read) and all(each in self.absent for each in read)

    def note_half_written(self, execution: Execution) -> None:
        """What a killed task had begun to write counts as an output of its run."""
        if execution.stopped is None:
            return
        for versions in self.versions.values():
            for version in versions:
                if execution in version.tries and version.complete is None:
                    self.runs[execution.task.run].outputs[execution.task.task].add(version.partition)

    def _begin(self, partition: PartitionId, execution: Execution) -> Version:
        """A try joins the version that its run is writing; a re-run, or one after a kill, makes another."""
        slot = (execution.task.run, partition)
        version = self.writing.get(slot)
        if (
            version is None
            or version.complete is not None
            or version.is_half_written
            or any(each.task == execution.task and each.how == "success" for each in version.tries)
        ):
            version = Version(partition, execution.task.run, execution.granted)
            self.writing[slot] = version
            self.versions[partition].append(version)
        version.tries.append(execution)
        return version

    def _complete_what_is(self, run: RunId) -> None:
        for (of, partition), version in self.writing.items():
            if of != run or version.complete is not None or version.is_half_written or not version.published:
                continue
            publishers = [task for task in self.instances(run) if partition in self.publishes(task)]
            if any(self.states.get(task) not in DONE for task in publishers) or version.last_write is None:
                continue
            version.contributors = tuple(
                success
                for task in {*publishers, *(each.task for each in version.tries)}
                if (success := self._last_success(task)) is not None
            )
            self._complete(version)

    def _last_success(self, task: TaskId) -> Execution | None:
        successes = [e for e in self.executions if e.task == task and e.how == "success"]
        return successes[-1] if successes else None

    def _complete(self, version: Version) -> None:
        version.complete = self.now
        for cord in self.cords.values():
            if cord.is_pulled_on(version.partition):
                cord.named.add(version)
            else:  # its pull had named what could be read of it then
                cord.named = {each for each in cord.named if each is not version}

    # Cords

    def look(self, event: Pulled, halted: Iterable[PartitionId]) -> None:
        """
        What a pull names: the last version that it knows, of what is not withdrawn.

        An open scope covers what is there, or halted.
        """
        cord = Cord(event.cord, frozenset(event.partitions), event.severity == "stop", event.scope, self.now)
        for each in [*self.ever_published, *halted]:
            cord.cover(each)
        cord.pulled_on = {partition: self.current(partition) for partition in cord.partitions}
        cord.named = {version for version in cord.pulled_on.values() if version is not None}
        cord.begun = frozenset(version for each in cord.partitions for version in self.partial(each))
        cord.named |= cord.begun
        if event.since is not None or event.until is not None:
            self._name_those_between(cord, event)
        self._looked[event.cord] = cord

    def record(self, event: Pulled, halted: Iterable[PartitionId]) -> None:
        """The halt is open, its pull has not returned yet; what it did not know is presumed bad."""
        if event.cord in self.cords:  # pulled again: the cord that exists is returned
            return
        cord = self._looked[event.cord]
        for each in [*self.ever_published, *halted]:
            cord.cover(each)
        cord.named |= {
            version
            for each in cord.partitions - cord.outcomes.keys()
            for version in self.versions.get(each, ())
            if version.complete is not None and version.complete > cord.looked
        }
        self.cords[event.cord] = cord

    def _name_those_between(self, cord: Cord, event: Pulled) -> None:
        """From ``since`` on, or the last one, ``until``; with a newer one that is good there is no halt."""
        first = self.events[event.since].at if event.since is not None else 0
        last = self.events[event.until].at if event.until is not None else self.now
        cord.named = set()
        for partition, current in cord.pulled_on.items():
            there = {
                version: version.last_write or self.now
                for version in self.versions[partition]
                if version.published or version.is_half_written
            }
            fitting = {version for version, at in there.items() if first <= at <= last}
            if event.since is None:
                whole = [each for each in fitting if each.complete is not None or each.is_half_written]
                newest = max(whole, key=lambda each: there[each], default=None)
                fitting = {each for each in fitting if each is newest or each in self.partial(partition)}
            cord.named |= fitting
            if event.until is not None and current is not None and there[current] > last:
                cord.outcomes[partition] = "fixed"

    def release(self, cord: Cord, partition: PartitionId, outcome: str, known_bad: Iterable[Version]) -> None:
        """What a release changes about versions, apart from what a withdrawal takes along."""
        cord.outcomes[partition] = outcome
        cord.ended[partition] = self.now
        if outcome == "false_alarm":
            cord.named = {version for version in cord.named if version.partition != partition}
        if outcome == "fixed":
            last, pulled_on = self.last_complete(partition), cord.pulled_on.get(partition)
            newest_named = (pulled_on.last_write or 0) if pulled_on is not None else cord.looked
            is_newer = last is not None and last is not pulled_on and (last.complete or 0) > newest_named
            if last is not None and is_newer and last not in cord.begun:
                cord.named.discard(last)
            else:
                self.vouch_for(partition, known_bad)
