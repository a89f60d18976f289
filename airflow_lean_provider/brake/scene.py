"""Gathering the facts: everything that the open cords concern, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select

from airflow_lean_provider import settings
from airflow_lean_provider.airflow_internals import lineage
from airflow_lean_provider.airflow_internals.dags import Dags, Schedule, schedules_of
from airflow_lean_provider.airflow_internals.holding import HELD_UNTIL
from airflow_lean_provider.rules.badness import judge
from airflow_lean_provider.rules.facts import (
    Cause,
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
from airflow_lean_provider.store.clock import now as the_time
from airflow_lean_provider.store.models import (
    AbsorbedEvent,
    AffectedRun,
    BadVersion,
    Cord,
    CordPartition,
    HaltedPartition,
    ParkedTask,
    StoppedTry,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.orm import Session

    from airflow_lean_provider.airflow_internals.lineage import KnownRun


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scene:
    """The facts, and where they came from."""

    facts: Facts
    dags: Dags
    known: dict[Run, KnownRun]
    affected: dict[Run, AffectedRun]
    parked: dict[Task, ParkedTask]
    reasons: dict[int, str]
    absorbed: list[int]


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
        )
        for p in partitions
    ]


def look(
    session: Session,
    *,
    also: Collection[Partition] = (),
    supposed: Collection[Halt] = (),
) -> Scene:
    """
    Gather the facts of all open cords, however many hops away, in a number of statements that does not depend
    on how many Dags, runs or assets are not concerned.

    :param also: partitions to look at besides
    :param supposed: halts that a preview supposes
    """
    cords = {c.id: c for c in _fresh(session, Cord, Cord.closed_at.is_(None))}
    rows = _fresh(session, CordPartition, CordPartition.cord_id.in_(cords)) if cords else []
    halts = [*halts_of(rows, cords), *supposed]
    stopped = _fresh(session, StoppedTry)
    affected = {Run(a.dag_id, a.run_id): a for a in _fresh(session, AffectedRun)}
    parked = {Task(p.dag_id, p.run_id, p.task_id, p.map_index): p for p in _fresh(session, ParkedTask)}
    halted = [Partition(h.asset_id, h.partition_key) for h in _fresh(session, HaltedPartition)]
    given = _fresh(session, AbsorbedEvent)
    absorbed = _absorbed(given)
    survivors = {_try_of(s): s.gone_by for s in stopped}
    half_written = tuple(
        HalfWritten(_try_of(s), Partition(asset, key), s.started_at, s.stopped_at, frozenset(s.cords))
        for s in stopped
        for asset, key in s.outlets
    )

    kept_bad = {
        row.version: frozenset(Cause(cord, Partition(asset, key)) for cord, asset, key in row.causes)
        for row in _fresh(session, BadVersion)
    }
    dags = Dags(session)
    collected = _Collected(session, dags, {_try_of(s) for s in stopped}, set(parked))
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
            *halted,
            *(h.partition for h in half_written),
            *_known_to_concern(affected, collected, dags),
        }
    )
    while True:
        facts = Facts(
            now=the_time(),
            halts=tuple(halts),
            publications=tuple(collected.publications.values()),
            executions=tuple(collected.executions),
            half_written=half_written,
            runs={
                run: _run_facts(known, collected, dags, affected.get(run), absorbed.get(run, ()))
                for run, known in collected.known.items()
            },
            readers={p: frozenset(r) for p, r in collected.readers.items()},
            survivors=survivors,
            asked=collected.asked,
            kept_bad=kept_bad,
        )
        judgement = judge(facts)
        tainted = {t.task.run for t in judgement.seen}
        if not collected.follow(tainted, facts):
            reasons = {c.id: c.reason for c in cords.values()}
            seen = [row.id for row in given]
            return Scene(facts, dags, collected.known, affected, parked, reasons, seen)


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
        self, session: Session, dags: Dags, stopped: Collection[Try], parked: Collection[Task]
    ) -> None:
        self._session = session
        self._dags = dags
        self._stopped = stopped
        self._parked = parked
        self._partitions: set[Partition] = set()
        self._followed: set[Run] = set()
        self._asked_runs: set[Run] = set()
        self.publications: dict[int, Publication] = {}
        self.readers: dict[Partition, set[Run]] = defaultdict(set)
        self.known: dict[Run, KnownRun] = {}
        self.consumed: dict[Run, set[Partition]] = defaultdict(set)
        self.states: dict[Run, dict[Task, TaskState]] = {}
        self.executions: list[Execution] = []
        self.asked: dict[Task, list[datetime]] = {}

    def add_partitions(self, partitions: Collection[Partition]) -> bool:
        new = set(partitions) - self._partitions
        if not new:
            return False
        self._partitions |= new
        found = lineage.publications_of(new, session=self._session)
        kept = _kept_publications(new, {p.id for p in found}, self._session)
        self.publications |= {p.id: p for p in [*kept, *found]}
        for partition, runs in lineage.readers_of(new, found, self._dags, session=self._session).items():
            self.readers[partition] |= runs
        self.add_runs(
            {r for p in new for r in self.readers.get(p, ())}
            | {p.task.run for p in found if p.task is not None}
        )
        return True

    def add_runs(self, runs: Collection[Run]) -> bool:
        new = set(runs) - self._asked_runs
        if not new:
            return False
        self._asked_runs |= new
        known = lineage.known_runs(new, session=self._session)
        self.known |= known
        self._dags.load({run.dag_id for run in known})
        self.consumed |= lineage.consumed_by(list(known.values()), session=self._session)
        self._suppose_consumed(
            [k for k in known.values() if not self.consumed.get(k.run) and k.key is not None]
        )
        history = lineage.history_of(
            known,
            stopped=self._stopped,
            parked=self._parked,
            skew=timedelta(seconds=settings.clock_skew()),
            session=self._session,
        )
        self.states |= history.states
        self.executions += history.executions
        self.asked |= history.asked
        return True

    def _suppose_consumed(self, eventless: Collection[KnownRun]) -> None:
        """A run that no event made reads what its Dag's mappers say."""
        schedules: dict[str, list[Schedule]] = defaultdict(list)
        for schedule in schedules_of({k.run.dag_id for k in eventless}, session=self._session):
            schedules[schedule.dag_id].append(schedule)
        for known in eventless:
            if known.key is not None:
                self.consumed[known.run] |= self._dags.source_partitions(
                    schedules[known.run.dag_id], known.key
                )

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
                assets |= known.shape.outlets[task_id]
        since = min((self.known[run].created_at for run in new), default=None)
        for publication in lineage.publications_by(new, assets, since, session=self._session):
            self.publications[publication.id] = publication
            partitions.add(publication.partition)
        return self.add_partitions(partitions)


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
        found[Run(row.dag_id, row.run_id)].append(row.absorbed_at)
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
    return RunFacts(
        run=known.run,
        key=known.key,
        origin=known.origin,
        order=known.id,
        shape=dags.shape(known.run.dag_id),
        tasks=collected.states.get(known.run, {}),
        over=known.over,
        held=bool(affected and affected.held and known.run_after == HELD_UNTIL),
        pays_alone=known.has_conf or known.origin is Origin.SCHEDULE,
        consumed=frozenset(collected.consumed.get(known.run, ()))
        | {Partition(asset, key) for asset, key in (affected.consumed if affected else ())},
        absorbed=absorbed,
        partitioned=known.key is not None,
        awaited=affected.waits_since if affected else None,
    )
