"""Runs without a scheduler: ``airflow dags test`` asks like one, ``airflow tasks test`` asks nobody."""

from __future__ import annotations

import subprocess
import sys
import time
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from tests.integration.dags import ORDERS, producer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.world import World

DAG_FILE = """
    from pathlib import Path

    from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, task

    with DAG("by_hand", schedule=PartitionedAssetTimetable(assets=Asset("orders"))):

        @task
        def work():
            Path(__file__).with_suffix(".ran").touch()

        work()
    """


@pytest.fixture
def dag_file(airflow_home: Path) -> Iterator[Path]:
    file = airflow_home / "dags" / "by_hand.py"
    file.write_text(dedent(DAG_FILE))
    yield file
    for left in (file, file.with_suffix(".ran")):
        left.unlink(missing_ok=True)


def airflow(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "airflow", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_dags_test_waits_for_the_release(world: World, dag_file: Path) -> None:
    world.add(producer("ingest", ORDERS))
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    process = airflow("dags", "test", "by_hand")
    try:
        give_up = time.monotonic() + 90
        while not (world.runs("by_hand") and "deferred" in world.states("by_hand", run_id(world)).values()):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < give_up
            time.sleep(0.2)
        assert not dag_file.with_suffix(".ran").exists()
        world.release(cord, "false_alarm")
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, printed
    assert dag_file.with_suffix(".ran").exists()
    assert world.dag_run("by_hand", run_id(world)).state == "success"


def test_tasks_test_runs_whatever_is_halted(world: World, dag_file: Path) -> None:
    """It runs the task's code in the person's own shell; nothing of it is kept, and nothing published."""
    world.add(producer("ingest", ORDERS))
    world.publish("ingest", "p1")
    world.pull("orders", "p1")
    for command in (("dags", "reserialize"), ("tasks", "test", "by_hand", "work")):
        process = airflow(*command)
        printed, _ = process.communicate(timeout=90)
        assert process.returncode == 0, printed
    assert dag_file.with_suffix(".ran").exists()
    assert world.runs("by_hand") == []


def run_id(world: World) -> str:
    return str(world.runs("by_hand")[-1].run_id)
