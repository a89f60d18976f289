"""What is made of partitions, hop by hop along schedules and inlets."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from airflow_lean_provider.airflow_internals.dags import inlets_on, schedules_on
from airflow_lean_provider.rules.facts import Partition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sqlalchemy.orm import Session

    from airflow_lean_provider.airflow_internals.dags import Dags

HOPS_AT_MOST = 50


class Made(NamedTuple):
    """
    What a Dag makes, in its run with one key, of partitions one hop before it.

    :param sources: the assets that it reads of them
    :param outlets: the assets that it publishes
    :param again: it was reached on a shorter way already
    """

    dag_id: str
    key: str | None
    sources: frozenset[int]
    outlets: frozenset[int]
    hops: int
    again: bool


def walk(roots: Iterable[Partition], dags: Dags, session: Session) -> Iterator[Made]:
    """
    Follow the schedules and the inlets hop by hop.

    What reads without partitions, or by an inlet, is reached once, without a key.
    """
    seen: set[tuple[str, str | None]] = set()
    level = set(roots)
    for hop in range(1, HOPS_AT_MOST + 1):
        following: set[Partition] = set()
        reached: set[tuple[str, str | None]] = set()
        for dag_id, key, sources, outlets in _next_hop(level, dags, session):
            again = (dag_id, key) in seen
            if not again:
                reached.add((dag_id, key))
                following |= {Partition(asset, key) for asset in outlets}
            yield Made(dag_id, key, sources, outlets, hop, again)
        seen |= reached
        if not following:
            return
        level = following


def _next_hop(
    level: Collection[Partition], dags: Dags, session: Session
) -> list[tuple[str, str | None, frozenset[int], frozenset[int]]]:
    """Return what is made from these partitions: Dag, key, the assets that it reads of them, its outlets."""
    keys_of: dict[int, list[str | None]] = defaultdict(list)
    for partition in level:
        keys_of[partition.asset].append(partition.key)
    schedules = schedules_on(keys_of, session=session)
    inlets = inlets_on(keys_of, session=session)
    dags.load({s.dag_id for s in schedules} | {i.dag_id for i in inlets})
    sources: dict[tuple[str, str | None], set[int]] = defaultdict(set)
    outlets: dict[tuple[str, str | None], set[int]] = defaultdict(set)
    for schedule in schedules:
        keys: set[str | None] = {None}
        if schedule.partitioned:
            keys = {mapped for key in keys_of[schedule.asset] for mapped in dags.target_keys(schedule, key)}
        published = frozenset[int]().union(*dags.shape(schedule.dag_id).outlets.values())
        for key in keys:
            sources[schedule.dag_id, key].add(schedule.asset)
            outlets[schedule.dag_id, key] |= published
    for inlet in inlets:
        shape = dags.shape(inlet.dag_id)
        following = {inlet.task_id, *shape.downstream(inlet.task_id)}
        sources[inlet.dag_id, None].add(inlet.asset)
        outlets[inlet.dag_id, None].update(*(shape.outlets.get(t, ()) for t in following))
    return [
        (dag_id, key, frozenset(sources[dag_id, key]), frozenset(outlets[dag_id, key]))
        for dag_id, key in sorted(sources, key=lambda f: (f[0], str(f[1])))
    ]
