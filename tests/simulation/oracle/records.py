"""
What is known of each execution, version, cord and run.

They are compared by identity: each of them happened once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.graph import OpenScope
    from tests.simulation.oracle.reading import Reading
    from tests.simulation.oracle.state import Cause
    from tests.simulation.trace import PartitionId, RunId, TaskId


@dataclass(eq=False)
class Execution:
    """
    One try of one task instance.

    :param stopped: the moment from which the brake must have, or has, killed it
    :param for_repair: the brake had it run again
    :param forgiven: when last all that it reads was withdrawn: what it owed by then it owes no more
    """

    task: TaskId
    attempt: int
    granted: int
    reading: Reading
    ended: int | None = None
    how: str | None = None
    stopped: int | None = None
    answered: bool = True
    for_repair: bool = False
    forgiven: int | None = None
    retries_used: int = 0
    _reads: dict[PartitionId, bool] = field(default_factory=dict, repr=False)

    @property
    def of_itself(self) -> bool:
        return self.ended is not None and self.how != "killed"

    def covers(self, partition: PartitionId) -> bool:
        if partition not in self._reads:
            self._reads[partition] = self.reading.covers(partition)
        return self._reads[partition]


@dataclass(eq=False)
class Version:
    """
    One publication of one partition.

    :param tries: the executions that are new in it
    :param contributors: the last successful try of each publishing instance, old or new
    :param written: when the last event of it was written, which may be long before its commit
    :param withdrawn: the moment from which it is absent
    :param cleared: a person said that it is good after all
    :param kept: once its run is deleted: why it was known to be bad, by the strict and by the mild reading
    :param forgiven: of "the data as it stands": what was known to be bad when a person vouched for it
    """

    partition: PartitionId
    run: RunId | None
    begins: int
    tries: list[Execution] = field(default_factory=list)
    contributors: tuple[Execution, ...] = ()
    published: bool = False
    written: int | None = None
    complete: int | None = None
    withdrawn: int | None = None
    cleared: bool = False
    kept: tuple[frozenset[Cause], frozenset[Cause]] | None = None
    forgiven: frozenset[Version] = frozenset()

    @property
    def is_half_written(self) -> bool:
        return self.complete is None and any(each.stopped is not None for each in self.tries)

    @property
    def last_write(self) -> int | None:
        """When the last writing to it was over, None while somebody may still write."""
        if self.complete is not None:
            return self.complete
        ends = [each.ended for each in self.tries]
        return None if None in ends else max(end for end in ends if end is not None)


@dataclass(eq=False)
class Cord:
    """
    One cord.

    :param returned: whether its pull (or what raised it to ``stop``) has returned: only then it is a promise
    :param pulled_on: the version of each partition that the pull itself named, None if there was none
    :param named: all versions that it names, with those that were completed while its root halt was open
    :param begun: what the pull itself named before it was complete: that version is bad when it is
    :param outcomes: how it ended, by partition
    :param ended: and when
    :param scope: what comes under it when it is published
    :param looked: the moment at which its pull asked what was published
    """

    id: int
    partitions: frozenset[PartitionId]
    stops: bool
    scope: OpenScope | None = None
    looked: int = 0
    returned: bool = False
    pulled_on: dict[PartitionId, Version | None] = field(default_factory=dict)
    named: set[Version] = field(default_factory=set)
    begun: frozenset[Version] = frozenset()
    outcomes: dict[PartitionId, str] = field(default_factory=dict)
    ended: dict[PartitionId, int] = field(default_factory=dict)

    def is_pulled_on(self, partition: PartitionId) -> bool:
        """One that warns may be raised: it has stopped from its pull on then (docs/decisions/0003, 38)."""
        return partition in self.partitions and partition not in self.outcomes

    def cover(self, partition: PartitionId) -> None:
        """It is being published; what was released has left the scope."""
        scope = self.scope
        if scope is not None and scope.asset == partition.asset and scope.covers(partition.key):
            self.partitions |= {partition}

    def is_finished_since(self, partition: PartitionId, moment: int) -> bool:
        """What the pull had named half of is complete, and may be all that was published since."""
        return any(each.partition == partition and (each.complete or 0) > moment for each in self.begun)

    def is_open_on(self, partition: PartitionId) -> bool:
        return self.stops and self.is_pulled_on(partition)


@dataclass(eq=False)
class Run:
    """
    One run that exists or has existed.

    :param by_hand: when a person last marked it
    :param missed_by_hand: the task instances that were still to begin and that Airflow left out then
    """

    id: RunId
    created: int
    type: str
    key: str | None
    interval: str | None
    consumed: tuple[int, ...]
    has_conf: bool
    parent: TaskId | None
    inherited: Reading | None
    exists: bool = True
    by_hand: int | None = None
    missed_by_hand: frozenset[TaskId] = frozenset()
    outputs: dict[str, set[PartitionId]] = field(default_factory=lambda: defaultdict(set))
    """What each task has published, or had begun to write when it was killed."""
