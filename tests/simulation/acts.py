"""
Histories as plain data: what somebody does, with the names of what it is done to.

Names outlive the loss of other acts: a run is called by its key and its number among the runs of its Dag with
that key, a cord by the label that its pull gives it. An act whose object is not there does nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.simulation.graph import DagSpec, Graph, Inlet, Kind, Mapping, Source, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WORDS = {
    "acknowledge": "somebody acknowledges cord {0}",
    "approve": "somebody lets run {1} of {0} be repaired",
    "backfill": "the clock's Dag {0} is backfilled for {1}",
    "call": "{0}.{2} of run {1} triggers the Dag that it triggers",
    "clear": "somebody clears {2} of run {1} of {0}",
    "clock": "the clock makes a run of {0} for {1}",
    "declare": "somebody declares {0} {1} as {2}",
    "defer": "{0}.{2} of run {1} defers",
    "delete": "somebody deletes run {1} of {0}",
    "die": "the process of this dies after {0} transactions: {1}",
    "disable": "somebody disables the brake",
    "enable": "somebody enables the brake",
    "end_scope": "somebody ends what cord {0} covers from now on",
    "fail": "{0}.{2} of run {1} fails",
    "hear": "the process of {0}.{2} of run {1} sends a heartbeat",
    "let_through": "somebody lets run {1} of {0} through",
    "lose": "the Dag {0} is written without {1}",
    "mark": "somebody marks run {1} of {0} as {2}",
    "mark_task": "somebody marks {0}.{2} of run {1} as {4}",
    "outside": "{0} {1} is published from outside",
    "pause": "somebody pauses {0}",
    "pull": "somebody pulls cord {0} on {1} {2} ({3})",
    "pull_open": "somebody pulls cord {0} on {1}, {2} {3} ({4})",
    "pull_some": "somebody pulls cord {0} on {1} {2} from its publication {3} to {4} ({5})",
    "raise_": "somebody raises cord {0} to stop",
    "release": "somebody releases cord {0} {1} as {2}{3}",
    "remove": "the file of Dag {0} is gone",
    "repair": "somebody asks to repair cord {0}",
    "rest": "everybody works until nothing is left to do {0}",
    "reschedule": "{0}.{2} of run {1} wants to be run again later",
    "restore": "the file of Dag {0} is back",
    "skip": "{0}.{2} of run {1} skips itself",
    "start": "a worker starts {0}.{2} of run {1}",
    "succeed": "{0}.{2} of run {1} succeeds {4}",
    "sweep": "the sweeper sweeps",
    "tick": "scheduler {0} loops once",
    "trigger": "somebody triggers {0} for {1} {2}",
    "unpause": "somebody unpauses {0}",
    "wake": "the trigger of {0}.{2} of run {1} fires",
}
"""What each act is, in words, with its names."""


class Act(NamedTuple):
    """
    One step of a history.

    :param do: a key of :data:`WORDS`, and the name of a method of the stage
    :param names: what it is done to
    """

    do: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.do == "at_once":
            return "at once: " + "; ".join(map(str, together(self)))
        if self.do == "die":
            return WORDS["die"].format(self.names[0], together(self)[0])
        text = WORDS[self.do].format(*self.names, *("" for _ in range(5)))
        is_mapped = "{0}.{2}" in WORDS[self.do] and self.names[3:4] not in ((), ("-1",))
        return f"{text} [{self.names[3]}]" if is_mapped else text


def at_once(seed: int, acts: Iterable[Act]) -> Act:
    """Several acts as one, interleaved as the seed says."""
    return Act("at_once", (str(seed), *(json.dumps([act.do, *act.names]) for act in acts)))


def together(act: Act) -> list[Act]:
    """The acts that :func:`at_once` has made one."""
    said = [json.loads(each) for each in act.names[1:]]
    return [Act(do, tuple(names)) for do, *names in said]


class History(NamedTuple):
    """
    All that a replay needs.

    :param seed: where it came from
    """

    seed: int
    graph: Graph
    acts: tuple[Act, ...]


def save(history: History, path: Path) -> None:
    graph = {"dags": [_plain(dag) for dag in history.graph.dags]}
    path.write_text(
        json.dumps(
            {"seed": history.seed, "graph": graph, "acts": [[a.do, *a.names] for a in history.acts]}, indent=1
        )
    )


def load(path: Path) -> History:
    said = json.loads(path.read_text())
    dags = tuple(_dag(dag) for dag in said["graph"]["dags"])
    acts = tuple(Act(do, tuple(names)) for do, *names in said["acts"])
    return History(said["seed"], Graph(dags), acts)


def _plain(thing: Any) -> Any:
    if hasattr(thing, "__dataclass_fields__"):
        return {name: _plain(getattr(thing, name)) for name in thing.__dataclass_fields__}
    return [_plain(each) for each in thing] if isinstance(thing, tuple) else thing


def _dag(said: dict[str, Any]) -> DagSpec:
    return DagSpec(
        **said
        | {
            "kind": Kind(said["kind"]),
            "tasks": tuple(_task(task) for task in said["tasks"]),
            "sources": tuple(
                Source(**source | {"mapping": _mapping(source["mapping"])}) for source in said["sources"]
            ),
        }
    )


def _task(said: dict[str, Any]) -> TaskSpec:
    inlets = tuple(Inlet(each["asset"], each["reads"] and _mapping(each["reads"])) for each in said["inlets"])
    return TaskSpec(
        **said | {"after": tuple(said["after"]), "outlets": tuple(said["outlets"]), "inlets": inlets}
    )


def _mapping(said: dict[str, Any]) -> Mapping:
    return Mapping(
        **said | {"allowed": tuple(said["allowed"]), "parts": tuple(_mapping(p) for p in said["parts"])}
    )


def in_words(history: History) -> str:
    """The history as a short story: the Dags, then what happens."""
    lines = [_dag_in_words(dag) for dag in history.graph.dags]
    lines += ["", *(f"{number:3}. {act}" for number, act in enumerate(history.acts, 1))]
    return "\n".join(lines)


def _dag_in_words(dag: DagSpec) -> str:
    joint = " | " if dag.any_of else " & "
    reads = joint.join(
        source.asset
        + (f" by {_mapping_in_words(source.mapping)}" if source.mapping.kind != "identity" else "")
        + (f" (named by {source.by})" if source.by != "asset" else "")
        for source in dag.sources
    )
    extras = [
        word
        for word, is_so in (("advisory", dag.advisory), ("one run at a time", dag.max_active_runs == 1))
        if is_so
    ]
    head = f"{dag.id} ({', '.join([dag.kind.value, *extras])}){': ' + reads if reads else ''}"
    return "\n".join([head, *(f"    {_task_in_words(task)}" for task in dag.tasks)])


def _task_in_words(task: TaskSpec) -> str:
    parts = [task.id]
    if task.after:
        parts.append(f"after {', '.join(task.after)}")
    if task.outlets:
        parts.append(f"publishes {', '.join(task.outlets)}")
    for inlet in task.inlets:
        parts.append(
            f"inlet {inlet.asset}" + (f" reads {_mapping_in_words(inlet.reads)}" if inlet.reads else "")
        )
    if task.mapped is not None:
        parts.append(f"{task.mapped} mapped instances")
    if task.retries:
        parts.append(f"{task.retries} retries")
    if task.is_setup:
        parts.append("a setup")
    if task.teardown_of:
        parts.append(f"tears down {task.teardown_of}")
    if task.triggers:
        parts.append(f"triggers {task.triggers}")
    return "; ".join(parts)


def _mapping_in_words(mapping: Mapping) -> str:
    inner = ", ".join(map(_mapping_in_words, mapping.parts)) or mapping.value or ", ".join(mapping.allowed)
    if mapping.kind == "day":
        inner = f"{mapping.size} hours" + (f", at least {mapping.at_least}" if mapping.at_least else "")
    return f"{mapping.kind}({inner})" if inner else mapping.kind
