"""
One pytest process, one metadata database: Airflow reads its configuration when it is imported.

``ANDON_TEST_BACKEND`` chooses it, ``sqlite`` (default), ``postgres`` or ``mariadb``; ``make test`` runs all.
``ANDON_TEST_LONG=yes`` runs what takes minutes, too, as ``make prove`` does.
What follows until the fixtures happens before Airflow is imported anywhere. The database has a folder or a
name of its own, is migrated when the first test asks for it, and is gone at the end.
"""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.databases import SERVED, NoServer, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

BACKENDS = ("sqlite", *SERVED)
BACKEND = os.environ.get("ANDON_TEST_BACKEND", "sqlite")

# What a migration writes and tests only read.
_SEED_TABLES = {"log_template"}


def _choose_metadata_database() -> str:
    if BACKEND not in BACKENDS:
        raise pytest.UsageError(f"ANDON_TEST_BACKEND={BACKEND}: must be one of {', '.join(BACKENDS)}")
    if BACKEND == "sqlite":
        return f"sqlite:///{_home / 'airflow.db'}"
    try:
        server = _resources.enter_context(SERVED[BACKEND].server())
    except NoServer as reason:
        raise pytest.UsageError(
            f"ANDON_TEST_BACKEND={BACKEND}, but no {SERVED[BACKEND].TITLE}: {reason}"
        ) from None
    return text_of(_resources.enter_context(SERVED[BACKEND].new_database(server)))


def _isolate_airflow(home: Path, metadata_database: str) -> None:
    """Let nothing of the machine's own Airflow reach the tests, and nothing of theirs reach it."""
    for variable in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[variable]
    (home / "dags").mkdir()
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=metadata_database,
        AIRFLOW__CORE__DAGS_FOLDER=str(home / "dags"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
        AIRFLOW__API_AUTH__JWT_SECRET="a secret of the test suite, long enough for HS512 signatures, no more",
        AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
    )


def _close_resources(owner: int) -> None:
    if os.getpid() == owner:  # a forked child that a test started has inherited the exit handler
        _resources.close()


if any(name.partition(".")[0] == "airflow" for name in sys.modules):
    raise pytest.UsageError("Airflow was imported before tests/conftest.py could choose its database")
_resources = ExitStack()
atexit.register(_close_resources, os.getpid())
_home = Path(_resources.enter_context(tempfile.TemporaryDirectory(prefix="lean-airflow-home-")))
_metadata_database = _choose_metadata_database()
_isolate_airflow(_home, _metadata_database)


def pytest_report_header() -> str:
    return f"Airflow {version('apache-airflow')}, metadata database: {BACKEND}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs in the processes that have other backends, and what takes long."""

    def runs_here(item: pytest.Item) -> bool:
        if item.get_closest_marker("long") and not os.environ.get("ANDON_TEST_LONG"):
            return False
        asked_for = [name for name in BACKENDS if item.get_closest_marker(name)]
        return not asked_for or BACKEND in asked_for

    elsewhere = [item for item in items if not runs_here(item)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


@pytest.fixture(scope="session")
def backend() -> str:
    """The metadata database of this process: ``sqlite``, ``postgres`` or ``mariadb``."""
    return BACKEND


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """The folder that Airflow takes for its home in this process; ``dags/`` in it is empty."""
    return _home


@pytest.fixture(scope="session")
def metadata_db() -> Iterator[str]:
    """The URL of a migrated metadata database, our tables included; as after ``airflow db migrate``."""
    from airflow import settings
    from airflow.utils.db import upgradedb

    _refuse_any_other_database()
    upgradedb()
    yield _metadata_database
    settings.dispose_orm()


@pytest.fixture
def clean_db(metadata_db: str) -> str:
    """The metadata database as it was right after its migration; what a test leaves stays until the next."""
    from airflow import settings
    from airflow.utils.db import add_default_pool_if_not_exists

    _refuse_any_other_database()
    settings.Session.remove()
    _empty_tables()
    add_default_pool_if_not_exists()
    return metadata_db


@pytest.fixture
def session(clean_db: str) -> Iterator[Session]:
    """
    Airflow's own session on a clean database.

    It is the session of this thread: code that is handed none (``provide_session``, ``create_session``) works
    in the same one, commits and closes it.
    """
    from airflow import settings

    with_session = settings.Session()
    yield with_session
    with_session.rollback()
    settings.Session.remove()


@pytest.fixture
def other_session(clean_db: str) -> Iterator[Session]:
    """A second session with a connection and transactions of its own, to play somebody else."""
    from airflow import settings

    somebody_else = settings.NonScopedSession()
    yield somebody_else
    somebody_else.rollback()
    somebody_else.close()


@pytest.fixture(autouse=True)
def _options_as_configured() -> Iterator[None]:
    """Options are cached for the life of a process; what one test configures is not the next one's."""
    yield
    if settings := sys.modules.get("airflow_lean_provider.settings"):
        settings.forget()


def _refuse_any_other_database() -> None:
    """Rows are about to be deleted: only ever in the database that this process made for itself."""
    from airflow import settings

    found = settings.engine.url.render_as_string(hide_password=False)
    if found != _metadata_database:
        pytest.exit(f"Airflow is connected to {settings.engine.url!r}, not to the tests' own database", 4)


def _empty_tables() -> None:
    """Delete every row that the migration did not write."""
    from airflow import settings
    from sqlalchemy import inspect, text

    with settings.engine.connect() as connection:
        quote = connection.dialect.identifier_preparer.quote
        tables = [
            name
            for name in inspect(connection).get_table_names()
            if name not in _SEED_TABLES and "alembic_version" not in name
        ]
        question = " UNION ALL ".join(
            f"SELECT '{name}' FROM (SELECT 1) one WHERE EXISTS (SELECT 1 FROM {quote(name)})"
            for name in tables
        )
        filled = [quote(name) for name in connection.scalars(text(question))]
        if not filled:
            return
        if connection.dialect.name == "postgresql":
            _empty_on_postgres(connection, filled)
            return
        if connection.dialect.name == "mysql":
            connection.execute(text("SET foreign_key_checks = 0"))
            for name in filled:
                connection.execute(text(f"SET STATEMENT lock_wait_timeout = 15 FOR TRUNCATE {name}"))
            connection.execute(text("SET foreign_key_checks = 1"))
            connection.commit()
            return
        connection.commit()  # SQLite ignores the pragma within a transaction
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        try:
            for name in filled:
                connection.execute(text(f"DELETE FROM {name}"))
            if inspect(connection).has_table("sqlite_sequence"):
                connection.execute(text("DELETE FROM sqlite_sequence"))
            connection.commit()
        finally:
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")


def _empty_on_postgres(connection: Connection, filled: list[str]) -> None:
    """
    Delete the rows and number the next ones from 1; ``TRUNCATE`` would make new files, and wait for the disk.

    It is one statement: foreign keys are checked when it has ended, in whatever order the tables are named.
    """
    from sqlalchemy import text

    # A session that a test left open makes this fail, not hang.
    connection.execute(text("SET LOCAL lock_timeout = '15s'"))
    connection.execute(text(f"LOCK TABLE {', '.join(filled)}"))
    deletions = (f"of_{number} AS (DELETE FROM {table})" for number, table in enumerate(filled))
    connection.execute(text(f"WITH {', '.join(deletions)} SELECT"))
    connection.execute(
        text(
            "SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false) "
            "FROM pg_sequences WHERE last_value IS NOT NULL"
        )
    )
    connection.commit()
