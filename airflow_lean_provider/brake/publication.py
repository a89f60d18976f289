"""A publication: what may be bad is halted in its own transaction, the rest is settled at once."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, insert, or_, select

from airflow_lean_provider.airflow_internals.dags import is_advisory
from airflow_lean_provider.brake import scopes
from airflow_lean_provider.brake.settle import settle
from airflow_lean_provider.rules.facts import Partition, Severity
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import (
    AbsorbedEvent,
    AffectedRun,
    Cord,
    CordScope,
    HaltedPartition,
    LetThrough,
    Switch,
)
from airflow_lean_provider.store.transactions import in_transaction, is_lost

if TYPE_CHECKING:
    from airflow.listeners.types import AssetEvent
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


_A_CORD_IS_OPEN = and_(
    select(Cord.id).where(Cord.closed_at.is_(None), Cord.severity == Severity.STOP.value).exists(),
    ~select(Switch.id).where(Switch.enabled.is_(False)).exists(),
)

AT_MOST_SECONDS = 10.0
"""For how long a publication waits for what it sets free; the sweeper does the rest."""


def halt_until_judged(connection: Connection, event: Any) -> None:
    """
    Halt a partition that is being published, if it is under an open scope or may be born bad.

    Born bad is what a run publishes that an open cord concerns, that a person lets through or that is only
    advisory. Called in the publication's transaction, with the row of Airflow's ``asset_event``: it only
    inserts, and never raises, since an error would make Airflow mark the healthy producer as failed. What it
    misses, the settling that follows finds, which also lifts what turns out to be good. Until then the halt
    has no causes, if no scope covers it.
    """
    _told.publication = None
    try:
        with connection.begin_nested():
            if not connection.scalar(select(_A_CORD_IS_OPEN)):
                return
            partition = Partition(event.asset_id, event.partition_key)
            cords = scopes.cords_that_cover(connection, partition)
            if cords or _may_be_bad(connection, event.source_dag_id, event.source_run_id):
                connection.execute(
                    insert(HaltedPartition).values(
                        asset_id=partition.asset,
                        partition_key=partition.key,
                        root=bool(cords),
                        causes=[[cord, *partition] for cord in cords],
                        since=now(),
                    )
                )
    except Exception as error:  # see above
        if is_lost(error):
            raise
        log.exception("A publication of asset %s %r could not be judged", event.asset_id, event.partition_key)


def _may_be_bad(connection: Connection, dag_id: str | None, run_id: str | None) -> bool:
    if dag_id is None or run_id is None:
        return False
    of_run = {"dag_id": dag_id, "run_id": run_id}
    return bool(
        connection.scalar(
            select(
                or_(
                    select(AffectedRun.run_id).filter_by(**of_run).exists(),
                    select(LetThrough.run_id).filter_by(**of_run).exists(),
                    is_advisory(dag_id),
                )
            )
        )
    )


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


class _Told(threading.local):
    """
    The publication that this thread has settled since it last wrote an event.

    Airflow tells of a publication event by event, in the thread that has committed all of them before: the
    first look sees them all, and a look for each of a thousand partitions would take hours.
    """

    publication: tuple[str | None, str | None, str | None, int | None] | None = None


_told = _Told()


def published(event: AssetEvent) -> None:
    """
    Settle what the publication changes, if it concerns an open cord at all.

    Never raises: the publication is committed, and the sweeper finishes what fails here. An event that no
    task emitted is left to the sweeper: Airflow tells of it before it commits (``AssetManager.
    register_asset_change`` without ``callback_sink``), when it could be neither seen nor waited for.
    """
    publication = (event.source_dag_id, event.source_task_id, event.source_run_id, event.source_map_index)
    if event.source_run_id is None or publication == _told.publication:
        return
    try:
        if in_transaction(lambda session: _concerns_a_cord(event, session)):
            _one.settle()
            _told.publication = publication
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
        scope = session.execute(
            select(CordScope.id).where(CordScope.asset_name == event.asset.name, CordScope.ended_at.is_(None))
        ).first()
        return any(found is not None for found in (keys, runs, scope)) or event.partition_key is None
    return False
