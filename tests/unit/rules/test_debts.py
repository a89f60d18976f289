"""D4 and D5: who owes, and who pays."""

from __future__ import annotations

import pytest

from airflow_lean_provider.rules.facts import Ending, Origin, Run, TaskState
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


def tainted(world: World, dag_id: str = "clean", start: float = 2, **more: object) -> Run:
    run = world.run(dag_id, **more)
    world.executes(run, start=start, end=start + 0.5)
    return run


class TestWhoOwes:
    @pytest.mark.parametrize("ending", [Ending.SUCCESS, Ending.FAILED])
    def test_who_ended_of_itself_and_saw_what_was_fixed(self, world: World, ending: Ending) -> None:
        """An execution of it that ended of itself (success or failure) saw a version that is bad."""
        run = world.run("clean")
        world.executes(run, start=2, end=3, ending=ending)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        assert world.owed(run) == {"make"}
        assert world.cleared_tasks(run) == {"make"}

    def test_nobody_while_the_cord_is_open(self, world: World) -> None:
        """A version that is bad for a cause that ended as `fixed`."""
        run = tainted(world)
        world.pulls("raw", at=4)
        assert world.owed(run) == set()
        assert world.labels(run) == {Label.TAINTED}

    def test_nobody_after_a_false_alarm(self, world: World) -> None:
        """`false_alarm`: only what was killed or absorbed a newer event runs again."""
        run = tainted(world)
        world.releases(world.pulls("raw", at=4), FALSE_ALARM, at=5)
        assert world.owed(run) == set()
        assert not world.plan_of(run).acts

    def test_who_has_skipped_itself_owes(self, world: World) -> None:
        """The bad hour was empty, and there was nothing to do: T10."""
        run = world.run("clean")
        world.executes(run, start=2, end=3, ending=Ending.SKIPPED)
        cord = world.pulls("raw", at=4)
        assert Label.TAINTED in world.labels(run)
        world.releases(cord, FIXED, at=5)
        assert world.owed(run) == {"make"}

    def test_who_skips_itself_on_good_data_has_paid(self, world: World) -> None:
        """It has looked, and found nothing to do: else it would be cleared for ever."""
        run = tainted(world)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.executes(run, start=6, end=7, ending=Ending.SKIPPED)
        assert (world.owed(run), world.cleared_tasks(run)) == (set(), set())

    def test_who_was_killed_owes_nothing_and_starts_again(self, world: World) -> None:
        """An execution of it that ended of itself."""
        run = world.run("report")
        world.publishes("clean", at=1)
        cord = world.pulls("clean", at=3)
        world.is_killed(run, start=2, at=3)
        world.releases(cord, FIXED, at=5)
        assert world.owed(run) == set()
        assert world.plan_of(run).unpark == (world.task(run),)

    def test_what_is_paid_for_one_cause_stays_paid_when_another_is_found(self, world: World) -> None:
        """The payer's own debt is another matter: it ends with its own cord."""
        first, second = tainted(world), world.run("clean")
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.publishes("raw", at=5)
        world.executes(second, start=6, end=7)
        assert world.owed(first) == set()
        cord = world.pulls("raw", at=8)
        assert world.owed(first) == set()
        assert Label.OWES not in world.labels(first)
        world.releases(cord, FALSE_ALARM, at=9)
        assert world.owed(first) == set()

    def test_what_is_withdrawn_while_there_is_nothing_to_read_is_forgiven_too(self, world: World) -> None:
        """Two cords, two hops apart: the nearer one is withdrawn first."""
        clean = world.run("clean")
        world.executes(clean, start=2, end=3)
        report = tainted(world, "report", start=4)
        far, near = world.pulls("raw", at=5), world.pulls("clean", at=5)
        world.releases(near, WITHDRAWN, at=6)
        world.releases(far, WITHDRAWN, at=7)
        world.executes(world.run("clean"), start=8, end=9)
        assert (world.owed(report), world.labels(report)) == (set(), set())

    def test_what_was_forgiven_is_not_tainted(self, world: World) -> None:
        """It absorbs no event of what is published later."""
        run = tainted(world)
        world.releases(world.pulls("raw", at=4), WITHDRAWN, at=5)
        assert world.labels(run) == set()
        world.pulls("raw", at=6, naming=[])
        assert world.labels(run) == set()

    def test_a_half_written_version_always_makes_debts(self, world: World) -> None:
        """Half-written always does."""
        report = world.run("report")
        clean = world.run("clean")
        cord = world.pulls("raw", at=10)
        world.is_killed(clean, start=9, at=10)
        world.executes(report, start=9.5, end=11, ending=Ending.FAILED)
        world.releases(cord, FALSE_ALARM, at=12)
        assert world.owed(report) == {"make"}
        assert world.cleared_tasks(report) == set()
        world.executes(clean, start=13, end=14)
        assert world.cleared_tasks(report) == {"make"}

    def test_withdrawn_makes_a_debt_of_who_also_reads_others(self, world: World) -> None:
        """Or as `withdrawn` while it also reads others."""
        world.dag("join", reads="raw price")
        world.publishes("price", at=1)
        alone, join = tainted(world), tainted(world, "join")
        world.releases(world.pulls("raw", at=4), WITHDRAWN, at=5)
        assert (world.owed(alone), world.owed(join)) == (set(), {"make"})
        assert world.cleared_tasks(join) == {"make"}
        world.executes(join, start=6, end=7)
        assert world.owed(join) == set()

    def test_what_is_forgiven_with_a_withdrawal_is_forgiven_for_good(self, world: World) -> None:
        """Else the run would come back to life beside the one that Airflow makes of the new publication."""
        run = tainted(world)
        world.releases(world.pulls("raw", at=4), WITHDRAWN, at=5)
        world.publishes("raw", at=6)
        assert world.owed(run) == set()

    def test_what_is_fixed_while_there_is_nothing_to_read_is_forgiven(self, world: World) -> None:
        """Two cords, two hops apart: the nearer one is withdrawn; its next event makes a run of its own."""
        tainted(world)
        reader = tainted(world, "report", start=2.6)
        near, far = world.pulls("clean", at=4), world.pulls("raw", at=5)
        world.releases(near, WITHDRAWN, at=6)
        world.releases(far, FIXED, at=7)
        world.publishes("clean", at=8)
        assert world.owed(reader) == set()

    def test_what_is_published_after_the_withdrawal_may_have_been_there_before(self, world: World) -> None:
        """Events are cleaned away: the debt stands."""
        run = tainted(world)
        world.has_inlet(run, "make", "rates")
        world.releases(world.pulls("raw", at=4), WITHDRAWN, at=5)
        world.publishes("rates", at=6)
        assert world.owed(run) == {"make"}

    def test_a_cord_that_ends_as_fixed_after_the_withdrawal_makes_a_debt(self, world: World) -> None:
        """Two cords on one hour: it is withdrawn, then called fixed as it stands, and is there again."""
        run = tainted(world)
        one, other = world.pulls("raw", at=4), world.pulls("raw", at=4)
        world.releases(one, WITHDRAWN, at=5)
        world.releases(other, FIXED, at=6)
        assert world.owed(run) == {"make"}

    def test_withdrawn_two_hops_away_is_paid_once_too(self, world: World) -> None:
        """What was made from absent partitions alone is withdrawn likewise; others go on without it."""
        world.dag("join", reads="clean price")
        world.publishes("price", at=1)
        tainted(world)
        join = tainted(world, "join", start=3)
        world.releases(world.pulls("raw", at=4), WITHDRAWN, at=5)
        assert world.cleared_tasks(join) == {"make"}
        world.executes(join, start=6, end=7)
        assert world.owed(join) == set()
        assert not world.is_bad("join")

    def test_an_absorbed_event_newer_than_the_last_execution(self, world: World) -> None:
        """Or an event absorbed into its run is newer than its last execution."""
        run = tainted(world)
        cord = world.pulls("raw", at=4)
        world.publishes("raw", at=5)
        world.absorbs(run, at=5)
        world.releases(cord, FALSE_ALARM, at=6)
        assert world.owed(run) == {"make"}
        assert world.cleared_tasks(run) == {"make"}
        world.executes(run, start=7, end=8)
        assert world.owed(run) == set()

    def test_an_absorbed_event_of_what_was_withdrawn(self, world: World) -> None:
        """Who reads nothing but what was withdrawn owes nothing."""
        run = tainted(world)
        cord = world.pulls("raw", at=4)
        world.publishes("raw", at=5)
        world.absorbs(run, at=5)
        world.releases(cord, WITHDRAWN, at=6)
        assert world.owed(run) == set()

    def test_an_absorbed_event_that_came_while_it_ran_is_still_owed(self, world: World) -> None:
        """Newer than its last execution; what came after it had started, it may not have read."""
        run = tainted(world, start=2)
        world.absorbs(run, at=2.2)
        assert world.owed(run) == {"make"}

    def test_an_absorbed_event_is_paid_by_another_run_of_the_key(self, world: World) -> None:
        """A later execution of the same instance that succeeded and saw no bad version pays it."""
        run = tainted(world)
        cord = world.pulls("raw", at=4)
        world.publishes("raw", at=5)
        world.absorbs(run, at=5)
        world.releases(cord, FALSE_ALARM, at=6)
        by_hand = world.run("clean", origin=Origin.PERSON)
        world.executes(by_hand, start=7, end=8)
        assert world.owed(run) == set()

    def test_an_absorbed_event_was_read_by_who_saw_what_a_later_cord_named(self, world: World) -> None:
        """The next cord is a debt of its own: the event of the last incident is not owed again."""
        run = tainted(world)
        cord = world.pulls("raw", at=4)
        world.publishes("raw", at=5)
        world.absorbs(run, at=5)
        world.releases(cord, FIXED, at=6)
        by_hand = world.run("clean", origin=Origin.PERSON)
        world.executes(by_hand, start=7, end=8)
        later = world.pulls("raw", at=9)
        assert world.owed(run) == set()
        world.releases(later, FIXED, at=10)
        assert world.payer(run) == by_hand

    def test_an_instance_that_no_longer_exists_owes_nothing(self, world: World) -> None:
        """An instance that no longer exists owes nothing."""
        run = tainted(world)
        world.is_now(world.task(run), TaskState.REMOVED)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        assert world.owed(run) == set()

    def test_nor_does_it_where_another_run_of_the_key_still_has_it(self, world: World) -> None:
        """Its Dag has the task no more: nobody will ever run it in that run."""
        world.executes(world.run("clean"), start=0.2, end=0.5)
        run = tainted(world)
        world.is_now(world.task(run), TaskState.REMOVED)
        world.absorbs(run, at=4.5)
        world.releases(world.pulls("raw", at=4.7), FIXED, at=5)
        assert world.owed(run) == set()

    def test_only_the_instances_that_saw_it(self, world: World) -> None:
        """A debt of (Dag, key, task instance)."""
        bad = world.publishes("raw", at=2)
        run = world.run("clean", mapped={"make": 2})
        world.executes(run, start=3, end=4, index=0)
        world.publishes("raw", at=5)
        world.executes(run, start=6, end=7, index=1)
        world.releases(world.pulls("raw", at=8, naming=[bad]), FIXED, at=9)
        assert world.plan_of(run).clear == (world.task(run, "make", 0),)


class TestWhenItIsPaid:
    def test_by_a_later_success_on_good_data(self, world: World) -> None:
        """A later execution of the same instance that succeeded and saw no bad version pays it."""
        run = tainted(world)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.executes(run, start=6, end=7)
        assert world.owed(run) == set()
        assert not world.plan_of(run).acts

    def test_not_by_one_on_bad_data(self, world: World) -> None:
        """... that succeeded and saw no bad version pays it."""
        run = tainted(world)
        cord = world.pulls("raw", at=4)
        world.executes(run, start=4.1, end=4.5)
        world.releases(cord, FIXED, at=5)
        assert world.owed(run) == {"make"}

    def test_by_any_run_of_the_key(self, world: World) -> None:
        """A debt of (Dag, key, task instance)."""
        run = tainted(world)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        again = world.run("clean")
        assert world.payer(run) == again
        world.executes(again, start=6, end=7)
        assert world.owed(run) == set()

    def test_by_a_run_that_is_deleted_then(self, world: World) -> None:
        """Who has paid has paid: also for what was absorbed, and for who publishes the same."""
        run = tainted(world)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.absorbs(run, at=5.5)
        again = world.run("clean")
        world.executes(again, start=6, end=7)
        world.deletes(again)
        assert world.owed(run) == set()
        assert waits_for(world.facts(), world.plan(), world.part("clean")) == []

    def test_by_no_run_that_had_seen_something_bad_when_it_was_deleted(self, world: World) -> None:
        run = tainted(world)
        cord = world.pulls("raw", at=4)
        again = world.run("clean")
        world.executes(again, start=4.5, end=4.7)
        world.releases(cord, FIXED, at=5)
        world.deletes(again)
        assert world.owed(run) == {"make"}

    def test_not_by_a_run_of_another_key(self, world: World) -> None:
        """A debt of (Dag, key, task instance)."""
        run = tainted(world)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.executes(world.run("clean", "h6"), start=6, end=7)
        assert world.owed(run) == {"make"}

    def test_it_is_due_when_all_that_the_task_reads_is_clean(self, world: World) -> None:
        """It is due when every partition that the task reads is clean."""
        clean, report = tainted(world), tainted(world, "report", start=3)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        assert world.owed(report) == {"make"}
        assert (world.cleared_tasks(clean), world.cleared_tasks(report)) == ({"make"}, set())
        world.executes(clean, start=6, end=7)
        assert world.cleared_tasks(report) == {"make"}

    def test_a_debt_does_not_wait_for_what_another_task_of_the_run_reads(self) -> None:
        """Every partition that the task reads."""
        world = World()
        world.dag(
            "load",
            tasks={"a": "", "mail_a": "a", "b": "", "mail_b": "b"},
            writes={"a": "left", "b": "right"},
        )
        run = world.run("load", origin=Origin.SCHEDULE, pays_alone=True)
        for start, task_id in enumerate(["a", "mail_a", "b", "mail_b"]):
            world.executes(run, task_id, start=start, end=start + 0.5)
        left = world.pulls("left", at=9)
        world.pulls("right", at=9)
        world.releases(left, FIXED, at=10)
        assert world.cleared_tasks(run) == {"mail_a"}

    def test_what_follows_runs_again_too(self, world: World) -> None:
        """A due debt re-runs the task, what follows it."""
        world.dag("clean", reads="raw", tasks={"make": "", "mail": "make", "tell": "mail"})
        run = world.run("clean")
        for start, task_id in enumerate(["make", "mail", "tell"]):
            world.executes(run, task_id, start=2 + start, end=2.5 + start)
        world.releases(world.pulls("raw", at=8), FIXED, at=9)
        assert world.cleared_tasks(run) == {"make", "mail", "tell"}

    def test_pulled_again_while_it_is_repaired(self, world: World) -> None:
        """It is due when every partition that the task reads is clean."""
        run = tainted(world)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.is_cleared(run)
        again = world.pulls("raw", at=6)
        plan = world.plan_of(run)
        assert (plan.hold, plan.clear) == (True, ())
        assert world.owed(run) == {"make"}
        world.of_run(run, held=True)
        world.releases(again, FALSE_ALARM, at=7)
        assert world.plan_of(run).release
        world.of_run(run, held=False)
        world.executes(run, start=8, end=9)
        assert world.owed(run) == set()


class TestWhoPays:
    def test_the_latest_that_asset_events_made(self, world: World) -> None:
        """The latest that asset events made, else the latest."""
        first, second = tainted(world), tainted(world)
        by_hand = tainted(world, origin=Origin.PERSON)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        assert world.payer(first) == second
        assert [world.cleared_tasks(r) for r in (first, second, by_hand)] == [set(), {"make"}, set()]
        plans = world.plan().runs
        assert {r for r in plans if Label.SUPERSEDED in plans[r].labels} == {first, by_hand}

    def test_the_latest_if_asset_events_made_none(self, world: World) -> None:
        """... else the latest."""
        tainted(world, origin=Origin.PERSON)
        latest = tainted(world, origin=Origin.PERSON)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        assert world.payer(latest) == latest

    def test_a_run_that_waits_before_one_that_owes(self, world: World) -> None:
        """Of the runs that wait to read, else of those that owe."""
        owing = tainted(world)
        cord = world.pulls("raw", at=4)
        waiting = world.run("clean", origin=Origin.PERSON, held=True)
        world.releases(cord, FIXED, at=5)
        assert world.payer(owing) == waiting
        assert world.plan_of(waiting).release
        assert world.cleared_tasks(owing) == set()
        assert world.labels(owing) == {Label.TAINTED, Label.SUPERSEDED}

    @pytest.mark.parametrize("outcome", [FIXED, FALSE_ALARM])
    def test_the_others_that_are_held_end_as_skipped(self, world: World, outcome: object) -> None:
        """The others ... are superseded, at any outcome; one that has not begun ... ends as skipped."""
        cord = world.pulls("raw", at=2)
        first, second = world.run("clean", held=True), world.run("clean", held=True)
        assert not world.plan_of(first).acts
        world.releases(cord, outcome, at=3)
        assert (world.plan_of(first).skip, world.plan_of(first).release) == (True, False)
        assert (world.plan_of(second).skip, world.plan_of(second).release) == (False, True)

    def test_one_of_the_others_whose_old_process_lives_ends_as_skipped_at_once(self, world: World) -> None:
        """Two runs wait; one was stopped. Its process is gone only when the other one has paid."""
        cord = world.pulls("raw", at=3)
        first = world.run("clean", origin=Origin.PERSON)
        world.survivors[world.is_killed(first, start=2, at=3)] = minute(100)
        world.run("clean", held=True)
        assert not world.plan_of(first).skip
        world.releases(cord, FALSE_ALARM, at=4)
        plan = world.plan_of(first)
        assert (plan.skip, plan.unpark) == (True, (world.task(first),))

    def test_what_one_of_the_others_has_set_up_is_torn_down(self, world: World) -> None:
        """What was set up is torn down, whoever else does the work."""
        world.dag("clean", reads="raw", tasks={"make": "", "drop": "make"}, teardowns=["drop"])
        cord = world.pulls("raw", at=2)
        first, second = world.run("clean"), world.run("clean", held=True)
        world.executes(first, "make", start=1.2, end=1.5)
        drop = world.task(first, "drop")
        world.is_now(drop, TaskState.PARKED)
        world.releases(cord, FALSE_ALARM, at=3)
        assert (world.plan_of(first).skip, world.plan_of(first).unpark) == (False, (drop,))
        assert world.plan_of(second).release

    def test_what_is_torn_down_after_the_payer_has_paid_is_not_owed(self, world: World) -> None:
        """A teardown goes on with nothing: it ends what was set up (docs/decisions/0003, 56)."""
        world.dag("clean", reads="raw", tasks={"make": "", "drop": "make"}, teardowns=["drop"])
        world.publishes("raw", at=1)
        first, second = world.run("clean"), world.run("clean")
        for run in (first, second):
            world.executes(run, start=2, end=3)
        world.executes(first, "drop", start=3, end=3.5)
        cord = world.pulls("raw", at=4)
        world.publishes("raw", at=5)
        world.releases(cord, FIXED, at=6)
        assert world.owed(first) == {"make", "drop"}
        world.executes(first, start=7, end=8)
        world.executes(first, "drop", start=8, end=9)
        world.executes(second, "drop", start=10, end=11)
        assert world.owed(first) == set()

    def test_the_next_if_it_fails_for_good(self, world: World) -> None:
        """If it fails for good ..., the next."""
        first, second = tainted(world), tainted(world)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.executes(second, start=6, end=7, ending=Ending.FAILED)
        assert world.payer(first) == first
        assert (world.cleared_tasks(first), world.cleared_tasks(second)) == ({"make"}, set())
        assert Label.REPAIR_FAILED in world.labels(second)

    def test_nobody_if_all_have_failed(self, world: World) -> None:
        """A payer that failed on good data is not re-run by itself: the debt stands."""
        run = tainted(world)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.executes(run, start=6, end=7, ending=Ending.FAILED)
        assert world.owed(run) == {"make"}
        assert world.payer(run) is None
        assert not world.plan_of(run).acts

    def test_a_person_may_run_it_again(self, world: World) -> None:
        """The debt stands, the next pays."""
        run = tainted(world)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.executes(run, start=6, end=7, ending=Ending.FAILED)
        world.is_cleared(run)
        assert world.payer(run) == run
        world.executes(run, start=8, end=9)
        assert world.owed(run) == set()

    def test_with_what_it_follows_if_another_run_has_paid_for_that(self, world: World) -> None:
        """A task that follows a task that saw a bad version saw it, too: it would owe for ever."""
        world.dag("two", reads="raw", tasks={"first": "", "second": "first"}, writes={})
        one = world.run("two")
        world.executes(one, "first", start=2, end=2.2)
        world.executes(one, "second", start=2.3, end=2.5)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        other = world.run("two")
        world.executes(other, "first", start=6, end=7)
        world.skips(other, "second")
        assert world.owed(one) == {"second"}
        assert world.cleared_tasks(one) == {"first", "second"}
        world.executes(one, "first", start=8, end=8.2)
        world.executes(one, "second", start=8.3, end=8.5)
        assert world.owed(one) == set()

    def test_a_retry_that_is_still_to_come_has_not_failed(self, world: World) -> None:
        """If it fails for good."""
        first, second = tainted(world), tainted(world)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.executes(second, start=6, end=7, ending=Ending.FAILED)
        world.is_cleared(second)
        assert world.payer(first) == second

    @pytest.mark.parametrize(
        "more",
        [
            {"origin": Origin.SCHEDULE, "pays_alone": True},
            {"origin": Origin.PERSON, "pays_alone": True},
            {"origin": Origin.OPERATOR, "key": None},
        ],
        ids=["scheduled", "conf", "key-less child"],
    )
    def test_runs_that_pay_alone(self, world: World, more: dict[str, object]) -> None:
        """... have the run itself as key: each pays for itself and supersedes nobody."""
        one, two = world.run("clean", **more), world.run("clean", **more)
        for run in (one, two):
            world.also_reads[run] = {world.part("raw")}
            world.executes(run, start=2, end=3)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        assert [world.payer(run) for run in (one, two)] == [one, two]
        assert [world.cleared_tasks(run) for run in (one, two)] == [{"make"}, {"make"}]

    def test_a_child_whose_triggering_task_is_gone_pays_once(self, world: World) -> None:
        """It goes on with what that task saw, for ever: to run again is all that it can do."""
        world.dag("notify", writes={})
        parent = tainted(world)
        child = world.run("notify", None, Origin.OPERATOR, parent=world.task(parent), created=minute(2.6))
        world.executes(child, start=2.7, end=3)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.is_now(world.task(parent), TaskState.REMOVED)
        assert world.cleared_tasks(child) == {"make"}
        world.executes(child, start=6, end=7)
        assert world.owed(child) == set()

    def test_runs_of_unpartitioned_events_share_one_key(self, world: World) -> None:
        """Runs that events of unpartitioned assets made share one key."""
        world.dag("total", reads="stock", writes={})
        world.publishes("stock", None, at=1)
        one, two = tainted(world, "total", key=None), tainted(world, "total", key=None)
        world.releases(world.pulls("stock", None, at=4), FIXED, at=5)
        assert world.payer(one) == two
        assert (world.cleared_tasks(one), world.cleared_tasks(two)) == (set(), {"make"})
