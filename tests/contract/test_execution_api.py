"""What we rely on in ``airflow/api_fastapi/execution_api``: the way in which every task starts and ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.models.asset import AssetEvent, AssetPartitionDagRun, PartitionedAssetKeyLog
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.sdk import Asset
from airflow.utils.session import create_session
from sqlalchemy import event, func, inspect, select
from sqlalchemy.orm import object_session

from tests.contract.spies import listening
from tests.integration.dags import consumer, producer
from tests.integration.world import Work, World, execution_api

ORDERS, CLEAN = Asset("orders"), Asset("clean")


@pytest.fixture
def one(world: World) -> World:
    """A consumer's task waits in the executor; it will publish what another Dag reads."""
    world.add(
        producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN, retries=1), consumer("report", CLEAN)
    )
    world.publish("ingest", "p1")
    world.tick()
    return world


@pytest.fixture
def work(one: World) -> Work:
    return one.take("cleaning", "p1")


def rotate(work: Work) -> None:
    with create_session(scoped=False) as session:
        ti = session.get_one(TaskInstance, work.id)
        ti.prepare_db_for_next_try(session)
        ti.state = None


def log_rows(work: Work) -> list[tuple[str, int]]:
    with create_session(scoped=False) as session:
        return [
            (row.event, row.try_number)
            for row in session.execute(
                select(Log.event, Log.try_number)
                .where(
                    Log.dag_id == work.dag_id,
                    Log.run_id == work.run_id,
                    Log.task_id == work.task_id,
                    Log.map_index == work.map_index,
                    Log.try_number.is_not(None),
                )
                .order_by(Log.id)
            )
        ]


@contextmanager
def after_insert(model: Any, function: Callable[..., None]) -> Any:
    event.listen(model, "after_insert", function)
    try:
        yield
    finally:
        event.remove(model, "after_insert", function)


class TestStart:
    """``PATCH /execution/task-instances/{id}/run``: ``routes/task_instances.py`` ``ti_run``."""

    def test_a_start_under_a_rotated_id_gets_404(self, one, work):
        """The start gate: the row is selected by the id."""
        rotate(work)
        assert one.run(work) == 404

    @pytest.mark.parametrize("state", [None, "scheduled", "deferred", "success", "up_for_retry"])
    def test_a_start_in_any_state_but_queued_gets_409(self, one, work, state):
        """A parked task, too, does not start, even if the executor has it."""
        with create_session(scoped=False) as session:
            session.get_one(TaskInstance, work.id).state = state
        assert one.run(work) == 409

    def test_the_server_writes_down_the_moment_of_the_start(self, one, work):
        """``last_heartbeat_at`` and the log row are the server's time; ``start_date`` is the worker's."""
        before = datetime.now(timezone.utc)
        long_ago = before - timedelta(days=30)
        answer = execution_api().patch(
            f"/task-instances/{work.id}/run",
            json={
                "state": "running",
                "hostname": "w",
                "unixname": "a",
                "pid": 1,
                "start_date": long_ago.isoformat(),
            },
        )
        assert answer.status_code == 200
        ti = one.ti("cleaning", "p1")
        assert ti.start_date == long_ago
        assert before <= ti.last_heartbeat_at <= datetime.now(timezone.utc)
        with create_session(scoped=False) as session:
            row = session.scalars(select(Log).where(Log.event == "running", Log.dag_id == work.dag_id)).one()
            assert before <= row.dttm <= datetime.now(timezone.utc)

    def test_a_resumed_task_writes_another_running_row_for_the_same_try(self, one, work):
        """Why the first one counts."""
        assert one.run(work) == 200
        assert one.defer(work) == 204
        one.wake("cleaning", "p1")
        one.hear()
        one.tick()
        assert one.run(one.take("cleaning", "p1")) == 200
        assert [row for row in log_rows(work) if row[0] == "running"] == [("running", 1)] * 2

    @pytest.mark.postgres
    def test_a_start_waits_for_whoever_has_locked_the_row_and_then_gets_404(self, one, work):
        """``with_for_update(of=TI)``: a start that is under way while a pull holds the lock."""
        answers: list[int] = []
        starting = threading.Thread(target=lambda: answers.append(one.run(work)))
        with create_session(scoped=False) as session:
            ti = session.get_one(TaskInstance, work.id, with_for_update={"of": TaskInstance})
            starting.start()
            starting.join(timeout=1.5)
            assert starting.is_alive()
            ti.prepare_db_for_next_try(session)
            ti.state = None
        starting.join(timeout=30)
        assert answers == [404]


class TestEnd:
    """``PATCH /execution/task-instances/{id}/state``: ``ti_update_state``."""

    def test_a_success_under_a_rotated_id_gets_404_and_registers_nothing(self, one, work):
        """A task that ends before it is killed publishes nothing."""
        assert one.run(work) == 200
        rotate(work)
        assert one.succeed(work) == 404
        assert one.events("clean", "p1") == 0

    def test_a_heartbeat_under_a_rotated_id_tells_the_worker_to_end(self, one, work):
        """410 Gone (the id is in the history); the supervisor kills for 404, 409 and 410."""
        assert one.run(work) == 200
        assert one.heartbeat(work) == 204
        rotate(work)
        assert one.heartbeat(work) == 410

    def test_a_heartbeat_in_another_state_tells_the_worker_to_end(self, one, work):
        """... as it does if the task instance is no longer RUNNING."""
        assert one.run(work) == 200
        with create_session(scoped=False) as session:
            session.get_one(TaskInstance, work.id).state = "deferred"
        assert one.heartbeat(work) == 409

    @pytest.mark.parametrize(
        ("ending", "row"),
        [("succeed", "success"), ("fail", "failed"), ("retry", "up_for_retry"), ("skip", "skipped")],
    )
    def test_each_end_is_written_into_the_log_with_its_try(self, one, work, ending, row):
        """``Log(event=<state>, task_id, dag_id, run_id, map_index, try_number)``, in the same transaction."""
        assert one.run(work) == 200
        assert getattr(one, ending)(work) == 204
        assert log_rows(work) == [("running", 1), (row, 1)]

    def test_what_does_not_end_a_try_is_not_taken_for_an_end(self, one, work):
        """Deferral and reschedule have names of their own."""
        assert one.run(work) == 200
        assert one.reschedule(work) == 204
        assert log_rows(work) == [("running", 1), ("up_for_reschedule", 1)]

    def test_a_success_reported_twice_publishes_once(self, one, work):
        """A worker that lost the answer asks again: 200, nothing is registered."""
        assert one.run(work) == 200
        assert one.succeed(work) == 204
        assert one.succeed(work) == 200
        assert one.events("clean", "p1") == 1


class TestPublication:
    """The asset events of a success: ``TaskInstance.register_asset_changes_in_db``."""

    def test_our_hook_runs_in_the_publications_own_transaction(self, one, work):
        """``PartitionedAssetKeyLog`` is inserted by the ORM, after event and pending row were flushed."""
        seen: dict[str, Any] = {}

        def look(mapper: Any, connection: Any, row: PartitionedAssetKeyLog) -> None:
            if row.target_dag_id != "report":
                return
            session = object_session(row)
            seen["same"] = session is not None and session.connection() is connection
            seen["event"] = connection.scalar(
                select(AssetEvent.source_run_id).where(AssetEvent.id == row.asset_event_id)
            )
            seen["pending"] = connection.scalar(
                select(AssetPartitionDagRun.partition_key).where(
                    AssetPartitionDagRun.id == row.asset_partition_dag_run_id
                )
            )
            seen["keys"] = (row.source_partition_key, row.target_partition_key)
            with create_session(scoped=False) as other:
                if connection.dialect.name == "postgresql":
                    seen["elsewhere"] = other.scalar(
                        select(func.count())
                        .select_from(AssetEvent)
                        .where(AssetEvent.source_run_id == work.run_id)
                    )

        assert one.run(work) == 200
        with after_insert(PartitionedAssetKeyLog, look):
            assert one.succeed(work) == 204
        assert seen.pop("elsewhere", 0) == 0, "nobody else sees the event before the commit"
        assert seen == {"same": True, "event": work.run_id, "pending": "p1", "keys": ("p1", "p1")}

    @pytest.mark.parametrize("consumers", [1, 2])
    def test_an_error_there_makes_the_producer_fail(self, world, consumers):
        """
        Why we never raise there: the publication is rolled back, however good it was.

        With a further consumer, the row is flushed within ``_create_ti_state_update_query_and_update_state``,
        where the broad ``except`` sets the task instance FAILED; else with the last statements, whose error
        the worker gets as 500.
        """

        def fail(mapper: Any, connection: Any, row: Any) -> None:
            raise RuntimeError("a hook that fails")

        world.add(producer("ingest", ORDERS), *(consumer(f"c{n}", ORDERS) for n in range(consumers)))
        world.trigger("ingest", "p1")
        world.tick()
        work = world.take("ingest", "p1")
        assert world.run(work) == 200
        with after_insert(PartitionedAssetKeyLog, fail), suppress(Exception):
            world.succeed(work)
        assert world.states("ingest", "p1") == {"load": "running" if consumers == 1 else "failed"}
        assert world.events("orders", "p1") == 0
        assert world.pending() == []

    def test_an_error_caught_within_a_savepoint_harms_nobody(self, one, work):
        """What we do: ``connection.begin_nested()`` around everything, and catch."""

        def fail(mapper: Any, connection: Any, row: Any) -> None:
            try:
                with connection.begin_nested():
                    connection.exec_driver_sql("SELECT * FROM there_is_no_such_table")
            except Exception:  # noqa: BLE001 (what is tested)
                return

        assert one.run(work) == 200
        with after_insert(PartitionedAssetKeyLog, fail):
            assert one.succeed(work) == 204
        assert one.events("clean", "p1") == 1
        assert ("report", "p1") in one.pending()

    def test_the_listener_is_told_after_the_commit_and_before_the_answer(self, one, work):
        """``on_asset_event_emitted``: ``ti_update_state`` calls it once the transaction has ended."""
        told: list[tuple[Any, int, str | None]] = []

        def on_asset_event_emitted(asset_event: Any) -> None:
            told.append((asset_event, one.events("clean", "p1"), one.states("cleaning", "p1")["work"]))

        assert one.run(work) == 200
        with listening(on_asset_event_emitted=on_asset_event_emitted):
            assert one.succeed(work) == 204
        ((emitted, events, state),) = told
        assert (events, state) == (1, "success")
        assert emitted.asset.name == "clean"
        assert emitted.partition_key == "p1"
        assert (emitted.source_dag_id, emitted.source_run_id) == (work.dag_id, work.run_id)

    def test_what_the_listener_raises_is_swallowed(self, one, work):
        """``AssetManager.nofity_asset_event_emitted``."""

        def on_asset_event_emitted(asset_event: Any) -> None:
            raise RuntimeError("a listener that fails")

        assert one.run(work) == 200
        with listening(on_asset_event_emitted=on_asset_event_emitted):
            assert one.succeed(work) == 204
        assert one.states("cleaning", "p1") == {"work": "success"}


def test_the_log_has_the_columns_that_we_read_and_write():
    """``airflow/models/log.py``."""
    assert {
        *("event", "owner", "extra", "dag_id", "run_id", "task_id", "map_index", "try_number", "dttm")
    } <= set(inspect(Log).columns.keys())


def test_a_log_row_gets_its_time_and_keeps_what_it_was_given(session):
    """``Log.__init__`` takes our keyword arguments without a task instance."""
    session.add(Log(event="andon hold", owner="andon", extra="x", dag_id="d", run_id="r", task_id="t"))
    session.flush()
    row = session.scalars(select(Log)).one()
    assert row.dttm is not None
    assert (row.dag_id, row.run_id, row.task_id, row.try_number) == ("d", "r", "t", None)
