"""The test bed does what it says: Airflow's own code runs, and calls us where production does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.integration.world import World


def test_a_publication_runs_its_consumers_step_by_step(chain: World) -> None:
    world = chain
    world.publish("ingest", "p1")
    assert world.pending() == [("cleaning", "p1")]
    world.create_runs()
    assert world.dag_run("cleaning", "p1").state == "queued"
    world.start_runs()
    assert world.dag_run("cleaning", "p1").state == "running"
    world.schedule()
    assert world.states("cleaning", "p1") == {"work": "scheduled"}
    assert [w.name for w in world.queue()] == ["cleaning.work"]
    work = world.take("cleaning", "p1")
    assert world.run(work) == 200
    assert world.heartbeat(work) == 204
    assert world.succeed(work) == 204
    assert world.events("clean", "p1") == 1
    assert world.play() == {("reporting.work", "p1"): 1}
    assert world.dag_run("reporting", "p1").state == "success"


def test_our_hooks_are_called_where_production_calls_them(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_lean_provider.airflow_internals import absorbing
    from airflow_lean_provider.brake import publication, start

    called: list[str] = []

    def noted(module: object, name: str) -> None:
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: (called.append(name), original(*a, **k))[1])

    noted(start, "judge_start")
    noted(publication, "_concerns_a_cord")
    noted(absorbing, "_absorb")
    chain.publish("ingest", "p1")
    assert {"_concerns_a_cord", "_absorb"} <= set(called)
    called.clear()
    chain.create_runs()
    chain.start_runs()
    assert called == ["judge_start"]
    chain.schedule()
    assert called == ["judge_start", "judge_start"]
