"""What is played: a chain pulled again and again, a warehouse with several incidents at once."""

from __future__ import annotations

import time

from tests.system.warehouse.play import Play, Pull

CHAIN_SECONDS = 10.0


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


def play_warehouse(play: Play, pulls: int, timeout: float = 300) -> bool:
    """
    Publish all hours, and pull cords on some of them while everything runs.

    :param play: a stage with :func:`~tests.system.warehouse.graph.warehouse`
    :param pulls: how many incidents
    :param timeout: seconds for all to become good
    """
    hours = play.graph.hours
    roots = play.graph.roots
    for number in range(pulls):
        hour = hours[number % len(hours)]
        cell = (roots[(number // len(hours)) % len(roots)], hour)
        play.spoil(cell)
    for hour in hours:
        play.publish_hour(hour)
    play.publish_outside("hourly_files")
    for number in range(pulls):
        hour = hours[number % len(hours)]
        cell = (roots[(number // len(hours)) % len(roots)], hour)
        play.wait(lambda cell=cell: play.published(cell), f"{cell} to be published")
        time.sleep(play.draw.uniform(0, 10))
        pulled = play.pull(cell)
        time.sleep(play.draw.uniform(0, 5))
        play.heal(cell)
        play.repair(pulled)
    return play.wait_quiet(timeout)
