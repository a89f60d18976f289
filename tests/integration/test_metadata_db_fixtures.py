"""The fixtures of ``conftest.py`` hold what they promise; each pair runs in the order of the file."""

from __future__ import annotations

import pytest
from airflow.models.pool import Pool
from airflow.models.variable import Variable
from airflow.utils.db import check_migrations
from sqlalchemy import func, select


def test_everything_is_migrated(metadata_db):
    check_migrations(timeout=0)


def test_backend_is_the_one_asked_for(session, backend):
    dialects = {"sqlite": "sqlite", "postgres": "postgresql", "mariadb": "mysql"}
    assert dialects[backend] == session.get_bind().dialect.name


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_test_does_not_see_what_an_earlier_one_left(session, attempt):
    assert session.scalar(select(func.count()).select_from(Variable)) == 0
    assert session.scalars(select(Pool.pool)).all() == ["default_pool"]
    session.add(Variable(key="left", val=str(attempt)))
    session.commit()
    assert session.scalar(select(Variable.id)) == 1


def test_the_other_session_sees_only_what_is_committed(session, other_session):
    session.add(Variable(key="half", val="done"))
    session.flush()
    if session.get_bind().dialect.name != "sqlite":
        assert other_session.scalar(select(func.count()).select_from(Variable)) == 0
    session.commit()
    other_session.rollback()
    assert other_session.scalar(select(func.count()).select_from(Variable)) == 1


@pytest.mark.sqlite
def test_sqlite_alone_runs_this(backend):
    assert backend == "sqlite"


@pytest.mark.postgres
def test_postgres_alone_runs_this(backend):
    assert backend == "postgres"


@pytest.mark.mariadb
def test_mariadb_alone_runs_this(backend):
    assert backend == "mariadb"
