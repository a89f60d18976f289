"""Request keys: a repeated request with the same key is one request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_lean_provider.brake.errors import BadRequest, Conflict
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import ReleaseRequest

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

LONGEST = 250
"""Characters of a request key."""


def check_request_key(key: str | None) -> None:
    """
    Check that a request key can be kept.

    :raises BadRequest: if it is empty or too long
    """
    if key is not None and not 0 < len(key) <= LONGEST:
        raise BadRequest("request_key", f"must have 1 to {LONGEST} characters")


def is_repeated(key: str | None, cord: int, by: str, session: Session) -> bool:
    """
    Note that a release of the cord was asked for under this key, and tell whether it was before.

    :raises Conflict: if the key was used for another cord
    """
    if key is None:
        return False
    known = session.scalar(select(ReleaseRequest.cord_id).where(ReleaseRequest.request_key == key))
    if known is None:
        session.add(ReleaseRequest(request_key=key, cord_id=cord, requested_by=by, requested_at=now()))
        return False
    if known != cord:
        raise Conflict("request_key", "was used for another cord")
    return True
