"""Chooses what happens next, from a seed and from what there is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.simulation.acts import Act, at_once
from tests.simulation.graph import Kind
from tests.simulation.graphs import HOURS, REGIONS
from tests.simulation.trace import PartitionId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from tests.simulation.graph import DagSpec
    from tests.simulation.stage import Stage
    from tests.simulation.trace import TaskId

ACTS = frozenset(
    {
        "acknowledge",
        "at_once",
        "backfill",
        "clear",
        "clock",
        "conf",
        "declare",
        "defer",
        "delete",
        "fail",
        "let_through",
        "lose",
        "mark",
        "outside",
        "pause",
        "raise_",
        "remove",
        "repair",
        "reschedule",
        "skip",
        "warn",
        "withdrawn",
        "force",
    }
)
"""What may happen beyond publishing, running, pulling and releasing."""

MORE_ACTS = frozenset({"approve", "die", "disable", "mark_task", "open_scopes", "since"})
"""The same, of what happens only where it is asked for: so the seeds keep their meaning."""


@dataclass
class Player:
    """
    Plays one random history.

    :param acts: which of :data:`ACTS` and :data:`MORE_ACTS` may happen
    :param length: how many acts there are before everything is released
    """

    random: Random
    stage: Stage
    acts: frozenset[str]
    length: int
    pulled: int = 0
    released: int = 0

    def opening(self) -> list[Act]:
        """Something is published, and consumed, before anything goes wrong."""
        acts = []
        producers = [dag for dag in self.stage.dags.values() if dag.kind is Kind.RUNTIME]
        for dag in producers:
            keys = self._keys(dag)
            acts += [
                Act("trigger", (dag.id, key)) for key in self.random.sample(keys, self.random.choice((1, 2)))
            ]
        if self.random.random() < 0.5:
            acts.append(Act("rest"))
        return acts

    def next(self) -> Act:
        """Something that makes sense now; sometimes several things at once."""
        if "at_once" in self.acts and self.random.random() < 0.3:
            return self._at_once()
        act = self._single()
        if "die" in self.acts and act.do in _BY_PROCESSES_THAT_DIE and self.random.random() < 0.4:
            return Act("die", (str(self.random.choice((1, 1, 2, 3, 5))), json.dumps([act.do, *act.names])))
        return act

    def _single(self) -> Act:
        for _ in range(50):
            (make,) = self.random.choices([m for m, _ in self._moves], [w for _, w in self._moves])
            act = make()
            if act is not None:
                return act
        return Act("tick", ("0",))

    def ending(self) -> list[Act]:
        """The Dags are back, and every cord is released."""
        acts = [] if self.stage.enabled else [Act("enable")]
        for dag in sorted(self.stage.dags):
            if self.stage.is_stale(dag):
                acts.append(Act("restore", (dag,)))
            if self.stage.is_paused(dag):
                acts.append(Act("unpause", (dag,)))
        if self.random.random() < 0.5:
            acts.append(Act("rest"))
        labels = sorted(self.stage.cords)
        self.random.shuffle(labels)
        for label in labels:
            acts.append(Act("release", (label, "", self._outcome(), "")))
            if self.random.random() < 0.3:
                acts.append(Act("rest"))
        acts.append(Act("rest"))
        return acts

    @property
    def _moves(self) -> list[tuple[Callable[[], Act | None], float]]:
        moves: list[tuple[str | None, Callable[[], Act | None], float]] = [
            (None, self._tick, 14),
            (None, self._start, 16),
            (None, self._succeed, 12),
            (None, self._hear, 5),
            (None, self._trigger, 5),
            (None, lambda: Act("sweep"), 3),
            (None, lambda: Act("rest", self.random.choice(((), (), ("but what runs goes on",)))), 2.5),
            (None, self._pull, 6),
            ("open_scopes", self._pull_open, 3),
            ("open_scopes", lambda: self._label("end_scope"), 0.7),
            ("since", self._pull_some, 3),
            (None, self._release, 3),
            (None, self._unpause, 1),
            (None, self._restore, 1),
            (None, self._wake, 4),
            ("acknowledge", self._acknowledge, 0.5),
            ("approve", self._approve, 1.5),
            ("backfill", lambda: self._scheduled("backfill"), 0.7),
            ("clock", lambda: self._scheduled("clock"), 2),
            ("clear", self._clear, 1.5),
            ("declare", self._declare, 0.7),
            ("defer", lambda: self._running("defer"), 1),
            ("delete", self._delete, 0.7),
            ("disable", lambda: Act("disable") if self.stage.enabled else None, 0.5),
            ("disable", lambda: None if self.stage.enabled else Act("enable"), 3),
            ("fail", lambda: self._running("fail"), 2.5),
            ("let_through", self._let_through, 1),
            ("lose", self._lose, 0.5),
            ("mark", self._mark, 1),
            ("mark_task", self._mark_task, 2),
            ("outside", self._outside, 2),
            ("pause", self._pause, 0.7),
            ("raise_", self._raise, 1),
            ("remove", self._remove, 0.4),
            ("repair", self._repair, 1.5),
            ("reschedule", lambda: self._running("reschedule"), 0.7),
            ("skip", lambda: self._running("skip"), 0.5),
        ]
        return [(move, weight) for name, move, weight in moves if name is None or name in self.acts]

    # What there is

    def _one(self, things: Sequence[Any]) -> Any:
        return self.random.choice(things) if things else None

    def _dags(self, *kinds: Kind) -> list[DagSpec]:
        return [dag for name, dag in sorted(self.stage.dags.items()) if not kinds or dag.kind in kinds]

    def _keys(self, dag: DagSpec) -> list[str]:
        """Keys that somebody could trigger the Dag for."""
        if dag.kind is Kind.RUNTIME:
            return list(REGIONS if dag.id == "regions" else HOURS[:2])
        known = {run.run.rpartition("#")[0] for run in self.stage.watch.runs if run.dag == dag.id}
        return sorted(known - {""})

    def _published(self) -> list[tuple[str, str]]:
        return sorted({(p.asset, p.key or "") for p in self.stage.watch.published})

    def _row(self) -> Any:
        return self._one(sorted(self.stage.watch.runs))

    # Moves

    def _at_once(self) -> Act:
        """Two to four at once: each scheduler, the sweeper, and each task by one actor at most."""
        acts: dict[object, Act] = {}
        for _ in range(self.random.choice((2, 2, 3, 4))):
            act = self._single()
            if act.do != "rest":
                acts[_actor_of(act)] = act
        return at_once(self.random.randrange(1000), acts.values())

    def _tick(self) -> Act:
        return Act("tick", (str(self.random.randrange(len(self.stage.schedulers))),))

    def _start(self) -> Act | None:
        found = self._one([task for task, _ in self.stage.waiting()])
        return found and Act("start", _names(found))

    def _running(self, do: str) -> Act | None:
        found = self._one(sorted({process.task for process in self.stage.processes}))
        return found and Act(do, _names(found))

    def _succeed(self) -> Act | None:
        return self._running("succeed")

    def _hear(self) -> Act | None:
        return self._running("hear")

    def _wake(self) -> Act | None:
        found = self._one([t for t, each in self.stage.watch.open.items() if not each.has_process])
        return found and Act("wake", _names(found))

    def _trigger(self) -> Act | None:
        chance = self.random.random()
        kinds = (Kind.RUNTIME,) if chance < 0.75 else (Kind.PARTITIONED, Kind.MANUAL, Kind.UNPARTITIONED)
        dag = self._one(self._dags(*kinds))
        if dag is None:
            return None
        keys = self._keys(dag) if dag.kind in (Kind.RUNTIME, Kind.PARTITIONED) else [""]
        key = self._one(keys)
        if key is None:
            return None
        conf = "1" if "conf" in self.acts and self.random.random() < 0.08 else ""
        return Act("trigger", (dag.id, key, conf))

    def _scheduled(self, do: str) -> Act | None:
        dag = self._one(self._dags(Kind.CRON))
        day = self.random.choice((1, 2, 3))
        return dag and Act(do, (dag.id, f"2026-06-{13 + day}T00:00:00+00:00"))

    def _outside(self) -> Act | None:
        found = self._one(self._published())
        return found and Act("outside", found)

    def _pull(self) -> Act | None:
        if self.pulled >= 4:
            return None
        found = self._one(self._published())
        if found is None:
            return None
        self.pulled += 1
        severity = "warn" if "warn" in self.acts and self.random.random() < 0.12 else "stop"
        keys = found[1]
        if self.random.random() < 0.15:
            keys = " ".join(key for asset, key in self._published() if asset == found[0] and key)
        return Act("pull", (f"c{self.pulled}", found[0], keys, severity))

    def _pull_open(self) -> Act | None:
        found = self._one(self._published())
        if found is None or self.pulled >= 4:
            return None
        asset, key = found
        self.pulled += 1
        kind, value = self.random.choice(
            (("all", ""), ("pattern", f"*{key[-8:]}"), ("pattern", "*"), ("from", key))
        )
        return Act("pull_open", (f"c{self.pulled}", asset, kind, value, "stop"))

    def _pull_some(self) -> Act | None:
        found = self._one(self._published())
        if found is None or self.pulled >= 4:
            return None
        self.pulled += 1
        count = self.stage.watch.published[PartitionId(found[0], found[1] or None)]
        first, last = self.random.randrange(count), self.random.randrange(count)
        since, until = self.random.choice(((first, ""), ("", last), (min(first, last), max(first, last))))
        return Act("pull_some", (f"c{self.pulled}", *found, str(since), str(until), "stop"))

    def _outcome(self) -> str:
        outcomes = ["fixed"] * 6 + ["false_alarm"] * 3
        return str(self.random.choice(outcomes + (["withdrawn"] * 2 if "withdrawn" in self.acts else [])))

    def _release(self) -> Act | None:
        label = self._one(sorted(self.stage.cords))
        if label is None:
            return None
        outcome = self._outcome()
        how = ""
        if outcome == "fixed" and self.random.random() < 0.2:
            how = (
                " by force"
                if "force" in self.acts and self.random.random() < 0.5
                else " once it is published again"
            )
        cord = self.stage.cords[label]
        partitions = self.stage.under(cord)
        one = self._one(partitions)
        key = (one.key or "") if len(partitions) > 1 and self.random.random() < 0.5 else ""
        if cord in self.stage.scopes and self.random.random() < 0.3:
            how += " and goes on covering"
        return Act("release", (label, key, outcome, how))

    def _label(self, do: str) -> Act | None:
        label = self._one(sorted(self.stage.cords))
        return label and Act(do, (label,))

    def _acknowledge(self) -> Act | None:
        return self._label("acknowledge")

    def _repair(self) -> Act | None:
        return self._label("repair")

    def _raise(self) -> Act | None:
        warned = [label for label, cord in self.stage.cords.items() if self.stage.severities[cord] == "warn"]
        label = self._one(sorted(warned))
        return label and Act("raise_", (label,))

    def _declare(self) -> Act | None:
        found = self._one(self._published())
        return found and Act("declare", (*found, self.random.choice(("fixed", "false_alarm"))))

    def _clear(self) -> Act | None:
        run = self._row()
        if run is None:
            return None
        spec = self.stage.dags[run.dag]
        first = self._one(spec.tasks)
        chosen = {first.id}
        for task in spec.tasks:
            if chosen & set(task.after):
                chosen.add(task.id)
        return Act("clear", (*run, " ".join(sorted(chosen)) if self.random.random() < 0.5 else ""))

    def _mark(self) -> Act | None:
        run = self._row()
        return run and Act("mark", (*run, self.random.choice(("success", "failed"))))

    def _mark_task(self) -> Act | None:
        found = self._one(sorted(self.stage.watch.instances))
        state = self.random.choice(("success", "success", "failed", "skipped"))
        return found and Act("mark_task", (*_names(found), state))

    def _delete(self) -> Act | None:
        run = self._row()
        return run and Act("delete", tuple(run))

    def _let_through(self) -> Act | None:
        run = self._row()
        return run and Act("let_through", tuple(run))

    def _approve(self) -> Act | None:
        run = self._row()
        return run and Act("approve", tuple(run))

    def _pause(self) -> Act | None:
        dag = self._one([d for d in self._dags() if d.kind is not Kind.RUNTIME])
        return dag and Act("pause", (dag.id,))

    def _unpause(self) -> Act | None:
        dag = self._one([d for d in self._dags() if self.stage.is_paused(d.id)])
        return dag and Act("unpause", (dag.id,))

    def _remove(self) -> Act | None:
        dag = self._one([d for d in self._dags() if d.kind is not Kind.RUNTIME])
        return dag and Act("remove", (dag.id,))

    def _restore(self) -> Act | None:
        dag = self._one([d for d in self._dags() if self.stage.is_stale(d.id)])
        return dag and Act("restore", (dag.id,))

    def _lose(self) -> Act | None:
        dag = self._one([d for d in self._dags(Kind.PARTITIONED) if len(d.tasks) > 1])
        return dag and Act("lose", (dag.id, self._one(dag.tasks).id))


def _actor_of(act: Act) -> object:
    if act.do in ("tick", "sweep"):
        return act
    return act.names if act.do in _BY_WORKERS else (act, "somebody")


_BY_WORKERS = ("start", "succeed", "hear", "fail", "skip", "defer", "reschedule", "wake")


_BY_PROCESSES_THAT_DIE = (
    "approve",
    "declare",
    "disable",
    "enable",
    "end_scope",
    "let_through",
    "pull",
    "pull_open",
    "pull_some",
    "raise_",
    "release",
    "repair",
    "sweep",
)


def _names(task: TaskId) -> tuple[str, str, str, str]:
    return task.run.dag, task.run.run, task.task, str(task.map_index)
