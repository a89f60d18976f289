"""Two at a time: what races a pull is stopped or refused, and nothing is left behind."""

from __future__ import annotations

import random
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_lean_provider.brake import pull as pulling
from airflow_lean_provider.brake import settle as settling
from tests.integration.dags import CLEAN, ORDERS, consumer, producer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from tests.integration.world import World

ROUNDS = 8


def at_once(*acts: Callable[[], Any]) -> None:
    """Let each act begin at a random moment within the first few hundredths of a second."""
    failures: list[BaseException] = []

    def begin(act: Callable[[], Any], delay: float) -> None:
        time.sleep(delay)
        try:
            act()
        except BaseException as failure:  # noqa: BLE001  raised again below
            failures.append(failure)

    threads = [threading.Thread(target=begin, args=(act, random.uniform(0, 0.06))) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_a_start_that_races_the_pull(chain: World) -> None:
    keys = [f"p{n}" for n in range(ROUNDS)]
    chain.publish("ingest", *keys)
    chain.tick()
    for key in keys:
        work = chain.take("cleaning", key)
        at_once(lambda key=key: chain.pull("orders", key), lambda work=work: chain.run(work))
        assert chain.run(work) == 404
        assert chain.succeed(work) == 404
        assert chain.is_held("cleaning", key)
    assert chain.play() == {}
    assert chain.events("clean") == 0


def test_a_success_that_races_the_pull(chain: World) -> None:
    """Either the execution ended before and its version is bad, or it was stopped and published nothing."""
    for key in (f"p{n}" for n in range(ROUNDS)):
        chain.publish("ingest", key)
        chain.tick()
        work = chain.take("cleaning", key)
        assert chain.run(work) == 200
        answers: list[int] = []
        at_once(
            lambda key=key: chain.pull("orders", key),
            lambda work=work, answers=answers: answers.append(chain.succeed(work)),
        )
        published = answers == [204]
        assert chain.events("clean", key) == published
        assert chain.play() == {}
        assert ("clean", key) in chain.halted()
        assert chain.is_held("reporting", key) if published else not chain.runs("reporting", key)


@pytest.mark.postgres
@pytest.mark.mariadb
def test_a_scheduler_that_races_the_pull(world: World) -> None:
    """Runs are created, started, scheduled and queued while the cord is pulled."""
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN))
    for number in range(ROUNDS):
        key = f"p{number}"
        world.publish("ingest", key)

        def ticks() -> None:
            for _ in range(2):
                world.tick()

        at_once(lambda key=key: world.pull("orders", key), ticks)
        assert world.play() == {}
        assert world.is_held("cleaning", key)


def _pull_into(world: World, cords: list[int]) -> None:
    cords.append(world.pull("orders", "p1"))


@pytest.mark.postgres
@pytest.mark.mariadb
def test_two_people_pull_and_release_at_once(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    for _ in range(ROUNDS):
        cords: list[int] = []
        pull = partial(_pull_into, chain, cords)
        at_once(pull, pull)
        assert len(set(cords)) == 2
        at_once(*[partial(chain.release, cord, "false_alarm") for cord in cords])
        assert chain.play() == {}
        assert chain.halted() == set()


def test_of_many_cords_that_are_pulled_at_once_one_pull_settles_all(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Session] = []
    step, settle = settling.step, settling.settle

    def counted_step(session: Session) -> bool:
        steps.append(session)
        return step(session)

    def settle_after_somebody_else(*arguments: Any, **options: Any) -> bool:
        settle()
        steps.clear()
        return settle(*arguments, **options)

    monkeypatch.setattr(settling, "step", counted_step)
    monkeypatch.setattr(pulling, "settle_what_was_asked", settle_after_somebody_else)
    chain.publish("ingest", "p1")
    chain.tick()
    chain.pull("orders", "p1")
    assert steps == []
    assert chain.is_held("cleaning", "p1")


@pytest.mark.postgres
@pytest.mark.mariadb
def test_publications_that_race_a_release(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    for _ in range(4):
        cord = chain.pull("orders", "p1")
        run_id = chain.trigger("ingest", "p1")
        chain.start_runs()
        chain.schedule()
        chain.queue()
        work = chain.take("ingest", run_id)
        assert chain.run(work) == 200
        at_once(lambda cord=cord: chain.release(cord, "fixed"), lambda work=work: chain.succeed(work))
        chain.play()
        assert chain.halted() == set()
        assert chain.pending() == []
        last = chain.done[::-1]
        assert last.index(("reporting.work", "p1")) < last.index(("cleaning.work", "p1"))
        assert last.index(("cleaning.work", "p1")) < last.index(("ingest.load", "p1"))
