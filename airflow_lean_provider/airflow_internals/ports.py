"""The inlets and outlets of tasks, however the Dag author names the asset: itself, a reference, an alias."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from airflow.models.asset import (
    AssetAliasModel,
    AssetModel,
    TaskOutletAssetReference,
    alias_association_table,
)
from airflow.serialization.definitions.assets import (
    SerializedAsset,
    SerializedAssetAlias,
    SerializedAssetNameRef,
    SerializedAssetUriRef,
)
from airflow.serialization.enums import Encoding
from airflow.serialization.serialized_objects import BaseSerialization
from sqlalchemy import or_, select

from airflow_lean_provider.assets import policy_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflow.serialization.definitions.dag import SerializedDAG
    from sqlalchemy.orm import Session

T = TypeVar("T")


class ByIdentity(NamedTuple):
    """A deserialized Dag never changes, and compares by identity (``attrs.define(eq=False)``)."""

    dag: Any


@dataclass(frozen=True, slots=True)
class Meant(Generic[T]):
    """
    An asset that a port means.

    :param of: whose port it is
    :param by_alias: an alias stands for it, as far as the publications so far say
    """

    of: T
    asset: int
    name: str
    uri: str
    extra: Any
    by_alias: bool


class Outlets(NamedTuple):
    """
    What the tasks of a Dag publish.

    :param of_task: the assets that a task is said to publish, themselves or by reference
    :param assets: these, and those that an alias stands for, which no task need publish
    :param asks: tasks whose repair waits for a person
    :param finishes: tasks that are not killed while they run
    """

    of_task: Mapping[str, frozenset[int]]
    assets: frozenset[int]
    asks: frozenset[str]
    finishes: frozenset[str]


def decoded(ports: Iterable[Any]) -> list[Any]:
    """
    Return a task's inlets or outlets as objects.

    Those of a mapped task stay in ``partial_kwargs`` as they were serialized
    (``SerializedMappedOperator.inlets``).
    """
    return [
        BaseSerialization.deserialize(port) if isinstance(port, dict) and Encoding.TYPE in port else port
        for port in ports
    ]


@lru_cache(maxsize=10_000)
def inlets_of(of: ByIdentity) -> tuple[tuple[str, Any], ...]:
    """Return the inlets of the Dag's tasks, by task id."""
    kinds = SerializedAsset | SerializedAssetNameRef | SerializedAssetUriRef | SerializedAssetAlias
    return tuple(
        (t.task_id, port) for t in of.dag.tasks for port in decoded(t.inlets) if isinstance(port, kinds)
    )


@lru_cache(maxsize=10_000)
def _referring_outlets_of(of: ByIdentity) -> tuple[tuple[str, Any], ...]:
    """
    Return the outlets of the Dag's tasks that are references or aliases, by task id.

    Airflow keeps the others in ``task_outlet_asset_reference``, and none of these.
    """
    kinds = SerializedAssetNameRef | SerializedAssetUriRef | SerializedAssetAlias
    return tuple(
        (t.task_id, port) for t in of.dag.tasks for port in decoded(t.outlets) if isinstance(port, kinds)
    )


@lru_cache(maxsize=10_000)
def all_outlets_of(of: ByIdentity) -> tuple[Any, ...]:
    """Return the outlets of the Dag's tasks as it was serialized."""
    kinds = SerializedAsset | SerializedAssetNameRef | SerializedAssetUriRef | SerializedAssetAlias
    return tuple(port for t in of.dag.tasks for port in decoded(t.outlets) if isinstance(port, kinds))


def schedule_of(dag: SerializedDAG) -> tuple[Any, ...]:
    """Return the assets, references and aliases that the Dag is scheduled on as it was serialized."""
    condition = dag.timetable.asset_condition
    return (
        *(asset for _, asset in condition.iter_assets()),
        *condition.iter_asset_refs(),
        *(alias for _, alias in condition.iter_asset_aliases()),
    )


def assets_meant(ports: Collection[tuple[T, Any]], *, session: Session) -> list[Meant[T]]:
    """Find the assets that the ports mean, in one statement; in none if there are no ports."""
    wanted = {
        "name": {p.name for _, p in ports if isinstance(p, SerializedAsset | SerializedAssetNameRef)},
        "uri": {p.uri for _, p in ports if isinstance(p, SerializedAssetUriRef)},
        "alias": {p.name for _, p in ports if isinstance(p, SerializedAssetAlias)},
    }
    if not any(wanted.values()):
        return []
    of_alias = alias_association_table.c
    rows = session.execute(
        select(
            AssetModel.id,
            AssetModel.name,
            AssetModel.uri,
            AssetModel.extra,
            AssetAliasModel.name.label("alias"),
        )
        .outerjoin(of_alias.alias_id.table, of_alias.asset_id == AssetModel.id)
        .outerjoin(AssetAliasModel, AssetAliasModel.id == of_alias.alias_id)
        .where(
            or_(
                AssetModel.name.in_(wanted["name"]),
                AssetModel.uri.in_(wanted["uri"]),
                AssetAliasModel.name.in_(wanted["alias"]),
            )
        )
    ).all()
    return list(
        {
            (of, row.id): Meant(
                of, row.id, row.name, row.uri, row.extra, isinstance(port, SerializedAssetAlias)
            )
            for row in rows
            for of, port in ports
            if _means(port, row)
        }.values()
    )


def outlets_of(dags: Mapping[str, SerializedDAG | None], *, session: Session) -> dict[str, Outlets]:
    """Return what the tasks of these Dags publish, in at most two statements."""
    ports = [
        ((dag_id, task_id), port)
        for dag_id, dag in dags.items()
        if dag is not None
        for task_id, port in _referring_outlets_of(ByIdentity(dag))
    ]
    of_dag: dict[str, list[tuple[str, int, Any]]] = defaultdict(list)
    by_alias: dict[str, set[int]] = defaultdict(set)
    for meant in assets_meant(ports, session=session):
        dag_id, task_id = meant.of
        if meant.by_alias:
            by_alias[dag_id].add(meant.asset)
        else:
            of_dag[dag_id].append((task_id, meant.asset, meant.extra))
    references = TaskOutletAssetReference
    for dag_id, task_id, asset, extra in session.execute(
        select(references.dag_id, references.task_id, AssetModel.id, AssetModel.extra)
        .join(AssetModel, AssetModel.id == references.asset_id)
        .where(references.dag_id.in_(dags))
    ):
        of_dag[dag_id].append((task_id, asset, extra))
    return {dag_id: _put_together(of_dag[dag_id], by_alias[dag_id]) for dag_id in dags}


def _put_together(rows: Collection[tuple[str, int, Any]], by_alias: Collection[int]) -> Outlets:
    of_task: dict[str, set[int]] = defaultdict(set)
    for task_id, asset, _ in rows:
        of_task[task_id].add(asset)
    policies = [(task_id, policy_in(extra)) for task_id, _, extra in rows]
    return Outlets(
        of_task={task_id: frozenset(assets) for task_id, assets in of_task.items()},
        assets=frozenset(by_alias).union(*of_task.values()),
        asks=frozenset(task_id for task_id, policy in policies if policy.repair == "ask"),
        finishes=frozenset(task_id for task_id, policy in policies if policy.on_running == "finish"),
    )


def _means(port: Any, row: Any) -> bool:
    if isinstance(port, SerializedAsset):
        return bool((port.name, port.uri) == (row.name, row.uri))
    if isinstance(port, SerializedAssetNameRef):
        return bool(port.name == row.name)
    if isinstance(port, SerializedAssetUriRef):
        return bool(port.uri == row.uri)
    return bool(port.name == row.alias)
