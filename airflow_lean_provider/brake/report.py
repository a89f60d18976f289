"""What people are told: previews, cords, and why a run waits."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from airflow_lean_provider.airflow_internals import lineage
from airflow_lean_provider.airflow_internals.assets import names_of
from airflow_lean_provider.airflow_internals.dags import Dags, schedules_on
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.pull import A_PREVIEW, Preview
from airflow_lean_provider.brake.scene import Scene, look
from airflow_lean_provider.brake.settle import release_waits_for
from airflow_lean_provider.rules.facts import Partition, Run
from airflow_lean_provider.rules.plan import Label, Plan, decide
from airflow_lean_provider.store.models import AffectedRun, Cord, CordPartition, StoppedTry
from airflow_lean_provider.store.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.orm import Session

    from airflow_lean_provider.rules.facts import Cause

HOPS_AT_MOST = 50


def of_preview(preview: Preview) -> dict[str, Any]:
    """Tell the plan of a pull: what it would hold, stop and taint, what becomes late, and for whom."""

    def tell(session: Session) -> dict[str, Any]:
        scene, plan = preview.scene, preview.plan
        mine = {run for run, p in plan.runs.items() if any(c.cord == A_PREVIEW for c in p.causes)}
        runs = _runs(scene, plan, mine)
        roots = [t.partition for t in preview.targets]
        late = _late(roots, Dags(session), session)
        rerun = {r["dag_id"] for r in runs if r["labels"]}
        usual = lineage.usual_seconds(rerun, session=session)
        return {
            **_counts(runs),
            "late": len(late),
            "repair_task_seconds": round(sum(usual.get(r["dag_id"], 0.0) for r in runs), 1),
            "partitions": [
                {
                    "asset": t.asset_name,
                    "partition_key": t.partition.key,
                    "published_by": f"{t.named[0].run.dag_id} {t.named[0].run.run_id}"
                    if t.named and t.named[0].run
                    else "an external event",
                    "published_at": t.named[0].at if t.named else None,
                }
                for t in preview.targets
            ],
            "runs": runs,
            "late_partitions": late,
            "owners": _owners(runs, late),
        }

    return in_transaction(tell)


def of_cord(cord_id: int) -> dict[str, Any]:
    """
    Tell all about a cord.

    :raises BadRequest: if there is none with this number
    """

    def tell(session: Session) -> dict[str, Any]:
        cord = session.get(Cord, cord_id)
        if cord is None:
            raise BadRequest("cord", f"there is no cord {cord_id}")
        rows = list(
            session.scalars(
                select(CordPartition).where(CordPartition.cord_id == cord_id).order_by(CordPartition.id)
            )
        )
        if cord.closed_at is not None:
            return _cord(cord) | {"partitions": [_partition(r, None) for r in rows], "runs": []}
        scene = look(session)
        plan = decide(scene.facts)
        mine = {run for run, p in plan.runs.items() if any(c.cord == cord_id for c in p.causes)}
        runs = _runs(scene, plan, mine)
        still_open = [Partition(r.asset_id, r.partition_key) for r in rows if r.outcome is None]
        late = _late(still_open, Dags(session), session)
        return (
            _cord(cord)
            | _counts(runs)
            | {
                "late": len(late),
                "partitions": [
                    _partition(
                        r,
                        release_waits_for(r, scene, plan) if r.outcome is None and r.asked_outcome else None,
                    )
                    for r in rows
                ],
                "runs": runs,
                "late_partitions": late,
                "owners": _owners(runs, late),
            }
        )

    return in_transaction(tell)


def of_cords(*, closed: bool = False) -> list[dict[str, Any]]:
    """Tell of every open cord in a line, the oldest first; with ``closed``, of all."""

    def tell(session: Session) -> list[dict[str, Any]]:
        query = select(Cord).order_by(Cord.id)
        if not closed:
            query = query.where(Cord.closed_at.is_(None))
        counts: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for row in session.scalars(select(AffectedRun)):
            for cord_id in {c[0] for c in row.causes}:
                for label in row.labels:
                    counts[cord_id][label] += 1
        told = []
        for cord in session.scalars(query):
            partitions = list(
                session.scalars(select(CordPartition).where(CordPartition.cord_id == cord.id).order_by("id"))
            )
            line = _cord(cord)
            line["partitions"] = [f"{p.asset_name} {p.partition_key or ''}".strip() for p in partitions]
            for label in (Label.HELD, Label.STOPPED, Label.TAINTED, Label.OWES):
                line[label.value] = counts[cord.id][label.value]
            told.append(line)
        return told

    return in_transaction(tell)


def of_run(run: Run) -> list[dict[str, Any]]:
    """
    Tell why a run waits: a line for each partition that it waits for.

    :raises BadRequest: if there is no such run
    """

    def tell(session: Session) -> list[dict[str, Any]]:
        if not lineage.known_runs([run], session=session):
            raise BadRequest("run", f"Dag {run.dag_id!r} has no run {run.run_id!r}")
        scene = look(session)
        plan = decide(scene.facts)
        mine = plan.runs.get(run)
        if mine is None or not mine.labels:
            return []
        cords = {c.id: c for c in session.scalars(select(Cord))}
        labels = sorted(label.value for label in mine.labels)
        names = names_of({c.partition.asset for c in mine.causes}, session=session)
        affected = scene.affected.get(run)
        told = []
        for cause in sorted(mine.causes, key=str):
            cord = cords.get(cause.cord)
            told.append(
                {
                    "labels": labels,
                    "cord": cause.cord or None,
                    "asset": names.get(cause.partition.asset),
                    "partition_key": cause.partition.key,
                    "reason": cord.reason if cord else "half-written by a task that was stopped",
                    "pulled_by": cord.pulled_by if cord else None,
                    "since": affected.since if affected else (cord.pulled_at if cord else None),
                    "awaits": _awaits(cause, scene, plan, session),
                }
            )
        if not told:
            told.append({"labels": labels, "awaits": _awaits_process(run, session)})
        return told

    return in_transaction(tell)


def _awaits(cause: Cause, scene: Scene, plan: Plan, session: Session) -> str:
    if not cause.cord:
        writers = sorted(
            {
                f"{v.run.dag_id} {v.run.run_id}"
                for v in plan.judgement.versions.get(cause.partition, ())
                if not v.complete and v.run is not None
            }
        )
        return "the next publication by " + ", ".join(writers)
    row = session.scalar(
        select(CordPartition).where(
            CordPartition.cord_id == cause.cord,
            CordPartition.asset_id == cause.partition.asset,
            CordPartition.partition_key.is_not_distinct_from(cause.partition.key),
        )
    )
    if row is None or row.outcome is not None:
        return "the repair of what it reads"
    if row.asked_outcome is None:
        return "the release of the cord"
    return release_waits_for(row, scene, plan) or "nothing any more"


def _awaits_process(run: Run, session: Session) -> str:
    gone_by = session.scalar(
        select(func.max(StoppedTry.gone_by)).where(
            StoppedTry.dag_id == run.dag_id, StoppedTry.run_id == run.run_id
        )
    )
    return f"the end of the process that was stopped, at the latest {gone_by}" if gone_by else "the sweeper"


def _cord(cord: Cord) -> dict[str, Any]:
    return {
        "cord_id": cord.id,
        "state": "closed" if cord.closed_at else "settling" if cord.settled_at is None else "open",
        "severity": cord.severity,
        "reason": cord.reason,
        "pulled_by": cord.pulled_by,
        "pulled_at": cord.pulled_at,
        "closed_at": cord.closed_at,
    }


def _partition(row: CordPartition, waits_for: str | None) -> dict[str, Any]:
    return {
        "asset": row.asset_name,
        "partition_key": row.partition_key,
        "outcome": row.outcome or (f"{row.asked_outcome} asked for" if row.asked_outcome else "open"),
        "by": row.asked_by,
        "released_at": row.ended_at,
        "waits_for": waits_for,
        "note": row.note,
    }


def _counts(runs: list[dict[str, Any]]) -> dict[str, int]:
    return {
        label.value: sum(label.value in r["labels"] for r in runs)
        for label in (Label.HELD, Label.STOPPED, Label.TAINTED, Label.OWES)
    }


def _runs(scene: Scene, plan: Plan, runs: Collection[Run]) -> list[dict[str, Any]]:
    told = []
    for run in sorted(runs):
        known, run_plan = scene.facts.runs[run], plan.runs[run]
        if not run_plan.labels:
            continue
        told.append(
            {
                "dag_id": run.dag_id,
                "run_id": run.run_id,
                "partition_key": known.key,
                "labels": sorted(label.value for label in run_plan.labels),
                "owner": known.shape.owner,
            }
        )
    return told


def _late(roots: Iterable[Partition], dags: Dags, session: Session) -> list[dict[str, Any]]:
    """Follow the schedules hop by hop: what nobody can make, or make anew, until the release."""
    seen: set[tuple[str, str]] = set()
    level = set(roots)
    told: list[dict[str, Any]] = []
    names: dict[int, str] = {}
    for hop in range(1, HOPS_AT_MOST + 1):
        following: set[Partition] = set()
        schedules = [s for s in schedules_on({p.asset for p in level}, session=session) if s.partitioned]
        dags.load({s.dag_id for s in schedules})
        for schedule in sorted(schedules):
            for partition in sorted(p for p in level if p.asset == schedule.asset):
                for key in sorted(dags.target_keys(schedule, partition.key)):
                    if (schedule.dag_id, key) in seen:
                        continue
                    seen.add((schedule.dag_id, key))
                    shape = dags.shape(schedule.dag_id)
                    outlets = frozenset().union(*shape.outlets.values(), frozenset())
                    following |= {Partition(asset, key) for asset in outlets}
                    names |= names_of(set(outlets) - names.keys(), session=session)
                    told.append(
                        {
                            "dag_id": schedule.dag_id,
                            "partition_key": key,
                            "assets": sorted(names[a] for a in outlets),
                            "owner": shape.owner,
                            "hops": hop,
                        }
                    )
        if not following:
            break
        level = following
    return told


def _owners(runs: list[dict[str, Any]], late: list[dict[str, Any]]) -> list[dict[str, Any]]:
    dags: dict[str, set[str]] = defaultdict(set)
    for row in (*runs, *late):
        dags[row["owner"] or "nobody"].add(row["dag_id"])
    return [{"owner": owner, "dags": sorted(found)} for owner, found in sorted(dags.items())]
