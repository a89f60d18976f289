"""Which part of a list is asked for, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_lean_provider.brake.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence


class Page(NamedTuple):
    """Which part of a list is asked for; ``order_by`` names fields, with a minus in front for descending."""

    limit: int = 50
    offset: int = 0
    order_by: Sequence[str] = ()


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
