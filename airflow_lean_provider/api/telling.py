"""What the brake says, as answers: with what the caller may not read counted, not named."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from airflow_lean_provider.api.access import Act, Caller
from airflow_lean_provider.api.datamodels.common import Awaited, Counts, TaskResponse
from airflow_lean_provider.api.datamodels.cords import (
    AssetOfCord,
    CordActs,
    CordPartitionResponse,
    CordResponse,
    Hidden,
    InDoubt,
    LatePartition,
    NotFollowed,
    OwnedDags,
    PlannedPartition,
    PlannedRun,
    PlanResponse,
    Progress,
    ScopeOfCord,
    UsedUp,
)
from airflow_lean_provider.api.datamodels.graph import EdgeResponse, GraphResponse, NodeResponse
from airflow_lean_provider.api.datamodels.runs import (
    BadRead,
    CordInBrief,
    HoldResponse,
    RunActs,
    WhyReason,
    WhyResponse,
)
from airflow_lean_provider.brake import board, holds, report
from airflow_lean_provider.rules.facts import Outcome, Severity, Task
from airflow_lean_provider.rules.plan import Label

if TYPE_CHECKING:
    from collections import Counter
    from typing import Any

    from airflow_lean_provider.brake.board import CordView, PartitionUnder
    from airflow_lean_provider.brake.downstream import Graph
    from airflow_lean_provider.brake.holds import Hold
    from airflow_lean_provider.brake.pull import Preview
    from airflow_lean_provider.brake.settle import Awaits
    from airflow_lean_provider.brake.why import Why


def counts(labels: Counter[str] | dict[str, int]) -> Counts:
    """Return how many runs have each label."""
    return Counts(**{label.value.replace(" ", "_"): labels.get(label.value, 0) for label in Label})


def awaited(awaits: Awaits, caller: Caller) -> Awaited:
    """Return what something waits for, without the Dags that the caller may not read."""
    named = [o for o in awaits.of if o.dag_id in caller.readable_dags]
    return Awaited(
        text=awaits.text,
        tasks=[
            TaskResponse(
                dag_id=o.dag_id,
                run_id=o.run_id,
                task_id=o.task_id if isinstance(o, Task) else None,
                map_index=o.map_index if isinstance(o, Task) else None,
            )
            for o in named
        ],
        hidden=len(awaits.of) - len(named),
    )


def cord(view: CordView, caller: Caller) -> CordResponse:
    """Return a cord, without the assets that the caller may not read."""
    return CordResponse(**_cord(view, caller))


def _cord(view: CordView, caller: Caller) -> dict[str, Any]:
    row = view.cord
    ids = {a.asset_id for a in view.assets} | {s.asset_id for s in view.scopes}
    readable = caller.readable_assets(ids)
    is_open = row.closed_at is None
    covers_later = any(s.ended_at is None for s in view.scopes)
    may_release = is_open and caller.may(Act.RELEASE, ids)
    may_pull = is_open and caller.may(Act.PULL, ids)
    partitions_open = sum(a.open for a in view.assets)
    return {
        "cord_id": row.id,
        "state": "closed" if not is_open else "settling" if row.settled_at is None else "open",
        "severity": row.severity,
        "reason": row.reason,
        "pulled_by": row.pulled_by,
        "pulled_at": row.pulled_at,
        "release_on": row.release_on,
        "acknowledged_by": row.acknowledged_by,
        "acknowledged_at": row.acknowledged_at,
        "acknowledged_note": row.acknowledged_note,
        "closed_at": row.closed_at,
        "assets": [
            AssetOfCord(
                asset_id=a.asset_id,
                name=a.name,
                partitions=a.partitions,
                open=a.open,
                first_keys=list(a.first_keys),
            )
            for a in view.assets
            if a.asset_id in readable
        ],
        "hidden_assets": len(ids - readable),
        "partitions": sum(a.partitions for a in view.assets),
        "partitions_open": partitions_open,
        "partitions_asked": sum(a.asked for a in view.assets),
        "scopes": [
            ScopeOfCord(
                asset_id=s.asset_id,
                asset=s.asset_name,
                covers=board.covers(s),
                ended_at=s.ended_at,
                ended_by=s.ended_by,
            )
            for s in view.scopes
            if s.asset_id in readable
        ],
        "runs": counts(view.runs),
        "progress": Progress(to_do=view.to_do, done=view.done),
        "may": CordActs(
            acknowledge=is_open and row.acknowledged_at is None and caller.may(Act.ACKNOWLEDGE, ids),
            edit=may_pull,
            release=may_release and (partitions_open > 0 or covers_later),
            repair=may_release
            and partitions_open > 0
            and view.publishers is not None
            and view.publishers <= caller.editable_dags,
            raise_to_stop=may_pull and row.severity == Severity.WARN.value,
        ),
    }


def cord_with(view: CordView, caller: Caller, **more: Any) -> dict[str, Any]:
    """Return a cord as a dictionary, with what an act adds to it."""
    return _cord(view, caller) | more


def cord_partition(under: PartitionUnder, caller: Caller) -> CordPartitionResponse:
    """Return one partition under a cord."""
    row = under.row
    return CordPartitionResponse(
        asset_id=row.asset_id,
        asset=row.asset_name,
        partition_key=row.partition_key,
        outcome=Outcome(row.outcome) if row.outcome else None,
        ended_at=row.ended_at,
        asked_outcome=Outcome(row.asked_outcome) if row.asked_outcome else None,
        asked_by=row.asked_by,
        asked_at=row.asked_at,
        after_publication=row.after_publication,
        awaits=awaited(under.awaits, caller) if under.awaits else None,
        note=row.note,
    )


def hold(found: Hold, caller: Caller) -> HoldResponse:
    """Return a run that open cords concern."""
    readable = caller.readable_assets({c.partition.asset for c in found.causes})
    return HoldResponse(
        dag_id=found.row.dag_id,
        run_id=found.row.run_id,
        partition_key=found.row.partition_key,
        labels=found.row.labels,
        whole=found.row.held,
        parked=list(found.parked),
        stopped=list(found.stopped),
        since=found.row.since,
        cords=[
            CordInBrief(cord_id=c.id, reason=c.reason, pulled_by=c.pulled_by, pulled_at=c.pulled_at)
            for c in found.cords
        ],
        because=[
            BadRead(
                asset_id=c.partition.asset,
                asset=found.names.get(c.partition.asset, "?"),
                partition_key=c.partition.key,
                cord_id=c.cord or None,
            )
            for c in found.causes
            if c.partition.asset in readable
        ][: holds.CAUSES_AT_MOST],
    )


def why(found: Why, task_id: str | None, caller: Caller) -> WhyResponse:
    """Return why a run or a task waits, without the assets that the caller may not read."""
    readable = caller.readable_assets({r.partition.asset for r in found.reasons if r.partition})
    reasons = []
    for reason in found.reasons:
        shown = reason.partition is None or reason.partition.asset in readable
        told = awaited(reason.awaits, caller)
        if not shown:
            told = told.model_copy(update={"text": told.text.partition(":")[0]})
        reasons.append(
            WhyReason(
                cord_id=reason.cord,
                asset_id=reason.partition.asset if reason.partition and shown else None,
                asset=reason.asset if shown else None,
                partition_key=reason.partition.key if reason.partition and shown else None,
                reason=reason.reason,
                pulled_by=reason.pulled_by,
                since=reason.since,
                awaits=told,
                may_declare=reason.stuck
                and reason.partition is not None
                and shown
                and caller.may(Act.RELEASE, {reason.partition.asset}),
            )
        )
    may = caller.may_for_run(Act.LET_THROUGH, found.run.dag_id)
    return WhyResponse(
        dag_id=found.run.dag_id,
        run_id=found.run.run_id,
        task_id=task_id,
        labels=list(found.labels),
        waits=found.waits,
        let_through_by=found.let_through_by,
        reasons=reasons,
        may=RunActs(let_through=may and found.reads_bad, approve=may and Label.ASKS.value in found.labels),
    )


def graph(drawn: Graph, caller: Caller) -> GraphResponse:
    """Return a graph in which what the caller may not read has no name."""
    readable = caller.readable_assets({n.asset for n in drawn.nodes.values() if n.asset is not None})
    ids: dict[str, str] = {}
    nodes = []
    ordered = sorted(drawn.nodes.values(), key=lambda n: (n.hops, n.asset is None, n.name))
    for place, node in enumerate(ordered, start=1):
        shown = node.name in caller.readable_dags if node.asset is None else node.asset in readable
        ids[node.id] = node.id if shown else f"hidden:{place}"
        nodes.append(
            NodeResponse(
                id=ids[node.id],
                kind="dag" if node.asset is None else "asset",
                label=node.name if shown else None,
                asset_id=node.asset if shown else None,
                dag_id=node.name if shown and node.asset is None else None,
                hops=node.hops,
                root=node.root,
                state=node.state,
                partitions=len(node.keys),
                bad_partitions=len(node.bad),
                runs=counts(node.runs),
            )
        )
    return GraphResponse(
        nodes=nodes,
        edges=[
            EdgeResponse(source=ids[source], target=ids[target]) for source, target in sorted(drawn.edges)
        ],
        cut=drawn.cut,
    )


def plan(preview: Preview, drawn: Graph, caller: Caller, limit: int) -> PlanResponse:
    """Return what a pull would do, each list without what the caller may not read, and cut at ``limit``."""
    told, late = report.brief_of_preview(preview)
    dags = caller.readable_dags
    shown_late = [dag for dag in late if dag.dag_id in dags]
    assets = caller.readable_assets(preview.meant.assets)
    targets = [t for t in preview.meant.targets if t.partition.asset in assets]
    lists = {
        name: [row for row in told[name] if row["dag_id"] in dags]
        for name in ("runs", "held_in_doubt", "not_followed")
    }
    limits = [row for row in told["used_up"] if row["dag_id"] is None or row["dag_id"] in dags]
    owned = [(row["owner"], [d for d in row["dags"] if d in dags]) for row in told["owners"]]
    all_dags = {d for row in told["owners"] for d in row["dags"]}
    partitions = []
    for target in targets[:limit]:
        last = target.named[0] if target.named else None
        run = last.run if last and last.run and last.run.dag_id in dags else None
        partitions.append(
            PlannedPartition(
                asset_id=target.partition.asset,
                asset=target.asset_name,
                partition_key=target.partition.key,
                dag_id=run.dag_id if run else None,
                run_id=run.run_id if run else None,
                published_at=last.at if last else None,
                bad_versions=len(target.named),
            )
        )
    return PlanResponse(
        severity=preview.severity,
        covers_later=told["covers_later"],
        counts=counts(told),
        late=told["late"],
        repair_task_seconds=told["repair_task_seconds"],
        total_partitions=len(preview.meant.targets),
        partitions=partitions,
        total_runs=len(told["runs"]),
        runs=[PlannedRun(**row) for row in lists["runs"][:limit]],
        late_partitions=[
            LatePartition(**row) for row in islice((row for dag in shown_late for row in dag.rows()), limit)
        ],
        owners=[OwnedDags(owner=owner, dags=named) for owner, named in owned if named],
        held_in_doubt=[InDoubt(**row) for row in lists["held_in_doubt"][:limit]],
        not_followed=[NotFollowed(**row) for row in lists["not_followed"][:limit]],
        used_up=[UsedUp(**row) for row in limits],
        hidden=Hidden(
            partitions=len(preview.meant.targets) - len(targets),
            runs=len(told["runs"]) - len(lists["runs"]),
            late=told["late"] - sum(len(dag.keys) for dag in shown_late),
            held_in_doubt=len(told["held_in_doubt"]) - len(lists["held_in_doubt"]),
            not_followed=len(told["not_followed"]) - len(lists["not_followed"]),
            used_up=len(told["used_up"]) - len(limits),
            dags=len(all_dags - dags),
        ),
        graph=graph(drawn, caller),
        may_pull=caller.may(Act.PULL, preview.meant.assets),
    )
