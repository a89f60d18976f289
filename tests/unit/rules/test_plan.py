"""What has to be done: stop, hold, park, let go, clear, skip; and what a release waits for."""

from __future__ import annotations

import pytest

from airflow_lean_provider.rules.facts import DagShape, Ending, Origin, Run, TaskState
from airflow_lean_provider.rules.plan import Label, waits_for
from tests.unit.rules.story import FALSE_ALARM, FIXED, WITHDRAWN, World, minute


@pytest.fixture
def world() -> World:
    """Raw is read by clean, clean by report; the partition h5 of raw was published."""
    world = World()
    world.dag("clean", reads="raw")
    world.dag("report", reads="clean")
    world.publishes("raw", at=1)
    return world


class TestAPull:
    def test_who_reads_is_stopped(self, world: World) -> None:
        """Every open execution that saw a bad version is stopped."""
        run = world.run("clean")
        world.executes(run, start=2)
        world.pulls("raw", at=3)
        plan = world.plan_of(run)
        assert plan.stop == (world.task(run),)
        assert {Label.STOPPED, Label.HELD} <= plan.labels

    def test_who_saw_it_is_stopped_though_what_it_reads_is_good_by_now(self, world: World) -> None:
        """Every open execution that saw a bad version is stopped."""
        bad = world.publishes("raw", at=2)
        run = world.run("clean")
        world.executes(run, start=3)
        world.publishes("raw", at=4)
        world.releases(world.pulls("raw", at=5, naming=[bad]), FIXED, at=5)
        assert world.plan_of(run).stop == (world.task(run),)

    def test_who_is_queued_is_pulled_back(self, world: World) -> None:
        """Every start that D3 forbids is held."""
        run = world.run("clean")
        world.is_now(world.task(run), TaskState.QUEUED)
        world.pulls("raw", at=3)
        plan = world.plan_of(run)
        assert (plan.pull_back, plan.hold) == ((world.task(run),), True)

    @pytest.mark.parametrize(
        ("origin", "key", "whole"),
        [
            (Origin.ASSETS, "h5", True),
            (Origin.PERSON, "h5", True),
            (Origin.SCHEDULE, "h5", False),
            (Origin.ASSETS, None, False),
        ],
    )
    def test_who_waits_is_held_as_a_whole_or_parked(
        self, world: World, origin: Origin, key: str | None, whole: bool
    ) -> None:
        """Partitioned asset-triggered and manual runs are held by `run_after`, the rest by parking."""
        run = world.run("clean", key, origin=origin)
        world.also_reads[run] = {world.part("raw")}
        world.pulls("raw", at=3)
        plan = world.plan_of(run)
        assert (plan.hold, bool(plan.park)) == (whole, not whole)
        assert plan.labels == {Label.HELD}

    def test_what_is_held_already_is_left_alone(self, world: World) -> None:
        """Holding costs nothing: no row written per hold while it waits."""
        held, parked = world.run("clean", held=True), world.run("clean", "h6", origin=Origin.SCHEDULE)
        world.publishes("raw", "h6", at=1)
        world.is_now(world.task(parked), TaskState.PARKED)
        world.pulls("raw", at=3)
        world.pulls("raw", "h6", at=3)
        assert not world.plan_of(held).acts
        assert not world.plan_of(parked).acts

    def test_a_running_teardown_is_not_stopped(self, world: World) -> None:
        """Stopping loses no retry and lets teardowns of killed tasks finish."""
        world.dag("clean", reads="raw", tasks={"make": "", "drop": "make"}, teardowns=["drop"])
        run = world.run("clean")
        world.executes(run, "make", start=2, end=3)
        world.executes(run, "drop", start=4)
        world.pulls("raw", at=5)
        assert world.plan_of(run).stop == ()

    def test_an_advisory_dag_is_not_stopped(self, world: World) -> None:
        """A Dag with the tag `andon:advisory` ... not held."""
        world.dag("watch", reads="raw", writes={}, advisory=True)
        run = world.run("watch")
        world.executes(run, start=2)
        world.pulls("raw", at=3)
        assert not world.plan_of(run).acts

    def test_who_ended_is_tainted(self, world: World) -> None:
        """*tainted* (finished, saw bad data)."""
        run = world.run("clean")
        world.executes(run, start=2, end=3)
        cord = world.pulls("raw", at=4)
        assert world.labels(run) == {Label.TAINTED}
        assert {c.cord for c in world.plan_of(run).causes} == {cord}

    def test_who_has_nothing_to_do_with_it_is_not_named(self, world: World) -> None:
        """Unaffected work is never delayed."""
        run = world.run("clean", "h6")
        world.executes(run, start=2)
        world.pulls("raw", at=3)
        plan = world.plan_of(run)
        assert (plan.labels, plan.acts) == (frozenset(), False)


class TestPartOfARun:
    @pytest.fixture
    def world(self) -> World:
        """Two tasks publish an asset each, and each is followed by a mail."""
        world = World()
        world.dag(
            "load",
            tasks={"a": "", "mail_a": "a", "b": "", "mail_b": "b"},
            writes={"a": "left", "b": "right"},
        )
        return world

    @pytest.fixture
    def run(self, world: World) -> Run:
        run = world.run("load", origin=Origin.PERSON)
        world.executes(run, "a", start=1, end=2)
        world.executes(run, "b", start=1, end=2)
        return run

    def test_a_parked_task_goes_on_when_what_it_reads_is_good(self, world: World, run: Run) -> None:
        """A task may start if no partition that it reads is bad."""
        left, _ = world.pulls("left", at=3), world.pulls("right", at=3)
        for task_id in ("mail_a", "mail_b"):
            world.is_now(world.task(run, task_id), TaskState.PARKED)
        world.releases(left, FALSE_ALARM, at=4)
        assert world.plan_of(run).unpark == (world.task(run, "mail_a"),)

    def test_so_does_one_of_a_run_that_was_held_as_a_whole(self, world: World, run: Run) -> None:
        """Unaffected work is never delayed: ... other tasks of the run."""
        left, _ = world.pulls("left", at=3), world.pulls("right", at=3)
        assert world.plan_of(run).hold
        world.of_run(run, held=True)
        world.releases(left, FALSE_ALARM, at=4)
        plan = world.plan_of(run)
        assert (plan.release, plan.park) == (True, (world.task(run, "mail_b"),))

    def test_a_debt_is_paid_while_another_task_is_held(self, world: World, run: Run) -> None:
        """It is due when every partition that the task reads is clean."""
        world.executes(run, "mail_a", start=2.1, end=2.5)
        left, _ = world.pulls("left", at=3), world.pulls("right", at=3)
        world.is_now(world.task(run, "mail_b"), TaskState.PARKED)
        world.releases(left, FIXED, at=4)
        assert world.plan_of(run).clear == (world.task(run, "mail_a"),)


class TestARelease:
    @pytest.mark.parametrize("outcome", [FIXED, FALSE_ALARM])
    def test_what_was_held_starts(self, world: World, outcome: object) -> None:
        """What was held starts; held-only parts run once."""
        run = world.run("clean", held=True)
        world.releases(world.pulls("raw", at=2), outcome, at=3)
        plan = world.plan_of(run)
        assert (plan.release, plan.clear) == (True, ())

    def test_what_reads_only_what_was_withdrawn_ends_as_skipped(self, world: World) -> None:
        """Parts that read nothing else end as skipped, with a note."""
        run = world.run("clean", held=True)
        world.releases(world.pulls("raw", at=2), WITHDRAWN, at=3)
        plan = world.plan_of(run)
        assert (plan.skip, plan.release) == (True, False)

    @pytest.mark.parametrize(("asked", "left_out"), [(2.5, True), (4, False)])
    def test_so_does_what_was_asked_for_while_it_might_not_start(
        self, world: World, asked: float, left_out: bool
    ) -> None:
        """A person clears a task of a halted hour, which is withdrawn before anybody has held the run."""
        run = world.run("clean")
        world.is_asked(world.task(run), at=asked)
        world.releases(world.pulls("raw", at=2), WITHDRAWN, at=3)
        assert world.plan_of(run).leave_out == ((world.task(run),) if left_out else ())

    def test_so_does_what_was_held_beside_a_task_whose_process_may_live(self, world: World) -> None:
        """Two tasks with an inlet each: one was killed, the other parked, and its asset is withdrawn."""
        world.dag("nightly", tasks={"one": "", "other": ""}, writes={})
        run = world.run("nightly", key=None, origin=Origin.SCHEDULE)
        world.publishes("price", at=1)
        world.has_inlet(run, "one", "raw")
        world.has_inlet(run, "other", "price")
        raw, price = world.pulls("raw", at=3), world.pulls("price", at=3)
        world.survivors[world.is_killed(run, "other", start=2, at=3)] = minute(9)
        one = world.task(run, "one")
        world.is_now(one, TaskState.PARKED)
        world.releases(raw, WITHDRAWN, at=4)
        world.releases(price, FALSE_ALARM, at=4)
        plan = world.plan_of(run)
        assert (plan.leave_out, plan.unpark) == ((one,), (one,))

    def test_not_a_setup_that_is_cleared_for_who_reads_others_too(self, world: World) -> None:
        """The task has an inlet besides: it is repaired without the withdrawn hour, with its setup."""
        world.dag("clean", reads="raw", tasks={"set_up": "", "make": "set_up", "end": "make"})
        run = world.run("clean")
        world.publishes("price", at=1)
        world.has_inlet(run, "make", "price")
        world.releases(world.pulls("raw", at=2), WITHDRAWN, at=3)
        for task_id in ("set_up", "make"):
            world.is_asked(world.task(run, task_id), at=4)
        world.is_now(world.task(run, "end"), TaskState.PARKED)
        assert world.plan_of(run).leave_out == ()

    def test_so_does_what_was_killed(self, world: World) -> None:
        """What was made from absent partitions alone is withdrawn likewise, half-written outlets included."""
        run = world.run("clean")
        cord = world.pulls("raw", at=3)
        world.is_killed(run, start=2, at=3)
        report = world.run("report", held=True)
        world.releases(cord, WITHDRAWN, at=4)
        assert world.plan_of(run).skip
        assert world.plan_of(report).skip

    def test_what_reads_others_too_goes_on_without_it(self, world: World) -> None:
        """Others go on without it."""
        world.dag("join", reads="raw price")
        world.publishes("price", at=1)
        run = world.run("join", held=True)
        world.releases(world.pulls("raw", at=2), WITHDRAWN, at=3)
        assert world.plan_of(run).release

    def test_a_skipped_run_is_not_parked_for_ever(self, world: World) -> None:
        """One that has not begun to read does not start and ends as skipped."""
        for _ in range(2):
            run = world.run("clean")
            world.is_now(world.task(run), TaskState.PARKED)
        first = next(iter(world.runs))
        world.releases(world.pulls("raw", at=2), FALSE_ALARM, at=3)
        plan = world.plan_of(first)
        assert (plan.skip, plan.unpark) == (True, (world.task(first),))


class TestWhatAReleaseWaitsFor:
    """It takes effect when no task that publishes the partition is tainted, owing ... or running."""

    @pytest.fixture
    def run(self, world: World) -> Run:
        run = world.run("clean")
        world.executes(run, start=2, end=3)
        return run

    def waits(self, world: World) -> set[tuple[str, str]]:
        return {(t.dag_id, t.task_id) for t in waits_for(world.facts(), world.plan(), world.part("clean"))}

    def test_it_waits_not_for_who_has_nothing_left_to_read(self, world: World) -> None:
        """It owes nothing, also for a cord that was released as fixed before (docs/decisions/0003, 18)."""
        world.dag("clean", reads="raw")
        world.publishes("raw", at=1)
        run = world.run("clean")
        world.executes(run, start=2, end=3)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        cord = world.pulls("raw", at=6)
        world.pulls("clean", at=7)
        assert self.waits(world) == {("clean", "make")}
        world.releases(cord, WITHDRAWN, at=8)
        assert self.waits(world) == set()

    def test_it_waits_not_for_a_task_that_its_dag_has_no_more(self, world: World) -> None:
        """It will never publish again; somebody else has."""
        world.dag("clean", reads="raw")
        world.publishes("raw", at=1)
        run = world.run("clean")
        world.executes(run, start=2, end=3)
        world.pulls("raw", at=4)
        world.pulls("clean", at=4)
        assert self.waits(world) == {("clean", "make")}
        world.of_run(run, shape=DagShape({"other": frozenset()}))
        assert self.waits(world) == set()

    def test_it_waits_not_for_what_has_been_forgiven(self, world: World) -> None:
        """Another cord is still open on what was withdrawn: there was nothing to read all the same."""
        world.dag("clean", reads="raw")
        world.publishes("raw", at=1)
        world.executes(world.run("clean"), start=2, end=3)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        withdrawn = world.pulls("raw", at=6)
        world.pulls("raw", at=7, naming=[])
        world.pulls("clean", at=7)
        world.releases(withdrawn, WITHDRAWN, at=8)
        assert self.waits(world) == set()

    def test_for_nobody_if_all_have_ended_on_good_data(self, world: World, run: Run) -> None:
        """When no task that publishes the partition is ..."""
        world.pulls("clean", at=4)
        assert self.waits(world) == set()

    @pytest.mark.parametrize(
        "state", [TaskState.WAITING, TaskState.QUEUED, TaskState.RUNNING, TaskState.PARKED]
    )
    def test_for_who_is_cleared_queued_retrying_running(
        self, world: World, run: Run, state: TaskState
    ) -> None:
        """T27: the producer is cleared and the cord released before it has published."""
        world.pulls("clean", at=4)
        world.is_cleared(run)
        world.is_now(world.task(run), state)
        assert self.waits(world) == {("clean", "make")}

    def test_not_for_a_run_that_is_superseded(self, world: World) -> None:
        """It ends as skipped once nothing holds it: what checks the data in it waits for this release."""
        world.dag("checked", reads="raw", tasks={"make": "", "check": "make"}, writes={"make": "checked"})
        world.executes(world.run("checked"), start=2, end=3)
        cord = world.pulls("checked", at=4)
        by_hand = world.run("checked", origin=Origin.PERSON)
        world.of_run(by_hand, held=True)
        assert Label.SUPERSEDED in world.labels(by_hand)
        assert waits_for(world.facts(), world.plan(), world.part("checked")) == []
        world.releases(cord, FIXED, at=5)
        assert world.plan_of(by_hand).skip

    def test_for_an_old_process(self, world: World) -> None:
        """Its run was superseded and ended as skipped at once: what it still writes would spoil the data."""
        run = world.run("clean", origin=Origin.PERSON)
        cord = world.pulls("raw", at=3)
        world.survivors[world.is_killed(run, start=2, at=3)] = minute(10)
        world.releases(cord, FALSE_ALARM, at=4)
        world.skips(run, "make")
        assert waits_for(world.facts(9), world.plan(9), world.part("clean")) == [world.task(run)]
        assert waits_for(world.facts(10), world.plan(10), world.part("clean")) == []

    def test_for_who_is_tainted_and_then_owes(self, world: World, run: Run) -> None:
        """... is tainted, owing."""
        world.pulls("clean", at=4)
        raw = world.pulls("raw", at=4)
        assert self.waits(world) == {("clean", "make")}
        world.releases(raw, FIXED, at=5)
        assert self.waits(world) == {("clean", "make")}
        world.executes(run, start=6, end=7)
        assert self.waits(world) == set()

    def test_for_who_failed_to_pay(self, world: World, run: Run) -> None:
        """The debt stands; if that fails, the release stays pending and says so."""
        world.pulls("clean", at=4)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.executes(run, start=6, end=7, ending=Ending.FAILED)
        assert self.waits(world) == {("clean", "make")}

    def test_not_for_a_run_whose_work_another_one_did(self, world: World, run: Run) -> None:
        """A later execution of the same instance that succeeded and saw no bad version pays it."""
        world.pulls("clean", at=4)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.executes(world.run("clean"), start=6, end=7)
        assert self.waits(world) == set()

    def test_not_for_tasks_that_publish_something_else(self, world: World, run: Run) -> None:
        """No task that publishes the partition."""
        world.pulls("clean", at=4)
        world.run("clean", "h6")
        world.run("report")
        assert self.waits(world) == set()

    def test_for_who_publishes_it_without_declaring_it(self, world: World, run: Run) -> None:
        """All its task instances that have it as outlet or published it."""
        world.dag("patch", tasks={"fix": ""}, writes={})
        patch = world.run("patch", origin=Origin.PERSON)
        world.publishes("clean", at=3, by=world.task(patch, "fix"))
        world.pulls("clean", at=4)
        assert self.waits(world) == {("patch", "fix")}
