"""The judge: holds what the diaries and logs say against what the graph says must be."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import fmean
from typing import TYPE_CHECKING

from tests.system.warehouse.records import (
    HALF,
    UNKNOWN,
    Contents,
    Execution,
    Instance,
    Lineage,
    Made,
    Request,
    executions_of,
    expected_tokens,
    instances_of,
    requests_of,
)

if TYPE_CHECKING:
    from tests.system.warehouse.graph import Cell
    from tests.system.warehouse.play import Play, Pull

OURS = re.compile(r"andon|airflow_lean_provider|lean_", re.IGNORECASE)
_ANSWER = re.compile(r"request finished.*(?P<request>method=\w+.*path=\S+).*status_code=(?P<status>\d+)")


@dataclass
class Verdict:
    """
    What the judge found.

    :param complaints: promises that were not kept
    :param figures: numbers worth knowing
    """

    complaints: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)


class Judge:
    """
    Judges one play that has come to its end.

    :param play: the play
    """

    def __init__(self, play: Play) -> None:
        self.play = play
        self.graph = play.graph
        self.executions: list[Execution] = executions_of(play.store)
        self.lineage = Lineage(self.executions, play.outside_made)
        self.contents = Contents(self.executions, play.outside)
        self.versions: dict[Cell, str] = {
            (t, k): v for t, k, v in play.store.ask("SELECT tbl, key, version FROM version")
        }
        self.requests: list[Request] = requests_of(play.airflow.log_file("api-server"))
        self.granted: dict[str, list[Request]] = defaultdict(list)
        self.ended: dict[str, list[Request]] = defaultdict(list)
        for request in self.requests:
            (self.granted if request.what == "run" else self.ended)[request.ti_id].append(request)
        self.instances: dict[str, Instance] = instances_of(play.airflow)
        self.affected = self.graph.closure(pull.cell for pull in play.pulls)
        self.verdict = Verdict()

    def complain(self, kind: str, text: str) -> None:
        """Note a promise that was not kept."""
        self.verdict.complaints.append(f"{kind}: {text}")

    def judge(self) -> Verdict:
        """Look at everything."""
        for problem in self.play.problems:
            self.complain("play", problem)
        self.no_late_start()
        self.no_late_grant()
        self.good_in_the_end()
        self.computed_once()
        self.unaffected_untouched()
        self.nothing_left()
        self.logs_are_clean()
        self.no_error_surfaced()
        self.count()
        return self.verdict

    # ---------------------------------------------------------------- late starts

    def _forbids(self, pull: Pull, moment: float, tolerance: float = 0.0) -> bool:
        """Whether the cord still holds at that moment, or its bad data may never be read again."""
        if moment <= pull.returned + tolerance:
            return False
        return not (pull.outcome == "false_alarm" and moment > (pull.release_asked or 0))

    def no_late_start(self) -> None:
        """
        No task begins after a pull has returned and reads what is made of the bad version.

        Its first statement may follow by the time that a granted start takes; then its end is not accepted.
        """
        tolerance = self._grant_to_first_statement()
        for one in self.executions:
            made = self.lineage.of_inputs(one)
            for pull in self.play.pulls:
                if (pull.cell, pull.version) not in made:
                    continue
                after = one.first - pull.returned
                if self._forbids(pull, one.first, tolerance):
                    self.complain("late start", f"{one} {after:.2f} s after cord {pull.cord} on {pull.cell}")
                for end in self.ended.get(one.ti_id, ()):
                    if self._forbids(pull, end.began):
                        late = end.began - pull.returned
                        self.complain(
                            "late end",
                            f"{one} was accepted {late:.2f} s after cord {pull.cord} on {pull.cell}, "
                            f"begun {after:.2f} s after it",
                        )

    def _grant_to_first_statement(self) -> float:
        lags = []
        for one in self.executions:
            grants = [g.ended for g in self.granted.get(one.ti_id, ()) if g.began <= one.first]
            if grants:
                lags.append(one.first - grants[-1])
        if not lags:
            self.complain("access log", "no granted start could be matched with a diary")
            return 0.0
        self.verdict.figures["grant to first statement, s"] = f"max {max(lags):.2f}, mean {fmean(lags):.2f}"
        return max(lags)

    def no_late_grant(self) -> None:
        """
        The Execution API grants no start to what reads a partition made of the bad version.

        One that was asked for before the pull had returned, and answered after, may have been granted before:
        it is only counted here, for its end is not accepted (see :meth:`no_late_start`).
        """
        during = 0
        for ti_id, grants in self.granted.items():
            instance = self.instances.get(ti_id)
            if instance is None:
                self.complain("access log", f"nobody knows the task instance {ti_id}")
                continue
            for grant in grants:
                made = self._to_be_read(instance, grant.ended)
                for pull in self.play.pulls:
                    if (pull.cell, pull.version) not in made or not self._forbids(pull, grant.ended):
                        continue
                    if not self._forbids(pull, grant.began):
                        during += 1
                        continue
                    self.complain(
                        "late grant",
                        f"{instance.dag}/{instance.key}.{instance.task}[{instance.map_index}] of "
                        f"{instance.run_id} {grant.ended - pull.returned:.2f} s after cord {pull.cord} "
                        f"on {pull.cell}",
                    )
        self.verdict.figures["starts asked for before a pull returned, answered after"] = during

    def _to_be_read(self, instance: Instance, moment: float) -> frozenset[Made]:
        """Return what the data is made of that a task would read at that moment."""
        sources = self.graph.above((instance.dag, instance.key))
        tokens = {token for above in sources for token in self.contents.at(above, moment)}
        return frozenset().union(*map(self.lineage.of, tokens))

    # ---------------------------------------------------------------- the end

    def good_in_the_end(self) -> None:
        """Every partition holds what follows from good sources."""
        held: dict[Cell, dict[int, str]] = defaultdict(dict)
        for table, key, part, token in self.play.store.ask("SELECT tbl, key, part, token FROM data"):
            held[table, key][part] = token
        cells = self.play.expected_cells()
        exact = [cell for cell in cells if cell[0] in self.graph.exact]
        for cell, tokens in expected_tokens(self.graph, self.versions, exact).items():
            found = [held[cell].get(part) for part in self.graph.tables[cell[0]].parts]
            if found != tokens:
                made = [self._not_final(self.lineage.of(t)) if t else "missing" for t in found]
                self.complain("data", f"{cell} holds {found}, not {tokens}; made of {made}")
        for cell in cells - set(exact):
            self._fresh(cell, held)
        for cell in held.keys() - cells:
            self.complain("data", f"{cell} should not exist")

    def _fresh(self, cell: Cell, held: dict[Cell, dict[int, str]]) -> None:
        """A partition that is computed for each of several events ends as its latest inputs say."""
        bad = {(pull.cell, pull.version) for pull in self.play.pulls if pull.outcome != "false_alarm"}
        for part in self.graph.tables[cell[0]].parts:
            token = held[cell].get(part)
            if token is None:
                self.complain("data", f"{cell} part {part} is missing")
                continue
            made = self.lineage.of(token)
            loose = cell[0] in self.graph.loose
            if wrong := sorted(made & bad) if loose else self._not_final(made):
                self.complain("data", f"{cell} part {part} is made of {wrong}")
            if loose:
                continue
            writers = [e for e in self.executions if e.token == token and e.cell == cell]
            inputs = set(writers[-1].inputs) if writers else set()
            latest = {
                (*above, n, t) for above in self.graph.above(cell) for n, t in held.get(above, {}).items()
            }
            if inputs != latest:
                self.complain(
                    "stale", f"{cell} part {part}: read {inputs - latest}, there is {latest - inputs}"
                )

    def _not_final(self, made: frozenset[tuple[Cell, str]]) -> list[tuple[Cell, str]]:
        return sorted(m for m in made if m in (HALF, UNKNOWN) or m[1] != self.versions.get(m[0], "1"))

    def computed_once(self) -> None:
        """Each partition of a table that Airflow computes once is computed once from good data."""
        good: dict[Cell, Counter[tuple[str, int]]] = defaultdict(Counter)
        runs: dict[tuple[Cell, tuple[str, int]], list[Execution]] = defaultdict(list)
        for one in self.executions:
            if one.last is None or one.ti_id not in self.ended:
                continue
            made = self.lineage.of_inputs(one)
            if one.version is not None:
                made |= {(one.cell, one.version)}
            if not self._not_final(made):
                good[one.cell][one.instance] += 1
                runs[one.cell, one.instance].append(one)
        pulled = Counter(pull.cell for pull in self.play.pulls)
        asked = Counter(pull.cell for pull in self.play.pulls if pull.repair_asked)
        once = self._once()
        for cell in self.play.expected_cells():
            table = self.graph.tables[cell[0]]
            if table.outside:
                continue
            if not good[cell] and table.name not in self.graph.loose:
                self.complain("never", f"{cell} was never computed from good data")
            for instance, times in good[cell].items():
                writes = any(e.token for e in runs[cell, instance])
                allowed = 1 + (asked if writes else pulled)[cell]
                if times > allowed and cell in once:
                    which = "; ".join(f"{e} at {e.first:.1f}" for e in runs[cell, instance])
                    self.complain(
                        "more than once", f"{cell} {instance} {times} times from good data: {which}"
                    )

    def _once(self) -> set[Cell]:
        """
        Return the partitions that must be computed once from good data.

        Those that Airflow computes once by itself; and what is made of a source that several mapped task
        instances publish, if it had been computed from bad data before: then the brake holds its run until
        all of them have published.
        """
        exact = {c for c in self.play.expected_cells() if c[0] in self.graph.exact}
        saw_bad = {
            e.cell
            for e in self.executions
            if e.last and any((p.cell, p.version) in self.lineage.of_inputs(e) for p in self.play.pulls)
        }
        return exact | {
            c
            for c in saw_bad
            if self.graph.tables[c[0]].join == "and" and all(above in exact for above in self.graph.above(c))
        }

    def unaffected_untouched(self) -> None:
        """What does not follow from a pulled partition is neither held nor computed again."""
        for dag, run_id, key, event in self.play.airflow.rows(
            "SELECT l.dag_id, l.run_id, r.partition_key, l.event FROM log l "
            "JOIN dag_run r ON r.dag_id = l.dag_id AND r.run_id = l.run_id WHERE l.event LIKE 'andon %'"
        ):
            if (dag, key) not in self.affected:
                self.complain("unaffected", f"{event} of {dag} {run_id} ({key})")
        times = Counter((e.cell, e.instance) for e in self.executions if e.last is not None)
        for (cell, instance), number in times.items():
            if number > 1 and cell not in self.affected and cell[0] in self.graph.exact:
                self.complain("unaffected", f"{cell} {instance} ran {number} times")

    def nothing_left(self) -> None:
        """Nothing waits for ever, nobody has failed, our tables are empty."""
        rows = self.play.airflow.rows
        left = {
            "run": "SELECT dag_id, run_id, partition_key, state, run_after FROM dag_run "
            "WHERE state <> 'success'",
            "task": "SELECT dag_id, run_id, task_id, map_index, state, trigger_id FROM task_instance "
            "WHERE state IS NULL OR state NOT IN ('success', 'skipped', 'removed')",
            "open cord": "SELECT id, reason FROM lean_cord WHERE closed_at IS NULL",
            "halted partition": "SELECT asset_id, partition_key, causes FROM lean_halted_partition",
            "affected run": "SELECT dag_id, run_id, labels, held FROM lean_affected_run",
            "absorbed event": "SELECT DISTINCT dag_id, run_id FROM lean_absorbed_event",
            "parked task": "SELECT dag_id, run_id, task_id FROM lean_parked_task",
            "trigger": f"SELECT id, classpath FROM {self.play.airflow.quoted('trigger')}",
        }
        for what, sql in left.items():
            for row in rows(sql):
                self.complain(f"left {what}", str(tuple(row)))
        for dag, key in self._pending():
            if dag not in self.graph.loose:
                self.complain("left pending partition", f"{dag} {key}")
        self.nobody_failed()

    def _pending(self) -> list[Cell]:
        """
        Return what waits for further events.

        Not where two assets were published at the same moment: Airflow makes a pending row for each, since it
        locks only the asset (``assets/manager.py``, ``_lock_asset_model``), and each of them waits for ever
        for the other's event.
        """
        made: dict[Cell, list[datetime]] = defaultdict(list)
        waiting = []
        for dag, key, created_at, run in self.play.airflow.rows(
            "SELECT target_dag_id, partition_key, created_at, created_dag_run_id FROM asset_partition_dag_run"
        ):
            made[dag, key].append(created_at)
            if run is None:
                waiting.append(((dag, key), created_at))
        moment = timedelta(seconds=1)
        return [cell for cell, at in waiting if sum(abs(other - at) < moment for other in made[cell]) == 1]

    def nobody_failed(self) -> None:
        """Nothing has failed but what was written to fail, and the tries that the brake stopped."""
        stumbling = {t.name for t in self.graph.tables.values() if t.shape == "retry" or t.retries}
        stopped = {
            tuple(row)
            for row in self.play.airflow.rows(
                "SELECT dag_id, run_id, task_id, map_index FROM log WHERE event = 'andon stop'"
            )
        }
        for one in self.instances.values():
            known = one.dag in stumbling or (one.dag, one.run_id, one.task, one.map_index) in stopped
            if one.state in ("failed", "upstream_failed") and not known:
                self.complain("failed", str(one))

    def logs_are_clean(self) -> None:
        """No component has logged an error of ours, or a traceback through us."""
        for log in sorted(self.play.airflow.home.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            found = []
            for number, line in enumerate(lines):
                error = re.search(r"\[(error|critical)\s*\]|Traceback|\b(ERROR|CRITICAL)\b", line)
                if error and any(
                    OURS.search(near)
                    for near in lines[number : number + 60 if "Traceback" in line else number + 1]
                ):
                    found.append(f"{log.name}:{number + 1}: {line[:300]}")
            for text in found[:5]:
                self.complain("log", text)

    def no_error_surfaced(self) -> None:
        """
        No request was answered with an error of the server, and nobody has met a deadlock.

        On MariaDB a worker's request may be, once: Airflow locks the task instance and its run there in the
        other order than its scheduler and the brake. Airflow's worker asks again.
        """
        on_mariadb = self.play.airflow.engine.dialect.name == "mysql"
        failed: list[tuple[str, str]] = []
        repeated = 0
        for line in self._lines("api-server"):
            match = _ANSWER.search(line)
            if match is None:
                continue
            if match["status"].startswith("5"):
                failed.append((match["request"], line))
            elif on_mariadb and "path=/execution/" in match["request"]:
                still = [one for one in failed if one[0] != match["request"]]
                repeated += len(failed) - len(still)
                failed = still
        self.verdict.figures["workers' requests that had to be repeated"] = repeated
        for _, line in failed[:5]:
            self.complain("server error", line[:300])
        for log in sorted(self.play.airflow.home.glob("*.log")):
            for line in self._lines(log.stem):
                if re.search("deadlock", line, re.IGNORECASE):
                    self.complain("deadlock", f"{log.name}: {line[:300]}")

    def _lines(self, component: str) -> list[str]:
        return self.play.airflow.log_file(component).read_text(errors="replace").splitlines()

    def count(self) -> None:
        """Work out some figures."""
        figures = self.verdict.figures
        killed = [e for e in self.executions if e.last is None and not e.gave_way]
        lived = [
            e.latest - pull.returned
            for e in self.executions
            for pull in self.play.pulls
            if e.first < pull.returned < e.latest and (pull.cell, pull.version) in self.lineage.of_inputs(e)
        ]
        figures["tables"] = len(self.graph.tables)
        figures["hops"] = max(self.graph.depth().values())
        figures["partitions"] = len(self.play.expected_cells())
        figures["affected"] = len(self.affected & self.play.expected_cells())
        figures["executions"] = len(self.executions)
        figures["executions whose end was not accepted"] = sum(
            e.ti_id not in self.ended for e in self.executions
        )
        figures["killed"] = len(killed)
        figures["wrote on after the pull, s"] = f"max {max(lived, default=0):.1f} of {len(lived)}"
        figures["pulls"] = len(self.play.pulls)
        figures["pulls that went on settling after their time-out"] = self.play.unsettled
        for act, seconds in self.play.seconds.items():
            figures[f"{act}, s"] = f"max {max(seconds):.1f}, mean {fmean(seconds):.1f} of {len(seconds)}"
