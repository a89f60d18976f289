"""Writing down what the rules say: the halts that every start asks, the affected runs, the bad versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, tuple_

from airflow_lean_provider.airflow_internals import holding
from airflow_lean_provider.airflow_internals.giving_back import give_back
from airflow_lean_provider.airflow_internals.statements import chunks
from airflow_lean_provider.rules.debts import payments
from airflow_lean_provider.rules.facts import Origin, Outcome, Partition
from airflow_lean_provider.rules.plan import Label
from airflow_lean_provider.rules.versions import current, version_of_event
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import (
    AbsorbedEvent,
    AffectedRun,
    BadVersion,
    ClearedVersion,
    HaltedPartition,
    StoppedTry,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.orm import Session

    from airflow_lean_provider.brake.scene import Scene
    from airflow_lean_provider.rules.facts import Cause, Run, RunFacts
    from airflow_lean_provider.rules.plan import Plan, RunPlan


def publish_halts(plan: Plan, *, session: Session) -> bool:
    """
    Write the halts of partitions that have become bad.

    :return: whether there were any
    """
    present = {Partition(h.asset_id, h.partition_key): h for h in session.scalars(select(HaltedPartition))}
    new = False
    for partition, causes in plan.halts.items():
        row = present.get(partition)
        if row is None:
            row = HaltedPartition(asset_id=partition.asset, partition_key=partition.key, since=now())
            session.add(row)
            new = True
        row.root = any(c.cord and c.partition == partition for c in causes)
        row.causes = causes_to_json(causes)
    session.flush()
    return new


def lift_halts(plan: Plan, scene: Scene, *, session: Session) -> None:
    """Take away the halts of partitions that are good again; what was halted since the look stays."""
    good = [row for row, partition in scene.halted.items() if partition not in plan.halts]
    if good:
        session.execute(delete(HaltedPartition).where(HaltedPartition.id.in_(good)))


def causes_to_json(causes: Collection[Cause]) -> list[Any]:
    """Write causes as ``[cord, asset, key]`` triples, in order."""
    return sorted(
        ([c.cord, c.partition.asset, c.partition.key] for c in causes), key=lambda c: [str(x) for x in c]
    )


def keep_bad_versions(plan: Plan, scene: Scene, *, session: Session) -> None:
    """Keep what may be taken away: the events of the bad versions, and why they are bad."""
    known = {row.version: row for row in session.scalars(select(BadVersion))}
    publications = {version_of_event(p.id): p for p in scene.facts.publications}
    began = {v.id: v.began for found in plan.judgement.versions.values() for v in found}
    for version, causes in plan.judgement.bad.items():
        if version in known:
            known[version].causes = causes_to_json(causes)
        elif (publication := publications.get(version)) is not None:
            task = publication.task
            session.add(
                BadVersion(
                    version=version,
                    asset_id=publication.partition.asset,
                    partition_key=publication.partition.key,
                    event_id=publication.id,
                    dag_id=task.dag_id if task else None,
                    run_id=task.run_id if task else None,
                    task_id=task.task_id if task else None,
                    map_index=task.map_index if task else None,
                    published_at=publication.at,
                    began_at=began[version],
                    causes=causes_to_json(causes),
                )
            )
    for version in known.keys() - plan.judgement.bad.keys():
        known[version].causes = []
    session.flush()


def keep_withdrawn(plan: Plan, *, session: Session) -> None:
    """Keep what went with what it was made from: nobody can tell any more once that is published again."""
    for partition, since in plan.judgement.newly_gone.items():
        last = current(plan.judgement.versions.get(partition, ()))
        if last is not None:
            session.add(
                ClearedVersion(
                    version=last.id,
                    asset_id=partition.asset,
                    partition_key=partition.key,
                    outcome=Outcome.WITHDRAWN.value,
                    reason="what it was made from was withdrawn",
                    cleared_by="andon",
                    cleared_at=since,
                )
            )
    session.flush()


def wait_for_another_cause(plan: Plan, scene: Scene) -> list[Run]:
    """Return the runs of which another cause is written down than what they wait for now."""
    return [
        run
        for run, row in scene.affected.items()
        if run in plan.runs
        and row.causes
        and plan.runs[run].causes
        and row.causes != causes_to_json(plan.runs[run].causes)
    ]


def note_affected(plan: Plan, scene: Scene, acted: Collection[Run], *, session: Session) -> None:
    """
    Write down what the rules say of each run: what people are shown, and what absorbs events.

    :param acted: the runs that were changed in this step: events are absorbed into them anew from now on
    """
    last_bad = _last_bad_reads(plan, scene)
    paid = payments(scene.facts, plan.judgement)
    done: list[Run] = []
    for run in scene.affected.keys() - plan.runs.keys():
        session.delete(scene.affected[run])
    for run, run_plan in plan.runs.items():
        row = scene.affected.get(run)
        known = scene.facts.runs[run]
        if not run_plan.labels:
            if row is not None and run not in acted:
                done.append(run)
            continue
        if row is None:
            row = AffectedRun(dag_id=run.dag_id, run_id=run.run_id, since=now(), held=False)
            session.add(row)
        row.partition_key = known.key
        row.labels = sorted(label.value for label in run_plan.labels)
        if run_plan.causes or not row.causes:
            row.causes = causes_to_json(run_plan.causes)
        row.saw = _saw(plan, run, run_plan)
        row.consumed = [list(p) for p in sorted(known.consumed | _inherited(plan, known), key=str)]
        row.paid = sorted([*e.task[1:], e.started.isoformat()] for e in paid[run])
        row.absorbs = (
            known.origin is Origin.ASSETS and not known.shape.advisory and _reads_again(plan, run_plan, known)
        )
        if row.waits_since is None or run in acted or last_bad.get(run, row.waits_since) > row.waits_since:
            row.waits_since = now()
    session.flush()
    for some in chunks(sorted(done)):
        session.execute(
            delete(AffectedRun).where(
                tuple_(AffectedRun.dag_id, AffectedRun.run_id).in_([tuple(r) for r in some]),
                AffectedRun.held.is_(False),
            )
        )
    owes_nothing = {r for r in scene.absorbed if r not in plan.runs or not plan.runs[r].labels} - set(acted)
    _give_back(owes_nothing & plan.runs.keys(), scene, session)
    _forget_absorbed(owes_nothing, scene, session)


def _give_back(runs: Collection[Run], scene: Scene, session: Session) -> None:
    """What was absorbed into a run that a person had marked by then, nobody would ever read."""
    marked = {run: max(scene.facts.runs[run].marked.values(), default=None) for run in runs}
    late = {
        run: moment
        for run, moment in marked.items()
        if moment is not None and any(at > moment for at in scene.facts.runs[run].absorbed)
    }
    for run, dag_run in holding.lock_runs(late, session=session).items():
        give_back(dag_run, late[run], session=session)


def _forget_absorbed(runs: Collection[Run], scene: Scene, session: Session) -> None:
    """What was absorbed since the scene was looked at stays."""
    for some in chunks([row for run in runs for row in scene.absorbed[run]]):
        session.execute(delete(AbsorbedEvent).where(AbsorbedEvent.id.in_(some)))


def _inherited(plan: Plan, run: RunFacts) -> frozenset[Partition]:
    """Return what the task read that triggered the run: the run of that one may be taken away."""
    parent = run.parent
    return plan.judgement.reading.of(parent.run, parent.task_id) if parent is not None else frozenset()


def _last_bad_reads(plan: Plan, scene: Scene) -> dict[Run, datetime]:
    """Return when the last execution started, by run, that saw a bad version: after it the run waits anew."""
    found: dict[Run, datetime] = {}
    for execution in scene.facts.executions:
        run = execution.task.run
        if execution.attempt in plan.judgement.seen:
            found[run] = max(execution.started, found.get(run, execution.started))
    return found


def _reads_again(plan: Plan, run_plan: RunPlan, run: RunFacts) -> bool:
    """Tell whether the run will read, owes, or may owe once the cords are released."""
    waits = run_plan.let_go or bool(run_plan.labels & {Label.HELD, Label.STOPPED})
    return waits or run_plan.may_owe or run.run in plan.accounts[run.group].owing_runs


def _saw(plan: Plan, run: Run, run_plan: RunPlan) -> list[Any]:
    judgement = plan.judgement
    of_version = {v.id: v.partition for found in judgement.versions.values() for v in found}
    partitions = set(run_plan.reads_bad)
    for attempt, versions in judgement.sights.items():
        if attempt.task.run == run:
            partitions |= {of_version[v] for v in versions}
    return [list(p) for p in sorted(partitions, key=str)]


def forget(scene: Scene, *, session: Session) -> None:
    """
    Nothing is open any more: keep the cords as history, and nothing that a start would have to ask.

    What was written since the scene was looked at stays, and is looked at next.
    """
    session.execute(delete(AffectedRun).where(AffectedRun.held.is_(False)))
    session.execute(delete(BadVersion))
    _forget_absorbed(scene.absorbed, scene, session)
    session.execute(delete(StoppedTry).where(StoppedTry.gone_by < now()))
