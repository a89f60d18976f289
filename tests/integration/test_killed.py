"""A real process, killed by the operating system at a statement, a random one of all that its act takes."""

from __future__ import annotations

import os
import signal
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from airflow import settings
from sqlalchemy import event

from airflow_lean_provider.brake.report import of_cords

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.world import World

pytestmark = [pytest.mark.postgres, pytest.mark.mariadb]

ROUNDS = 4
AFFECTED = ("orders", "clean", "report")


def killed_at(statement: int, act: Callable[[], Any]) -> bool:
    """
    Let a child process do it, and kill it before the statement with this number.

    :return: whether it came that far, and was killed
    """
    settings.Session.remove()
    child = os.fork()
    if not child:
        settings.engine.dispose(close=False)  # the connections are the parent's
        left = statement

        def count(*_: Any) -> None:
            nonlocal left
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        event.listen(settings.engine, "before_cursor_execute", count)
        try:
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def statements_of(act: Callable[[], Any]) -> int:
    """Do it, and count its statements."""
    count = 0

    def counts(*_: Any) -> None:
        nonlocal count
        count += 1

    event.listen(settings.engine, "before_cursor_execute", counts)
    try:
        act()
    finally:
        event.remove(settings.engine, "before_cursor_execute", counts)
    return count


def test_a_pull_that_is_killed_has_happened_or_not(chain: World) -> None:
    chain.publish("ingest", "p")
    chain.play()
    draw = Random(1)
    steps = statements_of(lambda: chain.release(chain.pull("orders", "p"), "false_alarm"))
    seen = set()
    for number in range(ROUNDS):
        key = f"p{number}"
        chain.publish("ingest", key)
        chain.play()
        killed_at(draw.randrange(steps // 2), lambda key=key: chain.pull("orders", key))
        assert chain.play() == {}
        recorded = of_cords()
        assert chain.halted() == (
            {(name, key) for name in ("orders", "clean", "report")} if recorded else set()
        )
        seen.add(bool(recorded))
        for cord in recorded:
            chain.release(cord["cord_id"], "false_alarm")
        assert chain.halted() == set()
    assert seen == {True, False}


@pytest.mark.parametrize("act", ["release", "repair"])
def test_what_is_killed_while_it_ends_a_cord_is_finished_or_asked_again(chain: World, act: str) -> None:
    draw, killed = Random(act), 0
    for number in range(ROUNDS):
        key = f"p{number}"
        chain.publish("ingest", key)
        chain.play()
        cord = chain.pull("orders", key)

        def ends(cord: int = cord) -> None:
            chain.release(cord, "fixed") if act == "release" else chain.repair(cord)

        killed += killed_at(draw.randrange(120), ends)
        done = chain.play()
        if of_cords():
            ends()
            done += chain.play()
        wanted = {("cleaning.work", key): 1, ("reporting.work", key): 1}
        assert done == wanted | ({("ingest.load", key): 1} if act == "repair" else {})
        assert (chain.halted(), of_cords()) == (set(), [])
    assert killed
