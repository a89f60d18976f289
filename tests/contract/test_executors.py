"""What we rely on in executors and in the supervisor of a task's process."""

from __future__ import annotations

import inspect
import signal
from typing import TYPE_CHECKING

import pytest
from airflow.configuration import conf
from airflow.executors.base_executor import BaseExecutor
from airflow.executors.local_executor import LocalExecutor
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.sdk import Asset
from airflow.sdk.execution_time import supervisor
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState

from airflow_lean_provider.airflow_internals.holding import survival
from tests.integration.dags import consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World

ORDERS = Asset("orders")


@pytest.fixture
def one(world: World) -> World:
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS))
    world.publish("ingest", "p1")
    world.tick()
    return world


def test_the_scheduler_hears_of_ended_processes_through_one_method(one, monkeypatch):
    """``SchedulerJobRunner.process_executor_events`` -> ``BaseExecutor.get_event_buffer``, in every loop."""
    heard = []
    original = BaseExecutor.get_event_buffer

    def get_event_buffer(self: BaseExecutor, *args: object, **options: object) -> object:
        events = original(self, *args, **options)
        heard.extend(events.items())
        return events

    monkeypatch.setattr(BaseExecutor, "get_event_buffer", get_event_buffer)
    work = one.take("cleaning", "p1")
    assert one.work(work)
    one.hear()
    ((key, (state, _)),) = heard
    assert isinstance(key, TaskInstanceKey)
    assert (key.dag_id, key.run_id, key.task_id, key.map_index) == (
        work.dag_id,
        work.run_id,
        work.task_id,
        work.map_index,
    )
    assert key.try_number == work.try_number
    assert state == TaskInstanceState.SUCCESS


def test_no_executor_that_is_installed_has_a_method_of_its_own():
    """An executor that overrides ``get_event_buffer`` would not be heard."""
    assert LocalExecutor.get_event_buffer is BaseExecutor.get_event_buffer


def test_the_end_of_a_stopped_process_does_not_fail_the_task(one):
    """``process_executor_events``: only a task instance that is queued or running is failed by it."""
    work = one.take("cleaning", "p1")
    assert one.run(work) == 200
    with create_session(scoped=False) as session:
        ti = session.get_one(type(one.ti("cleaning", "p1")), work.id)
        ti.prepare_db_for_next_try(session)
        ti.state = None
    one.executor.ended(work, TaskInstanceState.FAILED)
    one.hear()
    assert one.states("cleaning", "p1") == {"work": None}


def test_the_end_of_a_parked_tasks_process_does_not_fail_it(one):
    """... nor one that is DEFERRED."""
    work = one.take("cleaning", "p1")
    with create_session(scoped=False) as session:
        session.get_one(type(one.ti("cleaning", "p1")), work.id).state = TaskInstanceState.DEFERRED
    one.executor.ended(work, TaskInstanceState.FAILED)
    one.hear()
    assert one.states("cleaning", "p1") == {"work": "deferred"}


class TestSurvival:
    """How long a stopped process can live: ``airflow/sdk/execution_time/supervisor.py``."""

    def test_the_supervisor_asks_every_min_heartbeat_interval(self):
        """``[workers] min_heartbeat_interval`` and ``max_failed_heartbeats``."""
        assert conf.getint("workers", "min_heartbeat_interval") == supervisor.MIN_HEARTBEAT_INTERVAL
        assert conf.getint("workers", "max_failed_heartbeats") == supervisor.MAX_FAILED_HEARTBEATS

    def test_it_kills_with_signals_five_seconds_apart(self):
        """``WatchedSubprocess.kill``: SIGINT, SIGTERM, SIGKILL at the most."""
        parameters = inspect.signature(supervisor.WatchedSubprocess.kill).parameters
        assert parameters["escalation_delay"].default == 5.0
        assert parameters["signal_to_send"].default == signal.SIGINT
        assert {"SIGINT", "SIGTERM", "SIGKILL"} <= set(
            supervisor.WatchedSubprocess.kill.__code__.co_names
        ) | set(supervisor.WatchedSubprocess.kill.__code__.co_consts)

    @pytest.mark.parametrize("status", [404, 409, 410])
    def test_it_kills_when_the_server_says_that_the_task_should_not_run(self, status, monkeypatch):
        """``ActivitySubprocess._send_heartbeat_if_needed``."""
        import httpx
        from airflow.sdk.api.client import ServerResponseError

        killed = []

        class Client:
            class task_instances:
                @staticmethod
                def heartbeat(*args: object, **options: object) -> None:
                    request = httpx.Request("PUT", "http://nowhere.invalid")
                    error = ServerResponseError("no", request=request, response=httpx.Response(status))
                    error.detail = None
                    raise error

        class Silent:
            def error(self, *args: object, **options: object) -> None:
                """Nobody reads it."""

        process = object.__new__(supervisor.ActivitySubprocess)
        values = {
            "id": "x",
            "client": Client(),
            "process_log": Silent(),
            "_terminal_state": None,
            "_last_heartbeat_attempt": 0.0,
            "failed_heartbeats": 0,
            "_process": type("Process", (), {"pid": 1})(),
        }
        for name, value in values.items():
            object.__setattr__(process, name, value)
        monkeypatch.setattr(
            supervisor.ActivitySubprocess,
            "kill",
            lambda self, *args, **options: killed.append((args, options)),
        )
        process._send_heartbeat_if_needed()
        assert killed == [((signal.SIGTERM,), {"force": True})]

    def test_our_estimate_is_no_shorter(self):
        """A heartbeat that is lost ``max_failed_heartbeats`` times, then every signal."""
        lost = supervisor.MIN_HEARTBEAT_INTERVAL * supervisor.MAX_FAILED_HEARTBEATS
        assert survival().total_seconds() >= lost + 2 * 5.0
