"""D4 and D5: which task instances owe a run on good data, and which Dag run pays."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_lean_provider.rules.absence import had_nothing_to_read, not_forgiven, reads_only_absent
from airflow_lean_provider.rules.badness import Judgement, ended_of_itself
from airflow_lean_provider.rules.facts import (
    Cause,
    Ending,
    Execution,
    Facts,
    Origin,
    Outcome,
    Run,
    RunFacts,
    Task,
    TaskState,
)
from airflow_lean_provider.rules.starts import bad_reads

if TYPE_CHECKING:
    from collections.abc import Iterable

Group = tuple[str, str]
Instance = tuple[str, int]
"""Task id and map index: one task instance, whichever run of its group runs it."""


@dataclass(frozen=True, slots=True)
class Account:
    """
    What one group of runs owes.

    :param owed: the instances that must run again, whether or not they can already
    :param payer: the run that pays, None if nobody can
    :param clear: the task instances of the payer that have to be cleared now
    :param superseded: the runs that need not run
    :param failed: runs that tried to pay on good data and failed
    :param causes: what the unpaid debts were incurred for
    """

    group: Group
    owed: frozenset[Instance] = frozenset()
    payer: Run | None = None
    clear: frozenset[Task] = frozenset()
    superseded: frozenset[Run] = frozenset()
    failed: frozenset[Run] = frozenset()
    owing_runs: frozenset[Run] = frozenset()
    causes: frozenset[Cause] = frozenset()


def accounts(facts: Facts, judgement: Judgement) -> dict[Group, Account]:
    """Apply D4 and D5 to every group of runs that the facts name."""
    return _Books(facts, judgement).all()


def payments(facts: Facts, judgement: Judgement) -> dict[Run, frozenset[Execution]]:
    """Return, by run, what the others of its key have last run on good data: who has paid may be deleted."""
    good = [e for e in facts.executions if _ended_well(e) and e.attempt not in judgement.seen]
    last: dict[Group, dict[Instance, Execution]] = defaultdict(dict)
    for group, execution in _by_group(facts, good):
        last[group][execution.task.task_id, execution.task.map_index] = execution
    return {
        run: frozenset(e for e in last[known.group].values() if e.task.run != run)
        for run, known in facts.runs.items()
    }


def latest_of_groups(facts: Facts) -> dict[tuple[Group, Instance], Execution]:
    """Return the last try of each task instance, whichever run of its group has run it."""
    return {
        (group, (execution.task.task_id, execution.task.map_index)): execution
        for group, execution in _by_group(facts, facts.executions)
    }


def _by_group(facts: Facts, executions: Iterable[Execution]) -> list[tuple[Group, Execution]]:
    """Return the executions, and those of the runs that are gone, in the order in which they started."""
    found = {(facts.runs[e.task.run].group, e) for e in executions if e.task.run in facts.runs}
    found |= {(known.group, e) for known in facts.runs.values() for e in known.paid}
    return sorted(found, key=lambda each: (each[1].started, each[1].attempt))


class _Books:
    """The accounts, each made once: one of a child run asks for that of the run that triggered it."""

    def __init__(self, facts: Facts, judgement: Judgement) -> None:
        self._facts = facts
        self._judgement = judgement
        self._groups: dict[Group, list[RunFacts]] = defaultdict(list)
        for run in facts.runs.values():
            self._groups[run.group].append(run)
        self._executions: dict[Run, list[Execution]] = defaultdict(list)
        for execution in sorted(facts.executions, key=lambda e: (e.started, e.attempt)):
            self._executions[execution.task.run].append(execution)
        self._in_group: dict[Group, list[Execution]] = defaultdict(list)
        for group, execution in _by_group(facts, facts.executions):
            self._in_group[group].append(execution)
        self._made: dict[Group, Account] = {}

    def all(self) -> dict[Group, Account]:
        for group in self._groups:
            self._of(group)
        return self._made

    def _of(self, group: Group) -> Account:
        if group not in self._made:
            self._made[group] = Account(group)  # two runs that trigger each other anew supersede neither
            self._made[group] = self._account(group)
        return self._made[group]

    def _account(self, group: Group) -> Account:
        facts, judgement = self._facts, self._judgement
        orphans = {m.run for m in self._groups[group] if self._is_superseded_child(m)}
        members = [m for m in self._groups[group] if m.run not in orphans]
        in_group = self._in_group.get(group, [])
        live = {
            (t.task_id, t.map_index)
            for m in members
            for t, s in m.tasks.items()
            if s is not TaskState.REMOVED and t not in m.marked
        }
        owed: set[Instance] = set()
        owing_runs: set[Run] = set()
        failed: set[Run] = set()
        causes: set[Cause] = set()
        for instance in live:
            history = [e for e in in_group if (e.task.task_id, e.task.map_index) == instance]
            debts = [
                (e, unpaid)
                for e in history
                if self._counts(e, orphans) and (unpaid := _unpaid(e, history, facts, judgement))
            ]
            unread = _runs_with_unread_events(judgement, members, instance, history)
            if debts or unread:
                owed.add(instance)
                owing_runs |= unread | {e.task.run for e, _ in debts}
                causes |= {c for _, unpaid in debts for c in unpaid}
            if debts:
                failed |= _failed_payers(facts, judgement, history, debts[-1][0])
        able = [m for m in members if m.run not in failed]
        kept_back = {m.run for m in able if m.kept_back}
        candidates = [m for m in able if m.goes_on] or [m for m in able if m.run in owing_runs]
        payer = max(candidates, key=lambda m: (m.origin is Origin.ASSETS, m.order), default=None)
        superseded = ((kept_back | owing_runs) - {payer.run} if payer is not None else set()) | {
            m.run for m in self._groups[group] if m.run in orphans
        }
        return Account(
            group,
            frozenset(owed),
            payer.run if payer is not None else None,
            self._to_clear(payer, owed) if payer is not None else frozenset(),
            frozenset(superseded),
            frozenset(failed),
            frozenset(owing_runs),
            frozenset(causes),
        )

    def _to_clear(self, payer: RunFacts, owed: set[Instance]) -> frozenset[Task]:
        """
        Return the payer's finished instances whose debt is due, with what follows them.

        And with what they follow, if another run has paid for that: in this one it would hand on what it saw.
        What follows may read what they are about to repair: D3 keeps it back until then.
        """
        judgement = self._judgement
        due = {
            t
            for t, s in payer.tasks.items()
            if (t.task_id, t.map_index) in owed and s.finished and t not in payer.marked
            if not bad_reads(judgement, t.run, t.task_id)
        }
        before = frozenset().union(*(payer.shape.upstream.get(t.task_id, frozenset()) for t in due))
        latest = {e.task: e for e in self._executions.get(payer.run, ())}
        hands_on = {
            t
            for t, e in latest.items()
            if t.task_id in before and e.attempt in judgement.seen and t not in payer.marked
            if not reads_only_absent(judgement, payer, t.task_id)
        }
        chosen = {t.task_id for t in due | hands_on}
        following = {other for task_id in chosen for other in payer.shape.downstream(task_id)}
        again = due | hands_on | {t for t in payer.tasks if t.task_id in following}
        return frozenset(
            t
            for t in again & payer.tasks.keys()
            if payer.tasks[t].finished and payer.tasks[t] is not TaskState.REMOVED
        )

    def _counts(self, execution: Execution, orphans: set[Run]) -> bool:
        """What is marked or gone owes nothing, nor does a run whose triggering task runs again."""
        run = self._facts.runs.get(execution.task.run)
        return run is not None and run.run not in orphans and _may_run_again(execution.task, run)

    def _is_superseded_child(self, run: RunFacts) -> bool:
        """D5: the task that triggered the run owes, was killed and will run again, or has run again since."""
        if run.parent is None or run.parent.run not in self._facts.runs:
            return False
        parent = self._facts.runs[run.parent.run]
        asked = max((m for t in run.tasks for m in self._facts.asked.get(t, ())), default=run.created)
        tries = [e for e in self._executions.get(parent.run, ()) if e.task == run.parent]
        if asked is not None and any(e.started > asked for e in tries):
            return True
        state = parent.tasks.get(run.parent)
        if tries and tries[-1].ending is Ending.STOPPED and state is not None and not state.finished:
            return True
        account = self._of(parent.group)
        owes = (run.parent.task_id, run.parent.map_index) in account.owed
        return (owes and parent.run in account.owing_runs) or parent.run in account.superseded


def _unpaid(
    execution: Execution, history: list[Execution], facts: Facts, judgement: Judgement
) -> frozenset[Cause]:
    """
    Return what the execution owes for: the causes that have ended, and that no later one has paid for.

    Whoever has ended well, without having seen anything that is bad for a cause, has paid for that cause.
    """
    owed = _debts(execution, facts, judgement)
    later = [e for e in history if e.started > execution.started and _ended_well(e)] if owed else []
    return frozenset(c for c in owed if all(c in judgement.seen.get(e.attempt, ()) for e in later))


def _debts(execution: Execution, facts: Facts, judgement: Judgement) -> frozenset[Cause]:
    """
    D4, first half: it ended of itself and saw what was bad for a cause that has ended as fixed.

    Or as withdrawn, while it also reads others: who has nothing left to read owes nothing, and what it owed
    by then is forgiven, though something is there again.
    """
    known = facts.runs[execution.task.run]
    if not ended_of_itself(execution) or execution.attempt not in judgement.seen:
        return frozenset()
    if reads_only_absent(judgement, known, execution.task.task_id):
        return frozenset()
    return frozenset(
        c
        for c in not_forgiven(judgement, known, execution)
        if judgement.endings.get(c) in (Outcome.FIXED, Outcome.WITHDRAWN)
    )


def _runs_with_unread_events(
    judgement: Judgement, members: list[RunFacts], instance: Instance, history: list[Execution]
) -> set[Run]:
    """
    D4, second half: an absorbed event is newer than the instance's last execution, and nobody has read it.

    Whoever has, and saw something bad, owes for that. Who has nothing left to read owes nothing for the event
    either, nor does what a person has marked, nor what is gone.
    """
    paid = max((e.started for e in history if _ended_well(e)), default=None)
    unread = set()
    for member in members:
        if not member.absorbed or reads_only_absent(judgement, member, instance[0]):
            continue
        if not _may_run_again(Task(*member.run, *instance), member):
            continue
        mine = [e.started for e in history if e.task.run == member.run]
        newest = max(member.absorbed)
        forgiven = had_nothing_to_read(judgement, member, instance[0], newest)
        if mine and max(mine) < newest and (paid is None or paid < newest) and forgiven is None:
            unread.add(member.run)
    return unread


def _may_run_again(task: Task, run: RunFacts) -> bool:
    return task not in run.marked and run.tasks.get(task) is not TaskState.REMOVED


def _ended_well(execution: Execution) -> bool:
    """It has looked at the data, even if it found nothing to do there and skipped itself."""
    return execution.ending in (Ending.SUCCESS, Ending.SKIPPED)


def _failed_payers(facts: Facts, judgement: Judgement, history: list[Execution], debt: Execution) -> set[Run]:
    return {
        e.task.run
        for e in history
        if e.started > debt.started
        and e.ending is Ending.FAILED
        and e.attempt not in judgement.seen
        and facts.runs[e.task.run].tasks.get(e.task) is TaskState.FAILED
    }
