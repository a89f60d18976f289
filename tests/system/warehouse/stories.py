"""What is played: a chain pulled again and again, a warehouse with several incidents at once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.warehouse.graph import Cell
    from tests.system.warehouse.play import Play, Pull

CHAIN_SECONDS = 14.0


def play_chain(play: Play, pulls: int, timeout: float = 240) -> bool:
    """
    Publish one key after the other, and pull the cord on each at a random moment of its way.

    :param play: a stage with :func:`~tests.system.warehouse.graph.chain`
    :param pulls: how many keys
    :param timeout: seconds for the last of them to become good
    """
    before: Pull | None = None
    for number in range(pulls):
        cell = ("raw", play.graph.hours[number])
        play.spoil(cell)
        warm = play.warm()
        play.publish_hour(cell[1])
        if before is not None:
            play.heal(before.cell)
            play.repair(before)
        play.wait(lambda cell=cell: play.published(cell), f"{cell} to be published")
        wait = play.draw.uniform(0, CHAIN_SECONDS)
        play.tell(f"{cell} is published; {wait:.1f} s until the pull")
        before = play.pull(cell, wait, warm)
    if before is not None:
        play.heal(before.cell)
        play.repair(before)
    return play.wait_quiet(timeout)


@dataclass(frozen=True)
class Incident:
    """
    Something that happens to one partition.

    :param kind: the name of its story
    :param cell: the partition
    :param after: seconds from its publication to the pull
    :param then: seconds from the pull to what is done about it
    """

    kind: str
    cell: Cell
    after: float = 0.0
    then: float = 0.0

    def cells(self, play: Play) -> list[Cell]:
        """Return the partitions on which a cord is pulled."""
        if self.kind != "stacked":
            return [self.cell]
        return [self.cell, next(c for c in play.graph.below(self.cell) if c[0] in play.graph.exact)]

    @property
    def spoilt_from_the_start(self) -> bool:
        """Whether the partition is bad when it is first published."""
        return self.kind != "false_alarm"


def repaired(play: Play, incident: Incident) -> None:
    """The cord itself clears what published the partition."""
    pulled = play.pull(incident.cell, incident.after)
    time.sleep(incident.then)
    play.heal(incident.cell)
    play.repair(pulled)


def cleared(play: Play, incident: Incident) -> None:
    """A person clears the run in the UI, then releases the cord as fixed."""
    pulled = play.pull(incident.cell, incident.after)
    time.sleep(incident.then)
    play.heal(incident.cell)
    play.clear_root(incident.cell)
    play.release(pulled, "fixed")


def false_alarm(play: Play, incident: Incident) -> None:
    """The data was good all along."""
    pulled = play.pull(incident.cell, incident.after)
    time.sleep(incident.then)
    play.release(pulled, "false_alarm")


def pulled_again(play: Play, incident: Incident) -> None:
    """The first repair is none: the cord is pulled again while consumers repair themselves."""
    pulled = play.pull(incident.cell, incident.after)
    times = play.published(incident.cell)
    play.spoil(incident.cell)
    play.repair(pulled)
    warm = play.warm()
    play.wait(lambda: play.published(incident.cell) > times, f"{incident.cell} to be published again")
    repaired_again = play.pull(incident.cell, incident.then, warm)
    play.heal(incident.cell)
    play.repair(repaired_again)


def stacked(play: Play, incident: Incident) -> None:
    """A table made of the partition is wrong by itself as well; its cord is released first."""
    _, lower = incident.cells(play)
    pulled = play.pull(incident.cell, incident.after)
    if play.published(lower):
        second = play.pull(lower)
        play.heal(lower)
        play.release(second, "fixed")
    time.sleep(incident.then)
    play.heal(incident.cell)
    play.repair(pulled)


def from_outside(play: Play, incident: Incident) -> None:
    """Another system publishes a good version, and somebody releases the cord."""
    pulled = play.pull(incident.cell, incident.after)
    time.sleep(incident.then)
    play.heal(incident.cell)
    play.publish_outside(incident.cell[0], [incident.cell[1]])
    play.release(pulled, "fixed")


STORIES: dict[str, Callable[[Play, Incident], None]] = {
    "repaired": repaired,
    "pulled_again": pulled_again,
    "false_alarm": false_alarm,
    "from_outside": from_outside,
    "cleared": cleared,
    "stacked": stacked,
    "in_the_middle": repaired,
    "mapped": repaired,
}


def draw_incidents(play: Play, count: int) -> list[Incident]:
    """
    Draw incidents, no two on the same partition.

    :param play: its graph and seed
    :param count: how many
    """
    draw = random.Random(play.seed)
    kinds = list(STORIES)
    first = draw.randrange(len(kinds))
    roots = [(root, hour) for hour in play.graph.hours for root in play.graph.roots]
    draw.shuffle(roots)
    upper = [c for c in roots if c[0] == play.graph.roots[0]]
    middle = sorted(c for c in play.graph.cells if c[0] in ("joined", "checked", "stage"))
    incidents: list[Incident] = []
    for number in range(count):
        kind = kinds[(first + number) % len(kinds)]
        pool = {
            "from_outside": [c for c in play.graph.root_cells if c[0] == "hourly_files"],
            "in_the_middle": middle,
            "mapped": sorted(c for c in play.graph.cells if c[0] == "spread"),
            "stacked": upper,
        }.get(kind, roots)
        taken = {c for i in incidents for c in i.cells(play)}
        free = [c for c in pool if not taken & {c, *Incident(kind, c).cells(play)}]
        if free:
            after, then = draw.uniform(0, 15), draw.uniform(0, 8)
            incidents.append(Incident(kind, draw.choice(free), after, then))
    return incidents


def play_warehouse(play: Play, pulls: int, timeout: float = 300) -> bool:
    """
    Publish all hours while several incidents happen at once, each to its own partition.

    :param play: a stage with :func:`~tests.system.warehouse.graph.warehouse`
    :param pulls: how many incidents
    :param timeout: seconds for all to become good
    """
    incidents = draw_incidents(play, pulls)
    for incident in incidents:
        play.tell(str(incident))
        if incident.spoilt_from_the_start:
            for cell in incident.cells(play):
                play.spoil(cell)

    def happen(incident: Incident) -> None:
        try:
            play.wait(lambda: play.published(incident.cell), f"{incident.cell} to be published", timeout)
            STORIES[incident.kind](play, incident)
        except Exception as error:  # noqa: BLE001 the other incidents go on, and the judge hears of it
            play.problems.append(f"{incident}: {error}")

    with ThreadPoolExecutor(max_workers=max(1, len(incidents))) as crowd:
        futures = [crowd.submit(happen, incident) for incident in incidents]
        for hour in play.graph.hours:
            play.publish_hour(hour)
        play.publish_outside("hourly_files")
        while not all(future.done() for future in futures):
            play.tell(play.progress())
            time.sleep(5)
    return play.wait_quiet(timeout)
