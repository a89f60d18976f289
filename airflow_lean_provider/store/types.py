"""The types of our columns that hold what Airflow's columns hold, or that must be compared more exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.models.base import StringID
from sqlalchemy import String
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

ID = StringID()
"""Dag, run and task ids, as Airflow's own columns hold them: compared in joins, and indexed as they are."""


class Exact(TypeDecorator[str]):
    """
    Text that is compared byte for byte on every database, as partition keys are.

    MariaDB takes ``us`` and ``us `` for equal in all collations that are not called ``nopad``; MySQL has
    other names for these.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """See the class."""
        if dialect.name not in ("mysql", "mariadb"):
            return dialect.type_descriptor(String(self.length))
        collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
        return dialect.type_descriptor(mysql.VARCHAR(self.length, collation=collation))


EXACT = Exact(250)
"""Partition keys, and whatever else of that length is compared byte for byte."""
