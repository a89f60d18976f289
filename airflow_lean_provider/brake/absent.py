"""What is absent: withdrawn, or made from what was withdrawn alone, and not published since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_lean_provider.brake.scene import look
from airflow_lean_provider.rules.facts import Outcome, Partition
from airflow_lean_provider.store.models import CordPartition

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def absent_partitions(session: Session) -> frozenset[Partition]:
    """Return the absent partitions; as long as nothing was ever withdrawn, one statement says so."""
    withdrawn = {
        Partition(*row)
        for row in session.execute(
            select(CordPartition.asset_id, CordPartition.partition_key).where(
                CordPartition.outcome == Outcome.WITHDRAWN.value
            )
        )
    }
    return look(session, also=withdrawn).judgement.absent if withdrawn else frozenset()
