"""The variants of a history say what they are meant to say."""

from __future__ import annotations

from tests.simulation.acts import Act, History
from tests.simulation.graph import Graph
from tests.simulation.theorems import (
    REST,
    in_another_order,
    with_pulls_doubled,
    with_releases_at_rest,
    with_rests_between,
)

PULL = Act("pull", ("c1", "orders", "p1", "stop"))
ONE, TWO = Act("release", ("c1", "", "fixed", "")), Act("release", ("c2", "", "withdrawn", ""))
TICK, BACK = Act("tick", ("0",)), Act("unpause", ("step0",))
HISTORY = History(1, Graph(()), (PULL, ONE, TICK, BACK, TWO, REST, ONE, REST))


def test_only_what_ends_the_history_is_varied() -> None:
    assert with_releases_at_rest(HISTORY).acts == (PULL, ONE, TICK, BACK, REST, TWO, ONE, REST)


def test_another_order() -> None:
    assert in_another_order(HISTORY).acts[-4:] == (REST, ONE, TWO, REST)


def test_rests_between() -> None:
    assert with_rests_between(HISTORY).acts[-6:] == (REST, TWO, REST, ONE, REST, REST)


def test_everything_is_done_to_both_cords() -> None:
    again = Act("pull", ("c1again", "orders", "p1", "stop"))
    assert with_pulls_doubled(HISTORY).acts[:2] == (PULL, again)
    assert with_pulls_doubled(HISTORY).acts[-2] == Act("release", ("c1again", "", "fixed", ""))
