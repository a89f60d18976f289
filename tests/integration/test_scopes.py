"""What a pull means beyond single keys: patterns, from a key on, the whole asset; which versions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.utils.session import create_session
from sqlalchemy import select, text

from airflow_lean_provider.brake import publication, report, settle, sweep, switch
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.pull import preview, pull
from airflow_lean_provider.brake.release import end_scope
from airflow_lean_provider.brake.targets import Scope
from airflow_lean_provider.rules.facts import Severity
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import CordScope, HaltedPartition
from tests.integration.dags import DAILY, ORDERS, days_of_hours, hours_of, producer

if TYPE_CHECKING:
    from datetime import datetime

    from tests.integration.world import World

ONCE = {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


def cover(world: World, **scope: Any) -> int:
    pulled = pull(Scope(asset="orders", **scope), reason="looks wrong", by="tester")
    assert pulled.settled
    return pulled.cord


def named(cord: int) -> dict[str | None, str]:
    return {p["partition_key"]: p["outcome"] for p in report.of_cord(cord)["partitions"]}


def test_a_pattern_covers_what_fits_and_nothing_else(chain: World) -> None:
    chain.publish("ingest", "p1", "P1", "q1")
    cord = cover(chain, pattern="p*")
    assert named(cord) == {"p1": "open"}
    chain.publish("ingest", "p2", "P2", "q2")
    assert chain.halted() == {("orders", "p1"), ("orders", "p2")}
    assert {key for _, key in chain.play()} == {"P1", "q1", "P2", "q2"}
    assert named(cord) == {"p1": "open", "p2": "open"}
    assert chain.is_held("cleaning", "p1")
    assert chain.is_held("cleaning", "p2")


def test_a_pattern_may_fit_nothing_yet(chain: World) -> None:
    cord = cover(chain, pattern="p*")
    sweep.sweep()
    assert report.of_cord(cord)["state"] == "open"
    chain.publish("ingest", "p1")
    assert chain.play() == {}
    assert chain.is_held("cleaning", "p1")
    chain.release(cord, "false_alarm")
    assert chain.play() == ONCE
    assert report.of_cord(cord)["state"] == "closed"


def test_many_keys_that_one_task_publishes_are_settled_together(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow tells of each key alone, after all of them; a look for each would take hours for a thousand."""
    looks: list[float | None] = []

    def noted(timeout: float | None = None) -> bool:
        looks.append(timeout)
        return settle.settle(timeout)

    monkeypatch.setattr(publication, "settle", noted)
    cover(chain, pattern="p*")
    for run in ("first", "second"):
        keys = [f"p-{run}-{n}" for n in range(20)]
        chain.trigger("ingest", run)
        chain.start_runs()
        chain.schedule()
        chain.queue()
        work = chain.take("ingest", run)
        assert chain.run(work) == 200
        looks.clear()
        assert chain.succeed(work, keys=keys) == 204
        assert len(looks) == 1
        assert chain.halted() >= {("orders", key) for key in keys}
        assert chain.play() == {}
        assert all(chain.is_held("cleaning", key) for key in keys)


def test_what_is_published_later_is_halted_before_anybody_settles(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publishing process is killed right after its commit, and no sweeper is there."""
    cord = cover(chain, pattern="p*")
    monkeypatch.setattr("airflow_lean_provider.brake.publication.published", lambda event: None)
    chain.publish("ingest", "p1")
    assert chain.halted() == {("orders", "p1")}
    assert chain.play(sweeping=False) == {}
    assert chain.is_held("cleaning", "p1")
    assert named(cord) == {}
    chain.publish_from_outside("orders", "p1")
    assert len(chain.rows(HaltedPartition)["lean_halted_partition"]) == 2
    sweep.sweep()
    assert len(chain.rows(HaltedPartition)["lean_halted_partition"]) == 1
    assert named(cord) == {"p1": "open"}


def test_an_error_of_ours_fails_no_producer(chain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 26: what the publication's own transaction misses, the settling that follows finds."""
    cord = cover(chain, pattern="p*")

    def fail(connection: Any, partition: Any) -> list[int]:
        connection.execute(text("SELECT * FROM nothing_of_the_kind"))
        return []

    monkeypatch.setattr("airflow_lean_provider.brake.scopes.cords_that_cover", fail)
    chain.publish("ingest", "p1")
    assert named(cord) == {"p1": "open"}
    assert chain.halted() == {("orders", "p1")}
    assert chain.play() == {}


def test_from_a_key_on_follows_the_order_of_the_keys(chain: World) -> None:
    chain.publish("ingest", "2026-06-13", "2026-06-14", "us")
    cord = cover(chain, start="2026-06-14")
    chain.publish("ingest", "2026-06-12", "2027-01-01", "2026-07")
    assert chain.halted() == {("orders", "2026-06-14"), ("orders", "2027-01-01")}
    assert set(named(cord)) == {"2026-06-14", "2027-01-01"}
    with pytest.raises(BadRequest, match="from: keys like 'us' have no order"):
        cover(chain, start="us")


def test_the_whole_asset_means_events_without_a_key_too(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.publish_from_outside("orders", None)
    cord = cover(chain, whole=True)
    assert set(named(cord)) == {None, "p1"}
    chain.publish("ingest", "us", "ús", "100%_of it, ' quoted")
    assert {key for _, key in chain.halted()} == {None, "p1", "us", "ús", "100%_of it, ' quoted"}
    assert chain.play() == {}


def test_an_asset_without_keys_is_named_by_itself(chain: World) -> None:
    chain.publish_from_outside("orders", None)
    cord = cover(chain)
    assert named(cord) == {None: "open"}
    assert chain.halted() == {("orders", None)}


def test_a_released_partition_has_left_the_scope(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    cord = cover(chain, pattern="p*")
    chain.release(cord, "false_alarm", keys=["p1"])
    assert chain.play() == ONCE
    chain.publish("ingest", "p1")
    assert chain.halted() == {("orders", "p2")}
    assert chain.play() == ONCE
    chain.publish("ingest", "p3")
    assert chain.halted() == {("orders", "p2"), ("orders", "p3")}


def test_the_scope_ends_with_the_release_of_all(chain: World) -> None:
    chain.publish("ingest", "p1")
    cord = cover(chain, pattern="p*")
    chain.release(cord, "false_alarm")
    chain.publish("ingest", "p2")
    assert chain.halted() == set()
    chain.play()
    told = report.of_cord(cord)
    assert told["state"] == "closed"
    assert [s["ended_by"] for s in told["scopes"]] == ["tester"]
    with pytest.raises(BadRequest, match="released already"):
        chain.release(cord, "false_alarm")


def test_the_scope_may_go_on_without_the_partitions(chain: World) -> None:
    chain.publish("ingest", "p1")
    cord = cover(chain, pattern="p*")
    chain.release(cord, "false_alarm", keep_scope=True)
    chain.play()
    assert report.of_cord(cord)["state"] == "open"
    chain.publish("ingest", "p2")
    assert chain.halted() == {("orders", "p2")}


def test_the_partitions_may_stay_without_the_scope(chain: World) -> None:
    """The source is repaired, what it wrote before is not."""
    chain.publish("ingest", "p1")
    cord = cover(chain, pattern="p*")
    end_scope(cord, by="tester")
    chain.publish("ingest", "p2")
    assert chain.halted() == {("orders", "p1")}
    assert {key for _, key in chain.play()} == {"p2"}
    with pytest.raises(BadRequest, match="only-scope: cord"):
        end_scope(cord, by="tester")


def test_what_was_published_before_a_release_is_released_with_it(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has settled yet when the person decides."""
    cord = cover(chain, pattern="p*")
    with monkeypatch.context() as killed:
        killed.setattr("airflow_lean_provider.brake.publication.published", lambda event: None)
        chain.publish("ingest", "p1")
    chain.release(cord, "false_alarm")
    assert named(cord) == {"p1": "false_alarm"}
    assert chain.play() == ONCE


def test_a_warning_marks_what_is_published_later_and_holds_nothing(chain: World) -> None:
    pulled = pull(Scope("orders", pattern="p*"), reason="odd", by="tester", severity=Severity.WARN)
    chain.publish("ingest", "p1")
    assert named(pulled.cord) == {"p1": "open"}
    assert chain.halted() == set()
    assert chain.play() == ONCE


def test_a_disabled_brake_halts_nothing_and_enabling_it_does(chain: World) -> None:
    cover(chain, pattern="p*")
    switch.disable(reason="upgrade", by="tester")
    chain.publish("ingest", "p1")
    assert chain.rows(HaltedPartition) == {"lean_halted_partition": []}
    switch.enable(by="tester")
    assert chain.halted() == {("orders", "p1")}
    assert chain.play() == {}


def test_a_preview_says_what_would_be_covered(chain: World) -> None:
    chain.publish("ingest", "p1", "q1")
    told = report.of_preview(preview(Scope("orders", pattern="p*")))
    assert told["covers_later"] == "pattern p*"
    assert [p["partition_key"] for p in told["partitions"]] == ["p1"]
    assert chain.rows(CordScope, HaltedPartition) == {"lean_cord_scope": [], "lean_halted_partition": []}


@pytest.mark.postgres
def test_a_publication_that_was_under_way_while_the_cord_was_pulled(chain: World) -> None:
    """It has begun before the pull and commits after it: its transaction knows no scope."""
    from airflow.assets.manager import asset_manager
    from airflow.models.asset import AssetModel

    with create_session(scoped=False) as publication:
        model = publication.scalars(select(AssetModel).where(AssetModel.name == "orders")).one()
        asset_manager.register_asset_change(asset=model, partition_key="p1", session=publication)
        publication.flush()
        cord = cover(chain, pattern="p*")
        assert named(cord) == {}
    assert chain.halted() == set()
    sweep.sweep()
    assert named(cord) == {"p1": "open"}
    assert chain.halted() == {("orders", "p1")}


# Which versions


def versions(world: World, *, times: int) -> list[datetime]:
    """Publish p1 so often, and return the moments right after each."""
    moments = []
    for _ in range(times):
        world.publish("ingest", "p1")
        moments.append(now())
    return moments


def bad_versions(world: World, **scope: Any) -> int:
    (target,) = preview(Scope("orders", keys=("p1",), **scope)).meant.targets
    return len(target.named)


def test_the_last_version_is_the_bad_one_unless_somebody_says_more(chain: World) -> None:
    first, second, third = versions(chain, times=3)
    assert bad_versions(chain) == 1
    assert bad_versions(chain, since=first) == 2
    assert bad_versions(chain, since=first - timedelta(hours=1)) == 3
    assert bad_versions(chain, since=first, until=second) == 1
    assert bad_versions(chain, until=second) == 1
    for nothing in ({"since": third}, {"until": first - timedelta(hours=1)}):
        with pytest.raises(BadRequest, match="no version of 'orders'"):
            bad_versions(chain, **nothing)
    with pytest.raises(BadRequest, match="until: is before --since"):
        bad_versions(chain, since=second, until=first)
    with pytest.raises(BadRequest, match="until: --pattern also covers"):
        preview(Scope("orders", pattern="p*", until=first))


def test_who_read_a_version_that_is_good_again_by_now_runs_again_at_once(chain: World) -> None:
    """Yesterday's consumers read what has been replaced since; nothing is halted, and they owe."""
    chain.publish("ingest", "p1")
    chain.play()
    between = now()
    chain.pause("cleaning")
    chain.publish("ingest", "p1")
    chain.pause("cleaning", paused=False)
    assert chain.play() == {}
    pulled = pull(Scope("orders", keys=("p1",), until=between), reason="was wrong", by="tester")
    assert ("orders", "p1") not in chain.halted()
    assert named(pulled.cord) == {"p1": "fixed"}
    assert chain.play() == ONCE
    assert chain.halted() == set()
    assert report.of_cord(pulled.cord)["state"] == "closed"


def test_since_leaves_older_partitions_alone(chain: World) -> None:
    chain.publish("ingest", "p1")
    since = now()
    chain.publish("ingest", "p2")
    cord = cover(chain, pattern="p*", since=since)
    assert set(named(cord)) == {"p2"}
    assert {key for _, key in chain.play()} == {"p1"}
    chain.publish("ingest", "p1")
    assert set(named(cord)) == {"p1", "p2"}


# A cord that ends by itself


def test_released_on_publication(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    pulled = pull(Scope("orders", keys=("p1",)), reason="x", by="tester", release_on="publication")
    assert chain.play() == {}
    chain.publish("ingest", "p1")
    assert chain.play() == ONCE
    assert named(pulled.cord) == {"p1": "fixed"}


def test_somebody_asks_for_it_later(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    released = chain.release(cord, "fixed", on_publication=True)
    assert [said for _, said in released.waiting] == ["its next publication"]
    assert chain.play() == {}
    chain.publish("ingest", "p1")
    assert chain.play() == ONCE
    with pytest.raises(BadRequest, match="on-publication: ends a cord as fixed"):
        chain.release(cord, "withdrawn", on_publication=True)


def test_what_is_published_later_under_a_scope_waits_for_a_person(chain: World) -> None:
    pulled = pull(Scope("orders", pattern="p*"), reason="x", by="tester", release_on="publication")
    chain.publish("ingest", "p1")
    chain.publish("ingest", "p1")
    assert named(pulled.cord) == {"p1": "open"}
    assert chain.play() == {}


def test_two_scopes_that_overlap(chain: World) -> None:
    """Bad until the last one is released (trap 13), in either order."""
    first, second = cover(chain, pattern="p*"), cover(chain, whole=True)
    chain.publish("ingest", "p1", "q1")
    assert set(named(first)) == {"p1"}
    assert set(named(second)) == {"p1", "q1"}
    chain.release(second, "false_alarm")
    assert {key for _, key in chain.play()} == {"q1"}
    assert chain.halted() == {("orders", "p1")}
    chain.release(first, "false_alarm")
    assert chain.play() == ONCE


def test_a_scope_of_a_table_that_a_reading_run_makes(chain: World) -> None:
    """Every report is held from the moment in which its table is made, whoever makes it."""
    pulled = pull(Scope("clean", whole=True), reason="looks wrong", by="tester")
    chain.publish("ingest", "p1")
    assert chain.play() == {("cleaning.work", "p1"): 1}
    assert chain.halted() == {("clean", "p1")}
    assert chain.is_held("reporting", "p1")
    chain.repair(pulled.cord)
    assert chain.play() == ONCE
    assert report.of_cord(pulled.cord)["state"] == "open"
    end_scope(pulled.cord, by="tester")
    assert report.of_cord(pulled.cord)["state"] == "closed"


def test_the_hours_of_a_day_under_a_pattern(world: World) -> None:
    """A day that rolls up 24 hours, two of which come under the scope while it waits for the last."""
    hours = hours_of("2026-06-14")
    world.add(producer("ingest", ORDERS), days_of_hours("daily", ORDERS, DAILY))
    for hour in hours[:22]:
        world.publish_from_outside("orders", hour)
    cord = cover(world, pattern="2026-06-14T2[23]")
    world.publish("ingest", *hours[22:])
    assert world.play() == {}
    assert world.is_held("daily", "2026-06-14")
    world.release(cord, "fixed", keys=[hours[22]])
    assert world.play() == {}
    world.publish("ingest", hours[23])
    world.release(cord, "fixed")
    assert world.play() == {("daily.work", "2026-06-14"): 1}
    assert world.pending() == []
