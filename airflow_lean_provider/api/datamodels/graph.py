"""The downstream graph of a cord or of a preview."""

from __future__ import annotations

from typing import Literal

from airflow.api_fastapi.core_api.base import BaseModel

from airflow_lean_provider.api.datamodels.common import Counts
from airflow_lean_provider.brake.downstream import NodeState


class NodeResponse(BaseModel):
    """
    An asset or a Dag.

    :param id: unique in this graph
    :param label: None for a Dag or an asset that the caller may not read
    :param hops: how many Dags away from the cord's own assets
    :param state: the most urgent that is true of it: of an asset ``bad``, ``warned`` or ``clean``; of a Dag
        ``stopped``, ``held``, ``repairing``, ``tainted`` or ``clean``
    :param partitions: of an asset, how many partitions of it are concerned, of a Dag, how many keys
    :param bad_partitions: of an asset, how many of these are bad now
    :param runs: of a Dag, its runs that the cord concerns
    """

    id: str
    kind: Literal["asset", "dag"]
    label: str | None
    asset_id: int | None
    dag_id: str | None
    hops: int
    root: bool
    state: NodeState
    partitions: int
    bad_partitions: int
    runs: Counts


class EdgeResponse(BaseModel):
    """A Dag reads an asset, or publishes it; ``source`` and ``target`` are ids of nodes."""

    source: str
    target: str


class GraphResponse(BaseModel):
    """
    What lies downstream of a cord, hop by hop.

    :param cut: there is more than is shown
    """

    nodes: list[NodeResponse]
    edges: list[EdgeResponse]
    cut: bool
