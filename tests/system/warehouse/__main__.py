"""``python -m tests.system.warehouse --tables 110 --seed 7 --pulls 3``: a big warehouse, with progress."""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
import tempfile
from pathlib import Path

from tests.system.warehouse.graph import DAY, chain, warehouse
from tests.system.warehouse.judge import Judge
from tests.system.warehouse.stage import staged
from tests.system.warehouse.stories import play_chain, play_warehouse


def main() -> int:
    """Play and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.warehouse", description=__doc__)
    parser.add_argument("--tables", type=int, default=110)
    parser.add_argument("--hours", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--pulls", type=int, default=3)
    parser.add_argument("--schedulers", type=int, default=1)
    parser.add_argument("--parallelism", type=int, default=4)
    parser.add_argument("--pace", type=float, default=0.5)
    parser.add_argument("--timeout", type=float, default=900)
    parser.add_argument("--chain", action="store_true", help="four hops instead of a warehouse")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    options = parser.parse_args()
    say = functools.partial(print, flush=True)
    hours = [f"{DAY}T{hour:02}" for hour in range(options.pulls if options.chain else options.hours)]
    graph = chain(hours) if options.chain else warehouse(options.tables, hours, options.seed)
    home = Path(tempfile.mkdtemp(prefix="warehouse-"))
    say(f"logs in {home}")
    with staged(
        graph,
        home,
        schedulers=options.schedulers,
        parallelism=options.parallelism,
        seed=options.seed,
        pace=options.pace,
        say=say,
    ) as play:
        if options.chain:
            play_chain(play, options.pulls)
        else:
            play_warehouse(play, options.pulls, options.timeout)
        verdict = Judge(play).judge()
        if verdict.complaints:
            (home / "evidence.txt").write_text(play.evidence())
    for name, figure in verdict.figures.items():
        say(f"{name}: {figure}")
    for complaint in verdict.complaints:
        say(f"!! {complaint}")
    say("everything is as promised" if not verdict.complaints else f"{len(verdict.complaints)} complaint(s)")
    if not options.keep and not verdict.complaints:
        shutil.rmtree(home, ignore_errors=True)
    return 1 if verdict.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
