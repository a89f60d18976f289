"""Counts the steps of one act towards the database, and breaks one of them."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import event

import airflow_lean_provider
from tests.faults.kinds import Died, Fault
from tests.simulation.interleaving import is_looking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Engine

_OURS = airflow_lean_provider.__path__[0]
_EXECUTIONS = ("do_execute", "do_execute_no_params", "do_executemany")


class Point(NamedTuple):
    """
    One step towards the database.

    :param site: the place in the product that takes it; empty if Airflow does
    :param commit: it is a commit, not a statement
    """

    statement: str
    site: str
    commit: bool = False

    @property
    def ours(self) -> bool:
        return bool(self.site)

    @property
    def of_savepoint(self) -> bool:
        """Whether it only marks a place in a transaction, which a database never refuses."""
        return self.statement.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK"))


@dataclass
class Breaker:
    """
    Sees the steps of everybody in this process while it is on.

    :param at: the number of the step that breaks; None only counts
    """

    engine: Engine
    at: int | None = None
    fault: Fault | None = None
    points: list[Point] = field(default_factory=list)
    _dead: bool = False

    @contextmanager
    def on(self) -> Iterator[None]:
        """
        Count from here on, and break the step that is to break.

        A process that has died takes no step any more: whatever goes on in its name is refused.
        """
        dialect = self.engine.dialect
        original: Any = dialect.do_commit

        def do_commit(connection: Any) -> None:
            breaks = self._step("COMMIT", commit=True)
            if breaks is not None and not breaks.after:
                breaks.does(connection.cursor())
            original(connection)
            if breaks is not None and breaks.after:
                breaks.does(connection.cursor())

        dialect.do_commit = do_commit  # type: ignore[method-assign]
        for name in _EXECUTIONS:
            event.listen(self.engine, name, self._execute)
        try:
            yield
        finally:
            for name in _EXECUTIONS:
                event.remove(self.engine, name, self._execute)
            dialect.do_commit = original  # type: ignore[method-assign]

    def _execute(self, cursor: Any, statement: str, *_: Any) -> None:
        breaks = self._step(statement)
        if breaks is not None:
            breaks.does(cursor)

    def _step(self, statement: str, *, commit: bool = False) -> Fault | None:
        if is_looking():
            return None
        if self._dead:
            raise Died
        number = len(self.points)
        self.points.append(Point(statement, _site(), commit))
        if number != self.at or self.fault is None:
            return None
        self._dead = self.fault.kills
        return self.fault


def _site() -> str:
    """Return the innermost place in the product that the step is taken for."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_OURS):
            return f"{name[len(_OURS) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""
