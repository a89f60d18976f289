"""D4 and D5: which task instances owe a run on good data, and which Dag run pays."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    from collections.abc import Mapping

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
    groups: dict[Group, list[RunFacts]] = defaultdict(list)
    for run in facts.runs.values():
        groups[run.group].append(run)
    executions: dict[Run, list[Execution]] = defaultdict(list)
    for execution in sorted(facts.executions, key=lambda e: (e.started, e.attempt)):
        executions[execution.task.run].append(execution)
    return {
        group: _account(facts, judgement, group, members, executions) for group, members in groups.items()
    }


def _account(
    facts: Facts,
    judgement: Judgement,
    group: Group,
    members: list[RunFacts],
    executions: Mapping[Run, list[Execution]],
) -> Account:
    in_group = sorted(
        (e for m in members for e in executions.get(m.run, ())), key=lambda e: (e.started, e.attempt)
    )
    live = {
        (t.task_id, t.map_index) for m in members for t, s in m.tasks.items() if s is not TaskState.REMOVED
    }
    owed: set[Instance] = set()
    owing_runs: set[Run] = set()
    failed: set[Run] = set()
    causes: set[Cause] = set()
    for instance in live:
        history = [e for e in in_group if (e.task.task_id, e.task.map_index) == instance]
        debtors = [e for e in history if _incurs_debt(e, facts, judgement)]
        last_debt = debtors[-1] if debtors else None
        paid = last_debt is not None and any(
            e.started > last_debt.started and _pays(e, judgement) for e in history
        )
        unread = _runs_with_unread_events(judgement, members, history)
        if (last_debt is not None and not paid) or unread:
            owed.add(instance)
            owing_runs |= unread
            if last_debt is not None and not paid:
                owing_runs |= {e.task.run for e in debtors}
                causes |= {c for e in debtors for c in judgement.seen[e.attempt]}
                failed |= _failed_payers(facts, judgement, history, last_debt)
    able = [m for m in members if m.run not in failed]
    kept_back = [m for m in able if m.kept_back]
    candidates = [m for m in able if not m.over] or [m for m in able if m.run in owing_runs]
    payer = max(candidates, key=lambda m: (m.origin is Origin.ASSETS, m.order), default=None)
    if payer is None:
        return Account(
            group,
            frozenset(owed),
            failed=frozenset(failed),
            owing_runs=frozenset(owing_runs),
            causes=frozenset(causes),
        )
    others = {m.run for m in kept_back} | owing_runs
    return Account(
        group,
        frozenset(owed),
        payer.run,
        _to_clear(judgement, payer, owed),
        frozenset(others - {payer.run}),
        frozenset(failed),
        frozenset(owing_runs),
        frozenset(causes),
    )


def _incurs_debt(execution: Execution, facts: Facts, judgement: Judgement) -> bool:
    """D4, first half: it ended of itself and saw what was bad for a cause that has ended as fixed."""
    if not ended_of_itself(execution):
        return False
    outcomes = {judgement.endings.get(c) for c in judgement.seen.get(execution.attempt, ())}
    if Outcome.FIXED in outcomes:
        return True
    return Outcome.WITHDRAWN in outcomes and _reads_others(facts, judgement, execution.task.run)


def _reads_others(facts: Facts, judgement: Judgement, run: Run) -> bool:
    consumed = facts.runs[run].consumed
    return not consumed or not consumed <= judgement.absent


def _runs_with_unread_events(
    judgement: Judgement, members: list[RunFacts], history: list[Execution]
) -> set[Run]:
    """D4, second half: an absorbed event is newer than the instance's last execution, and nobody has paid."""
    paid = max((e.started for e in history if _pays(e, judgement)), default=None)
    unread = set()
    for member in members:
        if not member.absorbed:
            continue
        mine = [e.started for e in history if e.task.run == member.run]
        newest = max(member.absorbed)
        if mine and max(mine) < newest and (paid is None or paid < newest):
            unread.add(member.run)
    return unread


def _pays(execution: Execution, judgement: Judgement) -> bool:
    return execution.ending is Ending.SUCCESS and execution.attempt not in judgement.seen


def _failed_payers(facts: Facts, judgement: Judgement, history: list[Execution], debt: Execution) -> set[Run]:
    return {
        e.task.run
        for e in history
        if e.started > debt.started
        and e.ending is Ending.FAILED
        and e.attempt not in judgement.seen
        and facts.runs[e.task.run].tasks.get(e.task) is TaskState.FAILED
    }


def _to_clear(judgement: Judgement, payer: RunFacts, owed: set[Instance]) -> frozenset[Task]:
    """
    Return the payer's finished instances whose debt is due, with what follows them.

    What follows may read what they are about to repair: D3 keeps it back until then.
    """
    due = {
        t
        for t, s in payer.tasks.items()
        if (t.task_id, t.map_index) in owed and s.finished and not bad_reads(judgement, t.run, t.task_id)
    }
    following = {other for t in due for other in payer.shape.downstream(t.task_id)}
    again = due | {t for t in payer.tasks if t.task_id in following}
    return frozenset(t for t in again if payer.tasks[t].finished and payer.tasks[t] is not TaskState.REMOVED)
