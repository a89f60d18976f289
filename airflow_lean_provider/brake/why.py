"""Why a run, or a task of it, waits: because of which partitions and cords, and for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from airflow_lean_provider.airflow_internals.assets import names_of
from airflow_lean_provider.airflow_internals.health import UsedLimit, used_up
from airflow_lean_provider.airflow_internals.runs import known_runs
from airflow_lean_provider.brake.errors import NotFound
from airflow_lean_provider.brake.scene import Scene, look
from airflow_lean_provider.brake.settle import Awaits, release_waits_for
from airflow_lean_provider.rules.facts import Cause, Partition, Run, TaskState
from airflow_lean_provider.rules.plan import Label, Plan, RunPlan, decide
from airflow_lean_provider.rules.prospects import hopeless
from airflow_lean_provider.rules.starts import bad_reads, forbidden_reads
from airflow_lean_provider.store.models import Cord, CordPartition, LetThrough, StoppedTry
from airflow_lean_provider.store.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Reason:
    """
    One thing that keeps a run or a task waiting.

    :param partition: what is bad, None where it is something else
    :param stuck: nothing is going to make it good: a person has to declare what it is
    """

    awaits: Awaits
    cord: int | None = None
    partition: Partition | None = None
    asset: str | None = None
    reason: str | None = None
    pulled_by: str | None = None
    since: datetime | None = None
    stuck: bool = False


@dataclass(frozen=True, slots=True)
class Why:
    """
    Why a run or a task waits.

    :param waits: whether the brake keeps it, or something of it, from starting
    :param reads_bad: whether there is something that a person could let it read
    """

    run: Run
    labels: tuple[str, ...] = ()
    waits: bool = False
    reads_bad: bool = False
    let_through_by: str | None = None
    reasons: tuple[Reason, ...] = ()


def why(run: Run, task_id: str | None = None) -> Why:
    """
    Tell why a run waits: a reason for each partition that it waits for, and for all else that keeps it.

    :param task_id: only what keeps this task
    :raises NotFound: if there is no such run
    """

    def tell(session: Session) -> Why:
        known = known_runs([run], session=session).get(run)
        if known is None:
            raise NotFound("run", f"Dag {run.dag_id!r} has no run {run.run_id!r}")
        scene = look(session)
        plan = decide(scene.facts, scene.judgement)
        mine = plan.runs.get(run)
        if mine is None or not mine.labels:
            return Why(run, reasons=() if known.over else tuple(_awaits_room(run, scene, plan, session)))
        causes, read = _of_task(run, task_id, scene, plan) if task_id else (mine.causes, mine.reads_bad)
        return Why(
            run,
            labels=tuple(sorted(label.value for label in mine.labels)),
            waits=_waits(run, task_id, scene, mine) and (task_id is None or bool(causes)),
            reads_bad=_forbidden(run, task_id, scene, plan),
            let_through_by=session.scalar(
                select(func.max(LetThrough.let_by)).where(
                    LetThrough.dag_id == run.dag_id, LetThrough.run_id == run.run_id
                )
            ),
            reasons=tuple(_reasons(run, mine, causes, read, scene, plan, session, of_task=bool(task_id))),
        )

    return in_transaction(tell)


def _reasons(
    run: Run,
    mine: RunPlan,
    causes: frozenset[Cause],
    read: frozenset[Partition],
    scene: Scene,
    plan: Plan,
    session: Session,
    *,
    of_task: bool,
) -> list[Reason]:
    cords = {c.id: c for c in session.scalars(select(Cord))}
    stuck = sorted(read & hopeless(scene.facts, plan), key=str)
    names = names_of({p.asset for p in stuck} | {c.partition.asset for c in causes}, session=session)
    affected = scene.affected.get(run)
    person = awaits_person(run, mine)
    told = []
    for cause in sorted(causes, key=str):
        cord = cords.get(cause.cord)
        told.append(
            Reason(
                person or _awaits(cause, scene, plan, session),
                cord=cause.cord or None,
                partition=cause.partition,
                asset=names.get(cause.partition.asset),
                reason=cord.reason if cord else "half-written by a task that was stopped",
                pulled_by=cord.pulled_by if cord else None,
                since=affected.since if affected else (cord.pulled_at if cord else None),
            )
        )
    told += [way_out(partition, names) for partition in stuck]
    if not told and not of_task:
        told.append(Reason(person or _awaits_process(run, session)))
    return told


def _of_task(
    run: Run, task_id: str, scene: Scene, plan: Plan
) -> tuple[frozenset[Cause], frozenset[Partition]]:
    """Return why what the task reads is bad, or what it has seen, and the bad partitions that it reads."""
    judgement = plan.judgement
    read = bad_reads(judgement, run, task_id)
    causes = frozenset[Cause]().union(*(judgement.bad_partitions[p] for p in read))
    for attempt, seen in judgement.seen.items():
        if attempt.task.run == run and attempt.task.task_id == task_id:
            causes |= seen
    return causes & plan.runs[run].causes, read


def _waits(run: Run, task_id: str | None, scene: Scene, mine: RunPlan) -> bool:
    known = scene.facts.runs[run]
    if known.over:
        return False
    if known.held or mine.hold:
        return True
    parked = {t for t, state in known.tasks.items() if state is TaskState.PARKED} | set(mine.park)
    return any(task_id in (None, t.task_id) for t in parked)


def _forbidden(run: Run, task_id: str | None, scene: Scene, plan: Plan) -> bool:
    known = scene.facts.runs[run]
    if known.over:
        return False
    task_ids: Iterable[str] = (
        [task_id] if task_id else {t.task_id for t in known.tasks} | {*known.shape.upstream}
    )
    return any(forbidden_reads(scene.facts, plan.judgement, run, t) for t in task_ids)


def way_out(partition: Partition, names: dict[int, str]) -> Reason:
    """Tell of a bad version that has no natural end, and of what a person can do."""
    name, key = names.get(partition.asset, "?"), partition.key
    named = f"{name} -p {key}" if key is not None else name
    return Reason(
        Awaits(f"its publication, or a person: 'airflow andon declare {named} --as fixed --reason ...'"),
        partition=partition,
        asset=name,
        reason="bad, and nothing is going to make it good",
        stuck=True,
    )


def limits_used_up(scene: Scene, plan: Plan, session: Session) -> list[UsedLimit]:
    """Tell which of Airflow's own limits are used up by what the plan holds."""
    held = {
        run
        for run, p in plan.runs.items()
        if p.hold or (scene.facts.runs[run].held and not (p.release or p.skip))
    }
    parked = {t for p in plan.runs.values() for t in p.park} | {
        t for run in scene.facts.runs.values() for t, s in run.tasks.items() if s is TaskState.PARKED
    }
    parked -= {t for p in plan.runs.values() for t in p.unpark}
    return [limit for limit in used_up(held, parked, session=session) if limit.is_full]


def awaits_person(run: Run, plan: RunPlan) -> Awaits | None:
    """Say how a person lets a run be repaired that asks first."""
    if Label.ASKS in plan.labels:
        return Awaits(f"a person: 'airflow andon repair --run {run.dag_id} {run.run_id}'")
    return None


def _awaits_room(run: Run, scene: Scene, plan: Plan, session: Session) -> list[Reason]:
    """Tell of the limits of the run's own Dag that others which are held use up."""
    return [
        Reason(Awaits(f"room: {limit} used up by what is held"))
        for limit in limits_used_up(scene, plan, session)
        if limit.dag_id in (None, run.dag_id)
    ]


def _awaits(cause: Cause, scene: Scene, plan: Plan, session: Session) -> Awaits:
    if not cause.cord:
        writers = {
            v.run
            for v in plan.judgement.versions.get(cause.partition, ())
            if not v.complete and not v.partial and v.run is not None
        }
        return Awaits("the next publication by", tuple(sorted(writers)))
    row = session.scalar(
        select(CordPartition).where(
            CordPartition.cord_id == cause.cord,
            CordPartition.asset_id == cause.partition.asset,
            CordPartition.partition_key.is_not_distinct_from(cause.partition.key),
        )
    )
    if row is None or row.outcome is not None:
        return Awaits("the repair of what it reads")
    if row.asked_outcome is None:
        return Awaits("the release of the cord")
    return release_waits_for(row, scene, plan) or Awaits("nothing any more")


def _awaits_process(run: Run, session: Session) -> Awaits:
    gone_by = session.scalar(
        select(func.max(StoppedTry.gone_by)).where(
            StoppedTry.dag_id == run.dag_id, StoppedTry.run_id == run.run_id
        )
    )
    return Awaits(
        f"the end of the process that was stopped, at the latest {gone_by}" if gone_by else "the sweeper"
    )
