"""Who reads a partition: by the events that made the run, or by what the run's Dag and key say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.sdk import MinimumCount, RollupMapper, StartOfWeekMapper, WeekWindow
from airflow.utils.types import DagRunType

from tests.integration.dags import (
    CLEAN,
    DAILY,
    ORDERS,
    RATES,
    consumer,
    days_of_hours,
    hours_of,
    producer,
)

if TYPE_CHECKING:
    from tests.integration.world import World

DAY, NEXT_DAY = "2026-06-14", "2026-06-15"


@pytest.mark.parametrize("run_type", [DagRunType.MANUAL, DagRunType.OPERATOR_TRIGGERED])
def test_a_manual_run_with_the_bad_key_is_held_at_its_start(chain: World, run_type: DagRunType) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    run_id = chain.trigger("cleaning", "p1", run_type=run_type)
    assert chain.play() == {}
    assert chain.is_held("cleaning", run_id)
    assert chain.dag_run("cleaning", run_id).run_type == run_type
    chain.release(cord, "fixed")
    chain.play()
    assert {r.state for r in chain.runs("cleaning", "p1")} == {"success"}


def test_a_manual_run_before_the_pull_is_held_by_it(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    run_id = chain.trigger("cleaning", "p1")
    chain.tick()
    work = chain.take("cleaning", run_id)
    chain.pull("orders", "p1")
    assert chain.run(work) == 404
    assert chain.is_held("cleaning", run_id)


@pytest.fixture
def joined(world: World) -> World:
    world.add(
        producer("ingest", ORDERS),
        producer("bank", RATES),
        consumer("joining", ORDERS & RATES, CLEAN),
        consumer("either", ORDERS | RATES),
    )
    return world


def test_a_consumer_of_two_assets_is_held_for_either(joined: World) -> None:
    joined.publish("ingest", "p1", "p2")
    joined.publish("bank", "p1", "p2")
    joined.tick()
    joined.pull("rates", "p1")
    assert joined.is_held("joining", "p1")
    assert joined.play(but=["either"]) == {("joining.work", "p2"): 1}


def test_a_run_completed_by_the_other_asset_after_the_pull_is_held(joined: World) -> None:
    joined.publish("ingest", "p1")
    cord = joined.pull("orders", "p1")
    joined.publish("bank", "p1")
    assert joined.play(but=["either"]) == {}
    assert joined.is_held("joining", "p1")
    joined.release(cord, "false_alarm")
    assert joined.play(but=["either"]) == {("joining.work", "p1"): 1}
    assert ("joining", "p1") not in joined.pending()


def test_a_run_that_another_asset_made_reads_the_bad_one_too(joined: World) -> None:
    """``orders | rates``: the run of rates' event finds the bad orders in the table."""
    joined.pause("either")
    joined.publish("ingest", "p1")
    joined.pause("either", paused=False)
    cord = joined.pull("orders", "p1")
    joined.publish("bank", "p1")
    assert joined.play(but=["joining"]) == {}
    assert joined.is_held("either", "p1")
    joined.release(cord, "false_alarm")
    assert joined.play(but=["joining"]) == {("either.work", "p1"): 1}


def test_the_other_asset_does_not_start_a_second_run_beside_a_tainted_one(joined: World) -> None:
    """Every pending row that is complete is absorbed, whichever asset completed it."""
    joined.publish("ingest", "p1")
    joined.play(but=["joining"])
    cord = joined.pull("orders", "p1")
    joined.publish("bank", "p1")
    assert joined.play(but=["joining"]) == {}
    assert len(joined.runs("either", "p1")) == 1
    joined.release(cord, "false_alarm")
    assert joined.play(but=["joining"]) == {("either.work", "p1"): 1}
    assert len(joined.runs("either", "p1")) == 1


@pytest.fixture
def daily(world: World) -> World:
    world.add(
        producer("ingest", ORDERS),
        days_of_hours("adding", ORDERS, DAILY),
        consumer(
            "forecast",
            DAILY,
            mapper=RollupMapper(
                upstream_mapper=StartOfWeekMapper(input_format="%Y-%m-%d"),
                window=WeekWindow(),
                wait_policy=MinimumCount(2),
            ),
        ),
    )
    return world


def test_a_day_is_held_for_one_of_its_hours(daily: World) -> None:
    for hour in hours_of(DAY):
        daily.publish_from_outside("orders", hour)
    daily.tick()
    work = daily.take("adding", DAY)
    cord = daily.pull("orders", f"{DAY}T05")
    assert daily.run(work) == 404
    assert daily.is_held("adding", DAY)
    daily.release(cord, "fixed")
    assert daily.play() == {("adding.work", DAY): 1}
    assert daily.dag_run("adding", DAY).state == "success"


def test_a_day_that_completes_under_the_cord_is_held(daily: World) -> None:
    hours = hours_of(DAY)
    for hour in hours[:20]:
        daily.publish_from_outside("orders", hour)
    cord = daily.pull("orders", hours[5])
    assert daily.pending() == [("adding", DAY)]
    for hour in hours[20:]:
        daily.publish("ingest", hour)
    assert daily.play() == {}
    assert daily.is_held("adding", DAY)
    daily.release(cord, "false_alarm")
    assert daily.play() == {("adding.work", DAY): 1}


def test_a_week_that_was_there_with_too_few_days_reads_the_bad_one(daily: World) -> None:
    """MinimumCount: the run was made without the third day, and still reads it from the table."""
    for day in ("2026-06-15", "2026-06-16", "2026-06-17"):
        daily.publish_from_outside("daily", day)
        daily.tick()
    daily.play()
    week = daily.runs("forecast")[0].partition_key
    assert week is not None
    cord = daily.pull("daily", "2026-06-17")
    run_id = daily.trigger("forecast", week)
    assert daily.play() == {}
    assert daily.is_held("forecast", run_id)
    daily.release(cord, "false_alarm")
    assert daily.play()[("forecast.work", week)] == 1


def test_an_advisory_dag_is_told_and_not_held(world: World) -> None:
    world.add(
        producer("ingest", ORDERS),
        consumer("cleaning", ORDERS, CLEAN),
        consumer("board", ORDERS, tags=["andon:advisory"]),
    )
    world.publish("ingest", "p1")
    world.tick()
    cord = world.pull("orders", "p1")
    assert world.play() == {("board.work", "p1"): 1}
    assert "tainted" in world.labels("board", "p1")
    world.release(cord, "fixed")
    assert world.play() == {("cleaning.work", "p1"): 1, ("board.work", "p1"): 1}
