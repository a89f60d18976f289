"""A publication: what it changes is settled before the publishing task is answered."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from airflow_lean_provider.brake.settle import settle
from airflow_lean_provider.store.models import AbsorbedEvent, AffectedRun, Cord, HaltedPartition
from airflow_lean_provider.store.transactions import in_transaction

if TYPE_CHECKING:
    from airflow.listeners.types import AssetEvent
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


AT_MOST_SECONDS = 10.0
"""For how long a publication waits for what it sets free; the sweeper does the rest."""


class _OneWaits:
    """
    Of many publications that want to settle at once, one settles and one waits; the others need not.

    Whoever waits has not begun to look, so that it sees what all of them have committed.
    """

    def __init__(self) -> None:
        self._working = threading.Lock()
        self._waiting = threading.Lock()

    def settle(self) -> None:
        if not self._waiting.acquire(blocking=False):
            return
        released = False
        try:
            with self._working:
                self._waiting.release()
                released = True
                settle(AT_MOST_SECONDS)
        finally:
            if not released:
                self._waiting.release()


_one = _OneWaits()


def published(event: AssetEvent) -> None:
    """
    Settle what the publication changes, if it concerns an open cord at all.

    Never raises: the publication is committed, and the sweeper finishes what fails here. An event that no
    task emitted is left to the sweeper: Airflow tells of it before it commits (``AssetManager.
    register_asset_change`` without ``callback_sink``), when it could be neither seen nor waited for.
    """
    if event.source_run_id is None:
        return
    try:
        if in_transaction(lambda session: _concerns_a_cord(event, session)):
            _one.settle()
    except Exception:  # see above
        log.exception("A publication of %s could not be settled; the sweeper will", event.asset.name)


def _concerns_a_cord(event: AssetEvent, session: Session) -> bool:
    if session.scalar(
        select(
            or_(
                select(Cord.id).where(Cord.closed_at.is_(None)).exists(),
                select(HaltedPartition.id).exists(),
                select(AbsorbedEvent.id).exists(),
            )
        )
    ):
        keys = session.execute(
            select(HaltedPartition.partition_key).where(HaltedPartition.partition_key == event.partition_key)
        ).first()
        runs = session.execute(
            select(AffectedRun.run_id).where(
                or_(
                    AffectedRun.partition_key == event.partition_key,
                    (AffectedRun.dag_id == event.source_dag_id) & (AffectedRun.run_id == event.source_run_id),
                )
            )
        ).first()
        return keys is not None or runs is not None or event.partition_key is None
    return False
