"""What the Dags are: their shape, the assets that they read and write, and how keys map between them."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.asset import (
    AssetAliasModel,
    AssetModel,
    DagScheduleAssetAliasReference,
    DagScheduleAssetNameReference,
    DagScheduleAssetReference,
    DagScheduleAssetUriReference,
    TaskInletAssetReference,
    TaskOutletAssetReference,
    alias_association_table,
)
from airflow.models.dag import DagModel, DagTag
from airflow.models.dag_version import DagVersion
from airflow.models.serialized_dag import SerializedDagModel
from airflow.partition_mappers.base import is_rollup
from airflow.serialization.decoders import decode_partition_mapper
from sqlalchemy import func, select, union

from airflow_lean_provider.airflow_internals.ports import (
    ByIdentity,
    Outlets,
    all_outlets_of,
    assets_meant,
    decoded,
    inlets_of,
    outlets_of,
    schedule_of,
)
from airflow_lean_provider.airflow_internals.statements import chunks
from airflow_lean_provider.assets import READS
from airflow_lean_provider.rules.facts import DagShape
from airflow_lean_provider.store.models import InletReference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from airflow.serialization.definitions.dag import SerializedDAG
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

ADVISORY_TAG = "andon:advisory"
"""A Dag with this tag is told, not held."""


class Inlet(NamedTuple):
    """One task that has one asset as an inlet."""

    dag_id: str
    task_id: str
    asset: int
    name: str
    uri: str


class Schedule(NamedTuple):
    """One Dag that is scheduled on one asset."""

    dag_id: str
    asset: int
    name: str
    uri: str
    partitioned: bool


def schedules_on(assets: Iterable[int], *, session: Session) -> list[Schedule]:
    """Return the Dags that are scheduled on the assets, by themselves, by name, by uri or by an alias."""
    wanted = set(assets)
    return _schedules(AssetModel.id.in_(wanted), session) if wanted else []


def schedules_of(dag_ids: Collection[str], *, session: Session) -> list[Schedule]:
    """Return the assets that the Dags are scheduled on."""
    return _schedules(DagModel.dag_id.in_(dag_ids), session) if dag_ids else []


def _schedules(condition: ColumnElement[bool], session: Session) -> list[Schedule]:
    """Read the four tables of references (``dag_processing/collection.py``) in one statement."""
    of_alias = alias_association_table.c
    references: tuple[tuple[Any, ColumnElement[bool]], ...] = (
        (DagScheduleAssetReference, DagScheduleAssetReference.asset_id == AssetModel.id),
        (DagScheduleAssetNameReference, DagScheduleAssetNameReference.name == AssetModel.name),
        (DagScheduleAssetUriReference, DagScheduleAssetUriReference.uri == AssetModel.uri),
        (
            DagScheduleAssetAliasReference,
            DagScheduleAssetAliasReference.alias_id.in_(
                select(of_alias.alias_id).where(of_alias.asset_id == AssetModel.id)
            ),
        ),
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


def inlets_on(assets: Iterable[int], *, session: Session) -> list[Inlet]:
    """Return the tasks that have one of the assets as an inlet, by itself, by name, by uri or by an alias."""
    wanted = set(assets)
    if not wanted:
        return []
    of_alias = alias_association_table.c
    aliases = (
        select(AssetAliasModel.name)
        .join(of_alias.alias_id.table, of_alias.alias_id == AssetAliasModel.id)
        .where(of_alias.asset_id == AssetModel.id)
    )
    references: tuple[tuple[Any, ColumnElement[bool]], ...] = (
        (TaskInletAssetReference, TaskInletAssetReference.asset_id == AssetModel.id),
        (InletReference, (InletReference.kind == "name") & (InletReference.value == AssetModel.name)),
        (InletReference, (InletReference.kind == "uri") & (InletReference.value == AssetModel.uri)),
        (InletReference, (InletReference.kind == "alias") & InletReference.value.in_(aliases)),
    )
    rows = session.execute(
        union(
            *(
                select(reference.dag_id, reference.task_id, AssetModel.id, AssetModel.name, AssetModel.uri)
                .select_from(AssetModel)
                .join(reference, refers)
                .where(AssetModel.id.in_(wanted))
                for reference, refers in references
            )
        )
    )
    return [Inlet(*row) for row in rows]


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


def is_advisory(dag_id: str) -> ColumnElement[bool]:
    """Return the condition that the Dag has the tag, as it was last parsed."""
    return select(DagTag.dag_id).where(DagTag.name == ADVISORY_TAG, DagTag.dag_id == dag_id).exists()


class Dags:
    """
    The Dags as last serialized, each loaded once however often it is asked for.

    A deserialized Dag is kept by the hash of its serialization, over transactions, in this process.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shapes: dict[str, DagShape] = {}
        self._outlets: dict[str, Outlets] = {}
        self._dags: dict[str, _Latest | None] = {}

    def load(self, dag_ids: Iterable[str]) -> None:
        """Load what is missing of these Dags, in a number of statements that does not depend on theirs."""
        missing = sorted(set(dag_ids) - self._shapes.keys())
        if not missing:
            return
        self._load_outlets(missing)
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
            dag, outlets = self._serialized(dag_id), self._outlets[dag_id]
            self._shapes[dag_id] = DagShape(
                upstream=_upstream(dag) if dag is not None else {},
                outlets=outlets.of_task,
                may_publish=outlets.assets,
                teardowns=frozenset(t.task_id for t in dag.tasks if t.is_teardown) if dag else frozenset(),
                scaffold=_scaffold(dag) if dag else {},
                advisory=dag_id in advisory,
                owner=owners.get(dag_id) or "",
                asks=outlets.asks,
                finishes=outlets.finishes,
            )

    def _load_outlets(self, dag_ids: Collection[str]) -> None:
        missing = sorted(set(dag_ids) - self._outlets.keys())
        self._dags.update(_latest([d for d in missing if d not in self._dags], self._session))
        self._outlets |= outlets_of({d: self._serialized(d) for d in missing}, session=self._session)

    def outlets(self, dag_id: str) -> Outlets:
        """Return what the tasks of the Dag publish; of a Dag that is gone, nothing."""
        if dag_id not in self._outlets:
            self._load_outlets([dag_id])
        return self._outlets[dag_id]

    def shape(self, dag_id: str) -> DagShape:
        """Return the shape of the Dag; of a Dag that is gone, an empty one."""
        if dag_id not in self._shapes:
            self.load([dag_id])
        return self._shapes[dag_id]

    def _serialized(self, dag_id: str) -> SerializedDAG | None:
        if dag_id not in self._dags:
            self._dags.update(_latest([dag_id], self._session))
        latest = self._dags[dag_id]
        return latest.dag if latest is not None else None

    def assets_once_published(
        self, versions: Mapping[str, Collection[UUID]], gone: Collection[str]
    ) -> frozenset[int]:
        """
        Return the outlets that Airflow's tables of references tell nothing of any more.

        They tell of the newest version of each Dag, and of none whose file is gone
        (``remove_references_to_deleted_dags``).

        :param versions: which versions of a Dag tasks have run by
        :param gone: the Dags whose file is gone
        """
        older = {v for d, found in versions.items() for v in found if v != self._newest(d)}
        dags = [*_by_version(older, self._session), *(self._serialized(dag_id) for dag_id in sorted(gone))]
        ports = [(None, port) for dag in dags if dag is not None for port in all_outlets_of(ByIdentity(dag))]
        return frozenset(meant.asset for meant in assets_meant(ports, session=self._session))

    def schedules_as_serialized(self, dag_ids: Collection[str]) -> list[Schedule]:
        """Return what the Dags are scheduled on, though their files are gone and Airflow has forgotten it."""
        dags = {dag_id: dag for dag_id in sorted(dag_ids) if (dag := self._serialized(dag_id)) is not None}
        ports = [(dag_id, port) for dag_id, dag in dags.items() for port in schedule_of(dag)]
        return [
            Schedule(meant.of, meant.asset, meant.name, meant.uri, dags[meant.of].timetable.partitioned)
            for meant in assets_meant(ports, session=self._session)
        ]

    def _newest(self, dag_id: str) -> UUID | None:
        self._serialized(dag_id)
        latest = self._dags[dag_id]
        return latest.version if latest is not None else None

    def has_timeout(self, dag_id: str) -> bool:
        """Tell whether runs of the Dag time out."""
        dag = self._serialized(dag_id)
        return dag is not None and dag.dagrun_timeout is not None

    def inlets(self, dag_id: str) -> list[Inlet]:
        """Return the inlets of the Dag's tasks, references by name, uri and alias resolved."""
        dag = self._serialized(dag_id)
        if dag is None:
            return []
        meant = assets_meant(inlets_of(ByIdentity(dag)), session=self._session)
        return list(dict.fromkeys(Inlet(dag_id, m.of, m.asset, m.name, m.uri) for m in meant))

    def keys_read(self, inlet: Inlet, key: str | None, period: datetime | None) -> frozenset[str] | None:
        """
        Return the keys that the task reads of its inlet as its author declares, None if they do not.

        :param key: the run's own key
        :param period: what stands for it in a run without a key: the start of its data interval
        """
        dag = self._serialized(inlet.dag_id)
        if dag is None:
            return None
        if key is None and period is None:
            return None
        if key is None and period is not None:
            key = period.astimezone(dag.timezone).strftime(PERIOD_FORMAT)
        return _declared_keys(ByIdentity(dag), inlet.task_id, inlet.name, inlet.uri, key)

    def target_keys(self, schedule: Schedule, key: str | None) -> frozenset[str]:
        """
        Return the keys of the runs of the Dag that read the partition.

        If the mapper raises for a key, Airflow does not deliver it, and nobody reads it through this mapper
        (``AssetManager._queue_partitioned_dags``).
        """
        dag = self._serialized(schedule.dag_id)
        if dag is None or key is None or not schedule.partitioned:
            return frozenset()
        return _map_key(ByIdentity(dag), schedule.name, schedule.uri, key)

    def is_read_as_a_whole(self, schedule: Schedule, key: str | None, run_key: str | None) -> bool:
        """Tell whether all tasks of a run with ``run_key`` read this partition of the asset."""
        return not schedule.partitioned or run_key is None or run_key in self.target_keys(schedule, key)


def latest_dag(dag_id: str, *, session: Session) -> SerializedDAG | None:
    """Return the Dag as last serialized, None if it is gone."""
    latest = _latest([dag_id], session)[dag_id]
    return latest.dag if latest is not None else None


class _Latest(NamedTuple):
    version: UUID
    dag: SerializedDAG


def _latest(dag_ids: list[str], session: Session) -> dict[str, _Latest | None]:
    found: dict[str, _Latest | None] = dict.fromkeys(dag_ids)
    unknown = []
    for dag_id, (version, dag_hash) in _latest_hashes(dag_ids, session).items():
        if (kept := _KEPT.get((dag_id, dag_hash))) is not None:
            found[dag_id] = _Latest(version, kept)
        else:
            unknown.append(dag_id)
    if unknown:
        for row in SerializedDagModel.get_latest_serialized_dags(dag_ids=unknown, session=session):
            found[row.dag_id] = _Latest(row.dag_version_id, _kept(row))
    return found


def _by_version(versions: Collection[UUID], session: Session) -> list[SerializedDAG]:
    """Return the Dags as they were in these older versions; one that Airflow has forgotten is left out."""
    unknown = sorted(set(versions) - _OLDER.keys())
    if len(_OLDER) + len(unknown) > _KEPT_AT_MOST:
        _OLDER.clear()
        unknown = sorted(versions)
    for some in chunks(unknown):
        rows = select(SerializedDagModel).where(SerializedDagModel.dag_version_id.in_(some))
        _OLDER.update({row.dag_version_id: _kept(row) for row in session.scalars(rows)})
    return [_OLDER[version] for version in versions if version in _OLDER]


_OLDER: dict[UUID, SerializedDAG] = {}
"""Only the newest version of a Dag is ever written anew."""


def _kept(row: SerializedDagModel) -> SerializedDAG:
    kept = _KEPT.get((row.dag_id, row.dag_hash))
    if kept is None:
        row.load_op_links = False
        if len(_KEPT) >= _KEPT_AT_MOST:
            _KEPT.clear()
        kept = _KEPT[row.dag_id, row.dag_hash] = row.dag
    return kept


_KEPT: dict[tuple[str, str], SerializedDAG] = {}
_KEPT_AT_MOST = 2000


def _latest_hashes(dag_ids: list[str], session: Session) -> Mapping[str, tuple[UUID, str]]:
    """By ``dag_version``, whose unique key begins with the Dag; ``serialized_dag.dag_id`` has no index."""
    newest = (
        select(DagVersion.dag_id, func.max(DagVersion.version_number).label("number"))
        .where(DagVersion.dag_id.in_(dag_ids))
        .group_by(DagVersion.dag_id)
        .subquery()
    )
    return {
        row.dag_id: (row.id, row.dag_hash)
        for row in session.execute(
            select(DagVersion.dag_id, DagVersion.id, SerializedDagModel.dag_hash)
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


PERIOD_FORMAT = "%Y-%m-%dT%H:%M:%S"
"""The default ``input_format`` of Airflow's temporal mappers, and ``key_format`` of partitioned crons."""


@lru_cache(maxsize=100_000)
def _map_key(of: ByIdentity, name: str, uri: str, key: str) -> frozenset[str]:
    timetable: Any = of.dag.timetable
    try:
        mapped = timetable.get_partition_mapper(name=name, uri=uri).to_downstream(key)
        return frozenset((mapped,)) if isinstance(mapped, str) else frozenset(map(str, mapped))
    except Exception:  # a mapper is a Dag author's code: whatever it raises, Airflow delivers nothing
        log.debug("The mapper of %s does not map %r of asset %s", of.dag.dag_id, key, name, exc_info=True)
        return frozenset()


@lru_cache(maxsize=100_000)
def _declared_keys(of: ByIdentity, task_id: str, name: str, uri: str, key: str) -> frozenset[str] | None:
    if not of.dag.has_task(task_id):
        return None
    for port in decoded(of.dag.get_task(task_id).inlets):
        declared = port.get(READS) if isinstance(port, dict) else None
        if declared is None or (declared["name"], declared["uri"]) != (name, uri):
            continue
        try:
            mapper = decode_partition_mapper(json.loads(declared["mapper"]))
            mapped = mapper.to_upstream(key) if is_rollup(mapper) else mapper.to_downstream(key)
            return frozenset((mapped,)) if isinstance(mapped, str) else frozenset(map(str, mapped))
        except Exception:  # a mapper is a Dag author's code: where it does not say, everything may be read
            log.warning(
                "What %s.%s reads of %s for %r is not known", of.dag.dag_id, task_id, name, key, exc_info=True
            )
            return None
    return None
