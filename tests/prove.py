"""
Real concurrency, as ``make prove`` plays it: ``python -m tests.prove --database mariadb --pulls 300``.

A real Airflow, a chain three hops deep, many cords at once, and the judge of ``tests.system.warehouse``. The
results folder gets a JSON file of each run; logs are kept where something was not as promised.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from tests.databases import SERVED
from tests.system.warehouse.crowd import draw_lives, play_crowd
from tests.system.warehouse.graph import hops
from tests.system.warehouse.judge import Judge, Verdict
from tests.system.warehouse.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEDULERS = {"postgres": 2, "mariadb": 1}
API_WORKERS = 2
PACE_SECONDS = 1.0


def prove(
    home: Path,
    *,
    database: str = "postgres",
    pulls: int,
    at_once: int,
    parallelism: int = 4,
    seed: int = 0,
    timeout: float = 600,
    say: Callable[[str], None] = print,
) -> Verdict:
    """
    Play and judge.

    :param home: an existing folder: logs, and the evidence where something was not as promised
    :param database: Airflow's own
    :param pulls: how many cords
    :param at_once: on how many keys at the same time
    :param parallelism: tasks that each scheduler runs at once
    :param seed: decides who pulls what when
    :param timeout: seconds for whatever is waited for
    """
    lives = draw_lives(pulls, seed)
    graph = hops([life.key for life in lives])
    with staged(
        graph,
        home,
        database=database,
        schedulers=SCHEDULERS[database],
        api_workers=API_WORKERS,
        parallelism=parallelism,
        seed=seed,
        pace=PACE_SECONDS,
        say=say,
    ) as play:
        play_crowd(play, lives, at_once, timeout)
        verdict = Judge(play).judge()
        if verdict.complaints:
            (home / "evidence.txt").write_text(play.evidence())
    return verdict


def main() -> int:
    """Play, judge, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("--database", choices=SERVED, default="postgres")
    parser.add_argument("--pulls", type=int, default=300)
    parser.add_argument(
        "--at-once", type=int, default=8, help="keys on which something happens at the same time"
    )
    parser.add_argument("--parallelism", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--results", type=Path, help="a folder for what was measured")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="prove-"))
    print(f"logs in {home}", flush=True)
    began = time.monotonic()
    verdict = prove(
        home,
        database=options.database,
        pulls=options.pulls,
        at_once=options.at_once,
        parallelism=options.parallelism,
        seed=options.seed,
        timeout=options.timeout,
        say=lambda text: print(text, flush=True),
    )
    figures = {"minutes": round((time.monotonic() - began) / 60, 1), **verdict.figures}
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    for complaint in verdict.complaints:
        print(f"!! {complaint}")
    if options.results:
        options.results.mkdir(parents=True, exist_ok=True)
        at = datetime.now(timezone.utc)
        result = {
            "at": f"{at:%Y-%m-%d %H:%M}",
            "asked": {k: v for k, v in vars(options).items() if k != "results"},
            "figures": figures,
            "complaints": verdict.complaints,
        }
        file = options.results / f"{at:%Y-%m-%dT%H%M}-{options.database}.json"
        file.write_text(json.dumps(result, indent=2) + "\n")
    if not verdict.complaints:
        shutil.rmtree(home, ignore_errors=True)
    return 1 if verdict.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
