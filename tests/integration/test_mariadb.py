"""What only MariaDB does: Airflow takes no row locks there, so the brake takes those that it needs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import DagRunState
from sqlalchemy import select, text, update

from airflow_lean_provider.airflow_internals import absorbing
from airflow_lean_provider.airflow_internals.holding import lock_runs, lock_tasks
from airflow_lean_provider.brake.start import judge_run
from airflow_lean_provider.rules.facts import Run, Task
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import Cord
from airflow_lean_provider.store.transactions import in_transaction

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

    from tests.integration.world import World

pytestmark = pytest.mark.mariadb


def read_queued(session: Session) -> dict[str, DagRun]:
    """As ``SchedulerJobRunner._start_queued_dagruns`` begins; by partition key."""
    return {run.partition_key: run for run in DagRun.get_queued_dag_runs_to_set_running(session)}


def start(run: DagRun) -> None:
    """As it goes on with each run."""
    run.state = DagRunState.RUNNING
    judge_run(run)


def test_what_somebody_else_has_locked_is_not_started_nor_waited_for(chain: World, session, other_session):
    chain.publish("ingest", "p1")
    chain.create_runs()
    run = read_queued(session)["p1"]
    lock_runs([Run(run.dag_id, run.run_id)], session=other_session)
    start(run)
    session.commit()
    other_session.rollback()
    assert chain.dag_run("cleaning", "p1").state == DagRunState.QUEUED


def test_what_was_held_since_the_scheduler_read_it_is_not_started(chain: World, session):
    chain.publish("ingest", "p1", "p2")
    chain.create_runs()
    runs = read_queued(session)
    start(runs["p1"])
    chain.pull("orders", "p2")
    start(runs["p2"])
    session.commit()
    assert chain.dag_run("cleaning", "p1").state == DagRunState.RUNNING
    assert chain.dag_run("cleaning", "p2").state == DagRunState.QUEUED
    assert chain.is_held("cleaning", "p2")


def test_who_pulls_waits_for_a_start_under_way(chain: World, session, other_session):
    chain.publish("ingest", "p1")
    chain.create_runs()
    run = read_queued(session)["p1"]
    start(run)
    locked = select(DagRun.id).where(DagRun.id == run.id).with_for_update(skip_locked=True)
    assert other_session.scalar(locked) is None
    session.rollback()


@pytest.fixture
def cords(session) -> list[int]:
    """Rows to fight for."""
    rows = [Cord(reason="late", severity="warn", pulled_by="me", pulled_at=now()) for _ in range(100)]
    session.add_all(rows)
    session.commit()
    return [row.id for row in rows]


def lock(cord: int, on: Session | Connection, *, seconds: int = 30) -> None:
    for_so_long = f"SET STATEMENT innodb_lock_wait_timeout = {seconds} FOR"
    on.execute(text(f"{for_so_long} UPDATE lean_cord SET reason = 'mine' WHERE id = :id"), {"id": cord})


def test_a_step_that_waited_too_long_is_carried_out_again(cords, other_session):
    lock(cords[0], other_session)
    tries = []

    def step(session: Session) -> None:
        tries.append(None)
        if len(tries) == 2:
            other_session.rollback()
        lock(cords[0], session, seconds=1)

    in_transaction(step)
    assert len(tries) == 2


def test_a_step_that_lost_its_connection_is_carried_out_again(cords):
    tries = []

    def step(session: Session) -> None:
        tries.append(None)
        if len(tries) == 1:
            session.execute(text("KILL CONNECTION_ID()"))
        lock(cords[0], session)

    in_transaction(step)
    assert len(tries) == 2


def test_the_victim_of_a_deadlock_is_carried_out_again(cords, other_session):
    """The victim is the one who has changed less."""
    first, *rest = cords
    other_session.execute(update(Cord).where(Cord.id.in_(rest)).values(reason="theirs"))
    theirs = threading.Thread(target=lambda: (lock(first, other_session), other_session.commit()))
    tries = []

    def step(session: Session) -> None:
        tries.append(None)
        lock(first, session)
        if len(tries) == 1:
            theirs.start()
        lock(rest[0], session)

    in_transaction(step)
    theirs.join()
    assert len(tries) == 2


def test_a_publication_and_a_step_do_not_wait_for_each_other(chain, session, other_session, monkeypatch):
    """
    Trap 26: what refers to a run waits there for whoever changes it, who waits for the task that publishes.

    MariaDB would end one of the two, with an error: the producer would fail, or its event be lost.
    """
    monkeypatch.setattr(absorbing, "AT_MOST_SECONDS", 0.5)
    chain.publish("ingest", "p1")
    chain.tick()
    chain.pull("orders", "p1")
    again = chain.trigger("ingest", "p1")
    chain.start_runs()
    chain.schedule()
    chain.queue()
    work = chain.take("ingest", again)
    assert chain.run(work) == 200
    answers: list[int] = []

    cleaning = chain.dag_run("cleaning", "p1")
    lock_runs([Run("cleaning", cleaning.run_id)], session=other_session)
    publication = threading.Thread(target=lambda: answers.append(chain.succeed(work)))
    publication.start()
    publishing = select(TaskInstance.id).where(TaskInstance.id == work.id).with_for_update(skip_locked=True)
    while session.scalar(publishing) is not None:
        session.rollback()
    lock_tasks([Task("ingest", again, "load", -1)], session=other_session)
    other_session.rollback()
    session.rollback()
    publication.join()
    assert answers == [204]
    assert chain.events("orders", "p1") == 2


def test_a_publication_whose_transaction_is_gone_is_not_half_committed(
    chain, session, other_session, cords, monkeypatch
):
    """The api-server says so, and the worker asks again; else it would end as success, its event lost."""
    first, *rest = cords
    other_session.execute(update(Cord).where(Cord.id.in_(rest)).values(reason="theirs"))
    theirs = threading.Thread(target=lambda: (lock(first, other_session), other_session.rollback()))

    def fight(connection, row):
        lock(first, connection)
        theirs.start()
        lock(rest[0], connection)

    run_id = chain.trigger("ingest", "p1")
    chain.start_runs()
    chain.schedule()
    chain.queue()
    work = chain.take("ingest", run_id)
    assert chain.run(work) == 200
    with monkeypatch.context() as once:
        once.setattr(absorbing, "_absorb", fight)
        with pytest.raises(AssertionError, match="500"):
            chain.succeed(work)
    theirs.join()
    assert chain.states("ingest", run_id) == {"load": "running"}
    assert chain.events("orders") == 0
    assert chain.succeed(work) == 204
    assert chain.events("orders") == 1
