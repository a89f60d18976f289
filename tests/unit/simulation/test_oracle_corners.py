"""Corners of the rules, most of them found by asking which line of the oracle no other story needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation import trace as seen
from tests.simulation.graph import DagSpec, Inlet, Kind, Source, TaskSpec
from tests.simulation.oracle import judge
from tests.unit.simulation.story import KEY, Mapping, Story, consumer, part, producer

RAW, CLEAN, REPORT = part("raw"), part("clean"), part("report")


def complaint(story: Story) -> str:
    (only,) = story.complaints_at_rest()
    return only


def held_consumer(**more: object) -> tuple[Story, seen.RunId, int]:
    """A consumer's run that was made for a bad version, and held before it began."""
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",), **more))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    return story, run, story.pulls(RAW)


# D1 and D2


def test_a_version_that_is_not_complete_but_bad_holds_its_readers():
    """Mapped publishers: the first one, which saw bad data, has made a consumer's run, the second is held."""
    tasks = (TaskSpec("work", outlets=("clean",), mapped=2),)
    story = Story(
        producer("raw"),
        DagSpec("clean", Kind.PARTITIONED, tasks, sources=(Source("raw"),)),
        consumer("report", "clean"),
    )
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    event = story.works(run, CLEAN, index=0)
    story.pulls(RAW)
    story.starts(story.run("report", KEY, event))
    assert "clean[2026-06-14T05:00:00] (derived)" in story.complaints()[0]


def test_a_try_that_failed_contributes_nothing():
    """The last successful try of each."""
    tasks = (TaskSpec("work", outlets=("clean",), retries=1),)
    story = Story(
        producer("raw"),
        DagSpec("clean", Kind.PARTITIONED, tasks, sources=(Source("raw"),)),
        consumer("report", "clean"),
    )
    event = story.works(story.run("make_raw"), RAW)
    run = story.run("clean", KEY, event)
    story.ends(story.starts(run), "up_for_retry")
    cord = story.pulls(RAW)
    story.releases(cord)
    event = story.works(run, CLEAN)
    story.works(story.run("report", KEY, event))
    assert story.complaints_at_rest() == []


def test_who_killed_a_task_that_a_person_cleared_cannot_be_seen():
    """No half-written version is demanded, and none is complained of."""
    story = Story(producer("clean"), consumer("report", "clean"))
    run = story.run("make_clean")
    task = story.starts(run)
    reader = story.run("report")
    story.clears(task)
    story.ends(task, "killed")
    story.tell(seen.RunMarked, run, "failed")
    del story.runs[run]
    assert story.complaints_at_rest() == []
    story.works(reader)
    assert story.complaints_at_rest() == []


def test_doubt_counts_as_saw_it():
    """Within a configurable skew, doubt counts as "saw it"."""
    story = Story(producer("raw"), consumer("clean", "raw"))
    event = story.works(story.run("make_raw"), RAW)
    story.pulls(RAW)
    story.works(story.run("make_raw", name="again"), RAW)
    story.releases(1)
    task = story.starts(story.run("clean", KEY, event))
    story.pulls(part("raw", "other"))
    story.ends(task, "killed")
    story.works(task.run)
    assert any("was killed although it saw no bad version" in each for each in judge(story.trace()))
    assert judge(story.trace(doubt=5)) == []


def test_the_data_as_it_stands_was_still_made_by_somebody():
    """`fixed` with nothing newer: a person vouches for what is known then, not for what comes out later."""
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",)), consumer("report", "clean"))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    event = story.works(run, CLEAN)
    report = story.run("report", KEY, event)
    story.releases(story.pulls(CLEAN))
    story.works(report)
    assert story.complaints_at_rest() == []
    story.pulls(RAW)
    story.pulls(RAW)
    story.starts(story.run("report"))
    assert "clean[2026-06-14T05:00:00] (derived)" in story.complaints()[0]


def test_pulling_again_on_what_a_person_has_vouched_for_changes_nothing():
    """Stacking: what was known to be bad when the person vouched is forgiven, whoever names it again."""
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",)), consumer("report", "clean"))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    event = story.works(run, CLEAN)
    story.pulls(RAW)
    story.tell(seen.Cleared, CLEAN, "fixed")
    story.pulls(RAW)
    story.works(story.run("report", KEY, event))
    assert story.complaints() == []


# D3: between a commit and its answer


def advisory_publication() -> tuple[Story, seen.TaskId, seen.RunId]:
    story = Story(
        producer("raw"),
        consumer("clean", "raw", outlets=("clean",), advisory=True),
        consumer("report", "clean"),
    )
    event = story.works(story.run("make_raw"), RAW)
    run = story.run("clean", KEY, event)
    story.pulls(RAW)
    return story, story.starts(run), story.run("report")


def test_a_start_that_slips_in_before_the_publication_was_answered():
    """Until it is judged, D3 refuses its readers; a start that slips in between is stopped like any other."""
    story, task, reader = advisory_publication()
    story.publishes(task, CLEAN)
    slipped = story.starts(reader)
    story.tell(seen.Answered, task, 1)
    story.ends(slipped, "killed")
    assert story.complaints() == []
    story.starts(reader)
    assert "no late start" in story.complaints()[0]


def test_one_that_slipped_in_is_stopped_by_the_time_all_is_at_rest():
    story, task, reader = advisory_publication()
    slipped = story.starts(reader)
    story.publishes(task, CLEAN)
    story.rests()
    story.ends(slipped)
    assert any("ended as success although it had to be stopped" in each for each in story.complaints())


def test_an_advisory_run_is_not_stopped():
    """A Dag with the tag `andon:advisory` is not held."""
    story = Story(producer("raw"), consumer("clean", "raw", advisory=True))
    task = story.starts(story.run("clean", KEY, story.works(story.run("make_raw"), RAW)))
    story.pulls(RAW)
    story.ends(task)
    assert story.complaints_at_rest() == []


def test_a_run_that_is_let_through_is_stopped_by_a_later_cord_only():
    """The halts open at that moment, on the record."""
    story, run, _ = held_consumer()
    story.tell(seen.LetThrough, run)
    task = story.starts(run)
    story.pulls(part("raw", "other"))
    assert story.complaints() == []
    story.pulls(RAW)
    story.ends(task)
    assert "although it had to be stopped" in story.complaints()[0]


def test_between_the_record_and_the_return_of_a_pull_a_kill_has_a_reason():
    story = Story(producer("raw"), consumer("clean", "raw"))
    task = story.starts(story.run("clean", KEY, story.works(story.run("make_raw"), RAW)))
    cord = story.records(RAW)
    story.ends(task, "killed")
    story.returns(cord)
    assert story.complaints_at_rest() == []


def test_a_raise_is_a_promise_when_it_has_returned():
    story = Story(producer("raw"), consumer("clean", "raw"))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    cord = story.pulls(RAW, severity="warn")
    story.now += 1
    recorded = story.now
    task = story.starts(run)
    story.tell(seen.Raised, cord, recorded)
    story.ends(task, "killed")
    assert story.complaints_at_rest() == []
    story.starts(run)
    assert "no late start" in story.complaints()[0]


def test_a_running_teardown_of_a_killed_task_is_not_stopped():
    """Stopping ... lets teardowns of killed tasks finish."""
    tasks = (
        TaskSpec("setup", is_setup=True),
        TaskSpec("work", after=("setup",)),
        TaskSpec("teardown", after=("setup", "work"), teardown_of="setup"),
    )
    story = Story(producer("raw"), DagSpec("clean", Kind.PARTITIONED, tasks, sources=(Source("raw"),)))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    story.works(run, task="setup")
    work = story.starts(run, "work")
    story.pulls(RAW)
    story.ends(work, "killed")
    teardown = story.starts(run, "teardown")
    story.pulls(RAW)
    story.ends(teardown)
    assert story.complaints() == []


def test_a_killed_task_of_another_run_excuses_no_teardown():
    tasks = (
        TaskSpec("work"),
        TaskSpec("teardown", after=("work",), teardown_of="work"),
    )
    story = Story(producer("raw"), DagSpec("clean", Kind.PARTITIONED, tasks, sources=(Source("raw"),)))
    event = story.works(story.run("make_raw"), RAW)
    run, other = story.run("clean", KEY, event), story.run("clean", KEY, event)
    story.works(run, task="work")
    killed = story.starts(other, "work")
    story.pulls(RAW)
    story.ends(killed, "killed")
    story.starts(run, "teardown")
    assert "no late start" in story.complaints()[0]


# D4


def test_who_skipped_owes():
    """The bad hour was empty: it would never see the good data (docs/decisions/0003, 39)."""
    story = Story(producer("raw"), consumer("clean", "raw"))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    story.ends(story.starts(run), "skipped")
    story.releases(story.pulls(RAW))
    assert "it did not run again" in complaint(story)


def test_who_skips_itself_on_good_data_has_paid():
    """docs/decisions/0003, 39."""
    story = Story(producer("raw"), consumer("clean", "raw"))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    story.works(run)
    story.releases(story.pulls(RAW))
    assert "it did not run again" in complaint(story)
    story.clears(story.task(run), by_person=False)
    story.ends(story.starts(run), "skipped")
    assert story.complaints_at_rest() == []


def test_a_task_that_is_gone_owes_nothing():
    """An instance that no longer exists owes nothing."""
    story = Story(producer("raw"), consumer("clean", "raw"))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    story.works(run)
    cord = story.pulls(RAW)
    story.tell(seen.DagWritten, DagSpec("clean", Kind.PARTITIONED, (), sources=(Source("raw"),)))
    story.releases(cord)
    assert story.complaints_at_rest() == []


def test_what_the_owing_task_follows_is_not_repaired():
    """A due debt re-runs the task, what follows it, and their setups and teardowns: nothing else."""
    tasks = (TaskSpec("before"), TaskSpec("look", after=("before",), inlets=(Inlet("raw"),)))
    story = Story(producer("raw"), DagSpec("cron", Kind.CRON, tasks))
    story.works(story.run("make_raw"), RAW)
    run = story.run("cron", None, type="scheduled")
    story.works(run, task="before")
    story.works(run, task="look")
    story.releases(story.pulls(RAW))
    story.works(run, task="before")
    assert "cron.before of run r1 ran again" in story.complaints()[0]


def test_a_repair_that_had_begun_goes_on():
    """It was cleared while it owed, and runs once for it."""
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",)))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    story.works(run, CLEAN)
    story.releases(story.pulls(RAW))
    story.clears(story.task(run), by_person=False)
    story.works(run, CLEAN)
    assert story.complaints_at_rest() == []
    story.works(run, CLEAN)
    assert "ran again" in complaint(story)


def test_a_follower_may_be_killed_when_the_repair_begins():
    tasks = (
        TaskSpec("look", inlets=(Inlet("raw", Mapping("fixed", value=KEY)),)),
        TaskSpec("mail", after=("look",)),
    )
    story = Story(producer("raw"), DagSpec("cron", Kind.CRON, tasks))
    story.works(story.run("make_raw"), RAW)
    run = story.run("cron", None, type="scheduled")
    story.works(run, task="look")
    story.releases(story.pulls(RAW))
    mail = story.starts(run, "mail")
    story.ends(mail, "killed")
    story.works(run, task="look")
    story.works(run, task="mail")
    assert story.complaints_at_rest() == []


def test_a_mark_is_not_undone():
    """A person's mark ends the hold, and the release does not undo it."""
    story, run, cord = held_consumer()
    story.tell(seen.RunMarked, run, "failed")
    story._is(story.task(run), "skipped")
    story.releases(cord)
    assert story.complaints_at_rest() == []
    story.starts(run)
    assert "although a person had marked its run" in story.complaints()[0]


def test_what_a_person_clears_after_the_mark_runs():
    story, run, cord = held_consumer()
    story.tell(seen.RunMarked, run, "failed")
    story.releases(cord)
    story.clears(story.task(run))
    story.works(run, CLEAN)
    assert story.complaints_at_rest() == []


def test_a_dag_that_is_gone_is_excused():
    story, _, cord = held_consumer()
    story.tell(seen.DagRemoved, "clean")
    story.releases(cord)
    assert story.complaints_at_rest() == []


# D5


@pytest.mark.parametrize(
    "more",
    [{"key": KEY, "has_conf": True}, {"key": None}, {"key": None, "type": "asset_materialization"}],
    ids=["with conf", "without a key", "materialized"],
)
def test_more_runs_that_pay_alone(more):
    """Conf-carrying runs have the run itself as key, and so has every run without a key that people made."""
    story = Story(DagSpec("odd", Kind.PARTITIONED, (TaskSpec("work"),), sources=(Source("raw"),)))
    story.pulls(RAW)
    runs = [story.run("odd", **more), story.run("odd", **more)]
    story.releases(1)
    for run in runs:
        story.works(run)
    assert story.complaints_at_rest() == []


def test_runs_that_unpartitioned_events_made_share_one_key():
    story = Story(DagSpec("whole", Kind.UNPARTITIONED, (TaskSpec("work"),), sources=(Source("raw"),)))
    runs = [story.run("whole", None, story.arrives("raw", None)) for _ in range(2)]
    story.releases(story.pulls(part("raw", None)))
    for run in runs:
        story.works(run)
    assert "whole.work of run r1 goes on although its run is superseded by r2" in story.complaints()[0]


def test_while_the_payer_runs_the_others_wait():
    """Who waited pays until what was held has ended; who owes is superseded meanwhile."""
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",)))
    owing = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    story.works(owing, CLEAN)
    cord = story.pulls(RAW)
    waiting = story.run("clean")
    story.releases(cord)
    task = story.starts(waiting)
    story.clears(story.task(owing), by_person=False)
    assert "clean.work of run r1 goes on although its run is superseded by r2" in story.complaints()[0]
    story.publishes(task, CLEAN)


@pytest.mark.parametrize("skipped", [True, False])
def test_a_child_waits_in_vain_once_its_parent_has_run_again(skipped):
    """A child run whose triggering task ... has run again since, is superseded."""
    story = Story(
        producer("raw"),
        DagSpec("parent", Kind.PARTITIONED, (TaskSpec("go", triggers="child"),), sources=(Source("raw"),)),
        DagSpec("child", Kind.MANUAL, (TaskSpec("work"),)),
    )
    parent = story.run("parent", KEY, story.works(story.run("make_raw"), RAW))
    task = story.starts(parent)
    child = story.run("child", None, type="operator_triggered", parent=task)
    story.ends(task)
    story.releases(story.pulls(RAW))
    again = story.starts(parent)
    second = story.run("child", None, type="operator_triggered", parent=again)
    story.ends(again)
    story.works(second)
    if skipped:
        story.skips(child)
        assert story.complaints_at_rest() == []
    else:
        story.starts(child)
        assert "child.work of run r1 goes on" in story.complaints()[0]


def test_a_deleted_run_supersedes_nobody():
    story, made, cord = held_consumer()
    by_hand = story.run("clean")
    story.tell(seen.RunDeleted, made)
    del story.runs[made]
    story.releases(cord)
    story.works(by_hand, CLEAN)
    assert story.complaints_at_rest() == []


# Publish


def row_and_pull(*, made: bool) -> Story:
    """An owing run; then an event that nobody had to absorb makes a complete row; then a pull."""
    story = Story(producer("raw"), consumer("clean", "raw", "more", outlets=("clean",), any_of=True))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    story.works(run, CLEAN)
    event = story.arrives("more")
    cord = story.pulls(RAW)
    if made:
        story.run("clean", KEY, event)
    story.releases(cord)
    return story


def test_a_row_that_is_complete_when_the_pull_returns_is_absorbed():
    """... and every pending row that is complete, is absorbed into its latest affected run."""
    story = row_and_pull(made=True)
    assert "run r2 of clean was made for 2026-06-14T05:00:00 although" in story.complaints()[0]


def test_what_was_absorbed_is_owed():
    """An event absorbed into its run is newer than its last execution: also after a false alarm."""
    story = row_and_pull(made=False)
    story.works(seen.RunId("clean", "r1"), CLEAN)
    assert story.complaints_at_rest() == []
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",)))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    story.works(run, CLEAN)
    cord = story.pulls(RAW)
    story.works(story.run("make_raw", name="again"), RAW)
    story.tell(seen.RunDeleted, run)
    del story.runs[run]
    story.releases(cord, "false_alarm")
    assert story.complaints_at_rest() == []


def test_an_event_that_a_mapper_refuses_is_not_delivered():
    """If the mapper raises for a key, Airflow does not deliver it and nobody reads it through it."""
    story = Story(producer("raw"), consumer("clean", "raw", mapping=Mapping("allowed", allowed=("us",))))
    story.works(story.run("make_raw"), RAW)
    assert story.complaints_at_rest() == []


def test_a_row_waits_for_all_or_for_enough():
    for at_least, complete in ((None, False), (1, True), (2, False), (-1, True)):
        mapping = Mapping("day", size=2, at_least=at_least)
        story = Story(consumer("sum", "raw", mapping=mapping))
        story.arrives("raw", "2026-06-14T00:00:00")
        story.pending.append(("sum", "2026-06-14"))
        assert ("is complete" in "".join(story.complaints_at_rest())) is complete, at_least


def test_what_was_absorbed_before_completes_no_row_later():
    """At a rest it can be seen which events a pending row has."""
    everything = Mapping("fixed", value="all")
    story = Story(consumer("sum", "raw", "rate", mapping=everything))
    run = story.run("sum", "all", story.arrives("raw"), story.arrives("rate"))
    story.works(run)
    story.pulls(RAW)
    story.arrives("rate", "2026-06-14T06:00:00")
    story.arrives("raw", "2026-06-14T06:00:00")
    left = story.arrives("rate", "2026-06-14T06:00:00")
    story.pending.append(("sum", "all"))
    story.tell(seen.Rest, story._snapshot(), (("sum", "all"),), (), ((left, "sum", "all"),))
    story.pulls(part("rate"))
    assert story.complaints_at_rest() == []


def test_what_was_paid_for_absorbs_nothing_more():
    """Tainted anew, a run absorbs for what it has seen by that: its cord of before may be closed."""
    story = Story(consumer("sum", "raw", "rate", mapping=Mapping("fixed", value="all")))
    run = story.run("sum", "all", story.arrives("raw"), story.arrives("rate"))
    story.works(run)
    story.releases(story.pulls(part("rate")))
    story.clears(story.task(run), by_person=False)
    story.works(run)
    story.pulls(RAW)
    story.arrives("rate")
    story.pending.append(("sum", "all"))
    assert story.complaints_at_rest() == []


@pytest.mark.parametrize("is_found_out", [False, True])
def test_what_follows_a_failure_may_be_held_until_a_scheduler_has_found_out(is_found_out: bool):
    """docs/decisions/0003, 63."""
    first, second = TaskSpec("first"), TaskSpec("second", after=("first",))
    story = Story(DagSpec("clean", Kind.PARTITIONED, (first, second), sources=(Source("raw"),)))
    run = story.run("clean", KEY, story.arrives("raw"))
    story.ends(story.starts(run), "failed")
    if is_found_out:
        story.tell(seen.CutOff, story.task(run, "second"))
    story.arrives("raw")
    story.releases(story.pulls(RAW), "false_alarm")
    story.clears(story.task(run), by_person=False)
    story.works(run)
    story.works(run, task="second")
    assert ("ran again although" in "".join(story.complaints_at_rest())) is is_found_out


@pytest.mark.parametrize("is_looked_at", [True, False])
def test_what_a_task_has_seen_that_publishes_nothing_is_known_at_the_next_look(is_looked_at: bool):
    first, second = TaskSpec("first"), TaskSpec("second", after=("first",), outlets=("clean",))
    story = Story(DagSpec("clean", Kind.PARTITIONED, (first, second), sources=(Source("raw"),)))
    run = story.run("clean", KEY, story.arrives("raw"))
    story.pulls(RAW)
    story.tell(seen.LetThrough, run)
    story.works(run, task="first")
    if is_looked_at:
        story.pulls(part("rate"))
    story.run("clean", KEY, story.arrives("raw"))
    assert ("were to be absorbed" in "".join(story.complaints())) is is_looked_at


def test_what_a_task_has_paid_that_publishes_nothing_is_known_at_the_next_look():
    story = Story(consumer("clean", "raw"))
    run = story.run("clean", KEY, story.arrives("raw"))
    story.works(run)
    cord = story.pulls(RAW)
    other = story.run("clean")
    story.releases(cord)
    story.works(other)
    story.arrives("raw")
    story.clears(story.task(run), by_person=False)
    story.works(run)
    assert story.complaints_at_rest() == []


def test_what_its_dag_has_no_more_is_ended_by_airflow():
    for is_written in (True, False):
        first, second = TaskSpec("first"), TaskSpec("second", after=("first",), outlets=("clean",))
        dag = DagSpec("clean", Kind.PARTITIONED, (first, second), sources=(Source("raw"),))
        story = Story(dag)
        run = story.run("clean", KEY, story.arrives("raw"))
        story.works(run, task="first")
        task = story.starts(run, "second")
        if is_written:
            story.tell(seen.DagWritten, replace(dag, tasks=(first,)))
        story.ends(task, "killed")
        assert ("saw no bad version" in "".join(story.complaints())) is not is_written


# Withdrawn


def test_what_a_person_clears_after_the_withdrawal_runs():
    story, run, cord = held_consumer()
    story.releases(cord, "withdrawn")
    story.clears(story.task(run))
    story.works(run, CLEAN)
    assert story.complaints_at_rest() == []


def test_published_again_it_is_there_again():
    """A withdrawn partition is absent: nobody reads it until it is published again."""
    story, run, cord = held_consumer()
    story.releases(cord, "withdrawn")
    story.skips(run)
    event = story.works(story.run("make_raw", name="again"), RAW)
    other = story.run("clean", KEY, event)
    story.pulls(RAW)
    story.starts(other)
    assert "no late start" in story.complaints()[0]


def test_half_written_outlets_are_withdrawn_likewise():
    """What was made from absent partitions alone is withdrawn likewise, half-written outlets included."""
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",)), consumer("report", "clean"))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    task = story.starts(run)
    reader = story.run("report")
    cord = story.pulls(RAW)
    story.ends(task, "killed")
    story.releases(cord, "withdrawn")
    story.skips(run)
    story.skips(reader)
    assert story.complaints_at_rest() == []


# Retries


def test_a_kill_is_not_a_retry():
    """Stopping loses no retry: as many as the author gave, whatever was killed in between."""
    tasks = (TaskSpec("work", retries=1),)
    story = Story(producer("raw"), DagSpec("clean", Kind.PARTITIONED, tasks, sources=(Source("raw"),)))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    story.ends(story.starts(run), "up_for_retry")
    task = story.starts(run)
    cord = story.pulls(RAW)
    story.ends(task, "killed")
    story.releases(cord)
    story.ends(story.starts(run), "failed")
    assert story.complaints_at_rest() == []
    story.clears(story.task(run))
    story.ends(story.starts(run), "failed")
    assert "failed for good after 0 of its 1 retries" in complaint(story)


def test_both_publishers_are_waited_for():
    """Complete when all of them ended as success or skipped."""
    tasks = (TaskSpec("one", outlets=("clean",)), TaskSpec("two", outlets=("clean",)))
    story = Story(DagSpec("make", Kind.MANUAL, tasks), consumer("report", "clean"))
    run = story.run("make")
    story.works(run, CLEAN, task="one")
    story.works(run, CLEAN, task="two")
    cord = story.pulls(CLEAN)
    story.clears(story.task(run, "one"), story.task(run, "two"))
    event = story.works(run, CLEAN, task="one")
    story.skips(run, "two")
    assert "was skipped for no reason of its own" in story.complaints()[0]
    story.releases(cord)
    story.works(story.run("report", KEY, event), REPORT)
    assert len(story.complaints()) == 1


def test_a_release_waits_for_nobody_who_will_be_skipped():
    """What a superseded run has still to publish it never will (docs/decisions/0003, 66)."""
    tasks = (TaskSpec("first", outlets=("clean",)), TaskSpec("second", after=("first",)))
    story = Story(DagSpec("clean", Kind.PARTITIONED, tasks, sources=(Source("raw"),)))
    by_hand = story.run("clean")
    story.works(by_hand, CLEAN)
    story.works(by_hand, task="second")
    story.works(story.run("clean", KEY, story.arrives("raw")), CLEAN)
    cord = story.pulls(CLEAN)
    story.clears(story.task(by_hand, "first"), story.task(by_hand, "second"))
    story.releases(cord)
    assert not any("was still to publish it" in each for each in story.complaints())


# What a pull knows


def test_what_a_pull_names_before_it_is_whole_stays_named_when_it_is():
    """`fixed` says that the data is good as it stands (docs/decisions/0003, 65)."""
    tasks = (TaskSpec("work", outlets=("clean",), mapped=2),)
    story = Story(
        DagSpec("clean", Kind.MANUAL, tasks),
        consumer("report", "clean", outlets=("report",)),
        consumer("mail", "report"),
    )
    run = story.run("clean")
    other = story.starts(run, index=1)
    report = story.run("report", KEY, story.works(run, CLEAN, index=0))
    mail = story.run("mail", KEY, story.works(report, REPORT))
    cord = story.pulls(CLEAN)
    story.publishes(other, CLEAN)
    story.releases(cord)
    story.starts(mail)
    assert "reads report[2026-06-14T05:00:00] (derived)" in story.complaints()[0]


@pytest.mark.parametrize(("looks", "owes"), [("before", True), ("after", False)])
def test_a_publication_while_a_pull_is_under_way(looks: str, owes: bool):
    """Newer than what the pull named is what was committed after it had asked (docs/decisions/0003, 3)."""
    story = Story(producer("raw"), consumer("clean", "raw"))
    run = story.run("clean", KEY, story.works(story.run("make_raw"), RAW))
    story.works(run)
    asked = story.now
    story.arrives("raw")
    story.releases(story.pulls(RAW, looked=asked if looks == "before" else None))
    debts = [each for each in story.complaints_at_rest() if "D4, a due debt is paid" in each]
    assert bool(debts) == owes


def test_what_was_made_from_it_goes_with_the_last_cord_that_stands_against_that():
    """Once all the reasons for which it is bad have ended (docs/decisions/0003, 37)."""
    story = Story(producer("raw"), consumer("clean", "raw", outlets=("clean",)), consumer("report", "clean"))
    event = story.works(story.run("make_raw"), RAW)
    event = story.works(story.run("clean", KEY, event), CLEAN)
    report = story.run("report", KEY, event)
    one, other = story.pulls(RAW), story.pulls(RAW)
    story.releases(one, "withdrawn")
    story.rests()
    story.releases(other, "false_alarm")
    story.skips(report)
    assert story.complaints_at_rest() == []


@pytest.mark.parametrize("was_under_way", [True, False])
def test_what_was_under_way_when_it_was_asked_for_may_not_be_the_next_publication(was_under_way: bool):
    """Its time is that of the writing, which is before the commit."""
    story = Story(consumer("clean", "raw"))
    story.works(story.run("clean", KEY, story.arrives("raw")))
    cord = story.pulls(RAW)
    story.tell(seen.ReleaseAsked, cord, (RAW,), "fixed", again=True)
    written = story.now - 1 if was_under_way else None
    story.tell(seen.Published, 2, RAW, written=written)
    assert ("was not released" in "".join(story.complaints_at_rest())) is not was_under_way
