"""A small warehouse with roll-ups, `&`, `|` and a cycle, in which several things go wrong at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.warehouse.graph import ALL_HOURS_OF_DAY, warehouse
from tests.system.warehouse.judge import Judge
from tests.system.warehouse.stage import staged
from tests.system.warehouse.stories import play_warehouse

pytestmark = [pytest.mark.system, pytest.mark.postgres]

# The stories that each seed begins with: see tests.system.warehouse.stories.STORIES.
SEED = 3


def test_every_table_ends_on_good_data_computed_once(tmp_path: Path) -> None:
    with staged(warehouse(18, ALL_HOURS_OF_DAY[:2], SEED), tmp_path, seed=SEED) as play:
        play_warehouse(play, pulls=4)
        verdict = Judge(play).judge()
        print(verdict.figures)
        if verdict.complaints:
            pytest.fail("\n".join([*verdict.complaints, play.evidence()]))
