"""The sweeper: finishes what a killed process left, one at a time, cheap when nothing is open."""

from __future__ import annotations

import logging
import threading

from sqlalchemy import or_, select

from airflow_lean_provider import settings
from airflow_lean_provider.brake.settle import settle
from airflow_lean_provider.store.models import AbsorbedEvent, AffectedRun, Cord, HaltedPartition, ParkedTask
from airflow_lean_provider.store.transactions import transaction

log = logging.getLogger(__name__)


def sweep() -> bool:
    """
    Settle if anything is open.

    :return: whether anything was open
    """
    with transaction() as session:
        is_open = session.scalar(
            select(
                or_(
                    select(Cord.id).where(Cord.closed_at.is_(None)).exists(),
                    select(HaltedPartition.id).exists(),
                    select(AffectedRun.run_id).exists(),
                    select(ParkedTask.task_id).exists(),
                    select(AbsorbedEvent.id).exists(),
                )
            )
        )
    if is_open:
        settle()
    return bool(is_open)


class Sweeper:
    """A thread that sweeps every ``[lean] sweep_interval`` seconds while the api-server lives."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to sweep."""
        self._thread = threading.Thread(target=self._run, name="andon-sweeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sweep no more; wait for a sweep under way."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=settings.sweep_interval())

    def _run(self) -> None:
        while not self._stopped.wait(settings.sweep_interval()):
            try:
                sweep()
            except Exception:  # the next round tries again; the api-server must not suffer
                log.exception("The sweeper of the andon cord failed and will try again")
