"""Random graphs, from a seed, and the Airflow Dags that they stand for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import reduce
from typing import TYPE_CHECKING, Any

from airflow import plugins_manager
from airflow.partition_mappers.window import Window
from airflow.sdk import (
    DAG,
    AllowedKeyMapper,
    Asset,
    ChainMapper,
    CronDataIntervalTimetable,
    DayWindow,
    FanOutMapper,
    FixedKeyMapper,
    IdentityMapper,
    MinimumCount,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    ProductMapper,
    RollupMapper,
    StartOfDayMapper,
    StartOfHourMapper,
    WaitForAll,
)

from airflow_lean_provider.assets import andon, inlet
from tests.integration.dags import Step
from tests.simulation.graph import DagSpec, Graph, Inlet, Kind, Mapping, Source, TaskSpec, asks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

HOUR = "%Y-%m-%dT%H:%M:%S"
"""The key of an hour, as Airflow's own timetables write it."""


class FirstHours(Window):
    """The first hours of a day: a window with few members, so that a roll-up is quick to fill."""

    expected_decoded_type = datetime

    def __init__(self, hours: int = 24) -> None:
        super().__init__()
        self.hours = hours

    def to_upstream(self, period_start: datetime) -> Iterable[datetime]:
        return [period_start + timedelta(hours=hour) for hour in range(self.hours)]

    def serialize(self) -> dict[str, Any]:
        return {"hours": self.hours}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> FirstHours:
        return cls(data["hours"])


def register_window() -> None:
    """Let Airflow know the window as if a plugin had brought it."""
    plugins_manager.get_windows_plugins()[f"{FirstHours.__module__}.{FirstHours.__qualname__}"] = FirstHours


def _outlets(dag: DagSpec) -> list[str]:
    return [outlet for task in dag.tasks for outlet in task.outlets]


# Airflow's Dags


def to_airflow(spec: DagSpec) -> DAG:
    """Write the Dag as its author would."""
    options: dict[str, Any] = {"max_active_runs": spec.max_active_runs}
    if spec.advisory:
        options["tags"] = ["andon:advisory"]
    if spec.kind is Kind.CRON:
        options |= {"start_date": datetime(2026, 1, 1, tzinfo=timezone.utc), "catchup": False}
    with DAG(spec.id, schedule=_schedule(spec), **options) as dag:
        steps = {task.id: _step(task) for task in spec.tasks}
        for task in spec.tasks:
            for before in task.after:
                steps[before] >> steps[task.id]
        for task in spec.tasks:
            if task.is_setup:
                steps[task.id].as_setup()
            if task.teardown_of is not None:
                steps[task.id].as_teardown(setups=steps[task.teardown_of])
    return dag


def _schedule(spec: DagSpec) -> Any:
    if spec.kind is Kind.RUNTIME:
        return PartitionedAtRuntime()
    if spec.kind is Kind.CRON:
        return CronDataIntervalTimetable("0 0 * * *", timezone="UTC")
    if spec.kind is Kind.MANUAL:
        return None
    named = {source: _named(source) for source in spec.sources}
    condition = reduce(lambda a, b: a | b if spec.any_of else a & b, named.values())
    if spec.kind is Kind.UNPARTITIONED:
        return condition if len(named) > 1 else [condition]
    if len({source.mapping for source in spec.sources}) == 1:  # a mapper for a uri is not found by Airflow
        mapper = mapper_of(spec.sources[0].mapping)
        return PartitionedAssetTimetable(assets=condition, default_partition_mapper=mapper)
    mappers = {named[source]: mapper_of(source.mapping) for source in spec.sources}
    return PartitionedAssetTimetable(assets=condition, partition_mapper_config=mappers)


def _named(source: Source) -> Any:
    if source.by == "name":
        return Asset.ref(name=source.asset)
    if source.by == "uri":
        return Asset.ref(uri=source.asset)
    return _asset(source.asset)


def _asset(name: str) -> Asset:
    """Airflow keeps the ``extra`` of whichever Dag it has parsed last."""
    return Asset(name, extra=andon(repair="ask")) if asks(name) else Asset(name)


def mapper_of(mapping: Mapping) -> Any:
    """The partition mapper of Airflow that ``mapping`` stands for."""
    if mapping.kind == "identity":
        return IdentityMapper()
    if mapping.kind == "fixed":
        return FixedKeyMapper(mapping.value)
    if mapping.kind == "allowed":
        return AllowedKeyMapper(list(mapping.allowed))
    if mapping.kind == "chain":
        return ChainMapper(*map(mapper_of, mapping.parts))
    if mapping.kind == "product":
        return ProductMapper(*map(_part_of_a_product, mapping.parts))
    if mapping.kind == "day":
        enough = WaitForAll() if mapping.at_least is None else MinimumCount(mapping.at_least)
        return RollupMapper(
            upstream_mapper=StartOfDayMapper(), window=_hours(mapping.size), wait_policy=enough
        )
    if mapping.kind == "fan_out":
        return FanOutMapper(
            upstream_mapper=StartOfDayMapper(input_format="%Y-%m-%d", output_format=HOUR),
            window=_hours(mapping.size),
            downstream_mapper=StartOfHourMapper(input_format=HOUR),
        )
    raise ValueError(f"no such mapping: {mapping.kind}")


def _part_of_a_product(mapping: Mapping) -> Any:
    """In a product a day is merely the day of an hour: nothing is waited for."""
    return StartOfDayMapper() if mapping.kind == "day" else mapper_of(mapping)


def _hours(count: int) -> Any:
    return DayWindow() if count == 24 else FirstHours(count)


def _step(task: TaskSpec) -> Any:
    options: dict[str, Any] = {
        "task_id": task.id,
        "outlets": [_asset(name) for name in task.outlets],
        "inlets": [each for an_inlet in task.inlets for each in _inlet(an_inlet)],
        "retries": task.retries,
        "retry_delay": timedelta(0),
    }
    if task.mapped is None:
        return Step(**options)
    return Step.partial(**options).expand(value=list(range(task.mapped)))


def _inlet(spec: Inlet) -> list[Any]:
    asset = _asset(spec.asset)
    return [asset] if spec.reads is None else inlet(asset, reads=mapper_of(spec.reads))


# Random ones

DAY = "2026-06-14"
HOURS = tuple(f"{DAY}T{hour:02}:00:00" for hour in range(3))
"""The keys of upstream assets: hours of one day."""

REGIONS = ("us|" + HOURS[0], "eu|" + HOURS[0])


def random_graph(random: Random, features: frozenset[str]) -> Graph:
    """
    Draw a graph.

    :param features: what may occur in it; see :data:`FEATURES`
    """
    return _Draw(random, features).graph()


FEATURES = frozenset(
    {
        "advisory",
        "any_of",
        "children",
        "cron",
        "cycles",
        "fan_out",
        "inlets",
        "mapped",
        "mappers",
        "max_active_runs",
        "reads",
        "references",
        "retries",
        "rollups",
        "setups",
        "several_tasks",
        "unpartitioned",
    }
)
"""What graphs may contain beyond Dags of one task with identity mappers."""

MORE_FEATURES = frozenset({"asks"})
"""The same, of what occurs only where it is asked for: so the seeds keep their meaning."""

SINGLE = Mapping("identity")


class _Draw:
    """One graph in the making: layers of assets, each Dag reading from those before it."""

    def __init__(self, random: Random, features: frozenset[str]) -> None:
        self.random = random
        self.features = features
        self.dags: list[DagSpec] = []
        self.assets: dict[str, str] = {}
        """What keys each asset has: ``hour``, ``day``, ``region``, ``all`` (one fixed key) or ``none``."""

    def _may(self, feature: str, chance: float) -> bool:
        return feature in self.features and self.random.random() < chance

    def graph(self) -> Graph:
        for number in range(self.random.choice((1, 1, 2))):
            self._producer(f"source{number}", "hour")
        if self._may("mappers", 0.15):
            self._producer("regions", "region")
        if self._may("unpartitioned", 0.15):
            self._keyless("dump")
        for number in range(self.random.choice((1, 2, 2, 3, 3, 4))):
            self._consumer(f"step{number}")
        if self._may("cron", 0.2):
            self._cron("nightly")
        if self._may("children", 0.15):
            self._child("child")
        if self._may("cycles", 0.1):
            self._cycle()
        return Graph(tuple(self.dags))

    def _add(self, dag: DagSpec, outlets: str | None, keys: str) -> None:
        self.dags.append(dag)
        if outlets is not None:
            self.assets[outlets] = keys

    def _producer(self, name: str, keys: str) -> None:
        asset = f"{name}_data"
        mapped = self.random.choice((2, 3)) if self._may("mapped", 0.15) else None
        retries = self.random.choice((1, 2)) if self._may("retries", 0.2) else 0
        task = TaskSpec("load", outlets=(asset,), mapped=mapped, retries=retries)
        self._add(DagSpec(name, Kind.RUNTIME, (task,)), asset, keys)

    def _keyless(self, name: str) -> None:
        asset = self.random.choice([each for each, keys in self.assets.items() if keys == "hour"])
        self.dags.append(DagSpec(name, Kind.MANUAL, (TaskSpec("load", outlets=(asset,)),)))

    def _consumer(self, name: str) -> None:
        if self._may("unpartitioned", 0.12):
            self._whole(name)
            return
        first = self.random.choice(sorted(each for each, keys in self.assets.items() if keys != "none"))
        sources = [self._source(first)]
        result = self._key_of(sources[0], self.assets[first])
        others = [
            each
            for each, keys in sorted(self.assets.items())
            if each != first and keys == self.assets[first] and keys != "none"
        ]
        any_of = False
        if others and self.random.random() < 0.35:
            second = self.random.choice(others)
            sources.append(Source(second, sources[0].mapping, self._by()))
            any_of = self._may("any_of", 0.4)
        outlet = f"{name}_data" if self.random.random() < 0.85 else None
        if outlet is not None and self._may("asks", 0.4):
            outlet = f"{name}_mail"
        self._add(
            DagSpec(
                name,
                Kind.PARTITIONED,
                self._tasks(outlet),
                tuple(sources),
                any_of=any_of,
                advisory=self._may("advisory", 0.06),
                max_active_runs=1 if self._may("max_active_runs", 0.15) else 16,
            ),
            outlet,
            result,
        )

    def _by(self) -> str:
        return self.random.choice(("name", "uri")) if self._may("references", 0.15) else "asset"

    def _source(self, asset: str) -> Source:
        return Source(asset, self._mapping(self.assets[asset]), self._by())

    def _mapping(self, keys: str) -> Mapping:
        if keys == "hour":
            if self._may("rollups", 0.2):
                return Mapping("day", size=2, at_least=self.random.choice((None, None, 1)))
            if self._may("mappers", 0.25):
                return self.random.choice(
                    (
                        Mapping("fixed", value="all"),
                        Mapping("allowed", allowed=HOURS[:2]),
                        Mapping("chain", parts=(SINGLE, Mapping("fixed", value="all"))),
                    )
                )
        if keys == "day" and self._may("fan_out", 0.4):
            return Mapping("fan_out", size=2)
        if keys == "region" and self._may("mappers", 0.6):
            return Mapping("product", parts=(SINGLE, Mapping("day")))
        return SINGLE

    def _key_of(self, source: Source, keys: str) -> str:
        becomes = {"day": "day", "fixed": "all", "chain": "all", "fan_out": "fanned", "product": "region day"}
        return becomes.get(source.mapping.kind, keys)

    def _whole(self, name: str) -> None:
        asset = self.random.choice(sorted(self.assets))
        outlet = f"{name}_data" if self.random.random() < 0.6 else None
        self._add(
            DagSpec(name, Kind.UNPARTITIONED, self._tasks(outlet), (Source(asset, by=self._by()),)),
            outlet,
            "none",
        )

    def _cron(self, name: str) -> None:
        asset = self.random.choice(sorted(self.assets))
        tasks = self._tasks(f"{name}_data" if self.random.random() < 0.5 else None)
        reads = Mapping("day") if self._may("reads", 0.0) else None
        tasks = (replace(tasks[0], inlets=(Inlet(asset, reads),)), *tasks[1:])
        self._add(DagSpec(name, Kind.CRON, tasks), None, "none")

    def _child(self, name: str) -> None:
        parents = [dag for dag in self.dags if dag.kind is Kind.PARTITIONED]
        if not parents:
            return
        parent = self.random.choice(parents)
        outlet = f"{name}_data" if self.random.random() < 0.5 else None
        calling = TaskSpec("call", after=(parent.tasks[0].id,), triggers=name)
        self.dags[self.dags.index(parent)] = replace(parent, tasks=(*parent.tasks, calling))
        kind = self.random.choice((Kind.MANUAL, Kind.RUNTIME))
        self._add(DagSpec(name, kind, (TaskSpec("work", outlets=(outlet,) if outlet else ()),)), None, "")

    def _cycle(self) -> None:
        """The last Dag's asset is read by an earlier one, too."""
        candidates = [
            dag
            for dag in self.dags
            if dag.kind is Kind.PARTITIONED and dag.sources[0].mapping.kind == "identity" and dag.any_of
        ]
        outlets = [
            each
            for dag in self.dags
            for each in _outlets(dag)
            if dag.kind is Kind.PARTITIONED and self.assets.get(each) == "hour"
        ]
        if candidates and outlets:
            dag = self.random.choice(candidates)
            asset = self.random.choice(outlets)
            if asset not in {source.asset for source in dag.sources}:
                sources = (*dag.sources, Source(asset))
                again = replace(dag, sources=sources, any_of=not self._is_made_from(asset, dag))
                self.dags[self.dags.index(dag)] = again

    def _is_made_from(self, asset: str, dag: DagSpec) -> bool:
        """Any of the two would make runs of both Dags for ever."""
        made, before = set(_outlets(dag)), set[str]()
        while made != before:
            before = set(made)
            made |= {
                outlet
                for each in self.dags
                if made & {source.asset for source in each.sources}
                for outlet in _outlets(each)
            }
        return asset in made

    def _tasks(self, outlet: str | None) -> tuple[TaskSpec, ...]:
        """Tasks in a row or side by side; one of them publishes."""
        retries = self.random.choice((1, 2)) if self._may("retries", 0.25) else 0
        outlets = (outlet,) if outlet else ()
        inlets = self._inlets() if self._may("inlets", 0.15) else ()
        if not self._may("several_tasks", 0.4):
            mapped = self.random.choice((2, 3)) if self._may("mapped", 0.15) else None
            return (TaskSpec("work", outlets=outlets, retries=retries, mapped=mapped, inlets=inlets),)
        if self._may("setups", 0.3):
            return (
                TaskSpec("set_up", is_setup=True),
                TaskSpec("work", after=("set_up",), outlets=outlets, retries=retries, inlets=inlets),
                TaskSpec("tear_down", after=("work",), teardown_of="set_up"),
            )
        shape = self.random.choice(("row", "fork"))
        if shape == "row":
            first = outlets if self.random.random() < 0.3 else ()
            return (
                TaskSpec("first", retries=retries, outlets=first),
                TaskSpec("second", after=("first",), outlets=() if first else outlets, inlets=inlets),
            )
        return (
            TaskSpec("first"),
            TaskSpec("second", after=("first",), outlets=outlets, inlets=inlets),
            TaskSpec("beside", after=("first",), retries=retries),
        )

    def _inlets(self) -> tuple[Inlet, ...]:
        asset = self.random.choice(sorted(self.assets))
        reads = self.random.choice((None, SINGLE)) if "reads" in self.features else None
        return (Inlet(asset, reads),)
