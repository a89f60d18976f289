"""On an error of ours nothing is let through, nothing is lost, and the scheduler goes on."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow import settings as airflow_settings
from airflow.models.asset import AssetEvent, remove_references_to_deleted_dags
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable
from sqlalchemy import delete, select, text
from sqlalchemy.exc import OperationalError

from airflow_lean_provider.airflow_internals import absorbing
from airflow_lean_provider.brake import publication, start
from airflow_lean_provider.brake import settle as settling
from airflow_lean_provider.brake.pull import Scope, pull
from airflow_lean_provider.brake.report import of_cord, of_cords
from airflow_lean_provider.brake.settle import settle
from airflow_lean_provider.store import transactions
from airflow_lean_provider.store.models import Base
from tests.integration.dags import CLEAN, ORDERS, REPORT, Step, consumer, producer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from tests.integration.world import World

ONCE = {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


def breaks(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, dag_id: str | None = None) -> None:
    """Let a function of ours raise, for runs of one Dag or for all."""
    original = getattr(module, name)

    def broken(*args: Any, **options: Any) -> Any:
        if dag_id is None or args[0].dag_id == dag_id:
            raise RuntimeError("broken by the test")
        return original(*args, **options)

    monkeypatch.setattr(module, name, broken)


def take_file_away(world: World, dag_id: str) -> None:
    """``DagFileProcessorManager.deactivate_deleted_dags``."""
    with world._session() as session:
        session.get_one(DagModel, dag_id).is_stale = True
        session.flush()
        remove_references_to_deleted_dags(session)


def test_an_error_at_the_start_of_a_run_puts_the_start_back(
    chain: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chain.add(consumer("other", ORDERS))
    chain.publish("ingest", "p1")
    chain.create_runs()
    before = chain.dag_run("cleaning", "p1")
    with monkeypatch.context() as broken:
        breaks(broken, start, "judge_start", "cleaning")
        chain.configure(broken, put_back_time=0.001)
        assert chain.play() == {("other.work", "p1"): 1}
        after = chain.dag_run("cleaning", "p1")
        assert after.state == "queued"
        assert "put back" in caplog.text
    assert before.state == "queued"
    assert chain.play() == ONCE
    moved = chain.dag_run("cleaning", "p1").run_after - before.run_after
    assert timedelta(0) < moved < timedelta(minutes=1), "put back for a short, self-ending time"


def test_an_error_at_the_start_of_a_task_leaves_it_for_the_next_loop(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.add(consumer("other", ORDERS))
    chain.publish("ingest", "p1")
    chain.create_runs()
    chain.start_runs()
    with monkeypatch.context() as broken:
        breaks(broken, start, "judge_start", "cleaning")
        assert chain.play() == {("other.work", "p1"): 1}
        assert chain.states("cleaning", "p1") == {"work": None}
        assert chain.dag_run("cleaning", "p1").state == "running"
    assert chain.play() == ONCE


def test_an_error_in_a_query_does_not_spoil_the_schedulers_transaction(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL a failed statement aborts the transaction that it is in."""
    from airflow_lean_provider.brake import verdict

    def fails(connection: Any) -> bool:
        connection.execute(text("SELECT nothing FROM nowhere"))
        return True

    chain.publish("ingest", "p1")
    with monkeypatch.context() as broken:
        chain.configure(broken, put_back_time=0.001)
        broken.setattr(verdict, "_anything_halted", fails)
        assert chain.play() == {}
    assert chain.play() == ONCE


def test_a_pull_whose_commit_is_not_answered_is_one_cord(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can know whether the database has carried it out, so it is asked for again."""
    original, lost = transactions.transaction, False

    @contextmanager
    def answers_once_to_nobody() -> Iterator[Session]:
        nonlocal lost
        with original() as session:
            yield session
        if not lost:
            lost = True
            raise OperationalError("COMMIT", {}, Exception("broken"), connection_invalidated=True)

    chain.publish("ingest", "p1")
    monkeypatch.setattr(transactions, "transaction", answers_once_to_nobody)
    cord = chain.pull("orders", "p1")
    assert lost
    chain.release(cord, "false_alarm")
    assert chain.halted() == set()


def test_what_is_recorded_and_cannot_be_settled_is_finished_by_the_sweeper(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.publish("ingest", "p1")
    chain.create_runs()
    with monkeypatch.context() as broken:
        breaks(broken, settling, "look")
        pulled = pull(Scope("orders", keys=("p1",)), reason="looks wrong", by="tester")
    assert not pulled.settled
    assert chain.halted() == {("orders", "p1")}
    assert chain.play() == {}
    assert chain.is_held("cleaning", "p1")


def test_an_error_while_absorbing_does_not_fail_the_producer(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    with monkeypatch.context() as broken:
        breaks(broken, absorbing, "_absorb")
        chain.publish("ingest", "p1")
    assert chain.play() == {}
    chain.release(cord, "fixed")
    chain.play()
    assert chain.halted() == set()
    assert chain.pending() == []
    assert {r.state for r in chain.runs("cleaning", "p1")} == {"success"}


def test_an_error_after_a_publication_is_finished_by_the_sweeper(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    upstream = chain.take("cleaning", "p1")
    cord = chain.pull("orders", "p1")
    assert chain.run(upstream) == 404
    chain.release(cord, "false_alarm")
    chain.tick()
    work = chain.take("cleaning", "p1")
    assert chain.run(work) == 200
    with monkeypatch.context() as broken:
        breaks(broken, publication, "_concerns_a_cord")
        assert chain.succeed(work) == 204
    chain.play()
    assert chain.dag_run("reporting", "p1").state == "success"
    assert of_cords() == []


@pytest.fixture
def _without_tables(chain: World) -> Iterator[None]:
    engine = airflow_settings.engine
    Base.metadata.drop_all(engine)
    yield
    Base.metadata.create_all(engine)


@pytest.mark.usefixtures("_without_tables")
def test_without_our_tables_everything_starts_and_it_is_said(
    chain: World, caplog: pytest.LogCaptureFixture
) -> None:
    chain.publish("ingest", "p1")
    assert chain.play(sweeping=False) == ONCE
    errors = [
        r for r in caplog.records if r.levelno >= logging.ERROR and "airflow db migrate" in r.getMessage()
    ]
    assert errors


@pytest.mark.usefixtures("_without_tables")
def test_without_our_tables_the_sweeper_does_not_stop(chain: World) -> None:
    from airflow_lean_provider.brake.sweep import Sweeper

    with pytest.MonkeyPatch.context() as fast:
        chain.configure(fast, sweep_interval=0.01)
        sweeper = Sweeper()
        sweeper.start()
        sweeper.stop()
        assert sweeper._thread is not None
        assert not sweeper._thread.is_alive()


def clean_away(world: World, *models: type) -> None:
    """What ``airflow db clean`` does in the end."""
    with world._session() as session:
        for model in models:
            session.execute(delete(model))


def test_airflow_db_clean_under_an_open_cord(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    cord = chain.pull("orders", "p1")
    before = of_cord(cord)
    clean_away(chain, AssetEvent, Log)
    with chain._session() as session:
        session.execute(delete(DagRun).where(DagRun.dag_id == "ingest"))
    assert chain.play() == {}
    after = of_cord(cord)
    assert (after["state"], after["partitions"]) == (before["state"], before["partitions"])
    assert [r["labels"] for r in after["runs"]] == [["held"]]
    assert chain.halted() == {("orders", "p1")}
    assert chain.is_held("cleaning", "p1")
    run_id = chain.trigger("cleaning", "p1", run_id="by_hand")
    assert chain.play() == {}
    assert chain.is_held("cleaning", run_id)
    chain.release(cord, "false_alarm")
    assert chain.play()[("cleaning.work", "p1")] >= 1
    assert chain.halted() == set()


@pytest.mark.parametrize("outcome", ["fixed", "false_alarm", "withdrawn"])
def test_airflow_db_clean_of_all_events_and_what_was_computed(chain: World, outcome: str) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    with chain._session() as session:
        session.execute(delete(AssetEvent))
        session.execute(delete(Log))
    chain.play()
    assert ("orders", "p1") in chain.halted()
    assert ("clean", "p1") in chain.halted()
    chain.release(cord, outcome)
    assert chain.play() == (ONCE if outcome == "fixed" else {})
    assert chain.halted() == set()


def test_airflow_db_clean_of_all_runs(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    with chain._session() as session:
        session.execute(delete(AssetEvent))
        session.execute(delete(Log))
        for run in session.scalars(select(DagRun)):
            session.delete(run)
    assert chain.play() == {}
    assert of_cord(cord)["state"] == "open"
    assert ("orders", "p1") in chain.halted()
    run_id = chain.trigger("cleaning", "p1")
    assert chain.play() == {}
    assert chain.is_held("cleaning", run_id)
    chain.release(cord, "fixed")
    assert chain.play() == ONCE
    assert chain.halted() == set()


def test_a_run_that_a_person_deletes_while_it_is_held(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    cord = chain.pull("orders", "p1")
    with chain._session() as session:
        session.delete(session.get_one(DagRun, chain.dag_run("cleaning", "p1").id))
    assert chain.play() == {}
    chain.publish("ingest", "p1")
    assert chain.play() == {}
    chain.release(cord, "fixed")
    assert chain.play() == ONCE


@pytest.mark.parametrize("state", ["success", "failed"])
def test_a_run_that_a_person_marks_while_it_is_held(chain: World, state: str) -> None:
    """It has computed nothing, so that it owes nothing; and people decide."""
    chain.publish("ingest", "p1")
    chain.create_runs()
    cord = chain.pull("orders", "p1")
    chain.mark("cleaning", "p1", state)
    assert chain.play() == {}
    chain.release(cord, "fixed")
    assert chain.play() == {}
    assert chain.dag_run("cleaning", "p1").state == state
    assert chain.halted() == set()
    assert of_cords() == []


def test_who_has_paid_has_paid_though_its_run_is_deleted(world: World) -> None:
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN))
    world.publish("ingest", "p1", "p2")
    world.play()
    cord = world.pull("orders", "p1", "p2")
    payer = world.trigger("cleaning", "p1")
    world.play()
    world.publish("ingest", "p1")
    world.release(cord, "fixed", keys=("p1",))
    assert world.play() == {("cleaning.work", "p1"): 1}
    with world._session() as session:
        session.delete(session.scalars(select(DagRun).filter_by(run_id=payer)).one())
    assert world.play() == {}
    assert world.release(world.pull("clean", "p1"), "fixed").waiting == ()


def test_a_held_run_of_a_dag_that_disappears_stays_held(world: World) -> None:
    """Airflow forgets what such a Dag is scheduled on; its file may be back in a minute."""
    dags = [producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN)]
    world.add(*dags)
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    world.play()
    by_hand = world.trigger("cleaning", "p1")
    world.play()
    take_file_away(world, "cleaning")
    assert world.play() == {}
    assert [run.run_after.year for run in world.runs("cleaning", "p1") if run.run_id == by_hand] == [2037]
    world.add(*dags)
    world.release(cord, "false_alarm")
    assert world.play() == {("cleaning.work", "p1"): 1}


def test_a_dag_that_disappears_reads_no_more_than_before(world: World) -> None:
    """What follows the publishing task reads what that has published, and what comes before does not."""
    with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
        first, work, after = (
            Step(task_id="first"),
            Step(task_id="work", outlets=[CLEAN]),
            Step(task_id="after"),
        )
        first >> work >> after
    world.add(producer("ingest", ORDERS), dag)
    world.publish("ingest", "p1")
    world.play()
    world.pull("clean", "p1")
    world.clear("cleaning", "p1", "first", "work", "after")
    world.tick()
    running = world.take("cleaning", "p1", "first")
    assert world.run(running) == 200
    take_file_away(world, "cleaning")
    settle()
    assert world.heartbeat(running) == 204


def test_a_dag_that_disappears_while_its_run_is_held(world: World) -> None:
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN), consumer("other", ORDERS))
    world.publish("ingest", "p1")
    world.tick()
    cord = world.pull("orders", "p1")
    with world._session() as session:
        session.get_one(DagModel, "cleaning").is_stale = True
    assert world.play() == {}
    world.release(cord, "false_alarm")
    assert world.play() == {("other.work", "p1"): 1}
    assert world.halted() == set()


@pytest.mark.parametrize("change", ["writes another", "is gone"])
def test_what_a_dag_published_before_it_changed_is_bad_too(world: World, change: str) -> None:
    """Airflow's tables tell of the outlets of its newest version alone, and of none when its file is gone."""
    world.add(
        producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN), consumer("reporting", CLEAN, REPORT)
    )
    world.publish("ingest", "p1")
    world.play()
    if change == "is gone":
        take_file_away(world, "cleaning")
    else:
        world.add(consumer("cleaning", ORDERS, Asset("spotless")))
    world.pull("orders", "p1")
    assert world.halted() == {("orders", "p1"), ("clean", "p1"), ("report", "p1")}
