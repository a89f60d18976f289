"""Transactions of our own, apart from the session of whoever calls us."""

from __future__ import annotations

import logging
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from airflow import settings
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from airflow_lean_provider.store.models import Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Engine

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 6
THE_SWITCH = 1


def engine() -> Engine:
    """Return Airflow's engine."""
    if settings.engine is None:
        settings.configure_orm()
    found: Engine | None = settings.engine
    if found is None:
        raise RuntimeError("Airflow's metadata database is not configured")
    return found


@contextmanager
def transaction() -> Iterator[Session]:
    """Open a session, commit it at the end, roll it back on any error."""
    session = Session(engine(), expire_on_commit=False)
    try:
        yield session
        session.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        session.close()


def in_transaction(step: Callable[[Session], T]) -> T:
    """
    Carry out a step in a transaction, again if the database refused it for the moment.

    :param step: may be called several times; only its last call is committed
    :raises sqlalchemy.exc.DBAPIError: when it was refused ``ATTEMPTS`` times
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction() as session:
                return step(session)
        except DBAPIError as error:
            if attempt == ATTEMPTS or not _passing(error):
                raise
            log.info("The database refused a transaction of the andon cord, trying again: %s", error.orig)
            time.sleep(random.uniform(0.5, 1.0) * 0.05 * 2**attempt)
    raise AssertionError("unreachable")


def is_lost(error: BaseException) -> bool:
    """
    Tell whether the whole transaction is gone, with all that was done before the last savepoint.

    MariaDB rolls back all of it when it ends a deadlock (error 1213), and then knows no savepoint (1305).
    Whoever goes on after that commits half of what was meant.
    """
    if not isinstance(error, DBAPIError):
        return False
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return error.connection_invalidated or code in (1213, 1305)


def _passing(error: DBAPIError) -> bool:
    """Deadlock, serialization failure, lock time-out, lost connection, a locked file, or a lost race."""
    if isinstance(error, IntegrityError) or is_lost(error):
        return True
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if code in ("40001", "40P01", "55P03") or (code or "").startswith(("08", "57P")):
        return True
    text = str(error.orig).lower()
    return any(
        sign in text for sign in ("locked", "deadlock", "lock wait timeout", "gone away", "lost connection")
    )


def lock_switch(session: Session) -> Switch:
    """
    Lock the one row that everybody locks who changes what the brake holds.

    A plain update: SQLite serializes writers from their first write on, the others lock the row.
    """
    locked: Any = session.execute(update(Switch).where(Switch.id == THE_SWITCH).values(id=THE_SWITCH))
    if not locked.rowcount:
        session.add(Switch(id=THE_SWITCH, enabled=True))
        session.flush()
    return session.get_one(Switch, THE_SWITCH, populate_existing=True)
