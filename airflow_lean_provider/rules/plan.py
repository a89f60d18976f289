"""What has to be done about the judgement: a plan as data, the same for a preview and for a pull."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from airflow_lean_provider.rules.badness import Cause, Judgement, ended_of_itself, judge
from airflow_lean_provider.rules.debts import Account, Group, accounts
from airflow_lean_provider.rules.facts import (
    Ending,
    Execution,
    Facts,
    Origin,
    Outcome,
    Partition,
    Run,
    RunFacts,
    Task,
    TaskState,
)
from airflow_lean_provider.rules.starts import bad_reads, may_start, survivors_of


class Label(str, Enum):
    """What the brake says of a run; several may be true at once."""

    HELD = "held"
    STOPPED = "stopped"
    TAINTED = "tainted"
    OWES = "owes"
    REPAIRING = "repairing"
    SUPERSEDED = "superseded"
    REPAIR_FAILED = "repair failed"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """
    What has to be done with one run.

    :param stop: executions to be killed, since they saw a bad version
    :param pull_back: task instances that were given to an executor or the scheduler and have not started
    :param park: task instances to be held inside the run, which goes on
    :param hold: hold the run as a whole
    :param release: let the run, or these parked task instances of it, go
    :param clear: finished task instances that have to run again
    :param skip: end the run without running it, since another one does its work
    """

    run: Run
    labels: frozenset[Label] = frozenset()
    causes: frozenset[Cause] = frozenset()
    reads_bad: frozenset[Partition] = frozenset()
    stop: tuple[Task, ...] = ()
    pull_back: tuple[Task, ...] = ()
    park: tuple[Task, ...] = ()
    unpark: tuple[Task, ...] = ()
    hold: bool = False
    release: bool = False
    clear: tuple[Task, ...] = ()
    skip: bool = False

    @property
    def acts(self) -> bool:
        """Tell whether anything has to be done at all."""
        return bool(
            self.stop
            or self.pull_back
            or self.park
            or self.unpark
            or self.hold
            or self.release
            or self.clear
            or self.skip
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What has to be done.

    :param halts: the partitions that may not be read, with the causes
    :param runs: what has to be done with each run, and what it is called
    """

    halts: Mapping[Partition, frozenset[Cause]]
    runs: Mapping[Run, RunPlan]
    judgement: Judgement
    accounts: Mapping[Group, Account] = field(default_factory=dict)

    def labelled(self, label: Label) -> list[Run]:
        """Return the runs that carry the label, in order."""
        return sorted(run for run, plan in self.runs.items() if label in plan.labels)


def decide(facts: Facts) -> Plan:
    """Apply all definitions to the facts and say what has to be done."""
    judgement = judge(facts)
    of_groups = accounts(facts, judgement)
    executions: dict[Run, list[Execution]] = defaultdict(list)
    for execution in facts.executions:
        executions[execution.task.run].append(execution)
    plans = {
        run: _plan_run(facts, judgement, known, of_groups[known.group], executions.get(run, []))
        for run, known in facts.runs.items()
    }
    return Plan(judgement.bad_partitions, plans, judgement, of_groups)


def holds_as_a_whole(run: RunFacts) -> bool:
    """
    Tell whether the run may be held by moving its ``run_after``.

    Airflow computes the next scheduled run, and the next window of an unpartitioned asset-triggered run,
    from the ``run_after`` of earlier ones: those are parked task by task.
    """
    if run.origin is Origin.SCHEDULE:
        return False
    return run.origin is not Origin.ASSETS or run.partitioned


def _plan_run(
    facts: Facts,
    judgement: Judgement,
    run: RunFacts,
    account: Account,
    executions: list[Execution],
) -> RunPlan:
    labels: set[Label] = set()
    saw_bad = [e for e in executions if e.attempt in judgement.seen]
    latest = {e.task: e for e in sorted(executions, key=lambda e: (e.started, e.attempt))}
    tainted = any(ended_of_itself(e) and latest[e.task] is e for e in saw_bad)
    causes = frozenset().union(
        *(judgement.seen[e.attempt] for e in saw_bad if latest[e.task] is e),
        *(judgement.bad_partitions[p] for t in run.tasks for p in bad_reads(judgement, run.run, t.task_id)),
    )
    owes = bool(account.owed) and run.run in account.owing_runs
    if any(e.ending is Ending.STOPPED and latest[e.task] is e for e in executions) and run.kept_back:
        labels.add(Label.STOPPED)
    if tainted:
        labels.add(Label.TAINTED)
    if run.run in account.superseded:
        labels.add(Label.SUPERSEDED)
    elif owes:
        labels.add(Label.OWES)
    if run.run in account.failed:
        labels.add(Label.REPAIR_FAILED)
    reads_bad = frozenset().union(*(bad_reads(judgement, run.run, t.task_id) for t in run.tasks))
    common = dict(run=run.run, causes=causes, reads_bad=reads_bad)

    if run.over:
        clear = account.clear if account.payer == run.run and not survivors_of(facts, run.run) else ()
        if clear:
            labels.add(Label.REPAIRING)
        return RunPlan(**common, labels=frozenset(labels), clear=tuple(sorted(clear)))

    unfinished = {t: s for t, s in run.tasks.items() if not s.finished}
    forbidden = {t for t in unfinished if not may_start(facts, judgement, t)}
    stop = (
        set()
        if run.shape.advisory
        else {
            e.task
            for e in saw_bad
            if e.ending is Ending.OPEN and unfinished.get(e.task) is TaskState.RUNNING
            and e.task.task_id not in run.shape.teardowns
        }
    )
    if forbidden:
        labels.add(Label.HELD)
        stop |= {t for t in forbidden if unfinished[t] is TaskState.RUNNING}
        if stop:
            labels.add(Label.STOPPED)
        pull_back = {t for t in forbidden if unfinished[t] is TaskState.QUEUED}
        goes_on = {
            t
            for t, s in unfinished.items()
            if t not in forbidden | stop
            and (t.task_id not in run.shape.teardowns or s is TaskState.RUNNING)
        }
        whole = holds_as_a_whole(run) and not goes_on
        return RunPlan(
            **common,
            labels=frozenset(labels),
            stop=tuple(sorted(stop)),
            pull_back=tuple(sorted(pull_back)),
            hold=whole and not run.held,
            park=()
            if whole or run.held
            else tuple(sorted(t for t in forbidden | stop if unfinished[t] is not TaskState.PARKED)),
        )
    if run.kept_back and survivors_of(facts, run.run):
        return RunPlan(**common, labels=frozenset(labels | {Label.STOPPED}), stop=tuple(sorted(stop)))
    parked = tuple(sorted(t for t, s in unfinished.items() if s is TaskState.PARKED))
    if run.run in account.superseded and run.kept_back:
        return RunPlan(**common, labels=frozenset(labels), skip=True)
    if run.kept_back and _reads_only_absent(run, judgement):
        return RunPlan(**common, labels=frozenset(labels), skip=True)
    clear = account.clear if account.payer == run.run else frozenset()
    if owes or clear:
        labels.add(Label.REPAIRING)
    return RunPlan(
        **common,
        labels=frozenset(labels),
        stop=tuple(sorted(stop)),
        release=run.held,
        unpark=parked,
        clear=tuple(sorted(clear)),
    )


def _reads_only_absent(run: RunFacts, judgement: Judgement) -> bool:
    return bool(run.consumed) and run.consumed <= judgement.absent


def waits_for(facts: Facts, plan: Plan, partition: Partition) -> list[Task]:
    """
    Return what keeps a release as fixed from taking effect.

    It waits while a task that publishes the partition is tainted, owes, is stopped, cleared, queued, retrying
    or running.
    """
    waiting = []
    for run in facts.runs.values():
        for task, state in run.tasks.items():
            publishes = partition in run.outlets(task.task_id) or any(
                p.task == task and p.partition == partition for p in facts.publications
            )
            if not publishes or state is TaskState.REMOVED:
                continue
            instance = (task.task_id, task.map_index)
            account = plan.accounts.get(run.group)
            owes = account is not None and instance in account.owed and run.run in account.owing_runs
            last = max((e for e in facts.executions if e.task == task), key=lambda e: e.started, default=None)
            tainted = (
                last is not None
                and last.attempt in plan.judgement.seen
                and any(plan.judgement.endings.get(c) is not Outcome.FALSE_ALARM for c in plan.judgement.seen[last.attempt])
            )
            if not (run.over or state.finished) or owes or tainted:
                waiting.append(task)
    return sorted(waiting)
