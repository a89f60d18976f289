"""Runs and tasks: what is held and why; let through."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from airflow_lean_provider import settings
from airflow_lean_provider.api import telling
from airflow_lean_provider.api.access import Act, CallerDep
from airflow_lean_provider.api.datamodels.common import Id, Key
from airflow_lean_provider.api.datamodels.runs import (
    ApproveBody,
    HoldCollectionResponse,
    LetThroughBody,
    PermittedResponse,
    WhyResponse,
)
from airflow_lean_provider.api.parameters import PageDep, QueryKey, problems
from airflow_lean_provider.api.turns import IN_TURN
from airflow_lean_provider.brake import holds, permits
from airflow_lean_provider.brake.holds import HoldFilter
from airflow_lean_provider.brake.permits import Permitted
from airflow_lean_provider.brake.why import why
from airflow_lean_provider.rules.facts import Run
from airflow_lean_provider.rules.plan import Label

router = APIRouter(tags=["Run"])


@router.get("/holds", responses=problems(400))
def get_holds(
    page: PageDep,
    caller: CallerDep,
    cord_id: Id | None = None,
    dag_id: QueryKey = None,
    run_id: QueryKey = None,
    task_id: QueryKey = None,
    label: Label | None = None,
    waiting: Annotated[
        bool | None, Query(description="Only runs that are kept from starting, or only the others")
    ] = None,
) -> HoldCollectionResponse:
    """
    List the runs that open cords concern, as far as the caller may read their Dags.

    `order_by`: since, dag_id, run_id, partition_key.
    """
    wanted = HoldFilter(
        cord=cord_id,
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        label=label.value if label else None,
        waiting=waiting,
    )
    found, total, hidden = holds.holds(wanted, page, caller.readable_dags)
    return HoldCollectionResponse(
        holds=[telling.hold(h, caller) for h in found], total_entries=total, hidden=hidden
    )


@router.get("/why", responses=problems(404))
def get_why(
    caller: CallerDep,
    dag_id: Annotated[Key, Query()],
    run_id: Annotated[Key, Query()],
    task_id: QueryKey = None,
) -> WhyResponse:
    """Say why a run, or a task of it, waits, and for what."""
    caller.insist(dag_id in caller.readable_dags)
    return telling.why(why(Run(dag_id, run_id), task_id), task_id, caller)


@router.post("/runs/let-through", responses=problems(400, 404, 409, 415), dependencies=[IN_TURN])
def let_run_through(body: LetThroughBody, caller: CallerDep) -> PermittedResponse:
    """Let one run read what is halted at this moment. What it makes of it is tainted, and made anew later."""
    caller.insist(caller.may_for_run(Act.LET_THROUGH, body.dag_id))
    return _permitted(
        permits.let_through(
            Run(body.dag_id, body.run_id),
            reason=body.reason,
            by=caller.name,
            timeout=settings.settle_timeout(),
        )
    )


@router.post("/runs/approve-repair", responses=problems(400, 404, 409, 415), dependencies=[IN_TURN])
def approve_repair(body: ApproveBody, caller: CallerDep) -> PermittedResponse:
    """Let a run be repaired that asks for a person first, since it sends mails or moves money."""
    caller.insist(caller.may_for_run(Act.LET_THROUGH, body.dag_id))
    return _permitted(
        permits.approve(
            Run(body.dag_id, body.run_id),
            reason=body.note,
            by=caller.name,
            timeout=settings.settle_timeout(),
        )
    )


def _permitted(said: Permitted) -> PermittedResponse:
    return PermittedResponse(**said.run._asdict(), permitted_by=said.by, permitted_at=said.at, new=said.new)
