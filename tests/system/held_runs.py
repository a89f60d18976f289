"""
``python -m tests.system.held_runs``: Airflow's own pages, and ours, while many runs of one Dag are held.

A real Airflow on PostgreSQL; the brake itself holds the runs. Beside each Dag with held runs is one with as
many that Airflow itself queues behind one of theirs. Takes a picture of every page in a headless Chromium,
and prints as JSON how long the answers take that it asks for, each alone.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from tests.system.browser import Visitor, chromium
from tests.system.harness import airflow_on

if TYPE_CHECKING:
    from playwright.sync_api import Response

    from demo.airflow_process import RunningAirflow

DAGS = Path(__file__).parent / "held_dags"
REASON = "The clock of the till was an hour late"
KINDS = ("held", "queued")
APIS = ("/ui/", "/api/v2/", "/andon/")
TIMES = 5
PAUSE = 2_000
"""Milliseconds that a page is given to draw what it was told."""
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
        with airflow_on("postgres", Path(home), DAGS, environment=environment) as airflow:
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
    """Open every page, and ask again for each thing that it asked for; return how long the answers take."""
    token = airflow.rest.call("GET", "/auth/token")["access_token"]
    told: dict[str, Any] = {"processors": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    with chromium() as browser:
        visitor = Visitor(browser, airflow.url, token, width=1440)
        for name, path in pages(cords, airflow).items():
            questions = asked(visitor, path)
            visitor.page.screenshot(path=into / f"{name}.png", animations="disabled")
            took = sorted(((alone(question, airflow), question) for question in questions), reverse=True)
            told[name] = {"milliseconds": sum(ms for ms, _ in took), "slowest": took[:3]}
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


def asked(visitor: Visitor, path: str) -> set[str]:
    """Open a page, and return what it asked for and was given."""
    answered: set[str] = set()

    def note(response: Response) -> None:
        url = urlsplit(response.url)
        is_json = response.headers.get("content-type") == "application/json"
        if response.ok and is_json and response.request.method == "GET" and url.path.startswith(APIS):
            answered.add(f"{url.path}?{url.query}")

    visitor.page.on("response", note)
    visitor.page.goto(visitor.url + path)
    visitor.page.wait_for_load_state("networkidle")
    visitor.page.wait_for_timeout(PAUSE)
    visitor.page.remove_listener("response", note)
    return answered


def alone(path: str, airflow: RunningAirflow) -> int:
    """Return the milliseconds of the fastest of several answers: a busy machine changes it least."""
    took = []
    for _ in range(TIMES):
        began = time.monotonic()
        airflow.rest.call("GET", path)
        took.append(time.monotonic() - began)
    return round(min(took) * 1000)


if __name__ == "__main__":
    main()
