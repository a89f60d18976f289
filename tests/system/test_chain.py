"""A chain four hops deep, pulled at random moments, in front of two schedulers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.warehouse.graph import ALL_HOURS_OF_DAY, chain
from tests.system.warehouse.judge import Judge
from tests.system.warehouse.stage import staged
from tests.system.warehouse.stories import play_chain

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.postgres]

PULLS = 8
SECONDS_OF_A_TASK = 2.0
# Long enough for a process that was told to stop to be killed before it ends by itself.
SLOW_TABLE, SECONDS_OF_A_SLOW_TASK = "hop_2", 9.0


def test_no_late_start_and_each_partition_computed_once_from_good_data(tmp_path: Path) -> None:
    graph = chain(ALL_HOURS_OF_DAY[:PULLS])
    with staged(graph, tmp_path, schedulers=2, seed=1, pace=SECONDS_OF_A_TASK) as play:
        play.store.set_pace(SECONDS_OF_A_SLOW_TASK, SLOW_TABLE)
        play_chain(play, PULLS)
        verdict = Judge(play).judge()
        print(verdict.figures)
        if verdict.complaints:
            pytest.fail("\n".join([*verdict.complaints, play.evidence()]))
