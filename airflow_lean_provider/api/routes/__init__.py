"""The routes of ``/andon/v1``: who may, one act of the brake, an answer; nothing is decided here."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from airflow_lean_provider.api.access import only_our_own_pages
from airflow_lean_provider.api.datamodels.common import RefusedResponse
from airflow_lean_provider.api.routes import assets, cords, line, runs

router = APIRouter(
    prefix="/v1",
    dependencies=[Depends(only_our_own_pages)],
    responses={
        401: {"model": RefusedResponse, "description": "Nobody is logged in"},
        403: {"model": RefusedResponse, "description": "The right is missing"},
    },
)
for part in (line, cords, assets, runs):
    router.include_router(part.router)
