"""
A world that is told in a few lines: Dags, their runs, what was published, and who pulled which cord.

Moments are minutes. Keys pass unchanged from an asset to the Dags that are scheduled on it. ``world.facts()``
is what the rules are told; ``simulation.py`` lets the same world live by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from airflow_lean_provider.rules.badness import Judgement, judge
from airflow_lean_provider.rules.debts import payments
from airflow_lean_provider.rules.facts import (
    Cause,
    DagShape,
    Ending,
    Execution,
    Facts,
    HalfWritten,
    Halt,
    Origin,
    Outcome,
    Partition,
    Publication,
    Run,
    RunFacts,
    Severity,
    Task,
    TaskState,
    Try,
)
from airflow_lean_provider.rules.plan import Label, Plan, RunPlan, decide
from airflow_lean_provider.rules.versions import Version, all_versions, current, version_of_event

FIXED, FALSE_ALARM, WITHDRAWN = Outcome.FIXED, Outcome.FALSE_ALARM, Outcome.WITHDRAWN
MIDNIGHT = datetime(2026, 6, 14, tzinfo=timezone.utc)
ENDED_AS = {
    Ending.SUCCESS: TaskState.SUCCESS,
    Ending.FAILED: TaskState.FAILED,
    Ending.SKIPPED: TaskState.SKIPPED,
    Ending.OPEN: TaskState.RUNNING,
    Ending.STOPPED: TaskState.PARKED,
}


def minute(number: float) -> datetime:
    return MIDNIGHT + timedelta(minutes=number)


@dataclass
class DagOfStory:
    """The assets that a Dag is scheduled on, its tasks with what each directly follows, and their outlets."""

    reads: tuple[str, ...]
    tasks: Mapping[str, tuple[str, ...]]
    writes: Mapping[str, tuple[str, ...]]
    advisory: bool
    teardowns: frozenset[str]
    asks: frozenset[str]
    finishes: frozenset[str]

    def before(self, task_id: str) -> frozenset[str]:
        direct = self.tasks[task_id]
        return frozenset(direct).union(*(self.before(t) for t in direct))


@dataclass
class World:
    now: float = 0
    dags: dict[str, DagOfStory] = field(default_factory=dict)
    runs: dict[Run, RunFacts] = field(default_factory=dict)
    publications: list[Publication] = field(default_factory=list)
    executions: dict[Try, Execution] = field(default_factory=dict)
    halves: list[HalfWritten] = field(default_factory=list)
    halts: list[Halt] = field(default_factory=list)
    cleared: set[str] = field(default_factory=set)
    repaired: dict[str, datetime] = field(default_factory=dict)
    let_through: dict[Run, frozenset[Cause]] = field(default_factory=dict)
    approved: dict[Run, datetime] = field(default_factory=dict)
    inlets: dict[Partition, dict[Run, frozenset[str]]] = field(default_factory=dict)
    survivors: dict[Try, datetime] = field(default_factory=dict)
    asked: dict[Task, list[datetime]] = field(default_factory=dict)
    also_reads: dict[Run, set[Partition]] = field(default_factory=dict)
    assets: dict[str, int] = field(default_factory=dict)

    # What there is

    def dag(
        self,
        dag_id: str,
        reads: str = "",
        tasks: Mapping[str, str] | None = None,
        writes: Mapping[str, str] | None = None,
        advisory: bool = False,
        teardowns: Iterable[str] = (),
        asks: Iterable[str] = (),
        finishes: Iterable[str] = (),
    ) -> None:
        """Add a Dag; unless told otherwise its only task ``make`` writes the asset named like the Dag."""
        self.dags[dag_id] = DagOfStory(
            tuple(reads.split()),
            {t: tuple(follows.split()) for t, follows in (tasks or {"make": ""}).items()},
            {
                t: tuple(names.split())
                for t, names in ({"make": dag_id} if writes is None else writes).items()
            },
            advisory,
            frozenset(teardowns),
            frozenset(asks),
            frozenset(finishes),
        )

    def part(self, asset: str, key: str | None = "h5") -> Partition:
        return Partition(self.assets.setdefault(asset, len(self.assets) + 1), key)

    def run(
        self,
        dag_id: str,
        key: str | None = "h5",
        origin: Origin = Origin.ASSETS,
        mapped: Mapping[str, int] | None = None,
        **more: object,
    ) -> Run:
        """A run of the Dag is made; ``mapped`` says into how many instances tasks expand."""
        dag = self.dags[dag_id]
        run = Run(dag_id, f"{origin.value}-{len(self.runs) + 1}")
        shape = DagShape(
            {t: dag.before(t) for t in dag.tasks},
            {t: frozenset(self.part(a).asset for a in names) for t, names in dag.writes.items()},
            teardowns=dag.teardowns,
            advisory=dag.advisory,
            asks=dag.asks,
            finishes=dag.finishes,
        )
        instances = {
            Task(*run, t, i): TaskState.WAITING
            for t in dag.tasks
            for i in (range(mapped[t]) if mapped and t in mapped else [-1])
        }
        consumed = frozenset(self.part(a, key) for a in dag.reads) if origin is Origin.ASSETS else frozenset()
        facts = RunFacts(
            run,
            key,
            origin,
            len(self.runs) + 1,
            shape,
            instances,
            consumed=consumed,
            partitioned=key is not None,
        )
        self.runs[run] = replace(facts, **more)
        return run

    def has_inlet(self, run: Run, task_id: str, asset: str, key: str | None = "h5") -> None:
        """The task has the partition as an inlet."""
        of_runs = self.inlets.setdefault(self.part(asset, key), {})
        of_runs[run] = of_runs.get(run, frozenset()) | {task_id}

    def deletes(self, run: Run) -> None:
        """A person deletes the run; what it has paid is kept."""
        kept = payments(self.facts(), self.judged())
        del self.runs[run]
        self.executions = {a: e for a, e in self.executions.items() if a.task.run != run}
        for other in self.runs:
            gone = (e for e in kept[other] if e.task.run == run)
            self.of_run(other, paid=frozenset(replace(e, attempt=Try(e.task, 0)) for e in gone))

    def lets_through(self, run: Run) -> None:
        """A person lets the run read what is bad now."""
        judged = self.judged()
        read = frozenset().union(*judged.reading.of_run(run).values())
        self.let_through[run] = frozenset().union(*(judged.bad_partitions.get(p, ()) for p in read))

    def approves(self, run: Run, *, at: float) -> None:
        """A person lets the run be repaired."""
        self.now = max(self.now, at)
        self.approved[run] = minute(at)

    def declares_fixed(self, version: str, *, at: float) -> None:
        """A person says that the data, as it stands, is good now."""
        self.now = max(self.now, at)
        self.repaired[version] = minute(at)

    def of_run(self, run: Run, **changes: object) -> None:
        self.runs[run] = replace(self.runs[run], **changes)

    def task(self, run: Run, task_id: str = "make", index: int = -1) -> Task:
        return Task(*run, task_id, index)

    def is_now(self, task: Task, state: TaskState) -> None:
        known = self.runs[task.run]
        self.of_run(task.run, tasks={**known.tasks, task: state})

    # What happens

    def publishes(self, asset: str, key: str | None = "h5", *, at: float, by: Task | None = None) -> str:
        """An event of the partition is written; without ``by`` no task emitted it."""
        self.now = max(self.now, at)
        event = len(self.publications) + 1
        self.publications.append(Publication(event, self.part(asset, key), minute(at), by))
        return version_of_event(event)

    def executes(
        self,
        run: Run,
        task_id: str = "make",
        *,
        start: float,
        end: float | None = None,
        ending: Ending | None = None,
        index: int = -1,
        publishes: bool = True,
        doubt: float = 0,
    ) -> str:
        """The task runs; if it succeeds, it publishes its outlets as it ends. Tells the last version."""
        task = self.task(run, task_id, index)
        self.now = max(self.now, start if end is None else end)
        if ending is None:
            ending = Ending.OPEN if end is None else Ending.SUCCESS
        attempt = Try(task, 1 + sum(t.task == task for t in self.executions))
        self.executions[attempt] = Execution(
            attempt, minute(start), None if end is None else minute(end), ending, timedelta(minutes=doubt)
        )
        self.is_now(task, ENDED_AS[ending])
        version = ""
        if ending is Ending.SUCCESS and publishes and end is not None:
            for asset in self.dags[run.dag_id].writes.get(task_id, ()):
                version = self.publishes(asset, self.runs[run].key, at=end, by=task)
        over = all(s.finished for s in self.runs[run].tasks.values())
        self.of_run(run, over=over)
        return version

    def is_killed(self, run: Run, task_id: str = "make", *, start: float, at: float, index: int = -1) -> Try:
        """The brake kills the task while it reads, and parks it; what it was writing is half written."""
        self.executes(run, task_id, start=start, end=at, ending=Ending.STOPPED, index=index)
        attempt = self.last_try(self.task(run, task_id, index))
        self.halves += [
            HalfWritten(attempt, p, minute(start), minute(at)) for p in self.runs[run].outlets(task_id)
        ]
        return attempt

    def last_try(self, task: Task) -> Try:
        return max(t for t in self.executions if t.task == task)

    def skips(self, run: Run, task_id: str, index: int = -1) -> None:
        """The task is skipped before it starts."""
        self.is_now(self.task(run, task_id, index), TaskState.SKIPPED)
        self.of_run(run, over=all(s.finished for s in self.runs[run].tasks.values()))

    def is_asked(self, task: Task, *, at: float) -> None:
        """A try of the task is asked for."""
        self.asked.setdefault(task, []).append(minute(at))

    def is_cleared(self, run: Run, *tasks: Task) -> None:
        """Somebody asks the tasks, or all of the run, to run again."""
        for task in tasks or tuple(self.runs[run].tasks):
            self.is_now(task, TaskState.WAITING)
        self.of_run(run, over=False)

    def pulls(
        self,
        asset: str,
        key: str | None = "h5",
        *,
        at: float,
        naming: Iterable[str] | None = None,
        severity: Severity = Severity.STOP,
    ) -> int:
        """Somebody pulls the cord on the partition; it names the last version unless told otherwise."""
        self.now = max(self.now, at)
        if naming is None:
            last = current(self.versions(asset, key))
            naming = [last.id] if last else []
        cord = len(self.halts) + 1
        self.halts.append(Halt(cord, self.part(asset, key), severity, minute(at), frozenset(naming)))
        return cord

    def releases(self, cord: int, outcome: Outcome = FIXED, *, at: float) -> None:
        self.now = max(self.now, at)
        self.halts = [
            replace(h, outcome=outcome, ended=minute(at)) if h.cord == cord else h for h in self.halts
        ]

    def absorbs(self, run: Run, *, at: float) -> None:
        """The brake gives an event of this moment to the run, instead of a new one."""
        self.of_run(run, absorbed=(*self.runs[run].absorbed, minute(at)))

    # What the rules make of it

    def facts(self, now: float | None = None) -> Facts:
        readers: dict[Partition, set[Run]] = {}
        for run, known in self.runs.items():
            parts = {self.part(a, known.key) for a in self.dags[run.dag_id].reads}
            for part in parts | self.also_reads.get(run, set()):
                readers.setdefault(part, set()).add(run)
        return Facts(
            now=minute(self.now if now is None else now),
            halts=tuple(self.halts),
            publications=tuple(self.publications),
            executions=tuple(self.executions.values()),
            half_written=tuple(self.halves),
            runs=dict(self.runs),
            readers={p: frozenset(r) for p, r in readers.items()},
            inlets=dict(self.inlets),
            cleared=frozenset(self.cleared),
            repaired=dict(self.repaired),
            let_through=dict(self.let_through),
            approved=dict(self.approved),
            survivors=dict(self.survivors),
            asked=dict(self.asked),
        )

    def versions(self, asset: str, key: str | None = "h5") -> tuple[Version, ...]:
        """The versions that are whole, or were to be: without those that are being put together."""
        return tuple(v for v in all_versions(self.facts()).get(self.part(asset, key), ()) if not v.partial)

    def version_ids(self, asset: str, key: str | None = "h5") -> list[str]:
        return [v.id for v in self.versions(asset, key)]

    def judged(self) -> Judgement:
        return judge(self.facts())

    def plan(self, now: float | None = None) -> Plan:
        return decide(self.facts(now))

    def plan_of(self, run: Run, now: float | None = None) -> RunPlan:
        return self.plan(now).runs[run]

    def labels(self, run: Run) -> set[Label]:
        return set(self.plan_of(run).labels)

    def is_bad(self, asset: str, key: str | None = "h5") -> bool:
        return self.part(asset, key) in self.judged().bad_partitions

    def saw_bad(self, run: Run, task_id: str = "make", index: int = -1) -> bool:
        return self.last_try(self.task(run, task_id, index)) in self.judged().seen

    def owed(self, run: Run) -> set[str]:
        """The tasks that the Dag owes for the key of the run."""
        return {task_id for task_id, _ in self.plan().accounts[self.runs[run].group].owed}

    def payer(self, run: Run) -> Run | None:
        """Who pays for the key of the run."""
        return self.plan().accounts[self.runs[run].group].payer

    def cleared_tasks(self, run: Run) -> set[str]:
        return {t.task_id for t in self.plan_of(run).clear}
