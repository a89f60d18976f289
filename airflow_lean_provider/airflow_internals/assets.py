"""Assets, as people name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow.models.asset import AssetActive, AssetModel
from sqlalchemy import or_, select

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class NamedAsset(NamedTuple):
    """An asset with what people call it."""

    id: int
    name: str
    uri: str


def find_assets(name_or_uri: str, *, session: Session) -> list[NamedAsset]:
    """Return the assets with this name or uri: those that a Dag declares, else those that one once did."""
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


def names_of(ids: set[int], *, session: Session) -> dict[int, str]:
    """Return the names of the assets by id."""
    if not ids:
        return {}
    rows = session.execute(select(AssetModel.id, AssetModel.name).where(AssetModel.id.in_(ids)))
    return {row.id: row.name for row in rows}
