"""The line as a whole: at a glance, and whether the brake works."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from airflow.api_fastapi.core_api.base import BaseModel

from airflow_lean_provider.api.datamodels.common import Counts


class OldestCord(BaseModel):
    """The cord that has been open for longest."""

    cord_id: int
    pulled_at: datetime
    reason: str


class SummaryResponse(BaseModel):
    """
    The state of the line at a glance. Numbers count everything, also what the caller may not read.

    :param line: ``stopped`` while a cord stops something, ``warned`` while one only warns, ``off`` while the
        brake is disabled, else ``running``
    :param oldest: of the cords that the caller may see
    """

    line: Literal["running", "warned", "stopped", "off"]
    open_cords: int
    stop: int
    warn: int
    unacknowledged: int
    settling: int
    halted_partitions: int
    bad_partitions: int
    runs: Counts
    oldest: OldestCord | None


class CheckResponse(BaseModel):
    """One check of ``airflow andon doctor``; ``detail`` may name Dags: only for who may read them all."""

    check: str
    fine: bool
    detail: str | None


class HealthResponse(BaseModel):
    """
    Is the brake able to brake?

    :param status: ``disabled`` if a person has switched it off
    """

    status: Literal["healthy", "unhealthy", "disabled"]
    disabled_by: str | None
    disabled_since: datetime | None
    checks: list[CheckResponse]
