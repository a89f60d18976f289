"""Cords: preview and pull, list and show, acknowledge, release and repair."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response, status

from airflow_lean_provider import settings
from airflow_lean_provider.api import telling
from airflow_lean_provider.api.access import Act, Caller, CallerDep
from airflow_lean_provider.api.datamodels.common import Id, Storable, TaskResponse
from airflow_lean_provider.api.datamodels.cords import (
    AcknowledgeBody,
    CordCollectionResponse,
    CordPartitionCollectionResponse,
    CordPatchBody,
    CordResponse,
    EmptyBody,
    PlanResponse,
    PreviewBody,
    PullBody,
    PulledResponse,
    RaisedResponse,
    ReleaseBody,
    RepairedResponse,
    ScopeBody,
)
from airflow_lean_provider.api.datamodels.graph import GraphResponse
from airflow_lean_provider.api.parameters import PageDep, QueryPattern, QueryText, moments, problems
from airflow_lean_provider.api.turns import IN_TURN
from airflow_lean_provider.brake import board, cords, downstream, pull, release
from airflow_lean_provider.brake.board import CordFilter
from airflow_lean_provider.brake.errors import BadRequest, Conflict
from airflow_lean_provider.brake.paging import Moments
from airflow_lean_provider.brake.targets import Scope, meant_assets
from airflow_lean_provider.rules.facts import Partition, Run, Severity

router = APIRouter(prefix="/cords", tags=["Cord"])

CordId = Annotated[Id, Path()]


def _scope(body: ScopeBody) -> Scope:
    if body.asset is not None and body.asset_id is not None:
        raise BadRequest("asset", "name an asset either by asset_id or by its name or uri")
    return Scope(
        asset=body.asset_id if body.asset_id is not None else body.asset,
        keys=tuple(body.partition_keys),
        between=(body.range.first, body.range.last) if body.range else None,
        pattern=body.pattern,
        start=body.from_key,
        whole=body.all,
        run=Run(body.run.dag_id, body.run.run_id) if body.run else None,
        task_id=body.run.task_id if body.run else None,
        map_index=body.run.map_index if body.run else None,
        since=body.since,
        until=body.until,
    )


def _assets_meant(scope: Scope, caller: Caller) -> set[int]:
    """Return the assets that the scope means; the Dag of a run, and one asset, must be readable."""
    if scope.run is not None:
        caller.insist(scope.run.dag_id in caller.readable_dags)
    assets = meant_assets(scope)
    caller.insist(bool(caller.readable_assets(assets)))
    return assets


def _view(cord_id: int, caller: Caller, act: Act | None = None) -> board.CordView:
    """Return the cord, if the caller may see it, and do what is meant to all of its assets."""
    assets = board.assets_of(cord_id)
    caller.insist(bool(caller.readable_assets(assets)))
    caller.insist(act is None or caller.may(act, assets))
    return board.cord(cord_id)


@router.post("/preview", responses=problems(400, 404, 409, 415))
def preview_cord(body: PreviewBody, caller: CallerDep) -> PlanResponse:
    """Say what a pull would do now. Changes nothing."""
    scope = _scope(body)
    _assets_meant(scope, caller)
    found = pull.preview(scope, severity=body.severity)
    return telling.plan(found, downstream.of_preview(found), caller, body.limit)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    dependencies=[IN_TURN],
    responses=problems(400, 404, 409, 415)
    | {200: {"model": PulledResponse, "description": "The same `request_key` had pulled it before"}},
)
def pull_cord(body: PullBody, caller: CallerDep, response: Response) -> PulledResponse:
    """
    Mark partitions as bad. Once `settled`, no task that reads them is granted a start.

    201 for a new cord, 200 if the same `request_key` had pulled it before.
    """
    scope = _scope(body)
    assets = _assets_meant(scope, caller)
    caller.insist(caller.may(Act.PULL, assets))
    pulled = pull.pull(
        scope,
        reason=body.reason,
        by=caller.name,
        severity=body.severity,
        release_on=body.release_on,
        request_key=body.request_key,
        permitted=assets,
        timeout=settings.settle_timeout(),
    )
    if pulled.existed:
        response.status_code = status.HTTP_200_OK
        if not caller.readable_assets(board.assets_of(pulled.cord)):
            raise Conflict("request_key", "was used for another cord")
    told = telling.cord_with(board.cord(pulled.cord), caller, settled=pulled.settled, existed=pulled.existed)
    return PulledResponse(**told)


@router.get("", responses=problems(400))
def get_cords(
    page: PageDep,
    caller: CallerDep,
    pulled_at: Annotated[Moments, Depends(moments("pulled_at"))],
    closed_at: Annotated[Moments, Depends(moments("closed_at"))],
    closed: Annotated[bool | None, Query(description="Only closed cords, or only open ones")] = None,
    severity: Severity | None = None,
    acknowledged: bool | None = None,
    asset_id: Id | None = None,
    pulled_by: QueryText = None,
    asset_name_pattern: QueryPattern = None,
    text: Annotated[
        str | None,
        Query(max_length=1500, description="Part of the reason, an asset, a key or who pulled it"),
        Storable,
    ] = None,
) -> CordCollectionResponse:
    """
    List the cords on assets that the caller may read, the most urgent first.

    `order_by`: cord_id, pulled_at, closed_at, severity, pulled_by.
    """
    under = board.assets_under_cords()
    readable = caller.readable_assets(under)
    wanted = CordFilter(
        closed=closed,
        severity=severity,
        acknowledged=acknowledged,
        asset=asset_id,
        text=text,
        pulled_by=pulled_by,
        asset_name=asset_name_pattern,
        pulled_at=pulled_at,
        closed_at=closed_at,
        assets=None if readable == under else readable,
    )
    found, total = board.cords(wanted, page)
    return CordCollectionResponse(cords=[telling.cord(c, caller) for c in found], total_entries=total)


@router.get("/{cord_id}", responses=problems(404))
def get_cord(cord_id: CordId, caller: CallerDep) -> CordResponse:
    """Show a cord."""
    return telling.cord(_view(cord_id, caller), caller)


@router.get("/{cord_id}/partitions", responses=problems(400, 404))
def get_cord_partitions(
    cord_id: CordId,
    page: PageDep,
    caller: CallerDep,
    is_open: Annotated[bool | None, Query(alias="open")] = None,
    text: QueryText = None,
) -> CordPartitionCollectionResponse:
    """
    List the partitions that a cord names, with what the release of each waits for.

    `order_by`: partition_key, asset, outcome, ended_at.
    """
    _view(cord_id, caller)
    readable = caller.readable_assets(board.assets_of(cord_id))
    found, total = board.partitions_of(cord_id, page, is_open=is_open, text=text, assets=readable)
    return CordPartitionCollectionResponse(
        partitions=[telling.cord_partition(p, caller) for p in found], total_entries=total
    )


@router.get("/{cord_id}/graph", responses=problems(404))
def get_cord_graph(cord_id: CordId, caller: CallerDep) -> GraphResponse:
    """Return what lies downstream of a cord, hop by hop, with its state. Hidden names are null."""
    _view(cord_id, caller)
    return telling.graph(downstream.of_cord(cord_id), caller)


@router.patch("/{cord_id}", responses=problems(400, 404, 409, 415), dependencies=[IN_TURN])
def patch_cord(cord_id: CordId, body: CordPatchBody, caller: CallerDep) -> CordResponse:
    """Edit the reason."""
    _view(cord_id, caller, Act.PULL)
    cords.edit_reason(cord_id, body.reason, by=caller.name)
    return telling.cord(board.cord(cord_id), caller)


@router.post("/{cord_id}/acknowledge", responses=problems(404, 409, 415), dependencies=[IN_TURN])
def acknowledge_cord(cord_id: CordId, body: AcknowledgeBody, caller: CallerDep) -> CordResponse:
    """Say that somebody is on it. The first one counts."""
    _view(cord_id, caller, Act.ACKNOWLEDGE)
    cords.acknowledge(cord_id, by=caller.name, note=body.note)
    return telling.cord(board.cord(cord_id), caller)


@router.post("/{cord_id}/raise", responses=problems(404, 409, 415), dependencies=[IN_TURN])
def raise_cord(cord_id: CordId, body: EmptyBody, caller: CallerDep) -> RaisedResponse:
    """Let a cord that only warns hold everything."""
    _view(cord_id, caller, Act.PULL)
    settled = cords.raise_to_stop(cord_id, by=caller.name, timeout=settings.settle_timeout())
    return RaisedResponse(**telling.cord_with(board.cord(cord_id), caller, settled=settled))


@router.post("/{cord_id}/release", responses=problems(400, 404, 409, 415), dependencies=[IN_TURN])
def release_cord(cord_id: CordId, body: ReleaseBody, caller: CallerDep) -> CordResponse:
    """End a cord, on all of its partitions or on some. `partitions_asked` counts what is still waiting."""
    _view(cord_id, caller, Act.RELEASE)
    if body.only_scope:
        if body.on_publication or body.partition_keys or body.of or body.keep_scope or body.now:
            raise BadRequest("only_scope", "releases no partition; it goes with no other option")
        release.end_scope(
            cord_id,
            by=caller.name,
            request_key=body.request_key,
            timeout=settings.settle_timeout(),
        )
    else:
        release.release(
            cord_id,
            body.outcome,
            by=caller.name,
            keys=tuple(body.partition_keys),
            of=[Partition(p.asset_id, p.partition_key) for p in body.of or ()],
            note=body.note,
            forced=body.now,
            on_publication=body.on_publication,
            keep_scope=body.keep_scope,
            request_key=body.request_key,
            timeout=settings.settle_timeout(),
        )
    return telling.cord(board.cord(cord_id), caller)


@router.post("/{cord_id}/repair", responses=problems(400, 404, 409, 415), dependencies=[IN_TURN])
def repair_cord(cord_id: CordId, body: EmptyBody, caller: CallerDep) -> RepairedResponse:
    """Clear the tasks that published the bad versions; release as fixed once they have published."""
    _view(cord_id, caller, Act.RELEASE)
    repaired = release.repair(
        cord_id, by=caller.name, permitted=caller.editable_dags, timeout=settings.settle_timeout()
    )
    named = [t for t in repaired.cleared if t.dag_id in caller.readable_dags]
    told = telling.cord_with(
        board.cord(cord_id),
        caller,
        cleared=[TaskResponse(**t._asdict()) for t in named],
        hidden=len(repaired.cleared) - len(named),
    )
    return RepairedResponse(**told)
