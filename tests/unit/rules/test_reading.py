"""Who reads what."""

from __future__ import annotations

import pytest

from airflow_lean_provider.rules.facts import Origin, Run
from tests.unit.rules.story import World, minute

ROW = {"first": "", "read": "first", "after": "read", "beside": "first"}


@pytest.fixture
def world() -> World:
    """``nightly`` has four tasks, the second of which may have an inlet; ``child`` is triggered by a task."""
    world = World()
    world.dag("nightly", tasks=ROW, writes={"after": "out"})
    world.dag("child", writes={"make": "grown"})
    world.publishes("raw", at=1)
    return world


def read_by(world: World, run: Run, asset: str = "raw", key: str = "h5") -> set[str]:
    reading = world.judged().reading.of_run(run)
    return {task_id for task_id, found in reading.items() if world.part(asset, key) in found}


def test_a_task_with_an_inlet_and_what_follows_it(world: World) -> None:
    """A task with the asset as an inlet, and what follows it."""
    run = world.run("nightly", None, Origin.PERSON)
    world.has_inlet(run, "read", "raw")
    assert read_by(world, run) == {"read", "after"}
    assert read_by(world, run, key="h6") == set()


def test_never_a_task_that_writes_it(world: World) -> None:
    """A task's own outlet partition is never among what it reads, else nobody could repair it."""
    world.dag("upsert", tasks={"make": "", "check": "make"}, writes={"make": "raw"})
    run = world.run("upsert", "h5", Origin.PERSON)
    world.has_inlet(run, "make", "raw")
    assert read_by(world, run) == {"check"}


def test_a_triggered_run_reads_what_the_triggering_task_read(world: World) -> None:
    """A run that a task triggered (TriggerDagRunOperator) reads what that task read."""
    parent = world.run("nightly", None, Origin.PERSON)
    world.has_inlet(parent, "read", "raw")
    of_reader = world.run("child", None, Origin.OPERATOR, parent=world.task(parent, "read"))
    of_other = world.run("child", None, Origin.OPERATOR, parent=world.task(parent, "beside"))
    grandchild = world.run("child", None, Origin.OPERATOR, parent=world.task(of_reader))
    assert read_by(world, of_reader) == {"make"}
    assert read_by(world, of_other) == set()
    assert read_by(world, grandchild) == {"make"}


def test_two_runs_that_trigger_each_other_anew_do_not_hang(world: World) -> None:
    one = world.run("child", None, Origin.OPERATOR)
    other = world.run("child", None, Origin.OPERATOR, parent=world.task(one))
    world.of_run(one, parent=world.task(other))
    world.has_inlet(one, "make", "raw")
    assert read_by(world, one) == {"make"}
    assert read_by(world, other) == {"make"}


def test_a_child_goes_on_with_what_its_triggering_task_saw(world: World) -> None:
    """The bad version is gone when the child starts; what it was told comes from it all the same."""
    bad = world.version_ids("raw")
    parent = world.run("nightly", None, Origin.PERSON)
    world.has_inlet(parent, "read", "raw")
    world.executes(parent, "read", start=2, end=3)
    world.publishes("raw", at=4)
    child = world.run("child", None, Origin.OPERATOR, parent=world.task(parent, "read"), created=minute(2.5))
    world.executes(child, start=5, end=6)
    world.pulls("raw", at=7, naming=bad)
    assert world.saw_bad(child)
    assert world.is_bad("grown", None)


def test_the_child_of_a_later_try_does_not(world: World) -> None:
    bad = world.version_ids("raw")
    parent = world.run("nightly", None, Origin.PERSON)
    world.has_inlet(parent, "read", "raw")
    world.executes(parent, "read", start=2, end=3)
    world.publishes("raw", at=4)
    world.executes(parent, "read", start=5, end=6)
    child = world.run("child", None, Origin.OPERATOR, parent=world.task(parent, "read"), created=minute(5.5))
    world.executes(child, start=7, end=8)
    world.pulls("raw", at=9, naming=bad)
    assert not world.saw_bad(child)
