"""
Settling: making Airflow equal to what the definitions say.

A pull, a publication, a release and the sweeper all end here. One step is one transaction: it gathers the
facts, lets the rules decide, and either commits the halts of partitions that have become bad, or acts on
the runs. Halts are always committed before their readers are looked for, so that a start that did not see
the halt is seen by the next look. Steps are repeated until one finds nothing to do.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select, union

from airflow_lean_provider.airflow_internals import holding, notes
from airflow_lean_provider.airflow_internals.absorbing import absorb_pending
from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.airflow_internals.queueing import absorb_queued
from airflow_lean_provider.brake import ledger, scopes
from airflow_lean_provider.brake.acting import carry_out, renew_notes
from airflow_lean_provider.brake.clocks import start_clocks, stop_clocks
from airflow_lean_provider.brake.scene import Scene, look
from airflow_lean_provider.rules.facts import Ending, Outcome, Partition, Run, Task, TaskState
from airflow_lean_provider.rules.plan import Label, Plan, decide, waits_for
from airflow_lean_provider.rules.versions import is_named_by_pull
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import AffectedRun, Cord, CordPartition, CordScope
from airflow_lean_provider.store.transactions import in_transaction, lock_switch

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

RUNS_AT_ONCE = 100
"""How many runs one transaction changes."""

NAMED_AT_MOST = 3
"""How many tasks or runs are named of those that something waits for."""

STEPS_AT_MOST = 10_000
"""A guard against a bug of ours: the steps that one call takes before it gives up and says so."""


def settle(timeout: float | None = None, *, cord: int | None = None) -> bool:
    """
    Repeat steps until there is nothing to do.

    :param timeout: seconds after which to stop, with the rest left to the sweeper
    :param cord: it is enough that this one is settled: of many that are pulled at once, one settles all
    :return: whether everything was settled
    """

    def next_step(session: Session) -> bool:
        return (cord is not None and _was_settled(cord, session)) or step(session)

    give_up = None if timeout is None else time.monotonic() + timeout
    for _ in range(STEPS_AT_MOST):
        if in_transaction(next_step):
            return True
        if give_up is not None and time.monotonic() > give_up:
            return False
    log.error(
        "The andon cord found something to do %s times in a row; this is a bug, please report it",
        STEPS_AT_MOST,
    )
    return False


def _was_settled(cord: int, session: Session) -> bool:
    """Whether somebody has found nothing more to do since it was pulled; whoever is at it is waited for."""
    lock_switch(session)
    return session.scalar(select(Cord.settled_at).where(Cord.id == cord)) is not None


def settle_what_was_asked(timeout: float | None = None, *, cord: int | None = None) -> bool:
    """
    Settle what somebody has just had recorded; never raises, the sweeper finishes what fails here.

    Whoever asked has to learn that it is recorded, not that something broke afterwards, and ask again.

    :param cord: as in :func:`settle`
    :return: whether everything was settled
    """
    try:
        return settle(timeout, cord=cord)
    except Exception:  # see above
        log.exception("What was asked of the andon cord is recorded; the sweeper will go on with it")
        return False


def step(session: Session) -> bool:
    """
    Carry out one step.

    Locks are taken in one order, in which nobody else's transaction stands across: runs, then task instances;
    what is taken from Airflow's queues is committed before any of them is locked. A release comes last:
    what was made while the halt was open, and has not started, is held first.

    :return: whether there was nothing to do
    """
    if not lock_switch(session).enabled:
        return True
    scopes.cover_what_was_published(session)
    if absorb_queued(session):
        return False
    scene = look(session)
    plan = decide(scene.facts, scene.judgement)
    if ledger.publish_halts(plan, session=session):
        return False
    acting = sorted(run for run, p in plan.runs.items() if p.acts)[:RUNS_AT_ONCE]
    if acting:
        locked = holding.lock_runs(acting, session=session)
        scene = look(session)
        plan = decide(scene.facts, scene.judgement)
        if ledger.publish_halts(plan, session=session):
            return False
        plans = [plan.runs[run] for run in locked if run in plan.runs and plan.runs[run].acts]
        carry_out(plans, locked, scene, session=session)
    start_clocks(scene, session)
    ledger.lift_halts(plan, scene, session=session)
    ledger.keep_bad_versions(plan, scene, session=session)
    ledger.keep_withdrawn(plan, session=session)
    renew_notes(ledger.wait_for_another_cause(plan, scene), plan, scene, session)
    ledger.note_affected(plan, scene, acting, session=session)
    if acting or _mend(scene, session) or absorb_pending(session):
        return False
    if _end_what_was_asked(scene, plan, session):
        return False
    stop_clocks(scene, session)
    _close(plan, scene, session)
    return True


def _mend(scene: Scene, session: Session) -> bool:
    """
    Let go what is held and nobody knows why, and forget what was parked and is no longer.

    Both are left by races of a hold with a person or with another settle; everything is looked at again
    under its lock.
    """
    held = {run for run, row in scene.affected.items() if row.held}
    locked = holding.lock_runs(holding.orphans(held, session=session), session=session)
    for run, dag_run in locked.items():
        row = session.get(AffectedRun, tuple(run), populate_existing=True)
        if row is None or not row.held:
            holding.let_go(dag_run, now())
            notes.remove_notes([dag_run.id], session)
            write_entries([Entry("andon release", run, "nothing holds it any more")], session)
    stale = [
        t
        for t in scene.parked
        if t.run not in scene.facts.runs or scene.facts.runs[t.run].tasks.get(t) is not TaskState.PARKED
    ]
    tis = holding.lock_tasks(stale, session=session)
    for task in stale:
        if task not in tis or not holding.is_parked(tis[task]):
            session.delete(scene.parked[task])
            if task in tis:
                notes.remove_task_notes([tis[task].id], session)
            told = f"somebody has set it to {tis[task].state}" if task in tis else "somebody has deleted it"
            write_entries([Entry("andon release", task.run, told, task)], session)
    session.flush()
    return bool(locked)


def _end_what_was_asked(scene: Scene, plan: Plan, session: Session) -> bool:
    """Let the releases take effect that people asked for and nothing stands against any more."""
    ended = False
    for row in session.scalars(
        select(CordPartition).where(CordPartition.outcome.is_(None), CordPartition.asked_outcome.is_not(None))
    ):
        if release_waits_for(row, scene, plan) is None:
            row.outcome = row.asked_outcome
            row.ended_at = now()
            ended = True
    return ended


class Awaits(NamedTuple):
    """
    What something waits for.

    :param text: in words, naming no Dag
    :param of: the task instances or runs in question
    """

    text: str
    of: tuple[Task | Run, ...] = ()

    def __str__(self) -> str:
        named = ", ".join(
            f"{o.dag_id}.{o.task_id} of {o.run_id}" if isinstance(o, Task) else f"{o.dag_id} {o.run_id}"
            for o in self.of[:NAMED_AT_MOST]
        )
        return f"{self.text}: {named}" if named else self.text


def release_waits_for(row: CordPartition, scene: Scene, plan: Plan) -> Awaits | None:
    """Say what an asked release still waits for, None if nothing."""
    if row.asked_outcome != Outcome.FIXED or row.forced:
        return None
    partition = Partition(row.asset_id, row.partition_key)
    tasks = waits_for(scene.facts, plan, partition)
    if tasks:
        states = {scene.facts.runs[t.run].tasks[t].value for t in tasks}
        return Awaits(f"{len(tasks)} task(s) that publish it ({', '.join(sorted(states))})", tuple(tasks))
    if row.after_publication and not _is_published_again(row, partition, scene, plan):
        failed = sorted(
            t
            for run in scene.facts.runs.values()
            for t, state in run.tasks.items()
            if state is TaskState.FAILED and partition in run.outlets(t.task_id)
        )
        return Awaits("its next publication" + ("; failed" if failed else ""), tuple(failed))
    return None


def _is_published_again(row: CordPartition, partition: Partition, scene: Scene, plan: Plan) -> bool:
    """Tell whether it was since that was asked, and not by the rest of what the pull had named."""
    halts = [h for h in scene.facts.halts if (h.cord, h.partition) == (row.cord_id, partition)]
    return any(
        v.complete
        and row.asked_at is not None
        and v.at > row.asked_at
        and not any(is_named_by_pull(v, halt) for halt in halts)
        for v in plan.judgement.versions.get(partition, ())
    )


def _close(plan: Plan, scene: Scene, session: Session) -> None:
    """Mark the cords as settled, and close those that nothing is left to do for."""
    busy = _busy(plan, scene)
    not_ended = set(
        session.scalars(
            union(
                select(CordPartition.cord_id).where(CordPartition.outcome.is_(None)),
                select(CordScope.cord_id).where(CordScope.ended_at.is_(None)),
            )
        )
    )
    moment = now()
    still_open = False
    for cord in session.scalars(select(Cord).where(Cord.closed_at.is_(None))):
        cord.settled_at = cord.settled_at or moment
        if cord.id in busy | not_ended or None in busy:
            still_open = True
        else:
            cord.closed_at = moment
    if not still_open and not busy and not plan.halts:
        ledger.forget(scene, session=session)


def _busy(plan: Plan, scene: Scene) -> set[int | None]:
    """
    Return the cords that something is still to do for; None stands for all of them.

    A run that an absorbed event made owe knows no cord.
    """
    of_half_written: dict[Partition, set[int]] = defaultdict(set)
    for half in scene.facts.half_written:
        of_half_written[half.partition] |= half.cords
    causes = {c for found in plan.halts.values() for c in found}
    causes |= {
        cause
        for execution in scene.facts.executions
        if execution.ending is Ending.OPEN
        for cause in plan.judgement.seen.get(execution.attempt, ())
    }
    busy: set[int | None] = set()
    for account in plan.accounts.values():
        if account.owed:
            causes |= account.causes
            if not account.causes:
                busy.add(None)
    for run, run_plan in plan.runs.items():
        if run_plan.labels & {Label.HELD, Label.STOPPED, Label.STARTING}:
            row = scene.affected.get(run)
            causes |= run_plan.causes
            busy |= {c[0] for c in (row.causes if row is not None else ()) if c[0]}
    for cause in causes:
        busy |= {cause.cord} if cause.cord else of_half_written[cause.partition] or {None}
    return busy
