"""
The demands of the oracle can be obeyed, and who does not obey is found out.

Each world plays many seeds; a disobedient one does a single thing wrong.
"""

from __future__ import annotations

import pytest

from tests.simulation import trace as seen
from tests.simulation.oracle import judge
from tests.unit.simulation.obedient import ObedientWorld

ACTS = 30


@pytest.mark.parametrize("seed", range(8))
def test_who_obeys_is_never_complained_of(seed):
    world = ObedientWorld(seed)
    world.lives(ACTS)
    assert judge(world.trace()) == []


class StopsNobody(ObedientWorld):
    def is_doomed(self, execution):
        return self.judge.facts.acted_on.get(execution.task, -1) > execution.granted


class RepairsNobody(ObedientWorld):
    def repairs(self):
        return False


class RepairsEverybody(ObedientWorld):
    """Not one payer, but all who owe."""

    def is_superseded(self, run):
        return False


class RepairsTwice(ObedientWorld):
    def everything_goes_on(self):
        super().everything_goes_on()
        last = self.judge.facts.last
        again = [task for task in last if last[task].for_repair and self.exists(task)]
        if again and self.state(again[0]) == "success":
            self.clears(again[0], by_person=False)
            super().everything_goes_on()


class HoldsNobodyByDerivedHalts(ObedientWorld):
    def may_start(self, task):
        halts = set().union(*self.judge.moment.strict.forbids(task).values())
        return all(halt.cord is None for halt in halts)


class HoldsTheWholeAsset(ObedientWorld):
    def may_start(self, task):
        halted = {partition.asset for partition in self.judge.moment.strict.halted}
        reads = {source.asset for source in self.dags[task.run.dag].sources}
        return super().may_start(task) and not halted & reads


class AbsorbsNothing(ObedientWorld):
    def is_left(self, delivery):
        return True


class LosesEvents(ObedientWorld):
    def is_left(self, delivery):
        return super().is_left(delivery) and delivery.at % 3 > 0


class SkipsNobody(ObedientWorld):
    def is_over(self, task):
        return False


class ReleasesAtOnce(ObedientWorld):
    def may_take_effect(self, partition, asked):
        return True


class ReleasesNever(ObedientWorld):
    def may_take_effect(self, partition, asked):
        return False


class KillsAtRandom(ObedientWorld):
    def is_doomed(self, execution):
        return super().is_doomed(execution) or self.chance.random() < 0.03


FOUND_OUT = {
    StopsNobody: "every open execution that saw a bad version is stopped",
    RepairsNobody: "a due debt is paid",
    RepairsEverybody: "one payer",
    RepairsTwice: "each once",
    HoldsNobodyByDerivedHalts: "no late start",
    HoldsTheWholeAsset: "unaffected work is never delayed",
    AbsorbsNothing: "duplicates are absorbed",
    LosesEvents: "pending for ever",
    SkipsNobody: "D5",
    ReleasesAtOnce: "fixed waits for the tasks that publish",
    ReleasesNever: "it takes effect when nothing is left to wait for",
    KillsAtRandom: "unaffected work is never delayed",
}


@pytest.mark.parametrize("world", FOUND_OUT, ids=lambda world: world.__name__)
def test_who_disobeys_is_found_out(world):
    for seed in (0, 1, 10, 20, 45, *range(46, 80)):  # the first ones are enough today
        history = world(seed)
        history.lives(ACTS)
        if any(FOUND_OUT[world] in each for each in history.judge.complaints):
            return
    pytest.fail("nobody noticed")


def test_pulls_told_twice_change_nothing():
    """The same request key returns the cord that exists."""
    world = ObedientWorld(7)
    world.lives(ACTS)
    trace = world.trace()
    twice = [each for event in trace.events for each in [event] * (1 + isinstance(event, seen.Pulled))]
    assert any(isinstance(event, seen.Pulled) for event in twice)
    assert judge(seen.Trace(tuple(twice), trace.quiet, trace.final, trace.pending)) == []
