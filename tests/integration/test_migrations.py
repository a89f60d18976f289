"""
Our tables: the migrations and the models make the same ones, on every database, up and down.

If a test says that they differ: the models have changed. As long as the newest migration was not released,
edit that one; after that, add a migration.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.models.base import metadata as airflow_metadata
from airflow.utils.db_manager import RunDBManager
from airflow.utils.sqlalchemy import UtcDateTime
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import (
    JSON,
    Boolean,
    Engine,
    Integer,
    String,
    create_engine,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.orm import Session

from airflow_lean_provider import __version__
from airflow_lean_provider.store import models
from airflow_lean_provider.store.db_manager import LeanDBManager
from airflow_lean_provider.store.types import Exact
from tests.databases import SERVED, text_of

TABLES = set(models.Base.metadata.tables)
VERSION_TABLE = LeanDBManager.version_table_name
MIGRATIONS = sorted((Path(LeanDBManager.migration_dir) / "versions").glob("[0-9]*.py"))

Manage = Callable[[], LeanDBManager]


@pytest.fixture
def database(
    metadata_db: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """An empty database of the test's own, which Airflow's settings point to for the time being."""
    from airflow import settings

    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'own.db'}"
        if backend in SERVED:
            url = text_of(stack.enter_context(SERVED[backend].new_database(make_url(metadata_db))))
        engine = create_engine(url)
        stack.callback(engine.dispose)
        monkeypatch.setattr(settings, "engine", engine)
        monkeypatch.setattr(settings, "SQL_ALCHEMY_CONN", url)
        yield engine


@pytest.fixture
def manager(database: Engine) -> Iterator[LeanDBManager]:
    """The manager of our tables, on the database of the test's own."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with Session(database) as session:
        yield LeanDBManager(session)


def present_tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def shape_of(engine: Engine) -> dict[str, Any]:
    """Everything about our tables that the database itself says, in a form that makes a readable diff."""
    inspector = inspect(engine)
    return {
        table: {
            "columns": [
                f"{c['name']} {c['type']}{'' if c['nullable'] else ' NOT NULL'} DEFAULT {c['default']}"
                for c in inspector.get_columns(table)
            ],
            "primary key": inspector.get_pk_constraint(table),
            "unique": sorted(
                (str(u["name"]), u["column_names"]) for u in inspector.get_unique_constraints(table)
            ),
            "indexes": sorted(
                (str(i["name"]), i["column_names"], bool(i["unique"])) for i in inspector.get_indexes(table)
            ),
            "foreign keys": inspector.get_foreign_keys(table),
        }
        for table in sorted(TABLES)
        if inspector.has_table(table)
    }


def differences(engine: Engine) -> list[Any]:
    """What alembic would put into a new migration."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or name in TABLES,
            },
        )
        return compare_metadata(context, LeanDBManager.metadata)


def assert_equal_to_the_models(engine: Engine) -> None:
    found = differences(engine)
    assert not found, f"store/models.py and {MIGRATIONS[-1].name} differ; bring that migration up:\n" + (
        "\n".join(map(str, found))
    )


def empty(manager: LeanDBManager) -> None:
    manager.session.commit()


def test_up_down_and_up_again(manager, database):
    for _ in range(2):
        manager.upgradedb(use_migration_files=True)
        empty(manager)
        assert present_tables(database) == TABLES | {VERSION_TABLE}
        assert manager.check_migration()
        assert_equal_to_the_models(database)
        empty(manager)

        manager.downgrade("base")
        empty(manager)
        assert present_tables(database) == {VERSION_TABLE}
        assert manager.get_current_revision() is None
        empty(manager)


def test_a_fresh_install_makes_the_tables_from_the_models_and_is_at_head(manager, database):
    manager.initdb()
    assert manager.check_migration()
    assert_equal_to_the_models(database)


def test_migrations_and_models_make_the_same_tables(manager, database):
    manager.create_db_from_orm()
    from_models = shape_of(database)
    empty(manager)
    with database.begin() as connection:
        manager.drop_tables(connection)
    empty(manager)
    assert not present_tables(database)
    manager.upgradedb(use_migration_files=True)
    from_migrations = shape_of(database)
    assert set(from_models) == TABLES
    assert from_migrations == from_models, (
        f"{MIGRATIONS[-1].name} makes other tables (left) than store/models.py (right)"
    )


def test_a_difference_is_found(manager, database):
    """The comparison that the tests above rely on is not blind."""
    manager.upgradedb(use_migration_files=True)
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE lean_cord ADD COLUMN forgotten INTEGER")
        next(i for i in models.Cord.__table__.indexes if i.name == "ix_lean_cord_closed_at").drop(connection)
    found = "\n".join(map(str, differences(database)))
    assert "forgotten" in found
    assert "ix_lean_cord_closed_at" in found


def test_a_row_survives_an_upgrade_that_has_nothing_to_do(manager, database):
    manager.upgradedb(use_migration_files=True)
    with Session(database) as session:
        session.add(models.Switch(id=1, enabled=False, reason="kept"))
        session.commit()
    manager.upgradedb()
    with Session(database) as session:
        assert session.get_one(models.Switch, 1).reason == "kept"


def test_downgrade_prints_sql_instead_of_executing_it(manager, database, capsys):
    manager.upgradedb(use_migration_files=True)
    empty(manager)
    manager.downgrade(
        "base", from_revision=manager.get_script_object().get_current_head(), show_sql_only=True
    )
    assert "DROP TABLE lean_cord" in capsys.readouterr().out
    assert present_tables(database) >= TABLES


def test_airflow_accepts_the_manager(metadata_db):
    """``RunDBManager.validate`` is what ``airflow db migrate`` calls first."""
    run = RunDBManager()
    run.validate()
    assert TABLES | {VERSION_TABLE} <= run.get_required_table_names()


def test_airflow_db_migrate_has_brought_our_tables_up(session):
    assert LeanDBManager(session).check_migration()
    assert set(inspect(session.connection()).get_table_names()) >= TABLES


@pytest.mark.mariadb
def test_partition_keys_are_compared_exactly_and_ids_as_airflow_compares_them(session):
    """Where ours and Airflow's ids are joined, its indexes are used; no other collation is that exact."""
    collations = {
        (row.table_name, row.column_name): row.collation_name
        for row in session.execute(
            text(
                "SELECT table_name, column_name, collation_name FROM information_schema.columns "
                "WHERE table_schema = DATABASE()"
            )
        )
    }
    of_ids = collations["dag_run", "dag_id"]
    for table in models.Base.metadata.tables.values():
        for column in table.columns:
            found = collations[table.name, column.name]
            if isinstance(column.type, Exact):
                assert found == "utf8mb4_nopad_bin", column
            elif column.name.endswith(("dag_id", "run_id", "task_id")):
                assert found == of_ids, column


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda path: path.name)
def test_migrations_are_numbered_and_carry_their_version(migration):
    """As in Airflow's providers: ``<number>_<version>_<slug>.py``, the number being the revision."""
    named = re.fullmatch(r"(\d{4})_(\d+_\d+_\d+)_[a-z0-9_]+\.py", migration.name)
    assert named
    text = migration.read_text()
    assert f'revision = "{named[1]}"' in text
    assert f"Version: {named[2].replace('_', '.')}\n" in text
    assert MIGRATIONS.index(migration) + 1 == int(named[1])


def test_the_newest_version_is_mapped_to_the_newest_migration():
    heads = LeanDBManager.revision_heads_map
    assert heads[max(heads)] == MIGRATIONS[-1].name[:4]
    assert max(heads) <= __version__


def test_no_table_refers_to_airflows_tables():
    for table in models.Base.metadata.tables.values():
        assert not table.foreign_keys, f"{table.name} has a foreign key"
    assert not TABLES & set(airflow_metadata.tables)


def test_the_database_has_no_foreign_key_between_our_tables_and_airflows(session):
    inspector = inspect(session.connection())
    for table in inspector.get_table_names():
        for key in inspector.get_foreign_keys(table):
            assert table not in TABLES, f"{table} refers to {key['referred_table']}"
            assert key["referred_table"] not in TABLES, f"{table} refers to {key['referred_table']}"


LONG_AGO = datetime(2001, 1, 1, tzinfo=timezone.utc)
EXAMPLES: dict[type, Any] = {
    Exact: "x",
    JSON: [],
    UtcDateTime: LONG_AGO,
    Boolean: True,
    Integer: 1,
    String: "x",
}


def one_row_of(model: Any) -> Any:
    """A row of the model, from long ago, with a value in every column."""
    return model(
        **{
            column.name: next(example for kind, example in EXAMPLES.items() if isinstance(column.type, kind))
            for column in model.__table__.columns
        }
    )


def test_airflow_db_clean_leaves_our_rows(session):
    """``utils/db_cleanup.py`` purges the tables that it lists, and what refers to them."""
    from airflow.models.log import Log
    from airflow.utils.db_cleanup import config_dict, run_cleanup

    assert not TABLES & set(config_dict)
    our_models = [m.class_ for m in models.Base.registry.mappers]
    assert {m.__tablename__ for m in our_models} == TABLES
    session.add_all(map(one_row_of, our_models))
    session.add(Log(event="old", owner="somebody"))
    session.commit()
    run_cleanup(
        clean_before_timestamp=datetime.now(timezone.utc) + timedelta(days=1),
        dry_run=False,
        confirm=False,
        skip_archive=True,
        session=session,
    )
    session.commit()
    assert session.scalar(select(func.count()).select_from(Log).where(Log.event == "old")) == 0
    for model in our_models:
        assert session.scalar(select(func.count()).select_from(model)) == 1, model.__tablename__
