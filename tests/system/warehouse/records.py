"""What the judge goes by: the tasks' own diaries, the api-server's access log, Airflow's tables."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.system.warehouse.dags.warehouse_store import HALF_WRITTEN, Input, Store, token_of
from tests.system.warehouse.graph import Cell, Graph

if TYPE_CHECKING:
    from demo.airflow_process import RunningAirflow

Made = tuple[Cell, str]
"""A partition and the version of its own program and source: what a token is made of in the end."""

HALF: Made = (("", ""), HALF_WRITTEN)
UNKNOWN: Made = (("", ""), "unknown")


@dataclass
class Execution:
    """One process of one task, as its diary tells it."""

    ti_id: str
    dag: str
    task: str
    map_index: int
    run_id: str
    key: str
    try_number: int
    pid: int
    first: float
    last: float | None = None
    inputs: list[Input] = field(default_factory=list)
    read_at: float | None = None
    token: str | None = None
    version: str | None = None
    part: int = 0
    writes_at: float | None = None
    wrote_at: float | None = None
    latest: float = 0.0
    gave_way: bool = False

    @property
    def cell(self) -> Cell:
        """The partition that its run computes."""
        return self.dag, self.key

    @property
    def instance(self) -> tuple[str, int]:
        """Which task instance of its run it is."""
        return self.task, self.map_index

    def __str__(self) -> str:
        end = f"{self.last - self.first:.2f} s" if self.last else "never ended"
        who = f"{self.dag}/{self.key}.{self.task}[{self.map_index}]"
        return f"{who} try {self.try_number} of {self.run_id} ({end})"


def executions_of(store: Store) -> list[Execution]:
    """
    Read the diaries.

    :param store: the warehouse's database
    """
    found: list[Execution] = []
    current: dict[tuple[str, int], Execution] = {}
    for ti_id, dag, task, map_index, run_id, key, try_number, pid, kind, wall, detail in store.ask(
        "SELECT ti_id, dag, task, map_index, run_id, key, try_number, pid, kind, wall, detail "
        "FROM event ORDER BY id"
    ):
        known = json.loads(detail) if detail else None
        if kind == "first":
            current[ti_id, pid] = Execution(ti_id, dag, task, map_index, run_id, key, try_number, pid, wall)
            found.append(current[ti_id, pid])
        one = current[ti_id, pid]
        one.latest = wall
        if kind == "read":
            one.inputs, one.read_at = [tuple(i) for i in known], wall  # type: ignore[misc]
        elif kind == "writes":
            one.writes_at, (_, _, one.part, one.token, one.version) = wall, known
        elif kind == "wrote":
            one.wrote_at = wall
        elif kind == "last":
            one.last = wall
        elif kind in ("stumbles", "looked", "defers"):
            one.gave_way = True
    return sorted(found, key=lambda e: e.first)


class Lineage:
    """
    What each token is made of, followed back to the versions of programs and sources.

    :param executions: all that wrote
    :param outside: tokens that the test itself has written, with their version
    """

    def __init__(self, executions: Iterable[Execution], outside: Mapping[str, Made]) -> None:
        self._inputs: dict[str, tuple[Made, list[Input]]] = {}
        self._known: dict[str, frozenset[Made]] = {
            token: frozenset({made}) for token, made in outside.items()
        }
        self._known[HALF_WRITTEN] = frozenset({HALF})
        for one in executions:
            if one.token is not None and one.version is not None:
                self._inputs[one.token] = ((one.cell, one.version), one.inputs)

    def of(self, token: str) -> frozenset[Made]:
        """
        Return all that the token is made of.

        :param token: the token
        """
        if token not in self._known:
            if token not in self._inputs:
                return frozenset({UNKNOWN})
            self._known[token] = frozenset()  # a cycle adds nothing of its own
            made, inputs = self._inputs[token]
            self._known[token] = frozenset({made}).union(*(self.of(i[3]) for i in inputs))
        return self._known[token]

    def of_inputs(self, one: Execution) -> frozenset[Made]:
        """
        Return all that an execution has read is made of.

        :param one: the execution
        """
        return frozenset().union(*(self.of(i[3]) for i in one.inputs))


class Contents:
    """
    Which token each partition held at each moment.

    :param executions: all that wrote
    :param outside: what the test has written itself: moment, cell, token
    """

    def __init__(self, executions: Iterable[Execution], outside: Iterable[tuple[float, Cell, str]]) -> None:
        self._history: dict[Cell, dict[int, list[tuple[float, str]]]] = defaultdict(lambda: defaultdict(list))
        for at, cell, token in outside:
            self._history[cell][0].append((at, token))
        for one in executions:
            if one.writes_at is not None:
                self._history[one.cell][one.part].append((one.writes_at, HALF_WRITTEN))
            if one.wrote_at is not None and one.token is not None:
                self._history[one.cell][one.part].append((one.wrote_at, one.token))
        for history in self._history.values():
            for of_part in history.values():
                of_part.sort()

    def at(self, cell: Cell, moment: float) -> set[str]:
        """
        Return the tokens of all parts of a partition.

        :param cell: the partition
        :param moment: when
        """
        found = set()
        for history in self._history[cell].values():
            before = [token for at, token in history if at <= moment]
            found |= set(before[-1:])
        return found


@dataclass(frozen=True)
class Request:
    """One call of the Execution API that was answered with success."""

    ti_id: str
    what: str
    began: float
    ended: float


_LINE = re.compile(
    r"^(?P<at>\S+) .*request finished.*method=PATCH.*path=/execution/task-instances/(?P<ti>[0-9a-f-]{36})/"
    r"(?P<what>run|state)\b.*"
)
_FIELD = re.compile(r"(status_code|duration_us)=(\d+)")


def requests_of(log: Path) -> list[Request]:
    """
    Read the api-server's access log: granted starts, and ends that were accepted.

    :param log: the api-server's log
    """
    found = []
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        fields = dict(_FIELD.findall(line))
        if not fields["status_code"].startswith("2"):
            continue
        at = datetime.fromisoformat(match["at"].replace("Z", "+00:00"))
        if at.tzinfo is None:
            at = at.replace(tzinfo=timezone.utc)
        ended = at.timestamp()
        found.append(Request(match["ti"], match["what"], ended - int(fields["duration_us"]) / 1e6, ended))
    return found


@dataclass(frozen=True)
class Instance:
    """One try of a task instance in Airflow's tables."""

    ti_id: str
    dag: str
    run_id: str
    task: str
    map_index: int
    key: str
    state: str | None


def instances_of(airflow: RunningAirflow) -> dict[str, Instance]:
    """
    Return every try that Airflow knows, by the id that it had.

    :param airflow: where
    """
    columns = "dag_id, run_id, task_id, map_index, state"
    rows: Sequence[Any] = airflow.rows(
        f"SELECT t.ti_id, t.dag_id, t.run_id, t.task_id, t.map_index, r.partition_key, t.state FROM "
        f"(SELECT CAST(id AS char(36)) AS ti_id, {columns} FROM task_instance "
        f"UNION SELECT CAST(task_instance_id AS char(36)), {columns} FROM task_instance_history) t "
        "JOIN dag_run r ON r.dag_id = t.dag_id AND r.run_id = t.run_id"
    )
    return {row[0]: Instance(row[0], *row[1:5], row[5] or "", row[6]) for row in rows}


def expected_tokens(
    graph: Graph, versions: Mapping[Cell, str], cells: Iterable[Cell]
) -> dict[Cell, list[str]]:
    """
    Work out what partitions must hold in the end, from the graph alone.

    :param graph: the warehouse
    :param versions: where not the first: the version of the program and source
    :param cells: partitions of tables that are computed once for each key
    """
    known: dict[Cell, list[str]] = {}

    def of(cell: Cell) -> list[str]:
        if cell not in known:
            inputs = [
                (*above, part, token) for above in graph.above(cell) for part, token in enumerate(of(above))
            ]
            parts = graph.tables[cell[0]].parts
            known[cell] = [token_of(*cell, part, versions.get(cell, "1"), inputs) for part in parts]
        return known[cell]

    return {cell: of(cell) for cell in cells}
