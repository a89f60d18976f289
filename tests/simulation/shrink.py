"""Finds a shorter history that is wrong in the same way."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from tests.simulation.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.acts import Act, History
    from tests.simulation.playing import Played

SECONDS = 150.0
"""For how long a shorter story is looked for."""


def shrink(played: Played, play: Callable[[History], Played], seconds: float = SECONDS) -> Played:
    """Delta debugging: leave out ever smaller pieces of the acts, then Dags, as long as it stays wrong."""
    until = time.monotonic() + seconds
    wanted = kinds_of(played.wrong)
    best = played

    def is_as_wrong(history: History) -> bool:
        nonlocal best
        tried = play(history)
        if kinds_of(tried.wrong) & wanted:
            best = tried
            return True
        return False

    size = max(1, len(best.history.acts) // 2)
    while time.monotonic() < until:
        at, found = 0, False
        while at < len(best.history.acts) and time.monotonic() < until:
            acts = best.history.acts
            if is_as_wrong(best.history._replace(acts=acts[:at] + acts[at + size :])):
                found = True
            else:
                at += size
        if size > 1:
            size //= 2
        elif not found:
            break
    for smaller in _without_a_dag(best.history):
        if time.monotonic() > until:
            break
        is_as_wrong(smaller._replace(acts=best.history.acts))
    return best


def kinds_of(complaints: list[str]) -> set[str]:
    """What makes two complaints the same: the rule at the end, or else the words without names."""
    return {(re.search(r"\[[^\[\]]+\]$", each) or re.match(r"[^:]*", each))[0] for each in complaints}  # type: ignore[index]


def _without_a_dag(history: History) -> Iterator[History]:
    for dag in history.graph.dags:
        rest = tuple(each for each in history.graph.dags if each is not dag)
        if rest and not _is_needed(dag.id, history.acts):
            yield history._replace(graph=Graph(rest))


def _is_needed(dag: str, acts: tuple[Act, ...]) -> bool:
    return any(dag in act.names for act in acts)
