"""Assets and their partitions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from airflow_lean_provider import settings
from airflow_lean_provider.api.access import Act, Caller, CallerDep
from airflow_lean_provider.api.datamodels.common import LARGEST_ID, Id, Key
from airflow_lean_provider.api.datamodels.partitions import (
    AssetCollectionResponse,
    AssetResponse,
    DeclareBody,
    DeclaredResponse,
    PartitionCollectionResponse,
    PartitionResponse,
    PublishedPartition,
    PublishedResponse,
)
from airflow_lean_provider.api.parameters import PageDep, QueryKey, QueryPattern, QueryText, problems
from airflow_lean_provider.api.turns import IN_TURN
from airflow_lean_provider.brake import declare, partitions
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.partitions import AssetView, State
from airflow_lean_provider.rules.facts import Outcome, Run

router = APIRouter(tags=["Asset"])

AssetId = Annotated[Id, Path()]


def _asset(view: AssetView, caller: Caller) -> AssetResponse:
    return AssetResponse(
        asset_id=view.asset.id,
        name=view.asset.name,
        uri=view.asset.uri,
        open_cords=list(view.cords),
        halted=view.halted,
        bad=view.bad,
        may_pull=caller.may(Act.PULL, {view.asset.id}),
    )


@router.get("/assets", responses=problems(400))
def get_assets(
    page: PageDep,
    caller: CallerDep,
    text: QueryText = None,
    name_pattern: QueryPattern = None,
    uri_pattern: QueryPattern = None,
    troubled: Annotated[
        bool | None, Query(description="Only those with an open cord or a bad partition")
    ] = None,
    may_pull: Annotated[
        bool | None, Query(description="Only those on which the caller may pull, or only the others")
    ] = None,
) -> AssetCollectionResponse:
    """List the assets that the caller may read. `order_by`: name, uri, asset_id."""
    everything = partitions.asset_ids()
    wanted = caller.readable_assets(everything)
    if may_pull is not None:
        pullable = caller.assets_to(Act.PULL, wanted)
        wanted = pullable if may_pull else wanted - pullable
    found, total = partitions.assets(
        page,
        text=text,
        name=name_pattern,
        uri=uri_pattern,
        troubled=troubled,
        permitted=None if wanted == everything else wanted,
    )
    return AssetCollectionResponse(assets=[_asset(a, caller) for a in found], total_entries=total)


@router.get("/assets/{asset_id}", responses=problems(404))
def get_asset(asset_id: AssetId, caller: CallerDep) -> AssetResponse:
    """Show how an asset stands."""
    caller.insist(bool(caller.readable_assets({asset_id})))
    return _asset(partitions.asset(asset_id), caller)


@router.get("/assets/{asset_id}/partitions", responses=problems(400, 404))
def get_asset_partitions(
    asset_id: AssetId,
    page: PageDep,
    caller: CallerDep,
    text: QueryText = None,
    prefix: QueryText = None,
    state: Annotated[list[State], Query()] = [],  # noqa: B006 (FastAPI copies it)
    cord_id: Id | None = None,
) -> PartitionCollectionResponse:
    """
    List the partitions of an asset that were published, or that are bad, with their state.

    `order_by`: partition_key, published_at, state (the most urgent first).
    """
    caller.insist(bool(caller.readable_assets({asset_id})))
    found, total = partitions.partitions(asset_id, page, text=text, prefix=prefix, states=state, cord=cord_id)
    return PartitionCollectionResponse(partitions=[_partition(p, caller) for p in found], total_entries=total)


def _partition(view: partitions.PartitionView, caller: Caller) -> PartitionResponse:
    published = view.published
    run = published.run if published and published.run else None
    if run is not None and run.dag_id not in caller.readable_dags:
        run = None
    return PartitionResponse(
        partition_key=view.key,
        state=view.standing.state,
        cords=list(view.standing.cords),
        since=view.standing.since,
        published_at=published.at if published else None,
        publications=published.times if published else 0,
        dag_id=run.dag_id if run else None,
        run_id=run.run_id if run else None,
    )


@router.get("/published", responses=problems(404))
def get_published(
    caller: CallerDep,
    dag_id: Annotated[Key, Query()],
    run_id: Annotated[Key, Query()],
    task_id: QueryKey = None,
    map_index: Annotated[int | None, Query(ge=-1, le=2**31 - 1)] = None,
    limit: Annotated[int | None, Query(ge=0, le=LARGEST_ID, description="Default: all of it")] = None,
    offset: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0,
) -> PublishedResponse:
    """List what a run, a task of it or one task instance has published, and how that stands."""
    caller.insist(dag_id in caller.readable_dags)
    found = partitions.published_by(Run(dag_id, run_id), task_id, map_index)
    assets = {p.publication.partition.asset for p in found}
    readable = caller.readable_assets(assets)
    named = [p for p in found if p.publication.partition.asset in readable]
    return PublishedResponse(
        published=[
            PublishedPartition(
                asset_id=p.publication.partition.asset,
                asset=p.asset_name,
                partition_key=p.publication.partition.key,
                task_id=p.publication.task.task_id,
                map_index=p.publication.task.map_index,
                published_at=p.publication.at,
                state=p.standing.state,
                cords=list(p.standing.cords),
            )
            for p in named[offset:][:limit]
            if p.publication.task is not None
        ],
        total_entries=len(named),
        hidden=len(found) - len(named),
        may_pull=caller.may(Act.PULL, assets),
    )


@router.post("/partitions/declare", responses=problems(400, 404, 409, 415), dependencies=[IN_TURN])
def declare_partition(body: DeclareBody, caller: CallerDep) -> DeclaredResponse:
    """Declare bad data as good that no task is going to publish again."""
    named = body.asset_id if body.asset_id is not None else body.asset
    if named is None or (body.asset_id is not None and body.asset is not None):
        raise BadRequest("asset", "name an asset, either by asset_id or by its name or uri")
    asset = partitions.asset_with(named)
    caller.insist(caller.may(Act.RELEASE, {asset.id}))
    said = declare.declare(
        asset.id,
        body.partition_key,
        Outcome(body.outcome),
        reason=body.reason,
        by=caller.name,
        timeout=settings.settle_timeout(),
    )
    return DeclaredResponse(
        asset_id=asset.id,
        asset=said.asset,
        partition_key=said.key,
        outcome=said.outcome,
        declared_by=said.by,
        declared_at=said.at,
        new=said.new,
    )
