"""Disable undoes exactly what the brake changed; enable takes up again; bad requests change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.asset import AssetPartitionDagRun, association_table
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.sdk import Asset
from sqlalchemy import select

from airflow_lean_provider.brake import release as release_act
from airflow_lean_provider.brake import switch
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.pull import Scope, preview
from airflow_lean_provider.brake.pull import pull as pull_act
from airflow_lean_provider.brake.report import of_cord, of_run
from airflow_lean_provider.rules.facts import Outcome, Run
from airflow_lean_provider.store.models import Base
from tests.integration.dags import CLEAN, ORDERS, RATES, consumer, producer
from tests.integration.test_stopping import publisher_with_more

if TYPE_CHECKING:
    from tests.integration.world import World

ONCE = {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


def what_matters(world: World) -> dict[str, Any]:
    """Runs and task instances, but for when the rows were last written."""
    found = world.rows(DagRun, TaskInstance)
    for rows in found.values():
        for row in rows:
            for column in ("updated_at", "last_scheduling_decision"):
                row.pop(column, None)
    return found


def test_disable_restores_a_run_that_was_held_before_it_started(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.create_runs()
    before = what_matters(chain)
    chain.pull("orders", "p1")
    assert chain.is_held("cleaning", "p1")
    assert what_matters(chain) != before
    assert switch.disable(reason="trying", by="tester") == 1
    assert what_matters(chain) == before
    assert chain.play() == ONCE


def test_disable_lets_go_what_was_held_at_its_start(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.pull("orders", "p1")
    chain.create_runs()
    own = chain.dag_run("cleaning", "p1").run_after
    chain.tick()
    assert chain.is_held("cleaning", "p1")
    switch.disable(reason="trying", by="tester")
    assert chain.dag_run("cleaning", "p1").run_after == own
    assert chain.play() == ONCE


def test_disable_unparks(world: World) -> None:
    world.add(publisher_with_more())
    run_id = world.trigger("ingest", "p1")
    world.tick()
    archive = world.take("ingest", run_id, "archive")
    assert world.run(archive) == 200
    assert world.work(world.take("ingest", run_id, "load"))
    before = world.states("ingest", run_id)
    world.pull("orders", "p1")
    assert world.states("ingest", run_id)["check"] == "deferred"
    switch.disable(reason="trying", by="tester")
    assert world.states("ingest", run_id) == before
    assert world.play() == {("ingest.check", "p1"): 1}


def test_disable_gives_back_what_was_absorbed(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    before = chain.rows(association_table_model())
    chain.pull("orders", "p1")
    chain.publish("ingest", "p1")
    assert chain.pending() == []
    switch.disable(reason="trying", by="tester")
    assert chain.pending() == [("cleaning", "p1")]
    assert chain.rows(association_table_model()) == before
    assert chain.play() == ONCE
    assert len(chain.runs("cleaning", "p1")) == 2


def association_table_model() -> Any:
    """The table of consumed events, as ``World.rows`` takes it."""
    return type("Consumed", (), {"__table__": association_table, "__tablename__": association_table.name})


def test_disable_gives_back_a_row_that_was_shared(world: World) -> None:
    world.add(producer("ingest", ORDERS), producer("bank", RATES), consumer("joining", ORDERS & RATES, CLEAN))
    world.publish("ingest", "p1")
    world.publish("bank", "p1")
    world.play()
    world.pull("orders", "p1")
    world.publish("ingest", "p1")
    switch.disable(reason="trying", by="tester")
    assert world.pending() == [("joining", "p1")]
    world.publish("bank", "p1")
    assert world.play() == {("joining.work", "p1"): 1}


def test_while_disabled_nothing_is_held(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    switch.disable(reason="trying", by="tester")
    assert chain.play() == {}
    run_id = chain.trigger("cleaning", "p1")
    chain.publish("ingest", "p1")
    played = chain.play()
    assert played[("cleaning.work", "p1")] == 2
    assert chain.dag_run("cleaning", run_id).state == "success"
    with pytest.raises(BadRequest, match="disabled"):
        chain.pull("orders", "p1")
    assert of_cord(cord)["state"] == "open"


@pytest.mark.parametrize("stage", ["created", "queued", "running"])
def test_enable_takes_up_again(chain: World, stage: str) -> None:
    chain.publish("ingest", "p1")
    chain.create_runs()
    cord = chain.pull("orders", "p1")
    switch.disable(reason="trying", by="tester")
    work = None
    if stage != "created":
        chain.tick()
        work = chain.take("cleaning", "p1")
        if stage == "running":
            assert chain.run(work) == 200
    assert switch.enable(by="tester")
    assert chain.is_held("cleaning", "p1")
    if work is not None:
        assert chain.run(work) == 404
        assert chain.succeed(work) == 404
    assert chain.play() == {}
    chain.release(cord, "false_alarm")
    assert chain.play() == ONCE


def test_disable_and_enable_are_on_the_record(chain: World) -> None:
    switch.disable(reason="trying", by="tester")
    switch.enable(by="tester")
    with chain._session() as session:
        rows = {(r.event, r.extra) for r in session.scalars(select(Log).where(Log.event.like("andon %")))}
    assert rows == {("andon disable", "tester: trying"), ("andon enable", "tester")}


def everything(world: World) -> dict[str, Any]:
    ours = [
        type("Ours", (), {"__table__": table, "__tablename__": name})
        for name, table in Base.metadata.tables.items()
        if name != "lean_switch"
    ]
    return world.rows(DagRun, TaskInstance, TaskInstanceHistory, AssetPartitionDagRun, Log, *ours)


def _pull(scope: Scope, reason: str = "wrong", **options: Any) -> Any:
    return pull_act(scope, reason=reason, by="tester", **options)


REQUESTS: dict[str, tuple[str, Any]] = {
    "unknown asset": ("asset", lambda cord: _pull(Scope("nothing", ("p1",)))),
    "no asset": ("asset", lambda cord: _pull(Scope(None, ("p1",)))),
    "ambiguous name": ("asset", lambda cord: _pull(Scope("twice", ("p1",)))),
    "key never published": ("partition", lambda cord: _pull(Scope("orders", ("p1", "p9")))),
    "key in another case": ("partition", lambda cord: _pull(Scope("orders", ("P1",)))),
    "key with a blank": ("partition", lambda cord: _pull(Scope("orders", ("p1 ",)))),
    "no key": ("partition", lambda cord: _pull(Scope("orders"))),
    "keys without order": ("range", lambda cord: _pull(Scope("orders", between=("p1", "p2")))),
    "empty range": ("range", lambda cord: _pull(Scope("orders", between=("2020-01-01", "2020-01-02")))),
    "backward range": ("range", lambda cord: _pull(Scope("orders", between=("2020-01-02", "2020-01-01")))),
    "empty reason": ("reason", lambda cord: _pull(Scope("orders", ("p2",)), reason=" ")),
    "unknown run": ("run", lambda cord: _pull(Scope(run=Run("ingest", "nothing")))),
    "unknown Dag": ("run", lambda cord: _pull(Scope(run=Run("nothing", "nothing")))),
    "preview of nothing": ("asset", lambda cord: preview(Scope("nothing", ("p1",)))),
    "unknown cord": ("cord", lambda cord: release_act.release(999, Outcome.FIXED, by="tester")),
    "key of another cord": (
        "partition",
        lambda cord: release_act.release(cord, Outcome.FIXED, by="tester", keys=["p2"]),
    ),
    "repair of an unknown cord": ("cord", lambda cord: release_act.repair(999, by="tester")),
    "no reason to disable": ("reason", lambda cord: switch.disable(reason="", by="tester")),
    "why of an unknown run": ("run", lambda cord: of_run(Run("ingest", "nothing"))),
    "show of an unknown cord": ("cord", lambda cord: of_cord(999)),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_bad_request_says_what_is_wrong_and_changes_nothing(chain: World, name: str) -> None:
    field, request = REQUESTS[name]
    chain.add(
        producer("twice_1", Asset(name="twice", uri="s3://one/twice")),
        producer("twice_2", Asset(name="other", uri="twice")),
    )
    chain.publish("ingest", "p1", "p2", "2026-01-01")
    chain.tick()
    cord = chain.pull("orders", "p1")
    before = everything(chain)
    with pytest.raises(BadRequest) as error:
        request(cord)
    assert error.value.field == field
    assert "\n" not in str(error.value)
    assert everything(chain) == before


def test_a_released_cord_cannot_be_released_again(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    cord = chain.pull("orders", "p1")
    chain.release(cord, "false_alarm")
    chain.play()
    before = everything(chain)
    for act in (lambda: chain.release(cord, "fixed"), lambda: chain.repair(cord)):
        with pytest.raises(BadRequest, match="released already"):
            act()
    assert everything(chain) == before


def test_the_same_request_twice_is_one_cord(chain: World) -> None:
    chain.publish("ingest", "p1")
    first = pull_act(Scope("orders", ("p1",)), reason="wrong", by="tester", request_key="abc")
    second = pull_act(Scope("orders", ("p1",)), reason="wrong", by="tester", request_key="abc")
    assert (second.cord, second.existed) == (first.cord, True)
    assert second.settled


def test_a_preview_changes_nothing(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    before = everything(chain)
    seen = preview(Scope("orders", ("p1",)))
    assert everything(chain) == before
    assert [
        run.dag_id for run in seen.plan.runs if "held" in {x.value for x in seen.plan.runs[run].labels}
    ] == ["cleaning"]
