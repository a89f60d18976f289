"""Runs and tasks: what is held, why, and what a person permits."""

from __future__ import annotations

from datetime import datetime

from airflow.api_fastapi.core_api.base import BaseModel

from airflow_lean_provider.api.datamodels.common import (
    Awaited,
    PartitionName,
    Reason,
    RunBody,
    RunResponse,
    Text,
)


class RunActs(BaseModel):
    """What the caller may do for a run as it is now."""

    let_through: bool
    approve: bool


class BadRead(PartitionName):
    """A bad partition that is to blame; ``cord_id`` is None where a stopped task left it half-written."""

    cord_id: int | None


class CordInBrief(BaseModel):
    """Why, and who says so."""

    cord_id: int
    reason: str
    pulled_by: str
    pulled_at: datetime


class HoldResponse(RunResponse):
    """
    A run that an open cord concerns.

    :param labels: held, stopped, tainted, owes, repairing, starting, superseded, repair failed, asks
    :param whole: the run as a whole waits, not only tasks of it
    :param parked: task ids that wait inside the run, which goes on
    :param stopped: task ids that were killed
    :param cords: the open cords that are to blame; none where a stopped task left something half-written
    :param because: the first partitions that are to blame
    """

    partition_key: str | None
    labels: list[str]
    whole: bool
    parked: list[str]
    stopped: list[str]
    since: datetime
    cords: list[CordInBrief]
    because: list[BadRead]


class HoldCollectionResponse(BaseModel):
    """
    A page of the runs that open cords concern.

    :param total_entries: of those that the caller may read
    :param hidden: how many more there are
    """

    holds: list[HoldResponse]
    total_entries: int
    hidden: int


class WhyReason(BaseModel):
    """
    One thing that keeps a run or a task waiting.

    :param asset_id: None where it is no partition, or one of an asset that the caller may not read
    :param may_declare: nothing is going to make the partition good, and the caller may declare what it is
    """

    cord_id: int | None
    asset_id: int | None
    asset: str | None
    partition_key: str | None
    reason: str | None
    pulled_by: str | None
    since: datetime | None
    awaits: Awaited
    may_declare: bool


class WhyResponse(RunResponse):
    """
    Why a run, or a task of it, waits.

    :param waits: whether the brake keeps it, or something of it, from starting
    :param reasons: empty where the brake has nothing to do with it
    """

    task_id: str | None
    labels: list[str]
    waits: bool
    let_through_by: str | None
    reasons: list[WhyReason]
    may: RunActs


class LetThroughBody(RunBody):
    """Lets one run read what is halted at this moment."""

    reason: Reason


class ApproveBody(RunBody):
    """Lets a run be repaired that asks for a person first."""

    note: Text | None = None


class PermittedResponse(RunResponse):
    """
    What a person has permitted.

    :param new: nobody had permitted it before
    """

    permitted_by: str
    permitted_at: datetime
    new: bool
