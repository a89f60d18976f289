"""Which part of a list is asked for, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_lean_provider.brake.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement


class Page(NamedTuple):
    """Which part of a list is asked for; ``order_by`` names fields, with a minus in front for descending."""

    limit: int = 50
    offset: int = 0
    order_by: Sequence[str] = ()


class Moments(NamedTuple):
    """Between which moments something has to lie, each bound with or without the moment itself."""

    gte: datetime | None = None
    gt: datetime | None = None
    lte: datetime | None = None
    lt: datetime | None = None

    def bound(self, column: Any) -> list[ColumnElement[bool]]:
        """Return the conditions on a column; what has no moment fulfils none."""
        bounds = (
            (self.gte, column.__ge__),
            (self.gt, column.__gt__),
            (self.lte, column.__le__),
            (self.lt, column.__lt__),
        )
        return [compare(moment) for moment, compare in bounds if moment is not None]


ANY_TIME = Moments()


def order_of(order_by: Sequence[str], columns: dict[str, Any]) -> list[Any]:
    """
    Return what to order by.

    :raises BadRequest: if a name is not among the columns
    """
    found = []
    for name in order_by:
        column = columns.get(name.removeprefix("-"))
        if column is None:
            raise BadRequest("order_by", f"{name!r} is not one of {', '.join(columns)}")
        found.append(column.desc() if name.startswith("-") else column.asc())
    return found
