"""Playing: publish, break, pull, heal, repair, as people would, at moments drawn from the seed."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from demo.airflow_process import AirflowFailed, RunningAirflow
from demo.andon import STILL_SETTLING, find, first_json
from tests.system.warehouse.dags.warehouse_store import Store, token_of
from tests.system.warehouse.graph import ALL_HOURS_OF_DAY, Cell, Graph

if TYPE_CHECKING:
    from tests.system.warehouse.records import Made

GOOD = "good"
STANDSTILL_SECONDS = 50.0
SETTLING_SECONDS = 300.0
WARM_COMMAND_LINE = """
import json, sys
from airflow.cli.cli_parser import get_parser
from airflow.models.serialized_dag import SerializedDagModel
import airflow_lean_provider.cli.commands
parser = get_parser()
parser.parse_args(["andon", "list"])
print("ready", flush=True)
arguments = parser.parse_args(json.loads(sys.stdin.readline()))
arguments.func(arguments)
"""
EVIDENCE = (
    "lean_cord",
    "lean_cord_partition",
    "lean_halted_partition",
    "lean_affected_run",
    "lean_parked_task",
    "lean_stopped_try",
    "lean_absorbed_event",
    "lean_bad_version",
    "asset_partition_dag_run WHERE created_dag_run_id IS NULL",
)
OPEN_CORDS = "SELECT id FROM lean_cord WHERE closed_at IS NULL"


@dataclass
class Pull:
    """
    One cord, on one partition.

    :param cell: the partition
    :param version: the version of its program or source that is bad (or is thought to be)
    :param returned: when the pull had returned, or, where it says that it goes on settling, had settled
    :param by_rest: a person uses the REST API for it, not the command line
    :param repair_asked: a person had it made again, although another cord's repair may just have done so
    """

    cell: Cell
    version: str
    began: float
    returned: float
    cord: str
    by_rest: bool = False
    outcome: str | None = None
    release_asked: float | None = None
    repair_asked: bool = False


@dataclass
class Play:
    """
    One warehouse in one Airflow.

    :param airflow: runs the Dags of the graph
    :param graph: the warehouse
    :param store: its database
    :param seed: decides the moments
    :param say: tells what happens
    """

    airflow: RunningAirflow
    graph: Graph
    store: Store
    seed: int
    say: Callable[[str], None]
    pulls: list[Pull] = field(default_factory=list)
    outside: list[tuple[float, Cell, str]] = field(default_factory=list)
    outside_made: dict[str, Made] = field(default_factory=dict)
    runs_of_roots: dict[Cell, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unsettled: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _begin: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    def tell(self, text: str) -> None:
        """Say something with the seconds since the beginning."""
        self.say(f"[{time.monotonic() - self._begin:6.1f}] {text}")

    # ---------------------------------------------------------------- publishing

    def publish_hour(self, hour: str, roots: Iterable[str] | None = None) -> None:
        """
        Let Airflow load an hour.

        :param hour: the key
        :param roots: which tables; all that have no sources
        """
        for root in roots if roots is not None else self.graph.roots:
            self.runs_of_roots[root, hour] = self.airflow.rest.trigger(root, hour)

    def publish_outside(self, table: str, keys: Iterable[str] = ALL_HOURS_OF_DAY) -> None:
        """
        Publish as another system does: write, then call the REST API.

        :param table: a table that no Dag makes
        :param keys: which partitions
        """
        for key in keys:
            version = self.store.version(table, key)
            token = token_of(table, key, 0, version, [])
            self.outside_made[token] = ((table, key), version)
            self.outside.append((time.time(), (table, key), token))
            self.store.write(table, key, 0, token)
            self.airflow.rest.publish(table, key)

    def spoil(self, cell: Cell) -> str:
        """
        Let the partition's program or source deliver something bad from now on.

        :param cell: the partition
        :return: the bad version
        """
        version = f"bad-{next(self._numbers)}"
        self.store.set_version(*cell, version)
        return version

    def heal(self, cell: Cell) -> None:
        """
        Let it deliver something good from now on.

        :param cell: the partition
        """
        self.store.set_version(*cell, GOOD)

    # ---------------------------------------------------------------- the cord

    def warm(self) -> subprocess.Popen[str]:
        """Start a command line that has imported everything and waits for its words."""
        return subprocess.Popen(
            [self.airflow.python, "-c", WARM_COMMAND_LINE],
            env=self.airflow.variables,
            cwd=self.airflow.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def andon(
        self, *words: str, after: float = 0.0, warm: subprocess.Popen[str] | None = None
    ) -> tuple[Any, int, float, float]:
        """
        Give a command of ``airflow andon``.

        :param words: what follows ``airflow andon``
        :param after: seconds to wait before, with a command line that needs no more time to start
        :param warm: one that was started before
        :return: its answer, its exit code, when it was given and when it had returned
        """
        command = warm or self.warm()
        assert command.stdout is not None
        command.stdout.readline()
        time.sleep(after)
        began = time.time()
        output, errors = command.communicate(json.dumps(["andon", *words, "-o", "json"]) + "\n", timeout=180)
        returned, code = time.time(), command.returncode
        self.seconds.setdefault(f"airflow andon {words[0]}", []).append(returned - began)
        if code not in (0, STILL_SETTLING):
            text = f"airflow andon {' '.join(words)}: exit {code}\n{output}\n{errors}"
            self.problems.append(text)
            raise AirflowFailed(text)
        return first_json(output), code, began, returned

    def pull(self, cell: Cell, after: float = 0.0, warm: subprocess.Popen[str] | None = None) -> Pull:
        """
        Pull the cord on a partition.

        :param cell: the partition
        :param after: seconds to wait before
        :param warm: a command line that was started before, so that only the act itself takes time
        """
        version = self.store.version(*cell)
        answer, code, began, returned = self.andon(
            *("pull", cell[0], "--partition", cell[1], "--reason", f"version {version}"),
            after=after,
            warm=warm,
        )
        cord = str(find(answer, "cord_id", "cord", "id"))
        return self._pulled(Pull(cell, version, began, returned, cord), settled=code == 0)

    def pull_by_rest(self, cell: Cell) -> Pull:
        """
        Pull the cord on a partition through the REST API.

        :param cell: the partition
        """
        version = self.store.version(*cell)
        body = {"asset": cell[0], "partition_keys": [cell[1]], "reason": f"version {version}"}
        answer, began, returned = self._post("pull", "/andon/v1/cords", body)
        pulled = Pull(cell, version, began, returned, str(answer["cord_id"]), by_rest=True)
        return self._pulled(pulled, settled=answer["settled"])

    def _pulled(self, pulled: Pull, *, settled: bool) -> Pull:
        self.pulls.append(pulled)
        took = pulled.returned - pulled.began
        self.tell(f"cord {pulled.cord} pulled on {pulled.cell} ({pulled.version}) in {took:.1f} s")
        if not settled:
            self.unsettled += 1
            self.wait(lambda: self._is_settled(pulled), f"cord {pulled.cord} to be settled", SETTLING_SECONDS)
            pulled.returned = time.time()
        return pulled

    def _is_settled(self, pulled: Pull) -> bool:
        found = self.airflow.rows("SELECT settled_at FROM lean_cord WHERE id = :id", id=int(pulled.cord))
        return found[0][0] is not None

    def _post(self, act: str, path: str, body: dict[str, Any]) -> tuple[Any, float, float]:
        """Return the answer, when it was asked for and when it had come."""
        began = time.time()
        answer = self.airflow.rest.call("POST", path, json=body)
        returned = time.time()
        self.seconds.setdefault(f"{act} by REST", []).append(returned - began)
        return answer, began, returned

    def repair(self, pulled: Pull) -> None:
        """
        Let the cord clear what published the bad partition.

        :param pulled: the cord
        """
        pulled.outcome, pulled.release_asked = "fixed", time.time()
        if pulled.by_rest:
            self._post("repair", f"/andon/v1/cords/{pulled.cord}/repair", {})
        else:
            self.andon("repair", pulled.cord)
        pulled.repair_asked = True
        self.tell(f"cord {pulled.cord} on {pulled.cell}: repair asked for")

    def release(self, pulled: Pull, outcome: str) -> None:
        """
        Release the cord.

        :param pulled: the cord
        :param outcome: ``fixed`` or ``false_alarm``
        """
        pulled.outcome, pulled.release_asked = outcome, time.time()
        if pulled.by_rest:
            self._post("release", f"/andon/v1/cords/{pulled.cord}/release", {"outcome": outcome})
        else:
            self.andon("release", pulled.cord, "--outcome", outcome)
        self.tell(f"cord {pulled.cord} on {pulled.cell}: released as {outcome}")

    def clear_root(self, cell: Cell) -> None:
        """
        Clear the run that has published a root's partition, as a person would in the UI.

        :param cell: the partition
        """
        self.airflow.rest.clear(cell[0], self.runs_of_roots[cell])

    # ---------------------------------------------------------------- waiting

    def written(self, cell: Cell) -> bool:
        """
        Whether something has been written for a partition.

        :param cell: the partition
        """
        return bool(self.store.ask("SELECT 1 FROM data WHERE tbl = %s AND key = %s", *cell))

    def published(self, cell: Cell) -> int:
        """
        How often the partition was published, as far as Airflow knows.

        :param cell: the partition
        """
        (row,) = self.airflow.rows(
            "SELECT count(*) FROM asset_event e JOIN asset a ON a.id = e.asset_id "
            "WHERE a.name = :name AND e.partition_key = :key",
            name=cell[0],
            key=cell[1],
        )
        return int(row[0])

    def wait(self, condition: Callable[[], Any], what: str, timeout: float = 90) -> None:
        """
        Wait.

        :param condition: for this
        :param what: in words
        """
        self.airflow.wait_until(condition, what, timeout=timeout)

    def wait_quiet(self, timeout: float) -> bool:
        """
        Wait until everything is computed, no cord is open and nothing is on its way.

        :param timeout: seconds
        :return: whether that came
        """
        deadline = time.monotonic() + timeout
        calm, said, seen, seen_at = 0, 0.0, "", time.monotonic()
        while time.monotonic() < deadline:
            calm = calm + 1 if self._calm() else 0
            if calm >= 6:
                return True
            if time.monotonic() - said > 10:
                said, progress = time.monotonic(), self.progress()
                self.tell(progress)
                if progress != seen:
                    seen, seen_at = progress, time.monotonic()
                elif time.monotonic() - seen_at > STANDSTILL_SECONDS:
                    break
            time.sleep(0.5)
        self.problems.append(f"not quiet: {self.progress()}")
        return False

    def _calm(self) -> bool:
        return self.airflow.is_quiet() and not self.airflow.rows(OPEN_CORDS) and not self.missing()

    def missing(self) -> set[Cell]:
        """Return the partitions that hold nothing whole yet."""
        whole = {(t, k) for t, k in self.store.ask("SELECT tbl, key FROM data WHERE token <> 'HALF'")}
        return self.expected_cells() - whole

    def expected_cells(self) -> set[Cell]:
        """Return the partitions that follow from what was published."""
        return self.graph.closure([*self.runs_of_roots, *(cell for _, cell, _ in self.outside)])

    def progress(self) -> str:
        """Say in one line how far everything is."""
        runs = self.airflow.rows(
            "SELECT CASE WHEN state = 'queued' AND run_after > '2037-01-01' THEN 'held' ELSE state END AS s, "
            "count(*) FROM dag_run GROUP BY 1 ORDER BY 1"
        )
        tasks = self.airflow.rows(
            "SELECT state, count(*) FROM task_instance WHERE state IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
        cords = [row[0] for row in self.airflow.rows(OPEN_CORDS)]
        missing = self.missing()
        return (
            f"runs {dict(map(tuple, runs))} tasks {dict(map(tuple, tasks))} open cords {cords} "
            f"missing {len(missing)}{' ' + str(sorted(missing)[:6]) if 0 < len(missing) <= 12 else ''}"
        )

    def evidence(self) -> str:
        """Return what the brake's tables hold, and what it says of the runs that it still names."""
        parts = []
        for table in EVIDENCE:
            with suppress(Exception):
                rows = self.airflow.rows(f"SELECT * FROM {table}")
                parts.append(f"-- {table}\n" + "\n".join(str(dict(row._mapping)) for row in rows))
        with suppress(Exception):
            for dag, run in self.airflow.rows("SELECT dag_id, run_id FROM lean_affected_run LIMIT 5"):
                done = self.airflow.cli("andon", "why", dag, run, "-o", "json", check=False)
                parts.append(f"-- why {dag} {run}\n{done.stdout}{done.stderr}")
        if self.airflow.engine.dialect.name == "postgresql" and shutil.which("pg_dump"):
            dump = self.airflow.home / "airflow.dump"
            url = self.airflow.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
            subprocess.run(["pg_dump", "-Fc", "-f", str(dump), url], check=False)
            parts.append(f"-- the whole database: {dump}")
        return "\n".join(parts)
