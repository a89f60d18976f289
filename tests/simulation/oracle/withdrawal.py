"""What a withdrawn partition takes along."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.oracle.facts import Facts
    from tests.simulation.oracle.records import Execution, Version
    from tests.simulation.oracle.state import Cause, State
    from tests.simulation.trace import PartitionId, TaskId


def withdraw(facts: Facts, before: State, partition: PartitionId | None) -> set[TaskId]:
    """
    Make the partition absent, and what was made from absent partitions alone.

    :param partition: None if a cord ended otherwise, which may have been the last that stood against that
    :return: the task instances that were held and read nothing else: they end as skipped
    """
    gone = set() if partition is None else {partition}
    facts.absent |= gone
    while found := {
        each for each in facts.versions if each not in facts.absent and _goes(facts, before, each)
    }:
        gone |= found
        facts.absent |= found
    for each in gone:
        for version in facts.versions.get(each, ()):
            if version.withdrawn is None and version.last_write is not None:
                version.withdrawn = facts.now
    for execution in facts.executions:
        if facts.is_absent_for(execution):
            execution.forgiven = facts.now
    stopping = [each.task for each in facts.open_executions() if each.stopped is not None]
    held = [task for task in {*facts.waiting(), *stopping} if before.forbids(task)]
    return {task for task in held if facts.is_absent_for(before.reading(task))}


def _goes(facts: Facts, before: State, partition: PartitionId) -> bool:
    current = facts.current(partition)
    if current is None or current not in before.causes:
        return False
    causes = {cause for cause in before.causes[current] if not _is_taken_back(facts, cause, current)}
    return (
        partition not in facts.absent
        and bool(causes)
        and all(_has_ended(facts, cause) for cause in causes)
        and bool(_makers(current))
        and all(facts.is_absent_for(maker) for maker in _makers(current))
    )


def _has_ended(facts: Facts, cause: Cause) -> bool:
    return cause.cord is None or cause.partition in facts.cords[cause.cord].outcomes


def _is_taken_back(facts: Facts, cause: Cause, version: Version) -> bool:
    """The cord ended as a false alarm, or as fixed by this version."""
    if cause.cord is None or not _has_ended(facts, cause):
        return False
    cord = facts.cords[cause.cord]
    of_itself = cause.partition == version.partition
    return cord.outcomes[cause.partition] == "false_alarm" or (of_itself and version not in cord.named)


def _makers(version: Version) -> list[Execution]:
    return list(version.contributors) or version.tries
