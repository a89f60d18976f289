"""
``python -m demo``: one bad hour in a real Airflow, from the pull to the last repaired number.

KEEP=1 leaves Airflow up at the end and prints its address. Exits with 1 if anything is not as promised.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from demo import DAGS_FOLDER, verdict
from demo.airflow_process import AirflowFailed, RunningAirflow, sqlite_url
from demo.shop_database import ShopDatabase
from demo.story import BAD_FACTOR, BAD_HOUR, DAGS, PARTITIONS_OF_BAD_DATA, SATURDAY, Story
from demo.telling import Teller

WAITS_FOR_THE_REST_OF_MONDAY = ["daily_revenue/2026-06-15"]
# Partitions that stay wrong when people pause the consumers, clear the task that published, and unpause:
# events of paused Dags are lost, and `&` conditions and roll-ups wait for the other partitions for ever.
BY_HAND = dict.fromkeys(
    [
        "clean_orders",
        "enriched_orders",
        "daily_revenue",
        "revenue_mail",
        "marketing_budget",
        "weekly_forecast",
    ],
    1,
) | {"orders": 0, "exchange_rates": 0}
FROM_ANOTHER_SYSTEM = frozenset({f"daily_revenue/{SATURDAY}"})


def play(airflow: RunningAirflow, shop: ShopDatabase, teller: Teller, ending: str = "cord") -> list[str]:
    """
    Play the story and return the promises that were not kept.

    :param airflow: an Airflow that was not yet used
    :param shop: a fresh database of the shop
    :param teller: who tells the audience
    :param ending: ``cord``, ``hand`` (pause and clear), or ``none`` (everything computes on the bad hour)
    """
    story = Story(airflow, shop, teller)
    airflow.wait_parsed(DAGS)
    story.publish_the_day()
    if ending == "cord":
        story.pull_the_cord()
        story.repair()
        judge(story)
    elif ending == "hand":
        story.by_hand()
        count(story, "What pausing and clearing by hand left behind")
    else:
        story.without_a_cord()
        wrong = verdict.wrong_partitions(shop, story.expected({BAD_HOUR: BAD_FACTOR}))
        story.promise(not any(wrong.values()), f"all tables are what the bad hour makes of them {wrong}")
    return story.broken_promises


def judge(story: Story) -> None:
    """
    Hold everything against the truth.

    :param story: played to its end
    """
    story.teller.chapter("4. The truth, worked out without the Dags")
    expected = story.expected({})
    wrong = verdict.wrong_partitions(story.shop, expected)
    rows = sum(len(rows) for rows in expected.values())
    partitions = {name: keys for name, keys in wrong.items() if keys}
    story.promise(not partitions, f"all {rows} rows of {len(expected)} tables are right {partitions or ''}")
    complaints = verdict.not_as_promised(
        story.shop.executions(), expected, PARTITIONS_OF_BAD_DATA, story.pulled_at, FROM_ANOTHER_SYSTEM
    )
    for complaint in complaints:
        story.promise(False, complaint)
    if not complaints:
        affected = len(PARTITIONS_OF_BAD_DATA)
        story.promise(True, f"each of the {affected} affected partitions was computed once from good data")
        story.promise(True, "every other partition was computed once in all")
    left = verdict.left_over(story.airflow)
    story.promise(
        left["pending partitions"] == WAITS_FOR_THE_REST_OF_MONDAY,
        f"nothing waits but Monday's revenue, for the rest of its hours: {left['pending partitions']}",
    )
    story.promise(
        not left["runs"] and not left["tasks"], f"every run succeeded {left['runs'] + left['tasks'] or ''}"
    )
    count(story, "What ran, and how often")


def count(story: Story, title: str) -> None:
    """
    Show per table what ran.

    :param story: played to its end
    :param title: the table's title
    """
    expected = story.expected({})
    wrong = verdict.wrong_partitions(story.shop, expected)
    counts = verdict.count_tables(story.shop.executions(), expected, wrong, story.repaired_at)
    story.teller.table(
        title,
        [
            "table",
            "partitions",
            "computed",
            "killed",
            "again after repair",
            "wrong or missing",
            "the same, by pausing and clearing by hand *",
        ],
        [
            (c.table, c.partitions, c.computed, c.killed, c.computed_again, c.wrong, BY_HAND[c.table])
            for c in counts
        ],
    )
    story.teller.say("* measured; python -m demo --ending hand measures it again", "dim")
    left = verdict.left_over(story.airflow)
    story.teller.say(f"pending for ever: {left['pending partitions']}; not successful: {left['runs']}")


def main() -> int:
    """Start Airflow, play, clean up."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--ending", choices=["cord", "hand", "none"], default="cord")
    ending = parser.parse_args().ending
    keep = os.environ.get("KEEP") == "1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    teller = Teller()
    home = Path(tempfile.mkdtemp(prefix="andon-demo-"))
    shop = ShopDatabase(sqlite_url(home, "shop"))
    airflow = RunningAirflow(
        home=home,
        dags=DAGS_FOLDER,
        database=sqlite_url(home),
        parallelism=6,
        environment=shop.airflow_connection,
    )
    try:
        teller.say(f"Airflow is being set up in {home} (SQLite, LocalExecutor) ...")
        airflow.migrate()
        teller.say("tables created; api-server, scheduler, dag-processor and triggerer start ...")
        airflow.start()
        teller.say(f"Airflow is up at {airflow.url}")
        broken = play(airflow, shop, teller, ending)
        for promise in broken:
            teller.bad(promise)
        if ending == "cord" and not broken:
            teller.good("everything is as promised")
        return 1 if broken else 0
    except AirflowFailed as failed:
        teller.bad(str(failed))
        return 1
    except KeyboardInterrupt:
        teller.bad("interrupted")
        return 130
    finally:
        if keep:
            teller.say(f"Airflow stays up at {airflow.url} in {home}; to end it: {airflow.kill_command}")
        else:
            airflow.stop()
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
