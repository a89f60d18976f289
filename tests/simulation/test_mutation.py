"""The simulation can fail: a few mutants are caught here, ``make mutants`` plays all of them."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.mutation import play
from tests.simulation.stories import STORIES, TOLD

IN_CI = [mutant for mutant in MUTANTS if mutant.in_ci]


def _judge(*, interleaved: bool) -> None:
    unbroken, *caught = play(IN_CI, interleaved=interleaved)
    assert unbroken.script is None, unbroken
    assert caught
    assert [each for each in caught if each.script is None] == []


def test_mutants_are_caught_by_what_the_unbroken_product_plays_without_complaint() -> None:
    _judge(interleaved=False)


@pytest.mark.postgres
def test_so_are_those_that_it_takes_several_actors_to_notice() -> None:
    _judge(interleaved=True)


def test_every_other_story_is_for_a_mutant() -> None:
    assert {mutant.story for mutant in MUTANTS} - {""} == STORIES.keys() - set(TOLD)
