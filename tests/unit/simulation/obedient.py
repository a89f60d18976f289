"""
A small world that does what the definitions say: Airflow as one would draw it, and a brake without a flaw.

It asks the oracle's own definitions what to do, so it cannot tell whether they are right. It tells whether
they can be obeyed: what is forbidden is nowhere demanded, and who obeys is never complained of.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.simulation import trace as seen
from tests.simulation.graph import DagSpec, Inlet, Kind, Source, TaskSpec
from tests.simulation.oracle.judge import Judge, Looked, Recorded
from tests.simulation.oracle.rest import FINISHED, AtRest
from tests.simulation.trace import PartitionId, Trace
from tests.unit.simulation.story import Mapping, Story

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.oracle.deliveries import Delivery
    from tests.simulation.oracle.records import Execution
    from tests.simulation.trace import RunId, TaskId

HOURS = ("2026-06-14T00:00:00", "2026-06-14T01:00:00")
DAY = "2026-06-14"
AT_MOST = 400
"""Events: a world that disobeys may go on for ever."""
ROLL_UP = Mapping("day", size=2)


def graph(chance: random.Random) -> tuple[DagSpec, ...]:
    """One of many warehouses: a producer, some hops, and something at the end of each kind."""
    mapped = chance.choice((None, 2))
    retries = chance.choice((0, 1))
    work = (
        TaskSpec("setup", is_setup=True),
        TaskSpec("work", after=("setup",), outlets=("clean",), retries=retries),
        TaskSpec("teardown", after=("setup", "work"), teardown_of="setup"),
        TaskSpec("after", after=("work",), outlets=chance.choice(((), ("clean",)))),
    )
    sources = (Source("raw"), *chance.choice(((), (Source("more"),))))
    dags = [
        DagSpec("make_raw", Kind.MANUAL, (TaskSpec("write", outlets=("raw",), mapped=mapped),)),
        DagSpec(
            "clean",
            Kind.PARTITIONED,
            chance.choice((work, work[1:2])),
            sources,
            any_of=chance.random() < 0.5,
        ),
        DagSpec(
            "sum",
            Kind.PARTITIONED,
            (TaskSpec("work", outlets=("sum",), triggers="child"),),
            (Source("clean", ROLL_UP),),
            advisory=chance.random() < 0.2,
        ),
        DagSpec("end", Kind.PARTITIONED, (TaskSpec("work", outlets=("end",)),), (Source("sum"),)),
        DagSpec("child", Kind.MANUAL, (TaskSpec("work", outlets=("kid",)),)),
        DagSpec("whole", Kind.UNPARTITIONED, (TaskSpec("work", outlets=("all",)),), (Source("kid"),)),
        DagSpec(
            "cron",
            Kind.CRON,
            (
                TaskSpec("aside"),
                TaskSpec("look", inlets=(Inlet("clean", chance.choice((None, Mapping("fixed", HOURS[0])))),)),
                TaskSpec("mail", after=("aside", "look"), outlets=("mail",)),
            ),
        ),
    ]
    return tuple(dags)


class ObedientWorld(Story):
    """A history by a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.judge = Judge(Trace((), 0, {}))
        super().__init__(*graph(self.chance))

    def tell(self, kind: type, *args: object, **more: object) -> int:
        at = super().tell(kind, *args, **more)
        self.judge.see(self.events[-1])
        return at

    def records(self, *partitions: PartitionId, severity: str = "stop") -> int:
        cord = super().records(*partitions, severity=severity)
        event = seen.Pulled(self.now, cord, cord, partitions, severity, self.now)
        self.judge.see(Looked(self.now, event))
        self.judge.see(Recorded(self.now, event))
        return cord

    # What people do

    def lives(self, acts: int) -> None:
        doings: tuple[Callable[[], None], ...] = (
            *([self.a_producer_runs] * 4),
            self.something_arrives,
            *([self.something_goes_on] * 12),
            *([self.somebody_pulls] * 2),
            *([self.somebody_releases] * 2),
            self.somebody_triggers,
            self.the_clock_strikes,
            self.somebody_clears,
            self.somebody_marks_or_deletes,
            self.somebody_lets_through,
            self.everything_goes_on,
        )
        for _ in range(acts):
            self.chance.choice(doings)()
            self.reacts()
        for cord, partition in self.open_halts():
            self.asks(cord, self.chance.choice(("fixed", "false_alarm", "withdrawn")), partition)
            self.reacts()
        self.everything_goes_on()

    def a_producer_runs(self) -> None:
        self.run("make_raw", self.chance.choice(HOURS))

    def something_arrives(self) -> None:
        self.arrives("more", self.chance.choice(HOURS))

    def somebody_triggers(self) -> None:
        dag, keys = self.chance.choice(
            (("clean", HOURS), ("sum", (DAY,)), ("end", (DAY,)), ("whole", (None,)))
        )
        key = self.chance.choice(keys)
        self.run(dag, key, type=self.chance.choice(("manual", "backfill")))

    def the_clock_strikes(self) -> None:
        self.run("cron", None, type="scheduled")

    def somebody_pulls(self) -> None:
        known = sorted((p for p in self.judge.facts.versions if p.asset in ("raw", "clean", "sum")), key=str)
        if known:
            severity = self.chance.choice(("stop", "stop", "stop", "warn"))
            self.pulls(
                *self.chance.sample(known, min(len(known), self.chance.choice((1, 1, 2)))), severity=severity
            )

    def open_halts(self) -> list[tuple[int, PartitionId]]:
        cords = self.judge.facts.cords.values()
        return [
            (cord.id, partition)
            for cord in cords
            for partition in sorted(cord.partitions, key=str)
            if partition not in cord.outcomes and (cord.id, partition) not in self.judge.asked
        ]

    def somebody_releases(self) -> None:
        if halts := self.open_halts():
            cord, partition = self.chance.choice(halts)
            self.asks(cord, self.chance.choice(("fixed", "fixed", "false_alarm", "withdrawn")), partition)

    def somebody_clears(self) -> None:
        ended = [task for task, last in self.judge.facts.last.items() if self.exists(task) and last.of_itself]
        ended = [task for task in ended if self.state(task) in FINISHED]
        if ended:
            task = self.chance.choice(ended)
            self.clears(*[task, *self.below(task)])

    def somebody_marks_or_deletes(self) -> None:
        if self.runs and self.chance.random() < 0.4:
            run = self.chance.choice(sorted(self.runs))
            if self.chance.random() < 0.5:
                self.tell(seen.RunDeleted, run)
                del self.runs[run]
            elif any(self.state(task) not in FINISHED for task in self.instances(run)):
                state = self.chance.choice(("success", "failed"))
                self.tell(seen.RunMarked, run, state)
                for task in self.instances(run):
                    self._is(task, self.judge.facts.states.get(task))

    def somebody_lets_through(self) -> None:
        held = sorted(run for run in self.judge.holds.waiting() if run in self.runs)
        if held:
            self.tell(seen.LetThrough, self.chance.choice(held))

    # What Airflow and the brake do

    def exists(self, task: TaskId) -> bool:
        return task.run in self.runs

    def state(self, task: TaskId) -> str | None:
        return self.runs[task.run].tasks[task]

    def below(self, task: TaskId) -> list[TaskId]:
        above = self.judge.facts.above
        return [each for each in self.instances(task.run) if task.task in above(task.run.dag, each.task)]

    def reacts(self) -> None:
        """All that is done at once, until nothing is left to do."""
        parts = (
            self.kills,
            self.lets_releases_take_effect,
            self.makes_runs,
            self.skips_what_is_over,
            self.repairs,
        )
        while sum(part() for part in parts) and len(self.events) < AT_MOST:
            pass

    def kills(self) -> bool:
        doomed = [each for each in self.judge.facts.open_executions() if self.is_doomed(each)]
        for each in doomed:
            self.tell(seen.Ended, each.task, each.attempt, "killed")
            if self.exists(each.task) and self.state(each.task) == "running":
                self._is(each.task, None)
        return bool(doomed)

    def is_doomed(self, execution: Execution) -> bool:
        """The brake stops it, or a person has cleared, marked or deleted it."""
        by_person = self.judge.facts.acted_on.get(execution.task, -1) > execution.granted
        return (
            by_person or execution.stopped is not None or self.judge.moment.strict.is_to_be_stopped(execution)
        )

    def lets_releases_take_effect(self) -> bool:
        for (cord, partition), asked in [*self.judge.asked.items()]:
            if self.may_take_effect(partition, asked):
                self.tell(seen.Released, cord, partition, asked.outcome)
                return True
        return False

    def may_take_effect(self, partition: PartitionId, asked: seen.ReleaseAsked) -> bool:
        at_rest = AtRest(self.judge, seen.Rest(self.now, self._snapshot()))
        return asked.outcome != "fixed" or not at_rest.publishers_to_wait_for(partition, asked.at)

    def makes_runs(self) -> bool:
        mail = self.judge.mail
        for delivery in mail.all:  # whatever may be absorbed is
            delivery.must = delivery.must or delivery.may
        for dag, key in {(each.dag, each.key): None for each in mail.all}:
            row = [each for each in mail.open(dag, key) if self.is_left(each)]
            if row and (key is None or mail.is_complete(dag, key, row)):
                self.run(dag, key, *(each.event for each in row))
                return True
        return False

    def is_left(self, delivery: Delivery) -> bool:
        """It was not absorbed: Airflow makes a run for it."""
        return delivery.may is None

    def skips_what_is_over(self) -> bool:
        """Superseded runs, parts that read nothing but what was withdrawn, and what Airflow skips."""
        facts = self.judge.facts
        for task in [each for run in self.runs for each in self.instances(run)]:
            if self.state(task) not in (None, "up_for_retry"):
                continue
            spec = facts.spec(task)
            above = [state for other, state in self.runs[task.run].tasks.items() if other.task in spec.after]
            if self.is_over(task) or ("skipped" in above and spec.teardown_of is None):
                self.skips(task.run, task.task)
                return True
            if {"failed", "upstream_failed"} & set(above) and spec.teardown_of is None:
                self._is(task, "upstream_failed")
                return True
        return False

    def is_over(self, task: TaskId) -> bool:
        judge, run = self.judge, task.run
        held = task in judge.holds[run] and judge.holds.waits(run) and not judge.moment.mild.forbids(task)
        is_superseded = run in judge.superseded or judge.moment.owed.triggered_in_vain(run)
        return task in judge.to_skip or (held and is_superseded)

    def repairs(self) -> bool:
        """All that one run owes at once."""
        owed = self.judge.look().owed
        due = [
            task
            for task in owed.owing
            if self.exists(task)
            and self.state(task) in FINISHED
            and owed.is_due(task)
            and not self.is_superseded(task.run)
            and not owed.has_failed_or_is_abandoned(task.run)
        ]
        together = [task for task in due if task.run == due[0].run]
        again = {each for task in together for each in (task, *self.below(task), *self.setups_of(task))}
        if again:
            self.clears(*sorted(again), by_person=False)
        return bool(again)

    def is_superseded(self, run: RunId) -> bool:
        _, _, owed, may_be_owed = self.judge.look()
        return owed.payer(run) is not None or may_be_owed.triggered_in_vain(run)

    def setups_of(self, task: TaskId) -> list[TaskId]:
        facts = self.judge.facts
        above = facts.above(task.run.dag, task.task)
        return [each for each in self.instances(task.run) if each.task in above and facts.spec(each).is_setup]

    def something_goes_on(self) -> None:
        """One task starts or ends."""
        doings = [*self.ready(), *self.running()]
        if doings:
            self.goes_on(self.chance.choice(doings), self.chance.choice(("success",) * 6 + ("failed",)))

    def everything_goes_on(self) -> None:
        """Until only people could change anything."""
        self.reacts()
        while (doings := [*self.running(), *self.ready()]) and len(self.events) < AT_MOST:
            self.goes_on(doings[0], "success")
            self.reacts()
        mail = self.judge.mail
        self.pending = sorted(
            {(each.dag, each.key) for each in mail.all if each.key and not each.consumed and each.may is None}
        )
        self.rests()

    def ready(self) -> list[TaskId]:
        found = []
        for run, final in self.runs.items():
            at_rest = AtRest(self.judge, seen.Rest(self.now, self.runs))
            for task in self.instances(run):
                last = self.judge.facts.last.get(task)
                if (
                    self.state(task) in (None, "up_for_retry")
                    and at_rest.is_ready(final, task)
                    and self.may_start(task)
                    and (last is None or last.ended is not None)
                ):
                    found.append(task)
        return found

    def may_start(self, task: TaskId) -> bool:
        return not self.judge.moment.strict.forbids(task)

    def running(self) -> list[TaskId]:
        return [each.task for each in self.judge.facts.open_executions() if self.exists(each.task)]

    def goes_on(self, task: TaskId, how: str) -> None:
        last, spec = self.judge.facts.last.get(task), self.judge.facts.spec(task)
        if last is None or last.ended is not None:
            self.starts(task.run, task.task, task.map_index)
        elif how == "success":
            run = self.judge.facts.runs[task.run]
            if spec.triggers:
                self.run(spec.triggers, None, type="operator_triggered", parent=task)
            self.publishes(task, *(PartitionId(asset, run.key) for asset in spec.outlets))
        else:
            self.ends(task, "up_for_retry" if last.retries_used < spec.retries else "failed")
