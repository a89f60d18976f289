"""
Plays random histories and says what was wrong with them: ``python -m tests.simulation -n 100``.

A seed gives a graph and a history. The first thing wrong ends a history; it is shrunk, told as a story, and
kept in a file that ``--replay`` plays again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path


def main() -> int:
    arguments = _parse()
    choose_database(arguments.backend)
    from tests.simulation.playing import Theatre

    theatre = Theatre(arguments)
    with theatre.open():
        return theatre.replay() if arguments.replay else theatre.hunt()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("-n", type=int, default=20, help="how many seeds")
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FROM", "TO"), help="these seeds")
    parser.add_argument("--seed", type=int, help="this one seed")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes")
    parser.add_argument("--replay", type=Path, help="play the history in this file")
    parser.add_argument("--story", action="store_true", help="tell each history, and what came of it")
    parser.add_argument("--no-shrink", action="store_true", help="do not look for a shorter story")
    parser.add_argument("--keep-going", action="store_true", help="go on after a complaint")
    parser.add_argument("--backend", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--interleaved", action="store_true", help="several acts at once (PostgreSQL)")
    parser.add_argument("--theorems", action="store_true", help="play each history in several variants")
    parser.add_argument("--without", nargs="*", default=[], help="features and acts that do not occur")
    parser.add_argument(
        "--with", dest="more", nargs="*", default=[], help="what occurs only if asked for, or all"
    )
    parser.add_argument("--length", type=int, default=40, help="how many acts a history has about")
    parser.add_argument("--stories", type=Path, default=Path("simulation-stories"), help="where stories go")
    options = parser.parse_args()
    options.backend = "postgres" if options.interleaved else options.backend
    return options


def choose_database(backend: str) -> None:
    """Before Airflow is imported anywhere."""
    os.environ["ANDON_TEST_BACKEND"] = backend
    memory = Path("/dev/shm")
    if memory.is_dir():
        os.environ.setdefault("TMPDIR", str(memory))
    import tests.conftest  # noqa: F401

    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started:.0f} s in all")
    sys.exit(code)
