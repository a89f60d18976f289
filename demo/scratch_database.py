"""Fresh databases that last as long as one Airflow: a SQLite file, or a PostgreSQL database of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool


def sqlite_url(folder: Path, name: str = "airflow") -> str:
    """
    URL of a SQLite file in *folder*; the folder's owner removes it.

    :param folder: existing folder
    :param name: the file's name, without ``.db``
    """
    return f"sqlite:///{folder / name}.db"


@contextmanager
def postgres_url(server: str, prefix: str = "andon") -> Iterator[str]:
    """
    Create an empty database on a PostgreSQL server, and drop it at the end whoever is still connected.

    :param server: SQLAlchemy URL of any database of that server, of a user who may create databases
    :param prefix: what the new database's name begins with
    """
    name = f"{prefix}_{secrets.token_hex(5)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
