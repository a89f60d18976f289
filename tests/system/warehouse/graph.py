"""A warehouse drawn from a seed: tables, what each is made of, and the partitions that follow."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from tests.system.warehouse.dags.warehouse_store import key_below

DAY = "2026-06-14"


def first_hours(count: int) -> tuple[str, ...]:
    """
    Return the keys of so many hours, from a certain day on.

    :param count: how many
    """
    begin = datetime.fromisoformat(DAY)
    return tuple(f"{begin + timedelta(hours=hour):%Y-%m-%dT%H}" for hour in range(count))


ALL_HOURS_OF_DAY = first_hours(24)
SHAPES = ("plain", "plain", "plain", "plain", "steps", "mapped", "retry", "deferred", "sensor", "followed")
PARTS_OF_MAPPED = 3

Cell = tuple[str, str]
"""A partition: table and key."""


@dataclass(frozen=True)
class Table:
    """
    One table and the Dag of the same name that makes it.

    :param name: of the table, its asset and its Dag
    :param sources: the tables that it is made of, each with the rule that maps their keys
    :param join: ``and``, ``or``, ``roll-up``
    :param shape: of which tasks the Dag is made
    :param minimum: how many keys a roll-up waits for; 0: all of its window
    :param window: the keys of a roll-up whose window is a list
    :param outside: no Dag makes it: another system publishes it through the REST API
    :param retries: how often its tasks may fail
    """

    name: str
    sources: tuple[tuple[str, str], ...] = ()
    join: str = "and"
    shape: str = "plain"
    minimum: int = 0
    window: tuple[str, ...] = ()
    outside: bool = False
    max_active_runs: int = 16
    retries: int = 0

    @property
    def parts(self) -> range:
        """The parts that its task instances write of each partition."""
        return range(PARTS_OF_MAPPED if self.shape == "mapped" else 1)


@dataclass(frozen=True)
class Graph:
    """
    All tables.

    :param tables: by name, sources before what is made of them except in a cycle
    :param hours: the keys that the roots get
    :param seed: what it was drawn from
    """

    tables: Mapping[str, Table]
    hours: tuple[str, ...]
    seed: int
    _below: dict[str, list[tuple[str, str]]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for table in self.tables.values():
            for source, rule in table.sources:
                self._below.setdefault(source, []).append((table.name, rule))

    def as_json(self) -> dict[str, Any]:
        """What the Dag file reads."""
        return {"seed": self.seed, "tables": [asdict(table) for table in self.tables.values()]}

    @property
    def roots(self) -> list[str]:
        """The tables that are triggered with a key."""
        return [t.name for t in self.tables.values() if not t.sources and not t.outside]

    def below(self, cell: Cell) -> list[Cell]:
        """Return the partitions that are made of this one."""
        found = []
        for name, rule in self._below.get(cell[0], ()):
            key = key_below(rule, cell[1])
            if key is not None:
                found.append((name, key))
        return found

    def above(self, cell: Cell) -> list[Cell]:
        """Return the partitions that this one is made of."""
        return [other for other in self.cells if cell in self.below(other)]

    def closure(self, cells: Iterable[Cell]) -> set[Cell]:
        """Return these partitions and all that are made of them, at any distance."""
        found: set[Cell] = set()
        new = list(cells)
        while new:
            cell = new.pop()
            if cell not in found:
                found.add(cell)
                new += self.below(cell)
        return found

    @cached_property
    def root_cells(self) -> list[Cell]:
        """The partitions that are published from outside the graph."""
        return [
            (t.name, key)
            for t in self.tables.values()
            if not t.sources
            for key in (ALL_HOURS_OF_DAY if t.outside else self.hours)
        ]

    @cached_property
    def cells(self) -> set[Cell]:
        """All partitions that there will be."""
        return self.closure(self.root_cells)

    @cached_property
    def exact(self) -> set[str]:
        """
        The tables that Airflow itself computes once for each key.

        One that is made of any of several sources is computed for each event of each of them, and every
        mapped task instance that publishes writes an event of its own.
        """
        mapped = {t.name for t in self.tables.values() if t.shape == "mapped"}
        exact = {
            t.name
            for t in self.tables.values()
            if t.join != "or" and not any(source in mapped for source, _ in t.sources)
        }
        while True:
            fewer = {n for n in exact if all(source in exact for source, _ in self.tables[n].sources)}
            if fewer == exact:
                return exact
            exact = fewer

    @cached_property
    def loose(self) -> set[str]:
        """
        The tables that Airflow itself may leave behind their sources, with pending rows that wait for ever.

        Those that wait for several events, when one of their sources is published more than once.
        """
        mapped = {t.name for t in self.tables.values() if t.shape == "mapped"}
        loose: set[str] = set()
        while True:
            more = {
                t.name
                for t in self.tables.values()
                if any(s in loose for s, _ in t.sources)
                or (
                    (t.join == "roll-up" or (t.join == "and" and len(t.sources) > 1))
                    and any(s not in self.exact or s in mapped for s, _ in t.sources)
                )
            }
            if more == loose:
                return loose
            loose = more

    def depth(self) -> dict[str, int]:
        """Return how many hops each table is from the roots, by the shortest way."""
        depth = {t.name: 0 for t in self.tables.values() if not t.sources}
        while len(depth) < len(self.tables):
            for table in self.tables.values():
                known = [depth[source] for source, _ in table.sources if source in depth]
                if table.name not in depth and known:
                    depth[table.name] = 1 + max(known)
        return depth


def chain(hours: Collection[str]) -> Graph:
    """
    Return four hops, each by another kind of task.

    :param hours: the keys
    """
    tables = [
        Table("raw"),
        Table("hop_1", (("raw", "same"),), shape="steps"),
        Table("hop_2", (("hop_1", "same"),), shape="retry"),
        Table("hop_3", (("hop_2", "same"),), max_active_runs=1),
        Table("hop_4", (("hop_3", "same"), ("raw", "same")), shape="followed"),
        Table("side_2", (("hop_1", "same"),), shape="mapped"),
        Table("side_3", (("side_2", "same"),), max_active_runs=1),
        Table("side_4", (("side_3", "same"), ("raw", "same")), shape="followed"),
    ]
    return Graph({t.name: t for t in tables}, tuple(hours), 0)


def hops(keys: Collection[str], retries: int = 0) -> Graph:
    """
    Return three hops, for many keys at once: few tasks, one of them through the triggerer.

    :param keys: the keys
    :param retries: how often each task may fail
    """
    tables = [
        Table("raw", retries=retries),
        Table("hop_1", (("raw", "same"),), retries=retries),
        Table("hop_2", (("hop_1", "same"),), retries=retries),
        Table("hop_3", (("hop_2", "same"),), shape="followed", retries=retries),
        Table("side_2", (("hop_1", "same"),), shape="deferred", retries=retries),
    ]
    return Graph({t.name: t for t in tables}, tuple(keys), 0)


def warehouse(count: int, hours: Collection[str], seed: int) -> Graph:
    """
    Draw a warehouse: some tables that are always there, the others at random below them.

    :param count: of tables; at least 12
    :param hours: the keys that the roots get
    :param seed: decides everything
    """
    draw = random.Random(seed)
    keys = tuple(hours)
    roots = [Table(f"src_{n:02}", shape="steps" if n == 1 else "plain") for n in range(max(2, count // 14))]
    first, second = roots[0].name, roots[1].name
    tables = [
        *roots,
        Table("hourly_files", outside=True),
        Table("stage", ((first, "same"),), shape="steps"),
        Table("joined", (("stage", "same"), (second, "same")), shape="followed"),
        Table("spread", (("joined", "same"),), shape="mapped"),
        Table("gathered", (("spread", "same"),), max_active_runs=1),
        Table("checked", (("joined", "same"),), shape="deferred", max_active_runs=1),
        Table("daily", (("checked", "day"),), "roll-up", minimum=len(keys)),
        Table("monthly", (("daily", "month"),), "roll-up", minimum=1),
        Table("all_hours", (("joined", f"all:{DAY}"),), "roll-up", window=keys, shape="retry"),
        Table("files_of_day", (("hourly_files", "day"),), "roll-up", shape="sensor"),
        Table("report", (("daily", "same"), ("files_of_day", "same"), ("all_hours", "same"))),
        Table("loop_a", ((first, "same"), ("loop_b", "all:final")), "or", max_active_runs=1),
        Table("loop_b", (("loop_a", "one of:" + ",".join(keys)),), max_active_runs=1),
        Table("either", (("stage", "same"), (second, "same")), "or", max_active_runs=1),
    ]
    hourly = {t.name: 0 for t in roots} | {"stage": 1, "joined": 2, "spread": 3, "checked": 3}
    exact = set(hourly) - {"spread"}
    for number in range(count - len(tables)):
        table = _draw_table(f"t_{number:03}", draw, hourly, exact, keys)
        tables.append(table)
        if all(rule == "same" for _, rule in table.sources):
            hourly[table.name] = 1 + max(hourly[source] for source, _ in table.sources)
        if (
            table.join != "or"
            and table.shape != "mapped"
            and all(source in exact for source, _ in table.sources)
        ):
            exact.add(table.name)
    return Graph({t.name: t for t in tables}, keys, seed)


def _draw_table(
    name: str, draw: random.Random, hourly: Mapping[str, int], exact: Collection[str], keys: tuple[str, ...]
) -> Table:
    """One table: `&` and roll-ups only of what is computed once, so that the judge can count."""
    shape = draw.choice(SHAPES)
    runs = 1 if draw.random() < 0.1 else 16
    deepest = sorted(hourly, key=lambda n: (-hourly[n], n))
    candidates = deepest[: max(6, len(deepest) // 2)]
    kind = draw.random()
    once = [n for n in candidates if n in exact] or ["checked", "joined"]
    if kind < 0.12:
        rule = draw.choice(["day", f"all:{DAY}"])
        window = keys if rule != "day" else ()
        return Table(
            name,
            ((draw.choice(once), rule),),
            "roll-up",
            shape,
            0 if window else len(keys),
            window,
            max_active_runs=runs,
        )
    if kind < 0.24:
        pair = tuple((n, "same") for n in draw.sample(candidates, 2))
        return Table(name, pair, "or", shape, max_active_runs=1)
    if kind < 0.5 and len(once) > 1:
        pair = tuple((n, "same") for n in draw.sample(once, 2))
        return Table(name, pair, shape=shape, max_active_runs=runs)
    source = draw.choice(candidates)
    return Table(name, ((source, "same"),), shape=shape, max_active_runs=runs if source in exact else 1)
