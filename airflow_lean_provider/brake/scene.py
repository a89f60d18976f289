"""Gathering the facts: everything that the open cords concern, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select

from airflow_lean_provider import settings
from airflow_lean_provider.airflow_internals import history, lineage
from airflow_lean_provider.airflow_internals import runs as dag_runs
from airflow_lean_provider.airflow_internals.dags import Dags, Inlet
from airflow_lean_provider.airflow_internals.holding import HELD_UNTIL
from airflow_lean_provider.airflow_internals.readers import Readers, all_read_by, readers_of
from airflow_lean_provider.airflow_internals.statements import among, that_fit
from airflow_lean_provider.rules.badness import Judgement, judge
from airflow_lean_provider.rules.facts import (
    Cause,
    DagShape,
    Ending,
    Execution,
    Facts,
    HalfWritten,
    Halt,
    Origin,
    Outcome,
    Partition,
    Publication,
    Run,
    RunFacts,
    Severity,
    Task,
    TaskState,
    Try,
)
from airflow_lean_provider.rules.versions import all_versions
from airflow_lean_provider.store.clock import now as the_time
from airflow_lean_provider.store.models import (
    AbsorbedEvent,
    AffectedRun,
    Approval,
    BadVersion,
    ClearedVersion,
    Cord,
    CordPartition,
    HaltedPartition,
    LetThrough,
    ParkedTask,
    StoppedTry,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.orm import Session

    from airflow_lean_provider.airflow_internals.runs import KnownRun
    from airflow_lean_provider.rules.versions import Version


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scene:
    """
    The facts, and where they came from.

    :param judgement: what the definitions make of the facts
    :param absorbed: the rows that say what was absorbed, by run
    :param halted: the rows of the cache of halts
    :param in_doubt: the inlets that say nothing of their keys, in runs whose own key was never published
    """

    facts: Facts
    judgement: Judgement
    dags: Dags
    known: dict[Run, KnownRun]
    affected: dict[Run, AffectedRun]
    parked: dict[Task, ParkedTask]
    reasons: dict[int, str]
    absorbed: dict[Run, list[int]]
    halted: dict[int, Partition]
    in_doubt: set[tuple[Run, Inlet]] = field(default_factory=set)


def halts_of(partitions: Iterable[CordPartition], cords: dict[int, Cord]) -> list[Halt]:
    """Return the halts that the rows describe."""
    return [
        Halt(
            cord=p.cord_id,
            partition=Partition(p.asset_id, p.partition_key),
            severity=Severity(cords[p.cord_id].severity),
            opened=p.opened_at,
            named=frozenset(p.named),
            outcome=Outcome(p.outcome) if p.outcome else None,
            ended=p.ended_at,
            pulled=cords[p.cord_id].pulled_at,
        )
        for p in partitions
    ]


def look(
    session: Session,
    *,
    also: Collection[Partition] = (),
    suppose: Callable[[Facts, Mapping[Partition, Sequence[Version]]], Collection[Halt]] | None = None,
) -> Scene:
    """
    Gather the facts of all open cords, however many hops away, in a number of statements that does not depend
    on how many Dags, runs or assets are not concerned.

    :param also: partitions to look at besides
    :param suppose: given the facts of these partitions, and their versions, returns the halts that a preview
        supposes on them
    """
    cords = {c.id: c for c in _fresh(session, Cord, Cord.closed_at.is_(None))}
    rows = _fresh(session, CordPartition, CordPartition.cord_id.in_(cords)) if cords else []
    halts = [*halts_of(rows, cords)]
    stopped = _fresh(session, StoppedTry)
    affected = {Run(a.dag_id, a.run_id): a for a in _fresh(session, AffectedRun)}
    parked = {Task(p.dag_id, p.run_id, p.task_id, p.map_index): p for p in _fresh(session, ParkedTask)}
    halted = {h.id: Partition(h.asset_id, h.partition_key) for h in _fresh(session, HaltedPartition)}
    given = _fresh(session, AbsorbedEvent)
    absorbed = _absorbed(given)
    survivors = {_try_of(s): s.gone_by for s in stopped}
    half_written = tuple(
        HalfWritten(_try_of(s), Partition(asset, key), s.started_at, s.stopped_at, frozenset(s.cords))
        for s in stopped
        for asset, key in s.outlets
    )

    kept = _fresh(session, BadVersion)
    kept_bad = {
        row.version: frozenset(Cause(cord, Partition(asset, key)) for cord, asset, key in row.causes)
        for row in kept
    }
    cleared = _fresh(session, ClearedVersion, ClearedVersion.outcome != Outcome.WITHDRAWN.value)
    dags = Dags(session)
    collected = _Collected(session, dags, {_try_of(s) for s in stopped}, set(parked), half_written)
    roots = {h.partition for h in halts}
    collected.add_runs(
        affected.keys()
        | {_try_of(s).task.run for s in stopped}
        | {t.run for t in parked}
        | absorbed.keys()
        | lineage.producing_runs(roots, session=session)
    )
    collected.add_partitions(
        {
            *also,
            *roots,
            *halted.values(),
            *(h.partition for h in half_written),
            *_known_to_concern(affected, collected, dags),
        }
    )
    collected.add_publications_of({h.attempt.task.run for h in half_written if h.partition.key is None})

    def gathered() -> Facts:
        return Facts(
            now=the_time(),
            halts=(*halts, *(h for h in collected.ended_before if h.outcome is Outcome.WITHDRAWN)),
            publications=tuple(collected.publications.values()),
            executions=tuple(collected.executions),
            half_written=half_written,
            runs={
                run: _run_facts(known, collected, dags, affected.get(run), absorbed.get(run, ()))
                for run, known in collected.known.items()
            },
            readers=_readers(collected, dags, affected),
            inlets={
                p: {run: frozenset(tasks) for run, tasks in by_run.items()}
                for p, by_run in collected.inlets.items()
            },
            cleared=frozenset(c.version for c in cleared if c.outcome == Outcome.FALSE_ALARM),
            went_with={p: frozenset(moments) for p, moments in collected.went_with.items()},
            repaired={c.version: c.cleared_at for c in cleared if c.outcome == Outcome.FIXED},
            let_through=_let_through(collected.known, session),
            approved=_approved(collected.known, session),
            survivors=survivors,
            asked=collected.asked,
            kept_bad=kept_bad,
            kept_began={row.version: row.began_at for row in kept if row.began_at is not None},
            fixed_before=tuple(h for h in collected.ended_before if h.outcome is Outcome.FIXED),
        )

    facts, versions = gathered(), None
    if suppose is not None:
        versions = all_versions(facts)
        supposed = suppose(facts, versions)
        halts += supposed
        if collected.add_runs(lineage.producing_runs(set(also), session=session)):
            facts, versions = gathered(), None
        else:
            facts = replace(facts, halts=(*facts.halts, *supposed))
            versions = None if any(halt.outcome for halt in supposed) else versions
    while True:
        judgement = judge(facts, versions)
        tainted = {t.task.run for t in judgement.seen}
        bereft = _that_read_what_was_withdrawn(facts, judgement)
        if not collected.follow(tainted, facts) and not collected.add_what_else_is_read(bereft):
            reasons = {c.id: c.reason for c in cords.values()}
            given_to: dict[Run, list[int]] = defaultdict(list)
            for row in given:
                given_to[Run(row.dag_id, row.run_id)].append(row.id)
            return Scene(
                facts,
                judgement,
                dags,
                collected.known,
                affected,
                parked,
                reasons,
                given_to,
                halted,
                collected.in_doubt,
            )
        facts, versions = gathered(), None


def _readers(
    collected: _Collected, dags: Dags, affected: Mapping[Run, AffectedRun]
) -> dict[Partition, frozenset[Run]]:
    """Airflow forgets what a Dag is scheduled on whose file is gone: its runs read what they read before."""
    found = {partition: frozenset(runs) for partition, runs in collected.readers.items()}
    gone = [known for run, known in collected.known.items() if known.dag_is_gone and run in affected]
    schedules = dags.schedules_as_serialized({known.run.dag_id for known in gone})
    for known in gone:
        saw = {Partition(asset, key) for asset, key in affected[known.run].saw}
        for schedule in schedules:
            for partition in saw if schedule.dag_id == known.run.dag_id else ():
                if partition.asset == schedule.asset and dags.is_read_as_a_whole(
                    schedule, partition.key, known.key
                ):
                    found[partition] = found.get(partition, frozenset()) | {known.run}
    return found


def _that_read_what_was_withdrawn(facts: Facts, judgement: Judgement) -> set[Run]:
    """Return the runs that may have nothing left to read, or had nothing for a while."""
    gone = judgement.presence.withdrawn.keys()
    return {run for run in facts.runs if any(read & gone for read in judgement.reading.of_run(run).values())}


def _known_to_concern(affected: dict[Run, AffectedRun], collected: _Collected, dags: Dags) -> set[Partition]:
    """What the last look found: to name it at once saves a round of statements for every hop."""
    found: set[Partition] = set()
    for run, row in affected.items():
        found |= {Partition(asset, key) for asset, key in row.saw}
        known = collected.known.get(run)
        if known is not None and {"tainted", "owes", "stopped"} & set(row.labels):
            for assets in dags.shape(run.dag_id).outlets.values():
                found |= {Partition(asset, known.key) for asset in assets}
    return found


def _fresh(session: Session, model: type[T], *conditions: Any) -> list[T]:
    """Read rows of ours anew: a scheduler may have written them since this session read them."""
    return list(session.scalars(select(model).where(*conditions).execution_options(populate_existing=True)))


class _Collected:
    """What was gathered so far; every method adds what is missing and says whether anything was."""

    def __init__(
        self,
        session: Session,
        dags: Dags,
        stopped: Collection[Try],
        parked: Collection[Task],
        half_written: Collection[HalfWritten],
    ) -> None:
        self._session = session
        self._dags = dags
        self._stopped = stopped
        self._parked = parked
        self._half_written = half_written
        self._partitions: set[Partition] = set()
        self._followed: set[Run] = set()
        self._asked_runs: set[Run] = set()
        self._known_in_full: set[Run] = set()
        self.publications: dict[int, Publication] = {}
        self.ended_before: list[Halt] = []
        self.went_with: dict[Partition, set[datetime]] = defaultdict(set)
        self.readers: dict[Partition, set[Run]] = defaultdict(set)
        self.known: dict[Run, KnownRun] = {}
        self.consumed: dict[Run, set[Partition]] = defaultdict(set)
        self.states: dict[Run, dict[Task, TaskState]] = {}
        self.executions: list[Execution] = []
        self.asked: dict[Task, list[datetime]] = {}
        self.marks: dict[Task | Run, datetime] = {}
        self.dag_versions: dict[Run, set[UUID]] = {}
        self.parents: dict[Run, Task] = {}
        self.inlets: dict[Partition, dict[Run, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.in_doubt: set[tuple[Run, Inlet]] = set()

    def add_partitions(self, partitions: Collection[Partition]) -> bool:
        new = set(partitions) - self._partitions
        if not new:
            return False
        self._partitions |= new
        found = lineage.publications_of(new, session=self._session)
        kept = _kept_publications(new, {p.id for p in found}, self._session)
        self.publications |= {p.id: p for p in [*kept, *found]}
        self.ended_before += _ended_before(new, (Outcome.WITHDRAWN, Outcome.FIXED), self._session)
        for partition, moment in _went_with(new, self._session):
            self.went_with[partition].add(moment)
        began = [p.at for p in [*kept, *found]] + [h.began for h in self._half_written if h.partition in new]
        readers = readers_of(new, found, min(began, default=None), self._dags, session=self._session)
        self._note(readers)
        self.in_doubt |= readers.in_doubt
        self.add_runs(
            {r for p in new for r in (*self.readers.get(p, ()), *self.inlets.get(p, ()))}
            | {p.task.run for p in found if p.task is not None}
        )
        return True

    def add_runs(self, runs: Collection[Run]) -> bool:
        new = set(runs) - self._asked_runs
        if not new:
            return False
        self._asked_runs |= new
        known = dag_runs.known_runs(new, session=self._session)
        self.known |= known
        self._dags.load({run.dag_id for run in known})
        self.consumed |= dag_runs.consumed_by(list(known.values()), session=self._session)
        past = history.history_of(
            known,
            stopped=self._stopped,
            parked=self._parked,
            skew=timedelta(seconds=settings.clock_skew()),
            session=self._session,
        )
        self.states |= past.states
        self.executions += past.executions
        self.asked |= past.asked
        self.marks |= past.marks
        self.dag_versions |= past.dag_versions
        parents = dag_runs.parents_of(known, session=self._session)
        self.parents |= parents
        self.add_runs(
            {task.run for task in parents.values()} | dag_runs.children_of(known, session=self._session)
        )
        return True

    def _note(self, readers: Readers) -> None:
        for partition, runs in readers.whole.items():
            self.readers[partition] |= runs
        for partition, by_run in readers.inlets.items():
            for run, tasks in by_run.items():
                self.inlets[partition][run] |= tasks

    def add_what_else_is_read(self, runs: Collection[Run]) -> bool:
        """Add all that these runs read, and those that triggered them, in question or not."""
        new: set[Run] = set()
        waiting = set(runs) & self.known.keys()
        while waiting:
            new |= waiting
            parents = {self.parents[run].run for run in waiting if run in self.parents}
            waiting = (parents & self.known.keys()) - new
        new -= self._known_in_full
        self._known_in_full |= new
        if new:
            known = [self.known[run] for run in sorted(new)]
            readers = all_read_by(known, self._dags, session=self._session)
            self._note(readers)
            read = readers.whole.keys() | readers.inlets.keys()
            withdrawn = _ended_before(read, (Outcome.WITHDRAWN,), self._session)
            self.add_partitions({halt.partition for halt in withdrawn})
        return bool(new)

    def add_publications_of(self, runs: Collection[Run]) -> None:
        """Add what the runs published, under whatever key."""
        assets = {a for run in runs for found in self._dags.shape(run.dag_id).outlets.values() for a in found}
        for publication in lineage.publications_by(runs, assets, None, session=self._session):
            self.publications[publication.id] = publication

    def follow(self, tainted: Collection[Run], facts: Facts) -> bool:
        """Go one hop on: what the tainted runs published, who reads it, and who else published it."""
        new = {run for run in tainted if run in self.known} - self._followed
        self._followed |= new
        partitions: set[Partition] = set()
        assets: set[int] = set()
        for run in new:
            known = facts.runs[run]
            for task_id in known.shape.outlets:
                partitions |= known.outlets(task_id)
            assets |= known.shape.may_publish
        assets |= self._once_published(new)
        since = min((self.known[run].created_at for run in new), default=None)
        for publication in lineage.publications_by(new, assets, since, session=self._session):
            self.publications[publication.id] = publication
            partitions.add(publication.partition)
        return self.add_partitions(partitions)

    def _once_published(self, runs: Collection[Run]) -> frozenset[int]:
        """Return what these runs may have published that their Dags do not any more, or are gone with."""
        versions: dict[str, set[UUID]] = defaultdict(set)
        for run in runs:
            versions[run.dag_id] |= self.dag_versions.get(run, set())
        gone = {run.dag_id for run in runs if self.known[run].dag_is_gone}
        return self._dags.assets_once_published(versions, gone)


def _ended_before(
    partitions: Collection[Partition], outcomes: Collection[Outcome], session: Session
) -> list[Halt]:
    """What was withdrawn stays absent when its cord is closed, what was called fixed as it stands stays."""
    rows: list[CordPartition] = []
    keys = {p.key for p in partitions if p.key is not None}
    assets = {p.asset for p in partitions}
    fitting = that_fit(keys, CordPartition.partition_key, session=session)
    for has_key in among(CordPartition.partition_key, fitting, session=session):
        rows += _of_closed_cords(assets, outcomes, has_key, session)
    if any(p.key is None for p in partitions):
        rows += _of_closed_cords(assets, outcomes, CordPartition.partition_key.is_(None), session)
    cords = {c.id: c for c in session.scalars(select(Cord).where(Cord.id.in_({r.cord_id for r in rows})))}
    return [halt for halt in halts_of(rows, cords) if halt.partition in partitions]


def _went_with(partitions: Collection[Partition], session: Session) -> list[tuple[Partition, datetime]]:
    """What went with what it was made from stays absent when that is published again."""
    rows = session.execute(
        select(ClearedVersion.asset_id, ClearedVersion.partition_key, ClearedVersion.cleared_at).where(
            ClearedVersion.outcome == Outcome.WITHDRAWN.value,
            ClearedVersion.asset_id.in_({p.asset for p in partitions}),
        )
    )
    found = [(Partition(asset, key), moment) for asset, key, moment in rows]
    return [(partition, moment) for partition, moment in found if partition in partitions]


def _of_closed_cords(
    assets: Collection[int], outcomes: Collection[Outcome], of_keys: Any, session: Session
) -> Iterable[CordPartition]:
    return session.scalars(
        select(CordPartition)
        .join(Cord, Cord.id == CordPartition.cord_id)
        .where(
            CordPartition.outcome.in_([outcome.value for outcome in outcomes]),
            CordPartition.asset_id.in_(assets),
            of_keys,
            Cord.closed_at.is_not(None),
        )
    )


def _kept_publications(
    partitions: Collection[Partition], live: Collection[int], session: Session
) -> list[Publication]:
    """What we kept of bad versions whose event ``airflow db clean`` has taken away."""
    rows = session.scalars(
        select(BadVersion).where(
            BadVersion.asset_id.in_({p.asset for p in partitions}), BadVersion.event_id.is_not(None)
        )
    )
    return [
        Publication(
            row.event_id,
            Partition(row.asset_id, row.partition_key),
            row.published_at,
            Task(row.dag_id, row.run_id, row.task_id, -1 if row.map_index is None else row.map_index)
            if row.dag_id and row.run_id and row.task_id
            else None,
        )
        for row in rows
        if row.event_id is not None
        and row.event_id not in live
        and Partition(row.asset_id, row.partition_key) in partitions
    ]


def _absorbed(given: list[AbsorbedEvent]) -> dict[Run, tuple[datetime, ...]]:
    found: dict[Run, list[datetime]] = defaultdict(list)
    for row in given:
        found[Run(row.dag_id, row.run_id)].append(row.published_at)
    return {run: tuple(times) for run, times in found.items()}


def _try_of(row: StoppedTry) -> Try:
    return Try(Task(row.dag_id, row.run_id, row.task_id, row.map_index), row.try_number)


def _run_facts(
    known: KnownRun,
    collected: _Collected,
    dags: Dags,
    affected: AffectedRun | None,
    absorbed: tuple[datetime, ...],
) -> RunFacts:
    states = collected.states.get(known.run, {})
    shape = dags.shape(known.run.dag_id)
    return RunFacts(
        run=known.run,
        key=known.key,
        origin=known.origin,
        order=known.id,
        shape=shape,
        tasks=states,
        over=known.over,
        held=bool(affected and affected.held and known.run_after == HELD_UNTIL),
        pays_alone=known.has_conf or known.origin is Origin.SCHEDULE,
        consumed=frozenset(collected.consumed.get(known.run, ()))
        | {Partition(asset, key) for asset, key in (affected.consumed if affected else ())},
        absorbed=absorbed,
        partitioned=known.key is not None,
        awaited=affected.waits_since if affected else None,
        parent=collected.parents.get(known.run),
        created=known.created_at,
        marked=_marked(states, shape, collected),
        paid=_paid_by_the_gone(affected, collected.known) if affected else frozenset(),
    )


def _paid_by_the_gone(row: AffectedRun, known: Mapping[Run, KnownRun]) -> frozenset[Execution]:
    """Return what is kept of what runs of its key have paid that somebody has deleted since."""
    found = set()
    for run_id, task_id, map_index, started in row.paid:
        run, moment = Run(row.dag_id, run_id), datetime.fromisoformat(started)
        if run not in known or known[run].created_at > moment:
            found.add(Execution(Try(Task(*run, task_id, map_index), 0), moment, moment, Ending.SUCCESS))
    return frozenset(found)


def _marked(states: Mapping[Task, TaskState], shape: DagShape, collected: _Collected) -> dict[Task, datetime]:
    """
    Return what a person has marked, or the run of which, and nobody has asked for another try since.

    What follows a task that is marked as failed or skipped is marked likewise, unless it has run since: it
    would not run if it were cleared.
    """
    found: dict[Task, datetime] = {}
    for task in states:
        moments = [m for m in (collected.marks.get(task), collected.marks.get(task.run)) if m is not None]
        if moments and max(moments) > max(collected.asked.get(task, ()), default=max(moments)):
            found[task] = max(moments)
    ended = [t for t in found if states[t] in (TaskState.FAILED, TaskState.SKIPPED)]
    last: dict[Task, datetime] = {}
    for execution in collected.executions if ended else ():
        last[execution.task] = max(execution.started, last.get(execution.task, execution.started))
    for marked in ended:
        following = shape.downstream(marked.task_id)
        for task, state in states.items():
            has_run_since = task in last and last[task] > found[marked]
            if task.task_id in following and state.finished and not has_run_since:
                found.setdefault(task, found[marked])
    return found


def _let_through(known: Mapping[Run, KnownRun], session: Session) -> dict[Run, frozenset[Cause]]:
    """Return what each run was let through for: not a former one of its name."""
    found: dict[Run, frozenset[Cause]] = defaultdict(frozenset)
    for row in _fresh(session, LetThrough):
        run = Run(row.dag_id, row.run_id)
        if run in known and row.let_at >= known[run].created_at:
            found[run] |= {Cause(cord, Partition(asset, key)) for cord, asset, key in row.causes}
    return dict(found)


def _approved(known: Mapping[Run, KnownRun], session: Session) -> dict[Run, datetime]:
    found: dict[Run, datetime] = {}
    for row in _fresh(session, Approval):
        run = Run(row.dag_id, row.run_id)
        if run in known and row.approved_at >= known[run].created_at:
            found[run] = row.approved_at
    return found
