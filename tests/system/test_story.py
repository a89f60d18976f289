"""The demo's story on a database server: what the demo shows on SQLite must hold there, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo import DAGS_FOLDER
from demo.__main__ import play
from demo.airflow_process import sqlite_url
from demo.shop_database import ShopDatabase
from demo.telling import Teller
from tests.system.harness import airflow_on, fresh_database

pytestmark = pytest.mark.system


@pytest.mark.postgres
def test_every_promise_is_kept_by_two_schedulers(tmp_path: Path) -> None:
    with fresh_database() as shop_url:
        shop = ShopDatabase(shop_url)
        environment = shop.airflow_connection
        with airflow_on("postgres", tmp_path, DAGS_FOLDER, schedulers=2, environment=environment) as airflow:
            broken_promises = play(airflow, shop, Teller())
    assert broken_promises == []


@pytest.mark.mariadb
def test_every_promise_is_kept_on_mariadb(tmp_path: Path) -> None:
    shop = ShopDatabase(sqlite_url(tmp_path, "shop"))
    environment = shop.airflow_connection
    with airflow_on("mariadb", tmp_path, DAGS_FOLDER, api_workers=2, environment=environment) as airflow:
        broken_promises = play(airflow, shop, Teller())
    assert broken_promises == []
