"""The line as a whole."""

from __future__ import annotations

from fastapi import APIRouter

from airflow_lean_provider.api import telling
from airflow_lean_provider.api.access import CallerDep
from airflow_lean_provider.api.datamodels.line import (
    CheckResponse,
    HealthResponse,
    OldestCord,
    SummaryResponse,
)
from airflow_lean_provider.brake import board, doctor
from airflow_lean_provider.rules.facts import Severity

router = APIRouter(tags=["Line"])


@router.get("/summary")
def get_summary(caller: CallerDep) -> SummaryResponse:
    """Return the state of the line at a glance. Numbers count everything."""
    found = board.summary()
    stop = sum(c.severity == Severity.STOP.value for c in found.cords)
    warn = len(found.cords) - stop
    oldest = next((c for c in found.cords if caller.readable_assets(board.assets_of(c.id))), None)
    return SummaryResponse(
        line="off" if not found.enabled else "stopped" if stop else "warned" if warn else "running",
        open_cords=len(found.cords),
        stop=stop,
        warn=warn,
        unacknowledged=sum(c.acknowledged_at is None for c in found.cords),
        settling=sum(c.settled_at is None for c in found.cords),
        halted_partitions=found.halted,
        bad_partitions=found.bad,
        runs=telling.counts(found.runs),
        oldest=OldestCord(cord_id=oldest.id, pulled_at=oldest.pulled_at, reason=oldest.reason)
        if oldest
        else None,
    )


@router.get("/health")
def get_health(caller: CallerDep) -> HealthResponse:
    """Say whether the brake is able to brake: what `airflow andon doctor` finds."""
    off = board.switched_off()
    checks = doctor.examine()
    in_order = all(finding.fine for finding in checks)
    detailed = caller.reads_every_dag
    return HealthResponse(
        status="disabled" if off else "healthy" if in_order else "unhealthy",
        disabled_by=off.changed_by if off else None,
        disabled_since=off.changed_at if off else None,
        checks=[
            CheckResponse(check=f.check, fine=f.fine, detail=f.detail if detailed else None) for f in checks
        ],
    )
