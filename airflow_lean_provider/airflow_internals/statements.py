"""Statements of bounded size, however much they are about, and about nothing that the database refuses."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.models.asset import AssetEvent
from sqlalchemy import Connection, Integer, String, any_, func, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import InstrumentedAttribute, Session

T = TypeVar("T")

AT_ONCE = 400
"""How many runs, keys or ids one statement names: SQLite takes 32,766 parameters, three for each."""

LENGTH_OF_KEY = func.length(AssetEvent.partition_key)
"""What keeps keys apart that MariaDB takes for equal in Airflow's columns: spaces at the end."""


def chunks(items: Iterable[T], size: int = AT_ONCE) -> Iterator[list[T]]:
    """Split the items into lists of at most ``size``."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def among(
    column: ColumnElement[Any] | InstrumentedAttribute[Any],
    values: Collection[Any],
    *,
    session: Session | Connection,
) -> Iterator[ColumnElement[bool]]:
    """
    Say that the column has one of the values, in as many conditions as the database needs.

    PostgreSQL takes any number at once, as an array.
    """
    if _takes_arrays(values, session):
        yield column == any_(_array(values))
    else:
        for some in chunks(values):
            yield column.in_(some)


def among_rows(
    columns: tuple[InstrumentedAttribute[Any], ...],
    rows: Collection[tuple[str, ...]],
    *,
    session: Session | Connection,
) -> Iterator[ColumnElement[bool]]:
    """Say that the columns have the values of one of the rows: see :func:`among`."""
    if _takes_arrays(rows, session):
        of_columns = zip(*rows, strict=True)
        yield tuple_(*columns).in_(select(*(func.unnest(_array(values)) for values in of_columns)))
    else:
        for some in chunks(rows):
            yield tuple_(*columns).in_([tuple(row) for row in some])


def _takes_arrays(values: Collection[Any], session: Session | Connection) -> bool:
    """Where few are named, PostgreSQL plans better with a list."""
    bind = session if isinstance(session, Connection) else session.get_bind()
    return len(values) > AT_ONCE and bind.dialect.name == "postgresql"


def _array(values: Collection[Any]) -> ColumnElement[Any]:
    of_text = isinstance(next(iter(values)), str)
    return literal(list(values), ARRAY(String() if of_text else Integer()))


def is_like(column: InstrumentedAttribute[Any], pattern: str) -> ColumnElement[bool]:
    """
    Search as the ``*_pattern`` parameters of Airflow's own API do.

    A part in any case, with ``%`` and ``_`` as wildcards and ``|`` as *or*; ``~`` finds everything.
    """
    terms = [term.strip() for term in pattern.split("|") if term.strip()] or [pattern]
    return or_(*(column.ilike("%" if pattern == "~" else f"%{term}%") for term in terms))


def that_fit(texts: Iterable[str], column: InstrumentedAttribute[Any], *, session: Session) -> list[str]:
    """
    Return the texts that the column can hold, sorted.

    The others are in no row, but MariaDB fails when asked for them ("Illegal mix of collations"): there,
    Airflow's columns of ids and keys take no characters of four bytes (``models/base.py``), those of assets'
    names and uris only Latin ones (``models/asset.py``). What is no Unicode (a byte that a shell passed on)
    fits nowhere.
    """
    dialect = session.get_bind().dialect
    collation: str = getattr(column.type.dialect_impl(dialect), "collation", None) or ""
    last = _LAST_CHARACTER.get(collation.partition("_")[0], chr(0x10FFFF))
    return sorted(t for t in texts if t.isascii() or (max(t) <= last and _is_unicode(t)))


_LAST_CHARACTER = {"latin1": chr(0xFF), "utf8mb3": chr(0xFFFF), "utf8": chr(0xFFFF)}
"""By character set, where that is not all of Unicode."""


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
