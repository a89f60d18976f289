"""What was published: the versions of each partition, in the order in which they became current."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_lean_provider.rules.facts import (
    Ending,
    Execution,
    Facts,
    HalfWritten,
    Halt,
    Outcome,
    Partition,
    Publication,
    Run,
    RunFacts,
    Task,
    TaskState,
    Try,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Version:
    """
    One publication of a partition.

    :param at: when it was complete or, if it is half-written, when its writer was killed
    :param run: None if no run wrote it
    :param contributors: the successful tries that wrote it
    :param parts: the ids of what could be seen of it before it was complete; of none that was written anew
    """

    id: str
    partition: Partition
    began: datetime
    at: datetime
    complete: bool = True
    run: Run | None = None
    contributors: frozenset[Try] = frozenset()
    parts: frozenset[str] = frozenset()

    @property
    def partial(self) -> bool:
        """Some of the task instances that publish it have, others have still to: it can be seen already."""
        return not self.complete and bool(self.contributors)


AS_IT_STANDS = "release:"
"""How the id of a version begins that nobody published: the data as it stood when it was called fixed."""


def version_of_event(event_id: int) -> str:
    """Return the id of the version that the asset event completed."""
    return f"event:{event_id}"


def events_of(versions: Iterable[str]) -> set[int]:
    """Return the asset events that completed those of the versions that one did."""
    kinds = (version.partition(":") for version in versions)
    return {int(number) for kind, _, number in kinds if kind in ("event", "part")}


def _version_of_part(publication: Publication) -> str:
    return f"part:{publication.id}"


def _version_of_half(half: HalfWritten) -> str:
    task = "/".join(map(str, half.attempt.task))
    return f"half:{half.partition.asset}:{half.partition.key}:{task}/{half.attempt.number}"


def all_versions(facts: Facts) -> dict[Partition, tuple[Version, ...]]:
    """Return each partition's versions, oldest first."""
    executions: dict[Task, list[Execution]] = defaultdict(list)
    for execution in sorted(facts.executions, key=lambda e: (e.started, e.attempt)):
        executions[execution.task].append(execution)
    found: dict[Partition, list[Version]] = defaultdict(list)
    of_runs: dict[tuple[Run, Partition], list[Publication]] = defaultdict(list)
    for publication in sorted(facts.publications, key=lambda p: (p.at, p.id)):
        if publication.task is None:
            found[publication.partition].append(
                Version(
                    version_of_event(publication.id),
                    publication.partition,
                    began=publication.at,
                    at=publication.at,
                )
            )
        else:
            of_runs[publication.task.run, publication.partition].append(publication)
    for (run, partition), publications in of_runs.items():
        found[partition].extend(
            _versions_of_run(
                run,
                partition,
                publications,
                facts.runs.get(run),
                executions,
                facts.asked,
                facts.kept_began if run not in facts.runs else {},
            )
        )
    for half in facts.half_written:
        found[half.partition].append(
            Version(
                _version_of_half(half),
                half.partition,
                began=half.began,
                at=half.at,
                complete=False,
                run=half.attempt.task.run,
            )
        )
        found[half.partition].extend(_written_under_other_keys(half, facts))
    for version_id, at in facts.repaired.items():
        for partition, versions in found.items():
            if any(v.id == version_id for v in versions):
                versions.append(_standing(version_id, partition, at, versions))
    for halt in sorted((*facts.halts, *facts.fixed_before), key=lambda h: (h.ended or facts.now, h.cord)):
        if halt.outcome is Outcome.FIXED and halt.ended is not None:
            found[halt.partition].extend(_as_it_stands(halt, halt.ended, found[halt.partition]))
    return {
        partition: tuple(sorted(versions, key=lambda v: (v.at, v.id)))
        for partition, versions in found.items()
    }


def current(versions: Sequence[Version]) -> Version | None:
    """Return the last complete version or, if it is newer, the half-written one."""
    return next((v for v in reversed(versions) if not v.partial), None)


def is_named_by_pull(version: Version, halt: Halt) -> bool:
    """Tell whether the pull named it, or what could be seen of it then if it was whole by the cord's end."""
    was_open = halt.ended is None or version.at <= halt.ended
    return version.id in halt.named or (was_open and not version.parts.isdisjoint(halt.named))


def partial_ones(versions: Sequence[Version]) -> list[Version]:
    """Return the versions that can be seen although not all of their task instances have published yet."""
    return [v for v in versions if v.partial and visible_until(v, versions) is None]


def visible_until(version: Version, versions: Iterable[Version]) -> datetime | None:
    """Return when a later version was complete, None while there is none."""
    return min((other.at for other in versions if other.complete and other.at > version.at), default=None)


def _written_under_other_keys(half: HalfWritten, facts: Facts) -> list[Version]:
    """
    Return the end of a half-written asset as a whole whose writer chooses its keys only at run time.

    Which partitions it had begun is not known; they are whole again once it has published, under any key.
    """
    if half.partition.key is not None:
        return []
    return [
        Version(f"{AS_IT_STANDS}{p.id}", half.partition, began=p.at, at=p.at, run=half.attempt.task.run)
        for p in facts.publications
        if p.task == half.attempt.task
        and p.partition.asset == half.partition.asset
        and p.partition.key is not None
        and p.at > half.at
    ][:1]


def _as_it_stands(halt: Halt, ended: datetime, versions: Sequence[Version]) -> list[Version]:
    """Nothing is newer than what the pull named, yet a person says that it is fixed: they did so in place."""
    named = max((v.at for v in versions if is_named_by_pull(v, halt)), default=halt.opened)
    if any(v.complete and named < v.at <= ended for v in versions):
        return []
    partition = halt.partition
    return [_standing(f"{halt.cord}:{partition.asset}:{partition.key}", partition, ended, versions)]


def _standing(name: str, partition: Partition, at: datetime, versions: Sequence[Version]) -> Version:
    """Return the data as it stands as a version: written by whoever has written the last one."""
    last = max((v for v in versions if v.complete and v.at <= at), key=lambda v: v.at, default=None)
    contributors = last.contributors if last is not None else frozenset()
    return Version(f"{AS_IT_STANDS}{name}", partition, began=at, at=at, contributors=contributors)


def _versions_of_run(
    run: Run,
    partition: Partition,
    publications: Sequence[Publication],
    facts: RunFacts | None,
    executions: Mapping[Task, Sequence[Execution]],
    asked: Mapping[Task, Sequence[datetime]],
    kept_began: Mapping[str, datetime],
) -> list[Version]:
    """
    A version is complete when every task instance that publishes the partition has ended well.

    One that is gone since has its part in the version that it wrote, and in no later one.

    :param kept_began: when versions began, if nobody else can tell any more
    """
    emitters = {p.task for p in publications if p.task is not None}
    states = facts.tasks if facts else {}
    declared = {t for t in states if facts and partition in facts.outlets(t.task_id)}
    gone = {t for t in emitters if states.get(t) is TaskState.REMOVED}
    producers = {t for t in emitters | declared if states.get(t) is not TaskState.REMOVED}
    published_at: dict[Task, list[datetime]] = defaultdict(list)
    for publication in publications:
        if publication.task is not None:
            published_at[publication.task].append(publication.at)
    versions: list[Version] = []
    included: frozenset[Try] = frozenset()
    for at, publication in _moments(publications, producers, published_at, executions):
        emitter = publication.task and _last_started(executions.get(publication.task, ()), publication.at)
        if emitter is not None and emitter.attempt in included:
            continue
        members = [
            _member(t, at, states, published_at.get(t, ()), executions.get(t, ()), included, asked.get(t, ()))
            for t in producers
        ]
        members += [
            (True, last)
            for last in (_last_started(executions.get(t, ()), at) for t in gone)
            if last is not None and last.ending is Ending.SUCCESS and last.attempt not in included
        ]
        if not all(whole for whole, _ in members):
            continue
        contributors = [e for _, e in members if e is not None]
        starts = [e.started for e in contributors if e.attempt not in included]
        included = frozenset(e.attempt for e in contributors)
        versions.append(
            Version(
                version_of_event(publication.id),
                partition,
                began=min(starts, default=kept_began.get(version_of_event(publication.id), publication.at)),
                at=at,
                run=run,
                contributors=included,
                parts=_parts(publications, executions, versions[-1].at if versions else None, at, included),
            )
        )
    return versions + _partial_versions(run, partition, publications, executions, versions)


def _parts(
    publications: Sequence[Publication],
    executions: Mapping[Task, Sequence[Execution]],
    after: datetime | None,
    until: datetime,
    included: frozenset[Try],
) -> frozenset[str]:
    """Return what could be seen of a version before it was complete; nothing if some was written anew."""
    found = [p for p in publications if (after is None or after < p.at) and p.at <= until]
    emitters = [p.task and _last_started(executions.get(p.task, ()), p.at) for p in found]
    if any(e is None or e.attempt not in included for e in emitters):
        return frozenset()
    return frozenset(map(_version_of_part, found))


def _partial_versions(
    run: Run,
    partition: Partition,
    publications: Sequence[Publication],
    executions: Mapping[Task, Sequence[Execution]],
    complete: Sequence[Version],
) -> list[Version]:
    """Return what was published by tries that are in no complete version, or are not yet."""
    included = frozenset().union(*(v.contributors for v in complete))
    found: dict[Try, Version] = {}
    for publication in publications:
        emitter = publication.task and _last_started(executions.get(publication.task, ()), publication.at)
        if emitter is None or emitter.attempt in included:
            continue
        found[emitter.attempt] = Version(
            _version_of_part(publication),
            partition,
            began=emitter.started,
            at=publication.at,
            complete=False,
            run=run,
            contributors=frozenset({emitter.attempt}),
        )
    return list(found.values())


def _moments(
    publications: Sequence[Publication],
    producers: Iterable[Task],
    published_at: Mapping[Task, Sequence[datetime]],
    executions: Mapping[Task, Sequence[Execution]],
) -> list[tuple[datetime, Publication]]:
    """When a version may be complete: at each event, or when a task ended without one after the last."""
    silent = {
        e.ended
        for t in producers
        for e in executions.get(t, ())
        if e.ended is not None
        and e.ending in (Ending.SUCCESS, Ending.SKIPPED)
        and not any(e.started <= moment <= e.ended for moment in published_at.get(t, ()))
    }
    found = [(p.at, p) for p in publications]
    found += [(m, [p for p in publications if p.at <= m][-1]) for m in silent if m >= publications[0].at]
    return sorted(found, key=lambda f: (f[0], f[1].at, f[1].id))


def _member(
    task: Task,
    at: datetime,
    states: Mapping[Task, TaskState],
    published_at: Sequence[datetime],
    executions: Sequence[Execution],
    included: frozenset[Try],
    asked: Sequence[datetime],
) -> tuple[bool, Execution | None]:
    """Tell whether the task instance had ended well at that moment, and with which execution."""
    last = _last_started(executions, at)
    if last is None:
        published = not executions and any(moment <= at for moment in published_at)
        return published or not states or states.get(task) is TaskState.SKIPPED, None
    if asked:
        if any(last.started < moment <= at for moment in asked):
            return False, None
    elif last.attempt in included and _asked_again(last, states.get(task), executions):
        return False, None
    if last.ending is Ending.SKIPPED:
        earlier = [e for e in executions if e.started <= at and e.ending is Ending.SUCCESS]
        return _done_by(last, at, ()), earlier[-1] if earlier else None
    return _done_by(last, at, published_at) and last.ending is Ending.SUCCESS, last


def _last_started(executions: Sequence[Execution], at: datetime) -> Execution | None:
    started = [e for e in executions if e.started <= at]
    return started[-1] if started else None


def _done_by(execution: Execution, at: datetime, published_at: Sequence[datetime]) -> bool:
    """An event is stamped a moment before the end of the try that emitted it is."""
    if execution.ended is not None and execution.ended <= at:
        return True
    return any(execution.started <= moment <= at for moment in published_at)


def _asked_again(last: Execution, state: TaskState | None, executions: Sequence[Execution]) -> bool:
    """As far as its state tells: the task instance is to run again, and has not done so since ``last``."""
    return state is not None and not state.finished and executions[-1] is last
