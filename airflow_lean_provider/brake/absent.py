"""What is absent: withdrawn, or made from what was withdrawn alone, and not published since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_lean_provider.brake.scene import look
from airflow_lean_provider.rules.facts import Outcome, Partition
from airflow_lean_provider.store.models import CordPartition

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session


LOOKED_AT = 200
"""How many withdrawn partitions, the last ones, are followed to what was made from them."""


def absent_partitions(session: Session, *, assets: Collection[int] | None = None) -> frozenset[Partition]:
    """
    Return the absent partitions, as far as the last that were withdrawn lead to them.

    As long as nothing was ever withdrawn, one statement says so.

    :param assets: where to begin; None for anywhere
    """
    query = select(CordPartition.asset_id, CordPartition.partition_key).where(
        CordPartition.outcome == Outcome.WITHDRAWN.value
    )
    if assets is not None:
        query = query.where(CordPartition.asset_id.in_(assets))
    last = query.order_by(CordPartition.ended_at.desc(), CordPartition.id.desc()).limit(LOOKED_AT)
    withdrawn = {Partition(*row) for row in session.execute(last)}
    return look(session, also=withdrawn).judgement.absent if withdrawn else frozenset()
