"""The contract tests play Airflow's own components step by step: see ``tests/integration/world.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.world import World


@pytest.fixture
def world(clean_db: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """A real Airflow without processes, empty."""
    from tests.integration.world import World

    World.configure(monkeypatch, survival_time=0.001)
    return World()
