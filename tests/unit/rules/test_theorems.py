"""
What follows from the five definitions: "Order, 'each once', any number of hops, stacking cords, cycles,
idempotence and independence of the order of releases are theorems of these five; they are tested, not coded."
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_lean_provider.rules.badness import judge
from airflow_lean_provider.rules.facts import Ending, Execution, Outcome, Run
from airflow_lean_provider.rules.plan import decide
from tests.unit.rules.simulation import LivingWorld
from tests.unit.rules.story import FALSE_ALARM, FIXED, WITHDRAWN, World

SOURCES = ("raw", "price")
ENDS = st.sampled_from([FIXED, FALSE_ALARM])


def shop(mails: bool = True) -> LivingWorld:
    """Raw and price come from outside; a diamond is made of them, and some Dags mail what they have made."""
    world = LivingWorld()
    tasks = {"make": "", "mail": "make"} if mails else {"make": ""}
    for dag_id, reads in [
        ("clean", "raw"),
        ("rates", "price"),
        ("daily", "clean rates"),
        ("weekly", "clean"),
        ("report", "daily weekly"),
    ]:
        world.dag(dag_id, reads=reads, tasks=tasks, writes={"make": dag_id})
    return world


def in_business(mails: bool = True) -> LivingWorld:
    world = shop(mails)
    for source in SOURCES:
        world.arrives(source)
        world.lives()
    return world


def at_rest(world: LivingWorld) -> None:
    plan = world.plan()
    assert not any(p.acts for p in plan.runs.values())
    assert not plan.halts
    assert not world.owing()
    assert all(known.over for known in world.runs.values())


def more_often(world: LivingWorld, before: dict[tuple[str, str | None, str], int]) -> dict[str, int]:
    """How often each Dag's tasks have succeeded since then."""
    found: dict[str, int] = {}
    for (dag_id, _, task_id), count in world.successes().items():
        found[f"{dag_id}.{task_id}"] = count - before.get((dag_id, "h5", task_id), 0)
    return {name: count for name, count in found.items() if count}


def downstream_of(*sources: str) -> set[str]:
    world = shop()
    found = set(sources)
    while True:
        more = {d for d, dag in world.dags.items() if found & set(dag.reads)} - found
        if not more:
            return found - set(SOURCES)
        found |= more


class TestEachOnce:
    @pytest.mark.parametrize("mails", [False, True])
    @pytest.mark.parametrize("source", SOURCES)
    def test_fixed_as_it_stands(self, source: str, mails: bool) -> None:
        """Every partition is computed once from good data, any number of hops away."""
        world = in_business(mails)
        before = world.successes()
        cord = world.pulled(source)
        world.lives()
        assert more_often(world, before) == {}
        world.released(cord, FIXED)
        world.lives()
        at_rest(world)
        tasks = ("make", "mail") if mails else ("make",)
        assert more_often(world, before) == {f"{d}.{t}": 1 for d in downstream_of(source) for t in tasks}

    @pytest.mark.parametrize("source", SOURCES)
    def test_fixed_by_a_new_version_whose_events_are_absorbed(self, source: str) -> None:
        """T3: the partition would be computed twice."""
        world = in_business()
        before = world.successes()
        cord = world.pulled(source)
        world.arrives(source)
        world.arrives(source)
        world.lives()
        assert more_often(world, before) == {}
        world.released(cord, FIXED)
        world.lives()
        at_rest(world)
        assert set(more_often(world, before).values()) == {1}
        assert {name.split(".")[0] for name in more_often(world, before)} == downstream_of(source)

    @pytest.mark.parametrize("source", SOURCES)
    def test_false_alarm_runs_nothing_again(self, source: str) -> None:
        """`false_alarm`: only what was killed or absorbed a newer event runs again."""
        world = in_business()
        before = world.successes()
        cord = world.pulled(source)
        world.released(cord, FALSE_ALARM)
        world.lives()
        at_rest(world)
        assert more_often(world, before) == {}

    def test_what_was_only_held_runs_once(self) -> None:
        """Held-only parts run once."""
        world = shop()
        world.arrives("raw")
        cord = world.pulled("raw")
        world.lives()
        assert world.successes() == {}
        world.released(cord, FIXED)
        world.lives()
        at_rest(world)
        counts = world.successes()
        assert {counts[d, "h5", t] for d in ("clean", "weekly") for t in ("make", "mail")} == {1}

    def test_withdrawn_makes_what_reads_others_once_without_it(self) -> None:
        """What was made from absent partitions alone is withdrawn likewise ... others go on without it."""
        world = in_business()
        before = world.successes()
        world.released(world.pulled("raw"), WITHDRAWN)
        world.lives()
        assert not world.plan().halts
        assert not world.owing()
        again = more_often(world, before)
        assert {again["daily.make"], again["report.make"]} == {1}
        assert not {"clean.make", "weekly.make", "rates.make"} & again.keys()

    def test_pulled_again_while_it_is_repaired(self) -> None:
        """Once from good data; what saw the second bad version runs once more."""
        world = in_business()
        world.released(world.pulled("raw"), FIXED)
        world.settles()
        task = world.starts_one()
        assert task is not None
        assert task.dag_id == "clean"
        again = world.pulled("raw")
        world.lives()
        assert world.is_bad("clean")
        world.released(again, FIXED)
        world.lives()
        at_rest(world)


class TestOrder:
    @settings(max_examples=25, deadline=None)
    @given(outcomes=st.tuples(ENDS, ENDS, ENDS), new_version=st.booleans(), rests=st.booleans())
    def test_releases_in_any_order_give_the_same_end(
        self, outcomes: tuple[Outcome, ...], new_version: bool, rests: bool
    ) -> None:
        """Independence of the order of releases; two of the cords lie on one partition."""
        ends = []
        for order in permutations(range(3)):
            world = in_business(mails=False)
            before = world.successes()
            cords = [world.pulled("raw"), world.pulled("raw"), world.pulled("price")]
            if new_version:
                world.arrives("raw")
                world.settles()
            for which in order:
                world.released(cords[which], outcomes[which])
                if rests:
                    world.settles()
            world.lives()
            at_rest(world)
            ends.append(more_often(world, before))
        assert all(end == ends[0] for end in ends)

    @settings(max_examples=25, deadline=None)
    @given(st.permutations(range(4)), st.lists(ENDS, min_size=4, max_size=4))
    def test_a_partition_is_bad_until_the_last_cord_on_it_ends(
        self, order: list[int], outcomes: list[Outcome]
    ) -> None:
        """T13: two cords on one partition ... it is bad until the last one is [released]."""
        world = World()
        world.dag("clean", reads="raw")
        world.publishes("raw", at=1)
        run = world.run("clean")
        cords = [world.pulls("raw", at=2 + i) for i in range(4)]
        for moment, which in enumerate(order):
            assert world.is_bad("raw")
            assert not world.plan_of(run).release
            world.releases(cords[which], outcomes[which], at=10 + moment)
        assert not world.is_bad("raw")

    @settings(max_examples=25, deadline=None)
    @given(st.randoms(use_true_random=False))
    def test_facts_are_told_in_any_order(self, chance: random.Random) -> None:
        """Events doubled or reordered; the state converges."""
        world = in_business()
        one = world.pulled("raw")
        two = world.pulled("price")
        world.released(one, FIXED)
        world.settles()
        world.starts_one()
        world.released(two, FALSE_ALARM)
        facts = world.facts()

        def shuffled(items: tuple) -> tuple:
            mixed = list(items)
            chance.shuffle(mixed)
            return tuple(mixed)

        mixed = replace(
            facts,
            halts=shuffled(facts.halts),
            publications=shuffled(facts.publications),
            executions=shuffled(facts.executions),
            runs=dict(shuffled(tuple(facts.runs.items()))),
            readers=dict(shuffled(tuple(facts.readers.items()))),
        )
        assert decide(mixed).runs == decide(facts).runs
        assert decide(mixed).halts == decide(facts).halts


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("arrives"), st.sampled_from(SOURCES)),
        st.tuples(st.just("pull"), st.sampled_from([*SOURCES, "clean", "daily", "report"])),
        st.tuples(st.just("release"), st.sampled_from([FIXED, FALSE_ALARM, WITHDRAWN])),
        st.tuples(st.just("start"), st.just("")),
        st.tuples(st.just("end"), st.just("")),
        st.tuples(st.just("rest"), st.just("")),
    ),
    min_size=2,
    max_size=14,
)


def play(acts: list[tuple[str, object]]) -> LivingWorld:
    """People, sources and the scheduler do these things in turn; the brake settles after each."""
    world = in_business()
    running = None
    for act, what in acts:
        if running is not None and world.executions.get(running[1]) is not running[2]:
            running = None
        if act == "arrives":
            world.arrives(str(what))
        elif act == "pull" and world.versions(str(what)):
            world.pulled(str(what))
        elif act == "release" and (opened := [h for h in world.halts if h.outcome is None]):
            if what is not FIXED or not world.waits_to_be_fixed(opened[0].cord):
                world.released(opened[0].cord, Outcome(what))
        elif act == "start" and running is None and (task := world.starts_one()):
            attempt = world.last_try(task)
            running = (task, attempt, world.executions[attempt])
        elif act == "end" and running is not None:
            world.ends(running[0])
            running = None
        elif act == "rest" and running is None:
            world.lives()
        world.settles()
    if running is not None and world.executions.get(running[1]) is running[2]:
        world.ends(running[0])
    return world


def no_start_is_late(world: LivingWorld) -> None:
    """Nobody runs who reads a bad partition."""
    judged = judge(world.facts())
    for run, known in world.runs.items():
        for task, state in known.tasks.items():
            if state.value == "running":
                assert not judged.reading.of(run, task.task_id) & judged.bad_partitions.keys()


class TestAnyLife:
    @settings(max_examples=60, deadline=None)
    @given(ACTS)
    def test_once_the_plan_is_carried_out_nothing_is_left_to_do(self, acts: list[tuple[str, object]]) -> None:
        """Idempotence: deciding twice is the same, and a plan that was carried out is empty."""
        world = play(acts)
        world.settles()
        facts = world.facts()
        assert decide(facts).runs == decide(facts).runs
        assert not any(p.acts for p in decide(facts).runs.values())
        no_start_is_late(world)

    @settings(max_examples=60, deadline=None)
    @example([("pull", "raw"), ("pull", "raw"), ("arrives", "raw"), ("release", WITHDRAWN)], [FIXED] * 14)
    @given(ACTS, st.lists(ENDS, min_size=14, max_size=14))
    def test_when_all_cords_have_ended_everything_comes_to_rest(
        self, acts: list[tuple[str, object]], outcomes: list[Outcome]
    ) -> None:
        """Nothing is held for ever, and nobody runs twice for ever."""
        world = play(acts)
        for outcome in outcomes:
            world.lives()
            opened = [h.cord for h in world.halts if h.outcome is None]
            ready = [c for c in opened if not world.waits_to_be_fixed(c)]
            if not opened:
                break
            if outcome is FIXED:
                assert ready, "every release waits for another"
                world.released(ready[0], FIXED)
            else:
                world.released(opened[0], outcome)
        world.lives()
        at_rest(world)

    @settings(max_examples=50, deadline=None)
    @given(ACTS)
    def test_nobody_runs_again_on_the_same_good_data(self, acts: list[tuple[str, object]]) -> None:
        """Each once: between two successes on good data, something that the task reads has changed."""
        world = play(acts)
        for halt in [h for h in world.halts if h.outcome is None]:
            world.released(halt.cord, FALSE_ALARM)
        world.lives()
        judged = world.judged()
        last: dict[tuple[object, ...], Execution] = {}
        for execution in sorted(world.executions.values(), key=lambda e: e.started):
            task = execution.task
            if execution.ending is not Ending.SUCCESS or execution.attempt in judged.seen:
                continue
            instance = (world.runs[task.run].group, task.task_id, task.map_index)
            if instance in last:
                since, until = last[instance].started, execution.started
                reads = judged.reading.of(task.run, task.task_id)
                changes = [v.at for p in reads for v in judged.versions.get(p, ())]
                changes += [h.ended for h in world.halts if h.ended and h.outcome is WITHDRAWN]
                assert any(since < moment <= until for moment in changes)
            last[instance] = execution

    @settings(max_examples=50, deadline=None)
    @given(ACTS)
    def test_a_key_has_at_most_one_payer(self, acts: list[tuple[str, object]]) -> None:
        """One payer per (Dag, key)."""
        world = play(acts)
        plan = world.plan()
        for group, account in plan.accounts.items():
            paying = [r for r, p in plan.runs.items() if world.runs[r].group == group and p.clear]
            assert len(paying) <= 1
            assert account.payer not in account.superseded

    @settings(max_examples=60, deadline=None)
    @given(ACTS, st.integers(1, 1000))
    def test_time_alone_changes_nothing(self, acts: list[tuple[str, object]], minutes: int) -> None:
        """What is stored is facts only; everything else follows."""
        world = play(acts)
        world.settles()
        facts = world.facts()
        later = replace(facts, now=facts.now + timedelta(minutes=minutes))
        assert decide(later).runs == decide(facts).runs


class TestCycles:
    @pytest.fixture
    def world(self) -> World:
        """Two Dags that read each other's partition, and a source."""
        world = World()
        world.dag("ping", reads="pong raw")
        world.dag("pong", reads="ping")
        return world

    def runs(self, world: World, rounds: int) -> list[Run]:
        world.publishes("raw", at=0)
        made = []
        for i in range(rounds):
            for j, dag_id in enumerate(["ping", "pong"]):
                run = world.run(dag_id)
                world.executes(run, start=1 + 4 * i + 2 * j, end=2 + 4 * i + 2 * j)
                made.append(run)
        return made

    def test_cycles_end(self, world: World) -> None:
        """T12: asset graphs can have cycles."""
        runs = self.runs(world, 3)
        cord = world.pulls("raw", at=50)
        assert all(world.saw_bad(run) for run in runs)
        world.releases(cord, FALSE_ALARM, at=51)
        assert not world.plan().halts
        assert not any(p.acts for p in world.plan().runs.values())

    def test_the_brake_settles_in_a_cycle(self) -> None:
        """Cycles, idempotence."""
        world = LivingWorld()
        world.dag("ping", reads="pong raw")
        world.dag("pong", reads="ping")
        self.runs(world, 2)
        cord = world.pulled("raw")
        world.settles()
        world.released(cord, FIXED)
        world.settles()
        assert not any(p.acts for p in world.plan().runs.values())

    def test_a_person_ends_a_cycle_that_waits_for_itself(self, world: World) -> None:
        """Where a bad version has no natural end (... waits for itself in a cycle) a person clears it."""
        self.runs(world, 2)
        world.releases(world.pulls("raw", at=50), FIXED, at=51)
        assert world.is_bad("ping")
        assert world.is_bad("pong")
        assert not any(p.clear for p in world.plan().runs.values())
        world.cleared.add(world.versions("pong")[-1].id)
        assert {r.dag_id for r, p in world.plan().runs.items() if p.clear} == {"ping"}
