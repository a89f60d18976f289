"""What the oracle says about repairs, absorption, payers, and what is left when all is at rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation import trace as seen
from tests.simulation.graph import DagSpec, Inlet, Kind, Source, TaskSpec
from tests.simulation.oracle import outcome
from tests.unit.simulation.story import KEY, Mapping, Story, consumer, part, producer

RAW, CLEAN, REPORT = part("raw"), part("clean"), part("report")


class Chain(Story):
    """raw -> clean -> report, all made, and then a cord on raw."""

    def __init__(self, **more: object) -> None:
        super().__init__(
            producer("raw"),
            consumer("clean", "raw", outlets=("clean",), **more),
            consumer("report", "clean", outlets=("report",)),
        )
        event = self.works(self.run("make_raw"), RAW)
        self.clean = self.run("clean", KEY, event)
        event = self.works(self.clean, CLEAN)
        self.report = self.run("report", KEY, event)
        self.works(self.report, REPORT)
        self.cord = self.pulls(RAW)

    def repaired(self) -> None:
        """As it should be: raw is written again, the cord is released, the chain is repaired once."""
        self.works(self.run("make_raw", name="again"), RAW)
        self.releases(self.cord)
        self.works(self.clean, CLEAN)
        self.works(self.report, REPORT)


def complaint(story: Story) -> str:
    (only,) = story.complaints_at_rest()
    return only


def test_an_exact_repair_is_right():
    story = Chain()
    story.repaired()
    assert story.complaints_at_rest() == []


# D4


def test_a_due_debt_that_nobody_pays():
    """It is due when every partition that the task reads is clean."""
    story = Chain()
    story.releases(story.cord)
    assert "clean.work of run r1 saw bad data in try 1" in complaint(story)


def test_a_debt_is_not_due_while_what_it_reads_is_bad():
    """report's debt waits for clean: one complaint, not two; and none while the cord is open."""
    assert Chain().complaints_at_rest() == []


def test_a_false_alarm_repairs_nobody():
    """`false_alarm`: only what was killed or absorbed a newer event runs again."""
    story = Chain()
    story.releases(story.cord, "false_alarm")
    assert story.complaints_at_rest() == []
    story.works(story.clean, CLEAN)
    assert any("clean.work of run r1 ran again" in each for each in story.complaints())


def test_a_false_alarm_repairs_who_absorbed_a_newer_event():
    story = Chain()
    story.works(story.run("make_raw", name="again"), RAW)
    story.releases(story.cord, "false_alarm")
    assert "clean.work of run r1" in complaint(story)
    story.works(story.clean, CLEAN)
    story.works(story.run("report", KEY, story.now - 1), REPORT)
    assert story.complaints_at_rest() == []


def test_each_once():
    """Each affected reading part exactly once: not twice."""
    story = Chain()
    story.repaired()
    story.works(story.report, REPORT)
    assert "report.work of run r1 ran again although it had ended as success" in complaint(story)


def test_what_a_person_clears_runs_again():
    story = Chain()
    story.repaired()
    story.clears(story.task(story.report))
    story.works(story.report, REPORT)
    assert story.complaints_at_rest() == []


def test_what_follows_is_repaired_too():
    """A due debt re-runs the task, what follows it, and their setups and teardowns."""
    tasks = (
        TaskSpec("setup", is_setup=True),
        TaskSpec("look", after=("setup",), inlets=(Inlet("raw"),)),
        TaskSpec("follow", after=("look",)),
        TaskSpec("teardown", after=("setup", "follow"), teardown_of="setup"),
        TaskSpec("aside"),
    )
    story = Story(producer("raw"), DagSpec("clean", Kind.CRON, tasks))
    story.works(story.run("make_raw"), RAW)
    run = story.run("clean", None, type="scheduled")
    for task in tasks:
        story.works(run, task=task.id)
    story.releases(story.pulls(RAW))
    for task in tasks[:-1]:
        story.works(run, task=task.id)
    assert story.complaints_at_rest() == []
    story.works(run, task="aside")
    assert "clean.aside of run r1 ran again" in complaint(story)


def test_a_failed_execution_owes_as_well():
    """An execution of it that ended of itself (success or failure) saw a version that is bad."""
    story = Story(producer("raw"), consumer("clean", "raw"))
    event = story.works(story.run("make_raw"), RAW)
    run = story.run("clean", KEY, event)
    story.ends(story.starts(run), "failed")
    story.releases(story.pulls(RAW))
    assert "clean.work of run r1" in complaint(story)


def test_a_payer_that_failed_on_good_data_is_not_run_again():
    """A payer that failed on good data is not re-run by itself: the debt stands."""
    story = Chain()
    story.releases(story.cord)
    story.ends(story.starts(story.clean), "failed")
    assert story.complaints_at_rest() == []


def test_who_read_half_written_data_owes_always():
    """Half-written always does."""
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",)), consumer("end", "clean"))
    event = story.works(story.run("make_raw"), RAW)
    writer = story.starts(story.run("clean", KEY, event))
    reader = story.run("end", KEY, story.arrives("clean"))
    cord = story.records(RAW)
    story.works(reader)
    story.returns(cord)
    story.ends(writer, "killed")
    story.releases(cord, "false_alarm")
    story.works(writer.run, CLEAN)
    assert "end.work of run r1 saw bad data" in complaint(story)
    story.works(reader)
    assert story.complaints_at_rest() == []


def test_a_run_that_is_gone_owes_nothing():
    """An instance that no longer exists owes nothing; a release does not undo a person's mark or delete."""
    story = Chain()
    story.tell(seen.RunDeleted, story.clean)
    del story.runs[story.clean]
    story.releases(story.cord)
    assert story.complaints_at_rest() == []
    story = Chain()
    story.tell(seen.RunMarked, story.clean, "success")
    story.releases(story.cord)
    assert story.complaints_at_rest() == []


# D5


def two_runs() -> tuple[Story, seen.RunId, seen.RunId, int]:
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",)))
    event = story.works(story.run("make_raw"), RAW)
    made = story.run("clean", KEY, event)
    by_hand = story.run("clean")
    return story, made, by_hand, story.pulls(RAW)


def test_the_run_that_asset_events_made_pays():
    """Of the runs that wait to read the latest that asset events made; the others end as skipped."""
    story, made, by_hand, cord = two_runs()
    story.releases(cord)
    story.skips(by_hand)
    story.works(made, CLEAN)
    assert story.complaints_at_rest() == []


def test_a_superseded_run_does_not_start():
    """The others that are held, stopped or owe are superseded, at any outcome."""
    for result in ("fixed", "false_alarm"):
        story, made, by_hand, cord = two_runs()
        story.releases(cord, result)
        story.works(made, CLEAN)
        story.works(by_hand, CLEAN)
        assert "clean.work of run r2 goes on although its run is superseded by r1" in complaint(story)


def test_a_superseded_run_is_not_left():
    """Superseded runs that did not begin to read end as skipped."""
    story, made, _, cord = two_runs()
    story.releases(cord)
    story.works(made, CLEAN)
    assert "clean.work of run r2 waits" in complaint(story)


def test_the_next_pays_when_the_payer_fails():
    """If it fails for good or is abandoned, the next."""
    story, made, by_hand, cord = two_runs()
    story.releases(cord)
    story.ends(story.starts(made), "failed")
    story.works(by_hand, CLEAN)
    assert story.complaints_at_rest() == []


def test_who_waits_pays_for_who_owes():
    """Of the runs that wait to read, else of those that owe."""
    story = Chain()
    story.run("clean")
    story.releases(story.cord)
    story.works(story.clean, CLEAN)
    assert any("superseded by r2" in each for each in story.complaints())


@pytest.mark.parametrize("type", ["scheduled", "backfill"])
def test_scheduled_and_backfill_runs_pay_alone(type):
    """They have the run itself as key: each pays for itself and supersedes nobody."""
    tasks = (TaskSpec("work"),)
    story = Story(DagSpec("odd", Kind.PARTITIONED, tasks, sources=(Source("raw"),)))
    story.pulls(RAW)
    runs = [story.run("odd", KEY, type=type), story.run("odd", KEY, type=type)]
    story.releases(1)
    for run in runs:
        story.works(run)
    assert story.complaints_at_rest() == []


def test_a_child_run_whose_triggering_task_has_run_again_is_superseded():
    """A child run whose triggering task owes, or has run again since, is superseded."""
    story = Story(
        producer("raw"),
        DagSpec("parent", Kind.PARTITIONED, (TaskSpec("go", triggers="child"),), sources=(Source("raw"),)),
        DagSpec("child", Kind.MANUAL, (TaskSpec("work"),)),
    )
    event = story.works(story.run("make_raw"), RAW)
    parent = story.run("parent", KEY, event)
    task = story.starts(parent)
    first = story.run("child", None, type="operator_triggered", parent=task)
    story.ends(task)
    cord = story.pulls(RAW)
    story.releases(cord)
    story.starts(first)
    assert any("child.work of run r1 goes on" in each for each in story.complaints())


# Publish


def test_a_duplicate_is_absorbed():
    """Airflow's own duplicates are absorbed while a run is held, stopped, tainted or owes."""
    story = Chain()
    event = story.works(story.run("make_raw", name="again"), RAW)
    story.run("clean", KEY, event)
    assert "run r2 of clean was made for 2026-06-14T05:00:00 although" in story.complaints()[0]


def test_where_there_is_no_run_yet_nothing_is_absorbed():
    story = Story(producer("raw"), consumer("clean", "raw"))
    story.pulls(RAW)
    event = story.works(story.run("make_raw"), RAW)
    assert "was lost for clean" in complaint(story)
    run = story.run("clean", KEY, event)
    story.releases(1)
    story.works(run)
    assert story.complaints_at_rest() == []


def test_an_advisory_dag_absorbs_nothing():
    story = Chain(advisory=True)
    event = story.works(story.run("make_raw", name="again"), RAW)
    story.works(story.run("clean", KEY, event), CLEAN)
    assert not any("absorbed" in each for each in story.complaints())


def test_the_window_closes_when_the_reading_part_starts_again():
    """... until its reading part starts again."""
    story = Chain()
    story.releases(story.cord)
    task = story.starts(story.clean)
    event = story.works(story.run("make_raw", name="late"), RAW)
    story.publishes(task, CLEAN)
    story.works(story.report, REPORT)
    story.works(story.run("clean", KEY, event), CLEAN)
    story.works(story.run("report", KEY, story.now - 1), REPORT)
    assert story.complaints_at_rest() == []


def test_no_pending_row_is_left_for_what_was_absorbed():
    """Stuck roll-ups: neither may remain after a release."""
    day = Mapping("day", size=2)
    story = Story(producer("raw"), consumer("sum", "raw", mapping=day))
    hours = [part("raw", f"2026-06-14T0{hour}:00:00") for hour in (0, 1)]
    events = [story.works(story.run("make_raw", hour.key), hour) for hour in hours]
    run = story.run("sum", "2026-06-14", *events)
    story.works(run)
    cord = story.pulls(hours[0])
    story.works(story.run("make_raw", hours[0].key, name="again"), hours[0])
    story.releases(cord)
    story.works(run)
    assert story.complaints_at_rest() == []
    story.pending.append(("sum", "2026-06-14"))
    assert "a pending row for sum 2026-06-14 is left" in complaint(story)


def test_an_incomplete_row_of_an_unaffected_hour_is_left_alone():
    day = Mapping("day", size=2)
    story = Story(producer("raw"), consumer("sum", "raw", mapping=day))
    story.works(story.run("make_raw", "2026-06-14T00:00:00"), part("raw", "2026-06-14T00:00:00"))
    story.pending.append(("sum", "2026-06-14"))
    assert story.complaints_at_rest() == []
    story.works(story.run("make_raw", "2026-06-14T01:00:00"), part("raw", "2026-06-14T01:00:00"))
    assert "the pending row for sum 2026-06-14 is complete" in complaint(story)


# Release


def test_a_release_that_comes_too_early():
    """The producer is cleared and the cord released before it has published (trap 27)."""
    story = Story(producer("raw"))
    run = story.run("make_raw")
    story.works(run, RAW)
    cord = story.pulls(RAW)
    story.clears(story.task(run))
    story.releases(cord)
    story.works(run, RAW)
    assert "was released on raw[2026-06-14T05:00:00] while make_raw.write" in complaint(story)


def test_now_overrides():
    """`--now` overrides."""
    story = Story(producer("raw"))
    run = story.run("make_raw")
    story.works(run, RAW)
    cord = story.pulls(RAW)
    story.clears(story.task(run))
    story.releases(cord, forced=True)
    story.works(run, RAW)
    assert story.complaints_at_rest() == []


def test_a_release_that_waits_for_nothing():
    story = Chain()
    story.asks(story.cord)
    assert "cord 1 was not released on raw[2026-06-14T05:00:00] as fixed" in complaint(story)


def test_nobody_asked():
    """People's cords default to `manual`."""
    story = Story(producer("raw"))
    story.works(story.run("make_raw"), RAW)
    story.tell(seen.Released, story.pulls(RAW), RAW, "fixed")
    assert "released unasked" in complaint(story)


def test_withdrawn_parts_that_read_nothing_else_end_as_skipped():
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",)))
    event = story.works(story.run("make_raw"), RAW)
    run = story.run("clean", KEY, event)
    story.releases(story.pulls(RAW), "withdrawn")
    story.skips(run)
    assert story.complaints_at_rest() == []


def test_withdrawn_parts_that_start_all_the_same():
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",)))
    event = story.works(story.run("make_raw"), RAW)
    run = story.run("clean", KEY, event)
    story.releases(story.pulls(RAW), "withdrawn")
    story.works(run, CLEAN)
    assert "all that it reads was withdrawn" in complaint(story)


def test_what_was_made_from_absent_partitions_alone_is_withdrawn_likewise():
    story = Chain()
    story.releases(story.cord, "withdrawn")
    assert story.complaints_at_rest() == []
    assert set(outcome(story.trace()).partitions.values()) == {"absent"}


def test_what_reads_others_too_goes_on_without_the_withdrawn_one():
    """Others go on without it."""
    story = Story(producer("raw"), consumer("both", "raw", "more", outlets=("clean",)))
    story.arrives("more")
    event = story.works(story.run("make_raw"), RAW)
    run = story.run("both", KEY, event, story.now - 4)
    story.works(run, CLEAN)
    story.releases(story.pulls(RAW), "withdrawn")
    assert any("both.work of run r1 saw bad data" in each for each in story.complaints_at_rest())
    story.works(run, CLEAN)
    assert not any("saw bad data" in each for each in story.complaints_at_rest())


# Unaffected work


def test_unaffected_work_is_not_killed():
    story = Story(producer("raw"), consumer("clean", "raw"))
    event = story.works(story.run("make_raw"), RAW)
    task = story.starts(story.run("clean", KEY, event))
    story.pulls(part("raw", "other"))
    story.ends(task, "killed")
    assert "was killed although it saw no bad version" in story.complaints()[0]


def test_unaffected_work_does_not_wait():
    story = Story(producer("raw"), consumer("clean", "raw"))
    event = story.works(story.run("make_raw"), RAW)
    story.run("clean", KEY, event)
    story.pulls(part("raw", "other"))
    assert "clean.work of run r1 waits" in complaint(story)


def test_it_does_not_wait_in_the_middle_of_a_history_either():
    story = Story(producer("raw"), consumer("clean", "raw"))
    event = story.works(story.run("make_raw"), RAW)
    run = story.run("clean", KEY, event)
    story.pulls(part("raw", "other"))
    story.rests()
    story.works(run)
    assert "clean.work of run r1 waits" in complaint(story)


def test_with_one_active_run_a_held_run_blocks_nobody():
    """With `max_active_runs=1`; one exception: scheduled, backfill and unpartitioned asset-triggered runs."""
    story = Story(producer("raw"), consumer("clean", "raw", max_active_runs=1))
    event = story.works(story.run("make_raw"), RAW)
    held = story.run("clean", KEY, event)
    story.pulls(RAW)
    other = part("raw", "other")
    story.run("clean", "other", story.works(story.run("make_raw", "other"), other))
    assert "clean.work of run r2 waits" in complaint(story)
    story.runs[held] = replace(story.runs[held], state="running")
    assert "clean.work of run r2 waits" in complaint(story)


def test_a_scheduled_run_that_is_parked_uses_a_slot():
    dag = DagSpec("cron", Kind.CRON, (TaskSpec("look", inlets=(Inlet("raw"),)),), max_active_runs=1)
    story = Story(producer("raw"), dag)
    story.works(story.run("make_raw"), RAW)
    first = story.run("cron", None, type="scheduled")
    story.runs[first] = replace(story.runs[first], state="running")
    story.run("cron", None, type="scheduled")
    story.pulls(RAW)
    assert story.complaints_at_rest() == []


def test_a_run_that_is_left_held():
    story = Story(producer("raw"))
    run = story.run("make_raw")
    story.works(run, RAW)
    story.runs[run] = replace(story.runs[run], restored=False)
    assert "run r1 of make_raw is left held" in complaint(story)


def test_a_held_run_never_fails_for_waiting():
    """A held run never times out, fails or is skipped for waiting."""
    story = Story(producer("raw"), consumer("clean", "raw"))
    run = story.run("clean")
    story.pulls(RAW)
    story.skips(run)
    assert "clean.work of run r1 was skipped for no reason of its own" in complaint(story)
    for state in ("failed", "skipped", "upstream_failed"):
        story = Story(producer("raw"), consumer("clean", "raw"))
        event = story.works(story.run("make_raw"), RAW)
        run = story.run("clean", KEY, event)
        story.pulls(RAW)
        story.runs[run] = seen.FinalRun("failed", {story.task(run): state})
        assert f"clean.work of run r1 is {state} for no reason of its own" in complaint(story)


def test_stopping_loses_no_retry():
    story = Story(
        producer("raw"), DagSpec("clean", Kind.PARTITIONED, (TaskSpec("work", retries=1),), (Source("raw"),))
    )
    event = story.works(story.run("make_raw"), RAW)
    run = story.run("clean", KEY, event)
    task = story.starts(run)
    cord = story.pulls(RAW)
    story.ends(task, "killed")
    story.releases(cord)
    story.ends(story.starts(run), "failed")
    assert "failed for good after 0 of its 1 retries" in complaint(story)


def test_a_paused_dag_is_excused():
    story = Chain()
    story.tell(seen.DagPaused, "clean", True)
    story.releases(story.cord)
    assert story.complaints_at_rest() == []


# The theorems


def test_the_outcome_does_not_depend_on_the_order_of_releases():
    def history(order: tuple[int, ...]) -> Story:
        story = Chain()
        story.pulls(RAW)
        for cord in order:
            story.releases(cord, "fixed" if cord == 1 else "false_alarm")
        story.works(story.clean, CLEAN)
        story.works(story.report, REPORT)
        assert story.complaints_at_rest() == []
        return story

    assert outcome(history((1, 2)).trace()) == outcome(history((2, 1)).trace())


def test_the_outcome_tells_what_ran_and_what_is_good():
    story = Chain()
    story.repaired()
    found = outcome(story.trace())
    assert found.ran == {("clean", KEY, "work", -1): 1, ("report", KEY, "work", -1): 1}
    assert found.partitions == {RAW: "good", CLEAN: "good", REPORT: "good"}
    assert outcome(Chain().trace()).partitions == {RAW: "bad", CLEAN: "bad", REPORT: "bad"}
