"""
Breaks every step of every story and says what did not come to a good end: ``python -m tests.faults``.

Thousands of plays of a second or two; ``--every`` and ``--from`` take a part of them.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from itertools import islice


def main() -> int:
    options = _parse()
    from tests.simulation.__main__ import choose_database

    choose_database(options.backend)
    from tests.faults.playing import attacks, play
    from tests.faults.stories import STORIES
    from tests.simulation.playing import airflow_without_delays, first_of_each
    from tests.simulation.telling import line

    logging.disable(logging.CRITICAL)
    bad, done = 0, Counter[str]()
    with airflow_without_delays(PUT_BACK_TIME="0.001"):
        found = [
            attack
            for story in (options.story or STORIES)
            for attack in attacks(story, every_time=options.all)
            if options.act in (None, attack.act)
            and options.at in (None, attack.at)
            and options.fault in (None, attack.fault.name)
        ]
        chosen = list(islice(found, options.begin, None, options.every))
        print(f"{len(chosen)} of {len(found)} attacks on {options.backend}", flush=True)
        started = time.monotonic()
        for number, attack in enumerate(chosen, 1):
            played = play(attack)
            done[attack.fault.name] += 1
            if played.wrong:
                bad += 1
                print(f"\n{attack}\n  {attack.again} --backend {options.backend}")
                print("\n".join(f"  {each}" for each in first_of_each(played.wrong)))
                if options.at is not None and played.trace is not None:
                    print("\n".join([*map(line, played.trace.events), played.traceback]))
            _progress(number, len(chosen), time.monotonic() - started, bad)
    print(f"\n{dict(done)}; {bad} with complaints")
    return 1 if bad else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--backend", choices=("sqlite", "postgres", "mariadb"), default="postgres")
    parser.add_argument("--all", action="store_true", help="what is executed repeatedly breaks each time")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th attack")
    parser.add_argument("--from", dest="begin", type=int, default=0, help="the first of them")
    parser.add_argument("--story", action="append", help="only this story")
    parser.add_argument("--act", type=int, help="only its act with this number")
    parser.add_argument("--at", type=int, help="only this step of the act")
    parser.add_argument("--fault", help="only this fault")
    return parser.parse_args()


def _progress(number: int, of: int, spent: float, bad: int) -> None:
    width = 30 * number // of
    line = f"[{'#' * width:30}] {number}/{of} {spent:.0f} s, {bad} with complaints"
    print(f"\r{line}", end="" if sys.stdout.isatty() else "\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
