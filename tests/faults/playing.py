"""Plays a story again and again, each time with another step broken, and lets the oracle judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow import settings

from tests.faults.breaking import Breaker, Point
from tests.faults.kinds import Fault, kinds
from tests.faults.stories import STORIES
from tests.simulation.playing import Played, play_acts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.acts import Act
    from tests.simulation.stage import Stage

BY_A_SCHEDULER = ("tick",)
BY_A_WORKER = ("start", "succeed", "hear")
"""A worker calls again when the api-server fails or is gone."""


class Attack(NamedTuple):
    """
    What breaks.

    :param act: the number of the act in the story
    :param at: the number of its step towards the database
    """

    story: str
    act: int
    at: int
    fault: Fault
    point: Point

    def __str__(self) -> str:
        act = STORIES[self.story].history().acts[self.act]
        return (
            f"{self.story}: {act}, step {self.at}, {self.fault.name}: "
            f"{' '.join(self.point.statement.split())[:100]}"
        )

    @property
    def again(self) -> str:
        """The command that plays it again."""
        return (
            f"python -m tests.faults --story {self.story!r} --act {self.act} --at {self.at} "
            f"--fault {self.fault.name!r}"
        )


def attacks(story: str, *, every_time: bool = False) -> Iterator[Attack]:
    """
    Yield all that can break in a story: every commit, and every statement of the product's own.

    A process may die at Airflow's statements, too, of an act in which the product does anything.

    :param every_time: a statement that an act executes again and again breaks each time, not only the first
        and the last time; a process dies at each statement of a transaction, not only at its first, although
        nothing of it remains either way
    :raises AssertionError: if the story ends badly although nothing breaks
    """
    steps: dict[int, list[Point]] = {}
    played = _play(story, None, steps)
    assert not played.wrong, played.wrong
    for act, points in steps.items():
        if any(point.ours for point in points):
            yield from _attacks_on(story, act, points, every_time=every_time)


def _attacks_on(story: str, act: int, points: list[Point], *, every_time: bool) -> Iterator[Attack]:
    dialect = settings.engine.dialect.name
    first: dict[Point, int] = {}
    last: dict[Point, int] = {}
    for at, point in enumerate(points):
        first.setdefault(point, at)
        last[point] = at
    begins = True
    for at, point in enumerate(points):
        for fault in kinds(dialect, at_commit=point.commit):
            if fault.kills:
                chosen = every_time or begins or point.commit
            else:
                chosen = point.ours and (every_time or at in (first[point], last[point]))
                chosen = chosen and (fault.ends_transaction or not point.of_savepoint)
            if chosen:
                yield Attack(story, act, at, fault, point)
        begins = point.commit


def play(attack: Attack) -> Played:
    """Play the story with this step broken."""
    return _play(attack.story, attack)


def _play(story: str, attack: Attack | None, steps: dict[int, list[Point]] | None = None) -> Played:
    history = STORIES[story].history()

    def script(stage: Stage, done: list[Act]) -> None:
        for number, act in enumerate(history.acts):
            done.append(act)
            if attack is not None and number == attack.act:
                _break(attack, act, stage)
            elif steps is not None and act.do != "rest":
                breaker = Breaker(settings.engine)
                with breaker.on():
                    stage.play(act)
                steps[number] = breaker.points
            else:
                stage.play(act)

    return play_acts(history.seed, history.graph, script)


def _break(attack: Attack, act: Act, stage: Stage) -> None:
    """
    Play the act while its step breaks, and what follows from that.

    People and the sweeper may see an error; a scheduler or an api-server fails only with its connection.
    """
    breaker = Breaker(settings.engine, attack.at, attack.fault)
    stage.watch.starts_failed = act.do in BY_A_SCHEDULER
    try:
        with breaker.on():
            stage.play(act)
        return
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  a process that died in a thread ends a group of tasks
        settings.Session.remove()
        if act.do in (*BY_A_SCHEDULER, *BY_A_WORKER) and not attack.fault.ends_transaction:
            stage.problems.append(f"{act} failed: {type(error).__name__}: {error}")
    if act.do in BY_A_SCHEDULER:
        stage.restart(*act.names)
    elif act.do in BY_A_WORKER:
        stage.play(act)
