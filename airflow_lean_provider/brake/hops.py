"""What is made of partitions, hop by hop along schedules and inlets."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from airflow_lean_provider.airflow_internals.dags import inlets_on, schedules_on

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from sqlalchemy.orm import Session

    from airflow_lean_provider.airflow_internals.dags import Dags
    from airflow_lean_provider.rules.facts import Partition

HOPS_AT_MOST = 50


class Made(NamedTuple):
    """
    What a Dag makes of partitions one hop before it.

    :param keys: of its runs; without those that were reached on a shorter way
    :param sources: the assets that it reads of these partitions
    :param outlets: the assets that it publishes
    """

    dag_id: str
    keys: frozenset[str | None]
    sources: frozenset[int]
    outlets: frozenset[int]
    hops: int


def walk(roots: Iterable[Partition], dags: Dags, session: Session) -> Iterator[Made]:
    """
    Follow the schedules and the inlets hop by hop.

    What reads without partitions, or by an inlet, is reached once, without a key.
    """
    seen: dict[str, set[str | None]] = defaultdict(set)
    level = _keys_by_asset(roots)
    for hop in range(1, HOPS_AT_MOST + 1):
        following: dict[int, set[str | None]] = defaultdict(set)
        reached: dict[str, set[str | None]] = defaultdict(set)
        for dag_id, keys, sources, outlets in _next_hop(level, dags, session):
            new = keys - seen[dag_id]
            reached[dag_id] |= new
            for asset in outlets if new else ():
                following[asset] |= new
            yield Made(dag_id, new, sources, outlets, hop)
        for dag_id, newly in reached.items():
            seen[dag_id] |= newly
        if not following:
            return
        level = following


def _keys_by_asset(partitions: Iterable[Partition]) -> dict[int, set[str | None]]:
    found: dict[int, set[str | None]] = defaultdict(set)
    for partition in partitions:
        found[partition.asset].add(partition.key)
    return found


def _next_hop(
    level: Mapping[int, Collection[str | None]], dags: Dags, session: Session
) -> list[tuple[str, frozenset[str | None], frozenset[int], frozenset[int]]]:
    """
    Return what is made from these keys of assets: Dag, keys, the assets that it reads of them, its outlets.

    Once for the runs with a key, and once for those without: an inlet is read by some of the tasks only.
    """
    schedules = schedules_on(level, session=session)
    inlets = inlets_on(level, session=session)
    dags.load({s.dag_id for s in schedules} | {i.dag_id for i in inlets})
    keys: dict[tuple[str, bool], set[str | None]] = defaultdict(set)
    sources: dict[tuple[str, bool], set[int]] = defaultdict(set)
    outlets: dict[tuple[str, bool], set[int]] = defaultdict(set)
    for schedule in schedules:
        of_runs = schedule.dag_id, schedule.partitioned
        reached: set[str | None] = {None}
        if schedule.partitioned:
            reached = {mapped for key in level[schedule.asset] for mapped in dags.target_keys(schedule, key)}
        if reached:
            keys[of_runs] |= reached
            sources[of_runs].add(schedule.asset)
            outlets[of_runs].update(*dags.shape(schedule.dag_id).outlets.values())
    for inlet in inlets:
        shape = dags.shape(inlet.dag_id)
        following = {inlet.task_id, *shape.downstream(inlet.task_id)}
        of_runs = inlet.dag_id, False
        keys[of_runs].add(None)
        sources[of_runs].add(inlet.asset)
        outlets[of_runs].update(*(shape.outlets.get(t, ()) for t in following))
    return [
        (of_runs[0], frozenset(found), frozenset(sources[of_runs]), frozenset(outlets[of_runs]))
        for of_runs, found in sorted(keys.items(), key=lambda item: item[0])
    ]
