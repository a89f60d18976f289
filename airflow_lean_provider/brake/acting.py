"""Carrying out the plans of runs: stop, park, hold, clear, release, skip; all of them in a few statements."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, tuple_

from airflow_lean_provider import settings
from airflow_lean_provider.airflow_internals import clearing, holding, notes
from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.rules.facts import Task, Try
from airflow_lean_provider.rules.starts import bad_reads
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import AffectedRun, ParkedTask, StoppedTry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy.orm import Session

    from airflow_lean_provider.brake.scene import Scene
    from airflow_lean_provider.rules.facts import Cause, Partition, Run
    from airflow_lean_provider.rules.plan import Plan, RunPlan


SKIPPED_NOTE = (
    "ended this run as skipped: another run of this partition does its work, or nothing is left to read."
)


def carry_out(
    plans: Collection[RunPlan], dag_runs: Mapping[Run, Any], scene: Scene, *, session: Session
) -> None:
    """
    Carry out the plans of runs that are locked.

    What has ended by itself meanwhile is left alone; the next step finds it in the facts.

    :param dag_runs: the locked Dag runs
    """
    touched = {
        t for p in plans for t in (*p.stop, *p.pull_back, *p.park, *p.unpark, *p.tear_down, *p.leave_out)
    }
    skipped = [p.run for p in plans if p.skip]
    touched |= {t for tasks in holding.task_instances_of(skipped, session=session).values() for t in tasks}
    tis = holding.lock_tasks(touched, session=session)
    trail: list[Entry] = []
    of_run: dict[Run, list[Any]] = defaultdict(list)
    for task, ti in tis.items():
        of_run[task.run].append(ti)
    _stop(plans, tis, scene, trail, session)
    for plan in plans:
        dag_run = dag_runs[plan.run]
        if plan.hold:
            _hold(plan, dag_run, scene, trail, session)
        _park(plan, tis, scene, trail, session)
        _let_go(plan, tis, trail)
        if plan.release or (plan.skip and scene.facts.runs[plan.run].held):
            _release(plan.run, dag_run, scene, trail)
        if plan.skip:
            holding.end_as_skipped(dag_run, of_run[plan.run])
            trail.append(Entry("andon skip", plan.run, "another run of this key does its work"))
    _note(plans, dag_runs, scene, session)
    _note_tasks(plans, tis, scene, session)
    let_go = {t for p in plans for t in (*p.unpark, *p.tear_down)}
    _forget_parked(let_go | {t for t in scene.parked if t.run in skipped}, session)
    again = {p.run: p.clear for p in plans if p.clear}
    clearing.clear({run: dag_runs[run] for run in again}, again, session=session)
    for plan in plans:
        if plan.clear:
            trail.append(Entry("andon repair", plan.run, because(plan)))
    write_entries(trail, session)
    session.flush()


def _let_go(plan: RunPlan, tis: Mapping[Task, Any], trail: list[Entry]) -> None:
    for task in plan.tear_down:
        if task in tis:
            holding.schedule(tis[task])
            trail.append(Entry("andon teardown", plan.run, because(plan), task))
    for task in set(plan.unpark) - set(plan.tear_down):
        if task in tis:
            holding.unpark(tis[task])
            trail.append(Entry("andon release", plan.run, "", task))
    for task in plan.leave_out:
        if task in tis and holding.leave_out(tis[task]):
            trail.append(Entry("andon skip", plan.run, "all that it reads was withdrawn", task))


def _note(plans: Collection[RunPlan], dag_runs: Mapping[Run, Any], scene: Scene, session: Session) -> None:
    """Say on the runs' own pages why they wait, and no longer when they do not."""
    held = {dag_runs[p.run].id: note_of(p, scene) for p in plans if p.hold}
    skipped = {
        dag_runs[p.run].id: "has another run of this partition do the work of this one."
        for p in plans
        if p.skip
    }
    notes.remove_notes([dag_runs[p.run].id for p in plans if p.release], session)
    notes.write_notes(held | skipped, session)


def _note_tasks(plans: Collection[RunPlan], tis: Mapping[Task, Any], scene: Scene, session: Session) -> None:
    """Say on the pages of what was stopped or parked why it waits, and no longer when it does not."""
    let_go = {t for p in plans for t in (*p.unpark, *p.tear_down, *p.leave_out)}
    still_parked = scene.parked.keys() - let_go
    ended = {p.run for p in plans if p.release or p.skip}
    noted = notes.task_notes_of({t.run for t in let_go} | ended, session)
    gone = [
        ti_id
        for task, ti_id in noted.items()
        if task in let_go or (task.run in ended and task not in still_parked)
    ]
    notes.remove_task_notes(gone, session)
    kept = {
        tis[task].id: note_of_task(task, plan, scene)
        for plan in plans
        for task in (*plan.stop, *plan.park)
        if task in tis and holding.waits(tis[task])
    }
    notes.write_task_notes(kept, session)


def renew_notes(runs: Collection[Run], plan: Plan, scene: Scene, session: Session) -> None:
    """Say in the notes of what is kept back why it waits now."""
    kept = [run for run in runs if scene.facts.runs[run].kept_back]
    notes.reword_notes({scene.known[run].id: note_of(plan.runs[run], scene) for run in kept}, session)
    noted = notes.task_notes_of(kept, session)
    notes.reword_task_notes(
        {ti_id: note_of_task(task, plan.runs[task.run], scene) for task, ti_id in noted.items()}, session
    )


def note_of(plan: RunPlan, scene: Scene) -> str:
    """Say on a run's own page why it is held."""
    return _told(plan.run, plan.causes, scene)


def note_of_task(task: Task, plan: RunPlan, scene: Scene) -> str:
    """Say on a task instance's own page why it is held: for what it reads itself, if it reads any of that."""
    judgement = scene.judgement
    own = (judgement.bad_partitions[p] for p in bad_reads(judgement, task.run, task.task_id))
    return _told(task.run, frozenset().union(*own) or plan.causes, scene)


def _told(run: Run, causes: Collection[Cause], scene: Scene) -> str:
    reasons = {c.cord: scene.reasons.get(c.cord, "") for c in causes if c.cord}
    told = "; ".join(f"{cord}: {reason}" for cord, reason in sorted(reasons.items()))
    return f"{told or '(half-written data)'} - held; 'airflow andon why {run.dag_id} {run.run_id}'"


def because(plan: RunPlan) -> str:
    """Say in one line, for the audit log, why something is done to a run."""
    cords = sorted({c.cord for c in plan.causes if c.cord})
    return "andon cord " + ", ".join(map(str, cords)) if cords else "half-written by a stopped task"


def _stop(
    plans: Collection[RunPlan],
    tis: Mapping[Task, Any],
    scene: Scene,
    trail: list[Entry],
    session: Session,
) -> None:
    started: dict[Task, datetime] = {
        e.task: e.started for e in scene.facts.executions if e.ended is None and e.task in tis
    }
    published: dict[Task, set[Partition]] = defaultdict(set)
    for publication in scene.facts.publications:
        if publication.task is not None and publication.task in tis:
            published[publication.task].add(publication.partition)
    ended: list[tuple[RunPlan, Try, bool]] = []
    with session.no_autoflush:
        for plan in plans:
            for task in (*plan.stop, *plan.pull_back):
                if (ti := tis.get(task)) is None:
                    continue
                attempt = Try(task, ti.try_number)
                alive = holding.stop(ti, session=session)
                if alive is not None:
                    ended.append((plan, attempt, alive))
    session.flush()
    for plan, attempt, alive in ended:
        task = attempt.task
        trail.append(Entry("andon stop", plan.run, because(plan), task))
        if (alive or (task in started and task in plan.stop)) and attempt not in scene.facts.survivors:
            written = scene.facts.runs[task.run].outlets(task.task_id) | published[task]
            session.add(_stopped(plan, attempt, started.get(task), alive, written))


def _stopped(
    plan: RunPlan, attempt: Try, started: datetime | None, alive: bool, written: Collection[Partition]
) -> StoppedTry:
    moment = now()
    return StoppedTry(
        **attempt.task._asdict(),
        try_number=attempt.number,
        started_at=started or moment,
        stopped_at=moment,
        gone_by=moment + (survival_time() if alive else timedelta(0)),
        outlets=[list(p) for p in sorted(written, key=str)],
        cords=sorted({c.cord for c in plan.causes if c.cord}),
    )


def survival_time() -> timedelta:
    """Return for how long the process of a stopped task is waited for, if its executor says nothing."""
    configured = settings.survival_time()
    return timedelta(seconds=configured) if configured else holding.survival()


def _park(plan: RunPlan, tis: Mapping[Task, Any], scene: Scene, trail: list[Entry], session: Session) -> None:
    parked = [task for task in plan.park if task in tis and holding.park(tis[task])]
    for task in parked:
        if task not in scene.parked:
            session.add(ParkedTask(**task._asdict(), parked_at=now()))
        trail.append(Entry("andon hold", plan.run, because(plan), task))
    holding.withdraw_questions([tis[task] for task in parked], session=session)


def _forget_parked(tasks: Collection[Task], session: Session) -> None:
    if tasks:
        session.execute(
            delete(ParkedTask).where(
                tuple_(ParkedTask.dag_id, ParkedTask.run_id, ParkedTask.task_id, ParkedTask.map_index).in_(
                    [tuple(t) for t in sorted(tasks)]
                )
            )
        )


def _hold(plan: RunPlan, dag_run: Any, scene: Scene, trail: list[Entry], session: Session) -> None:
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
            consumed=[],
            paid=[],
        )
        session.add(affected)
        scene.affected[plan.run] = affected
    stopped_clock = {k: v for k, v in (affected.was or {}).items() if k == "start_date"}
    affected.was = holding.state_of(dag_run) | stopped_clock
    affected.run_after = holding.hold(dag_run)
    affected.held = True
    trail.append(Entry("andon hold", plan.run, because(plan)))


def _release(run: Run, dag_run: Any, scene: Scene, trail: list[Entry]) -> None:
    affected = scene.affected[run]
    holding.let_go(dag_run, affected.run_after or now())
    affected.held = False
    affected.run_after = None
    affected.was = None
    trail.append(Entry("andon release", run, ""))
