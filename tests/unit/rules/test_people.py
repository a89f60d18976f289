"""People decide: let through, approve, mark, and declare what has no natural end."""

from __future__ import annotations

import pytest

from airflow_lean_provider.rules.facts import Ending, Origin, Run, TaskState
from airflow_lean_provider.rules.plan import Label
from airflow_lean_provider.rules.starts import may_start
from tests.unit.rules.story import FALSE_ALARM, FIXED, WITHDRAWN, World, minute


@pytest.fixture
def world() -> World:
    """Raw is read by clean, clean by report; the partition h5 of raw was published."""
    world = World()
    world.dag("clean", reads="raw")
    world.dag("report", reads="clean")
    world.publishes("raw", at=1)
    return world


def starts(world: World, run: Run, task_id: str = "make") -> bool:
    return may_start(world.facts(), world.judged(), world.task(run, task_id))


class TestLetThrough:
    def test_it_may_start_although_what_it_reads_is_bad(self, world: World) -> None:
        """Or its run is let through."""
        run, other = world.run("clean"), world.run("clean")
        world.pulls("raw", at=2)
        world.lets_through(run)
        assert starts(world, run)
        assert not starts(world, other)

    def test_for_the_halts_of_that_moment_only(self, world: World) -> None:
        """Let through: a person lets one run read bad data: the halts open at that moment."""
        run = world.run("clean")
        world.pulls("raw", at=2)
        world.lets_through(run)
        world.pulls("raw", at=3)
        assert not starts(world, run)

    def test_it_is_not_stopped_and_what_it_makes_is_bad(self, world: World) -> None:
        """Everything else applies to them."""
        run = world.run("clean")
        cord = world.pulls("raw", at=2)
        world.lets_through(run)
        world.executes(run, start=3)
        assert world.plan_of(run).stop == ()
        world.executions.clear()
        world.executes(run, start=3, end=4)
        assert world.is_bad("clean")
        world.releases(cord, FIXED, at=5)
        assert world.owed(run) == {"make"}


class TestRepairAsk:
    @pytest.fixture
    def mail(self, world: World) -> Run:
        world.dag("mail", reads="clean", tasks={"make": "", "send": "make"}, asks=["send"], writes={})
        world.publishes("clean", at=1)
        run = world.run("mail")
        world.executes(run, "make", start=2, end=3)
        world.executes(run, "send", start=3, end=4)
        world.releases(world.pulls("clean", at=5), FIXED, at=6)
        return run

    def test_waits_for_a_person(self, world: World, mail: Run) -> None:
        """`repair="ask"` (side effects: mails, payments) waits for a person."""
        assert world.plan_of(mail).clear == ()
        assert Label.ASKS in world.labels(mail)

    def test_and_runs_when_one_has_said_so(self, world: World, mail: Run) -> None:
        world.approves(mail, at=7)
        assert world.cleared_tasks(mail) == {"make", "send"}
        assert Label.ASKS not in world.labels(mail)

    def test_what_was_said_before_the_mail_went_out_does_not_count(self, world: World, mail: Run) -> None:
        world.approves(mail, at=2)
        assert world.plan_of(mail).clear == ()

    def test_others_do_not_wait(self, world: World) -> None:
        run = world.run("clean")
        world.executes(run, start=2, end=3)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        assert world.cleared_tasks(run) == {"make"}


class TestOnRunningFinish:
    def test_it_ends_by_itself_and_taints_what_it_writes(self, world: World) -> None:
        world.dag("slow", reads="raw", finishes=["make"])
        run = world.run("slow")
        world.executes(run, start=2)
        world.pulls("raw", at=3)
        plan = world.plan_of(run)
        assert plan.stop == plan.park == ()
        assert not plan.hold
        world.executions.clear()
        world.executes(run, start=2, end=4)
        assert world.is_bad("slow")

    def test_it_does_not_start(self, world: World) -> None:
        world.dag("slow", reads="raw", finishes=["make"])
        run = world.run("slow")
        world.pulls("raw", at=3)
        assert not starts(world, run)
        assert world.plan_of(run).hold


class TestMarks:
    def test_what_it_had_absorbed_is_no_debt_of_a_marked_run(self, world: World) -> None:
        """Nor is it run again for what another run of its key owes."""
        first, second = world.run("clean"), world.run("clean")
        for run, start in ((first, 2), (second, 3)):
            world.executes(run, start=start, end=start + 1)
        cord = world.pulls("raw", at=5)
        world.absorbs(second, at=6)
        world.of_run(second, marked=dict.fromkeys(world.runs[second].tasks, minute(7)))
        world.releases(cord, FIXED, at=8)
        assert world.payer(first) == first
        assert world.cleared_tasks(second) == set()

    def test_a_marked_run_owes_nothing(self, world: World) -> None:
        """A person's mark or delete ends the hold, and the release does not undo it."""
        run = world.run("clean")
        world.executes(run, start=2, end=3)
        world.of_run(run, marked=dict.fromkeys(world.runs[run].tasks, minute(9)))
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        assert world.owed(run) == set()
        assert not world.plan_of(run).acts

    def test_the_next_pays(self, world: World) -> None:
        """If it fails for good or is abandoned, the next."""
        first, second = world.run("clean"), world.run("clean")
        world.executes(first, start=2, end=3)
        world.executes(second, start=2, end=3)
        world.of_run(second, marked=dict.fromkeys(world.runs[second].tasks, minute(9)))
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        assert world.payer(first) == first
        assert world.cleared_tasks(first) == {"make"}

    @pytest.fixture
    def two_tasks(self, world: World) -> Run:
        """Both have read what is bad; the second goes on with what the first has handed on."""
        world.dag("steps", reads="raw", tasks={"first": "", "second": "first"}, writes={"second": "made"})
        run = world.run("steps")
        world.executes(run, "first", start=2, end=3)
        world.executes(run, "second", start=3, end=4)
        world.pulls("raw", at=5)
        return run

    def mark(self, world: World, run: Run, state: TaskState) -> None:
        first = world.task(run, "first")
        world.is_now(first, state)
        world.of_run(run, marked={first: minute(6)})

    def test_what_follows_it_runs_again_alone(self, world: World, two_tasks: Run) -> None:
        """A person has said that the first is done: to run it again for the second would undo that."""
        self.mark(world, two_tasks, TaskState.SUCCESS)
        world.releases(1, FIXED, at=7)
        assert world.cleared_tasks(two_tasks) == {"second"}

    def test_what_it_hands_on_since_is_good(self, world: World, two_tasks: Run) -> None:
        """The person answers for it; else what follows it would owe for ever."""
        self.mark(world, two_tasks, TaskState.SUCCESS)
        world.releases(1, FIXED, at=7)
        world.executes(two_tasks, "second", start=8, end=9)
        assert world.owed(two_tasks) == set()
        assert not world.is_bad("made")

    def test_a_held_run_of_which_nothing_is_left_starts_nothing(self, world: World) -> None:
        """Airflow ends it: it absorbs nothing any more."""
        run = world.run("clean")
        world.pulls("raw", at=3)
        world.is_now(world.task(run), TaskState.SUCCESS)
        world.of_run(run, awaited=minute(2), marked={world.task(run): minute(4)})
        assert not world.plan_of(run).labels


class TestDeclared:
    def half_written(self, world: World) -> Run:
        run = world.run("clean")
        cord = world.pulls("raw", at=3)
        world.is_killed(run, start=2, at=3)
        world.releases(cord, FALSE_ALARM, at=4)
        world.is_now(world.task(run), TaskState.SUCCESS)
        world.of_run(run, over=True, marked={world.task(run): minute(9)})
        return run

    def test_a_version_without_a_natural_end_stays_bad(self, world: World) -> None:
        """Where a bad version has no natural end (its run was marked by hand), a person clears it."""
        self.half_written(world)
        assert world.is_bad("clean")

    def test_as_a_false_alarm(self, world: World) -> None:
        self.half_written(world)
        world.cleared.add(world.version_ids("clean")[-1])
        assert not world.is_bad("clean")

    def test_as_fixed_the_data_as_it_stands_is_a_new_version(self, world: World) -> None:
        """As fixed (the data as it stands is a new version)."""
        self.half_written(world)
        reader = world.run("report")
        world.executes(reader, start=3.2, end=3.5)
        world.declares_fixed(world.version_ids("clean")[-1], at=6)
        assert not world.is_bad("clean")
        assert world.saw_bad(reader)
        assert world.owed(reader) == {"make"}


class TestChildren:
    """A child run whose triggering task owes, or has run again since, is superseded."""

    @pytest.fixture
    def parent(self, world: World) -> Run:
        world.dag("child", writes={"make": "grown"})
        return world.run("clean")

    def child(self, world: World, parent: Run, created: float, **more: object) -> Run:
        return world.run(
            "child", None, Origin.OPERATOR, parent=world.task(parent), created=minute(created), **more
        )

    def test_of_a_task_that_owes(self, world: World, parent: Run) -> None:
        world.executes(parent, start=2, end=4)
        child = self.child(world, parent, 3)
        world.executes(child, start=4, end=5)
        world.releases(world.pulls("raw", at=6), FIXED, at=7)
        assert world.cleared_tasks(parent) == {"make"}
        assert Label.SUPERSEDED in world.labels(child)
        assert world.owed(child) == set()
        assert world.plan_of(child).clear == ()

    def test_of_a_task_that_was_killed_and_runs_again(self, world: World, parent: Run) -> None:
        child = self.child(world, parent, 2.5, held=True)
        cord = world.pulls("raw", at=3)
        world.is_killed(parent, start=2, at=3)
        world.releases(cord, FALSE_ALARM, at=4)
        assert world.plan_of(child).skip

    def test_of_a_task_that_has_run_again_since(self, world: World, parent: Run) -> None:
        world.executes(parent, start=2, end=4)
        child = self.child(world, parent, 3, held=True)
        world.executes(parent, start=5, end=6)
        assert world.plan_of(child).skip

    def test_but_not_otherwise(self, world: World, parent: Run) -> None:
        world.executes(parent, start=2, end=4)
        child = self.child(world, parent, 3, held=True)
        world.releases(world.pulls("raw", at=5), FALSE_ALARM, at=6)
        assert not world.plan_of(child).skip
        assert world.plan_of(child).release


class TestWithdrawnParts:
    def test_what_reads_nothing_else_is_left_out_and_the_rest_goes_on(self, world: World) -> None:
        """Parts that read nothing else end as skipped, with a note, others go on without it."""
        world.dag("job", tasks={"make": "", "load": "make", "other": ""}, writes={"make": "job"})
        run = world.run("job", "h5", Origin.PERSON)
        world.executes(run, "make", start=2, end=3)
        cord = world.pulls("job", at=4)
        world.is_now(world.task(run, "load"), TaskState.PARKED)
        world.releases(cord, WITHDRAWN, at=5)
        plan = world.plan_of(run)
        assert plan.leave_out == (world.task(run, "load"),)
        assert not plan.skip

    def test_what_has_read_only_that_owes_nothing(self, world: World) -> None:
        world.dag("job", tasks={"make": "", "load": "make"}, writes={"make": "job"})
        run = world.run("job", "h5", Origin.PERSON)
        world.executes(run, "make", start=2, end=3)
        world.executes(run, "load", start=3, end=4, ending=Ending.SUCCESS)
        world.releases(world.pulls("job", at=5), WITHDRAWN, at=6)
        assert world.owed(run) == set()

    def test_what_also_has_an_inlet_goes_on(self, world: World) -> None:
        world.dag("job", tasks={"make": "", "load": "make"}, writes={"make": "job"})
        run = world.run("job", "h5", Origin.PERSON)
        world.has_inlet(run, "load", "rates")
        world.executes(run, "make", start=2, end=3)
        cord = world.pulls("job", at=4)
        world.is_now(world.task(run, "load"), TaskState.PARKED)
        world.releases(cord, WITHDRAWN, at=5)
        assert world.plan_of(run).leave_out == ()
        assert world.plan_of(run).unpark == (world.task(run, "load"),)
