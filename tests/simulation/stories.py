"""
Short histories written by hand, each for a rule that random ones seldom come to.

An act is a word and its names, as in ``acts.WORDS``; ``h0`` and ``h1`` are two hours, ``h0#1`` is the first
run for the first of them, ``#1`` one without a key, ``-`` is an empty name, ``,`` a blank in one.
``die 1 ...`` has the process of the act end after one transaction, ``at_once 5 | ... | ...`` has acts
interleave as seed 5 says, ``?`` for whatever seed the story is asked for.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from tests.simulation.acts import Act, History, at_once
from tests.simulation.graph import DagSpec, Graph, Inlet, Kind, Mapping, Source, TaskSpec
from tests.simulation.graphs import HOURS, SINGLE

MONDAY = "2026-06-15T00:00:00+00:00"


class Story(NamedTuple):
    """What happens in which graph."""

    dags: tuple[DagSpec, ...]
    acts: str

    def history(self, seed: str = "0") -> History:
        """Return it as what a replay takes; ``seed`` says how acts interleave that are done at once."""
        return History(
            -1,
            Graph(self.dags),
            tuple(_act(line) for line in self.acts.replace("?", seed).splitlines() if line),
        )


def _act(line: str) -> Act:
    if line.startswith("at_once"):
        head, *acts = line.split("|")
        return at_once(int(head.split()[1]), map(_act, acts))
    if line.startswith("die"):
        _, after, *words = line.split()
        act = _act(" ".join(words))
        return Act("die", (after, json.dumps([act.do, *act.names])))
    do, *names = line.split()
    return Act(do, tuple(_name(name) for name in names))


def _name(word: str) -> str:
    if word == "-":
        return ""
    word = word.replace("monday", MONDAY).replace(",", " ")
    return re.sub(r"\bh(\d)", lambda hour: HOURS[int(hour[1])], word)


def source(name: str = "source", asset: str = "raw", mapped: int | None = None) -> DagSpec:
    """Return a Dag that people trigger, and that publishes hours of an asset."""
    return DagSpec(name, Kind.RUNTIME, (TaskSpec("load", outlets=(asset,), mapped=mapped),))


def reader(
    name: str,
    *assets: str,
    tasks: tuple[TaskSpec, ...] = (),
    mapping: Mapping = SINGLE,
    any_of: bool = False,
    advisory: bool = False,
) -> DagSpec:
    """Return a Dag that is scheduled on assets, and publishes one with its own name."""
    return DagSpec(
        name,
        Kind.PARTITIONED,
        tasks or (TaskSpec("work", outlets=(f"{name}_data",)),),
        tuple(Source(asset, mapping) for asset in assets),
        any_of=any_of,
        advisory=advisory,
    )


def nightly(*tasks: TaskSpec) -> DagSpec:
    """Return a Dag of the clock."""
    return DagSpec("nightly", Kind.CRON, tasks)


A, B = reader("a", "raw"), reader("b", "a_data")
FIRST_AND_SECOND = reader("a", "raw", tasks=(TaskSpec("first"), TaskSpec("second", after=("first",))))
READS = TaskSpec("read", inlets=(Inlet("raw"),))

PUBLISHED = """
trigger source h0
rest
"""

LOADED = """
trigger source h0
tick 0
start source h0#1 load
succeed source h0#1 load
tick 0
"""

LOADED_AGAIN = LOADED.replace("#1", "#2")

STORIES = {
    "a run of a derived reader is triggered by hand": Story(
        (source(), A, B),
        PUBLISHED
        + """
pull c1 raw h0 stop
trigger b h0
tick 0
start b h0#2 work
""",
    ),
    "pulled while the reader is queued": Story(
        (source(), A),
        LOADED
        + """
pull c1 raw h0 stop
start a h0#1 work
""",
    ),
    "the clock makes a run for what is halted": Story(
        (source(), nightly(TaskSpec("begin"), READS)),
        PUBLISHED
        + """
pull c1 raw h0 stop
clock nightly monday
tick 0
start nightly #1 read
rest
release c1 - fixed -
rest
""",
    ),
    "pulled while the reader of an inlet is queued": Story(
        (source(), nightly(READS)),
        PUBLISHED
        + """
clock nightly monday
tick 0
pull c1 raw h0 stop
start nightly #1 read
""",
    ),
    "a run with a mapped key is triggered by hand": Story(
        (source(), reader("a", "raw", mapping=Mapping("fixed", value="all"))),
        PUBLISHED
        + """
pull c1 raw h0 stop
trigger a all
tick 0
start a all#2 work
""",
    ),
    "a child is cleared under a halt": Story(
        (
            source(),
            reader("a", "raw", tasks=(TaskSpec("work"), TaskSpec("call", after=("work",), triggers="child"))),
            DagSpec("child", Kind.MANUAL, (TaskSpec("work"),)),
        ),
        PUBLISHED
        + """
pull c1 raw h0 stop
clear child #1 -
tick 0
start child #1 work
""",
    ),
    "what follows the publishing task is cleared": Story(
        (
            source(),
            reader(
                "a",
                "raw",
                tasks=(TaskSpec("write", outlets=("a_data",)), TaskSpec("after", after=("write",))),
            ),
        ),
        PUBLISHED
        + """
pull c1 a_data h0 stop
clear a h0#1 after
tick 0
start a h0#1 after
""",
    ),
    "one of two runs is let through": Story(
        (source(), A),
        PUBLISHED
        + """
pull c1 raw h0 stop
let_through a h0#1
trigger a h0
tick 0
start a h0#2 work
""",
    ),
    "let through before a second cord": Story(
        (source(), A),
        PUBLISHED
        + """
pull c1 raw h0 stop
let_through a h0#1
pull c2 raw h0 stop
clear a h0#1 -
tick 0
start a h0#1 work
""",
    ),
    "an advisory Dag goes on": Story(
        (source(), reader("a", "raw", advisory=True)),
        PUBLISHED
        + """
pull c1 raw h0 stop
trigger a h0
rest
""",
    ),
    "a false alarm while the stopped process lives": Story(
        (source(), A),
        LOADED
        + """
start a h0#1 work
pull c1 raw h0 stop
release c1 - false_alarm -
tick 0
start a h0#1 work
""",
    ),
    "a chain is repaired": Story(
        (source(), A, B),
        PUBLISHED
        + """
pull c1 raw h0 stop
trigger source h0
rest
release c1 - fixed -
rest
""",
    ),
    "rewritten while it is read": Story(
        (source(), A, B),
        LOADED
        + """
start a h0#1 work
trigger source h0
tick 0
start source h0#2 load
succeed a h0#1 work
succeed source h0#2 load
tick 0
pull c1 raw h0 stop
start b h0#1 work
""",
    ),
    "killed while it writes": Story(
        (source(), A, B),
        PUBLISHED
        + """
trigger a h0
tick 0
start a h0#2 work
pull c1 raw h0 stop
hear a h0#2 work
release c1 - false_alarm -
trigger b h0
tick 0
start b h0#2 work
""",
    ),
    "published under the halt": Story(
        (source(), reader("a", "raw", advisory=True), B),
        PUBLISHED
        + """
pull c1 raw h0 stop
trigger source h0
rest
""",
    ),
    "the first of two mapped instances has published again": Story(
        (source(), reader("a", "raw", tasks=(TaskSpec("work", outlets=("a_data",), mapped=2),)), B),
        PUBLISHED
        + """
pull c1 raw h0 stop
release c1 - fixed -
tick 0
start a h0#1 work 0
succeed a h0#1 work 0
tick 0
start b h0#1 work
""",
    ),
    "one of two cords is released": Story(
        (source(), A),
        PUBLISHED
        + """
pull c1 raw h0 stop
pull c2 raw h0 stop
release c1 - false_alarm -
trigger a h0
tick 0
start a h0#2 work
""",
    ),
    "a warning": Story(
        (source(), A),
        LOADED
        + """
pull c1 raw h0 warn
rest
""",
    ),
    "a reader ends after the pull": Story(
        (source(), A),
        LOADED
        + """
start a h0#1 work
pull c1 raw h0 stop
succeed a h0#1 work
""",
    ),
    "killed, run again, failed": Story(
        (source(), reader("a", "raw", tasks=(TaskSpec("work", retries=1),))),
        LOADED
        + """
start a h0#1 work
pull c1 raw h0 stop
hear a h0#1 work
tick 0
release c1 - false_alarm -
tick 0
start a h0#1 work
fail a h0#1 work
""",
    ),
    "killed between setup and teardown": Story(
        (
            source(),
            reader(
                "a",
                "raw",
                tasks=(
                    TaskSpec("set_up", is_setup=True),
                    TaskSpec("work", after=("set_up",)),
                    TaskSpec("tear_down", after=("work",), teardown_of="set_up"),
                ),
            ),
        ),
        LOADED
        + """
start a h0#1 set_up
succeed a h0#1 set_up
tick 0
start a h0#1 work
pull c1 raw h0 stop
hear a h0#1 work
rest
release c1 - fixed -
rest
""",
    ),
    "held and released": Story(
        (source(), A),
        LOADED
        + """
pull c1 raw h0 stop
release c1 - false_alarm -
rest
""",
    ),
    "published again before the release": Story(
        (source(), A),
        PUBLISHED
        + """
pull c1 raw h0 stop
trigger source h0
rest
release c1 - fixed -
rest
""",
    ),
    "another hour of a day is published again": Story(
        (source(), reader("a", "raw", mapping=Mapping("day", size=2))),
        """
trigger source h0
trigger source h1
rest
pull c1 raw h0 stop
trigger source h1
rest
release c1 - fixed -
rest
""",
    ),
    "published again before the false alarm": Story(
        (source(), A),
        PUBLISHED
        + """
pull c1 raw h0 stop
trigger source h0
rest
release c1 - false_alarm -
rest
""",
    ),
    "released while it is written": Story(
        (source(), A),
        PUBLISHED
        + """
pull c1 a_data h0 stop
trigger a h0
tick 0
start a h0#2 work
release c1 - fixed -
rest
""",
    ),
    "a false alarm": Story(
        (source(), A),
        PUBLISHED
        + """
pull c1 raw h0 stop
release c1 - false_alarm -
rest
""",
    ),
    "withdrawn": Story(
        (source(), A),
        PUBLISHED
        + """
pull c1 raw h0 stop
release c1 - withdrawn -
rest
""",
    ),
    "one of two assets is withdrawn": Story(
        (source(), source("other", "more"), reader("a", "raw", "more")),
        """
trigger source h0
trigger other h0
tick 0
start source h0#1 load
start other h0#1 load
succeed source h0#1 load
succeed other h0#1 load
tick 0
pull c1 raw h0 stop
release c1 - withdrawn -
rest
""",
    ),
    "two runs wait for one key": Story(
        (source(), A),
        LOADED
        + LOADED_AGAIN
        + """
pull c1 raw h0 stop
rest
release c1 - fixed -
rest
""",
    ),
    "what failed on bad data, and what follows it": Story(
        (source(), FIRST_AND_SECOND),
        LOADED
        + """
start a h0#1 first
fail a h0#1 first
rest
pull c1 raw h0 stop
release c1 - fixed -
rest
""",
    ),
    "a task between setup and teardown reads": Story(
        (
            source(),
            nightly(
                TaskSpec("set_up", is_setup=True),
                TaskSpec("read", after=("set_up",), inlets=(Inlet("raw"),)),
                TaskSpec("tear_down", after=("read",), teardown_of="set_up"),
            ),
        ),
        PUBLISHED
        + """
clock nightly monday
rest
pull c1 raw h0 stop
release c1 - fixed -
rest
""",
    ),
    "marked by a person": Story(
        (source(), A),
        PUBLISHED
        + """
pull c1 raw h0 stop
mark a h0#1 success
release c1 - fixed -
rest
""",
    ),
    "all that is held is marked": Story(
        (source(), A),
        LOADED
        + """
pull c1 raw h0 stop
mark_task a h0#1 work -1 failed
rest
trigger source h0
rest
release c1 - fixed -
rest
""",
    ),
    "what has handed on is marked": Story(
        (source(), FIRST_AND_SECOND),
        LOADED
        + """
start a h0#1 first
fail a h0#1 first
mark_task a h0#1 first -1 success
rest
pull c1 raw h0 stop
release c1 - fixed -
rest
""",
    ),
    "published after a mark": Story(
        (source(), A),
        LOADED
        + """
trigger source h0
tick 0
start source h0#2 load
pull c1 raw h0 stop
mark_task a h0#1 work -1 success
succeed source h0#2 load
rest
release c1 - fixed -
rest
""",
    ),
    "a pattern covers what is published later": Story(
        (source(), A),
        PUBLISHED
        + """
pull_open c1 raw pattern *00:00:00 stop
trigger source h1
rest
release c1 h0 fixed -
rest
trigger source h0
rest
release c1 - fixed -
rest
trigger source h1
trigger source h2
rest
""",
    ),
    "since and until": Story(
        (source(), A),
        PUBLISHED * 4
        + """
pull_some c1 raw h0 0 1 stop
rest
pull_some c2 raw h0 2 - stop
rest
release c2 - fixed -
rest
""",
    ),
    "disabled and enabled": Story(
        (source(), A, B),
        LOADED
        + """
pull c1 raw h0 stop
trigger source h0
rest
disable
rest
enable
rest
release c1 - fixed -
rest
""",
    ),
    "a repair that asks": Story(
        (source(), reader("a", "raw", tasks=(TaskSpec("work", outlets=("a_mail",)),)), reader("b", "a_mail")),
        PUBLISHED
        + """
pull c1 raw h0 stop
rest
release c1 - fixed -
rest
approve a h0#1
rest
""",
    ),
    "everybody dies in the middle": Story(
        (source(), A, B),
        LOADED
        + """
start a h0#1 work
die 1 pull c1 raw h0 stop
tick 0
hear a h0#1 work
die 2 sweep
sweep
rest
die 1 disable
die 1 enable
tick 0
rest
die 1 release c1 - fixed -
rest
""",
    ),
    "marked while a release settles": Story(
        (source(), A),
        PUBLISHED
        + """
trigger source h1
trigger source h2
rest
pull c1 raw h0,h1,h2 stop
at_once ? | release c1 - fixed - | mark a h0#1 success | mark a h1#1 success | mark a h2#1 success
rest
""",
    ),
}
"""By what happens."""

TOLD = (
    "a pattern covers what is published later",
    "since and until",
    "disabled and enabled",
    "a repair that asks",
    "everybody dies in the middle",
)
"""Those that are judged for themselves; each of the others is for a mutant of the product."""
