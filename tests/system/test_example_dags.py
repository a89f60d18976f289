"""
Airflow's own partitioned example Dags, unmodified, in real processes: a bad hour, and a cord on every mapper.

Several incidents at once: an hour of a team that went through its roll-ups, a region of a product, a week
that fanned out to days, an allowed key, and partitions that tasks chose at run time.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from calendar import monthrange
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow import example_dags

from tests.system.harness import airflow_on

if TYPE_CHECKING:
    from demo.airflow_process import RunningAirflow

pytestmark = [pytest.mark.system, pytest.mark.postgres]

PAUSED = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}
"""Those that the clock drives stay so: what they publish comes through the REST API, at once."""

MONTH, DAY, NEXT_DAY = "2026-06", "2026-06-14", "2026-06-15"
BAD = f"{DAY}T05:00:00"
HOURS = [f"{DAY}T{hour:02}:00:00" for hour in range(24)]
DAYS = [f"{MONTH}-{day + 1:02}" for day in range(monthrange(2026, 6)[1])]
REGIONS = ("us", "eu", "apac")
WEEK = f"{NEXT_DAY}T00:00:00"

SOURCES = {
    "ingest_team_a_player_stats": BAD,
    "ingest_regional_sales": None,
    "ingest_region_stats": "us",
    "live_region_player_stats": None,
    "multi_region_player_stats": None,
}
"""The producing Dags that run, with their keys; two choose them at run time."""

CONSUMERS = (
    "clean_and_combine_player_stats",
    "compute_player_odds",
    "player_odds_quality_check_wont_ever_to_trigger",
    "daily_team_a_rollup",
    "monthly_team_a_rollup",
    "aggregate_regional_sales",
    "regional_stats_breakdown",
    "summarize_live_region_stats",
    "scatter_live_region_to_segments",
    "segment_region_stats_rollup",
    "segment_region_stats_early_rollup",
    "daily_inference",
)

BAD_PARTITIONS = (
    ("team_a_player_stats", BAD),
    ("regional_sales", "eu|2026-06-14T03:00:00"),
    ("region_raw_stats", "us"),
    ("live_region_player_stats", "us"),
    ("multi_region_player_stats", "eu"),
    ("weekly_model_artifact", WEEK),
)

Done = Counter[tuple[str, str]]
"""How often each Dag has computed each partition."""

TAINTED: Done = Counter(
    {
        ("clean_and_combine_player_stats", f"{DAY}T05"): 1,
        ("compute_player_odds", f"{DAY}T05"): 1,
        ("daily_team_a_rollup", DAY): 1,
        ("aggregate_regional_sales", f"eu|{DAY}"): 1,
        ("regional_stats_breakdown", "us"): 1,
        ("summarize_live_region_stats", "us"): 1,
        ("segment_region_stats_rollup", "all_regions"): 1,
        ("segment_region_stats_early_rollup", "all_regions"): 1,
    }
    | {("scatter_live_region_to_segments", region): 1 for region in REGIONS}
    | {("daily_inference", f"{MONTH}-{day}"): 1 for day in range(15, 22)}
)
UNAFFECTED: Done = Counter(
    {("aggregate_regional_sales", f"us|{DAY}"): 1, ("aggregate_regional_sales", f"apac|{DAY}"): 1}
)
MEANWHILE: Done = Counter(
    {
        ("clean_and_combine_player_stats", f"{NEXT_DAY}T06"): 1,
        ("compute_player_odds", f"{NEXT_DAY}T06"): 1,
        ("regional_stats_breakdown", "eu"): 1,
    }
)
HELD = [("monthly_team_a_rollup", MONTH), ("regional_stats_breakdown", "us")]


def test_a_cord_on_every_mapper(tmp_path: Path) -> None:
    dags, home = tmp_path / "dags", tmp_path / "home"
    dags.mkdir()
    home.mkdir()
    shutil.copy(Path(example_dags.__file__).with_name("example_asset_partition.py"), dags)
    with airflow_on("postgres", home, dags, parallelism=6, environment=PAUSED) as airflow:
        airflow.wait_until(lambda: is_parsed(airflow), "the examples to be parsed", timeout=120)
        for dag_id in (*SOURCES, *CONSUMERS):
            airflow.rest.pause(dag_id, False)
        compute_everything(airflow)
        first = TAINTED + UNAFFECTED
        airflow.wait_until(lambda: computed(airflow) == first, "all to be computed once", timeout=150)

        cords = pull(airflow)
        affected = {key for key, labels in labels_of_runs(airflow).items() if "tainted" in labels}
        assert affected == set(TAINTED)

        airflow.rest.publish("daily_team_a", DAYS[-1])
        for team in "abc":
            airflow.rest.publish(f"team_{team}_player_stats", f"{NEXT_DAY}T06:00:00")
        for region in ("us", "eu"):
            airflow.rest.trigger("regional_stats_breakdown", region)
        before = first + MEANWHILE
        airflow.wait_until(
            lambda: computed(airflow) == before and held(airflow) == HELD,
            "what is not affected to go on, and the rest to be held",
            timeout=120,
        )

        release(airflow, cords)
        airflow.wait_until(lambda: is_over(airflow), "every cord to be closed", timeout=150)
        redone = computed(airflow) - before
        assert redone == TAINTED + Counter({("monthly_team_a_rollup", MONTH): 1}), "each exactly once"
        assert airflow.rows("SELECT 1 FROM lean_halted_partition") == []
        assert airflow.rows("SELECT 1 FROM dag_run WHERE state = 'failed'") == []


def is_parsed(airflow: RunningAirflow) -> bool:
    return {*SOURCES, *CONSUMERS} <= {d for (d,) in airflow.rows("SELECT dag_id FROM serialized_dag")}


def compute_everything(airflow: RunningAirflow) -> None:
    for hour in HOURS:
        if hour != BAD:
            airflow.rest.publish("team_a_player_stats", hour)
    for day in DAYS:
        if day not in (DAY, DAYS[-1]):
            airflow.rest.publish("daily_team_a", day)
    for team in "bc":
        airflow.rest.publish(f"team_{team}_player_stats", BAD)
    airflow.rest.publish("weekly_model_artifact", WEEK)
    for dag_id, key in SOURCES.items():
        airflow.rest.trigger(dag_id, key)


def pull(airflow: RunningAirflow) -> dict[str, int]:
    """Pull a cord on each bad partition; return their numbers by asset."""
    airflow_commands(
        airflow,
        *(["andon", "pull", asset, "-p", key, "-r", f"{asset} is wrong"] for asset, key in BAD_PARTITIONS),
    )
    cords = dict(
        airflow.rows(
            "SELECT a.name, p.cord_id FROM lean_cord_partition p JOIN asset a ON a.id = p.asset_id "
            "JOIN lean_cord c ON c.id = p.cord_id AND c.settled_at IS NOT NULL"
        )
    )
    assert set(cords) == {asset for asset, _ in BAD_PARTITIONS}
    return cords


def release(airflow: RunningAirflow, cords: dict[str, int]) -> None:
    """Have the hour published again; of everything else say that its data is right now."""
    hour = cords.pop("team_a_player_stats")
    airflow_commands(
        airflow,
        ["andon", "repair", str(hour)],
        *(["andon", "release", str(cord), "--outcome", "fixed"] for cord in cords.values()),
    )


def airflow_commands(airflow: RunningAirflow, *commands: list[str]) -> None:
    """Give several commands to one ``airflow``: most of the time of each is its start."""
    program = """
import json, sys
from airflow.cli.cli_parser import get_parser
for words in json.loads(sys.argv[1]):
    parsed = get_parser().parse_args(words)
    parsed.func(parsed)
"""
    subprocess.run(
        [sys.executable, "-c", program, json.dumps(commands)],
        env=airflow.variables,
        cwd=airflow.home,
        timeout=120,
        check=True,
    )


def computed(airflow: RunningAirflow) -> Done:
    """Count the successes of tasks of the consuming Dags, by Dag and partition."""
    return Counter(
        (dag_id, key)
        for dag_id, key in airflow.rows(
            "SELECT l.dag_id, r.partition_key FROM log l JOIN dag_run r USING (dag_id, run_id) "
            "WHERE l.event = 'success'"
        )
        if dag_id in CONSUMERS
    )


def labels_of_runs(airflow: RunningAirflow) -> dict[tuple[str, str], list[str]]:
    return {
        (dag_id, key): labels
        for dag_id, key, labels in airflow.rows("SELECT dag_id, partition_key, labels FROM lean_affected_run")
    }


def held(airflow: RunningAirflow) -> list[tuple[str, str]]:
    rows = airflow.rows(
        "SELECT r.dag_id, r.partition_key FROM lean_affected_run a JOIN dag_run r USING (dag_id, run_id) "
        "WHERE a.held AND r.state = 'queued' ORDER BY 1, 2"
    )
    return [(dag_id, key) for dag_id, key in rows]


def is_over(airflow: RunningAirflow) -> bool:
    return not airflow.rows("SELECT 1 FROM lean_cord WHERE closed_at IS NULL") and airflow.is_quiet()
