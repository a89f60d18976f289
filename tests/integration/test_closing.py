"""A cord closes when nothing is left to do for it, and then nothing is left of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_lean_provider.brake import report, sweep
from airflow_lean_provider.brake.permits import let_through
from airflow_lean_provider.rules.facts import Run
from airflow_lean_provider.store.models import (
    AbsorbedEvent,
    AffectedRun,
    BadVersion,
    HaltedPartition,
    ParkedTask,
)

if TYPE_CHECKING:
    from tests.integration.world import World

ONCE = {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


def state(cord: int) -> str:
    return str(report.of_cord(cord)["state"])


def nothing_is_left(world: World) -> bool:
    return not any(world.rows(HaltedPartition, AffectedRun, ParkedTask, AbsorbedEvent, BadVersion).values())


def test_it_stays_open_while_a_repair_runs(chain: World) -> None:
    """The last reader has nothing downstream: what it reads is clean, and it still owes."""
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.release(cord, "fixed")
    chain.play(but=["reporting"])
    chain.tick()
    work = chain.take("reporting", "p1")
    assert chain.run(work) == 200
    sweep.sweep()
    assert state(cord) == "open"
    assert chain.succeed(work) == 204
    sweep.sweep()
    assert state(cord) == "closed"
    assert nothing_is_left(chain)


def test_it_stays_open_until_what_was_held_has_started(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    cord = chain.pull("orders", "p1")
    chain.release(cord, "false_alarm")
    sweep.sweep()
    assert state(cord) == "open"
    assert chain.play() == ONCE
    assert state(cord) == "closed"
    assert nothing_is_left(chain)


def test_after_it_nothing_is_absorbed(chain: World) -> None:
    """A later publication is Airflow's own business: the consumer runs once more."""
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.repair(cord)
    chain.play()
    assert state(cord) == "closed"
    chain.publish("ingest", "p1")
    assert chain.play() == ONCE
    assert len(chain.runs("cleaning", "p1")) == 2


def test_one_cord_does_not_wait_for_the_half_written_table_of_another(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    chain.tick()
    killed = chain.take("cleaning", "p1")
    assert chain.run(killed) == 200
    first = chain.pull("orders", "p1")
    second = chain.pull("orders", "p2")
    chain.release(second, "false_alarm")
    chain.play()
    assert state(second) == "closed"
    assert state(first) == "open"
    assert ("clean", "p1") in chain.halted()


def test_it_stays_open_while_somebody_runs_who_was_let_through(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    cord = chain.pull("orders", "p1")
    run = chain.dag_run("cleaning", "p1")
    let_through(Run(run.dag_id, run.run_id), reason="the board meets at nine", by="ann")
    chain.tick()
    work = chain.take("cleaning", "p1")
    assert chain.run(work) == 200
    chain.release(cord, "fixed")
    sweep.sweep()
    assert state(cord) == "open"
    assert chain.succeed(work) == 204
    chain.play()
    assert state(cord) == "closed"
