"""What has to be done about the judgement: a plan as data, the same for a preview and for a pull."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from airflow_lean_provider.rules.absence import had_nothing_to_read, not_forgiven, reads_only_absent
from airflow_lean_provider.rules.badness import Judgement, ended_of_itself, judge
from airflow_lean_provider.rules.debts import Account, Group, accounts, latest_of_groups
from airflow_lean_provider.rules.facts import (
    Cause,
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
from airflow_lean_provider.rules.starts import alive, bad_reads, may_start
from airflow_lean_provider.rules.versions import current

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Label(str, Enum):
    """What the brake says of a run; several may be true at once."""

    HELD = "held"
    STOPPED = "stopped"
    TAINTED = "tainted"
    OWES = "owes"
    REPAIRING = "repairing"
    SUPERSEDED = "superseded"
    STARTING = "starting"
    """Released or cleared, and not started since."""
    REPAIR_FAILED = "repair failed"
    ASKS = "asks"
    """It waits for a person to say that it may be repaired."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """
    What has to be done with one run.

    :param may_owe: part of it is tainted for a cause that has not ended
    :param let_go: what was held or stopped of it has been let go, and has not started since
    :param stop: executions to be killed, since they saw a bad version
    :param pull_back: task instances that were given to an executor or the scheduler and have not started
    :param park: task instances to be held inside the run, which goes on
    :param hold: hold the run as a whole
    :param release: let the run, or these parked task instances of it, go
    :param tear_down: teardowns of killed tasks, which run before the run is held as a whole
    :param clear: finished task instances that have to run again
    :param skip: end the run without running it, since another one does its work
    :param leave_out: task instances that are skipped, since all that they read was withdrawn
    """

    run: Run
    labels: frozenset[Label] = frozenset()
    causes: frozenset[Cause] = frozenset()
    reads_bad: frozenset[Partition] = frozenset()
    may_owe: bool = False
    let_go: bool = False
    stop: tuple[Task, ...] = ()
    pull_back: tuple[Task, ...] = ()
    park: tuple[Task, ...] = ()
    unpark: tuple[Task, ...] = ()
    hold: bool = False
    release: bool = False
    tear_down: tuple[Task, ...] = ()
    clear: tuple[Task, ...] = ()
    skip: bool = False
    leave_out: tuple[Task, ...] = ()

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
            or self.tear_down
            or self.skip
            or self.leave_out
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


def decide(facts: Facts, judgement: Judgement | None = None) -> Plan:
    """
    Apply all definitions to the facts and say what has to be done.

    :param judgement: of these facts, if somebody has judged them already
    """
    judgement = judgement or judge(facts)
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
    said = _describe(judgement, run, account, executions)
    clear = tuple(sorted(account.clear)) if account.payer == run.run else ()
    if clear and not _may_repair(facts, run, clear, executions):
        clear = ()
        said = replace(said, labels=said.labels | {Label.ASKS})
    if any(alive(facts, t) for t in clear):
        clear = ()
    repairing = {Label.REPAIRING} if clear else set()
    if run.over:
        return replace(said, labels=said.labels | repairing, clear=clear, release=run.held)
    unfinished = {t: s for t, s in run.tasks.items() if not s.finished}
    surviving = {t for t in unfinished if alive(facts, t)}
    ends_by_itself = {
        t for t, s in unfinished.items() if s is TaskState.RUNNING and t.task_id in run.shape.finishes
    }
    read_bad = {t for t in unfinished if not may_start(facts, judgement, t)} - ends_by_itself
    forbidden = read_bad | surviving
    stop = _to_stop(facts, judgement, run, unfinished, forbidden, executions) - ends_by_itself
    said = replace(said, stop=tuple(sorted(stop)))
    if stop:
        said = replace(said, labels=said.labels | {Label.STOPPED})
    need_not_run = run.run in account.superseded or _reads_only_absent(run, judgement)
    if read_bad or (surviving and not (need_not_run and run.kept_back)):
        waits = Label.SUPERSEDED in said.labels
        said = replace(said, labels=said.labels | repairing, clear=clear)
        if not surviving and not stop and not waits:
            said = replace(said, tear_down=_to_tear_down(run, executions))
        if not waits:
            said = replace(
                said, leave_out=_to_leave_out(facts, judgement, run, unfinished.keys() - forbidden)
            )
        return _keep_back(said, run, unfinished, forbidden, waits)
    if run.kept_back and need_not_run and not _only_tears_down(run, unfinished):
        if {TaskState.RUNNING, TaskState.QUEUED} & set(unfinished.values()):
            return said
        return replace(said, skip=True, unpark=_parked(unfinished))
    if Label.OWES in said.labels:
        repairing = {Label.REPAIRING}
    return replace(
        said,
        labels=said.labels | repairing,
        release=run.held,
        unpark=_parked(unfinished),
        clear=tuple(sorted({*clear, *_to_set_up_again(run, unfinished)})) if run.kept_back else clear,
        leave_out=_to_leave_out(facts, judgement, run, unfinished.keys()),
    )


def _may_repair(facts: Facts, run: RunFacts, clear: tuple[Task, ...], executions: list[Execution]) -> bool:
    """Nothing in it asks for a person, or a person has said yes since what is to run again has run."""
    asking = {t for t in clear if t.task_id in run.shape.asks}
    last = max((e.started for e in executions if e.task in asking), default=None)
    approved = facts.approved.get(run.run)
    return not asking or (approved is not None and (last is None or approved > last))


def _to_leave_out(
    facts: Facts, judgement: Judgement, run: RunFacts, unfinished: Collection[Task]
) -> tuple[Task, ...]:
    """
    Return what was held when the last of what it reads was withdrawn, whether or not we had got to it.

    Not what was asked to run since: a setup, say, of what is repaired without the withdrawn partition.
    """
    kept = (TaskState.WAITING, TaskState.PARKED)
    return tuple(
        sorted(
            t
            for t in unfinished
            if run.tasks[t] in kept
            and t.task_id not in run.shape.teardowns
            and reads_only_absent(judgement, run, t.task_id)
            and not _is_asked_since(facts, judgement, run, t)
            and (run.kept_back or _was_held(facts, judgement, run, t))
        )
    )


def _is_asked_since(facts: Facts, judgement: Judgement, run: RunFacts, task: Task) -> bool:
    """Tell whether a try of the task was asked for after the last of what it reads was withdrawn."""
    withdrawn = had_nothing_to_read(judgement, run, task.task_id)
    return withdrawn is not None and any(moment > withdrawn for moment in facts.asked.get(task, ()))


def _was_held(facts: Facts, judgement: Judgement, run: RunFacts, task: Task) -> bool:
    """Tell whether the task was to run, and might not, when the last of what it reads was withdrawn."""
    if run.shape.advisory or run.run in facts.let_through:
        return False
    asked = max(facts.asked.get(task, ()), default=None)
    withdrawn = had_nothing_to_read(judgement, run, task.task_id)
    last = (current(judgement.versions.get(p, ())) for p in judgement.reading.of(run.run, task.task_id))
    return (
        asked is not None
        and withdrawn is not None
        and asked < withdrawn
        and any(v is not None and v.id in judgement.bad for v in last)
    )


def _describe(judgement: Judgement, run: RunFacts, account: Account, executions: list[Execution]) -> RunPlan:
    """Say what the run is called and why, before anything is decided."""
    latest = {e.task: e for e in sorted(executions, key=lambda e: (e.started, e.attempt))}
    saw_bad = [
        (e, causes)
        for e in latest.values()
        if e.task not in run.marked and (causes := not_forgiven(judgement, run, e))
    ]
    reads_bad = frozenset().union(*(bad_reads(judgement, run.run, t.task_id) for t in run.tasks))
    tainted = [e for e, _ in saw_bad if ended_of_itself(e)]
    labels: set[Label] = set()
    if run.kept_back and any(e.ending is Ending.STOPPED for e in latest.values()):
        labels.add(Label.STOPPED)
    if tainted:
        labels.add(Label.TAINTED)
    if run.run in account.superseded:
        labels.add(Label.SUPERSEDED)
    elif account.owed and run.run in account.owing_runs:
        labels.add(Label.OWES)
    if run.run in account.failed:
        labels.add(Label.REPAIR_FAILED)
    is_starting = _is_starting(run, executions)
    if is_starting:
        labels.add(Label.STARTING)
    return RunPlan(
        run.run,
        labels=frozenset(labels),
        causes=frozenset().union(
            *(causes for _, causes in saw_bad),
            *(judgement.bad_partitions[p] for p in reads_bad),
            account.causes if run.run in account.owing_runs or run.run == account.payer else (),
        ),
        reads_bad=reads_bad,
        may_owe=any(judgement.endings.get(c) is None for e in tainted for c in judgement.seen[e.attempt]),
        let_go=is_starting and any(not s.finished and _was_kept(latest.get(t)) for t, s in run.tasks.items()),
    )


def _was_kept(last: Execution | None) -> bool:
    """It never began, or was stopped; what has ended of itself was cleared, by a person or for a debt."""
    return last is None or not ended_of_itself(last)


def _is_starting(run: RunFacts, executions: list[Execution]) -> bool:
    if run.awaited is None or not run.goes_on or run.kept_back:
        return False
    return not any(e.started > run.awaited for e in executions)


def _to_stop(
    facts: Facts,
    judgement: Judgement,
    run: RunFacts,
    unfinished: Mapping[Task, TaskState],
    forbidden: set[Task],
    executions: list[Execution],
) -> set[Task]:
    """Return what runs and saw a bad version or reads a bad partition; teardowns are let finish."""
    if run.shape.advisory:
        return set()
    let_through = facts.let_through.get(run.run, frozenset())
    saw = {
        e.task
        for e in executions
        if e.ending is Ending.OPEN and judgement.seen.get(e.attempt, frozenset()) - let_through
    }
    return {
        t
        for t in saw | forbidden
        if unfinished.get(t) is TaskState.RUNNING and t.task_id not in run.shape.teardowns
    }


def _keep_back(
    said: RunPlan,
    run: RunFacts,
    unfinished: Mapping[Task, TaskState],
    forbidden: set[Task],
    waits: bool,
) -> RunPlan:
    """
    Hold the run as a whole if nothing of it can go on, else park what may not start.

    :param waits: what may start is not let go yet all the same
    """
    kept = forbidden | set(said.stop)
    goes_on = {*said.clear, *said.tear_down} | {
        t
        for t, s in unfinished.items()
        if t not in kept
        and t not in said.leave_out
        and (t.task_id not in run.shape.teardowns or s in (TaskState.RUNNING, TaskState.QUEUED))
    }
    whole = holds_as_a_whole(run) and not goes_on
    release = run.held and not whole and not waits
    return replace(
        said,
        labels=said.labels | {Label.HELD},
        pull_back=tuple(sorted(t for t in forbidden if unfinished[t] is TaskState.QUEUED)),
        hold=whole and not run.held,
        release=release,
        park=()
        if whole or (run.held and not release)
        else tuple(sorted(t for t in kept if unfinished[t] is not TaskState.PARKED)),
        unpark=() if waits else tuple(t for t in _parked(unfinished) if t not in kept),
    )


def _to_tear_down(run: RunFacts, executions: list[Execution]) -> tuple[Task, ...]:
    """Return the teardowns of killed tasks, once nothing that they serve runs any more."""
    latest = {e.task: e for e in sorted(executions, key=lambda e: (e.started, e.attempt))}
    found = set()
    for task, state in run.tasks.items():
        if task.task_id not in run.shape.teardowns or state not in (TaskState.WAITING, TaskState.PARKED):
            continue
        served = {t for t, needed in run.shape.scaffold.items() if task.task_id in needed}
        states = {t: s for t, s in run.tasks.items() if t.task_id in served}
        killed = any(
            t in latest and latest[t].ending is Ending.STOPPED and not s.finished for t, s in states.items()
        )
        setups = frozenset().union(*(run.shape.scaffold[t] for t in served)) - run.shape.teardowns
        is_set_up = all(s is TaskState.SUCCESS for t, s in run.tasks.items() if t.task_id in setups)
        if killed and is_set_up and TaskState.RUNNING not in states.values():
            found.add(task)
    return tuple(sorted(found))


def _to_set_up_again(run: RunFacts, unfinished: Mapping[Task, TaskState]) -> set[Task]:
    """Return the setups and teardowns of tasks that are to run although they were torn down already."""
    needed = frozenset().union(*(run.shape.scaffold.get(t.task_id, frozenset()) for t in unfinished))
    torn_down = any(
        s in (TaskState.SUCCESS, TaskState.FAILED)
        for t, s in run.tasks.items()
        if t.task_id in needed & run.shape.teardowns
    )
    return {t for t, s in run.tasks.items() if t.task_id in needed and s.finished} if torn_down else set()


def _only_tears_down(run: RunFacts, unfinished: Collection[Task]) -> bool:
    """Tell whether nothing is left but the teardown of what has run."""
    return bool(unfinished) and all(t.task_id in run.shape.teardowns for t in unfinished)


def _parked(unfinished: Mapping[Task, TaskState]) -> tuple[Task, ...]:
    return tuple(sorted(t for t, s in unfinished.items() if s is TaskState.PARKED))


def _reads_only_absent(run: RunFacts, judgement: Judgement) -> bool:
    return bool(run.tasks) and all(reads_only_absent(judgement, run, t.task_id) for t in run.tasks)


def waits_for(facts: Facts, plan: Plan, partition: Partition) -> list[Task]:
    """
    Return what keeps a release as fixed from taking effect.

    It waits while a task that publishes the partition is tainted, owes, is stopped, cleared, queued, retrying
    or running, or an old process of it may be alive; not for one that has ended and that its Dag has no more,
    nor for one that ends as skipped once nothing holds its run, since another run does its work.
    """
    published_by = {p.task for p in facts.publications if p.partition == partition}
    last = latest_of_groups(facts)
    waiting = []
    for run in facts.runs.values():
        account = plan.accounts[run.group]
        for task, state in run.tasks.items():
            is_gone = task.task_id not in run.shape.upstream and state.finished
            if state is TaskState.REMOVED or is_gone:
                continue
            if task not in published_by and partition not in run.outlets(task.task_id):
                continue
            owes = (task.task_id, task.map_index) in account.owed and run.run in account.owing_runs
            latest = last.get((run.group, (task.task_id, task.map_index)))
            tainted = (
                latest is not None
                and latest.attempt in plan.judgement.seen
                and latest.task not in run.marked
                and not reads_only_absent(plan.judgement, facts.runs[latest.task.run], task.task_id)
                and any(
                    plan.judgement.endings.get(c) is not Outcome.WITHDRAWN
                    for c in not_forgiven(plan.judgement, facts.runs[latest.task.run], latest)
                )
            )
            if _is_to_run(run, state, account) or owes or tainted or alive(facts, task):
                waiting.append(task)
    return sorted(waiting)


def _is_to_run(run: RunFacts, state: TaskState, account: Account) -> bool:
    """Tell whether the task instance runs, or will; in a superseded run, what has not begun is skipped."""
    if run.over or state.finished:
        return False
    is_kept = run.kept_back and state in (TaskState.WAITING, TaskState.PARKED)
    return not (is_kept and run.run in account.superseded)
