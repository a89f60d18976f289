"""
What a start has to be asked: does the task read a partition that is halted at this moment?

The scheduler holds the row lock of the run while it asks, and a pull commits its halts before it looks for
readers and waits for that lock: a start that did not see the halt is seen by the pull.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, select

from airflow_lean_provider.airflow_internals.dags import Dags, Schedule, schedules_of
from airflow_lean_provider.airflow_internals.readers import keys_of_inlet, published_among
from airflow_lean_provider.airflow_internals.runs import KnownRun, known_runs, parents_of
from airflow_lean_provider.airflow_internals.starts import (
    halted_and_consumed,
    halted_and_emitted,
    serves_a_killed_task,
)
from airflow_lean_provider.rules.facts import Facts, Partition, Publication, Run, RunFacts, Task
from airflow_lean_provider.rules.plan import holds_as_a_whole
from airflow_lean_provider.rules.reading import Reading
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import Base, HaltedPartition, LetThrough, StoppedTry, Switch
from airflow_lean_provider.store.transactions import is_lost

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from airflow.models.dagrun import DagRun
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_CACHE = "andon_starts"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What may not start in a run.

    :param forbidden: by task id, the halted partitions that it reads
    :param whole: every task, teardowns aside, is forbidden, and the run may be held as a whole
    :param alive: by task and map index, until when a process of it that the brake stopped may live
    :param tasks: the tasks that the Dag has now; any other reads as the run does
    """

    forbidden: Mapping[str, frozenset[Partition]]
    whole: bool = False
    causes: tuple[tuple[Any, ...], ...] = ()
    alive: Mapping[tuple[str, int], datetime] = field(default_factory=dict)
    teardowns: frozenset[str] = frozenset()
    unknown_task: frozenset[Partition] = frozenset()
    tasks: frozenset[str] = frozenset()
    causes_of: Mapping[Partition, Collection[tuple[Any, ...]]] = field(default_factory=dict)

    @property
    def partitions(self) -> frozenset[Partition]:
        """All halted partitions that tasks of the run read."""
        return frozenset().union(*self.forbidden.values())

    @property
    def free(self) -> frozenset[str]:
        """The tasks that may start."""
        return self.tasks - self.forbidden.keys()

    def halted_for(self, task_id: str) -> frozenset[Partition]:
        """Return the halted partitions that the task reads."""
        if task_id in self.tasks:
            return self.forbidden.get(task_id, frozenset())
        return self.unknown_task

    def cords_for(self, task_id: str) -> list[int]:
        """Return the cords that halted what the task reads."""
        return cords_among(c for p in self.halted_for(task_id) for c in self.causes_of[p])


def cords_among(causes: Iterable[tuple[Any, ...]]) -> list[int]:
    """Return the cords that the causes name; what was half-written by a stopped task names none."""
    return sorted({c[0] for c in causes if c[0]})


FREE = Verdict({})


class StartNotJudged(RuntimeError):
    """A start could not be judged because of an error of ours; it is not let through."""


def judge_start(dag_run: DagRun, *, session: Session) -> Verdict:
    """
    Apply D3 to the tasks of a run, as far as the table of halted partitions goes.

    Asked once per run and transaction; one statement answers while nothing is halted.

    :raises StartNotJudged: on any error; the transaction of the caller can go on
    """
    kept = _kept(session)
    if kept.get("halted") is False:
        return FREE
    key = (dag_run.dag_id, dag_run.run_id)
    if key in kept:
        return kept[key]
    try:
        connection = session.connection()
        with connection.begin_nested():
            if "halted" not in kept:
                kept["halted"] = _anything_halted(connection)
            if not kept["halted"]:
                return FREE
            if "reads" not in kept:
                kept["reads"] = _HaltedReads(connection, session)
            verdict = _judge(Run(dag_run.dag_id, dag_run.run_id), kept["reads"])
    except Exception as error:  # whatever it is, the scheduler must go on, and the start must not
        if is_lost(error):
            raise  # and the scheduler carries out its whole transaction again
        if tables_missing(session):
            log.error(
                "The tables of airflow-lean-provider do not exist: no partition can be halted, and every run "
                "starts. Run 'airflow db migrate'."
            )
            kept["halted"] = False
            return FREE
        raise StartNotJudged(f"The start of {dag_run} could not be judged") from error
    kept[key] = verdict
    return verdict


def tables_missing(session: Session) -> bool:
    """Tell whether our tables were never migrated, in which case no cord can exist."""
    try:
        with session.get_bind().engine.connect() as connection:
            present = set(inspect(connection).get_table_names())
    except Exception:  # then we do not know, and the caller must not let anything through
        log.exception("The tables of airflow-lean-provider cannot be looked for")
        return False
    return not present & set(Base.metadata.tables)


def _kept(session: Session) -> dict[Any, Any]:
    transaction = session.get_transaction()
    kept = session.info.get(_CACHE)
    if kept is None or kept[0] is not transaction or transaction is None:
        kept = (transaction, {})
        session.info[_CACHE] = kept
    return kept[1]


def _anything_halted(connection: Connection) -> bool:
    row = connection.execute(
        select(
            select(HaltedPartition.id).exists()
            | select(StoppedTry.dag_id).where(StoppedTry.gone_by > now()).exists(),
            select(Switch.id).where(Switch.enabled.is_(False)).exists(),
        )
    ).one()
    return bool(row[0]) and not row[1]


def _judge(run: Run, reads: _HaltedReads) -> Verdict:
    alive = _alive(reads.connection, run)
    free = Verdict({}, alive=alive) if alive else FREE
    if not reads.add(run):
        return free
    known = reads.runs[run]
    shape = known.shape
    if shape.advisory:
        return free
    reading = Reading(reads.facts())
    let_through = _let_through(reads.connection, known)

    def forbidden_of(read: frozenset[Partition]) -> frozenset[Partition]:
        causes = reads.causes
        return frozenset(p for p in read if p in causes and not (causes[p] and causes[p] <= let_through))

    work = shape.upstream.keys() - shape.teardowns
    of_tasks = {task_id: forbidden_of(reading.of(run, task_id)) for task_id in shape.upstream}
    forbidden = {task_id: found for task_id, found in of_tasks.items() if found}
    for task_id in forbidden.keys() & shape.teardowns:
        if serves_a_killed_task(reads.connection, run, shape.served_by(task_id)):
            del forbidden[task_id]
    unknown = forbidden_of(frozenset(reads.whole[run]))
    halted = unknown.union(*forbidden.values())
    return Verdict(
        forbidden,
        whole=bool(work) and forbidden.keys() >= work and holds_as_a_whole(known),
        causes=tuple(
            sorted(
                {c for p in halted for c in reads.causes[p]},
                key=lambda c: [str(x) for x in c],
            )
        ),
        alive=alive,
        teardowns=shape.teardowns,
        unknown_task=unknown,
        tasks=frozenset(shape.upstream),
        causes_of={p: frozenset(reads.causes[p]) for p in halted},
    )


class _HaltedReads:
    """
    What runs read of the halted partitions: gathered run by run, with the runs that triggered them.

    What holds for the whole transaction is asked once: the halts of an asset, the Dags.

    :ivar causes: why each partition is halted, as ``(cord, asset, key)``
    """

    def __init__(self, connection: Connection, session: Session) -> None:
        self.connection = connection
        self.runs: dict[Run, RunFacts] = {}
        self.whole: dict[Run, set[Partition]] = defaultdict(set)
        self.causes: dict[Partition, set[tuple[Any, ...]]] = defaultdict(set)
        self._session = session
        self._dags = Dags(session)
        self._of_asset: dict[int, dict[str | None, set[tuple[Any, ...]]]] = {}
        self._schedules: dict[str, list[Schedule]] = {}
        self._inlets: dict[Partition, dict[Run, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._publications: list[Publication] = []
        self._concerned: dict[Run, bool] = {}

    def add(self, run: Run) -> bool:
        """
        Gather what the run reads, and what the task that triggered it reads.

        :return: whether any of it is halted
        """
        if run in self._concerned:
            return self._concerned[run]
        self._concerned[run] = False
        with self._session.no_autoflush:
            known = known_runs([run], session=self._session).get(run)
            if known is None:
                return False
            parent = parents_of([run], session=self._session).get(run) if known.is_child else None
            above = parent is not None and self.add(parent.run)
            mine = [self._read_as_a_whole(known), self._read_by_inlets(known), self._published(known)]
            self._concerned[run] = above or any(mine)
            if self._concerned[run]:
                self.runs[run] = RunFacts(
                    run=run,
                    key=known.key,
                    origin=known.origin,
                    order=known.id,
                    shape=self._dags.shape(run.dag_id),
                    tasks={},
                    partitioned=known.key is not None,
                    parent=parent if above else None,
                    created=known.created_at,
                )
        return self._concerned[run]

    def facts(self) -> Facts:
        """Return what was gathered, as the rules take it."""
        readers: dict[Partition, set[Run]] = defaultdict(set)
        for run, partitions in self.whole.items():
            for partition in partitions:
                readers[partition].add(run)
        return Facts(
            now=now(),
            runs=self.runs,
            readers={p: frozenset(runs) for p, runs in readers.items()},
            inlets={
                p: {run: frozenset(tasks) for run, tasks in by_run.items()}
                for p, by_run in self._inlets.items()
            },
            publications=tuple(self._publications),
        )

    def _read_as_a_whole(self, known: KnownRun) -> bool:
        dag_id = known.run.dag_id
        if dag_id not in self._schedules:
            self._schedules[dag_id] = schedules_of([dag_id], session=self._session)
        for schedule in self._schedules[dag_id]:
            for key, causes in self._halted(schedule.asset).items():
                if self._dags.is_read_as_a_whole(schedule, key, known.key):
                    self._note(known.run, Partition(schedule.asset, key), causes)
        for partition in halted_and_consumed(self.connection, known.id):
            self._note(known.run, partition, self._halted(partition.asset).get(partition.key, set()))
        return bool(self.whole.get(known.run))

    def _note(self, run: Run, partition: Partition, causes: set[tuple[Any, ...]]) -> None:
        self.whole[run].add(partition)
        self.causes[partition] |= causes

    def _read_by_inlets(self, known: KnownRun) -> bool:
        found = False
        for inlet in self._dags.inlets(known.run.dag_id):
            halted = self._halted(inlet.asset)
            if not halted:
                continue
            own = {known.key} if known.key is not None else set()
            published = published_among({inlet.asset}, own, session=self._session)
            keys = keys_of_inlet(inlet, known.key, known.period, published, self._dags)
            for key, causes in halted.items():
                if keys is None or key in keys:
                    partition = Partition(inlet.asset, key)
                    self._inlets[partition][known.run].add(inlet.task_id)
                    self.causes[partition] |= causes
                    found = True
        return found

    def _published(self, known: KnownRun) -> bool:
        outlets = self._dags.outlets(known.run.dag_id)
        self._ask(outlets.assets)
        halted = [asset for asset in outlets.assets if self._halted(asset)]
        if not halted:
            return False
        own = halted_and_emitted(self.connection, known, halted)
        for task_id, assets in outlets.of_task.items():
            for asset in assets:
                if known.key in self._halted(asset):
                    own.setdefault(Partition(asset, known.key), set()).add(task_id)
        for partition, tasks in own.items():
            self.causes[partition] |= self._halted(partition.asset).get(partition.key, set())
            self._publications += [
                Publication(0, partition, now(), Task(*known.run, task_id)) for task_id in tasks
            ]
        return bool(own)

    def _halted(self, asset: int) -> dict[str | None, set[tuple[Any, ...]]]:
        """Return the causes of the asset's halts, by key."""
        self._ask({asset})
        return self._of_asset[asset]

    def _ask(self, assets: Collection[int]) -> None:
        """Learn the halts of these assets, in one statement."""
        missing = set(assets) - self._of_asset.keys()
        self._of_asset |= {asset: defaultdict(set) for asset in missing}
        if missing:
            for asset, key, causes in self.connection.execute(
                select(HaltedPartition.asset_id, HaltedPartition.partition_key, HaltedPartition.causes).where(
                    HaltedPartition.asset_id.in_(missing)
                )
            ):
                self._of_asset[asset][key] |= {tuple(c) for c in causes}


def _let_through(connection: Connection, known: RunFacts) -> frozenset[tuple[Any, ...]]:
    """Return the causes in spite of which a person lets this run start, not a former one of its name."""
    rows = connection.scalars(
        select(LetThrough.causes).where(
            LetThrough.dag_id == known.run.dag_id,
            LetThrough.run_id == known.run.run_id,
            *([LetThrough.let_at >= known.created] if known.created is not None else []),
        )
    )
    return frozenset(tuple(cause) for causes in rows for cause in causes)


def _alive(connection: Connection, run: Run) -> dict[tuple[str, int], datetime]:
    """Return, by task and map index, until when a process that the brake stopped may live."""
    found: dict[tuple[str, int], datetime] = {}
    for task_id, map_index, gone_by in connection.execute(
        select(StoppedTry.task_id, StoppedTry.map_index, StoppedTry.gone_by).where(
            StoppedTry.dag_id == run.dag_id, StoppedTry.run_id == run.run_id, StoppedTry.gone_by > now()
        )
    ):
        found[task_id, map_index] = max(gone_by, found.get((task_id, map_index), gone_by))
    return found
