"""Which runs are held: from the moment of the hold until what was held has run."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.oracle.state import State
    from tests.simulation.trace import RunId, TaskId


class Holds:
    """
    The holds by one of the two readings of a moment.

    A run waits to read from the moment at which one of its tasks was held or stopped until one of those
    begins; from then on it reads, until they have all ended.
    """

    def __init__(self) -> None:
        self._tasks: dict[RunId, set[TaskId]] = defaultdict(set)
        self._begun: dict[RunId, int] = {}

    def __getitem__(self, run: RunId) -> set[TaskId]:
        return self._tasks.get(run, set())

    def note(self, state: State) -> None:
        """
        Add what is held now; who was stopped is, though its old process may still run.

        What cannot run any more may be, until a scheduler has found that out (docs/decisions/0003, 63).
        """
        facts = state.facts
        stopping = [each.task for each in facts.open_executions() if each.stopped is not None]
        for task in {*(facts.not_begun() if state.mild else facts.waiting()), *stopping}:
            last = facts.last.get(task)
            stopped = last.stopped if last is not None else None
            if state.forbids(task) or (stopped or -1) > self._begun.get(task.run, -1):
                self._begun.pop(task.run, None)
                self._tasks[task.run].add(task)

    def start(self, task: TaskId, now: int) -> None:
        if task in self[task.run]:
            self._begun.setdefault(task.run, now)

    def end(self, task: TaskId) -> None:
        self._tasks[task.run].discard(task)

    def drop_all(self) -> None:
        self._tasks.clear()
        self._begun.clear()

    def drop(self, run: RunId) -> None:
        self._tasks.pop(run, None)

    def waiting(self) -> list[RunId]:
        return [run for run in self._tasks if self.waits(run)]

    def waits(self, run: RunId) -> bool:
        return bool(self[run]) and run not in self._begun

    def begun(self, run: RunId) -> int | None:
        """When it began to read after the hold, None if it did not."""
        return self._begun.get(run)
