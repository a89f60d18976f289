"""The fixtures of the integration tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.world import World


@pytest.fixture
def world(clean_db: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """
    A real Airflow without processes, empty; see ``world.py``.

    A stopped process is gone at once: tests of the old process say how long it lives (``world.configure``).
    """
    from tests.integration.world import World

    # A new version of a Dag counts at once, not after the half minute that spares the database.
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
    World.configure(monkeypatch, survival_time=0.001)
    return World()


@pytest.fixture
def chain(world: World) -> World:
    """orders -> cleaning -> clean -> reporting -> report; ``ingest`` publishes orders."""
    from tests.integration.dags import the_chain

    world.add(*the_chain())
    return world
