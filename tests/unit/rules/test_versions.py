"""What is one publication, when it begins and when it is complete."""

from __future__ import annotations

import pytest

from airflow_lean_provider.rules.facts import Ending, Origin, TaskState
from airflow_lean_provider.rules.versions import current, visible_until
from tests.unit.rules.story import FIXED, World, minute


@pytest.fixture
def world() -> World:
    world = World()
    world.dag("clean", reads="raw")
    return world


def test_an_event_that_no_task_emitted_is_a_version_of_its_own(world: World) -> None:
    """An external event is a version of its own."""
    first = world.publishes("raw", at=1)
    second = world.publishes("raw", at=2)
    assert world.version_ids("raw") == [first, second]
    assert world.versions("raw")[0].run is None


def test_keys_are_compared_byte_for_byte(world: World) -> None:
    """One asset + one partition key (compared exactly, byte for byte)."""
    for key in ("us", "US", "us ", "ús"):
        world.publishes("raw", key, at=1)
    assert [len(world.versions("raw", key)) for key in ("us", "US", "us ", "ús")] == [1, 1, 1, 1]


def test_one_task_that_publishes_makes_one_version(world: World) -> None:
    """It begins when the first try that is new in it started and is complete when all of them ended."""
    run = world.run("clean")
    published = world.executes(run, start=2, end=5)
    (version,) = world.versions("clean")
    assert (version.id, version.began, version.at) == (published, minute(2), minute(5))
    assert version.contributors == {world.last_try(world.task(run))}


def test_mapped_instances_make_one_version_when_the_last_has_ended(world: World) -> None:
    """Complete when all of them ended as success or skipped and a new one has published."""
    run = world.run("clean", mapped={"make": 3})
    world.executes(run, start=1, end=4, index=0)
    world.executes(run, start=2, end=3, index=1)
    assert world.versions("clean") == ()
    last = world.executes(run, start=2, end=6, index=2)
    (version,) = world.versions("clean")
    assert (version.id, version.began, version.at) == (last, minute(1), minute(6))
    assert len(version.contributors) == 3


def test_an_instance_that_skips_itself_adds_nothing_to_the_version(world: World) -> None:
    """All of them ended as success or skipped; the last successful try of each is in it."""
    run = world.run("clean", mapped={"make": 3})
    world.executes(run, start=1, end=4, index=0)
    world.executes(run, start=1, end=5, index=1)
    world.executes(run, start=2, end=6, index=2, ending=Ending.SKIPPED)
    first, second = (world.last_try(world.task(run, index=i)) for i in (0, 1))
    (version,) = world.versions("clean")
    assert (version.at, version.contributors) == (minute(6), {first, second})
    world.is_cleared(run)
    world.executes(run, start=11, end=14, index=0)
    world.executes(run, start=11, end=15, index=1, ending=Ending.SKIPPED)
    world.executes(run, start=11, end=16, index=2, ending=Ending.SKIPPED)
    assert world.versions("clean")[-1].contributors == {world.last_try(world.task(run, index=0)), second}


def test_mapped_instances_one_after_the_other_make_one_version(world: World) -> None:
    """What one run wrote into a partition in one go, by all its task instances that have it as outlet."""
    run = world.run("clean", mapped={"make": 2})
    world.executes(run, start=1, end=2, index=0)
    last = world.executes(run, start=3, end=4, index=1)
    assert world.version_ids("clean") == [last]


def test_two_tasks_with_the_same_outlet_make_one_version() -> None:
    """By all its task instances that have it as outlet."""
    world = World()
    world.dag("load", tasks={"left": "", "right": "left"}, writes={"left": "raw", "right": "raw"})
    run = world.run("load")
    world.executes(run, "left", start=1, end=2)
    assert world.versions("raw") == ()
    world.executes(run, "right", start=3, end=4)
    assert [v.at for v in world.versions("raw")] == [minute(4)]


def test_a_task_that_published_without_declaring_it_counts(world: World) -> None:
    """All its task instances that have it as outlet or published it (aliases)."""
    world.dag("load", tasks={"find": ""}, writes={})
    run = world.run("load")
    world.executes(run, "find", start=1, end=2)
    published = world.publishes("raw", at=2, by=world.task(run, "find"))
    (version,) = world.versions("raw")
    assert version.id == published
    assert version.contributors == {world.last_try(world.task(run, "find"))}


def test_two_events_of_one_go_are_one_version(world: World) -> None:
    """What one run wrote into a partition in one go."""
    run = world.run("clean")
    world.executes(run, start=1, end=2)
    world.publishes("clean", at=2, by=world.task(run))
    assert len(world.versions("clean")) == 1


def test_a_member_that_was_skipped_before_it_started_is_not_waited_for(world: World) -> None:
    """All of them ended as success or skipped."""
    run = world.run("clean", mapped={"make": 2})
    world.skips(run, "make", index=1)
    world.executes(run, start=1, end=2, index=0)
    assert len(world.versions("clean")) == 1


def test_a_member_that_skips_itself_last_completes_the_version(world: World) -> None:
    """All of them ended as success or skipped and a new one has published."""
    run = world.run("clean", mapped={"make": 2})
    published = world.executes(run, start=1, end=2, index=0)
    world.executes(run, start=1, end=5, index=1, publishes=False)
    world.is_now(world.task(run, "make", 1), TaskState.SKIPPED)
    (version,) = world.versions("clean")
    assert (version.id, version.at) == (published, minute(5))


def test_a_run_all_of_whose_members_skip_publishes_nothing(world: World) -> None:
    """... and a new one has published."""
    run = world.run("clean", mapped={"make": 2})
    world.executes(run, start=1, end=2, index=0, publishes=False)
    world.skips(run, "make", index=1)
    assert world.versions("clean") == ()


def test_a_member_that_failed_keeps_the_version_incomplete(world: World) -> None:
    """Complete when all of them ended as success or skipped."""
    run = world.run("clean", mapped={"make": 2})
    world.executes(run, start=1, end=2, ending=Ending.FAILED, index=0)
    world.executes(run, start=1, end=3, index=1)
    assert world.versions("clean") == ()
    world.executes(run, start=4, end=5, index=0)
    (version,) = world.versions("clean")
    assert version.at == minute(5)


def test_the_retry_that_succeeds_is_what_contributes(world: World) -> None:
    """The last successful try of each."""
    run = world.run("clean")
    world.executes(run, start=1, end=2, ending=Ending.FAILED)
    world.executes(run, start=3, end=4)
    (version,) = world.versions("clean")
    assert {t.number for t in version.contributors} == {2}


def test_a_member_that_was_removed_is_not_waited_for(world: World) -> None:
    """An instance that no longer exists owes nothing."""
    run = world.run("clean", mapped={"make": 2})
    world.is_now(world.task(run, "make", 1), TaskState.REMOVED)
    world.executes(run, start=1, end=2, index=0)
    assert len(world.versions("clean")) == 1


def test_a_rerun_makes_another_version(world: World) -> None:
    """A re-run makes another version."""
    run = world.run("clean")
    first = world.executes(run, start=1, end=2)
    world.is_cleared(run)
    assert world.version_ids("clean") == [first]
    second = world.executes(run, start=5, end=6)
    assert world.version_ids("clean") == [first, second]
    assert world.versions("clean")[1].began == minute(5)


def test_the_first_of_ten_events_of_a_rerun_makes_no_version(world: World) -> None:
    """T24: after the first event of the re-run nine are still to write."""
    run = world.run("clean", mapped={"make": 10})
    for index in range(10):
        first = world.executes(run, start=1, end=2 + index, index=index)
    world.is_cleared(run)
    for index in range(9):
        world.executes(run, start=21 + index, end=21.5 + index, index=index)
        assert world.version_ids("clean") == [first]
    second = world.executes(run, start=30, end=31, index=9)
    assert world.version_ids("clean")[-1] == second


def test_a_rerun_of_one_member_alone_makes_another_version(world: World) -> None:
    """The last successful try of each ... and a new one has published."""
    run = world.run("clean", mapped={"make": 2})
    world.executes(run, start=1, end=2, index=0)
    first = world.executes(run, start=1, end=3, index=1)
    world.is_cleared(run, world.task(run, "make", 0))
    second = world.executes(run, start=8, end=9, index=0)
    assert world.version_ids("clean") == [first, second]
    latest = world.versions("clean")[1]
    assert latest.began == minute(8)
    assert {(t.task.map_index, t.number) for t in latest.contributors} == {(0, 2), (1, 1)}


def test_a_killed_writer_leaves_a_half_written_version(world: World) -> None:
    """A publishing task that the brake kills leaves a half-written version ... current if it is newer."""
    run = world.run("clean")
    first = world.executes(run, start=1, end=2)
    world.is_killed(run, start=5, at=6)
    complete, half = world.versions("clean")
    assert (complete.id, half.complete, half.began, half.at) == (first, False, minute(5), minute(6))
    assert current(world.versions("clean")) == half


def test_a_half_written_version_is_visible_until_a_later_one_is_complete(world: World) -> None:
    """A version can be seen from its beginning until a later one is complete."""
    run = world.run("clean")
    world.executes(run, start=1, end=2)
    world.is_killed(run, start=5, at=6)
    versions = world.versions("clean")
    assert [visible_until(v, versions) for v in versions] == [None, None]
    world.executes(run, start=7, end=9)
    versions = world.versions("clean")
    assert [visible_until(v, versions) for v in versions] == [minute(9), minute(9), None]


def test_fixed_without_a_newer_version_makes_one_of_the_data_as_it_stands(world: World) -> None:
    """If none is newer than what the pull named, the data as it stands is a new version from that moment."""
    bad = world.publishes("raw", at=1)
    cord = world.pulls("raw", at=2)
    world.releases(cord, FIXED, at=5)
    named, as_it_stands = world.versions("raw")
    assert named.id == bad
    assert (as_it_stands.began, as_it_stands.at) == (minute(5), minute(5))


def test_fixed_with_a_newer_version_makes_no_other(world: World) -> None:
    """If none is newer than what the pull named ..."""
    bad = world.publishes("raw", at=1)
    cord = world.pulls("raw", at=2)
    good = world.publishes("raw", at=3)
    world.releases(cord, FIXED, at=5)
    assert world.version_ids("raw") == [bad, good]


def test_a_check_that_named_an_older_version_is_fixed_by_the_one_that_was_there(world: World) -> None:
    """If none is newer than what the pull named ...: a check named the one that it examined."""
    examined = world.publishes("raw", at=1)
    newer = world.publishes("raw", at=2)
    cord = world.pulls("raw", at=3, naming=[examined])
    world.releases(cord, FIXED, at=5)
    assert world.version_ids("raw") == [examined, newer]


def test_versions_do_not_depend_on_the_order_in_which_cords_are_told(world: World) -> None:
    """Independence of the order of releases."""
    world.publishes("raw", at=1)
    one, two = world.pulls("raw", at=2), world.pulls("raw", at=3)
    world.releases(two, FIXED, at=5)
    world.releases(one, FIXED, at=6)
    told = world.version_ids("raw")
    world.halts.reverse()
    assert world.version_ids("raw") == told


def test_a_half_written_asset_as_a_whole_ends_with_its_writers_next_publication_under_any_key() -> None:
    """The keys of a task that chooses them at run time are known only once it has published."""
    world = World()
    world.dag("load", writes={"make": "raw"})
    run = world.run("load", None, Origin.PERSON)
    world.is_killed(run, start=1, at=2)
    assert not world.versions("raw", None)[-1].complete
    world.executes(run, start=3, end=4, publishes=False)
    world.publishes("raw", "chosen", at=4, by=world.task(run))
    assert world.versions("raw", None)[-1].complete
