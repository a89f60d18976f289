"""
Real concurrency, as ``make prove`` plays it: ``python -m tests.prove --database mariadb --pulls 300``.

A real Airflow, a chain three hops deep, many cords at once, and the judge of ``tests.system.warehouse``. With
``--executor celery`` the tasks of one worker ignore SIGTERM, and the other worker is cut off from the
api-server now and then. The results folder gets a JSON file of each run; logs are kept where something was
not as promised.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.databases import SERVED
from tests.system.harness import celery_on_redis
from tests.system.line import Line
from tests.system.warehouse.crowd import draw_lives, play_crowd
from tests.system.warehouse.graph import hops
from tests.system.warehouse.judge import Judge, Verdict
from tests.system.warehouse.stage import staged

if TYPE_CHECKING:
    from tests.system.warehouse.play import Play

SCHEDULERS = {"postgres": 2, "mariadb": 1}
API_WORKERS = 2
CELERY_WORKERS = 2
PACE_SECONDS = 1.0
# Long enough for a process that was told to stop to be killed before it ends by itself.
SLOW_TABLE, SECONDS_OF_A_SLOW_TASK = "hop_1", 6.0
LOOK_SECONDS = 0.5
WHOLE_SECONDS = (10.0, 30.0)
"""How long the line to a worker is whole between two cuts."""
CUT_SECONDS = (1.0, 25.0)
"""How long a cut lasts: from what nobody notices to more than a task survives without a heartbeat."""
RETRIES_WHERE_CUT = 8
"""Airflow itself lets a task fail whose worker is cut off."""


def prove(
    home: Path,
    *,
    database: str = "postgres",
    executor: str = "local",
    pulls: int,
    at_once: int,
    parallelism: int = 6,
    seed: int = 0,
    minutes: float = 60,
    timeout: float = 600,
    say: Callable[[str], None] = print,
    watching: Callable[[Play], AbstractContextManager[None]] = nullcontext,
) -> Verdict:
    """
    Play and judge.

    :param home: an existing folder: logs, and the evidence where something was not as promised
    :param database: Airflow's own
    :param executor: ``local`` or ``celery``
    :param pulls: how many cords
    :param at_once: on how many keys at the same time
    :param parallelism: tasks that each scheduler, or each worker, runs at once
    :param seed: decides who pulls what when
    :param minutes: after which nothing new begins
    :param timeout: seconds for whatever is waited for
    :param watching: wraps the play
    """
    lives = draw_lives(pulls, seed)
    with ExitStack() as stack:
        line = stack.enter_context(Line()) if executor == "celery" else None
        options = stack.enter_context(_with_celery(line)) if line else {}
        play = stack.enter_context(
            staged(
                hops([life.key for life in lives], retries=RETRIES_WHERE_CUT if line else 0),
                home,
                database=database,
                schedulers=SCHEDULERS[database],
                api_workers=API_WORKERS,
                parallelism=parallelism,
                seed=seed,
                pace=PACE_SECONDS,
                say=say,
                **options,
            )
        )
        play.store.set_pace(SECONDS_OF_A_SLOW_TASK, SLOW_TABLE)
        if line:
            line.leads_to = play.airflow.port
        with watching(play), _cut_now_and_then(line, play) if line else nullcontext():
            play_crowd(play, lives, at_once, minutes=minutes, timeout=timeout)
        verdict = Judge(play).judge()
        if verdict.complaints:
            (home / "evidence.txt").write_text(play.evidence())
    return verdict


@contextmanager
def _with_celery(line: Line) -> Iterator[dict[str, Any]]:
    """Yield what Airflow has to be told: one worker's tasks ignore SIGTERM, the other talks over the line."""
    with celery_on_redis() as environment:
        yield {
            "celery_workers": CELERY_WORKERS,
            "environment": environment,
            "environment_of": {
                "worker-1": {"WAREHOUSE_DEAF": "yes"},
                "worker-2": {
                    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{line.port}/execution/"
                },
            },
        }


@contextmanager
def _meanwhile(act: Callable[[threading.Event], None]) -> Iterator[None]:
    """Let another thread act until the block is left; it is told by the event."""
    over = threading.Event()
    acting = threading.Thread(target=act, args=(over,))
    acting.start()
    try:
        yield
    finally:
        over.set()
        acting.join()


def _cut_now_and_then(line: Line, play: Play) -> AbstractContextManager[None]:
    draw = random.Random(play.seed)

    def cut(over: threading.Event) -> None:
        while not over.wait(draw.uniform(*WHOLE_SECONDS)):
            seconds = draw.uniform(*CUT_SECONDS)
            play.tell(f"a worker is cut off for {seconds:.1f} s")
            with line.cut():
                over.wait(seconds)

    return _meanwhile(cut)


@contextmanager
def _bar(play: Play, pulls: int) -> Iterator[None]:
    """Show how many cords were pulled."""
    columns = TextColumn("cords"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("cords", total=pulls)

        def look(over: threading.Event) -> None:
            while not over.wait(LOOK_SECONDS):
                progress.update(task, completed=len(play.pulls))

        with _meanwhile(look):
            yield
        progress.update(task, completed=len(play.pulls))


def main() -> int:
    """Play, judge, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("--database", choices=SERVED, default="postgres")
    parser.add_argument("--executor", choices=("local", "celery"), default="local")
    parser.add_argument("--pulls", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=8, help="keys on which something happens at a time")
    parser.add_argument("--parallelism", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="after which nothing new begins")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for whatever is waited for")
    parser.add_argument("--results", type=Path, help="a folder for what was measured")
    asked = vars(parser.parse_args())
    results: Path | None = asked.pop("results")
    home = Path(tempfile.mkdtemp(prefix="prove-"))
    print(f"logs in {home}", flush=True)
    began = time.monotonic()
    with (home / "play.log").open("w", buffering=1) as log:
        verdict = prove(
            home,
            **asked,
            say=lambda text: print(text, file=log),
            watching=lambda play: _bar(play, asked["pulls"]),
        )
    figures = {"minutes": round((time.monotonic() - began) / 60, 1), **verdict.figures}
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    for complaint in verdict.complaints:
        print(f"!! {complaint}")
    if results:
        _keep(results, asked, figures, verdict)
    if not verdict.complaints:
        shutil.rmtree(home, ignore_errors=True)
    return 1 if verdict.complaints else 0


def _keep(results: Path, asked: dict[str, Any], figures: dict[str, object], verdict: Verdict) -> None:
    at = datetime.now(timezone.utc)
    known = {
        "at": f"{at:%Y-%m-%d %H:%M}",
        "asked": asked,
        "figures": figures,
        "complaints": verdict.complaints,
    }
    results.mkdir(parents=True, exist_ok=True)
    file = results / f"{at:%Y-%m-%dT%H%M}-{asked['database']}-{asked['executor']}.json"
    file.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
