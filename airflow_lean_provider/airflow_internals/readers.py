"""Who reads a partition: the runs that do so as a whole, and the tasks that have it as an inlet."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from airflow.models.asset import AssetEvent, association_table
from airflow.models.dagrun import DagRun
from sqlalchemy import false, or_, select

from airflow_lean_provider.airflow_internals.dags import (
    Dags,
    Inlet,
    Schedule,
    inlets_on,
    schedules_of,
    schedules_on,
)
from airflow_lean_provider.airflow_internals.lineage import published_keys
from airflow_lean_provider.airflow_internals.runs import KnownRun, period_of, runs_with_keys
from airflow_lean_provider.airflow_internals.statements import LENGTH_OF_KEY, among, that_fit
from airflow_lean_provider.rules.facts import Partition, Publication, Run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Readers:
    """
    Who reads some partitions.

    :param whole: the runs all of whose tasks do
    :param inlets: the tasks that have it as an inlet
    :param in_doubt: the inlets that say nothing of their keys, in runs whose own key was never published:
        such a task counts as reading every partition
    """

    whole: dict[Partition, set[Run]] = field(default_factory=lambda: defaultdict(set))
    inlets: dict[Partition, dict[Run, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    in_doubt: set[tuple[Run, Inlet]] = field(default_factory=set)


class _RecentRun(NamedTuple):
    run: Run
    key: str | None
    period: datetime | None


def readers_of(
    partitions: Collection[Partition],
    publications: Sequence[Publication],
    since: datetime | None,
    dags: Dags,
    *,
    session: Session,
) -> Readers:
    """
    Return who reads the partitions.

    As a whole: the runs that consumed an event of it; those of Dags scheduled on the asset whose key its
    mapper maps it to, whoever made them; those of a partitioned Dag without a key, and those of a Dag
    scheduled on the asset without partitions, which read every partition.

    :param since: when the first version of the partitions began, None if there is none
    """
    found = Readers()
    assets = {p.asset for p in partitions}
    for partition, runs in _consumers(publications, session).items():
        found.whole[partition] |= runs
    schedules = schedules_on(assets, session=session)
    inlets = inlets_on(assets, session=session)
    dags.load({s.dag_id for s in schedules} | {i.dag_id for i in inlets})
    _add_by_key([s for s in schedules if s.partitioned], partitions, dags, found, session)
    recent = _recent_runs(schedules, inlets, since, session)
    _add_all_readers(schedules, partitions, recent, found)
    _add_inlets(inlets, partitions, recent, dags, found, session)
    return found


def all_read_by(runs: Collection[KnownRun], dags: Dags, *, session: Session) -> Readers:
    """Return what the runs read of all that was ever published, as far as their Dags tell."""
    found = Readers()
    dag_ids = {known.run.dag_id for known in runs}
    dags.load(dag_ids)
    schedules = schedules_of(dag_ids, session=session)
    inlets = [inlet for dag_id in sorted(dag_ids) for inlet in dags.inlets(dag_id)]
    partitions = {
        Partition(asset, key)
        for asset in {s.asset for s in schedules} | {i.asset for i in inlets}
        for key in published_keys(asset, session=session)
    }
    some = [_RecentRun(known.run, known.key, known.period) for known in runs]
    for one in some:
        for schedule in schedules:
            if schedule.dag_id == one.run.dag_id and schedule.partitioned and one.key is not None:
                for partition in partitions:
                    if partition.asset == schedule.asset and one.key in dags.target_keys(
                        schedule, partition.key
                    ):
                        found.whole[partition].add(one.run)
    _add_all_readers(schedules, partitions, some, found)
    _add_inlets(inlets, partitions, some, dags, found, session)
    return found


def _consumers(publications: Sequence[Publication], session: Session) -> dict[Partition, set[Run]]:
    found: dict[Partition, set[Run]] = defaultdict(set)
    of_event = {p.id: p.partition for p in publications}
    for is_one in among(association_table.c.event_id, sorted(of_event), session=session):
        for event_id, dag_id, run_id in session.execute(
            select(association_table.c.event_id, DagRun.dag_id, DagRun.run_id)
            .join(DagRun, DagRun.id == association_table.c.dag_run_id)
            .where(is_one)
        ):
            found[of_event[event_id]].add(Run(dag_id, run_id))
    return found


def _add_by_key(
    schedules: Sequence[Schedule],
    partitions: Collection[Partition],
    dags: Dags,
    found: Readers,
    session: Session,
) -> None:
    mapped: dict[str, set[str]] = defaultdict(set)
    for schedule in schedules:
        for partition in partitions:
            if partition.asset == schedule.asset:
                mapped[schedule.dag_id] |= dags.target_keys(schedule, partition.key)
    keys = frozenset[str]().union(*mapped.values())
    runs: dict[str, dict[str, set[Run]]] = defaultdict(lambda: defaultdict(set))
    for run, key in runs_with_keys(mapped, keys, session=session):
        if key in mapped[run.dag_id]:
            runs[run.dag_id][key].add(run)
    for schedule in schedules:
        with_key = runs.get(schedule.dag_id, {})
        for partition in partitions if with_key else ():
            if partition.asset == schedule.asset:
                for key in with_key.keys() & dags.target_keys(schedule, partition.key):
                    found.whole[partition] |= with_key[key]


def _add_all_readers(
    schedules: Iterable[Schedule],
    partitions: Collection[Partition],
    recent: Iterable[_RecentRun],
    found: Readers,
) -> None:
    of_dag: dict[str, list[Schedule]] = defaultdict(list)
    for schedule in schedules:
        of_dag[schedule.dag_id].append(schedule)
    for one in recent:
        for schedule in of_dag.get(one.run.dag_id, ()):
            if not schedule.partitioned or one.key is None:
                for partition in partitions:
                    if partition.asset == schedule.asset:
                        found.whole[partition].add(one.run)


def _add_inlets(
    inlets: Sequence[Inlet],
    partitions: Collection[Partition],
    recent: Iterable[_RecentRun],
    dags: Dags,
    found: Readers,
    session: Session,
) -> None:
    of_dag: dict[str, list[Inlet]] = defaultdict(list)
    for inlet in inlets:
        of_dag[inlet.dag_id].append(inlet)
    readers = [one for one in recent if one.run.dag_id in of_dag]
    published = published_among(
        {i.asset for i in inlets}, {one.key for one in readers if one.key is not None}, session=session
    )
    for one in readers:
        for inlet in of_dag[one.run.dag_id]:
            keys = keys_of_inlet(inlet, one.key, one.period, published, dags)
            if keys is None:
                found.in_doubt.add((one.run, inlet))
            for partition in partitions:
                if partition.asset == inlet.asset and (keys is None or partition.key in keys):
                    found.inlets[partition][one.run].add(inlet.task_id)


def keys_of_inlet(
    inlet: Inlet,
    key: str | None,
    period: datetime | None,
    published: Collection[tuple[int, str | None]],
    dags: Dags,
) -> frozenset[str | None] | None:
    """
    Return the keys that a run reads of the inlet, None for every key.

    Those that the author declares; else the run's own, if exactly that was ever published for the asset.
    """
    declared = dags.keys_read(inlet, key, period)
    if declared is not None:
        return frozenset(declared)
    if key is not None and (inlet.asset, key) in published:
        return frozenset((key,))
    return None


def published_among(
    assets: Collection[int], keys: Collection[str], *, session: Session
) -> set[tuple[int, str | None]]:
    """Return which of the keys were ever published for which of the assets, compared exactly."""
    found: set[tuple[int, str | None]] = set()
    fitting = that_fit(keys, AssetEvent.partition_key, session=session)
    for has_key in among(AssetEvent.partition_key, fitting, session=session) if assets else ():
        found |= {
            (asset, key)
            for asset, key, _ in session.execute(
                select(AssetEvent.asset_id, AssetEvent.partition_key, LENGTH_OF_KEY)
                .where(AssetEvent.asset_id.in_(assets), has_key)
                .distinct()
            )
        }
    return found


def _recent_runs(
    schedules: Iterable[Schedule], inlets: Iterable[Inlet], since: datetime | None, session: Session
) -> list[_RecentRun]:
    """
    Return the runs that go on, or ended a day before ``since`` at the earliest.

    Without those that read by their key alone: they are found by it.
    """
    of_any_key = {s.dag_id for s in schedules if not s.partitioned} | {i.dag_id for i in inlets}
    by_key = {s.dag_id for s in schedules} - of_any_key
    day_before = DagRun.end_date >= since - timedelta(days=1) if since is not None else false()
    recent = or_(DagRun.end_date.is_(None), day_before)
    conditions = list(among(DagRun.dag_id, sorted(of_any_key), session=session))
    conditions += [
        is_one & DagRun.partition_key.is_(None)
        for is_one in among(DagRun.dag_id, sorted(by_key), session=session)
    ]
    return [
        _RecentRun(Run(row.dag_id, row.run_id), row.partition_key, period_of(row))
        for condition in conditions
        for row in session.execute(
            select(
                DagRun.dag_id,
                DagRun.run_id,
                DagRun.partition_key,
                DagRun.data_interval_start,
                DagRun.data_interval_end,
                DagRun.logical_date,
                DagRun.run_after,
            ).where(condition, recent)
        )
    ]
