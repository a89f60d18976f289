"""What the rules are told: facts that were recorded, by whoever recorded them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Partition(NamedTuple):
    """One asset and one partition key, compared byte for byte; without a key, the asset as a whole."""

    asset: int
    key: str | None


class Cause(NamedTuple):
    """Why a version is bad: the cord that names it, or, with cord 0, that it is half-written."""

    cord: int
    partition: Partition


class Run(NamedTuple):
    """A Dag run."""

    dag_id: str
    run_id: str


class Task(NamedTuple):
    """A task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @property
    def run(self) -> Run:
        return Run(self.dag_id, self.run_id)


class Try(NamedTuple):
    """One try of a task instance."""

    task: Task
    number: int


class Ending(str, Enum):
    """How an execution ended."""

    OPEN = "open"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It has skipped itself: it wrote nothing, but has seen what it read."""
    STOPPED = "stopped"
    """Killed by the brake while it read."""


@dataclass(frozen=True, slots=True)
class Execution:
    """
    One try of one task instance.

    :param doubt: how far its times may be off; zero where the api-server wrote them
    """

    attempt: Try
    started: datetime
    ended: datetime | None
    ending: Ending
    doubt: timedelta = timedelta(0)

    @property
    def task(self) -> Task:
        return self.attempt.task


@dataclass(frozen=True, slots=True)
class Publication:
    """One asset event; ``task`` is None for an event that no task emitted."""

    id: int
    partition: Partition
    at: datetime
    task: Task | None


@dataclass(frozen=True, slots=True)
class HalfWritten:
    """
    The brake killed ``attempt`` while it may have been writing ``partition``.

    :param cords: for which cords it was killed
    """

    attempt: Try
    partition: Partition
    began: datetime
    at: datetime
    cords: frozenset[int] = frozenset()


class Severity(str, Enum):
    """What a cord does: ``stop`` halts, ``warn`` only marks."""

    STOP = "stop"
    WARN = "warn"


class Outcome(str, Enum):
    """How a cord ends on one partition."""

    FIXED = "fixed"
    FALSE_ALARM = "false_alarm"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Halt:
    """
    A cord on one partition.

    :param opened: from when on what is completed is presumed bad: the last version that the pull knew of
    :param pulled: when the cord was pulled
    :param named: ids of the versions that the pull named
    :param outcome: None while the halt is open
    """

    cord: int
    partition: Partition
    severity: Severity
    opened: datetime
    named: frozenset[str]
    outcome: Outcome | None = None
    ended: datetime | None = None
    pulled: datetime | None = None


class Origin(str, Enum):
    """Who made a run."""

    ASSETS = "assets"
    PERSON = "person"
    OPERATOR = "operator"
    SCHEDULE = "schedule"


class TaskState(str, Enum):
    """What a live task instance does, as far as the rules care."""

    WAITING = "waiting"
    """The scheduler has not chosen it yet: no state, up for retry."""
    QUEUED = "queued"
    """Scheduled or with the executor, not started."""
    RUNNING = "running"
    """Started and not ended: running, deferred, awaiting input, rescheduled."""
    PARKED = "parked"
    """Held by the brake inside a running run."""
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    REMOVED = "removed"

    @property
    def finished(self) -> bool:
        return self in (TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED, TaskState.REMOVED)


@dataclass(frozen=True, slots=True)
class DagShape:
    """
    What the rules must know of a Dag.

    :param upstream: every task that a task follows, at any distance
    :param may_publish: the assets of its outlets, and those that tasks have published through an alias
    :param teardowns: tasks that clean up after others
    :param scaffold: the setups that a task needs, and their teardowns
    :param asks: tasks whose repair waits for a person (``repair="ask"`` on what they publish)
    :param finishes: tasks that are not killed while they run (``on_running="finish"`` on what they publish)
    """

    upstream: Mapping[str, frozenset[str]]
    outlets: Mapping[str, frozenset[int]] = field(default_factory=dict)
    may_publish: frozenset[int] = frozenset()
    teardowns: frozenset[str] = frozenset()
    advisory: bool = False
    owner: str = ""
    scaffold: Mapping[str, frozenset[str]] = field(default_factory=dict)
    asks: frozenset[str] = frozenset()
    finishes: frozenset[str] = frozenset()

    def served_by(self, teardown: str) -> frozenset[str]:
        """Return the tasks that the teardown cleans up after, setups left out."""
        setups = frozenset().union(*self.scaffold.values())
        return frozenset(t for t, needed in self.scaffold.items() if teardown in needed) | (
            self.upstream.get(teardown, frozenset()) - setups
        )

    def downstream(self, task_id: str) -> frozenset[str]:
        return frozenset(other for other, before in self.upstream.items() if task_id in before)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """
    A Dag run that published or reads a partition in question.

    :param order: larger for runs that were created later
    :param pays_alone: the run does not share its key with others (no key, conf, scheduled, backfill)
    :param consumed: the partitions of the events that made the run, or were absorbed into it
    :param absorbed: when each event that the brake gave to this run was published
    :param held: the brake has moved the run's start, whatever a person has made of the run since
    :param over: the run has ended
    :param awaited: since when the brake has waited for the run to start, None if it does not
    :param parent: the task instance that triggered the run, None if none did
    :param created: when the run came into being, None if that is not known
    :param marked: the task instances whose state a person has set, since when, with what can run no more for
        that: they owe nothing and pay for nothing
    :param paid: what runs of its key that are gone had run on good data: the last try of each task instance
    """

    run: Run
    key: str | None
    origin: Origin
    order: int
    shape: DagShape
    tasks: Mapping[Task, TaskState]
    over: bool = False
    held: bool = False
    pays_alone: bool = False
    consumed: frozenset[Partition] = frozenset()
    absorbed: tuple[datetime, ...] = ()
    partitioned: bool = True
    awaited: datetime | None = None
    parent: Task | None = None
    created: datetime | None = None
    marked: Mapping[Task, datetime] = field(default_factory=dict)
    paid: frozenset[Execution] = frozenset()

    @property
    def group(self) -> tuple[str, str]:
        """One payer is sought among the runs that share this."""
        if self.origin is Origin.ASSETS and not self.partitioned and not self.pays_alone:
            return self.run.dag_id, "unpartitioned"
        if self.pays_alone or self.key is None:
            return self.run.dag_id, f"run:{self.run.run_id}"
        return self.run.dag_id, f"key:{self.key}"

    @property
    def goes_on(self) -> bool:
        """A task of the run has still to start or to end."""
        all_ended = bool(self.tasks) and all(state.finished for state in self.tasks.values())
        return not (self.over or all_ended)

    @property
    def kept_back(self) -> bool:
        """The brake keeps the run, or a task of it, from starting."""
        return not self.over and (self.held or TaskState.PARKED in self.tasks.values())

    def outlets(self, task_id: str) -> frozenset[Partition]:
        """The partitions that the task writes by its declared outlets."""
        return frozenset(Partition(asset, self.key) for asset in self.shape.outlets.get(task_id, ()))


@dataclass(frozen=True, slots=True)
class Facts:
    """
    Everything that the rules are told.

    :param readers: the runs all of whose tasks read a partition; of what is not in question, only those runs
        that may have nothing else to read
    :param inlets: the tasks that have a partition as an inlet, by run; what follows them reads it, too
    :param cleared: versions that a person declared good
    :param went_with: when partitions were withdrawn along with what they had been made from
    :param repaired: versions that a person declared to be good as they stand now, with since when
    :param let_through: the causes in spite of which a person lets a run start
    :param approved: when a person last let a run be repaired that asks for it
    :param asked: when each try of a task instance was asked for: it was created, cleared, failed or stopped
    :param kept_bad: why versions were bad when their run was last known; what counts once it is gone
    :param kept_began: when bad versions began, as far as that was known
    :param fixed_before: how closed cords ended as fixed: the data as it stood then is a version
    :param survivors: the tries that were stopped and whose process may live until then
    """

    now: datetime
    halts: tuple[Halt, ...] = ()
    publications: tuple[Publication, ...] = ()
    executions: tuple[Execution, ...] = ()
    half_written: tuple[HalfWritten, ...] = ()
    runs: Mapping[Run, RunFacts] = field(default_factory=dict)
    readers: Mapping[Partition, frozenset[Run]] = field(default_factory=dict)
    inlets: Mapping[Partition, Mapping[Run, frozenset[str]]] = field(default_factory=dict)
    cleared: frozenset[str] = frozenset()
    went_with: Mapping[Partition, frozenset[datetime]] = field(default_factory=dict)
    repaired: Mapping[str, datetime] = field(default_factory=dict)
    let_through: Mapping[Run, frozenset[Cause]] = field(default_factory=dict)
    approved: Mapping[Run, datetime] = field(default_factory=dict)
    survivors: Mapping[Try, datetime] = field(default_factory=dict)
    asked: Mapping[Task, Sequence[datetime]] = field(default_factory=dict)
    kept_bad: Mapping[str, frozenset[Cause]] = field(default_factory=dict)
    kept_began: Mapping[str, datetime] = field(default_factory=dict)
    fixed_before: tuple[Halt, ...] = ()
