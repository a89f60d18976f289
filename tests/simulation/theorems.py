"""
What follows from the rules and is coded nowhere: it must not matter in which order cords are released, nor
whether two people pull the same cord.

Each variant of a history is played from the start; what it comes to, by the oracle's own account, must equal
what the history itself comes to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.acts import Act, History
from tests.simulation.oracle import outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.playing import Played

REST = Act("rest")
_OF_AN_ENDING = ("release", "rest", "restore", "unpause")


def with_releases_at_rest(history: History) -> History:
    """The history with all cords released one after the other at its end, from rest to rest."""
    body, releases = _split(history)
    return history._replace(acts=(*body, REST, *releases, REST))


def with_rests_between(history: History) -> History:
    """The same, with time for all repairs after each release."""
    body, releases = _split(history)
    return history._replace(acts=(*body, REST, *(act for each in releases for act in (each, REST)), REST))


def in_another_order(history: History) -> History:
    """The same, the last release first."""
    body, releases = _split(history)
    return history._replace(acts=(*body, REST, *reversed(releases), REST))


def with_pulls_doubled(history: History) -> History:
    """The same, each cord pulled by two people, released by both."""
    body, releases = _split(history)
    return history._replace(
        acts=(
            *(act for each in body for act in _twice(each)),
            REST,
            *(act for each in releases for act in _twice(each)),
            REST,
        )
    )


VARIANTS = (with_rests_between, in_another_order, with_pulls_doubled)


def broken_by(history: History, play: Callable[[History], Played]) -> list[str]:
    """Play the history and its variants; say which come to something else."""
    first = play(with_releases_at_rest(history))
    if first.wrong or first.trace is None:
        return [f"with releases at rest: {each}" for each in first.wrong]
    said = []
    for vary in VARIANTS:
        played = play(vary(history))
        name = vary.__name__.replace("_", " ")
        said += [f"{name}: {each}" for each in played.wrong]
        if not played.wrong and played.trace is not None:
            said += _differences(name, first, played)
    return said


def _differences(name: str, first: Played, second: Played) -> list[str]:
    assert first.trace is not None
    assert second.trace is not None
    one, other = outcome(first.trace), outcome(second.trace)
    said = []
    for what, a, b in (("partition", one.partitions, other.partitions), ("runs of", one.ran, other.ran)):
        said += [
            f"{name}: {what} {each}: {a.get(each)} and then {b.get(each)}"  # type: ignore[call-overload]
            for each in sorted(a.keys() | b.keys(), key=str)
            if a.get(each) != b.get(each)  # type: ignore[call-overload]
        ]
    return said


def _split(history: History) -> tuple[list[Act], list[Act]]:
    """What happens before the cords are released for good, and those releases."""
    at = len(history.acts)
    while at and history.acts[at - 1].do in _OF_AN_ENDING:
        at -= 1
    ending = history.acts[at:]
    back = [act for act in ending if act.do in ("restore", "unpause")]
    return [*history.acts[:at], *back], [act for act in ending if act.do == "release"]


def _twice(act: Act) -> tuple[Act, ...]:
    """What is done to a cord is done to the other one, too."""
    if act.do not in ("end_scope", "pull", "pull_open", "pull_some", "raise_", "release", "repair"):
        return (act,)
    label, *names = act.names
    return act, Act(act.do, (f"{label}again", *names))
