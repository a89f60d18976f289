"""D1 and D2: which versions are bad and why, who saw them, and which partitions are bad."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_lean_provider.rules.absence import (
    Presence,
    moments_of_endings,
    withdrawals,
    withdrawn,
    withdrawn_likewise,
)
from airflow_lean_provider.rules.facts import (
    Cause,
    Ending,
    Execution,
    Facts,
    Halt,
    Outcome,
    Partition,
    Run,
    RunFacts,
    Severity,
    Task,
    Try,
)
from airflow_lean_provider.rules.reading import Reading
from airflow_lean_provider.rules.versions import (
    AS_IT_STANDS,
    Version,
    all_versions,
    current,
    is_named_by_pull,
    partial_ones,
    visible_until,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    What the definitions make of the facts.

    :param bad: the bad versions by id, with the causes of each
    :param seen: for each try that saw a bad version, the causes
    :param sights: for each try that saw a bad version, the versions
    :param bad_partitions: the partitions that may not be read, with the causes of each
    :param absent: the withdrawn partitions
    :param presence: when there was something to read
    :param newly_gone: what is found to have gone with what it was made from, which nobody has kept yet
    :param endings: how each cause ended, None while it is open
    :param ended: when each cause ended that a cord has
    """

    versions: Mapping[Partition, tuple[Version, ...]]
    bad: Mapping[str, frozenset[Cause]]
    seen: Mapping[Try, frozenset[Cause]]
    sights: Mapping[Try, frozenset[str]]
    bad_partitions: Mapping[Partition, frozenset[Cause]]
    absent: frozenset[Partition]
    presence: Presence
    newly_gone: Mapping[Partition, datetime]
    endings: Mapping[Cause, Outcome | None]
    ended: Mapping[Cause, datetime]
    reading: Reading


def judge(facts: Facts, versions: Mapping[Partition, tuple[Version, ...]] | None = None) -> Judgement:
    """
    Apply D1 and D2 to the facts.

    :param versions: those of the facts, if somebody has made them already
    """
    versions = all_versions(facts) if versions is None else versions
    endings: dict[Cause, Outcome | None] = {}
    named = _bad_by_themselves(facts, versions, endings)
    reading = Reading(facts)
    gone: dict[Partition, set[datetime]] = defaultdict(set)
    for partition, moment in withdrawals(facts):
        gone[partition].add(moment)
    presence = Presence(versions, gone)
    while True:
        bad, seen, sights = _spread(facts, versions, named, gone, reading)
        likewise = withdrawn_likewise(facts, versions, bad, presence, reading)
        more = {partition: since for partition, since in likewise.items() if since not in gone[partition]}
        if not more:
            break
        for partition, since in more.items():
            gone[partition].add(since)
    absent = frozenset(likewise.keys() | withdrawn(facts, versions).keys())
    newly = {p: since for p, since in likewise.items() if since not in facts.went_with.get(p, ())}
    return Judgement(
        versions=versions,
        bad=bad,
        seen=seen,
        sights=sights,
        bad_partitions=_bad_partitions(facts, versions, bad, absent),
        absent=absent,
        presence=presence,
        newly_gone=newly,
        endings=endings,
        ended=moments_of_endings(facts),
        reading=reading,
    )


def _bad_by_themselves(
    facts: Facts,
    versions: Mapping[Partition, tuple[Version, ...]],
    endings: dict[Cause, Outcome | None],
) -> dict[str, frozenset[Cause]]:
    """
    Return what a cord names, what is half-written, and what was bad when its run was last known.

    :param endings: how each cause ended; is filled
    """
    named: dict[str, frozenset[Cause]] = defaultdict(frozenset)
    for halt in facts.halts:
        if halt.severity is Severity.STOP:
            cause = Cause(halt.cord, halt.partition)
            endings[cause] = halt.outcome
            of_cord = frozenset((cause,))
            for version in named_versions(halt, versions.get(halt.partition, ())):
                named[version.id] = _joined(named.get(version.id), of_cord)
    for version in (v for found in versions.values() for v in found):
        if not version.complete and not version.partial:
            cause = Cause(0, version.partition)
            named[version.id] |= {cause}
            endings[cause] = Outcome.FIXED
        elif version.complete and version.run is not None and version.run not in facts.runs:
            named[version.id] |= {
                cause
                for cause in facts.kept_bad.get(version.id, ())
                if endings.get(cause, Outcome.FALSE_ALARM) is not Outcome.FALSE_ALARM
            }
    return {v: causes for v, causes in named.items() if causes and v not in facts.cleared}


def _joined(some: frozenset[Cause] | None, more: frozenset[Cause]) -> frozenset[Cause]:
    """Return both, as what was there where that says it all: there can be thousands."""
    if not some:
        return more
    return some if more <= some else some | more


def _spread(
    facts: Facts,
    versions: Mapping[Partition, tuple[Version, ...]],
    named: Mapping[str, frozenset[Cause]],
    gone: Mapping[Partition, Collection[datetime]],
    reading: Reading,
) -> tuple[dict[str, frozenset[Cause]], dict[Try, frozenset[Cause]], dict[Try, frozenset[str]]]:
    """
    Follow the bad versions to who saw them and to what those wrote, until nothing new appears.

    Whoever has called data good as it stands has forgiven what was known then, and no cord that came later.
    """
    bad: dict[str, frozenset[Cause]] = defaultdict(frozenset, named)
    pulled = {Cause(h.cord, h.partition): h.pulled or h.opened for h in facts.halts}
    executions = sorted(facts.executions, key=lambda e: (e.started, e.attempt))
    written = [version for found in versions.values() for version in found if version.contributors]
    while True:
        seen, sights = _who_saw(facts, versions, bad, gone, executions, reading)
        grown = False
        for version in written:
            causes = frozenset().union(*(seen.get(c, frozenset()) for c in version.contributors))
            if version.id.startswith(AS_IT_STANDS):
                causes = frozenset(c for c in causes if c in pulled and pulled[c] > version.at)
            if version.id not in facts.cleared and causes - bad.get(version.id, frozenset()):
                bad[version.id] |= causes
                grown = True
        if not grown:
            return dict(bad), seen, sights


def named_versions(halt: Halt, versions: Iterable[Version]) -> list[Version]:
    """
    Return the versions that the cord names: those of its pull, and what was completed while it was open.

    ``fixed`` takes back the last of the latter, ``false_alarm`` everything.
    """
    if halt.outcome is Outcome.FALSE_ALARM:
        return []
    pulled = [v for v in versions if is_named_by_pull(v, halt)]
    since = [
        v
        for v in versions
        if v.complete
        and not is_named_by_pull(v, halt)
        and v.at > halt.opened
        and (halt.ended is None or v.at <= halt.ended)
        and not v.id.startswith(AS_IT_STANDS)
    ]
    if halt.outcome is Outcome.FIXED and since:
        since = since[:-1]
    return pulled + since


def _who_saw(
    facts: Facts,
    versions: Mapping[Partition, tuple[Version, ...]],
    bad: Mapping[str, frozenset[Cause]],
    gone: Mapping[Partition, Collection[datetime]],
    executions: Iterable[Execution],
    reading: Reading,
) -> tuple[dict[Try, frozenset[Cause]], dict[Try, frozenset[str]]]:
    bad_ones: dict[Partition, list[tuple[Version, datetime | None]]] = {}

    def bad_ones_of(partition: Partition) -> list[tuple[Version, datetime | None]]:
        if partition not in bad_ones:
            found = versions.get(partition, ())
            moments = gone.get(partition, ())
            bad_ones[partition] = [(v, _seen_until(v, found, moments)) for v in found if v.id in bad]
        return bad_ones[partition]

    withdrawn = {
        version.id: min(moment for moment in moments if moment >= version.at)
        for partition, moments in gone.items()
        for version in versions.get(partition, ())
        if any(moment >= version.at for moment in moments)
    }
    seen: dict[Try, frozenset[Cause]] = {}
    sights: dict[Try, frozenset[str]] = {}
    last_of: dict[Run, dict[Task, Execution]] = defaultdict(dict)
    for execution in executions:
        run = execution.task.run
        witnessed: frozenset[str] = frozenset()
        for partition in reading.of(run, execution.task.task_id):
            for version, until in bad_ones_of(partition):
                if _overlaps(execution, version, until, facts):
                    witnessed |= {version.id}
        facts_of_run = facts.runs.get(run)
        if facts_of_run is not None:
            before = _hands_on_to(execution.task.task_id, facts_of_run)
            handed_on = _handed_down(facts_of_run, executions, sights)
            if execution.task in last_of[run]:
                handed_on = _still_open(handed_on, bad, facts, execution.started)
            for task, earlier in last_of[run].items():
                if (
                    task.task_id in before
                    and earlier.ended is not None
                    and not (task in facts_of_run.marked and facts_of_run.marked[task] <= execution.started)
                ):
                    handed_on |= sights.get(earlier.attempt, frozenset())
            witnessed |= {v for v in handed_on if v not in withdrawn or execution.started < withdrawn[v]}
        if witnessed:
            sights[execution.attempt] = witnessed
            seen[execution.attempt] = frozenset().union(*(bad[v] for v in witnessed))
        last_of[run][execution.task] = execution
    return seen, sights


def _hands_on_to(task_id: str, run: RunFacts) -> frozenset[str]:
    """Return the tasks that the task goes on with: a teardown only ends what they have set up."""
    is_teardown = task_id in run.shape.teardowns
    return frozenset() if is_teardown else run.shape.upstream.get(task_id, frozenset())


def _handed_down(
    run: RunFacts, executions: Iterable[Execution], sights: Mapping[Try, frozenset[str]]
) -> frozenset[str]:
    """Return what the execution saw that triggered the run: the run goes on with what that one read."""
    if run.parent is None or run.created is None:
        return frozenset()
    triggering = [e for e in executions if e.task == run.parent and e.started <= run.created]
    return sights.get(triggering[-1].attempt, frozenset()) if triggering else frozenset()


def _still_open(
    versions: frozenset[str], bad: Mapping[str, frozenset[Cause]], facts: Facts, at: datetime
) -> frozenset[str]:
    """
    Return those of the versions that a cord was still open for.

    Once it has ended, to run again is all that a child can do whose triggering task does not: it is gone, or
    another run has done its work.
    """
    is_open = {Cause(h.cord, h.partition) for h in facts.halts if h.ended is None or h.ended > at}
    return frozenset(v for v in versions if bad[v] & is_open)


def _seen_until(
    version: Version, versions: Iterable[Version], withdrawn: Iterable[datetime]
) -> datetime | None:
    """A version can be seen until a later one is complete or the partition is withdrawn."""
    later = visible_until(version, versions)
    ends = [moment for moment in (later, *withdrawn) if moment is not None and moment >= version.at]
    return min(ends, default=None)


def _overlaps(execution: Execution, version: Version, until: datetime | None, facts: Facts) -> bool:
    doubt: timedelta = execution.doubt
    ended = execution.ended or facts.now
    if ended + doubt < version.began:
        return False
    return until is None or execution.started - doubt < until


def _bad_partitions(
    facts: Facts,
    versions: Mapping[Partition, tuple[Version, ...]],
    bad: Mapping[str, frozenset[Cause]],
    absent: Collection[Partition],
) -> dict[Partition, frozenset[Cause]]:
    found: dict[Partition, frozenset[Cause]] = {}
    for partition, of_partition in versions.items():
        last = current(of_partition)
        if last is not None and last.id in bad and partition not in absent:
            found[partition] = _joined(found.get(partition), bad[last.id])
        for version in partial_ones(of_partition):
            if version.id in bad and partition not in absent:
                found[partition] = _joined(found.get(partition), bad[version.id])
    for halt in facts.halts:
        if halt.severity is Severity.STOP and halt.outcome is None:
            cause = Cause(halt.cord, halt.partition)
            if cause not in found.get(halt.partition, ()):
                found[halt.partition] = _joined(found.get(halt.partition), frozenset((cause,)))
    return found


def ended_of_itself(execution: Execution) -> bool:
    """Tell whether nobody killed the execution."""
    return execution.ending in (Ending.SUCCESS, Ending.FAILED, Ending.SKIPPED)
