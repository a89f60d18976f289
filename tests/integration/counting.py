"""What an act costs, in statements: a number that a busy machine does not change."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from airflow_lean_provider.store.transactions import engine

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the statements by their verb and table."""
    found: Counter[str] = Counter()

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        found[" ".join(statement.split())[:60]] += 1

    event.listen(engine(), "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine(), "before_cursor_execute", note)
