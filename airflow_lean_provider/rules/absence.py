"""What is absent: withdrawn, or made of nothing but that; and what is forgiven for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_lean_provider.rules.facts import Cause, Outcome, Severity
from airflow_lean_provider.rules.versions import current

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from airflow_lean_provider.rules.badness import Judgement
    from airflow_lean_provider.rules.facts import Execution, Facts, Partition, RunFacts
    from airflow_lean_provider.rules.reading import Reading
    from airflow_lean_provider.rules.versions import Version


@dataclass(frozen=True, slots=True)
class Presence:
    """
    When there was something of a partition to read.

    :param withdrawn: when each partition was withdrawn that ever was, though it may have been published since
    """

    versions: Mapping[Partition, Collection[Version]]
    withdrawn: Mapping[Partition, Collection[datetime]]

    def was_absent(self, partition: Partition, at: datetime) -> bool:
        """
        Tell whether it was withdrawn by then, and not published since that.

        Not whether it had never been published by then: events are cleaned away.
        """
        withdrawn = max((m for m in self.withdrawn.get(partition, ()) if m <= at), default=None)
        return withdrawn is not None and not any(
            v.complete and withdrawn < v.at <= at for v in self.versions.get(partition, ())
        )

    def last_absence(
        self, partitions: Collection[Partition], since: datetime | None = None
    ) -> datetime | None:
        """Return when last all of them were withdrawn, from ``since`` on; None if they never were."""
        moments = {m for p in partitions for m in self.withdrawn.get(p, ()) if since is None or m >= since}
        return max((m for m in moments if all(self.was_absent(p, m) for p in partitions)), default=None)


def withdrawals(facts: Facts) -> list[tuple[Partition, datetime]]:
    """Return what was ever withdrawn, by a cord or along with what it was made from, with the moments."""
    by_cords = [(h.partition, h.ended) for h in facts.halts if h.outcome is Outcome.WITHDRAWN and h.ended]
    return by_cords + [(p, moment) for p, moments in facts.went_with.items() for moment in moments]


def withdrawn(facts: Facts, versions: Mapping[Partition, tuple[Version, ...]]) -> dict[Partition, datetime]:
    """Return what is known to have been withdrawn, and was not published since, with the moment."""
    open_roots = _open_roots(facts)
    return {
        partition: moment
        for partition, moment in withdrawals(facts)
        if partition not in open_roots
        and not any(v.complete and v.at > moment for v in versions.get(partition, ()))
    }


def withdrawn_likewise(
    facts: Facts,
    versions: Mapping[Partition, tuple[Version, ...]],
    bad: Mapping[str, frozenset[Cause]],
    presence: Presence,
    reading: Reading,
) -> dict[Partition, datetime]:
    """Return what was made from withdrawn partitions alone, with since when it is absent."""
    absent = withdrawn(facts, versions)
    likewise: dict[Partition, datetime] = {}
    ended = moments_of_endings(facts)
    open_roots = _open_roots(facts)
    candidates = {
        partition: last
        for partition, found in versions.items()
        if presence.withdrawn and partition not in open_roots
        if (last := current(found)) is not None and last.id in bad
        if all(cause in ended for cause in bad[last.id] if cause.cord)
    }
    grown = True
    while grown:
        grown = False
        for partition in candidates.keys() - likewise.keys():
            last = candidates[partition]
            run = facts.runs.get(last.run) if last.run is not None else None
            read = [reading.of_what_there_is(versions, run, t) for t in _makers(last, run)] if run else []
            if not read or not all(read):
                continue
            sources = frozenset().union(*read)
            known_bad = max((ended[cause] for cause in bad[last.id] if cause.cord), default=last.at)
            since = (
                max(absent[p] for p in sources)
                if sources <= absent.keys()
                else presence.last_absence(sources, since=last.at)
            )
            if since is not None and all(presence.was_absent(p, max(since, known_bad)) for p in sources):
                absent[partition] = likewise[partition] = since
                grown = True
    return likewise


def reads_only_absent(judgement: Judgement, run: RunFacts, task_id: str) -> bool:
    """Tell whether the task reads something, and all of that is withdrawn."""
    return judgement.reading.reads_only(judgement.absent, judgement.versions, run, task_id)


def had_nothing_to_read(
    judgement: Judgement, run: RunFacts, task_id: str, since: datetime | None = None
) -> datetime | None:
    """Return when last all that the task reads was withdrawn, from ``since`` on; None if it never was."""
    read = judgement.reading.of_what_there_is(judgement.versions, run, task_id)
    return judgement.presence.last_absence(read, since)


def not_forgiven(judgement: Judgement, run: RunFacts, execution: Execution) -> frozenset[Cause]:
    """
    Return the causes of what the execution saw, without those that have been forgiven.

    Once all that it reads is withdrawn, what has ended by then is forgiven, and what was half-written; so is
    what ends while there is nothing to read.
    """
    seen = judgement.seen.get(execution.attempt, frozenset())
    if not seen:
        return seen
    read = judgement.reading.of_what_there_is(judgement.versions, run, execution.task.task_id)
    presence = judgement.presence
    nothing_since = presence.last_absence(read, execution.started)
    if nothing_since is None:
        return seen

    def is_forgiven(cause: Cause) -> bool:
        ended = judgement.ended.get(cause)
        if ended is None:
            return not cause.cord
        return ended <= nothing_since or all(presence.was_absent(p, ended) for p in read)

    return frozenset(cause for cause in seen if not is_forgiven(cause))


def moments_of_endings(facts: Facts) -> dict[Cause, datetime]:
    """Return when each cause ended that has."""
    return {Cause(h.cord, h.partition): h.ended for h in facts.halts if h.ended is not None}


def _open_roots(facts: Facts) -> set[Partition]:
    return {h.partition for h in facts.halts if h.outcome is None and h.severity is Severity.STOP}


def _makers(version: Version, run: RunFacts) -> set[str]:
    """Return the tasks that wrote the version or, if it is half-written, may have begun to."""
    return {attempt.task.task_id for attempt in version.contributors} or {
        task.task_id for task in run.tasks if version.partition in run.outlets(task.task_id)
    }
