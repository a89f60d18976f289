"""Assets, as people name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow.models.asset import AssetActive, AssetEvent, AssetModel
from sqlalchemy import func, or_, select

from airflow_lean_provider.airflow_internals.statements import is_like, that_fit
from airflow_lean_provider.assets import POLICY, Policy, policy_in, problem_in

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session


class NamedAsset(NamedTuple):
    """An asset with what people call it."""

    id: int
    name: str
    uri: str


def find_assets(name_or_uri: str, *, session: Session) -> list[NamedAsset]:
    """Return the assets with this name or uri: those that a Dag declares, else those that one once did."""
    if not that_fit([name_or_uri], AssetModel.name, session=session):
        return []
    found = [
        NamedAsset(*row)
        for row in session.execute(
            select(AssetModel.id, AssetModel.name, AssetModel.uri)
            .where(or_(AssetModel.name == name_or_uri, AssetModel.uri == name_or_uri))
            .order_by(AssetModel.id)
        )
        if name_or_uri in (row.name, row.uri)
    ]
    if len(found) < 2:
        return found
    active = set(session.execute(select(AssetActive.name, AssetActive.uri)).all())
    return [a for a in found if (a.name, a.uri) in active] or found


def find_asset(asset: int, *, session: Session) -> NamedAsset | None:
    """Return the asset with this id."""
    row = session.execute(
        select(AssetModel.id, AssetModel.name, AssetModel.uri).where(AssetModel.id == asset)
    ).first()
    return NamedAsset(*row) if row is not None else None


def active_assets(*, session: Session) -> set[int]:
    """Return the assets that Dags declare."""
    return set(session.scalars(select(AssetModel.id).where(AssetModel.active.has())))


def assets_like(
    text: str | None,
    *,
    name: str | None,
    uri: str | None,
    only: Collection[int] | None,
    without: Collection[int],
    limit: int,
    offset: int,
    order_by: Sequence[str],
    session: Session,
) -> tuple[list[NamedAsset], int]:
    """
    Return some of the assets that Dags declare, and how many there are.

    :param text: part of the name or the uri, in any case
    :param name: a pattern of the name
    :param uri: a pattern of the uri
    :param only: at most these, None for all
    :param order_by: ``name``, ``uri`` or ``asset_id``, with a minus in front for descending
    :raises KeyError: for any other order
    """
    columns = {"name": AssetModel.name, "uri": AssetModel.uri, "asset_id": AssetModel.id}
    order = []
    for field in order_by:
        if field.removeprefix("-") not in columns:
            raise KeyError(field)
        column = columns[field.removeprefix("-")]
        order.append(column.desc() if field.startswith("-") else column.asc())
    query = select(AssetModel.id, AssetModel.name, AssetModel.uri).where(AssetModel.active.has())
    if only is not None:
        query = query.where(AssetModel.id.in_(only))
    if without:
        query = query.where(AssetModel.id.not_in(without))
    searched = [words for words in (text, name, uri) if words is not None]
    if set(that_fit(searched, AssetModel.name, session=session)) < set(searched):
        return [], 0
    for pattern, column in ((name, AssetModel.name), (uri, AssetModel.uri)):
        if pattern is not None:
            query = query.where(is_like(column, pattern))
    if text is not None:
        query = query.where(
            or_(
                AssetModel.name.icontains(text, autoescape=True),
                AssetModel.uri.icontains(text, autoescape=True),
            )
        )
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    rows = session.execute(query.order_by(*order, AssetModel.name, AssetModel.id).limit(limit).offset(offset))
    return [NamedAsset(*row) for row in rows], total


def names_of(ids: set[int], *, session: Session) -> dict[int, str]:
    """Return the names of the assets by id."""
    if not ids:
        return {}
    rows = session.execute(select(AssetModel.id, AssetModel.name).where(AssetModel.id.in_(ids)))
    return {row.id: row.name for row in rows}


def policies_of(ids: Collection[int], *, session: Session) -> list[Policy]:
    """Return what the authors of these assets have decided; what is not valid in it is left out."""
    return [policy_in(e) for e in session.scalars(select(AssetModel.extra).where(AssetModel.id.in_(ids)))]


def broken_policies(*, session: Session) -> dict[str, str]:
    """Return what is wrong with policies, by the names of assets that Dags declare."""
    found = {}
    for name, extra in session.execute(
        select(AssetModel.name, AssetModel.extra).where(AssetModel.active.has()).order_by(AssetModel.name)
    ):
        problem = problem_in(extra) if extra and POLICY in extra else None
        if problem is not None:
            found[str(name)] = problem
    return found


def first_published(asset: int, since: datetime, *, session: Session) -> dict[str | None, datetime]:
    """Return when each partition of the asset was first published from ``since`` on, by its key."""
    found: dict[str | None, datetime] = {}
    for key, at in session.execute(
        select(AssetEvent.partition_key, AssetEvent.timestamp)
        .where(AssetEvent.asset_id == asset, AssetEvent.timestamp >= since)
        .order_by(AssetEvent.timestamp)
    ):
        found.setdefault(key, at)
    return found
