"""What a history came to, in a form in which two histories can be compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulation import trace as seen
from tests.simulation.oracle.debts import group_of

if TYPE_CHECKING:
    from tests.simulation.oracle.judge import Judge
    from tests.simulation.trace import PartitionId


@dataclass(frozen=True)
class Outcome:
    """
    Equal for histories that must come to the same.

    :param partitions: ``good``, ``bad`` (a halt is on it) or ``absent``, for each that was ever written
    :param ran: how often each part succeeded after the first release: (Dag, key, task, map index); the name
        of the run stands for the key where the run pays alone
    """

    partitions: dict[PartitionId, str]
    ran: dict[tuple[str, str | None, str, int], int]


def outcome_of(judge: Judge) -> Outcome:
    """:param judge: one that has read its trace"""
    facts, state = judge.facts, judge.moment.strict
    releases = [event.at for event in judge.trace.events if isinstance(event, seen.Released)]
    partitions = {
        each: "bad" if each in state.halted else "absent" if each in facts.absent else "good"
        for each in facts.versions
    }
    ran: Counter[tuple[str, str | None, str, int]] = Counter()
    for execution in facts.executions:
        if releases and execution.granted > min(releases) and execution.how == "success":
            group = group_of(facts.runs[execution.task.run])
            ran[group.dag, group.run or group.key, execution.task.task, execution.task.map_index] += 1
    return Outcome(partitions, dict(ran))
