"""A trace in lines that a person can read."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from tests.simulation.trace import FinalRun, PartitionId, RunId, TaskId

if TYPE_CHECKING:
    from tests.simulation import trace as seen


def line(event: seen.Event) -> str:
    """One event: its moment, its kind, and what it says beyond what is usual."""
    said = [
        f"{field.name}={_short(value)}"
        for field in fields(event)
        if field.name != "at" and (value := getattr(event, field.name)) != field.default
    ]
    return f"{event.at:4} {type(event).__name__:12} {' '.join(said)}"


def _short(thing: Any) -> str:
    if isinstance(thing, TaskId):
        index = f"[{thing.map_index}]" if thing.map_index >= 0 else ""
        return f"{thing.run.dag}.{thing.task}{index}({thing.run.run})"
    if isinstance(thing, RunId):
        return f"{thing.dag}({thing.run})"
    if isinstance(thing, PartitionId):
        return f"{thing.asset}[{thing.key or ''}]"
    if isinstance(thing, FinalRun):
        tasks = ", ".join(
            f"{task.task}{task.map_index if task.map_index >= 0 else ''}: {state}"
            for task, state in thing.tasks.items()
        )
        return f"{thing.state} {'' if thing.restored else 'HELD '}({tasks})"
    if isinstance(thing, dict):
        return "".join(f"\n         {_short(key)} {_short(value)}" for key, value in thing.items())
    if isinstance(thing, tuple):
        return f"({', '.join(map(_short, thing))})"
    return str(getattr(thing, "id", thing))
