"""D3: which tasks may start."""

from __future__ import annotations

import pytest

from airflow_lean_provider.rules.facts import Origin, Run
from airflow_lean_provider.rules.starts import may_start
from tests.unit.rules.story import FALSE_ALARM, FIXED, WITHDRAWN, World, minute


def starts(world: World, run: Run, task_id: str = "make") -> bool:
    return may_start(world.facts(), world.judged(), world.task(run, task_id))


@pytest.fixture
def world() -> World:
    """Raw is read by clean, clean by report; the partition h5 of raw was published."""
    world = World()
    world.dag("clean", reads="raw")
    world.dag("report", reads="clean")
    world.publishes("raw", at=1)
    return world


@pytest.mark.parametrize("origin", list(Origin))
def test_nobody_may_start_on_a_bad_partition(world: World, origin: Origin) -> None:
    """No partition that it reads is bad, whoever made the run."""
    run = world.run("clean", origin=origin)
    assert starts(world, run)
    world.pulls("raw", at=2)
    assert not starts(world, run)


def test_a_run_of_another_key_may(world: World) -> None:
    """Unaffected work is never delayed: other partitions."""
    world.pulls("raw", at=2)
    assert starts(world, world.run("clean", "h6"))


def test_a_run_that_was_made_after_the_pull_may_not(world: World) -> None:
    """For every run, with events or without."""
    world.pulls("raw", at=2)
    assert not starts(world, world.run("clean", origin=Origin.PERSON))


def test_what_reads_a_derived_bad_partition_may_not(world: World) -> None:
    """Derived while its current version is bad for another reason."""
    world.executes(world.run("clean"), start=2, end=3)
    report = world.run("report")
    cord = world.pulls("raw", at=4)
    assert not starts(world, report)
    world.releases(cord, FIXED, at=5)
    assert not starts(world, report)


@pytest.mark.parametrize("outcome", [FIXED, FALSE_ALARM, WITHDRAWN])
def test_it_may_once_the_cord_has_ended(world: World, outcome: object) -> None:
    """No partition that it reads is bad."""
    run = world.run("clean")
    world.releases(world.pulls("raw", at=2), outcome, at=3)
    assert starts(world, run)


def test_an_advisory_dag_may(world: World) -> None:
    """Otherwise only if its Dag is advisory."""
    world.dag("watch", reads="raw", writes={}, advisory=True)
    run = world.run("watch")
    world.pulls("raw", at=2)
    assert starts(world, run)
    assert not world.plan_of(run).acts


def test_what_an_advisory_dag_wrote_from_bad_data_is_bad_all_the_same(world: World) -> None:
    """... are not held; everything else applies to them."""
    world.dag("watch", reads="raw", advisory=True)
    run = world.run("watch")
    cord = world.pulls("raw", at=2)
    world.executes(run, start=3, end=4)
    assert world.is_bad("watch")
    world.releases(cord, FIXED, at=5)
    assert world.owed(run) == {"make"}


def test_the_teardown_of_a_killed_task_may(world: World) -> None:
    """Or it is the teardown of a task that was killed."""
    world.dag("clean", reads="raw", tasks={"make": "", "drop": "make"}, teardowns=["drop"])
    run = world.run("clean")
    world.pulls("raw", at=3)
    world.is_killed(run, start=2, at=3)
    assert starts(world, run, "drop")
    assert not starts(world, run, "make")


def test_who_repairs_the_bad_partition_may(world: World) -> None:
    """A task's own outlet partition is never among what it reads, else nobody could repair it."""
    world.dag("raw", tasks={"make": "", "mail": "make"}, writes={"make": "raw"})
    world.pulls("raw", at=2)
    run = world.run("raw", origin=Origin.PERSON)
    assert starts(world, run, "make")
    assert not starts(world, run, "mail")


def test_other_tasks_of_the_run_may(world: World) -> None:
    """Unaffected work is never delayed: ... other tasks of the run."""
    world.dag("raw", tasks={"make": "", "mail": "make", "other": ""}, writes={"make": "raw"})
    run = world.run("raw", origin=Origin.SCHEDULE)
    world.executes(run, "make", start=2, end=3)
    world.pulls("raw", at=4)
    assert starts(world, run, "other")
    assert {t.task_id for t in world.plan_of(run).park} == {"mail"}


def test_nothing_is_let_go_while_the_old_process_may_live(world: World) -> None:
    """Nor before the process of its own stopped execution is known to be gone."""
    run = world.run("clean")
    cord = world.pulls("raw", at=3)
    attempt = world.is_killed(run, start=2, at=3)
    world.survivors[attempt] = minute(10)
    world.releases(cord, FALSE_ALARM, at=4)
    plan = world.plan_of(run, now=9)
    assert (plan.release, plan.unpark) == (False, ())
    assert world.plan_of(run, now=10).unpark == (world.task(run),)


def test_nothing_is_cleared_while_the_old_process_may_live(world: World) -> None:
    """Nor before the process of its own stopped execution is known to be gone."""
    run = world.run("clean")
    world.executes(run, start=2, end=3)
    world.releases(world.pulls("raw", at=4), FIXED, at=5)
    world.survivors[world.last_try(world.task(run))] = minute(10)
    assert world.plan_of(run, now=9).clear == ()
    assert world.plan_of(run, now=10).clear == (world.task(run),)


def test_the_teardown_of_a_task_that_ended_by_itself_may_not(world: World) -> None:
    """Only if ... it is the teardown of a task that was killed."""
    world.dag("clean", reads="raw", tasks={"make": "", "drop": "make"}, teardowns=["drop"])
    run = world.run("clean")
    world.executes(run, start=2, end=3)
    world.pulls("raw", at=4)
    assert not starts(world, run, "drop")
