"""Every way in which a task instance can start: none lets it read a partition that is halted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.dag import DagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, PartitionedAssetTimetable, PartitionedAtRuntime
from airflow.triggers.base import StartTriggerArgs, TaskSuccessEvent
from sqlalchemy import select, update

from tests.integration import doors
from tests.integration.dags import CLEAN, ORDERS, Step, producer
from tests.integration.world import execution_api

if TYPE_CHECKING:
    from tests.integration.world import Work, World


class FromTrigger(Step):
    """A task that begins in the triggerer, without a worker."""

    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="tests.Trigger", trigger_kwargs={}, next_method="execute_complete", timeout=None
    )


def publishing(*after: Any) -> DAG:
    """``ingest``: ``load`` publishes orders, ``after`` follows it; ``other`` stands beside both."""
    with DAG("ingest", schedule=PartitionedAtRuntime()) as dag:
        Step(task_id="load", outlets=[ORDERS]) >> list(after)
        Step(task_id="other")
    return dag


@pytest.fixture
def parking(world: World) -> World:
    """``after`` is parked inside the run that published the bad partition, which goes on with ``other``."""
    world.add(publishing(Step(task_id="after")))
    world.trigger("ingest", "p1")
    world.tick()
    assert world.work(world.take("ingest", "p1", "load"))
    world.pull("orders", "p1")
    assert world.states("ingest", "p1")["after"] == "deferred"
    return world


class TestInTheScheduler:
    def test_an_empty_operator_does_not_succeed_without_being_executed(self, world: World) -> None:
        with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
            EmptyOperator(task_id="begin") >> Step(task_id="work")
        world.add(producer("ingest", ORDERS), dag)
        world.publish("ingest", "p1")
        cord = world.pull("orders", "p1")
        assert world.play() == {}
        assert set(world.states("cleaning", "p1").values()) == {None}
        world.release(cord, "false_alarm")
        assert world.play() == {("cleaning.work", "p1"): 1}
        assert world.states("cleaning", "p1")["begin"] == "success"

    def test_an_empty_operator_that_publishes_is_executed_like_any_other(self, world: World) -> None:
        with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
            EmptyOperator(task_id="work", outlets=[CLEAN])
        world.add(producer("ingest", ORDERS), dag)
        world.publish("ingest", "p1")
        cord = world.pull("orders", "p1")
        assert world.play() == {}
        assert world.events("clean") == 0
        world.release(cord, "false_alarm")
        assert world.play() == {("cleaning.work", "p1"): 1}

    def test_an_empty_operator_inside_a_run_that_goes_on_is_parked(self, world: World) -> None:
        world.add(publishing(EmptyOperator(task_id="after")))
        world.trigger("ingest", "p1")
        world.tick()
        assert world.work(world.take("ingest", "p1", "load"))
        cord = world.pull("orders", "p1")
        world.play(but=["ingest"])
        assert world.states("ingest", "p1")["after"] == "deferred"
        world.release(cord, "false_alarm")
        world.play()
        assert world.states("ingest", "p1")["after"] == "success"

    def test_a_task_does_not_start_in_the_triggerer(self, world: World) -> None:
        """``start_from_trigger``: the scheduler defers it, no executor and no ``PATCH .../run``."""
        with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
            FromTrigger(task_id="work")
        world.add(producer("ingest", ORDERS), dag)
        world.publish("ingest", "p1")
        cord = world.pull("orders", "p1")
        assert world.play() == {}
        assert triggers(world) == 0
        world.release(cord, "false_alarm")
        world.tick()
        assert world.states("cleaning", "p1") == {"work": "deferred"}
        assert triggers(world) == 1

    def test_a_task_that_has_started_in_the_triggerer_is_stopped(self, world: World) -> None:
        with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
            FromTrigger(task_id="work", outlets=[CLEAN])
        world.add(producer("ingest", ORDERS), dag)
        world.publish("ingest", "p1")
        world.tick()
        trigger_id = world.ti("cleaning", "p1").trigger_id
        assert trigger_id is not None
        cord = world.pull("orders", "p1")
        assert world.is_held("cleaning", "p1")
        fire(world, trigger_id, TaskSuccessEvent())
        assert world.play() == {}
        assert world.states("cleaning", "p1") == {"work": None}
        world.release(cord, "false_alarm")
        world.tick()
        fire(world, world.ti("cleaning", "p1").trigger_id, TaskSuccessEvent())
        world.play()
        assert world.states("cleaning", "p1") == {"work": "success"}

    @pytest.mark.parametrize("before", [True, False], ids=["after a worker's task", "alone"])
    def test_a_task_that_started_and_ended_in_the_triggerer_is_tainted(
        self, world: World, before: bool
    ) -> None:
        """No worker, so no start in Airflow's log: its own times count."""
        with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as dag:
            work = FromTrigger(task_id="work")
            if before:
                Step(task_id="before") >> work
        world.add(producer("ingest", ORDERS), dag)
        world.publish("ingest", "p1")
        world.play()
        fire(world, world.ti("cleaning", "p1", "work").trigger_id, TaskSuccessEvent())
        world.play()
        assert world.dag_run("cleaning", "p1").state == "success"
        cord = world.pull("orders", "p1")
        assert "tainted" in world.labels("cleaning", "p1")
        world.release(cord, "fixed")
        world.play()
        assert world.states("cleaning", "p1")["work"] == "deferred", "it runs again"

    def test_a_paused_dags_run_is_looked_at_too(self, parking: World) -> None:
        """``_update_dag_run_state_for_paused_dags`` asks for task instances that are ready."""
        parking.clear("ingest", "p1", "after")
        parking.pause("ingest")
        parking.timers()
        assert parking.states("ingest", "p1")["after"] in (None, "deferred")
        parking.pause("ingest", paused=False)
        parking.play()
        assert parking.states("ingest", "p1")["after"] == "deferred"

    def test_what_a_dead_scheduler_had_queued_is_asked_again(self, chain: World) -> None:
        """``adopt_or_reset_orphaned_tasks`` gives it back its state None."""
        from airflow.jobs.job import Job, JobState

        chain.publish("ingest", "p1")
        chain.tick()
        chain.take("cleaning", "p1")
        with chain._session() as session:
            dead = Job(state=JobState.FAILED, job_type="SchedulerJob")
            session.add(dead)
            session.flush()
            ti = session.get_one(TaskInstance, chain.ti("cleaning", "p1").id)
            ti.queued_by_job_id = dead.id
        cord = chain.pull("orders", "p1")
        chain.timers()
        assert chain.play() == {}
        chain.release(cord, "false_alarm")
        assert chain.play()[("cleaning.work", "p1")] == 1

    def test_what_is_stuck_in_the_executor_is_not_queued_again(
        self, chain: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``_handle_tasks_stuck_in_queued`` makes it SCHEDULED, past every question."""
        chain.publish("ingest", "p1", "p2")
        chain.tick()
        monkeypatch.setattr(chain.scheduler, "_task_queued_timeout", 0.0)
        monkeypatch.setattr(chain.executor, "revoke_task", lambda *, ti: None)
        chain.pull("orders", "p1")
        chain.timers()
        assert chain.states("cleaning", "p2") == {"work": "scheduled"}, "the one that is not affected"
        assert chain.is_held("cleaning", "p1")
        assert chain.play()[("cleaning.work", "p1")] == 0


class TestAPersonsAnswer:
    """A human-in-the-loop task: the answer makes it SCHEDULED in the api-server, past the scheduler."""

    @pytest.fixture
    def asking(self, world: World) -> World:
        world.add(publishing(Step(task_id="after")))
        world.trigger("ingest", "p1")
        world.tick()
        assert world.work(world.take("ingest", "p1", "load"))
        world.tick()
        work = world.take("ingest", "p1", "after")
        assert world.run(work) == 200
        ask(world, work)
        assert world.await_input(work) == 204
        world.hear()
        return world

    def answer(self, world: World, *, expect: int) -> None:
        run_id = world.dag_run("ingest", "p1").run_id
        doors.rest(
            "PATCH",
            f"dags/ingest/dagRuns/{run_id}/taskInstances/after/-1/hitlDetails",
            json={"chosen_options": ["yes"], "params_input": {}},
            expect=expect,
        )

    def test_without_a_cord_it_goes_on(self, asking: World) -> None:
        self.answer(asking, expect=200)
        assert asking.states("ingest", "p1")["after"] == "scheduled"

    def test_an_answer_does_not_start_what_is_parked(self, asking: World) -> None:
        cord = asking.pull("orders", "p1")
        assert asking.states("ingest", "p1")["after"] == "deferred"
        self.answer(asking, expect=404)
        assert asking.play() == {("ingest.other", "p1"): 1}
        asking.release(cord, "false_alarm")
        asking.tick()
        work = asking.take("ingest", "p1", "after")
        assert asking.run(work) == 200
        ask(asking, work)
        assert asking.await_input(work) == 204
        asking.hear()
        self.answer(asking, expect=200)
        assert asking.play() == {("ingest.after", "p1"): 1}

    def test_an_answer_does_not_start_what_was_cleared_and_is_parked(self, asking: World) -> None:
        asking.pull("orders", "p1")
        asking.clear("ingest", "p1", "after")
        asking.tick()
        self.answer(asking, expect=404)
        assert asking.play() == {("ingest.other", "p1"): 1}

    def test_an_answer_to_a_task_parked_at_its_start(self, asking: World) -> None:
        """It was cleared before the cord, so that nobody has stopped it."""
        asking.clear("ingest", "p1", "after")
        asking.pull("orders", "p1")
        asking.tick()
        self.answer(asking, expect=404)
        assert asking.play() == {("ingest.other", "p1"): 1}


def test_a_branch_skips_what_is_parked_and_the_release_does_not_undo_it(parking: World) -> None:
    """``PATCH .../skip-downstream``: a task of the run that goes on decides that another need not run."""
    work = parking.executor.waiting[0] if parking.executor.waiting else parking.tick()[0]
    assert work.task_id == "other"
    parking.executor.waiting.remove(work)
    assert parking.run(work) == 200
    answer = execution_api().patch(f"/task-instances/{work.id}/skip-downstream", json={"tasks": ["after"]})
    assert answer.status_code == 204, answer.text
    assert parking.succeed(work) == 204
    parking.play()
    parking.release(1, "fixed")
    assert parking.play() == {}
    assert parking.states("ingest", "p1")["after"] == "skipped"
    assert parking.dag_run("ingest", "p1").state == "success"


def triggers(world: World) -> int:
    with world._session() as session:
        return len(session.scalars(select(Trigger.id)).all())


def fire(world: World, trigger_id: int | None, event: Any) -> None:
    """Let the triggerer report the event; it sends callbacks to the file that the Dag came from."""
    with world._session() as session:
        session.execute(update(DagModel).values(relative_fileloc="dags.py"))
        Trigger.submit_event(trigger_id, event, session=session)


def ask(world: World, work: Work) -> None:
    """Ask a person, as a human-in-the-loop operator does before it waits."""
    answer = execution_api().post(
        f"/hitlDetails/{work.id}",
        json={
            "ti_id": str(work.id),
            "options": ["yes", "no"],
            "subject": "Publish?",
            "body": None,
            "defaults": None,
            "multiple": False,
            "params": {},
            "assigned_users": [],
        },
    )
    assert answer.status_code == 201, answer.text
