"""
One of each fault in each story, at a step that is drawn once and for all; ``make prove`` plays all of them.

They have a process of pytest of their own, as the simulation has.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.faults.stories import STORIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.playing import Attack


@pytest.fixture(scope="module", autouse=True)
def _stage(metadata_db: str) -> Iterator[None]:
    from tests.simulation.playing import airflow_without_delays

    with airflow_without_delays(PUT_BACK_TIME="0.001"):
        yield


def _one_of_each(story: str) -> list[Attack]:
    from tests.faults.playing import attacks

    by_fault: dict[str, list[Attack]] = {}
    for attack in attacks(story):
        by_fault.setdefault(attack.fault.name, []).append(attack)
    draw = Random(story)
    return [draw.choice(found) for found in by_fault.values()]


@pytest.mark.parametrize("story", STORIES)
def test_whatever_breaks_all_comes_to_a_good_end(story: str) -> None:
    from tests.faults.playing import play
    from tests.simulation.playing import first_of_each

    wrong = {attack.again: first_of_each(play(attack).wrong) for attack in _one_of_each(story)}
    assert not any(wrong.values()), "\n".join(f"{again}: {said}" for again, said in wrong.items() if said)
