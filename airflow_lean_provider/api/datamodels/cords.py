"""Cords: what pulls, changes and ends them, and what is told of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from airflow.api_fastapi.core_api.base import BaseModel, StrictBaseModel
from pydantic import Field

from airflow_lean_provider.api.datamodels.common import (
    Awaited,
    Counts,
    Id,
    Key,
    Moment,
    Name,
    PartitionName,
    Reason,
    RunBody,
    TaskResponse,
    Text,
)
from airflow_lean_provider.api.datamodels.graph import GraphResponse
from airflow_lean_provider.rules.facts import Outcome, Severity

AT_ONCE = 10_000
"""How many partition keys one request names."""


class Range(StrictBaseModel):
    """The published keys from ``first`` to ``last``, both included."""

    first: Key
    last: Key


class PublishedBy(RunBody):
    """All that a run published, or one of its tasks, or one of its task instances."""

    task_id: Key | None = None
    map_index: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None


class ScopeBody(StrictBaseModel):
    """
    Which partitions are meant: of one asset in one of several ways, or all that one run published.

    An asset whose events have no key is named by itself. ``pattern``, ``from_key`` and ``all`` also cover
    what is published later.
    """

    asset_id: Id | None = None
    asset: Name | None = Field(None, description="Name or uri, instead of `asset_id`")
    partition_keys: Annotated[list[Key], Field(max_length=AT_ONCE)] = Field([])
    range: Range | None = None
    pattern: Key | None = Field(None, description="A shell-style pattern of keys")
    from_key: Key | None = Field(None, description="This key and those that follow it")
    all: bool = Field(False, description="The whole asset")
    run: PublishedBy | None = None
    since: Moment | None = Field(None, description="What was published from then on is bad")
    until: Moment | None = Field(None, description="What was published after this moment is good")


class PreviewBody(ScopeBody):
    """What would be pulled."""

    severity: Severity | None = Field(None, description="Default: what the asset's policy says, else `stop`")
    limit: int = Field(100, ge=0, le=1000, description="How many rows of each list to return")


class PullBody(ScopeBody):
    """What is pulled, and why."""

    reason: Reason
    severity: Severity | None = Field(None, description="Default: what the asset's policy says, else `stop`")
    release_on: Literal["manual", "publication"] | None = None
    request_key: Key | None = Field(
        None, description="A repeated request with the same key returns the cord that exists"
    )


class CordPatchBody(StrictBaseModel):
    """What can be edited of a cord."""

    reason: Reason


class AcknowledgeBody(StrictBaseModel):
    """Somebody is on it."""

    note: Text | None = None


class EmptyBody(StrictBaseModel):
    """Nothing: `{}`."""


class PartitionBody(StrictBaseModel):
    """One partition, exactly; without a key, what was published without one."""

    asset_id: Id
    partition_key: Key | None


class ReleaseBody(StrictBaseModel):
    """How a cord ends, on all of its partitions or on some."""

    outcome: Outcome = Outcome.FIXED
    partition_keys: Annotated[list[Key], Field(max_length=AT_ONCE)] = Field(
        [], description="Only these keys, of every asset; default: all that are still open"
    )
    of: Annotated[list[PartitionBody], Field(min_length=1, max_length=AT_ONCE)] | None = Field(
        None, description="Only these partitions, instead of `partition_keys`"
    )
    note: Text | None = None
    now: bool = Field(False, description="Do not wait for the tasks that publish the partition")
    on_publication: bool = Field(False, description="As fixed, once it was published again")
    keep_scope: bool = Field(False, description="Go on covering what is published later")
    only_scope: bool = Field(
        False, description="Only stop covering what is published later; the partitions stay halted"
    )
    request_key: Key | None = Field(
        None, description="A repeated request with the same key changes nothing and returns the cord"
    )


class AssetOfCord(BaseModel):
    """
    How many partitions of an asset a cord names, and the first of them.

    None at all where ``scopes`` cover what is published later, and nothing was published yet.
    """

    asset_id: int
    name: str
    partitions: int
    open: int
    first_keys: list[str | None]


class ScopeOfCord(BaseModel):
    """What a cord covers of an asset besides single partitions: also what is published later."""

    asset_id: int
    asset: str
    covers: str
    ended_at: datetime | None
    ended_by: str | None


class CordActs(BaseModel):
    """What the caller may do to a cord as it is now."""

    acknowledge: bool
    edit: bool
    release: bool
    repair: bool
    raise_to_stop: bool


class Progress(BaseModel):
    """
    How far the repair of what read the bad data is.

    :param to_do: runs that are held, stopped, tainted, owe or are being repaired
    :param done: runs that the cord once concerned and that need nothing more
    """

    to_do: int
    done: int


class CordResponse(BaseModel):
    """
    One incident.

    :param hidden_assets: how many more assets it names that the caller may not read
    :param runs: the runs that it concerns, all of them
    """

    cord_id: int
    state: Literal["settling", "open", "closed"]
    severity: Severity
    reason: str
    pulled_by: str
    pulled_at: datetime
    release_on: str
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    acknowledged_note: str | None
    closed_at: datetime | None
    assets: list[AssetOfCord]
    hidden_assets: int
    partitions: int
    partitions_open: int
    partitions_asked: int = Field(description="Released, and waiting for that to take effect")
    scopes: list[ScopeOfCord]
    runs: Counts
    progress: Progress
    may: CordActs


class CordCollectionResponse(BaseModel):
    """A page of cords."""

    cords: list[CordResponse]
    total_entries: int


class CordPartitionResponse(PartitionName):
    """
    One partition under a cord.

    :param outcome: None while it is open
    :param asked_outcome: how it will end, once what ``awaits`` says has happened
    """

    outcome: Outcome | None
    ended_at: datetime | None
    asked_outcome: Outcome | None
    asked_by: str | None
    asked_at: datetime | None
    after_publication: bool
    awaits: Awaited | None
    note: str | None


class CordPartitionCollectionResponse(BaseModel):
    """A page of a cord's partitions."""

    partitions: list[CordPartitionResponse]
    total_entries: int


class PulledResponse(CordResponse):
    """
    A cord that was pulled.

    :param settled: whether every reader is held or stopped; if not, that goes on
    :param existed: the same request had pulled it before
    """

    settled: bool
    existed: bool


class RaisedResponse(CordResponse):
    """A cord that stops everything now."""

    settled: bool


class RepairedResponse(CordResponse):
    """A cord whose publishing tasks were cleared."""

    cleared: list[TaskResponse]
    hidden: int = Field(description="How many more were cleared in Dags that the caller may not read")


class PlannedPartition(PartitionName):
    """A partition that a pull names."""

    dag_id: str | None = Field(description="Who published it; None for an external event, or a hidden Dag")
    run_id: str | None
    published_at: datetime | None
    bad_versions: int


class PlannedRun(BaseModel):
    """A run that a pull concerns, and what it becomes."""

    dag_id: str
    run_id: str
    partition_key: str | None
    labels: list[str]
    owner: str


class LatePartition(BaseModel):
    """What nobody can make, or make anew, until the release."""

    dag_id: str
    partition_key: str | None
    assets: list[str]
    owner: str
    hops: int


class InDoubt(BaseModel):
    """A task with an inlet that counts as reading every partition of it, and what ends the doubt."""

    dag_id: str
    task_id: str
    asset: str
    ends_the_doubt: str


class NotFollowed(BaseModel):
    """A task that merely waits for an affected Dag or triggers it: the brake leaves it alone."""

    dag_id: str
    task_id: str
    why: str


class UsedUp(BaseModel):
    """A limit of Airflow's own that is used up by what is held; ``dag_id`` is None for a pool."""

    dag_id: str | None
    limit: str


class OwnedDags(BaseModel):
    """Whom it concerns."""

    owner: str
    dags: list[str]


class Hidden(BaseModel):
    """How many rows of each list are left out, since the caller may not read the Dag or the asset."""

    partitions: int = 0
    runs: int = 0
    late: int = 0
    held_in_doubt: int = 0
    not_followed: int = 0
    used_up: int = 0
    dags: int = 0


class PlanResponse(BaseModel):
    """
    What a pull would do at this moment.

    :param counts: of all runs, the hidden ones included
    :param hidden: what the lists leave out for want of rights; ``limit`` cuts them besides
    """

    severity: Severity
    covers_later: str | None
    counts: Counts
    late: int
    repair_task_seconds: float
    total_partitions: int
    partitions: list[PlannedPartition]
    total_runs: int
    runs: list[PlannedRun]
    late_partitions: list[LatePartition]
    owners: list[OwnedDags]
    held_in_doubt: list[InDoubt]
    not_followed: list[NotFollowed]
    used_up: list[UsedUp]
    hidden: Hidden
    graph: GraphResponse
    may_pull: bool
