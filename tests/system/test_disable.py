"""
``airflow andon disable`` when nothing but the database works, and Airflow after the package was uninstalled.

While a cord is open, runs are held, a task is parked, one is stopped and an event is absorbed; then every
component dies. ``disable`` gives the rows back as they were, and an Airflow that has never heard of us goes
on.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.andon import first_json
from tests.system.harness import airflow_on

if TYPE_CHECKING:
    from demo.airflow_process import RunningAirflow

pytestmark = [pytest.mark.system, pytest.mark.postgres]

DAGS = Path(__file__).parent / "disable_dags"
PACKAGE = "airflow_lean_provider"

Rows = dict[str, dict[tuple[str, ...], dict[str, Any]]]

WRITTEN_ANYWAY = {"updated_at", "last_scheduling_decision"}
"""Columns that say when a row was last written or looked at, and nothing about the work."""

STARTED_ANEW = {
    *("id", "max_tries", "state", "start_date", "end_date", "duration", "last_heartbeat_at"),
    *("hostname", "unixname", "pid", "queued_by_job_id", "queued_dttm", "scheduled_dttm", "executor"),
    *("external_executor_id", "context_carrier"),
}
"""What a killed task cannot get back: it starts again, as a new try with as many retries left."""

SOON_MISSED = {"AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10"}
"""A task that died with its scheduler is soon given to the next one."""

WAITING = ("archive", "cleanse")
"""The tasks that run for as long as the cord is open."""

COMPONENTS = ("api-server", "scheduler-1", "dag-processor", "triggerer")


def test_disable_needs_only_the_database_and_leaves_an_airflow_that_knows_nothing_of_us(
    tmp_path: Path,
) -> None:
    python = environment_without_the_package(tmp_path / "without")
    home = tmp_path / "home"
    (home / "wait").mkdir(parents=True)
    with airflow_on("postgres", home, DAGS, parallelism=8, environment=SOON_MISSED) as airflow:
        airflow.wait_parsed({"ingest", "cleaning", "reporting"})
        story = Story(airflow)
        story.run_up_to_the_pull()
        before = story.rows()
        story.pull()
        story.go_on_while_the_cord_is_open()

        for component in COMPONENTS:
            airflow.kill_component(component)
        done = airflow.cli("andon", "disable", "--reason", "upgrade at night")
        assert "The brake is off" in done.stdout
        story.check_what_was_given_back(before, story.rows())

        airflow.python = str(python)
        assert "lean" not in airflow.cli("plugins", "-o", "json").stdout
        assert airflow.cli("andon", "list", check=False).returncode != 0
        for name in WAITING:
            (home / "wait" / name).unlink()
        airflow.start()
        airflow.wait_until(story.is_over, "Airflow to finish what was held", timeout=150)
        story.check_the_end()


def environment_without_the_package(folder: Path) -> Path:
    """
    Return the interpreter of an environment that has all that this one has, except our package.

    Its packages are links to those of this environment; ours, with its entry points, is left out, which is
    what uninstalling does.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    target = Path(said_by(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    for scheme in ("purelib", "platlib"):
        for entry in Path(sysconfig.get_path(scheme)).iterdir():
            if PACKAGE not in entry.name and not (target / entry.name).exists():
                (target / entry.name).symlink_to(entry)
    found = f"importlib.util.find_spec({PACKAGE!r}), len(m.entry_points(group='airflow.policy', name='lean'))"
    ours = said_by(
        python, f"import importlib.util, importlib.metadata as m, airflow, psycopg2; print({found})"
    )
    assert ours == "None 0"
    return python


def said_by(python: Path, program: str) -> str:
    """What a program prints, run where none of our sources are."""
    done = subprocess.run(
        [str(python), "-c", program], cwd=python.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


class Story:
    """What happens on the line of ``disable_dags``, and what the rows look like meanwhile."""

    def __init__(self, airflow: RunningAirflow) -> None:
        self.airflow = airflow
        self.runs: dict[str, tuple[str, str]] = {}
        """The runs that the story speaks of."""

    # ---------------------------------------------------------------- what happens

    def run_up_to_the_pull(self) -> None:
        """Leave p1 with a run that has published it and goes on, one that reads it, one that waits."""
        for name in WAITING:
            (self.airflow.home / "wait" / name).touch()
        self.runs["publishing"] = self.trigger("ingest")
        self.until("running", "cleaning", "cleanse")
        self.until("running", "ingest", "archive")
        ((run_id,),) = self.airflow.rows("SELECT run_id FROM dag_run WHERE dag_id = 'cleaning'")
        self.runs["stopped"] = ("cleaning", run_id)
        self.runs["held"] = self.trigger("cleaning")

    def pull(self) -> None:
        done = self.airflow.cli("andon", "pull", "orders", "-p", "p1", "-r", "looks wrong", "-o", "json")
        assert first_json(done.stdout)["settled"] is True

    def go_on_while_the_cord_is_open(self) -> None:
        """Somebody starts a reader by hand, the partition is published again, other work goes on."""
        self.runs["held at its start"] = self.trigger("cleaning")
        self.trigger("ingest")
        self.airflow.wait_until(self.is_all_held, "everything to be held, and the rest to be done")

    def is_all_held(self) -> bool:
        held = set(self.airflow.rows("SELECT dag_id, run_id FROM lean_affected_run WHERE held"))
        parked = self.airflow.rows("SELECT task_id FROM lean_parked_task")
        archiving = self.airflow.rows(
            "SELECT 1 FROM task_instance WHERE task_id = 'archive' AND state = 'running'"
        )
        absorbed = self.airflow.rows("SELECT 1 FROM lean_absorbed_event")
        wanted = {self.runs[name] for name in ("stopped", "held", "held at its start")}
        return (
            {tuple(row) for row in held} >= wanted
            and len(parked) == 2
            and len(archiving) == 2
            and bool(absorbed)
        )

    def is_over(self) -> bool:
        open_rows = self.airflow.rows(
            "SELECT (SELECT count(*) FROM dag_run WHERE state NOT IN ('success', 'failed')) "
            "+ (SELECT count(*) FROM asset_partition_dag_run WHERE created_dag_run_id IS NULL)"
        )
        return open_rows[0][0] == 0

    # ---------------------------------------------------------------- what is checked

    def check_what_was_given_back(self, before: Rows, after: Rows) -> None:
        held, publishing, stopped = (self.runs[n] for n in ("held", "publishing", "stopped"))
        self.same(before, after, "dag_run", held)
        self.same(before, after, "task_instance", (*held, "cleanse"))
        self.same(before, after, "dag_run", publishing)
        self.same(before, after, "task_instance", (*publishing, "check"))

        self.same(before, after, "dag_run", stopped)
        self.same(before, after, "task_instance", (*stopped, "cleanse"), but=STARTED_ANEW)
        again = after["task_instance"][(*stopped, "cleanse")]
        was = before["task_instance"][(*stopped, "cleanse")]
        assert (again["state"], again["max_tries"] - again["try_number"]) == (
            None,
            was["max_tries"] - was["try_number"] + 1,
        ), "the try that was killed is given back"

        late = after["dag_run"][self.runs["held at its start"]]
        assert (late["state"], late["start_date"]) == ("queued", None)
        assert late["run_after"] <= late["queued_at"] + timedelta(seconds=1)

        rows = self.airflow.rows
        assert rows("SELECT run_id FROM dag_run WHERE run_after > now()") == []
        assert rows("SELECT task_id FROM task_instance WHERE state = 'deferred'") == []
        assert rows("SELECT content FROM dag_run_note") == []
        assert len(rows("SELECT 1 FROM asset_partition_dag_run WHERE created_dag_run_id IS NULL")) == 1
        assert after["dagrun_asset_event"] == before["dagrun_asset_event"]
        assert rows("SELECT reason FROM lean_switch WHERE NOT enabled") == [("upgrade at night",)]
        said = rows("SELECT extra FROM log WHERE event = 'andon disable'")
        assert any("upgrade at night" in extra for (extra,) in said)

    def same(
        self, before: Rows, after: Rows, table: str, key: tuple[str, ...], but: Collection[str] = ()
    ) -> None:
        """The row must be what it was, column by column."""
        left_out = WRITTEN_ANYWAY | set(but)
        was, found = (
            {c: v for c, v in rows[table][key].items() if c not in left_out} for rows in (before, after)
        )
        assert found == was, f"{table} {key}"

    def check_the_end(self) -> None:
        states = self.airflow.rows("SELECT dag_id, run_id, state FROM dag_run WHERE state <> 'success'")
        assert states == []
        assert self.airflow.rows("SELECT 1 FROM task_instance WHERE state <> 'success'") == []
        ended = Counter(
            task_id for (task_id,) in self.airflow.rows("SELECT task_id FROM log WHERE event = 'success'")
        )
        assert ended["load"] == ended["check"] == ended["archive"] == 2
        assert ended["cleanse"] == 4, "that run, the two by hand, and the one that Airflow makes of the event"
        started = Counter((self.airflow.home / "started").read_text().split())
        assert started["cleanse"] > ended["cleanse"], "one was killed while it ran"
        assert ended["publish"] >= 1

    # ---------------------------------------------------------------- how

    def trigger(self, dag_id: str) -> tuple[str, str]:
        return dag_id, self.airflow.rest.trigger(dag_id, partition_key="p1")

    def until(self, state: str, dag_id: str, task_id: str) -> None:
        self.airflow.wait_until(
            lambda: self.airflow.rows(
                "SELECT 1 FROM task_instance WHERE dag_id = :dag AND task_id = :task AND state = :state",
                dag=dag_id,
                task=task_id,
                state=state,
            ),
            f"{dag_id}.{task_id} to be {state}",
        )

    def rows(self) -> Rows:
        """Every run, task instance and consumed event, by what names it."""

        def table(name: str, *key: str) -> dict[tuple[str, ...], dict[str, Any]]:
            found = [dict(row._mapping) for row in self.airflow.rows(f"SELECT * FROM {name}")]
            return {tuple(row[column] for column in key): row for row in found}

        return {
            "dag_run": table("dag_run", "dag_id", "run_id"),
            "task_instance": table("task_instance", "dag_id", "run_id", "task_id"),
            "dagrun_asset_event": table("dagrun_asset_event", "dag_run_id", "event_id"),
        }
