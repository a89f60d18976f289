"""What the Dags are: their shape, the assets that they read and write, and how keys map between them."""

from __future__ import annotations

import logging
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.asset import (
    AssetModel,
    DagScheduleAssetNameReference,
    DagScheduleAssetReference,
    DagScheduleAssetUriReference,
    TaskOutletAssetReference,
)
from airflow.models.dag import DagModel, DagTag
from airflow.models.dag_version import DagVersion
from airflow.models.serialized_dag import SerializedDagModel
from airflow.partition_mappers.base import is_rollup
from sqlalchemy import func, select, union

from airflow_lean_provider.rules.facts import DagShape, Partition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflow.serialization.definitions.dag import SerializedDAG
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

ADVISORY_TAG = "andon:advisory"
"""A Dag with this tag is told, not held."""


class Schedule(NamedTuple):
    """One Dag that is scheduled on one asset."""

    dag_id: str
    asset: int
    name: str
    uri: str
    partitioned: bool


def schedules_on(assets: Iterable[int], *, session: Session) -> list[Schedule]:
    """Return the Dags that are scheduled on the assets, by themselves, by name or by uri."""
    wanted = set(assets)
    return _schedules(AssetModel.id.in_(wanted), session) if wanted else []


def schedules_of(dag_ids: Collection[str], *, session: Session) -> list[Schedule]:
    """Return the assets that the Dags are scheduled on."""
    return _schedules(DagModel.dag_id.in_(dag_ids), session) if dag_ids else []


def _schedules(condition: ColumnElement[bool], session: Session) -> list[Schedule]:
    """Read the three tables of references (``dag_processing/collection.py``) in one statement."""
    references = (
        (DagScheduleAssetReference, DagScheduleAssetReference.asset_id == AssetModel.id),
        (DagScheduleAssetNameReference, DagScheduleAssetNameReference.name == AssetModel.name),
        (DagScheduleAssetUriReference, DagScheduleAssetUriReference.uri == AssetModel.uri),
    )
    rows = session.execute(
        union(
            *(
                select(
                    DagModel.dag_id,
                    AssetModel.id,
                    AssetModel.name,
                    AssetModel.uri,
                    DagModel.timetable_partitioned,
                )
                .select_from(AssetModel)
                .join(reference, refers)
                .join(DagModel, DagModel.dag_id == reference.dag_id)
                .where(condition)
                for reference, refers in references
            )
        )
    )
    return [Schedule(*row) for row in rows]


def producers_of(assets: Iterable[int], *, session: Session) -> dict[int, set[str]]:
    """Return, by asset, the Dags a task of which has it as an outlet."""
    wanted = set(assets)
    found: dict[int, set[str]] = defaultdict(set)
    if wanted:
        for asset, dag_id in session.execute(
            select(TaskOutletAssetReference.asset_id, TaskOutletAssetReference.dag_id)
            .where(TaskOutletAssetReference.asset_id.in_(wanted))
            .distinct()
        ):
            found[asset].add(dag_id)
    return found


class Dags:
    """
    The Dags as last serialized, each loaded once however often it is asked for.

    A deserialized Dag is kept by the hash of its serialization, over transactions, in this process.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shapes: dict[str, DagShape] = {}
        self._dags: dict[str, SerializedDAG | None] = {}

    def load(self, dag_ids: Iterable[str]) -> None:
        """Load what is missing of these Dags, in a number of statements that does not depend on theirs."""
        missing = sorted(set(dag_ids) - self._dags.keys())
        if not missing:
            return
        self._dags.update(_serialized(missing, self._session))
        outlets: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        for dag_id, task_id, asset in self._session.execute(
            select(
                TaskOutletAssetReference.dag_id,
                TaskOutletAssetReference.task_id,
                TaskOutletAssetReference.asset_id,
            ).where(TaskOutletAssetReference.dag_id.in_(missing))
        ):
            outlets[dag_id][task_id].add(asset)
        advisory = set(
            self._session.scalars(
                select(DagTag.dag_id).where(DagTag.name == ADVISORY_TAG, DagTag.dag_id.in_(missing))
            )
        )
        owners = {
            row.dag_id: row.owners
            for row in self._session.execute(
                select(DagModel.dag_id, DagModel.owners).where(DagModel.dag_id.in_(missing))
            )
        }
        for dag_id in missing:
            dag = self._dags.get(dag_id)
            self._shapes[dag_id] = DagShape(
                upstream=_upstream(dag) if dag is not None else {},
                outlets={t: frozenset(assets) for t, assets in outlets[dag_id].items()},
                teardowns=frozenset(t.task_id for t in dag.tasks if t.is_teardown) if dag else frozenset(),
                scaffold=_scaffold(dag) if dag else {},
                advisory=dag_id in advisory,
                owner=owners.get(dag_id) or "",
            )

    def shape(self, dag_id: str) -> DagShape:
        """Return the shape of the Dag; of a Dag that is gone, an empty one."""
        self.load([dag_id])
        return self._shapes[dag_id]

    def source_partitions(self, schedules: Iterable[Schedule], key: str) -> frozenset[Partition]:
        """
        Return what a run of the Dag with this key reads, where that can be told from the key.

        Where it cannot (a mapper that has no inverse), the asset as a whole stands for "something else".
        """
        found: set[Partition] = set()
        for schedule in schedules:
            self.load([schedule.dag_id])
            dag = self._dags.get(schedule.dag_id)
            keys = (
                _source_keys(_ByIdentity(dag), schedule.name, schedule.uri, key)
                if dag is not None
                else frozenset()
            )
            found |= {Partition(schedule.asset, k) for k in keys} or {Partition(schedule.asset, None)}
        return frozenset(found)

    def target_keys(self, schedule: Schedule, key: str | None) -> frozenset[str]:
        """
        Return the keys of the runs of the Dag that read the partition.

        If the mapper raises for a key, Airflow does not deliver it, and nobody reads it through this mapper
        (``AssetManager._queue_partitioned_dags``).
        """
        self.load([schedule.dag_id])
        dag = self._dags.get(schedule.dag_id)
        if dag is None or key is None or not schedule.partitioned:
            return frozenset()
        return _map_key(_ByIdentity(dag), schedule.name, schedule.uri, key)


def latest_dag(dag_id: str, *, session: Session) -> SerializedDAG | None:
    """Return the Dag as last serialized, None if it is gone."""
    return _serialized([dag_id], session)[dag_id]


def _serialized(dag_ids: list[str], session: Session) -> dict[str, SerializedDAG | None]:
    found: dict[str, SerializedDAG | None] = dict.fromkeys(dag_ids)
    hashes = _latest_hashes(dag_ids, session)
    unknown = []
    for dag_id, dag_hash in hashes.items():
        if (kept := _KEPT.get((dag_id, dag_hash))) is not None:
            found[dag_id] = kept
        else:
            unknown.append(dag_id)
    if unknown:
        for row in SerializedDagModel.get_latest_serialized_dags(dag_ids=unknown, session=session):
            row.load_op_links = False
            dag = row.dag
            if len(_KEPT) >= _KEPT_AT_MOST:
                _KEPT.clear()
            _KEPT[row.dag_id, row.dag_hash] = dag
            found[row.dag_id] = dag
    return found


_KEPT: dict[tuple[str, str], SerializedDAG] = {}
_KEPT_AT_MOST = 2000


def _latest_hashes(dag_ids: list[str], session: Session) -> Mapping[str, str]:
    """By ``dag_version``, whose unique key begins with the Dag; ``serialized_dag.dag_id`` has no index."""
    newest = (
        select(DagVersion.dag_id, func.max(DagVersion.version_number).label("number"))
        .where(DagVersion.dag_id.in_(dag_ids))
        .group_by(DagVersion.dag_id)
        .subquery()
    )
    return {
        row.dag_id: row.dag_hash
        for row in session.execute(
            select(DagVersion.dag_id, SerializedDagModel.dag_hash)
            .join(SerializedDagModel, SerializedDagModel.dag_version_id == DagVersion.id)
            .join(
                newest,
                (newest.c.dag_id == DagVersion.dag_id) & (newest.c.number == DagVersion.version_number),
            )
        )
    }


def _scaffold(dag: SerializedDAG) -> dict[str, frozenset[str]]:
    return {
        task.task_id: frozenset(t.task_id for t in task.get_upstreams_only_setups_and_teardowns())
        for task in dag.tasks
        if not task.is_setup and not task.is_teardown
    }


def _upstream(dag: SerializedDAG) -> dict[str, frozenset[str]]:
    return {task.task_id: frozenset(task.get_flat_relative_ids(upstream=True)) for task in dag.tasks}


class _ByIdentity(NamedTuple):
    """A deserialized Dag never changes, and compares by identity (``attrs.define(eq=False)``)."""

    dag: Any


@lru_cache(maxsize=100_000)
def _map_key(of: _ByIdentity, name: str, uri: str, key: str) -> frozenset[str]:
    timetable: Any = of.dag.timetable
    try:
        mapped = timetable.get_partition_mapper(name=name, uri=uri).to_downstream(key)
        return frozenset((mapped,)) if isinstance(mapped, str) else frozenset(map(str, mapped))
    except Exception:  # a mapper is a Dag author's code: whatever it raises, Airflow delivers nothing
        log.debug("The mapper of %s does not map %r of asset %s", of.dag.dag_id, key, name, exc_info=True)
        return frozenset()


@lru_cache(maxsize=10_000)
def _source_keys(of: _ByIdentity, name: str, uri: str, key: str) -> frozenset[str]:
    timetable: Any = of.dag.timetable
    try:
        mapper = timetable.get_partition_mapper(name=name, uri=uri)
        if is_rollup(mapper):
            return frozenset(mapper.to_upstream(key))
        return frozenset((key,)) if mapper.to_downstream(key) == key else frozenset()
    except Exception:  # a mapper is a Dag author's code
        log.debug("The mapper of %s does not say what %r reads", of.dag.dag_id, key, exc_info=True)
        return frozenset()
