"""Which bad partitions nobody is going to make good (DESIGN section 2, "Ways out")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_lean_provider.rules.facts import Cause, TaskState
from airflow_lean_provider.rules.plan import decide
from airflow_lean_provider.rules.prospects import hopeless
from tests.unit.rules.story import FIXED, World, minute

if TYPE_CHECKING:
    from airflow_lean_provider.rules.facts import Run


def stuck(world: World, **changes: object) -> set[tuple[str, str | None]]:
    facts = replace(world.facts(), **changes)
    names = {number: name for name, number in world.assets.items()}
    return {(names[p.asset], p.key) for p in hopeless(facts, decide(facts))}


def a_tainted_chain() -> tuple[World, int, Run, Run]:
    """orders -> clean -> report, all of it made from bad orders; the cord is open."""
    world = World()
    world.dag("ingest", writes={"make": "orders"})
    world.dag("clean", reads="orders")
    world.dag("report", reads="clean")
    world.executes(world.run("ingest"), start=0, end=1)
    cleaning, reporting = world.run("clean"), world.run("report")
    world.executes(cleaning, start=2, end=3)
    world.executes(reporting, start=4, end=5)
    return world, world.pulls("orders", at=6), cleaning, reporting


def test_while_the_cord_is_open_everything_waits_for_its_release() -> None:
    world, *_ = a_tainted_chain()
    assert world.is_bad("clean")
    assert stuck(world) == set()


def test_what_owes_is_going_to_publish_and_so_is_what_reads_it() -> None:
    world, cord, cleaning, _ = a_tainted_chain()
    world.releases(cord, FIXED, at=7)
    assert world.owed(cleaning) == {"make"}
    assert world.is_bad("report")
    assert stuck(world) == set()


def test_a_run_that_is_gone_publishes_nothing_and_what_reads_it_is_not_named() -> None:
    """Where a bad version has no natural end: its run is gone."""
    world, cord, cleaning, _ = a_tainted_chain()
    world.releases(cord, FIXED, at=7)
    (made,) = world.version_ids("clean")
    del world.runs[cleaning]
    kept_bad = {made: frozenset({Cause(cord, world.part("orders"))})}
    assert stuck(world, kept_bad=kept_bad) == {("clean", "h5")}


def test_a_run_that_was_marked_by_hand_owes_nothing() -> None:
    """Where a bad version has no natural end: its run was marked by hand."""
    world, cord, cleaning, _ = a_tainted_chain()
    world.releases(cord, FIXED, at=7)
    world.of_run(cleaning, marked={world.task(cleaning): minute(9)})
    assert stuck(world) == {("clean", "h5")}


def test_a_task_that_is_gone_publishes_nothing() -> None:
    """Where a bad version has no natural end: its task no longer exists."""
    world, cord, cleaning, _ = a_tainted_chain()
    world.releases(cord, FIXED, at=7)
    world.is_now(world.task(cleaning), TaskState.REMOVED)
    assert stuck(world) == {("clean", "h5")}


def test_a_run_that_is_going_to_start_anyway_is_hope_enough() -> None:
    world, cord, cleaning, _ = a_tainted_chain()
    world.releases(cord, FIXED, at=7)
    world.of_run(cleaning, marked={world.task(cleaning): minute(9)})
    world.run("clean")
    assert stuck(world) == set()


def test_what_waits_for_itself_in_a_cycle_is_named() -> None:
    """Where a bad version has no natural end: it waits for itself in a cycle. a -> b -> a."""
    world = World()
    world.dag("ingest", writes={"make": "orders"})
    world.dag("a", reads="orders b")
    world.dag("b", reads="a")
    world.dag("outside", reads="b")
    world.executes(world.run("ingest"), start=0, end=1)
    world.executes(world.run("a"), start=2, end=3)
    world.executes(world.run("b"), start=4, end=5)
    world.executes(world.run("a"), start=6, end=7)
    world.executes(world.run("outside"), start=8, end=9)
    cord = world.pulls("orders", at=10)
    assert stuck(world) == set()
    world.releases(cord, FIXED, at=11)
    assert stuck(world) >= {("a", "h5"), ("b", "h5")}
