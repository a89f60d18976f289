"""The demo's story on PostgreSQL with two schedulers: what the demo shows must hold there, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo import DAGS_FOLDER
from demo.__main__ import play
from demo.shop_database import ShopDatabase
from demo.telling import Teller
from tests.system.harness import airflow_on_postgres, fresh_database

pytestmark = [pytest.mark.system, pytest.mark.postgres]


def test_every_promise_of_the_story_is_kept(tmp_path: Path) -> None:
    with fresh_database() as shop_url:
        shop = ShopDatabase(shop_url)
        with airflow_on_postgres(tmp_path, DAGS_FOLDER, environment=shop.airflow_connection) as airflow:
            broken_promises = play(airflow, shop, Teller())
    assert broken_promises == []
