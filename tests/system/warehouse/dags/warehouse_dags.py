"""
A warehouse, one Dag for each table, as the JSON file says that ``WAREHOUSE_PLAN`` names.

In the process of a task only the Dag of that task is built.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import (
    DAG,
    AllowedKeyMapper,
    Asset,
    BaseOperator,
    BaseSensorOperator,
    DayWindow,
    FixedKeyMapper,
    MinimumCount,
    MonthWindow,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    RollupMapper,
    SegmentWindow,
    StartOfDayMapper,
    StartOfMonthMapper,
    WaitForAll,
    get_current_context,
    get_parsing_context,
    task,
)
from warehouse_store import Diary, Store

PLAN = json.loads(Path(os.environ["WAREHOUSE_PLAN"]).read_text())
STORE = os.environ["WAREHOUSE_STORE"]
DEAF = bool(os.environ.get("WAREHOUSE_DEAF"))
TABLES: dict[str, dict[str, Any]] = {table["name"]: table for table in PLAN["tables"]}
PARTS = 3
# Airflow fails a task that comes back while its supervisor still waits to see its first process end.
AWAY_SECONDS = 4


@contextmanager
def diary_of(context: Any, began: tuple[float, float]) -> Iterator[Diary]:
    store = Store(STORE)
    try:
        yield Diary(store, context, began)
    finally:
        store.close()


def now() -> tuple[float, float]:
    return time.time(), time.monotonic()


def takes(diary: Diary, name: str, share: float) -> Callable[[], None]:
    """Wait for a share of the pace, longer or shorter from task to task and key to key."""
    drawn = hashlib.sha256(f"{PLAN['seed']}{name}{diary.key}".encode()).digest()[0] / 255
    return lambda: time.sleep(diary.store.pace(name) * share * (0.4 + 1.2 * drawn))


def in_diary(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a task its diary, its first statement written."""

    @functools.wraps(function)
    def execute(*arguments: Any, **options: Any) -> Any:
        began = now()
        if DEAF:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with diary_of(get_current_context(), began) as diary:
            result = function(diary, *arguments, **options)
            diary.note("last")
            return result

    del execute.__wrapped__
    execute.__signature__ = _without_first(function)  # type: ignore[attr-defined]
    return execute


def _without_first(function: Callable[..., Any]) -> Any:
    signature = inspect.signature(function)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


class WaitInTheTriggerer(BaseOperator):
    """Defer, come back, be done."""

    def execute(self, context: Any) -> None:
        began = now()
        with diary_of(context, began) as diary:
            diary.read(sources_of(self.dag_id))
            diary.note("defers")
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=AWAY_SECONDS)), method_name="resume")

    def resume(self, context: Any, event: Any = None) -> None:
        """Go on."""
        began = now()
        with diary_of(context, began) as diary:
            diary.read(sources_of(self.dag_id))
            diary.note("last")


class LookTwice(BaseSensorOperator):
    """Find what it looks for at the second look."""

    def poke(self, context: Any) -> bool:
        """Look."""
        began = now()
        with diary_of(context, began) as diary:
            diary.read(sources_of(self.dag_id))
            looks = diary.store.ask(
                "SELECT count(*) FROM event WHERE ti_id = %s AND kind = 'first'", str(context["ti"].id)
            )
            if looks[0][0] >= 2:
                diary.note("last")
                return True
            diary.note("looked")
            return False


def sources_of(name: str) -> list[tuple[str, str]]:
    return [(source, rule) for source, rule in TABLES[name]["sources"]]


def mapper_of(rule: str, table: dict[str, Any]) -> Any:
    kind, _, detail = rule.partition(":")
    policy = MinimumCount(table["minimum"]) if table["minimum"] else WaitForAll()
    if kind == "day":
        upstream, window = StartOfDayMapper(input_format="%Y-%m-%dT%H"), DayWindow()
    elif kind == "month":
        upstream, window = StartOfMonthMapper(input_format="%Y-%m-%d"), MonthWindow()
    elif kind == "one of":
        return AllowedKeyMapper(detail.split(","))
    elif kind == "all" and table["join"] == "roll-up":
        upstream, window = FixedKeyMapper(detail), SegmentWindow(table["window"])
    elif kind == "all":
        return FixedKeyMapper(detail)
    else:
        return None
    return RollupMapper(upstream_mapper=upstream, window=window, wait_policy=policy)


def schedule_of(table: dict[str, Any]) -> Any:
    if not table["sources"]:
        return PartitionedAtRuntime()
    assets = [Asset(source) for source, _ in table["sources"]]
    condition: Any = assets[0]
    for asset in assets[1:]:
        condition = condition | asset if table["join"] == "or" else condition & asset
    mappers = {
        asset: mapper
        for asset, (_, rule) in zip(assets, table["sources"], strict=True)
        if (mapper := mapper_of(rule, table)) is not None
    }
    return PartitionedAssetTimetable(assets=condition, partition_mapper_config=mappers)


def compute(diary: Diary, name: str, part: int = 0) -> None:
    inputs = diary.read(sources_of(name))
    takes(diary, name, 0.5)()
    diary.write(name, part, inputs, takes(diary, name, 0.5))


def publishing(name: str, asset: Asset) -> Any:
    @task(outlets=[asset])
    @in_diary
    def publish(diary: Diary) -> None:
        compute(diary, name)

    return publish()


def plain(name: str, asset: Asset) -> None:
    """One task."""
    publishing(name, asset)


def steps(name: str, asset: Asset) -> None:
    """Read, compute, publish: what was read goes from task to task."""

    @task
    @in_diary
    def read(diary: Diary) -> Any:
        return diary.read(sources_of(name))

    @task
    @in_diary
    def work(diary: Diary, inputs: Any) -> Any:
        diary.note("read", inputs)
        takes(diary, name, 0.5)()
        return inputs

    @task(outlets=[asset])
    @in_diary
    def write(diary: Diary, inputs: Any) -> None:
        diary.note("read", inputs)
        diary.write(name, 0, [tuple(one) for one in inputs], takes(diary, name, 0.5))

    write(work(read()))


def mapped(name: str, asset: Asset) -> None:
    """Several task instances publish the same partition."""

    @task(outlets=[asset])
    @in_diary
    def publish_part(diary: Diary, part: int) -> None:
        compute(diary, name, part)

    publish_part.expand(part=list(range(PARTS)))


def retry(name: str, asset: Asset) -> None:
    """It fails once for each key."""

    @task(outlets=[asset], retries=1)
    @in_diary
    def publish_at_second_try(diary: Diary) -> None:
        inputs = diary.read(sources_of(name))
        if not diary.store.ask("SELECT 1 FROM stumbled WHERE tbl = %s AND key = %s", name, diary.key):
            diary.store.tell("INSERT INTO stumbled VALUES (%s, %s)", name, diary.key)
            diary.note("stumbles")
            raise RuntimeError("It fails once.")
        takes(diary, name, 0.5)()
        diary.write(name, 0, inputs, takes(diary, name, 0.5))

    publish_at_second_try()


def deferred(name: str, asset: Asset) -> None:
    """It waits in the triggerer, then publishes."""
    WaitInTheTriggerer(task_id="wait") >> publishing(name, asset)


def sensor(name: str, asset: Asset) -> None:
    """It looks, is rescheduled, looks again, then publishes."""
    LookTwice(task_id="look", mode="reschedule", poke_interval=AWAY_SECONDS, timeout=600) >> publishing(
        name, asset
    )


def followed(name: str, asset: Asset) -> None:
    """A task of the same run reads what was published."""

    @task
    @in_diary
    def follow(diary: Diary) -> None:
        diary.read([*sources_of(name), (name, "same")])
        takes(diary, name, 0.5)()

    publishing(name, asset) >> follow()


SHAPES: dict[str, Callable[[str, Asset], None]] = {
    shape.__name__: shape for shape in (plain, steps, mapped, retry, deferred, sensor, followed)
}


def build(table: dict[str, Any]) -> None:
    name: str = table["name"]
    with DAG(
        name,
        schedule=schedule_of(table),
        catchup=False,
        max_active_runs=table["max_active_runs"],
        default_args={
            "owner": "warehouse",
            "retries": table["retries"],
            "retry_delay": timedelta(seconds=1),
        },
    ):
        SHAPES[table["shape"]](name, Asset(name))


only = get_parsing_context().dag_id
for one in TABLES.values():
    if not one["outside"] and only in (None, one["name"]):
        build(one)
