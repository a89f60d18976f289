"""Assets and their partitions, with their state."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from airflow.api_fastapi.core_api.base import BaseModel, StrictBaseModel
from pydantic import Field

from airflow_lean_provider.api.datamodels.common import Id, Key, Name, PartitionName, Reason
from airflow_lean_provider.brake.partitions import State
from airflow_lean_provider.rules.facts import Outcome


class AssetResponse(BaseModel):
    """
    An asset and how it stands.

    :param open_cords: numbers of the open cords on it, also of those that cover only what is published later
    :param halted: partitions that a cord halts
    :param bad: partitions that are bad because of others upstream
    """

    asset_id: int
    name: str
    uri: str
    open_cords: list[int]
    halted: int
    bad: int
    may_pull: bool


class AssetCollectionResponse(BaseModel):
    """A page of assets."""

    assets: list[AssetResponse]
    total_entries: int


class PartitionResponse(BaseModel):
    """
    One partition of an asset; ``partition_key`` is None for what was published without a key.

    :param state: ``halted``: a cord is open on it; ``bad``: made from bad data, or half-written; ``warned``:
        a cord that only warns is open on it; ``withdrawn``: it should not exist; else ``clean``
    :param cords: numbers of the open cords that are to blame
    """

    partition_key: str | None
    state: State
    cords: list[int]
    since: datetime | None
    published_at: datetime | None
    publications: int
    dag_id: str | None
    run_id: str | None


class PartitionCollectionResponse(BaseModel):
    """A page of an asset's partitions."""

    partitions: list[PartitionResponse]
    total_entries: int


class PublishedPartition(PartitionName):
    """A partition that a run published, and how it stands."""

    task_id: str
    map_index: int
    published_at: datetime
    state: State
    cords: list[int]


class PublishedResponse(BaseModel):
    """
    What a run or a task instance published.

    :param total_entries: of those that the caller may read
    :param hidden: how many more there are
    """

    published: list[PublishedPartition]
    total_entries: int
    hidden: int
    may_pull: bool


class DeclareBody(StrictBaseModel):
    """The way out where nothing will publish bad data again."""

    asset_id: Id | None = None
    asset: Name | None = Field(None, description="Name or uri, instead of `asset_id`")
    partition_key: Key | None = None
    outcome: Literal["fixed", "false_alarm"]
    reason: Reason


class DeclaredResponse(PartitionName):
    """
    What a person has declared a version of a partition to be.

    :param new: nobody had declared it before
    """

    outcome: Outcome
    declared_by: str
    declared_at: datetime
    new: bool
