"""The notes that Airflow shows on held runs and tasks come with the hold, and go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.models.taskinstance import TaskInstanceNote
from airflow.sdk import DAG
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_lean_provider.airflow_internals.notes import AT_MOST
from airflow_lean_provider.brake import cords, switch
from tests.integration import doors
from tests.integration.dags import ORDERS, Step
from tests.integration.test_stopping import publisher_with_more

if TYPE_CHECKING:
    from tests.integration.world import World

WAYS = ("parked", "parked at its start", "stopped", "stopped and parked")
RUN = "r1"


def keep(world: World, way: str, reason: str = "in cents") -> tuple[int, str, str]:
    """Let a pull keep a task of run ``r1`` in this way; return the cord, the Dag and the task."""
    if way == "parked at its start":
        with DAG("nightly", schedule=None) as nightly:
            Step(task_id="read", inlets=[ORDERS])
            Step(task_id="other")
        world.publish("ingest", "p1")
        world.add(nightly)
        cord = world.pull("orders", "p1", reason=reason)
        world.trigger("nightly", run_id=RUN)
        world.tick()
        return cord, "nightly", "read"
    world.add(publisher_with_more())
    world.trigger("ingest", "p1", run_id=RUN)
    world.tick()
    assert world.work(world.take("ingest", RUN, "load"))
    archive = world.take("ingest", RUN, "archive")
    assert world.run(archive) == 200
    if way.startswith("stopped"):
        world.tick()
        assert world.run(world.take("ingest", RUN, "check")) == 200
    if way == "stopped":
        assert world.succeed(archive) == 204
    return world.pull("orders", "p1", reason=reason), "ingest", "check"


def all_task_notes() -> list[str | None]:
    with create_session(scoped=False) as session:
        return list(session.scalars(select(TaskInstanceNote.content)))


def of_a_person(dag_id: str, task_id: str, text: str) -> None:
    doors.rest("PATCH", f"dags/{dag_id}/dagRuns/{RUN}/taskInstances/{task_id}", json={"note": text})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("outcome", ["false_alarm", "fixed", "withdrawn"])
def test_a_kept_task_says_why_until_the_release(chain: World, way: str, outcome: str) -> None:
    cord, dag_id, task_id = keep(chain, way)
    assert chain.states(dag_id, RUN)[task_id] == (None if way == "stopped" else "deferred")
    assert chain.is_held(dag_id, RUN) is (way == "stopped")
    assert chain.task_note(dag_id, RUN, task_id) == (
        f"Andon cord {cord}: in cents - held; 'airflow andon why {dag_id} {RUN}'"
    )
    assert len(all_task_notes()) == 1, "what goes on has none"
    chain.release(cord, outcome)
    assert all_task_notes() == []
    chain.play()
    assert all_task_notes() == []


@pytest.mark.parametrize("outcome", ["false_alarm", "fixed", "withdrawn"])
@pytest.mark.parametrize("when", ["at the pull", "at its start"])
def test_a_held_run_says_why_until_the_release(chain: World, when: str, outcome: str) -> None:
    chain.publish("ingest", "p1")
    chain.create_runs()
    if when == "at its start":
        cord = chain.pull("orders", "p1", reason="in cents")
        chain.start_runs()
    else:
        chain.tick()
        cord = chain.pull("orders", "p1", reason="in cents")
    assert (chain.note("cleaning", "p1") or "").startswith(f"Andon cord {cord}: in cents - held")
    assert all_task_notes() == [], "its run says it for all of them"
    chain.release(cord, outcome)
    note = chain.note("cleaning", "p1")
    assert note is None if outcome != "withdrawn" else "held" not in note


@pytest.mark.parametrize("way", WAYS)
def test_a_persons_note_is_kept(chain: World, way: str) -> None:
    """With the signature, too: whoever writes has a name."""
    cord, dag_id, task_id = keep(chain, way)
    of_a_person(dag_id, task_id, "Andon cord: I look at it")
    assert cords.edit_reason(cord, "in euros", by="ann")
    chain.release(cord, "false_alarm")
    chain.play()
    assert chain.task_note(dag_id, RUN, task_id) == "Andon cord: I look at it"


@pytest.mark.parametrize("running", [False, True])
def test_a_persons_earlier_note_is_kept(world: World, running: bool) -> None:
    """What runs gets another id, and its note follows it there."""
    world.add(publisher_with_more())
    world.trigger("ingest", "p1", run_id=RUN)
    world.tick()
    assert world.work(world.take("ingest", RUN, "load"))
    world.tick()
    if running:
        assert world.run(world.take("ingest", RUN, "check")) == 200
    of_a_person("ingest", "check", "mine")
    before = world.ti("ingest", RUN, "check").id
    cord = world.pull("orders", "p1")
    assert world.ti("ingest", RUN, "check").id != before
    assert world.task_note("ingest", RUN, "check") == "mine"
    world.release(cord, "false_alarm")
    world.play()
    assert world.task_note("ingest", RUN, "check") == "mine"


@pytest.mark.parametrize("way", WAYS)
def test_another_reason_is_told_there_too(chain: World, way: str) -> None:
    cord, dag_id, task_id = keep(chain, way)
    cords.edit_reason(cord, "in euros", by="ann")
    assert chain.task_note(dag_id, RUN, task_id) == (
        f"Andon cord {cord}: in euros - held; 'airflow andon why {dag_id} {RUN}'"
    )


@pytest.mark.parametrize("way", WAYS)
def test_disable_takes_them_away(chain: World, way: str) -> None:
    _, dag_id, task_id = keep(chain, way)
    switch.disable(reason="trying", by="tester")
    assert chain.task_note(dag_id, RUN, task_id) is None
    assert chain.note(dag_id, RUN) is None
    switch.enable(by="tester")
    if way == "stopped":
        assert chain.note(dag_id, RUN) is not None
    else:
        assert chain.task_note(dag_id, RUN, task_id) is not None


@pytest.mark.parametrize("way", WAYS)
def test_a_clear_takes_nothing_away_while_it_is_kept(chain: World, way: str) -> None:
    """A clear may give it another id; it is asked again, and kept again."""
    cord, dag_id, task_id = keep(chain, way)
    chain.clear(dag_id, RUN, task_id)
    chain.play()
    assert (chain.task_note(dag_id, RUN, task_id) or "").startswith(f"Andon cord {cord}: in cents")
    assert len(all_task_notes()) == 1
    chain.release(cord, "false_alarm")
    assert all_task_notes() == []


@pytest.mark.parametrize("way", ["parked", "parked at its start", "stopped and parked"])
def test_a_mark_takes_it_away(chain: World, way: str) -> None:
    _, dag_id, task_id = keep(chain, way)
    doors.rest("PATCH", f"dags/{dag_id}/dagRuns/{RUN}/taskInstances/{task_id}", json={"new_state": "success"})
    chain.play()
    assert all_task_notes() == []


@pytest.mark.parametrize("way", WAYS)
def test_a_mark_of_its_run_takes_it_away(chain: World, way: str) -> None:
    _, dag_id, _ = keep(chain, way)
    chain.mark(dag_id, RUN, "failed")
    chain.play()
    assert all_task_notes() == []


@pytest.mark.parametrize("way", WAYS)
def test_what_is_kept_for_another_cord_names_that_one(chain: World, way: str) -> None:
    first, dag_id, task_id = keep(chain, way)
    second = chain.pull("orders", "p1", reason="twice")
    chain.release(first, "false_alarm")
    assert (chain.task_note(dag_id, RUN, task_id) or "").startswith(f"Andon cord {second}: twice - held")
    if way == "stopped":
        assert (chain.note(dag_id, RUN) or "").startswith(f"Andon cord {second}: twice - held")


def test_the_reason_of_a_note_is_cut(chain: World) -> None:
    _, dag_id, task_id = keep(chain, "stopped", reason="x" * 2000)
    assert len(chain.task_note(dag_id, RUN, task_id) or "") == AT_MOST


def test_what_waits_for_the_end_of_its_old_process_says_so(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.configure(monkeypatch, survival_time=3600)
    cord, dag_id, task_id = keep(chain, "stopped and parked")
    chain.release(cord, "false_alarm")
    chain.play()
    assert chain.states(dag_id, RUN)[task_id] == "deferred"
    assert len(all_task_notes()) == 1
    chain.hour_passes()
    assert chain.play()["ingest.check", "p1"] == 1
    assert all_task_notes() == []
