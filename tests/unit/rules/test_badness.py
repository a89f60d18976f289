"""D1 and D2: which versions and partitions are bad, and who saw them."""

from __future__ import annotations

import pytest

from airflow_lean_provider.rules.facts import Origin, Run, Severity, TaskState
from airflow_lean_provider.rules.versions import all_versions
from tests.unit.rules.story import FALSE_ALARM, FIXED, WITHDRAWN, World


@pytest.fixture
def world() -> World:
    """Raw is read by clean, clean by report."""
    world = World()
    world.dag("clean", reads="raw")
    world.dag("report", reads="clean")
    return world


def bad_versions(world: World) -> set[str]:
    return set(world.judged().bad)


class TestWhatACordNames:
    def test_the_last_version_and_not_the_one_before(self, world: World) -> None:
        """Names the last version of each partition unless told otherwise."""
        world.publishes("raw", at=1)
        bad = world.publishes("raw", at=2)
        world.pulls("raw", at=3)
        assert bad_versions(world) == {bad}

    def test_other_partitions_stay_good(self, world: World) -> None:
        """Unaffected work is never delayed: other partitions."""
        world.publishes("raw", "h5", at=1)
        world.publishes("raw", "h6", at=1)
        world.pulls("raw", "h5", at=3)
        assert (world.is_bad("raw", "h5"), world.is_bad("raw", "h6")) == (True, False)

    def test_what_is_published_while_the_halt_is_open_is_presumed_bad(self, world: World) -> None:
        """A cord names what its pull named and what is completed while its root halt is open."""
        bad = world.publishes("raw", at=1)
        world.pulls("raw", at=2)
        presumed = world.publishes("raw", at=3)
        assert bad_versions(world) == {bad, presumed}

    def test_what_is_published_after_the_release_is_good(self, world: World) -> None:
        """... while its root halt is open."""
        bad = world.publishes("raw", at=1)
        cord = world.pulls("raw", at=2)
        world.releases(cord, FIXED, at=3)
        world.publishes("raw", at=4)
        assert bad_versions(world) == {bad}

    def test_fixed_takes_back_the_last_and_no_others(self, world: World) -> None:
        """`fixed` takes back the last complete version; the others that the cord names stay bad."""
        bad = world.publishes("raw", at=1)
        cord = world.pulls("raw", at=2)
        worse, good = world.publishes("raw", at=3), world.publishes("raw", at=4)
        world.releases(cord, FIXED, at=5)
        assert bad_versions(world) == {bad, worse}
        assert good not in bad_versions(world)
        assert not world.is_bad("raw")

    def test_fixed_as_it_stands_leaves_what_was_named_bad(self, world: World) -> None:
        """The data as it stands is a new version from that moment; the others stay bad."""
        bad = world.publishes("raw", at=1)
        cord = world.pulls("raw", at=2)
        world.releases(cord, FIXED, at=5)
        assert bad_versions(world) == {bad}
        assert not world.is_bad("raw")

    def test_false_alarm_takes_all_of_it_back(self, world: World) -> None:
        """`false_alarm` takes all of it back."""
        world.publishes("raw", at=1)
        cord = world.pulls("raw", at=2)
        world.publishes("raw", at=3)
        world.publishes("raw", at=4)
        world.releases(cord, FALSE_ALARM, at=5)
        assert bad_versions(world) == set()

    def test_withdrawn_versions_stay_bad_but_the_partition_is_not(self, world: World) -> None:
        """A withdrawn (absent) partition is not."""
        bad = world.publishes("raw", at=1)
        cord = world.pulls("raw", at=2)
        world.releases(cord, WITHDRAWN, at=3)
        assert bad_versions(world) == {bad}
        assert not world.is_bad("raw")
        assert world.part("raw") in world.judged().absent

    def test_a_withdrawn_partition_is_there_again_once_it_is_published(self, world: World) -> None:
        """Nobody reads it until it is published again."""
        world.publishes("raw", at=1)
        world.releases(world.pulls("raw", at=2), WITHDRAWN, at=3)
        world.publishes("raw", at=4)
        assert world.part("raw") not in world.judged().absent

    def test_a_warning_only_marks(self, world: World) -> None:
        """Severity `warn` only marks."""
        world.publishes("raw", at=1)
        run = world.run("clean")
        world.pulls("raw", at=2, severity=Severity.WARN)
        judged = world.judged()
        assert (dict(judged.bad), dict(judged.bad_partitions)) == ({}, {})
        assert not world.plan_of(run).acts

    def test_raising_a_warning_to_stop_only_sets_the_severity(self, world: World) -> None:
        """Raising it to `stop` only sets the severity."""
        bad = world.publishes("raw", at=1)
        world.pulls("raw", at=2, severity=Severity.WARN)
        presumed = world.publishes("raw", at=3)
        (halt,) = world.halts
        world.halts = [type(halt)(halt.cord, halt.partition, Severity.STOP, halt.opened, halt.named)]
        assert bad_versions(world) == {bad, presumed}

    def test_a_version_that_a_person_cleared_is_good(self, world: World) -> None:
        """Unless a person cleared it as false alarm."""
        bad = world.publishes("raw", at=1)
        run = world.run("clean")
        derived = world.executes(run, start=2, end=3)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        assert bad_versions(world) == {bad, derived}
        world.cleared.add(derived)
        assert bad_versions(world) == {bad}
        assert not world.is_bad("clean")

    def test_a_partition_is_bad_until_the_last_of_two_cords_ends(self, world: World) -> None:
        """T13: two cords on one partition ... it is bad until the last one is."""
        world.publishes("raw", at=1)
        one, two = world.pulls("raw", at=2), world.pulls("raw", at=2)
        world.releases(two, FALSE_ALARM, at=3)
        assert world.is_bad("raw")
        world.releases(one, FALSE_ALARM, at=4)
        assert not world.is_bad("raw")


class TestWhoSaw:
    def test_a_task_that_ran_on_the_bad_version_saw_it_and_what_it_wrote_is_bad(self, world: World) -> None:
        """An execution that contributed to it saw a bad version."""
        world.publishes("raw", at=1)
        run = world.run("clean")
        derived = world.executes(run, start=2, end=3)
        world.pulls("raw", at=4)
        assert world.saw_bad(run)
        assert derived in bad_versions(world)
        assert world.is_bad("clean")

    def test_any_number_of_hops(self, world: World) -> None:
        """Any number of hops."""
        world.publishes("raw", at=1)
        world.executes(world.run("clean"), start=2, end=3)
        report = world.run("report")
        world.executes(report, start=4, end=5)
        cord = world.pulls("raw", at=6)
        assert world.is_bad("report")
        (causes,) = {world.judged().bad_partitions[world.part(a)] for a in ("raw", "clean", "report")}
        assert {c.cord for c in causes} == {cord}

    def test_whichever_event_its_run_was_made_for(self, world: World) -> None:
        """Sees every version ... that could be seen ... whichever event its run was made for."""
        world.publishes("raw", at=1)
        run = world.run("clean")
        world.publishes("raw", at=2)
        world.executes(run, start=3, end=4)
        world.pulls("raw", at=5)
        assert world.saw_bad(run)

    def test_who_ended_before_the_bad_version_began_saw_nothing(self, world: World) -> None:
        """Every version that could be seen at any moment while it ran."""
        world.dag("raw")
        world.publishes("raw", at=0)
        run = world.run("clean")
        world.executes(run, start=1, end=2)
        world.executes(world.run("raw", origin=Origin.SCHEDULE), start=3, end=5)
        world.pulls("raw", at=6)
        assert not world.saw_bad(run)

    def test_who_read_while_the_bad_version_was_being_written_saw_it(self, world: World) -> None:
        """T25: a producer overwrites its table for 20 minutes ... and a consumer reads in between."""
        world.dag("raw")
        world.publishes("raw", at=0)
        run = world.run("clean")
        world.executes(run, start=4, end=5)
        world.executes(world.run("raw", origin=Origin.SCHEDULE), start=3, end=20)
        world.pulls("raw", at=21)
        assert world.saw_bad(run)

    def test_who_started_before_a_good_version_was_complete_saw_the_bad_one(self, world: World) -> None:
        """A version can be seen ... until a later one is complete."""
        bad = world.publishes("raw", at=1)
        run = world.run("clean")
        world.executes(run, start=2, end=9)
        world.publishes("raw", at=3)
        world.pulls("raw", at=10, naming=[bad])
        assert world.saw_bad(run)

    def test_who_started_after_a_good_version_was_complete_did_not(self, world: World) -> None:
        """A version can be seen from its beginning until a later one is complete."""
        bad = world.publishes("raw", at=1)
        world.publishes("raw", at=3)
        run = world.run("clean")
        world.executes(run, start=4, end=5)
        world.pulls("raw", at=6, naming=[bad])
        assert not world.saw_bad(run)
        assert not world.is_bad("clean")

    @pytest.mark.parametrize(("doubt", "saw"), [(0, False), (2, True)])
    def test_doubt_about_the_start_counts_as_having_seen(self, world: World, doubt: float, saw: bool) -> None:
        """Within a configurable skew, doubt counts as "saw it"."""
        bad = world.publishes("raw", at=1)
        world.publishes("raw", at=3)
        run = world.run("clean")
        world.executes(run, start=4, end=5, doubt=doubt)
        world.pulls("raw", at=6, naming=[bad])
        assert world.saw_bad(run) is saw

    @pytest.mark.parametrize(("doubt", "saw"), [(0, False), (2, True)])
    def test_doubt_about_the_end_counts_as_having_seen(self, world: World, doubt: float, saw: bool) -> None:
        """Within a configurable skew, doubt counts as "saw it"."""
        world.publishes("raw", at=1)
        run = world.run("clean")
        world.executes(run, start=2, end=3, doubt=doubt)
        bad = world.publishes("raw", at=4)
        world.pulls("raw", at=6, naming=[bad])
        assert world.saw_bad(run) is saw

    def test_a_reader_of_a_half_written_version_saw_bad_data(self, world: World) -> None:
        """A version is bad if ... it is half written."""
        world.publishes("raw", at=1)
        clean = world.run("clean")
        world.executes(clean, start=2, end=3)
        cord = world.pulls("raw", at=10)
        world.is_killed(clean, start=9, at=10)
        report = world.run("report")
        world.executes(report, start=9, end=11)
        world.releases(cord, FALSE_ALARM, at=12)
        assert world.is_bad("clean")
        assert world.saw_bad(report)

    def test_a_half_written_partition_is_good_once_it_is_written_again(self, world: World) -> None:
        """Current is the last complete one or, if it is newer, a half-written one."""
        world.publishes("raw", at=1)
        clean = world.run("clean")
        cord = world.pulls("raw", at=10)
        world.is_killed(clean, start=9, at=10)
        world.releases(cord, FALSE_ALARM, at=12)
        world.executes(clean, start=13, end=14)
        assert not world.is_bad("clean")

    def test_a_rerun_on_good_data_makes_the_partition_good(self, world: World) -> None:
        """D2: its current version is bad."""
        world.publishes("raw", at=1)
        clean = world.run("clean")
        world.executes(clean, start=2, end=3)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        assert world.is_bad("clean")
        world.executes(clean, start=6, end=7)
        assert not world.is_bad("clean")

    def test_one_member_that_saw_bad_data_makes_the_version_bad(self, world: World) -> None:
        """An execution that contributed to it saw a bad version."""
        world.publishes("raw", at=1)
        clean = world.run("clean", mapped={"make": 3})
        for index in range(3):
            world.executes(clean, start=2, end=3, index=index)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.is_cleared(clean)
        for index in range(2):
            world.executes(clean, start=6, end=7, index=index)
            assert world.is_bad("clean")
        world.executes(clean, start=6, end=9, index=2)
        assert not world.is_bad("clean")


class TestWithinARun:
    @pytest.fixture
    def world(self) -> World:
        world = World()
        world.dag(
            "load",
            tasks={"extract": "", "write": "extract", "mail": "write", "other": ""},
            writes={"write": "raw"},
        )
        return world

    def test_what_follows_the_publishing_task_reads_what_it_published(self, world: World) -> None:
        """In the run that published it, what follows the publishing task."""
        run = world.run("load", origin=Origin.SCHEDULE)
        for start, task_id in enumerate(["extract", "other", "write", "mail"]):
            world.executes(run, task_id, start=start, end=start + 0.5)
        world.pulls("raw", at=9)
        assert {t for t in ("extract", "other", "write", "mail") if world.saw_bad(run, t)} == {"mail"}

    def test_a_task_never_reads_its_own_outlet(self, world: World) -> None:
        """A task's own outlet partition is never among what it reads, else nobody could repair it."""
        run = world.run("load", origin=Origin.SCHEDULE)
        reading = world.judged().reading
        assert reading.of(run, "write") == frozenset()
        assert reading.of(run, "mail") == {world.part("raw")}

    def test_not_even_if_its_dag_is_scheduled_on_it(self, world: World) -> None:
        """A task's own outlet partition is never among what it reads."""
        world.dag("raw", reads="raw other")
        run = world.run("raw")
        assert world.judged().reading.of(run, "make") == {world.part("other")}

    def test_what_follows_a_tainted_task_in_its_run_is_tainted(self) -> None:
        """A task that follows a tainted task in its run has its results, whenever it itself ran."""
        world = World()
        world.dag("clean", reads="raw", tasks={"read": "", "write": "read"}, writes={"write": "clean"})
        bad = world.publishes("raw", at=1)
        run = world.run("clean")
        world.executes(run, "read", start=2, end=3)
        world.publishes("raw", at=4)
        world.executes(run, "write", start=5, end=6)
        world.pulls("raw", at=7, naming=[bad])
        assert world.saw_bad(run, "write")
        assert world.is_bad("clean")

    def test_not_if_that_task_has_run_again_on_good_data_before(self) -> None:
        """What counts is what it followed."""
        world = World()
        world.dag("clean", reads="raw", tasks={"read": "", "write": "read"}, writes={"write": "clean"})
        bad = world.publishes("raw", at=1)
        run = world.run("clean")
        world.executes(run, "read", start=2, end=3)
        world.publishes("raw", at=4)
        world.executes(run, "read", start=5, end=6)
        world.executes(run, "write", start=7, end=8)
        world.pulls("raw", at=9, naming=[bad])
        assert not world.saw_bad(run, "write")


class TestWithdrawn:
    def test_what_was_made_from_it_alone_is_withdrawn_likewise(self, world: World) -> None:
        """What was made from absent partitions alone is withdrawn likewise."""
        world.publishes("raw", at=1)
        world.executes(world.run("clean"), start=2, end=3)
        world.executes(world.run("report"), start=4, end=5)
        cord = world.pulls("raw", at=6)
        assert world.is_bad("report")
        world.releases(cord, WITHDRAWN, at=7)
        assert world.judged().absent == {world.part(a) for a in ("raw", "clean", "report")}
        assert not world.judged().bad_partitions

    def test_what_was_made_from_it_stays_absent_though_it_is_published_again(self, world: World) -> None:
        """Who reads that was not held before, and is not stopped now; it is about to be made anew."""
        world.publishes("raw", at=1)
        clean = world.run("clean")
        world.executes(clean, start=2, end=3)
        world.releases(world.pulls("raw", at=4), WITHDRAWN, at=5)
        world.publishes("raw", at=6)
        assert world.judged().absent == {world.part("clean")}
        assert not world.judged().bad_partitions
        world.executes(world.run("clean"), start=7, end=8)
        assert not world.judged().absent

    def test_when_it_was_made_absent_is_known_though_it_is_withdrawn_itself_later(self, world: World) -> None:
        """Who had nothing left to read then owes nothing (docs/decisions/0003, 46)."""
        world.dag("both", reads="raw clean")
        world.publishes("raw", at=1)
        world.executes(world.run("clean"), start=2, end=3)
        both = world.run("both")
        world.executes(both, start=4, end=5)
        world.releases(world.pulls("raw", at=6), WITHDRAWN, at=7)
        world.publishes("raw", at=8)
        world.releases(world.pulls("clean", at=9, naming=[]), WITHDRAWN, at=10)
        assert world.owed(both) == set()

    def test_half_written_outlets_included(self, world: World) -> None:
        """... half-written outlets included."""
        world.publishes("raw", at=1)
        clean = world.run("clean")
        cord = world.pulls("raw", at=3)
        world.is_killed(clean, start=2, at=3)
        world.releases(cord, WITHDRAWN, at=4)
        assert world.part("clean") in world.judged().absent
        assert not world.is_bad("clean")

    def test_what_was_made_from_others_too_is_bad_until_it_is_made_without_it(self, world: World) -> None:
        """Others go on without it."""
        world.dag("join", reads="raw price")
        world.publishes("raw", at=1)
        world.publishes("price", at=1)
        join = world.run("join")
        world.executes(join, start=2, end=3)
        world.releases(world.pulls("raw", at=4), WITHDRAWN, at=5)
        assert world.part("join") not in world.judged().absent
        assert world.is_bad("join")
        world.executes(join, start=6, end=7)
        assert not world.saw_bad(join)
        assert not world.is_bad("join")

    def test_a_cord_that_is_still_open_keeps_a_withdrawn_partition_bad(self, world: World) -> None:
        """A partition is bad if a root halt is open on it."""
        world.publishes("raw", at=1)
        one = world.pulls("raw", at=2)
        world.pulls("raw", at=2)
        world.releases(one, WITHDRAWN, at=3)
        assert world.is_bad("raw")


class TestHalfPublished:
    """A version some of whose instances have published: it can be seen before it is complete."""

    def mapped(self, world: World) -> Run:
        """Clean has two instances, the first of which has published on bad data; the second waits."""
        world.publishes("raw", at=1)
        world.publishes("other", at=1)
        run = world.run("clean", mapped={"make": 2})
        world.executes(run, start=2, end=3, index=0)
        world.is_now(world.task(run, index=1), TaskState.PARKED)
        return run

    def test_it_holds_its_readers_if_what_was_published_is_bad(self, world: World) -> None:
        """A version can be seen from its beginning."""
        self.mapped(world)
        world.pulls("raw", at=4)
        assert world.is_bad("clean")

    def test_and_not_otherwise(self, world: World) -> None:
        self.mapped(world)
        world.pulls("other", at=4)
        assert not world.is_bad("clean")

    def test_who_reads_it_saw_it(self, world: World) -> None:
        self.mapped(world)
        reader = world.run("report")
        world.executes(reader, start=3.2, end=3.5)
        world.pulls("raw", at=4)
        assert world.saw_bad(reader)

    def test_it_is_good_once_all_instances_have_published_on_good_data(self, world: World) -> None:
        run = self.mapped(world)
        reader = world.run("report")
        world.executes(reader, start=3.2, end=3.5)
        world.releases(world.pulls("raw", at=4), FIXED, at=5)
        world.executes(run, start=6, end=7, index=0)
        assert world.is_bad("clean"), "the second is still to publish, and who reads now reads the first try"
        world.executes(run, start=7, end=8, index=1)
        assert not world.is_bad("clean")
        assert world.owed(reader) == {"make"}


class TestSeenBeforeItWasWhole:
    """A pull names what has been published by the first of two instances; then the second publishes."""

    @pytest.fixture
    def world(self) -> World:
        world = World()
        world.dag("clean", reads="raw")
        world.dag("report", reads="clean")
        self.run = world.run("clean", mapped={"make": 2})
        world.executes(self.run, start=2, end=3, index=0)
        self.reader = world.run("report")
        world.executes(self.reader, start=3.2, end=3.5)
        parts = [v.id for v in all_versions(world.facts())[world.part("clean")]]
        self.cord = world.pulls("clean", at=4, naming=parts)
        return world

    def test_it_is_named_when_it_is_whole(self, world: World) -> None:
        """It is that version: `fixed` says that the data is good as it stands then."""
        world.executes(self.run, start=2, end=5, index=1)
        world.releases(self.cord, FIXED, at=6)
        assert not world.is_bad("clean")
        assert world.owed(self.reader) == {"make"}

    def test_not_if_it_is_written_anew(self, world: World) -> None:
        """A re-run makes another version, which `fixed` takes back."""
        world.executes(self.run, start=4.2, end=4.5, index=0)
        written = world.executes(self.run, start=2, end=5, index=1)
        world.releases(self.cord, FIXED, at=6)
        assert world.versions("clean")[-1].id == written
        assert written not in world.judged().bad

    def test_not_if_it_was_called_good_before_it_was_whole(self, world: World) -> None:
        world.releases(self.cord, FIXED, at=4.5)
        world.executes(self.run, start=2, end=5, index=1)
        assert not world.is_bad("clean")


class TestAsItStands:
    """The data as it stands is a new version: of the same makers, and what was known then is forgiven."""

    @pytest.fixture
    def released(self, world: World) -> World:
        world.publishes("raw", at=1)
        world.executes(world.run("clean"), start=2, end=3)
        world.releases(world.pulls("clean", at=4), FIXED, at=5)
        return world

    def test_it_is_bad_if_what_it_was_made_from_turns_out_to_be(self, released: World) -> None:
        assert not released.is_bad("clean")
        released.pulls("raw", at=6)
        assert released.is_bad("clean")

    def test_what_was_known_then_is_forgiven(self, world: World) -> None:
        world.publishes("raw", at=1)
        world.executes(world.run("clean"), start=2, end=3)
        world.pulls("raw", at=3.5)
        world.releases(world.pulls("clean", at=4), FIXED, at=5)
        assert not world.is_bad("clean")
