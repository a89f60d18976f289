"""What the oracle says about starts, stops and publications."""

from __future__ import annotations

from tests.simulation import trace as seen
from tests.simulation.graph import DagSpec, Inlet, Kind, Source, TaskSpec
from tests.unit.simulation.story import DAY, KEY, Mapping, Story, consumer, part, producer

RAW, CLEAN, REPORT = part("raw"), part("clean"), part("report")


def chain(**more: object) -> Story:
    """raw -> clean -> report -> mail."""
    return Story(
        producer("raw"),
        consumer("clean", "raw", outlets=("clean",), **more),
        consumer("report", "clean", outlets=("report",)),
        consumer("mail", "report"),
    )


def the_only(complaints: list[str]) -> str:
    (complaint,) = complaints
    return complaint


# D3: a task may start if no partition that it reads is bad


def test_a_root_halt_forbids_the_start_of_a_reader():
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    story.pulls(RAW)
    story.starts(story.run("clean", KEY, event))
    complaint = the_only(story.complaints())
    assert "no late start" in complaint
    assert "clean.work of run r1" in complaint
    assert "raw[2026-06-14T05:00:00] (cord 1)" in complaint


def test_a_halt_on_another_key_forbids_nothing():
    """Unaffected work is never delayed: other partitions."""
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    story.pulls(part("raw", "2026-06-14T06:00:00"))
    story.works(story.run("clean", KEY, event), CLEAN)
    assert story.complaints() == []


def test_before_the_pull_has_returned_nothing_is_promised():
    """Once a pull has returned, no start is granted; a task granted before is killed."""
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    clean = story.run("clean", KEY, event)
    cord = story.records(RAW)
    task = story.starts(clean)
    story.returns(cord)
    story.ends(task, "killed")
    assert story.complaints() == []


def test_after_the_release_the_reader_may_start():
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    clean = story.run("clean", KEY, event)
    story.releases(story.pulls(RAW))
    story.works(clean, CLEAN)
    assert story.complaints() == []


def test_two_cords_and_one_released():
    """The partition is bad until the last one is released."""
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    clean = story.run("clean", KEY, event)
    first, second = story.pulls(RAW), story.pulls(RAW)
    story.releases(second)
    story.starts(clean)
    assert "(cord 1)" in the_only(story.complaints())
    assert first == 1


def test_warn_holds_nothing():
    """`warn` marks and tells, holds nothing."""
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    story.pulls(RAW, severity="warn")
    story.works(story.run("clean", KEY, event), CLEAN)
    assert story.complaints() == []


def test_a_raised_cord_holds():
    """Raising it to `stop` only sets the severity."""
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    cord = story.pulls(RAW, severity="warn")
    clean = story.works(story.run("clean", KEY, event), CLEAN)
    story.tell(seen.Raised, cord)
    story.starts(story.run("report", KEY, clean))
    assert "clean[2026-06-14T05:00:00] (derived)" in the_only(story.complaints())


def test_a_raised_cord_has_stopped_from_its_pull_on():
    """What was published while it warned is presumed bad, too (docs/decisions/0003, 38)."""
    story = chain()
    story.works(story.run("make_raw"), RAW)
    cord = story.pulls(RAW, severity="warn")
    event = story.works(story.run("make_raw"), RAW)
    clean = story.works(story.run("clean", KEY, event), CLEAN)
    story.tell(seen.Raised, cord)
    story.starts(story.run("report", KEY, clean))
    assert "clean[2026-06-14T05:00:00] (derived)" in the_only(story.complaints())


# D1 and D2: what was made from bad data is bad, any number of hops


def tainted_chain() -> tuple[Story, int]:
    """clean was made from raw before anybody pulled on raw."""
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    event = story.works(story.run("clean", KEY, event), CLEAN)
    return story, event


def test_a_derived_halt_forbids_the_start_of_a_reader():
    """A version is bad if an execution that contributed to it saw a bad version."""
    story, event = tainted_chain()
    story.pulls(RAW)
    story.starts(story.run("report", KEY, event))
    assert "clean[2026-06-14T05:00:00] (derived)" in the_only(story.complaints())


def test_two_hops():
    story, event = tainted_chain()
    event = story.works(story.run("report", KEY, event), REPORT)
    story.pulls(RAW)
    story.starts(story.run("mail", KEY, event))
    assert "report[2026-06-14T05:00:00] (derived)" in the_only(story.complaints())


def test_the_derived_halt_outlives_the_root():
    """`fixed` takes back the last complete version; what was made from the bad one stays bad."""
    story, event = tainted_chain()
    story.releases(story.pulls(RAW))
    story.starts(story.run("report", KEY, event))
    assert "clean[2026-06-14T05:00:00] (derived)" in the_only(story.complaints())


def test_a_false_alarm_takes_all_of_it_back():
    story, event = tainted_chain()
    story.releases(story.pulls(RAW), "false_alarm")
    story.works(story.run("report", KEY, event), REPORT)
    assert story.complaints() == []


def test_what_is_published_while_the_halt_is_open_is_presumed_bad():
    """A cord names what its pull named and what is completed while its root halt is open."""
    story = Story(
        producer("raw"),
        consumer("clean", "raw", outlets=("clean",), advisory=True),
        consumer("report", "clean", outlets=("report",)),
    )
    story.works(story.run("make_raw"), RAW)
    story.pulls(RAW)
    event = story.works(story.run("make_raw", name="again"), RAW)
    event = story.works(story.run("clean", KEY, event), CLEAN)
    story.starts(story.run("report", KEY, event))
    assert "clean[2026-06-14T05:00:00] (derived)" in the_only(story.complaints())


def test_fixed_takes_back_the_newer_version():
    """`fixed` takes back the last complete one if it is newer than what the pull named."""
    story = chain()
    story.works(story.run("make_raw"), RAW)
    cord = story.pulls(RAW)
    event = story.works(story.run("make_raw", name="again"), RAW)
    story.releases(cord)
    event = story.works(story.run("clean", KEY, event), CLEAN)
    story.works(story.run("report", KEY, event), REPORT)
    assert story.complaints() == []


def test_fixed_takes_back_only_the_last_one():
    """The others that the cord names stay bad, no others."""
    story = Story(
        producer("raw"), consumer("clean", "raw", outlets=("clean",), advisory=True), consumer("end", "clean")
    )
    story.works(story.run("make_raw"), RAW)
    cord = story.pulls(RAW)
    second = story.works(story.run("make_raw", name="second"), RAW)
    event = story.works(story.run("clean", KEY, second), CLEAN)
    story.works(story.run("make_raw", name="third"), RAW)
    story.releases(cord)
    story.starts(story.run("end", KEY, event))
    assert "clean[2026-06-14T05:00:00] (derived)" in the_only(story.complaints())


def test_fixed_by_one_cord_and_named_by_another():
    """Stacking: what two cords name is taken back by both or not at all."""
    story, event = tainted_chain()
    first, second = story.pulls(RAW), story.pulls(RAW)
    story.releases(first, "false_alarm")
    story.releases(second, "fixed")
    story.starts(story.run("report", KEY, event))
    assert "clean[2026-06-14T05:00:00] (derived)" in the_only(story.complaints())


def test_a_person_clears_a_version_as_false_alarm():
    """Ways out: a person clears it with a reason, as false alarm (D1)."""
    story, event = tainted_chain()
    story.releases(story.pulls(RAW))
    story.tell(seen.Cleared, CLEAN, "false_alarm")
    story.works(story.run("report", KEY, event), REPORT)
    assert story.complaints() == []


def test_a_person_clears_a_version_as_fixed():
    """... or as fixed: the data as it stands is a new version."""
    story, event = tainted_chain()
    story.releases(story.pulls(RAW))
    story.tell(seen.Cleared, CLEAN, "fixed")
    story.works(story.run("report", KEY, event), REPORT)
    assert story.complaints() == []


def test_an_older_version_that_was_overwritten_taints_nobody():
    """An execution sees every version that could be seen while it ran, not those before."""
    story = chain()
    story.works(story.run("make_raw"), RAW)
    event = story.works(story.run("make_raw", name="again"), RAW)
    event = story.works(story.run("clean", KEY, event), CLEAN)
    story.pulls(part("raw", "other"))
    story.works(story.run("report", KEY, event), REPORT)
    assert story.complaints() == []


def test_a_version_can_be_seen_from_its_beginning():
    """A producer overwrites its table before its event is written, and a consumer reads in between."""
    story = chain()
    first = story.works(story.run("make_raw"), RAW)
    writer = story.starts(story.run("make_raw", name="again"))
    event = story.works(story.run("clean", KEY, first), CLEAN)
    story.publishes(writer, RAW)
    story.pulls(RAW)
    story.starts(story.run("report", KEY, event))
    assert "derived" in the_only(story.complaints())


def test_one_of_ten_mapped_events_clears_no_halt():
    """A version is complete when all task instances that publish it have ended."""
    story = Story(producer("raw", mapped=2), consumer("clean", "raw"))
    run = story.run("make_raw")
    story.works(run, RAW, index=0)
    event = story.works(run, RAW, index=1)
    cord = story.pulls(RAW)
    story.clears(story.task(run, index=0), story.task(run, index=1))
    story.works(run, RAW, index=0)
    assert story.complaints() == []
    story.releases(cord, forced=True)  # `--now`: the data as it stands is a new version
    story.works(run, RAW, index=1)
    story.works(story.run("clean", KEY, event))
    assert story.complaints() == []


# Stops


def open_reader() -> tuple[Story, seen.TaskId]:
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    return story, story.starts(story.run("clean", KEY, event))


def test_an_open_execution_that_saw_a_bad_version_is_stopped():
    story, task = open_reader()
    story.pulls(RAW)
    story.ends(task, "killed")
    assert story.complaints() == []


def test_one_that_goes_on_is_a_complaint():
    """Every open execution that saw a bad version is stopped."""
    story, task = open_reader()
    story.pulls(RAW)
    story.ends(task, "failed")
    assert "ended as failed although it had to be stopped" in the_only(story.complaints())


def test_one_that_publishes_after_the_pull_is_a_complaint():
    """If it was to be stopped, it never registers an event afterwards."""
    story, task = open_reader()
    story.pulls(RAW)
    story.publishes(task, CLEAN)
    assert any("published clean[2026-06-14T05:00:00]" in each for each in story.complaints())


def test_one_that_ended_before_the_pull_returned_is_tainted():
    """Either killed, or if it ended of itself its publication is bad."""
    story, task = open_reader()
    cord = story.records(RAW)
    event = story.publishes(task, CLEAN)
    story.returns(cord)
    story.starts(story.run("report", KEY, event))
    assert "clean[2026-06-14T05:00:00] (derived)" in the_only(story.complaints())


def test_a_killed_publisher_leaves_a_half_written_version():
    """A publishing task that the brake kills leaves a half-written version, which is bad."""
    story = Story(
        producer("raw"), consumer("clean", "raw", outlets=("clean",)), consumer("report", "clean", outlets=())
    )
    event = story.works(story.run("make_raw"), RAW)
    clean = story.run("clean", KEY, event)
    cord = story.records(RAW)
    task = story.starts(clean)
    story.returns(cord)
    story.ends(task, "killed")
    story.releases(cord, "false_alarm")
    story.starts(story.run("report"))
    assert "clean[2026-06-14T05:00:00] (derived)" in the_only(story.complaints())


def test_what_reads_while_a_killed_task_writes_is_stopped_too():
    """An execution sees a version from its beginning: the half-written one as well."""
    story, writer = open_reader()
    reader = story.starts(story.run("report"))
    story.pulls(RAW)
    story.ends(writer, "killed")
    story.ends(reader, "success")
    assert "report.work" in the_only(story.complaints())


def test_the_stopped_process_must_be_gone():
    """Nor before the process of its own stopped execution is known to be gone."""
    story, task = open_reader()
    story.releases(story.pulls(RAW))
    story.starts(task.run)
    assert "while try 1, which was stopped, still runs" in the_only(story.complaints())


def test_after_it_is_gone_it_may_start_again():
    story, task = open_reader()
    cord = story.pulls(RAW)
    story.ends(task, "killed")
    story.releases(cord)
    story.works(task.run, CLEAN)
    assert story.complaints() == []


def test_a_task_that_a_person_killed_leaves_no_half_written_version():
    """Only what the brake kills is half written."""
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    task = story.starts(story.run("clean", KEY, event))
    story.clears(task)
    story.ends(task, "killed")
    story.works(story.run("report"), REPORT)
    assert story.complaints() == []


# Advisory Dags, runs that are let through, teardowns


def test_an_advisory_dag_is_not_held_but_its_versions_are_bad():
    """A Dag with the tag `andon:advisory` is not held; everything else applies to it."""
    story = chain(advisory=True)
    event = story.works(story.run("make_raw"), RAW)
    story.pulls(RAW)
    event = story.works(story.run("clean", KEY, event), CLEAN)
    story.starts(story.run("report", KEY, event))
    assert "report.work" in the_only(story.complaints())


def test_a_run_that_is_let_through_may_start():
    """A person lets one run read bad data: the halts open at that moment."""
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    clean = story.run("clean", KEY, event)
    story.pulls(RAW)
    story.tell(seen.LetThrough, clean)
    story.works(clean, CLEAN)
    assert story.complaints() == []


def test_a_later_halt_is_not_let_through():
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    clean = story.run("clean", KEY, event)
    story.pulls(RAW)
    story.tell(seen.LetThrough, clean)
    story.pulls(RAW)
    story.starts(clean)
    assert "(cord 2)" in the_only(story.complaints())


def test_another_run_is_not_let_through():
    story = chain()
    event = story.works(story.run("make_raw"), RAW)
    clean, other = story.run("clean", KEY, event), story.run("clean")
    story.pulls(RAW)
    story.tell(seen.LetThrough, clean)
    story.starts(other)
    assert "clean.work of run r2" in the_only(story.complaints())


def with_teardown() -> tuple[Story, seen.RunId]:
    tasks = (
        TaskSpec("setup", is_setup=True),
        TaskSpec("work", after=("setup",)),
        TaskSpec("teardown", after=("setup", "work"), teardown_of="setup"),
    )
    story = Story(producer("raw"), DagSpec("clean", Kind.PARTITIONED, tasks, sources=(Source("raw"),)))
    event = story.works(story.run("make_raw"), RAW)
    run = story.run("clean", KEY, event)
    story.works(run, task="setup")
    return story, run


def test_the_teardown_of_a_killed_task_may_start():
    """... or it is the teardown of a task that was killed."""
    story, run = with_teardown()
    work = story.starts(run, "work")
    story.pulls(RAW)
    story.ends(work, "killed")
    story.works(run, task="teardown")
    assert story.complaints() == []


def test_the_teardown_of_a_task_that_ended_of_itself_may_not():
    story, run = with_teardown()
    story.works(run, task="work")
    story.pulls(RAW)
    story.starts(run, "teardown")
    assert "clean.teardown" in the_only(story.complaints())


# Who reads what


def reads_bad(dag: DagSpec, key: str | None, bad: seen.PartitionId, task: str | None = None, **more) -> bool:
    """Whether a run of the Dag with this key may not start while the partition is halted."""
    story = Story(producer("raw"), dag)
    run = story.run(dag.id, key, **more)
    story.pulls(bad)
    story.starts(run, task)
    return bool(story.complaints())


def test_a_manual_run_reads_what_its_schedule_maps_to_its_key():
    """For every run, with events or without: manual, backfill."""
    for type in ("manual", "backfill"):
        assert reads_bad(consumer("clean", "raw"), KEY, RAW, type=type)
        assert not reads_bad(consumer("clean", "raw"), "other", RAW, type=type)


def test_keys_are_compared_exactly():
    """`us`, `US` and `us ` are three partitions."""
    for key in ("US", "us ", "ús"):
        assert not reads_bad(consumer("clean", "raw"), key, part("raw", "us"))
    assert reads_bad(consumer("clean", "raw"), "us", part("raw", "us"))


def test_every_mapper():
    hours = Mapping("day")
    mappers = {
        (hours, DAY, KEY): True,
        (hours, "2026-06-15", KEY): False,
        (Mapping("day", at_least=1), DAY, KEY): True,
        (Mapping("fixed", value="all"), "all", KEY): True,
        (Mapping("fixed", value="all"), KEY, KEY): False,
        (Mapping("allowed", allowed=("us",)), "us", "us"): True,
        (Mapping("allowed", allowed=("us",)), "eu", "eu"): False,
        (Mapping("fan_out"), "2026-06-14T23", DAY): True,
        (Mapping("fan_out", size=3), "2026-06-14T03", DAY): False,
        (Mapping("product", parts=(Mapping(), hours)), f"eu|{DAY}", f"eu|{KEY}"): True,
        (Mapping("product", parts=(Mapping(), hours)), f"us|{DAY}", f"eu|{KEY}"): False,
        (Mapping("chain", parts=(hours, Mapping("fixed", value="all"))), "all", KEY): True,
        (Mapping("chain", parts=(hours, Mapping("fixed", value="all"))), "all", "us"): False,
    }
    for (mapping, run_key, bad), expected in mappers.items():
        dag = consumer("clean", "raw", mapping=mapping)
        assert reads_bad(dag, run_key, part("raw", bad)) is expected, (mapping, run_key, bad)


def test_an_unpartitioned_event_is_ignored_by_partitioned_consumers():
    assert not reads_bad(consumer("clean", "raw"), KEY, part("raw", None))


def test_a_dag_without_partitions_and_a_run_without_a_key_read_every_partition():
    """A Dag scheduled on the asset without partitions, and a run without a key, read every partition."""
    whole = DagSpec("whole", Kind.UNPARTITIONED, (TaskSpec("work"),), sources=(Source("raw"),))
    for bad in (RAW, part("raw", None)):
        assert reads_bad(whole, None, bad)
        assert reads_bad(consumer("clean", "raw"), None, bad)


def test_what_a_run_consumed_it_reads():
    """All tasks of a run that consumed an event of the partition."""
    story = Story(producer("raw"), DagSpec("odd", Kind.MANUAL, (TaskSpec("work"),)))
    event = story.works(story.run("make_raw"), RAW)
    run = story.run("odd", "whatever", event)
    story.pulls(RAW)
    story.starts(run)
    assert len(story.complaints()) == 1


def inlet(reads: Mapping | None = None) -> DagSpec:
    tasks = (
        TaskSpec("before"),
        TaskSpec("look", after=("before",), inlets=(Inlet("raw", reads),)),
        TaskSpec("follow", after=("look",)),
        TaskSpec("aside", after=("before",)),
    )
    return DagSpec("cron", Kind.CRON, tasks)


def test_an_inlet_without_a_declaration_reads_in_doubt_every_partition():
    """A task with the asset as an inlet, and what follows it; else every partition of it."""
    for task, reads in {"before": False, "look": True, "follow": True, "aside": False}.items():
        assert reads_bad(inlet(), None, RAW, task, type="scheduled") is reads, task


def test_an_inlet_reads_the_keys_that_its_author_declares():
    """The keys that the author declares for the inlet (`reads=`)."""
    declared = inlet(Mapping("fan_out"))
    assert reads_bad(declared, DAY, part("raw", "2026-06-14T05"), "look")
    assert not reads_bad(declared, DAY, part("raw", "2026-06-15T05"), "look")
    assert reads_bad(inlet(Mapping("fixed", value="all")), None, part("raw", "all"), "look")
    assert not reads_bad(inlet(Mapping("fixed", value="all")), None, RAW, "look")


def test_an_inlet_reads_the_own_key_if_exactly_that_was_ever_published():
    """Without a declaration the run's own key if exactly that key was ever published for the asset."""
    story = Story(producer("raw"), inlet())
    story.arrives("raw", KEY)
    run, other = story.run("cron", KEY), story.run("cron", "other")
    story.pulls(part("raw", "elsewhere"))
    story.works(run, task="look")
    assert story.complaints() == []
    story.starts(other, "look")
    assert "run r2" in the_only(story.complaints())


def test_what_follows_the_publishing_task_reads_what_it_published():
    """In the run that published it, what follows the publishing task."""
    tasks = (TaskSpec("write", outlets=("raw",)), TaskSpec("after", after=("write",)), TaskSpec("aside"))
    story = Story(DagSpec("make", Kind.MANUAL, tasks))
    run = story.run("make")
    story.works(run, RAW, task="write")
    story.pulls(RAW)
    story.works(run, task="aside")
    assert story.complaints() == []
    story.starts(run, "after")
    assert "make.after" in the_only(story.complaints())


def test_a_task_never_reads_its_own_outlet():
    """A task's own outlet partition is never among what it reads, else nobody could repair it."""
    story = Story(consumer("self", "raw", outlets=("raw",)))
    event = story.arrives("raw")
    run = story.run("self", KEY, event)
    story.pulls(RAW)
    story.works(run, RAW)
    assert story.complaints() == []


def test_a_triggered_run_reads_what_the_triggering_task_read():
    """A run that a task triggered (TriggerDagRunOperator) reads what that task read."""
    tasks = (TaskSpec("go", triggers="child"),)
    story = Story(
        producer("raw"),
        DagSpec("parent", Kind.PARTITIONED, tasks, sources=(Source("raw"),)),
        DagSpec("child", Kind.MANUAL, (TaskSpec("work", outlets=("clean",)),)),
    )
    event = story.works(story.run("make_raw"), RAW)
    task = story.starts(story.run("parent", KEY, event))
    child = story.run("child", KEY, type="operator_triggered", parent=task)
    story.ends(task)
    story.pulls(RAW)
    story.starts(child)
    assert "child.work" in the_only(story.complaints())


def test_a_withdrawn_partition_is_absent():
    """Nobody reads it until it is published again."""
    story = Story(producer("raw"), consumer("clean", "raw"), consumer("end", "clean"))
    story.works(story.run("make_raw"), RAW)
    story.releases(story.pulls(RAW), "withdrawn")
    story.works(story.run("clean", KEY), CLEAN)
    assert story.complaints() == []
