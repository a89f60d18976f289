"""What people are told: previews, cords, and why a run waits."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from airflow_lean_provider.airflow_internals.assets import names_of
from airflow_lean_provider.airflow_internals.dependencies import dependents_of
from airflow_lean_provider.airflow_internals.runs import usual_seconds
from airflow_lean_provider.brake import scopes
from airflow_lean_provider.brake.errors import NotFound
from airflow_lean_provider.brake.hops import Made, walk
from airflow_lean_provider.brake.pull import A_PREVIEW, Preview
from airflow_lean_provider.brake.scene import Scene, look
from airflow_lean_provider.brake.settle import release_waits_for
from airflow_lean_provider.brake.why import awaits_person, limits_used_up, way_out, why
from airflow_lean_provider.rules.facts import Partition, Run
from airflow_lean_provider.rules.plan import Label, Plan, decide
from airflow_lean_provider.rules.prospects import hopeless
from airflow_lean_provider.store.models import AffectedRun, Cord, CordPartition, CordScope
from airflow_lean_provider.store.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sqlalchemy.orm import Session

    from airflow_lean_provider.airflow_internals.dags import Dags, Inlet


class LateDag(NamedTuple):
    """
    What a Dag cannot make, or make anew, until the release.

    :param keys: of its runs, sorted
    :param assets: what it publishes
    :param hops: how many Dags away from the bad partitions
    """

    dag_id: str
    keys: list[str | None]
    assets: list[str]
    owner: str
    hops: int

    def rows(self) -> Iterator[dict[str, Any]]:
        """Tell it partition by partition."""
        for key in self.keys:
            yield {
                "dag_id": self.dag_id,
                "partition_key": key,
                "assets": self.assets,
                "owner": self.owner,
                "hops": self.hops,
            }


def of_preview(preview: Preview) -> dict[str, Any]:
    """Tell the plan of a pull: what it would hold, stop and taint, what becomes late, and for whom."""
    told, late = brief_of_preview(preview)
    partitions = [
        {
            "asset": t.asset_name,
            "partition_key": t.partition.key,
            "published_by": f"{t.named[0].run.dag_id} {t.named[0].run.run_id}"
            if t.named and t.named[0].run
            else "an external event",
            "published_at": t.named[0].at if t.named else None,
            "bad_versions": len(t.named),
        }
        for t in preview.meant.targets
    ]
    return told | {"partitions": partitions, "late_partitions": [row for dag in late for row in dag.rows()]}


def brief_of_preview(preview: Preview) -> tuple[dict[str, Any], list[LateDag]]:
    """Tell the plan of a pull without what there is of every partition; return the late ones besides."""

    def tell(session: Session) -> tuple[dict[str, Any], list[LateDag]]:
        scene, plan = preview.scene, preview.plan
        mine = {run for run, p in plan.runs.items() if any(c.cord == A_PREVIEW for c in p.causes)}
        runs = _runs(scene, plan, mine)
        meant = preview.meant
        late = _late(preview.downstream, scene.dags, session)
        rerun = {r["dag_id"] for r in runs if r["labels"]}
        usual = usual_seconds(rerun, session=session)
        told = {
            "severity": preview.severity.value,
            "covers_later": str(meant.later) if meant.later else None,
            **_counts(runs),
            "late": sum(len(dag.keys) for dag in late),
            "repair_task_seconds": round(sum(usual.get(r["dag_id"], 0.0) for r in runs), 1),
            "runs": runs,
            "owners": _owners(runs, late),
            "held_in_doubt": _in_doubt(scene, mine),
            "not_followed": _not_followed(runs, late, session),
            "used_up": _used_up(scene, plan, session),
        }
        return told, late

    return in_transaction(tell)


def of_cord(cord_id: int) -> dict[str, Any]:
    """
    Tell all about a cord.

    :raises BadRequest: if there is none with this number
    """

    def tell(session: Session) -> dict[str, Any]:
        cord = session.get(Cord, cord_id)
        if cord is None:
            raise NotFound("cord", f"there is no cord {cord_id}")
        rows = list(
            session.scalars(
                select(CordPartition).where(CordPartition.cord_id == cord_id).order_by(CordPartition.id)
            )
        )
        told = _cord(cord) | {"scopes": _scopes(cord_id, session)}
        if cord.closed_at is not None:
            return told | {"partitions": [_partition(r, None) for r in rows], "runs": []}
        scene = look(session)
        plan = decide(scene.facts, scene.judgement)
        mine = {run for run, p in plan.runs.items() if any(c.cord == cord_id for c in p.causes)}
        runs = _runs(scene, plan, mine)
        still_open = [Partition(r.asset_id, r.partition_key) for r in rows if r.outcome is None]
        late = _late(walk(still_open, scene.dags, session), scene.dags, session)
        stuck = sorted(hopeless(scene.facts, plan), key=str)
        names = names_of({p.asset for p in stuck}, session=session)
        return (
            told
            | _counts(runs)
            | {
                "late": sum(len(dag.keys) for dag in late),
                "partitions": [
                    _partition(
                        r,
                        str(release_waits_for(r, scene, plan) or "") or None
                        if r.outcome is None and r.asked_outcome
                        else None,
                    )
                    for r in rows
                ],
                "runs": runs,
                "stuck": [
                    _stuck(p, names)
                    for p in stuck
                    if any(c.cord in (cord_id, 0) for c in plan.judgement.bad_partitions[p])
                ],
                "late_partitions": [row for dag in late for row in dag.rows()],
                "owners": _owners(runs, late),
                "held_in_doubt": _in_doubt(scene, mine),
                "not_followed": _not_followed(runs, late, session),
                "used_up": _used_up(scene, plan, session),
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
            line["scopes"] = [
                f"{s['asset']} {s['covers']}" for s in _scopes(cord.id, session) if not s["ended_at"]
            ]
            for label in (Label.HELD, Label.STOPPED, Label.TAINTED, Label.OWES):
                line[label.value] = counts[cord.id][label.value]
            told.append(line)
        return told

    return in_transaction(tell)


def of_run(run: Run) -> list[dict[str, Any]]:
    """
    Tell why a run waits, in a line for each reason.

    :raises NotFound: if there is no such run
    """
    found = why(run)
    told = []
    for reason in found.reasons:
        row: dict[str, Any] = {"labels": list(found.labels)}
        if reason.partition is not None:
            row |= {
                "cord": reason.cord,
                "asset": reason.asset,
                "partition_key": reason.partition.key,
                "reason": reason.reason,
                "pulled_by": reason.pulled_by,
                "since": reason.since,
                "let_through_by": found.let_through_by,
            }
        told.append(row | {"awaits": str(reason.awaits)})
    return told


def _stuck(partition: Partition, names: dict[int, str]) -> dict[str, Any]:
    """Tell of a bad version that has no natural end, and of the way out."""
    reason = way_out(partition, names)
    return {
        "asset": reason.asset,
        "partition_key": partition.key,
        "reason": reason.reason,
        "awaits": str(reason.awaits),
    }


def _in_doubt(scene: Scene, runs: Collection[Run]) -> list[dict[str, Any]]:
    """Tell of the inlets that count as reading every partition, and what ends the doubt."""
    tasks = {
        (i.dag_id, i.task_id, i.name, _ends_the_doubt(i, scene)) for run, i in scene.in_doubt if run in runs
    }
    return [
        {"dag_id": dag_id, "task_id": task_id, "asset": name, "ends_the_doubt": line}
        for dag_id, task_id, name, line in sorted(tasks)
    ]


def _ends_the_doubt(inlet: Inlet, scene: Scene) -> str:
    if scene.dags.keys_read(inlet, None, scene.facts.now) is not None:
        return "a partition key, or a logical date, for the run: its author says which keys follow from that"
    return f"inlets=inlet({inlet.name}, reads=<a partition mapper>)"


def _not_followed(runs: list[dict[str, Any]], late: list[LateDag], session: Session) -> list[dict[str, str]]:
    """Tell of the Dags that merely wait for an affected one or trigger it: the brake leaves them alone."""
    affected = {row["dag_id"] for row in runs} | {dag.dag_id for dag in late}
    return [
        {"dag_id": d.dag_id, "task_id": d.task_id, "why": f"{d.kind} {d.other_dag_id}"}
        for d in dependents_of(affected, session=session)
    ]


def _used_up(scene: Scene, plan: Plan, session: Session) -> list[dict[str, str | None]]:
    """Tell which of Airflow's own limits are used up by what the plan holds."""
    return [{"dag_id": limit.dag_id, "limit": str(limit)} for limit in limits_used_up(scene, plan, session)]


def _cord(cord: Cord) -> dict[str, Any]:
    return {
        "cord_id": cord.id,
        "state": "closed" if cord.closed_at else "settling" if cord.settled_at is None else "open",
        "severity": cord.severity,
        "reason": cord.reason,
        "pulled_by": cord.pulled_by,
        "pulled_at": cord.pulled_at,
        "release_on": cord.release_on,
        "acknowledged_by": cord.acknowledged_by,
        "acknowledged_at": cord.acknowledged_at,
        "acknowledged_note": cord.acknowledged_note,
        "closed_at": cord.closed_at,
    }


def _scopes(cord_id: int, session: Session) -> list[dict[str, Any]]:
    """Tell what a cord covers besides the partitions that it names: also what is published later."""
    return [
        {
            "asset": row.asset_name,
            "covers": str(scopes.meaning(row)),
            "ended_at": row.ended_at,
            "ended_by": row.ended_by,
        }
        for row in session.scalars(
            select(CordScope).where(CordScope.cord_id == cord_id).order_by(CordScope.id)
        )
    ]


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
                "awaits": str(awaits_person(run, run_plan) or "") or None,
            }
        )
    return told


def _late(downstream: Iterable[Made], dags: Dags, session: Session) -> list[LateDag]:
    """Return what nobody can make, or make anew, until the release."""
    names: dict[int, str] = {}
    found = []
    for made in downstream:
        if not made.keys:
            continue
        names |= names_of(set(made.outlets) - names.keys(), session=session)
        keys = sorted(made.keys, key=str)
        assets = sorted(names[a] for a in made.outlets)
        found.append(LateDag(made.dag_id, keys, assets, dags.shape(made.dag_id).owner, made.hops))
    return found


def _owners(runs: list[dict[str, Any]], late: list[LateDag]) -> list[dict[str, Any]]:
    dags: dict[str, set[str]] = defaultdict(set)
    for owner, dag_id in [*((r["owner"], r["dag_id"]) for r in runs), *((d.owner, d.dag_id) for d in late)]:
        dags[owner or "nobody"].add(dag_id)
    return [{"owner": owner, "dags": sorted(found)} for owner, found in sorted(dags.items())]
