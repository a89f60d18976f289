"""Airflow's own partitioned example Dags, unmodified: every mapper that it brings, made by nobody here."""

from __future__ import annotations

from calendar import monthrange
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow import example_dags
from airflow.dag_processing.dagbag import BundleDagBag

if TYPE_CHECKING:
    from tests.integration.world import World

FILE = Path(example_dags.__file__).with_name("example_asset_partition.py")
MONTH, DAY, NEXT_DAY = "2026-06", "2026-06-14", "2026-06-15"
BAD = f"{DAY}T05:00:00"
HOURS = [f"{DAY}T{hour:02}:00:00" for hour in range(24)]
DAYS = [f"{MONTH}-{day + 1:02}" for day in range(monthrange(2026, 6)[1])]
REGIONS = ("us", "eu", "apac")
BY_THE_CLOCK = (
    "ingest_team_a_player_stats",
    "team_b_player_stats",
    "team_c_player_stats",
    "train_weekly_model",
)


@pytest.fixture
def examples(world: World) -> World:
    bag = BundleDagBag(dag_folder=FILE, bundle_path=FILE.parent, bundle_name="tests")
    assert not bag.import_errors
    assert len(bag.dags) >= 15
    world.add(*bag.dags.values())
    for dag_id in BY_THE_CLOCK:
        world.pause(dag_id)
    return world


def ingest(world: World, dag_id: str, key: str | None = None, *, keys: tuple[str, ...] = ()) -> str:
    """Run a producing Dag of one task, whether the clock makes runs of it or not; return the run's id."""
    world.pause(dag_id, paused=False)
    run_id = world.trigger(dag_id, key)
    world.start_runs()
    world.schedule()
    world.queue()
    work = world.take(dag_id, run_id)
    assert world.run(work) == 200
    assert world.succeed(work, keys=keys) == 204
    world.hear()
    if dag_id in BY_THE_CLOCK:
        world.pause(dag_id)
    return run_id


def once(*tasks: tuple[str, str]) -> dict[tuple[str, str | None], int]:
    return dict.fromkeys(tasks, 1)


COMBINED = ("clean_and_combine_player_stats.combine_player_stats", f"{DAY}T05")
ODDS = ("compute_player_odds.compute_player_odds", f"{DAY}T05")
OF_THE_DAY = ("daily_team_a_rollup.summarise_team_a_day", DAY)
OF_THE_MONTH = ("monthly_team_a_rollup.summarise_team_a_month", MONTH)


@pytest.fixture
def bad_hour(examples: World) -> World:
    """Five in the morning of team A went through its hour, its odds and its day; one day is still missing."""
    for hour in HOURS:
        if hour != BAD:
            examples.publish_from_outside("team_a_player_stats", hour)
    for day in DAYS:
        if day not in (DAY, DAYS[-1]):
            examples.publish_from_outside("daily_team_a", day)
    for team in "bc":
        examples.publish_from_outside(f"team_{team}_player_stats", BAD)
    ingest(examples, "ingest_team_a_player_stats", BAD)
    assert examples.play() == once(COMBINED, ODDS, OF_THE_DAY)
    return examples


def test_a_bad_hour_through_all_its_roll_ups(bad_hour: World) -> None:
    cord = bad_hour.pull("team_a_player_stats", BAD)
    assert bad_hour.halted() == {
        ("team_a_player_stats", BAD),
        ("combined_player_stats", f"{DAY}T05"),
        ("compute_player_odds", f"{DAY}T05"),
        ("daily_team_a", DAY),
    }
    bad_hour.publish_from_outside("daily_team_a", DAYS[-1])
    for team in "abc":
        bad_hour.publish_from_outside(f"team_{team}_player_stats", f"{NEXT_DAY}T06:00:00")
    assert bad_hour.play() == once(
        ("clean_and_combine_player_stats.combine_player_stats", f"{NEXT_DAY}T06"),
        ("compute_player_odds.compute_player_odds", f"{NEXT_DAY}T06"),
    ), "another day goes on, and the month waits"
    assert bad_hour.is_held("monthly_team_a_rollup", MONTH)
    bad_hour.repair(cord)
    bad_hour.pause("ingest_team_a_player_stats", paused=False)
    bad_hour.start_runs()
    bad_hour.schedule()
    bad_hour.queue()
    assert bad_hour.work(bad_hour.take("ingest_team_a_player_stats", BAD))
    bad_hour.pause("ingest_team_a_player_stats")
    assert bad_hour.play() == once(COMBINED, ODDS, OF_THE_DAY, OF_THE_MONTH)
    assert bad_hour.halted() == set()
    assert not {dag for dag, key in bad_hour.pending() if key in (f"{DAY}T05", DAY, MONTH)} - {
        "player_odds_quality_check_wont_ever_to_trigger"
    }


def test_a_false_alarm_repeats_nothing(bad_hour: World) -> None:
    cord = bad_hour.pull("team_a_player_stats", BAD)
    bad_hour.publish_from_outside("daily_team_a", DAYS[-1])
    assert bad_hour.play() == {}
    bad_hour.release(cord, "false_alarm")
    assert bad_hour.play() == once(OF_THE_MONTH)


def test_the_dag_that_never_triggers_is_not_awaited(bad_hour: World) -> None:
    """Its mappers never meet; it must neither start nor keep the cord open."""
    cord = bad_hour.pull("team_a_player_stats", BAD)
    bad_hour.release(cord, "fixed")
    assert bad_hour.play() == once(COMBINED, ODDS, OF_THE_DAY)
    assert bad_hour.runs("player_odds_quality_check_wont_ever_to_trigger") == []


def test_one_region_of_a_product(examples: World) -> None:
    sold = [f"{region}|2026-06-14T03:00:00" for region in REGIONS]
    ingest(examples, "ingest_regional_sales", keys=tuple(sold))
    task = "aggregate_regional_sales.aggregate_sales"
    assert examples.play() == once(*((task, f"{region}|{DAY}") for region in REGIONS))
    cord = examples.pull("regional_sales", sold[1])
    by_hand = examples.trigger("aggregate_regional_sales", f"eu|{DAY}")
    unaffected = examples.trigger("aggregate_regional_sales", f"us|{DAY}")
    assert examples.play() == once((task, f"us|{DAY}"))
    assert examples.dag_run("aggregate_regional_sales", unaffected).state == "success"
    assert examples.is_held("aggregate_regional_sales", by_hand)
    examples.release(cord, "fixed")
    assert examples.play() == once((task, f"eu|{DAY}"))


def test_a_week_that_fans_out_to_days(examples: World) -> None:
    week = f"{NEXT_DAY}T00:00:00"
    ingest(examples, "train_weekly_model", week)
    ahead = [("daily_inference.run_inference", f"{MONTH}-{day}") for day in range(15, 22)]
    behind = [("trailing_week_inference.run_trailing_inference", f"{MONTH}-{day:02}") for day in range(9, 16)]
    assert examples.play(but=["trailing_week_inference"]) == once(*ahead)
    cord = examples.pull("weekly_model_artifact", week)
    other = examples.trigger("daily_inference", f"{MONTH}-22")
    assert examples.play() == once(("daily_inference.run_inference", f"{MONTH}-22"))
    assert examples.dag_run("daily_inference", other).state == "success"
    examples.release(cord, "fixed")
    assert examples.play() == once(*ahead, *behind)


def test_keys_that_are_allowed(examples: World) -> None:
    for region in REGIONS:
        ingest(examples, "ingest_region_stats", region)
    task = "regional_stats_breakdown.regional_stats_breakdown"
    assert examples.play() == once(*((task, region) for region in REGIONS))
    cord = examples.pull("region_raw_stats", "us")
    assert examples.halted() == {("region_raw_stats", "us"), ("regional_stats_breakdown", "us")}
    ingest(examples, "ingest_region_stats", "mars")
    assert examples.play() == {}
    examples.release(cord, "fixed")
    assert examples.play() == once((task, "us"))


def test_a_partition_chosen_at_run_time(examples: World) -> None:
    """Consumed under its own key, and scattered to every segment."""
    ingest(examples, "live_region_player_stats", keys=("us",))
    summary = ("summarize_live_region_stats.summarize_live_region", "us")
    segments = [("scatter_live_region_to_segments.process_region_segment", region) for region in REGIONS]
    assert examples.play() == once(summary, *segments)
    cord = examples.pull("live_region_player_stats", "us")
    assert examples.play() == {}
    examples.release(cord, "fixed")
    assert examples.play() == once(summary, *segments)


def test_one_of_several_partitions_of_a_run_in_segment_roll_ups(examples: World) -> None:
    ingest(examples, "multi_region_player_stats", keys=REGIONS)
    whole = ("segment_region_stats_rollup.aggregate_all_regions", "all_regions")
    early = ("segment_region_stats_early_rollup.aggregate_available_regions", "all_regions")
    assert examples.play() == once(whole, early)
    cord = examples.pull("multi_region_player_stats", "eu")
    ingest(examples, "multi_region_player_stats", keys=("eu",))
    assert examples.play() == {}
    examples.release(cord, "fixed")
    assert examples.play() == once(whole, early)
    assert examples.pending() == []
