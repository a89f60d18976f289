"""
A fixed set of seeds, played on each database; ``make simulate`` plays more.

They have a process of pytest of their own: what they change in it lasts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulation.stories import STORIES, TOLD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.playing import Played

SEEDS = (104, 105, 107, 112, 113, 114)
THEOREMS = (11,)
INTERLEAVED = (1, 3)


@pytest.fixture(scope="module", autouse=True)
def _stage(metadata_db: str) -> Iterator[None]:
    from tests.simulation.playing import airflow_without_delays

    with airflow_without_delays():
        yield


def insist_on(played: Played, again: str) -> None:
    from tests.simulation.acts import in_words
    from tests.simulation.playing import first_of_each

    said = [*first_of_each(played.wrong), played.traceback, in_words(played.history)]
    assert not played.wrong, "\n".join([f"python -m tests.simulation {again}", *said])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_obeys_the_rules(seed: int, backend: str) -> None:
    from tests.simulation.playing import play_seed

    insist_on(play_seed(seed), f"--backend {backend} --seed {seed}")


@pytest.mark.parametrize("name", TOLD)
def test_a_story_obeys_the_rules(name: str) -> None:
    from tests.simulation.playing import play_history

    insist_on(play_history(STORIES[name].history()), f'"{name}"')


@pytest.mark.postgres
@pytest.mark.parametrize("seed", INTERLEAVED)
def test_a_history_of_actors_that_interleave_obeys_the_rules(seed: int) -> None:
    from tests.simulation.playing import play_seed

    insist_on(play_seed(seed, interleaved=True), f"--interleaved --seed {seed}")


@pytest.mark.parametrize("seed", THEOREMS)
def test_what_must_not_matter_does_not(seed: int) -> None:
    from tests.simulation.playing import play_history, play_seed
    from tests.simulation.theorems import broken_by

    assert broken_by(play_seed(seed).history, play_history) == []
