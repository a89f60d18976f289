"""
``python -m tests.system.held_runs``: Airflow's own pages, and ours, while many runs of one Dag are held.

A real Airflow on PostgreSQL; the brake itself holds the runs. Beside each Dag with held runs is one with as
many that Airflow itself queues behind one of theirs. Takes a picture of every page in a headless Chromium,
and prints as JSON how long each takes, and which of its requests take longest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from tests.system.browser import Visitor, chromium
from tests.system.harness import airflow_on_postgres

if TYPE_CHECKING:
    from playwright.sync_api import Request

    from demo.airflow_process import RunningAirflow

DAGS = Path(__file__).parent / "held_dags"
REASON = "The clock of the till was an hour late"
KINDS = ("held", "queued")
TIMES = 3
FINISHES = "2026-07-01T00"
"""No cord is on it: its run is newer than the held ones, and finishes."""


def main() -> None:
    """Hold, look, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.held_runs", description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 20, 1_000])
    parser.add_argument(
        "--into", type=Path, default=Path("build/held-runs"), help="a folder for the pictures"
    )
    parser.add_argument("--keep", action="store_true", help="leave Airflow up until Enter is pressed")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="andon-held-") as home:
        environment = {"HELD_RUNS": ",".join(map(str, options.runs))}
        with airflow_on_postgres(Path(home), DAGS, schedulers=1, environment=environment) as airflow:
            cords = {number: hold(number, airflow) for number in options.runs}
            told = look(cords, airflow, options.into)
            (options.into / "seconds.json").write_text(json.dumps(told, indent=2) + "\n")
            print(json.dumps(told, indent=2))
            if options.keep:
                input(f"{airflow.url}: Enter ends it\n")


def hold(number: int, airflow: RunningAirflow) -> int:
    """
    Pull a cord on one asset, then publish that many partitions of it, which the runs of a Dag wait to read.

    :return: the cord's number
    """
    airflow.wait_parsed({f"publish_{number}", f"held_{number}_runs", f"queued_{number}_runs"}, timeout=180)
    asset = airflow.rest.asset_id(f"held_{number}")
    scope = {"asset_id": asset, "pattern": "2026-0[56]-*"}
    cord: int = airflow.rest.call("POST", "/andon/v1/cords", json={**scope, "reason": REASON})["cord_id"]
    airflow.rest.trigger(f"publish_{number}")
    wait_for_runs(f"held_{number}_runs", "queued", number, airflow)
    wait_for_runs(f"queued_{number}_runs", "queued", number - 1, airflow)
    airflow.wait_until(
        lambda: (
            airflow.rest.call("GET", f"/andon/v1/holds?cord_id={cord}&label=held&limit=1")["total_entries"]
            == number
        ),
        f"{number} holds",
        timeout=600,
        interval=2,
    )
    airflow.rest.trigger(f"publish_{number}", FINISHES)
    wait_for_runs(f"held_{number}_runs", "success", 1, airflow)
    return cord


def wait_for_runs(dag_id: str, state: str, number: int, airflow: RunningAirflow) -> None:
    """Wait until that many runs are in a state."""
    counted = "SELECT count(*) FROM dag_run WHERE dag_id = :dag AND state = :state"
    airflow.wait_until(
        lambda: airflow.rows(counted, dag=dag_id, state=state)[0][0] >= number,
        f"{number} runs of {dag_id} to be {state}",
        timeout=120 + number,
        interval=1,
    )


def look(cords: dict[int, int], airflow: RunningAirflow, into: Path) -> dict[str, Any]:
    """Open every page several times; return what each takes."""
    token = airflow.rest.call("GET", "/auth/token")["access_token"]
    told: dict[str, Any] = {"processors": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    with chromium() as browser:
        visitor = Visitor(browser, airflow.url, token, width=1440)
        for name, path in pages(cords, airflow).items():
            told[name] = timed(visitor, path)
            visitor.page.screenshot(path=into / f"{name}.png", animations="disabled")
        visitor.leave()
    return told


def pages(cords: dict[int, int], airflow: RunningAirflow) -> dict[str, str]:
    """Return the paths by name."""
    found = {"home": "/", "dags": "/dags", "board": "/plugin/andon"}
    for number, cord in cords.items():
        for kind in KINDS:
            dag = f"/dags/{kind}_{number}_runs"
            found |= {f"dag-{kind}-{number}": dag, f"runs-{kind}-{number}": f"{dag}/runs"}
            latest = airflow.rows(
                "SELECT run_id FROM dag_run WHERE dag_id = :dag ORDER BY run_after DESC, id DESC LIMIT 1",
                dag=f"{kind}_{number}_runs",
            )
            run = f"{dag}/runs/{quote(latest[0][0], safe=':+')}"
            found[f"run-{kind}-{number}"] = run
            if kind == "held":
                found[f"tab-run-{number}"] = f"{run}/plugin/andon_dag_run"
                found[f"tab-dag-{number}"] = f"{dag}/plugin/andon_dag"
        found[f"cord-{number}"] = f"/plugin/andon/cords/{cord}"
        found[f"asset-{number}"] = f"/assets/{airflow.rest.asset_id(f'held_{number}')}"
    return found


def timed(visitor: Visitor, path: str) -> dict[str, Any]:
    """Return the median time until a page is quiet, and its slowest request."""
    seconds: list[float] = []
    answers: list[tuple[float, str]] = []

    def note(request: Request) -> None:
        url = urlsplit(request.url)
        if "/ui/" in url.path or "/api/" in url.path or "/andon/" in url.path:
            took = request.timing["responseEnd"]
            answers.append((took, f"{url.path}?{url.query}"))

    visitor.page.on("requestfinished", note)
    for _ in range(TIMES):
        began = time.monotonic()
        visitor.page.goto(visitor.url + path)
        visitor.page.wait_for_load_state("networkidle")
        seconds.append(time.monotonic() - began)
    visitor.page.remove_listener("requestfinished", note)
    return {"seconds": round(statistics.median(seconds), 2), "slowest": slowest(answers)}


def slowest(answers: Sequence[tuple[float, str]]) -> dict[str, int]:
    """Return the three requests that took longest, in milliseconds."""
    found: dict[str, int] = {}
    for milliseconds, path in sorted(answers):
        found[path] = round(milliseconds)
    return dict(sorted(found.items(), key=lambda each: -each[1])[:3])


if __name__ == "__main__":
    main()
