"""The mutants of the simulation still fit the product."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.mutation import Stale, mutated, source_of


@pytest.mark.parametrize("mutant", MUTANTS, ids=[m.name for m in MUTANTS])
def test_a_mutant_breaks_what_is_there(mutant: Mutant) -> None:
    source = source_of(mutant)
    broken = mutated(mutant, source)
    assert broken != source
    compile(broken, mutant.module, "exec")


def test_a_mutant_whose_text_is_gone_is_stale() -> None:
    mutant = MUTANTS[0]._replace(old="a text that no module has")
    with pytest.raises(Stale, match="0 times"):
        mutated(mutant, source_of(mutant))


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert len({m.name for m in MUTANTS}) == len(MUTANTS) >= 20
