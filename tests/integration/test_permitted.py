"""Runs that read bad data on purpose, let through or advisory: what they publish is born bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_lean_provider.brake import publication, settle
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.permits import let_through
from airflow_lean_provider.rules.facts import Run
from tests.integration.dags import CLEAN, DAILY, ORDERS, REPORT, consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World

HOUR, DAY = "2026-06-14T05", "2026-06-14"


def let(world: World, dag_id: str, key: str) -> None:
    run = world.dag_run(dag_id, key)
    let_through(Run(run.dag_id, run.run_id), reason="the board meets at nine", by="ann")


def test_a_run_that_is_let_through_starts_and_what_it_publishes_is_bad(chain: World) -> None:
    """A person lets one run read bad data; everything else applies to it."""
    chain.publish("ingest", "p1")
    chain.tick()
    cord = chain.pull("orders", "p1")
    let(chain, "cleaning", "p1")
    assert chain.play() == {("cleaning.work", "p1"): 1}
    assert chain.halted() == {("orders", "p1"), ("clean", "p1")}
    assert chain.is_held("reporting", "p1")
    assert chain.labels("cleaning", "p1") == {"tainted"}
    chain.repair(cord)
    assert chain.play() == {
        ("ingest.load", "p1"): 1,
        ("cleaning.work", "p1"): 1,
        ("reporting.work", "p1"): 1,
    }
    assert chain.halted() == set()


def test_it_is_let_through_for_the_halts_of_that_moment_only(chain: World) -> None:
    """Let through: the halts open at that moment."""
    chain.publish("ingest", "p1")
    chain.tick()
    chain.pull("orders", "p1")
    let(chain, "cleaning", "p1")
    chain.pull("orders", "p1")
    assert chain.play() == {}
    assert chain.is_held("cleaning", "p1")


def test_a_let_through_run_is_not_stopped(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    chain.pull("orders", "p1")
    let(chain, "cleaning", "p1")
    chain.tick()
    work = chain.take("cleaning", "p1")
    assert chain.run(work) == 200
    settle.settle()
    assert chain.succeed(work) == 204


def test_only_that_run_is_let_through(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    chain.pull("orders", "p1")
    let(chain, "cleaning", "p1")
    other = chain.trigger("cleaning", "p1", conf={"again": True})
    assert chain.play() == {("cleaning.work", "p1"): 1}
    assert chain.is_held("cleaning", other)


def test_another_run_of_the_same_name_is_not_let_through(chain: World) -> None:
    """The run that was let through is deleted, and another is made under its run id."""
    chain.publish("ingest", "p1")
    chain.tick()
    chain.pull("orders", "p1")
    run = Run("cleaning", chain.trigger("cleaning", "p1", run_id="by_hand", conf={"again": True}))
    let_through(run, reason="the board meets at nine", by="ann")
    with create_session(scoped=False) as session:
        session.delete(session.scalars(select(DagRun).filter_by(run_id="by_hand")).one())
    chain.trigger("cleaning", "p1", run_id="by_hand", conf={"again": True})
    assert chain.play() == {}
    assert chain.is_held("cleaning", "by_hand")


def test_a_run_that_reads_nothing_bad_cannot_be_let_through(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    chain.tick()
    chain.pull("orders", "p1")
    with pytest.raises(BadRequest, match="run"):
        let(chain, "cleaning", "p2")


def test_what_an_advisory_dag_publishes_is_held_before_anybody_has_judged_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is judged, D3 refuses its readers: here nobody settles after the publication at all."""
    world.add(
        producer("ingest", ORDERS),
        consumer("cleaning", ORDERS, CLEAN, tags=["andon:advisory"]),
        consumer("reporting", CLEAN, REPORT),
    )
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    with monkeypatch.context() as dead:
        dead.setattr(publication, "settle", lambda *_: False)
        assert world.play(sweeping=False) == {("cleaning.work", "p1"): 1}
        assert world.is_held("reporting", "p1")
    settle.settle()
    assert ("clean", "p1") in world.halted()
    world.release(cord, "false_alarm")
    assert world.play() == {("reporting.work", "p1"): 1}
    assert world.halted() == set()


def test_under_another_key_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published key is neither that of the cord nor that of any affected run."""
    from airflow.sdk import StartOfDayMapper

    world.add(
        producer("ingest", ORDERS),
        consumer(
            "summing",
            ORDERS,
            DAILY,
            mapper=StartOfDayMapper(input_format="%Y-%m-%dT%H"),
            tags=["andon:advisory"],
        ),
        consumer("mailing", DAILY),
    )
    world.publish("ingest", HOUR)
    world.pull("orders", HOUR)
    with monkeypatch.context() as dead:
        dead.setattr(publication, "settle", lambda *_: False)
        assert world.play(sweeping=False) == {("summing.work", DAY): 1}
        assert world.is_held("mailing", DAY)


def test_what_turns_out_to_be_good_is_free_again_at_once(chain: World) -> None:
    """A repaired run is one that a cord concerns: what it publishes is judged before its task is answered."""
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.release(cord, "fixed")
    chain.tick()
    work = chain.take("cleaning", "p1")
    assert chain.run(work) == 200
    assert chain.succeed(work) == 204
    assert chain.halted() == {("report", "p1")}
