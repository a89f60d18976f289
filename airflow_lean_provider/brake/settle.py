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
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from airflow_lean_provider import settings
from airflow_lean_provider.airflow_internals import clearing, holding
from airflow_lean_provider.brake.scene import Scene, look
from airflow_lean_provider.rules.facts import Origin, Outcome, Partition, Run, Task, Try
from airflow_lean_provider.rules.plan import Label, Plan, RunPlan, decide, waits_for
from airflow_lean_provider.rules.versions import version_of_event
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import (
    AbsorbedEvent,
    AffectedRun,
    BadVersion,
    Cord,
    CordPartition,
    HaltedPartition,
    ParkedTask,
    StoppedTry,
)
from airflow_lean_provider.store.transactions import in_transaction, lock_switch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from airflow_lean_provider.rules.badness import Cause

log = logging.getLogger(__name__)

RUNS_AT_ONCE = 100
"""How many runs one transaction changes."""

STEPS_AT_MOST = 10_000
"""A guard against a bug of ours: the steps that one call takes before it gives up and says so."""


def settle(timeout: float | None = None) -> bool:
    """
    Repeat steps until there is nothing to do.

    :param timeout: seconds after which to stop, with the rest left to the sweeper
    :return: whether everything was settled
    """
    give_up = None if timeout is None else time.monotonic() + timeout
    for _ in range(STEPS_AT_MOST):
        if in_transaction(step):
            return True
        if give_up is not None and time.monotonic() > give_up:
            return False
    log.error(
        "The andon cord found something to do %s times in a row; this is a bug, please report it",
        STEPS_AT_MOST,
    )
    return False


def step(session: Session) -> bool:
    """
    Carry out one step.

    :return: whether there was nothing to do
    """
    if not lock_switch(session).enabled:
        return True
    scene = look(session)
    plan = decide(scene.facts)
    if _end_what_was_asked(scene, plan, session):
        return False
    if _publish_halts(plan, session):
        return False
    acting = sorted(run for run, p in plan.runs.items() if p.acts)[:RUNS_AT_ONCE]
    if acting:
        locked = holding.lock_runs(acting, session=session)
        session.expire_all()
        scene = look(session)
        plan = decide(scene.facts)
        if _publish_halts(plan, session):
            return False
        for run, dag_run in locked.items():
            run_plan = plan.runs.get(run)
            if run_plan is not None and run_plan.acts:
                _act(run_plan, dag_run, scene, session)
    _lift_halts(plan, session)
    _keep_bad_versions(plan, scene, session)
    _note_affected(plan, scene, set(acting), session)
    if acting:
        return False
    _close(plan, scene, session)
    return True


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


def release_waits_for(row: CordPartition, scene: Scene, plan: Plan) -> str | None:
    """Say what an asked release still waits for, None if nothing."""
    if row.asked_outcome != Outcome.FIXED or row.forced:
        return None
    partition = Partition(row.asset_id, row.partition_key)
    tasks = waits_for(scene.facts, plan, partition)
    if tasks:
        states = {scene.facts.runs[t.run].tasks[t].value for t in tasks}
        return f"{len(tasks)} task(s) that publish it ({', '.join(sorted(states))}): " + ", ".join(
            f"{t.dag_id}.{t.task_id} of {t.run_id}" for t in tasks[:3]
        )
    if row.after_publication and not any(
        v.complete and row.asked_at is not None and v.at > row.asked_at
        for v in plan.judgement.versions.get(partition, ())
    ):
        return "its next publication"
    return None


def _publish_halts(plan: Plan, session: Session) -> bool:
    """Write the halts of partitions that have become bad; True if there were any."""
    present = {Partition(h.asset_id, h.partition_key): h for h in session.scalars(select(HaltedPartition))}
    new = False
    for partition, causes in plan.halts.items():
        row = present.get(partition)
        written = causes_to_json(causes)
        if row is None:
            session.add(
                HaltedPartition(
                    asset_id=partition.asset,
                    partition_key=partition.key,
                    root=_is_root(partition, causes),
                    causes=written,
                    since=now(),
                )
            )
            new = True
        elif row.causes != written:
            row.causes = written
            row.root = _is_root(partition, causes)
    session.flush()
    return new


def _lift_halts(plan: Plan, session: Session) -> None:
    for row in session.scalars(select(HaltedPartition)):
        if Partition(row.asset_id, row.partition_key) not in plan.halts:
            session.delete(row)
    session.flush()


def _is_root(partition: Partition, causes: frozenset[Cause]) -> bool:
    return any(c.cord and c.partition == partition for c in causes)


def causes_to_json(causes: frozenset[Cause]) -> list[Any]:
    """Write causes as ``[cord, asset, key]`` triples, in order."""
    return sorted(
        ([c.cord, c.partition.asset, c.partition.key] for c in causes), key=lambda c: [str(x) for x in c]
    )


def _act(plan: RunPlan, dag_run: Any, scene: Scene, session: Session) -> None:
    if plan.skip:
        _skip(plan, dag_run, scene, session)
        return
    touched = {*plan.stop, *plan.pull_back, *plan.park, *plan.unpark}
    tis = holding.lock_tasks(touched, session=session)
    _stop(plan, tis, scene, session)
    _park(plan, tis, scene, session)
    if plan.hold:
        _hold(plan, dag_run, scene, session)
    if plan.clear:
        clearing.clear(dag_run, plan.clear, session=session)
        holding.audit("andon repair", plan.run, _because(plan), session=session)
    _unpark(plan, tis, session)
    if plan.release:
        _release(plan.run, dag_run, scene, session)
    session.flush()


def _stop(plan: RunPlan, tis: Mapping[Task, Any], scene: Scene, session: Session) -> None:
    for task in (*plan.stop, *plan.pull_back):
        if (ti := tis.get(task)) is None:
            continue
        started = [e.started for e in scene.facts.executions if e.task == task and e.ended is None]
        attempt = Try(task, ti.try_number)
        alive = holding.stop(ti, session=session)
        if alive is None:
            continue
        if alive or (started and task in plan.stop):
            _remember_stop(attempt, min(started, default=now()), alive, scene, session)
        holding.audit("andon stop", plan.run, _because(plan), session=session, task=task)
    session.flush()


def _park(plan: RunPlan, tis: Mapping[Task, Any], scene: Scene, session: Session) -> None:
    for task in plan.park:
        if (ti := tis.get(task)) is not None and holding.park(ti):
            if task not in scene.parked:
                session.add(ParkedTask(**_key(task), parked_at=now()))
            holding.audit("andon hold", plan.run, _because(plan), session=session, task=task)


def _unpark(plan: RunPlan, tis: Mapping[Task, Any], session: Session) -> None:
    for task in plan.unpark:
        if (ti := tis.get(task)) is not None:
            holding.unpark(ti)
            session.execute(delete(ParkedTask).filter_by(**_key(task)))
            holding.audit("andon release", plan.run, "", session=session, task=task)


def _hold(plan: RunPlan, dag_run: Any, scene: Scene, session: Session) -> None:
    affected = scene.affected.get(plan.run)
    if affected is None:
        affected = AffectedRun(
            dag_id=plan.run.dag_id,
            run_id=plan.run.run_id,
            partition_key=scene.facts.runs[plan.run].key,
            since=now(),
            labels=[],
            causes=[],
            saw=[],
        )
        session.add(affected)
        scene.affected[plan.run] = affected
    affected.run_after = holding.hold(dag_run)
    affected.held = True
    holding.audit("andon hold", plan.run, _because(plan), session=session)


def _release(run: Run, dag_run: Any, scene: Scene, session: Session) -> None:
    affected = scene.affected[run]
    holding.let_go(dag_run, affected.run_after or now())
    affected.held = False
    affected.run_after = None
    holding.audit("andon release", run, "", session=session)


def _skip(plan: RunPlan, dag_run: Any, scene: Scene, session: Session) -> None:
    tasks = holding.task_instances_of([plan.run], session=session)[plan.run]
    tis = holding.lock_tasks(tasks, session=session)
    if scene.facts.runs[plan.run].held:
        _release(plan.run, dag_run, scene, session)
    for task in plan.unpark:
        session.execute(delete(ParkedTask).filter_by(**_key(task)))
    holding.end_as_skipped(dag_run, tis.values())
    holding.audit("andon skip", plan.run, "another run of this partition does its work", session=session)
    session.flush()


def _remember_stop(attempt: Try, started: Any, alive: bool, scene: Scene, session: Session) -> None:
    run = scene.facts.runs[attempt.task.run]
    written = run.outlets(attempt.task.task_id) | {
        p.partition for p in scene.facts.publications if p.task == attempt.task
    }
    moment = now()
    session.merge(
        StoppedTry(
            **_key(attempt.task),
            try_number=attempt.number,
            started_at=started,
            stopped_at=moment,
            gone_by=moment + (survival_time() if alive else timedelta(0)),
            outlets=[list(p) for p in sorted(written, key=str)],
        )
    )


def survival_time() -> timedelta:
    """Return for how long the process of a stopped task is waited for."""
    configured = settings.survival_time()
    return timedelta(seconds=configured) if configured else holding.survival()


def _because(plan: RunPlan) -> str:
    cords = sorted({c.cord for c in plan.causes if c.cord})
    return "andon cord " + ", ".join(map(str, cords)) if cords else "half-written by a stopped task"


def _keep_bad_versions(plan: Plan, scene: Scene, session: Session) -> None:
    """Keep what ``airflow db clean`` may take away: the events of the bad versions."""
    known = set(session.scalars(select(BadVersion.version)))
    publications = {version_of_event(p.id): p for p in scene.facts.publications}
    for version_id in plan.judgement.bad.keys() - known:
        publication = publications.get(version_id)
        if publication is None:
            continue
        task = publication.task
        session.add(
            BadVersion(
                version=version_id,
                asset_id=publication.partition.asset,
                partition_key=publication.partition.key,
                event_id=publication.id,
                dag_id=task.dag_id if task else None,
                run_id=task.run_id if task else None,
                task_id=task.task_id if task else None,
                map_index=task.map_index if task else None,
                published_at=publication.at,
            )
        )
    session.flush()


def _note_affected(plan: Plan, scene: Scene, acted: set[Run], session: Session) -> None:
    """Write down what the rules say of each run: what the pages show, and what absorbs events."""
    for run, run_plan in plan.runs.items():
        row = scene.affected.get(run)
        if row is not None and row.held and not scene.facts.runs[run].held and run not in acted:
            row.held = False
            row.run_after = None
        if not run_plan.labels and not (row is not None and row.held):
            if row is not None and run not in acted:
                session.delete(row)
            continue
        known = scene.facts.runs[run]
        if row is None:
            row = AffectedRun(dag_id=run.dag_id, run_id=run.run_id, since=now(), held=False)
            session.add(row)
        row.partition_key = known.key
        row.labels = sorted(label.value for label in run_plan.labels)
        row.causes = causes_to_json(run_plan.causes)
        row.saw = _saw(plan, scene, run, run_plan)
        row.absorbs = known.origin is Origin.ASSETS and not known.shape.advisory
        if row.waits_since is None or run in acted:
            row.waits_since = now()
    gone = scene.affected.keys() - plan.runs.keys()
    for run in gone:
        session.delete(scene.affected[run])
    session.flush()


def _saw(plan: Plan, scene: Scene, run: Run, run_plan: RunPlan) -> list[Any]:
    judgement = plan.judgement
    of_version = {v.id: v.partition for found in judgement.versions.values() for v in found}
    partitions = set(run_plan.reads_bad)
    for attempt, versions in judgement.sights.items():
        if attempt.task.run == run:
            partitions |= {of_version[v] for v in versions}
    return [list(p) for p in sorted(partitions, key=str)]


def _close(plan: Plan, scene: Scene, session: Session) -> None:
    """Mark the cords as settled, and close those that nothing is left to do for."""
    busy: set[int] = {c.cord for causes in plan.halts.values() for c in causes}
    waiting = {Label.HELD, Label.STOPPED, Label.OWES, Label.REPAIRING, Label.REPAIR_FAILED}
    for run_plan in plan.runs.values():
        if run_plan.labels & waiting:
            busy |= {c.cord for c in run_plan.causes}
    half_written = 0 in busy
    moment = now()
    for cord in session.scalars(select(Cord).where(Cord.closed_at.is_(None))):
        if cord.settled_at is None:
            cord.settled_at = moment
        open_partitions = session.scalar(
            select(CordPartition.id)
            .where(CordPartition.cord_id == cord.id, CordPartition.outcome.is_(None))
            .limit(1)
        )
        if open_partitions is None and cord.id not in busy and not half_written:
            cord.closed_at = moment
    still_open = session.scalar(select(Cord.id).where(Cord.closed_at.is_(None)).limit(1))
    if still_open is None and not plan.halts and not any(p.labels & waiting for p in plan.runs.values()):
        _forget(scene, session)


def _forget(scene: Scene, session: Session) -> None:
    """Nothing is open any more: keep the cords as history, and nothing that starts would have to ask."""
    for row in session.scalars(select(AffectedRun).where(AffectedRun.held.is_(False))):
        session.delete(row)
    for model in (BadVersion, AbsorbedEvent):
        session.execute(delete(model))
    session.execute(delete(StoppedTry).where(StoppedTry.gone_by < now()))


def _key(task: Task) -> Mapping[str, Any]:
    return dict(task._asdict())
