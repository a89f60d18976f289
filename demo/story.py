"""
One bad hour.

A shop's Sunday: 24 hours of orders are cleaned, joined with exchange rates, added up to the day's revenue;
finance mails it, data scientists train next week's forecast on it, marketing plans a budget. Only then
somebody finds that the till delivered one hour a hundred times too high.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from demo import truth
from demo.airflow_process import AirflowFailed, RunningAirflow, is_alive
from demo.andon import STILL_SETTLING, Andon, find, is_said

if TYPE_CHECKING:
    from demo.shop_database import Execution, ShopDatabase
    from demo.telling import Teller

DAGS = (
    "import_rates",
    "import_orders",
    "ingest_orders",
    "clean_orders",
    "enriched_orders",
    "daily_revenue",
    "revenue_mail",
    "weekly_forecast",
    "marketing_budget",
)
SATURDAY, SUNDAY = "2026-06-13", "2026-06-14"
WEEK = truth.week_of(SUNDAY)
BAD_HOUR = f"{SUNDAY}T05"
BAD_FACTOR = 100
MONDAYS_HOURS = [f"2026-06-15T{hour:02}" for hour in range(3)]
UNTIL_TOLD = 600.0
A_WHILE = 3.0
REASON = "Till delivered 05:00 in cents as if they were euros"

LABELS = {
    "held": ["marketing_budget"],
    "stopped": ["weekly_forecast"],
    "tainted": ["clean_orders", "enriched_orders", "daily_revenue", "revenue_mail"],
}
PARTITIONS_OF_BAD_DATA = frozenset(
    {
        f"orders/{BAD_HOUR}",
        f"clean_orders/{BAD_HOUR}",
        f"enriched_orders/{BAD_HOUR}",
        f"daily_revenue/{SUNDAY}",
        f"revenue_mail/{SUNDAY}",
        f"marketing_budget/{SUNDAY}",
        f"weekly_forecast/{WEEK}",
    }
)


@dataclass
class Story:
    """
    The story, chapter by chapter.

    :param airflow: a running Airflow with the shop's Dags
    :param shop: the shop's database
    :param teller: who tells the audience
    """

    airflow: RunningAirflow
    shop: ShopDatabase
    teller: Teller
    pulled_at: float = field(default=0.0, init=False)
    repaired_at: float = field(default=0.0, init=False)
    broken_promises: list[str] = field(default_factory=list, init=False)
    _cord: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.andon = Andon(self.airflow, self.teller)

    def promise(self, kept: bool, what: str) -> None:
        """
        Check something that the product promises.

        :param kept: whether it is so
        :param what: what was promised
        """
        if kept:
            self.teller.good(what)
        else:
            self.teller.bad(what)
            self.broken_promises.append(what)

    # ---------------------------------------------------------------- chapter 1

    def publish_the_day(self) -> None:
        """Publish Sunday hour by hour, one of them wrong, until its revenue is known to everybody."""
        tell, rest = self.teller, self.airflow.rest
        tell.chapter("1. A Sunday in the shop")
        self.shop.break_hour(BAD_HOUR, BAD_FACTOR)
        slow = {f"clean_orders/{hour}": A_WHILE for hour in MONDAYS_HOURS}
        slow |= {f"enriched_orders/{hour}": A_WHILE for hour in MONDAYS_HOURS}
        self.shop.set_pace(
            slow | {f"marketing_budget/{SATURDAY}": UNTIL_TOLD, f"weekly_forecast/{WEEK}": UNTIL_TOLD}
        )
        self.shop.insert("daily_revenue", truth.revenue_of(SATURDAY, {}))
        rest.publish("daily_revenue", SATURDAY)
        tell.say(f"Saturday's revenue comes from another system: an event for daily_revenue {SATURDAY}")
        self._wait_running("marketing_budget", SATURDAY)
        tell.say("marketing begins a long calculation on Saturday (max_active_runs=1)")

        hours = truth.hours_of(SUNDAY)
        rest.trigger("import_rates", conf={"hours": hours + MONDAYS_HOURS})
        self.airflow.wait_until(
            lambda: self._published("exchange_rates") == len(hours + MONDAYS_HOURS), "the rates"
        )
        rest.trigger("import_orders", conf={"hours": [hour for hour in hours if hour != BAD_HOUR]})
        rest.trigger("ingest_orders", BAD_HOUR)
        tell.say("24 hours of orders and rates are published; nobody knows yet that one is wrong")
        self._wait_running("weekly_forecast", WEEK)
        self.airflow.wait_until(lambda: self._ended("revenue_mail", SUNDAY), "the mail")
        self.airflow.wait_until(
            lambda: self._run_states("marketing_budget", SUNDAY) == ["queued"],
            "marketing's Sunday in the queue",
        )
        tell.say(f"the day has been consumed: {self._counts()}")
        tell.say(
            "finished: cleaning, joining, daily revenue, mail; running: forecast; queued: marketing's Sunday"
        )

    # ---------------------------------------------------------------- chapter 2

    def pull_the_cord(self) -> None:
        """Preview, pull, and look at what stands still, for whom, and what goes on."""
        tell = self.teller
        tell.chapter("2. The cord")
        tell.say(f"a customer calls: hour {BAD_HOUR} is {BAD_FACTOR} times too high")
        selector = ("orders", "--partition", BAD_HOUR)
        self._show("The plan", self.andon("preview", *selector))
        forecast = self._running("weekly_forecast", WEEK)
        saturday = self._running("marketing_budget", SATURDAY)
        self._publish_monday()
        tell.say(f"meanwhile Monday's first {len(MONDAYS_HOURS)} hours come in: nothing is wrong with them")
        pulled = self.andon("pull", *selector, "--reason", REASON, succeed_with=(0, STILL_SETTLING))
        self.pulled_at = time.time()
        self._cord = str(find(pulled, "cord_id", "cord", "id"))
        self._show(f"Cord {self._cord} is pulled", pulled)

        self.airflow.wait_until(lambda: not is_alive(forecast.pid), "the forecast's process to end", 30)
        tell.say(f"the forecast's process is gone {time.time() - self.pulled_at:.1f} s after the pull")
        self._show("Open cords", self.andon("list"))
        shown = self.andon("show", self._cord)
        self._show("What it holds, stopped and tainted, and whose it is", shown)
        for label, dag_ids in LABELS.items():
            for dag_id in dag_ids:
                self.promise(is_said(shown, dag_id, label), f"the cord says that {dag_id} is {label}")
        (forecast_run,) = self._run_ids("weekly_forecast", WEEK)
        self._show("Why does the forecast not run?", self.andon("why", "weekly_forecast", forecast_run))

        self.airflow.wait_until(
            lambda: all(self._ended("enriched_orders", hour) for hour in MONDAYS_HOURS), "Monday's hours"
        )
        self.promise(True, "Monday's hours went through while the cord was open")
        self.promise(is_alive(saturday.pid), "marketing's Saturday was not disturbed: still the same process")
        self.shop.set_pace({})
        self.airflow.wait_until(lambda: self._ended("marketing_budget", SATURDAY), "marketing's Saturday")
        tell.say("marketing's Saturday is finished; its only slot is free now")
        time.sleep(3)
        late = [
            one
            for one in self.shop.executions()
            if one.started_at > self.pulled_at and self._is_affected(one)
        ]
        self.promise(not late, "nothing that reads bad data has started since the pull")

    # ---------------------------------------------------------------- chapter 3

    def repair(self) -> None:
        """Heal the till and let the cord's consumers repair themselves."""
        tell = self.teller
        tell.chapter("3. The repair")
        self.shop.heal_hour(BAD_HOUR)
        tell.say("the till delivers the hour rightly again")
        self.repaired_at = time.time()
        self._show("Repair", self.andon("repair", self._cord))
        expected = self.expected({})

        def repaired() -> bool:
            tell.progress(self._counts_since(self.repaired_at))
            right = all(self.shop.content(table) == rows for table, rows in expected.items())
            return right and self.airflow.is_quiet()

        try:
            self.airflow.wait_until(repaired, "all tables to be right and all to be quiet", 90)
            self.teller.good(
                f"all is quiet {time.time() - self.repaired_at:.1f} s after the repair was asked for"
            )
        except AirflowFailed as failed:
            self.teller.say(str(failed))
            self.promise(False, "everything repairs itself")
        time.sleep(3)
        self._show("The cord at the end", self.andon("show", self._cord))
        still_open = self.andon("list")
        self.promise(find(still_open, "cord_id", "cord", "id") is None, "no cord is open any more")

    # ---------------------------------------------------------------- without a cord

    def without_a_cord(self) -> None:
        """Let everything run to its end on the bad data."""
        self._publish_monday()
        self.shop.set_pace({})
        self._wait_for_silence()

    def by_hand(self) -> None:
        """Do what people do today: pause every consumer, clear the task that published, unpause."""
        tell, rest = self.teller, self.airflow.rest
        tell.chapter("2. By hand: pause, heal, clear, unpause")
        consumers = DAGS[3:]
        self._publish_monday()
        tell.say(f"Monday's first {len(MONDAYS_HOURS)} hours come in: nothing is wrong with them")
        self.airflow.wait_until(lambda: self._ended("ingest_orders", MONDAYS_HOURS[-1]), "Monday's hours")
        begin = time.monotonic()
        for dag_id in consumers:
            rest.pause(dag_id)
        tell.say(f"{len(consumers)} Dags paused in {time.monotonic() - begin:.1f} s")
        self.pulled_at = self.repaired_at = time.time()
        self.shop.set_pace({})
        self.shop.heal_hour(BAD_HOUR)
        (run_id,) = self._run_ids("ingest_orders", BAD_HOUR)
        rest.clear("ingest_orders", run_id)
        self.airflow.wait_until(
            lambda: len([one for one in self._of("ingest_orders", BAD_HOUR) if one.ended_at]) == 2,
            "the repair",
        )
        for dag_id in consumers:
            rest.pause(dag_id, paused=False)
        tell.say("the hour was loaded again, all Dags are unpaused")
        self._wait_for_silence()

    def _wait_for_silence(self) -> None:
        silent_since = time.monotonic()

        def silent() -> bool:
            nonlocal silent_since
            self.teller.progress(self._counts())
            if not self.airflow.is_quiet():
                silent_since = time.monotonic()
            return time.monotonic() - silent_since > 5

        self.airflow.wait_until(silent, "all to be quiet", 120)

    def _publish_monday(self) -> None:
        for hour in MONDAYS_HOURS:
            self.airflow.rest.trigger("ingest_orders", hour)

    # ---------------------------------------------------------------- what is known

    def expected(self, faults: dict[str, int]) -> truth.Tables:
        """
        Return what the tables must contain at the end.

        :param faults: what the till multiplied an hour's amounts by
        """
        return truth.all_tables([*truth.hours_of(SUNDAY), *MONDAYS_HOURS], [SATURDAY, SUNDAY], faults)

    def _of(self, dag_id: str, key: str) -> list[Execution]:
        return [one for one in self.shop.executions() if (one.dag_id, one.partition_key) == (dag_id, key)]

    def _ended(self, dag_id: str, key: str) -> bool:
        self.teller.progress(self._counts())
        return any(one.ended_at for one in self._of(dag_id, key))

    def _running(self, dag_id: str, key: str) -> Execution:
        (running,) = [one for one in self._of(dag_id, key) if one.ended_at is None]
        return running

    def _wait_running(self, dag_id: str, key: str) -> None:
        def running() -> bool:
            self.teller.progress(self._counts())
            return bool(self._of(dag_id, key))

        self.airflow.wait_until(running, f"{dag_id} {key} to begin", 120, interval=0.5)

    def _published(self, asset: str) -> int:
        """
        Count the asset's events.

        Airflow 3.3.2 locks only the asset of an event: two assets of one ``&`` condition, published for the
        same key in the same moment, can make two pending rows, each of which waits for the other asset.
        """
        ((count,),) = self.airflow.rows(
            "SELECT count(*) FROM asset_event e JOIN asset a ON a.id = e.asset_id WHERE a.name = :asset",
            asset=asset,
        )
        return int(count)

    def _run_ids(self, dag_id: str, key: str) -> list[str]:
        found = self.airflow.rows(
            "SELECT run_id FROM dag_run WHERE dag_id = :dag_id AND partition_key = :key ORDER BY id",
            dag_id=dag_id,
            key=key,
        )
        return [run_id for (run_id,) in found]

    def _run_states(self, dag_id: str, key: str) -> list[str]:
        found = self.airflow.rows(
            "SELECT state FROM dag_run WHERE dag_id = :dag_id AND partition_key = :key ORDER BY id",
            dag_id=dag_id,
            key=key,
        )
        return [state for (state,) in found]

    @staticmethod
    def _is_affected(execution: Execution) -> bool:
        return f"{execution.dag_id}/{execution.partition_key}" in PARTITIONS_OF_BAD_DATA

    def _counts(self) -> str:
        return self._counts_since(0)

    def _counts_since(self, begin: float) -> str:
        done = Counter(
            one.dag_id for one in self.shop.executions() if one.started_at >= begin and one.ended_at
        )
        return "done: " + (
            ", ".join(f"{dag_id} {done[dag_id]}" for dag_id in DAGS if done[dag_id]) or "nothing yet"
        )

    def _show(self, title: str, answer: Any) -> None:
        if isinstance(answer, dict):
            scalars = {name: value for name, value in answer.items() if not isinstance(value, (list, dict))}
            if scalars:
                self.teller.table(title, list(scalars), [list(scalars.values())])
            for name, value in answer.items():
                if isinstance(value, (list, dict)) and value:
                    self._show(f"{title}: {name}", value)
        elif isinstance(answer, list) and answer and all(isinstance(row, dict) for row in answer):
            columns = list(dict.fromkeys(name for row in answer for name in row if name != "run_id"))
            self.teller.table(title, columns, [[row.get(name) for name in columns] for row in answer])
        else:
            self.teller.say(f"{title}: {answer or 'nothing'}")
