"""Real concurrency: a crowd pulls many cords at once, on many keys and several on the same."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.system.warehouse.graph import first_hours

if TYPE_CHECKING:
    from tests.system.warehouse.graph import Cell
    from tests.system.warehouse.play import Play, Pull

ROOT = "raw"
BELOW = ("hop_1", "hop_2", "hop_3", "side_2")
WAY_SECONDS = 14.0
"""How long a key is on its way from the root to the last hop, about."""
THOUGHT_SECONDS = 8.0
"""How long people think, at most, before they act on a cord."""
LEFT_ALONE = 8
"""One in so many keys is good, and nobody pulls a cord on it."""
BY_COMMAND_LINE = 20
"""One in so many cords is pulled and ended with ``airflow andon``, the others through the REST API."""
ALL_THAT_ACT = 64


@dataclass(frozen=True)
class Alarm:
    """
    One cord.

    :param table: on which it is pulled; the root as long as nothing of that table is published
    :param after: seconds until the pull
    :param then: seconds until it is ended
    :param end: ``repair``, ``fixed``, ``false_alarm``
    """

    table: str
    after: float
    then: float
    end: str
    by_rest: bool = True


@dataclass(frozen=True)
class Life:
    """
    What happens to one key.

    :param rounds: each time the root is bad, and repaired by the first alarm, the last time for good
    :param false_alarms: pulled while the consumers of the repaired root compute
    """

    key: str
    rounds: Sequence[Sequence[Alarm]] = ()
    false_alarms: Sequence[Alarm] = ()

    @property
    def alarms(self) -> list[Alarm]:
        """All of them."""
        return [*(alarm for round_ in self.rounds for alarm in round_), *self.false_alarms]


def draw_lives(pulls: int, seed: int) -> list[Life]:
    """
    Draw what happens to as many keys as it takes for so many pulls.

    :param pulls: how many
    :param seed: decides everything
    """
    draw = random.Random(seed)
    plans: list[tuple[list[list[Alarm]], list[Alarm]]] = []
    while pulls:
        if len(plans) % LEFT_ALONE == LEFT_ALONE - 1:
            plans.append(([], []))
        rounds: list[list[Alarm]] = []
        for _ in range(draw.randint(1, 2)):
            size = min(pulls, draw.randint(1, 4))
            pulls -= size
            if size:
                rounds.append([_first_alarm(draw), *(_further_alarm(draw) for _ in range(size - 1))])
        size = min(pulls, draw.randint(0, 2))
        pulls -= size
        plans.append((rounds, [_false_alarm(draw) for _ in range(size)]))
    keys = first_hours(len(plans))
    return [Life(key, *plan) for key, plan in zip(keys, plans, strict=True)]


def _first_alarm(draw: random.Random) -> Alarm:
    return _alarm(draw, ROOT, "repair")


def _further_alarm(draw: random.Random) -> Alarm:
    table = draw.choice((ROOT, ROOT, *BELOW))
    ends = ("repair", "fixed", "false_alarm") if table == ROOT else ("repair", "fixed", "fixed")
    return _alarm(draw, table, draw.choice(ends))


def _false_alarm(draw: random.Random) -> Alarm:
    return _alarm(draw, draw.choice((ROOT, *BELOW)), "false_alarm")


def _alarm(draw: random.Random, table: str, end: str) -> Alarm:
    after, then = draw.uniform(0, WAY_SECONDS), draw.uniform(0, THOUGHT_SECONDS)
    return Alarm(table, after, then, end, by_rest=draw.randrange(BY_COMMAND_LINE) > 0)


class Crowd:
    """
    People who act at the same time.

    :param play: a stage with :func:`~tests.system.warehouse.graph.hops`
    :param acting: a pool in which every single act waits for its moment
    :param timeout: seconds for a root to be published
    :param until: no key begins to live after that, by the monotonic clock
    """

    def __init__(self, play: Play, acting: ThreadPoolExecutor, timeout: float, until: float) -> None:
        self.play = play
        self.acting = acting
        self.timeout = timeout
        self.until = until

    def live(self, life: Life) -> None:
        """
        Let one key live through all that happens to it; what goes wrong is a problem of the play.

        :param life: of the key
        """
        if time.monotonic() > self.until:
            return
        try:
            self._live(life)
        except Exception as error:  # noqa: BLE001 the other keys go on, and the judge hears of it
            self.play.problems.append(f"{life.key}: {error}")

    def _live(self, life: Life) -> None:
        root = (ROOT, life.key)
        spoilt = {(alarm.table, life.key) for round_ in life.rounds for alarm in round_}
        self._each(self.play.spoil, spoilt)
        self.play.publish_hour(life.key)
        ends: list[Future[None]] = []
        self._wait_for_publication(root, 0, ends)
        for number, round_ in enumerate(life.rounds, 1):
            pulls = self._pull_all(life.key, round_)
            for alarm, pulled in pulls:
                if alarm.end == "false_alarm":
                    self._end(alarm, pulled)
            published = self.play.published(root)
            self._each(self.play.heal if number == len(life.rounds) else self.play.spoil, spoilt)
            ends += [self.acting.submit(self._end, *it) for it in pulls if it[0].end != "false_alarm"]
            self._wait_for_publication(root, published, ends)
        for alarm, pulled in self._pull_all(life.key, life.false_alarms):
            ends.append(self.acting.submit(self._end, alarm, pulled))
        for end in ends:
            end.result()

    def _each(self, act: Callable[[Cell], object], cells: Iterable[Cell]) -> None:
        for cell in cells:
            act(cell)

    def _wait_for_publication(self, cell: Cell, times: int, ends: Iterable[Future[None]]) -> None:
        def published() -> bool:
            for end in ends:
                if end.done():
                    end.result()
            return self.play.published(cell) > times

        self.play.wait(published, f"{cell} to be published", self.timeout)

    def _pull_all(self, key: str, alarms: Sequence[Alarm]) -> list[tuple[Alarm, Pull]]:
        pulls = [self.acting.submit(self._pull, key, alarm) for alarm in alarms]
        return [(alarm, pull.result()) for alarm, pull in zip(alarms, pulls, strict=True)]

    def _pull(self, key: str, alarm: Alarm) -> Pull:
        time.sleep(alarm.after)
        cell = (alarm.table, key)
        if not self.play.published(cell):
            cell = (ROOT, key)
        return self.play.pull_by_rest(cell) if alarm.by_rest else self.play.pull(cell)

    def _end(self, alarm: Alarm, pulled: Pull) -> None:
        time.sleep(alarm.then)
        if alarm.end == "repair":
            self.play.repair(pulled)
        else:
            self.play.release(pulled, alarm.end)


def play_crowd(
    play: Play, lives: Sequence[Life], at_once: int, *, minutes: float = 60, timeout: float = 600
) -> bool:
    """
    Let many keys live at once.

    :param play: a stage with :func:`~tests.system.warehouse.graph.hops`
    :param lives: of its keys
    :param at_once: how many keys
    :param minutes: after which no other key begins to live
    :param timeout: seconds for a root to be published, and for everything to become good at the end
    """
    with ThreadPoolExecutor(ALL_THAT_ACT) as acting, ThreadPoolExecutor(at_once) as people:
        crowd = Crowd(play, acting, timeout, until=time.monotonic() + 60 * minutes)
        list(people.map(crowd.live, lives))
    return play.wait_quiet(timeout)
