"""
What was seen from outside while the simulation ran: the only thing that the oracle is told.

Every event has a moment, ``at``: a whole number, larger for what was committed later, as the database
ordered the commits. Nothing here says what the product believes or has stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from tests.simulation.graph import DagSpec, OpenScope


class RunId(NamedTuple):
    """A Dag run."""

    dag: str
    run: str


class TaskId(NamedTuple):
    """A task instance."""

    run: RunId
    task: str
    map_index: int = -1


class PartitionId(NamedTuple):
    """A partition; ``key`` is None for what was published without one."""

    asset: str
    key: str | None


@dataclass(frozen=True)
class DagWritten:
    """The Dag, or a new version of it, was parsed."""

    at: int
    dag: DagSpec


@dataclass(frozen=True)
class DagRemoved:
    """The Dag's file is gone."""

    at: int
    dag: str


@dataclass(frozen=True)
class DagPaused:
    """A person paused or unpaused the Dag."""

    at: int
    dag: str
    paused: bool


@dataclass(frozen=True)
class RunCreated:
    """
    A run came into being.

    :param type: ``asset_triggered``, ``manual``, ``scheduled``, ``backfill``, ``operator_triggered``,
        ``asset_materialization``
    :param consumed: the ids of the events that Airflow says made it
    :param parent: the task instance that triggered it
    :param interval: the start of its data interval, as ``2026-06-14T00:00:00``, if it has one
    """

    at: int
    run: RunId
    type: str
    key: str | None
    consumed: tuple[int, ...] = ()
    has_conf: bool = False
    parent: TaskId | None = None
    interval: str | None = None


@dataclass(frozen=True)
class RunDeleted:
    """A person deleted the run."""

    at: int
    run: RunId


@dataclass(frozen=True)
class RunMarked:
    """
    A person marked the run as ``success`` or ``failed``.

    :param tasks: what Airflow made of its task instances: it misses those that begin just then; None for
        what it does when nothing happens meanwhile
    """

    at: int
    run: RunId
    state: str
    tasks: dict[TaskId, str | None] | None = None


@dataclass(frozen=True)
class TasksMarked:
    """A person gave task instances of one run a state: ``success``, ``failed`` or ``skipped``."""

    at: int
    tasks: dict[TaskId, str | None]


@dataclass(frozen=True)
class TaskCleared:
    """
    These task instances were cleared: their state is none again.

    :param by_person: else the brake did it (a repair)
    """

    at: int
    tasks: tuple[TaskId, ...]
    by_person: bool = True


@dataclass(frozen=True)
class Granted:
    """The execution API let a try start (``PATCH .../run`` answered 200). Tries count from 1 per instance."""

    at: int
    task: TaskId
    attempt: int


@dataclass(frozen=True)
class Refused:
    """The execution API refused a start."""

    at: int
    task: TaskId


@dataclass(frozen=True)
class Ended:
    """
    A try ended.

    :param how: ``success``, ``failed``, ``up_for_retry``, ``skipped``, or ``killed``: the api-server answered
        a heartbeat or the task's own end with 404, 409 or 410, so that the process is gone and nothing that
        it wanted to publish was recorded
    """

    at: int
    task: TaskId
    attempt: int
    how: str


@dataclass(frozen=True)
class Answered:
    """The api-server answered the end of a try: what the brake does before that has been done."""

    at: int
    task: TaskId
    attempt: int


@dataclass(frozen=True)
class Skipped:
    """A task instance that did not start was set to ``skipped``, by whomever."""

    at: int
    task: TaskId


@dataclass(frozen=True)
class CutOff:
    """A scheduler found out that a task instance cannot run, since what it follows has failed."""

    at: int
    task: TaskId


@dataclass(frozen=True)
class Published:
    """
    An asset event; ``task`` is None for one that no task emitted.

    :param written: the moment after which it was written, and got its time; None if nothing happened between
        that and its commit
    """

    at: int
    event: int
    partition: PartitionId
    task: TaskId | None = None
    attempt: int | None = None
    written: int | None = None


@dataclass(frozen=True)
class PullCalled:
    """Somebody asked for a pull; nothing is promised yet."""

    at: int
    call: int


@dataclass(frozen=True)
class Pulled:
    """
    A pull has returned: from now on nothing that reads the partitions is granted a start.

    :param recorded: the moment at which the cord was committed; the halt is open from then on
    :param severity: ``stop`` or ``warn``
    :param scope: what it covers besides, if that is open-ended
    :param since: the first event whose version is bad, None for the last version
    :param until: the last event whose version may be bad; what came after it is good
    :param looked: the moment at which it was asked what had been published; None if it is the one before that
    """

    at: int
    call: int
    cord: int
    partitions: tuple[PartitionId, ...]
    severity: str
    recorded: int
    scope: OpenScope | None = None
    since: int | None = None
    until: int | None = None
    looked: int | None = None


@dataclass(frozen=True)
class ScopeEnded:
    """A person said that the cord covers nothing any more that is published from now on."""

    at: int
    cord: int


@dataclass(frozen=True)
class Raised:
    """
    A cord of severity ``warn`` became one of severity ``stop``, and the raise has returned.

    :param recorded: the moment at which that was committed, None if it is the same
    """

    at: int
    cord: int
    recorded: int | None = None


@dataclass(frozen=True)
class ReleaseAsked:
    """
    Somebody asked to release these partitions of the cord, all that are under it if none is named.

    :param forced: ``--now``
    :param again: once they are published again, not before
    :param ends_scope: the cord covers nothing any more that is published from now on
    """

    at: int
    cord: int
    partitions: tuple[PartitionId, ...]
    outcome: str
    forced: bool = False
    again: bool = False
    ends_scope: bool = False


@dataclass(frozen=True)
class Released:
    """The release took effect on one partition."""

    at: int
    cord: int
    partition: PartitionId
    outcome: str


@dataclass(frozen=True)
class LetThrough:
    """A person let the run read bad data: the halts open at that moment."""

    at: int
    run: RunId


@dataclass(frozen=True)
class Approved:
    """A person let the run be repaired, parts of which ask for that."""

    at: int
    run: RunId


@dataclass(frozen=True)
class Disabled:
    """The brake does nothing any more, and has undone what it had changed in Airflow."""

    at: int


@dataclass(frozen=True)
class Enabled:
    """
    The brake takes up again.

    :param returned: everything that is to be held is
    """

    at: int
    returned: bool = False


@dataclass(frozen=True)
class Cleared:
    """A person cleared the current version of a partition, ``as_`` ``false_alarm`` or ``fixed``."""

    at: int
    partition: PartitionId
    as_: str


@dataclass(frozen=True)
class FinalRun:
    """
    A run as it is at rest, or when all is quiet at the end.

    :param state: ``queued``, ``running``, ``success`` or ``failed``
    :param tasks: the state of each task instance, None for one that has none
    :param restored: its ``run_after`` is what it was before anybody held it
    """

    state: str
    tasks: dict[TaskId, str | None] = field(default_factory=dict)
    restored: bool = True


@dataclass(frozen=True)
class Rest:
    """
    All that could go on by itself has gone on: only people, and tasks that run, can change anything now.

    :param runs: every run that exists
    :param pending: Airflow's pending partition runs, as Dag and key
    :param overlooked: the events that Airflow noted for a pending row while it made a run from that row, and
        did not give to the run: event, Dag, key
    :param waiting: the events that the pending partition runs have so far, in the same way; None if that is
        not known
    """

    at: int
    runs: dict[RunId, FinalRun]
    pending: tuple[tuple[str, str], ...] = ()
    overlooked: tuple[tuple[int, str, str], ...] = ()
    waiting: tuple[tuple[int, str, str], ...] | None = None

    def is_pending(self, event: int, dag: str, key: str | None) -> bool:
        """Tell whether a pending partition run has the event, as far as that is known."""
        return (dag, key) in self.pending if self.waiting is None else (event, dag, key) in self.waiting


Event: TypeAlias = (
    DagWritten
    | DagRemoved
    | DagPaused
    | RunCreated
    | RunDeleted
    | RunMarked
    | TasksMarked
    | TaskCleared
    | Granted
    | Refused
    | Ended
    | Answered
    | Skipped
    | CutOff
    | Published
    | PullCalled
    | Pulled
    | ScopeEnded
    | Raised
    | ReleaseAsked
    | Released
    | LetThrough
    | Cleared
    | Approved
    | Disabled
    | Enabled
    | Rest
)


@dataclass(frozen=True)
class Trace:
    """
    One simulated history.

    :param quiet: the moment at which, after the last act, nothing happened any more
    :param final: every run that exists then
    :param pending: Airflow's pending partition runs that exist then, as Dag and key
    :param overlooked: as in :class:`Rest`
    :param waiting: as in :class:`Rest`
    :param doubt: two moments no further apart than this may have looked like one to the product
    """

    events: tuple[Event, ...]
    quiet: int
    final: dict[RunId, FinalRun]
    pending: tuple[tuple[str, str], ...] = ()
    doubt: int = 0
    overlooked: tuple[tuple[int, str, str], ...] = ()
    waiting: tuple[tuple[int, str, str], ...] | None = None
