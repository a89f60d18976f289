"""The clock of this process, in UTC."""

from __future__ import annotations

from datetime import datetime, timezone


def now() -> datetime:
    """Return the time."""
    return datetime.now(timezone.utc)
